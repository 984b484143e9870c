//! From what a client asks for to what will be computed: which versions are read, by which program, and whether it can begin.

use super::{Becomes, Cluster};
use crate::cluster::catalog::{Version, already_exists};
use crate::cluster::command::NewArray;
use crate::cluster::placement::place;
use crate::cluster::requests::{Answer, Key};
use array::expression::{ExpressionError, Named, parse_expression, parse_generator, parse_reductions};
use array::{DType, Grid, Operation, Program, Reducer};
use protocol::message::client::*;
use protocol::{ArrayId, ErrorCode, SegmentIndex, VersionId, WireError, WorkerId, name};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is to be computed.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The array it is about, or will be.
    pub array_name: String,
    /// What it is called: its expression, its reductions, or what makes the array.
    pub text: String,
    pub program: Arc<Program>,
    /// The versions it reads, in the order of the program's inputs.
    pub inputs: Vec<VersionId>,
    /// Lengths of the sides of what is computed.
    pub shape: Vec<u64>,
    pub grid: Grid,
    /// Copies the result is meant to have.
    pub replication: u32,
    /// For each segment of an array that is made from nothing, who makes it, the primary first.
    pub placed: Vec<Vec<WorkerId>>,
    /// The texts of its reductions.
    pub reductions: Vec<String>,
}

impl Plan {
    /// Bytes of one copy of a segment of the result; 0 if it is reduced.
    pub fn result_bytes(&self, segment: SegmentIndex) -> u64 {
        let range = self.grid.range(segment);
        (range.end - range.start) * self.program.bytes_written()
    }

    pub fn segments(&self) -> u32 {
        self.grid.segments()
    }

    /// The dtype of the elements that it gives; none if it reduces them.
    pub fn dtype(&self) -> Option<DType> {
        self.program.output()
    }
}

impl Cluster {
    pub(in crate::cluster) fn on_apply_operation(
        &mut self,
        key: Key,
        apply: ApplyOperation,
    ) -> Result<Answer, WireError> {
        if let Some((version, running)) = self.operations.iter().find(|(_, running)| running.origin.key == key) {
            return Ok(Answer::Now(self.processing(*version, running).into())); // a repeated request with noWait
        }
        let plan = self.plan_expression(&apply.array_id, &apply.operation)?;
        if let Some(into) = &apply.into {
            self.check_new_name(into, apply.replace)?;
        }
        if let Some(park) = self.not_ready(key, &plan)? {
            return Ok(park);
        }
        let Some(id) = self.new_id() else {
            return Ok(Answer::Park("id from the log".to_string()));
        };
        let becomes = match apply.into {
            Some(name) => Becomes::Array(NewArray { array: ArrayId(id.0), name, replace: apply.replace }),
            None => Becomes::Result,
        };
        Ok(self.begin(id, key, plan, becomes, apply.no_wait, apply.inline))
    }

    pub(in crate::cluster) fn on_reduce_array(&mut self, key: Key, reduce: ReduceArray) -> Result<Answer, WireError> {
        let plan = self.plan_reductions(&reduce.array_id, &reduce.reductions)?;
        if let Some(park) = self.not_ready(key, &plan)? {
            return Ok(park);
        }
        let Some(id) = self.new_id() else {
            return Ok(Answer::Park("id from the log".to_string()));
        };
        Ok(self.begin(id, key, plan, Becomes::Values, false, false))
    }

    pub(in crate::cluster) fn on_generate_array(
        &mut self,
        key: Key,
        generate: GenerateArray,
    ) -> Result<Answer, WireError> {
        self.check_new_name(&generate.array_id, generate.replace)?;
        let mut plan = self.plan_generator(&generate)?;
        if let Some(park) = self.not_ready(key, &plan)? {
            return Ok(park);
        }
        plan.placed = self.place_generated(&plan);
        let Some(id) = self.new_id() else {
            return Ok(Answer::Park("id from the log".to_string()));
        };
        let new = NewArray { array: ArrayId(id.0), name: generate.array_id, replace: generate.replace };
        Ok(self.begin(id, key, plan, Becomes::Array(new), false, false))
    }

    // ---- what is meant ----

    /// An expression on an array, or a named operation.
    fn plan_expression(&self, array_id: &str, text: &str) -> Result<Plan, WireError> {
        let (source, _, array_name) = self.resolve(array_id)?;
        let version = self.catalog.version(source).expect("names name versions");
        if let Ok(operation) = text.parse::<Operation>() {
            let wrong = |wrong: array::WrongDType| {
                let text = format!("{wrong}, as '{array_name}' is");
                WireError::new(ErrorCode::TypeMismatch, text).array(array_name.clone())
            };
            operation.check_input(version.dtype).map_err(wrong)?;
            return Ok(plan(array_name.clone(), text, operation.program(), vec![source], version));
        }
        let mut inputs = vec![source];
        let program = parse_expression(text, version.dtype, &mut |name| self.input(name, version, &mut inputs));
        match program {
            Ok(program) => Ok(plan_pruned(array_name, text, program, &inputs, version)),
            Err(_) if is_one_word(text) => Err(unknown_operation(text)),
            Err(error) => Err(bad_expression(&error).array(array_name)),
        }
    }

