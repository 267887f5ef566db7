/* Memory that runs out: the first, second, third … large allocation of a call fails, until the call makes no more of
 * them. Each time the call says BERT_ERR_OUT_OF_MEMORY, writes nothing, and works when it is made again.
 *
 * The allocator's functions are replaced here, for the library too. A process that ends (the standard library's answer
 * to an allocation that it can't make) is noticed by its parent. Run as `allocation_failures CALL BYTES` for one call and
 * another size than a megabyte; with ALLOCATION_TRACE=1 each failing allocation's stack goes to standard error. */

#define _GNU_SOURCE

#include <errno.h>
#include <execinfo.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* glibc's own, behind those that are replaced. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

/* Allocations of this size and more are counted; small fixed ones are not what runs out first. */
static size_t large = SIZE_MAX, threshold = 1 << 20;
/* How many are still allowed; the one that finds 0 fails. */
static long allowed;
static int has_failed, traces;

static int fails(size_t size)
{
    if (size < __atomic_load_n(&large, __ATOMIC_RELAXED) || __atomic_fetch_sub(&allowed, 1, __ATOMIC_RELAXED) != 0) {
        return 0;
    }
    has_failed = 1;
    if (traces) {
        large = SIZE_MAX;
        void *frames[64];
        int count = backtrace(frames, 64);
        fprintf(stderr, "failing %zu bytes\n", size);
        backtrace_symbols_fd(frames, count, 2);
    }
    return 1;
}

void *malloc(size_t size)
{
    return fails(size) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails(size) ? NULL : __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    return fails(size) ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *memory = memalign(alignment, size);
    if (memory == NULL) {
        return ENOMEM;
    }
    *out = memory;
    return 0;
}

/* ---- What the calls work on ------------------------------------------------------------------------------------- */

enum { EXAMPLES = 20000, FEW = 1000, WORDS = 6000, LONG_TEXT = 4 << 20, WIDTH = 64, CLASSES = 2 };

static struct {
    bert_dataset *data, *few;
    bert_model *model;
    bert_trainer *trainer;
    saved bytes;
    char **texts, *names[EXAMPLES], *long_text;
    float *numbers;
    uint32_t *ids;
    size_t lengths[EXAMPLES], offsets[EXAMPLES + 1];
} w;

static char *text_number(int i)
{
    char *text = malloc(128);
    CHECK(text != NULL);
    snprintf(text, 128, "word%d some word%d of word%d and word%d", i % WORDS, i * 7 % WORDS, i * 13 % WORDS,
             i * 31 % WORDS);
    return text;
}

/* Many words and little to compute. */
static bert_model_options options_of(int32_t tokenizer)
{
    bert_model_options options = small_options();
    options.hidden_size = WIDTH;
    options.intermediate_size = 2 * WIDTH;
    options.tokenizer = tokenizer;
    return options;
}

