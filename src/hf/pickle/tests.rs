use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/state_dict")
        .join(name)
}

/// A tensor's name, type, shape and values.
type Found = (String, Dtype, Vec<usize>, Result<Vec<f32>>);

/// The tensors in a fixture, with the values where they can be read.
fn contents(name: &str) -> Vec<Found> {
    let path = fixture(name);
    let mut dict = StateDict::open(File::open(&path).unwrap(), &path).unwrap();
    (0..dict.tensors().len())
        .map(|index| {
            let TensorEntry { name, dtype, shape } = dict.tensors()[index].clone();
            (name, dtype, shape, dict.read_float32(index))
        })
        .collect()
}

/// What a tensor should be; no values where its type or layout isn't read.
type Expected<'a> = (&'a str, Dtype, &'a [usize], Option<&'a [f32]>);

const PATH: &str = "some/pytorch_model.bin";

/// A file that holds `bytes` only, and lies nowhere.
fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Opens and reads all that can be read. No error is without the path, and none is ours to be ashamed of.
fn read_all(file: File) -> Result<Vec<Vec<f32>>> {
    let result = StateDict::open(file, Path::new(PATH)).and_then(|mut dict| {
        (0..dict.tensors().len())
            .map(|index| match dict.read_float32(index) {
                Err(Error::Unsupported(message)) => {
                    assert!(message.contains(PATH), "{message}");
                    Ok(Vec::new())
                }
                other => other,
            })
            .collect()
    });
    if let Err(error) = &result {
        assert!(
            matches!(error, Error::Format(_) | Error::Unsupported(_)),
            "{error:?}"
        );
        let message = error.message();
        assert!(message.contains(PATH), "{message}");
        assert!(message.ends_with('.') && message.len() < 1000, "{message}");
    }
    result
}

fn refusal(bytes: &[u8]) -> Error {
    let start = Instant::now();
    let error = read_all(file(bytes)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{error}");
    error
}

#[track_caller]
fn assert_refused(bytes: &[u8], part: &str) {
    let error = refusal(bytes);
    assert!(
        matches!(&error, Error::Format(message) if message.contains(part)),
        "{error:?}"
    );
}

#[track_caller]
fn assert_unsupported(bytes: &[u8], part: &str) {
    let error = refusal(bytes);
    assert!(
        matches!(&error, Error::Unsupported(message) if message.contains(part)),
        "{error:?}"
    );
}

/// How [`zip`] writes.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::hf) enum Zip {
    Plain,
    /// All numbers in zip64 records.
    Wide,
    /// Entries said to be deflated.
    Deflated,
}

