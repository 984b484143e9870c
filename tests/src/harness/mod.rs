//! Real programs for tests: a master and workers as processes, killed, paused and started again as a test likes.
//!
//! ```no_run
//! let mut cluster = tests::harness::Setup::new().workers(3).start();
//! let client = cluster.connect();
//! client.create("a", &[1.0, 2.0]).unwrap();
//! cluster.kill("w1");
//! assert_eq!(client.get::<f64>("a").unwrap(), [1.0, 2.0]);
//! ```
//!
//! Nothing stays behind: every process is in one process group, and a shell at its head ends them all and removes their
//! directory when its standard input closes, which happens however this process ends. When a test fails, the ends of
//! all logs are printed and the directory with the logs stays.

pub mod calls;
mod footprint;
pub mod level1;
pub mod links;
pub mod namespace;
pub mod oracle;
mod process;
mod programs;
pub mod proxy;
pub mod raw;
pub mod switch;
pub mod wait;

pub use footprint::Footprint;
pub use process::{Group, Ran, run};
pub use programs::Programs;

use client::Cluster;
use links::{Link, Links};
use process::Process;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use switch::Switch;
use tempfile::TempDir;
use wait::until;

/// The deadline of every call of a library client of the harness. A correct cluster needs a small part of it, also on a
/// machine that is busy with other tests.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long what should happen soon may take before a test gives up.
pub const SOON: Duration = Duration::from_secs(30);

/// Where a program with fault points looks for what is to happen.
const FAULT: &str = "DARRAY_FAULT";

/// How many lines of every log are printed when a test fails.
const LOG_LINES_SHOWN: usize = 40;

/// What cluster to start.
#[derive(Clone, Debug)]
pub struct Setup {
    workers: usize,
    replication: u32,
    threads: usize,
    cores: Vec<usize>,
    master_flags: Vec<String>,
    worker_flags: Vec<String>,
    links: bool,
    switch: bool,
    faulty: Option<PathBuf>,
    master_limits: String,
    worker_limits: String,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            workers: 3,
            replication: 2,
            threads: 1,
            cores: Vec::new(),
            master_flags: Vec::new(),
            worker_flags: Vec::new(),
            links: false,
            switch: false,
            faulty: None,
            master_limits: String::new(),
            worker_limits: String::new(),
        }
    }
}

impl Setup {
    /// Three workers with one thread each, two copies.
    pub fn new() -> Setup {
        Setup::default()
    }

    /// So many workers, called w1, w2, …
    pub fn workers(mut self, workers: usize) -> Setup {
        self.workers = workers;
        self
    }

    /// So many copies.
    pub fn replication(mut self, replication: u32) -> Setup {
        self.replication = replication;
        self
    }

    /// Threads each worker computes with.
    pub fn threads(mut self, threads: usize) -> Setup {
        self.threads = threads;
        self
    }

    /// The workers compute with one thread each, on these cores in turn.
    pub fn cores(mut self, cores: Vec<usize>) -> Setup {
        self.cores = cores;
        self
    }

    /// More flags for the master, separated by spaces.
    pub fn master_flags(mut self, flags: &str) -> Setup {
        self.master_flags = flags.split_whitespace().map(str::to_string).collect();
        self
    }

    /// More flags for every worker, separated by spaces.
    pub fn worker_flags(mut self, flags: &str) -> Setup {
        self.worker_flags = flags.split_whitespace().map(str::to_string).collect();
        self
    }

    /// With links between all nodes that can be spoiled: [`Processes::links`].
    pub fn links(mut self) -> Setup {
        self.links = true;
        self
    }

    /// With a network of its own for each process, and a switch between them that can be spoiled: [`Processes::switch`]. The thread
    /// that starts it becomes the node [`CLIENTS`] of that network, with all threads that it starts.
    pub fn switch(mut self) -> Setup {
        self.switch = true;
        self
    }

    /// With the program `faulty` as master and workers, so that they can be [armed](Processes::arm).
    pub fn faulty(mut self, program: &str) -> Setup {
        self.faulty = Some(program.into());
        self
    }

    /// What the master may have, in options of the shell's `ulimit`, separated by spaces: `-n 80`.
    pub fn master_limits(mut self, limits: &str) -> Setup {
        self.master_limits = limits.to_string();
        self
    }

