//! `list`, `info`, `workers`, `wait`, `status`, `recovery`, `delete`, `shutdown`.

use super::Context;
use super::args::Command;
use super::console::{Console, object};
use super::failure::Failure;
use super::render::table::{Table, grouped};
use super::render::time::{millis, utc};
use protocol::message::client::*;
use protocol::size::format_size;
use serde_json::json;

/// Of more segments than this, only the first and the last ones are shown.
const SEGMENTS_SHOWN_MAX: usize = 130;

/// How many at each end then.
const SEGMENTS_AT_END: usize = 10;

/// `list`.
pub fn list(context: &Context) -> Result<(), Failure> {
    let arrays = context.cluster()?.arrays()?;
    let answer = object([("arrays", json!(arrays))]);
    context.console.answer(&answer, || arrays_table(&arrays).render("no arrays"))
}

fn arrays_table(arrays: &[ArraySummary]) -> Table {
    let mut table =
        Table::new(["name", "dtype", ">shape", ">size", ">segments", ">copies", "state", "version", "result"]);
    for array in arrays {
        table.row([
            array.array_id.clone(),
            array.dtype.to_string(),
            shape(&array.shape),
            format_size(array.bytes),
            grouped(array.segments.into()),
            format!("{}/{}", array.copies, array.target),
            state(array.state).to_string(),
            version(&array.handle).to_string(),
            array.result.as_deref().map(version).unwrap_or_default().to_string(),
        ]);
    }
    table
}

/// `v17` of `a@v17`.
fn version(handle: &str) -> &str {
    handle.rsplit_once('@').map_or(handle, |(_, version)| version)
}

fn shape(sides: &[u64]) -> String {
    match sides {
        [] => "()".to_string(),
        sides => sides.iter().map(|&side| grouped(side)).collect::<Vec<_>>().join(" x "),
    }
}

fn state(state: ArrayState) -> &'static str {
    match state {
        ArrayState::Ok => "ok",
        ArrayState::Degraded => "degraded",
        ArrayState::Waiting => "waiting",
        ArrayState::Lost => "lost",
    }
}

/// `info`.
pub fn info(context: &Context, name: &str) -> Result<(), Failure> {
    let info = context.cluster()?.array_info(name)?;
    context.console.answer(&info, || describe(&info))
}

fn describe(info: &ArrayInfo) -> String {
    let array = &info.summary;
    let mut text = format!(
        "{}: {} of shape {}, {}, {} segments, {} of {} copies, {}\n",
        array.array_id,
        array.dtype,
        shape(&array.shape),
        format_size(array.bytes),
        grouped(array.segments.into()),
        array.copies,
        array.target,
        state(array.state),
    );
    for version in &info.versions {
        let what = match (&version.operation, version.source) {
            (Some(operation), _) => format!("result of {operation}"),
            (None, Source::Result) => "a result".to_string(),
            (None, Source::Array) => "the array".to_string(),
        };
        text += &format!("\n{}, {what}\n", version.handle);
        text += &segments_table(&version.segments, array.target).render("no segments: it has no elements");
    }
    text
}

fn segments_table(segments: &[SegmentInfo], target: u32) -> Table {
    let mut table =
        Table::new([">segment", ">from", ">to", "crc32c", "epoch", ">copies", "holders, the primary first"]);
    let hidden = match segments.len() > SEGMENTS_SHOWN_MAX {
        true => SEGMENTS_AT_END..segments.len() - SEGMENTS_AT_END,
        false => segments.len()..segments.len(),
    };
    for (index, segment) in segments.iter().enumerate() {
        if index == hidden.start && !hidden.is_empty() {
            let dots = || "…".to_string();
            table.row([dots(), dots(), dots(), dots(), dots(), dots(), format!("… {} more", hidden.len())]);
        }
        if hidden.contains(&index) {
            continue;
        }
        let holders = segment.holders.iter().map(|worker| worker.as_str()).collect::<Vec<_>>().join(", ");
        table.row([
            segment.segment.to_string(),
            grouped(segment.start),
            grouped(segment.end),
            format!("{:08x}", segment.crc32c),
            segment.epoch.to_string(),
            format!("{}/{target}", segment.holders.len()),
            if holders.is_empty() { "none".to_string() } else { holders },
        ]);
    }
    table
}

/// `workers`.
pub fn workers(context: &Context) -> Result<(), Failure> {
    answer_workers(context, &context.cluster()?.workers()?)
}

/// `wait`.
pub fn wait(context: &Context, count: u32) -> Result<(), Failure> {
    answer_workers(context, &context.cluster()?.wait_workers(count)?)
}

fn answer_workers(context: &Context, workers: &[WorkerInfo]) -> Result<(), Failure> {
    let answer = object([("workers", json!(workers))]);
    context.console.answer(&answer, || workers_table(workers).render("no workers; start one: worker --id w1"))
}

