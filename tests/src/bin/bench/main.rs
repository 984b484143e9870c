//! What `scripts/bench` runs: measurements on real processes, one module for each subcommand.

mod floor;
mod scaling;
mod times;

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
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("floor") => floor::run(&words.collect::<Vec<_>>()),
        Some("scaling") => scaling::run(&words.collect::<Vec<_>>()),
        other => {
            Err(format!("what is to be measured? there are floor and scaling, and not {}", other.unwrap_or("nothing")))
        }
    }
}
