//! The access log, and the ids of requests.

use std::time::Duration;

use axum::routing::get;
use cortex_http::{AccessLog, ConcurrencyLimit, Limits, RequestId, RequestIds, Routes, Server};
use cortex_testkit::Recorder;
use cortex_trace::{SampleParams, Sampler, SamplingIntent, Tracer};
use http::HeaderName;
use tokio::io::AsyncWriteExt;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;

use crate::support::{Gates, Shop, get_from, read_to_end, read_until, within};

/// Collects the JSON lines that this thread logs.
pub(crate) fn logged() -> (Recorder, DefaultGuard) {
    let lines = Recorder::new();
    let writer = lines.clone();
    let logs = cortex_trace::JsonLogs::new(move || writer.clone()).with_filter(LevelFilter::INFO);
    (
        lines,
        cortex_testkit::subscribe(tracing_subscriber::registry().with(logs)),
    )
}

fn lines_of(lines: &Recorder, target: &str) -> Vec<serde_json::Value> {
    let text = lines.text();
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines
        .filter(|line: &serde_json::Value| line["target"] == target)
        .collect()
}

#[tokio::test]
async fn a_line_says_who_asked_for_what_and_how_it_went() {
    let (lines, _guard) = logged();
    let shop = Shop::with(Limits::new(), |server| {
        server.access_log(AccessLog::new().ratio(1.0))
    })
    .await;
    let answer = shop
        .exchange(
            "GET /users/7?token=secret HTTP/1.1\r\nhost: a\r\nx-request-id: r-1\r\nconnection: close\r\n\r\n",
        )
        .await;
    assert!(answer.contains("\r\nx-request-id: r-1\r\n"), "{answer}");
    shop.close().await;
    let line = lines_of(&lines, "cortex_http::access").remove(0);
    let fields = [
        ("method", "GET"),
        ("route", "/users/{id}"),
        ("path", "/users/7"),
        ("protocol", "HTTP/1.1"),
        ("outcome", "ok"),
        ("request_id", "r-1"),
    ];
    let field = |name: &str| {
        if line[name].is_null() {
            line["fields"][name].clone()
        } else {
            line[name].clone()
        }
    };
    for (name, value) in fields {
        assert_eq!(field(name), value, "{name} of {line}");
    }
    assert_eq!(
        (field("status"), field("bytes_out")),
        (200.into(), 1.into()),
        "{line}"
    );
    assert!(
        field("peer")
            .as_str()
            .is_some_and(|peer| peer.starts_with("127.0.0.1:")),
        "{line}"
    );
    assert!(
        field("head_ms").as_f64() <= field("duration_ms").as_f64(),
        "{line}"
    );
    assert!(!lines.text().contains("secret"), "no query is logged");
}

#[tokio::test]
async fn a_share_of_zero_logs_what_failed_or_was_slow() {
    let (lines, _guard) = logged();
    let slow = Duration::from_hours(1);
    let shop = Shop::with(Limits::new(), |server| {
        server.access_log(AccessLog::new().slow(slow))
    })
    .await;
    for path in ["/", "/panic", "/nowhere"] {
        shop.get(path).await;
    }
    shop.close().await;
    let paths: Vec<_> = lines_of(&lines, "cortex_http::access")
        .iter()
        .map(|line| {
            if line["path"].is_null() {
                line["fields"]["path"].clone()
            } else {
                line["path"].clone()
            }
        })
        .collect();
    assert_eq!(paths, ["/panic"]);
}

