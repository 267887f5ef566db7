/* The reports of training calls that fail: bert_train and bert_train_epoch tell how far they came, whatever ended them,
 * and write nothing where no step was made. */

#define _DEFAULT_SOURCE

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static bert_dataset *train, *validation;

/* 16 examples, four steps an epoch. */
enum { EXAMPLES = 16, BATCH = 4, STEPS = 4, EPOCHS = 3 };

typedef struct {
    bert_trainer *trainer;
    /* The step at which it stops the run, or has it stopped, and how. */
    int64_t at;
    enum { ANSWER, CANCEL, CANCEL_FROM_ANOTHER_THREAD, REMOVE } how;
    int64_t last;
    double losses;
} watch;

static void *cancels(void *trainer)
{
    bert_trainer_cancel(trainer);
    return NULL;
}

static int32_t on_progress(const bert_progress *progress, void *user_data)
{
    watch *w = user_data;
    if (progress->event == BERT_EVENT_STEP) {
        w->last = progress->step;
        /* All batches have as many examples. */
        w->losses += progress->loss;
    }
    if (progress->step != w->at || progress->event != BERT_EVENT_STEP) {
        return 0;
    }
    pthread_t thread;
    switch (w->how) {
    case ANSWER:
        return 1;
    case CANCEL:
        bert_trainer_cancel(w->trainer);
        break;
    case REMOVE:
        /* Of a checkpoint's directory the trainer has made a part. */
        rmdir("gone/checkpoints");
        CHECK(rmdir("gone") == 0);
        break;
    default:
        CHECK(pthread_create(&thread, NULL, cancels, w->trainer) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    return 0;
}

static bert_train_options options_for(watch *w)
{
    bert_train_options options = train_options();
    options.epochs = EPOCHS;
    options.batch_size = BATCH;
    options.progress = w == NULL ? NULL : on_progress;
    options.progress_user_data = w;
    return options;
}

static bert_epoch_report epoch_report_init(void)
{
    bert_epoch_report report;
    CHECK_OK(bert_epoch_report_init(&report, sizeof(report)));
    return report;
}

/* A report in which each byte behind the size is known. */
static bert_train_report marked_run(void)
{
    bert_train_report report = report_init();
    memset((char *)&report + sizeof(size_t), 0x5a, sizeof(report) - sizeof(size_t));
    return report;
}

static bert_epoch_report marked_epoch(void)
{
    bert_epoch_report report = epoch_report_init();
    memset((char *)&report + sizeof(size_t), 0x5a, sizeof(report) - sizeof(size_t));
    return report;
}

static void check_untouched_run(const bert_train_report *report)
{
    bert_train_report marked = marked_run();
    CHECK(memcmp(report, &marked, sizeof(marked)) == 0);
}

static void check_untouched_epoch(const bert_epoch_report *report)
{
    bert_epoch_report marked = marked_epoch();
    CHECK(memcmp(report, &marked, sizeof(marked)) == 0);
}

/* What a run's report says after so many steps of equal batches, the first ones of its call. */
static void check_run(const bert_train_report *report, int64_t steps, bert_stop_reason reason)
{
    CHECK_EQUAL(report->struct_size, sizeof(*report));
    CHECK_EQUAL(report->steps, steps);
    CHECK_EQUAL(report->epochs, steps / STEPS);
    CHECK_EQUAL(report->stop_reason, reason);
    CHECK_EQUAL(report->restored_best, 0);
    CHECK_EQUAL(report->reserved, 0);
    CHECK_EQUAL(report->resumed_step, 0);
    CHECK(report->loss > 0 && report->accuracy >= 0 && report->accuracy <= 1);
    CHECK(report->tokens > 0 && report->seconds > 0);
}

static void check_epoch(const bert_epoch_report *report, int32_t epoch, int64_t step, int64_t examples)
{
    CHECK_EQUAL(report->struct_size, sizeof(*report));
    CHECK_EQUAL(report->epoch, epoch);
    CHECK_EQUAL(report->reserved, 0);
    CHECK_EQUAL(report->step, step);
    CHECK_EQUAL(report->examples, examples);
    CHECK(report->loss > 0 && report->accuracy >= 0 && report->accuracy <= 1);
    CHECK(report->tokens > 0 && report->seconds > 0 && report->learning_rate >= 0);
}

/* ---- Cancelled ------------------------------------------------------------------------------------------------------- */

static void a_cancelled_run_reports(void)
{
    bert_epoch_report epoch = epoch_report_init();
    bert_model *measured = small_model();
    bert_trainer *measures = trainer_of(measured, train, NULL, NULL);
    CHECK_OK(bert_train_epoch(measures, &epoch));
    int64_t tokens_of_an_epoch = epoch.tokens;
    CHECK_OK(bert_trainer_close(measures));
    bert_free(measured);
    for (int how = ANSWER; how <= CANCEL_FROM_ANOTHER_THREAD; how++) {
        /* In the first epoch, in the second, at an epoch's end. */
        static const int64_t places[] = {1, STEPS + 2, 2 * STEPS};
        for (size_t i = 0; i < COUNT_OF(places); i++) {
            bert_model *model = small_model();
            watch w = {.at = places[i], .how = how};
            bert_train_options options = options_for(&w);
            w.trainer = trainer_of(model, train, validation, &options);
            bert_train_report report = marked_run();
            CHECK_STATUS(bert_train(w.trainer, &report), BERT_ERR_CANCELLED);
            /* On a GPU a step may be under way that isn't told of, but never one behind an epoch's end. */
            int under_way = !is_on_cpu(model) && how == ANSWER && places[i] % STEPS != 0;
            check_run(&report, places[i] + under_way, BERT_STOP_CANCELLED);
            CHECK(report.best_step <= places[i]);
            CHECK((report.best_step == 0) == (isnan(report.best_metric) != 0));
            /* The next call's is of the whole run, but for what is that call's. */
            int64_t tokens = report.tokens;
            w.at = 0;
            CHECK_OK(bert_train(w.trainer, &report));
            CHECK_EQUAL(report.steps, EPOCHS * STEPS);
            CHECK_EQUAL(report.stop_reason, BERT_STOP_FINISHED);
            CHECK_EQUAL(report.epochs, EPOCHS);
            CHECK(report.best_step > 0);
            /* Both calls together have trained on all. */
            CHECK_EQUAL(tokens + report.tokens, EPOCHS * tokens_of_an_epoch);
            CHECK_OK(bert_trainer_close(w.trainer));
            bert_free(model);
        }
    }
}

static void a_cancelled_epoch_reports(void)
{
    for (int how = ANSWER; how <= CANCEL_FROM_ANOTHER_THREAD; how++) {
        bert_model *model = small_model();
        watch w = {.at = STEPS + 3, .how = how};
        bert_train_options options = options_for(&w);
        w.trainer = trainer_of(model, train, NULL, &options);
        bert_epoch_report report = marked_epoch();
        CHECK_OK(bert_train_epoch(w.trainer, &report));
        check_epoch(&report, 1, STEPS, EXAMPLES);
        CHECK_NEAR(report.loss, w.losses / STEPS, 1e-6);
        report = marked_epoch();
        w.losses = 0;
        CHECK_STATUS(bert_train_epoch(w.trainer, &report), BERT_ERR_CANCELLED);
        int under_way = !is_on_cpu(model) && how == ANSWER;
        check_epoch(&report, 2, STEPS + 3 + under_way, (3 + under_way) * BATCH);
        if (!under_way) {
            CHECK_NEAR(report.loss, w.losses / 3, 1e-6);
        }
        /* The rest of it: the report is of all its steps. */
        w.at = 0;
        CHECK_OK(bert_train_epoch(w.trainer, &report));
        check_epoch(&report, 2, 2 * STEPS, EXAMPLES);
        CHECK_OK(bert_trainer_close(w.trainer));
        bert_free(model);
    }
}

/* ---- Not finite ------------------------------------------------------------------------------------------------------ */

/* Numbers to learn, one of which is so large that its squared error has no gradient in float32. */
static bert_dataset *with_a_huge_target(size_t count)
{
    static const char *const texts[8] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    float targets[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    bert_dataset *data = NULL;
    CHECK_OK(bert_dataset_create(&data));
    targets[count - 1] = 3e38f;
    CHECK_OK(bert_dataset_add_targets(data, count, texts, NULL, NULL, NULL, targets, 1));
    return data;
}

/* The order of an epoch's examples is the seed's, and so is the step that fails: it isn't the first with all of them. */
static void a_run_that_is_not_finite_reports(void)
{
    bert_dataset *data = with_a_huge_target(8);
    int runs_with_steps = 0, epochs_with_steps = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        bert_model_options small = small_options();
        small.problem_type = BERT_PROBLEM_REGRESSION;
        bert_model *model = create(&small, data);
        watch w = {.at = 0};
        bert_train_options options = options_for(&w);
        options.batch_size = 1;
        options.seed = seed;
        w.trainer = trainer_of(model, data, NULL, &options);
        bert_train_report report = marked_run();
        CHECK_STATUS(bert_train(w.trainer, &report), BERT_ERR_NOT_FINITE);
        if (w.last == 0) {
            check_untouched_run(&report);
        } else {
            runs_with_steps++;
            CHECK_EQUAL(report.steps, w.last);
            CHECK_EQUAL(report.stop_reason, BERT_STOP_NOT_FINITE);
            CHECK(isnan(report.accuracy) && report.loss >= 0 && report.tokens > 0);
            CHECK_NEAR(report.loss, w.losses / (double)w.last, 1e-4);
        }
        CHECK_OK(bert_trainer_close(w.trainer));
        w = (watch){.at = 0};
        w.trainer = trainer_of(model, data, NULL, &options);
        bert_epoch_report epoch = marked_epoch();
        CHECK_STATUS(bert_train_epoch(w.trainer, &epoch), BERT_ERR_NOT_FINITE);
        if (w.last == 0) {
            check_untouched_epoch(&epoch);
        } else {
            epochs_with_steps++;
            CHECK_EQUAL(epoch.epoch, 1);
            CHECK_EQUAL(epoch.step, w.last);
            CHECK_EQUAL(epoch.examples, w.last);
            CHECK(isnan(epoch.accuracy) && epoch.tokens > 0);
        }
        /* The batch that failed is skipped: the rest of the epoch, or, where it was the last, the next one fails anew. */
        epoch = marked_epoch();
        bert_status status = bert_train_epoch(w.trainer, &epoch);
        CHECK(status == BERT_OK || status == BERT_ERR_NOT_FINITE);
        if (status == BERT_OK) {
            CHECK_EQUAL(epoch.epoch, 1);
            CHECK_EQUAL(epoch.examples, 7);
        } else if (epoch.epoch == 0x5a5a5a5a) {
            check_untouched_epoch(&epoch);
        } else {
            CHECK_EQUAL(epoch.epoch, 2);
        }
        CHECK_OK(bert_trainer_close(w.trainer));
        bert_free(model);
    }
    CHECK(runs_with_steps > 0 && epochs_with_steps > 0);
    bert_dataset_free(data);
}

/* ---- Files that can't be written ------------------------------------------------------------------------------------- */

/* The step is made, and counts; its line comes with the next one. */
static void a_run_without_room_for_its_history_reports(void)
{
    bert_model *model = small_model();
    watch w = {.at = 0};
    bert_train_options options = options_for(&w);
    options.history_path = "/dev/full";
    w.trainer = trainer_of(model, train, NULL, &options);
    for (int64_t step = 1; step <= 3; step++) {
        bert_train_report report = marked_run();
        CHECK_STATUS(bert_train(w.trainer, &report), BERT_ERR_IO);
        CHECK_MESSAGE("/dev/full");
        check_run(&report, step, BERT_STOP_ERROR);
    }
    CHECK_EQUAL(w.last, 3);
    CHECK_OK(bert_trainer_close(w.trainer));
    w = (watch){.at = 0};
    w.trainer = trainer_of(model, train, NULL, &options);
    for (int64_t step = 1; step <= STEPS + 1; step++) {
        bert_epoch_report report = marked_epoch();
        CHECK_STATUS(bert_train_epoch(w.trainer, &report), BERT_ERR_IO);
        int64_t of_epoch = (step - 1) % STEPS + 1;
        check_epoch(&report, step > STEPS ? 2 : 1, step, of_epoch * BATCH);
    }
    CHECK_OK(bert_trainer_close(w.trainer));
    bert_free(model);
}

/* A directory that is gone when the best model, or the first checkpoint, is to be saved in it. */
static void a_run_whose_directory_is_gone_reports(void)
{
    for (int is_checkpoint = 0; is_checkpoint < 2; is_checkpoint++) {
        bert_model *model = small_model();
        watch w = {.at = 2, .how = REMOVE};
        bert_train_options options = options_for(&w);
        if (is_checkpoint) {
            options.checkpoint_path = "gone/checkpoints";
        } else {
            options.best_model_path = "gone/best";
        }
        CHECK(mkdir("gone", 0777) == 0);
        w.trainer = trainer_of(model, train, validation, &options);
        bert_train_report report = marked_run();
        CHECK_STATUS(bert_train(w.trainer, &report), BERT_ERR_IO);
        CHECK_MESSAGE("gone");
        check_run(&report, STEPS, BERT_STOP_ERROR);
        CHECK(isnan(report.best_metric));
        CHECK_EQUAL(report.best_step, 0);
        /* With its directory back it goes on to its end. */
        CHECK(mkdir("gone", 0777) == 0);
        CHECK(!is_checkpoint || mkdir("gone/checkpoints", 0777) == 0);
        CHECK_OK(bert_train(w.trainer, &report));
        CHECK_EQUAL(report.steps, EPOCHS * STEPS);
        CHECK_EQUAL(report.stop_reason, BERT_STOP_FINISHED);
        CHECK_OK(bert_trainer_close(w.trainer));
        if (is_checkpoint) {
            bert_free(load_model("gone/checkpoints/checkpoint-12"));
        } else {
            bert_free(load_model("gone/best"));
            CHECK(rename("gone", "kept") == 0);
        }
        bert_free(model);
    }
}

/* ---- Without a step -------------------------------------------------------------------------------------------------- */

static bert_trainer *busy;

static int32_t trains_inside(const bert_progress *progress, void *user_data)
{
    bert_train_report run = marked_run();
    bert_epoch_report epoch = marked_epoch();
    (void)progress;
    (void)user_data;
    CHECK_STATUS(bert_train(busy, &run), BERT_ERR_BUSY);
    CHECK_STATUS(bert_train_epoch(busy, &epoch), BERT_ERR_BUSY);
    check_untouched_run(&run);
    check_untouched_epoch(&epoch);
    return 0;
}

static void without_a_step_nothing_is_written(void)
{
    bert_model *model = small_model();
    bert_train_options options = options_for(NULL);
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    bert_train_report run = marked_run();
    bert_epoch_report epoch = marked_epoch();
    CHECK_STATUS(bert_train(NULL, &run), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_train_epoch(NULL, &epoch), BERT_ERR_HANDLE);
    bert_trainer_cancel(trainer);
    CHECK_STATUS(bert_train(trainer, &run), BERT_ERR_CANCELLED);
    bert_trainer_cancel(trainer);
    CHECK_STATUS(bert_train_epoch(trainer, &epoch), BERT_ERR_CANCELLED);
    check_untouched_run(&run);
    check_untouched_epoch(&epoch);
    /* A struct that isn't prepared is no place to write to, whatever would have come of the call. */
    run.struct_size = sizeof(run) - 1;
    CHECK_STATUS(bert_train(trainer, &run), BERT_ERR_STRUCT_SIZE);
    run.struct_size = sizeof(run);
    check_untouched_run(&run);
    /* An epoch without a step has no report, also behind one that has: a run has one from its first step on. */
    CHECK_OK(bert_train_epoch(trainer, &epoch));
    check_epoch(&epoch, 1, STEPS, EXAMPLES);
    epoch = marked_epoch();
    bert_trainer_cancel(trainer);
    CHECK_STATUS(bert_train_epoch(trainer, &epoch), BERT_ERR_CANCELLED);
    check_untouched_epoch(&epoch);
    bert_trainer_cancel(trainer);
    CHECK_STATUS(bert_train(trainer, &run), BERT_ERR_CANCELLED);
    CHECK_EQUAL(run.steps, STEPS);
    CHECK_EQUAL(run.epochs, 1);
    CHECK_EQUAL(run.stop_reason, BERT_STOP_CANCELLED);
    CHECK_EQUAL(run.tokens, 0);
    CHECK(run.loss > 0);
    CHECK_OK(bert_train(trainer, &run));
    CHECK_STATUS(bert_train_epoch(trainer, &epoch), BERT_ERR_FINISHED);
    check_untouched_epoch(&epoch);
    /* All was done before: that is no failure. */
    run = marked_run();
    CHECK_OK(bert_train(trainer, &run));
    CHECK_EQUAL(run.steps, EPOCHS * STEPS);
    CHECK_EQUAL(run.stop_reason, BERT_STOP_FINISHED);
    CHECK_EQUAL(run.tokens, 0);
    CHECK_OK(bert_trainer_close(trainer));
    /* While another call trains. */
    options.progress = trains_inside;
    busy = trainer_of(model, train, NULL, &options);
    CHECK_OK(bert_train_step(busy, NULL));
    CHECK_OK(bert_trainer_close(busy));
    bert_free(model);
}

/* NULL is no report, also where there would be one. */
static void no_report_is_needed(void)
{
    bert_model *model = small_model();
    watch w = {.at = 2, .how = ANSWER};
    bert_train_options options = options_for(&w);
    w.trainer = trainer_of(model, train, NULL, &options);
    CHECK_STATUS(bert_train(w.trainer, NULL), BERT_ERR_CANCELLED);
    w.at = 3;
    CHECK_STATUS(bert_train_epoch(w.trainer, NULL), BERT_ERR_CANCELLED);
    CHECK_OK(bert_trainer_close(w.trainer));
    bert_free(model);
}

int main(void)
{
    train = toy(BERT_TOY_TRAIN);
    validation = toy(BERT_TOY_VALIDATION);
    a_cancelled_run_reports();
    a_cancelled_epoch_reports();
    a_run_that_is_not_finite_reports();
    a_run_without_room_for_its_history_reports();
    a_run_whose_directory_is_gone_reports();
    without_a_step_nothing_is_written();
    no_report_is_needed();
    bert_dataset_free(train);
    bert_dataset_free(validation);
    return 0;
}
