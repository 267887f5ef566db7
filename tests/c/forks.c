/* Every function of the header in a forked child; forks while other threads are inside calls; exec. */

#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "header.h"

enum { THREADS = 4, FORKS = 200 };

/* ---- What each function is called with: live handles and sound arguments, so that nothing but the fork can be wrong. -- */

static bert_model *model;
static bert_dataset *train;
static bert_trainer *trainer;
static bert_error *error;
static saved bytes;

/* Where a result would go; the child's copies must stay as they are. */
static union {
    unsigned char bytes[4096];
    void *pointer;
    size_t size;
    int32_t number;
} out, untouched;

static const char *const texts[] = {"a great film"}, *const names[] = {"a"};
static const int64_t class_ids[] = {0};
static const uint32_t ids[] = {2, 5, 3};
static const size_t lengths[] = {3}, offsets[] = {0, 1};
static const float targets[] = {0.5f};

static const bert_model_options *model_options(void)
{
    static bert_model_options options;
    static int is_set;
    if (!is_set) {
        options = small_options();
        is_set = 1;
    }
    return &options;
}

static bert_predictions predictions;
static bert_prediction prediction;
static bert_evaluation evaluation;
static bert_dataset_description description;
static bert_info info;

#define STATUS(name, ...)                      \
    static bert_status call_##name(void)       \
    {                                          \
        return name(__VA_ARGS__);              \
    }

/* With adapters; on the CPU, which alone makes int8 of it; and data of the other kinds of labels. */
static bert_model *adapted, *on_cpu, *labelled;
static bert_dataset *lists, *numbers;

STATUS(bert_error_create, (bert_error **)&out.pointer)
STATUS(bert_error_bind, error)
STATUS(bert_trainer_close, trainer)
STATUS(bert_set_log_callback, NULL, NULL)
STATUS(bert_set_num_threads, 1)
STATUS(bert_get_num_threads, &out.number)
STATUS(bert_read_options_init, (bert_read_options *)(void *)&out, sizeof(bert_read_options))
STATUS(bert_dataset_create, (bert_dataset **)&out.pointer)
STATUS(bert_dataset_add_class, train, "text", NUL, NULL, 0, "positive", NUL)
STATUS(bert_dataset_add_class_id, train, "text", NUL, NULL, 0, 1)
STATUS(bert_dataset_add_classes, train, 1, texts, NULL, NULL, NULL, names, NULL)
STATUS(bert_dataset_add_class_ids, train, 1, texts, NULL, NULL, NULL, class_ids)
STATUS(bert_dataset_add_labels, lists, "text", NUL, NULL, 0, names, NULL, 1)
STATUS(bert_dataset_add_label_lists, lists, 1, texts, NULL, NULL, NULL, names, NULL, offsets)
STATUS(bert_dataset_add_target, numbers, "text", NUL, NULL, 0, targets, 1)
STATUS(bert_dataset_add_targets, numbers, 1, texts, NULL, NULL, NULL, targets, 1)
STATUS(bert_lora_options_init, (bert_lora_options *)(void *)&out, sizeof(bert_lora_options))
STATUS(bert_add_lora, model, NULL, (bert_model **)&out.pointer)
STATUS(bert_merge_lora, adapted, (bert_model **)&out.pointer)
STATUS(bert_quantize, on_cpu, (bert_model **)&out.pointer)
STATUS(bert_copy_to_device, model, "cpu", (bert_model **)&out.pointer)
STATUS(bert_save_adapter, adapted, "forks-adapter")
STATUS(bert_load_adapter, model, "forks-adapter", (bert_model **)&out.pointer)
STATUS(bert_resume_report_init, (bert_resume_report *)(void *)&out, sizeof(bert_resume_report))
STATUS(bert_trainer_save, trainer, "forks-checkpoint")
STATUS(bert_trainer_resume, trainer, "forks-checkpoint", NULL)
STATUS(bert_dataset_read, "forks.tsv", NULL, (bert_dataset **)&out.pointer)
STATUS(bert_dataset_toy, BERT_TOY_TRAIN, (bert_dataset **)&out.pointer)
STATUS(bert_dataset_split, train, 0.5, 1, (bert_dataset **)(void *)&out.bytes[0], (bert_dataset **)(void *)&out.bytes[8])
STATUS(bert_dataset_count, train, &out.size)
STATUS(bert_dataset_description_init, (bert_dataset_description *)(void *)&out, sizeof(bert_dataset_description))
STATUS(bert_dataset_describe, train, model, &description)
STATUS(bert_dataset_label_name, train, 0, (char *)out.bytes, 64, NULL)
STATUS(bert_model_options_init, (bert_model_options *)(void *)&out, sizeof(bert_model_options), BERT_PRESET_COMPACT)
STATUS(bert_load_options_init, (bert_load_options *)(void *)&out, sizeof(bert_load_options))
STATUS(bert_info_init, (bert_info *)(void *)&out, sizeof(bert_info))
STATUS(bert_create, model_options(), train, (bert_model **)&out.pointer)
STATUS(bert_load, "forks-model", NULL, (bert_model **)&out.pointer)
STATUS(bert_load_from_buffer, bytes.bytes, bytes.length, NULL, (bert_model **)&out.pointer)
STATUS(bert_save, model, "forks-child")
STATUS(bert_check_save, "forks-child")
STATUS(bert_save_to_buffer, model, (uint8_t **)(void *)&out.bytes[0], (size_t *)(void *)&out.bytes[8])
STATUS(bert_get_info, model, &info)
STATUS(bert_parameter_name, model, BERT_PARAMETERS_INITIALISED, 0, (const char **)(void *)&out.bytes[0],
       (size_t *)(void *)&out.bytes[8])
