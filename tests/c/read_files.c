/* Data files: what is read from each format, and what is said of a file that is wrong. */

#include "check.h"

static bert_read_options defaults(void)
{
    bert_read_options options;
    CHECK_OK(bert_read_options_init(&options, sizeof(options)));
    CHECK_EQUAL(options.format, BERT_FORMAT_AUTO);
    CHECK_EQUAL(options.header, BERT_HEADER_AUTO);
    CHECK(options.text_column == NULL && options.pair_column == NULL && options.label_column == NULL);
    CHECK_EQUAL(options.labels_are_ids, 0);
    return options;
}

/* The options of a model that keeps upper case, so that its vocabulary tells the words as they were read. */
static bert_model_options exact(void)
{
    bert_model_options options = small_options();
    options.lowercase = 0;
    return options;
}

/* Reads the content as a file of this name and checks what was read: examples, classes, words of the vocabulary. */
static void reads(const char *name, const char *content, size_t length, const bert_read_options *options,
                  size_t examples, const char *classes, int32_t words, const char *text)
{
    write_bytes(name, content, length);
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_read(name, options, &dataset));
    CHECK_EQUAL(count_of(dataset), examples);
    bert_model_options model_options = exact();
    bert_model *model = create(&model_options, dataset);
    bert_info info;
    CHECK_OK(bert_info_init(&info, sizeof(info)));
    CHECK_OK(bert_get_info(model, &info));
    char joined[128] = "";
    for (int32_t id = 0; id < info.num_labels; id++) {
        const char *label = NULL;
        CHECK_OK(bert_label_name(model, id, &label, NULL));
        size_t used = strlen(joined);
        snprintf(joined + used, sizeof(joined) - used, "%s%s", id == 0 ? "" : "|", label);
    }
    CHECK_TEXT(joined, classes);
    /* Five special tokens come first. */
    CHECK_EQUAL(info.vocab_size - 5, words);
    /* Each word of this text is known. */
    uint32_t ids[32];
    size_t count = 0;
    CHECK_OK(bert_tokenize(model, text, NUL, NULL, 0, 0, ids, NULL, 32, &count));
    for (size_t i = 1; i + 1 < count; i++) {
        CHECK(ids[i] >= 5);
    }
    bert_free(model);
    bert_dataset_free(dataset);
}

#define READS(name, content, options, examples, classes, words, text)                              \
    reads(name, content, sizeof(content) - 1, options, examples, classes, words, text)

static void tsv(void)
{
    READS("a.tsv", "a good film\tpos\na bad film\tneg\n", NULL, 2, "neg|pos", 4, "a good bad film");
    /* A header with usual names, in any order and case. */
    READS("a.tsv", "id\tLabel\tSentence\n1\tpos\tgood\n2\tneg\tbad\n", NULL, 2, "neg|pos", 2, "good bad");
    /* Quotes are characters like any other. */
    READS("a.tsv", "\"good\tpos\nbad\"\tneg\n", NULL, 2, "neg|pos", 2, "\"good bad\"");
    /* CRLF, a byte-order mark, blank lines, and a last line without an end. */
    READS("a.tsv", "\xef\xbb\xbftext\tlabel\r\ngood\tpos\r\n\r\nbad\tneg", NULL, 2, "neg|pos", 2, "good bad");
    READS("a.TSV", "good\t 1 \nbad\t0\n", NULL, 2, "0|1", 2, "good bad");
    /* Three columns without a header are a pair and its label. */
    READS("a.tsv", "one\ttwo\tpos\nthree\tfour\tneg\n", NULL, 2, "neg|pos", 4, "one two three four");
}

static void csv(void)
{
    READS("a.csv", "label,text\npos,\"good, \"\"very\"\" good\"\nneg,bad\n", NULL, 2, "neg|pos", 4,
          "good, \"very\" good bad");
    /* A line break inside quotes belongs to the field. */
    READS("a.csv", "text,label\r\n\"first\r\nsecond\",pos\r\n\"third\nfourth\",neg\r\n", NULL, 2, "neg|pos",
          4, "first second third fourth");
    READS("a.csv", "label,sentence1,sentence2\n1,one two,three\n0,four,\"\"\n", NULL, 2, "0|1", 4,
          "one two three four");
    READS("a.csv", "\"\",pos\nbad,neg\n", NULL, 2, "neg|pos", 1, "bad");
}

static void json_lines(void)
{
    READS("a.jsonl", "{\"text\": \"good\\tfilm\", \"label\": \"pos\"}\n\n{\"label\": \"neg\", \"text\": \"bad\"}\n",
          NULL, 2, "neg|pos", 3, "good film bad");
    READS("a.ndjson", "{\"text\":\"gr\\u00fcn\",\"label\":1}\r\n{\"text\":\"bad\",\"label\":0,\"more\":[{}]}", NULL, 2,
          "0|1", 2, "gr\xc3\xbcn bad");
    READS("a.jsonl", "{\"text\":\"good\",\"label\":true}\n{\"text\":\"bad\",\"label\":false}\n", NULL, 2,
          "false|true", 2, "good bad");
    /* U+0000 is a character, which a JSON string can hold. */
    READS("a.jsonl", "{\"text\":\"good\\u0000\",\"label\":1}\n{\"text\":\"bad\",\"label\":0}\n", NULL, 2, "0|1", 2,
          "bad");
}

