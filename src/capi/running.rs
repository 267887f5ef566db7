//! The training calls that are inside a trainer, so that whoever closes it can wait until they have returned.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, ThreadId};

/// The threads that are inside training calls of one trainer.
#[derive(Default)]
pub(super) struct Running {
    threads: Mutex<Vec<ThreadId>>,
    left: Condvar,
}

impl Running {
    fn threads(&self) -> MutexGuard<'_, Vec<ThreadId>> {
        self.threads.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Whether this thread is inside a training call: it runs a callback then.
    pub fn has_this_thread(&self) -> bool {
        self.threads().contains(&thread::current().id())
    }

    /// Waits until no training call is inside.
    pub fn wait(&self) {
        let mut threads = self.threads();
        while !threads.is_empty() {
            threads = self.left.wait(threads).unwrap_or_else(|p| p.into_inner());
        }
    }
}

/// One training call, from when its handle was looked up to its return.
pub(super) struct Inside(Arc<Running>);

impl Inside {
    /// Counts the calling thread as inside.
    pub fn enter(running: &Arc<Running>) -> Inside {
        running.threads().push(thread::current().id());
        Inside(running.clone())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let me = thread::current().id();
        let mut threads = self.0.threads();
        if let Some(place) = threads.iter().rposition(|id| *id == me) {
            threads.remove(place);
        }
        self.0.left.notify_all();
    }
}
