//! What threads share, each in its smallest form: the parts of the library in which the order of two threads' steps
//! counts. They use nothing but [`primitives`], in whose place `tests/loom.rs` puts loom's, to try every order.

mod exclusive;
mod in_process;
mod published;
mod turns;

/// The standard library's; loom's in `tests/loom.rs`.
pub mod primitives {
    pub use std::sync::atomic::{AtomicBool, AtomicU64};
    pub use std::sync::{Arc, Mutex, MutexGuard, RwLock};
}

pub use exclusive::{Exclusive, Right};
pub use in_process::InProcess;
pub use published::Published;
pub use turns::Turns;
