//! Answers that only look.

use super::Cluster;
use super::catalog::{Array, handle_of};
use super::members::Member;
use protocol::message::client::*;
use protocol::{CopyId, SegmentIndex, VersionId, WireError, WorkerId, name};
use std::collections::BTreeMap;

impl Cluster {
    /// All arrays, in short.
    pub fn list_arrays(&self) -> Arrays {
        Arrays { arrays: self.catalog.arrays().map(|array| self.summarize(array)).collect() }
    }

    fn summarize(&self, array: &Array) -> ArraySummary {
        let version = self.catalog.version(array.content).expect("names name versions");
        let live = |segment: usize| self.readers(CopyId(array.content, segment as SegmentIndex)).len() as u32;
        let copies = (0..version.segments.len()).map(live).min().unwrap_or(version.replication);
        let state = match copies {
            0 if self.hopes() => ArrayState::Waiting,
            0 => ArrayState::Lost,
            copies if copies < version.replication => ArrayState::Degraded,
            _ => ArrayState::Ok,
        };
        ArraySummary {
            array_id: array.name.clone(),
            handle: name::handle(&array.name, array.content),
            dtype: version.dtype,
            shape: version.shape.clone(),
            bytes: version.bytes(),
            segments: version.segments.len() as u32,
            copies,
            target: version.replication,
            state,
            result: array.result.map(|result| name::handle(&array.name, result)),
        }
    }

    /// All about one array.
    pub fn describe_array(&self, array_id: &str) -> Result<ArrayInfo, WireError> {
        let Some((_, array)) = self.catalog.find(array_id) else {
            return Err(self.unknown_array(array_id));
        };
        let content = self.describe_version(array.content, Source::Array);
        let result = array.result.map(|result| self.describe_version(result, Source::Result));
        Ok(ArrayInfo {
            summary: self.summarize(array),
            versions: [Some(content), result].into_iter().flatten().collect(),
        })
    }

    fn describe_version(&self, id: VersionId, source: Source) -> VersionInfo {
        let version = self.catalog.version(id).expect("arrays name versions");
        let grid = version.grid();
        let segment = |(segment, record): (usize, &super::catalog::Segment)| {
            let range = grid.range(segment as SegmentIndex);
            SegmentInfo {
                segment: segment as SegmentIndex,
                start: range.start,
                end: range.end,
                crc32c: record.crc32c,
                epoch: record.epoch,
                holders: record.holders.clone(),
            }
        };
        VersionInfo {
            handle: handle_of(&self.catalog, id),
            source,
            operation: version.operation.clone(),
            segments: version.segments.iter().enumerate().map(segment).collect(),
        }
    }

    /// All workers that ever registered.
    pub fn list_workers(&self) -> Workers {
        let mut primaries: BTreeMap<&WorkerId, u64> = BTreeMap::new();
        for (_, version) in self.catalog.versions() {
            for primary in version.segments.iter().filter_map(|segment| segment.holders.first()) {
                *primaries.entry(primary).or_default() += 1;
            }
        }
        let known = self.catalog.workers().map(|(worker, record)| (worker, record.incarnation));
        let registering = self.members.iter().map(|(worker, member)| (worker, member.hello.incarnation));
        let workers: BTreeMap<&WorkerId, u64> = known.chain(registering).collect();
        let info =
            |(worker, incarnation)| self.worker_info(worker, incarnation, primaries.get(worker).copied().unwrap_or(0));
        Workers { workers: workers.into_iter().map(info).collect() }
    }

