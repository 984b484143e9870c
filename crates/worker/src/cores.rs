//! The cores that a worker computes on, if somebody says which.
//!
//! Left alone, the system may put the computing threads of two workers on one core for some milliseconds while another has nothing to
//! do, or move a thread away from its caches.

use std::fmt;
use std::str::FromStr;

/// Numbers of cores, as the system counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(Vec<usize>);

/// The highest number that is understood: as many cores as a set of the system has room for.
const NUMBER_MAX: usize = 1023;

impl Cores {
    /// How many there are, one at least.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Has the calling thread run on one of them only: the first for thread 0.
    ///
    /// # Errors
    /// If the system does not let it.
    pub fn pin(&self, thread: usize) -> Result<(), String> {
        let core = self.0[thread % self.0.len()];
        system::pin(core).map_err(|e| format!("this thread cannot be kept on core {core}: {e}"))
    }

    /// Whether this process may run on all of them.
    ///
    /// # Errors
    /// Which one it may not run on, and on which it may.
    pub fn check(&self) -> Result<(), String> {
        let allowed = usable()?;
        match self.0.iter().find(|core| !allowed.contains(core)) {
            Some(core) => Err(format!("core {core} is not there for this process, which may use {}", Cores(allowed))),
            None => Ok(()),
        }
    }
}

/// The numbers of those that this process may run on, in order.
///
/// # Errors
/// If the system does not say.
pub fn usable() -> Result<Vec<usize>, String> {
    system::allowed().map_err(|e| format!("the system does not say which cores there are: {e}"))
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Cores, String> {
        let malformed = |part: &str| format!("'{part}' is no core and no range of cores, like 0 or 2-5");
        let number = |part: &str, text: &str| -> Result<usize, String> {
            let number = text.parse().map_err(|_| malformed(part))?;
            if number > NUMBER_MAX {
                Err(format!("core {number} is beyond {NUMBER_MAX}, the highest"))
            } else {
                Ok(number)
            }
        };
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(part, first)?, number(part, last)?);
            if first > last {
                return Err(malformed(part));
            }
            for core in first..=last {
                if cores.contains(&core) {
                    return Err(format!("core {core} is named twice, and would compute with two threads"));
                }
                cores.push(core);
            }
        }
        Ok(Cores(cores))
    }
}

/// As [`Cores::from_str`] reads it, neighbours as a range.
impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.0.chunk_by(|core, next| *next == core + 1);
        for (at, range) in ranges.enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match range {
                [core] => write!(f, "{comma}{core}")?,
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [] => unreachable!("a chunk has an element"),
            }
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod system {
    use super::NUMBER_MAX;
    use rustix::io::Result;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    const _: () = assert!(NUMBER_MAX < CpuSet::MAX_CPU);

    pub fn pin(core: usize) -> Result<()> {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set)
    }

    pub fn allowed() -> Result<Vec<usize>> {
        let set = sched_getaffinity(None)?;
        Ok((0..=NUMBER_MAX).filter(|core| set.is_set(*core)).collect())
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    const WHY: &str = "only Linux can do that";

    pub fn pin(_: usize) -> Result<(), &'static str> {
        Err(WHY)
    }

    pub fn allowed() -> Result<Vec<usize>, &'static str> {
        Err(WHY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_ranges_are_read_and_shown() {
        let cases = [("0", "0"), ("3,5", "3,5"), ("0-3", "0-3"), ("0,1,2,8-9,4", "0-2,8-9,4"), ("1023", "1023")];
        for (text, shown) in cases {
            assert_eq!(text.parse::<Cores>().unwrap().to_string(), shown, "{text}");
        }
        assert_eq!("0-3,8".parse::<Cores>().unwrap().count(), 5);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "'' is no core"),
            ("0,", "'' is no core"),
            ("two", "'two'"),
            ("3-1", "'3-1'"),
            ("-1", "'-1'"),
            ("1024", "core 1024 is beyond 1023"),
            ("0-99999999999", "beyond 1023"),
            ("0-2,1", "core 1 is named twice"),
        ];
        for (text, why) in cases {
            let error = text.parse::<Cores>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_thread_runs_where_it_is_told() {
        let allowed = system::allowed().unwrap();
        let cores = Cores(allowed.clone());
        cores.check().unwrap();
        for (thread, core) in allowed.iter().enumerate() {
            let cores = cores.clone();
            let found = std::thread::spawn(move || cores.pin(thread).map(|()| system::allowed().unwrap()));
            assert_eq!(found.join().unwrap(), Ok(vec![*core]));
        }
        let missing = (0..=NUMBER_MAX).find(|core| !allowed.contains(core)).unwrap();
        let error = Cores(vec![missing]).check().unwrap_err();
        assert!(
            error.contains(&format!("core {missing} is not there")) && error.contains(&cores.to_string()),
            "{error}"
        );
    }
}
