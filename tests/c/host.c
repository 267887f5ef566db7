/* What belongs to the host stays the host's, and where the host is narrow or odd the library says so and goes on: file
 * descriptors, threads and memory that run out, no standard streams, another locale, umask and directory, few processors. */

#define _GNU_SOURCE

#include <fcntl.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* Each of these changes its process, so each has one of its own; no thread of the library's runs before. */
static void alone(const char *name, void (*run)(void))
{
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
        run();
        exit(0);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "%s: %s %d\n", name, WIFEXITED(status) ? "exit code" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        exit(1);
    }
}

static void limit(int resource, rlim_t soft)
{
    struct rlimit both;
    CHECK(getrlimit(resource, &both) == 0);
    both.rlim_cur = soft;
    CHECK(setrlimit(resource, &both) == 0);
}

/* The number that the next opened file gets. */
static int next_descriptor(void)
{
    int descriptor = dup(0);
    CHECK(descriptor >= 0);
    CHECK(close(descriptor) == 0);
    return descriptor;
}

/* ---- Resources that run out ------------------------------------------------------------------------------------------ */

static void few_files(void)
{
    bert_model *model = small_model(), *loaded = NULL;
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_save(model, "few"));
    write_text("few.tsv", "text\tlabel\ngood\tx\nbad\ty\n");
    int first = next_descriptor();
    saved before = save(model);
    /* With none, one, two, … files it is refused or it works, and what was saved is whole all the while. */
    int saves = 0, loads = 0, reads = 0;
    for (int more = 0; more < 8; more++) {
        limit(RLIMIT_NOFILE, (rlim_t)(first + more));
        bert_status saving = bert_save(model, "few");
        bert_status loading = bert_load("few", NULL, &loaded);
        bert_status reading = bert_dataset_read("few.tsv", NULL, &dataset);
        CHECK(saving == BERT_OK || saving == BERT_ERR_IO);
        CHECK(loading == BERT_OK || loading == BERT_ERR_IO);
        CHECK(reading == BERT_OK || reading == BERT_ERR_IO);
        if (more == 0) {
            CHECK_STATUS(saving, BERT_ERR_IO);
            CHECK_STATUS(loading, BERT_ERR_IO);
            CHECK_STATUS(reading, BERT_ERR_IO);
        }
        saves += saving == BERT_OK;
        loads += loading == BERT_OK;
        reads += reading == BERT_OK;
        limit(RLIMIT_NOFILE, 256);
        if (loading == BERT_OK) {
            bert_free(loaded);
        }
        if (reading == BERT_OK) {
            bert_dataset_free(dataset);
        }
        CHECK_OK(bert_load("few", NULL, &loaded));
        saved now = save(loaded);
        CHECK(is_same(before, now));
        release(now);
        bert_free(loaded);
        /* Nothing was left open. */
        CHECK_EQUAL(next_descriptor(), first);
    }
    CHECK(saves > 0 && loads > 0 && reads > 0);
    release(before);
    bert_free(model);
}

/* Threads can't be started: told, and later they can. The superuser is not held to the limit, so it gives that up. */
static void no_threads(void)
{
    if (getuid() == 0) {
        CHECK(setresgid(65534, 65534, 65534) == 0);
        CHECK(setresuid(65534, 65534, 65534) == 0);
    }
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    bert_model *model = NULL;
    int32_t threads = 0;
    struct rlimit before;
    CHECK(getrlimit(RLIMIT_NPROC, &before) == 0);
    limit(RLIMIT_NPROC, 0);
    /* They start with the first work for them. */
    CHECK_OK(bert_set_num_threads(3));
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, 3);
    CHECK_STATUS(bert_create(&options, train, &model), BERT_ERR_OUT_OF_MEMORY);
    CHECK_MESSAGE("could not be started");
    CHECK(model == NULL);
    /* One thread is there already. */
    CHECK_OK(bert_set_num_threads(1));
    CHECK_OK(bert_create(&options, train, &model));
    bert_free(model);
    CHECK_OK(bert_set_num_threads(3));
    limit(RLIMIT_NPROC, before.rlim_cur);
    CHECK_OK(bert_create(&options, train, &model));
    float expected[8], got[8];
    logits_of(model, "a great film", expected);
    /* With threads running, more can't be had: those that are there go on. */
    limit(RLIMIT_NPROC, 0);
    CHECK_STATUS(bert_set_num_threads(7), BERT_ERR_OUT_OF_MEMORY);
    logits_of(model, "a great film", got);
    CHECK(memcmp(expected, got, 2 * sizeof(float)) == 0);
    limit(RLIMIT_NPROC, before.rlim_cur);
    CHECK_OK(bert_set_num_threads(3));
    logits_of(model, "a great film", got);
    CHECK(memcmp(expected, got, 2 * sizeof(float)) == 0);
    bert_free(model);
    bert_dataset_free(train);
}

static rlim_t mapped_now(void)
{
    long mapped, resident;
    memory_now(&mapped, &resident);
    return (rlim_t)mapped * (rlim_t)sysconf(_SC_PAGESIZE);
}

