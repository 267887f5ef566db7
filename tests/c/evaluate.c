/* bert_evaluate against a computation from bert_predict_batch's answers, as scikit-learn defines the metrics. */

#include "check.h"

#define CLASSES 4
#define EXAMPLES 60

/* Texts of three classes; the fourth has a name and no example. */
static void make(int i, char text[32], int *label)
{
    *label = i % 7 == 0 ? 2 : i % 3 == 0 ? 1 : 0;
    snprintf(text, 32, "word%d thing%d", i % 11, (i * i) % 13);
}

static void metrics_are_those_of_the_predictions(const bert_model *model, const bert_dataset *dataset)
{
    char texts[EXAMPLES][32];
    const char *pointers[EXAMPLES];
    int labels[EXAMPLES];
    int32_t predicted[EXAMPLES];
    float logits[EXAMPLES * CLASSES];
    for (int i = 0; i < EXAMPLES; i++) {
        make(i, texts[i], &labels[i]);
        pointers[i] = texts[i];
    }
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.label_ids = predicted;
    out.label_ids_capacity = EXAMPLES;
    out.logits = logits;
    out.logits_capacity = EXAMPLES * CLASSES;
    CHECK_OK(bert_predict_batch(model, EXAMPLES, pointers, NULL, NULL, NULL, NULL, &out));

    double cells[CLASSES][CLASSES] = {{0}}, truth[CLASSES] = {0}, guessed[CLASSES] = {0}, loss = 0, right = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        const float *row = logits + i * CLASSES;
        double sum = 0;
        for (int c = 0; c < CLASSES; c++) {
            sum += exp((double)row[c] - row[labels[i]]);
        }
        loss += log(sum) / EXAMPLES;
        cells[labels[i]][predicted[i]]++;
        truth[labels[i]]++;
        guessed[predicted[i]]++;
        right += labels[i] == predicted[i];
    }
    double macro = 0, occurring = 0, weighted = 0, both = 0, truth2 = 0, guessed2 = 0;
    double precision[CLASSES], recall[CLASSES], f1[CLASSES];
    for (int c = 0; c < CLASSES; c++) {
        precision[c] = quotient(cells[c][c], guessed[c]);
        recall[c] = quotient(cells[c][c], truth[c]);
        f1[c] = quotient(2 * precision[c] * recall[c], precision[c] + recall[c]);
        macro += f1[c];
        occurring += truth[c] + guessed[c] > 0;
        weighted += f1[c] * truth[c] / EXAMPLES;
        both += truth[c] * guessed[c];
        truth2 += truth[c] * truth[c];
        guessed2 += guessed[c] * guessed[c];
    }
    double n = EXAMPLES;
    double matthews = quotient(right * n - both, sqrt((n * n - truth2) * (n * n - guessed2)));

    bert_evaluation e;
    uint64_t confusion[CLASSES * CLASSES], support[CLASSES];
    double e_precision[CLASSES], e_recall[CLASSES], e_f1[CLASSES];
    CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
    e.confusion = confusion;
    e.confusion_capacity = COUNT_OF(confusion);
    e.precision = e_precision;
    e.recall = e_recall;
    e.f1 = e_f1;
    e.support = support;
    e.class_capacity = CLASSES;
    CHECK_OK(bert_evaluate(model, dataset, 0, &e));
    CHECK_EQUAL(e.examples, EXAMPLES);
    CHECK_NEAR(e.loss, loss, 1e-6);
    CHECK_NEAR(e.accuracy, right / n, 1e-9);
    CHECK_NEAR(e.f1_macro, macro / occurring, 1e-9);
    CHECK_NEAR(e.f1_weighted, weighted, 1e-9);
    CHECK_NEAR(e.matthews, matthews, 1e-9);
    /* One decision an example: of all together, precision and recall are the accuracy. Numbers have no place here. */
    CHECK_NEAR(e.f1_micro, right / n, 1e-9);
    CHECK(isnan(e.mse) && isnan(e.pearson) && isnan(e.spearman));
    uint64_t sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        uint64_t row = 0;
        for (int p = 0; p < CLASSES; p++) {
            CHECK_EQUAL(confusion[c * CLASSES + p], cells[c][p]);
            row += confusion[c * CLASSES + p];
        }
        CHECK_EQUAL(support[c], row);
        CHECK_NEAR(e_precision[c], precision[c], 1e-9);
        CHECK_NEAR(e_recall[c], recall[c], 1e-9);
        CHECK_NEAR(e_f1[c], f1[c], 1e-9);
        sum += row;
    }
    CHECK_EQUAL(sum, EXAMPLES);
    CHECK(e.confusion == confusion && e.class_capacity == CLASSES);

    /* Twice the same question has the same answer, and no array is needed. */
    bert_evaluation again;
    CHECK_OK(bert_evaluation_init(&again, sizeof(again)));
    CHECK_OK(bert_evaluate(model, dataset, 0, &again));
    CHECK(again.loss == e.loss && again.matthews == e.matthews);
}

