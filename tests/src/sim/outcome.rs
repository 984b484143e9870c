//! What can be seen of a run from outside: answers, incidents, retries. Compared with the same run without the faults of one
//! kind it tells whether those mattered; and the counters of faults.

use super::faults::Kind;
use super::{Node, World};
use array::checksum::crc32c;
use std::collections::BTreeMap;

/// How often faults of a kind came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// That did something.
    pub injected: u64,
    /// Those on a node with work in flight.
    pub at_work: u64,
}

/// By kind.
pub type Tally = BTreeMap<Kind, Count>;

/// What clients and operators could see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Of each client, each wish with its answer.
    answers: BTreeMap<usize, Vec<u32>>,
    /// Incidents as the master told them, with times to the hour: that the clock is wrong can be seen, and not that something took longer.
    incidents: Vec<String>,
    /// Connections and requests that failed.
    pub retries: u64,
}

impl Outcome {
    /// Whether a fault mattered between these two runs. Only how far each client came in the same time does not count: that
    /// something took longer is no outcome.
    pub fn differs(&self, other: &Outcome) -> bool {
        let none = Vec::new();
        let differ = |(client, answers): (&usize, &Vec<u32>)| {
            let others = other.answers.get(client).unwrap_or(&none);
            answers.iter().zip(others).any(|(a, b)| a != b)
        };
        self.answers.iter().any(differ) || self.incidents != other.incidents || self.retries != other.retries
    }
}

impl World {
    /// Takes note of how a client's wish ended.
    pub(crate) fn see_answer(&mut self, client: usize, text: &str) {
        self.outcome.answers.entry(client).or_default().push(crc32c(text.as_bytes()));
    }

    /// Takes note of what the master tells about incidents; at the end.
    pub fn see_incidents(&mut self) {
        let Some(cluster) = self.cluster() else { return };
        const HOUR_MS: u64 = 3_600_000;
        let line = |incident: &protocol::message::client::Incident| {
            format!(
                "{} h {:?} {:?} {}: {} promoted, {} redispatched, {} and {} lost, {} bytes",
                incident.at / HOUR_MS,
                incident.kind,
                incident.worker,
                incident.cause,
                incident.promoted,
                incident.redispatched,
                incident.copies_lost,
                incident.segments_lost,
                incident.bytes_moved
            )
        };
        let incidents: Vec<String> = cluster.list_incidents().incidents.iter().map(line).collect();
        self.outcome.incidents = incidents;
    }

    /// Whether a node has work in flight.
    pub(crate) fn is_at_work(&self, node: Node) -> bool {
        if !self.is_alive(self.life(node)) {
            return false;
        }
        let moves = || self.rpcs.values().any(|rpc| rpc.from.0 == node || rpc.to.0 == node);
        match node {
            Node::Master => self.disk.is_busy() || self.cluster().is_some_and(|cluster| cluster.has_pending_requests()),
            Node::Worker(n) => self.workers[n].agent.as_ref().is_some_and(|agent| agent.tasks() > 0) || moves(),
            Node::Client(n) => self.clients[n].is_waiting(),
        }
    }
}
