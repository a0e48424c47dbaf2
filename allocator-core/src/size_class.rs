//! Size classes, and how a page is divided into cells of a class.
//!
//! A class is a number of bytes that a cell holds, a multiple of eight; it says where the headers are. *Apart*: the header words lie together at the start of the
//! page, and all of a cell is payload, which suits objects that fill cache lines. *Inside*: the last eight bytes of each
//! cell are its header, which costs nothing where the payload leaves them free. Of the two the one that wastes less
//! is taken, so cells fit to eight bytes though offsets count sixteen.
//!
//! Large pages have every class up to 1 KiB. Where pages are small, and a partly filled one of each class
//! would be a large share of the heap, there are 32 classes: 1 to 16 granules one by one, then eight to a doubling, headers
//! apart.

use crate::raw::GRANULE;
use std::sync::OnceLock;

/// Granules of the longest cell.
const CELL_MAX: u32 = 64;

/// Number of classes, whether a heap has cells of them or not.
pub(crate) const CLASSES: usize = 2 * CELL_MAX as usize;

/// Bytes of a header word.
const HEADER: usize = 8;

/// Largest payload in bytes.
const LARGEST: usize = CELL_MAX as usize * GRANULE;

/// Fewest cells that make a slab of a class worthwhile.
const CELLS_MIN: u32 = 4;

/// Cells start aligned to at most this many granules.
const ALIGN_MAX: u32 = 16;

/// Granules of the longest pages that a heap may have.
pub(crate) const PAGE_MAX: u32 = (1 << 20) / GRANULE as u32;

/// Granules of the pages from which on there is a class for each length.
const LARGE_PAGE: u32 = (64 << 10) / GRANULE as u32;

/// "No class" in the index.
const NONE: u8 = u8::MAX;

const _: () = assert!(CLASSES <= NONE as usize);

/// Bytes of payload that a cell of `class` holds.
pub(crate) const fn room(class: usize) -> usize {
    (class + 1) * HEADER
}

/// Whether cells of `class` have their headers inside.
const fn is_inside(class: usize) -> bool {
    class.is_multiple_of(2)
}

/// Granules of a cell of `class`.
pub(crate) const fn granules(class: usize) -> u32 {
    class as u32 / 2 + 1
}

/// Whether heaps of small pages have the class.
const fn is_coarse(class: usize) -> bool {
    let cell = granules(class);
    let step = if cell <= 16 { 1 } else { 1 << (cell - 1).ilog2() >> 3 };
    !is_inside(class) && cell.is_multiple_of(step)
}

/// How a page is divided into cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    /// Granules of a cell.
    pub(crate) cell: u32,
    /// Bytes of payload that a cell holds.
    pub(crate) room: usize,
    /// Cells of a slab; 0 when the heap has no such slabs.
    pub(crate) cells: u32,
    /// Granules from the start of the page to the first cell.
    pub(crate) first: u32,
    /// Alignment of the cells, in granules.
    pub(crate) align: u32,
    is_inside: bool,
    /// 2^32 / `cell`, rounded up: dividing by multiplying.
    inverse: u64,
}

impl Geometry {
    fn new(class: usize, page: u32) -> Self {
        let cell = granules(class);
        let align = (1 << cell.trailing_zeros()).min(ALIGN_MAX);
        let headers = |cells: u32| if is_inside(class) { 0 } else { cells.div_ceil(2) };
        let first = |cells: u32| (1 + headers(cells)).next_multiple_of(align);
        // The largest count that fits is this one or near it.
        let mut cells = if page >= LARGE_PAGE || is_coarse(class) { page / cell } else { 0 };
        while cells > 0 && first(cells) + cells * cell > page {
            cells -= 1;
        }
        if cells < CELLS_MIN {
            cells = 0;
        }
        Self {
            cell,
            room: room(class),
            cells,
            first: first(cells),
            align,
            is_inside: is_inside(class),
            inverse: (1_u64 << 32).div_ceil(u64::from(cell)),
        }
    }

    /// Granules of all cells.
    pub(crate) fn granules(&self) -> u64 {
        u64::from(self.cell) * u64::from(self.cells)
    }

    /// Which cell of the slab at `page` is at `offset`.
    #[inline]
    pub(crate) fn cell_at(&self, page: u32, offset: u32) -> u32 {
        // Exact: the error of the inverse is below 2^-32 a granule, and a page has fewer than 2^26 of them.
        ((u64::from(offset - page - self.first) * self.inverse) >> 32) as u32
    }

