//! How much memory there is, so that what can't fit is refused before it is asked for.

/// Bytes of memory that this process could have at most: the machine's, or the cgroup's limit where that is lower.
pub fn physical_bytes() -> usize {
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
