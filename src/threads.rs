//! The library's own worker threads, and what is done without them. The host's rayon pool is never used.
//!
//! Threads start with the first work that several of them can share. Where there is to be one only, none is started: the
//! thread that calls does all of it. So a process that has loaded models, or computes with one thread, has nothing that
//! a forked child would lack.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use nix::sys::signal::{SigSet, SigmaskHow};
use once_cell::sync::OnceCell;
use rayon::{ThreadBuilder, ThreadPool, ThreadPoolBuilder};

use crate::cgroups::System;
use crate::error::{Error, Result};
use crate::ops::float_state::FloatState;
use crate::ops::gemm::KeptScratch;
use crate::ops::isa;
use crate::sync::{InProcess, Published, Turns};

/// More worker threads than this is a slip of the caller's.
pub const MAX_THREADS: usize = 1024;

/// Stack of a worker: explicit, so that the host's limits don't decide. The library's own work needs less than 128 KiB, which
/// a calling thread must have too; candle's backward pass, which is there to compare with, recurses over its graph.
const STACK_BYTES: usize = 8 << 20;

/// What the workers' names begin with.
pub const NAME_PREFIX: &str = "bert-";

/// What a forked child lacks: pools of threads that run, GPUs that were opened.
static STARTED: InProcess = InProcess(AtomicU64::new(0));

/// Calls that are inside of the library.
static INSIDE: InProcess = InProcess(AtomicU64::new(0));

/// [`Error::Forked`] in a child that was forked while there was any of these. A call whose callback forked can't go on in
/// the child either: what other threads had locked stays locked.
pub(crate) fn check_fork() -> Result<()> {
    let process = std::process::id();
    match STARTED.is_of_another(process) || INSIDE.is_of_another(process) {
        false => Ok(()),
        true => Err(forked()),
    }
}

fn forked() -> Error {
    Error::Forked(
        "This process was forked while libbert had threads, which don't exist here, or while it was at work. Fork before \
         the first call that computes, or after bert_set_num_threads(1); use libbert in one of the two processes only; \
         or start the other with exec."
            .into(),
    )
}

/// From here on this process has what a forked child lacks.
pub(crate) fn mark_started() {
    STARTED.enter(std::process::id());
}

/// A call that is inside the library; dropped when it leaves.
#[derive(Debug)]
pub struct Inside {
    process: u32,
}

/// Begins a call from outside. [`Error::Forked`] in a child that was forked while the library had threads, or while any
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

/// What does the calls' work: a pool of so many threads, or, where that is one, the thread that calls.
struct Workers {
    count: usize,
    /// Started with the first work for it.
    pool: OnceCell<Pool>,
}

impl Workers {
    /// `count` threads; 0 takes what affinity and cgroup quota allow.
    fn new(count: usize) -> Workers {
        let count = match count {
            0 => {
                // That counts affinity and, where cgroups are mounted at the usual places, their quota.
                let available = thread::available_parallelism().map_or(1, usize::from);
                let quota = System::here().processors().unwrap_or(usize::MAX);
                available.min(quota).min(MAX_THREADS)
            }
            count => count,
        };
        Workers {
            count,
            pool: OnceCell::new(),
        }
    }

    /// The pool; `None` where the caller does the work.
    fn pool(&self) -> Result<Option<&ThreadPool>> {
        if self.count == 1 {
            return Ok(None);
        }
        let pool = self.pool.get_or_try_init(|| Pool::start(self.count))?;
        Ok(pool.threads.as_ref())
    }
}

/// Threads that run. When it is dropped they have ended.
struct Pool {
    /// Always there, until it is dropped.
    threads: Option<ThreadPool>,
    handles: Vec<JoinHandle<()>>,
    process: u32,
}

