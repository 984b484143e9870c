//! Borders of blocks and chunks, cuts, threads, and checksums.

use super::super::machine::BLOCK;
use super::super::run::{CHUNK, REDUCED_CHUNK};
use super::*;
use crate::checksum::crc32c;
use crate::{Partial, Tree, random};

/// Lengths around the borders of blocks and chunks.
const LENGTHS: [usize; 15] = [
    0,
    1,
    BLOCK - 1,
    BLOCK,
    BLOCK + 1,
    CHUNK - 1,
    CHUNK,
    CHUNK + 1,
    CHUNK + BLOCK,
    2 * CHUNK,
    2 * CHUNK + 1,
    30_000,
    REDUCED_CHUNK,
    REDUCED_CHUNK + 1,
    2 * REDUCED_CHUNK + BLOCK + 1,
];

fn ints(len: usize) -> Vec<i32> {
    let mut values = vec![0; len];
    random::fill_int(7, 0, &mut values, -1000, 1000);
    values
}

#[test]
fn every_length_is_computed_to_its_end() {
    for len in LENGTHS {
        let x = ints(len);
        let expected: Vec<f64> = x.iter().map(|x| if *x > 0 { f64::from(*x) / 2.0 } else { -1.0 }).collect();
        assert_eq!(apply("where(x > 0, x / 2, -1)", &x), Ok(expected), "{len} elements");
        assert_eq!(apply("x", &x), Ok(x.clone()), "{len} elements");
        assert_eq!(apply("7", &x), Ok(vec![7_i64; len]), "{len} elements");
    }
}

/// Wherever the array is cut into segments, and whoever computes them.
#[test]
fn neither_cuts_nor_threads_change_a_bit() {
    let (len, text) = (5 * CHUNK + 333, "sin(x) * x % 0.7 + float64(int32(x) % 7) ** 1.5");
    let mut x = vec![0.0; len];
    random::fill_double(3, 0, &mut x, -1e5, 1e5);
    let program = program_of(text, DType::Float64, DType::Float64);
    let whole = pool(1).install(|| run(&program, &[source(&x)], 0, len)).unwrap();
    for threads in [2, 3, 8] {
        assert_eq!(pool(threads).install(|| run(&program, &[source(&x)], 0, len)), Ok(whole.clone()));
    }
    for cut in [0, 1, BLOCK, BLOCK + 5, CHUNK, CHUNK + 1, len - 1, len] {
        let first = run(&program, &[source(&x[..cut])], 0, cut).unwrap();
        let second = run(&program, &[source(&x[cut..])], cut as u64, len - cut).unwrap();
        let joined = [first.as_bytes(), second.as_bytes()].concat();
        assert_eq!(joined, whole.as_bytes(), "cut at {cut}");
    }
}

/// Segments begin at multiples of a chunk; what each gives is merged in a tree of its own.
#[test]
fn reductions_have_the_same_bits_for_segments_and_threads() {
    let (chunks, rest) = (11, 777);
    let len = chunks * CHUNK + rest;
    let mut x = vec![0.0; len];
    random::fill_double(9, 0, &mut x, -1.0, 3.0);
    let text = "sum(x), mean(x ** 2), std(x), min(x), argmax(x), count(x > 0), prod(where(x > 2.9, x, 1)), any(x > 2)";
    let (program, texts) = parse_reductions(text, DType::Float64, &mut |_| Err("no".into())).unwrap();
    assert_eq!(texts.join(", "), text);
    let reduce = |from: usize, to: usize| program.reduce(&[source(&x[from..to])], from as u64, to - from).unwrap();
    let bytes = |partials: Vec<Partial>| partials.iter().flat_map(Partial::to_bytes).collect::<Vec<u8>>();
    let whole = pool(1).install(|| bytes(reduce(0, len)));
    for threads in [2, 3, 8] {
        assert_eq!(pool(threads).install(|| bytes(reduce(0, len))), whole, "{threads} threads");
    }
    for segment in [1, 2, 4, 8, 16].map(|chunks| chunks * CHUNK) {
        let mut trees: Vec<Tree> =
            program.reductions().into_iter().map(|(reducer, dtype)| Tree::new(reducer, dtype)).collect();
        for from in (0..len).step_by(segment) {
            let partials = reduce(from, len.min(from + segment));
            trees.iter_mut().zip(partials).for_each(|(tree, partial)| tree.push(&partial));
        }
        assert_eq!(bytes(trees.into_iter().map(Tree::finish).collect()), whole, "segments of {segment}");
    }
}

#[test]
fn reductions_of_few_elements() {
    for len in LENGTHS {
        let x = ints(len);
        let sum = |values: &[i32]| values.iter().map(|x| i64::from(*x)).sum::<i64>();
        let (program, _) =
            parse_reductions("sum(x), count(x), sum(7)", DType::Int32, &mut |_| Err("no".into())).unwrap();
        let partials = program.reduce(&[source(&x)], 0, len).unwrap();
        let found: Vec<crate::Scalar> = partials.into_iter().map(|partial| partial.finish().unwrap()).collect();
        let nonzero = x.iter().filter(|x| **x != 0).count() as i64;
        assert_eq!(found, [sum(&x), nonzero, 7 * len as i64].map(crate::Scalar::Int64), "{len} elements");
    }
}

