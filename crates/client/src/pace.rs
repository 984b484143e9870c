//! How fast to go on: backoff between attempts, and how much to have in flight. Numbers in, numbers out.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

/// The first wait after a failure: a master or worker that restarts is back within a few of these.
pub const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// The longest wait: two attempts a second cost nobody anything, and a person does not notice the half second.
pub const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// How long a worker may be silent in a transfer before its segment is tried elsewhere. Above the second after which
/// the master takes a silent worker for dead, so that a new plan knows better than the old one.
pub const PATIENCE_MIN: Duration = Duration::from_millis(1500);

/// The longest patience, reached when nothing has worked for several rounds: the whole cluster is slow then.
pub const PATIENCE_MAX: Duration = Duration::from_secs(24);

/// Bytes a second a worker is granted on top of its patience to pass a segment on: 100 Mbit/s, well used.
const FORWARD_BYTES_PER_SECOND: u64 = 10 << 20;

/// Bytes in flight to or from one worker. Two of the usual segments of 4 MiB: one on its way while the other is
/// being checked and acknowledged.
const WINDOW_BYTES: u64 = 8 << 20;

/// Most segments in flight to or from one worker, for small ones: enough to hide the round trip, and far below the 64
/// requests a connection may have in flight.
const WINDOW_SEGMENTS_MAX: u64 = 16;

/// Segments of `segment_bytes` to have in flight to or from one worker: at least two, to keep both ends busy.
pub fn window(segment_bytes: u64) -> usize {
    (WINDOW_BYTES / segment_bytes.max(1)).clamp(2, WINDOW_SEGMENTS_MAX) as usize
}

/// How long a worker that is being sent `bytes` may be silent, after `rounds` plans without any progress.
pub fn patience(bytes: u64, rounds: u32) -> Duration {
    let forward = Duration::from_millis(bytes.saturating_mul(1000) / FORWARD_BYTES_PER_SECOND);
    (PATIENCE_MIN * 2_u32.pow(rounds.min(4))).min(PATIENCE_MAX) + forward
}

/// How long to wait after the `refusals`-th refusal in a row (from 1) of somebody who is busy and asks to be left alone for `named`:
/// as long as he says, then twice as long each time up to eight times.
pub fn busy_wait(named: Duration, refusals: u32) -> Duration {
    named.saturating_mul(2_u32.pow(refusals.saturating_sub(1).min(3)))
}

/// How long to wait after the `failures`-th failure in a row (from 1): doubling from [`BACKOFF_MIN`] to
/// [`BACKOFF_MAX`].
pub fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (BACKOFF_MIN * 2_u32.pow(doublings)).min(BACKOFF_MAX)
}

/// Random numbers for jitter, from a seed: the SplitMix64 sequence.
#[derive(Clone, Debug)]
pub struct Jitter {
    seed: u64,
    drawn: u64,
}

impl Jitter {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Jitter {
        Jitter { seed, drawn: 0 }
    }

    /// `wait`, shortened by up to half, so that clients that lost the same master do not come back at the same moment.
    pub fn shorten(&mut self, wait: Duration) -> Duration {
        let half = wait / 2;
        half + half.mul_f64(self.next_unit())
    }

    /// `wait`, lengthened by up to half, so that clients that were told to come back at the same moment do not.
    pub fn lengthen(&mut self, wait: Duration) -> Duration {
        wait + (wait / 2).mul_f64(self.next_unit())
    }

    /// The next number in [0, 1).
    fn next_unit(&mut self) -> f64 {
        let bits = array::random::bits(self.seed, self.drawn);
        self.drawn += 1;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_limit() {
        let waits: Vec<u64> = (1..=7).map(|n| backoff(n).as_millis() as u64).collect();
        assert_eq!(waits, [20, 40, 80, 160, 320, 500, 500]);
        assert_eq!(backoff(u32::MAX), BACKOFF_MAX);
    }

    #[test]
    fn jitter_takes_away_half_at_most() {
        let mut jitter = Jitter::new(7);
        for _ in 0..1000 {
            let wait = jitter.shorten(BACKOFF_MAX);
            assert!(BACKOFF_MAX / 2 <= wait && wait <= BACKOFF_MAX, "{wait:?}");
        }
    }

    #[test]
    fn whoever_is_busy_is_asked_less_and_less_but_never_sooner_than_he_says() {
        let waits: Vec<u64> = (1..=6).map(|n| busy_wait(Duration::from_millis(100), n).as_millis() as u64).collect();
        assert_eq!(waits, [100, 200, 400, 800, 800, 800]);
        let mut jitter = Jitter::new(7);
        let said = Duration::from_millis(100);
        let lengthened: Vec<Duration> = (0..1000).map(|_| jitter.lengthen(said)).collect();
        assert!(lengthened.iter().all(|wait| said <= *wait && *wait < said * 3 / 2));
        assert!(lengthened.iter().any(|wait| *wait > said * 7 / 5), "they do not come back at the same moment");
    }

    #[test]
    fn windows_hold_some_megabytes() {
        assert_eq!([1, 32 << 10, 1 << 20, 2 << 20, 32 << 20].map(window), [16, 16, 8, 4, 2]);
    }

    #[test]
    fn patience_grows_while_nothing_works() {
        assert_eq!(patience(0, 0), PATIENCE_MIN);
        assert_eq!(patience(0, 1), 2 * PATIENCE_MIN);
        assert_eq!(patience(0, 99), PATIENCE_MAX);
        assert_eq!(patience(10 << 20, 0), PATIENCE_MIN + Duration::from_secs(1));
    }
}