static void make_world(void)
{
    w.texts = malloc(EXAMPLES * sizeof(char *));
    w.long_text = malloc(LONG_TEXT + 1);
    w.numbers = malloc((size_t)EXAMPLES * WIDTH * sizeof(float));
    w.ids = malloc((size_t)EXAMPLES * 32 * sizeof(uint32_t));
    CHECK(w.texts != NULL && w.long_text != NULL && w.numbers != NULL && w.ids != NULL);
    FILE *tsv = fopen("data.tsv", "w"), *csv = fopen("data.csv", "w"), *json = fopen("data.jsonl", "w");
    CHECK(tsv != NULL && csv != NULL && json != NULL);
    fprintf(tsv, "text\tlabel\n");
    fprintf(csv, "text,label\n");
    for (int i = 0; i < EXAMPLES; i++) {
        w.texts[i] = text_number(i);
        w.names[i] = i % 2 ? "odd" : "even";
        w.lengths[i] = 32;
        w.offsets[i + 1] = (size_t)i + 1;
        fprintf(tsv, "%s\t%s\n", w.texts[i], w.names[i]);
        fprintf(csv, "\"%s\",%s\n", w.texts[i], w.names[i]);
        fprintf(json, "{\"text\": \"%s\", \"label\": \"%s\"}\n", w.texts[i], w.names[i]);
    }
    CHECK(fclose(tsv) == 0 && fclose(csv) == 0 && fclose(json) == 0);
    for (int i = 0; i < EXAMPLES * 32; i++) {
        w.ids[i] = (uint32_t)(2 + i % 1000);
    }
    for (int i = 0; i < LONG_TEXT; i += 8) {
        memcpy(w.long_text + i, i % 16 ? "word1   " : "word2 a ", 8);
    }
    w.long_text[LONG_TEXT] = 0;
    CHECK_OK(bert_dataset_create(&w.data));
    CHECK_OK(bert_dataset_add_classes(w.data, EXAMPLES, (const char *const *)w.texts, NULL, NULL, NULL,
                                      (const char *const *)w.names, NULL));
    CHECK_OK(bert_dataset_create(&w.few));
    CHECK_OK(bert_dataset_add_classes(w.few, FEW, (const char *const *)w.texts, NULL, NULL, NULL,
                                      (const char *const *)w.names, NULL));
    bert_model_options options = options_of(BERT_TOKENIZER_WORD_LEVEL);
    w.model = create(&options, w.data);
    bert_train_options train = train_options();
    train.epochs = 1000;
    train.batch_size = 512;
    w.trainer = trainer_of(w.model, w.few, NULL, &train);
    CHECK_OK(bert_save(w.model, "model"));
    w.bytes = save(w.model);
}

/* ---- The calls -------------------------------------------------------------------------------------------------- */

static bert_dataset *empty(void)
{
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    return dataset;
}

/* All of `count` examples were added, or none. */
static bert_status added(bert_dataset *dataset, bert_status status, size_t count)
{
    CHECK_EQUAL(count_of(dataset), status == BERT_OK ? count : 0);
    bert_dataset_free(dataset);
    return status;
}

static bert_status add_long(void)
{
    bert_dataset *dataset = empty();
    return added(dataset, bert_dataset_add_class(dataset, w.long_text, LONG_TEXT, NULL, 0, "long", NUL), 1);
}

static bert_status add_many(void)
{
    bert_dataset *dataset = empty();
    bert_status status = bert_dataset_add_classes(dataset, EXAMPLES, (const char *const *)w.texts, NULL, NULL, NULL,
                                                  (const char *const *)w.names, NULL);
    return added(dataset, status, EXAMPLES);
}

static bert_status add_lists(void)
{
    bert_dataset *dataset = empty();
    bert_status status = bert_dataset_add_label_lists(dataset, EXAMPLES, (const char *const *)w.texts, NULL, NULL, NULL,
                                                      (const char *const *)w.names, NULL, w.offsets);
    return added(dataset, status, EXAMPLES);
}

static bert_status add_long_target(void)
{
    bert_dataset *dataset = empty();
    const float target = 1;
    return added(dataset, bert_dataset_add_target(dataset, w.long_text, LONG_TEXT, NULL, 0, &target, 1), 1);
}

static bert_status add_targets(void)
{
    bert_dataset *dataset = empty();
    memset(w.numbers, 0, EXAMPLES * sizeof(float));
    bert_status status =
        bert_dataset_add_targets(dataset, EXAMPLES, (const char *const *)w.texts, NULL, NULL, NULL, w.numbers, 1);
    return added(dataset, status, EXAMPLES);
}

static bert_status read_file(const char *path)
{
    bert_dataset *dataset = NULL;
    bert_status status = bert_dataset_read(path, NULL, &dataset);
    CHECK((dataset != NULL) == (status == BERT_OK));
    bert_dataset_free(dataset);
    return status;
}

static bert_status read_tsv(void)
{
    return read_file("data.tsv");
}

static bert_status read_csv(void)
{
    return read_file("data.csv");
}

static bert_status read_jsonl(void)
{
    return read_file("data.jsonl");
}

