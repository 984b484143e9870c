//! What can be typed.

use super::help::*;
use crate::format::Format;
use array::DType;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::ffi::{OsStr, OsString};
use std::iter;
use std::path::PathBuf;
use std::time::Duration;

/// Keeps arrays in the memory of many machines, and computes on them.
#[derive(Debug, Parser)]
#[command(name = "client", version, after_long_help = EXAMPLES, after_help = "More, with examples and exit codes: --help")]
pub struct Args {
    /// Where the master is; several are separated by commas
    #[arg(long, global = true, value_name = "HOST:PORT", env = "DARRAY_MASTER", default_value = "127.0.0.1:5000")]
    pub master: String,

    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// Give up after so many seconds; until then failures of master and workers are waited out
    #[arg(long, global = true, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
    pub timeout: Duration,

    /// Which level of the protocol to speak
    #[arg(long, global = true, value_enum, default_value_t = Level::Auto)]
    pub level: Level,

    /// Which way the bytes of arrays take to and from workers
    #[arg(long, global = true, value_enum, env = "DARRAY_PATH", default_value_t = Path::Auto)]
    pub path: Path,

    /// Say on standard error what is sent and received, and in the answer what computing took
    #[arg(long, short, global = true)]
    pub verbose: bool,

    /// What to do; without it there is a prompt, or the commands come from standard input
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The levels of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// 2; or 1 with a master of the original system, which is known after a second without an answer
    Auto,
    /// The original system's protocol: create, get, and apply example1 or example2, of one-dimensional int32 and float64
    #[value(name = "1")]
    One,
    /// Everything; nothing else is tried
    #[value(name = "2")]
    Two,
}

/// The ways that bytes can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Path {
    /// Through shared memory to workers on this machine, over TCP to others
    Auto,
    /// Over TCP, also on this machine
    Tcp,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store random int32 numbers from 1 to 1000
    CreateInt(CreateRandom),
    /// Store random float64 numbers from 1 to 100
    CreateDouble(CreateRandom),
    /// Store an array from a file or standard input
    Create(CreateFile),
    /// Have the workers make an array: zeros, arange, random numbers, …
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(Generate),
    /// Compute with every element of an array; the result is a new version
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(Apply),
    /// Make one value of all elements of an array: their sum, mean, maximum, …
    #[command(after_help = REDUCE_EXAMPLES)]
    Reduce(Reduce),
    /// Show what `apply` or `reduce` would do, and what that would take
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Read an array's newest result, or the array itself
    Get(Get),
    /// List the arrays
    List,
    /// Show an array's segments, and who holds them
    Info {
        /// The array
        name: String,
    },
    /// List the workers
    Workers,
    /// Wait until so many workers are alive
    Wait {
        /// How many
        #[arg(long, value_name = "N")]
        workers: u32,
    },
    /// Show how the cluster is
    Status,
    /// List the running operations, wait for one, or cancel one
    Operations {
        /// Instead of listing
        #[command(subcommand)]
        command: Option<OperationsCommand>,
    },
    /// Show what went wrong, and how it was mended
    Recovery,
    /// Measure the cluster: one line of JSON for each workload
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(Bench),
    /// Delete an array
    Delete {
        /// The array
        name: String,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// End the workers and the master; what is only in memory is gone
    Shutdown {
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
    /// Print a script that teaches a shell to complete this command line
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all pages into a directory
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// Where to write client.1 and a page for each command; it is made if it is not there
        directory: Option<PathBuf>,
    },
}

/// Arguments of `create-int` and `create-double`.
#[derive(Debug, clap::Args)]
pub struct CreateRandom {
    /// What to call it
    pub name: String,
    /// How many elements
    #[arg(value_parser = clap::value_parser!(u64).range(..=array::LEN_MAX))]
    pub size: u64,
    /// The same seed gives the same numbers; a random one is chosen, and printed, without it
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Take the place of an array of that name
    #[arg(long)]
    pub replace: bool,
}

/// Arguments of `create`.
#[derive(Debug, clap::Args)]
pub struct CreateFile {
    /// What to call it
    pub name: String,
    /// The file; - is standard input
    #[arg(default_value = "-")]
    pub file: PathBuf,
    /// The file's format; without it the file's name or content decides
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// What the elements shall be: a NumPy name, int (int32) or double (float64); without it the numbers decide
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<DType>,
    /// Take the place of an array of that name
    #[arg(long)]
    pub replace: bool,
}

/// A file format by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// NumPy's own
    Npy,
    /// Numbers in lines
    Csv,
    /// Nested lists of numbers
    Json,
}

