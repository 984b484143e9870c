//! Chaos on real processes: three copies, six workers, four clients that never stop, and kills, pauses and master restarts at
//! moments that a seed decides. No call may fail, and every value is checked.
//!
//! `CHAOS_SECONDS=300 CHAOS_ELEMENTS=5000000 CHAOS_SEED=7 cargo test --release -p tests --test chaos -- --nocapture` is the
//! long form; `scripts/prove` runs it. The seed decides what is done, not what the machine makes of it: a failure
//! may need some runs to come again.

use array::Element;
use client::{ApplyOptions, Cluster, Error};
use protocol::ErrorCode;
use protocol::message::client::IncidentKind;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tests::harness::oracle::{Numbers, check_example1, check_example2};
use tests::harness::wait::{maybe_until, until};
use tests::harness::{Processes, Setup};

const WORKERS: usize = 6;
const REPLICATION: u32 = 3;
const CLIENTS: u64 = 4;

/// How long the cluster may take to have all its copies again, with clients at work.
const MENDED_WITHIN: Duration = Duration::from_secs(60);

/// How long memory that nobody needs may stay in use.
const FREED_WITHIN: Duration = Duration::from_secs(30);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// What all threads share.
#[derive(Default)]
struct Course {
    over: AtomicBool,
    /// What should not have happened; the first one ends the run.
    failures: Mutex<Vec<String>>,
    /// How long each call took, by what it was.
    calls: Mutex<BTreeMap<&'static str, Vec<Duration>>>,
    elements_checked: std::sync::atomic::AtomicU64,
}

impl Course {
    fn fail(&self, what: String) {
        eprintln!("chaos: {what}");
        self.failures.lock().unwrap().push(what);
        self.over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// What both dtypes have in common.
trait Number: Element + PartialEq {
    const OPERATION: &'static str;
    fn some(numbers: &mut Numbers, len: usize) -> Vec<Self>;
    fn check(source: &[Self], result: &[Self]) -> Result<(), String>;
}

impl Number for f64 {
    const OPERATION: &'static str = "example1";
    fn some(numbers: &mut Numbers, len: usize) -> Vec<f64> {
        numbers.doubles(len)
    }
    fn check(source: &[f64], result: &[f64]) -> Result<(), String> {
        check_example1(source, result)
    }
}

impl Number for i32 {
    const OPERATION: &'static str = "example2";
    fn some(numbers: &mut Numbers, len: usize) -> Vec<i32> {
        numbers.ints(len)
    }
    fn check(source: &[i32], result: &[i32]) -> Result<(), String> {
        check_example2(source, result)
    }
}

/// One client, the only one that uses its names, so that it knows what they hold.
struct Client<'a> {
    n: u64,
    cluster: Cluster,
    numbers: Numbers,
    elements: u64,
    course: &'a Course,
}

impl Client<'_> {
    fn run(&mut self) {
        while !self.course.is_over() {
            // A failure is noted; what it leaves undone is not worth going on with.
            let _ = match self.numbers.below(2) {
                0 => self.life_of_an_array::<f64>(),
                _ => self.life_of_an_array::<i32>(),
            };
        }
    }

    /// Creates an array, does this and that with it, and deletes it or leaves it to be replaced.
    fn life_of_an_array<T: Number>(&mut self) -> Option<()> {
        let name = format!("c{}-{}", self.n, T::DTYPE);
        let len = match self.numbers.below(8) {
            0 => self.numbers.below(self.elements),
            _ => self.elements,
        };
        let values = T::some(&mut self.numbers, len as usize);
        self.call("create", |cluster| cluster.create_with(&name, T::DTYPE, &[len], bytes_of(&values), true))?;
        let mut result: Option<Vec<T>> = None;
        for _ in 0..4 + self.numbers.below(8) {
            if self.course.is_over() {
                return None;
            }
            match self.numbers.below(4) {
                0 => {
                    self.call("apply", |cluster| cluster.apply(&name, T::OPERATION))?;
                    self.compare_result(&name, &values, &mut result)?;
                }
                1 if result.is_some() => self.compare_result(&name, &values, &mut result)?,
                1 => self.compare_array(&name, &values)?,
                2 => self.compare_range(&format!("{name}-new"), &name, &values)?,
                _ => self.compare_array(&name, &values)?,
            }
        }
        if self.numbers.below(3) == 0 {
            self.call("delete", |cluster| cluster.delete(&name))?;
            let gone = self.cluster.get::<T>(&name).err().and_then(|error| error.code());
            if gone != Some(ErrorCode::UnknownArray) {
                self.course.fail(format!("'{name}' was deleted, and then reading it gave {gone:?}"));
            }
        }
        Some(())
    }

