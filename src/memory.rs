//! How much memory there is, so that what can't fit is refused before it is asked for.

use nix::sys::resource::{Resource, getrlimit};
use once_cell::sync::OnceCell;

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
