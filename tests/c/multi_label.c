/* Multi-label classification: lists of labels, the loss and the metrics against a computation from the answers, a model
 * that learns them, and one that is saved, loaded and made another. */

#include "check.h"

#define LABELS 3
#define EXAMPLES 8

static const char *const names[LABELS] = {"loud", "red", "round"};

/* Every combination of the labels, said by a word each: text i has label j where bit j of i is set. */
static void text_of(int i, char text[64])
{
    snprintf(text, 64, "%s %s %s thing", i & 1 ? "noisy" : "calm", i & 2 ? "scarlet" : "blue",
             i & 4 ? "circular" : "flat");
}

static bert_dataset *lists(void)
{
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    for (int i = 0; i < EXAMPLES; i++) {
        char text[64];
        const char *list[LABELS + 1];
        size_t count = 0;
        text_of(i, text);
        for (int j = LABELS - 1; j >= 0; j--) {
            if (i >> j & 1) {
                list[count++] = names[j];
            }
        }
        if (count > 0) {
            list[count] = list[0]; /* twice is once */
            count++;
        }
        CHECK_OK(bert_dataset_add_labels(dataset, text, NUL, NULL, 0, list, NULL, count));
    }
    return dataset;
}

typedef struct {
    float logits[EXAMPLES * LABELS], probabilities[EXAMPLES * LABELS], top[EXAMPLES * LABELS];
    int32_t best[EXAMPLES], ranked[EXAMPLES * LABELS];
    uint8_t has_label[EXAMPLES * LABELS];
} answers;

static answers predict(const bert_model *model, double threshold)
{
    char texts[EXAMPLES][64];
    const char *pointers[EXAMPLES];
    for (int i = 0; i < EXAMPLES; i++) {
        text_of(i, texts[i]);
        pointers[i] = texts[i];
    }
    answers a;
    memset(&a, 0x55, sizeof(a));
    bert_predict_options options;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    CHECK(options.threshold == -1);
    options.threshold = threshold;
    options.top_k = LABELS;
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = a.logits;
    out.probabilities = a.probabilities;
    out.top_probabilities = a.top;
    out.label_ids = a.best;
    out.top_label_ids = a.ranked;
    out.has_label = a.has_label;
    out.label_ids_capacity = EXAMPLES;
    out.logits_capacity = out.probabilities_capacity = out.top_probabilities_capacity = EXAMPLES * LABELS;
    out.top_label_ids_capacity = out.has_label_capacity = EXAMPLES * LABELS;
    CHECK_OK(bert_predict_batch(model, EXAMPLES, pointers, NULL, NULL, NULL, &options, &out));
    return a;
}

static void answers_are_those_of_the_logits(const bert_model *model, double threshold)
{
    answers a = predict(model, threshold);
    for (int i = 0; i < EXAMPLES; i++) {
        const float *row = a.probabilities + i * LABELS;
        for (int j = 0; j < LABELS; j++) {
            CHECK_NEAR(row[j], 1 / (1 + exp(-(double)a.logits[i * LABELS + j])), 1e-7);
            CHECK_EQUAL(a.has_label[i * LABELS + j], row[j] >= threshold);
            CHECK(a.top[i * LABELS + j] == row[a.ranked[i * LABELS + j]]);
            CHECK(j == 0 || a.top[i * LABELS + j] <= a.top[i * LABELS + j - 1]);
        }
        CHECK_EQUAL(a.best[i], a.ranked[i * LABELS]);
    }
}

