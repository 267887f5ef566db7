/* Sixteen threads predict while one trains, one saves, one evaluates, one changes the number of worker threads and one
 * makes and frees handles that others are inside of: every answer is one that a single thread gives for some step's
 * weights, and no thread's answers go back to older ones.
 *
 * Run as `soak_threads SECONDS`; the suite takes the short form, 3. */

#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

enum { PREDICTORS = 16, CLASSES = 2, MOST_STEPS = 200000, MOST_ANSWERS = 400000 };

static const char *const texts[] = {"a great film", "terrible food", "", "we loved the rude staff"};
#define TEXTS COUNT_OF(texts)

typedef struct {
    float logits[TEXTS * CLASSES];
} answer;

/* A flag between threads, without C11's atomics. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int is_over;

static int over(void)
{
    pthread_mutex_lock(&lock);
    int value = is_over;
    pthread_mutex_unlock(&lock);
    return value;
}

static void end(void)
{
    pthread_mutex_lock(&lock);
    is_over = 1;
    pthread_mutex_unlock(&lock);
}

static bert_status ask(const bert_model *model, answer *to)
{
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = to->logits;
    out.logits_capacity = TEXTS * CLASSES;
    return bert_predict_batch(model, TEXTS, texts, NULL, NULL, NULL, NULL, &out);
}

/* The answers of each step's weights, from within the callback: nobody trains meanwhile. */
static bert_model *model;
static answer *of_step;
static size_t steps;

static int32_t notes_answers(const bert_progress *progress, void *user_data)
{
    (void)user_data;
    CHECK(progress->step < MOST_STEPS);
    steps = (size_t)progress->step;
    CHECK_OK(ask(model, &of_step[steps]));
    /* Long enough for the others to see each step's weights, and for the steps not to run away. */
    usleep(1000);
    return over();
}

static void *trains(void *trainer)
{
    bert_status status = bert_train(trainer, NULL);
    CHECK(status == BERT_ERR_CANCELLED);
    return NULL;
}

/* Each answer that differs from the one before it. */
typedef struct {
    answer *got;
    size_t count, asked;
} predictor;

static void *predicts(void *argument)
{
    predictor *p = argument;
    while (!over()) {
        answer now;
        CHECK_OK(ask(model, &now));
        p->asked++;
        if (p->count == 0 || memcmp(&now, &p->got[p->count - 1], sizeof(now)) != 0) {
            CHECK(p->count < MOST_ANSWERS);
            p->got[p->count++] = now;
        }
    }
    return NULL;
}

/* Every saved model is whole: it is loaded again, and its answers are compared like the others. */
static void *saves(void *argument)
{
    predictor *p = argument;
    while (!over()) {
        bert_model *loaded = NULL;
        saved bytes = {NULL, 0};
        if (p->asked % 2 == 0) {
            bytes = save(model);
            loaded = load_buffer(bytes.bytes, bytes.length);
            release(bytes);
        } else {
            CHECK_OK(bert_save(model, "saved"));
            loaded = load_model("saved");
        }
        CHECK(p->count < MOST_ANSWERS);
        CHECK_OK(ask(loaded, &p->got[p->count++]));
        p->asked++;
        bert_free(loaded);
    }
    return NULL;
}

static void *evaluates(void *argument)
{
    size_t *count = argument;
    bert_dataset *validation = toy(BERT_TOY_VALIDATION);
    while (!over()) {
        bert_evaluation evaluation;
        CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
        CHECK_OK(bert_evaluate(model, validation, 0, &evaluation));
        CHECK(evaluation.loss >= 0 && evaluation.accuracy >= 0 && evaluation.accuracy <= 1);
        (*count)++;
    }
    bert_dataset_free(validation);
    return NULL;
}

static void *changes_threads(void *argument)
{
    size_t *count = argument;
    while (!over()) {
        CHECK_OK(bert_set_num_threads((int32_t)(1 + *count % 3)));
        (*count)++;
        usleep(5000);
    }
    return NULL;
}

/* ---- Handles that go while they are used ------------------------------------------------------------------------ */

/* One generation of handles; the users find out from the answers that they are gone. */
typedef struct {
    bert_model *model;
    bert_dataset *dataset;
    bert_trainer *trainer;
    size_t inside;
} generation;

static int is_gone(bert_status status)
{
    CHECK(status == BERT_OK || status == BERT_ERR_HANDLE || status == BERT_ERR_BUSY || status == BERT_ERR_FINISHED);
    return status == BERT_ERR_HANDLE;
}

static void count_one(generation *g)
{
    pthread_mutex_lock(&lock);
    g->inside++;
    pthread_mutex_unlock(&lock);
}

static void *uses_model(void *argument)
{
    generation *g = argument;
    answer now;
    while (!is_gone(ask(g->model, &now))) {
        count_one(g);
    }
    return NULL;
}

