//! How exact the elementary functions are: against arbitrary precision.

use std::f64::consts::FRAC_PI_2;

use array::kernels::Build;
use array::kernels::elementary::{Binary, EXPONENTS, Unary, integer_power};
use rayon::prelude::*;

use crate::points::Points;
use crate::reference::{Reference, ulps};
use crate::{binary, unary};

/// The greatest error allowed, in units in the last place.
const LIMIT: f64 = 1.0;

/// The greatest error and where it is.
#[derive(Clone, Copy, Default)]
struct Worst {
    ulps: f64,
    at: (f64, f64),
}

impl Worst {
    fn max(self, other: Worst) -> Worst {
        if other.ulps > self.ulps { other } else { self }
    }
}

fn worst_unary(function: Unary, input: &[f64]) -> Worst {
    let output = unary(function, Build::best(), input);
    let error = |reference: &mut Reference, (&x, &y): (&f64, &f64)| Worst {
        ulps: ulps(y, &reference.unary(function, x)),
        at: (x, 0.0),
    };
    input.par_iter().zip(&output).map_init(Reference::new, error).reduce(Worst::default, Worst::max)
}

fn worst_binary(function: Binary, input: &[(f64, f64)]) -> Worst {
    let output = binary(function, Build::best(), input);
    let error = |reference: &mut Reference, (&(a, b), &y): (&(f64, f64), &f64)| Worst {
        ulps: ulps(y, &reference.binary(function, a, b)),
        at: (a, b),
    };
    input.par_iter().zip(&output).map_init(Reference::new, error).reduce(Worst::default, Worst::max)
}

fn assert_within_limit(name: &str, Worst { ulps, at }: Worst) {
    println!("{name} {ulps} at {at:?}");
    assert!(ulps <= LIMIT, "{name} is {ulps} units in the last place off at {at:?}");
}

/// Powers that are products.
fn assert_powers_exact(points: &Points) {
    let bases: Vec<f64> = points.binary(Binary::Pow).into_iter().map(|(base, _)| base).collect();
    for exponent in EXPONENTS {
        let mut output = vec![0.0; bases.len()];
        integer_power(Build::best(), exponent, &bases, &mut output);
        let error = |reference: &mut Reference, (&x, &y): (&f64, &f64)| Worst {
            ulps: ulps(y, &reference.binary(Binary::Pow, x, exponent.into())),
            at: (x, exponent.into()),
        };
        let worst = bases.par_iter().zip(&output).map_init(Reference::new, error).reduce(Worst::default, Worst::max);
        assert_within_limit("power", worst);
    }
}

fn assert_exact(points: Points) {
    assert_powers_exact(&points);
    for function in Unary::ALL {
        assert_within_limit(function.name(), worst_unary(function, &points.unary(function)));
    }
    for function in Binary::ALL {
        assert_within_limit(function.name(), worst_binary(function, &points.binary(function)));
    }
}

#[test]
fn results_are_within_a_unit_in_the_last_place() {
    assert_exact(Points { seed: 1, of_each_kind: 400 });
}

/// More of them, for whoever changes a function; `cargo test -p array --test elementary -- --ignored --nocapture` shows
/// the greatest errors too.
#[test]
#[ignore = "takes minutes"]
fn many_results_are_within_a_unit_in_the_last_place() {
    for seed in 2..12 {
        assert_exact(Points { seed, of_each_kind: 10_000 });
    }
}

/// Where one of the two is tiny, a reduction with too few bits shows in thousands of units. More points than arbitrary
/// precision has time for.
#[test]
fn sine_and_cosine_next_to_multiples_of_half_pi_are_as_libm_has_them() {
    let dense = 0..300_000_u64;
    let sparse = (18..45).flat_map(|bits| (0..200).map(move |offset| (1 << bits) + offset));
    let multiples = dense.chain(sparse).map(|k| k as f64 * FRAC_PI_2);
    let points: Vec<f64> = multiples.flat_map(|x| [x, -x, x.next_up(), x.next_down()]).collect();
    let functions = [(Unary::Sin, libm::sin as fn(f64) -> f64), (Unary::Cos, libm::cos), (Unary::Tan, libm::tan)];
    for (function, expected) in functions {
        for (&x, y) in points.iter().zip(unary(function, Build::best(), &points)) {
            let distance = y.abs().to_bits().abs_diff(expected(x).abs().to_bits());
            let same_sign = y.is_sign_negative() == expected(x).is_sign_negative();
            assert!(distance <= 1 && same_sign, "{function:?} {x:e}: {y:e}, libm {:e}", expected(x));
        }
    }
}

/// Also where the quotient is next to an integer, so that its rounding reaches another one, and where numbers are subnormal.
#[test]
fn remainders_are_exact() {
    let points = Points { seed: 3, of_each_kind: 5_000 };
    let next_to_multiples = points.binary(Binary::Atan2).into_iter().flat_map(|(a, y)| {
        let x = (a / y).trunc() * y;
        [(a, y), (x, y), (x.next_up(), y), (x.next_down(), y), (a * 5e-324, y * 1e-323), (a % y, y * 1e-10)]
    });
    let pairs: Vec<(f64, f64)> = next_to_multiples.collect();
    for (&(x, y), found) in pairs.iter().zip(binary(Binary::Fmod, Build::best(), &pairs)) {
        // The standard library's is exact by IEEE 754.
        let expected = x % y;
        assert!(found.to_bits() == expected.to_bits() || expected.is_nan() && found.is_nan(), "{x:e} {y:e}: {found:e}");
    }
}
