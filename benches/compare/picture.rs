//! The figures as bars, in SVG.

use crate::outcome::{Comparison, Outcome};
use crate::question::is_ours;
use crate::table::number;
use benches::statistics::Ratio;
use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Text, Title};

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 28.0;
/// Where bars begin, and the length of the longest.
const BARS: f64 = 250.0;
const BAR_MAX: f64 = 360.0;
const ROW: f64 = 20.0;
/// Height of a figure's title, and the room behind a figure.
const TITLE: f64 = 30.0;
const GAP: f64 = 26.0;
const HEAD: f64 = 80.0;

const INK: &str = "#1f2933";
const FAINT: &str = "#5f6b7a";
const OURS: &str = "#2c6f9c";
const PEER: &str = "#b8c4ce";
const MISSED: &str = "#b3261e";

const MARKS: &str = "Medians. A mark beside a peer is where our own bar has to end to meet the \
                     target; a mark at a gain is the target.";

/// A bar: its name, its length, and what stands behind it.
struct Bar<'o> {
    label: &'o str,
    value: f64,
    note: String,
    fill: &'static str,
    ink: &'static str,
    /// A mark at a value to be reached.
    mark: Option<f64>,
}

/// Draws every figure.
pub(crate) fn draw(outcomes: &[Outcome]) -> Document {
    let panels: Vec<_> = outcomes.iter().map(|outcome| (outcome, bars(outcome))).collect();
    let height =
        HEAD + panels.iter().map(|(_, bars)| TITLE + ROW * bars.len() as f64 + GAP).sum::<f64>();
    let mut document = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("font-family", "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif")
        .set("role", "img")
        .add(Title::new("Side by side with the peers"))
        .add(Rectangle::new().set("width", "100%").set("height", "100%").set("fill", "#ffffff"))
        .add(text(MARGIN, 34.0, 20.0, INK, "Side by side with the peers"))
        .add(text(MARGIN, 54.0, 12.0, FAINT, MARKS));
    let mut top = HEAD;
    for (outcome, bars) in panels {
        document = document.add(panel(outcome, &bars, top));
        top += TITLE + ROW * bars.len() as f64 + GAP;
    }
    document
}

/// The bars of a figure: times, ours first; or gains.
fn bars(outcome: &Outcome) -> Vec<Bar<'_>> {
    let peers = outcome.comparisons.iter().map(|comparison| bar(outcome.ratio, comparison));
    let ours = match (outcome.ratio, outcome.comparisons.first()) {
        (Ratio::Time, Some(Comparison { ours, ours_ns, .. })) => Some(Bar {
            label: ours,
            value: ours_ns.median,
            note: format!("{} ns", number(ours_ns.median)),
            fill: OURS,
            ink: INK,
            mark: None,
        }),
        _ => None,
    };
    ours.into_iter().chain(peers).collect()
}

fn bar(kind: Ratio, comparison: &Comparison) -> Bar<'_> {
    let Comparison { label, ours, peer_ns, ratio, target, .. } = comparison;
    let (value, what) = match kind {
        Ratio::Time => (peer_ns.median, format!("{} ns; ours / peer ", number(peer_ns.median))),
        Ratio::Speed => (ratio.median, String::new()),
    };
    let verdict = match (target, comparison.met()) {
        (Some(target), Some(true)) => format!(" (target {target}, met)"),
        (Some(target), _) => format!(" (target {target}, missed)"),
        (None, _) => String::new(),
    };
    let is_ours = kind == Ratio::Speed && is_ours(ours);
    Bar {
        label,
        value,
        note: format!("{what}{}{verdict}", number(ratio.median)),
        fill: if is_ours { OURS } else { PEER },
        ink: if comparison.met() == Some(false) { MISSED } else { INK },
        // Where our own bar ends when the target is just met; or this bar.
        mark: target.map(|target| match kind {
            Ratio::Time => target.limit() * peer_ns.median,
            Ratio::Speed => target.limit(),
        }),
    }
}

fn panel(outcome: &Outcome, bars: &[Bar<'_>], top: f64) -> Group {
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let what = match outcome.ratio {
        Ratio::Time => format!("ns a {}", outcome.unit),
        Ratio::Speed => "gain".to_owned(),
    };
    let title = format!("{} ({what})", outcome.figure);
    let mut group = Group::new()
        .set("transform", format!("translate(0 {top})"))
        .add(text(MARGIN, 14.0, 14.0, INK, &title).set("font-weight", "600"));
    for (place, bar) in bars.iter().enumerate() {
        let y = TITLE + ROW * place as f64;
        let end = |value: f64| BARS + value / longest * BAR_MAX;
        let mark = bar.mark.filter(|mark| *mark <= longest);
        let note = end(mark.unwrap_or(0.0).max(bar.value)) + 8.0;
        group = group
            .add(text(BARS - 10.0, y + 13.0, 12.0, FAINT, bar.label).set("text-anchor", "end"))
            .add(
                Rectangle::new()
                    .set("x", BARS)
                    .set("y", y + 2.0)
                    .set("width", end(bar.value) - BARS)
                    .set("height", ROW - 6.0)
                    .set("fill", bar.fill),
            )
            .add(text(note, y + 13.0, 12.0, bar.ink, &bar.note));
        if let Some(x) = mark.map(end) {
            let line = Line::new().set("x1", x).set("x2", x).set("y1", y).set("y2", y + ROW - 2.0);
            group = group.add(line.set("stroke", INK).set("stroke-width", 1.5));
        }
    }
    group
}

fn text(x: f64, y: f64, size: f64, colour: &str, content: &str) -> Text {
    Text::new(content).set("x", x).set("y", y).set("font-size", size).set("fill", colour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::example;

    #[test]
    fn the_picture_names_everybody_and_is_well_formed() {
        let picture = draw(&[example()]).to_string();
        for text in ["test &amp; trial", "pool", "quick", "slow", "target &lt;= 1.5, missed"] {
            assert!(picture.contains(text), "{text}\n{picture}");
        }
        assert_eq!(picture.matches("<line").count(), 2);
    }
}