/// A zip archive of stored entries.
pub(in crate::hf) fn zip(entries: &[(&str, &[u8])], kind: Zip) -> Vec<u8> {
    let wide = kind == Zip::Wide;
    let method = if kind == Zip::Deflated { 8u16 } else { 0 };
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, bytes) in entries {
        let header = out.len() as u64;
        let size = bytes.len() as u64;
        let narrow = |n: u64| if wide { u32::MAX } else { n as u32 }.to_le_bytes();
        out.extend(b"PK\x03\x04\0\0\0\0");
        out.extend(method.to_le_bytes());
        out.extend([0; 8]);
        out.extend([narrow(size), narrow(size)].concat());
        out.extend((name.len() as u16).to_le_bytes());
        // Padding, as PyTorch aligns entries by it.
        out.extend(7u16.to_le_bytes());
        out.extend(name.as_bytes());
        out.extend(b"FB\x03\0ZZZ");
        out.extend(*bytes);

        directory.extend(b"PK\x01\x02\0\0\0\0\0\0");
        directory.extend(method.to_le_bytes());
        directory.extend([0; 8]);
        directory.extend([narrow(size), narrow(size)].concat());
        directory.extend((name.len() as u16).to_le_bytes());
        directory.extend(if wide { 33u16 } else { 0 }.to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(narrow(header));
        directory.extend(name.as_bytes());
        if wide {
            directory.extend(b"FB\x01\0Z\x01\0\x18\0");
            directory.extend([size, size, header].map(u64::to_le_bytes).concat());
        }
    }
    let (count, offset, size) = (
        entries.len() as u64,
        out.len() as u64,
        directory.len() as u64,
    );
    out.extend(directory);
    if wide {
        let record = out.len() as u64;
        out.extend(b"PK\x06\x06");
        out.extend(44u64.to_le_bytes());
        out.extend([0; 12]);
        out.extend([count, count, size, offset].map(u64::to_le_bytes).concat());
        out.extend(b"PK\x06\x07\0\0\0\0");
        out.extend(record.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend([0xff; 12]);
    } else {
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend([count as u16, count as u16].map(u16::to_le_bytes).concat());
        out.extend([size as u32, offset as u32].map(u32::to_le_bytes).concat());
    }
    out.extend([0; 2]);
    out
}

/// A file of one storage, the numbers 0 to 5, and a pickle.
fn with_pickle(pickle: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = (0..6u8).flat_map(|n| f32::from(n).to_le_bytes()).collect();
    zip(
        &[("a/data.pkl", pickle), ("a/data/0", &numbers)],
        Zip::Plain,
    )
}

fn int(n: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &n.to_le_bytes()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [
        b"X".as_slice(),
        &(text.len() as u32).to_le_bytes(),
        text.as_bytes(),
    ]
    .concat()
}

fn ints(numbers: &[i64]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.iter().flat_map(|&n| int(n)).collect();
    [b"(".as_slice(), &numbers, b"t"].concat()
}

/// A tensor on a storage of that name that has `elements` float32 numbers.
fn tensor_on(key: &str, elements: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    tensor_of("FloatStorage", key, elements, offset, shape, strides)
}

/// As [`tensor_on`], of any type of storage.
pub(in crate::hf) fn tensor_of(
    storage: &str,
    key: &str,
    elements: i64,
    offset: i64,
    shape: &[i64],
    strides: &[i64],
) -> Vec<u8> {
    [
        b"ctorch._utils\n_rebuild_tensor_v2\n((".as_slice(),
        &text("storage"),
        format!("ctorch\n{storage}\n").as_bytes(),
        &text(key),
        &text("cpu"),
        &int(elements),
        b"tQ",
        &int(offset),
        &ints(shape),
        &ints(strides),
        b"\x89ccollections\nOrderedDict\n)RtR",
    ]
    .concat()
}

fn tensor(offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    tensor_on("0", 6, offset, shape, strides)
}

/// A pickle of a dict with these items.
pub(in crate::hf) fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(".to_vec();
    for (key, value) in items {
        pickle.extend(text(key));
        pickle.extend(value);
    }
    pickle.extend(b"u.");
    pickle
}

fn one(tensor: Vec<u8>) -> Vec<u8> {
    with_pickle(&dict(&[("w", tensor)]))
}

#[test]
fn a_module_is_read() {
    let expected: [(&str, Dtype, &[usize], &[f32]); 5] = [
        ("position_ids", Dtype::I64, &[1, 4], &[]),
        (
            "0.weight",
            Dtype::F32,
            &[2, 3],
            &[1.0, -2.0, 3.5, 0.25, 5.0, -6.0],
        ),
        ("0.bias", Dtype::F32, &[2], &[0.5, -0.5]),
        ("1.weight", Dtype::F32, &[2], &[1.0, 1.0]),
        ("1.bias", Dtype::F32, &[2], &[0.0, 0.0]),
    ];
    let found = contents("module.bin");
    assert_eq!(found.len(), expected.len());
    for ((name, dtype, shape, values), wanted) in found.iter().zip(expected) {
        assert_eq!(
            (name.as_str(), *dtype, shape.as_slice()),
            (wanted.0, wanted.1, wanted.2)
        );
        match values {
            Ok(values) => assert_eq!(values, wanted.3),
            Err(error) => {
                assert_eq!(name, "position_ids");
                assert!(
                    matches!(error, Error::Unsupported(m) if m.contains("'position_ids' has the type I64")),
                    "{error:?}"
                );
            }
        }
    }
}

#[test]
fn every_kind_of_tensor_is_read() {
    let expected: [Expected; 15] = [
        ("half", Dtype::F16, &[3], Some(&[1.5, -0.25, 65504.0])),
        (
            "bfloat",
            Dtype::BF16,
            &[2, 2],
            Some(&[1.0, -3.0, 0.5, 256.0]),
        ),
        ("double", Dtype::F64, &[2], Some(&[0.1, -1e3])),
        ("long", Dtype::I64, &[1, 3], None),
        ("flag", Dtype::BOOL, &[2], None),
        ("float8", Dtype::F8_E4M3, &[2], None),
        (
            "transposed",
            Dtype::F32,
            &[4, 3],
            Some(&[0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0]),
        ),
        (
            "shared",
            Dtype::F32,
            &[2, 3],
            Some(&[2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
        ),
        ("steps", Dtype::F32, &[3], Some(&[1.0, 6.0, 11.0])),
        (
            "half transposed",
            Dtype::F16,
            &[2, 2],
            Some(&[1.0, 3.0, 2.0, 4.0]),
        ),
        ("repeated", Dtype::F32, &[2, 2], None),
        ("parameter", Dtype::F32, &[1, 1], Some(&[9.0])),
        ("scalar", Dtype::F32, &[], Some(&[-4.0])),
        ("empty", Dtype::F32, &[0, 5], Some(&[])),
        ("größe", Dtype::F32, &[1], Some(&[8.0])),
    ];
    let found = contents("mixed.bin");
    assert_eq!(found.len(), expected.len());
    for ((name, dtype, shape, values), wanted) in found.iter().zip(expected) {
        assert_eq!(
            (name.as_str(), *dtype, shape.as_slice()),
            (wanted.0, wanted.1, wanted.2)
        );
        match (values, wanted.3) {
            (Ok(values), Some(wanted)) => assert_eq!(values, wanted, "{name}"),
            (Err(Error::Unsupported(message)), None) => {
                assert!(message.contains(&format!("'{name}'")), "{message}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
}

/// The same tensors as torch.save writes them in the format before 1.6.
#[test]
fn files_from_before_the_archive_are_read() {
    let in_archive = contents("mixed.bin");
    let found = contents("legacy-mixed.bin");
    let names: Vec<&str> = found.iter().map(|tensor| tensor.0.as_str()).collect();
    assert_eq!(
        names,
        [
            "half",
            "bfloat",
            "double",
            "long",
            "transposed",
            "shared",
            "steps",
            "parameter",
            "scalar",
            "empty",
            "größe"
        ]
    );
    for tensor in &found {
        let wanted = in_archive.iter().find(|other| other.0 == tensor.0).unwrap();
        assert_eq!((tensor.1, &tensor.2), (wanted.1, &wanted.2), "{}", tensor.0);
        assert_eq!(
            tensor.3.as_ref().ok(),
            wanted.3.as_ref().ok(),
            "{}",
            tensor.0
        );
        assert_eq!(tensor.3.is_ok(), tensor.0 != "long");
    }
    assert_eq!(contents("legacy.bin")[0].3, Ok(vec![1.0]));
}

/// A file of the format before 1.6: storages by their names in the order in which they stand, with their counts.
fn legacy(pickle: &[u8], storages: &[(&str, u64, &[u8])]) -> Vec<u8> {
    let mut file =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.".to_vec();
    file.extend(dict(&[("little_endian", b"\x88".to_vec())]));
    file.extend(pickle);
    file.extend(b"\x80\x02](");
    file.extend(storages.iter().flat_map(|storage| text(storage.0)));
    file.extend(b"e.");
    for (_, count, bytes) in storages {
        file.extend(count.to_le_bytes());
        file.extend(*bytes);
    }
    file
}

/// A tensor of the first `shape` elements of a storage's part, as PyTorch before 0.4 and Python 2 wrote them.
fn old_tensor(key: &str, count: i64, part: Option<(i64, i64)>, shape: &[i64]) -> Vec<u8> {
    let short = |text: &str| [b"U", [text.len() as u8].as_slice(), text.as_bytes()].concat();
    let part = part.map_or(b"N".to_vec(), |(first, length)| {
        [
            b"(".as_slice(),
            &short("7"),
            &int(first),
            &int(length),
            b"t",
        ]
        .concat()
    });
    [
        b"ctorch._utils\n_rebuild_tensor\n((".as_slice(),
        &short("storage"),
        b"ctorch\nFloatStorage\n",
        &short(key),
        &short("cpu"),
        &int(count),
        &part,
        b"tQ",
        &int(0),
        &ints(shape),
        &ints(&[1]),
        b"tR",
    ]
    .concat()
}

#[test]
fn what_pytorch_wrote_before_the_archive_is_held_against_the_file() {
    let numbers: Vec<u8> = [1.0f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let one = dict(&[("w", old_tensor("9", 4, None, &[4]))]);
    let file_of = |pickle: &[u8]| legacy(pickle, &[("9", 4, &numbers)]);
    let read = |bytes: &[u8]| read_all(file(bytes));
    assert_eq!(read(&file_of(&one)), Ok(vec![vec![1.0, 2.0, 3.0, 4.0]]));
    let part = dict(&[("w", old_tensor("9", 4, Some((1, 2)), &[2]))]);
    assert_eq!(read(&file_of(&part)), Ok(vec![vec![2.0, 3.0]]));
    // In another order than the tensors name them.
    let two = dict(&[
        ("a", old_tensor("1", 1, None, &[1])),
        ("b", old_tensor("9", 4, None, &[2])),
    ]);
    let both = legacy(&two, &[("9", 4, &numbers), ("1", 1, &numbers[12..])]);
    assert_eq!(read(&both), Ok(vec![vec![4.0], vec![1.0, 2.0]]));
    // Newer pickles, with a frame.
    let mut framed = b"\x80\x04\x95\x0d\0\0\0\0\0\0\0".to_vec();
    framed.extend(&file_of(&one)[2..]);
    assert_eq!(read(&framed), Ok(vec![vec![1.0, 2.0, 3.0, 4.0]]));

    let outside = [
        dict(&[("w", old_tensor("9", 4, Some((3, 2)), &[2]))]),
        dict(&[("w", old_tensor("9", 4, Some((1, 2)), &[3]))]),
        dict(&[("w", old_tensor("9", 4, None, &[5]))]),
    ];
    for pickle in outside {
        assert_refused(&file_of(&pickle), "outside its storage");
    }
    for part in [(-1, 2), (1, -2), (i64::MAX, i64::MAX)] {
        let pickle = dict(&[("w", old_tensor("9", 4, Some(part), &[1]))]);
        assert!(read(&file_of(&pickle)).is_err());
    }
    let most = dict(&[("w", old_tensor("9", i64::MAX, None, &[1]))]);
    assert_refused(
        &legacy(&most, &[("9", i64::MAX as u64, &numbers)]),
        "shorter",
    );
    let differs = dict(&[
        ("a", old_tensor("9", 3, None, &[1])),
        ("b", old_tensor("9", 4, None, &[1])),
    ]);
    assert_refused(&file_of(&differs), "describes a storage wrongly");

    let is_wrong = |storages: &[(&str, u64, &[u8])], part: &str| {
        assert_refused(&legacy(&one, storages), part);
    };
    is_wrong(&[("9", 3, &numbers)], "as long as its description");
    is_wrong(&[("9", 5, &numbers)], "as long as its description");
    is_wrong(&[("9", 4, &numbers[..15])], "as long as its description");
    is_wrong(&[("9", u64::MAX, &numbers)], "as long as its description");
    is_wrong(&[], "storage is missing");
    is_wrong(&[("8", 4, &numbers)], "belongs to no tensor");
    is_wrong(&[("9", 4, &numbers), ("9", 4, &numbers)], "there twice");
    is_wrong(
        &[("9", 4, &numbers), ("7", 4, &numbers)],
        "belongs to no tensor",
    );

    let replaced = |from: &[u8], to: &[u8]| {
        let mut bytes = file_of(&one);
        let at = bytes
            .windows(from.len())
            .position(|part| part == from)
            .unwrap();
        bytes.splice(at..at + from.len(), to.iter().copied());
        bytes
    };
    assert_unsupported(&replaced(b"M\xe9\x03", b"M\xea\x03"), "1001");
    assert_unsupported(&replaced(b"endian\x88", b"endian\x89"), "little-endian");
    assert_refused(&replaced(b"endian\x88", b"endiam\x88"), "byte order");
    assert_refused(&replaced(b"](", b"K\x01("), "appends");
    assert_refused(
        &replaced(b"_rebuild_tensor\n", b"_rebuild_parrot\n"),
        "_rebuild_parrot",
    );
    // A tensor among the numbers that come first.
    let mut early = file_of(&one);
    early.splice(15..20, one.iter().copied());
    assert_refused(&early, "describes a storage wrongly");
}

#[test]
fn a_checkpoint_is_read() {
    let found = contents("checkpoint.bin");
    let values: Vec<_> = found
        .iter()
        .map(|(name, _, shape, values)| {
            (name.as_str(), shape.as_slice(), values.as_deref().unwrap())
        })
        .collect();
    assert_eq!(
        values,
        [
            ("weight", &[1, 2][..], &[1.0, 2.0][..]),
            ("bias", &[1], &[-1.0])
        ]
    );
}

#[test]
fn an_index_beyond_the_tensors_is_an_error() {
    let path = fixture("module.bin");
    let mut dict = StateDict::open(File::open(&path).unwrap(), &path).unwrap();
    assert!(matches!(dict.read_float32(5), Err(Error::Internal(_))));
}

#[test]
fn other_files_are_refused() {
    assert_refused(b"", "zip archive");
    assert_refused(b"PK\x03\x04", "the end of its zip directory");
    assert_refused(b"{\"model_type\": \"bert\"}", "zip archive");
    assert_refused(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 440473133\n",
        "git lfs pull",
    );
    let folder = tempfile::tempdir().unwrap();
    let directory = File::open(folder.path()).unwrap();
    assert!(matches!(
        StateDict::open(directory, Path::new(PATH)),
        Err(Error::Format(_))
    ));
}

#[test]
fn archives_are_read_as_pytorch_writes_them() {
    let pickle = dict(&[("w", tensor(1, &[2], &[1]))]);
    let numbers: Vec<u8> = (0..6u8).flat_map(|n| f32::from(n).to_le_bytes()).collect();
    let entries = [
        ("x/data.pkl", pickle.as_slice()),
        ("x/byteorder", b"little"),
        ("x/data/0", &numbers),
        ("x/code/data.pkl", b""),
    ];
    for kind in [Zip::Plain, Zip::Wide] {
        assert_eq!(read_all(file(&zip(&entries, kind))).unwrap(), [[1.0, 2.0]]);
    }
    // A comment at the end of the archive.
    let mut commented = zip(&entries, Zip::Wide);
    let length = commented.len();
    commented[length - 2] = 3;
    commented.extend(b"abc");
    assert_eq!(read_all(file(&commented)).unwrap(), [[1.0, 2.0]]);

    assert_unsupported(&zip(&entries, Zip::Deflated), "compressed");
    let mut big = entries;
    big[1].1 = b"big";
    assert_unsupported(&zip(&big, Zip::Plain), "little-endian");
    assert_refused(&zip(&entries[1..], Zip::Plain), "no data.pkl");
    assert_refused(&zip(&entries[..2], Zip::Plain), "storage is missing");
    let mut twice = entries;
    twice[3].0 = "y/data.pkl";
    assert_refused(&zip(&twice, Zip::Plain), "more than one data.pkl");
    twice[3].0 = "x/data.pkl";
    assert_refused(&zip(&twice, Zip::Plain), "more than once");
    assert_refused(&zip(&[], Zip::Plain), "zip archive");
    let folder = format!("{}/data.pkl", "x".repeat(60_000));
    assert_refused(&zip(&[(&folder, &pickle)], Zip::Plain), "too long");
}

#[test]
fn absurd_archives_are_refused() {
    let whole = one(tensor(0, &[2], &[1]));
    assert!(read_all(file(&whole)).is_ok());
    let end = whole.len() - 22;
    let directory = u32::from_le_bytes(whole[end + 16..end + 20].try_into().unwrap()) as usize;
    // The record at the end: count, length and place of the directory; the first entry: lengths and place.
    for (at, length) in [
        (end + 8, 2),
        (end + 10, 2),
        (end + 12, 4),
        (end + 16, 4),
        (directory + 20, 4),
        (directory + 24, 4),
        (directory + 42, 4),
    ] {
        for fill in [0xff, 0xfe, 0x7f] {
            let mut bytes = whole.clone();
            bytes[at..at + length].fill(fill);
            let outcome = read_all(file(&bytes));
            assert!(outcome.is_err() || at == end + 8, "{at}: {outcome:?}");
        }
    }
    let wide = zip(
        &[("a/data.pkl", &dict(&[("w", tensor(0, &[2], &[1]))]))],
        Zip::Wide,
    );
    for at in wide.len() - 98..wide.len() {
        for fill in [0, 1, 0x7f, 0x80, 0xfe, 0xff] {
            let mut bytes = wide.clone();
            let most = bytes.len();
            bytes[at..most.min(at + 8)].fill(fill);
            let _ = read_all(file(&bytes));
        }
    }
}

#[test]
fn tensors_outside_their_storage_are_refused() {
    let outside = "outside its storage";
    let most = i64::MAX;
    for (offset, shape, strides) in [
        (5, &[2][..], &[1][..]),
        (6, &[1], &[1]),
        (most, &[1], &[1]),
        (0, &[7], &[1]),
        (0, &[2], &[6]),
        (0, &[2], &[most]),
        (0, &[most, most], &[1, 1]),
        (0, &[3, 2], &[2, 2]),
        (1, &[2, 3], &[3, 1]),
    ] {
        assert_refused(&one(tensor(offset, shape, strides)), outside);
    }
    // No elements; the same element 2^63 times, which lies inside but isn't read.
    for (shape, strides) in [(&[most, 0][..], &[most, most][..]), (&[most], &[0])] {
        let values = read_all(file(&one(tensor(0, shape, strides)))).unwrap();
        assert!(matches!(values.as_slice(), [values] if values.is_empty()));
    }
    assert_refused(&one(tensor(0, &[most, most, 0], &[1, 1, 1])), outside);
    let wrong = "describes a tensor wrongly";
    assert_refused(&one(tensor(-1, &[1], &[1])), wrong);
    assert_refused(&one(tensor(0, &[-1], &[1])), wrong);
    assert_refused(&one(tensor(5, &[2], &[-1])), wrong);
    assert_refused(&one(tensor(0, &[2], &[1, 1])), wrong);
    assert_refused(&one(tensor(0, &[1; 17], &[1; 17])), wrong);
    assert!(read_all(file(&one(tensor(0, &[1; 16], &[most; 16])))).is_ok());

    assert_refused(&one(tensor_on("0", 7, 0, &[1], &[1])), "shorter");
    assert_refused(&one(tensor_on("0", most, 0, &[1], &[1])), "shorter");
    assert_refused(&one(tensor_on("0", -1, 0, &[1], &[1])), "storage wrongly");
    assert_refused(&one(tensor_on("1", 6, 0, &[1], &[1])), "missing");
    assert_refused(&one(tensor_on("../data.pkl", 6, 0, &[1], &[1])), "missing");
    assert_refused(
        &one(tensor_on(&"0".repeat(65), 6, 0, &[1], &[1])),
        "storage wrongly",
    );
}

#[test]
fn strides_are_followed() {
    for (offset, shape, strides, expected) in [
        (
            0,
            &[3, 2][..],
            &[1, 3][..],
            &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0][..],
        ),
        (1, &[1, 2, 1], &[77, 3, 99], &[1.0, 4.0]),
        (0, &[2, 2, 1, 1], &[1, 2, 0, 0], &[0.0, 2.0, 1.0, 3.0]),
        // Elements may be shared as long as there are no more than the storage has.
        (0, &[2, 3], &[1, 1], &[0.0, 1.0, 2.0, 1.0, 2.0, 3.0]),
        (5, &[], &[], &[5.0]),
    ] {
        let values = read_all(file(&one(tensor(offset, shape, strides)))).unwrap();
        assert_eq!(values, [expected]);
    }
}

#[test]
fn long_tensors_are_read_in_pieces() {
    let numbers: Vec<u8> = (0..700_001u32)
        .flat_map(|n| (n as f32).to_le_bytes())
        .collect();
    let of = |tensor| {
        let pickle = dict(&[("w", tensor)]);
        let file = file(&zip(
            &[("a/data.pkl", &pickle), ("a/data/0", &numbers)],
            Zip::Wide,
        ));
        read_all(file).unwrap().remove(0)
    };
    let values = of(tensor_on("0", 700_001, 1, &[700_000], &[1]));
    assert_eq!(values.len(), 700_000);
    assert!(values.iter().zip(1..).all(|(&x, n)| x == n as f32));
    let values = of(tensor_on("0", 700_001, 1, &[1000, 700], &[1, 1000]));
    let expected = (0..1000).flat_map(|row| (0..700).map(move |column| 1 + row + 1000 * column));
    assert!(values.iter().zip(expected).all(|(&x, n)| x == n as f32));
}

#[test]
fn code_is_refused_by_name() {
    let calls: [(&[u8], &str); 8] = [
        (b"\x80\x02cos\nsystem\n", "os.system"),
        (
            b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R.",
            "posix.system",
        ),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system"),
        (b"\x80\x02c__builtin__\neval\n", "__builtin__.eval"),
        (
            b"\x80\x02ctorch._utils\n_rebuild_qtensor\n",
            "torch._utils._rebuild_qtensor",
        ),
        (b"\x80\x02ctorch\nload\n", "torch.load"),
        (
            b"\x80\x02ccollections\nOrderedDict\x1b[2J\n",
            "OrderedDict?[2J",
        ),
        (b"\x80\x02c\n\n", "'.'"),
    ];
    for (pickle, name) in calls {
        assert_refused(&with_pickle(pickle), name);
    }
    let long = [b"c", "o".repeat(1 << 20).as_bytes(), b"\nx\n"].concat();
    assert_refused(&with_pickle(&long), "ooo…");
}

#[test]
fn other_pickles_are_refused() {
    let early = "ends too early";
    let takes = "takes more values";
    let operation = "the pickle operation";
    let cases: [(&[u8], &str); 34] = [
        (b"", early),
        (b"\x80", early),
        (b"\x80\x06.", "unknown version"),
        (b".", "end in one value"),
        (b"NN.", "end in one value"),
        (b"(N.", "end in one value"),
        (b"N(.", "end in one value"),
        (b"N.", "holds no state dict"),
        (b"}.", "holds no state dict"),
        (b"].", "holds no state dict"),
        (b"X\xff\xff\xff\xff", early),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", early),
        (b"\x8d\x01\0\0\0\0\0\0\0", early),
        (b"\x8a\xff", early),
        (b"B\xff\xff\xff\x7f", early),
        (b"X\x01\0\0\0\xff.", "UTF-8"),
        (b"ccollections", early),
        (b"h\x00.", "has not made"),
        (b"j\xff\xff\xff\xff.", "has not made"),
        (b"q\x00", takes),
        (b"(q\x00", takes),
        (b"t", takes),
        (b"N(\x85", takes),
        (b"e", takes),
        (b"}(Nu", "without a value"),
        (b"(u", "no dict"),
        (b"(e", "no list"),
        (b"}Na", "no list"),
        (b"N)R", operation),
        (b"N}b", operation),
        (b"\x81", operation),
        (b"ctorch\nFloatStorage\n)R", "a tensor wrongly"),
        (b"NQ", "a storage wrongly"),
        (b")Q", "a storage wrongly"),
    ];
    for (pickle, part) in cases {
        assert_refused(&with_pickle(pickle), part);
    }
    let w = || tensor(0, &[1], &[1]);
    let twice = dict(&[("w", w()), ("v", w()), ("w", w())]);
    assert_refused(&with_pickle(&twice), "'w' stands more than once");
    let nested = dict(&[("w", w()), ("inner", b"}".to_vec())]);
    assert_unsupported(
        &with_pickle(&nested),
        "'inner' of the state dict is no tensor",
    );
    let key = [b"}K\x01", w().as_slice(), b"s."].concat();
    assert_refused(&with_pickle(&key), "a key that is no text");
    let inner = || [b"}", text("w").as_slice(), &w(), b"s"].concat();
    let two = dict(&[("state_dict", inner()), ("model_state_dict", inner())]);
    assert_refused(&with_pickle(&two), "more than one state dict");
    let wrapped = dict(&[("epoch", int(1)), ("model_state_dict", inner())]);
    assert_eq!(read_all(file(&with_pickle(&wrapped))).unwrap(), [[0.0]]);
    // A view that negates: the last argument says so.
    let mut view = w();
    view.truncate(view.len() - 2);
    view.extend(b"}");
    view.extend(text("neg"));
    view.extend(b"\x88stR");
    assert_unsupported(&one(view), "negated");
}

#[test]
fn depth_and_cycles_do_no_harm() {
    let many = 1_000_000;
    // Tuples in tuples, lists in lists, marks on marks, a list in itself, a dict in itself.
    let mut tuples = b")".to_vec();
    tuples.extend(vec![0x85; many]);
    tuples.push(b'.');
    assert_refused(&with_pickle(&tuples), "holds no state dict");
    let mut lists = vec![b']'; many / 2];
    lists.extend(vec![b'a'; many / 2 - 1]);
    lists.push(b'.');
    assert_refused(&with_pickle(&lists), "holds no state dict");
    assert_refused(&with_pickle(&vec![b'('; many]), "ends too early");
    assert_refused(&with_pickle(b"]q\x00h\x00a."), "holds no state dict");
    let own = [b"}q\x00", text("state_dict").as_slice(), b"h\x00s."].concat();
    assert_unsupported(
        &with_pickle(&own),
        "'state_dict' of the state dict is no tensor",
    );
}

#[test]
fn large_pickles_end_soon() {
    let most = MAX_OPERATIONS;
    for operation in [b'}', b']', b'(', b')', b'N'] {
        assert_refused(&with_pickle(&vec![operation; most + 1]), "operations");
    }
    assert_refused(&with_pickle(&b"N\x94".repeat(most)), "operations");
    // One storage, and one tensor, described again and again.
    let id = [
        b"(".as_slice(),
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text(&"0".repeat(64)),
        &text("cpu"),
        &int(6),
        b"tq\x00Q",
    ]
    .concat();
    let folder = "x".repeat(MAX_PREFIX_BYTES - 1);
    let repeated = [id.as_slice(), &b"h\x00Q".repeat(most)].concat();
    let numbers = [0u8; 24];
    let archive = zip(
        &[
            (&format!("{folder}/data.pkl"), &repeated),
            (&format!("{folder}/data/{}", "0".repeat(64)), &numbers),
        ],
        Zip::Plain,
    );
    assert_refused(&archive, "operations");
    let mut again = tensor(0, &[1; 16], &[1; 16]);
    again.pop();
    let call = again.iter().position(|&b| b == b'(').unwrap();
    let mut pickle = again[..call].to_vec();
    pickle.extend(b"q\x01");
    pickle.extend(&again[call..]);
    pickle.extend(b"q\x02R");
    pickle.extend(b"h\x01h\x02R".repeat(most));
    assert_refused(&with_pickle(&pickle), "operations");
    // Many names of one tensor.
    let names: Vec<String> = (0..=MAX_TENSORS).map(|n| n.to_string()).collect();
    let mut items: Vec<_> = (names.iter())
        .map(|name| (name.as_str(), b"h\x00".to_vec()))
        .collect();
    items[0].1 = [&tensor(0, &[1], &[1]), b"q\x00".as_slice()].concat();
    assert_refused(&with_pickle(&dict(&items)), "more than 65536 tensors");
    items.pop();
    assert!(read_all(file(&with_pickle(&dict(&items)))).is_ok());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for name in [
        "module.bin",
        "mixed.bin",
        "checkpoint.bin",
        "legacy-mixed.bin",
    ] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let file = file(&whole);
        for length in (0..whole.len()).rev() {
            file.set_len(length as u64).unwrap();
            assert!(read_all(file.try_clone().unwrap()).is_err(), "{length}");
        }
    }
}

#[test]
fn pickles_cut_anywhere_are_refused() {
    let pickle = dict(&[("w", tensor(0, &[2], &[1]))]);
    for length in 0..pickle.len() {
        assert!(read_all(file(&with_pickle(&pickle[..length]))).is_err());
    }
}

#[test]
fn damaged_files_do_no_harm() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    for name in [
        "module.bin",
        "mixed.bin",
        "checkpoint.bin",
        "legacy-mixed.bin",
    ] {
        let whole = std::fs::read(fixture(name)).unwrap();
        let file = file(&whole);
        let mut read = 0;
        for round in 0..20_000 {
            let mut bytes = whole.clone();
            // Half of them in the pickle, which comes first.
            let places = if round % 2 == 0 { 600 } else { bytes.len() };
            for _ in 0..1 + random(4) {
                let at = random(places);
                bytes[at] = match random(4) {
                    0 => bytes[random(whole.len())],
                    1 => bytes[at] ^ (1 << random(8)),
                    2 => [0, 1, 0x7f, 0x80, 0xff][random(5)],
                    _ => random(256) as u8,
                };
            }
            file.write_all_at(&bytes, 0).unwrap();
            read += usize::from(read_all(file.try_clone().unwrap()).is_ok());
        }
        assert!(read > 1000, "{name}: {read}");
    }
}
