//! The program itself, against a master and workers made of threads.

mod fake;

use fake::{FakeMaster, Fault};
use protocol::ErrorCode;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn client(master: &str, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(line.split_whitespace()).env("DARRAY_MASTER", master).env_remove("RUST_LOG");
    command.stdin(Stdio::null());
    command
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn ran(output: Output) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

struct World {
    master: std::sync::Arc<FakeMaster>,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        World { master: FakeMaster::start(2), directory: tempfile::tempdir().unwrap() }
    }

    fn run(&self, line: &str) -> Ran {
        let mut command = client(&self.master.address.to_string(), line);
        ran(command.current_dir(self.directory.path()).output().unwrap())
    }

    fn run_with_input(&self, line: &str, input: &[u8]) -> Ran {
        let mut command = client(&self.master.address.to_string(), line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        ran(child.wait_with_output().unwrap())
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.path().join(name)).unwrap()
    }
}

#[test]
fn an_array_goes_in_and_comes_out_in_every_format() {
    let world = World::new();
    let stored = world.run_with_input("create m", b"[[1.5, 2], [3, NaN]]");
    assert_eq!((stored.code, stored.err.as_str()), (0, ""));
    assert!(stored.out.starts_with("m@v1: 2 x 2 elements of float64, 32 B, 1 of 1 copies, in "), "{}", stored.out);
    let shown = world.run("get m");
    assert_eq!(shown.out, "m@v1, the array: 2 x 2 elements of float64\n[[1.5 2. ]\n [3.  nan]]\n");
    for name in ["m.npy", "m.csv", "m.json"] {
        assert_eq!(world.run(&format!("get m --out {name}")).code, 0);
        assert_eq!(world.run(&format!("create copy {name} --replace")).code, 0, "{name}");
        assert_eq!(world.run("get copy").out.lines().last(), Some(" [3.  nan]]"), "{name}");
    }
    assert_eq!(world.file("m.csv"), b"1.5,2.0\n3.0,NaN\n");
    assert_eq!(world.file("m.json"), b"[[1.5, 2.0],\n[3.0, NaN]]\n");
    let left: Vec<_> = std::fs::read_dir(world.directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "no temporary files stay: {left:?}");
}

#[test]
fn programs_get_one_object() {
    let world = World::new();
    let created: Value = serde_json::from_str(&world.run("--json create-double a 10000 --seed 7").out).unwrap();
    assert_eq!(
        (&created["handle"], &created["seed"], &created["shape"][0]),
        (&"a@v1".into(), &7.into(), &10_000.into())
    );
    assert_eq!(created["array_id"], "a");
    let got = world.run("get a --json --range 2:5").out;
    assert_eq!(got.lines().count(), 1);
    let got: Value = serde_json::from_str(&got).unwrap();
    assert_eq!((&got["dtype"], got["data"].as_array().unwrap().len()), (&"float64".into(), 3));
    let status: Value = serde_json::from_str(&world.run("status --json").out).unwrap();
    for key in ["workers_alive", "arrays", "segments", "under_replicated", "running_operations", "term", "leader"] {
        assert!(!status[key].is_null(), "{key} is missing in {status}");
    }
    let refused = world.run("--json get nobody");
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["retryable"]), (&"UnknownArray".into(), &false.into()));
}

#[test]
fn only_the_edges_of_a_large_array_are_fetched() {
    let world = World::new();
    world.run("create-double a 1000000 --seed 1");
    let before = world.master.asked("GET_RESULT").len();
    let shown = world.run("get a").out;
    assert!(shown.contains(" ... "), "{shown}");
    assert_eq!(world.master.asked("GET_RESULT").len() - before, 3, "what it is, its head, its tail");
}

