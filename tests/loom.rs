//! What threads share, in every order that their steps can come in: loom runs each model below once for each order that
//! the memory model allows, and fails where two touch the same memory unordered, where all wait, or where a check doesn't
//! hold. The models are made of the library's own sources, with loom's locks and atomics in the place of the standard
//! library's.
//!
//! What isn't modelled: fairness, of which loom knows nothing; the worker threads, which are rayon's; a fork, for which a
//! copy of the one number that a child looks at stands.

#[path = "../src/sync/exclusive.rs"]
mod exclusive;
#[allow(dead_code)]
#[path = "../src/capi/handle_table.rs"]
mod handle_table;
#[path = "../src/sync/in_process.rs"]
mod in_process;
#[path = "../src/sync/published.rs"]
mod published;
#[path = "../src/sync/turns.rs"]
mod turns;

/// In the place of the library's module of this name.
mod sync {
    pub mod primitives {
        pub use loom::sync::atomic::{AtomicBool, AtomicU64};
        pub use loom::sync::{Arc, Mutex, MutexGuard, RwLock};
    }
}

use std::sync::atomic::Ordering;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use loom::thread;

use exclusive::Exclusive;
use handle_table::HandleTable;
use in_process::InProcess;
use published::Published;
use turns::Turns;

/// Every order in which no thread is interrupted more often than this where it could go on: more than that takes hours,
/// and what goes wrong does so with fewer.
const INTERRUPTIONS: usize = 3;

fn try_all(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(INTERRUPTIONS);
    builder.check(model);
}

/// Memory of which loom notices where two use it unordered.
struct Watched<T>(UnsafeCell<T>);

// SAFETY: whoever reads or writes it at the same time as another writes is told by loom.
unsafe impl<T: Send> Sync for Watched<T> {}

impl<T: Copy> Watched<T> {
    fn new(value: T) -> Watched<T> {
        Watched(UnsafeCell::new(value))
    }

    fn get(&self) -> T {
        // SAFETY: see above.
        self.0.with(|value| unsafe { *value })
    }

    fn set(&self, new: T) {
        // SAFETY: see above.
        self.0.with_mut(|value| unsafe { *value = new });
    }
}

/// Values of a step's end, in two places: a half set has two steps in it.
struct Values([Watched<u64>; 2]);

impl Values {
    fn of(step: u64) -> Values {
        Values([Watched::new(step), Watched::new(step)])
    }

    fn fill(&self, step: u64) {
        self.0.iter().for_each(|place| place.set(step));
    }

    /// The step whose values these are.
    fn step(&self) -> u64 {
        let [first, second] = &self.0;
        assert_eq!(
            first.get(),
            second.get(),
            "half of one step's values and half of another's"
        );
        first.get()
    }
}

/// The trainer steps, and writes each set of values into the memory of the one before the last where nobody uses that
/// any more; two predict.
#[test]
fn predictions_see_whole_sets_of_values() {
    try_all(|| {
        let published = Arc::new(Published::new(Arc::new(Values::of(0))));
        let predicting = published.clone();
        let predictor = thread::spawn(move || {
            let first = predicting.get();
            let step = first.step();
            // As long as it is used it stays as it is, and what is taken later isn't older.
            let second = predicting.get().step();
            assert_eq!(first.step(), step);
            assert!(second >= step);
        });
        let mut spare = None;
        for step in 1..=3 {
            let next = spare.take().unwrap_or_else(|| Values::of(step));
            next.fill(step);
            let before = published.replace(Arc::new(next));
            assert_eq!(before.step(), step - 1);
            spare = Arc::try_unwrap(before).ok();
        }
        predictor.join().unwrap();
        assert_eq!(published.get().step(), 3);
    });
}

