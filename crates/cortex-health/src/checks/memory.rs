use super::level::{Level, percent, share, size};
use super::memory_source::{MemorySource, Usage};
use crate::check::Check;
use crate::outcome::Outcome;
use crate::status::Status;
use std::borrow::Cow;
use std::fmt::Write;
use std::path::PathBuf;

/// Makes a check of how near the memory is to its limit, and of how much work waits for memory.
///
/// The limit is that of the control group of the process, version 2 or 1, or of the group around it that is nearest to
/// its own; what is used leaves out files that the kernel can forget at once (`inactive_file`), as the kubelet does.
/// Without a limit that is lower than the machine's memory it is that. How much waits is `some avg10` of the pressure stall information:
/// the part of the last ten seconds in which a task waited for memory. A kernel without it is not judged by it.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::{self, Memory};
/// use cortex_health::Health;
///
/// let check = checks::memory("memory", Memory::new().used_percent(80, 90)).degrades();
/// assert!(Health::builder().check(check).build().is_ok());
/// ```
pub fn memory(name: impl Into<Cow<'static, str>>, limits: Memory) -> Check {
    Check::blocking(name, move || limits.judge())
}

/// When [`memory`] finds that there is too little.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::Memory;
///
/// let limits = Memory::new().stalled_percent(5, 40).proc_at("/host/proc");
/// assert!(format!("{limits:?}").contains("/host/proc"));
/// ```
#[derive(Clone, Debug)]
pub struct Memory {
    used: Level,
    stalled: Level,
    source: MemorySource,
}

impl Memory {
    /// Is degraded from 85 % of the limit on and down from 95 %, and degraded if tasks wait for 20 % of the time.
    pub fn new() -> Self {
        Self {
            used: Level::new(85, 95),
            stalled: Level::new(20, u8::MAX),
            source: MemorySource {
                proc: "/proc".into(),
                cgroup: "/sys/fs/cgroup".into(),
            },
        }
    }

    /// Is degraded and down from these parts of the limit on, in percent; above 100 it never is.
    #[must_use]
    pub const fn used_percent(mut self, degraded: u8, down: u8) -> Self {
        self.used = Level::new(degraded, down);
        self
    }

    /// Is degraded and down if tasks wait for memory for these parts of the time, in percent; above 100 it never is.
    #[must_use]
    pub const fn stalled_percent(mut self, degraded: u8, down: u8) -> Self {
        self.stalled = Level::new(degraded, down);
        self
    }

    /// Finds the proc file system here instead of at `/proc`.
    #[must_use]
    pub fn proc_at(mut self, path: impl Into<PathBuf>) -> Self {
        self.source.proc = path.into();
        self
    }

    /// Finds the control groups here instead of at `/sys/fs/cgroup`.
    #[must_use]
    pub fn cgroup_at(mut self, path: impl Into<PathBuf>) -> Self {
        self.source.cgroup = path.into();
        self
    }

