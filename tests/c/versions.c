/* What belongs to no handle: versions, status names, messages, the log, the number of threads. */

#include <pthread.h>

#include "check.h"

static void versions_agree(void)
{
    char expected[64];
    snprintf(expected, sizeof(expected), "%d.%d.%d", BERT_VERSION_MAJOR, BERT_VERSION_MINOR,
             BERT_VERSION_PATCH);
    CHECK_TEXT(bert_version(), expected);
    CHECK_EQUAL(bert_abi_version(), BERT_ABI_VERSION);
    CHECK(strstr(bert_build_info(), expected) != NULL);
    CHECK(strncmp(bert_build_info(), "libbert ", 8) == 0);
    CHECK(strstr(bert_build_info(), "cpu") != NULL);
    /* They live for ever: the same text each time. */
    CHECK(bert_version() == bert_version());
    CHECK(bert_build_info() == bert_build_info());
}

static void statuses_have_names(void)
{
    static const struct {
        bert_status status;
        int number;
        const char *name;
    } all[] = {
        {BERT_OK, 0, "BERT_OK"},
        {BERT_ERR_INVALID_ARGUMENT, 1, "BERT_ERR_INVALID_ARGUMENT"},
        {BERT_ERR_HANDLE, 2, "BERT_ERR_HANDLE"},
        {BERT_ERR_STRUCT_SIZE, 3, "BERT_ERR_STRUCT_SIZE"},
        {BERT_ERR_BUFFER_TOO_SMALL, 4, "BERT_ERR_BUFFER_TOO_SMALL"},
        {BERT_ERR_UTF8, 5, "BERT_ERR_UTF8"},
        {BERT_ERR_IO, 6, "BERT_ERR_IO"},
        {BERT_ERR_FORMAT, 7, "BERT_ERR_FORMAT"},
        {BERT_ERR_VERSION, 8, "BERT_ERR_VERSION"},
        {BERT_ERR_DATA, 9, "BERT_ERR_DATA"},
        {BERT_ERR_UNKNOWN_LABEL, 10, "BERT_ERR_UNKNOWN_LABEL"},
        {BERT_ERR_UNSUPPORTED, 11, "BERT_ERR_UNSUPPORTED"},
        {BERT_ERR_DEVICE, 12, "BERT_ERR_DEVICE"},
        {BERT_ERR_OUT_OF_MEMORY, 13, "BERT_ERR_OUT_OF_MEMORY"},
        {BERT_ERR_NOT_FINITE, 14, "BERT_ERR_NOT_FINITE"},
        {BERT_ERR_CANCELLED, 15, "BERT_ERR_CANCELLED"},
        {BERT_ERR_FINISHED, 16, "BERT_ERR_FINISHED"},
        {BERT_ERR_BUSY, 17, "BERT_ERR_BUSY"},
        {BERT_ERR_POISONED, 18, "BERT_ERR_POISONED"},
        {BERT_ERR_FORKED, 19, "BERT_ERR_FORKED"},
        {BERT_ERR_INTERNAL, 20, "BERT_ERR_INTERNAL"},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        /* Numbers are never reused, so they are part of what is tested. */
        CHECK_EQUAL(all[i].status, all[i].number);
        CHECK_TEXT(bert_status_string(all[i].status), all[i].name);
    }
    CHECK_TEXT(bert_status_string(21), "unknown status");
    CHECK_TEXT(bert_status_string(-1), "unknown status");
    CHECK_TEXT(bert_status_string(INT32_MIN), "unknown status");
}

static void *fails_in_its_own_way(void *unused)
{
    (void)unused;
    /* A thread begins without a message, whatever other threads met. */
    CHECK_TEXT(bert_last_error_message(), "");
    CHECK_STATUS(bert_set_num_threads(-7), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("-7");
    return NULL;
}

static void each_thread_has_its_message(void)
{
    CHECK_TEXT(bert_last_error_message(), "");
    /* Handles are looked at first. */
    CHECK_STATUS(bert_dataset_count(NULL, NULL), BERT_ERR_HANDLE);
    CHECK_MESSAGE("dataset");
    const char *message = bert_last_error_message();
    size_t length = strlen(message);
    CHECK(length > 10 && message[length - 1] == '.');

    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fails_in_its_own_way, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    /* The other thread's failure and a success of this one leave the message where it is. */
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    CHECK(bert_last_error_message() == message);
    CHECK_MESSAGE("dataset");
    bert_dataset_free(dataset);
}

typedef struct {
    int lines;
    int32_t level;
    char text[512];
} log_lines;

static void note(int32_t level, const char *message, void *user_data)
{
    log_lines *lines = user_data;
    lines->lines++;
    lines->level = level;
    snprintf(lines->text, sizeof(lines->text), "%s", message);
    /* Calling the library from the callback is nothing special. */
    CHECK_TEXT(bert_status_string(BERT_OK), "BERT_OK");
    CHECK_OK(bert_set_log_callback(note, user_data));
}

/* A trainer whose texts are longer than its maximum length says so in the log. */
static void truncates(bert_model *model)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_train_options options = train_options();
    options.max_length = 5;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    bert_trainer_free(trainer);
    bert_dataset_free(train);
}

static void the_log_goes_to_the_callback(void)
{
    bert_model *model = small_model();
    log_lines lines = {0, -1, ""};
    truncates(model);
    CHECK_EQUAL(lines.lines, 0);
    CHECK_OK(bert_set_log_callback(note, &lines));
    truncates(model);
    /* What the library chose, and then the texts. */
    CHECK_EQUAL(lines.lines, 2);
    CHECK_EQUAL(lines.level, BERT_LOG_WARNING);
    CHECK(strstr(lines.text, "16 of 16") != NULL);
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    truncates(model);
    CHECK_EQUAL(lines.lines, 2);
    bert_free(model);
}

static void the_number_of_threads_is_set(void)
{
    int32_t threads = -1;
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK(threads >= 1);
    int32_t by_default = threads;
    CHECK_OK(bert_set_num_threads(3));
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, 3);
    CHECK_STATUS(bert_set_num_threads(-1), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_set_num_threads(1025), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("1024");
    CHECK_STATUS(bert_set_num_threads(INT32_MAX), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_set_num_threads(INT32_MIN), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_get_num_threads(NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, 3);
    CHECK_OK(bert_set_num_threads(0));
    CHECK_OK(bert_get_num_threads(&threads));
    CHECK_EQUAL(threads, by_default);
}

int main(void)
{
    versions_agree();
    statuses_have_names();
    each_thread_has_its_message();
    the_log_goes_to_the_callback();
    the_number_of_threads_is_set();
    return 0;
}
