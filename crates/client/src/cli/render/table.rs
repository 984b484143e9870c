//! Tables: columns as wide as they need to be, numbers to the right, headers bold on a terminal.

use anstyle::Style;

const HEADER: Style = Style::new().bold();

/// A table under construction.
#[derive(Debug)]
pub struct Table {
    headers: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headers; one that begins with `>` heads a column of numbers.
    pub fn new<const N: usize>(headers: [&str; N]) -> Table {
        Table {
            headers: headers.iter().map(|header| header.trim_start_matches('>').to_string()).collect(),
            right: headers.iter().map(|header| header.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.headers.len());
        self.rows.push(cells.into());
    }

    /// The table as lines, or `empty` when it has no rows.
    pub fn render(&self, empty: &str) -> String {
        if self.rows.is_empty() {
            return format!("{empty}\n");
        }
        let widths: Vec<usize> = (0..self.headers.len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| &row[column]).chain([&self.headers[column]]);
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut text = format!("{HEADER}{}{HEADER:#}\n", self.line(&self.headers, &widths));
        for row in &self.rows {
            text += &self.line(row, &widths);
            text.push('\n');
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let cells = cells.iter().zip(widths).zip(&self.right).map(|((cell, &width), right)| match right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string()
    }
}

/// Numbers with a space between groups of three digits, from five digits on: `10 000 000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["name", ">size", "state"]);
        table.row(["größe".into(), "7".into(), "ok".into()]);
        table.row(["a".into(), "12345".into(), "lost".into()]);
        let text = anstream::adapter::strip_str(&table.render("none")).to_string();
        assert_eq!(text, "name    size  state\ngröße      7  ok\na      12345  lost\n");
        assert_eq!(Table::new(["a"]).render("nothing here"), "nothing here\n");
    }

    #[test]
    fn digits_are_grouped() {
        let groups = [0, 999, 9999, 10_000, 1_234_567].map(grouped);
        assert_eq!(groups, ["0", "999", "9999", "10 000", "1 234 567"]);
    }
}
