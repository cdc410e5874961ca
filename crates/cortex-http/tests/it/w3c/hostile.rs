use cortex_http::Limits;

use super::service::{
    CALLER, Continues, New, PARENT, Service, TRACE, check, following, row, shortened, states,
};

/// Nothing that a caller can put into these headers takes long, or harms the next request.
#[tokio::test]
async fn hostile_headers_cost_the_trace_at_most() {
    const SIZE: usize = 64 << 10;
    let many = |member: &str| member.repeat(SIZE / member.len());
    let (parent, state) = ("#traceparent-header", "#tracestate-header");
    let long = |value: String| {
        row(
            parent,
            &[format!("traceparent: {value}"), "tracestate: a=1".to_owned()],
            New,
            "",
        )
    };
    let known = format!("{TRACE}-{CALLER}-01");
    check(&[
        long(many("0")),
        long(many("-")),
        long(many("f")),
        long(format!("00-{known}{}", many("-0"))),
        long(many(&format!("00-{known},"))),
        // Of a version that may have more fields, however many.
        row(
            parent,
            &[format!("traceparent: 01-{known}-{}", many("x"))],
            Continues(1),
            "",
        ),
        states(state, &[many(",")], ""),
        states(state, &[many(" ,\t")], ""),
        states(state, &[many("a=1,")], ""),
        states(state, &[many("a")], ""),
        states(state, &[many("=")], ""),
        states(state, &[format!("a={}", many("v"))], ""),
        states(state, &[format!("a=1,{}", many(" "))], "a=1"),
        states(state, &[format!("{}a=1", many(","))], "a=1"),
        states(
            state,
            &[(0..5000)
                .map(|n| format!("k{n}={n}"))
                .collect::<Vec<_>>()
                .join(",")],
            "",
        ),
        states(state, &vec!["a=1"; 90], ""),
        states(state, &vec![","; 90], ""),
        states(state, &[vec![0xff; SIZE]], ""),
        states(state, &[b"\xf0\x9f\x92\xa9=1".repeat(1000)], ""),
    ])
    .await;
}

/// What is no header at all is refused before it gets here, and heads beyond the limit too; the service goes on.
#[tokio::test]
async fn what_is_not_http_is_refused() {
    let service = Service::with(following(), Limits::new()).await;
    for (line, status) in [
        (b"traceparent: 00-\0".to_vec(), "400"),
        (b"traceparent: 00\r\n -folded".to_vec(), "400"),
        (b"tracestate: a=\x7f".to_vec(), "400"),
        (b"tracestate: a=1\nb".to_vec(), "400"),
        (b"trace state: a=1".to_vec(), "400"),
        ([b"tracestate: ", &vec![b'a'; 64 << 10][..]].concat(), "431"),
    ] {
        let answer = service.answer(&[&line]).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{}: {answer}",
            shortened(&line)
        );
        let sent = service.sent(&[PARENT, "tracestate: a=1"]).await;
        assert_eq!(
            (sent.traceparent().0, sent.value("tracestate")),
            (TRACE, Some("a=1"))
        );
    }
    service.close().await;
}
