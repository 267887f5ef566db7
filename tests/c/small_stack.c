/* Every function, called from a thread with a stack of 128 KB, also on files that nest as deeply as they can; with worker
 * threads and without, where the calling thread does all the work itself.
 *
 *     small_stack [KIBIBYTES]
 *
 * runs on stacks of that size and tells how much of it each case used: a stack is painted before the thread starts. */

#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "header.h"

enum { DEFAULT_KIBIBYTES = 128, PAINT = 0xa5, TEXTS = 6 };

static const char *const texts[TEXTS] = {"a great film", "terrible food", "", "we loved the rude staff", "what a waste",
                                         "wonderful"};

/* ---- What is called -------------------------------------------------------------------------------------------------- */

static void asks_about_the_library(void)
{
    int32_t threads = 0;
    CHECK(strlen(bert_version()) > 0);
    CHECK(strlen(bert_build_info()) > 0);
    CHECK_EQUAL(bert_abi_version(), BERT_ABI_VERSION);
    CHECK_TEXT(bert_status_string(BERT_OK), "BERT_OK");
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    CHECK_OK(bert_set_num_threads(2));
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, 2);
    CHECK_STATUS(bert_set_num_threads(-1), BERT_ERR_INVALID_ARGUMENT);
    CHECK(strlen(bert_last_error_message()) > 0);
}

static void makes_datasets(void)
{
    static const char *const names[] = {"a", "b", "a", "b", "a", "b"};
    static const int64_t ids[] = {0, 1, 0, 1, 0, 1};
    bert_dataset *by_name = named(TEXTS, texts, names), *by_id = NULL, *train = NULL, *validation = NULL, *read = NULL;
    CHECK_OK(bert_dataset_create(&by_id));
    CHECK_OK(bert_dataset_add_class_ids(by_id, TEXTS, texts, NULL, NULL, NULL, ids));
    CHECK_OK(bert_dataset_add_class_id(by_id, "text", NUL, NULL, 0, 1));
    CHECK_OK(bert_dataset_add_class(by_name, "text", NUL, NULL, 0, "a", NUL));
    CHECK_OK(bert_dataset_split(by_name, 0.5, 1, &train, &validation));
    CHECK_EQUAL(count_of(train) + count_of(validation), TEXTS + 1);
    bert_dataset_description description;
    CHECK_OK(bert_dataset_description_init(&description, sizeof(description)));
    CHECK_OK(bert_dataset_describe(by_name, NULL, &description));
    CHECK_EQUAL(description.examples, TEXTS + 1);
    char name[8];
    CHECK_OK(bert_dataset_label_name(by_name, 0, name, sizeof(name), NULL));
    CHECK_TEXT(name, "a");
    write_text("data.tsv", "text\tlabel\ngood\tx\nbad\ty\n");
    write_text("data.csv", "text,label\n\"go\"\"od\",x\n\"b\nad\",y\n");
    write_text("data.jsonl", "{\"text\": \"good\", \"label\": \"x\"}\n{\"text\": \"bad\", \"label\": \"y\"}\n");
    static const char *const files[] = {"data.tsv", "data.csv", "data.jsonl"};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        bert_read_options options;
        CHECK_OK(bert_read_options_init(&options, sizeof(options)));
        CHECK_OK(bert_dataset_read(files[i], &options, &read));
        CHECK_EQUAL(count_of(read), 2);
        bert_dataset_free(read);
    }
    bert_dataset_free(by_name);
    bert_dataset_free(by_id);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

/* Each kind of tokenizer is learned and used. */
static void creates(void)
{
    static const int32_t tokenizers[] = {BERT_TOKENIZER_WORD_LEVEL, BERT_TOKENIZER_WORDPIECE, BERT_TOKENIZER_BPE};
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    for (size_t i = 0; i < COUNT_OF(tokenizers); i++) {
        bert_model_options options = small_options();
        options.tokenizer = tokenizers[i];
        bert_model *model = create(&options, train);
        size_t count = 0;
        CHECK_OK(bert_tokenize(model, "a great film", NUL, NULL, 0, 0, NULL, NULL, 0, &count));
        CHECK(count > 2);
        bert_free(model);
    }
    bert_dataset_free(train);
}

