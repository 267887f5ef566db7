//! How kernels share their work out: in numbered pieces, among the team that their thread leads.
//!
//! A pass over many layers forms its team once ([`together`]); a kernel that is called by itself forms one for its own
//! pieces. Whose turn comes when is left to the threads, so that one that is held up holds up nobody else.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use super::sizes::sum;
use super::team::{MAX_PIECES, Team};
use crate::threads;

thread_local! {
    /// The team that this thread leads, while it has no pieces out.
    static TEAM: Cell<*const Team<'static>> = const { Cell::new(ptr::null()) };
}

/// Sets the thread's team, and the one before again when it is dropped, also where the work panics.
struct Led(*const Team<'static>);

impl Led {
    fn set(team: *const Team<'static>) -> Led {
        Led(TEAM.replace(team))
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        TEAM.set(self.0);
    }
}

/// Runs `work` with a team of the current pool's threads, which all kernels that it calls share. Inside of such work
/// it is a call like any other.
///
/// The team's workers do nothing else meanwhile: what is longer than some milliseconds goes in parts, so that others' work
/// gets its turn between them.
pub fn together<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if !TEAM.get().is_null() {
        return work();
    }
    Team::of(threads::current_num_threads(), |team| {
        let _led = Led::set(ptr::from_ref(team).cast());
        work()
    })
}

/// Calls `work` with each number below `count`, and returns when all calls have. The order is anyone's.
pub fn run(count: usize, work: impl Fn(usize) + Sync) {
    if count <= 1 {
        return (0..count).for_each(work);
    }
    together(|| share_out(count, &work));
}

/// The same inside of [`together`].
fn share_out(count: usize, work: impl Fn(usize) + Sync) {
    // A piece that shares work out by itself has no part in this team's rounds.
    let led = Led::set(ptr::null());
    // SAFETY: it was set by `together`, on this thread, which keeps the team until the work that called this returns.
    let team = unsafe { &*led.0 };
    let group = count.div_ceil(MAX_PIECES);
    team.run(count.div_ceil(group), |number| {
        (number * group..count.min((number + 1) * group)).for_each(&work);
    });
}

/// Where pieces of work write at the same time, each to elements of its own.
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(pub *mut T);

// SAFETY: it is an address; whoever writes through it says why no one else touches the same elements.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The address of an element.
    pub fn at(&self, place: usize) -> *mut T {
        self.0.wrapping_add(place)
    }
}

/// What is cut into numbered pieces, of which each goes to one call.
///
/// # Safety
/// Pieces of different numbers have nothing in common that one of them may write to.
pub unsafe trait Pieces: Sync {
    /// What a call gets.
    type Piece;

    /// How many there are.
    fn count(&self) -> usize;

    /// Piece `number`.
    ///
    /// # Safety
    /// The number is below the count, and no two pieces of one number are in use at once.
    unsafe fn piece(&self, number: usize) -> Self::Piece;
}

/// Calls `work` with every piece and its number.
pub fn for_each<P: Pieces>(pieces: P, work: impl Fn(usize, P::Piece) + Sync) {
    run(pieces.count(), |number| {
        // SAFETY: `run` gives each number below the count to one call.
        work(number, unsafe { pieces.piece(number) });
    });
}

/// What `work` makes of every piece, in their order.
pub fn map<P: Pieces, R: Send + Default + Clone>(
    pieces: P,
    work: impl Fn(P::Piece) -> R + Sync,
) -> Vec<R> {
    let mut results = vec![R::default(); pieces.count()];
    for_each(
        (pieces, chunks_mut(&mut results, 1)),
        |_, (piece, result)| result[0] = work(piece),
    );
    results
}

/// See [`chunks`].
pub struct Chunks<'a, T>(&'a [T], usize);

/// Slices of `size` numbers, the last one of what is left, as `slice::chunks` has them.
pub fn chunks<T: Sync>(values: &[T], size: usize) -> Chunks<'_, T> {
    Chunks(values, size.max(1))
}

// SAFETY: nobody writes to them.
unsafe impl<'a, T: Sync> Pieces for Chunks<'a, T> {
    type Piece = &'a [T];

    fn count(&self) -> usize {
        self.0.len().div_ceil(self.1)
    }

    unsafe fn piece(&self, number: usize) -> &'a [T] {
        let start = number * self.1;
        &self.0[start..self.0.len().min(start + self.1)]
    }
}

/// See [`chunks_mut`].
pub struct ChunksMut<'a, T> {
    start: *mut T,
    length: usize,
    size: usize,
    values: PhantomData<&'a mut [T]>,
}

/// The same to write to.
pub fn chunks_mut<T: Send>(values: &mut [T], size: usize) -> ChunksMut<'_, T> {
    ChunksMut {
        start: values.as_mut_ptr(),
        length: values.len(),
        size: size.max(1),
        values: PhantomData,
    }
}

