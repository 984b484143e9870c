//! Standard output, and who is looking at it.

use super::failure::Failure;
use super::render::json::snake_case;
use serde::Serialize;
use serde_json::Value;
use std::io::{self, BufRead, IsTerminal, Write};

/// Where a command's answer goes.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    json: bool,
}

impl Console {
    /// A console for people, or for programs.
    pub fn new(json: bool) -> Console {
        Console { json }
    }

    /// Whether the answer is for a program.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the answer: `value` as one line of JSON with keys in snake_case, or the text for people.
    pub fn answer(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let out = match self.json {
            true => {
                let value = serde_json::to_value(value).map_err(io::Error::from)?;
                format!("{}\n", snake_case(value))
            }
            false => text(),
        };
        Ok(print(&out)?)
    }

    /// Asks a yes-or-no question on the terminal; without one, the answer is no.
    pub fn confirm(&self, question: &str) -> Result<(), Failure> {
        if self.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::Usage(format!("{question} Nobody can answer that here; say --yes")));
        }
        write!(io::stderr(), "{question} [y/N] ")?;
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::Usage("nothing was done".to_string())),
        }
    }
}

/// Prints text with styles, which are left out where they are not wanted (pipes, NO_COLOR).
pub fn print(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A JSON object built from pairs, for answers that are no message of the protocol.
pub fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Object(pairs.into_iter().map(|(key, value)| (key.to_string(), value)).collect())
}
