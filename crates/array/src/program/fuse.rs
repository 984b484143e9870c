//! Several nodes as one step: fewer passes over a block, the same bits.
//!
//! - *Named operations*: nodes that are those of [`Operation::program`], on whatever value, run as the kernel that is written for
//!   them. Each kernel has the bits of its nodes, which tests hold.
//! - *Pairs*: a sum, difference or product of float64 that only one other such node takes is computed in its loop.
//!
//! All only look at what the nodes are, so every worker fuses the same, and it would not matter if not.

use super::{Binary, Node, NodeId, Op, Outcome, Program};
use crate::{DType, Operation};

/// What a step does, as far as registers do not matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// What the node says.
    Node(Op),
    /// All of an operation, of one value.
    Named(Operation),
    /// Two nodes of float64 in one loop.
    Pair(Pair),
}

/// Two nodes of float64: `second(first(a, b), c)`, or `second(c, first(a, b))`, or `first(a, b)` squared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    pub first: Arithmetic,
    pub second: Second,
}

impl Pair {
    /// Whether one of its operations is a division.
    pub fn divides(self) -> bool {
        self.first == Arithmetic::Div
            || matches!(self.second, Second::Left(Arithmetic::Div) | Second::Right(Arithmetic::Div))
    }
}

/// What comes second in a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Second {
    /// The first value is its left side, the third argument its right.
    Left(Arithmetic),
    /// The first value is its right side.
    Right(Arithmetic),
    /// The product of the first value with itself.
    Square,
}

/// What can be in a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
}

/// A node, or several in one. It stands where the last of them stood.
#[derive(Clone, Debug)]
pub struct Fused {
    pub work: Work,
    pub dtype: DType,
    pub args: Vec<NodeId>,
    pub guard: Option<NodeId>,
}

/// The nodes of a program, fused. Those that are part of others are there still, and nobody takes them.
pub fn fuse(program: &Program) -> Vec<Fused> {
    let plain = |node: &Node| Fused {
        work: Work::Node(node.op),
        dtype: node.dtype,
        args: node.args.clone(),
        guard: node.guard,
    };
    let mut fused: Vec<Fused> = program.nodes.iter().map(plain).collect();
    for operation in Operation::ALL {
        let template = operation.program();
        for (at, fused) in fused.iter_mut().enumerate() {
            if let Some(value) = is_operation(&program.nodes, at, &template) {
                *fused = Fused { work: Work::Named(operation), args: vec![value], guard: None, ..*fused };
            }
        }
    }
    pair_up(&mut fused, program);
    fused
}

/// Nodes that are kept.
pub fn kept(program: &Program) -> Vec<NodeId> {
    match &program.outcome {
        Outcome::Elements(node) => vec![*node],
        Outcome::Reductions(all) => all.iter().map(|(_, node)| *node).collect(),
    }
}

/// The value that a node applies an operation to, if it does.
fn is_operation(nodes: &[Node], at: usize, template: &Program) -> Option<NodeId> {
    let Outcome::Elements(root) = template.outcome else { return None };
    let mut value = None;
    is_like(nodes, at as NodeId, &template.nodes, root, &mut value).then_some(value?)
}

/// Whether what a node stands for is what one of a template stands for, on the value that is the template's input.
fn is_like(nodes: &[Node], at: NodeId, template: &[Node], like: NodeId, value: &mut Option<NodeId>) -> bool {
    let (node, wanted) = (&nodes[at as usize], &template[like as usize]);
    if node.dtype != wanted.dtype {
        return false;
    }
    if let Op::Input(_) = wanted.op {
        return *value.get_or_insert(at) == at;
    }
    let same =
        node.op == wanted.op && node.args.len() == wanted.args.len() && node.guard.is_some() == wanted.guard.is_some();
    let of = |node: &Node| -> Vec<NodeId> { node.args.iter().chain(&node.guard).copied().collect() };
    same && of(node).into_iter().zip(of(wanted)).all(|(at, like)| is_like(nodes, at, template, like, value))
}

/// How often each value is taken by nodes that are needed; more than any node can be, if it is kept.
fn times_taken(fused: &[Fused], program: &Program) -> Vec<u32> {
    const KEPT: u32 = 1 << 16;
    let mut taken = vec![0_u32; fused.len()];
    kept(program).into_iter().for_each(|node| taken[node as usize] = KEPT);
    for at in (0..fused.len()).rev() {
        if taken[at] == 0 {
            continue;
        }
        let Fused { args, guard, .. } = &fused[at];
        for arg in args.iter().chain(guard) {
            taken[*arg as usize] += 1;
        }
    }
    taken
}

fn pair_up(fused: &mut [Fused], program: &Program) {
    let mut taken = times_taken(fused, program);
    // From the end, so that of three in a row the last two make a pair.
    for at in (0..fused.len()).rev() {
        if taken[at] == 0 {
            continue; // it is part of a pair
        }
        if let Some((pair, part)) = pair(fused, &taken, at) {
            taken[part as usize] = 0;
            fused[at] = pair;
        }
    }
}

/// This node together with one that it takes; and which that is.
fn pair(fused: &[Fused], taken: &[u32], at: usize) -> Option<(Fused, NodeId)> {
    let second = arithmetic(&fused[at])?;
    let [left, right] = fused[at].args[..] else { return None };
    let first = |node: NodeId, times: u32| {
        let first = &fused[node as usize];
        let alone = taken[node as usize] == times;
        arithmetic(first).filter(|first| alone && *first != Arithmetic::Div).map(|arithmetic| (arithmetic, &first.args))
    };
    let (first, inner, second, third, part) = if left == right {
        let (arithmetic, inner) = first(left, 2).filter(|_| second == Arithmetic::Mul)?;
        (arithmetic, inner, Second::Square, None, left)
    } else {
        // With a constant the loop goes through two values, not three: so each term of a polynomial is added in its loop.
        let has_constant = |inner: &[NodeId]| inner.iter().any(|arg| is_constant(&fused[*arg as usize]));
        let of_right = first(right, 1);
        let right_is_lighter = of_right.is_some_and(|(_, inner)| has_constant(inner));
        match first(left, 1).filter(|(_, inner)| has_constant(inner) || !right_is_lighter) {
            Some((arithmetic, inner)) => (arithmetic, inner, Second::Left(second), Some(right), left),
            None => {
                let (arithmetic, inner) = of_right?;
                (arithmetic, inner, Second::Right(second), Some(left), right)
            }
        }
    };
    let args = inner.iter().copied().chain(third).collect();
    let fused = Fused { work: Work::Pair(Pair { first, second }), dtype: DType::Float64, args, guard: None };
    Some((fused, part))
}

fn is_constant(node: &Fused) -> bool {
    matches!(node.work, Work::Node(Op::Constant(_)))
}

fn arithmetic(node: &Fused) -> Option<Arithmetic> {
    match node.work {
        _ if node.dtype != DType::Float64 => None,
        Work::Node(Op::Binary(Binary::Add)) => Some(Arithmetic::Add),
        Work::Node(Op::Binary(Binary::Sub)) => Some(Arithmetic::Sub),
        Work::Node(Op::Binary(Binary::Mul)) => Some(Arithmetic::Mul),
        Work::Node(Op::Binary(Binary::Div)) => Some(Arithmetic::Div),
        _ => None,
    }
}
