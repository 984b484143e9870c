//! Each reducer against a loop that says what it means.

use super::data::{Data, integers, lengths, moderate, wild};
use crate::reduction::{Reducer, ReductionError, Scalar, Values};

type Answer = Result<Scalar, ReductionError>;

/// An answer in the form in which two are the same if their bits are: Debug tells 0.0 from -0.0, and there is one NaN.
fn text(answer: &Answer) -> String {
    let nan_bits = match answer {
        Ok(Scalar::Float64(x)) if x.is_nan() => x.to_bits(),
        Ok(Scalar::Float32(x)) if x.is_nan() => x.to_bits().into(),
        _ => 0,
    };
    format!("{answer:?} {nan_bits:x}")
}

fn assert_same(reducer: Reducer, found: Answer, expected: Answer, data: &Data) {
    let (dtype, len) = (data.values().dtype(), data.values().len());
    let some: String = format!("{data:?}").chars().take(200).collect();
    assert_eq!(text(&found), text(&expected), "{reducer} of {len} {dtype}: {some}");
    if let Ok(found) = found {
        assert_eq!(found.dtype(), reducer.output(dtype), "{reducer} of {dtype}");
    }
}

/// Every element as an integer, if they are integers.
fn as_integers(values: Values<'_>) -> Option<Vec<i64>> {
    match values {
        Values::Bool(values) => Some(values.iter().map(|&x| x.into()).collect()),
        Values::Int32(values) => Some(values.iter().map(|&x| x.into()).collect()),
        Values::Int64(values) => Some(values.to_vec()),
        Values::Float32(_) | Values::Float64(_) => None,
    }
}

/// Every element in float64.
fn as_floats(values: Values<'_>) -> Vec<f64> {
    match values {
        Values::Float32(values) => values.iter().map(|&x| x.into()).collect(),
        Values::Float64(values) => values.to_vec(),
        _ => as_integers(values).expect("the others are integers").into_iter().map(|x| x as f64).collect(),
    }
}

/// The element at an index.
fn element(values: Values<'_>, index: usize) -> Scalar {
    match values {
        Values::Bool(values) => Scalar::Bool(values[index] != 0),
        Values::Int32(values) => Scalar::Int32(values[index]),
        Values::Int64(values) => Scalar::Int64(values[index]),
        Values::Float32(values) if values[index].is_nan() => Scalar::Float32(f32::NAN),
        Values::Float32(values) => Scalar::Float32(values[index]),
        Values::Float64(values) if values[index].is_nan() => Scalar::Float64(f64::NAN),
        Values::Float64(values) => Scalar::Float64(values[index]),
    }
}

fn naive_sum(numbers: &[i64]) -> Answer {
    let sum: i128 = numbers.iter().map(|&x| i128::from(x)).sum();
    sum.try_into().map(Scalar::Int64).map_err(|_| ReductionError::Overflow { reducer: Reducer::Sum })
}

fn naive_prod(numbers: &[i64]) -> Answer {
    if numbers.contains(&0) {
        return Ok(Scalar::Int64(0));
    }
    let mut product = 1_i128;
    for &x in numbers {
        product *= i128::from(x);
        // From 2^63 on, only one of magnitude 1 can follow, and a negative one may make it fit.
        if product.unsigned_abs() > 1 << 63 {
            return Err(ReductionError::Overflow { reducer: Reducer::Prod });
        }
    }
    product.try_into().map(Scalar::Int64).map_err(|_| ReductionError::Overflow { reducer: Reducer::Prod })
}

/// Whether b comes before a for min (or, of negated numbers, max), and so takes its place.
fn takes_place(a: f64, b: f64) -> bool {
    !a.is_nan() && (b.is_nan() || b < a)
}

fn naive_place(values: Values<'_>, is_least: bool) -> Option<usize> {
    let before: Box<dyn Fn(usize, usize) -> bool> = match as_integers(values) {
        Some(numbers) => Box::new(move |a, b| if is_least { numbers[b] < numbers[a] } else { numbers[b] > numbers[a] }),
        None => {
            let sign = if is_least { 1.0 } else { -1.0 };
            let numbers = as_floats(values);
            Box::new(move |a, b| takes_place(sign * numbers[a], sign * numbers[b]))
        }
    };
    (0..values.len()).reduce(|a, b| if before(a, b) { b } else { a })
}

