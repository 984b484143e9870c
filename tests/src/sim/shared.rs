//! Names that all clients use at once, and what they see of them: the histories that [`linearizability`](crate::linearizability)
//! judges.
//!
use super::clients::Ended;
use super::faults::Kind;
use super::model::{Content, Elements};
use super::wishes::Wish;
use super::{Chance, Node, World};
use crate::linearizability::{Call, OPERATIONS, Operation, array_of, is_linearizable, seen};
use array::{Buffer, DType};
use client::error::Error;
use protocol::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// How many there are.
const NAMES: u64 = 2;

/// Them.
pub fn names() -> impl Iterator<Item = String> {
    (0..NAMES).map(|n| format!("shared-{n}"))
}

/// Whether all clients use a name.
pub fn is_shared(name: &str) -> bool {
    name.starts_with("shared-")
}

impl World {
    /// Something to do with a name that others use too.
    pub(crate) fn shared_wish(&mut self, n: usize) -> Wish {
        let luck = self.luck(Node::Client(n), Chance::Choice);
        let name = format!("shared-{}", luck.below(NAMES));
        let (dice, replace, array) = (luck.below(100), !luck.one_in(3), luck.one_in(3));
        match dice {
            0..22 => {
                self.values += 1;
                Wish::Create { name, content: filled(self.values), replace }
            }
            22..45 => {
                let operation = OPERATIONS[(dice % 2) as usize].to_string();
                Wish::Apply { name, operation: Some(operation), into: None }
            }
            45..52 => Wish::Delete { name },
            _ => Wish::Get { name, array, range: None },
        }
    }

    /// Takes note of how a wish about a shared name ended. False if it is about another one.
    pub(crate) fn judge_shared(&mut self, n: usize, wish: &Wish, ended: &Ended, began: Duration) -> bool {
        let Some(name) = shared_name(wish) else { return false };
        let who = World::name_of(Node::Client(n));
        let mut answered = Some(self.now);
        let call = match (wish, ended) {
            (Wish::Create { replace: true, .. }, Ended::Created(_)) => Some(Call::Put(value_of(wish))),
            (Wish::Create { .. }, Ended::Created(_)) => Some(Call::Create { value: value_of(wish), taken: false }),
            (Wish::Apply { .. }, Ended::Answered(_)) => {
                Some(Call::Apply { operation: operation_of(wish), found: true })
            }
            (Wish::Delete { .. }, Ended::Answered(_)) => Some(Call::Delete { found: true }),
            (Wish::Get { array, .. }, Ended::Got(layout, bytes)) => {
                Some(seen(*array, layout.source, Buffer::from_bytes(bytes).as_slice()))
            }
            (_, Ended::Failed(error)) => {
                let call = self.failed_call(n, wish, error);
                if call.is_none_or(|(_, known)| !known) {
                    answered = None;
                }
                call.map(|(call, _)| call)
            }
            (_, ended) => panic!("{who}: {wish:?} ends in {ended:?}"),
        };
        let told = match &call {
            Some(call) => format!("{who}: {name}: {call:?}"),
            None => format!("{who}: {name}: nothing"),
        };
        // What others do at the same time decides what is seen; that is no outcome of a fault.
        self.note(told);
        if let Some(call) = call {
            let operation = Operation { called: began, answered, call };
            self.histories.entry(name.to_string()).or_default().push(operation);
        }
        true
    }

    /// What a failure says: a call with its answer; or one that may have happened or not, or may still happen; or nothing.
    fn failed_call(&self, n: usize, wish: &Wish, error: &Error) -> Option<(Call, bool)> {
        let code = error.code();
        match (wish, code) {
            (Wish::Create { .. }, Some(ErrorCode::AlreadyExists)) => {
                return Some((Call::Create { value: value_of(wish), taken: true }, true));
            }
            (Wish::Apply { .. }, Some(ErrorCode::UnknownArray)) => {
                return Some((Call::Apply { operation: operation_of(wish), found: false }, true));
            }
            (Wish::Delete { .. }, Some(ErrorCode::UnknownArray)) => return Some((Call::Delete { found: false }, true)),
            (Wish::Get { array, .. }, Some(ErrorCode::UnknownArray)) => {
                return Some((if *array { Call::GetArray(None) } else { Call::Get(None) }, true));
            }
            // Its array was deleted or replaced while it ran, or nobody is there who knows expressions: no effect.
            (Wish::Apply { .. }, Some(ErrorCode::UnknownVersion | ErrorCode::Unsupported)) => return None,
            _ => {}
        }
        let gone = matches!(wish, Wish::Get { array: false, .. }) && code == Some(ErrorCode::SegmentsLost);
        if gone && self.tally.contains_key(&Kind::PowerLoss) {
            return None; // as for names that one client uses
        }
        assert!(
            !self.clients[n].busy || self.may_fail(n, code),
            "at {:?} {} fails although nothing was lost: {error}",
            self.now,
            super::wishes::describe(wish)
        );
        may_have_happened(wish).map(|call| (call, false))
    }

    /// A client is gone that waited for an answer.
    pub(crate) fn leave_shared(&mut self, wish: &Wish, began: Duration) {
        let Some(name) = shared_name(wish) else { return };
        if let Some(call) = may_have_happened(wish) {
            let operation = Operation { called: began, answered: None, call };
            self.histories.entry(name.to_string()).or_default().push(operation);
        }
    }

    /// Panics if what clients saw of a shared name fits no order of their operations. Gives how many operations that were.
    pub fn check_histories(&self) -> u64 {
        for (name, history) in &self.histories {
            assert!(
                is_linearizable(history),
                "what clients saw of '{name}' fits no order:\n{}",
                history.iter().map(|op| format!("  {op:?}")).collect::<Vec<_>>().join("\n")
            );
        }
        self.histories.values().map(|history| history.len() as u64).sum()
    }
}

fn shared_name(wish: &Wish) -> Option<&str> {
    match wish {
        Wish::Create { name, .. } | Wish::Apply { name, .. } | Wish::Get { name, .. } | Wish::Delete { name } => {
            Some(name.as_str()).filter(|name| is_shared(name))
        }
        _ => None,
    }
}

/// A call without an answer, if it may have an effect.
fn may_have_happened(wish: &Wish) -> Option<Call> {
    match wish {
        Wish::Create { replace: true, .. } => Some(Call::Put(value_of(wish))),
        Wish::Create { .. } => Some(Call::Create { value: value_of(wish), taken: false }),
        Wish::Apply { .. } => Some(Call::Apply { operation: operation_of(wish), found: true }),
        Wish::Delete { .. } => Some(Call::Delete { found: true }),
        _ => None,
    }
}

/// An array full of one number.
fn filled(value: u32) -> Content {
    let bytes = Arc::new(Buffer::from_slice(&array_of(value)));
    Content::of(Elements { bytes, dtype: DType::Int32, exact: true })
}

fn value_of(wish: &Wish) -> u32 {
    let Wish::Create { content, .. } = wish else { panic!("only arrays that are stored have a value") };
    content.array.bytes.as_slice::<i32>()[0] as u32
}

fn operation_of(wish: &Wish) -> u8 {
    let Wish::Apply { operation: Some(operation), .. } = wish else { panic!("shared names have expressions only") };
    OPERATIONS.iter().position(|known| known == operation).expect("one of ours") as u8
}
