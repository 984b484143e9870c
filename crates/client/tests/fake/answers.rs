//! What the fake master says of what was computed.

use super::Catalog;
use array::expression::ExpressionError;
use array::{DType, Reducer};
use protocol::message::client::*;
use protocol::{Body, ErrorCode, VersionId, WireError};

/// An operation on more elements would be refused, says EXPLAIN.
pub(super) const EXPLAINED_MAX: u64 = 1000;

/// The array itself.
pub(super) fn find(catalog: &Catalog, name: &str) -> Result<VersionId, WireError> {
    let unknown = || WireError::new(ErrorCode::UnknownArray, format!("there is no '{name}'")).array(name);
    catalog.arrays.get(name).copied().ok_or_else(unknown)
}

/// What was read of a text, or the refusal with the place.
pub(super) fn understood<T>(read: Result<T, ExpressionError>) -> Result<T, WireError> {
    read.map_err(|e| WireError::new(ErrorCode::BadExpression, e.to_string()).column(e.column as u32))
}

/// What a reduction gives here, of whatever elements: one of those that are hard to pass on for each dtype.
pub(super) fn value_of(reducer: Reducer, dtype: DType) -> &'static str {
    match (reducer, dtype) {
        (Reducer::Min, _) => "-inf",
        (Reducer::Max, _) => "NaN",
        (_, DType::Bool) => "true",
        (_, DType::Int64) => "9007199254740993",
        _ => "1.25",
    }
}

pub(super) fn receipt(busy_us: Option<u64>) -> Receipt {
    let (bytes_read, bytes_written, memory_bytes) = (24, 48, 72);
    let worker = WorkerReceipt { worker: "w0".into(), segments: 1, busy_us, bytes_read, bytes_written, memory_bytes };
    Receipt { bytes_read, bytes_written, workers: vec![worker], ..Receipt::default() }
}

/// Says that a version is made, and counts it.
pub(super) fn complete(catalog: &mut Catalog, array_id: String, result: VersionId) -> Body {
    catalog.runs += 1;
    OperationComplete {
        handle: format!("{array_id}@{result}"),
        array_id,
        status: OperationState::Complete,
        operation: result,
        segments: catalog.versions[&result].segments.len() as u32,
        copies: 1,
        target: 1,
        replicas: "received".into(),
        redispatched: 0,
        exact: true,
        crc32c: None,
        durability: Durability::Memory,
        elapsed_us: 1000,
        receipt: Some(receipt(Some(500))),
    }
    .into()
}
