/* When callbacks are never called again: bert_trainer_close while other threads are inside training calls, and
 * bert_set_log_callback while other threads are inside the former callback. What a callback uses is gone as soon as the
 * function has returned: a page that can't be touched any more, so that a call that comes later ends the process. */

#define _DEFAULT_SOURCE

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

/* ---- What a callback uses -------------------------------------------------------------------------------------------- */

enum { PAGE = 65536 };

typedef struct {
    bert_trainer *trainer, *other;
    /* How often the callback was entered, and whether it is running. */
    int calls, is_inside;
    /* How long it stays, in microseconds; where it waits for `may_leave` instead, -1. */
    int stay, may_leave;
    /* At which call the run is cancelled; 0: at none. */
    int cancel_at;
    /* What it does inside. */
    void (*inside)(void *host);
} host;

static host *new_host(void)
{
    host *h = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(h != MAP_FAILED);
    return h;
}

/* Its address isn't given out again: whoever uses it from here on is ended. */
static void take_away(host *h)
{
    CHECK_EQUAL(__atomic_load_n(&h->is_inside, __ATOMIC_SEQ_CST), 0);
    CHECK(mprotect(h, PAGE, PROT_NONE) == 0);
}

static void be_inside(host *h)
{
    __atomic_store_n(&h->is_inside, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&h->calls, 1, __ATOMIC_SEQ_CST);
    if (h->inside != NULL) {
        h->inside(h);
    }
    if (h->stay < 0) {
        while (!__atomic_load_n(&h->may_leave, __ATOMIC_SEQ_CST)) {
            usleep(100);
        }
    } else if (h->stay > 0) {
        usleep((unsigned)h->stay);
    }
    __atomic_store_n(&h->is_inside, 0, __ATOMIC_SEQ_CST);
}

static int32_t on_progress(const bert_progress *progress, void *user_data)
{
    CHECK(progress->step >= 1);
    be_inside(user_data);
    return 0;
}

static void wait_for_calls(host *h, int calls)
{
    while (__atomic_load_n(&h->calls, __ATOMIC_SEQ_CST) < calls) {
        usleep(50);
    }
}

/* ---- Closing while a call is inside ---------------------------------------------------------------------------------- */

static bert_dataset *train, *validation;

static bert_train_options endless(host *h)
{
    bert_train_options options = train_options();
    options.epochs = 1000000;
    options.batch_size = 8;
    options.progress = h == NULL ? NULL : on_progress;
    options.progress_user_data = h;
    return options;
}

/* What a thread makes of a trainer until that is closed. Each ends by itself only where the trainer does. */
typedef enum { TRAIN, EPOCHS, STEPS, RESUMES, WAYS } way;

typedef struct {
    bert_trainer *trainer;
    way way;
    int calls;
    /* The first answer that wasn't BERT_OK, and the report that came with it. */
    bert_status status;
    bert_train_report report;
} worker;

static void *works(void *argument)
{
    worker *w = argument;
    bert_train_report report = report_init();
    do {
        switch (w->way) {
        case TRAIN:
            w->status = bert_train(w->trainer, &report);
            break;
        case EPOCHS:
            w->status = bert_train_epoch(w->trainer, NULL);
            break;
        case STEPS:
            w->status = bert_train_step(w->trainer, NULL);
            break;
        default:
            w->status = bert_trainer_resume(w->trainer, "checkpoint", NULL);
        }
        __atomic_fetch_add(&w->calls, 1, __ATOMIC_SEQ_CST);
    } while (w->status == BERT_OK);
    w->report = report;
    /* Once more, with the handle that is gone. */
    CHECK_STATUS(bert_train_step(w->trainer, NULL), BERT_ERR_HANDLE);
    return NULL;
}

