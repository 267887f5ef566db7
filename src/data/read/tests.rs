//! Files as people have them, right and wrong.

use std::io::Read;
use std::path::Path;

use super::lines::Lines;
use super::*;
use FileFormat::{Csv, JsonLines, Tsv};

fn read_with(
    format: FileFormat,
    content: impl AsRef<[u8]>,
    options: &ReadOptions,
) -> Result<Dataset> {
    Dataset::read(content.as_ref(), format, "data", options)
}

fn read(format: FileFormat, content: impl AsRef<[u8]>) -> Result<Dataset> {
    read_with(format, content, &ReadOptions::default())
}

/// Every example as "text|label" or "text|pair|label".
fn rows(dataset: &Dataset) -> Vec<String> {
    let row = |e: &Example| {
        let label = match &e.label {
            Label::Name(name) => name.clone(),
            Label::Id(id) => format!("#{id}"),
            Label::Names(names) => format!("{names:?}"),
            Label::Targets(values) => format!("{values:?}"),
        };
        match &e.pair {
            Some(pair) => format!("{}|{pair}|{label}", e.text),
            None => format!("{}|{label}", e.text),
        }
    };
    dataset.examples().iter().map(row).collect()
}

fn message(result: Result<Dataset>) -> String {
    match result.as_ref().map_err(Error::category) {
        Err(Error::Data(m)) => m.clone(),
        other => panic!("not a data error: {other:?}"),
    }
}

fn columns(text: &str, pair: &str, label: &str) -> ReadOptions {
    let some = |s: &str| (!s.is_empty()).then(|| s.to_string());
    ReadOptions {
        text_column: some(text),
        pair_column: some(pair),
        label_column: some(label),
        ..ReadOptions::default()
    }
}

fn with_header(header: Header) -> ReadOptions {
    ReadOptions {
        header,
        ..ReadOptions::default()
    }
}

fn with_ids() -> ReadOptions {
    ReadOptions {
        labels_are_ids: true,
        ..ReadOptions::default()
    }
}

// What files look like.

#[test]
fn tsv_without_a_header_is_text_and_label() {
    let data = read(Tsv, "a fine film\tpos\nso \"bad\"\tneg\n").unwrap();
    assert_eq!(rows(&data), ["a fine film|pos", "so \"bad\"|neg"]);
}

#[test]
fn tsv_knows_no_quoting() {
    let data = read(Tsv, "\"open quote\t1\n\"closed\"\t0\na, b\t0\n").unwrap();
    assert_eq!(rows(&data), ["\"open quote|1", "\"closed\"|0", "a, b|0"]);
}

#[test]
fn csv_quotes_hold_commas_quotes_tabs_and_line_breaks() {
    let content = "text,label\n\"a, \"\"b\"\"\nsecond line\r\nthird\tpart\",pos\n\"\",neg\nplain \"word\",pos\n";
    let data = read(Csv, content).unwrap();
    assert_eq!(
        rows(&data),
        [
            "a, \"b\"\nsecond line\r\nthird\tpart|pos",
            "|neg",
            "plain \"word\"|pos"
        ]
    );
}

#[test]
fn csv_pairs_as_mrpc_has_them() {
    let content = "label,sentence1,sentence2\r\n1,\"He said \"\" no \"\" .\",He refused .\r\n0,A \t b .,\"C , d .\"\r\n";
    let data = read_with(Csv, content, &with_ids()).unwrap();
    assert_eq!(
        rows(&data),
        ["He said \" no \" .|He refused .|#1", "A \t b .|C , d .|#0"]
    );
}

#[test]
fn only_a_files_first_byte_order_mark_is_one() {
    let options = with_header(Header::Absent);
    for before in ["\u{feff}", "\n"] {
        let content = format!("{before}\u{feff}\"x\",1\ny,0");
        let dataset = read_with(Csv, content, &options).unwrap();
        assert_eq!(rows(&dataset), ["\u{feff}\"x\"|1", "y|0"]);
    }
    // A record of nothing else.
    let alone = read_with(Csv, "\u{feff}\u{feff}\ny", &options);
    assert!(message(alone).starts_with("data, line 1: "));
}

#[test]
fn crlf_byte_order_mark_blank_lines_and_no_last_line_end() {
    for (format, content) in [
        (Tsv, "\u{feff}text\tlabel\r\n\r\nx\t1\r\n   \r\n\ny\t0"),
        (Csv, "\u{feff}text,label\r\n\r\nx,1\r\n   \r\n\ny,0"),
        (Csv, "\u{feff}\"text\",label\n\"x\",1\n\n\"y\",\"0\"\r"),
        (Tsv, "x\t1\r\ny\t0\r"),
        (
            JsonLines,
            "\u{feff}{\"text\":\"x\",\"label\":\"1\"}\r\n\r\n \t \n{\"text\":\"y\",\"label\":\"0\"}",
        ),
    ] {
        assert_eq!(
            rows(&read(format, content).unwrap()),
            ["x|1", "y|0"],
            "{content:?}"
        );
    }
}

