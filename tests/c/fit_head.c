/* The classifier alone is fitted: the optimum of scikit-learn's problems, told by its own equations; what is refused.
 * */

#include "check.h"

enum { HIDDEN = 16, MOST = 64, WIDE = 4 };

/* What the log said last, by level. */
static char warning[1000];

static void listen(int32_t level, const char *message, void *user_data)
{
    (void)user_data;
    if (level == BERT_LOG_WARNING) {
        snprintf(warning, sizeof(warning), "%s", message);
    }
}

/* Texts of words that come in different numbers, so that their vectors differ. */
static char texts[MOST][64];
static const char *pointers[MOST];

static void make_texts(void)
{
    static const char *const words[] = {"red", "green", "blue", "round", "flat", "loud", "calm"};
    for (int i = 0; i < MOST; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%s %s %s", words[i % 7], words[i * i % 5], words[(i / 3 + i) % 6]);
        pointers[i] = texts[i];
    }
}

static bert_fit_head_options fit_options(void)
{
    bert_fit_head_options options;
    CHECK_OK(bert_fit_head_options_init(&options, sizeof(options)));
    CHECK(options.inverse_regularization == 1 && options.max_iterations == 1000 && options.tolerance == 1e-8);
    return options;
}

static bert_fit_head_report fit(bert_model *model, const bert_dataset *dataset, const bert_fit_head_options *options)
{
    bert_fit_head_report report = BERT_FIT_HEAD_REPORT_INIT;
    CHECK_OK(bert_fit_head(model, dataset, options, &report));
    return report;
}

static void vectors_of(const bert_model *model, float *vectors)
{
    bert_embed_options options;
    CHECK_OK(bert_embed_options_init(&options, sizeof(options)));
    options.pooling = info_of(model).pooling;
    CHECK_OK(bert_embed(model, MOST, pointers, NULL, NULL, NULL, &options, vectors, MOST * HIDDEN));
}

static void scores_of(const bert_model *model, size_t labels, float *scores)
{
    bert_predictions out = BERT_PREDICTIONS_INIT;
    out.logits = scores;
    out.logits_capacity = MOST * labels;
    CHECK_OK(bert_predict_batch(model, MOST, pointers, NULL, NULL, NULL, NULL, &out));
}

/* At the optimum of C Σ loss + ½ |w|² a score's weights are w = -C Σ d v, where d is the loss's derivative by the
 * score of text k and v its vector, and Σ d = 0, since the bias costs nothing: scores differ by w times the vectors'
 * difference. */
