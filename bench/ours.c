/* libbert's side of the benchmark: a process that reads commands from standard input, one a line, and answers each with
 * one line of JSON. It uses the C interface alone. `run.py` drives it; the peers (`torch_peer.py`, `onnx_peer.py`)
 * understand the same commands. Only one side works at a time.
 *
 *     threads N                              computes with N threads
 *     load M PATH                            model M is the model directory PATH, with the classes "0" and "1"
 *     create EXAMPLES PATH                   saves a new compact model with a word-level tokenizer of those texts in PATH
 *     quantize M FROM                        model M is model FROM in int8
 *     data D EXAMPLES M                      examples D, whose token ids must be those that model M's tokenizer gives
 *     trainer T M D BATCH GROUP COMPUTE      GROUP 1: batches of similar length; COMPUTE: f32 or bf16,
 *                                            with "-checkpointing" after it: gradient checkpointing
 *     train T PASSES                         so often through the trainer's examples
 *     predict M D BATCH PASSES COMPUTE       so often through the examples, BATCH of them a call
 *     together M D CALLERS PASSES            the examples one a call, from so many threads at once
 *     logits M D                             the scores of the examples
 *     memory                                 the most memory that the process has had
 *
 * Models are on the device that the variable BENCH_DEVICE names, or the CPU.
 *
 * M, D and T are numbers from 0 to 7. EXAMPLES is a file of lines LABEL<TAB>TOKEN IDS<TAB>TEXT. What this library can't
 * do (yet) is answered with {"unavailable": "..."}. */

#define _POSIX_C_SOURCE 200809L

#include <bert.h>

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLOTS 8
/* Longest sequence in tokens that any row has. */
#define MAX_LENGTH 512

static void fail(const char *what, const char *why) {
    printf("{\"error\": \"%s: ", what);
    for (; *why != 0; why++) {
        putchar(*why == '"' || *why == '\\' || *why == '\n' ? '\'' : *why);
    }
    printf("\"}\n");
    fflush(stdout);
    exit(1);
}

static void check(bert_status status, const char *what) {
    if (status != BERT_OK) {
        fail(what, bert_last_error_message());
    }
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (memory == NULL) {
        fail("memory", "there is none left");
    }
    return memory;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* ---- Examples --------------------------------------------------------------------------------------------------- */

struct examples {
    size_t count, tokens;
    int64_t *labels;
    const char **texts;
    /* All sequences one after another; example i begins at offsets[i] and has lengths[i]. */
    uint32_t *ids;
    size_t *lengths, *offsets;
};

static struct examples read_examples(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail(path, "can't be opened");
    }
    struct examples examples = {0};
    size_t capacity = 0, id_capacity = 0, line_capacity = 0;
    char *line = NULL;
    ssize_t length;
    while ((length = getline(&line, &line_capacity, file)) > 0) {
        line[strcspn(line, "\n")] = 0;
        if (examples.count == capacity) {
            capacity = capacity ? 2 * capacity : 64;
            examples.labels = realloc(examples.labels, capacity * sizeof *examples.labels);
            examples.texts = realloc(examples.texts, capacity * sizeof *examples.texts);
            examples.lengths = realloc(examples.lengths, capacity * sizeof *examples.lengths);
            examples.offsets = realloc(examples.offsets, capacity * sizeof *examples.offsets);
        }
        size_t i = examples.count++;
        char *place = line;
        examples.labels[i] = strtol(place, &place, 10);
        examples.offsets[i] = examples.tokens;
        while (*++place != '\t' && *place != 0) {
            if (examples.tokens == id_capacity) {
                id_capacity = id_capacity ? 2 * id_capacity : 4096;
                examples.ids = realloc(examples.ids, id_capacity * sizeof *examples.ids);
            }
            examples.ids[examples.tokens++] = (uint32_t)strtoul(place, &place, 10);
            if (*place != ' ') {
                break;
            }
        }
        examples.lengths[i] = examples.tokens - examples.offsets[i];
        if (*place != '\t') {
            fail(path, "a line isn't LABEL<TAB>TOKEN IDS<TAB>TEXT");
        }
        examples.texts[i] = strdup(place + 1);
    }
    free(line);
    fclose(file);
    if (examples.count == 0) {
        fail(path, "there are no examples in it");
    }
    return examples;
}

