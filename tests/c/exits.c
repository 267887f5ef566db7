/* Ways for a process or a thread to end while the library is at work: none crashes, none hangs, and the exit code is the
 * host's.
 *
 *     exits          runs every way in processes of its own, BERT_EXIT_RUNS times each (default 100)
 *     exits WAY      ends that way */

#define _GNU_SOURCE

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { CODE = 43 };

static bert_model *model;
static bert_dataset *train;
static bert_trainer *trainer;

static int is_on_gpu;

static void prepare(bert_progress_callback callback)
{
    train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    model = create(&options, train);
    is_on_gpu = !is_on_cpu(model);
    bert_train_options training = train_options();
    training.epochs = 1000000;
    training.batch_size = 4;
    training.progress = callback;
    trainer = trainer_of(model, train, NULL, &training);
}

/* The library's answer to a thread that goes on while the process ends; it must be one. */
static void *predicts_for_ever(void *argument)
{
    static const char *const text = "a great film";
    (void)argument;
    for (;;) {
        float logits[8];
        bert_predictions out;
        CHECK_OK(bert_predictions_init(&out, sizeof(out)));
        out.logits = logits;
        out.logits_capacity = COUNT_OF(logits);
        bert_status status = bert_predict_batch(model, 1, &text, NULL, NULL, NULL, NULL, &out);
        if (status == BERT_ERR_HANDLE || (is_on_gpu && status == BERT_ERR_DEVICE)) {
            /* One of the ways frees the model at the end, and a GPU's driver ends before the process does. */
            return NULL;
        }
        CHECK_OK(status);
    }
}

static void *trains_for_ever(void *argument)
{
    (void)argument;
    bert_status status = bert_train(trainer, NULL);
    (void)status;
    return NULL;
}

static void *saves_for_ever(void *argument)
{
    (void)argument;
    saved bytes;
    while (bert_save_to_buffer(model, &bytes.bytes, &bytes.length) == BERT_OK) {
        release(bytes);
    }
    return NULL;
}

static void start(void *(*run)(void *))
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, NULL) == 0);
}

static void a_moment(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    usleep((useconds_t)(now.tv_nsec / 1000 % 3000));
}

static void everything_runs(void)
{
    prepare(NULL);
    start(predicts_for_ever);
    start(trains_for_ever);
    start(saves_for_ever);
    a_moment();
}

static void *exits(void *argument)
{
    (void)argument;
    a_moment();
    exit(CODE);
}

/* ---- The ways -------------------------------------------------------------------------------------------------------- */

static void returns_from_main(void)
{
    everything_runs();
}

static void exits_from_a_thread(void)
{
    everything_runs();
    start(exits);
    pause();
}

static int32_t exits_in_a_callback(const bert_progress *progress, void *user_data)
{
    (void)user_data;
    if (progress->step == 3) {
        exit(CODE);
    }
    return 0;
}

static void exits_from_a_callback(void)
{
    prepare(exits_in_a_callback);
    start(predicts_for_ever);
    bert_status status = bert_train(trainer, NULL);
    (void)status;
}

static void exits_from_a_threads_callback(void)
{
    prepare(exits_in_a_callback);
    start(predicts_for_ever);
    start(trains_for_ever);
    pause();
}

static void exits_in_the_log(int32_t level, const char *message, void *user_data)
{
    (void)level, (void)message, (void)user_data;
    exit(CODE);
}

static void exits_from_the_log(void)
{
    prepare(NULL);
    CHECK_OK(bert_set_log_callback(exits_in_the_log, NULL));
    bert_train_options options = train_options();
    options.max_length = 4;
    trainer_of(model, train, NULL, &options);
}

static void exits_quickly(void)
{
    everything_runs();
    quick_exit(CODE);
}

static void exits_at_once(void)
{
    everything_runs();
    _exit(CODE);
}

static void leaves_main_alone(void)
{
    everything_runs();
    start(exits);
    pthread_exit(NULL);
}

/* Functions that run at the end may call the library: it answers. They were registered before the GPU's driver registered
 * its own, and so run after it has gone. */