#[test]
fn an_empty_text_is_an_example() {
    assert_eq!(rows(&read(Tsv, "\t1\nx\t0\n").unwrap()), ["|1", "x|0"]);
    assert_eq!(rows(&read(Csv, ",1\nx,0\n").unwrap()), ["|1", "x|0"]);
    let json = "{\"text\": \"\", \"label\": 1}\n";
    assert_eq!(rows(&read(JsonLines, json).unwrap()), ["|1"]);
}

#[test]
fn nul_and_a_lone_carriage_return_are_characters() {
    assert_eq!(rows(&read(Tsv, "a\0b\rc\tx\n").unwrap()), ["a\0b\rc|x"]);
    assert_eq!(rows(&read(Csv, "a\0b\rc,x\n").unwrap()), ["a\0b\rc|x"]);
    let json = r#"{"text": "a\u0000b", "label": "x"}"#;
    assert_eq!(rows(&read(JsonLines, json).unwrap()), ["a\0b|x"]);
}

#[test]
fn white_space_belongs_to_texts_but_not_to_labels() {
    assert_eq!(rows(&read(Csv, " a , pos \n").unwrap()), [" a |pos"]);
    assert_eq!(
        rows(&read_with(Tsv, "a\t 1 \n", &with_ids()).unwrap()),
        ["a|#1"]
    );
}

#[test]
fn json_lines_labels_may_be_strings_integers_or_booleans() {
    let content = concat!(
        "{\"text\": \"a\", \"label\": \"pos\", \"other\": [1, {\"text\": 2}]}\n",
        "{\"label\": 3, \"text\": \"\\u00fc \\\"q\\\"\"}\n",
        "{\"text\": \"c\", \"label\": true}\n",
        "{\"text\": \"d\", \"label\": -1}\n",
    );
    assert_eq!(
        rows(&read(JsonLines, content).unwrap()),
        ["a|pos", "ü \"q\"|3", "c|true", "d|-1"]
    );
    let content = "{\"text\": \"a\", \"label\": 1}\n{\"text\": \"b\", \"label\": \"0\"}\n";
    assert_eq!(
        rows(&read_with(JsonLines, content, &with_ids()).unwrap()),
        ["a|#1", "b|#0"]
    );
}

#[test]
fn of_equal_keys_the_last_counts() {
    let content = "{\"text\": \"a\", \"text\": \"b\", \"label\": 0, \"label\": 1}";
    assert_eq!(rows(&read(JsonLines, content).unwrap()), ["b|1"]);
}

// Headers and columns.

#[test]
fn a_header_is_found_by_the_names_in_it() {
    for header in [
        "text\tlabel",
        "Sentence\tLABEL",
        "review\tcategory",
        "content\ttarget",
        " text \tclass",
    ] {
        let content = format!("{header}\nx\t1\ny\t0\n");
        assert_eq!(
            rows(&read(Tsv, content).unwrap()),
            ["x|1", "y|0"],
            "{header}"
        );
    }
    // With further columns, in any order.
    let content = "id,class,source,text\n1,pos,web,x\n2,neg,mail,y\n";
    assert_eq!(rows(&read(Csv, content).unwrap()), ["x|pos", "y|neg"]);
}

#[test]
fn a_header_half_understood_is_an_error_and_not_an_example() {
    assert_eq!(
        message(read(Csv, "review,mood\nx,pos\n")),
        "data, line 1: there is no column for the label among the columns 'review', 'mood'; set label_column to the \
         one that is meant (without it, label, class, category, target, labels, … are looked for), or header to \
         BERT_HEADER_ABSENT if this line is an example."
    );
    let m = message(read(Csv, "words,label\nx,pos\n"));
    assert!(
        m.starts_with("data, line 1: there is no column for the text among the columns 'words', 'label'; set text_column"),
        "{m}"
    );
    // Told so, the same line is an example.
    let data = read_with(Csv, "review,mood\nx,pos\n", &with_header(Header::Absent)).unwrap();
    assert_eq!(rows(&data), ["review|mood", "x|pos"]);
}

