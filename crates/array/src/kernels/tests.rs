//! The kernels against naive loops over `libm`, against the original system's answers, and build against
//! build.

use std::f64::consts::FRAC_PI_4;

use proptest::prelude::*;

use super::elementary::SIN_COS_MAX;
use super::*;
use crate::{checksum, random};

/// `example1` as a naive loop computes it.
fn naive1(x: f64) -> f64 {
    let sum = libm::sin(x) + libm::cos(x);
    sum * sum / (libm::sqrt(x.abs()) + 1.0)
}

/// `example2` as the original computes it. Rust's `as` is Java's cast: NaN gives 0.
fn naive2(x: i32) -> i32 {
    if x % 3 != 0 && !(500..=1000).contains(&x) {
        return x;
    }
    let x = f64::from(x);
    libm::fmod(x * libm::log(x), 7.0) as i32
}

fn map1(input: &[f64]) -> Vec<f64> {
    let mut output = vec![-1.0; input.len()];
    example1(input, &mut output);
    output
}

fn map2(input: &[i32]) -> Vec<i32> {
    let mut output = vec![-1; input.len()];
    example2(input, &mut output);
    output
}

fn assert_near_naive(input: &[f64]) {
    for (&x, y) in input.iter().zip(map1(input)) {
        // Relative to 1: the sum of sine and cosine cancels.
        assert!((y - naive1(x)).abs() <= 1e-15, "{x:e}: {y:e}, naive {:e}", naive1(x));
    }
}

fn assert_as_naive(input: &[i32]) {
    for (&x, y) in input.iter().zip(map2(input)) {
        assert_eq!(y, naive2(x), "{x}");
    }
}

/// Doubles of every exponent and sign, NaNs and infinities among them: random bit patterns.
fn bit_patterns(len: usize) -> Vec<f64> {
    let mut halves = vec![0; 2 * len];
    random::fill_int(11, 0, &mut halves, i32::MIN, i32::MAX);
    let double = |pair: &[i32]| f64::from_bits(u64::from(pair[0] as u32) << 32 | u64::from(pair[1] as u32));
    halves.chunks(2).map(double).collect()
}

fn uniform(len: usize, bound: f64) -> Vec<f64> {
    let mut values = vec![0.0; len];
    random::fill_double(12, 0, &mut values, -bound, bound);
    values
}

/// What the original system's two implementations answer; where they differ, the first of them.
#[test]
fn example1_answers_as_the_original() {
    let table = [
        (0.0, 1.0),
        (-0.0, 1.0),
        (5e-324, 1.0),
        (1.0, 0.954648713412841),
        (-1.0, 0.04535128658715914),
        (2.5, 0.015913799311415483),
        (FRAC_PI_4, 1.0603178085372376),
        (3.0 * FRAC_PI_4, 4.862327402871134e-33),
        (100.0, 0.011518427526000491),
        (1e10, 1.4869635968220078e-06),
        (1e22, 1.082318305499282e-12),
        (-1e22, 1.8917681694300723e-11),
        (1e300, 1.941195786905557e-150),
        (f64::MAX, 7.384325743357278e-155),
    ];
    for (x, expected) in table {
        let y = map1(&[x])[0];
        assert!((y - expected).abs() <= 1e-12 + 1e-9 * expected, "{x:e}: {y:e} instead of {expected:e}");
    }
}

/// A tolerance of 1e-12 says nothing about results below it; these are the same to the last bits.
#[test]
fn example1_is_right_where_the_result_is_tiny() {
    for x in [3.0 * FRAC_PI_4, 1e22, -1e22, 1e300, f64::MAX, f64::MIN] {
        let (y, expected) = (map1(&[x])[0], naive1(x));
        assert!((y - expected).abs() <= 1e-15 * expected, "{x:e}: {y:e}, naive {expected:e}");
    }
}

