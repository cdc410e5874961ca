use crate::observer::Event;
use crate::render::Rfc3339;
use crate::status::Status;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the log is told.
#[derive(Clone, Debug)]
pub(super) enum Line {
    Event(Event),
    /// So many lines before the next were left out: who writes them takes too long.
    Missed(u64),
    /// From now on events are left out that an observer should hear.
    ObserverBlocks,
}

/// Writes a line. Who writes the log may panic like any other.
pub(super) fn write(line: &Line) {
    let _ = catch_unwind(AssertUnwindSafe(|| match line {
        Line::Event(event) => log(event),
        Line::Missed(lines) => {
            tracing::warn!(
                lines,
                "lines about health checks were left out: writing the log took too long"
            );
        }
        Line::ObserverBlocks => {
            tracing::warn!(
                "an observer of the health checks takes too long: events are left out from now on"
            );
        }
    }));
}

/// Says whether there is a line about the event; most have none.
pub(super) fn has_line(event: &Event) -> bool {
    !matches!(event, Event::RunFinished { .. } | Event::Missed { .. })
}

/// Writes the line of an event for those who read logs.
///
/// A check that follows what it depends on, and one that flaps, have said what there is to say.
fn log(event: &Event) {
    match event {
        Event::RunFinished { .. } | Event::Missed { .. } => {}
        Event::Slow {
            check,
            latency,
            timeout,
        } => {
            tracing::warn!(%check, ?latency, ?timeout, "health check is slow: it took more than half of its timeout");
        }
        Event::Transition {
            check,
            from,
            to,
            at,
            after,
            latency,
            message,
            causes,
            flapping,
        } => {
            let since = Rfc3339(at.checked_sub(*after).unwrap_or(*at));
            if *to == Status::Skipped || (*from, *to) == (Status::Skipped, Status::Up) {
                let cause = causes.join(", ");
                tracing::debug!(%check, %from, %to, %since, ?after, cause, "health check follows what it depends on");
                return;
            }
            let cause = match &causes[..] {
                [] => message.as_deref().unwrap_or_default().to_owned(),
                causes => causes.join(", "),
            };
            if *flapping {
                tracing::debug!(%check, %from, %to, %since, ?after, ?latency, cause, "health check flaps");
            } else if *to == Status::Up
                || *to == Status::Degraded && matches!(from, Status::Down | Status::Skipped)
            {
                tracing::info!(%check, %from, %to, %since, ?after, ?latency, cause, "health check is better");
            } else {
                tracing::warn!(%check, %from, %to, %since, ?after, ?latency, cause, "health check is worse");
            }
        }
        Event::Flapping {
            check,
            flapping: true,
            score,
            status,
        } => {
            tracing::warn!(%check, %status, score, "health check flaps; its changes are not logged until it is steady");
        }
        Event::Flapping {
            check,
            flapping: false,
            score,
            status,
        } => {
            if *status == Status::Up {
                tracing::info!(%check, %status, score, "health check is steady again");
            } else {
                // Nobody was told of the last change.
                tracing::warn!(%check, %status, score, "health check is steady again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_testkit::{Recorder, subscribe};
    use std::time::{Duration, SystemTime};

    fn written(lines: &[Line]) -> String {
        let log = Recorder::new();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let _logging = subscribe(subscriber.finish());
        lines.iter().for_each(write);
        log.text()
    }

    #[test]
    fn who_was_not_told_of_a_failure_is_warned_when_it_is_steady() {
        let steady = |status| {
            Line::Event(Event::Flapping {
                check: "db".into(),
                flapping: false,
                score: 0.2,
                status,
            })
        };
        let text = written(&[steady(Status::Up), steady(Status::Down)]);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].contains("INFO") && lines[0].contains("status=up"),
            "{text}"
        );
        assert!(
            lines[1].contains("WARN") && lines[1].contains("status=down"),
            "{text}"
        );
    }

    #[test]
    fn a_failure_with_causes_names_them_and_not_its_own_message() {
        let text = written(&[Line::Event(Event::Transition {
            check: "orders".into(), // it always runs
            from: Status::Up,
            to: Status::Down,
            at: SystemTime::UNIX_EPOCH,
            after: Duration::ZERO,
            latency: None,
            message: Some("refused".into()),
            causes: ["db".into(), "net".into()].into(),
            flapping: false,
        })]);
        assert!(
            text.contains("cause=\"db, net\"") && !text.contains("refused"),
            "{text}"
        );
    }

    #[test]
    fn what_is_left_out_is_said() {
        let text = written(&[
            Line::ObserverBlocks,
            Line::Missed(7),
            Line::Event(Event::Missed { events: 7 }), // observers know it by themselves
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].contains("WARN") && lines[0].contains("events are left out from now on"),
            "{text}"
        );
        assert!(
            lines[1].contains("WARN") && lines[1].ends_with("took too long lines=7"),
            "{text}"
        );
    }
}
