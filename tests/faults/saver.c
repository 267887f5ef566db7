/* Saves and loads while files fail; tests/faults.rs runs it with shim.c preloaded.
 *
 *   saver shim                               whether the shim is there: ends with 0 or 77
 *   saver create DIRECTORY                   writes the models that are saved later: DIRECTORY/a and DIRECTORY/b
 *   saver save DIRECTORY CALL KIND EXCHANGE  saves b to DIRECTORY/work/model with that call going wrong
 *   saver load DIRECTORY CALL KIND EXCHANGE  loads DIRECTORY/work/model with that call going wrong
 *   saver check DIRECTORY OLD                whether DIRECTORY/work/model is OLD ("a", or "-" for none) or b, whole;
 *                                            then saves a there, and nothing else may be left. Prints what it was
 *   saver fail DIRECTORY KIND EXCHANGE OLD   saves b over OLD with each call in turn failing. Prints their number
 *   saver fail_load DIRECTORY KIND EXCHANGE  loads with each call in turn failing. Prints their number
 *   saver loop DIRECTORY EXCHANGE            saves a and b in turn for ever
 *   saver race DIRECTORY EXCHANGE            two threads save there and two load
 *
 * KIND is faults.h's, EXCHANGE 0 where the file system shall not know RENAME_EXCHANGE. `save` and `load` end with 3 where
 * there are fewer calls than CALL. Beside the model's own files work/model holds notes.txt, a user's file. */

#define _XOPEN_SOURCE 700

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../c/check.h"
#include "faults.h"

#define NOTES "the user's own"

static char work[4096], target[4096], notes[4096];
static bert_model *a, *b;

static bert_model *load(const char *directory, const char *name)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return load_model(path);
}

static int exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static void remove_target(void)
{
    DIR *directory = opendir(target);
    if (directory == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char path[8400];
        snprintf(path, sizeof(path), "%s/%s", target, entry->d_name);
        if (entry->d_name[0] != '.') {
            CHECK(unlink(path) == 0);
        }
    }
    closedir(directory);
    CHECK(rmdir(target) == 0);
}

static void create_models(const char *directory)
{
    bert_model_options options = small_options();
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    for (int i = 0; i < 2; i++) {
        char path[4200];
        snprintf(path, sizeof(path), "%s/%c", directory, "ab"[i]);
        options.seed = (uint64_t)i;
        options.tokenizer = BERT_TOKENIZER_WORDPIECE;
        bert_model *model = create(&options, train);
        CHECK_OK(bert_save(model, path));
        bert_free(model);
    }
    bert_dataset_free(train);
}

/* The target as it shall be before a call goes wrong. */
static void prepare(const char *old)
{
    if (strcmp(old, "a") != 0) {
        remove_target();
        return;
    }
    CHECK_OK(bert_save(a, target));
    if (!exists(notes)) {
        write_text(notes, NOTES);
    }
}

/* Which model is there, whole: "a", "b", or "-" for none. */
static const char *present(void)
{
    bert_model *model = NULL;
    bert_status status = bert_load(target, NULL, &model);
    if (status == BERT_ERR_IO && !exists(target)) {
        return "-";
    }
    CHECK_OK(status);
    const char *which = are_equal(model, a) ? "a" : are_equal(model, b) ? "b" : NULL;
    CHECK(which != NULL);
    bert_free(model);
    return which;
}

/* The older model or the new one is there, with the user's file. */
static const char *check(const char *old)
{
    const char *which = present();
    CHECK(strcmp(which, "b") == 0 || strcmp(which, old) == 0);
    if (strcmp(old, "a") == 0) {
        char *text = read_bytes(notes, NULL);
        CHECK_TEXT(text, NOTES);
        free(text);
    }
    return which;
}

/* Nothing is left beside the target. */
static void check_clean(void)
{
    DIR *directory = opendir(work);
    CHECK(directory != NULL);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "model") != 0) {
            fprintf(stderr, "%s/%s is left\n", work, name);
            exit(1);
        }
    }
    closedir(directory);
}

/* Whether the call is one that must go on where it was interrupted. */
static int must_go_on(int kind)
{
    return kind == EINTR || kind == FAULT_SHORT;
}

