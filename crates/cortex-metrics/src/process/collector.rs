use std::fmt;
use std::sync::OnceLock;

use super::limits::Limits;
use super::place::Place;
use super::stat::{Stat, TICKS_PER_SECOND, boot_seconds};
use super::status::resident_bytes;
use crate::{Collector, Samples};

/// Shows what the operating system knows about this process, under the names that Prometheus clients agreed on.
///
/// | family | |
/// |---|---|
/// | `process_cpu_seconds_total` | CPU time, in user mode and in the kernel, in steps of 10 ms |
/// | `process_resident_memory_bytes` | memory that is in RAM |
/// | `process_virtual_memory_bytes` | addresses in use |
/// | `process_virtual_memory_max_bytes` | how many there may be; `+Inf` without a limit |
/// | `process_open_fds` | open file descriptors |
/// | `process_max_fds` | how many there may be, the soft limit; `+Inf` without a limit |
/// | `process_threads` | threads of the operating system |
/// | `process_start_time_seconds` | when the process started, since the epoch, to about a second |
///
/// They are read from `/proc` at each scrape, so Linux has them, and other systems expose nothing. A family that cannot
/// be read is left out; the others stay. Network traffic is missing because `/proc` knows it only per network
/// namespace.
///
/// # Performance
///
/// A scrape reads three small files and looks at a folder: some 50 us. Kernels before 6.2 cannot count the open file
/// descriptors, so that they are listed: 2 us each.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{ProcessCollector, Registry};
///
/// let registry = Registry::default();
/// registry.register_collector(ProcessCollector::new());
///
/// let text = registry.to_text();
/// assert_eq!(text.contains("process_resident_memory_bytes "), cfg!(target_os = "linux"));
/// ```
pub struct ProcessCollector {
    /// None on other systems.
    place: Option<Place>,
    /// Computed once: the kernel derives the time of the boot from the clock, so adjusting that moves it.
    start_seconds: OnceLock<f64>,
}

impl ProcessCollector {
    /// Makes a collector for the process that scrapes.
    pub fn new() -> Self {
        Self::at(Place::system())
    }

    fn at(place: Option<Place>) -> Self {
        Self {
            place,
            start_seconds: OnceLock::new(),
        }
    }

    fn start_seconds(&self, place: &Place, stat: &Stat) -> Option<f64> {
        if let Some(seconds) = self.start_seconds.get() {
            return Some(*seconds);
        }
        let boot = boot_seconds(&place.read("stat")?)?;
        let seconds = to_f64(boot) + to_f64(stat.start_ticks?) / TICKS_PER_SECOND;
        Some(*self.start_seconds.get_or_init(|| seconds))
    }
}

impl Default for ProcessCollector {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for ProcessCollector {
    fn collect(&self, out: &mut Samples<'_>) {
        let Some(place) = &self.place else { return };
        let stat = place
            .read("self/stat")
            .map_or_else(Stat::default, |content| Stat::parse(&content));
        if let Some(ticks) = stat.cpu_ticks {
            let help = "CPU time used, in user mode and in the kernel.";
            out.counter("process_cpu_seconds", help, &[], to_f64(ticks) / TICKS_PER_SECOND);
        }
        let mut gauge = |name: &str, help: &str, value: Option<f64>| {
            if let Some(value) = value {
                out.gauge(name, help, &[], value);
            }
        };
        gauge(
            "process_resident_memory_bytes",
            "Memory that is in RAM.",
            place
                .read("self/status")
                .and_then(|content| resident_bytes(&content))
                .map(to_f64),
        );
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory in use.",
            stat.virtual_bytes.map(to_f64),
        );
        let limits = place.read("self/limits").map(|content| Limits::parse(&content));
        gauge(
            "process_virtual_memory_max_bytes",
            "Limit to the virtual memory.",
            limits.as_ref().and_then(|limits| limits.address_space),
        );
        gauge(
            "process_open_fds",
            "Open file descriptors.",
            place.open_fds().map(to_f64),
        );
        gauge(
            "process_max_fds",
            "Limit to the open file descriptors.",
            limits.as_ref().and_then(|limits| limits.open_files),
        );
        gauge(
            "process_threads",
            "Threads of the operating system.",
            stat.threads.map(to_f64),
        );
        gauge(
            "process_start_time_seconds",
            "When the process started, in seconds since the epoch.",
            self.start_seconds(place, &stat),
        );
    }
}

