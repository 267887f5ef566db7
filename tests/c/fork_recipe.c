/* docs/forking.md: models are loaded in a parent and predict in its forked children, several at once; the same with one
 * thread after the parent has predicted, and trained; what a child is told where that can't be. */

#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { MODELS = 2, CHILDREN = 4, TEXTS = 40, CLASSES = 2, LOGITS = TEXTS * CLASSES, LONG = 70000 };

/* Long ones too, which are no little work, and so many that they are shared out where there are threads. */
static char *texts[TEXTS];

static void make_texts(void)
{
    static const char *const words[] = {"a great film", "terrible food", "wonderful music", "the staff was rude", "what a waste"};
    for (int i = 0; i < TEXTS; i++) {
        size_t length = i == 7 ? LONG : i == 9 ? 5000 : 40;
        texts[i] = malloc(length + 40);
        CHECK(texts[i] != NULL);
        char *at = texts[i];
        for (int k = 0; (size_t)(at - texts[i]) < length; k++) {
            at += sprintf(at, "%s ", words[(i + k * (k + 1) / 2) % COUNT_OF(words)]);
        }
    }
}

static int tasks(void)
{
    DIR *directory = opendir("/proc/self/task");
    CHECK(directory != NULL);
    int count = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        count += entry->d_name[0] != '.';
    }
    closedir(directory);
    return count;
}

/* A thread that was waited for may be listed for a moment more. */
static void all_have_ended(void)
{
    for (int turn = 0; turn < 1000 && tasks() > 1; turn++) {
        usleep(1000);
    }
    CHECK_EQUAL(tasks(), 1);
}

/* ---- Processes: each part has one of its own, since what a process has begun stays with it. --------------------------- */

static void check_end(pid_t child)
{
    int status = -1;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "the child ended with signal %d\n", WTERMSIG(status));
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static pid_t fork_with_time_limit(void)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
    }
    return child;
}

static void alone(void (*part)(void))
{
    pid_t child = fork_with_time_limit();
    if (child == 0) {
        part();
        exit(0);
    }
    check_end(child);
}

/* ---- What is computed -------------------------------------------------------------------------------------------------- */

/* One that is loaded as float32, and one as int8. */
static bert_model *models[MODELS];

static void save_models(void)
{
    bert_model_options options = small_options();
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model, *int8 = NULL;
    options.num_hidden_layers = 4;
    options.hidden_size = 256;
    options.num_attention_heads = 4;
    options.intermediate_size = 1024;
    options.device = "cpu";
    model = create(&options, train);
    CHECK_OK(bert_save(model, "float32"));
    CHECK_OK(bert_quantize(model, &int8));
    CHECK_OK(bert_save(int8, "int8"));
    bert_free(model);
    bert_free(int8);
    bert_dataset_free(train);
}

static void load_models(void)
{
    bert_load_options options;
    CHECK_OK(bert_load_options_init(&options, sizeof(options)));
    options.device = "cpu";
    CHECK_OK(bert_load("float32", &options, &models[0]));
    CHECK_OK(bert_load("int8", &options, &models[1]));
}

typedef struct {
    float logits[MODELS][LOGITS];
} answers;

static void predict_into(answers *out)
{
    for (int i = 0; i < MODELS; i++) {
        bert_predictions predictions;
        bert_prediction one;
        CHECK_OK(bert_predictions_init(&predictions, sizeof(predictions)));
        predictions.logits = out->logits[i];
        predictions.logits_capacity = LOGITS;
        CHECK_OK(bert_predict_batch(models[i], TEXTS, (const char *const *)texts, NULL, NULL, NULL, NULL, &predictions));
        CHECK_OK(bert_prediction_init(&one, sizeof(one)));
        /* Both texts of a pair are read at once where there are threads for it. */
        CHECK_OK(bert_predict(models[i], texts[7], NUL, texts[7] + 40, NUL, NULL, &one));
        CHECK(one.probability > 0 && one.probability <= 1);
    }
}

