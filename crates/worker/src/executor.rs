//! Where computations are done: on one rayon pool, segments side by side and each segment split again inside; or
//! wherever else an [`Executor`] does them.

use crate::Serving;
use crate::agent::Event;
use crate::compute::{ComputeFailure, ComputeJob, Computed, bytes_gone_through};
use crate::cores::Cores;
use crate::driver::Events;
use crate::store::Segment;
use array::BufferPool;
use array::program::CHUNK;
use log::{debug, error, warn};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// Computations handed out at once, per thread: one that runs, and one so that no thread waits for the
/// driver.
const SLOTS_PER_THREAD: usize = 2;

/// Small jobs, of a [`CHUNK`] at most, that whoever asks for them does himself. The work takes some 10 us, as waking another thread does.
const AT_ONCE_MAX: usize = 4;

/// Small jobs that a thread of the pool does in one go, to be told of in one message.
const GROUP: usize = 8;

/// A computation that goes through no more bytes takes below half a millisecond: less than telling of it pays.
const MEDIUM_BYTES: u64 = 4 << 20;

/// Jobs of at most [`MEDIUM_BYTES`] that a thread does in one go; twice as many if it is the only one, as nobody else could take them.
const MEDIUM_GROUP: usize = 4;

/// Memory that whoever drops it gives back himself: that takes less time than waking a thread of the pool.
const FREED_AT_ONCE_BYTES: u64 = 1 << 20;

/// Somebody who computes for a worker.
pub trait Executor: Send + Sync {
    /// How many jobs it is given at a time.
    fn slots(&self) -> usize;

    /// Jobs that are given out beside those, whatever else there is to do: on at most so many elements.
    fn small_elements(&self) -> u64;

    /// Jobs of which it does several in one go: on at most so many bytes.
    fn medium_bytes(&self) -> u64;

    /// Begins computations, after those that were begun before, and does not wait for them. What came of each is told once:
    /// by [`Computations::ended`], or at once by what this returns.
    fn start(&self, jobs: Vec<ComputeJob>) -> Vec<Computed>;

    /// Frees memory beside the computations: giving back gigabytes takes longer than the driver may pause.
    fn free(&self, trash: Vec<Arc<Segment>>);
}

/// Where an [`Executor`] tells what came of its jobs.
#[derive(Clone)]
pub struct Computations(Events);

impl Computations {
    pub(crate) fn new(events: Events) -> Computations {
        Computations(events)
    }

    /// Tells what came of jobs.
    pub fn ended(&self, computed: Vec<Computed>) {
        self.0.tell(Event::Computed(computed)); // false: nobody needs it any more
    }
}

/// The kernels of this program on a pool of threads.
pub(crate) struct Pool {
    pool: rayon::ThreadPool,
    buffers: BufferPool,
    computations: Computations,
}

impl Pool {
    /// A pool of so many threads, each on its own of `cores`, with results in buffers from `buffers`.
    pub(crate) fn new(
        threads: usize,
        cores: Option<Cores>,
        buffers: BufferPool,
        computations: Computations,
    ) -> Result<Pool, rayon::ThreadPoolBuildError> {
        let name = |n| format!("compute-{n}");
        let pin = move |thread| {
            if let Some(Err(why)) = cores.as_ref().map(|cores| cores.pin(thread)) {
                warn!("{why}"); // it has lost the core since it began
            }
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).start_handler(pin).build()?;
        Ok(Pool { pool, buffers, computations })
    }

    /// Has jobs done on the pool, and told of together.
    fn spawn(&self, jobs: Vec<ComputeJob>) {
        let (computations, buffers) = (self.computations.clone(), self.buffers.clone());
        self.pool.spawn_fifo(move || {
            computations.ended(jobs.into_iter().map(|job| compute(job, &buffers)).collect());
        });
    }
}

fn is_small(job: &ComputeJob) -> bool {
    job.len() <= CHUNK
}

fn is_medium(job: &ComputeJob) -> bool {
    bytes_gone_through(&job.program, job.len() as u64) <= MEDIUM_BYTES
}

impl Executor for Pool {
    fn slots(&self) -> usize {
        self.pool.current_num_threads() * SLOTS_PER_THREAD
    }

    fn small_elements(&self) -> u64 {
        CHUNK as u64
    }

    fn medium_bytes(&self) -> u64 {
        MEDIUM_BYTES
    }

    /// Rayon's queue has no bound of its own, but the agent hands out only as many jobs as there are slots, and what the master may
    /// have under way of small ones.
    fn start(&self, jobs: Vec<ComputeJob>) -> Vec<Computed> {
        let (mut small, others): (Vec<_>, Vec<_>) = jobs.into_iter().partition(is_small);
        let (mut medium, large): (Vec<_>, Vec<_>) = others.into_iter().partition(is_medium);
        large.into_iter().for_each(|job| self.spawn(vec![job]));
        let group = if self.pool.current_num_threads() == 1 { 2 * MEDIUM_GROUP } else { MEDIUM_GROUP };
        while !medium.is_empty() {
            self.spawn(medium.drain(..group.min(medium.len())).collect());
        }
        if small.len() <= AT_ONCE_MAX {
            return small.into_iter().map(|job| compute(job, &self.buffers)).collect();
        }
        while !small.is_empty() {
            self.spawn(small.drain(..GROUP.min(small.len())).collect());
        }
        Vec::new()
    }