    /// Reductions of expressions on an array.
    fn plan_reductions(&self, array_id: &str, text: &str) -> Result<Plan, WireError> {
        let (source, _, array_name) = self.resolve(array_id)?;
        let version = self.catalog.version(source).expect("names name versions");
        let mut inputs = vec![source];
        let parsed = parse_reductions(text, version.dtype, &mut |name| self.input(name, version, &mut inputs));
        let (program, reductions) = parsed.map_err(|error| bad_expression(&error).array(array_name.clone()))?;
        Ok(Plan { reductions, ..plan_pruned(array_name, text, program, &inputs, version) })
    }

    fn plan_generator(&self, generate: &GenerateArray) -> Result<Plan, WireError> {
        let made = parse_generator(&generate.generator, generate.dtype, generate.seed);
        let made = made.map_err(|error| bad_expression(&error).array(generate.array_id.clone()))?;
        Ok(Plan {
            array_name: generate.array_id.clone(),
            text: generate.generator.clone(),
            program: Arc::new(made.program),
            inputs: Vec::new(),
            grid: Grid::new(made.shape.iter().product()),
            shape: made.shape,
            replication: self.config.replication,
            placed: Vec::new(),
            reductions: Vec::new(),
        })
    }

    /// The array that a name in an expression means; `inputs` are those so far.
    fn input(&self, name: &str, x: &Version, inputs: &mut Vec<VersionId>) -> Result<Named, String> {
        let (id, ..) = self.resolve(name).map_err(|error| error.message)?;
        let version = self.catalog.version(id).expect("names name versions");
        if version.shape != x.shape {
            return Err(format!(
                "'{name}' has the shape {:?}, and x has {:?}; they must be equal",
                version.shape, x.shape
            ));
        }
        let known = inputs.iter().position(|input| *input == id);
        let input = known.unwrap_or_else(|| {
            inputs.push(id);
            inputs.len() - 1
        });
        Ok(Named { input: input as u32, dtype: version.dtype })
    }

    fn check_new_name(&self, new: &str, replace: bool) -> Result<(), WireError> {
        name::check_new_array(new)?;
        match self.catalog.find(new).is_some() && !replace {
            true => Err(already_exists(new)),
            false if replace => Ok(()),
            false => self.check_arrays(),
        }
    }

    // ---- whether it can begin ----

    /// Why it has to wait, if it has to.
    fn not_ready(&self, key: Key, plan: &Plan) -> Result<Option<Answer>, WireError> {
        self.check_operations(key)?;
        if !self.settled() {
            return Ok(Some(Answer::Park("report of the workers after the master's start".to_string())));
        }
        self.can_begin(Some(key), plan)
    }

    /// Whether there are workers for it, with room; else why it has to wait or is refused.
    fn can_begin(&self, key: Option<Key>, plan: &Plan) -> Result<Option<Answer>, WireError> {
        if let Some(park) = self.enough_workers(plan.segments() > 0)? {
            return Ok(Some(park));
        }
        let needs_native = plan.segments() > 0 && plan.program.named().is_none();
        if needs_native && !self.any_native_worker(&plan.text)? {
            return Ok(Some(Answer::Park(format!("worker that can compute {}", plan.text))));
        }
        self.check_room(key, plan)
    }

    /// Who makes the segments of a generated array.
    pub(super) fn place_generated(&self, plan: &Plan) -> Vec<Vec<WorkerId>> {
        let bytes: Vec<u64> = (0..plan.segments()).map(|segment| plan.result_bytes(segment)).collect();
        let computing = self.candidates(&[]).into_iter();
        let computing: Vec<_> = computing.filter(|candidate| self.members[&candidate.worker].level() > 1).collect();
        place(&bytes, plan.grid.len(), plan.replication as usize, &computing)
    }

    // ---- what it would take ----

    /// What an operation would do.
    pub(in crate::cluster) fn on_explain(&self, explain: Explain) -> Result<Answer, WireError> {
        let plan = match is_reductions(&explain.operation) {
            true => self.plan_reductions(&explain.array_id, &explain.operation)?,
            false => self.plan_expression(&explain.array_id, &explain.operation)?,
        };
        let refusal = self.can_begin(None, &plan).err();
        let is_reduced = plan.program.output().is_none();
        let copies = if is_reduced { 0 } else { self.required_copies(plan.replication) as u32 };
        let receives = copies > 1 && self.costs.receives(fingerprint(&plan.program), self.most_threads());
        let explanation = Explanation {
            array_id: plan.array_name.clone(),
            steps: plan.program.steps(),
            reads: plan.inputs.iter().map(|id| crate::cluster::catalog::handle_of(&self.catalog, *id)).collect(),
            dtype: plan.program.output(),
            elements: plan.grid.len(),
            segments: plan.segments(),
            copies,
            replicas: if receives { "received" } else { "recomputed" }.to_string(),
            estimate: self.estimate(&plan, receives),
            refusal,
        };
        Ok(Answer::Now(explanation.into()))
    }

