//! What results must be, by loops that have nothing of ours: plain code over the functions of the standard library.

use crate::formulas::{FORMULAS, Inputs};
use crate::ours::say;
use ::tests::harness::oracle::example1;
use serde_json::Value;
use std::collections::BTreeMap;

/// Every how many elements of a result are told, as `peer.py` has it too.
const SAMPLED: usize = 997;

/// How far an element may be from the judge's: other sine and cosine.
pub const TOLERANCE: f64 = 1e-9;

/// How far a sum may be, of the sum of what is added without its signs: other orders. One element of ten million is more.
const SUM_TOLERANCE: f64 = 1e-11;

/// How many standard deviations the moments of random numbers may be from what is expected.
const DEVIATIONS: f64 = 8.0;

/// What is told of a result.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    length: usize,
    sum: f64,
    samples: Vec<f64>,
}

impl Summary {
    /// Of a result that is here.
    pub fn of(values: impl Iterator<Item = f64> + Clone) -> Summary {
        let samples = values.clone().step_by(SAMPLED).collect();
        values.fold(Summary { samples, ..Summary::default() }, |mut summary, value| {
            summary.length += 1;
            summary.sum += value;
            summary
        })
    }

    /// Of a peer's result.
    pub fn told(by: &Value) -> Result<Summary, String> {
        let samples: Vec<f64> = serde_json::from_value(by["samples"].clone()).map_err(say)?;
        let length = by["length"].as_u64().unwrap_or_default() as usize;
        Ok(Summary { length, sum: by["sum"].as_f64().unwrap_or(f64::NAN), samples })
    }
}

/// A number, and how far from it one may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Near {
    expected: f64,
    by: f64,
}

impl Near {
    fn check(self, what: &str, found: f64) -> Result<(), String> {
        match (found - self.expected).abs() <= self.by {
            true => Ok(()),
            false => Err(format!("{what} is {found}, expected {} within {:e}", self.expected, self.by)),
        }
    }
}

/// A sum with the bits that additions round away (Neumaier), and what the numbers are without their signs.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    sum: f64,
    lost: f64,
    absolute: f64,
}

impl Sum {
    fn of(values: impl Iterator<Item = f64>) -> Sum {
        values.fold(Sum::default(), |Sum { sum, lost, absolute }, value| {
            let next = sum + value;
            let (larger, smaller) = if sum.abs() >= value.abs() { (sum, value) } else { (value, sum) };
            Sum { sum: next, lost: lost + ((larger - next) + smaller), absolute: absolute + value.abs() }
        })
    }

    fn value(self) -> f64 {
        self.sum + self.lost
    }

    fn near(self) -> Near {
        Near { expected: self.value(), by: SUM_TOLERANCE * self.absolute }
    }
}

/// What an array must be.
pub struct Expected {
    length: usize,
    sum: Near,
    samples: Vec<Near>,
}

impl Expected {
    /// These values, each within `relative` of its size, or of 1.
    pub fn new(values: impl Iterator<Item = f64> + Clone, relative: f64) -> Expected {
        let sum = Sum::of(values.clone());
        let by = SUM_TOLERANCE.max(relative) * (1.0 + sum.absolute);
        let near = |expected: f64| Near { expected, by: relative * (1.0 + expected.abs()) };
        Expected {
            length: values.clone().count(),
            sum: Near { expected: sum.value(), by },
            samples: values.step_by(SAMPLED).map(near).collect(),
        }
    }

    /// Of example1 on these values.
    pub fn of(values: &[f64]) -> Expected {
        Expected::new(values.iter().map(|x| example1(*x)), TOLERANCE)
    }

    /// Elements.
    pub fn length(&self) -> usize {
        self.length
    }

    pub fn check(&self, found: &Summary) -> Result<(), String> {
        if found.length != self.length || found.samples.len() != self.samples.len() {
            return Err(format!("{} elements instead of {}", found.length, self.length));
        }
        for (i, (near, sample)) in self.samples.iter().zip(&found.samples).enumerate() {
            near.check(&format!("element {}", i * SAMPLED), *sample)?;
        }
        self.sum.check("the sum", found.sum)
    }
}

/// What the steps of a round must give that computes.
pub struct Judge {
    length: usize,
    arrays: BTreeMap<&'static str, Expected>,
    numbers: BTreeMap<&'static str, Vec<Near>>,
}

