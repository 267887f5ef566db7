/* Thresholds are a part of a multi-label model: set, used where no other is asked for, and kept wherever the model
 * goes. */

#include "check.h"

#define LABELS 3
#define EXAMPLES 8

static const char *const names[LABELS] = {"loud", "red", "round"};
static char texts[EXAMPLES][64];
static const char *pointers[EXAMPLES];

static bert_dataset *lists(void)
{
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    for (int i = 0; i < EXAMPLES; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%s %s %s thing", i & 1 ? "noisy" : "calm", i & 2 ? "scarlet" : "blue",
                 i & 4 ? "circular" : "flat");
        pointers[i] = texts[i];
        const char *list[LABELS];
        size_t count = 0;
        for (int j = 0; j < LABELS; j++) {
            if (i >> j & 1) {
                list[count++] = names[j];
            }
        }
        CHECK_OK(bert_dataset_add_labels(dataset, texts[i], NUL, NULL, 0, list, NULL, count));
    }
    return dataset;
}

static void probabilities_of(const bert_model *model, float *probabilities)
{
    bert_predictions out = BERT_PREDICTIONS_INIT;
    out.probabilities = probabilities;
    out.probabilities_capacity = EXAMPLES * LABELS;
    CHECK_OK(bert_predict_batch(model, EXAMPLES, pointers, NULL, NULL, NULL, NULL, &out));
}

/* Each label's flag is that of its own threshold. */
static void answers_by(const bert_model *model, const bert_predict_options *options, const double *thresholds)
{
    uint8_t has_label[EXAMPLES * LABELS];
    float probabilities[EXAMPLES * LABELS];
    bert_predictions out = BERT_PREDICTIONS_INIT;
    out.has_label = has_label;
    out.probabilities = probabilities;
    out.has_label_capacity = out.probabilities_capacity = EXAMPLES * LABELS;
    CHECK_OK(bert_predict_batch(model, EXAMPLES, pointers, NULL, NULL, NULL, options, &out));
    for (int i = 0; i < EXAMPLES * LABELS; i++) {
        CHECK_EQUAL(has_label[i], probabilities[i] >= thresholds[i % LABELS]);
    }
    uint32_t ids[64];
    size_t length;
    CHECK_OK(bert_tokenize(model, texts[0], NUL, NULL, 0, 0, ids, NULL, 64, &length));
    CHECK_OK(bert_predict_ids(model, 1, ids, NULL, &length, options, &out));
    for (int j = 0; j < LABELS; j++) {
        CHECK_EQUAL(has_label[j], probabilities[j] >= thresholds[j]);
    }
}

static void has(const bert_model *model, const double *expected)
{
    double found[LABELS];
    CHECK_OK(bert_get_thresholds(model, found, LABELS));
    CHECK(memcmp(found, expected, sizeof(found)) == 0);
}

/* The share of examples with exactly the right labels. */
static double accuracy_of(const bert_model *model, const bert_dataset *dataset, double threshold)
{
    bert_evaluation e = BERT_EVALUATION_INIT;
    CHECK(e.threshold == -1);
    e.threshold = threshold;
    CHECK_OK(bert_evaluate(model, dataset, 0, &e));
    CHECK(e.threshold == threshold);
    return e.accuracy;
}

