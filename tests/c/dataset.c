/* Data sets: examples added one by one and as arrays, what may not be mixed, the split. */

#include "check.h"

static bert_dataset *empty(void)
{
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_create(&dataset));
    CHECK_EQUAL(count_of(dataset), 0);
    return dataset;
}

/* The names of the classes that a model takes from the data, in the order of their ids, joined by commas. */
static void classes_of(const bert_dataset *dataset, char *joined, size_t capacity)
{
    bert_model_options options = small_options();
    bert_model *model = create(&options, dataset);
    bert_info info;
    CHECK_OK(bert_info_init(&info, sizeof(info)));
    CHECK_OK(bert_get_info(model, &info));
    joined[0] = 0;
    for (int32_t id = 0; id < info.num_labels; id++) {
        const char *name = NULL;
        size_t length = 0;
        CHECK_OK(bert_label_name(model, id, &name, &length));
        CHECK_EQUAL(strlen(name), length);
        size_t used = strlen(joined);
        snprintf(joined + used, capacity - used, "%s%s", id == 0 ? "" : ",", name);
    }
    bert_free(model);
}

static void examples_come_one_by_one(void)
{
    bert_dataset *dataset = empty();
    CHECK_OK(bert_dataset_add_class(dataset, "good film", NUL, NULL, 0, "yes", NUL));
    /* Counted texts need no NUL: only what is counted is taken. */
    CHECK_OK(bert_dataset_add_class(dataset, "bad filmXXX", 8, NULL, 0, "noXXX", 2));
    /* An empty text is one, also as (NULL, 0). */
    CHECK_OK(bert_dataset_add_class(dataset, "", NUL, NULL, 0, "no", NUL));
    CHECK_OK(bert_dataset_add_class(dataset, NULL, 0, NULL, 0, "no", NUL));
    CHECK_EQUAL(count_of(dataset), 4);
    char names[64];
    classes_of(dataset, names, sizeof(names));
    CHECK_TEXT(names, "no,yes");
    bert_dataset_free(dataset);
}

static void a_counted_text_may_hold_u0000(void)
{
    bert_dataset *dataset = empty();
    CHECK_OK(bert_dataset_add_class(dataset, "alpha\0 beta", 11, NULL, 0, "a", 1));
    CHECK_OK(bert_dataset_add_class(dataset, "gamma", 5, NULL, 0, "b\0c", 3));
    bert_model_options options = small_options();
    bert_model *model = create(&options, dataset);
    /* What stands behind the U+0000 was taken: beta is a word of the vocabulary, and so is "alpha\0". */
    uint32_t ids[8];
    size_t count = 0;
    CHECK_OK(bert_tokenize(model, "alpha\0 beta gamma", 17, NULL, 0, 0, ids, NULL, 8, &count));
    CHECK_EQUAL(count, 5);
    CHECK_EQUAL(ids[1], 5);
    CHECK_EQUAL(ids[2], 6);
    CHECK_EQUAL(ids[3], 7);
    const char *name = NULL;
    size_t length = 0;
    CHECK_OK(bert_label_name(model, 1, &name, &length));
    CHECK_EQUAL(length, 3);
    CHECK(memcmp(name, "b\0c", 4) == 0);
    int32_t id = -1;
    CHECK_OK(bert_label_id(model, "b\0c", 3, &id));
    CHECK_EQUAL(id, 1);
    CHECK_STATUS(bert_label_id(model, "b\0c", NUL, &id), BERT_ERR_UNKNOWN_LABEL);
    CHECK_EQUAL(id, 1);
    bert_free(model);
    bert_dataset_free(dataset);
}

