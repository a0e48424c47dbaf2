//! Resident size over time: a panel a scenario, a line an allocator.

use crate::Group;
use crate::options::Allocator;
use crate::outcome::Outcome;
use anyhow::{Context, Result, anyhow};
use benches::footprint::report::{Point, Report};
use plotters::coord::Shift;
use plotters::prelude::*;

const COLUMNS: usize = 3;
/// Of a panel.
const SIZE: (u32, u32) = (440, 310);
const MIB: f64 = (1 << 20) as f64;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn colour(allocator: Allocator) -> RGBColor {
    match allocator {
        Allocator::Ours => RGBColor(0x14, 0x50, 0x8a),
        Allocator::Glibc => RGBColor(0xd5, 0x5e, 0x00),
        Allocator::Jemalloc => RGBColor(0x00, 0x9e, 0x73),
        Allocator::Mimalloc => RGBColor(0xcc, 0x79, 0xa7),
    }
}

/// Draws the last round of every scenario that has a course; the SVG.
pub(crate) fn draw(groups: &[Group]) -> Result<String> {
    let drawn: Vec<_> = groups.iter().filter(|group| group.scenario.fits_any_allocator()).collect();
    let (columns, rows) = (drawn.len().clamp(1, COLUMNS), drawn.len().div_ceil(COLUMNS).max(1));
    let size = (SIZE.0 * columns as u32, SIZE.1 * rows as u32);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        for (group, area) in drawn.iter().zip(root.split_evenly((rows, columns))) {
            panel(group, &area).with_context(|| group.scenario.to_string())?;
        }
        root.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(svg)
}

fn panel(group: &Group, area: &Area<'_>) -> Result<()> {
    let reports = || group.outcomes.iter().filter_map(|outcome| outcome.reports.last());
    let points = || reports().flat_map(|report| &report.curve);
    let seconds = points().map(|point| point.at_s).fold(1e-3, f64::max);
    let mib = points().map(|point| point.bytes as f64 / MIB).fold(1e-3, f64::max);
    let payload = reports().map(|report| report.peak_live_bytes).max().unwrap_or(0) as f64 / MIB;
    let error = |error| anyhow!("{error}");
    let mut chart = ChartBuilder::on(area)
        .caption(group.scenario.to_string(), ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(48)
        // The names of the lines are written at the top.
        .build_cartesian_2d(0.0..seconds, 0.0..mib * 1.35)
        .map_err(error)?;
    chart
        .configure_mesh()
        .x_desc("seconds")
        .y_desc("MiB")
        .max_light_lines(0)
        .draw()
        .map_err(error)?;
    let most = LineSeries::new([(0.0, payload), (seconds, payload)], BLACK.mix(0.4));
    let series = chart.draw_series(most).map_err(error)?;
    series
        .label("most payload")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLACK.mix(0.4)));
    for Outcome { allocator, reports, .. } in &group.outcomes {
        let Some(report) = reports.last() else { continue };
        let colour = colour(*allocator);
        let at = |point: &Point| (point.at_s, point.bytes as f64 / MIB);
        let line = LineSeries::new(report.curve.iter().map(at), colour.stroke_width(2));
        let series = chart.draw_series(line).map_err(error)?;
        series
            .label(allocator.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        let marks = stages(report).map(|point| Circle::new(at(&point), 3, colour.filled()));
        chart.draw_series(marks).map_err(error)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .label_font(("sans-serif", 12))
        .draw()
        .map_err(error)
}

/// Where the stages ended.
fn stages(report: &Report) -> impl Iterator<Item = Point> {
    let sizes = [&report.deleted, &report.defragmented, &report.end, &report.settled];
    let sizes = sizes.into_iter().flatten().map(|checkpoint| checkpoint.grown_bytes);
    report.stages.iter().zip(sizes).map(|(at_s, bytes)| Point { at_s: *at_s, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::example;
    use benches::footprint::scenario::Scenario;

    #[test]
    fn a_panel_for_each_scenario_and_a_line_for_each_allocator() {
        let group = |scenario: Scenario| {
            let outcome = |allocator| example(scenario, allocator);
            Group { scenario, outcomes: Allocator::ALL.into_iter().map(outcome).collect() }
        };
        let svg = draw(&[Scenario::W3, Scenario::R1, Scenario::H1].map(group)).unwrap();
        for name in ["W3", "R1", "ours", "glibc", "jemalloc", "mimalloc", "seconds", "MiB"] {
            assert!(svg.contains(name), "{name}");
        }
        assert!(!svg.contains("H1"));
        // Nothing to draw is no error.
        assert!(draw(&[group(Scenario::H1)]).is_ok());
    }
}
