//! What Tab offers: commands, their options, and what their arguments can be.

use super::line::definition;
use crate::original::find::Master;
use array::Operation;
use clap::{Arg, Command, ValueHint};
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Result};
use std::time::Duration;

/// How long the master has to name its arrays before nothing is offered.
const NAMES_TIMEOUT: Duration = Duration::from_millis(500);

/// What the editor asks.
pub struct Helper {
    definition: Command,
    master: Master,
    files: FilenameCompleter,
    /// Whether a command is being typed, not an answer.
    pub(super) active: bool,
}

impl Helper {
    /// A helper that knows the arrays of a master.
    pub fn new(master: Master) -> Helper {
        let mut definition = definition();
        definition.build();
        Helper { definition, master, files: FilenameCompleter::new(), active: true }
    }

    fn names(&self) -> Vec<String> {
        match &self.master {
            Master::Cluster(cluster) => {
                let arrays = cluster.with_timeout(NAMES_TIMEOUT).arrays().unwrap_or_default();
                arrays.into_iter().map(|array| array.array_id).collect()
            }
            // Level 1 has no list of arrays.
            Master::Original(original) => original.created_names(),
        }
    }
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, context: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        if !self.active {
            return Ok((position, Vec::new()));
        }
        let start = line[..position].rfind(char::is_whitespace).map_or(0, |space| space + 1);
        let before = shell_words::split(&line[..start]).unwrap_or_default();
        let begun = &line[start..position];
        let words = match possible(&self.definition, &before, begun) {
            Possible::Words(words) => words,
            Possible::Arrays => self.names(),
            Possible::Files => return self.files.complete(line, position, context),
        };
        let fitting = words.into_iter().filter(|word| word.starts_with(begun));
        Ok((start, fitting.map(|word| Pair { replacement: format!("{word} "), display: word }).collect()))
    }
}

impl Hinter for Helper {
    type Hint = String;
}
impl Highlighter for Helper {}
impl Validator for Helper {}
impl rustyline::Helper for Helper {}

/// What can come next in a line.
#[derive(Debug, PartialEq)]
enum Possible {
    Words(Vec<String>),
    Arrays,
    Files,
}

/// What can come after the words `before`, when so much of it is typed.
fn possible(definition: &Command, before: &[String], begun: &str) -> Possible {
    let mut command = definition;
    let mut arguments = 0;
    let mut option = None;
    for word in before {
        if option.take().is_some() {
            continue; // it is the option's value
        } else if word.starts_with('-') {
            option = command.get_arguments().find(|arg| is_called(arg, word) && arg.get_action().takes_values());
        } else if let Some(found) = command.find_subcommand(word) {
            (command, arguments) = (found, 0);
        } else {
            arguments += 1;
        }
    }
    if let Some(option) = option {
        return values(command, option);
    }
    if begun.starts_with('-') {
        let options = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long);
        return Possible::Words(options.map(|long| format!("--{long}")).collect());
    }
    if command.has_subcommands() && arguments == 0 {
        return Possible::Words(command.get_subcommands().map(|command| command.get_name().to_string()).collect());
    }
    match command.get_positionals().nth(arguments) {
        Some(argument) => values(command, argument),
        None => Possible::Words(Vec::new()),
    }
}

fn is_called(arg: &Arg, word: &str) -> bool {
    word.strip_prefix("--").is_some_and(|word| arg.get_long() == Some(word))
}

fn values(command: &Command, arg: &Arg) -> Possible {
    let new = command.get_name().starts_with("create");
    match arg.get_id().as_str() {
        "name" if !new => Possible::Arrays,
        "operation" => Possible::Words(Operation::ALL.map(|operation| operation.name().to_string()).into()),
        _ if matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath) => {
            Possible::Files
        }
        _ => Possible::Words(arg.get_possible_values().iter().map(|value| value.get_name().to_string()).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str) -> Possible {
        let mut definition = definition();
        definition.build();
        let (before, begun) = line.rsplit_once(' ').unwrap_or(("", line));
        possible(&definition, &shell_words::split(before).unwrap(), begun)
    }

    fn words(line: &str) -> Vec<String> {
        match after(line) {
            Possible::Words(words) => {
                words.into_iter().filter(|word| word.starts_with(line.rsplit(' ').next().unwrap())).collect()
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn commands_and_options_are_completed() {
        assert_eq!(words("create"), ["create-int", "create-double", "create"]);
        assert_eq!(words("--json ex"), ["exit"]);
        assert_eq!(words("--timeout 3 hel"), ["help"]);
        assert_eq!(words("help app"), ["apply"]);
        assert_eq!(words("operations w"), ["wait"]);
        assert_eq!(words("get a --ra"), ["--range"]);
        assert_eq!(words("get a --ti"), ["--timeout"]);
        assert_eq!(words("get a --ma"), [] as [&str; 0]);
        assert_eq!(words("completions b"), ["bash"]);
        assert_eq!(words("create a b --format "), ["npy", "csv", "json"]);
        assert_eq!(words("apply a "), ["example1", "example2"]);
    }

    #[test]
    fn arguments_are_what_they_stand_for() {
        for line in ["get ", "get --array a", "apply a", "info ", "delete --yes ", "get --range 1:2 "] {
            assert_eq!(after(line), Possible::Arrays, "{line}");
        }
        for line in ["create a ", "get a --out b", "man "] {
            assert_eq!(after(line), Possible::Files, "{line}");
        }
        for line in ["create ", "get a ", "apply a --into ", "nonsense a", "list "] {
            assert_eq!(words(line), [] as [&str; 0], "{line}");
        }
    }
}
