/* New models: presets and their sizes, the choices, what can't be made, labels. */

#include "check.h"

/* The numbers in a BERT's parameters, counted by hand from its layers. */
static int64_t parameters(const bert_info *info)
{
    int64_t h = info->hidden_size, i = info->intermediate_size;
    int64_t embeddings =
        (info->vocab_size + info->max_position_embeddings + info->type_vocab_size) * h + 2 * h;
    /* Query, key, value and output; the two layers of the feed-forward block; two layer norms. */
    int64_t block = 4 * (h * h + h) + (h * i + i) + (i * h + h) + 2 * 2 * h;
    int64_t head = h * info->num_labels + info->num_labels;
    if (info->pooling == BERT_POOLING_POOLER) {
        head += h * h + h;
    }
    if (info->final_layer_norm) {
        head += 2 * h;
    }
    return embeddings + info->num_hidden_layers * block + head;
}

static void presets_have_their_sizes(void)
{
    static const int32_t sizes[][4] = {
        /* preset, layers, hidden, heads */
        {BERT_PRESET_COMPACT, 2, 128, 4}, {BERT_PRESET_TINY, 2, 128, 2},  {BERT_PRESET_MINI, 4, 256, 4},
        {BERT_PRESET_SMALL, 4, 512, 8},   {BERT_PRESET_MEDIUM, 8, 512, 8}, {BERT_PRESET_BASE, 12, 768, 12},
        {BERT_PRESET_LARGE, 24, 1024, 16},
    };
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        bert_model_options options;
        CHECK_OK(bert_model_options_init(&options, sizeof(options), sizes[i][0]));
        CHECK_EQUAL(options.struct_size, sizeof(options));
        CHECK_EQUAL(options.num_hidden_layers, sizes[i][1]);
        CHECK_EQUAL(options.hidden_size, sizes[i][2]);
        CHECK_EQUAL(options.num_attention_heads, sizes[i][3]);
        CHECK_EQUAL(options.intermediate_size, 4 * sizes[i][2]);
        CHECK_EQUAL(options.max_position_embeddings, -1);
        CHECK_EQUAL(options.type_vocab_size, 2);
        CHECK_EQUAL(options.tokenizer, BERT_TOKENIZER_WORD_LEVEL);
        CHECK_EQUAL(options.lowercase, 1);
        CHECK_EQUAL(options.min_frequency, 1);
        CHECK_EQUAL(options.max_vocab_size, 30522);
        CHECK_EQUAL(options.hidden_act, BERT_ACT_GELU);
        int is_compact = sizes[i][0] == BERT_PRESET_COMPACT;
        CHECK_EQUAL(options.pooling, is_compact ? BERT_POOLING_CLS : BERT_POOLING_POOLER);
        CHECK_EQUAL(options.final_layer_norm, is_compact);
        CHECK(options.hidden_dropout_prob == 0.1 && options.attention_probs_dropout_prob == 0.1 &&
              options.classifier_dropout == 0.1);
        CHECK(options.initializer_range == 0.02 && options.layer_norm_eps == 1e-12);
        CHECK(options.tokenizer_path == NULL && options.label_names == NULL && options.device == NULL);
        CHECK_EQUAL(options.num_label_names, 0);
        CHECK_EQUAL(options.seed, 42);
        /* The large ones would take a while to fill with random numbers, and are made alike. */
        if (sizes[i][2] > 256) {
            continue;
        }
        bert_model *model = create(&options, train);
        bert_info info = info_of(model);
        CHECK_EQUAL(info.num_hidden_layers, sizes[i][1]);
        CHECK_EQUAL(info.hidden_size, sizes[i][2]);
        CHECK_EQUAL(info.num_attention_heads, sizes[i][3]);
        CHECK_EQUAL(info.intermediate_size, 4 * sizes[i][2]);
        /* The built-in texts are short. */
        CHECK_EQUAL(info.max_position_embeddings, 32);
        CHECK_EQUAL(info.num_labels, 2);
        CHECK_EQUAL(info.final_layer_norm, is_compact);
        CHECK(test_device() != NULL || strcmp(info.device, "cpu") == 0);
        CHECK_EQUAL(info.parameter_count, parameters(&info));
        bert_free(model);
    }
    bert_model_options options;
    CHECK_STATUS(bert_model_options_init(&options, sizeof(options), 7), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_model_options_init(&options, sizeof(options), -1), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_model_options_init(NULL, sizeof(options), 0), BERT_ERR_INVALID_ARGUMENT);

    /* No options are the compact preset's. */
    bert_model *plain = create(NULL, train);
    CHECK_OK(bert_model_options_init(&options, sizeof(options), BERT_PRESET_COMPACT));
    bert_model *compact = create(&options, train);
    CHECK(are_equal(plain, compact));
    bert_free(plain);
    bert_free(compact);
    bert_dataset_free(train);
}

