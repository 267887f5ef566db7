/* What training and predictions compute with: numbers of 16 bits, and the layers' insides computed again instead of
 * kept. */

#include <unistd.h>

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

static void float16_is_not_for_training(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model();
    bert_trainer *trainer = NULL;
    bert_train_options options = train_options();
    options.precision = BERT_PRECISION_FLOAT16;
    CHECK_STATUS(bert_trainer_create(model, train, NULL, &options, &trainer), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("BERT_PRECISION_BFLOAT16");
    CHECK(trainer == NULL);
    bert_free(model);
    bert_dataset_free(train);
}

#define TEXTS 3
#define NUMBERS (TEXTS * (2 + 2 + 16) + 1)

/* All that a model answers in a precision: logits of texts and of token ids, vectors, and an evaluation's loss. */
static bert_status answers(const bert_model *model, int32_t precision, float all[NUMBERS])
{
    static const char *const texts[TEXTS] = {"a great film", "terrible food and rude staff", ""};
    static const uint32_t ids[] = {2, 5, 3, 2, 7, 8, 9, 3, 2, 3};
    static const size_t lengths[TEXTS] = {3, 5, 2};
    bert_predict_options options;
    bert_embed_options embed_options;
    bert_predictions out;
    bert_evaluation evaluation;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    CHECK_OK(bert_embed_options_init(&embed_options, sizeof(embed_options)));
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_EQUAL(options.precision, BERT_PRECISION_FLOAT32);
    CHECK_EQUAL(embed_options.precision, BERT_PRECISION_FLOAT32);
    CHECK_EQUAL(evaluation.compute_precision, BERT_PRECISION_FLOAT32);
    options.precision = embed_options.precision = evaluation.compute_precision = precision;
    out.logits = all;
    out.logits_capacity = 2 * TEXTS;
    bert_status status = bert_predict_batch(model, TEXTS, texts, NULL, NULL, NULL, &options, &out);
    out.logits = all + 2 * TEXTS;
    CHECK_STATUS(bert_predict_ids(model, TEXTS, ids, NULL, lengths, &options, &out), status);
    CHECK_STATUS(bert_embed(model, TEXTS, texts, NULL, NULL, NULL, &embed_options, all + 4 * TEXTS, 16 * TEXTS), status);
    bert_dataset *data = toy(BERT_TOY_VALIDATION);
    CHECK_STATUS(bert_evaluate(model, data, 0, &evaluation), status);
    all[NUMBERS - 1] = (float)evaluation.loss;
    bert_dataset_free(data);
    return status;
}

/* bfloat16 has 8 bits and float16 11, which moves an answer by 0.6 % or 0.05 % of the largest. The CPU computes in
 * float32 where float16 is asked for. */
static void predictions_are_near(void)
{
    double loss;
    bert_model *model = trained(BERT_PRECISION_FLOAT32, 0, &loss);
    float whole[NUMBERS], largest = 0;
    CHECK_OK(answers(model, BERT_PRECISION_FLOAT32, whole));
    for (int i = 0; i < NUMBERS; i++) {
        largest = fmaxf(largest, fabsf(whole[i]));
    }
    static const struct {
        int32_t precision;
        double tolerance;
    } cases[] = {{BERT_PRECISION_BFLOAT16, 0.02}, {BERT_PRECISION_FLOAT16, 0.02 / 8}};
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        float rounded[NUMBERS];
        CHECK_OK(answers(model, cases[c].precision, rounded));
        int is_float32 = is_on_cpu(model) && cases[c].precision == BERT_PRECISION_FLOAT16;
        CHECK_EQUAL(memcmp(rounded, whole, sizeof(whole)) == 0, is_float32);
        /* Vectors and the evaluation's loss too, each by itself. */
        CHECK_EQUAL(memcmp(rounded + 4 * TEXTS, whole + 4 * TEXTS, 16 * TEXTS * sizeof(*whole)) == 0, is_float32);
        CHECK_EQUAL(rounded[NUMBERS - 1] == whole[NUMBERS - 1], is_float32);
        for (int i = 0; i < NUMBERS; i++) {
            CHECK_NEAR(rounded[i], whole[i], cases[c].tolerance * largest);
        }
    }
    bert_free(model);
}

/* On the CPU a text's answer in bfloat16 is the same number whatever it is computed with, and on however many
 * threads. */