#[test]
fn a_header_can_be_said_to_be_there_or_not() {
    let absent = read_with(Tsv, "text\tlabel\nx\t1\n", &with_header(Header::Absent)).unwrap();
    assert_eq!(rows(&absent), ["text|label", "x|1"]);
    let mut options = columns("1", "", "2");
    options.header = Header::Present;
    let present = read_with(Tsv, "words\tmood\nx\t1\n", &options).unwrap();
    assert_eq!(rows(&present), ["x|1"]);
}

#[test]
fn columns_by_name() {
    let content = "mood,words,more\npos,x,y\n";
    assert_eq!(
        rows(&read_with(Csv, content, &columns("words", "", "mood")).unwrap()),
        ["x|pos"]
    );
    assert_eq!(
        rows(&read_with(Csv, content, &columns("words", "more", "mood")).unwrap()),
        ["x|y|pos"]
    );
    // As it is first, and then in another case.
    let content = "Text,text,label\na,b,c\n";
    assert_eq!(
        rows(&read_with(Csv, content, &columns("Text", "", "")).unwrap()),
        ["a|c"]
    );
    assert_eq!(
        rows(&read_with(Csv, "Words,label\na,c\n", &columns("words", "", "")).unwrap()),
        ["a|c"]
    );
}

#[test]
fn columns_by_number() {
    let content = "7\tpos\tx\ty\n8\tneg\tz\t\n";
    assert_eq!(
        rows(&read_with(Tsv, content, &columns("3", "", "2")).unwrap()),
        ["x|pos", "z|neg"]
    );
    assert_eq!(
        rows(&read_with(Tsv, content, &columns("3", "4", "2")).unwrap()),
        ["x|y|pos", "z||neg"]
    );
    // What isn't given is what is left.
    assert_eq!(
        rows(&read_with(Tsv, "pos\tx\n", &columns("", "", "1")).unwrap()),
        ["x|pos"]
    );
    assert_eq!(
        rows(&read_with(Tsv, "y\tx\tpos\n", &columns("", "1", "")).unwrap()),
        ["x|y|pos"]
    );
    // In a header too, unless it has a column of that name.
    assert_eq!(
        rows(&read_with(Csv, "label,words\npos,x\n", &columns("2", "", "")).unwrap()),
        ["x|pos"]
    );
    assert_eq!(
        rows(&read_with(Csv, "2,1,label\nx,y,pos\n", &columns("2", "", "")).unwrap()),
        ["x|pos"]
    );
}

#[test]
fn pairs_are_found_by_their_names() {
    assert_eq!(rows(&read(Tsv, "x\ty\tpos\n").unwrap()), ["x|y|pos"]);
    for header in [
        "sentence1,sentence2,label",
        "text_a,text_b,label",
        "premise,hypothesis,label",
        "Question1,Question2,Label",
    ] {
        assert_eq!(
            rows(&read(Csv, format!("{header}\nx,y,1\n")).unwrap()),
            ["x|y|1"],
            "{header}"
        );
    }
    // A text column that is given is one text; so is `text` beside other columns.
    let content = "sentence1,sentence2,label\nx,y,1\n";
    assert_eq!(
        rows(&read_with(Csv, content, &columns("sentence1", "", "")).unwrap()),
        ["x|1"]
    );
    assert_eq!(
        rows(&read(Csv, "text,sentence2,label\nx,y,1\n").unwrap()),
        ["x|1"]
    );
    assert_eq!(
        rows(
            &read_with(
                Csv,
                "text_a,text_b,label\nx,y,1\n",
                &columns("", "text_b", "")
            )
            .unwrap()
        ),
        ["x|y|1"]
    );
    let json = "{\"premise\": \"x\", \"hypothesis\": \"y\", \"label\": 1}";
    assert_eq!(rows(&read(JsonLines, json).unwrap()), ["x|y|1"]);
}

#[test]
fn json_lines_keys_by_name() {
    let content = "{\"words\": \"x\", \"1\": \"y\", \"mood\": \"pos\"}\n";
    assert_eq!(
        rows(&read_with(JsonLines, content, &columns("words", "1", "mood")).unwrap()),
        ["x|y|pos"]
    );
    // The first object decides which keys are meant.
    let content =
        "{\"Text\": \"x\", \"label\": 1}\n{\"Text\": \"y\", \"text\": \"z\", \"label\": 0}\n";
    assert_eq!(rows(&read(JsonLines, content).unwrap()), ["x|1", "y|0"]);
}

