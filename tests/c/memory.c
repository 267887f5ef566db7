/* What no memory holds is refused before it is asked for: the process and the model go on. */

#include "check.h"

#define WORDS 1000000

int main(void)
{
    /* A position for each of a million tokens takes 64 MB; training's attention over such a text would take terabytes. */
    bert_model_options options = small_options();
    options.max_position_embeddings = 1048576;
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = create(&options, train);
    char *text = malloc(2 * WORDS + 1);
    CHECK(text != NULL);
    for (int i = 0; i < WORDS; i++) {
        memcpy(text + 2 * i, "a ", 2);
    }
    text[2 * WORDS] = 0;

    bert_prediction prediction;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_OK(bert_predict(model, "a great film", NUL, NULL, 0, NULL, &prediction));
    float before = prediction.probability;
    /* A prediction keeps no square of the text's length, and of the only block it computes what [CLS] attends to. */
    CHECK_OK(bert_predict(model, text, NUL, NULL, 0, NULL, &prediction));
    CHECK(prediction.probability > 0 && prediction.probability <= 1);

    bert_dataset *data = NULL;
    CHECK_OK(bert_dataset_create(&data));
    CHECK_OK(bert_dataset_add_class(data, text, NUL, NULL, 0, "positive", NUL));
    CHECK_OK(bert_dataset_add_class(data, "a", NUL, NULL, 0, "negative", NUL));
    /* Whether the trainer says so when it is made or with its first step is its own affair. */
    bert_trainer *trainer = NULL;
    bert_status status = bert_trainer_create(model, data, NULL, NULL, &trainer);
    if (status == BERT_OK) {
        status = bert_train_step(trainer, NULL);
    }
    CHECK_STATUS(status, BERT_ERR_OUT_OF_MEMORY);
    CHECK_MESSAGE("max_length");
    bert_trainer_free(trainer);

    /* Cut to a length that can be computed it is a text like any other, and the model is as it was. */
    bert_predict_options cut;
    CHECK_OK(bert_predict_options_init(&cut, sizeof(cut)));
    cut.max_length = 64;
    CHECK_OK(bert_predict(model, text, NUL, NULL, 0, &cut, &prediction));
    CHECK_OK(bert_predict(model, "a great film", NUL, NULL, 0, NULL, &prediction));
    CHECK(prediction.probability == before);
    free(text);
    bert_free(model);
    bert_dataset_free(data);
    bert_dataset_free(train);
    return 0;
}
