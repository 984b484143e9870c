//! Speed and error of the elementary functions beside NumPy's on this machine, as the table in `crates/array/README.md`.
//!
//! `cargo run --release -p array --example elementary_table -- PYTHON [--write-readme]`, where PYTHON has NumPy: for example
//! `target/peers-env/*/bin/python`, which `scripts/bench peers` makes. Takes a minute.
//!
//! Arguments go to `tests/peers/elementary.py` and results come back as files of raw doubles.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use std::{env, fs};

use array::kernels::Build;
use array::kernels::elementary::{Binary, Unary, sin_cos};
use array::random;
use points::Points;
use rayon::prelude::*;
use reference::{Reference, ulps};

#[path = "../tests/elementary/points.rs"]
mod points;
#[path = "../tests/elementary/reference.rs"]
mod reference;

/// Elements that are computed again and again for the time of one, the same for both.
const BLOCK: usize = 4096;
const POINTS: Points = Points { seed: 100, of_each_kind: 5_000 };
const BEGIN: &str = "<!-- elementary_table writes this: begin -->\n";
const END: &str = "<!-- elementary_table writes this: end -->";

/// A function of the table.
#[derive(Clone, Copy)]
enum Function {
    Unary(Unary),
    Binary(Binary),
}

impl Function {
    fn all() -> impl Iterator<Item = Function> {
        Unary::ALL.into_iter().map(Function::Unary).chain(Binary::ALL.into_iter().map(Function::Binary))
    }

    fn name(self) -> &'static str {
        match self {
            Function::Unary(function) => function.name(),
            Function::Binary(function) => function.name(),
        }
    }

    /// Where the errors are measured; a function of one number ignores the second ones.
    fn points(self) -> (Vec<f64>, Vec<f64>) {
        match self {
            Function::Unary(function) => {
                let points = POINTS.unary(function);
                (points.clone(), points)
            }
            Function::Binary(function) => POINTS.binary(function).into_iter().unzip(),
        }
    }

    /// Where the time is measured: where all are defined, and most of them neither huge nor tiny.
    fn block(self) -> (Vec<f64>, Vec<f64>) {
        let (low, high) = match self.name() {
            "asin" | "acos" => (-1.0, 1.0),
            "log" | "log2" | "log10" | "log1p" | "pow" => (0.0, 100.0),
            _ => (-100.0, 100.0),
        };
        let uniform = |seed| {
            let mut values = vec![0.0; BLOCK];
            random::fill_double(seed, 0, &mut values, low, high);
            values
        };
        (uniform(1), uniform(2))
    }

    /// The same with every other first argument missing, which a NaN stands for.
    fn block_half_missing(self) -> (Vec<f64>, Vec<f64>) {
        let (mut a, b) = self.block();
        a.iter_mut().step_by(2).for_each(|x| *x = f64::NAN);
        (a, b)
    }

    /// Nanoseconds for each of these.
    fn time(self, (a, b): &(Vec<f64>, Vec<f64>)) -> f64 {
        let mut output = vec![0.0; a.len()];
        nanoseconds(|| self.run(a, b, &mut output))
    }

    fn run(self, a: &[f64], b: &[f64], output: &mut [f64]) {
        match self {
            Function::Unary(function) => function.run(Build::best(), a, output),
            Function::Binary(function) => function.run(Build::best(), a, b, output),
        }
    }

    /// The greatest errors of two lists of results.
    fn worst(self, (a, b): (&[f64], &[f64]), ours: &[f64], others: &[f64]) -> (f64, f64) {
        let errors = |reference: &mut Reference, i: usize| {
            let exact = match self {
                Function::Unary(function) => reference.unary(function, a[i]),
                Function::Binary(function) => reference.binary(function, a[i], b[i]),
            };
            (ulps(ours[i], &exact), ulps(others[i], &exact))
        };
        let greater = |x: (f64, f64), y: (f64, f64)| (x.0.max(y.0), x.1.max(y.1));
        (0..a.len()).into_par_iter().map_init(Reference::new, errors).reduce(|| (0.0, 0.0), greater)
    }
}

/// Nanoseconds per element: the least of many times.
fn nanoseconds(mut run: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        for _ in 0..10 {
            run();
        }
        start.elapsed().as_secs_f64() * 1e9 / (10 * BLOCK) as f64
    };
    (0..200).map(once).fold(f64::INFINITY, f64::min)
}

fn write(folder: &Path, name: &str, values: &[f64]) -> std::io::Result<()> {
    fs::write(folder.join(name), bytemuck::cast_slice(values))
}