static void saves_and_loads(void)
{
    bert_model *model = small_model(), *loaded = NULL;
    CHECK_OK(bert_check_save("stack-model"));
    CHECK_OK(bert_save(model, "stack-model"));
    CHECK_OK(bert_save(model, "stack-model"));
    bert_load_options options;
    CHECK_OK(bert_load_options_init(&options, sizeof(options)));
    options.device = test_device();
    CHECK_OK(bert_load("stack-model", &options, &loaded));
    CHECK(are_equal(model, loaded));
    bert_free(loaded);
    saved bytes = save(model);
    CHECK_OK(bert_load_from_buffer(bytes.bytes, bytes.length, &options, &loaded));
    CHECK(are_equal(model, loaded));
    release(bytes);
    bert_info info;
    CHECK_OK(bert_info_init(&info, sizeof(info)));
    CHECK_OK(bert_get_info(loaded, &info));
    const char *name = NULL;
    size_t count = 0;
    int32_t id = 0;
    CHECK_OK(bert_parameter_name(loaded, BERT_PARAMETERS_LOADED, 0, &name, &count));
    CHECK_OK(bert_label_name(loaded, 1, &name, NULL));
    CHECK_OK(bert_label_id(loaded, name, NUL, &id));
    CHECK_EQUAL(id, 1);
    bert_free(loaded);
    bert_free(model);
}

static void predicts(void)
{
    bert_model *model = small_model();
    char *long_text = malloc(2000001);
    CHECK(long_text != NULL);
    for (size_t i = 0; i < 2000000; i++) {
        long_text[i] = i % 7 == 6 ? ' ' : (char)('a' + i % 26);
    }
    long_text[2000000] = 0;
    bert_prediction prediction;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_OK(bert_predict(model, "a great film", NUL, "a pair", NUL, NULL, &prediction));
    bert_predict_options options;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    CHECK_OK(bert_predict(model, long_text, NUL, NULL, 0, &options, &prediction));
    options.long_text = BERT_LONG_TEXT_WINDOWS;
    long_text[100000] = 0;
    CHECK_OK(bert_predict(model, long_text, NUL, NULL, 0, &options, &prediction));
    free(long_text);
    float logits[TEXTS * 2], vectors[TEXTS * 16];
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = logits;
    out.logits_capacity = COUNT_OF(logits);
    CHECK_OK(bert_predict_batch(model, TEXTS, texts, NULL, NULL, NULL, NULL, &out));
    uint32_t ids[16], types[16];
    size_t count = 0;
    CHECK_OK(bert_tokenize(model, "a great film", NUL, NULL, 0, 0, ids, types, COUNT_OF(ids), &count));
    CHECK_OK(bert_predict_ids(model, 1, ids, types, &count, NULL, &out));
    bert_embed_options embed;
    CHECK_OK(bert_embed_options_init(&embed, sizeof(embed)));
    CHECK_OK(bert_embed(model, TEXTS, texts, NULL, NULL, NULL, &embed, vectors, COUNT_OF(vectors)));
    bert_free(model);
}

static int32_t predicts_meanwhile(const bert_progress *progress, void *model)
{
    (void)progress;
    float logits[8];
    logits_of(model, "a great film", logits);
    return 0;
}

/* All the layers that a deep model has, in the graph that training goes back through. */
static void trains(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = toy(BERT_TOY_VALIDATION);
    bert_model_options options = small_options();
    options.num_hidden_layers = 24;
    bert_model *model = create(&options, train);
    bert_train_options training = train_options();
    training.epochs = 3;
    training.progress = predicts_meanwhile;
    training.progress_user_data = model;
    training.best_model_path = "stack-best";
    bert_trainer *trainer = trainer_of(model, train, validation, &training);
    bert_step_report step;
    bert_epoch_report epoch;
    bert_train_report report;
    CHECK_OK(bert_step_report_init(&step, sizeof(step)));
    CHECK_OK(bert_epoch_report_init(&epoch, sizeof(epoch)));
    CHECK_OK(bert_train_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train_step(trainer, &step));
    CHECK_OK(bert_train_epoch(trainer, &epoch));
    CHECK_OK(bert_train(trainer, &report));
    bert_trainer_cancel(trainer);
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate(model, validation, 0, &evaluation));
    bert_evaluate_options windows;
    CHECK_OK(bert_evaluate_options_init(&windows, sizeof(windows)));
    windows.long_text = BERT_LONG_TEXT_WINDOWS;
    CHECK_OK(bert_evaluate_with(model, validation, &windows, &evaluation));
    bert_fit_head_options fitting;
    bert_fit_head_report fitted;
    CHECK_OK(bert_fit_head_options_init(&fitting, sizeof(fitting)));
    CHECK_OK(bert_fit_head_report_init(&fitted, sizeof(fitted)));
    CHECK_OK(bert_fit_head(model, train, &fitting, &fitted));
    double thresholds[2];
    CHECK_STATUS(bert_set_thresholds(model, NULL, 0), BERT_ERR_UNSUPPORTED);
    CHECK_STATUS(bert_get_thresholds(model, thresholds, COUNT_OF(thresholds)), BERT_ERR_UNSUPPORTED);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