static void arrays_are_added_whole(void)
{
    static const char *const texts[] = {"one two", "three four", "five"};
    static const size_t lengths[] = {3, 5, 0};
    static const char *const names[] = {"10x", "9x", "2x"};
    static const size_t name_lengths[] = {2, 1, 1};
    bert_dataset *dataset = empty();
    CHECK_OK(bert_dataset_add_classes(dataset, 3, texts, lengths, NULL, NULL, names, name_lengths));
    CHECK_OK(bert_dataset_add_classes(dataset, 2, texts, NULL, NULL, NULL, names, name_lengths));
    CHECK_EQUAL(count_of(dataset), 5);
    char joined[64];
    classes_of(dataset, joined, sizeof(joined));
    /* All are numbers, so they are ordered as numbers. */
    CHECK_TEXT(joined, "2,9,10");
    /* The empty array is one, however it is given. */
    CHECK_OK(bert_dataset_add_classes(dataset, 0, NULL, NULL, NULL, NULL, NULL, NULL));
    CHECK_OK(bert_dataset_add_classes(dataset, 0, texts, lengths, NULL, NULL, names, NULL));
    CHECK_EQUAL(count_of(dataset), 5);
    bert_dataset_free(dataset);

    static const int64_t ids[] = {2, 0, 0};
    dataset = empty();
    CHECK_OK(bert_dataset_add_class_ids(dataset, 3, texts, NULL, NULL, NULL, ids));
    CHECK_OK(bert_dataset_add_class_id(dataset, "six", NUL, NULL, 0, 0));
    CHECK_EQUAL(count_of(dataset), 4);
    classes_of(dataset, joined, sizeof(joined));
    /* Id 1 is a class although no example has it. */
    CHECK_TEXT(joined, "LABEL_0,LABEL_1,LABEL_2");
    bert_dataset_free(dataset);
}

static void names_are_ordered_by_their_bytes(void)
{
    static const char *const texts[] = {"a", "b", "c", "d"};
    static const char *const names[] = {"pos", "Zed", "neg", "\xc3\xa9"};
    bert_dataset *dataset = named(4, texts, names);
    char joined[64];
    classes_of(dataset, joined, sizeof(joined));
    CHECK_TEXT(joined, "Zed,neg,pos,\xc3\xa9");
    bert_dataset_free(dataset);
}

/* Each refusal leaves the data set as it was. */
static void what_does_not_go_together_is_refused(void)
{
    static const char *const texts[] = {"one", "two"};
    static const char *const pairs[] = {"first", "second"};
    static const char *const names[] = {"a", "b"};
    static const int64_t ids[] = {0, 1};

    bert_dataset *dataset = named(2, texts, names);
    CHECK_STATUS(bert_dataset_add_class_id(dataset, "x", NUL, NULL, 0, 0), BERT_ERR_DATA);
    CHECK_MESSAGE("names");
    CHECK_STATUS(bert_dataset_add_class_ids(dataset, 2, texts, NULL, NULL, NULL, ids), BERT_ERR_DATA);
    CHECK_STATUS(bert_dataset_add_class(dataset, "x", NUL, "y", NUL, "a", NUL), BERT_ERR_DATA);
    CHECK_MESSAGE("pair");
    /* An empty second text is still a pair. */
    CHECK_STATUS(bert_dataset_add_class(dataset, "x", NUL, "", 0, "a", NUL), BERT_ERR_DATA);
    CHECK_STATUS(bert_dataset_add_classes(dataset, 2, texts, NULL, pairs, NULL, names, NULL),
                 BERT_ERR_DATA);
    /* NULL is none. */
    static const char *const no_pairs[] = {NULL, NULL}, *const half[] = {"first", NULL};
    CHECK_STATUS(bert_dataset_add_classes(dataset, 2, texts, NULL, half, NULL, names, NULL), BERT_ERR_DATA);
    CHECK_STATUS(bert_dataset_add_class(dataset, "x", NUL, NULL, 0, "", NUL), BERT_ERR_DATA);
    CHECK_EQUAL(count_of(dataset), 2);
    CHECK_OK(bert_dataset_add_classes(dataset, 2, texts, NULL, no_pairs, NULL, names, NULL));
    CHECK_EQUAL(count_of(dataset), 4);
    bert_dataset_free(dataset);

    dataset = empty();
    CHECK_STATUS(bert_dataset_add_class_ids(dataset, 2, texts, NULL, half, NULL, ids), BERT_ERR_DATA);
    CHECK_OK(bert_dataset_add_class_ids(dataset, 2, texts, NULL, pairs, NULL, ids));
    CHECK_STATUS(bert_dataset_add_class(dataset, "x", NUL, "y", NUL, "a", NUL), BERT_ERR_DATA);
    CHECK_STATUS(bert_dataset_add_class_id(dataset, "x", NUL, NULL, 0, 0), BERT_ERR_DATA);
    CHECK_MESSAGE("single text");
    CHECK_OK(bert_dataset_add_class_id(dataset, "x", NUL, "", 0, 1));
    CHECK_EQUAL(count_of(dataset), 3);
    bert_dataset_free(dataset);
}

