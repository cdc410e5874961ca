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
    checks: impl ExactSizeIterator<Item = &'a CheckReport> + Clone,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::Refusal;
    use crate::status::Criticality;
    use expect_test::expect;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_hung_and_a_stale_check_say_so() {
        let check = |name: &str| CheckReport {
            checked: Some(SystemTime::UNIX_EPOCH),
            latency: Some(Duration::from_micros(3141)),
            message: Some("said\tso".into()),
            stale: true,
            hung: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
            ..CheckReport::never_run(name.into(), Criticality::Degrades, SystemTime::UNIX_EPOCH)
        };
        let checks = [check("a")];
        let mut all = String::new();
        for detail in [Detail::Status, Detail::Full] {
            for format in [Format::HealthJson, Format::Actuator, Format::Text] {
                let verdict = Verdict::refuse(Refusal::Starting);
                let body = body(format, detail, verdict, None, checks.iter());
                all.push_str(str::from_utf8(&body).unwrap().trim_end());
                all.push('\n');
            }
        }
        expect![[r#"
            {"status":"fail","rootCauses":["a"],"output":"starting","checks":{"a":[{"status":"fail","criticality":"degrades","since":"1970-01-01T00:00:00.000Z","time":"1970-01-01T00:00:00.000Z","latencyMs":3.141,"stale":true}]}}
            {"status":"OUT_OF_SERVICE","rootCauses":["a"],"components":{"a":{"status":"UNKNOWN","details":{"criticality":"degrades","since":"1970-01-01T00:00:00.000Z","latencyMs":3.141,"stale":true}}}}
            down: starting
            root causes: a
            [?]a unknown 3.1ms (degrades) stale
            {"status":"fail","rootCauses":["a"],"output":"starting","checks":{"a":[{"status":"fail","criticality":"degrades","since":"1970-01-01T00:00:00.000Z","time":"1970-01-01T00:00:00.000Z","latencyMs":3.141,"stale":true,"hungSince":"1970-01-01T00:00:01.000Z","output":"said\tso"}]}}
            {"status":"OUT_OF_SERVICE","rootCauses":["a"],"components":{"a":{"status":"UNKNOWN","details":{"criticality":"degrades","since":"1970-01-01T00:00:00.000Z","latencyMs":3.141,"stale":true,"hungSince":"1970-01-01T00:00:01.000Z","message":"said\tso"}}}}
            down: starting
            root causes: a
            [?]a unknown 3.1ms (degrades) stale running since 1970-01-01T00:00:01.000Z: said so
        "#]].assert_eq(&all);
    }
}