/* Little address space: what can't fit is refused before it is asked for. */
static void little_memory(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = create(NULL, train), *large = NULL;
    bert_model_options options;
    CHECK_OK(bert_model_options_init(&options, sizeof(options), BERT_PRESET_COMPACT));
    options.hidden_size = 4096;
    options.num_hidden_layers = 24;
    options.num_attention_heads = 16;
    options.intermediate_size = 16384;
    float expected[8], got[8];
    /* Threads run: whether others can be had is told at once. */
    CHECK_OK(bert_set_num_threads(2));
    logits_of(model, "a great film", expected);
    limit(RLIMIT_AS, mapped_now() + ((rlim_t)256 << 20));
    CHECK_STATUS(bert_create(&options, train, &large), BERT_ERR_OUT_OF_MEMORY);
    /* 1024 stacks of 8 MB don't fit. */
    CHECK_STATUS(bert_set_num_threads(1024), BERT_ERR_OUT_OF_MEMORY);
    logits_of(model, "a great film", got);
    CHECK(memcmp(expected, got, 2 * sizeof(float)) == 0);
    limit(RLIMIT_AS, RLIM_INFINITY);
    CHECK_OK(bert_set_num_threads(2));
    logits_of(model, "a great film", got);
    CHECK(memcmp(expected, got, 2 * sizeof(float)) == 0);
    bert_free(model);
    bert_dataset_free(train);
}

/* ---- An odd host ----------------------------------------------------------------------------------------------------- */

/* The files that the library opens get the numbers 0 to 2, and nothing is written into them by mistake. */
static void no_standard_streams(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model(), *loaded = NULL;
    saved before = save(model), after;
    CHECK_OK(bert_save(model, "streams"));
    int kept = fcntl(2, F_DUPFD, 10);
    CHECK(kept >= 0);
    CHECK(close(0) == 0 && close(1) == 0 && close(2) == 0);
    bert_train_options options = train_options();
    options.epochs = 1;
    options.history_path = "streams-history";
    options.best_model_path = "streams-best";
    bert_trainer *trainer = NULL;
    bert_status statuses[6] = {
        bert_save(model, "streams"),
        bert_load("streams", NULL, &loaded),
        bert_trainer_create(model, train, train, &options, &trainer),
        bert_train(trainer, NULL),
        bert_set_num_threads(2),
        bert_load("absent", NULL, &model),
    };
    CHECK(dup2(kept, 2) == 2);
    CHECK(close(kept) == 0);
    for (size_t i = 0; i < 5; i++) {
        CHECK_OK(statuses[i]);
    }
    CHECK_STATUS(statuses[5], BERT_ERR_IO);
    after = save(loaded);
    CHECK(is_same(before, after));
    /* The trainer holds its history open; without it 0 and 1 are free again. */
    bert_trainer_free(trainer);
    CHECK_EQUAL(open("/dev/null", O_RDWR), 0);
    CHECK_EQUAL(open("/dev/null", O_RDWR), 1);
    bert_free(loaded);
    CHECK_OK(bert_load("streams-best", NULL, &loaded));
    release(before);
    release(after);
    bert_free(loaded);
    bert_free(model);
    bert_dataset_free(train);
}

/* A data file, a history and a saved model, byte for byte, whatever the locale writes for a decimal point. */
static void write_all(const char *model_path, const char *history_path)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model(), *loaded = NULL;
    bert_train_options options = train_options();
    options.epochs = 2;
    options.learning_rate = 0.0015;
    options.history_path = history_path;
    bert_trainer *trainer = trainer_of(model, train, train, &options);
    CHECK_OK(bert_train(trainer, NULL));
    CHECK_OK(bert_save(model, model_path));
    CHECK_OK(bert_load(model_path, NULL, &loaded));
    CHECK(are_equal(model, loaded));
    bert_free(loaded);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
}

static void same_file(const char *first_path, const char *second_path)
{
    size_t first_length = 0, second_length = 0;
    char *first = read_bytes(first_path, &first_length), *second = read_bytes(second_path, &second_length);
    CHECK(first != NULL && second != NULL);
    CHECK_EQUAL(first_length, second_length);
    CHECK(memcmp(first, second, first_length) == 0);
    free(first);
    free(second);
}

static void another_locale(void)
{
    write_all("locale-c", "locale-c-history");
    /* Where none with a decimal comma is installed, one is made. */
    CHECK(mkdir("locales", 0755) == 0);
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL &&
        (system("localedef -i de_DE -f UTF-8 ./locales/de_DE.UTF-8 >locales/log 2>&1") != 0 ||
         setenv("LOCPATH", "./locales", 1) != 0 || setlocale(LC_ALL, "de_DE.UTF-8") == NULL)) {
        puts("skipped: there is no locale with a decimal comma, and localedef can't make one");
        return;
    }
    char text[8];
    snprintf(text, sizeof(text), "%.1f", 0.5);
    CHECK_TEXT(text, "0,5");
    write_all("locale-other", "locale-other-history");
    CHECK_TEXT(setlocale(LC_ALL, NULL), "de_DE.UTF-8");
    same_file("locale-c/config.json", "locale-other/config.json");
    same_file("locale-c/tokenizer.json", "locale-other/tokenizer.json");
    same_file("locale-c/model.safetensors", "locale-other/model.safetensors");
}

