/* Token ids: the word-level vocabulary's order, special tokens, truncation, pairs, the caller's buffers. */

#include "check.h"

enum { PAD, CLS, SEP, MASK, UNK };

static const bert_model *model;

/* The text's ids must be these, and its token types: `first` zeros, then ones. */
static void gives(const char *text, const char *pair, int32_t max_length, size_t expected, const uint32_t *want,
                  size_t first)
{
    uint32_t ids[64], types[64];
    size_t count = 0;
    CHECK_OK(bert_tokenize(model, text, NUL, pair, pair == NULL ? 0 : NUL, max_length, ids, types, 64, &count));
    CHECK_EQUAL(count, expected);
    for (size_t i = 0; i < count; i++) {
        CHECK_EQUAL(ids[i], want[i]);
        CHECK_EQUAL(types[i], i < first ? 0 : 1);
    }
}

#define GIVES(text, pair, max_length, first, ...)                                                  \
    do {                                                                                           \
        const uint32_t want[] = {__VA_ARGS__};                                                     \
        gives(text, pair, max_length, COUNT_OF(want), want, first);                                \
    } while (0)

/* "the" comes four times; "cat" and "dog" twice, "cat" first; the others once, in order of appearance. */
static const char *const texts[] = {"The cat saw the dog", "the dog and the cat ran"};
static const char *const names[] = {"a", "b"};

static void words_have_their_ids(void)
{
    GIVES("the cat dog saw and ran", NULL, 0, 8, CLS, 5, 6, 7, 8, 9, 10, SEP);
    /* Lower-cased, and cut at any white space. */
    GIVES("  THE\tCat\n\ndog ", NULL, 0, 5, CLS, 5, 6, 7, SEP);
    GIVES("a bird saw", NULL, 0, 5, CLS, UNK, UNK, 8, SEP);
    /* Punctuation is part of its word: this tokenizer knows spaces alone. */
    GIVES("cat.", NULL, 0, 3, CLS, UNK, SEP);
    GIVES("", NULL, 0, 2, CLS, SEP);
    GIVES(" \t ", NULL, 0, 2, CLS, SEP);
    /* A special token's name in a text is taken for it, as Hugging Face's tokenizers do. */
    GIVES("[MASK] cat", NULL, 0, 4, CLS, MASK, 6, SEP);
}

static void truncation_keeps_the_closing_sep(void)
{
    GIVES("the cat dog saw and ran", NULL, 5, 5, CLS, 5, 6, 7, SEP);
    GIVES("the cat dog saw and ran", NULL, 8, 8, CLS, 5, 6, 7, 8, 9, 10, SEP);
    GIVES("the cat dog saw and ran", NULL, 4, 4, CLS, 5, 6, SEP);
    /* 32 positions: 30 words fit. */
    char text[200] = "";
    for (int i = 0; i < 40; i++) {
        strcat(text, "cat ");
    }
    uint32_t ids[64];
    size_t count = 0;
    CHECK_OK(bert_tokenize(model, text, NUL, NULL, 0, 0, ids, NULL, 64, &count));
    CHECK_EQUAL(count, 32);
    CHECK_EQUAL(ids[0], CLS);
    CHECK_EQUAL(ids[30], 6);
    CHECK_EQUAL(ids[31], SEP);
}

static void pairs_have_two_types(void)
{
    GIVES("the cat", "the dog", 0, 4, CLS, 5, 6, SEP, 5, 7, SEP);
    /* An empty second text is still a pair; an empty first one too. */
    GIVES("the cat", "", 0, 4, CLS, 5, 6, SEP, SEP);
    GIVES("", "the dog", 0, 2, CLS, SEP, 5, 7, SEP);
    GIVES("", "", 0, 2, CLS, SEP, SEP);
    /* The longer one is cut first. */
    GIVES("the cat dog saw and ran", "dog", 7, 5, CLS, 5, 6, 7, SEP, 7, SEP);
    GIVES("dog", "the cat dog saw and ran", 7, 3, CLS, 7, SEP, 5, 6, 7, SEP);
    GIVES("the cat dog", "ran and saw", 7, 4, CLS, 5, 6, SEP, 10, 9, SEP);
    GIVES("the cat dog", "ran and saw", 9, 5, CLS, 5, 6, 7, SEP, 10, 9, 8, SEP);
}

static void buffers_are_the_callers(void)
{
    uint32_t ids[8], types[8];
    size_t count = 0;
    memset(ids, 0x77, sizeof(ids));
    memset(types, 0x77, sizeof(types));
    for (size_t capacity = 0; capacity < 5; capacity++) {
        count = 0;
        CHECK_STATUS(bert_tokenize(model, "the cat ran", NUL, NULL, 0, 0, ids, types, capacity, &count),
                     BERT_ERR_BUFFER_TOO_SMALL);
        CHECK_MESSAGE("5");
        CHECK_EQUAL(count, 5);
        for (size_t i = 0; i < 8; i++) {
            CHECK(ids[i] == 0x77777777 && types[i] == 0x77777777);
        }
    }
    count = 0;
    CHECK_STATUS(bert_tokenize(model, "the cat ran", NUL, NULL, 0, 0, NULL, types, 4, &count),
                 BERT_ERR_BUFFER_TOO_SMALL);
    CHECK_EQUAL(count, 5);
    /* Both may be absent: the count alone, whatever the capacity. */
    count = 0;
    CHECK_OK(bert_tokenize(model, "the cat ran", NUL, NULL, 0, 0, NULL, NULL, 0, &count));
    CHECK_EQUAL(count, 5);
    /* Nothing is written beyond the count. */
    CHECK_OK(bert_tokenize(model, "the cat ran", NUL, NULL, 0, 0, ids, NULL, 8, &count));
    CHECK(ids[4] == SEP && ids[5] == 0x77777777 && types[0] == 0x77777777);
}

