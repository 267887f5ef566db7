//! How much memory there is, so that what can't fit is refused before it is asked for; and memory that is asked for in
//! such a way that a refusal is an error and not the end of the process, as it is with `vec!` and `collect`. Whatever
//! grows with a caller's input or with the model's size is asked for here.

use std::collections::HashMap;
use std::hash::Hash;

use nix::sys::resource::{Resource, getrlimit};
use once_cell::sync::OnceCell;

use crate::error::{Error, Result};

/// Makes room for `additional` more elements, with some to spare, as a vector grows.
///
/// # Errors
/// [`Error::OutOfMemory`]; so with all that follow.
pub fn reserve<T>(vector: &mut Vec<T>, additional: usize) -> Result<()> {
    let wanted = vector.len().saturating_add(additional);
    vector
        .try_reserve(additional)
        .map_err(|_| refused::<T>(wanted))
}

/// Makes room for one more entry of a map.
pub fn reserve_place<K: Eq + Hash, V>(map: &mut HashMap<K, V>) -> Result<()> {
    map.try_reserve(1)
        .map_err(|_| refused::<(K, V)>(map.len().saturating_mul(2)))
}

fn refused<T>(count: usize) -> Error {
    Error::OutOfMemory(format!(
        "The system has no {} bytes of memory for this call; give it less at once, or this process more.",
        count.saturating_mul(size_of::<T>())
    ))
}

/// An empty vector with room for `count` elements.
pub fn room<T>(count: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    vector
        .try_reserve_exact(count)
        .map_err(|_| refused::<T>(count))?;
    Ok(vector)
}

/// `count` zeros, of which the system gives each page when it is first written to: what is never reached, as most rows of
/// an embedding table's moments in a short run, takes no memory.
pub fn zeroed<T: bytemuck::Zeroable>(count: usize) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(count).map_err(|()| refused::<T>(count))
}

/// `count` times `value`.
pub fn filled<T: Copy>(value: T, count: usize) -> Result<Vec<T>> {
    let mut vector = room(count)?;
    vector.resize(count, value);
    Ok(vector)
}

/// A copy of numbers.
pub fn copied<T: Copy>(values: &[T]) -> Result<Vec<T>> {
    let mut vector = room(values.len())?;
    vector.extend_from_slice(values);
    Ok(vector)
}

/// A copy of a text.
pub fn text(text: &str) -> Result<String> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len())
        .map_err(|_| refused::<u8>(text.len()))?;
    copy.push_str(text);
    Ok(copy)
}

/// What the iterator gives, which tells how much that is; the first error ends it.
pub fn collected<T>(items: impl ExactSizeIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut vector = room(items.len())?;
    for item in items {
        // Room enough, unless the iterator told too little.
        reserve(&mut vector, 1)?;
        vector.push(item?);
    }
    Ok(vector)
}

/// Bytes of memory that this process could have at most: the machine's, or the cgroup's or the process's limit where one
/// of them is lower.
pub fn physical_bytes() -> usize {
    static BYTES: OnceCell<usize> = OnceCell::new();
    // A process can lower its own limit at any time; the others stay.
    let limit = getrlimit(Resource::RLIMIT_AS).map_or(u64::MAX, |(soft, _)| soft);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    (*BYTES.get_or_init(machine_and_cgroup)).min(limit)
}

fn machine_and_cgroup() -> usize {
    let machine = machine_bytes();
    match std::fs::read_to_string("/sys/fs/cgroup/memory.max") {
        Ok(text) => text
            .trim()
            .parse::<usize>()
            .map_or(machine, |limit| limit.min(machine)),
        Err(_) => machine,
    }
}

fn machine_bytes() -> usize {
    // MemTotal is in kibibytes. Where there is no /proc, only overflow is a limit.
    std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<usize>().ok()
        })
        .map_or(isize::MAX as usize, |kibibytes| {
            kibibytes.saturating_mul(1024)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_memory_holds_is_an_error() {
        for count in [usize::MAX, usize::MAX / 8, isize::MAX as usize / 8] {
            let error = room::<u64>(count).unwrap_err();
            assert!(matches!(error, Error::OutOfMemory(_)), "{error}");
            assert!(filled(0f32, count).is_err());
            assert!(zeroed::<f32>(count).is_err());
            assert!(reserve(&mut vec![1u64], count).is_err());
        }
        assert_eq!(filled(2u8, 3).unwrap(), [2, 2, 2]);
        assert_eq!(text("a\0b").unwrap(), "a\0b");
        assert_eq!(collected([Ok(1), Ok(2)].into_iter()).unwrap(), [1, 2]);
        let failing = [Ok(1), Err(Error::Data("no.".into()))].into_iter();
        assert_eq!(collected(failing), Err(Error::Data("no.".into())));
    }
}