/* The peers are given the ids: both sides must have the same. */
static void check_ids(const struct examples *examples, const bert_model *model) {
    uint32_t ids[MAX_LENGTH];
    for (size_t i = 0; i < examples->count; i++) {
        size_t count;
        check(bert_tokenize(model, examples->texts[i], BERT_NUL_TERMINATED, NULL, 0, 0, ids, NULL, MAX_LENGTH, &count),
              "bert_tokenize");
        if (count != examples->lengths[i] ||
            memcmp(ids, examples->ids + examples->offsets[i], count * sizeof *ids) != 0) {
            fail("other token ids than the peers have", "the comparison would not be of the same work");
        }
    }
}

static void tokenize(const struct examples *examples, const bert_model *model) {
    uint32_t ids[MAX_LENGTH];
    size_t count;
    for (size_t i = 0; i < examples->count; i++) {
        check(bert_tokenize(model, examples->texts[i], BERT_NUL_TERMINATED, NULL, 0, 0, ids, NULL, MAX_LENGTH, &count),
              "bert_tokenize");
    }
}

static bert_dataset *dataset_of(const struct examples *examples) {
    bert_dataset *dataset;
    check(bert_dataset_create(&dataset), "bert_dataset_create");
    check(bert_dataset_add_class_ids(dataset, examples->count, examples->texts, NULL, NULL, NULL, examples->labels),
          "bert_dataset_add_class_ids");
    return dataset;
}

/* ---- Training --------------------------------------------------------------------------------------------------- */

struct training {
    bert_trainer *trainer;
    const bert_model *model;
    const struct examples *examples;
    bert_train_options options;
};

static struct training make_training(bert_model *model, const struct examples *examples, int batch, int group,
                                     const char *compute, const char **unavailable) {
    struct training training = {.model = model, .examples = examples};
    *unavailable = NULL;
    bert_train_options *options = &training.options;
    check(bert_train_options_init(options, sizeof *options), "bert_train_options_init");
    options->epochs = 100000;
    options->batch_size = batch;
    options->group_by_length = group;
    options->learning_rate = 5e-5;
    options->weight_decay = 0.01;
    options->max_grad_norm = 1;
    options->schedule = BERT_SCHEDULE_CONSTANT;
    options->warmup_ratio = 0;
    if (strstr(compute, "bf16") != NULL) {
#ifdef BENCH_PRECISION
        options->precision = BERT_PRECISION_BFLOAT16;
#else
        *unavailable = "the library trains in float32 alone";
        return training;
#endif
    }
    if (strstr(compute, "checkpointing") != NULL) {
#ifdef BENCH_GRADIENT_CHECKPOINTING
        options->gradient_checkpointing = 1;
#else
        *unavailable = "the library has no gradient checkpointing";
        return training;
#endif
    }
    bert_dataset *dataset = dataset_of(examples);
    check(bert_trainer_create(model, dataset, NULL, options, &training.trainer), "bert_trainer_create");
    bert_dataset_free(dataset);
    return training;
}

static void train(const struct training *training, int passes) {
    /* With tokenization: what it costs once, beside the steps themselves. */
    double begin = now();
    tokenize(training->examples, training->model);
    double tokenization = now() - begin;

    bert_step_report report;
    check(bert_step_report_init(&report, sizeof report), "bert_step_report_init");
    size_t tokens = 0, examples = 0;
    begin = now();
    while (examples < training->examples->count * (size_t)passes) {
        check(bert_train_step(training->trainer, &report), "bert_train_step");
        tokens += (size_t)report.tokens;
        examples += (size_t)report.examples;
    }
    double seconds = now() - begin;
    printf("{\"seconds\": %.9f, \"seconds_text\": %.9f, \"tokens\": %zu, \"loss\": %.6f}\n", seconds,
           seconds + tokenization * passes, tokens, report.loss);
}

/* ---- Prediction ------------------------------------------------------------------------------------------------- */

static void prepare(bert_predictions *predictions, int32_t *label_ids, float *probabilities, size_t count) {
    check(bert_predictions_init(predictions, sizeof *predictions), "bert_predictions_init");
    predictions->label_ids = label_ids;
    predictions->label_ids_capacity = count;
    predictions->probabilities = probabilities;
    predictions->probabilities_capacity = 2 * count;
}

