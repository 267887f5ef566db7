/* Training step by step: reports, schedules, seeds, accumulation, clipping, a loss that isn't finite, the history. */

#include "check.h"

#define STEPS 24

static bert_step_report step(bert_trainer *trainer)
{
    bert_step_report report;
    CHECK_OK(bert_step_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train_step(trainer, &report));
    return report;
}

static void defaults_are_documented(void)
{
    bert_train_options o = train_options();
    CHECK(o.seed == 42 && o.epochs == -1 && o.batch_size == -1 && o.gradient_accumulation_steps == 1);
    CHECK(o.max_length == 0 && o.learning_rate == -1 && o.weight_decay == 0.01);
    CHECK(o.adam_beta1 == 0.9 && o.adam_beta2 == 0.999 && o.adam_epsilon == 1e-8 && o.max_grad_norm == 1);
    CHECK(o.schedule == BERT_SCHEDULE_LINEAR && o.group_by_length == 1);
    CHECK(o.warmup_steps == 0 && o.warmup_ratio == 0.1 && o.eval_steps == 0);
    CHECK(o.metric == BERT_METRIC_AUTO && o.threshold == -1 && o.restore_best == 1 && o.early_stopping_patience == 0);
    CHECK(o.best_model_path == NULL && o.history_path == NULL && o.progress == NULL &&
          o.progress_user_data == NULL);
}

/* 16 examples in batches of 6 are three steps an epoch, the last one of 4. */
static void steps_are_counted(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_train_options options = train_options();
    options.epochs = 3;
    options.batch_size = 6;
    options.group_by_length = 0;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    int64_t tokens = 0, tokens_of_epoch = 0;
    for (int i = 0; i < 5; i++) {
        bert_step_report report = step(trainer);
        CHECK_EQUAL(report.step, i + 1);
        CHECK_EQUAL(report.total_steps, 9);
        CHECK_EQUAL(report.epoch, 1 + i / 3);
        CHECK_EQUAL(report.examples, i % 3 == 2 ? 4 : 6);
        CHECK(report.tokens >= 3 * report.examples);
        CHECK(report.loss > 0 && report.grad_norm > 0 && report.seconds > 0);
        tokens += report.tokens;
        if (i == 2) {
            tokens_of_epoch = tokens;
        }
    }
    /* The epoch's report holds its steps whichever call made them. */
    bert_epoch_report epoch;
    CHECK_OK(bert_epoch_report_init(&epoch, sizeof(epoch)));
    CHECK_OK(bert_train_epoch(trainer, &epoch));
    CHECK_EQUAL(epoch.epoch, 2);
    CHECK_EQUAL(epoch.step, 6);
    CHECK_EQUAL(epoch.examples, 16);
    CHECK_EQUAL(epoch.tokens, tokens_of_epoch);
    CHECK(epoch.accuracy >= 0 && epoch.accuracy <= 1 && fmod(epoch.accuracy * 16, 1) == 0);
    CHECK(epoch.loss > 0 && epoch.seconds > 0);
    CHECK_OK(bert_train_epoch(trainer, &epoch));
    CHECK_EQUAL(epoch.epoch, 3);
    CHECK_EQUAL(epoch.step, 9);
    CHECK_EQUAL(epoch.examples, 16);

    bert_step_report untouched;
    CHECK_OK(bert_step_report_init(&untouched, sizeof(untouched)));
    untouched.step = 77;
    CHECK_STATUS(bert_train_step(trainer, &untouched), BERT_ERR_FINISHED);
    CHECK_MESSAGE("3");
    CHECK_EQUAL(untouched.step, 77);
    CHECK_STATUS(bert_train_epoch(trainer, NULL), BERT_ERR_FINISHED);
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
}

/* As transformers' get_*_schedule_with_warmup: the first step's rate is 0. */
static double expected_factor(int32_t schedule, double at, double warmup, double total)
{
    if (at < warmup) {
        return at / warmup;
    }
    double progress = (at - warmup) / (total - warmup);
    switch (schedule) {
    case BERT_SCHEDULE_CONSTANT:
        return 1;
    case BERT_SCHEDULE_LINEAR:
        return 1 - progress;
    default:
        return 0.5 * (1 + cos(acos(-1.0) * progress));
    }
}

