/* What commit 07bdfeb saved is loaded: each kind of save gives the token ids and the logits that it gave then, and runs
 * go on from their checkpoints. tests/fixtures/saves-07bdfeb/make_saves.c wrote them.
 *
 * Where a change makes this fail, people's own saves fail too: read what is old as well, or refuse it by name with a
 * sentence that says what is incompatible, and have that sentence tested here. Only an int8 model may differ without a
 * defect: what a layer reads is rounded to 8 bits, and a change in the order of sums can bring a number to the other
 * side of a rounding; then its logits differ in their third or fourth digit. */

#define _POSIX_C_SOURCE 200809L

#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define MAX_TOKENS 64
#define MAX_LABELS 8

/* Other instructions add up in another order: seen were 1.2e-7 for weights that were loaded and for those that were
 * trained on, with one, two and four threads. */
#define LOADED 1e-6
#define TRAINED 1e-5

/* What is being checked, said where a check fails. */
static char place[512];

static void say_place(void)
{
    if (place[0] != 0) {
        fprintf(stderr, "The old save is %s\n", place);
    }
}

/* ---- The directory, and that it stays as it is ------------------------------------------------------------------- */

static char *fixtures;

/* The path of a save; for free(). */
static char *path_of(const char *name)
{
    size_t size = strlen(fixtures) + strlen(name) + 2;
    char *path = malloc(size);
    CHECK(path != NULL);
    snprintf(path, size, "%s/%s", fixtures, name);
    return path;
}

static int is_name(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* A number that changes with the name, place, time and content of every file in a directory; counts them. */
static uint64_t mark_of(const char *directory, size_t *files)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, is_name, alphasort);
    CHECK(count >= 0);
    uint64_t mark = 14695981039346656037u;
    for (int i = 0; i < count; i++) {
        char path[4096];
        struct stat status;
        snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
        CHECK(stat(path, &status) == 0);
        char line[512];
        snprintf(line, sizeof(line), "%s %llu %lld.%ld", entries[i]->d_name, (unsigned long long)status.st_ino,
                 (long long)status.st_mtim.tv_sec, (long)status.st_mtim.tv_nsec);
        for (const char *c = line; *c != 0; c++) {
            mark = (mark ^ (uint8_t)*c) * 1099511628211u;
        }
        if (S_ISDIR(status.st_mode)) {
            mark ^= mark_of(path, files);
        } else {
            size_t length = 0;
            char *bytes = read_bytes(path, &length);
            CHECK(bytes != NULL);
            for (size_t at = 0; at < length; at++) {
                mark = (mark ^ (uint8_t)bytes[at]) * 1099511628211u;
            }
            free(bytes);
            *files += 1;
        }
        free(entries[i]);
    }
    free(entries);
    return mark;
}

static void copy_directory(const char *from, const char *to)
{
    struct dirent **entries;
    int count = scandir(from, &entries, is_name, alphasort);
    CHECK(count > 0);
    CHECK(mkdir(to, 0777) == 0);
    for (int i = 0; i < count; i++) {
        char source[4096], target[4096];
        snprintf(source, sizeof(source), "%s/%s", from, entries[i]->d_name);
        snprintf(target, sizeof(target), "%s/%s", to, entries[i]->d_name);
        size_t length = 0;
        char *bytes = read_bytes(source, &length);
        CHECK(bytes != NULL);
        write_bytes(target, bytes, length);
        free(bytes);
        free(entries[i]);
    }
    free(entries);
}

/* ---- expected.txt, line by line ---------------------------------------------------------------------------------- */

static char *next_line;

static int next_is(const char *key)
{
    size_t length = strlen(key);
    return strncmp(next_line, key, length) == 0 && next_line[length] == ' ';
}

/* What the next line, which must begin with `key`, says behind it. */
static char *value_of(const char *key)
{
    while (next_line[0] == '#' || next_line[0] == '\n') {
        next_line = strchr(next_line, '\n') + 1;
    }
    if (!next_is(key)) {
        fprintf(stderr, "expected.txt has '%.40s' where '%s' should be\n", next_line, key);
        exit(1);
    }
    char *value = next_line + strlen(key) + 1, *end = strchr(value, '\n');
    CHECK(end != NULL);
    *end = 0;
    next_line = end + 1;
    return value;
}