static void metrics_are_those_of_the_answers(const bert_model *model, const bert_dataset *dataset, double threshold)
{
    answers a = predict(model, threshold);
    double right[LABELS] = {0}, there[LABELS] = {0}, guessed[LABELS] = {0}, exact = 0, loss = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        int all = 1;
        for (int j = 0; j < LABELS; j++) {
            int truth = i >> j & 1, guess = a.has_label[i * LABELS + j];
            double p = 1 / (1 + exp(-(double)a.logits[i * LABELS + j]));
            loss -= log(truth ? p : 1 - p) / (EXAMPLES * LABELS);
            right[j] += truth && guess;
            there[j] += truth;
            guessed[j] += guess;
            all &= truth == guess;
        }
        exact += all;
    }
    double precision[LABELS], recall[LABELS], f1[LABELS], macro = 0, weighted = 0, sums[3] = {0};
    uint64_t support[LABELS];
    bert_evaluation e;
    CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
    CHECK(e.threshold == -1);
    e.threshold = threshold;
    e.precision = precision;
    e.recall = recall;
    e.f1 = f1;
    e.support = support;
    e.class_capacity = LABELS;
    CHECK_OK(bert_evaluate(model, dataset, 0, &e));
    for (int j = 0; j < LABELS; j++) {
        double f = quotient(2 * right[j], there[j] + guessed[j]);
        CHECK_NEAR(precision[j], quotient(right[j], guessed[j]), 1e-12);
        CHECK_NEAR(recall[j], quotient(right[j], there[j]), 1e-12);
        CHECK_NEAR(f1[j], f, 1e-12);
        CHECK_EQUAL(support[j], there[j]);
        macro += f / LABELS;
        weighted += f * there[j];
        sums[0] += right[j];
        sums[1] += there[j];
        sums[2] += guessed[j];
    }
    CHECK_EQUAL(e.examples, EXAMPLES);
    CHECK_NEAR(e.loss, loss, 1e-6);
    CHECK_NEAR(e.accuracy, exact / EXAMPLES, 1e-12);
    CHECK_NEAR(e.f1_micro, quotient(2 * sums[0], sums[1] + sums[2]), 1e-12);
    CHECK_NEAR(e.f1_macro, macro, 1e-12);
    CHECK_NEAR(e.f1_weighted, weighted / sums[1], 1e-12);
    CHECK(isnan(e.matthews) && isnan(e.mse) && isnan(e.pearson) && isnan(e.spearman));
    CHECK(e.threshold == threshold);
}

/* The best evaluation by default is that with the highest micro F1, and the callback sees it. */
static int32_t see(const bert_progress *progress, void *user_data)
{
    double *best = user_data;
    if (progress->event == BERT_EVENT_EVALUATION) {
        CHECK(progress->eval_f1_micro >= 0 && progress->eval_f1_macro >= 0 && progress->eval_accuracy >= 0);
        CHECK(isnan(progress->eval_matthews) && isnan(progress->eval_mse));
        *best = fmax(*best, progress->eval_f1_micro);
    } else {
        CHECK(isnan(progress->eval_f1_micro) && isnan(progress->eval_loss));
    }
    return 0;
}

static void a_model_learns_the_lists(bert_model *model, const bert_dataset *dataset)
{
    double best = -1;
    bert_train_options options = train_options();
    CHECK_EQUAL(options.metric, BERT_METRIC_AUTO);
    CHECK(options.threshold == -1);
    options.epochs = 60;
    options.batch_size = 4;
    options.learning_rate = 1e-2;
    options.progress = see;
    options.progress_user_data = &best;
    options.history_path = "lists.jsonl";
    bert_trainer *trainer = trainer_of(model, dataset, dataset, &options);
    bert_train_report report;
    CHECK_OK(bert_train_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train(trainer, &report));
    bert_trainer_free(trainer);
    CHECK(report.accuracy == 1 && report.best_metric == 1 && best == 1);
    answers a = predict(model, 0.5);
    for (int i = 0; i < EXAMPLES * LABELS; i++) {
        CHECK_EQUAL(a.has_label[i], i / LABELS >> i % LABELS & 1);
    }
    char *history = read_bytes("lists.jsonl", NULL);
    CHECK(history != NULL && strstr(history, "\"f1_micro\":1.0") != NULL);
    CHECK(strstr(history, "matthews") == NULL && strstr(history, "null") == NULL);
    free(history);
}

/* Two batches of two make the step that one of four makes. */
static void every_example_weighs_the_same(const bert_dataset *dataset)
{
    bert_step_report reports[2];
    for (int accumulated = 0; accumulated < 2; accumulated++) {
        bert_model_options options = small_options();
        bert_model *model = create(&options, dataset);
        bert_train_options training = train_options();
        training.group_by_length = 0;
        training.batch_size = accumulated ? 3 : 6;
        training.gradient_accumulation_steps = accumulated ? 2 : 1;
        bert_trainer *trainer = trainer_of(model, dataset, NULL, &training);
        CHECK_OK(bert_step_report_init(&reports[accumulated], sizeof(bert_step_report)));
        CHECK_OK(bert_train_step(trainer, &reports[accumulated]));
        CHECK_OK(bert_train_step(trainer, NULL)); /* two examples are left */
        bert_trainer_free(trainer);
        bert_free(model);
    }
    CHECK_EQUAL(reports[0].examples, 6);
    CHECK_EQUAL(reports[1].examples, 6);
    CHECK_NEAR(reports[0].loss, reports[1].loss, 1e-7);
    CHECK_NEAR(reports[0].grad_norm, reports[1].grad_norm, 1e-6);
}