static void learning_rates_follow_the_schedule(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    for (int32_t schedule = 0; schedule < 3; schedule++) {
        for (int by_ratio = 0; by_ratio < 2; by_ratio++) {
            bert_model *model = small_model();
            bert_train_options options = train_options();
            options.batch_size = 4;
            options.epochs = STEPS / 4;
            options.learning_rate = 2e-3;
            options.schedule = schedule;
            /* A tenth of 24 steps, rounded up, is 3. */
            options.warmup_steps = by_ratio ? 0 : 5;
            int warmup = by_ratio ? 3 : 5;
            bert_trainer *trainer = trainer_of(model, train, NULL, &options);
            for (int i = 0; i < STEPS; i++) {
                bert_step_report report = step(trainer);
                CHECK_EQUAL(report.total_steps, STEPS);
                CHECK_NEAR(report.learning_rate, 2e-3 * expected_factor(schedule, i, warmup, STEPS), 1e-15);
                if (i == 0) {
                    CHECK(report.learning_rate == 0);
                }
            }
            bert_trainer_free(trainer);
            bert_free(model);
        }
    }
    bert_dataset_free(train);
}

/* Whether two models answer alike. A saved model also says whether it was trained, so that files would differ. */
static int answer_alike(const bert_model *a, const bert_model *b)
{
    static const char *const texts[] = {"a great film", "terrible food and rude staff", "we loved it", ""};
    float first[8] = {0}, second[8] = {0};
    int same = 1;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        logits_of(a, texts[i], first);
        logits_of(b, texts[i], second);
        same = same && memcmp(first, second, sizeof(first)) == 0;
    }
    return same;
}

/* With a rate of 0 the first step changes nothing. */
static void the_first_step_of_a_warmup_changes_nothing(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model(), *untrained = small_model();
    bert_trainer *trainer = trainer_of(model, train, NULL, NULL);
    CHECK(step(trainer).learning_rate == 0);
    CHECK(answer_alike(model, untrained));
    step(trainer);
    CHECK(!answer_alike(model, untrained));
    bert_trainer_free(trainer);
    bert_free(model);
    bert_free(untrained);
    bert_dataset_free(train);
}

/* Trains the compact preset, dropout and all, for some steps, and gives the model as bytes. */
static saved trained(uint64_t seed, int with_steps, double *first, double *last)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = create(NULL, train);
    bert_train_options options = train_options();
    options.seed = seed;
    options.epochs = 6;
    options.batch_size = 8;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    bert_dataset_free(train);
    bert_epoch_report report;
    CHECK_OK(bert_epoch_report_init(&report, sizeof(report)));
    for (int epoch = 0; epoch < 6; epoch++) {
        if (with_steps) {
            step(trainer);
            step(trainer);
            continue;
        }
        CHECK_OK(bert_train_epoch(trainer, &report));
        *(epoch == 0 ? first : last) = report.loss;
    }
    saved bytes = save(model);
    bert_trainer_free(trainer);
    bert_free(model);
    return bytes;
}

static void the_same_seed_gives_the_same_weights(void)
{
    double first = 0, last = 0, other_first = 0, other_last = 0;
    saved one = trained(5, 0, &first, &last);
    saved two = trained(5, 0, &other_first, &other_last);
    CHECK(is_same(one, two));
    CHECK(first == other_first && last == other_last);
    CHECK(last < first);
    /* Whether steps or epochs are asked for makes no difference. */
    saved by_steps = trained(5, 1, NULL, NULL);
    CHECK(is_same(one, by_steps));
    saved other = trained(6, 0, &other_first, &other_last);
    CHECK(!is_same(one, other));
    release(one);
    release(two);
    release(by_steps);
    release(other);
}

