//! The kernels on one thread against a loop over the standard library, and a whole segment on the pool.
//!
//! 1 Mi elements per call: nanoseconds per element are the shown milliseconds, less 5 percent. Run with
//! `cargo bench -p array`.

use array::program::Source;
use array::{Buffer, Operation, checksum, kernels, random};
use divan::{Bencher, black_box, counter::BytesCount, counter::ItemsCount};

const LEN: usize = 1 << 20;

fn main() {
    divan::main();
}

fn doubles(bound: f64) -> Vec<f64> {
    let mut values = vec![0.0; LEN];
    random::fill_double(1, 0, &mut values, -bound, bound);
    values
}

fn ints() -> Vec<i32> {
    let mut values = vec![0; LEN];
    random::fill_int(1, 0, &mut values, 0, i32::MAX);
    values
}

/// The last bound is beyond the fast path: nearly every element goes to `libm`.
#[divan::bench(args = [1e3, 1e9, 1e14, 1e16])]
fn example1(bencher: Bencher, bound: f64) {
    let (input, mut output) = (doubles(bound), vec![0.0; LEN]);
    let run = || kernels::example1(black_box(&input), &mut output);
    bencher.counter(ItemsCount::new(LEN)).bench_local(run);
}

#[divan::bench]
fn example1_std(bencher: Bencher) {
    let (input, mut output) = (doubles(1e3), vec![0.0; LEN]);
    bencher.counter(ItemsCount::new(LEN)).bench_local(|| {
        for (x, y) in black_box(&input).iter().zip(&mut output) {
            *y = (x.sin() + x.cos()).powi(2) / (x.abs().sqrt() + 1.0);
        }
    });
}

#[divan::bench]
fn example2(bencher: Bencher) {
    let (input, mut output) = (ints(), vec![0; LEN]);
    let run = || kernels::example2(black_box(&input), &mut output);
    bencher.counter(ItemsCount::new(LEN)).bench_local(run);
}

#[divan::bench]
fn example2_std(bencher: Bencher) {
    let (input, mut output) = (ints(), vec![0; LEN]);
    bencher.counter(ItemsCount::new(LEN)).bench_local(|| {
        for (&x, y) in black_box(&input).iter().zip(&mut output) {
            let chosen = x % 3 == 0 || (500..=1000).contains(&x);
            *y = if chosen { (f64::from(x) * f64::from(x).ln() % 7.0) as i32 } else { x };
        }
    });
}

/// A segment of 1 Mi elements with its checksum, on one thread and on all of them.
#[divan::bench(args = [1, 0])]
fn apply_example1(bencher: Bencher, threads: usize) {
    let input = Buffer::from_slice(&doubles(1e3));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads can be started");
    let (program, mut output) = (Operation::Example1.program(), Buffer::zeroed(input.len()));
    let mut apply = || {
        let source = Source { bytes: black_box(input.as_bytes()), crc32c: None };
        program.apply_into(&[source], 0, LEN, &mut output).expect("every element has a value")
    };
    let run = || pool.install(&mut apply);
    bencher.counter(ItemsCount::new(LEN)).bench_local(run);
}

#[divan::bench]
fn crc32c(bencher: Bencher) {
    let input = doubles(1e3);
    let bytes: &[u8] = bytemuck::cast_slice(&input);
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| checksum::crc32c(black_box(bytes)));
}

#[divan::bench]
fn combine(bencher: Bencher) {
    bencher.bench_local(|| checksum::combine(black_box(1), black_box(2), black_box(64 << 10)));
}

#[divan::bench]
fn fill_double(bencher: Bencher) {
    let mut output = vec![0.0; LEN];
    bencher.counter(ItemsCount::new(LEN)).bench_local(|| random::fill_double(1, 0, &mut output, -1e3, 1e3));
}

#[divan::bench]
fn fill_int(bencher: Bencher) {
    let mut output = vec![0; LEN];
    bencher.counter(ItemsCount::new(LEN)).bench_local(|| random::fill_int(1, 0, &mut output, 0, 1000));
}
