//! What programs give, one element after the other, as plainly as it can be said.

use super::*;
use crate::kernels::{Build, elementary};
use crate::random;
use DType::*;

/// Bits of all values of one element, or why it has none.
pub fn evaluate(program: &Program, inputs: &[Buffer], start: u64, at: usize) -> Result<Vec<u64>, Fault> {
    let needed = needed(program);
    let mut values: Vec<u64> = Vec::new();
    for (id, node) in program.nodes().iter().enumerate() {
        let arg = |at: usize| values[node.args[at] as usize];
        let from = node.args.first().map_or(node.dtype, |arg| program.nodes()[*arg as usize].dtype);
        let (bits, fault) = match node.op {
            Op::Input(input) => {
                let bytes = &inputs[input as usize].as_bytes()[at * node.dtype.size()..][..node.dtype.size()];
                (bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte)), None)
            }
            Op::Constant(bits) => (bits, None),
            Op::Index => (start + at as u64, None),
            Op::Uniform { .. } | Op::Normal { .. } | Op::Integers { .. } => (generate(node, start + at as u64), None),
            Op::Power(exponent) => {
                let mut y = [0.0_f64];
                elementary::integer_power(Build::best(), exponent, &[f64::from_bits(arg(0))], &mut y);
                (y[0].to_bits(), None)
            }
            Op::Cast => cast(arg(0), from, node.dtype),
            Op::Unary(function) => (unary(function, from, arg(0)), None),
            Op::Binary(function) => binary(function, from, arg(0), arg(1)),
            Op::Where => (if arg(0) != 0 { arg(1) } else { arg(2) }, None),
        };
        let excused = !needed[id] || node.guard.is_some_and(|guard| values[guard as usize] == 0);
        if let Some(fault) = fault.filter(|_| !excused) {
            return Err(fault);
        }
        values.push(bits);
    }
    Ok(values)
}

/// Which nodes the kept one needs.
fn needed(program: &Program) -> Vec<bool> {
    let mut needed = vec![false; program.nodes().len()];
    match program.outcome {
        Outcome::Elements(kept) => needed[kept as usize] = true,
        Outcome::Reductions(ref all) => all.iter().for_each(|(_, kept)| needed[*kept as usize] = true),
    }
    for (id, node) in program.nodes().iter().enumerate().rev() {
        if needed[id] {
            node.args.iter().chain(&node.guard).for_each(|arg| needed[*arg as usize] = true);
        }
    }
    needed
}

fn generate(node: &Node, index: u64) -> u64 {
    let (mut float, mut int, mut long) = ([0.0], [0], [0]);
    match node.op {
        Op::Uniform { seed, low, high } => random::fill_double(seed, index, &mut float, low, high),
        Op::Normal { seed } => random::fill_normal(seed, index, &mut float),
        Op::Integers { seed, low, high } if node.dtype == Int64 => random::fill_long(seed, index, &mut long, low, high),
        Op::Integers { seed, low, high } => random::fill_int(seed, index, &mut int, low as i32, high as i32),
        op => panic!("{op:?}"),
    }
    match node.dtype {
        Int32 => u64::from(int[0] as u32),
        Int64 => long[0] as u64,
        _ => float[0].to_bits(),
    }
}

fn f(dtype: DType, bits: u64) -> f64 {
    if dtype == Float32 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) }
}

/// A result in float64, which for one operation on float32 rounds to the same as computing in float32.
fn of_f(dtype: DType, value: f64) -> u64 {
    if dtype == Float32 { u64::from((value as f32).to_bits()) } else { value.to_bits() }
}

fn i(dtype: DType, bits: u64) -> i64 {
    if dtype == Int32 { i64::from(bits as i32) } else { bits as i64 }
}

fn of_i(dtype: DType, value: i128) -> u64 {
    if dtype == Int32 { u64::from(value as u32) } else { value as u64 }
}

fn cast(bits: u64, from: DType, to: DType) -> (u64, Option<Fault>) {
    let is_float = |dtype| matches!(dtype, Float32 | Float64);
    match (is_float(from), to) {
        (true, Bool) => (u64::from(f(from, bits) != 0.0), None),
        (true, Float32 | Float64) => (of_f(to, f(from, bits)), None),
        (true, _) => {
            let value = f(from, bits);
            let (low, high) = if to == Int32 { (-(1_i128 << 31), 1 << 31) } else { (-(1_i128 << 63), 1 << 63) };
            let whole = value as i128; // no int64 and no int32 saturates it
            let fault = match value.is_nan() {
                true => Some(Fault::NotANumber(to)),
                false => (whole < low || whole >= high).then_some(Fault::OutOfRange(to)),
            };
            (if fault.is_some() { 0 } else { of_i(to, whole) }, fault)
        }
        (false, Bool) => (u64::from(bits != 0), None),
        (false, Float32) => (u64::from((i(from, bits) as f32).to_bits()), None),
        (false, Float64) => ((i(from, bits) as f64).to_bits(), None),
        (false, _) => {
            let value = i(from, bits);
            let fits = to == Int64 || i32::try_from(value).is_ok();
            (of_i(to, value.into()), (!fits).then_some(Fault::OutOfRange(to)))
        }
    }
}