STATUS(bert_label_name, model, 0, (const char **)(void *)&out.bytes[0], (size_t *)(void *)&out.bytes[8])
STATUS(bert_label_id, model, "positive", NUL, &out.number)
STATUS(bert_tokenize, model, "text", NUL, NULL, 0, 0, NULL, NULL, 0, &out.size)
STATUS(bert_train_options_init, (bert_train_options *)(void *)&out, sizeof(bert_train_options))
STATUS(bert_step_report_init, (bert_step_report *)(void *)&out, sizeof(bert_step_report))
STATUS(bert_epoch_report_init, (bert_epoch_report *)(void *)&out, sizeof(bert_epoch_report))
STATUS(bert_train_report_init, (bert_train_report *)(void *)&out, sizeof(bert_train_report))
STATUS(bert_evaluation_init, (bert_evaluation *)(void *)&out, sizeof(bert_evaluation))
STATUS(bert_trainer_create, model, train, NULL, NULL, (bert_trainer **)&out.pointer)
STATUS(bert_train_step, trainer, NULL)
STATUS(bert_train_epoch, trainer, NULL)
STATUS(bert_train, trainer, NULL)
STATUS(bert_fit_head_options_init, (bert_fit_head_options *)(void *)&out, sizeof(bert_fit_head_options))
STATUS(bert_fit_head_report_init, (bert_fit_head_report *)(void *)&out, sizeof(bert_fit_head_report))
STATUS(bert_fit_head, model, train, NULL, NULL)
STATUS(bert_set_thresholds, labelled, NULL, 0)
STATUS(bert_get_thresholds, labelled, (double *)(void *)&out, 1)
STATUS(bert_evaluate, model, train, 0, &evaluation)
STATUS(bert_evaluate_options_init, (bert_evaluate_options *)(void *)&out, sizeof(bert_evaluate_options))
STATUS(bert_evaluate_with, model, train, NULL, &evaluation)
STATUS(bert_predict_options_init, (bert_predict_options *)(void *)&out, sizeof(bert_predict_options))
STATUS(bert_prediction_init, (bert_prediction *)(void *)&out, sizeof(bert_prediction))
STATUS(bert_predictions_init, (bert_predictions *)(void *)&out, sizeof(bert_predictions))
STATUS(bert_predict, model, "text", NUL, NULL, 0, NULL, &prediction)
STATUS(bert_predict_batch, model, 1, texts, NULL, NULL, NULL, NULL, &predictions)
STATUS(bert_predict_ids, model, 1, ids, NULL, lengths, NULL, &predictions)
STATUS(bert_embed_options_init, (bert_embed_options *)(void *)&out, sizeof(bert_embed_options))
STATUS(bert_embed, model, 1, texts, NULL, NULL, NULL, NULL, (float *)(void *)&out, 16)

/* Functions that return no status: what they answer in a child. */
static int says_its_version(void)
{
    return strlen(bert_version()) > 0;
}

static int says_its_abi(void)
{
    return bert_abi_version() == BERT_ABI_VERSION;
}

static int says_how_it_was_built(void)
{
    return strlen(bert_build_info()) > 0;
}

static int names_a_status(void)
{
    return strcmp(bert_status_string(BERT_ERR_FORKED), "BERT_ERR_FORKED") == 0;
}

static int tells_the_message(void)
{
    return strstr(bert_last_error_message(), "forked") != NULL;
}

/* Of an object that a thread of the parent's may just have had locked it can't say what it holds. */
static int stores_no_status(void)
{
    return bert_error_status(error) == BERT_ERR_HANDLE;
}

