/* Checkpoints: a run that is saved and taken up again ends as one that never stopped, and says where that isn't promised. */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define EPOCHS 3
#define EXAMPLES_OF_A_STEP 6

/* A run with all that must be kept: dropout, accumulation, clipping, a schedule, evaluations, the best weights. */
static bert_train_options plan(void)
{
    bert_train_options options = train_options();
    options.epochs = EPOCHS;
    options.batch_size = EXAMPLES_OF_A_STEP / 2;
    options.gradient_accumulation_steps = 2;
    options.learning_rate = 5e-3;
    options.eval_steps = 4;
    options.metric = BERT_METRIC_LOSS;
    return options;
}

/* One run of the plan: everything is made anew, as after a crash. */
typedef struct {
    bert_model *model;
    bert_trainer *trainer;
} run;

static run begin_with(const bert_train_options *options, int32_t train_part)
{
    bert_dataset *train = toy(train_part), *validation = toy(BERT_TOY_VALIDATION);
    run made = {small_model(), NULL};
    made.trainer = trainer_of(made.model, train, validation, options);
    bert_dataset_free(train);
    bert_dataset_free(validation);
    return made;
}

static run begin(const bert_train_options *options)
{
    return begin_with(options, BERT_TOY_TRAIN);
}

static void end(run done)
{
    bert_trainer_free(done.trainer);
    bert_free(done.model);
}

static bert_resume_report resume_init(void)
{
    bert_resume_report report;
    CHECK_OK(bert_resume_report_init(&report, sizeof(report)));
    return report;
}

/* The report but for its times. */
static void check_reports(const bert_train_report *got, const bert_train_report *expected)
{
    CHECK_EQUAL(got->epochs, expected->epochs);
    CHECK_EQUAL(got->steps, expected->steps);
    CHECK_EQUAL(got->stop_reason, expected->stop_reason);
    CHECK(got->loss == expected->loss);
    CHECK(got->accuracy == expected->accuracy);
    CHECK(got->best_metric == expected->best_metric);
    CHECK_EQUAL(got->best_step, expected->best_step);
    CHECK_EQUAL(got->restored_best, expected->restored_best);
}

/* The uninterrupted run's model and report. */
static bert_model *uninterrupted(const bert_train_options *options, bert_train_report *report)
{
    run whole = begin(options);
    *report = report_init();
    CHECK_OK(bert_train(whole.trainer, report));
    CHECK_EQUAL(report->resumed_step, 0);
    bert_trainer_free(whole.trainer);
    return whole.model;
}

/* Stopped after each step in turn, saved, everything freed, and taken up by a new model and trainer. */
static void every_step_can_be_gone_on_from(void)
{
    bert_train_options options = plan();
    bert_train_report expected;
    bert_model *model = uninterrupted(&options, &expected);
    CHECK(expected.steps > 8);
    for (int64_t stop = 0; stop <= expected.steps; stop++) {
        run first = begin(&options);
        for (int64_t step = 0; step < stop; step++) {
            CHECK_OK(bert_train_step(first.trainer, NULL));
        }
        CHECK_OK(bert_trainer_save(first.trainer, "stopped"));
        /* A checkpoint is a model. */
        bert_model *loaded = NULL;
        CHECK_OK(bert_load("stopped", NULL, &loaded));
        CHECK(are_equal(loaded, first.model));
        bert_free(loaded);
        end(first);

        run second = begin(&options);
        bert_resume_report resumed = resume_init();
        CHECK_OK(bert_trainer_resume(second.trainer, "stopped", &resumed));
        CHECK_EQUAL(resumed.step, stop);
        CHECK_EQUAL(resumed.total_steps, expected.steps);
        CHECK_EQUAL(resumed.is_exact, 1);
        /* Steps by hand don't evaluate: they are compared with a run of steps by hand. */
        run steps = begin(&options);
        for (int64_t step = 0; step < expected.steps; step++) {
            bert_step_report a, b;
            CHECK_OK(bert_step_report_init(&a, sizeof(a)));
            CHECK_OK(bert_step_report_init(&b, sizeof(b)));
            CHECK_OK(bert_train_step(steps.trainer, &a));
            if (step >= stop) {
                CHECK_OK(bert_train_step(second.trainer, &b));
                CHECK_EQUAL(a.step, b.step);
                CHECK_EQUAL(a.epoch, b.epoch);
                CHECK(a.loss == b.loss && a.learning_rate == b.learning_rate && a.grad_norm == b.grad_norm);
            }
        }
        CHECK(are_equal(steps.model, second.model));
        CHECK_STATUS(bert_train_step(second.trainer, NULL), BERT_ERR_FINISHED);
        end(steps);
        end(second);
    }
    bert_free(model);
}

