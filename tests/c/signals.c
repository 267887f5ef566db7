/* A host whose timer sends a signal a thousand times a second: nothing fails, the results are the same, and only the
 * host's own threads take the signals. */

#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "check.h"

static volatile sig_atomic_t taken, taken_elsewhere;
static pthread_t host;

static void counts(int signal)
{
    (void)signal;
    taken++;
    if (!pthread_equal(pthread_self(), host)) {
        taken_elsewhere++;
    }
}

static void every_millisecond(int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = counts;
    action.sa_flags = flags;
    CHECK(sigemptyset(&action.sa_mask) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

static void never(void)
{
    struct itimerval timer = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
}

/* From a data file to a saved model and back. */
static saved use_everything(void)
{
    bert_dataset *train = NULL, *validation = toy(BERT_TOY_VALIDATION);
    CHECK_OK(bert_dataset_read("signals.tsv", NULL, &train));
    bert_model_options options = small_options();
    options.hidden_size = 64;
    bert_model *model = create(&options, train), *loaded = NULL;
    bert_train_options training = train_options();
    training.epochs = 4;
    training.batch_size = 8;
    training.best_model_path = "signals-best";
    bert_trainer *trainer = trainer_of(model, train, validation, &training);
    CHECK_OK(bert_set_num_threads(2));
    CHECK_OK(bert_train(trainer, NULL));
    for (int i = 0; i < 10; i++) {
        CHECK_OK(bert_save(model, "signals-model"));
        CHECK_OK(bert_load("signals-model", NULL, &loaded));
        CHECK(are_equal(model, loaded));
        bert_free(loaded);
        CHECK_OK(bert_load("signals-best", NULL, &loaded));
        bert_free(loaded);
    }
    saved bytes = save(model);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(validation);
    return bytes;
}

/* Every class name twice, with many texts, so that reading takes more than one read. */
static void write_data(void)
{
    FILE *file = fopen("signals.tsv", "w");
    CHECK(file != NULL);
    fputs("text\tlabel\n", file);
    for (int i = 0; i < 400; i++) {
        fprintf(file, "%s number %d\t%s\n", i % 2 ? "a great film" : "terrible food", i % 20,
                i % 2 ? "positive" : "negative");
    }
    CHECK(fclose(file) == 0);
}

int main(void)
{
    struct sigaction pipe_before, pipe_after, alarm_after;
    host = pthread_self();
    write_data();
    CHECK(sigaction(SIGPIPE, NULL, &pipe_before) == 0);
    saved expected = use_everything();
    static const int flags[] = {0, SA_RESTART};
    for (size_t i = 0; i < COUNT_OF(flags); i++) {
        taken = 0;
        every_millisecond(flags[i]);
        saved got = use_everything();
        CHECK(sigaction(SIGALRM, NULL, &alarm_after) == 0);
        CHECK(alarm_after.sa_handler == counts);
        never();
        CHECK(is_same(expected, got));
        CHECK(taken > 20);
        CHECK_EQUAL(taken_elsewhere, 0);
        release(got);
    }
    CHECK(sigaction(SIGPIPE, NULL, &pipe_after) == 0);
    CHECK(pipe_before.sa_handler == SIG_DFL && pipe_after.sa_handler == SIG_DFL);
    release(expected);
    return 0;
}
