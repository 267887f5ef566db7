/* Many threads on one model, also while it is trained or freed; forked processes; signals; exit in the middle. */

#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define THREADS 8
#define CLASSES 2

static const char *const texts[] = {"a great film", "terrible food", "", "we loved the rude staff and the noisy room",
                                    "what a waste of an evening", "wonderful"};
#define TEXTS COUNT_OF(texts)

static bert_status all_logits(const bert_model *model, float logits[TEXTS * CLASSES])
{
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = logits;
    out.logits_capacity = TEXTS * CLASSES;
    return bert_predict_batch(model, TEXTS, texts, NULL, NULL, NULL, NULL, &out);
}

/* A flag between threads, without C11's atomics. */
typedef struct {
    pthread_mutex_t lock;
    int value;
} shared_int;

#define SHARED_INT {PTHREAD_MUTEX_INITIALIZER, 0}

static int get(shared_int *shared)
{
    pthread_mutex_lock(&shared->lock);
    int value = shared->value;
    pthread_mutex_unlock(&shared->lock);
    return value;
}

static void add(shared_int *shared, int value)
{
    pthread_mutex_lock(&shared->lock);
    shared->value += value;
    pthread_mutex_unlock(&shared->lock);
}

static void start(pthread_t threads[], int count, void *(*run)(void *), void *argument)
{
    for (int i = 0; i < count; i++) {
        CHECK(pthread_create(&threads[i], NULL, run, argument) == 0);
    }
}

