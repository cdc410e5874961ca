use std::fmt::Write;
use std::time::SystemTime;

/// The second that a thread wrote last, as text.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    secs: u64,
    /// Up to the point before the fraction.
    text: String,
}

impl Stamp {
    /// Writes a time as RFC 3339 in UTC with microseconds; one outside the years 1970 to 9999 is moved to the nearer end.
    pub(super) fn write(&mut self, out: &mut String, time: SystemTime) {
        const LAST_SECOND: u64 = 253_402_300_799; // 9999-12-31T23:59:59Z
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (secs, micros) = match since.as_secs() {
            secs if secs > LAST_SECOND => (LAST_SECOND, 999_999),
            secs => (secs, since.subsec_micros()),
        };
        if self.secs != secs || self.text.is_empty() {
            self.secs = secs;
            self.text.clear();
            second(&mut self.text, secs);
        }
        out.push_str(&self.text);
        fraction(out, micros);
    }
}

fn second(out: &mut String, secs: u64) {
    let (year, month, day) = date(secs / 86_400);
    let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    write!(
        out,
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}."
    )
    .expect("invariant: writing to a String does not fail");
}

/// Writes six digits and the zone.
fn fraction(out: &mut String, micros: u32) {
    let mut digits = *b"000000Z";
    let pairs = [micros / 10_000, micros / 100 % 100, micros % 100];
    for (place, pair) in digits.chunks_exact_mut(2).zip(pairs) {
        place[0] += (pair / 10).to_le_bytes()[0];
        place[1] += (pair % 10).to_le_bytes()[0];
    }
    out.push_str(str::from_utf8(&digits).expect("invariant: digits are ASCII"));
}

/// Returns the date of a day since 1970-01-01 in the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year, in eras of 400 years, which all have
/// the same length.
fn date(days: u64) -> (u64, u64, u64) {
    const ERA: u64 = 146_097;
    let days = days + 719_468; // since 0000-03-01
    let (era, day_of_era) = (days / ERA, days % ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153; // five months are 153 days, twice a year
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(secs: u64, micros: u64) -> String {
        let since = Duration::from_secs(secs) + Duration::from_micros(micros);
        let (mut stamp, time) = (Stamp::default(), SystemTime::UNIX_EPOCH + since);
        let mut twice = [String::new(), String::new()];
        for out in &mut twice {
            stamp.write(out, time);
        }
        let [first, again] = twice;
        assert_eq!(first, again);
        first
    }

    #[test]
    fn known_times() {
        for (secs, micros, shown) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_827_696, 7, "2000-02-29T12:34:56.000007Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000000Z"),
            (1_767_225_599, 999_999, "2025-12-31T23:59:59.999999Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59.000000Z"),
            (253_402_300_800, 0, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(at(secs, micros), shown);
        }
        let mut out = String::new();
        Stamp::default().write(&mut out, SystemTime::UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(out, "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn what_is_remembered_is_not_shown_for_another_second() {
        let mut stamp = Stamp::default();
        for (millis, shown) in [
            (999, "1970-01-01T00:00:00.999000Z"),
            (1_000, "1970-01-01T00:00:01.000000Z"),
            (61_001, "1970-01-01T00:01:01.001000Z"),
            (0, "1970-01-01T00:00:00.000000Z"),
        ] {
            let mut out = String::new();
            stamp.write(&mut out, SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(out, shown);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let leap =
            |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..300_000 {
            assert_eq!(date(days), (year, month, day));
            let length = match month {
                2 => 28 + u64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
        }
        assert!(year > 2700);
    }
}
