/* libbert: train, fine-tune, evaluate and run BERT text classifiers.
 *
 * Every function that can fail returns a bert_status: BERT_OK (0), or the category of the failure; the sentence for it
 * is bert_last_error_message(). Results go through out-parameters, which are untouched on failure. Nothing is printed,
 * and no failure ends the process.
 *
 * Handles (bert_model, bert_dataset, bert_trainer) are opaque and have one free function each, which takes NULL too.
 * They can be freed in any order. A NULL, freed or wrong handle gives BERT_ERR_HANDLE.
 *
 * Each function lists the statuses that say something of that call. Two more can come from any that takes a handle:
 * BERT_ERR_INTERNAL, a defect of the library that was caught, and from then on BERT_ERR_POISONED for that handle.
 *
 * A calling thread needs 128 KB of stack. Its floating-point state (rounding, flush-to-zero, unmasked exceptions) changes
 * no result; it is as it was after each call and inside callbacks.
 *
 * Texts are UTF-8 with a length in bytes, or BERT_NUL_TERMINATED. Paths are NUL-terminated. Every struct is prepared by
 * its _init function with its sizeof; then set the fields that you want.
 *
 * Generated from the library's source by cbindgen: `BERT_UPDATE_HEADER=1 cargo test --release --test header`. */

#ifndef BERT_H
#define BERT_H

#include <stddef.h>
#include <stdint.h>

/** Given as a text's length: the text ends at its first NUL. */
#define BERT_NUL_TERMINATED ((size_t)-1)

/**
 * This header's version: bert_version() tells the library's.
 */
#define BERT_VERSION_MAJOR 0

/**
 * See BERT_VERSION_MAJOR.
 */
#define BERT_VERSION_MINOR 1

/**
 * See BERT_VERSION_MAJOR.
 */
#define BERT_VERSION_PATCH 0

/**
 * The number of the binary interface that this header describes. A program that was compiled with one number needs a
 * library whose bert_abi_version() gives the same one.
 */
#define BERT_ABI_VERSION 1

/**
 * A line of the log at the level for defects of the library.
 */
#define BERT_LOG_DEBUG 0

/**
 * A line of the log about what the library chose or did.
 */
#define BERT_LOG_INFO 1

/**
 * A line of the log about something that works, but probably not as it was meant.
 */
#define BERT_LOG_WARNING 2

/**
 * The problem that the data is for.
 */
#define BERT_PROBLEM_AUTO 0

/**
 * Each text has exactly one of the classes: softmax, cross entropy.
 */
#define BERT_PROBLEM_SINGLE_LABEL 1

/**
 * Each text has any number of the labels, none included: a sigmoid for each label, binary cross entropy.
 */
#define BERT_PROBLEM_MULTI_LABEL 2

/**
 * Each text has one number or several, the targets: the model's scores as they are, mean squared error.
 */
#define BERT_PROBLEM_REGRESSION 3

/**
 * The file's format goes by its name's ending: .tsv, .csv, .jsonl, .ndjson.
 */
#define BERT_FORMAT_AUTO 0

/**
 * A record a line, fields separated by tabs, no quoting.
 */
#define BERT_FORMAT_TSV 1

/**
 * RFC 4180: fields separated by commas, quoted where they hold a comma, a quote or a line break.
 */
#define BERT_FORMAT_CSV 2

/**
 * A JSON object a line.
 */
#define BERT_FORMAT_JSONL 3

/**
 * The first record is a header if it holds the names asked for, or a usual name of a label column.
 */
#define BERT_HEADER_AUTO 0

/**
 * The first record is a header.
 */
#define BERT_HEADER_PRESENT 1

/**
 * The first record is data.
 */
#define BERT_HEADER_ABSENT 2

/**
 * The sentences to train on.
 */
#define BERT_TOY_TRAIN 0

/**
 * The sentences to validate with.
 */
#define BERT_TOY_VALIDATION 1

/**
 * The textbook's small model: 2 layers, hidden 128, 4 heads, 32 positions, the classifier on the bare [CLS] state, one
 * more layer norm after the last block. Quick to train from nothing.
 */
#define BERT_PRESET_COMPACT 0

/**
 * BERT-tiny: 2 layers, hidden 128.
 */
#define BERT_PRESET_TINY 1

/**
 * BERT-mini: 4 layers, hidden 256.
 */
#define BERT_PRESET_MINI 2

/**
 * BERT-small: 4 layers, hidden 512.
 */
#define BERT_PRESET_SMALL 3

/**
 * BERT-medium: 8 layers, hidden 512.
 */
#define BERT_PRESET_MEDIUM 4

/**
 * BERT-base: 12 layers, hidden 768.
 */
#define BERT_PRESET_BASE 5

/**
 * BERT-large: 24 layers, hidden 1024.
 */
#define BERT_PRESET_LARGE 6

/**
 * Words as they stand between spaces.
 */
#define BERT_TOKENIZER_WORD_LEVEL 0

/**
 * BERT's WordPiece, learned from the training texts.
 */
#define BERT_TOKENIZER_WORDPIECE 1

/**
 * Byte-level BPE, learned from the training texts.
 */
#define BERT_TOKENIZER_BPE 2

/**
 * BERT's activation: the exact GELU.
 */
#define BERT_ACT_GELU 0

/**
 * The tanh approximation of GELU (`gelu_new`, `gelu_pytorch_tanh`).
 */
#define BERT_ACT_GELU_TANH 1

/**
 * ReLU.
 */
#define BERT_ACT_RELU 2

/**
 * The classifier reads a dense layer and tanh over the [CLS] state: BERT's own.
 */
#define BERT_POOLING_POOLER 0

/**
 * The classifier reads the bare [CLS] state.
 */
#define BERT_POOLING_CLS 1

/**
 * The classifier reads the mean of all tokens' states.
 */
#define BERT_POOLING_MEAN 2

/**
 * The model's weights are float32.
 */
#define BERT_WEIGHTS_FLOAT32 0

/**
 * The model's weights are int8, for prediction alone.
 */
#define BERT_WEIGHTS_INT8 1

/**
 * Parameters that were read from a saved model or a checkpoint.
 */
#define BERT_PARAMETERS_LOADED 0

/**
 * Parameters that have initial values: all of a new model's; of a loaded one's, those that the checkpoint lacks.
 */
#define BERT_PARAMETERS_INITIALISED 1

/**
 * Parameters of a checkpoint that this model doesn't use.
 */
#define BERT_PARAMETERS_IGNORED 2

/**
 * An adapter on each block's attention.self.query.
 */
#define BERT_LORA_QUERY 1

/**
 * An adapter on each block's attention.self.key.
 */
#define BERT_LORA_KEY 2

/**
 * An adapter on each block's attention.self.value.
 */
#define BERT_LORA_VALUE 4

/**
 * An adapter on each block's attention.output.dense.
 */
#define BERT_LORA_ATTENTION_OUTPUT 8

/**
 * An adapter on each block's intermediate.dense.
 */
#define BERT_LORA_INTERMEDIATE 16

/**
 * An adapter on each block's output.dense.
 */
#define BERT_LORA_OUTPUT 32

/**
 * The learning rate stays after the warm-up.
 */
#define BERT_SCHEDULE_CONSTANT 0

/**
 * The learning rate falls to zero in a straight line.
 */
#define BERT_SCHEDULE_LINEAR 1

/**
 * The learning rate falls to zero along half a cosine.
 */
#define BERT_SCHEDULE_COSINE 2

/**
 * Products of float32 numbers.
 */
#define BERT_PRECISION_FLOAT32 0

/**
 * Products of numbers that were rounded to bfloat16, added up in float32. bfloat16 has float32's range and 8 significant
 * bits: in predictions on a GPU, which keeps the states between the products in it too, it changes logits in their third
 * digit.
 */
#define BERT_PRECISION_BFLOAT16 1

/**
 * The same with float16 (IEEE 754's binary16), whose 11 significant bits change logits in their fourth digit: for
 * predictions, vectors and evaluations on a GPU. Its range ends at 65,504: a model whose states go beyond that gives
 * BERT_ERR_NOT_FINITE, and needs bfloat16 or float32. Not for training, whose gradients leave that range at both ends.
 */
#define BERT_PRECISION_FLOAT16 2

/**
 * BERT_METRIC_ACCURACY for single-label classification, BERT_METRIC_F1_MICRO for multi-label, BERT_METRIC_MSE for
 * regression.
 */
#define BERT_METRIC_AUTO -1

/**
 * The evaluation with the lowest loss is the best.
 */
#define BERT_METRIC_LOSS 0

/**
 * The evaluation with the highest accuracy is the best; of multi-label examples, the share with all labels right and no
 * other. Not for regression; so the two that follow.
 */
#define BERT_METRIC_ACCURACY 1

/**
 * The evaluation with the highest F1, averaged over classes or labels, is the best.
 */
#define BERT_METRIC_F1_MACRO 2

/**
 * The evaluation with the highest F1, averaged over classes or labels by their examples, is the best.
 */
#define BERT_METRIC_F1_WEIGHTED 3

/**
 * The evaluation with the highest Matthews correlation is the best. For single-label classification alone.
 */
#define BERT_METRIC_MATTHEWS 4

/**
 * The evaluation with the highest F1 of all decisions counted together is the best; with classes that is the accuracy.
 * Not for regression.
 */
#define BERT_METRIC_F1_MICRO 5

/**
 * The evaluation with the lowest mean squared error is the best. For regression alone; so the two that follow.
 */
#define BERT_METRIC_MSE 6

/**
 * The evaluation with the highest Pearson correlation is the best.
 */
#define BERT_METRIC_PEARSON 7

/**
 * The evaluation with the highest Spearman correlation is the best.
 */
#define BERT_METRIC_SPEARMAN 8

/**
 * A progress callback is told of a step.
 */
