//! The program `worker`: flags, log, signals, exit code.

use crate::{Handle, Server, config};
use log::{error, info};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;

/// The exit code when the worker can't start.
const CANNOT_START: u8 = 1;

/// Runs it with these words, its name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let config = config::parse(args).unwrap_or_else(|e| e.exit());
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp_millis()
        .init();
    let started = Server::bind(config).and_then(|server| watch_signals(server.handle()).map(|()| server));
    let server = match started {
        Ok(server) => server,
        Err(e) => {
            error!("{e}");
            return ExitCode::from(CANNOT_START);
        }
    };
    let mut stdout = io::stdout().lock();
    // A reader that went away is no reason not to work.
    let _ = writeln!(stdout, "listening {}", server.address()).and_then(|()| stdout.flush());
    drop(stdout);
    ExitCode::from(server.run().code())
}

/// The first SIGTERM or SIGINT drains, the second ends the process as the signal itself would have.
fn watch_signals(handle: Handle) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut asked = false;
        for signal in signals.forever() {
            if asked {
                info!("asked again: ending immediately");
                std::process::exit(128 + signal);
            }
            asked = true;
            handle.drain();
        }
    })?;
    Ok(())
}
