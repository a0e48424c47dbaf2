//! What was measured, as tables and as JSON.

use crate::budgets;
use crate::moving::{Moves, Round};
use crate::readers::{self, Pace, Scene};
use crate::samples::{QUANTILES, Sifted};
use benches::statistics::Goal;
use benches::table::aligned;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt::Write;

/// All figures.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) readers: Vec<readers::Outcome>,
    pub(crate) moves: Vec<Moves>,
    pub(crate) budgets: Option<budgets::Outcome>,
}

/// What a pace is called.
pub(crate) fn pace(pace: Pace) -> String {
    match pace {
        Pace::Full => "full speed".to_owned(),
        Pace::Rate(rate) => format!("{rate} a second"),
    }
}

/// Not numbers where there is nothing.
pub(crate) fn quantiles(histogram: &Histogram<u64>) -> [f64; 5] {
    QUANTILES.map(|quantile| match histogram.is_empty() {
        true => f64::NAN,
        false => histogram.value_at_quantile(quantile) as f64,
    })
}

/// Nanoseconds with a unit.
pub(crate) fn time(nanos: f64) -> String {
    match nanos {
        _ if nanos.is_nan() => "-".to_owned(),
        1e6.. => format!("{:.1} ms", nanos / 1e6),
        1e3.. => format!("{:.1} µs", nanos / 1e3),
        _ => format!("{nanos:.0} ns"),
    }
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for outcome in &self.readers {
            reader_table(outcome, &mut text);
        }
        if !self.moves.is_empty() {
            move_table(&self.moves, &mut text);
        }
        if let Some(budgets) = &self.budgets {
            budget_table(budgets, &mut text);
        }
        text += "\ntargets\n";
        for goal in self.goals() {
            let verdict = if goal.is_met() { "met   " } else { "MISSED" };
            let Goal { figure, value, target } = &goal;
            let value = match value.is_nan() {
                true => "not measured, too little happened".to_owned(),
                false => format!("{value:.2}"),
            };
            let _ = writeln!(text, "  {verdict} {figure}: {value} (target {target})");
        }
        text
    }

    /// One object a line.
    pub(crate) fn json(&self) -> String {
        let readers = self.readers.iter().flat_map(reader_json);
        let moves = self.moves.iter().map(move_json);
        let targets = self.goals().into_iter().map(|goal| {
            json!({
                "section": "target", "name": goal.figure, "value": goal.value,
                "bound": goal.target.sign(), "limit": goal.target.limit(), "met": goal.is_met(),
            })
        });
        let values =
            readers.chain(moves).chain(self.budgets.as_ref().map(budget_json)).chain(targets);
        values.map(|value| format!("{value}\n")).collect()
    }
}

fn reader_table(outcome: &readers::Outcome, text: &mut String) {
    let full = outcome.full.iter().map(|report| report.elapsed).sum::<std::time::Duration>();
    let moves: u64 = outcome.full.iter().map(|report| report.moves).sum();
    let _ = writeln!(
        text,
        "\nreads at {}; {} full defragmentations with {moves} moves in {:.1?}; {} in the background; \
         a core ran nobody {} times",
        pace(outcome.pace),
        outcome.full.len(),
        full,
        match outcome.background_moves {
            0 => "nothing was moved".to_owned(),
            moves => format!("{moves} moves"),
        },
        outcome.frozen,
    );
    let head = [
        "meanwhile",
        "million/s",
        "p50",
        "p99",
        "p99.9",
        "p99.99",
        "worst",
        "left out",
        "raw p99.9",
        "raw p99.99",
        "raw worst",
    ];
    let rows: Vec<_> = outcome
        .scenes
        .iter()
        .map(|(scene, sifted)| {
            let mut row = vec![scene.name().to_owned(), format!("{:.2}", sifted.reads_per_s / 1e6)];
            row.extend(quantiles(&sifted.net).map(time));
            row.push(sifted.left_out.to_string());
            row.extend(quantiles(&sifted.raw)[2..].iter().map(|nanos| time(*nanos)));
            row
        })
        .collect();
    *text += &aligned(&head, &rows, 1);
}

fn move_table(moves: &[Moves], text: &mut String) {
    *text += "\nfull defragmentations after three of four objects were removed, and bare copies; rates of\n\
         the whole call, and of moving alone: without the time in which the system took pages back\n";
    let head = [
        "object",
        "moves",
        "useful",
        "ms",
        "ms of moves",
        "million moves/s",
        "moving alone",
        "GB/s",
        "moving alone",
        "bare GB/s",
        "ratio",
        "moving alone",
        "forecast moves",
        "forecast ms",
    ];
    let row = |of: &Moves| {
        let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
        vec![
            format!("{} B", of.bytes),
            format!("{:.0}", of.median(|it| it.moves as f64)),
            format!("{:.3}", of.median(|it| it.useful as f64 / it.moves as f64)),
            format!("{:.2}", of.median(|it| ms(it.time))),
            format!("{:.2}", of.median(|it| ms(it.moving))),
            format!("{:.2}", of.median(Round::whole_rate) / 1e6),
            format!("{:.2}", of.median(Round::rate) / 1e6),
            format!("{:.2}", of.median(Round::whole_speed) / 1e9),
            format!("{:.2}", of.median(|it| it.speed) / 1e9),
            format!("{:.2}", of.median(|it| it.copy_speed) / 1e9),
            format!("{:.2}", of.median(|it| it.whole_speed() / it.copy_speed)),
            format!("{:.2}", of.median(|it| it.speed / it.copy_speed)),
            format!("{:.0}", of.median(|it| it.forecast_moves as f64)),
            format!("{:.2}", of.median(|it| ms(it.forecast))),
        ]
    };
    *text += &aligned(&head, &moves.iter().map(row).collect::<Vec<_>>(), 1);
}

