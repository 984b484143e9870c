//! Sums against exact ones and against NumPy's.

use super::data::Data;
use crate::random;
use crate::reduction::{LEAF, Reducer, Scalar};

/// NumPy's pairwise sum of contiguous float64, `DOUBLE_pairwise_sum` in `numpy/_core/src/umath/loops_utils.h.src`.
fn numpys(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 8 {
        // It starts at -0.0; what is added first is kept either way.
        return values.iter().fold(-0.0, |sum, x| sum + x);
    }
    if n > 128 {
        let half = n / 2 - n / 2 % 8;
        return numpys(&values[..half]) + numpys(&values[half..]);
    }
    let mut r: [f64; 8] = std::array::from_fn(|lane| values[lane]);
    let (blocks, rest) = values[8..].as_chunks::<8>();
    for block in blocks {
        for (lane, x) in r.iter_mut().zip(block) {
            *lane += x;
        }
    }
    let sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    rest.iter().fold(sum, |sum, x| sum + x)
}

/// The most roundings an element goes through in NumPy's.
fn numpys_roundings(n: usize) -> usize {
    match n {
        0..8 => n.saturating_sub(1),
        8..=128 => n / 8 - 1 + 3 + n % 8,
        _ => {
            let half = n / 2 - n / 2 % 8;
            1 + numpys_roundings(half).max(numpys_roundings(n - half))
        }
    }
}

/// The same in ours. The addition of a zero that stands for no element rounds nothing, and of merging only the last rounding is
/// left.
fn our_roundings(n: usize) -> usize {
    let levels = |n: usize| n.next_power_of_two().trailing_zeros() as usize;
    let leaf = n.min(LEAF);
    let (lanes, rows, blocks) = (leaf.min(32), leaf.div_ceil(32).min(4), leaf.div_ceil(128));
    levels(rows) + blocks.saturating_sub(1) + levels(lanes) + usize::from(n > LEAF)
}

/// A fixed-point unit in which the numbers of these tests are whole: the lowest bit of 2^-20.
const UNIT: f64 = 1.0 / (1_u128 << 72) as f64;

/// The exact sum, in units.
fn exact(values: &[f64]) -> i128 {
    let units = |x: &f64| {
        let scaled = x / UNIT;
        assert!(scaled == scaled.trunc() && scaled.abs() < 1e38, "{x:e} is not in fixed point");
        scaled as i128
    };
    values.iter().map(units).sum()
}

/// How far a sum is off, in the numbers' own scale.
fn error(sum: f64, exact: i128) -> f64 {
    let found = (sum / UNIT) as i128;
    (found - exact).unsigned_abs() as f64 * UNIT
}

fn our_sum(values: &[f64]) -> f64 {
    let Ok(Scalar::Float64(sum)) = Data::Float64(values.to_vec()).reduce(Reducer::Sum) else { unreachable!() };
    sum
}

fn uniform(seed: u64, len: usize, low: f64, high: f64) -> Vec<f64> {
    let mut values = vec![0.0; len];
    random::fill_double(seed, 0, &mut values, low, high);
    // In fixed point.
    values.iter().map(|x| (x * 2_f64.powi(51)).round() / 2_f64.powi(51)).collect()
}

/// Random and adversarial numbers.
fn cases(seed: u64, len: usize) -> Vec<(&'static str, Vec<f64>)> {
    let positive = uniform(seed, len, 1.0, 2.0);
    let wide = |(x, index)| x * 2_f64.powi((random::bits(seed, index) % 40) as i32 - 20);
    let scales: Vec<f64> = positive.iter().zip(0..).map(|(x, index)| wide((*x, index))).collect();
    let mut sorted = scales.clone();
    sorted.sort_by(f64::total_cmp);
    let reversed: Vec<f64> = sorted.iter().rev().copied().collect();
    let first_large = |(index, x): (usize, &f64)| if index == 0 { 1_048_576.0 } else { *x / 1_048_576.0 };
    let cancelling = scales.iter().enumerate().map(|(index, x)| if index % 2 == 0 { *x } else { -scales[index - 1] });
    vec![
        ("of both signs", uniform(seed, len, -1.0, 1.0)),
        ("of many scales", scales.clone()),
        ("falling", reversed),
        ("rising", sorted),
        ("all alike", vec![0.1; len].iter().map(|x: &f64| (x * 2_f64.powi(60)).round() / 2_f64.powi(60)).collect()),
        ("small behind a large one", positive.iter().enumerate().map(first_large).collect()),
        ("cancelling in pairs", cancelling.collect()),
        ("of one sign", positive),
    ]
}

#[test]
fn an_element_is_rounded_no_more_often_than_in_numpy() {
    for n in (0..20_000).chain([1 << 20, (1 << 20) + 1, 10_000_000]) {
        let (ours, numpys) = (our_roundings(n), numpys_roundings(n));
        assert!(ours <= numpys, "{n} elements: {ours}, NumPy {numpys}");
    }
}

#[test]
fn errors_keep_within_the_bound_of_the_roundings() {
    for len in [2, 7, 100, 129, LEAF, LEAF + 1, 5000, 100_000] {
        for (name, values) in cases(len as u64, len) {
            let magnitude: f64 = values.iter().map(|x| x.abs()).sum();
            let bound = our_roundings(len) as f64 * (f64::EPSILON / 2.0) * magnitude * (1.0 + 1e-10);
            let error = error(our_sum(&values), exact(&values));
            assert!(error <= bound, "{len} {name}: off by {error:e}, bound {bound:e}");
        }
    }
}

/// Up to a leaf, how far sums are off is mostly decided in the last few additions, of which both have as many: the root of the
/// mean square differs by chance, and the margin is twice what it varies by. Above that, merging rounds nothing off here.
#[test]
fn sums_are_no_worse_than_numpys() {
    const SEEDS: u64 = 300;
    for len in [100, LEAF, 5000, 20_000] {
        let names: Vec<&str> = cases(0, len).into_iter().map(|(name, _)| name).collect();
        let mut squares = vec![(0.0, 0.0); names.len()];
        for seed in 0..SEEDS {
            for ((_, values), (ours, numpys_square)) in cases(seed, len).into_iter().zip(&mut squares) {
                let exact = exact(&values);
                *ours += error(our_sum(&values), exact).powi(2);
                *numpys_square += error(numpys(&values), exact).powi(2);
            }
        }
        for (name, (ours, numpys)) in names.iter().zip(squares) {
            let root = |squares: f64| (squares / SEEDS as f64).sqrt();
            let (ours, numpys) = (root(ours), root(numpys));
            println!("{len} {name}: {ours:e}, NumPy {numpys:e}");
            let margin = if len <= LEAF { 1.12 } else { 1.0 };
            assert!(ours <= margin * numpys, "{len} {name}: {ours:e}, NumPy {numpys:e}");
        }
    }
}
