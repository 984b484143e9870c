//! CRC-32C (Castagnoli), which protects segments in memory and payloads on the wire.
//!
//! The CRC of iSCSI (RFC 3720), so other languages have it too; that of "123456789" is 0xE3069283.

use crc_fast::{CrcAlgorithm, Digest};

/// The Castagnoli polynomial with its bits reversed: bit 31 is x^0, the term x^32 is left out.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// The polynomial 1 in the same notation.
const ONE: u32 = 1 << 31;

/// x^8, what one more byte multiplies by.
const BYTE: u32 = ONE >> 8;

/// Below it the other method has nothing to gain.
const WIDE_BYTES_MIN: usize = 4096;

/// The checksum of `bytes`; 0 if there are none.
pub fn crc32c(bytes: &[u8]) -> u32 {
    match bytes.len() >= WIDE_BYTES_MIN && is_wide() {
        true => crc_fast::crc32_iscsi(bytes),
        false => crc32c::crc32c(bytes),
    }
}

/// The checksum of what `crc` stands for, followed by `bytes`.
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    match bytes.len() >= WIDE_BYTES_MIN && is_wide() {
        true => {
            // The crate's state is the checksum before its last step, which turns all bits around.
            let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!crc));
            digest.update(bytes);
            digest.finalize() as u32
        }
        false => crc32c::crc32c_append(crc, bytes),
    }
}

/// Whether the CPU multiplies 512 bits without carry. Folding with that reads memory twice as fast as the instruction for this
/// checksum; with narrower ones it does not.
fn is_wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("vpclmulqdq");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// The checksum of two pieces in a row, from their checksums and the length of the second in bytes.
///
/// Appending n bytes multiplies the first checksum by x^(8n) modulo the polynomial. The method is that of
/// `crc32_combine` in zlib since 1.2.12 (Mark Adler): one multiplication for every bit that is set in n. The
/// older method, which the crc32c crate has, squares matrices and takes longer than reading 64 KiB again.
pub fn combine(crc_a: u32, crc_b: u32, len_b_bytes: u64) -> u32 {
    let shifted = (0..64).filter(|bit| len_b_bytes >> bit & 1 == 1).fold(crc_a, |crc, bit| multiply(crc, BYTES[bit]));
    shifted ^ crc_b
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

    /// Around the length from which another method is taken, where the CPU has it.
    #[test]
    fn both_methods_give_the_same() {
        let bytes: Vec<u8> =
            (0..3 * WIDE_BYTES_MIN as u32).map(|n| (n.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
        let near = WIDE_BYTES_MIN - 70..WIDE_BYTES_MIN + 70;
        for len in near.chain([bytes.len() - 1, bytes.len()]) {
            for start in [0, 1, 7] {
                let bytes = &bytes[start..len.max(start)];
                let expected = crc32c::crc32c(bytes);
                assert_eq!((crc32c(bytes), crc_fast::crc32_iscsi(bytes)), (expected, expected), "{start}..{len}");
                let appended = crc32c::crc32c_append(0xDEAD_BEEF, bytes);
                assert_eq!(crc32c_append(0xDEAD_BEEF, bytes), appended, "{start}..{len}");
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
    }
}