/* Every tokenizer with every pooling and activation: a model that answers, and is what was asked for. */
static void choices_combine(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    float seen[27][8];
    int count = 0;
    for (int32_t tokenizer = 0; tokenizer < 3; tokenizer++) {
        for (int32_t pooling = 0; pooling < 3; pooling++) {
            for (int32_t act = 0; act < 3; act++) {
                bert_model_options options = small_options();
                options.tokenizer = tokenizer;
                options.pooling = pooling;
                options.hidden_act = act;
                options.final_layer_norm = act == 1;
                /* Larger weights, so that the activations' small differences show. */
                options.initializer_range = 0.5;
                bert_model *model = create(&options, train);
                bert_info info = info_of(model);
                CHECK_EQUAL(info.tokenizer, tokenizer);
                CHECK_EQUAL(info.pooling, pooling);
                CHECK_EQUAL(info.hidden_act, act);
                CHECK_EQUAL(info.final_layer_norm, act == 1);
                CHECK_EQUAL(info.parameter_count, parameters(&info));
                logits_of(model, "i loved the wonderful music", seen[count]);
                CHECK(isfinite(seen[count][0]) && isfinite(seen[count][1]));
                for (int other = 0; other < count; other++) {
                    CHECK(seen[other][0] != seen[count][0]);
                }
                count++;
                bert_free(model);
            }
        }
    }
    bert_dataset_free(train);
}

static void the_seed_decides_the_weights(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    bert_model *first = create(&options, train), *second = create(&options, train);
    CHECK(are_equal(first, second));
    options.seed = 43;
    bert_model *third = create(&options, train);
    CHECK(!are_equal(first, third));
    bert_free(first);
    bert_free(second);
    bert_free(third);
    bert_dataset_free(train);
}

static void a_vocabulary_has_its_limits(void)
{
    static const char *const texts[] = {"a a a b b C", "a b d"};
    static const char *const names[] = {"x", "y"};
    bert_dataset *train = named(2, texts, names);
    bert_model_options options = small_options();
    options.min_frequency = 2;
    bert_model *model = create(&options, train);
    CHECK_EQUAL(info_of(model).vocab_size, 5 + 2);
    bert_free(model);
    options.min_frequency = 1;
    options.max_vocab_size = 8;
    model = create(&options, train);
    CHECK_EQUAL(info_of(model).vocab_size, 8);
    bert_free(model);
    bert_dataset_free(train);
}

/* One wrong option: a status, a sentence with the option's name, and no model. */
#define REFUSES(change, status, message)                                                           \
    do {                                                                                           \
        bert_model_options options = small_options();                                              \
        bert_model *model = NULL;                                                                  \
        change;                                                                                    \
        CHECK_STATUS(bert_create(&options, train, &model), status);                                \
        CHECK_MESSAGE(message);                                                                    \
        CHECK(model == NULL);                                                                      \
    } while (0)