    /// Whether a cell of the slab at `page` begins at `offset`.
    pub(crate) fn is_cell(&self, page: u32, offset: u32) -> bool {
        let Some(inside) = offset.checked_sub(page + self.first) else { return false };
        inside.is_multiple_of(self.cell) && inside / self.cell < self.cells
    }

    /// The offset of a cell of the slab at `page`.
    pub(crate) fn offset(&self, page: u32, cell: u32) -> u32 {
        page + self.first + cell * self.cell
    }

    /// Where the header word of a cell is, in words of 8 bytes from granule 0.
    pub(crate) fn header_index(&self, page: u32, cell: u32) -> u64 {
        if self.is_inside {
            u64::from(self.offset(page, cell) + self.cell) * 2 - 1
        } else {
            u64::from(page) * 2 + 2 + u64::from(cell)
        }
    }

    /// The same for the cell at `offset`.
    #[inline]
    pub(crate) fn header_of(&self, page: u32, offset: u32) -> u64 {
        if self.is_inside {
            u64::from(offset + self.cell) * 2 - 1
        } else {
            u64::from(page) * 2 + 2 + u64::from(self.cell_at(page, offset))
        }
    }
}

/// Alignments with an index of their own: 1, 2, 4, 8 and 16 granules.
const ALIGNMENTS: usize = ALIGN_MAX.ilog2() as usize + 1;

/// The geometries of all classes for one page size.
#[derive(Debug)]
pub(crate) struct Classes {
    geometries: [Geometry; CLASSES],
    /// The class of each payload, in words of 8 bytes, by alignment; made when it is first asked for.
    index: [OnceLock<Box<[u8]>>; ALIGNMENTS],
}

