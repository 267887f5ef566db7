//! The table of what callers hold: objects by their addresses, and addresses that were freed a short while ago.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;

use crate::sync::primitives::{Arc, AtomicBool, AtomicU64, Mutex, MutexGuard};

/// What a handle points to. `bert_trainer_cancel` follows it without the table, since a signal handler must not wait for
/// a lock; everybody else goes by the address alone.
#[repr(C)]
pub struct Cell {
    tag: AtomicU64,
    cancel: Option<Arc<AtomicBool>>,
}

const LIVE_TRAINER: u64 = u64::from_le_bytes(*b"berttrai");

impl Cell {
    /// Raises the flag of a trainer that isn't freed yet, with atomic loads and stores alone.
    pub fn cancel(&self) {
        if self.tag.load(Ordering::Acquire) == LIVE_TRAINER
            && let Some(flag) = &self.cancel
        {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

/// Addresses of freed handles that aren't given out again yet, so that a stale one is told from a new one.
const QUARANTINE: usize = 4096;

/// What keeps a cell where it is. A box that is moved has the only pointer to what is in it, and callers have another one. It
/// isn't loom's in `tests/loom.rs`: it is counted under the table's lock alone.
type Kept = std::sync::Arc<Cell>;

/// A live handle's object.
pub struct Entry<O> {
    pub object: O,
    /// Set where a call on it met a defect of the library.
    pub poisoned: Arc<AtomicBool>,
    cell: Kept,
}

/// Objects of the kinds in `O`.
pub struct HandleTable<O>(Mutex<Entries<O>>);

struct Entries<O> {
    live: HashMap<usize, Entry<O>>,
    freed: VecDeque<Kept>,
}

impl<O> HandleTable<O> {
    /// An empty one.
    pub fn new() -> HandleTable<O> {
        HandleTable(Mutex::new(Entries {
            live: HashMap::new(),
            freed: VecDeque::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Entries<O>> {
        self.0.lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Gives an object an address; `cancel` is a trainer's flag.
    pub fn insert(&self, object: O, cancel: Option<Arc<AtomicBool>>) -> *const Cell {
        let cell = Kept::new(Cell {
            tag: AtomicU64::new(if cancel.is_some() { LIVE_TRAINER } else { 0 }),
            cancel,
        });
        let address = Kept::as_ptr(&cell);
        let entry = Entry {
            object,
            poisoned: Arc::new(AtomicBool::new(false)),
            cell,
        };
        self.lock().live.insert(address as usize, entry);
        address
    }

    /// Takes an object out, for the caller to drop: that takes a while and may come back here, so it isn't done with the
    /// table locked. `None` where there is none at that address, or it `is` not the right one.
    pub fn remove(&self, address: usize, is: impl FnOnce(&O) -> bool) -> Option<O> {
        let mut entries = self.lock();
        if !entries
            .live
            .get(&address)
            .is_some_and(|entry| is(&entry.object))
        {
            return None;
        }
        let entry = entries.live.remove(&address)?;
        entry.cell.tag.store(0, Ordering::Release);
        entries.freed.push_back(entry.cell);
        if entries.freed.len() > QUARANTINE {
            entries.freed.pop_front();
        }
        Some(entry.object)
    }

    /// Looks at what is at an address, with the table locked.
    pub fn look<T>(&self, address: usize, look: impl FnOnce(Option<&Entry<O>>) -> T) -> T {
        look(self.lock().live.get(&address))
    }
}