/* A published model, where there is one: weights with all their names, a vocabulary of thirty thousand words. */
static void loads_a_published_model(void)
{
    const char *path = getenv("BERT_TEST_MODEL");
    if (path == NULL) {
        puts("skipped: needs BERT_TEST_MODEL");
        return;
    }
    bert_model *loaded = NULL;
    float vector[1024];
    bert_info info;
    loaded = load_model(path);
    CHECK_OK(bert_info_init(&info, sizeof(info)));
    CHECK_OK(bert_get_info(loaded, &info));
    CHECK(info.hidden_size <= 1024);
    CHECK_OK(bert_embed(loaded, 1, texts, NULL, NULL, NULL, NULL, vector, (size_t)info.hidden_size));
    CHECK_OK(bert_save(loaded, "stack-published"));
    bert_free(loaded);
}

/* ---- Files that nest deeply ------------------------------------------------------------------------------------------ */

/* before, then open depth times, middle, close depth times, after; for free(). */
static char *nested(const char *before, const char *open, size_t depth, const char *middle, const char *close,
                    const char *after)
{
    size_t size = strlen(before) + depth * (strlen(open) + strlen(close)) + strlen(middle) + strlen(after) + 1;
    char *text = malloc(size), *at = text;
    CHECK(text != NULL);
    at += sprintf(at, "%s", before);
    for (size_t i = 0; i < depth; i++) {
        at += sprintf(at, "%s", open);
    }
    at += sprintf(at, "%s", middle);
    for (size_t i = 0; i < depth; i++) {
        at += sprintf(at, "%s", close);
    }
    sprintf(at, "%s", after);
    return text;
}

/* 127 is as deep as the parser goes; more is refused on the way. */
static const size_t depths[] = {1, 30, 60, 100, 126, 127, 128, 1000, 200000};

/* Whatever the answer is, it is one, and nothing is made where it isn't BERT_OK. */
static void load_and_free(void)
{
    bert_model *model = NULL;
    bert_status status = bert_load("deep", NULL, &model);
    CHECK((status == BERT_OK) == (model != NULL));
    CHECK(status == BERT_OK || status == BERT_ERR_FORMAT || status == BERT_ERR_UNSUPPORTED);
    if (model != NULL) {
        float logits[8];
        logits_of(model, "a great film", logits);
    }
    bert_free(model);
}

/* A model directory in which one file is written anew. */
static void with_file(const char *name, const char *text)
{
    char path[100];
    size_t length = 0;
    snprintf(path, sizeof(path), "deep/%s", name);
    char *before = read_bytes(path, &length);
    write_text(path, text);
    load_and_free();
    if (before == NULL) {
        CHECK(unlink(path) == 0);
    } else {
        write_bytes(path, before, length);
        free(before);
    }
}

static void save_deep(void)
{
    bert_model *model = small_model();
    CHECK_OK(bert_save(model, "deep"));
    bert_free(model);
}

static void reads_deep_json_files(void)
{
    static const char *const files[] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                        "model.safetensors.index.json", "special_tokens_map.json"};
    save_deep();
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        for (size_t k = 0; k < COUNT_OF(depths); k++) {
            char *arrays = nested("", "[", depths[k], "", "]", "");
            char *objects = nested("", "{\"a\":", depths[k], "1", "}", "");
            char *inside = nested("{\"model_type\":\"bert\",\"id2label\":", "{\"0\":", depths[k], "1", "}", "}");
            with_file(files[i], arrays);
            with_file(files[i], objects);
            with_file(files[i], inside);
            free(arrays);
            free(objects);
            free(inside);
        }
    }
}