impl From<FileFormat> for Format {
    fn from(format: FileFormat) -> Format {
        match format {
            FileFormat::Npy => Format::Npy,
            FileFormat::Csv => Format::Csv,
            FileFormat::Json => Format::Json,
        }
    }
}

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// The array by name, or one version by handle (NAME@vN)
    pub name: String,
    /// What to compute, for instance 'sqrt(x) + b'; or example1 (float64), example2 (int32)
    #[arg(value_name = "EXPRESSION", allow_hyphen_values = true)]
    pub operation: String,
    /// Make the result an array of this name
    #[arg(long, value_name = "NEW")]
    pub into: Option<String>,
    /// Let --into take the place of an array of that name
    #[arg(long, requires = "into")]
    pub replace: bool,
    /// Do not wait for the result; `operations wait ID` does
    #[arg(long)]
    pub no_wait: bool,
}

/// Arguments of `reduce`.
#[derive(Debug, clap::Args)]
pub struct Reduce {
    /// The array by name, or one version by handle (NAME@vN)
    pub name: String,
    /// What to make of it, for instance 'sum(x), max(abs(x))'
    pub reductions: String,
}

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// What to call it
    pub name: String,
    /// What its elements are, for instance 'uniform(0, 1, 1000)'
    pub generator: String,
    /// What the elements are stored as; without it as NumPy would
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<DType>,
    /// The same seed gives the same numbers; a random one is chosen, and printed, without it
    #[arg(long, value_parser = clap::value_parser!(u64).range(..1 << 53))]
    pub seed: Option<u64>,
    /// Take the place of an array of that name
    #[arg(long)]
    pub replace: bool,
}

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// The array by name, or one version by handle (NAME@vN)
    pub name: String,
    /// An expression, the name of an operation, or reductions
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    pub operation: String,
}

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
pub struct Get {
    /// The array by name, or one version by handle (NAME@vN)
    pub name: String,
    /// The array itself, even if there is a result
    #[arg(long)]
    pub array: bool,
    /// Elements A to B-1, counted from 0 in C order; A or B may be left out
    #[arg(long, value_name = "A:B", value_parser = parse_range)]
    pub range: Option<(Option<u64>, Option<u64>)>,
    /// Write everything into this file instead: .npy, .csv or .json
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// What the elements are. Level 1 does not tell: without it what this client has stored, else double
    #[arg(long, value_name = "DTYPE")]
    pub dtype: Option<DType>,
}

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Bench {
    /// What to measure; several are separated by commas
    #[arg(long, value_enum, required = true, value_delimiter = ',')]
    pub workload: Vec<Workload>,
    /// Elements of each array [default: 10000000; latency: 10000]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=array::LEN_MAX))]
    pub n: Option<u64>,
    /// Repetitions [default: 7; latency: 2000; memory has one]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub reps: Option<u32>,
    /// What `expr` computes, of x in [0, 1)
    #[arg(long, value_name = "EXPRESSION", default_value = "where(x > 0.5, sqrt(x) * sin(x), x ** 2)")]
    #[arg(allow_hyphen_values = true)]
    pub expr: String,
}

/// What `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Workload {
    /// Store an array
    Create,
    /// Read one
    Get,
    /// example1
    #[value(name = "apply1")]
    Apply1,
    /// example2
    #[value(name = "apply2")]
    Apply2,
    /// example1, then read
    #[value(name = "apply1_get")]
    Apply1Get,
    /// Many short ones
    Latency,
    /// What the workers use
    Memory,
    /// Have the workers make random numbers
    Generate,
    /// Have the workers make 0, 1, 2, …
    Arange,
    /// The sum of all elements
    Sum,
    /// Five reductions at once
    #[value(name = "reduce5_fused")]
    Reduce5Fused,
    /// The sum of example1
    #[value(name = "apply1_sum")]
    Apply1Sum,
    /// A dot product
    Dot,
    /// Any expression
    Expr,
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.to_possible_value().expect("none is left out").get_name())
    }
}

/// What can be done with operations.
#[derive(Debug, Subcommand)]
pub enum OperationsCommand {
    /// Wait until an operation is complete; Ctrl-C cancels it
    Wait {
        /// Its number
        id: u64,
    },
    /// Stop an operation
    Cancel {
        /// Its number
        id: u64,
    },
}

fn seconds(text: &str) -> Result<Duration, String> {
    let refuse = || format!("'{text}' is not a number of seconds above 0");
    let seconds: f64 = text.parse().map_err(|_| refuse())?;
    Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero()).ok_or_else(refuse)
}

fn parse_range(text: &str) -> Result<(Option<u64>, Option<u64>), String> {
    let refuse = |why: &str| format!("'{text}' is not a range: {why}; write A:B, for instance 0:10");
    let (from, to) = text.split_once(':').ok_or_else(|| refuse("there is no colon"))?;
    let bound = |side: &str| match side.trim() {
        "" => Ok(None),
        side => side.parse().map(Some).map_err(|_| refuse("its ends are whole numbers from 0")),
    };
    match (bound(from)?, bound(to)?) {
        (Some(from), Some(to)) if from > to => Err(refuse("it ends before it begins")),
        range => Ok(range),
    }
}

