/* Handles that are NULL, freed, of another kind or no handles at all; frees in any order; sizes of structs. */

#include <stddef.h>

#include "check.h"

/* Every function that takes a model, with everything else right. */
static void needs_model(bert_model *wrong, const bert_dataset *dataset)
{
    bert_info info;
    bert_evaluation evaluation;
    bert_prediction prediction;
    bert_predictions predictions;
    CHECK_OK(bert_info_init(&info, sizeof(info)));
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_OK(bert_predictions_init(&predictions, sizeof(predictions)));
    const char *name = NULL, *text = "text";
    const uint32_t ids[] = {1, 2};
    const size_t two = 2;
    int32_t id = 77;
    size_t count = 77, length = 77;
    uint8_t *bytes = NULL;
    bert_trainer *trainer = NULL;
    CHECK_STATUS(bert_save(wrong, "never"), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_save_to_buffer(wrong, &bytes, &length), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_get_info(wrong, &info), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_label_name(wrong, 0, &name, &length), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_label_id(wrong, "positive", NUL, &id), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_tokenize(wrong, text, NUL, NULL, 0, 0, NULL, NULL, 0, &count), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_trainer_create(wrong, dataset, NULL, NULL, &trainer), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_evaluate(wrong, dataset, 0, &evaluation), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_evaluate_with(wrong, dataset, NULL, &evaluation), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_fit_head(wrong, dataset, NULL, NULL), BERT_ERR_HANDLE);
    double thresholds[2] = {77, 77};
    CHECK_STATUS(bert_set_thresholds(wrong, NULL, 0), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_get_thresholds(wrong, thresholds, 2), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_predict(wrong, text, NUL, NULL, 0, NULL, &prediction), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_predict_batch(wrong, 1, &text, NULL, NULL, NULL, NULL, &predictions), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_predict_ids(wrong, 1, ids, NULL, &two, NULL, &predictions), BERT_ERR_HANDLE);
    CHECK_MESSAGE("model");
    CHECK(name == NULL && id == 77 && count == 77 && length == 77 && bytes == NULL && trainer == NULL);
    CHECK(thresholds[0] == 77 && info.num_labels == 0 && evaluation.examples == 0 && prediction.label == NULL);
}

/* Every function that takes a data set. */
static void needs_dataset(const bert_dataset *wrong, bert_model *model, const bert_dataset *right)
{
    static const char *const texts[] = {"text"}, *const names[] = {"positive"};
    static const int64_t ids[] = {0};
    bert_dataset *writable = (bert_dataset *)wrong;
    bert_dataset *first = NULL, *second = NULL;
    bert_evaluation evaluation;
    bert_model *made = NULL;
    bert_trainer *trainer = NULL;
    size_t count = 77;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_STATUS(bert_dataset_add_class(writable, "text", NUL, NULL, 0, "x", NUL), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_dataset_add_class_id(writable, "text", NUL, NULL, 0, 0), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_dataset_add_classes(writable, 1, texts, NULL, NULL, NULL, names, NULL), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_dataset_add_class_ids(writable, 1, texts, NULL, NULL, NULL, ids), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_dataset_add_classes(writable, 0, NULL, NULL, NULL, NULL, NULL, NULL), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_dataset_split(wrong, 0.5, 0, &first, &second), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_dataset_count(wrong, &count), BERT_ERR_HANDLE);
    bert_dataset_description description = BERT_DATASET_DESCRIPTION_INIT;
    CHECK_STATUS(bert_dataset_describe(wrong, NULL, &description), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_dataset_label_name(wrong, 0, NULL, 0, &count), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_create(NULL, wrong, &made), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_trainer_create(model, wrong, NULL, NULL, &trainer), BERT_ERR_HANDLE);
    /* No validation data is NULL; another wrong handle is a slip. */
    if (wrong != NULL) {
        CHECK_STATUS(bert_trainer_create(model, right, wrong, NULL, &trainer), BERT_ERR_HANDLE);
    }
    CHECK_STATUS(bert_evaluate(model, wrong, 0, &evaluation), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_evaluate_with(model, wrong, NULL, &evaluation), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_fit_head(model, wrong, NULL, NULL), BERT_ERR_HANDLE);
    CHECK_MESSAGE("dataset");
    CHECK(first == NULL && second == NULL && made == NULL && trainer == NULL && count == 77);
}

