//! TSV, CSV and JSON Lines: `[options] [columns MARK 0] content`. Columns, where asked for, stand in the parts 1 to 3,
//! the separator of several labels in part 4, that of fields in part 5, the encoding in part 6.

use std::io::Read;

use bert::data::{Dataset, FileFormat, Header, Labels, Quoting, ReadOptions};
use bert::problem::ProblemType;

use super::Target;
use crate::input::{self, Bytes};
use crate::oracle::answer;

pub const TARGET: Target = Target {
    name: "data_files",
    most_bytes: 64 * 1024,
    run,
    seeds,
    words: &[
        b"text\t",
        b"label\n",
        b"sentence1",
        b"sentence2",
        b"text_a",
        b"premise",
        b"hypothesis",
        b"question1",
        b"class",
        b"category",
        b"target",
        b"\"text\"",
        b"\"label\"",
        b"\"pair\"",
        b"\r\n",
        b"\n",
        b"\t",
        b",",
        b"\"",
        b"\"\"",
        b"\",\"",
        b"\xef\xbb\xbf",
        b"\\u0000",
        b"\\ud83d\\ude00",
        b"\\ud83d",
        b"null",
        b"true",
        b"1e5",
        b"4294967296",
        b"{\"",
        b"\":",
        b"}\n",
        b"[1,2]",
        b"['a', \"b\"]",
        b";",
        b"|",
        b"sep=;\n",
        b"\xff\xfe",
        b"UTF-16LE",
        b"windows-1252",
        b"tweet",
        b"sentiment",
        b"__label__",
    ],
};

/// Gives its bytes a few at a time, as a pipe does.
struct Slowly<'a>(&'a [u8], usize);

impl Read for Slowly<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.0.len().min(buffer.len()).min(self.1);
        let (taken, rest) = self.0.split_at(length);
        buffer[..length].copy_from_slice(taken);
        self.0 = rest;
        Ok(length)
    }
}

fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let format = bytes.one_of(&[FileFormat::Tsv, FileFormat::Csv, FileFormat::JsonLines]);
    let problem_type = bytes.one_of(&ProblemType::ALL);
    let header = bytes.one_of(&[Header::Auto, Header::Present, Header::Absent]);
    let labels_are_ids = bytes.bit();
    let quoting = bytes.one_of(&[Quoting::Auto, Quoting::None, Quoting::Double]);
    let at_a_time = 1 + bytes.below(64);
    let (content, parts) = input::parts(bytes.rest());
    let part = |name: u8| input::part(&parts, name).map(input::text);
    let options = ReadOptions {
        format: None,
        header,
        text_column: part(b'1'),
        pair_column: part(b'2'),
        label_column: part(b'3'),
        labels_are_ids,
        problem_type,
        label_separator: part(b'4'),
        separator: part(b'5').and_then(|text| text.bytes().next()),
        quoting,
        encoding: part(b'6'),
    };
    let whole = Dataset::read(content, format, "the file", &options);
    let slowly = Dataset::read(Slowly(content, at_a_time), format, "the file", &options);
    assert_eq!(
        whole, slowly,
        "read at once and {at_a_time} bytes at a time"
    );
    let Some(dataset) = answer(whole) else {
        return;
    };
    assert!(!dataset.is_empty());
    let description = answer(dataset.describe());
    assert!(description.is_none_or(|d| d.examples == dataset.len()));
    if let Some(labels) = answer(Labels::from_dataset(&dataset)) {
        let targets = labels
            .targets_of(&dataset, problem_type)
            .expect("they are the data set's own");
        assert_eq!(targets.len(), dataset.len());
    }
    if let Some((train, validation)) = answer(dataset.split(0.3, 7)) {
        assert_eq!(train.len() + validation.len(), dataset.len());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let tsv = b"sentence\tlabel\na good film\tyes\r\nbad\tno\n\nso \"so\"\tno\n";
    let plain = b"a\tb\tyes\nc\td\tno\n";
    let csv = b"\xef\xbb\xbfid,text,label\n1,\"a, b\",yes\n2,\"c \"\"d\"\"\ne\",no\n";
    let ids = b"text,label\ngood,1\nbad,0\n";
    let json = b"{\"text\": \"good \\u00e9 \\ud83d\\ude00\", \"label\": 1}\n\n{\"label\": \"no\", \"text\": \"\", \"x\": [1, {\"y\": null}]}\n";
    let pairs = b"{\"premise\":\"a\",\"hypothesis\":\"b\",\"label\":0}\n{\"premise\":\"c\",\"hypothesis\":\"d\",\"label\":2}";
    let columns: &[(u8, &[u8])] = &[(b'1', b"2"), (b'3', b"LABEL")];
    let lists = b"text\tlabel\na\tx|y\nb\t\nc\ty\n";
    let numbers = b"text,label\na,1.5\nb,-2e-3\n";
    let arrays =
        b"{\"text\": \"a\", \"label\": [\"x\", \"y\"]}\n{\"text\": \"b\", \"label\": []}\n";
    let vectors =
        b"{\"text\": \"a\", \"label\": [0.5, -1]}\n{\"text\": \"b\", \"label\": [1, 2e0]}\n";
    let semicolons = b"Text;Kategorie\ngut, sehr gut;pos\nschlecht;neg\nweg;neg\n";
    let quoted = b"\"text\"\t\"label\"\n\"a \"\"b\"\"\"\t\"yes\"\n\"c\nd\"\t\"no\"\n";
    let written_lists = b"text,label\na,\"['x', 'y']\"\nb,[]\n";
    let utf16: Vec<u8> = "\u{feff}gr\u{fc}n\tx\nrot\ty\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    vec![
        [&[0, 0, 0, 0, 0, 1], tsv.as_slice()].concat(),
        [&[0, 0, 2, 0, 0, 5], plain.as_slice()].concat(),
        input::join(&[&[1, 0, 0, 0, 0, 3], csv.as_slice()].concat(), columns),
        [&[1, 0, 1, 1, 0, 3], ids.as_slice()].concat(),
        [&[2, 0, 0, 0, 0, 2], json.as_slice()].concat(),
        input::join(
            &[&[2, 0, 0, 1, 0, 40], pairs.as_slice()].concat(),
            &[(b'1', b"premise"), (b'2', b"hypothesis"), (b'3', b"label")],
        ),
        [&[0, 1, 0, 0, 0, 9], lists.as_slice()].concat(),
        input::join(
            &[&[0, 1, 0, 0, 0, 9], lists.as_slice()].concat(),
            &[(b'4', b", ")],
        ),
        [&[1, 2, 0, 0, 0, 9], numbers.as_slice()].concat(),
        [&[2, 1, 0, 0, 0, 9], arrays.as_slice()].concat(),
        [&[2, 2, 0, 0, 0, 9], vectors.as_slice()].concat(),
        [&[1, 0, 0, 0, 0, 9], semicolons.as_slice()].concat(),
        [&[0, 0, 0, 0, 0, 7], quoted.as_slice()].concat(),
        [&[1, 1, 0, 0, 0, 9], written_lists.as_slice()].concat(),
        [&[0, 0, 0, 0, 0, 3], utf16.as_slice()].concat(),
        input::join(
            &[&[0, 0, 0, 0, 2, 3], utf16.as_slice()].concat(),
            &[(b'5', b"\t"), (b'6', b"utf-16")],
        ),
    ]
}
