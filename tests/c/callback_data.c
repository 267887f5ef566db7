/* What the callbacks use is freed at the first moment at which the header allows it, while they are running: for
 * AddressSanitizer, which sees each later use (tests/sanitizers.sh).
 *
 *     callback_data [progress|log]
 *
 * It compiles with the header of interface 1 too, which said "until the trainer is freed" and nothing of the log: there
 * both are uses after free, which interface 2 has an end for. */

#define _DEFAULT_SOURCE

#include <pthread.h>
#include <unistd.h>

#include "check.h"

typedef struct {
    /* Set when the callback is inside, and waited for. */
    int *is_inside;
    int calls;
} data;

static void use_for_a_while(data *d)
{
    __atomic_store_n(d->is_inside, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 20; i++) {
        usleep(2000);
        d->calls++;
    }
}

static int32_t on_progress(const bert_progress *progress, void *user_data)
{
    (void)progress;
    use_for_a_while(user_data);
    return 0;
}

static void on_log(int32_t level, const char *message, void *user_data)
{
    (void)level;
    (void)message;
    use_for_a_while(user_data);
}

static data *new_data(int *is_inside)
{
    data *d = calloc(1, sizeof(*d));
    CHECK(d != NULL);
    d->is_inside = is_inside;
    return d;
}

static void wait_until_inside(const int *is_inside)
{
    while (!__atomic_load_n(is_inside, __ATOMIC_SEQ_CST)) {
        usleep(100);
    }
}

static void *trains(void *trainer)
{
    bert_status status = bert_train(trainer, NULL);
    CHECK(status == BERT_OK || status == BERT_ERR_CANCELLED);
    return NULL;
}

static void progress_callback(void)
{
    int is_inside = 0;
    data *d = new_data(&is_inside);
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_train_options options = train_options();
    options.epochs = 5;
    options.batch_size = 8;
    options.progress = on_progress;
    options.progress_user_data = d;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, trains, trainer) == 0);
    wait_until_inside(&is_inside);
#if BERT_ABI_VERSION < 2
    bert_trainer_free(trainer);
#else
    CHECK_OK(bert_trainer_close(trainer));
#endif
    free(d);
    CHECK(pthread_join(thread, NULL) == 0);
    bert_free(model);
    bert_dataset_free(train);
}

/* Making a trainer of texts that are cut has something to tell. */
static void *has_texts_cut(void *model)
{
    char text[1000] = "";
    for (int i = 0; i < 60; i++) {
        strcat(text, "wonderful ");
    }
    const char *const texts[] = {text, "terrible"}, *const names[] = {"positive", "negative"};
    bert_dataset *train = named(2, texts, names);
    bert_trainer_free(trainer_of(model, train, NULL, NULL));
    bert_dataset_free(train);
    return NULL;
}

static void log_callback(void)
{
    int is_inside = 0;
    data *d = new_data(&is_inside);
    bert_model *model = small_model();
    CHECK_OK(bert_set_log_callback(on_log, d));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, has_texts_cut, model) == 0);
    wait_until_inside(&is_inside);
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    free(d);
    CHECK(pthread_join(thread, NULL) == 0);
    bert_free(model);
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "progress") == 0) {
        progress_callback();
    }
    if (argc < 2 || strcmp(argv[1], "log") == 0) {
        log_callback();
    }
    return 0;
}
