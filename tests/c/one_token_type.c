/* A model with one token type can't tell the two texts of a pair apart: pairs are refused by name, single texts are
 * not. */

#include "check.h"

static void check_refused(bert_status status)
{
    CHECK(status == BERT_ERR_INVALID_ARGUMENT || status == BERT_ERR_UNSUPPORTED || status == BERT_ERR_DATA);
    CHECK_MESSAGE("type_vocab_size");
}

int main(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN), *pairs = NULL;
    CHECK_OK(bert_dataset_create(&pairs));
    CHECK_OK(bert_dataset_add_class(pairs, "a", NUL, "film", NUL, "positive", NUL));
    CHECK_OK(bert_dataset_add_class(pairs, "a", NUL, "", 0, "negative", NUL));
    bert_model_options options = small_options();
    options.type_vocab_size = 1;
    bert_model *model = create(&options, train), *none = NULL;
    bert_prediction prediction;
    bert_evaluation evaluation;
    bert_trainer *trainer = NULL;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_predict(model, "a film", NUL, NULL, 0, NULL, &prediction));
    check_refused(bert_predict(model, "a", NUL, "film", NUL, NULL, &prediction));
    check_refused(bert_evaluate(model, pairs, 0, &evaluation));
    check_refused(bert_trainer_create(model, pairs, NULL, NULL, &trainer));
    check_refused(bert_create(&options, pairs, &none));
    CHECK(trainer == NULL && none == NULL);
    CHECK_OK(bert_predict(model, "a film", NUL, NULL, 0, NULL, &prediction));
    bert_free(model);
    bert_dataset_free(pairs);
    bert_dataset_free(train);
    return 0;
}
