//! Work that is shared out many times in a row, each time in pieces of microseconds: a pass over one sentence. Handing
//! each piece to the pool would cost as much as computing it, so the pool's workers join once and then take pieces from
//! a counter until the work is over.
//!
//! Nobody waits for a worker that has not come: whoever shares the work out does all of it alone if none is free. So two
//! calls at once get on with a core each.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Pieces of one round, at most: so many fit the ticket.
pub const MAX_PIECES: usize = (1 << 16) - 1;

/// Turns of waiting before the processor is offered to others: some ten microseconds.
const SPINS: u32 = 400;

/// A thread and the workers that share its work.
pub struct Team<'a> {
    shared: Option<&'a Shared>,
    members: usize,
}

/// What the members share.
#[derive(Default)]
struct Shared {
    /// The round's number (upper half), its pieces (16 bits) and the next one to take (16 bits). A member whose ticket is
    /// of an older round gets no piece.
    ticket: AtomicU64,
    /// Pieces of this round that are done.
    done: AtomicU32,
    /// The round's work: a function, and what it works on.
    work: AtomicPtr<()>,
    call: AtomicUsize,
    /// No more rounds come.
    is_over: AtomicBool,
    /// A piece panicked on a worker.
    has_panicked: AtomicBool,
}

/// Calls the work behind an address for one piece.
type Call = unsafe fn(*const (), usize);

/// # Safety
/// `work` is a live `F`.
unsafe fn call<F: Fn(usize) + Sync>(work: *const (), piece: usize) {
    // SAFETY: by this function's contract.
    unsafe { (*work.cast::<F>())(piece) }
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
            let (work, function) = (
                self.work.load(Ordering::Relaxed),
                self.call.load(Ordering::Relaxed),
            );
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
            // SAFETY: `function` was stored from a `Call`. The ticket was of this round when the piece was taken, and the
            // next round isn't begun, nor this one's work dropped, before the piece is done: so both are this round's and
            // live.
            let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
                let function = std::mem::transmute::<usize, Call>(function);
                function(work, next(ticket) as usize);
            }));
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
        }
    }

    /// Runs `work` with a team of up to `members` threads of the current pool.
    pub fn of<R: Send>(members: usize, work: impl FnOnce(&Team<'_>) -> R + Send) -> R {
        if members <= 1 {
            return work(&Team::alone());
        }
        let shared = Shared::default();
        let shared = &shared;
        rayon::scope(|scope| {
            for _ in 1..members {
                scope.spawn(|_| shared.help());
            }
            let _over = Over(shared);
            work(&Team {
                shared: Some(shared),
                members,
            })
        })
    }

    /// Threads that may take part.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Calls `work` with each number below `count`, and returns when all calls have. The order is anyone's.
    pub fn run<F: Fn(usize) + Sync>(&self, count: usize, work: F) {
        let shared = match self.shared {
            Some(shared) if (2..=MAX_PIECES).contains(&count) => shared,
            _ => return (0..count).for_each(work),
        };
        let function: Call = call::<F>;
        shared.work.store(
            std::ptr::from_ref(&work).cast_mut().cast(),
            Ordering::Relaxed,
        );
        shared.call.store(function as usize, Ordering::Relaxed);
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
        if shared.has_panicked.load(Ordering::Relaxed) {
            resume_unwind(Box::new("a piece of shared work panicked"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

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
        let after = pool.install(|| Team::of(3, |team| team.members()));
        assert_eq!(after, 3);
    }
}