    /// The same for every worker.
    pub fn worker_limits(mut self, limits: &str) -> Setup {
        self.worker_limits = limits.to_string();
        self
    }

    /// Starts it, and waits until all workers are alive.
    pub fn start(self) -> Processes {
        let mut processes = self.nothing();
        processes.start_all();
        processes.wait_alive(processes.setup.workers);
        processes
    }

    /// What no process is in yet.
    pub fn nothing(self) -> Processes {
        let directory = tempfile::Builder::new().prefix("darray-test-").tempdir().expect("a temporary directory");
        let network = self.switch.then(|| Network::start(self.workers));
        let master_host = network.as_ref().map_or("127.0.0.1".to_string(), |network| network.host("master"));
        Processes {
            group: Group::start(directory.path()),
            directory,
            master_address: format!("{master_host}:0"),
            links: Links::default(),
            network,
            armed: BTreeMap::new(),
            processes: BTreeMap::new(),
            setup: self,
        }
    }
}

/// The node of a [switched](Setup::switch) cluster that clients are.
pub const CLIENTS: &str = "clients";

/// A switch whose nodes are a cluster and its clients.
#[derive(Debug)]
struct Network {
    switch: Switch,
    /// The namespace that this thread was in.
    before: File,
}

impl Network {
    fn start(workers: usize) -> Network {
        let names = ["master", CLIENTS].map(str::to_string);
        let workers = (1..=workers).map(|n| format!("w{n}"));
        let network =
            Network { switch: Switch::start(names.into_iter().chain(workers), 1), before: namespace::current() };
        network.switch.enter(CLIENTS);
        network
    }

    fn host(&self, name: &str) -> String {
        self.switch.address(name).to_string()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        namespace::enter(&self.before);
    }
}

/// A running cluster. Dropping it ends all its processes.
#[derive(Debug)]
pub struct Processes {
    group: Group,
    directory: TempDir,
    master_address: String,
    links: Links,
    network: Option<Network>,
    /// The faults that wait for the next life of a process.
    armed: BTreeMap<String, String>,
    /// By name: `master`, or the worker's id.
    processes: BTreeMap<String, Process>,
    setup: Setup,
}

impl Processes {
    /// HOST:PORT of the master, the same in all its lives.
    pub fn master_address(&self) -> &str {
        &self.master_address
    }