impl fmt::Debug for ProcessCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessCollector").finish_non_exhaustive()
    }
}

#[expect(clippy::cast_precision_loss, reason = "the formats know only doubles")]
fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;
    use std::fs;
    use std::path::{Path, PathBuf};

    const ALL: [&str; 8] = [
        "process_cpu_seconds_total 2.0",
        "process_resident_memory_bytes 2232320.0",
        "process_virtual_memory_bytes 3133440.0",
        "process_virtual_memory_max_bytes +Inf",
        "process_open_fds 3.0",
        "process_max_fds 1024.0",
        "process_threads 12.0",
        "process_start_time_seconds 1753711370.66",
    ];

    /// A folder that looks like `/proc`, removed at the end.
    struct Fixture(PathBuf);

    impl Fixture {
        fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("cortex-metrics-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            let fixture = Self(root);
            fs::create_dir_all(fixture.0.join("self/fd")).unwrap();
            fixture.write("stat", "cpu  1 2\nbtime 1753700000\n");
            fixture.write(
                "self/stat",
                "7 (a) b (c) S 1 2 3 0 -1 4 99 0 0 0 150 50 7 8 20 0 12 0 1137066 3133440 360\n",
            );
            fixture.write("self/status", "Name:\ta) b (c\nVmRSS:\t    2180 kB\n");
            fixture.write(
                "self/limits",
                "Max open files    1024    4096    files\nMax address space    unlimited    unlimited    bytes\n",
            );
            for fd in 0..4 {
                fixture.write(&format!("self/fd/{fd}"), "");
            }
            fixture
        }

        fn write(&self, path: &str, content: &str) {
            fs::write(self.0.join(path), content).unwrap();
        }

        fn remove(&self, path: &str) {
            let path = self.0.join(path);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn registry(root: &Path) -> Registry {
        let registry = Registry::default();
        registry.register_collector(ProcessCollector::at(Some(Place::folder(root))));
        registry
    }

    fn samples(registry: &Registry) -> Vec<String> {
        let text = registry.to_text();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn everything_is_exposed() {
        let fixture = Fixture::new("all");
        let registry = registry(&fixture.0);
        assert_eq!(samples(&registry), ALL);
        assert_eq!(registry.dropped().get(), 0);
    }

    #[test]
    fn what_cannot_be_read_is_left_out_alone() {
        for (path, lost) in [
            ("self/stat", &[0, 2, 6, 7][..]),
            ("self/status", &[1]),
            ("self/limits", &[3, 5]),
            ("self/fd", &[4]),
            ("stat", &[7]),
        ] {
            let fixture = Fixture::new(&path.replace('/', "-"));
            fixture.remove(path);
            let left: Vec<_> = (0..ALL.len())
                .filter(|at| !lost.contains(at))
                .map(|at| ALL[at])
                .collect();
            assert_eq!(samples(&registry(&fixture.0)), left, "without {path}");
            fixture.write(path, "\0 nonsense ) 1 2\n"); // a file in place of a folder, too
            assert_eq!(samples(&registry(&fixture.0)), left, "with a bad {path}");
        }
    }

    #[test]
    fn the_start_is_kept() {
        let fixture = Fixture::new("start");
        fixture.remove("stat");
        let registry = registry(&fixture.0);
        assert_eq!(samples(&registry), ALL[..7]);
        fixture.write("stat", "btime 1753700000\n");
        assert_eq!(samples(&registry), ALL); // tried again
        fixture.write("stat", "btime 1753700001\n");
        assert_eq!(samples(&registry), ALL);
    }

    #[test]
    fn a_system_without_proc_exposes_nothing() {
        let registry = Registry::default();
        registry.register_collector(ProcessCollector::at(None));
        registry.register_collector(ProcessCollector::at(Some(Place::folder("/nowhere/at/all"))));
        assert_eq!(samples(&registry), [""; 0]);
        assert_eq!(registry.dropped().get(), 0);
    }

    /// The quick way to count, if this kernel has it, and the slow one agree.
    #[cfg(target_os = "linux")]
    #[test]
    fn both_ways_count_the_same() {
        let (quick, slow) = (Place::system().unwrap(), Place::folder("/proc"));
        let same = |_| quick.open_fds().unwrap() == slow.open_fds().unwrap();
        assert!((0..1_000).any(same)); // other tests open files in between
    }
}
