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
    REFUSES("b.tsv", "g\0o\0\t\0p\0\n\0", NULL, BERT_ERR_DATA, "line 1", "encoding to \"UTF-16LE\"");
    REFUSES("b.tsv", "\0g\0o\0\t\0p\0\n", NULL, BERT_ERR_DATA, "line 1", "encoding to \"UTF-16BE\"");
    REFUSES("b.tsv", "\xff\xfe\0\0g\0\0\0", NULL, BERT_ERR_DATA, "line 1", "UTF-32");
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

/* ---- Tables as people write them --------------------------------------------------------------------------------- */

static char warned[1024];

static void keep_warning(int32_t level, const char *message, void *user_data)
{
    (void)user_data;
    if (level == BERT_LOG_WARNING) {
        snprintf(warned, sizeof(warned), "%s", message);
    }
}

/* Reads the content as a file of this name: so many examples, with these labels and counts, and this in a warning;
 * NULL: without one. */
static void finds(const char *name, const char *content, const bert_read_options *options, int64_t examples,
                  const char *labels, const char *warning)
{
    write_text(name, content);
    warned[0] = 0;
    CHECK_OK(bert_set_log_callback(keep_warning, NULL));
    bert_dataset *dataset = NULL;
    CHECK_OK(bert_dataset_read(name, options, &dataset));
    CHECK_OK(bert_set_log_callback(NULL, NULL));
    uint64_t counts[8];
    bert_dataset_description description = BERT_DATASET_DESCRIPTION_INIT;
    description.label_counts = counts;
    description.label_capacity = COUNT_OF(counts);
    CHECK_OK(bert_dataset_describe(dataset, NULL, &description));
    CHECK_EQUAL(description.examples, examples);
    char joined[256] = "";
    for (int32_t id = 0; id < description.num_labels; id++) {
        char label[64];
        CHECK_OK(bert_dataset_label_name(dataset, id, label, sizeof(label), NULL));
        size_t used = strlen(joined);
        snprintf(joined + used, sizeof(joined) - used, "%s%s %d", id == 0 ? "" : ", ", label, (int)counts[id]);
    }
    CHECK_TEXT(joined, labels);
    if (warning == NULL) {
        CHECK_TEXT(warned, "");
    } else if (strstr(warned, warning) == NULL) {
        CHECK_TEXT(warned, warning);
    }
    bert_dataset_free(dataset);
}

static void headers_of_less_usual_names(void)
{
    const char *two = "neg 1, pos 1";
    finds("h.csv", "tweet,sentiment\nlove it,pos\nhate it,neg\n", NULL, 2, two, NULL);
    finds("h.csv", "Kategorie,Text\npos,gut\nneg,schlecht\n", NULL, 2, two, NULL);
    finds("h.csv", "text,stars\ngood,5\nbad,1\n", NULL, 2, "1 1, 5 1", NULL);
    finds("h.csv", ",tweet,sentiment\n0,love it,pos\n1,hate it,neg\n", NULL, 2, two, NULL);
    finds("h.csv", "Unnamed: 0,Comment,Rating\n0,love it,pos\n1,hate it,neg\n", NULL, 2, two, NULL);
    finds("h.jsonl", "{\"text\":\"a\",\"labels\":\"pos\"}\n{\"text\":\"b\",\"labels\":\"neg\"}\n", NULL, 2, two, NULL);
    /* A usual name counts more; of two others, neither. */
    finds("h.csv", "text,label,score\nlove it,pos,0.9\nhate it,neg,0.8\n", NULL, 2, two, NULL);
    REFUSES("h.csv", "text,score,stars\nlove it,1,5\n", NULL, BERT_ERR_DATA, "'score', 'stars'", "set label_column");
    REFUSES("h.csv", "title,body,tweet,class\na,b,c,d\n", NULL, BERT_ERR_DATA, "'body', 'tweet'", "set text_column");
    /* One such word alone is an example's. */
    finds("h.tsv", "what a day\tsentiment\nwhere\tquestion\n", NULL, 2, "question 1, sentiment 1", NULL);
}

