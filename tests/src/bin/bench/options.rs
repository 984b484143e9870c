//! What `scripts/bench` says behind the subcommand.

use std::path::PathBuf;

/// Float64 elements of the large arrays.
pub const LARGE: usize = 10_000_000;

/// The same with `quick`.
pub const LARGE_QUICKLY: usize = 200_000;

/// Elements of the small arrays, which the original system's table has too.
pub const SMALL: usize = 10_000;

/// The first repetitions find cold caches, and connections not yet made; they are checked, and not counted.
pub const WARM_UP: usize = 1;

/// How much is measured, and beside whom.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub reps: usize,
    /// Few and small, to see that it works.
    pub quick: bool,
    /// The Python that has the packages of the peers.
    pub python: Option<PathBuf>,
    /// The file whose section is to be written, and what it says of machine and date.
    pub readme: Option<PathBuf>,
    pub about: String,
}

impl Options {
    /// From `REPS [quick] [python=PATH] [readme=PATH] [about=TEXT]`.
    pub fn parse(words: &[String]) -> Result<Options, String> {
        let (reps, others) = words.split_first().ok_or("how many repetitions?")?;
        let reps = reps.parse().map_err(|e| format!("'{reps}' repetitions: {e}"))?;
        let mut options = Options { reps, ..Options::default() };
        for word in others {
            match word.split_once('=') {
                None if word == "quick" => options.quick = true,
                Some(("python", path)) => options.python = Some(path.into()),
                Some(("readme", path)) => options.readme = Some(path.into()),
                Some(("about", text)) => options.about = text.to_string(),
                _ => return Err(format!("what is '{word}'?")),
            }
        }
        Ok(options)
    }

    /// Elements of a large array.
    pub fn large(&self) -> usize {
        if self.quick { LARGE_QUICKLY } else { LARGE }
    }

    /// All repetitions with whether they count.
    pub fn rounds(&self) -> impl Iterator<Item = (usize, bool)> + use<> {
        (0..WARM_UP + self.reps).map(|rep| (rep, rep >= WARM_UP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_named() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>());
        let options = parse("3 python=/p quick about=a=b").unwrap();
        let expected = Options { reps: 3, quick: true, python: Some("/p".into()), readme: None, about: "a=b".into() };
        assert_eq!(options, expected);
        assert_eq!(options.rounds().collect::<Vec<_>>(), [(0, false), (1, true), (2, true), (3, true)]);
        assert_eq!(parse("3 slow").unwrap_err(), "what is 'slow'?");
        assert!(parse("x").unwrap_err().starts_with("'x' repetitions"));
    }
}
