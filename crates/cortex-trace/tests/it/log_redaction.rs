//! Secrets in logs.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use cortex_core::Clock;
use cortex_testkit::ManualClock;
use cortex_trace::DuplicateLimit;
use serde_json::Value;
use tracing::field::Empty;
use tracing::{info, info_span};

use crate::log_support::{logged_by, one, read, text_by};

const HIDDEN: &str = "[redacted]";

#[test]
fn what_is_obviously_secret_is_hidden_wherever_it_stands() {
    let line = one(|| {
        let span = info_span!(
            "login",
            user = "ann",
            passwd = "x1",
            db.password = "x2",
            "set-cookie" = Empty
        );
        span.record("set-cookie", "x3");
        span.in_scope(|| {
            info!(
                password = "x4",
                Authorization = "x5",
                http.request.header.cookie = "x6",
                api_key = 7,
                token = true,
                pwd = 1.5,
                secret = ?Some("x8"),
                token_count = 3,
                "signed in"
            );
        });
    });
    for hidden in [
        "password",
        "Authorization",
        "http.request.header.cookie",
        "api_key",
        "token",
        "pwd",
        "secret",
    ] {
        assert_eq!(line[hidden], HIDDEN, "{hidden}");
    }
    for hidden in ["passwd", "db.password", "set-cookie"] {
        assert_eq!(line["span"][hidden], HIDDEN, "{hidden}");
    }
    assert_eq!(
        (&line["span"]["user"], &line["token_count"]),
        (&"ann".into(), &3.into())
    );
    assert_eq!(line["message"], "signed in");
    assert!(!line.to_string().contains('x'), "{line}");
}

#[test]
fn more_names_can_be_hidden_and_fewer() {
    let work = || info!(card_number = 1, password = 2, user = 3, "m");
    let hidden = |text: String| -> Vec<String> {
        let line: Value = read(&text);
        let fields = line.as_object().unwrap().iter();
        fields
            .filter(|(_, value)| **value == HIDDEN)
            .map(|(key, _)| key.clone())
            .collect()
    };
    assert_eq!(hidden(logged_by(|logs| logs, work)), ["password"]);
    let more = logged_by(|logs| logs.redact(["CARD-NUMBER"]), work);
    assert_eq!(hidden(more), ["card_number", "password"]);
    let only = logged_by(|logs| logs.redact_only(["user"]), work);
    assert_eq!(hidden(only), ["user"]);
    assert!(hidden(logged_by(|logs| logs.redact_only([""; 0]), work)).is_empty());
}

#[test]
fn a_secret_is_not_even_formatted() {
    struct Secret;
    impl fmt::Debug for Secret {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("somebody looks");
        }
    }
    let line = one(|| info_span!("s", token = ?Secret).in_scope(|| info!(password = ?Secret, "m")));
    assert_eq!(
        (&line["password"], &line["span"]["token"]),
        (&HIDDEN.into(), &HIDDEN.into())
    );
}

#[test]
fn a_secret_whose_key_is_taken_is_hidden_where_it_moves() {
    let work = || info_span!("s", name = "x1").in_scope(|| info!(span = "x2", a = 1, span = "x3", "m"));
    let line = read(&logged_by(|logs| logs.redact(["span", "name"]), work));
    assert_eq!(line["fields"]["span"], HIDDEN);
    assert_eq!(line["span"]["fields"]["name"], HIDDEN);
}

#[test]
fn a_secret_message_is_not_told_when_it_repeats() {
    let text = logged_by(
        |logs| {
            let limit = DuplicateLimit::new(1, Duration::from_millis(1)).by_message();
            logs.clock(Ticking(ManualClock::new()))
                .redact(["Message"])
                .limit_duplicates(limit)
        },
        || (0..9).for_each(|_| info!("hunter2")),
    );
    assert!(text.contains("repeated lines suppressed"), "{text}");
    assert!(!text.contains("hunter"), "{text}");
    let lines = text.lines().map(read);
    assert!(
        lines
            .filter(|line| line.get("suppressed").is_none())
            .all(|line| line["message"] == HIDDEN)
    );
}

/// Goes on by itself, so that a limit is reached and over now and then.
struct Ticking(ManualClock);

impl Clock for Ticking {
    fn now(&self) -> Instant {
        self.0.advance(Duration::from_micros(300));
        self.0.now()
    }

    fn wall(&self) -> SystemTime {
        self.0.wall()
    }
}

#[test]
fn the_text_format_hides_the_same() {
    let text = text_by(
        |logs| logs.redact(["iban"]),
        || {
            let _span = info_span!("pay", iban = "x1", sum = 7).entered();
            info!(target: "shop", token = "x2", "paid");
        },
    );
    assert_eq!(
        text,
        "2026-01-01T00:00:00.000000Z  INFO shop: paid token=[redacted] in pay{iban=[redacted] sum=7}\n"
    );
}