static bert_status split(void)
{
    bert_dataset *first = NULL, *second = NULL;
    bert_status status = bert_dataset_split(w.data, 0.5, 1, &first, &second);
    CHECK((first != NULL) == (status == BERT_OK) && (second != NULL) == (status == BERT_OK));
    bert_dataset_free(first);
    bert_dataset_free(second);
    return status;
}

static bert_status create_of(int32_t tokenizer)
{
    bert_model *model = NULL;
    bert_model_options options = options_of(tokenizer);
    bert_status status = bert_create(&options, w.data, &model);
    CHECK((model != NULL) == (status == BERT_OK));
    bert_free(model);
    return status;
}

static bert_status create_words(void)
{
    return create_of(BERT_TOKENIZER_WORD_LEVEL);
}

static bert_status load(void)
{
    bert_model *model = NULL;
    bert_status status = bert_load("model", NULL, &model);
    CHECK((model != NULL) == (status == BERT_OK));
    bert_free(model);
    return status;
}

static bert_status load_bytes(void)
{
    bert_model *model = NULL;
    bert_status status = bert_load_from_buffer(w.bytes.bytes, w.bytes.length, NULL, &model);
    CHECK((model != NULL) == (status == BERT_OK));
    bert_free(model);
    return status;
}

static bert_status save_buffer(void)
{
    saved bytes = {NULL, 77};
    bert_status status = bert_save_to_buffer(w.model, &bytes.bytes, &bytes.length);
    CHECK(status == BERT_OK || (bytes.bytes == NULL && bytes.length == 77));
    if (status == BERT_OK) {
        release(bytes);
    }
    return status;
}

static bert_status save_directory(void)
{
    return bert_save(w.model, "model");
}

static bert_status make_trainer(void)
{
    bert_trainer *trainer = NULL;
    bert_status status = bert_trainer_create(w.model, w.data, w.data, NULL, &trainer);
    CHECK((trainer != NULL) == (status == BERT_OK));
    bert_trainer_free(trainer);
    return status;
}

/* A trainer whose memory isn't there yet, and one that has made steps. */
static bert_status first_step(void)
{
    bert_trainer *trainer = NULL;
    size_t at = large;
    __atomic_store_n(&large, SIZE_MAX, __ATOMIC_RELAXED);
    bert_train_options options = train_options();
    options.batch_size = 512;
    trainer = trainer_of(w.model, w.few, NULL, &options);
    __atomic_store_n(&large, at, __ATOMIC_RELAXED);
    bert_status status = bert_train_step(trainer, NULL);
    __atomic_store_n(&large, SIZE_MAX, __ATOMIC_RELAXED);
    CHECK_OK(bert_train_step(trainer, NULL));
    bert_trainer_free(trainer);
    return status;
}

static bert_status step(void)
{
    return bert_train_step(w.trainer, NULL);
}

static bert_status evaluate(void)
{
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    return bert_evaluate(w.model, w.data, 0, &evaluation);
}

static bert_status evaluate_windows(void)
{
    bert_evaluation evaluation;
    bert_evaluate_options options;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate_options_init(&options, sizeof(options)));
    options.long_text = BERT_LONG_TEXT_WINDOWS;
    return bert_evaluate_with(w.model, w.data, &options, &evaluation);
}

static bert_status describe(void)
{
    bert_dataset_description description;
    CHECK_OK(bert_dataset_description_init(&description, sizeof(description)));
    return bert_dataset_describe(w.data, w.model, &description);
}

static bert_status label_name(void)
{
    char name[64];
    return bert_dataset_label_name(w.data, 0, name, sizeof(name), NULL);
}

static bert_status fit_head(void)
{
    return bert_fit_head(w.model, w.data, NULL, NULL);
}

static bert_status predict_many(void)
{
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = w.numbers;
    out.logits_capacity = EXAMPLES * CLASSES;
    w.numbers[0] = -77;
    bert_status status = bert_predict_batch(w.model, EXAMPLES, (const char *const *)w.texts, NULL, NULL, NULL, NULL, &out);
    CHECK((w.numbers[0] == -77) == (status != BERT_OK));
    return status;
}

