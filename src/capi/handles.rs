//! What a caller holds: addresses that are looked up in a table and never followed, so that a NULL, a freed handle,
//! one of another kind or any other number is an error and not a crash.

use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};

use once_cell::sync::OnceCell;

use super::boundary;
use super::error_object::ErrorState;
use super::handle_table::{Cell, HandleTable};
use super::running::{Inside, Running};
use crate::classifier::Classifier;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::train::Trainer;

/// A model: weights, tokenizer and labels. Any number of threads may use one model at the same time. During training,
/// each prediction, evaluation and save uses one complete set of weights, as they were at the end of a training step.
pub struct bert_model {
    _private: [u8; 0],
}

/// A list of labelled texts. Any number of threads may use one data set at the same time, also to add examples. Models
/// and trainers copy what they need. After they are created you can add to the data set or free it.
pub struct bert_dataset {
    _private: [u8; 0],
}

/// A training run of one model on one data set. Its training calls may come from any thread, but only one at a time: a
/// second one returns BERT_ERR_BUSY. A trainer keeps its model alive.
pub struct bert_trainer {
    _private: [u8; 0],
}

/// An error object: it stores the latest error of the threads that it is bound to. bert_error_bind binds it. Any
/// number of threads may use one error object at the same time.
pub struct bert_error {
    _private: [u8; 0],
}

/// A model and what its borrowed strings point to.
pub(super) struct ModelHandle {
    pub classifier: Arc<Classifier>,
    /// The label names, each with a NUL behind it.
    pub label_names: Vec<Box<[u8]>>,
    /// Parameters by their origin, each with a NUL behind it.
    pub loaded: Vec<Box<[u8]>>,
    /// See `loaded`.
    pub initialised: Vec<Box<[u8]>>,
    /// See `loaded`.
    pub ignored: Vec<Box<[u8]>>,
}

/// A trainer and the callback that its training calls make.
pub(super) struct TrainerHandle {
    pub trainer: Trainer,
    pub callback: super::trainer::Callback,
    /// Its training calls.
    pub running: Arc<Running>,
}

/// What can be behind a handle.
pub(super) enum Object {
    Model(Arc<ModelHandle>),
    Dataset(Arc<RwLock<Dataset>>),
    Trainer(Arc<TrainerHandle>),
    Error(Arc<ErrorState>),
}

impl Object {
    fn kind(&self) -> &'static str {
        match self {
            Object::Model(_) => "model",
            Object::Dataset(_) => "dataset",
            Object::Trainer(_) => "trainer",
            Object::Error(_) => "error object",
        }
    }
}

fn table() -> &'static HandleTable<Object> {
    static TABLE: OnceCell<HandleTable<Object>> = OnceCell::new();
    TABLE.get_or_init(HandleTable::new)
}

/// Gives an object an address.
pub(super) fn insert<T>(object: Object) -> *mut T {
    let cancel = match &object {
        Object::Trainer(handle) => Some(handle.trainer.cancel_flag().clone()),
        _ => None,
    };
    table().insert(object, cancel).cast_mut().cast()
}

/// Takes a handle out of the table. Calls that are inside keep the object alive until they return.
fn remove(address: usize, kind: &str) {
    if address == 0 {
        return;
    }
    drop(table().remove(address, |object| object.kind() == kind));
}

/// Looks a handle up; the running call counts as working on it.
fn find<T>(address: usize, kind: &str, pick: impl FnOnce(&Object) -> Option<T>) -> Result<T> {
    // Each is the argument of its kind's name, but for an error object.
    let name = kind.strip_suffix(" object").unwrap_or(kind);
    let wrong = |what: String| Err(Error::Handle(what).of_argument(name));
    if address == 0 {
        return wrong(format!(
            "The {kind} handle is NULL; create or load a {kind} first."
        ));
    }
    table().look(address, |entry| {
        let Some(entry) = entry else {
            return wrong(format!(
                "The {kind} handle is not one that this library gave out, or it was freed."
            ));
        };
        let Some(found) = pick(&entry.object) else {
            let article = |kind: &str| if kind.starts_with('e') { "an" } else { "a" };
            let found = entry.object.kind();
            return wrong(format!(
                "{} {kind} handle is expected; this is the handle of {} {found}.",
                if article(kind) == "an" { "An" } else { "A" },
                article(found)
            ));
        };
        if entry.poisoned.load(Ordering::Acquire) {
            return Err(Error::Poisoned(format!(
                "A defect in the library stopped an earlier call on this {kind}; free it and create a new one."
            )));
        }
        boundary::uses(&entry.poisoned);
        Ok(found)
    })
}