#[test]
fn columns_that_are_not_there() {
    assert_eq!(
        message(read_with(
            Csv,
            "words,mood\nx,pos\n",
            &columns("text", "", "mood")
        )),
        "data, line 1: there is no column 'text'; the columns are 'words', 'mood'."
    );
    assert_eq!(
        message(read_with(Tsv, "x\tpos\n", &columns("1", "", "5"))),
        "data, line 1: there is no column 5; the record has 2 columns."
    );
    let m = message(read_with(
        Tsv,
        "x\tpos\n",
        &columns("1", "", "99999999999999999999999"),
    ));
    assert_eq!(
        m,
        "data, line 1: there is no column '99999999999999999999999'."
    );
    assert_eq!(
        message(read_with(Csv, "a,a,label\nx,y,1\n", &columns("a", "", ""))),
        "data, line 1: there are several columns named 'a'; expected names that differ."
    );
    assert!(
        message(read(Csv, "text,label,label\nx,y,1\n")).contains("several columns named 'label'")
    );
    assert!(
        message(read_with(Tsv, "x\ty\tz\n", &columns("1", "", "")))
            .contains("the record has 3 columns and no header")
    );
    assert!(
        message(read(Tsv, "a\tb\tc\td\n")).contains(
            "the record has 4 columns and no header; expected two (text, label) or three"
        )
    );
    assert!(
        message(read(Tsv, "just text\n"))
            .starts_with("data, line 1: the record has 1 column and no header;")
    );
    assert_eq!(
        message(read_with(
            JsonLines,
            "{\"words\": \"x\"}",
            &columns("text", "", "")
        )),
        "data, line 1: there is no key 'text'; the keys are 'words'."
    );
    assert_eq!(
        message(read(JsonLines, "{\"words\": \"x\", \"label\": 1}")),
        "data, line 1: there is no key for the text among the keys 'words', 'label'; set text_column to the one that \
         is meant (without it, text, sentence, sentence1, review, content, … are looked for)."
    );
}

#[test]
fn options_that_contradict_each_other() {
    let argument = |result: Result<Dataset>| match result {
        Err(Error::InvalidArgument(m)) => m,
        other => panic!("{other:?}"),
    };
    let mut options = columns("words", "", "2");
    options.header = Header::Absent;
    assert!(argument(read_with(Tsv, "x\t1\n", &options)).contains("'words' is asked for by name"));
    assert_eq!(
        argument(read_with(Tsv, "x\t1\n", &columns("0", "", "1"))),
        "Column 0 is asked for; columns are numbered from 1."
    );
    assert_eq!(
        argument(read_with(Tsv, "x\t1\n", &columns("1", "", "1"))),
        "The text and the label are both to be read from the same column of data; expected different ones."
    );
    assert!(
        argument(read_with(Tsv, "x\ty\t1\n", &columns("1", "1", "3")))
            .contains("text and the second text")
    );
    assert!(
        argument(read_with(Tsv, "x\ty\t1\n", &columns("1", "3", "3")))
            .contains("second text and the label")
    );
}

fn for_problem(problem_type: ProblemType, separator: Option<&str>) -> ReadOptions {
    ReadOptions {
        problem_type,
        label_separator: separator.map(str::to_string),
        ..ReadOptions::default()
    }
}

#[test]
fn lists_of_labels_in_every_format() {
    let options = for_problem(ProblemType::MultiLabel, None);
    let data = read_with(Tsv, "x\ta|b\ny\t\nz\t c | d d \n", &options).unwrap();
    assert_eq!(
        rows(&data),
        ["x|[\"a\", \"b\"]", "y|[]", "z|[\"c\", \"d d\"]"]
    );
    let comma = for_problem(ProblemType::MultiLabel, Some(","));
    let data = read_with(Csv, "text,label\nx,\"a,b|c\"\ny,\n", &comma).unwrap();
    assert_eq!(rows(&data), ["x|[\"a\", \"b|c\"]", "y|[]"]);
    let json = concat!(
        "{\"text\": \"x\", \"label\": [\"a\", 3, true, \"a|b\"]}\n",
        "{\"text\": \"y\", \"label\": []}\n",
    );
    let data = read_with(JsonLines, json, &options).unwrap();
    assert_eq!(rows(&data), ["x|[\"a\", \"3\", \"true\", \"a|b\"]", "y|[]"]);
}

