//! [`Cluster`]: what a program does with a cluster, one blocking method each.

use crate::cancel::Cancel;
use crate::connection::Control;
use crate::data::{Carried, DataPath, Pool};
use crate::download::{self, Layout};
use crate::error::Error;
use crate::transfer::{Destination, Link, Progress, run_download, run_upload};
use crate::upload::{self, length};
use array::memory::prefer_large_pages;
use array::{DType, Element};
use protocol::limits::REQUEST_TIMEOUT_DEFAULT;
use protocol::message::client::*;
use protocol::{Body, ErrorCode, Message, WireError};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How long [`Builder::connect`] tries to find a master. A master that is being restarted is back long before; without
/// any, nobody should have to wait for the deadline of a whole computation to hear of a wrong address.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A cluster, and what can be done with it.
///
/// Cheap to clone, and usable from many threads at once: they share one connection to the master, and the connections to the
/// workers. Every call ends by its deadline, which is [`Builder::timeout`] or that of [`Cluster::with_timeout`]. Until then it
/// survives what happens to the cluster: a master that is killed and restarted, workers that die. It reconnects, sends
/// unanswered requests again under the same number (the master carries out each once), and moves segments
/// by other workers. The caller sees a slower call, not an error.
///
/// ```no_run
/// # fn main() -> Result<(), client::Error> {
/// let cluster = client::Cluster::connect("127.0.0.1:5000")?;
/// cluster.create("a", &[1.0, 2.0, 3.0])?;
/// let done = cluster.apply("a", "example1")?;
/// let values: Vec<f64> = cluster.get(&done.handle)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
    timeout: Duration,
    cancel: Cancel,
}

struct Inner {
    control: Control,
    pool: Pool,
}

/// How to connect; made by [`Cluster::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) masters: Vec<String>,
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) path: DataPath,
}

impl Builder {
    /// The addresses of the masters: `HOST:PORT`, several separated by commas.
    pub fn masters(mut self, addresses: &str) -> Builder {
        self.masters = addresses.split(',').map(str::trim).filter(|a| !a.is_empty()).map(str::to_string).collect();
        self
    }

    /// The deadline of each call; 120 seconds if not set.
    pub fn timeout(mut self, timeout: Duration) -> Builder {
        self.timeout = timeout;
        self
    }

    /// How long [`Builder::connect`] tries to find a master; [`CONNECT_TIMEOUT`], or the timeout of the calls if that is
    /// shorter.
    pub fn connect_timeout(mut self, timeout: Duration) -> Builder {
        self.connect_timeout = timeout;
        self
    }

    /// Which way the bytes of arrays take; [`DataPath::Auto`] if not set.
    pub fn path(mut self, path: DataPath) -> Builder {
        self.path = path;
        self
    }

    /// Connects, and asks the cluster how it is.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when no master answers in time, [`Error::Refused`] when it does not speak our protocol.
    pub fn connect(self) -> Result<Cluster, Error> {
        self.connect_until(&Cancel::default())
    }

    /// As [`Builder::connect`]; `cancel` ends it, and means nothing to the cluster.
    pub(crate) fn connect_until(&self, cancel: &Cancel) -> Result<Cluster, Error> {
        if self.masters.is_empty() {
            let why = "no address was given; write HOST:PORT".to_string();
            return Err(Error::Unreachable { doing: "connecting".into(), why });
        }
        let doing = format!("connecting to {}", self.masters.join(", "));
        let control = Control::start(self.masters.clone(), uuid::Uuid::now_v7())
            .map_err(|e| Error::Io { doing: doing.clone(), source: Arc::new(e) })?;
        let inner = Arc::new(Inner { control, pool: Pool::new(self.path) });
        let timeout = self.connect_timeout.min(self.timeout);
        let cluster = Cluster { inner, timeout, cancel: cancel.clone() };
        cluster.call(&doing, Status {})?;
        Ok(cluster.with_timeout(self.timeout).with_cancel(&Cancel::default()))
    }
}

/// Asks the master, and takes the one reply that fits the request.
macro_rules! ask {
    ($cluster:expr, $doing:expr, $request:expr, $reply:ident) => {{
        let doing: &str = &$doing;
        match $cluster.call(doing, $request)? {
            Body::$reply(reply) => Ok(reply),
            other => Err(Error::protocol(doing, format!("an unexpected {}", other.kind()))),
        }
    }};
}