#define BERT_EVENT_STEP 0

/**
 * A progress callback is told of an evaluation.
 */
#define BERT_EVENT_EVALUATION 1

/**
 * bert_train went through all planned epochs.
 */
#define BERT_STOP_FINISHED 0

/**
 * bert_train ended because evaluations no longer improved.
 */
#define BERT_STOP_EARLY 1

/**
 * A text that is longer than the maximum length is cut.
 */
#define BERT_LONG_TEXT_TRUNCATE 0

/**
 * A text that is longer than the maximum length is classified by overlapping windows.
 */
#define BERT_LONG_TEXT_WINDOWS 1

/**
 * The mean of the windows' logits; for regression, of their values.
 */
#define BERT_COMBINE_MEAN_LOGITS 0

/**
 * The mean of the windows' probabilities; the logits given are their logarithms, of a label's probability p
 * ln(p / (1 - p)). Not for regression.
 */
#define BERT_COMBINE_MEAN_PROBABILITIES 1

/**
 * The window that is surest decides; for a multi-label model, for each label the window where it is most probable. Not
 * for regression.
 */
#define BERT_COMBINE_MOST_CONFIDENT 2

/**
 * Labelled texts. Any number of threads may use one data set at once; one that adds to it does so between the others'
 * calls. Models and trainers keep what they need of it: it can be freed or added to once they are made.
 */
typedef struct bert_dataset bert_dataset;

/**
 * A model: weights, tokenizer and labels. Any number of threads may use one model at once. While it is trained,
 * predictions, evaluations and saves on it each see one whole set of weights, as of the end of a step.
 */
typedef struct bert_model bert_model;

/**
 * A training run of one model on one data set. Its training calls may come from any thread; a second one while one
 * runs answers BERT_ERR_BUSY. It keeps its model alive.
 */
typedef struct bert_trainer bert_trainer;

/**
 * What every function that can fail returns: BERT_OK, or the category of the failure. The sentence that goes with it
 * is bert_last_error_message(). Numbers are never reused.
 */
typedef int32_t bert_status;

/**
 * Receives a line of the log: its level, its NUL-terminated text (valid during the call), and what was given to
 * bert_set_log_callback. It may be called from several threads at once.
 */
typedef void (*bert_log_callback)(int32_t level, const char *message, void *user_data);

/**
 * How a data file is read. Call bert_read_options_init first.
 */
typedef struct {
  /**
   * sizeof(bert_read_options), set by bert_read_options_init.
   */
  size_t struct_size;
  /**
   * BERT_FORMAT_AUTO (default), _TSV, _CSV or _JSONL.
   */
  int32_t format;
  /**
   * BERT_HEADER_AUTO (default), _PRESENT or _ABSENT; JSON Lines have none.
   */
  int32_t header;
  /**
   * The text's column, by its name in the header, or by its number from 1 ("2"); by its key in JSON Lines. NULL
   * (default): a column with a usual name (text, sentence, sentence1, review, content), or the first.
   */
  const char *text_column;
  /**
   * The second text's column, likewise. NULL (default): one that goes with the first's name (sentence1 and
   * sentence2, text_a and text_b, premise and hypothesis, question1 and question2), or the second of three columns
   * without a header; else there is none.
   */
  const char *pair_column;
  /**
   * The label's column, likewise. NULL (default): a usual name (label, class, category, target), or the last of two
   * or three.
   */
  const char *label_column;
  /**
   * 1 if labels are class ids 0, 1, 2, …; 0 (default) if they are names, which digits can be too. For single-label data
   * alone.
   */
  int32_t labels_are_ids;
  /**
   * What the labels are. BERT_PROBLEM_SINGLE_LABEL (default): a class in each record. BERT_PROBLEM_MULTI_LABEL: a list
   * of labels' names, which may be empty: in JSON Lines an array of strings, in TSV and CSV names with label_separator
   * between them. BERT_PROBLEM_REGRESSION: a finite number, or as many in each record: in JSON Lines a number or an
   * array of numbers, in TSV and CSV numbers with label_separator between them.
   */
  int32_t problem_type;
  /**
   * What stands between the names or numbers of one field; NULL (default): "|". White space around it is of no
   * account. For single-label data it is refused; JSON Lines don't use it.
   */
  const char *label_separator;
} bert_read_options;

/**
 * How a new model is made. Call bert_model_options_init first; it sets every field from a preset. Names are those of
 * Hugging Face's BertConfig.
 */
typedef struct {
  /**
   * sizeof(bert_model_options), set by bert_model_options_init.
   */
  size_t struct_size;
  /**
   * BERT_TOKENIZER_WORD_LEVEL (default), _WORDPIECE or _BPE: how the tokenizer is learned.
   */
  int32_t tokenizer;
  /**
   * 1 (default): texts are lower-cased.
   */
  int32_t lowercase;
  /**
   * Words (pairs of pieces, for WordPiece and BPE) that are rarer in the training texts get no token. Default 1.
   */
  int32_t min_frequency;
  /**
   * Most tokens, the five special ones included. Default 30522.
   */
  int32_t max_vocab_size;
  /**
   * A tokenizer.json to take instead of learning a tokenizer; NULL (default) learns one. The four options above
   * aren't used then.
   */
  const char *tokenizer_path;
  /**
   * Width of every state.
   */
  int32_t hidden_size;
  /**
   * Blocks.
   */
  int32_t num_hidden_layers;
  /**
   * Attention heads of each block; must divide hidden_size.
   */
  int32_t num_attention_heads;
  /**
   * Width inside the feed-forward block.
   */
  int32_t intermediate_size;
  /**
   * Longest sequence in tokens, [CLS] and [SEP] included.
   */
  int32_t max_position_embeddings;
  /**
   * Token types; pairs need 2, the default.
   */
  int32_t type_vocab_size;
  /**
   * BERT_ACT_GELU (default), _GELU_TANH or _RELU.
   */
  int32_t hidden_act;
  /**
   * BERT_POOLING_POOLER, _CLS or _MEAN: what the classifier reads.
   */
  int32_t pooling;
  /**
   * 1: one more layer norm after the last block.
   */
  int32_t final_layer_norm;
  /**
   * Dropout in training after the embeddings, the attention output and the feed-forward output; 0 to 0.9.
   */
  double hidden_dropout_prob;
  /**
   * Dropout in training on the attention probabilities.
   */
  double attention_probs_dropout_prob;
  /**
   * Dropout in training on what the classifier reads.
   */
  double classifier_dropout;
  /**
   * Standard deviation of the initial weights. Default 0.02.
   */
  double initializer_range;
  /**
   * Added to the variance in every layer norm. Default 1e-12.
   */
  double layer_norm_eps;
  /**
   * The classes (labels, regression targets) in the order of their ids, `num_label_names` NUL-terminated texts; NULL
   * (default) takes them from the training data: names in alphabetical order (as numbers if all are), ids and
   * regression targets as LABEL_0, LABEL_1, …
   */
  const char *const *label_names;
  /**
   * How many.
   */
  size_t num_label_names;
  /**
   * Decides the initial weights. Default 42.
   */
  uint64_t seed;
  /**
   * "cpu" (also NULL, the default), "cuda", "cuda:N", or "auto": CUDA where it works, else the CPU.
   */
  const char *device;
  /**
   * BERT_PROBLEM_AUTO (default): the problem that the training data is for; or the one that it must be for.
   */
  int32_t problem_type;
} bert_model_options;

/**
 * How a model is loaded. Call bert_load_options_init first.
 */
typedef struct {
  /**
   * sizeof(bert_load_options), set by bert_load_options_init.
   */
  size_t struct_size;
  /**
   * "cpu" (also NULL, the default), "cuda", "cuda:N", or "auto": CUDA where it works, else the CPU.
   */
  const char *device;
  /**
   * The classes that the model shall have, in the order of their ids: `num_label_names` NUL-terminated texts. NULL
   * (default) keeps the saved model's. Where they differ from those, the classifier is new and has to be trained.
   */
  const char *const *label_names;
  /**
   * How many.
   */
  size_t num_label_names;
  /**
   * A data set that the model shall be trained on: where it has a label that the saved model lacks (or another number
   * of regression targets), the model gets the data set's, as bert_create would take them from it. NULL (default): none. With label_names it isn't
   * used.
   */
  const bert_dataset *labels_from;
  /**
   * Decides the initial values of what the saved model lacks. Default 42.
   */
  uint64_t seed;
  /**
   * The problem that the model shall solve. BERT_PROBLEM_AUTO (default): the one that labels_from is for; without it
   * the saved model's (where its config.json names none, regression with one label, else single-label
   * classification). Where it isn't the one that config.json names, the classifier is new and has to be trained.
   */
  int32_t problem_type;
} bert_load_options;

/**
 * What a model is, as bert_get_info writes it. Call bert_info_init first.
 */
