use std::fs::{self, File};
use std::process::Command;
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use cortex_core::{Clock, SystemClock};
use cortex_metrics::{Format, ProcessCollector, Registry};

use crate::{encode, parser};

/// The value of each family that is exposed.
struct Scrape(Vec<(String, f64)>);

impl Scrape {
    fn of(registry: &Registry) -> Self {
        let families = parser::parse(Format::OpenMetrics1, &encode(registry, Format::OpenMetrics1));
        let samples = families.into_iter().flat_map(|family| family.samples);
        Self(samples.map(|sample| (sample.name, sample.value)).collect())
    }

    fn get(&self, name: &str) -> f64 {
        self.0.iter().find(|(of, _)| of == name).expect("is exposed").1
    }
}

/// These tests disturb each other's numbers, so they take turns; what others do at the same time is small.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn registry() -> Registry {
    let registry = Registry::default();
    registry.register_collector(ProcessCollector::new());
    registry
}

#[test]
fn memory_that_is_used_shows() {
    const BYTES: usize = 192 << 20;
    let _turn = alone();
    let registry = registry();
    let before = Scrape::of(&registry);
    let memory = vec![1_u8; BYTES];
    let during = Scrape::of(&registry);
    std::hint::black_box(&memory);
    let name = "process_resident_memory_bytes";
    let grown = during.get(name) - before.get(name);
    assert!((150e6..300e6).contains(&grown), "grew by {grown}");
    assert!(during.get("process_resident_memory_bytes") < during.get("process_virtual_memory_bytes"));
    drop(memory);
    let after = Scrape::of(&registry);
    assert!(during.get(name) - after.get(name) > 150e6);
}

/// Another file says it in kilobytes. It is not the growth that is tested: for each thread of other tests the allocator
/// maps, and unmaps, far more than anyone uses.
#[test]
fn virtual_memory_is_that_of_the_system() {
    let registry = registry();
    let same = |_| {
        let ours = Scrape::of(&registry).get("process_virtual_memory_bytes");
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
        let kilobytes = size.unwrap().trim().trim_end_matches(" kB");
        kilobytes
            .parse::<f64>()
            .unwrap()
            .total_cmp(&(ours / 1024.0))
            .is_eq()
    };
    assert!((0..1_000).any(same)); // it may change in between
}

#[test]
fn open_files_show() {
    let _turn = alone();
    let registry = registry();
    let before = Scrape::of(&registry).get("process_open_fds");
    let files: Vec<File> = (0..400).map(|_| File::open("/dev/null").unwrap()).collect();
    let during = Scrape::of(&registry).get("process_open_fds");
    assert!((380.0..420.0).contains(&(during - before)), "{before}, {during}");
    drop(files);
    let after = Scrape::of(&registry).get("process_open_fds");
    assert!((380.0..420.0).contains(&(during - after)), "{during}, {after}");
}

#[test]
fn threads_show() {
    const THREADS: usize = 100;
    let _turn = alone();
    let registry = registry();
    let (started, done) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let before = Scrape::of(&registry).get("process_threads");
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                started.wait();
                done.wait();
            });
        }
        started.wait();
        let during = Scrape::of(&registry).get("process_threads");
        done.wait();
        assert!((80.0..120.0).contains(&(during - before)), "{before}, {during}");
    });
}

#[test]
fn work_shows() {
    let _turn = alone();
    let registry = registry();
    let cpu = || Scrape::of(&registry).get("process_cpu_seconds_total");
    let (start, before) = (SystemClock.now(), cpu());
    let mut last = before;
    while last - before < 0.2 {
        for value in 0..1_000_000_u64 {
            std::hint::black_box(value);
        }
        let now = cpu();
        assert!(now >= last, "fell from {last} to {now}");
        last = now;
        assert!(
            SystemClock.now() - start < Duration::from_mins(1),
            "does not count"
        );
    }
    let most = std::thread::available_parallelism().unwrap().get();
    let wall = (SystemClock.now() - start).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let most = wall * most as f64 + 0.05;
    assert!(last - before <= most, "{} s of CPU in {wall} s", last - before);
}

#[test]
fn the_start_is_recent_and_fixed() {
    let registry = registry();
    let now = SystemClock
        .wall()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let start = Scrape::of(&registry).get("process_start_time_seconds");
    assert!((now - 3_600.0..now + 1.0).contains(&start), "{start}, now {now}");
    // The folder in /proc is made when the process is first looked at, and a few do that at once.
    let made = fs::metadata("/proc/self").unwrap().modified().unwrap();
    let made = made.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(start <= made + 1.0, "{start}, {made}");
    let again = Scrape::of(&registry).get("process_start_time_seconds");
    assert!((start - again).abs() < f64::EPSILON);
}

/// A shell inherits the limits and says them in its own way.
#[test]
fn limits_are_those_of_the_system() {
    let scrape = Scrape::of(&registry());
    let output = Command::new("sh")
        .args(["-c", "ulimit -S -n; ulimit -S -v"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let limits: Vec<f64> = text
        .lines()
        .map(|line| line.parse().unwrap_or(f64::INFINITY))
        .collect();
    assert_eq!(
        limits,
        [
            scrape.get("process_max_fds"),
            scrape.get("process_virtual_memory_max_bytes") / 1024.0
        ]
    );
}

/// The kernel shows the name of the main thread as it is.
#[test]
fn a_hostile_name_changes_nothing() {
    let _turn = alone();
    let registry = registry();
    let name = fs::read("/proc/self/comm").unwrap();
    let before = Scrape::of(&registry);
    for hostile in [
        &b"a) R 9 (9"[..],
        b"((((",
        b"x\nVmRSS: 1 kB",
        b"\xff\xfe) 1 2 3",
        b" ",
    ] {
        fs::write("/proc/self/comm", hostile).unwrap();
        let content = fs::read("/proc/self/stat").unwrap();
        assert!(content.windows(hostile.len()).any(|part| part == hostile));
        let scrape = Scrape::of(&registry);
        assert_eq!(scrape.0.len(), 8, "{}", hostile.escape_ascii());
        assert!(scrape.get("process_resident_memory_bytes") > 65_536.0);
        assert!(scrape.get("process_threads") >= 1.0);
        let name = "process_start_time_seconds";
        assert!((scrape.get(name) - before.get(name)).abs() < f64::EPSILON);
    }
    fs::write("/proc/self/comm", name.trim_ascii()).unwrap();
}