#[test]
fn example1_of_what_is_not_finite_is_one_nan() {
    let nans = [0x7FF8 << 48, 0xFFF8 << 48, 0x7FF0_0000_0000_0001, 0xFFFF_FFFF_FFFF_FFFF].map(f64::from_bits);
    for x in nans.into_iter().chain([f64::INFINITY, f64::NEG_INFINITY]) {
        assert_eq!(map1(&[1.0, x, 2.0])[1].to_bits(), 0x7FF8_0000_0000_0000, "{:016x}", x.to_bits());
    }
}

#[test]
fn example1_of_a_finite_number_is_finite_and_not_negative() {
    let input = bit_patterns(200_000);
    for (x, y) in input.iter().zip(map1(&input)) {
        assert_eq!(x.is_finite(), y.is_finite(), "{x:e}: {y:e}");
        assert!(y >= 0.0 || y.is_nan(), "{x:e}: {y:e}");
    }
}

#[test]
fn example1_is_the_naive_loop_at_every_magnitude() {
    for bound in [1e-300, 1e-8, 0.5, 1.0, 10.0, 1e3, 1e6, 1e9, 1e12, SIN_COS_MAX, 1e15, 1e100] {
        assert_near_naive(&uniform(20_000, bound));
    }
    let finite: Vec<f64> = bit_patterns(200_000).into_iter().filter(|x| x.is_finite()).collect();
    assert_near_naive(&finite);
}

#[test]
fn example1_is_right_next_to_multiples_of_a_quarter_pi() {
    let dense = 0..200_000_u64;
    let sparse = (0..46).flat_map(|bits| [1 << bits, (1 << bits) - 1, (3 << bits) / 2]);
    for k in dense.chain(sparse) {
        let x = k as f64 * FRAC_PI_4;
        assert_near_naive(&[x, -x, x.next_up(), x.next_down()]);
    }
}

#[test]
fn example2_answers_as_the_original() {
    let table = [
        (-6, 0),
        (-3, 0),
        (-1, -1),
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
        (6, 3),
        (7, 7),
        (499, 499),
        (500, 6),
        (501, 6),
        (999, 4),
        (1000, 5),
        (1001, 1001),
        (1002, 0),
        (1500, 0),
        (300_000, 3),
        (99_999_999, 1),
        (2_147_483_646, 2),
        (2_147_483_647, 2_147_483_647),
        (-2_147_483_648, -2_147_483_648),
        (-2_147_483_646, 0),
    ];
    let (input, expected): (Vec<i32>, Vec<i32>) = table.into_iter().unzip();
    assert_eq!(map2(&input), expected);
}

#[test]
fn example2_is_the_naive_loop() {
    assert_as_naive(&(-5_000..200_000).collect::<Vec<i32>>());
    assert_as_naive(&(i32::MAX - 1000..=i32::MAX).collect::<Vec<i32>>());
    assert_as_naive(&(i32::MIN..i32::MIN + 1000).collect::<Vec<i32>>());
    // A prime step, so that all residues and magnitudes come up.
    assert_as_naive(&(i32::MIN..i32::MAX).step_by(10_007).collect::<Vec<i32>>());
}

/// Every int there is: 45 seconds of CPU, so only by `cargo test --release -p array -- --ignored`.
#[test]
#[ignore = "goes through all 2^32 ints"]
fn example2_is_the_naive_loop_for_every_int() {
    let check = |block: u32| {
        let start = (block << 16) as i32;
        assert_as_naive(&(start..=start | 0xFFFF).collect::<Vec<i32>>());
    };
    use rayon::prelude::*;
    (0..1_u32 << 16).into_par_iter().for_each(check);
}

/// The least of twenty times, in seconds: what other programs on the machine add is left out.
fn seconds(mut run: impl FnMut()) -> f64 {
    let once = |_| {
        let start = std::time::Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..20).map(once).fold(f64::INFINITY, f64::min)
}