static void headers_of_unknown_names(void)
{
    const char *header = "BERT_HEADER_PRESENT";
    REFUSES("h.csv", "what,how\nI love it,pos\nI hate it,neg\nso good,pos\nno way,neg\n", NULL, BERT_ERR_DATA,
            "h.csv, line 1",
            header);
    CHECK_MESSAGE("'how'");
    REFUSES("h.csv", "what,how\ngood,5\nbad,1\n", NULL, BERT_ERR_DATA, "line 1", header);
    REFUSES("h.csv", ",what,how\n0,I love it,pos\n1,I hate it,neg\n", NULL, BERT_ERR_DATA, "line 1", header);
    REFUSES("h.csv", "comment_text,toxic,severe\nyou fool,1,0\nnice day,0,0\n", NULL, BERT_ERR_DATA, "line 1", header);
    REFUSES("h.csv", "id,what,how,when\n7,I love it,pos,now\n", NULL, BERT_ERR_DATA, "4 columns", header);
    bert_read_options options = defaults();
    options.header = BERT_HEADER_PRESENT;
    REFUSES("h.csv", "comment_text,toxic,severe\nyou fool,1,0\nnice day,0,0\n", &options, BERT_ERR_DATA,
            "'toxic', 'severe' hold only 0 and 1", "set label_column");
    /* Who says it is right. */
    options.text_column = "1";
    options.label_column = "2";
    finds("h.csv", "what,how\nI love it,pos\nI hate it,neg\nso good,pos\nno way,neg\n", &options, 4, "neg 2, pos 2",
          NULL);
    options = defaults();
    options.header = BERT_HEADER_ABSENT;
    finds("h.csv", "what,how\nI love it,pos\nI hate it,neg\nso good,pos\nno way,neg\n", &options, 5,
          "how 1, neg 2, pos 2",
          NULL);
    /* It may be an example: nothing but the label tells. */
    finds("h.csv", "what,how\ngood,pos\nbad,neg\nfine,pos\nso,neg\n", NULL, 5, "how 1, neg 2, pos 2", header);
    finds("h.csv", "what,how\nI love it,pos\nI hate it,neg\n", NULL, 3, "how 1, neg 1, pos 1", header);
    /* Where labels are numbers, the first line's can't be one. */
    options = defaults();
    options.labels_are_ids = 1;
    REFUSES("h.csv", "what,how\ngood,1\nbad,0\n", &options, BERT_ERR_DATA, "line 1: the label is 'how'", header);
    options = defaults();
    options.problem_type = BERT_PROBLEM_REGRESSION;
    REFUSES("h.csv", "what,how\ngood,1.5\nbad,0\n", &options, BERT_ERR_DATA, "line 1", header);
    /* Ordinary data without a header, few and many. */
    finds("h.tsv", "good\tpos\nbad\tneg\n", NULL, 2, "neg 1, pos 1", NULL);
    finds("h.tsv", "a fine film\tpos\n", NULL, 1, "pos 1", NULL);
    finds("h.tsv", "Great!\tpos\nI hate it\tneg\nIt is bad\tneg\nHow boring\tneg\n", NULL, 4, "neg 3, pos 1", NULL);
    finds("h.tsv", "the first of all\tnone\nI hate it\t1\nIt is bad\t2\n", NULL, 3, "1 1, 2 1, none 1", NULL);
}

