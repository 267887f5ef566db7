/* Where the operating system refuses the processor's matrix instructions, the next ones give the same answers and the
 * log says why. */

#define _XOPEN_SOURCE 700

#include "check.h"

#include <pthread.h>
#include <signal.h>

static const char *text = "a great film";

static int refusals;
static pthread_t caller;

static void count(int32_t level, const char *message, void *user_data)
{
    (void)user_data;
    if (strstr(message, "refuses AMX") != NULL) {
        CHECK_EQUAL(level, BERT_LOG_WARNING);
        CHECK(pthread_equal(pthread_self(), caller));
        refusals++;
    }
}

/* Whether the library would use the processor's tiles. */
static int would_use_tiles(void)
{
    const char *level = getenv("BERT_INSTRUCTIONS");
    if (level != NULL && *level != 0 && strcmp(level, "amx") != 0) {
        return 0;
    }
    static char line[1 << 14];
    int has = 0;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        has |= strstr(line, " amx_tile") != NULL && strstr(line, " amx_int8") != NULL && strstr(line,
            " amx_bf16") != NULL;
    }
    CHECK(file == NULL || fclose(file) == 0);
    return has;
}

int main(void)
{
    /* Room for a signal's frame without tiles' 8 KiB. */
    static char small[6144];
    stack_t stack = {.ss_sp = small, .ss_size = sizeof(small), .ss_flags = 0};
    CHECK(sigaltstack(&stack, NULL) == 0);
    caller = pthread_self();
    CHECK_OK(bert_set_log_callback(count, NULL));
    bert_model *model = small_model(), *int8 = NULL;
    float float32[8] = {0}, bfloat16[8] = {0}, logits[8] = {0};
    logits_of(model, text, float32);
    CHECK_EQUAL(refusals, 0);
    bert_predict_options options;
    bert_predictions out;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    options.precision = BERT_PRECISION_BFLOAT16;
    out.logits = bfloat16;
    out.logits_capacity = COUNT_OF(bfloat16);
    CHECK_OK(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, &options, &out));
    int is_refused = is_on_cpu(model) && would_use_tiles();
    CHECK_EQUAL(refusals, is_refused);
    for (int i = 0; i < 2; i++) {
        CHECK_NEAR(bfloat16[i], float32[i], 0.02);
    }
    CHECK_STATUS(bert_quantize(model, &int8), is_on_cpu(model) ? BERT_OK : BERT_ERR_UNSUPPORTED);
    if (int8 != NULL) {
        logits_of(int8, text, logits);
        for (int i = 0; i < 2; i++) {
            CHECK_NEAR(logits[i], float32[i], 0.05);
        }
    }
    /* It is told once. */
    CHECK_EQUAL(refusals, is_refused);
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    bert_free(int8);
    bert_free(model);
    return 0;
}