typedef struct {
  /**
   * sizeof(bert_info), set by bert_info_init.
   */
  size_t struct_size;
  /**
   * Numbers in all parameters.
   */
  int64_t parameter_count;
  /**
   * Classes, labels or regression targets.
   */
  int32_t num_labels;
  /**
   * Token ids.
   */
  int32_t vocab_size;
  /**
   * As in bert_model_options, from here to `final_layer_norm`.
   */
  int32_t hidden_size;
  /**
   * See bert_model_options.
   */
  int32_t num_hidden_layers;
  /**
   * See bert_model_options.
   */
  int32_t num_attention_heads;
  /**
   * See bert_model_options.
   */
  int32_t intermediate_size;
  /**
   * Longest sequence in tokens.
   */
  int32_t max_position_embeddings;
  /**
   * See bert_model_options.
   */
  int32_t type_vocab_size;
  /**
   * BERT_TOKENIZER_WORD_LEVEL, _WORDPIECE or _BPE.
   */
  int32_t tokenizer;
  /**
   * BERT_ACT_GELU, _GELU_TANH or _RELU.
   */
  int32_t hidden_act;
  /**
   * BERT_POOLING_POOLER, _CLS or _MEAN.
   */
  int32_t pooling;
  /**
   * 0 or 1.
   */
  int32_t final_layer_norm;
  /**
   * "cpu" or "cuda:N", NUL-terminated.
   */
  char device[16];
  /**
   * The rank of the LoRA adapters; 0: there are none.
   */
  int32_t lora_rank;
  /**
   * Numbers in the LoRA adapters, which parameter_count includes.
   */
  int64_t lora_parameter_count;
  /**
   * BERT_PROBLEM_SINGLE_LABEL, _MULTI_LABEL or _REGRESSION.
   */
  int32_t problem_type;
  /**
   * BERT_WEIGHTS_FLOAT32, or BERT_WEIGHTS_INT8 of a model that bert_quantize made.
   */
  int32_t weights;
} bert_info;

/**
 * The adapters that bert_add_lora makes. Call bert_lora_options_init first.
 */
typedef struct {
  /**
   * sizeof(bert_lora_options), set by bert_lora_options_init.
   */
  size_t struct_size;
  /**
   * Rows of A and columns of B, 1 to 4096. Default 8.
   */
  int32_t rank;
  /**
   * Which projections of every block get an adapter: BERT_LORA_… added up. Default BERT_LORA_QUERY + BERT_LORA_VALUE.
   */
  uint32_t targets;
  /**
   * What B A is multiplied with, times the rank. Default 8.
   */
  double alpha;
  /**
   * Dropout in training on what A reads, 0 to 0.9. Default 0.
   */
  double dropout;
  /**
   * 1: alpha is divided by the root of the rank (rank-stabilized LoRA); 0 (default): by the rank.
   */
  int32_t use_rslora;
  /**
   * 1 (default): the pooler, where the model has one, is trained and saved with the adapters, as the classifier always
   * is; 0: it stays as it is, which is refused where the model's pooler is new.
   */
  int32_t train_pooler;
  /**
   * Decides the initial values of A. Default 42.
   */
  uint64_t seed;
} bert_lora_options;

/**
 * Where a training run stands. It is the library's: valid during the callback.
 */
typedef struct {
  /**
   * The library's sizeof(bert_progress): read no field beyond it.
   */
  size_t struct_size;
  /**
   * BERT_EVENT_STEP or BERT_EVENT_EVALUATION.
   */
  int32_t event;
  /**
   * The running epoch, from 1.
   */
  int32_t epoch;
  /**
   * Epochs of the plan.
   */
  int32_t epochs;
  /**
   * Steps done.
   */
  int64_t step;
  /**
   * Steps of the plan.
   */
  int64_t total_steps;
  /**
   * Mean loss of the last step's examples.
   */
  double loss;
  /**
   * The last step's learning rate.
   */
  double learning_rate;
  /**
   * The last step's gradient norm, before clipping.
   */
  double grad_norm;
  /**
   * Tokens a second over the epoch so far.
   */
  double tokens_per_second;
  /**
   * At BERT_EVENT_EVALUATION the validation data's mean loss, else NaN; so those that follow, which are NaN too where
   * the problem doesn't have them (see bert_evaluation).
   */
  double eval_loss;
  /**
   * Accuracy.
   */
  double eval_accuracy;
  /**
   * F1, averaged over classes or labels.
   */
  double eval_f1_macro;
  /**
   * F1, averaged over classes or labels by their examples.
   */
  double eval_f1_weighted;
  /**
   * Matthews correlation.
   */
  double eval_matthews;
  /**
   * F1 of all decisions counted together.
   */
  double eval_f1_micro;
  /**
   * Mean squared error.
   */
  double eval_mse;
  /**
   * Pearson's correlation.
   */
  double eval_pearson;
  /**
   * Spearman's correlation.
   */
  double eval_spearman;
} bert_progress;

/**
 * Called after each step and evaluation, on the thread that trains, with what was set as progress_user_data. Returns 0
 * to go on; anything else ends the training with BERT_ERR_CANCELLED. Inside it, predicting, evaluating, saving and
 * asking are allowed; training the same model answers BERT_ERR_BUSY; freeing the trainer takes effect when the training
 * call returns. It must not throw or longjmp.
 *
 * The model has the weights of the step that is told of. On a GPU the call comes while the step behind it is under way
 * (but for an epoch's last step, those before an evaluation or a checkpoint, and bert_train_step's): a training that is
 * ended then has made that step too, without a call for it.
 */
typedef int32_t (*bert_progress_callback)(const bert_progress *progress, void *user_data);

/**
 * How a model is trained. Call bert_train_options_init first. The defaults train a small model from nothing; to train a
 * pretrained one further, take a learning_rate of 2e-5 to 5e-5 and 2 to 4 epochs.
 */
typedef struct {
  /**
   * sizeof(bert_train_options), set by bert_train_options_init.
   */
  size_t struct_size;
  /**
   * Decides the order of the examples and the dropout. Default 42.
   */
  uint64_t seed;
  /**
   * Times through the data in the whole plan; the schedule's length follows from it. Default 30.
   */
  int32_t epochs;
  /**
   * Examples of one batch. Default 16.
   */
  int32_t batch_size;
  /**
   * Batches whose gradients make one step, every example weighing the same. Default 1.
   */
  int32_t gradient_accumulation_steps;
  /**
   * Longest sequence in tokens, at least 4; 0 (default) takes what the model allows.
   */
  int32_t max_length;
  /**
   * Highest learning rate. Default 0.001.
   */
  double learning_rate;
  /**
   * AdamW's weight decay; biases and layer norms are spared. Default 0.01.
   */
  double weight_decay;
  /**
   * AdamW's decay of the first moment. Default 0.9.
   */
  double adam_beta1;
  /**
   * AdamW's decay of the second moment. Default 0.999.
   */
  double adam_beta2;
  /**
   * AdamW's epsilon. Default 1e-8.
   */
  double adam_epsilon;
  /**
   * Gradients are scaled down to this global norm; 0 turns that off. Default 1.
   */
  double max_grad_norm;
  /**
   * BERT_SCHEDULE_CONSTANT, _LINEAR (default) or _COSINE: the learning rate after the warm-up.
   */
  int32_t schedule;
  /**
   * 1 (default): batches hold examples of similar length, which costs less; 0: any.
   */
  int32_t group_by_length;
  /**
   * Steps in which the learning rate rises from 0; 0 (default): warmup_ratio decides.
   */
  int64_t warmup_steps;
  /**
   * Share of all steps in which the learning rate rises from 0. Default 0.1.
   */
  double warmup_ratio;
  /**
   * bert_train evaluates every so many steps too; 0 (default): after each epoch only.
   */
  int64_t eval_steps;
  /**
   * BERT_METRIC_…: which evaluation is the best; of equals the one with the lower loss. It must be one that the model's
   * problem has. Default BERT_METRIC_AUTO.
   */
  int32_t metric;
  /**
   * 1 (default): bert_train ends with the weights of the best evaluation; 0: with those of the last step.
   */
  int32_t restore_best;
  /**
   * bert_train ends after so many evaluations in a row whose metric was no better than the best; 0 (default): never.
   */
  int32_t early_stopping_patience;
  /**
   * bert_train saves the model here, as bert_save does, whenever an evaluation is the best so far; NULL (default):
   * it doesn't.
   */
  const char *best_model_path;
  /**
   * A file that gets a line of JSON after each step and evaluation; what it held is replaced. NULL (default): none.
   */
  const char *history_path;
  /**
   * Highest learning rate of the pooler and the classifier; 0 (default): learning_rate.
   */
  double head_learning_rate;
  /**
   * Each layer's learning rate is that of the layer above it times this, the embeddings' below the first; 1 (default):
   * all the same.
   */
  double layer_learning_rate_decay;
  /**
   * 1: the embeddings stay as they are; 0 (default).
   */
  int32_t freeze_embeddings;
  /**
   * The first so many layers, and the embeddings, stay as they are; -1: all layers. Default 0. What is frozen costs
   * no backward pass and no memory for gradients.
   */
  int32_t freeze_layers;
  /**
   * A folder in which bert_train makes checkpoints (`checkpoint-STEP`, see bert_trainer_save), and from whose newest
   * whole one a bert_train that hasn't made a step goes on, so that a program that was killed is simply started again.
   * One comes every checkpoint_steps, every checkpoint_minutes, when the run ends and when it is cancelled; with
   * neither of the two set, after each epoch. The folder is made where it is absent. A checkpoint of a run with other
   * options or data is refused with BERT_ERR_INVALID_ARGUMENT. NULL (default): no checkpoints.
   */
  const char *checkpoint_path;
  /**
   * See checkpoint_path; 0 (default): not by steps.
   */
  int64_t checkpoint_steps;
  /**
   * See checkpoint_path; 0 (default): not by time.
   */
  double checkpoint_minutes;
  /**
   * How many checkpoints are kept, the newest; at least 1. Default 2.
   */
  int32_t checkpoint_keep;
  /**
   * How much an example of each class weighs in the training loss, in the order of the class ids, as PyTorch's
   * cross_entropy has it; NULL (default): all the same. For single-label classification alone.
   */
  const double *class_weights;
  /**
   * How many: the model's number of classes.
   */
  size_t num_class_weights;
  /**
   * The share of each target that is spread over all classes, 0 to 1. Default 0. For single-label classification alone.
   */
  double label_smoothing;
  /**
   * The probability, 0 to 1, from which on a label counts as predicted in evaluations and in the training accuracy of a
   * multi-label model. Default 0.5.
   */
  double threshold;
  /**
   * Called after each step and evaluation; NULL (default): nothing is.
   */
  bert_progress_callback progress;
  /**
   * Given to it.
   */
  void *progress_user_data;
  /**
   * BERT_PRECISION_FLOAT32 (default), or BERT_PRECISION_BFLOAT16: mixed precision, as PyTorch's autocast has it. The
   * layers' matrix products are computed with bfloat16 numbers, which is about twice as fast on processors with AMX, faster
   * with AMD's AVX512-BF16, and as fast as float32 or slower on others; weights, gradients, moments, norms, softmax, loss
   * and sums stay float32. On a GPU the states between the products are bfloat16 too. Evaluations during the training are float32 in any case:
   * what decides about the best weights isn't rounded.
   */
  int32_t precision;
  /**
   * 1: the backward pass computes each layer's inside again instead of keeping it, which takes less memory and about a
   * third more time; the weights are the same, bit for bit. 0 (default).
   */
  int32_t gradient_checkpointing;
} bert_train_options;

