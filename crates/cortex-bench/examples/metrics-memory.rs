//! Prints how much memory a series takes, and how much more of it each further thread that counts.
//!
//! ```text
//! cargo run --release --package cortex-bench --example metrics-memory
//! ```
//!
//! Every number comes from a process of its own, because memory that one measurement gave back could serve the next.
//! What counts is what the allocator has given out while all threads live and have used every series once.
#![expect(clippy::print_stdout, reason = "a report prints its result")]

use std::error::Error;
use std::process::Command;
use std::sync::{Barrier, OnceLock};
use std::{env, thread};

use cortex_metrics::Buckets;
use cortex_testkit::CountingAllocator;
use prometheus_client::encoding::EncodeLabelSet;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

/// Series of a family, and a metric alone.
const SERIES: [u32; 2] = [1_000, 1];
const THREADS: [usize; 4] = [1, 2, 4, 16];
const KINDS: [&str; 2] = ["counter", "histogram"];
const LIBRARIES: [&str; 3] = ["cortex", "prometheus-client", "foundations"];

const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

cortex_metrics::labels! {
    #[derive(Copy)]
    struct Ours {
        method: &'static str,
        route: &'static str,
        tenant: u32,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Theirs {
    method: &'static str,
    route: &'static str,
    tenant: u32,
}

impl From<u32> for Ours {
    fn from(tenant: u32) -> Self {
        let (method, route) = ("GET", "/products/{id}");
        Self {
            method,
            route,
            tenant,
        }
    }
}

impl From<u32> for Theirs {
    fn from(tenant: u32) -> Self {
        let (method, route) = ("GET", "/products/{id}");
        Self {
            method,
            route,
            tenant,
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [library, kind, series, threads] = &arguments[..] {
        println!("{}", measure(library, kind, series.parse()?, threads.parse()?)?);
        return Ok(());
    }
    println!("Bytes per series, three labels (11 bounds), by the number of threads that use all series");
    println!();
    print!("| metric | series | library |");
    for threads in THREADS {
        print!(" {threads} |");
    }
    println!(" each further thread |");
    println!("|---|--:|---|{}--:|", "--:|".repeat(THREADS.len()));
    for kind in KINDS {
        for series in SERIES {
            for library in LIBRARIES {
                row(kind, series, library)?;
            }
        }
    }
    Ok(())
}

fn row(kind: &str, series: u32, library: &str) -> Result<(), Box<dyn Error>> {
    print!("| {kind} | {series} | {library} |");
    let mut all = Vec::new();
    for threads in THREADS {
        let output = Command::new(env::current_exe()?)
            .args([library, kind, &series.to_string(), &threads.to_string()])
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let bytes: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
        let bytes = bytes / f64::from(series);
        print!(" {bytes:.0} |");
        all.push((threads, bytes));
    }
    let &[(fewest, least), .., (most, greatest)] = &all[..] else {
        return Err("there are several numbers of threads".into());
    };
    #[expect(clippy::cast_precision_loss, reason = "a handful of threads")]
    let further = (greatest - least) / (most - fewest) as f64;
    println!(" {further:.0} |");
    Ok(())
}

/// Measures one cell of the table, in bytes.
fn measure(library: &str, kind: &str, series: u32, threads: usize) -> Result<usize, Box<dyn Error>> {
    use cortex_metrics as ours;
    use foundations_metrics as foundations;
    use prometheus_client::metrics as client;

    type ClientCounter = client::counter::Counter;

    Ok(match (library, kind, series) {
        ("cortex", "counter", 1) => bytes(threads, 1, ours::Counter::default, |counter, _| counter.inc()),
        ("cortex", "histogram", 1) => {
            let make = || ours::Histogram::classic(&Buckets::new(BOUNDS).expect("they rise"));
            bytes(threads, 1, make, |histogram, _| histogram.observe(0.3))
        }
        ("cortex", "counter", _) => {
            let make = || ours::Family::new(ours::Counter::default);
            bytes(threads, series, make, |family, n| {
                family.with(&Ours::from(n), ours::Counter::inc);
            })
        }
        ("cortex", "histogram", _) => {
            let make = || {
                let buckets = Buckets::new(BOUNDS).expect("they rise");
                ours::Family::new(move || ours::Histogram::classic(&buckets))
            };
            bytes(threads, series, make, |family, n| {
                family.with(&Ours::from(n), |histogram| histogram.observe(0.3));
            })
        }
        ("prometheus-client", "counter", 1) => bytes(threads, 1, ClientCounter::default, |counter, _| {
            counter.inc();
        }),
        ("prometheus-client", "histogram", 1) => {
            let make = || client::histogram::Histogram::new(BOUNDS);
            bytes(threads, 1, make, |histogram, _| histogram.observe(0.3))
        }
        ("prometheus-client", "counter", _) => {
            let make = client::family::Family::<Theirs, ClientCounter>::default;
            bytes(threads, series, make, |family, n| {
                family.get_or_create(&Theirs::from(n)).inc();
            })
        }
        ("prometheus-client", "histogram", _) => {
            let make = || {
                let make = || client::histogram::Histogram::new(BOUNDS);
                client::family::Family::<Theirs, _, _>::new_with_constructor(make)
            };
            bytes(threads, series, make, |family, n| {
                family.get_or_create(&Theirs::from(n)).observe(0.3);
            })
        }
        ("foundations", "counter", 1) => {
            let make = foundations::ThreadLocalCounter::<u64>::default;
            bytes(threads, 1, make, |counter, _| counter.inc())
        }
        ("foundations", "histogram", 1) => {
            let make = || foundations::TimeHistogram::new(BOUNDS);
            bytes(threads, 1, make, |histogram, _| histogram.observe(300_000_000))
        }
        ("foundations", "counter", _) => {
            let make = foundations::Family::<Theirs, foundations::ThreadLocalCounter>::default;
            bytes(threads, series, make, |family, n| {
                family.get_or_create(&Theirs::from(n)).inc();
            })
        }
        ("foundations", "histogram", _) => {
            let make = || {
                let make = || foundations::TimeHistogram::new(BOUNDS);
                foundations::Family::<Theirs, _, _>::new_with_constructor(make)
            };
            bytes(threads, series, make, |family, n| {
                family.get_or_create(&Theirs::from(n)).observe(300_000_000);
            })
        }
        _ => return Err(format!("there is no {kind} of {library}").into()),
    })
}

/// Counts what `make` and the first use of all series by each of the threads leave allocated.
fn bytes<M: Send + Sync>(
    threads: usize,
    series: u32,
    make: impl FnOnce() -> M,
    touch: impl Fn(&M, u32) + Sync,
) -> usize {
    let metric = OnceLock::new();
    let meet = Barrier::new(threads + 1);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                meet.wait(); // started
                meet.wait(); // made
                let metric = metric.get().expect("invariant: made by now");
                (0..series).for_each(|n| touch(metric, n));
                meet.wait(); // used
                meet.wait(); // measured
            });
        }
        meet.wait();
        let before = ALLOCATOR.live_bytes();
        metric.get_or_init(make);
        meet.wait();
        meet.wait();
        let after = ALLOCATOR.live_bytes();
        meet.wait();
        after - before
    })
}