/* Where children leave what they computed. */
static answers *shared_answers(void)
{
    answers *all = mmap(NULL, CHILDREN * sizeof(answers), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(all != MAP_FAILED);
    return all;
}

/* Children that compute at once what the parent computes, before the fork or after it. */
static void children_answer(answers *of_children, void (*first)(void))
{
    pid_t children[CHILDREN];
    memset(of_children, 0, CHILDREN * sizeof(answers));
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork_with_time_limit();
        if (children[i] == 0) {
            if (first != NULL) {
                first();
            }
            predict_into(&of_children[i]);
            /* By exit or not, with what was loaded or without. */
            if (i % 2 == 0) {
                _exit(0);
            }
            bert_free(models[0]);
            bert_free(models[1]);
            exit(0);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        check_end(children[i]);
    }
}

static void check_answers(const answers *of_children, const answers *expected)
{
    for (int i = 0; i < CHILDREN; i++) {
        CHECK(memcmp(&of_children[i], expected, sizeof(answers)) == 0);
    }
}

static void is_refused(void)
{
    pid_t child = fork_with_time_limit();
    if (child == 0) {
        bert_prediction prediction;
        CHECK_STATUS(bert_prediction_init(&prediction, sizeof(prediction)), BERT_ERR_FORKED);
        CHECK_STATUS(bert_predict(models[0], "text", NUL, NULL, 0, NULL, NULL), BERT_ERR_FORKED);
        CHECK_STATUS(bert_set_num_threads(1), BERT_ERR_FORKED);
        CHECK_MESSAGE("bert_set_num_threads(1)");
        exit(0);
    }
    check_end(child);
}

/* ---- Parts ------------------------------------------------------------------------------------------------------------- */

static int lines;

static void count_line(int32_t level, const char *text, void *user_data)
{
    CHECK(level >= BERT_LOG_DEBUG && text != NULL && user_data == &lines);
    lines++;
}

/* All that a parent does before it forks, and no thread is there after any of it. */
static void prepares_to_fork(void)
{
    CHECK_OK(bert_set_log_callback(count_line, &lines));
    load_models();
    CHECK_EQUAL(tasks(), 1);
    bert_model *int8 = NULL, *copy = NULL;
    bert_dataset *train = toy(BERT_TOY_TRAIN), *read = NULL;
    const char *name = NULL;
    size_t length = 0;
    int32_t threads = 0;
    CHECK_OK(bert_quantize(models[0], &int8));
    CHECK_OK(bert_copy_to_device(models[0], "cpu", &copy));
    CHECK_OK(bert_save(copy, "copy"));
    CHECK_EQUAL(info_of(models[1]).hidden_size, 256);
    CHECK_OK(bert_label_name(models[0], 0, &name, &length));
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK(threads >= 1);
    write_text("few.tsv", "text\tlabel\ngood\tx\nbad\ty\n");
    CHECK_OK(bert_dataset_read("few.tsv", NULL, &read));
    CHECK_EQUAL(tasks(), 1);
    bert_free(int8);
    bert_free(copy);
    bert_dataset_free(train);
    bert_dataset_free(read);
}

static void load_then_fork(void)
{
    answers *of_children = shared_answers();
    static answers own;
    int32_t threads = 0;
    prepares_to_fork();
    children_answer(of_children, NULL);
    CHECK_EQUAL(tasks(), 1);
    predict_into(&own);
    check_answers(of_children, &own);
    CHECK_OK(bert_get_num_threads(&threads));
    if (threads > 1) {
        /* There are threads now. */
        CHECK(tasks() > 1);
        is_refused();
        predict_into(&own);
        check_answers(of_children, &own);
    }
}

static void sets_two_threads(void)
{
    int32_t threads = 0;
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, 3);
    CHECK_OK(bert_set_num_threads(2));
}

/* Chosen before the fork, as a configuration would have it, or in the child. */
static void the_number_of_threads_is_chosen(void)
{
    answers *of_children = shared_answers();
    static answers own;
    CHECK_OK(bert_set_num_threads(3));
    prepares_to_fork();
    children_answer(of_children, sets_two_threads);
    predict_into(&own);
    CHECK(tasks() == 1 + 3);
    check_answers(of_children, &own);
    is_refused();
}

static void trains_a_while(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_train_options options = train_options();
    /* Several steps: the first has the rate 0. */
    options.batch_size = 4;
    bert_trainer *trainer = trainer_of(models[0], train, train, &options);
    CHECK_OK(bert_train_epoch(trainer, NULL));
    bert_trainer_free(trainer);
    bert_dataset_free(train);
}

/* A child trains its own copy of what the parent has. */
static void trains_in_a_child(void)
{
    static answers before, after;
    predict_into(&before);
    trains_a_while();
    predict_into(&after);
    CHECK(memcmp(before.logits[0], after.logits[0], sizeof(before.logits[0])) != 0);
    CHECK(memcmp(before.logits[1], after.logits[1], sizeof(before.logits[1])) == 0);
    CHECK_EQUAL(tasks(), 1);
}

