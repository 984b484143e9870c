//! [`Original`]: a master of level 1, the original system's protocol, and what can be done with it.
//!
//! - `exchange`: one request on a connection of its own, with a deadline.
//! - `reply`: what a reply means, or that there is none.
//! - [`find`]: whether a master speaks level 2.
//!
//! Original masters promise little, so little is taken on trust: a reply must be about what was asked, and a result must be as
//! long as the array, where this process has stored it.

mod exchange;
pub mod find;
mod reply;

use crate::cancel::Cancel;
use crate::cluster::{CONNECT_TIMEOUT, TIMEOUT_MAX};
use crate::error::Error;
use array::DType;
use exchange::{NoReply, exchange};
use protocol::level1::{Answer, LineWriter, data_type, to_int32};
use protocol::limits::REQUEST_TIMEOUT_DEFAULT;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// An array that nobody has: what a master says about it tells what kind of master it is.
const NOBODYS_ARRAY: &str = "darray-which-level";

/// A master that is spoken with on level 1: one of the original system, or one of ours.
///
/// Each call is one connection with one request, and ends by its deadline, which is that of [`Original::with_timeout`].
/// Until then it waits for a master that cannot be reached; a request that was sent is never sent again. There is no
/// waiting for an operation but [`Original::get`], no name but the array's, and no array but in one dimension, of int32
/// or float64.
///
/// ```no_run
/// # fn main() -> Result<(), client::Error> {
/// let master = client::Original::new("127.0.0.1:5000");
/// master.create_ints("a", &[3, 4, 500])?;
/// master.apply("a", "example2")?;
/// let values = master.get_ints("a")?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Original {
    address: String,
    timeout: Duration,
    cancel: Cancel,
    created: Arc<Mutex<BTreeMap<String, Created>>>,
}

/// What this process has stored under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// The type of the elements.
    pub dtype: DType,
    /// How many there are.
    pub len: u64,
}

impl Original {
    /// The master at `HOST:PORT`. Nothing is dialled before the first call.
    pub fn new(address: &str) -> Original {
        Original {
            address: address.to_string(),
            timeout: REQUEST_TIMEOUT_DEFAULT,
            cancel: Cancel::default(),
            created: Arc::default(),
        }
    }

    /// The same master, with another deadline for each call; without it that is 120 seconds.
    pub fn with_timeout(&self, timeout: Duration) -> Original {
        Original { timeout: timeout.min(TIMEOUT_MAX), ..self.clone() }
    }

    /// The same master, with calls that `cancel` ends.
    pub fn with_cancel(&self, cancel: &Cancel) -> Original {
        Original { cancel: cancel.clone(), ..self.clone() }
    }

    /// Where it is.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The names under which this process has stored arrays there.
    pub fn created_names(&self) -> Vec<String> {
        self.memory().keys().cloned().collect()
    }

    /// What this process has stored there under a name. Others may have replaced it since.
    pub fn created(&self, name: &str) -> Option<Created> {
        self.memory().get(name).copied()
    }

    /// Asks whether it is there, no longer than the usual time to find a master.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when it does not answer.
    pub fn ping(&self) -> Result<(), Error> {
        match self.with_timeout(self.timeout.min(CONNECT_TIMEOUT)).ask() {
            Ok(_) => Ok(()),
            Err(none) => {
                let (doing, why) = (format!("connecting to {}", self.address), none.to_string());
                Err(Error::Unreachable { doing, why })
            }
        }
    }

    /// Stores int32 values under a name, in place of what it stood for.
    ///
    /// # Errors
    /// Refused by a master of ours. An original one that cannot store it does not reply: [`Error::Protocol`] when it
    /// closes the connection, [`Error::DeadlineExceeded`] when it leaves it open.
    pub fn create_ints(&self, name: &str, values: &[i32]) -> Result<(), Error> {
        self.create(name, DType::Int32, values.len(), |line| line.ints("values", values))
    }

    /// Stores float64 values under a name, in place of what it stood for.
    ///
    /// # Errors
    /// As [`Original::create_ints`].
    pub fn create_doubles(&self, name: &str, values: &[f64]) -> Result<(), Error> {
        self.create(name, DType::Float64, values.len(), |line| line.doubles("values", values))
    }

    fn create(
        &self,
        name: &str,
        dtype: DType,
        len: usize,
        values: impl FnOnce(LineWriter) -> LineWriter,
    ) -> Result<(), Error> {
        let data_type = data_type(dtype).expect("level 1 has int32 and float64");
        let line = values(request("CREATE_ARRAY", name).text("dataType", data_type));
        self.call(&format!("storing '{name}'"), line, "created", name)?;
        self.memory().insert(name.to_string(), Created { dtype, len: len as u64 });
        Ok(())
    }

    /// Has an operation begin. That it has is all there is to know; the result comes by [`Original::get`].
    ///
    /// # Errors
    /// Refused by a master of ours; an original one accepts whatever it is.
    pub fn apply(&self, name: &str, operation: &str) -> Result<(), Error> {
        let line = request("APPLY_OPERATION", name).text("operation", operation);
        self.call(&format!("applying {operation} to '{name}'"), line, "processing", name).map(|_| ())
    }

    /// The result of the newest operation on an array, when it is complete. Level 1 does not tell ints from doubles.
    ///
    /// # Errors
    /// Refused with `UnknownArray` when there is no operation on such an array, and with `Unsupported` by a Python
    /// master, which gives no results. [`Error::Protocol`] when it is shorter than what this process has stored.
    pub fn get(&self, name: &str) -> Result<Vec<f64>, Error> {
        let doing = format!("reading '{name}'");
        let answer = self.call(&doing, request("GET_RESULT", name), "complete", name)?;
        let values = reply::elements(&doing, answer)?;
        reply::check_length(&doing, values.len() as u64, self.created(name))?;
        Ok(values)
    }

    /// As [`Original::get`], of an array of int32.
    ///
    /// # Errors
    /// As [`Original::get`]; and refused with `TypeMismatch` when there is a value that is no int32.
    pub fn get_ints(&self, name: &str) -> Result<Vec<i32>, Error> {
        to_int32(&self.get(name)?).map_err(Error::Refused)
    }

    /// Asks for what nobody has, to see who answers.
    fn ask(&self) -> Result<Answer, NoReply> {
        self.send(request("GET_RESULT", NOBODYS_ARRAY))
    }

    fn send(&self, line: LineWriter) -> Result<Answer, NoReply> {
        exchange(&self.address, line.finish(), self.timeout, &self.cancel)
    }

    /// One request about an array, and the reply if it has this status.
    fn call(&self, doing: &str, line: LineWriter, status: &str, name: &str) -> Result<Answer, Error> {
        let result = self.send(line).map_err(|none| none.into_error(doing));
        match result.and_then(|answer| reply::expect(doing, answer, status, name)) {
            // After a cancellation that is the reason, whatever it led to.
            Err(_) if self.cancel.is_cancelled() => Err(Error::Cancelled { doing: doing.to_string() }),
            result => result,
        }
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<String, Created>> {
        self.created.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(kind: &str, name: &str) -> LineWriter {
    LineWriter::new(kind, "client", "master").text("arrayId", name)
}
