//! Progress on standard error: only on a terminal, and only for what takes longer than half a second.

use crate::transfer::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What is over sooner needs no bar.
const QUIET: Duration = Duration::from_millis(500);

/// How often a bar is drawn, per second.
const DRAWS_PER_SECOND: u8 = 10;

/// A progress bar that appears when it is worth it.
pub struct Meter {
    started: Instant,
    label: String,
    bytes: bool,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// A bar of bytes.
    pub fn bytes(label: impl Into<String>) -> Meter {
        Meter::new(label.into(), true)
    }

    /// A bar of things to be counted.
    pub fn count(label: impl Into<String>) -> Meter {
        Meter::new(label.into(), false)
    }

    fn new(label: String, bytes: bool) -> Meter {
        Meter { started: Instant::now(), label, bytes, bar: None }
    }

    /// Shows how far it is.
    pub fn update(&mut self, progress: Progress) {
        if self.started.elapsed() < QUIET || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND));
            let template = match self.bytes {
                true => "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
                false => "{msg} {wide_bar} {pos}/{len} {elapsed}",
            };
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(self.label.clone());
            bar
        });
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Does something, and says on a terminal what is waited for when it takes longer than half a second, which is
/// at most `limit`.
pub fn notice<T>(text: &str, limit: Duration, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    let (done, over) = mpsc::sync_channel::<()>(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if over.recv_timeout(QUIET.min(limit)) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{text}");
            }
        });
        let result = work();
        drop(done);
        result
    })
}
