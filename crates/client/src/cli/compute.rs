//! `apply` and `operations`.

use super::Context;
use super::args::Apply;
use super::console::object;
use super::failure::Failure;
use super::interrupt::on_interrupt;
use super::progress::Meter;
use super::render::receipt;
use super::render::table::{Table, grouped};
use super::render::time::{duration, millis};
use crate::cluster::{ApplyOptions, Cluster, shortened};
use crate::error::Error;
use crate::original::Original;
use crate::original::find::Master;
use crate::transfer::Progress;
use crossbeam_channel::{RecvTimeoutError, bounded};
use protocol::VersionId;
use protocol::message::client::{OperationComplete, OperationInfo, OperationState};
use serde_json::json;
use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

/// How often the master is asked how far an operation is, while somebody watches a progress bar.
const POLL: Duration = Duration::from_millis(250);

/// How long Ctrl-C may take to cancel what was waited for.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(3);

/// `apply`. It asks for the result in one request, which the master answers once even if it is restarted in between.
pub fn apply(context: &Context, apply: &Apply) -> Result<(), Failure> {
    let cluster = match &context.master {
        Master::Cluster(cluster) => cluster,
        Master::Original(original) => return begin(context, original, apply),
    };
    let options = ApplyOptions { into: apply.into.clone(), replace: apply.replace, no_wait: apply.no_wait };
    let label = format!("{} on {}", shortened(&apply.operation), apply.name);
    let done = watched(cluster, &label, Cluster::own_operations, || {
        cluster.apply_with(&apply.name, &apply.operation, &options)
    })
    .map_err(|e| Failure::of_expression(&apply.operation, e))?;
    answer(context, &done, &shortened(&apply.operation))
}

/// `apply` on level 1, where only `get` can wait.
fn begin(context: &Context, original: &Original, apply: &Apply) -> Result<(), Failure> {
    let Apply { name, operation, .. } = apply;
    original.apply(name, operation)?;
    let answer = object([("array_id", json!(name)), ("status", json!(OperationState::Processing))]);
    context.console.answer(&answer, || {
        format!("{name}: {operation} on '{name}' is processing; `get {name}` waits for its result\n")
    })
}

/// `operations wait`.
pub fn wait(context: &Context, id: u64) -> Result<(), Failure> {
    let this = move |cluster: &Cluster| -> Result<Vec<OperationInfo>, Error> {
        Ok(cluster.operations()?.into_iter().filter(|operation| operation.operation.0 == id).collect())
    };
    let cluster = context.cluster()?;
    let wait = || cluster.wait_operation(VersionId(id));
    let done = watched(cluster, &format!("operation {id}"), this, wait)?;
    answer(context, &done, &format!("operation {id}"))
}

/// Waits for an operation; meanwhile Ctrl-C cancels it, and a progress bar shows how far it is. `which` finds it among
/// the running ones.
pub(super) fn watched<T>(
    cluster: &Cluster,
    label: &str,
    which: impl Fn(&Cluster) -> Result<Vec<OperationInfo>, Error> + Clone + Send + Sync + 'static,
    wait: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    let (asking, find) = (cluster.with_timeout(CANCEL_TIMEOUT), which.clone());
    let cancelling = asking.clone();
    let _guard = on_interrupt(move || cancel_all(&cancelling, find));
    if !std::io::stderr().is_terminal() {
        return wait();
    }
    let (over, ended) = bounded::<()>(0);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut meter = Meter::count(label);
            while ended.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                // No answer, no progress; the wait itself says what is wrong.
                for operation in which(&asking).unwrap_or_default() {
                    meter.update(Progress { done: operation.done.into(), total: operation.segments.into() });
                }
            }
        });
        let result = wait();
        drop(over);
        result
    })
}

/// What Ctrl-C does first, and what there is to say about it.
fn cancel_all(cluster: &Cluster, find: impl Fn(&Cluster) -> Result<Vec<OperationInfo>, Error>) -> Option<String> {
    let operations = match find(cluster) {
        Ok(operations) => operations,
        Err(e) => return Some(format!("the operation may go on: {e}")),
    };
    let cancel = |operation: OperationInfo| {
        let id = operation.operation.0;
        match cluster.cancel_operation(operation.operation) {
            Ok(()) => format!("operation {id} is cancelled"),
            Err(e) => format!("operation {id} could not be cancelled: {e}"),
        }
    };
    let said: Vec<String> = operations.into_iter().map(cancel).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn answer(context: &Context, done: &OperationComplete, operation: &str) -> Result<(), Failure> {
    context.console.answer(done, || match done.status {
        OperationState::Processing => {
            let id = done.operation.0;
            format!("operation {id} has begun; its result will be {}: client operations wait {id}\n", done.handle)
        }
        OperationState::Complete => {
            let receipt = done.receipt.as_ref().filter(|_| context.verbose).map(receipt::text);
            sentence(done, operation) + &receipt.unwrap_or_default()
        }
    })
}

fn sentence(done: &OperationComplete, operation: &str) -> String {
    let redispatched = match done.redispatched {
        0 => String::new(),
        n => format!(", {} re-dispatched", grouped(n.into())),
    };
    let inexact = if done.exact { "" } else { ", bits may differ from those of native workers" };
    format!(
        "{}: {operation} on '{}', {} segments{redispatched}, {} of {} copies ({}){inexact}, in {}\n",
        done.handle,
        done.array_id,
        grouped(done.segments.into()),
        done.copies,
        done.target,
        done.replicas,
        duration(Duration::from_micros(done.elapsed_us)),
    )
}

/// `operations cancel`.
pub fn cancel(context: &Context, id: u64) -> Result<(), Failure> {
    context.cluster()?.cancel_operation(VersionId(id))?;
    let answer = object([("operation", json!(id)), ("status", json!("cancelled"))]);
    context.console.answer(&answer, || format!("operation {id} is cancelled\n"))
}

/// `operations`.
pub fn operations(context: &Context) -> Result<(), Failure> {
    let operations = context.cluster()?.operations()?;
    let answer = object([("operations", json!(operations))]);
    context.console.answer(&answer, || table(&operations).render("no operations are running"))
}

fn table(operations: &[OperationInfo]) -> Table {
    let headers =
        [">id", "operation", "array", "into", ">done", ">segments", ">redispatched", ">running", ">left", "request"];
    let mut table = Table::new(headers);
    for operation in operations {
        table.row([
            operation.operation.0.to_string(),
            shortened(&operation.name).into_owned(),
            operation.array_id.clone(),
            operation.into.clone().unwrap_or_default(),
            grouped(operation.done.into()),
            grouped(operation.segments.into()),
            grouped(operation.redispatched.into()),
            millis(operation.running_ms),
            millis(operation.left_ms),
            operation.request.clone().unwrap_or_default(),
        ]);
    }
    table
}
