//! How an array is cut into segments.

use std::ops::Range;

/// The longest array, in elements: 2^45, which is 2^23 of the largest segments.
pub const LEN_MAX: u64 = 1 << 45;

/// Arrays aim at this many segments: enough that load can move between workers in small steps and that
/// a repair is shared by all of them.
const SEGMENTS_AIMED_AT: u64 = 64;

/// Below 4 Ki elements the messages about a segment would cost more than the work on it.
const SEGMENT_LEN_MIN: u64 = 4 << 10;

/// 4 Mi elements are 32 MiB of float64: above that one copy or one retry takes noticeable time.
const SEGMENT_LEN_MAX: u64 = 4 << 20;

/// The segments of an array. It depends on the length alone, so two arrays of equal length have segments of
/// equal ranges, and nobody needs to be told where one begins.
///
/// Every segment has [`Grid::segment_len`] elements, except that the last one may be shorter; none is empty.
/// Lengths and positions count elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    len: u64,
    segment_len: u64,
}

impl Grid {
    /// The grid of an array of `len` elements.
    ///
    /// # Panics
    /// If `len` is above [`LEN_MAX`]: check what comes from outside first.
    pub fn new(len: u64) -> Grid {
        assert!(len <= LEN_MAX, "an array of {len} elements, {LEN_MAX} at most");
        let even = (len / SEGMENTS_AIMED_AT).next_power_of_two();
        Grid { len, segment_len: even.clamp(SEGMENT_LEN_MIN, SEGMENT_LEN_MAX) }
    }

    /// Elements of the whole array.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the array has no elements, and so no segments.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Elements of a full segment; a power of two.
    pub fn segment_len(&self) -> u64 {
        self.segment_len
    }

    /// How many segments there are; 0 for an empty array.
    pub fn segments(&self) -> u32 {
        narrow(self.len.div_ceil(self.segment_len))
    }

    /// The elements of a segment.
    ///
    /// # Panics
    /// If there is no such segment.
    pub fn range(&self, segment: u32) -> Range<u64> {
        assert!(segment < self.segments(), "segment {segment} of {}", self.segments());
        let start = u64::from(segment) * self.segment_len;
        start..self.len.min(start + self.segment_len)
    }

    /// The segment that holds an element.
    ///
    /// # Panics
    /// If the array has no such element.
    pub fn segment_of(&self, element: u64) -> u32 {
        assert!(element < self.len, "element {element} of {}", self.len);
        narrow(element / self.segment_len)
    }

    /// The segments that hold at least one of these elements; none if the range is empty.
    ///
    /// # Panics
    /// If the range reaches beyond the array.
    pub fn segments_in(&self, elements: Range<u64>) -> Range<u32> {
        if elements.is_empty() {
            return 0..0;
        }
        self.segment_of(elements.start)..self.segment_of(elements.end - 1) + 1
    }
}

/// Segment numbers fit 32 bits because [`LEN_MAX`] does.
fn narrow(segment: u64) -> u32 {
    u32::try_from(segment).expect("at most 2^23 segments")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table() {
        const KI: u64 = 1 << 10;
        const MI: u64 = 1 << 20;
        // (length, elements per segment, segments, elements of the last segment)
        let table = [
            (1, 4 * KI, 1, 1),
            (4 * KI - 1, 4 * KI, 1, 4 * KI - 1),
            (4 * KI, 4 * KI, 1, 4 * KI),
            (4 * KI + 1, 4 * KI, 2, 1),
            (64 * 4 * KI, 4 * KI, 64, 4 * KI),
            // 65 segments: the division rounds down before the power of two rounds up.
            (64 * 4 * KI + 63, 4 * KI, 65, 63),
            (64 * 4 * KI + 64, 8 * KI, 33, 64),
            (1_000_000, 16 * KI, 62, 576),
            (64 * MI, MI, 64, MI),
            (100_000_000, 2 * MI, 48, 1_433_856),
            (64 * 4 * MI, 4 * MI, 64, 4 * MI),
            (64 * 4 * MI + 1, 4 * MI, 65, 1),
            (1_000_000_000_000, 4 * MI, 238_419, 2_428_928),
            (LEN_MAX - 1, 4 * MI, 1 << 23, 4 * MI - 1),
            (LEN_MAX, 4 * MI, 1 << 23, 4 * MI),
        ];
        for (len, segment_len, segments, last) in table {
            let grid = Grid::new(len);
            assert_eq!((grid.segment_len(), grid.segments()), (segment_len, segments), "length {len}");
            let range = grid.range(segments - 1);
            assert_eq!((range.end - range.start, range.end), (last, len), "length {len}");
            assert_eq!((grid.len(), grid.is_empty()), (len, false));
        }
    }

    #[test]
    fn an_empty_array_has_no_segments() {
        let grid = Grid::new(0);
        assert_eq!((grid.len(), grid.segments(), grid.is_empty()), (0, 0, true));
        assert_eq!(grid.segments_in(0..0), 0..0);
    }

    #[test]
    #[should_panic]
    fn longer_than_the_longest() {
        Grid::new(LEN_MAX + 1);
    }

    #[test]
    #[should_panic]
    fn a_segment_too_many() {
        Grid::new(5000).range(2);
    }

    #[test]
    #[should_panic]
    fn an_element_too_many() {
        Grid::new(5000).segments_in(0..5001);
    }

    /// Lengths of every magnitude, the powers of two and their neighbours among them.
    fn lengths() -> impl Strategy<Value = u64> {
        (0..=45_u32, any::<u64>(), 0..4_u8).prop_map(|(bits, random, form)| {
            let power = 1 << bits;
            let len = match form {
                0 => power - 1,
                1 => power,
                2 => power + 1,
                _ => random % power,
            };
            len.min(LEN_MAX)
        })
    }

    proptest! {
        #[test]
        fn segments_tile_the_array(len in lengths()) {
            let grid = Grid::new(len);
            // All segments of a long array would take minutes: both ends of it show the same.
            let segments = grid.segments();
            let ends = (0..segments.min(300)).chain(segments.saturating_sub(300)..segments);
            for segment in ends {
                let range = grid.range(segment);
                prop_assert!(!range.is_empty());
                prop_assert_eq!(range.start, u64::from(segment) * grid.segment_len());
                let next = if segment + 1 < grid.segments() { grid.range(segment + 1).start } else { len };
                prop_assert_eq!(range.end, next);
                prop_assert_eq!(grid.segment_of(range.start), segment);
                prop_assert_eq!(grid.segment_of(range.end - 1), segment);
            }
        }

        #[test]
        fn segments_in_are_those_that_overlap(len in 1..2_000_000_u64, a in any::<u64>(), b in any::<u64>()) {
            let grid = Grid::new(len);
            let (a, b) = (a % (len + 1), b % (len + 1));
            let range = a.min(b)..a.max(b);
            let found: Vec<u32> = grid.segments_in(range.clone()).collect();
            let overlapping: Vec<u32> = (0..grid.segments())
                .filter(|&segment| {
                    let other = grid.range(segment);
                    range.start.max(other.start) < range.end.min(other.end)
                })
                .collect();
            prop_assert_eq!(found, overlapping);
        }
    }
}
