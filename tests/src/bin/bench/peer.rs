//! A peer: a Python process that does what the cluster does, and is asked line by line. `tests/peers/README.md` has the
//! requests and answers.

use crate::judge::{Expected, Summary};
use crate::ours::say;
use crate::times::Times;
use ::tests::harness::Group;
use ::tests::harness::wait::maybe_until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// How long an answer may take. The longest is the calibration, a minute on a busy machine.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a peer may take to end by itself when it is not asked any more; then it is killed.
const GOODBYE: Duration = Duration::from_secs(10);

/// Lines of its standard error that are shown when a peer fails.
const LOG_LINES_SHOWN: usize = 15;

/// A peer that runs. It ends when it is dropped, and also if this process is killed.
pub struct Peer {
    /// What it is and its version, as it says.
    pub what: String,
    /// What the calibration has chosen.
    pub settings: String,
    child: Child,
    /// None at the end.
    requests: Option<ChildStdin>,
    answers: Receiver<String>,
    log: PathBuf,
    /// Dropped last: the head kills what is left, and removes the directory.
    _group: Group,
    _directory: TempDir,
}

impl Peer {
    pub fn numpy(python: &Path) -> Result<Peer, String> {
        Peer::start(python, &["numpy_peer.py"])
    }

    pub fn dask(python: &Path, how: &str) -> Result<Peer, String> {
        Peer::start(python, &["dask_peer.py", how])
    }

    pub fn numexpr(python: &Path) -> Result<Peer, String> {
        Peer::start(python, &["numexpr_peer.py"])
    }

    pub fn numba(python: &Path) -> Result<Peer, String> {
        Peer::start(python, &["numba_peer.py"])
    }

    pub fn ray(python: &Path) -> Result<Peer, String> {
        Peer::start(python, &["ray_peer.py"])
    }

    /// Dask or Ray, with workers to lose: for [`Peer::recovery`] alone.
    pub fn with_workers_to_lose(python: &Path, which: &str) -> Result<Peer, String> {
        Peer::start(python, &["recovery_peer.py", which])
    }

