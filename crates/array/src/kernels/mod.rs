//! The kernels: plain loops over slices, one thread, the same bits on every CPU.
//!
//! Each kernel is written once, as a generic loop that the compiler turns into vector instructions, and is
//! compiled twice: in a function with AVX2 and FMA enabled, and for the baseline of the target. Both run the
//! same operations in the same order, `mul_add` included, and IEEE 754 fixes the result of each. So on a CPU
//! without FMA, where each `mul_add` is a call of the C library's `fma`, which rounds once by definition,
//! example1 is some twenty times slower and gives the same bits.
//!
//! A result depends on its element only, never on the neighbours or on where a slice begins: a caller may cut
//! a slice anywhere.
//!
//! Absent: kernels without `mul_add` for old CPUs (other bits), the C library's elementary functions
//! (their bits change with its version), reductions.

mod elementary;
mod example1;
mod example2;

/// Names the bits these kernels give. Workers with the same id give the same bits for the same input.
///
/// It changes whenever a bit of a result does, also through a new version of the `libm` crate; a test holds
/// the checksums of some results to notice that.
pub const KERNELS_ID: &str = "darray-1";

/// How a kernel was compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Build {
    /// For the target's baseline: SSE2 on x86-64, NEON with FMA on aarch64.
    Baseline,
    /// With AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2Fma,
}

impl Build {
    /// The fastest build for this CPU. The standard library asks the CPU once and remembers.
    fn best() -> Build {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Build::Avx2Fma;
        }
        Build::Baseline
    }
}

/// Makes `$name(build, input, output)` out of the loop `$body`, compiled once per [`Build`].
macro_rules! builds {
    ($name:ident, $body:path, $input:ty => $output:ty) => {
        fn $name(build: Build, input: &[$input], output: &mut [$output]) {
            assert_eq!(input.len(), output.len(), "a kernel needs as many results as elements");
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2_fma(input: &[$input], output: &mut [$output]) {
                $body(input, output);
            }
            match build {
                Build::Baseline => $body(input, output),
                #[cfg(target_arch = "x86_64")]
                #[allow(unsafe_code)]
                // SAFETY: the function needs a CPU with AVX2 and FMA. `Build::best` returns this
                // variant only after asking the CPU for both, and nothing else outside the tests makes it.
                Build::Avx2Fma => unsafe { avx2_fma(input, output) },
            }
        }
    };
}

builds!(example1_as, example1::run, f64 => f64);
builds!(example2_as, example2::run, i32 => i32);

/// `(sin x + cos x)^2 / (sqrt|x| + 1)` of every element.
///
/// A finite x has a finite result, NaN and the infinities give the NaN with bits `0x7FF8_0000_0000_0000`.
/// Sine and cosine are within one unit in the last place; their sum cancels near `-pi/4 + k pi`, so the
/// result is within 1e-15 of the exact one, not within some units in the last place.
///
/// # Panics
/// If the slices have different lengths.
pub fn example1(input: &[f64], output: &mut [f64]) {
    example1_as(Build::best(), input, output);
}

/// `trunc((x ln x) mod 7)` where x is a multiple of 3 or in `500..=1000`, else x itself.
///
/// A multiple of 3 that is zero or negative, where the logarithm is not a number, gives 0, as the original's
/// conversion of NaN to int does.
///
/// # Panics
/// If the slices have different lengths.
pub fn example2(input: &[i32], output: &mut [i32]) {
    example2_as(Build::best(), input, output);
}

#[cfg(test)]
mod tests;