static int stores_no_message(void)
{
    return strcmp(bert_error_message(error), "") == 0;
}

static int stores_no_argument(void)
{
    return strcmp(bert_error_argument(error), "") == 0;
}

static int stores_no_index(void)
{
    return bert_error_index(error) == -1;
}

static int stores_no_line(void)
{
    return bert_error_line(error) == 0;
}

static int stores_no_size(void)
{
    return bert_error_needed_size(error) == 0;
}

static int frees_an_error(void)
{
    bert_error_free(error);
    return 1;
}

static int cancels(void)
{
    bert_trainer_cancel(trainer);
    return 1;
}

static int frees_a_buffer(void)
{
    bert_buffer_free(bytes.bytes, bytes.length);
    return 1;
}

static int frees_a_trainer(void)
{
    bert_trainer_free(trainer);
    return 1;
}

static int frees_a_model(void)
{
    bert_free(model);
    return 1;
}

static int frees_a_dataset(void)
{
    bert_dataset_free(train);
    return 1;
}

typedef struct {
    const char *name;
    bert_status (*status)(void);
    int (*holds)(void);
} function;

#define FORKED(name) {#name, call_##name, NULL}

/* In this order: what frees comes last. */
static const function functions[] = {
    FORKED(bert_error_create),
    FORKED(bert_error_bind),
    FORKED(bert_trainer_close),
    FORKED(bert_set_log_callback),
    FORKED(bert_set_num_threads),
    FORKED(bert_get_num_threads),
    FORKED(bert_read_options_init),
    FORKED(bert_dataset_create),
    FORKED(bert_dataset_add_class),
    FORKED(bert_dataset_add_class_id),
    FORKED(bert_dataset_add_classes),
    FORKED(bert_dataset_add_class_ids),
    FORKED(bert_dataset_add_labels),
    FORKED(bert_dataset_add_label_lists),
    FORKED(bert_dataset_add_target),
    FORKED(bert_dataset_add_targets),
    FORKED(bert_lora_options_init),
    FORKED(bert_add_lora),
    FORKED(bert_merge_lora),
    FORKED(bert_quantize),
    FORKED(bert_copy_to_device),
    FORKED(bert_save_adapter),
    FORKED(bert_load_adapter),
    FORKED(bert_resume_report_init),
    FORKED(bert_trainer_save),
    FORKED(bert_trainer_resume),
    FORKED(bert_dataset_read),
    FORKED(bert_dataset_toy),
    FORKED(bert_dataset_split),
    FORKED(bert_dataset_count),
    FORKED(bert_dataset_description_init),
    FORKED(bert_dataset_describe),
    FORKED(bert_dataset_label_name),
    FORKED(bert_model_options_init),
    FORKED(bert_load_options_init),
    FORKED(bert_info_init),
    FORKED(bert_create),
    FORKED(bert_load),
    FORKED(bert_load_from_buffer),
    FORKED(bert_save),
    FORKED(bert_check_save),
    FORKED(bert_save_to_buffer),
    FORKED(bert_get_info),
    FORKED(bert_parameter_name),
    FORKED(bert_label_name),
    FORKED(bert_label_id),
    FORKED(bert_tokenize),
    FORKED(bert_train_options_init),
    FORKED(bert_step_report_init),
    FORKED(bert_epoch_report_init),
    FORKED(bert_train_report_init),
    FORKED(bert_evaluation_init),
    FORKED(bert_trainer_create),
    FORKED(bert_train_step),
    FORKED(bert_train_epoch),
    FORKED(bert_train),
    FORKED(bert_fit_head_options_init),
    FORKED(bert_fit_head_report_init),
    FORKED(bert_fit_head),
    FORKED(bert_set_thresholds),
    FORKED(bert_get_thresholds),
    FORKED(bert_evaluate),
    FORKED(bert_evaluate_options_init),
    FORKED(bert_evaluate_with),
    FORKED(bert_predict_options_init),
    FORKED(bert_prediction_init),
    FORKED(bert_predictions_init),
    FORKED(bert_predict),
    FORKED(bert_predict_batch),
    FORKED(bert_predict_ids),
    FORKED(bert_embed_options_init),
    FORKED(bert_embed),
    {"bert_version", NULL, says_its_version},
    {"bert_abi_version", NULL, says_its_abi},
    {"bert_build_info", NULL, says_how_it_was_built},
    {"bert_status_string", NULL, names_a_status},
    {"bert_last_error_message", NULL, tells_the_message},
    {"bert_error_status", NULL, stores_no_status},
    {"bert_error_message", NULL, stores_no_message},
    {"bert_error_argument", NULL, stores_no_argument},
    {"bert_error_index", NULL, stores_no_index},
    {"bert_error_line", NULL, stores_no_line},
    {"bert_error_needed_size", NULL, stores_no_size},
    {"bert_trainer_cancel", NULL, cancels},
    {"bert_error_free", NULL, frees_an_error},
    {"bert_buffer_free", NULL, frees_a_buffer},
    {"bert_trainer_free", NULL, frees_a_trainer},
    {"bert_free", NULL, frees_a_model},
    {"bert_dataset_free", NULL, frees_a_dataset},
};

