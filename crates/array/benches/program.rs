//! Programs on one thread: what one operation costs beside reading and writing.
//!
//! 1 Mi elements per call: nanoseconds per element are the shown milliseconds, less 5 percent. Run with
//! `cargo bench -p array --bench program`.

use array::expression::{Named, parse_expression, parse_generator, parse_reductions};
use array::program::Source;
use array::{Buffer, DType, Operation, Program, kernels, random};
use divan::{Bencher, black_box, counter::ItemsCount};

const LEN: usize = 1 << 20;

fn main() {
    divan::main();
}

fn input(dtype: DType) -> Buffer {
    let (mut doubles, mut ints) = (vec![0.0; LEN], vec![0; LEN]);
    random::fill_double(1, 0, &mut doubles, -100.0, 100.0);
    random::fill_int(1, 0, &mut ints, 1, 1 << 20);
    match dtype {
        DType::Float64 => Buffer::from_slice(&doubles),
        DType::Float32 => Buffer::from_slice(&doubles.iter().map(|x| *x as f32).collect::<Vec<f32>>()),
        DType::Int32 => Buffer::from_slice(&ints),
        DType::Int64 => Buffer::from_slice(&ints.iter().map(|x| i64::from(*x)).collect::<Vec<i64>>()),
        _ => Buffer::from_bytes(&ints.iter().map(|x| (x & 1) as u8).collect::<Vec<u8>>()),
    }
}

/// A pool of one thread: divan's bencher stays on its own.
fn one_thread() -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread can be started")
}

fn run(bencher: Bencher, program: &Program, dtype: DType) {
    let x = input(dtype);
    let mut output = Buffer::zeroed(LEN * program.output().expect("it gives elements").size());
    let bencher = bencher.counter(ItemsCount::new(LEN));
    let sources = [Source { bytes: x.as_bytes(), crc32c: None }];
    let sources = &sources[..program.inputs().len()];
    let pool = one_thread();
    let mut once = || program.apply_into(black_box(sources), 0, LEN, &mut output).expect("every element has a value");
    bencher.bench_local(|| pool.install(&mut once));
}

fn apply(bencher: Bencher, text: &str, dtype: DType) {
    let mut y = |_: &str| Ok(Named { input: 0, dtype });
    run(bencher, &parse_expression(text, dtype, &mut y).expect("it is an expression"), dtype);
}

/// `x` is reading, writing and the result's checksum: what all others have too.
#[divan::bench(args = [
    "x", "x * 2 + 1", "x - x * x", "x - x * (x - x * (x - x * (x - x * (x - x * x))))", "1 + x * (2 + x * (3 + x * (4 + x * (5 + x * 6))))", "where(x > 0, x, 1)", "x > 0", "0 < x < 50",
    "x > 0 and x < 50", "sqrt(x)", "abs(x)", "floor(x)", "round(x)", "x / 7", "x // 7", "x % 7", "7 % x", "minimum(x, 3)", "sign(x)", "isnan(x)", "float32(x)",
    "int32(x)", "int64(x)", "bool(x)",
])]
fn float64(bencher: Bencher, text: &str) {
    apply(bencher, text, DType::Float64);
}

#[divan::bench(args = ["x", "x * 2 + 1", "where(x > 0, x, 1)", "x > 0", "x % 7", "x // 7", "floor(x)", "float64(x)", "int32(x)"])]
fn float32(bencher: Bencher, text: &str) {
    apply(bencher, text, DType::Float32);
}

#[divan::bench(args = [
    "x", "x * 2 + 1", "x > 9", "x % 7", "x // 7", "7 % x", "fmod(x, 7)", "x / 7", "x ** 5", "float64(x)", "float32(x)", "int64(x)", "bool(x)",
])]
fn int32(bencher: Bencher, text: &str) {
    apply(bencher, text, DType::Int32);
}

#[divan::bench(args = ["x", "x * 2 + 1", "x > 9", "x % 7", "x // 7", "7 % x", "fmod(x, 7)", "x / 7", "float64(x)", "int32(x)", "bool(x)"])]
fn int64(bencher: Bencher, text: &str) {
    apply(bencher, text, DType::Int64);
}

#[divan::bench(args = ["x", "not x", "x + 1", "where(x, 1.5, 2)"])]
fn bool(bencher: Bencher, text: &str) {
    apply(bencher, text, DType::Bool);
}

/// The named operations as programs, beside the kernels that have them in one loop.
#[divan::bench(args = [Operation::Example1, Operation::Example2])]
fn named(bencher: Bencher, operation: Operation) {
    run(bencher, &operation.program(), operation.input());
}

#[divan::bench]
fn fused_example1(bencher: Bencher) {
    let (x, mut output) = (input(DType::Float64), vec![0.0; LEN]);
    bencher.counter(ItemsCount::new(LEN)).bench_local(|| kernels::example1(black_box(x.as_slice()), &mut output));
}

#[divan::bench]
fn fused_example2(bencher: Bencher) {
    let (x, mut output) = (input(DType::Int32), vec![0; LEN]);
    bencher.counter(ItemsCount::new(LEN)).bench_local(|| kernels::example2(black_box(x.as_slice()), &mut output));
}

#[divan::bench(args = ["sum(x)", "max(x)", "sum(x * x)", "sum(x), mean(x), min(x), max(x), count(x > 0)", "std(x)"])]
fn reduce(bencher: Bencher, text: &str) {
    let x = input(DType::Float64);
    let (program, _) =
        parse_reductions(text, DType::Float64, &mut |_| Err(String::new())).expect("these are reductions");
    let sources = [Source { bytes: x.as_bytes(), crc32c: None }];
    let bencher = bencher.counter(ItemsCount::new(LEN));
    let pool = one_thread();
    let once = || program.reduce(black_box(&sources), 0, LEN).expect("every element has a value");
    bencher.bench_local(|| pool.install(once));
}

#[divan::bench(args = ["zeros(1)", "arange(1)", "linspace(0, 1, 2)", "random(1)", "uniform(-1, 2, 1)", "integers(-5, 5, 1)", "normal(0, 1, 1)"])]
fn generate(bencher: Bencher, text: &str) {
    run(bencher, &parse_generator(text, None, 1).expect("it is a generator").program, DType::Bool);
}
