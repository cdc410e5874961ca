//! What a production stack costs per request: the CPU time of the server's threads around the same hello handler.
//!
//! All servers live in this process, each on a thread of its own with a current-thread runtime on core 0; one load
//! generator on core 1 keeps 32 requests under way. Only one server works at a time, in rounds that alternate
//! forwards and backwards. `served` is the median of the rounds, `served-best` the best one. `in-process` is the time
//! per call of the same services without sockets. `idle-bytes` is the memory for each of 10,000 connections that have
//! made a request and are kept open, of servers that are processes of their own.
#![expect(clippy::print_stdout, reason = "a bench prints its result")]

mod calls;
mod idle;
mod served;
mod stacks;

use std::error::Error;

use cortex_bench::{Record, Series, pin_current_thread};

use crate::stacks::Stack;

/// How much to measure.
#[derive(Clone, Copy)]
struct Effort {
    passes: usize,
    requests: usize,
}

/// Crosses threads, so that the one that fails need not be the one that tells.
type Failure = Box<dyn Error + Send + Sync>;

/// One series for each stack, in nanoseconds per request or in bytes per connection.
type Measured = Vec<(Stack, Series)>;

fn main() -> Result<(), Failure> {
    if let Some(served) = idle::serve_if_asked() {
        return served;
    }
    // As criterion does: without `--bench`, so under `cargo test --benches`, only see that it runs.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let effort = if measuring {
        Effort {
            passes: 16,
            requests: 16_000,
        }
    } else {
        Effort {
            passes: 2,
            requests: 64,
        }
    };
    pin_current_thread(1).map_err(|error| format!("two cores are needed, one for the load: {error}"))?;
    let idle = idle::measure(1, measuring)?;
    let servers = served::Servers::start()?;
    let (servers, served) = servers.measure(effort)?;
    let calls = calls::measure(effort)?;
    servers.stop()?;
    if measuring {
        report("idle-bytes", "B/connection", &idle, Series::median)?;
        report("served", "ns/request", &served, Series::median)?;
        report("served-best", "ns/request", &served, Series::best)?;
        report("in-process", "ns/request", &calls, Series::median)?;
    }
    Ok(())
}

/// Prints each stack's value and its ratio to that of the first, and records them.
fn report(
    group: &str,
    unit: &str,
    measured: &Measured,
    statistic: fn(&Series) -> Option<f64>,
) -> Result<(), Failure> {
    let record = Record::from_env();
    let mut bare = None;
    for (stack, series) in measured {
        let value = statistic(series).ok_or("nothing was measured")?;
        let ratio = value / *bare.get_or_insert(value);
        let id = format!("{group}/{}", stack.name());
        println!("{id:<24} {value:>8.0} {unit}  {ratio:.3}");
        if let Some(record) = &record {
            record.save(&id, value)?;
        }
    }
    Ok(())
}
