//! What `scripts/bench` runs: measurements on real processes, one module for each subcommand.

mod beside;
mod compute;
mod floor;
mod formulas;
mod goals;
mod judge;
mod latency;
mod machine;
mod memory;
mod options;
mod ours;
mod peer;
mod peers;
mod plain;
mod readme;
mod recovery;
mod scaling;
mod table;
mod times;

use options::Options;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The harness panics when a cluster cannot be had, and has said why.
    match std::panic::catch_unwind(run) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(why)) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (what, words) = words.split_first().ok_or("what is to be measured?")?;
    let options = Options::parse(words)?;
    match what.as_str() {
        "compute" => compute::run(&options),
        "floor" => floor::run(&options),
        "latency" => latency::run(&options),
        "memory" => memory::run(&options),
        "peers" => peers::run(&options),
        "recovery" => recovery::run(&options),
        "scaling" => scaling::run(&options),
        other => {
            Err(format!("there are compute, floor, latency, memory, peers, recovery and scaling, and not {other}"))
        }
    }
}
