//! The questions that are asked, the figures that are drawn from the answers, and their targets.

use crate::programs::{self, ALLOCATORS};
use anyhow::{Result, ensure};
use benches::contestants::{
    block_sets, large_readers, readers, shared_readers, shared_stores, stores,
};
use benches::questions::handing_over::HandingOver;
use benches::questions::raw_blocks::RawBlocks;
use benches::questions::{churning, reading};
use benches::remote;
use benches::rounds::Entrant;
use benches::statistics::{Ratio, Target};
use std::fmt::Write;

/// Objects that stay in the caches.
const HOT: usize = 1000;
/// Raw blocks, which do not.
const BLOCKS: usize = 10_000;

/// What the names of our own contestants begin with.
const OURS: [&str; 2] = ["pool", "heap"];

/// Whether a contestant is one of ours.
pub(crate) fn is_ours(name: &str) -> bool {
    OURS.iter().any(|ours| name.starts_with(ours))
}

/// What is asked of some contestants.
pub(crate) struct Question {
    pub(crate) name: String,
    /// What the times are for.
    pub(crate) unit: &'static str,
    /// A round takes long: there are fewer of them.
    pub(crate) is_slow: bool,
    /// Memory that it needs.
    pub(crate) bytes: u64,
    /// Some of the entrants are programs.
    pub(crate) has_programs: bool,
    pub(crate) entrants: Vec<Entrant>,
    pub(crate) figures: Vec<Figure>,
}

/// Some contestants compared.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) ratio: Ratio,
    pub(crate) rows: Vec<Row>,
}

/// Two of the question's entrants, by their places, and what the ratio of the two is to be.
pub(crate) struct Row {
    pub(crate) ours: usize,
    pub(crate) peer: usize,
    /// What the row is called in a table.
    pub(crate) label: String,
    pub(crate) target: Option<Target>,
}

impl Question {
    fn new(name: &str, unit: &'static str, entrants: Vec<Entrant>) -> Self {
        let figures = Vec::new();
        Self {
            name: name.to_owned(),
            unit,
            is_slow: false,
            bytes: 1 << 28,
            has_programs: false,
            entrants,
            figures,
        }
    }

    /// Adds the global allocators to the entrants, as what `name` calls them.
    fn with_allocators(
        mut self,
        question: remote::Question,
        name: impl Fn(&str) -> String,
    ) -> Self {
        let entrants = ALLOCATORS
            .map(|(allocator, program)| question.entrant(name(allocator), programs::path(program)));
        self.entrants.extend(entrants);
        self.has_programs = true;
        self
    }

    fn place(&self, name: &str) -> usize {
        let place = self.entrants.iter().position(|entrant| entrant.name == name);
        place.unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    /// Adds a figure: the times of `ours` over those of each peer.
    fn against_peers(mut self, name: &str, ours: &str, targets: &[(&str, Target)]) -> Self {
        let ours = self.place(ours);
        let targets: Vec<_> =
            targets.iter().map(|(name, target)| (self.place(name), *target)).collect();
        let is_peer = |entrant: &Entrant| !is_ours(&entrant.name);
        let peers = self.entrants.iter().enumerate().filter(|(_, entrant)| is_peer(entrant));
        let rows = peers.map(|(peer, entrant)| {
            let target = targets.iter().find(|(place, _)| *place == peer);
            let label = entrant.name.clone();
            Row { ours, peer, label, target: target.map(|(_, target)| *target) }
        });
        let rows = rows.collect();
        self.figures.push(Figure { name: name.to_owned(), ratio: Ratio::Time, rows });
        self
    }

    /// Adds a figure: how much faster each contestant is in its second form, whose name ends with
    /// `second`, than in its first.
    fn gains(mut self, name: &str, first: &str, second: &str, target: Target) -> Self {
        let labels = self.entrants.iter().filter_map(|entrant| entrant.name.strip_suffix(first));
        let row = |label: &str| {
            let target = is_ours(label).then_some(target);
            let (ours, peer) =
                (self.place(&format!("{label}{second}")), self.place(&format!("{label}{first}")));
            Row { ours, peer, label: label.to_owned(), target }
        };
        let rows = labels.map(row).collect();
        self.figures.push(Figure { name: name.to_owned(), ratio: Ratio::Speed, rows });
        self
    }
}

/// All questions.
pub(crate) fn questions() -> Vec<Question> {
    let cold = reading::Cold { objects: 1_000_000 };
    let large = reading::Fresh { objects: 10_000_000 };
    vec![
        read_hot(),
        Question { bytes: 3 << 30, ..read_many("1 M objects", readers(&cold)) },
        Question {
            bytes: 2 << 30,
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
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}: {}", figure.name, targets.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
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
