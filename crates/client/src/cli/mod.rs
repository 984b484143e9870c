//! The command line: what was typed ([`args`]) becomes calls of [`Cluster`], and their answers become text.
//!
//! - [`args`]: commands and options. [`help`]: the texts that teach them. [`document`]: the other texts that are made from them.
//! - [`prompt`]: the same commands, one a line, from a terminal or a pipe.
//! - [`session`]: the way to the master. [`level`]: what level 1 has of all this.
//! - [`store`], [`fetch`], [`compute`], [`mod@reduce`], [`mod@explain`], [`manage`]: the commands by group, each a function from arguments to output.
//!   [`mod@bench`] measures.
//! - [`render`]: tables, arrays as NumPy prints them, JSON, what an operation took, where an expression is wrong.
//! - [`console`]: standard input and output, and who is at the other end. [`interrupt`]: Ctrl-C.
//! - [`failure`]: exit codes.
//!
//! A command takes the same path wherever it comes from: [`perform`].

pub mod args;
pub mod bench;
pub mod compute;
pub mod console;
pub mod document;
pub mod explain;
pub mod failure;
pub mod fetch;
pub mod help;
pub mod interrupt;
pub mod level;
pub mod manage;
pub mod progress;
pub mod prompt;
pub mod reduce;
pub mod render;
pub mod session;
pub mod store;

use crate::cancel::Cancel;
use crate::cluster::Cluster;
use crate::original::find::Master;
use args::{Args, Command, Level, OperationsCommand};
use clap::Parser;
use console::{Console, Input};
use failure::Failure;
use session::Session;
use std::env;
use std::process::ExitCode;

/// What a command needs: the master, and where to write.
pub struct Context<'a> {
    /// The master it is for.
    pub master: Master,
    /// Where the answer goes.
    pub console: Console<'a>,
    /// Whether the answer shall say what it took.
    pub verbose: bool,
}

impl Context<'_> {
    /// The cluster, for what needs level 2.
    pub fn cluster(&self) -> Result<&Cluster, Failure> {
        match &self.master {
            Master::Cluster(cluster) => Ok(cluster),
            Master::Original(original) => Err(level::refused(original, "this command".to_string())),
        }
    }
}

/// Runs the command line with the arguments of this process.
pub fn main() -> ExitCode {
    let mut typed = env::args_os();
    let program = typed.next().unwrap_or_else(|| "client".into());
    let typed = args::with_address_as_option(typed.collect());
    let args = match Args::try_parse_from(std::iter::once(program).chain(typed)) {
        Ok(args) => args,
        Err(mistake) => return ExitCode::from(Failure::from(mistake).report(false)),
    };
    init_log();
    ExitCode::from(match &args.command {
        Some(command) => run(&args, command),
        None => prompt::run(&args),
    })
}

/// Runs one command, and gives the exit code.
fn run(args: &Args, command: &Command) -> u8 {
    let result = perform(&Session::default(), args, command, Input::Own, &Cancel::default());
    interrupt::give_way();
    result.map_or_else(|failure| failure.report(args.json), |()| 0)
}

fn init_log() {
    // A second logger, in a program that embeds us, is not our concern.
    let _ = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn,client=debug"))
        .format_timestamp_millis()
        .try_init();
}

/// Lets out what is for --verbose, or holds it back; what RUST_LOG asks for comes anyway.
fn set_verbose(verbose: bool) {
    if env::var_os(env_logger::DEFAULT_FILTER_ENV).is_none() {
        log::set_max_level(if verbose { log::LevelFilter::Debug } else { log::LevelFilter::Warn });
    }
}

/// Carries a command out.
pub fn perform(
    session: &Session,
    args: &Args,
    command: &Command,
    input: Input,
    cancel: &Cancel,
) -> Result<(), Failure> {
    set_verbose(args.verbose);
    let console = Console::new(args.json, input);
    if document::answer(console, command)? {
        return Ok(());
    }
    if args.level == Level::One {
        level::check(command).map_err(|what| Failure::Usage(format!("{what} needs level 2; leave --level 1 out")))?;
    }
    interrupt::install()?;
    // What can be wrong without a cluster is found before looking for one.
    fetch::check(command)?;
    manage::confirm(console, command)?;
    let source = store::prepare(console, command)?;
    let context = Context { master: session.master(args, cancel)?, console, verbose: args.verbose };
    if let Master::Original(original) = &context.master {
        level::check(command).map_err(|what| level::refused(original, what))?;
    }
    dispatch(&context, command, source)
}

fn dispatch(context: &Context, command: &Command, source: Option<store::Source>) -> Result<(), Failure> {
    match command {
        Command::CreateInt(create) | Command::CreateDouble(create) => store::random(context, command, create),
        Command::Create(create) => store::file(context, create, source),
        Command::Generate(generate) => store::generate(context, generate),
        Command::Apply(apply) => compute::apply(context, apply),
        Command::Reduce(reduce) => reduce::reduce(context, reduce),
        Command::Explain(explain) => explain::explain(context, explain),
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
        Command::Bench(bench) => bench::run(context, bench),
        Command::Delete { name, .. } => manage::delete(context, name),
        Command::Shutdown { .. } => manage::shutdown(context),
        // Have been answered before connecting.
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}