static void closing_waits_for_the_call_that_is_inside(void)
{
    bert_model *model = small_model();
    bert_train_options plain = endless(NULL);
    bert_trainer *first = trainer_of(model, train, NULL, &plain);
    CHECK_OK(bert_train_step(first, NULL));
    CHECK_OK(bert_trainer_save(first, "checkpoint"));
    CHECK_OK(bert_trainer_close(first));
    for (int round = 0; round < 25; round++) {
        for (int kind = 0; kind < WAYS; kind++) {
            host *h = new_host();
            h->stay = round % 3 * 150;
            bert_train_options options = endless(h);
            worker w = {trainer_of(model, train, round % 2 ? validation : NULL, &options), (way)kind, 0, BERT_OK,
                        report_init()};
            pthread_t thread;
            CHECK(pthread_create(&thread, NULL, works, &w) == 0);
            if (kind == RESUMES) {
                while (__atomic_load_n(&w.calls, __ATOMIC_SEQ_CST) < 1 + round % 4) {
                    usleep(50);
                }
            } else {
                wait_for_calls(h, 1 + round % 4);
            }
            usleep((unsigned)(round * 37 % 400));
            CHECK_OK(bert_trainer_close(w.trainer));
            take_away(h);
            /* Nothing of it is left that would be in another trainer's way. */
            bert_trainer *next = trainer_of(model, train, NULL, &plain);
            CHECK_OK(bert_train_step(next, NULL));
            CHECK_OK(bert_trainer_close(next));
            CHECK(pthread_join(thread, NULL) == 0);
            if (kind == RESUMES || kind == STEPS) {
                /* It came between two calls, or ended one. */
                CHECK(w.status == BERT_ERR_HANDLE || (kind == STEPS && w.status == BERT_ERR_CANCELLED));
            } else if (w.status != BERT_ERR_HANDLE || kind == TRAIN) {
                CHECK_STATUS(w.status, BERT_ERR_CANCELLED);
            }
            if (kind == TRAIN) {
                CHECK_EQUAL(w.report.stop_reason, BERT_STOP_CANCELLED);
                CHECK(w.report.steps >= 1 && w.report.tokens > 0);
            }
            CHECK_STATUS(bert_trainer_close(w.trainer), BERT_ERR_HANDLE);
        }
    }
    bert_free(model);
}

/* It doesn't return while the callback is running. */
typedef struct {
    bert_trainer *trainer;
    bert_status status;
    int has_returned;
} closer;