static void impossible_models_are_refused(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    const bert_status wrong = BERT_ERR_INVALID_ARGUMENT;
    REFUSES(options.num_attention_heads = 3, wrong, "num_attention_heads 3");
    REFUSES(options.hidden_size = 0, wrong, "hidden_size is 0");
    REFUSES(options.hidden_size = -16, wrong, "hidden_size is -16");
    REFUSES(options.hidden_size = INT32_MAX, wrong, "hidden_size is 2147483647");
    REFUSES(options.hidden_size = INT32_MIN, wrong, "hidden_size");
    REFUSES(options.num_hidden_layers = 0, wrong, "num_hidden_layers is 0");
    REFUSES(options.num_hidden_layers = INT32_MAX, wrong, "num_hidden_layers");
    REFUSES(options.num_attention_heads = 0, wrong, "num_attention_heads is 0");
    REFUSES(options.num_attention_heads = -2, wrong, "num_attention_heads is -2");
    REFUSES(options.intermediate_size = 0, wrong, "intermediate_size is 0");
    REFUSES(options.intermediate_size = INT32_MAX, wrong, "intermediate_size");
    REFUSES(options.max_position_embeddings = 0, wrong, "max_position_embeddings is 0");
    REFUSES(options.max_position_embeddings = 3, wrong, "max_position_embeddings is 3");
    REFUSES(options.max_position_embeddings = INT32_MAX, wrong, "max_position_embeddings");
    REFUSES(options.type_vocab_size = 0, wrong, "type_vocab_size is 0");
    REFUSES(options.tokenizer = 3, wrong, "tokenizer is 3");
    REFUSES(options.tokenizer = -1, wrong, "tokenizer is -1");
    REFUSES(options.lowercase = 2, wrong, "lowercase is 2");
    REFUSES(options.min_frequency = -1, wrong, "min_frequency is -1");
    REFUSES(options.max_vocab_size = 0, wrong, "max_vocab_size is 0");
    REFUSES(options.max_vocab_size = -1, wrong, "max_vocab_size is -1");
    REFUSES(options.max_vocab_size = 5, wrong, "max_vocab_size is 5");
    REFUSES((options.tokenizer = BERT_TOKENIZER_BPE, options.max_vocab_size = 200), wrong,
            "max_vocab_size is 200");
    REFUSES(options.hidden_act = 3, wrong, "hidden_act is 3");
    REFUSES(options.pooling = -1, wrong, "pooling is -1");
    REFUSES(options.final_layer_norm = 2, wrong, "final_layer_norm is 2");
    REFUSES(options.hidden_dropout_prob = NAN, wrong, "hidden_dropout_prob is NaN");
    REFUSES(options.hidden_dropout_prob = -0.1, wrong, "hidden_dropout_prob is -0.1");
    REFUSES(options.hidden_dropout_prob = 1.0, wrong, "hidden_dropout_prob is 1");
    REFUSES(options.attention_probs_dropout_prob = INFINITY, wrong, "attention_probs_dropout_prob is inf");
    REFUSES(options.classifier_dropout = NAN, wrong, "classifier_dropout is NaN");
    REFUSES(options.initializer_range = NAN, wrong, "initializer_range is NaN");
    REFUSES(options.initializer_range = -0.02, wrong, "initializer_range is -0.02");
    REFUSES(options.layer_norm_eps = 0.0, wrong, "layer_norm_eps is 0");
    REFUSES(options.layer_norm_eps = NAN, wrong, "layer_norm_eps is NaN");
    REFUSES((options.hidden_size = 65536, options.num_hidden_layers = 1024, options.intermediate_size = 1048576),
            BERT_ERR_OUT_OF_MEMORY, "bytes");
    REFUSES((options.tokenizer_path = "absent.json"), BERT_ERR_IO, "absent.json");
    write_text("broken.json", "{\"version\": ");
    REFUSES((options.tokenizer_path = "broken.json"), BERT_ERR_FORMAT, "'broken.json'");
    REFUSES((options.device = "\xff"), BERT_ERR_UTF8, "device");
    bert_model *model = NULL;
    CHECK_STATUS(bert_create(NULL, train, NULL), wrong);
    CHECK_STATUS(bert_create(NULL, NULL, &model), BERT_ERR_HANDLE);
    CHECK(model == NULL);
    bert_dataset_free(train);
}

