//! Random programs, run by the machine and by an evaluator that takes one element after the other.

use super::super::machine::{BLOCK, Fault};
use super::super::run::CHUNK;
use super::*;
use crate::kernels::{Build, elementary};
use crate::{Tree, Values, random, reduction};
use DType::*;
use proptest::prelude::*;

const COMPUTED: [DType; 5] = [Bool, Int32, Int64, Float32, Float64];

/// What a random step is made from.
type Choice = (usize, [usize; 4]);

/// Random programs that give elements, and what they are made from.
pub fn programs() -> impl Strategy<Value = Program> {
    let inputs = prop::collection::vec(prop::sample::select(&COMPUTED[..]), 1..4);
    let choices = prop::collection::vec((any::<usize>(), any::<[usize; 4]>()), 1..40);
    (inputs, choices, any::<usize>()).prop_map(|(inputs, choices, kept)| {
        let (builder, len) = build(inputs, &choices);
        builder.elements((len - 1 - (kept % len).min(3)) as NodeId)
    })
}

/// Adds a step for each choice that is possible; gives the number of nodes too.
fn build(inputs: Vec<DType>, choices: &[Choice]) -> (Builder, usize) {
    let mut builder = Builder::new(inputs.clone()).unwrap();
    let mut len = 0;
    let mut add = |builder: &mut Builder, node: Node| {
        // Whatever does not fit is left out.
        if let Ok(id) = builder.add(node) {
            len = len.max(id as usize + 1);
        }
        len
    };
    for (input, dtype) in inputs.iter().enumerate() {
        add(&mut builder, Node { op: Op::Input(input as u32), dtype: *dtype, args: vec![], guard: None });
    }
    let (unary, binary): (Vec<Unary>, Vec<Binary>) = (Unary::all().collect(), Binary::all().collect());
    for (choice, numbers) in choices {
        let nodes = add(&mut builder, Node { op: Op::Index, dtype: Int64, args: vec![], guard: None });
        // The last node of this dtype that a number picks, if there is one.
        let of = |builder: &Builder, number: usize, dtype: DType| {
            let all: Vec<NodeId> = (0..nodes as NodeId).filter(|id| builder.dtype(*id) == dtype).collect();
            (!all.is_empty()).then(|| all[number % all.len()])
        };
        let any = |number: usize| (number % nodes) as NodeId;
        let a = any(numbers[0]);
        let from = builder.dtype(a);
        let guard = of(&builder, numbers[3], Bool).filter(|_| numbers[3] % 3 != 0);
        let (op, dtype, args) = match choice % 12 {
            0 => constant(numbers[1], numbers[2]),
            1 => generator(numbers[1]),
            2 | 3 => (Op::Cast, COMPUTED[numbers[1] % 5], vec![a]),
            4 | 5 => {
                let unary = unary[numbers[1] % unary.len()];
                (Op::Unary(unary), unary.output(from).unwrap_or(from), vec![a])
            }
            6 => {
                let Some(condition) = of(&builder, numbers[1], Bool) else { continue };
                (Op::Where, from, vec![condition, a, of(&builder, numbers[2], from).unwrap()])
            }
            _ => {
                let binary = binary[numbers[1] % binary.len()];
                let b = of(&builder, numbers[2], from).unwrap();
                (Op::Binary(binary), binary.output(from).unwrap_or(from), vec![a, b])
            }
        };
        let guard = guard.filter(|_| op::can_fail(op, Some(from), dtype));
        add(&mut builder, Node { op, dtype, args, guard });
    }
    (builder, len)
}

fn constant(number: usize, dtype: usize) -> (Op, DType, Vec<NodeId>) {
    let dtype = COMPUTED[dtype % 5];
    (Op::Constant(element(dtype, number as u64)), dtype, vec![])
}

fn generator(number: usize) -> (Op, DType, Vec<NodeId>) {
    let seed = number as u64 / 4;
    match number % 4 {
        0 => (Op::Uniform { seed, low: -2.0, high: 3.0 }, Float64, vec![]),
        1 => (Op::Normal { seed }, Float64, vec![]),
        2 => (Op::Integers { seed, low: -2, high: 2 }, Int32, vec![]),
        _ => (Op::Integers { seed, low: i64::MIN, high: i64::MAX }, Int64, vec![]),
    }
}

