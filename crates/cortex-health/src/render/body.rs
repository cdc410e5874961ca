use super::{actuator, health_json, text};
use crate::negotiate::Format;
use crate::published::Verdict;
use crate::report::CheckReport;
use crate::respond::Detail;
use bytes::Bytes;

/// Who is asked.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// Writes the answer about some checks. Below [`Detail::Status`] it is the verdict alone.
pub(crate) fn body<'a>(
    format: Format,
    detail: Detail,
    verdict: Verdict,
    service: Option<&Service>,
    checks: impl ExactSizeIterator<Item = &'a CheckReport>,
) -> Bytes {
    let mut out = String::with_capacity(
        64 + if detail == Detail::None {
            0
        } else {
            checks.len() * 160
        },
    );
    match format {
        Format::HealthJson => health_json::write(&mut out, detail, verdict, service, checks),
        Format::Actuator => actuator::write(&mut out, detail, verdict, checks),
        Format::Text => text::write(&mut out, detail, verdict, checks),
    }
    Bytes::from(out)
}
