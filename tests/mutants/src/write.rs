//! Writes all changes of a file into it at once, each behind the question whether it is chosen.

use crate::find::{Kind, Place};
use std::collections::BTreeSet;
use std::ops::Range;

/// A change.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// From one on.
    pub number: usize,
    /// The file it is in, from the workspace's root.
    pub file: String,
    pub line: usize,
    pub function: String,
    pub says: String,
}

/// A file with its places, the first change of which has the number `first`.
pub struct Changed<'a> {
    pub source: &'a str,
    pub places: &'a [Place],
    pub first: usize,
    /// Changes that don't compile.
    pub left_out: &'a BTreeSet<usize>,
    out: String,
    /// Where each change is in what is written.
    written: Vec<(usize, Range<usize>)>,
}

impl<'a> Changed<'a> {
    pub fn new(source: &'a str, places: &'a [Place], first: usize, left_out: &'a BTreeSet<usize>) -> Changed<'a> {
        Changed { source, places, first, left_out, out: String::new(), written: Vec::new() }
    }

    /// The file with all its changes, and where they are.
    pub fn write(mut self) -> (String, Vec<(usize, Range<usize>)>) {
        let numbers: Vec<usize> = self
            .places
            .iter()
            .scan(self.first, |next, place| {
                let number = *next;
                *next += place.instead.len();
                Some(number)
            })
            .collect();
        let end = self.places.len();
        self.write_part(0..self.source.len(), 0..end, &numbers);
        (self.out, self.written)
    }

    /// Writes some bytes of the source with the places in them.
    fn write_part(&mut self, bytes: Range<usize>, places: Range<usize>, numbers: &[usize]) {
        let (mut at, mut next) = (bytes.start, places.start);
        while next < places.end {
            let place = &self.places[next];
            let inside = self.places[next + 1..places.end].iter().take_while(|p| p.bytes.end <= place.bytes.end);
            let behind = next + 1 + inside.take_while(|p| p.bytes.start < place.bytes.end).count();
            self.out.push_str(&self.source[at..place.bytes.start]);
            self.write_place(next, next + 1..behind, numbers);
            (at, next) = (place.bytes.end, behind);
        }
        self.out.push_str(&self.source[at..bytes.end]);
    }

    fn write_place(&mut self, place: usize, inside: Range<usize>, numbers: &[usize]) {
        let first = numbers[place];
        let place = &self.places[place];
        let live = (first..).zip(&place.instead).filter(|(number, _)| !self.left_out.contains(number));
        let live: Vec<(usize, &String)> = live.map(|(number, (other, _))| (number, other)).collect();
        for (number, other) in &live {
            let (before, after) = match place.kind {
                Kind::Expression => ("(if ", " { "),
                Kind::Body => ("if ", " { return "),
                Kind::Arm => (" if !", ""),
            };
            // One parenthesis around all of them.
            let before = if place.kind == Kind::Expression && *number != live[0].0 { "if " } else { before };
            self.out.push_str(&format!("{before}planted::is_mutant({number}){after}"));
            let begins = self.out.len();
            self.out.push_str(other);
            self.written.push((*number, begins..self.out.len()));
            self.out.push_str(match place.kind {
                Kind::Expression => " } else ",
                Kind::Body => "; } ",
                Kind::Arm => "",
            });
        }
        let is_wrapped = place.kind == Kind::Expression && !live.is_empty();
        self.out.push_str(if is_wrapped { "{ " } else { "" });
        self.write_part(place.bytes.clone(), inside, numbers);
        self.out.push_str(if is_wrapped { " })" } else { "" });
    }
}