static void uses_the_library(void)
{
    float logits[8];
    bert_model_options options = small_options();
    if (is_on_gpu) {
        bert_model *other = NULL;
        options.device = test_device();
        CHECK_STATUS(bert_create(&options, train, &other), BERT_ERR_DEVICE);
        CHECK_MESSAGE("ending");
        options.device = "cpu";
    }
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    bert_model *other = create(&options, dataset);
    logits_of(other, "a great film", logits);
    bert_free(other);
    bert_dataset_free(dataset);
    CHECK_STATUS(bert_set_num_threads(-1), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("must not be negative");
}

static int uses_it_at_the_very_end;

__attribute__((destructor)) static void at_the_very_end(void)
{
    if (uses_it_at_the_very_end) {
        uses_the_library();
        bert_trainer_free(trainer);
        bert_free(model);
        bert_dataset_free(train);
    }
}

static void calls_at_exit(void)
{
    CHECK(atexit(uses_the_library) == 0);
    uses_it_at_the_very_end = 1;
    everything_runs();
}

/* The library's own data of a thread is gone when the host's destructors run: it answers nevertheless. */
static void calls_while_the_thread_ends(void *value)
{
    (void)value;
    float logits[8];
    CHECK(bert_last_error_message() != NULL);
    CHECK_STATUS(bert_set_num_threads(-1), BERT_ERR_INVALID_ARGUMENT);
    CHECK(bert_last_error_message() != NULL);
    logits_of(model, "a great film", logits);
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    bert_trainer *other = trainer_of(model, dataset, NULL, NULL);
    bert_status status = bert_train_step(other, NULL);
    CHECK(status == BERT_OK || status == BERT_ERR_BUSY);
    bert_trainer_free(other);
    bert_dataset_free(dataset);
}

static pthread_key_t key;

static void *ends(void *argument)
{
    CHECK_STATUS(bert_set_num_threads(-1), BERT_ERR_INVALID_ARGUMENT);
    CHECK(pthread_setspecific(key, argument) == 0);
    return NULL;
}

static void calls_from_a_destructor(void)
{
    pthread_t threads[4];
    CHECK(pthread_key_create(&key, calls_while_the_thread_ends) == 0);
    prepare(NULL);
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        CHECK(pthread_create(&threads[i], NULL, ends, &key) == 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

/* A thread that is ended outside of the library takes nothing along. */
static void *waits(void *argument)
{
    float logits[8];
    logits_of(model, "a great film", logits);
    pthread_exit(argument);
}

static void ends_threads(void)
{
    prepare(NULL);
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, waits, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
    }
    CHECK_OK(bert_train_step(trainer, NULL));
}

/* ---- Running them ---------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    void (*run)(void);
    int code;
} way;

static const way ways[] = {
    {"return from main", returns_from_main, 0},
    {"exit() from a thread", exits_from_a_thread, CODE},
    {"exit() in a callback", exits_from_a_callback, CODE},
    {"exit() in a thread's callback", exits_from_a_threads_callback, CODE},
    {"exit() in the log", exits_from_the_log, CODE},
    {"quick_exit()", exits_quickly, CODE},
    {"_exit()", exits_at_once, CODE},
    {"pthread_exit() from main", leaves_main_alone, CODE},
    {"calls at exit", calls_at_exit, 0},
    {"calls in a thread's destructor", calls_from_a_destructor, 0},
    {"threads that end", ends_threads, 0},
};

static void run_in_a_process(const char *program, size_t index, int run)
{
    char number[8];
    snprintf(number, sizeof(number), "%zu", index);
    pid_t child = fork();
    if (child == 0) {
        /* A process that hangs is ended, and that is a failure. */
        alarm(60);
        execl(program, program, number, (char *)NULL);
        _exit(1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != ways[index].code) {
        fprintf(stderr, "%s, run %d: %s %d\n", ways[index].name, run, WIFEXITED(status) ? "exit code" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        ways[(size_t)atoi(argv[1]) % COUNT_OF(ways)].run();
        return 0;
    }
    const char *asked = getenv("BERT_EXIT_RUNS");
    int runs = asked != NULL ? atoi(asked) : 100;
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        for (int run = 0; run < runs; run++) {
            run_in_a_process(argv[0], i, run);
        }
    }
    return 0;
}