    /// Where logs and data are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The master's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.directory().join("data")
    }

    /// The links between all nodes, if the setup has them.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The switch between all nodes, if the setup has one.
    pub fn switch(&self) -> &Switch {
        &self.network.as_ref().expect("the setup has a switch").switch
    }

    /// A client of its own, behind the clients' link if there is one.
    pub fn connect(&self) -> Cluster {
        match self.setup.links {
            true => self.connect_to(self.links.get(&Link::Clients).address()),
            false => self.connect_directly(),
        }
    }

    /// A client that no link keeps from the master.
    pub fn connect_directly(&self) -> Cluster {
        self.connect_to(&self.master_address)
    }

    fn connect_to(&self, address: &str) -> Cluster {
        let builder = Cluster::builder().masters(address).timeout(CALL_TIMEOUT);
        builder.connect_timeout(SOON).connect().expect("the master can be reached")
    }

    /// Runs the program `client` with these words.
    pub fn client(&self, line: &str) -> Ran {
        self.client_with_input(line, b"")
    }

    /// Runs the program `client` with these words and this standard input.
    pub fn client_with_input(&self, line: &str, input: &[u8]) -> Ran {
        let mut command = Command::new(&Programs::built().client);
        command.args(line.split_whitespace()).env("DARRAY_MASTER", &self.master_address).env_remove("RUST_LOG");
        command.current_dir(self.directory());
        run(&mut command, input)
    }

    /// Starts the program `client` with these words, as a process of this name.
    pub fn start_client(&mut self, name: &str, line: &str) {
        let mut command = Command::new(&Programs::built().client);
        command.args(["--master", &self.master_address]).args(line.split_whitespace());
        let started = Process::start_silent(command, &self.group, &self.log(name));
        self.processes.insert(name.to_string(), started.unwrap_or_else(|e| panic!("starting {name}: {e}")));
    }

    /// How many connections through shared memory a process has now.
    pub fn shared_connections(&self, name: &str) -> usize {
        let maps = format!("/proc/{}/maps", self.processes[name].id());
        let maps = std::fs::read_to_string(maps).expect("a running process has a list of its mappings");
        maps.lines().filter(|line| line.contains("memfd:darray-ring")).count()
    }

    /// Starts the master and all workers.
    pub fn start_all(&mut self) {
        self.start_master();
        for n in 1..=self.setup.workers {
            self.start_worker(&format!("w{n}"));
        }
    }

    /// Has the next life of a process, and only that one, meet with a fault; see `protocol::fault`.
    pub fn arm(&mut self, name: &str, fault: String) {
        self.armed.insert(name.to_string(), fault);
    }

    /// Starts a master, on the port and data of the one before if there was one.
    pub fn start_master(&mut self) {
        let data_dir = self.data_dir();
        self.start_master_on(&data_dir);
    }

    /// Starts a master on the port of the one before and some data directory.
    pub fn start_master_on(&mut self, data_dir: &Path) {
        let mut command = self.program("master", "master");
        command.args(["--listen", &self.master_address, "--replication", &self.setup.replication.to_string()]);
        command.arg("--data-dir").arg(data_dir).args(&self.setup.master_flags);
        if self.network.is_some() {
            command.arg("--insecure");
        }
        let process = self.spawn_perhaps_armed("master", command);
        self.master_address = process.address.clone();
        self.processes.insert("master".to_string(), process);
        if self.setup.links {
            self.links.open(Link::Clients);
            self.links.lead_to_master(&self.master_address);
        }
    }

    /// What a worker computes with.
    fn compute_flags(&self, id: &str) -> [String; 2] {
        let Setup { threads, cores, .. } = &self.setup;
        if cores.is_empty() {
            return ["--threads".to_string(), threads.to_string()];
        }
        let number: usize = id.trim_start_matches('w').parse().expect("workers are called w1, w2, …");
        ["--cores".to_string(), cores[(number - 1) % cores.len()].to_string()]
    }

    /// Starts a worker, or a new life of one.
    pub fn start_worker(&mut self, id: &str) {
        let mut command = self.program("worker", id);
        command.args(["--id", id]).args(self.compute_flags(id)).args(&self.setup.worker_flags);
        if self.setup.links {
            let control = self.links.open(Link::control(id));
            control.lead_to(&self.master_address);
            command.args(["--master", control.address()]);
            // What goes through shared memory goes through no link.
            let data = self.links.open(Link::data(id));
            data.lead_nowhere_yet(); // the master tries it before we know its port
            command.args(["--no-shared-memory", "--advertise", data.address()]);
        } else {
            command.args(["--master", &self.master_address]);
        }
        if let Some(network) = &self.network {
            command.args(["--no-shared-memory", "--insecure", "--listen", &format!("{}:0", network.host(id))]);
        }
        let process = self.spawn_perhaps_armed(id, command);
        if self.setup.links {
            self.links.get(&Link::data(id)).lead_to(&process.address);
        }
        self.processes.insert(id.to_string(), process);
    }

    /// The program `master` or `worker`, or that with fault points in its place, under its limits, as a node of the network.
    fn program(&self, role: &str, name: &str) -> Command {
        if let Some(faulty) = &self.setup.faulty {
            let mut command = Command::new(faulty);
            command.arg(role);
            return command;
        }
        let (program, limits) = match role {
            "master" => (&Programs::built().master, &self.setup.master_limits),
            _ => (&Programs::built().worker, &self.setup.worker_limits),
        };
        if let Some(network) = &self.network {
            assert!(limits.is_empty(), "limits and a switch were never needed together");
            let mut command = network.switch.command(name);
            command.arg(program);
            return command;
        }
        if limits.is_empty() {
            return Command::new(program);
        }
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit {limits} && exec \"$0\" \"$@\"")]).arg(program);
        command
    }

    /// Starts a process. One that is armed may die before it says where it listens; then it has another life.
    fn spawn_perhaps_armed(&mut self, name: &str, mut command: Command) -> Process {
        let Some(fault) = self.armed.remove(name) else { return self.spawn(name, &mut command) };
        let started = Process::start(command.env(FAULT, fault), &self.group, &self.log(name));
        command.env_remove(FAULT);
        started.unwrap_or_else(|_| self.spawn(name, &mut command))
    }

    fn spawn(&self, name: &str, command: &mut Command) -> Process {
        Process::start(command, &self.group, &self.log(name)).unwrap_or_else(|e| panic!("starting {name}: {e}"))
    }

    /// The log of a process: all its lives.
    pub fn log(&self, name: &str) -> PathBuf {
        self.directory().join(format!("{name}.log"))
    }

    /// The text of a log.
    pub fn log_text(&self, name: &str) -> String {
        std::fs::read_to_string(self.log(name)).unwrap_or_default()
    }

    /// `kill -9`, also of a paused process.
    pub fn kill(&mut self, name: &str) {
        if let Some(mut process) = self.processes.remove(name) {
            process.kill();
        }
    }

    /// `kill -9` and another life on the same port and data.
    pub fn restart_master(&mut self) {
        self.kill("master");
        self.start_master();
    }

    /// SIGSTOP.
    pub fn pause(&self, name: &str) {
        self.processes[name].signal(rustix::process::Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self, name: &str) {
        self.processes[name].signal(rustix::process::Signal::CONT);
    }

    /// SIGTERM, and how the process ended.
    pub fn terminate(&mut self, name: &str) -> ExitStatus {
        self.drain(name);
        self.wait_end(name)
    }

    /// SIGTERM, without waiting for the end.
    pub fn drain(&self, name: &str) {
        self.processes[name].signal(rustix::process::Signal::TERM);
    }

    /// Waits for the end of a process that was told to end.
    pub fn wait_end(&mut self, name: &str) -> ExitStatus {
        let mut process = self.processes.remove(name).expect("it is there");
        until(&format!("the end of {name}"), SOON, || process.ended())
    }

    /// The process id of one.
    pub fn id(&self, name: &str) -> u32 {
        self.processes[name].id()
    }

    /// What memory a process uses.
    pub fn footprint(&self, name: &str) -> Footprint {
        Footprint::of(self.id(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// How many descriptors a process has open, and how many threads it has.
    pub fn open_things(&self, name: &str) -> [usize; 2] {
        let pid = self.id(name);
        ["fd", "task"].map(|what| std::fs::read_dir(format!("/proc/{pid}/{what}")).expect("it runs").count())
    }

    /// The names of the processes that should be there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.processes.keys().map(String::as_str)
    }

    /// How a process has ended, if it has: by itself, or because it was told to.
    pub fn ended(&mut self, name: &str) -> Option<ExitStatus> {
        self.processes.get_mut(name)?.ended()
    }

    /// Fails if a process has ended that nobody ended.
    pub fn check(&mut self) {
        for (name, process) in &mut self.processes {
            if let Some(status) = process.ended() {
                panic!("{name} ended by itself: {status}");
            }
        }
    }

    /// Waits until so many workers are alive.
    pub fn wait_alive(&self, count: usize) {
        let client = self.connect_directly();
        until(&format!("{count} workers alive"), SOON, || {
            let alive = client.status().ok()?.workers_alive as usize;
            (alive == count).then_some(())
        });
    }

    /// Waits until so many workers are alive and every segment has all its copies.
    pub fn wait_whole(&self, workers: usize) {
        let client = self.connect_directly();
        until(&format!("{workers} workers with all copies"), SOON, || {
            let status = client.status().ok()?;
            let whole = status.workers_alive as usize == workers && status.workers_suspect == 0;
            (whole && status.under_replicated == 0).then_some(())
        });
    }

    /// Prints the ends of all logs, and keeps the directory that they are in.
    pub fn show_logs(&mut self) {
        for name in std::iter::once("master".to_string()).chain((1..=99).map(|n| format!("w{n}"))) {
            let Ok(text) = std::fs::read_to_string(self.log(&name)) else { continue };
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.len().saturating_sub(LOG_LINES_SHOWN);
            eprintln!("---- end of the log of {name}\n{}", lines[last..].join("\n"));
        }
        self.group.keep_directory();
        self.directory.disable_cleanup(true);
        eprintln!("---- all logs: {}", self.directory().display());
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            process.kill();
        }
        if std::thread::panicking() {
            self.show_logs();
        }
    }
}