static void is_optimal(const float *vectors, const double *scores, const double *derivatives, double c)
{
    double w[HIDDEN] = {0}, sum = 0;
    for (int k = 0; k < MOST; k++) {
        sum += derivatives[k];
        for (int j = 0; j < HIDDEN; j++) {
            w[j] -= c * derivatives[k] * vectors[k * HIDDEN + j];
        }
    }
    CHECK_NEAR(sum, 0, 1e-4);
    double largest = 0;
    for (int k = 1; k < MOST; k++) {
        double difference = 0;
        for (int j = 0; j < HIDDEN; j++) {
            difference += w[j] * (vectors[k * HIDDEN + j] - vectors[j]);
        }
        CHECK_NEAR(scores[k] - scores[0], difference, 2e-3 * (1 + fabs(difference)));
        largest = fmax(largest, fabs(difference));
    }
    CHECK(largest > 0.05);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static bert_model *model_of(const bert_dataset *dataset, int32_t pooling)
{
    bert_model_options options = small_options();
    options.pooling = pooling;
    options.initializer_range = 0.3;
    bert_model *model = create(&options, dataset);
    if (pooling == BERT_POOLING_POOLER) {
        /* A pooler that was never trained gives no vectors. */
        bert_trainer *trainer = trainer_of(model, dataset, NULL, NULL);
        CHECK_OK(bert_train_step(trainer, NULL));
        bert_trainer_free(trainer);
    }
    return model;
}

/* The report is what bert_evaluate finds. */
static void is_evaluated(const bert_model *model, const bert_dataset *dataset, const bert_fit_head_report *report)
{
    bert_evaluation e = BERT_EVALUATION_INIT;
    CHECK_OK(bert_evaluate(model, dataset, 0, &e));
    CHECK_EQUAL(report->examples, e.examples);
    CHECK_EQUAL(report->truncated, 0);
    CHECK_EQUAL(report->is_converged, 1);
    CHECK(report->iterations > 0 && report->seconds >= 0);
    CHECK_NEAR(report->loss, e.loss, 1e-4 * (1 + e.loss));
    CHECK(isnan(e.accuracy) ? isnan(report->accuracy) : report->accuracy == e.accuracy);
}

static void two_classes(void)
{
    static const int32_t poolings[] = {BERT_POOLING_POOLER, BERT_POOLING_CLS, BERT_POOLING_MEAN};
    int64_t ids[MOST];
    for (int i = 0; i < MOST; i++) {
        ids[i] = (i * 5 + i / 7) % 3 == 0;
    }
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    CHECK_OK(bert_dataset_add_class_ids(dataset, MOST, pointers, NULL, NULL, NULL, ids));
    static const double weights[] = {1, 3};
    for (int n = 0; n < 4; n++) {
        bert_model *model = model_of(dataset, poolings[n % 3]);
        bert_fit_head_options options = fit_options();
        float before[MOST * HIDDEN], vectors[MOST * HIDDEN], scores[MOST * 2];
        vectors_of(model, before);
        if (n == 3) {
            options.inverse_regularization = 0.25;
            options.class_weights = weights;
            options.num_class_weights = 2;
        }
        bert_fit_head_report report = fit(model, dataset, &options);
        is_evaluated(model, dataset, &report);
        vectors_of(model, vectors);
        CHECK(memcmp(before, vectors, sizeof(vectors)) == 0);
        scores_of(model, 2, scores);
        /* scikit-learn has one score for two classes. */
        double margins[MOST], derivatives[MOST];
        for (int i = 0; i < MOST; i++) {
            margins[i] = (double)scores[2 * i + 1] - scores[2 * i];
            derivatives[i] = (sigmoid(margins[i]) - (double)ids[i]) * (n == 3 ? weights[ids[i]] : 1);
        }
        is_optimal(vectors, margins, derivatives, options.inverse_regularization);
        /* Again, from the fitted classifier on, and on one thread: the same, bit for bit. */
        saved first = save(model);
        CHECK_OK(bert_set_num_threads(1));
        fit(model, dataset, &options);
        saved second = save(model);
        CHECK(is_same(first, second));
        CHECK_OK(bert_set_num_threads(0));
        release(first);
        release(second);
        bert_free(model);
    }
    bert_dataset_free(dataset);
}

static void three_classes(void)
{
    int64_t ids[MOST];
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    for (int i = 0; i < MOST; i++) {
        ids[i] = (i + i / 5) % 3;
    }
    CHECK_OK(bert_dataset_add_class_ids(dataset, MOST, pointers, NULL, NULL, NULL, ids));
    bert_model *model = model_of(dataset, BERT_POOLING_MEAN);
    bert_fit_head_report report = fit(model, dataset, NULL);
    is_evaluated(model, dataset, &report);
    float vectors[MOST * HIDDEN], scores[MOST * 3];
    vectors_of(model, vectors);
    scores_of(model, 3, scores);
    for (int c = 0; c < 3; c++) {
        double of_class[MOST], derivatives[MOST];
        for (int i = 0; i < MOST; i++) {
            const float *z = scores + 3 * i;
            double sum = exp(z[0]) + exp(z[1]) + exp(z[2]);
            of_class[i] = z[c];
            derivatives[i] = exp(z[c]) / sum - (ids[i] == c);
        }
        is_optimal(vectors, of_class, derivatives, 1);
    }
    bert_free(model);
    bert_dataset_free(dataset);
}

static void labels_each_by_themselves(void)
{
    static const char *const names[] = {"even", "third", "always", "never"};
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    for (int i = 0; i < MOST; i++) {
        const char *list[3] = {"always"};
        size_t count = 1;
        if (i % 2 == 0) {
            list[count++] = "even";
        }
        if (i % 3 == 0) {
            list[count++] = "third";
        }
        CHECK_OK(bert_dataset_add_labels(dataset, texts[i], NUL, NULL, 0, list, NULL, count));
    }
    bert_model_options options = small_options();
    options.initializer_range = 0.3;
    options.label_names = names;
    options.num_label_names = 4;
    bert_model *model = create(&options, dataset);
    warning[0] = 0;
    bert_fit_head_report report = fit(model, dataset, NULL);
    is_evaluated(model, dataset, &report);
    CHECK(strstr(warning, "'always', 'never'") != NULL);
    float vectors[MOST * HIDDEN], scores[MOST * 4];
    vectors_of(model, vectors);
    scores_of(model, 4, scores);
    for (int label = 0; label < 2; label++) {
        double z[MOST], derivatives[MOST];
        for (int i = 0; i < MOST; i++) {
            z[i] = scores[4 * i + label];
            derivatives[i] = sigmoid(z[i]) - (i % (label + 2) == 0);
        }
        is_optimal(vectors, z, derivatives, 1);
    }
    for (int i = 0; i < MOST; i++) {
        CHECK_NEAR(sigmoid(scores[4 * i + 2]), 1 - 1e-9, 1e-11);
        CHECK_NEAR(sigmoid(scores[4 * i + 3]), 1e-9, 1e-11);
    }
    bert_fit_head_options wrong = fit_options();
    static const double weights[] = {1, 1, 1, 1};
    wrong.class_weights = weights;
    wrong.num_class_weights = 4;
    CHECK_STATUS(bert_fit_head(model, dataset, &wrong, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("class_weights are for single-label");
    bert_free(model);
    bert_dataset_free(dataset);
}

static void numbers(void)
{
    float targets[MOST * 2];
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    for (int i = 0; i < MOST; i++) {
        targets[2 * i] = (float)(i % 7) / 7;
        targets[2 * i + 1] = 100 + 30 * (float)sin(i);
    }
    CHECK_OK(bert_dataset_add_targets(dataset, MOST, pointers, NULL, NULL, NULL, targets, 2));
    bert_model *model = model_of(dataset, BERT_POOLING_MEAN);
    bert_fit_head_options options = fit_options();
    options.inverse_regularization = 10;
    bert_fit_head_report report = fit(model, dataset, &options);
    is_evaluated(model, dataset, &report);
    float vectors[MOST * HIDDEN], scores[MOST * 2];
    vectors_of(model, vectors);
    scores_of(model, 2, scores);
    double z[MOST], derivatives[MOST];
    for (int i = 0; i < MOST; i++) {
        z[i] = scores[2 * i];
        derivatives[i] = z[i] - targets[2 * i];
    }
    is_optimal(vectors, z, derivatives, 10);
    bert_free(model);
    bert_dataset_free(dataset);
}

/* A class of which there is no example is never predicted, and a fit that is cut short is told. */
static void what_may_be_a_mistake_is_a_warning(void)
{
    static const char *const three[] = {"negative", "neither", "positive"};
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    options.label_names = three;
    options.num_label_names = 3;
    options.initializer_range = 0.3;
    bert_model *model = create(&options, dataset);
    warning[0] = 0;
    bert_fit_head_report report = fit(model, dataset, NULL);
    CHECK(strstr(warning, "no example: 'neither'") != NULL);
    CHECK_EQUAL(report.is_converged, 1);
    bert_evaluation e = BERT_EVALUATION_INIT;
    uint64_t confusion[9];
    e.confusion = confusion;
    e.confusion_capacity = 9;
    CHECK_OK(bert_evaluate(model, dataset, 0, &e));
    CHECK(confusion[1] == 0 && confusion[4] == 0 && confusion[7] == 0);
    CHECK_NEAR(e.loss, report.loss, 1e-5);

    bert_fit_head_options fitting = fit_options();
    fitting.max_iterations = 1;
    warning[0] = 0;
    report = fit(model, dataset, &fitting);
    CHECK(strstr(warning, "no example") != NULL || strstr(warning, "max_iterations") != NULL);
    CHECK_EQUAL(report.is_converged, 0);
    CHECK_EQUAL(report.iterations, 1);
    bert_free(model);
    bert_dataset_free(dataset);
}

static int32_t fits_meanwhile(const bert_progress *progress, void *user_data)
{
    (void)progress;
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    CHECK_STATUS(bert_fit_head(user_data, dataset, NULL, NULL), BERT_ERR_BUSY);
    bert_dataset_free(dataset);
    return 0;
}

static void what_cannot_be_is_refused(void)
{
    bert_dataset *dataset = toy(BERT_TOY_TRAIN), *none = NULL, *other = NULL;
    static const char *const one_text[] = {"a", "b"}, *const one_name[] = {"positive", "positive"};
    static const char *const names[] = {"positive", "unheard"};
    bert_model *model = small_model();
    CHECK_OK(bert_dataset_create(&none));
    saved before = save(model);
    CHECK_STATUS(bert_fit_head(model, none, NULL, NULL), BERT_ERR_DATA);
    bert_dataset *alike = named(2, one_text, one_name);
    CHECK_STATUS(bert_fit_head(model, alike, NULL, NULL), BERT_ERR_DATA);
    CHECK_MESSAGE("the label 'positive'");
    other = named(2, one_text, names);
    CHECK_STATUS(bert_fit_head(model, other, NULL, NULL), BERT_ERR_UNKNOWN_LABEL);
    bert_fit_head_options options = fit_options();
    options.tolerance = 0;
    CHECK_STATUS(bert_fit_head(model, dataset, &options, NULL), BERT_ERR_INVALID_ARGUMENT);
    options = fit_options();
    options.inverse_regularization = NAN;
    CHECK_STATUS(bert_fit_head(model, dataset, &options, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("inverse_regularization is NaN");
    saved after = save(model);
    CHECK(is_same(before, after));
    release(before);
    release(after);
    if (is_on_cpu(model)) {
        bert_model *int8 = NULL;
        CHECK_OK(bert_quantize(model, &int8));
        CHECK_STATUS(bert_fit_head(int8, dataset, NULL, NULL), BERT_ERR_UNSUPPORTED);
        CHECK_MESSAGE("int8");
        bert_free(int8);
    }
    bert_train_options training = train_options();
    training.epochs = 1;
    training.progress = fits_meanwhile;
    training.progress_user_data = model;
    bert_trainer *trainer = trainer_of(model, dataset, NULL, &training);
    CHECK_OK(bert_train_step(trainer, NULL));
    /* Between two calls of training it is allowed, and the training goes on from there. */
    CHECK_OK(bert_fit_head(model, dataset, NULL, NULL));
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);

    /* A model with adapters has its head fitted on what they compute. */
    bert_model *adapted = NULL;
    CHECK_OK(bert_add_lora(model, NULL, &adapted));
    CHECK_EQUAL(fit(adapted, dataset, NULL).is_converged, 1);
    bert_free(adapted);
    bert_free(model);
    bert_dataset_free(dataset);
    bert_dataset_free(none);
    bert_dataset_free(alike);
    bert_dataset_free(other);
}

int main(void)
{
    CHECK_OK(bert_set_log_callback(listen, NULL));
    make_texts();
    two_classes();
    three_classes();
    labels_each_by_themselves();
    numbers();
    what_may_be_a_mistake_is_a_warning();
    what_cannot_be_is_refused();
    return 0;
}
