/* Classifies the lines of standard input with a saved model, one line of output for each.
 *
 *     classify [options] MODEL-DIRECTORY < texts.txt
 *
 * Output: label and probability, separated by a tab; of a multi-label model all labels that a text has, each with its
 * probability, the best first; of a regression model the numbers. With --json a JSON object a line. Lines may be of any
 * length; an empty line is a text too. One that isn't UTF-8 is reported, has `ERROR` for its label (with --json an
 * object with "error"), and makes the exit code 1; an empty line is the answer for a text that has no label. Lines are
 * classified in batches, but an answer never waits for input that isn't there yet, so that the program can be typed to,
 * or driven by another one through pipes. */

#define _POSIX_C_SOURCE 200809L

#include <bert.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 64

static const char usage[] =
    "usage: classify [options] MODEL-DIRECTORY < texts\n"
    "  --json          a JSON object a line: text, and label and probability, or labels, or values\n"
    "  --top K         the K most probable labels, the best first\n"
    "  --threshold P   probability from which on a text has a label (multi-label); default: the model's\n"
    "  --pair          each line holds two texts, separated by a tab\n"
    "  --windows       classify long texts by overlapping windows; without it they are cut\n"
    "  --device NAME   cpu (default), cuda, cuda:N or auto\n"
    "  --help          show this\n";

static struct {
    int json, pair, windows, top;
    double threshold;
    const char *device, *model;
} options = {0, 0, 0, 0, -1, "cpu", NULL};

/* The model and what it answers, and whether a line could not be answered. */
static bert_model *model;
static bert_info info;
static int has_failed;

static void fail(const char *what) {
    fprintf(stderr, "classify: %s\n", what);
    exit(1);
}

static void check(bert_status status, const char *what) {
    if (status != BERT_OK) {
        fprintf(stderr, "classify: %s: %s (%s)\n", what, bert_last_error_message(), bert_status_string(status));
        exit(1);
    }
}

/* The library prints nothing: what may be a mistake comes here, such as parts of a model that were never trained. */
static void print_warning(int32_t level, const char *message, void *user_data) {
    (void)user_data;
    if (level >= BERT_LOG_WARNING) {
        fprintf(stderr, "classify: warning: %s\n", message);
    }
}

static void wrong_usage(const char *problem, const char *argument) {
    fprintf(stderr, "classify: %s%s (--help lists the options)\n", problem, argument);
    exit(2);
}

static void *grow(void *memory, size_t bytes) {
    memory = realloc(memory, bytes);
    if (memory == NULL) {
        fail("out of memory");
    }
    return memory;
}

static void read_arguments(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (strcmp(argument, "--json") == 0) {
            options.json = 1;
        } else if (strcmp(argument, "--pair") == 0) {
            options.pair = 1;
        } else if (strcmp(argument, "--windows") == 0) {
            options.windows = 1;
        } else if (strcmp(argument, "--help") == 0) {
            fputs(usage, stdout);
            exit(0);
        } else if (strcmp(argument, "--top") == 0 || strcmp(argument, "--device") == 0 ||
                   strcmp(argument, "--threshold") == 0) {
            if (++i == argc) {
                wrong_usage("a value is missing after ", argument);
            }
            if (strcmp(argument, "--device") == 0) {
                options.device = argv[i];
            } else if (strcmp(argument, "--threshold") == 0) {
                char *end;
                options.threshold = strtod(argv[i], &end);
                if (*argv[i] == '\0' || *end != '\0' || !(options.threshold >= 0 && options.threshold <= 1)) {
                    wrong_usage("--threshold needs a number from 0 to 1, not ", argv[i]);
                }
            } else {
                char *end;
                long top = strtol(argv[i], &end, 10);
                if (*argv[i] == '\0' || *end != '\0' || top < 1 || top > 1000000) {
                    wrong_usage("--top needs a whole number from 1, not ", argv[i]);
                }
                options.top = (int)top;
            }
        } else if (argument[0] == '-') {
            wrong_usage("there is no option ", argument);
        } else if (options.model != NULL) {
            wrong_usage("one model directory is enough: ", argument);
        } else {
            options.model = argument;
        }
    }
    if (options.model == NULL) {
        wrong_usage("the model's directory is missing", "");
    }
}

