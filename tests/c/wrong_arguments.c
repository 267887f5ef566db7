/* Every function of bert.h with every argument wrong once: the status is one that the header names for that function,
 * the message is a sentence, the bound error object has both and knows the argument, nothing of the caller's is written,
 * and the same call with the right arguments works afterwards. Where several are wrong the handles are told first, then
 * the others in their order.
 *
 * A table: a row for each function, which says what each argument is; what can be wrong with an argument of that kind
 * is in `try_argument`, and what can be wrong with a field of a struct is in the table of fields. The header is read at
 * the end: a function without a row or an option without a line is a failure. */

#include <ctype.h>
#include <stddef.h>

#include "header.h"

enum { MOST_ARGUMENTS = 12, SLOT = 640, TAIL = 64, TEXTS = 2, CLASSES = 2, TARGETS = 2, WIDTH = 16 };

/* What a right call works on, and what it is confused with. */
static struct {
    /* `on_cpu`: int8 models are made there alone. */
    bert_model *model, *lora, *on_cpu, *freed_model;
    bert_dataset *train, *names, *ids, *lists, *targets, *freed_dataset;
    /* `closing` is made anew after each call that closes it. */
    bert_trainer *trainer, *finished, *closing, *freed_trainer;
    /* `bound` is this thread's. */
    bert_error *bound, *error, *freed_error;
    saved bytes;
} world;

/* One argument, in a call that is made by the table. */
typedef union {
    void *p;
    const void *c;
    size_t n;
    int64_t i;
    double d;
} value;

/* ---- Structs and their fields ----------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    size_t size;
    bert_status (*init)(void *, size_t);
    /* Its fields are the caller's, and in the table below; else the library writes them. */
    int is_input;
} structure;

static bert_status init_model_options(void *options, size_t size)
{
    bert_status status = bert_model_options_init(options, size, BERT_PRESET_COMPACT);
    if (status == BERT_OK && size >= sizeof(bert_model_options)) {
        bert_model_options *o = options;
        bert_model_options small = small_options();
        small.struct_size = size;
        memcpy(o, &small, sizeof(small));
    }
    return status;
}

#define INIT(type)                                         \
    static bert_status init_##type(void *s, size_t size)   \
    {                                                      \
        return type##_init(s, size);                       \
    }
INIT(bert_read_options)
INIT(bert_load_options)
INIT(bert_train_options)
INIT(bert_predict_options)
INIT(bert_embed_options)
INIT(bert_evaluate_options)
INIT(bert_fit_head_options)
INIT(bert_fit_head_report)
INIT(bert_lora_options)
INIT(bert_resume_report)
INIT(bert_info)
INIT(bert_step_report)
INIT(bert_epoch_report)
INIT(bert_train_report)
INIT(bert_evaluation)
INIT(bert_dataset_description)
INIT(bert_prediction)
INIT(bert_predictions)

#define STRUCT(type, init, is_input) {#type, sizeof(type), init, is_input}
static const structure structures[] = {
    STRUCT(bert_read_options, init_bert_read_options, 1),
    STRUCT(bert_model_options, init_model_options, 1),
    STRUCT(bert_load_options, init_bert_load_options, 1),
    STRUCT(bert_train_options, init_bert_train_options, 1),
    STRUCT(bert_predict_options, init_bert_predict_options, 1),
    STRUCT(bert_embed_options, init_bert_embed_options, 1),
    STRUCT(bert_evaluate_options, init_bert_evaluate_options, 1),
    STRUCT(bert_fit_head_options, init_bert_fit_head_options, 1),
    STRUCT(bert_lora_options, init_bert_lora_options, 1),
    STRUCT(bert_resume_report, init_bert_resume_report, 0),
    STRUCT(bert_predictions, init_bert_predictions, 1),
    STRUCT(bert_evaluation, init_bert_evaluation, 0),
    STRUCT(bert_dataset_description, init_bert_dataset_description, 0),
    STRUCT(bert_fit_head_report, init_bert_fit_head_report, 0),
    STRUCT(bert_info, init_bert_info, 0),
    STRUCT(bert_step_report, init_bert_step_report, 0),
    STRUCT(bert_epoch_report, init_bert_epoch_report, 0),
    STRUCT(bert_train_report, init_bert_train_report, 0),
    STRUCT(bert_prediction, init_bert_prediction, 0),
};

static const structure *structure_named(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(structures); i++) {
        if (strcmp(structures[i].name, name) == 0) {
            return &structures[i];
        }
    }
    fprintf(stderr, "the struct %s is not in the table\n", name);
    exit(1);
}

typedef enum { INT32, INT64, REAL, TEXT_FIELD, PATH_FIELD, NAMES, WEIGHTS, DATASET_FIELD, ARRAY, ANY } field_type;

enum { MOST_WRONG = 8 };

/* A field of a struct: values that are refused with INVALID_ARGUMENT, for numbers. */
typedef struct {
    const char *structure, *name;
    size_t offset;
    field_type type;
    size_t count;
    double wrong[MOST_WRONG];
    /* ARRAY: where its capacity is, how large an element is, and how many the standard call needs. NAMES and WEIGHTS:
     * where the count is. */
    size_t other, size, needed;
    /* TEXT_FIELD: a text that is refused, and how. */
    const char *text;
    bert_status status;
} field;

#define COUNT_ARGUMENTS(...) (sizeof((double[]){__VA_ARGS__}) / sizeof(double))
#define FIELD(s, f, of) .structure = #s, .name = #f, .offset = offsetof(s, f), .type = of
#define NUMBER(s, f, of, ...) {FIELD(s, f, of), .count = COUNT_ARGUMENTS(__VA_ARGS__), .wrong = {__VA_ARGS__}}
#define INT(s, f, ...) NUMBER(s, f, INT32, INT32_MIN, -1, INT32_MAX, __VA_ARGS__)
/* Nothing is in it yet: it stays 0. */
#define RESERVED(s, f) INT(s, f, 1)
/* From 0 on every number makes a valid option, or one that is held against the model. */
#define NATURAL(s, f) NUMBER(s, f, INT32, INT32_MIN, -1)
#define NATURAL64(s, f) NUMBER(s, f, INT64, (double)INT64_MIN, -1)
#define FLAG(s, f) INT(s, f, 2)
#define REALS(s, f, ...) NUMBER(s, f, REAL, NAN, INFINITY, -INFINITY, -1, __VA_ARGS__)
#define TEXT_OPTION(s, f, refused, how) {FIELD(s, f, TEXT_FIELD), .text = refused, .status = how}
#define PATH_OPTION(s, f, refused, how) {FIELD(s, f, PATH_FIELD), .text = refused, .status = how}
#define LIST(s, f, n, of) {FIELD(s, f, of), .other = offsetof(s, n)}
#define DATASET_OPTION(s, f) {FIELD(s, f, DATASET_FIELD)}
#define OUTPUT(s, f, capacity, n) \
    {FIELD(s, f, ARRAY), .other = offsetof(s, capacity), .size = sizeof(*((s *)0)->f), .needed = n}
/* Of which nothing can be wrong alone. */
#define FREE(s, f) {FIELD(s, f, ANY)}

