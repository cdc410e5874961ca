use super::level::{Level, percent, share, size};
use crate::check::Check;
use crate::outcome::Outcome;
use crate::status::Status;
use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

/// Makes a check of the space and the inodes that are free on the file system of a path.
///
/// What it reports of a file system, also of one that is well: the part that is free in percent, and as details the
/// path, the bytes and the inodes that are free.
///
/// The call hangs on a network file system whose server is gone: then the check times out and keeps its one thread.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::{self, Disk};
/// use cortex_health::Health;
///
/// let health = Health::builder()
///     .check(checks::disk("disk", "/"))
///     .check(checks::disk("queue", Disk::new("/tmp").free_bytes(10 << 30, 1 << 30)).degrades())
///     .build()?;
/// assert_eq!(health.snapshot().checks().count(), 2);
/// # Ok::<(), cortex_health::BuildError>(())
/// ```
pub fn disk(name: impl Into<Cow<'static, str>>, disk: impl Into<Disk>) -> Check {
    let disk = disk.into();
    Check::blocking(name, move || disk.judge(statvfs(&disk.path)))
}

/// What [`disk`] looks at, and when it is too little.
///
/// Of a limit in percent, 0 is never reached. A file system that counts no inodes, as btrfs, is not judged by them.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::Disk;
///
/// let disk = Disk::new("/var/lib/queue").free_percent(20, 10).free_inodes_percent(5, 1);
/// assert!(format!("{disk:?}").contains("/var/lib/queue"));
/// ```
#[derive(Clone, Debug)]
pub struct Disk {
    path: PathBuf,
    space: Level,
    bytes: (u64, u64),
    inodes: Level,
}

impl Disk {
    /// Looks at the file system of this path: degraded below 15 % of space or 10 % of inodes, down below 5 % or 2 %.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            space: Level::new(15, 5),
            bytes: (0, 0),
            inodes: Level::new(10, 2),
        }
    }

    /// Is degraded and down below these parts of free space, in percent of what is not reserved.
    #[must_use]
    pub const fn free_percent(mut self, degraded: u8, down: u8) -> Self {
        self.space = Level::new(degraded, down);
        self
    }

    /// Is also degraded and down below so many free bytes. Default: 0 and 0, which no file system is below.
    #[must_use]
    pub const fn free_bytes(mut self, degraded: u64, down: u64) -> Self {
        self.bytes = (degraded, down);
        self
    }

    /// Is degraded and down below these parts of free inodes, in percent.
    #[must_use]
    pub const fn free_inodes_percent(mut self, degraded: u8, down: u8) -> Self {
        self.inodes = Level::new(degraded, down);
        self
    }

    fn judge(&self, found: io::Result<Space>) -> Outcome {
        let path = self.path.display();
        let space = match found {
            Ok(space) => space,
            Err(error) => return Outcome::down(format!("look at {path}: {error}")),
        };
        let (free, usable) = (space.free, space.used.saturating_add(space.free));
        let bytes = Level::judge(free < self.bytes.1, free < self.bytes.0);
        let bytes = self.space.of_free(free, usable).worst(bytes);
        let inodes = if space.inodes == 0 {
            Status::Up
        } else {
            self.inodes.of_free(space.free_inodes, space.inodes)
        };
        let message = || {
            let (share, left) = (percent(free, usable), size(free));
            let inodes = percent(space.free_inodes, space.inodes);
            format!("{path} has {share} % free ({left}), and {inodes} % of its inodes")
        };
        let outcome = match bytes.worst(inodes) {
            Status::Up => Outcome::up(),
            Status::Degraded => Outcome::degraded(message()),
            Status::Down | Status::Unknown | Status::Skipped => Outcome::down(message()),
        };
        let outcome = outcome
            .observed(share(free, usable), "% free")
            .detail("path", path)
            .detail("free", size(free));
        if space.inodes == 0 {
            outcome
        } else {
            outcome.detail("freeInodes", space.free_inodes)
        }
    }
}

impl From<&str> for Disk {
    /// Looks at this path with the usual limits.
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

impl From<String> for Disk {
    /// Looks at this path with the usual limits.
    fn from(path: String) -> Self {
        Self::new(path)
    }
}

impl From<&Path> for Disk {
    /// Looks at this path with the usual limits.
    fn from(path: &Path) -> Self {
        Self::new(path)
    }
}

impl From<PathBuf> for Disk {
    /// Looks at this path with the usual limits.
    fn from(path: PathBuf) -> Self {
        Self::new(path)
    }
}

/// What a file system says, in bytes and inodes.
#[derive(Clone, Copy, Debug)]
struct Space {
    used: u64,
    /// What a process that is not root may use.
    free: u64,
    inodes: u64,
    free_inodes: u64,
}

fn statvfs(path: &Path) -> io::Result<Space> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Space {
        used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
        free: bytes(found.f_bavail),
        inodes: found.f_files,
        free_inodes: found.f_favail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status::{Degraded, Down, Up};

    fn space(free: u64, free_inodes: u64) -> Space {
        Space {
            used: 1000 - free,
            free,
            inodes: 100,
            free_inodes,
        }
    }

    #[test]
    fn the_worst_of_space_and_inodes_counts() {
        let disk = Disk::new("/data").free_percent(20, 10).free_inodes_percent(5, 1);
        let status = |free, inodes| disk.judge(Ok(space(free, inodes))).status();
        assert_eq!(
            [status(200, 5), status(199, 5), status(99, 5)],
            [Up, Degraded, Down]
        );
        assert_eq!(
            [status(999, 4), status(999, 0), status(150, 0)],
            [Degraded, Down, Down]
        );
        let outcome = disk.judge(Ok(space(99, 4)));
        assert_eq!(
            outcome.message(),
            Some("/data has 9 % free (99 B), and 4 % of its inodes")
        );
    }

    #[test]
    fn what_was_measured_is_told_of_those_that_are_well_too() {
        let outcome = Disk::new("/data").judge(Ok(space(777, 80)));
        assert_eq!((outcome.status(), outcome.message()), (Up, None));
        assert_eq!(outcome.observation(), Some((77.7, "% free")));
        let details: Vec<_> = outcome.details().collect();
        assert_eq!(
            details,
            [("path", "/data"), ("free", "777 B"), ("freeInodes", "80")]
        );
    }

    #[test]
    fn bytes_count_if_they_are_set() {
        let disk = Disk::new("/data").free_percent(0, 0).free_bytes(500, 100);
        let status = |free| disk.judge(Ok(space(free, 100))).status();
        assert_eq!([status(500), status(499), status(99)], [Up, Degraded, Down]);
    }

    #[test]
    fn no_inodes_are_no_fault_and_no_file_system_is() {
        let none = Space {
            inodes: 0,
            free_inodes: 0,
            ..space(900, 0)
        };
        assert_eq!(Disk::new("/").judge(Ok(none)).status(), Up);
        let full = Space {
            used: 0,
            free: 0,
            ..none
        };
        assert_eq!(
            Disk::new("/proc").judge(Ok(full)).status(),
            Up,
            "a file system without space of its own"
        );
    }

    #[test]
    fn a_path_that_is_not_there_is_down() {
        let disk = Disk::from("/nonexistent/path");
        let outcome = disk.judge(statvfs(&disk.path));
        assert_eq!(outcome.status(), Down);
        assert!(
            outcome
                .message()
                .unwrap()
                .starts_with("look at /nonexistent/path: "),
            "{outcome:?}"
        );
        let here = statvfs(Path::new("/")).unwrap();
        assert!(here.used > 0 && here.free > 0, "{here:?}");
    }
}