impl Pool {
    fn start(count: usize) -> Result<Pool> {
        let process = std::process::id();
        if !STARTED.enter(process) {
            return Err(forked());
        }
        // Dropped where something fails from here on.
        let mut pool = Pool {
            threads: None,
            handles: Vec::new(),
            process,
        };
        let builder = ThreadPoolBuilder::new()
            .num_threads(count)
            .stack_size(STACK_BYTES)
            .thread_name(|index| format!("{NAME_PREFIX}{index}"))
            // A thread begins with the settings of the one that starts it.
            .start_handler(|_| FloatState::DEFAULT.set())
            .spawn_handler(|worker: ThreadBuilder| {
                let name = worker.name().unwrap_or(NAME_PREFIX).to_string();
                let thread = thread::Builder::new().name(name).stack_size(STACK_BYTES);
                pool.handles.push(thread.spawn(|| worker.run())?);
                Ok(())
            });
        let threads = without_signals(|| builder.build()).map_err(|_| {
            Error::OutOfMemory(format!(
                "{count} worker threads could not be started; set fewer with bert_set_num_threads."
            ))
        })?;
        pool.threads = Some(threads);
        Ok(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let (threads, handles) = (self.threads.take(), std::mem::take(&mut self.handles));
        if std::process::id() != self.process {
            // The threads aren't there, and what they had locked stays locked.
            std::mem::forget((threads, handles));
            return;
        }
        drop(threads);
        let here = thread::current().id();
        if handles.iter().any(|handle| handle.thread().id() == here) {
            // A worker can't wait for itself, nor for the others, which end when its own work has. So they count as started.
            return;
        }
        for handle in handles {
            let _ = handle.join();
        }
        STARTED.leave();
    }
}

/// The present ones. A call works with those it found, also where others take their place meanwhile.
fn published() -> &'static Published<Workers> {
    static WORKERS: OnceCell<Published<Workers>> = OnceCell::new();
    WORKERS.get_or_init(|| Published::new(Arc::new(Workers::new(0))))
}

fn workers() -> Result<Arc<Workers>> {
    check_fork()?;
    Ok(published().get())
}

/// Runs `work` on the library's pool and waits for it; on this thread where one thread is to do all the work, in turns with
/// others that do so. The pool starts with the first call.
pub fn run<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R> {
    // The choice of instructions may have something to tell, which it does on the caller's thread.
    isa::level();
    let workers = workers()?;
    Ok(match workers.pool()? {
        Some(pool) => pool.install(work),
        None => in_turn(work),
    })
}

/// Runs work that is too little to be shared out on the pool as [`run`], or on this thread where one thread is to do all
/// the work, without waiting for a turn. So threads of the host's that each ask for little have a core each.
pub fn run_small<R: Send>(work: impl FnOnce() -> R + Send) -> Result<R> {
    isa::level();
    let workers = workers()?;
    Ok(match workers.pool()? {
        Some(pool) => pool.install(work),
        None => {
            let _here = Here::enter();
            work()
        }
    })
}

/// Runs `work` on this thread, whatever the number of threads is: none is started. For what should be done before a
/// process forks.
pub fn run_here<R>(work: impl FnOnce() -> R) -> Result<R> {
    check_fork()?;
    isa::level();
    Ok(in_turn(work))
}

/// One after another, as on a pool of one thread.
fn in_turn<R>(work: impl FnOnce() -> R) -> R {
    static TURNS: OnceCell<Turns<KeptScratch>> = OnceCell::new();
    if is_here() {
        // It has its turn, or is too little to need one.
        return work();
    }
    let turns = TURNS.get_or_init(|| Turns::new(KeptScratch::default()));
    let mut kept = turns.lock().unwrap_or_else(PoisonError::into_inner);
    let _lent = kept.lend();
    let _here = Here::enter();
    work()
}

thread_local! {
    /// How many times this thread is inside of work that it does itself in place of the pool.
    static HERE: Cell<u32> = const { Cell::new(0) };
}

fn is_here() -> bool {
    HERE.try_with(Cell::get).is_ok_and(|count| count > 0)
}

/// While it lives, this thread does the pool's work itself, in the pool's floating-point state.
struct Here {
    outside: FloatState,
}

