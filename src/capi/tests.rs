//! What no C program can bring about: a panic inside a call, and structs of versions that aren't published yet.

use std::ffi::CStr;
use std::sync::{Arc, RwLock};

use super::boundary::{call, free, last_error};
use super::fields::any;
use super::handles::{self, Object, bert_dataset};
use super::sized::{self, Sized_, initialise, sized_struct};
use super::status::*;
use super::{bert_dataset_count, bert_dataset_free};
use crate::data::Dataset;
use crate::threads;

fn dataset() -> *mut bert_dataset {
    handles::insert(Object::Dataset(Arc::new(RwLock::new(Dataset::toy_train()))))
}

fn count(handle: *const bert_dataset) -> bert_status {
    let mut count = 0;
    // SAFETY: `count` is writable.
    unsafe { bert_dataset_count(handle, &mut count) }
}

fn message() -> String {
    // SAFETY: it ends with a NUL, and nothing fails on this thread before it is copied.
    unsafe { CStr::from_ptr(last_error()) }
        .to_string_lossy()
        .into_owned()
}

#[test]
fn a_panic_poisons_its_handles_and_no_others() {
    let (hit, spared) = (dataset(), dataset());
    let status = call(|| {
        handles::dataset(hit)?;
        panic!("index 7");
    });
    assert_eq!(status, BERT_ERR_INTERNAL);
    assert!(message().ends_with('.'), "{}", message());
    assert!(
        !message().contains("index 7"),
        "the panic's own text is the log's"
    );
    assert_eq!(count(hit), BERT_ERR_POISONED);
    assert_eq!(count(spared), BERT_OK);
    bert_dataset_free(hit);
    assert_eq!(count(hit), BERT_ERR_HANDLE);
    assert_eq!(count(spared), BERT_OK);
    bert_dataset_free(spared);
}

/// Asked of a process of its own, whose whole output is looked at.
#[test]
fn a_caught_panic_prints_nothing() {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "capi::tests::a_panic_poisons_its_handles_and_no_others",
        ])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(run.status.success());
    assert!(
        text(&run.stdout).contains("1 passed"),
        "{}",
        text(&run.stdout)
    );
    for printed in [run.stdout, run.stderr] {
        assert!(!text(&printed).contains("panicked"), "{}", text(&printed));
        assert!(!text(&printed).contains("index 7"), "{}", text(&printed));
    }
}

#[test]
fn a_panic_inside_a_callbacks_call_is_that_calls_alone() {
    let (outer, inner) = (dataset(), dataset());
    let status = call(|| {
        handles::dataset(outer)?;
        let within = call(|| {
            handles::dataset(inner)?;
            panic!("a defect");
        });
        assert_eq!(within, BERT_ERR_INTERNAL);
        Ok(())
    });
    assert_eq!(status, BERT_OK);
    assert_eq!(count(outer), BERT_OK);
    assert_eq!(count(inner), BERT_ERR_POISONED);
    bert_dataset_free(outer);
    bert_dataset_free(inner);
}

#[test]
fn a_panic_on_a_worker_thread_is_caught_and_the_workers_go_on() {
    let hit = dataset();
    let status = call(|| {
        handles::dataset(hit)?;
        threads::run(|| {
            rayon::join(|| 1, || -> i32 { panic!("a defect") });
        })
    });
    assert_eq!(status, BERT_ERR_INTERNAL);
    assert_eq!(count(hit), BERT_ERR_POISONED);
    assert_eq!(threads::run(|| rayon::join(|| 1, || 2)).unwrap(), (1, 2));
    bert_dataset_free(hit);
}

/// A payload that panics when it is dropped.
struct Malicious;

impl Drop for Malicious {
    fn drop(&mut self) {
        panic!("a second defect");
    }
}

#[test]
fn a_panic_with_a_payload_that_panics_is_caught_too() {
    let spared = dataset();
    assert_eq!(call(|| std::panic::panic_any(Malicious)), BERT_ERR_INTERNAL);
    free(|| std::panic::panic_any(Malicious));
    assert_eq!(count(spared), BERT_OK);
    bert_dataset_free(spared);
}

/// A struct of which two versions are published: the first had no `second`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
struct Grown {
    struct_size: usize,
    first: u64,
    second: u64,
}

sized_struct!(Grown, older [16], {
    first: any(1u64),
    second: any(2u64),
});

#[test]
fn an_older_programs_struct_is_read_and_written_within_its_size() {
    const CANARY: u64 = 0xa5a5;
    let mut memory = Grown {
        struct_size: 0,
        first: CANARY,
        second: CANARY,
    };
    // SAFETY: `memory` is writable for 16 bytes, and readable for what struct_size says.
    unsafe {
        initialise(&mut memory, 16, Grown::default()).unwrap();
        assert_eq!((memory.struct_size, memory.first), (16, 1));
        assert_eq!(memory.second, CANARY, "beyond the caller's size");
        memory.first = 7;
        let read = sized::read(&memory).unwrap();
        assert_eq!(
            (read.first, read.second),
            (7, 2),
            "what it lacks is the default"
        );
        let value = Grown {
            struct_size: 0,
            first: 8,
            second: 9,
        };
        sized::write(&mut memory, &value).unwrap();
        assert_eq!(
            (memory.struct_size, memory.first, memory.second),
            (16, 8, CANARY)
        );
        // A size between two versions is no version's.
        memory.struct_size = 20;
        assert!(sized::read(&memory).is_err());
        assert!(initialise(&mut memory, 20, Grown::default()).is_err());
    }
}
