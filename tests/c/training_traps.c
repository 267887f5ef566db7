/* The numbers that training takes by itself, and the warnings about what is probably a mistake. */

#include "check.h"

#define LINES 64

static struct {
    int32_t levels[LINES];
    char texts[LINES][512];
    int count;
} seen;

static void keep(int32_t level, const char *text, void *user_data)
{
    (void)user_data;
    if (seen.count < LINES) {
        seen.levels[seen.count] = level;
        snprintf(seen.texts[seen.count++], sizeof(seen.texts[0]), "%s", text);
    }
}

/* How many lines of this level hold the text. */
static int told(int32_t level, const char *text)
{
    int count = 0;
    for (int i = 0; i < seen.count; i++) {
        count += seen.levels[i] == level && strstr(seen.texts[i], text) != NULL;
    }
    return count;
}

#define WARNED(text)                                                                                  \
    do {                                                                                              \
        if (told(BERT_LOG_WARNING, text) != 1) {                                                      \
            for (int i = 0; i < seen.count; i++) {                                                    \
                fprintf(stderr, "%d %s\n", seen.levels[i], seen.texts[i]);                            \
            }                                                                                         \
            fprintf(stderr, FAIL_PREFIX "no single warning: %s\n", __FILE__, __LINE__, __func__, text); \
            exit(1);                                                                                  \
        }                                                                                             \
    } while (0)

#define SILENT(text) CHECK(told(BERT_LOG_WARNING, text) == 0)

static int32_t stop(const bert_progress *progress, void *user_data)
{
    (void)progress;
    (void)user_data;
    return 1;
}

/* The report of a run that ends with its first step. */
static bert_train_report one_step(bert_model *model, const bert_dataset *data, bert_train_options options)
{
    options.progress = stop;
    bert_trainer *trainer = trainer_of(model, data, NULL, &options);
    bert_train_report report = report_init();
    CHECK_STATUS(bert_train(trainer, &report), BERT_ERR_CANCELLED);
    bert_trainer_free(trainer);
    return report;
}

static bert_model *loaded_of(const bert_model *model)
{
    saved bytes = save(model);
    bert_model *loaded = load_buffer(bytes.bytes, bytes.length);
    release(bytes);
    return loaded;
}

static void a_new_model_has_the_numbers_of_one(const bert_dataset *data)
{
    seen.count = 0;
    bert_model *model = small_model();
    bert_train_report report = one_step(model, data, train_options());
    CHECK(report.learning_rate == 1e-3);
    CHECK_EQUAL(report.planned_epochs, 30);
    CHECK_EQUAL(report.batch_size, 16);
    CHECK_EQUAL(report.planned_steps, 30 * ((count_of(data) + 15) / 16));
    CHECK_EQUAL(told(BERT_LOG_INFO, "learning_rate 0.001, batch_size 16, epochs 30, for a new model"), 1);
    /* What the caller sets stays. */
    seen.count = 0;
    bert_train_options options = train_options();
    options.epochs = 2;
    options.batch_size = 7;
    options.learning_rate = 0.5;
    report = one_step(model, data, options);
    CHECK(report.learning_rate == 0.5);
    CHECK_EQUAL(report.planned_epochs, 2);
    CHECK_EQUAL(report.batch_size, 7);
    CHECK_EQUAL(told(BERT_LOG_INFO, "Chosen by the library"), 0);
    bert_free(model);
}

