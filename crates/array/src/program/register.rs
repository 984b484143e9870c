//! Memory for one block of values.

use bytemuck::{cast_slice, cast_slice_mut};

use super::machine::BLOCK;

/// A page, below which a CPU compares addresses first: a load that agrees in these bits with a store just before waits for it.
const PAGE: usize = 4096;

/// How far registers are apart within a page: nine lines of the cache, so that a dozen of them begin at other places, and each at the
/// beginning of a line, which the widest vector fills.
const STAGGER: usize = 576;

const WORD: usize = size_of::<u64>();

/// Room for [`BLOCK`] elements of any dtype. An empty one, without memory, stands for one that is taken out.
#[derive(Debug, Default)]
pub struct Register {
    words: Vec<u64>,
    /// Words before its beginning.
    skip: usize,
}

impl Register {
    /// Register `number` of a machine: each begins at another place within a page.
    pub fn new(number: usize) -> Register {
        let words = vec![0; BLOCK + PAGE / WORD];
        let before = (words.as_ptr() as usize).wrapping_neg() % PAGE; // to the next page
        let skip = (before + number * STAGGER) % PAGE / WORD;
        Register { words, skip }
    }

    /// Its first so many bytes.
    pub fn bytes(&self, len: usize) -> &[u8] {
        &cast_slice(&self.words[self.skip..])[..len]
    }

    /// The same, to be written.
    pub fn bytes_mut(&mut self, len: usize) -> &mut [u8] {
        &mut cast_slice_mut(&mut self.words[self.skip..])[..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_begin_at_lines_and_apart() {
        let registers: Vec<Register> = (0..7).map(Register::new).collect();
        let places: Vec<usize> = registers.iter().map(|r| r.bytes(8 * BLOCK).as_ptr() as usize % PAGE).collect();
        assert!(places.iter().all(|place| place % 64 == 0), "{places:?}");
        for (at, place) in places.iter().enumerate() {
            assert!(places[..at].iter().all(|other| place.abs_diff(*other) >= STAGGER), "{places:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut register = Register::new(3);
        register.bytes_mut(5).copy_from_slice(&[1, 2, 3, 4, 5]);
        assert_eq!(register.bytes(6), [1, 2, 3, 4, 5, 0]);
    }
}
