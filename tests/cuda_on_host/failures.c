/* What is said where a GPU can't be used, or has too little memory: run with a setting of the emulated card.
 *
 *     failures memory|TEXT       TEXT: what the sentence must hold that says why no GPU can be used */

#include "../c/check.h"

static int lines;

static void count(int32_t level, const char *text, void *user)
{
    (void)level;
    (void)user;
    lines += strstr(text, "No GPU is used") != NULL;
}

static bert_status made_on(const char *device, int32_t hidden_size, bert_model **model)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    options.device = device;
    options.hidden_size = hidden_size;
    options.num_attention_heads = hidden_size / 8;
    bert_status status = bert_create(&options, train, model);
    bert_dataset_free(train);
    return status;
}

/* There is none that works: cuda says so, auto says so to the log and takes the CPU. */
static void cannot_be_used(const char *why)
{
    bert_model *model = NULL;
    CHECK_STATUS(made_on("cuda", 16, &model), BERT_ERR_DEVICE);
    CHECK_MESSAGE(why);
    CHECK_STATUS(made_on("cuda:1", 16, &model), BERT_ERR_DEVICE);
    CHECK_OK(bert_set_log_callback(count, NULL));
    CHECK_OK(made_on("auto", 16, &model));
    CHECK(lines == 1);
    CHECK_TEXT(info_of(model).device, "cpu");
    bert_free(model);
}

/* A model that is too large is refused with the sizes, and a smaller one works, before and after. */
static void too_little_memory(void)
{
    bert_model *model = NULL, *large = NULL;
    float before[8], after[8];
    CHECK_OK(made_on("cuda", 16, &model));
    CHECK_TEXT(info_of(model).device, "cuda:0");
    logits_of(model, "a wonderful film", before);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(made_on("cuda", 1024, &large), BERT_ERR_OUT_OF_MEMORY);
        CHECK_MESSAGE("bytes");
        CHECK_MESSAGE("4000000");
        logits_of(model, "a wonderful film", after);
        CHECK(memcmp(before, after, 2 * sizeof(float)) == 0);
    }
    bert_free(model);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    if (strcmp(argv[1], "memory") == 0) {
        too_little_memory();
    } else {
        cannot_be_used(argv[1]);
    }
    return 0;
}
