//! The command line: what was typed ([`args`]) becomes calls of [`Cluster`], and their answers become text.
//!
//! - [`args`]: commands, options, and the help that teaches them.
//! - [`store`], [`fetch`], [`compute`], [`manage`]: the commands by group, each a function from arguments to output.
//! - [`render`]: tables, arrays as NumPy prints them, JSON.
//! - [`console`]: standard output and standard error, and who is looking. [`interrupt`]: Ctrl-C.
//! - [`failure`]: exit codes.

pub mod args;
pub mod compute;
pub mod console;
pub mod failure;
pub mod fetch;
pub mod interrupt;
pub mod manage;
pub mod progress;
pub mod render;
pub mod store;

use crate::cluster::{CONNECT_TIMEOUT, Cluster};
use args::{Args, Command, Level, OperationsCommand};
use clap::{CommandFactory, Parser};
use console::Console;
use failure::Failure;
use std::process::ExitCode;

/// What a command needs: the cluster, and where to write.
pub struct Context {
    /// The cluster it is about.
    pub cluster: Cluster,
    /// Where the answer goes.
    pub console: Console,
}

/// Runs the command line with the arguments of this process.
pub fn main() -> ExitCode {
    let args = match parse() {
        Ok(args) => args,
        Err(failure) => return failure.report(false),
    };
    init_log(args.verbose);
    let json = args.json;
    let result = run(args);
    interrupt::give_way();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

fn parse() -> Result<Args, Failure> {
    let typed: Vec<String> = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    if let Some(address) = args::positional_form(&typed) {
        return Err(Failure::Usage(format!(
            "`client HOST PORT` will open a prompt, which does not exist yet; write: client --master {address} COMMAND"
        )));
    }
    Ok(Args::try_parse().unwrap_or_else(|e| e.exit())) // prints help or the mistake; the latter exits with 2
}

fn init_log(verbose: bool) {
    let level = if verbose { "client=debug" } else { "warn" };
    // A second logger, in a program that embeds us, is not our concern.
    let _ = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(level))
        .format_timestamp_millis()
        .try_init();
}

fn run(args: Args) -> Result<(), Failure> {
    let Some(command) = &args.command else {
        return Ok(console::print(&Args::command().render_long_help().ansi().to_string())?);
    };
    if let Command::Completions { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut Args::command(), "client", &mut script);
        return Ok(console::print(&String::from_utf8_lossy(&script))?);
    }
    if args.level == Level::One {
        return Err(Failure::Usage("level 1 is not spoken yet; leave --level out, or say --level 2".to_string()));
    }
    interrupt::install()?;
    // What can be wrong without a cluster is found before looking for one.
    let console = Console::new(args.json);
    fetch::check(command)?;
    manage::confirm(console, command)?;
    let source = store::prepare(command)?;
    let connect = || Cluster::builder().masters(&args.master).timeout(args.timeout).connect();
    let cluster = progress::notice(&format!("looking for a master at {} …", args.master), CONNECT_TIMEOUT, connect)?;
    let context = Context { cluster, console };
    dispatch(&context, command, source)
}

fn dispatch(context: &Context, command: &Command, source: Option<store::Source>) -> Result<(), Failure> {
    match command {
        Command::CreateInt(create) | Command::CreateDouble(create) => store::random(context, command, create),
        Command::Create(create) => store::file(context, create, source),
        Command::Apply(apply) => compute::apply(context, apply),
        Command::Get(get) => fetch::get(context, get),
        Command::List => manage::list(context),
        Command::Info { name } => manage::info(context, name),
        Command::Workers => manage::workers(context),
        Command::Wait { workers } => manage::wait(context, *workers),
        Command::Status => manage::status(context),
        Command::Operations { command: None } => compute::operations(context),
        Command::Operations { command: Some(OperationsCommand::Wait { id }) } => compute::wait(context, *id),
        Command::Operations { command: Some(OperationsCommand::Cancel { id }) } => compute::cancel(context, *id),
        Command::Recovery => manage::recovery(context),
        Command::Delete { name, .. } => manage::delete(context, name),
        Command::Shutdown { .. } => manage::shutdown(context),
        Command::Completions { .. } => Ok(()), // has been answered before connecting
    }
}
