/* Texts of 10 MB, as a hostile or careless user of the application sends them: ids that are known, of each kind of
 * tokenizer, and predictions equal to those of the text that has the same ids. */

#include "check.h"

enum { PAD, CLS, SEP, MASK, UNK };
enum { SIZE = 10 * 1000 * 1000, MOST = 64 };

static const char *const texts[] = {"The cat saw the dog", "the dog and the cat ran"};
static const char *const names[] = {"a", "b"};

static bert_model *model_of(int32_t tokenizer)
{
    bert_dataset *train = named(2, texts, names);
    bert_model_options options = small_options();
    options.tokenizer = tokenizer;
    options.max_position_embeddings = 32;
    bert_model *model = create(&options, train);
    bert_dataset_free(train);
    return model;
}

/* `part` again and again, then `end`. */
static char *repeated(const char *part, const char *end)
{
    size_t length = strlen(part), size = SIZE / length * length;
    char *text = malloc(size + strlen(end) + 1);
    CHECK(text != NULL);
    for (size_t at = 0; at < size; at += length) {
        memcpy(text + at, part, length);
    }
    strcpy(text + size, end);
    return text;
}

/* The ids of a long text must be those of a short one, and so must the prediction. */
static void is_like(const bert_model *model, const char *long_text, const char *short_text)
{
    uint32_t got[MOST], expected[MOST];
    size_t got_count = 0, count = 0;
    CHECK_OK(bert_tokenize(model, long_text, NUL, NULL, 0, 0, got, NULL, MOST, &got_count));
    CHECK_OK(bert_tokenize(model, short_text, NUL, NULL, 0, 0, expected, NULL, MOST, &count));
    CHECK_EQUAL(got_count, count);
    for (size_t i = 0; i < count; i++) {
        CHECK_EQUAL(got[i], expected[i]);
    }
    float got_logits[8], logits[8];
    logits_of(model, long_text, got_logits);
    logits_of(model, short_text, logits);
    for (int i = 0; i < 2; i++) {
        CHECK_NEAR(got_logits[i], logits[i], 1e-5);
    }
}

static void like(const bert_model *model, const char *part, const char *end, const char *short_text)
{
    char *text = repeated(part, end);
    is_like(model, text, short_text);
    free(text);
}

static void what_is_left_out_is_passed_over(const bert_model *word_level, const bert_model *wordpiece)
{
    like(word_level, " ", "", "");
    like(word_level, " ", "the cat", "the cat");
    like(word_level, "\t\r\n", "the cat", "the cat");
    like(word_level, "\xe3\x80\x80", "dog", "dog");
    like(wordpiece, " ", "the cat", "the cat");
    /* Control characters, a byte order mark, and accents without a letter. */
    like(wordpiece, "\x01\x7f", "the cat", "the cat");
    like(wordpiece, "\xef\xbb\xbf", "the cat", "the cat");
    like(wordpiece, "\xcc\x81\xcc\xa3", "the cat", "the cat");
    like(wordpiece, "\xcc\x81", "", "");
}

static void an_endless_word_is_one_unknown_word(const bert_model *word_level, const bert_model *wordpiece)
{
    like(word_level, "a", "", "qqq");
    like(word_level, "the", " cat", "qqq cat");
    like(word_level, "\xcc\x81", " cat", "qqq cat");
    like(wordpiece, "a", "", "qqq");
    like(wordpiece, "the", " cat dog", "qqq cat dog");
    like(wordpiece, "\xd0\xb6", "!the", "qqq!the");
}

static void what_fills_the_maximum_is_cut(const bert_model *models[3])
{
    for (int i = 0; i < 3; i++) {
        like(models[i], "the cat ", "", "the cat the cat the cat the cat the cat the cat the cat the cat the cat the cat "
                                        "the cat the cat the cat the cat the cat the cat the cat the cat the cat");
        like(models[i], "[MASK]", "", "[MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK]"
                                      "[MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK]"
                                      "[MASK][MASK][MASK][MASK][MASK][MASK][MASK][MASK]");
    }
    /* Bytes are never unknown; no merge reaches over 'q'. */
    like(models[2], "q", "", "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq");
}

/* Both texts of a pair are long, and the first one is longer by a word. */
static void a_pair_is_cut_on_both_sides(const bert_model *word_level)
{
    char *longer = repeated("the cat ", "dog"), *shorter = repeated("the cat ", "");
    uint32_t ids[MOST];
    size_t count = 0;
    for (int side = 0; side < 2; side++) {
        CHECK_OK(bert_tokenize(word_level, side ? shorter : longer, NUL, side ? longer : shorter, NUL, 12, ids, NULL, MOST,
                               &count));
        CHECK_EQUAL(count, 12);
        /* Room for nine: five of the longer one, four of the other. */
        CHECK_EQUAL(ids[side ? 5 : 6], SEP);
        CHECK_EQUAL(ids[11], SEP);
    }
    free(longer);
    free(shorter);
    char *spaces = repeated(" ", "cat"), *word = repeated("a", "");
    CHECK_OK(bert_tokenize(word_level, spaces, NUL, word, NUL, 12, ids, NULL, MOST, &count));
    CHECK_EQUAL(count, 5);
    CHECK_EQUAL(ids[2], SEP);
    CHECK_EQUAL(ids[3], UNK);
    free(spaces);
    free(word);
}

int main(void)
{
    bert_model *word_level = model_of(BERT_TOKENIZER_WORD_LEVEL), *wordpiece = model_of(BERT_TOKENIZER_WORDPIECE),
               *bytes = model_of(BERT_TOKENIZER_BPE);
    const bert_model *models[3] = {word_level, wordpiece, bytes};
    what_is_left_out_is_passed_over(word_level, wordpiece);
    an_endless_word_is_one_unknown_word(word_level, wordpiece);
    what_fills_the_maximum_is_cut(models);
    a_pair_is_cut_on_both_sides(word_level);
    bert_free(word_level);
    bert_free(wordpiece);
    bert_free(bytes);
    return 0;
}
