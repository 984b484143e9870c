//! CRC-32C (Castagnoli), which protects segments in memory and payloads on the wire.
//!
//! The CRC of iSCSI (RFC 3720), so other languages have it too; that of "123456789" is 0xE3069283. The `crc32c` crate takes it with the
//! instruction that CPUs have for it. Where they also multiply 512 bits without carry, long pieces are folded (`fold`), at the
//! speed at which memory is read, and what comes next is fetched meanwhile.

#[cfg_attr(not(target_arch = "x86_64"), path = "no_fold.rs")]
mod fold;

use crate::kernels::stream;
use fold::{Folded, STRIDE};

/// The Castagnoli polynomial with its bits reversed: bit 31 is x^0, the term x^32 is left out.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// The polynomial 1 in the same notation.
const ONE: u32 = 1 << 31;

/// x^8, what one more byte multiplies by.
const BYTE: u32 = ONE >> 8;

/// Below it folding, at whose end 256 bytes are left, has nothing to gain.
const FOLDED_BYTES_MIN: usize = 1024;

/// How far ahead memory is read: as much as a block of a program, which is computed on meanwhile.
const AHEAD_BYTES: usize = 8192;

/// The checksum of `bytes`; 0 if there are none.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_append(0, bytes)
}

/// The checksum of what `crc` stands for, followed by `bytes`.
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest { state: State::Taken(crc) };
    let mut pieces = bytes.chunks(AHEAD_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        let next = pieces.peek().copied().unwrap_or_default();
        digest.read(piece, next);
        fetch_other_half(next, 0, 1);
    }
    digest.finish()
}

/// The checksum of bytes that come in pieces.
#[derive(Clone, Debug)]
pub struct Digest {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// The checksum so far.
    Taken(u32),
    /// What is left of at least [`FOLDED_BYTES_MIN`].
    Folded(Folded),
}

/// That of no bytes.
impl Default for Digest {
    fn default() -> Digest {
        Digest { state: State::Taken(0) }
    }
}

impl Digest {
    /// Goes on with `bytes`. `next` is what will be read then: half of it is fetched from memory while this is read, the other half when
    /// the caller says so ([`fetch_other_half`]).
    pub fn read(&mut self, bytes: &[u8], next: &[u8]) {
        let folded = self.fold(bytes, |folded, strides| folded.read(strides, next));
        self.read_rest(&bytes[folded..]);
    }

    /// Goes on with `from`, and copies it, as [`stream::copy_past_caches`] does: after [`stream::settle`] others may be told of it.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn copy_past_caches(&mut self, to: &mut [u8], from: &[u8]) {
        assert_eq!(to.len(), from.len(), "as many bytes as there is room for");
        let folded = self.fold(from, |folded, strides| folded.copy_past_caches(strides, to));
        stream::copy_past_caches(&mut to[folded..], &from[folded..]);
        self.read_rest(&from[folded..]);
    }

    /// Has the first of `bytes` folded, as far as this CPU can and it is worth it. Gives how many those are.
    fn fold(&mut self, bytes: &[u8], go_on: impl FnOnce(&mut Folded, &[[u8; STRIDE]])) -> usize {
        if let State::Taken(crc) = self.state
            && bytes.len() >= FOLDED_BYTES_MIN
            && let Some(folded) = Folded::after(crc)
        {
            self.state = State::Folded(folded);
        }
        let State::Folded(folded) = &mut self.state else { return 0 };
        let (strides, _) = bytes.as_chunks();
        go_on(folded, strides);
        size_of_val(strides)
    }

    fn read_rest(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.state = State::Taken(crc32c::crc32c_append(self.finish(), bytes));
        }
    }

    /// The checksum of all that came.
    pub fn finish(&self) -> u32 {
        match &self.state {
            State::Taken(crc) => *crc,
            State::Folded(folded) => folded.finish(),
        }
    }
}

/// Has a part of what [`Digest::read`] was told is next fetched from memory, of the half that it did not fetch: while bytes are read
/// as fast as they come from memory, asking for all that follows them is slower than asking for half, and the rest where
/// there is time.
pub fn fetch_other_half(next: &[u8], part: usize, parts: usize) {
    let pairs = in_turn(next);
    let (len, half) = (pairs.len(), pairs.len() / 2);
    let at = |part: usize| half + (len - half) * part / parts;
    pairs.take(at(part + 1)).skip(at(part)).for_each(fetch);
}

/// A line of the caches.
type Line = [u8; 64];

/// The order in which lines are fetched: those of the first half of `next` and of the second in turn. A block is two pages, and memory
/// gives what is asked of several pages at a time faster than what is asked of one.
fn in_turn(next: &[u8]) -> impl ExactSizeIterator<Item = (&Line, &Line)> {
    let (lines, _) = next.as_chunks();
    let (first, second) = lines.split_at(lines.len() / 2);
    first.iter().zip(second)
}

fn fetch((a, b): (&Line, &Line)) {
    stream::fetch(a);
    stream::fetch(b);
}

