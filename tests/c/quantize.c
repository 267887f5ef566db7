/* Int8 models: what they predict, that they are saved and loaded, what they refuse, and damaged files. */

#define _XOPEN_SOURCE 700

#include "check.h"

#include <sys/stat.h>
#include <unistd.h>

static const char *const texts[] = {"a great film", "", "terrible food and rude staff", "we loved every minute of it",
                                    "what a waste of an evening"};

/* A model that tells the built-in sentences apart. */
static bert_model *trained(int32_t pooling, const bert_dataset *train)
{
    bert_model_options options = small_options();
    options.hidden_size = 64;
    options.num_hidden_layers = 2;
    options.intermediate_size = 96;
    options.pooling = pooling;
    bert_model *model = create(&options, train);
    bert_train_options training = train_options();
    training.epochs = 20;
    training.batch_size = 8;
    training.learning_rate = 2e-3;
    bert_trainer *trainer = trainer_of(model, train, NULL, &training);
    CHECK_OK(bert_train(trainer, NULL));
    bert_trainer_free(trainer);
    return model;
}

static bert_model *quantized(const bert_model *model)
{
    bert_model *int8 = NULL;
    CHECK_OK(bert_quantize(model, &int8));
    return int8;
}

static int best(const float logits[8])
{
    return logits[1] > logits[0];
}

static double accuracy(const bert_model *model, const bert_dataset *data)
{
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate(model, data, 0, &evaluation));
    return evaluation.accuracy;
}

static void check_same(const bert_model *a, const bert_model *b)
{
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        float first[8] = {0}, second[8] = {0};
        logits_of(a, texts[i], first);
        logits_of(b, texts[i], second);
        CHECK(memcmp(first, second, sizeof(first)) == 0);
    }
}

static void vector_of(const bert_model *model, const char *text, int32_t pooling, float vector[64])
{
    bert_embed_options options;
    CHECK_OK(bert_embed_options_init(&options, sizeof(options)));
    options.pooling = pooling;
    options.normalise = 1;
    CHECK_OK(bert_embed(model, 1, &text, NULL, NULL, NULL, &options, vector, 64));
}

static void it_predicts_nearly_the_same(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    for (int32_t pooling = BERT_POOLING_POOLER; pooling <= BERT_POOLING_MEAN; pooling++) {
        bert_model *model = trained(pooling, train), *int8 = quantized(model);
        bert_info before = info_of(model), after = info_of(int8);
        CHECK_EQUAL(before.weights, BERT_WEIGHTS_FLOAT32);
        CHECK_EQUAL(after.weights, BERT_WEIGHTS_INT8);
        after.weights = before.weights;
        CHECK(is_same_info(&before, &after));
        for (size_t i = 0; i < COUNT_OF(texts); i++) {
            float float32[8] = {0}, rounded[8] = {0};
            logits_of(model, texts[i], float32);
            logits_of(int8, texts[i], rounded);
            CHECK_EQUAL(best(float32), best(rounded));
            for (int label = 0; label < 2; label++) {
                CHECK_NEAR(rounded[label], float32[label], 0.3);
            }
            /* It is another model all the same. */
            CHECK(memcmp(float32, rounded, sizeof(rounded)) != 0);
            float a[64], b[64];
            double product = 0;
            vector_of(model, texts[i], BERT_POOLING_MEAN, a);
            vector_of(int8, texts[i], BERT_POOLING_MEAN, b);
            for (int place = 0; place < 64; place++) {
                product += (double)a[place] * b[place];
            }
            CHECK_NEAR(product, 1, 0.02);
        }
        CHECK(accuracy(model, train) > 0.9);
        CHECK_NEAR(accuracy(int8, train), accuracy(model, train), 0.05);
        /* The names of its parameters are those of the model it was made of. */
        const char *name = NULL;
        size_t count = 0;
        CHECK_OK(bert_parameter_name(int8, BERT_PARAMETERS_INITIALISED, 0, &name, &count));
        CHECK_TEXT(name, "bert.embeddings.word_embeddings.weight");

        /* The model itself stays as it was, and goes without harm to what was made of it. */
        bert_model *again = quantized(model);
        CHECK(are_equal(int8, again));
        bert_free(again);
        bert_free(model);
        float rounded[8] = {0};
        logits_of(int8, texts[0], rounded);
        bert_free(int8);
    }
    bert_dataset_free(train);
}

static long file_size(const char *path)
{
    struct stat status;
    CHECK(stat(path, &status) == 0);
    return (long)status.st_size;
}

