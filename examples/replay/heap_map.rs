//! The map of a heap as rows of characters.

use console::style;

/// Cells in a row.
const WIDTH: usize = 64;
/// Rows.
const HEIGHT: usize = 4;

/// A cell that is empty, and cells that are full to an eighth, two eighths, and so on.
const LEVELS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Rows of characters, in the order of the addresses. On a terminal the sparse cells, which are
/// what compaction is about, are yellow and the full ones green.
pub(crate) fn rows(cells: &[f32]) -> Vec<String> {
    let shares = shrink(cells, WIDTH * HEIGHT);
    shares.chunks(WIDTH).map(|row| row.iter().map(|&share| cell(share)).collect()).collect()
}

/// The means of `count` groups of cells.
fn shrink(cells: &[f32], count: usize) -> Vec<f32> {
    let group = cells.len().div_ceil(count).max(1);
    let mean = |group: &[f32]| group.iter().sum::<f32>() / group.len() as f32;
    cells.chunks(group).map(mean).collect()
}

/// How full a cell is drawn: 0 only when it is empty, `LEVELS.len() - 1` at most.
fn level(share: f32) -> usize {
    let full = (LEVELS.len() - 1) as f32;
    (share.clamp(0.0, 1.0) * full).ceil() as usize
}

fn cell(share: f32) -> String {
    let level = level(share);
    let text = style(LEVELS[level]);
    let coloured = match level {
        0 => text.dim(),
        1..=4 => text.color256(221),
        5..=7 => text.color256(149),
        _ => text.color256(71),
    };
    coloured.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_drawn_empty_only_when_it_is() {
        assert_eq!([0.0, 0.001, 0.125, 0.5, 0.99, 1.0, 7.0].map(level), [0, 1, 1, 4, 8, 8, 8]);
    }

    #[test]
    fn the_map_is_shrunk_to_the_mean() {
        assert_eq!(shrink(&[0.0, 1.0, 0.5, 0.5], 2), [0.5, 0.5]);
        assert_eq!(shrink(&[0.25; 3], 2), [0.25; 2]);
        assert!(shrink(&[], 2).is_empty());
    }
}
