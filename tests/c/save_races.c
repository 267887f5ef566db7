/* Saves beside loads and beside other saves of one directory: somebody who loads always finds a whole model. */

#define _XOPEN_SOURCE 700

#include <dirent.h>
#include <pthread.h>

#include "check.h"

#define SAVES 100

static bert_model *models[2];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int done;

static int is_done(void)
{
    pthread_mutex_lock(&lock);
    int value = done;
    pthread_mutex_unlock(&lock);
    return value;
}

static void *loads(void *count)
{
    while (!is_done()) {
        bert_model *loaded = NULL;
        CHECK_OK(bert_load("model", NULL, &loaded));
        CHECK(are_equal(loaded, models[0]) || are_equal(loaded, models[1]));
        bert_free(loaded);
        ++*(int *)count;
    }
    return NULL;
}

static void a_loader_always_finds_a_whole_model(void)
{
    CHECK_OK(bert_save(models[0], "model"));
    pthread_t threads[2];
    int counts[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, loads, &counts[i]) == 0);
    }
    for (int i = 1; i <= SAVES; i++) {
        CHECK_OK(bert_save(models[i % 2], "model"));
    }
    pthread_mutex_lock(&lock);
    done = 1;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(counts[i] > 0);
    }
    bert_model *last = NULL;
    CHECK_OK(bert_load("model", NULL, &last));
    CHECK(are_equal(last, models[SAVES % 2]));
    bert_free(last);
}

static void *saves(void *model)
{
    for (int i = 0; i < 20; i++) {
        char path[16];
        snprintf(path, sizeof(path), "first%d", i);
        CHECK_OK(bert_save(model, path));
    }
    return NULL;
}

/* Two first saves of one path: one of them is there in the end, whole, and nothing is left beside it. */
static void two_may_save_to_a_new_directory_at_once(void)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_create(&threads[i], NULL, saves, models[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    for (int i = 0; i < 20; i++) {
        char path[16];
        snprintf(path, sizeof(path), "first%d", i);
        bert_model *loaded = NULL;
        CHECK_OK(bert_load(path, NULL, &loaded));
        CHECK(are_equal(loaded, models[0]) || are_equal(loaded, models[1]));
        bert_free(loaded);
    }
    DIR *directory = opendir(".");
    CHECK(directory != NULL);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        CHECK(strstr(entry->d_name, ".bert-") == NULL);
    }
    closedir(directory);
}

int main(void)
{
    bert_model_options options = small_options();
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    models[0] = create(&options, train);
    options.seed = 1;
    models[1] = create(&options, train);
    bert_dataset_free(train);
    a_loader_always_finds_a_whole_model();
    two_may_save_to_a_new_directory_at_once();
    bert_free(models[0]);
    bert_free(models[1]);
    return 0;
}
