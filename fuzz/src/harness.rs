//! What no input may bring about, whatever the target: a panic (also one that the library would catch), more than a
//! second of processor time, more than 1 GiB of memory at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Processor time of one input. Wall time would measure what else the machine does.
const MOST_TIME: Duration = Duration::from_secs(1);

/// Bytes that are allocated at once, touched or not.
const MOST_MEMORY: usize = 1 << 30;

/// Counts what is allocated, so that a length taken from the input unchecked shows although the system would give the
/// pages only when they are touched.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static IS_REPORTING: AtomicBool = AtomicBool::new(false);

impl Counting {
    fn add(size: usize) {
        let before = ALLOCATED.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) > MOST_MEMORY && !IS_REPORTING.swap(true, Ordering::Relaxed)
        {
            eprintln!(
                "{size} bytes are asked for beside {before}\n{}",
                Backtrace::force_capture()
            );
            std::process::abort();
        }
    }
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size());
        // SAFETY: the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Counting::add(layout.size());
        // SAFETY: the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the same contract.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        Counting::add(size);
        // SAFETY: the same contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Once, before the first input.
pub fn initialise() {
    // One worker: an input's time is then the same however many processors there are. The call also installs the
    // library's panic hook, which the one below goes on top of: what the library catches is a finding here.
    assert_eq!(bert::capi::bert_set_num_threads(1), bert::capi::BERT_OK);
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{info}\n{}", Backtrace::force_capture());
        std::process::abort();
    }));
}

/// Runs one input.
pub fn within_limits(run: impl FnOnce()) {
    let before = processor_time();
    run();
    let took = processor_time() - before;
    assert!(
        took <= MOST_TIME,
        "the input took {took:?} of processor time"
    );
}

/// Of all threads of this process.
fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the struct is writable; the clock is there on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