static bert_status predict_ids(void)
{
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = w.numbers;
    out.logits_capacity = EXAMPLES * CLASSES;
    w.numbers[0] = -77;
    bert_status status = bert_predict_ids(w.model, EXAMPLES, w.ids, NULL, w.lengths, NULL, &out);
    CHECK((w.numbers[0] == -77) == (status != BERT_OK));
    return status;
}

static bert_status embed(void)
{
    w.numbers[0] = -77;
    bert_status status =
        bert_embed(w.model, EXAMPLES, (const char *const *)w.texts, NULL, NULL, NULL, NULL, w.numbers, EXAMPLES * WIDTH);
    CHECK((w.numbers[0] == -77) == (status != BERT_OK));
    return status;
}

static bert_status predict_long(void)
{
    bert_prediction prediction;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    return bert_predict(w.model, w.long_text, LONG_TEXT, NULL, 0, NULL, &prediction);
}

static bert_status predict_windows(void)
{
    bert_prediction prediction;
    bert_predict_options options;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    options.long_text = BERT_LONG_TEXT_WINDOWS;
    return bert_predict(w.model, w.long_text, LONG_TEXT / 64, NULL, 0, &options, &prediction);
}

static bert_status tokenize_long(void)
{
    size_t count = 0;
    return bert_tokenize(w.model, w.long_text, LONG_TEXT, NULL, 0, 0, NULL, NULL, 0, &count);
}

/* With an error object bound, which keeps what is told. */
static bert_status predict_bound(void)
{
    bert_error *error = NULL;
    bert_status made = bert_error_create(&error);
    CHECK((error != NULL) == (made == BERT_OK));
    if (made != BERT_OK) {
        return made;
    }
    CHECK_OK(bert_error_bind(error));
    bert_status status = predict_many();
    CHECK_STATUS(bert_error_status(error), status);
    CHECK_EQUAL(strlen(bert_error_message(error)) > 10, status != BERT_OK);
    CHECK(status == BERT_OK || strcmp(bert_error_message(error), bert_last_error_message()) == 0);
    CHECK_OK(bert_error_bind(NULL));
    bert_error_free(error);
    return status;
}

/* Calls that fail of something else, with much to say: what they say is kept short. */
static bert_status refuse_bound(void)
{
    bert_error *error = NULL;
    int32_t id = 0;
    bert_dataset *read = NULL;
    bert_model *copy = NULL;
    CHECK_OK(bert_error_create(&error));
    CHECK_OK(bert_error_bind(error));
    bert_status status = bert_label_id(w.model, w.long_text, LONG_TEXT, &id);
    CHECK(status == BERT_ERR_UNKNOWN_LABEL || status == BERT_ERR_OUT_OF_MEMORY);
    CHECK_STATUS(bert_error_status(error), status);
    CHECK(strlen(bert_error_message(error)) < 1000);
    bert_read_options options;
    CHECK_OK(bert_read_options_init(&options, sizeof(options)));
    options.text_column = w.long_text;
    /* A path, a column, a device. */
    static const bert_status refusals[] = {BERT_ERR_IO, BERT_ERR_DATA, BERT_ERR_DEVICE};
    for (size_t i = 0; i < COUNT_OF(refusals) && status != BERT_ERR_OUT_OF_MEMORY; i++) {
        switch (i) {
        case 0:
            status = bert_dataset_read(w.long_text, NULL, &read);
            break;
        case 1:
            status = bert_dataset_read("data.tsv", &options, &read);
            break;
        default:
            status = bert_copy_to_device(w.model, w.long_text, &copy);
        }
        CHECK(status == refusals[i] || status == BERT_ERR_OUT_OF_MEMORY);
        CHECK_STATUS(bert_error_status(error), status);
        CHECK(strlen(bert_error_message(error)) < 1000);
    }
    CHECK(read == NULL && copy == NULL);
    CHECK_OK(bert_error_bind(NULL));
    bert_error_free(error);
    return status == BERT_ERR_OUT_OF_MEMORY ? status : BERT_OK;
}