static void three_columns_that_are_no_pair(void)
{
    REFUSES("p.csv", "0,I love it,pos\n1,I hate it,neg\n2,so good,pos\n", NULL, BERT_ERR_DATA, "p.csv, line 1",
            "set text_column and label_column");
    CHECK_MESSAGE("pair_column");
    REFUSES("p.csv", "\"3\",\"Fears for pension\",\"Unions say\"\n\"4\",\"The race is on\",\"SPACE\"\n", NULL,
            BERT_ERR_DATA,
            "'3'", "set text_column and label_column");
    REFUSES("p.tsv", "sport\tThe cup\tWho wins it now\nworld\tThe vote\tWho wins that one\nsport\tThe race\tAnother story\n"
            "world\tPeace\tIt may come soon\n", NULL, BERT_ERR_DATA, "the first, read as a text of a pair",
            "set text_column and label_column");
    finds("p.tsv", "id_7\tI love it\tpos\nid_8\tI hate it\tneg\n", NULL, 2, "neg 1, pos 1", "an id or a date");
    finds("p.tsv", "I love it\tpos\tann\nI hate it\tneg\tbob\nSo good\tpos\tcem\nNo way\tneg\tdon\n", NULL, 4,
          "ann 1, bob 1, cem 1, don 1", "the second, read as a text of a pair");
    finds("p.csv", "alice,I love it so,pos\nbob,I hate it much,neg\nalice,not so good,neg\n", NULL, 3, "neg 2, pos 1",
          "single words, such as 'alice'");
    /* Pairs, also few of them, and of one premise. */
    finds("p.tsv", "a man eats\ta man sleeps\tno\na man eats\the has food\tyes\na man eats\the likes it\tmaybe\n",
          NULL, 3,
          "maybe 1, no 1, yes 1", NULL);
    finds("p.tsv", "1984\ta book by Orwell\tyes\n", NULL, 1, "yes 1", "whole numbers");
    bert_read_options options = defaults();
    options.text_column = "1";
    options.pair_column = "2";
    options.label_column = "3";
    finds("p.csv", "1,2,less\n2,1,more\n", &options, 2, "less 1, more 1", NULL);
}

static void labels_before_texts(void)
{
    const char *what = "set label_column to \"1\" and text_column to \"2\"";
    REFUSES("l.tsv", "pos\tlove it\nneg\thate it\npos\tgood\nneg\tbad\npos\tfine\n", NULL, BERT_ERR_DATA,
            "l.tsv, line 1", what);
    REFUSES("l.csv", "__label__pos , love it\n__label__neg , hate it\n", NULL, BERT_ERR_DATA, "fastText", what);
    REFUSES("l.txt", "__label__pos love it\n__label__neg hate it\n", NULL, BERT_ERR_DATA, "fastText", "label_column");
    finds("l.csv", "1,love it\n0,hate it\n", NULL, 2, "hate it 1, love it 1", what);
    finds("l.tsv", "ham\tsee you later\nspam\twin a prize\n", NULL, 2, "see you later 1, win a prize 1", what);
    bert_read_options options = defaults();
    options.text_column = "2";
    options.label_column = "1";
    finds("l.tsv", "pos\tlove it\nneg\thate it\npos\tgood\nneg\tbad\npos\tfine\n", &options, 5, "neg 2, pos 3", NULL);
    /* The same text again and again, with few labels. */
    finds("l.tsv", "same\tpos\nsame\tneg\nsame\tpos\nsame\tneg\n", NULL, 4, "neg 2, pos 2", NULL);
}

static void separators_are_seen_or_named(void)
{
    const char *two = "neg 2, pos 1";
    finds("s.csv", "Text;Kategorie\ngut, sehr gut;pos\nschlecht;neg\n\"so; \"\"so\"\"\";neg\n", NULL, 3, two, NULL);
    finds("s.csv", "text\tlabel\ngut, ja\tpos\nschlecht\tneg\nso\tneg\n", NULL, 3, two, NULL);
    finds("s.csv", "text|label\ngut, ja|pos\nschlecht|neg\nso|neg\n", NULL, 3, two, NULL);
    finds("s.csv", "sep=;\r\ntext;label\r\na, b;pos\r\nc, d;neg\r\ne, f;neg\r\n", NULL, 3, two, NULL);
    REFUSES("s.csv", "gut;1,5\nweg;2,0\nso;2,0\n", NULL, BERT_ERR_DATA, "a comma and a semicolon", "separator");
    REFUSES("s.tsv", "text;label\ngut;pos\n", NULL, BERT_ERR_DATA, "1 column", "set separator to ';'");
    REFUSES("s.txt", "text,label\ngut,pos\n", NULL, BERT_ERR_DATA, "1 column", "set separator to ','");
    bert_read_options options = defaults();
    options.separator = ';';
    finds("s.tsv", "text;label\ngut,\t;pos\nso;neg\nweg;neg\n", &options, 3, two, NULL);
    finds("s.csv", "gut;1,5\nweg;2,0\nso;2,0\n", &options, 3, "1,5 1, 2,0 2", NULL);
    /* A bar is the labels' own here. */
    options = defaults();
    options.problem_type = BERT_PROBLEM_MULTI_LABEL;
    finds("s.csv", "a,x|y\nb,x|y\nc,y|x\n", &options, 3, "x 3, y 3", NULL);
    /* Semicolons in texts. */
    finds("s.csv", "a; b,pos\nc,neg\nd,neg\n", NULL, 3, two, NULL);
}