static void a_loaded_encoder_is_fine_tuned(const bert_dataset *data)
{
    bert_model *fresh = small_model(), *model = loaded_of(fresh), *adapted = NULL;
    int64_t steps = ((int64_t)count_of(data) + 31) / 32;
    int32_t enough = (int32_t)((200 + steps - 1) / steps);
    CHECK(enough > 3);
    bert_train_report report = one_step(model, data, train_options());
    CHECK(report.learning_rate == 3e-5);
    CHECK_EQUAL(report.planned_epochs, enough);
    CHECK_EQUAL(report.batch_size, 32);
    CHECK(report.planned_steps >= 200 && report.planned_steps < 200 + steps);
    /* Epochs go by the batches that the caller sets. */
    bert_train_options options = train_options();
    options.batch_size = 1;
    options.gradient_accumulation_steps = 2;
    report = one_step(model, data, options);
    steps = ((int64_t)count_of(data) + 1) / 2;
    CHECK_EQUAL(report.planned_epochs, steps * 3 >= 200 ? 3 : (200 + steps - 1) / steps);
    CHECK_EQUAL(report.batch_size, 1);
    options = train_options();
    options.freeze_layers = -1;
    CHECK(one_step(model, data, options).learning_rate == 1e-3);
    bert_lora_options lora;
    CHECK_OK(bert_lora_options_init(&lora, sizeof(lora)));
    CHECK_OK(bert_add_lora(model, &lora, &adapted));
    CHECK(one_step(adapted, data, train_options()).learning_rate == 3e-4);
    bert_free(adapted);
    CHECK_OK(bert_add_lora(fresh, &lora, &adapted));
    CHECK(one_step(adapted, data, train_options()).learning_rate == 1e-3);
    bert_free(adapted);
    bert_free(model);
    bert_free(fresh);
}

/* A run on a new model goes on with the same numbers, whichever model it is taken up with. */
static void a_checkpoint_keeps_the_numbers_of_its_run(const bert_dataset *data)
{
    bert_model *model = small_model();
    bert_trainer *trainer = trainer_of(model, data, NULL, NULL);
    CHECK_OK(bert_train_step(trainer, NULL));
    CHECK_OK(bert_trainer_save(trainer, "checkpoint"));
    bert_trainer_free(trainer);
    bert_free(model);
    model = load_model("checkpoint");
    trainer = trainer_of(model, data, NULL, NULL);
    bert_resume_report resumed;
    CHECK_OK(bert_resume_report_init(&resumed, sizeof(resumed)));
    CHECK_OK(bert_trainer_resume(trainer, "checkpoint", &resumed));
    CHECK_EQUAL(resumed.is_exact, 1);
    CHECK_EQUAL(resumed.total_steps, 30 * ((count_of(data) + 15) / 16));
    bert_trainer_free(trainer);
    bert_free(model);
    /* A model that bert_save wrote belongs to no run. */
    model = load_model("checkpoint");
    CHECK_OK(bert_save(model, "plain"));
    bert_free(model);
    model = load_model("plain");
    CHECK(one_step(model, data, train_options()).learning_rate == 3e-5);
    bert_free(model);
}

static const char *const few_texts[] = {"good film", "bad film", "fine film", "awful film"};
static const char *const few_names[] = {"pos", "neg", "pos", "neg"};

/* transformers' schedule without a warm-up: one step with the whole rate. */
static void a_plan_of_one_step_trains(void)
{
    bert_dataset *data = named(4, few_texts, few_names);
    bert_model_options small = small_options();
    for (int kind = 0; kind < 4; kind++) {
        bert_model *model = create(&small, data), *before = create(&small, data);
        bert_train_options options = train_options();
        options.epochs = 1;
        options.learning_rate = 1e-3;
        options.batch_size = kind == 1 ? 1000 : kind == 2 ? 1 : 4;
        options.gradient_accumulation_steps = kind == 2 ? 9 : 1;
        options.schedule = kind == 3 ? BERT_SCHEDULE_CONSTANT : BERT_SCHEDULE_LINEAR;
        seen.count = 0;
        bert_trainer *trainer = trainer_of(model, data, NULL, &options);
        SILENT("warmup_steps");
        bert_step_report report;
        CHECK_OK(bert_step_report_init(&report, sizeof(report)));
        CHECK_OK(bert_train_step(trainer, &report));
        CHECK_EQUAL(report.total_steps, 1);
        CHECK(report.learning_rate == 1e-3);
        CHECK(!are_equal(model, before));
        bert_trainer_free(trainer);
        /* A number of steps that the caller sets stays, and is told. */
        options.warmup_steps = 5;
        trainer = trainer_of(model, data, NULL, &options);
        WARNED("warmup_steps is 5, and the plan has 1 step: the learning rate never reaches 0.001, and the only step");
        CHECK_OK(bert_train_step(trainer, &report));
        CHECK(report.learning_rate == 0);
        bert_trainer_free(trainer);
        bert_free(before);
        bert_free(model);
    }
    bert_model *model = create(&small, data);
    bert_train_options options = train_options();
    options.learning_rate = 0;
    bert_trainer *trainer = trainer_of(model, data, NULL, &options);
    WARNED("learning_rate is 0");
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(data);
}

