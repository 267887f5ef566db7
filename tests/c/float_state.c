/* The host's floating-point state: results don't depend on it, and it is the host's again after every call and inside
 * its callbacks. */

#define _DEFAULT_SOURCE

#include <unistd.h>

#include "check.h"

#if defined(__x86_64__) || defined(__aarch64__)

/* Settings and exceptions met, as this processor has them. */
typedef struct {
    uint64_t settings, met;
} state;

#if defined(__x86_64__)
enum { MET = 0x3f };

static state now(void)
{
    uint32_t mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    state found = {mxcsr & ~(uint32_t)MET, mxcsr & MET};
    return found;
}

static void set(state wanted)
{
    uint32_t mxcsr = (uint32_t)(wanted.settings | wanted.met);
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

/* Flush to zero and denormals are zero; each rounding; no exception masked but inexact results; all of these. */
static const state states[] = {
    {0x1f80 | 0x8040, 0},   {0x1f80 | 0x2000, 0}, {0x1f80 | 0x4000, 0x21}, {0x1f80 | 0x6000, 0},
    {0x1f80 & ~0x0e80, 0x20}, {0x1000 | 0xe040, 0x3f}, {0, 0},
};
#else
static state now(void)
{
    state found;
    __asm__ volatile("mrs %0, fpcr\n mrs %1, fpsr" : "=r"(found.settings), "=r"(found.met));
    return found;
}

static void set(state wanted)
{
    __asm__ volatile("msr fpcr, %0\n msr fpsr, %1" : : "r"(wanted.settings), "r"(wanted.met));
}

/* Flush to zero; each rounding; both; exceptions raised, where the processor can. */
static const state states[] = {{1 << 24, 0}, {1 << 22, 0}, {2 << 22, 1}, {3 << 22, 0}, {7 << 22, 0x11}, {0x1f00, 0}};
#endif

static void check_state(state expected, const char *where)
{
    state found = now();
    if (found.settings != expected.settings || found.met != expected.met) {
        set((state){states[0].settings & 0x1f80, 0});
        fprintf(stderr, "%s: the state is %llx, %llx and not %llx, %llx\n", where, (unsigned long long)found.settings,
                (unsigned long long)found.met, (unsigned long long)expected.settings, (unsigned long long)expected.met);
        exit(1);
    }
}

static state in_use;

static int32_t sees_its_own_state(const bert_progress *progress, void *user_data)
{
    (void)progress;
    check_state(in_use, "in a callback");
    ++*(int *)user_data;
    return 0;
}

static int logged;

static void logs_in_its_own_state(int32_t level, const char *message, void *user_data)
{
    (void)level, (void)message, (void)user_data;
    check_state(in_use, "in the log's callback");
    logged++;
}

enum { TEXTS = 3, HIDDEN = 16 };

static const char *const texts[TEXTS] = {"a great film", "terrible food", "we loved the rude staff"};

/* What a program gets from the library, from beginning to end. Nothing here computes with floating-point numbers. */
typedef struct {
    saved model, loaded;
    float logits[TEXTS * 2], probabilities[TEXTS * 2], vectors[TEXTS * HIDDEN], read_logits[TEXTS * 2];
    uint64_t reports[6];
} results;

static void all_answers(const bert_model *model, float *logits, float *probabilities)
{
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = logits;
    out.logits_capacity = TEXTS * 2;
    out.probabilities = probabilities;
    out.probabilities_capacity = TEXTS * 2;
    CHECK_OK(bert_predict_batch(model, TEXTS, texts, NULL, NULL, NULL, NULL, &out));
}

static void use_everything(results *r)
{
    bert_dataset *all = toy(BERT_TOY_TRAIN), *train = NULL, *validation = NULL;
    CHECK_OK(bert_dataset_split(all, 0.25, 3, &train, &validation));
    bert_model_options options = small_options();
    options.hidden_dropout_prob = 0.1f;
    bert_model *model = create(&options, train), *loaded = NULL;
    bert_train_options training = train_options();
    int calls = 0;
    training.epochs = 3;
    training.batch_size = 4;
    training.progress = sees_its_own_state;
    training.progress_user_data = &calls;
    bert_trainer *trainer = trainer_of(model, train, validation, &training);
    bert_train_report report;
    CHECK_OK(bert_train_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train_step(trainer, NULL));
    CHECK_OK(bert_train(trainer, &report));
    CHECK(calls > 0);
    check_state(in_use, "after training");
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate(model, validation, 0, &evaluation));
    memcpy(&r->reports[0], &report.loss, 8);
    memcpy(&r->reports[1], &report.accuracy, 8);
    memcpy(&r->reports[2], &report.best_metric, 8);
    memcpy(&r->reports[3], &evaluation.loss, 8);
    memcpy(&r->reports[4], &evaluation.f1_macro, 8);
    memcpy(&r->reports[5], &evaluation.matthews, 8);
    all_answers(model, r->logits, r->probabilities);
    CHECK_OK(bert_embed(model, TEXTS, texts, NULL, NULL, NULL, NULL, r->vectors, COUNT_OF(r->vectors)));
    CHECK_OK(bert_save(model, "float-state"));
    CHECK_OK(bert_load("float-state", NULL, &loaded));
    all_answers(loaded, r->read_logits, r->probabilities);
    r->model = save(model);
    r->loaded = save(loaded);
    bert_free(loaded);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(all);
    bert_dataset_free(train);
    bert_dataset_free(validation);
    check_state(in_use, "after everything");
}

