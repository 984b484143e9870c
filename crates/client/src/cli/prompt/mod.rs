//! `client` without a command: commands come one a line, from a person at a terminal or from a pipe or file. Each goes the
//! way of a command line ([`perform`]), over one connection.
//!
//! - [`mod@line`]: what a line says. [`editor`]: editing lines, and their history. [`complete`]: what Tab offers.
//!
//! | | terminal | pipe |
//! |---|---|---|
//! | a master is looked for | at once | when a command needs it; without any it ends |
//! | a command fails | the next one | the next one; the largest exit code is that of the program |
//! | Ctrl-C | cancels the command | ends the program |
//! | questions (`delete`) | are asked | need `--yes`: the next line is no answer |

pub mod complete;
pub mod editor;
pub mod line;

use super::args::Args;
use super::console::{Input, print};
use super::failure::Failure;
use super::render::table::grouped;
use super::session::Session;
use super::{interrupt, perform, set_verbose};
use crate::cancel::Cancel;
use crate::error::Error;
use crate::original::find::Master;
use editor::{Editor, Typed};
use line::Line;
use std::cell::RefCell;
use std::io::{self, BufRead, IsTerminal};

/// Takes commands until there are no more, and gives the exit code. `start` has the options of the command line.
pub fn run(start: &Args) -> u8 {
    set_verbose(start.verbose);
    let terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    let result = match terminal {
        true => at_terminal(start).map(|()| 0),
        false => Ok(from_list(start)),
    };
    result.unwrap_or_else(|failure| failure.report(start.json))
}

/// Carries out what a line says; `exit` is for the caller.
fn carry_out(session: &Session, start: &Args, line: &Line, input: Input, cancel: &Cancel) -> Result<(), Failure> {
    match line {
        Line::Nothing | Line::Exit => Ok(()),
        Line::Help => Ok(print(&line::help())?),
        Line::Command(args, command) => {
            let result = perform(session, args, command, input, cancel);
            set_verbose(start.verbose);
            result
        }
    }
}

fn from_list(start: &Args) -> u8 {
    let session = Session::default();
    let mut worst = 0;
    loop {
        let text = match next_line() {
            Ok(Some(text)) => text,
            Ok(None) => return worst,
            Err(failure) => return worst.max(failure.report(start.json)),
        };
        let (result, json) = match text.and_then(|text| line::parse(&text, start)) {
            Ok(Line::Exit) => return worst,
            Ok(line) => (carry_out(&session, start, &line, Input::Commands, &Cancel::default()), line.json(start)),
            Err(failure) => (Err(failure), start.json),
        };
        interrupt::give_way();
        if let Err(failure) = result {
            worst = worst.max(failure.report(json));
            // Nobody listens, or nobody is there who could do any of the rest.
            let alone = failure.is_unreachable() && !session.has_cluster();
            if failure.is_closed_pipe() || alone {
                return worst;
            }
        }
    }
}

/// The next line of standard input. The inner failure is about this line only.
fn next_line() -> Result<Option<Result<String, Failure>>, Failure> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().read_until(b'\n', &mut bytes);
    if read.map_err(|e| Failure::File(format!("standard input: {e}")))? == 0 {
        return Ok(None);
    }
    let text = String::from_utf8(bytes);
    Ok(Some(text.map_err(|e| Failure::Usage(format!("a line of standard input is not UTF-8: {e}")))))
}

/// What there is.
fn greeting(master: &Master, start: &Args) -> Result<String, Error> {
    Ok(match master {
        Master::Cluster(cluster) => {
            let status = cluster.status()?;
            let (workers, arrays) = (grouped(status.workers_alive.into()), grouped(status.arrays));
            let address = if start.master.contains(',') { &status.leader } else { &start.master };
            format!("Connected to the master at {address}: {workers} workers, {arrays} arrays")
        }
        Master::Original(original) => {
            original.ping()?;
            format!("Connected to the master at {} on level 1: there are create, apply and get", original.address())
        }
    })
}

fn at_terminal(start: &Args) -> Result<(), Failure> {
    let session = Session::default();
    let master = session.master(start, &Cancel::default())?;
    print(&format!("{}. `help` lists the commands, Ctrl-D ends.\n", greeting(&master, start)?))?;
    interrupt::install()?;
    interrupt::stay();
    let editor = RefCell::new(Editor::new(master)?);
    loop {
        let typed = editor.borrow_mut().read()?;
        let text = match typed {
            Typed::Line(text) => text,
            Typed::Abandoned => continue,
            Typed::End => return Ok(()),
        };
        let line = match line::parse(&text, start) {
            Ok(Line::Exit) => return Ok(()),
            Ok(line) => line,
            Err(failure) => {
                failure.report(start.json);
                continue;
            }
        };
        let run = |cancel: &Cancel| carry_out(&session, start, &line, Input::Prompt(&editor), cancel);
        match interrupt::cancellable(run) {
            (Ok(()), _) => {}
            (Err(_), Some(interrupted)) => interrupted.report(),
            (Err(failure), None) => {
                failure.report(line.json(start));
            }
        }
    }
}