static void options_are_followed(void)
{
    bert_read_options options = defaults();
    options.format = BERT_FORMAT_CSV;
    READS("a.data", "text,label\ngood,pos\nbad,neg\n", &options, 2, "neg|pos", 2, "good bad");

    options = defaults();
    options.text_column = "what";
    options.label_column = "how";
    READS("a.csv", "how,what,else\npos,good,x\nneg,bad,y\n", &options, 2, "neg|pos", 2, "good bad");

    options = defaults();
    options.text_column = "3";
    options.label_column = "1";
    READS("a.csv", "pos,x,good\nneg,y,bad\n", &options, 2, "neg|pos", 2, "good bad");

    options = defaults();
    options.header = BERT_HEADER_ABSENT;
    READS("a.tsv", "text\tlabel\ngood\tpos\n", &options, 2, "label|pos", 2, "text good");

    options = defaults();
    options.header = BERT_HEADER_PRESENT;
    options.text_column = "1";
    options.pair_column = "2";
    options.label_column = "3";
    READS("a.tsv", "x\ty\tz\none\ttwo\tpos\nthree\tfour\tneg\n", &options, 2, "neg|pos", 4, "one two three four");

    options = defaults();
    options.labels_are_ids = 1;
    READS("a.tsv", "good\t2\nbad\t0\n", &options, 2, "LABEL_0|LABEL_1|LABEL_2", 2, "good bad");
    READS("a.jsonl", "{\"text\":\"good\",\"label\":1}\n{\"text\":\"bad\",\"label\":\"0\"}\n", &options, 2,
          "LABEL_0|LABEL_1", 2, "good bad");
}

/* Reads a file that is wrong: the message has the file's name, the line, and what was expected. */
static void refuses(const char *name, const char *content, size_t length, const bert_read_options *options,
                    bert_status status, const char *where, const char *what)
{
    write_bytes(name, content, length);
    bert_dataset *dataset = NULL;
    CHECK_STATUS(bert_dataset_read(name, options, &dataset), status);
    CHECK_MESSAGE(where);
    CHECK_MESSAGE(what);
    CHECK(dataset == NULL);
}

#define REFUSES(name, content, options, status, where, what)                                       \
    refuses(name, content, sizeof(content) - 1, options, status, where, what)

static void wrong_files_are_refused_with_their_line(void)
{
    REFUSES("b.tsv", "", NULL, BERT_ERR_DATA, "b.tsv", "no examples");
    REFUSES("b.tsv", "\n\r\n   \n", NULL, BERT_ERR_DATA, "b.tsv", "no examples");
    REFUSES("b.tsv", "text\tlabel\n", NULL, BERT_ERR_DATA, "b.tsv", "no examples");
    REFUSES("b.tsv", "good\tpos\nbad\n", NULL, BERT_ERR_DATA, "b.tsv, line 2", "1 field; expected 2");
    REFUSES("b.tsv", "good\tpos\n\nbad\tneg\tmore\n", NULL, BERT_ERR_DATA, "line 3", "3 fields; expected 2");
    REFUSES("b.tsv", "just a text\n", NULL, BERT_ERR_DATA, "line 1", "1 column");
    REFUSES("b.tsv", "good\tpos\nbad\t \n", NULL, BERT_ERR_DATA, "line 2", "label is empty");
    REFUSES("b.tsv", "good\tpos\nb\xff" "d\tneg\n", NULL, BERT_ERR_DATA, "line 2", "byte 2");
    REFUSES("b.tsv", "\xff\xfeg\0o\0", NULL, BERT_ERR_DATA, "line 1", "UTF-16");
    REFUSES("b.tsv", "a\tb\tc\td\n", NULL, BERT_ERR_DATA, "line 1", "4 columns");
    REFUSES("b.csv", "text,label\ngood,pos\n\"never closed,neg\nmore,pos\n", NULL, BERT_ERR_DATA, "line 3",
            "never closed");
    REFUSES("b.csv", "text,label\n\"one\ntwo\",pos\nbad\n", NULL, BERT_ERR_DATA, "line 4", "expected 2");
    REFUSES("b.csv", "text,label\n\"good\"x,pos\n", NULL, BERT_ERR_DATA, "line 2", "closing quote");
    REFUSES("b.csv", "text,text,label\ngood,x,pos\n", NULL, BERT_ERR_DATA, "line 1", "several");
    REFUSES("b.csv", "text,what\ngood,pos\n", NULL, BERT_ERR_DATA, "line 1", "label");
    REFUSES("b.jsonl", "{\"text\":\"good\",\"label\":1}\nnot json\n", NULL, BERT_ERR_DATA, "line 2", "JSON object");
    REFUSES("b.jsonl", "{\"text\":\"good\",\"label\":1}\n\n{\"text\":\"bad\"}\n", NULL, BERT_ERR_DATA, "line 3",
            "'label' is missing");
    REFUSES("b.jsonl", "{\"text\":\"good\",\"label\":1}\n{\"text\":5,\"label\":1}\n", NULL, BERT_ERR_DATA, "line 2",
            "expected a string");
    REFUSES("b.jsonl", "{\"text\":\"good\",\"label\":1.5}\n", NULL, BERT_ERR_DATA, "line 1", "label");
    REFUSES("b.jsonl", "{\"text\":\"good\",\"label\":1\n", NULL, BERT_ERR_DATA, "line 1", "isn't closed");
    REFUSES("b.jsonl", "{\"text\":\"good\",\"label\":1} {}\n", NULL, BERT_ERR_DATA, "line 1", "JSON");
    REFUSES("b.jsonl", "[1, 2]\n", NULL, BERT_ERR_DATA, "line 1", "JSON object");
}