/// One at a time trains: what it changes without a lock of its own, the next one sees.
#[test]
fn one_at_a_time_trains() {
    try_all(|| {
        let training = Arc::new(Exclusive::new());
        let steps = Arc::new(Watched::new(0));
        let train = {
            let (training, steps) = (training.clone(), steps.clone());
            move || match training.take() {
                Some(_right) => {
                    steps.set(steps.get() + 1);
                    1
                }
                None => 0,
            }
        };
        let others = [thread::spawn(train.clone()), thread::spawn(train.clone())];
        let mine = train();
        let made: u64 = mine
            + others
                .map(|other| other.join().unwrap())
                .iter()
                .sum::<u64>();
        assert!(made >= 1);
        // Nobody kept it.
        let _right = training.take().unwrap();
        assert_eq!(steps.get(), made);
    });
}

/// A training call takes the state for each step, a save and an evaluation come in between, another training call is
/// turned away: nobody waits for ever, and whoever has the state has the values that belong to it.
#[test]
fn the_state_changes_hands_at_the_end_of_a_step() {
    struct Run {
        training: Exclusive,
        /// The step that was made last, and those which were evaluated.
        state: Turns<[u64; 2]>,
        values: Published<Values>,
    }

    fn train(run: &Run, steps: u64) -> bool {
        let Some(_right) = run.training.take() else {
            return false;
        };
        for _ in 0..steps {
            let mut state = run.state.lock().unwrap();
            state[0] += 1;
            run.values.replace(Arc::new(Values::of(state[0])));
        }
        // As an evaluation does: the values first, the state when it is done.
        let evaluated = run.values.get().step();
        let mut state = run.state.lock().unwrap();
        assert_eq!(state[0], evaluated);
        state[1] = evaluated;
        true
    }

    try_all(|| {
        let run = Arc::new(Run {
            training: Exclusive::new(),
            state: Turns::new([0, 0]),
            values: Published::new(Arc::new(Values::of(0))),
        });
        let (saving, trying) = (run.clone(), run.clone());
        let saver = thread::spawn(move || {
            let state = saving.state.lock().unwrap();
            assert_eq!(saving.values.get().step(), state[0]);
        });
        let other = thread::spawn(move || u64::from(train(&trying, 1)));
        let mine = 2 * u64::from(train(&run, 2));
        let made = mine + other.join().unwrap();
        saver.join().unwrap();
        assert!(made > 0);
        let state = run.state.lock().unwrap();
        assert_eq!(*state, [made, made]);
        assert_eq!(run.values.get().step(), made);
    });
}

const PARENT: u32 = 7;
const CHILD: u32 = 8;

/// A thread goes in and out while another one forks: where it was inside all the while, the child is told.
#[test]
fn a_child_sees_who_was_inside() {
    try_all(|| {
        let inside = Arc::new(InProcess(AtomicU64::new(0)));
        // Odd while the thread is surely inside.
        let moment = Arc::new(AtomicU64::new(0));
        let call = |inside: &InProcess, moment: &AtomicU64| {
            assert!(inside.enter(PARENT));
            moment.fetch_add(1, Ordering::AcqRel);
            moment.fetch_add(1, Ordering::AcqRel);
            inside.leave();
        };
        let (calling, at) = (inside.clone(), moment.clone());
        let caller = thread::spawn(move || call(&calling, &at));
        // Another that comes and goes, so that the number is changed by two at once.
        let other = {
            let inside = inside.clone();
            thread::spawn(move || {
                assert!(inside.enter(PARENT));
                inside.leave();
            })
        };
        // The fork: the child has a copy of the number.
        let before = moment.load(Ordering::Acquire);
        let copy = inside.0.load(Ordering::Acquire);
        let after = moment.load(Ordering::Acquire);
        let child = InProcess(AtomicU64::new(copy));
        let is_told = child.is_of_another(CHILD);
        let may_enter = child.enter(CHILD);
        assert_ne!(is_told, may_enter);
        if before == after && before % 2 == 1 {
            assert!(!may_enter, "what the other thread has locked stays locked");
        }
        caller.join().unwrap();
        other.join().unwrap();
        assert_eq!(inside.count(), 0);
        // Nobody is inside any more: a fork is nothing special then.
        assert!(InProcess(AtomicU64::new(inside.0.load(Ordering::Acquire))).enter(CHILD));
    });
}