/* A tokenizer.json with one part that the caller chooses. */
static void with_tokenizer(const char *part, const char *value)
{
    static const char *const parts[] = {"normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"};
    static const char model[] = "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":"
                                "\"##\",\"max_input_chars_per_word\":100,\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,"
                                "\"[SEP]\":3,\"a\":4}}}";
    char *text = malloc(strlen(value) + 1000), *at = text;
    CHECK(text != NULL);
    at += sprintf(at, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,");
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        const char *none = strcmp(parts[i], "added_tokens") == 0 ? "[]" : "null";
        at += sprintf(at, "\"%s\":%s,", parts[i], strcmp(parts[i], part) == 0 ? value : none);
    }
    sprintf(at, "%s", model);
    with_file("tokenizer.json", text);
    write_text("tokenizer.json", text);
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    options.tokenizer_path = "tokenizer.json";
    bert_model *created = NULL;
    bert_status status = bert_create(&options, train, &created);
    CHECK((status == BERT_OK) == (created != NULL));
    bert_free(created);
    bert_dataset_free(train);
    free(text);
}

static void reads_deep_tokenizers(void)
{
    save_deep();
    with_tokenizer("", "");
    for (size_t k = 0; k < COUNT_OF(depths); k++) {
        size_t depth = depths[k];
        char *normalizers = nested("", "{\"type\":\"Sequence\",\"normalizers\":[", depth, "{\"type\":\"NFC\"}", "]}", "");
        char *untyped = nested("", "{\"normalizers\":[", depth, "{\"type\":\"NFC\"}", "]}", "");
        char *pre = nested("", "{\"type\":\"Sequence\",\"pretokenizers\":[", depth, "{\"type\":\"Whitespace\"}", "]}", "");
        char *post = nested("", "{\"type\":\"Sequence\",\"processors\":[", depth,
                            "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true}", "]}", "");
        char *decoder = nested("", "{\"type\":\"Sequence\",\"decoders\":[", depth, "{\"type\":\"Fuse\"}", "]}", "");
        char *groups = nested("{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false,\"pattern\":{\"Regex\":\"",
                              "(", depth, "a", ")", "\"}}");
        char *ahead = nested("{\"type\":\"Split\",\"behavior\":\"Isolated\",\"invert\":false,\"pattern\":{\"Regex\":\"",
                             "(?=", depth, "a", ")", "\"}}");
        char *lists = nested("", "[", depth, "", "]", "");
        with_tokenizer("normalizer", normalizers);
        with_tokenizer("normalizer", untyped);
        with_tokenizer("pre_tokenizer", pre);
        with_tokenizer("post_processor", post);
        with_tokenizer("decoder", decoder);
        with_tokenizer("pre_tokenizer", groups);
        with_tokenizer("pre_tokenizer", ahead);
        with_tokenizer("added_tokens", lists);
        free(normalizers);
        free(untyped);
        free(pre);
        free(post);
        free(decoder);
        free(groups);
        free(ahead);
        free(lists);
    }
}

static void reads_deep_json_lines(void)
{
    for (size_t k = 0; k < COUNT_OF(depths); k++) {
        char *ignored = nested("{\"text\":\"a\",\"label\":\"b\",\"other\":", "[", depths[k], "", "]", "}\n");
        char *asked = nested("{\"text\":", "{\"a\":", depths[k], "1", "}", ",\"label\":\"b\"}\n");
        char *both[] = {ignored, asked};
        for (size_t i = 0; i < COUNT_OF(both); i++) {
            bert_dataset *dataset = NULL;
            write_text("deep.jsonl", both[i]);
            bert_status status = bert_dataset_read("deep.jsonl", NULL, &dataset);
            CHECK(status == BERT_OK || status == BERT_ERR_DATA);
            bert_dataset_free(dataset);
            free(both[i]);
        }
    }
}

