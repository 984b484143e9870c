//! Writing past the caches, and reading ahead.

/// Copies bytes to where nobody reads them soon. A usual store reads each line of memory before it changes it, and drives out of the
/// caches what is needed again: a loop that reads and writes as much goes through memory three times, with this twice.
///
/// Another thread may be told of these bytes after [`settle`].
///
/// # Panics
/// If the lengths differ.
#[cfg(target_arch = "x86_64")]
pub fn copy_past_caches(to: &mut [u8], from: &[u8]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    assert_eq!(to.len(), from.len(), "as many bytes as there is room for");
    // SAFETY: any bit pattern is both 16 bytes and one __m128i.
    #[expect(unsafe_code, reason = "no safe function stores past the caches")]
    let (first, middle, last) = unsafe { to.align_to_mut::<__m128i>() };
    let (from_first, from) = from.split_at(first.len());
    let (from_middle, from_last) = from.split_at(size_of_val(middle));
    first.copy_from_slice(from_first);
    for (to, from) in middle.iter_mut().zip(from_middle.as_chunks::<{ size_of::<__m128i>() }>().0) {
        // SAFETY: both are 16 bytes, borrowed for this; what is written is aligned. SSE2 is of every x86-64 CPU.
        #[expect(unsafe_code, reason = "as above")]
        unsafe {
            _mm_stream_si128(to, _mm_loadu_si128(from.as_ptr().cast()));
        }
    }
    last.copy_from_slice(from_last);
}

/// Ends what was copied past the caches: whoever sees what this thread does next sees those bytes too.
#[cfg(target_arch = "x86_64")]
pub fn settle() {
    // SAFETY: SSE is of every x86-64 CPU, and a fence changes no memory.
    #[expect(unsafe_code, reason = "the intrinsic is not marked safe everywhere")]
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Asks for bytes in the second-level cache, as they will be read soon.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn fetch(bytes: &[u8]) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    const LINE: usize = 64;
    for line in bytes.as_chunks::<LINE>().0 {
        // SAFETY: it changes nothing but the caches, and the place is a reference.
        #[expect(unsafe_code, reason = "the intrinsic takes a pointer")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
    }
}

/// Elsewhere they are copied as usual.
#[cfg(not(target_arch = "x86_64"))]
pub fn copy_past_caches(to: &mut [u8], from: &[u8]) {
    to.copy_from_slice(from);
}

/// And nothing is fetched but by the CPU itself.
#[cfg(not(target_arch = "x86_64"))]
pub fn fetch(_: &[u8]) {}

/// And there is nothing to end.
#[cfg(not(target_arch = "x86_64"))]
pub fn settle() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_and_length_is_copied_and_nothing_beside() {
        let from: Vec<u8> = (0..200).collect();
        for start in 0..20 {
            for len in (0..70).chain([100, 128, 163]) {
                let mut to = vec![255; 256];
                copy_past_caches(&mut to[start..start + len], &from[3..3 + len]);
                assert_eq!(to[start..start + len], from[3..3 + len], "{len} bytes to {start}");
                let beside = to[..start].iter().chain(&to[start + len..]);
                assert!(beside.into_iter().all(|byte| *byte == 255), "{len} bytes to {start}");
            }
        }
    }

    #[test]
    fn another_thread_sees_what_was_copied() {
        let from: Vec<u8> = (0..1 << 16).map(|n| (n % 251) as u8).collect();
        let mut to = vec![0; from.len()];
        let copy = || {
            copy_past_caches(&mut to, &from);
            settle();
        };
        std::thread::scope(|scope| scope.spawn(copy).join().unwrap());
        assert!(to == from);
    }
}
