/* What a progress callback may do: ask, predict, evaluate, save, load, set the number of threads, free its trainer and
 * its model, and stop the run; training from inside it answers BERT_ERR_BUSY. */

#include <pthread.h>

#include "check.h"

typedef struct {
    bert_model *model;
    bert_trainer *trainer;
    bert_dataset *data;
    const char *free_what;
    int calls, stop_after, answer;
    /* With what it is stopped: the callback's answer, or bert_trainer_cancel. */
    int cancels;
    /* That of the training call. */
    pthread_t thread;
} host;

static int32_t calls_back_in(const bert_progress *progress, void *user_data)
{
    host *h = user_data;
    float logits[8];
    bert_evaluation evaluation;
    bert_info info;
    bert_model *other = NULL;
    bert_trainer *second = NULL;
    int32_t threads = 0;
    size_t count = 0;
    CHECK_EQUAL(progress->struct_size, sizeof(*progress));
    h->calls++;
    CHECK(pthread_equal(pthread_self(), h->thread));
    /* Everything that asks. */
    logits_of(h->model, "a great film", logits);
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate(h->model, h->data, 0, &evaluation));
    CHECK_OK(bert_info_init(&info, sizeof(info)));
    CHECK_OK(bert_get_info(h->model, &info));
    CHECK_OK(bert_tokenize(h->model, "a great film", NUL, NULL, 0, 0, NULL, NULL, 0, &count));
    CHECK_OK(bert_dataset_add_class(h->data, "one more", NUL, NULL, 0, "positive", NUL));
    /* Saving, and loading what was saved: the same weights. */
    saved now = save(h->model);
    CHECK_OK(bert_save(h->model, "saved"));
    other = load_model("saved");
    saved then = save(other);
    float of_other[8];
    logits_of(other, "a great film", of_other);
    CHECK(memcmp(logits, of_other, 2 * sizeof(float)) == 0);
    release(now);
    release(then);
    /* The number of threads is everybody's: the running call keeps those it has. */
    CHECK_OK(bert_set_num_threads(1 + h->calls % 3));
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, 1 + h->calls % 3);
    /* Training this model is what can't be done, with this trainer or another; another model can be trained. */
    CHECK_STATUS(bert_train_step(h->trainer, NULL), BERT_ERR_BUSY);
    CHECK_STATUS(bert_train_epoch(h->trainer, NULL), BERT_ERR_BUSY);
    CHECK_STATUS(bert_train(h->trainer, NULL), BERT_ERR_BUSY);
    second = trainer_of(h->model, h->data, NULL, NULL);
    CHECK_STATUS(bert_train_step(second, NULL), BERT_ERR_BUSY);
    CHECK_MESSAGE("trained by another call");
    bert_trainer_free(second);
    second = trainer_of(other, h->data, NULL, NULL);
    CHECK_OK(bert_train_step(second, NULL));
    bert_trainer_free(second);
    bert_free(other);
    if (h->calls < h->stop_after) {
        return 0;
    }
    if (h->cancels) {
        bert_trainer_cancel(h->trainer);
        return 0;
    }
    return h->answer;
}

