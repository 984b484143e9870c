//! What clients wish for, and whether they got it.
//!
//! Every client has names of its own and does one thing after the other, so it knows exactly what each name must hold.
//! Every array has contents that no other one has, from a seed.

use super::clients::{Ended, PATIENCE};
use super::faults::Kind;
use super::model::{Computation, Content, Elements, Refused};
use super::odd::Odd;
use super::random::Random;
use super::{Chance, Node, World};
use crate::linearizability;
use array::{Buffer, DType, Operation};
use client::error::Error;
use protocol::message::client::*;
use protocol::{Body, ErrorCode, Reference, WireError};
use std::time::Duration;

/// Expressions that clients wish for; Y is another array.
const EXPRESSIONS: [&str; 10] = [
    "x * 2 + 1",
    "where(x > 0, x / 2, -1)",
    "sqrt(abs(x)) + sin(x)",
    "x > 50 and x < 70",
    "int64(x) // 3",
    "int64(x) // (int64(x) % 40)",
    "float32(x) ** 2",
    "x + `Y`",
    "where(x > `Y`, x, `Y` * 2)",
    "(x * `Y` - 1.5) / 7",
];

/// Reductions that they wish for.
const REDUCTIONS: [&str; 6] = [
    "sum(x), mean(x), std(x), count(x > 3)",
    "min(x), argmax(x)",
    "prod(where(x == 0, 1, x)), any(x > 99), all(x > -1e9)",
    "sum(x * `Y`), sum(x), sum(`Y`)",
    "var(x - `Y`)",
    "sum(int64(x) // (int64(x) % 40))",
];

/// What they have workers make.
const GENERATORS: [&str; 6] =
    ["uniform(-5, 5, N)", "arange(N)", "integers(-100, 100, N)", "normal(1, 2, N)", "linspace(0, 1, N)", "full(N, 7)"];

/// Something a client wants.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Store an array.
    Create {
        /// Its name.
        name: String,
        /// What it shall hold.
        content: Content,
        /// Whether it may replace another.
        replace: bool,
    },
    /// Compute.
    Apply {
        /// On which array.
        name: String,
        /// What; without it the named operation that the dtype takes.
        operation: Option<String>,
        /// The new array, if it shall be one.
        into: Option<String>,
    },
    /// Reduce.
    Reduce {
        /// Which array.
        name: String,
        /// To what.
        reductions: String,
    },
    /// Have the workers make an array.
    Generate {
        /// Its name.
        name: String,
        /// What it shall hold.
        generator: String,
        /// Which dtype, if not that of the generator.
        dtype: Option<DType>,
        /// Which random numbers.
        seed: u64,
    },
    /// Read.
    Get {
        /// What.
        name: String,
        /// The array itself.
        array: bool,
        /// Only these elements.
        range: Option<(u64, u64)>,
    },
    /// Delete.
    Delete {
        /// What.
        name: String,
    },
    /// Any other request.
    Ask(Box<Body>),
    /// A request that few would make.
    Odd(Box<Odd>),
}

impl World {
    /// Lets a client look for something to do.
    pub(crate) fn on_client_acts(&mut self, n: usize) {
        let client = &self.clients[n];
        if !client.busy || client.is_waiting() || !self.is_alive(self.life(Node::Client(n))) {
            return;
        }
        let (wish, patience) = if self.plan.odd { self.odd_wish(n) } else { (self.next_wish(n), PATIENCE) };
        self.wish_within(n, wish, patience);
        if self.plan.odd {
            self.disturb(n);
        }
    }

    pub(crate) fn next_wish(&mut self, n: usize) -> Wish {
        let luck = self.luck(Node::Client(n), Chance::Choice);
        if luck.one_in(4) {
            return self.shared_wish(n);
        }
        let mine = luck.below(3);
        let name = self.name_of_mine(n, mine);
        let there = self.clients[n].names.contains_key(&name);
        let mut luck = self.luck(Node::Client(n), Chance::Choice).clone();
        let wish = match luck.below(100) {
            dice if !there || dice < 15 => self.new_array(n, name, &mut luck),
            0..40 => {
                let operation =
                    if luck.one_in(2) { None } else { Some(self.formula(n, &name, &EXPRESSIONS, &mut luck)) };
                let into = if luck.one_in(8) { Some(self.name_of_mine(n, luck.below(3))) } else { None };
                Wish::Apply { name, operation, into }
            }
            40..55 => Wish::Reduce { reductions: self.formula(n, &name, &REDUCTIONS, &mut luck), name },
            55..88 => Wish::Get { name, array: luck.one_in(3), range: None },
            88..95 => {
                let len = self.clients[n].names[&name].array.len() as u64;
                let from = luck.below(len + 1);
                Wish::Get { name, array: false, range: Some((from, luck.between(from, len + 1))) }
            }
            95..98 => Wish::Delete { name },
            _ => self.question(&name, &mut luck),
        };
        *self.luck(Node::Client(n), Chance::Choice) = luck;
        wish
    }

