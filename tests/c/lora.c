/* LoRA adapters: added, trained, saved apart, loaded, merged; and everything that can be wrong with them. */

#define _XOPEN_SOURCE 700

#include "check.h"

#include <unistd.h>

static const char *const text = "a wonderful film";

static bert_model *new_base(int32_t preset, uint64_t seed)
{
    bert_model_options options;
    CHECK_OK(bert_model_options_init(&options, sizeof(options), preset));
    options.hidden_size = 32;
    options.num_hidden_layers = 2;
    options.num_attention_heads = 2;
    options.intermediate_size = 48;
    /* Large enough that the random encoder, most of which stays as it is, tells sentences apart. */
    options.initializer_range = 0.2;
    options.seed = seed;
    bert_dataset *data = toy(BERT_TOY_TRAIN);
    bert_model *model = create(&options, data);
    bert_dataset_free(data);
    return model;
}

static bert_lora_options lora_options(void)
{
    bert_lora_options options;
    CHECK_OK(bert_lora_options_init(&options, sizeof(options)));
    return options;
}

static bert_model *add_lora(const bert_model *base, const bert_lora_options *options)
{
    bert_model *model = NULL;
    CHECK_OK(bert_add_lora(base, options, &model));
    return model;
}

static bert_model *load_adapter(const bert_model *base, const char *path)
{
    bert_model *model = NULL;
    CHECK_OK(bert_load_adapter(base, path, &model));
    return model;
}

static bert_model *merge(const bert_model *model)
{
    bert_model *merged = NULL;
    CHECK_OK(bert_merge_lora(model, &merged));
    return merged;
}

/* How far apart the logits of two models are. */
static double distance(const bert_model *a, const bert_model *b)
{
    float first[8] = {0}, second[8] = {0};
    logits_of(a, text, first);
    logits_of(b, text, second);
    double most = 0;
    for (int i = 0; i < 2; i++) {
        most = fmax(most, fabs((double)first[i] - (double)second[i]));
    }
    return most;
}

static bert_train_report train(bert_model *model, int32_t epochs)
{
    bert_dataset *data = toy(BERT_TOY_TRAIN);
    bert_train_options options = train_options();
    options.epochs = epochs;
    options.learning_rate = 2e-3;
    options.batch_size = 4;
    bert_trainer *trainer = trainer_of(model, data, NULL, &options);
    bert_train_report report;
    CHECK_OK(bert_train_report_init(&report, sizeof(report)));
    CHECK_OK(bert_train(trainer, &report));
    bert_trainer_free(trainer);
    bert_dataset_free(data);
    return report;
}

/* The number of little-endian float32 tensors of that file, and the bytes of the one whose name ends so; NULL without. */
static const char *tensor(const char *bytes, const char *name)
{
    uint64_t header = 0;
    memcpy(&header, bytes, 8);
    const char *found = strstr(bytes + 8, name);
    if (found == NULL) {
        return NULL;
    }
    const char *offsets = strstr(found, "\"data_offsets\":[");
    CHECK(offsets != NULL);
    return bytes + 8 + header + strtoull(offsets + strlen("\"data_offsets\":["), NULL, 10);
}

