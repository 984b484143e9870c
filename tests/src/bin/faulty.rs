//! Master and worker with fault points: `faulty master …`, `faulty worker …`. See `protocol::fault`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    match args.peek().and_then(|name| name.to_str()) {
        Some("master") => master::program::main(args),
        Some("worker") => worker::program::main(args),
        _ => {
            eprintln!("usage: faulty master|worker [OPTIONS]");
            ExitCode::from(2)
        }
    }
}