static bert_model *load_as(const bert_load_options *options)
{
    bert_model *model = NULL;
    CHECK_OK(bert_load("lists", options, &model));
    return model;
}

static void saved_and_loaded(const bert_model *model, const bert_dataset *dataset)
{
    CHECK_OK(bert_save(model, "lists"));
    char *config = read_bytes("lists/config.json", NULL);
    CHECK(config != NULL && strstr(config, "\"problem_type\": \"multi_label_classification\"") != NULL);
    free(config);
    bert_load_options options = load_options();
    CHECK_EQUAL(options.problem_type, BERT_PROBLEM_AUTO);
    bert_model *loaded = load_as(&options);
    CHECK(are_equal(model, loaded));
    CHECK_EQUAL(info_of(loaded).problem_type, BERT_PROBLEM_MULTI_LABEL);
    answers a = predict(model, 0.5), b = predict(loaded, 0.5);
    CHECK(memcmp(&a, &b, sizeof(a)) == 0);
    bert_free(loaded);
    saved bytes = save(model);
    loaded = load_buffer(bytes.bytes, bytes.length);
    CHECK(are_equal(model, loaded));
    b = predict(loaded, 0.5);
    CHECK(memcmp(&a, &b, sizeof(a)) == 0);
    bert_free(loaded);
    release(bytes);

    /* Data of the same labels keeps the head, as does the same problem; another problem, or other labels, don't. */
    options.labels_from = dataset;
    loaded = load_as(&options);
    CHECK_EQUAL(initialised(loaded), 0);
    bert_free(loaded);
    options.labels_from = NULL;
    options.problem_type = BERT_PROBLEM_MULTI_LABEL;
    loaded = load_as(&options);
    CHECK_EQUAL(initialised(loaded), 0);
    bert_free(loaded);
    options.problem_type = BERT_PROBLEM_SINGLE_LABEL;
    loaded = load_as(&options);
    CHECK_EQUAL(initialised(loaded), 2);
    CHECK_EQUAL(info_of(loaded).problem_type, BERT_PROBLEM_SINGLE_LABEL);
    CHECK_EQUAL(info_of(loaded).num_labels, LABELS);
    bert_free(loaded);
    bert_dataset *classes = toy(BERT_TOY_TRAIN);
    options.problem_type = BERT_PROBLEM_AUTO;
    options.labels_from = classes;
    loaded = load_as(&options);
    CHECK_EQUAL(initialised(loaded), 2);
    CHECK_EQUAL(info_of(loaded).problem_type, BERT_PROBLEM_SINGLE_LABEL);
    CHECK_EQUAL(info_of(loaded).num_labels, 2);
    bert_free(loaded);
    loaded = NULL;
    options.problem_type = BERT_PROBLEM_MULTI_LABEL;
    CHECK_STATUS(bert_load("lists", &options, &loaded), BERT_ERR_DATA);
    CHECK_MESSAGE("single-label classification, but the problem is multi-label");
    options.labels_from = NULL;
    options.label_names = names;
    options.num_label_names = 1;
    options.problem_type = BERT_PROBLEM_AUTO; /* the saved one */
    loaded = load_as(&options);
    CHECK_EQUAL(info_of(loaded).problem_type, BERT_PROBLEM_MULTI_LABEL);
    CHECK_EQUAL(initialised(loaded), 2);
    bert_free(loaded);
    loaded = NULL;
    options.problem_type = BERT_PROBLEM_SINGLE_LABEL;
    CHECK_STATUS(bert_load("lists", &options, &loaded), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("at least two");
    options.problem_type = 4;
    CHECK_STATUS(bert_load("lists", &options, &loaded), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("0 to 3");
    CHECK(loaded == NULL);
    bert_dataset_free(classes);
}

/* A long text has a label where one of its windows has it, or by their mean. */
static void windows(const bert_model *model)
{
    char text[1024] = "";
    for (int i = 0; i < 40; i++) {
        strcat(text, i == 2 ? "scarlet " : "calm ");
    }
    const char *pointer = text;
    float probabilities[3][LABELS];
    for (int32_t combine = 0; combine < 3; combine++) {
        bert_predict_options options;
        CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
        options.long_text = BERT_LONG_TEXT_WINDOWS;
        options.combine = combine;
        options.max_length = 8;
        bert_predictions out;
        CHECK_OK(bert_predictions_init(&out, sizeof(out)));
        out.probabilities = probabilities[combine];
        out.probabilities_capacity = LABELS;
        CHECK_OK(bert_predict_batch(model, 1, &pointer, NULL, NULL, NULL, &options, &out));
    }
    for (int j = 0; j < LABELS; j++) {
        CHECK(probabilities[BERT_COMBINE_MOST_CONFIDENT][j] >= probabilities[BERT_COMBINE_MEAN_PROBABILITIES][j]);
    }
    CHECK(probabilities[BERT_COMBINE_MOST_CONFIDENT][1] > probabilities[BERT_COMBINE_MEAN_LOGITS][1]);
}

static void wrong_data_is_refused(void)
{
    bert_dataset *d = NULL;
    const char *const with_empty[] = {"a", ""}, *const not_utf8[] = {"\xff"}, *const texts[] = {"x", "y"};
    const char *const three[] = {"a", "b", "c"};
    const size_t offsets[] = {0, 2, 3}, falling[] = {0, 2, 1}, late[] = {1, 2, 3};
    CHECK_OK(bert_dataset_create(&d));
    CHECK_STATUS(bert_dataset_add_labels(d, "x", NUL, NULL, 0, with_empty, NULL, 2), BERT_ERR_DATA);
    CHECK_MESSAGE("empty name");
    CHECK_STATUS(bert_dataset_add_labels(d, "x", NUL, NULL, 0, not_utf8, NULL, 1), BERT_ERR_UTF8);
    CHECK_STATUS(bert_dataset_add_labels(d, "x", NUL, NULL, 0, NULL, NULL, 1), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_labels(d, "x", NUL, NULL, 0, three, NULL, SIZE_MAX), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_labels(d, NULL, NUL, NULL, 0, three, NULL, 1), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_labels(NULL, "x", NUL, NULL, 0, three, NULL, 1), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_dataset_add_label_lists(d, 2, texts, NULL, NULL, NULL, three, NULL, falling),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("label_offsets");
    CHECK_STATUS(bert_dataset_add_label_lists(d, 2, texts, NULL, NULL, NULL, three, NULL, late),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_label_lists(d, 2, texts, NULL, NULL, NULL, three, NULL, NULL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_label_lists(d, 2, texts, NULL, NULL, NULL, NULL, NULL, offsets),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_label_lists(d, SIZE_MAX, texts, NULL, NULL, NULL, three, NULL, offsets),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_EQUAL(count_of(d), 0);
    CHECK_OK(bert_dataset_add_label_lists(d, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    CHECK_OK(bert_dataset_add_label_lists(d, 2, texts, NULL, NULL, NULL, three, NULL, offsets));
    CHECK_OK(bert_dataset_add_labels(d, "z", NUL, NULL, 0, NULL, NULL, 0));
    CHECK_EQUAL(count_of(d), 3);
    CHECK_STATUS(bert_dataset_add_class(d, "x", NUL, NULL, 0, "a", NUL), BERT_ERR_DATA);
    CHECK_MESSAGE("lists of names");
    CHECK_STATUS(bert_dataset_add_labels(d, "x", NUL, "y", NUL, three, NULL, 1), BERT_ERR_DATA);

    /* The model's labels are those of the lists, and the problem is what they are for. */
    bert_model_options options = small_options();
    CHECK_EQUAL(options.problem_type, BERT_PROBLEM_AUTO);
    bert_model *model = create(&options, d);
    CHECK_EQUAL(info_of(model).num_labels, 3);
    bert_free(model);
    model = NULL;
    options.problem_type = BERT_PROBLEM_REGRESSION;
    CHECK_STATUS(bert_create(&options, d, &model), BERT_ERR_DATA);
    CHECK_MESSAGE("multi-label classification, but the problem is regression");
    options.problem_type = BERT_PROBLEM_MULTI_LABEL;
    options.label_names = three;
    options.num_label_names = 2;
    CHECK_STATUS(bert_create(&options, d, &model), BERT_ERR_UNKNOWN_LABEL);
    CHECK_MESSAGE("Example 2: The model has no label 'c'");
    options.problem_type = -1;
    CHECK_STATUS(bert_create(&options, d, &model), BERT_ERR_INVALID_ARGUMENT);
    bert_dataset_free(d);
    /* Nobody has a label. */
    options = small_options();
    CHECK_OK(bert_dataset_create(&d));
    CHECK_OK(bert_dataset_add_labels(d, "z", NUL, NULL, 0, NULL, NULL, 0));
    CHECK_STATUS(bert_create(&options, d, &model), BERT_ERR_DATA);
    CHECK_MESSAGE("has a label");
    bert_dataset_free(d);
}

static void wrong_options_are_refused(bert_model *model, const bert_dataset *dataset)
{
    const double weights[LABELS] = {1, 2, 3};
    bert_trainer *trainer = NULL;
#define REFUSES(change, sentence)                                                                                     \
    do {                                                                                                              \
        bert_train_options options = train_options();                                                                 \
        change;                                                                                                       \
        CHECK_STATUS(bert_trainer_create(model, dataset, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);       \
        CHECK_MESSAGE(sentence);                                                                                      \
    } while (0)
    REFUSES((options.class_weights = weights, options.num_class_weights = LABELS), "class_weights are for single-label");
    REFUSES(options.label_smoothing = 0.1, "label_smoothing is for single-label");
    REFUSES(options.metric = BERT_METRIC_MATTHEWS, "multi-label classification doesn't have");
    REFUSES(options.metric = BERT_METRIC_PEARSON, "Pearson");
    REFUSES(options.metric = 9, "-1 to 8");
    REFUSES(options.threshold = 1.5, "threshold is 1.5");
    REFUSES(options.threshold = NAN, "threshold is NaN");
#undef REFUSES
    bert_dataset *classes = toy(BERT_TOY_TRAIN);
    CHECK_STATUS(bert_trainer_create(model, classes, NULL, NULL, &trainer), BERT_ERR_DATA);
    CHECK_MESSAGE("single-label classification, but the problem is multi-label");
    CHECK_STATUS(bert_trainer_create(model, dataset, classes, NULL, &trainer), BERT_ERR_DATA);
    CHECK(trainer == NULL);

    bert_evaluation e;
    uint64_t confusion[LABELS * LABELS];
    CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
    e.loss = -7;
    CHECK_STATUS(bert_evaluate(model, classes, 0, &e), BERT_ERR_DATA);
    e.threshold = -0.1;
    CHECK_STATUS(bert_evaluate(model, dataset, 0, &e), BERT_ERR_INVALID_ARGUMENT);
    e.threshold = 0.5;
    e.confusion = confusion;
    e.confusion_capacity = COUNT_OF(confusion);
    CHECK_STATUS(bert_evaluate(model, dataset, 0, &e), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("no confusion matrix");
    CHECK(e.loss == -7);

    const char *text = "calm";
    float values[LABELS];
    uint8_t has_label[LABELS];
    bert_predict_options options;
    bert_predictions out;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.values = values;
    out.values_capacity = LABELS;
    CHECK_STATUS(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, NULL, &out), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("has_label and probabilities");
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.has_label = has_label;
    out.has_label_capacity = LABELS - 1;
    CHECK_STATUS(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, NULL, &out), BERT_ERR_BUFFER_TOO_SMALL);
    out.has_label_capacity = LABELS;
    options.threshold = NAN;
    CHECK_STATUS(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, &options, &out), BERT_ERR_INVALID_ARGUMENT);
    options.threshold = 0;
    CHECK_OK(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, &options, &out));
    CHECK(has_label[0] == 1 && has_label[1] == 1 && has_label[2] == 1);

    /* A model of classes has no lists and no values. */
    bert_model *other = small_model();
    CHECK_STATUS(bert_predict_batch(other, 1, &text, NULL, NULL, NULL, NULL, &out), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("label_ids and probabilities");
    CHECK_STATUS(bert_trainer_create(other, dataset, NULL, NULL, &trainer), BERT_ERR_DATA);
    bert_free(other);
    bert_dataset_free(classes);
}

static void files_hold_lists(void)
{
    bert_read_options options;
    CHECK_OK(bert_read_options_init(&options, sizeof(options)));
    CHECK_EQUAL(options.problem_type, BERT_PROBLEM_SINGLE_LABEL);
    options.problem_type = BERT_PROBLEM_MULTI_LABEL;
    write_text("lists.tsv", "calm\tred|round\nnoisy\t\n");
    write_text("lists.csv", "text,label\ncalm,\"red,round\"\nnoisy,\n");
    write_text("lists.jsonl", "{\"text\": \"calm\", \"label\": [\"red\", \"round\"]}\n{\"text\": \"noisy\", \"label\": []}\n");
    static const char *const files[] = {"lists.tsv", "lists.csv", "lists.jsonl"};
    bert_model_options small = small_options();
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        bert_dataset *d = NULL;
        options.label_separator = i == 1 ? "," : NULL;
        CHECK_OK(bert_dataset_read(files[i], &options, &d));
        CHECK_EQUAL(count_of(d), 2);
        bert_model *model = create(&small, d);
        CHECK_EQUAL(info_of(model).num_labels, 2);
        CHECK_EQUAL(info_of(model).problem_type, BERT_PROBLEM_MULTI_LABEL);
        const char *name = NULL;
        CHECK_OK(bert_label_name(model, 1, &name, NULL));
        CHECK_TEXT(name, "round");
        bert_free(model);
        bert_dataset_free(d);
    }
    bert_dataset *d = NULL;
    options.labels_are_ids = 1;
    CHECK_STATUS(bert_dataset_read("lists.tsv", &options, &d), BERT_ERR_INVALID_ARGUMENT);
    options.labels_are_ids = 0;
    options.label_separator = "";
    CHECK_STATUS(bert_dataset_read("lists.tsv", &options, &d), BERT_ERR_INVALID_ARGUMENT);
    options.problem_type = BERT_PROBLEM_AUTO;
    CHECK_STATUS(bert_dataset_read("lists.tsv", &options, &d), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("1 to 3");
    CHECK(d == NULL);
}

static void splits_keep_the_labels_shares(void)
{
    bert_dataset *d = NULL, *train = NULL, *validation = NULL;
    const char *const rare[] = {"rare"};
    CHECK_OK(bert_dataset_create(&d));
    for (int i = 0; i < 100; i++) {
        CHECK_OK(bert_dataset_add_labels(d, "x", NUL, NULL, 0, rare, NULL, i % 10 == 0));
    }
    CHECK_OK(bert_dataset_split(d, 0.2, 5, &train, &validation));
    CHECK_EQUAL(count_of(validation), 20);
    bert_model_options options = small_options();
    bert_model *model = create(&options, train);
    bert_evaluation e;
    uint64_t support = 0;
    CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
    e.support = &support;
    e.class_capacity = 1;
    CHECK_OK(bert_evaluate(model, validation, 0, &e));
    CHECK_EQUAL(support, 2);
    bert_free(model);
    bert_dataset_free(d);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

int main(void)
{
    bert_dataset *dataset = lists();
    bert_model_options options = small_options();
    /* Weights so large that the untrained model doesn't call everything the same. */
    options.initializer_range = 0.5;
    bert_model *model = create(&options, dataset);
    CHECK_EQUAL(info_of(model).problem_type, BERT_PROBLEM_MULTI_LABEL);
    CHECK_EQUAL(info_of(model).num_labels, LABELS);
    for (int i = 0; i < LABELS; i++) {
        const char *name = NULL;
        CHECK_OK(bert_label_name(model, i, &name, NULL));
        CHECK_TEXT(name, names[i]);
    }
    answers_are_those_of_the_logits(model, 0.5);
    answers_are_those_of_the_logits(model, 0.3);
    metrics_are_those_of_the_answers(model, dataset, 0.5);
    metrics_are_those_of_the_answers(model, dataset, 0.3);
    metrics_are_those_of_the_answers(model, dataset, 1);
    every_example_weighs_the_same(dataset);
    a_model_learns_the_lists(model, dataset);
    metrics_are_those_of_the_answers(model, dataset, 0.5);
    saved_and_loaded(model, dataset);
    check_resumed_run(dataset, "run");
    windows(model);
    wrong_data_is_refused();
    wrong_options_are_refused(model, dataset);
    files_hold_lists();
    splits_keep_the_labels_shares();
    bert_free(model);
    bert_dataset_free(dataset);
    return 0;
}
