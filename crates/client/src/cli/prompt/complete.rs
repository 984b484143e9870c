//! What Tab offers: commands, their options, and what their arguments can be.

use super::line::definition;
use crate::original::find::Master;
use array::expression::{function_names, generator_names};
use array::{Operation, Reducer};
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
        let start = start_of_word(&line[..position]);
        let before = shell_words::split(&line[..start]).unwrap_or_default();
        let begun = &line[start..position];
        let words = match possible(&self.definition, &before, begun) {
            Possible::Words(words) => words,
            Possible::Arrays => self.names(),
            Possible::Files => return self.files.complete(line, position, context),
            Possible::Generator(words) => return Ok(in_expression(&line[..position], words)),
            Possible::Expression(mut words) => {
                words.extend(self.names());
                return Ok(in_expression(&line[..position], words));
            }
        };
        let fitting = words.into_iter().filter(|word| word.starts_with(begun));
        Ok((start, fitting.map(|word| Pair { replacement: format!("{word} "), display: word }).collect()))
    }
}

/// Where the word begins that the end of a line is in. A word may be quoted, and have spaces then.
fn start_of_word(line: &str) -> usize {
    let (mut start, mut quote) = (0, None);
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c.is_whitespace() => start = at + c.len_utf8(),
            None => {}
        }
    }
    start
}

/// Those that the last name in an expression can become, and where it begins.
fn in_expression(line: &str, words: Vec<String>) -> (usize, Vec<Pair>) {
    let start = line
        .rfind(|c: char| !c.is_alphanumeric() && c != '_')
        .map_or(0, |at| at + line[at..].chars().next().map_or(0, char::len_utf8));
    let fitting = words.into_iter().filter(|word| word.starts_with(&line[start..]));
    (start, fitting.map(|word| Pair { replacement: word.clone(), display: word }).collect())
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
    /// A part of an expression: one of these, or an array.
    Expression(Vec<String>),
    /// One of these.
    Generator(Vec<String>),
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

/// Functions as they are called.
fn called(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{name}(")).collect()
}

fn values(command: &Command, arg: &Arg) -> Possible {
    let new = command.get_name().starts_with("create") || command.get_name() == "generate";
    match arg.get_id().as_str() {
        "name" if !new => Possible::Arrays,
        "operation" => {
            let reducers =
                if command.get_name() == "explain" { called(&Reducer::ALL.map(Reducer::name)) } else { vec![] };
            let named = Operation::ALL.map(|operation| operation.name().to_string()).into();
            Possible::Expression([called(&function_names()), reducers, named].concat())
        }
        "reductions" => {
            Possible::Expression([called(&Reducer::ALL.map(Reducer::name)), called(&function_names())].concat())
        }
        "expr" => Possible::Expression(called(&function_names())),
        "generator" => Possible::Generator(called(&generator_names())),
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
        assert_eq!(words("--json exi"), ["exit"]);
        assert_eq!(words("--timeout 3 hel"), ["help"]);
        assert_eq!(words("help app"), ["apply"]);
        assert_eq!(words("operations w"), ["wait"]);
        assert_eq!(words("get a --ra"), ["--range"]);
        assert_eq!(words("get a --ti"), ["--timeout"]);
        assert_eq!(words("get a --ma"), [] as [&str; 0]);
        assert_eq!(words("completions b"), ["bash"]);
        assert_eq!(words("create a b --format "), ["npy", "csv", "json"]);
    }

    /// What an expression at the end of a line can go on with, arrays not included.
    fn in_text(line: &str) -> Vec<String> {
        let mut definition = definition();
        definition.build();
        let start = start_of_word(line);
        let before = shell_words::split(&line[..start]).unwrap();
        let (Possible::Expression(words) | Possible::Generator(words)) = possible(&definition, &before, &line[start..])
        else {
            panic!("{line}")
        };
        in_expression(line, words).1.into_iter().map(|pair| pair.replacement).collect()
    }

    #[test]
    fn names_in_expressions_are_completed() {
        assert_eq!(in_text("apply a exa"), ["example1", "example2"]);
        assert_eq!(in_text("apply a sin(x)+sqr"), ["sqrt("]);
        assert_eq!(in_text("apply a 'sin(x) + cl"), ["clip("]);
        assert_eq!(in_text("apply \"größe 2\" \"2 * argm"), [] as [&str; 0], "no reduction");
        assert_eq!(in_text("reduce a 'sum(x), argm"), ["argmin(", "argmax("]);
        assert_eq!(in_text("reduce a 'sum(wher"), ["where("]);
        assert_eq!(in_text("explain a argmi"), ["argmin("]);
        assert_eq!(in_text("generate a lins"), ["linspace("]);
        assert_eq!(in_text("bench --expr '2*wher"), ["where("]);
    }

    #[test]
    fn a_pair_of_quotes_holds_a_word_together() {
        for (line, start) in [("", 0), ("a b", 2), ("a 'b c", 2), ("a 'b c' d", 8), ("a \"b' c", 2), ("ä ö ", 6)] {
            assert_eq!(start_of_word(line), start, "{line}");
        }
    }

    #[test]
    fn arguments_are_what_they_stand_for() {
        for line in
            ["get ", "get --array a", "apply a", "reduce a", "explain ", "info ", "delete --yes ", "get --range 1:2 "]
        {
            assert_eq!(after(line), Possible::Arrays, "{line}");
        }
        for line in ["create a ", "get a --out b", "man "] {
            assert_eq!(after(line), Possible::Files, "{line}");
        }
        for line in ["create ", "generate a", "get a ", "apply a --into ", "nonsense a", "list "] {
            assert_eq!(words(line), [] as [&str; 0], "{line}");
        }
    }
}
