//! Replays the corpora, and inputs that once broke something.
//!
//! `TARGET=core INPUT=FILE cargo test -p fuzz --test corpora -- --nocapture` replays one input.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let files: BTreeSet<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.into_iter().collect()
}

/// Says which input it was when it panics.
struct Tell<'a>(&'a str, &'a Path);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (target, file) = (self.0, self.1.display());
            eprintln!("this input breaks {target}: {file}\nto replay it: scripts/fuzz --replay {target} {file}");
        }
    }
}

fn replay(name: &str) {
    let (_, target) = fuzz::TARGETS.into_iter().find(|(target, _)| *target == name).expect("a target of this name");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = files(&root.join("corpus").join(name));
    assert!(corpus.len() > 10, "the corpus of {name} has {} inputs", corpus.len());
    for file in corpus.iter().chain(&files(&root.join("found").join(name))) {
        let _tell = Tell(name, file);
        target(&std::fs::read(file).expect("a file"));
    }
}

macro_rules! corpora {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_corpus() {
            let names: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

corpora! { core csv expression frame json level1 list log message npy partial program }

/// Without libFuzzer, and without its guidance: what is broken most easily shows here. `RANDOM` is how many of each.
#[test]
fn random_bytes() {
    let count: u64 = std::env::var("RANDOM").map_or(100, |count| count.parse().expect("a number"));
    for (number, (name, target)) in (0..).zip(fuzz::TARGETS) {
        for seed in 0..count {
            let bits = |at| array::random::bits(seed << 8 | number, at);
            let bytes: Vec<u8> = (1..=bits(0) % 600).map(|at| bits(at) as u8).collect();
            let file = std::env::temp_dir().join(format!("{name}-{seed}"));
            if std::panic::catch_unwind(|| target(&bytes)).is_err() {
                std::fs::write(&file, &bytes).expect("a file");
                panic!("random bytes break {name}; to replay them: scripts/fuzz --replay {name} {}", file.display());
            }
        }
    }
}

/// Replays the one input that the environment names, if it names one.
#[test]
fn one_input() {
    let (Ok(name), Ok(file)) = (std::env::var("TARGET"), std::env::var("INPUT")) else { return };
    let (_, target) = fuzz::TARGETS.into_iter().find(|(target, _)| *target == name).expect("a target of this name");
    target(&std::fs::read(file).expect("a file"));
}
