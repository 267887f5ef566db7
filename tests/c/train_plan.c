/* bert_train: evaluations, the best weights, early stopping, the progress callback, cancelling. */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <signal.h>

#include "check.h"

#define EVALUATIONS 64

/* What the callback saw, and what it is to do. */
typedef struct {
    bert_trainer *trainer;
    bert_model *model;
    int steps, evaluations;
    int64_t step_of[EVALUATIONS];
    double metric_of[EVALUATIONS];
    int stop_at;
    void (*inside)(const bert_progress *progress, void *user_data);
} watch;

static int32_t watched(const bert_progress *progress, void *user_data)
{
    watch *w = user_data;
    CHECK_EQUAL(progress->struct_size, sizeof(*progress));
    CHECK(progress->epoch >= 1 && progress->epoch <= progress->epochs);
    CHECK(progress->step >= 1 && progress->step <= progress->total_steps);
    CHECK(progress->tokens_per_second > 0);
    if (progress->event == BERT_EVENT_STEP) {
        CHECK(isnan(progress->eval_loss) && isnan(progress->eval_accuracy) && isnan(progress->eval_f1_macro) &&
              isnan(progress->eval_f1_weighted) && isnan(progress->eval_matthews));
        w->steps++;
    } else {
        CHECK_EQUAL(progress->event, BERT_EVENT_EVALUATION);
        CHECK(progress->eval_loss > 0 && progress->eval_accuracy >= 0 && progress->eval_accuracy <= 1);
        CHECK(w->evaluations < EVALUATIONS);
        w->step_of[w->evaluations] = progress->step;
        w->metric_of[w->evaluations] = progress->eval_loss;
        w->evaluations++;
    }
    if (w->inside != NULL) {
        w->inside(progress, user_data);
    }
    return w->stop_at != 0 && progress->step >= w->stop_at;
}

static double loss_on(const bert_model *model, const bert_dataset *dataset)
{
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate(model, dataset, 0, &evaluation));
    return evaluation.loss;
}

/* Data that can be learned, and validation data that says the contrary: its loss is best at the start. */
static bert_dataset *contrary(void)
{
    static const char *const texts[] = {"i loved the wonderful music", "a terrible plot"};
    static const char *const names[] = {"negative", "positive"};
    return named(2, texts, names);
}

