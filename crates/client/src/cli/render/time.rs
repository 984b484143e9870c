//! Times for people.

use std::time::Duration;

/// Milliseconds since 1970 as `2026-11-21 01:39:12 UTC`.
pub fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a day since 1970. Howard Hinnant's `civil_from_days`: years begin in March there, so that the
/// leap day is the last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// A length of time with two or three digits: `17 ms`, `1.3 s`, `2 min 5 s`, `3 h 20 min`.
pub fn duration(time: Duration) -> String {
    let ms = time.as_millis();
    match ms {
        0 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        1..=999 => format!("{ms} ms"),
        1_000..=9_999 => format!("{:.1} s", time.as_secs_f64()),
        10_000..=119_999 => format!("{} s", ms / 1000),
        120_000..=7_199_999 => format!("{} min {} s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// Milliseconds, as [`duration`].
pub fn millis(ms: u64) -> String {
    duration(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399_000), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_795_216_748_464), "2026-11-20 23:19:08 UTC");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01 00:00:00 UTC");
    }

    #[test]
    fn durations() {
        let cases = [(0, "0.0 ms"), (17, "17 ms"), (1300, "1.3 s"), (45_000, "45 s"), (125_000, "2 min 5 s")];
        for (ms, text) in cases {
            assert_eq!(millis(ms), text);
        }
        assert_eq!(millis(12_000_000), "3 h 20 min");
        assert_eq!(duration(Duration::from_micros(250)), "0.2 ms");
    }
}