    fn judge(&self) -> Outcome {
        let Usage { used, limit, whose } = match self.source.usage() {
            Ok(usage) => usage,
            Err(error) => return Outcome::down(format!("read the use of memory: {error}")),
        };
        let stalled = self.source.stalled_hundredths();
        let stall = stalled.map_or(Status::Up, |stalled| self.stalled.of_used(stalled, 100 * 100));
        let message = || {
            let (share, part, whole) = (percent(used, limit), size(used), size(limit));
            let mut message = format!("{share} % of {whose} are in use ({part} of {whole})");
            if let Some(stalled) = stalled {
                let (whole, part) = (stalled / 100, stalled % 100);
                let _ = write!(
                    message,
                    ", tasks waited for memory {whole}.{part:02} % of the time"
                );
            }
            message
        };
        let outcome = match self.used.of_used(used, limit).worst(stall) {
            Status::Up => Outcome::up(),
            Status::Degraded => Outcome::degraded(message()),
            Status::Down | Status::Unknown | Status::Skipped => Outcome::down(message()),
        };
        outcome.observed(share(used, limit), "% used")
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::scratch::TempDir;
    use std::fs;

    /// A root with files in it.
    fn tree(files: &[(&str, &str)]) -> (TempDir, Memory) {
        let root = TempDir::new();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let limits = Memory::new()
            .proc_at(root.path().join("proc"))
            .cgroup_at(root.path().join("cgroup"));
        (root, limits)
    }

    const MEMINFO: (&str, &str) = (
        "proc/meminfo",
        "MemTotal:       1000 kB\nMemFree:          10 kB\nMemAvailable:    500 kB\n",
    );

    #[test]
    fn a_group_of_version_2_is_judged_by_the_nearest_limit() {
        let (root, limits) = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/pod/shop\n"),
            ("cgroup/pod/memory.max", "1000\n"),
            ("cgroup/pod/memory.high", "max\n"),
            ("cgroup/pod/memory.current", "840\n"),
            ("cgroup/pod/shop/memory.max", "max\n"),
            ("cgroup/pod/shop/memory.high", "500\n"),
            ("cgroup/pod/shop/memory.current", "480\n"),
            (
                "cgroup/pod/shop/memory.stat",
                "anon 300\ninactive_file 60\nactive_file 5\n",
            ),
            (
                "cgroup/pod/shop/memory.pressure",
                "some avg10=0.00 avg60=9.00 avg300=9.00 total=1\n",
            ),
        ]);
        assert_eq!(limits.judge().status(), Status::Up); // 84 % of both
        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
        write("cgroup/pod/shop/memory.current", "485\n");
        let outcome = limits.judge();
        assert_eq!(outcome.status(), Status::Degraded);
        let message = "85 % of its control group's limit are in use (425 B of 500 B), \
                       tasks waited for memory 0.00 % of the time";
        assert_eq!(outcome.message(), Some(message));
        assert_eq!(outcome.observation(), Some((85.0, "% used")));
        write("cgroup/pod/memory.current", "950\n");
        assert_eq!(limits.judge().status(), Status::Down);