static void wrong_arguments_are_refused(void)
{
    uint32_t ids[8];
    size_t count = 99;
    CHECK_STATUS(bert_tokenize(model, "the \xffgg", NUL, NULL, 0, 0, ids, NULL, 8, &count), BERT_ERR_UTF8);
    CHECK_MESSAGE("'text'");
    CHECK_MESSAGE("byte 4");
    CHECK_STATUS(bert_tokenize(model, "the", NUL, "\xf0\x28", NUL, 0, ids, NULL, 8, &count), BERT_ERR_UTF8);
    CHECK_MESSAGE("'pair'");
    CHECK_STATUS(bert_tokenize(model, NULL, NUL, NULL, 0, 0, ids, NULL, 8, &count), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_tokenize(model, "the", NUL, NULL, 0, 0, ids, NULL, 8, NULL), BERT_ERR_INVALID_ARGUMENT);
    static const int32_t lengths[] = {-1, 1, 3, 33, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        CHECK_STATUS(bert_tokenize(model, "the", NUL, NULL, 0, lengths[i], ids, NULL, 8, &count),
                     BERT_ERR_INVALID_ARGUMENT);
        CHECK_MESSAGE("max_length");
    }
    CHECK_EQUAL(count, 99);
    /* (NULL, 0) is the empty text. */
    CHECK_OK(bert_tokenize(model, NULL, 0, NULL, 0, 0, ids, NULL, 8, &count));
    CHECK_EQUAL(count, 2);
}

/* The learned tokenizers: every text's tokens are known, and training texts come back whole. */
static void subwords(void)
{
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    for (int32_t kind = BERT_TOKENIZER_WORDPIECE; kind <= BERT_TOKENIZER_BPE; kind++) {
        bert_model_options options = small_options();
        options.tokenizer = kind;
        options.max_vocab_size = 400;
        options.max_position_embeddings = 64;
        bert_model *learned = create(&options, train), *again = create(&options, train);
        CHECK(are_equal(learned, again));
        uint32_t ids[64];
        size_t count = 0;
        CHECK_OK(bert_tokenize(learned, "what a wonderful film", NUL, NULL, 0, 0, ids, NULL, 64, &count));
        CHECK(count >= 6 && ids[0] == CLS && ids[count - 1] == SEP);
        for (size_t i = 1; i + 1 < count; i++) {
            CHECK(ids[i] > UNK && ids[i] < 400);
        }
        /* A word never seen is made of pieces of known ones. Only bytes can spell every character. */
        CHECK_OK(bert_tokenize(learned, "filmed", NUL, NULL, 0, 0, ids, NULL, 64, &count));
        CHECK(count >= 4 && ids[1] > UNK);
        CHECK_OK(bert_tokenize(learned, "\xe2\x82\xac", NUL, NULL, 0, 0, ids, NULL, 64, &count));
        if (kind == BERT_TOKENIZER_BPE) {
            CHECK(count >= 3 && ids[1] > UNK);
        } else {
            CHECK(count == 3 && ids[1] == UNK);
        }
        bert_free(learned);
        bert_free(again);
    }
    bert_dataset_free(train);
}

/* A tokenizer.json that another model saved. */
static void a_tokenizer_can_be_taken(void)
{
    CHECK_OK(bert_save(model, "saved"));
    bert_dataset *train = toy(BERT_TOY_TRAIN);
    bert_model_options options = small_options();
    options.tokenizer_path = "saved/tokenizer.json";
    bert_model *taken = create(&options, train);
    uint32_t ids[8];
    size_t count = 0;
    CHECK_OK(bert_tokenize(taken, "the cat wonderful", NUL, NULL, 0, 0, ids, NULL, 8, &count));
    CHECK_EQUAL(count, 5);
    CHECK(ids[1] == 5 && ids[2] == 6 && ids[3] == UNK);
    bert_free(taken);
    bert_dataset_free(train);
}

int main(void)
{
    bert_dataset *train = named(2, texts, names);
    bert_model_options options = small_options();
    bert_model *made = create(&options, train);
    model = made;
    words_have_their_ids();
    truncation_keeps_the_closing_sep();
    pairs_have_two_types();
    buffers_are_the_callers();
    wrong_arguments_are_refused();
    subwords();
    a_tokenizer_can_be_taken();
    bert_free(made);
    bert_dataset_free(train);
    return 0;
}