static void arrays_are_added_not_at_all_if_one_is_wrong(void)
{
    static const char *const texts[] = {"fine", "not \xff fine", "fine"};
    static const char *const names[] = {"a", "b", "c"};
    static const char *const with_null[] = {"fine", NULL, "fine"};
    static const char *const with_empty[] = {"a", "b", ""};
    static const char *const fine[] = {"fine", "fine", "fine"};
    static const int64_t negative[] = {0, 1, -1};
    bert_dataset *dataset = empty();
    CHECK_STATUS(bert_dataset_add_classes(dataset, 3, texts, NULL, NULL, NULL, names, NULL),
                 BERT_ERR_UTF8);
    CHECK_MESSAGE("[1]");
    CHECK_MESSAGE("byte 4");
    CHECK_STATUS(bert_dataset_add_classes(dataset, 3, fine, NULL, texts, NULL, names, NULL),
                 BERT_ERR_UTF8);
    CHECK_STATUS(bert_dataset_add_classes(dataset, 3, fine, NULL, NULL, NULL, texts, NULL),
                 BERT_ERR_UTF8);
    CHECK_STATUS(bert_dataset_add_classes(dataset, 3, with_null, NULL, NULL, NULL, names, NULL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_classes(dataset, 3, fine, NULL, NULL, NULL, with_null, NULL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_classes(dataset, 3, fine, NULL, NULL, NULL, with_empty, NULL),
                 BERT_ERR_DATA);
    CHECK_MESSAGE("xample 3");
    CHECK_STATUS(bert_dataset_add_class_ids(dataset, 3, fine, NULL, NULL, NULL, negative),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("-1");
    CHECK_EQUAL(count_of(dataset), 0);
    /* Nothing of them decided what kind of data set it is. */
    CHECK_OK(bert_dataset_add_class_id(dataset, "x", NUL, "y", NUL, 0));
    bert_dataset_free(dataset);
}

static void wrong_arguments_are_refused(void)
{
    static const char *const texts[] = {"x"};
    static const char *const names[] = {"a"};
    bert_dataset *dataset = empty();
    CHECK_STATUS(bert_dataset_create(NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_class(dataset, NULL, NUL, NULL, 0, "a", NUL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("'text'");
    CHECK_STATUS(bert_dataset_add_class(dataset, NULL, 5, NULL, 0, "a", NUL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_class(dataset, "x", NUL, NULL, 0, NULL, NUL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("'class_name'");
    /* Lengths that no memory has are refused before anything is read; -2 is a slip for BERT_NUL_TERMINATED. */
    CHECK_STATUS(bert_dataset_add_class(dataset, "x", (size_t)-2, NULL, 0, "a", NUL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_class(dataset, "x", NUL, "y", SIZE_MAX / 2 + 1, "a", NUL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_class(dataset, "x", NUL, NULL, 0, "a", (size_t)-2),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_classes(dataset, SIZE_MAX, texts, NULL, NULL, NULL, names, NULL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_classes(dataset, SIZE_MAX / 8 + 1, texts, NULL, NULL, NULL, names,
                                          NULL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_classes(dataset, 1, NULL, NULL, NULL, NULL, names, NULL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_classes(dataset, 1, texts, NULL, NULL, NULL, NULL, NULL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_class_ids(dataset, 1, texts, NULL, NULL, NULL, NULL),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_class_id(dataset, "x", NUL, NULL, 0, -1), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_add_class_id(dataset, "x", NUL, NULL, 0, INT64_MIN),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK(bert_dataset_add_class_id(dataset, "x", NUL, NULL, 0, INT64_MAX) != BERT_OK);
    CHECK_STATUS(bert_dataset_add_class(dataset, "\xc3(", NUL, NULL, 0, "a", NUL), BERT_ERR_UTF8);
    CHECK_MESSAGE("byte 0");
    /* A text that is cut inside a character isn't UTF-8. */
    CHECK_STATUS(bert_dataset_add_class(dataset, "\xc3\xa9", 1, NULL, 0, "a", NUL), BERT_ERR_UTF8);
    /* Surrogates and overlong forms aren't either. */
    CHECK_STATUS(bert_dataset_add_class(dataset, "\xed\xa0\x80", NUL, NULL, 0, "a", NUL), BERT_ERR_UTF8);
    CHECK_STATUS(bert_dataset_add_class(dataset, "\xc0\x80", NUL, NULL, 0, "a", NUL), BERT_ERR_UTF8);
    CHECK_EQUAL(count_of(dataset), 0);
    CHECK_STATUS(bert_dataset_count(dataset, NULL), BERT_ERR_INVALID_ARGUMENT);
    bert_dataset_free(dataset);

    dataset = NULL;
    CHECK_STATUS(bert_dataset_toy(2, &dataset), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_toy(-1, &dataset), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_toy(BERT_TOY_TRAIN, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK(dataset == NULL);
}

/* The classes of a data set's examples, counted: an evaluation's support tells. */
static void support_of(const bert_model *model, const bert_dataset *dataset, uint64_t support[2])
{
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    evaluation.support = support;
    evaluation.class_capacity = 2;
    CHECK_OK(bert_evaluate(model, dataset, 0, &evaluation));
    CHECK_EQUAL(support[0] + support[1], count_of(dataset));
}

static void the_toy_data_is_balanced(void)
{
    bert_model *model = small_model();
    bert_dataset *train = toy(BERT_TOY_TRAIN), *validation = toy(BERT_TOY_VALIDATION);
    uint64_t support[2];
    support_of(model, train, support);
    CHECK(support[0] == 8 && support[1] == 8);
    support_of(model, validation, support);
    CHECK(support[0] == 3 && support[1] == 3);
    const char *name = NULL;
    CHECK_OK(bert_label_name(model, 0, &name, NULL));
    CHECK_TEXT(name, "negative");
    CHECK_OK(bert_label_name(model, 1, &name, NULL));
    CHECK_TEXT(name, "positive");
    bert_free(model);
    bert_dataset_free(train);
    bert_dataset_free(validation);
}

/* A data set's texts can't be read back; the loss of an untrained model on it tells two of them apart. */
static double fingerprint(const bert_model *model, const bert_dataset *dataset)
{
    bert_evaluation evaluation;
    CHECK_OK(bert_evaluation_init(&evaluation, sizeof(evaluation)));
    CHECK_OK(bert_evaluate(model, dataset, 0, &evaluation));
    return evaluation.loss;
}

static void a_split_is_stratified_and_seeded(void)
{
    bert_dataset *whole = empty();
    for (int i = 0; i < 100; i++) {
        char text[32];
        snprintf(text, sizeof(text), "word%d and word%d", i, 7 * i);
        CHECK_OK(bert_dataset_add_class(whole, text, NUL, NULL, 0, i < 30 ? "few" : "many", NUL));
    }
    bert_model_options options = small_options();
    bert_model *model = create(&options, whole);
    double prints[3];
    for (int i = 0; i < 3; i++) {
        bert_dataset *train = NULL, *validation = NULL;
        uint64_t support[2];
        CHECK_OK(bert_dataset_split(whole, 0.2, i == 2 ? 8 : 7, &train, &validation));
        support_of(model, train, support);
        CHECK(support[0] == 24 && support[1] == 56);
        support_of(model, validation, support);
        CHECK(support[0] == 6 && support[1] == 14);
        prints[i] = fingerprint(model, validation);
        /* The parts are the whole: their losses, weighted, are its loss. */
        CHECK_NEAR(0.8 * fingerprint(model, train) + 0.2 * prints[i], fingerprint(model, whole), 1e-6);
        bert_dataset_free(train);
        bert_dataset_free(validation);
    }
    CHECK(prints[0] == prints[1]);
    CHECK(prints[0] != prints[2]);
    CHECK_EQUAL(count_of(whole), 100);

    bert_dataset *train = NULL, *validation = NULL;
    static const double wrong[] = {0.0, 1.0, -0.1, 1.5};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        CHECK_STATUS(bert_dataset_split(whole, wrong[i], 0, &train, &validation),
                     BERT_ERR_INVALID_ARGUMENT);
    }
    CHECK_STATUS(bert_dataset_split(whole, NAN, 0, &train, &validation), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("NaN");
    CHECK_STATUS(bert_dataset_split(whole, 0.5, 0, NULL, &validation), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_split(whole, 0.5, 0, &train, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_split(whole, 0.5, 0, &train, &train), BERT_ERR_INVALID_ARGUMENT);
    bert_dataset *none = empty();
    CHECK_STATUS(bert_dataset_split(none, 0.5, 0, &train, &validation), BERT_ERR_DATA);
    CHECK(train == NULL && validation == NULL);
    bert_dataset_free(none);
    bert_dataset_free(whole);
    bert_free(model);
}

static void a_data_set_is_described(void)
{
    static const char *const texts[] = {"a film", "a film", "a film", " ",
                                        "one two three four five six seven eight nine"};
    static const char *const names[] = {"10", "10", "2", "9", "2"};
    bert_dataset *dataset = named(COUNT_OF(texts), texts, names);
    bert_dataset_description found = BERT_DATASET_DESCRIPTION_INIT, prepared;
    CHECK_OK(bert_dataset_description_init(&prepared, sizeof(prepared)));
    CHECK(memcmp(&found, &prepared, sizeof(found)) == 0);
    uint64_t counts[3] = {77, 77, 77};
    found.label_counts = counts;
    found.label_capacity = 2;
    CHECK_STATUS(bert_dataset_describe(dataset, NULL, &found), BERT_ERR_BUFFER_TOO_SMALL);
    CHECK_EQUAL(counts[0], 77);
    CHECK_EQUAL(found.examples, 0);
    found.label_capacity = 3;
    CHECK_OK(bert_dataset_describe(dataset, NULL, &found));
    CHECK_EQUAL(found.examples, 5);
    CHECK_EQUAL(found.problem_type, BERT_PROBLEM_SINGLE_LABEL);
    CHECK_EQUAL(found.has_pairs, 0);
    CHECK_EQUAL(found.num_labels, 3);
    CHECK_EQUAL(found.lengths_in_tokens, 0);
    /* By number: 2, 9, 10. */
    CHECK(counts[0] == 2 && counts[1] == 1 && counts[2] == 2);
    CHECK_EQUAL(found.without_label, 0);
    CHECK_EQUAL(found.empty_texts, 1);
    CHECK_EQUAL(found.duplicates, 1);
    CHECK_EQUAL(found.contradictions, 3);
    CHECK_EQUAL(found.length_median, 6);
    CHECK_EQUAL(found.length_longest, 44);
    CHECK_EQUAL(found.max_length, 0);
    CHECK_EQUAL(found.over_max_length, 0);
    CHECK(isnan(found.target_min) && isnan(found.target_max) && isnan(found.target_mean));

    bert_model_options options = small_options();
    options.max_position_embeddings = 8;
    bert_model *model = create(&options, dataset);
    CHECK_OK(bert_dataset_describe(dataset, model, &found));
    CHECK_EQUAL(found.lengths_in_tokens, 1);
    /* With [CLS] and [SEP]. */
    CHECK_EQUAL(found.length_median, 4);
    CHECK_EQUAL(found.length_p95, 11);
    CHECK_EQUAL(found.length_p99, 11);
    CHECK_EQUAL(found.length_longest, 11);
    CHECK_EQUAL(found.max_length, 8);
    CHECK_EQUAL(found.over_max_length, 1);

    char name[4] = "xyz";
    size_t size = 0;
    CHECK_STATUS(bert_dataset_label_name(dataset, 2, name, 2, &size), BERT_ERR_BUFFER_TOO_SMALL);
    CHECK_EQUAL(size, 3);
    CHECK_TEXT(name, "xyz");
    CHECK_OK(bert_dataset_label_name(dataset, 2, NULL, 0, &size));
    CHECK_OK(bert_dataset_label_name(dataset, 2, name, 3, NULL));
    CHECK_TEXT(name, "10");
    CHECK_STATUS(bert_dataset_label_name(dataset, 3, name, 4, NULL), BERT_ERR_UNKNOWN_LABEL);
    CHECK_MESSAGE("ids are 0 to 2");
    bert_free(model);
    bert_dataset_free(dataset);

    /* One without examples, and of the other kinds of labels. */
    dataset = empty();
    found = prepared;
    CHECK_OK(bert_dataset_describe(dataset, NULL, &found));
    CHECK(found.examples == 0 && found.num_labels == 0 && found.length_longest == 0);
    CHECK_STATUS(bert_dataset_label_name(dataset, 0, name, 4, NULL), BERT_ERR_UNKNOWN_LABEL);
    const float targets[] = {1.5f, -2.5f};
    CHECK_OK(bert_dataset_add_target(dataset, "a", NUL, "b", NUL, targets, 2));
    CHECK_OK(bert_dataset_describe(dataset, NULL, &found));
    CHECK(found.problem_type == BERT_PROBLEM_REGRESSION && found.has_pairs == 1 && found.num_labels == 2);
    CHECK(found.target_min == -2.5 && found.target_max == 1.5 && found.target_mean == -0.5);
    bert_dataset_free(dataset);
    dataset = empty();
    static const char *const both[] = {"x", "y", "x"};
    CHECK_OK(bert_dataset_add_labels(dataset, "a", NUL, NULL, 0, both, NULL, 3));
    CHECK_OK(bert_dataset_add_labels(dataset, "a", NUL, NULL, 0, NULL, NULL, 0));
    found = prepared;
    found.label_counts = counts;
    found.label_capacity = 3;
    CHECK_OK(bert_dataset_describe(dataset, NULL, &found));
    CHECK(found.problem_type == BERT_PROBLEM_MULTI_LABEL && found.num_labels == 2 && found.without_label == 1);
    CHECK(counts[0] == 1 && counts[1] == 1 && found.contradictions == 2);
    bert_dataset_free(dataset);
}

static char warnings[4096];

static void keep_warnings(int32_t level, const char *message, void *user_data)
{
    (void)user_data;
    if (level == BERT_LOG_WARNING) {
        size_t used = strlen(warnings);
        snprintf(warnings + used, sizeof(warnings) - used, "%s\n", message);
    }
}

/* Makes a model for the data and frees both; the warnings of it stay. */
static void warn_of(bert_dataset *dataset)
{
    warnings[0] = 0;
    CHECK_OK(bert_set_log_callback(keep_warnings, NULL));
    bert_model_options options = small_options();
    bert_free(create(&options, dataset));
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    bert_dataset_free(dataset);
}

static void labels_that_may_not_be_meant_are_a_warning(void)
{
    static const char *const texts[] = {"a", "b", "c", "d", "e", "f"};
    static const char *const classes[] = {"neg", "pos", "neg", "pos", "neg", "pos"};
    warn_of(named(6, texts, classes));
    CHECK_TEXT(warnings, "");
    static const char *const one[] = {"neg", "pos", "neg", "pos", "neg", "so"};
    warn_of(named(6, texts, one));
    CHECK_TEXT(warnings, "The label 'so' has one example.\n");
    static const char *const own[] = {"g", "h", "i", "j", "k", "l"};
    warn_of(named(6, texts, own));
    CHECK(strstr(warnings, "Each of the 6 examples has a label of its own") != NULL);
    static const char *const amounts[] = {"0.5", "1.0", "0.5", "1.0", "10.0", "10.0"};
    warn_of(named(6, texts, amounts));
    CHECK(strstr(warnings, "BERT_PROBLEM_REGRESSION") != NULL);
    static const int64_t stars[] = {5, 1, 3, 5, 1, 3};
    bert_dataset *ids = empty();
    CHECK_OK(bert_dataset_add_class_ids(ids, 6, texts, NULL, NULL, NULL, stars));
    warn_of(ids);
    CHECK(strstr(warnings, "The class ids '0', '2', '4' of 0 to 5 have no example") != NULL);
}

int main(void)
{
    a_data_set_is_described();
    labels_that_may_not_be_meant_are_a_warning();
    examples_come_one_by_one();
    a_counted_text_may_hold_u0000();
    arrays_are_added_whole();
    names_are_ordered_by_their_bytes();
    what_does_not_go_together_is_refused();
    arrays_are_added_not_at_all_if_one_is_wrong();
    wrong_arguments_are_refused();
    the_toy_data_is_balanced();
    a_split_is_stratified_and_seeded();
    return 0;
}