/* Standard input, read without stdio: its buffer would hide whether more input is there. */
static struct {
    char *bytes;
    size_t start, end, capacity; /* bytes[start..end] are still to be given */
    int at_end;
} input;

enum next { A_LINE, NOTHING_YET, THE_END };

/* Gives the next line, without its end; it is valid until the next call. Waits for one only if asked to. */
static enum next next_line(int wait, char **line, size_t *length) {
    size_t searched = input.start;
    for (;;) {
        char *newline = searched < input.end ? memchr(input.bytes + searched, '\n', input.end - searched) : NULL;
        searched = input.end;
        if (newline != NULL || (input.at_end && input.start < input.end)) {
            *line = input.bytes + input.start;
            *length = newline != NULL ? (size_t)(newline - *line) : input.end - input.start;
            input.start += *length + (newline != NULL ? 1 : 0);
            if (*length > 0 && (*line)[*length - 1] == '\r') {
                (*length)--;
            }
            return A_LINE;
        }
        if (input.at_end) {
            return THE_END;
        }
        if (!wait) {
            struct pollfd ready = {STDIN_FILENO, POLLIN, 0};
            if (poll(&ready, 1, 0) == 0) {
                return NOTHING_YET;
            }
        }
        /* The line that has begun moves to the front, and the room doubles when it fills it. */
        if (input.start > 0) {
            memmove(input.bytes, input.bytes + input.start, input.end - input.start);
            searched -= input.start;
            input.end -= input.start;
            input.start = 0;
        }
        if (input.end == input.capacity) {
            input.capacity = input.capacity == 0 ? 65536 : 2 * input.capacity;
            input.bytes = grow(input.bytes, input.capacity);
        }
        ssize_t count = read(STDIN_FILENO, input.bytes + input.end, input.capacity - input.end);
        if (count > 0) {
            input.end += (size_t)count;
        } else if (count == 0) {
            input.at_end = 1;
        } else if (errno != EINTR) {
            fail(strerror(errno));
        }
    }
}

/* The lines that wait for an answer. The texts' memory is kept from batch to batch. */
static struct {
    size_t count;
    unsigned long long first_line;
    char *memory[BATCH];
    size_t capacity[BATCH];
    const char *texts[BATCH], *pairs[BATCH];
    size_t lengths[BATCH], pair_lengths[BATCH];
} batch = {.first_line = 1};

static void add_to_batch(const char *line, size_t length) {
    size_t i = batch.count;
    if (batch.capacity[i] < length + 1) {
        batch.capacity[i] = length + 1;
        batch.memory[i] = grow(batch.memory[i], length + 1);
    }
    memcpy(batch.memory[i], line, length);
    batch.texts[i] = batch.memory[i];
    batch.lengths[i] = length;
    if (options.pair) {
        char *tab = memchr(batch.memory[i], '\t', length);
        if (tab == NULL) {
            fprintf(stderr, "classify: line %llu has no tab between two texts, which --pair needs\n",
                    batch.first_line + i);
            exit(1);
        }
        batch.lengths[i] = (size_t)(tab - batch.memory[i]);
        batch.pairs[i] = tab + 1;
        batch.pair_lengths[i] = length - batch.lengths[i] - 1;
    }
    batch.count++;
}