        write("cgroup/pod/memory.current", "1\n");
        write("cgroup/pod/shop/memory.current", "1\n");
        let pressure = "some avg10=20.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00\n";
        write("cgroup/pod/shop/memory.pressure", pressure);
        let outcome = limits.judge();
        assert_eq!(outcome.status(), Status::Degraded);
        assert!(
            outcome.message().unwrap().ends_with("20.50 % of the time"),
            "{outcome:?}"
        );
        assert_eq!(limits.stalled_percent(10, 20).judge().status(), Status::Down);
    }

    #[test]
    fn a_group_of_version_1_is_known_too() {
        let (root, limits) = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "4:cpu,memory:/shop\n0::/\n"),
            ("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("cgroup/memory/memory.usage_in_bytes", "7000000\n"),
            ("cgroup/memory/shop/memory.limit_in_bytes", "1000\n"),
            ("cgroup/memory/shop/memory.usage_in_bytes", "990\n"),
            (
                "cgroup/memory/shop/memory.stat",
                "inactive_file 5\ntotal_inactive_file 100\n",
            ),
            (
                "proc/pressure/memory",
                "some avg10=1.00 avg60=9.00 avg300=9.00 total=1\n",
            ),
        ]);
        let outcome = limits.judge();
        assert_eq!(outcome.status(), Status::Degraded);
        let message = "89 % of its control group's limit are in use (890 B of 1000 B), \
                       tasks waited for memory 1.00 % of the time";
        assert_eq!(outcome.message(), Some(message));
        let stat = root.path().join("cgroup/memory/shop/memory.stat");
        fs::write(stat, "total_inactive_file 0\n").unwrap();
        assert_eq!(limits.judge().status(), Status::Down);
    }

    #[test]
    fn without_a_limit_it_is_the_machine() {
        let (root, limits) = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/shop\n"),
            ("cgroup/shop/memory.max", "max\n"),
            ("cgroup/shop/memory.current", "1\n"),
        ]);
        assert_eq!(limits.judge().status(), Status::Up);
        let text = "MemTotal: 1000 kB\nMemAvailable: 30 kB\n";
        fs::write(root.path().join("proc/meminfo"), text).unwrap();
        let outcome = limits.judge();
        assert_eq!(outcome.status(), Status::Down);
        let message = "97 % of the machine's memory are in use (970.0 KiB of 1000.0 KiB)";
        assert_eq!(outcome.message(), Some(message));
    }

    #[test]
    fn a_limit_above_the_machine_is_none() {
        let (root, limits) = tree(&[
            ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 30 kB\n"),
            ("proc/self/cgroup", "0::/shop\n"),
            ("cgroup/shop/memory.max", "1024000\n"),
            ("cgroup/shop/memory.current", "5000\n"),
        ]);
        let outcome = limits.judge();
        assert_eq!(
            outcome.status(),
            Status::Down,
            "the machine is full, whatever the group may use"
        );
        let message = "97 % of the machine's memory are in use (970.0 KiB of 1000.0 KiB)";
        assert_eq!(outcome.message(), Some(message));

        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
        write("cgroup/shop/memory.max", "1023999\n");
        assert_eq!(
            limits.judge().status(),
            Status::Up,
            "others fill the machine; this group may have a share of it"
        );
        write("cgroup/shop/memory.current", "1000000\n");
        assert_eq!(limits.judge().status(), Status::Down);
        write("proc/meminfo", "nonsense");
        write("cgroup/shop/memory.max", "2000000\n");
        assert_eq!(
            limits.judge().status(),
            Status::Up,
            "nobody knows of a lower limit"
        );
    }

    #[test]
    fn a_kernel_that_does_not_measure_stalls_is_not_judged_by_them() {
        let (_root, limits) = tree(&[
            MEMINFO,
            ("proc/self/cgroup", "4:cpu,memory:/shop\n"),
            ("cgroup/memory/shop/memory.limit_in_bytes", "1000\n"),
            ("cgroup/memory/shop/memory.usage_in_bytes", "100\n"),
        ]);
        assert_eq!(limits.source.stalled_hundredths(), None);
        assert_eq!(limits.clone().stalled_percent(0, 0).judge().status(), Status::Up);
        let outcome = limits.used_percent(5, 50).judge();
        let message = "10 % of its control group's limit are in use (100 B of 1000 B)";
        assert_eq!(
            (outcome.status(), outcome.message()),
            (Status::Degraded, Some(message))
        );
    }

    #[test]
    fn nothing_to_read_is_down() {
        let (_root, limits) = tree(&[("proc/meminfo", "nonsense")]);
        let message = "read the use of memory: `meminfo` names no total or no available memory";
        assert_eq!(limits.judge().message(), Some(message));
        let (_root, limits) = tree(&[]);
        assert_eq!(limits.judge().status(), Status::Down);
    }

    /// Whatever this machine has: what is there is copied, and the copy says what the original does.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_copy_of_the_real_tree_is_read_as_the_tree_itself() {
        let real = Memory::new();
        let root = TempDir::new();
        let copy = |from: PathBuf, to: &str| {
            let Ok(text) = fs::read(from) else { return };
            let to = root.path().join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, text).unwrap();
        };
        copy("/proc/meminfo".into(), "proc/meminfo");
        copy("/proc/self/cgroup".into(), "proc/self/cgroup");
        copy("/proc/pressure/memory".into(), "proc/pressure/memory");
        for folder in real.source.folders() {
            let to = folder.strip_prefix("/sys/fs/cgroup").unwrap();
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with("memory.") {
                    let to = std::path::Path::new("cgroup").join(to).join(entry.file_name());
                    copy(entry.path(), to.to_str().unwrap());
                }
            }
        }
        let copied = Memory::new()
            .proc_at(root.path().join("proc"))
            .cgroup_at(root.path().join("cgroup"));
        let (ours, theirs) = (copied.source.usage().unwrap(), real.source.usage().unwrap());
        assert_eq!((ours.limit, ours.whose), (theirs.limit, theirs.whose));
        assert!(ours.used > 0 && ours.used <= ours.limit, "{ours:?}");
        let both = [&copied, &real].map(|memory| memory.source.stalled_hundredths().is_some());
        assert_eq!(both[0], both[1]);
    }
}
