use std::fmt::{self, Display, Formatter};
use std::time::SystemTime;

/// Writes a time as RFC 3339 in UTC with milliseconds.
pub(crate) struct Rfc3339(pub(crate) SystemTime);

impl Rfc3339 {
    /// Adds it to a text, without what `write!` takes.
    pub(crate) fn push_to(&self, out: &mut String) {
        out.push_str(str::from_utf8(&self.text()).expect("invariant: it is ASCII"));
    }

    fn text(&self) -> [u8; 24] {
        // No clock of a working machine shows a time before 1970; one that does is not worth a sign.
        let unix = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (unix.as_secs() / 86_400, unix.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        // A report has dozens of them, and one by `write!` costs as much as the rest of its check.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (place, number) in [
            (0..4, year.min(9999)), // there are no more digits
            (5..7, month),
            (8..10, day),
            (11..13, hour),
            (14..16, minute),
            (17..19, second),
            (20..23, u64::from(unix.subsec_millis())),
        ] {
            put(&mut text[place], number);
        }
        text
    }
}

impl Display for Rfc3339 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.text()).expect("invariant: it is ASCII"))
    }
}

/// Writes a number that fits, with zeros before it.
fn put(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789"[(number % 10) as usize];
        number /= 10;
    }
}

/// The date of a day since 1970-01-01 in the Gregorian calendar.
///
/// Years begin in March here, so that a leap day is the last day of its year, and 400 of them have 146,097 days.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // from March
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn known_times() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "9999-01-01T00:00:00.000Z"),
        ];
        for (millis, expected) in table {
            let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(Rfc3339(time).to_string(), expected);
        }
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Rfc3339(before).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let leap =
            |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let mut expected = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(civil(days), expected);
            let (year, month, day) = expected;
            let last = match month {
                2 if leap(year) => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                _ if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}
