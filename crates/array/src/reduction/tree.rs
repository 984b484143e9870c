//! The fixed binary tree in which partials are merged.

use super::{LEAF, Partial, Reducer, Values};
use crate::DType;
use crate::kernels::Build;

/// Merges partials in a binary tree over their position, in the memory of one path through it.
///
/// It is a binary counter: after n pushes there is one perfect subtree for each bit of n, and a push merges as many as a carry
/// goes through. What is left at the end is merged from the right.
#[derive(Clone, Debug)]
pub struct Tree {
    empty: Partial,
    /// Of perfect subtrees, each with fewer leaves than the one before.
    subtrees: Vec<Partial>,
    pushed: u64,
}

impl Tree {
    /// The tree of no elements of this dtype.
    ///
    /// # Panics
    /// If the dtype is not computed on.
    pub fn new(reducer: Reducer, dtype: DType) -> Tree {
        Tree { empty: Partial::empty(reducer, dtype), subtrees: Vec::new(), pushed: 0 }
    }

    /// Adds what is known of the elements directly behind those so far: of a leaf, or of as many leaves as each before, a power
    /// of two. Only the last may be of fewer.
    ///
    /// # Panics
    /// If it is of another reducer or dtype.
    pub fn push(&mut self, partial: &Partial) {
        self.empty.assert_like(partial);
        let carries = self.pushed.trailing_ones();
        self.pushed += 1;
        let Some(last) = self.subtrees.last_mut().filter(|_| carries > 0) else {
            return self.subtrees.push(*partial);
        };
        last.merge(partial);
        for _ in 1..carries {
            self.merge_last();
        }
    }

    fn merge_last(&mut self) {
        let [.., earlier, last] = &mut self.subtrees[..] else { unreachable!("a subtree for each bit of the pushes") };
        earlier.merge(last);
        self.subtrees.pop();
    }

    /// Adds the elements directly behind those so far, leaf by leaf. `first_index` is the first one's in the array.
    ///
    /// # Panics
    /// If they are of another dtype.
    pub fn push_leaves(&mut self, build: Build, first_index: u64, values: Values<'_>) {
        let (mut index, mut rest) = (first_index, values);
        while !rest.is_empty() {
            let (leaf, behind) = rest.split_leaf();
            self.push(&Partial::of(self.empty.reducer(), build, index, leaf));
            (index, rest) = (index + LEAF as u64, behind);
        }
    }

    /// What is known of all of them; the empty partial if there are none.
    pub fn finish(mut self) -> Partial {
        self.take()
    }

    /// The same, and begins anew.
    pub fn take(&mut self) -> Partial {
        self.pushed = 0;
        while self.subtrees.len() > 1 {
            self.merge_last();
        }
        self.subtrees.pop().unwrap_or(self.empty)
    }
}
