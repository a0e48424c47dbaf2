//! All questions, figures and targets.

use crate::question::{Figure, Question};
use anyhow::{Result, ensure};
use benches::contestants::{
    block_sets, large_readers, readers, shared_readers, shared_stores, stores,
};
use benches::programs::ALLOCATORS;
use benches::questions::handing_over::HandingOver;
use benches::questions::raw_blocks::RawBlocks;
use benches::questions::{churning, reading};
use benches::remote;
use benches::rounds::Entrant;
use benches::statistics::Target;
use std::fmt::Write;

/// Objects that stay in the caches.
const HOT: usize = 1000;
/// Raw blocks, which do not.
const BLOCKS: usize = 10_000;

/// All questions.
pub(crate) fn questions() -> Vec<Question> {
    let cold = reading::Cold { objects: 1_000_000 };
    let large = reading::Fresh { objects: 10_000_000 };
    vec![
        read_hot(),
        Question { bytes: 2 << 30, ..read_many("1 M objects", readers(&cold)) },
        Question {
            bytes: 3 << 29,
            is_slow: true,
            ..read_many("10 M objects", large_readers(&large))
        },
        read_together(),
        churn(),
        churn_together(),
        hand_over(),
        raw_blocks(),
    ]
}

fn read_hot() -> Question {
    let name = "read, 1,000 objects hot";
    let entrants = readers(&reading::Hot { objects: HOT });
    Question::new(name, "read", entrants)
        .against_peers(
            &format!("{name}, own guard"),
            "pool, own guard",
            &[("sharded-slab", Target::AtMost(0.2)), ("SlotMap", Target::AtMost(2.5))],
        )
        .against_peers(
            &format!("{name}, one guard"),
            "pool, one guard",
            &[("SlotMap", Target::AtMost(1.25))],
        )
}

fn read_many(objects: &str, entrants: Vec<Entrant>) -> Question {
    let name = format!("read, {objects}");
    let targets = [("SlotMap", Target::AtMost(1.3)), ("Vec<Box>", Target::Below(1.0))];
    Question::new(&name, "read", entrants)
        .against_peers(&format!("{name}, one guard"), "pool, one guard", &targets)
        .against_peers(&format!("{name}, own guard"), "pool, own guard", &[])
}

fn read_together() -> Question {
    let name = "read, 1,000 objects hot, two threads over one";
    let [one, two] = [1, 2].map(|threads| reading::Together { objects: HOT, threads });
    let entrants = shared_readers(&one).into_iter().chain(shared_readers(&two)).collect();
    Question::new(name, "read", entrants).gains(
        name,
        ", threads: 1",
        ", threads: 2",
        Target::AtLeast(1.9),
    )
}

fn churn() -> Question {
    let name = "remove and insert, 1,000 objects hot";
    let [system, ..] = ALLOCATORS.map(|(allocator, _)| format!("Box on {allocator}"));
    Question::new(name, "pair", stores(&churning::Alone { live: HOT }))
        .with_allocators(remote::Question::Boxes { live: HOT }, |name| format!("Box on {name}"))
        .against_peers(
            name,
            "pool",
            &[
                ("sharded-slab", Target::AtMost(0.35)),
                ("Mutex<SlotMap>", Target::AtMost(0.6)),
                (&system, Target::AtMost(1.5)),
            ],
        )
}

fn churn_together() -> Question {
    let name = "remove and insert, two threads with objects of their own over one";
    let [one, two] = [1, 2].map(|threads| churning::Together { live: HOT, threads });
    let entrants = shared_stores(&one).into_iter().chain(shared_stores(&two)).collect();
    Question::new(name, "pair", entrants).gains(
        name,
        ", threads: 1",
        ", threads: 2",
        Target::AtLeast(1.8),
    )
}

fn hand_over() -> Question {
    let name = "insert here and remove there, two threads over one alone";
    let alone = shared_stores(&churning::Together { live: HOT, threads: 1 });
    let entrants = alone.into_iter().chain(shared_stores(&HandingOver)).collect();
    Question::new(name, "pair", entrants).gains(
        name,
        ", threads: 1",
        ", handed over",
        Target::AtLeast(1.0),
    )
}