    /// The newest result: right, and the same bits as before.
    fn compare_result<T: Number>(&self, name: &str, values: &[T], before: &mut Option<Vec<T>>) -> Option<()> {
        let found = self.call("get", |cluster| cluster.get::<T>(name))?;
        let verdict = match before {
            Some(before) if bits_differ(before, &found) => Err("other bits than before".to_string()),
            Some(_) => Ok(()),
            None => T::check(values, &found),
        };
        *before = Some(found);
        self.judge(name, values.len(), verdict)
    }

    fn compare_array<T: Number>(&self, name: &str, values: &[T]) -> Option<()> {
        let content = self.call("info", |cluster| cluster.array_info(name))?.summary.handle;
        let found = self.call("get", |cluster| cluster.get::<T>(&content))?;
        let verdict = match bits_differ(values, &found) {
            true => Err(format!("{} elements, not those that were stored", found.len())),
            false => Ok(()),
        };
        self.judge(&content, values.len(), verdict)
    }

    /// Makes a result an array, and reads a part of it.
    fn compare_range<T: Number>(&mut self, new: &str, name: &str, values: &[T]) -> Option<()> {
        let options = ApplyOptions { into: Some(new.to_string()), replace: true, no_wait: false };
        self.call("apply", |cluster| cluster.apply_with(name, T::OPERATION, &options))?;
        let (a, b) = (self.numbers.below(values.len() as u64 + 1), self.numbers.below(values.len() as u64 + 1));
        let range = a.min(b)..a.max(b);
        let mut found = vec![T::some(&mut self.numbers, 1)[0]; (range.end - range.start) as usize];
        self.call("get", |cluster| cluster.read_into(new, range.clone(), &mut found))?;
        let verdict = T::check(&values[range.start as usize..range.end as usize], &found);
        self.judge(new, found.len(), verdict)
    }

    fn judge(&self, what: &str, elements: usize, verdict: Result<(), String>) -> Option<()> {
        self.course.elements_checked.fetch_add(elements as u64, Ordering::Relaxed);
        verdict.map_err(|wrong| self.course.fail(format!("WRONG VALUE in '{what}': {wrong}"))).ok()
    }

    /// One call, which must not fail.
    fn call<T>(&self, what: &'static str, call: impl FnOnce(&Cluster) -> Result<T, Error>) -> Option<T> {
        let began = Instant::now();
        let result = call(&self.cluster);
        let took = began.elapsed();
        self.course.calls.lock().unwrap().entry(what).or_default().push(took);
        let session = self.cluster.session();
        let failed = |error| self.course.fail(format!("FAILED CALL: {what} by {session} after {took:?}: {error}"));
        result.map_err(failed).ok()
    }
}

fn bytes_of<T: Number>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

fn bits_differ<T: Number>(a: &[T], b: &[T]) -> bool {
    bytes_of(a) != bytes_of(b)
}

/// What is done to the cluster.
struct Faults<'a> {
    cluster: &'a mut Processes,
    watcher: Cluster,
    numbers: Numbers,
    course: &'a Course,
    began: Instant,
    told: Vec<String>,
    kills: u64,
    pauses: u64,
    restarts: u64,
    slowest_mending: Duration,
}