static void is_in_the_table(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        if (strcmp(functions[i].name, name) == 0) {
            return;
        }
    }
    fprintf(stderr, "%s is not in the table\n", name);
    exit(1);
}

/* A function that the header declares and the table lacks is a failure. */
static void the_table_has_every_function(void)
{
    CHECK_EQUAL(each_function(is_in_the_table), COUNT_OF(functions));
}

/* ---- Children -------------------------------------------------------------------------------------------------------- */

/* Waits for a child that must have ended by itself, with 0. */
static void check_child(pid_t child)
{
    int status = -1;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) {
        fprintf(stderr, "the child ended with signal %d\n", WTERMSIG(status));
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* A child that waits for ever is ended, which the parent sees. */
static pid_t fork_with_time_limit(void)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
    }
    return child;
}

/* Calls every function in a child that may not use the library. */
static void all_are_refused(void)
{
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        if (functions[i].status == NULL) {
            if (!functions[i].holds()) {
                fprintf(stderr, "%s gives something else in a child\n", functions[i].name);
                exit(1);
            }
            continue;
        }
        bert_status status = functions[i].status();
        if (status != BERT_ERR_FORKED) {
            fprintf(stderr, "%s gives %s in a child\n", functions[i].name, bert_status_string(status));
            exit(1);
        }
        CHECK_MESSAGE("forked");
        CHECK(memcmp(&out, &untouched, sizeof(out)) == 0);
    }
}

/* The child of a callback is refused too. */
static int32_t forks_inside(const bert_progress *progress, void *user_data)
{
    (void)user_data;
    if (progress->step == 2) {
        pid_t child = fork_with_time_limit();
        if (child == 0) {
            all_are_refused();
            /* The call that this is a callback of can't go on here, and says so. */
            return 0;
        }
        check_child(child);
    }
    return 0;
}

static void every_function_is_refused_in_a_child(void)
{
    /* With one there would be no threads. */
    CHECK_OK(bert_set_num_threads(THREADS));
    train = toy(BERT_TOY_TRAIN);
    model = create(model_options(), train);
    CHECK_OK(bert_add_lora(model, NULL, &adapted));
    CHECK_OK(bert_copy_to_device(model, "cpu", &on_cpu));
    CHECK_OK(bert_dataset_create(&lists));
    CHECK_OK(bert_dataset_create(&numbers));
    CHECK_OK(bert_dataset_add_labels(lists, "text", NUL, NULL, 0, names, NULL, 1));
    labelled = create(model_options(), lists);
    trainer = trainer_of(model, train, NULL, NULL);
    write_text("forks.tsv", "text\tlabel\ngood\tx\nbad\ty\n");
    CHECK_OK(bert_train_step(trainer, NULL));
    CHECK_OK(bert_save(model, "forks-model"));
    CHECK_OK(bert_predictions_init(&predictions, sizeof(predictions)));
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_dataset_description_init(&description, sizeof(description)));
    CHECK_OK(bert_info_init(&info, sizeof(info)));
    bytes = save(model);
    /* An error of before the fork. */
    CHECK_OK(bert_error_create(&error));
    CHECK_OK(bert_error_bind(error));
    CHECK_STATUS(bert_set_num_threads(-1), BERT_ERR_INVALID_ARGUMENT);
    memset(&out, 0x5a, sizeof(out));
    untouched = out;
    pid_t child = fork_with_time_limit();
    if (child == 0) {
        all_are_refused();
        /* A grandchild is no better off. */
        pid_t grandchild = fork();
        if (grandchild == 0) {
            all_are_refused();
            exit(0);
        }
        check_child(grandchild);
        exit(0);
    }
    check_child(child);
    /* The parent has noticed nothing. */
    CHECK_STATUS(bert_error_status(error), BERT_ERR_INVALID_ARGUMENT);
    CHECK_OK(bert_train_step(trainer, NULL));
    for (size_t i = 0; i < COUNT_OF(functions); i++) {
        int trains = strncmp(functions[i].name, "bert_train", 10) == 0;
        int adds = strncmp(functions[i].name, "bert_dataset_add", 16) == 0;
        int gives = strstr(functions[i].name, "_init") == NULL && memcmp(&out, &untouched, sizeof(out)) != 0;
        if (functions[i].status != NULL && !trains && !adds && !gives) {
            /* With the same arguments: nothing but the fork was wrong. */
            CHECK_STATUS(functions[i].status(), BERT_OK);
        }
        out = untouched;
    }
}

