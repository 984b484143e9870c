//! The elementary functions: how exact they are, their special values, and that nothing but the argument matters.

mod accuracy;
mod bits;
mod points;
mod reference;
mod single;
mod special;

use array::kernels::Build;
use array::kernels::elementary::{Binary, Unary};

fn unary(function: Unary, build: Build, input: &[f64]) -> Vec<f64> {
    // Not what any function gives, so that a forgotten element shows.
    let mut output = vec![-1e-77; input.len()];
    function.run(build, input, &mut output);
    output
}

fn binary(function: Binary, build: Build, pairs: &[(f64, f64)]) -> Vec<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let mut output = vec![-1e-77; pairs.len()];
    function.run(build, &a, &b, &mut output);
    output
}