    fn free(&self, trash: Vec<Arc<Segment>>) {
        let bytes: u64 = trash.iter().map(|segment| segment.record().bytes()).sum();
        if bytes > FREED_AT_ONCE_BYTES {
            self.pool.spawn(move || drop(trash));
        }
    }
}

/// Computes one segment. `busy` is the time from its begin to its end on the thread that has begun it; while
/// the pool has other segments, that is about its share of the work.
fn compute(job: ComputeJob, buffers: &BufferPool) -> Computed {
    let begun = Instant::now();
    // A bug in a kernel costs one segment its result, not the cluster this worker's copies.
    let outcome = catch_unwind(AssertUnwindSafe(|| job.run(buffers))).unwrap_or_else(|panic| {
        let why = panic_message(panic);
        error!("{}{} panicked in '{}': {why}", Serving(&job.request), job.result, job.program);
        Err(ComputeFailure::Panicked(why))
    });
    let busy = begun.elapsed();
    debug!("{}computed {} in {busy:?}", Serving(&job.request), job.result);
    job.ended(outcome, busy)
}

fn panic_message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().map_or("no message".to_string(), |text| text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::Made;
    use array::{Buffer, DType, Operation, Program};
    use protocol::{CopyId, VersionId};

    fn compute(job: ComputeJob) -> Computed {
        super::compute(job, &BufferPool::new(1 << 20))
    }

    /// example2 of a segment.
    fn job(buffer: Buffer, verify: bool, crc32c: u32) -> ComputeJob {
        let elements = 0..buffer.len() as u64 / 4;
        // Bytes that are no int32 are those of something shorter.
        let dtype = if buffer.len().is_multiple_of(4) { DType::Int32 } else { DType::UInt8 };
        let source = Arc::new(Segment::new(CopyId(VersionId(1), 0), dtype, buffer, crc32c));
        let (program, result) = (Operation::Example2.program(), CopyId(VersionId(2), 0));
        ComputeJob { job: 7, program, sources: vec![source], result, elements, verify, request: None }
    }

    /// Tells a test.
    struct Told(crossbeam_channel::Sender<Event>);

    impl crate::driver::Listener for Told {
        fn tell(&self, event: Event) -> bool {
            self.0.send(event).is_ok()
        }
    }

    /// More than a chunk is shared by threads, and of those there are only the pool's, however few bytes it is.
    #[test]
    fn whoever_asks_computes_a_chunk_himself_and_no_more() {
        let (sender, told) = crossbeam_channel::bounded(1);
        let computations = Computations::new(Arc::new(Told(sender)));
        let pool = Pool::new(1, None, BufferPool::new(1 << 20), computations).unwrap();
        let program: Arc<Program> = Arc::new("bool: bool input 0; bool not 0; elements 1".parse().unwrap());
        let job = |elements: usize| {
            let (program, range) = (program.clone(), 0..elements as u64);
            ComputeJob { program, elements: range, ..job(Buffer::zeroed(elements), false, 0) }
        };
        assert_eq!(pool.start(vec![job(CHUNK)]).len(), 1);
        assert!(pool.start(vec![job(CHUNK + 1)]).is_empty());
        let Ok(Event::Computed(computed)) = told.recv() else { panic!("it is told") };
        assert!(matches!(computed[..], [Computed { job: 7, outcome: Ok(_), .. }]), "{computed:?}");
    }

    #[test]
    fn a_result_comes_with_its_checksum() {
        let computed = compute(job(Buffer::from_slice(&[3_i32, 4, -3]), false, 0));
        let Ok(Made::Elements(buffer, crc)) = computed.outcome else { panic!("{computed:?}") };
        assert_eq!(buffer.as_slice::<i32>(), [3, 4, 0]);
        assert_eq!(crc, array::checksum::crc32c(buffer.as_bytes()));
        assert_eq!(computed.job, 7);
    }

    #[test]
    fn a_broken_source_is_noticed_when_asked_for() {
        let data = || Buffer::from_slice(&[1_i32, 2]);
        let right = array::checksum::crc32c(data().as_bytes());
        assert!(compute(job(data(), true, right)).outcome.is_ok());
        let broken = compute(job(data(), true, right + 1));
        assert!(matches!(broken.outcome, Err(ComputeFailure::SourceBroken(_))));
    }

    /// An element without a value ends the operation; there may be one only because a bit has flipped.
    #[test]
    fn a_broken_source_is_noticed_where_an_element_has_no_value() {
        let data = || Buffer::from_slice(&[1_i32, 0]);
        let right = array::checksum::crc32c(data().as_bytes());
        let divide = |crc32c| {
            let program = "int32: int32 constant 7; int32 input 0; int32 floordiv 0 1; elements 2";
            let program = Arc::new(program.parse::<Program>().unwrap());
            compute(ComputeJob { program, ..job(data(), false, crc32c) }).outcome
        };
        assert!(matches!(divide(right), Err(ComputeFailure::Element(_))));
        assert!(matches!(divide(right + 1), Err(ComputeFailure::SourceBroken(_))));
    }

    #[test]
    fn a_panic_in_a_kernel_is_a_failed_segment() {
        // Three bytes are no int32, which the agent never lets come this far.
        let panicked = compute(job(Buffer::from_bytes(&[1, 2, 3]), false, 0));
        assert!(matches!(panicked.outcome, Err(ComputeFailure::Panicked(_))));
        assert_eq!(panic_message(Box::new("literal")), "literal");
        assert_eq!(panic_message(Box::new(format!("made {}", 1))), "made 1");
        assert_eq!(panic_message(Box::new(1)), "no message");
    }
}
