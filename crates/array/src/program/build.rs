//! Making a program, node by node, with every type checked.

use super::op::can_fail;
use super::{Binary, INPUTS_MAX, NODES_MAX, Node, NodeId, Op, Outcome, Program, REDUCTIONS_MAX, Unary, is_computed};
use crate::kernels::elementary;
use crate::reduction::Reducer;
use crate::{DType, Operation};
use std::collections::HashMap;

/// Nodes so far. What is asked for twice is there once.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    inputs: Vec<DType>,
    nodes: Vec<Node>,
    known: HashMap<Key, NodeId>,
}

/// All that makes a node what it is.
type Key = (String, DType, Vec<NodeId>, Option<NodeId>);

impl Builder {
    /// A program that will read arrays of these dtypes.
    ///
    /// # Errors
    /// More than [`INPUTS_MAX`] of them.
    pub fn new(inputs: Vec<DType>) -> Result<Builder, String> {
        match inputs.len() <= INPUTS_MAX {
            true => Ok(Builder { inputs, ..Builder::default() }),
            false => Err(format!("{} arrays are read, {INPUTS_MAX} at most", inputs.len())),
        }
    }

    /// The dtypes of the arrays that are read.
    pub fn inputs(&self) -> &[DType] {
        &self.inputs
    }

    /// Takes note of one more array that is read, and gives its number.
    ///
    /// # Errors
    /// As [`Builder::new`].
    pub fn add_input(&mut self, dtype: DType) -> Result<u32, String> {
        if self.inputs.len() == INPUTS_MAX {
            return Err(format!("more than {INPUTS_MAX} arrays are read"));
        }
        self.inputs.push(dtype);
        Ok(self.inputs.len() as u32 - 1)
    }

