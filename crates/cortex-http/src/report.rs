use std::borrow::Cow;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Says how a service ended: why, what it served, how long each phase took, what was cut, what did not stop.
///
/// Its `Display` is what a person wants to read at the end; [`exit_code`](Self::exit_code) is for `main`.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cortex_http::{Routes, Server};
///
/// let running = Server::new(Routes::new()).start("127.0.0.1:0").await?;
/// running.shutdown();
/// let report = running.join().await;
/// assert_eq!((report.code(), &*report.reason), (0, "requested"));
/// assert_eq!(report.phases[0].name, "draining");
/// # Ok::<(), cortex_http::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExitReport {
    /// Why it ended: a signal's name, `requested`, `dropped`, or which task had ended.
    pub reason: Cow<'static, str>,
    /// The requests that were served, the cut ones included.
    pub requests: u64,
    /// The connections that were served.
    pub connections: u64,
    /// The time from the request to end until the last connection closed.
    pub drained_in: Duration,
    /// The requests that ran out of time, the first hundred of them, and connections that had been upgraded. Of a
    /// connection whose client had not read all answers to requests that had ended, the last one stands for all of them.
    pub cut: Vec<Cut>,
    /// How many requests and upgraded connections ran out of time.
    pub cut_total: u64,
    /// How many connections did not even end when they were cut: a handler blocks its thread.
    pub unfinished: usize,
    /// Whether a second signal, or [`Running::kill`](crate::Running::kill), ended the drain early.
    pub forced: bool,
    /// Whether the exporters could not send all spans in time, or not all of the logs that `Server::telemetry` flushes.
    pub telemetry_lost: bool,
    /// The phases of the end in their order: `draining`, `closing`, `cut` if something had to be, `stopping`, `flushing`.
    pub phases: Vec<PhaseReport>,
    /// How the subsystems stopped, in the order in which they did.
    pub subsystems: Vec<StepReport>,
    /// How the flushes went that were registered by [`Server::flush`](crate::Server::flush).
    pub flushes: Vec<StepReport>,
    /// Whether it ended since something failed that it cannot do without, as the reason says.
    pub failed: bool,
    /// The number of the signal that forced the end.
    pub(crate) signal: Option<u8>,
}

/// A request that was cut when the drain ran out of time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// Its method.
    pub method: &'static str,
    /// Its route, as registered.
    pub route: Arc<str>,
    /// How long it had been running; of an upgraded connection, since the upgrade.
    pub age: Duration,
    /// How many bytes of its body had been handed to the connection, which may hold some of them still; of an upgraded
    /// connection, how many had been sent since the upgrade, which is not known of a stream of HTTP/2.
    pub bytes: u64,
}

/// A phase of the end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PhaseReport {
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// How a subsystem stopped, or a flush went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepReport {
    /// Its name.
    pub name: Cow<'static, str>,
    /// How long it took.
    pub took: Duration,
    /// What became of it.
    pub end: StepEnd,
}

/// What became of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StepEnd {
    /// It was done.
    Finished,
    /// It took longer than its limit, and was aborted.
    TimedOut,
    /// It returned this error, of which what looks like a secret is masked, and no more than 512 characters are kept.
    Failed(String),
    /// It panicked.
    Panicked,
    /// The end was forced before it was done, or the runtime of the application was gone.
    Skipped,
}

impl ExitReport {
    /// Returns the number for the operating system: 0 for a clean end; 1 when a critical task had ended; 3 when something
    /// was cut or a subsystem did not stop; 128 and the signal's number when a second signal forced the end. What could
    /// not be flushed is told, and is no reason for a code.
    pub fn code(&self) -> u8 {
        match self.signal {
            Some(signal) => 128 + signal,
            None if self.failed => 1,
            None if self.forced || self.cut_total > 0 || self.unfinished > 0 => 3,
            None if self.subsystems.iter().any(|step| step.end != StepEnd::Finished) => 3,
            None => 0,
        }
    }

    /// Returns [`code`](Self::code) as what `main` returns.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// Ends the process with [`code`](Self::code).
    ///
    /// A `main` that returns waits for the runtime to end, and that waits for every handler that blocks its thread,
    /// for ever perhaps. Call this as the last thing where a process has to end all the same: nothing is dropped after it,
    /// and logs that are written or sent in the background are lost unless `Server::telemetry` has flushed them.
    pub fn exit(&self) -> ! {
        std::process::exit(i32::from(self.code()))
    }
}

