//! One region of memory for all packed weights of a model, in huge pages where the system has them to give: a pass over one
//! sentence reads every weight once, and with pages of 4 KiB it would wait for the page tables as much as for the
//! numbers.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::aligned::Plain;
use crate::error::{Error, Result};

/// Bytes of a huge page on the processors that have any.
const HUGE: usize = 2 << 20;

/// A slab begins at a line of the cache.
const LINE: usize = 64;

/// Memory that slabs are cut from; it goes back to the system with the last of them.
#[derive(Debug, Default)]
pub struct Arena {
    region: Option<Arc<Region>>,
    used: usize,
}

/// Pages of our own.
#[derive(Debug)]
struct Region {
    /// As the system gave it, and how many bytes.
    mapping: (NonNull<u8>, usize),
    /// Where slabs begin, and how many bytes there are for them.
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is memory that no thread has a special part in; who may read and write which part of it is the slabs' to say.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    fn new(bytes: usize) -> Result<Region> {
        let refused = || {
            Error::OutOfMemory(format!(
                "The system has no {bytes} bytes of memory for the model's packed weights; give this process more."
            ))
        };
        let is_large = bytes >= 2 * HUGE;
        let slack = if is_large { HUGE } else { 0 };
        let length = bytes.max(LINE).checked_add(slack).ok_or_else(refused)?;
        // SAFETY: a new mapping touches nothing that is there.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(refused());
        }
        let mapping = NonNull::new(mapping.cast::<u8>()).ok_or_else(refused)?;
        let offset = match is_large {
            true => mapping.addr().get().next_multiple_of(HUGE) - mapping.addr().get(),
            false => 0,
        };
        // SAFETY: the slack has room for the offset.
        let start = unsafe { mapping.add(offset) };
        #[cfg(target_os = "linux")]
        if is_large {
            // Where it is refused, small pages do. What isn't a whole huge page is left small.
            // SAFETY: inside the mapping; it is advice alone.
            unsafe {
                libc::madvise(
                    start.as_ptr().cast(),
                    bytes - bytes % HUGE,
                    libc::MADV_HUGEPAGE,
                );
            }
        }
        Ok(Region {
            mapping: (mapping, length),
            start,
            bytes: length - offset,
        })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let (mapping, length) = self.mapping;
        // SAFETY: it is this region's mapping, which nobody uses any more.
        unsafe {
            libc::munmap(mapping.as_ptr().cast(), length);
        }
    }
}

/// Bytes of one owner in an arena, zero at first; which numbers they are is for whoever uses them.
#[derive(Debug)]
pub struct Slab {
    /// Keeps the memory.
    _region: Arc<Region>,
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it owns its bytes, as a vector does.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

impl Arena {
    /// Room for `bytes`, which take no memory until they are written to; what needs more gets a region of its own.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(bytes: usize) -> Result<Arena> {
        Ok(Arena {
            region: Some(Arc::new(Region::new(bytes)?)),
            used: 0,
        })
    }

    /// Room for `count` numbers, all bytes zero.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn take<T: Plain>(&mut self, count: usize) -> Result<Slab> {
        let refused = || Error::OutOfMemory(format!("No system has memory for {count} weights."));
        let of_numbers = count.checked_mul(size_of::<T>()).ok_or_else(refused)?;
        let bytes = of_numbers
            .checked_next_multiple_of(LINE)
            .ok_or_else(refused)?;
        let region = match &self.region {
            Some(region) if region.bytes - self.used >= bytes => region.clone(),
            _ => {
                self.used = 0;
                let region = Arc::new(Region::new(bytes)?);
                self.region = Some(region.clone());
                region
            }
        };
        // SAFETY: so many bytes are left behind those that were given away.
        let start = unsafe { region.start.add(self.used) };
        self.used += bytes;
        Ok(Slab {
            _region: region,
            start,
            bytes: of_numbers,
        })
    }
}

impl Slab {
    /// All of it.
    pub fn slice<T: Plain>(&self) -> &[T] {
        let count = self.bytes / size_of::<T>();
        // SAFETY: these bytes are this slab's alone and initialised (zero or what was written); every pattern is a
        // number, and a line's beginning is aligned for any.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), count) }
    }

    /// All of it, to write to.
    pub fn slice_mut<T: Plain>(&mut self) -> &mut [T] {
        let count = self.bytes / size_of::<T>();
        // SAFETY: as in `slice`; it is borrowed by this call alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slabs_are_apart_aligned_zero_and_outlive_the_arena() {
        for room in [0, 100, 5 << 20] {
            let mut arena = Arena::new(room).unwrap();
            let counts = [1, 17, 0, 300_000, 900_000];
            let mut slabs = counts.map(|count| arena.take::<f32>(count).unwrap());
            let mut bytes = arena.take::<i8>(3).unwrap();
            drop(arena);
            bytes.slice_mut::<i8>().fill(-1);
            for (number, (slab, count)) in slabs.iter_mut().zip(counts).enumerate() {
                assert_eq!(slab.slice::<f32>().len(), count);
                assert_eq!(slab.slice::<f32>().as_ptr() as usize % LINE, 0);
                assert!(slab.slice::<f32>().iter().all(|&x| x == 0.0));
                slab.slice_mut::<f32>().fill(number as f32);
            }
            for (number, slab) in slabs.iter().enumerate() {
                assert!(slab.slice::<f32>().iter().all(|&x| x == number as f32));
            }
            assert_eq!(bytes.slice::<i8>(), [-1, -1, -1]);
        }
        assert!(Arena::new(usize::MAX).is_err());
        assert!(Arena::default().take::<f32>(usize::MAX / 2).is_err());
    }
}
