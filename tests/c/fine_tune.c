/* What fine-tuning adds to training: frozen parts, rates apart, class weights, label smoothing; and vectors of texts. */

#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HIDDEN = 128 };

static const char *const texts[] = {"a wonderful film", "terrible food", ""};

static void embed(const bert_model *model, int32_t pooling, float *vectors)
{
    bert_embed_options options;
    CHECK_OK(bert_embed_options_init(&options, sizeof(options)));
    options.pooling = pooling;
    CHECK_OK(bert_embed(model, 3, texts, NULL, NULL, NULL, &options, vectors, 3 * HIDDEN));
}

static double probability(const bert_model *model)
{
    bert_prediction prediction;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_OK(bert_predict(model, texts[0], BERT_NUL_TERMINATED, NULL, 0, NULL, &prediction));
    return prediction.probability;
}

static bert_model *new_model(const bert_dataset *data)
{
    bert_model_options options;
    CHECK_OK(bert_model_options_init(&options, sizeof(options), BERT_PRESET_TINY));
    bert_model *model = NULL;
    CHECK_OK(bert_create(&options, data, &model));
    return model;
}

static bert_train_options short_plan(void)
{
    bert_train_options options;
    CHECK_OK(bert_train_options_init(&options, sizeof(options)));
    options.epochs = 3;
    options.warmup_ratio = 0;
    return options;
}

static void train(bert_model *model, const bert_dataset *data, const bert_train_options *options,
                  bert_train_report *report)
{
    bert_trainer *trainer = NULL;
    CHECK_OK(bert_trainer_create(model, data, NULL, options, &trainer));
    CHECK_OK(bert_train_report_init(report, sizeof(*report)));
    CHECK_OK(bert_train(trainer, report));
    bert_trainer_free(trainer);
}

/* With all layers frozen the states stay as they are, to the bit, and the classifier learns. */
static void frozen_layers_stay(const bert_dataset *data)
{
    bert_model *model = new_model(data);
    float before[3 * HIDDEN], after[3 * HIDDEN], pooled_before[3 * HIDDEN], pooled_after[3 * HIDDEN];
    bert_train_options options = short_plan();
    bert_train_report report;
    /* A pooler that was never trained gives no vectors. */
    train(model, data, &options, &report);
    embed(model, BERT_POOLING_CLS, before);
    embed(model, BERT_POOLING_POOLER, pooled_before);
    double first = probability(model);
    options.freeze_layers = -1;
    train(model, data, &options, &report);
    embed(model, BERT_POOLING_CLS, after);
    embed(model, BERT_POOLING_POOLER, pooled_after);
    CHECK(memcmp(before, after, sizeof(before)) == 0);
    CHECK(memcmp(pooled_before, pooled_after, sizeof(before)) != 0);
    CHECK(probability(model) != first);
    /* With the embeddings alone frozen the states change. */
    options.freeze_layers = 0;
    options.freeze_embeddings = 1;
    train(model, data, &options, &report);
    embed(model, BERT_POOLING_CLS, after);
    CHECK(memcmp(before, after, sizeof(before)) != 0);
    bert_free(model);
}

/* A rate of (nearly) nothing below the head, and one for the head. */
static void the_head_has_its_own_rate(const bert_dataset *data)
{
    bert_model *model = new_model(data);
    float before[3 * HIDDEN], after[3 * HIDDEN];
    embed(model, BERT_POOLING_CLS, before);
    double first = probability(model);
    bert_train_options options = short_plan();
    options.learning_rate = 1e-12;
    options.head_learning_rate = 1e-2;
    bert_train_report report;
    train(model, data, &options, &report);
    embed(model, BERT_POOLING_CLS, after);
    for (int i = 0; i < 3 * HIDDEN; i++) {
        CHECK(fabsf(before[i] - after[i]) < 1e-5f);
    }
    CHECK(fabs(probability(model) - first) > 0.01);
    bert_free(model);
}

/* A class that weighs much more than the other draws the predictions to itself. */
static void class_weights_count(const bert_dataset *data)
{
    double probabilities[2];
    for (int heavy = 0; heavy < 2; heavy++) {
        bert_model *model = new_model(data);
        const double weights[2] = {heavy == 0 ? 100 : 1, heavy == 1 ? 100 : 1};
        bert_train_options options = short_plan();
        options.class_weights = weights;
        options.num_class_weights = 2;
        bert_train_report report;
        train(model, data, &options, &report);
        int32_t ids[1];
        float both[2];
        bert_predictions predictions;
        CHECK_OK(bert_predictions_init(&predictions, sizeof(predictions)));
        predictions.label_ids = ids;
        predictions.label_ids_capacity = 1;
        predictions.probabilities = both;
        predictions.probabilities_capacity = 2;
        CHECK_OK(bert_predict_batch(model, 1, texts, NULL, NULL, NULL, NULL, &predictions));
        CHECK(ids[0] == heavy);
        probabilities[heavy] = both[heavy];
        bert_free(model);
    }
    CHECK(probabilities[0] > 0.6 && probabilities[1] > 0.6);
}