static void labels_can_be_given(void)
{
    static const char *const names[] = {"positive", "neutral", "negative"};
    static const char *const few[] = {"positive"};
    static const char *const twice[] = {"positive", "negative", "positive"};
    static const char *const broken[] = {"positive", "negative", "\xff"};
    static const char *const hole[] = {"positive", NULL};
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    options.label_names = names;
    options.num_label_names = 3;
    bert_model *model = create(&options, train);
    CHECK_EQUAL(info_of(model).num_labels, 3);
    for (int32_t id = 0; id < 3; id++) {
        const char *name = NULL;
        size_t length = 0;
        int32_t back = -1;
        CHECK_OK(bert_label_name(model, id, &name, &length));
        CHECK_TEXT(name, names[id]);
        CHECK_EQUAL(length, strlen(names[id]));
        CHECK_OK(bert_label_id(model, name, length, &back));
        CHECK_EQUAL(back, id);
    }
    const char *name = NULL;
    int32_t id = -5;
    CHECK_STATUS(bert_label_name(model, 3, &name, NULL), BERT_ERR_UNKNOWN_LABEL);
    CHECK_STATUS(bert_label_name(model, -1, &name, NULL), BERT_ERR_UNKNOWN_LABEL);
    CHECK_MESSAGE("-1");
    CHECK_STATUS(bert_label_name(model, 0, NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_label_id(model, "bad", NUL, &id), BERT_ERR_UNKNOWN_LABEL);
    CHECK_MESSAGE("'bad'");
    CHECK_MESSAGE("'neutral'");
    CHECK_STATUS(bert_label_id(model, "\xff", NUL, &id), BERT_ERR_UTF8);
    CHECK_STATUS(bert_label_id(model, NULL, NUL, &id), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_label_id(model, "positive", NUL, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK(name == NULL && id == -5);
    bert_free(model);

    REFUSES((options.label_names = few, options.num_label_names = 1), BERT_ERR_UNKNOWN_LABEL, "'negative'");
    REFUSES((options.label_names = twice, options.num_label_names = 3), BERT_ERR_INVALID_ARGUMENT, "'positive'");
    REFUSES((options.label_names = broken, options.num_label_names = 3), BERT_ERR_UTF8, "label_names");
    REFUSES((options.label_names = hole, options.num_label_names = 2), BERT_ERR_INVALID_ARGUMENT, "label_names");
    REFUSES((options.label_names = names, options.num_label_names = 0), BERT_ERR_INVALID_ARGUMENT, "label names");
    REFUSES((options.num_label_names = 2), BERT_ERR_INVALID_ARGUMENT, "label_names is NULL");
    REFUSES((options.label_names = names, options.num_label_names = SIZE_MAX / 4), BERT_ERR_INVALID_ARGUMENT,
            "label_names");
    bert_dataset_free(train);
}

static void data_that_makes_no_classifier_is_refused(void)
{
    bert_dataset *empty = NULL;
    CHECK_OK(bert_dataset_create(&empty));
    bert_model *model = NULL;
    CHECK_STATUS(bert_create(NULL, empty, &model), BERT_ERR_DATA);
    CHECK_MESSAGE("empty");
    static const char *const names[] = {"a", "b"};
    bert_model_options options = small_options();
    options.label_names = names;
    options.num_label_names = 2;
    CHECK_STATUS(bert_create(&options, empty, &model), BERT_ERR_DATA);
    CHECK_OK(bert_dataset_add_class(empty, "x", NUL, NULL, 0, "a", NUL));
    CHECK_OK(bert_dataset_add_class(empty, "y", NUL, NULL, 0, "a", NUL));
    CHECK_STATUS(bert_create(NULL, empty, &model), BERT_ERR_DATA);
    CHECK_MESSAGE("'a'");
    CHECK(model == NULL);
    bert_dataset_free(empty);

    bert_dataset *ids = NULL;
    CHECK_OK(bert_dataset_create(&ids));
    CHECK_OK(bert_dataset_add_class_id(ids, "x", NUL, NULL, 0, 0));
    CHECK_OK(bert_dataset_add_class_id(ids, "y", NUL, NULL, 0, 2000000000));
    CHECK_STATUS(bert_create(NULL, ids, &model), BERT_ERR_DATA);
    CHECK_MESSAGE("2000000000");
    CHECK(model == NULL);
    bert_dataset_free(ids);
}

/* Strings that are lent live as long as the model's handle, whatever is done with the model meanwhile. */
static void lent_strings_stay(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    bert_model *model = create(&options, train);
    const char *names[2], *parameter = NULL;
    char before[256];
    size_t count = 0;
    for (int32_t id = 0; id < 2; id++) {
        CHECK_OK(bert_label_name(model, id, &names[id], NULL));
    }
    CHECK_OK(bert_parameter_name(model, BERT_PARAMETERS_INITIALISED, 0, &parameter, &count));
    snprintf(before, sizeof(before), "%s", parameter);
    bert_trainer *trainer = trainer_of(model, train, NULL, NULL);
    CHECK_OK(bert_train_epoch(trainer, NULL));
    bert_trainer_free(trainer);
    bert_dataset_free(train);
    bert_free(small_model());
    CHECK_OK(bert_save(model, "lends"));
    CHECK_TEXT(names[0], "negative");
    CHECK_TEXT(names[1], "positive");
    CHECK_TEXT(parameter, before);
    const char *again = NULL;
    CHECK_OK(bert_label_name(model, 0, &again, NULL));
    CHECK(again == names[0]);
    bert_free(model);
}

int main(void)
{
    lent_strings_stay();
    presets_have_their_sizes();
    choices_combine();
    the_seed_decides_the_weights();
    a_vocabulary_has_its_limits();
    impossible_models_are_refused();
    labels_can_be_given();
    data_that_makes_no_classifier_is_refused();
    return 0;
}
