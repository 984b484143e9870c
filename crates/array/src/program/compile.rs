//! A program made ready to run: who needs which register when, and what is the same for all elements.

use super::fuse::{Fused, Work, fuse, kept};
use super::machine::BLOCK;
use super::{Binary, NodeId, Op, Outcome, Program, Unary};
use crate::DType;
use crate::kernels::elementary;
use crate::reduction::Reducer;

/// Where a value is while a block is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the block of this input.
    Input(usize),
    /// The same for all blocks.
    Constant(usize),
    /// In a register, for a while.
    Register(usize),
    /// In the block of the result.
    Output,
}

/// One step of the machine.
#[derive(Clone, Debug)]
pub struct Instruction {
    pub op: Step,
    /// Dtype of the values it takes; of the last of them, if it is `where`.
    pub input: DType,
    /// Dtype of the value it gives.
    pub dtype: DType,
    pub args: Vec<Place>,
    pub guard: Option<Place>,
    pub out: Place,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// One node, or several in one.
    Work(Work),
    /// Sine, and the cosine of the same values into this register.
    SinCos(usize),
    /// Cosine, and the sine of the same values into this register.
    CosSin(usize),
    /// The same value in another place.
    Copy,
}

/// A program that is ready to run.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub instructions: Vec<Instruction>,
    /// Dtypes and bits of what is the same for all elements.
    pub constants: Vec<(DType, u64)>,
    pub registers: usize,
    /// Dtype of the elements that the program gives; none if it reduces.
    pub result: Option<DType>,
    /// What is reduced.
    pub reduced: Vec<Reduced>,
    /// For each reduction, which of the partials of all [`Reduced`], in their order, it is.
    pub reductions: Vec<(Reducer, usize)>,
}

/// A value that is reduced.
#[derive(Clone, Debug)]
pub struct Reduced {
    pub place: Place,
    pub dtype: DType,
    /// What must be known of it: one reducer of those that know the same.
    pub reducers: Vec<Reducer>,
}

impl Compiled {
    /// Makes a program ready.
    pub fn new(program: &Program) -> Compiled {
        Compiler::new(program).compile()
    }

    /// Whether all NaNs of the result are the same one already: it is that of an elementary function, or has none.
    pub fn has_one_nan(&self) -> bool {
        self.instructions.last().is_some_and(|last| match last.op {
            Step::Work(Work::Node(op)) => matches!(
                op,
                Op::Unary(Unary::Elementary(_))
                    | Op::Binary(Binary::Elementary(_))
                    | Op::Index
                    | Op::Uniform { .. }
                    | Op::Integers { .. }
                    | Op::Normal { .. }
            ),
            _ => false,
        })
    }

    /// What makes the result if nothing else is done: numbers from nothing but the places of their elements.
    pub fn generator(&self) -> Option<Op> {
        match self.instructions[..] {
            [Instruction { op: Step::Work(Work::Node(op)), out: Place::Output, ref args, .. }] if args.is_empty() => {
                Some(op)
            }
            _ => None,
        }
    }

    /// Elements of a block where they are kept, [`BLOCK`] at most: what a block is made of shall fit the first-level cache, beside what
    /// is fetched. Arithmetic on many values takes some 10% less time then; for few, starting a step twice as often takes more.
    pub fn block(&self, inputs: &[DType]) -> usize {
        const CACHED_BYTES: usize = 36 << 10;
        let mut registers = vec![0; self.registers];
        for instruction in &self.instructions {
            let size = instruction.dtype.size();
            let mut widen = |register: usize| registers[register] = size.max(registers[register]);
            if let Step::SinCos(other) | Step::CosSin(other) = instruction.op {
                widen(other);
            }
            if let Place::Register(register) = instruction.out {
                widen(register);
            }
        }
        let around: usize = inputs.iter().chain(&self.result).map(|dtype| dtype.size()).sum();
        let bytes = BLOCK * (around + registers.into_iter().sum::<usize>());
        if bytes <= CACHED_BYTES { BLOCK } else { BLOCK / 2 }
    }

    /// Whether computing waits for memory rather than the other way round: no step takes many cycles for an element, and not one byte
    /// is written for many that are read.
    pub fn is_bound_by_memory(&self) -> bool {
        let is_quick = |instruction: &Instruction| match instruction.op {
            Step::Work(Work::Pair(pair)) => !pair.divides(),
            Step::Copy | Step::SinCos(_) | Step::CosSin(_) | Step::Work(Work::Named(_)) => false,
            Step::Work(Work::Node(op)) => match op {
                Op::Unary(unary) => !matches!(unary, Unary::Elementary(_) | Unary::Sqrt),
                Op::Binary(Binary::Elementary(_) | Binary::Div | Binary::FloorDiv | Binary::Mod | Binary::Rem) => false,
                Op::Binary(binary) => binary != Binary::IntPow,
                op => !matches!(op, Op::Normal { .. }),
            },
        };
        self.result.is_some_and(|dtype| dtype.size() > 1) && self.instructions.iter().all(is_quick)
    }
}

struct Compiler<'a> {
    nodes: Vec<Fused>,
    outcome: &'a Outcome,
    places: Vec<Option<Place>>,
    /// After which node a node's value is not needed any more; none if nothing needs it.
    last_use: Vec<Option<usize>>,
    free: Vec<usize>,
    compiled: Compiled,
}

/// A step that gives two values, for the register of the second.
type StepWithOther = fn(usize) -> Step;

/// After all nodes.
const AT_THE_END: usize = usize::MAX;

