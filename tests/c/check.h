/* What the test programs share: checks that say where and why they failed, and small models and files. */

#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bert.h"

#define FAIL_PREFIX "%s:%d: in %s: "

/* A condition that must hold. */
#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, FAIL_PREFIX "%s does not hold; the last message is: %s\n", __FILE__,  \
                    __LINE__, __func__, #condition, bert_last_error_message());                   \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* A call that must return this status. */
#define CHECK_STATUS(call, expected)                                                              \
    do {                                                                                          \
        bert_status check_status = (call);                                                        \
        if (check_status != (expected)) {                                                         \
            fprintf(stderr, FAIL_PREFIX "%s gives %s and not %s; the last message is: %s\n",      \
                    __FILE__, __LINE__, __func__, #call, bert_status_string(check_status),        \
                    bert_status_string(expected), bert_last_error_message());                     \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

#define CHECK_OK(call) CHECK_STATUS(call, BERT_OK)

/* The last failure's sentence must hold this text. */
#define CHECK_MESSAGE(text)                                                                       \
    do {                                                                                          \
        if (strstr(bert_last_error_message(), (text)) == NULL) {                                  \
            fprintf(stderr, FAIL_PREFIX "'%s' isn't in the message: %s\n", __FILE__, __LINE__,    \
                    __func__, (text), bert_last_error_message());                                 \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* Two whole numbers that must be equal. */
#define CHECK_EQUAL(got, expected)                                                                \
    do {                                                                                          \
        long long check_got = (long long)(got), check_expected = (long long)(expected);           \
        if (check_got != check_expected) {                                                        \
            fprintf(stderr, FAIL_PREFIX "%s is %lld and not %lld\n", __FILE__, __LINE__,          \
                    __func__, #got, check_got, check_expected);                                   \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* Two numbers that must not be further apart than the tolerance. NaN is near nothing. */
#define CHECK_NEAR(got, expected, tolerance)                                                      \
    do {                                                                                          \
        double check_got = (got), check_expected = (expected);                                    \
        if (!(fabs(check_got - check_expected) <= (tolerance))) {                                 \
            fprintf(stderr, FAIL_PREFIX "%s is %.17g and not %.17g\n", __FILE__, __LINE__,        \
                    __func__, #got, check_got, check_expected);                                   \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* Two texts that must be equal. */
#define CHECK_TEXT(got, expected)                                                                 \
    do {                                                                                          \
        const char *check_got = (got), *check_expected = (expected);                              \
        if (check_got == NULL || strcmp(check_got, check_expected) != 0) {                        \
            fprintf(stderr, FAIL_PREFIX "%s is '%s' and not '%s'\n", __FILE__, __LINE__,          \
                    __func__, #got, check_got == NULL ? "(null)" : check_got, check_expected);    \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define NUL BERT_NUL_TERMINATED

/* `a / b`, or 0 where `b` is 0. */
static inline double quotient(double a, double b)
{
    return b == 0 ? 0 : a / b;
}

/* The built-in data. */
static inline bert_dataset *toy(int32_t part)
{
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_toy(part, &dataset));
    return dataset;
}

/* A data set of texts with names. */
static inline bert_dataset *named(size_t count, const char *const *texts, const char *const *names)
{
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    CHECK_OK(bert_dataset_add_classes(dataset, count, texts, NULL, NULL, NULL, names, NULL));
    return dataset;
}

static inline size_t count_of(const bert_dataset *dataset)
{
    size_t count = 0;
    CHECK_OK(bert_dataset_count(dataset, &count));
    return count;
}

/* The device that the models are on which a program names none for: the variable BERT_TEST_DEVICE, or the default. */
static inline const char *test_device(void)
{
    return getenv("BERT_TEST_DEVICE");
}

/* Options of a model that is small enough to be trained in a moment, without dropout. */
static inline bert_model_options small_options(void)
{
    bert_model_options options;
    CHECK_OK(bert_model_options_init(&options, sizeof(options), BERT_PRESET_COMPACT));
    options.hidden_size = 16;
    options.num_hidden_layers = 1;
    options.num_attention_heads = 2;
    options.intermediate_size = 32;
    options.max_position_embeddings = 32;
    options.hidden_dropout_prob = 0;
    options.attention_probs_dropout_prob = 0;
    options.classifier_dropout = 0;
    return options;
}

static inline bert_model *create(const bert_model_options *options, const bert_dataset *train)
{
    bert_model *model = NULL;
    bert_model_options there;
    if (options != NULL && options->device == NULL) {
        there = *options;
        there.device = test_device();
        options = &there;
    }
    CHECK_OK(bert_create(options, train, &model));
    return model;
}

static inline bert_load_options load_options(void)
{
    bert_load_options options;
    CHECK_OK(bert_load_options_init(&options, sizeof(options)));
    options.device = test_device();
    return options;
}

static inline bert_model *load_model(const char *path)
{
    bert_model *model = NULL;
    bert_load_options options = load_options();
    CHECK_OK(bert_load(path, &options, &model));
    return model;
}

static inline bert_model *load_buffer(const void *bytes, size_t length)
{
    bert_model *model = NULL;
    bert_load_options options = load_options();
    CHECK_OK(bert_load_from_buffer(bytes, length, &options, &model));
    return model;
}

static inline bert_info info_of(const bert_model *model)
{
    bert_info info;
    CHECK_OK(bert_info_init(&info, sizeof(info)));
    CHECK_OK(bert_get_info(model, &info));
    return info;
}

static inline int is_same_info(const bert_info *a, const bert_info *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static inline int is_on_cpu(const bert_model *model)
{
    return strcmp(info_of(model).device, "cpu") == 0;
}

/* How many parameters were new when the model was loaded. */
static inline size_t initialised(const bert_model *model)
{
    size_t count = 99;
    CHECK_OK(bert_parameter_name(model, BERT_PARAMETERS_INITIALISED, 0, NULL, &count));
    return count;
}

/* A small model of the built-in data. */
static inline bert_model *small_model(void)
{
    bert_model_options options = small_options();
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = create(&options, train);
    bert_dataset_free(train);
    return model;
}

static inline bert_train_options train_options(void)
{
    bert_train_options options;
    CHECK_OK(bert_train_options_init(&options, sizeof(options)));
    return options;
}

static inline bert_train_report report_init(void)
{
    bert_train_report report;
    CHECK_OK(bert_train_report_init(&report, sizeof(report)));
    return report;
}

static inline bert_trainer *trainer_of(bert_model *model, const bert_dataset *train,
                                       const bert_dataset *validation,
                                       const bert_train_options *options)
{
    bert_trainer *trainer = NULL;
    CHECK_OK(bert_trainer_create(model, train, validation, options, &trainer));
    return trainer;
}

/* Both logits or probabilities of one text, for models of up to 8 classes. */
static inline void logits_of(const bert_model *model, const char *text, float logits[8])
{
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = logits;
    out.logits_capacity = 8;
    CHECK_OK(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, NULL, &out));
}

/* The whole model as bytes. */
typedef struct {
    uint8_t *bytes;
    size_t length;
} saved;

static inline saved save(const bert_model *model)
{
    saved buffer = {NULL, 0};
    CHECK_OK(bert_save_to_buffer(model, &buffer.bytes, &buffer.length));
    return buffer;
}

static inline int is_same(saved a, saved b)
{
    return a.length == b.length && memcmp(a.bytes, b.bytes, a.length) == 0;
}

static inline void release(saved buffer)
{
    bert_buffer_free(buffer.bytes, buffer.length);
}

/* Whether two models would be saved as the same bytes. */
static inline int are_equal(const bert_model *a, const bert_model *b)
{
    saved first = save(a), second = save(b);
    int equal = is_same(first, second);
    release(first);
    release(second);
    return equal;
}

/* A run on `data` that is saved half-way and taken up by another trainer ends as the one that never stopped. */
static inline void check_resumed_run(const bert_dataset *data, const char *directory)
{
    bert_model_options small = small_options();
    bert_train_options options = train_options();
    options.epochs = 4;
    options.batch_size = 3;
    bert_model *models[2];
    for (int is_resumed = 0; is_resumed < 2; is_resumed++) {
        models[is_resumed] = create(&small, data);
        bert_trainer *trainer = trainer_of(models[is_resumed], data, data, &options);
        if (is_resumed) {
            bert_resume_report report;
            CHECK_OK(bert_resume_report_init(&report, sizeof(report)));
            CHECK_OK(bert_trainer_resume(trainer, directory, &report));
            CHECK_EQUAL(report.is_exact, 1);
        } else {
            CHECK_OK(bert_train_epoch(trainer, NULL));
            CHECK_OK(bert_train_step(trainer, NULL));
            CHECK_OK(bert_trainer_save(trainer, directory));
        }
        CHECK_OK(bert_train(trainer, NULL));
        bert_trainer_free(trainer);
    }
    CHECK(are_equal(models[0], models[1]));
    bert_free(models[0]);
    bert_free(models[1]);
}

static inline void write_bytes(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    CHECK(fwrite(bytes, 1, length, file) == length);
    CHECK(fclose(file) == 0);
}

static inline void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

/* A file's bytes with a NUL behind them, for free(); NULL where there is no such file. */
static inline char *read_bytes(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return NULL;
    }
    CHECK(fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    CHECK(size >= 0);
    rewind(file);
    char *bytes = malloc((size_t)size + 1);
    CHECK(bytes != NULL);
    CHECK(fread(bytes, 1, (size_t)size, file) == (size_t)size);
    bytes[size] = 0;
    CHECK(fclose(file) == 0);
    if (length != NULL) {
        *length = (size_t)size;
    }
    return bytes;
}

/* The path of a file of the project's, by its path from the project's directory: the variable BERT_TEST_ROOT, where
 * this program was carried elsewhere, or the one that it was compiled in; for free(). */
static inline char *project_path(const char *name)
{
    const char *root = getenv("BERT_TEST_ROOT"), *end = strstr(__FILE__, "tests/c/");
    CHECK(end != NULL);
    size_t size = (root == NULL ? (size_t)(end - __FILE__) : strlen(root)) + strlen(name) + 2;
    char *path = malloc(size);
    CHECK(path != NULL);
    if (root != NULL) {
        snprintf(path, size, "%s/%s", root, name);
    } else {
        snprintf(path, size, "%.*s%s", (int)(end - __FILE__), __FILE__, name);
    }
    return path;
}

/* This process's memory in pages: all that is mapped, and what is resident. */
static inline void memory_now(long *mapped, long *resident)
{
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file != NULL);
    CHECK(fscanf(file, "%ld %ld", mapped, resident) == 2);
    CHECK(fclose(file) == 0);
}

#endif
