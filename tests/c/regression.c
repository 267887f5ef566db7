/* Regression with one target and with two: the loss and the metrics against a computation from the answers, a model that
 * learns them, and one that is saved and loaded. */

#include "check.h"

#define EXAMPLES 9

/* A word for each value of the first target, and one for each of the second. */
static const float values[3] = {-1.0f, 0.25f, 2.0f};
static const char *const first[3] = {"cold", "mild", "hot"}, *const second[3] = {"low", "middle", "high"};

static void text_of(int i, char text[64])
{
    snprintf(text, 64, "a %s day at a %s place", first[i % 3], second[i / 3]);
}

static float target_of(int i, int target)
{
    return target == 0 ? values[i % 3] : 2 * values[i / 3];
}

static bert_dataset *numbers(size_t width)
{
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    for (int i = 0; i < EXAMPLES; i++) {
        char text[64];
        float targets[2] = {target_of(i, 0), target_of(i, 1)};
        text_of(i, text);
        CHECK_OK(bert_dataset_add_target(dataset, text, NUL, NULL, 0, targets, width));
    }
    return dataset;
}

/* The answers for all examples, through `values`; `logits` are the same numbers. */
static void predict(const bert_model *model, size_t width, float *answers)
{
    char texts[EXAMPLES][64];
    const char *pointers[EXAMPLES];
    float logits[EXAMPLES * 2];
    for (int i = 0; i < EXAMPLES; i++) {
        text_of(i, texts[i]);
        pointers[i] = texts[i];
    }
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.values = answers;
    out.logits = logits;
    out.values_capacity = out.logits_capacity = EXAMPLES * width;
    CHECK_OK(bert_predict_batch(model, EXAMPLES, pointers, NULL, NULL, NULL, NULL, &out));
    CHECK(memcmp(answers, logits, EXAMPLES * width * sizeof(float)) == 0);
}

static double correlation(const double *a, const double *b)
{
    double mean_a = 0, mean_b = 0, ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        mean_a += a[i] / EXAMPLES;
        mean_b += b[i] / EXAMPLES;
    }
    for (int i = 0; i < EXAMPLES; i++) {
        ab += (a[i] - mean_a) * (b[i] - mean_b);
        aa += (a[i] - mean_a) * (a[i] - mean_a);
        bb += (b[i] - mean_b) * (b[i] - mean_b);
    }
    return ab / sqrt(aa * bb);
}

/* One more than how many are smaller, and half of the others that are equal. */
static void rank(const double *values_, double *ranks)
{
    for (int i = 0; i < EXAMPLES; i++) {
        ranks[i] = 0.5;
        for (int j = 0; j < EXAMPLES; j++) {
            ranks[i] += values_[j] < values_[i] ? 1 : values_[j] == values_[i] ? 0.5 : 0;
        }
    }
}

static bert_evaluation evaluate(const bert_model *model, const bert_dataset *dataset)
{
    bert_evaluation e;
    CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
    CHECK_OK(bert_evaluate(model, dataset, 0, &e));
    return e;
}

static void metrics_are_those_of_the_answers(const bert_model *model, const bert_dataset *dataset, size_t width)
{
    float answers[EXAMPLES * 2];
    predict(model, width, answers);
    double mse = 0, pearson = 0, spearman = 0;
    for (size_t t = 0; t < width; t++) {
        double truth[EXAMPLES], guess[EXAMPLES], truth_ranks[EXAMPLES], guess_ranks[EXAMPLES];
        for (int i = 0; i < EXAMPLES; i++) {
            truth[i] = target_of(i, (int)t);
            guess[i] = answers[(size_t)i * width + t];
            mse += (truth[i] - guess[i]) * (truth[i] - guess[i]) / (double)(EXAMPLES * width);
        }
        rank(truth, truth_ranks);
        rank(guess, guess_ranks);
        pearson += correlation(truth, guess) / (double)width;
        spearman += correlation(truth_ranks, guess_ranks) / (double)width;
    }
    bert_evaluation e = evaluate(model, dataset);
    CHECK_EQUAL(e.examples, EXAMPLES);
    CHECK_NEAR(e.loss, mse, 1e-6);
    CHECK_NEAR(e.mse, mse, 1e-6);
    CHECK_NEAR(e.pearson, pearson, 1e-6);
    CHECK_NEAR(e.spearman, spearman, 1e-6);
    CHECK(isnan(e.accuracy) && isnan(e.f1_macro) && isnan(e.f1_micro) && isnan(e.f1_weighted) && isnan(e.matthews));
}

