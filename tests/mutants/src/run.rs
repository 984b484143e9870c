//! Runs the tests with one change after the other.

use crate::build::Program;
use crate::write::Mutant;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Neither unit tests nor stories and seeds take so long without a change; what does hangs.
const UNIT_TIMEOUT_S: u64 = 30;
const TIMEOUT_S: u64 = 120;

/// In KiB of address space. A change that asks for ever more memory must not take the machine with it.
const MEMORY_KIB: u64 = 8 << 20;

/// Tries all of them, `jobs` at a time, and gives those that no test has noticed. Each outcome is written to `dir/outcomes`.
pub fn run_all<'a>(
    mutants: &[&'a Mutant],
    programs: &[Program],
    seeds: u64,
    jobs: usize,
    dir: &Path,
) -> Vec<&'a Mutant> {
    let every: Vec<&Program> = programs.iter().collect();
    assert_eq!(caught_by(0, &every, seeds), None, "a test fails without any change");
    let outcomes = OpenOptions::new().create(true).write(true).truncate(true).open(dir.join("outcomes"));
    let outcomes = Mutex::new(outcomes.expect("a file for the outcomes"));
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
            let able: Vec<&Program> = programs.iter().filter(|program| runs(program, mutant)).collect();
            let caught = caught_by(mutant.number, &able, seeds);
            let outcome = format!("{}\t{}", caught.unwrap_or("MISSED"), mutant.text());
            writeln!(outcomes.lock().unwrap(), "{outcome}").expect("there is room on the disk");
            if caught.is_none() {
                missed.lock().unwrap().push(*mutant);
            }
        }
    };
    std::thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(work))));
    let mut missed = missed.into_inner().unwrap();
    missed.sort_by_key(|mutant| mutant.number);
    missed
}

/// Whether a program runs the code of a change at all: the unit tests of master and worker are each about their own.
fn runs(program: &Program, mutant: &Mutant) -> bool {
    let is_of_worker = mutant.file.starts_with("crates/worker/");
    match program.name.as_str() {
        "planted" => true,
        "worker" => is_of_worker,
        _ => !is_of_worker,
    }
}

/// The program that fails with a change; with none if it is 0.
fn caught_by<'a>(number: usize, programs: &[&'a Program], seeds: u64) -> Option<&'a str> {
    let fails = |program: &&&Program| {
        let only: &[&str] = match program.name.as_str() {
            "planted" => &["nothing_fails_without_a_bug"],
            "worker" => &["store::", "agent::"], // the rest has sockets, and takes longer
            _ => &[],
        };
        let timeout_s = if program.name == "planted" { TIMEOUT_S } else { UNIT_TIMEOUT_S };
        let limited = format!("ulimit -v {MEMORY_KIB}; exec timeout {timeout_s} \"$0\" \"$@\"");
        let status = Command::new("bash")
            .args(["-c", &limited])
            .arg(&program.path)
            .args(only)
            .current_dir(&program.dir)
            .env("MUTANT", number.to_string())
            .env("SEEDS", seeds.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        !status.expect("bash and timeout").success()
    };
    programs.iter().find(fails).map(|program| program.name.as_str())
}
