//! The library's log: silent unless a receiver is set; it never prints.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::thread::{self, ThreadId};

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

type Function = Box<dyn Fn(Level, &str) + Send + Sync>;

/// A function that gets lines, and the threads that are inside it.
struct Receiver {
    function: Function,
    inside: Mutex<Vec<ThreadId>>,
    left: Condvar,
}

impl Receiver {
    fn inside(&self) -> MutexGuard<'_, Vec<ThreadId>> {
        self.inside.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Waits until no thread is inside the function. A thread that is inside it itself doesn't wait.
    fn wait(&self) {
        let me = thread::current().id();
        let mut inside = self.inside();
        while !inside.is_empty() && !inside.contains(&me) {
            inside = self.left.wait(inside).unwrap_or_else(|p| p.into_inner());
        }
    }
}

/// A thread's stay in a receiver's function.
struct Stay(Arc<Receiver>);

impl Stay {
    fn begin(receiver: &Arc<Receiver>) -> Stay {
        receiver.inside().push(thread::current().id());
        Stay(receiver.clone())
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let me = thread::current().id();
        let mut inside = self.0.inside();
        if let Some(place) = inside.iter().rposition(|id| *id == me) {
            inside.remove(place);
        }
        self.0.left.notify_all();
    }
}

static RECEIVER: RwLock<Option<Arc<Receiver>>> = RwLock::new(None);

/// Sends every later line to `receiver`; `None` silences the log again. When it returns, no other thread is inside the
/// former receiver, and none will be: what that uses can go. Called from inside the former receiver it doesn't wait.
pub fn set_receiver(receiver: Option<Function>) {
    let receiver = receiver.map(|function| {
        Arc::new(Receiver {
            function,
            inside: Mutex::new(Vec::new()),
            left: Condvar::new(),
        })
    });
    let former = {
        let mut slot = RECEIVER.write().unwrap_or_else(|p| p.into_inner());
        std::mem::replace(&mut *slot, receiver)
    };
    if let Some(former) = former {
        former.wait();
    }
}

/// Calls the receiver, with no lock held, so that it may call the library.
fn emit(level: Level, text: impl FnOnce() -> String) {
    let stay = {
        let slot = RECEIVER.read().unwrap_or_else(|p| p.into_inner());
        // With the slot locked: whoever replaces the receiver finds this thread inside, or this thread finds the new one.
        slot.as_ref().map(Stay::begin)
    };
    if let Some(stay) = stay {
        (stay.0.function)(level, &text());
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
