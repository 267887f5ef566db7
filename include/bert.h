/* libbert: train, fine-tune, evaluate and run BERT text classifiers.
 *
 * Errors: Functions that can fail return a bert_status. BERT_OK is 0; other values are error categories. Call
 * bert_last_error_message() for a description of the error. Results are written to out-parameters. A function that
 * fails doesn't change them, unless its comment says otherwise. The library prints nothing. It never ends the process,
 * except in the cases in docs/limits.md.
 *
 * Statuses: Each function lists the errors that it can return. In addition, any function can return BERT_ERR_INTERNAL
 * (a bug in this library). After that, calls with the handles of the failed call return BERT_ERR_POISONED; these
 * handles can only be freed. A function checks the handles among its arguments first, then its other arguments in their
 * order (texts with their bytes, structs with their fields), then the state of the objects and the content of the data.
 *
 * Handles: bert_model, bert_dataset, bert_trainer and bert_error are opaque. Each has one free function, which also
 * accepts NULL. Handles can be freed in any order. A NULL, freed or wrong handle causes BERT_ERR_HANDLE, unless the
 * function's comment allows NULL.
 *
 * Threads: "Any thread" in a comment means that any thread may call the function, also while other threads use the same
 * handle. The calling thread needs a stack of at least 128 KB. Its floating-point state (rounding mode, flush-to-zero,
 * unmasked exceptions) doesn't change any result. The library restores this state before it returns and before it calls
 * a callback.
 *
 * Pointers: This part of a function's comment lists what you must ensure, because the library can't check it.
 *
 * Texts: Texts are UTF-8 with a length in bytes, or with the length BERT_NUL_TERMINATED. NULL with length 0 is an empty
 * text; for the second text of a single pair, NULL means that there is none. Paths are NUL-terminated.
 *
 * Structs: Call a struct's _init function with its sizeof before you set its fields. Structs that the library fills can
 * also be initialised by a macro, such as BERT_INFO_INIT. A comment "Range 1 to 10. Default 5." gives the accepted
 * values, limits included, and the value that the _init function sets.
 *
 * Shapes: Letters give the sizes of arrays: S sequences (texts or pairs of texts), T tokens, H hidden_size, L
 * num_labels (classes, labels or regression targets). An array of shape [S, L] has S * L elements: the L elements of
 * the first sequence, then those of the second, and so on.
 *
 * Unloading: dlclose() doesn't unload the library. It stays in memory until the process ends.
 *
 * Generated from the library's source by cbindgen: `BERT_UPDATE_HEADER=1 cargo test --release --test header`. */

#ifndef LIBBERT_BERT_H
#define LIBBERT_BERT_H


/* Define BERT_PLAIN_DECLARATIONS for tools that read C declarations, such as cffi's cdef. The preprocessor's output
 * then has no includes and no attributes. */
#ifndef BERT_PLAIN_DECLARATIONS
#include <stddef.h>
#include <stdint.h>
#endif

/** Prefix of every function declaration. Define it before you include this header to add your own attributes. */
#ifndef BERT_API
#define BERT_API
#endif

/** Prefix of every function that returns a bert_status. GCC and Clang warn if your program doesn't use the status. */
#ifndef BERT_MUST_USE
#if defined(__GNUC__) && !defined(BERT_PLAIN_DECLARATIONS)
#define BERT_MUST_USE __attribute__((warn_unused_result))
#else
#define BERT_MUST_USE
#endif
#endif

/** Length value for a NUL-terminated text: the text ends at its first NUL. */
#define BERT_NUL_TERMINATED SIZE_MAX

/**
 * Major version of this header, as in MAJOR.MINOR.PATCH. bert_version() returns the version of the loaded library.
 */
#define BERT_VERSION_MAJOR 0

/**
 * Minor version of this header, as in MAJOR.MINOR.PATCH. bert_version() returns the version of the loaded library.
 */
#define BERT_VERSION_MINOR 1

/**
 * Patch version of this header, as in MAJOR.MINOR.PATCH. bert_version() returns the version of the loaded library.
 */
#define BERT_VERSION_PATCH 0

/**
 * Number of the binary interface (ABI) that this header describes. A compiled program works only with a library whose
 * bert_abi_version() returns the same number.
 */
#define BERT_ABI_VERSION 2

/**
 * A list of labelled texts. Any number of threads may use one data set at the same time, also to add examples. Models
 * and trainers copy what they need. After they are created you can add to the data set or free it.
 */
typedef struct bert_dataset bert_dataset;

/**
 * An error object: it stores the latest error of the threads that it is bound to. bert_error_bind binds it. Any
 * number of threads may use one error object at the same time.
 */
typedef struct bert_error bert_error;

/**
 * A model: weights, tokenizer and labels. Any number of threads may use one model at the same time. During training,
 * each prediction, evaluation and save uses one complete set of weights, as they were at the end of a training step.
 */
typedef struct bert_model bert_model;

/**
 * A training run of one model on one data set. Its training calls may come from any thread, but only one at a time: a
 * second one returns BERT_ERR_BUSY. A trainer keeps its model alive.
 */
typedef struct bert_trainer bert_trainer;

/**
 * The result of a function that can fail: BERT_OK or an error category. bert_last_error_message() returns a
 * description of the error. A number never gets another meaning in a later version.
 */
typedef int32_t bert_status;
enum bert_status_values {
  /**
   * The call succeeded.
   */
  BERT_OK = 0,
  /**
   * An argument or option is invalid: out of range, contradictory, or NULL where a value is required.
   */
  BERT_ERR_INVALID_ARGUMENT = 1,
  /**
   * A handle is NULL, was freed, is of another kind, or was not created by this library.
   */
  BERT_ERR_HANDLE = 2,
  /**
   * The `struct_size` of a struct is unknown. Or the struct sets options that only a newer version of the library has.
   * Call the struct's _init function before you set its fields.
   */
  BERT_ERR_STRUCT_SIZE = 3,
  /**
   * An output buffer is too small. Nothing was written to it. The error message contains the required size.
   */
  BERT_ERR_BUFFER_TOO_SMALL = 4,
  /**
   * A text is not valid UTF-8.
   */
  BERT_ERR_UTF8 = 5,
  /**
   * A file or directory can't be read or written, or the library refuses to replace it. Existing files are unchanged,
   * unless the error message says otherwise.
   */
  BERT_ERR_IO = 6,
  /**
   * A file or buffer is damaged, or is not of the expected kind.
   */
  BERT_ERR_FORMAT = 7,
  /**
   * A file or buffer was written by a newer version of this library, in a newer format.
   */
  BERT_ERR_VERSION = 8,
  /**
   * The data can't be used for training or evaluation. Examples: it is empty, it has only one class, a line can't be
   * read.
   */
  BERT_ERR_DATA = 9,
  /**
   * A label name or label id is not one of the model's.
   */
  BERT_ERR_UNKNOWN_LABEL = 10,
  /**
   * The request is valid, but this model or this build of the library doesn't support it.
   */
  BERT_ERR_UNSUPPORTED = 11,
  /**
   * The device doesn't exist or can't be used.
   */
  BERT_ERR_DEVICE = 12,
  /**
   * There is not enough memory.
   */
  BERT_ERR_OUT_OF_MEMORY = 13,
  /**
   * A computed number became NaN or infinite. After a training call the model has the weights of the last good step.
   */
  BERT_ERR_NOT_FINITE = 14,
  /**
   * A callback or bert_trainer_cancel ended the training. The model has the weights of the last completed step.
   */
  BERT_ERR_CANCELLED = 15,
  /**
   * All planned epochs of this trainer are done.
   */
  BERT_ERR_FINISHED = 16,
  /**
   * Another call is training this model or trainer.
   */
  BERT_ERR_BUSY = 17,
  /**
   * An earlier call on this handle failed because of a bug in the library. The handle can only be freed.
   */
  BERT_ERR_POISONED = 18,
  /**
   * This process is a forked child in which the library can't work. It was forked after the library had started threads
   * or opened a GPU, or while a call was running. Use the library in only one of the two processes, or call exec in the
   * child.
   */
  BERT_ERR_FORKED = 19,
  /**
   * A bug in this library. Please report the error message.
   */
  BERT_ERR_INTERNAL = 20
};

/**
 * A function that receives the library's log messages. `level` is a bert_log_level. `message` is a NUL-terminated
 * text that is valid during the call. `user_data` is the pointer that was passed to bert_set_log_callback. Several
 * threads may call the function at the same time. It must not throw or longjmp.
 */
typedef void (*bert_log_callback)(int32_t level, const char *message, void *user_data);

/**
 * The format of a data file.
 */
typedef int32_t bert_file_format;
enum bert_file_format_values {
  /**
   * The file name's ending decides the format: .tsv or .txt (TSV), .csv (CSV), .jsonl or .ndjson (JSON Lines).
   */
  BERT_FORMAT_AUTO = 0,
  /**
   * TSV: one record per line, fields separated by tabs. Quotes have no special meaning unless the option quoting gives
   * them one.
   */
  BERT_FORMAT_TSV = 1,
  /**
   * CSV as in RFC 4180: fields are separated by commas, or by what the option separator says. Fields that contain the
   * separator, a quote or a line break are quoted.
   */
  BERT_FORMAT_CSV = 2,
  /**
   * JSON Lines: one JSON object per line.
   */
  BERT_FORMAT_JSONL = 3
};

/**
 * Whether the first record of a TSV or CSV file contains the names of the columns.
 */
typedef int32_t bert_header_mode;
enum bert_header_mode_values {
  /**
   * The library decides. The first record is a header if a column option is a name, if the record contains a usual
   * column name, such as "text" or "label", or if it contains both a less usual name of a text column and one of a
   * label column, such as "tweet" and "sentiment". A first record that looks like a header of other names is
   * BERT_ERR_DATA, or a warning in the log if it may be an example.
   */
  BERT_HEADER_AUTO = 0,
  /**
   * The first record is a header.
   */
  BERT_HEADER_PRESENT = 1,
  /**
   * The first record is data.
   */
  BERT_HEADER_ABSENT = 2
};

/**
 * The problem type: what a model predicts for a text.
 */
typedef int32_t bert_problem_type;
enum bert_problem_type_values {
  /**
   * The problem type that the data is for.
   */
  BERT_PROBLEM_AUTO = 0,
  /**
   * Single-label classification: each text has exactly one class. Softmax and cross entropy.
   */
  BERT_PROBLEM_SINGLE_LABEL = 1,
  /**
   * Multi-label classification: each text has any number of labels, also none. A sigmoid and binary cross entropy for
   * each label.
   */
  BERT_PROBLEM_MULTI_LABEL = 2,
  /**
   * Regression: each text has one or more numbers, the targets. The model's scores are the predictions; the loss is the
   * mean squared error.
   */
  BERT_PROBLEM_REGRESSION = 3
};

/**
 * Whether fields of a TSV or CSV file may be in double quotes.
 */
typedef int32_t bert_quoting;
enum bert_quoting_values {
  /**
   * In CSV fields may be in quotes. In TSV they may be if every field of the first records is in quotes.
   */
  BERT_QUOTING_AUTO = 0,
  /**
   * Quotes have no special meaning.
   */
  BERT_QUOTING_NONE = 1,
  /**
   * Fields may be in double quotes. A quote inside such a field is written twice.
   */
  BERT_QUOTING_DOUBLE = 2
};

/**
 * Options for reading a data file with bert_dataset_read. Call bert_read_options_init first.
 */
typedef struct bert_read_options {
  /**
   * The size of this struct, sizeof(bert_read_options). Set by bert_read_options_init.
   */
  size_t struct_size;
  /**
   * The format of the file: BERT_FORMAT_AUTO, BERT_FORMAT_TSV, BERT_FORMAT_CSV or BERT_FORMAT_JSONL.
   * Default BERT_FORMAT_AUTO.
   */
  bert_file_format format;
  /**
   * Whether the first record is a header: BERT_HEADER_AUTO, BERT_HEADER_PRESENT or BERT_HEADER_ABSENT. Not used for
   * JSON Lines, which have no header. Default BERT_HEADER_AUTO.
   */
  bert_header_mode header;
  /**
   * The column of the text. Set it to a name in the header, a number counted from 1 (such as "2"), or a key in JSON
   * Lines. NULL: the library looks for a column named text, sentence, sentence1, review or content. If there is none,
   * it looks for text_a, premise or question1, each with its partner (see pair_column), and then for other names of
   * a text, such as tweet, comment or message, of which one must be there and no second. Upper and lower case are
   * the same. In a file without a header NULL means the first column that no other option names. Default NULL.
   */
  const char *text_column;
  /**
   * The column of the second text. Set it to a name in the header, a number counted from 1 (such as "2"), or a key
   * in JSON Lines. NULL: if text_column is also NULL, the library uses the partner of the text column that it found:
   * sentence2 for sentence1, text_b for text_a, hypothesis for premise, question2 for question1. If the file has no
   * header, exactly three columns, and no column option is set, it is the second column. Otherwise the examples are
   * single texts. Default NULL.
   */
  const char *pair_column;
  /**
   * The column of the label. Set it to a name in the header, a number counted from 1 (such as "2"), or a key in JSON
   * Lines. NULL: the library looks for a column named label, class, category, target or labels, and then for other
   * names of a label, such as sentiment, score, stars, rating or Kategorie, of which one must be there and no
   * second. Upper and lower case are the same. In a file without a header NULL means the last column that no other
   * option names. Default NULL.
   */
  const char *label_column;
  /**
   * Whether labels are class ids. 1: labels are the ids 0, 1, 2, ...; 0: labels are names, which may consist of
   * digits. 1 is allowed only for BERT_PROBLEM_SINGLE_LABEL. 0 or 1. Default 0.
   */
  int32_t labels_are_ids;
  /**
   * The problem type, which decides what the labels are.
   *
   * - BERT_PROBLEM_SINGLE_LABEL: each record has one class.
   * - BERT_PROBLEM_MULTI_LABEL: each record has a list of label names, which may be empty. In JSON Lines it is an
   *   array of strings. In TSV and CSV the names are separated by label_separator, or the field is a list as Python
   *   or JSON write it, such as ['a', 'b'].
   * - BERT_PROBLEM_REGRESSION: each record has one finite number, or several; all records have the same count. In
   *   JSON Lines it is a number or an array of numbers. In TSV and CSV the numbers are separated by label_separator.
   *
   * Default BERT_PROBLEM_SINGLE_LABEL.
   */
  bert_problem_type problem_type;
  /**
   * The separator between the label names or numbers in one field of a TSV or CSV file. NULL: "|". White space
   * around the separator is ignored. Not used for JSON Lines. Must be NULL for BERT_PROBLEM_SINGLE_LABEL.
   * Default NULL.
   */
  const char *label_separator;
  /**
   * The character between two fields of a TSV or CSV file, such as ';'. It is an ASCII character, and neither a
   * quote nor a line break. 0: a tab in TSV. In CSV 0 means a comma; if commas don't cut the first records into the
   * same number of fields, but semicolons, tabs or vertical bars do, those separate. Not used for JSON Lines. Range
   * 0 to 127. Default 0.
   */
  int32_t separator;
  /**
   * Whether fields of a TSV or CSV file may be in double quotes: BERT_QUOTING_AUTO, BERT_QUOTING_NONE or
   * BERT_QUOTING_DOUBLE. Not used for JSON Lines. Default BERT_QUOTING_AUTO.
   */
  bert_quoting quoting;
  /**
   * The encoding of the file: a name of the WHATWG Encoding Standard, such as "UTF-8", "UTF-16LE", "UTF-16BE",
   * "windows-1252", "ISO-8859-1" (read as windows-1252, which contains it), "windows-1251", "Shift_JIS" or "GBK".
   * Upper and lower case are the same. A byte-order mark at the beginning of the file counts more than this option.
   * NULL: UTF-8, or UTF-16 if the file begins with its byte-order mark. Default NULL.
   */
  const char *encoding;
} bert_read_options;

/**
 * A part of the built-in toy data.
 */
typedef int32_t bert_toy_part;
enum bert_toy_part_values {
  /**
   * The sentences for training.
   */
  BERT_TOY_TRAIN = 0,
  /**
   * The sentences for validation.
   */
  BERT_TOY_VALIDATION = 1
};

/**
 * What is in a data set, as bert_dataset_describe writes it. Initialise the struct with bert_dataset_description_init
 * or BERT_DATASET_DESCRIPTION_INIT, then set label_counts and label_capacity if you want the counts.
 */
typedef struct bert_dataset_description {
  /**
   * The caller's sizeof(bert_dataset_description), set by bert_dataset_description_init or
   * BERT_DATASET_DESCRIPTION_INIT.
   */
  size_t struct_size;
  /**
   * Number of examples.
   */
  int64_t examples;
  /**
   * The problem type that the labels are for: BERT_PROBLEM_SINGLE_LABEL, BERT_PROBLEM_MULTI_LABEL or
   * BERT_PROBLEM_REGRESSION. BERT_PROBLEM_SINGLE_LABEL for an empty data set.
   */
  bert_problem_type problem_type;
  /**
   * 1 if the examples are pairs of texts, 0 if they are single texts.
   */
  int32_t has_pairs;
  /**
   * Number of labels L of a model that is made for the data set: classes, labels or regression targets. Class ids
   * that no example has count too.
   */
  int32_t num_labels;
  /**
   * 1 if lengths are in tokens (a model was given), 0 if they are in characters.
   */
  int32_t lengths_in_tokens;
  /**
   * Array of the caller for the number of examples of each label, shape [L]; NULL: not filled. The order is that of
   * the label ids in a model made for the data set; bert_dataset_label_name gives the names.
   */
  uint64_t *label_counts;
  /**
   * Number of elements that the array `label_counts` can hold.
   */
  size_t label_capacity;
  /**
   * Number of examples without a label (multi-label classification).
   */
  int64_t without_label;
  /**
   * Number of examples whose text is empty or white space; of a pair, both texts.
   */
  int64_t empty_texts;
  /**
   * Number of examples that are equal to an earlier example, with the same label.
   */
  int64_t duplicates;
  /**
   * Number of examples whose text also occurs with another label.
   */
  int64_t contradictions;
  /**
   * Length that half of the examples don't exceed. The length of a pair is that of both texts together. With a model
   * it counts all tokens, with special tokens and without shortening.
   */
  int64_t length_median;
  /**
   * Length that 95 of 100 examples don't exceed.
   */
  int64_t length_p95;
  /**
   * Length that 99 of 100 examples don't exceed.
   */
  int64_t length_p99;
  /**
   * Length of the longest example.
   */
  int64_t length_longest;
  /**
   * Maximum sequence length of the model in tokens; 0 without a model.
   */
  int64_t max_length;
  /**
   * Number of examples longer than max_length, which are shortened; 0 without a model.
   */
  int64_t over_max_length;
  /**
   * The smallest regression target; NaN for classification.
   */
  double target_min;
  /**
   * The largest regression target; NaN for classification.
   */
  double target_max;
  /**
   * The mean of all regression targets; NaN for classification.
   */
  double target_mean;
} bert_dataset_description;

