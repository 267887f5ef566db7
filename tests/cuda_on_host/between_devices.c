/* Models and runs that go from one device to another. */

#include "../c/check.h"

static const char *const texts[] = {"a wonderful film", "terrible", "the food was fine and the evening long", ""};

static void all_logits(const bert_model *model, float logits[8])
{
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = logits;
    out.logits_capacity = 8;
    CHECK_OK(bert_predict_batch(model, COUNT_OF(texts), texts, NULL, NULL, NULL, NULL, &out));
}

/* Both answer the same to rounding, and are saved as the same bytes. */
static void check_same(const bert_model *a, const bert_model *b)
{
    float of_a[8], of_b[8];
    all_logits(a, of_a);
    all_logits(b, of_b);
    for (int i = 0; i < 8; i++) {
        CHECK_NEAR(of_a[i], of_b[i], 2e-5);
    }
    CHECK(are_equal(a, b));
}

static bert_model *on_cpu(void)
{
    bert_model_options options = small_options();
    options.device = "cpu";
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = create(&options, train);
    bert_dataset_free(train);
    return model;
}

static bert_model *copied(const bert_model *model, const char *device, const char *name)
{
    bert_model *copy = NULL;
    CHECK_OK(bert_copy_to_device(model, device, &copy));
    CHECK_TEXT(info_of(copy).device, name);
    check_same(model, copy);
    return copy;
}

static bert_model *loaded(const char *path, const char *device)
{
    bert_model *model = NULL;
    bert_load_options options;
    CHECK_OK(bert_load_options_init(&options, sizeof(options)));
    options.device = device;
    CHECK_OK(bert_load(path, &options, &model));
    return model;
}

static void train_on(bert_model *model, const bert_dataset *data, int32_t epochs)
{
    bert_train_options options = train_options();
    options.epochs = epochs;
    options.batch_size = 4;
    options.learning_rate = 1e-3;
    bert_trainer *trainer = trainer_of(model, data, NULL, &options);
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);
}

/* The same training on both, dropout included, ends near the same weights; and goes on on the other one. */
static void trains_alike(void)
{
    bert_dataset *data = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    options.hidden_dropout_prob = 0.1;
    options.attention_probs_dropout_prob = 0.1;
    options.device = "cuda";
    bert_model *card = create(&options, data);
    CHECK_TEXT(info_of(card).device, "cuda:0");
    bert_model *host = copied(card, "cpu", "cpu");
    train_on(card, data, 2);
    train_on(host, data, 2);
    float of_card[8], of_host[8];
    all_logits(card, of_card);
    all_logits(host, of_host);
    for (int i = 0; i < 8; i++) {
        CHECK_NEAR(of_card[i], of_host[i], 2e-3);
    }
    bert_model *moved = copied(card, "cpu", "cpu");
    train_on(moved, data, 1);
    bert_model *back = copied(moved, "auto", "cuda:0");
    train_on(back, data, 1);
    bert_free(back);
    bert_free(moved);
    bert_free(host);
    bert_free(card);
    bert_dataset_free(data);
}

/* A model that one device's was saved of is loaded on the other. */
static void is_saved_and_loaded(void)
{
    bert_model *host = on_cpu();
    bert_model *first = copied(host, "cuda:0", "cuda:0");
    CHECK_OK(bert_save(first, "from-card"));
    CHECK_OK(bert_save(host, "from-host"));
    static const char *const paths[] = {"from-card", "from-host"}, *const devices[] = {"cpu", "cuda"};
    for (int i = 0; i < 4; i++) {
        bert_model *model = loaded(paths[i / 2], devices[i % 2]);
        check_same(model, host);
        bert_free(model);
    }
    bert_free(first);
    bert_free(host);
}

/* A run that stops on one device goes on on the other, and says that it may differ. */
static void is_resumed_elsewhere(void)
{
    bert_dataset *data = toy(BERT_TOY_TRAIN);
    bert_model_options small = small_options();
    bert_train_options options = train_options();
    options.epochs = 3;
    static const char *const devices[] = {"cuda", "cpu"};
    for (int i = 0; i < 2; i++) {
        small.device = devices[i];
        bert_model *model = create(&small, data);
        bert_trainer *trainer = trainer_of(model, data, NULL, &options);
        CHECK_OK(bert_train_epoch(trainer, NULL));
        CHECK_OK(bert_trainer_save(trainer, "checkpoint"));
        CHECK_OK(bert_train(trainer, NULL));
        bert_trainer_free(trainer);
        small.device = devices[1 - i];
        bert_model *other = create(&small, data);
        trainer = trainer_of(other, data, NULL, &options);
        bert_resume_report report;
        CHECK_OK(bert_resume_report_init(&report, sizeof(report)));
        CHECK_OK(bert_trainer_resume(trainer, "checkpoint", &report));
        CHECK_EQUAL(report.is_exact, 0);
        CHECK_OK(bert_train(trainer, NULL));
        float a[8], b[8];
        all_logits(model, a);
        all_logits(other, b);
        for (int j = 0; j < 8; j++) {
            CHECK_NEAR(a[j], b[j], 2e-3);
        }
        bert_trainer_free(trainer);
        bert_free(other);
        bert_free(model);
    }
    bert_dataset_free(data);
}

/* What a GPU doesn't do is said. */
static void int8_stays_on_the_cpu(void)
{
    bert_model *host = on_cpu(), *int8 = NULL, *other = NULL;
    bert_model *card = copied(host, "cuda", "cuda:0");
    CHECK_STATUS(bert_quantize(card, &int8), BERT_ERR_UNSUPPORTED);
    bert_free(host);
    host = copied(card, "cpu", "cpu");
    CHECK_OK(bert_quantize(host, &int8));
    CHECK_STATUS(bert_copy_to_device(int8, "cuda", &other), BERT_ERR_UNSUPPORTED);
    CHECK_OK(bert_copy_to_device(int8, "cpu", &other));
    CHECK(are_equal(int8, other));
    CHECK_STATUS(bert_copy_to_device(card, "cuda:7", &other), BERT_ERR_DEVICE);
    CHECK_MESSAGE("cuda:7");
    bert_free(other);
    bert_free(int8);
    bert_free(card);
    bert_free(host);
}

int main(void)
{
    trains_alike();
    is_saved_and_loaded();
    is_resumed_elsewhere();
    int8_stays_on_the_cpu();
    return 0;
}
