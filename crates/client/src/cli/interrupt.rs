//! Ctrl-C. On the command line, and in a list of commands from a pipe, something is put in order first, then the program
//! ends with exit code 130. At a prompt the running command is cancelled, and the prompt comes back. A second Ctrl-C before
//! that is done ends the program at once, everywhere.

use super::failure::Failure;
use crate::cancel::Cancel;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// The exit code of shells for a program that ended by Ctrl-C.
pub const EXIT_CODE: i32 = 130;

/// Set by the first Ctrl-C.
static RAISED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// How long the end of a command waits for what Ctrl-C does first; above all deadlines in there.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

/// What to do first; it gives what there is to say about it.
type Action = Box<dyn FnOnce() -> Option<String> + Send>;

/// What Ctrl-C does.
static STATE: Mutex<State> = Mutex::new(State { action: None, meaning: Meaning::End, carried_out: None });

/// Woken when a cancellation has been carried out.
static CARRIED_OUT: Condvar = Condvar::new();

struct State {
    /// What to do first.
    action: Option<Action>,
    meaning: Meaning,
    /// What a cancellation had to say, once it has been carried out.
    carried_out: Option<Option<String>>,
}

#[derive(Clone)]
enum Meaning {
    /// The program ends.
    End,
    /// Nothing: a prompt waits for a line. (Its Ctrl-C is a key, no signal.)
    Nothing,
    /// The command that is running ends.
    Cancel(Cancel),
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes over Ctrl-C, with a thread that waits for it. Once is enough.
pub fn install() -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::File(format!("cannot watch for Ctrl-C: {e}"));
    let raised = Arc::<AtomicBool>::default();
    if RAISED.set(raised.clone()).is_err() {
        return Ok(());
    }
    flag::register_conditional_shutdown(SIGINT, EXIT_CODE, raised.clone()).map_err(failed)?;
    flag::register(SIGINT, raised).map_err(failed)?;
    let mut signals = Signals::new([SIGINT]).map_err(failed)?;
    let wait = move || signals.forever().for_each(|_| on_signal());
    std::thread::Builder::new().name("client-ctrl-c".to_string()).spawn(wait).map_err(failed)?;
    Ok(())
}

fn on_signal() {
    let (action, meaning) = {
        let mut state = state();
        (state.action.take(), state.meaning.clone())
    };
    let said = action.and_then(|action| action());
    match meaning {
        Meaning::End => {
            if let Some(said) = said {
                let _ = writeln!(io::stderr(), "\ninterrupted; {said}"); // the program ends either way
            }
            std::process::exit(EXIT_CODE);
        }
        Meaning::Nothing => lower(),
        Meaning::Cancel(cancel) => {
            cancel.cancel();
            state().carried_out = Some(said);
            CARRIED_OUT.notify_all();
        }
    }
}

fn lower() {
    if let Some(raised) = RAISED.get() {
        raised.store(false, Ordering::SeqCst);
    }
}

/// Whether there was a Ctrl-C about what is being done.
pub fn is_raised() -> bool {
    RAISED.get().is_some_and(|raised| raised.load(Ordering::SeqCst))
}

/// To be called before the program goes on after a command, or ends by itself: if there was a Ctrl-C, its own end comes first.
/// Otherwise the error that it causes (a cancelled operation) would be reported as if nobody had asked for it.
pub fn give_way() {
    if is_raised() {
        std::thread::sleep(FINISH_TIMEOUT);
    }
}

/// From now on Ctrl-C does not end the program: there is a prompt.
pub fn stay() {
    state().meaning = Meaning::Nothing;
}

/// Runs a command of a prompt with something that Ctrl-C cancels. After a Ctrl-C it gives what there is to say about it as well.
pub fn cancellable<T>(run: impl FnOnce(&Cancel) -> T) -> (T, Option<Interrupted>) {
    let cancel = Cancel::default();
    {
        let mut state = state();
        (state.meaning, state.carried_out) = (Meaning::Cancel(cancel.clone()), None);
    }
    let result = run(&cancel);
    let mut state = state();
    let mut interrupted = None;
    if is_raised() {
        let waited = CARRIED_OUT.wait_timeout_while(state, FINISH_TIMEOUT, |state| state.carried_out.is_none());
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        interrupted = Some(Interrupted(state.carried_out.take().flatten()));
        lower();
    }
    state.meaning = Meaning::Nothing;
    (result, interrupted)
}

/// There was a Ctrl-C.
#[derive(Debug)]
pub struct Interrupted(Option<String>);

impl Interrupted {
    /// Says so on standard error, in place of the error that it led to.
    pub fn report(&self) {
        let said = self.0.as_ref().map_or(String::new(), |said| format!("; {said}"));
        let _ = writeln!(io::stderr(), "\ninterrupted{said}"); // a terminal is there, or nobody
    }
}

/// As long as this lives, Ctrl-C does something first.
pub struct Guard(());

/// Sets what Ctrl-C does first. What it gives is said, after the word "interrupted".
pub fn on_interrupt(action: impl FnOnce() -> Option<String> + Send + 'static) -> Guard {
    state().action = Some(Box::new(action));
    Guard(())
}

impl Drop for Guard {
    fn drop(&mut self) {
        state().action = None;
    }
}

/// A writer that takes nothing more after a Ctrl-C: what is long to write is long to read.
pub struct UntilInterrupted<W>(pub W);

impl<W: Write> Write for UntilInterrupted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Not `ErrorKind::Interrupted`, upon which writers try again.
        if is_raised() { Err(io::Error::other("interrupted")) } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