    /// What a plan takes if nobody fails.
    fn estimate(&self, plan: &Plan, receives: bool) -> Receipt {
        let mut workers: BTreeMap<WorkerId, WorkerReceipt> = BTreeMap::new();
        let mut network_bytes = 0;
        let copies = self.required_copies(plan.replication);
        for segment in 0..plan.segments() {
            let range = plan.grid.range(segment);
            let (read, written) = ((range.end - range.start) * plan.program.bytes_read(), plan.result_bytes(segment));
            let is_reduced = plan.program.output().is_none();
            let mut computers = self.computers(&plan.inputs, segment, plan.program.named());
            let mut fetched = 0;
            if computers.is_empty()
                && let Some((worker, missing)) = self.gatherer(&plan.inputs, segment)
            {
                fetched = missing.iter().map(|copy| self.copy_bytes(*copy)).sum();
                computers.push(worker);
            }
            let wanted = if is_reduced { 1 } else { copies.max(1) };
            let computing = if is_reduced || receives { 1 } else { computers.len() };
            network_bytes += fetched + wanted.saturating_sub(computing.max(1)) as u64 * written;
            let receivers = computers.split_off(computing.min(computers.len()));
            for worker in receivers.into_iter().take(wanted.saturating_sub(computing)) {
                workers.entry(worker.clone()).or_insert_with(|| empty_receipt(worker)).memory_bytes += written;
            }
            for worker in computers {
                let receipt = workers.entry(worker.clone()).or_insert_with(|| empty_receipt(worker));
                receipt.segments += 1;
                receipt.bytes_read += read;
                receipt.bytes_written += written;
                receipt.memory_bytes += written + fetched;
            }
        }
        total(workers, network_bytes)
    }
}

/// As [`plan`], without what the program does not need.
fn plan_pruned(array_name: String, text: &str, program: Program, inputs: &[VersionId], version: &Version) -> Plan {
    let (program, read) = program.pruned();
    plan(array_name, text, Arc::new(program), read.into_iter().map(|input| inputs[input]).collect(), version)
}

fn plan(array_name: String, text: &str, program: Arc<Program>, inputs: Vec<VersionId>, version: &Version) -> Plan {
    Plan {
        array_name,
        text: text.to_string(),
        program,
        inputs,
        shape: version.shape.clone(),
        grid: version.grid(),
        replication: version.replication,
        placed: Vec::new(),
        reductions: Vec::new(),
    }
}

/// What is known of a worker's share before it has done anything.
pub(super) fn empty_receipt(worker: WorkerId) -> WorkerReceipt {
    WorkerReceipt { worker, segments: 0, busy_us: None, bytes_read: 0, bytes_written: 0, memory_bytes: 0 }
}

/// The receipt of all workers together.
pub(super) fn total(workers: BTreeMap<WorkerId, WorkerReceipt>, network_bytes: u64) -> Receipt {
    let workers: Vec<WorkerReceipt> = workers.into_values().collect();
    // They are what workers say, and those may say anything.
    let sum = |of: fn(&WorkerReceipt) -> u64| workers.iter().map(of).fold(0, u64::saturating_add);
    Receipt {
        bytes_read: sum(|worker| worker.bytes_read),
        bytes_written: sum(|worker| worker.bytes_written),
        network_bytes,
        retries: 0,
        promoted: 0,
        workers,
    }
}

/// Tells programs apart whose costs are measured.
pub(super) fn fingerprint(program: &Program) -> u32 {
    array::checksum::crc32c(program.to_string().as_bytes())
}

fn bad_expression(error: &ExpressionError) -> WireError {
    WireError::new(ErrorCode::BadExpression, error.to_string()).column(error.column as u32)
}

fn unknown_operation(text: &str) -> WireError {
    let known = Operation::ALL.map(|operation| format!("{operation} ({})", operation.input())).join(", ");
    let text =
        format!("'{text}' is no operation, array or expression; operations are {known}; an expression is sqrt(x) + 1");
    WireError::new(ErrorCode::UnknownOperation, text)
}

fn is_one_word(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Whether a text begins as reductions do.
fn is_reductions(text: &str) -> bool {
    let word = text.trim_start();
    let end = word.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(word.len());
    word[..end].parse::<Reducer>().is_ok() && word[end..].trim_start().starts_with('(')
}
