//! Running a program over a piece of an array: chunk by chunk on the threads of a pool, block by block in each chunk.
//!
//! Chunks and blocks are counted from the beginning of the piece. A piece begins at a multiple of [`CHUNK`] elements of the array (a
//! segment does), so what is reduced is combined in the same order whatever the layout and the number of threads.

use super::compile::{Compiled, Reduced};
use super::fault::Fault;
use super::machine::{BLOCK, Block, Machine};
use super::register::Register;
use super::steps::generate;
use super::{INPUTS_MAX, Op, Program};
use crate::checksum::{self, Digest};
use crate::kernels::Build;
use crate::kernels::stream::settle;
use crate::reduction::{LEAF, Leaf, Partial, Tree, Values};
use crate::{Buffer, DType};
use rayon::prelude::*;
use std::fmt;

/// Elements that a thread takes at a time. Eight bytes of each in input and output fit the second-level cache of any CPU in use
/// (256 KiB and more), so a checksum is taken before they go to memory; and the 5 to 50 microseconds of work outweigh handing
/// them to another thread.
pub const CHUNK: usize = 8192;

/// The same of what is only reduced. Nobody goes through a chunk of it again, so it need not fit a cache, and what it costs beside its
/// elements, some 250 ns, is less of it.
pub(super) const REDUCED_CHUNK: usize = 4 * CHUNK;

/// Results of fewer bytes are written through the caches, where whoever reads them next finds them: the second-level cache of the CPUs
/// in use has 256 KiB to 2 MiB.
const STREAMED_BYTES_MIN: usize = 1 << 20;

// A block is a leaf of what is reduced, and each chunk has a tree of its own.
const _: () = assert!(BLOCK == LEAF && CHUNK.is_multiple_of(BLOCK) && (REDUCED_CHUNK / LEAF).is_power_of_two());

/// The bytes of an input.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The elements of the piece.
    pub bytes: &'a [u8],
    /// What the CRC-32C of these bytes must be, if that is to be checked while they are read.
    pub crc32c: Option<u32>,
}

/// An element that has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementError {
    /// Its place in the array.
    pub index: u64,
    /// Why.
    pub fault: Fault,
}

impl fmt::Display for ElementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "element {}: {}", self.index, self.fault)
    }
}

impl std::error::Error for ElementError {}

/// Why a run gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunError {
    /// The bytes of this input do not have their checksum.
    Broken(usize),
    /// An element has no value; the first one in this piece.
    Element(ElementError),
}

impl Program {
    /// Computes a piece: `len` elements from `start` on, into `output`, which may hold anything before. Gives the CRC-32C of the
    /// result's bytes.
    ///
    /// The work is shared by the rayon pool this is called on; [`CHUNK`] elements or less are computed by the caller's thread. The
    /// bits are the same either way.
    ///
    /// # Errors
    /// See [`RunError`]; the output means nothing then.
    ///
    /// # Panics
    /// If the program reduces, or lengths do not fit: whoever calls has checked that.
    pub fn apply_into<'a>(
        &'a self,
        sources: &'a [Source<'a>],
        start: u64,
        len: usize,
        output: &mut Buffer,
    ) -> Result<u32, RunError> {
        let dtype = self.output().expect("it gives elements");
        let compiled = self.compiled();
        let (piece, block) = (Piece::new(self, sources, start, len, CHUNK), compiled.block(self.inputs()));
        assert_eq!(output.len(), len * dtype.size(), "a result has as many elements as its input");
        let results = output.as_bytes_mut();
        let streams = compiled.is_bound_by_memory() && results.len() >= STREAMED_BYTES_MIN;
        let chunk =
            |(thread, result): &mut (Thread<'a>, Register), at: usize, results: &mut [u8]| match compiled.generator() {
                Some(op) if streams => Ok(piece.generate_past_caches(at, (op, dtype), result, results)),
                _ if streams => piece.apply_past_caches(at, thread, block, (result, dtype), results),
                _ => piece.apply_through_caches(at, thread, block, dtype, results),
            };
        let new = || (Thread::new(compiled), Register::new(compiled.registers));
        let checked: Checked = if len <= CHUNK {
            chunk(&mut new(), 0, results).map_err(|error| piece.blame(error))?
        } else {
            let chunks = results.par_chunks_mut(CHUNK * dtype.size()).enumerate();
            let all: Vec<_> = chunks.map_init(new, |machine, (at, results)| chunk(machine, at, results)).collect();
            piece.joined(all, dtype.size())?
        };
        piece.compare(&checked)?;
        Ok(checked.output)
    }

    /// What the program's reductions make of a piece: `len` elements from `start` on.
    ///
    /// # Errors
    /// See [`RunError`].
    ///
    /// # Panics
    /// If the program gives elements, or lengths do not fit: whoever calls has checked that.
    pub fn reduce<'a>(&'a self, sources: &'a [Source<'a>], start: u64, len: usize) -> Result<Vec<Partial>, RunError> {
        let compiled = self.compiled();
        assert!(!compiled.reductions.is_empty(), "it reduces");
        let piece = Piece::new(self, sources, start, len, REDUCED_CHUNK);
        let trees = || -> Vec<Tree> {
            let all =
                compiled.reduced.iter().flat_map(|value| value.reducers.iter().map(|reducer| (*reducer, value.dtype)));
            all.map(|(reducer, dtype)| Tree::new(reducer, dtype)).collect()
        };
        let chunk = |(thread, trees): &mut (Thread<'a>, Vec<Tree>), at: usize| {
            let checked = piece.chunk(at, thread, LEAF, |machine, block, _| {
                machine.run(block, &mut [])?;
                let mut trees = trees.iter_mut();
                for Reduced { place, dtype, reducers } in &compiled.reduced {
                    let values = Values::of(*dtype, machine.value(*place, *dtype, block));
                    let mut leaf = Leaf::new(Build::best(), block.start, values);
                    reducers.iter().zip(&mut trees).for_each(|(reducer, tree)| tree.push(&leaf.partial(*reducer)));
                }
                Ok(())
            });
            let partials: Vec<Partial> = trees.iter_mut().map(Tree::take).collect();
            Ok((checked?, partials))
        };
        let new = || (Thread::new(compiled), trees());
        let chunks = len.div_ceil(REDUCED_CHUNK);
        let all: Vec<_> = match chunks {
            0 => Vec::new(),
            1 => vec![chunk(&mut new(), 0)],
            _ => (0..chunks).into_par_iter().map_init(new, chunk).collect(),
        };
        let mut whole = trees();
        let mut checked = Vec::with_capacity(chunks);
        for chunk in all {
            checked.push(chunk.map(|(checked, partials)| {
                whole.iter_mut().zip(partials).for_each(|(tree, partial)| tree.push(&partial));
                checked
            }));
        }
        piece.compare(&piece.joined(checked, 0)?)?;
        let partials: Vec<Partial> = whole.into_iter().map(Tree::finish).collect();
        Ok(compiled.reductions.iter().map(|(reducer, at)| partials[*at].with_reducer(*reducer)).collect())
    }
}