static void quotes_are_seen_or_named(void)
{
    finds("q.tsv", "\"text\"\t\"label\"\n\"love\n\"\"it\"\"\"\t\"pos\"\n\"hate it\"\t\"neg\"\n", NULL, 2,
          "neg 1, pos 1", NULL);
    finds("q.tsv", "\"he said \"\"no\"\" twice\"\tneg\nfine\tpos\n", NULL, 2, "neg 1, pos 1", "BERT_QUOTING_DOUBLE");
    finds("q.tsv", "\"fine\"\tpos\nso \"bad\"\tneg\n", NULL, 2, "neg 1, pos 1", NULL);
    REFUSES("q.tsv", "a\tpos\n\"b\nc\"\tneg\n", NULL, BERT_ERR_DATA, "line 2", "BERT_QUOTING_DOUBLE");
    bert_read_options options = defaults();
    options.quoting = BERT_QUOTING_DOUBLE;
    READS("q.tsv", "a\tpos\n\"b\nc \"\"d\"\"\"\tneg\n", &options, 2, "neg|pos", 4, "a b c \"d\"");
    options.quoting = BERT_QUOTING_NONE;
    finds("q.tsv", "\"he said \"\"no\"\" twice\"\tneg\nfine\tpos\n", &options, 2, "neg 1, pos 1", NULL);
    READS("q.csv", "\"good,pos\nbad\",neg\n", &options, 2, "neg|pos", 2, "\"good bad\"");
}

static void encodings_are_seen_or_named(void)
{
    bert_read_options options = defaults();
    READS("e.tsv", "\xff\xfeg\0r\0\xfc\0n\0\t\0" "1\0\r\0\n\0a\0\t\0" "0\0\n\0", NULL, 2, "0|1", 2, "gr\xc3\xbcn a");
    READS("e.tsv", "\xfe\xff\0g\0r\0\xfc\0n\0\t\0" "1\0\n\0a\0\t\0" "0", NULL, 2, "0|1", 2, "gr\xc3\xbcn a");
    READS("e.jsonl", "\xff\xfe{\0\"\0t\0e\0x\0t\0\"\0:\0\"\0\xfc\0\"\0,\0\"\0l\0a\0b\0e\0l\0\"\0:\0" "1\0}\0\n\0"
          "{\0\"\0t\0e\0x\0t\0\"\0:\0\"\0z\0\"\0,\0\"\0l\0a\0b\0e\0l\0\"\0:\0" "2\0}\0", NULL, 2, "1|2", 2,
              "\xc3\xbc z");
    options.encoding = "UTF-16LE";
    READS("e.tsv", "g\0r\0\xfc\0n\0\t\0" "1\0\n\0a\0\t\0" "0\0", &options, 2, "0|1", 2, "gr\xc3\xbcn a");
    REFUSES("e.tsv", "g\0\t\0" "1\0\n\0\0\xd8\t\0" "0\0", &options, BERT_ERR_DATA, "line 2: byte 9", "UTF-16LE");
    REFUSES("e.csv", "text,label\ngr\xfcn,pos\n", NULL, BERT_ERR_DATA, "e.csv, line 2: byte 3", "encoding");
    CHECK_MESSAGE("windows-1252");
    static const char *const western[] = {"windows-1252", "latin-1", "ISO-8859-1", "cp1252", "Latin1"};
    for (size_t i = 0; i < COUNT_OF(western); i++) {
        options.encoding = western[i];
        READS("e.csv", "text,label\ngr\xfcn \x80,1\nrot,0\n", &options, 2, "0|1", 3, "gr\xc3\xbcn \xe2\x82\xac rot");
    }
    options.encoding = "cp1251";
    READS("e.csv", "text,label\n\xe4\xe0,1\nrot,0\n", &options, 2, "0|1", 2, "\xd0\xb4\xd0\xb0 rot");
    options.encoding = "shift_jis";
    READS("e.csv", "text,label\n\x83\x65 x,1\nrot,0\n", &options, 2, "0|1", 3, "\xe3\x83\x86 x rot");
    options.encoding = "utf-8";
    READS("e.csv", "\xef\xbb\xbftext,label\ngr\xc3\xbcn,1\nrot,0\n", &options, 2, "0|1", 2, "gr\xc3\xbcn rot");
    /* The mark counts more than the option. */
    options.encoding = "windows-1252";
    finds("e.csv", "\xef\xbb\xbftext,label\na,gr\xc3\xbcn\nb,rot\n", &options, 2, "gr\xc3\xbcn 1, rot 1",
          "byte-order mark of UTF-8");
    options.encoding = "latin-99";
    REFUSES("e.csv", "a,b\n", &options, BERT_ERR_INVALID_ARGUMENT, "'latin-99'", "windows-1252");
}

