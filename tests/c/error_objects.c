/* Error objects: the errors of the threads that they are bound to, read from any thread; what an error was of. */

#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static bert_error *new_error(void)
{
    bert_error *error = NULL;
    CHECK_OK(bert_error_create(&error));
    CHECK(error != NULL);
    return error;
}

/* What an object without an error says, and what one says that is none. */
static void check_empty(const bert_error *error, bert_status status)
{
    CHECK_STATUS(bert_error_status(error), status);
    CHECK_TEXT(bert_error_message(error), "");
    CHECK_TEXT(bert_error_argument(error), "");
    CHECK_EQUAL(bert_error_index(error), -1);
    CHECK_EQUAL(bert_error_line(error), 0);
    CHECK_EQUAL(bert_error_needed_size(error), 0);
}

/* The object holds an error of this kind, and nothing else. */
static void check_error(const bert_error *error, bert_status status, const char *argument, int64_t index, int64_t line,
                        size_t needed_size)
{
    CHECK_STATUS(bert_error_status(error), status);
    CHECK(strlen(bert_error_message(error)) > 10);
    CHECK_TEXT(bert_error_argument(error), argument);
    CHECK_EQUAL(bert_error_index(error), index);
    CHECK_EQUAL(bert_error_line(error), line);
    CHECK_EQUAL(bert_error_needed_size(error), needed_size);
}

/* The same of this thread's own last error. */
static void check_last(const bert_error *error, bert_status status, const char *argument, int64_t index, int64_t line,
                       size_t needed_size)
{
    check_error(error, status, argument, index, line, needed_size);
    CHECK_TEXT(bert_error_message(error), bert_last_error_message());
}

/* Errors that are told apart by their messages. */
static void fail_with(int32_t number)
{
    CHECK_STATUS(bert_set_num_threads(number), BERT_ERR_INVALID_ARGUMENT);
}

static void check_number(const bert_error *error, const char *number)
{
    check_error(error, BERT_ERR_INVALID_ARGUMENT, "num_threads", -1, 0, 0);
    CHECK(strstr(bert_error_message(error), number) != NULL);
}

/* ---- Binding --------------------------------------------------------------------------------------------------------- */

static void the_bound_object_gets_the_errors(void)
{
    bert_error *error = new_error(), *other = new_error();
    check_empty(error, BERT_OK);
    /* Not bound, it gets none. */
    fail_with(-1);
    check_empty(error, BERT_OK);
    CHECK_OK(bert_error_bind(error));
    check_empty(error, BERT_OK);
    fail_with(-2);
    check_number(error, "-2");
    CHECK_TEXT(bert_error_message(error), bert_last_error_message());
    /* A later error takes its place; what succeeds changes nothing. */
    fail_with(-3);
    check_number(error, "-3");
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    CHECK_EQUAL(count_of(dataset), 16);
    bert_dataset_free(dataset);
    check_number(error, "-3");
    check_empty(other, BERT_OK);
    /* Another object takes its place. */
    CHECK_OK(bert_error_bind(other));
    fail_with(-4);
    check_number(error, "-3");
    check_number(other, "-4");
    /* Bound again, it is empty. */
    CHECK_OK(bert_error_bind(error));
    check_empty(error, BERT_OK);
    check_number(other, "-4");
    fail_with(-5);
    check_number(error, "-5");
    CHECK_OK(bert_error_bind(error));
    check_empty(error, BERT_OK);
    /* What can't be bound leaves the bound one bound. */
    CHECK_STATUS(bert_error_bind((bert_error *)(void *)&error), BERT_ERR_HANDLE);
    check_last(error, BERT_ERR_HANDLE, "error", -1, 0, 0);
    fail_with(-6);
    check_number(error, "-6");
    /* None at all. */
    CHECK_OK(bert_error_bind(NULL));
    fail_with(-7);
    check_number(error, "-6");
    CHECK_MESSAGE("-7");
    CHECK_OK(bert_error_bind(NULL));
    bert_error_free(error);
    bert_error_free(other);
}

