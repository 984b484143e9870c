//! Waiting for conditions, with a deadline.

use std::time::{Duration, Instant};

/// Between two looks: short against what is waited for, long enough to leave the processes the machine.
const POLL: Duration = Duration::from_millis(5);

/// Looks until there is something, and panics when that takes too long.
pub fn until<T>(what: &str, deadline: Duration, look: impl FnMut() -> Option<T>) -> T {
    maybe_until(deadline, look).unwrap_or_else(|| panic!("waited {deadline:?} in vain for {what}"))
}

/// Looks until there is something, or time is up.
pub fn maybe_until<T>(deadline: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(POLL);
    }
}
