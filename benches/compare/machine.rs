//! What the machine has to offer.

use std::fs;

/// Why a question that needs `bytes` cannot be asked, if so.
pub(crate) fn lacks(bytes: u64) -> Option<String> {
    // Where the system does not say, the question is asked.
    let free = available(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let mib = |bytes: u64| bytes >> 20;
    (free < bytes)
        .then(|| format!("it needs {} MiB of memory, {} MiB are available", mib(bytes), mib(free)))
}

/// The bytes that the system says are available.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let meminfo = "MemTotal:  24000 kB\nMemFree: 1 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(available(meminfo), Some(2 << 20));
        assert_eq!(available("MemFree: 1 kB\n"), None);
    }
}