/**
 * One optimizer step, as bert_train_step writes it. Call bert_step_report_init first.
 */
typedef struct {
  /**
   * sizeof(bert_step_report), set by bert_step_report_init.
   */
  size_t struct_size;
  /**
   * The epoch it belongs to, from 1.
   */
  int32_t epoch;
  /**
   * Examples.
   */
  int32_t examples;
  /**
   * Steps done, this one included.
   */
  int64_t step;
  /**
   * Steps of the plan.
   */
  int64_t total_steps;
  /**
   * Tokens, [CLS] and [SEP] included.
   */
  int64_t tokens;
  /**
   * Mean loss of its examples, before the update.
   */
  double loss;
  /**
   * The rate it was taken with.
   */
  double learning_rate;
  /**
   * Norm of all gradients before clipping.
   */
  double grad_norm;
  /**
   * Wall time.
   */
  double seconds;
} bert_step_report;

/**
 * One epoch, as bert_train_epoch writes it: all its steps, whichever call made them. Call bert_epoch_report_init first.
 */
typedef struct {
  /**
   * sizeof(bert_epoch_report), set by bert_epoch_report_init.
   */
  size_t struct_size;
  /**
   * Which, from 1.
   */
  int32_t epoch;
  /**
   * Steps done in all.
   */
  int64_t step;
  /**
   * Examples.
   */
  int64_t examples;
  /**
   * Tokens, [CLS] and [SEP] included.
   */
  int64_t tokens;
  /**
   * Mean loss, each example's as it was when its step was made.
   */
  double loss;
  /**
   * Share of examples that were right at that moment, with dropout acting: of multi-label examples, of those with all
   * labels right and no other; NaN for regression.
   */
  double accuracy;
  /**
   * Wall time of the steps.
   */
  double seconds;
  /**
   * The last step's learning rate.
   */
  double learning_rate;
} bert_epoch_report;

/**
 * A whole run, as bert_train writes it. Call bert_train_report_init first.
 */
typedef struct {
  /**
   * sizeof(bert_train_report), set by bert_train_report_init.
   */
  size_t struct_size;
  /**
   * Whole epochs done.
   */
  int32_t epochs;
  /**
   * BERT_STOP_FINISHED or BERT_STOP_EARLY.
   */
  int32_t stop_reason;
  /**
   * Steps done.
   */
  int64_t steps;
  /**
   * The last epoch's mean training loss.
   */
  double loss;
  /**
   * The last epoch's training accuracy, with dropout acting; NaN for regression.
   */
  double accuracy;
  /**
   * The best evaluation's metric; NaN without validation data.
   */
  double best_metric;
  /**
   * The step after which it was measured; 0 without validation data.
   */
  int64_t best_step;
  /**
   * 1 if this call ended by giving the model the best evaluation's weights.
   */
  int32_t restored_best;
  /**
   * The step of the checkpoint that this call went on from; 0 where it went on from none.
   */
  int64_t resumed_step;
  /**
   * Tokens that this call trained on.
   */
  int64_t tokens;
  /**
   * Wall time of this call.
   */
  double seconds;
} bert_train_report;

/**
 * A run that was taken up again, as bert_trainer_resume writes it. Call bert_resume_report_init first.
 */
typedef struct {
  /**
   * sizeof(bert_resume_report), set by bert_resume_report_init.
   */
  size_t struct_size;
  /**
   * Whole epochs done.
   */
  int32_t epochs;
  /**
   * 1: the run ends with the same weights, bit for bit, as if it had never stopped. 0: that isn't promised, since
   * options, data, device, number of threads, processor or library aren't those of then; the log says which.
   */
  int32_t is_exact;
  /**
   * Steps done.
   */
  int64_t step;
  /**
   * Steps of the plan.
   */
  int64_t total_steps;
} bert_resume_report;

/**
 * How good a model is on labelled examples, as bert_evaluate writes it, as scikit-learn and scipy define it. Call
 * bert_evaluation_init first, then set the arrays that you want; what is NULL isn't wanted. A metric that the model's
 * problem doesn't have is NaN; none is NaN else.
 */
typedef struct {
  /**
   * sizeof(bert_evaluation), set by bert_evaluation_init.
   */
  size_t struct_size;
  /**
   * Examples.
   */
  int64_t examples;
  /**
   * Mean cross entropy; for multi-label classification mean binary cross entropy over all examples and labels; for
   * regression the mean squared error.
   */
  double loss;
  /**
   * Share of right answers; for multi-label classification the share of examples with all labels right and no other
   * (subset accuracy). Regression has none; so the two that follow.
   */
  double accuracy;
  /**
   * F1, averaged over classes or labels.
   */
  double f1_macro;
  /**
   * F1, averaged over classes or labels by their examples.
   */
  double f1_weighted;
  /**
   * Matthews correlation, of single-label classification alone; 0 where it is undefined.
   */
  double matthews;
  /**
   * The caller's array for the confusion matrix, num_labels * num_labels: row by row the true class, along a row how
   * often each class was predicted. For single-label classification alone.
   */
  uint64_t *confusion;
  /**
   * Its capacity in elements.
   */
  size_t confusion_capacity;
  /**
   * The caller's array for each class's or label's precision: num_labels; so the three that follow. Not for
   * regression.
   */
  double *precision;
  /**
   * Each class's recall.
   */
  double *recall;
  /**
   * Each class's F1.
   */
  double *f1;
  /**
   * Each class's number of examples.
   */
  uint64_t *support;
  /**
   * The capacity in elements of each of these four.
   */
  size_t class_capacity;
  /**
   * Set before the call: the probability, 0 to 1, from which on a label counts as predicted by a multi-label model.
   * Default 0.5.
   */
  double threshold;
  /**
   * F1 of all decisions counted together; with classes that is the accuracy. Regression has none.
   */
  double f1_micro;
  /**
   * Mean squared error over all examples and targets, of regression alone; so the two that follow.
   */
  double mse;
  /**
   * Pearson's correlation of targets and answers; of several targets the mean. It counts as 0 where it is undefined:
   * with fewer than two examples, and where all targets or all answers are the same.
   */
  double pearson;
  /**
   * Spearman's rank correlation, likewise.
   */
  double spearman;
  /**
   * Set before the call: what a GPU computes the layers in, BERT_PRECISION_FLOAT32 (default), _BFLOAT16 or _FLOAT16.
   * The CPU computes in float32 whichever it is.
   */
  int32_t compute_precision;
} bert_evaluation;

/**
 * How texts are classified. Call bert_predict_options_init first.
 */
typedef struct {
  /**
   * sizeof(bert_predict_options), set by bert_predict_options_init.
   */
  size_t struct_size;
  /**
   * Longest sequence in tokens; 0 (default) takes what the model allows.
   */
  int32_t max_length;
  /**
   * BERT_LONG_TEXT_TRUNCATE (default) or BERT_LONG_TEXT_WINDOWS.
   */
  int32_t long_text;
  /**
   * Tokens of text that neighbouring windows share; -1 (default) takes a quarter of the maximum length.
   */
  int32_t window_stride;
  /**
   * BERT_COMBINE_MEAN_LOGITS (default), _MEAN_PROBABILITIES or _MOST_CONFIDENT.
   */
  int32_t combine;
  /**
   * How many of the best classes or labels go to top_label_ids and top_probabilities; 0 (default) none.
   */
  int32_t top_k;
  /**
   * The probability, 0 to 1, from which on a multi-label model's has_label is 1. Default 0.5.
   */
  double threshold;
  /**
   * What a GPU computes the layers in: BERT_PRECISION_FLOAT32 (default), _BFLOAT16 or _FLOAT16. The CPU computes in
   * float32 whichever it is.
   */
  int32_t precision;
} bert_predict_options;

/**
 * The answer for one text. Call bert_prediction_init first.
 */
typedef struct {
  /**
   * sizeof(bert_prediction), set by bert_prediction_init.
   */
  size_t struct_size;
  /**
   * The most probable class, or label of a multi-label model, however improbable; 0 for regression.
   */
  int32_t label_id;
  /**
   * Its probability; NaN for regression.
   */
  float probability;
  /**
   * Its name, NUL-terminated; it belongs to the model and lives until the model's handle is freed.
   */
  const char *label;
  /**
   * The name's length in bytes.
   */
  size_t label_length;
  /**
   * The answer of a regression model with one target; NaN for classification.
   */
  float value;
} bert_prediction;

/**
 * Where the answers for n texts go: arrays of the caller's, each with its capacity in elements. What is NULL isn't
 * wanted; an array for something that the model's problem doesn't have is refused. For single-label classification take
 * label_ids and probabilities, for multi-label classification has_label and probabilities, for regression values. Call bert_predictions_init first, then set them.
 */
