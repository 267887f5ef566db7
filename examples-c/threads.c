/* Several threads classify with one model at once, with no lock of their own, and each gets, bit for bit, the answers
 * that a single thread gets.
 *
 *     threads [device] [number of threads]
 *
 * Exit code 0: all answers were the same. */

#include <bert.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS 6
#define LABELS 2
#define ROUNDS 20

static const char *const texts[TEXTS] = {
    "we loved the wonderful evening",
    "the phone was slow and the screen was terrible",
    "an excellent story",
    "rude staff , awful food , and a boring room far too loud to enjoy anything at all",
    "",
    "words that nobody has seen before",
};

static void check(bert_status status, const char *what) {
    if (status != BERT_OK) {
        /* Each thread has its own last error: this is the sentence for the call that failed here. */
        fprintf(stderr, "%s: %s (%s)\n", what, bert_last_error_message(), bert_status_string(status));
        exit(1);
    }
}

/* The library prints nothing: what may be a mistake comes here, such as parts of a model that were never trained. */
static void print_warning(int32_t level, const char *message, void *user_data) {
    (void)user_data;
    if (level >= BERT_LOG_WARNING) {
        fprintf(stderr, "threads: warning: %s\n", message);
    }
}

/* Half of the rounds ask for all texts in one call, the others for one text at a time. A text's answer can differ in
 * its last bits between these two ways (never between threads), so that each way is compared with itself. */
enum { IN_ONE_CALL, ONE_BY_ONE, WAYS };

static void classify(const bert_model *model, int way, float probabilities[TEXTS * LABELS]) {
    size_t at_once = way == IN_ONE_CALL ? TEXTS : 1;
    for (size_t i = 0; i < TEXTS; i += at_once) {
        bert_predictions predictions;
        check(bert_predictions_init(&predictions, sizeof predictions), "bert_predictions_init");
        predictions.probabilities = probabilities + i * LABELS;
        predictions.probabilities_capacity = at_once * LABELS;
        check(bert_predict_batch(model, at_once, texts + i, NULL, NULL, NULL, NULL, &predictions),
              "bert_predict_batch");
    }
}

struct job {
    const bert_model *model;
    float (*expected)[TEXTS * LABELS]; /* by way */
    int differences;
};

static void *run(void *argument) {
    struct job *job = argument;
    for (int round = 0; round < ROUNDS; round++) {
        float probabilities[TEXTS * LABELS];
        classify(job->model, round % WAYS, probabilities);
        if (memcmp(probabilities, job->expected[round % WAYS], sizeof probabilities) != 0) {
            job->differences++;
        }
    }
    return NULL;
}

static bert_model *train_toy_model(const char *device) {
    bert_dataset *train;
    check(bert_dataset_toy(BERT_TOY_TRAIN, &train), "bert_dataset_toy");
    bert_model_options options;
    check(bert_model_options_init(&options, sizeof options, BERT_PRESET_COMPACT), "bert_model_options_init");
    options.device = device;
    bert_model *model;
    check(bert_create(&options, train, &model), "bert_create");
    bert_trainer *trainer;
    check(bert_trainer_create(model, train, NULL, NULL, &trainer), "bert_trainer_create");
    check(bert_train(trainer, NULL), "bert_train");
    bert_trainer_free(trainer);
    bert_dataset_free(train);
    return model;
}

int main(int argc, char **argv) {
    const char *device = argc > 1 ? argv[1] : "cpu";
    int count = argc > 2 ? atoi(argv[2]) : 8;
    if (count < 1 || count > 1000) {
        fprintf(stderr, "the number of threads must be from 1 to 1000\n");
        return 2;
    }

    check(bert_set_log_callback(print_warning, NULL), "bert_set_log_callback");
    bert_model *model = train_toy_model(device);
    float expected[WAYS][TEXTS * LABELS];
    for (int way = 0; way < WAYS; way++) {
        classify(model, way, expected[way]);
    }

    pthread_t *threads = malloc((size_t)count * sizeof *threads);
    struct job *jobs = malloc((size_t)count * sizeof *jobs);
    if (threads == NULL || jobs == NULL) {
        fprintf(stderr, "out of memory\n");
        return 1;
    }
    for (int i = 0; i < count; i++) {
        jobs[i].model = model;
        jobs[i].expected = expected;
        jobs[i].differences = 0;
        if (pthread_create(&threads[i], NULL, run, &jobs[i]) != 0) {
            fprintf(stderr, "thread %d can't be started\n", i + 1);
            return 1;
        }
    }
    int differences = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        differences += jobs[i].differences;
    }
    free(threads);
    free(jobs);
    bert_free(model);

    printf("%d threads, %d rounds of %d texts each: %d rounds differ from the single thread's\n", count, ROUNDS, TEXTS,
           differences);
    return differences == 0 ? 0 : 1;
}