fn raw_blocks() -> Question {
    let name = "raw blocks up to 1 KiB, 10,000 live";
    Question::new(name, "pair", block_sets(&RawBlocks { live: BLOCKS }))
        .with_allocators(remote::Question::Blocks { live: BLOCKS }, str::to_owned)
        .against_peers(name, "heap", &[("Mutex<rlsf>", Target::AtMost(1.3))])
}

/// The questions with figures whose names contain one of `texts`, all without a text.
pub(crate) fn chosen(texts: &[String]) -> Result<Vec<Question>> {
    let texts: Vec<_> = texts.iter().map(|text| text.to_lowercase()).collect();
    let is_chosen = |figure: &Figure| {
        let name = figure.name.to_lowercase();
        texts.is_empty() || texts.iter().any(|text| name.contains(text))
    };
    let mut questions = questions();
    for question in &mut questions {
        question.figures.retain(is_chosen);
    }
    questions.retain(|question| !question.figures.is_empty());
    ensure!(!questions.is_empty(), "no figure is called like that; --list names them");
    Ok(questions)
}

/// The names of the figures, with their targets.
pub(crate) fn list(questions: &[Question]) -> String {
    let mut text = String::new();
    for figure in questions.iter().flat_map(|question| &question.figures) {
        let targets = figure
            .rows
            .iter()
            .filter_map(|row| row.target.map(|target| format!("{target} ({})", row.label)));
        let targets: Vec<_> = targets.collect();
        let targets = if targets.is_empty() { "no target".to_owned() } else { targets.join(", ") };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {targets}", figure.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::{Row, is_ours};
    use benches::statistics::Ratio;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_every_row_compares_two() {
        let questions = questions();
        let mut names = HashSet::new();
        for question in &questions {
            let entrants: HashSet<_> =
                question.entrants.iter().map(|entrant| &entrant.name).collect();
            assert_eq!(entrants.len(), question.entrants.len(), "{}", question.name);
            for figure in &question.figures {
                assert!(names.insert(&figure.name), "{}", figure.name);
                assert!(!figure.rows.is_empty());
                assert!(figure.rows.iter().all(|row| row.ours != row.peer));
                let is_ours = |row: &Row| is_ours(&question.entrants[row.ours].name);
                assert!(figure.ratio == Ratio::Speed || figure.rows.iter().all(is_ours));
            }
        }
    }

    #[test]
    fn every_target_of_reading_and_churning_is_there() {
        let questions = questions();
        let figures = questions.iter().flat_map(|question| &question.figures);
        let targets: Vec<_> = figures
            .flat_map(|figure| figure.rows.iter().filter_map(move |row| Some((row, row.target?))))
            .map(|(row, target)| format!("{}: {target}", row.label))
            .collect();
        let system = format!("Box on {}: <= 1.5", ALLOCATORS[0].0);
        let expected = [
            "sharded-slab: <= 0.2",
            "SlotMap: <= 2.5",
            "SlotMap: <= 1.25",
            "SlotMap: <= 1.3",
            "Vec<Box>: < 1",
            "SlotMap: <= 1.3",
            "Vec<Box>: < 1",
            "pool, own guard: >= 1.9",
            "pool, one guard: >= 1.9",
            "sharded-slab: <= 0.35",
            "Mutex<SlotMap>: <= 0.6",
            &system,
            "pool: >= 1.8",
            "pool: >= 1",
            "Mutex<rlsf>: <= 1.3",
        ];
        assert_eq!(targets, expected);
    }

    #[test]
    fn figures_are_chosen_by_a_part_of_their_name() {
        let names = |texts: &[&str]| -> Vec<String> {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            let questions = chosen(&texts).unwrap();
            questions.into_iter().flat_map(|q| q.figures).map(|figure| figure.name).collect()
        };
        assert_eq!(names(&["HOT, own"]), ["read, 1,000 objects hot, own guard"]);
        assert_eq!(names(&["10 m objects, one", "hot, own"]).len(), 2);
        assert!(names(&[]).len() > 5);
        assert!(chosen(&["no such figure".to_owned()]).is_err());
    }
}