// Behind the macro, which it uses.
mod compute;

pub use compute::{ApplyOptions, GenerateOptions, scalar};
#[cfg(feature = "cli")]
pub(crate) use compute::{random_seed, shortened};

impl Cluster {
    /// Connects to a master at `HOST:PORT`; several addresses are separated by commas.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub fn connect(masters: &str) -> Result<Cluster, Error> {
        Cluster::builder().masters(masters).connect()
    }

    /// Connects with other deadlines.
    pub fn builder() -> Builder {
        let (timeout, connect_timeout) = (REQUEST_TIMEOUT_DEFAULT, CONNECT_TIMEOUT);
        Builder { masters: Vec::new(), timeout, connect_timeout, path: DataPath::default() }
    }

    /// The same cluster and connections, with another deadline for each call.
    pub fn with_timeout(&self, timeout: Duration) -> Cluster {
        Cluster { timeout, ..self.clone() }
    }

    /// The same cluster and connections, with calls that `cancel` ends.
    pub fn with_cancel(&self, cancel: &Cancel) -> Cluster {
        Cluster { cancel: cancel.clone(), ..self.clone() }
    }

    /// The name under which the master remembers this client's requests, for logs.
    pub fn session(&self) -> protocol::SessionId {
        self.inner.control.session()
    }

    /// Segments that this client has written and read so far, by the way their bytes took.
    pub fn carried(&self) -> Carried {
        self.inner.pool.carried()
    }

    // ---- storing ----

    /// Stores a one-dimensional array under a name that is free.
    ///
    /// # Errors
    /// Refused with [`ErrorCode::AlreadyExists`] when the name is taken, and others.
    pub fn create<T: Element>(&self, name: &str, values: &[T]) -> Result<ArrayCommitted, Error> {
        self.create_with(name, T::DTYPE, &[values.len() as u64], bytemuck::cast_slice(values), false)
    }

    /// Stores an array of any dtype and shape. `bytes` are its elements, little-endian, in C order; with `replace` it
    /// may take the place of an array of that name.
    ///
    /// # Errors
    /// [`Error::WrongLength`] when bytes and shape do not fit, and others.
    pub fn create_with(
        &self,
        name: &str,
        dtype: DType,
        shape: &[u64],
        bytes: &[u8],
        replace: bool,
    ) -> Result<ArrayCommitted, Error> {
        self.create_with_progress(name, dtype, shape, bytes, replace, &mut |_| ())
    }

    /// As [`Cluster::create_with`], and says how far it is whenever that changes.
    ///
    /// # Errors
    /// As [`Cluster::create_with`].
    pub fn create_with_progress(
        &self,
        name: &str,
        dtype: DType,
        shape: &[u64],
        bytes: &[u8],
        replace: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ArrayCommitted, Error> {
        check_length(name, dtype, shape, bytes)?;
        let request = upload::Request {
            name: name.to_string(),
            dtype,
            shape: shape.to_vec(),
            replace,
            deadline: self.deadline(),
        };
        let doing = || format!("storing '{name}'");
        run_upload(self.link(), request, bytes, progress).map_err(|e| self.error(e, doing))
    }

    // ---- reading ----

    /// Reads a name's newest result if there is one, else the array; or the version of a handle `NAME@vN`.
    ///
    /// # Errors
    /// [`Error::WrongDType`] when the elements are not `T`, and others.
    pub fn get<T: Element>(&self, name: &str) -> Result<Vec<T>, Error> {
        let mut values = Values(Vec::new());
        self.read(name, false, None, &mut values, &mut |_| ())?;
        Ok(values.0)
    }

    /// Reads elements `range` into `into`, which has their number, and says what they are from. A name stands for its
    /// newest result, or the array. After an error `into` may hold anything.
    ///
    /// # Errors
    /// [`Error::WrongLength`], [`Error::WrongDType`], and others.
    pub fn read_into<T: Element>(&self, name: &str, range: Range<u64>, into: &mut [T]) -> Result<Layout, Error> {
        let expected = range.end.saturating_sub(range.start);
        if into.len() as u64 != expected {
            let what = format!("elements {range:?} of '{name}' into a slice");
            return Err(Error::WrongLength { what, given: into.len() as u64, expected });
        }
        self.read(name, false, Some(range), &mut Slice(into), &mut |_| ())
    }

    /// Reads elements of any dtype, little-endian; all of them without `range`. With `array` a name stands for the array
    /// itself even if there is a result. Says how far it is whenever that changes.
    ///
    /// # Errors
    /// Refused with [`ErrorCode::UnknownArray`] or [`ErrorCode::SegmentsLost`], and others.
    pub fn read_bytes(
        &self,
        name: &str,
        array: bool,
        range: Option<Range<u64>>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Layout, Vec<u8>), Error> {
        let mut bytes = Bytes(Vec::new());
        let layout = self.read(name, array, range, &mut bytes, progress)?;
        Ok((layout, bytes.0))
    }

    /// What reading a name would give now: which version, its dtype and shape. It reads nothing.
    ///
    /// # Errors
    /// As [`Cluster::read_bytes`].
    pub fn describe(&self, name: &str, array: bool) -> Result<Layout, Error> {
        let nothing = Some(0..0);
        self.read(name, array, nothing, &mut Bytes(Vec::new()), &mut |_| ())
    }

    fn read(
        &self,
        name: &str,
        array: bool,
        range: Option<Range<u64>>,
        destination: &mut dyn Destination,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Layout, Error> {
        let range = range.map(|range| (range.start, range.end));
        let request = download::Request { name: name.to_string(), array, range, deadline: self.deadline() };
        let doing = || format!("reading '{name}'");
        run_download(self.link(), request, destination, progress).map_err(|e| self.error(e, doing))
    }

    // ---- looking and managing ----

    /// All arrays, by name.
    ///
    /// # Errors
    /// Only those that every call can end in.
    pub fn arrays(&self) -> Result<Vec<ArraySummary>, Error> {
        ask!(self, "listing the arrays", ListArrays {}, Arrays).map(|reply| reply.arrays)
    }

    /// One array with its versions, their segments and who holds them.
    ///
    /// # Errors
    /// Refused with [`ErrorCode::UnknownArray`], and others.
    pub fn array_info(&self, name: &str) -> Result<ArrayInfo, Error> {
        ask!(self, format!("describing '{name}'"), DescribeArray { array_id: name.to_string() }, ArrayInfo)
    }

    /// All workers the master knows, by id.
    ///
    /// # Errors
    /// Only those that every call can end in.
    pub fn workers(&self) -> Result<Vec<WorkerInfo>, Error> {
        ask!(self, "listing the workers", ListWorkers {}, Workers).map(|reply| reply.workers)
    }

    /// Waits until so many workers are alive.
    ///
    /// # Errors
    /// [`Error::DeadlineExceeded`], or refused with [`ErrorCode::DeadlineExceeded`], when they are not in time.
    pub fn wait_workers(&self, count: u32) -> Result<Vec<WorkerInfo>, Error> {
        ask!(self, format!("waiting for {count} workers"), WaitWorkers { count }, Workers).map(|reply| reply.workers)
    }

    /// How the cluster is.
    ///
    /// # Errors
    /// Only those that every call can end in.
    pub fn status(&self) -> Result<ClusterStatus, Error> {
        ask!(self, "asking for the status", Status {}, ClusterStatus)
    }

    /// What went wrong and how it was mended, oldest first.
    ///
    /// # Errors
    /// Only those that every call can end in.
    pub fn incidents(&self) -> Result<Vec<Incident>, Error> {
        ask!(self, "listing the incidents", ListIncidents {}, Incidents).map(|reply| reply.incidents)
    }

    /// Deletes an array and its result. The name is free at once; who is reading may finish.
    ///
    /// # Errors
    /// Refused with [`ErrorCode::UnknownArray`], and others.
    pub fn delete(&self, name: &str) -> Result<(), Error> {
        ask!(self, format!("deleting '{name}'"), DeleteArray { array_id: name.to_string() }, Done).map(|_| ())
    }

    /// Ends all workers and the master. What was only in memory is gone.
    ///
    /// # Errors
    /// Only those that every call can end in.
    pub fn shutdown(&self) -> Result<(), Error> {
        ask!(self, "shutting the cluster down", Shutdown {}, Done).map(|_| ())
    }

    fn call(&self, doing: &str, body: impl Into<Body>) -> Result<Body, Error> {
        self.call_message(doing, body).map(|message| message.body)
    }

    fn call_message(&self, doing: &str, body: impl Into<Body>) -> Result<Message, Error> {
        let result = self.inner.control.call(body.into(), self.deadline(), &self.cancel);
        result.map_err(|e| self.error(e.into_error(doing), || doing.to_string()))
    }

    /// The error a call ends in: after a cancellation that is the reason, whatever it led to.
    fn error(&self, error: Error, doing: impl FnOnce() -> String) -> Error {
        if self.cancel.is_cancelled() { Error::Cancelled { doing: doing() } } else { error }
    }

    fn link(&self) -> Link<'_> {
        Link { control: &self.inner.control, pool: &self.inner.pool, cancel: &self.cancel }
    }

    /// When a call that begins now ends.
    fn deadline(&self) -> Duration {
        self.inner.control.now().saturating_add(self.timeout.min(TIMEOUT_MAX))
    }
}

