/* A model is loaded with another pooling than its own: the classifier, and a pooler that wasn't there, are new. */

#include "check.h"

static bert_model *load_with(const char *path, int32_t pooling)
{
    bert_model *model = NULL;
    bert_load_options options = load_options();
    CHECK_EQUAL(options.pooling, BERT_POOLING_AUTO);
    options.pooling = pooling;
    CHECK_OK(bert_load(path, &options, &model));
    return model;
}

static int has_name(const bert_model *model, int32_t origin, const char *expected)
{
    size_t count = 0;
    const char *name = NULL;
    CHECK_OK(bert_parameter_name(model, origin, 0, NULL, &count));
    for (size_t i = 0; i < count; i++) {
        CHECK_OK(bert_parameter_name(model, origin, i, &name, &count));
        if (strcmp(name, expected) == 0) {
            return 1;
        }
    }
    return 0;
}

int main(void)
{
    enum { HIDDEN = 16 };
    const char *text = "a great film";
    float vectors[2][HIDDEN];
    bert_dataset *dataset = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    options.pooling = BERT_POOLING_POOLER;
    options.final_layer_norm = 0;
    bert_model *model = create(&options, dataset);
    CHECK_OK(bert_fit_head(model, dataset, NULL, NULL));
    CHECK_OK(bert_save(model, "pooler"));
    CHECK_OK(bert_embed(model, 1, &text, NULL, NULL, NULL, NULL, vectors[0], HIDDEN));

    /* The saved model's own, named or not: the classifier is kept. */
    bert_model *same = load_with("pooler", BERT_POOLING_AUTO);
    CHECK(are_equal(model, same));
    bert_free(same);
    same = load_with("pooler", BERT_POOLING_POOLER);
    CHECK(are_equal(model, same));
    CHECK_EQUAL(initialised(same), 0);
    bert_free(same);

    bert_model *mean = load_with("pooler", BERT_POOLING_MEAN);
    CHECK_EQUAL(info_of(mean).pooling, BERT_POOLING_MEAN);
    CHECK_EQUAL(initialised(mean), 2);
    CHECK(has_name(mean, BERT_PARAMETERS_INITIALISED, "classifier.weight"));
    CHECK(has_name(mean, BERT_PARAMETERS_IGNORED, "bert.pooler.dense.weight"));
    CHECK_OK(bert_embed(mean, 1, &text, NULL, NULL, NULL, NULL, vectors[1], HIDDEN));
    CHECK(memcmp(vectors[0], vectors[1], sizeof(vectors[0])) == 0);
    CHECK_OK(bert_fit_head(mean, dataset, NULL, NULL));
    CHECK_OK(bert_save(mean, "mean"));
    same = load_with("mean", BERT_POOLING_AUTO);
    CHECK_EQUAL(info_of(same).pooling, BERT_POOLING_MEAN);
    CHECK(are_equal(mean, same));
    bert_free(same);

    /* Back again: its pooler is gone. */
    bert_model *back = load_with("mean", BERT_POOLING_POOLER);
    CHECK_EQUAL(info_of(back).pooling, BERT_POOLING_POOLER);
    CHECK_EQUAL(initialised(back), 4);
    CHECK(has_name(back, BERT_PARAMETERS_INITIALISED, "bert.pooler.dense.bias"));
    bert_free(back);

    if (is_on_cpu(mean)) {
        bert_model *int8 = NULL, *none = NULL;
        CHECK_OK(bert_quantize(mean, &int8));
        CHECK_OK(bert_save(int8, "int8"));
        bert_load_options loading = load_options();
        loading.pooling = BERT_POOLING_CLS;
        CHECK_STATUS(bert_load("int8", &loading, &none), BERT_ERR_UNSUPPORTED);
        CHECK_MESSAGE("pooling");
        loading.pooling = 3;
        CHECK_STATUS(bert_load("mean", &loading, &none), BERT_ERR_INVALID_ARGUMENT);
        CHECK_MESSAGE("pooling is 3");
        bert_free(int8);
    }
    bert_free(mean);
    bert_free(model);
    bert_dataset_free(dataset);
    return 0;
}
