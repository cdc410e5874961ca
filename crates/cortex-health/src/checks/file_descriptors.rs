use super::level::{Level, percent, share};
use super::small_file;
use crate::check::Check;
use crate::outcome::Outcome;
use crate::status::Status;
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

/// Makes a check of how many file descriptors the process has open, of those that it may have.
///
/// It reports the part of them in percent, and as details how many are open and how many may be. It reads `/proc/self`.
/// If there is no descriptor left for that, it is down.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::{self, FileDescriptors};
/// use cortex_health::Health;
///
/// let check = checks::file_descriptors("fds", FileDescriptors::new().used_percent(70, 90));
/// assert!(Health::builder().check(check).build().is_ok());
/// ```
pub fn file_descriptors(name: impl Into<Cow<'static, str>>, limits: FileDescriptors) -> Check {
    Check::blocking(name, move || limits.judge())
}

/// When [`file_descriptors`] finds that too many are open.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::FileDescriptors;
///
/// let limits = FileDescriptors::new().used_percent(50, 75).proc_at("/host/proc");
/// assert!(format!("{limits:?}").contains("/host/proc"));
/// ```
#[derive(Clone, Debug)]
pub struct FileDescriptors {
    used: Level,
    proc: PathBuf,
}

impl FileDescriptors {
    /// Is degraded from 80 % of the soft limit on, and down from 95 %.
    pub fn new() -> Self {
        Self {
            used: Level::new(80, 95),
            proc: "/proc".into(),
        }
    }

    /// Is degraded and down from these parts of the soft limit on, in percent; above 100 it never is.
    #[must_use]
    pub const fn used_percent(mut self, degraded: u8, down: u8) -> Self {
        self.used = Level::new(degraded, down);
        self
    }

    /// Finds the proc file system here instead of at `/proc`.
    #[must_use]
    pub fn proc_at(mut self, path: impl Into<PathBuf>) -> Self {
        self.proc = path.into();
        self
    }

    fn judge(&self) -> Outcome {
        let (open, limit) = match self.count() {
            Ok((open, Some(limit))) => (open, limit),
            Ok((open, None)) => return Outcome::up().detail("open", open).detail("limit", "unlimited"),
            Err(error) => return Outcome::down(format!("count open file descriptors: {error}")),
        };
        let message = || {
            let share = percent(open, limit);
            format!("{open} of {limit} file descriptors are open ({share} %)")
        };
        let outcome = match self.used.of_used(open, limit) {
            Status::Up => Outcome::up(),
            Status::Degraded => Outcome::degraded(message()),
            Status::Down | Status::Unknown | Status::Skipped => Outcome::down(message()),
        };
        outcome
            .observed(share(open, limit), "% used")
            .detail("open", open)
            .detail("limit", limit)
    }

    /// Returns how many are open and how many may be, if there is a limit.
    fn count(&self) -> io::Result<(u64, Option<u64>)> {
        let process = self.proc.join("self");
        let text = small_file::read(&process.join("limits"))?;
        // Max open files            1024                 524288               files
        let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
        let soft = line.and_then(|line| line.split_whitespace().next());
        let limit = match soft {
            Some("unlimited") => None,
            Some(soft) => Some(soft.parse().map_err(io::Error::other)?),
            None => return Err(io::Error::other("the limits do not name it")),
        };
        let count = process.join("fd").read_dir()?.count() as u64;
        Ok((count.saturating_sub(1), limit)) // the one that reads the folder
    }
}

impl Default for FileDescriptors {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::scratch::TempDir;
    use std::fs::{self, File};

    fn process(open: u64, soft: &str) -> (TempDir, FileDescriptors) {
        let proc = TempDir::new();
        let fd = proc.path().join("self/fd");
        fs::create_dir_all(&fd).expect("a folder");
        for number in 0..=open {
            File::create(fd.join(number.to_string())).expect("a file"); // one more: the reader's own
        }
        let limits = format!(
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max processes             94412                94412                processes \n\
             Max open files            {soft:<21}524288               files     \n"
        );
        fs::write(proc.path().join("self/limits"), limits).expect("a file");
        let limits = FileDescriptors::new().proc_at(proc.path());
        (proc, limits)
    }

    #[test]
    fn the_part_of_the_soft_limit_counts() {
        for (open, status) in [
            (15, Status::Up),
            (16, Status::Degraded),
            (19, Status::Down),
            (25, Status::Down),
        ] {
            let (_proc, limits) = process(open, "20");
            assert_eq!(limits.judge().status(), status, "{open}");
        }
        let (_proc, limits) = process(16, "20");
        let expected = "16 of 20 file descriptors are open (80 %)";
        assert_eq!(limits.judge().message(), Some(expected));
        assert_eq!(limits.judge().observation(), Some((80.0, "% used")));
        let (_proc, limits) = process(16, "unlimited");
        let outcome = limits.judge();
        assert_eq!((outcome.status(), outcome.observation()), (Status::Up, None));
        let details: Vec<_> = outcome.details().collect();
        assert_eq!(details, [("open", "16"), ("limit", "unlimited")]);
    }

    #[test]
    fn what_cannot_be_read_is_down() {
        let (proc, limits) = process(1, "many");
        assert_eq!(limits.judge().status(), Status::Down);
        fs::write(proc.path().join("self/limits"), "nothing").unwrap();
        let message = "count open file descriptors: the limits do not name it";
        assert_eq!(limits.judge().message(), Some(message));
        let nowhere = FileDescriptors::new().proc_at("/nonexistent");
        assert_eq!(nowhere.judge().status(), Status::Down);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn real_ones_are_counted() {
        let (before, limit) = FileDescriptors::new().count().unwrap();
        assert!(
            before >= 3 && limit.is_none_or(|limit| limit >= before),
            "{before} of {limit:?}"
        );
        let files: Vec<_> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        let (with, _) = FileDescriptors::new().count().unwrap();
        assert!(with >= 100, "{with}"); // other tests open and close some of theirs at the same time
        drop(files);
    }
}
