//! The copy of the workspace in which everything that can be changed is.

use crate::CHANGED;
use crate::find::{Place, places};
use crate::write::{Changed, Mutant};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the copy of the crate `planted` has beside its own: both hooks choose what a process does wrong.
const CHOOSING: &str = r#"
/// Whether a change is chosen, by the variable MUTANT.
pub fn is_mutant(number: usize) -> bool {
    static CHOSEN: std::sync::LazyLock<usize> =
        std::sync::LazyLock::new(|| std::env::var("MUTANT").ok().and_then(|n| n.parse().ok()).unwrap_or(0));
    *CHOSEN == number
}
"#;

/// A program with tests.
#[derive(Debug)]
pub struct Program {
    pub name: String,
    pub path: PathBuf,
    /// Where cargo would run it.
    pub dir: PathBuf,
}

/// The workspace's copy, and all changes.
pub struct Copy {
    root: PathBuf,
    target: PathBuf,
    files: Vec<File>,
    unviable: BTreeSet<usize>,
}

struct File {
    name: String,
    source: String,
    places: Vec<Place>,
    /// Number of its first change.
    first: usize,
    /// Where its changes are in what was written last.
    written: Vec<(usize, Range<usize>)>,
}

impl Copy {
    /// Reads what there is to change, from the current directory.
    pub fn new(dir: &Path) -> Copy {
        let mut names: Vec<String> = CHANGED.iter().flat_map(|dir| rust_files(Path::new(dir))).collect();
        names.sort();
        let mut first = 1;
        let file = |name: String| {
            let source = std::fs::read_to_string(&name).expect("it was just listed");
            let places = places(&source);
            let changes: usize = places.iter().map(|place| place.instead.len()).sum();
            let file = File { name, source, places, first, written: Vec::new() };
            first += changes;
            file
        };
        let files = names.into_iter().map(file).collect();
        let dir = std::path::absolute(dir).expect("there is a current directory");
        Copy { root: dir.join("copy"), target: dir.join("target"), files, unviable: BTreeSet::new() }
    }

    /// All changes.
    pub fn mutants(&self) -> Vec<Mutant> {
        let of_file = |file: &File| {
            let changes = file.places.iter().flat_map(|place| place.instead.iter().map(move |(_, says)| (place, says)));
            let mutant = |(number, (place, says)): (usize, (&Place, &String))| Mutant {
                number,
                file: file.name.clone(),
                line: place.line,
                function: place.function.clone(),
                says: says.clone(),
            };
            (file.first..).zip(changes).map(mutant).collect::<Vec<_>>()
        };
        self.files.iter().flat_map(of_file).collect()
    }

    /// Makes the copy, and checks it until it compiles. Gives what had to be left out.
    pub fn leave_out_what_does_not_compile(&mut self) -> BTreeSet<usize> {
        self.copy_workspace();
        loop {
            self.write_changes();
            let messages = self.cargo(&["check", "-p", "master", "-p", "worker", "--lib"]);
            let errors: Vec<&Value> =
                messages.iter().filter(|message| message["message"]["level"] == "error").collect();
            let found: BTreeSet<usize> = errors.iter().flat_map(|error| self.changes_at(&error["message"])).collect();
            if errors.is_empty() {
                return self.unviable.clone();
            }
            let is_news = found.iter().any(|number| !self.unviable.contains(number));
            assert!(is_news, "this has nothing to do with a change: {}", errors[0]["message"]["rendered"]);
            println!("{} changes do not compile", found.len());
            self.unviable.extend(found);
        }
    }

    fn copy_workspace(&self) {
        std::fs::create_dir_all(&self.root).expect("a directory for the copy");
        // `cp -u` keeps the times of what has not changed, so that cargo builds only what has.
        for what in ["Cargo.toml", "Cargo.lock", "crates", "tests"] {
            let copied = Command::new("cp").args(["-rup", what]).arg(&self.root).status().expect("cp");
            assert!(copied.success(), "{what} was not copied");
        }
        let planted = std::fs::read_to_string("crates/planted/src/lib.rs").expect("the crate `planted`");
        write_if_new(&self.root.join("crates/planted/src/lib.rs"), &format!("{planted}{CHOOSING}"));
    }

    fn write_changes(&mut self) {
        for file in &mut self.files {
            let (text, written) = Changed::new(&file.source, &file.places, file.first, &self.unviable).write();
            file.written = written;
            write_if_new(&self.root.join(&file.name), &text);
        }
    }

    /// The changes that an error is about.
    fn changes_at(&self, message: &Value) -> Vec<usize> {
        let spans = message["spans"].as_array().map_or(&[][..], Vec::as_slice);
        let of_span = |span: &Value| {
            let file = self.files.iter().find(|file| span["file_name"] == file.name.as_str());
            let at = span["byte_start"].as_u64().unwrap_or(0) as usize;
            let written = file.map_or(&[][..], |file| &file.written);
            // Where an empty text was put in, right there.
            let is_it = |(_, bytes): &&(usize, Range<usize>)| bytes.contains(&at) || bytes.start == at;
            written.iter().filter(is_it).map(|(number, _)| *number).collect::<Vec<_>>()
        };
        spans.iter().flat_map(of_span).collect()
    }

    /// Builds the tests, and gives their programs in the order of their speed.
    pub fn build(&self) -> Vec<Program> {
        let what = ["-p", "master", "-p", "worker", "-p", "tests", "--features", "tests/planted"];
        let which = ["--lib", "--test", "catalog", "--test", "cluster", "--test", "planted"];
        let messages = self.cargo(&[&["test", "--no-run"], &what[..], &which].concat());
        let program = |message: &Value| {
            let path = PathBuf::from(message["executable"].as_str()?);
            let dir = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
            let name = message["target"]["name"].as_str()?.to_string();
            (message["profile"]["test"] == true && name != "tests").then_some(Program { name, path, dir })
        };
        let mut programs: Vec<Program> = messages.iter().filter_map(program).collect();
        let order = ["worker", "master", "catalog", "cluster", "planted"];
        programs.sort_by_key(|program| order.iter().position(|name| *name == program.name));
        assert_eq!(programs.len(), order.len(), "{programs:?}");
        programs
    }

    /// What cargo says of a command.
    fn cargo(&self, args: &[&str]) -> Vec<Value> {
        let output = Command::new("cargo")
            .args(args)
            .args(["--locked", "--message-format=json"])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo");
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

/// Files of Rust below a directory, but for those that are tests.
fn rust_files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let paths = entries.map(|entry| entry.expect("a directory can be read").path());
    let files = |path: PathBuf| match (path.is_dir(), path.file_name().is_some_and(|name| name == "tests.rs")) {
        (true, _) => rust_files(&path),
        (false, true) => Vec::new(),
        (false, false) => vec![path.to_string_lossy().into_owned()],
    };
    paths.flat_map(files).collect()
}

fn write_if_new(path: &Path, text: &str) {
    if std::fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    std::fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}
