/* How long it takes from nothing to the first prediction, and how much memory loading needs.
 *
 *     load MODEL_DIR [REPEATS]
 *
 * Each repeat is a process of its own that has called nothing yet: bert_load, then bert_predict of one sentence. The
 * first one brings the files into the page cache and isn't counted. Memory is what the process had resident at most
 * after loading, less what it had before, beside the size of the parameters as float32. */

#define _POSIX_C_SOURCE 200809L

#include <bert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct measure {
    double load, predict; /* milliseconds */
    double peak, parameters; /* MiB */
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e3 * (double)time.tv_sec + 1e-6 * (double)time.tv_nsec;
}

static void check(bert_status status) {
    if (status != BERT_OK) {
        fprintf(stderr, "load: %s\n", bert_last_error_message());
        exit(1);
    }
}

/* A line of /proc/self/status, such as "VmHWM:", in MiB. */
static double memory(const char *key) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    double kib = -1;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            kib = atof(line + strlen(key));
        }
    }
    if (file == NULL || kib < 0) {
        fprintf(stderr, "load: /proc/self/status has no %s\n", key);
        exit(1);
    }
    fclose(file);
    return kib / 1024;
}

static struct measure measure(const char *directory) {
    struct measure result;
    double before = memory("VmRSS:"), start = now();
    bert_model *model;
    check(bert_load(directory, NULL, &model));
    double loaded = now();
    result.peak = memory("VmHWM:") - before;
    double again = now();
    bert_prediction prediction;
    check(bert_prediction_init(&prediction, sizeof prediction));
    check(bert_predict(model, "a stirring , funny and finally transporting film", BERT_NUL_TERMINATED, NULL, 0, NULL,
                       &prediction));
    result.predict = now() - again;
    result.load = loaded - start;
    bert_info info;
    check(bert_info_init(&info, sizeof info));
    check(bert_get_info(model, &info));
    result.parameters = 4.0 * (double)info.parameter_count / (1 << 20);
    bert_free(model);
    return result;
}

/* As `measure`, in a new process. */
static struct measure measure_apart(const char *directory) {
    int ends[2];
    if (pipe(ends) != 0) {
        perror("load: pipe");
        exit(1);
    }
    pid_t child = fork();
    if (child == 0) {
        struct measure result = measure(directory);
        _exit(write(ends[1], &result, sizeof result) == (ssize_t)sizeof result ? 0 : 1);
    }
    close(ends[1]);
    struct measure result;
    int status = 1;
    ssize_t count = child < 0 ? -1 : read(ends[0], &result, sizeof result);
    close(ends[0]);
    if (child > 0) {
        waitpid(child, &status, 0);
    }
    if (count != (ssize_t)sizeof result || status != 0) {
        fprintf(stderr, "load: a repeat failed\n");
        exit(1);
    }
    return result;
}

static int by_total(const void *a, const void *b) {
    const struct measure *x = a, *y = b;
    double difference = x->load + x->predict - y->load - y->predict;
    return difference < 0 ? -1 : difference > 0;
}

int main(int argc, char **argv) {
    int repeats = argc > 2 ? atoi(argv[2]) : 7;
    if (argc < 2 || argc > 3 || repeats < 1 || repeats > 1000) {
        fprintf(stderr, "usage: load MODEL_DIR [REPEATS, 1 to 1000]\n");
        return 2;
    }
    struct measure *all = calloc((size_t)repeats, sizeof *all);
    if (all == NULL) {
        fprintf(stderr, "load: out of memory\n");
        return 1;
    }
    measure_apart(argv[1]);
    for (int i = 0; i < repeats; i++) {
        all[i] = measure_apart(argv[1]);
        printf("load %.1f ms, first prediction %.1f ms\n", all[i].load, all[i].predict);
    }
    qsort(all, (size_t)repeats, sizeof *all, by_total);
    struct measure middle = all[repeats / 2];
    printf("median of %d: %.1f ms (load %.1f ms, first prediction %.1f ms)\n", repeats, middle.load + middle.predict,
           middle.load, middle.predict);
    printf("peak of loading %.1f MiB, parameters %.1f MiB\n", middle.peak, middle.parameters);
    free(all);
    return 0;
}