static long fail_saves(int kind, const char *old)
{
    for (long call = 1;; call++) {
        prepare(old);
        fault_arm(work, call, kind);
        bert_status status = bert_save(b, target);
        long calls = fault_disarm();
        if (status == BERT_OK) {
            CHECK_TEXT(check(old), "b");
        } else {
            CHECK(!must_go_on(kind));
            CHECK_STATUS(status, BERT_ERR_IO);
            CHECK(strlen(bert_last_error_message()) > 20);
            const char *which = check(old);
            /* Where the new one is there already the message says so. */
            if (strcmp(which, "b") == 0) {
                CHECK(strstr(bert_last_error_message(), "holds what was saved now") != NULL || !exists(target));
            }
        }
        CHECK_OK(bert_save(b, target));
        CHECK_TEXT(check(old), "b");
        check_clean();
        if (calls < call) {
            CHECK_OK(status);
            return calls;
        }
    }
}

static long fail_loads(int kind)
{
    prepare("a");
    for (long call = 1;; call++) {
        fault_arm(work, call, kind);
        bert_model *model = NULL;
        bert_status status = bert_load(target, NULL, &model);
        long calls = fault_disarm();
        if (status == BERT_OK) {
            CHECK(are_equal(model, a));
            bert_free(model);
        } else {
            CHECK(!must_go_on(kind));
            CHECK_STATUS(status, BERT_ERR_IO);
            CHECK(strlen(bert_last_error_message()) > 20);
            CHECK(model == NULL);
        }
        if (calls < call) {
            CHECK_OK(status);
            return calls;
        }
    }
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int savers = 2;

static void *save_often(void *model)
{
    for (int i = 0; i < 50; i++) {
        CHECK_OK(bert_save(model, target));
    }
    pthread_mutex_lock(&lock);
    savers--;
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void *load_often(void *unused)
{
    for (int left = 1; left > 0;) {
        const char *which = present();
        CHECK(strcmp(which, "-") != 0);
        pthread_mutex_lock(&lock);
        left = savers;
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static void race(void)
{
    pthread_t threads[4];
    prepare("a");
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, i < 2 ? save_often : load_often, i == 0 ? a : i == 1 ? b : NULL) == 0);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    check("a");
    CHECK_OK(bert_save(a, target));
    CHECK_TEXT(check("a"), "a");
    check_clean();
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (strcmp(mode, "shim") == 0) {
        return fault_arm != NULL ? 0 : 77;
    }
    CHECK(argc > 2);
    const char *directory = argv[2];
    if (strcmp(mode, "create") == 0) {
        create_models(directory);
        return 0;
    }
    a = load(directory, "a");
    b = load(directory, "b");
    snprintf(work, sizeof(work), "%s/work", directory);
    snprintf(target, sizeof(target), "%s/work/model", directory);
    snprintf(notes, sizeof(notes), "%s/work/model/notes.txt", directory);
    if ((strcmp(mode, "save") == 0 || strcmp(mode, "load") == 0) && argc == 6) {
        fault_without_exchange(argv[5][0] == '0');
        bert_model *loaded = NULL;
        fault_arm(work, atol(argv[3]), atoi(argv[4]));
        bert_status status = mode[0] == 's' ? bert_save(b, target) : bert_load(target, NULL, &loaded);
        CHECK(fault_disarm() < atol(argv[3]));
        CHECK_OK(status);
        return 3;
    }
    if (strcmp(mode, "check") == 0 && argc == 4) {
        puts(check(argv[3]));
        CHECK_OK(bert_save(a, target));
        CHECK_TEXT(present(), "a");
        check_clean();
    } else if (strcmp(mode, "fail") == 0 && argc == 6) {
        fault_without_exchange(argv[4][0] == '0');
        printf("%ld\n", fail_saves(atoi(argv[3]), argv[5]));
    } else if (strcmp(mode, "fail_load") == 0 && argc == 5) {
        fault_without_exchange(argv[4][0] == '0');
        printf("%ld\n", fail_loads(atoi(argv[3])));
    } else if (strcmp(mode, "race") == 0 && argc == 4) {
        fault_without_exchange(argv[3][0] == '0');
        race();
    } else if (strcmp(mode, "loop") == 0 && argc == 4) {
        fault_without_exchange(argv[3][0] == '0');
        for (;;) {
            CHECK_OK(bert_save(b, target));
            CHECK_OK(bert_save(a, target));
        }
    } else {
        fprintf(stderr, "see the comment in saver.c for how this program is called\n");
        return 2;
    }
    return 0;
}
