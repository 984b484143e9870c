//! What memory a process uses, as Linux tells it.

/// What a process uses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// All that is resident.
    pub resident: u64,
    /// The same with what is shared divided among those that share it.
    pub proportional: u64,
    /// What of it is shared memory, of files in memory included.
    pub shared: u64,
    /// The most that was ever resident.
    pub peak: u64,
}

impl Footprint {
    /// Of a process that runs.
    ///
    /// # Errors
    /// The file of `/proc` that cannot be read, or what it lacks.
    pub fn of(process: u32) -> Result<Footprint, String> {
        let read = |file: &str| {
            let path = format!("/proc/{process}/{file}");
            std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))
        };
        Footprint::parse(&read("status")?, &read("smaps_rollup")?)
    }

    fn parse(status: &str, rollup: &str) -> Result<Footprint, String> {
        Ok(Footprint {
            resident: bytes(status, "VmRSS:")?,
            proportional: bytes(rollup, "Pss:")?,
            shared: bytes(status, "RssShmem:")?,
            peak: bytes(status, "VmHWM:")?,
        })
    }

    /// Both together.
    pub fn plus(self, other: Footprint) -> Footprint {
        Footprint {
            resident: self.resident + other.resident,
            proportional: self.proportional + other.proportional,
            shared: self.shared + other.shared,
            peak: self.peak + other.peak,
        }
    }
}

/// The value of a line such as `VmRSS: 1024 kB`.
fn bytes(text: &str, field: &str) -> Result<u64, String> {
    let mut words = text.lines().filter_map(|line| line.strip_prefix(field)).flat_map(str::split_whitespace);
    let kib: u64 = words.next().and_then(|word| word.parse().ok()).ok_or_else(|| format!("no {field} in /proc"))?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_understood() {
        let status = "Name:\tworker\nVmHWM:\t    3072 kB\nVmRSS:\t    2048 kB\nRssShmem:\t       4 kB\n";
        let rollup = "55-7f ---p 00000000 00:00 0 [rollup]\nRss:  2048 kB\nPss:  1024 kB\nPss_Dirty: 9 kB\n";
        let expected = Footprint { resident: 2 << 20, proportional: 1 << 20, shared: 4096, peak: 3 << 20 };
        assert_eq!(Footprint::parse(status, rollup), Ok(expected));
        assert_eq!(Footprint::parse(status, "").unwrap_err(), "no Pss: in /proc");
    }
}