/* Evaluations come every eval_steps and after each epoch, once where both fall together. */
static void evaluations_come_when_due(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = toy(BERT_TOY_VALIDATION);
    bert_model *model = small_model();
    watch w = {0};
    bert_train_options options = train_options();
    options.epochs = 3;
    options.batch_size = 4;
    options.eval_steps = 3;
    options.metric = BERT_METRIC_LOSS;
    options.progress = watched;
    options.progress_user_data = &w;
    bert_trainer *trainer = trainer_of(model, train, validation, &options);
    bert_train_report report = report_init();
    CHECK_OK(bert_train(trainer, &report));
    CHECK_EQUAL(report.epochs, 3);
    CHECK_EQUAL(report.steps, 12);
    CHECK_EQUAL(w.steps, 12);
    static const int64_t due[] = {3, 4, 6, 8, 9, 12};
    CHECK_EQUAL(w.evaluations, COUNT_OF(due));
    int best = 0;
    for (int i = 0; i < w.evaluations; i++) {
        CHECK_EQUAL(w.step_of[i], due[i]);
        if (w.metric_of[i] < w.metric_of[best]) {
            best = i;
        }
    }
    CHECK(report.best_metric == w.metric_of[best]);
    CHECK_EQUAL(report.best_step, w.step_of[best]);
    CHECK_EQUAL(report.restored_best, 1);
    CHECK(loss_on(model, validation) == w.metric_of[best]);
    bert_trainer_free(trainer);

    /* Without validation data there is nothing to evaluate on. */
    memset(&w, 0, sizeof(w));
    trainer = trainer_of(model, train, NULL, &options);
    CHECK_OK(bert_train(trainer, &report));
    CHECK_EQUAL(w.steps, 12);
    CHECK_EQUAL(w.evaluations, 0);
    CHECK(isnan(report.best_metric));
    CHECK_EQUAL(report.restored_best, 0);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

/* Trains against validation data that gets worse, and checks which weights the model ends with. */
static void the_best_weights_are_restored(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = contrary();
    double restored_loss = 0;
    for (int restore = 0; restore < 2; restore++) {
        bert_model *model = small_model();
        watch w = {0};
        bert_train_options options = train_options();
        options.epochs = 25;
        options.batch_size = 16;
        options.learning_rate = 1e-2;
        options.metric = BERT_METRIC_LOSS;
        options.restore_best = restore;
        options.best_model_path = restore ? "best" : NULL;
        options.progress = watched;
        options.progress_user_data = &w;
        bert_trainer *trainer = trainer_of(model, train, validation, &options);
        bert_train_report report = report_init();
        CHECK_OK(bert_train(trainer, &report));
        CHECK_EQUAL(report.stop_reason, BERT_STOP_FINISHED);
        CHECK_EQUAL(w.evaluations, 25);
        CHECK(report.best_step < 10);
        CHECK_EQUAL(report.restored_best, restore);
        if (restore) {
            restored_loss = loss_on(model, validation);
            CHECK(restored_loss == report.best_metric);
            /* The best model on disk is that one. */
            bert_model *best = load_model("best");
            CHECK(are_equal(best, model));
            bert_free(best);
        } else {
            CHECK(loss_on(model, validation) == w.metric_of[24]);
            CHECK(loss_on(model, validation) > restored_loss + 0.1);
        }
        bert_trainer_free(trainer);
        bert_free(model);
    }
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

static void early_stopping_ends_a_run_that_gets_no_better(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = contrary();
    bert_model *model = small_model();
    watch w = {0};
    bert_train_options options = train_options();
    options.epochs = 25;
    options.learning_rate = 1e-2;
    options.metric = BERT_METRIC_LOSS;
    options.early_stopping_patience = 3;
    options.progress = watched;
    options.progress_user_data = &w;
    bert_trainer *trainer = trainer_of(model, train, validation, &options);
    bert_train_report report = report_init();
    CHECK_OK(bert_train(trainer, &report));
    CHECK_EQUAL(report.stop_reason, BERT_STOP_EARLY);
    CHECK_EQUAL(report.steps, report.best_step + 3);
    CHECK_EQUAL(report.epochs, report.steps);
    CHECK_EQUAL(w.evaluations, report.epochs);
    for (int i = 0; i < w.evaluations; i++) {
        CHECK(w.metric_of[i] >= report.best_metric);
    }
    CHECK_EQUAL(report.restored_best, 1);
    CHECK(loss_on(model, validation) == report.best_metric);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

/* Each metric picks the evaluation that it calls the best: a callback's numbers are those of bert_evaluate. */
typedef struct {
    int32_t metric;
    double best;
    bert_model *model;
    const bert_dataset *validation;
} picks;

static int32_t picked(const bert_progress *progress, void *user_data)
{
    picks *p = user_data;
    if (progress->event == BERT_EVENT_EVALUATION) {
        const double values[] = {-progress->eval_loss, progress->eval_accuracy, progress->eval_f1_macro,
                                 progress->eval_f1_weighted, progress->eval_matthews,
                                 progress->eval_f1_micro};
        if (!(p->best >= values[p->metric])) {
            p->best = values[p->metric];
        }
        bert_evaluation evaluation;
        CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
        CHECK_OK(bert_evaluate(p->model, p->validation, 0, &evaluation));
        CHECK(evaluation.loss == progress->eval_loss && evaluation.accuracy == progress->eval_accuracy &&
              evaluation.f1_macro == progress->eval_f1_macro &&
              evaluation.f1_weighted == progress->eval_f1_weighted &&
              evaluation.matthews == progress->eval_matthews);
    }
    return 0;
}

static void each_metric_picks_its_best(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = toy(BERT_TOY_VALIDATION);
    for (int32_t metric = BERT_METRIC_LOSS; metric <= BERT_METRIC_F1_MICRO; metric++) {
        bert_model *model = small_model();
        picks p = {metric, NAN, model, validation};
        bert_train_options options = train_options();
        options.epochs = 12;
        options.learning_rate = 1e-2;
        options.metric = metric;
        options.progress = picked;
        options.progress_user_data = &p;
        bert_trainer *trainer = trainer_of(model, train, validation, &options);
        bert_train_report report = report_init();
        CHECK_OK(bert_train(trainer, &report));
        CHECK((metric == BERT_METRIC_LOSS ? -report.best_metric : report.best_metric) == p.best);
        bert_trainer_free(trainer);
        bert_free(model);
    }
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

static bert_trainer *watching(bert_model *model, watch *w)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_train_options options = train_options();
    options.epochs = 50;
    options.batch_size = 8;
    options.progress = watched;
    options.progress_user_data = w;
    w->model = model;
    w->trainer = trainer_of(model, train, NULL, &options);
    bert_dataset_free(train);
    return w->trainer;
}

static void can_predict(const bert_model *model)
{
    bert_prediction prediction;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_OK(bert_predict(model, "a great film", NUL, NULL, 0, NULL, &prediction));
    CHECK(prediction.probability >= 0.5f && prediction.probability <= 1);
}

static void the_callback_can_stop_it(void)
{
    bert_model *model = small_model();
    watch w = {0};
    w.stop_at = 5;
    bert_trainer *trainer = watching(model, &w);
    bert_train_report report = report_init();
    report.steps = 77;
    CHECK_STATUS(bert_train(trainer, &report), BERT_ERR_CANCELLED);
    /* On a GPU the step behind it was under way: it is made, and not told of. */
    int under_way = !is_on_cpu(model);
    CHECK_MESSAGE(under_way ? "step 6 of 100" : "step 5 of 100");
    /* The report is of what was done until then. */
    CHECK_EQUAL(report.steps, 5 + under_way);
    CHECK_EQUAL(report.stop_reason, BERT_STOP_CANCELLED);
    CHECK(report.loss > 0 && report.tokens > 0);
    CHECK_EQUAL(w.steps, 5);
    can_predict(model);
    /* It goes on where it stopped; each call is stopped anew. */
    bert_step_report next;
    CHECK_OK(bert_step_report_init(&next, sizeof(next)));
    CHECK_STATUS(bert_train_step(trainer, &next), BERT_ERR_CANCELLED);
    CHECK_STATUS(bert_train_epoch(trainer, NULL), BERT_ERR_CANCELLED);
    CHECK_EQUAL(w.steps, 7);
    w.stop_at = 0;
    CHECK_OK(bert_train(trainer, &report));
    CHECK_EQUAL(report.steps, 100);
    CHECK_EQUAL(w.steps, 100 - under_way);
    bert_trainer_free(trainer);
    bert_free(model);
}

static void a_cancellation_before_the_start_is_kept(void)
{
    bert_model *model = small_model(), *untrained = small_model();
    watch w = {0};
    bert_trainer *trainer = watching(model, &w);
    bert_trainer_cancel(NULL);
    bert_trainer_cancel(trainer);
    bert_trainer_cancel(trainer);
    CHECK_STATUS(bert_train_step(trainer, NULL), BERT_ERR_CANCELLED);
    CHECK_EQUAL(w.steps, 0);
    CHECK(are_equal(model, untrained));
    /* It held for one call. */
    CHECK_OK(bert_train_step(trainer, NULL));
    CHECK_EQUAL(w.steps, 1);
    bert_trainer_cancel(trainer);
    CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_CANCELLED);
    CHECK_EQUAL(w.steps, 1);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_free(untrained);
}

static void cancels(const bert_progress *progress, void *user_data)
{
    watch *w = user_data;
    if (progress->step == 4) {
        bert_trainer_cancel(w->trainer);
    }
}

static void a_cancellation_ends_it_after_the_step(void)
{
    bert_model *model = small_model();
    watch w = {0};
    w.inside = cancels;
    bert_trainer *trainer = watching(model, &w);
    CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_CANCELLED);
    CHECK_MESSAGE("step 4 of 100");
    CHECK_EQUAL(w.steps, 4);
    can_predict(model);
    bert_trainer_free(trainer);
    bert_free(model);
}

static void *cancels_from_outside(void *trainer)
{
    bert_trainer_cancel(trainer);
    return NULL;
}

static void starts_a_thread_that_cancels(const bert_progress *progress, void *user_data)
{
    watch *w = user_data;
    if (progress->step == 3) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, cancels_from_outside, w->trainer) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

static bert_trainer *signalled;

static void on_signal(int number)
{
    (void)number;
    bert_trainer_cancel(signalled);
}

static void raises_a_signal(const bert_progress *progress, void *user_data)
{
    (void)user_data;
    if (progress->step == 3) {
        CHECK(raise(SIGUSR1) == 0);
    }
}

static void any_thread_and_a_signal_handler_may_cancel(void)
{
    void (*const ways[])(const bert_progress *, void *) = {starts_a_thread_that_cancels, raises_a_signal};
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        bert_model *model = small_model();
        watch w = {0};
        w.inside = ways[i];
        bert_trainer *trainer = watching(model, &w);
        signalled = trainer;
        CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_CANCELLED);
        CHECK_EQUAL(w.steps, 3);
        can_predict(model);
        bert_trainer_free(trainer);
        bert_free(model);
    }
}