static long long whole(const char *key)
{
    return strtoll(value_of(key), NULL, 10);
}

/* A text without its quotation marks. */
static char *text_value(const char *key)
{
    char *value = value_of(key);
    size_t length = strlen(value);
    CHECK(length >= 2 && value[0] == '"' && value[length - 1] == '"');
    value[length - 1] = 0;
    return value + 1;
}

static void check_numbers(const char *key, const uint32_t *got, size_t count)
{
    char *listed = value_of(key), *end;
    for (size_t i = 0; i < count; i++) {
        unsigned long number = strtoul(listed, &end, 10);
        CHECK(end != listed);
        CHECK_EQUAL(got[i], number);
        listed = end;
    }
    CHECK_TEXT(listed, "");
}

/* ---- What a model answers ---------------------------------------------------------------------------------------- */

static void check_answers(const bert_model *model, const char *name, double tolerance, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *text = text_value("text"), *pair = next_is("pair") ? text_value("pair") : NULL;
        snprintf(place, sizeof(place), "%s, the text '%s'", name, text);
        uint32_t ids[MAX_TOKENS], types[MAX_TOKENS];
        size_t length = 0;
        CHECK_OK(bert_tokenize(model, text, NUL, pair, pair == NULL ? 0 : NUL, 0, ids, types, MAX_TOKENS, &length));
        check_numbers("ids", ids, length);
        check_numbers("types", types, length);

        float logits[MAX_LABELS];
        bert_predictions out;
        CHECK_OK(bert_predictions_init(&out, sizeof(out)));
        out.logits = logits;
        out.logits_capacity = MAX_LABELS;
        CHECK_OK(bert_predict_batch(model, 1, &text, NULL, pair == NULL ? NULL : &pair, NULL, NULL, &out));
        char *listed = value_of("logits"), *end;
        for (int32_t label = 0; label < info_of(model).num_labels; label++) {
            double number = strtod(listed, &end);
            CHECK(end != listed);
            CHECK_NEAR(logits[label], number, tolerance);
            listed = end;
        }
        CHECK_TEXT(listed, "");
    }
    /* And no text is left out. */
    CHECK(!next_is("text"));
    snprintf(place, sizeof(place), "%s", name);
}

/* A model, what it is and answers; `section` is its line in expected.txt. */
static void check_model(bert_model *model, const char *kind, const char *section, size_t count)
{
    CHECK_TEXT(value_of(kind), section);
    bert_info info = info_of(model);
    CHECK_EQUAL(info.problem_type, whole("problem"));
    CHECK_EQUAL(info.weights, whole("weights"));
    CHECK_EQUAL(info.lora_rank, whole("lora_rank"));
    CHECK_EQUAL(info.parameter_count, whole("parameters"));
    for (int32_t label = 0; label < info.num_labels; label++) {
        const char *name = NULL;
        CHECK_OK(bert_label_name(model, label, &name, NULL));
        CHECK_TEXT(name, text_value("label"));
    }
    /* Nothing is new, and nothing was left over. */
    size_t ignored = 99;
    CHECK_EQUAL(initialised(model), 0);
    CHECK_OK(bert_parameter_name(model, BERT_PARAMETERS_IGNORED, 0, NULL, &ignored));
    CHECK_EQUAL(ignored, 0);
    check_answers(model, section, LOADED, count);
    bert_free(model);
}

/* The recorded numbers are the CPU's. */
static bert_model *load(const char *name)
{
    snprintf(place, sizeof(place), "%s", name);
    char *path = path_of(name);
    bert_model *model = NULL;
    CHECK_OK(bert_load(path, NULL, &model));
    free(path);
    return model;
}

static bert_model *classes(void)
{
    return load("classes");
}