fn unary(function: Unary, dtype: DType, bits: u64) -> u64 {
    if dtype == Bool {
        return u64::from(bits == 0);
    }
    if matches!(dtype, Int32 | Int64) {
        let value = i128::from(i(dtype, bits));
        return of_i(
            dtype,
            match function {
                Unary::Neg => -value,
                Unary::Abs => value.abs(),
                Unary::Sign => value.signum(),
                other => panic!("{other:?} of an int"),
            },
        );
    }
    let value = f(dtype, bits);
    let result = match function {
        Unary::Neg => -value,
        Unary::Abs => value.abs(),
        Unary::Sign if value.is_nan() || value == 0.0 => value + 0.0,
        Unary::Sign => 1_f64.copysign(value),
        Unary::Floor => libm::floor(value),
        Unary::Ceil => libm::ceil(value),
        Unary::Trunc => libm::trunc(value),
        Unary::Round => libm::rint(value),
        Unary::Sqrt => value.sqrt(),
        Unary::IsNan => return u64::from(value.is_nan()),
        Unary::IsInf => return u64::from(value.is_infinite()),
        Unary::IsFinite => return u64::from(value.is_finite()),
        Unary::Elementary(function) if dtype == Float32 => {
            let mut result = [0_f32];
            function.run(Build::best(), &[value as f32], &mut result);
            result[0].into()
        }
        Unary::Elementary(function) => {
            let mut result = [0.0];
            function.run(Build::best(), &[value], &mut result);
            result[0]
        }
        Unary::Not => panic!("not of a float"),
    };
    of_f(dtype, result)
}

fn binary(function: Binary, dtype: DType, a: u64, b: u64) -> (u64, Option<Fault>) {
    let ordering = match dtype {
        Float32 | Float64 => f(dtype, a).partial_cmp(&f(dtype, b)),
        _ => Some(i(dtype, a).cmp(&i(dtype, b))),
    };
    let is = |found: bool| (u64::from(found), None);
    match function {
        Binary::Eq => return is(ordering.is_some_and(|o| o.is_eq())),
        Binary::Ne => return is(!ordering.is_some_and(|o| o.is_eq())),
        Binary::Lt => return is(ordering.is_some_and(|o| o.is_lt())),
        Binary::Le => return is(ordering.is_some_and(|o| o.is_le())),
        Binary::And => return is(a & b != 0),
        Binary::Or => return is(a | b != 0),
        _ => {}
    }
    match dtype {
        Float32 | Float64 => (of_f(dtype, of_floats(function, dtype, f(dtype, a), f(dtype, b))), None),
        _ => {
            let (value, fault) = of_ints(function, i(dtype, a).into(), i(dtype, b).into());
            (of_i(dtype, value), fault)
        }
    }
}

fn of_floats(function: Binary, dtype: DType, a: f64, b: f64) -> f64 {
    let nan_or = |value: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { value };
    match function {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Minimum => nan_or(if a < b { a } else { b }),
        Binary::Maximum => nan_or(if a > b { a } else { b }),
        // As `npy_divmod` of NumPy has it, in the precision of the dtype.
        Binary::FloorDiv if b == 0.0 => a / b,
        Binary::FloorDiv => {
            let rest = libm::fmod(a, b);
            let step = if rest != 0.0 && (b < 0.0) != (rest < 0.0) { 1.0 } else { 0.0 };
            let in_dtype = |value: f64| f(dtype, of_f(dtype, value));
            let quotient = in_dtype(in_dtype(in_dtype(a - rest) / b) - step);
            if quotient == 0.0 {
                return 0_f64.copysign(a / b);
            }
            let floor = libm::floor(quotient);
            if in_dtype(quotient - floor) > 0.5 { floor + 1.0 } else { floor }
        }
        Binary::Mod => {
            let rest = libm::fmod(a, b);
            match rest {
                0.0 => 0_f64.copysign(b),
                _ if (b < 0.0) != (rest < 0.0) => rest + b,
                _ => rest,
            }
        }
        Binary::Elementary(function) => {
            let mut result = [0.0];
            function.run(Build::best(), &[a], &[b], &mut result);
            result[0]
        }
        other => panic!("{other:?} of floats"),
    }
}

fn of_ints(function: Binary, a: i128, b: i128) -> (i128, Option<Fault>) {
    let division = |value: fn(i128, i128) -> i128| match b {
        0 => (0, Some(Fault::DivisionByZero)),
        _ => (value(a, b), None),
    };
    match function {
        Binary::Add => (a + b, None),
        Binary::Sub => (a - b, None),
        Binary::Mul => (a.wrapping_mul(b), None),
        Binary::Minimum => (a.min(b), None),
        Binary::Maximum => (a.max(b), None),
        Binary::Rem => division(|a, b| a % b),
        Binary::FloorDiv => division(|a, b| a.div_euclid(b) - i128::from(b < 0 && a.rem_euclid(b) != 0)),
        Binary::Mod => division(|a, b| a.rem_euclid(b) + if b < 0 && a.rem_euclid(b) != 0 { b } else { 0 }),
        Binary::IntPow if b < 0 => (0, Some(Fault::NegativePower)),
        // Only the low 64 bits count, and those of a product depend on those of its factors alone.
        Binary::IntPow => {
            let square = |value: i128| value.wrapping_mul(value);
            (
                (0..64).rev().fold(1, |power, bit| square(power).wrapping_mul(if b >> bit & 1 == 1 { a } else { 1 })),
                None,
            )
        }
        other => panic!("{other:?} of ints"),
    }
}

/// With all NaNs the same.
pub fn canonical(dtype: DType, bits: u64) -> u64 {
    match dtype {
        Float32 | Float64 if f(dtype, bits).is_nan() => of_f(dtype, f64::from_bits(0x7FF8_0000_0000_0000)),
        _ => bits,
    }
}
