/* What training computes with: bfloat16 products, and the layers' insides computed again instead of kept. */

#include "check.h"

/* Trains a new small model on the toy data and gives it back. */
static bert_model *trained(int32_t precision, int32_t gradient_checkpointing, double *loss)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_train_options options = train_options();
    options.epochs = 40;
    options.learning_rate = 0.003;
    options.batch_size = 4;
    options.precision = precision;
    options.gradient_checkpointing = gradient_checkpointing;
    bert_trainer *trainer = trainer_of(model, train, NULL, &options);
    bert_train_report report = report_init();
    CHECK_OK(bert_train(trainer, &report));
    *loss = report.loss;
    bert_trainer_free(trainer);
    bert_dataset_free(train);
    return model;
}

static void what_is_computed_again_is_the_same(void)
{
    for (int32_t precision = BERT_PRECISION_FLOAT32; precision <= BERT_PRECISION_BFLOAT16; precision++) {
        double kept_loss, again_loss;
        bert_model *kept = trained(precision, 0, &kept_loss);
        bert_model *again = trained(precision, 1, &again_loss);
        CHECK(kept_loss == again_loss);
        CHECK(are_equal(kept, again));
        bert_free(kept);
        bert_free(again);
    }
}

/* It learns as float32 does, and isn't float32. */
static void bfloat16_learns(void)
{
    double whole_loss, rounded_loss;
    bert_model *whole = trained(BERT_PRECISION_FLOAT32, 0, &whole_loss);
    bert_model *rounded = trained(BERT_PRECISION_BFLOAT16, 0, &rounded_loss);
    CHECK(!are_equal(whole, rounded));
    CHECK(whole_loss < 0.5);
    CHECK_NEAR(rounded_loss, whole_loss, 0.1);
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate(rounded, train, 0, &evaluation));
    CHECK_NEAR(evaluation.accuracy, 1, 0.07);
    bert_dataset_free(train);
    bert_free(whole);
    bert_free(rounded);
}

int main(void)
{
    what_is_computed_again_is_the_same();
    bfloat16_learns();
    return 0;
}
