use super::body::Service;
use super::json::Object;
use crate::published::{Refusal, Verdict};
use crate::report::CheckReport;
use crate::respond::Detail;
use crate::status::Status;

/// Writes `application/health+json` (draft-inadarei-api-health-check-06).
///
/// `latencyMs`, `since`, `criticality`, `stale` and `hungSince` are members that the draft leaves to us.
pub(super) fn write<'a>(
    out: &mut String,
    detail: Detail,
    verdict: Verdict,
    service: Option<&Service>,
    checks: impl ExactSizeIterator<Item = &'a CheckReport>,
) {
    let mut object = Object::open(out);
    object.string("status", word(verdict.status));
    if detail >= Detail::Status {
        if let Some(service) = service {
            object.string("version", &service.version);
            object.string("serviceId", &service.name);
        }
        if let Some(refusal) = verdict.refusal {
            object.string("output", Refusal::as_str(refusal));
        }
        if checks.len() > 0 {
            let mut map = Object::open(object.member("checks"));
            for check in checks {
                let place = map.member(check.name());
                place.push('[');
                write_check(place, detail, check);
                place.push(']');
            }
            map.close();
        }
    }
    object.close();
}

fn write_check(out: &mut String, detail: Detail, check: &CheckReport) {
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
    if detail == Detail::Full {
        if let Some(hung) = check.hung_since() {
            object.time("hungSince", hung);
        }
        if let Some(message) = check.message()
            && check.status() != Status::Up
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
        Status::Down | Status::Unknown => "fail",
    }
}