/// The longest deadline, so that no sum of times overflows: about a year is for ever here.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("session", &self.session()).field("timeout", &self.timeout).finish()
    }
}

fn check_length(name: &str, dtype: DType, shape: &[u64], bytes: &[u8]) -> Result<(), Error> {
    let given = bytes.len() as u64;
    let size = dtype.size() as u64;
    match length(shape) {
        Some(len) if len * size != given => {
            let what = format!("array '{name}' of {dtype} and shape {shape:?} from {given} bytes");
            Err(Error::WrongLength { what, given: given / size, expected: len })
        }
        // A shape that is too long is refused by the upload.
        _ => Ok(()),
    }
}

/// Room for `bytes` bytes, or a refusal in words: the numbers come from elsewhere, and may be larger than this machine.
fn grow<T: bytemuck::Pod>(values: &mut Vec<T>, layout: &Layout, size: u64) -> Result<(), Error> {
    let count = usize::try_from(layout.bytes() / size).unwrap_or(usize::MAX);
    if values.len() == count {
        return Ok(()); // the same again, after a change of plan
    }
    // Zeroes that the system provides when they are touched, which the threads that receive do side by side.
    *values = bytemuck::allocation::try_zeroed_vec(count).map_err(|()| {
        let sentence = format!(
            "{} bytes of '{}' do not fit into this machine's memory; read a range",
            layout.bytes(),
            layout.name
        );
        Error::Refused(WireError::new(ErrorCode::InsufficientMemory, sentence))
    })?;
    prefer_large_pages(bytemuck::cast_slice_mut(values));
    Ok(())
}

