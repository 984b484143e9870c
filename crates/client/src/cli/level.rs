//! What level 1 has: three requests, arrays in one dimension, two dtypes, two operations, no versions.

use super::args::{Apply, Command, Get};
use super::failure::Failure;
use crate::cluster::shortened;
use crate::error::Error;
use crate::original::Original;
use array::{DType, Operation};
use protocol::level1::data_type;
use protocol::{ErrorCode, Reference, WireError};

/// Checks that level 1 can do this.
///
/// # Errors
/// What it cannot.
pub fn check(command: &Command) -> Result<(), String> {
    match command {
        // An array of that name is replaced whether --replace is said or not.
        Command::CreateInt(_) | Command::CreateDouble(_) | Command::Create(_) => Ok(()),
        Command::Apply(apply) => check_apply(apply),
        Command::Get(get) => check_get(get),
        // They need no master.
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
        Command::Generate(_) => Err("generate".to_string()),
        Command::Reduce(_) => Err("reduce".to_string()),
        Command::Explain(_) => Err("explain".to_string()),
        Command::List => Err("list".to_string()),
        Command::Info { .. } => Err("info".to_string()),
        Command::Workers => Err("workers".to_string()),
        Command::Wait { .. } => Err("wait".to_string()),
        Command::Status => Err("status".to_string()),
        Command::Operations { .. } => Err("operations".to_string()),
        Command::Recovery => Err("recovery".to_string()),
        Command::Bench(_) => Err("bench".to_string()),
        Command::Delete { .. } => Err("delete".to_string()),
        Command::Shutdown { .. } => Err("shutdown".to_string()),
    }
}

fn check_apply(apply: &Apply) -> Result<(), String> {
    check_name(&apply.name)?;
    match (&apply.into, apply.operation.parse::<Operation>()) {
        (Some(_), _) => Err("--into (a name for the result)".to_string()),
        (None, Err(_)) => {
            let names = Operation::ALL.map(Operation::name).join(" and ");
            Err(format!("'{}' (an expression; level 1 has {names})", shortened(&apply.operation)))
        }
        (None, Ok(_)) => Ok(()),
    }
}

fn check_get(get: &Get) -> Result<(), String> {
    check_name(&get.name)?;
    match (get.array, get.range, get.dtype) {
        (true, ..) => Err("--array (reading the array itself, not its result)".to_string()),
        (_, Some(_), _) => Err("--range (reading a part)".to_string()),
        (_, _, Some(dtype)) if data_type(dtype).is_none() => Err(format!("--dtype {dtype}")),
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    match Reference::parse(name).version {
        Some(_) => Err(format!("'{name}' (a handle of one version)")),
        None => Ok(()),
    }
}

/// Checks that level 1 can store this.
///
/// # Errors
/// A sentence that says why not.
pub fn check_array(name: &str, dtype: DType, shape: &[u64]) -> Result<(), Failure> {
    let why = match shape {
        _ if data_type(dtype).is_none() => format!("it is {dtype}, and level 1 has int32 and float64 only"),
        [_] => return Ok(()),
        sides => format!("it has {} dimensions, and on level 1 arrays have one", sides.len()),
    };
    Err(Failure::File(format!("'{name}' cannot be stored: {why}; nothing is converted silently")))
}

/// Says that a master is not able to do something.
pub fn refused(original: &Original, what: String) -> Failure {
    let text = format!("{what} needs level 2; the master at {} is spoken with on level 1", original.address());
    Failure::Cluster(Error::Refused(WireError::new(ErrorCode::Unsupported, text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Args;
    use clap::Parser;

    fn refusal(line: &str) -> Option<String> {
        let args = Args::try_parse_from(std::iter::once("client").chain(line.split_whitespace())).unwrap();
        check(&args.command.unwrap()).err()
    }

    #[test]
    fn three_requests_are_all_there_is() {
        for line in [
            "create-int a 3 --replace",
            "create-double a 3 --seed 1",
            "create a a.npy --dtype int",
            "apply a example1 --no-wait",
            "get a --out a.csv --dtype int",
            "get a@v",
            "man",
        ] {
            assert_eq!(refusal(line), None, "{line}");
        }
        for (line, what) in [
            ("apply a example1 --into b", "--into"),
            ("apply a sin(x)", "'sin(x)' (an expression; level 1 has example1 and example2)"),
            ("reduce a sum(x)", "reduce"),
            ("generate a zeros(3)", "generate"),
            ("explain a example1", "explain"),
            ("apply a@v3 example1", "'a@v3' (a handle"),
            ("get a@v3", "'a@v3' (a handle"),
            ("get a --array", "--array"),
            ("get a --range 1:2", "--range"),
            ("get a --dtype uint8", "--dtype uint8"),
            ("operations wait 3", "operations"),
            ("delete a --yes", "delete"),
        ] {
            assert!(refusal(line).is_some_and(|found| found.starts_with(what)), "{line}: {:?}", refusal(line));
        }
    }

    #[test]
    fn arrays_have_one_dimension_and_one_of_two_dtypes() {
        assert!(check_array("a", DType::Int32, &[0]).is_ok());
        assert!(check_array("a", DType::Float64, &[7]).is_ok());
        for (dtype, shape, why) in [
            (DType::UInt8, &[3][..], "it is uint8"),
            (DType::Float64, &[2, 2], "it has 2 dimensions"),
            (DType::Int32, &[], "it has 0 dimensions"),
        ] {
            let failure = check_array("a", dtype, shape).unwrap_err();
            assert!(failure.to_string().contains(why), "{failure}");
        }
    }
}
