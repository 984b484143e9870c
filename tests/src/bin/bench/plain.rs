//! Reductions and new arrays on two plain threads: what the machine can do. Memory that is written is warm.

use array::kernels::{self, Build, Loop};
use array::random;
use std::ops::Range;
use std::thread;

/// Numbers that are added side by side, several vectors of them, so that no addition waits for the one before.
const LANES: usize = 32;

/// Elements that stay in the first cache while they are gone through again.
const BLOCK: usize = 2048;

/// Splits a range between two threads.
fn both<T: Send>(elements: usize, work: impl Fn(Range<usize>) -> T + Sync) -> [T; 2] {
    let half = elements / 2;
    thread::scope(|scope| {
        let first = scope.spawn(|| work(0..half));
        let second = work(half..elements);
        [first.join().expect("a loop does not panic"), second]
    })
}

/// Writes both halves.
fn fill(out: &mut [f64], work: impl Fn(usize, &mut [f64]) + Sync) {
    let half = out.len() / 2;
    let (first, second) = out.split_at_mut(half);
    thread::scope(|scope| {
        scope.spawn(|| work(0, first));
        work(half, second);
    });
}

/// Random numbers from 0 to 1.
pub fn generate(seed: u64, out: &mut [f64]) {
    fill(out, |start, out| Build::best().run(Uniform(seed, start, out)));
}

struct Uniform<'a>(u64, usize, &'a mut [f64]);

impl Loop for Uniform<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
        for (i, value) in self.2.iter_mut().enumerate() {
            *value = (random::bits(self.0, (self.1 + i) as u64) >> 11) as f64 * UNIT;
        }
    }
}

/// 0, 1, 2, …
pub fn arange(out: &mut [f64]) {
    fill(out, |start, out| Build::best().run(Arange(start, out)));
}

struct Arange<'a>(usize, &'a mut [f64]);

impl Loop for Arange<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (i, value) in self.1.iter_mut().enumerate() {
            *value = (self.0 + i) as f64;
        }
    }
}

/// The sum.
pub fn sum(x: &[f64]) -> f64 {
    both(x.len(), |range| Build::best().run(Sum(&x[range]))).iter().sum()
}

struct Sum<'a>(&'a [f64]);

impl Loop for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (blocks, rest) = self.0.as_chunks::<LANES>();
        let mut lanes = [0.0; LANES];
        for block in blocks {
            for (lane, x) in lanes.iter_mut().zip(block) {
                *lane += x;
            }
        }
        lanes.iter().chain(rest).sum()
    }
}

/// The sum of the products.
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    both(x.len(), |range| Build::best().run(Dot(&x[range.clone()], &y[range]))).iter().sum()
}

struct Dot<'a>(&'a [f64], &'a [f64]);

impl Loop for Dot<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let ((xs, x_rest), (ys, y_rest)) = (self.0.as_chunks::<LANES>(), self.1.as_chunks::<LANES>());
        let mut lanes = [0.0; LANES];
        for (x, y) in xs.iter().zip(ys) {
            for ((lane, x), y) in lanes.iter_mut().zip(x).zip(y) {
                *lane += x * y;
            }
        }
        lanes.iter().sum::<f64>() + x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum::<f64>()
    }
}

/// The sum of example1, block by block, so that what is added comes from the first cache.
pub fn apply_sum(x: &[f64]) -> f64 {
    let half = |range: Range<usize>| {
        let mut results = [0.0; BLOCK];
        let blocks = x[range].chunks(BLOCK).map(|block| {
            let results = &mut results[..block.len()];
            kernels::example1(block, results);
            Build::best().run(Sum(results))
        });
        blocks.sum::<f64>()
    };
    both(x.len(), half).iter().sum()
}

/// Sum, least, greatest, mean, standard deviation: memory is gone through once.
pub fn five(x: &[f64]) -> [f64; 5] {
    let [first, second] = both(x.len(), |range| Build::best().run(Five(&x[range])));
    let all = first.and(second);
    let mean = all.sum / all.count;
    [all.sum, all.least, all.greatest, mean, (all.squares / all.count).sqrt()]
}

/// What is known of some elements.
#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    sum: f64,
    least: f64,
    greatest: f64,
    /// Of the differences from the mean.
    squares: f64,
}

impl Moments {
    const NONE: Moments =
        Moments { count: 0.0, sum: 0.0, least: f64::INFINITY, greatest: f64::NEG_INFINITY, squares: 0.0 };

    /// Of the elements of both (Chan, Golub, LeVeque, "Algorithms for computing the sample variance", 1983).
    #[inline(always)]
    fn and(self, other: Moments) -> Moments {
        if self.count == 0.0 || other.count == 0.0 {
            return if self.count == 0.0 { other } else { self };
        }
        let apart = self.sum / self.count - other.sum / other.count;
        let count = self.count + other.count;
        Moments {
            count,
            sum: self.sum + other.sum,
            least: self.least.min(other.least),
            greatest: self.greatest.max(other.greatest),
            squares: self.squares + other.squares + apart * apart * self.count * other.count / count,
        }
    }

    /// Of a block.
    #[inline(always)]
    fn of(block: &[f64]) -> Moments {
        let (chunks, rest) = block.as_chunks::<LANES>();
        let (mut sums, mut least, mut greatest) = ([0.0; LANES], [f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
        for chunk in chunks {
            let lanes = sums.iter_mut().zip(&mut least).zip(&mut greatest);
            for (((sum, least), greatest), x) in lanes.zip(chunk) {
                *sum += x;
                *least = if x < least { *x } else { *least };
                *greatest = if x > greatest { *x } else { *greatest };
            }
        }
        let (count, sum) = (block.len() as f64, sums.iter().chain(rest).sum::<f64>());
        let mean = sum / count;
        let mut squares = [0.0; LANES];
        for chunk in chunks {
            for (square, x) in squares.iter_mut().zip(chunk) {
                *square += (x - mean) * (x - mean);
            }
        }
        Moments {
            count,
            sum,
            least: least.iter().chain(rest).copied().fold(f64::INFINITY, f64::min),
            greatest: greatest.iter().chain(rest).copied().fold(f64::NEG_INFINITY, f64::max),
            squares: squares.iter().sum::<f64>() + rest.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>(),
        }
    }
}

struct Five<'a>(&'a [f64]);

impl Loop for Five<'_> {
    type Output = Moments;

    #[inline(always)]
    fn run(self) -> Moments {
        let mut all = Moments::NONE;
        for block in self.0.chunks(BLOCK) {
            all = all.and(Moments::of(block)); // not in a closure, which might be compiled by itself, for the baseline
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formulas::Inputs;
    use crate::judge::{Judge, Summary};

    #[test]
    fn the_loops_give_what_the_judge_expects() {
        let elements = 3 * BLOCK + 77;
        let inputs = Inputs::new(3, elements);
        let (judge, x) = (Judge::new(&inputs), &inputs.double);
        assert_eq!(judge.numbers("sum", &[sum(x)]), Ok(()));
        assert_eq!(judge.numbers("dot", &[dot(x, &inputs.b)]), Ok(()));
        assert_eq!(judge.numbers("apply1_sum", &[apply_sum(x)]), Ok(()));
        assert_eq!(judge.numbers("reduce5_fused", &five(x)), Ok(()));
        let mut out = vec![7.0; elements];
        arange(&mut out);
        assert_eq!(judge.array("arange", &Summary::of(out.iter().copied())), Ok(()));
        generate(4, &mut out);
        assert_eq!(judge.uniform_values(&out), Ok(()));
    }
}