typedef struct {
  /**
   * sizeof(bert_predictions), set by bert_predictions_init.
   */
  size_t struct_size;
  /**
   * The most probable class of each text, or label of a multi-label model: n. Not for regression.
   */
  int32_t *label_ids;
  /**
   * Its capacity.
   */
  size_t label_ids_capacity;
  /**
   * The model's scores, before softmax or sigmoid, text by text: n * num_labels.
   */
  float *logits;
  /**
   * Its capacity.
   */
  size_t logits_capacity;
  /**
   * Probabilities, text by text: n * num_labels. Those of a text's classes sum to 1; a multi-label model's are each by
   * itself. Not for regression.
   */
  float *probabilities;
  /**
   * Its capacity.
   */
  size_t probabilities_capacity;
  /**
   * The top_k best classes or labels of each text, the best first: n * top_k. Not for regression.
   */
  int32_t *top_label_ids;
  /**
   * Its capacity.
   */
  size_t top_label_ids_capacity;
  /**
   * Their probabilities: n * top_k.
   */
  float *top_probabilities;
  /**
   * Its capacity.
   */
  size_t top_probabilities_capacity;
  /**
   * 1 for each label whose probability is at least the threshold, else 0, text by text: n * num_labels. For multi-label
   * models alone.
   */
  uint8_t *has_label;
  /**
   * Its capacity.
   */
  size_t has_label_capacity;
  /**
   * The values of the targets, text by text: n * num_labels. For regression alone.
   */
  float *values;
  /**
   * Its capacity.
   */
  size_t values_capacity;
} bert_predictions;

/**
 * How vectors are made of texts. Call bert_embed_options_init first.
 */
typedef struct {
  /**
   * sizeof(bert_embed_options), set by bert_embed_options_init.
   */
  size_t struct_size;
  /**
   * Longest sequence in tokens; 0 (default) takes what the model allows.
   */
  int32_t max_length;
  /**
   * BERT_POOLING_MEAN (default): the mean of all tokens' states; BERT_POOLING_CLS: the [CLS] state;
   * BERT_POOLING_POOLER: the pooler's output, where the model has one.
   */
  int32_t pooling;
  /**
   * 1: vectors are scaled to length 1; 0 (default): they aren't.
   */
  int32_t normalise;
  /**
   * What a GPU computes the layers in: BERT_PRECISION_FLOAT32 (default), _BFLOAT16 or _FLOAT16. The CPU computes in
   * float32 whichever it is.
   */
  int32_t precision;
} bert_embed_options;

/**
 * Success.
 */
#define BERT_OK 0

/**
 * An argument or option can't be used: out of range, contradictory, NULL where something is needed.
 */
#define BERT_ERR_INVALID_ARGUMENT 1

/**
 * A handle is NULL, freed, of another kind, or not one of this library's.
 */
#define BERT_ERR_HANDLE 2

/**
 * A struct's struct_size is none that this library knows: call its _init function first.
 */
#define BERT_ERR_STRUCT_SIZE 3

/**
 * A buffer of the caller's is too small; nothing was written to it, and the message and the count that the function
 * gives tell the size that is needed.
 */
#define BERT_ERR_BUFFER_TOO_SMALL 4

/**
 * A text is not valid UTF-8.
 */
#define BERT_ERR_UTF8 5

/**
 * The operating system refused to read or write; files are as they were.
 */
#define BERT_ERR_IO 6

/**
 * A file or buffer is damaged, or not of the kind that it should be.
 */
#define BERT_ERR_FORMAT 7

/**
 * A file was written by a newer version of this library's format.
 */
#define BERT_ERR_VERSION 8

/**
 * Data can't be trained on or evaluated with: empty, one class only, a line that can't be read.
 */
#define BERT_ERR_DATA 9

/**
 * A label is not one of the model's.
 */
#define BERT_ERR_UNKNOWN_LABEL 10

/**
 * Sound, but nothing that this library, this build or this model does.
 */
#define BERT_ERR_UNSUPPORTED 11

/**
 * The device is not there or can't be used.
 */
#define BERT_ERR_DEVICE 12

/**
 * More memory would be needed than there is.
 */
#define BERT_ERR_OUT_OF_MEMORY 13

/**
 * The loss or the gradient became NaN or infinite; the model has the weights of the last good step.
 */
#define BERT_ERR_NOT_FINITE 14

/**
 * Training ended because a callback or bert_trainer_cancel asked for it; the model has the last step's weights.
 */
#define BERT_ERR_CANCELLED 15

/**
 * All planned epochs of this trainer are done.
 */
#define BERT_ERR_FINISHED 16

/**
 * The model is being trained by another call.
 */
#define BERT_ERR_BUSY 17

/**
 * An earlier call on this handle failed inside the library; it can only be freed.
 */
#define BERT_ERR_POISONED 18

/**
 * The process was forked after the library had started its threads, or while a call was inside it; use it in one process
 * only, or exec.
 */
#define BERT_ERR_FORKED 19

/**
 * A defect of the library: please report the message.
 */
#define BERT_ERR_INTERNAL 20

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * A status code's name, such as "BERT_ERR_IO"; "unknown status" for a number that is none. The text lives for ever.
 * Any thread.
 */
const char *bert_status_string(bert_status status);

/**
 * The library's version, such as "0.1.0". The text lives for ever. Any thread.
 */
const char *bert_version(void);

/**
 * The number of the library's binary interface; compare it with BERT_ABI_VERSION. Any thread.
 */
uint32_t bert_abi_version(void);

/**
 * How the library was built: version, profile, target, features, and a number that changes with its source. For
 * reports of defects; not to be parsed. The text lives for ever. Any thread.
 */
const char *bert_build_info(void);

/**
 * The sentence for this thread's last failure: what was wrong, with which value, and what would be right. Empty before
 * the first. The text is valid until this thread's next failing call. Any thread; each has its own.
 */
const char *bert_last_error_message(void);

/**
 * Sends the library's log to `callback`, which gets `user_data` with each line; NULL turns it off, as it is at first.
 * Without a callback the library is silent. Any thread; a line that is under way may still reach the former callback.
 *
 * Returns BERT_OK, BERT_ERR_FORKED.
 *
 * Pointers:
 * `callback` and `user_data` stay valid until another callback is set.
 */
bert_status bert_set_log_callback(bert_log_callback callback, void *user_data);

/**
 * Sets how many threads the library computes with, over all models and calls; 0 takes as many as affinity and cgroup
 * quota allow, which is the default. Calls that are running finish on the threads they have. The host's own threads
 * are left alone. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (negative, or over 1024), BERT_ERR_OUT_OF_MEMORY (threads can't be
 * started), BERT_ERR_FORKED.
 */
bert_status bert_set_num_threads(int32_t num_threads);

/**
 * Writes how many threads the library computes with. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `num_threads` is writable.
 */
bert_status bert_get_num_threads(int32_t *num_threads);

/**
 * Sets the defaults. `struct_size` is sizeof(bert_read_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_read_options_init(bert_read_options *options, size_t struct_size);

/**
 * Makes an empty data set; free it with bert_dataset_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_FORKED.
 *
 * Pointers:
 * `dataset` is writable.
 */
bert_status bert_dataset_create(bert_dataset **dataset);

/**
 * Frees a data set; NULL is allowed. Models and trainers made from it stay as they are. Any thread, once.
 */
void bert_dataset_free(bert_dataset *dataset);

/**
 * Adds one example: a text, a second text (`pair` NULL: there is none), and the name of its class. Lengths are in
 * bytes, or BERT_NUL_TERMINATED. The texts are copied. A data set has one kind of label (class names, class ids, lists
 * of labels, targets), and pairs or single texts, throughout. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length), BERT_ERR_UTF8, BERT_ERR_DATA
 * (it doesn't go with the examples that are there), BERT_ERR_FORKED.
 *
 * Pointers:
 * Each text is readable for its length.
 */
bert_status bert_dataset_add_class(bert_dataset *dataset,
                                   const char *text,
                                   size_t text_length,
                                   const char *pair,
                                   size_t pair_length,
                                   const char *class_name,
                                   size_t class_name_length);

/**
 * As bert_dataset_add_class, with the class's id, which counts from 0. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length, a negative id), BERT_ERR_UTF8,
 * BERT_ERR_DATA (it doesn't go with the examples that are there), BERT_ERR_FORKED.
 *
 * Pointers:
 * Each text is readable for its length.
 */
bert_status bert_dataset_add_class_id(bert_dataset *dataset,
                                      const char *text,
                                      size_t text_length,
                                      const char *pair,
                                      size_t pair_length,
                                      int64_t class_id);

/**
 * Adds `count` examples given as parallel arrays, all or none of them. `lengths`, `pair_lengths` and
 * `class_name_lengths` may be NULL: those texts end with a NUL. `pairs` may be NULL: there are none. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length), BERT_ERR_UTF8, BERT_ERR_DATA
 * (they don't go with each other or with the examples that are there), BERT_ERR_FORKED.
 *
 * Pointers:
 * Each array has `count` elements, and each text is readable for its length.
 */
bert_status bert_dataset_add_classes(bert_dataset *dataset,
                                     size_t count,
                                     const char *const *texts,
                                     const size_t *lengths,
                                     const char *const *pairs,
                                     const size_t *pair_lengths,
                                     const char *const *class_names,
                                     const size_t *class_name_lengths);

/**
 * As bert_dataset_add_classes, with the classes' ids. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length, a negative id), BERT_ERR_UTF8,
 * BERT_ERR_DATA (they don't go with each other or with the examples that are there), BERT_ERR_FORKED.
 *
 * Pointers:
 * Each array has `count` elements, and each text is readable for its length.
 */
bert_status bert_dataset_add_class_ids(bert_dataset *dataset,
                                       size_t count,
                                       const char *const *texts,
                                       const size_t *lengths,
                                       const char *const *pairs,
                                       const size_t *pair_lengths,
                                       const int64_t *class_ids);