/**
 * Initialises a bert_dataset_description without a call:
 * `bert_dataset_description value = BERT_DATASET_DESCRIPTION_INIT;`.
 */
#define BERT_DATASET_DESCRIPTION_INIT {sizeof(bert_dataset_description), \
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * The kind of a tokenizer: how it splits texts into tokens.
 */
typedef int32_t bert_tokenizer_kind;
enum bert_tokenizer_kind_values {
  /**
   * Word level: one token for each word. Words are separated by white space. An unknown word becomes [UNK].
   */
  BERT_TOKENIZER_WORD_LEVEL = 0,
  /**
   * BERT's WordPiece: words are split into known pieces. A new tokenizer learns the pieces from the training texts.
   */
  BERT_TOKENIZER_WORDPIECE = 1,
  /**
   * Byte-level BPE: texts are split into byte sequences. A new tokenizer learns the sequences from the training texts.
   */
  BERT_TOKENIZER_BPE = 2
};

/**
 * The activation function of the feed-forward blocks.
 */
typedef int32_t bert_activation;
enum bert_activation_values {
  /**
   * The exact GELU, as in BERT.
   */
  BERT_ACT_GELU = 0,
  /**
   * The tanh approximation of GELU, called `gelu_new` and `gelu_pytorch_tanh` in Hugging Face's transformers.
   */
  BERT_ACT_GELU_TANH = 1,
  /**
   * ReLU.
   */
  BERT_ACT_RELU = 2
};

/**
 * The pooling: how the states of a text's tokens become one vector.
 */
typedef int32_t bert_pooling;
enum bert_pooling_values {
  /**
   * The pooling of the saved model. Only for bert_load_options.
   */
  BERT_POOLING_AUTO = -1,
  /**
   * BERT's pooler: a dense layer and tanh on the [CLS] state.
   */
  BERT_POOLING_POOLER = 0,
  /**
   * The [CLS] state itself.
   */
  BERT_POOLING_CLS = 1,
  /**
   * The mean of the states of all tokens.
   */
  BERT_POOLING_MEAN = 2
};

/**
 * Options of a new model for bert_create. Call bert_model_options_init first; it sets all fields from a preset. The
 * names are those of Hugging Face's BertConfig.
 */
typedef struct bert_model_options {
  /**
   * The size of this struct, sizeof(bert_model_options). Set by bert_model_options_init.
   */
  size_t struct_size;
  /**
   * The kind of tokenizer to learn: BERT_TOKENIZER_WORD_LEVEL, BERT_TOKENIZER_WORDPIECE or BERT_TOKENIZER_BPE. Not
   * used if tokenizer_path is set. Default BERT_TOKENIZER_WORD_LEVEL.
   */
  bert_tokenizer_kind tokenizer;
  /**
   * Whether texts are lowercased. 1: texts are lowercased, and WordPiece also removes accents; 0: they aren't. Not
   * used if tokenizer_path is set. 0 or 1. Default 1.
   */
  int32_t lowercase;
  /**
   * The number of times that a word must occur in the training texts to get its own token. For WordPiece and BPE it
   * is the number of times that a pair of pieces must occur to be merged. 0 means the same as 1. Not used if
   * tokenizer_path is set. At least 0. Default 1.
   */
  int32_t min_frequency;
  /**
   * The maximum number of tokens in the vocabulary, including five special tokens. BPE needs at least 261. Not used
   * if tokenizer_path is set. Range 6 to 10000000. Default 30522.
   */
  int32_t max_vocab_size;
  /**
   * The path of a tokenizer.json to use, NUL-terminated. NULL: the tokenizer is learned from the training texts.
   * Default NULL.
   */
  const char *tokenizer_path;
  /**
   * The hidden size H: the number of values in the state of a token. Must be a multiple of num_attention_heads.
   * Range 1 to 65536. Set by the preset.
   */
  int32_t hidden_size;
  /**
   * The number of layers (transformer blocks). Range 1 to 1024. Set by the preset.
   */
  int32_t num_hidden_layers;
  /**
   * The number of attention heads in each layer. hidden_size must be a multiple of it.
   * Range 1 to 4096. Set by the preset.
   */
  int32_t num_attention_heads;
  /**
   * The inner size of the feed-forward blocks. Range 1 to 1048576. Set by the preset.
   */
  int32_t intermediate_size;
  /**
   * The maximum number of tokens in a sequence, including [CLS] and [SEP]. -1: it follows from the training texts.
   * It is then the 99th percentile of their numbers of tokens, rounded up to a multiple of 16, at least 32 and at
   * most 512. The log reports it, at BERT_LOG_INFO. -1 (automatic) or 4 to 1048576. Default -1.
   */
  int32_t max_position_embeddings;
  /**
   * The number of token types. Pairs of texts need at least 2. Range 1 to 65536. Default 2.
   */
  int32_t type_vocab_size;
  /**
   * The activation function: BERT_ACT_GELU, BERT_ACT_GELU_TANH or BERT_ACT_RELU. Default BERT_ACT_GELU.
   */
  bert_activation hidden_act;
  /**
   * The vector that the classifier reads: BERT_POOLING_POOLER, BERT_POOLING_CLS or BERT_POOLING_MEAN.
   * Set by the preset.
   */
  bert_pooling pooling;
  /**
   * Whether a layer norm follows the last layer. 1: the model has it; 0: it doesn't, as in BERT.
   * 0 or 1. Set by the preset.
   */
  int32_t final_layer_norm;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved;
  /**
   * The dropout probability during training after the embeddings, the attention output and the feed-forward output.
   * Range 0 to 0.9. Default 0.1.
   */
  double hidden_dropout_prob;
  /**
   * The dropout probability of the attention probabilities during training. Range 0 to 0.9. Default 0.1.
   */
  double attention_probs_dropout_prob;
  /**
   * The dropout probability of the classifier's input during training. Range 0 to 0.9. Default 0.1.
   */
  double classifier_dropout;
  /**
   * The standard deviation of the initial weights. Range 1e-30 to 1. Default 0.02.
   */
  double initializer_range;
  /**
   * The value that every layer norm adds to the variance. Range 1e-30 to 0.1. Default 1e-12.
   */
  double layer_norm_eps;
  /**
   * The names of the classes, labels or regression targets, in the order of their ids. It is an array of
   * num_label_names NUL-terminated texts. NULL: the names come from the training data. Class and label names are
   * then sorted by their bytes, or by value if all are integers. Class ids and regression targets get the names
   * LABEL_0, LABEL_1, ... Default NULL.
   */
  const char *const *label_names;
  /**
   * The number of elements of label_names. Must be 0 if label_names is NULL. Default 0.
   */
  size_t num_label_names;
  /**
   * The seed for the initial weights. Default 42.
   */
  uint64_t seed;
  /**
   * The device, NUL-terminated: "cpu", "cuda" (the first GPU), "cuda:N" (GPU N, counted from 0) or "auto" (the first
   * GPU if it works, otherwise the CPU). NULL: the CPU. Default NULL.
   */
  const char *device;
  /**
   * The problem type that the model solves: a BERT_PROBLEM_ constant. BERT_PROBLEM_AUTO: the problem type of the
   * training data. Any other value must be the problem type of the training data. Default BERT_PROBLEM_AUTO.
   */
  bert_problem_type problem_type;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved2;
} bert_model_options;

/**
 * The size of a new model.
 */
typedef int32_t bert_preset;
enum bert_preset_values {
  /**
   * A compact model that trains quickly from random weights: 2 layers, hidden size 128, 4 heads. The classifier reads
   * the [CLS] state without a pooler. A layer norm follows the last layer.
   */
  BERT_PRESET_COMPACT = 0,
  /**
   * BERT-tiny: 2 layers, hidden size 128, 2 heads.
   */
  BERT_PRESET_TINY = 1,
  /**
   * BERT-mini: 4 layers, hidden size 256, 4 heads.
   */
  BERT_PRESET_MINI = 2,
  /**
   * BERT-small: 4 layers, hidden size 512, 8 heads.
   */
  BERT_PRESET_SMALL = 3,
  /**
   * BERT-medium: 8 layers, hidden size 512, 8 heads.
   */
  BERT_PRESET_MEDIUM = 4,
  /**
   * BERT-base: 12 layers, hidden size 768, 12 heads.
   */
  BERT_PRESET_BASE = 5,
  /**
   * BERT-large: 24 layers, hidden size 1024, 16 heads.
   */
  BERT_PRESET_LARGE = 6
};

/**
 * Options for loading a model with bert_load or bert_load_from_buffer. Call bert_load_options_init first.
 */
typedef struct bert_load_options {
  /**
   * The size of this struct, sizeof(bert_load_options). Set by bert_load_options_init.
   */
  size_t struct_size;
  /**
   * The device, NUL-terminated: "cpu", "cuda" (the first GPU), "cuda:N" (GPU N, counted from 0) or "auto" (the first
   * GPU if it works, otherwise the CPU). NULL: the CPU. Default NULL.
   */
  const char *device;
  /**
   * The names of the classes, labels or regression targets of the loaded model, in the order of their ids. It is an
   * array of num_label_names NUL-terminated texts. NULL: the saved model's names. If they are the saved names in
   * another order, the classifier is kept and gets this order. If they are other names, the classifier gets initial
   * values and must be trained, with a warning in the log, unless rename_labels is 1. Default NULL.
   */
  const char *const *label_names;
  /**
   * The number of elements of label_names. Must be 0 if label_names is NULL. Default 0.
   */
  size_t num_label_names;
  /**
   * A data set on which you will train the model. If the saved model has all labels of the data set (or the same
   * number of regression targets), it keeps its own labels. Labels such as 0 and 1 are then the saved model's
   * LABEL_0 and LABEL_1. Otherwise the model gets the data set's labels, in the order that bert_create gives them,
   * and the classifier gets initial values; if a trained classifier is lost, the log has a warning. Not used if
   * label_names is set. NULL: no data set. Default NULL.
   */
  const struct bert_dataset *labels_from;
  /**
   * The seed for the initial values of parameters that the saved model doesn't have. Default 42.
   */
  uint64_t seed;
  /**
   * The problem type that the loaded model solves: a BERT_PROBLEM_ constant. BERT_PROBLEM_AUTO: the problem type of
   * labels_from. Without labels_from it is the saved model's. If config.json contains no problem type, it is
   * regression for one label and single-label classification for more. If the problem type is not the one in
   * config.json, the classifier gets initial values and must be trained. Default BERT_PROBLEM_AUTO.
   */
  bert_problem_type problem_type;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved;
  /**
   * Whether the saved classifier is kept under other names. 1: label_names are new names of the saved model's
   * labels, by their ids; there must be as many. Without label_names the names are those of labels_from. 0: the
   * classifier is kept only if the names are the same. 0 or 1. Default 0.
   */
  int32_t rename_labels;
  /**
   * Whether the model gets a new classifier. 1: the classifier gets initial values and must be trained, whatever the
   * checkpoint has; this also allows checkpoints of other tasks. 0: the classifier is kept if it fits. 0 or 1.
   * Default 0.
   */
  int32_t new_classifier;
  /**
   * The vector that the classifier reads: BERT_POOLING_POOLER, BERT_POOLING_CLS or BERT_POOLING_MEAN.
   * BERT_POOLING_AUTO: the saved model's; for a published BERT this is the pooler. If it is not the saved model's,
   * the classifier gets initial values and must be trained, and so does a pooler that the saved model doesn't have.
   * Models for sentence vectors, such as all-MiniLM-L6-v2, are made for BERT_POOLING_MEAN. Default
   * BERT_POOLING_AUTO.
   */
  bert_pooling pooling;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved2;
} bert_load_options;

/**
 * The number type of a model's weights.
 */
typedef int32_t bert_weights;
enum bert_weights_values {
  /**
   * The model's weights are float32.
   */
  BERT_WEIGHTS_FLOAT32 = 0,
  /**
   * The model's weights are int8. Such a model can't be trained.
   */
  BERT_WEIGHTS_INT8 = 1
};

/**
 * The properties of a model, as bert_get_info writes them. Call bert_info_init first.
 */
typedef struct bert_info {
  /**
   * The size of this struct, sizeof(bert_info). Set by bert_info_init.
   */
  size_t struct_size;
  /**
   * The number of values in all parameters, including those of LoRA adapters.
   */
  int64_t parameter_count;
  /**
   * The number of classes, labels or regression targets: L.
   */
  int32_t num_labels;
  /**
   * The number of token ids.
   */
  int32_t vocab_size;
  /**
   * The hidden size H: the number of values in the state of a token.
   */
  int32_t hidden_size;
  /**
   * The number of layers (transformer blocks).
   */
  int32_t num_hidden_layers;
  /**
   * The number of attention heads in each layer.
   */
  int32_t num_attention_heads;
  /**
   * The inner size of the feed-forward blocks.
   */
  int32_t intermediate_size;
  /**
   * The maximum number of tokens in a sequence, including [CLS] and [SEP].
   */
  int32_t max_position_embeddings;
  /**
   * The number of token types. Pairs of texts need at least 2.
   */
  int32_t type_vocab_size;
  /**
   * The kind of the tokenizer: BERT_TOKENIZER_WORD_LEVEL, BERT_TOKENIZER_WORDPIECE or BERT_TOKENIZER_BPE.
   */
  bert_tokenizer_kind tokenizer;
  /**
   * The activation function: BERT_ACT_GELU, BERT_ACT_GELU_TANH or BERT_ACT_RELU.
   */
  bert_activation hidden_act;
  /**
   * The vector that the classifier reads: BERT_POOLING_POOLER, BERT_POOLING_CLS or BERT_POOLING_MEAN.
   */
  bert_pooling pooling;
  /**
   * Whether a layer norm follows the last layer. 1: the model has it; 0: it doesn't.
   */
  int32_t final_layer_norm;
  /**
   * The device of the model, NUL-terminated: "cpu" or "cuda:N".
   */
  char device[16];
  /**
   * The rank of the LoRA adapters. 0: the model has no adapters.
   */
  int32_t lora_rank;
  /**
   * Reserved for a later version. The library writes 0.
   */
  int32_t reserved;
  /**
   * The number of values in the LoRA adapters.
   */
  int64_t lora_parameter_count;
  /**
   * The problem type: BERT_PROBLEM_SINGLE_LABEL, BERT_PROBLEM_MULTI_LABEL or BERT_PROBLEM_REGRESSION.
   */
  bert_problem_type problem_type;
  /**
   * The number type of the weights: BERT_WEIGHTS_FLOAT32, or BERT_WEIGHTS_INT8 if the model was created by
   * bert_quantize.
   */
  bert_weights weights;
} bert_info;

/**
 * Initialises a bert_info without a call: `bert_info value = BERT_INFO_INIT;`.
 */
#define BERT_INFO_INIT {sizeof(bert_info), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, 0, 0, 0, 0, 0}

/**
 * The origin of a parameter's values when the model was created or loaded.
 */
typedef int32_t bert_parameter_origin;
enum bert_parameter_origin_values {
  /**
   * Parameters that were read from a saved model, a checkpoint or an adapter.
   */
  BERT_PARAMETERS_LOADED = 0,
  /**
   * Parameters with initial values. In a new model these are all parameters. In a loaded model these are the ones that
   * the checkpoint doesn't have.
   */
  BERT_PARAMETERS_INITIALISED = 1,
  /**
   * Parameters in the checkpoint that this model doesn't use.
   */
  BERT_PARAMETERS_IGNORED = 2
};

/**
 * Projections that get a LoRA adapter: a sum of BERT_LORA_ constants.
 */
typedef uint32_t bert_lora_targets;
enum bert_lora_targets_values {
  /**
   * Adapters on attention.self.query of each block.
   */
  BERT_LORA_QUERY = 1,
  /**
   * Adapters on attention.self.key of each block.
   */
  BERT_LORA_KEY = 2,
  /**
   * Adapters on attention.self.value of each block.
   */
  BERT_LORA_VALUE = 4,
  /**
   * Adapters on attention.output.dense of each block.
   */
  BERT_LORA_ATTENTION_OUTPUT = 8,
  /**
   * Adapters on intermediate.dense of each block.
   */
  BERT_LORA_INTERMEDIATE = 16,
  /**
   * Adapters on output.dense of each block.
   */
  BERT_LORA_OUTPUT = 32
};

/**
 * Options of the LoRA adapters that bert_add_lora creates. Call bert_lora_options_init first.
 */
typedef struct bert_lora_options {
  /**
   * The size of this struct, sizeof(bert_lora_options). Set by bert_lora_options_init.
   */
  size_t struct_size;
  /**
   * The rank of the adapters: the number of rows of A and of columns of B. Range 1 to 4096. Default 8.
   */
  int32_t rank;
  /**
   * The projections of each block that get an adapter: a sum of BERT_LORA_ constants. At least one must be chosen.
   * Default BERT_LORA_QUERY + BERT_LORA_VALUE.
   */
  bert_lora_targets targets;
  /**
   * LoRA scaling: the adapter's output is multiplied by alpha / rank, or by alpha / sqrt(rank) if use_rslora is 1.
   * Range 1e-30 to 1000000. Default 8.
   */
  double alpha;
  /**
   * The dropout probability for the input of each adapter during training. Range 0 to 0.9. Default 0.
   */
  double dropout;
  /**
   * Whether to use rank-stabilized LoRA. 1: the adapter's output is multiplied by alpha / sqrt(rank); 0: by alpha /
   * rank. 0 or 1. Default 0.
   */
  int32_t use_rslora;
  /**
   * Whether the pooler is trained. 1: it is trained and saved together with the adapters, like the classifier; 0: it
   * doesn't change. Models without a pooler ignore this. 0 is refused if the model's pooler was not loaded from a
   * saved model. 0 or 1. Default 1.
   */
  int32_t train_pooler;
  /**
   * The seed for the initial values of A. Default 42.
   */
  uint64_t seed;
} bert_lora_options;

