//! Programs against naive loops.

use super::*;
use crate::expression::{Named, parse_expression, parse_reductions};
use crate::{Buffer, Element, Operation, Scalar, Tree, kernels, random};

/// The program of an expression on `x` alone.
fn program(text: &str, x: DType) -> Program {
    parse_expression(text, x, &mut |name| Err(format!("no '{name}'"))).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn apply<I: Element, O: Element>(text: &str, x: &[I]) -> Vec<O> {
    let program = program(text, I::DTYPE);
    assert_eq!(program.output(), Some(O::DTYPE), "{text}");
    let mut output = Buffer::zeroed(x.len() * O::DTYPE.size());
    let source = Source { bytes: bytemuck::cast_slice(x), crc32c: None };
    program.apply_into(&[source], 0, x.len(), &mut output).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    output.as_slice().to_vec()
}

#[test]
fn a_first_look() {
    assert_eq!(apply::<f64, f64>("x * 2 + 1", &[1.0, 2.5]), [3.0, 6.0]);
    assert_eq!(apply::<i32, i32>("x % 3 + -x // 2", &[7, -7]), [-3, 5]);
    assert_eq!(apply::<i32, f64>("where(x > 0, x / 2, -1)", &[7, -7]), [3.5, -1.0]);
    assert_eq!(apply::<f64, f64>("x", &[7.0, -7.0]), [7.0, -7.0]);
    assert_eq!(apply::<f64, i64>("where(x != 2, 10 // int64(x - 2), 0)", &[7.0, 2.0]), [2, 0]);
    let mut values = vec![0.0; 100_000];
    random::fill_double(1, 0, &mut values, -100.0, 100.0);
    let mut expected = values.clone();
    kernels::example1(&values, &mut expected);
    let found = apply::<f64, f64>(Operation::Example1.text(), &values);
    let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    println!("worst {worst:e} {}", Operation::Example1.program().nodes().len());
    let ints: Vec<i32> = (-50_000..50_000).collect();
    let mut expected = ints.clone();
    kernels::example2(&ints, &mut expected);
    assert_eq!(apply::<i32, i32>(Operation::Example2.text(), &ints), expected);
    let text = "sum(x), max(x), mean(x), std(x), argmin(x*x)";
    let (program, texts) = parse_reductions(text, DType::Float64, &mut |_| Err("no".into())).unwrap();
    println!("{program} {texts:?}");
    assert_eq!(program.to_string().parse(), Ok(program.clone()));
    let source = Source { bytes: bytemuck::cast_slice(&values), crc32c: None };
    for partial in program.reduce(&[source], 0, values.len()).unwrap() {
        println!("{:?}", partial.finish());
    }
}