/* An epoch's report counts the steps before the interruption too. */
static void an_epoch_is_reported_as_a_whole(void)
{
    bert_train_options options = plan();
    bert_epoch_report a, b;
    CHECK_OK(bert_epoch_report_init(&a, sizeof(a)));
    CHECK_OK(bert_epoch_report_init(&b, sizeof(b)));
    run whole = begin(&options), first = begin(&options), second = begin(&options);
    CHECK_OK(bert_train_epoch(whole.trainer, NULL));
    CHECK_OK(bert_train_epoch(whole.trainer, &a));
    CHECK_OK(bert_train_epoch(first.trainer, NULL));
    CHECK_OK(bert_train_step(first.trainer, NULL));
    CHECK_OK(bert_trainer_save(first.trainer, "in-an-epoch"));
    bert_resume_report resumed = resume_init();
    CHECK_OK(bert_trainer_resume(second.trainer, "in-an-epoch", &resumed));
    CHECK_EQUAL(resumed.epochs, 1);
    CHECK_OK(bert_train_epoch(second.trainer, &b));
    CHECK_EQUAL(a.epoch, b.epoch);
    CHECK_EQUAL(a.step, b.step);
    CHECK_EQUAL(a.examples, b.examples);
    CHECK_EQUAL(a.tokens, b.tokens);
    CHECK(a.loss == b.loss && a.accuracy == b.accuracy);
    CHECK(are_equal(whole.model, second.model));
    end(whole);
    end(first);
    end(second);
}

/* What a callback does: ends the run at a step, and saves there. */
typedef struct {
    int64_t stop_at;
    bert_trainer *trainer;
    const char *save_to;
    const char *resume_from;
} stop;

static int32_t stopping(const bert_progress *progress, void *user_data)
{
    stop *s = user_data;
    if (progress->event != BERT_EVENT_STEP || progress->step != s->stop_at) {
        return 0;
    }
    if (s->save_to != NULL) {
        CHECK_OK(bert_trainer_save(s->trainer, s->save_to));
    }
    if (s->resume_from != NULL) {
        CHECK_STATUS(bert_trainer_resume(s->trainer, s->resume_from, NULL), BERT_ERR_BUSY);
        return 0;
    }
    return 1;
}

static char *lines_without_seconds(const char *path)
{
    size_t length = 0;
    char *text = read_bytes(path, &length);
    CHECK(text != NULL);
    for (char *at = text; (at = strstr(at, "\"seconds\":")) != NULL;) {
        char *close = strchr(at, '}');
        CHECK(close != NULL);
        memmove(at, close, strlen(close) + 1);
    }
    return text;
}

/* bert_train: killed (here: left by a callback's order) after any step, it goes on by itself, evaluations, best weights,
   report and history included. */
