use crate::status::Status;

/// From where on something is degraded, and from where on down, in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) degraded: u8,
    pub(super) down: u8,
}

impl Level {
    pub(super) const fn new(degraded: u8, down: u8) -> Self {
        Self { degraded, down }
    }

    /// Judges what is better the less there is of it.
    pub(super) fn of_used(self, part: u64, whole: u64) -> Status {
        let reaches = |percent| scaled(part) >= u128::from(whole) * u128::from(percent);
        Self::judge(reaches(self.down), reaches(self.degraded))
    }

    /// Judges what is better the more there is of it.
    #[cfg(feature = "disk")]
    pub(super) fn of_free(self, part: u64, whole: u64) -> Status {
        let below = |percent| scaled(part) < u128::from(whole) * u128::from(percent);
        Self::judge(below(self.down), below(self.degraded))
    }

    pub(super) const fn judge(is_down: bool, is_degraded: bool) -> Status {
        if is_down {
            Status::Down
        } else if is_degraded {
            Status::Degraded
        } else {
            Status::Up
        }
    }
}

fn scaled(part: u64) -> u128 {
    u128::from(part) * 100
}

/// Returns the part as whole percents, rounded down.
pub(super) fn percent(part: u64, whole: u64) -> u128 {
    scaled(part).checked_div(u128::from(whole)).unwrap_or(100)
}

/// Returns the part in percent, to a tenth and rounded down; of nothing it is all.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    let tenths = (scaled(part) * 10).checked_div(u128::from(whole)).unwrap_or(1000);
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
}

/// Writes a size for people.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes;
    let mut tenths = 0;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024 {
            break;
        }
        tenths = value % 1024 * 10 / 1024;
        value /= 1024;
        unit = next;
    }
    if unit == "B" {
        format!("{value} B")
    } else {
        format!("{value}.{tenths} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status::{Degraded, Down, Up};

    #[test]
    fn a_level_is_reached_exactly() {
        let level = Level::new(80, 95);
        let used = [79, 80, 94, 95, 100].map(|used| level.of_used(used, 100));
        assert_eq!(used, [Up, Degraded, Degraded, Down, Down]);
        assert_eq!(level.of_used(u64::MAX, u64::MAX), Down);
        assert_eq!(Level::new(200, 200).of_used(u64::MAX, u64::MAX), Up, "never");
    }

    #[test]
    #[cfg(feature = "disk")]
    fn below_is_below() {
        let level = Level::new(20, 5);
        let free = [100, 20, 19, 5, 4, 0].map(|free| level.of_free(free, 100));
        assert_eq!(free, [Up, Up, Degraded, Degraded, Down, Down]);
        assert_eq!(Level::new(0, 0).of_free(0, 100), Up, "never");
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!((percent(1, 3), percent(5, 0)), (33, 100));
        let shares = [share(1, 3), share(0, 5), share(0, 0), share(u64::MAX, u64::MAX)];
        assert_eq!(shares.map(|share| share.to_string()), ["33.3", "0", "100", "100"]);
        let sizes = [0, 1023, 1024, 1536, 10 << 30, u64::MAX].map(size);
        assert_eq!(
            sizes,
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10.0 GiB", "16383.9 PiB"]
        );
    }
}
