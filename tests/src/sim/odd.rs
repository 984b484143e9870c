//! What few clients do: they ask for what must be refused, lose patience, begin operations that they do not wait for, and uploads
//! that they do not go on with. In some runs all clients are like that now and then, and the cluster has to clear up behind them.

use super::clients::PATIENCE;
use super::model::{Computation, Content};
use super::random::Random;
use super::wishes::Wish;
use super::{Chance, Node, World};
use array::DType;
use protocol::message::client::*;
use protocol::message::worker::Reserved;
use protocol::message::{Body, Hello, Role};
use protocol::{ErrorCode, Message, VersionId, WorkerId};
use std::time::Duration;

/// A request that few would make.
#[derive(Clone, Debug)]
pub struct Odd {
    /// What is asked.
    pub body: Body,
    /// The errors that may be its answer.
    refused: &'static [ErrorCode],
    /// Whether one of them has to be.
    must: bool,
    /// The array that there is, if it succeeds.
    makes: Option<(String, Content)>,
}

/// A version and an operation that there never will be.
const NEVER: VersionId = VersionId(1 << 50);

/// More than all workers of a run have together.
const TOO_LONG: u64 = 1 << 32;

fn must_be_refused(body: impl Into<Body>, refused: &'static [ErrorCode]) -> Odd {
    Odd { body: body.into(), refused, must: true, makes: None }
}

fn may_be_refused(body: impl Into<Body>, refused: &'static [ErrorCode]) -> Odd {
    Odd { must: false, ..must_be_refused(body, refused) }
}

impl World {
    /// What a client does next, and for how long it waits for that.
    pub(crate) fn odd_wish(&mut self, n: usize) -> (Wish, Duration) {
        let mut luck = self.luck(Node::Client(n), Chance::Odd).clone();
        let patience = match luck.one_in(12) {
            true => luck.time(Duration::from_millis(1), Duration::from_millis(300)),
            false => PATIENCE,
        };
        let wish = match self.clients[n].next.take() {
            Some(next) => next,
            None if luck.one_in(6) => self.new_odd_wish(n, &mut luck),
            None => self.next_wish(n),
        };
        *self.luck(Node::Client(n), Chance::Odd) = luck;
        (wish, patience)
    }

    fn new_odd_wish(&mut self, n: usize, luck: &mut Random) -> Wish {
        let known: Vec<&String> = self.clients[n].names.keys().collect();
        let name = if known.is_empty() { None } else { Some(known[luck.below(known.len() as u64) as usize].clone()) };
        let odd = match (luck.below(4), name) {
            (0, Some(name)) => self.unattended(n, &name),
            (1, _) => self.upload_to_leave(n, luck),
            (2, Some(name)) => self.wrong_about(n, &name, luck),
            _ => wrong(luck),
        };
        Wish::Odd(Box::new(odd))
    }

    /// A name that nobody has used.
    fn new_name(&mut self, n: usize) -> String {
        let client = &mut self.clients[n];
        client.made += 1;
        format!("c{}.{}-odd-{}", n + 1, client.life, client.made)
    }

    /// An operation that is not waited for.
    fn unattended(&mut self, n: usize, name: &str) -> Odd {
        let operation = "x + 1".to_string();
        let into = self.new_name(n);
        let computation = Computation::expression(&self.clients[n].names, name, &operation);
        let result = computation.and_then(|computation| computation.elements(self.plan.level_1 == 0));
        let body = ApplyOperation {
            array_id: name.to_string(),
            operation,
            into: Some(into.clone()),
            replace: false,
            no_wait: true,
            inline: false,
        };
        Odd { makes: result.ok().map(|result| (into, Content::of(result))), ..may_be_refused(body, &[]) }
    }

    /// An upload that is given up as soon as there is room for it.
    fn upload_to_leave(&mut self, n: usize, luck: &mut Random) -> Odd {
        let shape = vec![luck.pick(&[0, 1, 4097, 20_000])];
        may_be_refused(CreateArray { array_id: self.new_name(n), dtype: DType::Int32, shape, replace: false }, &[])
    }

    /// Something about an array that cannot be.
    fn wrong_about(&self, n: usize, name: &str, luck: &mut Random) -> Odd {
        let array_id = name.to_string();
        let len = self.clients[n].names[name].array.len() as u64;
        let apply = |operation: &str, into: Option<&str>| ApplyOperation {
            array_id: name.to_string(),
            operation: operation.to_string(),
            into: into.map(str::to_string),
            replace: false,
            no_wait: false,
            inline: false,
        };
        match luck.below(9) {
            0 => must_be_refused(
                GetResult { array_id, array: true, range: Some((len, len + 1)) },
                &[ErrorCode::OutOfRange],
            ),
            1 => must_be_refused(
                GetResult { array_id: format!("{name}@v{}", NEVER.0), array: false, range: None },
                &[ErrorCode::UnknownVersion],
            ),
            2 => must_be_refused(
                CreateArray { array_id, dtype: DType::Int32, shape: vec![1], replace: false },
                &[ErrorCode::AlreadyExists],
            ),
            3 => must_be_refused(apply("x + 1", Some(name)), &[ErrorCode::AlreadyExists]),
            4 => must_be_refused(apply("nonsense", None), &[ErrorCode::UnknownOperation]),
            5 => must_be_refused(apply("x + ", None), &[ErrorCode::BadExpression]),
            6 => must_be_refused(apply("x + `nobody's`", None), &[ErrorCode::BadExpression]),
            7 => must_be_refused(ReduceArray { array_id, reductions: "summ(x)".into() }, &[ErrorCode::BadExpression]),
            _ => must_be_refused(
                GenerateArray { array_id, generator: "zeros(1)".into(), dtype: None, seed: 0, replace: false },
                &[ErrorCode::AlreadyExists],
            ),
        }
    }

