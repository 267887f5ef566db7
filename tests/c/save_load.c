/* Saving and loading: identical models, what is in the directory, what may be replaced, damaged files. */

#define _XOPEN_SOURCE 700

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static int exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* How many entries a directory has: nothing half written may stay, neither in a model nor beside it. */
static int entries(const char *path)
{
    DIR *directory = opendir(path);
    CHECK(directory != NULL);
    int count = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(directory);
    return count;
}

static void check_same_answers(const bert_model *a, const bert_model *b)
{
    static const char *const texts[] = {"a great film", "", "terrible food and rude staff", "\xc3\xa9 never seen"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        float first[8] = {0}, second[8] = {0};
        logits_of(a, texts[i], first);
        logits_of(b, texts[i], second);
        CHECK(memcmp(first, second, sizeof(first)) == 0);
    }
}

/* Each kind of model comes back as it was, from a directory and from a buffer. */
static void models_come_back(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    for (int32_t kind = 0; kind < 3; kind++) {
        bert_model_options options = small_options();
        options.tokenizer = kind;
        options.pooling = kind;
        options.hidden_act = kind;
        options.final_layer_norm = kind == 1;
        options.lowercase = kind != 2;
        bert_model *model = create(&options, train);
        bert_trainer *trainer = trainer_of(model, train, NULL, NULL);
        CHECK_OK(bert_train_step(trainer, NULL));
        CHECK_OK(bert_train_step(trainer, NULL));
        bert_trainer_free(trainer);
        char path[32];
        snprintf(path, sizeof(path), "kind%d", (int)kind);
        CHECK_OK(bert_save(model, path));
        bert_model *loaded = load_model(path);
        check_same_answers(model, loaded);
        CHECK(are_equal(model, loaded));
        bert_info a = info_of(model), b = info_of(loaded);
        CHECK(is_same_info(&a, &b));

        static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json",
                                            "libbert.json",    "tokenizer_config.json", "special_tokens_map.json",
                                            "vocab.txt"};
        int is_wordpiece = kind == BERT_TOKENIZER_WORDPIECE;
        for (size_t i = 0; i < COUNT_OF(files); i++) {
            char file[64];
            snprintf(file, sizeof(file), "%s/%s", path, files[i]);
            /* Only WordPiece has a vocab.txt. */
            CHECK(exists(file) == (i < 6 || is_wordpiece));
        }
        CHECK_EQUAL(entries(path), is_wordpiece ? 7 : 6);

        saved bytes = save(model);
        bert_model *from_buffer = load_buffer(bytes.bytes, bytes.length);
        /* The buffer isn't needed any more. */
        memset(bytes.bytes, 0xff, bytes.length);
        release(bytes);
        check_same_answers(model, from_buffer);
        CHECK(are_equal(model, from_buffer));
        bert_free(from_buffer);
        bert_free(loaded);
        bert_free(model);
    }
    bert_dataset_free(train);
}

static void a_model_of_ours_is_replaced(const bert_model *old, const bert_model *new)
{
    int before = entries(".");
    CHECK_OK(bert_save(old, "replaced"));
    write_text("replaced/notes.txt", "mine");
    write_text("replaced/.hidden", "mine too");
    CHECK_OK(bert_save(new, "replaced"));
    bert_model *loaded = load_model("replaced");
    CHECK(are_equal(loaded, new));
    bert_free(loaded);
    char *notes = read_bytes("replaced/notes.txt", NULL), *hidden = read_bytes("replaced/.hidden", NULL);
    CHECK_TEXT(notes, "mine");
    CHECK_TEXT(hidden, "mine too");
    free(notes);
    free(hidden);
    CHECK_EQUAL(entries("replaced"), 8);
    CHECK_EQUAL(entries("."), before + 1);

    /* A directory inside can't be in both: refused, and nothing is changed. */
    CHECK(mkdir("replaced/inside", 0777) == 0);
    CHECK_STATUS(bert_save(old, "replaced"), BERT_ERR_IO);
    CHECK_MESSAGE("inside");
    loaded = load_model("replaced");
    CHECK(are_equal(loaded, new));
    bert_free(loaded);
    CHECK_EQUAL(entries("replaced"), 9);
    CHECK_EQUAL(entries("."), before + 1);
}