static const field fields[] = {
    INT(bert_read_options, format, 4),
    INT(bert_read_options, header, 3),
    TEXT_OPTION(bert_read_options, text_column, "absent", BERT_ERR_DATA),
    TEXT_OPTION(bert_read_options, pair_column, "absent", BERT_ERR_DATA),
    TEXT_OPTION(bert_read_options, label_column, "absent", BERT_ERR_DATA),
    FLAG(bert_read_options, labels_are_ids),
    INT(bert_read_options, problem_type, 4),
    INT(bert_read_options, separator, 128, 34, 10),
    INT(bert_read_options, quoting, 3),
    TEXT_OPTION(bert_read_options, encoding, "absent", BERT_ERR_INVALID_ARGUMENT),
    /* Of data with a class in each record there is nothing to separate. */
    TEXT_OPTION(bert_read_options, label_separator, "|", BERT_ERR_INVALID_ARGUMENT),

    INT(bert_model_options, tokenizer, 3),
    FLAG(bert_model_options, lowercase),
    NATURAL(bert_model_options, min_frequency),
    NUMBER(bert_model_options, max_vocab_size, INT32, INT32_MIN, -1, 0, 4),
    PATH_OPTION(bert_model_options, tokenizer_path, "absent", BERT_ERR_IO),
    INT(bert_model_options, hidden_size, 0, 17, 65538),
    INT(bert_model_options, num_hidden_layers, 0, 1025),
    INT(bert_model_options, num_attention_heads, 0, 3, 4097),
    INT(bert_model_options, intermediate_size, 0, 1048577),
    NUMBER(bert_model_options, max_position_embeddings, INT32, INT32_MIN, -2, 0, 3, 1048577, INT32_MAX),
    INT(bert_model_options, type_vocab_size, 0, 65537),
    INT(bert_model_options, hidden_act, 3),
    INT(bert_model_options, pooling, 3),
    FLAG(bert_model_options, final_layer_norm),
    REALS(bert_model_options, hidden_dropout_prob, 0.91),
    REALS(bert_model_options, attention_probs_dropout_prob, 0.91),
    REALS(bert_model_options, classifier_dropout, 0.91),
    REALS(bert_model_options, initializer_range, 0, 1.01),
    REALS(bert_model_options, layer_norm_eps, 0, 0.11),
    LIST(bert_model_options, label_names, num_label_names, NAMES),
    FREE(bert_model_options, num_label_names),
    FREE(bert_model_options, seed),
    TEXT_OPTION(bert_model_options, device, "tpu", BERT_ERR_DEVICE),
    INT(bert_model_options, problem_type, 4),
    RESERVED(bert_model_options, reserved),
    RESERVED(bert_model_options, reserved2),

    TEXT_OPTION(bert_load_options, device, "tpu", BERT_ERR_DEVICE),
    LIST(bert_load_options, label_names, num_label_names, NAMES),
    FREE(bert_load_options, num_label_names),
    DATASET_OPTION(bert_load_options, labels_from),
    FREE(bert_load_options, seed),
    INT(bert_load_options, problem_type, 4),
    RESERVED(bert_load_options, reserved),
    FLAG(bert_load_options, rename_labels),
    FLAG(bert_load_options, new_classifier),
    NUMBER(bert_load_options, pooling, INT32, INT32_MIN, -2, 3, INT32_MAX),
    RESERVED(bert_load_options, reserved2),

    FREE(bert_train_options, seed),
    NUMBER(bert_train_options, epochs, INT32, INT32_MIN, -2, 0, 1000001, INT32_MAX),
    NUMBER(bert_train_options, batch_size, INT32, INT32_MIN, -2, 0, 1000001, INT32_MAX),
    INT(bert_train_options, gradient_accumulation_steps, 0, 1000001),
    INT(bert_train_options, max_length, 1, 3, 33),
    NUMBER(bert_train_options, learning_rate, REAL, NAN, INFINITY, -INFINITY, -2, -0.5, 10.1),
    REALS(bert_train_options, weight_decay, 10.1),
    REALS(bert_train_options, adam_beta1, 1),
    REALS(bert_train_options, adam_beta2, 1),
    REALS(bert_train_options, adam_epsilon, 0, 1.1),
    REALS(bert_train_options, max_grad_norm, 1e31),
    INT(bert_train_options, schedule, 3),
    /* 2 is float16, which is for predictions. */
    INT(bert_train_options, precision, 2, 3),
    FLAG(bert_train_options, gradient_checkpointing),
    FLAG(bert_train_options, group_by_length),
    NATURAL64(bert_train_options, warmup_steps),
    REALS(bert_train_options, warmup_ratio, 1.1),
    NATURAL64(bert_train_options, eval_steps),
    NUMBER(bert_train_options, metric, INT32, INT32_MIN, -2, 9, INT32_MAX),
    FLAG(bert_train_options, restore_best),
    NATURAL(bert_train_options, early_stopping_patience),
    PATH_OPTION(bert_train_options, best_model_path, "absent/model", BERT_ERR_IO),
    PATH_OPTION(bert_train_options, history_path, "absent/history", BERT_ERR_IO),
    REALS(bert_train_options, head_learning_rate, 10.1),
    REALS(bert_train_options, layer_learning_rate_decay, 1.1),
    FLAG(bert_train_options, freeze_embeddings),
    NUMBER(bert_train_options, freeze_layers, INT32, INT32_MIN, -2, 2, INT32_MAX),
    LIST(bert_train_options, class_weights, num_class_weights, WEIGHTS),
    FREE(bert_train_options, num_class_weights),
    REALS(bert_train_options, label_smoothing, 1.1),
    NUMBER(bert_train_options, threshold, REAL, NAN, INFINITY, -INFINITY, -2, -0.5, 1.1),
    PATH_OPTION(bert_train_options, checkpoint_path, "absent/checkpoints", BERT_ERR_IO),
    NATURAL64(bert_train_options, checkpoint_steps),
    REALS(bert_train_options, checkpoint_minutes, -1e-9, 1000001),
    INT(bert_train_options, checkpoint_keep, 0, 1000001),
    RESERVED(bert_train_options, reserved),
    RESERVED(bert_train_options, reserved2),
    FLAG(bert_train_options, scale_targets),
    RESERVED(bert_train_options, reserved3),
    FREE(bert_train_options, progress),
    FREE(bert_train_options, progress_user_data),

    INT(bert_predict_options, max_length, 1, 3, 33),
    INT(bert_predict_options, long_text, 2),
    NUMBER(bert_predict_options, window_stride, INT32, INT32_MIN, -2),
    INT(bert_predict_options, combine, 3),
    NATURAL(bert_predict_options, top_k),
    NUMBER(bert_predict_options, threshold, REAL, NAN, INFINITY, -INFINITY, -2, -0.5, 1.1),
    INT(bert_predict_options, precision, 3),
    RESERVED(bert_predict_options, reserved),
    RESERVED(bert_predict_options, reserved2),

    REALS(bert_fit_head_options, inverse_regularization, 0, 1e-11, 1.1e10),
    REALS(bert_fit_head_options, tolerance, 0, 1e-16, 1.1),
    INT(bert_fit_head_options, max_iterations, 0, 1000001),
    INT(bert_fit_head_options, max_length, 1, 3, 33),
    LIST(bert_fit_head_options, class_weights, num_class_weights, WEIGHTS),
    FREE(bert_fit_head_options, num_class_weights),
    INT(bert_fit_head_options, precision, 3),
    RESERVED(bert_fit_head_options, reserved),

    INT(bert_embed_options, max_length, 1, 3, 33),
    INT(bert_embed_options, pooling, 3),
    FLAG(bert_embed_options, normalise),
    INT(bert_embed_options, precision, 3),
    OUTPUT(bert_embed_options, was_cut, was_cut_capacity, TEXTS),
    FREE(bert_embed_options, was_cut_capacity),

    OUTPUT(bert_predictions, was_cut, was_cut_capacity, TEXTS),
    FREE(bert_predictions, was_cut_capacity),

    INT(bert_evaluate_options, max_length, 1, 3, 33),
    INT(bert_evaluate_options, long_text, 2),
    NUMBER(bert_evaluate_options, window_stride, INT32, INT32_MIN, -2),
    INT(bert_evaluate_options, combine, 3),

    OUTPUT(bert_predictions, label_ids, label_ids_capacity, TEXTS),
    FREE(bert_predictions, label_ids_capacity),
    OUTPUT(bert_predictions, logits, logits_capacity, TEXTS *CLASSES),
    FREE(bert_predictions, logits_capacity),
    OUTPUT(bert_predictions, probabilities, probabilities_capacity, TEXTS *CLASSES),
    FREE(bert_predictions, probabilities_capacity),
    /* How many are needed is top_k's to say: see top_k_needs_room. */
    FREE(bert_predictions, top_label_ids),
    FREE(bert_predictions, top_label_ids_capacity),
    FREE(bert_predictions, top_probabilities),
    FREE(bert_predictions, top_probabilities_capacity),
    /* For other kinds of models: see answers_of_other_problems. */
    FREE(bert_predictions, has_label),
    FREE(bert_predictions, has_label_capacity),
    FREE(bert_predictions, values),
    FREE(bert_predictions, values_capacity),

    INT(bert_lora_options, rank, 0, 4097),
    NUMBER(bert_lora_options, targets, INT32, 64, -1, INT32_MIN, 0),
    REALS(bert_lora_options, alpha, -1e-9, 0, 1e7),
    REALS(bert_lora_options, dropout, 0.91),
    FLAG(bert_lora_options, use_rslora),
    FLAG(bert_lora_options, train_pooler),
    FREE(bert_lora_options, seed),

    OUTPUT(bert_dataset_description, label_counts, label_capacity, CLASSES),

    OUTPUT(bert_evaluation, confusion, confusion_capacity, CLASSES *CLASSES),
    OUTPUT(bert_evaluation, precision, class_capacity, CLASSES),
    OUTPUT(bert_evaluation, recall, class_capacity, CLASSES),
    OUTPUT(bert_evaluation, f1, class_capacity, CLASSES),
    OUTPUT(bert_evaluation, support, class_capacity, CLASSES),
    NUMBER(bert_evaluation, threshold, REAL, NAN, INFINITY, -INFINITY, -2, -0.5, 1.1),
    INT(bert_evaluation, compute_precision, 3),
};

/* ---- Functions and their arguments ------------------------------------------------------------------------------ */

typedef enum {
    MODEL,
    DATASET,
    TRAINER,
    ERROR,
    /* A result of `size` bytes. */
    OUT,
    /* A text and the length behind it. */
    TEXT,
    LENGTH,
    /* Arrays of TEXTS texts, and of their lengths. */
    TEXT_ARRAY,
    LENGTH_ARRAY,
    CLASS_IDS,
    /* Where each of TEXTS lists begins, and the end. */
    OFFSETS,
    /* TARGETS numbers, or as many for each of TEXTS examples, and how many. */
    NUMBERS,
    TARGET_COUNT,
    TOKEN_IDS,
    TOKEN_TYPES,
    TOKEN_COUNTS,
    COUNT,
    PATH,
    DEVICE,
    BYTES,
    STRUCTURE,
    STRUCT_SIZE,
    INTEGER,
    FRACTION,
    /* Room for numbers of `size` bytes, and how many. */
    BUFFER,
    CAPACITY,
    SEED
} kind;

typedef struct {
    kind kind;
    /* May be NULL: it isn't there, or isn't wanted. */
    int is_optional;
    size_t size;
    const char *text;
    int64_t number;
    void *const *handle;
    /* TEXT: what the empty text and U+0000 in the text give; PATH: what a path that leads nowhere gives. */
    bert_status empty, nul;
    size_t count;
    int64_t wrong[MOST_WRONG];
    bert_status status;
} argument;

typedef struct {
    const char *name;
    bert_status (*call)(value *);
    size_t count;
    argument arguments[MOST_ARGUMENTS];
    /* Gives back what a call that worked has made. */
    void (*release)(value *);
    /* Whether with a buffer too small the argument at `told` gets the count that is needed. */
    size_t told;
} function;

#define A_HANDLE(of, from, optional) {.kind = of, .is_optional = optional, .handle = (void *const *)&world.from}
#define A_MODEL A_HANDLE(MODEL, model, 0)
#define A_DATASET(from) A_HANDLE(DATASET, from, 0)
#define AN_OUT(type) {.kind = OUT, .size = sizeof(type)}
#define MAYBE_OUT(type) {.kind = OUT, .is_optional = 1, .size = sizeof(type)}
#define PLAIN(of) {.kind = of}
#define A_TEXT(good, if_empty, if_nul) {.kind = TEXT, .text = good, .empty = if_empty, .nul = if_nul}, {.kind = LENGTH}
#define A_PAIR {.kind = TEXT, .is_optional = 1}, {.kind = LENGTH}
#define TEXTS_AND_LENGTHS {.kind = TEXT_ARRAY}, {.kind = LENGTH_ARRAY}
#define PAIRS_AND_LENGTHS {.kind = TEXT_ARRAY, .is_optional = 1}, {.kind = LENGTH_ARRAY}
#define A_PATH(good, if_nowhere) {.kind = PATH, .text = good, .nul = if_nowhere}
#define A_DEVICE {.kind = DEVICE, .text = "cpu"}
#define A_STRUCT(type) {.kind = STRUCTURE, .text = #type}
#define MAYBE_STRUCT(type) {.kind = STRUCTURE, .is_optional = 1, .text = #type}
/* That the call itself prepares, with its size behind it. */
#define NEW_STRUCT(type) {.kind = STRUCTURE, .is_optional = 2, .text = #type}, {.kind = STRUCT_SIZE, .size = sizeof(type)}
#define AN_INT(good, if_wrong, ...)                                                                     \
    {.kind = INTEGER, .number = good, .count = COUNT_ARGUMENTS(__VA_ARGS__), .wrong = {__VA_ARGS__}, \
     .status = if_wrong}
#define MAX_LENGTH AN_INT(0, BERT_ERR_INVALID_ARGUMENT, INT32_MIN, -1, 1, 3, 33, INT32_MAX)
#define A_BUFFER(type, needed) {.kind = BUFFER, .size = sizeof(type), .number = needed}
#define MAYBE_BUFFER(type, needed) {.kind = BUFFER, .is_optional = 1, .size = sizeof(type), .number = needed}

#define CALL(name, ...)                         \
    static bert_status call_##name(value *v)    \
    {                                           \
        return name(__VA_ARGS__);               \
    }
