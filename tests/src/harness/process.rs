//! One process, and the group that all of them are in.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a program may take to say where it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// What the head of a group does. It ends with the group.
const HEAD: &str = r#"while read -r word; do keep=$word; done; test "$keep" = keep || rm -rf -- "$1"; kill -9 -$$"#;

/// A process group whose head ends it when its standard input closes, however that happens, and removes its directory.
#[derive(Debug)]
pub struct Group {
    head: Child,
    /// Closed at the end, also by the kernel if this process is killed.
    lifeline: Option<ChildStdin>,
}

impl Group {
    /// Starts the head.
    pub fn start(directory: &Path) -> Group {
        let mut command = Command::new("sh");
        command.args(["-c", HEAD, "sh"]).arg(directory).process_group(0).stdin(Stdio::piped());
        let mut head = command.spawn().expect("a shell");
        let lifeline = head.stdin.take();
        Group { head, lifeline }
    }

    /// Has a program that is to be started belong to the group.
    pub fn take_in<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.process_group(self.head.id() as i32)
    }

    /// Has the directory stay.
    pub fn keep_directory(&mut self) {
        if let Some(lifeline) = &mut self.lifeline {
            let _ = lifeline.write_all(b"keep\n"); // it is there as long as we are
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.lifeline = None;
        let _ = self.head.wait(); // nothing is left to do if that fails
    }
}

/// A process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens, if it said so.
    pub address: String,
}

impl Process {
    /// Starts it with its standard error at the end of a file, and reads where it listens.
    pub fn start(command: &mut Command, group: &Group, log: &Path) -> io::Result<Process> {
        let mut child = spawn(command.stdout(Stdio::piped()), group, log)?;
        match read_address(&mut child) {
            Ok(address) => Ok(Process { child, address }),
            Err(e) => {
                let _ = child.kill();
                let status = child.wait()?;
                Err(io::Error::other(format!("{e} ({status})")))
            }
        }
    }

    /// Starts one that listens nowhere.
    pub fn start_silent(mut command: Command, group: &Group, log: &Path) -> io::Result<Process> {
        let child = spawn(command.stdout(Stdio::null()), group, log)?;
        Ok(Process { child, address: String::new() })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|e| panic!("{signal:?} to {pid:?}: {e}"));
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child")
    }
}

fn spawn(command: &mut Command, group: &Group, log: &Path) -> io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(log)?;
    command.env_remove("DARRAY_MASTER").stdin(Stdio::null()).stderr(log);
    group.take_in(command).spawn()
}

/// The address in the first line, `listening HOST:PORT`.
fn read_address(child: &mut Child) -> io::Result<String> {
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(read.map(|_| line)); // nobody waits any more
    });
    let line = receiver.recv_timeout(START_TIMEOUT).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    match line.trim_end().strip_prefix("listening ") {
        Some(address) => Ok(address.to_string()),
        None => Err(io::Error::other(format!("its first line is {line:?}"))),
    }
}

/// How a program that ran to its end did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Its standard output, if it succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "exit code {}: {}{}", self.code, self.out, self.err);
        self.out
    }

    /// Its standard output as JSON, if it succeeded.
    pub fn json(self) -> serde_json::Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e} in {out}"))
    }
}

/// Runs a program to its end.
pub fn run(command: &mut Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("piped");
    let output = std::thread::scope(|scope| {
        // A program that does not want its input is free to end.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("its output")
    });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}