#[tokio::test]
async fn an_id_is_made_where_it_is_asked_for_and_the_handler_sees_it() {
    let of = async |ids| {
        let routes = Routes::new().route("/", get(async |id: RequestId| id.to_string()));
        let running = Server::new(routes)
            .request_ids(ids)
            .start("127.0.0.1:0")
            .await
            .expect("it starts");
        let answer = get_from(running.local_addr(), "/").await;
        running.shutdown();
        within(running.join()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let sent = head
            .lines()
            .find_map(|line| line.strip_prefix("x-request-id: ").map(str::to_owned));
        (sent, body.to_owned())
    };
    assert_eq!(of(RequestIds::given()).await, (None, "-".to_owned()));
    assert_eq!(of(RequestIds::off()).await, (None, "-".to_owned()));
    let (sent, seen) = of(RequestIds::made()).await;
    assert!(
        seen.len() == 32 && sent.as_deref() == Some(&*seen),
        "{sent:?} {seen}"
    );
}

#[tokio::test]
async fn handlers_see_the_id_of_the_header_that_the_service_takes() {
    let of = async |ids: RequestIds, header: &str| {
        let routes = Routes::new().route("/", get(async |id: RequestId| id.to_string()));
        let gates = Gates::default();
        let shop = Shop::with_routes(routes, gates, |server| server.request_ids(ids)).await;
        let asked = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{header}\r\n");
        let answer = shop.exchange(asked).await;
        shop.close().await;
        answer.split_once("\r\n\r\n").expect("an answer").1.to_owned()
    };
    let renamed = |ids: RequestIds| ids.header(HeaderName::from_static("x-correlation-id"));
    let (ours, usual) = ("x-correlation-id: 7\r\n", "x-request-id: 8\r\n");
    for ids in [RequestIds::given(), RequestIds::off(), RequestIds::made()] {
        assert_eq!(of(ids.clone(), usual).await, "8");
        assert_eq!(
            of(renamed(ids.clone()), &format!("{usual}{ours}")).await,
            "7",
            "{ids:?}"
        );
    }
    assert_eq!(of(renamed(RequestIds::given()), usual).await, "-");
    assert_eq!(of(renamed(RequestIds::made()), usual).await.len(), 32);
}

/// A sampler with a bug.
struct Panics;

impl Sampler for Panics {
    fn intent(&self, _: &SampleParams<'_>) -> SamplingIntent {
        panic!("a bug of the sampler")
    }
}

#[tokio::test]
async fn a_sampler_that_panics_costs_a_request_its_span_and_nothing_else() {
    let tracer = Tracer::builder("shop").sampler(Panics).build().expect("a tracer");
    let shop = Shop::with(Limits::new(), |server| server.tracer(tracer)).await;
    for _ in 0..2 {
        let answer = shop.get("/").await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
            "{answer}"
        );
    }
    shop.close().await; // nothing is left in the gauge
}

#[tokio::test]
async fn a_flood_of_refusals_is_logged_by_its_share() {
    let (lines, _guard) = logged();
    let shop = Shop::with(Limits::new(), |server| {
        server.admission(ConcurrencyLimit::fixed(1))
    })
    .await;
    let gates = shop.gates.clone();
    let mut held = shop.connect().await;
    held.write_all(b"GET /stuck HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .expect("it is sent");
    gates.until_entered().await;
    for _ in 0..20 {
        assert!(shop.get("/").await.starts_with("HTTP/1.1 503"));
    }
    gates.release.notify_one();
    read_to_end(&mut held).await;
    shop.close().await;
    assert!(
        lines_of(&lines, "cortex_http::access").is_empty(),
        "{}",
        lines.text()
    );
}

#[tokio::test]
async fn what_the_client_alone_causes_is_logged_by_its_share() {
    let of = async |log: AccessLog| {
        let (lines, _guard) = logged();
        let limits = Limits::new().body_bytes(16);
        let shop = Shop::with(limits, |server| server.access_log(log)).await;
        for asked in [
            "GET / HTTP/1.1\r\nhost: a\r\nx-request-timeout-ms: 0\r\nconnection: close\r\n\r\n",
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 17\r\n\r\n",
            "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n11\r\n0123456789abcdefg\r\n",
            // Its body does not come in the time that it gives itself.
            "POST /echo HTTP/1.1\r\nhost: a\r\nx-request-timeout-ms: 1\r\ncontent-length: 1\r\n\r\n",
            // The service was too slow for this one, whoever thought it up.
            "GET /stuck HTTP/1.1\r\nhost: a\r\nx-request-timeout-ms: 1\r\n\r\n",
        ] {
            let mut socket = shop.connect().await;
            socket.write_all(asked.as_bytes()).await.expect("it is sent");
            read_until(&mut socket, "}").await;
        }
        shop.close().await;
        let field = |line: &serde_json::Value, name: &str| {
            let value = if line[name].is_null() {
                &line["fields"][name]
            } else {
                &line[name]
            };
            value.as_str().unwrap_or_default().to_owned()
        };
        let lines = lines_of(&lines, "cortex_http::access");
        let lines = lines
            .iter()
            .map(|line| format!("{} {}", field(line, "path"), field(line, "outcome")));
        lines.collect::<Vec<_>>()
    };
    let log = AccessLog::new().slow(Duration::from_hours(1));
    assert_eq!(of(log).await, ["/stuck deadline"]);
    assert_eq!(
        of(log.ratio(1.0)).await,
        [
            "/ deadline",
            "/echo too_large",
            "/echo too_large",
            "/echo timeout",
            "/stuck deadline"
        ]
    );
}