/// Notices when a loop is no longer vectorised, which no result shows. On Zen 4 the kernels are 15 and 10
/// times as fast as the naive loops; the limits are a third below.
#[test]
#[ignore = "measures time"]
fn kernels_are_several_times_the_naive_loop() {
    if Build::all().len() == 1 {
        return;
    }
    let doubles = uniform(1 << 16, 1e3);
    let mut ints = vec![0; 1 << 16];
    random::fill_int(15, 0, &mut ints, 0, i32::MAX);
    let (mut y1, mut y2) = (vec![0.0; doubles.len()], vec![0; ints.len()]);

    let naive = seconds(|| doubles.iter().zip(&mut y1).for_each(|(&x, y)| *y = naive1(x)));
    let ratio1 = naive / seconds(|| example1(&doubles, &mut y1));
    let naive = seconds(|| ints.iter().zip(&mut y2).for_each(|(&x, y)| *y = naive2(x)));
    let ratio2 = naive / seconds(|| example2(&ints, &mut y2));
    assert!(ratio1 > 10.0 && ratio2 > 7.0, "example1 {ratio1:.1} times, example2 {ratio2:.1} times");
}

/// The promise behind [`KERNELS_ID`]: the CPU does not matter.
#[test]
fn builds_give_the_same_bits() {
    let doubles = [bit_patterns(100_000), uniform(100_000, 1e3), uniform(100_000, SIN_COS_MAX)].concat();
    let mut ints = vec![0; 300_000];
    random::fill_int(13, 0, &mut ints, i32::MIN, i32::MAX);
    ints.extend(-3_000..3_000);

    let (mut expected1, mut expected2) = (vec![0.0; doubles.len()], vec![0; ints.len()]);
    Build::all()[0].run(Map(example1::Example1, &doubles, &mut expected1));
    Build::all()[0].run(example2::Example2(&ints, &mut expected2));
    for build in Build::all() {
        let (mut found1, mut found2) = (vec![0.0; doubles.len()], vec![0; ints.len()]);
        build.run(Map(example1::Example1, &doubles, &mut found1));
        build.run(example2::Example2(&ints, &mut found2));
        assert!(found1.iter().map(|y| y.to_bits()).eq(expected1.iter().map(|y| y.to_bits())), "{build:?}");
        assert_eq!(found2, expected2, "{build:?}");
    }
}

/// The bits that [`KERNELS_ID`] names. If this fails, the id must change together with the checksums.
#[test]
fn the_bits_have_not_changed() {
    let doubles = [bit_patterns(50_000), uniform(50_000, 1e3), uniform(50_000, SIN_COS_MAX)].concat();
    let mut ints = vec![0; 50_000];
    random::fill_int(14, 0, &mut ints, -1_000, i32::MAX);
    let crc1 = checksum::crc32c(bytemuck::cast_slice(&map1(&doubles)));
    let crc2 = checksum::crc32c(bytemuck::cast_slice(&map2(&ints)));
    assert_eq!((KERNELS_ID, crc1, crc2), ("darray-3", 3_032_326_488, 2_895_675_522));
}

#[test]
#[should_panic]
fn slices_of_different_lengths_are_refused() {
    example1(&[1.0, 2.0], &mut [0.0]);
}

proptest! {
    /// Far arguments switch a block to the slow path; their neighbours must not notice.
    #[test]
    fn any_cut_gives_the_same_bits(
        mut input in prop::collection::vec(-1e4..1e4_f64, 1..3000),
        far in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let place = far.index(input.len());
        let before = map1(&input);
        input[place] = 1e200;
        let whole = map1(&input);
        let (a, b) = input.split_at(cut.index(input.len()));
        let bits = |values: &[f64]| values.iter().map(|y| y.to_bits()).collect::<Vec<u64>>();
        prop_assert_eq!(bits(&[map1(a), map1(b)].concat()), bits(&whole));
        prop_assert_eq!(bits(&before[..place]), bits(&whole[..place]));
        prop_assert_eq!(bits(&before[place + 1..]), bits(&whole[place + 1..]));
    }

    #[test]
    fn any_int_is_as_the_naive_loop_says(input in prop::collection::vec(any::<i32>(), 0..300)) {
        assert_as_naive(&input);
    }
}
