//! What all threads of a run share, and what is told of it at the end.

use client::{Cluster, Error};
use protocol::message::client::IncidentKind;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tests::linearizability::{Call, Operation, Value, is_linearizable};

/// A run.
pub struct Course {
    began: Instant,
    over: AtomicBool,
    /// What should not have happened; the first one ends the run.
    failures: Mutex<Vec<String>>,
    /// How long each call took, by what it was.
    calls: Mutex<BTreeMap<&'static str, Vec<Duration>>>,
    elements_checked: AtomicU64,
    /// Grows when everything is about to be lost, and again when all of it is deleted: odd in between.
    losses: AtomicU64,
    /// Calls that failed for that.
    excused: AtomicU64,
    /// What was done with each shared name.
    histories: Mutex<BTreeMap<String, Vec<Operation>>>,
    values: AtomicU32,
    shared_operations: AtomicU64,
}

impl Course {
    pub fn new() -> Course {
        Course {
            began: Instant::now(),
            over: AtomicBool::new(false),
            failures: Mutex::default(),
            calls: Mutex::default(),
            elements_checked: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            excused: AtomicU64::new(0),
            histories: Mutex::default(),
            values: AtomicU32::new(0),
            shared_operations: AtomicU64::new(0),
        }
    }

    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub fn fail(&self, what: String) {
        eprintln!("chaos: {what}");
        self.failures.lock().unwrap().push(what);
        self.end();
    }

    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn failures(&self) -> String {
        self.failures.lock().unwrap().join("\n")
    }

    pub fn count_checked(&self, elements: usize) {
        self.elements_checked.fetch_add(elements as u64, Ordering::Relaxed);
    }

    // ---- losing everything ----

    /// How often everything was lost. What was stored at another number may be lost.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }

    /// Everything is about to be lost, or has been deleted after that.
    pub fn lose_everything(&self) {
        self.losses.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether what was stored, or begun, at that number may be lost.
    fn may_be_lost(&self, losses: u64) -> bool {
        losses % 2 == 1 || self.losses() != losses
    }

    /// One call about something that was stored when there had been so many losses. `expected` says which errors are answers.
    pub fn call<T>(
        &self,
        cluster: &Cluster,
        what: &'static str,
        losses: u64,
        expected: impl Fn(&Error) -> bool,
        call: impl FnOnce(&Cluster) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let result = call(cluster);
        let took = began.elapsed();
        self.calls.lock().unwrap().entry(what).or_default().push(took);
        match &result {
            Err(error) if expected(error) => {}
            Err(_) if self.may_be_lost(losses) => drop(self.excused.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                let session = cluster.session();
                self.fail(format!("{:?}: FAILED CALL: {what} by {session} after {took:?}: {error}", self.now()));
            }
            Ok(_) => {}
        }
        result
    }

    // ---- shared names ----

    /// A number that no array has been filled with yet.
    pub fn new_value(&self) -> Value {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts an operation on a shared name that begins; gives how many have begun before.
    pub fn count_shared(&self) -> u64 {
        self.shared_operations.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes note of what was done with a name, which began then; `answered` unless nobody knows whether it was.
    pub fn note(&self, name: &str, called: Duration, answered: bool, call: Call) {
        let operation = Operation { called, answered: answered.then(|| self.now()), call };
        self.histories.lock().unwrap().entry(name.to_string()).or_default().push(operation);
    }

    /// Fails if what clients saw of a name fits no order of their operations. Gives how many operations that were.
    pub fn judge_histories(&self) -> usize {
        let histories = std::mem::take(&mut *self.histories.lock().unwrap());
        for (name, history) in &histories {
            if !is_linearizable(history) {
                let told: Vec<String> = history.iter().map(|operation| format!("  {operation:?}")).collect();
                self.fail(format!("what clients saw of '{name}' fits no order:\n{}", told.join("\n")));
            }
        }
        histories.values().map(Vec::len).sum()
    }

    /// How long calls took: count, median, 99th of a hundred, slowest.
    pub fn summary(&self) -> String {
        let mut calls = self.calls.lock().unwrap();
        let one = |(what, times): (&&str, &mut Vec<Duration>)| {
            times.sort_unstable();
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_millis();
            format!("{} {what} ({}/{}/{} ms)", times.len(), at(0.5), at(0.99), at(1.0))
        };
        let kinds: Vec<String> = calls.iter_mut().map(one).collect();
        format!(
            "no failed call of {} (median/99%/slowest), {} of them about what was lost with all workers; {} elements checked, \
             none wrong",
            kinds.join(", "),
            self.excused.load(Ordering::Relaxed),
            self.elements_checked.load(Ordering::Relaxed)
        )
    }
}

/// How many incidents the master tells of, and how soon work flowed again after deaths that were noticed by a closed connection.
pub fn incidents_summary(watcher: &Cluster) -> String {
    let incidents = watcher.incidents().unwrap();
    let killed =
        incidents.iter().filter(|incident| incident.kind == IncidentKind::WorkerDown && incident.detected_ms < 500);
    let mut resumed: Vec<u64> = killed.filter_map(|incident| incident.resumed_ms).collect();
    resumed.sort_unstable();
    let flowed = match resumed.as_slice() {
        [] => "no operation was running at a kill".to_string(),
        all => format!(
            "work flowed again after kills in {}/{} ms (median/slowest)",
            all[all.len() / 2],
            all[all.len() - 1]
        ),
    };
    format!("{} incidents, {flowed}", incidents.len())
}