#[test]
fn numbers_in_every_format() {
    let options = for_problem(ProblemType::Regression, None);
    let data = read_with(Tsv, "x\t1.5\ny\t -2e-1 \n", &options).unwrap();
    assert_eq!(rows(&data), ["x|[1.5]", "y|[-0.2]"]);
    let data = read_with(Csv, "x,1|2\ny,+3 | .5\n", &options).unwrap();
    assert_eq!(rows(&data), ["x|[1.0, 2.0]", "y|[3.0, 0.5]"]);
    let space = for_problem(ProblemType::Regression, Some(" "));
    let data = read_with(Tsv, "x\t1 2\n", &space).unwrap();
    assert_eq!(rows(&data), ["x|[1.0, 2.0]"]);
    let json = concat!(
        "{\"text\": \"x\", \"label\": 3}\n",
        "{\"text\": \"y\", \"label\": -0.5}\n",
        "{\"text\": \"z\", \"label\": [1e2]}\n",
    );
    let data = read_with(JsonLines, json, &options).unwrap();
    assert_eq!(rows(&data), ["x|[3.0]", "y|[-0.5]", "z|[100.0]"]);
}

// Files that are wrong.

#[test]
fn lists_and_numbers_that_are_wrong() {
    let multi = for_problem(ProblemType::MultiLabel, None);
    let regression = for_problem(ProblemType::Regression, None);
    assert_eq!(
        message(read_with(Tsv, "x\ta\ny\tb||c\n", &multi)),
        "data, line 2: among the labels 'b||c' there is an empty name; expected names with '|' between them."
    );
    assert_eq!(
        message(read_with(Csv, "x,0.5\ny,\"1,5\"\n", &regression)),
        "data, line 2: the label holds '1,5', but labels are read as numbers; expected a finite number such as 0.5, or \
         several with '|' between them."
    );
    for number in ["", "nan", "-inf", "1e39", "x", "1|", "0x1"] {
        let m = message(read_with(Tsv, format!("y\t{number}\n"), &regression));
        assert!(m.contains("read as numbers"), "{m}");
    }
    assert_eq!(
        message(read_with(Tsv, "x\t1\ny\t1|2\n", &regression)),
        "data, line 2: The label is a target of 2 numbers, but the data set's labels are targets of 1 number; a data \
         set has one kind of label."
    );
    let json = |label: &str, options: &ReadOptions| {
        message(read_with(
            JsonLines,
            format!("{{\"text\": \"x\", \"label\": {label}}}"),
            options,
        ))
    };
    assert!(json("\"a\"", &multi).contains("is 'a', but each line has a list of labels;"));
    assert!(json("null", &multi).contains("is missing"));
    for wrong in ["[\"a\", \" \"]", "[0.5]", "[null]", "[[\"a\"]]", "[{}]"] {
        assert!(
            json(wrong, &multi).contains("holds what is no name"),
            "{wrong}"
        );
    }
    for wrong in ["\"1\"", "[1, \"2\"]", "true", "[[1]]", "1e39", "{}"] {
        assert!(
            json(wrong, &regression).contains("labels are read as numbers"),
            "{wrong}"
        );
    }
    assert!(json("[]", &regression).contains("has 0 numbers"));
    let endless = format!("[{}1]", "1,".repeat(100_000));
    for options in [&multi, &regression, &ReadOptions::default()] {
        assert!(json(&endless, options).contains("a list of more than 100000"));
    }
    for options in [&multi, &regression] {
        let m = message(read_with(
            Tsv,
            format!("y\t{}1\n", "1|".repeat(100_000)),
            options,
        ));
        assert!(m.contains("more than 100000 parts"), "{m}");
    }
    let refused = |options: &ReadOptions| match read_with(Tsv, "x\t1\n", options) {
        Err(Error::InvalidArgument(m)) => m,
        other => panic!("{other:?}"),
    };
    let ids = ReadOptions {
        labels_are_ids: true,
        ..multi.clone()
    };
    assert!(refused(&ids).contains("class ids"));
    assert!(refused(&for_problem(ProblemType::SingleLabel, Some("|"))).contains("one label"));
    assert!(refused(&for_problem(ProblemType::MultiLabel, Some(""))).contains("is empty"));
}

#[test]
fn a_record_with_another_number_of_fields() {
    assert_eq!(
        message(read(Tsv, "x\t1\n\ny\t0\textra\n")),
        "data, line 3: the record has 3 fields; expected 2 as on line 1 (a tab separates fields and can't be part of \
         one)."
    );
    assert_eq!(
        message(read(Csv, "\ntext,label\n\"a\nb\",1\nc\n")),
        "data, line 5: the record has 1 field; expected 2 as on line 2 (a field with a comma in it must be in quotes)."
    );
}

#[test]
fn quotes_that_are_wrong() {
    assert_eq!(
        message(read(Csv, "text,label\nx,1\ny,\"open\nmore\n\n")),
        "data, line 3: the quote opened on line 3 is never closed; expected '\"' at the end of the field, before a \
         comma or the line's end."
    );
    assert_eq!(
        message(read(Csv, "text,label\n\"a\nb\" c,1\n")),
        "data, line 2: on line 3, a closing quote is followed by text; expected a comma or the line's end (a quote \
         inside a quoted field is written twice; if quotes have no meaning in this file, set quoting to \
         BERT_QUOTING_NONE)."
    );
}