static void everything_but_training_is_allowed(void)
{
    for (int cancels = 0; cancels < 2; cancels++) {
        /* Every answer but 0 ends the run, negative ones too. */
        static const int answers[] = {1, -1, 256, INT32_MIN};
        for (size_t i = 0; i < COUNT_OF(answers); i++) {
            host h = {small_model(), NULL, toy(BERT_TOY_TRAIN), NULL, 0, 3, answers[i], cancels, pthread_self()};
            bert_train_options options = train_options();
            options.batch_size = 4;
            options.progress = calls_back_in;
            options.progress_user_data = &h;
            h.trainer = trainer_of(h.model, h.data, h.data, &options);
            bert_train_report report;
            CHECK_OK(bert_train_report_init(&report, sizeof(report)));
            CHECK_STATUS(bert_train(h.trainer, &report), BERT_ERR_CANCELLED);
            CHECK_EQUAL(h.calls, 3);
            /* The report says how far it came. */
            /* On a GPU the step behind the callback was under way: it is made too. */
            CHECK_EQUAL(report.steps, 3 + !is_on_cpu(h.model));
            CHECK_EQUAL(report.stop_reason, BERT_STOP_CANCELLED);
            CHECK(report.tokens > 0 && report.loss > 0.0 && report.seconds > 0.0);
            /* It can be taken up again, and stopped again. */
            CHECK_STATUS(bert_train_epoch(h.trainer, NULL), BERT_ERR_CANCELLED);
            CHECK_EQUAL(h.calls, 4);
            h.stop_after = 6;
            CHECK_OK(bert_train_step(h.trainer, NULL));
            CHECK_EQUAL(h.calls, 5);
            bert_trainer_free(h.trainer);
            bert_free(h.model);
            bert_dataset_free(h.data);
        }
    }
    CHECK_OK(bert_set_num_threads(0));
}

static int32_t frees(const bert_progress *progress, void *user_data)
{
    host *h = user_data;
    (void)progress;
    h->calls++;
    if (h->calls == 1) {
        if (strchr(h->free_what, 't') != NULL) {
            bert_trainer_free(h->trainer);
            CHECK_STATUS(bert_train_step(h->trainer, NULL), BERT_ERR_HANDLE);
        }
        if (strchr(h->free_what, 'm') != NULL) {
            bert_free(h->model);
        }
        if (strchr(h->free_what, 'd') != NULL) {
            bert_dataset_free(h->data);
        }
    }
    return h->calls == h->stop_after;
}

/* Handles that are freed inside the call that uses them: it goes on to its end with what it has. */
static void frees_inside_take_effect_afterwards(void)
{
    static const char *const freed[] = {"t", "m", "d", "tm", "tmd"};
    for (size_t i = 0; i < COUNT_OF(freed); i++) {
        host h = {small_model(), NULL, toy(BERT_TOY_TRAIN), freed[i], 0, 0, 0, 0, pthread_self()};
        bert_train_options options = train_options();
        options.epochs = 2;
        options.batch_size = 4;
        options.progress = frees;
        options.progress_user_data = &h;
        h.trainer = trainer_of(h.model, h.data, NULL, &options);
        CHECK_OK(bert_train(h.trainer, NULL));
        CHECK_EQUAL(h.calls, 8);
        CHECK_STATUS(bert_train_step(h.trainer, NULL),
                     strchr(freed[i], 't') != NULL ? BERT_ERR_HANDLE : BERT_ERR_FINISHED);
        /* Freed or not, once more is no harm. */
        bert_trainer_free(h.trainer);
        bert_free(h.model);
        bert_dataset_free(h.data);
    }
}

/* Lines of the log come from inside calls too. */
static void asks_from_the_log(int32_t level, const char *message, void *user_data)
{
    size_t count = 0;
    (void)level;
    CHECK(strlen(message) > 0);
    bert_status status = bert_dataset_count(user_data, &count);
    CHECK(status == BERT_OK);
}

static void the_log_may_call_back_in(void)
{
    static const char *const texts[] = {"one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
                                        "fifteen sixteen seventeen eighteen nineteen twenty twenty-one twenty-two "
                                        "twenty-three twenty-four twenty-five twenty-six twenty-seven twenty-eight "
                                        "twenty-nine thirty thirty-one thirty-two",
                                        "short"},
                            *const names[] = {"a", "b"};
    bert_dataset *data = named(2, texts, names);
    bert_model_options options = small_options();
    CHECK_OK(bert_set_log_callback(asks_from_the_log, data));
    bert_model *model = create(&options, data);
    bert_trainer *trainer = trainer_of(model, data, NULL, NULL);
    CHECK_OK(bert_train_step(trainer, NULL));
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(data);
}

int main(void)
{
    everything_but_training_is_allowed();
    frees_inside_take_effect_afterwards();
    the_log_may_call_back_in();
    return 0;
}