static int32_t see(const bert_progress *progress, void *user_data)
{
    double *last = user_data;
    if (progress->event == BERT_EVENT_EVALUATION) {
        CHECK(progress->eval_mse >= 0 && progress->eval_mse == progress->eval_loss);
        CHECK(fabs(progress->eval_pearson) <= 1 && fabs(progress->eval_spearman) <= 1);
        CHECK(isnan(progress->eval_accuracy) && isnan(progress->eval_f1_micro));
        *last = progress->eval_mse;
    }
    return 0;
}

static void a_model_learns_the_numbers(bert_model *model, const bert_dataset *dataset, size_t width)
{
    double last = -1;
    bert_train_options options = train_options();
    options.epochs = 200;
    options.batch_size = EXAMPLES;
    options.learning_rate = 1e-2;
    options.head_learning_rate = 0.02;
    options.max_grad_norm = 0;
    options.progress = see;
    options.progress_user_data = &last;
    options.history_path = "numbers.jsonl";
    bert_trainer *trainer = trainer_of(model, dataset, dataset, &options);
    bert_train_report report;
    bert_epoch_report epoch;
    CHECK_OK(bert_epoch_report_init(&epoch, sizeof(epoch)));
    CHECK_OK(bert_train_epoch(trainer, &epoch));
    CHECK(isnan(epoch.accuracy) && epoch.loss > 0);
    CHECK_OK(bert_train_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train(trainer, &report));
    bert_trainer_free(trainer);
    CHECK(isnan(report.accuracy));
    /* The best evaluation is the one with the lowest error, and it is kept. */
    bert_evaluation e = evaluate(model, dataset);
    CHECK(report.best_metric <= last && report.best_metric == e.mse);
    /* Ranks that are tied in the targets and not in the answers keep Spearman's below 1. */
    CHECK(e.mse < 1e-3 && e.pearson > 0.999 && e.spearman > 0.94);
    float answers[EXAMPLES * 2];
    predict(model, width, answers);
    for (int i = 0; i < EXAMPLES; i++) {
        for (size_t t = 0; t < width; t++) {
            CHECK_NEAR(answers[(size_t)i * width + t], target_of(i, (int)t), 0.1);
        }
    }
    char *history = read_bytes("numbers.jsonl", NULL);
    CHECK(history != NULL && strstr(history, "\"mse\":") != NULL && strstr(history, "\"spearman\":") != NULL);
    CHECK(strstr(history, "accuracy") == NULL && strstr(history, "null") == NULL);
    free(history);
}

static void saved_and_loaded(const bert_model *model, const bert_dataset *dataset, size_t width)
{
    CHECK_OK(bert_save(model, "numbers"));
    char *config = read_bytes("numbers/config.json", NULL);
    CHECK(config != NULL && strstr(config, "\"problem_type\": \"regression\"") != NULL);
    free(config);
    bert_load_options options = load_options();
    bert_model *loaded = load_model("numbers");
    CHECK(are_equal(model, loaded));
    CHECK_EQUAL(info_of(loaded).problem_type, BERT_PROBLEM_REGRESSION);
    float a[EXAMPLES * 2], b[EXAMPLES * 2];
    predict(model, width, a);
    predict(loaded, width, b);
    CHECK(memcmp(a, b, EXAMPLES * width * sizeof(float)) == 0);
    bert_free(loaded);
    saved bytes = save(model);
    loaded = load_buffer(bytes.bytes, bytes.length);
    CHECK(are_equal(model, loaded));
    predict(loaded, width, b);
    CHECK(memcmp(a, b, EXAMPLES * width * sizeof(float)) == 0);
    bert_free(loaded);
    release(bytes);
    /* The same number of targets keeps the head and its names, another number doesn't. */
    options.labels_from = dataset;
    CHECK_OK(bert_load("numbers", &options, &loaded));
    CHECK_EQUAL(initialised(loaded), 0);
    bert_free(loaded);
    bert_dataset *other = numbers(3 - width);
    options.labels_from = other;
    CHECK_OK(bert_load("numbers", &options, &loaded));
    CHECK_EQUAL(initialised(loaded), 2);
    CHECK_EQUAL(info_of(loaded).num_labels, 3 - width);
    bert_free(loaded);
    bert_dataset_free(other);
    /* Classes make a classifier of it. */
    other = toy(BERT_TOY_TRAIN);
    options.labels_from = other;
    CHECK_OK(bert_load("numbers", &options, &loaded));
    CHECK_EQUAL(info_of(loaded).problem_type, BERT_PROBLEM_SINGLE_LABEL);
    CHECK_EQUAL(initialised(loaded), 2);
    bert_free(loaded);
    bert_dataset_free(other);
}

