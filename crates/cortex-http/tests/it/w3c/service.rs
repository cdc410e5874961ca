#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use axum::routing::get;
use cortex_http::{Limits, Routes, Running, Server};
use cortex_trace::propagation::Baggage;
use cortex_trace::{Captured, ParentBased, SampleParams, Sampler, SamplingIntent, Tracer};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{read_to_end, within};

pub(super) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(super) const CALLER: &str = "00f067aa0ba902b7";
pub(super) const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A request, and what the service does with it.
pub(super) struct Row {
    clause: &'static str,
    /// Header lines as they are on the wire, without their ends.
    pub(super) lines: Vec<Vec<u8>>,
    trace: Trace,
    /// The one `tracestate` of the outgoing request.
    state: Option<String>,
    /// Its one `baggage`.
    baggage: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trace {
    /// The caller's trace goes on, with these flags.
    Continues(u8),
    /// A trace of our own starts.
    New,
}

pub(super) use Trace::{Continues, New};

pub(super) fn row<L: AsRef<[u8]>>(clause: &'static str, lines: &[L], trace: Trace, state: &str) -> Row {
    Row {
        clause,
        lines: lines.iter().map(|line| line.as_ref().to_vec()).collect(),
        trace,
        state: filled(state),
        baggage: None,
    }
}

fn filled(value: &str) -> Option<String> {
    Some(value).filter(|value| !value.is_empty()).map(str::to_owned)
}

/// A request with this `traceparent` and `tracestate: a=1`, which goes where the trace goes.
pub(super) fn parent(clause: &'static str, value: &str, trace: Trace) -> Row {
    let state = if trace == New { "" } else { "a=1" };
    let lines = [format!("traceparent: {value}"), "tracestate: a=1".to_owned()];
    row(clause, &lines, trace, state)
}

/// A request with a valid `traceparent`, and these values of `tracestate`.
pub(super) fn states<L: AsRef<[u8]>>(clause: &'static str, values: &[L], state: &str) -> Row {
    let mut lines = vec![PARENT.as_bytes().to_vec()];
    lines.extend(
        values
            .iter()
            .map(|value| [b"tracestate: ", value.as_ref()].concat()),
    );
    row(clause, &lines, Continues(1), state)
}

/// Requests with these values of `baggage`: one alone, and one with a trace, of which baggage is independent.
pub(super) fn baggage<L: AsRef<[u8]>>(clause: &'static str, values: &[L], baggage: &str) -> [Row; 2] {
    let values = values.iter();
    let lines: Vec<_> = values
        .map(|value| [b"baggage: ", value.as_ref()].concat())
        .collect();
    let with_trace = [&[PARENT.as_bytes().to_vec()], &lines[..]].concat();
    [
        row(clause, &lines, New, ""),
        row(clause, &with_trace, Continues(1), ""),
    ]
    .map(|row| row.baggage(baggage))
}

/// What an outgoing request would carry.
#[derive(Debug)]
pub(super) struct Sent {
    text: String,
}

impl Sent {
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.text.lines().filter_map(|line| line.split_once(": "));
        fields
            .filter(|(field, _)| *field == name)
            .map(|(_, value)| value)
            .collect()
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() < 2, "{name} is sent once: {self:?}");
        values.first().copied()
    }

    /// Checks the form of the `traceparent`, and returns trace id, parent id and flags.
    pub(super) fn traceparent(&self) -> (&str, &str, u8) {
        let value = self.value("traceparent").unwrap();
        assert_eq!(value.len(), 55, "{value}");
        let parts: Vec<&str> = value.split('-').collect();
        let ["00", trace, parent, flags] = parts.as_slice() else {
            panic!("not version 00: {value}")
        };
        let is_id = |id: &str, digits: usize| {
            id.len() == digits
                && id.chars().all(|c| "0123456789abcdef".contains(c))
                && id.chars().any(|c| c != '0')
        };
        assert!(
            is_id(trace, 32) && is_id(parent, 16) && flags.len() == 2,
            "{value}"
        );
        (trace, parent, u8::from_str_radix(flags, 16).unwrap())
    }
}

/// More than any row here has.
pub(super) fn roomy() -> Limits {
    Limits::new().header_bytes(256 << 10)
}

pub(super) struct Service {
    running: Running,
}

impl Service {
    pub(super) async fn open(tracer: Tracer) -> Self {
        Self::with(tracer, roomy()).await
    }

    pub(super) async fn with(tracer: Tracer, limits: Limits) -> Self {
        Self::changing(tracer, limits, |_| {}).await
    }

