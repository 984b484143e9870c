//! Arrays from nothing: what is refused, and how the random ones are distributed. The others are in `tests/numpy.rs`.

use super::*;
use crate::program::{RunError, Source};
use crate::{Buffer, Element, LEN_MAX};

fn make(text: &str, dtype: Option<DType>, seed: u64) -> GeneratedArray {
    parse_generator(text, dtype, seed).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn part(array: &GeneratedArray, start: u64, len: usize) -> Result<Buffer, RunError> {
    let none: [Source<'_>; 0] = [];
    let mut output = Buffer::zeroed(len * array.program.output().unwrap().size());
    array.program.apply_into(&none, start, len, &mut output).map(|_| output)
}

fn values<T: Element>(text: &str, dtype: Option<DType>) -> Vec<T> {
    let array = make(text, dtype, 5);
    let len = array.shape.iter().product::<u64>() as usize;
    part(&array, 0, len).unwrap().as_slice().to_vec()
}

#[test]
fn shapes() {
    for (text, shape) in [
        ("zeros(5)", &[5][..]),
        ("zeros((5,))", &[5]),
        ("ones((2, 3))", &[2, 3]),
        ("ones([2, 3, 0])", &[2, 3, 0]),
        ("full((2, 3,), 7)", &[2, 3]),
        ("zeros(())", &[]),
        ("random((1000, 1000))", &[1000, 1000]),
        ("arange(0, 10, 3)", &[4]),
        ("arange(10, 0, -3)", &[4]),
        ("arange(0, 10, -1)", &[0]),
        ("arange(-5)", &[0]),
        ("linspace(0, 1, 0)", &[0]),
        (" normal( 0 , 1 , ( 4 , 2 ) ) ", &[4, 2]),
        ("arange(-9223372036854775807, 9223372036854775807, 9223372036854775807)", &[2]),
        ("zeros(35184372088832)", &[LEN_MAX]),
    ] {
        assert_eq!(make(text, None, 1).shape, shape, "{text}");
    }
}

#[test]
fn what_is_no_array_is_refused() {
    for (text, problem) in [
        ("", "begins with a name"),
        ("zeros", "a `(` is missing"),
        ("zeros(", "a value is missing"),
        ("zeros()", "write zeros(shape)"),
        ("zeros(1, 2)", "write zeros(shape)"),
        ("zeros(-1)", "a side of -1 elements"),
        ("zeros(1.5)", "whole numbers"),
        ("zeros((1, 2.0))", "whole numbers"),
        ("zeros(5) + 1", "an operator is missing"),
        ("zero(5)", "nothing is called 'zero' that makes an array; there are zeros(shape), ones(shape)"),
        ("zeros(35184372088833)", "more than 35184372088832 elements"),
        ("zeros((4294967296, 4294967296))", "more than 35184372088832 elements"),
        ("full(5)", "write full(shape, value)"),
        ("full(5, (1, 2))", "write full(shape, value)"),
        ("arange(0, 5, 0)", "a step of 0"),
        ("arange(0, 5, 0.0)", "inf elements"),
        ("arange(0, 0, 0.0)", "is not a number"),
        ("arange(0, nan)", "is not a number"),
        ("arange(1e30)", "1e30 elements"),
        ("arange(-9223372036854775807, 9223372036854775807)", "elements, 35184372088832 at most"),
        ("linspace(0, 1, 2.5)", "write linspace(start, stop, num)"),
        ("linspace(0, 1)", "write linspace(start, stop, num)"),
        ("uniform(1, 1, 5)", "no number lies between 1 and 1"),
        ("uniform(0, nan, 5)", "no number lies between"),
        ("uniform(-1e308, 1e308, 5)", "too far apart"),
        ("integers(5, 5, 3)", "no int lies in 5..5"),
        ("integers(0, 1.5, 3)", "write integers(low, high, shape)"),
        ("zeros(x)", "number"),
    ] {
        match parse_generator(text, None, 1) {
            Err(error) => assert!(error.problem.contains(problem), "{text}: {error}"),
            Ok(array) => panic!("{text}: {:?}", array.shape),
        }
    }
    let refused = |text, dtype| parse_generator(text, Some(dtype), 1).unwrap_err().problem;
    assert!(refused("zeros(5)", Int8).contains("int8 is stored only"));
    assert!(refused("integers(0, 3000000000, 5)", Int32).contains("do not fit int32"));
}

/// An element that the dtype does not hold is named, as in an expression.
#[test]
fn elements_that_do_not_fit() {
    let array = make("arange(2147483640, 2147483660)", Some(Int32), 1);
    assert!(matches!(part(&array, 0, 20), Err(RunError::Element(error)) if error.index == 8));
    assert_eq!(part(&array, 0, 8).unwrap().as_slice::<i32>()[7], i32::MAX);
    let array = make("full(3, nan)", Some(Int64), 1);
    assert!(matches!(part(&array, 0, 3), Err(RunError::Element(error)) if error.index == 0));
}

#[test]
fn any_part_can_be_made_by_itself() {
    let texts = [
        "zeros(20000)",
        "arange(20000)",
        "arange(0, 1, 5e-5)",
        "linspace(-1, 1, 20000)",
        "random(20000)",
        "uniform(-2, 5, 20000)",
        "normal(1, 2, 20000)",
        "integers(-9, 9, 20000)",
    ];
    for (text, dtype) in
        texts.into_iter().flat_map(|text| [None, Some(Float32), Some(Int32)].map(|dtype| (text, dtype)))
    {
        let array = make(text, dtype, 77);
        let whole = part(&array, 0, 20_000).unwrap();
        for cut in [1, 999, 1024, 8192, 19_999] {
            let joined = [part(&array, 0, cut).unwrap(), part(&array, cut as u64, 20_000 - cut).unwrap()];
            let joined: Vec<u8> = joined.iter().flat_map(|part| part.as_bytes().to_vec()).collect();
            assert_eq!(joined, whole.as_bytes(), "{text} as {dtype:?} cut at {cut}");
        }
    }
}

/// The greatest distance between the distribution of the values and the one they should have, times the square root of their
/// number (Kolmogorov). Beyond 1.95 once in a thousand.
fn kolmogorov(mut values: Vec<f64>, distribution: impl Fn(f64) -> f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len() as f64;
    let apart = |(at, x): (usize, &f64)| {
        let expected = distribution(*x);
        (expected - at as f64 / n).abs().max(((at + 1) as f64 / n - expected).abs())
    };
    values.iter().enumerate().map(apart).fold(0.0, f64::max) * n.sqrt()
}

#[test]
fn random_numbers_have_their_distributions() {
    let uniform = kolmogorov(values("random(100000)", None), |x| x);
    assert!(uniform < 1.95, "{uniform}");
    let uniform = kolmogorov(values("uniform(-2, 6, 100000)", None), |x| (x + 2.0) / 8.0);
    assert!(uniform < 1.95, "{uniform}");
    let normal = values::<f64>("normal(3, 2, 100000)", None);
    let distance = kolmogorov(normal.clone(), |x| 0.5 * libm::erfc((3.0 - x) / 8_f64.sqrt()));
    assert!(distance < 1.95, "{distance}");
    // Moments, each within five standard deviations of its estimate.
    let moment = |power| normal.iter().map(|x| ((x - 3.0) / 2.0).powi(power)).sum::<f64>() / 1e5;
    for (power, expected, deviation) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let bound = 5.0 * f64::sqrt(deviation / 1e5);
        assert!((moment(power) - expected).abs() < bound, "moment {power}: {}", moment(power));
    }
    // Neighbours do not know of each other.
    let covariance = normal.windows(2).map(|pair| (pair[0] - 3.0) * (pair[1] - 3.0) / 4.0).sum::<f64>() / 1e5;
    assert!(covariance.abs() < 5.0 / 1e5_f64.sqrt(), "{covariance}");
}

/// Pearson's statistic, of which the mean is the number of values less one, and the variance twice that.
#[test]
fn random_ints_are_even() {
    for dtype in [None, Some(Int32)] {
        let ints: Vec<i64> = match dtype {
            None => values("integers(-50, 50, 100000)", None),
            Some(_) => values::<i32>("integers(-50, 50, 100000)", dtype).into_iter().map(i64::from).collect(),
        };
        let mut counts = [0_u32; 100];
        ints.iter().for_each(|int| counts[usize::try_from(int + 50).unwrap()] += 1);
        let statistic: f64 = counts.iter().map(|count| (f64::from(*count) - 1000.0).powi(2) / 1000.0).sum();
        assert!((statistic - 99.0).abs() < 5.0 * 198_f64.sqrt(), "{statistic}");
    }
}

#[test]
fn seeds_make_other_numbers_and_the_same_again() {
    let of = |seed| part(&make("normal(0, 1, 100)", None, seed), 0, 100).unwrap();
    assert_eq!(of(1), of(1));
    let (one, two) = (of(1), of(2));
    assert!(one.as_slice::<f64>().iter().zip(two.as_slice::<f64>()).all(|(a, b)| a != b));
}