static void predict(const bert_model *model, const struct examples *examples, size_t batch, int passes,
                    const char *compute) {
    bert_predict_options options;
    check(bert_predict_options_init(&options, sizeof options), "bert_predict_options_init");
#ifdef BENCH_PREDICT_PRECISION
    options.precision = strcmp(compute, "bf16") == 0 ? BERT_PRECISION_BFLOAT16 : BERT_PRECISION_FLOAT32;
#else
    (void)compute;
#endif
    int32_t *label_ids = allocate(batch, sizeof *label_ids);
    float *probabilities = allocate(2 * batch, sizeof *probabilities);
    bert_predictions predictions;
    prepare(&predictions, label_ids, probabilities, batch);
    double seconds[2];
    for (int from_text = 0; from_text < 2; from_text++) {
        double begin = now();
        for (int pass = 0; pass < passes; pass++) {
            for (size_t i = 0; i < examples->count; i += batch) {
                size_t count = examples->count - i < batch ? examples->count - i : batch;
                if (from_text) {
                    check(bert_predict_batch(model, count, examples->texts + i, NULL, NULL, NULL, &options,
                                             &predictions),
                          "bert_predict_batch");
                } else {
                    check(bert_predict_ids(model, count, examples->ids + examples->offsets[i], NULL,
                                           examples->lengths + i, &options, &predictions),
                          "bert_predict_ids");
                }
            }
        }
        seconds[from_text] = now() - begin;
    }
    printf("{\"seconds\": %.9f, \"seconds_text\": %.9f, \"tokens\": %zu}\n", seconds[0], seconds[1],
           examples->tokens * (size_t)passes);
    free(label_ids);
    free(probabilities);
}

struct caller {
    const bert_model *model;
    const struct examples *examples;
    int passes;
    pthread_barrier_t *barrier;
};

static void *call(void *argument) {
    const struct caller *caller = argument;
    const struct examples *examples = caller->examples;
    int32_t label_id;
    float probabilities[2];
    bert_predictions predictions;
    prepare(&predictions, &label_id, probabilities, 1);
    pthread_barrier_wait(caller->barrier);
    for (int pass = 0; pass < caller->passes; pass++) {
        for (size_t i = 0; i < examples->count; i++) {
            check(bert_predict_ids(caller->model, 1, examples->ids + examples->offsets[i], NULL, examples->lengths + i,
                                   NULL, &predictions),
                  "bert_predict_ids");
        }
    }
    pthread_barrier_wait(caller->barrier);
    return NULL;
}

static void predict_together(const bert_model *model, const struct examples *examples, int callers, int passes) {
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)callers + 1);
    struct caller caller = {model, examples, passes, &barrier};
    pthread_t *threads = allocate((size_t)callers, sizeof *threads);
    for (int i = 0; i < callers; i++) {
        if (pthread_create(&threads[i], NULL, call, &caller) != 0) {
            fail("pthread_create", "no thread could be started");
        }
    }
    pthread_barrier_wait(&barrier);
    double begin = now();
    pthread_barrier_wait(&barrier);
    double seconds = now() - begin;
    for (int i = 0; i < callers; i++) {
        pthread_join(threads[i], NULL);
    }
    free(threads);
    pthread_barrier_destroy(&barrier);
    printf("{\"seconds\": %.9f, \"tokens\": %zu}\n", seconds, examples->tokens * (size_t)passes * (size_t)callers);
}

static void print_logits(const bert_model *model, const struct examples *examples) {
    float *logits = allocate(2 * examples->count, sizeof *logits);
    bert_predictions predictions;
    check(bert_predictions_init(&predictions, sizeof predictions), "bert_predictions_init");
    predictions.logits = logits;
    predictions.logits_capacity = 2 * examples->count;
    check(bert_predict_ids(model, examples->count, examples->ids, NULL, examples->lengths, NULL, &predictions),
          "bert_predict_ids");
    printf("{\"logits\": [");
    for (size_t i = 0; i < examples->count; i++) {
        printf("%s[%.9g, %.9g]", i ? ", " : "", (double)logits[2 * i], (double)logits[2 * i + 1]);
    }
    printf("]}\n");
    free(logits);
}

/* ---- Models ----------------------------------------------------------------------------------------------------- */

static bert_model *load(const char *path) {
    static const char *const names[] = {"0", "1"};
    bert_load_options options;
    check(bert_load_options_init(&options, sizeof options), "bert_load_options_init");
    options.label_names = names;
    options.num_label_names = 2;
    options.device = getenv("BENCH_DEVICE");
    bert_model *model;
    check(bert_load(path, &options, &model), "bert_load");
    return model;
}