static void *uses_dataset(void *argument)
{
    generation *g = argument;
    size_t count;
    while (!is_gone(bert_dataset_add_class(g->dataset, "text", NUL, NULL, 0, "positive", NUL)) &&
           !is_gone(bert_dataset_count(g->dataset, &count))) {
        count_one(g);
    }
    return NULL;
}

static void *uses_trainer(void *argument)
{
    generation *g = argument;
    while (!is_gone(bert_train_epoch(g->trainer, NULL))) {
        count_one(g);
    }
    return NULL;
}

static void *frees_what_is_used(void *argument)
{
    static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    size_t *count = argument;
    while (!over()) {
        generation g = {small_model(), toy(BERT_TOY_TRAIN), NULL, 0};
        bert_train_options options = train_options();
        options.epochs = 1000000;
        g.trainer = trainer_of(g.model, g.dataset, NULL, &options);
        pthread_t threads[4];
        void *(*const users[4])(void *) = {uses_model, uses_dataset, uses_trainer, uses_trainer};
        for (int i = 0; i < 4; i++) {
            CHECK(pthread_create(&threads[i], NULL, users[i], &g) == 0);
        }
        for (int is_used = 0; !is_used; usleep(100)) {
            pthread_mutex_lock(&lock);
            is_used = g.inside >= 8;
            pthread_mutex_unlock(&lock);
        }
        for (int f = 0; f < 3; f++) {
            switch (orders[*count % 6][f]) {
            case 0:
                bert_free(g.model);
                break;
            case 1:
                bert_dataset_free(g.dataset);
                break;
            default:
                bert_trainer_free(g.trainer);
            }
        }
        for (int i = 0; i < 4; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
        }
        (*count)++;
    }
    return NULL;
}

/* Which step's answer it is, from `from` on; fails where it is none's. */
static size_t step_of(const answer *got, size_t from)
{
    while (from <= steps && memcmp(got, &of_step[from], sizeof(*got)) != 0) {
        from++;
    }
    if (from > steps) {
        fprintf(stderr, "an answer is that of no step's weights\n");
        exit(1);
    }
    return from;
}

int main(int argument_count, char **arguments)
{
    int seconds = argument_count > 1 ? atoi(arguments[1]) : 3;
    of_step = malloc(sizeof(*of_step) * MOST_STEPS);
    CHECK(of_step != NULL);
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    model = small_model();
    CHECK_OK(ask(model, &of_step[0]));
    bert_train_options options = train_options();
    options.epochs = 1000000;
    options.batch_size = 4;
    options.learning_rate = 1e-4;
    options.progress = notes_answers;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);

    predictor predictors[PREDICTORS + 1];
    pthread_t threads[PREDICTORS + 5];
    size_t evaluations = 0, changes = 0, generations = 0;
    for (int i = 0; i <= PREDICTORS; i++) {
        predictors[i] = (predictor){malloc(sizeof(answer) * MOST_ANSWERS), 0, 0};
        CHECK(predictors[i].got != NULL);
        CHECK(pthread_create(&threads[i], NULL, i < PREDICTORS ? predicts : saves, &predictors[i]) == 0);
    }
    CHECK(pthread_create(&threads[PREDICTORS + 1], NULL, trains, trainer) == 0);
    CHECK(pthread_create(&threads[PREDICTORS + 2], NULL, evaluates, &evaluations) == 0);
    CHECK(pthread_create(&threads[PREDICTORS + 3], NULL, changes_threads, &changes) == 0);
    CHECK(pthread_create(&threads[PREDICTORS + 4], NULL, frees_what_is_used, &generations) == 0);
    sleep((unsigned)seconds);
    end();
    for (int i = 0; i < PREDICTORS + 5; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }

    size_t asked = 0, seen = 0;
    for (int i = 0; i <= PREDICTORS; i++) {
        size_t at = 0;
        for (size_t k = 0; k < predictors[i].count; k++) {
            at = step_of(&predictors[i].got[k], at);
        }
        if (i < PREDICTORS) {
            asked += predictors[i].asked;
            seen += predictors[i].count;
        }
        free(predictors[i].got);
    }
    printf("%d s: %zu steps, %zu answers of %d threads (%zu of new weights), %zu saves, %zu evaluations, %zu changes of "
           "the threads, %zu sets of handles freed in use: all answers are of whole steps\n",
           seconds, steps, asked, PREDICTORS, seen, predictors[PREDICTORS].asked, evaluations, changes, generations);
    CHECK(steps > 0 && asked > PREDICTORS && predictors[PREDICTORS].asked > 0 && evaluations > 0 && changes > 0 &&
          generations > 0);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
    free(of_step);
    return 0;
}
