//! The quantiles of the latencies as curves: how long is the worst read of so many?

use crate::report::{Report, pace};
use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (900, 1100);
const COLOURS: [RGBColor; 3] =
    [RGBColor(0x14, 0x50, 0x8a), RGBColor(0xd5, 0x5e, 0x00), RGBColor(0x00, 0x9e, 0x73)];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A curve: its name, and for one of how many reads the latency that it reaches.
type Curve = (String, Vec<(f64, f64)>);

/// Draws everything; the SVG.
pub(crate) fn draw(report: &Report) -> Result<String> {
    let mut panels: Vec<(String, Vec<Curve>)> = Vec::new();
    for outcome in &report.readers {
        let curves = outcome.scenes.iter();
        let curves =
            curves.map(|(scene, sifted)| (scene.name().to_owned(), points(&sifted.net))).collect();
        panels.push((format!("reads at {}: ns", pace(outcome.pace)), curves));
    }
    if let Some(budgets) = &report.budgets {
        let curves = vec![
            ("without waits for a core".to_owned(), points(&budgets.net)),
            ("raw".to_owned(), points(&budgets.raw)),
        ];
        panels.push(("passes of 500 µs: ns beyond the budget".to_owned(), curves));
    }
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        for ((title, curves), area) in
            panels.iter().zip(root.split_evenly((panels.len().max(1), 1)))
        {
            panel(title, curves, &area).with_context(|| title.clone())?;
        }
        root.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(svg)
}

fn points(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let most = histogram.len().max(2) as f64;
    let steps = (0..).map(|step| 10_f64.powf(f64::from(step) / 8.0));
    let steps = steps.skip(1).take_while(|of| *of <= most);
    steps.map(|of| (of, histogram.value_at_quantile(1.0 - 1.0 / of) as f64)).collect()
}

fn panel(title: &str, curves: &[Curve], area: &Area<'_>) -> Result<()> {
    let values = || curves.iter().flat_map(|curve| &curve.1);
    let most = values().map(|point| point.0).fold(10.0, f64::max);
    let (low, high) = values()
        .fold((f64::MAX, 10.0_f64), |(low, high), point| (low.min(point.1), high.max(point.1)));
    let low = low.clamp(1.0, high / 10.0);
    let error = |error| anyhow!("{error}");
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(38)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..most).log_scale(), (low..high * 2.0).log_scale())
        .map_err(error)?;
    chart.configure_mesh().x_desc("one of so many").max_light_lines(0).draw().map_err(error)?;
    for ((name, points), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        let series = chart.draw_series(line).map_err(error)?;
        series
            .label(name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .draw()
        .map_err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_names_its_curves() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 2).expect("valid bounds");
        (1..1000).for_each(|value| histogram.record(value).expect("in bounds"));
        assert!(points(&Histogram::new(2).expect("valid")).is_empty());
        let points = points(&histogram);
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) && points.len() > 10);
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (400, 300)).into_drawing_area();
            panel("reads", &[("ours".to_owned(), points)], &root).expect("drawn");
            root.present().expect("written");
        }
        assert!(["reads", "ours", "polyline"].iter().all(|it| svg.contains(it)), "{svg}");
    }
}