static void *closes(void *argument)
{
    closer *c = argument;
    c->status = bert_trainer_close(c->trainer);
    __atomic_store_n(&c->has_returned, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void closing_does_not_return_before_the_callback_does(void)
{
    bert_model *model = small_model();
    host *h = new_host();
    h->stay = -1;
    bert_train_options options = endless(h);
    worker w = {trainer_of(model, train, NULL, &options), TRAIN, 0, BERT_OK, report_init()};
    closer c = {w.trainer, BERT_OK, 0};
    pthread_t thread, closing;
    CHECK(pthread_create(&thread, NULL, works, &w) == 0);
    wait_for_calls(h, 1);
    CHECK(pthread_create(&closing, NULL, closes, &c) == 0);
    /* The handle is gone at once, for everybody else. */
    while (bert_trainer_save(w.trainer, "checkpoint") != BERT_ERR_HANDLE) {
        sched_yield();
    }
    usleep(50000);
    CHECK_EQUAL(__atomic_load_n(&c.has_returned, __ATOMIC_SEQ_CST), 0);
    CHECK_EQUAL(__atomic_load_n(&h->is_inside, __ATOMIC_SEQ_CST), 1);
    __atomic_store_n(&h->may_leave, 1, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(closing, NULL) == 0);
    CHECK_OK(c.status);
    CHECK_EQUAL(h->calls, 1);
    take_away(h);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK_STATUS(w.status, BERT_ERR_CANCELLED);
    bert_free(model);
}

/* Who of two is later may find it closed; who has closed it finds the callback at an end. */
static void two_threads_may_close_at_once(void)
{
    bert_model *model = small_model();
    for (int round = 0; round < 40; round++) {
        host *h = new_host();
        h->stay = 300;
        bert_train_options options = endless(h);
        worker w = {trainer_of(model, train, NULL, &options), round % 2 ? TRAIN : EPOCHS, 0, BERT_OK, report_init()};
        closer both[2] = {{w.trainer, BERT_OK, 0}, {w.trainer, BERT_OK, 0}};
        pthread_t thread, closing[2];
        CHECK(pthread_create(&thread, NULL, works, &w) == 0);
        wait_for_calls(h, 1);
        for (int i = 0; i < 2; i++) {
            CHECK(pthread_create(&closing[i], NULL, closes, &both[i]) == 0);
        }
        int closed = 0;
        for (int i = 0; i < 2; i++) {
            CHECK(pthread_join(closing[i], NULL) == 0);
            CHECK(both[i].status == BERT_OK || both[i].status == BERT_ERR_HANDLE);
            closed += both[i].status == BERT_OK;
        }
        CHECK(closed >= 1);
        take_away(h);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    bert_free(model);
}

/* ---- Closing inside a callback --------------------------------------------------------------------------------------- */

static void closes_itself(void *argument)
{
    host *h = argument;
    CHECK_STATUS(bert_trainer_close(h->trainer), BERT_ERR_BUSY);
    CHECK_MESSAGE("own training call");
    if (h->calls == h->cancel_at) {
        bert_trainer_cancel(h->trainer);
    }
}

/* It would wait for itself. The trainer is none the worse for it. */
static void closing_inside_the_own_callback_is_refused(void)
{
    bert_model *model = small_model();
    for (int kind = TRAIN; kind <= STEPS; kind++) {
        host *h = new_host();
        h->inside = closes_itself;
        h->cancel_at = kind == TRAIN ? 3 : 0;
        bert_train_options options = endless(h);
        h->trainer = trainer_of(model, train, validation, &options);
        if (kind == TRAIN) {
            CHECK_STATUS(bert_train(h->trainer, NULL), BERT_ERR_CANCELLED);
            CHECK_EQUAL(h->calls, 3);
        } else if (kind == EPOCHS) {
            CHECK_OK(bert_train_epoch(h->trainer, NULL));
        } else {
            CHECK_OK(bert_train_step(h->trainer, NULL));
        }
        CHECK_OK(bert_train_step(h->trainer, NULL));
        CHECK_OK(bert_trainer_close(h->trainer));
        take_away(h);
    }
    bert_free(model);
}

static void closes_another(void *argument)
{
    host *h = argument;
    if (h->other != NULL) {
        CHECK_OK(bert_trainer_close(h->other));
        CHECK_STATUS(bert_trainer_close(h->other), BERT_ERR_HANDLE);
        h->other = NULL;
    }
}

/* Inside the callback of one trainer another is closed, idle or inside a call of another thread. */
static void closing_inside_the_callback_of_another_is_allowed(void)
{
    bert_model *model = small_model(), *second = small_model();
    for (int is_running = 0; is_running < 2; is_running++) {
        host *h = new_host(), *of_other = new_host();
        of_other->stay = 100;
        bert_train_options options = endless(of_other);
        worker w = {trainer_of(second, train, NULL, &options), TRAIN, 0, BERT_OK, report_init()};
        h->other = w.trainer;
        h->inside = closes_another;
        options = endless(h);
        h->trainer = trainer_of(model, train, NULL, &options);
        pthread_t thread;
        if (is_running) {
            CHECK(pthread_create(&thread, NULL, works, &w) == 0);
            wait_for_calls(of_other, 2);
        }
        CHECK_OK(bert_train_step(h->trainer, NULL));
        take_away(of_other);
        if (is_running) {
            CHECK(pthread_join(thread, NULL) == 0);
            CHECK_STATUS(w.status, BERT_ERR_CANCELLED);
        }
        CHECK_OK(bert_trainer_close(h->trainer));
        take_away(h);
    }
    bert_free(model);
    bert_free(second);
}

/* Within the callback of a call within the callback of a call: neither can be closed there. */
static void trains_another(void *argument)
{
    host *h = argument;
    CHECK_OK(bert_train_step(h->other, NULL));
    CHECK_STATUS(bert_trainer_close(h->trainer), BERT_ERR_BUSY);
}

static void closes_both(void *argument)
{
    host *h = argument;
    CHECK_STATUS(bert_trainer_close(h->trainer), BERT_ERR_BUSY);
    CHECK_STATUS(bert_trainer_close(h->other), BERT_ERR_BUSY);
}

static void calls_within_callbacks_count_too(void)
{
    bert_model *model = small_model(), *second = small_model();
    host *outer = new_host(), *inner = new_host();
    outer->inside = trains_another;
    inner->inside = closes_both;
    bert_train_options options = endless(outer);
    outer->trainer = trainer_of(model, train, NULL, &options);
    options = endless(inner);
    inner->trainer = outer->other = trainer_of(second, train, NULL, &options);
    inner->other = outer->trainer;
    CHECK_OK(bert_train_step(outer->trainer, NULL));
    CHECK_EQUAL(inner->calls, 1);
    CHECK_OK(bert_trainer_close(outer->trainer));
    CHECK_OK(bert_trainer_close(inner->trainer));
    take_away(outer);
    take_away(inner);
    bert_free(model);
    bert_free(second);
}

static void closes_from_the_log(int32_t level, const char *message, void *user_data)
{
    host *h = user_data;
    (void)level;
    CHECK(strlen(message) > 0);
    if (h->trainer != NULL) {
        CHECK_STATUS(bert_trainer_close(h->trainer), BERT_ERR_BUSY);
        h->calls++;
    }
}

/* The log of a training call comes on its thread: a callback of its own, as the progress callback is. */
static void closing_inside_the_log_callback_of_the_own_call_is_refused(void)
{
    bert_model *model = small_model();
    host *h = new_host();
    bert_train_options options = train_options();
    options.epochs = 1;
    options.checkpoint_path = "checkpoints";
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    CHECK_OK(bert_train(trainer, NULL));
    CHECK_OK(bert_trainer_close(trainer));
    h->trainer = trainer_of(model, train, NULL, &options);
    CHECK_OK(bert_set_log_callback(closes_from_the_log, h));
    /* It tells that it goes on from a checkpoint. */
    CHECK_OK(bert_train(h->trainer, NULL));
    CHECK(h->calls > 0);
    trainer = h->trainer;
    h->trainer = NULL;
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    take_away(h);
    CHECK_OK(bert_trainer_close(trainer));
    bert_free(model);
}

static void what_can_be_closed(void)
{
    bert_model *model = small_model();
    bert_trainer *trainer = trainer_of(model, train, NULL, NULL);
    uint64_t own[8] = {0};
    CHECK_OK(bert_trainer_close(NULL));
    CHECK_STATUS(bert_trainer_close((bert_trainer *)(void *)own), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_trainer_close((bert_trainer *)(void *)model), BERT_ERR_HANDLE);
    CHECK_MESSAGE("handle of a model");
    CHECK_STATUS(bert_trainer_close((bert_trainer *)(void *)train), BERT_ERR_HANDLE);
    CHECK_EQUAL(count_of(train), 16);
    CHECK_OK(bert_train_step(trainer, NULL));
    /* Without a call inside it doesn't wait, and leaves the model what it has learned. */
    saved before = save(model);
    CHECK_OK(bert_trainer_close(trainer));
    saved after = save(model);
    CHECK(is_same(before, after));
    release(before);
    release(after);
    CHECK_STATUS(bert_trainer_close(trainer), BERT_ERR_HANDLE);
    bert_trainer_free(trainer);
    trainer = trainer_of(model, train, NULL, NULL);
    bert_trainer_free(trainer);
    CHECK_STATUS(bert_trainer_close(trainer), BERT_ERR_HANDLE);
    for (int i = 0; i < 500; i++) {
        trainer = trainer_of(model, train, NULL, NULL);
        CHECK_OK(bert_trainer_close(trainer));
    }
    bert_free(model);
}

/* ---- The log --------------------------------------------------------------------------------------------------------- */

/* Texts that are cut: making a trainer of them has something to tell. */
static bert_dataset *cut_texts;

static void make_cut_texts(void)
{
    char text[1000] = "";
    for (int i = 0; i < 60; i++) {
        strcat(text, "wonderful ");
    }
    const char *const texts[] = {text, "terrible"}, *const names[] = {"positive", "negative"};
    cut_texts = named(2, texts, names);
}

static void says_something(const bert_model *model)
{
    bert_trainer_free(trainer_of((bert_model *)(uintptr_t)model, cut_texts, NULL, NULL));
}

static void on_log(int32_t level, const char *message, void *user_data)
{
    (void)level;
    CHECK(strlen(message) > 0);
    be_inside(user_data);
}

static int stop;

static void *logs(void *model)
{
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        says_something(model);
    }
    return NULL;
}

enum { THREADS = 3 };

/* After it was replaced, by another or by none, no thread is inside the former callback. */
static void replacing_the_log_callback_waits(void)
{
    bert_model *model = small_model();
    pthread_t threads[THREADS];
    stop = 0;
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, logs, model) == 0);
    }
    host *former = NULL;
    for (int round = 0; round < 60; round++) {
        host *h = round % 3 == 2 ? NULL : new_host();
        if (h != NULL) {
            h->stay = round % 4 * 200;
        }
        CHECK_OK(bert_set_log_callback(h == NULL ? NULL : on_log, h));
        if (former != NULL) {
            /* Of several threads one may have left it as another one was inside: only the count says that all have. */
            CHECK(mprotect(former, PAGE, PROT_NONE) == 0);
        }
        former = h;
        if (h != NULL) {
            wait_for_calls(h, 1 + round % 3);
        }
    }
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    if (former != NULL) {
        CHECK(mprotect(former, PAGE, PROT_NONE) == 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    bert_free(model);
}

static void *replaces_once(void *has_returned)
{
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    __atomic_store_n((int *)has_returned, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void *says_once(void *model)
{
    says_something(model);
    return NULL;
}

static void it_does_not_return_while_a_thread_is_inside(void)
{
    bert_model *model = small_model();
    host *h = new_host();
    h->stay = -1;
    int has_returned = 0;
    pthread_t saying, replacing;
    CHECK_OK(bert_set_log_callback(on_log, h));
    CHECK(pthread_create(&saying, NULL, says_once, model) == 0);
    wait_for_calls(h, 1);
    CHECK(pthread_create(&replacing, NULL, replaces_once, &has_returned) == 0);
    usleep(50000);
    CHECK_EQUAL(__atomic_load_n(&has_returned, __ATOMIC_SEQ_CST), 0);
    /* Meanwhile the log is as it was set: nobody else comes in. */
    says_something(model);
    CHECK_EQUAL(h->calls, 1);
    __atomic_store_n(&h->may_leave, 1, __ATOMIC_SEQ_CST);
    CHECK(pthread_join(replacing, NULL) == 0);
    take_away(h);
    CHECK(pthread_join(saying, NULL) == 0);
    bert_free(model);
}

static void replaces_itself(void *argument)
{
    host *h = argument;
    /* With itself, with none, with itself again. */
    CHECK_OK(bert_set_log_callback(on_log, h));
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    CHECK_OK(bert_set_log_callback(on_log, h));
}

/* From inside the callback it doesn't wait for the thread that it is called on. */
static void the_callback_may_replace_itself(void)
{
    bert_model *model = small_model();
    host *h = new_host();
    h->inside = replaces_itself;
    CHECK_OK(bert_set_log_callback(on_log, h));
    says_something(model);
    CHECK(h->calls >= 1);
    int calls = h->calls;
    says_something(model);
    CHECK(h->calls > calls);
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    take_away(h);
    says_something(model);
    bert_free(model);
}

/* Several threads inside, each of which replaces the callback. */
static void threads_may_replace_it_inside_at_once(void)
{
    bert_model *model = small_model();
    host *h = new_host();
    h->inside = replaces_itself;
    pthread_t threads[THREADS];
    stop = 0;
    CHECK_OK(bert_set_log_callback(on_log, h));
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, logs, model) == 0);
    }
    wait_for_calls(h, 100);
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    bert_free(model);
}