CALL(bert_error_create, v[0].p)
CALL(bert_error_bind, v[0].p)
CALL(bert_trainer_close, v[0].p)
CALL(bert_set_num_threads, (int32_t)v[0].i)
CALL(bert_get_num_threads, v[0].p)
CALL(bert_read_options_init, v[0].p, v[1].n)
CALL(bert_model_options_init, v[0].p, v[1].n, (int32_t)v[2].i)
CALL(bert_load_options_init, v[0].p, v[1].n)
CALL(bert_info_init, v[0].p, v[1].n)
CALL(bert_train_options_init, v[0].p, v[1].n)
CALL(bert_step_report_init, v[0].p, v[1].n)
CALL(bert_epoch_report_init, v[0].p, v[1].n)
CALL(bert_train_report_init, v[0].p, v[1].n)
CALL(bert_evaluation_init, v[0].p, v[1].n)
CALL(bert_predict_options_init, v[0].p, v[1].n)
CALL(bert_prediction_init, v[0].p, v[1].n)
CALL(bert_predictions_init, v[0].p, v[1].n)
CALL(bert_embed_options_init, v[0].p, v[1].n)
CALL(bert_evaluate_options_init, v[0].p, v[1].n)
CALL(bert_dataset_create, v[0].p)
CALL(bert_dataset_add_class, v[0].p, v[1].p, v[2].n, v[3].p, v[4].n, v[5].p, v[6].n)
CALL(bert_dataset_add_class_id, v[0].p, v[1].p, v[2].n, v[3].p, v[4].n, v[5].i)
CALL(bert_dataset_add_classes, v[0].p, v[1].n, v[2].p, v[3].p, v[4].p, v[5].p, v[6].p, v[7].p)
CALL(bert_dataset_add_class_ids, v[0].p, v[1].n, v[2].p, v[3].p, v[4].p, v[5].p, v[6].p)
CALL(bert_dataset_add_labels, v[0].p, v[1].p, v[2].n, v[3].p, v[4].n, v[5].p, v[6].p, v[7].n)
CALL(bert_dataset_add_label_lists, v[0].p, v[1].n, v[2].p, v[3].p, v[4].p, v[5].p, v[6].p, v[7].p, v[8].p)
CALL(bert_dataset_add_target, v[0].p, v[1].p, v[2].n, v[3].p, v[4].n, v[5].p, v[6].n)
CALL(bert_dataset_add_targets, v[0].p, v[1].n, v[2].p, v[3].p, v[4].p, v[5].p, v[6].p, v[7].n)
CALL(bert_dataset_read, v[0].p, v[1].p, v[2].p)
CALL(bert_dataset_toy, (int32_t)v[0].i, v[1].p)
CALL(bert_dataset_split, v[0].p, v[1].d, v[2].n, v[3].p, v[4].p)
CALL(bert_dataset_count, v[0].p, v[1].p)
CALL(bert_dataset_description_init, v[0].p, v[1].n)
CALL(bert_dataset_describe, v[0].p, v[1].p, v[2].p)
CALL(bert_dataset_label_name, v[0].p, (int32_t)v[1].i, v[2].p, v[3].n, v[4].p)
CALL(bert_create, v[0].p, v[1].p, v[2].p)
CALL(bert_load, v[0].p, v[1].p, v[2].p)
CALL(bert_load_from_buffer, v[0].p, v[1].n, v[2].p, v[3].p)
CALL(bert_save, v[0].p, v[1].p)
CALL(bert_check_save, v[0].p)
CALL(bert_save_to_buffer, v[0].p, v[1].p, v[2].p)
CALL(bert_get_info, v[0].p, v[1].p)
CALL(bert_parameter_name, v[0].p, (int32_t)v[1].i, (size_t)v[2].i, v[3].p, v[4].p)
CALL(bert_label_name, v[0].p, (int32_t)v[1].i, v[2].p, v[3].p)
CALL(bert_label_id, v[0].p, v[1].p, v[2].n, v[3].p)
CALL(bert_tokenize, v[0].p, v[1].p, v[2].n, v[3].p, v[4].n, (int32_t)v[5].i, v[6].p, v[7].p, v[8].n, v[9].p)
CALL(bert_trainer_create, v[0].p, v[1].p, v[2].p, v[3].p, v[4].p)
CALL(bert_train_step, v[0].p, v[1].p)
CALL(bert_train_epoch, v[0].p, v[1].p)
CALL(bert_train, v[0].p, v[1].p)
CALL(bert_evaluate, v[0].p, v[1].p, (int32_t)v[2].i, v[3].p)
CALL(bert_evaluate_with, v[0].p, v[1].p, v[2].p, v[3].p)
CALL(bert_fit_head_options_init, v[0].p, v[1].n)
CALL(bert_fit_head_report_init, v[0].p, v[1].n)
CALL(bert_fit_head, v[0].p, v[1].p, v[2].p, v[3].p)
CALL(bert_predict, v[0].p, v[1].p, v[2].n, v[3].p, v[4].n, v[5].p, v[6].p)
CALL(bert_predict_batch, v[0].p, v[1].n, v[2].p, v[3].p, v[4].p, v[5].p, v[6].p, v[7].p)
CALL(bert_predict_ids, v[0].p, v[1].n, v[2].p, v[3].p, v[4].p, v[5].p, v[6].p)
CALL(bert_lora_options_init, v[0].p, v[1].n)
CALL(bert_add_lora, v[0].p, v[1].p, v[2].p)
CALL(bert_merge_lora, v[0].p, v[1].p)
CALL(bert_quantize, v[0].p, v[1].p)
CALL(bert_copy_to_device, v[0].p, v[1].p, v[2].p)
CALL(bert_save_adapter, v[0].p, v[1].p)
CALL(bert_load_adapter, v[0].p, v[1].p, v[2].p)
CALL(bert_trainer_save, v[0].p, v[1].p)
CALL(bert_trainer_resume, v[0].p, v[1].p, v[2].p)
CALL(bert_resume_report_init, v[0].p, v[1].n)
CALL(bert_embed, v[0].p, v[1].n, v[2].p, v[3].p, v[4].p, v[5].p, v[6].p, v[7].p, v[8].n)

#define RELEASE(name, type, free, at)   \
    static void name(value *v)          \
    {                                   \
        type *made;                     \
        memcpy(&made, v[at].p, sizeof(made)); \
        free(made);                     \
    }
RELEASE(free_dataset_0, bert_dataset, bert_dataset_free, 0)
RELEASE(free_dataset_1, bert_dataset, bert_dataset_free, 1)
RELEASE(free_dataset_2, bert_dataset, bert_dataset_free, 2)
RELEASE(free_dataset_3, bert_dataset, bert_dataset_free, 3)
RELEASE(free_dataset_4, bert_dataset, bert_dataset_free, 4)
RELEASE(free_model_1, bert_model, bert_free, 1)
RELEASE(free_model_2, bert_model, bert_free, 2)
RELEASE(free_model_3, bert_model, bert_free, 3)
RELEASE(free_trainer_4, bert_trainer, bert_trainer_free, 4)
RELEASE(free_error_0, bert_error, bert_error_free, 0)

/* Another trainer to close, where that one was closed, and where NULL was. */
static void make_closing(value *v)
{
    (void)v;
    bert_trainer_free(world.closing);
    world.closing = trainer_of(world.model, world.train, NULL, NULL);
}

static void free_parts(value *v)
{
    free_dataset_3(v);
    free_dataset_4(v);
}

static void free_buffer(value *v)
{
    uint8_t *bytes;
    size_t length;
    memcpy(&bytes, v[1].p, sizeof(bytes));
    memcpy(&length, v[2].p, sizeof(length));
    bert_buffer_free(bytes, length);
}

/* At least a thread is used from here on: the number doesn't matter. */
static void default_threads(value *v)
{
    (void)v;
    CHECK_OK(bert_set_num_threads(0));
}

#define COUNT_OF_ROW(...) (sizeof((argument[]){__VA_ARGS__}) / sizeof(argument))
#define ROW(name, release, ...) {#name, call_##name, COUNT_OF_ROW(__VA_ARGS__), {__VA_ARGS__}, release, 0}
#define ROW_TELLING(name, told, ...) {#name, call_##name, COUNT_OF_ROW(__VA_ARGS__), {__VA_ARGS__}, NULL, told}
#define ROW_INIT(name, type) ROW(name, NULL, NEW_STRUCT(type))

