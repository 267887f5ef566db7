/* The defaults train the compact model to 100 % on the toy data, whatever the seed. */

#include "check.h"

int main(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = toy(BERT_TOY_VALIDATION);
    for (uint64_t seed = 0; seed < 10; seed++) {
        bert_model_options options;
        CHECK_OK(bert_model_options_init(&options, sizeof(options), BERT_PRESET_COMPACT));
        options.seed = seed;
        bert_model *model = create(&options, train);
        bert_train_options training = train_options();
        training.seed = seed;
        bert_trainer *trainer = trainer_of(model, train, NULL, &training);
        CHECK_OK(bert_train(trainer, NULL));
        bert_evaluation evaluation;
        CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
        CHECK_OK(bert_evaluate(model, train, 0, &evaluation));
        CHECK_EQUAL(evaluation.examples, 16);
        CHECK(evaluation.accuracy == 1);
        /* It has learned words and not sentences: better than chance on new ones. */
        CHECK_OK(bert_evaluate(model, validation, 0, &evaluation));
        CHECK(evaluation.accuracy > 0.5);
        bert_trainer_free(trainer);
        bert_free(model);
    }
    bert_dataset_free(train);
    bert_dataset_free(validation);
    return 0;
}