impl fmt::Display for ExitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, secs) = (
            if self.forced { "forced" } else { "drained" },
            self.drained_in.as_secs_f64(),
        );
        write!(
            f,
            "{how} after {secs:.2} s ({}): {} requests on {} connections served, {} cut",
            self.reason, self.requests, self.connections, self.cut_total
        )?;
        for (index, PhaseReport { name, took }) in self.phases.iter().enumerate() {
            let before = if index == 0 { "\n  " } else { ", " };
            write!(f, "{before}{name} {:.2} s", took.as_secs_f64())?;
        }
        for cut in &self.cut {
            let Cut {
                method, route, age, ..
            } = cut;
            let secs = age.as_secs_f64();
            write!(
                f,
                "\n  cut {method} {route} after {secs:.2} s, {} bytes sent",
                cut.bytes
            )?;
        }
        if self.unfinished > 0 {
            write!(
                f,
                "\n  {} connections could not be ended: a handler blocks its thread",
                self.unfinished
            )?;
        }
        for (what, steps) in [("stopping", &self.subsystems), ("flushing", &self.flushes)] {
            for StepReport { name, took, end } in steps {
                write!(f, "\n  {what} {name} {end} after {:.2} s", took.as_secs_f64())?;
            }
        }
        if self.telemetry_lost {
            f.write_str("\n  some telemetry could not be exported in time")?;
        }
        Ok(())
    }
}

impl fmt::Display for StepEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked => f.write_str("panicked"),
            Self::Skipped => f.write_str("was skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> ExitReport {
        let (name, took) = ("draining", Duration::from_millis(500));
        ExitReport {
            reason: "SIGTERM".into(),
            requests: 7,
            connections: 2,
            drained_in: Duration::from_millis(1500),
            cut: Vec::new(),
            cut_total: 0,
            unfinished: 0,
            forced: false,
            telemetry_lost: false,
            phases: vec![
                PhaseReport { name, took },
                PhaseReport {
                    name: "closing",
                    took: Duration::from_secs(1),
                },
            ],
            subsystems: Vec::new(),
            flushes: Vec::new(),
            failed: false,
            signal: None,
        }
    }

    fn step(name: &'static str, end: StepEnd) -> StepReport {
        let (name, took) = (name.into(), Duration::from_millis(250));
        StepReport { name, took, end }
    }

    #[test]
    fn a_clean_end() {
        assert_eq!(clean().code(), 0);
        assert_eq!(
            clean().to_string(),
            "drained after 1.50 s (SIGTERM): 7 requests on 2 connections served, 0 cut\n  draining 0.50 s, closing 1.00 s"
        );
        let lost = ExitReport {
            telemetry_lost: true,
            flushes: vec![step("metrics", StepEnd::Failed("refused".into()))],
            ..clean()
        };
        assert_eq!(lost.code(), 0);
        assert!(lost.to_string().ends_with(
            "\n  flushing metrics failed: refused after 0.25 s\n  some telemetry could not be exported in time"
        ));
    }

    #[test]
    fn what_was_cut_or_did_not_stop() {
        let cut = Cut {
            method: "GET",
            route: "/slow".into(),
            age: Duration::from_secs(2),
            bytes: 9,
        };
        let cut = ExitReport {
            cut: vec![cut],
            cut_total: 1,
            ..clean()
        };
        assert_eq!(cut.code(), 3);
        assert!(
            cut.to_string()
                .ends_with("\n  cut GET /slow after 2.00 s, 9 bytes sent")
        );
        let blocked = ExitReport {
            unfinished: 1,
            ..clean()
        };
        assert!(blocked.code() == 3 && blocked.to_string().contains("1 connections could not be ended"));
        for (end, code) in [
            (StepEnd::Finished, 0),
            (StepEnd::TimedOut, 3),
            (StepEnd::Failed("no".into()), 3),
            (StepEnd::Panicked, 3),
            (StepEnd::Skipped, 3),
        ] {
            let report = ExitReport {
                subsystems: vec![step("db", end.clone())],
                ..clean()
            };
            assert_eq!(report.code(), code, "{end}");
            assert!(
                report
                    .to_string()
                    .ends_with(&format!("stopping db {end} after 0.25 s"))
            );
        }
    }

    #[test]
    fn what_forced_the_end_or_failed_is_worse() {
        let failed = ExitReport {
            failed: true,
            cut_total: 1,
            ..clean()
        };
        assert_eq!(failed.code(), 1);
        let killed = ExitReport {
            forced: true,
            ..clean()
        };
        assert_eq!(killed.code(), 3);
        let signalled = ExitReport {
            forced: true,
            signal: Some(15),
            ..failed
        };
        assert_eq!(signalled.code(), 143);
    }
}