static void the_loss_falls_to_nearly_nothing(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_train_options options = train_options();
    options.epochs = 60;
    options.learning_rate = 1e-2;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    bert_train_report report;
    CHECK_OK(bert_train_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train(trainer, &report));
    CHECK(report.loss < 0.05);
    CHECK(report.accuracy == 1);
    CHECK_EQUAL(report.epochs, 60);
    CHECK_EQUAL(report.steps, 60);
    CHECK_EQUAL(report.stop_reason, BERT_STOP_FINISHED);
    CHECK(isnan(report.best_metric));
    CHECK_EQUAL(report.best_step, 0);
    CHECK_EQUAL(report.restored_best, 0);
    CHECK(report.tokens > 0 && report.seconds > 0);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
}

/* Without dropout, two batches of 4 in one step are one batch of 8: every example weighs the same. Also where the
 * window's last batch is short: 13 examples are 8 and 5, or 4+4 and 4+1. */
static void accumulated_batches_are_one_large_one(void)
{
    static const char *const texts[] = {"a b", "c", "d e f g", "h i", "j", "k l m", "n",
                                        "o p", "q r s", "t", "u v", "w x y", "z a b c d e"};
    static const char *const names[] = {"x", "y", "x", "x", "y", "y", "x", "x", "y", "y", "x", "y", "x"};
    bert_dataset *train = named(13, texts, names);
    bert_model_options model_options = small_options();
    double losses[2][10], norms[2][10];
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        bert_model *model = create(&model_options, train);
        bert_train_options options = train_options();
        options.epochs = 5;
        options.batch_size = accumulate ? 4 : 8;
        options.gradient_accumulation_steps = accumulate ? 2 : 1;
        options.group_by_length = 0;
        bert_trainer *trainer = trainer_of(model, train, NULL, &options);
        for (int i = 0; i < 10; i++) {
            bert_step_report report = step(trainer);
            CHECK_EQUAL(report.total_steps, 10);
            CHECK_EQUAL(report.examples, i % 2 == 0 ? 8 : 5);
            losses[accumulate][i] = report.loss;
            norms[accumulate][i] = report.grad_norm;
        }
        CHECK_STATUS(bert_train_step(trainer, NULL), BERT_ERR_FINISHED);
        bert_trainer_free(trainer);
        bert_free(model);
    }
    for (int i = 0; i < 10; i++) {
        CHECK_NEAR(losses[1][i], losses[0][i], 1e-4);
        CHECK_NEAR(norms[1][i], norms[0][i], 1e-3 * norms[0][i]);
    }
    bert_dataset_free(train);
}

/* Clipping shows in the weights and not in the norm that is reported. A norm clipped to nearly nothing moves AdamW's
 * weights nearly as much, since it divides by the gradients' size; so a large epsilon makes it a plain descent. */
static void gradients_are_clipped(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    static const double limits[] = {0, 1e6, 1e-6};
    double norms[3];
    saved models[3];
    for (int i = 0; i < 3; i++) {
        bert_model *model = small_model();
        bert_train_options options = train_options();
        options.max_grad_norm = limits[i];
        options.weight_decay = 0;
        options.adam_epsilon = 1;
        options.warmup_ratio = 0;
        bert_trainer *trainer = trainer_of(model, train, NULL, &options);
        norms[i] = step(trainer).grad_norm;
        models[i] = save(model);
        bert_trainer_free(trainer);
        bert_free(model);
    }
    CHECK(norms[0] == norms[1] && norms[0] == norms[2] && norms[0] > 1e-3);
    CHECK(is_same(models[0], models[1]));
    CHECK(!is_same(models[0], models[2]));
    for (int i = 0; i < 3; i++) {
        release(models[i]);
    }
    bert_dataset_free(train);
}