    fn start(python: &Path, words: &[&str]) -> Result<Peer, String> {
        // A short name: Ray has sockets far below it, and the names of sockets are short.
        let directory = tempfile::Builder::new().prefix("darray-").tempdir().map_err(say)?;
        let group = Group::start(directory.path());
        let log = directory.path().join("log");
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let mut command = Command::new(python);
        command.arg(scripts.join(words[0])).args(&words[1..]).current_dir(directory.path());
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("NUMBA_CACHE_DIR", directory.path().join("numba"));
        // They would tell the linear algebra of NumPy which processor this is.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OPENBLAS_")) {
            command.env_remove(name);
        }
        let stderr = std::fs::File::create(&log).map_err(say)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = group.take_in(&mut command).spawn().map_err(|e| format!("{}: {e}", python.display()))?;
        let requests = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let (sender, answers) = sync_channel(1); // there is one answer for each request
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let (what, settings) = (words.join(" "), String::new());
        let mut peer = Peer { what, settings, child, requests, answers, log, _group: group, _directory: directory };
        peer.what = peer.answer()?["ready"].as_str().unwrap_or_default().to_string();
        peer.signal(Signal::STOP);
        Ok(peer)
    }

    /// Has it find what is fastest here, for [`Peer::round`] and for [`Peer::operations`].
    pub fn calibrate(&mut self, elements: usize) -> Result<(), String> {
        self.calibrate_for("calibrate", elements)
    }

    /// Has it find what is fastest here, for [`Peer::steps`].
    pub fn calibrate_compute(&mut self, elements: usize) -> Result<(), String> {
        self.calibrate_for("calibrate_compute", elements)
    }

    fn calibrate_for(&mut self, workload: &str, elements: usize) -> Result<(), String> {
        let answer = self.ask(json!({"workload": workload, "n": elements}))?;
        let settings = answer["settings"].as_str().unwrap_or_default();
        match self.settings.as_str() {
            "" => self.settings = settings.to_string(),
            known if known == settings => {}
            known => self.settings = format!("{known}; {settings}"),
        }
        Ok(())
    }

    /// Has it store, compute and read the values of a seed: the time of each step that it has.
    pub fn round(&mut self, seed: u64, expected: &Expected) -> Result<BTreeMap<String, Duration>, String> {
        let answer = self.ask(json!({"workload": "round", "n": expected.length(), "seed": seed}))?;
        self.compare(&answer["result"], expected)?;
        times(&answer)
    }

    /// Has it do all steps of a workload, `compute` or `expr`, with the arrays of a seed. `check` is given each step with what the
    /// peer tells of its result.
    pub fn steps(
        &mut self,
        workload: &str,
        elements: usize,
        seed: u64,
        check: impl Fn(&str, &Value) -> Result<(), String>,
    ) -> Result<BTreeMap<String, Duration>, String> {
        let answer = self.ask(json!({"workload": workload, "n": elements, "seed": seed}))?;
        let times = times(&answer)?;
        for step in times.keys() {
            check(step, &answer["check"][step]).map_err(|wrong| format!("{}: {step}: {wrong}", self.what))?;
        }
        Ok(times)
    }

    /// Operations a second on small arrays, for so long; a result is compared. Only Ray does that.
    pub fn operations(&mut self, counted: Duration, expected: &Expected) -> Result<f64, String> {
        let answer = self.ask(json!({"workload": "operations", "seconds": counted.as_secs_f64()}))?;
        self.compare(&answer["result"], expected)?;
        answer["per_second"].as_f64().ok_or_else(|| format!("{} tells no rate", self.what))
    }

    /// What is felt of so many deaths of workers, and what there is to say of it.
    pub fn recovery(&mut self, elements: usize, kills: usize) -> Result<(Times, String), String> {
        let answer = self.ask(json!({"workload": "recovery", "n": elements, "kills": kills}))?;
        let mut times = Times::default();
        for ms in answer["ms"].as_array().into_iter().flatten().filter_map(Value::as_f64) {
            times.add(Duration::from_secs_f64(ms / 1e3));
        }
        match times.len() == kills {
            true => Ok((times, answer["note"].as_str().unwrap_or_default().to_string())),
            false => Err(format!("{} tells of {} deaths and not of {kills}", self.what, times.len())),
        }
    }

    fn compare(&self, told: &Value, expected: &Expected) -> Result<(), String> {
        let checked = Summary::told(told).and_then(|summary| expected.check(&summary));
        checked.map_err(|wrong| format!("{}: {wrong}", self.what))
    }

    fn ask(&mut self, request: Value) -> Result<Value, String> {
        self.signal(Signal::CONT);
        let answer = self.answer_to(request);
        self.signal(Signal::STOP);
        answer
    }

    /// To all its processes. Between its turns they stand still: Ray and Dask have a dozen that are never quiet, and on a machine of
    /// two processors they would be measured with everybody else, and everybody else with them.
    fn signal(&self, signal: Signal) {
        for process in descendants(self.child.id()) {
            let _ = kill_process(process, signal); // it may have ended just now
        }
    }

    fn answer_to(&mut self, request: Value) -> Result<Value, String> {
        let requests = self.requests.as_mut().ok_or("it has ended")?;
        if writeln!(requests, "{request}").is_err() {
            return Err(self.failed("it does not listen any more"));
        }
        self.answer()
    }

    fn answer(&mut self) -> Result<Value, String> {
        let line = self.answers.recv_timeout(ANSWER_TIMEOUT).map_err(|e| self.failed(&e.to_string()))?;
        let answer: Value = serde_json::from_str(&line).map_err(|e| self.failed(&format!("{e} in {line}")))?;
        match answer["error"].as_str() {
            Some(why) => Err(self.failed(why)),
            None => Ok(answer),
        }
    }

    fn failed(&self, why: &str) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        format!("{}: {why}\n---- the end of its standard error\n{last}", self.what)
    }
}

/// What each step took.
fn times(answer: &Value) -> Result<BTreeMap<String, Duration>, String> {
    let steps = answer["ms"].as_object().ok_or("an answer without times")?;
    let time = |ms: &Value| ms.as_f64().map(|ms| Duration::from_secs_f64(ms / 1e3)).ok_or("a time that is no number");
    steps.iter().map(|(step, ms)| Ok((step.clone(), time(ms)?))).collect()
}

/// A process, and those it has started, and so on; of those that are running now.
fn descendants(root: u32) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = numbers.filter_map(|number| Some((number, parent(number)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&one) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == one).map(|(number, _)| number));
        next += 1;
    }
    found.into_iter().filter_map(|number| Pid::from_raw(number as i32)).collect()
}

/// The fourth field of its `stat`; the second, its name in brackets, may have anything in it.
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.requests = None;
        let ended = maybe_until(GOODBYE, || self.child.try_wait().transpose());
        if ended.is_none() {
            let _ = self.child.kill(); // it may have ended just now
            let _ = self.child.wait();
        }
    }
}
