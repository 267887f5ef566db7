/* Where a plan is interrupted, ended, or can't be saved; long texts in many windows; a place to save to. */

#define _DEFAULT_SOURCE

#include "check.h"

#include <sys/stat.h>

struct counts {
    int steps, evaluations, stop_at;
};

static int32_t count(const bert_progress *progress, void *user_data)
{
    struct counts *counts = user_data;
    if (progress->event == BERT_EVENT_EVALUATION) {
        counts->evaluations++;
        return 0;
    }
    counts->steps++;
    return counts->steps == counts->stop_at;
}

static bert_trainer *new_trainer(bert_model *model, const bert_dataset *data, int32_t epochs,
                                 struct counts *counts)
{
    bert_train_options options;
    CHECK_OK(bert_train_options_init(&options, sizeof(options)));
    options.epochs = epochs;
    options.progress = counts != NULL ? count : NULL;
    options.progress_user_data = counts;
    bert_trainer *trainer = NULL;
    CHECK_OK(bert_trainer_create(model, data, data, &options, &trainer));
    return trainer;
}

static double loss_of(const bert_model *model, const bert_dataset *data)
{
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate(model, data, 0, &evaluation));
    return evaluation.loss;
}

/* One step an epoch; stopped at the end of each: its evaluation is made when the plan goes on. */
static void no_evaluation_is_lost(bert_model *model, const bert_dataset *data)
{
    for (int stop_at = 1; stop_at <= 3; stop_at++) {
        struct counts counts = {0, 0, stop_at};
        bert_trainer *trainer = new_trainer(model, data, 3, &counts);
        CHECK_STATUS(bert_train(trainer, NULL), BERT_ERR_CANCELLED);
        CHECK_OK(bert_train(trainer, NULL));
        CHECK_EQUAL(counts.steps, 3);
        CHECK_EQUAL(counts.evaluations, 3);
        bert_trainer_free(trainer);
    }
}

/* A plan that is done leaves alone what another trainer has made of the model since. */
static void a_finished_plan_changes_nothing(bert_model *model, const bert_dataset *data)
{
    bert_trainer *first = new_trainer(model, data, 2, NULL);
    CHECK_OK(bert_train(first, NULL));
    bert_trainer *second = new_trainer(model, data, 20, NULL);
    CHECK_OK(bert_train(second, NULL));
    double loss = loss_of(model, data);
    bert_train_report report;
    CHECK_OK(bert_train_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train(first, &report));
    CHECK_EQUAL(report.restored_best, 0);
    CHECK(loss_of(model, data) == loss);
    bert_trainer_free(second);
    bert_trainer_free(first);
}

static void a_place_that_cannot_be_saved_to_is_told_before(bert_model *model, const bert_dataset *data)
{
    CHECK(mkdir("foreign", 0777) == 0);
    FILE *file = fopen("foreign/letter.txt", "w");
    CHECK(file != NULL && fclose(file) == 0);
    CHECK_STATUS(bert_check_save("foreign"), BERT_ERR_IO);
    CHECK_MESSAGE("holds files");
    CHECK_STATUS(bert_check_save("no/such/parent"), BERT_ERR_IO);
    CHECK_STATUS(bert_check_save("foreign/letter.txt/model"), BERT_ERR_IO);
    CHECK_STATUS(bert_check_save(""), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_check_save(NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_OK(bert_check_save("new"));
    struct stat status;
    CHECK(stat("new", &status) != 0);
    CHECK_OK(bert_save(model, "new"));
    CHECK_OK(bert_check_save("new"));

    bert_train_options options;
    CHECK_OK(bert_train_options_init(&options, sizeof(options)));
    options.best_model_path = "foreign";
    bert_trainer *trainer = NULL;
    CHECK_STATUS(bert_trainer_create(model, data, data, &options, &trainer), BERT_ERR_IO);
    CHECK(trainer == NULL);
}

/* Thousands of windows, of which few are in memory at once, for each way to combine them. */
static void a_long_text_has_many_windows(const bert_model *model)
{
    size_t length = 200000;
    char *text = malloc(length);
    CHECK(text != NULL);
    for (size_t i = 0; i < length; i++) {
        text[i] = i % 2 == 0 ? 'a' : ' ';
    }
    for (int32_t combine = BERT_COMBINE_MEAN_LOGITS; combine <= BERT_COMBINE_MOST_CONFIDENT; combine++) {
        bert_predict_options options;
        CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
        options.long_text = BERT_LONG_TEXT_WINDOWS;
        options.window_stride = 10;
        options.combine = combine;
        bert_prediction prediction;
        CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
        CHECK_OK(bert_predict(model, text, length, NULL, 0, &options, &prediction));
        CHECK(prediction.probability >= 0.5f && prediction.probability <= 1);
    }
    free(text);
}

int main(void)
{
    bert_dataset *data = NULL;
    CHECK_OK(bert_dataset_toy(BERT_TOY_TRAIN, &data));
    bert_model *model = NULL;
    CHECK_OK(bert_create(NULL, data, &model));
    no_evaluation_is_lost(model, data);
    a_finished_plan_changes_nothing(model, data);
    a_place_that_cannot_be_saved_to_is_told_before(model, data);
    a_long_text_has_many_windows(model);
    bert_free(model);
    bert_dataset_free(data);
    return 0;
}