impl Judge {
    pub fn new(inputs: &Inputs) -> Judge {
        let (x, b) = (&inputs.double, &inputs.b);
        let [sum, applied] = [Sum::of(x.iter().copied()), Sum::of(x.iter().map(|x| example1(*x)))];
        let dot = Sum::of(x.iter().zip(b).map(|(x, b)| x * b));
        let count = x.len() as f64;
        let mean = sum.value() / count;
        let deviation = (Sum::of(x.iter().map(|x| (x - mean) * (x - mean))).value() / count).sqrt();
        let exactly = |expected| Near { expected, by: 0.0 };
        let five = vec![
            sum.near(),
            exactly(x.iter().copied().fold(f64::INFINITY, f64::min)),
            exactly(x.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            Near { expected: mean, by: SUM_TOLERANCE * sum.absolute / count },
            Near { expected: deviation, by: SUM_TOLERANCE * deviation },
        ];
        let mut arrays: BTreeMap<_, _> = FORMULAS
            .iter()
            .map(|formula| (formula.name, Expected::new(formula.values(inputs), formula.tolerance)))
            .collect();
        arrays.insert("apply1", Expected::of(x));
        arrays.insert("arange", Expected::new((0..x.len()).map(|i| i as f64), 0.0));
        let numbers = [
            ("sum", vec![sum.near()]),
            ("reduce5_fused", five),
            ("apply1_sum", vec![Near { expected: applied.value(), by: TOLERANCE * applied.absolute }]),
            ("dot", vec![dot.near()]),
        ];
        Judge { length: x.len(), arrays, numbers: numbers.into() }
    }

    /// What a peer tells of a step.
    pub fn check(&self, step: &str, told: &Value) -> Result<(), String> {
        if self.numbers.contains_key(step) {
            let found: Vec<f64> = match told {
                Value::Array(_) => serde_json::from_value(told.clone()).map_err(say)?,
                number => number.as_f64().into_iter().collect(),
            };
            return self.numbers(step, &found);
        }
        if step == "generate" {
            let [least, most, mean, variance] =
                ["min", "max", "mean", "variance"].map(|name| told[name].as_f64().unwrap_or(f64::NAN));
            return self.uniform(&Summary::told(told)?, least, most, mean, variance);
        }
        self.array(step, &Summary::told(told)?)
    }

    /// Numbers that a step gives.
    pub fn numbers(&self, step: &str, found: &[f64]) -> Result<(), String> {
        let expected = &self.numbers[step];
        if found.len() != expected.len() {
            return Err(format!("{} numbers instead of {}", found.len(), expected.len()));
        }
        let mut both = expected.iter().zip(found).enumerate();
        both.try_for_each(|(i, (near, found))| near.check(&format!("number {i}"), *found))
    }

    /// The array that a step gives.
    pub fn array(&self, step: &str, found: &Summary) -> Result<(), String> {
        self.arrays.get(step).ok_or("nobody expects that step")?.check(found)
    }

    /// Random numbers, uniform from 0 to 1, of which each has its own.
    pub fn uniform_values(&self, values: &[f64]) -> Result<(), String> {
        let count = values.len() as f64;
        let mean = Sum::of(values.iter().copied()).value() / count;
        let variance = Sum::of(values.iter().map(|x| (x - mean) * (x - mean))).value() / count;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.uniform(&Summary::of(values.iter().copied()), least, most, mean, variance)
    }

    fn uniform(&self, found: &Summary, least: f64, most: f64, mean: f64, variance: f64) -> Result<(), String> {
        if found.length != self.length {
            return Err(format!("{} elements instead of {}", found.length, self.length));
        }
        if !(0.0 <= least && most < 1.0) {
            return Err(format!("numbers from {least} to {most}, expected from 0 to below 1"));
        }
        let mut samples = found.samples.clone();
        samples.sort_by(f64::total_cmp);
        if samples.windows(2).any(|two| two[0] == two[1]) {
            return Err("the same number twice".to_string());
        }
        // Of n numbers the mean has the variance 1/12n, and their variance 1/180n.
        let by = |variance: f64| DEVIATIONS * (variance / self.length as f64).sqrt();
        Near { expected: 0.5, by: by(1.0 / 12.0) }.check("the mean", mean)?;
        Near { expected: 1.0 / 12.0, by: by(1.0 / 180.0) }.check("the variance", variance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use array::random;
    use serde_json::json;

    #[test]
    fn a_wrong_result_of_a_peer_is_told() {
        let values: Vec<f64> = (0..2000).map(f64::from).collect();
        let right: Vec<f64> = values.iter().map(|x| example1(*x)).collect();
        let expected = Expected::of(&values);
        let check = |result: &[f64]| {
            let samples: Vec<f64> = result.iter().copied().step_by(SAMPLED).collect();
            let told = json!({"length": result.len(), "sum": result.iter().sum::<f64>(), "samples": samples});
            expected.check(&Summary::told(&told).unwrap())
        };
        assert_eq!(check(&right), Ok(()));
        let changed = |at: usize| {
            let mut result = right.clone();
            result[at] += 1e-5;
            check(&result).unwrap_err()
        };
        assert!(changed(997).starts_with("element 997 is"));
        assert!(changed(5).starts_with("the sum is"));
        assert_eq!(check(&right[1..]).unwrap_err(), "1999 elements instead of 2000");
    }

    #[test]
    fn wrong_numbers_of_a_step_are_told() {
        let judge = Judge::new(&Inputs::new(1, 5000));
        let x = Inputs::new(1, 5000).double;
        let sum: f64 = x.iter().sum();
        assert_eq!(judge.check("sum", &json!(sum)), Ok(()));
        assert!(judge.check("sum", &json!(sum + x[17])).unwrap_err().starts_with("number 0 is"));
        assert!(judge.check("sum", &Value::Null).is_err());
        assert!(judge.check("reduce5_fused", &json!([sum, 0.0, 0.0, 0.0, 0.0])).unwrap_err().starts_with("number 1"));
        assert_eq!(judge.check("reduce5_fused", &json!([sum])).unwrap_err(), "1 numbers instead of 5");
        assert!(judge.check("other", &json!({"length": 5000, "sum": 0.0, "samples": []})).is_err());
    }

    #[test]
    fn what_is_not_uniform_is_told() {
        let judge = Judge::new(&Inputs::new(1, 5000));
        let mut values = vec![0.0; 5000];
        random::fill_double(9, 0, &mut values, 0.0, 1.0);
        assert_eq!(judge.uniform_values(&values), Ok(()));
        let scaled: Vec<f64> = values.iter().map(|value| value * 0.9).collect();
        assert!(judge.uniform_values(&scaled).unwrap_err().starts_with("the mean is"));
        values[SAMPLED] = values[0];
        assert_eq!(judge.uniform_values(&values).unwrap_err(), "the same number twice");
        values[1] = 1.0;
        assert!(judge.uniform_values(&values).unwrap_err().starts_with("numbers from"));
        assert!(judge.uniform_values(&values[1..]).unwrap_err().starts_with("4999 elements"));
    }
}
