//! One loop, compiled for several kinds of CPU.
//!
//! A loop is written once, as a [`Loop`] that the compiler turns into vector instructions. [`Build::run`] has it compiled for
//! each kind, as it is generic and inlines everything; which one runs is asked of the CPU.

/// How a loop was compiled. There is none that this CPU can't run: [`Build::best`] and [`Build::all`] ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// For the target's baseline: SSE2 on x86-64, NEON with FMA on aarch64.
    Baseline,
    /// With AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2Fma,
    /// With AVX-512 (its parts F, DQ, BW and VL) beside those.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// A loop over slices.
pub trait Loop {
    /// What it gives beside what it writes.
    type Output;

    /// Goes through it. Implementations are `#[inline(always)]`, and so is all they call: what is not inlined is compiled for the
    /// baseline.
    fn run(self) -> Self::Output;
}

impl Build {
    /// The fastest build for this CPU. The standard library asks the CPU once and remembers.
    #[inline]
    pub fn best() -> Build {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl");
            return Build(if has_avx512 { Kind::Avx512 } else { Kind::Avx2Fma });
        }
        Build(Kind::Baseline)
    }

    /// Every build that this CPU can run, the baseline first.
    pub fn all() -> Vec<Build> {
        let all: &[Kind] = match Build::best().0 {
            Kind::Baseline => &[Kind::Baseline],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2Fma => &[Kind::Baseline, Kind::Avx2Fma],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => &[Kind::Baseline, Kind::Avx2Fma, Kind::Avx512],
        };
        all.iter().map(|kind| Build(*kind)).collect()
    }

    /// Runs a loop as this build has it.
    #[inline]
    pub fn run<L: Loop>(self, body: L) -> L::Output {
        match self.0 {
            Kind::Baseline => body.run(),
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // SAFETY: the function needs a CPU with AVX2 and FMA. `best` makes this variant, and `all` contains it, only after the
            // CPU was asked for both; nobody else can make one.
            Kind::Avx2Fma => unsafe { avx2_fma(body) },
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            // SAFETY: as above, and it was asked for each of the four parts of AVX-512.
            Kind::Avx512 => unsafe { avx512(body) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2_fma<L: Loop>(body: L) -> L::Output {
    body.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")]
fn avx512<L: Loop>(body: L) -> L::Output {
    body.run()
}