/**
 * The treatment of texts that are longer than the maximum length.
 */
typedef int32_t bert_long_text;
enum bert_long_text_values {
  /**
   * Cuts texts that are longer than the maximum length. was_cut of the results tells which. The log reports the first
   * call of a model's handle that cuts a text, at BERT_LOG_WARNING.
   */
  BERT_LONG_TEXT_TRUNCATE = 0,
  /**
   * Splits texts that are longer than the maximum length into overlapping windows, and combines the windows' answers.
   * Of a pair of texts, the second text is split. Each window contains the first text, which is cut if it needs more
   * than about half of a window.
   */
  BERT_LONG_TEXT_WINDOWS = 1
};

/**
 * The method that makes one answer from the answers of a long text's windows.
 */
typedef int32_t bert_combine;
enum bert_combine_values {
  /**
   * The mean of the windows' logits. For regression, the mean of the windows' values.
   */
  BERT_COMBINE_MEAN_LOGITS = 0,
  /**
   * The mean of the windows' probabilities. The logits of the answer are computed from these means: the logarithm of a
   * class's probability p, or ln(p / (1 - p)) for a label of a multi-label model. Not for regression.
   */
  BERT_COMBINE_MEAN_PROBABILITIES = 1,
  /**
   * Uses the answer of the window with the highest probability. For multi-label models this is decided separately for
   * each label. Not for regression.
   */
  BERT_COMBINE_MOST_CONFIDENT = 2
};

/**
 * The options of an evaluation that reads texts in the way of a prediction. Initialise the struct with
 * bert_evaluate_options_init. Set its fields to the values that you predict with; threshold and the number format are
 * fields of bert_evaluation.
 */
typedef struct bert_evaluate_options {
  /**
   * The caller's sizeof(bert_evaluate_options), set by bert_evaluate_options_init.
   */
  size_t struct_size;
  /**
   * Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. The lengths 1
   * to 3 are refused, and lengths above the model's max_position_embeddings. At least 0. Default 0.
   */
  int32_t max_length;
  /**
   * Treatment of texts that are longer than the maximum length: BERT_LONG_TEXT_TRUNCATE or BERT_LONG_TEXT_WINDOWS.
   * Default BERT_LONG_TEXT_TRUNCATE.
   */
  bert_long_text long_text;
  /**
   * Number of text tokens that neighbouring windows share, as in bert_predict_options. -1: a quarter of the maximum
   * length. At least -1. Default -1.
   */
  int32_t window_stride;
  /**
   * Method that makes one answer from the answers of a long text's windows: BERT_COMBINE_MEAN_LOGITS,
   * BERT_COMBINE_MEAN_PROBABILITIES or BERT_COMBINE_MOST_CONFIDENT. Default BERT_COMBINE_MEAN_LOGITS.
   */
  bert_combine combine;
} bert_evaluate_options;

/**
 * The course of the learning rate after the warm-up.
 */
typedef int32_t bert_schedule;
enum bert_schedule_values {
  /**
   * Keeps the learning rate at its highest value after the warm-up.
   */
  BERT_SCHEDULE_CONSTANT = 0,
  /**
   * Reduces the learning rate to 0 in a straight line after the warm-up.
   */
  BERT_SCHEDULE_LINEAR = 1,
  /**
   * Reduces the learning rate to 0 along half a cosine after the warm-up.
   */
  BERT_SCHEDULE_COSINE = 2
};

/**
 * The metric that selects the best evaluation.
 */
typedef int32_t bert_metric;
enum bert_metric_values {
  /**
   * Uses BERT_METRIC_ACCURACY for single-label classification, BERT_METRIC_F1_MICRO for multi-label classification,
   * and BERT_METRIC_MSE for regression.
   */
  BERT_METRIC_AUTO = -1,
  /**
   * Selects the evaluation with the lowest loss.
   */
  BERT_METRIC_LOSS = 0,
  /**
   * Selects the evaluation with the highest accuracy. For multi-label classification the accuracy is the share of
   * examples for which exactly the right labels are predicted. Not for regression.
   */
  BERT_METRIC_ACCURACY = 1,
  /**
   * Selects the evaluation with the highest macro F1, as f1_macro of bert_evaluation. Not for regression.
   */
  BERT_METRIC_F1_MACRO = 2,
  /**
   * Selects the evaluation with the highest weighted F1. Weighted F1 is the mean of the F1 of all classes or labels,
   * weighted by their numbers of examples. Not for regression.
   */
  BERT_METRIC_F1_WEIGHTED = 3,
  /**
   * Selects the evaluation with the highest Matthews correlation. For single-label classification only.
   */
  BERT_METRIC_MATTHEWS = 4,
  /**
   * Selects the evaluation with the highest micro F1. Micro F1 is the F1 of all decisions counted together; for
   * single-label classification it equals the accuracy. Not for regression.
   */
  BERT_METRIC_F1_MICRO = 5,
  /**
   * Selects the evaluation with the lowest mean squared error. For regression only.
   */
  BERT_METRIC_MSE = 6,
  /**
   * Selects the evaluation with the highest Pearson correlation. For regression only.
   */
  BERT_METRIC_PEARSON = 7,
  /**
   * Selects the evaluation with the highest Spearman correlation. For regression only.
   */
  BERT_METRIC_SPEARMAN = 8
};

/**
 * The event that a progress callback reports.
 */
typedef int32_t bert_event;
enum bert_event_values {
  /**
   * A completed training step.
   */
  BERT_EVENT_STEP = 0,
  /**
   * A completed evaluation on the validation data.
   */
  BERT_EVENT_EVALUATION = 1
};

/**
 * The state of a training run, which a progress callback receives. It belongs to the library and is valid only during
 * the callback.
 */
typedef struct bert_progress {
  /**
   * The library's sizeof(bert_progress). Don't read fields beyond this size.
   */
  size_t struct_size;
  /**
   * The event that is reported: BERT_EVENT_STEP or BERT_EVENT_EVALUATION.
   */
  bert_event event;
  /**
   * Number of the epoch that the last step belongs to, from 1.
   */
  int32_t epoch;
  /**
   * Number of epochs in the plan.
   */
  int32_t epochs;
  /**
   * Reserved for a later version. The library writes 0.
   */
  int32_t reserved;
  /**
   * Number of steps done in the run.
   */
  int64_t step;
  /**
   * Number of steps in the plan.
   */
  int64_t total_steps;
  /**
   * Mean training loss of the last step's examples, before the update.
   */
  double loss;
  /**
   * Learning rate of the last step.
   */
  double learning_rate;
  /**
   * Global norm of the last step's gradients, before clipping.
   */
  double grad_norm;
  /**
   * Number of tokens per second in the steps of the current epoch so far.
   */
  double tokens_per_second;
  /**
   * Mean loss on the validation data, as in bert_evaluation. NaN at BERT_EVENT_STEP.
   */
  double eval_loss;
  /**
   * Accuracy on the validation data, as in bert_evaluation. NaN at BERT_EVENT_STEP, and for regression.
   */
  double eval_accuracy;
  /**
   * Macro F1 on the validation data, as f1_macro of bert_evaluation. NaN at BERT_EVENT_STEP, and for regression.
   */
  double eval_f1_macro;
  /**
   * Weighted F1 on the validation data. It is the mean of the F1 of all classes or labels, weighted by their numbers
   * of examples. NaN at BERT_EVENT_STEP, and for regression.
   */
  double eval_f1_weighted;
  /**
   * Matthews correlation on the validation data. NaN at BERT_EVENT_STEP, and for multi-label classification and
   * regression.
   */
  double eval_matthews;
  /**
   * Micro F1 on the validation data: the F1 of all decisions counted together. NaN at BERT_EVENT_STEP, and for
   * regression.
   */
  double eval_f1_micro;
  /**
   * Mean squared error on the validation data. NaN at BERT_EVENT_STEP, and for classification.
   */
  double eval_mse;
  /**
   * Pearson correlation on the validation data. NaN at BERT_EVENT_STEP, and for classification.
   */
  double eval_pearson;
  /**
   * Spearman correlation on the validation data. NaN at BERT_EVENT_STEP, and for classification.
   */
  double eval_spearman;
} bert_progress;

/**
 * A function of the caller. Training calls call it after each step and each evaluation, on the thread of the training
 * call. It receives progress_user_data as `user_data`. It returns 0 to continue; any other value ends the training
 * with BERT_ERR_CANCELLED.
 *
 * Inside the callback you can predict, evaluate, save and query. A training call on the same model returns
 * BERT_ERR_BUSY. bert_trainer_free takes effect when the training call returns. The callback must not throw an
 * exception and must not call longjmp.
 *
 * During the callback the model has the weights of the reported step. On a GPU the next step may already be running.
 * If the callback then returns non-zero, that next step is still completed, and no callback is made for it. The next
 * step is never started early in bert_train_step, after the last step of an epoch, or before an evaluation or a
 * checkpoint.
 *
 * The callback and its user data must stay valid until the trainer is freed and every training call on it has
 * returned.
 */
typedef int32_t (*bert_progress_callback)(const struct bert_progress *progress, void *user_data);

/**
 * The number format of matrix products.
 */
typedef int32_t bert_precision;
enum bert_precision_values {
  /**
   * Matrix products of float32 numbers.
   */
  BERT_PRECISION_FLOAT32 = 0,
  /**
   * Matrix products of numbers that are rounded to bfloat16, with float32 sums. bfloat16 has the range of float32 and
   * 8 significant bits. A GPU also stores the states between the products in bfloat16. In predictions this changes the
   * third digit of the logits.
   */
  BERT_PRECISION_BFLOAT16 = 1,
  /**
   * Matrix products of numbers that are rounded to float16 (IEEE 754 binary16), with float32 sums. Use it for
   * predictions, vectors and evaluations on a GPU. It isn't possible in training, because gradients can be too small
   * and too large for float16. float16 has 11 significant bits; in predictions on a GPU this changes the fourth digit
   * of the logits. The largest float16 number is 65504. If the states of a model are larger, the call returns
   * BERT_ERR_NOT_FINITE; use bfloat16 or float32 for such a model.
   */
  BERT_PRECISION_FLOAT16 = 2
};

/**
 * The options of a training run. Initialise the struct with bert_train_options_init. It writes -1 to epochs,
 * batch_size and learning_rate: bert_trainer_create then takes the values that fit the model. The log reports them, at
 * BERT_LOG_INFO, and so does bert_train_report. Values that you set are not changed.
 */
typedef struct bert_train_options {
  /**
   * The caller's sizeof(bert_train_options), set by bert_train_options_init.
   */
  size_t struct_size;
  /**
   * Seed for the order of the examples and for dropout. Default 42.
   */
  uint64_t seed;
  /**
   * Number of epochs in the plan: how often the run uses each example. The length of the learning rate schedule
   * follows from it. -1 takes 30 for a model from bert_create. For a model from bert_load it takes 3, or more so
   * that the plan has at least 200 steps. -1 (automatic) or 1 to 1000000. Default -1.
   */
  int32_t epochs;
  /**
   * Number of examples in a batch. -1 takes 16 for a model from bert_create, and 32 for a model from bert_load.
   * -1 (automatic) or 1 to 1000000. Default -1.
   */
  int32_t batch_size;
  /**
   * Number of batches whose gradients are combined into one step. The loss of the step is the mean over the examples
   * of all these batches. Range 1 to 1000000. Default 1.
   */
  int32_t gradient_accumulation_steps;
  /**
   * Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. Longer texts
   * are cut. The log reports how many, at BERT_LOG_WARNING, with the lengths of the texts. The lengths 1 to 3 are
   * refused, and lengths above the model's max_position_embeddings. At least 0. Default 0.
   */
  int32_t max_length;
  /**
   * Highest learning rate, which is reached after the warm-up. -1 takes 0.001 for a model from bert_create. For a
   * model from bert_load it takes 3e-5, with LoRA adapters 3e-4, and 0.001 if freeze_layers freezes all layers. A
   * model that was loaded from a checkpoint of bert_trainer_save takes the epochs, batch_size and learning_rate of
   * that run. -1 (automatic) or 0 to 10. Default -1.
   */
  double learning_rate;
  /**
   * Weight decay of AdamW. It isn't applied to biases and layer norms. Range 0 to 10. Default 0.01.
   */
  double weight_decay;
  /**
   * Decay rate of AdamW's first moment. Range 0 to 0.999999. Default 0.9.
   */
  double adam_beta1;
  /**
   * Decay rate of AdamW's second moment. Range 0 to 0.9999999. Default 0.999.
   */
  double adam_beta2;
  /**
   * AdamW's epsilon. Range 1e-30 to 1. Default 1e-8.
   */
  double adam_epsilon;
  /**
   * Limit for the global norm of all gradients. Gradients with a larger norm are scaled down to this norm. 0: no
   * limit. Range 0 to 1e30. Default 1.
   */
  double max_grad_norm;
  /**
   * The course of the learning rate after the warm-up: BERT_SCHEDULE_CONSTANT, BERT_SCHEDULE_LINEAR or
   * BERT_SCHEDULE_COSINE. Default BERT_SCHEDULE_LINEAR.
   */
  bert_schedule schedule;
  /**
   * 1: each batch contains examples of similar length, which is faster; 0: the length of examples isn't considered.
   * 0 or 1. Default 1.
   */
  int32_t group_by_length;
  /**
   * Number of steps in which the learning rate rises from 0 to its highest value; 0: warmup_ratio is used.
   * At least 0. Default 0.
   */
  int64_t warmup_steps;
  /**
   * Share of all planned steps in which the learning rate rises from 0 to its highest value, rounded up to whole
   * steps. At least one step follows them. It is used if warmup_steps is 0. Range 0 to 1. Default 0.1.
   */
  double warmup_ratio;
  /**
   * Number of steps between evaluations in bert_train, in addition to the evaluation after each epoch; 0: only after
   * each epoch. At least 0. Default 0.
   */
  int64_t eval_steps;
  /**
   * The metric that selects the best evaluation. Ties are resolved by the lower loss. The metric must be defined for
   * the model's problem type. Default BERT_METRIC_AUTO.
   */
  bert_metric metric;
  /**
   * Whether bert_train ends with the weights of the best evaluation. 1: it does, if there is validation data; 0: it
   * ends with the weights of the last step. 0 or 1. Default 1.
   */
  int32_t restore_best;
  /**
   * Number of successive evaluations without a better metric after which bert_train stops; 0: it doesn't stop early.
   * At least 0. Default 0.
   */
  int32_t early_stopping_patience;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved;
  /**
   * Directory in which bert_train saves the best model; NULL: it isn't saved. It is saved as by bert_save, after
   * each evaluation that is the best so far. The path ends with a NUL. Default NULL.
   */
  const char *best_model_path;
  /**
   * File to which a line of JSON is written after each step and each evaluation; NULL: no file. The file is
   * overwritten; if a run is resumed, new lines are appended. The path ends with a NUL. Default NULL.
   */
  const char *history_path;
  /**
   * Highest learning rate of the pooler and the classifier; 0: learning_rate is used. It has no effect if
   * learning_rate is 0. Range 0 to 10. Default 0.
   */
  double head_learning_rate;
  /**
   * Layer-wise learning rate decay. The top layer, the last one before the classifier, is multiplied once: with the
   * value 0.9 and a learning_rate of 1e-4 it has 9e-5, the layer below it 8.1e-5, and so on. The embeddings count as
   * the layer below the first. The pooler, the classifier and a final layer norm have learning_rate itself, or
   * head_learning_rate. 1 disables the decay. Range 0 to 1. Default 1.
   */
  double layer_learning_rate_decay;
  /**
   * 1: the weights of the embeddings are not trained; 0: they are trained. 0 or 1. Default 0.
   */
  int32_t freeze_embeddings;
  /**
   * Number of layers, counted from the input, whose weights are not trained; -1: all layers. If it isn't 0, the
   * embeddings are not trained either. Frozen layers need no backward pass and no memory for gradients. A number
   * above the model's num_hidden_layers is refused. At least -1. Default 0.
   */
  int32_t freeze_layers;
  /**
   * Directory for checkpoints; NULL: no checkpoints. bert_train writes checkpoints here. If the directory already
   * contains complete checkpoints of the same run, bert_train resumes from the newest one. To continue after a
   * crash, start the program again.
   *
   * Each checkpoint is a directory `checkpoint-STEP`, as bert_trainer_save writes it. bert_train writes one every
   * checkpoint_steps steps and every checkpoint_minutes minutes, or after each epoch if both options are 0. It also
   * writes one at the end of the run and after a cancellation. The directory is created if it doesn't exist; its
   * parent must exist. bert_train resumes only if this trainer has made no step yet. If the newest complete
   * checkpoint was made with other options, other data or another model, bert_train returns
   * BERT_ERR_INVALID_ARGUMENT. The path ends with a NUL. Default NULL.
   */
  const char *checkpoint_path;
  /**
   * Number of steps between checkpoints in checkpoint_path; 0: none by the number of steps. At least 0. Default 0.
   */
  int64_t checkpoint_steps;
  /**
   * Time between checkpoints in checkpoint_path, in minutes; 0: none by time. Range 0 to 1000000. Default 0.
   */
  double checkpoint_minutes;
  /**
   * Number of checkpoints that are kept in checkpoint_path. Older ones are deleted. Range 1 to 1000000. Default 2.
   */
  int32_t checkpoint_keep;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved2;
  /**
   * Weight of each class in the training loss, in the order of the class ids, shape [L]. NULL: all classes have the
   * same weight. It is the `weight` of PyTorch's cross_entropy. Each weight must be above 0 and at most 1000000. For
   * single-label classification only. Default NULL.
   */
  const double *class_weights;
  /**
   * Number of elements in class_weights: the model's number of classes, or 0 without class weights. Default 0.
   */
  size_t num_class_weights;
  /**
   * Share of each target that is spread evenly over all classes in the training loss. For single-label
   * classification only. Range 0 to 1. Default 0.
   */
  double label_smoothing;
  /**
   * Probability from which a label of a multi-label model counts as predicted, from 0 to 1. It is used in
   * evaluations during training and in the training accuracy. -1: the model's own thresholds, see
   * bert_set_thresholds. Other negative numbers are refused. Range -1 to 1. Default -1.
   */
  double threshold;
  /**
   * Callback after each step and each evaluation; NULL: no callback. Default NULL.
   */
  bert_progress_callback progress;
  /**
   * Pointer that the progress callback receives as `user_data`. Default NULL.
   */
  void *progress_user_data;
  /**
   * Number format of the matrix products in the layers: BERT_PRECISION_FLOAT32 or BERT_PRECISION_BFLOAT16.
   * BERT_PRECISION_FLOAT16 is refused. BERT_PRECISION_BFLOAT16 is mixed precision like PyTorch's autocast: only the
   * layers' matrix products use bfloat16 numbers. Weights, gradients, moments, norms, softmax, loss and sums are
   * float32. On a GPU the states between the products are bfloat16 too. On CPUs bfloat16 is about twice as fast with
   * AMX, faster with AMD's AVX512-BF16, and as fast as float32 or slower on others. Evaluations during training
   * always use float32, so that rounding doesn't decide which weights are the best. Default BERT_PRECISION_FLOAT32.
   */
  bert_precision precision;
  /**
   * Whether the backward pass computes the inner values of each layer again instead of storing them. 1: it does,
   * which takes less memory and about a third more time; 0: it doesn't. The trained weights are the same, bit for
   * bit. 0 or 1. Default 0.
   */
  int32_t gradient_checkpointing;
  /**
   * Whether regression targets are scaled during training. 1: each target is measured by its mean and its standard
   * deviation in the training data, so that the learning rate fits targets of any size; 0: it isn't, as in
   * transformers. Values, losses and saved weights are in the units of the targets in both cases. It has no effect
   * on classification. 0 or 1. Default 1.
   */
  int32_t scale_targets;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved3;
} bert_train_options;

