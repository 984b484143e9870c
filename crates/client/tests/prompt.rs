//! The prompt of the program itself, from a pipe and on a terminal, against a master and workers made of threads.

mod fake;

use fake::original::{FakeOriginal, Flavour, Way};
use fake::{FakeMaster, Fault};
use protocol::ErrorCode;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Nothing here takes nearly as long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn client(master: &str, options: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(options.split_whitespace()).env("DARRAY_MASTER", master).env_remove("RUST_LOG");
    command
}

// ---- from a pipe ----

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn run(command: Command, commands: &str) -> Ran {
    let mut child = piped(command);
    child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn piped(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

struct World(Arc<FakeMaster>);

impl World {
    fn new() -> World {
        World(FakeMaster::start(2))
    }

    fn client(&self, options: &str) -> Command {
        client(&self.0.address.to_string(), options)
    }

    fn run(&self, commands: &str) -> Ran {
        run(self.client(""), commands)
    }

    fn asked(&self, kind: &str) -> usize {
        self.0.asked(kind).len()
    }
}

#[test]
fn commands_are_carried_out_in_order() {
    let world = World::new();
    let ran = world.run(
        "create-double a 3 --seed 1\n# a comment\n\n  \t\n  # another one\nget a --range :1\r\n\
         apply 'a' double\n'get' \"a\" --range 0:1",
    );
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("a@v1: 3 elements of float64, 24 B, 1 of 1 copies, in "), "{}", ran.out);
    assert_eq!(lines[1], "a@v1, the array: one element of float64");
    assert!(lines[3].starts_with("a@v2: double on 'a', "), "{}", ran.out);
    assert_eq!(lines[4], "a@v2, a result: one element of float64");
    assert_eq!(lines.len(), 6, "nothing but the answers: {}", ran.out);
    assert_eq!(world.asked("HELLO"), 1, "all of them share a connection");
}

#[test]
fn a_failed_command_is_not_the_end_but_the_exit_code() {
    let world = World::new();
    world.0.faults.add("GET_RESULT", Fault::Refuse(ErrorCode::SegmentsLost));
    let ran = world.run("get lost\nnonsense\nget nobody\nlist\n");
    assert_eq!((ran.code, ran.out.as_str()), (5, "no arrays\n"));
    let errors: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 3, "{}", ran.err);
    assert!(errors[1].contains("unrecognized subcommand 'nonsense'"), "{}", ran.err);
    assert!(errors[2].contains("there is no 'nobody'"), "{}", ran.err);
    assert_eq!(world.run("get nobody\nlist\n").code, 1);
}

#[test]
fn exit_ends_it() {
    let world = World::new();
    for (commands, code) in [("list\nexit\nlist\n", 0), ("nonsense\nlist\nquit\nget nobody\n", 2)] {
        let ran = world.run(commands);
        assert_eq!((ran.code, ran.out.as_str()), (code, "no arrays\n"), "{commands}");
    }
    assert_eq!(world.asked("LIST_ARRAYS"), 2);
    assert_eq!(world.asked("GET_RESULT"), 0);
}

#[test]
fn mistakes_in_a_line_are_told_and_the_next_one_is_read() {
    let world = World::new();
    for (mistake, told) in [
        ("create-int", "Usage: create-int <NAME> <SIZE>"),
        ("create-int a x", "invalid value 'x'"),
        ("get 'a", "a quote is opened and not closed"),
        ("--json", "there are options, but no command"),
        ("list --master h:1", "start another one: client --master h:1"),
        ("exit now", "unexpected argument 'now'"),
        ("--level 1 list", "list needs level 2; leave --level 1 out"),
        ("create m", "standard input is where the commands come from"),
    ] {
        let ran = world.run(&format!("{mistake}\nlist\n"));
        assert_eq!((ran.code, ran.out.as_str()), (2, "no arrays\n"), "{mistake}: {}", ran.err);
        assert!(ran.err.contains(told), "{mistake}: {}", ran.err);
    }
    let mut child = piped(world.client(""));
    child.stdin.take().unwrap().write_all(b"get \xff\nlist\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), b"no arrays\n".as_slice()));
    assert!(String::from_utf8(output.stderr).unwrap().contains("is not UTF-8"));
}

#[test]
fn the_next_command_is_no_answer_to_a_question() {
    let world = World::new();
    let ran = world.run("create-double a 3 --seed 1\ndelete a\ny\nget a\n");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("Delete array 'a'? Nobody can answer that here; say --yes"), "{}", ran.err);
    assert!(ran.err.contains("unrecognized subcommand 'y'"), "{}", ran.err);
    assert!(ran.out.contains("a@v1, the array"), "{}", ran.out);
    assert_eq!(world.run("delete a --yes\n").code, 0);
    assert_eq!((world.asked("DELETE_ARRAY"), world.run("get a\n").code), (1, 1));
}

