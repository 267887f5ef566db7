/* The shared library, loaded by its path: again and again with work in between, and twice at once under two paths. It
 * is in BERT_LIBRARY. */

#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include "check.h"

/* The functions of one loaded library, apart from those that this program is linked to. */
typedef struct {
    void *handle;
    bert_status (*toy)(int32_t, bert_dataset **);
    bert_status (*create)(const bert_model_options *, const bert_dataset *, bert_model **);
    bert_status (*trainer_create)(bert_model *, const bert_dataset *, const bert_dataset *,
                                  const bert_train_options *, bert_trainer **);
    bert_status (*train_step)(bert_trainer *, bert_step_report *);
    bert_status (*predict_batch)(const bert_model *, size_t, const char *const *, const size_t *, const char *const *,
                                 const size_t *, const bert_predict_options *, bert_predictions *);
    bert_status (*count)(const bert_dataset *, size_t *);
    bert_status (*set_num_threads)(int32_t);
    const char *(*message)(void);
    void (*trainer_free)(bert_trainer *);
    void (*free)(bert_model *);
    void (*dataset_free)(bert_dataset *);
} library;

/* ISO C has no conversion from a pointer to a function's. */
static void find(const library *from, const char *name, void *function)
{
    void *address = dlsym(from->handle, name);
    CHECK(address != NULL);
    memcpy(function, &address, sizeof(address));
}