/// The checksum of two pieces in a row, from their checksums and the length of the second in bytes.
///
/// Appending n bytes multiplies the first checksum by x^(8n) modulo the polynomial. The method is that of
/// `crc32_combine` in zlib since 1.2.12 (Mark Adler): one multiplication for every bit that is set in n. The
/// older method, which the crc32c crate has, squares matrices and takes longer than reading 64 KiB again.
pub fn combine(crc_a: u32, crc_b: u32, len_b_bytes: u64) -> u32 {
    followed_by(crc_a, len_b_bytes) ^ crc_b
}

/// `crc` times x^(8 * bytes) modulo the polynomial: what it stands for, followed by so many bytes of zero.
const fn followed_by(crc: u32, bytes: u64) -> u32 {
    let (mut crc, mut left) = (crc, bytes);
    while left != 0 {
        crc = multiply(crc, BYTES[left.trailing_zeros() as usize]);
        left &= left - 1; // without its lowest bit
    }
    crc
}

/// Entry k is x^(8 * 2^k), what 2^k more bytes multiply by.
const BYTES: [u32; 64] = {
    let mut powers = [BYTE; 64];
    let mut k = 1;
    while k < 64 {
        powers[k] = multiply(powers[k - 1], powers[k - 1]);
        k += 1;
    }
    powers
};

/// `a * b` modulo the polynomial.
const fn multiply(a: u32, b: u32) -> u32 {
    let mut product = 0;
    let mut shifted = b;
    let mut bit = 0;
    while bit < 32 {
        let term = ((ONE >> bit) & a != 0) as u32;
        product ^= shifted & term.wrapping_neg();
        shifted = (shifted >> 1) ^ (POLYNOMIAL & (shifted & 1).wrapping_neg());
        bit += 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The usual check value, and appendix B.4 of RFC 3720.
    #[test]
    fn known_checksums() {
        assert_eq!(crc32c(b""), 0);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    }

    /// Lengths that cannot be tried byte by byte: the crate's own method gives the same.
    #[test]
    fn long_pieces_agree_with_the_crate() {
        for len in [1, 65_536, (1 << 20) + 3, (1 << 32) - 1, 1 << 32, 123_456_789_012, 1 << 48] {
            let expected = crc32c::crc32c_combine(0xDEAD_BEEF, 0x1234_5678, len as usize);
            assert_eq!(combine(0xDEAD_BEEF, 0x1234_5678, len), expected, "{len} bytes");
        }
    }

    fn some_bytes(len: usize) -> Vec<u8> {
        (0..len as u32).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect()
    }

    /// Around the length from which bytes are folded, where the CPU can, and around two pieces.
    #[test]
    fn folding_gives_the_same() {
        let bytes = some_bytes(2 * AHEAD_BYTES + 1000);
        let near = |len: usize| len - 300..len + 300;
        for len in near(FOLDED_BYTES_MIN).chain(near(AHEAD_BYTES)).chain(near(2 * AHEAD_BYTES)) {
            for start in [0, 1, 7] {
                let bytes = &bytes[start..start + len];
                assert_eq!(crc32c(bytes), crc32c::crc32c(bytes), "{start}, {len} bytes");
                let expected = crc32c::crc32c_append(0xDEAD_BEEF, bytes);
                assert_eq!(crc32c_append(0xDEAD_BEEF, bytes), expected, "{start}, {len} bytes");
            }
        }
    }

    /// Results begin at lines of the cache, so that the other places are only tried here.
    #[test]
    fn what_is_copied_past_the_caches_is_all_there_and_read() {
        let from = some_bytes(6000);
        for start in [0, 1, 16, 64, 65] {
            for len in [0, 1, 255, 1023, 1024, 1025, 2048, 4000, 5000] {
                let mut to = vec![255; 6000];
                let place = to.as_ptr().align_offset(64) + start;
                let mut digest = Digest::default();
                digest.read(&from[..77], &[]);
                digest.copy_past_caches(&mut to[place..place + len], &from[77..77 + len]);
                stream::settle();
                assert_eq!(digest.finish(), crc32c::crc32c(&from[..77 + len]), "{len} bytes to {start}");
                assert!(to[place..place + len] == from[77..77 + len], "{len} bytes to {start}");
                let beside = to[..place].iter().chain(&to[place + len..]);
                assert!(beside.into_iter().all(|byte| *byte == 255), "{len} bytes to {start}");
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_combine_to_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..3000),
            cut in any::<usize>(),
        ) {
            let (a, b) = bytes.split_at(cut % (bytes.len() + 1));
            let whole = crc32c(&bytes);
            prop_assert_eq!(combine(crc32c(a), crc32c(b), b.len() as u64), whole);
            prop_assert_eq!(crc32c_append(crc32c(a), b), whole);
        }

        /// Folded, then not, then folded again.
        #[test]
        fn a_digest_of_pieces_is_that_of_the_whole(lens in prop::collection::vec(0_usize..3000, 0..6)) {
            let bytes = some_bytes(lens.iter().sum());
            let (mut digest, mut rest) = (Digest::default(), &bytes[..]);
            for len in lens {
                let (piece, after) = rest.split_at(len);
                digest.read(piece, after);
                rest = after;
            }
            prop_assert_eq!(digest.finish(), crc32c::crc32c(&bytes));
        }
    }
}