static void reads_deep_safetensors(void)
{
    save_deep();
    for (size_t k = 0; k < COUNT_OF(depths); k++) {
        char *headers[] = {nested("", "[", depths[k], "", "]", ""), nested("", "{\"a\":", depths[k], "1", "}", ""),
                           nested("{\"__metadata__\":", "{\"a\":", depths[k], "1", "}", "}"),
                           nested("{\"w\":{\"dtype\":\"F32\",\"shape\":", "[", depths[k], "1", "]",
                                  ",\"data_offsets\":[0,4]}}")};
        for (size_t i = 0; i < COUNT_OF(headers); i++) {
            uint64_t length = strlen(headers[i]);
            uint8_t *file = malloc(8 + length + 4);
            CHECK(file != NULL);
            for (int byte = 0; byte < 8; byte++) {
                file[byte] = (uint8_t)(length >> (8 * byte));
            }
            memcpy(file + 8, headers[i], length);
            memset(file + 8 + length, 0, 4);
            bert_model *model = NULL;
            CHECK(bert_load_from_buffer(file, 8 + length + 4, NULL, &model) != BERT_OK);
            CHECK(model == NULL);
            size_t before_length = 0;
            char *before = read_bytes("deep/model.safetensors", &before_length);
            write_bytes("deep/model.safetensors", file, 8 + length + 4);
            load_and_free();
            write_bytes("deep/model.safetensors", before, before_length);
            free(before);
            free(file);
            free(headers[i]);
        }
    }
}

/* ---- The stack ------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    void (*run)(void);
} test;

static void *run(void *argument)
{
    ((const test *)argument)->run();
    return NULL;
}

/* Runs a case on a painted stack with a page behind it that can't be touched, and tells how far down it came. */
static void on_a_stack(const test *test, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *all = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(all != MAP_FAILED);
    CHECK(mprotect(all, page, PROT_NONE) == 0);
    memset(all + page, PAINT, size);
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, all + page, size) == 0);
    CHECK(pthread_create(&thread, &attributes, run, (void *)(uintptr_t)test) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    size_t untouched = 0;
    while (untouched < size && all[page + untouched] == PAINT) {
        untouched++;
    }
    printf("%-24s %6.1f KB of %zu\n", test->name, (double)(size - untouched) / 1024, size / 1024);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    CHECK(munmap(all, size + page) == 0);
}

/* Adapters, checkpoints, and the other kinds of labels. */
static void adapts_and_goes_on(void)
{
    static const char *const names[] = {"a", "b"};
    static const size_t offsets[] = {0, 1, 2};
    static const float targets[] = {0.5f, -1};
    bert_dataset *lists = NULL, *numbers = NULL, *train = toy(BERT_TOY_TRAIN);
    CHECK_OK(bert_dataset_create(&lists));
    CHECK_OK(bert_dataset_add_labels(lists, "text", NUL, NULL, 0, names, NULL, 2));
    CHECK_OK(bert_dataset_add_label_lists(lists, 2, texts, NULL, NULL, NULL, names, NULL, offsets));
    CHECK_OK(bert_dataset_create(&numbers));
    CHECK_OK(bert_dataset_add_target(numbers, "text", NUL, NULL, 0, targets, 1));
    CHECK_OK(bert_dataset_add_targets(numbers, 2, texts, NULL, NULL, NULL, targets, 1));
    bert_model *base = small_model(), *adapted = NULL, *merged = NULL, *loaded = NULL, *int8 = NULL, *copy = NULL;
    bert_lora_options lora;
    CHECK_OK(bert_lora_options_init(&lora, sizeof(lora)));
    CHECK_OK(bert_add_lora(base, &lora, &adapted));
    bert_trainer *trainer = trainer_of(adapted, train, NULL, NULL);
    CHECK_OK(bert_train_step(trainer, NULL));
    CHECK_OK(bert_trainer_save(trainer, "checkpoint"));
    bert_resume_report report;
    CHECK_OK(bert_resume_report_init(&report, sizeof(report)));
    CHECK_OK(bert_trainer_resume(trainer, "checkpoint", &report));
    CHECK_EQUAL(report.step, 1);
    CHECK_OK(bert_merge_lora(adapted, &merged));
    /* The CPU alone has int8. */
    CHECK_STATUS(bert_quantize(adapted, &int8), is_on_cpu(adapted) ? BERT_OK : BERT_ERR_UNSUPPORTED);
    CHECK_OK(bert_copy_to_device(adapted, "auto", &copy));
    CHECK_OK(bert_save_adapter(adapted, "adapter"));
    CHECK_OK(bert_load_adapter(base, "adapter", &loaded));
    bert_trainer_free(trainer);
    bert_model *models[] = {base, adapted, merged, loaded, int8, copy};
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        bert_free(models[i]);
    }
    bert_dataset_free(lists);
    bert_dataset_free(numbers);
    bert_dataset_free(train);
}

