//! Work that is shared out many times in a row, each time in pieces of microseconds: a pass over one sentence. Handing
//! each piece to the pool would cost as much as computing it, so the pool's workers join once and then take pieces from
//! a counter until the work is over.
//!
//! Nobody waits for a worker that has not come: whoever shares the work out does all of it alone if none is free. So two
//! calls at once get on with a core each.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Pieces of one round, at most: so many fit the ticket.
pub const MAX_PIECES: usize = (1 << 16) - 1;

/// Turns of waiting before the processor is offered to others: some ten microseconds.
const SPINS: u32 = 400;

thread_local! {
    /// Whether this thread leads a team, or is on a piece of one's work.
    static IS_TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// Makes this thread a taken one, and what it was before again when it is dropped, also where the work panics.
struct Taken(bool);

impl Taken {
    fn take() -> Taken {
        Taken(IS_TAKEN.replace(true))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        IS_TAKEN.set(self.0);
    }
}

/// A thread and the workers that share its work. It belongs to the thread that leads it: a round has its place in what the
/// members share, and there is one.
pub struct Team<'a> {
    shared: Option<&'a Shared>,
    members: usize,
    /// A round is on. A cell, so that no other thread can get at the team: `Team` isn't `Sync`.
    is_running: Cell<bool>,
}

/// Doesn't compile if `Team` is `Sync`: then both of these are its, and which one is meant isn't known.
const _: () = {
    trait NotSync<Which> {
        const IS_KNOWN: () = ();
    }
    struct AndSync;
    impl<T> NotSync<()> for T {}
    impl<T: Sync> NotSync<AndSync> for T {}
    <Team<'static> as NotSync<_>>::IS_KNOWN
};

/// A round's work, in the frame of the call that waits for the round's end.
type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// What the members share.
#[derive(Default)]
struct Shared {
    /// The round's number (upper half), its pieces (16 bits) and the next one to take (16 bits). A member whose ticket is
    /// of an older round gets no piece.
    ticket: AtomicU64,
    /// Pieces of this round that are done.
    done: AtomicU32,
    /// The round's work.
    work: AtomicPtr<Work<'static>>,
    /// No more rounds come.
    is_over: AtomicBool,
    /// A piece panicked on a worker.
    has_panicked: AtomicBool,
}

fn pieces(ticket: u64) -> u64 {
    ticket >> 16 & 0xffff
}

fn next(ticket: u64) -> u64 {
    ticket & 0xffff
}

