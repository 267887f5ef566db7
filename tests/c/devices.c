/* Devices by name, at creation and when loading. */

#include "check.h"

static bert_status made_on(const char *device, bert_model **model)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    options.device = device;
    bert_status status = bert_create(&options, train, model);
    bert_dataset_free(train);
    return status;
}

int main(void)
{
    int has_cuda = strstr(bert_build_info(), "cuda") != NULL;
    bert_model *model = NULL;
    CHECK_OK(made_on("cpu", &model));
    bert_info info;
    CHECK_OK(bert_info_init(&info, sizeof(info)));
    CHECK_OK(bert_get_info(model, &info));
    CHECK_TEXT(info.device, "cpu");
    saved bytes = save(model);

    bert_model *automatic = NULL;
    CHECK_OK(made_on("auto", &automatic));
    CHECK_OK(bert_get_info(automatic, &info));
    CHECK(strcmp(info.device, "cpu") == 0 || (has_cuda && strcmp(info.device, "cuda:0") == 0));
    bert_free(automatic);

    bert_load_options options;
    CHECK_OK(bert_load_options_init(&options, sizeof(options)));
    CHECK(options.device == NULL);
    bert_model *none = NULL;
    static const char *const nonsense[] = {"gpu", "", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:99999999999999999999"};
    for (size_t i = 0; i < COUNT_OF(nonsense); i++) {
        CHECK_STATUS(made_on(nonsense[i], &none), BERT_ERR_DEVICE);
        CHECK_MESSAGE(nonsense[i]);
        CHECK_MESSAGE("auto");
        options.device = nonsense[i];
        CHECK_STATUS(bert_load_from_buffer(bytes.bytes, bytes.length, &options, &none), BERT_ERR_DEVICE);
    }
    static const char *const cuda[] = {"cuda", "cuda:0", "cuda:1"};
    for (size_t i = 0; i < COUNT_OF(cuda) && !has_cuda; i++) {
        CHECK_STATUS(made_on(cuda[i], &none), BERT_ERR_DEVICE);
        CHECK_MESSAGE("--features cuda");
        options.device = cuda[i];
        CHECK_STATUS(bert_load_from_buffer(bytes.bytes, bytes.length, &options, &none), BERT_ERR_DEVICE);
        CHECK_STATUS(bert_load("absent", &options, &none), BERT_ERR_DEVICE);
    }
    if (has_cuda) {
        CHECK_STATUS(made_on("cuda:4095", &none), BERT_ERR_DEVICE);
        CHECK_MESSAGE("cuda:4095");
    }
    CHECK(none == NULL);
    options.device = "auto";
    CHECK_OK(bert_load_from_buffer(bytes.bytes, bytes.length, &options, &none));
    bert_free(none);
    release(bytes);
    bert_free(model);
    return 0;
}
