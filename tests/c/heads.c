/* What becomes of a published model's head at load: kept, renamed, reordered, lost with a warning, or refused; and LoRA
 * adapters whose modules differ. The right numbers are those of transformers 5.24 and peft 0.21.2 on the same files. */

#define _POSIX_C_SOURCE 200809L

#include <sys/stat.h>

#include "check.h"

enum { HIDDEN = 4, INNER = 8, POSITIONS = 32 };

/* ---- Files ------------------------------------------------------------------------------------------------------- */

/* A safetensors file that is being made: its header without the outer brackets, and its numbers. */
typedef struct {
    char header[16384];
    float numbers[4096];
    size_t count;
} tensors;

/* Adds a tensor with these numbers; NULL: numbers that follow from the name, without `prefix`, and the place, 1 for a
 * layer norm's weight, 0 for a bias. */
static void add(tensors *file, const char *prefix, const char *name, size_t rows, size_t columns,
                const float *numbers)
{
    size_t count = rows * (columns == 0 ? 1 : columns), used = strlen(file->header);
    CHECK(file->count + count <= COUNT_OF(file->numbers));
    char shape[64];
    snprintf(shape, sizeof(shape), columns == 0 ? "%zu" : "%zu,%zu", rows, columns);
    int written = snprintf(file->header + used, sizeof(file->header) - used,
                           "%s\"%s%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                           used == 0 ? "" : ",", prefix, name, shape, 4 * file->count, 4 * (file->count + count));
    CHECK(written > 0 && (size_t)written < sizeof(file->header) - used);
    size_t length = strlen(name), sum = 0;
    for (size_t i = 0; i < length; i++) {
        sum += (unsigned char)name[i];
    }
    int is_norm = strstr(name, "LayerNorm.weight") != NULL, is_bias = strcmp(name + length - 5, ".bias") == 0;
    for (size_t i = 0; i < count; i++) {
        double own = is_norm ? 1 : is_bias ? 0 : ((double)((sum + 37 * i) % 41) - 20) / 40;
        file->numbers[file->count++] = numbers != NULL ? numbers[i] : (float)own;
    }
}

static void write_tensors(const tensors *file, const char *path)
{
    size_t header = strlen(file->header) + 2, padded = (header + 7) / 8 * 8;
    char *bytes = calloc(1, 8 + padded + 4 * file->count + 1);
    CHECK(bytes != NULL);
    uint64_t length = padded;
    memcpy(bytes, &length, 8);
    memset(bytes + 8, ' ', padded);
    bytes[8] = '{';
    memcpy(bytes + 9, file->header, header - 2);
    bytes[7 + header] = '}';
    memcpy(bytes + 8 + padded, file->numbers, 4 * file->count);
    write_bytes(path, bytes, 8 + padded + 4 * file->count);
    free(bytes);
}

/* What a directory's model is like. */
typedef struct {
    const char *architecture, *labels; /* labels: the value of id2label, or NULL */
    const char *more;                  /* further keys of config.json, or NULL */
    const char *prefix, *head;         /* of the names; head NULL: there is none */
    int layers, told_layers, pooler, bias, count;
    int head_follows_names; /* the classifier's weight has numbers of its own, not zeros */
} model_files;

static const model_files plain = {
    "BertForSequenceClassification", NULL, NULL, "bert.", "classifier.", 1, 1, 1, 1, 2, 0};

/* The bias is 0, 1, 0, …: with a weight of zeros the logits of every text. */
static void make(const char *path, const model_files *like)
{
    static tensors file;
    memset(&file, 0, sizeof(file));
    char name[256];
#define ADD(part, rows, columns) add(&file, like->prefix, part, rows, columns, NULL)
    ADD("embeddings.word_embeddings.weight", 6, HIDDEN);
    ADD("embeddings.position_embeddings.weight", POSITIONS, HIDDEN);
    ADD("embeddings.token_type_embeddings.weight", 2, HIDDEN);
    ADD("embeddings.LayerNorm.weight", HIDDEN, 0);
    ADD("embeddings.LayerNorm.bias", HIDDEN, 0);
    for (int layer = 0; layer < like->layers; layer++) {
        static const struct {
            const char *name;
            size_t rows, columns;
        } parts[] = {{"attention.self.query", HIDDEN, HIDDEN},   {"attention.self.key", HIDDEN, HIDDEN},
                     {"attention.self.value", HIDDEN, HIDDEN},   {"attention.output.dense", HIDDEN, HIDDEN},
                     {"attention.output.LayerNorm", HIDDEN, 0},  {"intermediate.dense", INNER, HIDDEN},
                     {"output.dense", HIDDEN, INNER},            {"output.LayerNorm", HIDDEN, 0}};
        for (size_t i = 0; i < COUNT_OF(parts); i++) {
            char part[128];
            snprintf(part, sizeof(part), "encoder.layer.%d.%s.weight", layer, parts[i].name);
            ADD(part, parts[i].rows, parts[i].columns);
            snprintf(part, sizeof(part), "encoder.layer.%d.%s.bias", layer, parts[i].name);
            ADD(part, parts[i].rows, 0);
        }
    }
    if (like->pooler) {
        ADD("pooler.dense.weight", HIDDEN, HIDDEN);
        ADD("pooler.dense.bias", HIDDEN, 0);
    }
#undef ADD
    if (like->head != NULL) {
        static const float zeros[3 * HIDDEN] = {0}, bias[3] = {0, 1, 0};
        snprintf(name, sizeof(name), "%sweight", like->head);
        add(&file, "", name, (size_t)like->count, HIDDEN, like->head_follows_names ? NULL : zeros);
        if (like->bias) {
            snprintf(name, sizeof(name), "%sbias", like->head);
            add(&file, "", name, (size_t)like->count, 0, bias);
        }
    }
    CHECK(mkdir(path, 0777) == 0);
    char file_path[512], config[2048];
    snprintf(file_path, sizeof(file_path), "%s/model.safetensors", path);
    write_tensors(&file, file_path);
    snprintf(config, sizeof(config),
             "{\"model_type\": \"bert\", \"vocab_size\": 6, \"hidden_size\": 4, \"num_hidden_layers\": %d,"
             " \"num_attention_heads\": 2, \"intermediate_size\": 8, \"max_position_embeddings\": 32%s%s%s%s%s%s}",
             like->told_layers, like->architecture == NULL ? "" : ", \"architectures\": [\"",
             like->architecture == NULL ? "" : like->architecture, like->architecture == NULL ? "" : "\"]",
             like->labels == NULL ? "" : ", \"id2label\": ", like->labels == NULL ? "" : like->labels,
             like->more == NULL ? "" : like->more);
    snprintf(file_path, sizeof(file_path), "%s/config.json", path);
    write_text(file_path, config);
    snprintf(file_path, sizeof(file_path), "%s/vocab.txt", path);
    write_text(file_path, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nfine\n");
}

/* ---- What the log says ------------------------------------------------------------------------------------------- */

static char warnings[8192], infos[8192];

static void listen(int32_t level, const char *message, void *user_data)
{
    (void)user_data;
    char *all = level == BERT_LOG_WARNING ? warnings : infos;
    size_t used = strlen(all);
    if (level >= BERT_LOG_INFO) {
        snprintf(all + used, 8192 - used, "%s\n", message);
    }
}

#define CHECK_SAID(log, text)                                                                                          \
    do {                                                                                                               \
        if (strstr(log, text) == NULL) {                                                                               \
            fprintf(stderr, FAIL_PREFIX "'%s' isn't in the log: %s\n", __FILE__, __LINE__, __func__, text, log);       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* Neither warnings nor, if asked, anything else. */
#define CHECK_SILENT(log)                                                                                              \
    do {                                                                                                               \
        if ((log)[0] != 0) {                                                                                           \
            fprintf(stderr, FAIL_PREFIX "the log says: %s\n", __FILE__, __LINE__, __func__, log);                      \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

static bert_status try_load(const char *path, const bert_load_options *options, bert_model **model)
{
    warnings[0] = infos[0] = 0;
    *model = NULL;
    return bert_load(path, options, model);
}

static bert_model *load(const char *path, const bert_load_options *options)
{
    bert_model *model;
    CHECK_OK(try_load(path, options, &model));
    return model;
}

static bert_load_options with_names(const char *const *names, size_t count)
{
    bert_load_options options = load_options();
    options.label_names = names;
    options.num_label_names = count;
    return options;
}

/* The label that the model answers and its probability; the model is freed. */
static void check_answer(bert_model *model, const char *label, double probability)
{
    bert_prediction prediction = BERT_PREDICTION_INIT;
    CHECK_OK(bert_predict(model, "fine", NUL, NULL, 0, NULL, &prediction));
    CHECK_TEXT(prediction.label, label);
    CHECK_NEAR(prediction.probability, probability, 2e-6);
    bert_free(model);
}

static void check_new(const bert_model *model, size_t count)
{
    CHECK_EQUAL(initialised(model), count);
}

/* ---- The kinds --------------------------------------------------------------------------------------------------- */

static const double kept = 0.731059; /* e / (1 + e) */

static void a_head_is_kept_under_other_names(void)
{
    make("plain", &plain);
    bert_model *model = load("plain", NULL);
    CHECK_SILENT(warnings);
    CHECK_SILENT(infos);
    check_answer(model, "LABEL_1", kept);

    static const char *const two[] = {"negative", "positive"}, *const three[] = {"a", "b", "c"};
    bert_load_options options = with_names(two, 2);
    model = load("plain", &options);
    check_new(model, 2);
    CHECK_SAID(warnings, "'LABEL_0', 'LABEL_1'");
    CHECK_SAID(warnings, "'negative', 'positive'");
    CHECK_SAID(warnings, "rename_labels to 1");
    CHECK_SAID(warnings, "classifier.weight, classifier.bias");
    bert_free(model);

    options.rename_labels = 1;
    model = load("plain", &options);
    CHECK_SILENT(warnings);
    check_new(model, 0);
    /* The names stay with it. */
    CHECK_OK(bert_save(model, "renamed"));
    check_answer(model, "positive", kept);
    check_answer(load("renamed", NULL), "positive", kept);
    CHECK_SILENT(warnings);

    options = with_names(three, 3);
    options.rename_labels = 1;
    CHECK_STATUS(try_load("plain", &options, &model), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("3 names");
    CHECK_MESSAGE("2 labels");
    options = load_options();
    options.rename_labels = 1;
    CHECK_STATUS(try_load("plain", &options, &model), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("label_names");
    options.rename_labels = 2;
    CHECK_STATUS(try_load("plain", &options, &model), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("rename_labels is 2");
    options = with_names(two, 2);
    options.rename_labels = options.new_classifier = 1;
    CHECK_STATUS(try_load("plain", &options, &model), BERT_ERR_INVALID_ARGUMENT);
    /* The fields came later than the others: a caller that was compiled before has neither. */
    options.struct_size = 56;
    model = load("plain", &options);
    check_new(model, 2);
    bert_free(model);
}

static void rows_follow_their_names(void)
{
    model_files like = plain;
    like.labels = "{\"0\": \"Neg\", \"1\": \"Pos\"}";
    make("named", &like);
    static const char *const swapped[] = {"Pos", "Neg"}, *const lower[] = {"neg", "pos"};
    bert_load_options options = with_names(swapped, 2);
    bert_model *model = load("named", &options);
    CHECK_SILENT(warnings);
    check_new(model, 0);
    int32_t id = -1;
    CHECK_OK(bert_label_id(model, "Pos", NUL, &id));
    CHECK_EQUAL(id, 0);
    float logits[8] = {0};
    logits_of(model, "fine", logits);
    CHECK_NEAR(logits[0], 1, 0);
    CHECK_NEAR(logits[1], 0, 0);
    /* Also in an int8 model, which can't be trained anew. */
    bert_model *unchanged = load("named", NULL), *int8 = NULL;
    CHECK_OK(bert_quantize(unchanged, &int8));
    CHECK_OK(bert_save(int8, "int8"));
    bert_free(unchanged);
    bert_free(int8);
    check_answer(load("int8", &options), "Pos", kept);
    check_answer(model, "Pos", kept);
    /* Renamed, the rows stay where they are. */
    options.rename_labels = 1;
    check_answer(load("named", &options), "Neg", kept);

    options = with_names(lower, 2);
    model = load("named", &options);
    check_new(model, 2);
    CHECK_SAID(warnings, "upper and lower case only");
    bert_free(model);
    static const char *const texts[] = {"fine", "x"}, *const names[] = {"pos", "neg"};
    bert_dataset *data = named(2, texts, names);
    options = load_options();
    options.labels_from = data;
    model = load("named", &options);
    check_new(model, 2);
    CHECK_SAID(warnings, "upper and lower case only");
    /* What was asked for is no warning. */
    CHECK(strstr(warnings, "New, with initial values") == NULL);
    CHECK_SAID(infos, "New, with initial values");
    bert_free(model);
    options.rename_labels = 1;
    check_answer(load("named", &options), "pos", kept);
    bert_dataset_free(data);
}

static void numbers_in_data_are_the_labels_of_their_number(void)
{
    static const char *const texts[] = {"fine", "x", "fine x", "x x"}, *const names[] = {"0", "1", "0", "1"};
    bert_dataset *data = named(4, texts, names);
    bert_load_options options = load_options();
    options.labels_from = data;
    bert_model *model = load("plain", &options);
    CHECK_SILENT(warnings);
    check_new(model, 0);
    bert_evaluation evaluation = BERT_EVALUATION_INIT;
    CHECK_OK(bert_evaluate(model, data, 0, &evaluation));
    /* Two of each: (ln(1 + e) + ln(1 + 1/e)) / 2. */
    CHECK_NEAR(evaluation.loss, 0.813262, 1e-6);
    bert_train_options plan = train_options();
    bert_trainer *trainer = trainer_of(model, data, data, &plan);
    bert_trainer_free(trainer);
    check_answer(model, "LABEL_1", kept);
    bert_dataset_free(data);
}

static void labels_are_read_as_transformers_reads_them(void)
{
    static const struct {
        const char *labels, *answer, *warning;
    } right[] = {{"{\"0\": 0, \"1\": 1}", "1", NULL},
                 {"{\"0\": 0.5, \"1\": 1.5}", "1.5", NULL},
                 {"{\"00\": \"a\", \"01\": \"b\"}", "b", NULL},
                 {"{\"1\": \"b\", \"0\": \"a\"}", "b", NULL},
                 {"{\"0\": \"a\", \"2\": \"b\"}", "LABEL_1", "no name for class 1"},
                 {"{\"0\": \"x\", \"1\": \"x\"}", "x", "both class 0 and class 1"}};
    static const char *const names[] = {"u", "v"};
    bert_load_options renamed = with_names(names, 2);
    renamed.rename_labels = 1;
    for (size_t i = 0; i < COUNT_OF(right); i++) {
        model_files like = plain;
        like.labels = right[i].labels;
        make("labels", &like);
        bert_model *model = load("labels", NULL);
        if (right[i].warning == NULL) {
            CHECK_SILENT(warnings);
        } else {
            CHECK_SAID(warnings, right[i].warning);
        }
        check_answer(model, right[i].answer, kept);
        check_answer(load("labels", &renamed), "v", kept);
        CHECK_SILENT(warnings);
        CHECK(system("rm -r labels") == 0);
    }
    /* What can't be read is overridden. */
    model_files like = plain;
    like.labels = "[\"a\", \"b\"]";
    make("labels", &like);
    bert_model *model;
    CHECK_STATUS(try_load("labels", NULL, &model), BERT_ERR_FORMAT);
    CHECK_MESSAGE("label_names");
    check_answer(load("labels", &renamed), "v", kept);

    /* One name for two classes: their ids differ, and the name tells neither. */
    like = plain;
    like.labels = "{\"0\": \"other\", \"1\": \"spam\", \"2\": \"other\"}";
    like.count = 3;
    make("twice", &like);
    model = load("twice", NULL);
    const char *name = NULL;
    CHECK_OK(bert_label_name(model, 2, &name, NULL));
    CHECK_TEXT(name, "other");
    int32_t id = -1;
    CHECK_OK(bert_label_id(model, "spam", NUL, &id));
    CHECK_EQUAL(id, 1);
    CHECK_STATUS(bert_label_id(model, "other", NUL, &id), BERT_ERR_UNKNOWN_LABEL);
    CHECK_MESSAGE("both class 0 and class 2");
    CHECK_OK(bert_save(model, "twice-saved"));
    check_answer(model, "spam", 0.576117);
    check_answer(load("twice-saved", NULL), "spam", 0.576117);
}

static void a_head_of_another_task_is_not_a_classifier(void)
{
    static const char *const tasks[] = {"BertForTokenClassification", "BertForQuestionAnswering",
                                        "BertForMultipleChoice", "BertForNextSentencePrediction"};
    static const char *const texts[] = {"fine", "x"}, *const names[] = {"a", "b"};
    bert_dataset *data = named(2, texts, names);
    for (size_t i = 0; i < COUNT_OF(tasks); i++) {
        model_files like = plain;
        like.architecture = tasks[i];
        make("task", &like);
        bert_model *model;
        CHECK_STATUS(try_load("task", NULL, &model), BERT_ERR_UNSUPPORTED);
        CHECK_MESSAGE(tasks[i]);
        CHECK_MESSAGE("new_classifier");
        CHECK(model == NULL);
        bert_load_options options = load_options();
        options.new_classifier = 1;
        model = load("task", &options);
        CHECK_SILENT(warnings);
        check_new(model, 2);
        bert_free(model);
        options = load_options();
        options.labels_from = data;
        model = load("task", &options);
        CHECK_SAID(warnings, tasks[i]);
        check_new(model, 2);
        bert_free(model);
        CHECK(system("rm -r task") == 0);
    }
    bert_dataset_free(data);
    model_files unknown = plain;
    unknown.architecture = "BertForRanking";
    make("task", &unknown);
    bert_model *model = load("task", NULL);
    CHECK_SAID(warnings, "BertForRanking");
    check_answer(model, "LABEL_1", kept);
}

static void heads_under_other_names_are_named(void)
{
    static const char *const heads[] = {"score.", "qa_outputs.", "classifier.0.", "classifier.out_proj.",
                                        "cls.seq_relationship.", "linear."};
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        model_files like = plain;
        like.head = heads[i];
        make("head", &like);
        bert_model *model = load("head", NULL);
        char weight[64];
        snprintf(weight, sizeof(weight), "%sweight", heads[i]);
        CHECK_SAID(warnings, "New, with initial values");
        CHECK_SAID(warnings, weight);
        check_new(model, 2);
        bert_free(model);
        CHECK(system("rm -r head") == 0);
    }
    model_files like = plain;
    like.bias = 0;
    make("head", &like);
    bert_model *model = load("head", NULL);
    CHECK_SAID(warnings, "classifier.bias");
    CHECK(strstr(warnings, "classifier.weight") == NULL);
    check_new(model, 1);
    bert_free(model);
    /* The heads of pretraining aren't meant. */
    like = plain;
    like.architecture = "BertForPreTraining";
    like.head = "cls.seq_relationship.";
    make("pretrained", &like);
    model = load("pretrained", NULL);
    CHECK_SAID(warnings, "New, with initial values");
    CHECK(strstr(warnings, "seq_relationship") == NULL);
    bert_free(model);
}

static bert_status pooled(const bert_model *model)
{
    static const char *const text = "fine";
    float vector[HIDDEN];
    bert_embed_options options;
    CHECK_OK(bert_embed_options_init(&options, sizeof(options)));
    options.pooling = BERT_POOLING_POOLER;
    return bert_embed(model, 1, &text, NULL, NULL, NULL, &options, vector, HIDDEN);
}

static void a_pooler_that_was_never_trained_gives_no_vectors(void)
{
    model_files bare = plain;
    bare.architecture = "BertForMaskedLM";
    bare.head = NULL;
    bare.pooler = 0;
    make("bare", &bare);
    bert_model *model = load("bare", NULL);
    CHECK_SAID(warnings, "bert.pooler.dense.weight, bert.pooler.dense.bias, classifier.weight, classifier.bias");
    CHECK_STATUS(pooled(model), BERT_ERR_UNSUPPORTED);
    CHECK_MESSAGE("pooler has initial values");
    /* No save and no copy hides it. */
    CHECK_OK(bert_save(model, "untrained"));
    bert_model *saved_model = load("untrained", NULL);
    CHECK_SAID(warnings, "the pooler and the classifier of this saved model");
    check_new(saved_model, 0);
    CHECK_STATUS(pooled(saved_model), BERT_ERR_UNSUPPORTED);
    CHECK(are_equal(model, saved_model));
    saved bytes = save(saved_model);
    warnings[0] = 0;
    bert_model *buffered = load_buffer(bytes.bytes, bytes.length), *int8 = NULL, *adapted = NULL;
    CHECK_SAID(warnings, "Never trained");
    release(bytes);
    CHECK_OK(bert_add_lora(buffered, NULL, &adapted));
    CHECK_STATUS(pooled(adapted), BERT_ERR_UNSUPPORTED);
    warnings[0] = 0;
    CHECK_OK(bert_quantize(model, &int8));
    CHECK_SAID(warnings, "train the model first");
    CHECK_STATUS(pooled(int8), BERT_ERR_UNSUPPORTED);

    /* Training ends it. */
    static const char *const texts[] = {"fine", "x"}, *const names[] = {"LABEL_0", "LABEL_1"};
    bert_dataset *data = named(2, texts, names);
    bert_train_options plan = train_options();
    bert_trainer *trainer = trainer_of(saved_model, data, NULL, &plan);
    CHECK_OK(bert_train_step(trainer, NULL));
    bert_trainer_free(trainer);
    CHECK_OK(pooled(saved_model));
    CHECK_OK(bert_save(saved_model, "trained"));
    bert_model *trained = load("trained", NULL);
    CHECK_SILENT(warnings);
    CHECK_OK(pooled(trained));
    /* Who gives the data to train on has asked for a head. */
    bert_load_options options = load_options();
    options.labels_from = data;
    bert_model *meant = load("bare", &options);
    CHECK_SILENT(warnings);
    CHECK_SAID(infos, "classifier.weight");
    bert_model *all[] = {model, saved_model, buffered, adapted, int8, trained, meant};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        bert_free(all[i]);
    }
    bert_dataset_free(data);
}

static void an_encoder_that_does_not_fit_is_refused(void)
{
    bert_model *model;
    model_files like = plain;
    like.layers = 2;
    make("more", &like);
    CHECK_STATUS(try_load("more", NULL, &model), BERT_ERR_FORMAT);
    CHECK_MESSAGE("layer 1");
    CHECK_MESSAGE("num_hidden_layers 1");
    like.layers = 1;
    like.told_layers = 2;
    make("fewer", &like);
    CHECK_STATUS(try_load("fewer", NULL, &model), BERT_ERR_FORMAT);
    CHECK_MESSAGE("lacks the parameter 'bert.encoder.layer.1");
    like = plain;
    like.prefix = "module.bert.";
    make("prefix", &like);
    CHECK_STATUS(try_load("prefix", NULL, &model), BERT_ERR_FORMAT);
    CHECK_MESSAGE("'bert.' in place of 'module.bert.'");
    CHECK(model == NULL);
}

static void activations_have_several_names(void)
{
    static const char *const names[] = {"gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_accurate",
                                        "gelu_pytorch_tanh", "gelu_python_tanh", "relu"};
    for (size_t i = 0; i < COUNT_OF(names) + 1; i++) {
        const char *name = i < COUNT_OF(names) ? names[i] : "quick_gelu";
        char key[64];
        snprintf(key, sizeof(key), ", \"hidden_act\": \"%s\"", name);
        model_files like = plain;
        like.more = key;
        make("act", &like);
        bert_model *model;
        bert_status status = try_load("act", NULL, &model);
        if (i < COUNT_OF(names)) {
            CHECK_OK(status);
            CHECK_EQUAL(info_of(model).hidden_act, i < 2 ? BERT_ACT_GELU : i < 7 ? BERT_ACT_GELU_TANH : BERT_ACT_RELU);
            bert_free(model);
        } else {
            CHECK_STATUS(status, BERT_ERR_UNSUPPORTED);
            CHECK_MESSAGE("'quick_gelu'");
        }
        CHECK(system("rm -r act") == 0);
    }
}

/* ---- Adapters ---------------------------------------------------------------------------------------------------- */

/* One module's adapter. */
typedef struct {
    const char *module;
    size_t rank, inputs, outputs;
} adapted;

static void make_adapter(const char *path, const char *config, const adapted *modules, size_t count)
{
    static tensors file;
    memset(&file, 0, sizeof(file));
    char name[256];
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "base_model.model.bert.%s.lora_A.weight", modules[i].module);
        add(&file, "", name, modules[i].rank, modules[i].inputs, NULL);
        snprintf(name, sizeof(name), "base_model.model.bert.%s.lora_B.weight", modules[i].module);
        add(&file, "", name, modules[i].outputs, modules[i].rank, NULL);
    }
    CHECK(mkdir(path, 0777) == 0);
    snprintf(name, sizeof(name), "%s/adapter_model.safetensors", path);
    write_tensors(&file, name);
    char text[1024];
    snprintf(text, sizeof(text), "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"bias\": \"none\", %s}",
             config);
    snprintf(name, sizeof(name), "%s/adapter_config.json", path);
    write_text(name, text);
}

static void check_adapter(const bert_model *base, const char *config, const adapted *modules, size_t count,
                          double first, double second)
{
    make_adapter("adapter", config, modules, count);
    bert_model *model = NULL, *merged = NULL, *again = NULL;
    CHECK_OK(bert_load_adapter(base, "adapter", &model));
    CHECK_OK(bert_merge_lora(model, &merged));
    /* Saved as an adapter of ours it computes the same. */
    CHECK_OK(bert_save_adapter(model, "saved-adapter"));
    CHECK_OK(bert_load_adapter(base, "saved-adapter", &again));
    bert_model *all[] = {model, merged, again};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        float logits[8] = {0};
        logits_of(all[i], "fine", logits);
        CHECK_NEAR(logits[0], first, 2e-6);
        CHECK_NEAR(logits[1], second, 2e-6);
        bert_free(all[i]);
    }
    CHECK(system("rm -r adapter saved-adapter") == 0);
}

static void adapters_may_differ_from_module_to_module(void)
{
    model_files like = plain;
    like.layers = like.told_layers = 2;
    like.head_follows_names = 1;
    make("base", &like);
    bert_model *base = load("base", NULL);
    CHECK_SILENT(warnings);
    float logits[8] = {0};
    logits_of(base, "fine", logits);
    CHECK_NEAR(logits[0], -0.03025774, 2e-6);
    CHECK_NEAR(logits[1], 1.096446, 2e-6);
#define LAYER(n, name) "encoder.layer." n "." name
    static const adapted all[] = {{LAYER("0", "attention.self.query"), 2, HIDDEN, HIDDEN},
                                  {LAYER("0", "attention.self.key"), 2, HIDDEN, HIDDEN},
                                  {LAYER("0", "attention.self.value"), 2, HIDDEN, HIDDEN},
                                  {LAYER("0", "attention.output.dense"), 2, HIDDEN, HIDDEN},
                                  {LAYER("0", "intermediate.dense"), 2, HIDDEN, INNER},
                                  {LAYER("0", "output.dense"), 2, INNER, HIDDEN},
                                  {LAYER("1", "attention.self.query"), 2, HIDDEN, HIDDEN},
                                  {LAYER("1", "attention.self.key"), 2, HIDDEN, HIDDEN},
                                  {LAYER("1", "attention.self.value"), 2, HIDDEN, HIDDEN},
                                  {LAYER("1", "attention.output.dense"), 2, HIDDEN, HIDDEN},
                                  {LAYER("1", "intermediate.dense"), 2, HIDDEN, INNER},
                                  {LAYER("1", "output.dense"), 2, INNER, HIDDEN},
                                  {"pooler.dense", 2, HIDDEN, HIDDEN}};
    check_adapter(base, "\"target_modules\": [\"query\", \"key\", \"value\", \"dense\"]", all, COUNT_OF(all),
                  0.04552728, 1.257231);
    check_adapter(base, "\"target_modules\": \"all-linear\", \"use_rslora\": true", all, COUNT_OF(all), 0.04985993,
                  1.272073);
    static const adapted uneven[] = {{LAYER("0", "attention.self.query"), 1, HIDDEN, HIDDEN},
                                     {LAYER("0", "attention.self.key"), 2, HIDDEN, HIDDEN},
                                     {LAYER("0", "attention.self.value"), 2, HIDDEN, HIDDEN},
                                     {LAYER("1", "attention.self.query"), 1, HIDDEN, HIDDEN},
                                     {LAYER("1", "attention.self.key"), 2, HIDDEN, HIDDEN},
                                     {LAYER("1", "attention.self.value"), 3, HIDDEN, HIDDEN}};
    check_adapter(base,
                  "\"target_modules\": [\"query\", \"key\", \"value\"],"
                  " \"rank_pattern\": {\"query\": 1, \"layer.1.*value\": 3},"
                  " \"alpha_pattern\": {\"key\": 7, \"bert.encoder.layer.0.attention.self.query\": 3.5}",
                  uneven, COUNT_OF(uneven), -0.03228595, 1.100792);
    static const adapted one_layer[] = {{LAYER("1", "attention.self.query"), 2, HIDDEN, HIDDEN},
                                        {LAYER("1", "attention.self.value"), 2, HIDDEN, HIDDEN}};
    check_adapter(base,
                  "\"target_modules\": [\"query\", \"value\"], \"layers_to_transform\": [1],"
                  " \"layers_pattern\": \"layer\"",
                  one_layer, COUNT_OF(one_layer), -0.03088735, 1.107008);
    check_adapter(base, "\"target_modules\": [\"query\", \"value\"], \"exclude_modules\": \".*layer\\\\.0\\\\..*\"",
                  one_layer, COUNT_OF(one_layer), -0.03088735, 1.107008);
    static const adapted pooler[] = {{"pooler.dense", 1, HIDDEN, HIDDEN}};
    check_adapter(base,
                  "\"target_modules\": [\"pooler.dense\"], \"alpha_pattern\": {\"pooler.dense\": 2},"
                  " \"rank_pattern\": {\"pooler.dense\": 1}",
                  pooler, 1, -0.03802439, 1.116526);

    /* What contradicts its configuration is refused. */
    bert_model *none = NULL;
    make_adapter("wrong", "\"target_modules\": [\"query\", \"value\"]", one_layer, COUNT_OF(one_layer));
    CHECK_STATUS(bert_load_adapter(base, "wrong", &none), BERT_ERR_FORMAT);
    CHECK_MESSAGE("don't belong together");
    CHECK(system("rm -r wrong") == 0);
    make_adapter("wrong", "\"target_modules\": [\"query\", \"key\", \"value\"]", uneven, COUNT_OF(uneven));
    CHECK_STATUS(bert_load_adapter(base, "wrong", &none), BERT_ERR_FORMAT);
    CHECK_MESSAGE("has the shape [1, 4]");
    CHECK(none == NULL);
    bert_free(base);
    /* A pooler's adapter needs the pooler that it was trained beside. */
    bert_model *bare = load("bare", NULL);
    make_adapter("pooler", "\"target_modules\": [\"pooler.dense\"]", all + 12, 1);
    CHECK_STATUS(bert_load_adapter(bare, "pooler", &none), BERT_ERR_FORMAT);
    CHECK_MESSAGE("pooler");
    bert_free(bare);
}

int main(void)
{
    CHECK_OK(bert_set_log_callback(listen, NULL));
    a_head_is_kept_under_other_names();
    rows_follow_their_names();
    numbers_in_data_are_the_labels_of_their_number();
    labels_are_read_as_transformers_reads_them();
    a_head_of_another_task_is_not_a_classifier();
    heads_under_other_names_are_named();
    a_pooler_that_was_never_trained_gives_no_vectors();
    an_encoder_that_does_not_fit_is_refused();
    activations_have_several_names();
    adapters_may_differ_from_module_to_module();
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    return 0;
}
