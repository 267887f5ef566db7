//! How much memory there is, so that what can't fit is refused before it is asked for; and memory that is asked for in
//! such a way that a refusal is an error and not the end of the process, as it is with `vec!` and `collect`. Whatever
//! grows with a caller's input or with the model's size is asked for here.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use nix::sys::resource::{Resource, getrlimit};

use crate::cgroups::System;
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

/// The most memory that this process could have, and what says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Most {
    /// In bytes.
    pub bytes: usize,
    by: By,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Machine,
    Cgroup(PathBuf),
    AddressSpace,
}

/// As a sentence goes on with it: the bytes, and what sets the limit.
impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, ", self.bytes)?;
        match &self.by {
            By::Machine => write!(f, "all of this machine's memory"),
            By::Cgroup(file) => write!(f, "the limit of its control group in {}", file.display()),
            By::AddressSpace => write!(f, "its limit of address space (RLIMIT_AS)"),
        }
    }
}

impl Most {
    /// The machine's memory, or a limit where one is lower.
    pub fn now() -> Most {
        let most = Most::of(System::here(), machine_bytes());
        let limit = address_space();
        if limit < most.bytes {
            return Most {
                bytes: limit,
                by: By::AddressSpace,
            };
        }
        most
    }

    /// That of a machine and of this process's cgroups on it. What they use already isn't taken off: much of it is the cache
    /// of files, which the system gives up for what is asked for, and nothing tells how much.
    fn of(system: System<'_>, machine: usize) -> Most {
        let limit = system.memory_limit();
        let limit = limit.and_then(|limit| Some((usize::try_from(limit.bytes).ok()?, limit.file)));
        match limit {
            Some((bytes, file)) if bytes < machine => Most {
                bytes,
                by: By::Cgroup(file),
            },
            _ => Most {
                bytes: machine,
                by: By::Machine,
            },
        }
    }
}

/// What is asked for again and again is held against what was found in this process before: a limit that is lowered
/// later is the system's to enforce. A forked child may have been put into another cgroup.
static FOUND: AtomicUsize = AtomicUsize::new(0);
static FOUND_IN: AtomicU32 = AtomicU32::new(0);

/// Refuses what needs so many bytes where this process can't have them; `sentence` gets how many it can.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn check(bytes: u128, sentence: impl FnOnce(&Most) -> String) -> Result<()> {
    let process = std::process::id();
    // A process can lower its own limit at any time.
    if FOUND_IN.load(Ordering::Acquire) == process
        && bytes <= FOUND.load(Ordering::Relaxed).min(address_space()) as u128
    {
        return Ok(());
    }
    // A limit may have been raised: nothing is refused for an old one.
    let most = Most::now();
    FOUND.store(most.bytes, Ordering::Relaxed);
    FOUND_IN.store(process, Ordering::Release);
    if bytes <= most.bytes as u128 {
        return Ok(());
    }
    Err(Error::OutOfMemory(sentence(&most)))
}

/// What this process has limited its own address space to.
fn address_space() -> usize {
    let limit = getrlimit(Resource::RLIMIT_AS).map_or(u64::MAX, |(soft, _)| soft);
    usize::try_from(limit).unwrap_or(usize::MAX)
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

    #[test]
    fn what_this_process_can_never_have_is_refused_with_what_sets_the_limit() {
        assert_eq!(check(1, |_| String::new()), Ok(()));
        let most = Most::now();
        assert!(most.bytes > 0 && most.bytes <= machine_bytes());
        for bytes in [most.bytes as u128 + 1, u128::MAX] {
            let error = check(bytes, |most| format!("It can have {most}.")).unwrap_err();
            assert_eq!(error, Error::OutOfMemory(format!("It can have {most}.")));
        }
    }

    #[test]
    fn a_cgroup_counts_where_it_has_less_than_the_machine() {
        let root = tempfile::tempdir().unwrap();
        let limit = root.path().join("sys/fs/cgroup/memory.max");
        std::fs::create_dir_all(limit.parent().unwrap()).unwrap();
        let of = |text: &str| {
            std::fs::write(&limit, text).unwrap();
            Most::of(System::below(root.path()), 5000)
        };
        let of_machine = Most {
            bytes: 5000,
            by: By::Machine,
        };
        for text in ["max", "5000", "6000", "oddity"] {
            assert_eq!(of(text), of_machine, "{text}");
        }
        let least = of("4000");
        assert_eq!(least.bytes, 4000);
        assert!(least.to_string().ends_with("/sys/fs/cgroup/memory.max"));
        assert_eq!(
            of_machine.to_string(),
            "5000 bytes, all of this machine's memory"
        );
    }
}