/* A config.json without problem_type is regression with one label, else single-label classification. */
static void the_problem_is_inferred(void)
{
    char *config = read_bytes("numbers/config.json", NULL);
    CHECK(config != NULL);
    char *key = strstr(config, "\"problem_type\": \"regression\",");
    CHECK(key != NULL);
    /* What was saved is checked against this file's checksums, where it is there. */
    CHECK(remove("numbers/libbert.json") == 0);
    memset(key, ' ', strlen("\"problem_type\": \"regression\","));
    write_text("numbers/config.json", config);
    bert_model *model = load_model("numbers");
    int32_t labels = info_of(model).num_labels;
    CHECK_EQUAL(info_of(model).problem_type, labels == 1 ? BERT_PROBLEM_REGRESSION : BERT_PROBLEM_SINGLE_LABEL);
    CHECK_EQUAL(initialised(model), 0);
    bert_free(model);
    /* One that names none has a head for whichever is asked for. */
    bert_load_options options = load_options();
    options.problem_type = BERT_PROBLEM_REGRESSION;
    CHECK_OK(bert_load("numbers", &options, &model));
    CHECK_EQUAL(info_of(model).problem_type, BERT_PROBLEM_REGRESSION);
    CHECK_EQUAL(initialised(model), 0);
    bert_free(model);
    static const char *const names[] = {"a", "b", "c"};
    options.problem_type = BERT_PROBLEM_AUTO;
    options.label_names = names;
    options.num_label_names = 3;
    CHECK_OK(bert_load("numbers", &options, &model));
    CHECK_EQUAL(info_of(model).problem_type, BERT_PROBLEM_SINGLE_LABEL);
    CHECK_EQUAL(initialised(model), 2);
    bert_free(model);
    memcpy(key, "\"problem_type\": \"ranking\",   ", strlen("\"problem_type\": \"regression\","));
    write_text("numbers/config.json", config);
    model = NULL;
    CHECK_STATUS(bert_load("numbers", NULL, &model), BERT_ERR_FORMAT);
    CHECK_MESSAGE("ranking");
    CHECK(model == NULL);
    free(config);
}