/* The compact preset with what transformers can load: BERT's pooler, no layer norm after the last block. */
static void create(const char *examples_path, const char *model_path) {
    struct examples examples = read_examples(examples_path);
    static const char *const names[] = {"0", "1"};
    bert_model_options options;
    check(bert_model_options_init(&options, sizeof options, BERT_PRESET_COMPACT), "bert_model_options_init");
    options.pooling = BERT_POOLING_POOLER;
    options.final_layer_norm = 0;
    options.label_names = names;
    options.num_label_names = 2;
    bert_dataset *dataset = dataset_of(&examples);
    bert_model *model;
    check(bert_create(&options, dataset, &model), "bert_create");
    check(bert_save(model, model_path), "bert_save");
    bert_free(model);
    bert_dataset_free(dataset);
}

static void print_memory(void) {
    char line[256];
    long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "VmHWM: %ld kB", &kilobytes);
    }
    if (file == NULL || kilobytes == 0) {
        fail("/proc/self/status", "VmHWM can't be read");
    }
    fclose(file);
    printf("{\"bytes\": %ld}\n", 1024 * kilobytes);
}

/* ---- Commands --------------------------------------------------------------------------------------------------- */

static bert_model *models[SLOTS];
static struct examples examples[SLOTS];
static struct training trainings[SLOTS];

int main(void) {
    char line[4096], path[2048], path2[2048], compute[32];
    int a, b, c, d, e;
    while (fgets(line, sizeof line, stdin) != NULL) {
        const char *unavailable = NULL;
        a = b = c = 0;
        if (sscanf(line, "threads %d", &a) == 1) {
            check(bert_set_num_threads(a), "bert_set_num_threads");
            printf("{\"version\": \"%s\"}\n", bert_build_info());
        } else if (sscanf(line, "load %d %2047s", &a, path) == 2 && a >= 0 && a < SLOTS) {
            bert_free(models[a]);
            models[a] = load(path);
            printf("{}\n");
        } else if (sscanf(line, "create %2047s %2047s", path, path2) == 2) {
            create(path, path2);
            printf("{}\n");
        } else if (sscanf(line, "quantize %d %d", &a, &b) == 2 && a >= 0 && a < SLOTS && b >= 0 && b < SLOTS) {
#ifdef BENCH_QUANTIZE
            bert_free(models[a]);
            check(BENCH_QUANTIZE(models[b], &models[a]), "bert_quantize");
            printf("{}\n");
#else
            unavailable = "the library has no bert_quantize";
#endif
        } else if (sscanf(line, "data %d %2047s %d", &a, path, &b) == 3 && a >= 0 && a < SLOTS && b >= 0 && b < SLOTS) {
            examples[a] = read_examples(path);
            check_ids(&examples[a], models[b]);
            printf("{\"tokens\": %zu}\n", examples[a].tokens);
        } else if (sscanf(line, "trainer %d %d %d %d %d %31s", &a, &b, &c, &d, &e, compute) == 6 && a >= 0 && a < SLOTS &&
                   b >= 0 && b < SLOTS && c >= 0 && c < SLOTS) {
            bert_trainer_free(trainings[a].trainer);
            trainings[a] = make_training(models[b], &examples[c], d, e, compute, &unavailable);
            if (unavailable == NULL) {
                printf("{}\n");
            }
        } else if (sscanf(line, "train %d %d", &a, &b) == 2 && a >= 0 && a < SLOTS) {
            train(&trainings[a], b);
        } else if (sscanf(line, "predict %d %d %d %d %31s", &a, &b, &c, &d, compute) == 5 && a >= 0 && a < SLOTS &&
                   b >= 0 && b < SLOTS && c > 0) {
            predict(models[a], &examples[b], (size_t)c, d, compute);
        } else if (sscanf(line, "together %d %d %d %d", &a, &b, &c, &d) == 4 && a >= 0 && a < SLOTS && b >= 0 &&
                   b < SLOTS && c > 0) {
            predict_together(models[a], &examples[b], c, d);
        } else if (sscanf(line, "logits %d %d", &a, &b) == 2 && a >= 0 && a < SLOTS && b >= 0 && b < SLOTS) {
            print_logits(models[a], &examples[b]);
        } else if (strncmp(line, "memory", 6) == 0) {
            print_memory();
        } else {
            fail("unknown command", "see the list at the top of ours.c");
        }
        if (unavailable != NULL) {
            printf("{\"unavailable\": \"%s\"}\n", unavailable);
        }
        fflush(stdout);
    }
    return 0;
}
