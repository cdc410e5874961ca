use crate::wait::until;
use cortex_health::{Check, Detail, Endpoint, Group, Health, Outcome, Running, Status};
use cortex_testkit::ManualClock;
use expect_test::expect;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use serde_json::Value;
use std::time::Duration;
use tokio::runtime::Runtime;

const PASSWORD: &str = "hunter2";
const FORMATS: [&str; 3] = ["application/health+json", "application/json", "text/plain"];
const ENDPOINTS: [Endpoint<'static>; 7] = [
    Endpoint::Live,
    Endpoint::Ready,
    Endpoint::Startup,
    Endpoint::Health,
    Endpoint::Group("payments"),
    Endpoint::Check("db"),
    Endpoint::Check("mail"),
];

/// A shop with one check in each status, after the first results.
fn shop() -> (Health, Running, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let payments = Group::new("payments").unwrap();
    let never = Check::from_fn("search", std::future::pending::<()>).timeout(Duration::from_secs(20));
    let health = Health::builder()
        .service("shop", "1.4.2")
        .clock(ManualClock::new())
        .check(Check::from_fn("db", || async {}).groups([Group::READY, Group::STARTUP]))
        .check(Check::from_fn("cache", || async {
            Outcome::degraded("hit ratio\nis 12 %")
        }))
        .check(
            Check::from_fn("mail", || async {
                Err::<(), _>(format!("smtp://shop:{PASSWORD}@mx: refused"))
            })
            .informational()
            .groups([Group::READY, payments.clone()]),
        )
        .check(never.degrades().groups([payments]))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("three results", || {
        health
            .snapshot()
            .checks()
            .filter(|check| check.checked().is_some())
            .count()
            == 3
    });
    (health, running, runtime)
}

fn body(health: &Health, endpoint: Endpoint<'_>, format: &'static str, detail: Detail) -> String {
    let mut accept = HeaderMap::new();
    accept.insert(ACCEPT, HeaderValue::from_static(format));
    let response = health.respond(endpoint, &accept, detail);
    assert!(
        response.headers()[CONTENT_TYPE]
            .to_str()
            .unwrap()
            .starts_with(format)
    );
    assert_eq!(response.headers()[VARY], "accept");
    String::from_utf8(response.into_body().to_vec()).unwrap()
}

