//! The checksum by folding, where the CPU multiplies 512 bits without carry.
//!
//! A checksum is a remainder modulo a polynomial, so what was read may be replaced by anything that leaves the same remainder. Folding
//! replaces two lanes of 128 bits, [`STRIDE`] bytes apart, by one: the first times x^(8 * [`STRIDE`]) modulo the polynomial, plus the
//! second (Gopal and others, "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009). What is left
//! after any number of bytes is [`STRIDE`] bytes, of which the checksum is taken as usual.

use super::{ONE, fetch, followed_by, in_turn, multiply};
use crate::kernels::stream;
use std::arch::x86_64::{
    __m512i, _mm512_clmulepi64_epi128, _mm512_set_epi64, _mm512_stream_si512, _mm512_ternarylogic_epi64,
};

/// Bytes that are folded at a time: four vectors, as a multiplication takes 8 cycles and two begin for each vector.
pub const STRIDE: usize = size_of::<Lanes>();

type Lanes = [__m512i; 4];

/// What the first half of a lane is multiplied by, and the second, which is 8 bytes nearer to what is folded onto. A half is 4 bytes
/// longer than a checksum, and a product of two numbers of reversed bits is one bit short.
const FIRST: i64 = (followed_by(ONE, STRIDE as u64 + 4) as i64) << 1;
const SECOND: i64 = (followed_by(ONE, STRIDE as u64 - 4) as i64) << 1;

/// What a checksum's state is multiplied by to give the four bytes that lead to it: x^-32, which is x^(8 * (2^31 - 5)), as x has the
/// order 2^31 - 1.
const BEFORE: u32 = followed_by(ONE, (1 << 31) - 5);

/// What bytes were folded to.
#[derive(Clone, Debug)]
pub struct Folded(Lanes);

impl Folded {
    /// What has the checksum `crc`, if this CPU can fold. With narrower vectors folding is no faster than the instruction for
    /// this checksum.
    pub fn after(crc: u32) -> Option<Folded> {
        if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("vpclmulqdq")) {
            return None;
        }
        let mut bytes = [0; STRIDE];
        bytes[STRIDE - 4..].copy_from_slice(&multiply(!crc, BEFORE).to_le_bytes());
        Some(Folded(load(&bytes)))
    }

    /// Goes on with `strides`; has half of `next` fetched from memory meanwhile.
    pub fn read(&mut self, strides: &[[u8; STRIDE]], next: &[u8]) {
        // SAFETY: `after` makes the only ones there are, and has asked for what the function needs.
        #[expect(unsafe_code, reason = "only some CPUs have the instructions")]
        unsafe {
            read(&mut self.0, strides, next);
        }
    }

    /// Goes on with `strides`, and copies them to the beginning of `to`, past the caches.
    pub fn copy_past_caches(&mut self, strides: &[[u8; STRIDE]], to: &mut [u8]) {
        let to = &mut to[..size_of_val(strides)];
        // SAFETY: any bit pattern is both 256 bytes and the same as vectors.
        #[expect(unsafe_code, reason = "no safe function makes vectors of bytes")]
        let (before, vectors, _) = unsafe { to.align_to_mut::<Lanes>() };
        if !before.is_empty() {
            stream::copy_past_caches(to, strides.as_flattened());
            return self.read(strides, &[]);
        }
        // SAFETY: as in `read`.
        #[expect(unsafe_code, reason = "only some CPUs have the instructions")]
        unsafe {
            copy_past_caches(&mut self.0, strides, vectors);
        }
    }

    /// The checksum of all.
    pub fn finish(&self) -> u32 {
        // SAFETY: any bit pattern is both four vectors and 256 bytes.
        #[expect(unsafe_code, reason = "no safe function makes bytes of vectors")]
        let left: &[u8; STRIDE] = unsafe { &*std::ptr::from_ref(&self.0).cast() };
        crc32c::crc32c_append(!0, left) // from a state of zero: the first one is in there
    }
}

fn load(stride: &[u8; STRIDE]) -> Lanes {
    // SAFETY: any bit pattern is both 256 bytes and four vectors of 64, which need not be aligned for this.
    #[expect(unsafe_code, reason = "no safe function makes vectors of bytes")]
    unsafe {
        stride.as_ptr().cast::<Lanes>().read_unaligned()
    }
}

#[target_feature(enable = "avx512f,vpclmulqdq")]
fn read(lanes: &mut Lanes, strides: &[[u8; STRIDE]], next: &[u8]) {
    let mut folded = *lanes; // in registers
    let mut next = in_turn(next);
    for stride in strides {
        next.next().into_iter().for_each(fetch);
        fold(&mut folded, load(stride));
    }
    *lanes = folded;
}

#[target_feature(enable = "avx512f,vpclmulqdq")]
fn copy_past_caches(lanes: &mut Lanes, strides: &[[u8; STRIDE]], to: &mut [Lanes]) {
    let mut folded = *lanes;
    for (stride, to) in strides.iter().zip(to) {
        let data = load(stride);
        for (to, data) in to.iter_mut().zip(data) {
            // SAFETY: it is borrowed for this, and aligned, as its type says.
            #[expect(unsafe_code, reason = "no safe function stores past the caches")]
            unsafe {
                _mm512_stream_si512(to, data);
            }
        }
        fold(&mut folded, data);
    }
    *lanes = folded;
}

/// Folds the next stride onto what is there.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn fold(lanes: &mut Lanes, data: Lanes) {
    const XOR: i32 = 0b1001_0110; // the truth table of a ^ b ^ c
    let factors = _mm512_set_epi64(SECOND, FIRST, SECOND, FIRST, SECOND, FIRST, SECOND, FIRST);
    for (lane, data) in lanes.iter_mut().zip(data) {
        let first = _mm512_clmulepi64_epi128::<0x00>(*lane, factors);
        let second = _mm512_clmulepi64_epi128::<0x11>(*lane, factors);
        *lane = _mm512_ternarylogic_epi64::<XOR>(first, second, data);
    }
}
