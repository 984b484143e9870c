//! Clients with names of their own: each knows what its names hold, and compares every value that it reads.

use crate::course::Course;
use array::Element;
use client::{ApplyOptions, Cluster, Error};
use protocol::ErrorCode;
use tests::harness::oracle::{Numbers, check_example1, check_example2};

/// What both dtypes have in common.
trait Number: Element + PartialEq {
    const OPERATION: &'static str;
    fn some(numbers: &mut Numbers, len: usize) -> Vec<Self>;
    fn check(source: &[Self], result: &[Self]) -> Result<(), String>;
}

impl Number for f64 {
    const OPERATION: &'static str = "example1";
    fn some(numbers: &mut Numbers, len: usize) -> Vec<f64> {
        numbers.doubles(len)
    }
    fn check(source: &[f64], result: &[f64]) -> Result<(), String> {
        check_example1(source, result)
    }
}

impl Number for i32 {
    const OPERATION: &'static str = "example2";
    fn some(numbers: &mut Numbers, len: usize) -> Vec<i32> {
        numbers.ints(len)
    }
    fn check(source: &[i32], result: &[i32]) -> Result<(), String> {
        check_example2(source, result)
    }
}

/// One client, the only one that uses its names, so that it knows what they hold.
pub struct Client<'a> {
    n: u64,
    cluster: Cluster,
    numbers: Numbers,
    elements: u64,
    course: &'a Course,
    /// How often everything had been lost when its array was stored.
    losses: u64,
}

impl<'a> Client<'a> {
    pub fn new(n: u64, seed: u64, elements: u64, cluster: Cluster, course: &'a Course) -> Client<'a> {
        Client { n, cluster, numbers: Numbers::new(seed * 100 + n), elements, course, losses: 0 }
    }
}

impl Client<'_> {
    pub fn run(&mut self) {
        while !self.course.is_over() {
            // A failure is noted; what it leaves undone is not worth going on with.
            let _ = match self.numbers.below(2) {
                0 => self.life_of_an_array::<f64>(),
                _ => self.life_of_an_array::<i32>(),
            };
        }
    }

    /// Creates an array, does this and that with it, and deletes it or leaves it to be replaced.
    fn life_of_an_array<T: Number>(&mut self) -> Option<()> {
        let name = format!("c{}-{}", self.n, T::DTYPE);
        let len = match self.numbers.below(8) {
            0 => self.numbers.below(self.elements),
            _ => self.elements,
        };
        let values = T::some(&mut self.numbers, len as usize);
        self.losses = self.course.losses();
        self.call("create", |cluster| cluster.create_with(&name, T::DTYPE, &[len], bytes_of(&values), true))?;
        let mut result: Option<Vec<T>> = None;
        for _ in 0..4 + self.numbers.below(8) {
            if self.course.is_over() {
                return None;
            }
            match self.numbers.below(4) {
                0 => {
                    self.call("apply", |cluster| cluster.apply(&name, T::OPERATION))?;
                    self.compare_result(&name, &values, &mut result)?;
                }
                1 if result.is_some() => self.compare_result(&name, &values, &mut result)?,
                1 => self.compare_array(&name, &values)?,
                2 => self.compare_range(&format!("{name}-new"), &name, &values)?,
                _ => self.compare_array(&name, &values)?,
            }
        }
        if self.numbers.below(3) == 0 {
            self.call("delete", |cluster| cluster.delete(&name))?;
            let is_unknown = |error: &Error| error.code() == Some(ErrorCode::UnknownArray);
            if self
                .course
                .call(&self.cluster, "get", self.losses, is_unknown, |cluster| cluster.get::<T>(&name))
                .is_ok()
            {
                self.course.fail(format!("'{name}' was deleted, and then it could be read"));
            }
        }
        Some(())
    }

    /// The newest result: right, and the same bits as before.
    fn compare_result<T: Number>(&self, name: &str, values: &[T], before: &mut Option<Vec<T>>) -> Option<()> {
        let found = self.call("get", |cluster| cluster.get::<T>(name))?;
        let verdict = match before {
            Some(before) if bits_differ(before, &found) => Err("other bits than before".to_string()),
            Some(_) => Ok(()),
            None => T::check(values, &found),
        };
        *before = Some(found);
        self.judge(name, values.len(), verdict)
    }

    fn compare_array<T: Number>(&self, name: &str, values: &[T]) -> Option<()> {
        let content = self.call("info", |cluster| cluster.array_info(name))?.summary.handle;
        let found = self.call("get", |cluster| cluster.get::<T>(&content))?;
        let verdict = match bits_differ(values, &found) {
            true => Err(format!("{} elements, not those that were stored", found.len())),
            false => Ok(()),
        };
        self.judge(&content, values.len(), verdict)
    }

    /// Makes a result an array, and reads a part of it.
    fn compare_range<T: Number>(&mut self, new: &str, name: &str, values: &[T]) -> Option<()> {
        let options = ApplyOptions { into: Some(new.to_string()), replace: true, no_wait: false };
        self.call("apply", |cluster| cluster.apply_with(name, T::OPERATION, &options))?;
        let (a, b) = (self.numbers.below(values.len() as u64 + 1), self.numbers.below(values.len() as u64 + 1));
        let range = a.min(b)..a.max(b);
        let mut found = vec![T::some(&mut self.numbers, 1)[0]; (range.end - range.start) as usize];
        self.call("get", |cluster| cluster.read_into(new, range.clone(), &mut found))?;
        let verdict = T::check(&values[range.start as usize..range.end as usize], &found);
        self.judge(new, found.len(), verdict)
    }

    fn judge(&self, what: &str, elements: usize, verdict: Result<(), String>) -> Option<()> {
        self.course.count_checked(elements);
        verdict.map_err(|wrong| self.course.fail(format!("WRONG VALUE in '{what}': {wrong}"))).ok()
    }

    /// One call, which must not fail.
    fn call<T>(&self, what: &'static str, call: impl FnOnce(&Cluster) -> Result<T, Error>) -> Option<T> {
        self.course.call(&self.cluster, what, self.losses, |_| false, call).ok()
    }
}

fn bytes_of<T: Number>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

fn bits_differ<T: Number>(a: &[T], b: &[T]) -> bool {
    bytes_of(a) != bytes_of(b)
}
