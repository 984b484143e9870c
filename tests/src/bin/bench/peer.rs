//! A peer: a Python process that does what the cluster does, and is asked line by line. `tests/peers/README.md` has the
//! requests and answers.

use crate::ours::say;
use ::tests::harness::Group;
use ::tests::harness::oracle::example1;
use ::tests::harness::wait::maybe_until;
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

/// Every how many elements of a result are told, as `peer.py` has it too.
const SAMPLED: usize = 997;

/// How far a result may be from ours: other sine and cosine, and sums in another order.
const TOLERANCE: f64 = 1e-9;

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

    pub fn ray(python: &Path) -> Result<Peer, String> {
        Peer::start(python, &["ray_peer.py"])
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
        Ok(peer)
    }

    /// Has it find what is fastest here.
    pub fn calibrate(&mut self, elements: usize) -> Result<(), String> {
        let answer = self.ask(json!({"workload": "calibrate", "n": elements}))?;
        self.settings = answer["settings"].as_str().unwrap_or_default().to_string();
        Ok(())
    }

    /// Has it store, compute and read the values of a seed: the time of each step that it has.
    pub fn round(&mut self, seed: u64, expected: &Expected) -> Result<BTreeMap<String, Duration>, String> {
        let answer = self.ask(json!({"workload": "round", "n": expected.length, "seed": seed}))?;
        expected.check(&answer["result"]).map_err(|wrong| format!("{}: {wrong}", self.what))?;
        let steps = answer["ms"].as_object().ok_or("an answer without times")?;
        let time = |ms: &Value| Duration::from_secs_f64(ms.as_f64().unwrap_or_default() / 1e3);
        Ok(steps.iter().map(|(step, ms)| (step.clone(), time(ms))).collect())
    }

    /// Operations a second on small arrays, for so long; a result is compared. Only Ray does that.
    pub fn operations(&mut self, counted: Duration, expected: &Expected) -> Result<f64, String> {
        let answer = self.ask(json!({"workload": "operations", "seconds": counted.as_secs_f64()}))?;
        expected.check(&answer["result"]).map_err(|wrong| format!("{}: {wrong}", self.what))?;
        answer["per_second"].as_f64().ok_or_else(|| format!("{} tells no rate", self.what))
    }

    fn ask(&mut self, request: Value) -> Result<Value, String> {
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

impl Drop for Peer {
    fn drop(&mut self) {
        self.requests = None;
        let ended = maybe_until(GOODBYE, || self.child.try_wait().transpose());
        if ended.is_none() {
            let _ = self.child.kill(); // it may have ended just now
            let _ = self.child.wait();
        }
    }
}

/// What a result must be.
pub struct Expected {
    length: usize,
    sum: f64,
    samples: Vec<f64>,
}

impl Expected {
    /// Of example1 on these values.
    pub fn of(values: &[f64]) -> Expected {
        Expected {
            length: values.len(),
            sum: values.iter().map(|x| example1(*x)).sum(),
            samples: values.iter().step_by(SAMPLED).map(|x| example1(*x)).collect(),
        }
    }

    fn check(&self, found: &Value) -> Result<(), String> {
        let length = found["length"].as_u64().unwrap_or_default() as usize;
        let samples: Vec<f64> = serde_json::from_value(found["samples"].clone()).map_err(say)?;
        if length != self.length || samples.len() != self.samples.len() {
            return Err(format!("{length} elements instead of {}", self.length));
        }
        let near = |found: f64, expected: f64| (found - expected).abs() <= TOLERANCE * (1.0 + expected.abs());
        if let Some(wrong) = (0..samples.len()).find(|i| !near(samples[*i], self.samples[*i])) {
            let (at, found, expected) = (wrong * SAMPLED, samples[wrong], self.samples[wrong]);
            return Err(format!("element {at} is {found}, expected {expected}"));
        }
        let sum = found["sum"].as_f64().unwrap_or(f64::NAN);
        if !near(sum, self.sum) {
            return Err(format!("the sum is {sum}, expected {}", self.sum));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_result_of_a_peer_is_told() {
        let values: Vec<f64> = (0..2000).map(f64::from).collect();
        let right: Vec<f64> = values.iter().map(|x| example1(*x)).collect();
        let expected = Expected::of(&values);
        let tell = |result: &[f64]| {
            let samples: Vec<f64> = result.iter().copied().step_by(SAMPLED).collect();
            json!({"length": result.len(), "sum": result.iter().sum::<f64>(), "samples": samples})
        };
        assert_eq!(expected.check(&tell(&right)), Ok(()));
        let changed = |at: usize| {
            let mut result = right.clone();
            result[at] += 1e-5;
            expected.check(&tell(&result)).unwrap_err()
        };
        assert!(changed(997).starts_with("element 997 is"));
        assert!(changed(5).starts_with("the sum is"));
        assert_eq!(expected.check(&tell(&right[1..])).unwrap_err(), "1999 elements instead of 2000");
    }
}
