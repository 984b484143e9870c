//! What an operation took, or would take.

use super::table::{Table, grouped};
use super::time::duration;
use protocol::message::client::Receipt;
use protocol::size::format_size;
use std::time::Duration;

/// What an operation took: a line for each worker, one for all, and what was not as planned.
pub fn text(receipt: &Receipt) -> String {
    format!(
        "{}{} from worker to worker, {} retried, {} promoted\n",
        workers(receipt).render("no worker has computed anything"),
        format_size(receipt.network_bytes),
        grouped(receipt.retries.into()),
        grouped(receipt.promoted.into()),
    )
}

/// A line for each worker, and one for all of several.
pub fn workers(receipt: &Receipt) -> Table {
    let mut table = Table::new(["worker", ">segments", ">busy", ">read", ">written", ">memory"]);
    let mut row = |name: String, segments: u64, busy_us: Option<u64>, bytes: [u64; 3]| {
        let [read, written, memory] = bytes.map(format_size);
        let busy = busy_us.map_or("-".to_string(), |us| duration(Duration::from_micros(us)));
        table.row([name, grouped(segments), busy, read, written, memory]);
    };
    for worker in &receipt.workers {
        let bytes = [worker.bytes_read, worker.bytes_written, worker.memory_bytes];
        row(worker.worker.to_string(), worker.segments.into(), worker.busy_us, bytes);
    }
    if receipt.workers.len() > 1 {
        let segments = receipt.workers.iter().map(|worker| u64::from(worker.segments)).sum();
        let busy_us = receipt.workers.iter().map(|worker| worker.busy_us).sum();
        let memory = receipt.workers.iter().map(|worker| worker.memory_bytes).sum();
        row("all".to_string(), segments, busy_us, [receipt.bytes_read, receipt.bytes_written, memory]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::message::client::WorkerReceipt;

    fn receipt(busy: &[Option<u64>]) -> Receipt {
        let worker = |(n, &busy_us): (usize, &Option<u64>)| WorkerReceipt {
            worker: format!("w{n}").as_str().into(),
            segments: 20_000,
            busy_us,
            bytes_read: 1000,
            bytes_written: 500,
            memory_bytes: 500,
        };
        let workers: Vec<WorkerReceipt> = busy.iter().enumerate().map(worker).collect();
        let sum = |field: fn(&WorkerReceipt) -> u64| workers.iter().map(field).sum();
        Receipt {
            bytes_read: sum(|worker| worker.bytes_read),
            bytes_written: sum(|worker| worker.bytes_written),
            network_bytes: 64,
            retries: 1,
            promoted: 2,
            workers,
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_line_for_each_worker_and_one_for_all() {
        let text = plain(&text(&receipt(&[Some(12_000), Some(1_500_000)])));
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split("  ").filter(|c| !c.is_empty()).collect()).collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[1][..3], ["w0", "20 000", "12 ms"].map(|cell| cell), "{text}");
        assert_eq!(lines[3][..3].iter().map(|c| c.trim()).collect::<Vec<_>>(), ["all", "40 000", "1.5 s"], "{text}");
        assert_eq!(text.lines().last(), Some("64 B from worker to worker, 1 retried, 2 promoted"));
    }

    #[test]
    fn what_nobody_knows_yet_is_left_open() {
        let one = plain(&workers(&receipt(&[None])).render(""));
        assert_eq!(one.lines().count(), 2, "one worker is all: {one}");
        assert_eq!(one.lines().last().unwrap().split_whitespace().nth(3), Some("-"), "{one}");
    }
}