/// The index is that in the array, and the least one whoever finds it.
#[test]
fn the_first_faulty_element_is_the_same_for_any_number_of_threads() {
    let program = program_of("10 // x", DType::Int32, DType::Int32);
    for faulty in [vec![0], vec![BLOCK - 1], vec![BLOCK], vec![CHUNK, 3 * CHUNK], vec![4 * CHUNK + 5, 9 * CHUNK - 1]] {
        let mut x = vec![1; 9 * CHUNK];
        faulty.iter().for_each(|at| x[*at] = 0);
        let start = 1 << 40;
        let expected = ElementError { index: start + faulty[0] as u64, fault: Fault::DivisionByZero };
        for threads in [1, 2, 8] {
            let found = pool(threads).install(|| run(&program, &[source(&x)], start, x.len()));
            assert_eq!(found, Err(RunError::Element(expected)), "{threads} threads");
        }
        let (sum, _) = parse_reductions("sum(10 // x)", DType::Int32, &mut |_| Err("no".into())).unwrap();
        let found = sum.reduce(&[source(&x)], start, x.len()).map(|_| ());
        assert_eq!(found, Err(RunError::Element(expected)));
    }
}

#[test]
fn broken_inputs_are_named() {
    let texts = ["x + y", "x // y"];
    let (sum, _) =
        parse_reductions("sum(x // y)", DType::Int32, &mut |_| Ok(Named { input: 1, dtype: DType::Int32 })).unwrap();
    for (text, len) in texts.into_iter().flat_map(|text| [1, CHUNK, 3 * CHUNK + 7].map(|len| (text, len))) {
        let program = program_of(text, DType::Int32, DType::Int32);
        let (x, good) = (vec![5; len], vec![1; len]);
        // A zero that is due to broken bytes is no division by zero; where it is first does not matter.
        for at in [0, len - 1] {
            let mut broken = good.clone();
            broken[at] = 0;
            let expected = |values: &[i32]| Some(crc32c(bytemuck::cast_slice(values)));
            let sources =
                |y| [Source { crc32c: expected(&x), ..source(&x) }, Source { crc32c: expected(&good), ..source(y) }];
            assert!(run(&program, &sources(&good), 0, len).is_ok());
            assert_eq!(run(&program, &sources(&broken), 0, len), Err(RunError::Broken(1)), "{text} of {len}");
            assert_eq!(sum.reduce(&sources(&broken), 0, len).err(), Some(RunError::Broken(1)), "sum of {len}");
            let mut both = sources(&broken);
            both[0].crc32c = Some(!both[0].crc32c.unwrap());
            assert_eq!(run(&program, &both, 0, len), Err(RunError::Broken(0)), "{text} of {len}");
        }
    }
}

/// Large results of quick programs are written past the caches: they are the same, their checksums too, and beside them nothing changes.
#[test]
fn what_is_written_past_the_caches_is_the_same() {
    let n = 3 * CHUNK + 17; // a chunk that is not whole, with a block that is not whole
    let x: Vec<f64> = (0..n * 8).map(|i| if i % 4099 == 7 { f64::NAN } else { i as f64 - 1000.0 }).collect();
    let program = program_of("where(x > 0, x*2 + 1, -x)", DType::Float64, DType::Float64);
    let expected = |x: &f64| {
        if *x > 0.0 {
            x * 2.0 + 1.0
        } else if x.is_nan() {
            f64::NAN
        } else {
            -x
        }
    };
    for (elements, threads) in [(n, 1), (n * 8, 1), (n * 8, 3)] {
        let x = &x[..elements];
        let found = pool(threads).install(|| run(&program, &[source(x)], 0, elements)).unwrap();
        let expected: Vec<u64> = x.iter().map(|x| expected(x).to_bits()).collect();
        assert!(found.as_slice::<u64>() == expected, "{elements} elements on {threads} threads");
    }
    let mut numbers: Vec<i64> = (0..n as i64 * 8).collect();
    numbers[n + 5] = i64::MAX;
    let found = apply::<i64, i32>("int32(x) + 1", &numbers).unwrap_err();
    assert_eq!(found, RunError::Element(ElementError { index: n as u64 + 5, fault: Fault::OutOfRange(DType::Int32) }));
}

/// What is only generated has a way of its own past the caches. Element by element it is what the generator gives for that place.
#[test]
fn what_is_generated_past_the_caches_is_the_same() {
    let (n, start) = (24 * CHUNK + 17, 5 * CHUNK as u64);
    let mut drawn = vec![0.0; n];
    random::fill_double(9, start, &mut drawn, -1.0, 3.0);
    let low_high = format!("{:x} {:x}", (-1.0_f64).to_bits(), 3.0_f64.to_bits());
    let uniform: Program = format!(": float64 uniform 9 {low_high}; elements 0").parse().unwrap();
    let index: Program = ": int64 index; elements 0".parse().unwrap();
    for threads in [1, 3] {
        let of = |program: &Program| pool(threads).install(|| run(program, &[], start, n)).unwrap();
        assert!(of(&uniform).as_slice::<f64>() == drawn, "uniform on {threads} threads");
        let places = start as i64..start as i64 + n as i64;
        assert!(of(&index).as_slice::<i64>().iter().copied().eq(places), "index on {threads} threads");
    }
}