/// The element that min or max gives: of zeros, the one with the sign that is asked for.
fn naive_extreme(reducer: Reducer, values: Values<'_>) -> Answer {
    let is_least = reducer == Reducer::Min;
    let place = naive_place(values, is_least).ok_or(ReductionError::Empty { reducer })?;
    let is_zero = |scalar: Scalar| matches!(scalar, Scalar::Float32(0.0) | Scalar::Float64(0.0));
    let has_sign = |scalar: Scalar| scalar.to_string().starts_with('-') == is_least;
    let zeros = (0..values.len()).map(|index| element(values, index)).filter(|&x| is_zero(x));
    let found = element(values, place);
    Ok(if is_zero(found) { zeros.clone().find(|&x| has_sign(x)).unwrap_or(found) } else { found })
}

fn naive_index(reducer: Reducer, values: Values<'_>) -> Answer {
    let place = naive_place(values, reducer == Reducer::Argmin).ok_or(ReductionError::Empty { reducer })?;
    Ok(Scalar::Int64(place as i64))
}

fn naive_count(values: Values<'_>) -> usize {
    let nonzero =
        |index: &usize| !matches!(element(values, *index).to_string().as_str(), "0" | "0.0" | "-0.0" | "false");
    (0..values.len()).filter(nonzero).count()
}

#[test]
fn extremes_and_counts_are_those_of_a_loop() {
    for len in lengths() {
        for data in [moderate(1, len), wild(2, len), integers(3, len)].concat() {
            let values = data.values();
            let count = naive_count(values);
            for reducer in [Reducer::Min, Reducer::Max] {
                assert_same(reducer, data.reduce(reducer), naive_extreme(reducer, values), &data);
            }
            for reducer in [Reducer::Argmin, Reducer::Argmax] {
                assert_same(reducer, data.reduce(reducer), naive_index(reducer, values), &data);
            }
            assert_same(Reducer::Count, data.reduce(Reducer::Count), Ok(Scalar::Int64(count as i64)), &data);
            assert_same(Reducer::Any, data.reduce(Reducer::Any), Ok(Scalar::Bool(count > 0)), &data);
            assert_same(Reducer::All, data.reduce(Reducer::All), Ok(Scalar::Bool(count == len)), &data);
        }
    }
}

#[test]
fn sums_and_products_of_integers_are_exact_or_overflow() {
    let mut overflows = 0;
    for len in lengths() {
        for data in integers(4, len) {
            let numbers = as_integers(data.values()).unwrap();
            let (sum, product) = (naive_sum(&numbers), naive_prod(&numbers));
            overflows += usize::from(sum.is_err()) + usize::from(product.is_err());
            assert_same(Reducer::Sum, data.reduce(Reducer::Sum), sum, &data);
            assert_same(Reducer::Prod, data.reduce(Reducer::Prod), product, &data);
        }
    }
    assert!(overflows > 50, "{overflows}");
}

fn float(answer: Answer) -> f64 {
    match answer {
        Ok(Scalar::Float32(x)) => x.into(),
        Ok(Scalar::Float64(x)) => x,
        other => panic!("a float expected, not {other:?}"),
    }
}

/// Relative to what is added up, 1e-12 in float64, as far as the loop itself may be off, and half a unit of float32.
fn assert_near(reducer: Reducer, data: &Data, expected: f64, magnitude: f64) {
    let found = float(data.reduce(reducer));
    let narrowing = if matches!(data, Data::Float32(_)) { 1e-7 * expected.abs() } else { 0.0 };
    let error = (found - expected).abs();
    assert!(
        error <= 1e-12 * magnitude + narrowing,
        "{reducer} of {}: {found:e}, not {expected:e}",
        data.values().len()
    );
}

#[test]
fn sums_and_moments_are_near_a_loops() {
    for (seed, len) in lengths().into_iter().enumerate().filter(|(_, len)| *len > 0) {
        for data in [moderate(seed as u64, len), integers(seed as u64, len)].concat() {
            let numbers = as_floats(data.values());
            let n = len as f64;
            let magnitude: f64 = numbers.iter().map(|x| x.abs()).sum();
            let mean = numbers.iter().sum::<f64>() / n;
            let variance = numbers.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
            if matches!(data, Data::Float32(_) | Data::Float64(_)) {
                assert_near(Reducer::Sum, &data, mean * n, magnitude);
            }
            assert_near(Reducer::Mean, &data, mean, magnitude / n);
            // The mean's error squared, beside that of the sum of squares.
            let spread = variance + (1e-10 * magnitude / n) * (magnitude / n);
            assert_near(Reducer::Var, &data, variance, spread);
            let deviation = float(data.reduce(Reducer::Std));
            let expected = float(data.reduce(Reducer::Var)).sqrt();
            assert!((deviation - expected).abs() <= 2e-7 * expected, "{deviation:e}, not {expected:e}");
        }
    }
}