static void it_is_saved_and_loaded(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = trained(BERT_POOLING_POOLER, train), *int8 = quantized(model);
    CHECK_OK(bert_save(model, "float32"));
    CHECK_OK(bert_save(int8, "int8"));
    CHECK(file_size("int8/model.safetensors") < file_size("float32/model.safetensors") / 2);
    char *config = read_bytes("int8/config.json", NULL);
    CHECK(strstr(config, "\"model_type\": \"libbert\"") != NULL);
    CHECK(strstr(config, "\"weights\": \"int8\"") != NULL);
    free(config);

    bert_model *loaded = load_model("int8");
    CHECK_EQUAL(info_of(loaded).weights, BERT_WEIGHTS_INT8);
    CHECK_EQUAL(initialised(loaded), 0);
    check_same(int8, loaded);
    CHECK(are_equal(int8, loaded));
    saved bytes = save(int8);
    bert_model *from_buffer = NULL;
    CHECK_OK(bert_load_from_buffer(bytes.bytes, bytes.length, NULL, &from_buffer));
    check_same(int8, from_buffer);
    CHECK(are_equal(int8, from_buffer));

    /* It takes a float32 model's place, and is replaced by one. */
    CHECK_OK(bert_save(int8, "float32"));
    bert_model *replaced = load_model("float32");
    CHECK_EQUAL(info_of(replaced).weights, BERT_WEIGHTS_INT8);
    CHECK_OK(bert_save(model, "int8"));
    bert_model *back = load_model("int8");
    CHECK_EQUAL(info_of(back).weights, BERT_WEIGHTS_FLOAT32);
    check_same(model, back);

    bert_model *models[] = {model, int8, loaded, from_buffer, replaced, back};
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        bert_free(models[i]);
    }
    release(bytes);
    bert_dataset_free(train);
}