static const function functions[] = {
    ROW(bert_error_create, free_error_0, AN_OUT(bert_error *)),
    ROW(bert_error_bind, NULL, A_HANDLE(ERROR, error, 1)),
    ROW(bert_trainer_close, make_closing, A_HANDLE(TRAINER, closing, 1)),
    ROW(bert_set_num_threads, default_threads, AN_INT(2, BERT_ERR_INVALID_ARGUMENT, INT32_MIN, -1, 1025, INT32_MAX)),
    ROW(bert_get_num_threads, NULL, AN_OUT(int32_t)),
    ROW_INIT(bert_read_options_init, bert_read_options),
    ROW(bert_model_options_init, NULL, NEW_STRUCT(bert_model_options),
        AN_INT(BERT_PRESET_LARGE, BERT_ERR_INVALID_ARGUMENT, INT32_MIN, -1, 7, INT32_MAX)),
    ROW_INIT(bert_load_options_init, bert_load_options),
    ROW_INIT(bert_info_init, bert_info),
    ROW_INIT(bert_train_options_init, bert_train_options),
    ROW_INIT(bert_step_report_init, bert_step_report),
    ROW_INIT(bert_epoch_report_init, bert_epoch_report),
    ROW_INIT(bert_train_report_init, bert_train_report),
    ROW_INIT(bert_evaluation_init, bert_evaluation),
    ROW_INIT(bert_predict_options_init, bert_predict_options),
    ROW_INIT(bert_prediction_init, bert_prediction),
    ROW_INIT(bert_predictions_init, bert_predictions),
    ROW_INIT(bert_embed_options_init, bert_embed_options),
    ROW_INIT(bert_evaluate_options_init, bert_evaluate_options),
    ROW_INIT(bert_fit_head_options_init, bert_fit_head_options),
    ROW_INIT(bert_fit_head_report_init, bert_fit_head_report),
    ROW_INIT(bert_lora_options_init, bert_lora_options),
    ROW_INIT(bert_resume_report_init, bert_resume_report),

    ROW(bert_dataset_create, free_dataset_0, AN_OUT(bert_dataset *)),
    ROW(bert_dataset_add_class, NULL, A_DATASET(names), A_TEXT("fine", BERT_OK, BERT_OK), A_PAIR,
        A_TEXT("good", BERT_ERR_DATA, BERT_OK)),
    ROW(bert_dataset_add_class_id, NULL, A_DATASET(ids), A_TEXT("fine", BERT_OK, BERT_OK), A_PAIR,
        AN_INT(1, BERT_ERR_INVALID_ARGUMENT, INT64_MIN, -1, (int64_t)UINT32_MAX + 1, INT64_MAX)),
    ROW(bert_dataset_add_classes, NULL, A_DATASET(names), PLAIN(COUNT), TEXTS_AND_LENGTHS, PAIRS_AND_LENGTHS,
        TEXTS_AND_LENGTHS),
    ROW(bert_dataset_add_class_ids, NULL, A_DATASET(ids), PLAIN(COUNT), TEXTS_AND_LENGTHS, PAIRS_AND_LENGTHS,
        PLAIN(CLASS_IDS)),
    ROW(bert_dataset_add_labels, NULL, A_DATASET(lists), A_TEXT("fine", BERT_OK, BERT_OK), A_PAIR, TEXTS_AND_LENGTHS,
        PLAIN(COUNT)),
    ROW(bert_dataset_add_label_lists, NULL, A_DATASET(lists), PLAIN(COUNT), TEXTS_AND_LENGTHS, PAIRS_AND_LENGTHS,
        TEXTS_AND_LENGTHS, PLAIN(OFFSETS)),
    ROW(bert_dataset_add_target, NULL, A_DATASET(targets), A_TEXT("fine", BERT_OK, BERT_OK), A_PAIR, PLAIN(NUMBERS),
        PLAIN(TARGET_COUNT)),
    ROW(bert_dataset_add_targets, NULL, A_DATASET(targets), PLAIN(COUNT), TEXTS_AND_LENGTHS, PAIRS_AND_LENGTHS,
        PLAIN(NUMBERS), PLAIN(TARGET_COUNT)),
    ROW(bert_dataset_read, free_dataset_2, A_PATH("data.tsv", BERT_ERR_IO), MAYBE_STRUCT(bert_read_options),
        AN_OUT(bert_dataset *)),
    ROW(bert_dataset_toy, free_dataset_1, AN_INT(BERT_TOY_TRAIN, BERT_ERR_INVALID_ARGUMENT, INT32_MIN, -1, 2, INT32_MAX),
        AN_OUT(bert_dataset *)),
    ROW(bert_dataset_split, free_parts, A_DATASET(train), PLAIN(FRACTION), PLAIN(SEED), AN_OUT(bert_dataset *),
        AN_OUT(bert_dataset *)),
    ROW(bert_dataset_count, NULL, A_DATASET(train), AN_OUT(size_t)),
    ROW_INIT(bert_dataset_description_init, bert_dataset_description),
    ROW(bert_dataset_describe, NULL, A_DATASET(train), A_HANDLE(MODEL, model, 1), A_STRUCT(bert_dataset_description)),
    ROW_TELLING(bert_dataset_label_name, 4, A_DATASET(train), AN_INT(1, BERT_ERR_UNKNOWN_LABEL, INT32_MIN, -1, 2,
        INT32_MAX),
                MAYBE_BUFFER(char, 9), PLAIN(CAPACITY), MAYBE_OUT(size_t)),

    ROW(bert_create, free_model_2, MAYBE_STRUCT(bert_model_options), A_DATASET(train), AN_OUT(bert_model *)),
    ROW(bert_load, free_model_2, A_PATH("model", BERT_ERR_IO), MAYBE_STRUCT(bert_load_options), AN_OUT(bert_model *)),
    ROW(bert_load_from_buffer, free_model_3, PLAIN(BYTES), PLAIN(LENGTH), MAYBE_STRUCT(bert_load_options),
        AN_OUT(bert_model *)),
    ROW(bert_save, NULL, A_MODEL, A_PATH("model", BERT_ERR_IO)),
    ROW(bert_check_save, NULL, A_PATH("model", BERT_ERR_IO)),
    ROW(bert_save_to_buffer, free_buffer, A_MODEL, AN_OUT(uint8_t *), AN_OUT(size_t)),
    ROW(bert_get_info, NULL, A_MODEL, A_STRUCT(bert_info)),
    ROW(bert_parameter_name, NULL, A_MODEL,
        AN_INT(BERT_PARAMETERS_INITIALISED, BERT_ERR_INVALID_ARGUMENT, INT32_MIN, -1, 3, INT32_MAX),
        AN_INT(0, BERT_ERR_INVALID_ARGUMENT, -1, 1000000, INT64_MIN), MAYBE_OUT(const char *), AN_OUT(size_t)),
    ROW(bert_label_name, NULL, A_MODEL, AN_INT(1, BERT_ERR_UNKNOWN_LABEL, INT32_MIN, -1, 2, INT32_MAX),
        AN_OUT(const char *), MAYBE_OUT(size_t)),
    ROW(bert_label_id, NULL, A_MODEL, A_TEXT("positive", BERT_ERR_UNKNOWN_LABEL, BERT_ERR_UNKNOWN_LABEL),
        AN_OUT(int32_t)),
    ROW_TELLING(bert_tokenize, 9, A_MODEL, A_TEXT("a great film", BERT_OK, BERT_OK), A_PAIR, MAX_LENGTH,
                MAYBE_BUFFER(uint32_t, 5),
                MAYBE_BUFFER(uint32_t, 5), PLAIN(CAPACITY), AN_OUT(size_t)),

    ROW(bert_trainer_create, free_trainer_4, A_MODEL, A_DATASET(train), A_HANDLE(DATASET, train, 1),
        MAYBE_STRUCT(bert_train_options), AN_OUT(bert_trainer *)),
    ROW(bert_train_step, NULL, A_HANDLE(TRAINER, trainer, 0), MAYBE_STRUCT(bert_step_report)),
    ROW(bert_train_epoch, NULL, A_HANDLE(TRAINER, trainer, 0), MAYBE_STRUCT(bert_epoch_report)),
    ROW(bert_train, NULL, A_HANDLE(TRAINER, finished, 0), MAYBE_STRUCT(bert_train_report)),
    ROW(bert_trainer_save, NULL, A_HANDLE(TRAINER, trainer, 0), A_PATH("checkpoint", BERT_ERR_IO)),
    ROW(bert_trainer_resume, NULL, A_HANDLE(TRAINER, trainer, 0), A_PATH("checkpoint", BERT_ERR_IO),
        MAYBE_STRUCT(bert_resume_report)),
    ROW(bert_add_lora, free_model_2, A_MODEL, MAYBE_STRUCT(bert_lora_options), AN_OUT(bert_model *)),
    ROW(bert_merge_lora, free_model_1, A_HANDLE(MODEL, lora, 0), AN_OUT(bert_model *)),
    ROW(bert_quantize, free_model_1, A_HANDLE(MODEL, on_cpu, 0), AN_OUT(bert_model *)),
    ROW(bert_copy_to_device, free_model_2, A_MODEL, A_DEVICE, AN_OUT(bert_model *)),
    ROW(bert_save_adapter, NULL, A_HANDLE(MODEL, lora, 0), A_PATH("adapter", BERT_ERR_IO)),
    ROW(bert_load_adapter, free_model_2, A_MODEL, A_PATH("adapter", BERT_ERR_IO), AN_OUT(bert_model *)),
    ROW(bert_fit_head, NULL, A_MODEL, A_DATASET(train), MAYBE_STRUCT(bert_fit_head_options),
        MAYBE_STRUCT(bert_fit_head_report)),
    ROW(bert_evaluate, NULL, A_MODEL, A_DATASET(train), MAX_LENGTH, A_STRUCT(bert_evaluation)),
    ROW(bert_evaluate_with, NULL, A_MODEL, A_DATASET(train), MAYBE_STRUCT(bert_evaluate_options),
        A_STRUCT(bert_evaluation)),

    ROW(bert_predict, NULL, A_MODEL, A_TEXT("a great film", BERT_OK, BERT_OK), A_PAIR, MAYBE_STRUCT(bert_predict_options),
        A_STRUCT(bert_prediction)),
    ROW(bert_predict_batch, NULL, A_MODEL, PLAIN(COUNT), TEXTS_AND_LENGTHS, PAIRS_AND_LENGTHS,
        MAYBE_STRUCT(bert_predict_options), A_STRUCT(bert_predictions)),
    ROW(bert_predict_ids, NULL, A_MODEL, PLAIN(COUNT), PLAIN(TOKEN_IDS), PLAIN(TOKEN_TYPES), PLAIN(TOKEN_COUNTS),
        MAYBE_STRUCT(bert_predict_options), A_STRUCT(bert_predictions)),
    ROW(bert_embed, NULL, A_MODEL, PLAIN(COUNT), TEXTS_AND_LENGTHS, PAIRS_AND_LENGTHS, MAYBE_STRUCT(bert_embed_options),
        A_BUFFER(float, TEXTS *WIDTH), PLAIN(CAPACITY)),
};

/* Functions that can't fail, and those that are tried by hand below; thresholds.c has those of multi-label models. */
static const char *const others[] = {
    "bert_status_string", "bert_version", "bert_abi_version", "bert_build_info", "bert_last_error_message",
    "bert_set_log_callback", "bert_dataset_free", "bert_buffer_free", "bert_free", "bert_trainer_free",
    "bert_trainer_cancel", "bert_error_free", "bert_error_status", "bert_error_message", "bert_error_argument",
    "bert_error_index", "bert_error_line", "bert_error_needed_size", "bert_set_thresholds", "bert_get_thresholds",
};

/* ---- The header ------------------------------------------------------------------------------------------------- */

static char *header;

/* Where `name` is declared: the name with a bracket behind it, in a line that is no comment. */
static const char *declaration(const char *name)
{
    size_t length = strlen(name);
    for (const char *line = header; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        const char *bracket = strchr(line, '('), *end = strchr(line, '\n');
        if (strncmp(line, "BERT_API ", 9) != 0 || bracket == NULL || bracket > end) {
            continue;
        }
        if ((size_t)(bracket - line) > length && strncmp(bracket - length, name, length) == 0 &&
            bracket[-1 - (ptrdiff_t)length] == ' ') {
            return line;
        }
    }
    fprintf(stderr, "bert.h doesn't declare %s\n", name);
    exit(1);
}

static int mentions(const char *from, const char *to, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = strstr(from, word); at != NULL && at < to; at = strstr(at + 1, word)) {
        if (!isupper((unsigned char)at[length]) && at[length] != '_') {
            return 1;
        }
    }
    return 0;
}

/* Whether the comment before a function names this status. */
static int documents(const char *name, const char *status)
{
    const char *end = declaration(name), *start = end;
    while (strncmp(start, "/**", 3) != 0) {
        start--;
    }
    return mentions(start, end, status);
}

static int is_known_function(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        if (strcmp(functions[i].name, name) == 0) {
            return 1;
        }
    }
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        if (strcmp(others[i], name) == 0) {
            return 1;
        }
    }
    return 0;
}

static int is_known_field(const char *structure, const char *name)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (strcmp(fields[i].structure, structure) == 0 && strcmp(fields[i].name, name) == 0) {
            return 1;
        }
    }
    return 0;
}

/* The last name in a line that ends with a semicolon; arrays' brackets left out. */
static void last_name(const char *line, const char *end, char name[64])
{
    const char *to = end;
    while (to > line && !isalnum((unsigned char)to[-1]) && to[-1] != '_') {
        to--;
    }
    const char *from = to;
    while (from > line && (isalnum((unsigned char)from[-1]) || from[-1] == '_')) {
        from--;
    }
    snprintf(name, 64, "%.*s", (int)(to - from), from);
}

static void the_tables_are_complete(void)
{
    int missing = 0;
    size_t found = 0, structs = 0, read = 0;
    const char *body = NULL;
    for (const char *line = header; *line != 0;) {
        const char *end = strchr(line, '\n');
        CHECK(end != NULL);
        char name[64] = "";
        if (strncmp(line, "typedef struct ", 15) == 0 && end[-1] == '{') {
            body = end;
            structs++;
        } else if (*line == '}' && body != NULL) {
            /* The struct's name is known only here: its fields are gone through once more. */
            char structure_name[64];
            last_name(line, strchr(line, ';'), structure_name);
            int is_input = strcmp(structure_name, "bert_progress") != 0 && structure_named(structure_name)->is_input;
            for (const char *at = body + 1; is_input && at < line; at = strchr(at, '\n') + 1) {
                const char *semicolon = strchr(at, ';'), *stop = strchr(at, '\n');
                if (strncmp(at, "   *", 4) == 0 || semicolon == NULL || semicolon > stop) {
                    continue;
                }
                read++;
                last_name(at, semicolon, name);
                if (strcmp(name, "struct_size") != 0 && !is_known_field(structure_name, name)) {
                    fprintf(stderr, "the table of fields lacks %s.%s\n", structure_name, name);
                    missing = 1;
                }
            }
            body = NULL;
        } else if (isalpha((unsigned char)*line)) {
            const char *bracket = strchr(line, '(');
            if (strncmp(line, "typedef", 7) != 0 && strncmp(line, "extern", 6) != 0 && bracket != NULL &&
                bracket < end) {
                last_name(line, bracket, name);
                found++;
                if (!is_known_function(name)) {
                    fprintf(stderr, "the table of functions lacks %s\n", name);
                    missing = 1;
                }
            }
        }
        line = end + 1;
    }
    CHECK(!missing);
    CHECK_EQUAL(found, COUNT_OF(functions) + COUNT_OF(others));
    /* That of a callback is the library's own. */
    CHECK_EQUAL(structs, COUNT_OF(structures) + 1);
    CHECK(read > 100);
}

/* ---- Trying ----------------------------------------------------------------------------------------------------- */

/* The memory that a call may write to, a place for each argument, and how it was before. */
static union {
    unsigned char bytes[MOST_ARGUMENTS][SLOT];
    double aligned;
    void *pointer;
} arena, before;