fn read(folder: &Path, name: &str) -> std::io::Result<Vec<f64>> {
    Ok(bytemuck::pod_collect_to_vec(&fs::read(folder.join(name))?))
}

/// The table's row, with NumPy's times.
fn row(function: Function, folder: &Path, numpy: &NumPyTimes) -> Result<String, Box<dyn Error>> {
    let name = function.name();
    let (a, b) = function.points();
    let mut ours = vec![0.0; a.len()];
    function.run(&a, &b, &mut ours);
    let (error, numpy_error) = function.worst((&a, &b), &ours, &read(folder, &format!("{name}.points.out"))?);

    let [time, half_missing] = [function.block(), function.block_half_missing()].map(|block| function.time(&block));
    let NumPyTimes { usual, half_missing: numpy_half_missing, .. } = numpy;
    let numpy = format!("{usual} | {numpy_half_missing} | {}", shown(numpy_error));
    Ok(format!("| {name} | {time:.2} | {half_missing:.2} | {error:.3} | {numpy} |\n"))
}

/// An error in three digits behind the point, or when that is not what matters, as a power of 10.
fn shown(error: f64) -> String {
    if error < 100.0 { format!("{error:.3}") } else { format!("{error:.0e}") }
}

/// NumPy's times for a function, as it prints them.
struct NumPyTimes {
    name: String,
    usual: String,
    half_missing: String,
}

/// NumPy's version, and its times.
fn run_numpy(python: &str, folder: &Path) -> Result<(String, Vec<NumPyTimes>), Box<dyn Error>> {
    for function in Function::all() {
        let blocks = [("block", function.block()), ("missing", function.block_half_missing())];
        for (kind, (a, b)) in [("points", function.points())].into_iter().chain(blocks) {
            write(folder, &format!("{}.{kind}.a", function.name()), &a)?;
            write(folder, &format!("{}.{kind}.b", function.name()), &b)?;
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/elementary.py");
    let output = Command::new(python).arg(script).arg(folder).output()?;
    if !output.status.success() {
        return Err(format!("{python} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let printed = String::from_utf8(output.stdout)?;
    let mut lines = printed.lines().map(|line| line.split(' ').map(str::to_string).collect::<Vec<_>>());
    let version = lines.next().and_then(|words| words.into_iter().nth(1)).ok_or("NumPy printed nothing")?;
    let times = |words: Vec<String>| {
        let [name, usual, half_missing] = <[String; 3]>::try_from(words).map_err(|words| format!("{words:?}"))?;
        Ok(NumPyTimes { name, usual, half_missing })
    };
    Ok((version, lines.map(times).collect::<Result<_, Box<dyn Error>>>()?))
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown CPU");
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    let date = date.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default();
    format!("{}, {:?}; {date}", model.trim_start_matches([':', ' ', '\t']), Build::best())
}

fn table(python: &str, folder: &Path) -> Result<String, Box<dyn Error>> {
    let (version, numpy) = run_numpy(python, folder)?;
    let numpy = |name: &str| numpy.iter().find(|times| times.name == name).ok_or(format!("NumPy did not time {name}"));
    let columns = "| function | ns | half missing | max ULP | NumPy: ns | half missing | max ULP |";
    let mut table = format!("{}. NumPy {version}.\n\n{columns}\n|---|--:|--:|--:|--:|--:|--:|\n", machine());
    for function in Function::all() {
        table.push_str(&row(function, folder, numpy(function.name())?)?);
    }
    let sin = Function::Unary(Unary::Sin);
    let [time, half_missing] = [sin.block(), sin.block_half_missing()].map(|(input, _)| {
        let (mut sin, mut cos) = (vec![0.0; BLOCK], vec![0.0; BLOCK]);
        nanoseconds(|| sin_cos(Build::best(), &input, &mut sin, &mut cos))
    });
    let NumPyTimes { usual, half_missing: numpy_half_missing, .. } = numpy("sin_cos")?;
    let times = format!("{time:.2} | {half_missing:.2} | as each | {usual} | {numpy_half_missing}");
    writeln!(table, "| sin and cos at once | {times} | |")?;
    Ok(table)
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let python = words.first().ok_or("usage: elementary_table PYTHON [--write-readme]")?;
    let folder = tempfile::tempdir()?;
    let table = table(python, folder.path())?;
    print!("{table}");
    if words.get(1).is_some_and(|word| word == "--write-readme") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = fs::read_to_string(&path)?;
        let (before, rest) = readme.split_once(BEGIN).ok_or("the README has no place for the table")?;
        let (_, after) = rest.split_once(END).ok_or("the README has no end of the table")?;
        fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))?;
    }
    Ok(())
}