static void are_used_where_none_is_asked_for(bert_model *model, const bert_dataset *dataset, const double *own)
{
    static const double half[LABELS] = {0.5, 0.5, 0.5}, none[LABELS] = {0, 0, 0};
    bert_predict_options options;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    CHECK(options.threshold == -1);
    answers_by(model, NULL, own);
    answers_by(model, &options, own);
    options.threshold = 0.5;
    answers_by(model, &options, half);
    options.threshold = 0;
    answers_by(model, &options, none);
    static const double wrong[] = {-0.5, -1e-9, -0.999, -2, 1.1, NAN};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        bert_predictions out = BERT_PREDICTIONS_INIT;
        options.threshold = wrong[i];
        CHECK_STATUS(bert_predict_batch(model, EXAMPLES, pointers, NULL, NULL, NULL, &options, &out),
                     BERT_ERR_INVALID_ARGUMENT);
        CHECK_MESSAGE("threshold");
        bert_evaluation e = BERT_EVALUATION_INIT;
        e.threshold = wrong[i];
        CHECK_STATUS(bert_evaluate(model, dataset, 0, &e), BERT_ERR_INVALID_ARGUMENT);
        bert_train_options training = train_options();
        bert_trainer *trainer = NULL;
        CHECK(training.threshold == -1);
        training.threshold = wrong[i];
        CHECK_STATUS(bert_trainer_create(model, dataset, NULL, &training, &trainer), BERT_ERR_INVALID_ARGUMENT);
    }
    CHECK(accuracy_of(model, dataset, -1) == 1);
    /* No label on any text: right for the one that has none. */
    CHECK(accuracy_of(model, dataset, 1) == 0.125);
    /* All labels on a text: right for the one that has them all. */
    CHECK(accuracy_of(model, dataset, 0) == 0.125);
    CHECK_OK(bert_set_thresholds(model, none, LABELS));
    CHECK(accuracy_of(model, dataset, -1) == 0.125);
    CHECK_OK(bert_set_thresholds(model, own, LABELS));
}

/* The accuracy of training's evaluations, and of its steps. */
static int32_t see(const bert_progress *progress, void *user_data)
{
    if (progress->event == BERT_EVENT_EVALUATION) {
        *(double *)user_data = progress->eval_accuracy;
    }
    return 0;
}

static void training_uses_them(const bert_model *model, const bert_dataset *dataset)
{
    for (int own = 0; own < 2; own++) {
        bert_model *copy = NULL;
        CHECK_OK(bert_copy_to_device(model, info_of(model).device, &copy));
        double accuracy = -1;
        bert_train_options options = train_options();
        options.epochs = 1;
        options.batch_size = EXAMPLES;
        options.learning_rate = 0;
        options.threshold = own ? -1 : 1;
        options.progress = see;
        options.progress_user_data = &accuracy;
        bert_trainer *trainer = trainer_of(copy, dataset, dataset, &options);
        bert_train_report report = report_init();
        CHECK_OK(bert_train(trainer, &report));
        bert_trainer_free(trainer);
        CHECK((accuracy == 1) == own && (report.accuracy == 1) == own);
        bert_free(copy);
    }
}

static void go_where_the_model_goes(bert_model *model, const bert_dataset *dataset, const double *own)
{
    static const double half[LABELS] = {0.5, 0.5, 0.5};
    CHECK_OK(bert_save(model, "model"));
    char *config = read_bytes("model/config.json", NULL);
    CHECK(config != NULL && strstr(config, "\"libbert_thresholds\"") != NULL);
    free(config);
    bert_model *other = load_model("model");
    has(other, own);
    answers_by(other, NULL, own);
    CHECK(accuracy_of(other, dataset, -1) == 1);
    /* What was made of other labels isn't this model's classifier. */
    bert_free(other);
    static const char *const others[] = {"x", "y", "z"};
    bert_load_options options = load_options();
    options.label_names = others;
    options.num_label_names = LABELS;
    CHECK_OK(bert_load("model", &options, &other));
    has(other, half);
    bert_free(other);
    /* The default is no key. */
    CHECK_OK(bert_set_thresholds(model, NULL, 0));
    has(model, half);
    CHECK_OK(bert_save(model, "plain"));
    config = read_bytes("plain/config.json", NULL);
    CHECK(config != NULL && strstr(config, "threshold") == NULL);
    free(config);
    CHECK_OK(bert_set_thresholds(model, own, LABELS));

    saved bytes = save(model);
    other = load_buffer(bytes.bytes, bytes.length);
    has(other, own);
    release(bytes);
    bert_free(other);

    CHECK_OK(bert_copy_to_device(model, "cpu", &other));
    has(other, own);
    /* They are each model's own from there on. */
    CHECK_OK(bert_set_thresholds(other, half, LABELS));
    has(model, own);
    bert_free(other);

    bert_model *adapted = NULL;
    CHECK_OK(bert_add_lora(model, NULL, &adapted));
    has(adapted, own);
    CHECK_OK(bert_merge_lora(adapted, &other));
    has(other, own);
    bert_free(other);
    CHECK_OK(bert_save_adapter(adapted, "adapter"));
    CHECK_OK(bert_load_adapter(model, "adapter", &other));
    has(other, own);
    bert_free(other);
    bert_free(adapted);

    if (is_on_cpu(model)) {
        CHECK_OK(bert_quantize(model, &other));
        has(other, own);
        CHECK_OK(bert_save(other, "int8"));
        bert_free(other);
        other = load_model("int8");
        has(other, own);
        bert_free(other);
    }

    /* A checkpoint is the model too: it loads with them, and a run that is taken up has them again. */
    bert_train_options training = train_options();
    training.epochs = 2;
    bert_trainer *trainer = trainer_of(model, dataset, NULL, &training);
    CHECK_OK(bert_train_epoch(trainer, NULL));
    CHECK_OK(bert_trainer_save(trainer, "checkpoint"));
    other = load_model("checkpoint");
    has(other, own);
    bert_free(other);
    CHECK_OK(bert_set_thresholds(model, half, LABELS));
    bert_resume_report report = BERT_RESUME_REPORT_INIT;
    CHECK_OK(bert_trainer_resume(trainer, "checkpoint", &report));
    CHECK_EQUAL(report.is_exact, 1);
    has(model, own);
    bert_trainer_free(trainer);
}