static void bert_train_goes_on_by_itself(void)
{
    bert_train_options options = plan();
    options.history_path = "whole.jsonl";
    bert_train_report expected;
    bert_model *model = uninterrupted(&options, &expected);
    char *history = lines_without_seconds("whole.jsonl");
    CHECK_EQUAL(expected.restored_best, 1);
    for (int64_t at = 1; at <= expected.steps; at++) {
        char folder[32];
        snprintf(folder, sizeof(folder), "run-%d", (int)at);
        stop s = {at, NULL, NULL, NULL};
        options = plan();
        options.history_path = "pieces.jsonl";
        options.checkpoint_path = folder;
        options.checkpoint_steps = 1000;
        options.progress = stopping;
        options.progress_user_data = &s;
        run first = begin(&options);
        CHECK_STATUS(bert_train(first.trainer, NULL), BERT_ERR_CANCELLED);
        end(first);
        /* What a run wrote after its last checkpoint is written again. */
        FILE *file = fopen("pieces.jsonl", "ab");
        CHECK(file != NULL);
        fputs("{\"event\":\"step\"}\n{\"ev", file);
        fclose(file);
        s.stop_at = 0;
        run second = begin(&options);
        bert_train_report report = report_init();
        CHECK_OK(bert_train(second.trainer, &report));
        /* On a GPU the step behind it may have been under way. */
        CHECK(report.resumed_step == at || (!is_on_cpu(second.model) && report.resumed_step == at + 1));
        check_reports(&report, &expected);
        CHECK(are_equal(second.model, model));
        char *pieces = lines_without_seconds("pieces.jsonl");
        CHECK_TEXT(pieces, history);
        free(pieces);
        end(second);
        /* Once more: there is nothing left to do, and the outcome is the same. */
        run third = begin(&options);
        report = report_init();
        CHECK_OK(bert_train(third.trainer, &report));
        CHECK_EQUAL(report.resumed_step, expected.steps);
        CHECK_EQUAL(report.tokens, 0);
        check_reports(&report, &expected);
        CHECK(are_equal(third.model, model));
        end(third);
    }
    free(history);
    bert_free(model);
}

static int exists(const char *folder, int64_t step)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/checkpoint-%d", folder, (int)step);
    struct stat status;
    return stat(path, &status) == 0;
}

static void flip(const char *path, double where)
{
    size_t length = 0;
    char *bytes = read_bytes(path, &length);
    CHECK(bytes != NULL && length > 0);
    bytes[(size_t)((double)(length - 1) * where)] ^= 4;
    write_bytes(path, bytes, length);
    free(bytes);
}

/* The newest are kept, and the newest whole one is used. */
static void the_newest_whole_one_is_used(void)
{
    bert_train_options options = plan();
    bert_train_report expected;
    bert_model *model = uninterrupted(&options, &expected);
    stop s = {8, NULL, NULL, NULL};
    options.checkpoint_path = "kept";
    options.checkpoint_steps = 2;
    options.checkpoint_keep = 3;
    options.progress = stopping;
    options.progress_user_data = &s;
    run first = begin(&options);
    CHECK_STATUS(bert_train(first.trainer, NULL), BERT_ERR_CANCELLED);
    end(first);
    for (int64_t step = 1; step <= 8; step++) {
        CHECK_EQUAL(exists("kept", step), step == 4 || step == 6 || step == 8);
    }
    /* A flipped bit in the newest, a file missing in the one before. */
    flip("kept/checkpoint-8/trainer.safetensors", 0.7);
    CHECK(unlink("kept/checkpoint-6/trainer.json") == 0);
    s.stop_at = 0;
    run second = begin(&options);
    bert_train_report report = report_init();
    CHECK_OK(bert_train(second.trainer, &report));
    CHECK_EQUAL(report.resumed_step, 4);
    check_reports(&report, &expected);
    CHECK(are_equal(second.model, model));
    end(second);
    CHECK(exists("kept", expected.steps));

    /* With neither steps nor minutes: after each epoch. */
    options.checkpoint_path = "epochs";
    options.checkpoint_steps = 0;
    options.checkpoint_keep = 9;
    run third = begin(&options);
    CHECK_OK(bert_train(third.trainer, NULL));
    int64_t of_an_epoch = expected.steps / EPOCHS;
    for (int64_t step = 1; step <= expected.steps; step++) {
        CHECK_EQUAL(exists("epochs", step), step % of_an_epoch == 0);
    }
    end(third);
    /* By time: so short a one is over after each step. */
    options.checkpoint_path = "minutes";
    options.checkpoint_minutes = 1e-9;
    options.checkpoint_keep = 1000;
    run fourth = begin(&options);
    CHECK_OK(bert_train(fourth.trainer, NULL));
    for (int64_t step = 1; step <= expected.steps; step++) {
        CHECK(exists("minutes", step));
    }
    end(fourth);
    bert_free(model);
}