static void the_plan_is_looked_at(const bert_dataset *data)
{
    bert_model *fresh = small_model(), *model = loaded_of(fresh), *adapted = NULL;
    bert_train_options options = train_options();
    options.learning_rate = 1e-3;
    options.epochs = 3;
    seen.count = 0;
    bert_trainer_free(trainer_of(fresh, data, NULL, &options));
    SILENT("learning_rate is");
    SILENT("The plan has");
    bert_trainer_free(trainer_of(model, data, NULL, &options));
    WARNED("learning_rate is 0.001, and the encoder was loaded");
    WARNED("fine-tuning an encoder that was loaded needs 100 and more");
    seen.count = 0;
    options.learning_rate = 2e-4;
    options.epochs = -1;
    bert_trainer_free(trainer_of(model, data, NULL, &options));
    SILENT("learning_rate is");
    SILENT("The plan has");
    /* Adapters take higher rates. */
    bert_lora_options lora;
    CHECK_OK(bert_lora_options_init(&lora, sizeof(lora)));
    CHECK_OK(bert_add_lora(model, &lora, &adapted));
    options.learning_rate = 1e-3;
    bert_trainer_free(trainer_of(adapted, data, NULL, &options));
    SILENT("learning_rate is");
    bert_free(adapted);
    bert_free(model);
    bert_free(fresh);
}