fn check_dtype<T: Element>(layout: &Layout) -> Result<(), Error> {
    match layout.dtype == T::DTYPE {
        true => Ok(()),
        false => Err(Error::WrongDType { array: layout.handle.clone(), found: layout.dtype, wanted: T::DTYPE }),
    }
}

/// Reads into values that are made for it.
struct Values<T>(Vec<T>);

impl<T: Element> Destination for Values<T> {
    fn prepare(&mut self, layout: &Layout) -> Result<&mut [u8], Error> {
        check_dtype::<T>(layout)?;
        grow(&mut self.0, layout, size_of::<T>() as u64)?;
        Ok(bytemuck::cast_slice_mut(&mut self.0))
    }
}

/// Reads into bytes that are made for it.
struct Bytes(Vec<u8>);

impl Destination for Bytes {
    fn prepare(&mut self, layout: &Layout) -> Result<&mut [u8], Error> {
        grow(&mut self.0, layout, 1)?;
        Ok(&mut self.0)
    }
}

/// Reads into the caller's slice, whose length has been checked against the range.
struct Slice<'a, T>(&'a mut [T]);

impl<T: Element> Destination for Slice<'_, T> {
    fn prepare(&mut self, layout: &Layout) -> Result<&mut [u8], Error> {
        check_dtype::<T>(layout)?;
        Ok(bytemuck::cast_slice_mut(self.0))
    }
}