static void lists_as_programs_write_them(void)
{
    bert_read_options options = defaults();
    REFUSES("w.csv", "text,label\nyou fool,\"['toxic', 'insult']\"\nnice day,[]\n", NULL, BERT_ERR_DATA, "line 2",
            "BERT_PROBLEM_MULTI_LABEL");
    REFUSES("w.jsonl", "{\"text\":\"a\",\"label\":[\"x\"]}\n", NULL, BERT_ERR_DATA, "is a list",
            "BERT_PROBLEM_MULTI_LABEL");
    REFUSES("w.jsonl", "{\"text\":\"a\",\"label\":0.5}\n", NULL, BERT_ERR_DATA, "line 1", "BERT_PROBLEM_REGRESSION");
    options.problem_type = BERT_PROBLEM_MULTI_LABEL;
    finds("w.csv", "text,label\nyou fool,\"['toxic', 'insult']\"\nnice day,[]\nbad,\"[\"\"toxic\"\"]\"\n", &options, 3,
          "insult 1, toxic 2",
          NULL);
    finds("w.csv", "text,label\na,\"('x', 'it\\'s')\"\nb,\"{\"\"x\"\"}\"\nc,['x' 'y']\nd,set()\n", &options, 4,
          "it's 1, x 3, y 1", NULL);
    finds("w.csv", "text,label\na,\"[1, 2]\"\nb,[2]\n", &options, 2, "1 1, 2 2", NULL);
    REFUSES("w.csv", "text,label\na,\"[toxic, insult]\"\n", &options, BERT_ERR_DATA, "line 2", "label_separator");
    REFUSES("w.csv", "text,label\na,\"{'x': 1}\"\n", &options, BERT_ERR_DATA, "line 2", "label_separator");
    /* A number 0 or 1 for each label is no list of names. */
    REFUSES("w.jsonl", "{\"text\":\"a\",\"labels\":[0,1,1]}\n{\"text\":\"b\",\"labels\":[1,0,0]}\n", &options,
            BERT_ERR_DATA,
            "3 numbers 0 and 1", "names");
    REFUSES("w.csv", "text,label\na,\"[0, 1, 1]\"\nb,\"[0, 0, 0]\"\n", &options, BERT_ERR_DATA, "3 numbers 0 and 1",
            "names");
}

int main(void)
{
    headers_of_less_usual_names();
    headers_of_unknown_names();
    three_columns_that_are_no_pair();
    labels_before_texts();
    separators_are_seen_or_named();
    quotes_are_seen_or_named();
    encodings_are_seen_or_named();
    lists_as_programs_write_them();
    tsv();
    csv();
    json_lines();
    options_are_followed();
    wrong_files_are_refused_with_their_line();
    options_that_do_not_fit_the_file_are_refused();
    paths_are_checked();
    return 0;
}