/// An element, mostly one that is special.
fn element(dtype: DType, number: u64) -> u64 {
    const INTS: [i64; 10] = [0, 1, -1, 2, 7, -10, 1 << 31, i32::MIN as i64, i64::MAX, i64::MIN];
    const FLOATS: [f64; 10] = [0.0, -0.0, 1.0, -2.5, 0.1, 1e18, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 5e-324];
    let (special, other) = ((number / 4 % 10) as usize, number.is_multiple_of(4));
    match dtype {
        Bool => number & 1,
        Int32 if other => number >> 32,
        Int32 => u64::from(INTS[special] as i32 as u32),
        Int64 if other => number,
        Int64 => INTS[special] as u64,
        Float32 if other => u64::from(((number >> 32) as i32 as f32 / 1e8).to_bits()),
        Float32 => u64::from((FLOATS[special] as f32).to_bits()),
        _ if other => ((number as i64) as f64 / 1e16).to_bits(),
        _ => FLOATS[special].to_bits(),
    }
}

/// The bytes of an input.
fn elements(dtype: DType, seed: u64, len: usize) -> Buffer {
    let element = |at: usize| element(dtype, random::bits(seed, at as u64)).to_le_bytes();
    let bytes: Vec<u8> = (0..len).flat_map(|at| element(at)[..dtype.size()].to_vec()).collect();
    Buffer::from_bytes(&bytes)
}