static bert_model *adapted_labels(void)
{
    char *path = path_of("labels-adapter");
    bert_model *base = load("labels"), *model = NULL;
    snprintf(place, sizeof(place), "labels-adapter");
    CHECK_OK(bert_load_adapter(base, path, &model));
    bert_free(base);
    free(path);
    return model;
}

static bert_model *load_from_buffer(const char *name)
{
    snprintf(place, sizeof(place), "%s", name);
    char *path = path_of(name);
    size_t length = 0;
    char *bytes = read_bytes(path, &length);
    CHECK(bytes != NULL);
    bert_model *model = NULL;
    CHECK_OK(bert_load_from_buffer((const uint8_t *)bytes, length, NULL, &model));
    free(bytes);
    free(path);
    return model;
}

/* ---- Runs that go on --------------------------------------------------------------------------------------------- */

/* As make_saves.c made them. */
static bert_train_options run_options(void)
{
    bert_train_options options = train_options();
    options.epochs = 5;
    options.batch_size = 3;
    options.gradient_accumulation_steps = 2;
    options.learning_rate = 1e-2;
    options.schedule = BERT_SCHEDULE_COSINE;
    options.head_learning_rate = 2e-2;
    options.layer_learning_rate_decay = 0.9;
    options.eval_steps = 2;
    options.metric = BERT_METRIC_LOSS;
    return options;
}

static bert_dataset *contrary(void)
{
    static const char *const texts[] = {"i loved the wonderful music", "rude staff and terrible food"};
    static const char *const classes[] = {"negative", "positive"};
    return named(COUNT_OF(texts), texts, classes);
}

static bert_dataset *lists(void)
{
    char *path = path_of("lists.jsonl");
    bert_read_options options;
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_read_options_init(&options, sizeof(options)));
    options.problem_type = BERT_PROBLEM_MULTI_LABEL;
    options.label_column = "labels";
    CHECK_OK(bert_dataset_read(path, &options, &dataset));
    free(path);
    return dataset;
}

static void check_finite(const bert_model *model)
{
    saved buffer = save(model);
    uint64_t header = 0;
    memcpy(&header, buffer.bytes, sizeof(header));
    CHECK(header < buffer.length);
    size_t count = 0;
    for (size_t at = sizeof(header) + (size_t)header; at + sizeof(float) <= buffer.length; at += sizeof(float)) {
        float weight;
        memcpy(&weight, buffer.bytes + at, sizeof(weight));
        CHECK(isfinite(weight));
        count++;
    }
    CHECK(count > 1000);
    release(buffer);
}

/* How a run ended, as expected.txt has it. */
typedef struct {
    long long steps, epochs, best_step, restored_best;
    double loss, best_metric;
} ending;

static void check_end(const bert_train_report *report, const ending *then)
{
    CHECK_EQUAL(report->steps, then->steps);
    CHECK_EQUAL(report->epochs, then->epochs);
    CHECK_EQUAL(report->stop_reason, BERT_STOP_FINISHED);
    CHECK_NEAR(report->loss, then->loss, TRAINED);
    CHECK_EQUAL(report->best_step, then->best_step);
    CHECK_EQUAL(report->restored_best, then->restored_best);
    if (then->best_step > 0) {
        CHECK_NEAR(report->best_metric, then->best_metric, LOADED);
    }
}

/* Goes on from a checkpoint twice: by bert_trainer_resume, and as bert_train does it by itself where it finds one in
 * its folder. `begin` gives the model that the run began with. */
