//! pytorch_model.bin. `0` and the file as it is; or `1`, then `MARK n` and an entry of an archive that is made around
//! them: 0 for data.pkl, 1 and 2 for the storages "0" and "1" (of numbers that don't matter where empty), 3 for byteorder.

use bert::classifier::Classifier;
use bert::hf::LoadOptions;
use bert::model::ParameterSpec;

use super::Target;
use crate::input::{self, Bytes};
use crate::oracle::{answer, check_classifier};
use crate::scratch;
use crate::small_model;

pub const TARGET: Target = Target {
    name: "state_dict",
    most_bytes: 64 * 1024,
    run,
    seeds,
    words: &[
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"\x80\x02}(",
        b"u.",
        b"ctorch._utils\n_rebuild_tensor\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_tensor_v3\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ccollections\nOrderedDict\n",
        b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.",
        b"\x80\x02M\xe9\x03.",
        b"U\x07storage",
        b"ctorch\nFloatStorage\n",
        b"ctorch\nHalfStorage\n",
        b"ctorch\nBFloat16Storage\n",
        b"ctorch\nDoubleStorage\n",
        b"ctorch\nLongStorage\n",
        b"ctorch.storage\nUntypedStorage\n",
        b"ctorch\nfloat32\n",
        b"X\x07\0\0\0storage",
        b"X\x01\0\0\x000",
        b"X\x03\0\0\0cpu",
        b"state_dict",
        b"\x8c\x0astate_dict",
        b"tQ",
        b"tR",
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x93",
        b"\x94",
        b"\x88",
        b"\x89",
        b"\x8a\x08",
        b"K\0",
        b"J\xff\xff\xff\xff",
        b"q\0",
        b"h\0",
    ],
};

fn run(bytes: &[u8]) {
    let mut bytes = Bytes::new(bytes);
    let made;
    let file = if bytes.bit() {
        let (_, parts) = input::parts(bytes.rest());
        made = archive(&parts);
        &made
    } else {
        bytes.rest()
    };
    let directory = small_model::directory("state_dict");
    scratch::write(&directory, "pytorch_model.bin", file);
    if let Some(classifier) = answer(Classifier::load(&directory, &LoadOptions::default())) {
        check_classifier(&classifier);
    }
}

/// A zip archive of these entries, stored.
fn archive(parts: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    let mut count = 0u16;
    for (name, body) in parts {
        let name = match name {
            b'0' => "archive/data.pkl",
            b'1' => "archive/data/0",
            b'2' => "archive/data/1",
            b'3' => "archive/byteorder",
            _ => continue,
        };
        let numbers;
        let body = if body.is_empty() && name.contains("data/") {
            numbers = small_model::numbers(2048);
            numbers.as_slice()
        } else {
            body
        };
        let at = (out.len() as u32).to_le_bytes();
        let size = (body.len() as u32).to_le_bytes();
        let name_length = (name.len() as u16).to_le_bytes();
        // Versions, method, times and sums are zero: none of them says where anything is.
        out.extend(b"PK\x03\x04");
        out.extend([0; 14]);
        out.extend([size, size].concat());
        out.extend([name_length, [0; 2]].concat());
        out.extend(name.as_bytes());
        out.extend(body);
        directory.extend(b"PK\x01\x02");
        directory.extend([0; 16]);
        directory.extend([size, size].concat());
        directory.extend(name_length);
        directory.extend([0; 12]);
        directory.extend(at);
        directory.extend(name.as_bytes());
        count += 1;
    }
    let at = (out.len() as u32).to_le_bytes();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(at);
    out.extend([0; 2]);
    out
}

fn pickled_text(text: &str) -> Vec<u8> {
    [
        b"X",
        (text.len() as u32).to_le_bytes().as_slice(),
        text.as_bytes(),
    ]
    .concat()
}

fn pickled_sizes(sizes: &[usize]) -> Vec<u8> {
    let mut pickle = vec![b'('];
    for size in sizes {
        pickle.extend([b"M".as_slice(), (*size as u16).to_le_bytes().as_slice()].concat());
    }
    pickle.push(b't');
    pickle
}

/// A pickle of these tensors as rows of one storage; `wrapped` puts them under `state_dict`, as training scripts do.
fn pickle(specs: &[ParameterSpec], wrapped: bool) -> Vec<u8> {
    let mut out = b"\x80\x02}(".to_vec();
    if wrapped {
        out.extend(pickled_text("epoch"));
        out.extend(b"K\x03");
        out.extend(pickled_text("state_dict"));
        out.extend(b"ccollections\nOrderedDict\n)R(");
    }
    for (index, spec) in specs.iter().enumerate() {
        out.extend(pickled_text(&spec.name));
        if index == 0 {
            out.extend(b"ctorch._utils\n_rebuild_tensor_v2\nq\0((");
            out.extend(pickled_text("storage"));
            out.extend(b"ctorch\nFloatStorage\n");
            out.extend(pickled_text("0"));
            out.extend(pickled_text("cpu"));
            out.extend(b"M\0\x02tQq\x01");
        } else {
            out.extend(b"h\0(h\x01");
        }
        out.extend([b'K', index as u8]);
        out.extend(pickled_sizes(&spec.shape));
        let strides: Vec<usize> = (0..spec.shape.len())
            .map(|axis| spec.shape[axis + 1..].iter().product())
            .collect();
        out.extend(pickled_sizes(&strides));
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    if wrapped {
        out.push(b'u');
    }
    out.extend(b"u.");
    out
}

fn seeds() -> Vec<Vec<u8>> {
    let specs = small_model::specs(&small_model::config());
    let short: Vec<ParameterSpec> = specs.iter().take(2).cloned().collect();
    let whole = [
        (b'0', pickle(&specs, false)),
        (b'0', pickle(&specs, true)),
        (b'0', pickle(&short, false)),
    ];
    let mut seeds: Vec<Vec<u8>> = whole
        .iter()
        .map(|(name, pickle)| {
            let parts: [(u8, &[u8]); 3] =
                [(*name, pickle.as_slice()), (b'1', b""), (b'3', b"little")];
            input::join(&[1], &parts)
        })
        .collect();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/state_dict");
    for name in [
        "checkpoint.bin",
        "legacy.bin",
        "legacy-mixed.bin",
        "mixed.bin",
        "module.bin",
    ] {
        let file = std::fs::read(format!("{fixtures}/{name}")).expect("the fixture is there");
        seeds.push([&[0], file.as_slice()].concat());
    }
    let raw = archive(&[(b'0', &pickle(&short, false)), (b'1', b"0123456789abcdef")]);
    seeds.push([&[0], raw.as_slice()].concat());
    seeds
}
