//! The program `worker`. All of it is in the library, where a test can build it with fault points.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker::program::main(std::env::args_os())
}