/* Everything but training is allowed inside the callback. */
static void asks_inside(const bert_progress *progress, void *user_data)
{
    watch *w = user_data;
    can_predict(w->model);
    bert_dataset *validation = toy(BERT_TOY_VALIDATION);
    CHECK(loss_on(w->model, validation) > 0);
    if (progress->step == 2) {
        CHECK_OK(bert_save(w->model, "inside"));
        bert_model *loaded = load_model("inside");
        CHECK(are_equal(loaded, w->model));
        bert_free(loaded);
    }
    CHECK_STATUS(bert_train_step(w->trainer, NULL), BERT_ERR_BUSY);
    CHECK_STATUS(bert_train_epoch(w->trainer, NULL), BERT_ERR_BUSY);
    CHECK_STATUS(bert_train(w->trainer, NULL), BERT_ERR_BUSY);
    CHECK_MESSAGE("being trained");
    /* The model is what is busy, so another trainer of it is no way around. */
    bert_trainer *second = trainer_of(w->model, validation, NULL, NULL);
    CHECK_STATUS(bert_train_step(second, NULL), BERT_ERR_BUSY);
    bert_trainer_free(second);
    /* Another model may be trained here. */
    bert_model *other = small_model();
    second = trainer_of(other, validation, NULL, NULL);
    CHECK_OK(bert_train_step(second, NULL));
    bert_trainer_free(second);
    bert_free(other);
    bert_dataset_free(validation);
}

