//! The figures as curves, in one picture.

use crate::Report;
use crate::sweep::Sweep;
use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::ops::Range;

const SIZE: (u32, u32) = (1240, 1750);
const COLUMNS: usize = 2;
/// Eight hues that stay apart for most eyes.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x14, 0x50, 0x8a),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x6b, 0x6b, 0x6b),
    RGBColor(0x99, 0x00, 0x33),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One curve: its name and points.
#[derive(Debug, Default)]
struct Curve {
    name: String,
    points: Vec<(f64, f64)>,
}

/// A diagram, both axes logarithmic.
#[derive(Debug)]
struct Panel {
    title: String,
    x: &'static str,
    y: &'static str,
    curves: Vec<Curve>,
}

/// Draws everything; the SVG.
pub(crate) fn draw(report: &Report) -> Result<String> {
    let panels = panels(report);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        let areas = root.split_evenly((panels.len().div_ceil(COLUMNS), COLUMNS));
        for (panel, area) in panels.iter().zip(&areas) {
            panel.draw(area).with_context(|| panel.title.clone())?;
        }
        root.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(svg)
}

fn panels(report: &Report) -> Vec<Panel> {
    let mut panels: Vec<Panel> = report.objects.iter().map(costs).collect();
    panels.push(Panel {
        title: "growth beyond cache misses: ours over the first reference".to_owned(),
        x: "live objects",
        y: "ratio",
        curves: report.objects.iter().flat_map(ratios).collect(),
    });
    panels.push(defragmentations(report));
    panels.extend(report.threads.iter().map(costs));
    let rows = report.stripes.stripes.iter().zip(&report.stripes.rows);
    panels.push(Panel {
        title: "replace, by stripes".to_owned(),
        x: "threads",
        y: "ns of a core",
        curves: rows
            .map(|(stripes, steps)| Curve {
                name: format!("stripes: {stripes}"),
                points: steps.iter().map(|step| (step.count as f64, step.median(0))).collect(),
            })
            .collect(),
    });
    panels
}

/// What an operation costs each contestant.
fn costs(sweep: &Sweep) -> Panel {
    let threads = sweep.of == "threads";
    let curve = |one: usize| Curve {
        name: sweep.contestants[one].to_owned(),
        points: sweep.steps.iter().map(|step| (step.count as f64, step.median(one))).collect(),
    };
    Panel {
        title: format!("{}, against {}", sweep.operation, sweep.of),
        x: if threads { "threads" } else { "live objects" },
        y: if threads { "ns of a core" } else { "ns" },
        curves: (0..sweep.contestants.len()).map(curve).collect(),
    }
}

/// Each of ours over the first reference.
fn ratios(sweep: &Sweep) -> Vec<Curve> {
    let curve = |one: usize| {
        let point = |step: &crate::sweep::Step| (step.count as f64, step.ratio(one, sweep.ours));
        Curve {
            name: format!("{}, {}", sweep.operation, sweep.contestants[one]),
            points: sweep.steps.iter().map(point).collect(),
        }
    };
    (0..sweep.ours).map(curve).collect()
}

/// A curve for each size of objects and share that was removed.
fn defragmentations(report: &Report) -> Panel {
    let mut curves: Vec<Curve> = Vec::new();
    for case in &report.defragmentations {
        let (size, removed) = (crate::table::size(case.object_bytes as u64), case.removed * 100.0);
        let name = format!("{size}, {removed:.0} % removed");
        let point = (case.moved_bytes() / f64::from(1 << 20), case.milliseconds());
        match curves.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve { name, points: vec![point] }),
        }
    }
    Panel { title: "a full defragmentation".to_owned(), x: "MiB moved", y: "ms", curves }
}

impl Panel {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let points = || self.curves.iter().flat_map(|curve| &curve.points).copied();
        let x = range(points().map(|point| point.0), 0);
        let y = range(points().map(|point| point.1), self.curves.len());
        let error = |error| anyhow!("{error}");
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 17))
            .margin(12)
            .x_label_area_size(38)
            .y_label_area_size(56)
            .build_cartesian_2d(x.log_scale(), y.log_scale())
            .map_err(error)?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .max_light_lines(0)
            .draw()
            .map_err(error)?;
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let line = LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2));
            let series = chart.draw_series(line.point_size(3)).map_err(error)?;
            series
                .label(&curve.name)
                .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .label_font(("sans-serif", 12))
            .draw()
            .map_err(error)
    }
}

/// From a little below the least value to above the largest, a decade at least. The names of the
/// curves are written at the top: each takes a share of the height.
fn range(values: impl Iterator<Item = f64>, names: usize) -> Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN_POSITIVE), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    let most = most.max(least * 10.0);
    least * 0.8..most * 1.2 * (most / least).powf(0.12 * names as f64)
}

/// A number for an axis.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.5, 20.0, 1000.0, 3e6].map(short), ["0.5", "20", "1k", "3M"]);
    }

    #[test]
    fn a_panel_names_its_curves() {
        let curve = Curve { name: "ours".to_owned(), points: vec![(1.0, 2.0), (10.0, 3.0)] };
        let (title, curves) = ("costs".to_owned(), vec![curve]);
        let panel = Panel { title, x: "objects", y: "ns", curves };
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (400, 300)).into_drawing_area();
            panel.draw(&root).expect("drawn");
            root.present().expect("written");
        }
        assert!(
            ["costs", "ours", "objects", "polyline"].iter().all(|it| svg.contains(it)),
            "{svg}"
        );
    }
}
