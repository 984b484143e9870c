//! The three requests of a level-1 client.

use crate::{Gateway, refusal};
use array::{DType, Element};
use client::{ApplyOptions, Cluster, Error, Layout};
use log::info;
use protocol::level1::{self, Body, ELEMENT_BYTES_MAX, LineWriter, to_int32};
use protocol::limits::REQUEST_TIMEOUT_DEFAULT;
use protocol::message::client::Source;
use protocol::{ErrorCode, WireError};
use std::time::{Duration, Instant};
use worker::store::Account;

/// Arrays of which the newest operation is remembered. Of others a GET_RESULT gives the newest result there is.
const OPERATIONS_MAX: usize = 10_000;

/// What a request may take beside the usual, for values that move this fast at least.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// Sizes of a buffer and of what it is made into: both exist at once, and both are paid for.
const INT_BYTES: u64 = size_of::<i32>() as u64;

impl Gateway {
    /// Answers a request of `peer`. `account` has the values that came with it.
    pub(crate) fn handle(&self, peer: &str, request: Body, account: &Account) -> Vec<u8> {
        let (array_id, answered) = match request {
            Body::CreateArray { array_id, data_type, values } => {
                let created =
                    checked(&array_id).and_then(|()| self.create(peer, &array_id, &data_type, &values, account));
                (array_id, created)
            }
            Body::ApplyOperation { array_id, operation } => {
                let accepted = checked(&array_id).and_then(|()| self.apply(peer, &array_id, &operation));
                (array_id, accepted)
            }
            Body::GetResult { array_id } => {
                let result = checked(&array_id).and_then(|()| self.result(peer, &array_id, account));
                (array_id, result)
            }
            _ => unreachable!("only requests come here"),
        };
        answered.unwrap_or_else(|error| refusal(peer, Some(&array_id), &error))
    }

    fn create(
        &self,
        peer: &str,
        array_id: &str,
        data_type: &str,
        values: &[f64],
        account: &Account,
    ) -> Result<Vec<u8>, WireError> {
        let dtype = level1::dtype(data_type)?;
        let elements = values.len() as u64;
        let cluster = self.cluster()?.with_timeout(timeout(8 * elements));
        let store = |bytes: &[u8]| cluster.create_with(array_id, dtype, &[elements], bytes, true);
        let created = match dtype {
            DType::Int32 => {
                account.try_set(elements * (8 + INT_BYTES))?;
                store(bytemuck::cast_slice(&to_int32(values)?))
            }
            _ => store(bytemuck::cast_slice(values)),
        };
        created.map_err(into_wire)?;
        self.operations.lock().expect("nobody panics while he has it").remove(array_id);
        info!("'{array_id}' with {elements} {data_type}s is stored for {peer} (level 1)");
        Ok(progress(peer, array_id, "created"))
    }

    fn apply(&self, peer: &str, array_id: &str, operation: &str) -> Result<Vec<u8>, WireError> {
        let options = ApplyOptions { no_wait: true, ..ApplyOptions::default() };
        let accepted = self.cluster()?.apply_with(array_id, operation, &options).map_err(into_wire)?;
        let mut operations = self.operations.lock().expect("nobody panics while he has it");
        operations.insert(array_id.to_string(), accepted.operation);
        if operations.len() > OPERATIONS_MAX
            && let Some(oldest) = operations.iter().min_by_key(|(_, id)| **id).map(|(name, _)| name.clone())
        {
            operations.remove(&oldest);
        }
        Ok(progress(peer, array_id, "processing"))
    }

    /// The result of the newest operation that was accepted before.
    fn result(&self, peer: &str, array_id: &str, account: &Account) -> Result<Vec<u8>, WireError> {
        let cluster = self.cluster()?;
        let array = cluster.describe(array_id, true).map_err(into_wire)?;
        let time = timeout(element_count(&array) * array.dtype.size() as u64);
        let (cluster, until) = (cluster.with_timeout(time), Instant::now() + time);
        let operation = self.operations.lock().expect("nobody panics while he has it").get(array_id).copied();
        if let Some(operation) = operation {
            match cluster.wait_operation(operation) {
                Ok(_) => {}
                // It ended so long ago that only its result is remembered.
                Err(Error::Refused(error)) if error.code == ErrorCode::UnknownOperationId => {}
                Err(error) => return Err(into_wire(error)),
            }
        }
        loop {
            match self.newest_result(&cluster, peer, array_id, account) {
                // A newer one has taken its place while it was read.
                Err(Unread::Replaced(_)) if !is_handle(array_id) && Instant::now() < until => {}
                Err(Unread::Replaced(error) | Unread::Refused(error)) => return Err(error),
                Ok(line) => return Ok(line),
            }
        }
    }

    fn newest_result(
        &self,
        cluster: &Cluster,
        peer: &str,
        array_id: &str,
        account: &Account,
    ) -> Result<Vec<u8>, Unread> {
        let layout = cluster.describe(array_id, false).map_err(into_wire)?;
        if layout.source == Source::Array && !is_handle(array_id) {
            let why = format!("no operation has been applied to '{array_id}'; send APPLY_OPERATION first");
            return Err(WireError::new(ErrorCode::UnknownVersion, why).into());
        }
        if level1::data_type(layout.dtype).is_none() {
            let why = format!("'{array_id}' is {}; level 1 has int32 and float64 only", layout.dtype);
            return Err(WireError::new(ErrorCode::TypeMismatch, why).into());
        }
        account.try_set(element_count(&layout) * (layout.dtype.size() as u64 + ELEMENT_BYTES_MAX))?;
        let line = LineWriter::new("OPERATION_COMPLETE", "master", peer).text("status", "complete");
        let line = line.text("arrayId", array_id);
        Ok(match layout.dtype {
            DType::Int32 => line.ints("result", &read(cluster, &layout)?).finish(),
            _ => line.doubles("result", &read(cluster, &layout)?).finish(),
        })
    }
}

/// Whether a name can be one. An array of a name that cannot be is not only unknown.
fn checked(array_id: &str) -> Result<(), WireError> {
    protocol::name::check("array", array_id)
}

/// Why a result could not be read.
enum Unread {
    /// Its version is gone.
    Replaced(WireError),
    Refused(WireError),
}

impl From<WireError> for Unread {
    fn from(error: WireError) -> Unread {
        Unread::Refused(error)
    }
}

/// All elements of a version.
fn read<T: Element>(cluster: &Cluster, layout: &Layout) -> Result<Vec<T>, Unread> {
    match cluster.get(&layout.handle).map_err(into_wire) {
        Ok(values) => Ok(values),
        Err(error) if error.code == ErrorCode::UnknownVersion => Err(Unread::Replaced(error)),
        Err(error) => Err(Unread::Refused(error)),
    }
}

fn element_count(layout: &Layout) -> u64 {
    layout.shape.iter().product()
}

/// The answer that something was begun.
fn progress(peer: &str, array_id: &str, status: &str) -> Vec<u8> {
    LineWriter::new("OPERATION_COMPLETE", "master", peer).text("arrayId", array_id).text("status", status).finish()
}

/// Whether a name stands for one version, which then is what is asked for, result or not.
fn is_handle(array_id: &str) -> bool {
    protocol::Reference::parse(array_id).version.is_some()
}

/// How long a request about so many bytes may take.
fn timeout(bytes: u64) -> Duration {
    REQUEST_TIMEOUT_DEFAULT + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
}

fn into_wire(error: Error) -> WireError {
    match error {
        Error::Refused(error) => error,
        other => WireError::new(other.code().unwrap_or(ErrorCode::Internal), other.to_string()),
    }
}
