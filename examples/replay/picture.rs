//! The picture of the heaps before and after the measured defragmentation, as SVG.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use svg::Document;
use svg::node::element::path::Data;
use svg::node::element::{Group, Path as Shape, Rectangle, Text, Title};

use crate::measure::Snapshot;
use crate::outcome::{Outcome, Report};
use crate::summary::size;

/// Cells in a row of a map.
const COLUMNS: usize = 64;
/// Distance between two cells, and the width of one.
const PITCH: f32 = 7.0;
const CELL: f32 = 6.0;
const MAP_WIDTH: f32 = COLUMNS as f32 * PITCH;
const MAP_HEIGHT: f32 = 16.0 * PITCH;
const MARGIN: f32 = 32.0;
const GAP: f32 = 40.0;
const WIDTH: f32 = 2.0 * MARGIN + 2.0 * MAP_WIDTH + GAP;
const HEAD: f32 = 76.0;
/// Height of one trace: two lines of text, the captions and the maps.
const PANEL: f32 = 62.0 + MAP_HEIGHT + 34.0;
const FOOT: f32 = 52.0;

/// From an empty cell to a full one.
const COLOURS: [&str; 9] = [
    "#eceff3", "#fde2b3", "#fccf82", "#f5b95a", "#9fc7b5", "#74aeb4", "#4c90ac", "#2c6f9c",
    "#14508a",
];
const INK: &str = "#1f2933";
const FAINT: &str = "#5f6b7a";

/// A file that the picture will be written to.
pub(crate) struct PictureFile {
    path: PathBuf,
    file: File,
    /// The file is new, and goes away again when nothing is written to it.
    remove: bool,
}

impl PictureFile {
    /// Opens the file without changing what it holds.
    pub(crate) fn open(path: &Path) -> Result<PictureFile> {
        let existed = path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("cannot write the picture {}", path.display()))?;
        Ok(PictureFile { path: path.to_owned(), file, remove: !existed })
    }

    /// Replaces what the file holds.
    pub(crate) fn write(mut self, picture: &Document) -> Result<()> {
        self.remove = false;
        let written = self.file.rewind().and_then(|()| {
            self.file.write_all(picture.to_string().as_bytes())?;
            let length = self.file.stream_position()?;
            self.file.set_len(length)
        });
        written.with_context(|| format!("cannot write the picture {}", self.path.display()))
    }
}

impl Drop for PictureFile {
    fn drop(&mut self) {
        if self.remove {
            // The run has failed already; an empty file left behind would be a nuisance only.
            let _: std::io::Result<()> = fs::remove_file(&self.path);
        }
    }
}

/// Draws every trace of the report.
pub(crate) fn draw(report: &Report) -> Document {
    let height = HEAD + PANEL * report.traces.len() as f32 + FOOT;
    let mut document = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("font-family", "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif")
        .set("role", "img")
        .add(Title::new("Heaps before and after a defragmentation"))
        .add(Rectangle::new().set("width", "100%").set("height", "100%").set("fill", "#ffffff"))
        .add(
            text(MARGIN, 40.0, 20.0, INK, "Heaps before and after a defragmentation")
                .set("font-weight", "600"),
        )
        .add(text(MARGIN, 61.0, 12.0, FAINT, TEXT));
    for (index, outcome) in report.traces.iter().enumerate() {
        document = document.add(panel(outcome, HEAD + PANEL * index as f32));
    }
    document.add(legend(height - FOOT + 12.0))
}

const TEXT: &str = "Each cell is a stretch of the buffer, in the order of addresses, row by row. \
                    Reader threads kept checking the objects meanwhile.";

/// One trace: its name, its figures and two maps.
fn panel(outcome: &Outcome, top: f32) -> Group {
    let figures = &outcome.figures;
    let facts = format!(
        "{} placement, {} heap, {} live after {} records; {} blocks moved in all, {} checks, {} \
         mismatches",
        outcome.policy,
        size(figures.capacity),
        size(outcome.measured.live_bytes),
        indicatif::HumanCount(outcome.measured.at),
        indicatif::HumanCount(figures.moves),
        indicatif::HumanCount(figures.verified),
        figures.mismatches,
    );
    let (left, right) = (MARGIN, MARGIN + MAP_WIDTH + GAP);
    let measurement = &outcome.measurement;
    Group::new()
        .set("transform", format!("translate(0 {top})"))
        .add(text(MARGIN, 14.0, 15.0, INK, &outcome.trace).set("font-weight", "600"))
        .add(text(MARGIN, 32.0, 12.0, FAINT, &facts))
        .add(map("before", &measurement.before, left))
        .add(map("after", &measurement.after, right))
}

/// One map with its caption.
fn map(label: &str, snapshot: &Snapshot, left: f32) -> Group {
    let caption = format!(
        "{label}: {} resident, fragmentation {:.1} %",
        size(snapshot.resident),
        snapshot.fragmentation * 100.0,
    );
    let mut shapes = vec![Data::new(); COLOURS.len()];
    for (index, &share) in snapshot.cells.iter().enumerate() {
        let (row, column) = (index / COLUMNS, index % COLUMNS);
        let shape = &mut shapes[level(share)];
        *shape = std::mem::take(shape)
            .move_to((column as f32 * PITCH, row as f32 * PITCH))
            .horizontal_line_by(CELL)
            .vertical_line_by(CELL)
            .horizontal_line_by(-CELL)
            .close();
    }
    let mut cells = Group::new().set("transform", "translate(0 62)");
    for (shape, colour) in shapes.into_iter().zip(COLOURS).filter(|(shape, _)| !shape.is_empty()) {
        cells = cells.add(Shape::new().set("fill", colour).set("d", shape));
    }
    Group::new()
        .set("transform", format!("translate({left} 0)"))
        .add(text(0.0, 54.0, 13.0, INK, &caption))
        .add(cells)
}

fn legend(top: f32) -> Group {
    let mut group = Group::new().set("transform", format!("translate({MARGIN} {top})"));
    let mut left = 0.0;
    group = group.add(text(left, 11.0, 12.0, FAINT, "empty"));
    left += 44.0;
    for colour in COLOURS {
        let swatch = Rectangle::new().set("x", left).set("width", 20).set("height", 12);
        group = group.add(swatch.set("fill", colour));
        left += 22.0;
    }
    group.add(text(left + 6.0, 11.0, 12.0, FAINT, "full"))
}

fn text(x: f32, y: f32, font_size: f32, colour: &str, content: &str) -> Text {
    Text::new(content).set("x", x).set("y", y).set("font-size", font_size).set("fill", colour)
}

/// Index of the colour: 0 only for an empty cell.
fn level(share: f32) -> usize {
    let full = (COLOURS.len() - 1) as f32;
    (share.clamp(0.0, 1.0) * full).ceil() as usize
}
