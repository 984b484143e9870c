//! Functions of float32.

use array::kernels::Build;
use array::kernels::elementary::{Unary, sin_cos};

use crate::unary;

/// Floats of all magnitudes and signs, with infinities and NaNs, at distances that are no power of two.
fn floats(step: usize) -> Vec<f32> {
    (0..=u32::MAX).step_by(step).map(f32::from_bits).chain([f32::INFINITY, -f32::INFINITY, 0.0, -0.0]).collect()
}

fn of_singles(function: Unary, build: Build, input: &[f32]) -> Vec<u32> {
    let mut output = vec![-1e-33_f32; input.len()];
    function.run(build, input, &mut output);
    output.iter().map(|y| if y.is_nan() { f32::NAN.to_bits() } else { y.to_bits() }).collect()
}

/// Units in the last place of float32 at x, which is within its range.
fn unit(x: f64) -> f64 {
    let exponent = (x.abs().to_bits() >> 52) as i32 - 1023;
    2_f64.powi((exponent - 23).max(-149))
}

#[test]
fn all_but_exp_are_those_of_float64_rounded() {
    let x = floats(300_007);
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    for function in Unary::ALL.into_iter().filter(|function| *function != Unary::Exp) {
        let doubles = unary(function, Build::best(), &wide);
        let rounded = doubles.iter().map(|y| if y.is_nan() { f32::NAN.to_bits() } else { (*y as f32).to_bits() });
        for (x, (found, rounded)) in x.iter().zip(of_singles(function, Build::best(), &x).into_iter().zip(rounded)) {
            assert_eq!(found, rounded, "{function:?} of {x:e}");
        }
    }
}

#[test]
fn sine_and_cosine_together_are_those_alone() {
    let x = floats(300_007);
    let (mut sin, mut cos) = (vec![0_f32; x.len()], vec![0_f32; x.len()]);
    sin_cos(Build::best(), &x, &mut sin, &mut cos);
    for (function, together) in [(Unary::Sin, sin), (Unary::Cos, cos)] {
        let alone = of_singles(function, Build::best(), &x);
        assert!(together.iter().zip(alone).all(|(y, alone)| y.to_bits() == alone || y.is_nan()), "{function:?}");
    }
}

/// Half a unit is the least there can be where results are rounded.
#[test]
fn exp_is_as_good_as_rounded_once() {
    let x: Vec<f32> = floats(1009).into_iter().filter(|x| x.abs() < 110.0).collect();
    let found = of_singles(Unary::Exp, Build::best(), &x);
    let mut worst = 0_f64;
    for (x, found) in x.iter().zip(found) {
        let (found, exact) = (f32::from_bits(found), libm::exp(f64::from(*x)));
        if exact >= f64::from(f32::MAX) + unit(f32::MAX.into()) / 2.0 {
            assert_eq!(found, f32::INFINITY, "{x:e}");
            continue;
        }
        worst = worst.max((f64::from(found) - exact).abs() / unit(exact));
    }
    println!("exp of float32: {worst} units in the last place");
    assert!((0.49..0.501).contains(&worst), "{worst} units in the last place");
}

#[test]
fn builds_and_neighbours_give_the_same_bits() {
    let x = floats(2_000_003);
    for function in Unary::ALL {
        let expected = of_singles(function, Build::all()[0], &x);
        for build in Build::all() {
            assert!(of_singles(function, build, &x) == expected, "{function:?} {build:?}");
        }
        let alone: Vec<u32> = x.iter().flat_map(|x| of_singles(function, Build::best(), &[*x])).collect();
        assert!(alone == expected, "{function:?}");
    }
}

#[test]
fn exp_of_what_has_no_usual_result() {
    let special = [(f32::NAN, f32::NAN), (f32::INFINITY, f32::INFINITY), (f32::NEG_INFINITY, 0.0)];
    let plain =
        [(0.0, 1.0), (-0.0, 1.0), (88.8, f32::INFINITY), (-104.0, 0.0), (f32::MAX, f32::INFINITY), (f32::MIN, 0.0)];
    for (x, y) in special.into_iter().chain(plain) {
        assert_eq!(of_singles(Unary::Exp, Build::best(), &[x]), [y.to_bits()], "{x}");
    }
}