#[test]
fn help_needs_no_cluster() {
    let ran = run(client("127.0.0.1:1", ""), "help\nhelp get\nget --help\n");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("command "), "{}", ran.out);
    assert_eq!(ran.out.matches("Usage: get [OPTIONS] <NAME>").count(), 2, "{}", ran.out);
}

#[test]
fn options_are_those_of_the_start_or_of_the_line() {
    let world = World::new();
    let ran = world.run("status --json\nlist\nget nobody --json\n");
    let mut lines = ran.out.lines();
    let status: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!((&status["term"], lines.next()), (&1.into(), Some("no arrays")));
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["code"], "UnknownArray");
    let ran = run(world.client("--json"), "nonsense\nlist\n'\n");
    assert_eq!((ran.code, ran.out.as_str()), (2, "{\"arrays\":[]}\n"));
    for line in ran.err.lines() {
        let error: Value = serde_json::from_str(line).unwrap();
        assert_eq!(error["error"]["code"], "Usage", "{line}");
    }
    assert_eq!(ran.err.lines().count(), 2);
    world.0.faults.add("LIST_WORKERS", Fault::Hang);
    let begun = Instant::now();
    assert_eq!(world.run("list\nworkers --timeout 0.2\n").code, 4);
    assert!(begun.elapsed() < PATIENCE, "the deadline of the start was taken");
}

#[test]
fn the_originals_form_opens_it_too() {
    let world = World::new();
    let (host, port) = (world.0.address.ip(), world.0.address.port());
    let ran = run(client("127.0.0.1:1", &format!("--json {host} {port}")), "list\n");
    assert_eq!((ran.code, ran.out.as_str()), (0, "{\"arrays\":[]}\n"), "{}", ran.err);
    assert_eq!(run(client("127.0.0.1:1", &format!("{host} {port}")), "list\nexit\n").out, "no arrays\n");
}

#[test]
fn without_a_master_it_ends() {
    let ran = run(client("127.0.0.1:1", "--timeout 0.1"), "nonsense\nlist\nlist\n");
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert_eq!(ran.err.matches("no master could be reached").count(), 1, "{}", ran.err);
}

#[test]
fn without_commands_nothing_happens() {
    let world = World::new();
    for commands in ["", "# nothing", "\n\n"] {
        let ran = world.run(commands);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{commands:?}");
    }
    let output = world.client("").stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(0), 0, 0));
    assert_eq!(world.asked("HELLO"), 0);
}

#[test]
fn whoever_closes_the_pipe_has_seen_enough() {
    let world = World::new();
    let mut child = piped(world.client(""));
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"help\nlist\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    assert_eq!(world.asked("LIST_ARRAYS"), 0);
}

#[test]
fn ctrl_c_ends_a_list_of_commands() {
    let world = World::new();
    world.0.faults.add("LIST_WORKERS", Fault::Hang);
    let mut child = piped(world.client(""));
    child.stdin.as_mut().unwrap().write_all(b"workers\nlist\n").unwrap();
    until("the command runs", || world.asked("LIST_WORKERS") == 1);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(130), 0));
    assert_eq!(world.asked("LIST_ARRAYS"), 0);
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

// ---- on a terminal ----

/// The program on a terminal of its own. Ctrl-C at the prompt is a key; while a command runs it is a signal, which comes from
/// [`interrupt`], because this terminal controls nobody.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    /// So much of the screen has been looked at.
    seen: usize,
}

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const ENTER: &str = "\r";
const UP: &str = "\x1b[A";