/* Half of each target spread evenly over two classes: the loss can't fall below the entropy of (0.75, 0.25). */
static void smoothed_labels_bound_the_loss(const bert_dataset *data)
{
    bert_model *model = new_model(data);
    bert_train_options options = short_plan();
    options.epochs = 40;
    options.label_smoothing = 0.5;
    bert_train_report report;
    train(model, data, &options, &report);
    double entropy = -0.75 * log(0.75) - 0.25 * log(0.25);
    CHECK(report.loss >= entropy && report.loss < entropy + 0.1);
    bert_free(model);
}

static void vectors(const bert_dataset *data)
{
    bert_model *model = new_model(data);
    float plain[3 * HIDDEN], unit[3 * HIDDEN];
    embed(model, BERT_POOLING_MEAN, plain);
    bert_embed_options options;
    CHECK_OK(bert_embed_options_init(&options, sizeof(options)));
    options.normalise = 1;
    CHECK_OK(bert_embed(model, 3, texts, NULL, NULL, NULL, &options, unit, 3 * HIDDEN));
    for (int text = 0; text < 3; text++) {
        double length = 0, ones = 0;
        for (int i = 0; i < HIDDEN; i++) {
            length += (double)plain[text * HIDDEN + i] * plain[text * HIDDEN + i];
            ones += (double)unit[text * HIDDEN + i] * unit[text * HIDDEN + i];
        }
        CHECK(fabs(ones - 1) < 1e-5);
        for (int i = 0; i < HIDDEN; i++) {
            CHECK(fabs(unit[text * HIDDEN + i] - plain[text * HIDDEN + i] / sqrt(length)) < 1e-6);
        }
    }
    CHECK_STATUS(bert_embed(model, 3, texts, NULL, NULL, NULL, NULL, unit, 3 * HIDDEN - 1), BERT_ERR_BUFFER_TOO_SMALL);
    CHECK_STATUS(bert_embed(model, 3, texts, NULL, NULL, NULL, NULL, NULL, 0), BERT_ERR_INVALID_ARGUMENT);
    CHECK_OK(bert_embed(model, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0));
    CHECK_STATUS(bert_embed(NULL, 3, texts, NULL, NULL, NULL, NULL, unit, 3 * HIDDEN), BERT_ERR_HANDLE);
    const char *const not_utf8[] = {"\xff"};
    CHECK_STATUS(bert_embed(model, 1, not_utf8, NULL, NULL, NULL, NULL, unit, HIDDEN), BERT_ERR_UTF8);
    bert_free(model);
    bert_model *compact = NULL;
    CHECK_OK(bert_create(NULL, data, &compact));
    options.pooling = BERT_POOLING_POOLER;
    CHECK_STATUS(bert_embed(compact, 1, texts, NULL, NULL, NULL, &options, unit, HIDDEN), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("pooler");
    bert_free(compact);
}

static void wrong_options_are_refused(const bert_dataset *data)
{
    bert_model *model = new_model(data);
    bert_trainer *trainer = NULL;
    const double weights[3] = {1, -1, 1};
    bert_train_options options = short_plan();
    options.freeze_layers = 3;
    CHECK_STATUS(bert_trainer_create(model, data, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("freeze_layers is 3");
    options.freeze_layers = -2;
    CHECK_STATUS(bert_trainer_create(model, data, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    options = short_plan();
    options.class_weights = weights;
    options.num_class_weights = 3;
    CHECK_STATUS(bert_trainer_create(model, data, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("3 class_weights");
    options.num_class_weights = 2;
    CHECK_STATUS(bert_trainer_create(model, data, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("class weight is -1");
    options.class_weights = NULL;
    CHECK_STATUS(bert_trainer_create(model, data, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    options = short_plan();
    options.label_smoothing = NAN;
    CHECK_STATUS(bert_trainer_create(model, data, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("label_smoothing");
    options = short_plan();
    options.layer_learning_rate_decay = 1.5;
    CHECK_STATUS(bert_trainer_create(model, data, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    options = short_plan();
    options.head_learning_rate = -1;
    CHECK_STATUS(bert_trainer_create(model, data, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    CHECK(trainer == NULL);
    bert_free(model);
}

int main(void)
{
    bert_dataset *data = NULL;
    CHECK_OK(bert_dataset_toy(BERT_TOY_TRAIN, &data));
    frozen_layers_stay(data);
    the_head_has_its_own_rate(data);
    class_weights_count(data);
    smoothed_labels_bound_the_loss(data);
    vectors(data);
    wrong_options_are_refused(data);
    bert_dataset_free(data);
    return 0;
}