/* A run that ended early stays ended. */
static void an_early_end_is_kept(void)
{
    bert_train_options options = plan();
    options.learning_rate = 0;
    options.early_stopping_patience = 1;
    options.checkpoint_path = "early";
    run first = begin(&options);
    bert_train_report expected = report_init(), report = report_init();
    CHECK_OK(bert_train(first.trainer, &expected));
    CHECK_EQUAL(expected.stop_reason, BERT_STOP_EARLY);
    run second = begin(&options);
    CHECK_OK(bert_train(second.trainer, &report));
    check_reports(&report, &expected);
    CHECK_EQUAL(report.resumed_step, expected.steps);
    end(first);
    end(second);
}

static int32_t ends_at_the_second_evaluation(const bert_progress *progress, void *user_data)
{
    int *evaluations = user_data;
    return progress->event == BERT_EVENT_EVALUATION && ++*evaluations == 2;
}

/* Also where the callback ended it at that very evaluation. */
static void an_early_end_that_was_cancelled_is_kept(void)
{
    int evaluations = 0;
    bert_train_options options = plan();
    options.learning_rate = 0;
    options.early_stopping_patience = 1;
    options.checkpoint_path = "early-cancelled";
    options.progress = ends_at_the_second_evaluation;
    options.progress_user_data = &evaluations;
    run first = begin(&options);
    bert_train_report report = report_init();
    CHECK_STATUS(bert_train(first.trainer, NULL), BERT_ERR_CANCELLED);
    run second = begin(&options);
    CHECK_OK(bert_train(second.trainer, &report));
    CHECK_EQUAL(report.stop_reason, BERT_STOP_EARLY);
    CHECK_EQUAL(report.steps, report.resumed_step);
    CHECK_EQUAL(evaluations, 2);
    end(first);
    end(second);
}

static char warned[4096];

static void keep_warning(int32_t level, const char *message, void *user_data)
{
    (void)user_data;
    if (level == BERT_LOG_WARNING) {
        snprintf(warned, sizeof(warned), "%s", message);
    }
}