static void join(pthread_t threads[], int count)
{
    for (int i = 0; i < count; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

typedef struct {
    const bert_model *model;
    float expected[TEXTS * CLASSES];
} alike;

static void *predicts_alike(void *argument)
{
    const alike *a = argument;
    for (int i = 0; i < 30; i++) {
        float got[TEXTS * CLASSES];
        CHECK_OK(all_logits(a->model, got));
        CHECK(memcmp(got, a->expected, sizeof(got)) == 0);
    }
    return NULL;
}

/* Bit for bit the same answers, however many ask and however many threads compute. */
static void threads_get_a_single_threads_answers(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = create(NULL, train);
    alike a = {model, {0}};
    CHECK_OK(all_logits(model, a.expected));
    pthread_t threads[THREADS];
    start(threads, THREADS, predicts_alike, &a);
    for (int32_t count = 1; count <= 12; count++) {
        CHECK_OK(bert_set_num_threads(1 + count % 4));
    }
    join(threads, THREADS);
    for (int32_t count = 1; count <= 4; count++) {
        CHECK_OK(bert_set_num_threads(count));
        predicts_alike(&a);
    }
    CHECK_OK(bert_set_num_threads(0));
    bert_free(model);
    bert_dataset_free(train);
}

#define MOST_STEPS 200

/* The answers of each step's weights, and those that other threads got meanwhile. */
typedef struct {
    bert_model *model;
    shared_int done;
    int steps;
    float of_step[MOST_STEPS + 1][TEXTS * CLASSES];
} training;

static int32_t notes_answers(const bert_progress *progress, void *user_data)
{
    training *t = user_data;
    CHECK(progress->step <= MOST_STEPS);
    t->steps = (int)progress->step;
    CHECK_OK(all_logits(t->model, t->of_step[t->steps]));
    return 0;
}

typedef struct {
    training *training;
    int count;
    float (*got)[TEXTS * CLASSES];
} collector;

enum { MOST_ANSWERS = 2000 };

static void *collects(void *argument)
{
    collector *c = argument;
    while (!get(&c->training->done) && c->count < MOST_ANSWERS) {
        CHECK_OK(all_logits(c->training->model, c->got[c->count]));
        c->count++;
        bert_evaluation evaluation;
        bert_dataset *validation = toy(BERT_TOY_VALIDATION);
        CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
        CHECK_OK(bert_evaluate(c->training->model, validation, 0, &evaluation));
        bert_dataset_free(validation);
    }
    return NULL;
}

static void answers_during_training_are_of_whole_steps(void)
{
    static training t = {NULL, SHARED_INT, 0, {{0}}};
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    t.model = small_model();
    CHECK_OK(all_logits(t.model, t.of_step[0]));
    bert_train_options options = train_options();
    options.epochs = 50;
    options.batch_size = 4;
    options.progress = notes_answers;
    options.progress_user_data = &t;
    bert_trainer *trainer = trainer_of(t.model, train, NULL, &options);
    collector collectors[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        collectors[i].training = &t;
        collectors[i].count = 0;
        collectors[i].got = malloc(sizeof(*collectors[i].got) * MOST_ANSWERS);
        CHECK(collectors[i].got != NULL);
        start(&threads[i], 1, collects, &collectors[i]);
    }
    CHECK_OK(bert_train(trainer, NULL));
    add(&t.done, 1);
    join(threads, THREADS);
    CHECK_EQUAL(t.steps, 200);
    int answers = 0;
    for (int i = 0; i < THREADS; i++) {
        /* A thread's answers never go back to older weights. */
        int at = 0;
        for (int k = 0; k < collectors[i].count; k++) {
            while (at <= t.steps && memcmp(collectors[i].got[k], t.of_step[at], sizeof(t.of_step[0])) != 0) {
                at++;
            }
            CHECK(at <= t.steps);
        }
        answers += collectors[i].count;
        free(collectors[i].got);
    }
    CHECK(answers > 0);
    bert_trainer_free(trainer);
    bert_free(t.model);
    bert_dataset_free(train);
}

/* Two threads that train one trainer: each step is one's, the other is told to wait. */
typedef struct {
    bert_trainer *trainer;
    shared_int steps;
} rivals;

static void *trains_if_it_can(void *argument)
{
    rivals *r = argument;
    for (;;) {
        bert_status status = bert_train_step(r->trainer, NULL);
        if (status == BERT_ERR_FINISHED) {
            return NULL;
        }
        CHECK(status == BERT_OK || status == BERT_ERR_BUSY);
        add(&r->steps, status == BERT_OK);
    }
}

static void one_thread_at_a_time_trains(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model(), *alone = small_model();
    bert_train_options options = train_options();
    options.batch_size = 8;
    rivals r = {trainer_of(model, train, NULL, &options), SHARED_INT};
    pthread_t threads[4];
    start(threads, 4, trains_if_it_can, &r);
    join(threads, 4);
    CHECK_EQUAL(r.steps.value, 60);
    /* Whoever made the steps, they are the same steps. */
    bert_trainer *trainer = trainer_of(alone, train, NULL, &options);
    CHECK_OK(bert_train(trainer, NULL));
    CHECK(are_equal(model, alone));
    bert_trainer_free(trainer);
    bert_trainer_free(r.trainer);
    bert_free(model);
    bert_free(alone);
    bert_dataset_free(train);
}

typedef struct {
    const bert_model *model;
    shared_int answered;
    float expected[TEXTS * CLASSES];
} vanishing;

static void *predicts_until_it_is_gone(void *argument)
{
    vanishing *v = argument;
    for (;;) {
        float got[TEXTS * CLASSES];
        bert_status status = all_logits(v->model, got);
        if (status == BERT_ERR_HANDLE) {
            return NULL;
        }
        CHECK_STATUS(status, BERT_OK);
        CHECK(memcmp(got, v->expected, sizeof(got)) == 0);
        add(&v->answered, 1);
    }
}

static void a_model_may_be_freed_while_it_is_used(void)
{
    for (int round = 0; round < 5; round++) {
        bert_model *model = small_model();
        vanishing v = {model, SHARED_INT, {0}};
        CHECK_OK(all_logits(model, v.expected));
        pthread_t threads[THREADS];
        start(threads, THREADS, predicts_until_it_is_gone, &v);
        while (get(&v.answered) < 3 * THREADS) {
            usleep(100);
        }
        bert_free(model);
        join(threads, THREADS);
    }
}

static void *adds_examples(void *dataset)
{
    for (int i = 0; i < 500; i++) {
        CHECK_OK(bert_dataset_add_class(dataset, "text", NUL, NULL, 0, i % 2 ? "a" : "b", NUL));
        CHECK(count_of(dataset) > 0);
    }
    return NULL;
}

static void many_threads_add_to_a_dataset(void)
{
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    pthread_t threads[THREADS];
    start(threads, THREADS, adds_examples, dataset);
    join(threads, THREADS);
    CHECK_EQUAL(count_of(dataset), THREADS * 500);
    bert_dataset_free(dataset);
}

/* Waits for a child that must have ended by itself, with 0. */
static void check_child(pid_t child)
{
    int status = -1;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Before the library has threads a fork is nothing special: both processes go on. */
static void a_fork_before_the_first_thread_is_harmless(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    pid_t child = fork();
    if (child == 0) {
        bert_model *model = create(NULL, train);
        float logits[TEXTS * CLASSES];
        CHECK_OK(all_logits(model, logits));
        bert_free(model);
        exit(0);
    }
    check_child(child);
    bert_model *model = create(NULL, train);
    float logits[TEXTS * CLASSES];
    CHECK_OK(all_logits(model, logits));
    bert_free(model);
    bert_dataset_free(train);
}

static void a_fork_afterwards_is_told(void)
{
    /* With one there would be no threads. */
    CHECK_OK(bert_set_num_threads(2));
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_trainer *trainer = trainer_of(model, train, NULL, NULL);
    CHECK_OK(bert_train_step(trainer, NULL));
    saved bytes = save(model);
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    pid_t child = fork();
    if (child == 0) {
        size_t count = 77;
        int32_t threads = 77;
        bert_model *loaded = NULL;
        bert_dataset *fresh = NULL;
        CHECK_STATUS(bert_predict_batch(model, TEXTS, texts, NULL, NULL, NULL, NULL, &out), BERT_ERR_FORKED);
        CHECK_MESSAGE("forked");
        CHECK_STATUS(bert_train_step(trainer, NULL), BERT_ERR_FORKED);
        CHECK_STATUS(bert_dataset_count(train, &count), BERT_ERR_FORKED);
        CHECK_STATUS(bert_dataset_create(&fresh), BERT_ERR_FORKED);
        CHECK_STATUS(bert_create(NULL, train, &loaded), BERT_ERR_FORKED);
        CHECK_STATUS(bert_load_from_buffer(bytes.bytes, bytes.length, NULL, &loaded), BERT_ERR_FORKED);
        CHECK_STATUS(bert_save(model, "forked"), BERT_ERR_FORKED);
        CHECK_STATUS(bert_get_num_threads(&threads), BERT_ERR_FORKED);
        CHECK_STATUS(bert_set_num_threads(1), BERT_ERR_FORKED);
        CHECK_STATUS(bert_set_log_callback(NULL, NULL), BERT_ERR_FORKED);
        CHECK(count == 77 && threads == 77 && loaded == NULL && fresh == NULL);
        /* What needs no threads still answers. */
        CHECK_EQUAL(bert_abi_version(), BERT_ABI_VERSION);
        CHECK_TEXT(bert_status_string(BERT_ERR_FORKED), "BERT_ERR_FORKED");
        bert_trainer_cancel(trainer);
        release(bytes);
        bert_trainer_free(trainer);
        bert_free(model);
        bert_dataset_free(train);
        /* Neither does the end of the process wait for threads that aren't there. */
        exit(0);
    }
    check_child(child);
    /* The parent has noticed nothing. */
    CHECK_OK(bert_train_step(trainer, NULL));
    release(bytes);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
}

static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCHLD, SIGPIPE, SIGWINCH};

/* How many of the library's threads there are; each leaves all signals to the program's own. */
static int workers_without_signals(void)
{
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    int workers = 0;
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        if (entry->d_name[0] == '.' || atol(entry->d_name) == (long)getpid()) {
            continue;
        }
        char path[300], line[256], name[64] = "";
        snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "r");
        if (status == NULL) {
            /* It ended in between: a worker of an earlier pool. */
            continue;
        }
        while (fgets(line, sizeof(line), status) != NULL) {
            unsigned long long blocked = 0;
            sscanf(line, "Name: %63s", name);
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1) {
                for (size_t i = 0; i < COUNT_OF(signals); i++) {
                    if (!(blocked >> (signals[i] - 1) & 1)) {
                        fprintf(stderr, "the thread %s takes signal %d\n", name, signals[i]);
                    }
                    CHECK(blocked >> (signals[i] - 1) & 1);
                }
            }
        }
        fclose(status);
        workers += strncmp(name, "bert-", 5) == 0;
    }
    closedir(tasks);
    return workers;
}