/* Every function that takes a trainer. bert_trainer_cancel answers nothing and wants a live one. */
static void needs_trainer(bert_trainer *wrong)
{
    CHECK_STATUS(bert_train_step(wrong, NULL), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_train_epoch(wrong, NULL), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_train(wrong, NULL), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_trainer_save(wrong, "never"), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_trainer_resume(wrong, "never", NULL), BERT_ERR_HANDLE);
    CHECK_MESSAGE("trainer");
    /* NULL is nothing to close. */
    CHECK_STATUS(bert_trainer_close(wrong), wrong == NULL ? BERT_OK : BERT_ERR_HANDLE);
}

/* Every function that takes an error object. */
static void needs_error(bert_error *wrong)
{
    CHECK_STATUS(bert_error_status(wrong), BERT_ERR_HANDLE);
    CHECK_TEXT(bert_error_message(wrong), "");
    CHECK_TEXT(bert_error_argument(wrong), "");
    CHECK_EQUAL(bert_error_index(wrong), -1);
    CHECK_EQUAL(bert_error_line(wrong), 0);
    CHECK_EQUAL(bert_error_needed_size(wrong), 0);
    /* NULL binds none. */
    CHECK_STATUS(bert_error_bind(wrong), wrong == NULL ? BERT_OK : BERT_ERR_HANDLE);
}

static void wrong_handles_are_told(void)
{
    bert_dataset *dataset = toy(BERT_TOY_TRAIN), *freed_dataset = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model(), *freed_model = small_model();
    bert_trainer *trainer = trainer_of(model, dataset, NULL, NULL);
    bert_trainer *freed_trainer = trainer_of(model, dataset, NULL, NULL);
    bert_error *error = NULL, *freed_error = NULL;
    CHECK_OK(bert_error_create(&error));
    CHECK_OK(bert_error_create(&freed_error));
    bert_dataset_free(freed_dataset);
    bert_free(freed_model);
    bert_trainer_free(freed_trainer);
    bert_error_free(freed_error);

    /* Numbers that are no addresses, memory of the caller's, an address inside of a handle. */
    uint64_t own[8] = {0};
    void *const garbage[] = {NULL, (void *)1, (void *)16, (void *)UINTPTR_MAX, own, (char *)own + 3,
                             (char *)model + 1, (char *)dataset + 8};
    for (size_t i = 0; i < COUNT_OF(garbage); i++) {
        needs_model(garbage[i], dataset);
        needs_dataset(garbage[i], model, dataset);
        needs_trainer(garbage[i]);
        needs_error(garbage[i]);
    }
    needs_model(freed_model, dataset);
    needs_model((bert_model *)(void *)dataset, dataset);
    needs_model((bert_model *)(void *)trainer, dataset);
    CHECK_MESSAGE("trainer");
    needs_dataset(freed_dataset, model, dataset);
    needs_dataset((bert_dataset *)(void *)model, model, dataset);
    needs_dataset((bert_dataset *)(void *)trainer, model, dataset);
    needs_trainer(freed_trainer);
    needs_trainer((bert_trainer *)(void *)model);
    needs_trainer((bert_trainer *)(void *)dataset);
    needs_error(freed_error);
    needs_error((bert_error *)(void *)model);
    needs_error((bert_error *)(void *)dataset);
    needs_error((bert_error *)(void *)trainer);
    needs_model((bert_model *)(void *)error, dataset);
    CHECK_MESSAGE("error object");
    needs_dataset((bert_dataset *)(void *)error, model, dataset);
    needs_trainer((bert_trainer *)(void *)error);

    /* Freeing what is no such handle does nothing: the slip is as common as the others. */
    bert_free(NULL);
    bert_dataset_free(NULL);
    bert_trainer_free(NULL);
    bert_trainer_cancel(NULL);
    bert_free(freed_model);
    bert_dataset_free(freed_dataset);
    bert_trainer_free(freed_trainer);
    bert_free((bert_model *)(void *)dataset);
    bert_free((bert_model *)(void *)trainer);
    bert_dataset_free((bert_dataset *)(void *)model);
    bert_trainer_free((bert_trainer *)(void *)model);
    bert_free((bert_model *)(void *)own);
    bert_error_free(NULL);
    bert_error_free(freed_error);
    bert_error_free((bert_error *)(void *)model);
    bert_error_free((bert_error *)(void *)dataset);
    bert_error_free((bert_error *)(void *)trainer);
    bert_free((bert_model *)(void *)error);
    bert_dataset_free((bert_dataset *)(void *)error);
    bert_trainer_free((bert_trainer *)(void *)error);
    CHECK_OK(bert_error_bind(error));
    CHECK_STATUS(bert_trainer_close((bert_trainer *)(void *)error), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_error_status(error), BERT_ERR_HANDLE);
    bert_error_free(error);
    CHECK_EQUAL(count_of(dataset), 16);
    CHECK_OK(bert_train_step(trainer, NULL));
    bert_trainer_cancel((bert_trainer *)(void *)model);
    CHECK_OK(bert_train_step(trainer, NULL));
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(dataset);
}

