//! Into how many steps programs are made, and how many elements these take at a time. Neither changes a bit, which the random programs
//! show; both change how long it takes.

use super::super::compile::Compiled;
use super::super::machine::BLOCK;
use super::*;
use DType::*;

fn steps(text: &str) -> usize {
    Compiled::new(&program_of(text, Float64, Float64)).instructions.len()
}

#[test]
fn two_operations_of_arithmetic_are_one_step() {
    let cases = [
        ("x*2.5 + 1", 1),
        ("(x + y)**2", 1),
        // A division is slow, and only goes second.
        ("(x - y)/x", 1),
        ("x/y + 1", 2),
        // What two take is a step of its own.
        ("(x + y)*(x + y)*x + (x + y)", 3),
    ];
    for (text, expected) in cases {
        assert_eq!(steps(text), expected, "{text}");
    }
}

/// Powers, a square and a cube; then the first two terms, and each other one with the sum before.
#[test]
fn a_polynomial_adds_each_term_where_it_is_made() {
    assert_eq!(steps("0.5*x**5 + 1.5*x**4 - 2.5*x**3 + 3.0*x**2 - 4.0*x + 5.0"), 10);
}

#[test]
fn many_values_are_computed_on_fewer_elements_at_a_time() {
    let block = |text: &str, x: DType| {
        let program = program_of(text, x, x);
        Compiled::new(&program).block(program.inputs())
    };
    let many = "(x*y + x)*(x*x - y) + (x - y)*(y + x)*x";
    assert_eq!((block(many, Float64), block(many, Float32)), (BLOCK / 2, BLOCK));
    assert_eq!(block("where(x > 0, x*x, -x)", Float64), BLOCK, "conditions take an eighth");
    assert_eq!(block("x*2.5 + y", Float64), BLOCK);
}