/// Bits of all values of one element, or why it has none.
fn evaluate(program: &Program, inputs: &[Buffer], start: u64, at: usize) -> Result<Vec<u64>, Fault> {
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
fn canonical(dtype: DType, bits: u64) -> u64 {
    match dtype {
        Float32 | Float64 if f(dtype, bits).is_nan() => of_f(dtype, f64::from_bits(0x7FF8_0000_0000_0000)),
        _ => bits,
    }
}

/// What the evaluator says of a whole piece.
fn expected(program: &Program, inputs: &[Buffer], start: u64, len: usize) -> Result<Vec<u8>, RunError> {
    let Outcome::Elements(kept) = program.outcome else { panic!("it gives elements") };
    let dtype = program.output().unwrap();
    let mut bytes = Vec::new();
    for at in 0..len {
        let failed = |fault| RunError::Element(ElementError { index: start + at as u64, fault });
        let values = evaluate(program, inputs, start, at).map_err(failed)?;
        bytes.extend(&canonical(dtype, values[kept as usize]).to_le_bytes()[..dtype.size()]);
    }
    Ok(bytes)
}

fn inputs_of(program: &Program, seed: u64, len: usize) -> Vec<Buffer> {
    let input = |(at, dtype): (usize, &DType)| elements(*dtype, seed.wrapping_add(at as u64), len);
    program.inputs().iter().enumerate().map(input).collect()
}

fn sources(inputs: &[Buffer]) -> Vec<Source<'_>> {
    inputs.iter().map(|buffer| Source { bytes: buffer.as_bytes(), crc32c: None }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_machine_gives_what_the_evaluator_does(program in programs(), seed: u64, start in 0_u64..1 << 44) {
        // Short ones often have no faulty element, long ones have several blocks.
        for len in [3, BLOCK + 77] {
            let inputs = inputs_of(&program, seed, len);
            let found = run(&program, &sources(&inputs), start, len).map(|output| output.as_bytes().to_vec());
            prop_assert_eq!(found, expected(&program, &inputs, start, len), "{}", program);
        }
    }

    #[test]
    fn all_builds_give_the_same(program in programs(), seed: u64) {
        let len = BLOCK - 3;
        let (compiled, dtype) = (compile::Compiled::new(&program), program.output().unwrap());
        let inputs = inputs_of(&program, seed, len);
        let inputs: Vec<&[u8]> = inputs.iter().map(Buffer::as_bytes).collect();
        let block = machine::Block { start: 77, len, inputs: &inputs };
        let run = |build: Build| {
            let mut output = Buffer::zeroed(len * dtype.size());
            let result = machine::Machine::new(&compiled, build).run(&block, output.as_bytes_mut());
            machine::make_nans_equal(build, dtype, output.as_bytes_mut());
            result.map(|()| output)
        };
        let all: Vec<_> = Build::all().into_iter().map(run).collect();
        prop_assert!(all.iter().all(|result| *result == all[0]), "{}", program);
    }

    /// Each kept node is in a register of its own to the end, whatever the others need.
    #[test]
    fn what_is_reduced_is_what_elements_give(
        inputs in prop::collection::vec(prop::sample::select(&COMPUTED[..]), 1..3),
        choices in prop::collection::vec((any::<usize>(), any::<[usize; 4]>()), 1..40),
        kept in prop::collection::vec((prop::sample::select(&reduction::Reducer::ALL[..]), any::<usize>()), 1..6),
        seed: u64,
    ) {
        let len = 2 * BLOCK + 5;
        let (builder, nodes) = build(inputs, &choices);
        let kept: Vec<_> = kept.into_iter().map(|(reducer, node)| (reducer, (node % nodes) as NodeId)).collect();
        let program = builder.clone().reductions(kept.clone()).unwrap();
        let inputs = inputs_of(&program, seed, len);
        let Ok(found) = program.reduce(&sources(&inputs), 0, len) else {
            let failing = (0..len).filter(|at| evaluate(&program, &inputs, 0, *at).is_err());
            prop_assert!(failing.count() > 0, "{}", program);
            return Ok(());
        };
        for ((reducer, node), found) in kept.into_iter().zip(found) {
            let elements = builder.clone().elements(node);
            let values = run(&elements, &sources(&inputs), 0, len).unwrap();
            let dtype = elements.output().unwrap();
            let mut tree = Tree::new(reducer, dtype);
            tree.push_leaves(Build::best(), 0, Values::of(dtype, values.as_bytes()));
            prop_assert_eq!(found.to_bytes(), tree.finish().to_bytes(), "{} of {} in {}", reducer, node, program);
        }
    }

    #[test]
    fn any_cut_gives_the_same(program in programs(), seed: u64, cut in 0..2 * CHUNK + 100) {
        let (start, len) = (CHUNK as u64 * 3, 2 * CHUNK + 100);
        let inputs = inputs_of(&program, seed, len);
        let size = |at: usize| program.inputs()[at].size();
        let part = |from: usize, to: usize| {
            let cut = |(at, buffer): (usize, &Buffer)| Buffer::from_bytes(&buffer.as_bytes()[from * size(at)..to * size(at)]);
            let inputs: Vec<Buffer> = inputs.iter().enumerate().map(cut).collect();
            run(&program, &sources(&inputs), start + from as u64, to - from).map(|output| output.as_bytes().to_vec())
        };
        let joined = part(0, cut).and_then(|first| Ok([first, part(cut, len)?].concat()));
        prop_assert_eq!(part(0, len), joined, "{}", program);
    }
}

/// Sine and cosine of the same values are computed together.
#[test]
fn sine_and_cosine_in_every_role() {
    let x: Vec<f64> = (0..3000).map(|at| f64::from(at) / 7.0 - 100.0).collect();
    let one = |function: elementary::Unary| {
        let mut values = vec![0.0; x.len()];
        function.run(Build::best(), &x, &mut values);
        values
    };
    let (sin, cos) = (one(elementary::Unary::Sin), one(elementary::Unary::Cos));
    let each =
        |function: fn(f64, f64) -> f64| -> Vec<f64> { sin.iter().zip(&cos).map(|(s, c)| function(*s, *c)).collect() };
    let cases: [(&str, Vec<f64>); 8] = [
        ("sin(x)", sin.clone()),
        ("sin(x) + cos(x)", each(|s, c| s + c)),
        ("cos(x) - sin(x)", each(|s, c| c - s)),
        ("sin(x) * cos(x) + sin(x) - cos(x)", each(|s, c| s * c + s - c)),
        // The second is kept, or only a condition.
        ("where(sin(x) > 2, 1, cos(x))", cos.clone()),
        ("where(cos(x) < 2, sin(x), 7.5)", sin.clone()),
        ("where(cos(x) > 0, sin(x), cos(x))", each(|s, c| if c > 0.0 { s } else { c })),
        (
            "where(sin(x) > 0 and cos(x) > 0, float64(int32(sin(x) * 9)), cos(x))",
            each(|s, c| if s > 0.0 && c > 0.0 { (s * 9.0).trunc() } else { c }),
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(apply::<f64, f64>(text, &x), Ok(expected), "{text}");
    }
}