#[test]
fn bytes_that_are_not_utf8() {
    assert_eq!(
        message(read(Tsv, b"x\t1\nab\xff\t0\n")),
        "data, line 2: byte 3 of the line isn't valid UTF-8; expected a file in UTF-8, or the option encoding to name \
         what it is in, such as \"windows-1252\" for files of Western European Windows programs."
    );
    assert!(
        message(read(Tsv, b"\xef\xbb\xbfab\xff\t0\n"))
            .starts_with("data, line 1: byte 6 of the line")
    );
    // Inside a record of several lines, the line of the byte itself.
    assert!(
        message(read(Csv, b"x,1\n\"a\nbc\xc3\",0\n"))
            .starts_with("data, line 3: byte 3 of the line")
    );
    assert!(
        message(read(JsonLines, b"{\"text\": \"\xe4\"}"))
            .starts_with("data, line 1: byte 11 of the line")
    );
}

#[test]
fn labels_that_are_wrong() {
    assert_eq!(
        message(read(Tsv, "x\t1\ny\t\n")),
        "data, line 2: the label is empty; every example needs one."
    );
    assert_eq!(
        message(read_with(Csv, "x,1\ny,pos\n", &with_ids())),
        "data, line 2: the label is 'pos', but labels are read as ids; expected a whole number from 0 on."
    );
    for id in ["-1", "+1", "1.0", "4294967296", "0x1"] {
        let m = message(read_with(Tsv, format!("y\t{id}\n"), &with_ids()));
        assert!(m.contains("whole number"), "{m}");
    }
    let json = |label: &str| {
        format!("{{\"text\": \"ok\", \"label\": 1}}\n{{\"text\": \"x\", \"label\": {label}}}\n")
    };
    assert_eq!(
        message(read(JsonLines, json("0.5"))),
        "data, line 2: the label 'label' is a number that isn't whole or is too large; if the labels are amounts, set \
         problem_type to BERT_PROBLEM_REGRESSION, else expected a string, a whole number, true or false."
    );
    assert!(message(read(JsonLines, json("[1]"))).contains("the label 'label' is a list;"));
    assert!(
        message(read(JsonLines, json("{\"a\":1}"))).contains("the label 'label' is an object;")
    );
    assert!(message(read(JsonLines, json("null"))).contains("the label 'label' is missing;"));
    assert!(message(read(JsonLines, json("\"\""))).contains("the label is empty;"));
    assert!(
        message(read_with(JsonLines, json("true"), &with_ids()))
            .contains("'label' is true, but labels are read as ids;")
    );
    assert!(
        message(read_with(JsonLines, json("-1"), &with_ids())).contains("the label is '-1', but")
    );
}

#[test]
fn json_that_is_wrong() {
    let second = |line: &str| {
        message(read(
            JsonLines,
            format!("{{\"text\": \"ok\", \"label\": 1}}\n{line}\n"),
        ))
    };
    assert_eq!(
        second("[\"x\", 1]"),
        "data, line 2: the line begins with '[\"x\", 1]'; expected one JSON object a line, such as {\"text\": \"...\", \
         \"label\": \"...\"}."
    );
    assert!(
        second("{\"text\": \"x\", \"label\": 1")
            .starts_with("data, line 2: the JSON object isn't closed at the line's end;")
    );
    assert!(
        second("{\"text\": x}").starts_with("data, line 2: the line isn't valid JSON at byte 10;")
    );
    assert!(
        second("  {\"text\": x}")
            .starts_with("data, line 2: the line isn't valid JSON at byte 12;")
    );
    assert!(second("{\"text\": \"x\", \"label\": 1} 2").contains("isn't valid JSON at byte 27;"));
    assert_eq!(
        second("{\"label\": 1}"),
        "data, line 2: the key 'text' is missing; every line needs it."
    );
    assert_eq!(
        second("{\"text\": \"x\"}"),
        "data, line 2: the label 'label' is missing; every line needs it."
    );
    assert_eq!(
        second("{\"text\": 5, \"label\": 1}"),
        "data, line 2: 'text' is the number 5; expected a string."
    );
    assert_eq!(
        second("{\"text\": null, \"label\": 1}"),
        "data, line 2: 'text' is null; expected a string."
    );
    assert!(message(read(JsonLines, "{}")).contains("among the keys (none);"));
}