    /// A name that only this life of a client uses.
    fn name_of_mine(&self, n: usize, number: u64) -> String {
        match self.clients[n].life {
            1 => format!("c{}-{number}", n + 1),
            life => format!("c{}.{life}-{number}", n + 1),
        }
    }

    /// A request that only looks.
    fn question(&self, name: &str, luck: &mut Random) -> Wish {
        let questions: [Body; 7] = [
            ListArrays {}.into(),
            ListWorkers {}.into(),
            ListOperations {}.into(),
            ListIncidents {}.into(),
            Status {}.into(),
            DescribeArray { array_id: name.to_string() }.into(),
            Explain { array_id: name.to_string(), operation: "x + 1".to_string() }.into(),
        ];
        Wish::Ask(Box::new(luck.pick(&questions.each_ref()).clone()))
    }

    /// An array that is new, often as long as one that the client has, to compute with both.
    fn new_array(&mut self, n: usize, name: String, luck: &mut Random) -> Wish {
        const LENGTHS: [usize; 9] = [0, 1, 5, 100, 4096, 4097, 10_000, 20_000, 30_001];
        let known: Vec<usize> = self.clients[n].names.values().map(|content| content.array.len()).collect();
        let len = match known.is_empty() || luck.one_in(3) {
            true => luck.pick(&LENGTHS),
            false => luck.pick(&known),
        };
        let life = self.clients[n].life;
        self.clients[n].made += 1;
        let seed = life << 48 | (n as u64) << 32 | self.clients[n].made;
        if luck.one_in(4) {
            let generator = luck.pick(&GENERATORS).replace('N', &len.to_string());
            let dtype = luck.pick(&[None, None, Some(DType::Float32), Some(DType::Int32)]);
            return Wish::Generate { name, generator, dtype, seed };
        }
        let dtype = luck.pick(&[DType::Int32, DType::Int32, DType::Float64]);
        Wish::Create { name, content: Content::generate(seed, len, dtype), replace: true }
    }

