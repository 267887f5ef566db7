//! The library's own worker threads. The host's rayon pool is never used.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow};
use once_cell::sync::OnceCell;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::ops::float_state::FloatState;
use crate::ops::isa;
use crate::sync::{CallsInside, Published};

/// More worker threads than this is a slip of the caller's.
pub const MAX_THREADS: usize = 1024;

/// Stack of a worker: explicit, so that the host's limits don't decide. The backward pass recurses over the graph.
const STACK_BYTES: usize = 8 << 20;

/// What the workers' names begin with.
pub const NAME_PREFIX: &str = "bert-";

/// The process in which the workers were started, or a GPU opened; 0 before.
static STARTED_IN: AtomicU32 = AtomicU32::new(0);

/// [`Error::Forked`] in a child that was forked after the workers had started.
pub(crate) fn check_fork() -> Result<()> {
    match STARTED_IN.load(Ordering::Acquire) {
        0 => Ok(()),
        process if process == std::process::id() => Ok(()),
        _ => Err(forked()),
    }
}

fn forked() -> Error {
    Error::Forked(
        "This process was forked after libbert had started its threads, which don't exist here, or while it was at \
         work. Use libbert in one of the two processes only, or start the other with exec."
            .into(),
    )
}

/// A child finds it as it was at the fork.
static INSIDE: CallsInside = CallsInside(AtomicU64::new(0));

/// A call that is inside the library; dropped when it leaves.
#[derive(Debug)]
pub struct Inside {
    process: u32,
}

/// Begins a call from outside. [`Error::Forked`] in a child that was forked after the workers had started, or while any
/// thread was inside a call. Takes no lock, since another thread may have had it at the fork.
pub fn enter() -> Result<Inside> {
    check_fork()?;
    let process = std::process::id();
    match INSIDE.enter(process) {
        true => Ok(Inside { process }),
        false => Err(forked()),
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // A callback may have forked: the child's way out of the call must not make it look as if nobody was inside.
        if std::process::id() == self.process {
            INSIDE.leave();
        }
    }
}

/// The current pool. A call works on the pool it found, also where another one takes its place meanwhile.
static POOL: OnceCell<Published<ThreadPool>> = OnceCell::new();

/// From here on this process has what a forked child lacks.
pub(crate) fn mark_started() {
    STARTED_IN.store(std::process::id(), Ordering::Release);
}

/// Runs `work` on the library's pool and waits for it. The pool starts with the first call.
pub fn run<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R> {
    // The choice of instructions may have something to tell, which it does on the caller's thread.
    isa::level();
    Ok(current()?.install(work))
}

/// Runs work that is too little to be shared out, and that doesn't touch rayon: on the pool as [`run`], or on the thread
/// that asks where the pool is a single one. So threads of the host's that each ask for little have a core each.
pub fn run_small<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R> {
    isa::level();
    let pool = current()?;
    if pool.current_num_threads() > 1 {
        return Ok(pool.install(work));
    }
    let _here = Here::enter();
    Ok(work())
}

thread_local! {
    /// How many times this thread is inside of work that it does itself in place of the pool.
    static HERE: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, this thread does the pool's work itself.
struct Here;

impl Here {
    fn enter() -> Here {
        let _ = HERE.try_with(|count| count.set(count.get() + 1));
        Here
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let _ = HERE.try_with(|count| count.set(count.get() - 1));
    }
}

/// Threads that work may be shared out to from here.
pub fn current_num_threads() -> usize {
    if HERE.try_with(Cell::get).is_ok_and(|count| count > 0) {
        return 1;
    }
    rayon::current_num_threads()
}

/// Of these threads one call's share, where others are inside of the library too: threads that join each other's work and
/// find none waste their time.
pub fn share() -> usize {
    (current_num_threads() / INSIDE.count().max(1)).max(1)
}

/// Worker threads in use.
pub fn num_threads() -> Result<usize> {
    Ok(current()?.current_num_threads())
}

/// Sets the number of worker threads; 0 takes what affinity and cgroup quota allow. Calls that are running finish on
/// the threads they have.
pub fn set_num_threads(count: usize) -> Result<()> {
    if count > MAX_THREADS {
        return Err(Error::InvalidArgument(format!(
            "The number of threads is {count}; it must be at most {MAX_THREADS}, or 0 for as many as there are \
             processors."
        )));
    }
    let pool = Arc::new(build(count)?);
    let slot = POOL.get_or_init(|| Published::new(pool.clone()));
    slot.replace(pool);
    Ok(())
}

fn current() -> Result<Arc<ThreadPool>> {
    check_fork()?;
    let slot = POOL.get_or_try_init(|| Ok::<_, Error>(Published::new(Arc::new(build(0)?))))?;
    Ok(slot.get())
}

fn build(count: usize) -> Result<ThreadPool> {
    let count = match count {
        // Affinity and cgroup quota are both counted.
        0 => std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS)),
        count => count,
    };
    let builder = ThreadPoolBuilder::new()
        .num_threads(count)
        .stack_size(STACK_BYTES)
        .thread_name(|index| format!("{NAME_PREFIX}{index}"))
        // A thread begins with the settings of the one that starts it.
        .start_handler(|_| FloatState::DEFAULT.set());
    let pool = without_signals(|| builder.build());
    mark_started();
    pool.map_err(|_| {
        Error::OutOfMemory(format!(
            "{count} worker threads could not be started; set fewer with bert_set_num_threads."
        ))
    })
}

/// Runs `work` with all signals blocked. Threads that it starts inherit that: every signal is left to the host's own.
pub(crate) fn without_signals<R>(work: impl FnOnce() -> R) -> R {
    let mut before = SigSet::empty();
    let masked = nix::sys::signal::pthread_sigmask(
        SigmaskHow::SIG_BLOCK,
        Some(&SigSet::all()),
        Some(&mut before),
    )
    .is_ok();
    let result = work();
    if masked {
        // It was this thread's mask a moment ago, so setting it can't fail.
        let _ = before.thread_set_mask();
    }
    result
}
