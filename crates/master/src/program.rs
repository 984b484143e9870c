//! The program `master`: flags, log, exit code.

use crate::config::Flags;
use crate::server::{FAREWELL, Master, stop_at_signals};
use clap::Parser;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Runs it with these words, its name first.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .format_timestamp_millis()
        .init();
    let (settings, temporary) = match Flags::parse_from(args).into_settings() {
        Ok(settings) => settings,
        Err(why) => {
            eprintln!("master: {why}");
            return ExitCode::from(2);
        }
    };
    if temporary.is_some() {
        log::warn!(
            "the catalog is in {}, which ends with this master; say --data-dir to keep it",
            settings.data_dir.display()
        );
    }
    let serve = || -> Result<(), Box<dyn std::error::Error>> {
        let master = Master::bind(settings)?;
        println!("listening {}", master.address());
        std::io::stdout().flush()?;
        stop_at_signals(master.stopper())?;
        master.run()?;
        Ok(())
    };
    match serve() {
        Ok(()) => {
            std::thread::sleep(FAREWELL); // what slow peers have not taken yet
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("master: {e}");
            ExitCode::FAILURE
        }
    }
}
