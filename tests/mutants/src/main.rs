//! Changes the code that decides, one place at a time, and sees whether a test fails: `scripts/mutants`.
//!
//! The changes are those of cargo-mutants, which builds anew for each of them; here all are in one build, behind the question which
//! is chosen, and each costs the seconds that the tests take. What does not compile is found by the compiler's errors, and left out.
//!
//! It works on a copy of the workspace, and asks in the order of their speed: unit tests, stories, seeds of the simulator.

mod build;
mod find;
mod run;
mod write;

use build::Copy;
use std::collections::BTreeSet;
use std::path::PathBuf;
use write::Mutant;

/// What is changed: whoever decides what exists and where.
const CHANGED: [&str; 2] = ["crates/master/src/cluster", "crates/worker/src/store"];

struct Options {
    /// The copy of the workspace, and `target`.
    dir: PathBuf,
    /// Only look what there is to change.
    list: bool,
    /// Of so many parts, this one.
    shard: (usize, usize),
    /// Only changes whose file or function contains this.
    only: String,
    seeds: u64,
    jobs: usize,
}

fn options() -> Options {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let dir = PathBuf::from("target/mutants");
    let mut options = Options { dir, list: false, shard: (0, 1), only: String::new(), seeds: 200, jobs: cores };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--list" => options.list = true,
            "--dir" => options.dir = PathBuf::from(value()),
            "--only" => options.only = value(),
            "--seeds" => options.seeds = value().parse().expect("--seeds N"),
            "--jobs" => options.jobs = value().parse().expect("--jobs N"),
            "--shard" => {
                let value = value();
                let (part, of) = value.split_once('/').expect("--shard PART/OF");
                options.shard = (part.parse().expect("a number"), of.parse().expect("a number"));
            }
            other => panic!("what is {other}?"),
        }
    }
    options
}

fn main() {
    let options = options();
    let mut copy = Copy::new(&options.dir);
    let mutants: Vec<Mutant> = copy.mutants();
    let is_wanted = |mutant: &&Mutant| {
        let is_named = mutant.file.contains(&options.only) || mutant.function.contains(&options.only);
        is_named && mutant.number % options.shard.1 == options.shard.0
    };
    let wanted: Vec<&Mutant> = mutants.iter().filter(is_wanted).collect();
    println!("{} changes, {} of them wanted", mutants.len(), wanted.len());
    if options.list {
        wanted.iter().for_each(|mutant| println!("{}", mutant.text()));
        assert!(mutants.len() > 500, "far fewer changes than there are");
        return;
    }
    let unviable: BTreeSet<usize> = copy.leave_out_what_does_not_compile();
    let programs = copy.build();
    let viable: Vec<&Mutant> = wanted.into_iter().filter(|mutant| !unviable.contains(&mutant.number)).collect();
    println!("{} do not compile; {} to try", unviable.len(), viable.len());
    let missed = run::run_all(&viable, &programs, options.seeds, options.jobs, &options.dir);
    println!("survivors:");
    missed.iter().for_each(|mutant| println!("{}", mutant.text()));
    let caught = viable.len() - missed.len();
    let percent = 100.0 * caught as f64 / viable.len().max(1) as f64;
    println!("{caught} of {} viable changes caught, {percent:.1} %", viable.len());
}

impl Mutant {
    fn text(&self) -> String {
        format!("{}:{}: {} in {}", self.file, self.line, self.says, self.function)
    }
}
