//! Whether what clients saw of a name that they share can be put into one order: linearizability, after Wing and Gong.
//!
//! Each operation takes effect at one moment between its call and its answer. [`is_linearizable`] looks for an order of such
//! moments in which every answer is right: it takes operations one by one, each time one that was called before the first
//! answer among those left, and remembers what it has tried (set of those taken, and state). An operation whose answer never
//! came may have taken effect at any time after its call, or never.
//!
//! Each array on such a name is filled with one number that no other array has ([`array_of`]), so what is read tells which one
//! it was, and that nothing of another one is in it ([`seen`]).

use protocol::message::client::Source;
use std::collections::HashSet;
use std::time::Duration;

/// What an array holds, as one number: clients fill each array with a number that no other one has.
pub type Value = u32;

/// One segment, one more than fits into one, several.
const LENGTHS: [usize; 4] = [1, 100, 4097, 20_000];

/// What is computed on them: from the result one can tell number and operation.
pub const OPERATIONS: [&str; 2] = ["x * 2", "x * 2 + 1"];

/// The array that is full of one number.
pub fn array_of(value: Value) -> Vec<i32> {
    vec![value as i32; LENGTHS[value as usize % LENGTHS.len()]]
}

/// What was read of it, when `array` or whatever is newest was asked for. Panics if that was never one array.
pub fn seen(array: bool, source: Source, elements: &[i32]) -> Call {
    let number = *elements.first().expect("shared arrays are not empty") as u32;
    assert!(elements.iter().all(|element| *element as u32 == number), "one read saw parts of several arrays");
    let (value, operation) = match source {
        Source::Array => (number, None),
        Source::Result => (number / 2, Some((number % 2) as u8)),
    };
    assert_eq!(elements.len(), array_of(value).len(), "one read saw a part of an array");
    match array {
        true => Call::GetArray(Some(value)),
        false => Call::Get(Some((value, operation))),
    }
}

/// What a name holds: an array, and the number of the operation whose result was computed last, if there is one.
pub type State = Option<(Value, Option<u8>)>;

/// What was called, and how it was answered. Of an operation without an answer, how it would be if it has an effect.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call {
    /// Store an array in place of whatever is there.
    Put(Value),
    /// Store one if there is none: whether the name was taken.
    Create { value: Value, taken: bool },
    /// Delete it: whether there was one.
    Delete { found: bool },
    /// Compute: whether there was an array.
    Apply { operation: u8, found: bool },
    /// Read the newest result, or the array if there is none.
    Get(State),
    /// Read the array itself.
    GetArray(Option<Value>),
    /// What was not on the disk is lost: perhaps the newest results.
    PowerLoss,
}

/// One operation on a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operation {
    /// When it was called.
    pub called: Duration,
    /// When it was answered; none if that never happened.
    pub answered: Option<Duration>,
    /// What, and the answer.
    pub call: Call,
}

impl Call {
    /// What the name may hold after it, if the answer is right where it held that before.
    fn all_after(self, before: State) -> Vec<State> {
        match (self, before) {
            (Call::PowerLoss, Some((value, Some(_)))) => {
                let results = [None, Some(0), Some(1)];
                results.into_iter().map(|result| Some((value, result))).collect()
            }
            _ => self.after(before).into_iter().collect(),
        }
    }

    fn after(self, before: State) -> Option<State> {
        let (right, after) = match self {
            Call::Put(value) => (true, Some((value, None))),
            Call::Create { taken: true, .. } => (before.is_some(), before),
            Call::Create { value, taken: false } => (before.is_none(), Some((value, None))),
            Call::Delete { found } => (before.is_some() == found, None),
            Call::Apply { operation, found: true } => {
                (before.is_some(), before.map(|(value, _)| (value, Some(operation))))
            }
            Call::Apply { found: false, .. } => (before.is_none(), before),
            Call::Get(seen) => (before == seen, before),
            Call::GetArray(seen) => (before.map(|(value, _)| value) == seen, before),
            Call::PowerLoss => (true, before),
        };
        right.then_some(after)
    }
}

