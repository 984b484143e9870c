//! Clients that share names, and take note of what they do with them and see of them.
//!
//! After some hundred operations all go on to a new name, so that each history is short enough to be judged.

use crate::course::Course;
use array::DType;
use client::{Cluster, Error};
use protocol::ErrorCode;
use tests::harness::oracle::Numbers;
use tests::linearizability::{Call, OPERATIONS, array_of, seen};

/// Operations on a name before the next one takes its place.
const OPERATIONS_PER_NAME: u64 = 300;

/// One of them.
pub struct Client<'a> {
    cluster: Cluster,
    numbers: Numbers,
    course: &'a Course,
    /// The name that it used last.
    last: u64,
}

/// What a name is called.
fn name_of(number: u64) -> String {
    format!("shared-{number}")
}

impl<'a> Client<'a> {
    pub fn new(n: u64, seed: u64, cluster: Cluster, course: &'a Course) -> Client<'a> {
        Client { cluster, numbers: Numbers::new(seed * 100 + 50 + n), course, last: 0 }
    }

    pub fn run(&mut self) {
        while !self.course.is_over() {
            let number = self.course.count_shared() / OPERATIONS_PER_NAME;
            if number > self.last && number > 1 {
                self.delete(&name_of(number - 2));
            }
            self.last = number;
            let name = name_of(number);
            match self.numbers.below(100) {
                0..15 => self.store(&name, true),
                15..22 => self.store(&name, false),
                22..45 => self.apply(&name),
                45..52 => self.delete(&name),
                52..68 => self.get(&name, true),
                _ => self.get(&name, false),
            }
        }
    }

    fn store(&self, name: &str, replace: bool) {
        let value = self.course.new_value();
        let elements = array_of(value);
        let bytes = bytemuck::cast_slice(&elements);
        let store =
            |cluster: &Cluster| cluster.create_with(name, DType::Int32, &[elements.len() as u64], bytes, replace);
        self.noted(name, "create", &[ErrorCode::AlreadyExists], store, |result| match (replace, result) {
            (true, _) => Some(Call::Put(value)),
            (false, Err(error)) if error.code() == Some(ErrorCode::AlreadyExists) => {
                Some(Call::Create { value, taken: true })
            }
            (false, _) => Some(Call::Create { value, taken: false }),
        });
    }

    fn apply(&mut self, name: &str) {
        let operation = self.numbers.below(OPERATIONS.len() as u64) as u8;
        let text = OPERATIONS[usize::from(operation)];
        let apply = |cluster: &Cluster| cluster.apply(name, text);
        let answers = [ErrorCode::UnknownArray, ErrorCode::UnknownVersion];
        self.noted(name, "apply", &answers, apply, |result| match result.map_err(Error::code) {
            Err(Some(ErrorCode::UnknownArray)) => Some(Call::Apply { operation, found: false }),
            Err(Some(ErrorCode::UnknownVersion)) => None, // its array was replaced or deleted while it ran: no effect
            _ => Some(Call::Apply { operation, found: true }),
        });
    }

    fn delete(&self, name: &str) {
        let delete = |cluster: &Cluster| cluster.delete(name);
        self.noted(name, "delete", &[ErrorCode::UnknownArray], delete, |result| match result.map_err(Error::code) {
            Err(Some(ErrorCode::UnknownArray)) => Some(Call::Delete { found: false }),
            _ => Some(Call::Delete { found: true }),
        });
    }

    fn get(&self, name: &str, array: bool) {
        let get = |cluster: &Cluster| cluster.read_bytes(name, array, None, &mut |_| ());
        self.noted(name, "get", &[ErrorCode::UnknownArray], get, |result| match result {
            Ok((layout, bytes)) => {
                let elements: Vec<i32> = bytemuck::pod_collect_to_vec(bytes);
                self.course.count_checked(elements.len());
                Some(seen(array, layout.source, &elements))
            }
            Err(error) if error.code() == Some(ErrorCode::UnknownArray) && array => Some(Call::GetArray(None)),
            Err(error) if error.code() == Some(ErrorCode::UnknownArray) => Some(Call::Get(None)),
            Err(_) => None, // what could not be read tells nothing
        });
    }

    /// Does something with a name, and takes note of it. Errors with a code of `answers` are answers; `told` says what call that was, with its answer; without an answer, what it
    /// would be if it has an effect.
    fn noted<T>(
        &self,
        name: &str,
        what: &'static str,
        answers: &[ErrorCode],
        call: impl FnOnce(&Cluster) -> Result<T, Error>,
        told: impl FnOnce(Result<&T, &Error>) -> Option<Call>,
    ) {
        let (began, losses) = (self.course.now(), self.course.losses());
        let is_answer = |error: &Error| error.code().is_some_and(|code| answers.contains(&code));
        let result = self.course.call(&self.cluster, what, losses, is_answer, call);
        let answered = result.as_ref().err().is_none_or(is_answer);
        if let Some(call) = told(result.as_ref()) {
            self.course.note(name, began, answered, call);
        }
    }
}

/// Deletes what everybody has lost, of any name.
pub fn delete_everything(watcher: &Cluster, course: &Course) {
    for array in watcher.arrays().unwrap_or_default() {
        let began = course.now();
        let found = match watcher.delete(&array.array_id) {
            Ok(()) => true,
            Err(error) if error.code() == Some(ErrorCode::UnknownArray) => false,
            Err(error) => return course.fail(format!("'{}' cannot be deleted: {error}", array.array_id)),
        };
        if array.array_id.starts_with("shared-") {
            course.note(&array.array_id, began, true, Call::Delete { found });
        }
    }
}