/**
 * One optimizer step, as bert_train_step reports it. Initialise it with bert_step_report_init or
 * BERT_STEP_REPORT_INIT.
 */
typedef struct bert_step_report {
  /**
   * The caller's sizeof(bert_step_report), set by bert_step_report_init or BERT_STEP_REPORT_INIT.
   */
  size_t struct_size;
  /**
   * Number of the epoch that the step belongs to, from 1.
   */
  int32_t epoch;
  /**
   * Number of examples in the step.
   */
  int32_t examples;
  /**
   * Number of steps done in the run, this one included.
   */
  int64_t step;
  /**
   * Number of steps in the plan.
   */
  int64_t total_steps;
  /**
   * Number of tokens in the step, [CLS] and [SEP] included.
   */
  int64_t tokens;
  /**
   * Mean loss of the step's examples, before the update.
   */
  double loss;
  /**
   * Learning rate of the step.
   */
  double learning_rate;
  /**
   * Global norm of all gradients of the step, before clipping.
   */
  double grad_norm;
  /**
   * Elapsed time of the step in seconds.
   */
  double seconds;
} bert_step_report;

/**
 * Initialises a bert_step_report without a call: `bert_step_report value = BERT_STEP_REPORT_INIT;`.
 */
#define BERT_STEP_REPORT_INIT {sizeof(bert_step_report), 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * One epoch, as bert_train_epoch reports it. It covers all steps of the epoch, including those of earlier calls. If
 * the call fails, it covers the steps that were done until then. Initialise it with bert_epoch_report_init or
 * BERT_EPOCH_REPORT_INIT.
 */
typedef struct bert_epoch_report {
  /**
   * The caller's sizeof(bert_epoch_report), set by bert_epoch_report_init or BERT_EPOCH_REPORT_INIT.
   */
  size_t struct_size;
  /**
   * Number of the epoch, from 1.
   */
  int32_t epoch;
  /**
   * Reserved for a later version. The library writes 0.
   */
  int32_t reserved;
  /**
   * Number of steps done in the run, over all epochs.
   */
  int64_t step;
  /**
   * Number of examples trained on in the epoch.
   */
  int64_t examples;
  /**
   * Number of tokens trained on in the epoch, [CLS] and [SEP] included.
   */
  int64_t tokens;
  /**
   * Mean training loss of the epoch. The loss of each example is the one that its step had before the update.
   */
  double loss;
  /**
   * Share of examples that were predicted correctly in their step, with dropout. For multi-label classification it
   * is the share of examples for which exactly the right labels were predicted. NaN for regression.
   */
  double accuracy;
  /**
   * Elapsed time of the epoch's steps in seconds.
   */
  double seconds;
  /**
   * Learning rate of the last step.
   */
  double learning_rate;
} bert_epoch_report;

/**
 * Initialises a bert_epoch_report without a call: `bert_epoch_report value = BERT_EPOCH_REPORT_INIT;`.
 */
#define BERT_EPOCH_REPORT_INIT {sizeof(bert_epoch_report), 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * The reason why a training run ended.
 */
typedef int32_t bert_stop_reason;
enum bert_stop_reason_values {
  /**
   * The end of the plan: bert_train completed all planned epochs.
   */
  BERT_STOP_FINISHED = 0,
  /**
   * Early stopping: the metric didn't improve in early_stopping_patience successive evaluations.
   */
  BERT_STOP_EARLY = 1,
  /**
   * A cancellation by the progress callback, bert_trainer_cancel or bert_trainer_close. The training call returns
   * BERT_ERR_CANCELLED.
   */
  BERT_STOP_CANCELLED = 2,
  /**
   * A loss, gradient or score that is NaN or infinite. The training call returns BERT_ERR_NOT_FINITE.
   */
  BERT_STOP_NOT_FINITE = 3,
  /**
   * Another error. The training call returns its status.
   */
  BERT_STOP_ERROR = 4
};

/**
 * A training run, as bert_train reports it. bert_train also writes it if it fails and the run has at least one step.
 * Initialise it with bert_train_report_init or BERT_TRAIN_REPORT_INIT.
 */
typedef struct bert_train_report {
  /**
   * The caller's sizeof(bert_train_report), set by bert_train_report_init or BERT_TRAIN_REPORT_INIT.
   */
  size_t struct_size;
  /**
   * Number of complete epochs done in the run.
   */
  int32_t epochs;
  /**
   * The reason why the run ended. BERT_STOP_FINISHED or BERT_STOP_EARLY if bert_train returns BERT_OK, otherwise
   * BERT_STOP_CANCELLED, BERT_STOP_NOT_FINITE or BERT_STOP_ERROR.
   */
  bert_stop_reason stop_reason;
  /**
   * Number of steps done in the run.
   */
  int64_t steps;
  /**
   * Mean training loss of the last epoch. If the run ended within an epoch, it covers the steps of that epoch that
   * were done.
   */
  double loss;
  /**
   * Training accuracy of the last epoch, with dropout. If the run ended within an epoch, it covers the steps of that
   * epoch that were done. NaN for regression.
   */
  double accuracy;
  /**
   * Metric of the best evaluation. NaN if the run has had no evaluation.
   */
  double best_metric;
  /**
   * Number of steps done when the best evaluation was made. 0 if the run has had no evaluation.
   */
  int64_t best_step;
  /**
   * Whether this call ended by restoring the weights of the best evaluation: 1 if it did, otherwise 0.
   */
  int32_t restored_best;
  /**
   * Reserved for a later version. The library writes 0.
   */
  int32_t reserved;
  /**
   * Step of the checkpoint from which this call resumed the run. 0 if it did not resume from a checkpoint.
   */
  int64_t resumed_step;
  /**
   * Number of tokens that this call trained on, [CLS] and [SEP] included.
   */
  int64_t tokens;
  /**
   * Elapsed time of this call in seconds, evaluations included.
   */
  double seconds;
  /**
   * Highest learning rate of the plan: the one that you set, or the one that was taken for -1.
   */
  double learning_rate;
  /**
   * Number of epochs in the plan: the one that you set, or the one that was taken for -1.
   */
  int32_t planned_epochs;
  /**
   * Number of examples in a batch: the one that you set, or the one that was taken for -1.
   */
  int32_t batch_size;
  /**
   * Number of steps in the plan.
   */
  int64_t planned_steps;
  /**
   * Number of training texts that were cut to the maximum length.
   */
  int64_t train_texts_cut;
  /**
   * Number of validation texts that were cut to the maximum length.
   */
  int64_t validation_texts_cut;
} bert_train_report;

/**
 * Initialises a bert_train_report without a call: `bert_train_report value = BERT_TRAIN_REPORT_INIT;`.
 */
#define BERT_TRAIN_REPORT_INIT {sizeof(bert_train_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * A resumed training run, as bert_trainer_resume reports it. Initialise it with bert_resume_report_init or
 * BERT_RESUME_REPORT_INIT.
 */
typedef struct bert_resume_report {
  /**
   * The caller's sizeof(bert_resume_report), set by bert_resume_report_init or BERT_RESUME_REPORT_INIT.
   */
  size_t struct_size;
  /**
   * Number of complete epochs done in the run.
   */
  int32_t epochs;
  /**
   * Whether the run ends with the same weights, bit for bit, as if it had never been interrupted. 1: it does;
   * 0: this isn't guaranteed. It is 0 if the options, data, device, number of threads, processor or library differ
   * from those of the interrupted run. The log then reports the differences.
   */
  int32_t is_exact;
  /**
   * Number of steps done in the run.
   */
  int64_t step;
  /**
   * Number of steps in the plan.
   */
  int64_t total_steps;
} bert_resume_report;

/**
 * Initialises a bert_resume_report without a call: `bert_resume_report value = BERT_RESUME_REPORT_INIT;`.
 */
#define BERT_RESUME_REPORT_INIT {sizeof(bert_resume_report), 0, 0, 0, 0}

/**
 * The metrics of a model on labelled examples, as bert_evaluate writes them. They are defined as in scikit-learn and
 * scipy. Initialise the struct with bert_evaluation_init or BERT_EVALUATION_INIT, then set threshold,
 * compute_precision and the arrays as needed. Arrays that are NULL are not filled. A metric is NaN if, and only if, it
 * isn't defined for the model's problem type.
 */
typedef struct bert_evaluation {
  /**
   * The caller's sizeof(bert_evaluation), set by bert_evaluation_init or BERT_EVALUATION_INIT.
   */
  size_t struct_size;
  /**
   * Number of examples that were evaluated.
   */
  int64_t examples;
  /**
   * Mean loss without class weights and label smoothing. It is the cross entropy for single-label classification,
   * the binary cross entropy over all examples and labels for multi-label classification, and the mean squared error
   * for regression.
   */
  double loss;
  /**
   * Share of examples that were predicted correctly. For multi-label classification it is the share of examples for
   * which exactly the right labels were predicted (subset accuracy). NaN for regression.
   */
  double accuracy;
  /**
   * Macro F1: the mean of the F1 of the classes that occur, in the examples or in the predictions. For multi-label
   * classification it is the mean of the F1 of all labels. NaN for regression.
   */
  double f1_macro;
  /**
   * Weighted F1: the mean of the F1 of all classes or labels, weighted by their numbers of examples. NaN for
   * regression.
   */
  double f1_weighted;
  /**
   * Matthews correlation. It is 0 where it is undefined. NaN for multi-label classification and regression.
   */
  double matthews;
  /**
   * Array of the caller for the confusion matrix, shape [L, L]; NULL: not filled. Row i, column j contains how many
   * examples of class i were predicted as class j. For single-label classification only.
   */
  uint64_t *confusion;
  /**
   * Number of elements that the array `confusion` can hold.
   */
  size_t confusion_capacity;
  /**
   * Array of the caller for the precision of each class or label, shape [L]; NULL: not filled. Its capacity is
   * class_capacity. Not for regression.
   */
  double *precision;
  /**
   * Array of the caller for the recall of each class or label, shape [L]; NULL: not filled. Its capacity is
   * class_capacity. Not for regression.
   */
  double *recall;
  /**
   * Array of the caller for the F1 of each class or label, shape [L]; NULL: not filled. Its capacity is
   * class_capacity. Not for regression.
   */
  double *f1;
  /**
   * Array of the caller for the number of examples of each class or label, shape [L]; NULL: not filled. Its capacity
   * is class_capacity. Not for regression.
   */
  uint64_t *support;
  /**
   * Number of elements that each of the arrays `precision`, `recall`, `f1` and `support` can hold.
   */
  size_t class_capacity;
  /**
   * Probability from which a label of a multi-label model counts as predicted, from 0 to 1. The caller sets it
   * before the call. -1: the model's own thresholds, see bert_set_thresholds. Other negative numbers are refused.
   * Range -1 to 1. Default -1.
   */
  double threshold;
  /**
   * Micro F1: the F1 of all decisions counted together. For single-label classification it equals the accuracy. NaN
   * for regression.
   */
  double f1_micro;
  /**
   * Mean squared error over all examples and targets. NaN for classification.
   */
  double mse;
  /**
   * Pearson correlation of the targets and the predictions; with several targets, the mean of their correlations. An
   * undefined correlation counts as 0: with fewer than two examples, or if all targets or all predictions are equal.
   * NaN for classification.
   */
  double pearson;
  /**
   * Spearman rank correlation of the targets and the predictions; with several targets, the mean of their
   * correlations. An undefined correlation counts as 0: with fewer than two examples, or if all targets or all
   * predictions are equal. NaN for classification.
   */
  double spearman;
  /**
   * Number format in which the layers are computed: BERT_PRECISION_FLOAT32, BERT_PRECISION_BFLOAT16 or
   * BERT_PRECISION_FLOAT16, as in bert_predict_options. The caller sets it before the call. Default
   * BERT_PRECISION_FLOAT32.
   */
  bert_precision compute_precision;
  /**
   * Reserved for a later version. It has no effect.
   */
  int32_t reserved;
  /**
   * Number of examples whose text was cut to the maximum length. With BERT_LONG_TEXT_WINDOWS only the first text of
   * a pair can be cut.
   */
  int64_t texts_cut;
} bert_evaluation;

/**
 * Initialises a bert_evaluation without a call: `bert_evaluation value = BERT_EVALUATION_INIT;`.
 */
#define BERT_EVALUATION_INIT {sizeof(bert_evaluation), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0, 0, 0}

/**
 * Options of bert_fit_head. Call bert_fit_head_options_init first.
 */
typedef struct bert_fit_head_options {
  /**
   * The caller's sizeof(bert_fit_head_options), set by bert_fit_head_options_init.
   */
  size_t struct_size;
  /**
   * Weight of the examples against the penalty on large weights: C of scikit-learn's LogisticRegression, and 1 /
   * alpha of its Ridge. A smaller number makes the penalty stronger. Range 1e-10 to 10000000000. Default 1.
   */
  double inverse_regularization;
  /**
   * Size of a derivative that counts as zero: the fit has converged when no derivative of the mean loss is larger.
   * If the largest derivative at the beginning is above 1, the limit is this number multiplied by that derivative.
   * Range 1e-15 to 1. Default 1e-8.
   */
  double tolerance;
  /**
   * Maximum number of iterations; for multi-label classification, of iterations for each label.
   * Range 1 to 1000000. Default 1000.
   */
  int32_t max_iterations;
  /**
   * Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. Longer texts
   * are cut. The lengths 1 to 3 are refused, and lengths above the model's max_position_embeddings.
   * At least 0. Default 0.
   */
  int32_t max_length;
  /**
   * Weight of each class, in the order of the class ids, shape [L]. NULL: all classes have the same weight. Each
   * weight must be above 0 and at most 1000000. For single-label classification only. Default NULL.
   */
  const double *class_weights;
  /**
   * Number of elements in class_weights: the model's number of classes, or 0 without class weights. Default 0.
   */
  size_t num_class_weights;
  /**
   * Number format in which a GPU computes the layers: BERT_PRECISION_FLOAT32, BERT_PRECISION_BFLOAT16 or
   * BERT_PRECISION_FLOAT16. It has no effect on the CPU, which uses float32. Default BERT_PRECISION_FLOAT32.
   */
  bert_precision precision;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved;
} bert_fit_head_options;

/**
 * The result of bert_fit_head. Initialise it with bert_fit_head_report_init or BERT_FIT_HEAD_REPORT_INIT.
 */
typedef struct bert_fit_head_report {
  /**
   * The caller's sizeof(bert_fit_head_report), set by bert_fit_head_report_init or BERT_FIT_HEAD_REPORT_INIT.
   */
  size_t struct_size;
  /**
   * Number of examples.
   */
  int64_t examples;
  /**
   * Number of examples whose text was cut to the maximum length.
   */
  int64_t truncated;
  /**
   * Number of iterations done; for multi-label classification, of the label that needed the most.
   */
  int32_t iterations;
  /**
   * Whether the fit has converged: 1 if the tolerance was reached, for all labels; 0 if it ended before.
   */
  int32_t is_converged;
  /**
   * Mean loss of the examples with the fitted classifier, as in bert_evaluation.
   */
  double loss;
  /**
   * Share of the examples that the fitted classifier predicts correctly, as in bert_evaluation. NaN for regression.
   */
  double accuracy;
  /**
   * Elapsed time in seconds.
   */
  double seconds;
} bert_fit_head_report;

/**
 * Initialises a bert_fit_head_report without a call: `bert_fit_head_report value = BERT_FIT_HEAD_REPORT_INIT;`.
 */
#define BERT_FIT_HEAD_REPORT_INIT {sizeof(bert_fit_head_report), 0, 0, 0, 0, 0, 0, 0}

/**
 * The options of a prediction. Initialise the struct with bert_predict_options_init.
 */