    /// Sees what there is to do after an odd request was answered, and gives what the client knows now.
    pub(crate) fn go_on(&mut self, n: usize, odd: &Odd, answer: &Message) -> Option<(String, Content)> {
        assert!(!odd.must, "c{}: {:?} is not refused but answered {:?}", n + 1, odd.body, answer.body);
        let luck = self.luck(Node::Client(n), Chance::Odd).below(3);
        let next = match &answer.body {
            Body::OperationComplete(complete) if complete.status == OperationState::Complete => {
                return odd.makes.clone();
            }
            Body::OperationComplete(OperationComplete { operation, .. }) => {
                let operation = *operation;
                // A master that was started meanwhile does not know of it; and it may have ended.
                match luck {
                    0 => may_be_refused(CancelOperation { operation }, &[ErrorCode::UnknownOperationId]),
                    1 => return None,
                    _ => {
                        let wait = may_be_refused(WaitOperation { operation }, &[ErrorCode::UnknownOperationId]);
                        Odd { makes: odd.makes.clone(), ..wait }
                    }
                }
            }
            Body::WritePlan(plan) => match (luck, &odd.body, plan.workers.first()) {
                (0, ..) => return None, // it is forgotten after a minute
                (1, Body::CreateArray(_), Some(worker)) => replan(plan.version, worker.worker.clone()),
                _ => may_be_refused(AbandonArray { version: plan.version }, &[]),
            },
            _ => return None,
        };
        self.clients[n].next = Some(Wish::Odd(Box::new(next)));
        None
    }

    /// Whether an odd request may be refused with that.
    pub(crate) fn may_be_refused(&self, odd: &Odd, code: ErrorCode) -> bool {
        odd.refused.contains(&code)
    }
}

/// The other workers shall have the first segment.
fn replan(version: VersionId, avoid: WorkerId) -> Odd {
    may_be_refused(ReplanWrite { version, segments: vec![0], avoid: vec![avoid] }, &[ErrorCode::UnknownUpload])
}

/// Something that cannot be.
fn wrong(luck: &mut Random) -> Odd {
    let nobodys = || "nobody's".to_string();
    let create = |array_id: &str, shape: Vec<u64>| CreateArray {
        array_id: array_id.to_string(),
        dtype: DType::Float64,
        shape,
        replace: true,
    };
    match luck.below(17) {
        0 => must_be_refused(DescribeArray { array_id: nobodys() }, &[ErrorCode::UnknownArray]),
        1 => must_be_refused(DeleteArray { array_id: nobodys() }, &[ErrorCode::UnknownArray]),
        2 => must_be_refused(
            GetResult { array_id: "nobody's@v1".into(), array: false, range: None },
            &[ErrorCode::UnknownArray],
        ),
        3 => must_be_refused(Explain { array_id: nobodys(), operation: "sum(x)".into() }, &[ErrorCode::UnknownArray]),
        4 => must_be_refused(create("", vec![1]), &[ErrorCode::InvalidName]),
        5 => must_be_refused(create("many sides", vec![1; 65]), &[ErrorCode::InvalidName]),
        6 => must_be_refused(create("many-sides", vec![1; 65]), &[ErrorCode::TooLarge]),
        7 => must_be_refused(create("endless", vec![1 << 40, 1 << 40]), &[ErrorCode::TooLarge]),
        8 => must_be_refused(create("too-long", vec![TOO_LONG]), &[ErrorCode::InsufficientMemory]),
        9 => must_be_refused(
            GenerateArray { array_id: nobodys(), generator: "nonsense(3)".into(), dtype: None, seed: 0, replace: true },
            &[ErrorCode::BadExpression],
        ),
        10 => must_be_refused(CommitArray { version: NEVER, segments: vec![] }, &[ErrorCode::UnknownUpload]),
        11 => must_be_refused(RenewPin { pin: 0 }, &[ErrorCode::UnknownVersion]),
        12 => must_be_refused(WaitOperation { operation: NEVER }, &[ErrorCode::UnknownOperationId]),
        13 => must_be_refused(CancelOperation { operation: NEVER }, &[ErrorCode::UnknownOperationId]),
        14 => must_be_refused(Hello::new(Role::Client), &[ErrorCode::NotAllowed]),
        15 => must_be_refused(Reserved {}, &[ErrorCode::NotAllowed]),
        _ => may_be_refused(WaitWorkers { count: 1 }, &[]),
    }
}