static void worker_threads_take_no_signals(void)
{
    CHECK_OK(bert_set_num_threads(3));
    bert_model *model = small_model();
    float logits[TEXTS * CLASSES];
    CHECK_OK(all_logits(model, logits));
    /* A thread that has just begun has no name yet, and little work needs none of them. */
    int workers = 0;
    for (int turn = 0; turn < 1000 && workers < 3; turn++) {
        workers = workers_without_signals();
        usleep(10000);
    }
    CHECK(workers >= 3);
    /* And this thread's own mask is as it was. */
    sigset_t mask;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0);
    for (size_t i = 0; i < COUNT_OF(signals); i++) {
        CHECK(sigismember(&mask, signals[i]) == 0);
    }
    CHECK_OK(bert_set_num_threads(0));
    bert_free(model);
}

static void *predicts_for_ever(void *model)
{
    float logits[TEXTS * CLASSES];
    while (all_logits(model, logits) == BERT_OK) {
    }
    return NULL;
}

static void *trains_for_ever(void *trainer)
{
    while (bert_train(trainer, NULL) == BERT_OK) {
    }
    return NULL;
}

/* The process may end while the library is at work. */
static void exit_in_the_middle(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = create(NULL, train);
    bert_train_options options = train_options();
    options.epochs = 1000000;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    pthread_t threads[3];
    start(threads, 2, predicts_for_ever, model);
    start(threads + 2, 1, trains_for_ever, trainer);
    usleep(200000);
}

int main(void)
{
    a_fork_before_the_first_thread_is_harmless();
    threads_get_a_single_threads_answers();
    answers_during_training_are_of_whole_steps();
    one_thread_at_a_time_trains();
    a_model_may_be_freed_while_it_is_used();
    many_threads_add_to_a_dataset();
    a_fork_afterwards_is_told();
    worker_threads_take_no_signals();
    exit_in_the_middle();
    return 0;
}
