//! Random programs, run by the machine and by an evaluator that takes one element after the other.

use super::super::machine::BLOCK;
use super::super::run::CHUNK;
use super::evaluator::{canonical, evaluate};
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
            6 if from == Float64 && numbers[1].is_multiple_of(4) => {
                (Op::Power((4 + numbers[2] % 13) as u8), from, vec![a])
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
        let block = machine::Block { start: 77, len, inputs: &inputs, next: &[] };
        let run = |build: Build| {
            let mut output = Buffer::zeroed(len * dtype.size());
            let result = machine::Machine::new(&compiled, build).run(&block, output.as_bytes_mut());
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