/// Without what happened of late, whose order is that of the results.
fn pretty(json: &str) -> String {
    let mut value: Value = serde_json::from_str(json).unwrap();
    let transitions = value.as_object_mut().unwrap().remove("transitions");
    assert_eq!(transitions.unwrap().as_array().unwrap().len(), 3);
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

#[test]
fn health_json_at_full() {
    let (health, _running, _runtime) = shop();
    let json = body(&health, Endpoint::Health, FORMATS[0], Detail::Full);
    expect![[r#"
        {
          "checks": {
            "cache": [
              {
                "criticality": "critical",
                "latencyMs": 0.0,
                "output": "hit ratio\nis 12 %",
                "since": "2026-01-01T00:00:00.000Z",
                "status": "warn",
                "time": "2026-01-01T00:00:00.000Z"
              }
            ],
            "db": [
              {
                "criticality": "critical",
                "latencyMs": 0.0,
                "since": "2026-01-01T00:00:00.000Z",
                "status": "pass",
                "time": "2026-01-01T00:00:00.000Z"
              }
            ],
            "mail": [
              {
                "criticality": "informational",
                "latencyMs": 0.0,
                "output": "smtp://shop:***@mx: refused",
                "since": "2026-01-01T00:00:00.000Z",
                "status": "fail",
                "time": "2026-01-01T00:00:00.000Z"
              }
            ],
            "search": [
              {
                "criticality": "degrades",
                "since": "2026-01-01T00:00:00.000Z",
                "status": "fail"
              }
            ]
          },
          "serviceId": "shop",
          "status": "warn",
          "version": "1.4.2"
        }
    "#]]
    .assert_eq(&pretty(&json));
}

#[test]
fn spring_json_at_full() {
    let (health, _running, _runtime) = shop();
    let json = body(&health, Endpoint::Health, FORMATS[1], Detail::Full);
    expect![[r#"
        {
          "components": {
            "cache": {
              "details": {
                "criticality": "critical",
                "latencyMs": 0.0,
                "message": "hit ratio\nis 12 %",
                "since": "2026-01-01T00:00:00.000Z"
              },
              "status": "DEGRADED"
            },
            "db": {
              "details": {
                "criticality": "critical",
                "latencyMs": 0.0,
                "since": "2026-01-01T00:00:00.000Z"
              },
              "status": "UP"
            },
            "mail": {
              "details": {
                "criticality": "informational",
                "latencyMs": 0.0,
                "message": "smtp://shop:***@mx: refused",
                "since": "2026-01-01T00:00:00.000Z"
              },
              "status": "DOWN"
            },
            "search": {
              "details": {
                "criticality": "degrades",
                "since": "2026-01-01T00:00:00.000Z"
              },
              "status": "UNKNOWN"
            }
          },
          "status": "UP"
        }
    "#]]
    .assert_eq(&pretty(&json));
}

#[test]
fn text_at_full() {
    let (health, _running, _runtime) = shop();
    let text = body(&health, Endpoint::Health, FORMATS[2], Detail::Full);
    expect![[r#"
        degraded
        [+]db up 0.0ns
        [~]cache degraded 0.0ns: hit ratio is 12 %
        [-]mail down 0.0ns (informational): smtp://shop:***@mx: refused
        [?]search unknown (degrades)
    "#]]
    .assert_eq(&text);
}

#[test]
fn less_detail_is_less_text() {
    let (health, _running, _runtime) = shop();
    let all = |detail| {
        FORMATS
            .map(|format| body(&health, Endpoint::Group("payments"), format, detail))
            .join("\n")
    };
    expect![[r#"
        {"status":"warn","version":"1.4.2","serviceId":"shop","checks":{"mail":[{"status":"fail","criticality":"informational","since":"2026-01-01T00:00:00.000Z","time":"2026-01-01T00:00:00.000Z","latencyMs":0.000}],"search":[{"status":"fail","criticality":"degrades","since":"2026-01-01T00:00:00.000Z"}]}}
        {"status":"UP","components":{"mail":{"status":"DOWN","details":{"criticality":"informational","since":"2026-01-01T00:00:00.000Z","latencyMs":0.000}},"search":{"status":"UNKNOWN","details":{"criticality":"degrades","since":"2026-01-01T00:00:00.000Z"}}}}
        degraded
        [-]mail down 0.0ns (informational)
        [?]search unknown (degrades)
    "#]].assert_eq(&all(Detail::Status));
    expect![[r#"
        {"status":"warn"}
        {"status":"UP"}
        degraded
    "#]]
    .assert_eq(&all(Detail::None));
}

#[test]
fn a_password_is_shown_to_nobody_and_an_error_only_at_full() {
    let (health, _running, _runtime) = shop();
    let all = |detail| {
        let mut all = String::new();
        for endpoint in ENDPOINTS {
            for format in FORMATS {
                all += &body(&health, endpoint, format, detail);
            }
        }
        all
    };
    for detail in [Detail::None, Detail::Status, Detail::Full] {
        let all = all(detail);
        assert!(!all.contains(PASSWORD), "{all}");
        assert_eq!(all.contains("refused"), detail == Detail::Full, "{all}");
        assert_eq!(all.contains("hit ratio"), detail == Detail::Full, "{all}");
        assert_eq!(all.contains("mail"), detail != Detail::None, "{all}");
        assert_eq!(all.contains("1.4.2"), detail != Detail::None, "{all}");
    }
    assert!(all(Detail::Full).contains("smtp://shop:***@mx"));
    let snapshot = format!("{:?}", health.snapshot());
    assert!(!snapshot.contains(PASSWORD), "{snapshot}");
}

#[test]
fn every_json_body_is_an_object_with_a_status() {
    let (health, _running, _runtime) = shop();
    for endpoint in ENDPOINTS {
        for detail in [Detail::None, Detail::Status, Detail::Full] {
            let json: Value = serde_json::from_str(&body(&health, endpoint, FORMATS[0], detail)).unwrap();
            assert!(["pass", "warn", "fail"].contains(&json["status"].as_str().unwrap()));
            if let Some(checks) = json.get("checks") {
                let checks = checks.as_object().unwrap();
                assert!(
                    checks
                        .values()
                        .all(|check| check.as_array().is_some_and(|list| list.len() == 1))
                );
            }
            let json: Value = serde_json::from_str(&body(&health, endpoint, FORMATS[1], detail)).unwrap();
            assert!(json["status"].is_string());
            assert_eq!(
                json.get("components").is_some_and(Value::is_object),
                json.as_object().unwrap().len() > 1
            );
        }
    }
}

#[test]
fn a_body_is_rendered_once_per_publication() {
    let (health, running, _runtime) = shop();
    let take = |endpoint| {
        health
            .respond(endpoint, &HeaderMap::new(), Detail::Full)
            .into_body()
    };
    for endpoint in ENDPOINTS {
        let (first, second) = (take(endpoint), take(endpoint));
        assert_eq!(first.as_ptr(), second.as_ptr(), "{endpoint:?}");
    }
    running.stop();
}

#[test]
fn what_a_check_measured_is_shown_at_full_and_bounded() {
    let runtime = Runtime::new().unwrap();
    let megabytes = "x".repeat(10 << 20);
    let big = Check::blocking("big", move || {
        let url = format!("redis://app:{PASSWORD}@cache");
        Outcome::degraded(megabytes.clone())
            .observed(0.93, "ratio")
            .detail("url", url)
            .detail("line\nbreak", format!("{megabytes} pg://app:{PASSWORD}@db"))
    });
    let nan = Check::blocking("nan", || Outcome::up().observed(f64::NAN, "things"));
    let health = Health::builder()
        .clock(ManualClock::new())
        .check(big.timeout(Duration::from_mins(1)))
        .check(nan)
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("both are known", || {
        health.snapshot().status() == Status::Degraded
    });
    let report = health.snapshot();
    let big = report.check("big").unwrap();
    assert_eq!(big.observed(), Some((0.93, "ratio")));
    assert_eq!(big.details().len(), 2);
    for format in FORMATS {
        let full = body(&health, Endpoint::Health, format, Detail::Full);
        assert!(full.len() < 2000, "{} characters", full.len());
        assert!(
            full.contains("redis://app:***@cache") && !full.contains(PASSWORD),
            "{full}"
        );
        assert!(full.contains("0.93") && full.contains("ratio"), "{full}");
        let status = body(&health, Endpoint::Health, format, Detail::Status);
        assert!(!status.contains("redis") && !status.contains("0.93"), "{status}");
    }
    let json = body(&health, Endpoint::Health, FORMATS[0], Detail::Full);
    let json: Value = serde_json::from_str(&json).unwrap();
    let check = &json["checks"]["big"][0];
    assert_eq!(
        (&check["observedValue"], &check["observedUnit"]),
        (&0.93.into(), &"ratio".into())
    );
    assert_eq!(check["data"]["url"], "redis://app:***@cache");
    assert!(
        json["checks"]["nan"][0].get("observedValue").is_none(),
        "JSON has no NaN"
    );
    let text = body(&health, Endpoint::Health, FORMATS[2], Detail::Full);
    assert_eq!(text.lines().count(), 3, "{text}");
    running.stop();
}

fn codes(health: &Health) -> [u16; 7] {
    ENDPOINTS.map(|endpoint| {
        health
            .respond(endpoint, &HeaderMap::new(), Detail::None)
            .status()
            .as_u16()
    })
}

#[test]
fn every_probe_answers_by_its_own_rule() {
    let (health, running, _runtime) = shop();
    assert_eq!(codes(&health), [200, 200, 200, 200, 200, 200, 503]);
    assert!(!health.is_draining());
    health.set_draining(true);
    assert_eq!(codes(&health), [200, 503, 200, 503, 200, 200, 503]);
    assert!(health.is_draining() && format!("{health:?}").contains("draining: true"));
    let words = FORMATS.map(|format| body(&health, Endpoint::Ready, format, Detail::None));
    assert_eq!(
        words,
        [r#"{"status":"fail"}"#, r#"{"status":"OUT_OF_SERVICE"}"#, "down\n"]
    );
    let text = body(&health, Endpoint::Ready, FORMATS[2], Detail::Status);
    assert!(text.starts_with("down: draining\n[+]db up"), "{text}");
    health.set_draining(false);
    assert_eq!(codes(&health), [200, 200, 200, 200, 200, 200, 503]);
    running.stop();
    assert_eq!(codes(&health), [200, 503, 200, 503, 503, 503, 503]);
    let words = FORMATS.map(|format| body(&health, Endpoint::Ready, format, Detail::None));
    assert_eq!(
        words,
        [r#"{"status":"fail"}"#, r#"{"status":"UNKNOWN"}"#, "down\n"]
    );
}

#[test]
fn what_is_not_known_yet_is_starting_and_not_down() {
    let check = Check::from_fn("db", || async {}).groups([Group::READY, Group::LIVE]);
    let health = Health::builder().check(check).build().unwrap();
    let answers = |health: &Health| {
        [
            Endpoint::Ready,
            Endpoint::Startup,
            Endpoint::Health,
            Endpoint::Live,
        ]
        .map(|endpoint| {
            let text = body(health, endpoint, FORMATS[2], Detail::Status);
            text.lines().next().unwrap().to_owned()
        })
    };
    assert_eq!(
        answers(&health),
        ["down: starting", "down: starting", "down: starting", "up"]
    );
    assert_eq!(
        body(&health, Endpoint::Ready, FORMATS[1], Detail::None),
        r#"{"status":"OUT_OF_SERVICE"}"#
    );

    // Begun, and the first run is still going on.
    let runtime = Runtime::new().unwrap();
    let slow = Check::from_fn("db", std::future::pending::<()>).groups([Group::READY, Group::LIVE]);
    let health = Health::builder()
        .check(slow)
        .clock(ManualClock::new())
        .build()
        .unwrap();
    let _running = health.start(runtime.handle()).unwrap();
    until("it has begun", || health.snapshot().seq() > 0);
    assert_eq!(answers(&health), ["down: starting", "up", "down: starting", "up"]);
}

#[test]
fn a_draining_service_says_so_before_it_was_started() {
    let health = Health::builder().build().unwrap();
    health.set_draining(true);
    let text = body(&health, Endpoint::Group("ready"), FORMATS[2], Detail::Status);
    assert_eq!(text, "down: draining\n");
    assert_eq!(health.snapshot().group(Group::READY), Status::Up);
}

#[test]
fn an_unknown_name_is_an_empty_404() {
    let health = Health::builder().build().unwrap();
    for detail in [Detail::None, Detail::Status, Detail::Full] {
        for endpoint in [Endpoint::Group("<script>"), Endpoint::Check("<script>")] {
            let response = health.respond(endpoint, &HeaderMap::new(), detail);
            assert_eq!((response.status().as_u16(), response.body().len()), (404, 0));
            assert_eq!(response.headers()["cache-control"], "no-store");
        }
    }
}

#[test]
fn a_group_answers_with_its_own_codes() {
    let runtime = Runtime::new().unwrap();
    let payments = Group::new("payments").unwrap();
    let teapot = StatusCode::IM_A_TEAPOT;
    let health = Health::builder()
        .clock(ManualClock::new())
        .check(Check::from_fn("cache", || async { Outcome::degraded("slow") }).groups([Group::STARTUP]))
        .check(Check::from_fn("bank", || async { false }).groups([]))
        .group(Group::READY, ["cache"])
        .group(payments.clone(), ["bank", "cache"])
        .map_status(Group::READY, Status::Degraded, StatusCode::SERVICE_UNAVAILABLE)
        .map_status(Group::STARTUP, Status::Degraded, StatusCode::SERVICE_UNAVAILABLE)
        .map_status(payments, Status::Down, teapot)
        .build()
        .unwrap();
    let answer = |endpoint| health.respond(endpoint, &HeaderMap::new(), Detail::None);
    assert_eq!(answer(Endpoint::Group("payments")).status(), 503, "not started");
    let running = health.start(runtime.handle()).unwrap();
    until("both are known", || {
        health.snapshot().checks().all(|check| check.checked().is_some())
    });
    let ready = answer(Endpoint::Ready);
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.body().as_ref(), br#"{"status":"fail"}"#);
    for (format, body) in [
        ("application/json", &br#"{"status":"DOWN"}"#[..]),
        ("text/plain", b"down\n"),
    ] {
        let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(format))]);
        let answer = |endpoint| health.respond(endpoint, &accept, Detail::None);
        assert_eq!(answer(Endpoint::Ready).body(), body, "as the code says");
        assert_ne!(answer(Endpoint::Check("cache")).body(), body);
    }
    assert_eq!(
        answer(Endpoint::Startup).status(),
        503,
        "not latched by what it does not let pass"
    );
    assert_eq!(answer(Endpoint::Group("payments")).status(), teapot);
    assert_eq!(answer(Endpoint::Health).status(), 503);
    assert_eq!(answer(Endpoint::Check("cache")).status(), 200);
    health.set_draining(true);
    assert_eq!(answer(Endpoint::Group("payments")).status(), teapot);
    assert_eq!(answer(Endpoint::Live).status(), 200);
    running.stop();
    assert_eq!(answer(Endpoint::Group("payments")).status(), 503);
}
