use crate::observer::Event;
use crate::render::Rfc3339;
use crate::status::Status;

/// Writes the line of an event for those who read logs; most events have none.
///
/// A check that follows what it depends on, and one that flaps, have said what there is to say.
pub(super) fn log(event: &Event) {
    match event {
        Event::RunFinished { .. } => {}
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