/// What was typed, with the original's `client HOST PORT` as `client --master HOST:PORT`, which it means.
pub fn with_address_as_option(mut typed: Vec<OsString>) -> Vec<OsString> {
    if let Some((options, address)) = positional_form(&typed) {
        typed.truncate(options);
        typed.extend(["--master".into(), address.into()]);
    }
    typed
}

/// Whether this ends in HOST PORT, with nothing before it but so many words of options; and the address.
fn positional_form(typed: &[OsString]) -> Option<(usize, String)> {
    let [options @ .., host, port] = typed else { return None };
    let (host, port) = (host.to_str()?, port.to_str()?.parse::<u16>().ok()?);
    let is_command = host == "help" || Args::command().find_subcommand(host).is_some();
    if is_command || host.starts_with('-') || host.is_empty() {
        return None;
    }
    let parsed = Args::try_parse_from(iter::once(OsStr::new("client")).chain(options.iter().map(OsString::as_os_str)));
    let address = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]:{port}"), // IPv6
        false => format!("{host}:{port}"),
    };
    parsed.is_ok_and(|args| args.command.is_none()).then_some((options.len(), address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("client").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_documented_command_is_understood() {
        let lines = [
            "create-int a 10",
            "create-double a 10 --seed 7 --replace",
            "create a",
            "create a - --format csv --dtype double",
            "create a file.npy --replace",
            "apply a example1",
            "apply a example2 --into b --replace --no-wait",
            "apply a -x --into b",
            "reduce a sum(x),max(x)",
            "generate a zeros(3)",
            "generate a random(3) --dtype float32 --seed 7 --replace",
            "explain a -sin(x)",
            "bench --workload generate,arange,sum,reduce5_fused,apply1_sum,dot,expr --expr -x",
            "get a",
            "get a --array --range 1:2 --out a.npy",
            "get a --dtype int",
            "list",
            "info a",
            "workers",
            "wait --workers 3",
            "status",
            "operations",
            "operations wait 3",
            "operations cancel 3",
            "recovery",
            "bench --workload create,apply1_get --n 1000 --reps 3",
            "delete a --yes",
            "shutdown --yes",
            "completions bash",
            "man",
            "man directory",
        ];
        for line in lines {
            parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            parse(&format!("--master h:1,h:2 --json --timeout 0.5 --level auto --verbose {line}")).unwrap();
            parse(&format!("{line} --master h:1 --json --timeout 3 --level 2")).unwrap();
        }
    }

    #[test]
    fn mistakes_are_found() {
        for line in [
            "create-int a -3",
            "create-int a 99999999999999999",
            "create-int a",
            "apply a",
            "apply a b --replace",
            "reduce a",
            "generate a",
            "generate a random(3) --seed 9007199254740992",
            "explain a",
            "get a --range 5",
            "get a --range 5:1",
            "get a --range x:1",
            "create a --dtype float",
            "create a --format xls",
            "--timeout 0 list",
            "--timeout -1 list",
            "--timeout inf list",
            "--level 3 list",
            "wait",
            "bench",
            "bench --workload nothing",
            "bench --workload get --reps 0",
            "nonsense",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn values_mean_what_they_say() {
        let Some(Command::Get(get)) = parse("get a --range :7").unwrap().command else { panic!() };
        assert_eq!(get.range, Some((None, Some(7))));
        let Some(Command::Create(create)) = parse("create a").unwrap().command else { panic!() };
        assert_eq!(create.file, PathBuf::from("-"));
        assert_eq!(parse("list --timeout 1.5").unwrap().timeout, Duration::from_millis(1500));
        assert!(parse("").unwrap().command.is_none());
    }

    #[test]
    fn the_originals_form_is_told_from_commands() {
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        for (typed, meant) in [
            ("localhost 5000", "--master localhost:5000"),
            ("--json --timeout 5 localhost 5000", "--json --timeout 5 --master localhost:5000"),
            ("::1 5000", "--master [::1]:5000"),
        ] {
            assert_eq!(with_address_as_option(words(typed)), words(meant), "{typed}");
        }
        for other in [
            "info 5000",
            "delete 5000",
            "localhost",
            "localhost 99999",
            "--timeout 5",
            "--master localhost 5000",
            "--timeout wait 5000",
            "help 5",
            "create-int a 10",
            "get --array a 5",
            "list a 5",
            "--help a 5",
        ] {
            assert_eq!(with_address_as_option(words(other)), words(other), "{other}");
        }
    }
}