static void an_empty_directory_is_filled(const bert_model *model)
{
    CHECK(mkdir("empty", 0777) == 0);
    CHECK_OK(bert_save(model, "empty"));
    CHECK_EQUAL(entries("empty"), 6);
    CHECK_OK(bert_save(model, "slash/"));
    CHECK_EQUAL(entries("slash"), 6);
    CHECK_OK(bert_save(model, "./empty/../dots"));
    CHECK_EQUAL(entries("dots"), 6);
    CHECK_OK(bert_save(model, "\xff name with spaces"));
    bert_free(load_model("\xff name with spaces"));
}

static void what_is_not_ours_is_refused(const bert_model *model)
{
    int before = entries(".");
    CHECK(mkdir("foreign", 0777) == 0);
    write_text("foreign/letter.txt", "dear");
    CHECK_STATUS(bert_save(model, "foreign"), BERT_ERR_IO);
    CHECK_MESSAGE("foreign");
    CHECK_EQUAL(entries("foreign"), 1);
    /* A model of another program is not ours to replace either. */
    write_text("foreign/config.json", "{\"model_type\": \"bert\"}");
    CHECK_STATUS(bert_save(model, "foreign"), BERT_ERR_IO);
    CHECK_EQUAL(entries("foreign"), 2);
    write_text("file", "a file");
    CHECK_STATUS(bert_save(model, "file"), BERT_ERR_IO);
    char *text = read_bytes("file", NULL);
    CHECK_TEXT(text, "a file");
    free(text);
    CHECK_STATUS(bert_save(model, "file/below"), BERT_ERR_IO);
    CHECK_STATUS(bert_save(model, "absent/below"), BERT_ERR_IO);
    CHECK_STATUS(bert_save(model, "/proc/model"), BERT_ERR_IO);
    CHECK_STATUS(bert_save(model, "/"), BERT_ERR_IO);
    CHECK_STATUS(bert_save(model, ""), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_save(model, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK(symlink("nowhere", "dangling") == 0);
    CHECK_STATUS(bert_save(model, "dangling"), BERT_ERR_IO);
    CHECK_MESSAGE("dangling");
    CHECK(symlink("circle", "circle") == 0);
    CHECK_STATUS(bert_save(model, "circle"), BERT_ERR_IO);
    CHECK_MESSAGE("circle");
    CHECK_MESSAGE("symbolic links");
    CHECK_EQUAL(entries("."), before + 4);
}

static void a_link_is_followed(const bert_model *old, const bert_model *new)
{
    CHECK_OK(bert_save(old, "real"));
    CHECK(symlink("real", "link") == 0);
    CHECK_OK(bert_save(new, "link"));
    struct stat status;
    CHECK(lstat("link", &status) == 0 && S_ISLNK(status.st_mode));
    CHECK(lstat("real", &status) == 0 && S_ISDIR(status.st_mode));
    bert_model *loaded = load_model("real");
    CHECK(are_equal(loaded, new));
    bert_free(loaded);
    loaded = load_model("link");
    CHECK(are_equal(loaded, new));
    bert_free(loaded);
}

/* A disk that gets full in the middle: a limit on the size of files does the same. */
static void a_save_that_fails_leaves_the_older_model(const bert_model *old, const bert_model *new)
{
    CHECK_OK(bert_save(old, "kept"));
    int before = entries(".");
    /* The signal that would end the process is at its default. */
    CHECK(signal(SIGXFSZ, SIG_DFL) != SIG_ERR);
    struct rlimit limit, small;
    CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    small = limit;
    small.rlim_cur = 3000;
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    bert_status replacing = bert_save(new, "kept");
    bert_status fresh = bert_save(new, "never");
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK_STATUS(replacing, BERT_ERR_IO);
    CHECK_STATUS(fresh, BERT_ERR_IO);
    CHECK(!exists("never"));
    CHECK_EQUAL(entries("."), before);
    bert_model *loaded = load_model("kept");
    CHECK(are_equal(loaded, old));
    bert_free(loaded);
}

/* Putting another directory in the working directory's place would leave its users in one that is gone. */
static void the_working_directory_is_refused(const bert_model *model)
{
    CHECK(mkdir("here", 0777) == 0);
    CHECK(chdir("here") == 0);
    CHECK_STATUS(bert_save(model, "."), BERT_ERR_IO);
    CHECK_MESSAGE("current directory");
    CHECK_EQUAL(entries("."), 0);
    CHECK_OK(bert_save(model, "model"));
    CHECK_EQUAL(entries("."), 1);
    CHECK(chdir("..") == 0);
    bert_model *loaded = load_model("here/model");
    bert_free(loaded);
}

/* Replaces the first `from` behind the first `after` in a file by as many bytes of `to`. */
static void edit(char *bytes, size_t length, const char *after, const char *from, const char *to)
{
    size_t at = 0;
    while (at < length && (length - at < strlen(after) || memcmp(bytes + at, after, strlen(after)) != 0)) {
        at++;
    }
    while (at < length && (length - at < strlen(from) || memcmp(bytes + at, from, strlen(from)) != 0)) {
        at++;
    }
    CHECK(at < length && strlen(from) == strlen(to));
    memcpy(bytes + at, to, strlen(to));
}

/* Loads the model with one file in another state; the file is put back. */
static void refuses(const char *file, const char *bytes, size_t length, bert_status status, const char *message)
{
    char path[64];
    size_t whole_length = 0;
    snprintf(path, sizeof(path), "damaged/%s", file);
    char *whole = read_bytes(path, &whole_length);
    CHECK(whole != NULL);
    if (bytes == NULL) {
        CHECK(remove(path) == 0);
    } else {
        write_bytes(path, bytes, length);
    }
    bert_model *model = NULL;
    CHECK_STATUS(bert_load("damaged", NULL, &model), status);
    CHECK_MESSAGE(message);
    CHECK(model == NULL);
    write_bytes(path, whole, whole_length);
    free(whole);
}

static void damaged_directories_are_refused(const bert_model *model)
{
    CHECK_OK(bert_save(model, "damaged"));
    /* Without the checksums it is what is in the files that is refused. */
    CHECK(remove("damaged/libbert.json") == 0);
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        refuses(files[i], NULL, 0, BERT_ERR_IO, files[i]);
        refuses(files[i], "", 0, BERT_ERR_FORMAT, "");
        refuses(files[i], "no such thing", 13, BERT_ERR_FORMAT, "");
    }
    refuses("config.json", "[1]", 3, BERT_ERR_FORMAT, "config.json");
    refuses("config.json", "{\"model_type\": \"gpt2\"}", 22, BERT_ERR_UNSUPPORTED, "gpt2");

    size_t length = 0;
    char *config = read_bytes("damaged/config.json", &length);
    edit(config, length, "libbert_format_version\"", "1", "7");
    refuses("config.json", config, length, BERT_ERR_VERSION, "version 7");
    edit(config, length, "libbert_format_version\"", "7", "0");
    refuses("config.json", config, length, BERT_ERR_FORMAT, "libbert_format_version");
    edit(config, length, "libbert_format_version\"", "0", "1");
    edit(config, length, "\"hidden_size\"", "16", "32");
    refuses("config.json", config, length, BERT_ERR_FORMAT, "shape");
    edit(config, length, "\"hidden_size\"", "32", "17");
    refuses("config.json", config, length, BERT_ERR_FORMAT, "num_attention_heads");
    edit(config, length, "\"hidden_size\"", "17", "-1");
    refuses("config.json", config, length, BERT_ERR_FORMAT, "hidden_size");
    free(config);

    char *weights = read_bytes("damaged/model.safetensors", &length);
    for (size_t cut = 1; cut < length; cut = cut * 3 + 1) {
        refuses("model.safetensors", weights, length - cut, BERT_ERR_FORMAT, "model.safetensors");
    }
    char *longer = calloc(1, length + 8);
    CHECK(longer != NULL);
    memcpy(longer, weights, length);
    refuses("model.safetensors", longer, length + 8, BERT_ERR_FORMAT, "model.safetensors");
    free(longer);
    /* The last number becomes NaN, then infinite. */
    memcpy(weights + length - 4, "\0\0\xc0\x7f", 4);
    refuses("model.safetensors", weights, length, BERT_ERR_FORMAT, "NaN");
    memcpy(weights + length - 4, "\0\0\x80\xff", 4);
    refuses("model.safetensors", weights, length, BERT_ERR_FORMAT, "infinite");
    memcpy(weights + length - 4, "\0\0\0\0", 4);
    edit(weights, length, "classifier.weight", "F32", "I32");
    refuses("model.safetensors", weights, length, BERT_ERR_UNSUPPORTED, "classifier.weight");
    edit(weights, length, "classifier.weight", "I32", "F32");
    edit(weights, length, "classifier.weight", "weight", "height");
    refuses("model.safetensors", weights, length, BERT_ERR_FORMAT, "classifier.weight");
    /* A header that claims to be larger than any file. */
    memset(weights, 0xff, 8);
    refuses("model.safetensors", weights, length, BERT_ERR_FORMAT, "header");
    free(weights);

    bert_model *none = NULL;
    CHECK_STATUS(bert_load("absent", NULL, &none), BERT_ERR_IO);
    CHECK_MESSAGE("absent");
    CHECK_STATUS(bert_load("file", NULL, &none), BERT_ERR_IO);
    CHECK_STATUS(bert_load("", NULL, &none), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_load(NULL, NULL, &none), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_load("damaged", NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK(none == NULL);

    /* Another model's tokenizer with more tokens doesn't belong here. */
    static const char *const texts[] = {"one", "two"};
    static const char *const names[] = {"a", "b"};
    bert_dataset *tiny_data = named(2, texts, names);
    bert_model_options options = small_options();
    bert_model *tiny = create(&options, tiny_data);
    CHECK_OK(bert_save(tiny, "tiny"));
    char *tokenizer = read_bytes("damaged/tokenizer.json", &length);
    write_bytes("tiny/tokenizer.json", tokenizer, length);
    CHECK(remove("tiny/libbert.json") == 0);
    CHECK_STATUS(bert_load("tiny", NULL, &none), BERT_ERR_FORMAT);
    CHECK_MESSAGE("vocab_size");
    free(tokenizer);
    bert_free(tiny);
    bert_dataset_free(tiny_data);

    /* With every file back in its place it loads. */
    bert_model *loaded = load_model("damaged");
    CHECK(are_equal(loaded, model));
    bert_free(loaded);
}

/* Each file of a save carries a checksum. */
static void flipped_bits_are_told(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    options.tokenizer = BERT_TOKENIZER_WORDPIECE;
    bert_model *model = create(&options, train);
    bert_dataset_free(train);
    CHECK_OK(bert_save(model, "flipped"));
    static const char *const files[] = {"config.json",           "model.safetensors",       "tokenizer.json",
                                        "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
                                        "libbert.json"};
    bert_model *none = NULL;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char path[64];
        snprintf(path, sizeof(path), "flipped/%s", files[i]);
        size_t length = 0;
        char *bytes = read_bytes(path, &length);
        CHECK(bytes != NULL && length > 0);
        for (size_t at = 0; at < length; at += 1 + length / 61) {
            bytes[at] ^= (char)(1 << at % 8);
            write_bytes(path, bytes, length);
            CHECK_STATUS(bert_load("flipped", NULL, &none), BERT_ERR_FORMAT);
            CHECK_MESSAGE(files[i]);
            CHECK_MESSAGE("libbert.json");
            bytes[at] ^= (char)(1 << at % 8);
        }
        write_bytes(path, bytes, length - 1);
        CHECK_STATUS(bert_load("flipped", NULL, &none), BERT_ERR_FORMAT);
        CHECK_MESSAGE(files[i]);
        write_bytes(path, "", 0);
        CHECK_STATUS(bert_load("flipped", NULL, &none), BERT_ERR_FORMAT);
        CHECK_MESSAGE(files[i]);
        if (strcmp(files[i], "libbert.json") != 0) {
            CHECK(remove(path) == 0);
            CHECK_STATUS(bert_load("flipped", NULL, &none), BERT_ERR_IO);
            CHECK_MESSAGE(files[i]);
        }
        write_bytes(path, bytes, length);
        free(bytes);
    }
    bert_model *loaded = load_model("flipped");
    CHECK(are_equal(loaded, model));
    bert_free(loaded);

    /* Also where the classes, and so the classifier's numbers, aren't the checkpoint's. */
    size_t length = 0;
    char *bytes = read_bytes("flipped/model.safetensors", &length);
    bytes[length - 1] ^= 1;
    write_bytes("flipped/model.safetensors", bytes, length);
    static const char *const names[] = {"one", "two", "three"};
    bert_load_options load_options;
    CHECK_OK(bert_load_options_init(&load_options, sizeof(load_options)));
    load_options.num_label_names = 3;
    load_options.label_names = names;
    CHECK_STATUS(bert_load("flipped", &load_options, &none), BERT_ERR_FORMAT);
    CHECK_MESSAGE("model.safetensors");
    bytes[length - 1] ^= 1;
    write_bytes("flipped/model.safetensors", bytes, length);
    bert_model *other = NULL;
    CHECK_OK(bert_load("flipped", &load_options, &other));
    bert_free(other);
    free(bytes);

    /* A change on purpose is accepted by removing the checksums, and kept by a save. */
    char *config = read_bytes("flipped/config.json", &length);
    edit(config, length, "id2label", "negative", "opposing");
    edit(config, length, "label2id", "negative", "opposing");
    write_bytes("flipped/config.json", config, length);
    free(config);
    CHECK_STATUS(bert_load("flipped", NULL, &none), BERT_ERR_FORMAT);
    CHECK_MESSAGE("remove 'flipped/libbert.json'");
    CHECK(none == NULL);
    CHECK(remove("flipped/libbert.json") == 0);
    loaded = load_model("flipped");
    CHECK_OK(bert_save(loaded, "flipped"));
    CHECK(exists("flipped/libbert.json"));
    bert_free(loaded);
    loaded = load_model("flipped");
    CHECK_EQUAL(entries("flipped"), 7);
    bert_free(loaded);
    bert_free(model);
}

/* Whatever is wrong with a buffer, it is an error with a sentence: never a crash, never a defect of the library. */
static void damaged_buffers_are_refused(const bert_model *model)
{
    saved whole = save(model);
    bert_model *none = NULL;
    CHECK_STATUS(bert_load_from_buffer(NULL, 0, NULL, &none), BERT_ERR_FORMAT);
    CHECK_STATUS(bert_load_from_buffer(NULL, 8, NULL, &none), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_load_from_buffer(whole.bytes, SIZE_MAX, NULL, &none), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_load_from_buffer(whole.bytes, whole.length, NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    for (size_t cut = 0; cut < whole.length; cut += 1 + cut / 7) {
        CHECK_STATUS(bert_load_from_buffer(whole.bytes, cut, NULL, &none), BERT_ERR_FORMAT);
    }
    /* Each bit of the header and many of the numbers. */
    uint64_t header = 0;
    for (int i = 0; i < 8; i++) {
        header |= (uint64_t)whole.bytes[i] << (8 * i);
    }
    for (size_t bit = 0; bit < 8 * whole.length; bit += bit < 4096 ? 1 : bit < 8 * header ? 61 : 4099) {
        whole.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_STATUS(bert_load_from_buffer(whole.bytes, whole.length, NULL, &none), BERT_ERR_FORMAT);
        whole.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    whole.bytes[whole.length - 1] ^= 1;
    CHECK_STATUS(bert_load_from_buffer(whole.bytes, whole.length, NULL, &none), BERT_ERR_FORMAT);
    CHECK_MESSAGE("checksum");
    whole.bytes[whole.length - 1] ^= 1;

    /* An earlier version's buffer has no checksum: it is what is in it that is refused. */
    edit((char *)whole.bytes, whole.length, "libbert_", "checksum_version", "checksum_of_none");
    edit((char *)whole.bytes, whole.length, "libbert_", "checksum", "nonesuch");
    CHECK_OK(bert_load_from_buffer(whole.bytes, whole.length, NULL, &none));
    CHECK(are_equal(none, model));
    bert_free(none);
    none = NULL;
    edit((char *)whole.bytes, whole.length, "libbert_format_version", "1", "9");
    CHECK_STATUS(bert_load_from_buffer(whole.bytes, whole.length, NULL, &none), BERT_ERR_VERSION);
    CHECK_MESSAGE("version 9");
    edit((char *)whole.bytes, whole.length, "libbert_format_version", "9", "1");
    /* A weights file alone lacks configuration and tokenizer. */
    size_t length = 0;
    char *weights = read_bytes("damaged/model.safetensors", &length);
    CHECK_STATUS(bert_load_from_buffer((uint8_t *)weights, length, NULL, &none), BERT_ERR_FORMAT);
    CHECK_MESSAGE("config.json");
    free(weights);
    CHECK(none == NULL);

    static const uint8_t others[] = {'0', '9', '"', ',', ' ', '}', '-', 0, 0xff};
    int loaded = 0;
    for (size_t i = 0; i < header + 8; i += 3) {
        uint8_t original = whole.bytes[i];
        whole.bytes[i] = others[i / 3 % sizeof(others)];
        bert_model *changed = NULL;
        bert_status status = bert_load_from_buffer(whole.bytes, whole.length, NULL, &changed);
        CHECK(status == BERT_OK || status == BERT_ERR_FORMAT || status == BERT_ERR_UNSUPPORTED ||
              status == BERT_ERR_VERSION || status == BERT_ERR_OUT_OF_MEMORY);
        if (status == BERT_OK) {
            /* What could be loaded can be used. */
            float logits[8];
            bert_predictions out;
            const char *text = "a great film";
            CHECK_OK(bert_predictions_init(&out, sizeof(out)));
            out.logits = logits;
            out.logits_capacity = 8;
            status = bert_predict_batch(changed, 1, &text, NULL, NULL, NULL, NULL, &out);
            CHECK(status == BERT_OK || status == BERT_ERR_BUFFER_TOO_SMALL);
            loaded++;
        } else {
            CHECK(changed == NULL && bert_last_error_message()[0] != 0);
        }
        bert_free(changed);
        whole.bytes[i] = original;
    }
    /* Some changes make another model, such as one with other words; most make none. */
    CHECK(loaded > 0 && (size_t)loaded < header / 3);
    CHECK_OK(bert_load_from_buffer(whole.bytes, whole.length, NULL, &none));
    CHECK(are_equal(none, model));
    bert_free(none);
    release(whole);
    bert_buffer_free(NULL, 0);
    uint8_t *bytes = NULL;
    CHECK_STATUS(bert_save_to_buffer(model, NULL, &length), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_save_to_buffer(model, &bytes, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK(bytes == NULL);
}

int main(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    bert_model *old = create(&options, train);
    options.seed = 1;
    bert_model *new = create(&options, train);
    bert_dataset_free(train);
    models_come_back();
    a_model_of_ours_is_replaced(old, new);
    an_empty_directory_is_filled(old);
    what_is_not_ours_is_refused(old);
    a_link_is_followed(old, new);
    a_save_that_fails_leaves_the_older_model(old, new);
    damaged_directories_are_refused(old);
    flipped_bits_are_told();
    damaged_buffers_are_refused(old);
    the_working_directory_is_refused(old);
    bert_free(old);
    bert_free(new);
    return 0;
}