    fn worker_info(&self, worker: &WorkerId, incarnation: u64, primaries: u64) -> WorkerInfo {
        let member = self.members.get(worker);
        let hello = member.map(|member| &member.hello);
        WorkerInfo {
            id: worker.clone(),
            state: member.map_or(WorkerState::Down, |member| member.state()),
            level: member.map_or(2, |member| member.level()),
            address: hello.map_or(String::new(), |hello| hello.address.clone()),
            reachable: member.and_then(|member| member.reachable),
            draining: member.is_some_and(|member| member.draining),
            zone: hello.and_then(|hello| hello.zone.clone()),
            kernels: hello.map_or(String::new(), |hello| hello.kernels.clone()),
            incarnation,
            cores: member.map_or(0, |member| member.cores),
            segments: member.map_or(0, |member| member.held_count() as u64),
            primaries,
            memory_bytes: hello.map_or(0, |hello| hello.memory_bytes),
            memory_used_bytes: member.map_or(0, |member| member.memory_used),
            memory_idle_bytes: member.map_or(0, |member| member.memory_idle),
            tasks: member.map_or(0, |member| (member.queue.len() + member.in_flight.len()) as u64),
            last_heard_ms: member.map(|member| (self.liveness_clock - member.last_heard).as_millis() as u64),
        }
    }

    /// How the cluster is.
    pub fn cluster_status(&self) -> ClusterStatus {
        let suspect = self.members.values().filter(|member| member.suspect).count() as u32;
        let alive = self.members.values().filter(|member| member.up && !member.suspect).count() as u32;
        let (mut under_replicated, mut waiting, mut lost, mut segments) = (0, 0, 0, 0);
        for (id, version) in self.catalog.versions() {
            segments += version.segments.len() as u64;
            for segment in 0..version.segments.len() {
                let live = self.readers(CopyId(id, segment as SegmentIndex)).len();
                under_replicated += u64::from(live < version.replication as usize);
                waiting += u64::from(live == 0 && self.hopes());
                lost += u64::from(live == 0 && !self.hopes());
            }
        }
        // Workers say how much memory they have, and nobody checks it.
        let sum = |of: fn(&Member) -> u64| self.members.values().map(of).fold(0, u64::saturating_add);
        ClusterStatus {
            cluster: self.catalog.cluster(),
            leader: self.config.address.clone(),
            term: self.term,
            program: env!("CARGO_PKG_VERSION").to_string(),
            uptime_ms: (self.now.elapsed - self.started).as_millis() as u64,
            workers_alive: alive,
            workers_suspect: suspect,
            workers_down: self.catalog.workers().filter(|(worker, _)| !self.members.contains_key(*worker)).count()
                as u32,
            arrays: self.catalog.array_count() as u64,
            segments,
            under_replicated,
            waiting,
            lost,
            running_operations: self.operations.len() as u64,
            uploads: self.uploads.len() as u64,
            transfers: self.transfers.len() as u64,
            replication: self.config.replication,
            memory_bytes: sum(|member| member.hello.memory_bytes),
            memory_used_bytes: sum(|member| member.memory_used),
            data_dir: self.config.data_dir.clone(),
            log_index: self.catalog.index(),
        }
    }

    /// What is running.
    pub fn list_operations(&self) -> Operations {
        let now = self.now.elapsed;
        let info = |(id, running): (&VersionId, &super::Running)| OperationInfo {
            operation: *id,
            array_id: running.array_name().to_string(),
            name: running.text().to_string(),
            into: running.into().map(str::to_string),
            request: Some(running.request()),
            segments: running.segments(),
            done: running.done,
            redispatched: running.redispatched,
            running_ms: (now - running.started).as_millis() as u64,
            left_ms: running.deadline.saturating_sub(now).as_millis() as u64,
        };
        Operations { operations: self.operations.iter().map(info).collect() }
    }

    /// What went wrong, and how it was mended.
    pub fn list_incidents(&self) -> Incidents {
        let open: BTreeMap<u64, &Incident> =
            self.incidents.iter().map(|open| (open.incident.id, &open.incident)).collect();
        let newest = |incident: &Incident| open.get(&incident.id).map_or(incident, |open| open).clone();
        Incidents { incidents: self.catalog.incidents().map(newest).collect() }
    }
}