/* Rates of 10 blow the weights up until the loss overflows: the model keeps those of the last good step. */
static void a_loss_that_is_not_finite_stops_training(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options model_options = small_options();
    model_options.initializer_range = 1;
    model_options.hidden_act = BERT_ACT_RELU;
    model_options.num_hidden_layers = 4;
    bert_model *model = create(&model_options, train);
    bert_train_options options = train_options();
    options.epochs = 1000000;
    options.learning_rate = 10;
    options.weight_decay = 10;
    options.schedule = BERT_SCHEDULE_CONSTANT;
    options.max_grad_norm = 0;
    options.warmup_ratio = 0;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    saved last_good = save(model);
    bert_status status = BERT_OK;
    int steps = 0;
    for (; steps < 400 && status == BERT_OK; steps++) {
        release(last_good);
        last_good = save(model);
        status = bert_train_step(trainer, NULL);
    }
    CHECK_STATUS(status, BERT_ERR_NOT_FINITE);
    CHECK_MESSAGE("learning_rate");
    saved now = save(model);
    CHECK(is_same(now, last_good));
    release(now);
    /* The model still answers, and the trainer may go on with the batches that follow. */
    bert_prediction prediction;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    bert_status predicted = bert_predict(model, "a great film", NUL, NULL, 0, NULL, &prediction);
    CHECK(predicted == BERT_OK || predicted == BERT_ERR_NOT_FINITE);
    status = bert_train_step(trainer, NULL);
    CHECK(status == BERT_OK || status == BERT_ERR_NOT_FINITE);
    if (status == BERT_ERR_NOT_FINITE) {
        now = save(model);
        CHECK(is_same(now, last_good));
        release(now);
    }
    release(last_good);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
}

