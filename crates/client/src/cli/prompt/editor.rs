//! Lines that a person types: editing, history, questions.

use super::complete::Helper;
use crate::cli::failure::Failure;
use crate::original::find::Master;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// What stands before a line.
const PROMPT: &str = "> ";

/// How many lines the history keeps.
const HISTORY_MAX: usize = 1000;

/// The editor of a prompt.
pub struct Editor {
    editor: rustyline::Editor<Helper, FileHistory>,
    history: Option<PathBuf>,
}

/// What a person typed.
#[derive(Debug)]
pub enum Typed {
    /// A line.
    Line(String),
    /// Ctrl-C: the line is not meant.
    Abandoned,
    /// Ctrl-D, or the terminal is gone.
    End,
}

impl Editor {
    /// An editor with the lines of earlier clients, that completes names of this master's arrays. Without a place for the
    /// history there is none.
    pub fn new(master: Master) -> Result<Editor, Failure> {
        let config = Config::builder().completion_type(CompletionType::List).history_ignore_space(true);
        let config = config.max_history_size(HISTORY_MAX).map_err(failed)?.build();
        let mut editor = rustyline::Editor::with_config(config).map_err(failed)?;
        editor.set_helper(Some(Helper::new(master)));
        let history = history_path(env::var_os("XDG_STATE_HOME").map(PathBuf::from), env::home_dir());
        if let Some(path) = &history {
            // The first client finds none.
            let _ = path.parent().map(fs::create_dir_all);
            let _ = editor.load_history(path);
        }
        Ok(Editor { editor, history })
    }

    /// Asks for a line.
    pub fn read(&mut self) -> Result<Typed, Failure> {
        self.set_completion(true);
        let typed = self.line(PROMPT)?;
        if let Typed::Line(line) = &typed {
            self.remember(line);
        }
        Ok(typed)
    }

    /// Asks a question; there is no answer when it is refused by Ctrl-C or Ctrl-D.
    pub fn ask(&mut self, question: &str) -> Result<Option<String>, Failure> {
        self.set_completion(false);
        match self.line(question)? {
            Typed::Line(line) => Ok(Some(line)),
            Typed::Abandoned | Typed::End => Ok(None),
        }
    }

    /// All lines up to Ctrl-D; none of them are meant after a Ctrl-C.
    pub fn read_all(&mut self) -> Result<Option<String>, Failure> {
        self.set_completion(false);
        let mut text = String::new();
        loop {
            match self.line("")? {
                Typed::Line(line) => {
                    text += &line;
                    text.push('\n');
                }
                Typed::Abandoned => return Ok(None),
                Typed::End => return Ok(Some(text)),
            }
        }
    }

    fn line(&mut self, prompt: &str) -> Result<Typed, Failure> {
        match self.editor.readline(prompt) {
            Ok(line) => Ok(Typed::Line(line)),
            Err(ReadlineError::Interrupted) => Ok(Typed::Abandoned),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(e) => Err(failed(e)),
        }
    }

    fn set_completion(&mut self, active: bool) {
        if let Some(helper) = self.editor.helper_mut() {
            helper.active = active;
        }
    }

    /// At once: a client that is killed has a history too, and several write the same one. Without a place that can be
    /// written to, it is remembered for this client only.
    fn remember(&mut self, line: &str) {
        if self.editor.add_history_entry(line).unwrap_or(false)
            && let Some(path) = &self.history
        {
            let _ = self.editor.append_history(path);
        }
    }
}

/// Where the history is: with what programs keep between their runs.
fn history_path(state_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let state_home = state_home.filter(|path| path.is_absolute());
    let home = home.filter(|path| path.is_absolute());
    let state = state_home.or_else(|| home.map(|home| home.join(".local/state")));
    state.map(|state| state.join(Path::new("darray/history")))
}

fn failed(e: ReadlineError) -> Failure {
    Failure::File(format!("the terminal: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_with_the_state_of_programs() {
        let path =
            |state: Option<&str>, home: Option<&str>| history_path(state.map(PathBuf::from), home.map(PathBuf::from));
        assert_eq!(path(Some("/s"), Some("/h")), Some("/s/darray/history".into()));
        for unset in [None, Some(""), Some("relative")] {
            assert_eq!(path(unset, Some("/h")), Some("/h/.local/state/darray/history".into()), "{unset:?}");
            assert_eq!(path(unset, None), None, "{unset:?}");
        }
    }
}
