//! Zeros, infinities and what is not a number: Annex F of C99. And values that are exact.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use array::kernels::Build;
use array::kernels::elementary::{Binary, Unary};

use crate::points::Points;
use crate::{binary, unary};

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

/// Also among usual numbers, where the element is part of a vector.
fn assert_unary(function: Unary, table: &[(f64, f64)]) {
    for &(x, expected) in table {
        let input = [&[0.5; 21][..], &[x], &[0.25; 10]].concat();
        for build in Build::all() {
            let found = unary(function, build, &input)[21];
            assert_eq!(found.to_bits(), expected.to_bits(), "{} {x:e} = {found:e}, {expected:e}", function.name());
        }
    }
}

fn assert_binary(function: Binary, table: &[(f64, f64, f64)]) {
    for &(a, b, expected) in table {
        let input = [&[(0.5, 0.5); 21][..], &[(a, b)], &[(0.25, 2.0); 10]].concat();
        for build in Build::all() {
            let found = binary(function, build, &input)[21];
            assert_eq!(found.to_bits(), expected.to_bits(), "{} {a:e} {b:e} = {found:e}", function.name());
        }
    }
}

const KEEPS_0: (f64, f64) = (0.0, 0.0);
const KEEPS_MINUS_0: (f64, f64) = (-0.0, -0.0);

#[test]
fn unary_functions_of_special_values() {
    let odd_to_infinity = [KEEPS_0, KEEPS_MINUS_0, (INF, INF), (-INF, -INF), (5e-324, 5e-324)];
    assert_unary(Unary::Cbrt, &odd_to_infinity[..4]);
    assert_unary(Unary::Sinh, &odd_to_infinity);
    assert_unary(Unary::Sinh, &[(711.0, INF), (-711.0, -INF)]);
    assert_unary(Unary::Cosh, &[(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, INF), (711.0, INF), (-1e300, INF)]);
    assert_unary(Unary::Tanh, &[KEEPS_0, KEEPS_MINUS_0, (INF, 1.0), (-INF, -1.0), (1e300, 1.0), (-5e-324, -5e-324)]);

    let exp = [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (1e300, INF), (-1e300, 0.0), (5e-324, 1.0)];
    assert_unary(Unary::Exp, &exp);
    assert_unary(Unary::Exp, &[(709.782712893384, 1.7976931348622732e308), (709.7827128933841, INF)]);
    assert_unary(Unary::Exp, &[(-745.1332191019411, 5e-324), (-745.1332191019412, 0.0)]);
    let expm1 = [KEEPS_0, KEEPS_MINUS_0, (INF, INF), (-INF, -1.0), (1e300, INF), (-1e300, -1.0), (-5e-324, -5e-324)];
    assert_unary(Unary::Expm1, &expm1);

    for function in [Unary::Log, Unary::Log2, Unary::Log10] {
        let table = [(0.0, -INF), (-0.0, -INF), (1.0, 0.0), (INF, INF), (-1.0, NAN), (-5e-324, NAN), (-INF, NAN)];
        assert_unary(function, &table);
    }
    let log1p = [KEEPS_0, KEEPS_MINUS_0, (-1.0, -INF), (-1.5, NAN), (-INF, NAN), (INF, INF), (-5e-324, -5e-324)];
    assert_unary(Unary::Log1p, &log1p);

    for function in [Unary::Sin, Unary::Tan] {
        let table = [KEEPS_0, KEEPS_MINUS_0, (INF, NAN), (-INF, NAN), (5e-324, 5e-324), (-5e-324, -5e-324)];
        assert_unary(function, &table);
    }
    assert_unary(Unary::Cos, &[(0.0, 1.0), (-0.0, 1.0), (INF, NAN), (-INF, NAN), (5e-324, 1.0)]);
    assert_unary(Unary::Asin, &[KEEPS_0, KEEPS_MINUS_0, (1.0, FRAC_PI_2), (-1.0, -FRAC_PI_2), (1.1, NAN), (-INF, NAN)]);
    assert_unary(Unary::Acos, &[(1.0, 0.0), (-1.0, PI), (0.0, FRAC_PI_2), (1.1, NAN), (-INF, NAN)]);
    assert_unary(Unary::Atan, &[KEEPS_0, KEEPS_MINUS_0, (INF, FRAC_PI_2), (-INF, -FRAC_PI_2), (1e300, FRAC_PI_2)]);
}

