/* Predictions: one and many, token ids, the best k, windows over long texts, the caller's buffers. */

#include "check.h"

#define CLASSES 3
#define WIDTH 16
#define TEXTS 40

static bert_model *model;

/* Texts of one to 29 words, in no order of length. */
static void make(int i, char text[400])
{
    int words = 1 + i * 11 % 29;
    text[0] = 0;
    for (int w = 0; w < words; w++) {
        snprintf(text + strlen(text), 400 - strlen(text), "%sw%d", w == 0 ? "" : " ", (i * 7 + w * 5) % 50);
    }
}

static bert_predictions wanting(float *logits, float *probabilities, int32_t *ids, size_t count)
{
    bert_predictions out;
    CHECK_OK(bert_predictions_init(&out, sizeof(out)));
    out.logits = logits;
    out.logits_capacity = logits == NULL ? 0 : count * CLASSES;
    out.probabilities = probabilities;
    out.probabilities_capacity = probabilities == NULL ? 0 : count * CLASSES;
    out.label_ids = ids;
    out.label_ids_capacity = ids == NULL ? 0 : count;
    return out;
}

static bert_predict_options options_init(void)
{
    bert_predict_options options;
    CHECK_OK(bert_predict_options_init(&options, sizeof(options)));
    return options;
}

static void one_and_many_agree(void)
{
    static char texts[TEXTS][400];
    const char *pointers[TEXTS];
    static float logits[TEXTS * CLASSES], again[TEXTS * CLASSES], probabilities[TEXTS * CLASSES];
    int32_t ids[TEXTS];
    for (int i = 0; i < TEXTS; i++) {
        make(i, texts[i]);
        pointers[i] = texts[i];
    }
    bert_predictions out = wanting(logits, probabilities, ids, TEXTS);
    CHECK_OK(bert_predict_batch(model, TEXTS, pointers, NULL, NULL, NULL, NULL, &out));
    out = wanting(again, NULL, NULL, TEXTS);
    CHECK_OK(bert_predict_batch(model, TEXTS, pointers, NULL, NULL, NULL, NULL, &out));
    /* The same call gives the same bits. */
    CHECK(memcmp(logits, again, sizeof(logits)) == 0);
    for (int i = 0; i < TEXTS; i++) {
        const float *row = logits + i * CLASSES, *p = probabilities + i * CLASSES;
        double sum = 0, exps = 0;
        int best = 0;
        for (int c = 0; c < CLASSES; c++) {
            CHECK(p[c] >= 0 && p[c] <= 1);
            sum += p[c];
            exps += exp((double)row[c] - row[0]);
            best = row[c] > row[best] ? c : best;
        }
        CHECK_NEAR(sum, 1, 1e-6);
        for (int c = 0; c < CLASSES; c++) {
            CHECK_NEAR(p[c], exp((double)row[c] - row[0]) / exps, 1e-6);
        }
        CHECK_EQUAL(ids[i], best);
        /* Alone and in a batch: nearly the same, and alone always the same. */
        float alone[CLASSES];
        out = wanting(alone, NULL, NULL, 1);
        CHECK_OK(bert_predict_batch(model, 1, &pointers[i], NULL, NULL, NULL, NULL, &out));
        for (int c = 0; c < CLASSES; c++) {
            CHECK_NEAR(alone[c], row[c], 1e-5);
        }
        bert_prediction one;
        CHECK_OK(bert_prediction_init(&one, sizeof(one)));
        CHECK_OK(bert_predict(model, texts[i], NUL, NULL, 0, NULL, &one));
        CHECK_EQUAL(one.label_id, best);
        CHECK_NEAR(one.probability, p[best], 1e-5);
        const char *name = NULL;
        size_t length = 0;
        CHECK_OK(bert_label_name(model, best, &name, &length));
        CHECK_TEXT(one.label, name);
        CHECK_EQUAL(one.label_length, length);
    }
}