    /// Opens a service whose handler changes the baggage before it calls.
    pub(super) async fn changing(tracer: Tracer, limits: Limits, change: fn(&mut Baggage)) -> Self {
        let calling = tracer.clone();
        let handler = move || {
            let tracer = calling.clone();
            async move {
                let mut baggage = Baggage::current();
                change(&mut baggage);
                let changed = Captured::current().with_baggage(baggage);
                changed.in_scope(|| call(&tracer))
            }
        };
        let server = Server::new(Routes::new().route("/", get(handler)))
            .tracer(tracer)
            .limits(limits);
        Self {
            running: server.start("127.0.0.1:0").await.unwrap(),
        }
    }

    /// Sends raw header lines over HTTP/1.1, and returns the whole answer.
    pub(super) async fn answer(&self, lines: &[impl AsRef<[u8]>]) -> String {
        let mut request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n".to_vec();
        for line in lines {
            request.extend_from_slice(line.as_ref());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        let mut socket = TcpStream::connect(self.running.local_addr()).await.unwrap();
        socket.write_all(&request).await.unwrap();
        read_to_end(&mut socket).await
    }

    pub(super) async fn sent(&self, lines: &[impl AsRef<[u8]>]) -> Sent {
        let answer = self.answer(lines).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Sent {
            text: body.to_owned(),
        }
    }

    /// Sends the same fields over HTTP/2.
    async fn sent_by_http2(&self, fields: HeaderMap) -> Sent {
        let mut request = http::Request::get("http://test/")
            .body(axum::body::Body::empty())
            .unwrap();
        *request.headers_mut() = fields;
        let io = TokioIo::new(TcpStream::connect(self.running.local_addr()).await.unwrap());
        let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        let response = client.send_request(request).await.unwrap();
        assert_eq!(
            (response.status(), response.version()),
            (http::StatusCode::OK, http::Version::HTTP_2)
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        drop(client);
        within(connection).await.unwrap().unwrap();
        Sent {
            text: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    /// Checks every row over HTTP/1.1 and over HTTP/2.
    ///
    /// A row that HTTP/2 could not carry fails: what is left out in silence would not be missed.
    pub(super) async fn check(&self, rows: &[Row]) {
        for row in rows {
            let sent = self.sent(&row.lines).await;
            row.check(&sent, "HTTP/1.1");
            let fields = fields_of_http2(&row.lines);
            let fields = fields.unwrap_or_else(|| panic!("no fields: {}", row.case("HTTP/2")));
            row.check(&self.sent_by_http2(fields).await, "HTTP/2");
        }
    }

    pub(super) async fn close(self) {
        self.running.shutdown();
        assert_eq!(within(self.running.join()).await.code(), 0);
    }
}

/// Returns lines as the fields that they are in HTTP/2; `None` if they cannot be any.
fn fields_of_http2(lines: &[Vec<u8>]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let value = HeaderValue::from_bytes(value).ok()?;
        fields.append(HeaderName::from_bytes(name).ok()?, value);
    }
    Some(fields)
}

impl Row {
    /// Expects this `baggage` in the outgoing request.
    pub(super) fn baggage(self, baggage: &str) -> Self {
        Self {
            baggage: filled(baggage),
            ..self
        }
    }

    fn case(&self, protocol: &str) -> String {
        let lines: Vec<_> = self.lines.iter().map(|line| shortened(line)).collect();
        format!("{}, {protocol}: {lines:#?}", self.clause)
    }

    fn check(&self, sent: &Sent, protocol: &str) {
        let case = self.case(protocol);
        let (trace, parent_id, flags) = sent.traceparent();
        assert_ne!(parent_id, CALLER, "{case}");
        match self.trace {
            Continues(expected) => assert_eq!((trace, flags), (TRACE, expected), "{case}"),
            // Of this tracer: recorded, with random bits.
            New => assert!(trace != TRACE && flags == 3, "{case}: {sent:?}"),
        }
        assert_eq!(sent.value("tracestate"), self.state.as_deref(), "{case}");
        assert_eq!(sent.value("baggage"), self.baggage.as_deref(), "{case}");
    }
}

pub(super) fn shortened(line: &[u8]) -> String {
    let start = &line[..line.len().min(200)];
    format!("{} ({} bytes)", start.escape_ascii(), line.len())
}

/// What the handler of every service here does: makes a client span, and tells what it would send.
fn call(tracer: &Tracer) -> String {
    let mut headers = HeaderMap::new();
    let uri = Uri::from_static("http://stock.internal/items/7");
    tracer.client(&Method::GET, &uri).inject(&mut headers);
    let lines = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
    lines.collect()
}

/// Follows its callers, and records every trace that starts here, without a threshold that would stand in `tracestate`.
pub(super) fn following() -> Tracer {
    struct Keep;
    impl Sampler for Keep {
        fn intent(&self, _: &SampleParams<'_>) -> SamplingIntent {
            SamplingIntent::Keep
        }
    }
    let sampler = ParentBased::root(Keep);
    Tracer::builder("w3c").sampler(sampler).build().unwrap()
}

pub(super) async fn check(rows: &[Row]) {
    let service = Service::open(following()).await;
    service.check(rows).await;
    service.close().await;
}
