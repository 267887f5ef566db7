/* Trains a classifier on the library's built-in toy sentences, evaluates it, classifies new sentences, saves it, loads
 * it again and checks that the loaded model answers the same.
 *
 *     quickstart [device] [model-directory] [seed]
 *
 * device is cpu (the default), cuda, cuda:N or auto; the model goes to ./quickstart-model unless told otherwise.
 *
 * Exit code 0: all training sentences are learned, and the loaded model gives the identical probabilities. */

#include <bert.h>

#include <stdio.h>
#include <stdlib.h>

/* Every call that can fail goes through here: the library says in a sentence what was wrong. */
static void check(bert_status status, const char *what) {
    if (status != BERT_OK) {
        fprintf(stderr, "%s: %s (%s)\n", what, bert_last_error_message(), bert_status_string(status));
        exit(1);
    }
}

/* The library prints nothing: what may be a mistake comes here, such as parts of a model that were never trained. */
static void print_warning(int32_t level, const char *message, void *user_data) {
    (void)user_data;
    if (level >= BERT_LOG_WARNING) {
        fprintf(stderr, "quickstart: warning: %s\n", message);
    }
}

static double evaluate(const bert_model *model, const bert_dataset *dataset, const char *name) {
    bert_evaluation evaluation;
    check(bert_evaluation_init(&evaluation, sizeof evaluation), "bert_evaluation_init");
    check(bert_evaluate(model, dataset, 0, &evaluation), "bert_evaluate");
    printf("%-10s  %2lld sentences, loss %.4f, accuracy %5.1f %%\n", name, (long long)evaluation.examples,
           evaluation.loss, 100.0 * evaluation.accuracy);
    return evaluation.accuracy;
}

/* Classifies one text. */
static bert_prediction predict(const bert_model *model, const char *text) {
    bert_prediction prediction;
    check(bert_prediction_init(&prediction, sizeof prediction), "bert_prediction_init");
    check(bert_predict(model, text, BERT_NUL_TERMINATED, NULL, 0, NULL, &prediction), "bert_predict");
    return prediction;
}

int main(int argc, char **argv) {
    static const char *const new_sentences[] = {
        "the cake was wonderful",
        "what a terrible waste of an evening",
        "friendly staff and excellent food",
        "the plot is slow and the cast is awful",
    };
    const size_t count = sizeof new_sentences / sizeof new_sentences[0];
    const char *device = argc > 1 ? argv[1] : "cpu";
    const char *directory = argc > 2 ? argv[2] : "quickstart-model";
    const char *seed = argc > 3 ? argv[3] : NULL;

    /* A library with another binary interface than the header's must not be called any further. */
    if (bert_abi_version() != BERT_ABI_VERSION) {
        fprintf(stderr, "bert.h is for ABI %d, the library has ABI %u\n", BERT_ABI_VERSION, bert_abi_version());
        return 1;
    }
    printf("%s\n", bert_build_info());
    check(bert_set_log_callback(print_warning, NULL), "bert_set_log_callback");

    /* The data: for your own, see bert_dataset_read (a file) and bert_dataset_add_classes (from memory). */
    bert_dataset *train, *validation;
    check(bert_dataset_toy(BERT_TOY_TRAIN, &train), "bert_dataset_toy");
    check(bert_dataset_toy(BERT_TOY_VALIDATION, &validation), "bert_dataset_toy");

    /* A new model. Its vocabulary and its labels come from the training data. */
    bert_model_options model_options;
    check(bert_model_options_init(&model_options, sizeof model_options, BERT_PRESET_COMPACT),
          "bert_model_options_init");
    model_options.device = device;
    if (seed != NULL) {
        model_options.seed = strtoull(seed, NULL, 10);
    }
    bert_model *model;
    check(bert_create(&model_options, train, &model), "bert_create");

    bert_info info;
    check(bert_info_init(&info, sizeof info), "bert_info_init");
    check(bert_get_info(model, &info), "bert_get_info");
    printf("%lld parameters, %d tokens, %d labels, on %s\n\n", (long long)info.parameter_count, info.vocab_size,
           info.num_labels, info.device);

    /* The training, an epoch at a time. bert_train does the whole plan in one call and keeps the best evaluation. */
    bert_train_options train_options;
    check(bert_train_options_init(&train_options, sizeof train_options), "bert_train_options_init");
    train_options.seed = model_options.seed;
    train_options.epochs = 30;
    bert_trainer *trainer;
    check(bert_trainer_create(model, train, validation, &train_options, &trainer), "bert_trainer_create");
    for (int epoch = 1; epoch <= train_options.epochs; epoch++) {
        bert_epoch_report report;
        check(bert_epoch_report_init(&report, sizeof report), "bert_epoch_report_init");
        check(bert_train_epoch(trainer, &report), "bert_train_epoch");
        if (epoch == 1 || epoch % 5 == 0) {
            printf("epoch %2d/%d  loss %.4f, accuracy %5.1f %%\n", report.epoch, train_options.epochs, report.loss,
                   100.0 * report.accuracy);
        }
    }
    /* The model keeps what it has learned. */
    bert_trainer_free(trainer);

    printf("\n");
    double accuracy = evaluate(model, train, "training");
    evaluate(model, validation, "validation");
    bert_dataset_free(train);
    bert_dataset_free(validation);

    printf("\n");
    float probabilities[sizeof new_sentences / sizeof new_sentences[0]];
    for (size_t i = 0; i < count; i++) {
        bert_prediction prediction = predict(model, new_sentences[i]);
        printf("%-8s  %.4f  %s\n", prediction.label, prediction.probability, new_sentences[i]);
        probabilities[i] = prediction.probability;
    }

    /* A directory as Hugging Face's tools write and read it. */
    check(bert_save(model, directory), "bert_save");
    bert_free(model);

    bert_load_options load_options;
    check(bert_load_options_init(&load_options, sizeof load_options), "bert_load_options_init");
    load_options.device = device;
    check(bert_load(directory, &load_options, &model), "bert_load");
    int identical = 1;
    for (size_t i = 0; i < count; i++) {
        identical = identical && predict(model, new_sentences[i]).probability == probabilities[i];
    }
    bert_free(model);
    printf("\nsaved to %s; loaded again, it gives %s probabilities\n", directory, identical ? "identical" : "OTHER");

    return accuracy == 1.0 && identical ? 0 : 1;
}