static void options_that_do_not_fit_the_file_are_refused(void)
{
    bert_read_options options = defaults();
    options.labels_are_ids = 1;
    REFUSES("b.tsv", "good\t0\nbad\tneg\n", &options, BERT_ERR_DATA, "line 2", "'neg'");
    REFUSES("b.tsv", "good\t0\nbad\t-1\n", &options, BERT_ERR_DATA, "line 2", "'-1'");
    REFUSES("b.tsv", "good\t0\nbad\t99999999999\n", &options, BERT_ERR_DATA, "line 2", "whole number");

    options = defaults();
    options.text_column = "body";
    REFUSES("b.csv", "text,label\ngood,pos\n", &options, BERT_ERR_DATA, "line 1", "'body'");
    options.header = BERT_HEADER_ABSENT;
    REFUSES("b.csv", "text,label\ngood,pos\n", &options, BERT_ERR_INVALID_ARGUMENT, "'body'", "no header");

    options = defaults();
    options.text_column = "7";
    REFUSES("b.csv", "good,pos\n", &options, BERT_ERR_DATA, "line 1", "no column 7");
    options.text_column = "0";
    REFUSES("b.csv", "good,pos\n", &options, BERT_ERR_INVALID_ARGUMENT, "", "numbered from 1");
    options.text_column = "1";
    options.label_column = "1";
    REFUSES("b.csv", "good,pos\n", &options, BERT_ERR_INVALID_ARGUMENT, "", "same column");
    options.text_column = "\xff";
    REFUSES("b.csv", "good,pos\n", &options, BERT_ERR_UTF8, "", "UTF-8");

    options = defaults();
    options.format = 4;
    REFUSES("b.csv", "good,pos\n", &options, BERT_ERR_INVALID_ARGUMENT, "format is 4", "");
    options = defaults();
    options.header = -1;
    REFUSES("b.csv", "good,pos\n", &options, BERT_ERR_INVALID_ARGUMENT, "header is -1", "");
    options = defaults();
    options.labels_are_ids = 2;
    REFUSES("b.csv", "good,pos\n", &options, BERT_ERR_INVALID_ARGUMENT, "labels_are_ids is 2", "");
    REFUSES("b.data", "good,pos\n", NULL, BERT_ERR_INVALID_ARGUMENT, "b.data", ".csv");
}

static void paths_are_checked(void)
{
    bert_dataset *dataset = NULL;
    CHECK_STATUS(bert_dataset_read("absent.tsv", NULL, &dataset), BERT_ERR_IO);
    CHECK_MESSAGE("absent.tsv");
    CHECK_STATUS(bert_dataset_read(NULL, NULL, &dataset), BERT_ERR_INVALID_ARGUMENT);
    CHECK_STATUS(bert_dataset_read("", NULL, &dataset), BERT_ERR_INVALID_ARGUMENT);
    write_text("b.tsv", "good\tpos\n");
    CHECK_STATUS(bert_dataset_read("b.tsv", NULL, NULL), BERT_ERR_INVALID_ARGUMENT);
    bert_read_options options = defaults();
    options.format = BERT_FORMAT_TSV;
    CHECK_STATUS(bert_dataset_read("/", &options, &dataset), BERT_ERR_IO);
    CHECK_STATUS(bert_dataset_read("b.tsv/inside.tsv", NULL, &dataset), BERT_ERR_IO);
    CHECK(dataset == NULL);
    /* A path is bytes, not UTF-8: Linux allows any name. */
    write_text("\xff.tsv", "good\tpos\nbad\tneg\n");
    CHECK_OK(bert_dataset_read("\xff.tsv", NULL, &dataset));
    CHECK_EQUAL(count_of(dataset), 2);
    bert_dataset_free(dataset);
}

int main(void)
{
    tsv();
    csv();
    json_lines();
    options_are_followed();
    wrong_files_are_refused_with_their_line();
    options_that_do_not_fit_the_file_are_refused();
    paths_are_checked();
    return 0;
}
