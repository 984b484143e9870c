//! The program itself: its first line, its exit codes, its signals.

mod common;

use common::*;
use protocol::Body;
use protocol::message::worker::{WorkerStage, WorkerStatus};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.args(args).env_remove("DARRAY_MASTER").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn start(args: &[&str]) -> (Child, SocketAddr) {
    let mut child = command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening ").expect("the first line").parse().unwrap();
    (child, address)
}

fn signal(child: &Child, name: &str) {
    // The shell's own `kill`: not every machine has a program of that name.
    let status = Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

fn stderr(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn sigterm_drains_and_the_exit_code_is_0() {
    let master = Master::start();
    let address = master.address.to_string();
    let (mut child, data_port) = start(&["--id", "w1", "--master", &address, "--threads", "1", "--memory", "64M"]);
    let hello = master.registration("w1").hello.unwrap();
    assert_eq!((hello.address, hello.memory_bytes), (data_port.to_string(), 64 << 20));
    Client::connect(data_port);
    signal(&child, "-TERM");
    let state = master.hear("w1", |m| if let Body::WorkerStatus(s) = m.body { Some(s.state) } else { None });
    assert_eq!(state, WorkerStage::Draining);
    master.tell("w1", WorkerStatus { state: WorkerStage::Drained });
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_immediately() {
    let master = Master::start();
    let (mut child, _) = start(&["w1", "127.0.0.1", &master.address.port().to_string()]);
    master.registration("w1");
    signal(&child, "-INT");
    master.hear("w1", |m| matches!(m.body, Body::WorkerStatus(_)).then_some(()));
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn without_a_master_it_says_so_and_ends_at_once_when_asked() {
    let nobody = free_port().to_string();
    let (mut child, _) = start(&["--id", "w1", "--master", &nobody]);
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0), "it has no copies");
    let log = stderr(&mut child);
    assert!(log.contains("no master is connected"), "{log}");
}

#[test]
fn wrong_usage_is_2_and_a_port_in_use_is_1() {
    let usage = command(&["--id", "a b"]).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&usage.stderr).contains("white space"));
    assert_eq!(command(&["--help"]).output().unwrap().status.code(), Some(0));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let output = command(&["--id", "w1", "--listen", &listen]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("cannot listen on") && log.contains(&listen), "{log}");
}

#[test]
#[cfg(target_os = "linux")]
fn each_computing_thread_has_a_core_of_its_own() {
    // Given all that this process may use, each thread must have another one.
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let allowed = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.expect("the cores of a thread").trim().to_string()
    };
    let cores = allowed(&status);
    let (mut child, _) = start(&["--id", "w1", "--master", &free_port().to_string(), "--cores", &cores]);
    let threads = || -> Vec<(String, String)> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        let read = |path: std::path::PathBuf, file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
        let named = |path: std::path::PathBuf| (read(path.clone(), "comm").trim().to_string(), read(path, "status"));
        let mut all: Vec<_> = tasks.map(|task| named(task.unwrap().path())).collect();
        all.retain(|(name, status)| name.starts_with("compute-") && !status.is_empty());
        all.iter().map(|(name, status)| (name.clone(), allowed(status))).collect()
    };
    let until = Instant::now() + Duration::from_secs(10);
    let is_pinned = |(_, core): &(String, String)| core.parse::<usize>().is_ok();
    while threads().is_empty() || !threads().iter().all(is_pinned) {
        assert!(Instant::now() < until, "{:?}", threads());
        std::thread::sleep(Duration::from_millis(5));
    }
    let found: BTreeSet<String> = threads().into_iter().map(|(_, core)| core).collect();
    assert_eq!(found.len(), threads().len(), "{:?} of {cores}", threads());
    signal(&child, "-TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let log = stderr(&mut child);
    assert!(log.contains(&format!("on cores {cores}")), "{log}");
}