/* All that can be done, by the thread that calls: no other is ever there. */
static void one_thread(void)
{
    answers *of_children = shared_answers();
    static answers own, later;
    CHECK_OK(bert_set_num_threads(1));
    prepares_to_fork();
    predict_into(&own);
    CHECK_EQUAL(tasks(), 1);
    children_answer(of_children, NULL);
    check_answers(of_children, &own);
    pid_t child = fork_with_time_limit();
    if (child == 0) {
        trains_in_a_child();
        /* A grandchild is a child like any other. */
        alone(trains_in_a_child);
        exit(0);
    }
    check_end(child);
    predict_into(&later);
    CHECK(memcmp(&own, &later, sizeof(own)) == 0);
    static const int32_t tokenizers[] = {BERT_TOKENIZER_WORD_LEVEL, BERT_TOKENIZER_WORDPIECE, BERT_TOKENIZER_BPE};
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    for (size_t i = 0; i < COUNT_OF(tokenizers); i++) {
        bert_model_options options = small_options();
        options.tokenizer = tokenizers[i];
        bert_model *model = create(&options, train), *adapted = NULL, *merged = NULL;
        bert_evaluation evaluation;
        CHECK_OK(bert_add_lora(model, NULL, &adapted));
        CHECK_OK(bert_merge_lora(adapted, &merged));
        CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
        CHECK_OK(bert_evaluate(adapted, train, 0, &evaluation));
        bert_free(model);
        bert_free(adapted);
        bert_free(merged);
    }
    bert_dataset_free(train);
    trains_a_while();
    CHECK_EQUAL(tasks(), 1);
    predict_into(&later);
    CHECK(memcmp(own.logits[0], later.logits[0], sizeof(own.logits[0])) != 0);
    /* Children that can have threads of their own, which compute the same. */
    children_answer(of_children, NULL);
    check_answers(of_children, &later);
}

static void sets_four_threads(void)
{
    CHECK_OK(bert_set_num_threads(4));
}

/* Threads that have ended hinder nobody. */
static void threads_that_end(void)
{
    answers *of_children = shared_answers();
    static answers own;
    load_models();
    for (int round = 0; round < 3; round++) {
        CHECK_OK(bert_set_num_threads(4));
        predict_into(&own);
        CHECK_EQUAL(tasks(), 1 + 4);
        is_refused();
        CHECK_OK(bert_set_num_threads(1));
        all_have_ended();
        children_answer(of_children, round == 1 ? sets_four_threads : NULL);
        check_answers(of_children, &own);
    }
}

static volatile sig_atomic_t stop;

static void *predicts_long(void *argument)
{
    bert_prediction *prediction = argument;
    while (!stop) {
        CHECK_OK(bert_predict(models[0], texts[7], NUL, NULL, 0, NULL, prediction));
    }
    return NULL;
}

/* Another thread of the host's is inside of a call, or it isn't: the child is told, or it works. */
static void forks_during_calls(void)
{
    enum { FORKS = 60 };
    bert_prediction of_thread, own;
    pthread_t thread;
    int refused = 0;
    CHECK_OK(bert_set_num_threads(1));
    load_models();
    CHECK_OK(bert_prediction_init(&of_thread, sizeof(of_thread)));
    CHECK_OK(bert_prediction_init(&own, sizeof(own)));
    CHECK(pthread_create(&thread, NULL, predicts_long, &of_thread) == 0);
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork_with_time_limit();
        if (child == 0) {
            bert_status status = bert_predict(models[0], texts[7], NUL, NULL, 0, NULL, &own);
            CHECK(status == BERT_OK || status == BERT_ERR_FORKED);
            _exit(status == BERT_OK ? 0 : 7);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 7));
        refused += WEXITSTATUS(status) == 7;
    }
    stop = 1;
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(refused > 0);
    /* Now nobody is. */
    pid_t child = fork_with_time_limit();
    if (child == 0) {
        CHECK_OK(bert_predict(models[0], texts[7], NUL, NULL, 0, NULL, &own));
        CHECK(own.probability == of_thread.probability);
        exit(0);
    }
    check_end(child);
}

/* Kilobytes of memory that no other process shares with this one; -1 where the system doesn't tell. */
static long own_kilobytes(void)
{
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    char line[200];
    long all = 0, size;
    if (file == NULL) {
        return -1;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "Private_Clean: %ld", &size) == 1 || sscanf(line, "Private_Dirty: %ld", &size) == 1) {
            all += size;
        }
    }
    fclose(file);
    return all;
}

/* What the parent had loaded and brought into the form that is computed with is there once, however many children predict:
 * 12.6 MB of weights in blocks, and the words. */
static void weights_are_shared(void)
{
    CHECK_OK(bert_set_num_threads(1));
    load_models();
    bert_prediction prediction;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_OK(bert_predict(models[0], "a great film", NUL, NULL, 0, NULL, &prediction));
    pid_t child = fork_with_time_limit();
    if (child == 0) {
        long before = own_kilobytes();
        CHECK_OK(bert_predict(models[0], "a great film", NUL, NULL, 0, NULL, &prediction));
        long grown = own_kilobytes() - before;
        if (before >= 0 && grown > 4000) {
            fprintf(stderr, "a prediction in a child takes %ld kB of its own\n", grown);
            exit(1);
        }
        exit(0);
    }
    check_end(child);
}

int main(void)
{
    make_texts();
    alone(save_models);
    CHECK_EQUAL(tasks(), 1);
    alone(load_then_fork);
    alone(the_number_of_threads_is_chosen);
    alone(one_thread);
    alone(threads_that_end);
    alone(forks_during_calls);
    alone(weights_are_shared);
    return 0;
}