/// The model behind a handle.
pub(super) fn model(handle: *const bert_model) -> Result<Arc<ModelHandle>> {
    find(handle as usize, "model", |object| match object {
        Object::Model(model) => Some(model.clone()),
        _ => None,
    })
}

/// The data set behind a handle.
pub(super) fn dataset(handle: *const bert_dataset) -> Result<Arc<RwLock<Dataset>>> {
    dataset_named(handle, "dataset")
}

/// The data set behind a handle that is the argument or option of that name.
pub(super) fn dataset_named(
    handle: *const bert_dataset,
    name: &str,
) -> Result<Arc<RwLock<Dataset>>> {
    let found = find(handle as usize, "dataset", |object| match object {
        Object::Dataset(dataset) => Some(dataset.clone()),
        _ => None,
    });
    found.map_err(|error| error.of_argument(name))
}

/// The trainer behind a handle, for a training call: who closes the trainer waits for it.
pub(super) fn training(handle: *const bert_trainer) -> Result<(Arc<TrainerHandle>, Inside)> {
    // The call is counted while the table is locked: it is either found by who closes the trainer, or finds none.
    find(handle as usize, "trainer", |object| match object {
        Object::Trainer(trainer) => Some((trainer.clone(), Inside::enter(&trainer.running))),
        _ => None,
    })
}

/// The state of the error object behind a handle.
pub(super) fn error(handle: *const bert_error) -> Result<Arc<ErrorState>> {
    find(handle as usize, "error object", |object| match object {
        Object::Error(error) => Some(error.clone()),
        _ => None,
    })
}

/// The trainer behind a handle.
pub(super) fn trainer(handle: *const bert_trainer) -> Result<Arc<TrainerHandle>> {
    find(handle as usize, "trainer", |object| match object {
        Object::Trainer(trainer) => Some(trainer.clone()),
        _ => None,
    })
}

pub(super) fn free_model(handle: *mut bert_model) {
    remove(handle as usize, "model");
}

pub(super) fn free_dataset(handle: *mut bert_dataset) {
    remove(handle as usize, "dataset");
}

pub(super) fn free_error(handle: *mut bert_error) {
    remove(handle as usize, "error object");
}

/// Takes a trainer's handle away, ends its training calls and waits for them.
pub(super) fn close_trainer(handle: *mut bert_trainer) -> Result<()> {
    let address = handle as usize;
    if address == 0 {
        return Ok(());
    }
    let found = table().look(address, |entry| match entry.map(|entry| &entry.object) {
        Some(Object::Trainer(trainer)) => Some(trainer.clone()),
        _ => None,
    });
    let Some(trainer) = found else {
        // Says what it is instead.
        return self::trainer(handle).map(|_| ());
    };
    if trainer.running.has_this_thread() {
        return Err(Error::Busy(
            "The trainer can't be closed inside a callback of its own training call; return from it first.".into(),
        ));
    }
    remove(address, "trainer");
    // No training call comes in any more.
    trainer.trainer.cancel_flag().store(true, Ordering::Relaxed);
    trainer.running.wait();
    Ok(())
}

pub(super) fn free_trainer(handle: *mut bert_trainer) {
    remove(handle as usize, "trainer");
}

/// Asks a trainer to stop, with atomic loads and stores alone.
///
/// # Safety
/// `handle` is NULL or a trainer that isn't freed before this returns.
pub(super) unsafe fn cancel(handle: *const bert_trainer) {
    if handle.is_null() {
        return;
    }
    // SAFETY: the caller vouches for a live trainer, whose address is its cell's; the cell's one changing field is
    // atomic, and it outlives the trainer by the quarantine.
    unsafe { &*handle.cast::<Cell>() }.cancel();
}
