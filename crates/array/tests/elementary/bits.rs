//! The same bits from every build, for every cut, beside any neighbours, and with every version of what is used.

use array::checksum;
use array::kernels::elementary::{self, Binary, Unary};
use array::kernels::{self, Build};

use crate::points::Points;
use crate::{binary, unary};

const POINTS: Points = Points { seed: 7, of_each_kind: 1_000 };

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The usual ones, and in some places of them, so in most blocks, what the fast paths do not hold for.
fn unary_points(function: Unary) -> Vec<f64> {
    let mut points = POINTS.unary(function);
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, 5e-324, f64::MAX, -1.0, 1e200];
    points.iter_mut().skip(3).step_by(97).zip(odd.into_iter().cycle()).for_each(|(x, odd)| *x = odd);
    points
}

fn binary_points(function: Binary) -> Vec<(f64, f64)> {
    let mut points = POINTS.binary(function);
    let odd = [f64::NAN, f64::INFINITY, -0.0, 0.0, 5e-324, f64::MAX, -2.0, 1.0];
    let pairs = odd.into_iter().flat_map(|a| odd.map(|b| (a, b))).collect::<Vec<_>>();
    points.iter_mut().skip(3).step_by(97).zip(pairs.into_iter().cycle()).for_each(|(pair, odd)| *pair = odd);
    points
}

#[test]
fn builds_give_the_same_bits() {
    for function in Unary::ALL {
        let points = unary_points(function);
        let expected = bits(&unary(function, Build::all()[0], &points));
        for build in Build::all() {
            assert_eq!(bits(&unary(function, build, &points)), expected, "{function:?} {build:?}");
        }
    }
    for function in Binary::ALL {
        let points = binary_points(function);
        let expected = bits(&binary(function, Build::all()[0], &points));
        for build in Build::all() {
            assert_eq!(bits(&binary(function, build, &points)), expected, "{function:?} {build:?}");
        }
    }
}

/// Each element by itself, and slices of every length up to some vectors.
#[test]
fn neighbours_and_cuts_do_not_matter() {
    fn assert_cuts<T>(points: &[T], name: &str, run: impl Fn(&[T]) -> Vec<f64>) {
        let whole = bits(&run(points));
        let lengths = (1..40).chain([511, 512, 513, 1024, 1025]);
        for length in lengths {
            let cut: Vec<f64> = points.chunks(length).flat_map(&run).collect();
            assert_eq!(bits(&cut), whole, "{name}, {length} at a time");
        }
    }
    for function in Unary::ALL {
        assert_cuts(&unary_points(function), function.name(), |points| unary(function, Build::best(), points));
    }
    for function in Binary::ALL {
        assert_cuts(&binary_points(function), function.name(), |points| binary(function, Build::best(), points));
    }
}

#[test]
fn sine_and_cosine_together_are_those_alone() {
    let points = unary_points(Unary::Sin);
    for build in Build::all() {
        let (mut sin, mut cos) = (vec![0.0; points.len()], vec![0.0; points.len()]);
        elementary::sin_cos(build, &points, &mut sin, &mut cos);
        assert_eq!(bits(&sin), bits(&unary(Unary::Sin, build, &points)));
        assert_eq!(bits(&cos), bits(&unary(Unary::Cos, build, &points)));
    }
}

/// An expression that says what example1 does gives its bits.
#[test]
fn example1_is_its_formula_step_by_step() {
    let points = unary_points(Unary::Sin);
    let mut expected = vec![0.0; points.len()];
    kernels::example1(&points, &mut expected);
    let (sin, cos) = (unary(Unary::Sin, Build::best(), &points), unary(Unary::Cos, Build::best(), &points));
    let sums: Vec<(f64, f64)> = sin.iter().zip(&cos).map(|(sin, cos)| (sin + cos, 2.0)).collect();
    let squares = binary(Binary::Pow, Build::best(), &sums);
    for ((x, square), expected) in points.iter().zip(squares).zip(expected) {
        let found = square / (x.abs().sqrt() + 1.0);
        let same = if x.is_finite() { found.to_bits() == expected.to_bits() } else { found.is_nan() };
        assert!(same, "{x:e}: {found:e}, example1 {expected:e}");
    }
}

/// So example2, which is made with the same function, is its formula too.
#[test]
fn log_has_the_bits_of_libm() {
    let ints = (1..100_000).chain((1..i32::MAX).step_by(9_973)).map(f64::from);
    let points = [ints.collect(), unary_points(Unary::Log)].concat();
    for (x, y) in points.iter().zip(unary(Unary::Log, Build::best(), &points)) {
        let expected = libm::log(*x);
        assert!(y.to_bits() == expected.to_bits() || expected.is_nan(), "{x:e}: {y:e}, {expected:e}");
    }
}

#[test]
fn odd_and_even_functions_are_symmetric() {
    use Unary::{Asin, Atan, Cbrt, Cos, Cosh, Sin, Sinh, Tan, Tanh};
    for function in [Asin, Atan, Cbrt, Cos, Cosh, Sin, Sinh, Tan, Tanh] {
        let points = POINTS.unary(function);
        let negated: Vec<f64> = points.iter().map(|x| -x).collect();
        let results = unary(function, Build::best(), &points);
        let is_even = matches!(function, Cos | Cosh);
        for ((x, y), mirrored) in points.iter().zip(results).zip(unary(function, Build::best(), &negated)) {
            let expected = if is_even { y } else { -y };
            assert!(mirrored.to_bits() == expected.to_bits() || y.is_nan(), "{function:?} {x:e}");
        }
    }
}

/// If this fails, results have other bits than those of workers that run already: `KERNELS_ID` must change together with the
/// checksum. A new version of the `libm` crate can do that.
#[test]
fn the_bits_have_not_changed() {
    let mut results = Vec::new();
    for function in Unary::ALL {
        results.extend(unary(function, Build::best(), &unary_points(function)));
    }
    for function in Binary::ALL {
        results.extend(binary(function, Build::best(), &binary_points(function)));
    }
    let singles: Vec<f32> = unary_points(Unary::Exp).into_iter().map(|x| x as f32).collect();
    let mut of_singles = vec![0_f32; singles.len()];
    Unary::Exp.run(Build::best(), &singles, &mut of_singles); // the others are those of float64
    results.extend(of_singles.into_iter().map(f64::from));
    let crc = checksum::crc32c(bytemuck::cast_slice(&results));
    assert_eq!((kernels::KERNELS_ID, crc), ("darray-3", 843_100_624));
}