impl Faults<'_> {
    /// One wave: at most R-1 workers, with or without the master; then the cluster mends itself.
    fn wave(&mut self) {
        let count = 1 + self.numbers.below(u64::from(REPLICATION) - 1) as usize;
        let victims = self.victims(count);
        let before = self.incarnations();
        let kind = self.numbers.below(8);
        self.tell(format!("kind {kind} on {victims:?}"));
        match kind {
            0 | 1 => self.kill_and_restart(&victims),
            2 | 3 => self.pause_and_resume(&victims, false),
            4 => self.restart_master(),
            5 => {
                victims.iter().for_each(|victim| self.kill(victim));
                self.restart_master();
                victims.iter().for_each(|victim| self.cluster.start_worker(victim));
            }
            6 => self.pause_and_resume(&victims, true),
            _ => {
                victims.iter().for_each(|victim| self.cluster.pause(victim));
                self.rest(900);
                self.kill_and_restart(&victims);
            }
        }
        let killed = matches!(kind, 0 | 1 | 5 | 7);
        self.wait_mended(if killed { &victims } else { &[] }, &before);
        self.cluster.check();
    }

    fn victims(&mut self, count: usize) -> Vec<String> {
        let mut victims = Vec::new();
        while victims.len() < count {
            let victim = format!("w{}", 1 + self.numbers.below(WORKERS as u64));
            if !victims.contains(&victim) {
                victims.push(victim);
            }
        }
        victims
    }

    fn kill(&mut self, victim: &str) {
        self.cluster.kill(victim);
        self.kills += 1;
    }

    fn kill_and_restart(&mut self, victims: &[String]) {
        for victim in victims {
            self.kill(victim);
            self.rest_sometimes(50);
        }
        self.rest_sometimes(2500); // long enough, at times, for repair to begin elsewhere
        for victim in victims {
            self.cluster.start_worker(victim);
            self.rest_sometimes(50);
        }
    }

    fn pause_and_resume(&mut self, victims: &[String], with_master: bool) {
        for victim in victims {
            self.cluster.pause(victim);
            self.pauses += 1;
            self.rest_sometimes(50);
        }
        if with_master {
            self.restart_master();
        }
        self.rest(3000);
        for victim in victims {
            self.cluster.resume(victim);
            self.rest_sometimes(50);
        }
    }

    fn restart_master(&mut self) {
        self.cluster.kill("master");
        self.rest_sometimes(1000);
        self.cluster.start_master();
        self.restarts += 1;
    }

    /// A while of any length up to this.
    fn rest(&mut self, millis: u64) {
        thread::sleep(Duration::from_millis(self.numbers.below(millis)));
    }

    /// The same, or nothing at all.
    fn rest_sometimes(&mut self, millis: u64) {
        if self.numbers.below(2) == 0 {
            self.rest(millis);
        }
    }

    fn incarnations(&self) -> BTreeMap<String, u64> {
        let workers = self.watcher.workers().unwrap_or_default();
        workers.into_iter().map(|worker| (worker.id.to_string(), worker.incarnation)).collect()
    }

    /// Waits until those who were killed are known in their new lives, and all copies are there.
    fn wait_mended(&mut self, killed: &[String], before: &BTreeMap<String, u64>) {
        let began = Instant::now();
        let mended = maybe_until(MENDED_WITHIN, || {
            let now = self.incarnations();
            let reborn = killed.iter().all(|worker| now.get(worker) > before.get(worker));
            let status = self.watcher.status().ok()?;
            let whole = status.workers_alive as usize == WORKERS && status.under_replicated == 0;
            (self.course.is_over() || reborn && whole).then_some(())
        });
        self.slowest_mending = self.slowest_mending.max(began.elapsed());
        self.tell(format!("mended after {:?}", began.elapsed()));
        if mended.is_none() {
            let status = self.watcher.status();
            self.course.fail(format!("NOT MENDED within {MENDED_WITHIN:?}: {status:?}"));
        }
    }

    fn tell(&mut self, what: String) {
        self.told.push(format!("{:8.3} s: {what}", self.began.elapsed().as_secs_f64()));
    }
}

