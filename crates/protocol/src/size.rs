//! Amounts of memory: as people write them (`512M`, `1.5GiB`, `8589934592`), and as this machine has it.

use crate::limits::INTEGER_MAX;

/// Suffix of `K` and what it stands for, `M`, `G`, `T` likewise. Without a `B`, or with `iB`, it is a power of 1024, as in
/// `ls -h` and `java -Xmx`; `KB` and so on are the powers of 1000 of the SI.
const UNITS: [(char, u32); 4] = [('k', 1), ('m', 2), ('g', 3), ('t', 4)];

/// Reads a number of bytes: digits, perhaps with a fraction, and a unit: none or `B`, `K` = `KiB` = 1024, `KB` = 1000, and so
/// on with `M`, `G`, `T`, in upper or lower case. A fraction of a byte is cut off.
///
/// # Errors
/// A sentence for people, when it is no size, is zero, or is above 2^53 bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let refuse = || format!("'{text}' is not a size; write it like 512M, 1.5GiB or 8589934592");
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = whole.len() <= 18 && fraction.len() <= 9 && !fraction.contains('.');
    if whole.is_empty() || number.ends_with('.') || !all_digits {
        return Err(refuse());
    }
    let scale = u128::from(unit_bytes(unit.trim_start()).ok_or_else(refuse)?);
    let parts = 10_u128.pow(fraction.len() as u32);
    let number: u128 = format!("{whole}{fraction}").parse().map_err(|_| refuse())?;
    match number * scale / parts {
        0 => Err(format!("'{text}' is no bytes at all; give at least 1")),
        bytes if bytes > u128::from(INTEGER_MAX) => Err(format!("'{text}' is more than the largest size, 2^53 bytes")),
        bytes => Ok(bytes as u64),
    }
}

/// What one of `unit` is in bytes.
fn unit_bytes(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    if unit.is_empty() || unit == "b" {
        return Some(1);
    }
    let mut chars = unit.chars();
    let first = chars.next()?;
    let (_, power) = UNITS.into_iter().find(|(letter, _)| *letter == first)?;
    match chars.as_str() {
        "" | "i" | "ib" => Some(1024_u64.pow(power)),
        "b" => Some(1000_u64.pow(power)),
        _ => None,
    }
}

/// Writes a number of bytes for people: the largest binary unit that leaves at least 1, one decimal when it is not whole.
/// It rounds, so it is for messages, not for storing.
pub fn format_size(bytes: u64) -> String {
    // What is written as 1024.0 of a unit is written as 1.0 of the next.
    let least = |scale: u64| scale - (scale >> 10) / 20;
    let units = [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, scale)| bytes >= least(*scale)) {
        None => format!("{bytes} B"),
        Some((unit, scale)) if bytes.is_multiple_of(scale) => format!("{} {unit}", bytes / scale),
        Some((unit, scale)) => format!("{:.1} {unit}", bytes as f64 / scale as f64),
    }
}

/// Memory of a machine that does not say how much it has.
const MACHINE_MEMORY_UNKNOWN: u64 = 8 << 30;

/// The memory of this machine, in bytes, or what this process may have of it if that is less; a modest guess where nobody says.
pub fn machine_memory() -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok();
    let machine = meminfo.and_then(|text| total_memory(&text)).unwrap_or(MACHINE_MEMORY_UNKNOWN);
    process_memory().map_or(machine, |process| process.min(machine))
}

/// The most memory that this process may have, in bytes, if that is limited: by its control group or one around that, above whose
/// limit the system kills it, or by `ulimit -d` or `-v`, above which it gets none and ends. Of what `-v` limits, the allocator takes
/// parts that it does not use.
pub fn process_memory() -> Option<u64> {
    group_limit().into_iter().chain(process_limits()).min()
}

#[cfg(unix)]
fn process_limits() -> impl Iterator<Item = u64> {
    use rustix::process::{Resource, getrlimit};
    [Resource::Data, Resource::As].into_iter().filter_map(|resource| getrlimit(resource).current)
}

#[cfg(not(unix))]
fn process_limits() -> impl Iterator<Item = u64> {
    std::iter::empty()
}

fn group_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let limits = groups.lines().flat_map(limit_files).filter_map(|file| std::fs::read_to_string(file).ok());
    limits.filter_map(|text| text.trim().parse().ok()).min() // `max` is no number
}

/// The files with the limits of a control group and of all around it, the innermost first. A line of /proc/self/cgroup tells of it:
/// `0::PATH` of version 2, `N:memory:PATH` of version 1.
fn limit_files(line: &str) -> Vec<String> {
    let Some((number, (controllers, path))) =
        line.split_once(':').and_then(|(n, rest)| Some((n, rest.split_once(':')?)))
    else {
        return Vec::new();
    };
    let (root, file) = match controllers {
        "" if number == "0" => ("/sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let groups = std::iter::successors(Some(path.trim_end_matches('/')), |path| Some(path.rsplit_once('/')?.0));
    groups.map(|path| format!("{root}{path}/{file}")).collect()
}

/// `MemTotal` of /proc/meminfo, in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_control_groups_are_found() {
        let cases: [(&str, &[&str]); 7] = [
            ("0::/", &["/sys/fs/cgroup/memory.max"]),
            (
                "0::/system.slice/w1.service",
                &[
                    "/sys/fs/cgroup/system.slice/w1.service/memory.max",
                    "/sys/fs/cgroup/system.slice/memory.max",
                    "/sys/fs/cgroup/memory.max",
                ],
            ),
            (
                "4:memory:/a",
                &["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"],
            ),
            (
                "4:cpu,memory:/a:b",
                &["/sys/fs/cgroup/memory/a:b/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"],
            ),
            ("9:name=systemd:/", &[]),
            ("1:cpu:/x", &[]),
            ("", &[]),
        ];
        for (line, files) in cases {
            assert_eq!(limit_files(line), files, "{line}");
        }
    }

    #[test]
    fn sizes_are_read() {
        let cases = [
            ("1", 1),
            ("4096", 4096),
            ("10 B", 10),
            ("1k", 1024),
            ("512M", 512 << 20),
            ("512 MiB", 512 << 20),
            ("1.5GiB", 3 << 29),
            ("0.5Ki", 512),
            ("2T", 2 << 40),
            ("1kb", 1000),
            ("2.5GB", 2_500_000_000),
            ("1.0009K", 1024),
            (" 8g ", 8 << 30),
            ("9007199254740992", 1 << 53),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "M",
            "-1",
            "1..5G",
            "1.",
            ".5G",
            "1e9",
            "1X",
            "1GiBi",
            "0",
            "0.0001K",
            "9007199254740993",
            "9999T",
            "99999999999999999999",
            "1.0000000000001G",
            "½G",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert!(parse_size("lots").unwrap_err().contains("'lots'"));
    }

    #[test]
    fn sizes_are_written() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (512 << 20, "512 MiB"),
            (8 << 30, "8 GiB"),
            (3 << 40, "3 TiB"),
            ((1 << 20) - 52, "1023.9 KiB"),
            ((1 << 20) - 51, "1.0 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(format_size(bytes), text);
        }
    }

    #[test]
    fn the_machines_memory_is_read() {
        assert_eq!(total_memory("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16 << 20));
        for odd in ["", "MemTotal: 1 MB", "MemTotal: kB", "MemTotal: 0 kB", "MemTotal: 99999999999999999 kB"] {
            assert_eq!(total_memory(odd), None, "{odd}");
        }
    }
}