/// Waits for a moment; longer the more often it is called.
fn pause(turn: &mut u32) {
    if *turn < SPINS {
        *turn += 1;
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

impl Shared {
    /// Takes pieces of the round that is on, until there are none. True if there was one.
    fn take_pieces(&self) -> bool {
        let mut has_worked = false;
        loop {
            let ticket = self.ticket.load(Ordering::Acquire);
            if next(ticket) >= pieces(ticket) {
                return has_worked;
            }
            let work = self.work.load(Ordering::Relaxed);
            let taken = self.ticket.compare_exchange_weak(
                ticket,
                ticket + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if taken.is_err() {
                continue;
            }
            has_worked = true;
            let _taken = Taken::take();
            // SAFETY: the ticket was of this round when the piece was taken, and the call that began the round waits until
            // the piece is done: so this is the round's work, which is in that call's frame, and live.
            let work = unsafe { *work };
            let outcome = catch_unwind(AssertUnwindSafe(|| work(next(ticket) as usize)));
            if let Err(panic) = outcome {
                // A payload whose drop panics must not do so here.
                std::mem::forget(panic);
                self.has_panicked.store(true, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }

    /// What a worker does: takes part in every round until there are no more.
    fn help(&self) {
        let mut turn = 0;
        while !self.is_over.load(Ordering::Acquire) {
            if self.take_pieces() {
                turn = 0;
            } else {
                pause(&mut turn);
            }
        }
    }
}

/// Ends the workers' part, also where the work panics.
struct Over<'a>(&'a Shared);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
}

impl Team<'_> {
    /// One thread by itself.
    pub fn alone() -> Team<'static> {
        Team {
            shared: None,
            members: 1,
            is_running: Cell::new(false),
        }
    }

    /// Runs `work` with a team of up to `members` threads of the current pool; inside of a team's work, with this thread by
    /// itself. The members are busy there, and a thread that waits for members of its own might wait for one that waits for
    /// it.
    pub fn of<R: Send>(members: usize, work: impl FnOnce(&Team<'_>) -> R + Send) -> R {
        if members <= 1 || IS_TAKEN.get() {
            return work(&Team::alone());
        }
        let shared = Shared::default();
        let shared = &shared;
        rayon::scope(|scope| {
            for _ in 1..members {
                scope.spawn(|_| shared.help());
            }
            let _over = Over(shared);
            let _taken = Taken::take();
            work(&Team {
                shared: Some(shared),
                members,
                is_running: Cell::new(false),
            })
        })
    }

    /// Threads that may take part.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Calls `work` with each number below `count`, and returns when all calls have. The order is anyone's. Where the call
    /// comes from a round of this team, all its calls are on this thread.
    pub fn run<F: Fn(usize) + Sync>(&self, count: usize, work: F) {
        let shared = match self.shared {
            Some(shared) if (2..=MAX_PIECES).contains(&count) && !self.is_running.get() => shared,
            _ => return (0..count).for_each(work),
        };
        self.is_running.set(true);
        let work: Work<'_> = &work;
        shared
            .work
            .store(ptr::from_ref(&work).cast_mut().cast(), Ordering::Relaxed);
        shared.done.store(0, Ordering::Relaxed);
        let round = (shared.ticket.load(Ordering::Relaxed) >> 32).wrapping_add(1) & 0xffff_ffff;
        shared
            .ticket
            .store(round << 32 | (count as u64) << 16, Ordering::Release);
        shared.take_pieces();
        let mut turn = 0;
        while shared.done.load(Ordering::Acquire) < count as u32 {
            pause(&mut turn);
        }
        self.is_running.set(false);
        if shared.has_panicked.swap(false, Ordering::Relaxed) {
            resume_unwind(Box::new("a piece of shared work panicked"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread::{self, ThreadId};

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    }

    #[test]
    fn every_piece_of_every_round_is_done_once() {
        for threads in [1, 2, 3, 8] {
            pool(threads).install(|| {
                Team::of(threads, |team| {
                    for round in 0..2000 {
                        let count = round % 37;
                        let done: Vec<AtomicUsize> =
                            (0..count).map(|_| AtomicUsize::new(0)).collect();
                        team.run(count, |piece| {
                            done[piece].fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1));
                    }
                });
            });
        }
    }

    #[test]
    fn many_teams_at_once_need_no_more_threads_than_there_are() {
        let pool = pool(2);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let sum = AtomicUsize::new(0);
                        pool.install(|| {
                            Team::of(4, |team| {
                                for _ in 0..20 {
                                    team.run(9, |piece| {
                                        sum.fetch_add(piece, Ordering::Relaxed);
                                    });
                                }
                            });
                        });
                        assert_eq!(sum.into_inner(), 20 * 36);
                    }
                });
            }
        });
    }

    /// What cells for one thread make possible in safe code: the team is reached from inside of its own round.
    struct OnlyHere<'a>(&'a Team<'a>, ThreadId);

    // SAFETY: the thread that made it gets at the team, and no other.
    unsafe impl Sync for OnlyHere<'_> {}

    impl OnlyHere<'_> {
        fn get(&self) -> Option<&Team<'_>> {
            (thread::current().id() == self.1).then_some(self.0)
        }
    }

    #[test]
    fn a_round_inside_of_a_round_takes_nothing_from_it() {
        for threads in [1, 2, 4] {
            let inside = AtomicUsize::new(0);
            pool(threads).install(|| {
                Team::of(threads, |team| {
                    let here = OnlyHere(team, thread::current().id());
                    for _ in 0..200 {
                        let done: Vec<AtomicUsize> = (0..32).map(|_| AtomicUsize::new(0)).collect();
                        team.run(done.len(), |piece| {
                            done[piece].fetch_add(1, Ordering::Relaxed);
                            let Some(team) = here.get() else { return };
                            let sum = AtomicUsize::new(0);
                            team.run(9, |number| {
                                sum.fetch_add(number, Ordering::Relaxed);
                            });
                            assert_eq!(sum.into_inner(), 36);
                            inside.fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == 1));
                    }
                });
            });
            assert!(inside.into_inner() > 0);
        }
    }

    #[test]
    fn inside_of_a_team_a_team_is_one_thread() {
        let pool = pool(3);
        let members = || Team::of(3, |team| team.members());
        pool.install(|| {
            assert_eq!(members(), 3);
            Team::of(3, |team| {
                assert_eq!(members(), 1);
                team.run(16, |_| assert_eq!(members(), 1));
                assert_eq!(members(), 1);
            });
            let outcome = catch_unwind(|| Team::of(3, |_| panic!("its work fails")));
            assert!(outcome.is_err());
            assert_eq!(members(), 3);
        });
        // Nobody of them is taken any more.
        assert_eq!(pool.broadcast(|_| members()), [3; 3]);
    }

    #[test]
    fn a_panic_in_a_piece_reaches_the_caller_and_ends_the_team() {
        let pool = pool(3);
        for bad in 0..16 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.install(|| {
                    Team::of(3, |team| {
                        team.run(16, |piece| {
                            assert!(piece != bad, "this one is bad");
                        });
                    });
                });
            }));
            assert!(outcome.is_err());
        }
        // Another round of the same team isn't blamed for it.
        let sum = AtomicUsize::new(0);
        pool.install(|| {
            Team::of(3, |team| {
                let failing = AssertUnwindSafe(|| team.run(16, |_| panic!("all are bad")));
                assert!(catch_unwind(failing).is_err());
                team.run(16, |piece| {
                    sum.fetch_add(piece, Ordering::Relaxed);
                });
                assert_eq!(team.members(), 3);
            });
        });
        assert_eq!(sum.into_inner(), 120);
    }
}
