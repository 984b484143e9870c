//! Computing: operations, reductions, generated arrays.

use super::Cluster;
use crate::error::Error;
use array::{DType, Element, Scalar};
use protocol::id::request_name;
use protocol::message::client::*;
use protocol::{Body, Message, PayloadKind, VersionId};
use std::borrow::Cow;

/// Seeds that are chosen here stay below 2^53, so that every JSON reader keeps them.
const SEED_BITS: u32 = 53;

/// Characters that are shown of an expression where it is only mentioned.
const SHORT: usize = 48;

/// How to apply an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyOptions {
    /// The array that the result shall become. Without it, the result becomes the unnamed result of the array.
    pub into: Option<String>,
    /// Whether `into` may take the place of an array of that name.
    pub replace: bool,
    /// Answer as soon as the operation has begun.
    pub no_wait: bool,
}

impl Cluster {
    /// Applies an operation to an array, or to the version of a handle, and waits for the result. The operation is an expression
    /// of `x`, the array, and of other arrays by name ([`array::expression`]), or has a name of its own. The array stays as it is;
    /// the answer names the result's handle.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), client::Error> {
    /// # let cluster = client::Cluster::connect("127.0.0.1:5000")?;
    /// let done = cluster.apply("a", "where(x > 0, sqrt(x), 0) + b")?;
    /// let roots: Vec<f64> = cluster.get(&done.handle)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Refused with [`protocol::ErrorCode::BadExpression`], of which `column` says where, [`protocol::ErrorCode::BadElement`],
    /// [`protocol::ErrorCode::TypeMismatch`], [`protocol::ErrorCode::SegmentsLost`], and others.
    pub fn apply(&self, name: &str, operation: &str) -> Result<OperationComplete, Error> {
        self.apply_with(name, operation, &ApplyOptions::default())
    }

    /// Applies an operation, with options.
    ///
    /// # Errors
    /// As [`Cluster::apply`].
    pub fn apply_with(&self, name: &str, operation: &str, options: &ApplyOptions) -> Result<OperationComplete, Error> {
        let request = ApplyOperation {
            array_id: name.to_string(),
            operation: operation.to_string(),
            into: options.into.clone(),
            replace: options.replace,
            no_wait: options.no_wait,
            inline: false,
        };
        ask!(self, format!("applying {} to '{name}'", shortened(operation)), request, OperationComplete)
    }

    /// Applies an operation, and reads its result. A small one comes with the answer; of a larger one, another client's result
    /// may have taken the place before it is read.
    ///
    /// # Errors
    /// As [`Cluster::apply`] and [`Cluster::get`].
    pub fn apply_and_get<T: Element>(&self, name: &str, operation: &str) -> Result<(OperationComplete, Vec<T>), Error> {
        let doing = format!("applying {} to '{name}'", shortened(operation));
        let (array_id, operation) = (name.to_string(), operation.to_string());
        let request = ApplyOperation { array_id, operation, into: None, replace: false, no_wait: false, inline: true };
        let Message { head, body, elements } = self.call_message(&doing, request)?;
        let Body::OperationComplete(done) = body else {
            return Err(Error::protocol(&doing, format!("an unexpected {}", body.kind())));
        };
        let values = match (head.payload.map(|payload| payload.kind), elements) {
            (Some(PayloadKind::Elements(dtype)), Some(_)) if dtype != T::DTYPE => {
                return Err(Error::WrongDType { array: done.handle, found: dtype, wanted: T::DTYPE });
            }
            (_, Some(elements)) if elements.len().is_multiple_of(size_of::<T>()) => {
                bytemuck::pod_collect_to_vec(&elements)
            }
            _ => self.get(&done.handle)?,
        };
        Ok((done, values))
    }

    /// Makes one value, or several, of all elements of an array, or of the version of a handle: reductions of expressions of `x`,
    /// separated by commas. The elements are read once for all of them, and nothing is stored.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), client::Error> {
    /// # let cluster = client::Cluster::connect("127.0.0.1:5000")?;
    /// let done = cluster.reduce("a", "sum(sin(x)), max(x)")?;
    /// println!("{} of {} elements", done.values[0].value, done.elements);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Cluster::apply`], and refused with [`protocol::ErrorCode::BadElement`] when an array without elements has no such value.
    pub fn reduce(&self, name: &str, reductions: &str) -> Result<ReductionComplete, Error> {
        let doing = format!("reducing '{name}' to {}", shortened(reductions));
        let request = ReduceArray { array_id: name.to_string(), reductions: reductions.to_string() };
        ask!(self, doing, request, ReductionComplete)
    }

