use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Says how a service ended: why, what it served, what was cut.
///
/// Its `Display` is what a person wants to read at the end; [`exit_code`](Self::exit_code) is for `main`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExitReport {
    /// Why it ended: a signal's name, `requested`.
    pub reason: &'static str,
    /// The requests that were served, the cut ones included.
    pub requests: u64,
    /// The connections that were served.
    pub connections: u64,
    /// The time from the request to end until the last connection closed.
    pub drained_in: Duration,
    /// The requests that ran out of time, the first hundred of them. A response whose last frame was handed over
    /// already is not among them, even if its client had not read it all.
    pub cut: Vec<Cut>,
    /// How many requests ran out of time.
    pub cut_total: u64,
    /// How many connections did not even end when they were cut: a handler blocks its thread.
    pub unfinished: usize,
    /// Whether a second signal, or [`Running::kill`](crate::Running::kill), ended the drain early.
    pub forced: bool,
    /// Whether the exporters could not send all spans in time.
    pub telemetry_lost: bool,
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
    /// How long it had been running.
    pub age: Duration,
}

impl ExitReport {
    /// Returns the number for the operating system: 0 for a clean end, 3 when something was cut, 128 and the signal's
    /// number when a second signal forced the end.
    pub fn code(&self) -> u8 {
        match (self.forced, self.signal) {
            (true, Some(signal)) => 128 + signal,
            (true, None) => 3,
            (false, _) if self.cut_total > 0 || self.unfinished > 0 => 3,
            (false, _) => 0,
        }
    }

    /// Returns [`code`](Self::code) as what `main` returns.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
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
        for Cut { method, route, age } in &self.cut {
            write!(f, "\n  cut {method} {route} after {:.2} s", age.as_secs_f64())?;
        }
        if self.unfinished > 0 {
            write!(
                f,
                "\n  {} connections could not be ended: a handler blocks its thread",
                self.unfinished
            )?;
        }
        if self.telemetry_lost {
            f.write_str("\n  some spans could not be exported in time")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_the_text_say_how_it_ended() {
        let clean = ExitReport {
            reason: "SIGTERM",
            requests: 7,
            connections: 2,
            drained_in: Duration::from_millis(1500),
            cut: Vec::new(),
            cut_total: 0,
            unfinished: 0,
            forced: false,
            telemetry_lost: false,
            signal: Some(15),
        };
        assert_eq!(clean.code(), 0);
        assert_eq!(
            clean.to_string(),
            "drained after 1.50 s (SIGTERM): 7 requests on 2 connections served, 0 cut"
        );
        let cut = Cut {
            method: "GET",
            route: "/slow".into(),
            age: Duration::from_secs(2),
        };
        let cut = ExitReport {
            cut: vec![cut],
            cut_total: 1,
            telemetry_lost: true,
            ..clean.clone()
        };
        assert_eq!(cut.code(), 3);
        assert!(
            cut.to_string()
                .ends_with("\n  cut GET /slow after 2.00 s\n  some spans could not be exported in time")
        );
        let blocked = ExitReport {
            unfinished: 1,
            ..clean.clone()
        };
        assert!(blocked.code() == 3 && blocked.to_string().contains("1 connections could not be ended"));
        assert_eq!(
            ExitReport {
                forced: true,
                ..clean.clone()
            }
            .code(),
            143
        );
        assert_eq!(
            ExitReport {
                forced: true,
                signal: None,
                ..clean
            }
            .code(),
            3
        );
    }
}