/* Other options, data and threads: told, by bert_train refused. */
static void another_run_is_told(void)
{
    bert_train_options options = plan();
    run first = begin(&options);
    CHECK_OK(bert_train_step(first.trainer, NULL));
    CHECK_OK(bert_train_step(first.trainer, NULL));
    CHECK_OK(bert_trainer_save(first.trainer, "another"));
    CHECK(mkdir("folder", 0777) == 0);
    CHECK_OK(bert_trainer_save(first.trainer, "folder/checkpoint-2"));
    CHECK(mkdir("folder-of-data", 0777) == 0);
    CHECK_OK(bert_trainer_save(first.trainer, "folder-of-data/checkpoint-2"));
    end(first);

    CHECK_OK(bert_set_log_callback(keep_warning, NULL));
    bert_resume_report report = resume_init();
    options.checkpoint_path = "folder";
    options.learning_rate = 1e-3;
    options.epochs = 2;
    run other = begin(&options);
    CHECK_STATUS(bert_train(other.trainer, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("learning_rate (then 0.005, now 0.001)");
    CHECK_OK(bert_trainer_resume(other.trainer, "another", &report));
    CHECK_EQUAL(report.step, 2);
    CHECK_EQUAL(report.is_exact, 0);
    CHECK(strstr(warned, "epochs (then 3, now 2)") != NULL);
    /* Taken up by hand, it goes on with its own options, in that folder too. */
    CHECK_OK(bert_train(other.trainer, NULL));
    end(other);

    options = plan();
    options.checkpoint_path = "folder-of-data";
    run data = begin_with(&options, BERT_TOY_VALIDATION);
    CHECK_STATUS(bert_train(data.trainer, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("the training data (then ");
    report = resume_init();
    CHECK_OK(bert_trainer_resume(data.trainer, "another", &report));
    CHECK_EQUAL(report.is_exact, 0);
    CHECK(strstr(warned, "the training data (then ") != NULL);
    CHECK_OK(bert_train(data.trainer, NULL));
    end(data);

    int32_t threads = 0;
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_OK(bert_set_num_threads(threads + 1));
    run more = begin(&options);
    report = resume_init();
    CHECK_OK(bert_trainer_resume(more.trainer, "another", &report));
    CHECK_EQUAL(report.is_exact, 0);
    CHECK(strstr(warned, "the number of threads (then ") != NULL);
    CHECK_OK(bert_set_num_threads(threads));
    CHECK_OK(bert_trainer_resume(more.trainer, "another", &report));
    CHECK_EQUAL(report.is_exact, 1);
    end(more);
    CHECK_OK(bert_set_log_callback(NULL, NULL));
}

/* Damage, and what is no checkpoint: the trainer and its model stay as they are. */
static void what_is_no_checkpoint_is_refused(void)
{
    bert_train_options options = plan();
    run it = begin(&options);
    CHECK_OK(bert_train_step(it.trainer, NULL));
    CHECK_OK(bert_trainer_save(it.trainer, "good"));
    CHECK_OK(bert_save(it.model, "model"));
    CHECK_OK(bert_train_step(it.trainer, NULL));
    bert_model *before = NULL;
    CHECK_OK(bert_trainer_save(it.trainer, "before"));
    CHECK_OK(bert_load("before", NULL, &before));

    CHECK_STATUS(bert_trainer_resume(it.trainer, "nowhere", NULL), BERT_ERR_IO);
    CHECK_STATUS(bert_trainer_resume(it.trainer, "model", NULL), BERT_ERR_FORMAT);
    CHECK_MESSAGE("no training checkpoint");
    CHECK_STATUS(bert_trainer_resume(it.trainer, NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_trainer_resume(NULL, "good", NULL), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_trainer_save(NULL, "x"), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_trainer_save(it.trainer, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_trainer_save(it.trainer, ""), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_trainer_save(it.trainer, "no/such/folder"), BERT_ERR_IO);
    bert_resume_report small;
    memset(&small, 0, sizeof(small));
    CHECK_STATUS(bert_trainer_resume(it.trainer, "good", &small), BERT_ERR_STRUCT_SIZE);

    static const char *const files[] = {"trainer.json", "trainer.safetensors", "config.json",
                                        "model.safetensors", "tokenizer.json", "libbert.json"};
    for (size_t file = 0; file < COUNT_OF(files); file++) {
        for (int place = 0; place < 8; place++) {
            CHECK_OK(bert_trainer_save(it.trainer, "damaged"));
            char path[64];
            snprintf(path, sizeof(path), "damaged/%s", files[file]);
            flip(path, place / 7.0);
            CHECK_STATUS(bert_trainer_resume(it.trainer, "damaged", NULL), BERT_ERR_FORMAT);
            CHECK(are_equal(it.model, before));
        }
    }
    /* Without the checksums, what is in the files is looked at. */
    CHECK(unlink("damaged/libbert.json") == 0);
    static const struct {
        const char *text, *message;
        bert_status status;
    } forged[] = {
        {"", "is not a training checkpoint's description", BERT_ERR_FORMAT},
        {"[]", "is not a training checkpoint's description", BERT_ERR_FORMAT},
        {"{\"libbert_checkpoint_version\": 1}", "not a whole description", BERT_ERR_FORMAT},
        {"{\"libbert_checkpoint_version\": 2}", "Update the library", BERT_ERR_VERSION},
    };
    for (size_t i = 0; i < COUNT_OF(forged); i++) {
        write_text("damaged/trainer.json", forged[i].text);
        CHECK_STATUS(bert_trainer_resume(it.trainer, "damaged", NULL), forged[i].status);
        CHECK_MESSAGE(forged[i].message);
    }
    CHECK(are_equal(it.model, before));

    /* A model of other sizes. */
    bert_model_options sizes = small_options();
    sizes.hidden_size *= 2;
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *larger = create(&sizes, train);
    bert_trainer *other = trainer_of(larger, train, NULL, &options);
    CHECK_STATUS(bert_trainer_resume(other, "good", NULL), BERT_ERR_FORMAT);
    bert_trainer_free(other);
    bert_free(larger);
    bert_dataset_free(train);

    /* Options out of their range, and a folder that can't be one. */
    static const struct {
        int64_t steps;
        double minutes;
        int32_t keep;
        const char *path, *message;
        bert_status status;
    } wrong[] = {
        {-1, 0, 2, "f", "checkpoint_steps", BERT_ERR_INVALID_ARGUMENT},
        {0, -1, 2, "f", "checkpoint_minutes", BERT_ERR_INVALID_ARGUMENT},
        {0, 0, 0, "f", "checkpoint_keep", BERT_ERR_INVALID_ARGUMENT},
        {0, 0, -2, "f", "checkpoint_keep", BERT_ERR_INVALID_ARGUMENT},
        {0, 0, 2, "no/such/folder", "no/such/folder", BERT_ERR_IO},
        {0, 0, 2, "good/config.json", "good/config.json", BERT_ERR_IO},
    };
    train = toy(BERT_TOY_TRAIN);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        bert_train_options bad = plan();
        bad.checkpoint_path = wrong[i].path;
        bad.checkpoint_steps = wrong[i].steps;
        bad.checkpoint_minutes = wrong[i].minutes;
        bad.checkpoint_keep = wrong[i].keep;
        bert_trainer *trainer = NULL;
        CHECK_STATUS(bert_trainer_create(it.model, train, NULL, &bad, &trainer), wrong[i].status);
        CHECK_MESSAGE(wrong[i].message);
    }
    bert_dataset_free(train);
    CHECK_OK(bert_trainer_resume(it.trainer, "good", NULL));
    bert_free(before);
    end(it);
}

/* Inside the callback, and from another thread while the run goes on: the end of a step, and the run isn't disturbed. */
typedef struct {
    bert_trainer *trainer;
    int count;
} saver;

static void *save_again_and_again(void *argument)
{
    saver *s = argument;
    for (int i = 0; i < s->count; i++) {
        CHECK_OK(bert_trainer_save(s->trainer, "meanwhile"));
    }
    return NULL;
}

static void saving_while_it_trains(void)
{
    bert_train_options options = plan();
    bert_train_report expected, report = report_init();
    bert_model *model = uninterrupted(&options, &expected);
    stop s = {5, NULL, "from-inside", NULL};
    options.progress = stopping;
    options.progress_user_data = &s;
    run first = begin(&options);
    s.trainer = first.trainer;
    saver other = {first.trainer, 10};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, save_again_and_again, &other) == 0);
    CHECK_STATUS(bert_train(first.trainer, NULL), BERT_ERR_CANCELLED);
    CHECK(pthread_join(thread, NULL) == 0);
    end(first);
    static const char *const places[] = {"from-inside", "meanwhile"};
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        run second = begin(&options);
        s.stop_at = 0;
        CHECK_OK(bert_trainer_resume(second.trainer, places[i], NULL));
        /* Taking up inside the callback would pull the ground from under the run. */
        s.trainer = second.trainer;
        s.save_to = NULL;
        s.resume_from = "from-inside";
        s.stop_at = 7;
        CHECK_OK(bert_train(second.trainer, &report));
        check_reports(&report, &expected);
        CHECK(are_equal(second.model, model));
        end(second);
        s.resume_from = NULL;
    }
    bert_free(model);
}

int main(void)
{
    every_step_can_be_gone_on_from();
    an_epoch_is_reported_as_a_whole();
    bert_train_goes_on_by_itself();
    the_newest_whole_one_is_used();
    an_early_end_is_kept();
    an_early_end_that_was_cancelled_is_kept();
    another_run_is_told();
    what_is_no_checkpoint_is_refused();
    saving_while_it_trains();
    return 0;
}