static void results_are_the_same_in_every_state(void)
{
    static results expected, got;
    in_use = now();
    use_everything(&expected);
    for (size_t i = 0; i < COUNT_OF(states); i++) {
        /* New workers too: a thread begins with the state of the one that starts it. */
        state host = now();
        memset(&got, 0, sizeof(got));
        set(states[i]);
        in_use = now();
        CHECK_OK(bert_set_num_threads(2));
        use_everything(&got);
        CHECK_STATUS(bert_set_num_threads(-1), BERT_ERR_INVALID_ARGUMENT);
        check_state(in_use, "after an error");
        set(host);
        CHECK(is_same(expected.model, got.model));
        CHECK(is_same(expected.loaded, got.loaded));
        CHECK(memcmp(expected.logits, got.logits, sizeof(got.logits)) == 0);
        CHECK(memcmp(expected.read_logits, got.read_logits, sizeof(got.logits)) == 0);
        CHECK(memcmp(expected.probabilities, got.probabilities, sizeof(got.probabilities)) == 0);
        CHECK(memcmp(expected.vectors, got.vectors, sizeof(got.vectors)) == 0);
        CHECK(memcmp(expected.reports, got.reports, sizeof(got.reports)) == 0);
        release(got.model);
        release(got.loaded);
    }
    release(expected.model);
    release(expected.loaded);
}

/* Texts that are cut are told to the log. */
static void the_log_is_called_in_the_hosts_state(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_train_options options = train_options();
    options.max_length = 4;
    int before = logged;
    state host = now();
    set(states[0]);
    in_use = now();
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    check_state(in_use, "after making a trainer");
    bert_trainer_free(trainer);
    set(host);
    CHECK(logged > before);
    /* What follows runs in other states, which the callback doesn't know. */
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    bert_free(model);
    bert_dataset_free(train);
}

static int32_t changes_the_state(const bert_progress *progress, void *user_data)
{
    state *wanted = user_data;
    if (progress->step == 1) {
        set(*wanted);
    }
    check_state(*wanted, "in a later callback");
    return 0;
}

/* What a callback sets is the host's state from then on, and not the library's. */
static void a_callback_may_change_the_state(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model(), *other = small_model();
    bert_train_options options = train_options();
    options.epochs = 1;
    options.batch_size = 4;
    bert_trainer *trainer = trainer_of(other, train, NULL, &options);
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);
    state host = now(), wanted = states[0];
    options.progress = changes_the_state;
    options.progress_user_data = &wanted;
    trainer = trainer_of(model, train, NULL, &options);
    bert_status status = bert_train(trainer, NULL);
    check_state(wanted, "after the call");
    set(host);
    CHECK_OK(status);
    CHECK(are_equal(model, other));
    bert_trainer_free(trainer);
    bert_free(model);
    bert_free(other);
    bert_dataset_free(train);
}

int main(void)
{
    CHECK_OK(bert_set_log_callback(logs_in_its_own_state, NULL));
    in_use = now();
    CHECK_OK(bert_set_num_threads(1));
    results_are_the_same_in_every_state();
    the_log_is_called_in_the_hosts_state();
    a_callback_may_change_the_state();
    return 0;
}

#else

int main(void)
{
    /* Nothing is promised there: the library leaves the state as it is. */
    puts("nothing is known of this processor's floating-point state");
    return 0;
}

#endif
