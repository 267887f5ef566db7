/* Training runs that are interrupted; tests/faults.rs runs it, with shim.c preloaded.
 *
 *   runs whole DIRECTORY EPOCHS                trains without an interruption: what DIRECTORY/whole then holds is
 *                                              expected of all others. Prints the number of steps
 *   runs go_on DIRECTORY EPOCHS                bert_train in DIRECTORY/work, which goes on with what is there. Prints
 *                                              "at STEP" for the step that the run was taken up at, and at its end
 *                                              "done", if all is as expected
 *   runs step DIRECTORY EPOCHS CALL KIND EXCHANGE
 *                                              ends the run that the last such call was killed in, as go_on does, and
 *                                              prints the step that it was taken up at; then begins a new one, and with
 *                                              that call going wrong makes the steps from the first checkpoint to the
 *                                              second. Ends with 3 where there are fewer calls
 *   runs save DIRECTORY EPOCHS CALL KIND EXCHANGE
 *                                              the same, but what goes wrong is a bert_trainer_save over the newest
 *                                              checkpoint
 *   runs fail DIRECTORY EPOCHS KIND            each call in turn fails in those steps, from the trainer's creation and the
 *                                              reading of the first checkpoint on; goes on, and ends the run. Prints the
 *                                              number of calls. KIND 0 takes the errors in turn
 *
 * KIND is faults.h's, EXCHANGE 0 where the file system shall not know RENAME_EXCHANGE. */

#define _XOPEN_SOURCE 700

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../c/check.h"
#include "faults.h"

/* Checkpoints are made every EVERY steps; an epoch has three, so that an evaluation, and with it a save of the best model,
 * comes between two checkpoints. */
#define EVERY 4
#define FIRST_CHECKPOINT "/run/checkpoint-4"

static char root[4096];
static int epochs;
/* As told by the log: the step that the last run was taken up at, and whether a checkpoint was passed over. */
static long taken_up_at;
static int has_warned, prints;

/* A path in one of the folders. It stays valid while a few more are asked for. */
static const char *in(const char *folder, const char *name)
{
    static char paths[8][4200];
    static size_t next;
    char *path = paths[next++ % COUNT_OF(paths)];
    snprintf(path, sizeof(paths[0]), "%s/%s%s", root, folder, name);
    return path;
}

static void listen(int32_t level, const char *message, void *unused)
{
    (void)unused;
    const char *step = strstr(message, "The run goes on from");
    if (level == BERT_LOG_WARNING && strstr(message, "checkpoint") != NULL) {
        has_warned = 1;
        if (prints) {
            printf("warning %s\n", message);
        }
    } else if (step != NULL) {
        step = strstr(step, ", step ");
        CHECK(step != NULL);
        taken_up_at = atol(step + strlen(", step "));
        if (prints) {
            printf("at %ld\n", taken_up_at);
        }
    }
    fflush(stdout);
}

/* The step after which the callback ends a run; 0: none. */
static int64_t last_step;

static int32_t stop(const bert_progress *progress, void *unused)
{
    (void)unused;
    return last_step > 0 && progress->event == BERT_EVENT_STEP && progress->step >= last_step;
}

typedef struct {
    bert_model *model;
    bert_trainer *trainer;
} run;

/* All that a run can have: dropout, accumulation, a schedule, evaluations, the best model, a history. */
static bert_status begin(const char *folder, run *made)
{
    bert_model_options sizes = small_options();
    sizes.hidden_dropout_prob = 0.1f;
    bert_train_options options = train_options();
    options.epochs = epochs;
    options.batch_size = 3;
    options.gradient_accumulation_steps = 2;
    options.learning_rate = 5e-3;
    options.metric = BERT_METRIC_LOSS;
    options.best_model_path = in(folder, "/best");
    options.history_path = in(folder, "/history.jsonl");
    options.checkpoint_path = in(folder, "/run");
    options.checkpoint_steps = EVERY;
    options.checkpoint_keep = 1;
    options.progress = stop;
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = toy(BERT_TOY_VALIDATION);
    made->model = create(&sizes, train);
    made->trainer = NULL;
    taken_up_at = 0;
    bert_status status = bert_trainer_create(made->model, train, validation, &options, &made->trainer);
    bert_dataset_free(train);
    bert_dataset_free(validation);
    return status;
}

static void end(run *done)
{
    bert_trainer_free(done->trainer);
    bert_free(done->model);
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status, (void)flag, (void)walk;
    return remove(path);
}

/* An empty folder of that name. */
static void make_empty(const char *folder)
{
    if (nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0) {
        CHECK(errno == ENOENT);
    }
    CHECK(mkdir(folder, 0777) == 0);
}

static char *history_without_seconds(const char *path)
{
    char *text = read_bytes(path, NULL);
    CHECK(text != NULL);
    for (char *at = text; (at = strstr(at, "\"seconds\":")) != NULL;) {
        char *close = strchr(at, '}');
        CHECK(close != NULL);
        memmove(at, close, strlen(close) + 1);
    }
    return text;
}

/* Whether the name is one of those. */
static int is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, names[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Nothing else is in the folder. */
static void check_names(const char *folder, const char *const *names, size_t count)
{
    DIR *directory = opendir(folder);
    CHECK(directory != NULL);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !is_among(name, names, count)) {
            fprintf(stderr, "%s/%s is left\n", folder, name);
            exit(1);
        }
    }
    closedir(directory);
}

static void check_equal_models(const bert_model *model, const char *path)
{
    bert_model *expected = load_model(path);
    CHECK(are_equal(model, expected));
    bert_free(expected);
}

