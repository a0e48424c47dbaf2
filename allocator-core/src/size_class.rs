//! Size classes: 1 to 8 granules one by one, then eight to a doubling, so a block wastes less than an
//! eighth of itself; and how a page is divided into cells of a class.

/// Number of classes.
pub(crate) const CLASSES: usize = 32;

/// Granules of the largest class: blocks up to 1 KiB live in slabs.
pub(crate) const LARGEST: u32 = granules(CLASSES - 1);

/// Fewest cells that make a slab of a class worthwhile.
const CELLS_MIN: u32 = 4;

/// Cells start aligned to at most this many granules.
const ALIGN_MAX: u32 = 16;

const _: () = assert!(LARGEST == 64);

/// Granules of a cell of `class`.
pub(crate) const fn granules(class: usize) -> u32 {
    if class < 8 {
        class as u32 + 1
    } else {
        let doubling = (class as u32 - 8) / 8;
        let step = (class as u32 - 8) % 8;
        (9 + step) << doubling
    }
}

/// The smallest class whose cells hold `needed` granules (at least 1). O(1).
const fn class_of(needed: u32) -> usize {
    if needed <= 8 {
        return needed as usize - 1;
    }
    // `needed - 1` has its leading bit at 3 + doubling.
    let doubling = (needed - 1).ilog2() - 3;
    let step = (needed - 1) >> doubling;
    (doubling * 8 + step) as usize
}

/// How a page is divided: header words of the cells, then the cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    /// Granules of a cell.
    pub(crate) cell: u32,
    /// Cells of a slab; 0 when the page is too small for the class.
    pub(crate) cells: u32,
    /// Granules from the start of the page to the first cell.
    pub(crate) first: u32,
    /// Alignment of the cells, in granules.
    pub(crate) align: u32,
}

impl Geometry {
    const NONE: Self = Self { cell: 1, cells: 0, first: 0, align: 1 };

    fn new(class: usize, page: u32) -> Self {
        let cell = granules(class);
        let align = (1 << cell.trailing_zeros()).min(ALIGN_MAX);
        let first = |cells: u32| (1 + cells.div_ceil(2)).next_multiple_of(align);
        // Two header words to a granule: the largest count that fits is near this one.
        let mut cells = 2 * page / (2 * cell + 1);
        while cells > 0 && first(cells) + cells * cell > page {
            cells -= 1;
        }
        if cells < CELLS_MIN {
            return Self::NONE;
        }
        Self { cell, cells, first: first(cells), align }
    }

    /// Granules of all cells.
    pub(crate) fn granules(&self) -> u64 {
        u64::from(self.cell) * u64::from(self.cells)
    }

    /// Which cell of the slab at `page` is at `offset`.
    pub(crate) fn cell_at(&self, page: u32, offset: u32) -> u32 {
        (offset - page - self.first) / self.cell
    }

    /// The offset of a cell of the slab at `page`.
    pub(crate) fn offset(&self, page: u32, cell: u32) -> u32 {
        page + self.first + cell * self.cell
    }

    /// Where the header word of a cell is, in words of 8 bytes from granule 0.
    pub(crate) fn header_index(&self, page: u32, cell: u32) -> u64 {
        u64::from(page) * 2 + 2 + u64::from(cell)
    }
}

/// The geometries of all classes for one page size.
#[derive(Debug)]
pub(crate) struct Classes {
    geometries: [Geometry; CLASSES],
}

impl Classes {
    /// For pages of `page` granules.
    pub(crate) fn new(page: u32) -> Self {
        Self { geometries: core::array::from_fn(|class| Geometry::new(class, page)) }
    }

    pub(crate) fn geometry(&self, class: usize) -> &Geometry {
        &self.geometries[class]
    }

    /// The class for a block of `needed` granules aligned to `align` granules, if slabs hold such blocks.
    pub(crate) fn class_for(&self, needed: u32, align: u32) -> Option<usize> {
        if needed > LARGEST || align > ALIGN_MAX {
            return None;
        }
        let smallest = class_of(needed.max(1));
        (smallest..CLASSES)
            // Beyond twice the size, a block of its own wastes less.
            .take_while(|class| granules(*class) <= 2 * needed.max(align))
            .find(|class| {
                self.geometries[*class].align >= align && self.geometries[*class].cells > 0
            })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_class_of_each_size_is_the_smallest_that_holds_it() {
        for needed in 1..=LARGEST {
            let class = class_of(needed);
            assert!(granules(class) >= needed, "{needed}");
            assert!(class == 0 || granules(class - 1) < needed, "{needed}");
            assert!(granules(class) - needed <= needed / 8, "{needed} wastes too much");
        }
    }

    #[test]
    fn cells_and_their_headers_share_a_page_without_overlap() {
        for page in [64_u32, 256, 4096, 65536] {
            for class in 0..CLASSES {
                let geometry = Geometry::new(class, page);
                if geometry.cells == 0 {
                    assert!(CELLS_MIN * granules(class) + 1 + CELLS_MIN / 2 + ALIGN_MAX > page);
                    continue;
                }
                let last = geometry.cells - 1;
                assert!(geometry.header_index(0, last) < u64::from(geometry.first) * 2);
                assert!(geometry.offset(0, last) + geometry.cell <= page);
                assert_eq!(geometry.cell_at(0, geometry.offset(0, last)), last);
                assert_eq!(geometry.first % geometry.align, 0);
                assert_eq!(geometry.cell % geometry.align, 0);
            }
        }
    }

    #[test]
    fn alignment_is_part_of_the_class() {
        let classes = Classes::new(4096);
        for align in [1, 2, 4, 8, 16] {
            for needed in 1..=LARGEST {
                if let Some(class) = classes.class_for(needed, align) {
                    assert!(granules(class) >= needed);
                    assert!(classes.geometry(class).align >= align);
                }
            }
        }
        assert_eq!(classes.class_for(LARGEST + 1, 1), None);
        assert_eq!(classes.class_for(1, 32), None);
        assert_eq!(classes.class_for(0, 1), Some(0));
    }
}
