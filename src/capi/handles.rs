//! What a caller holds: addresses that are looked up in a table and never followed, so that a NULL, a freed handle,
//! one of another kind or any other number is an error and not a crash.

use std::sync::atomic::Ordering;
use std::sync::{Arc, RwLock};

use once_cell::sync::OnceCell;

use super::boundary;
use super::handle_table::{Cell, HandleTable};
use crate::classifier::Classifier;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::train::Trainer;

/// A model: weights, tokenizer and labels. Any number of threads may use one model at once. While it is trained,
/// predictions, evaluations and saves on it each see one whole set of weights, as of the end of a step.
pub struct bert_model {
    _private: [u8; 0],
}

/// Labelled texts. Any number of threads may use one data set at once; one that adds to it does so between the others'
/// calls. Models and trainers keep what they need of it: it can be freed or added to once they are made.
pub struct bert_dataset {
    _private: [u8; 0],
}

/// A training run of one model on one data set. Its training calls may come from any thread; a second one while one
/// runs answers BERT_ERR_BUSY. It keeps its model alive.
pub struct bert_trainer {
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
}

/// What can be behind a handle.
pub(super) enum Object {
    Model(Arc<ModelHandle>),
    Dataset(Arc<RwLock<Dataset>>),
    Trainer(Arc<TrainerHandle>),
}

impl Object {
    fn kind(&self) -> &'static str {
        match self {
            Object::Model(_) => "model",
            Object::Dataset(_) => "dataset",
            Object::Trainer(_) => "trainer",
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
    let wrong = |what: String| Err(Error::Handle(what));
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
            return wrong(format!(
                "A {kind} handle is expected; this is the handle of a {}.",
                entry.object.kind()
            ));
        };
        if entry.poisoned.load(Ordering::Acquire) {
            return Err(Error::Poisoned(format!(
                "An earlier call on this {kind} met a defect of the library; free it and make a new one."
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
    find(handle as usize, "dataset", |object| match object {
        Object::Dataset(dataset) => Some(dataset.clone()),
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