/* Also where it lacks no threads: others may have been inside, and what they had locked stays locked. */
static void a_fork_inside_a_callback_is_told(int32_t threads)
{
    CHECK_OK(bert_set_num_threads(threads));
    bert_model *other = create(model_options(), train);
    bert_train_options options = train_options();
    options.epochs = 2;
    options.batch_size = 4;
    options.progress = forks_inside;
    bert_trainer *inner = trainer_of(other, train, NULL, &options);
    pid_t parent = getpid();
    bert_status status = bert_train(inner, NULL);
    if (getpid() != parent) {
        exit(status == BERT_ERR_FORKED ? 0 : 1);
    }
    CHECK_OK(status);
    bert_trainer_free(inner);
    bert_free(other);
}

/* exec starts afresh. */
static void a_program_that_a_child_starts_works(const char *program)
{
    pid_t child = fork_with_time_limit();
    if (child == 0) {
        execl(program, program, "anew", (char *)NULL);
        exit(1);
    }
    check_child(child);
    child = vfork();
    if (child == 0) {
        execl(program, program, "anew", (char *)NULL);
        _exit(1);
    }
    check_child(child);
}

static void works_anew(void)
{
    bert_model *loaded = load_model("forks-model");
    float logits[8];
    logits_of(loaded, "a great film", logits);
    bert_free(loaded);
}

/* ---- Forks while other threads are inside ----------------------------------------------------------------------------- */

static volatile sig_atomic_t stop;

/* Calls that need no threads of the library's and go through its locks. */
static void *makes_and_frees_datasets(void *argument)
{
    (void)argument;
    while (!stop) {
        bert_dataset *dataset = NULL;
        CHECK_OK(bert_dataset_create(&dataset));
        CHECK_OK(bert_dataset_add_class(dataset, "text", NUL, NULL, 0, "a", NUL));
        CHECK_OK(bert_set_log_callback(NULL, NULL));
        CHECK_EQUAL(count_of(dataset), 1);
        bert_dataset_free(dataset);
    }
    return NULL;
}

static void *predicts(void *argument)
{
    while (!stop) {
        float logits[8];
        logits_of(argument, "a great film", logits);
    }
    return NULL;
}

/* In the child each call answers at once: with BERT_ERR_FORKED where a thread was inside at the fork, and as ever where
 * none was and none of ours had started. */
static int forks_during(void *(*work)(void *), void *argument, int may_work)
{
    pthread_t threads[THREADS];
    bert_dataset *shared = toy(BERT_TOY_TRAIN);
    int refused = 0;
    stop = 0;
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, argument) == 0);
    }
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork_with_time_limit();
        if (child == 0) {
            size_t count = 0;
            bert_status status = bert_dataset_count(shared, &count);
            bert_dataset *fresh = NULL;
            CHECK_STATUS(bert_dataset_create(&fresh), status);
            bert_dataset_free(fresh);
            bert_dataset_free(shared);
            CHECK(status == BERT_ERR_FORKED || (may_work && status == BERT_OK && count > 0));
            int code = status == BERT_OK ? 0 : 7;
            if (i % 10 == 0) {
                /* Functions of the library's own that run at exit don't wait for the parent's threads. */
                exit(code);
            }
            _exit(code);
        }
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child);
        if (WIFSIGNALED(status)) {
            fprintf(stderr, "child %d ended with signal %d\n", i, WTERMSIG(status));
        }
        CHECK(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 7));
        refused += WEXITSTATUS(status) == 7;
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    bert_dataset_free(shared);
    return refused;
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        works_anew();
        return 0;
    }
    the_table_has_every_function();
    /* Before the library has threads. */
    CHECK(forks_during(makes_and_frees_datasets, NULL, 1) > 0);
    every_function_is_refused_in_a_child();
    a_fork_inside_a_callback_is_told(1);
    a_fork_inside_a_callback_is_told(THREADS);
    a_program_that_a_child_starts_works(argv[0]);
    CHECK_EQUAL(forks_during(predicts, model, 0), FORKS);
    release(bytes);
    bert_error_free(error);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(train);
    return 0;
}