static void asking_inside_the_callback_is_allowed(void)
{
    bert_model *model = small_model();
    watch w = {0};
    w.inside = asks_inside;
    w.stop_at = 3;
    bert_trainer *trainer = watching(model, &w);
    CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_CANCELLED);
    CHECK_EQUAL(w.steps, 3);
    w.inside = NULL;
    w.stop_at = 0;
    CHECK_OK(bert_train_step(trainer, NULL));
    bert_trainer_free(trainer);
    bert_free(model);
}

static void frees_inside(const bert_progress *progress, void *user_data)
{
    watch *w = user_data;
    if (progress->step == 2) {
        bert_trainer_free(w->trainer);
        CHECK_STATUS(bert_train_step(w->trainer, NULL), BERT_ERR_HANDLE);
    }
}

static void a_trainer_freed_in_its_callback_finishes_its_call(void)
{
    bert_model *model = small_model();
    watch w = {0};
    w.inside = frees_inside;
    w.stop_at = 6;
    bert_trainer *trainer = watching(model, &w);
    CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_CANCELLED);
    CHECK_EQUAL(w.steps, 6);
    CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_HANDLE);
    can_predict(model);
    /* The model is free to be trained by another. */
    watch again = {0};
    again.stop_at = 1;
    trainer = watching(model, &again);
    CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_CANCELLED);
    bert_trainer_free(trainer);
    bert_free(model);
}

/* After a cancellation the model has the last step's weights, also where an earlier evaluation was better. */
static void a_cancelled_run_keeps_the_last_weights(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = contrary();
    bert_model *model = small_model();
    watch w = {0};
    w.stop_at = 20;
    bert_train_options options = train_options();
    options.learning_rate = 1e-2;
    options.metric = BERT_METRIC_LOSS;
    options.best_model_path = "best_of_cancelled";
    options.progress = watched;
    options.progress_user_data = &w;
    bert_trainer *trainer = trainer_of(model, train, validation, &options);
    CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_CANCELLED);
    CHECK_EQUAL(w.steps, 20);
    CHECK_EQUAL(w.evaluations, 19);
    double best = INFINITY;
    for (int i = 0; i < w.evaluations; i++) {
        best = fmin(best, w.metric_of[i]);
    }
    CHECK(loss_on(model, validation) > best);
    bert_model *on_disk = load_model("best_of_cancelled");
    CHECK(loss_on(on_disk, validation) == best);
    bert_free(on_disk);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

static void cancels_at_the_end(const bert_progress *progress, void *user_data)
{
    watch *w = user_data;
    if (progress->step == progress->total_steps) {
        bert_trainer_cancel(w->trainer);
    }
}

/* The plan's last step is one like any other: the call that is running tells of the cancellation, and none is left
 * over for the next. */
static void a_cancellation_in_the_last_step_is_told(void)
{
    bert_model *model = small_model();
    watch w = {0};
    w.inside = cancels_at_the_end;
    bert_trainer *trainer = watching(model, &w);
    CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_CANCELLED);
    CHECK_EQUAL(w.steps, 100);
    CHECK_STATUS(bert_train_step(trainer, NULL), BERT_ERR_FINISHED);
    bert_trainer_free(trainer);
    bert_free(model);
}

int main(void)
{
    evaluations_come_when_due();
    the_best_weights_are_restored();
    early_stopping_ends_a_run_that_gets_no_better();
    each_metric_picks_its_best();
    the_callback_can_stop_it();
    a_cancellation_before_the_start_is_kept();
    a_cancellation_ends_it_after_the_step();
    any_thread_and_a_signal_handler_may_cancel();
    asking_inside_the_callback_is_allowed();
    a_trainer_freed_in_its_callback_finishes_its_call();
    a_cancelled_run_keeps_the_last_weights();
    a_cancellation_in_the_last_step_is_told();
    return 0;
}