/* The texts are UTF-8, or the library wouldn't have taken them: only these characters need an escape. */
static void print_json_string(const char *text, size_t length) {
    putchar('"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            printf("\\%c", c);
        } else if (c < 0x20) {
            printf("\\u%04x", c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

static void print_label(int32_t label_id, float probability) {
    const char *name;
    size_t length;
    check(bert_label_name(model, label_id, &name, &length), "bert_label_name");
    if (options.json) {
        printf("\"label\":");
        print_json_string(name, length);
        printf(",\"probability\":%.6f", probability);
    } else {
        /* A tab or a line's end inside a label would break the table. */
        for (size_t i = 0; i < length; i++) {
            putchar((unsigned char)name[i] < ' ' ? ' ' : name[i]);
        }
        printf("\t%.6f", probability);
    }
}

/* Labels with their probabilities: in JSON a list of that name. */
static void print_labels(const char *key, const int32_t *label_ids, const float *probabilities, size_t count) {
    if (options.json) {
        printf("\"%s\":[", key);
    }
    for (size_t k = 0; k < count; k++) {
        if (options.json) {
            printf(k == 0 ? "{" : ",{");
            print_label(label_ids[k], probabilities[k]);
            putchar('}');
        } else {
            if (k > 0) {
                putchar('\t');
            }
            print_label(label_ids[k], probabilities[k]);
        }
    }
    if (options.json) {
        putchar(']');
    }
}

static void print_values(const float *values, size_t count) {
    if (options.json) {
        printf("\"values\":[");
    }
    for (size_t k = 0; k < count; k++) {
        printf("%s%.6g", k == 0 ? "" : options.json ? "," : "\t", values[k]);
    }
    if (options.json) {
        putchar(']');
    }
}

/* One line: `label_ids` ranked with their probabilities in `numbers`, or a regression's values. `has_label` has a flag
 * for each label of a multi-label model. */
static void print_answer(size_t i, int32_t *label_ids, float *numbers, const uint8_t *has_label, size_t count) {
    if (options.json) {
        printf("{\"text\":");
        print_json_string(batch.texts[i], batch.lengths[i]);
        if (options.pair) {
            printf(",\"pair\":");
            print_json_string(batch.pairs[i], batch.pair_lengths[i]);
        }
        putchar(',');
    }
    if (info.problem_type == BERT_PROBLEM_REGRESSION) {
        print_values(numbers, count);
    } else if (info.problem_type == BERT_PROBLEM_MULTI_LABEL) {
        /* All labels that reach their thresholds, or the best, whether they do or not. */
        size_t shown = 0;
        for (size_t k = 0; k < count; k++) {
            if (options.top > 0 || has_label[label_ids[k]]) {
                label_ids[shown] = label_ids[k];
                numbers[shown++] = numbers[k];
            }
        }
        print_labels(options.top > 0 ? "top" : "labels", label_ids, numbers, shown);
    } else if (!options.json) {
        print_labels(NULL, label_ids, numbers, count);
    } else {
        print_label(label_ids[0], numbers[0]);
        if (options.top > 0) {
            putchar(',');
            print_labels("top", label_ids, numbers, count);
        }
    }
    printf(options.json ? "}\n" : "\n");
}

/* Room for the answers of a batch: `label_ids` and `numbers` for BATCH * per_text, `has_label` for all labels of a
 * multi-label model. */
static struct {
    int32_t *label_ids;
    float *numbers;
    uint8_t *has_label;
    size_t per_text;
} room;

/* Asks for the answers to `count` of the lines that wait, from `first` on, and prints them. */
static bert_status predict(size_t first, size_t count, const bert_predict_options *predict_options) {
    size_t per_text = room.per_text, labels = (size_t)info.num_labels;
    bert_predictions predictions;
    check(bert_predictions_init(&predictions, sizeof predictions), "bert_predictions_init");
    if (info.problem_type == BERT_PROBLEM_REGRESSION) {
        predictions.values = room.numbers;
        predictions.values_capacity = BATCH * per_text;
    } else {
        predictions.top_label_ids = room.label_ids;
        predictions.top_label_ids_capacity = BATCH * per_text;
        predictions.top_probabilities = room.numbers;
        predictions.top_probabilities_capacity = BATCH * per_text;
    }
    if (room.has_label != NULL) {
        predictions.has_label = room.has_label;
        predictions.has_label_capacity = BATCH * labels;
    }
    bert_status status = bert_predict_batch(model, count, batch.texts + first, batch.lengths + first,
                                            options.pair ? batch.pairs + first : NULL,
                                            options.pair ? batch.pair_lengths + first : NULL, predict_options,
                                            &predictions);
    for (size_t i = 0; status == BERT_OK && i < count; i++) {
        print_answer(first + i, room.label_ids + i * per_text, room.numbers + i * per_text,
                     room.has_label == NULL ? NULL : room.has_label + i * labels, per_text);
    }
    return status;
}

/* Answers the lines that wait. */
static void answer(const bert_predict_options *predict_options) {
    bert_status status = predict(0, batch.count, predict_options);
    /* A batch with a line that isn't UTF-8 is refused as a whole: line by line, the others have their answers. */
    for (size_t i = 0; status == BERT_ERR_UTF8 && i < batch.count; i++) {
        bert_status alone = predict(i, 1, predict_options);
        if (alone == BERT_ERR_UTF8) {
            fprintf(stderr, "classify: line %llu: %s (%s)\n", batch.first_line + i, bert_last_error_message(),
                    bert_status_string(alone));
            printf(options.json ? "{\"error\":\"not UTF-8\"}\n" : "ERROR\tnot UTF-8\n");
            has_failed = 1;
        } else {
            check(alone, "bert_predict_batch");
        }
    }
    if (status != BERT_OK && status != BERT_ERR_UTF8) {
        fprintf(stderr, "classify: lines %llu to %llu: %s (%s)\n", batch.first_line, batch.first_line + batch.count - 1,
                bert_last_error_message(), bert_status_string(status));
        exit(1);
    }
    /* Whoever reads the other end gets whole batches, and a full disk doesn't go unnoticed. */
    if (fflush(stdout) != 0) {
        fail("the output can't be written");
    }
    batch.first_line += batch.count;
    batch.count = 0;
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    check(bert_set_log_callback(print_warning, NULL), "bert_set_log_callback");

    bert_load_options load_options;
    check(bert_load_options_init(&load_options, sizeof load_options), "bert_load_options_init");
    load_options.device = options.device;
    check(bert_load(options.model, &load_options, &model), "bert_load");
    check(bert_info_init(&info, sizeof info), "bert_info_init");
    check(bert_get_info(model, &info), "bert_get_info");

    bert_predict_options predict_options;
    check(bert_predict_options_init(&predict_options, sizeof predict_options), "bert_predict_options_init");
    predict_options.long_text = options.windows ? BERT_LONG_TEXT_WINDOWS : BERT_LONG_TEXT_TRUNCATE;
    predict_options.threshold = options.threshold;
    /* The numbers of each text: all targets, all labels to choose from, or the best classes. */
    int32_t per_text = info.num_labels;
    if (info.problem_type == BERT_PROBLEM_REGRESSION) {
        if (options.top > 0) {
            wrong_usage("--top is for classification; this model gives numbers: ", options.model);
        }
    } else {
        if (options.top > 0 || info.problem_type == BERT_PROBLEM_SINGLE_LABEL) {
            int32_t top = options.top < 1 ? 1 : options.top;
            per_text = top < per_text ? top : per_text;
        }
        predict_options.top_k = per_text;
    }
    room.per_text = (size_t)per_text;
    room.label_ids = grow(NULL, BATCH * room.per_text * sizeof *room.label_ids);
    room.numbers = grow(NULL, BATCH * room.per_text * sizeof *room.numbers);
    if (info.problem_type == BERT_PROBLEM_MULTI_LABEL) {
        room.has_label = grow(NULL, BATCH * (size_t)info.num_labels);
    }

    for (;;) {
        char *line;
        size_t length;
        enum next next = next_line(batch.count == 0, &line, &length);
        if (next == A_LINE) {
            add_to_batch(line, length);
        }
        if (batch.count > 0 && (next != A_LINE || batch.count == BATCH)) {
            answer(&predict_options);
        }
        if (next == THE_END) {
            break;
        }
    }

    for (size_t i = 0; i < BATCH; i++) {
        free(batch.memory[i]);
    }
    free(input.bytes);
    free(room.label_ids);
    free(room.numbers);
    free(room.has_label);
    bert_free(model);
    return has_failed;
}