/* How often a text occurs in another. */
static int occurrences(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

static void the_history_has_a_line_for_each_event(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = toy(BERT_TOY_VALIDATION);
    bert_model *model = small_model();
    bert_train_options options = train_options();
    options.epochs = 3;
    options.batch_size = 8;
    options.history_path = "history.jsonl";
    write_text("history.jsonl", "what an older run left\n");
    bert_trainer *trainer = trainer_of(model, train, validation, &options);
    bert_step_report first = step(trainer);
    /* A line is there as soon as its step is made. */
    char *text = read_bytes("history.jsonl", NULL);
    CHECK(text != NULL && occurrences(text, "\n") == 1);
    free(text);
    CHECK_OK(bert_train(trainer, NULL));
    text = read_bytes("history.jsonl", NULL);
    CHECK_EQUAL(occurrences(text, "\n"), 6 + 3);
    CHECK_EQUAL(occurrences(text, "\"event\":\"step\""), 6);
    CHECK_EQUAL(occurrences(text, "\"event\":\"evaluation\""), 3);
    CHECK_EQUAL(occurrences(text, "\"learning_rate\":"), 6);
    CHECK_EQUAL(occurrences(text, "\"grad_norm\":"), 6);
    CHECK_EQUAL(occurrences(text, "\"f1_macro\":"), 3);
    CHECK_EQUAL(occurrences(text, "older"), 0);
    int place = 0;
    for (char *line = text; *line != 0; place++) {
        char *end = strchr(line, '\n');
        CHECK(end != NULL && line[0] == '{' && end[-1] == '}');
        /* Two steps, then the evaluation of that epoch. */
        CHECK((strncmp(line, "{\"event\":\"evaluation\"", 21) == 0) == (place % 3 == 2));
        int number = atoi(strstr(line, "\"step\":") + 7);
        CHECK_EQUAL(number, place - place / 3 + (place % 3 == 2 ? 0 : 1));
        line = end + 1;
    }
    char *loss = strstr(text, "\"loss\":");
    CHECK(loss != NULL && strtod(loss + 7, NULL) == first.loss);
    free(text);
    bert_trainer_free(trainer);

    bert_trainer *none = NULL;
    options.history_path = "absent/history.jsonl";
    CHECK_STATUS(bert_trainer_create(model, train, NULL, &options, &none), BERT_ERR_IO);
    CHECK_MESSAGE("absent/history.jsonl");
    CHECK(none == NULL);
    /* A history that can't be written is told; the step is made all the same. */
    options.history_path = "/dev/full";
    trainer = trainer_of(model, train, NULL, &options);
    CHECK_STATUS(bert_train_step(trainer, NULL), BERT_ERR_IO);
    CHECK_MESSAGE("/dev/full");
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

#define REFUSES(change, expected, message)                                                         \
    do {                                                                                           \
        bert_train_options options = train_options();                                              \
        bert_trainer *trainer = NULL;                                                              \
        change;                                                                                    \
        CHECK_STATUS(bert_trainer_create(model, train, NULL, &options, &trainer), expected);       \
        CHECK_MESSAGE(message);                                                                    \
        CHECK(trainer == NULL);                                                                    \
    } while (0)

static void impossible_options_are_refused(void)
{
    const bert_status wrong = BERT_ERR_INVALID_ARGUMENT;
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    REFUSES(options.epochs = 0, wrong, "epochs is 0");
    REFUSES(options.epochs = -2, wrong, "epochs is -2; it must be between 1 and 1000000, or -1");
    REFUSES(options.epochs = INT32_MAX, wrong, "epochs is 2147483647");
    REFUSES(options.batch_size = 0, wrong, "batch_size is 0");
    REFUSES(options.batch_size = -8, wrong, "batch_size is -8");
    REFUSES(options.gradient_accumulation_steps = 0, wrong, "gradient_accumulation_steps is 0");
    REFUSES(options.max_length = 33, wrong, "max_length is 33");
    REFUSES(options.max_length = -1, wrong, "max_length is -1");
    REFUSES(options.max_length = 3, wrong, "max_length is 3");
    REFUSES(options.learning_rate = NAN, wrong, "learning_rate is NaN");
    REFUSES(options.learning_rate = -1e-3, wrong, "learning_rate is -0.001");
    REFUSES(options.learning_rate = INFINITY, wrong, "learning_rate is inf");
    REFUSES(options.weight_decay = -0.1, wrong, "weight_decay is -0.1");
    REFUSES(options.weight_decay = NAN, wrong, "weight_decay is NaN");
    REFUSES(options.adam_beta1 = 1, wrong, "adam_beta1 is 1");
    REFUSES(options.adam_beta2 = NAN, wrong, "adam_beta2 is NaN");
    REFUSES(options.adam_epsilon = 0, wrong, "adam_epsilon is 0");
    REFUSES(options.max_grad_norm = -1, wrong, "max_grad_norm is -1");
    REFUSES(options.max_grad_norm = NAN, wrong, "max_grad_norm is NaN");
    REFUSES(options.schedule = 3, wrong, "schedule is 3");
    REFUSES(options.group_by_length = 2, wrong, "group_by_length is 2");
    REFUSES(options.warmup_steps = -1, wrong, "warmup_steps is -1");
    REFUSES(options.warmup_ratio = 1.5, wrong, "warmup_ratio is 1.5");
    REFUSES(options.warmup_ratio = NAN, wrong, "warmup_ratio is NaN");
    REFUSES(options.eval_steps = -1, wrong, "eval_steps is -1");
    REFUSES(options.metric = 9, wrong, "metric is 9");
    REFUSES(options.metric = BERT_METRIC_SPEARMAN, wrong, "Spearman");
    REFUSES(options.restore_best = -1, wrong, "restore_best is -1");
    REFUSES(options.early_stopping_patience = -1, wrong, "early_stopping_patience is -1");
    bert_dataset *whole = train;
    CHECK_OK(bert_dataset_create(&train));
    REFUSES((void)options, BERT_ERR_DATA, "empty");
    CHECK_OK(bert_dataset_add_class(train, "x", NUL, NULL, 0, "positive", NUL));
    REFUSES((void)options, BERT_ERR_DATA, "'positive'");
    CHECK_OK(bert_dataset_add_class(train, "x", NUL, NULL, 0, "neutral", NUL));
    REFUSES((void)options, BERT_ERR_UNKNOWN_LABEL, "'neutral'");
    /* The validation data is held to the same; of one class it may be. */
    bert_trainer *trainer = NULL;
    CHECK_STATUS(bert_trainer_create(model, whole, train, NULL, &trainer), BERT_ERR_UNKNOWN_LABEL);
    CHECK_STATUS(bert_trainer_create(model, whole, NULL, NULL, NULL), wrong);
    CHECK(trainer == NULL);
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(whole);
}

int main(void)
{
    defaults_are_documented();
    steps_are_counted();
    learning_rates_follow_the_schedule();
    the_first_step_of_a_warmup_changes_nothing();
    the_same_seed_gives_the_same_weights();
    the_loss_falls_to_nearly_nothing();
    accumulated_batches_are_one_large_one();
    gradients_are_clipped();
    a_loss_that_is_not_finite_stops_training();
    the_history_has_a_line_for_each_event();
    impossible_options_are_refused();
    return 0;
}