/**
 * As bert_dataset_add_class, with any number of labels (multi-label): `num_labels` names, none included, one that is
 * there twice counting once. `label_name_lengths` may be NULL: the names end with a NUL. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length), BERT_ERR_UTF8, BERT_ERR_DATA (an
 * empty name, or it doesn't go with the examples that are there), BERT_ERR_FORKED.
 *
 * Pointers:
 * `label_names` and `label_name_lengths` have `num_labels` elements; each text is readable for its length.
 */
bert_status bert_dataset_add_labels(bert_dataset *dataset,
                                    const char *text,
                                    size_t text_length,
                                    const char *pair,
                                    size_t pair_length,
                                    const char *const *label_names,
                                    const size_t *label_name_lengths,
                                    size_t num_labels);

/**
 * Adds `count` examples with lists of labels (multi-label), all or none of them. Texts are given as to
 * bert_dataset_add_classes. The names of all lists stand one after another in `label_names`: example i has those from
 * `label_offsets[i]` up to, not including, `label_offsets[i + 1]`; the offsets are `count` + 1, from 0 on, and none is
 * below the one before. `label_name_lengths` may be NULL: the names end with a NUL. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length, offsets out of order),
 * BERT_ERR_UTF8, BERT_ERR_DATA (an empty name, or they don't go with the examples that are there), BERT_ERR_FORKED.
 *
 * Pointers:
 * `label_offsets` has `count` + 1 elements, `label_names` and `label_name_lengths` as many as the last of them says, the
 * other arrays `count`; each text is readable for its length.
 */
bert_status bert_dataset_add_label_lists(bert_dataset *dataset,
                                         size_t count,
                                         const char *const *texts,
                                         const size_t *lengths,
                                         const char *const *pairs,
                                         const size_t *pair_lengths,
                                         const char *const *label_names,
                                         const size_t *label_name_lengths,
                                         const size_t *label_offsets);

/**
 * As bert_dataset_add_class, with `num_targets` finite numbers instead of a class (regression), as many as the other
 * examples have. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, an absurd length), BERT_ERR_UTF8, BERT_ERR_DATA (a
 * target that is NaN or infinite, none, or it doesn't go with the examples that are there), BERT_ERR_FORKED.
 *
 * Pointers:
 * `targets` has `num_targets` elements; each text is readable for its length.
 */
bert_status bert_dataset_add_target(bert_dataset *dataset,
                                    const char *text,
                                    size_t text_length,
                                    const char *pair,
                                    size_t pair_length,
                                    const float *targets,
                                    size_t num_targets);

/**
 * Adds `count` examples with `num_targets` finite numbers each (regression), all or none of them. Texts are given as to
 * bert_dataset_add_classes; `targets` has the numbers example by example. Any thread.
 *
 * Returns as bert_dataset_add_target.
 *
 * Pointers:
 * `targets` has `count` * `num_targets` elements, the other arrays `count`; each text is readable for its length.
 */
bert_status bert_dataset_add_targets(bert_dataset *dataset,
                                     size_t count,
                                     const char *const *texts,
                                     const size_t *lengths,
                                     const char *const *pairs,
                                     const size_t *pair_lengths,
                                     const float *targets,
                                     size_t num_targets);

/**
 * Reads a data file into a new data set; free it with bert_dataset_free. `path` is NUL-terminated. `options` may be
 * NULL for the defaults. CRLF line ends and a byte-order mark are fine. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8, BERT_ERR_IO, BERT_ERR_DATA (the message tells the
 * line and what was expected there), BERT_ERR_FORKED.
 *
 * Pointers:
 * `path` ends with a NUL, `options` is NULL or set by bert_read_options_init, `dataset` is writable.
 */
bert_status bert_dataset_read(const char *path,
                              const bert_read_options *options,
                              bert_dataset **dataset);

/**
 * Gives the built-in toy data: short sentences labelled "negative" or "positive". `part` is BERT_TOY_TRAIN or
 * BERT_TOY_VALIDATION. Free it with bert_dataset_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_FORKED.
 *
 * Pointers:
 * `dataset` is writable.
 */
bert_status bert_dataset_toy(int32_t part, bert_dataset **dataset);

/**
 * Splits a data set in two, each class (each label, of lists, as nearly as can be) in the same proportion: about `fraction` (above 0, below 1) of the examples go
 * to `validation`, the others to `train`. The same seed gives the same parts. `dataset` stays as it is; free all three
 * with bert_dataset_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_DATA (too few examples), BERT_ERR_FORKED.
 *
 * Pointers:
 * `train` and `validation` are writable.
 */
bert_status bert_dataset_split(const bert_dataset *dataset,
                               double fraction,
                               uint64_t seed,
                               bert_dataset **train,
                               bert_dataset **validation);

/**
 * Writes the number of examples. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_FORKED.
 *
 * Pointers:
 * `count` is writable.
 */
bert_status bert_dataset_count(const bert_dataset *dataset, size_t *count);

/**
 * Sets every option from a preset. `struct_size` is sizeof(bert_model_options); `preset` is one of BERT_PRESET_….
 * Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL, an unknown preset), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_model_options_init(bert_model_options *options, size_t struct_size, int32_t preset);

/**
 * Sets the defaults. `struct_size` is sizeof(bert_load_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_load_options_init(bert_load_options *options, size_t struct_size);

/**
 * Prepares the struct for bert_get_info. `struct_size` is sizeof(bert_info). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `info` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_info_init(bert_info *info, size_t struct_size);

/**
 * Makes a new model with random weights. The tokenizer's vocabulary, the labels and the problem come from the data set
 * `train`.
 * `options` may be NULL for the compact preset. Free the model with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (sizes that make no model), BERT_ERR_STRUCT_SIZE,
 * BERT_ERR_UTF8 (an option), BERT_ERR_DATA (no examples, or of one class only, or for another problem_type), BERT_ERR_UNKNOWN_LABEL (a
 * label that label_names lacks),
 * BERT_ERR_DEVICE, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_IO, BERT_ERR_FORMAT, BERT_ERR_UNSUPPORTED (tokenizer_path),
 * BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or set by bert_model_options_init; `model` is writable.
 */
bert_status bert_create(const bert_model_options *options,
                        const bert_dataset *train,
                        bert_model **model);

/**
 * Loads a model directory: one that bert_save wrote, or a published Hugging Face BERT (BertModel, BertForPreTraining,
 * BertForMaskedLM, BertForSequenceClassification) with config.json, tokenizer.json or vocab.txt, and weights as
 * model.safetensors, its shards, or pytorch_model.bin. A pooler or classifier that the checkpoint lacks gets initial values:
 * bert_parameter_name tells which. What bert_save wrote is held against its checksums; who changes a file of it on purpose
 * removes libbert.json. `path` is NUL-terminated; `options` may be NULL. Free the model with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8, BERT_ERR_IO (a file is missing or can't be read),
 * BERT_ERR_FORMAT (a file is damaged, isn't as it was saved, or they don't belong together), BERT_ERR_VERSION (written by a newer version),
 * BERT_ERR_UNSUPPORTED (not a BERT that this library runs; of an int8 model other classes or a device other than the CPU), BERT_ERR_DEVICE, BERT_ERR_OUT_OF_MEMORY,
 * BERT_ERR_HANDLE and BERT_ERR_DATA (labels_from), BERT_ERR_FORKED.
 *
 * Pointers:
 * `path` ends with a NUL, `options` is NULL or set by bert_load_options_init, `model` is writable.
 */
bert_status bert_load(const char *path,
                      const bert_load_options *options,
                      bert_model **model);

/**
 * Loads a model from the `length` bytes that bert_save_to_buffer gave; they are not needed afterwards. `options` may be
 * NULL. Free the model with bert_free. Any thread.
 *
 * Returns as bert_load, without BERT_ERR_IO.
 *
 * Pointers:
 * `bytes` is readable for `length` bytes, `options` is NULL or set by bert_load_options_init, `model` is writable.
 */
bert_status bert_load_from_buffer(const uint8_t *bytes,
                                  size_t length,
                                  const bert_load_options *options,
                                  bert_model **model);

/**
 * Writes the model as a Hugging Face model directory: config.json, model.safetensors, tokenizer.json and the small
 * files that go with it, LoRA adapters merged into the weights, and libbert.json with the checksum of each. The directory at `path` (NUL-terminated) may be
 * absent, empty, or a model that this library saved, which is replaced in one step once the new one is whole and flushed;
 * files of yours in it stay. Anything else is refused, and so are directories of yours in it. A symbolic link is followed.
 * A process killed at any moment leaves the older model or the new one, whole, to bert_load; what else it left, a hidden
 * directory `.NAME.bert-save-PID-N` beside the model's, is removed by the next save. Allowed while the model is trained and
 * inside callbacks. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_IO (an older model is then as it was, unless the
 * message says that the new one is in place and could not be flushed), BERT_ERR_FORKED.
 *
 * Pointers:
 * `path` ends with a NUL.
 */
bert_status bert_save(const bert_model *model,
                      const char *path);

/**
 * Tells whether bert_save could write to `path` (NUL-terminated) as things stand, so that a mistake shows before a long
 * training and not after it: the directory is absent and its parent is there, or it is empty, or a model that this
 * library saved. Nothing is written. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL, empty), BERT_ERR_IO (it could not), BERT_ERR_FORKED.
 *
 * Pointers:
 * `path` ends with a NUL.
 */
bert_status bert_check_save(const char *path);

/**
 * Writes the model into memory that the library allocates: give it back with bert_buffer_free. The bytes are one
 * safetensors file, with the configuration and the tokenizer in its metadata. LoRA adapters are merged into the weights. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `bytes` and `length` are writable.
 */
bert_status bert_save_to_buffer(const bert_model *model,
                                uint8_t **bytes,
                                size_t *length);

