//! Ctrl-C: something is put in order first, then the program ends with exit code 130. A second one ends it at once.

use super::failure::Failure;
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// The exit code of shells for a program that ended by Ctrl-C.
pub const EXIT_CODE: i32 = 130;

/// Set by the first Ctrl-C.
static RAISED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// How long the end of the program waits for what Ctrl-C does first; above all deadlines in there.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);

type Action = Box<dyn FnOnce() + Send>;

/// What to do first.
static ACTION: Mutex<Option<Action>> = Mutex::new(None);

/// Takes over Ctrl-C, with a thread that waits for it.
pub fn install() -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::File(format!("cannot watch for Ctrl-C: {e}"));
    let raised = RAISED.get_or_init(Arc::default);
    flag::register_conditional_shutdown(SIGINT, EXIT_CODE, raised.clone()).map_err(failed)?;
    flag::register(SIGINT, raised.clone()).map_err(failed)?;
    let mut signals = Signals::new([SIGINT]).map_err(failed)?;
    let wait = move || {
        if signals.forever().next().is_some() {
            let action = ACTION.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(action) = action {
                action();
            }
            std::process::exit(EXIT_CODE);
        }
    };
    std::thread::Builder::new().name("client-ctrl-c".to_string()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// To be called before the program ends by itself: if there was a Ctrl-C, its own end comes first. Otherwise the error
/// that it causes (a cancelled operation) would be reported as if nobody had asked for it.
pub fn give_way() {
    if RAISED.get().is_some_and(|raised| raised.load(Ordering::SeqCst)) {
        std::thread::sleep(FINISH_TIMEOUT);
    }
}

/// As long as this lives, Ctrl-C does something first.
pub struct Guard(());

/// Sets what Ctrl-C does first.
pub fn on_interrupt(action: impl FnOnce() + Send + 'static) -> Guard {
    *ACTION.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
    Guard(())
}

impl Drop for Guard {
    fn drop(&mut self) {
        *ACTION.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
