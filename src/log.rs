//! The library's log: silent unless a receiver is set; it never prints.

use std::sync::RwLock;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    /// For whoever looks for a defect in the library.
    Debug = 0,
    /// What the library chose or did.
    Info = 1,
    /// Something that works, but probably not as the user meant it.
    Warning = 2,
}

type Receiver = Box<dyn Fn(Level, &str) + Send + Sync>;

static RECEIVER: RwLock<Option<std::sync::Arc<Receiver>>> = RwLock::new(None);

/// Sends every later line to `receiver`; `None` silences the log again.
pub fn set_receiver(receiver: Option<Receiver>) {
    let mut slot = RECEIVER.write().unwrap_or_else(|p| p.into_inner());
    *slot = receiver.map(std::sync::Arc::new);
}

/// Calls the receiver, with no lock held, so that it may call the library.
fn emit(level: Level, text: impl FnOnce() -> String) {
    let receiver = RECEIVER.read().unwrap_or_else(|p| p.into_inner()).clone();
    if let Some(receiver) = receiver {
        receiver(level, &text());
    }
}

/// A line at [`Level::Debug`]; `text` runs only where someone listens.
pub fn debug(text: impl FnOnce() -> String) {
    emit(Level::Debug, text);
}

/// A line at [`Level::Info`].
pub fn info(text: impl FnOnce() -> String) {
    emit(Level::Info, text);
}

/// A line at [`Level::Warning`].
pub fn warning(text: impl FnOnce() -> String) {
    emit(Level::Warning, text);
}
