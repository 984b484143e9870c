//! The program `master`. All of it is in the library, where a test can build it with fault points.

use std::process::ExitCode;

fn main() -> ExitCode {
    master::program::main(std::env::args_os())
}