static void company_changes_nothing(void)
{
    static const char *const texts[] = {"a great film", "terrible food and rude staff", "",
                                        "we loved every minute of it, all "
                                        "of us, from the first to the last", "what a waste"};
    double loss;
    bert_model *model = trained(BERT_PRECISION_FLOAT32, 0, &loss);
    bert_predict_options options;
    bert_predictions out;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    options.precision = BERT_PRECISION_BFLOAT16;
    float together[2 * COUNT_OF(texts)], alone[2];
    out.logits = together;
    out.logits_capacity = COUNT_OF(together);
    CHECK_OK(bert_predict_batch(model, COUNT_OF(texts), texts, NULL, NULL, NULL, &options, &out));
    out.logits = alone;
    out.logits_capacity = COUNT_OF(alone);
    for (int32_t threads = 1; is_on_cpu(model) && threads <= 3; threads++) {
        CHECK_OK(bert_set_num_threads(threads));
        for (size_t i = 0; i < COUNT_OF(texts); i++) {
            CHECK_OK(bert_predict_batch(model, 1, texts + i, NULL, NULL, NULL, &options, &out));
            CHECK(memcmp(alone, together + 2 * i, sizeof(alone)) == 0);
        }
    }
    CHECK_OK(bert_set_num_threads(0));
    bert_free(model);
}

/* An int8 model is computed in int8 whichever precision is asked for. */
static void int8_stays_int8(void)
{
    bert_model *model = small_model(), *int8 = NULL;
    if (is_on_cpu(model)) {
        CHECK_OK(bert_quantize(model, &int8));
        float whole[NUMBERS], rounded[NUMBERS];
        CHECK_OK(answers(int8, BERT_PRECISION_FLOAT32, whole));
        CHECK_OK(answers(int8, BERT_PRECISION_BFLOAT16, rounded));
        CHECK(memcmp(rounded, whole, sizeof(whole)) == 0);
    }
    bert_free(int8);
    bert_free(model);
}

/* Gives every number of a tensor in a model file of float32 numbers another value. */
static void fill_tensor(const char *path, const char *name, float value)
{
    size_t length = 0, first = 0, last = 0;
    char *bytes = read_bytes(path, &length), key[128];
    CHECK(bytes != NULL);
    uint64_t header = 0;
    memcpy(&header, bytes, sizeof(header));
    snprintf(key, sizeof(key), "\"%s\":", name);
    /* The header is text; a NUL ends it for strstr. */
    char kept = bytes[8 + header];
    bytes[8 + header] = 0;
    const char *place = strstr(bytes + 8, key);
    CHECK(place != NULL);
    place = strstr(place, "\"data_offsets\":[");
    CHECK(place != NULL && sscanf(place, "\"data_offsets\":[%zu,%zu]", &first, &last) == 2);
    bytes[8 + header] = kept;
    for (size_t at = 8 + header + first; at < 8 + header + last; at += sizeof(value)) {
        memcpy(bytes + at, &value, sizeof(value));
    }
    write_bytes(path, bytes, length);
    free(bytes);
}

/* A state of 100,000 is none of float16's; the others have it, and the CPU, which computes in float32. */
static void what_float16_has_not_is_told(void)
{
    bert_model *model = small_model();
    CHECK_OK(bert_save(model, "large"));
    bert_free(model);
    fill_tensor("large/model.safetensors", "bert.encoder.layer.0.intermediate.dense.bias", 1e5f);
    /* With its checksums. */
    CHECK(unlink("large/libbert.json") == 0);
    model = load_model("large");
    float all[NUMBERS];
    CHECK_OK(answers(model, BERT_PRECISION_FLOAT32, all));
    CHECK_OK(answers(model, BERT_PRECISION_BFLOAT16, all));
    if (is_on_cpu(model)) {
        CHECK_OK(answers(model, BERT_PRECISION_FLOAT16, all));
    } else {
        CHECK_STATUS(answers(model, BERT_PRECISION_FLOAT16, all), BERT_ERR_NOT_FINITE);
    }
    bert_free(model);
}

int main(void)
{
    what_is_computed_again_is_the_same();
    bfloat16_learns();
    float16_is_not_for_training();
    predictions_are_near();
    company_changes_nothing();
    int8_stays_int8();
    what_float16_has_not_is_told();
    return 0;
}