static void what_cannot_be_is_refused(bert_model *model, const double *own)
{
    static const double wrong[][LABELS] = {{0.5, 1.5, 0.5}, {-1, 0.5, 0.5}, {0.5, 0.5, NAN}};
    double found[LABELS] = {7, 7, 7};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        CHECK_STATUS(bert_set_thresholds(model, wrong[i], LABELS), BERT_ERR_INVALID_ARGUMENT);
        CHECK_MESSAGE("between 0 and 1");
    }
    CHECK_STATUS(bert_set_thresholds(model, own, LABELS - 1), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("2 thresholds, but this model has 3 labels");
    CHECK_STATUS(bert_set_thresholds(model, NULL, LABELS), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_get_thresholds(model, NULL, LABELS), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_get_thresholds(model, found, LABELS - 1), BERT_ERR_BUFFER_TOO_SMALL);
    CHECK(found[0] == 7);
    has(model, own);
    bert_model *classes = small_model();
    CHECK_STATUS(bert_set_thresholds(classes, own, 2), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("single-label classification");
    CHECK_STATUS(bert_get_thresholds(classes, found, LABELS), BERT_ERR_UNSUPPORTED);
    bert_free(classes);
    CHECK_STATUS(bert_set_thresholds(NULL, own, LABELS), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_get_thresholds(NULL, found, LABELS), BERT_ERR_HANDLE);
    /* One label is no answer for a text that has any number of them. */
    bert_prediction prediction = BERT_PREDICTION_INIT;
    CHECK_STATUS(bert_predict(model, "calm", NUL, NULL, 0, NULL, &prediction), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("bert_predict_batch");
    CHECK(prediction.label == NULL);
}

int main(void)
{
    bert_dataset *dataset = lists();
    bert_model_options options = small_options();
    options.initializer_range = 0.3;
    bert_model *model = create(&options, dataset);
    static const double half[LABELS] = {0.5, 0.5, 0.5};
    has(model, half);
    /* Fitted, so that the labels are told apart; then each threshold is the lowest probability of a text with the
     * label: a float's value has more digits than a short decimal number, and one digit less would take that text its
     * label. */
    bert_fit_head_options fitting;
    CHECK_OK(bert_fit_head_options_init(&fitting, sizeof(fitting)));
    fitting.inverse_regularization = 100;
    CHECK_OK(bert_fit_head(model, dataset, &fitting, NULL));
    float probabilities[EXAMPLES * LABELS];
    probabilities_of(model, probabilities);
    double own[LABELS] = {1, 1, 1};
    for (int i = 0; i < EXAMPLES * LABELS; i++) {
        if (i / LABELS >> i % LABELS & 1) {
            own[i % LABELS] = fmin(own[i % LABELS], probabilities[i]);
        }
    }
    CHECK_OK(bert_set_thresholds(model, own, LABELS));
    are_used_where_none_is_asked_for(model, dataset, own);
    training_uses_them(model, dataset);
    what_cannot_be_is_refused(model, own);
    go_where_the_model_goes(model, dataset, own);
    bert_free(model);
    bert_dataset_free(dataset);
    return 0;
}
