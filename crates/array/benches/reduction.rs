//! The reductions on one thread: each alone over elements that stay in the first-level cache, several over an array that fits no
//! cache.
//!
//! Run with `cargo bench -p array --bench reduction`.

use array::kernels::Build;
use array::reduction::LEAF;
use array::{DType, Leaf, Reducer, Tree, Values, random};
use divan::{Bencher, black_box, counter::BytesCount, counter::ItemsCount};

/// Elements of the small arrays: 32 KiB at most. Nanoseconds per element are the shown microseconds, divided by 4.
const SMALL: usize = 4 * LEAF;

/// Elements of the large array: 128 MiB of float64.
const LARGE: usize = 16 << 20;

fn main() {
    divan::main();
}

fn doubles(len: usize) -> Vec<f64> {
    let mut values = vec![0.0; len];
    random::fill_double(1, 0, &mut values, -1e3, 1e3);
    values
}

fn ints(len: usize) -> Vec<i32> {
    let mut values = vec![0; len];
    random::fill_int(1, 0, &mut values, i32::MIN, i32::MAX);
    values
}

fn reduce(bencher: Bencher, reducer: Reducer, values: Values<'_>) {
    let build = Build::best();
    bencher.counter(ItemsCount::new(values.len())).bench_local(|| {
        let mut tree = Tree::new(reducer, values.dtype());
        tree.push_leaves(build, 0, black_box(values));
        tree.finish()
    });
}

#[divan::bench(args = Reducer::ALL)]
fn float64(bencher: Bencher, reducer: Reducer) {
    reduce(bencher, reducer, Values::Float64(&doubles(SMALL)));
}

#[divan::bench(args = Reducer::ALL)]
fn float32(bencher: Bencher, reducer: Reducer) {
    let values: Vec<f32> = doubles(SMALL).into_iter().map(|x| x as f32).collect();
    reduce(bencher, reducer, Values::Float32(&values));
}

#[divan::bench(args = Reducer::ALL)]
fn int64(bencher: Bencher, reducer: Reducer) {
    let values: Vec<i64> = ints(SMALL).into_iter().map(|x| i64::from(x) << 20).collect();
    reduce(bencher, reducer, Values::Int64(&values));
}

#[divan::bench(args = Reducer::ALL)]
fn int32(bencher: Bencher, reducer: Reducer) {
    reduce(bencher, reducer, Values::Int32(&ints(SMALL)));
}

#[divan::bench(args = Reducer::ALL)]
fn bool(bencher: Bencher, reducer: Reducer) {
    let values: Vec<u8> = ints(SMALL).into_iter().map(|x| (x & 1) as u8).collect();
    reduce(bencher, reducer, Values::Bool(&values));
}

/// Five reductions leaf by leaf; `memory` is what reading the same bytes takes.
#[divan::bench(args = [1, 5])]
fn large_float64(bencher: Bencher, reducers: usize) {
    let values = doubles(LARGE);
    let build = Build::best();
    let reducers = &[Reducer::Sum, Reducer::Min, Reducer::Max, Reducer::Mean, Reducer::Var][..reducers];
    bencher.counter(BytesCount::of_slice(&values)).bench_local(|| {
        let mut trees: Vec<_> = reducers.iter().map(|&reducer| Tree::new(reducer, DType::Float64)).collect();
        for (place, leaf) in (0..).step_by(LEAF).zip(black_box(&values).chunks(LEAF)) {
            let mut leaf = Leaf::new(build, place, Values::Float64(leaf));
            for (tree, &reducer) in trees.iter_mut().zip(reducers) {
                tree.push(&leaf.partial(reducer));
            }
        }
        trees.into_iter().map(Tree::finish).collect::<Vec<_>>()
    });
}

#[divan::bench]
fn large_memory(bencher: Bencher) {
    let values: Vec<u64> = bytemuck::cast_vec(doubles(LARGE));
    let xor = || black_box(&values).iter().fold(0, |all, x| all ^ x);
    bencher.counter(BytesCount::of_slice(&values)).bench_local(xor);
}
