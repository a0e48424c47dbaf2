//! Numbers in tables.

/// A count with a comma every three digits.
pub(crate) fn count(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// Whole MiB, KiB or bytes.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..0x400 => format!("{bytes} B"),
        0x400..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!([64, 4096, 256 << 20].map(size), ["64 B", "4 KiB", "256 MiB"]);
        assert_eq!(count(10_000_000), "10,000,000");
    }
}