static void one_text(const bert_model *one, const bert_model *two)
{
    bert_prediction p;
    char text[64];
    float answers[EXAMPLES * 2];
    predict(one, 1, answers);
    text_of(2, text);
    CHECK_OK(bert_prediction_init(&p, sizeof(p)));
    CHECK_OK(bert_predict(one, text, NUL, NULL, 0, NULL, &p));
    CHECK_NEAR(p.value, answers[2], 1e-5);
    CHECK(isnan(p.probability));
    CHECK_EQUAL(p.label_id, 0);
    CHECK_TEXT(p.label, "LABEL_0");
    p.value = 7;
    CHECK_STATUS(bert_predict(two, text, NUL, NULL, 0, NULL, &p), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("bert_predict_batch");
    CHECK(p.value == 7);
}

static void wrong_input_is_refused(bert_model *model, const bert_dataset *dataset)
{
    bert_dataset *d = NULL;
    const float nan_[] = {1, NAN}, infinite[] = {INFINITY}, fine[] = {1, 2, 3, 4};
    const char *const texts[] = {"x", "y"};
    CHECK_OK(bert_dataset_create(&d));
    CHECK_STATUS(bert_dataset_add_target(d, "x", NUL, NULL, 0, nan_, 2), BERT_ERR_DATA);
    CHECK_MESSAGE("finite");
    CHECK_STATUS(bert_dataset_add_target(d, "x", NUL, NULL, 0, infinite, 1), BERT_ERR_DATA);
    CHECK_STATUS(bert_dataset_add_target(d, "x", NUL, NULL, 0, fine, 0), BERT_ERR_DATA);
    CHECK_STATUS(bert_dataset_add_target(d, "x", NUL, NULL, 0, NULL, 1), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_target(d, "\xff", NUL, NULL, 0, fine, 1), BERT_ERR_UTF8);
    CHECK_STATUS(bert_dataset_add_target(d, "x", NUL, NULL, 0, fine, SIZE_MAX), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_target(NULL, "x", NUL, NULL, 0, fine, 1), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_dataset_add_targets(d, 2, texts, NULL, NULL, NULL, nan_, 1), BERT_ERR_DATA);
    CHECK_MESSAGE("Example 2");
    CHECK_STATUS(bert_dataset_add_targets(d, 2, texts, NULL, NULL, NULL, fine, SIZE_MAX / 2), BERT_ERR_INVALID_ARGUMENT);
    CHECK_EQUAL(count_of(d), 0);
    CHECK_OK(bert_dataset_add_targets(d, 2, texts, NULL, NULL, NULL, fine, 2));
    CHECK_STATUS(bert_dataset_add_target(d, "x", NUL, NULL, 0, fine, 1), BERT_ERR_DATA);
    CHECK_MESSAGE("targets of 2 numbers");
    CHECK_STATUS(bert_dataset_add_class_id(d, "x", NUL, NULL, 0, 1), BERT_ERR_DATA);
    CHECK_EQUAL(count_of(d), 2);

    /* `model` has one target. */
    bert_trainer *trainer = NULL;
    CHECK_STATUS(bert_trainer_create(model, d, NULL, NULL, &trainer), BERT_ERR_DATA);
    CHECK_MESSAGE("number of targets is 1");
    static const char *const names[] = {"score"};
    bert_model_options small = small_options();
    bert_model *other = NULL;
    small.label_names = names;
    small.num_label_names = 1;
    CHECK_STATUS(bert_create(&small, d, &other), BERT_ERR_DATA);
    other = create(&small, dataset);
    const char *name = NULL;
    CHECK_OK(bert_label_name(other, 0, &name, NULL));
    CHECK_TEXT(name, "score");
    bert_free(other);
    bert_dataset_free(d);

    const double weights[] = {1};
    bert_train_options training = train_options();
    training.metric = BERT_METRIC_ACCURACY;
    CHECK_STATUS(bert_trainer_create(model, dataset, NULL, &training, &trainer), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("regression doesn't have");
    training = train_options();
    training.label_smoothing = 0.5;
    CHECK_STATUS(bert_trainer_create(model, dataset, NULL, &training, &trainer), BERT_ERR_INVALID_ARGUMENT);
    training = train_options();
    training.class_weights = weights;
    training.num_class_weights = 1;
    CHECK_STATUS(bert_trainer_create(model, dataset, NULL, &training, &trainer), BERT_ERR_INVALID_ARGUMENT);
    CHECK(trainer == NULL);

    bert_evaluation e;
    double f1[1];
    CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
    e.f1 = f1;
    e.class_capacity = 1;
    CHECK_STATUS(bert_evaluate(model, dataset, 0, &e), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("regression");

    const char *text = "cold";
    float numbers_[1];
    int32_t ids[1];
    bert_predictions out;
    bert_predict_options options;
#define REFUSES(change, status)                                                                                       \
    do {                                                                                                              \
        CHECK_OK(bert_predictions_init(&out, sizeof(out)));                                                           \
        CHECK_OK(bert_predict_options_init(&options, sizeof(options)));                                               \
        change;                                                                                                       \
        CHECK_STATUS(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, &options, &out), status);                  \
    } while (0)
    REFUSES((out.label_ids = ids, out.label_ids_capacity = 1), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("ask for values");
    REFUSES((out.probabilities = numbers_, out.probabilities_capacity = 1), BERT_ERR_UNSUPPORTED);
    REFUSES(options.top_k = 1, BERT_ERR_UNSUPPORTED);
    REFUSES((out.values = numbers_, out.values_capacity = 0), BERT_ERR_BUFFER_TOO_SMALL);
    REFUSES((options.long_text = BERT_LONG_TEXT_WINDOWS, options.combine = BERT_COMBINE_MEAN_PROBABILITIES),
            BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("combined by their mean");
    REFUSES((options.long_text = BERT_LONG_TEXT_WINDOWS, options.combine = BERT_COMBINE_MOST_CONFIDENT),
            BERT_ERR_INVALID_ARGUMENT);
#undef REFUSES
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    options.long_text = BERT_LONG_TEXT_WINDOWS;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.values = numbers_;
    out.values_capacity = 1;
    CHECK_OK(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, &options, &out));
}

/* Targets so large that their squared error has no gradient in float32 end the step with the weights as they were. */
static void targets_without_bounds(bert_model *model)
{
    bert_dataset *d = NULL;
    const float huge[] = {3e38f, -3e38f};
    const char *const texts[] = {"x", "y"};
    CHECK_OK(bert_dataset_create(&d));
    CHECK_OK(bert_dataset_add_targets(d, 2, texts, NULL, NULL, NULL, huge, 1));
    bert_train_options options = train_options();
    options.batch_size = 1;
    options.epochs = 1;
    saved before = save(model);
    bert_trainer *trainer = trainer_of(model, d, NULL, &options);
    CHECK_STATUS(bert_train_step(trainer, NULL), BERT_ERR_NOT_FINITE);
    saved after = save(model);
    CHECK(is_same(before, after));
    bert_evaluation e = evaluate(model, d);
    CHECK(isfinite(e.loss) && e.loss > 1e76 && fabs(e.pearson) <= 1);
    release(before);
    release(after);
    bert_trainer_free(trainer);
    bert_dataset_free(d);
}

/* Targets in other units are learned alike: the answers are the same in those units. */
static void targets_of_any_size_are_learned(void)
{
    static const struct {
        float factor, offset;
    } units[] = {{1, 0}, {100, 0}, {100, 7}, {1e6f, -3e5f}, {1e-3f, 0}, {1, 1000}};
    bert_model_options small = small_options();
    for (size_t u = 0; u < COUNT_OF(units); u++) {
        const size_t width = 2;
        bert_dataset *d = NULL;
        CHECK_OK(bert_dataset_create(&d));
        for (int i = 0; i < EXAMPLES; i++) {
            char text[64];
            text_of(i, text);
            /* The second target keeps its unit: each has its own. */
            const float values[] = {units[u].factor * (float)target_of(i, 0) + units[u].offset,
                                    (float)target_of(i, 1)};
            CHECK_OK(bert_dataset_add_target(d, text, NUL, NULL, 0, values, width));
        }
        bert_model *model = create(&small, d);
        bert_train_options options = train_options();
        options.epochs = 200;
        options.batch_size = EXAMPLES;
        options.learning_rate = 1e-2;
        bert_trainer *trainer = trainer_of(model, d, d, &options);
        bert_train_report report = report_init();
        CHECK_OK(bert_train(trainer, &report));
        bert_trainer_free(trainer);
        float answers[EXAMPLES * 2];
        predict(model, width, answers);
        double error = 0;
        for (int i = 0; i < EXAMPLES; i++) {
            double got = (answers[i * 2] - units[u].offset) / units[u].factor;
            error += (got - target_of(i, 0)) * (got - target_of(i, 0)) / EXAMPLES;
        }
        CHECK(error < 1e-3);
        /* The error that is reported is in the targets' units. */
        bert_evaluation e = evaluate(model, d);
        CHECK(report.best_metric == e.mse);
        double scale = (double)units[u].factor * units[u].factor;
        CHECK(e.mse < scale * 1e-3 + 1e-3);
        /* What is saved answers in those units, for whoever loads it. */
        saved bytes = save(model);
        bert_model *loaded = load_buffer(bytes.bytes, bytes.length);
        float again[EXAMPLES * 2];
        predict(loaded, width, again);
        CHECK(memcmp(again, answers, sizeof(answers)) == 0);
        release(bytes);
        bert_free(loaded);
        bert_free(model);
        bert_dataset_free(d);
    }
    /* The first steps are the same but for rounding. */
    double answers_after[2][2];
    for (int u = 0; u < 2; u++) {
        bert_dataset *d = NULL;
        CHECK_OK(bert_dataset_create(&d));
        for (int i = 0; i < EXAMPLES; i++) {
            char text[64];
            text_of(i, text);
            const float value = (float)target_of(i, 0) * (u == 0 ? 1 : 64) + (u == 0 ? 0 : 7);
            CHECK_OK(bert_dataset_add_target(d, text, NUL, NULL, 0, &value, 1));
        }
        bert_model *model = create(&small, d);
        bert_train_options options = train_options();
        options.epochs = 4;
        options.batch_size = EXAMPLES;
        options.learning_rate = 1e-2;
        bert_trainer *trainer = trainer_of(model, d, NULL, &options);
        CHECK_OK(bert_train(trainer, NULL));
        float answers[EXAMPLES * 2];
        predict(model, 1, answers);
        answers_after[u][0] = answers[0];
        answers_after[u][1] = answers[5];
        bert_trainer_free(trainer);
        bert_free(model);
        bert_dataset_free(d);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_NEAR((answers_after[1][i] - 7) / 64, answers_after[0][i], 1e-4);
    }
    /* Without it a head must walk all the way: transformers' own training, whose first step has the plain error. */
    bert_dataset *d = NULL;
    CHECK_OK(bert_dataset_create(&d));
    for (int i = 0; i < EXAMPLES; i++) {
        char text[64];
        text_of(i, text);
        const float value = (float)(100 + i);
        CHECK_OK(bert_dataset_add_target(d, text, NUL, NULL, 0, &value, 1));
    }
    for (int32_t scaled = 0; scaled < 2; scaled++) {
        bert_model *model = create(&small, d);
        bert_train_options options = train_options();
        options.epochs = 1;
        options.batch_size = EXAMPLES;
        options.scale_targets = scaled;
        bert_trainer *trainer = trainer_of(model, d, NULL, &options);
        bert_step_report step;
        CHECK_OK(bert_step_report_init(&step, sizeof(step)));
        CHECK_OK(bert_train_step(trainer, &step));
        /* The variance of 9 numbers in a row is 20/3. */
        CHECK(scaled ? step.loss < 10 : step.loss > 9000);
        bert_trainer_free(trainer);
        bert_free(model);
    }
    bert_dataset_free(d);
}

/* A checkpoint from before the first step is the run's beginning: what goes on from it ends as the run itself. */
static void a_run_goes_on_from_its_beginning(void)
{
    bert_dataset *d = NULL;
    CHECK_OK(bert_dataset_create(&d));
    for (int i = 0; i < EXAMPLES; i++) {
        char text[64];
        text_of(i, text);
        const float value = (float)(10 * i);
        CHECK_OK(bert_dataset_add_target(d, text, NUL, NULL, 0, &value, 1));
    }
    bert_model_options small = small_options();
    bert_train_options options = train_options();
    options.epochs = 3;
    bert_model *models[2];
    for (int resumed = 0; resumed < 2; resumed++) {
        models[resumed] = create(&small, d);
        bert_trainer *trainer = trainer_of(models[resumed], d, d, &options);
        if (resumed) {
            bert_resume_report report;
            CHECK_OK(bert_resume_report_init(&report, sizeof(report)));
            CHECK_OK(bert_trainer_resume(trainer, "beginning", &report));
            CHECK_EQUAL(report.is_exact, 1);
            CHECK_EQUAL(report.step, 0);
        } else {
            CHECK_OK(bert_trainer_save(trainer, "beginning"));
        }
        CHECK_OK(bert_train(trainer, NULL));
        bert_trainer_free(trainer);
    }
    CHECK(are_equal(models[0], models[1]));
    /* A head that was trained isn't brought into units again. */
    float before[EXAMPLES * 2], after[EXAMPLES * 2];
    predict(models[0], 1, before);
    options.learning_rate = 0;
    bert_trainer *trainer = trainer_of(models[0], d, NULL, &options);
    CHECK_OK(bert_train_step(trainer, NULL));
    predict(models[0], 1, after);
    CHECK(memcmp(before, after, EXAMPLES * sizeof(float)) == 0);
    bert_trainer_free(trainer);
    bert_free(models[0]);
    bert_free(models[1]);
    bert_dataset_free(d);
}

static void files_hold_numbers(void)
{
    bert_read_options options;
    CHECK_OK(bert_read_options_init(&options, sizeof(options)));
    options.problem_type = BERT_PROBLEM_REGRESSION;
    write_text("numbers.tsv", "cold\t-1|0.5\nhot\t2|1e1\n");
    write_text("numbers.csv", "text,score\ncold,-1;0.5\nhot,2;10\n");
    write_text("numbers-.jsonl", "{\"text\": \"cold\", \"score\": [-1, 0.5]}\n{\"text\": \"hot\", \"score\": [2, 1e1]}\n");
    static const char *const files[] = {"numbers.tsv", "numbers.csv", "numbers-.jsonl"};
    bert_model_options small = small_options();
    double losses[3];
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        bert_dataset *d = NULL;
        options.label_column = i == 0 ? NULL : "score";
        options.label_separator = i == 1 ? ";" : NULL;
        CHECK_OK(bert_dataset_read(files[i], &options, &d));
        bert_model *model = create(&small, d);
        CHECK_EQUAL(info_of(model).num_labels, 2);
        losses[i] = evaluate(model, d).loss;
        bert_free(model);
        bert_dataset_free(d);
    }
    CHECK(losses[0] == losses[1] && losses[1] == losses[2]);
    bert_dataset *d = NULL, *train = NULL, *validation = NULL;
    options.label_column = NULL;
    options.label_separator = NULL;
    write_text("numbers.tsv", "cold\t-1\nhot\tnan\n");
    CHECK_STATUS(bert_dataset_read("numbers.tsv", &options, &d), BERT_ERR_DATA);
    CHECK_MESSAGE("line 2");
    CHECK(d == NULL);
    d = numbers(1);
    CHECK_OK(bert_dataset_split(d, 0.3, 1, &train, &validation));
    CHECK_EQUAL(count_of(train), 6);
    CHECK_EQUAL(count_of(validation), 3);
    bert_dataset_free(d);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

int main(void)
{
    bert_model *models[2];
    for (size_t width = 1; width <= 2; width++) {
        bert_dataset *dataset = numbers(width);
        bert_model_options options = small_options();
        options.initializer_range = 0.2;
        bert_model *model = create(&options, dataset);
        models[width - 1] = model;
        CHECK_EQUAL(info_of(model).problem_type, BERT_PROBLEM_REGRESSION);
        CHECK_EQUAL(info_of(model).num_labels, width);
        metrics_are_those_of_the_answers(model, dataset, width);
        a_model_learns_the_numbers(model, dataset, width);
        metrics_are_those_of_the_answers(model, dataset, width);
        saved_and_loaded(model, dataset, width);
        the_problem_is_inferred();
        check_resumed_run(dataset, width == 1 ? "run-1" : "run-2");
        bert_dataset_free(dataset);
    }
    bert_dataset *dataset = numbers(1);
    one_text(models[0], models[1]);
    wrong_input_is_refused(models[0], dataset);
    targets_without_bounds(models[0]);
    targets_of_any_size_are_learned();
    a_run_goes_on_from_its_beginning();
    files_hold_numbers();
    bert_dataset_free(dataset);
    bert_free(models[0]);
    bert_free(models[1]);
    return 0;
}