static void learns_and_leaves_the_base(int32_t preset, uint32_t targets)
{
    bert_model *base = new_base(preset, 42);
    CHECK_OK(bert_save(base, "base"));
    saved before = save(base);
    bert_lora_options options = lora_options();
    options.rank = 4;
    options.alpha = 16;
    options.dropout = 0.1;
    options.targets = targets;
    bert_model *model = add_lora(base, &options);
    /* B is zero: nothing has changed yet. */
    CHECK_NEAR(distance(base, model), 0, 0);
    CHECK_EQUAL(info_of(base).lora_rank, 0);
    CHECK_EQUAL(info_of(model).lora_rank, 4);
    CHECK_EQUAL(info_of(model).parameter_count - info_of(model).lora_parameter_count,
                info_of(base).parameter_count);

    bert_train_report one = train(model, 1);
    /* Slow enough that no choice of dropped elements keeps it from learning: tried with nine seeds. */
    bert_train_report report = train(model, 120);
    CHECK(report.loss < 0.5 * one.loss);
    CHECK(distance(base, model) > 0.1);
    /* Nobody has touched the base. */
    saved after = save(base);
    CHECK(is_same(before, after));
    release(after);
    release(before);

    bert_model *merged = merge(model);
    CHECK_NEAR(distance(model, merged), 0, 1e-5);
    CHECK_EQUAL(info_of(merged).parameter_count, info_of(base).parameter_count);
    /* Saving writes what merging makes. */
    CHECK(are_equal(model, merged));
    CHECK_OK(bert_save(model, "whole"));
    bert_model *whole = load_model("whole");
    CHECK_NEAR(distance(whole, merged), 0, 0);

    /* Apart, onto a fresh copy of the base: the same to the bit, and the same again after training both alike. */
    CHECK_OK(bert_save_adapter(model, "adapter"));
    bert_model *fresh = load_model("base");
    bert_model *again = load_adapter(fresh, "adapter");
    CHECK_NEAR(distance(again, model), 0, 0);
    CHECK(are_equal(again, model));
    CHECK_EQUAL(info_of(again).lora_rank, 4);
    CHECK_EQUAL(initialised(again), 0);
    train(model, 1);
    train(again, 1);
    CHECK(are_equal(again, model));
    /* Adapters of ours are replaced. */
    CHECK_OK(bert_save_adapter(model, "adapter"));
    bert_model *newer = load_adapter(fresh, "adapter");
    CHECK(are_equal(newer, model));

    bert_model *all[] = {base, model, merged, whole, fresh, again, newer};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        bert_free(all[i]);
    }
    CHECK(system("rm -r base whole adapter") == 0);
}

/* What is trained, by what a saved model's tensors are before and after. */
static void only_the_head_and_what_is_adapted_changes(void)
{
    bert_model *base = new_base(BERT_PRESET_TINY, 42);
    bert_model *trained[2];
    for (int i = 0; i < 2; i++) {
        CHECK_OK(bert_save(base, "base"));
        bert_model *fresh = load_model("base");
        bert_lora_options options = lora_options();
        options.targets = BERT_LORA_KEY;
        options.train_pooler = i;
        trained[i] = add_lora(fresh, &options);
        bert_free(fresh);
        train(trained[i], 2);
    }
    saved a = save(base);
    static const struct {
        const char *name;
        size_t count;
        int changes[2];
    } tensors[] = {{"word_embeddings.weight", 32, {0, 0}},
                   {"layer.0.attention.self.query.weight", 32 * 32, {0, 0}},
                   {"layer.0.attention.self.key.weight", 32 * 32, {1, 1}},
                   {"layer.0.attention.self.key.bias", 32, {0, 0}},
                   {"layer.1.attention.self.key.weight", 32 * 32, {1, 1}},
                   {"layer.1.output.LayerNorm.weight", 32, {0, 0}},
                   {"pooler.dense.weight", 32 * 32, {0, 1}},
                   {"classifier.weight", 2 * 32, {1, 1}}};
    for (int i = 0; i < 2; i++) {
        saved b = save(trained[i]);
        for (size_t j = 0; j < COUNT_OF(tensors); j++) {
            const char *x = tensor((const char *)a.bytes, tensors[j].name);
            const char *y = tensor((const char *)b.bytes, tensors[j].name);
            CHECK(x != NULL && y != NULL);
            CHECK_EQUAL(memcmp(x, y, 4 * tensors[j].count) != 0, tensors[j].changes[i]);
        }
        release(b);
        /* The pooler is saved where it is trained. */
        CHECK_OK(bert_save_adapter(trained[i], "adapter"));
        char *bytes = read_bytes("adapter/adapter_model.safetensors", NULL);
        CHECK_EQUAL(tensor(bytes, "base_model.model.bert.pooler.dense.weight") != NULL, i);
        CHECK(tensor(bytes, "base_model.model.classifier.weight") != NULL);
        free(bytes);
        char *config = read_bytes("adapter/adapter_config.json", NULL);
        CHECK_EQUAL(strstr(config, "\"pooler\"") != NULL, i);
        free(config);
        bert_free(trained[i]);
    }
    release(a);
    bert_free(base);
    CHECK(system("rm -r base adapter") == 0);
}