#[test]
fn a_file_without_examples() {
    let expected =
        "data: there are no examples in it; expected at least one record of a text and a label.";
    for format in [Tsv, Csv, JsonLines] {
        for content in ["", "\n\r\n  \n", "\u{feff}"] {
            assert_eq!(message(read(format, content)), expected);
        }
    }
    assert_eq!(message(read(Csv, "text,label\n")), expected);
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.tsv");
    match Dataset::read_file(&missing, &ReadOptions::default()) {
        Err(Error::Io(m)) => assert_eq!(
            m,
            format!(
                "Could not open '{}': there is no such file or directory.",
                missing.display()
            )
        ),
        other => panic!("{other:?}"),
    }
    let directory = folder.path().join("folder.csv");
    std::fs::create_dir(&directory).unwrap();
    let result = Dataset::read_file(&directory, &ReadOptions::default());
    assert!(matches!(result, Err(Error::Io(m)) if m.contains("it is a directory")));
    // With a file that is there, name and line are in the sentence.
    let path = folder.path().join("data.CSV");
    std::fs::write(&path, "x,1\ny\n").unwrap();
    let result = Dataset::read_file(&path, &ReadOptions::default());
    assert!(message(result).starts_with(&format!("{}, line 2: ", path.display())));
    std::fs::write(&path, "x,1\ny,0\n").unwrap();
    assert_eq!(
        rows(&Dataset::read_file(&path, &ReadOptions::default()).unwrap()),
        ["x|1", "y|0"]
    );
    // The format that is given counts, whatever the name.
    let options = ReadOptions {
        format: Some(Tsv),
        ..ReadOptions::default()
    };
    assert!(message(Dataset::read_file(&path, &options)).contains("the record has 1 column"));
}

#[test]
fn the_format_goes_by_the_name() {
    let of = |name: &str| FileFormat::from_path(Path::new(name));
    assert_eq!(of("a/b.tsv"), Ok(Tsv));
    assert_eq!(of("b.TXT"), Ok(Tsv));
    assert_eq!(of("b.tsv.csv"), Ok(Csv));
    assert_eq!(of("b.jsonl"), Ok(JsonLines));
    assert_eq!(of("b.NdJson"), Ok(JsonLines));
    for name in ["b", "b.json", "b.parquet", ".csv", ""] {
        assert!(
            matches!(of(name), Err(Error::InvalidArgument(m)) if m.contains("or the format be given")),
            "{name}"
        );
    }
}

#[test]
fn a_reader_that_fails_is_an_io_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    let stream = b"x\t1\n".chain(Broken);
    let result = Dataset::read(stream, Tsv, "pipe", &ReadOptions::default());
    assert_eq!(
        result,
        Err(Error::Io(
            "Could not read 'pipe': the device reported an input/output error.".into()
        ))
    );
}

// Files that mean harm.

#[test]
fn a_record_without_end_is_refused() {
    for format in [Tsv, Csv, JsonLines] {
        let endless = b"x".chain(std::io::repeat(b'x'));
        let result = Dataset::read(endless, format, "endless", &ReadOptions::default());
        assert_eq!(
            message(result),
            "endless, line 1: the record is longer than 64 MiB, which is the limit; expected one example a record."
        );
    }
    let quoted = b"x,1\n\"".chain(std::io::repeat(b'\n'));
    let result = Dataset::read(quoted, Csv, "endless", &ReadOptions::default());
    assert!(message(result).starts_with(
        "endless, line 2: the record is longer than 64 MiB, which is the limit (the quote opened on line 2 isn't closed);"
    ));
}

#[test]
fn a_record_of_separators_alone_is_refused() {
    for (format, separator) in [(Tsv, "\t"), (Csv, ",")] {
        let m = message(read(format, separator.repeat(1 << 20)));
        assert_eq!(
            m,
            "data, line 1: the record has more than 65536 fields, which is the limit."
        );
    }
}

#[test]
fn json_nested_deeply_does_not_overflow_the_stack() {
    let deep = 2_000_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for key in ["text", "label", "other"] {
            let nested = format!("{}1{}", open.repeat(deep), close.repeat(deep));
            let content = format!("{{\"{key}\": {nested}, \"text\": \"x\", \"label\": 1}}");
            // Read past or refused, by a sentence; the last of equal keys counts.
            match read(JsonLines, &content) {
                Ok(data) => assert_eq!(rows(&data), ["x|1"]),
                Err(e) => assert!(e.message().contains("isn't valid JSON"), "{e}"),
            }
        }
    }
}