/// What is behind a handle. Its end takes a while and may come back to the table.
struct Object {
    table: Arc<HandleTable<Object>>,
    ends: Arc<AtomicUsize>,
    value: Arc<Watched<u64>>,
}

impl Drop for Object {
    fn drop(&mut self) {
        self.table.look(1, |entry| assert!(entry.is_none()));
        // Whoever used it is done, or holds on to the value.
        self.ends.fetch_add(1, Ordering::Relaxed);
    }
}

/// One uses a handle, two free it, and one makes another: it is found whole or not at all, ends once, and its address is
/// not the new one's.
#[test]
fn a_handle_is_freed_while_it_is_used() {
    try_all(|| {
        let table = Arc::new(HandleTable::new());
        let ends = Arc::new(AtomicUsize::new(0));
        let insert = {
            let (table, ends) = (table.clone(), ends.clone());
            move |value| {
                let object = Object {
                    table: table.clone(),
                    ends: ends.clone(),
                    value: Arc::new(Watched::new(value)),
                };
                table.insert(object, None) as usize
            }
        };
        let old = insert(1);
        let using = table.clone();
        let user = thread::spawn(move || {
            let found = using.look(old, |entry| entry.map(|entry| entry.object.value.clone()));
            // Also after it was freed.
            found.is_none_or(|value| value.get() == 1)
        });
        let freeing = table.clone();
        let freer = thread::spawn(move || drop(freeing.remove(old, |_| true)));
        drop(table.remove(old, |_| true));
        let new = insert(2);
        assert_ne!(new, old);
        assert!(user.join().unwrap());
        freer.join().unwrap();
        assert_eq!(ends.load(Ordering::Relaxed), 1);
        assert!(table.look(old, |entry| entry.is_none()));
        // One of another kind isn't freed.
        assert!(
            table
                .remove(new, |object| object.value.get() == 1)
                .is_none()
        );
        drop(table.remove(new, |_| true));
        assert_eq!(ends.load(Ordering::Relaxed), 2);
    });
}

/// A call that meets a defect poisons the handle while others use and free it.
#[test]
fn a_poisoned_handle_is_known_to_who_comes_after() {
    try_all(|| {
        let table = Arc::new(HandleTable::new());
        let half_done = Arc::new(Watched::new(0));
        let handle = table.insert(half_done.clone(), None) as usize;
        let failing = table.clone();
        let failed = thread::spawn(move || {
            let (poisoned, object) = failing
                .look(handle, |entry| {
                    entry.map(|entry| (entry.poisoned.clone(), entry.object.clone()))
                })
                .unwrap();
            object.set(1);
            poisoned.store(true, Ordering::Release);
        });
        // Who finds it poisoned sees what was left half done.
        let poisoned = table
            .look(handle, |entry| {
                entry.map(|entry| entry.poisoned.load(Ordering::Acquire))
            })
            .unwrap();
        if poisoned {
            assert_eq!(half_done.get(), 1);
        }
        failed.join().unwrap();
        assert!(table.remove(handle, |_| true).is_some());
    });
}

/// `bert_trainer_cancel` takes no lock: the table may be held by the very thread that the signal interrupts.
#[test]
fn cancelling_waits_for_nobody() {
    try_all(|| {
        let table = Arc::new(HandleTable::new());
        let flag = Arc::new(AtomicBool::new(false));
        let trainer = table.insert((), Some(flag.clone()));
        let other = table.insert((), None) as usize;
        let address = trainer as usize;
        let freeing = table.clone();
        let freer = thread::spawn(move || freeing.remove(other, |()| true).is_some());
        table.look(address, |entry| {
            assert!(entry.is_some());
            // SAFETY: the trainer is freed below.
            unsafe { &*trainer }.cancel();
        });
        assert!(freer.join().unwrap());
        assert!(flag.load(Ordering::Relaxed));
        flag.store(false, Ordering::Relaxed);
        assert!(table.remove(address, |()| true).is_some());
        // SAFETY: a freed trainer's memory isn't given back until thousands of others are freed.
        unsafe { &*trainer }.cancel();
        assert!(!flag.load(Ordering::Relaxed));
    });
}