impl Classes {
    /// Those for pages of `page` granules, a power of two. All heaps of the process with such pages share them: they are
    /// made for the first one, which others wait for, and stay.
    ///
    /// # Panics
    /// Where the page is longer than any heap's.
    pub(crate) fn of(page: u32) -> &'static Self {
        // Of `std` even in a model: what is in them depends on nothing that a model varies.
        static BY_PAGE: [OnceLock<Classes>; PAGE_MAX.ilog2() as usize + 1] =
            [const { OnceLock::new() }; PAGE_MAX.ilog2() as usize + 1];
        debug_assert!(page.is_power_of_two());
        BY_PAGE[page.ilog2() as usize].get_or_init(|| Self::new(page))
    }

    #[cold]
    fn new(page: u32) -> Self {
        Self {
            geometries: core::array::from_fn(|class| Geometry::new(class, page)),
            index: [const { OnceLock::new() }; ALIGNMENTS],
        }
    }

    /// Whether there is a class for each length.
    pub(crate) fn are_fine(&self) -> bool {
        self.geometries[0].cells > 0
    }

    #[inline]
    pub(crate) fn geometry(&self, class: usize) -> &Geometry {
        &self.geometries[class]
    }

    /// The class for a block of `bytes` aligned to `align` granules, if slabs hold such blocks. O(1), but for the first
    /// question of an alignment.
    #[inline]
    pub(crate) fn class_for(&self, bytes: usize, align: u32) -> Option<usize> {
        let index = self.index.get(align.ilog2() as usize)?;
        let by_size = index.get_or_init(|| self.index_for(align));
        let class = *by_size.get(bytes.div_ceil(HEADER))?;
        (class != NONE).then_some(usize::from(class))
    }

    /// The class of each payload, in words, for an alignment.
    #[cold]
    fn index_for(&self, align: u32) -> Box<[u8]> {
        let fits = |class: &usize| {
            let geometry = &self.geometries[*class];
            geometry.cells > 0 && geometry.align >= align
        };
        let fitting: Vec<usize> = (0..CLASSES).filter(fits).collect();
        let class = |words: usize| self.best(&fitting, words.max(1) * HEADER, align);
        (0..=LARGEST / HEADER).map(class).collect()
    }

    /// Of the classes `fitting`, in ascending order, whose cells hold `bytes` the one of whose cells most go into a page, the
    /// headers apart if there is a choice.
    fn best(&self, fitting: &[usize], bytes: usize, align: u32) -> u8 {
        // Beyond twice the size, a block of its own wastes less.
        let longest = 2 * (bytes.div_ceil(GRANULE) as u32).max(align);
        // Longer cells are fewer, so those after the next ones are no better.
        let smallest = fitting.partition_point(|class| room(*class) < bytes);
        let next =
            fitting[smallest..].iter().take(4).map(|class| (*class, &self.geometries[*class]));
        next.filter(|(_, geometry)| geometry.cell <= longest)
            .min_by_key(|(class, geometry)| (u32::MAX - geometry.cells, geometry.is_inside, *class))
            .map_or(NONE, |(class, _)| class as u8)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn large_pages_waste_at_most_eight_bytes_of_a_cell() {
        let classes = Classes::of(LARGE_PAGE);
        for bytes in 1..=LARGEST {
            let class = classes.class_for(bytes, 1).unwrap();
            let geometry = classes.geometry(class);
            assert!(geometry.room >= bytes, "{bytes}");
            // The page's remainder may make a longer cell no worse.
            let cost =
                geometry.cell as usize * GRANULE + if geometry.is_inside { 0 } else { HEADER };
            let least = bytes.next_multiple_of(HEADER) + HEADER;
            let best = 65536 / ((65536 - GRANULE) / least).max(1);
            assert!(cost <= least + HEADER || cost <= best + HEADER, "{bytes}: {cost} of {least}");
        }
        assert_eq!(granules(classes.class_for(64, 1).unwrap()), 4);
        assert_eq!(granules(classes.class_for(100, 1).unwrap()), 7);
        assert!(is_inside(classes.class_for(100, 1).unwrap()));
    }

    #[test]
    fn small_pages_have_classes_at_most_an_eighth_apart() {
        let classes = Classes::of(1024);
        let coarse = (0..CLASSES).filter(|class| is_coarse(*class)).count();
        assert_eq!(coarse, 32);
        for bytes in 1..=LARGEST {
            let class = classes.class_for(bytes, 1).unwrap();
            let (room, needed) = (room(class), bytes.next_multiple_of(GRANULE));
            assert!(is_coarse(class) && room >= bytes, "{bytes}");
            assert!(room - needed <= needed / 8, "{bytes} in {room}");
        }
    }

    #[test]
    fn cells_and_their_headers_share_a_page_without_overlap() {
        for page in [64_u32, 256, 4096, 65536] {
            for class in 0..CLASSES {
                let geometry = Geometry::new(class, page);
                if geometry.cells == 0 {
                    let few = CELLS_MIN * granules(class) + 1 + CELLS_MIN / 2 + ALIGN_MAX > page;
                    assert!(few || page < LARGE_PAGE && !is_coarse(class));
                    continue;
                }
                assert_eq!(geometry.first % geometry.align, 0);
                assert_eq!(geometry.cell % geometry.align, 0);
                for cell in 0..geometry.cells {
                    let offset = geometry.offset(0, cell);
                    assert!(offset + geometry.cell <= page);
                    assert_eq!(geometry.cell_at(0, offset), cell);
                    let header = geometry.header_index(0, cell) as usize * HEADER;
                    assert_eq!(geometry.header_of(0, offset) as usize * HEADER, header);
                    let payload = offset as usize * GRANULE;
                    if geometry.is_inside {
                        assert_eq!(header, payload + geometry.room);
                    } else {
                        assert!(header >= GRANULE && header < geometry.first as usize * GRANULE);
                    }
                }
            }
        }
    }

    #[test]
    fn heaps_with_equal_pages_share_their_classes() {
        assert!(std::ptr::eq(Classes::of(1024), Classes::of(1024)));
        assert!(!std::ptr::eq(Classes::of(1024), Classes::of(2048)));
        assert_eq!(Classes::of(PAGE_MAX).geometry(CLASSES - 1).cell, CELL_MAX);
    }

    #[test]
    fn alignment_is_part_of_the_class() {
        for page in [1024, 4096] {
            let classes = Classes::of(page);
            for align in [1, 2, 4, 8, 16] {
                for bytes in 1..=LARGEST {
                    if let Some(class) = classes.class_for(bytes, align) {
                        assert!(room(class) >= bytes);
                        assert!(classes.geometry(class).align >= align);
                    }
                }
            }
            assert_eq!(classes.class_for(LARGEST + 1, 1), None);
            assert_eq!(classes.class_for(1, 32), None);
            assert_eq!(classes.class_for(0, 1), classes.class_for(1, 1));
        }
    }
}