#[test]
fn products_of_floats_are_near_a_loops() {
    for len in lengths() {
        let numbers: Vec<f64> = moderate(5, len).iter().flat_map(|data| as_floats(data.values())).take(len).collect();
        // Factors next to 1, and pairs that are inverse: no product on the way leaves the range.
        let factors: Vec<f64> = numbers.iter().map(|x| if *x < 0.0 { -1.0 } else { 1.0 } + x * 1e-6).collect();
        let expected: f64 = factors.iter().product();
        let narrowed: Vec<f32> = factors.iter().map(|&x| x as f32).collect();
        let expected_f32: f64 = narrowed.iter().map(|&x| f64::from(x)).product();
        assert_near(Reducer::Prod, &Data::Float64(factors), expected, 10.0 * expected.abs());
        assert_near(Reducer::Prod, &Data::Float32(narrowed), expected_f32, 10.0 * expected_f32.abs());
    }
}

/// What is not finite decides by itself what sum and mean are, and there is no variance.
#[test]
fn what_is_not_finite_gives_what_it_gives_in_numpy() {
    let infinity = f64::INFINITY;
    let cases = [
        (vec![infinity], infinity),
        (vec![-infinity], -infinity),
        (vec![infinity, -infinity], f64::NAN),
        (vec![-f64::NAN], f64::NAN),
        (vec![f64::NAN, infinity], f64::NAN),
    ];
    for (special, expected) in cases {
        for len in [10, LEN] {
            for place in [0, len / 2, len - special.len()] {
                let mut numbers = vec![1.5; len];
                numbers[place..place + special.len()].copy_from_slice(&special);
                let narrowed = numbers.iter().map(|&x| x as f32).collect();
                let (data, narrowed) = (Data::Float64(numbers), Data::Float32(narrowed));
                let takes_prod = special.len() == 1;
                let reducers = [Reducer::Sum, Reducer::Mean].into_iter().chain(takes_prod.then_some(Reducer::Prod));
                for reducer in reducers {
                    assert_same(reducer, data.reduce(reducer), Ok(Scalar::Float64(expected)), &data);
                    assert_same(reducer, narrowed.reduce(reducer), Ok(Scalar::Float32(expected as f32)), &narrowed);
                }
                for reducer in [Reducer::Var, Reducer::Std] {
                    assert_same(reducer, data.reduce(reducer), Ok(Scalar::Float64(f64::NAN)), &data);
                    assert_same(reducer, narrowed.reduce(reducer), Ok(Scalar::Float32(f32::NAN)), &narrowed);
                }
            }
        }
    }
}

/// Several leaves and a part of one.
const LEN: usize = 5000;

#[test]
fn float32_is_rounded_once() {
    // In float32 the sum stays at 2^24: each 1 is half a unit there.
    let mut numbers = vec![1.0_f32; 4097];
    numbers[0] = 16_777_216.0;
    let data = Data::Float32(numbers);
    assert_same(Reducer::Sum, data.reduce(Reducer::Sum), Ok(Scalar::Float32(16_781_312.0)), &data);
    // 1e30 * 1e30 is no float32.
    let data = Data::Float32(vec![1e30, 1e30, 1e-30, 1e-30]);
    assert!((float(data.reduce(Reducer::Prod)) - 1.0).abs() < 1e-6);
}

#[test]
fn of_no_elements() {
    for data in [moderate(6, 0), integers(6, 0)].concat() {
        let output = |reducer: Reducer| reducer.output(data.values().dtype());
        let number = |reducer, text| Ok(Scalar::parse(output(reducer), text).unwrap());
        for (reducer, expected) in [
            (Reducer::Sum, number(Reducer::Sum, "0")),
            (Reducer::Prod, number(Reducer::Prod, "1")),
            (Reducer::Mean, number(Reducer::Mean, "NaN")),
            (Reducer::Var, number(Reducer::Var, "NaN")),
            (Reducer::Std, number(Reducer::Std, "NaN")),
            (Reducer::Count, Ok(Scalar::Int64(0))),
            (Reducer::Any, Ok(Scalar::Bool(false))),
            (Reducer::All, Ok(Scalar::Bool(true))),
            (Reducer::Min, Err(ReductionError::Empty { reducer: Reducer::Min })),
            (Reducer::Max, Err(ReductionError::Empty { reducer: Reducer::Max })),
            (Reducer::Argmin, Err(ReductionError::Empty { reducer: Reducer::Argmin })),
            (Reducer::Argmax, Err(ReductionError::Empty { reducer: Reducer::Argmax })),
        ] {
            assert_same(reducer, data.reduce(reducer), expected, &data);
        }
    }
}
