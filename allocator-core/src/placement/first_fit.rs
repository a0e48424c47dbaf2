//! Address-ordered first fit: the lowest place that has room.
//!
//! After D. E. Knuth, "The Art of Computer Programming", volume 1, section 2.5. A block always
//! goes to the lowest address that fits, which keeps the upper part of a heap empty.
//!
//! Instead of a list that a search would walk from its start, the index is a segment tree of
//! maxima over pages: a leaf holds the length of the longest free run that *starts* in its page,
//! an inner node the larger of its two children. The leftmost leaf that is large enough is found
//! by one descent; inside its page, the runs are visited in address order through the map of
//! starts. The link words of free runs are not used.

use super::{FreeMemory, Need, Placement, Run};

/// The policy: a segment tree of maxima.
pub(crate) struct FirstFit {
    granules: u32,
    page_shift: u32,
    /// Number of leaves, a power of two; those beyond the last page stay 0.
    leaves: usize,
    /// Node 1 is the root, node `n` has the children `2n` and `2n + 1`, and page `p` the leaf
    /// `leaves + p`. Node 0 is not used.
    ///
    /// Invariant: an inner node is the maximum of its children, and a leaf the length of the
    /// longest run in the index that starts in its page, or 0.
    tree: Vec<u32>,
}

impl FirstFit {
    /// An empty index for offsets in `[0, granules)`, with pages of `page_granules`.
    ///
    /// Eight bytes per page (16 for the worst rounding up), allocated zeroed and not touched:
    /// parts of the heap that are never used cost nothing.
    ///
    /// # Panics
    ///
    /// If `page_granules` is not a power of two.
    pub(crate) fn new(granules: u32, page_granules: u32) -> Self {
        assert!(page_granules.is_power_of_two(), "pages of {page_granules} granules");
        let leaves = (granules.div_ceil(page_granules) as usize).next_power_of_two();
        let page_shift = page_granules.ilog2();
        Self { granules, page_shift, leaves, tree: vec![0; 2 * leaves] }
    }

    fn page_of(&self, start: u32) -> usize {
        (start >> self.page_shift) as usize
    }

    /// The free runs that start in `page`, in address order.
    fn runs<M: FreeMemory>(&self, mem: &M, page: usize) -> impl Iterator<Item = Run> {
        let bound = |page: usize| (page as u64) << self.page_shift;
        let mut from = bound(page);
        let to = bound(page + 1).min(u64::from(self.granules));
        std::iter::from_fn(move || {
            // Both are at most `granules` once the last run has not ended beyond the page.
            let start = (from < to).then(|| mem.next_start(from as u32, to as u32))??;
            let run = Run { start, len: mem.len_of(start) };
            from = u64::from(run.end());
            Some(run)
        })
    }

    /// Writes the leaf of `page` and corrects its ancestors, as far as they change.
    fn set_leaf(&mut self, page: usize, len: u32) {
        let mut node = self.leaves + page;
        self.tree[node] = len;
        while node > 1 {
            node /= 2;
            let max = self.tree[2 * node].max(self.tree[2 * node + 1]);
            if std::mem::replace(&mut self.tree[node], max) == max {
                break;
            }
        }
    }

    /// The first page from `from` on in which a run of at least `len` starts. O(log pages).
    fn next_page(&self, from: usize, len: u32) -> Option<usize> {
        if from >= self.leaves {
            return None;
        }
        let mut node = if from == 0 { 1 } else { self.leaves + from };
        while self.tree[node] < len {
            // The next subtree to the right: up while this is a right child, then the sibling.
            node >>= node.trailing_ones();
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < self.leaves {
            node *= 2;
            if self.tree[node] < len {
                node += 1;
            }
        }
        Some(node - self.leaves)
    }

    /// Checks one page against the runs that start in it.
    fn check_page<M: FreeMemory>(&self, mem: &M, page: usize, runs: &[Run]) -> Result<(), String> {
        let leaf = self.tree[self.leaves + page];
        let longest = runs.iter().map(|run| run.len).max().unwrap_or(0);
        if leaf != longest {
            return Err(format!("page {page} is noted with {leaf}, its longest run is {longest}"));
        }
        // A page without runs may belong to another stripe: it is not read.
        if leaf != 0 && !self.runs(mem, page).eq(runs.iter().copied()) {
            return Err(format!("the map of page {page} differs from {runs:?}"));
        }
        Ok(())
    }
}

impl Placement for FirstFit {
    /// O(log pages), and mostly less: ancestors are visited only as far as they change.
    fn insert<M: FreeMemory>(&mut self, _: &mut M, run: Run) {
        let page = self.page_of(run.start);
        if run.len > self.tree[self.leaves + page] {
            self.set_leaf(page, run.len);
        }
    }

    /// O(log pages + runs in the page); O(1) if the page has a longer run.
    fn remove<M: FreeMemory>(&mut self, mem: &mut M, run: Run) {
        let page = self.page_of(run.start);
        if run.len < self.tree[self.leaves + page] {
            return;
        }
        let mut longest = 0;
        for other in self.runs(mem, page).filter(|other| other.start != run.start) {
            longest = longest.max(other.len);
            if longest == run.len {
                return;
            }
        }
        self.set_leaf(page, longest);
    }

    /// The lowest run with room. O(log pages + runs in the page) without alignment. With
    /// alignment that sum is due for each page that has a run of enough length in the wrong place.
    fn find<M: FreeMemory>(&self, mem: &M, need: Need) -> Option<Run> {
        let mut from = 0;
        while let Some(page) = self.next_page(from, need.len) {
            let run = self.runs(mem, page).find(|run| need.place_low(*run).is_some());
            if run.is_some() {
                return run;
            }
            from = page + 1;
        }
        None
    }

    /// The root of the tree. O(1).
    fn largest<M: FreeMemory>(&self, _: &M, _: usize) -> u32 {
        self.tree[1]
    }

    /// O(pages + free runs).
    fn check<M: FreeMemory>(&self, mem: &M, runs: &[Run]) -> Result<(), String> {
        if let Some(run) = runs.last().filter(|run| run.end() > self.granules) {
            return Err(format!("{run:?} ends beyond {}", self.granules));
        }
        for node in 1..self.leaves {
            let max = self.tree[2 * node].max(self.tree[2 * node + 1]);
            if self.tree[node] != max {
                return Err(format!("node {node} is {}, not {max}", self.tree[node]));
            }
        }
        let mut rest = runs;
        for page in 0..self.leaves {
            let here = rest.iter().take_while(|run| self.page_of(run.start) == page).count();
            let (these, others) = rest.split_at(here);
            self.check_page(mem, page, these)?;
            rest = others;
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("{:?} is out of order", rest[0])) }
    }
}