#[test]
fn exit_codes_tell_what_happened() {
    let world = World::new();
    world.run("create-double a 10 --seed 1");
    assert_eq!(world.run("create-double a 10").code, 1);
    assert_eq!(world.run("create-double a 10 --replace").code, 0);
    assert_eq!(world.run("get").code, 2);
    assert_eq!(world.run("delete a").code, 2, "nobody is there to be asked");
    assert_eq!(world.run("delete a --yes").code, 0);
    assert_eq!(world.run("get a --out a.xls").code, 2);
    assert_eq!(ran(client("127.0.0.1:1", "--timeout 0.1 status").output().unwrap()).code, 3);
    world.master.faults.add("LIST_WORKERS", Fault::Hang);
    assert_eq!(world.run("--timeout 0.3 workers").code, 4);
    world.master.faults.add("GET_RESULT", Fault::Refuse(ErrorCode::SegmentsLost));
    assert_eq!(world.run("get a").code, 5);
}

#[test]
fn mistakes_in_a_file_are_found_before_a_cluster_is_looked_for() {
    let mut command = client("127.0.0.1:1", "create a missing.npy");
    let missing = ran(command.output().unwrap());
    assert_eq!(missing.code, 1);
    assert!(missing.err.starts_with("error: missing.npy: "), "{}", missing.err);
    let world = World::new();
    let header = world.run_with_input("create a", b"x,y\n1,2\n");
    assert!(header.err.contains("standard input: line 1, column 1: 'x' is not a number"), "{}", header.err);
    let narrow = world.run_with_input("create a --dtype int", b"1\n2.5\n");
    assert!(narrow.err.contains("line 2, column 1: 2.5 is not a whole number, but int32"), "{}", narrow.err);
    assert!(world.master.asked("CREATE_ARRAY").is_empty());
}

#[test]
fn whoever_closes_the_pipe_has_seen_enough() {
    let world = World::new();
    world.run("create-double a 100000 --seed 1");
    let mut command = client(&world.master.address.to_string(), "--json get a");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    let ran = ran(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn an_interrupted_write_leaves_the_old_file() {
    let world = World::new();
    world.run("create-double a 10 --seed 1");
    std::fs::write(world.directory.path().join("a.npy"), "old").unwrap();
    world.master.faults.add("GET_RESULT", Fault::Refuse(ErrorCode::SegmentsLost));
    assert_eq!(world.run("get a --out a.npy").code, 5);
    assert_eq!(world.file("a.npy"), b"old");
    assert_eq!(world.run("get a --out a.npy").code, 0);
    assert!(world.file("a.npy").starts_with(b"\x93NUMPY"));
    assert_eq!(world.run(&format!("get a --out {}", Path::new("no/such/place.npy").display())).code, 1);
}

#[test]
fn help_teaches() {
    let help = ran(client("", "--help").output().unwrap());
    assert_eq!(help.code, 0);
    for text in ["Examples:", "Exit codes:", "create-double", "DARRAY_MASTER"] {
        assert!(help.out.contains(text), "{text}");
    }
    assert!(ran(client("", "completions bash").output().unwrap()).out.contains("_client"));
}

#[test]
fn manual_pages_are_printed_or_written() {
    let world = World::new();
    let page = world.run("man").out;
    assert!(page.contains(".TH client 1") && page.contains("Exit codes:"), "{page}");
    let written: Value = serde_json::from_str(&world.run("man --json pages/here").out).unwrap();
    for name in ["client.1", "client-create-int.1", "client-operations-wait.1"] {
        let page = String::from_utf8(world.file(&format!("pages/here/{name}"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{name}: {page}");
        assert!(written["pages"].as_array().unwrap().contains(&name.into()), "{written}");
    }
    let files = std::fs::read_dir(world.directory.path().join("pages/here")).unwrap().count();
    assert_eq!(written["pages"].as_array().unwrap().len(), files);
    std::fs::write(world.directory.path().join("file"), "").unwrap();
    let refused = world.run("man file");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("cannot write manual pages into file"), "{}", refused.err);
    assert!(world.master.asked("HELLO").is_empty());
}
