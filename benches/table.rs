//! Tables for people.

use comfy_table::{CellAlignment, Table, presets};

/// Columns as wide as their widest cell, all but the first `labels` to the right.
#[must_use]
pub fn aligned<H: AsRef<str>>(head: &[H], rows: &[Vec<String>], labels: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.iter().map(AsRef::as_ref));
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(labels) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["100", "2"], ["é", "×30"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&["a", "×"], &rows, 0), "   a    ×\n 100    2\n   é  ×30\n");
        assert_eq!(aligned(&["a", "×"], &rows, 1), " a      ×\n 100    2\n é    ×30\n");
    }
}
