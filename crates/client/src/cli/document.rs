//! `completions` and `man`: what is made from the definition of the command line, without a cluster.

use super::args::{Args, Command};
use super::console::{Console, object, print};
use super::failure::Failure;
use clap::CommandFactory;
use serde_json::json;
use std::fs;
use std::io;
use std::path::Path;

/// Answers a command that needs no cluster; says whether it was one.
pub fn answer(console: Console, command: &Command) -> Result<bool, Failure> {
    match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Args::command(), "client", &mut script);
            print(&String::from_utf8_lossy(&script))?;
        }
        Command::Man { directory: None } => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut page)?;
            print(&String::from_utf8_lossy(&page))?;
        }
        Command::Man { directory: Some(directory) } => {
            let pages = write_pages(directory)
                .map_err(|e| Failure::File(format!("cannot write manual pages into {}: {e}", directory.display())))?;
            let answer = object([("directory", json!(directory.to_string_lossy())), ("pages", json!(pages))]);
            console.answer(&answer, || format!("{} pages are in {}\n", pages.len(), directory.display()))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Writes the pages, and gives their names.
fn write_pages(directory: &Path) -> io::Result<Vec<String>> {
    fs::create_dir_all(directory)?;
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    let mut waiting = vec![command];
    while let Some(command) = waiting.pop() {
        waiting.extend(command.get_subcommands().cloned());
        let page = clap_mangen::Man::new(command);
        page.generate_to(directory)?;
        pages.push(page.get_filename());
    }
    pages.sort();
    Ok(pages)
}