fn budget_table(budgets: &budgets::Outcome, text: &mut String) {
    let _ = writeln!(
        text,
        "\npasses of 500 µs under load: {} passes, {} of them with something to do, {} moves; time \
         beyond the budget",
        budgets.passes, budgets.worked, budgets.moves
    );
    let head = ["", "p50", "p99", "p99.9", "p99.99", "worst", "100 µs late, of 1,000"];
    let row = |name: String, of: &Histogram<u64>| {
        let mut row = vec![name];
        row.extend(quantiles(of).map(time));
        row.push(format!("{:.2}", budgets::Outcome::late(of)));
        row
    };
    let on_core = "on a core".to_owned();
    let net = format!("without {} frozen ones and waits for a core", budgets.left_out);
    let rows = [
        row(on_core, &budgets.on_core),
        row(net, &budgets.net),
        row("raw".to_owned(), &budgets.raw),
        row("a loop that reads the clock, under the load".to_owned(), &budgets.control),
    ];
    *text += &aligned(&head, &rows, 1);
}

fn reader_json(outcome: &readers::Outcome) -> Vec<Value> {
    let line = |(scene, sifted): &(Scene, Sifted)| {
        let (net, raw) = (quantiles(&sifted.net), quantiles(&sifted.raw));
        json!({
            "section": "readers", "pace": pace(outcome.pace), "meanwhile": scene.name(),
            "reads": sifted.raw.len(), "reads_per_s": sifted.reads_per_s,
            "p50_ns": net[0], "p99_ns": net[1], "p999_ns": net[2], "p9999_ns": net[3], "worst_ns": net[4],
            "left_out": sifted.left_out, "background_moves": outcome.background_moves,
            "raw_p50_ns": raw[0], "raw_p99_ns": raw[1], "raw_p999_ns": raw[2], "raw_p9999_ns": raw[3],
            "raw_worst_ns": raw[4],
        })
    };
    outcome.scenes.iter().map(line).collect()
}

fn move_json(of: &Moves) -> Value {
    let median = |figure: fn(&Round) -> f64| of.median(figure);
    json!({
        "section": "moving", "bytes": of.bytes,
        "moves": median(|it| it.moves as f64), "useful_moves": median(|it| it.useful as f64),
        "seconds": median(|it| it.time.as_secs_f64()),
        "moving_seconds": median(|it| it.moving.as_secs_f64()),
        "moves_per_s": median(Round::whole_rate), "moving_alone_moves_per_s": median(Round::rate),
        "bytes_per_s": median(Round::whole_speed), "moving_alone_bytes_per_s": median(|it| it.speed),
        "copy_bytes_per_s": median(|it| it.copy_speed), "ratio": median(|it| it.whole_speed() / it.copy_speed),
        "moving_alone_ratio": median(|it| it.speed / it.copy_speed),
        "forecast_moves": median(|it| it.forecast_moves as f64),
        "forecast_seconds": median(|it| it.forecast.as_secs_f64()),
    })
}

fn budget_json(of: &budgets::Outcome) -> Value {
    let (net, raw) = (quantiles(&of.net), quantiles(&of.raw));
    let on_core = quantiles(&of.on_core);
    json!({
        "section": "budgets", "passes": of.passes, "passes_with_work": of.worked, "moves": of.moves, "useful_moves": of.useful,
        "left_out": of.left_out, "beyond_p50_ns": net[0], "beyond_p99_ns": net[1],
        "beyond_p999_ns": net[2], "beyond_p9999_ns": net[3], "beyond_worst_ns": net[4],
        "late_of_1000": budgets::Outcome::late(&of.net),
        "on_core_beyond_p999_ns": on_core[2], "on_core_beyond_worst_ns": on_core[4],
        "on_core_late_of_1000": budgets::Outcome::late(&of.on_core),
        "raw_beyond_p999_ns": raw[2], "raw_beyond_worst_ns": raw[4],
        "raw_late_of_1000": budgets::Outcome::late(&of.raw),
        "control_late_of_1000": budgets::Outcome::late(&of.control),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!([12.0, 1500.0, 2e6].map(time), ["12 ns", "1.5 µs", "2.0 ms"]);
    }
}