/* Memory for the arrays that fields point to. */
static union {
    unsigned char bytes[SLOT];
    double aligned;
    void *pointer;
} outside, outside_before;

static value arguments[MOST_ARGUMENTS];
static const function *running;
static size_t tried, failures;

static const char *const good_texts[TEXTS] = {"a great film", "positive"};
static const size_t good_lengths[TEXTS] = {12, 8};
static const int64_t good_ids[TEXTS] = {0, 1};
static const size_t good_offsets[TEXTS + 1] = {0, 1, 2};
static const float good_numbers[TEXTS * TARGETS] = {1, -2, 3, 4};
static const uint32_t good_tokens[64] = {2, 5, 3, 2, 6, 3};
static const uint32_t good_types[64] = {0};
static const size_t good_counts[TEXTS] = {3, 3};

/* The name of argument `at` in the header. */
static const char *name_of(size_t at)
{
    static char name[64];
    const char *end = strchr(declaration(running->name), '(');
    for (size_t i = 0; i <= at; i++) {
        end += 1 + strcspn(end + 1, ",)");
    }
    last_name(end - 64, end, name);
    return name;
}

/* Every argument as it should be, and every byte that might be written known. */
static void prepare(const function *f)
{
    running = f;
    memset(&arena, 0xa5, sizeof(arena));
    memset(&outside, 0xa5, sizeof(outside));
    memset(arguments, 0, sizeof(arguments));
    for (size_t i = 0; i < f->count; i++) {
        const argument *a = &f->arguments[i];
        value *v = &arguments[i];
        switch (a->kind) {
        case MODEL:
        case DATASET:
        case TRAINER:
        case ERROR:
            v->p = *a->handle;
            break;
        case OUT:
        case BUFFER:
            v->p = arena.bytes[i];
            break;
        case TEXT:
        case PATH:
        case DEVICE:
            v->c = a->text;
            break;
        case LENGTH:
            v->n = i > 0 && f->arguments[i - 1].kind == BYTES ? world.bytes.length : NUL;
            break;
        case TEXT_ARRAY:
            v->c = a->is_optional ? NULL : good_texts;
            break;
        case LENGTH_ARRAY:
            v->c = good_lengths;
            break;
        case CLASS_IDS:
            v->c = good_ids;
            break;
        case OFFSETS:
            v->c = good_offsets;
            break;
        case NUMBERS:
            v->c = good_numbers;
            break;
        case TARGET_COUNT:
            v->n = TARGETS;
            break;
        case TOKEN_IDS:
            v->c = good_tokens;
            break;
        case TOKEN_TYPES:
            v->c = good_types;
            break;
        case TOKEN_COUNTS:
            v->c = good_counts;
            break;
        case COUNT:
            v->n = TEXTS;
            break;
        case BYTES:
            v->p = world.bytes.bytes;
            break;
        case STRUCTURE: {
            const structure *s = structure_named(a->text);
            CHECK(s->size + TAIL <= SLOT);
            v->p = arena.bytes[i];
            if (a->is_optional != 2) {
                memset(arena.bytes[i], 0, SLOT);
                CHECK_OK(s->init(arena.bytes[i], s->size));
            }
            break;
        }
        case STRUCT_SIZE:
            v->n = a->size;
            break;
        case INTEGER:
            v->i = a->number;
            break;
        case FRACTION:
            v->d = 0.25;
            break;
        case CAPACITY:
            v->n = SLOT / sizeof(double);
            break;
        case SEED:
            v->n = 7;
            break;
        }
    }
}

#define WRONG(...)                                                                    \
    do {                                                                              \
        fprintf(stderr, "%s, argument %zu, %s: ", running->name, at + 1, what);       \
        fprintf(stderr, __VA_ARGS__);                                                 \
        fprintf(stderr, "; the last message is: %s\n", bert_last_error_message());    \
        failures++;                                                                   \
    } while (0)

static int is_handle(kind kind)
{
    return kind == MODEL || kind == DATASET || kind == TRAINER || kind == ERROR;
}

/* An argument of the function, or a field of a struct that it takes. */
static int is_name(const char *name)
{
    for (size_t i = 0; i < running->count; i++) {
        const argument *a = &running->arguments[i];
        if (strcmp(name_of(i), name) == 0 || (a->kind == STRUCTURE && is_known_field(a->text, name))) {
            return 1;
        }
    }
    return 0;
}

/* What the error object says of the call that failed. `named`: what it must say that it was of. */
static void check_bound(size_t at, const char *what, bert_status got, const char *named)
{
    const char *said = bert_error_argument(world.bound);
    if (bert_error_status(world.bound) != got) {
        WRONG("stores %s in the error object", bert_status_string(bert_error_status(world.bound)));
    }
    if (strcmp(bert_error_message(world.bound), bert_last_error_message()) != 0) {
        WRONG("stores another message in the error object: '%s'", bert_error_message(world.bound));
    }
    if (named != NULL ? strcmp(said, named) != 0 : *said != 0 && !is_name(said)) {
        WRONG("is said to be of '%s' and not of '%s'", said, named == NULL ? "any argument" : named);
    }
    if ((bert_error_needed_size(world.bound) != 0) != (got == BERT_ERR_BUFFER_TOO_SMALL)) {
        WRONG("is said to need %zu elements", bert_error_needed_size(world.bound));
    }
}

/* Makes the call that was prepared and spoilt: it must give this status, and say that it is of the argument or field of
 * that name; NULL: of whichever. */
static void expect_of(size_t at, const char *what, bert_status expected, const char *named)
{
    memcpy(&before, &arena, sizeof(arena));
    memcpy(&outside_before, &outside, sizeof(outside));
    CHECK_OK(bert_error_bind(world.bound));
    bert_status got = running->call(arguments);
    tried++;
    if (got != expected) {
        WRONG("gives %s and not %s", bert_status_string(got), bert_status_string(expected));
    }
    if (got == BERT_OK) {
        CHECK_OK(bert_error_status(world.bound));
        if (running->release != NULL) {
            running->release(arguments);
        }
        return;
    }
    check_bound(at, what, got, named);
    if (!documents(running->name, bert_status_string(got))) {
        WRONG("gives %s, which the header doesn't name", bert_status_string(got));
    }
    const char *message = bert_last_error_message();
    size_t length = strlen(message);
    if (length < 10 || message[length - 1] != '.' || strstr(message, "  ") != NULL) {
        WRONG("has a message that is no sentence");
    }
    if (got == BERT_ERR_BUFFER_TOO_SMALL && running->told != 0) {
        size_t told;
        memcpy(&told, arena.bytes[running->told], sizeof(told));
        if (told == 0 || told > SLOT) {
            WRONG("doesn't tell the size that is needed");
        }
        memcpy(before.bytes[running->told], &told, sizeof(told));
    }
    if (memcmp(&arena, &before, sizeof(arena)) != 0 || memcmp(&outside, &outside_before, sizeof(outside)) != 0) {
        WRONG("has written something");
    }
}

static void expect(size_t at, const char *what, bert_status expected)
{
    expect_of(at, what, expected, NULL);
}

/* The call with one argument replaced: it is that one which is wrong. */
static void replace(size_t at, const char *what, void *pointer, bert_status expected)
{
    int is_of_it = expected == BERT_ERR_HANDLE || expected == BERT_ERR_INVALID_ARGUMENT || expected == BERT_ERR_UTF8;
    prepare(running);
    arguments[at].p = pointer;
    expect_of(at, what, expected, is_of_it ? name_of(at) : NULL);
}

/* Sequences of bytes that are no UTF-8: a stray byte, an overlong form, a surrogate, one that ends too early, one
 * beyond U+10FFFF. */
static const char *const not_utf8[] = {"\xff", "fine\x80", "\xc0\x80", "\xed\xa0\x80", "\xe2\x82", "\xf4\x90\x80\x80",
                                       "\xfe\xff"};

static void try_handle(size_t at, kind kind, int is_optional)
{
    static uint64_t own[8];
    void *const garbage[] = {(void *)1, (void *)16, (void *)UINTPTR_MAX, own, (char *)own + 3,
                             (char *)*running->arguments[at].handle + 1, (char *)*running->arguments[at].handle + 8};
    replace(at, "NULL", NULL, is_optional ? BERT_OK : BERT_ERR_HANDLE);
    for (size_t i = 0; i < COUNT_OF(garbage); i++) {
        replace(at, "garbage", garbage[i], BERT_ERR_HANDLE);
    }
    replace(at, "a freed model", world.freed_model, BERT_ERR_HANDLE);
    replace(at, "a freed dataset", world.freed_dataset, BERT_ERR_HANDLE);
    replace(at, "a freed trainer", world.freed_trainer, BERT_ERR_HANDLE);
    replace(at, "a freed error object", world.freed_error, BERT_ERR_HANDLE);
    if (kind != MODEL) {
        replace(at, "a model", world.model, BERT_ERR_HANDLE);
    }
    if (kind != DATASET) {
        replace(at, "a dataset", world.train, BERT_ERR_HANDLE);
    }
    if (kind != TRAINER) {
        replace(at, "a trainer", world.trainer, BERT_ERR_HANDLE);
    }
    if (kind != ERROR) {
        replace(at, "an error object", world.error, BERT_ERR_HANDLE);
    }
}

static void try_text(size_t at, const argument *a)
{
    char text[16];
    for (size_t i = 0; i < COUNT_OF(not_utf8); i++) {
        replace(at, "no UTF-8", (void *)not_utf8[i], BERT_ERR_UTF8);
        prepare(running);
        arguments[at].c = not_utf8[i];
        arguments[at + 1].n = strlen(not_utf8[i]);
        expect_of(at, "no UTF-8, counted", BERT_ERR_UTF8, name_of(at));
    }
    /* A character cut by its count. */
    prepare(running);
    arguments[at].c = "\xe2\x82\xac";
    arguments[at + 1].n = 2;
    expect(at, "half a character", BERT_ERR_UTF8);
    static const size_t absurd[] = {SIZE_MAX - 1, SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < COUNT_OF(absurd); i++) {
        prepare(running);
        arguments[at].c = "text";
        arguments[at + 1].n = absurd[i];
        expect(at + 1, "an absurd length", BERT_ERR_INVALID_ARGUMENT);
    }
    /* A pair makes of a single text what may not stand in its data set, or what has no [SEP] too few. */
    int refuses_pairs = a->is_optional && strncmp(running->name, "bert_dataset_add", 16) == 0;
    prepare(running);
    arguments[at].p = NULL;
    expect(at, "NULL that ends with a NUL", a->is_optional ? BERT_OK : BERT_ERR_INVALID_ARGUMENT);
    prepare(running);
    arguments[at].p = NULL;
    arguments[at + 1].n = 4;
    expect(at, "NULL with a length", a->is_optional ? BERT_OK : BERT_ERR_INVALID_ARGUMENT);
    prepare(running);
    arguments[at].p = NULL;
    arguments[at + 1].n = 0;
    expect(at, "NULL of length 0", a->is_optional ? BERT_OK : a->empty);
    memcpy(text, "one\0two\0\0!", 10);
    prepare(running);
    arguments[at].p = text;
    arguments[at + 1].n = 10;
    expect(at, "U+0000 in a counted text", refuses_pairs ? BERT_ERR_DATA : a->nul);
    prepare(running);
    arguments[at].p = text + 3;
    arguments[at + 1].n = 1;
    expect(at, "U+0000 alone", refuses_pairs ? BERT_ERR_DATA : a->nul);
    prepare(running);
    arguments[at].c = "";
    expect(at, "an empty text", refuses_pairs ? BERT_ERR_DATA : a->empty);
    prepare(running);
    arguments[at].c = "not read";
    arguments[at + 1].n = 0;
    expect(at, "an empty counted text", refuses_pairs ? BERT_ERR_DATA : a->empty);
}