#[test]
fn an_object_with_many_keys_is_read_in_bounded_time() {
    // Every mixture of case of a name that is asked for.
    let name = "abcdefghijklmnop";
    let mut content = String::from("{");
    for mask in 0..1u32 << 16 {
        let case = |(i, c): (usize, char)| {
            if mask >> i & 1 == 1 {
                c.to_ascii_uppercase()
            } else {
                c
            }
        };
        content.push_str(&format!(
            "\"{}\": 0, ",
            name.chars().enumerate().map(case).collect::<String>()
        ));
    }
    content.push_str("\"label\": 1}");
    let m = message(read_with(
        JsonLines,
        content,
        &columns("abcdefghijklmnop", "", ""),
    ));
    assert!(
        m.contains("is the number 0") || m.contains("there is no key for the label"),
        "{m}"
    );
}

#[test]
fn csv_fields_are_those_of_the_csv_crate() {
    let mut random = Random(7);
    for _ in 0..3_000 {
        let length = random.below(40);
        let content: String = (0..length)
            .map(|_| ['"', '"', ',', '\n', 'a', ' ', 'é'][random.below(7)])
            .collect();
        let mut lines_of = content.as_bytes();
        let mut lines = Lines::new(Box::new(&mut lines_of), "data");
        let mut records = Vec::new();
        let failed = loop {
            match lines.next_quoted(b',') {
                Ok(Some(record)) => records.push(record.text.to_string()),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if failed {
            continue; // Stricter than the crate, on purpose.
        }
        let parse = |content: &str| -> Vec<csv::StringRecord> {
            csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .from_reader(content.as_bytes())
                .records()
                .map(|r| r.unwrap())
                .filter(|r| {
                    !r.iter().all(|f| f.trim_matches(' ').is_empty())
                        || r.len() > 1
                        || r.get(0) == Some("")
                })
                .collect()
        };
        let apart: Vec<_> = records
            .iter()
            .flat_map(|r| parse(&format!("{r}\n")))
            .collect();
        let whole = parse(&content);
        assert_eq!(apart, whole, "{content:?}");
    }
}

/// A small generator of our own, so that a failure comes back on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

#[test]
fn damaged_files_give_a_sentence_and_no_panic() {
    let seeds: [(FileFormat, &[u8]); 6] = [
        (Tsv, b"text\tlabel\na film\tpos\nanother\tneg\n"),
        (Tsv, b"a film\t1\nanother\t0\nthird\t1"),
        (Csv, b"label,sentence1,sentence2\r\n1,\"a \"\"b\"\" , c\",d\r\n0,\"e\nf\",\"\"\r\n"),
        (Csv, b"\xef\xbb\xbftext,label\nx,1\n\"y, z\",0\n"),
        (JsonLines, b"{\"text\": \"a\", \"label\": \"pos\"}\n{\"text\": \"b\\u00e9\", \"label\": \"neg\"}\n"),
        (JsonLines, b"{\"label\": 1, \"sentence1\": \"a\", \"sentence2\": \"b\", \"x\": [1, {\"y\": null}]}\n"),
    ];
    let options = [
        ReadOptions::default(),
        with_ids(),
        with_header(Header::Present),
        with_header(Header::Absent),
        columns("1", "", "2"),
        columns("text", "", "label"),
        columns("2", "3", "1"),
        for_problem(ProblemType::MultiLabel, None),
        for_problem(ProblemType::Regression, Some("0")),
    ];
    let special = b"\"\t\n\r,{}[]:\\\0\xff\xc3 0e-\xef";
    let mut random = Random(2024);
    let (mut read, mut refused) = (0, 0);
    for round in 0..20_000 {
        let (format, seed) = seeds[round % seeds.len()];
        let mut bytes = seed.to_vec();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            let byte = match random.below(2) {
                0 => special[random.below(special.len())],
                _ => random.below(256) as u8,
            };
            match random.below(4) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let result = read_with(format, &bytes, &options[random.below(options.len())]);
        match result.as_ref().map_err(Error::category) {
            Ok(data) => {
                assert!(!data.is_empty());
                read += 1;
            }
            Err(Error::Data(m)) => {
                assert!(
                    m.starts_with("data, line ") || m.starts_with("data: there are no"),
                    "{m}"
                );
                assert!(m.ends_with('.') && !m.contains('\n'), "{m}");
                refused += 1;
            }
            Err(Error::InvalidArgument(_)) => refused += 1,
            Err(other) => panic!("{other:?} for {bytes:?}"),
        }
    }
    assert!(
        read > 1_000 && refused > 1_000,
        "{read} read, {refused} refused"
    );
}

#[test]
fn a_quoted_empty_field_alone_is_a_record_of_one_field() {
    assert!(message(read(Csv, "x,1\n\"\"\n")).starts_with("data, line 2: the record has 1 field;"));
}