    /// One of these, about an array and, if it is about two, another one of the same length.
    fn formula(&self, n: usize, name: &str, all: &[&'static str], luck: &mut Random) -> String {
        let text = luck.pick(all);
        let names = &self.clients[n].names;
        let fits = |content: &Content| content.array.len() == names[name].array.len();
        let others: Vec<&String> = names.iter().filter(|(_, content)| fits(content)).map(|(name, _)| name).collect();
        text.replace('Y', others[luck.below(others.len() as u64) as usize])
    }

    /// What a client that wants to compute on a name asks for.
    pub(crate) fn operation_of(&self, n: usize, name: &str, operation: Option<&String>) -> String {
        let named = || self.clients[n].names.get(name).map_or(Operation::Example1, Content::operation);
        operation.cloned().unwrap_or_else(|| named().name().to_string())
    }

    // ---- was it right? ----

    /// Compares how a wish ended with what the client knows, and learns from it.
    pub(crate) fn judge(&mut self, n: usize, wish: &Wish, ended: &Ended, began: Duration) {
        let who = World::name_of(Node::Client(n));
        if self.judge_shared(n, wish, ended, began) {
            return;
        }
        if let Ended::Failed(error) = ended {
            self.see_answer(n, &format!("{}: {error}", describe(wish)));
            self.note(format!("{who}: {} fails: {error}", describe(wish)));
            return self.judge_failure(n, wish, error, began);
        }
        let no_level_1 = self.plan.level_1 == 0;
        let names = &self.clients[n].names;
        let mut learned = None;
        let said = match (wish, ended) {
            (Wish::Create { name, content, .. }, Ended::Created(committed)) => {
                learned = Some((name.clone(), content.clone()));
                format!("{} copies", committed.copies)
            }
            (Wish::Apply { name, operation, into }, Ended::Answered(answer)) => {
                let Body::OperationComplete(complete) = &answer.body else {
                    panic!("{who}: apply is answered {answer:?}")
                };
                let operation = self.operation_of(n, name, operation.as_ref());
                let computation = expected(Computation::expression(names, name, &operation), &who, wish);
                let result = expected(computation.elements(no_level_1), &who, wish);
                if let Some(elements) = &answer.elements {
                    let bytes = result.bytes.as_bytes();
                    assert!(is_same(&result, bytes, elements), "{who}: wrong bytes with the answer about '{name}'");
                }
                self.check_receipt(complete.receipt.as_ref().expect("it is complete"), computation.bytes_read());
                learned = Some(match into {
                    Some(into) => (into.clone(), Content::of(result)),
                    None => {
                        let version = Reference::parse(&complete.handle).version.expect("results have a version");
                        (name.clone(), names[name].with_result(version, result))
                    }
                });
                format!("{} copies", complete.copies)
            }
            (Wish::Reduce { name, reductions }, Ended::Answered(answer)) => {
                let Body::ReductionComplete(complete) = &answer.body else {
                    panic!("{who}: a reduction is answered {answer:?}")
                };
                let computation = expected(Computation::reductions(names, name, reductions), &who, wish);
                let values: Vec<&str> = complete.values.iter().map(|value| value.value.as_str()).collect();
                if computation.is_exact() {
                    assert_eq!(expected(computation.values(), &who, wish), values, "{who}: {}", describe(wish));
                }
                self.check_receipt(&complete.receipt, computation.bytes_read());
                let failed = match (complete.receipt.retries, complete.receipt.promoted) {
                    (0, 0) => String::new(),
                    (retries, promoted) => format!("; {retries} retries, {promoted} promoted"),
                };
                format!("{}{failed}", values.join(", "))
            }
            (Wish::Generate { name, generator, dtype, seed }, Ended::Answered(answer)) => {
                let Body::OperationComplete(complete) = &answer.body else {
                    panic!("{who}: generate is answered {answer:?}")
                };
                let computation = expected(Computation::generator(generator, *dtype, *seed), &who, wish);
                learned = Some((name.clone(), Content::of(expected(computation.elements(true), &who, wish))));
                format!("{} copies", complete.copies)
            }
            // It was told what to read before a power loss.
            (Wish::Get { array: false, .. }, Ended::Got(..)) if self.checker.power_lost >= Some(began) => {
                "read across a power loss".to_string()
            }
            (Wish::Get { name, array, range }, Ended::Got(layout, bytes)) => {
                let Some(content) = names.get(name.split('@').next().expect("a name")) else {
                    panic!("{who}: got '{name}', which it never made")
                };
                let expected = match layout.source {
                    Source::Array => &content.array,
                    Source::Result => {
                        content.result.as_ref().unwrap_or_else(|| panic!("{who}: '{name}' has no result"))
                    }
                };
                if !name.contains('@') {
                    assert_eq!(
                        layout.source == Source::Array,
                        *array || content.result.is_none(),
                        "{who}: the wrong version of '{name}'"
                    );
                }
                assert_eq!(layout.dtype, expected.dtype, "{who}: the wrong dtype of '{name}'");
                let size = expected.dtype.size();
                let (from, to) =
                    range.map_or((0, expected.bytes.len()), |(from, to)| (from as usize * size, to as usize * size));
                let right = is_same(expected, &expected.bytes.as_bytes()[from..to], bytes);
                assert!(right, "{who}: wrong bytes from '{name}'");
                format!("{} right bytes", bytes.len())
            }
            (Wish::Delete { name }, Ended::Answered(_)) => {
                self.clients[n].names.remove(name);
                "done".to_string()
            }
            (Wish::Odd(odd), Ended::Answered(answer)) => {
                learned = self.go_on(n, odd, answer);
                answer.body.kind().to_string()
            }
            (_, Ended::Answered(answer)) => told(&answer.body),
            (_, ended) => panic!("{who}: {wish:?} ends in {ended:?}"),
        };
        self.clients[n].names.extend(learned);
        if self.checker.power_lost >= Some(began)
            && let Wish::Apply { name, .. } = wish
        {
            // It was acknowledged before the power loss perhaps, and its answer came only now.
            let result = self.disk.replay_all().find(name).and_then(|(_, array)| array.result);
            self.clients[n].names.entry(name.clone()).and_modify(|content| content.go_back_to(result));
        }
        let told = format!("{who}: {}: {said}", describe(wish));
        if !matches!(wish, Wish::Ask(_)) {
            self.see_answer(n, &told);
        }
        self.note(told);
    }

    /// Decides whether a failure is one that may be.
    fn judge_failure(&mut self, n: usize, wish: &Wish, error: &Error, began: Duration) {
        if !self.clients[n].busy && !self.plan.odd {
            return; // scripts say what they expect
        }
        if let (Wish::Odd(odd), Some(code)) = (wish, error.code())
            && self.may_be_refused(odd, code)
        {
            return;
        }
        if let Error::Refused(refusal) = error
            && (self.must_be_refused(n, wish, refusal) || self.cannot_be_computed(wish, refusal, began))
        {
            return;
        }
        // A result that a power loss has made the newest again may be gone.
        let gone = matches!(wish, Wish::Get { array: false, .. }) && error.code() == Some(ErrorCode::SegmentsLost);
        assert!(
            self.may_fail(n, error.code()) || gone && self.tally.contains_key(&Kind::PowerLoss),
            "at {:?} {} fails although nothing was lost: {error}",
            self.now,
            describe(wish)
        );
        // It may have happened or not, and may still happen: those names are not used any more.
        self.forget(n, wish);
        self.clients[n].life += 1;
    }

    /// Whether a call may fail with that, because of what was done to the cluster.
    pub(crate) fn may_fail(&self, n: usize, code: Option<ErrorCode>) -> bool {
        match code {
            None | Some(ErrorCode::DeadlineExceeded) if self.clients[n].is_impatient => true,
            None | Some(ErrorCode::NotAllowed) if self.clients[n].is_misled => true,
            Some(ErrorCode::Cancelled) => self.plan.odd,
            Some(
                ErrorCode::SegmentsLost
                | ErrorCode::NoWorkers
                | ErrorCode::SegmentsMissing
                | ErrorCode::DeadlineExceeded,
            ) => self.loss_allowed,
            // Fewer workers are alive for a moment than copies are demanded.
            Some(ErrorCode::InsufficientReplicas) => self.plan.min_copies > 1,
            // Outcomes are remembered for an hour by the wall clock.
            Some(ErrorCode::OutcomeUnknown) => self.tally.contains_key(&Kind::WrongClock),
            // Internal: whoever has to fetch what it computes with has no room for it.
            Some(ErrorCode::InsufficientMemory | ErrorCode::Internal) => self.plan.worker_bytes < super::PLENTY,
            _ => false,
        }
    }

    /// After a power loss: unnamed results that were not on the disk are gone, though they were acknowledged; their answers said
    /// so.
    pub(crate) fn go_back(&mut self) {
        let catalog = self.disk.replay();
        self.checker.go_back_to(&catalog);
        self.checker.power_lost = Some(self.now);
        self.checker.forget_answers();
        for client in &mut self.clients {
            for (name, content) in &mut client.names {
                content.go_back_to(catalog.find(name).and_then(|(_, array)| array.result));
            }
        }
        let call = linearizability::Call::PowerLoss;
        let crash = linearizability::Operation { called: self.now, answered: Some(self.now), call };
        for name in super::shared::names() {
            self.histories.entry(name).or_default().push(crash);
        }
    }

    /// What a name holds is not known any more.
    pub(crate) fn forget(&mut self, n: usize, wish: &Wish) {
        let names = &mut self.clients[n].names;
        match wish {
            Wish::Create { name, .. }
            | Wish::Generate { name, .. }
            | Wish::Reduce { name, .. }
            | Wish::Get { name, .. }
            | Wish::Delete { name } => drop(names.remove(name)),
            Wish::Apply { name, into, .. } => {
                names.remove(name);
                into.iter().for_each(|into| drop(names.remove(into)));
            }
            Wish::Ask(_) | Wish::Odd(_) => {}
        }
    }

    /// Whether the model refuses a wish too, for the same reason.
    fn must_be_refused(&self, n: usize, wish: &Wish, refusal: &WireError) -> bool {
        let names = &self.clients[n].names;
        let computation = match wish {
            Wish::Apply { name, operation, .. } => {
                let operation = self.operation_of(n, name, operation.as_ref());
                if let Ok(operation) = operation.parse::<Operation>() {
                    let wrong = operation.input() != names[name].array.dtype;
                    return wrong && refusal.code == ErrorCode::TypeMismatch;
                }
                Computation::expression(names, name, &operation)
            }
            Wish::Reduce { name, reductions } => Computation::reductions(names, name, reductions),
            Wish::Generate { generator, dtype, seed, .. } => Computation::generator(generator, *dtype, *seed),
            _ => return false,
        };
        let computation = match computation {
            Ok(computation) => computation,
            Err(_) => return refusal.code == ErrorCode::BadExpression,
        };
        let outcome = match computation.program.output() {
            Some(_) => computation.elements(true).map(drop),
            None => computation.values().map(drop),
        };
        match outcome {
            Err(Refused::Element(_)) => {
                let index = refusal.message.split("element ").nth(1).and_then(|rest| rest.split(':').next());
                let index: Option<usize> = index.and_then(|index| index.parse().ok());
                refusal.code == ErrorCode::BadElement && index.is_some_and(|index| !computation.has_value(index))
            }
            Err(Refused::Reduction(_)) => refusal.code == ErrorCode::BadElement,
            Err(Refused::Text(_)) | Ok(()) => false,
        }
    }

    /// Whether there was nobody who knows more than named operations.
    fn cannot_be_computed(&self, wish: &Wish, refusal: &WireError, began: Duration) -> bool {
        let is_named = matches!(wish, Wish::Apply { operation: None, .. });
        let nobody = self.checker.without_native.is_some_and(|at| at >= began);
        !is_named && refusal.code == ErrorCode::Unsupported && nobody
    }
}

/// What the model gives where the cluster has succeeded.
fn expected<T>(model: Result<T, Refused>, who: &str, wish: &Wish) -> T {
    model.unwrap_or_else(|refused| panic!("{who}: {} succeeds, and must be refused: {refused:?}", describe(wish)))
}

/// Whether bytes are what is expected. Where workers of level 1 compute, a double may have other last bits, and a result of
/// a result may differ by a little more.
fn is_same(expected: &Elements, part: &[u8], bytes: &[u8]) -> bool {
    if expected.exact || expected.dtype != DType::Float64 {
        // What is compared, or becomes an int, may be anything if the bits before that are not known.
        return part == bytes || !expected.exact && part.len() == bytes.len();
    }
    let doubles = |bytes: &[u8]| Buffer::from_bytes(bytes).as_slice::<f64>().to_vec();
    let close = |(a, b): (f64, f64)| (a - b).abs() <= 1e-12 + 1e-9 * b.abs();
    part.len() == bytes.len() && doubles(bytes).into_iter().zip(doubles(part)).all(close)
}

/// The interesting part of an answer that is nothing but told.
fn told(body: &Body) -> String {
    match body {
        Body::Explanation(explanation) => {
            let Receipt { bytes_read, bytes_written, network_bytes, .. } = explanation.estimate;
            let refusal = explanation.refusal.as_ref().map_or(String::new(), |refusal| format!("; refused: {refusal}"));
            format!(
                "{}; reads {}; {} segments, {} copies, {bytes_read} bytes read, {bytes_written} written, {network_bytes} moved{refusal}",
                explanation.steps.join(" | "),
                explanation.reads.join(" "),
                explanation.segments,
                explanation.copies,
            )
        }
        _ => "answered".to_string(),
    }
}

/// A wish in few words.
pub fn describe(wish: &Wish) -> String {
    match wish {
        Wish::Create { name, content, .. } => {
            format!("create {name} of {} {}", content.array.len(), content.array.dtype)
        }
        Wish::Apply { name, operation, into } => {
            let operation = operation.as_ref().map_or(String::new(), |operation| format!(" '{operation}'"));
            let into = into.as_ref().map_or(String::new(), |into| format!(" into {into}"));
            format!("apply {name}{operation}{into}")
        }
        Wish::Reduce { name, reductions } => format!("reduce {name} '{reductions}'"),
        Wish::Generate { name, generator, .. } => format!("generate {name} '{generator}'"),
        Wish::Get { name, array, range } => {
            let range = range.map_or(String::new(), |(from, to)| format!(" {from}:{to}"));
            format!("get {name}{}{range}", if *array { " itself" } else { "" })
        }
        Wish::Delete { name } => format!("delete {name}"),
        Wish::Ask(body) => body.kind().to_string(),
        Wish::Odd(odd) => odd.body.kind().to_string(),
    }
}