/* Errors of both kinds, and the end of a trainer. */
static void fails_and_closes(void)
{
    bert_error *error = NULL;
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_trainer *trainer = trainer_of(model, train, NULL, NULL);
    CHECK_OK(bert_error_create(&error));
    CHECK_OK(bert_error_bind(error));
    CHECK_STATUS(bert_set_num_threads(-1), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_error_status(error), BERT_ERR_INVALID_ARGUMENT);
    CHECK_TEXT(bert_error_message(error), bert_last_error_message());
    CHECK_TEXT(bert_error_argument(error), "num_threads");
    CHECK_EQUAL(bert_error_index(error), -1);
    CHECK_EQUAL(bert_error_line(error), 0);
    CHECK_EQUAL(bert_error_needed_size(error), 0);
    bert_error_free(error);
    CHECK_OK(bert_train_step(trainer, NULL));
    CHECK_OK(bert_trainer_close(trainer));
    bert_free(model);
    bert_dataset_free(train);
}

static void does_nothing(void)
{
}

/* The text of this file: a function that the header declares must be called in it, */
static char *source;

/* or one of check.h that calls it. */
static const struct {
    const char *name, *by;
} through_others[] = {
    {"bert_buffer_free", "release"},
    {"bert_dataset_add_classes", "named"},
    {"bert_dataset_count", "count_of"},
    {"bert_dataset_toy", "toy"},
    {"bert_model_options_init", "small_options"},
    {"bert_save_to_buffer", "save"},
    {"bert_train_options_init", "train_options"},
    {"bert_trainer_create", "trainer_of"},
};

static int calls(const char *name)
{
    size_t length = strlen(name);
    for (const char *at = source; (at = strstr(at, name)) != NULL; at++) {
        int begins = !isalnum((unsigned char)at[-1]) && at[-1] != '_';
        if (begins && at[length] == '(') {
            return 1;
        }
    }
    return 0;
}

static void is_called(const char *name)
{
    const char *by = name;
    for (size_t i = 0; i < COUNT_OF(through_others); i++) {
        if (strcmp(through_others[i].name, name) == 0) {
            by = through_others[i].by;
        }
    }
    if (!calls(name) && !calls(by)) {
        fprintf(stderr, "%s is not called on a small stack\n", name);
        exit(1);
    }
}

static void every_function_is_called(void)
{
    source = project_file("tests/c/small_stack.c");
    each_function(is_called);
    free(source);
}

int main(int argc, char **argv)
{
    every_function_is_called();
    static const test tests[] = {
        {"nothing", does_nothing},
        {"adapters, checkpoints", adapts_and_goes_on},
        {"the library", asks_about_the_library},
        {"errors and closing", fails_and_closes},
        {"data sets", makes_datasets},
        {"create", creates},
        {"save and load", saves_and_loads},
        {"predict", predicts},
        {"train", trains},
        {"published model", loads_a_published_model},
        {"deep JSON Lines", reads_deep_json_lines},
        {"deep JSON", reads_deep_json_files},
        {"deep safetensors", reads_deep_safetensors},
        {"deep tokenizers", reads_deep_tokenizers},
    };
    size_t size = (argc > 1 ? (size_t)atol(argv[1]) : DEFAULT_KIBIBYTES) * 1024;
    for (int32_t threads = 2; threads > 0; threads--) {
        printf("threads: %d\n", (int)threads);
        for (size_t i = 0; i < COUNT_OF(tests); i++) {
            CHECK_OK(bert_set_num_threads(threads));
            on_a_stack(&tests[i], size);
            fflush(stdout);
        }
    }
    return 0;
}