/// Whether one order of effects explains all answers. The name holds nothing at first.
pub fn is_linearizable(operations: &[Operation]) -> bool {
    let mut operations = operations.to_vec();
    operations.sort_by_key(|operation| operation.called);
    let words = operations.len().div_ceil(64);
    let mut tried: HashSet<(Vec<u64>, State)> = HashSet::new();
    let mut todo: Vec<(Vec<u64>, State)> = vec![(vec![0; words], None)];
    while let Some((taken, state)) = todo.pop() {
        let is_taken = |n: usize| taken[n / 64] >> (n % 64) & 1 == 1;
        let left = || operations.iter().enumerate().filter(|(n, _)| !is_taken(*n));
        let Some(first_answer) = left().filter_map(|(_, operation)| operation.answered).min() else {
            return true; // those that are left were never answered
        };
        for (n, operation) in left().take_while(|(_, operation)| operation.called <= first_answer) {
            for after in operation.call.all_after(state) {
                let mut taken = taken.clone();
                taken[n / 64] |= 1 << (n % 64);
                if tried.insert((taken.clone(), after)) {
                    todo.push((taken, after));
                }
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::random::Random;

    fn at(called: u64, answered: impl Into<Option<u64>>, call: Call) -> Operation {
        let answered = answered.into().map(Duration::from_millis);
        Operation { called: Duration::from_millis(called), answered, call }
    }

    #[test]
    fn each_answer_has_its_place() {
        let history = [
            at(0, 1, Call::Get(None)),
            at(2, 3, Call::Create { value: 7, taken: false }),
            at(4, 5, Call::Create { value: 8, taken: true }),
            at(6, 7, Call::Apply { operation: 1, found: true }),
            at(8, 9, Call::Get(Some((7, Some(1))))),
            at(8, 9, Call::GetArray(Some(7))),
            at(10, 11, Call::Put(9)),
            at(12, 13, Call::Get(Some((9, None)))),
            at(14, 15, Call::Delete { found: true }),
            at(16, 17, Call::Delete { found: false }),
            at(18, 19, Call::Apply { operation: 0, found: false }),
        ];
        assert!(is_linearizable(&history));
        // Any answer that is another one is wrong there.
        for (n, wrong) in [
            (0, Call::Get(Some((7, None)))),
            (1, Call::Create { value: 7, taken: true }),
            (2, Call::Create { value: 8, taken: false }),
            (3, Call::Apply { operation: 1, found: false }),
            (4, Call::Get(Some((7, None)))),
            (5, Call::GetArray(Some(9))),
            (7, Call::Get(Some((9, Some(1))))),
            (8, Call::Delete { found: false }),
            (9, Call::Delete { found: true }),
            (10, Call::Apply { operation: 0, found: true }),
        ] {
            let mut history = history;
            history[n].call = wrong;
            assert!(!is_linearizable(&history), "{wrong:?}");
        }
    }

    #[test]
    fn a_power_loss_takes_results_but_no_arrays() {
        let seen = |after| {
            let before = [at(0, 1, Call::Put(1)), at(2, 3, Call::Apply { operation: 1, found: true })];
            is_linearizable(&[before, [at(4, 4, Call::PowerLoss), at(5, 6, Call::Get(after))]].concat())
        };
        assert!(seen(Some((1, Some(1)))) && seen(Some((1, None))));
        assert!(!seen(None) && !seen(Some((2, None))));
    }

    #[test]
    fn what_overlaps_may_go_either_way_but_only_one_way() {
        let both = |first, second| {
            let puts = [at(0, 10, Call::Put(1)), at(0, 10, Call::Put(2))];
            let gets = [at(11, 12, Call::Get(Some((first, None)))), at(13, 14, Call::Get(Some((second, None))))];
            is_linearizable(&[puts, gets].concat())
        };
        assert!(both(1, 1) && both(2, 2));
        assert!(!both(1, 2) && !both(2, 1));
    }

    #[test]
    fn without_an_answer_it_may_happen_at_any_time_or_never() {
        let seen = |first, second| {
            let put = [at(0, 1, Call::Put(1)), at(2, None, Call::Put(2))];
            let gets = [at(50, 51, Call::Get(Some((first, None)))), at(90, 91, Call::Get(Some((second, None))))];
            is_linearizable(&[put, gets].concat())
        };
        assert!(seen(1, 1) && seen(1, 2) && seen(2, 2));
        assert!(!seen(2, 1), "it happens once");
        assert!(
            !is_linearizable(&[at(0, 1, Call::Get(Some((5, None)))), at(2, None, Call::Put(5))]),
            "not before its call"
        );
    }

    /// Histories of clients on one register, each effect at a random moment of its operation.
    fn made(random: &mut Random, clients: u64, len: usize) -> Vec<Operation> {
        let mut free: Vec<u64> = vec![0; clients as usize];
        let mut moments: Vec<(u64, u64, u64, u64)> = (0..len as u64)
            .map(|n| {
                let client = random.below(clients) as usize;
                let called = free[client] + 1 + random.below(20);
                let effect = called + random.below(30);
                let answered = effect + random.below(30);
                free[client] = answered;
                (effect, n, called, answered)
            })
            .collect();
        moments.sort_unstable();
        let mut state: State = None;
        let mut history = Vec::new();
        for (_, n, called, answered) in moments {
            let call = match random.below(8) {
                0 | 1 => Call::Put(n as u32),
                2 => Call::Delete { found: state.is_some() },
                3 => Call::Apply { operation: (n % 2) as u8, found: state.is_some() },
                4 => Call::GetArray(state.map(|(value, _)| value)),
                _ => Call::Get(state),
            };
            state = call.after(state).expect("the answer is made from the state");
            let lost = random.one_in(40) && !matches!(call, Call::Get(_) | Call::GetArray(_));
            history.push(at(called, (!lost).then_some(answered), call));
        }
        history
    }

    #[test]
    fn right_histories_pass_and_planted_stale_reads_are_found() {
        let mut random = Random::new(17);
        let (mut planted, mut found) = (0, 0);
        for round in 0..60 {
            let mut history = made(&mut random, 2 + round % 4, 150);
            assert!(is_linearizable(&history), "round {round}");
            // A read sees a value that another one has taken the place of before the read began.
            let puts: Vec<Operation> =
                history.iter().filter(|op| matches!(op.call, Call::Put(_)) && op.answered.is_some()).copied().collect();
            let Some((old, new)) = puts.iter().find_map(|old| {
                let new = puts.iter().find(|new| Some(new.called) > old.answered)?;
                Some((old, new))
            }) else {
                continue;
            };
            let Call::Put(stale) = old.call else { unreachable!() };
            let later = history
                .iter_mut()
                .find(|op| matches!(op.call, Call::Get(_)) && op.answered.is_some() && Some(op.called) > new.answered);
            let Some(read) = later else { continue };
            read.call = Call::Get(Some((stale, None)));
            planted += 1;
            found += usize::from(!is_linearizable(&history));
        }
        assert!(planted > 40, "{planted}");
        assert_eq!(found, planted);
    }
}