// SAFETY: it only hands out pieces, which are slices of what may be sent, each to one thread at a time.
unsafe impl<T: Send> Sync for ChunksMut<'_, T> {}

// SAFETY: the slices of different numbers don't overlap.
unsafe impl<'a, T: Send> Pieces for ChunksMut<'a, T> {
    type Piece = &'a mut [T];

    fn count(&self) -> usize {
        self.length.div_ceil(self.size)
    }

    unsafe fn piece(&self, number: usize) -> &'a mut [T] {
        let start = number * self.size;
        let length = self.size.min(self.length - start);
        // SAFETY: inside the slice that this borrows for 'a, and by this function's contract nobody else has it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) }
    }
}

macro_rules! side_by_side {
    ($($kind:ident $field:tt),*) => {
        // SAFETY: as each of them.
        unsafe impl<$($kind: Pieces),*> Pieces for ($($kind,)*) {
            type Piece = ($($kind::Piece,)*);

            fn count(&self) -> usize {
                let count = self.0.count();
                assert!(true $(&& self.$field.count() == count)*, "they are cut alike");
                count
            }

            unsafe fn piece(&self, number: usize) -> Self::Piece {
                // SAFETY: by this function's contract; all have as many.
                unsafe { ($(self.$field.piece(number),)*) }
            }
        }
    };
}

side_by_side!(A 0, B 1);
side_by_side!(A 0, B 1, C 2);
side_by_side!(A 0, B 1, C 2, D 3, E 4);

/// See [`each_of`].
pub struct EachOf<P> {
    parts: Vec<P>,
    /// The number of each part's first piece, and of all.
    starts: Vec<usize>,
}

/// The pieces of all of these, one after another, each with the number of the one that it is of.
pub fn each_of<P: Pieces>(parts: Vec<P>) -> EachOf<P> {
    let mut starts = vec![0];
    let mut count = 0;
    for part in &parts {
        count = sum([count, part.count()]);
        starts.push(count);
    }
    EachOf { parts, starts }
}

// SAFETY: as each of them.
unsafe impl<P: Pieces> Pieces for EachOf<P> {
    type Piece = (usize, P::Piece);

    fn count(&self) -> usize {
        self.starts[self.parts.len()]
    }

    unsafe fn piece(&self, number: usize) -> Self::Piece {
        let part = self.starts.partition_point(|&start| start <= number) - 1;
        // SAFETY: the number is that part's, and each is asked for once.
        (part, unsafe {
            self.parts[part].piece(number - self.starts[part])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(work)
    }

    #[test]
    fn every_piece_goes_to_one_call_whatever_it_is_cut_from() {
        for threads in [1, 2, 5] {
            with_threads(threads, || {
                for (length, size) in [(0, 3), (1, 3), (10, 3), (9, 3), (200_000, 1)] {
                    let read: Vec<usize> = (0..length).collect();
                    let mut written = vec![0; length];
                    for_each(
                        (chunks(&read, size), chunks_mut(&mut written, size)),
                        |number, (read, written)| {
                            assert_eq!(read[0], number * size);
                            for (written, read) in written.iter_mut().zip(read) {
                                *written += read + 1;
                            }
                        },
                    );
                    assert!(written.iter().enumerate().all(|(i, &w)| w == i + 1));
                    let sums = map(chunks(&read, size), |part| part.iter().sum::<usize>());
                    let expected: Vec<usize> = read.chunks(size).map(|c| c.iter().sum()).collect();
                    assert_eq!(sums, expected);
                }
                let mut lists = [vec![0; 5], vec![], vec![0; 1], vec![0; 8]];
                let parts = lists.iter_mut().map(|list| chunks_mut(list, 2)).collect();
                for_each(each_of(parts), |number, (list, part)| {
                    part.fill(10 * list + number);
                });
                assert_eq!(
                    lists.concat(),
                    [0, 0, 1, 1, 2, 23, 34, 34, 35, 35, 36, 36, 37, 37]
                );
            });
        }
    }

    #[test]
    fn work_inside_of_work_is_done_and_a_team_is_left_by_a_panic() {
        for threads in [1, 3] {
            with_threads(threads, || {
                let done = AtomicUsize::new(0);
                together(|| {
                    together(|| {
                        run(7, |_| {
                            run(5, |_| {
                                done.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    });
                });
                assert_eq!(done.load(Ordering::Relaxed), 35);
                let outcome = std::panic::catch_unwind(|| {
                    together(|| run(9, |piece| assert!(piece != 4, "this one is bad")));
                });
                assert!(outcome.is_err());
                assert!(TEAM.get().is_null());
                run(3, |_| {
                    done.fetch_add(1, Ordering::Relaxed);
                });
                assert_eq!(done.load(Ordering::Relaxed), 38);
            });
        }
    }
}
