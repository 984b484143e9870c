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

    /// Arguments that have spaces in them.
    fn words(&self, words: &[&str]) -> Ran {
        let mut command = client(&self.master.address.to_string(), "");
        ran(command.args(words).output().unwrap())
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
fn arrays_are_made_and_reduced() {
    let world = World::new();
    let made = world.words(&["generate", "a", "normal(0, 1, (2, 3))", "--seed", "7"]);
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    assert!(made.out.starts_with("a@v1: 2 x 3 elements of float64, 48 B, 1 of 1 copies, in "), "{}", made.out);
    assert!(made.out.ends_with(", seed 7\n"), "{}", made.out);
    assert!(!world.run("generate zeros zeros(3)").out.contains("seed"), "it has no random numbers");
    let made: Value = serde_json::from_str(&world.run("generate b random(3) --json").out).unwrap();
    assert_eq!((&made["handle"], &made["shape"], &made["dtype"]), (&"b@v3".into(), &[3].into(), &"float64".into()));
    assert!(made["seed"].as_u64().is_some_and(|seed| seed < 1 << 53), "{made}");
    let reduced = world.words(&["reduce", "a", "sum(sin(x)), max(x),min(x), argmax( x )"]);
    let lines = "sum(sin(x))  1.25\nmax(x)       NaN\nmin(x)       -inf\nargmax( x )  9007199254740993\n";
    assert_eq!((reduced.code, reduced.out.as_str(), reduced.err.as_str()), (0, lines, ""));
    let reduced = world.words(&["reduce", "a", "max(x), min(x), argmax(x), any(x)", "--json"]).out;
    for number in ["\"value\":NaN}", "\"value\":-Infinity}", "\"value\":9007199254740993}", "\"value\":true}"] {
        assert!(reduced.contains(number), "{number}: {reduced}");
    }
    assert_eq!(reduced.lines().count(), 1);
}

#[test]
fn what_it_took_is_told_when_asked_for() {
    let world = World::new();
    world.run("generate a zeros(3)");
    assert_eq!(world.run("apply a sqrt(x)").out.lines().count(), 1);
    for line in ["apply a sqrt(x) -v", "reduce a sum(x) --verbose", "generate b zeros(3) -v"] {
        let ran = world.run(line);
        let lines: Vec<&str> = ran.out.lines().skip(1).collect();
        assert_eq!(lines[0].split_whitespace().next(), Some("worker"), "{line}: {}", ran.out);
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>()[..4],
            ["w0", "1", "0.5", "ms"],
            "{line}: {}",
            ran.out
        );
        assert_eq!(lines[2], "0 B from worker to worker, 0 retried, 0 promoted", "{line}");
    }
    assert!(world.run("reduce a sum(x) -v").out.starts_with("sum(x)  float64  1.25\n"));
    let json: Value = serde_json::from_str(&world.run("apply a sqrt(x) --json").out).unwrap();
    assert_eq!(json["receipt"]["workers"][0]["busy_us"], 500);
}

#[test]
fn what_would_be_done_is_explained_and_refused_if_it_would_be() {
    let world = World::new();
    world.run("generate a zeros(1000)");
    let explained = world.run("explain a sin(x)");
    assert_eq!((explained.code, explained.err.as_str()), (0, ""));
    for text in
        ["  float64 sin\n", "reads  a@v1\n", "gives  float64, 1000 elements in 1 segments, 1 copies", "24 B read"]
    {
        assert!(explained.out.contains(text), "{text}: {}", explained.out);
    }
    world.run("generate b zeros(1001)");
    let refused = world.run("explain b sin(x)");
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("reads  b@v2\n"), "{}", refused.out);
    assert_eq!(refused.err, "error: too many for the test (InsufficientMemory)\n");
    let json: Value = serde_json::from_str(&world.run("explain b sin(x) --json").out).unwrap();
    assert_eq!((&json["refusal"]["code"], &json["elements"]), (&"InsufficientMemory".into(), &1001.into()));
    assert_eq!(world.master.runs(), 2, "nothing was computed");
}

#[test]
fn a_mistake_in_an_expression_is_pointed_at() {
    let world = World::new();
    world.run("generate a zeros(3)");
    for (words, line, caret) in [
        (["apply", "a", "sin(x) + q"], "  sin(x) + q", "           ^"),
        (["reduce", "a", "sum(x), max(x"], "  sum(x), max(x", "               ^"),
        (["explain", "a", "-x +"], "  -x +", "      ^"),
        (["generate", "b", "zeros(1) 1"], "  zeros(1) 1", "           ^"),
    ] {
        let refused = world.words(&words);
        let lines: Vec<&str> = refused.err.lines().collect();
        assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{words:?}: {}", refused.err);
        assert!(lines[0].starts_with("error: column ") && lines[0].ends_with("(BadExpression)"), "{}", refused.err);
        assert_eq!(lines[1..], [line, caret], "{words:?}");
    }
    let error: Value = serde_json::from_str(&world.run("apply a sin(q) --json").err).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["column"]), (&"BadExpression".into(), &5.into()));
    assert!(!error["error"]["message"].as_str().unwrap().contains('\n'), "{error}");
}

#[test]
fn new_workloads_are_measured_and_leave_nothing_behind() {
    let world = World::new();
    let ran = world.words(&[
        "bench",
        "--workload",
        "generate,arange,sum,reduce5_fused,apply1_sum,dot,expr",
        "--n",
        "100",
        "--reps",
        "2",
        "--expr",
        "-x",
    ]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let reports: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let workloads: Vec<&str> = reports.iter().map(|report| report["workload"].as_str().unwrap()).collect();
    assert_eq!(workloads, ["generate", "arange", "sum", "reduce5_fused", "apply1_sum", "dot", "expr"]);
    assert_eq!((&reports[1]["dtype"], &reports[2]["dtype"]), (&"int64".into(), &"float64".into()));
    assert_eq!(world.master.asked("REDUCE_ARRAY").len(), 8);
    assert_eq!(world.master.asked("GENERATE_ARRAY").len(), world.master.asked("DELETE_ARRAY").len());
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
    for (command, text) in [
        ("apply", "where(x > 0, log(x), 0)"),
        ("reduce", "argmin argmax mean var std"),
        ("generate", "linspace(start, stop, num)"),
        ("explain", "The exit code is 0"),
        ("bench", "reduce5_fused"),
    ] {
        let help = ran(client("", &format!("{command} --help")).output().unwrap());
        assert!(help.out.contains(text), "{command}: {}", help.out);
        assert!(help.out.lines().all(|line| line.chars().count() <= 100), "{command}: {}", help.out);
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
