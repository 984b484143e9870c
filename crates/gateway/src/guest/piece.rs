//! A piece of a segment, as an original worker gets it and answers it.

use super::{Order, PIECE_ELEMENTS};
use array::{Buffer, DType};
use protocol::CopyId;
use protocol::level1::{LineWriter, data_type, to_int32};
use std::borrow::Cow;
use std::ops::Range;

/// Elements of each result that are computed here as well, to see whether it is one.
const SAMPLES: usize = 16;

/// How far an original's double may be from ours: `|a - b| <= ABSOLUTE + RELATIVE |b|`. Java's and Python's differ by
/// at most 5.6e-17 and by 9e-15 of the value; the sum of sine and cosine cancels.
const ABSOLUTE: f64 = 1e-12;
const RELATIVE: f64 = 1e-9;

/// Pieces of a segment.
pub(super) fn count(job: &Order) -> u32 {
    (job.source.elements() as usize).div_ceil(PIECE_ELEMENTS) as u32
}

/// A piece of a segment.
pub(super) struct Piece<'a> {
    job: &'a Order,
    range: Range<usize>,
}

impl<'a> Piece<'a> {
    pub(super) fn new(job: &'a Order, number: u32) -> Piece<'a> {
        let start = number as usize * PIECE_ELEMENTS;
        Piece { job, range: start..(start + PIECE_ELEMENTS).min(job.source.elements() as usize) }
    }

    /// The segment it is a piece of.
    pub(super) fn segment(&self) -> CopyId {
        self.job.source.record().id()
    }

    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    /// The line that gives it to a worker.
    pub(super) fn to_line(&self, worker: &str, array_id: &str) -> Vec<u8> {
        let dtype = self.job.operation.input();
        let line = LineWriter::new("DISTRIBUTE_ARRAY", "master", worker).text("arrayId", array_id);
        let line = line.text("segmentId", "0").integer("startIndex", 0).integer("endIndex", self.len() as i64);
        let line = line.text("dataType", data_type(dtype).expect("operations take int32 and float64"));
        let line = match dtype {
            DType::Int32 => line.ints("data", &self.with_ones(is_int_to_avoid)),
            _ => line.doubles("data", &self.with_ones(is_double_to_avoid)),
        };
        line.flag("isPrimary", true).finish()
    }

    /// The elements, with 1 in place of those to avoid: of 1 every worker has a result.
    fn with_ones<T: array::Element + From<u8>>(&self, avoid: fn(T) -> bool) -> Cow<'a, [T]> {
        let values: &[T] = &self.job.source.buffer().as_slice()[self.range.clone()];
        match values.iter().any(|value| avoid(*value)) {
            false => Cow::Borrowed(values),
            true => values.iter().map(|value| if avoid(*value) { T::from(1) } else { *value }).collect(),
        }
    }

    /// Puts a worker's answer into its place in the result.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn take_result(&self, values: Vec<f64>, result: &mut Buffer) -> Result<(), String> {
        if values.len() != self.len() {
            return Err(format!("it gave {} elements, not {}", values.len(), self.len()));
        }
        match self.job.operation.output() {
            DType::Int32 => {
                let values = to_int32(&values).map_err(|e| e.message)?;
                self.place(values, is_int_to_avoid, |a, b| a == b, result)
            }
            _ => {
                let close = |a: f64, b: f64| (a - b).abs() <= ABSOLUTE + RELATIVE * b.abs();
                self.place(values, is_double_to_avoid, close, result)
            }
        }
    }

    /// Compares some elements with our own results, puts in our own where 1 was sent, and stores.
    fn place<T: array::Element>(
        &self,
        mut values: Vec<T>,
        avoid: fn(T) -> bool,
        close: impl Fn(T, T) -> bool,
        result: &mut Buffer,
    ) -> Result<(), String> {
        let sources: &[T] = &self.job.source.buffer().as_slice()[self.range.clone()];
        let step = self.len().div_ceil(SAMPLES).max(1);
        let chosen: Vec<usize> = (0..self.len())
            .filter(|index| index % step == 0 || *index + 1 == self.len() || avoid(sources[*index]))
            .collect();
        let inputs: Vec<T> = chosen.iter().map(|index| sources[*index]).collect();
        let (own, _) = self.job.operation.apply(&Buffer::from_slice(&inputs));
        for (index, own) in chosen.into_iter().zip(own.as_slice::<T>()) {
            if avoid(sources[index]) {
                values[index] = *own;
            } else if !close(values[index], *own) {
                return Err(format!("it gave {:?} for {:?}, which is {own:?}", values[index], sources[index]));
            }
        }
        result.as_mut_slice()[self.range.clone()].copy_from_slice(&values);
        Ok(())
    }
}

/// Ints that have no logarithm but need one: a Python worker gives no answer for the whole segment.
fn is_int_to_avoid(value: i32) -> bool {
    value <= 0 && value % 3 == 0
}

/// Doubles that JSON does not have: a Java worker never answers them, or ends.
fn is_double_to_avoid(value: f64) -> bool {
    !value.is_finite()
}