/* A run with adapters that is saved in its middle and goes on, and another trainer that takes it up there, end alike. */
static void a_run_is_taken_up_again(void)
{
    bert_model *base = new_base(BERT_PRESET_TINY, 42), *stranger = new_base(BERT_PRESET_TINY, 43);
    bert_dataset *data = toy(BERT_TOY_TRAIN), *validation = toy(BERT_TOY_VALIDATION);
    bert_lora_options lora = lora_options();
    lora.dropout = 0.1;
    bert_train_options options = train_options();
    options.epochs = 8;
    options.batch_size = 4;
    options.learning_rate = 1e-2;
    bert_model *first = add_lora(base, &lora), *second = add_lora(base, &lora);
    bert_model *wrong = add_lora(stranger, &lora);
    bert_trainer *trainer = trainer_of(first, data, validation, &options);
    for (int i = 0; i < 10; i++) {
        CHECK_OK(bert_train_step(trainer, NULL));
    }
    CHECK_OK(bert_trainer_save(trainer, "stopped"));
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);

    trainer = trainer_of(second, data, validation, &options);
    CHECK_OK(bert_trainer_resume(trainer, "stopped", NULL));
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);
    CHECK(are_equal(second, first));
    CHECK_OK(bert_save_adapter(first, "first"));
    CHECK_OK(bert_save_adapter(second, "second"));
    CHECK(system("cmp -s first/adapter_model.safetensors second/adapter_model.safetensors") == 0);

    /* The checkpoint has all weights: it doesn't matter which the trainer's model had. */
    trainer = trainer_of(wrong, data, validation, &options);
    CHECK_OK(bert_trainer_resume(trainer, "stopped", NULL));
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);
    CHECK(are_equal(wrong, first));
    /* Without adapters the run would be another. */
    trainer = trainer_of(base, data, validation, &options);
    CHECK(bert_trainer_resume(trainer, "stopped", NULL) != BERT_OK);
    bert_trainer_free(trainer);

    bert_model *all[] = {base, stranger, first, second, wrong};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        bert_free(all[i]);
    }
    bert_dataset_free(data);
    bert_dataset_free(validation);
    CHECK(system("rm -r stopped first second") == 0);
}