    /// The dtype of a node.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn dtype(&self, node: NodeId) -> DType {
        self.nodes[node as usize].dtype
    }

    /// Adds a node.
    ///
    /// # Errors
    /// In words: types that do not fit, nodes that are not there, more than [`NODES_MAX`] of them.
    pub fn add(&mut self, node: Node) -> Result<NodeId, String> {
        self.check(&node)?;
        // The debug form tells operations apart, NaN from NaN too, as a constant is its bits.
        let key = (format!("{:?}", node.op), node.dtype, node.args.clone(), node.guard);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        if self.nodes.len() == NODES_MAX {
            return Err(format!("more than {NODES_MAX} steps; store a part of it first, with `apply … --into`"));
        }
        let id = self.nodes.len() as NodeId;
        self.nodes.push(node);
        self.known.insert(key, id);
        Ok(id)
    }

    fn check(&self, node: &Node) -> Result<(), String> {
        let Node { op, dtype, args, guard } = node;
        if !is_computed(*dtype) {
            return Err(format!("{dtype} is not computed"));
        }
        let there = |id: &NodeId| (*id as usize) < self.nodes.len();
        if !args.iter().chain(guard).all(there) {
            return Err("a value that is not there yet".to_string());
        }
        let types: Vec<DType> = args.iter().map(|id| self.dtype(*id)).collect();
        let fits = match (op, &types[..]) {
            (Op::Input(input), []) => self.inputs.get(*input as usize) == Some(dtype),
            (Op::Constant(bits), []) => is_constant(*dtype, *bits),
            (Op::Index, []) => *dtype == DType::Int64,
            (Op::Uniform { low, high, .. }, []) => *dtype == DType::Float64 && low < high && (high - low).is_finite(),
            (Op::Integers { low, high, .. }, []) => match dtype {
                DType::Int32 => low <= high && i32::try_from(*low).is_ok() && i32::try_from(*high).is_ok(),
                other => *other == DType::Int64 && low <= high,
            },
            (Op::Normal { .. }, []) => *dtype == DType::Float64,
            (Op::Cast, [from]) => from != dtype,
            (Op::Power(exponent), [DType::Float64]) => {
                *dtype == DType::Float64 && elementary::EXPONENTS.contains(exponent)
            }
            (Op::Unary(unary), [from]) => unary.output(*from) == Some(*dtype),
            (Op::Binary(binary), [a, b]) => a == b && binary.output(*a) == Some(*dtype),
            (Op::Where, [DType::Bool, a, b]) => a == dtype && b == dtype,
            _ => false,
        };
        if !fits {
            return Err(format!("{op:?} of {types:?} does not give {dtype}"));
        }
        match guard {
            Some(_) if !can_fail(*op, types.first().copied(), *dtype) => Err(format!("{op:?} can't fail")),
            Some(guard) if self.dtype(*guard) != DType::Bool => Err("a guard is a bool".to_string()),
            _ => Ok(()),
        }
    }

    /// The program that keeps the elements of a node.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn elements(self, node: NodeId) -> Program {
        assert!((node as usize) < self.nodes.len(), "no node {node}");
        Program::new(self.inputs, self.nodes, Outcome::Elements(node))
    }

    /// The program that keeps what reductions make of nodes.
    ///
    /// # Errors
    /// None of them, more than [`REDUCTIONS_MAX`], or nodes that are not there.
    pub fn reductions(self, reductions: Vec<(Reducer, NodeId)>) -> Result<Program, String> {
        if reductions.is_empty() || reductions.len() > REDUCTIONS_MAX {
            return Err(format!("{} reductions; 1 to {REDUCTIONS_MAX} can be computed together", reductions.len()));
        }
        if reductions.iter().any(|(_, node)| *node as usize >= self.nodes.len()) {
            return Err("a value that is not there".to_string());
        }
        Ok(Program::new(self.inputs, self.nodes, Outcome::Reductions(reductions)))
    }

    // ---- in short ----

    /// The elements of an input.
    pub fn input(&mut self, input: u32) -> Result<NodeId, String> {
        let dtype = self.inputs[input as usize];
        self.add(Node { op: Op::Input(input), dtype, args: vec![], guard: None })
    }

    /// The same value for every element.
    pub fn constant(&mut self, dtype: DType, bits: u64) -> Result<NodeId, String> {
        self.add(Node { op: Op::Constant(bits), dtype, args: vec![], guard: None })
    }

    /// The same float64 for every element.
    pub fn float64(&mut self, value: f64) -> Result<NodeId, String> {
        self.constant(DType::Float64, value.to_bits())
    }

    /// A node as another dtype, or itself if it has that one; it can't fail where `guard` is false.
    pub fn cast(&mut self, node: NodeId, dtype: DType, guard: Option<NodeId>) -> Result<NodeId, String> {
        let from = self.dtype(node);
        if from == dtype {
            return Ok(node);
        }
        let guard = guard.filter(|_| can_fail(Op::Cast, Some(from), dtype));
        self.add(Node { op: Op::Cast, dtype, args: vec![node], guard })
    }

    /// A function of one node.
    pub fn unary(&mut self, unary: Unary, node: NodeId) -> Result<NodeId, String> {
        let from = self.dtype(node);
        let dtype = unary.output(from).ok_or_else(|| format!("{} takes no {from}", unary.name()))?;
        self.add(Node { op: Op::Unary(unary), dtype, args: vec![node], guard: None })
    }

    /// A function of two nodes of the same dtype; it can't fail where `guard` is false.
    pub fn binary(&mut self, binary: Binary, a: NodeId, b: NodeId, guard: Option<NodeId>) -> Result<NodeId, String> {
        let from = self.dtype(a);
        let dtype = binary.output(from).ok_or_else(|| format!("{} takes no {from}", binary.name()))?;
        let guard = guard.filter(|_| can_fail(Op::Binary(binary), Some(from), dtype));
        self.add(Node { op: Op::Binary(binary), dtype, args: vec![a, b], guard })
    }

    /// One of two nodes of the same dtype.
    pub fn choose(&mut self, condition: NodeId, a: NodeId, b: NodeId) -> Result<NodeId, String> {
        let dtype = self.dtype(a);
        self.add(Node { op: Op::Where, dtype, args: vec![condition, a, b], guard: None })
    }
}

impl Program {
    /// The same program, known by the name of an operation.
    pub(crate) fn with_name(self, named: Operation) -> Program {
        Program { named: Some(named), ..self }
    }
}

/// Whether these bits are a value of the dtype.
fn is_constant(dtype: DType, bits: u64) -> bool {
    match dtype {
        DType::Bool => bits <= 1,
        DType::Int32 | DType::Float32 => bits <= u64::from(u32::MAX),
        _ => true,
    }
}