/**
 * Frees what bert_save_to_buffer gave: its pointer and its length. NULL is allowed. Any thread, once.
 *
 * Pointers:
 * Both are as bert_save_to_buffer wrote them, and not freed yet.
 */
void bert_buffer_free(uint8_t *bytes, size_t length);

/**
 * Makes an int8 model of `model`: a quarter of its size, faster, and nearly the same in what it predicts. Weights are
 * rounded to 8 bits with a scale for each output, embeddings with one for each token, and what a layer reads with one
 * for each token as it comes; sums are exact integers, the same on every processor. Biases, layer norms and the classifier
 * stay float32; LoRA adapters are merged first. The new model predicts, embeds, evaluates, saves and loads as every other,
 * on the CPU; training it, or adding an adapter, answers BERT_ERR_UNSUPPORTED. What bert_save writes of it only this
 * library reads. `model` stays as it is. Free the new model with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL, a model that is int8 already), BERT_ERR_UNSUPPORTED (a
 * model that isn't on the CPU, or with layers of more than 131072 inputs), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `quantized` is writable.
 */
bert_status bert_quantize(const bert_model *model,
                          bert_model **quantized);

/**
 * Makes a model of `model`'s values on another device: "cpu", "cuda" (the first GPU), "cuda:N" or "auto" (a GPU where one
 * works, else the CPU), NUL-terminated. On the CPU values are shared where both are there, else they are copied. It predicts
 * as `model` does, to rounding, and is saved as the same bytes. `model` stays as it is and where it is: free it to move.
 * Free the new model with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_UTF8, BERT_ERR_DEVICE (there is no such
 * device, or it can't be used), BERT_ERR_UNSUPPORTED (an int8 model, which is for the CPU, or one that a GPU can't compute),
 * BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `device` ends with a NUL, `copy` is writable.
 */
bert_status bert_copy_to_device(const bert_model *model,
                                const char *device,
                                bert_model **copy);

/**
 * Frees a model; NULL is allowed. Trainers of it go on working, as do calls that are inside. Any thread, once.
 */
void bert_free(bert_model *model);

/**
 * Writes what the model is: sizes, parameter count, device. Prepare `info` with bert_info_init. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `info` is set by bert_info_init.
 */
bert_status bert_get_info(const bert_model *model, bert_info *info);

/**
 * Gives the name of parameter `index` among those of one origin (BERT_PARAMETERS_LOADED, _INITIALISED or _IGNORED) when
 * the model was made: a NUL-terminated text that belongs to the model and lives until its handle is freed. `count` gets
 * how many there are of that origin, also where `name` is NULL and only they are asked for. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (an index that is not below count), BERT_ERR_FORKED.
 *
 * Pointers:
 * `name` is writable or NULL, `count` is writable.
 */
bert_status bert_parameter_name(const bert_model *model,
                                int32_t origin,
                                size_t index,
                                const char **name,
                                size_t *count);

/**
 * Gives the name of class `label_id`: a NUL-terminated text that belongs to the model and lives until the model's
 * handle is freed, and its length in bytes (`length` may be NULL). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_UNKNOWN_LABEL (no such id),
 * BERT_ERR_FORKED.
 *
 * Pointers:
 * `name` is writable, and `length` is or is NULL.
 */
bert_status bert_label_name(const bert_model *model, int32_t label_id, const char **name, size_t *length);

/**
 * Writes the id of the class of that name. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_UTF8, BERT_ERR_UNKNOWN_LABEL,
 * BERT_ERR_FORKED.
 *
 * Pointers:
 * `name` is readable for `name_length` bytes, or ends with a NUL; `label_id` is writable.
 */
bert_status bert_label_id(const bert_model *model, const char *name, size_t name_length, int32_t *label_id);

/**
 * Writes the token ids of a text, or of a pair of texts (`pair` NULL: there is none), [CLS] and [SEP] included, at most
 * `max_length` of them (0: what the model allows). `ids` and `token_type_ids` have room for `capacity` numbers each, and
 * each may be NULL; `count` gets how many there are, also where the room is too small. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_UTF8, BERT_ERR_BUFFER_TOO_SMALL (only `count`
 * is written), BERT_ERR_FORKED.
 *
 * Pointers:
 * The texts are readable for their lengths, the arrays writable for `capacity` numbers, `count` is writable.
 */
