//! Which level a master speaks.
//!
//! Our master answers HELLO within a second, so nothing else is done in that second. Silence is no answer, though: an
//! original Java master is silent, and so is one of ours that stands still for a moment; an original Python master closes the
//! connection, and so does one of ours that is killed. What tells them apart is a question of level 1 that all
//! of them answer: ours with a code, which original ones do not have.

use super::{NoReply, Original};
use crate::cancel::Cancel;
use crate::cluster::{Builder, Cluster};
use crate::error::Error;
use protocol::level1::Answer;
use protocol::limits::HELLO_TIMEOUT;
use std::thread;
use std::time::Duration;

/// How long a master has for the question; an original one on a busy machine answers in time.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// A master, and the level that is spoken with it.
#[derive(Clone, Debug)]
pub enum Master {
    /// Level 2.
    Cluster(Cluster),
    /// Level 1.
    Original(Original),
}

impl Builder {
    /// Connects on level 2; or on level 1, if the master does not answer HELLO within a second and turns out to speak nothing
    /// else. Only a master that is the only one can be an original one. With a deadline below that second it is level 2.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub fn connect_any(self) -> Result<Master, Error> {
        let [address] = self.masters.as_slice() else {
            return self.connect().map(Master::Cluster);
        };
        let (is_found, is_over) = (Cancel::default(), Cancel::default());
        thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let is_original = is_original(address, &is_over);
                if is_original {
                    is_found.cancel();
                }
                is_original
            });
            let connected = self.connect_until(&is_found);
            is_over.cancel();
            let is_original = asking.join().unwrap_or(false);
            match connected {
                Err(_) if is_original => Ok(Master::Original(Original::new(address).with_timeout(self.timeout))),
                connected => connected.map(Master::Cluster),
            }
        })
    }
}

/// What is known of a master that does not answer HELLO.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// It is one of the original system.
    Original,
    /// It is one of ours: it will say HELLO.
    Ours,
    /// There is none, it stands still, or it is something else.
    Unknown,
}

fn verdict(answer: &Result<Answer, NoReply>) -> Verdict {
    match answer {
        Ok(Answer { code: Some(_), .. }) => Verdict::Ours,
        Ok(_) => Verdict::Original,
        Err(_) => Verdict::Unknown,
    }
}

/// Whether there is an original master; asks, each time after a pause long enough for HELLO, until that is known or `over`.
fn is_original(address: &str, over: &Cancel) -> bool {
    let master = Original::new(address).with_timeout(ASK_TIMEOUT).with_cancel(over);
    while !over.is_cancelled_within(HELLO_TIMEOUT) {
        match verdict(&master.ask()) {
            Verdict::Original => return true,
            Verdict::Ours => return false,
            Verdict::Unknown => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ErrorCode;

    #[test]
    fn only_a_reply_without_a_code_makes_an_original_master() {
        let answer = |status: &str| Answer { status: status.to_string(), ..Answer::default() };
        assert_eq!(verdict(&Ok(answer("error"))), Verdict::Original, "Java");
        assert_eq!(verdict(&Ok(answer("complete"))), Verdict::Original, "Python");
        let ours = Answer { code: Some(ErrorCode::UnknownArray), ..answer("error") };
        assert_eq!(verdict(&Ok(ours)), Verdict::Ours);
        for none in [
            NoReply::Unreachable("refused".into()),
            NoReply::Closed,
            NoReply::Silence,
            NoReply::Unreadable("HTTP".into()),
        ] {
            assert_eq!(verdict(&Err(none)), Verdict::Unknown);
        }
    }
}