static void another_umask_and_directory(void)
{
    static const char *const files[] = {"config.json", "tokenizer.json", "model.safetensors"};
    bert_model *model = small_model();
    CHECK(mkdir("elsewhere", 0755) == 0);
    mode_t before = umask(077);
    CHECK(chdir("elsewhere") == 0);
    CHECK_OK(bert_save(model, "umask"));
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        char path[64];
        struct stat status;
        snprintf(path, sizeof(path), "../elsewhere/umask/%s", files[i]);
        CHECK(stat(path, &status) == 0);
        CHECK_EQUAL(status.st_mode & 077, 0);
    }
    /* The directory goes away under the process. */
    CHECK(mkdir("gone", 0755) == 0);
    CHECK(chdir("gone") == 0);
    CHECK(rmdir("../gone") == 0);
    bert_model *loaded = NULL;
    CHECK_STATUS(bert_save(model, "umask"), BERT_ERR_IO);
    CHECK_STATUS(bert_load("umask", NULL, &loaded), BERT_ERR_IO);
    float logits[8];
    logits_of(model, "a great film", logits);
    CHECK_EQUAL(umask(before), 077);
    bert_free(model);
}

extern char **environ;

/* Variables that other libraries listen to change nothing, and none is set. */
static void another_environment(void)
{
    bert_model *model = small_model(), *again;
    int32_t threads = 0, before = 0;
    CHECK_OK(bert_get_num_threads(&before));
    CHECK_OK(bert_set_num_threads(0));
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, before);
    again = small_model();
    CHECK(are_equal(model, again));
    /* The last one: after that nothing is there to be read. */
    size_t count = 0;
    while (environ[count] != NULL) {
        count++;
    }
    CHECK_EQUAL(count, 6);
    CHECK(clearenv() == 0);
    bert_free(again);
    again = small_model();
    CHECK(are_equal(model, again));
    bert_free(model);
    bert_free(again);
}

static void odd_variables(void)
{
    CHECK(clearenv() == 0);
    CHECK(setenv("RAYON_NUM_THREADS", "77", 1) == 0);
    CHECK(setenv("RAYON_RS_NUM_CPUS", "77", 1) == 0);
    CHECK(setenv("OMP_NUM_THREADS", "nonsense", 1) == 0);
    CHECK(setenv("TOKENIZERS_PARALLELISM", "false", 1) == 0);
    CHECK(setenv("RUST_BACKTRACE", "full", 1) == 0);
    CHECK(setenv("RUST_MIN_STACK", "1", 1) == 0);
    another_environment();
}

/* Handlers and the mask are as the host set them. */
/* As many worker threads as the host's process may use processors. */
static void bound_to_one_processor(void)
{
    cpu_set_t may, one;
    CHECK(sched_getaffinity(0, sizeof(may), &may) == 0);
    int first = 0;
    while (!CPU_ISSET(first, &may)) {
        first++;
    }
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
    int32_t threads = 0;
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, 1);
    /* Set by hand it is what was asked for. */
    CHECK_OK(bert_set_num_threads(3));
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, 3);
    bert_free(small_model());
    CHECK(sched_getaffinity(0, sizeof(may), &may) == 0);
    CHECK(CPU_EQUAL(&may, &one));
}

static void note(int signal)
{
    (void)signal;
}

static void the_hosts_signals(void)
{
    struct sigaction before[32], after;
    sigset_t mask, mask_after;
    CHECK(sigemptyset(&mask) == 0 && sigaddset(&mask, SIGUSR2) == 0);
    CHECK(sigprocmask(SIG_SETMASK, &mask, NULL) == 0);
    signal(SIGUSR1, note);
    signal(SIGSEGV, note);
    for (int i = 1; i < 32; i++) {
        CHECK(sigaction(i, NULL, &before[i]) == 0);
    }
    write_all("signals", "signals-history");
    for (int i = 1; i < 32; i++) {
        CHECK(sigaction(i, NULL, &after) == 0);
        CHECK(before[i].sa_handler == after.sa_handler && before[i].sa_flags == after.sa_flags);
    }
    CHECK(sigprocmask(SIG_SETMASK, NULL, &mask_after) == 0);
    for (int i = 1; i < 32; i++) {
        CHECK_EQUAL(sigismember(&mask_after, i), i == SIGUSR2);
    }
}

int main(void)
{
    alone("few files", few_files);
    alone("no threads", no_threads);
    alone("little memory", little_memory);
    alone("no standard streams", no_standard_streams);
    alone("another locale", another_locale);
    alone("another umask and directory", another_umask_and_directory);
    alone("odd variables", odd_variables);
    alone("bound to one processor", bound_to_one_processor);
    alone("the host's signals", the_hosts_signals);
    return 0;
}
