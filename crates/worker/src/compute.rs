//! A computation, from whoever asks for it to whoever does it, and back.

use crate::store::Segment;
use array::program::{ElementError, RunError, Source};
use array::reduction::Partial;
use array::{Buffer, BufferPool, Program};
use protocol::CopyId;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// One segment to compute.
#[derive(Clone, Debug)]
pub struct ComputeJob {
    /// Its number, for the answer.
    pub job: u64,
    /// What to compute.
    pub program: Arc<Program>,
    /// From what, one for each of the program's inputs.
    pub sources: Vec<Arc<Segment>>,
    /// What it will be.
    pub result: CopyId,
    /// Its elements, by their places in the array.
    pub elements: Range<u64>,
    /// Whether to check the sources' bytes while they are read.
    pub verify: bool,
    /// The client's request it serves.
    pub request: Option<String>,
}

/// What became of a [`ComputeJob`].
#[derive(Debug)]
pub struct Computed {
    /// Its number.
    pub job: u64,
    /// How many elements it was to compute.
    pub elements: u64,
    /// The result.
    pub outcome: Result<Made, ComputeFailure>,
    /// How long it took.
    pub busy: Duration,
}

/// What a computation gives.
#[derive(Debug)]
pub enum Made {
    /// The elements of a segment, and their CRC-32C.
    Elements(Buffer, u32),
    /// What each reduction knows of a segment.
    Partials(Vec<Partial>),
}

/// Why a computation gave nothing.
#[derive(Clone, Debug)]
pub enum ComputeFailure {
    /// The source's bytes don't fit its checksum any more.
    SourceBroken(Arc<Segment>),
    /// An element has no value.
    Element(ElementError),
    /// The kernel panicked, with this message.
    Panicked(String),
}

impl ComputeJob {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        (self.elements.end - self.elements.start) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// Bytes of the result; 0 if it is reduced.
    pub fn output_bytes(&self) -> usize {
        self.len() * self.program.bytes_written() as usize
    }

    /// Says what became of it.
    pub fn ended(&self, outcome: Result<Made, ComputeFailure>, busy: Duration) -> Computed {
        Computed { job: self.job, elements: self.len() as u64, outcome, busy }
    }

    /// Computes it on the rayon pool this is called on, in a buffer of `buffers`; [`array::program::CHUNK`] elements or less on the
    /// caller's thread.
    ///
    /// # Errors
    /// A broken source, or an element without a value.
    pub fn run(&self, buffers: &BufferPool) -> Result<Made, ComputeFailure> {
        protocol::fault_point!(ComputeNotBegun);
        let is_checked = !planted::bug!(SourceNotChecked);
        let sources = self.sources.iter().map(|segment| Source {
            bytes: segment.buffer().as_bytes(),
            crc32c: (self.verify && is_checked).then_some(segment.record().crc32c()),
        });
        let sources: Vec<Source<'_>> = sources.collect();
        let failed = |error| match error {
            RunError::Broken(input) => ComputeFailure::SourceBroken(self.sources[input].clone()),
            // It ends the operation, so it is never believed of bytes that nobody has checked.
            RunError::Element(error) => match self.sources.iter().find(|source| is_checked && !source.is_intact()) {
                Some(broken) => ComputeFailure::SourceBroken(broken.clone()),
                None => ComputeFailure::Element(error),
            },
        };
        if self.program.output().is_none() {
            let partials = self.program.reduce(&sources, self.elements.start, self.len());
            return partials.map(Made::Partials).map_err(failed);
        }
        let mut output = buffers.take(self.output_bytes());
        let crc32c = self.program.apply_into(&sources, self.elements.start, self.len(), &mut output).map_err(failed)?;
        Ok(Made::Elements(output, crc32c))
    }
}

/// Bytes that computing so many elements goes through: of the largest of what is read and what is made.
pub fn bytes_gone_through(program: &Program, elements: u64) -> u64 {
    elements * program.bytes_read().max(program.bytes_written()).max(1)
}