impl Terminal {
    fn start(mut command: Command, state: &tempfile::TempDir) -> Terminal {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let open = || File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
        command.stdin(open()).stdout(open()).stderr(open());
        command.env("TERM", "xterm").env("NO_COLOR", "1").env("XDG_STATE_HOME", state.path());
        let child = command.spawn().unwrap();
        drop(command); // and with it our hold on the terminal, so that it ends with the program
        let keyboard = File::from(controller);
        let mut display = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = screen.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends in an error when the program has ended.
            while let Ok(count @ 1..) = display.read(&mut bytes) {
                shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        Terminal { child, keyboard, screen, seen: 0 }
    }

    /// Waits until this has come after what was waited for last.
    fn wait_for(&mut self, text: &str) -> &mut Terminal {
        let begun = Instant::now();
        loop {
            let screen = self.screen.lock().unwrap().clone();
            if let Some(at) = screen[self.seen..].find(text) {
                self.seen += at + text.len();
                return self;
            }
            assert!(begun.elapsed() < PATIENCE, "{text:?} does not come after {:?}", screen.split_at(self.seen));
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Types this when there is a prompt.
    fn at_prompt(&mut self, keys: &str) -> &mut Terminal {
        self.wait_for("\x1b[K> ").press(keys)
    }

    fn press(&mut self, keys: &str) -> &mut Terminal {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self
    }

    /// Types this when a line of numbers is read: what is typed in between is the terminal's, and so are Ctrl-C and Ctrl-D.
    fn at_numbers(&mut self, keys: &str) -> &mut Terminal {
        self.wait_for("\x1b[K").press(keys)
    }

    fn enter(&mut self, command: &str) -> &mut Terminal {
        self.at_prompt(command).press(ENTER)
    }

    /// Waits for the end, and gives the exit code.
    fn code(&mut self) -> i32 {
        let mut code = None;
        until("the client ends", || {
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        code.unwrap().code().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended, unless the test has failed
        let _ = self.child.wait();
    }
}

fn state() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_person_gets_a_prompt() {
    let (world, state) = (World::new(), state());
    let mut terminal = Terminal::start(world.client(""), &state);
    terminal.wait_for(&format!("Connected to the master at {}: 2 workers, 0 arrays.", world.0.address));
    terminal.enter("create-double a 3 --seed 1").wait_for("a@v1: 3 elements of float64");
    terminal.enter("get nobody").wait_for("error: there is no 'nobody'");
    terminal.enter("nonsense").wait_for("error: unrecognized subcommand 'nonsense'");
    terminal.enter("get 'a").wait_for("error: a quote is opened");
    terminal.enter("").enter("help").wait_for("create-int <NAME> <SIZE>");
    terminal.enter("list --json").wait_for("{\"arrays\":[]}");
    terminal.at_prompt(CTRL_D);
    assert_eq!(terminal.code(), 0, "what failed has been seen");
    assert_eq!(world.asked("HELLO"), 1);
    let mut terminal = Terminal::start(world.client(""), &state);
    terminal.enter("exit");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn lines_are_completed_and_remembered() {
    let (world, state) = (World::new(), state());
    let mut terminal = Terminal::start(world.client(""), &state);
    terminal
        .at_prompt("lis\t")
        .wait_for("list ")
        .press("--js\t")
        .wait_for("--json ")
        .press(ENTER)
        .wait_for("{\"arrays\":");
    // Two lines at once, as somebody in a hurry types them, or pastes them.
    terminal.at_prompt("create-double a 3\rget a\r").wait_for("a@v1, the array");
    terminal.at_prompt(CTRL_D);
    assert_eq!(terminal.code(), 0);
    let mut terminal = Terminal::start(world.client(""), &state);
    terminal
        .at_prompt(UP)
        .wait_for("get a")
        .press(UP)
        .press(UP)
        .wait_for("list --json")
        .press(ENTER)
        .wait_for("{\"arrays\":");
    terminal.at_prompt(CTRL_D);
    assert_eq!(terminal.code(), 0);
}

#[test]
fn it_can_do_without_a_history() {
    let (world, state) = (World::new(), state());
    std::fs::write(state.path().join("darray"), "no directory").unwrap();
    let mut terminal = Terminal::start(world.client(""), &state);
    terminal.enter("list").wait_for("no arrays").enter("exit");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn ctrl_c_abandons_a_line_and_cancels_a_command() {
    let (world, state) = (World::new(), state());
    let mut terminal = Terminal::start(world.client(""), &state);
    terminal.at_prompt("nonsense").press(CTRL_C).enter("create-double a 3");
    let worker = &world.0.workers[0];
    worker.faults.add("GET_SEGMENT", Fault::Hang);
    terminal.enter("get a");
    until("the command runs", || worker.faults.left() == 0);
    interrupt(&terminal.child);
    terminal.wait_for("interrupted\r\n").enter("get a").wait_for("a@v1, the array");
    // Ctrl-C has lost nothing of its strength.
    world.0.faults.add("LIST_WORKERS", Fault::Hang);
    terminal.enter("workers");
    until("the command runs", || world.asked("LIST_WORKERS") == 1);
    interrupt(&terminal.child);
    terminal.wait_for("interrupted\r\n").at_prompt(CTRL_D);
    assert!(!terminal.screen.lock().unwrap().contains("error"), "an abandoned line is not carried out");
    assert_eq!(terminal.code(), 0);
}

#[test]
fn a_second_ctrl_c_ends_what_cannot_be_cancelled() {
    let (world, state) = (World::new(), state());
    let pipe = state.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut terminal = Terminal::start(world.client(""), &state);
    // It reads a pipe that nobody writes to.
    terminal.enter(&format!("create a {}", pipe.display())).wait_for("\r\n");
    until("it ends", || {
        interrupt(&terminal.child);
        terminal.child.try_wait().unwrap().is_some()
    });
    assert_eq!(terminal.code(), 130);
}

#[test]
fn questions_are_asked() {
    let (world, state) = (World::new(), state());
    let mut terminal = Terminal::start(world.client(""), &state);
    terminal.enter("create-double a 3 --seed 1");
    for answer in ["n\r", "\r", CTRL_C, CTRL_D, "\tlist\r"] {
        terminal
            .enter("delete a")
            .wait_for("Delete array 'a'? [y/N] ")
            .press(answer)
            .wait_for("error: nothing was done");
    }
    assert_eq!(world.asked("DELETE_ARRAY"), 0);
    terminal.enter("delete a").wait_for("[y/N] ").press("y\r").wait_for("'a' is deleted");
    terminal.enter("create m").wait_for("Ctrl-D ends them");
    terminal.at_numbers("1 2.5\r").at_numbers("3 4\r").at_numbers(CTRL_D).wait_for("m@v2: 2 x 2 elements of float64");
    terminal.enter("create n").wait_for("Ctrl-D ends them").at_numbers("1\r").at_numbers(CTRL_C);
    terminal.wait_for("error: nothing was done").at_prompt(UP).wait_for("create n");
    terminal.press(CTRL_C).at_prompt(CTRL_D);
    assert_eq!(terminal.code(), 0);
    assert_eq!(world.asked("CREATE_ARRAY"), 2);
}

#[test]
fn there_is_a_prompt_on_level_1_too() {
    let (master, state) = (FakeOriginal::start(Flavour::Java), state());
    let mut terminal = Terminal::start(client(&master.address.to_string(), ""), &state);
    terminal.wait_for(&format!("the master at {} speaks level 1 only", master.address));
    terminal.wait_for(&format!("Connected to the master at {} on level 1", master.address));
    terminal.enter("create-int prices 3 --seed 1").wait_for("prices: 3 elements of int32");
    terminal.enter("apply prices example1").wait_for("is processing");
    // What this client has stored is all that Tab can know.
    terminal.at_prompt("get pri\t").wait_for("prices ").press(ENTER).wait_for("prices, a result: 3 elements of int32");
    terminal.enter("list").wait_for("error: list needs level 2");
    master.next(Way::Silent);
    let before = master.asked("GET_RESULT");
    terminal.enter("get prices");
    until("the command runs", || master.asked("GET_RESULT") > before);
    interrupt(&terminal.child);
    terminal.wait_for("interrupted\r\n").at_prompt(CTRL_D);
    assert_eq!(terminal.code(), 0);
}

#[test]
fn without_a_master_there_is_no_prompt() {
    let state = state();
    let mut terminal = Terminal::start(client("", "--timeout 0.1 127.0.0.1 1"), &state);
    terminal.wait_for("error: connecting to 127.0.0.1:1: no master could be reached");
    assert_eq!(terminal.code(), 3);
    assert!(!terminal.screen.lock().unwrap().contains("> "));
}