static void what_it_cannot_is_refused(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model *model = small_model(), *int8 = quantized(model), *other = NULL;
    bert_trainer *trainer = NULL;
    CHECK_STATUS(bert_quantize(int8, &other), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("int8 already");
    CHECK_STATUS(bert_quantize(model, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_quantize(NULL, &other), BERT_ERR_HANDLE);
    CHECK_STATUS(bert_trainer_create(int8, train, NULL, NULL, &trainer), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("training needs float32");
    CHECK_STATUS(bert_add_lora(int8, NULL, &other), BERT_ERR_UNSUPPORTED);
    CHECK_STATUS(bert_merge_lora(int8, &other), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_save_adapter(int8, "adapter"), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_load_adapter(int8, "adapter", &other), BERT_ERR_UNSUPPORTED);
    CHECK(trainer == NULL && other == NULL);

    /* Another head would have to be trained. */
    static const char *const names[] = {"good", "bad", "neither"};
    CHECK_OK(bert_save(int8, "head"));
    bert_load_options options;
    CHECK_OK(bert_load_options_init(&options, sizeof(options)));
    options.label_names = names;
    options.num_label_names = COUNT_OF(names);
    CHECK_STATUS(bert_load("head", &options, &other), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("int8");

    /* Adapters are merged. */
    bert_model *adapted = NULL, *merged = NULL;
    CHECK_OK(bert_add_lora(model, NULL, &adapted));
    trainer = trainer_of(adapted, train, NULL, NULL);
    CHECK_OK(bert_train_step(trainer, NULL));
    bert_trainer_free(trainer);
    CHECK_OK(bert_merge_lora(adapted, &merged));
    bert_model *of_adapted = quantized(adapted), *of_merged = quantized(merged);
    CHECK(are_equal(of_adapted, of_merged));
    CHECK_EQUAL(info_of(of_adapted).lora_rank, 0);

    bert_model *models[] = {model, int8, adapted, merged, of_adapted, of_merged};
    for (size_t i = 0; i < COUNT_OF(models); i++) {
        bert_free(models[i]);
    }
    bert_dataset_free(train);
}

/* The text `from` becomes `to`, of the same length, in a file's header. */
static void edit(const char *path, const char *from, const char *to)
{
    size_t length = 0;
    char *bytes = read_bytes(path, &length);
    CHECK(bytes != NULL && strlen(from) == strlen(to));
    size_t found = 0;
    for (size_t i = 0; i + strlen(from) <= length; i++) {
        if (memcmp(bytes + i, from, strlen(from)) == 0) {
            memcpy(bytes + i, to, strlen(to));
            found++;
            break;
        }
    }
    CHECK_EQUAL(found, 1);
    write_bytes(path, bytes, length);
    free(bytes);
}

/* Where the first scales of a file's tensors begin. */
static size_t scales_of(const char *bytes, const char *name)
{
    uint64_t header = 0;
    memcpy(&header, bytes, 8);
    char *copy = malloc(header + 1);
    CHECK(copy != NULL);
    memcpy(copy, bytes + 8, header);
    copy[header] = 0;
    const char *tensor = strstr(copy, name);
    CHECK(tensor != NULL);
    const char *offsets = strstr(tensor, "\"data_offsets\":[");
    CHECK(offsets != NULL);
    size_t start = (size_t)strtoul(offsets + strlen("\"data_offsets\":["), NULL, 10);
    free(copy);
    return 8 + (size_t)header + start;
}

static void damaged_files_are_refused(void)
{
    bert_model *model = small_model(), *int8 = quantized(model), *other = NULL;
    static const char *const file = "damaged/model.safetensors";

    /* A flipped bit, by the checksum. */
    CHECK_OK(bert_save(int8, "damaged"));
    size_t length = 0;
    char *bytes = read_bytes(file, &length);
    bytes[length - 1] ^= 4;
    write_bytes(file, bytes, length);
    CHECK_STATUS(bert_load("damaged", NULL, &other), BERT_ERR_FORMAT);
    CHECK_MESSAGE("model.safetensors");
    bytes[length - 1] ^= 4;

    /* From here on the file says of itself what it is. */
    static const char *const scale = "bert.encoder.layer.0.output.dense.weight_scale";
    static const float bad[] = {0.0f, -1.0f, NAN, INFINITY};
    size_t place = scales_of(bytes, scale);
    CHECK(unlink("damaged/libbert.json") == 0);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        float good;
        memcpy(&good, bytes + place, sizeof(good));
        CHECK(good > 0);
        memcpy(bytes + place, &bad[i], sizeof(bad[i]));
        write_bytes(file, bytes, length);
        CHECK_STATUS(bert_load("damaged", NULL, &other), BERT_ERR_FORMAT);
        CHECK_MESSAGE(scale);
        memcpy(bytes + place, &good, sizeof(good));
    }
    /* Finite and far too large: a model as it stands in the file, whose answers are none. */
    float huge = 3e38f;
    memcpy(bytes + place, &huge, sizeof(huge));
    write_bytes(file, bytes, length);
    CHECK_OK(bert_load("damaged", NULL, &other));
    float logits[8] = {0};
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = logits;
    out.logits_capacity = 8;
    bert_status status = bert_predict_batch(other, 1, texts, NULL, NULL, NULL, NULL, &out);
    CHECK(status == BERT_OK || status == BERT_ERR_NOT_FINITE);
    bert_free(other);
    other = NULL;

    static const struct {
        const char *from, *to;
    } edits[] = {
        {"layer.0.output.dense.weight_scale\"", "layer.0.output.dense.weight_scalf\""},
        {"layer.0.output.dense.weight\"", "layer.0.output.dense.weighs\""},
        {"\"dtype\":\"I8\"", "\"dtype\":\"U8\""},
    };
    for (size_t i = 0; i < COUNT_OF(edits); i++) {
        CHECK_OK(bert_save(int8, "edited"));
        CHECK(unlink("edited/libbert.json") == 0);
        edit("edited/model.safetensors", edits[i].from, edits[i].to);
        CHECK_STATUS(bert_load("edited", NULL, &other), BERT_ERR_FORMAT);
    }
    /* The weights of the other kind, both ways. */
    CHECK_OK(bert_save(model, "plain"));
    CHECK_OK(bert_save(int8, "edited"));
    char *plain = read_bytes("plain/model.safetensors", &place);
    CHECK(unlink("edited/libbert.json") == 0 && unlink("plain/libbert.json") == 0);
    write_bytes("edited/model.safetensors", plain, place);
    CHECK_STATUS(bert_load("edited", NULL, &other), BERT_ERR_FORMAT);
    write_bytes("plain/model.safetensors", bytes, length);
    CHECK_STATUS(bert_load("plain", NULL, &other), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("I8");
    CHECK(other == NULL);
    free(plain);
    free(bytes);
    bert_free(int8);
    bert_free(model);
}

int main(void)
{
    it_predicts_nearly_the_same();
    it_is_saved_and_loaded();
    what_it_cannot_is_refused();
    damaged_files_are_refused();
    return 0;
}