typedef struct bert_predict_options {
  /**
   * The caller's sizeof(bert_predict_options), set by bert_predict_options_init.
   */
  size_t struct_size;
  /**
   * Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. The lengths 1
   * to 3 are refused, and lengths above the model's max_position_embeddings. At least 0. Default 0.
   */
  int32_t max_length;
  /**
   * Treatment of texts that are longer than the maximum length: BERT_LONG_TEXT_TRUNCATE or BERT_LONG_TEXT_WINDOWS.
   * Default BERT_LONG_TEXT_TRUNCATE.
   */
  bert_long_text long_text;
  /**
   * Number of text tokens that neighbouring windows share, with BERT_LONG_TEXT_WINDOWS. -1: a quarter of max_length,
   * or of the model's maximum length if max_length is 0. It must be smaller than the number of text tokens that a
   * window can hold; for pairs of texts, smaller than half of that number. At least -1. Default -1.
   */
  int32_t window_stride;
  /**
   * Method that makes one answer from the answers of a long text's windows: BERT_COMBINE_MEAN_LOGITS,
   * BERT_COMBINE_MEAN_PROBABILITIES or BERT_COMBINE_MOST_CONFIDENT. Default BERT_COMBINE_MEAN_LOGITS.
   */
  bert_combine combine;
  /**
   * Number K of the best classes or labels that are written to top_label_ids and top_probabilities; 0: none. A
   * number above the model's number of classes or labels is refused. It must be 0 for regression.
   * At least 0. Default 0.
   */
  int32_t top_k;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved;
  /**
   * Probability from which has_label is 1, for multi-label models, from 0 to 1. -1: the model's own thresholds, see
   * bert_set_thresholds. Other negative numbers are refused. Range -1 to 1. Default -1.
   */
  double threshold;
  /**
   * Number format in which the layers are computed: BERT_PRECISION_FLOAT32, BERT_PRECISION_BFLOAT16 or
   * BERT_PRECISION_FLOAT16. On the CPU bfloat16 is faster than float32 on processors with AMX or AVX512-BF16, and
   * not on others; instead of float16 the CPU uses float32. Int8 models always use int8. Default
   * BERT_PRECISION_FLOAT32.
   */
  bert_precision precision;
  /**
   * Reserved for a later version. Must be 0.
   */
  int32_t reserved2;
} bert_predict_options;

/**
 * The answer for one text, as bert_predict writes it. Initialise the struct with bert_prediction_init or
 * BERT_PREDICTION_INIT.
 */
typedef struct bert_prediction {
  /**
   * The caller's sizeof(bert_prediction), set by bert_prediction_init or BERT_PREDICTION_INIT.
   */
  size_t struct_size;
  /**
   * Id of the most probable class or label, even if its probability is low. 0 for regression.
   */
  int32_t label_id;
  /**
   * Probability of the class or label `label_id`. NaN for regression.
   */
  float probability;
  /**
   * Name of the class, label or regression target `label_id`, in UTF-8 with a NUL at its end. The string belongs to
   * the model's handle and becomes invalid when any thread frees that handle.
   */
  const char *label;
  /**
   * Length of `label` in bytes, without the NUL.
   */
  size_t label_length;
  /**
   * Answer of a regression model with one target. NaN for classification.
   */
  float value;
  /**
   * Reserved for a later version. The library writes 0.
   */
  int32_t reserved;
  /**
   * Whether the text was cut to the maximum length: 1 if it was, otherwise 0.
   */
  int32_t was_cut;
  /**
   * Reserved for a later version. The library writes 0.
   */
  int32_t reserved2;
} bert_prediction;

/**
 * Initialises a bert_prediction without a call: `bert_prediction value = BERT_PREDICTION_INIT;`.
 */
#define BERT_PREDICTION_INIT {sizeof(bert_prediction), 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * Arrays of the caller for the answers to S texts. Initialise the struct with bert_predictions_init or
 * BERT_PREDICTIONS_INIT, then set the arrays that you want and their capacities. Arrays that are NULL are not filled.
 * Use label_ids and probabilities for single-label classification, has_label and probabilities for multi-label
 * classification, and values for regression. If an array isn't defined for the model's problem type, the call returns
 * BERT_ERR_UNSUPPORTED.
 */
typedef struct bert_predictions {
  /**
   * The caller's sizeof(bert_predictions), set by bert_predictions_init or BERT_PREDICTIONS_INIT.
   */
  size_t struct_size;
  /**
   * Array for the id of each text's most probable class or label, shape [S]; NULL: not filled. Not for regression.
   */
  int32_t *label_ids;
  /**
   * Number of elements that the array `label_ids` can hold.
   */
  size_t label_ids_capacity;
  /**
   * Array for the scores of the model before softmax or sigmoid, shape [S, L]; NULL: not filled. For regression
   * these are the values of the targets.
   */
  float *logits;
  /**
   * Number of elements that the array `logits` can hold.
   */
  size_t logits_capacity;
  /**
   * Array for the probability of each class or label, shape [S, L]; NULL: not filled. The probabilities of a text's
   * classes add up to 1; those of a multi-label model's labels are independent of each other. Not for regression.
   */
  float *probabilities;
  /**
   * Number of elements that the array `probabilities` can hold.
   */
  size_t probabilities_capacity;
  /**
   * Array for the ids of each text's K most probable classes or labels, shape [S, K]; NULL: not filled. The most
   * probable one is first, and K is top_k of the options. Not for regression.
   */
  int32_t *top_label_ids;
  /**
   * Number of elements that the array `top_label_ids` can hold.
   */
  size_t top_label_ids_capacity;
  /**
   * Array for the probabilities of each text's K most probable classes or labels, shape [S, K]; NULL: not filled.
   * They are in the order of top_label_ids, and K is top_k of the options. Not for regression.
   */
  float *top_probabilities;
  /**
   * Number of elements that the array `top_probabilities` can hold.
   */
  size_t top_probabilities_capacity;
  /**
   * Array for one flag for each label, shape [S, L]; NULL: not filled. A flag is 1 if the label's probability is at
   * least its threshold, otherwise 0: `threshold` of the options, or the model's. For multi-label models only.
   */
  uint8_t *has_label;
  /**
   * Number of elements that the array `has_label` can hold.
   */
  size_t has_label_capacity;
  /**
   * Array for the predicted values of the targets, shape [S, L]; NULL: not filled. For regression only.
   */
  float *values;
  /**
   * Number of elements that the array `values` can hold.
   */
  size_t values_capacity;
  /**
   * Array for one flag for each text, shape [S]; NULL: not filled. A flag is 1 if the text was cut to the maximum
   * length, otherwise 0. With BERT_LONG_TEXT_WINDOWS only the first text of a pair can be cut.
   */
  uint8_t *was_cut;
  /**
   * Number of elements that the array `was_cut` can hold.
   */
  size_t was_cut_capacity;
} bert_predictions;

/**
 * Initialises a bert_predictions without a call: `bert_predictions value = BERT_PREDICTIONS_INIT;`.
 */
#define BERT_PREDICTIONS_INIT {sizeof(bert_predictions), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/**
 * The options for making vectors from texts. Initialise the struct with bert_embed_options_init. The files that
 * sentence-transformers puts beside a model (modules.json, sentence_bert_config.json, 1_Pooling/config.json) have no
 * effect on the defaults. bert_load writes a log line (BERT_LOG_INFO) with the options that do what these files ask
 * for.
 */
typedef struct bert_embed_options {
  /**
   * The caller's sizeof(bert_embed_options), set by bert_embed_options_init.
   */
  size_t struct_size;
  /**
   * Maximum sequence length in tokens, [CLS] and [SEP] included; 0: the maximum length of the model. Longer texts
   * are cut. The lengths 1 to 3 are refused, and lengths above the model's max_position_embeddings.
   * At least 0. Default 0.
   */
  int32_t max_length;
  /**
   * Method that makes one vector from the states of a text's tokens. BERT_POOLING_MEAN: the mean of all tokens'
   * states. BERT_POOLING_CLS: the state of [CLS]. BERT_POOLING_POOLER: the output of the pooler, if the model has
   * one whose values were loaded or trained. Default BERT_POOLING_MEAN.
   */
  bert_pooling pooling;
  /**
   * 1: vectors are scaled to length 1; 0: they aren't. 0 or 1. Default 0.
   */
  int32_t normalise;
  /**
   * Number format in which the layers are computed: BERT_PRECISION_FLOAT32, BERT_PRECISION_BFLOAT16 or
   * BERT_PRECISION_FLOAT16. On the CPU bfloat16 is faster than float32 on processors with AMX or AVX512-BF16, and
   * not on others; instead of float16 the CPU uses float32. Int8 models always use int8. Default
   * BERT_PRECISION_FLOAT32.
   */
  bert_precision precision;
  /**
   * Array of the caller for one flag for each text, shape [S]; NULL: not filled. bert_embed writes 1 for a text that
   * was cut to the maximum length, otherwise 0. Default NULL.
   */
  uint8_t *was_cut;
  /**
   * Number of elements that the array `was_cut` can hold. Default 0.
   */
  size_t was_cut_capacity;
} bert_embed_options;

/**
 * The level of a log message.
 */
