/* Loads, trainings of one step, predictions and frees, over and over: the memory that the process holds doesn't grow.
 *
 * Run as `soak_memory ROUNDS`; the suite takes the short form, 200. */

#define _XOPEN_SOURCE 700

#include <unistd.h>

#include "check.h"

static double resident_bytes(void)
{
    long mapped, resident;
    memory_now(&mapped, &resident);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* What an application does in a day: everything is made, used and freed, some of it failing. */
static void round_trip(const char *path, saved bytes)
{
    bert_model *model = load_model(path), *copy = load_buffer(bytes.bytes, bytes.length), *none = NULL;
    bert_dataset *train = toy(BERT_TOY_TRAIN), *part = NULL, *rest = NULL;
    CHECK_STATUS(bert_load("absent", NULL, &none), BERT_ERR_IO);
    CHECK_OK(bert_dataset_split(train, 0.25, 1, &rest, &part));
    bert_train_options options = train_options();
    options.batch_size = 8;
    bert_trainer *trainer = trainer_of(model, train, part, &options);
    CHECK_OK(bert_train_step(trainer, NULL));
    float logits[8];
    logits_of(model, "we loved the rude staff and the noisy room", logits);
    logits_of(copy, "a great film", logits);
    bert_prediction prediction;
    CHECK_OK(bert_prediction_init(&prediction, sizeof(prediction)));
    CHECK_STATUS(bert_predict(model, "\xff", NUL, NULL, 0, NULL, &prediction), BERT_ERR_UTF8);
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate(model, part, 0, &evaluation));
    CHECK_OK(bert_save(model, "saved"));
    release(save(model));
    bert_free(model);
    bert_free(copy);
    bert_trainer_free(trainer);
    bert_dataset_free(train);
    bert_dataset_free(part);
    bert_dataset_free(rest);
}

int main(int count, char **arguments)
{
    int rounds = count > 1 ? atoi(arguments[1]) : 200;
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options;
    CHECK_OK(bert_model_options_init(&options, sizeof(options), BERT_PRESET_COMPACT));
    bert_model *model = create(&options, train);
    CHECK_OK(bert_save(model, "model"));
    saved bytes = save(model);
    double early = 0;
    for (int i = 1; i <= rounds; i++) {
        round_trip("model", bytes);
        if (i == 50) {
            early = resident_bytes();
        }
    }
    double late = resident_bytes();
    printf("%d rounds: %.1f MB after 50, %.1f MB at the end, %+.1f %%\n", rounds, early / 1e6, late / 1e6,
           100 * (late / early - 1));
    CHECK(rounds > 50);
    /* In a short run the allocator's own ups and downs count for more. */
    CHECK(late <= (rounds < 1000 ? 1.15 : 1.05) * early);
    /* New sets of worker threads: glibc keeps what a thread's share of the heap held for the next ones, so that it takes
     * some sets until nothing more is added. */
    float logits[8];
    for (int i = 1; i <= 400; i++) {
        CHECK_OK(bert_set_num_threads(1 + i % 3));
        logits_of(model, "a great film", logits);
        if (i == 200) {
            early = resident_bytes();
        }
    }
    late = resident_bytes();
    printf("400 sets of threads: %.1f MB after 200, %.1f MB at the end, %+.1f %%\n", early / 1e6, late / 1e6,
           100 * (late / early - 1));
    CHECK(late <= 1.15 * early);
    release(bytes);
    bert_free(model);
    bert_dataset_free(train);
    return 0;
}
