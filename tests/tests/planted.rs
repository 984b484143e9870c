//! Every bug of the crate `planted` must be found by the stories or by the simulator.
//!
//! `scripts/planted` runs it; the list of bugs is in `crates/planted`. For each bug all stories are run, then seeds of the simulator
//! until one fails. With no bug chosen the same must pass. `UPDATE_GOLDENFILES=1` writes the table in `tests/README.md` anew.
//! `SEEDS=20000` has the simulator look for so long for every bug, those of the stories too.

use planted::{Bug, choose};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tests::run::Run;
use tests::story::Story;

/// Seeds for a bug that no story finds. The rarest ones need about a thousand.
const SEEDS: u64 = 5000;

/// Seeds that must pass without any bug, or the others say nothing. `tests/simulator.rs` has more.
const SEEDS_WITHOUT: u64 = 500;

/// Seeds for a bug that some story finds, for the table.
const SEEDS_BESIDE_STORIES: u64 = 100;

/// Where the table is.
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const TABLE_BEGINS: &str = "<!-- scripts/planted --update writes this: begin -->\n";
const TABLE_ENDS: &str = "<!-- end -->\n";

/// A bug is chosen for the whole process: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    /// What the last panic of this thread said, and where.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn remember_panic(info: &PanicHookInfo<'_>) {
    let file = info.location().and_then(|at| Path::new(at.file()).file_name()?.to_str().map(ToString::to_string));
    let text = info.payload_as_str().unwrap_or_default().to_string();
    PANIC.with(|panic| *panic.borrow_mut() = format!("{}: {text}", file.unwrap_or_default()));
}

/// Runs something that may panic; then gives what it said.
fn attempt<T>(what: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(what)).map_err(|_| PANIC.with(RefCell::take))
}

/// All stories.
fn scripts() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    scripts
}

fn seeds_wanted() -> Option<u64> {
    std::env::var("SEEDS").ok().and_then(|n| n.parse().ok())
}

/// Why a story does not go as it is told.
fn tell(script: &Path) -> Option<String> {
    let told = std::fs::read_to_string(script).unwrap();
    match attempt(|| goldenscript::generate(&mut Story::default(), &told)) {
        Ok(Ok(now)) => (now != told).then(|| "it is told otherwise".to_string()),
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(panic),
    }
}

/// The stories that don't go as they are told.
fn broken_stories(scripts: &[PathBuf]) -> Vec<String> {
    let name = |script: &Path| script.file_name().unwrap().to_string_lossy().into_owned();
    let (next, broken) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    on_all_cores(|| {
        while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            if tell(script).is_some() {
                broken.lock().unwrap().push(name(script));
            }
        }
    });
    let mut broken = broken.into_inner().unwrap();
    broken.sort();
    broken
}

/// The first seed that fails, and why.
fn first_failure(seeds: u64) -> Option<(u64, String)> {
    let (next, first) = (AtomicU64::new(0), Mutex::new(None::<(u64, String)>));
    on_all_cores(|| {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            // Seeds before one that has failed are finished, so that the first one is found.
            if seed >= seeds || first.lock().unwrap().as_ref().is_some_and(|(first, _)| *first < seed) {
                return;
            }
            if let Err(panic) = attempt(|| Run::of(seed).execute(&mut None)) {
                let mut first = first.lock().unwrap();
                if first.as_ref().is_none_or(|(first, _)| *first > seed) {
                    *first = Some((seed, panic));
                }
            }
        }
    });
    first.into_inner().unwrap()
}

fn on_all_cores(work: impl Fn() + Sync) {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(&work))));
}

/// How a bug was found.
struct Found {
    bug: Bug,
    stories: Vec<String>,
    /// The seed, and what failed.
    seed: Option<(u64, String)>,
}

fn look_for(bug: Bug, scripts: &[PathBuf]) -> Found {
    choose(Some(bug));
    let stories = broken_stories(scripts);
    let seeds = seeds_wanted().unwrap_or(if stories.is_empty() { SEEDS } else { SEEDS_BESIDE_STORIES });
    let seed = first_failure(seeds);
    choose(None);
    Found { bug, stories, seed }
}

impl Found {
    /// Its row in the table.
    fn row(&self) -> String {
        let stories = match self.stories.as_slice() {
            [] => "none".to_string(),
            [one] => format!("`{one}`"),
            [one, others @ ..] => format!("`{one}` and {} more", others.len()),
        };
        let (seeds, checker) = match &self.seed {
            Some((seed, panic)) => ((seed + 1).to_string(), format!("`{}`", in_short(panic))),
            None => ("-".to_string(), String::new()),
        };
        format!("| `{:?}` | {} | {stories} | {seeds} | {checker} |", self.bug, self.bug.what())
    }
}

/// What a check says, without the numbers of the case, and not all of it.
fn in_short(panic: &str) -> String {
    const SHOWN: usize = 80;
    let line = panic.lines().next().unwrap_or_default().replace(['|', '`'], "'");
    let mut short = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if short.ends_with('#') => {}
            '0'..='9' => short.push('#'),
            c => short.push(c),
        }
    }
    match short.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &short[..end]),
        None => short,
    }
}

/// The table with these rows in place of that in the README.
fn write_table(rows: &str) {
    let readme = std::fs::read_to_string(README).unwrap();
    let (before, rest) = readme.split_once(TABLE_BEGINS).expect("the README has a place for the table");
    let (_, after) = rest.split_once(TABLE_ENDS).expect("the table ends");
    std::fs::write(README, format!("{before}{TABLE_BEGINS}{rows}{TABLE_ENDS}{after}")).unwrap();
}

#[test]
fn nothing_fails_without_a_bug() {
    let _turn = TURN.lock();
    std::panic::set_hook(Box::new(remember_panic));
    let broken = broken_stories(&scripts());
    let failed = if broken.is_empty() { first_failure(seeds_wanted().unwrap_or(SEEDS_WITHOUT)) } else { None };
    let _ = std::panic::take_hook();
    assert_eq!((broken, failed), (vec![], None));
}

#[test]
fn every_planted_bug_is_found() {
    let _turn = TURN.lock();
    std::panic::set_hook(Box::new(remember_panic));
    let (began, scripts) = (Instant::now(), scripts());
    let mut table =
        "| bug | what it does | stories that tell it | seeds until the simulator finds it | by which check |\n"
            .to_string();
    table.push_str("|---|---|---|---|---|\n");
    print!("{table}");
    let only = std::env::var("BUG").ok();
    let bugs = Bug::ALL.iter().copied().filter(|bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}")));
    let mut missed = Vec::new();
    for bug in bugs {
        let found = look_for(bug, &scripts);
        println!("{}", found.row());
        writeln!(table, "{}", found.row()).unwrap();
        if found.stories.is_empty() && found.seed.is_none() {
            missed.push(bug);
        }
    }
    let _ = std::panic::take_hook();
    println!("{} bugs, {:.0} s", table.lines().count() - 2, began.elapsed().as_secs_f64());
    assert!(missed.is_empty(), "nothing has found {missed:?}");
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        write_table(&table);
    }
    let readme = std::fs::read_to_string(README).unwrap();
    let unlisted: Vec<&Bug> = Bug::ALL.iter().filter(|bug| !readme.contains(&format!("| `{bug:?}` |"))).collect();
    assert!(unlisted.is_empty(), "the table in tests/README.md lacks {unlisted:?}: scripts/planted --update");
}
