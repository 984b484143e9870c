//! Typed programs: what is computed from the elements of arrays, one element after the other, and what is kept of it.
//!
//! A [`Program`] is a list of [`Node`]s, each of which computes one value from values before it. A [`Builder`] makes one and
//! checks every type; [`FromStr`](std::str::FromStr) reads what [`Program`] prints, and checks the same, so that a worker can run what it
//! is sent. [`run`] has the machine that runs one, block by block.

mod build;
mod compile;
mod fault;
mod fuse;
mod machine;
mod op;
mod prune;
mod register;
pub mod run;
mod steps;
mod text;

#[cfg(test)]
mod tests;

pub use build::Builder;
pub use fault::Fault;
pub use op::{Binary, Op, Unary};
pub use run::{CHUNK, ElementError, RunError, Source};
pub use text::NotAProgram;

use crate::reduction::Reducer;
use crate::{DType, Operation};
use compile::Compiled;
use std::sync::{Arc, OnceLock};

/// Nodes that a program has at most. Each takes a pass over a block, so one of this length takes some microseconds for each
/// element; nobody types a longer one.
pub const NODES_MAX: usize = 4096;

/// Arrays that a program reads at most.
pub const INPUTS_MAX: usize = 64;

/// Reductions that a program has at most.
pub const REDUCTIONS_MAX: usize = 64;

/// A value of a program, by the place of its node.
pub type NodeId = u32;

/// One step: a value from values before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// What it gives.
    pub dtype: DType,
    /// What it takes.
    pub args: Vec<NodeId>,
    /// Elements for which this bool is false can't fail, as nobody looks at their value: zero, or the low
    /// bits of an int64 as an int32. Only of nodes that can fail.
    pub guard: Option<NodeId>,
}

/// What is kept of the values.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Each element of this node.
    Elements(NodeId),
    /// What these reductions make of these nodes.
    Reductions(Vec<(Reducer, NodeId)>),
}

/// A program. Its types fit, and every node takes only nodes before it.
#[derive(Clone, Debug)]
pub struct Program {
    inputs: Vec<DType>,
    nodes: Vec<Node>,
    outcome: Outcome,
    /// The operation that it is, if it has a name.
    named: Option<Operation>,
    /// Made ready to run, when it runs for the first time. All clones share it.
    compiled: Arc<OnceLock<Compiled>>,
}

impl PartialEq for Program {
    fn eq(&self, other: &Program) -> bool {
        (&self.inputs, &self.nodes, &self.outcome, self.named)
            == (&other.inputs, &other.nodes, &other.outcome, other.named)
    }
}

impl Program {
    fn new(inputs: Vec<DType>, nodes: Vec<Node>, outcome: Outcome) -> Program {
        Program { inputs, nodes, outcome, named: None, compiled: Arc::default() }
    }

    /// It, ready to run.
    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| Compiled::new(self))
    }

    /// The dtypes of the arrays that it reads.
    pub fn inputs(&self) -> &[DType] {
        &self.inputs
    }

    /// The dtype of the elements that it gives; none if it reduces them.
    pub fn output(&self) -> Option<DType> {
        match &self.outcome {
            Outcome::Elements(node) => Some(self.nodes[*node as usize].dtype),
            Outcome::Reductions(_) => None,
        }
    }

    /// Its reductions with the dtypes that they reduce; none if it gives elements.
    pub fn reductions(&self) -> Vec<(Reducer, DType)> {
        match &self.outcome {
            Outcome::Elements(_) => Vec::new(),
            Outcome::Reductions(all) => {
                all.iter().map(|(reducer, node)| (*reducer, self.nodes[*node as usize].dtype)).collect()
            }
        }
    }

    /// The named operation that it is.
    pub fn named(&self) -> Option<Operation> {
        self.named
    }

    /// Steps, in the order in which they are done.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Bytes that it reads for each element.
    pub fn bytes_read(&self) -> u64 {
        self.inputs.iter().map(|dtype| dtype.size() as u64).sum()
    }

    /// Bytes that it gives for each element; 0 if it reduces them.
    pub fn bytes_written(&self) -> u64 {
        self.output().map_or(0, |dtype| dtype.size() as u64)
    }
}

/// Whether programs compute on elements of this dtype; others can only be stored.
pub fn is_computed(dtype: DType) -> bool {
    matches!(dtype, DType::Bool | DType::Int32 | DType::Int64 | DType::Float32 | DType::Float64)
}

/// For messages about dtypes that are not computed.
pub const COMPUTED: &str = "bool, int32, int64, float32 and float64";