impl Here {
    fn enter() -> Here {
        let _ = HERE.try_with(|count| count.set(count.get() + 1));
        let outside = FloatState::current();
        FloatState::DEFAULT.set();
        Here { outside }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.outside.set();
        let _ = HERE.try_with(|count| count.set(count.get() - 1));
    }
}

/// Threads that work may be shared out to from here.
pub fn current_num_threads() -> usize {
    match is_here() {
        true => 1,
        false => rayon::current_num_threads(),
    }
}

/// Both, at once where there are threads for it.
pub fn join<A: Send, B: Send>(
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B + Send,
) -> (A, B) {
    match is_here() {
        true => (first(), second()),
        false => rayon::join(first, second),
    }
}

/// Of these threads one call's share, where others are inside of the library too: threads that join each other's work and
/// find none waste their time.
pub fn share() -> usize {
    (current_num_threads() / INSIDE.count().max(1)).max(1)
}

/// Threads that work is shared out to, whether they run already or not.
pub fn num_threads() -> Result<usize> {
    Ok(workers()?.count)
}

/// Sets the number of threads that do the work; 0 takes what affinity and cgroup quota allow. Calls that are running finish
/// on the threads they have; threads that nobody needs any more end. Where some run, those that take their place start
/// now, and where they can't all goes on as before; else they start with the first work for them.
pub fn set_num_threads(count: usize) -> Result<()> {
    check_fork()?;
    if count > MAX_THREADS {
        return Err(Error::InvalidArgument(format!(
            "The number of threads is {count}; it must be at most {MAX_THREADS}, or 0 for as many as there are \
             processors."
        )));
    }
    let workers = Arc::new(Workers::new(count));
    if STARTED.count() > 0 {
        workers.pool()?;
    }
    published().replace(workers);
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn work_here_is_this_threads_alone() {
        let here = thread::current().id();
        let (ids, threads, floats) = run_here(|| {
            let of_both = join(|| thread::current().id(), || thread::current().id());
            let inner = run_here(|| thread::current().id()).unwrap();
            (
                [of_both.0, of_both.1, inner],
                (current_num_threads(), share()),
                FloatState::current(),
            )
        })
        .unwrap();
        assert_eq!(ids, [here; 3]);
        assert_eq!(threads, (1, 1));
        assert_eq!(floats, FloatState::DEFAULT);
        assert!(!is_here());
    }

    #[test]
    fn a_panic_gives_up_its_turn() {
        let outcome = std::panic::catch_unwind(|| run_here(|| panic!("a defect")));
        assert!(outcome.is_err() && !is_here());
        assert_eq!(run_here(|| 7), Ok(7));
    }

    #[test]
    fn turns_are_taken_one_after_another() {
        let running = std::sync::atomic::AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        run_here(|| {
                            use std::sync::atomic::Ordering::SeqCst;
                            assert_eq!(running.fetch_add(1, SeqCst), 0);
                            thread::yield_now();
                            running.fetch_sub(1, SeqCst);
                        })
                        .unwrap();
                    }
                });
            }
        });
    }

    #[test]
    fn a_pool_ends_also_where_one_of_its_threads_has_it_last() {
        let workers = Workers::new(3);
        let pool = workers.pool().unwrap().unwrap();
        assert_eq!(pool.install(rayon::current_num_threads), 3);
        drop(workers);
        let workers = Arc::new(Workers::new(2));
        let (go, wait) = channel();
        let (say, done) = channel();
        let last = workers.clone();
        workers.pool().unwrap().unwrap().spawn(move || {
            wait.recv().unwrap();
            drop(last);
            say.send(()).unwrap();
        });
        drop(workers);
        go.send(()).unwrap();
        done.recv().unwrap();
    }

    #[test]
    fn one_thread_needs_no_pool() {
        assert!(Workers::new(1).pool().unwrap().is_none());
        assert!((1..=MAX_THREADS).contains(&Workers::new(0).count));
    }
}