static void try_texts(size_t at, const argument *a)
{
    const char *spoilt[TEXTS] = {good_texts[0], NULL};
    size_t lengths[TEXTS] = {1, 1};
    replace(at, "NULL", NULL, a->is_optional ? BERT_OK : BERT_ERR_INVALID_ARGUMENT);
    replace(at, "misaligned", (char *)good_texts + 1, BERT_ERR_INVALID_ARGUMENT);
    if (a->is_optional) {
        /* That one has no second text, and a data set doesn't hold both kinds. */
        int mixes = strncmp(running->name, "bert_dataset_add", 16) == 0;
        replace(at, "a NULL text", spoilt, mixes ? BERT_ERR_DATA : BERT_OK);
    } else {
        replace(at, "a NULL text", spoilt, BERT_ERR_INVALID_ARGUMENT);
        CHECK_EQUAL(bert_error_index(world.bound), 1);
    }
    for (size_t i = 0; i < COUNT_OF(not_utf8); i++) {
        spoilt[1] = not_utf8[i];
        prepare(running);
        arguments[at].p = spoilt;
        arguments[at + 1].p = NULL;
        expect_of(at, "no UTF-8", BERT_ERR_UTF8, name_of(at));
        CHECK_EQUAL(bert_error_index(world.bound), 1);
        lengths[1] = strlen(not_utf8[i]);
        prepare(running);
        arguments[at].p = spoilt;
        arguments[at + 1].p = lengths;
        expect_of(at, "no UTF-8, counted", BERT_ERR_UTF8, name_of(at));
        CHECK_EQUAL(bert_error_index(world.bound), 1);
    }
    prepare(running);
    arguments[at].p = spoilt;
    arguments[at + 1].p = (char *)lengths + 1;
    expect_of(at + 1, "misaligned", BERT_ERR_INVALID_ARGUMENT, name_of(at + 1));
    if (a->is_optional) {
        return;
    }
    lengths[1] = SIZE_MAX - 1;
    prepare(running);
    arguments[at + 1].p = lengths;
    expect_of(at + 1, "an absurd length", BERT_ERR_INVALID_ARGUMENT, name_of(at));
    replace(at + 1, "none", NULL, BERT_OK);
    /* Counted texts may hold anything. */
    spoilt[0] = "\0a", spoilt[1] = "b\0";
    lengths[0] = lengths[1] = 2;
    prepare(running);
    arguments[at].p = spoilt;
    arguments[at + 1].p = lengths;
    expect(at, "U+0000 in counted texts", BERT_OK);
}

static void set_number(const field *f, unsigned char *place, double number)
{
    int32_t small = f->type == INT32 ? (int32_t)number : 0;
    int64_t large = f->type == INT64 ? (int64_t)number : 0;
    switch (f->type) {
    case INT32:
        memcpy(place, &small, sizeof(small));
        break;
    case INT64:
        memcpy(place, &large, sizeof(large));
        break;
    default:
        memcpy(place, &number, sizeof(number));
    }
}

static void set_pointer(unsigned char *place, const void *pointer)
{
    memcpy(place, &pointer, sizeof(pointer));
}

static void set_size(unsigned char *place, size_t size)
{
    memcpy(place, &size, sizeof(size));
}

static void try_list(size_t at, const field *f, const void *good, const void *spoilt, bert_status expected)
{
    unsigned char *base = arena.bytes[at];
    const char *what = f->name;
    prepare(running);
    set_size(base + f->other, TEXTS);
    expect(at, what, BERT_ERR_INVALID_ARGUMENT);
    prepare(running);
    set_pointer(base + f->offset, good);
    set_size(base + f->other, SIZE_MAX);
    expect(at, what, BERT_ERR_INVALID_ARGUMENT);
    prepare(running);
    set_pointer(base + f->offset, good);
    set_size(base + f->other, 1);
    /* bert_create's data have labels that a single name leaves out; elsewhere one class is too few. */
    expect(at, what, strcmp(running->name, "bert_create") == 0 ? BERT_ERR_UNKNOWN_LABEL : BERT_ERR_INVALID_ARGUMENT);
    prepare(running);
    set_pointer(base + f->offset, (const char *)good + 1);
    set_size(base + f->other, TEXTS);
    expect(at, what, BERT_ERR_INVALID_ARGUMENT);
    prepare(running);
    set_pointer(base + f->offset, spoilt);
    set_size(base + f->other, TEXTS);
    expect(at, what, expected);
    prepare(running);
    set_pointer(base + f->offset, good);
    set_size(base + f->other, TEXTS);
    expect(at, what, BERT_OK);
}

/* Whether this function refuses the number: bert_predict_ids has no texts to cut, so that the model's limit isn't its. A
 * field's own range is everybody's. */
static int is_refused(const field *f, double number)
{
    int has_no_texts = strcmp(running->name, "bert_predict_ids") == 0;
    return !has_no_texts || strcmp(f->name, "max_length") != 0 || number < 0;
}

static void try_field(size_t at, const field *f)
{
    static const char *const names[TEXTS] = {"negative", "positive"}, *const twice[TEXTS] = {"same", "same"},
                            *const hole[TEXTS] = {"negative", NULL}, *const foreign[TEXTS] = {"negative", "\xff"};
    static const double weights[TEXTS] = {1, 2};
    static const double wrong_weights[] = {0, -1, NAN, INFINITY, -INFINITY, 1e7};
    unsigned char *base = arena.bytes[at];
    const char *what = f->name;
    for (size_t i = 0; i < f->count; i++) {
        if (!is_refused(f, f->wrong[i])) {
            continue;
        }
        prepare(running);
        set_number(f, base + f->offset, f->wrong[i]);
        /* Two that don't go together. */
        int is_of_both = strcmp(f->name, "hidden_size") == 0 && f->wrong[i] == 17;
        expect_of(at, what, BERT_ERR_INVALID_ARGUMENT, is_of_both ? "num_attention_heads" : f->name);
    }
    switch (f->type) {
    case TEXT_FIELD:
        for (size_t i = 0; i < COUNT_OF(not_utf8); i++) {
            prepare(running);
            set_pointer(base + f->offset, not_utf8[i]);
            expect_of(at, what, BERT_ERR_UTF8, f->name);
        }
        prepare(running);
        set_pointer(base + f->offset, f->text);
        expect(at, what, f->status);
        prepare(running);
        set_pointer(base + f->offset, "");
        expect(at, what, f->status);
        break;
    case PATH_FIELD:
        prepare(running);
        set_pointer(base + f->offset, "");
        expect_of(at, what, BERT_ERR_INVALID_ARGUMENT, f->name);
        prepare(running);
        set_pointer(base + f->offset, f->text);
        expect(at, what, f->status);
        break;
    case NAMES:
        try_list(at, f, names, twice, BERT_ERR_INVALID_ARGUMENT);
        try_list(at, f, names, hole, BERT_ERR_INVALID_ARGUMENT);
        try_list(at, f, names, foreign, BERT_ERR_UTF8);
        break;
    case WEIGHTS:
        for (size_t i = 0; i < COUNT_OF(wrong_weights); i++) {
            double spoilt[TEXTS] = {1, wrong_weights[i]};
            try_list(at, f, weights, spoilt, BERT_ERR_INVALID_ARGUMENT);
        }
        break;
    case DATASET_FIELD: {
        void *const wrong[] = {(void *)1, (void *)UINTPTR_MAX, world.model, world.trainer, world.freed_dataset};
        for (size_t i = 0; i < COUNT_OF(wrong); i++) {
            prepare(running);
            set_pointer(base + f->offset, wrong[i]);
            expect_of(at, what, BERT_ERR_HANDLE, f->name);
        }
        prepare(running);
        set_pointer(base + f->offset, world.train);
        expect(at, what, BERT_OK);
        break;
    }
    case ARRAY:
        for (size_t capacity = 0; capacity <= f->needed; capacity++) {
            prepare(running);
            set_pointer(base + f->offset, outside.bytes);
            set_size(base + f->other, capacity);
            expect_of(at, what, capacity < f->needed ? BERT_ERR_BUFFER_TOO_SMALL : BERT_OK, f->name);
            char needed[32];
            snprintf(needed, sizeof(needed), " %zu are needed", f->needed);
            if (capacity < f->needed) {
                CHECK_MESSAGE(needed);
                CHECK_EQUAL(bert_error_needed_size(world.bound), f->needed);
            }
        }
        /* No more than needed is written. */
        for (size_t i = f->needed * f->size; i < SLOT; i++) {
            CHECK_EQUAL(outside.bytes[i], 0xa5);
        }
        /* Bytes lie anywhere. */
        if (f->size > 1) {
            prepare(running);
            set_pointer(base + f->offset, outside.bytes + 1);
            set_size(base + f->other, f->needed);
            expect_of(at, what, BERT_ERR_INVALID_ARGUMENT, f->name);
        }
        break;
    default:
        break;
    }
}

static void try_structure(size_t at, const argument *a)
{
    const structure *s = structure_named(a->text);
    unsigned char *base = arena.bytes[at];
    int is_init = a->is_optional == 2;
    replace(at, "NULL", NULL, a->is_optional == 1 ? BERT_OK : BERT_ERR_INVALID_ARGUMENT);
    prepare(running);
    memmove(base + 1, base, SLOT - 1);
    arguments[at].p = base + 1;
    expect_of(at, "misaligned", BERT_ERR_INVALID_ARGUMENT, name_of(at));
    /* 4 less is the size of no version: all are multiples of 8. */
    const size_t wrong[] = {0, 1, sizeof(size_t), s->size - 1, s->size - 4, (size_t)1 << 20, SIZE_MAX};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        prepare(running);
        if (is_init) {
            arguments[at + 1].n = wrong[i];
        } else {
            set_size(base, wrong[i]);
        }
        expect_of(at, "a wrong struct_size", BERT_ERR_STRUCT_SIZE, name_of(is_init ? at + 1 : at));
    }
    /* A newer program's struct. */
    prepare(running);
    if (is_init) {
        arguments[at + 1].n = s->size + TAIL;
        expect(at, "a larger size", BERT_OK);
        for (size_t i = 0; i < TAIL; i++) {
            CHECK_EQUAL(base[s->size + i], 0);
        }
        CHECK_EQUAL(base[s->size + TAIL], 0xa5);
        return;
    }
    set_size(base, s->size + TAIL);
    expect(at, "a larger struct_size, its tail zero", BERT_OK);
    for (size_t i = 0; i < TAIL; i++) {
        prepare(running);
        set_size(base, s->size + TAIL);
        base[s->size + i] = 1;
        expect_of(at, "a larger struct_size, its tail set", BERT_ERR_STRUCT_SIZE, name_of(at));
    }
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (strcmp(fields[i].structure, s->name) == 0) {
            try_field(at, &fields[i]);
        }
    }
}