    /// Has the workers make an array from nothing, as NumPy would: `zeros(1000)`, `arange(0, 1, 0.001)`,
    /// `normal(0, 1, (1000, 1000))`. No element goes through this client.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), client::Error> {
    /// # let cluster = client::Cluster::connect("127.0.0.1:5000")?;
    /// let options = client::GenerateOptions { seed: Some(7), ..Default::default() };
    /// cluster.generate("noise", "normal(0, 1, 10000000)", &options)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Refused with [`protocol::ErrorCode::BadExpression`], [`protocol::ErrorCode::AlreadyExists`], [`protocol::ErrorCode::InsufficientMemory`], and others.
    pub fn generate(&self, name: &str, generator: &str, options: &GenerateOptions) -> Result<OperationComplete, Error> {
        let request = GenerateArray {
            array_id: name.to_string(),
            generator: generator.to_string(),
            dtype: options.dtype,
            seed: options.seed.unwrap_or_else(random_seed),
            replace: options.replace,
        };
        ask!(self, format!("making '{name}' of {}", shortened(generator)), request, OperationComplete)
    }

    /// What an operation or reductions would do to an array, and what that would take. Nothing is computed; an operation that
    /// would be refused is explained all the same, with the refusal.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), client::Error> {
    /// # let cluster = client::Cluster::connect("127.0.0.1:5000")?;
    /// let explanation = cluster.explain("a", "x * b")?;
    /// println!("{}\n{} bytes are read", explanation.steps.join("\n"), explanation.estimate.bytes_read);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Cluster::apply`], when the text means nothing.
    pub fn explain(&self, name: &str, operation: &str) -> Result<Explanation, Error> {
        let request = Explain { array_id: name.to_string(), operation: operation.to_string() };
        ask!(self, format!("explaining {} on '{name}'", shortened(operation)), request, Explanation)
    }

    /// Waits until an operation is complete.
    ///
    /// # Errors
    /// Refused with [`protocol::ErrorCode::UnknownOperationId`] when none of this number is running or remembered,
    /// [`protocol::ErrorCode::Cancelled`], and others.
    pub fn wait_operation(&self, operation: VersionId) -> Result<OperationComplete, Error> {
        ask!(self, format!("waiting for operation {}", operation.0), WaitOperation { operation }, OperationComplete)
    }

    /// Stops an operation. Whoever waits for it is told [`protocol::ErrorCode::Cancelled`].
    ///
    /// # Errors
    /// Refused with [`protocol::ErrorCode::UnknownOperationId`] when none of this number is running, and others.
    pub fn cancel_operation(&self, operation: VersionId) -> Result<(), Error> {
        ask!(self, format!("cancelling operation {}", operation.0), CancelOperation { operation }, Done).map(|_| ())
    }

    /// The running operations, oldest first.
    ///
    /// # Errors
    /// Only those that every call can end in.
    pub fn operations(&self) -> Result<Vec<OperationInfo>, Error> {
        ask!(self, "listing the operations", ListOperations {}, Operations).map(|reply| reply.operations)
    }

    /// The running operations that this client has asked for.
    ///
    /// # Errors
    /// Only those that every call can end in.
    pub fn own_operations(&self) -> Result<Vec<OperationInfo>, Error> {
        // The master names requests SESSION/NUMBER, with the part of the session that tells it from others.
        let name = request_name(self.session(), 0);
        let (session, _) = name.split_once('/').unwrap_or((&name, ""));
        let is_own = |operation: &OperationInfo| {
            operation.request.as_deref().and_then(|request| request.split_once('/')).is_some_and(|(s, _)| s == session)
        };
        Ok(self.operations()?.into_iter().filter(is_own).collect())
    }
}

/// How to make an array from nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerateOptions {
    /// The dtype of its elements. Without it, that which NumPy would choose.
    pub dtype: Option<DType>,
    /// Which random numbers; below 2^53. Without it, others each time.
    pub seed: Option<u64>,
    /// Whether it may take the place of an array of that name.
    pub replace: bool,
}

/// The value of a reduction as a number.
///
/// ```
/// use protocol::message::client::ReducedValue;
/// let text = "0.1".to_string();
/// let value = ReducedValue { reduction: "mean(x)".to_string(), dtype: array::DType::Float64, value: text };
/// assert_eq!(client::scalar(&value).unwrap(), array::Scalar::Float64(0.1));
/// ```
///
/// # Errors
/// [`Error::Protocol`] when its text is no value of its dtype, so the master is broken.
pub fn scalar(value: &ReducedValue) -> Result<Scalar, Error> {
    Scalar::parse(value.dtype, &value.value)
        .map_err(|e| Error::protocol(&format!("reading {}", shortened(&value.reduction)), e.to_string()))
}

/// A seed that nobody has chosen.
pub(crate) fn random_seed() -> u64 {
    uuid::Uuid::new_v4().as_u128() as u64 >> (u64::BITS - SEED_BITS)
}

/// The beginning of a text that may be long, for a sentence.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHORT) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
    }
}