impl<'a> Compiler<'a> {
    fn new(program: &'a Program) -> Compiler<'a> {
        let (nodes, outcome) = (fuse(program), &program.outcome);
        let mut last_use = vec![None; nodes.len()];
        kept(program).iter().for_each(|node| last_use[*node as usize] = Some(AT_THE_END));
        // What nobody needs is not computed: only a node that is needed needs others.
        for (at, node) in nodes.iter().enumerate().rev() {
            if last_use[at].is_some() {
                for arg in node.args.iter().chain(&node.guard) {
                    let last = &mut last_use[*arg as usize];
                    *last = Some(last.unwrap_or(at));
                }
            }
        }
        let compiled = Compiled {
            instructions: Vec::new(),
            constants: Vec::new(),
            registers: 0,
            result: program.output(),
            reduced: Vec::new(),
            reductions: Vec::new(),
        };
        Compiler { outcome, places: vec![None; nodes.len()], nodes, last_use, free: Vec::new(), compiled }
    }

    fn compile(mut self) -> Compiled {
        for at in 0..self.nodes.len() {
            if self.last_use[at].is_some() && self.places[at].is_none() {
                self.place(at);
            }
            self.release(at);
        }
        match self.outcome {
            Outcome::Elements(node) => self.finish(*node as usize),
            Outcome::Reductions(all) => self.reduce(all),
        }
        self.compiled
    }

    /// Finds a place for a node's value, and has it computed into that.
    fn place(&mut self, at: usize) {
        let node = self.nodes[at].clone();
        let place = match node.work {
            Work::Node(Op::Input(input)) => Place::Input(input as usize),
            Work::Node(Op::Constant(bits)) => {
                self.compiled.constants.push((node.dtype, bits));
                Place::Constant(self.compiled.constants.len() - 1)
            }
            work => {
                let step = match self.other_of_sin_cos(at) {
                    Some((other, step)) => {
                        let register = self.register();
                        self.places[other] = Some(Place::Register(register));
                        step(register)
                    }
                    None => Step::Work(work),
                };
                let out = match *self.outcome {
                    Outcome::Elements(kept) if kept as usize == at => Place::Output,
                    _ => Place::Register(self.register()),
                };
                let input = node.args.last().map_or(node.dtype, |arg| self.nodes[*arg as usize].dtype);
                let args = node.args.iter().map(|arg| self.place_of(*arg)).collect();
                let guard = node.guard.map(|guard| self.place_of(guard));
                self.compiled.instructions.push(Instruction { op: step, input, dtype: node.dtype, args, guard, out });
                out
            }
        };
        self.places[at] = Some(place);
    }

    /// The node that is the cosine of what this node is the sine of, or the other way round, if both are needed; and the step that
    /// gives both.
    fn other_of_sin_cos(&self, at: usize) -> Option<(usize, StepWithOther)> {
        use elementary::Unary::{Cos, Sin};
        let node = &self.nodes[at];
        let (other, step): (_, StepWithOther) = match node.work {
            Work::Node(Op::Unary(Unary::Elementary(Sin))) => (Cos, Step::SinCos),
            Work::Node(Op::Unary(Unary::Elementary(Cos))) => (Sin, Step::CosSin),
            _ => return None,
        };
        let is_kept = |at: usize| matches!(*self.outcome, Outcome::Elements(kept) if kept as usize == at);
        let wanted = Work::Node(Op::Unary(Unary::Elementary(other)));
        let found = (at + 1..self.nodes.len()).find(|later| {
            let candidate = &self.nodes[*later];
            candidate.work == wanted
                && candidate.args == node.args
                && self.last_use[*later].is_some()
                && !is_kept(*later)
        });
        found.map(|other| (other, step))
    }

    fn place_of(&self, node: NodeId) -> Place {
        self.places[node as usize].expect("nodes take only nodes before them")
    }

    fn register(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.compiled.registers += 1;
            self.compiled.registers - 1
        })
    }

    /// Frees the registers whose values this node was the last to need.
    fn release(&mut self, at: usize) {
        let node = &self.nodes[at];
        let mut over: Vec<NodeId> = node.args.iter().chain(&node.guard).copied().collect();
        over.sort_unstable();
        over.dedup();
        for arg in over.into_iter().filter(|arg| self.last_use[*arg as usize] == Some(at)) {
            if let Some(Place::Register(register)) = self.places[arg as usize] {
                self.free.push(register);
            }
        }
    }

    /// Sees to it that each value is looked at once, and nothing is found out of it twice.
    fn reduce(&mut self, all: &[(Reducer, NodeId)]) {
        let Compiled { reduced, reductions, .. } = &mut self.compiled;
        for (reducer, node) in all {
            let (place, dtype) = (self.places[*node as usize].expect("it is kept"), self.nodes[*node as usize].dtype);
            let at = reduced.iter().position(|reduced| reduced.place == place).unwrap_or_else(|| {
                reduced.push(Reduced { place, dtype, reducers: Vec::new() });
                reduced.len() - 1
            });
            let reducers = &mut reduced[at].reducers;
            if !reducers.contains(&reducer.knows_as()) {
                reducers.push(reducer.knows_as());
            }
        }
        let partials = || reduced.iter().flat_map(|value| value.reducers.iter().map(|reducer| (value.place, *reducer)));
        *reductions = all
            .iter()
            .map(|(reducer, node)| {
                let place = self.places[*node as usize].expect("it is kept");
                let at = partials().position(|partial| partial == (place, reducer.knows_as()));
                (*reducer, at.expect("it is among them"))
            })
            .collect();
    }

    /// Sees to it that the kept value is in the output.
    fn finish(&mut self, kept: usize) {
        let place = self.places[kept].expect("it is kept");
        if place != Place::Output {
            let dtype = self.nodes[kept].dtype;
            let (op, out) = (Step::Copy, Place::Output);
            self.compiled.instructions.push(Instruction {
                op,
                input: dtype,
                dtype,
                args: vec![place],
                guard: None,
                out,
            });
        }
    }
}