#[test]
fn pow_of_special_values() {
    let zero_to = [
        (0.0, -3.0, INF),
        (-0.0, -3.0, -INF),
        (0.0, -2.0, INF),
        (-0.0, -2.5, INF),
        (-0.0, -INF, INF),
        (-0.0, 3.0, -0.0),
        (0.0, 3.0, 0.0),
        (-0.0, 2.0, 0.0),
        (-0.0, 2.5, 0.0),
        (0.0, INF, 0.0),
    ];
    assert_binary(Binary::Pow, &zero_to);
    for b in [0.0, -0.0] {
        let table = [0.0, -0.0, 1.0, -3.5, 5e-324, INF, -INF, NAN].map(|a| (a, b, 1.0));
        assert_binary(Binary::Pow, &table);
    }
    assert_binary(Binary::Pow, &[NAN, INF, -INF, 3.5, -1e300].map(|b| (1.0, b, 1.0)));
    let infinite_exponent = [
        (-1.0, INF, 1.0),
        (-1.0, -INF, 1.0),
        (0.5, -INF, INF),
        (-0.5, -INF, INF),
        (2.0, -INF, 0.0),
        (-2.0, -INF, 0.0),
        (0.5, INF, 0.0),
        (-2.0, INF, INF),
    ];
    assert_binary(Binary::Pow, &infinite_exponent);
    let infinite_base =
        [(-INF, -3.0, -0.0), (-INF, -2.0, 0.0), (-INF, 3.0, -INF), (-INF, 2.5, INF), (INF, -0.5, 0.0), (INF, 0.5, INF)];
    assert_binary(Binary::Pow, &infinite_base);
    let others = [
        (-8.0, 1.0 / 3.0, NAN),
        (-2.0, 0.5, NAN),
        (NAN, 1.0, NAN),
        (2.0, NAN, NAN),
        (-2.0, 3.0, -8.0),
        (-2.0, -2.0, 0.25),
        (-1.0, 9_007_199_254_740_991.0, -1.0),
        (-1.0, 1e300, 1.0),
        (2.0, 1024.0, INF),
        (-2.0, 1025.0, -INF),
        (2.0, -1074.0, 5e-324),
        (-2.0, -1077.0, -0.0),
        (1e-310, 2.0, 0.0),
        (1.0000000000000002, 1e300, INF),
        (0.9999999999999999, 1e300, 0.0),
    ];
    assert_binary(Binary::Pow, &others);
}

#[test]
fn atan2_of_special_values() {
    for sign in [1.0, -1.0] {
        let of = |y: f64, x: f64, angle: f64| (y * sign, x, angle * sign);
        let table = [
            of(0.0, -0.0, PI),
            of(0.0, 0.0, 0.0),
            of(0.0, -1.0, PI),
            of(0.0, -1e300, PI),
            of(0.0, 1.0, 0.0),
            of(0.0, 5e-324, 0.0),
            of(1.0, 0.0, FRAC_PI_2),
            of(1.0, -0.0, FRAC_PI_2),
            of(1e300, -0.0, FRAC_PI_2),
            of(1.0, -INF, PI),
            of(1.0, INF, 0.0),
            of(INF, 1.0, FRAC_PI_2),
            of(INF, -INF, 3.0 * FRAC_PI_4),
            of(INF, INF, FRAC_PI_4),
            of(1.0, 1.0, FRAC_PI_4),
            of(5e-324, 5e-324, FRAC_PI_4),
            of(1e300, -1e300, 3.0 * FRAC_PI_4),
            of(5e-324, 1e308, 0.0),
            of(5e-324, -1e308, PI),
        ];
        assert_binary(Binary::Atan2, &table);
    }
    assert_binary(Binary::Atan2, &[(NAN, 1.0, NAN), (0.0, NAN, NAN), (INF, NAN, NAN)]);
}

