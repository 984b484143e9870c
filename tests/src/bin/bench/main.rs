//! What `scripts/bench` runs: measurements on real processes, one module for each subcommand.

mod scaling;
mod times;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let done = match words.next().as_deref() {
        Some("scaling") => scaling::run(&words.collect::<Vec<_>>()),
        other => Err(format!("what is to be measured? there is scaling, and not {}", other.unwrap_or("nothing"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}
