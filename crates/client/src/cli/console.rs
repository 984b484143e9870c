//! Standard output and standard input, and who is at the other end of them.

use super::failure::Failure;
use super::prompt::editor::Editor;
use super::render::json::snake_case;
use serde::Serialize;
use serde_json::Value;
use std::cell::RefCell;
use std::io::{self, BufRead, IsTerminal, Read, Write};

/// Where a command's answer goes, and where it may ask.
#[derive(Clone, Copy)]
pub struct Console<'a> {
    json: bool,
    input: Input<'a>,
}

/// What standard input is for a command.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// Its own.
    Own,
    /// The list of commands that it is one of. It must not read a command as its answer.
    Commands,
    /// A person at the prompt, whose lines come through its editor.
    Prompt(&'a RefCell<Editor>),
}

impl<'a> Console<'a> {
    /// A console for people, or for programs.
    pub fn new(json: bool, input: Input<'a>) -> Console<'a> {
        Console { json, input }
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
        let nobody = !io::stdin().is_terminal() || !io::stderr().is_terminal();
        if self.json || nobody || matches!(self.input, Input::Commands) {
            return Err(Failure::Usage(format!("{question} Nobody can answer that here; say --yes")));
        }
        match self.ask(&format!("{question} [y/N] "))?.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(nothing_done()),
        }
    }

    fn ask(&self, question: &str) -> Result<String, Failure> {
        if let Input::Prompt(editor) = self.input {
            return editor.borrow_mut().ask(question)?.ok_or_else(nothing_done);
        }
        write!(io::stderr(), "{question}")?;
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(answer)
    }

    /// Everything that comes on standard input.
    pub fn read_input(&self) -> Result<Vec<u8>, Failure> {
        let failed = |e: io::Error| Failure::File(format!("standard input: {e}"));
        if let Input::Commands = self.input {
            let why = "standard input is where the commands come from; name a file with the numbers";
            return Err(Failure::Usage(why.to_string()));
        }
        if io::stdin().is_terminal() {
            eprintln!("reading numbers from the terminal; Ctrl-D ends them");
        }
        if let Input::Prompt(editor) = self.input {
            return Ok(editor.borrow_mut().read_all()?.ok_or_else(nothing_done)?.into_bytes());
        }
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

fn nothing_done() -> Failure {
    Failure::Usage("nothing was done".to_string())
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