static void the_data_are_looked_at(void)
{
    bert_dataset *train = NULL, *validation = NULL;
    CHECK_OK(bert_dataset_create(&train));
    CHECK_OK(bert_dataset_create(&validation));
    char text[64];
    for (int i = 0; i < 60; i++) {
        snprintf(text, sizeof(text), "text number %d of many", i);
        CHECK_OK(bert_dataset_add_class(train, text, NUL, NULL, 0, i % 15 == 0 ? "rare" : "often", NUL));
    }
    CHECK_OK(bert_dataset_add_class(train, " ", NUL, NULL, 0, "often", NUL));
    CHECK_OK(bert_dataset_add_class(train, "text number 1 of many", NUL, NULL, 0, "rare", NUL));
    CHECK_OK(bert_dataset_add_class(validation, "text number 1 of many", NUL, NULL, 0, "often", NUL));
    CHECK_OK(bert_dataset_add_class(validation, "something new", NUL, NULL, 0, "often", NUL));
    static const char *const names[] = {"often", "rare", "unseen"};
    bert_model_options small = small_options();
    small.label_names = names;
    small.num_label_names = 3;
    bert_model *model = create(&small, train);
    seen.count = 0;
    bert_trainer_free(trainer_of(model, train, validation, NULL));
    WARNED("The label 'unseen' has no training example");
    WARNED("The label 'rare' has 5 of 62 training examples, 8.1 %, and the most frequent label 57");
    WARNED("1 of 62 training texts are empty");
    WARNED("1 training examples have the text of an earlier example and another label, the first of them example 62 with "
           "the text of example 2, 'text number 1 of many'");
    WARNED("The label 'rare' has no validation example");
    WARNED("1 of 2 validation texts are training texts too");
    SILENT("All validation texts");
    seen.count = 0;
    bert_trainer_free(trainer_of(model, train, train, NULL));
    WARNED("All validation texts are training texts too");
    SILENT("validation example;");
    /* Nothing is said of data that are as they should be. */
    bert_dataset *toy_train = toy(BERT_TOY_TRAIN), *toy_validation = toy(BERT_TOY_VALIDATION);
    bert_model *plain = small_model();
    seen.count = 0;
    bert_trainer_free(trainer_of(plain, toy_train, toy_validation, NULL));
    CHECK_EQUAL(told(BERT_LOG_WARNING, ""), 0);
    bert_free(plain);
    bert_dataset_free(toy_train);
    bert_dataset_free(toy_validation);
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

static void an_evaluation_is_looked_at(void)
{
    bert_dataset *data = named(4, few_texts, few_names);
    bert_model_options small = small_options();
    bert_model *model = create(&small, data);
    bert_evaluation e;
    /* A new model answers one class for these texts. */
    CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
    seen.count = 0;
    CHECK_OK(bert_evaluate(model, data, 0, &e));
    if (e.accuracy == 0.5 && e.matthews == 0) {
        CHECK_EQUAL(told(BERT_LOG_WARNING, "is never predicted"), 1);
        WARNED("The accuracy on 4 examples, 0.5000, is no better than that of always answering");
    }
    bert_train_options options = train_options();
    options.epochs = 60;
    options.learning_rate = 1e-2;
    bert_trainer *trainer = trainer_of(model, data, data, &options);
    seen.count = 0;
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);
    CHECK_OK(bert_evaluate(model, data, 0, &e));
    CHECK(e.accuracy == 1);
    SILENT("never predicted");
    SILENT("no better");
    /* All right is all right, also where it is the last evaluation. */
    SILENT("The best evaluation");
    bert_free(model);
    /* With the loss as the metric, a run that is too short ends with its best evaluation. */
    model = create(&small, data);
    options.epochs = 5;
    options.learning_rate = 1e-4;
    options.metric = BERT_METRIC_LOSS;
    trainer = trainer_of(model, data, data, &options);
    bert_train_report report = report_init();
    CHECK_OK(bert_train(trainer, &report));
    CHECK_EQUAL(report.best_step, 5);
    WARNED("The best evaluation was the last one");
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(data);
}

static void a_loss_that_rises_is_told(void)
{
    bert_dataset *data = named(4, few_texts, few_names);
    bert_model_options small = small_options();
    bert_model *model = create(&small, data);
    bert_train_options options = train_options();
    options.learning_rate = 5;
    options.epochs = 10;
    options.batch_size = 2;
    bert_trainer *trainer = trainer_of(model, data, NULL, &options);
    seen.count = 0;
    CHECK_OK(bert_train(trainer, NULL));
    WARNED("it diverges. Train with a lower learning_rate (now 5)");
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(data);
}

