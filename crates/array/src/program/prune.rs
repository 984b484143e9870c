//! Leaving out what nobody needs.

use super::fuse::kept;
use super::{Node, NodeId, Op, Outcome, Program};

impl Program {
    /// The same program without nodes that nothing kept depends on, and without inputs that it does not read; and the numbers that the
    /// inputs that are left had. The first input stays, as it tells how many elements there are.
    pub fn pruned(self) -> (Program, Vec<usize>) {
        let mut needed = vec![false; self.nodes.len()];
        kept(&self).into_iter().for_each(|node| needed[node as usize] = true);
        for at in (0..self.nodes.len()).rev() {
            if needed[at] {
                let node = &self.nodes[at];
                node.args.iter().chain(&node.guard).for_each(|arg| needed[*arg as usize] = true);
            }
        }
        let is_read = |input: &usize| {
            let reads = |(node, needed): (&Node, &bool)| *needed && node.op == Op::Input(*input as u32);
            *input == 0 || self.nodes.iter().zip(&needed).any(reads)
        };
        let inputs: Vec<usize> = (0..self.inputs.len()).filter(is_read).collect();
        let mut places: Vec<NodeId> = Vec::with_capacity(self.nodes.len());
        let mut nodes = Vec::new();
        for (mut node, needed) in self.nodes.into_iter().zip(needed) {
            places.push(nodes.len() as NodeId);
            if !needed {
                continue;
            }
            node.args.iter_mut().chain(&mut node.guard).for_each(|arg| *arg = places[*arg as usize]);
            if let Op::Input(input) = &mut node.op {
                *input = inputs.binary_search(&(*input as usize)).expect("it is read") as u32;
            }
            nodes.push(node);
        }
        let place = |node: NodeId| places[node as usize];
        let outcome = match self.outcome {
            Outcome::Elements(node) => Outcome::Elements(place(node)),
            Outcome::Reductions(all) => {
                Outcome::Reductions(all.into_iter().map(|(r, node)| (r, place(node))).collect())
            }
        };
        let kept = inputs.iter().map(|input| self.inputs[*input]).collect();
        let program = Program { named: self.named, ..Program::new(kept, nodes, outcome) };
        (program, inputs)
    }
}
