//! Tables of numbers.

/// Columns as wide as their widest cell, everything to the right.
pub(crate) fn aligned(head: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&head[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(head).chain(rows.iter().map(Vec::as_slice)) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text += "\n";
    }
    text
}

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
    fn columns_line_up() {
        let strings = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = aligned(&strings(["a", "×"]), &[strings(["100", "2"]), strings(["1", "×30"])]);
        assert_eq!(text, "  a    ×\n100    2\n  1  ×30\n");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!([64, 4096, 256 << 20].map(size), ["64 B", "4 KiB", "256 MiB"]);
        assert_eq!(count(10_000_000), "10,000,000");
    }
}