/* A handle's number isn't given out again soon after it was freed: a stale handle isn't taken for a new one. */
static void stale_handles_are_not_new_ones(void)
{
    bert_dataset *old[100];
    for (size_t i = 0; i < COUNT_OF(old); i++) {
        CHECK_OK(bert_dataset_create(&old[i]));
        bert_dataset_free(old[i]);
    }
    bert_dataset *new = toy(BERT_TOY_TRAIN);
    size_t count = 0;
    for (size_t i = 0; i < COUNT_OF(old); i++) {
        CHECK_STATUS(bert_dataset_count(old[i], &count), BERT_ERR_HANDLE);
    }
    bert_dataset_free(new);
}

/* Three handles in each of the six orders: what is left goes on working. */
static void frees_come_in_any_order(void)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (int o = 0; o < 6; o++) {
        bert_dataset *dataset = toy(BERT_TOY_TRAIN);
        bert_model *model = small_model();
        bert_trainer *trainer = trainer_of(model, dataset, dataset, NULL);
        int freed[3] = {0};
        for (int f = 0; f < 3; f++) {
            freed[orders[o][f]] = 1;
            switch (orders[o][f]) {
            case 0:
                bert_dataset_free(dataset);
                break;
            case 1:
                bert_free(model);
                break;
            default:
                bert_trainer_free(trainer);
            }
            float logits[8];
            if (!freed[0]) {
                CHECK_EQUAL(count_of(dataset), 16);
            }
            if (!freed[1]) {
                logits_of(model, "a great film", logits);
            }
            if (!freed[2]) {
                CHECK_OK(bert_train_epoch(trainer, NULL));
            }
        }
    }
    /* A trainer keeps its model alive to the end of the plan. */
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_train_options options = train_options();
    options.best_model_path = "trained";
    bert_trainer *trainer = trainer_of(model, dataset, dataset, &options);
    bert_free(model);
    bert_dataset_free(dataset);
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);
    CHECK_OK(bert_load("trained", NULL, &model));
    bert_free(model);
}

/* Data added to a data set later is not the trainer's. */
static void trainers_keep_the_data_they_were_made_with(void)
{
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_trainer *trainer = trainer_of(model, dataset, NULL, NULL);
    CHECK_OK(bert_dataset_add_class(dataset, "one more", NUL, NULL, 0, "positive", NUL));
    bert_epoch_report report;
    CHECK_OK(bert_epoch_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train_epoch(trainer, &report));
    CHECK_EQUAL(report.examples, 16);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(dataset);
}

enum { TAIL = 48 };

