use super::body::Page;
use super::history::{write_runs, write_transitions};
use super::json::Object;
use crate::published::{Refusal, Verdict};
use crate::report::{CheckReport, root_causes};
use crate::respond::Detail;
use crate::status::Status;

/// Writes the shape of Spring Boot's health endpoint.
///
/// A whole that is degraded is `UP` there: it knows no such status, and its readers would take the service out. Where
/// the code of a degraded group is that of an error it is `DOWN`.
pub(super) fn write<'a, C>(out: &mut String, page: &Page<'a, C>)
where
    C: ExactSizeIterator<Item = &'a CheckReport> + Clone,
{
    let status = match page.verdict {
        Verdict {
            refusal: Some(Refusal::Starting | Refusal::Draining),
            ..
        } => "OUT_OF_SERVICE",
        Verdict {
            refusal: Some(Refusal::Stopped),
            ..
        } => "UNKNOWN",
        verdict => match verdict.told() {
            Status::Degraded => "UP",
            status => word(status),
        },
    };
    let mut object = Object::open(out);
    object.string("status", status);
    if page.detail >= Detail::Status {
        object.names("rootCauses", root_causes(page.checks.clone()));
        if page.checks.len() > 0 {
            let mut components = Object::open(object.member("components"));
            for check in page.checks.clone() {
                let mut component = Object::open(components.member(check.name()));
                component.string("status", word(check.status()));
                write_details(component.member("details"), page.detail, page.runs, check);
                component.close();
            }
            components.close();
        }
    }
    if page.detail == Detail::Full {
        write_transitions(&mut object, page.transitions());
    }
    object.close();
}

fn write_details(out: &mut String, detail: Detail, runs: bool, check: &CheckReport) {
    let mut details = Object::open(out);
    details.string("criticality", check.criticality().as_str());
    details.time("since", check.since());
    if let Some(latency) = check.latency() {
        details.millis("latencyMs", latency);
    }
    details.flag("stale", check.is_stale());
    details.flag("flapping", check.is_flapping());
    details.names("causes", check.causes());
    if detail == Detail::Full {
        if runs {
            write_runs(&mut details, check.runs());
        }
        if let Some(hung) = check.hung_since() {
            details.time("hungSince", hung);
        }
        if let Some((value, unit)) = check.observed()
            && value.is_finite()
        {
            details.number("observedValue", value);
            details.string("observedUnit", unit);
        }
        details.texts("data", check.details());
        details.names("dependsOn", check.depends_on());
        if check.flap_score() > 0.0 {
            details.number("flapScore", (check.flap_score() * 1000.0).round() / 1000.0);
        }
        if let Some(message) = check.message()
            && check.status() != Status::Skipped
        {
            details.string("message", message);
        }
    }
    details.close();
}

const fn word(status: Status) -> &'static str {
    match status {
        Status::Up => "UP",
        Status::Degraded => "DEGRADED",
        Status::Down => "DOWN",
        Status::Unknown => "UNKNOWN",
        Status::Skipped => "SKIPPED",
    }
}