#[test]
fn hypot_and_fmod_of_special_values() {
    let hypot = [
        (INF, NAN, INF),
        (NAN, -INF, INF),
        (-INF, 1.0, INF),
        (NAN, 1.0, NAN),
        (-3.0, 0.0, 3.0),
        (-0.0, -0.0, 0.0),
        (3.0, -4.0, 5.0),
        (3e300, 4e300, 5e300),
        (5e-324, 0.0, 5e-324),
        (f64::MAX, f64::MAX, INF),
    ];
    assert_binary(Binary::Hypot, &hypot);
    let fmod = [
        (0.0, 3.0, 0.0),
        (-0.0, 3.0, -0.0),
        (-6.0, 3.0, -0.0),
        (5.5, -2.0, 1.5),
        (-5.5, 2.0, -1.5),
        (1.0, INF, 1.0),
        (-0.0, -INF, -0.0),
        (1.0, 0.0, NAN),
        (0.0, 0.0, NAN),
        (INF, 1.0, NAN),
        (NAN, 1.0, NAN),
        (1.0, NAN, NAN),
        (5e-324, 1e308, 5e-324),
        (1e308, 5e-324, 0.0),
    ];
    assert_binary(Binary::Fmod, &fmod);
}

#[test]
fn every_nan_is_the_same() {
    let nans = [0x7FF8 << 48, 0xFFF8 << 48, 0x7FF0_0000_0000_0001, 0xFFFF_FFFF_FFFF_FFFF].map(f64::from_bits);
    for nan in nans {
        Unary::ALL.into_iter().for_each(|function| assert_unary(function, &[(nan, NAN)]));
        Binary::ALL.into_iter().for_each(|function| assert_binary(function, &[(nan, 2.0, NAN), (2.0, nan, NAN)]));
    }
    let patterns = Points { seed: 5, of_each_kind: 20_000 }.bit_patterns(0);
    for function in Unary::ALL {
        let results = unary(function, Build::best(), &patterns);
        assert!(results.iter().all(|y| !y.is_nan() || y.to_bits() == NAN.to_bits()), "{function:?}");
    }
}

#[test]
fn exact_results_are_exact() {
    let log2: Vec<(f64, f64)> = (-1022..1024).map(|k| (libm::ldexp(1.0, k), f64::from(k))).collect();
    assert_unary(Unary::Log2, &log2);
    let powers_of_10: Vec<f64> = (0..23).map(|k| format!("1e{k}").parse().expect("a number")).collect();
    let log10: Vec<(f64, f64)> = powers_of_10.iter().copied().zip((0..).map(f64::from)).collect();
    assert_unary(Unary::Log10, &log10);
    let pow: Vec<_> = log10.iter().map(|&(power, k)| (10.0, k, power)).collect();
    assert_binary(Binary::Pow, &pow);
    let pow: Vec<_> = (-33..=33_i32).map(|k| (-3.0, f64::from(k.abs()), (-3.0_f64).powi(k.abs()))).collect();
    assert_binary(Binary::Pow, &pow);
    let cubes: Vec<_> = (-10_000..10_000_i64).map(|k| ((k * k * k) as f64, k as f64)).collect();
    assert_eq!(
        unary(Unary::Cbrt, Build::best(), &cubes.iter().map(|pair| pair.0).collect::<Vec<_>>()),
        cubes.iter().map(|pair| pair.1).collect::<Vec<_>>()
    );
    let patterns = Points { seed: 6, of_each_kind: 2_000 }.bit_patterns(0);
    let squares: Vec<_> = patterns.iter().filter(|x| !x.is_nan()).map(|&x| (x, 2.0, x * x)).collect();
    assert_binary(Binary::Pow, &squares);
}
