//! A question, who is asked, and the figures that are drawn from the answers.

use benches::programs::{self, ALLOCATORS};
use benches::remote;
use benches::rounds::Entrant;
use benches::statistics::{Ratio, Target};

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
    pub(crate) fn new(name: &str, unit: &'static str, entrants: Vec<Entrant>) -> Self {
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
    pub(crate) fn with_allocators(
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
    pub(crate) fn against_peers(
        mut self,
        name: &str,
        ours: &str,
        targets: &[(&str, Target)],
    ) -> Self {
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
    pub(crate) fn gains(mut self, name: &str, first: &str, second: &str, target: Target) -> Self {
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
