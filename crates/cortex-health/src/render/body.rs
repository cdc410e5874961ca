use super::{actuator, health_json, text};
use crate::history::Transition;
use crate::negotiate::Format;
use crate::published::Verdict;
use crate::report::CheckReport;
use crate::respond::Detail;
use bytes::Bytes;
use std::sync::Arc;

/// Who is asked.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// What an answer is made of. Below [`Detail::Status`] it is the verdict alone.
#[derive(Clone, Debug)]
pub(crate) struct Page<'a, C> {
    pub(crate) detail: Detail,
    pub(crate) verdict: Verdict,
    pub(crate) service: Option<&'a Service>,
    pub(crate) checks: C,
    /// Of all checks there are.
    pub(crate) transitions: &'a [Arc<Transition>],
    /// Whether to list the last runs of each check.
    pub(crate) runs: bool,
}

impl<'a, C: ExactSizeIterator<Item = &'a CheckReport> + Clone> Page<'a, C> {
    /// Returns the transitions of these checks, oldest first.
    pub(super) fn transitions(&self) -> impl Iterator<Item = &'a Transition> + use<'_, 'a, C> {
        let is_shown = |transition: &&Transition| {
            let name = transition.name();
            self.checks.clone().any(|check| Arc::ptr_eq(&check.name, name))
        };
        self.transitions
            .iter()
            .map(|transition| &**transition)
            .filter(is_shown)
    }
}

/// Writes the answer about some checks.
pub(crate) fn body<'a, C>(format: Format, page: &Page<'a, C>) -> Bytes
where
    C: ExactSizeIterator<Item = &'a CheckReport> + Clone,
{
    let each = match page.detail {
        Detail::None => 0,
        Detail::Status => 160,
        Detail::Full => 512, // with a message and a transition
    };
    let mut out = String::with_capacity(64 + page.checks.len() * each);
    match format {
        Format::HealthJson => health_json::write(&mut out, page),
        Format::Actuator => actuator::write(&mut out, page),
        Format::Text => text::write(&mut out, page, false),
        Format::Verbose => text::write(&mut out, page, true),
    }
    Bytes::from(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::published::Refusal;
    use crate::report::Observed;
    use crate::status::{Criticality, Status};
    use expect_test::expect;
    use std::time::{Duration, SystemTime};

    #[test]
    fn full_detail_shows_all_there_is() {
        let checks = [CheckReport {
            status: Status::Degraded,
            message: Some("filling up".into()),
            observed: Some(Observed {
                value: 0.93,
                unit: "ratio".into(),
            }),
            details: [("mount".into(), "/var".into())].into(),
            depends_on: [Arc::from("host")].into(),
            causes: [Arc::from("host")].into(),
            flapping: true,
            flap_score: 1.0 / 3.0,
            ..CheckReport::never_run("disk".into(), Criticality::Critical, SystemTime::UNIX_EPOCH)
        }];
        let mut all = String::new();
        for format in [
            Format::HealthJson,
            Format::Actuator,
            Format::Text,
            Format::Verbose,
        ] {
            let page = Page {
                detail: Detail::Full,
                verdict: Verdict::of(Status::Degraded),
                service: None,
                checks: checks.iter(),
                transitions: &[],
                runs: true,
            };
            all.push_str(str::from_utf8(&body(format, &page)).unwrap().trim_end());
            all.push('\n');
        }
        expect![[r#"
            {"status":"warn","checks":{"disk":[{"status":"warn","criticality":"critical","since":"1970-01-01T00:00:00.000Z","flapping":true,"causes":["host"],"observedValue":0.93,"observedUnit":"ratio","data":{"mount":"/var"},"dependsOn":["host"],"flapScore":0.333,"output":"filling up"}]}}
            {"status":"UP","components":{"disk":{"status":"DEGRADED","details":{"criticality":"critical","since":"1970-01-01T00:00:00.000Z","flapping":true,"causes":["host"],"observedValue":0.93,"observedUnit":"ratio","data":{"mount":"/var"},"dependsOn":["host"],"flapScore":0.333,"message":"filling up"}}}}
            degraded
            [~]disk degraded flapping 0.93 ratio mount=/var because of host: filling up
            degraded
            [~]disk degraded flapping 0.93 ratio mount=/var because of host: filling up
        "#]].assert_eq(&all);
    }

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
                let page = Page {
                    detail,
                    verdict: Verdict::refuse(Refusal::Starting),
                    service: None,
                    checks: checks.iter(),
                    transitions: &[],
                    runs: false,
                };
                let body = body(format, &page);
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