static void buffers_and_arguments_are_checked(const bert_model *model, const bert_dataset *dataset)
{
    bert_evaluation e;
    uint64_t confusion[CLASSES * CLASSES];
    double recall[CLASSES];
    memset(confusion, 0x55, sizeof(confusion));
    memset(recall, 0x55, sizeof(recall));
    CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
    e.confusion = confusion;
    e.confusion_capacity = CLASSES * CLASSES - 1;
    e.loss = -7;
    CHECK_STATUS(bert_evaluate(model, dataset, 0, &e), BERT_ERR_BUFFER_TOO_SMALL);
    CHECK_MESSAGE("16");
    e.confusion_capacity = CLASSES * CLASSES;
    e.recall = recall;
    e.class_capacity = CLASSES - 1;
    CHECK_STATUS(bert_evaluate(model, dataset, 0, &e), BERT_ERR_BUFFER_TOO_SMALL);
    CHECK_MESSAGE("'recall'");
    CHECK(e.loss == -7);
    for (int i = 0; i < CLASSES * CLASSES; i++) {
        CHECK(confusion[i] == UINT64_C(0x5555555555555555));
    }
    e.class_capacity = CLASSES;
    CHECK_STATUS(bert_evaluate(model, dataset, 33, &e), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_evaluate(model, dataset, -1, &e), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_evaluate(model, dataset, 0, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_evaluate(NULL, dataset, 0, &e), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_evaluate(model, NULL, 0, &e), BERT_ERR_HANDLE);
    bert_dataset *other = NULL;
    CHECK_OK(bert_dataset_create(&other));
    CHECK_STATUS(bert_evaluate(model, other, 0, &e), BERT_ERR_DATA);
    CHECK_OK(bert_dataset_add_class(other, "x", NUL, NULL, 0, "c9", NUL));
    CHECK_STATUS(bert_evaluate(model, other, 0, &e), BERT_ERR_UNKNOWN_LABEL);
    CHECK_MESSAGE("'c9'");
    CHECK(e.loss == -7);
    bert_dataset_free(other);
    /* Ids name classes too, whatever the model was made from; one class alone can be evaluated. */
    CHECK_OK(bert_dataset_create(&other));
    CHECK_OK(bert_dataset_add_class_id(other, "word1", NUL, NULL, 0, 3));
    CHECK_OK(bert_evaluate(model, other, 0, &e));
    CHECK_EQUAL(e.examples, 1);
    CHECK(e.matthews == 0);
    /* scikit-learn's mean is over the classes that it is shown: the right one, or the right one and the wrong one. */
    CHECK(e.f1_macro == e.accuracy);
    CHECK_OK(bert_dataset_add_class_id(other, "word1", NUL, NULL, 0, 4));
    CHECK_STATUS(bert_evaluate(model, other, 0, &e), BERT_ERR_UNKNOWN_LABEL);
    bert_dataset_free(other);
}

/* max_length is how much of each text is looked at. */
static void texts_are_cut(const bert_model *model)
{
    static const char *const texts[] = {"word1 word2 word3 word4", "word5 word6"};
    static const char *const heads[] = {"word1 word2", "word5 word6"};
    static const char *const names[] = {"c0", "c1"};
    bert_dataset *whole = named(2, texts, names), *cut = named(2, heads, names);
    bert_evaluation a, b;
    CHECK_OK(bert_evaluation_init(&a, sizeof(a)));
    CHECK_OK(bert_evaluation_init(&b, sizeof(b)));
    CHECK_OK(bert_evaluate(model, whole, 4, &a));
    CHECK_OK(bert_evaluate(model, cut, 0, &b));
    CHECK(a.loss == b.loss);
    CHECK_OK(bert_evaluate(model, whole, 0, &a));
    CHECK(a.loss != b.loss);
    bert_dataset_free(whole);
    bert_dataset_free(cut);
}

static bert_predictions predicted_logits(float *logits, uint8_t *was_cut, size_t count)
{
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = logits;
    out.logits_capacity = count * CLASSES;
    out.was_cut = was_cut;
    out.was_cut_capacity = count;
    return out;
}

/* What is measured is what is used: with the options of a prediction an evaluation has the loss of that prediction. */
static void windows_are_evaluated(const bert_model *model)
{
    enum { COUNT = 3 };
    static const char *const texts[COUNT] = {"word1 word2 word3 word4 word5 word6 word7 thing1 thing2", "word5 word6",
                                             "thing3 word1 thing4 word2 thing5 word9"};
    static const char *const names[COUNT] = {"c0", "c1", "c2"};
    bert_dataset *data = named(COUNT, texts, names);
    for (int32_t long_text = 0; long_text < 2; long_text++) {
        for (int32_t combine = 0; combine < 3; combine++) {
            bert_predict_options predict;
            bert_evaluate_options options;
            bert_evaluation e;
            CHECK_OK(bert_predict_options_init(&predict, sizeof(predict)));
            CHECK_OK(bert_evaluate_options_init(&options, sizeof(options)));
            CHECK_OK(bert_evaluation_init(&e, sizeof(e)));
            CHECK(options.max_length == 0 && options.long_text == 0 && options.window_stride == -1
                  && options.combine == 0);
            predict.max_length = options.max_length = 6;
            predict.long_text = options.long_text = long_text;
            predict.window_stride = options.window_stride = 1;
            predict.combine = options.combine = combine;
            float logits[COUNT * CLASSES];
            uint8_t was_cut[COUNT];
            bert_predictions out = predicted_logits(logits, was_cut, COUNT);
            CHECK_OK(bert_predict_batch(model, COUNT, texts, NULL, NULL, NULL, &predict, &out));
            double loss = 0, right = 0;
            for (int i = 0; i < COUNT; i++) {
                double sum = 0;
                int best = 0;
                for (int c = 0; c < CLASSES; c++) {
                    sum += exp((double)logits[i * CLASSES + c] - logits[i * CLASSES + i]);
                    best = logits[i * CLASSES + c] > logits[i * CLASSES + best] ? c : best;
                }
                loss += log(sum) / COUNT;
                right += best == i;
                CHECK_EQUAL(was_cut[i], long_text == BERT_LONG_TEXT_TRUNCATE && i != 1);
            }
            CHECK_OK(bert_evaluate_with(model, data, &options, &e));
            CHECK_EQUAL(e.examples, COUNT);
            CHECK_NEAR(e.loss, loss, 1e-5);
            CHECK_NEAR(e.accuracy, right / COUNT, 1e-9);
            CHECK_EQUAL(e.texts_cut, long_text == BERT_LONG_TEXT_TRUNCATE ? 2 : 0);
        }
    }
    /* The defaults are those of bert_evaluate. */
    bert_evaluation a, b;
    CHECK_OK(bert_evaluation_init(&a, sizeof(a)));
    CHECK_OK(bert_evaluation_init(&b, sizeof(b)));
    CHECK_OK(bert_evaluate(model, data, 0, &a));
    CHECK_OK(bert_evaluate_with(model, data, NULL, &b));
    CHECK(a.loss == b.loss && a.texts_cut == 0 && b.texts_cut == 0);
    CHECK_OK(bert_evaluate(model, data, 6, &a));
    CHECK_EQUAL(a.texts_cut, 2);
    bert_evaluate_options options;
    CHECK_OK(bert_evaluate_options_init(&options, sizeof(options)));
    options.long_text = BERT_LONG_TEXT_WINDOWS;
    options.window_stride = 1000;
    CHECK_STATUS(bert_evaluate_with(model, data, &options, &b), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("stride");
    bert_dataset_free(data);
}

/* Which texts of a call weren't read whole, for answers and for vectors; of a pair in windows only the first can be
 * cut. */
static void cut_texts_are_told(const bert_model *model)
{
    static const char *const texts[] = {"word1 word2 word3 word4 word5", "word1 word2", ""};
    static const char *const pairs[] = {"word1", "word2 word3 word4 word5", "word1"};
    float logits[3 * CLASSES], vectors[3 * 16];
    uint8_t was_cut[3] = {7, 7, 7};
    bert_predict_options options;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    bert_predictions out = predicted_logits(logits, was_cut, 3);
    CHECK_OK(bert_predict_batch(model, 3, texts, NULL, NULL, NULL, &options, &out));
    CHECK(was_cut[0] == 0 && was_cut[1] == 0 && was_cut[2] == 0);
    options.max_length = 6;
    CHECK_OK(bert_predict_batch(model, 3, texts, NULL, NULL, NULL, &options, &out));
    CHECK(was_cut[0] == 1 && was_cut[1] == 0 && was_cut[2] == 0);
    CHECK_OK(bert_predict_batch(model, 3, texts, NULL, pairs, NULL, &options, &out));
    CHECK(was_cut[0] == 1 && was_cut[1] == 1 && was_cut[2] == 0);
    options.long_text = BERT_LONG_TEXT_WINDOWS;
    options.window_stride = 0;
    /* Of the three tokens that a window of a pair has room for, the first text gets one, or what a short second text
     * leaves. */
    CHECK_OK(bert_predict_batch(model, 3, texts, NULL, pairs, NULL, &options, &out));
    CHECK(was_cut[0] == 1 && was_cut[1] == 1 && was_cut[2] == 0);
    CHECK_OK(bert_predict_batch(model, 1, texts + 2, NULL, texts, NULL, &options, &out));
    CHECK_EQUAL(was_cut[0], 0);
    bert_prediction one;
    CHECK_OK(bert_prediction_init(&one, sizeof(one)));
    options.long_text = BERT_LONG_TEXT_TRUNCATE;
    CHECK_OK(bert_predict(model, texts[0], NUL, NULL, 0, &options, &one));
    CHECK_EQUAL(one.was_cut, 1);
    CHECK_OK(bert_predict(model, texts[1], NUL, NULL, 0, &options, &one));
    CHECK_EQUAL(one.was_cut, 0);
    bert_embed_options embed;
    CHECK_OK(bert_embed_options_init(&embed, sizeof(embed)));
    embed.max_length = 6;
    embed.was_cut = was_cut;
    embed.was_cut_capacity = 3;
    was_cut[0] = 7;
    CHECK_OK(bert_embed(model, 3, texts, NULL, NULL, NULL, &embed, vectors, COUNT_OF(vectors)));
    CHECK(was_cut[0] == 1 && was_cut[1] == 0 && was_cut[2] == 0);
    embed.was_cut_capacity = 2;
    CHECK_STATUS(bert_embed(model, 3, texts, NULL, NULL, NULL, &embed, vectors, COUNT_OF(vectors)),
                 BERT_ERR_BUFFER_TOO_SMALL);
    CHECK_MESSAGE("was_cut");
}

int main(void)
{
    static const char *const names[CLASSES] = {"c0", "c1", "c2", "c3"};
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    for (int i = 0; i < EXAMPLES; i++) {
        char text[32];
        int label;
        make(i, text, &label);
        CHECK_OK(bert_dataset_add_class(dataset, text, NUL, NULL, 0, names[label], NUL));
    }
    bert_model_options options = small_options();
    options.label_names = names;
    options.num_label_names = CLASSES;
    /* Weights so large that the untrained model doesn't call everything the same. */
    options.initializer_range = 0.5;
    bert_model *model = create(&options, dataset);
    metrics_are_those_of_the_predictions(model, dataset);
    /* And half trained, so that some classes are mostly right. */
    bert_train_options training = train_options();
    training.epochs = 5;
    training.learning_rate = 1e-2;
    bert_trainer *trainer = trainer_of(model, dataset, NULL, &training);
    CHECK_OK(bert_train(trainer, NULL));
    metrics_are_those_of_the_predictions(model, dataset);
    buffers_and_arguments_are_checked(model, dataset);
    windows_are_evaluated(model);
    cut_texts_are_told(model);
    texts_are_cut(model);
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(dataset);
    return 0;
}