static void *replaces(void *argument)
{
    (void)argument;
    for (int round = 0; round < 60; round++) {
        host *h = new_host();
        h->stay = 50;
        CHECK_OK(bert_set_log_callback(on_log, h));
        sched_yield();
        /* Whether it is still this one or another thread's: after this nobody is inside either. */
        CHECK_OK(bert_set_log_callback(NULL, NULL));
    }
    return NULL;
}

/* Neither waits for ever for the other's. */
static void two_threads_may_replace_it_at_once(void)
{
    bert_model *model = small_model();
    pthread_t saying[THREADS], replacing[2];
    stop = 0;
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&saying[i], NULL, logs, model) == 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&replacing[i], NULL, replaces, NULL) == 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(replacing[i], NULL) == 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(saying[i], NULL) == 0);
    }
    bert_free(model);
}

int main(void)
{
    /* Who waits for ever is ended. */
    alarm(280);
    train = toy(BERT_TOY_TRAIN);
    validation = toy(BERT_TOY_VALIDATION);
    make_cut_texts();
    what_can_be_closed();
    closing_waits_for_the_call_that_is_inside();
    closing_does_not_return_before_the_callback_does();
    two_threads_may_close_at_once();
    closing_inside_the_own_callback_is_refused();
    closing_inside_the_callback_of_another_is_allowed();
    calls_within_callbacks_count_too();
    closing_inside_the_log_callback_of_the_own_call_is_refused();
    replacing_the_log_callback_waits();
    it_does_not_return_while_a_thread_is_inside();
    the_callback_may_replace_itself();
    threads_may_replace_it_inside_at_once();
    two_threads_may_replace_it_at_once();
    bert_dataset_free(cut_texts);
    bert_dataset_free(train);
    bert_dataset_free(validation);
    return 0;
}