static void the_best_k_are_ranked(void)
{
    const char *texts[] = {"w1 w2 w3", "w4", ""};
    float probabilities[3 * CLASSES], best[3 * CLASSES];
    int32_t ids[3 * CLASSES];
    for (int32_t k = 1; k <= CLASSES; k++) {
        bert_predict_options options = options_init();
        options.top_k = k;
        bert_predictions out = wanting(NULL, probabilities, NULL, 3);
        out.top_label_ids = ids;
        out.top_label_ids_capacity = 3 * (size_t)k;
        out.top_probabilities = best;
        out.top_probabilities_capacity = 3 * (size_t)k;
        CHECK_OK(bert_predict_batch(model, 3, texts, NULL, NULL, NULL, &options, &out));
        for (int i = 0; i < 3; i++) {
            int seen[CLASSES] = {0};
            for (int r = 0; r < k; r++) {
                int32_t id = ids[i * k + r];
                CHECK(id >= 0 && id < CLASSES && !seen[id]);
                seen[id] = 1;
                CHECK(best[i * k + r] == probabilities[i * CLASSES + id]);
                CHECK(r == 0 || best[i * k + r] <= best[i * k + r - 1]);
            }
            /* What is not among them is no better than the last of them. */
            for (int c = 0; c < CLASSES; c++) {
                CHECK(seen[c] || probabilities[i * CLASSES + c] <= best[i * k + k - 1]);
            }
        }
        out.top_label_ids_capacity--;
        CHECK_STATUS(bert_predict_batch(model, 3, texts, NULL, NULL, NULL, &options, &out),
                     BERT_ERR_BUFFER_TOO_SMALL);
        CHECK_MESSAGE("'top_label_ids'");
    }
    bert_predict_options options = options_init();
    bert_predictions out = wanting(NULL, probabilities, NULL, 3);
    options.top_k = CLASSES + 1;
    CHECK_STATUS(bert_predict_batch(model, 3, texts, NULL, NULL, NULL, &options, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("top_k is 4");
    options.top_k = -1;
    CHECK_STATUS(bert_predict_batch(model, 3, texts, NULL, NULL, NULL, &options, &out), BERT_ERR_INVALID_ARGUMENT);
}

static void small_buffers_are_not_written(void)
{
    const char *texts[] = {"w1", "w2 w3"};
    float logits[2 * CLASSES], probabilities[2 * CLASSES];
    int32_t ids[2] = {-9, -9};
    for (int i = 0; i < 2 * CLASSES; i++) {
        logits[i] = probabilities[i] = -9;
    }
    bert_predictions out = wanting(logits, probabilities, ids, 2);
    out.probabilities_capacity = 2 * CLASSES - 1;
    CHECK_STATUS(bert_predict_batch(model, 2, texts, NULL, NULL, NULL, NULL, &out), BERT_ERR_BUFFER_TOO_SMALL);
    CHECK_MESSAGE("'probabilities'");
    CHECK_MESSAGE("6");
    out = wanting(logits, probabilities, ids, 2);
    out.label_ids_capacity = 0;
    CHECK_STATUS(bert_predict_batch(model, 2, texts, NULL, NULL, NULL, NULL, &out), BERT_ERR_BUFFER_TOO_SMALL);
    out = wanting(logits, probabilities, ids, 2);
    /* Neither does a text that isn't one leave half an answer. */
    const char *broken[] = {"w1", "\xff"};
    CHECK_STATUS(bert_predict_batch(model, 2, broken, NULL, NULL, NULL, NULL, &out), BERT_ERR_UTF8);
    CHECK_MESSAGE("[1]");
    CHECK(ids[0] == -9 && ids[1] == -9);
    for (int i = 0; i < 2 * CLASSES; i++) {
        CHECK(logits[i] == -9 && probabilities[i] == -9);
    }
    /* Nothing wanted, and nothing asked: fine. */
    out = wanting(NULL, NULL, NULL, 0);
    CHECK_OK(bert_predict_batch(model, 2, texts, NULL, NULL, NULL, NULL, &out));
    out = wanting(logits, probabilities, ids, 2);
    CHECK_OK(bert_predict_batch(model, 0, NULL, NULL, NULL, NULL, NULL, &out));
    CHECK_OK(bert_predict_ids(model, 0, NULL, NULL, NULL, NULL, &out));
    CHECK(ids[0] == -9 && logits[0] == -9);
    CHECK_STATUS(bert_predict_batch(model, 2, NULL, NULL, NULL, NULL, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_predict_batch(model, SIZE_MAX / 4, texts, NULL, NULL, NULL, NULL, &out),
                 BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_predict_batch(model, 2, texts, NULL, NULL, NULL, NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    const size_t absurd[] = {2, (size_t)-2};
    CHECK_STATUS(bert_predict_batch(model, 2, texts, absurd, NULL, NULL, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
}

static void token_ids_give_the_same_answers(void)
{
    const char *texts[] = {"w1 w2 w3 unknown", "w4", "", "w5 w6"};
    const char *pairs[] = {"w7", "w8 w9", "w1", ""};
    for (int with_pairs = 0; with_pairs < 2; with_pairs++) {
        uint32_t ids[128], types[128];
        size_t lengths[4], used = 0;
        for (int i = 0; i < 4; i++) {
            CHECK_OK(bert_tokenize(model, texts[i], NUL, with_pairs ? pairs[i] : NULL, NUL, 0, ids + used,
                                   types + used, 128 - used, &lengths[i]));
            used += lengths[i];
        }
        float by_text[4 * CLASSES], by_ids[4 * CLASSES], without_types[4 * CLASSES];
        bert_predictions out = wanting(by_text, NULL, NULL, 4);
        CHECK_OK(bert_predict_batch(model, 4, texts, NULL, with_pairs ? pairs : NULL, NULL, NULL, &out));
        out = wanting(by_ids, NULL, NULL, 4);
        CHECK_OK(bert_predict_ids(model, 4, ids, types, lengths, NULL, &out));
        CHECK(memcmp(by_text, by_ids, sizeof(by_ids)) == 0);
        out = wanting(without_types, NULL, NULL, 4);
        CHECK_OK(bert_predict_ids(model, 4, ids, NULL, lengths, NULL, &out));
        CHECK((memcmp(by_text, without_types, sizeof(by_ids)) == 0) == !with_pairs);
    }
    float logits[CLASSES] = {-9, -9, -9};
    bert_predictions out = wanting(logits, NULL, NULL, 1);
    const uint32_t outside[] = {1, 1000000, 2}, sound[] = {1, 5, 2}, types[] = {0, 2, 0};
    size_t length = 3;
    CHECK_STATUS(bert_predict_ids(model, 1, outside, NULL, &length, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("1000000");
    CHECK_STATUS(bert_predict_ids(model, 1, sound, types, &length, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("token type 2");
    CHECK_STATUS(bert_predict_ids(model, 1, NULL, NULL, &length, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_predict_ids(model, 1, sound, NULL, NULL, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    length = 0;
    CHECK_STATUS(bert_predict_ids(model, 1, sound, NULL, &length, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("0 tokens");
    length = SIZE_MAX;
    CHECK_STATUS(bert_predict_ids(model, 1, sound, NULL, &length, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    const size_t wraps[] = {SIZE_MAX, 4};
    CHECK_STATUS(bert_predict_ids(model, 2, sound, NULL, wraps, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    uint32_t many[33];
    for (int i = 0; i < 33; i++) {
        many[i] = 5;
    }
    length = 33;
    CHECK_STATUS(bert_predict_ids(model, 1, many, NULL, &length, NULL, &out), BERT_ERR_INVALID_ARGUMENT);
    CHECK_MESSAGE("33 tokens");
    CHECK(logits[0] == -9);
}

static void one_text(const char *text, const bert_predict_options *options, float logits[CLASSES])
{
    bert_predictions out = wanting(logits, NULL, NULL, 1);
    CHECK_OK(bert_predict_batch(model, 1, &text, NULL, NULL, NULL, options, &out));
}

/* The words from..to of the long text. */
static void part(int from, int to, char text[400])
{
    text[0] = 0;
    for (int w = from; w < to; w++) {
        snprintf(text + strlen(text), 400 - strlen(text), "w%d ", w * 3 % 50);
    }
}

static void softmax_of(const float logits[CLASSES], double p[CLASSES])
{
    double sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        sum += p[c] = exp((double)logits[c] - logits[0]);
    }
    for (int c = 0; c < CLASSES; c++) {
        p[c] /= sum;
    }
}

static void long_texts_are_cut_or_windowed(void)
{
    /* 20 words, windows of 8 that share 2: words 0-7, 6-13, 12-19. */
    char text[400], window[400];
    part(0, 20, text);
    bert_predict_options options = options_init();
    CHECK_EQUAL(options.long_text, BERT_LONG_TEXT_TRUNCATE);
    CHECK_EQUAL(options.window_stride, -1);
    options.max_length = 10;
    float cut[CLASSES], head[CLASSES], rows[3][CLASSES], got[CLASSES];
    double p[3][CLASSES], mean_logits[CLASSES] = {0}, mean_p[CLASSES] = {0};
    one_text(text, &options, cut);
    part(0, 8, window);
    one_text(window, NULL, head);
    CHECK(memcmp(cut, head, sizeof(cut)) == 0);

    int surest = 0;
    double sureness = 0;
    for (int i = 0; i < 3; i++) {
        part(6 * i, 6 * i + 8, window);
        one_text(window, NULL, rows[i]);
        softmax_of(rows[i], p[i]);
        for (int c = 0; c < CLASSES; c++) {
            mean_logits[c] += rows[i][c] / 3;
            mean_p[c] += p[i][c] / 3;
            if (p[i][c] > sureness) {
                sureness = p[i][c];
                surest = i;
            }
        }
    }
    options.long_text = BERT_LONG_TEXT_WINDOWS;
    options.window_stride = 2;
    CHECK_EQUAL(options.combine, BERT_COMBINE_MEAN_LOGITS);
    one_text(text, &options, got);
    for (int c = 0; c < CLASSES; c++) {
        CHECK_NEAR(got[c], mean_logits[c], 1e-5);
    }
    /* The default is a quarter of the maximum length, which is 2 here too. */
    float by_default[CLASSES];
    options.window_stride = -1;
    one_text(text, &options, by_default);
    CHECK(memcmp(got, by_default, sizeof(got)) == 0);
    options.combine = BERT_COMBINE_MEAN_PROBABILITIES;
    one_text(text, &options, got);
    for (int c = 0; c < CLASSES; c++) {
        CHECK_NEAR(exp(got[c]), mean_p[c], 1e-5);
    }
    options.combine = BERT_COMBINE_MOST_CONFIDENT;
    one_text(text, &options, got);
    for (int c = 0; c < CLASSES; c++) {
        CHECK_NEAR(got[c], rows[surest][c], 1e-5);
    }
    /* A text that fits is no different however long ones are treated. */
    for (int32_t combine = 0; combine < 3; combine++) {
        options.combine = combine;
        part(0, 8, window);
        one_text(window, &options, got);
        one_text("", NULL, cut);
        if (combine == BERT_COMBINE_MEAN_PROBABILITIES) {
            /* Logarithms of probabilities, as of a text of many windows: torch.log_softmax of the logits. */
            double sum = 0;
            for (int c = 0; c < CLASSES; c++) {
                sum += exp(head[c]);
            }
            for (int c = 0; c < CLASSES; c++) {
                CHECK_NEAR(got[c], head[c] - log(sum), 1e-5);
            }
            continue;
        }
        CHECK(memcmp(got, head, sizeof(got)) == 0);
        one_text("", &options, got);
        CHECK(memcmp(got, cut, sizeof(got)) == 0);
    }

    const char *only = "w1 w2 w3 w4 w5 w6 w7 w8 w9 w10";
    bert_predictions out = wanting(got, NULL, NULL, 1);
    static const int32_t strides[] = {8, 9, 1000, -2, INT32_MIN};
    for (size_t i = 0; i < COUNT_OF(strides); i++) {
        options.window_stride = strides[i];
        CHECK_STATUS(bert_predict_batch(model, 1, &only, NULL, NULL, NULL, &options, &out), BERT_ERR_INVALID_ARGUMENT);
        CHECK_MESSAGE("stride");
    }
    options.window_stride = 7;
    CHECK_OK(bert_predict_batch(model, 1, &only, NULL, NULL, NULL, &options, &out));
    options.combine = 3;
    CHECK_STATUS(bert_predict_batch(model, 1, &only, NULL, NULL, NULL, &options, &out), BERT_ERR_INVALID_ARGUMENT);
    options.combine = 0;
    options.long_text = 2;
    CHECK_STATUS(bert_predict_batch(model, 1, &only, NULL, NULL, NULL, &options, &out), BERT_ERR_INVALID_ARGUMENT);
    options.long_text = 0;
    options.max_length = 33;
    CHECK_STATUS(bert_predict_batch(model, 1, &only, NULL, NULL, NULL, &options, &out), BERT_ERR_INVALID_ARGUMENT);
    options.max_length = -1;
    CHECK_STATUS(bert_predict_batch(model, 1, &only, NULL, NULL, NULL, &options, &out), BERT_ERR_INVALID_ARGUMENT);
}

static void pairs_and_empty_texts_are_texts(void)
{
    bert_prediction one;
    CHECK_OK(bert_prediction_init(&one, sizeof(one)));
    CHECK_OK(bert_predict(model, "", NUL, NULL, 0, NULL, &one));
    float alone = one.probability;
    CHECK_OK(bert_predict(model, NULL, 0, NULL, 0, NULL, &one));
    CHECK(one.probability == alone);
    /* An empty second text is a pair, and not the text alone. */
    CHECK_OK(bert_predict(model, "w1 w2", NUL, NULL, 0, NULL, &one));
    alone = one.probability;
    CHECK_OK(bert_predict(model, "w1 w2", NUL, "", 0, NULL, &one));
    CHECK(one.probability != alone);
    CHECK_OK(bert_predict(model, "w1 w2xx", 5, "w3xx", 2, NULL, &one));
    const char *text = "w1 w2", *pair = "w3";
    float p[CLASSES];
    bert_predictions out = wanting(NULL, p, NULL, 1);
    CHECK_OK(bert_predict_batch(model, 1, &text, NULL, &pair, NULL, NULL, &out));
    CHECK(p[one.label_id] == one.probability);

    bert_prediction untouched = one;
    CHECK_STATUS(bert_predict(model, "\xff", NUL, NULL, 0, NULL, &one), BERT_ERR_UTF8);
    CHECK_STATUS(bert_predict(model, "w1", NUL, "\xff", NUL, NULL, &one), BERT_ERR_UTF8);
    CHECK_STATUS(bert_predict(model, NULL, NUL, NULL, 0, NULL, &one), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_predict(model, "w1", NUL, NULL, 0, NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    CHECK(memcmp(&one, &untouched, sizeof(one)) == 0);
}

/* In one call some texts may have a second one: NULL is none, and a pointer of length 0 an empty one. */
static void some_texts_have_a_pair(void)
{
    enum { MIXED = 4 };
    const char *texts[MIXED] = {"w1 w2", "w1 w2", "w1 w2", "w1 w2"};
    const char *pairs[MIXED] = {NULL, "w3", "", NULL};
    const char *counted[MIXED] = {NULL, "w3xx", "not read", NULL};
    static const size_t lengths[MIXED] = {0, 2, 0, 5};
    float p[MIXED * CLASSES], by_length[MIXED * CLASSES], alone[CLASSES], vectors[2][MIXED * WIDTH];
    bert_predictions out = wanting(NULL, p, NULL, MIXED);
    CHECK_OK(bert_predict_batch(model, MIXED, texts, NULL, pairs, NULL, NULL, &out));
    out = wanting(NULL, by_length, NULL, MIXED);
    CHECK_OK(bert_predict_batch(model, MIXED, texts, NULL, counted, lengths, NULL, &out));
    CHECK(memcmp(p, by_length, sizeof(p)) == 0);
    for (int i = 0; i < MIXED; i++) {
        out = wanting(NULL, alone, NULL, 1);
        CHECK_OK(bert_predict_batch(model, 1, texts + i, NULL, pairs[i] == NULL ? NULL : pairs + i, NULL, NULL, &out));
        bert_prediction one = BERT_PREDICTION_INIT;
        CHECK_OK(bert_predict(model, texts[i], NUL, pairs[i], NUL, NULL, &one));
        CHECK_NEAR(one.probability, alone[one.label_id], 1e-6);
        for (int c = 0; c < CLASSES; c++) {
            CHECK_NEAR(p[i * CLASSES + c], alone[c], 1e-6);
        }
    }
    CHECK(memcmp(p, p + 3 * CLASSES, sizeof(alone)) == 0);
    CHECK(memcmp(p, p + CLASSES, sizeof(alone)) != 0 && memcmp(p, p + 2 * CLASSES, sizeof(alone)) != 0);
    CHECK_OK(bert_embed(model, MIXED, texts, NULL, pairs, NULL, NULL, vectors[0], COUNT_OF(vectors[0])));
    CHECK_OK(bert_embed(model, MIXED, texts, NULL, counted, lengths, NULL, vectors[1], COUNT_OF(vectors[1])));
    CHECK(memcmp(vectors[0], vectors[1], sizeof(vectors[0])) == 0);
    CHECK(memcmp(vectors[0], vectors[0] + 3 * WIDTH, WIDTH * sizeof(float)) == 0);
    CHECK(memcmp(vectors[0], vectors[0] + 2 * WIDTH, WIDTH * sizeof(float)) != 0);
}

/* More than is held at once: the same answers as one by one. */
static void thousands_in_one_call(void)
{
    enum { MANY = 5000 };
    char(*texts)[400] = malloc(sizeof(*texts) * 500);
    const char **pointers = malloc(sizeof(*pointers) * MANY);
    float *logits = malloc(sizeof(float) * MANY * CLASSES);
    CHECK(texts != NULL && pointers != NULL && logits != NULL);
    for (int i = 0; i < MANY; i++) {
        if (i < 500) {
            make(i, texts[i]);
        }
        pointers[i] = texts[i % 500];
    }
    bert_predictions out = wanting(logits, NULL, NULL, MANY);
    CHECK_OK(bert_predict_batch(model, MANY, pointers, NULL, NULL, NULL, NULL, &out));
    for (int i = 0; i < MANY; i += 97) {
        float alone[CLASSES];
        one_text(pointers[i], NULL, alone);
        for (int c = 0; c < CLASSES; c++) {
            CHECK_NEAR(logits[i * CLASSES + c], alone[c], 1e-5);
        }
    }
    free(logits);
    free(pointers);
    free(texts);
}

/* A text of 30 MB is cut to what counts, and costs no more than reading it. */
static void a_huge_text_is_a_text(void)
{
    size_t length = (size_t)30 << 20;
    char *text = malloc(length);
    CHECK(text != NULL);
    for (size_t i = 0; i < length; i += 4) {
        memcpy(text + i, "w1 x", 4);
    }
    bert_prediction one;
    CHECK_OK(bert_prediction_init(&one, sizeof(one)));
    CHECK_OK(bert_predict(model, text, length, NULL, 0, NULL, &one));
    float p = one.probability;
    CHECK_OK(bert_predict(model, text, 4000, NULL, 0, NULL, &one));
    CHECK(one.probability == p);
    free(text);
}

int main(void)
{
    static const char *const names[] = {"a", "b", "c"};
    bert_dataset *train = NULL;
    CHECK_OK(bert_dataset_create(&train));
    for (int i = 0; i < 60; i++) {
        char text[400];
        make(i, text);
        CHECK_OK(bert_dataset_add_class(train, text, NUL, NULL, 0, names[i % 3], NUL));
    }
    bert_model_options options = small_options();
    options.initializer_range = 0.3;
    model = create(&options, train);
    one_and_many_agree();
    the_best_k_are_ranked();
    small_buffers_are_not_written();
    token_ids_give_the_same_answers();
    long_texts_are_cut_or_windowed();
    pairs_and_empty_texts_are_texts();
    some_texts_have_a_pair();
    thousands_in_one_call();
    a_huge_text_is_a_text();
    bert_free(model);
    bert_dataset_free(train);
    return 0;
}