static void a_bound_object_may_be_freed(void)
{
    bert_error *error = new_error();
    CHECK_OK(bert_error_bind(error));
    fail_with(-1);
    bert_error_free(error);
    check_empty(error, BERT_ERR_HANDLE);
    fail_with(-2);
    CHECK_MESSAGE("-2");
    check_empty(error, BERT_ERR_HANDLE);
    CHECK_STATUS(bert_error_bind(error), BERT_ERR_HANDLE);
    CHECK_MESSAGE("freed");
    bert_error *next = new_error();
    CHECK_OK(bert_error_bind(next));
    fail_with(-3);
    check_number(next, "-3");
    CHECK_OK(bert_error_bind(NULL));
    bert_error_free(next);
    bert_error_free(NULL);
}

/* ---- Threads --------------------------------------------------------------------------------------------------------- */

typedef struct {
    bert_error *error;
    int32_t number;
    pthread_barrier_t *barrier;
} caller;

static void *fails_bound(void *argument)
{
    caller *c = argument;
    CHECK_OK(bert_error_bind(c->error));
    if (c->barrier != NULL) {
        pthread_barrier_wait(c->barrier);
    }
    fail_with(c->number);
    return NULL;
}

/* As a runtime does whose tasks go from thread to thread: the call fails on one, the question comes from another. */
static void another_thread_reads_it(void)
{
    caller c = {new_error(), -11, NULL};
    pthread_t thread;
    CHECK_OK(bert_error_bind(NULL));
    fail_with(-12);
    CHECK(pthread_create(&thread, NULL, fails_bound, &c) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    /* The thread is gone, and its own last message with it. */
    check_number(c.error, "-11");
    CHECK_MESSAGE("-12");
    bert_error_free(c.error);
}

enum { THREADS = 4 };

static void several_threads_share_one(void)
{
    bert_error *error = new_error();
    pthread_t threads[THREADS];
    pthread_barrier_t barrier;
    caller callers[THREADS];
    for (int round = 0; round < 50; round++) {
        CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
        for (int i = 0; i < THREADS; i++) {
            callers[i] = (caller){error, -101 - i, &barrier};
            CHECK(pthread_create(&threads[i], NULL, fails_bound, &callers[i]) == 0);
        }
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
        }
        /* One of theirs, whole. */
        CHECK_STATUS(bert_error_status(error), BERT_ERR_INVALID_ARGUMENT);
        int found = 0;
        for (int i = 0; i < THREADS; i++) {
            char number[16];
            snprintf(number, sizeof(number), "%d;", callers[i].number);
            found += strstr(bert_error_message(error), number) != NULL;
        }
        CHECK_EQUAL(found, 1);
        CHECK(pthread_barrier_destroy(&barrier) == 0);
    }
    /* Each with its own. */
    bert_error *own[2] = {new_error(), new_error()};
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    for (int i = 0; i < 2; i++) {
        callers[i] = (caller){own[i], -201 - i, &barrier};
        CHECK(pthread_create(&threads[i], NULL, fails_bound, &callers[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    check_number(own[0], "-201");
    check_number(own[1], "-202");
    CHECK(pthread_barrier_destroy(&barrier) == 0);
    bert_error_free(own[0]);
    bert_error_free(own[1]);
    bert_error_free(error);
}

static int stop;

static void *fails_and_binds(void *argument)
{
    bert_error *const *errors = argument;
    for (int i = 0; !__atomic_load_n(&stop, __ATOMIC_SEQ_CST); i++) {
        CHECK_OK(bert_error_bind(errors[i % 2]));
        fail_with(-1 - i % 100);
    }
    CHECK_OK(bert_error_bind(NULL));
    return NULL;
}

/* Objects are made and freed while other threads bind and ask others; numbers may be asked for at any time. */
static void any_thread_may_ask_meanwhile(void)
{
    bert_error *errors[2] = {new_error(), new_error()};
    pthread_t threads[THREADS];
    stop = 0;
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, fails_and_binds, errors) == 0);
    }
    for (int i = 0; i < 2000; i++) {
        bert_status status = bert_error_status(errors[i % 2]);
        CHECK(status == BERT_OK || status == BERT_ERR_INVALID_ARGUMENT);
        CHECK_EQUAL(bert_error_index(errors[i % 2]), -1);
        CHECK_EQUAL(bert_error_line(errors[i % 2]), 0);
        CHECK_EQUAL(bert_error_needed_size(errors[i % 2]), 0);
        bert_error *mine = new_error();
        CHECK_OK(bert_error_bind(mine));
        fail_with(-1000);
        check_number(mine, "-1000");
        bert_error_free(mine);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    bert_error_free(errors[0]);
    bert_error_free(errors[1]);
}

/* ---- What an error is of --------------------------------------------------------------------------------------------- */

enum { TEXTS = 20, WIDTH = 16 };

static void arguments_and_options(const bert_error *error, bert_model *model, const bert_dataset *train)
{
    bert_dataset *dataset = NULL;
    bert_model *made = NULL;
    bert_trainer *trainer = NULL;
    const char *name = NULL;
    size_t count = 0;
    CHECK_STATUS(bert_dataset_create(NULL), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "dataset", -1, 0, 0);
    CHECK_STATUS(bert_dataset_count(train, NULL), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "count", -1, 0, 0);
    CHECK_STATUS(bert_get_info(model, NULL), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "info", -1, 0, 0);
    CHECK_STATUS(bert_dataset_toy(7, &dataset), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "part", -1, 0, 0);
    CHECK_STATUS(bert_dataset_split(train, 2, 0, &dataset, &dataset), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "fraction", -1, 0, 0);
    CHECK_STATUS(bert_dataset_count(NULL, &count), BERT_ERR_HANDLE);
    check_last(error, BERT_ERR_HANDLE, "dataset", -1, 0, 0);
    CHECK_STATUS(bert_trainer_create(model, train, (const bert_dataset *)(const void *)model, NULL, &trainer),
                 BERT_ERR_HANDLE);
    check_last(error, BERT_ERR_HANDLE, "validation", -1, 0, 0);
    bert_train_options options = train_options();
    options.epochs = 0;
    CHECK_STATUS(bert_trainer_create(model, train, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "epochs", -1, 0, 0);
    options = train_options();
    options.learning_rate = NAN;
    CHECK_STATUS(bert_trainer_create(model, train, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "learning_rate", -1, 0, 0);
    options = train_options();
    options.reserved2 = 1;
    CHECK_STATUS(bert_trainer_create(model, train, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "reserved2", -1, 0, 0);
    options.struct_size = 0;
    CHECK_STATUS(bert_trainer_create(model, train, NULL, &options, &trainer), BERT_ERR_STRUCT_SIZE);
    check_last(error, BERT_ERR_STRUCT_SIZE, "options", -1, 0, 0);
    bert_load_options load = load_options();
    load.labels_from = (const bert_dataset *)(const void *)model;
    CHECK_STATUS(bert_load("absent", &load, &made), BERT_ERR_HANDLE);
    check_last(error, BERT_ERR_HANDLE, "labels_from", -1, 0, 0);
    /* Of a file there is no argument: the message has its name. */
    CHECK_STATUS(bert_load("absent", NULL, &made), BERT_ERR_IO);
    check_last(error, BERT_ERR_IO, "", -1, 0, 0);
    CHECK_STATUS(bert_parameter_name(model, BERT_PARAMETERS_INITIALISED, 1000000, &name, &count),
                 BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "index", -1, 0, 0);
    CHECK(dataset == NULL && made == NULL && trainer == NULL && name == NULL && count == 0);
}

static void elements_of_arrays(const bert_error *error, const bert_model *model)
{
    const char *texts[TEXTS];
    int64_t ids[TEXTS] = {0};
    float logits[TEXTS * 2], vectors[TEXTS * WIDTH];
    bert_dataset *dataset = NULL;
    bert_predictions out = BERT_PREDICTIONS_INIT;
    out.logits = logits;
    out.logits_capacity = COUNT_OF(logits);
    for (int i = 0; i < TEXTS; i++) {
        texts[i] = "a great film";
    }
    texts[17] = "no \xff UTF-8";
    CHECK_STATUS(bert_predict_batch(model, TEXTS, texts, NULL, NULL, NULL, NULL, &out), BERT_ERR_UTF8);
    check_last(error, BERT_ERR_UTF8, "texts", 17, 0, 0);
    CHECK(strstr(bert_error_message(error), "texts[17]") != NULL);
    CHECK_STATUS(bert_embed(model, TEXTS, texts, NULL, NULL, NULL, NULL, vectors, COUNT_OF(vectors)), BERT_ERR_UTF8);
    check_last(error, BERT_ERR_UTF8, "texts", 17, 0, 0);
    texts[17] = NULL;
    CHECK_STATUS(bert_predict_batch(model, TEXTS, texts, NULL, NULL, NULL, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "texts", 17, 0, 0);
    texts[17] = "a";
    const char *pairs[TEXTS];
    memcpy(pairs, texts, sizeof(pairs));
    pairs[3] = "\xc0";
    CHECK_STATUS(bert_predict_batch(model, TEXTS, texts, NULL, pairs, NULL, NULL, &out), BERT_ERR_UTF8);
    check_last(error, BERT_ERR_UTF8, "pairs", 3, 0, 0);
    CHECK_OK(bert_dataset_create(&dataset));
    ids[5] = -1;
    CHECK_STATUS(bert_dataset_add_class_ids(dataset, TEXTS, texts, NULL, NULL, NULL, ids), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "class_ids", 5, 0, 0);
    CHECK_STATUS(bert_dataset_add_classes(dataset, TEXTS, texts, NULL, NULL, NULL, pairs, NULL), BERT_ERR_UTF8);
    check_last(error, BERT_ERR_UTF8, "class_names", 3, 0, 0);
    CHECK_EQUAL(count_of(dataset), 0);
    bert_dataset_free(dataset);
}

static void lines_of_files(const bert_error *error)
{
    static const struct {
        const char *path, *text;
        int64_t line;
    } files[] = {
        {"bad.tsv", "text\tlabel\ngood\tx\nno label here\nbad\ty\n", 3},
        {"bad.csv", "text,label\n\"a\nb\",x\nc\n", 4},
        {"bad.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n\n{\"text\": 7, \"label\": \"y\"}\n", 3},
    };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        bert_dataset *dataset = NULL;
        char line[32];
        write_text(files[i].path, files[i].text);
        CHECK_STATUS(bert_dataset_read(files[i].path, NULL, &dataset), BERT_ERR_DATA);
        check_last(error, BERT_ERR_DATA, "", -1, files[i].line, 0);
        snprintf(line, sizeof(line), "line %d", (int)files[i].line);
        CHECK(strstr(bert_error_message(error), line) != NULL);
        CHECK(dataset == NULL);
    }
}

static void sizes_of_buffers(const bert_error *error, const bert_model *model)
{
    static const char *const texts[3] = {"a great film", "terrible food", "music"};
    uint32_t ids[8];
    float numbers[3 * WIDTH];
    size_t count = 0;
    CHECK_STATUS(bert_tokenize(model, "a great film", NUL, NULL, 0, 0, ids, NULL, 2, &count), BERT_ERR_BUFFER_TOO_SMALL);
    check_last(error, BERT_ERR_BUFFER_TOO_SMALL, "ids", -1, 0, 5);
    CHECK_EQUAL(count, 5);
    CHECK_STATUS(bert_tokenize(model, "a great film", NUL, NULL, 0, 0, NULL, ids, 2, &count), BERT_ERR_BUFFER_TOO_SMALL);
    check_last(error, BERT_ERR_BUFFER_TOO_SMALL, "token_type_ids", -1, 0, 5);
    bert_predictions out = BERT_PREDICTIONS_INIT;
    out.probabilities = numbers;
    out.probabilities_capacity = 5;
    CHECK_STATUS(bert_predict_batch(model, 3, texts, NULL, NULL, NULL, NULL, &out), BERT_ERR_BUFFER_TOO_SMALL);
    check_last(error, BERT_ERR_BUFFER_TOO_SMALL, "probabilities", -1, 0, 6);
    CHECK_STATUS(bert_embed(model, 3, texts, NULL, NULL, NULL, NULL, numbers, 3 * WIDTH - 1), BERT_ERR_BUFFER_TOO_SMALL);
    check_last(error, BERT_ERR_BUFFER_TOO_SMALL, "vectors", -1, 0, 3 * WIDTH);
    bert_evaluation evaluation = BERT_EVALUATION_INIT;
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    uint64_t cells[4];
    evaluation.confusion = cells;
    evaluation.confusion_capacity = 3;
    CHECK_STATUS(bert_evaluate(model, train, 0, &evaluation), BERT_ERR_BUFFER_TOO_SMALL);
    check_last(error, BERT_ERR_BUFFER_TOO_SMALL, "confusion", -1, 0, 4);
    bert_dataset_free(train);
    /* With the size that was told it works, and the object keeps what it has. */
    out.probabilities_capacity = 6;
    CHECK_OK(bert_predict_batch(model, 3, texts, NULL, NULL, NULL, NULL, &out));
    check_last(error, BERT_ERR_BUFFER_TOO_SMALL, "confusion", -1, 0, 4);
}

static void labels(const bert_error *error, bert_model *model)
{
    static const char *const texts[3] = {"a", "b", "c"}, *const names[3] = {"positive", "negative", "neither"};
    int32_t id = 77;
    const char *name = NULL;
    bert_trainer *trainer = NULL;
    CHECK_STATUS(bert_label_id(model, "neither", NUL, &id), BERT_ERR_UNKNOWN_LABEL);
    check_last(error, BERT_ERR_UNKNOWN_LABEL, "name", -1, 0, 0);
    CHECK(strstr(bert_error_message(error), "'neither'") != NULL);
    CHECK_STATUS(bert_label_name(model, 2, &name, NULL), BERT_ERR_UNKNOWN_LABEL);
    check_last(error, BERT_ERR_UNKNOWN_LABEL, "label_id", -1, 0, 0);
    /* Of data it is the example's index. */
    bert_dataset *data = named(3, texts, names);
    CHECK_STATUS(bert_trainer_create(model, data, NULL, NULL, &trainer), BERT_ERR_UNKNOWN_LABEL);
    check_last(error, BERT_ERR_UNKNOWN_LABEL, "", 2, 0, 0);
    CHECK(id == 77 && name == NULL && trainer == NULL);
    bert_dataset_free(data);
}

static void errors_say_what_they_are_of(void)
{
    bert_error *error = new_error();
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    CHECK_OK(bert_error_bind(error));
    arguments_and_options(error, model, train);
    elements_of_arrays(error, model);
    lines_of_files(error);
    sizes_of_buffers(error, model);
    labels(error, model);
    /* A place is that error's alone. */
    fail_with(-1);
    check_number(error, "-1");
    CHECK_OK(bert_error_bind(NULL));
    bert_error_free(error);
    bert_free(model);
    bert_dataset_free(train);
}

/* ---- Calls within callbacks ------------------------------------------------------------------------------------------ */

typedef struct {
    bert_error *error;
    int calls, answer;
} host;

static int32_t fails_inside(const bert_progress *progress, void *user_data)
{
    host *h = user_data;
    (void)progress;
    fail_with(-40 - h->calls);
    CHECK_TEXT(bert_error_message(h->error), bert_last_error_message());
    return h->calls++ == 2 ? h->answer : 0;
}

/* The errors of calls inside a callback are this thread's too; that of the outer call comes after them. */
static void calls_inside_a_callback_store_theirs(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    for (int answer = 0; answer < 2; answer++) {
        host h = {new_error(), 0, answer};
        bert_model *model = small_model();
        bert_train_options options = train_options();
        options.epochs = 3;
        options.batch_size = 16;
        options.progress = fails_inside;
        options.progress_user_data = &h;
        bert_trainer *trainer = trainer_of(model, train, NULL, &options);
        CHECK_OK(bert_error_bind(h.error));
        CHECK_STATUS(bert_train(trainer, NULL), answer ? BERT_ERR_CANCELLED : BERT_OK);
        CHECK_EQUAL(h.calls, 3);
        if (answer) {
            check_last(h.error, BERT_ERR_CANCELLED, "", -1, 0, 0);
        } else {
            check_number(h.error, "-42");
        }
        CHECK_OK(bert_error_bind(NULL));
        bert_trainer_free(trainer);
        bert_free(model);
        bert_error_free(h.error);
    }
    bert_dataset_free(train);
}

/* ---- What is no error object ----------------------------------------------------------------------------------------- */

static void wrong_handles_answer_and_change_nothing(void)
{
    bert_error *error = new_error(), *freed = new_error();
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    uint64_t own[8] = {0};
    bert_error_free(freed);
    CHECK_OK(bert_error_bind(error));
    fail_with(-50);
    char before[512];
    snprintf(before, sizeof(before), "%s", bert_last_error_message());
    void *const wrong[] = {NULL, (void *)1, (void *)UINTPTR_MAX, own, (char *)own + 3, freed, dataset, (char *)error + 8};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        check_empty(wrong[i], BERT_ERR_HANDLE);
        bert_error_free(wrong[i]);
        check_number(error, "-50");
        CHECK_TEXT(bert_last_error_message(), before);
        /* Nobody else's handle is one of these. */
        size_t count = 0;
        CHECK_STATUS(bert_dataset_count((bert_dataset *)(void *)error, &count), BERT_ERR_HANDLE);
        CHECK_MESSAGE("error object");
        bert_dataset_free((bert_dataset *)(void *)error);
        bert_free((bert_model *)(void *)error);
        bert_trainer_free((bert_trainer *)(void *)error);
        fail_with(-50);
    }
    for (size_t i = 1; i < COUNT_OF(wrong); i++) {
        CHECK_STATUS(bert_error_bind(wrong[i]), BERT_ERR_HANDLE);
        check_last(error, BERT_ERR_HANDLE, "error", -1, 0, 0);
    }
    CHECK_STATUS(bert_error_create(NULL), BERT_ERR_INVALID_ARGUMENT);
    check_last(error, BERT_ERR_INVALID_ARGUMENT, "error", -1, 0, 0);
    CHECK_EQUAL(count_of(dataset), 16);
    bert_dataset_free(dataset);
    /* The thread ends with an object bound. */
    bert_error_free(error);
}

/* ---- Forked children ------------------------------------------------------------------------------------------------- */

static void refused_in_the_child(bert_error *error, bert_dataset *dataset)
{
    size_t count = 0;
    bert_error *made = NULL;
    alarm(20);
    CHECK_STATUS(bert_dataset_count(dataset, &count), BERT_ERR_FORKED);
    CHECK_STATUS(bert_error_create(&made), BERT_ERR_FORKED);
    CHECK_STATUS(bert_error_bind(error), BERT_ERR_FORKED);
    CHECK_STATUS(bert_error_bind(NULL), BERT_ERR_FORKED);
    CHECK_MESSAGE("forked");
    check_empty(error, BERT_ERR_HANDLE);
    bert_error_free(error);
    CHECK(count == 0 && made == NULL);
    _exit(0);
}

/* In a child that can't use the library nothing waits for a lock that another thread had at the fork. */
static void forked_children_are_refused_and_do_not_hang(void)
{
    bert_error *errors[2] = {new_error(), new_error()};
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    pthread_t threads[THREADS];
    int32_t number = 0;
    /* The library's threads run from here on. */
    CHECK_OK(bert_get_num_threads(&number));
    CHECK_OK(bert_error_bind(errors[0]));
    fail_with(-60);
    stop = 0;
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, fails_and_binds, errors) == 0);
    }
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        if (child == 0) {
            refused_in_the_child(errors[0], dataset);
        }
        int status = -1;
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    /* The parent's is as it was. */
    fail_with(-61);
    check_number(errors[0], "-61");
    CHECK_OK(bert_error_bind(NULL));
    bert_error_free(errors[0]);
    bert_error_free(errors[1]);
    bert_dataset_free(dataset);
}

int main(void)
{
    the_bound_object_gets_the_errors();
    a_bound_object_may_be_freed();
    another_thread_reads_it();
    several_threads_share_one();
    any_thread_may_ask_meanwhile();
    errors_say_what_they_are_of();
    calls_inside_a_callback_store_theirs();
    wrong_handles_answer_and_change_nothing();
    forked_children_are_refused_and_do_not_hang();
    return 0;
}