typedef int32_t bert_log_level;
enum bert_log_level_values {
  /**
   * Debug messages. Useful when you report a bug in the library.
   */
  BERT_LOG_DEBUG = 0,
  /**
   * Messages about what the library chose or did.
   */
  BERT_LOG_INFO = 1,
  /**
   * Warnings: the call works, but probably not as you intended.
   */
  BERT_LOG_WARNING = 2
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the name of a status, such as "BERT_ERR_IO". For any other number it returns "unknown status". The text is
 * static; don't free it. Any thread.
 */
BERT_API const char *bert_status_string(bert_status status);

/**
 * Returns the version of the library, such as "0.1.0". The text is static; don't free it. Any thread.
 */
BERT_API const char *bert_version(void);

/**
 * Returns the number of the library's binary interface (ABI). Compare it with BERT_ABI_VERSION. Any thread.
 */
BERT_API uint32_t bert_abi_version(void);

/**
 * Returns a text that describes how the library was built. It contains the version, profile, target, features, and a
 * number that changes with the library's source. Include it in bug reports; don't parse it. The text is static; don't
 * free it. Any thread.
 */
BERT_API const char *bert_build_info(void);

/**
 * Returns a description of the last error in the calling thread. It is a full sentence: what is wrong, with which
 * value, and what would be right. A call that succeeds doesn't clear it. Before the first error it is an empty text.
 * The text is valid until the next call in this thread that fails. Any thread; each thread has its own message.
 */
BERT_API const char *bert_last_error_message(void);

/**
 * Sets the function that receives the library's log messages. `user_data` is passed to it with each message. NULL for
 * `callback` turns the log off. The log is off by default.
 *
 * The function waits until no other thread is inside the former callback. After that the former callback is not
 * called again. Don't hold a lock here that the former callback needs. The function doesn't wait if you call it from
 * inside the former callback. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `callback` and `user_data` stay valid until a later call of bert_set_log_callback has returned. If that later call
 * is made inside the callback itself, they stay valid until all running calls of the callback have returned.
 */
BERT_API BERT_MUST_USE bert_status bert_set_log_callback(bert_log_callback callback, void *user_data);

/**
 * Sets the number of threads that the library computes with. All models and all calls share these threads. 0
 * (default) uses as many threads as the CPU affinity and the cgroup quota of the process allow. Calls that are
 * already running keep the number of threads they started with. Threads of your program are not affected. New threads
 * start when there is work for them; with 1 there are none, and the calling thread does the work. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`num_threads` is negative or greater than 1024), BERT_ERR_OUT_OF_MEMORY
 * (the threads can't be started), BERT_ERR_FORKED (this process is a forked child).
 */
BERT_API BERT_MUST_USE bert_status bert_set_num_threads(int32_t num_threads);

/**
 * Writes the number of threads that the library computes with. It starts none. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`num_threads` is NULL), BERT_ERR_OUT_OF_MEMORY (the threads can't be
 * started), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `num_threads` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_get_num_threads(int32_t *num_threads);

/**
 * Creates an error object. It stores the errors of the threads that it is bound to; bind it with bert_error_bind.
 * Free it with bert_error_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`error` is NULL), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `error` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_error_create(struct bert_error **error);

/**
 * Binds an error object to the calling thread and clears it. Each later error in this thread is stored in the object
 * and replaces the error before it. Calls that succeed don't change the object. A thread has at most one bound
 * object; one object may be bound to several threads. If `error` is NULL, the calling thread has no bound object
 * afterwards. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`error` is neither NULL nor a valid error object), BERT_ERR_FORKED (this process
 * is a forked child).
 */
BERT_API BERT_MUST_USE bert_status bert_error_bind(struct bert_error *error);

/**
 * Returns the status of the stored error. It returns BERT_OK if no error is stored. It returns BERT_ERR_HANDLE if
 * `error` is not a valid error object, or in a forked child process in which the library can't work. Any thread.
 */
BERT_API BERT_MUST_USE bert_status bert_error_status(const struct bert_error *error);

/**
 * Returns the message of the stored error, a full sentence. It returns an empty text if no error is stored. The text
 * is valid until any thread stores another error in the object, binds it again or frees it. Any
 * thread.
 */
BERT_API const char *bert_error_message(const struct bert_error *error);

/**
 * Returns the name of the argument or struct field that caused the stored error. It returns an empty text if the
 * error has no such argument. The text is valid until the object stores another error, is bound again or is freed,
 * whichever thread does this. Any thread.
 */
BERT_API const char *bert_error_argument(const struct bert_error *error);

/**
 * Returns the index of the array element or of the text in a batch that caused the stored error. The first index is
 * 0. It returns -1 if the error has no such element. Any thread.
 */
BERT_API int64_t bert_error_index(const struct bert_error *error);

/**
 * Returns the line of the data file that caused the stored error. The first line is 1. It returns 0 if the error has
 * no such line. Any thread.
 */
BERT_API int64_t bert_error_line(const struct bert_error *error);

/**
 * Returns the number of elements that the output buffer needs, if the stored error is BERT_ERR_BUFFER_TOO_SMALL.
 * Otherwise it returns 0. Any thread.
 */
BERT_API size_t bert_error_needed_size(const struct bert_error *error);

/**
 * Frees an error object. NULL is allowed. Threads that were bound to it have no bound object afterwards. Any thread;
 * free each error object once.
 */
BERT_API void bert_error_free(struct bert_error *error);

/**
 * Sets all fields of a bert_read_options to their defaults. `struct_size` is sizeof(bert_read_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL), BERT_ERR_STRUCT_SIZE (`struct_size` is unknown),
 * BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_read_options_init(struct bert_read_options *options, size_t struct_size);

/**
 * Creates an empty data set. Free it with bert_dataset_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`dataset` is NULL), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `dataset` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_create(struct bert_dataset **dataset);

/**
 * Frees a data set. NULL is allowed. Models and trainers that were created from it don't change. Any thread; free
 * each data set once.
 */
BERT_API void bert_dataset_free(struct bert_dataset *dataset);

/**
 * Adds one example with the name of its class. `text` is the text; `pair` is the second text, or NULL for a single
 * text. Lengths are in bytes, or BERT_NUL_TERMINATED. The texts are copied. Any thread.
 *
 * All examples of a data set have the same kind of label: class names, class ids, lists of labels, or targets. Either
 * all examples have a second text or none has one.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
 * is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (the
 * class name is empty, or the example doesn't fit the examples in the data set), BERT_ERR_FORKED (this process is a
 * forked child).
 *
 * Pointers:
 * Each text is readable for its length.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_add_class(struct bert_dataset *dataset,
                                                          const char *text,
                                                          size_t text_length,
                                                          const char *pair,
                                                          size_t pair_length,
                                                          const char *class_name,
                                                          size_t class_name_length);

/**
 * Adds one example with the id of its class. Class ids count from 0. `text` is the text; `pair` is the second text,
 * or NULL for a single text. Lengths are in bytes, or BERT_NUL_TERMINATED. The texts are copied. Any thread.
 *
 * All examples of a data set have the same kind of label: class names, class ids, lists of labels, or targets. Either
 * all examples have a second text or none has one.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
 * is NULL, a length is larger than memory can hold, the id is negative), BERT_ERR_UTF8 (a text is not valid UTF-8),
 * BERT_ERR_DATA (the example doesn't fit the examples in the data set), BERT_ERR_FORKED (this process is a forked
 * child).
 *
 * Pointers:
 * Each text is readable for its length.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_add_class_id(struct bert_dataset *dataset,
                                                             const char *text,
                                                             size_t text_length,
                                                             const char *pair,
                                                             size_t pair_length,
                                                             int64_t class_id);

/**
 * Adds `count` examples with the names of their classes, all of them or none. The arguments are parallel arrays. The
 * texts are copied. Any thread.
 *
 * Lengths are in bytes. `lengths`, `pair_lengths` and `class_name_lengths` may be NULL; then the texts of that array
 * are NUL-terminated. If `pairs` is NULL, the examples are single texts. A NULL element means that this example has no
 * second text; an empty second text is a pointer that isn't NULL, with length 0. Either all examples of a data set
 * have a second text or none has one.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
 * is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (a
 * class name is empty, or the examples don't fit each other or the examples in the data set), BERT_ERR_FORKED (this
 * process is a forked child).
 *
 * Pointers:
 * Each array is NULL or has `count` elements. Each text is readable for its length.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_add_classes(struct bert_dataset *dataset,
                                                            size_t count,
                                                            const char *const *texts,
                                                            const size_t *lengths,
                                                            const char *const *pairs,
                                                            const size_t *pair_lengths,
                                                            const char *const *class_names,
                                                            const size_t *class_name_lengths);

/**
 * Adds `count` examples with the ids of their classes, all of them or none. Class ids count from 0. The arguments are
 * parallel arrays. The texts are copied. Any thread.
 *
 * Lengths are in bytes. `lengths` and `pair_lengths` may be NULL; then the texts of that array are NUL-terminated. If
 * `pairs` is NULL, the examples are single texts. A NULL element means that this example has no second text; an empty
 * second text is a pointer that isn't NULL, with length 0. Either all examples of a data set have a second text or
 * none has one.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
 * is NULL, a length is larger than memory can hold, an id is negative), BERT_ERR_UTF8 (a text is not valid UTF-8),
 * BERT_ERR_DATA (the examples don't fit each other or the examples in the data set), BERT_ERR_FORKED (this process is
 * a forked child).
 *
 * Pointers:
 * Each array is NULL or has `count` elements. Each text is readable for its length.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_add_class_ids(struct bert_dataset *dataset,
                                                              size_t count,
                                                              const char *const *texts,
                                                              const size_t *lengths,
                                                              const char *const *pairs,
                                                              const size_t *pair_lengths,
                                                              const int64_t *class_ids);

/**
 * Adds one example with a list of labels, for multi-label classification. `text` is the text; `pair` is the second
 * text, or NULL for a single text. Lengths are in bytes, or BERT_NUL_TERMINATED. The texts are copied. Any thread.
 *
 * `label_names` has `num_labels` names. The list may be empty. A name that occurs twice counts once. If
 * `label_name_lengths` is NULL, the names are NUL-terminated. All examples of a data set have the same kind of label.
 * Either all examples have a second text or none has one.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
 * is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (a name
 * is empty, or the example doesn't fit the examples in the data set), BERT_ERR_FORKED (this process is a forked
 * child).
 *
 * Pointers:
 * `label_names` and `label_name_lengths` are NULL or have `num_labels` elements. Each text is readable for its
 * length.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_add_labels(struct bert_dataset *dataset,
                                                           const char *text,
                                                           size_t text_length,
                                                           const char *pair,
                                                           size_t pair_length,
                                                           const char *const *label_names,
                                                           const size_t *label_name_lengths,
                                                           size_t num_labels);

/**
 * Adds `count` examples with lists of labels, all of them or none. This is for multi-label classification. The
 * arguments are parallel arrays. The texts are copied. Any thread.
 *
 * Lengths are in bytes. `lengths`, `pair_lengths` and `label_name_lengths` may be NULL; then the texts of that array
 * are NUL-terminated. If `pairs` is NULL, the examples are single texts. A NULL element means that this example has no
 * second text; an empty second text is a pointer that isn't NULL, with length 0. Either all examples of a data set
 * have a second text or none has one.
 *
 * `label_names` contains the names of all lists, one list after the other. `label_offsets` has `count` + 1 elements:
 * the list of example i has the names with the indices `label_offsets[i]` to `label_offsets[i + 1]` - 1. The first
 * offset is 0. No offset is smaller than the one before it. A list may be empty. A name that occurs twice in a list
 * counts once.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
 * is NULL, a length is larger than memory can hold, the first offset is not 0, an offset is smaller than the one
 * before it), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (a name is empty, or the examples don't fit
 * each other or the examples in the data set), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `label_offsets` has `count` + 1 elements. `label_names` and `label_name_lengths` are NULL or have as many elements
 * as the last offset says. Each other array is NULL or has `count` elements. Each text is readable for its length.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_add_label_lists(struct bert_dataset *dataset,
                                                                size_t count,
                                                                const char *const *texts,
                                                                const size_t *lengths,
                                                                const char *const *pairs,
                                                                const size_t *pair_lengths,
                                                                const char *const *label_names,
                                                                const size_t *label_name_lengths,
                                                                const size_t *label_offsets);

/**
 * Adds one example with regression targets: `num_targets` finite numbers. `text` is the text; `pair` is the second
 * text, or NULL for a single text. Lengths are in bytes, or BERT_NUL_TERMINATED. Texts and targets are copied. Any
 * thread.
 *
 * All examples of a data set have the same number of targets. Either all examples have a second text or none has one.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
 * is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (there
 * is no target, a target is NaN or infinite, or the example doesn't fit the examples in the data set),
 * BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `targets` has `num_targets` elements. Each text is readable for its length.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_add_target(struct bert_dataset *dataset,
                                                           const char *text,
                                                           size_t text_length,
                                                           const char *pair,
                                                           size_t pair_length,
                                                           const float *targets,
                                                           size_t num_targets);

/**
 * Adds `count` examples with regression targets, all of them or none. Each example has `num_targets` finite numbers.
 * `targets` has the shape [S, L] with S = `count` and L = `num_targets`: the numbers of the first example, then those
 * of the second, and so on. Texts and targets are copied. Any thread.
 *
 * Lengths are in bytes. `lengths` and `pair_lengths` may be NULL; then the texts of that array are NUL-terminated. If
 * `pairs` is NULL, the examples are single texts. A NULL element means that this example has no second text; an empty
 * second text is a pointer that isn't NULL, with length 0. Either all examples of a data set have a second text or
 * none has one.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (a required pointer
 * is NULL, a length is larger than memory can hold), BERT_ERR_UTF8 (a text is not valid UTF-8), BERT_ERR_DATA (there
 * is no target, a target is NaN or infinite, or the examples don't fit each other or the examples in the data set),
 * BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `targets` has `count` * `num_targets` elements. Each other array is NULL or has `count` elements. Each text is
 * readable for its length.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_add_targets(struct bert_dataset *dataset,
                                                            size_t count,
                                                            const char *const *texts,
                                                            const size_t *lengths,
                                                            const char *const *pairs,
                                                            const size_t *pair_lengths,
                                                            const float *targets,
                                                            size_t num_targets);

/**
 * Reads a data file into a new data set. `path` is NUL-terminated. `options` may be NULL for the defaults. Free the
 * data set with bert_dataset_free. Any thread.
 *
 * Lines may end with LF or CRLF. The file may begin with a byte-order mark. Blank lines are ignored.
 *
 * A table that can't be meant as it would be read is BERT_ERR_DATA, and the message names the option to set: the first
 * line looks like a header of unknown names, the first of three columns is an index or a class and not a text, the
 * label comes before the text. If the table may be meant so, it is read, and the log has a warning.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (a required pointer is NULL, an option is out of range, two options
 * contradict each other, the file name's ending is not a known format), BERT_ERR_STRUCT_SIZE (the `struct_size` of
 * `options` is unknown), BERT_ERR_UTF8 (an option is not valid UTF-8), BERT_ERR_IO (the file can't be read),
 * BERT_ERR_DATA (the content is wrong; the message contains the line and what was expected), BERT_ERR_FORKED (this
 * process is a forked child).
 *
 * Pointers:
 * `path` ends with a NUL. `options` is NULL or was initialised by bert_read_options_init, and its texts are NULL or
 * end with a NUL. `dataset` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_read(const char *path,
                                                     const struct bert_read_options *options,
                                                     struct bert_dataset **dataset);

/**
 * Creates a data set from the built-in toy data: short sentences with the label "negative" or "positive". `part` is
 * BERT_TOY_TRAIN or BERT_TOY_VALIDATION. Free the data set with bert_dataset_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`part` is unknown, `dataset` is NULL), BERT_ERR_FORKED (this process is
 * a forked child).
 *
 * Pointers:
 * `dataset` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_toy(bert_toy_part part, struct bert_dataset **dataset);

/**
 * Splits a data set into two new data sets. About `fraction` of the examples (greater than 0, less than 1) are copied
 * to `validation`, the others to `train`. `dataset` doesn't change. Free all three with bert_dataset_free. Any
 * thread.
 *
 * With classes, both parts have each class in the same proportion, and a class with at least two examples is in both.
 * With lists of labels, both parts have each label as nearly as possible in the same proportion. The same data,
 * fraction and seed give the same parts.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (`fraction` is out
 * of range, `train` or `validation` is NULL, both are the same pointer), BERT_ERR_DATA (too few examples: one part
 * would be empty), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `train` and `validation` are writable.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_split(const struct bert_dataset *dataset,
                                                      double fraction,
                                                      uint64_t seed,
                                                      struct bert_dataset **train,
                                                      struct bert_dataset **validation);

/**
 * Writes the number of examples in a data set to `count`. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (`count` is NULL),
 * BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `count` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_count(const struct bert_dataset *dataset, size_t *count);

/**
 * Initialises `description` for bert_dataset_describe. `struct_size` is sizeof(bert_dataset_description). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`description` is NULL or not aligned), BERT_ERR_STRUCT_SIZE
 * (`struct_size` is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `description` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_description_init(struct bert_dataset_description *description,
                                                                 size_t struct_size);

/**
 * Describes a data set: how many examples and labels it has, how long the texts are, and what may be wrong with it.
 * `model` may be NULL; then lengths are in characters, else in the model's tokens. Initialise `description` with
 * bert_dataset_description_init or BERT_DATASET_DESCRIPTION_INIT. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` or `model` is invalid), BERT_ERR_INVALID_ARGUMENT (`description` is
 * NULL), BERT_ERR_STRUCT_SIZE (`description` isn't initialised), BERT_ERR_BUFFER_TOO_SMALL (`label_counts`;
 * nothing was written), BERT_ERR_DATA (more than 100000 labels), BERT_ERR_OUT_OF_MEMORY (the system
 * has not enough memory), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `description` was initialised with bert_dataset_description_init or BERT_DATASET_DESCRIPTION_INIT. Its array is
 * NULL or writable for its capacity.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_describe(const struct bert_dataset *dataset,
                                                         const struct bert_model *model,
                                                         struct bert_dataset_description *description);

/**
 * Writes the name of a label of a data set to `name`, NUL-terminated. Any thread.
 *
 * `label_id` is the id that the label has in a model made for the data set; ids count from 0, and
 * bert_dataset_describe gives their number. The labels are counted anew in each call. `capacity` is the number of
 * bytes that `name` can hold. `size` receives the number of bytes that the name needs with its NUL, also if `name` is
 * NULL or too small; `size` may be NULL.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`dataset` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (`size` is not
 * aligned), BERT_ERR_UNKNOWN_LABEL (there is no such id), BERT_ERR_BUFFER_TOO_SMALL (`name`; only `size` is written),
 * BERT_ERR_DATA (more than 100000 labels), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `name` is NULL or writable for `capacity` bytes. `size` is NULL or writable.
 */
BERT_API BERT_MUST_USE bert_status bert_dataset_label_name(const struct bert_dataset *dataset,
                                                           int32_t label_id,
                                                           char *name,
                                                           size_t capacity,
                                                           size_t *size);

/**
 * Sets all fields of a bert_model_options from a preset. `struct_size` is sizeof(bert_model_options). `preset` is a
 * BERT_PRESET_ constant. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`preset` is unknown, `options` is NULL), BERT_ERR_STRUCT_SIZE
 * (`struct_size` is unknown), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_model_options_init(struct bert_model_options *options,
                                                           size_t struct_size,
                                                           bert_preset preset);

/**
 * Sets all fields of a bert_load_options to their defaults. `struct_size` is sizeof(bert_load_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL), BERT_ERR_STRUCT_SIZE (`struct_size` is unknown),
 * BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_load_options_init(struct bert_load_options *options, size_t struct_size);

/**
 * Initialises a bert_info for bert_get_info. `struct_size` is sizeof(bert_info). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`info` is NULL), BERT_ERR_STRUCT_SIZE (`struct_size` is unknown),
 * BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `info` is NULL or writable for `struct_size` bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_info_init(struct bert_info *info, size_t struct_size);

/**
 * Creates a new model with random weights. The tokenizer's vocabulary, the labels and the problem type come from the
 * data set `train`, unless `options` sets them; so does the maximum length of texts. `options` may be NULL for the
 * compact preset. Free the model with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`train` is not a valid data set), BERT_ERR_INVALID_ARGUMENT (an option is out of
 * range, `model` is NULL, the options contradict each other, there are pairs of texts but type_vocab_size is 1),
 * BERT_ERR_STRUCT_SIZE (the `struct_size` of `options` is unknown), BERT_ERR_UTF8 (an option is not valid UTF-8),
 * BERT_ERR_DATA (`train` is empty, has only one class, or is for another problem type), BERT_ERR_UNKNOWN_LABEL
 * (`train` has a label that label_names doesn't contain), BERT_ERR_DEVICE (the device doesn't exist or can't be
 * used), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_IO (tokenizer_path can't be read), BERT_ERR_FORMAT
 * (tokenizer_path is damaged or not a tokenizer), BERT_ERR_UNSUPPORTED (this library doesn't support the tokenizer at
 * tokenizer_path), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `options` is NULL or was initialised by bert_model_options_init, and what its pointers point to is readable.
 * `model` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_create(const struct bert_model_options *options,
                                               const struct bert_dataset *train,
                                               struct bert_model **model);

/**
 * Loads a model directory: one that bert_save wrote, or a published Hugging Face BERT. `path` is NUL-terminated.
 * `options` may be NULL for the defaults. Free the model with bert_free. Any thread.
 *
 * A published model is a BertModel, BertForPreTraining, BertForMaskedLM or BertForSequenceClassification. Its
 * directory has config.json, tokenizer.json or vocab.txt, and the weights: model.safetensors or pytorch_model.bin, or
 * their shards. If it has no pooler or no classifier, that part gets initial values and must be trained. The log then
 * has a warning, unless labels_from or new_classifier asks for a new classifier. bert_parameter_name returns the names
 * of these parameters. A model of another task, for example BertForTokenClassification, is loaded only if a new
 * classifier is asked for.
 *
 * Checksums of models written by bert_save are verified. If you edit a file of such a model, delete libbert.json.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`path` is NULL or empty, `model` is NULL, an option is out of range),
 * BERT_ERR_STRUCT_SIZE (the `struct_size` of `options` is unknown), BERT_ERR_UTF8 (an option is not valid UTF-8),
 * BERT_ERR_IO (a file is missing or can't be read), BERT_ERR_FORMAT (a file is damaged or was changed, or the files
 * don't fit each other), BERT_ERR_VERSION (a newer version of this library wrote the model), BERT_ERR_UNSUPPORTED
 * (this library doesn't support the model; a model of another task without new_classifier or labels_from; an int8
 * model with other labels or on another device than the CPU),
 * BERT_ERR_DEVICE (the device doesn't exist or can't be used), BERT_ERR_OUT_OF_MEMORY (too little memory),
 * BERT_ERR_HANDLE (labels_from is not a valid data set), BERT_ERR_DATA (labels_from is empty, has only one class, or
 * is for another problem type), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `path` ends with a NUL. `options` is NULL or was initialised by bert_load_options_init, and what its pointers point
 * to is readable. `model` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_load(const char *path,
                                             const struct bert_load_options *options,
                                             struct bert_model **model);

/**
 * Loads a model from the `length` bytes that bert_save_to_buffer wrote. You may free the bytes after the call.
 * `options` may be NULL for the defaults. Free the model with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`bytes` is NULL, `length` is larger than memory can hold, `model` is
 * NULL, an option is out of range), BERT_ERR_STRUCT_SIZE (the `struct_size` of `options` is unknown), BERT_ERR_UTF8
 * (an option is not valid UTF-8), BERT_ERR_FORMAT (the bytes are damaged or not a saved model), BERT_ERR_VERSION (a
 * newer version of this library wrote the bytes), BERT_ERR_UNSUPPORTED (this library doesn't support the model; an
 * int8 model with other labels or on another device than the CPU), BERT_ERR_DEVICE (the device doesn't exist or can't
 * be used), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_HANDLE (labels_from is not a valid data set),
 * BERT_ERR_DATA (labels_from is empty, has only one class, or is for another problem type), BERT_ERR_FORKED (this
 * process is a forked child).
 *
 * Pointers:
 * `bytes` is readable for `length` bytes. `options` is NULL or was initialised by bert_load_options_init, and what
 * its pointers point to is readable. `model` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_load_from_buffer(const uint8_t *bytes,
                                                         size_t length,
                                                         const struct bert_load_options *options,
                                                         struct bert_model **model);

/**
 * Saves a model as a Hugging Face model directory. The files are config.json, model.safetensors, tokenizer.json, the
 * small files of the tokenizer, and libbert.json with the checksum of each file. LoRA adapters are merged into the
 * saved weights. Allowed while the model is trained, and inside callbacks. Any thread.
 *
 * `path` (NUL-terminated) may be absent, an empty directory, or a model that this library saved. An older model is
 * replaced in one step, after the new one is complete and flushed to disk. Other files in that directory are kept.
 * Anything different at `path` is refused, and so is a model directory that contains subdirectories. Symbolic links
 * are followed.
 *
 * If the process is killed during the call, bert_load finds the older model or the new one, always complete. A hidden
 * directory `.NAME.bert-save-PID-N` may remain beside the model's directory; the next save removes it.
 *
 * transformers can load a float32 model with BERT_POOLING_POOLER and without final_layer_norm. Only this library can
 * load other models.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or
 * empty), BERT_ERR_IO (the directory can't be written, or is refused; the older model doesn't change, unless the
 * message says that the new model is in place but could not be flushed), BERT_ERR_FORKED (this process is a forked
 * child).
 *
 * Pointers:
 * `path` ends with a NUL.
 */
BERT_API BERT_MUST_USE bert_status bert_save(const struct bert_model *model, const char *path);

/**
 * Checks whether bert_save can write to `path` (NUL-terminated) at present. Call it before a long training to find
 * mistakes early. The path is accepted if it is absent and its parent directory exists, if it is an empty directory,
 * or if it is a model that this library saved. Nothing is written. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`path` is NULL or empty), BERT_ERR_IO (bert_save can't write there),
 * BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `path` ends with a NUL.
 */
BERT_API BERT_MUST_USE bert_status bert_check_save(const char *path);

/**
 * Saves a model into memory that the library allocates. Free the memory with bert_buffer_free. `bytes` receives the
 * address, `length` the number of bytes. The bytes are one safetensors file with the configuration and the tokenizer
 * in its metadata. LoRA adapters are merged into the saved weights. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`bytes` or `length` is
 * NULL), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `bytes` and `length` are writable.
 */
BERT_API BERT_MUST_USE bert_status bert_save_to_buffer(const struct bert_model *model, uint8_t **bytes, size_t *length);

/**
 * Frees memory that bert_save_to_buffer allocated. Pass the address and the length that it wrote. NULL is allowed.
 * Any thread; free each buffer once.
 *
 * Pointers:
 * `bytes` and `length` are as bert_save_to_buffer wrote them, and the buffer has not been freed.
 */
BERT_API void bert_buffer_free(uint8_t *bytes, size_t length);

/**
 * Creates an int8 model from `model`. It has about a quarter of the size, is faster, and predicts nearly the same.
 * `model` doesn't change. Free the new model with bert_free. Any thread.
 *
 * Weights are rounded to 8 bits with one scale for each output, embeddings with one scale for each token. During
 * prediction the input of a layer is rounded with one scale for each token. Sums are exact integers, so they are the
 * same on every processor. Biases, layer norms and the classifier stay float32. LoRA adapters are merged first.
 *
 * The new model predicts, embeds, evaluates, saves and loads like other models, but only on the CPU. Training it or
 * adding an adapter returns BERT_ERR_UNSUPPORTED. Only this library can load what bert_save writes for it.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`quantized` is NULL,
 * the model is already int8), BERT_ERR_UNSUPPORTED (the model isn't on the CPU, or has layers with more than 131072
 * inputs), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `quantized` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_quantize(const struct bert_model *model, struct bert_model **quantized);

/**
 * Creates a copy of a model on another device. `device` (NUL-terminated) is "cpu", "cuda" (the first GPU), "cuda:N"
 * (GPU N, counted from 0) or "auto" (the first GPU if it works, otherwise the CPU). Free the new model with
 * bert_free. Any thread.
 *
 * If both models are on the CPU, they share the weights in memory; otherwise the weights are copied. The copy
 * predicts as `model` does, up to rounding. Both are saved as the same bytes. `model` doesn't change and stays on its
 * device. To move a model, free `model` after the call.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`device` or `copy` is
 * NULL), BERT_ERR_UTF8 (`device` is not valid UTF-8), BERT_ERR_DEVICE (the device doesn't exist or can't be used),
 * BERT_ERR_UNSUPPORTED (an int8 model can't leave the CPU, or the GPU can't compute the model),
 * BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `device` ends with a NUL. `copy` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_copy_to_device(const struct bert_model *model,
                                                       const char *device,
                                                       struct bert_model **copy);

/**
 * Frees a model. NULL is allowed. Trainers of the model and calls that are running on it continue to work. Any
 * thread; free each model once.
 *
 * Texts that belong to this handle become invalid: those of bert_label_name, bert_parameter_name and
 * bert_prediction.label. This is also true if another thread frees the model.
 */
BERT_API void bert_free(struct bert_model *model);

/**
 * Writes the properties of a model to `info`: sizes, number of parameters, device and more. Initialise `info` with
 * bert_info_init or BERT_INFO_INIT. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`info` is NULL),
 * BERT_ERR_STRUCT_SIZE (the `struct_size` of `info` is unknown), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `info` was initialised by bert_info_init or BERT_INFO_INIT.
 */
BERT_API BERT_MUST_USE bert_status bert_get_info(const struct bert_model *model, struct bert_info *info);

/**
 * Writes the name of parameter `index` of one origin to `name`. `origin` is a BERT_PARAMETERS_ constant; indices
 * start at 0. `count` receives the number of parameters of this origin. To get only the count, pass NULL for `name`.
 * Any thread.
 *
 * The name is NUL-terminated and belongs to the model. It is valid until this handle is freed, also by another
 * thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`count` is NULL,
 * `origin` is unknown, `index` is not less than the count), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `name` is NULL or writable. `count` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_parameter_name(const struct bert_model *model,
                                                       bert_parameter_origin origin,
                                                       size_t index,
                                                       const char **name,
                                                       size_t *count);

/**
 * Writes the name of label `label_id` to `name`. `label_id` is the id of a class, label or regression target; ids
 * count from 0. `length` receives the length of the name in bytes; it may be NULL. Any thread.
 *
 * The name is NUL-terminated and belongs to the model. It is valid until this handle is freed, also by another
 * thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`name` is NULL),
 * BERT_ERR_UNKNOWN_LABEL (the model has no such id), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `name` is writable. `length` is NULL or writable.
 */
BERT_API BERT_MUST_USE bert_status bert_label_name(const struct bert_model *model,
                                                   int32_t label_id,
                                                   const char **name,
                                                   size_t *length);

/**
 * Writes the id of the label with the given name to `label_id`. `name_length` is in bytes, or BERT_NUL_TERMINATED.
 * Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`name` or `label_id` is
 * NULL, `name_length` is larger than memory can hold), BERT_ERR_UTF8 (`name` is not valid UTF-8),
 * BERT_ERR_UNKNOWN_LABEL (the model has no label with this name), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `name` is readable for `name_length` bytes, or ends with a NUL. `label_id` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_label_id(const struct bert_model *model,
                                                 const char *name,
                                                 size_t name_length,
                                                 int32_t *label_id);

/**
 * Writes the token ids of a text, or of a pair of texts. `pair` is the second text, or NULL for a single text.
 * Lengths are in bytes, or BERT_NUL_TERMINATED. Any thread.
 *
 * The ids include [CLS] and [SEP]. Longer texts are cut at their end to `max_length` tokens in all; of a pair, the
 * longer text is cut first. `max_length` is 4 to the model's max_position_embeddings. 0 means
 * max_position_embeddings, or model_max_length in the model's tokenizer_config.json if that is smaller.
 *
 * `ids` and `token_type_ids` are arrays of shape [T], where T is the number of tokens. Each has room for `capacity`
 * numbers and may be NULL. `count` receives T, also if an array is too small.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (a required pointer is
 * NULL, a length is larger than memory can hold, `max_length` is out of range), BERT_ERR_UTF8 (a text is not valid
 * UTF-8), BERT_ERR_BUFFER_TOO_SMALL (an array is too small; only `count` is written), BERT_ERR_FORKED (this process
 * is a forked child).
 *
 * Pointers:
 * The texts are readable for their lengths. The arrays are NULL or writable for `capacity` numbers. `count` is
 * writable.
 */
BERT_API BERT_MUST_USE bert_status bert_tokenize(const struct bert_model *model,
                                                 const char *text,
                                                 size_t text_length,
                                                 const char *pair,
                                                 size_t pair_length,
                                                 int32_t max_length,
                                                 uint32_t *ids,
                                                 uint32_t *token_type_ids,
                                                 size_t capacity,
                                                 size_t *count);

/**
 * Sets the thresholds of a multi-label model: one probability for each label, in the order of the label ids. A text
 * has a label if the label's probability is at least the label's threshold. `thresholds` has `count` numbers from 0 to
 * 1. `count` is the model's number of labels, or 0: all labels get 0.5, which is also what a new model has.
 *
 * The thresholds are a part of the model. They are saved with it, and models that are created from it have them too.
 * They are used wherever the option `threshold` is -1, its default. transformers doesn't know them. Loading the model
 * with other labels or for another problem type resets them. Any thread; a prediction uses the thresholds that the
 * model has when the prediction begins.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`thresholds` is NULL and
 * `count` isn't 0, `count` isn't the number of labels, or a number isn't between 0 and 1), BERT_ERR_UNSUPPORTED (the
 * model isn't a multi-label model), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `thresholds` is NULL or has `count` numbers.
 */
BERT_API BERT_MUST_USE bert_status bert_set_thresholds(struct bert_model *model,
                                                       const double *thresholds,
                                                       size_t count);

/**
 * Writes the thresholds of a multi-label model to `thresholds`: one number for each label, in the order of the label
 * ids, shape [L]. `capacity` is the number of elements that `thresholds` can hold; L are needed. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`thresholds` is NULL),
 * BERT_ERR_BUFFER_TOO_SMALL (`capacity` is less than the number of labels; nothing is written), BERT_ERR_UNSUPPORTED
 * (the model isn't a multi-label model), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `thresholds` is writable for `capacity` numbers.
 */
BERT_API BERT_MUST_USE bert_status bert_get_thresholds(const struct bert_model *model,
                                                       double *thresholds,
                                                       size_t capacity);

/**
 * Sets all fields of a bert_lora_options to their defaults. `struct_size` is sizeof(bert_lora_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL), BERT_ERR_STRUCT_SIZE (`struct_size` is unknown),
 * BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_lora_options_init(struct bert_lora_options *options, size_t struct_size);

/**
 * Creates a model with LoRA adapters from `model`. `model` doesn't change. `options` may be NULL for the defaults.
 * Free the new model with bert_free. Any thread.
 *
 * An adapted projection computes y = W x + b + scale * B A x, where scale is alpha / rank (alpha / sqrt(rank) with
 * use_rslora). Before training, the new model computes the same as `model`. Training changes only the adapters, the
 * classifier and, with train_pooler, the pooler. All other weights are shared in memory with `model` and need no
 * gradients and no optimizer state. Training one of the two models doesn't change the other.
 *
 * bert_save writes the new model as a plain model with the adapters merged into the weights. bert_save_adapter writes
 * only the adapters, the classifier and, with train_pooler, the pooler.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (an option is out of
 * range, `lora_model` is NULL, the model already has adapters, train_pooler is 0 but the model's pooler was not
 * loaded from a saved model), BERT_ERR_UNSUPPORTED (an int8 model), BERT_ERR_STRUCT_SIZE (the `struct_size` of
 * `options` is unknown), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked
 * child).
 *
 * Pointers:
 * `options` is NULL or was initialised by bert_lora_options_init. `lora_model` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_add_lora(const struct bert_model *model,
                                                 const struct bert_lora_options *options,
                                                 struct bert_model **lora_model);

/**
 * Creates a model without adapters that computes the same as `model`, which has LoRA adapters. Each adapted W becomes
 * W + scale * B A, where scale is alpha / rank, or alpha / sqrt(rank) with use_rslora. `model` doesn't change. Free
 * the new model with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`merged` is NULL, the
 * model has no adapters), BERT_ERR_OUT_OF_MEMORY (too little memory), BERT_ERR_FORKED (this process is a forked
 * child).
 *
 * Pointers:
 * `merged` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_merge_lora(const struct bert_model *model, struct bert_model **merged);

/**
 * Saves a model's LoRA adapters as a PEFT directory: adapter_config.json and adapter_model.safetensors. The
 * classifier is saved too and, with train_pooler, the pooler, as PEFT's modules_to_save. These are all the weights
 * that differ from the model that was passed to bert_add_lora. bert_load_adapter and PEFT's PeftModel.from_pretrained
 * can load the directory. Any thread.
 *
 * `path` (NUL-terminated) may be absent, an empty directory, or adapters that this library saved. Older adapters are
 * replaced in one step. Anything different at `path` is refused, also a saved model.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or
 * empty, the model has no adapters), BERT_ERR_IO (the directory can't be written, or is refused), BERT_ERR_FORKED
 * (this process is a forked child).
 *
 * Pointers:
 * `path` ends with a NUL.
 */
BERT_API BERT_MUST_USE bert_status bert_save_adapter(const struct bert_model *model, const char *path);

/**
 * Creates a model from `model` and the LoRA adapters in the PEFT directory at `path` (NUL-terminated). The classifier
 * and the pooler are taken from that directory if they were saved there. `model` doesn't change. The new model can be
 * trained further. Free it with bert_free. Any thread.
 *
 * `model` must be the model on which the adapters were trained, as it was before that training. Its classifier may
 * have initial values. The label names are those that bert_save_adapter wrote. Adapters that PEFT wrote contain no
 * label names; the new model then has those of `model`. rank_pattern, alpha_pattern, layers_to_transform and
 * exclude_modules are followed. An adapter of the pooler is merged into the pooler. Other settings of PEFT that this
 * library doesn't support are refused with their name.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is not a valid model), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or
 * empty, `lora_model` is NULL, the model already has adapters), BERT_ERR_IO (a file is missing or can't be read),
 * BERT_ERR_FORMAT (a file is damaged, the adapters don't fit the model, or they need a pooler that neither the model
 * nor the directory has), BERT_ERR_VERSION (a newer version of this library wrote the directory),
 * BERT_ERR_UNSUPPORTED (this library doesn't support this kind of adapter, an int8 model), BERT_ERR_OUT_OF_MEMORY
 * (too little memory), BERT_ERR_FORKED (this process is a forked child).
 *
 * Pointers:
 * `path` ends with a NUL. `lora_model` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_load_adapter(const struct bert_model *model,
                                                     const char *path,
                                                     struct bert_model **lora_model);

/**
 * Initialises `options` with the defaults. `struct_size` is sizeof(bert_evaluate_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
 * is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `options` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_evaluate_options_init(struct bert_evaluate_options *options,
                                                              size_t struct_size);

/**
 * Initialises `options` with the defaults. `struct_size` is sizeof(bert_train_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
 * is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `options` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_train_options_init(struct bert_train_options *options, size_t struct_size);

/**
 * Initialises `report` for bert_train_step. `struct_size` is sizeof(bert_step_report). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
 * not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `report` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_step_report_init(struct bert_step_report *report, size_t struct_size);

/**
 * Initialises `report` for bert_train_epoch. `struct_size` is sizeof(bert_epoch_report). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
 * not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `report` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_epoch_report_init(struct bert_epoch_report *report, size_t struct_size);

/**
 * Initialises `report` for bert_train. `struct_size` is sizeof(bert_train_report). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
 * not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `report` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_train_report_init(struct bert_train_report *report, size_t struct_size);

/**
 * Initialises `report` for bert_trainer_resume. `struct_size` is sizeof(bert_resume_report). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
 * not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `report` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_resume_report_init(struct bert_resume_report *report, size_t struct_size);

/**
 * Initialises `evaluation` for bert_evaluate. All arrays are NULL, the settings have their defaults. `struct_size` is
 * sizeof(bert_evaluation). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`evaluation` is NULL or not aligned), BERT_ERR_STRUCT_SIZE
 * (`struct_size` is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `evaluation` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_evaluation_init(struct bert_evaluation *evaluation, size_t struct_size);

/**
 * Creates a trainer that trains `model` with the data set `train`. `validation` is the data set for evaluations; NULL:
 * there are none. This call doesn't train yet; training changes the weights of `model`. The texts are tokenized in
 * this call, with the model's tokenizer. Afterwards you may free both data sets and the handle of the model. `options`
 * may be NULL: the defaults are used. The strings and arrays of the options are copied, but not what
 * progress_user_data points to. Free the trainer with bert_trainer_free or bert_trainer_close. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model`, `train` or `validation` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer
 * is NULL, or an option is out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` isn't
 * initialised), BERT_ERR_DATA (no examples, all examples of one class, or labels for another problem type),
 * BERT_ERR_UNKNOWN_LABEL (a label that the model doesn't have), BERT_ERR_UNSUPPORTED (`model` is int8), BERT_ERR_IO
 * (history_path, best_model_path or checkpoint_path can't be used), BERT_ERR_OUT_OF_MEMORY (the system has not enough
 * memory), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `options` is NULL or was initialised with bert_train_options_init. Its paths are NULL or end with a NUL, and
 * class_weights has num_class_weights elements. Its callback and user data stay valid until the trainer is freed and
 * every training call on it has returned. `trainer` is writable.
 */
BERT_API BERT_MUST_USE bert_status bert_trainer_create(struct bert_model *model,
                                                       const struct bert_dataset *train,
                                                       const struct bert_dataset *validation,
                                                       const struct bert_train_options *options,
                                                       struct bert_trainer **trainer);

/**
 * Frees a trainer; NULL is allowed. The model keeps its weights. A training call that is running on the trainer
 * continues to its end, and the trainer's memory is freed when it returns. This also holds if you free the trainer
 * inside its progress callback. The callback and its user data must stay valid until every training call on the
 * trainer has returned. bert_trainer_close waits for that. Any thread, once.
 */
BERT_API void bert_trainer_free(struct bert_trainer *trainer);

/**
 * Cancels the running training call of a trainer, waits until it has returned, and frees the trainer. NULL is allowed.
 * An evaluation that is running or due is completed first. When this function has returned BERT_OK, the progress
 * callback isn't running and isn't called again; you may free the callback and its user data. Don't hold a lock that
 * the callback needs. Any thread, once; not inside a callback of the trainer's own training call.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_BUSY (inside a callback of the trainer's own
 * training call; the trainer isn't freed), BERT_ERR_FORKED (in a forked child process).
 */
BERT_API BERT_MUST_USE bert_status bert_trainer_close(struct bert_trainer *trainer);

/**
 * Makes one optimizer step with the next batches of the trainer. `report` may be NULL; otherwise initialise it with
 * bert_step_report_init or BERT_STEP_REPORT_INIT. Any thread, but only one thread at a time can train a model.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`report` isn't aligned),
 * BERT_ERR_STRUCT_SIZE (`report` isn't initialised), BERT_ERR_FINISHED (all planned epochs are done),
 * BERT_ERR_CANCELLED (by the callback, bert_trainer_cancel or bert_trainer_close), BERT_ERR_NOT_FINITE (the loss or a
 * gradient is NaN or infinite: the model keeps the weights of the step before; the next call skips these batches),
 * BERT_ERR_BUSY (another call trains the model), BERT_ERR_IO (history_path can't be written: the step is made, and its
 * line is written together with the next one), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory),
 * BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `report` is NULL or was initialised with bert_step_report_init or BERT_STEP_REPORT_INIT.
 */
BERT_API BERT_MUST_USE bert_status bert_train_step(struct bert_trainer *trainer, struct bert_step_report *report);

/**
 * Trains the rest of the current epoch, or the whole next epoch. The learning rate follows the schedule of the planned
 * epochs. This function doesn't evaluate; call bert_evaluate for that. `report` may be NULL; otherwise initialise it
 * with bert_epoch_report_init or BERT_EPOCH_REPORT_INIT. If training fails and the epoch has at least one step, the
 * report is written too. Any thread, but only one thread at a time can train a model.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`report` isn't aligned),
 * BERT_ERR_STRUCT_SIZE (`report` isn't initialised), BERT_ERR_FINISHED (all planned epochs are done),
 * BERT_ERR_CANCELLED (by the callback, bert_trainer_cancel or bert_trainer_close), BERT_ERR_NOT_FINITE (the loss or a
 * gradient is NaN or infinite: the model keeps the weights of the step before; the next call skips these batches),
 * BERT_ERR_BUSY (another call trains the model), BERT_ERR_IO (history_path can't be written: the step is made, and its
 * line is written together with the next one), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory),
 * BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `report` is NULL or was initialised with bert_epoch_report_init or BERT_EPOCH_REPORT_INIT.
 */
BERT_API BERT_MUST_USE bert_status bert_train_epoch(struct bert_trainer *trainer, struct bert_epoch_report *report);

/**
 * Trains until the end of the plan: all remaining epochs, with evaluations on the validation data. It evaluates after
 * each epoch and every eval_steps steps. With checkpoint_path it writes checkpoints and can resume an interrupted run.
 * `report` may be NULL; otherwise initialise it with bert_train_report_init or BERT_TRAIN_REPORT_INIT. If training
 * fails and the run has at least one step, the report is written too, and its stop_reason says why. Any thread, but
 * only one thread at a time can train a model.
 *
 * At the end, also after early stopping, the model has the weights of the best evaluation if restore_best is 1 and
 * there is validation data; otherwise it has the weights of the last step. After a cancellation or an error it has the
 * weights of the last step; best_model_path then still contains the best model. If all planned epochs were done before
 * the call, it returns BERT_OK and doesn't change the model.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`report` isn't aligned, or
 * checkpoint_path contains checkpoints of another run), BERT_ERR_STRUCT_SIZE (`report` isn't initialised),
 * BERT_ERR_CANCELLED (by the callback, bert_trainer_cancel or bert_trainer_close), BERT_ERR_NOT_FINITE (the loss or a
 * gradient is NaN or infinite: the model keeps the weights of the step before; the next call skips these batches),
 * BERT_ERR_BUSY (another call trains the model), BERT_ERR_IO (history_path, best_model_path or checkpoint_path can't
 * be written: call again to continue; the line or the evaluation that failed is made again), BERT_ERR_VERSION (a newer
 * version of this library wrote a checkpoint in checkpoint_path), BERT_ERR_OUT_OF_MEMORY (the system has not enough
 * memory), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `report` is NULL or was initialised with bert_train_report_init or BERT_TRAIN_REPORT_INIT.
 */
BERT_API BERT_MUST_USE bert_status bert_train(struct bert_trainer *trainer, struct bert_train_report *report);

/**
 * Writes a checkpoint of the training run to the directory `path`. The directory contains the model, as bert_save
 * writes it, so that bert_load can load it. It also contains what the run needs to continue as if it had never
 * stopped: the moments of the optimizer, the step, the schedule, the data order, the random state, and the best
 * evaluation with its weights. Its files have checksums, and an older checkpoint is replaced in one step. A checkpoint
 * needs about four times the disk space of the model. Any thread, also while the trainer trains and inside its
 * callback; the checkpoint then has the state after a complete step.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or empty),
 * BERT_ERR_IO (the checkpoint can't be written), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory),
 * BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `path` is NULL or ends with a NUL.
 */
BERT_API BERT_MUST_USE bert_status bert_trainer_save(const struct bert_trainer *trainer, const char *path);

/**
 * Restores the state that bert_trainer_save wrote: weights, optimizer, data order and random state. First create the
 * trainer in the same way as before: with the same data sets and options, and a model with the same parameters. That
 * can be the model that the run began with, or the checkpoint, loaded with bert_load. `report` may be NULL; otherwise
 * initialise it with bert_resume_report_init or BERT_RESUME_REPORT_INIT. If the call fails, nothing is changed.
 * Any thread; not inside a callback of a training call on the same model.
 *
 * If the options, data, device, number of threads, processor and library are the same as before, the run ends with the
 * same weights, bit for bit, as if it had never been interrupted. Otherwise the run continues with the trainer's own
 * options, without this guarantee; is_exact in `report` is then 0.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`trainer` is invalid), BERT_ERR_INVALID_ARGUMENT (`path` is NULL or empty,
 * `report` isn't aligned, or the model has other parameters), BERT_ERR_STRUCT_SIZE (`report` isn't initialised),
 * BERT_ERR_FORMAT (the checkpoint is damaged, or the directory is not a checkpoint), BERT_ERR_VERSION (a newer version
 * of the library wrote it), BERT_ERR_IO (a file can't be read), BERT_ERR_BUSY (another call trains the model),
 * BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `path` is NULL or ends with a NUL. `report` is NULL or was initialised with bert_resume_report_init or
 * BERT_RESUME_REPORT_INIT.
 */
BERT_API BERT_MUST_USE bert_status bert_trainer_resume(struct bert_trainer *trainer,
                                                       const char *path,
                                                       struct bert_resume_report *report);

/**
 * Asks a trainer to stop: the running training call returns BERT_ERR_CANCELLED after its current step. If no training
 * call is running, the next one returns BERT_ERR_CANCELLED before its first step. An evaluation that is running or due
 * is completed before the call returns. NULL is allowed. Any thread, also inside signal handlers.
 *
 * Pointers:
 * `trainer` is NULL or a trainer that isn't freed before this function returns.
 */
BERT_API void bert_trainer_cancel(const struct bert_trainer *trainer);

/**
 * Evaluates a model on labelled examples. `max_length` is the maximum sequence length in tokens; 0: the maximum length
 * of the model. Longer texts are cut; texts_cut says how many, and bert_evaluate_with can read them in windows.
 * Initialise `evaluation` with bert_evaluation_init or BERT_EVALUATION_INIT, then set the arrays that you want. Any
 * thread, also while the model is trained. The log reports at BERT_LOG_WARNING if texts were cut, if a class is never
 * predicted, and if the answers are no better than a constant answer.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` or `dataset` is invalid), BERT_ERR_INVALID_ARGUMENT (`evaluation` is NULL,
 * or a value is out of its range), BERT_ERR_STRUCT_SIZE (`evaluation` isn't initialised), BERT_ERR_DATA (no examples,
 * or labels for another problem type), BERT_ERR_UNKNOWN_LABEL (a label that the model doesn't have),
 * BERT_ERR_BUFFER_TOO_SMALL (an array; nothing was written), BERT_ERR_UNSUPPORTED (an array for something that the
 * model's problem type doesn't have), BERT_ERR_NOT_FINITE (the model's scores are NaN or infinite),
 * BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `evaluation` was initialised with bert_evaluation_init or BERT_EVALUATION_INIT. Its arrays are NULL or writable for
 * their capacities.
 */
BERT_API BERT_MUST_USE bert_status bert_evaluate(const struct bert_model *model,
                                                 const struct bert_dataset *dataset,
                                                 int32_t max_length,
                                                 struct bert_evaluation *evaluation);

/**
 * Evaluates a model on labelled examples, whose texts it reads as bert_predict_batch reads them with the same options:
 * what is measured is what is used. `options` may be NULL: the defaults are used. Initialise `evaluation` with
 * bert_evaluation_init or BERT_EVALUATION_INIT, then set threshold, compute_precision and the arrays as needed. Any
 * thread, also while the model is trained. The log reports what bert_evaluate reports.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` or `dataset` is invalid), BERT_ERR_INVALID_ARGUMENT (`evaluation` is NULL,
 * or a value is out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` or `evaluation` isn't
 * initialised), BERT_ERR_DATA (no examples, or labels for another problem type), BERT_ERR_UNKNOWN_LABEL (a label that
 * the model doesn't have), BERT_ERR_BUFFER_TOO_SMALL (an array; nothing was written), BERT_ERR_UNSUPPORTED (an array
 * for something that the model's problem type doesn't have), BERT_ERR_NOT_FINITE (the model's scores are NaN or
 * infinite), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `options` is NULL or was initialised with bert_evaluate_options_init. `evaluation` was initialised with
 * bert_evaluation_init or BERT_EVALUATION_INIT. Its arrays are NULL or writable for their capacities.
 */
BERT_API BERT_MUST_USE bert_status bert_evaluate_with(const struct bert_model *model,
                                                      const struct bert_dataset *dataset,
                                                      const struct bert_evaluate_options *options,
                                                      struct bert_evaluation *evaluation);

/**
 * Initialises `options` with the defaults. `struct_size` is sizeof(bert_fit_head_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
 * is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `options` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_fit_head_options_init(struct bert_fit_head_options *options,
                                                              size_t struct_size);

/**
 * Initialises `report` for bert_fit_head. `struct_size` is sizeof(bert_fit_head_report). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`report` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size` is
 * not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `report` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_fit_head_report_init(struct bert_fit_head_report *report, size_t struct_size);

/**
 * Fits the classifier of a model to the examples of `dataset`, and leaves the encoder as it is. Use it with a
 * pretrained model and few examples, some ten to some thousand, and to see what fine-tuning with bert_train must beat.
 * It takes about as long as predicting the examples once. It needs no learning rate, and its result doesn't depend on
 * a seed, on the order of the examples, on the number of threads or on the classifier's former weights. `options` may
 * be NULL: the defaults are used. `report` may be NULL; otherwise initialise it with bert_fit_head_report_init or
 * BERT_FIT_HEAD_REPORT_INIT.
 *
 * The classifier reads one vector for each text, as in predictions: see bert_info.pooling. For these vectors the
 * weights and biases of the classifier become the ones that scikit-learn finds. Single-label and multi-label
 * classification: those of LogisticRegression, for multi-label classification one for each label. Regression: those of
 * Ridge. Biases aren't penalised. A class without examples, or a label that is on all or on none of the examples, is
 * reported as a warning in the log.
 *
 * Predictions that run at the same time use the classifier from before the call or the one from after it. If the call
 * fails, the model doesn't change. A fit that ends before it has converged is BERT_OK: `report` and a warning in the
 * log say so. Any thread, but only one thread at a time can train a model; not inside a callback of a training call on
 * the same model.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` or `dataset` is invalid), BERT_ERR_INVALID_ARGUMENT (an option is out of
 * its range or doesn't fit the model, there are pairs of texts but type_vocab_size is 1, or `report` isn't aligned),
 * BERT_ERR_STRUCT_SIZE (`options` or `report` isn't initialised), BERT_ERR_DATA (no examples, all examples of one
 * class, or labels for another problem type), BERT_ERR_UNKNOWN_LABEL (a label that the model doesn't have),
 * BERT_ERR_UNSUPPORTED (`model` is int8), BERT_ERR_BUSY (another call trains the model), BERT_ERR_NOT_FINITE (a vector
 * or a weight would have numbers that are NaN or infinite), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory),
 * BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `options` is NULL or was initialised with bert_fit_head_options_init, and class_weights has num_class_weights
 * elements. `report` is NULL or was initialised with bert_fit_head_report_init or BERT_FIT_HEAD_REPORT_INIT.
 */
BERT_API BERT_MUST_USE bert_status bert_fit_head(struct bert_model *model,
                                                 const struct bert_dataset *dataset,
                                                 const struct bert_fit_head_options *options,
                                                 struct bert_fit_head_report *report);

/**
 * Initialises `options` with the defaults. `struct_size` is sizeof(bert_predict_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
 * is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `options` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_predict_options_init(struct bert_predict_options *options, size_t struct_size);

/**
 * Initialises `prediction` for bert_predict. `struct_size` is sizeof(bert_prediction). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`prediction` is NULL or not aligned), BERT_ERR_STRUCT_SIZE
 * (`struct_size` is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `prediction` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_prediction_init(struct bert_prediction *prediction, size_t struct_size);

/**
 * Initialises `predictions` for bert_predict_batch or bert_predict_ids; all arrays are NULL. `struct_size` is
 * sizeof(bert_predictions). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`predictions` is NULL or not aligned), BERT_ERR_STRUCT_SIZE
 * (`struct_size` is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `predictions` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_predictions_init(struct bert_predictions *predictions, size_t struct_size);

/**
 * Classifies one text or one pair of texts. `pair` is the second text; NULL: there is none. An empty second text is a
 * pointer that isn't NULL, with length 0. The lengths are in bytes, or BERT_NUL_TERMINATED. An empty text is valid;
 * `text` may be NULL if its length is 0. `options` may be NULL: the defaults are used. top_k and threshold of the
 * options have no effect here. A multi-label model is refused, because one answer isn't enough for a text that has any
 * number of labels: use bert_predict_batch. Initialise `prediction` with bert_prediction_init or BERT_PREDICTION_INIT.
 * Any thread; many threads can predict with one model at the same time, also while it is trained.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer is NULL, or an option is
 * out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` or `prediction` isn't initialised),
 * BERT_ERR_UTF8 (a text isn't valid UTF-8), BERT_ERR_UNSUPPORTED (a multi-label model, or regression with several
 * targets: use bert_predict_batch), BERT_ERR_NOT_FINITE (the model's scores are NaN or infinite),
 * BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * The texts are readable for their lengths, or end with a NUL. `options` is NULL or was initialised with
 * bert_predict_options_init. `prediction` was initialised with bert_prediction_init or BERT_PREDICTION_INIT.
 */
BERT_API BERT_MUST_USE bert_status bert_predict(const struct bert_model *model,
                                                const char *text,
                                                size_t text_length,
                                                const char *pair,
                                                size_t pair_length,
                                                const struct bert_predict_options *options,
                                                struct bert_prediction *prediction);

/**
 * Classifies `count` texts or pairs of texts in one call. The memory for the computation doesn't grow with `count`.
 * `lengths` contains the texts' lengths in bytes; NULL: all texts end with a NUL. `pairs` contains the second texts;
 * NULL: there are none. `pair_lengths` contains their lengths; NULL: all second texts end with a NUL. A NULL element
 * of `pairs` means that this text has no second text. An empty second text is a pointer that isn't NULL, with length
 * 0. A NULL element of `texts` with length 0 is an empty text. `options` may be NULL: the defaults are used.
 * Initialise `predictions` with bert_predictions_init or BERT_PREDICTIONS_INIT, then set the arrays that you want. Any
 * thread; many threads can predict with one model at the same time, also while it is trained.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer is NULL, or an option is
 * out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` or `predictions` isn't initialised),
 * BERT_ERR_UTF8 (a text isn't valid UTF-8), BERT_ERR_BUFFER_TOO_SMALL (an array of `predictions`; nothing was
 * written), BERT_ERR_UNSUPPORTED (an array that isn't defined for the model's problem type), BERT_ERR_NOT_FINITE (the
 * model's scores are NaN or infinite), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED (in
 * a forked child process).
 *
 * Pointers:
 * `texts`, and `lengths`, `pairs` and `pair_lengths` if they aren't NULL, have `count` elements. The texts are
 * readable for their lengths, or end with a NUL. `options` is NULL or was initialised with bert_predict_options_init.
 * `predictions` was initialised with bert_predictions_init or BERT_PREDICTIONS_INIT. Its arrays are NULL or writable
 * for their capacities.
 */
BERT_API BERT_MUST_USE bert_status bert_predict_batch(const struct bert_model *model,
                                                      size_t count,
                                                      const char *const *texts,
                                                      const size_t *lengths,
                                                      const char *const *pairs,
                                                      const size_t *pair_lengths,
                                                      const struct bert_predict_options *options,
                                                      struct bert_predictions *predictions);

/**
 * Classifies `count` sequences of token ids, for example from bert_tokenize. The sequences already contain [CLS] and
 * [SEP]. `ids` and `token_type_ids` contain the sequences one after another, shape [T]: sequence i has `lengths[i]`
 * tokens, and T is the sum of all lengths. `token_type_ids` may be NULL: all are 0. `options` may be NULL: the
 * defaults are used. Only top_k, threshold and precision of the options have an effect here. Initialise `predictions`
 * with bert_predictions_init or BERT_PREDICTIONS_INIT, then set the arrays that you want. Any thread; many threads can
 * predict with one model at the same time, also while it is trained.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer is NULL, an option is
 * out of its range, a sequence is empty or longer than max_position_embeddings, or an id is too large for the model),
 * BERT_ERR_STRUCT_SIZE (`options` or `predictions` isn't initialised), BERT_ERR_BUFFER_TOO_SMALL (an array of
 * `predictions`; nothing was written), BERT_ERR_UNSUPPORTED (an array that isn't defined for the model's problem
 * type), BERT_ERR_NOT_FINITE (the model's scores are NaN or infinite), BERT_ERR_OUT_OF_MEMORY (the system has not
 * enough memory), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `lengths` has `count` elements. `ids`, and `token_type_ids` if it isn't NULL, have as many elements as the sum of
 * `lengths`. `options` is NULL or was initialised with bert_predict_options_init. `predictions` was initialised with
 * bert_predictions_init or BERT_PREDICTIONS_INIT. Its arrays are NULL or writable for their capacities.
 */
BERT_API BERT_MUST_USE bert_status bert_predict_ids(const struct bert_model *model,
                                                    size_t count,
                                                    const uint32_t *ids,
                                                    const uint32_t *token_type_ids,
                                                    const size_t *lengths,
                                                    const struct bert_predict_options *options,
                                                    struct bert_predictions *predictions);

/**
 * Initialises `options` with the defaults. `struct_size` is sizeof(bert_embed_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (`options` is NULL or not aligned), BERT_ERR_STRUCT_SIZE (`struct_size`
 * is not the size of a known version), BERT_ERR_FORKED (in a forked child process).
 *
 * Pointers:
 * `options` is NULL or points to `struct_size` writable bytes.
 */
BERT_API BERT_MUST_USE bert_status bert_embed_options_init(struct bert_embed_options *options, size_t struct_size);

/**
 * Writes one vector of hidden_size numbers for each of `count` texts or pairs of texts. `vectors` receives the vectors
 * one after another, shape [S, H] with S = `count`; it has room for `capacity` numbers. `lengths` contains the texts'
 * lengths in bytes; NULL: all texts end with a NUL. `pairs` contains the second texts; NULL: there are none.
 * `pair_lengths` contains their lengths; NULL: all second texts end with a NUL. A NULL element of `pairs` means that
 * this text has no second text. An empty second text is a pointer that isn't NULL, with length 0. A NULL element of
 * `texts` with length 0 is an empty text. `options` may be NULL: the defaults are used. Any thread; many threads can
 * use one model at the same time, also while it is trained.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE (`model` is invalid), BERT_ERR_INVALID_ARGUMENT (a pointer is NULL, or an option is
 * out of its range or doesn't fit the model), BERT_ERR_STRUCT_SIZE (`options` isn't initialised), BERT_ERR_UTF8 (a
 * text isn't valid UTF-8), BERT_ERR_BUFFER_TOO_SMALL (`vectors`; nothing was written), BERT_ERR_UNSUPPORTED
 * (BERT_POOLING_POOLER, but the model has no pooler, or one with initial values), BERT_ERR_NOT_FINITE (a vector would
 * have numbers that are NaN or infinite), BERT_ERR_OUT_OF_MEMORY (the system has not enough memory), BERT_ERR_FORKED
 * (in a forked child process).
 *
 * Pointers:
 * `texts`, and `lengths`, `pairs` and `pair_lengths` if they aren't NULL, have `count` elements. The texts are
 * readable for their lengths, or end with a NUL. `options` is NULL or was initialised with bert_embed_options_init.
 * `vectors` is writable for `capacity` numbers.
 */
BERT_API BERT_MUST_USE bert_status bert_embed(const struct bert_model *model,
                                              size_t count,
                                              const char *const *texts,
                                              const size_t *lengths,
                                              const char *const *pairs,
                                              const size_t *pair_lengths,
                                              const struct bert_embed_options *options,
                                              float *vectors,
                                              size_t capacity);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LIBBERT_BERT_H */