/* Goes on with the run in the folder to its end: it ends as the one that was never interrupted, and nothing of the
 * interruption is left. */
static void finish(const char *folder)
{
    run it;
    last_step = 0;
    CHECK_OK(begin(folder, &it));
    bert_train_report report = report_init();
    CHECK_OK(bert_train(it.trainer, &report));
    CHECK_EQUAL(report.resumed_step, taken_up_at);
    check_equal_models(it.model, in("whole", "/model"));
    bert_model *best = load_model(in(folder, "/best"));
    check_equal_models(best, in("whole", "/best"));
    bert_free(best);
    char *expected = history_without_seconds(in("whole", "/history.jsonl"));
    char *history = history_without_seconds(in(folder, "/history.jsonl"));
    CHECK_TEXT(history, expected);
    free(history);
    free(expected);
    char newest[64];
    snprintf(newest, sizeof(newest), "checkpoint-%lld", (long long)report.steps);
    static const char *const names[] = {"best", "history.jsonl", "run", "saved"};
    check_names(in(folder, ""), names, COUNT_OF(names));
    const char *const kept[] = {newest};
    check_names(in(folder, "/run"), kept, COUNT_OF(kept));
    end(&it);
}

static void whole(void)
{
    make_empty(in("whole", ""));
    run it;
    CHECK_OK(begin("whole", &it));
    bert_train_report report = report_init();
    CHECK_OK(bert_train(it.trainer, &report));
    CHECK_OK(bert_save(it.model, in("whole", "/model")));
    printf("%lld\n", (long long)report.steps);
    end(&it);
}

/* A new run up to its first checkpoint. */
static void begin_anew(void)
{
    make_empty(in("work", ""));
    run it;
    last_step = EVERY;
    CHECK_OK(begin("work", &it));
    CHECK_STATUS(bert_train(it.trainer, NULL), BERT_ERR_CANCELLED);
    end(&it);
}

/* Everything from a trainer's creation to the second checkpoint: the first is read, steps are made, the best model, the
 * history and a checkpoint written, the older one removed. There is a trainer where it could be made. */
static bert_status first_to_second(run *it)
{
    last_step = 2 * EVERY;
    bert_status status = begin("work", it);
    return status == BERT_OK ? bert_train(it->trainer, NULL) : status;
}

static long fail(int kind_of_all)
{
    static const int errors[] = {EIO, ENOSPC, EACCES, EMFILE};
    for (long call = 1;; call++) {
        int kind = kind_of_all != 0 ? kind_of_all : errors[(size_t)call % COUNT_OF(errors)];
        begin_anew();
        run it;
        const char *folder = in("work", "");
        fault_arm(folder, call, kind);
        bert_status status = first_to_second(&it);
        long calls = fault_disarm();
        if (status != BERT_ERR_CANCELLED) {
            CHECK(kind != EINTR && kind != FAULT_SHORT);
            CHECK_STATUS(status, BERT_ERR_IO);
            CHECK(strlen(bert_last_error_message()) > 20);
        }
        /* Half of the runs go on with the same trainer, half are taken up by another. */
        if (it.trainer != NULL && call % 2 == 0) {
            last_step = 0;
            CHECK_OK(bert_train(it.trainer, NULL));
            check_equal_models(it.model, in("whole", "/model"));
        }
        end(&it);
        finish("work");
        if (calls < call) {
            CHECK_STATUS(status, BERT_ERR_CANCELLED);
            return calls;
        }
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 3);
    const char *mode = argv[1];
    snprintf(root, sizeof(root), "%s", argv[2]);
    epochs = atoi(argv[3]);
    CHECK_OK(bert_set_log_callback(listen, NULL));
    if (strcmp(mode, "whole") == 0) {
        whole();
    } else if (strcmp(mode, "go_on") == 0) {
        prints = 1;
        if (mkdir(in("work", ""), 0777) != 0) {
            CHECK(errno == EEXIST);
        }
        finish("work");
        puts("done");
    } else if ((strcmp(mode, "step") == 0 || strcmp(mode, "save") == 0) && argc == 7) {
        fault_without_exchange(argv[6][0] == '0');
        struct stat status;
        if (stat(in("work", ""), &status) == 0) {
            finish("work");
            /* The older checkpoint or the new one was there, whole. */
            CHECK(!has_warned);
            CHECK(taken_up_at >= EVERY);
            printf("%ld\n", taken_up_at);
            fflush(stdout);
        }
        begin_anew();
        run it;
        CHECK_OK(begin("work", &it));
        const char *folder = in("work", ""), *checkpoint = in("work", FIRST_CHECKPOINT);
        CHECK_OK(bert_trainer_resume(it.trainer, checkpoint, NULL));
        long call = atol(argv[4]);
        int kind = atoi(argv[5]);
        if (mode[1] == 't') {
            last_step = 2 * EVERY;
            fault_arm(folder, call, kind);
            CHECK_STATUS(bert_train(it.trainer, NULL), BERT_ERR_CANCELLED);
        } else {
            last_step = 0;
            CHECK_OK(bert_train_step(it.trainer, NULL));
            fault_arm(folder, call, kind);
            CHECK_OK(bert_trainer_save(it.trainer, checkpoint));
        }
        CHECK(fault_disarm() < call);
        end(&it);
        make_empty(folder);
        CHECK(rmdir(folder) == 0);
        return 3;
    } else if (strcmp(mode, "fail") == 0 && argc == 5) {
        printf("%ld\n", fail(atoi(argv[4])));
    } else {
        fprintf(stderr, "see the comment in runs.c for how this program is called\n");
        return 2;
    }
    return 0;
}
