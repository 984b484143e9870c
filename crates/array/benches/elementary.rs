//! The elementary functions on one thread, over a block of 1024 elements in the first-level cache.
//!
//! Nanoseconds per element are the shown ones by 1024; the column with items per second is their inverse. Run with
//! `cargo bench -p array --bench elementary`.

use array::kernels::Build;
use array::kernels::elementary::{self, Binary, Unary};
use array::random;
use divan::{Bencher, black_box, counter::ItemsCount};

const LEN: usize = 1024;

fn main() {
    divan::main();
}

/// Where the function is defined and neither overflows nor takes the slow path.
fn doubles(seed: u64, name: &str) -> Vec<f64> {
    let (low, high) = match name {
        "asin" | "acos" => (-1.0, 1.0),
        "log" | "log2" | "log10" | "log1p" | "pow" => (0.0, 100.0),
        _ => (-100.0, 100.0),
    };
    let mut values = vec![0.0; LEN];
    random::fill_double(seed, 0, &mut values, low, high);
    values
}

#[divan::bench(args = Unary::ALL.map(Unary::name))]
fn unary(bencher: Bencher, name: &str) {
    let function = Unary::ALL.into_iter().find(|f| f.name() == name).expect("one of them");
    let (input, mut output) = (doubles(1, name), vec![0.0; LEN]);
    bencher.counter(ItemsCount::new(LEN)).bench_local(|| function.run(Build::best(), black_box(&input), &mut output));
}

#[divan::bench]
fn sin_cos(bencher: Bencher) {
    let (input, mut sin, mut cos) = (doubles(1, "sin"), vec![0.0; LEN], vec![0.0; LEN]);
    bencher
        .counter(ItemsCount::new(LEN))
        .bench_local(|| elementary::sin_cos(Build::best(), black_box(&input), &mut sin, &mut cos));
}

#[divan::bench(args = Binary::ALL.map(Binary::name))]
fn binary(bencher: Bencher, name: &str) {
    let function = Binary::ALL.into_iter().find(|f| f.name() == name).expect("one of them");
    let (a, b, mut output) = (doubles(1, name), doubles(2, name), vec![0.0; LEN]);
    bencher
        .counter(ItemsCount::new(LEN))
        .bench_local(|| function.run(Build::best(), black_box(&a), black_box(&b), &mut output));
}
