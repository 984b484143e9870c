//! What must be reached and what is aimed at, each a ratio within the run, and whether it is.

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Must,
    Aim,
}

/// One bound: a value, and what it may be at most.
#[derive(Clone, Debug)]
pub struct Bound {
    level: Level,
    /// What the value is of, such as `of raw TCP`.
    of: &'static str,
    value: f64,
    most: f64,
}

impl Bound {
    fn holds(&self) -> bool {
        self.value <= self.most // not a number does not
    }

    fn show(&self) -> String {
        let level = if self.level == Level::Must { "must" } else { "aim" };
        format!("{level}: {:.3} {}, at most {:.3}", self.value, self.of, self.most)
    }
}

/// A workload with its bounds.
#[derive(Clone, Debug)]
pub struct Goal {
    what: String,
    bounds: Vec<Bound>,
}

impl Goal {
    pub fn new(what: impl Into<String>) -> Goal {
        Goal { what: what.into(), bounds: Vec::new() }
    }

    /// What has to be.
    pub fn must(self, value: f64, of: &'static str, most: f64) -> Goal {
        self.with(Bound { level: Level::Must, of, value, most })
    }

    /// What would be good.
    pub fn aim(self, value: f64, of: &'static str, most: f64) -> Goal {
        self.with(Bound { level: Level::Aim, of, value, most })
    }

    fn with(mut self, bound: Bound) -> Goal {
        self.bounds.push(bound);
        self
    }

    /// In a word.
    pub fn verdict(&self) -> &'static str {
        let all = |level| self.bounds.iter().filter(|bound| bound.level == level).all(Bound::holds);
        match (all(Level::Must), all(Level::Aim)) {
            (false, _) => "missed",
            (true, false) => "must only",
            (true, true) => "reached",
        }
    }

    /// The line that says all of it.
    pub fn show(&self) -> String {
        let bounds: Vec<String> = self.bounds.iter().map(Bound::show).collect();
        format!("{:<10} {:<34} {}", self.verdict(), self.what, bounds.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_must_weighs_more_than_an_aim() {
        let goal = |must, aim| Goal::new("get").must(must, "of Dask", 1.0).aim(aim, "of raw TCP", 1.2).verdict();
        assert_eq!(goal(1.0, 1.2), "reached");
        assert_eq!(goal(0.5, 1.21), "must only");
        assert_eq!(goal(1.01, 0.1), "missed");
        assert_eq!(goal(f64::NAN, 0.1), "missed");
        let shown = Goal::new("get").must(0.5, "of Dask", 1.0).show();
        assert_eq!(shown, format!("reached    {:<34} must: 0.500 of Dask, at most 1.000", "get"));
    }
}