bert_status bert_tokenize(const bert_model *model,
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
 * Sets the defaults. `struct_size` is sizeof(bert_lora_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_lora_options_init(bert_lora_options *options, size_t struct_size);

/**
 * Makes a model that is `model` with LoRA adapters on chosen projections: y = W x + b + alpha / rank · B A x. It computes
 * what `model` computes, until it is trained: then the adapters, the classifier and the pooler learn, and everything
 * else stays as it is, shared in memory with `model`, without gradients and moments. bert_save of it writes a plain model
 * with the adapters merged in; bert_save_adapter writes the adapters alone. `options` may be NULL. Later changes to
 * either model don't reach the other. Free the new model with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (an option out of its range, a model that has adapters
 * already, train_pooler 0 where the model's pooler is new), BERT_ERR_UNSUPPORTED (an int8 model), BERT_ERR_STRUCT_SIZE,
 * BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or set by bert_lora_options_init; `lora_model` is writable.
 */
bert_status bert_add_lora(const bert_model *model,
                          const bert_lora_options *options,
                          bert_model **lora_model);

/**
 * Makes a model without adapters that computes what `model` with them computes: W becomes W + alpha / rank · B A. Free it
 * with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (a model without adapters), BERT_ERR_OUT_OF_MEMORY,
 * BERT_ERR_FORKED.
 *
 * Pointers:
 * `merged` is writable.
 */
bert_status bert_merge_lora(const bert_model *model,
                            bert_model **merged);

/**
 * Writes a model's adapters as a PEFT directory, adapter_config.json and adapter_model.safetensors, with the classifier
 * and (with train_pooler) the pooler among its modules_to_save: all that the model that bert_add_lora was given lacks.
 * PEFT's PeftModel.from_pretrained and bert_load_adapter load it. The directory at `path` (NUL-terminated) may be absent,
 * empty, or adapters that this library saved, which are replaced in one step; anything else is refused, a saved model
 * too. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (a model without adapters), BERT_ERR_IO,
 * BERT_ERR_FORKED.
 *
 * Pointers:
 * `path` ends with a NUL.
 */
bert_status bert_save_adapter(const bert_model *model,
                              const char *path);

/**
 * Makes a model that is `model` with the adapters in the PEFT directory at `path` (NUL-terminated), and with the
 * classifier and pooler that are saved there. `model` must be the one that they were trained on, as it was before; its
 * classifier may be new. The classes are those that bert_save_adapter wrote; for adapters of PEFT, which has no place for
 * their names, `model`'s. Settings of PEFT that this library doesn't compute are refused by name. The model can be
 * trained further. Free it with bert_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (a model that has adapters already), BERT_ERR_IO (a file is
 * missing or can't be read), BERT_ERR_FORMAT (a file is damaged, the adapters don't fit the model, or need a pooler that
 * neither has), BERT_ERR_VERSION, BERT_ERR_UNSUPPORTED (a kind of adapter that this library doesn't run, an int8 model),
 * BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `path` ends with a NUL, `lora_model` is writable.
 */
bert_status bert_load_adapter(const bert_model *model,
                              const char *path,
                              bert_model **lora_model);

/**
 * Sets the defaults. `struct_size` is sizeof(bert_train_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_train_options_init(bert_train_options *options, size_t struct_size);

/**
 * Prepares the struct for bert_train_step. `struct_size` is sizeof(bert_step_report). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `report` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_step_report_init(bert_step_report *report, size_t struct_size);

/**
 * Prepares the struct for bert_train_epoch. `struct_size` is sizeof(bert_epoch_report). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `report` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_epoch_report_init(bert_epoch_report *report, size_t struct_size);

/**
 * Prepares the struct for bert_train. `struct_size` is sizeof(bert_train_report). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `report` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_train_report_init(bert_train_report *report, size_t struct_size);

/**
 * Prepares the struct for bert_trainer_resume. `struct_size` is sizeof(bert_resume_report). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `report` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_resume_report_init(bert_resume_report *report, size_t struct_size);

/**
 * Prepares the struct for bert_evaluate: no array is wanted. `struct_size` is sizeof(bert_evaluation). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `evaluation` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_evaluation_init(bert_evaluation *evaluation, size_t struct_size);

/**
 * Makes a trainer of `model` on the data set `train`, with `validation` (NULL: none) to evaluate on. Nothing is trained
 * yet. Texts are tokenized now, with the model's tokenizer: both data sets can be freed at once, and the model's handle
 * too. `options` may be NULL; what its
 * pointers point to is copied, but for progress_user_data. Free the trainer with bert_trainer_free. Any thread.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (an option out of its range), BERT_ERR_STRUCT_SIZE,
 * BERT_ERR_DATA (no examples, or all of one class, or labels for another problem), BERT_ERR_UNKNOWN_LABEL (a label that the model doesn't have),
 * BERT_ERR_IO (history_path, best_model_path), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or set by bert_train_options_init; its callback and user data are valid until the trainer is freed;
 * `trainer` is writable.
 */
bert_status bert_trainer_create(const bert_model *model,
                                const bert_dataset *train,
                                const bert_dataset *validation,
                                const bert_train_options *options,
                                bert_trainer **trainer);

/**
 * Frees a trainer; NULL is allowed. The model keeps what it has learned. Inside a progress callback it takes effect
 * when the training call returns. Any thread, once.
 */
void bert_trainer_free(bert_trainer *trainer);

/**
 * Makes one optimizer step on the trainer's own next batches. Prepare `report` with bert_step_report_init, or give NULL.
 * One thread at a time trains a model.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_FINISHED (all planned epochs are done),
 * BERT_ERR_CANCELLED, BERT_ERR_NOT_FINITE (the batches are skipped if you go on), BERT_ERR_BUSY, BERT_ERR_IO (history_path: the
 * step is made, and its line is written with the next one if you go on), BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `report` is NULL or set by bert_step_report_init.
 */
bert_status bert_train_step(bert_trainer *trainer,
                            bert_step_report *report);

/**
 * Trains the rest of the running epoch, or the whole next one. Prepare `report` with bert_epoch_report_init, or give
 * NULL. The learning rate follows the schedule of the planned epochs. Evaluation is left to the caller
 * (bert_evaluate). One thread at a time trains a model.
 *
 * Returns as bert_train_step.
 *
 * Pointers:
 * `report` is NULL or set by bert_epoch_report_init.
 */
bert_status bert_train_epoch(bert_trainer *trainer, bert_epoch_report *report);

/**
 * Trains the rest of the plan: all epochs, with an evaluation on the validation data after each and every eval_steps.
 * Prepare `report` with bert_train_report_init, or give NULL. At the end, also after early stopping, the model has the
 * weights of the best evaluation (with restore_best and validation data), else those of the last step. After a
 * cancellation, and after an error, it has those of the last step; what best_model_path holds is then still the best.
 * One thread at a time trains a model.
 *
 * Returns as bert_train_step, but BERT_OK where all planned epochs were done before, with the model left as it is; and
 * BERT_ERR_IO for best_model_path (the evaluation is made again if you go on) and checkpoint_path too;
 * BERT_ERR_INVALID_ARGUMENT where checkpoint_path holds another run's checkpoints.
 *
 * Pointers:
 * `report` is NULL or set by bert_train_report_init.
 */
bert_status bert_train(bert_trainer *trainer, bert_train_report *report);

/**
 * Writes a checkpoint of the run to the directory `path`: the model as bert_save does, in one step and with checksums
 * (bert_load reads it like any model), and beside it what the run needs to go on as if it had never stopped: the
 * optimizer's moments, step, schedule, the order of the data, random state and the best evaluation with its weights.
 * About four times the model's size. Any thread, also while the trainer trains, and inside its callback: it gets the end
 * of a step.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_IO, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `path` is NULL or ends with a NUL.
 */
bert_status bert_trainer_save(const bert_trainer *trainer,
                              const char *path);

/**
 * Takes a run up where bert_trainer_save left it: the weights of the trainer's model, the optimizer and everything else
 * become those of then. Make the trainer as it was made then: a model with the same parameters (the one that the run
 * began with, or the checkpoint, loaded as a model), the same data sets and options. With the same options, data,
 * device, threads, processor and library the run ends with the same weights, bit for bit, as one that never stopped;
 * with others it goes on too, with its own options, and `report` says that this isn't promised. Where it fails,
 * nothing has changed. Prepare `report` with bert_resume_report_init, or give NULL. Any thread; not inside a callback of
 * the same model's training.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (a model with other parameters), BERT_ERR_STRUCT_SIZE,
 * BERT_ERR_FORMAT (damaged, or no checkpoint), BERT_ERR_VERSION (written by a newer library), BERT_ERR_IO,
 * BERT_ERR_BUSY, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `path` is NULL or ends with a NUL; `report` is NULL or set by bert_resume_report_init.
 */
bert_status bert_trainer_resume(bert_trainer *trainer,
                                const char *path,
                                bert_resume_report *report);

/**
 * Asks a trainer to stop: the training call that is running ends after its step, or, where none is running, the next
 * one ends before its first, with BERT_ERR_CANCELLED. Any thread, and signal handlers. NULL is allowed.
 *
 * Pointers:
 * The trainer isn't freed before this returns.
 */
void bert_trainer_cancel(const bert_trainer *trainer);

/**
 * Evaluates a model on labelled examples, with texts cut at `max_length` tokens (0: what the model allows). Prepare
 * `evaluation` with bert_evaluation_init and set the arrays that you want. Any thread, also while the model is trained.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_DATA (no examples,
 * or labels for another problem), BERT_ERR_UNKNOWN_LABEL, BERT_ERR_BUFFER_TOO_SMALL (nothing was written),
 * BERT_ERR_UNSUPPORTED (an array for something that the model's problem doesn't have), BERT_ERR_NOT_FINITE,
 * BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `evaluation` is set by bert_evaluation_init and its arrays are writable for their capacities.
 */
bert_status bert_evaluate(const bert_model *model,
                          const bert_dataset *dataset,
                          int32_t max_length,
                          bert_evaluation *evaluation);

/**
 * Sets the defaults. `struct_size` is sizeof(bert_predict_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_predict_options_init(bert_predict_options *options, size_t struct_size);

/**
 * Prepares the struct for bert_predict. `struct_size` is sizeof(bert_prediction). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `prediction` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_prediction_init(bert_prediction *prediction, size_t struct_size);

/**
 * Prepares the struct for bert_predict_batch: no array is wanted. `struct_size` is sizeof(bert_predictions).
 * Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `predictions` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_predictions_init(bert_predictions *predictions, size_t struct_size);

/**
 * Classifies one text, or a pair of texts (`pair` NULL: there is none). An empty text is valid. Lengths are in bytes,
 * or BERT_NUL_TERMINATED. `options` may be NULL; top_k and threshold aren't used here. Of a multi-label model this tells
 * the most probable label alone: bert_predict_batch tells which ones a text has. Prepare `prediction` with
 * bert_prediction_init.
 * Any number of threads may predict with one model at once, also while it is trained.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8,
 * BERT_ERR_UNSUPPORTED (regression with several targets), BERT_ERR_NOT_FINITE (weights too large to compute with),
 * BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * The texts are readable for their lengths, `options` is NULL or set by bert_predict_options_init, `prediction` is set
 * by bert_prediction_init.
 */
bert_status bert_predict(const bert_model *model,
                         const char *text,
                         size_t text_length,
                         const char *pair,
                         size_t pair_length,
                         const bert_predict_options *options,
                         bert_prediction *prediction);

/**
 * Classifies `count` texts, or pairs of texts, in one call and in bounded memory, however many there are. `lengths` and
 * `pair_lengths` may be NULL: the texts end with a NUL. `pairs` may be NULL: there are none. `options` may be NULL.
 * Prepare `predictions` with bert_predictions_init and set the arrays that you want. Any thread, as bert_predict.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8,
 * BERT_ERR_BUFFER_TOO_SMALL (nothing was written), BERT_ERR_UNSUPPORTED (an array for something that the model's problem
 * doesn't have), BERT_ERR_NOT_FINITE, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * Each array has `count` elements, the texts are readable for their lengths, `options` is NULL or set by
 * bert_predict_options_init, the arrays in `predictions` are writable for their capacities.
 */
bert_status bert_predict_batch(const bert_model *model,
                               size_t count,
                               const char *const *texts,
                               const size_t *lengths,
                               const char *const *pairs,
                               const size_t *pair_lengths,
                               const bert_predict_options *options,
                               bert_predictions *predictions);

/**
 * Classifies `count` token sequences as they are, [CLS] and [SEP] included, such as bert_tokenize gives: one after
 * another in `ids` and `token_type_ids` (NULL: all 0), sequence i with `lengths[i]` tokens. Of `options` (may be NULL)
 * only top_k, threshold and precision are used. Prepare `predictions` with bert_predictions_init. Any thread, as
 * bert_predict.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT (an empty or too long sequence, an id outside the
 * vocabulary), BERT_ERR_STRUCT_SIZE, BERT_ERR_BUFFER_TOO_SMALL (nothing was written), BERT_ERR_UNSUPPORTED (as
 * bert_predict_batch), BERT_ERR_NOT_FINITE, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * `lengths` has `count` elements; `ids` and `token_type_ids` have as many as their sum; `options` is NULL or set by
 * bert_predict_options_init; the arrays in `predictions` are writable for their capacities.
 */
bert_status bert_predict_ids(const bert_model *model,
                             size_t count,
                             const uint32_t *ids,
                             const uint32_t *token_type_ids,
                             const size_t *lengths,
                             const bert_predict_options *options,
                             bert_predictions *predictions);

/**
 * Sets the defaults. `struct_size` is sizeof(bert_embed_options). Any thread.
 *
 * Returns BERT_OK, BERT_ERR_INVALID_ARGUMENT (NULL), BERT_ERR_STRUCT_SIZE, BERT_ERR_FORKED.
 *
 * Pointers:
 * `options` is NULL or writable for `struct_size` bytes.
 */
bert_status bert_embed_options_init(bert_embed_options *options, size_t struct_size);

/**
 * Writes a vector of hidden_size numbers for each of `count` texts, or pairs of texts, one after another into
 * `vectors`, which has room for `capacity` numbers. Texts are given as to bert_predict_batch. `options` may be NULL. Any
 * thread, as bert_predict.
 *
 * Returns BERT_OK, BERT_ERR_HANDLE, BERT_ERR_INVALID_ARGUMENT, BERT_ERR_STRUCT_SIZE, BERT_ERR_UTF8,
 * BERT_ERR_BUFFER_TOO_SMALL (nothing was written), BERT_ERR_UNSUPPORTED (the model has no pooler),
 * BERT_ERR_NOT_FINITE, BERT_ERR_OUT_OF_MEMORY, BERT_ERR_FORKED.
 *
 * Pointers:
 * Each array has `count` elements, the texts are readable for their lengths, `options` is NULL or set by
 * bert_embed_options_init, `vectors` is writable for `capacity` numbers.
 */
bert_status bert_embed(const bert_model *model,
                       size_t count,
                       const char *const *texts,
                       const size_t *lengths,
                       const char *const *pairs,
                       const size_t *pair_lengths,
                       const bert_embed_options *options,
                       float *vectors,
                       size_t capacity);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BERT_H */