#[test]
fn no_call_fails_and_no_value_is_wrong() {
    let seed = setting("CHAOS_SEED", 1);
    let lasts = Duration::from_secs(setting("CHAOS_SECONDS", 20));
    let elements = setting("CHAOS_ELEMENTS", 200_000);
    let course = Course::default();
    let mut cluster = Setup::new().workers(WORKERS).replication(REPLICATION).start();
    let watcher = cluster.connect();
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|n| Client {
            n,
            cluster: cluster.connect(),
            numbers: Numbers::new(seed * 100 + n),
            elements,
            course: &course,
        })
        .collect();
    let mut faults = Faults {
        cluster: &mut cluster,
        watcher: watcher.clone(),
        numbers: Numbers::new(seed * 100 + 99),
        course: &course,
        began: Instant::now(),
        told: vec![],
        kills: 0,
        pauses: 0,
        restarts: 0,
        slowest_mending: Duration::ZERO,
    };
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || client.run());
        }
        // Clients end, whatever happens here.
        let waves = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            while faults.began.elapsed() < lasts && !course.is_over() {
                faults.rest(700);
                faults.wave();
            }
        }));
        course.over.store(true, Ordering::Relaxed);
        if let Err(panic) = waves {
            std::panic::resume_unwind(panic);
        }
    });
    let told = faults.told.join("\n");
    let (kills, pauses, restarts) = (faults.kills, faults.pauses, faults.restarts);
    let mending = faults.slowest_mending;
    let failures = course.failures.lock().unwrap().join("\n");
    assert!(failures.is_empty(), "seed {seed}\n{told}\n{failures}");
    println!(
        "chaos: seed {seed}, {lasts:?}, {elements} elements: {kills} kills, {pauses} pauses, {restarts} master restarts; {}; \
         {} elements checked, none wrong; slowest mending {mending:?}; {}",
        calls_summary(&course),
        course.elements_checked.load(Ordering::Relaxed),
        resumed_summary(&watcher),
    );
    nothing_is_left(&watcher);
}

/// How long calls took: count, median, 99th of a hundred, slowest.
fn calls_summary(course: &Course) -> String {
    let mut calls = course.calls.lock().unwrap();
    let one = |(what, times): (&&str, &mut Vec<Duration>)| {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_millis();
        format!("{} {what} ({}/{}/{} ms)", times.len(), at(0.5), at(0.99), at(1.0))
    };
    let kinds: Vec<String> = calls.iter_mut().map(one).collect();
    format!("no failed call of {} (median/99%/slowest)", kinds.join(", "))
}

/// How soon work flowed again after deaths that were noticed by a closed connection.
fn resumed_summary(watcher: &Cluster) -> String {
    let incidents = watcher.incidents().unwrap();
    let killed =
        incidents.iter().filter(|incident| incident.kind == IncidentKind::WorkerDown && incident.detected_ms < 500);
    let mut resumed: Vec<u64> = killed.filter_map(|incident| incident.resumed_ms).collect();
    resumed.sort_unstable();
    match resumed.as_slice() {
        [] => "no operation was running at a kill".to_string(),
        all => format!(
            "work flowed again after kills in {}/{} ms (median/slowest)",
            all[all.len() / 2],
            all[all.len() - 1]
        ),
    }
}

/// When everything is deleted, no worker keeps a byte: nothing was forgotten.
fn nothing_is_left(watcher: &Cluster) {
    for array in watcher.arrays().unwrap() {
        watcher.delete(&array.array_id).unwrap();
    }
    until("the memory of everything deleted", FREED_WITHIN, || {
        let status = watcher.status().ok()?;
        (status.memory_used_bytes == 0 && status.uploads == 0 && status.running_operations == 0).then_some(())
    });
}