static void try_buffer(size_t at, const argument *a)
{
    size_t capacity_at = at;
    while (running->arguments[capacity_at].kind != CAPACITY) {
        capacity_at++;
    }
    replace(at, "NULL", NULL, a->is_optional ? BERT_OK : BERT_ERR_INVALID_ARGUMENT);
    /* Bytes lie anywhere. */
    replace(at, "misaligned", arena.bytes[at] + 1, a->size == 1 ? BERT_OK : BERT_ERR_INVALID_ARGUMENT);
    for (size_t capacity = 0; capacity <= (size_t)a->number; capacity++) {
        prepare(running);
        arguments[capacity_at].n = capacity;
        for (size_t i = 0; i < running->count; i++) {
            /* Which has the same capacity. */
            if (i != at && running->arguments[i].kind == BUFFER) {
                arguments[i].p = NULL;
            }
        }
        int fits = capacity >= (size_t)a->number;
        expect_of(at, "a small capacity", fits ? BERT_OK : BERT_ERR_BUFFER_TOO_SMALL, name_of(at));
        CHECK_EQUAL(bert_error_needed_size(world.bound), fits ? 0 : a->number);
    }
    for (size_t i = (size_t)a->number * a->size; i < SLOT; i++) {
        CHECK_EQUAL(arena.bytes[at][i], 0xa5);
    }
}

static void try_fraction(size_t at)
{
    static const double wrong[] = {0, 1, -0.5, 1.5, NAN, INFINITY, -INFINITY, -0.0};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        prepare(running);
        arguments[at].d = wrong[i];
        expect_of(at, "not between 0 and 1", BERT_ERR_INVALID_ARGUMENT, name_of(at));
    }
}

static void try_ids(size_t at, kind kind)
{
    int64_t class_ids[TEXTS] = {0, -1};
    static const int64_t wrong_ids[] = {-1, INT64_MIN, INT64_MAX, (int64_t)UINT32_MAX + 1};
    uint32_t tokens[64] = {2, 1000000, 3};
    size_t counts[TEXTS] = {3, 0};
    static const size_t wrong_counts[] = {0, 33, SIZE_MAX, SIZE_MAX - 3, SIZE_MAX / 4};
    int may_be_null = kind == TOKEN_TYPES;
    replace(at, "NULL", NULL, may_be_null ? BERT_OK : BERT_ERR_INVALID_ARGUMENT);
    switch (kind) {
    case CLASS_IDS:
        for (size_t i = 0; i < COUNT_OF(wrong_ids); i++) {
            class_ids[1] = wrong_ids[i];
            replace(at, "a class id", class_ids, BERT_ERR_INVALID_ARGUMENT);
        }
        replace(at, "misaligned", (char *)good_ids + 1, BERT_ERR_INVALID_ARGUMENT);
        break;
    case TOKEN_COUNTS:
        for (size_t i = 0; i < COUNT_OF(wrong_counts); i++) {
            counts[1] = wrong_counts[i];
            replace(at, "a number of tokens", counts, BERT_ERR_INVALID_ARGUMENT);
        }
        replace(at, "misaligned", (char *)good_counts + 1, BERT_ERR_INVALID_ARGUMENT);
        break;
    default:
        replace(at, "a token", tokens, BERT_ERR_INVALID_ARGUMENT);
        tokens[1] = UINT32_MAX;
        replace(at, "a token", tokens, BERT_ERR_INVALID_ARGUMENT);
        replace(at, "misaligned", (char *)good_tokens + 1, BERT_ERR_INVALID_ARGUMENT);
    }
}

static void try_offsets(size_t at)
{
    static const size_t wrong[][TEXTS + 1] = {{0, 2, 1}, {1, 1, 2}, {0, SIZE_MAX, SIZE_MAX}, {0, 1, SIZE_MAX / 4}};
    replace(at, "NULL", NULL, BERT_ERR_INVALID_ARGUMENT);
    replace(at, "misaligned", (char *)good_offsets + 1, BERT_ERR_INVALID_ARGUMENT);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        /* More names than memory holds: of them it is told. */
        int is_in_order = i >= 2;
        prepare(running);
        arguments[at].c = wrong[i];
        expect_of(at, is_in_order ? "more than memory holds" : "out of order", BERT_ERR_INVALID_ARGUMENT,
                  is_in_order ? "label_names" : name_of(at));
    }
}

static void try_numbers(size_t at)
{
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    static const size_t absurd[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 4};
    replace(at, "NULL", NULL, BERT_ERR_INVALID_ARGUMENT);
    replace(at, "misaligned", (char *)good_numbers + 1, BERT_ERR_INVALID_ARGUMENT);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        float numbers[TEXTS * TARGETS] = {1, wrong[i], 3, 4};
        replace(at, "not finite", numbers, BERT_ERR_DATA);
    }
    prepare(running);
    arguments[at + 1].n = 0;
    expect(at + 1, "no numbers", BERT_ERR_DATA);
    prepare(running);
    arguments[at + 1].n = 1;
    expect(at + 1, "fewer than the other examples have", BERT_ERR_DATA);
    for (size_t i = 0; i < COUNT_OF(absurd); i++) {
        prepare(running);
        arguments[at + 1].n = absurd[i];
        expect(at + 1, "more than memory holds", BERT_ERR_INVALID_ARGUMENT);
    }
}

static void try_argument(size_t at)
{
    const argument *a = &running->arguments[at];
    static const size_t absurd[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2 + 1, SIZE_MAX / 8};
    switch (a->kind) {
    case MODEL:
    case DATASET:
    case TRAINER:
    case ERROR:
        try_handle(at, a->kind, a->is_optional);
        break;
    case OUT:
        replace(at, "NULL", NULL, a->is_optional ? BERT_OK : BERT_ERR_INVALID_ARGUMENT);
        replace(at, "misaligned", arena.bytes[at] + 1, BERT_ERR_INVALID_ARGUMENT);
        break;
    case TEXT:
        try_text(at, a);
        break;
    case TEXT_ARRAY:
        try_texts(at, a);
        break;
    case CLASS_IDS:
    case TOKEN_IDS:
    case TOKEN_TYPES:
    case TOKEN_COUNTS:
        try_ids(at, a->kind);
        break;
    case OFFSETS:
        try_offsets(at);
        break;
    case NUMBERS:
        try_numbers(at);
        break;
    case COUNT:
        for (size_t i = 0; i < COUNT_OF(absurd); i++) {
            prepare(running);
            arguments[at].n = absurd[i];
            expect(at, "an absurd count", BERT_ERR_INVALID_ARGUMENT);
        }
        /* (NULL, 0) is the empty array. */
        prepare(running);
        arguments[at].n = 0;
        for (size_t i = at + 1; i < running->count; i++) {
            kind k = running->arguments[i].kind;
            if (k == TEXT_ARRAY || k == LENGTH_ARRAY || k == CLASS_IDS || k == OFFSETS || k == NUMBERS || k == TOKEN_IDS || k == TOKEN_COUNTS ||
                k == BUFFER) {
                arguments[i].p = NULL;
            }
        }
        expect(at, "nothing at all", BERT_OK);
        break;
    case DEVICE:
        replace(at, "NULL", NULL, BERT_ERR_INVALID_ARGUMENT);
        replace(at, "no name", "", BERT_ERR_DEVICE);
        replace(at, "no device", "gpu", BERT_ERR_DEVICE);
        replace(at, "a GPU that isn't there", "cuda:4095", BERT_ERR_DEVICE);
        replace(at, "not UTF-8", "\xff", BERT_ERR_UTF8);
        break;
    case PATH:
        replace(at, "NULL", NULL, BERT_ERR_INVALID_ARGUMENT);
        replace(at, "an empty path", "", BERT_ERR_INVALID_ARGUMENT);
        replace(at, "nowhere", "absent/place.tsv", a->nul);
        replace(at, "not UTF-8, which a path may be", "absent/\xff.tsv", a->nul);
        replace(at, "below a file", "data.tsv/model.tsv", a->nul);
        break;
    case BYTES: {
        replace(at, "NULL", NULL, BERT_ERR_INVALID_ARGUMENT);
        static const size_t lengths[] = {SIZE_MAX, SIZE_MAX / 2 + 1};
        for (size_t i = 0; i < COUNT_OF(lengths); i++) {
            prepare(running);
            arguments[at + 1].n = lengths[i];
            expect(at + 1, "an absurd length", BERT_ERR_INVALID_ARGUMENT);
        }
        static const size_t cut[] = {0, 1, 7, 8, 9, 1000};
        for (size_t i = 0; i < COUNT_OF(cut); i++) {
            prepare(running);
            arguments[at + 1].n = cut[i];
            expect(at + 1, "cut short", BERT_ERR_FORMAT);
        }
        break;
    }
    case STRUCTURE:
        try_structure(at, a);
        break;
    case INTEGER:
        for (size_t i = 0; i < a->count; i++) {
            prepare(running);
            arguments[at].i = a->wrong[i];
            expect_of(at, "out of range", a->status, name_of(at));
        }
        break;
    case FRACTION:
        try_fraction(at);
        break;
    case BUFFER:
        try_buffer(at, a);
        break;
    case LENGTH:
    case LENGTH_ARRAY:
    case TARGET_COUNT:
    case STRUCT_SIZE:
    case CAPACITY:
    case SEED:
        /* With what they belong to; any seed is one. */
        break;
    }
}

static void try_function(const function *f)
{
    prepare(f);
    expect(0, "as it should be", BERT_OK);
    for (size_t at = 0; at < f->count; at++) {
        try_argument(at);
        /* Nothing is the worse for it. */
        prepare(f);
        expect(at, "as it should be, afterwards", BERT_OK);
    }
}

/* ---- Several wrong at once -------------------------------------------------------------------------------------- */

/* Makes an argument one that can be told to be wrong without looking at the others; 0 where there is no such thing. */
static int spoil(size_t at)
{
    const argument *a = &running->arguments[at];
    value *v = &arguments[at];
    switch (a->kind) {
    case MODEL:
    case DATASET:
    case TRAINER:
    case ERROR:
        v->p = (void *)1;
        return 1;
    case TEXT:
        v->c = a->is_optional ? not_utf8[0] : NULL;
        return 1;
    case OUT:
        v->p = a->is_optional ? arena.bytes[at] + 1 : NULL;
        return 1;
    case TEXT_ARRAY:
        v->p = a->is_optional ? (char *)good_texts + 1 : NULL;
        return 1;
    case LENGTH_ARRAY:
        v->p = (char *)good_lengths + 1;
        /* Where there are no texts nobody asks how long they are. */
        return arguments[at - 1].c != NULL;
    case CLASS_IDS:
    case OFFSETS:
    case NUMBERS:
    case TOKEN_IDS:
    case TOKEN_COUNTS:
    case PATH:
    case DEVICE:
    case BYTES:
        v->p = NULL;
        return 1;
    case TOKEN_TYPES:
        v->p = (char *)good_types + 1;
        return 1;
    case BUFFER:
        v->p = arena.bytes[at] + 1;
        return a->size > 1;
    case STRUCTURE:
        if (a->is_optional == 2) {
            v->p = NULL;
        } else {
            set_size(arena.bytes[at], 3);
        }
        return 1;
    case STRUCT_SIZE:
        v->n = 3;
        return 1;
    case INTEGER:
        v->i = a->wrong[0];
        /* Whether a model has that label isn't a question of the arguments. */
        return a->status == BERT_ERR_INVALID_ARGUMENT;
    case FRACTION:
        v->d = NAN;
        return 1;
    case LENGTH:
    case COUNT:
    case TARGET_COUNT:
    case CAPACITY:
    case SEED:
        /* They belong to others, or can't be wrong. */
        return 0;
    }
    return 0;
}

/* The arguments of a function in the order in which they are checked: handles, then the others in their own order, but
 * for those that others must be known for. */