static void check_run(const char *name, bert_model *(*begin)(void), const bert_dataset *data,
                      const bert_dataset *validation, double tolerance, size_t count)
{
    bert_model *first = begin(), *second = begin();
    CHECK_TEXT(value_of("run"), name);
    snprintf(place, sizeof(place), "%s", name);
    long long step = whole("resumed_step"), epochs = whole("resumed_epochs"), total = whole("total_steps");
    ending then;
    then.steps = whole("steps");
    then.epochs = whole("epochs");
    then.loss = strtod(value_of("loss"), NULL);
    then.best_step = whole("best_step");
    then.restored_best = whole("restored_best");
    then.best_metric = strtod(value_of("best_metric"), NULL);
    /* Steps are left to make, and the best weights can come from the checkpoint alone. */
    CHECK(step > 0 && step < then.steps && then.best_step < step);

    char *path = path_of(name);
    bert_train_options options = run_options();
    bert_trainer *trainer = trainer_of(first, data, validation, &options);
    bert_resume_report resumed;
    CHECK_OK(bert_resume_report_init(&resumed, sizeof(resumed)));
    CHECK_OK(bert_trainer_resume(trainer, path, &resumed));
    CHECK_EQUAL(resumed.step, step);
    CHECK_EQUAL(resumed.epochs, epochs);
    CHECK_EQUAL(resumed.total_steps, total);
    bert_train_report report = report_init();
    CHECK_OK(bert_train(trainer, &report));
    CHECK_EQUAL(report.resumed_step, 0);
    check_end(&report, &then);
    bert_trainer_free(trainer);
    check_finite(first);
    check_answers(first, name, tolerance, count);

    char folder[128], copy[192];
    snprintf(folder, sizeof(folder), "%s-folder", name);
    snprintf(copy, sizeof(copy), "%s/checkpoint-%lld", folder, step);
    CHECK(mkdir(folder, 0777) == 0);
    copy_directory(path, copy);
    options.checkpoint_path = folder;
    trainer = trainer_of(second, data, validation, &options);
    CHECK_OK(bert_train(trainer, &report));
    CHECK_EQUAL(report.resumed_step, step);
    check_end(&report, &then);
    bert_trainer_free(trainer);
    CHECK(are_equal(first, second));
    bert_free(first);
    bert_free(second);
    free(path);
}

/* ---- All of them, once for each level of instructions ------------------------------------------------------------ */

/* The order is that of expected.txt. */
static void everything(void)
{
    fixtures = project_path("tests/fixtures/saves-07bdfeb");
    char *path = path_of("expected.txt"), *text = read_bytes(path, NULL);
    CHECK(text != NULL);
    next_line = text;
    size_t files = 0, files_after = 0;
    uint64_t mark = mark_of(fixtures, &files);

    check_model(classes(), "model", "classes", 7);
    check_model(load("classes-int8"), "model", "classes-int8", 7);
    bert_dataset *data = toy(BERT_TOY_TRAIN), *validation = contrary();
    /* The end has the best weights, which were in the checkpoint. */
    check_run("classes-run", classes, data, validation, LOADED, 7);
    bert_dataset_free(data);
    bert_dataset_free(validation);
    check_model(load("classes-run"), "model", "classes-run", 7);

    check_model(load("labels"), "model", "labels", 7);
    check_model(adapted_labels(), "adapter", "labels-adapter labels", 7);
    data = lists();
    check_run("labels-adapter-run", adapted_labels, data, NULL, TRAINED, 7);
    bert_dataset_free(data);

    check_model(load_from_buffer("numbers.buffer"), "buffer", "numbers.buffer", 4);
    CHECK_TEXT(next_line, "");

    place[0] = 0;
    CHECK(mark_of(fixtures, &files_after) == mark);
    CHECK_EQUAL(files_after, files);
    free(text);
    free(path);
    free(fixtures);
}

/* In a process of its own, since the instructions are chosen once; a level that this processor lacks is another run of
 * the widest. */
static void at_level(char *program, char *level)
{
    CHECK(mkdir(level, 0777) == 0);
    pid_t child = fork();
    if (child == 0) {
        char *const arguments[] = {program, level, NULL};
        setenv("BERT_INSTRUCTIONS", level, 1);
        execv(program, arguments);
        _exit(127);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "with BERT_INSTRUCTIONS=%s it failed\n", level);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static char levels[][16] = {"baseline", "avx2", "avx512", "amx"};
    if (argc > 1) {
        CHECK(atexit(say_place) == 0);
        CHECK(chdir(argv[1]) == 0);
        everything();
        return 0;
    }
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        at_level(argv[0], levels[i]);
    }
    return 0;
}