/* Positions are the 99th percentile of the tokens, rounded up to 16, from 32 to 512. */
static void positions_follow_the_texts(void)
{
    static const struct {
        int words, others, positions;
    } cases[] = {
        /* 100 texts: all but one count. [CLS] and [SEP] are tokens. */
        {3, 3, 32}, {30, 30, 32}, {31, 31, 48}, {46, 46, 48}, {47, 47, 64}, {3, 400, 32}, {510, 510, 512}, {900, 900,
            512},
    };
    char *text = malloc(4096);
    CHECK(text != NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bert_dataset *data = NULL;
        CHECK_OK(bert_dataset_create(&data));
        for (int t = 0; t < 100; t++) {
            int words = t == 50 ? cases[i].others : cases[i].words;
            for (int w = 0; w < words; w++) {
                memcpy(text + 2 * w, "a ", 2);
            }
            CHECK_OK(bert_dataset_add_class(data, text, (size_t)(2 * words), NULL, 0, t % 2 ? "x" : "y", NUL));
        }
        bert_model_options options = small_options();
        options.max_position_embeddings = -1;
        seen.count = 0;
        bert_model *model = create(&options, data);
        CHECK_EQUAL(info_of(model).max_position_embeddings, cases[i].positions);
        CHECK_EQUAL(told(BERT_LOG_INFO, "max_position_embeddings"), 1);
        bert_trainer *trainer = trainer_of(model, data, NULL, NULL);
        if (cases[i].others == 400) {
            WARNED("1 of 100 training texts are longer than the maximum length of 32 tokens and are cut. In tokens, the "
                   "median of all is 5, 95 % have at most 5, and the longest has 402.");
        } else if (cases[i].words == 900) {
            WARNED("100 of 100 training texts are longer than the maximum length of 512 tokens and are cut.");
        } else {
            SILENT("are cut");
        }
        bert_trainer_free(trainer);
        /* A number that is set stays, and the other initial values are the same whatever it is. */
        options.max_position_embeddings = 40;
        bert_model *set = create(&options, data);
        CHECK_EQUAL(info_of(set).max_position_embeddings, 40);
        bert_free(set);
        bert_free(model);
        bert_dataset_free(data);
    }
    free(text);
}

static void the_report_counts_what_was_cut(void)
{
    static const char *const texts[] = {"a b c d e f", "a b", "a b c d e", "a"};
    bert_dataset *train = named(4, texts, few_names), *validation = named(2, texts, few_names);
    bert_model_options small = small_options();
    bert_model *model = create(&small, train);
    bert_train_options options = train_options();
    options.epochs = 1;
    options.max_length = 6;
    bert_trainer *trainer = trainer_of(model, train, validation, &options);
    bert_train_report report = report_init();
    CHECK_OK(bert_train(trainer, &report));
    CHECK_EQUAL(report.train_texts_cut, 2);
    CHECK_EQUAL(report.validation_texts_cut, 1);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

static void targets_that_float32_cannot_hold_are_told(void)
{
    bert_dataset *data = NULL;
    const float huge[] = {3e38f, -3e38f}, large[] = {2e6f, 5e6f};
    CHECK_OK(bert_dataset_create(&data));
    CHECK_OK(bert_dataset_add_targets(data, 2, few_texts, NULL, NULL, NULL, huge, 1));
    bert_model_options small = small_options();
    bert_model *model = create(&small, data);
    seen.count = 0;
    bert_trainer_free(trainer_of(model, data, NULL, NULL));
    WARNED("The numbers of the target 'LABEL_0' are too large or too small to be scaled");
    bert_dataset_free(data);
    CHECK_OK(bert_dataset_create(&data));
    CHECK_OK(bert_dataset_add_targets(data, 2, few_texts, NULL, NULL, NULL, large, 1));
    seen.count = 0;
    bert_trainer_free(trainer_of(model, data, NULL, NULL));
    SILENT("to be scaled");
    /* A new head answers about 0. */
    bert_evaluation e;
    CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
    CHECK_OK(bert_evaluate(model, data, 0, &e));
    WARNED("is no better than that of always answering the targets' mean");
    bert_free(model);
    bert_dataset_free(data);
}

int main(void)
{
    CHECK_OK(bert_set_log_callback(keep, NULL));
    bert_dataset *data = toy(BERT_TOY_TRAIN);
    a_new_model_has_the_numbers_of_one(data);
    a_loaded_encoder_is_fine_tuned(data);
    a_checkpoint_keeps_the_numbers_of_its_run(data);
    a_plan_of_one_step_trains();
    the_plan_is_looked_at(data);
    the_data_are_looked_at();
    an_evaluation_is_looked_at();
    a_loss_that_rises_is_told();
    positions_follow_the_texts();
    the_report_counts_what_was_cut();
    targets_that_float32_cannot_hold_are_told();
    bert_dataset_free(data);
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    return 0;
}