typedef struct {
    const char *name;
    bert_status (*make)(void);
} call;

static const call calls[] = {
    {"add_long", add_long},
    {"add_many", add_many},
    {"add_lists", add_lists},
    {"add_long_target", add_long_target},
    {"add_targets", add_targets},
    {"read_tsv", read_tsv},
    {"read_csv", read_csv},
    {"read_jsonl", read_jsonl},
    {"split", split},
    {"create_words", create_words},
    {"load", load},
    {"load_bytes", load_bytes},
    {"save_buffer", save_buffer},
    {"save_directory", save_directory},
    {"make_trainer", make_trainer},
    {"first_step", first_step},
    {"step", step},
    {"evaluate", evaluate},
    {"evaluate windows", evaluate_windows},
    {"describe", describe},
    {"label_name", label_name},
    {"fit_head", fit_head},
    {"predict_many", predict_many},
    {"predict_ids", predict_ids},
    {"embed", embed},
    {"predict_long", predict_long},
    {"predict_windows", predict_windows},
    {"tokenize_long", tokenize_long},
    {"predict_bound", predict_bound},
    {"refuse_bound", refuse_bound},
};

/* What a child tells its parent of one call, also where it ends in the middle. */
typedef struct {
    long at, told, survived, aborts;
    int is_done;
} account;

/* The call with its `at`th large allocation failing, for every `at` from where the account stands. */
static void exhaust(const call *c, account *a)
{
    for (; !a->is_done; a->at++) {
        has_failed = 0;
        __atomic_store_n(&allowed, a->at, __ATOMIC_RELAXED);
        __atomic_store_n(&large, threshold, __ATOMIC_RELAXED);
        bert_status status = c->make();
        __atomic_store_n(&large, SIZE_MAX, __ATOMIC_RELAXED);
        if (!has_failed) {
            CHECK_STATUS(status, BERT_OK);
            a->is_done = 1;
            return;
        }
        if (status == BERT_OK) {
            /* There was another way. */
            a->survived++;
        } else {
            CHECK_STATUS(status, BERT_ERR_OUT_OF_MEMORY);
            CHECK(strlen(bert_last_error_message()) > 10);
            a->told++;
        }
        CHECK_OK(c->make());
    }
}

/* All calls, or the one of that name, in a child that is replaced where it aborts; how often that was. */
static long try_calls(const char *only)
{
    size_t size = COUNT_OF(calls) * sizeof(account);
    account *accounts = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(accounts != MAP_FAILED);
    long aborts = 0;
    for (;;) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            make_world();
            for (size_t i = 0; i < COUNT_OF(calls); i++) {
                if (only == NULL || strcmp(only, calls[i].name) == 0) {
                    exhaust(&calls[i], &accounts[i]);
                }
            }
            _exit(0);
        }
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            break;
        }
        /* A check that failed ends everything; an abort is counted, and the next allocation tried. */
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
        size_t i = 0;
        while (accounts[i].is_done || (only != NULL && strcmp(only, calls[i].name) != 0)) {
            i++;
        }
        accounts[i].at++;
        accounts[i].aborts++;
        aborts++;
    }
    for (size_t i = 0; i < COUNT_OF(calls); i++) {
        account *a = &accounts[i];
        if (a->is_done) {
            printf("%-16s %4ld large allocations: %4ld told, %ld done without, %ld aborts\n", calls[i].name, a->at,
                   a->told, a->survived, a->aborts);
        }
    }
    CHECK(munmap(accounts, size) == 0);
    return aborts;
}

int main(int count, char **arguments)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)count, (void)arguments, (void)try_calls;
    puts("a sanitizer has an allocator of its own: not tried");
    return 0;
#else
    traces = getenv("ALLOCATION_TRACE") != NULL;
    threshold = count > 2 ? (size_t)atol(arguments[2]) : threshold;
    return try_calls(count > 1 ? arguments[1] : NULL) != 0;
#endif
}