fn workers_table(workers: &[WorkerInfo]) -> Table {
    let headers = [
        "id",
        "state",
        ">level",
        "address",
        ">cores",
        ">segments",
        ">primaries",
        ">memory used",
        ">of",
        ">idle",
        ">tasks",
        ">heard",
        "zone",
    ];
    let mut table = Table::new(headers);
    for worker in workers {
        table.row([
            worker.id.to_string(),
            worker_state(worker),
            worker.level.to_string(),
            worker.address.clone(),
            worker.cores.to_string(),
            grouped(worker.segments),
            grouped(worker.primaries),
            format_size(worker.memory_used_bytes),
            format_size(worker.memory_bytes),
            format_size(worker.memory_idle_bytes),
            grouped(worker.tasks),
            worker.last_heard_ms.map_or("-".to_string(), |ms| format!("{} ago", millis(ms))),
            worker.zone.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn worker_state(worker: &WorkerInfo) -> String {
    let state = match worker.state {
        WorkerState::Alive => "alive",
        WorkerState::Suspect => "suspect",
        WorkerState::Down => "down",
    };
    let draining = if worker.draining { ", draining" } else { "" };
    let unreachable = if worker.reachable == Some(false) { ", unreachable" } else { "" };
    format!("{state}{draining}{unreachable}")
}

/// `status`.
pub fn status(context: &Context) -> Result<(), Failure> {
    let status = context.cluster()?.status()?;
    context.console.answer(&status, || status_text(&status))
}

fn status_text(status: &ClusterStatus) -> String {
    let mut table = Table::new(["cluster", &status.cluster.to_string()]);
    let mut line = |name: &str, value: String| table.row([name.to_string(), value]);
    line("leader", format!("{}, term {}, up {}", status.leader, status.term, millis(status.uptime_ms)));
    let (alive, suspect, down) = (status.workers_alive, status.workers_suspect, status.workers_down);
    line("workers", format!("{alive} alive, {suspect} suspect, {down} down"));
    let memory = (format_size(status.memory_used_bytes), format_size(status.memory_bytes));
    line("memory", format!("{} of {}", memory.0, memory.1));
    line("arrays", format!("{}, in {} segments", grouped(status.arrays), grouped(status.segments)));
    line("copies", copies_text(status));
    let (uploads, transfers) = (grouped(status.uploads), grouped(status.transfers));
    line(
        "running",
        format!("{} operations, {uploads} uploads, {transfers} repairs", grouped(status.running_operations)),
    );
    line("catalog", format!("{} records in {}", grouped(status.log_index), status.data_dir));
    line("program", status.program.clone());
    table.render("")
}

fn copies_text(status: &ClusterStatus) -> String {
    let under = match status.under_replicated {
        0 => "all segments have them".to_string(),
        n => format!("{} segments have fewer", grouped(n)),
    };
    let waiting = match status.waiting {
        0 => String::new(),
        n => format!(", {} wait for workers to report", grouped(n)),
    };
    let lost = match status.lost {
        0 => String::new(),
        n => format!(", {} are lost", grouped(n)),
    };
    format!("{} of each segment: {under}{waiting}{lost}", status.replication)
}

/// `recovery`.
pub fn recovery(context: &Context) -> Result<(), Failure> {
    let incidents = context.cluster()?.incidents()?;
    let answer = object([("incidents", json!(incidents))]);
    context.console.answer(&answer, || incidents_table(&incidents).render("no incidents"))
}

fn incidents_table(incidents: &[Incident]) -> Table {
    let headers = [
        ">id",
        "when",
        "what",
        "worker",
        "cause",
        ">detected",
        ">promoted",
        ">redispatched",
        ">resumed",
        ">copies lost",
        ">segments lost",
        ">moved",
        "redundancy",
    ];
    let mut table = Table::new(headers);
    let after = |ms: Option<u64>| ms.map_or("-".to_string(), millis);
    for incident in incidents {
        table.row([
            incident.id.to_string(),
            utc(incident.at),
            kind(incident.kind).to_string(),
            incident.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
            incident.cause.clone(),
            millis(incident.detected_ms),
            match incident.promoted {
                0 => "0".to_string(),
                n => format!("{} in {}", grouped(n), after(incident.promoted_ms)),
            },
            grouped(incident.redispatched),
            after(incident.resumed_ms),
            grouped(incident.copies_lost),
            grouped(incident.segments_lost),
            format_size(incident.bytes_moved),
            incident.redundancy_restored_ms.map_or("not yet".to_string(), |ms| format!("restored in {}", millis(ms))),
        ]);
    }
    table
}

fn kind(kind: IncidentKind) -> &'static str {
    match kind {
        IncidentKind::WorkerDown => "worker down",
        IncidentKind::WorkerLeft => "worker left",
        IncidentKind::MasterRestarted => "master restarted",
        IncidentKind::BrokenCopy => "broken copy",
    }
}

/// Asks before a command that cannot be taken back.
pub fn confirm(console: Console, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Delete { name, yes: false } => console.confirm(&format!("Delete array '{name}'?")),
        Command::Shutdown { yes: false } => {
            console.confirm("End all workers and the master? What is only in memory is gone.")
        }
        _ => Ok(()),
    }
}

/// `delete`.
pub fn delete(context: &Context, name: &str) -> Result<(), Failure> {
    context.cluster()?.delete(name)?;
    let answer = object([("array_id", json!(name)), ("status", json!("deleted"))]);
    context.console.answer(&answer, || format!("'{name}' is deleted\n"))
}

/// `shutdown`.
pub fn shutdown(context: &Context) -> Result<(), Failure> {
    context.cluster()?.shutdown()?;
    context.console.answer(&object([("status", json!("shutdown"))]), || "the cluster is shutting down\n".to_string())
}