/* Sizes for one struct: `init` prepares it, `use` is a call that takes it and must succeed with `sound`. */
#define SIZES(type, init, use)                                                                     \
    do {                                                                                           \
        union {                                                                                    \
            type s;                                                                                \
            unsigned char bytes[sizeof(type) + TAIL];                                              \
        } u;                                                                                       \
        memset(&u, 0xaa, sizeof(u));                                                               \
        CHECK_STATUS(init(NULL, sizeof(type)), BERT_ERR_INVALID_ARGUMENT);                         \
        CHECK_STATUS(init(&u.s, 0), BERT_ERR_STRUCT_SIZE);                                         \
        CHECK_STATUS(init(&u.s, sizeof(size_t)), BERT_ERR_STRUCT_SIZE);                            \
        CHECK_STATUS(init(&u.s, sizeof(type) - 1), BERT_ERR_STRUCT_SIZE);                          \
        CHECK_STATUS(init(&u.s, SIZE_MAX), BERT_ERR_STRUCT_SIZE);                                  \
        CHECK_STATUS(init(&u.s, (size_t)1 << 40), BERT_ERR_STRUCT_SIZE);                           \
        CHECK_MESSAGE(#type);                                                                      \
        for (size_t i = 0; i < sizeof(u); i++) {                                                   \
            CHECK_EQUAL(u.bytes[i], 0xaa);                                                         \
        }                                                                                          \
        /* No more than the size that was told is written. */                                      \
        CHECK_OK(init(&u.s, sizeof(type)));                                                        \
        CHECK_EQUAL(u.s.struct_size, sizeof(type));                                                \
        for (size_t i = sizeof(type); i < sizeof(u); i++) {                                        \
            CHECK_EQUAL(u.bytes[i], 0xaa);                                                         \
        }                                                                                          \
        CHECK_OK(use);                                                                             \
        for (size_t i = sizeof(type); i < sizeof(u); i++) {                                        \
            CHECK_EQUAL(u.bytes[i], 0xaa);                                                         \
        }                                                                                          \
        CHECK_EQUAL(u.s.struct_size, sizeof(type));                                                \
        u.s.struct_size = 0;                                                                       \
        CHECK_STATUS(use, BERT_ERR_STRUCT_SIZE);                                                   \
        CHECK_MESSAGE(#type "_init");                                                              \
        /* Of no version: those end with a whole field and its padding. */                         \
        u.s.struct_size = sizeof(type) - 4;                                                        \
        CHECK_STATUS(use, BERT_ERR_STRUCT_SIZE);                                                   \
        u.s.struct_size = (size_t)1 << 40;                                                         \
        CHECK_STATUS(use, BERT_ERR_STRUCT_SIZE);                                                   \
        u.s.struct_size = SIZE_MAX;                                                                \
        CHECK_STATUS(use, BERT_ERR_STRUCT_SIZE);                                                   \
        /* A program of a newer header: its tail is zeroed by init, and must stay so. */           \
        CHECK_OK(init(&u.s, sizeof(u)));                                                           \
        for (size_t i = sizeof(type); i < sizeof(u); i++) {                                        \
            CHECK_EQUAL(u.bytes[i], 0);                                                            \
        }                                                                                          \
        CHECK_OK(use);                                                                             \
        CHECK_EQUAL(u.s.struct_size, sizeof(u));                                                   \
        u.bytes[sizeof(u) - 1] = 1;                                                                \
        CHECK_STATUS(use, BERT_ERR_STRUCT_SIZE);                                                   \
        CHECK_MESSAGE("newer");                                                                    \
    } while (0)

static bert_status init_compact(bert_model_options *options, size_t size)
{
    return bert_model_options_init(options, size, BERT_PRESET_COMPACT);
}

static bert_status use_model_options(const bert_model_options *options, const bert_dataset *train)
{
    bert_model *model = NULL;
    bert_status status = bert_create(options, train, &model);
    CHECK((model != NULL) == (status == BERT_OK));
    bert_free(model);
    return status;
}

static bert_status use_load_options(const bert_load_options *options, saved bytes)
{
    bert_model *model = NULL;
    bert_status status = bert_load_from_buffer(bytes.bytes, bytes.length, options, &model);
    CHECK((model != NULL) == (status == BERT_OK));
    bert_free(model);
    return status;
}

static bert_status use_read_options(const bert_read_options *options)
{
    bert_dataset *dataset = NULL;
    bert_status status = bert_dataset_read("data.tsv", options, &dataset);
    CHECK((dataset != NULL) == (status == BERT_OK));
    bert_dataset_free(dataset);
    return status;
}

static bert_status use_train_options(const bert_train_options *options, bert_model *model,
                                     const bert_dataset *train)
{
    bert_trainer *trainer = NULL;
    bert_status status = bert_trainer_create(model, train, NULL, options, &trainer);
    CHECK((trainer != NULL) == (status == BERT_OK));
    bert_trainer_free(trainer);
    return status;
}

static bert_status use_predict_options(const bert_predict_options *options, const bert_model *model)
{
    bert_prediction prediction;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    return bert_predict(model, "text", NUL, NULL, 0, options, &prediction);
}

static bert_status use_evaluate_options(const bert_evaluate_options *options, const bert_model *model,
                                        const bert_dataset *data)
{
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    return bert_evaluate_with(model, data, options, &evaluation);
}

static bert_status use_prediction(bert_prediction *prediction, const bert_model *model)
{
    return bert_predict(model, "text", NUL, NULL, 0, NULL, prediction);
}

static bert_status use_predictions(bert_predictions *predictions, const bert_model *model)
{
    const char *text = "text";
    return bert_predict_batch(model, 1, &text, NULL, NULL, NULL, NULL, predictions);
}

static void structs_carry_their_size(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_train_options options = train_options();
    options.epochs = 1000;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    saved bytes = save(model);
    write_text("data.tsv", "good\tpos\nbad\tneg\n");
    SIZES(bert_model_options, init_compact, use_model_options(&u.s, train));
    SIZES(bert_load_options, bert_load_options_init, use_load_options(&u.s, bytes));
    SIZES(bert_read_options, bert_read_options_init, use_read_options(&u.s));
    SIZES(bert_train_options, bert_train_options_init, use_train_options(&u.s, model, train));
    SIZES(bert_predict_options, bert_predict_options_init, use_predict_options(&u.s, model));
    SIZES(bert_info, bert_info_init, bert_get_info(model, &u.s));
    SIZES(bert_prediction, bert_prediction_init, use_prediction(&u.s, model));
    SIZES(bert_predictions, bert_predictions_init, use_predictions(&u.s, model));
    SIZES(bert_evaluation, bert_evaluation_init, bert_evaluate(model, train, 0, &u.s));
    SIZES(bert_evaluate_options, bert_evaluate_options_init, use_evaluate_options(&u.s, model, train));
    SIZES(bert_dataset_description, bert_dataset_description_init, bert_dataset_describe(train, model, &u.s));
    SIZES(bert_fit_head_options, bert_fit_head_options_init, bert_fit_head(model, train, &u.s, NULL));
    SIZES(bert_fit_head_report, bert_fit_head_report_init, bert_fit_head(model, train, NULL, &u.s));
    SIZES(bert_step_report, bert_step_report_init, bert_train_step(trainer, &u.s));
    SIZES(bert_epoch_report, bert_epoch_report_init, bert_train_epoch(trainer, &u.s));
    bert_trainer_free(trainer);
    options.epochs = 1;
    trainer = trainer_of(model, train, NULL, &options);
    SIZES(bert_train_report, bert_train_report_init, bert_train(trainer, &u.s));

    /* A struct whose size is wrong stops the call before it does anything. */
    bert_trainer *fresh = trainer_of(model, train, NULL, &options);
    bert_step_report report = {0};
    CHECK_STATUS(bert_train_step(fresh, &report), BERT_ERR_STRUCT_SIZE);
    CHECK_OK(bert_step_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train_step(fresh, &report));
    CHECK_EQUAL(report.step, 1);
    bert_trainer_free(fresh);

    /* Every struct's first field is its size. */
    CHECK_EQUAL(offsetof(bert_progress, struct_size), 0);
    /* Absent options are the defaults. */
    CHECK_OK(use_model_options(NULL, train));
    CHECK_OK(use_load_options(NULL, bytes));
    CHECK_OK(use_read_options(NULL));
    CHECK_OK(use_train_options(NULL, model, train));
    CHECK_OK(use_predict_options(NULL, model));
    release(bytes);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
}

int main(void)
{
    wrong_handles_are_told();
    stale_handles_are_not_new_ones();
    frees_come_in_any_order();
    trainers_keep_the_data_they_were_made_with();
    structs_carry_their_size();
    return 0;
}