static size_t order_of(size_t order[MOST_ARGUMENTS])
{
    static const struct {
        const char *name;
        size_t first, before;
    } exceptions[] = {
        /* How many tokens there are, the lengths say. */
        {"bert_predict_ids", 4, 2},
        /* How large the arrays must be, the text says; that goes to the count in any case. */
        {"bert_tokenize", 9, 6},
        /* How many names there are, the offsets say. */
        {"bert_dataset_add_label_lists", 8, 6},
    };
    size_t count = 0;
    for (size_t i = 0; i < running->count; i++) {
        if (is_handle(running->arguments[i].kind)) {
            order[count++] = i;
        }
    }
    for (size_t i = 0; i < running->count; i++) {
        int is_listed = is_handle(running->arguments[i].kind);
        for (size_t e = 0; e < COUNT_OF(exceptions); e++) {
            if (strcmp(exceptions[e].name, running->name) == 0) {
                if (exceptions[e].before == i) {
                    order[count++] = exceptions[e].first;
                }
                is_listed |= exceptions[e].first == i;
            }
        }
        if (!is_listed) {
            order[count++] = i;
        }
    }
    CHECK_EQUAL(count, running->count);
    return count;
}

/* From each argument on all are wrong: it is that one which is told. */
static size_t the_first_of_several_is_told(const function *f)
{
    size_t order[MOST_ARGUMENTS], told = 0;
    running = f;
    size_t count = order_of(order);
    for (size_t first = 0; first < count; first++) {
        size_t at = order[first];
        prepare(f);
        for (size_t i = first + 1; i < count; i++) {
            spoil(order[i]);
        }
        if (!spoil(at)) {
            continue;
        }
        const argument *a = &f->arguments[at];
        bert_status expected = BERT_ERR_INVALID_ARGUMENT;
        if (is_handle(a->kind)) {
            expected = BERT_ERR_HANDLE;
        } else if (a->kind == STRUCT_SIZE || (a->kind == STRUCTURE && a->is_optional != 2)) {
            expected = BERT_ERR_STRUCT_SIZE;
        } else if (a->kind == TEXT && a->is_optional) {
            expected = BERT_ERR_UTF8;
        }
        expect_of(at, "the first of several that are wrong", expected, name_of(at));
        told++;
    }
    return told;
}

/* ---- What the table can't say ----------------------------------------------------------------------------------- */

static void top_k_needs_room(void)
{
    int32_t ids[4] = {77, 77, 77, 77};
    float probabilities[4] = {77, 77, 77, 77};
    bert_predict_options options;
    bert_predictions out;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.top_label_ids = ids;
    out.top_probabilities = probabilities;
    options.top_k = CLASSES + 1;
    CHECK_STATUS(bert_predict_batch(world.model, TEXTS, good_texts, NULL, NULL, NULL, &options, &out),
                 BERT_ERR_INVALID_ARGUMENT);
    options.top_k = CLASSES;
    for (size_t capacity = 0; capacity < 4; capacity++) {
        out.top_label_ids_capacity = capacity;
        out.top_probabilities_capacity = 4;
        CHECK_STATUS(bert_predict_batch(world.model, TEXTS, good_texts, NULL, NULL, NULL, &options, &out),
                     BERT_ERR_BUFFER_TOO_SMALL);
        CHECK_MESSAGE("4 are needed");
        out.top_label_ids_capacity = 4;
        out.top_probabilities_capacity = capacity;
        CHECK_STATUS(bert_predict_ids(world.model, TEXTS, good_tokens, NULL, good_counts, &options, &out),
                     BERT_ERR_BUFFER_TOO_SMALL);
    }
    for (size_t i = 0; i < 4; i++) {
        CHECK(ids[i] == 77 && probabilities[i] == 77);
    }
    out.top_probabilities_capacity = 4;
    CHECK_OK(bert_predict_batch(world.model, TEXTS, good_texts, NULL, NULL, NULL, &options, &out));
    CHECK(ids[0] != 77 && probabilities[3] != 77);
}

/* Arrays that only models of another problem have answers for. */
static void answers_of_other_problems(void)
{
    uint8_t has_label[4] = {77, 77, 77, 77};
    float values[4] = {77, 77, 77, 77};
    for (int i = 0; i < 2; i++) {
        bert_predictions out;
        CHECK_OK(bert_predictions_init(&out, sizeof(out)));
        out.has_label = i == 0 ? has_label : NULL;
        out.values = i == 1 ? values : NULL;
        out.has_label_capacity = out.values_capacity = 4;
        bert_status status = bert_predict_batch(world.model, TEXTS, good_texts, NULL, NULL, NULL, NULL, &out);
        CHECK_STATUS(status, BERT_ERR_UNSUPPORTED);
        CHECK(documents("bert_predict_batch", bert_status_string(status)));
        CHECK_STATUS(bert_predict_ids(world.model, TEXTS, good_tokens, NULL, good_counts, NULL, &out), status);
    }
    CHECK(has_label[0] == 77 && has_label[3] == 77 && values[0] == 77 && values[3] == 77);
}

/* Of these only the wrong handle can be wrong, and they answer nothing: nothing may happen. */
static void frees_of_what_is_none_do_nothing(void)
{
    static uint64_t own[8];
    void *const wrong[] = {NULL,            (void *)1,         (void *)UINTPTR_MAX, own,
                           (char *)own + 1, world.freed_model, world.freed_dataset, world.freed_trainer,
                           world.freed_error};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        bert_free(wrong[i]);
        bert_dataset_free(wrong[i]);
        bert_trainer_free(wrong[i]);
        bert_error_free(wrong[i]);
    }
    bert_free((void *)world.train);
    bert_free((void *)world.trainer);
    bert_dataset_free((void *)world.model);
    bert_dataset_free((void *)world.trainer);
    bert_trainer_free((void *)world.model);
    bert_trainer_free((void *)world.train);
    bert_error_free((void *)world.model);
    bert_error_free((void *)world.train);
    bert_error_free((void *)world.trainer);
    bert_buffer_free(NULL, 0);
    bert_buffer_free(NULL, 1000);
    bert_trainer_cancel(NULL);
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    CHECK_OK(bert_set_log_callback(NULL, own));
    CHECK_EQUAL(count_of(world.train), 16);
    CHECK_OK(bert_train_step(world.trainer, NULL));
    CHECK_OK(bert_error_status(world.error));
    CHECK_TEXT(bert_status_string(INT32_MIN), "unknown status");
    CHECK_TEXT(bert_status_string(INT32_MAX), "unknown status");
}

/* What is wrong with the arguments is told before what is the matter with the handle behind them. */
static void arguments_come_before_state_and_data(void)
{
    bert_dataset *empty = NULL, *part = NULL, *other = NULL;
    bert_model *made = NULL;
    bert_trainer *trainer = NULL;
    bert_step_report report;
    bert_evaluation evaluation;
    CHECK_OK(bert_dataset_create(&empty));
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_STATUS(bert_dataset_split(empty, 0.5, 0, &part, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_split(empty, 0.5, 0, &part, &other), BERT_ERR_DATA);
    CHECK_STATUS(bert_create(NULL, empty, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_create(NULL, empty, &made), BERT_ERR_DATA);
    CHECK_STATUS(bert_trainer_create(world.model, empty, NULL, NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_trainer_create(world.model, empty, NULL, NULL, &trainer), BERT_ERR_DATA);
    CHECK_STATUS(bert_evaluate(world.model, empty, 1, &evaluation), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_evaluate(world.model, empty, 0, &evaluation), BERT_ERR_DATA);
    CHECK_STATUS(bert_add_lora(world.lora, NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("'lora_model' is NULL");
    CHECK_STATUS(bert_merge_lora(world.model, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("'merged' is NULL");
    CHECK_OK(bert_step_report_init(&report, sizeof(report)));
    report.struct_size = 3;
    CHECK_STATUS(bert_train_step(world.finished, &report), BERT_ERR_STRUCT_SIZE);
    CHECK_STATUS(bert_train_step(world.finished, NULL), BERT_ERR_FINISHED);
    CHECK(part == NULL && other == NULL && made == NULL && trainer == NULL);
    bert_dataset_free(empty);
}

/* What goes out through two pointers can't be one place. */
static void results_need_places_of_their_own(void)
{
    bert_dataset *part = NULL;
    CHECK_STATUS(bert_dataset_split(world.train, 0.5, 0, &part, &part), BERT_ERR_INVALID_ARGUMENT);
    CHECK(part == NULL);
}

static void make_world(void)
{
    write_text("data.tsv", "text\tlabel\ngood\tpos\nbad\tneg\n");
    bert_model_options small = small_options();
    small.pooling = BERT_POOLING_POOLER;
    world.train = toy(BERT_TOY_TRAIN);
    world.model = create(&small, world.train);
    bert_train_options options = train_options();
    options.epochs = 1000000;
    world.trainer = trainer_of(world.model, world.train, NULL, &options);
    options.epochs = 1;
    world.finished = trainer_of(world.model, world.train, world.train, &options);
    CHECK_OK(bert_dataset_create(&world.names));
    CHECK_OK(bert_dataset_create(&world.ids));
    CHECK_OK(bert_dataset_add_class(world.names, "one", NUL, NULL, 0, "a", NUL));
    CHECK_OK(bert_dataset_add_class_id(world.ids, "one", NUL, NULL, 0, 0));
    CHECK_OK(bert_dataset_create(&world.lists));
    CHECK_OK(bert_dataset_create(&world.targets));
    CHECK_OK(bert_dataset_add_labels(world.lists, "one", NUL, NULL, 0, good_texts, NULL, TEXTS));
    CHECK_OK(bert_dataset_add_target(world.targets, "one", NUL, NULL, 0, good_numbers, TARGETS));
    CHECK_OK(bert_trainer_save(world.trainer, "checkpoint"));
    CHECK_OK(bert_add_lora(world.model, NULL, &world.lora));
    CHECK_OK(bert_save_adapter(world.lora, "adapter"));
    CHECK_OK(bert_copy_to_device(world.model, "cpu", &world.on_cpu));
    CHECK_OK(bert_save(world.model, "model"));
    world.bytes = save(world.model);
    world.freed_dataset = toy(BERT_TOY_TRAIN);
    world.freed_model = small_model();
    world.freed_trainer = trainer_of(world.model, world.train, NULL, NULL);
    make_closing(NULL);
    CHECK_OK(bert_error_create(&world.bound));
    CHECK_OK(bert_error_create(&world.error));
    CHECK_OK(bert_error_create(&world.freed_error));
    bert_error_free(world.freed_error);
    bert_dataset_free(world.freed_dataset);
    bert_free(world.freed_model);
    bert_trainer_free(world.freed_trainer);
}

static void free_world(void)
{
    release(world.bytes);
    bert_trainer_free(world.trainer);
    bert_trainer_free(world.finished);
    bert_trainer_free(world.closing);
    bert_error_free(world.bound);
    bert_error_free(world.error);
    bert_free(world.model);
    bert_free(world.lora);
    bert_free(world.on_cpu);
    bert_dataset_free(world.train);
    bert_dataset_free(world.names);
    bert_dataset_free(world.ids);
    bert_dataset_free(world.lists);
    bert_dataset_free(world.targets);
}

int main(void)
{
    header = project_file("include/bert.h");
    the_tables_are_complete();
    make_world();
    size_t in_order = 0;
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        try_function(&functions[i]);
        in_order += the_first_of_several_is_told(&functions[i]);
    }
    CHECK(in_order > 150);
    arguments_come_before_state_and_data();
    top_k_needs_room();
    answers_of_other_problems();
    frees_of_what_is_none_do_nothing();
    results_need_places_of_their_own();
    free_world();
    free(header);
    printf("%zu calls, %zu of them wrong\n", tried, failures);
    return failures != 0;
}
