//! The times of one run, ours beside each peer's: for the terminal and for the README.

use crate::times::{Times, ms};
use std::fmt::Write;

/// Those that are measured beside us, as the columns call them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    Machine,
    NumExpr,
    Numba,
    DaskTuned,
    Dask,
    Ray,
    NumPy,
}

impl Other {
    /// The columns where arrays are stored and read.
    pub const STORING: [Other; 5] = [Other::Machine, Other::DaskTuned, Other::Dask, Other::Ray, Other::NumPy];

    /// The columns where they are computed on.
    pub const COMPUTING: [Other; 7] =
        [Other::Machine, Other::NumExpr, Other::Numba, Other::DaskTuned, Other::Dask, Other::Ray, Other::NumPy];

    pub fn name(self) -> &'static str {
        match self {
            Other::Machine => "the machine",
            Other::NumExpr => "numexpr",
            Other::Numba => "numba",
            Other::DaskTuned => "Dask, tuned",
            Other::Dask => "Dask",
            Other::Ray => "Ray",
            Other::NumPy => "NumPy",
        }
    }
}

/// One workload: our times, and theirs.
pub struct Row {
    pub what: String,
    pub ours: Times,
    pub others: Vec<(Other, Times)>,
}

impl Row {
    /// Our median by another's.
    pub fn ratio(&self, other: Other) -> f64 {
        let times = self.others.iter().find(|(who, _)| *who == other).map(|(_, times)| times);
        times.map_or(f64::NAN, |times| self.ours.ratio(times))
    }
}

/// For the terminal: a line for each.
pub fn lines<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> String {
    let width = rows.clone().map(|row| row.what.len()).max().unwrap_or_default();
    let mut text = format!("{:>width$}  {:<12} {:>22}  {:>22}\n", "", "", "ms", "as long as darray");
    for row in rows {
        let _ = writeln!(text, "{:>width$}  {:<12} {:>22}", row.what, "darray", row.ours.show());
        for (who, times) in &row.others {
            let ratio = times.ratio(&row.ours);
            let _ = writeln!(text, "{:>width$}  {:<12} {:>22}  {ratio:>21.2}x", "", who.name(), times.show());
        }
    }
    text
}

/// For the README: a table with a column for each, and its ratio to ours.
pub fn markdown<'a>(rows: impl Iterator<Item = &'a Row>, columns: &[Other]) -> String {
    let names: Vec<&str> = columns.iter().map(|other| other.name()).collect();
    let mut text = format!("| | darray | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(1 + names.len()));
    for row in rows {
        let _ = write!(text, "| {} | {} ms |", row.what, ms(row.ours.median()));
        for other in columns {
            let cell = row
                .others
                .iter()
                .find(|(who, _)| who == other)
                .map(|(_, times)| format!(" {} ms ({:.2}) |", ms(times.median()), times.ratio(&row.ours)));
            text.push_str(&cell.unwrap_or_else(|| " |".to_string()));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ratios_say_how_many_times_as_long_theirs_takes() {
        let time = |ms| {
            let mut times = Times::default();
            times.add(Duration::from_millis(ms));
            times
        };
        let others = vec![(Other::Machine, time(5)), (Other::Ray, time(40))];
        let row = Row { what: "get".to_string(), ours: time(20), others };
        assert_eq!((row.ratio(Other::Machine), row.ratio(Other::Ray)), (4.0, 0.5));
        assert!(row.ratio(Other::NumPy).is_nan());
        let table = markdown([&row].into_iter(), &Other::STORING);
        assert_eq!(table.lines().last(), Some("| get | 20.0 ms | 5.00 ms (0.25) | | | 40.0 ms (2.00) | |"));
    }
}