static void options_are_checked(void)
{
    bert_model *base = new_base(BERT_PRESET_TINY, 42), *out = NULL;
    bert_lora_options options;
    CHECK_STATUS(bert_lora_options_init(NULL, sizeof(options)), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_lora_options_init(&options, 3), BERT_ERR_STRUCT_SIZE);
#define REFUSED(field, value, word)                                                               \
    do {                                                                                          \
        options = lora_options();                                                                 \
        options.field = (value);                                                                  \
        CHECK_STATUS(bert_add_lora(base, &options, &out), BERT_ERR_INVALID_ARGUMENT);             \
        CHECK_MESSAGE(word);                                                                      \
        CHECK(out == NULL);                                                                       \
    } while (0)
    REFUSED(rank, 0, "rank is 0");
    REFUSED(rank, -1, "rank is -1");
    REFUSED(rank, INT32_MAX, "rank");
    REFUSED(alpha, 0, "alpha is 0");
    REFUSED(alpha, -1, "alpha is -1");
    REFUSED(alpha, (double)NAN, "alpha is NaN");
    REFUSED(alpha, (double)INFINITY, "alpha is inf");
    REFUSED(dropout, 1, "dropout is 1");
    REFUSED(dropout, (double)NAN, "dropout is NaN");
    REFUSED(targets, 0, "target");
    REFUSED(targets, 64, "targets is 64");
    REFUSED(targets, UINT32_MAX, "targets");
    REFUSED(use_rslora, 2, "use_rslora is 2");
    REFUSED(train_pooler, -1, "train_pooler is -1");
    /* The pooler of a new model is in no file yet. */
    REFUSED(train_pooler, 0, "pooler");
    options = lora_options();
    options.struct_size = 1;
    CHECK_STATUS(bert_add_lora(base, &options, &out), BERT_ERR_STRUCT_SIZE);
    CHECK_STATUS(bert_add_lora(NULL, NULL, &out), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_add_lora(base, NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_merge_lora(base, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_merge_lora(NULL, &out), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_save_adapter(base, "x"), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_save_adapter(NULL, "x"), BERT_ERR_HANDLE);
    CHECK(access("x", F_OK) != 0);

    bert_model *model = add_lora(base, NULL);
    CHECK_STATUS(bert_add_lora(model, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("already");
    CHECK_STATUS(bert_merge_lora(model, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_save_adapter(model, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_save_adapter(model, ""), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_save_adapter(model, "no/such/place"), BERT_ERR_IO);
    CHECK(out == NULL);

    /* A model and adapters don't replace each other. */
    CHECK_OK(bert_save(base, "base"));
    CHECK_STATUS(bert_save_adapter(model, "base"), BERT_ERR_IO);
    CHECK_OK(bert_save_adapter(model, "adapter"));
    CHECK_STATUS(bert_save(base, "adapter"), BERT_ERR_IO);
    CHECK_STATUS(bert_load("adapter", NULL, &out), BERT_ERR_IO);
    CHECK_STATUS(bert_load_adapter(base, "base", &out), BERT_ERR_IO);
    CHECK_STATUS(bert_load_adapter(base, "nowhere", &out), BERT_ERR_IO);
    CHECK_STATUS(bert_load_adapter(base, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_load_adapter(base, "adapter", NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_load_adapter(NULL, "adapter", &out), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_load_adapter(model, "adapter", &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("already");
    /* Of other sizes. */
    bert_model *other = small_model();
    CHECK_STATUS(bert_load_adapter(other, "adapter", &out), BERT_ERR_FORMAT);
    CHECK_MESSAGE("shape");
    CHECK(out == NULL);
    bert_free(other);
    bert_free(model);
    bert_free(base);
    CHECK(system("rm -r base adapter") == 0);
}

/* Writes the adapter's files anew, as another program would: without what a save of ours knows of them. */
static void write_adapter(const char *config, const char *weights, size_t length)
{
    CHECK(system("rm -rf broken && mkdir broken") == 0);
    write_text("broken/adapter_config.json", config);
    write_bytes("broken/adapter_model.safetensors", weights, length);
}

/* A copy of a text with one part replaced by another, for free(). */
static char *replaced(const char *whole, const char *part, const char *by)
{
    const char *place = strstr(whole, part);
    CHECK(place != NULL);
    char *copy = malloc(strlen(whole) + strlen(by) + 1);
    CHECK(copy != NULL);
    sprintf(copy, "%.*s%s%s", (int)(place - whole), whole, by, place + strlen(part));
    return copy;
}

static void hostile_files_are_refused(void)
{
    bert_model *base = new_base(BERT_PRESET_TINY, 42), *out = NULL;
    bert_model *model = add_lora(base, NULL);
    CHECK_OK(bert_save_adapter(model, "adapter"));
    size_t length = 0;
    char *weights = read_bytes("adapter/adapter_model.safetensors", &length);
    char *config = read_bytes("adapter/adapter_config.json", NULL);

    /* As it is, it can be loaded. */
    write_adapter(config, weights, length);
    bert_model *loaded = load_adapter(base, "broken");
    CHECK(are_equal(loaded, model));
    bert_free(loaded);

    static const struct {
        const char *part, *by, *word;
        bert_status status;
    } configs[] = {
        {"\"LORA\"", "\"IA3\"", "peft_type", BERT_ERR_UNSUPPORTED},
        {"\"bias\": \"none\"", "\"bias\": \"all\"", "bias", BERT_ERR_UNSUPPORTED},
        {"\"fan_in_fan_out\": false", "\"fan_in_fan_out\": true", "fan_in_fan_out", BERT_ERR_UNSUPPORTED},
        {"{", "{\"use_dora\": true,", "use_dora", BERT_ERR_UNSUPPORTED},
        {"{", "{\"rank_pattern\": {\"query\": 2},", "shape", BERT_ERR_FORMAT},
        {"{", "{\"rank_pattern\": {\"(\": 2},", "rank_pattern", BERT_ERR_UNSUPPORTED},
        {"{", "{\"layers_to_transform\": [1],", "don't belong together", BERT_ERR_FORMAT},
        {"\"query\"", "\"key\"", "don't belong together", BERT_ERR_FORMAT},
        {"\"r\": 8", "\"r\": 4", "shape", BERT_ERR_FORMAT},
        {"\"r\": 8", "\"r\": 0", "rank is 0", BERT_ERR_FORMAT},
        {"\"r\": 8", "\"r\": 1e99", "\"r\"", BERT_ERR_FORMAT},
        {"\"r\": 8", "\"r\": 18446744073709551615", "rank", BERT_ERR_FORMAT},
        {"\"lora_alpha\": 8", "\"lora_alpha\": -8", "alpha", BERT_ERR_FORMAT},
        {"\"lora_dropout\": 0.0", "\"lora_dropout\": 2", "dropout", BERT_ERR_FORMAT},
        {"{", "[", "JSON", BERT_ERR_FORMAT},
    };
    for (size_t i = 0; i < COUNT_OF(configs); i++) {
        char *wrong = replaced(config, configs[i].part, configs[i].by);
        write_adapter(wrong, weights, length);
        CHECK_STATUS(bert_load_adapter(base, "broken", &out), configs[i].status);
        CHECK_MESSAGE(configs[i].word);
        free(wrong);
    }
    /* Cut anywhere, and with each byte of the header another, it is refused or whole; never a crash. */
    for (size_t cut = 0; cut < length; cut += 1 + length / 200) {
        write_adapter(config, weights, cut);
        CHECK_STATUS(bert_load_adapter(base, "broken", &out), BERT_ERR_FORMAT);
    }
    uint64_t header = 0;
    memcpy(&header, weights, 8);
    for (size_t place = 0; place < 8 + header; place += 7) {
        weights[place] ^= 0x11;
        write_adapter(config, weights, length);
        bert_model *maybe = NULL;
        if (bert_load_adapter(base, "broken", &maybe) == BERT_OK) {
            bert_free(maybe);
        }
        weights[place] ^= 0x11;
    }
    /* A name that isn't an adapter's; a number that isn't one. */
    char *name = strstr(weights + 8, ".query.lora_A.weight");
    CHECK(name != NULL);
    memcpy(name, ".query.lora_Z.weight", 20);
    write_adapter(config, weights, length);
    CHECK_STATUS(bert_load_adapter(base, "broken", &out), BERT_ERR_FORMAT);
    memcpy(name, ".query.lora_A.weight", 20);
    memset(weights + length - 4, 0xff, 4);
    write_adapter(config, weights, length);
    CHECK_STATUS(bert_load_adapter(base, "broken", &out), BERT_ERR_FORMAT);
    CHECK_MESSAGE("NaN");
    CHECK(out == NULL);

    /* An adapter that was trained with a pooler that nobody has. */
    CHECK_OK(bert_save(base, "base"));
    bert_model *fresh = load_model("base");
    bert_lora_options options = lora_options();
    options.train_pooler = 0;
    bert_model *without = add_lora(fresh, &options);
    CHECK_OK(bert_save_adapter(without, "without"));
    bert_model *good = load_adapter(fresh, "without");
    CHECK_STATUS(bert_load_adapter(base, "without", &out), BERT_ERR_FORMAT);
    CHECK_MESSAGE("pooler");

    bert_model *all[] = {base, model, fresh, without, good};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        bert_free(all[i]);
    }
    free(weights);
    free(config);
    CHECK(system("rm -r base adapter broken without") == 0);
}

int main(void)
{
    learns_and_leaves_the_base(BERT_PRESET_TINY, BERT_LORA_QUERY + BERT_LORA_VALUE);
    learns_and_leaves_the_base(BERT_PRESET_COMPACT, BERT_LORA_QUERY + BERT_LORA_KEY + BERT_LORA_VALUE +
                                                        BERT_LORA_ATTENTION_OUTPUT +
                                                        BERT_LORA_INTERMEDIATE + BERT_LORA_OUTPUT);
    only_the_head_and_what_is_adapted_changes();
    a_run_is_taken_up_again();
    options_are_checked();
    hostile_files_are_refused();
    return 0;
}
