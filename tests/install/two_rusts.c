/* A program with libbert and other Rust static libraries in it: each works, also while the others are at work. */

#include <pthread.h>
#include <stdio.h>

#include "bert.h"

int other_works(void);
int bert_hidden_works(void);

/* Trains a little; the loss is a number. */
static int bert_works(void)
{
    bert_dataset *data = NULL;
    bert_model *model = NULL;
    bert_trainer *trainer = NULL;
    bert_step_report step;
    bert_prediction prediction;
    int works = bert_dataset_toy(BERT_TOY_TRAIN, &data) == BERT_OK && bert_create(NULL, data, &model) == BERT_OK &&
                bert_trainer_create(model, data, NULL, NULL, &trainer) == BERT_OK &&
                bert_step_report_init(&step, sizeof(step)) == BERT_OK && bert_train_step(trainer, &step) == BERT_OK &&
                step.loss > 0 && bert_prediction_init(&prediction, sizeof(prediction)) == BERT_OK &&
                bert_predict(model, "a great film", BERT_NUL_TERMINATED, NULL, 0, NULL, &prediction) == BERT_OK &&
                bert_load("/nonexistent", NULL, &model) == BERT_ERR_IO;
    if (!works) {
        fprintf(stderr, "libbert: %s\n", bert_last_error_message());
    }
    bert_trainer_free(trainer);
    bert_free(model);
    bert_dataset_free(data);
    return works;
}

static void *others(void *argument)
{
    int *works = argument;
    for (int i = 0; i < 20; i++) {
        *works = *works && other_works() && bert_hidden_works();
    }
    return NULL;
}

int main(void)
{
    pthread_t thread;
    int works = 1;
    if (pthread_create(&thread, NULL, others, &works) != 0) {
        return 1;
    }
    for (int i = 0; i < 5; i++) {
        if (!bert_works()) {
            return 1;
        }
    }
    if (pthread_join(thread, NULL) != 0 || !works) {
        fprintf(stderr, "another library failed\n");
        return 1;
    }
    printf("%s beside two others\n", bert_version());
    return 0;
}
