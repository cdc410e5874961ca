use super::body::Page;
use super::history::{write_runs, write_transitions};
use super::json::Object;
use crate::published::Refusal;
use crate::report::{CheckReport, root_causes};
use crate::respond::Detail;
use crate::status::Status;

/// Writes `application/health+json` (draft-inadarei-api-health-check-06).
///
/// What else there is, `rootCauses` and `latencyMs` among it, are members that the draft leaves to us.
pub(super) fn write<'a, C>(out: &mut String, page: &Page<'a, C>)
where
    C: ExactSizeIterator<Item = &'a CheckReport> + Clone,
{
    let mut object = Object::open(out);
    object.string("status", word(page.verdict.told())); // the draft: "warn" goes with a success
    if page.detail >= Detail::Status {
        object.names("rootCauses", root_causes(page.checks.clone()));
        if let Some(service) = page.service {
            object.string("version", &service.version);
            object.string("serviceId", &service.name);
        }
        if let Some(refusal) = page.verdict.refusal {
            object.string("output", Refusal::as_str(refusal));
        }
        if page.checks.len() > 0 {
            let mut map = Object::open(object.member("checks"));
            for check in page.checks.clone() {
                let place = map.member(check.name());
                place.push('[');
                write_check(place, page.detail, page.runs, check);
                place.push(']');
            }
            map.close();
        }
    }
    if page.detail == Detail::Full {
        write_transitions(&mut object, page.transitions());
    }
    object.close();
}

fn write_check(out: &mut String, detail: Detail, runs: bool, check: &CheckReport) {
    let mut object = Object::open(out);
    object.string("status", word(check.status()));
    object.string("criticality", check.criticality().as_str());
    object.time("since", check.since());
    if let Some(checked) = check.checked() {
        object.time("time", checked);
    }
    if let Some(latency) = check.latency() {
        object.millis("latencyMs", latency);
    }
    object.flag("stale", check.is_stale());
    object.flag("skipped", check.status() == Status::Skipped);
    object.flag("flapping", check.is_flapping());
    object.names("causes", check.causes());
    if detail == Detail::Full {
        if runs {
            write_runs(&mut object, check.runs());
        }
        if let Some(hung) = check.hung_since() {
            object.time("hungSince", hung);
        }
        if let Some((value, unit)) = check.observed()
            && value.is_finite()
        {
            object.number("observedValue", value);
            object.string("observedUnit", unit);
        }
        object.texts("data", check.details());
        object.names("dependsOn", check.depends_on());
        if check.flap_score() > 0.0 {
            object.number("flapScore", (check.flap_score() * 1000.0).round() / 1000.0);
        }
        if let Some(message) = check.message()
            && !matches!(check.status(), Status::Up | Status::Skipped)
        {
            object.string("output", message); // the draft: left out for "pass"
        }
    }
    object.close();
}

const fn word(status: Status) -> &'static str {
    match status {
        Status::Up => "pass",
        Status::Degraded => "warn",
        Status::Down | Status::Unknown | Status::Skipped => "fail",
    }
}