static library load(const char *path, int flags)
{
    library found;
    memset(&found, 0, sizeof(found));
    found.handle = dlopen(path, flags);
    if (found.handle == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    find(&found, "bert_dataset_toy", &found.toy);
    find(&found, "bert_create", &found.create);
    find(&found, "bert_trainer_create", &found.trainer_create);
    find(&found, "bert_train_step", &found.train_step);
    find(&found, "bert_predict_batch", &found.predict_batch);
    find(&found, "bert_dataset_count", &found.count);
    find(&found, "bert_set_num_threads", &found.set_num_threads);
    find(&found, "bert_last_error_message", &found.message);
    find(&found, "bert_trainer_free", &found.trainer_free);
    find(&found, "bert_free", &found.free);
    find(&found, "bert_dataset_free", &found.dataset_free);
    return found;
}

static void copy(const char *from, const char *to)
{
    size_t length = 0;
    char *bytes = read_bytes(from, &length);
    CHECK(bytes != NULL);
    write_bytes(to, bytes, length);
    free(bytes);
}

/* What one library has made. */
typedef struct {
    bert_dataset *train;
    bert_model *model;
    bert_trainer *trainer;
} made;

static made work(const library *l, float logits[2])
{
    static const char *const text = "a great film";
    bert_model_options options = small_options();
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = logits;
    out.logits_capacity = 2;
    made m;
    CHECK_OK(l->toy(BERT_TOY_TRAIN, &m.train));
    CHECK_OK(l->create(&options, m.train, &m.model));
    CHECK_OK(l->trainer_create(m.model, m.train, NULL, NULL, &m.trainer));
    CHECK_OK(l->train_step(m.trainer, NULL));
    CHECK_OK(l->predict_batch(m.model, 1, &text, NULL, NULL, NULL, NULL, &out));
    return m;
}

static void give_back(const library *l, made m)
{
    l->dataset_free(m.train);
    l->free(m.model);
    l->trainer_free(m.trainer);
}

static long threads_now(void)
{
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    long count = 0;
    for (struct dirent *entry = readdir(tasks); entry != NULL; entry = readdir(tasks)) {
        count += entry->d_name[0] != '.';
    }
    CHECK(closedir(tasks) == 0);
    return count;
}

static long descriptors_now(void)
{
    long open = 0;
    for (int descriptor = 0; descriptor < 1000; descriptor++) {
        open += fcntl(descriptor, F_GETFD) != -1;
    }
    return open;
}

/* No thread is started and no file opened before something is asked for that needs them. */
static void loading_does_nothing(const char *path)
{
    long threads = threads_now(), descriptors = descriptors_now();
    library l = load(path, RTLD_NOW | RTLD_LOCAL);
    bert_dataset *toy_data = NULL;
    size_t count = 0;
    CHECK_OK(l.toy(BERT_TOY_TRAIN, &toy_data));
    CHECK_OK(l.count(toy_data, &count));
    CHECK_EQUAL(threads_now(), threads);
    CHECK_EQUAL(descriptors_now(), descriptors);
    CHECK_EQUAL(threads, 1);
    l.dataset_free(toy_data);
    CHECK(dlclose(l.handle) == 0);
}

enum { ROUNDS = 200, FIRST = 50 };

static void again_and_again(const char *path)
{
    float expected[2] = {0, 0};
    long threads = 0, mapped = 0, resident = 0;
    for (int round = 0; round < ROUNDS; round++) {
        float got[2];
        library l = load(path, RTLD_NOW | RTLD_LOCAL);
        if (round % 10 == 0) {
            CHECK_OK(l.set_num_threads(2));
        }
        made m = work(&l, got);
        /* What isn't given back lives on too: the library stays. */
        int keep = round % 50 == 25;
        if (!keep) {
            give_back(&l, m);
        }
        if (round == 0) {
            memcpy(expected, got, sizeof(got));
        }
        CHECK(memcmp(expected, got, sizeof(got)) == 0);
        CHECK(dlclose(l.handle) == 0);
        if (keep) {
            library again = load(path, RTLD_NOW | RTLD_LOCAL);
            CHECK_OK(again.train_step(m.trainer, NULL));
            give_back(&again, m);
            CHECK(dlclose(again.handle) == 0);
        }
        if (round == FIRST) {
            threads = threads_now();
            memory_now(&mapped, &resident);
        }
    }
    long mapped_at_end, resident_at_end;
    memory_now(&mapped_at_end, &resident_at_end);
    printf("threads %ld, then %ld; mapped %ld pages, then %ld; resident %ld, then %ld\n", threads, threads_now(), mapped,
           mapped_at_end, resident, resident_at_end);
    /* The workers of the last change may still be on their way out. */
    for (int wait = 0; wait < 500 && threads_now() > threads; wait++) {
        usleep(10000);
    }
    CHECK(threads_now() <= threads);
    CHECK(resident_at_end < resident + resident / 10 + 500);
}

static void side_by_side(const char *first_path, const char *second_path, int flags)
{
    library first = load(first_path, flags), second = load(second_path, flags);
    CHECK(first.create != second.create);
    CHECK(first.create != bert_create);
    float a[2], b[2];
    made of_first = work(&first, a), of_second = work(&second, b);
    CHECK(memcmp(a, b, sizeof(a)) == 0);
    /* Neither takes the other's handles for its own. */
    size_t count = 77;
    bert_trainer *trainer = NULL;
    CHECK_STATUS(first.count(of_second.train, &count), BERT_ERR_HANDLE);
    CHECK(strstr(first.message(), "not one that this library gave out") != NULL);
    CHECK_STATUS(second.train_step(of_first.trainer, NULL), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_trainer_create(of_first.model, of_second.train, NULL, NULL, &trainer), BERT_ERR_HANDLE);
    CHECK_STATUS(second.trainer_create(of_second.model, of_first.train, NULL, NULL, &trainer), BERT_ERR_HANDLE);
    CHECK(count == 77 && trainer == NULL);
    first.free(of_second.model);
    second.dataset_free(of_first.train);
    CHECK_OK(first.train_step(of_first.trainer, NULL));
    CHECK_OK(second.train_step(of_second.trainer, NULL));
    CHECK_OK(first.count(of_first.train, &count));
    give_back(&first, of_first);
    CHECK(dlclose(first.handle) == 0);
    CHECK_OK(second.train_step(of_second.trainer, NULL));
    give_back(&second, of_second);
    CHECK(dlclose(second.handle) == 0);
}

int main(void)
{
    const char *path = getenv("BERT_LIBRARY");
    if (path == NULL) {
        puts("skipped: needs BERT_LIBRARY");
        return 77;
    }
    copy(path, "./first.so");
    copy(path, "./second.so");
    loading_does_nothing("./first.so");
    again_and_again("./first.so");
    side_by_side("./first.so", "./second.so", RTLD_NOW | RTLD_LOCAL);
    side_by_side("./second.so", path, RTLD_NOW | RTLD_GLOBAL);
    return 0;
}