/// What a thread computes with, one chunk after the other.
struct Thread<'a> {
    machine: Machine<'a>,
    /// Of each input, as far as this chunk was read.
    digests: Vec<Digest>,
    /// The bytes of each input in the block that is read, and in the one after it.
    block: Vec<&'a [u8]>,
    next: Vec<&'a [u8]>,
}

impl<'a> Thread<'a> {
    fn new(compiled: &'a Compiled) -> Thread<'a> {
        let machine = Machine::new(compiled, Build::best());
        Thread { machine, digests: Vec::new(), block: Vec::new(), next: Vec::new() }
    }
}

/// CRC-32C of what was read and of what was made.
#[derive(Clone, Copy)]
struct Checked {
    inputs: [u32; INPUTS_MAX],
    output: u32,
}

/// What a run goes over.
struct Piece<'a> {
    dtypes: &'a [DType],
    sources: &'a [Source<'a>],
    start: u64,
    len: usize,
    /// Elements of a chunk.
    chunk: usize,
}

impl<'a> Piece<'a> {
    fn new(program: &'a Program, sources: &'a [Source<'a>], start: u64, len: usize, chunk: usize) -> Piece<'a> {
        let dtypes = program.inputs();
        assert_eq!(sources.len(), dtypes.len(), "as many sources as inputs");
        for (source, dtype) in sources.iter().zip(dtypes) {
            assert_eq!(source.bytes.len(), len * dtype.size(), "every input has {len} elements");
        }
        Piece { dtypes, sources, start, len, chunk }
    }

    /// Elements of this chunk.
    fn chunk_len(&self, at: usize) -> usize {
        self.chunk.min(self.len - at * self.chunk)
    }

    /// The bytes of an input from an element of this piece on.
    fn bytes(&self, input: usize, from: usize, len: usize) -> &'a [u8] {
        let size = self.dtypes[input].size();
        &self.sources[input].bytes[from * size..][..len * size]
    }

    /// Computes a chunk into `results`.
    fn apply_through_caches(
        &self,
        at: usize,
        thread: &mut Thread<'a>,
        block_len: usize,
        dtype: DType,
        results: &mut [u8],
    ) -> Result<Checked, RunError> {
        let checked = self.chunk(at, thread, block_len, |machine, block, from| {
            machine.run(block, &mut results[from * dtype.size()..][..block.len * dtype.size()])
        })?;
        Ok(Checked { output: checksum::crc32c(results), ..checked })
    }

    /// The same by way of `result`, from where each block is copied.
    fn apply_past_caches(
        &self,
        at: usize,
        thread: &mut Thread<'a>,
        block_len: usize,
        (result, dtype): (&mut Register, DType),
        results: &mut [u8],
    ) -> Result<Checked, RunError> {
        let mut output = Digest::default();
        let checked = self.chunk(at, thread, block_len, |machine, block, from| {
            let made = result.bytes_mut(block.len * dtype.size());
            machine.run(block, made)?;
            output.copy_past_caches(&mut results[from * dtype.size()..][..made.len()], made);
            Ok(())
        });
        settle();
        Ok(Checked { output: output.finish(), ..checked? })
    }

    /// The same for a program that only generates.
    ///
    /// A core keeps about a hundred lines on their way to memory, in order with all else that it writes. Where blocks are read, those of
    /// the block before go meanwhile; here whoever writes the next block would wait for them, unless there are fewer at a time.
    fn generate_past_caches(
        &self,
        at: usize,
        (op, dtype): (Op, DType),
        result: &mut Register,
        results: &mut [u8],
    ) -> Checked {
        const LEN: usize = BLOCK / 2;
        let mut output = Digest::default();
        let starts = (self.start + (at * self.chunk) as u64..).step_by(LEN);
        for (start, results) in starts.zip(results.chunks_mut(LEN * dtype.size())) {
            let made = result.bytes_mut(results.len());
            generate(op, dtype, start, made);
            output.copy_past_caches(results, made);
        }
        settle();
        Checked { inputs: [0; INPUTS_MAX], output: output.finish() }
    }

    /// Goes through the blocks of a chunk, of so many elements each: `each` gets the machine, the block, and the place of its first
    /// element in the chunk.
    fn chunk(
        &self,
        at: usize,
        Thread { machine, digests, block, next }: &mut Thread<'a>,
        block_len: usize,
        mut each: impl FnMut(&mut Machine, &Block<'_>, usize) -> Result<(), (usize, Fault)>,
    ) -> Result<Checked, RunError> {
        let len = self.chunk_len(at);
        digests.clear();
        digests.resize(self.sources.len(), Digest::default());
        let block_at = |from: usize| {
            (0..self.sources.len()).map(move |input| self.bytes(input, from, block_len.min(self.len - from)))
        };
        next.clear();
        next.extend(block_at(at * self.chunk));
        for from in (0..len).step_by(block_len) {
            let (first, len) = (at * self.chunk + from, block_len.min(len - from));
            std::mem::swap(block, next);
            next.clear();
            next.extend(block_at(first + len));
            // The checksum brings a block into the first-level cache, where it is computed on, and the next one nearer.
            for (((digest, source), bytes), next) in digests.iter_mut().zip(self.sources).zip(&*block).zip(&*next) {
                if source.crc32c.is_some() {
                    digest.read(bytes, next);
                }
            }
            let block = Block { start: self.start + first as u64, len, inputs: block, next };
            let failed = |(at, fault)| RunError::Element(ElementError { index: block.start + at as u64, fault });
            each(machine, &block, from).map_err(failed)?;
        }
        let mut checked = Checked { inputs: [0; INPUTS_MAX], output: 0 };
        checked.inputs.iter_mut().zip(digests).for_each(|(crc32c, digest)| *crc32c = digest.finish());
        Ok(checked)
    }

    /// The checksums of all chunks, in order; what the error of the first chunk that has one is due to.
    fn joined(&self, chunks: Vec<Result<Checked, RunError>>, output_size: usize) -> Result<Checked, RunError> {
        let mut all = Checked { inputs: [0; INPUTS_MAX], output: 0 };
        for (at, chunk) in chunks.into_iter().enumerate() {
            let (chunk, len) = (chunk.map_err(|error| self.blame(error))?, self.chunk_len(at) as u64);
            for ((all, next), dtype) in all.inputs.iter_mut().zip(chunk.inputs).zip(self.dtypes) {
                *all = checksum::combine(*all, next, len * dtype.size() as u64);
            }
            all.output = checksum::combine(all.output, chunk.output, len * output_size as u64);
        }
        Ok(all)
    }

    /// What an error is due to: an element that has no value may have had one before its bytes broke.
    fn blame(&self, error: RunError) -> RunError {
        let mut checked = Checked { inputs: [0; INPUTS_MAX], output: 0 };
        for (found, source) in checked.inputs.iter_mut().zip(self.sources) {
            *found = source.crc32c.map_or(0, |_| checksum::crc32c(source.bytes));
        }
        self.compare(&checked).err().unwrap_or(error)
    }

    /// Whether every input had the bytes it should have.
    fn compare(&self, checked: &Checked) -> Result<(), RunError> {
        let is_broken = |(source, found): (&Source<'_>, &u32)| source.crc32c.is_some_and(|crc32c| crc32c != *found);
        match self.sources.iter().zip(&checked.inputs).position(is_broken) {
            Some(input) => Err(RunError::Broken(input)),
            None => Ok(()),
        }
    }
}
