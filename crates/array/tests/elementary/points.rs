//! Where the elementary functions are tried: random points of every magnitude, and places where something could go wrong.

use std::f64::consts::FRAC_PI_2;

use array::kernels::elementary::{Binary, Unary};
use array::random;

/// Some results next to the middle between two doubles, for sine, cosine, exponential function and logarithm: Lefèvre and
/// Muller, "Worst cases for correct rounding of the elementary functions in double precision", 2001.
const HARD_TO_ROUND: [u64; 4] =
    [0x3EBE_0000_0000_01C2, 0x3E88_0000_0000_0009, 0x3E09_E9CB_BFD6_080B, 0x6A56_2A88_6136_29B6];

/// Which points.
#[derive(Clone, Copy, Debug)]
pub struct Points {
    /// Other points for each.
    pub seed: u64,
    /// How many of each kind.
    pub of_each_kind: usize,
}

impl Points {
    /// Finite arguments for a function of one number.
    pub fn unary(self, function: Unary) -> Vec<f64> {
        let mut points = [self.bit_patterns(0), self.around_powers_of_2(), self.uniform(1, -1.0, 1.0)].concat();
        points.extend(
            [0.1, 0.5, 0.75, 1.0, 1.5, 2.0, 10.0, 25.0, 100.0, 700.0, 800.0].map(|bound| [bound, -bound]).concat(),
        );
        for (i, bound) in [2.0, 5.0, 20.0, 100.0, 740.0, 1e6, 1e14].into_iter().enumerate() {
            points.extend(self.uniform(2 + i as u64, -bound, bound));
        }
        points.extend(HARD_TO_ROUND.map(f64::from_bits));
        match function {
            Unary::Sin | Unary::Cos | Unary::Tan => points.extend(self.around_multiples_of_half_pi()),
            Unary::Log | Unary::Log2 | Unary::Log10 => points.extend(self.next_to_1()),
            Unary::Exp | Unary::Expm1 | Unary::Sinh | Unary::Cosh => points.extend(self.next_to_limits_of_exp()),
            _ => {}
        }
        points.into_iter().filter(|x| x.is_finite()).collect()
    }

    /// Finite arguments for a function of two numbers, for which it is a number.
    pub fn binary(self, function: Binary) -> Vec<(f64, f64)> {
        let mut points = pairs(&self.bit_patterns(20), &self.bit_patterns(21));
        for (i, bound) in [1.0, 3.0, 30.0, 1e3, 1e9].into_iter().enumerate() {
            let seed = 30 + 2 * i as u64;
            points.extend(pairs(&self.uniform(seed, -bound, bound), &self.uniform(seed + 1, -bound, bound)));
            points.extend(pairs(&self.uniform(seed, -bound, bound), &self.uniform(seed + 1, -1.0, 1.0)));
        }
        // Arguments of like magnitude, whatever that is, subnormal ones among them.
        points
            .extend(self.bit_patterns(22).iter().zip(self.uniform(23, -4.0, 4.0)).map(|(x, factor)| (*x, x * factor)));
        if function == Binary::Pow {
            points.extend(self.powers_of_every_size());
        }
        let is_number = |&(a, b): &(f64, f64)| match function {
            Binary::Pow => a > 0.0 || (a < 0.0 && b.fract() == 0.0),
            Binary::Fmod => b != 0.0,
            Binary::Atan2 | Binary::Hypot => a != 0.0 && b != 0.0,
        };
        points.into_iter().filter(|(a, b)| a.is_finite() && b.is_finite()).filter(is_number).collect()
    }

    fn uniform(self, seed: u64, low: f64, high: f64) -> Vec<f64> {
        let mut values = vec![0.0; self.of_each_kind];
        random::fill_double(1000 * self.seed + seed, 0, &mut values, low, high);
        values
    }

    fn ints(self, seed: u64, len: usize) -> Vec<i32> {
        let mut values = vec![0; len];
        random::fill_int(1000 * self.seed + seed, 0, &mut values, i32::MIN, i32::MAX);
        values
    }

    /// Every exponent and sign, NaNs and infinities among them.
    pub fn bit_patterns(self, seed: u64) -> Vec<f64> {
        let double = |pair: &[i32]| f64::from_bits(u64::from(pair[0] as u32) << 32 | u64::from(pair[1] as u32));
        self.ints(seed, 2 * self.of_each_kind).chunks(2).map(double).collect()
    }

    fn around_powers_of_2(self) -> Vec<f64> {
        let exponents = self.ints(10, self.of_each_kind / 4);
        let powers = exponents.into_iter().map(|i| libm::ldexp(1.0, i % 1074));
        powers.flat_map(|x| [x, x.next_up(), -x.next_down(), 1.5 * x]).collect()
    }

    fn around_multiples_of_half_pi(self) -> Vec<f64> {
        let ints = self.ints(11, self.of_each_kind / 2);
        let multiples = ints.iter().map(|&i| f64::from(i.unsigned_abs() >> (i & 15)) * 2_f64.powi(i & 15));
        let close = (0..self.of_each_kind / 2).map(|i| i as f64);
        multiples
            .chain(close)
            .map(|k| k * FRAC_PI_2)
            .flat_map(|x| [x, -x, x.next_up(), x.next_down()])
            // The double nearest to a multiple of pi/2, as far as is known.
            .chain([6_381_956_970_095_103.0 * 2_f64.powi(797)])
            .collect()
    }

    fn next_to_1(self) -> Vec<f64> {
        let steps = (0..self.of_each_kind).map(|i| i as f64 * f64::EPSILON);
        let powers = (2..60).map(|i| 2_f64.powi(-i));
        let both = |d: f64| [1.0 + d, 1.0 - d];
        steps
            .chain(powers)
            .chain(self.uniform(12, 0.0, 0.01))
            .chain(self.uniform(13, 0.0, 0.3))
            .flat_map(both)
            .collect()
    }

    fn next_to_limits_of_exp(self) -> Vec<f64> {
        let limits =
            [(709.7, 709.8), (710.4, 710.5), (-708.5, -708.3), (-745.2, -708.0), (-746.0, -745.0), (-0.4, 0.4)];
        limits.iter().enumerate().flat_map(|(i, &(low, high))| self.uniform(50 + i as u64, low, high)).collect()
    }

    /// Of a random base, such that the logarithms of the results are uniform over what a double holds.
    fn powers_of_every_size(self) -> Vec<(f64, f64)> {
        let logarithms = self.uniform(40, -745.0, 710.0);
        let near_1 = self.uniform(41, 0.999, 1.001);
        let bases = [self.uniform(42, 0.0, 2.0), self.bit_patterns(43), near_1].concat();
        let exponent = |(base, logarithm): (f64, &f64)| (base.abs(), logarithm / libm::log(base.abs()));
        bases.into_iter().zip(logarithms.iter().cycle()).map(exponent).collect()
    }
}

fn pairs(a: &[f64], b: &[f64]) -> Vec<(f64, f64)> {
    a.iter().copied().zip(b.iter().copied()).collect()
}
