//! What a line of the prompt says: words as a shell would see them, understood as a command line is.

use crate::cli::args::{Args, Command};
use crate::cli::failure::Failure;
use crate::cli::render::table::Table;
use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};

/// What a line says.
#[derive(Debug)]
pub enum Line {
    /// Nothing: it is empty, or a comment.
    Nothing,
    /// Go away.
    Exit,
    /// Show the commands.
    Help,
    /// Do this.
    Command(Args, Command),
}

impl Line {
    /// Whether its answer shall be JSON.
    pub fn json(&self, start: &Args) -> bool {
        match self {
            Line::Command(args, _) => args.json,
            Line::Nothing | Line::Exit | Line::Help => start.json,
        }
    }
}

/// The command line's definition without what is settled (the program's name, the master), and with `exit`.
pub fn definition() -> clap::Command {
    let exit = clap::Command::new("exit").visible_alias("quit").about("End this client; the cluster goes on");
    // It is known, so that there is more to say about it than that it is not.
    let settled = |master: clap::Arg| master.env(Resettable::Reset).hide(true);
    let definition = Args::command().no_binary_name(true).override_usage("[OPTIONS] COMMAND");
    definition.mut_arg("master", settled).subcommand(exit)
}

/// Understands a line. `start` has the options that the client was started with: they are valid for every line that does not
/// say otherwise.
pub fn parse(text: &str, start: &Args) -> Result<Line, Failure> {
    let words = shell_words::split(text.trim_end_matches(['\r', '\n'])).map_err(|_| {
        Failure::Usage("a quote is opened and not closed; a backslash before it makes it a letter".into())
    })?;
    match words.as_slice() {
        [] => return Ok(Line::Nothing),
        [help] if help == "help" => return Ok(Line::Help),
        _ => {}
    }
    let matches = definition().try_get_matches_from(&words)?;
    if matches.subcommand_name() == Some("exit") {
        return Ok(Line::Exit);
    }
    let mut args = Args::from_arg_matches(&matches)?;
    take_over(&mut args, &matches, start)?;
    match args.command.take() {
        Some(command) => Ok(Line::Command(args, command)),
        None => Err(Failure::Usage("there are options, but no command; `help` lists the commands".to_string())),
    }
}

/// Takes over the options that the line does not have.
fn take_over(args: &mut Args, matches: &ArgMatches, start: &Args) -> Result<(), Failure> {
    let is_given = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
    if is_given("master") {
        return Err(Failure::Usage(format!(
            "this client talks to {}; to talk to another master start another one: client --master {}",
            start.master, args.master
        )));
    }
    args.master = start.master.clone();
    args.json |= start.json;
    args.verbose |= start.verbose;
    if !is_given("timeout") {
        args.timeout = start.timeout;
    }
    if !is_given("level") {
        args.level = start.level;
    }
    Ok(())
}

/// The commands, in short.
pub fn help() -> String {
    let mut table = Table::new(["command", "what it does"]);
    for command in definition().get_subcommands_mut() {
        let usage = command.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").replace(" [OPTIONS]", "");
        table.row([usage, command.get_about().map(ToString::to_string).unwrap_or_default()]);
    }
    table.row(["help [COMMAND]".to_string(), "Show this, or the arguments and options of a command".to_string()]);
    format!("{}\n--json, --timeout SECONDS and --verbose can be added to every command.\n", table.render(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Level;
    use clap::Parser;
    use std::time::Duration;

    fn start(line: &str) -> Args {
        Args::try_parse_from(std::iter::once("client").chain(line.split_whitespace())).unwrap()
    }

    fn command(line: &str, from: &Args) -> (Args, Command) {
        match parse(line, from) {
            Ok(Line::Command(args, command)) => (args, command),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn failure(line: &str) -> String {
        parse(line, &start("")).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn words_are_those_of_a_shell() {
        for (line, expected) in [
            ("info a", "a"),
            ("  info\t a  \r\n", "a"),
            ("info 'a b'", "a b"),
            (r#"info "a \"b\" 'c'""#, r#"a "b" 'c'"#),
            (r"info a\ b\'c", "a b'c"),
            ("info ''", ""),
            ("info -- --json", "--json"),
            ("info a # and so on", "a"),
        ] {
            let (_, Command::Info { name }) = command(line, &start("")) else { panic!("{line}") };
            assert_eq!(name, expected, "{line}");
        }
        for line in ["info 'a", "info \"a", "info \"a\\"] {
            assert!(failure(line).starts_with("a quote is opened and not closed"), "{line}");
        }
    }

    #[test]
    fn lines_can_say_nothing_or_good_bye() {
        for line in ["", " \t", "\n", "# info a", "  # info a"] {
            assert!(matches!(parse(line, &start("")), Ok(Line::Nothing)), "{line}");
        }
        for line in ["exit", " quit\n", "--json exit"] {
            assert!(matches!(parse(line, &start("")), Ok(Line::Exit)), "{line}");
        }
        assert!(failure("exit 3").starts_with("unexpected argument '3'"));
        assert!(matches!(parse("help", &start("")), Ok(Line::Help)));
        assert_eq!(parse("help get", &start("")).unwrap_err().exit_code(), 0);
        assert_eq!(parse("help nonsense", &start("")).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn options_of_the_start_are_valid_until_a_line_has_its_own() {
        let from = start("--master h:1 --timeout 7 --level 2 --verbose");
        let (args, _) = command("list", &from);
        assert_eq!((args.master.as_str(), args.timeout, args.level), ("h:1", Duration::from_secs(7), Level::Two));
        assert!(args.verbose && !args.json);
        for line in ["list --json --timeout 3 --level auto", "--json --timeout 3 --level auto list"] {
            let (args, _) = command(line, &from);
            assert_eq!((args.json, args.timeout, args.level), (true, Duration::from_secs(3), Level::Auto), "{line}");
        }
        assert!(command("operations wait 3 --json", &from).0.json);
        assert!(command("list", &start("--json")).0.json);
        // What the default is does not count as said.
        assert_eq!(command("list --timeout 120", &from).0.timeout, Duration::from_secs(120));
    }

    #[test]
    fn mistakes_name_what_is_wrong() {
        let other = parse("list --master h:2", &start("--master h:1")).unwrap_err();
        assert_eq!(
            other.to_string(),
            "this client talks to h:1; to talk to another master start another one: client --master h:2"
        );
        assert!(failure("--json").starts_with("there are options, but no command"));
        assert!(failure("nonsense").contains("unrecognized subcommand 'nonsense'"));
        let usage = failure("create-int");
        assert!(usage.contains("Usage: create-int <NAME> <SIZE>"), "{usage}");
        for line in ["client list", "localhost 5000", "create-int a x"] {
            assert_eq!(parse(line, &start("")).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn help_has_every_command_in_a_line() {
        let help = help();
        for command in definition().get_subcommands() {
            let line = help.lines().find(|line| line.split_whitespace().next() == Some(command.get_name()));
            assert!(line.is_some_and(|line| line.chars().count() <= 100), "{}: {line:?}", command.get_name());
        }
        for line in ["create-int <NAME> <SIZE> ", "create <NAME> [FILE] ", "wait --workers <N> ", "exit "] {
            assert!(help.contains(line), "{line}: {help}");
        }
    }
}
