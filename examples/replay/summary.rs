//! The report for people.

use std::fmt::{self, Write};

use bytesize::ByteSize;
use console::style;
use indicatif::HumanCount;

use crate::heap_map;
use crate::outcome::{Figures, Outcome, Report};

/// The whole summary.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _: fmt::Result = write_all(&mut text, report);
    text
}

fn write_all(out: &mut String, report: &Report) -> fmt::Result {
    for outcome in &report.traces {
        write_trace(out, outcome)?;
        writeln!(out)?;
    }
    if report.traces.len() > 1 {
        writeln!(out, "{}", style("all traces").bold())?;
        write_work(out, &report.total)?;
        write_memory(out, &report.total)?;
        writeln!(out)?;
    }
    Ok(())
}

fn write_trace(out: &mut String, outcome: &Outcome) -> fmt::Result {
    let figures = &outcome.figures;
    write!(out, "{}", style(&outcome.trace).bold().cyan())?;
    if !outcome.description.is_empty() {
        write!(out, "  {}", outcome.description)?;
    }
    writeln!(out)?;
    line(
        out,
        "heap",
        format_args!(
            "{}, {} placement, {}, {}, compaction {}",
            size(figures.capacity),
            outcome.policy,
            counted(outcome.threads as u64, "worker"),
            counted(outcome.readers as u64, "reader"),
            outcome.defragment,
        ),
    )?;
    line(
        out,
        "objects",
        format_args!(
            "{}, at most {} at a time, peak live {}",
            HumanCount(figures.objects),
            HumanCount(outcome.peak_objects),
            size(figures.peak_live_bytes),
        ),
    )?;
    write_work(out, figures)?;
    for note in &outcome.notes {
        line(out, "", format_args!("{}", style(note).red()))?;
    }
    let how = if outcome.measurement.report.is_some() { "defragmented fully" } else { "looked at" };
    line(
        out,
        "measured",
        format_args!(
            "{how} after {} records, where {} are live",
            HumanCount(outcome.measured.at),
            size(outcome.measured.live_bytes),
        ),
    )?;
    write_memory(out, figures)?;
    write_map(out, "before", &outcome.measurement.before.cells)?;
    if outcome.measurement.report.is_some() {
        write_map(out, "after", &outcome.measurement.after.cells)?;
    }
    Ok(())
}

/// What was done, checked and moved.
fn write_work(out: &mut String, figures: &Figures) -> fmt::Result {
    line(
        out,
        "replayed",
        format_args!(
            "{} records in {:.2} s, {:.1} million a second",
            HumanCount(figures.ops),
            figures.elapsed_s,
            figures.ops as f64 / figures.elapsed_s.max(f64::MIN_POSITIVE) / 1e6,
        ),
    )?;
    let mismatches = match figures.mismatches {
        0 => style("no mismatch".to_owned()).green(),
        1 => style("1 MISMATCH".to_owned()).red().bold(),
        count => style(format!("{} MISMATCHES", HumanCount(count))).red().bold(),
    };
    line(out, "checked", format_args!("{} times, {mismatches}", HumanCount(figures.verified)))?;
    if figures.failed_allocations > 0 {
        let failed =
            format!("{} allocations found no room", HumanCount(figures.failed_allocations));
        line(out, "failed", format_args!("{}", style(failed).red().bold()))?;
    }
    line(
        out,
        "moved",
        format_args!(
            "{}, {}, at {}/s, in {} of {:.1} ms together",
            counted(figures.moves, "block"),
            size(figures.moved_bytes),
            size(figures.moved_bytes_per_s() as u64),
            counted(figures.defragmentations, "defragmentation"),
            figures.defragment_s * 1e3,
        ),
    )
}

/// Resident memory and fragmentation around the measured defragmentation.
fn write_memory(out: &mut String, figures: &Figures) -> fmt::Result {
    let (before, after) = (figures.resident_before, figures.resident_after);
    let change = match before {
        0 => 0.0,
        _ => (after as f64 - before as f64) / before as f64 * 100.0,
    };
    line(
        out,
        "resident",
        format_args!("{} → {} ({change:+.0} %)", size(before), style(size(after)).bold()),
    )?;
    line(
        out,
        "fragmented",
        format_args!(
            "{:.1} % → {} of the free memory is outside its largest run",
            figures.fragmentation_before * 100.0,
            style(format!("{:.1} %", figures.fragmentation_after * 100.0)).bold(),
        ),
    )
}

fn write_map(out: &mut String, label: &str, cells: &[f32]) -> fmt::Result {
    for (index, row) in heap_map::rows(cells).iter().enumerate() {
        line(out, if index == 0 { label } else { "" }, format_args!("{row}"))?;
    }
    Ok(())
}

fn line(out: &mut String, label: &str, text: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(out, "  {}  {text}", style(format_args!("{label:<10}")).dim())
}

/// A number of things.
fn counted(count: u64, thing: &str) -> String {
    format!("{} {thing}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

/// A size with a unit.
pub(crate) fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}
