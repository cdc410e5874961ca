use cortex_trace::{AlwaysOff, AlwaysOn, Tracer};

use super::service::{
    CALLER, Continues, New, PARENT, Row, Service, TRACE, check, following, parent, row, states,
};

//= https://www.w3.org/TR/trace-context-2/#header-name
//= type=test
//# That is, TRACEPARENT, TraceParent, and traceparent are considered the same header.
#[tokio::test]
async fn rule_1_names_come_in_any_case() {
    let named = |parent: &str, state: &str| {
        let lines = [
            format!("{parent}: 00-{TRACE}-{CALLER}-01"),
            format!("{state}: a=1"),
        ];
        row("#header-name", &lines, Continues(1), "a=1")
    };
    check(&[
        named("traceparent", "tracestate"),
        named("TRACEPARENT", "TRACESTATE"),
        named("TraceParent", "TraceState"),
        named("tRACEpARENT", "tRACEsTATE"),
        row(
            "#header-name",
            &[format!("trace-parent: 00-{TRACE}-{CALLER}-01")],
            New,
            "",
        ),
        row(
            "#header-name",
            &[format!("traceparent2: 00-{TRACE}-{CALLER}-01")],
            New,
            "",
        ),
    ])
    .await;
}

#[tokio::test]
async fn rule_2_traceparent_is_one_line() {
    let other = "traceparent: 00-11111111111111111111111111111111-2222222222222222-01";
    let state = "tracestate: a=1";
    let clause = "#traceparent-header";
    check(&[
        row(clause, &[PARENT, state], Continues(1), "a=1"),
        row(clause, &[PARENT, PARENT, state], New, ""),
        row(clause, &[PARENT, other, state], New, ""),
        row(clause, &[other, PARENT, state], New, ""),
        row(clause, &[PARENT, state, "TraceParent: 00-1-1-01"], New, ""),
        row(clause, &[PARENT, "traceparent:", state], New, ""),
        row(clause, &["traceparent:", PARENT, state], New, ""),
        row(clause, &[PARENT.as_bytes(), b"traceparent: \xff"], New, ""),
        row(clause, &[b"traceparent: \xff", PARENT.as_bytes()], New, ""),
        row(clause, &vec![PARENT; 90], New, ""),
        parent(
            clause,
            &format!("00-{TRACE}-{CALLER}-01, 00-{TRACE}-{CALLER}-01"),
            New,
        ),
        parent(clause, &format!(" \t 00-{TRACE}-{CALLER}-01 \t "), Continues(1)),
        parent(clause, &format!("\"00-{TRACE}-{CALLER}-01\""), New),
    ])
    .await;
}

//= https://www.w3.org/TR/trace-context-2/#version
//= type=test
//# Version 255 ("ff") is invalid.
//= https://www.w3.org/TR/trace-context-2/#versioning-of-traceparent
//= type=test
//# Vendors MUST check that the 2 characters are either at the end of the string or followed by a dash.
//= https://www.w3.org/TR/trace-context-2/#versioning-of-traceparent
//= type=test
//# Vendors MUST use these fields to construct the new traceparent field according to the highest version of the specification known to the implementation (in this specification it is 00).
#[tokio::test]
async fn rule_3_versions() {
    let (known, versions) = (format!("{TRACE}-{CALLER}-01"), "#versioning-of-traceparent");
    let with =
        |clause, version: &str, tail: &str, trace| parent(clause, &format!("{version}-{known}{tail}"), trace);
    check(&[
        with("#version", "00", "", Continues(1)),
        with("#version", "00", "-", New),
        with("#version", "00", "-what-the-future-will-be-like", New),
        with("#version", "00", "0", New),
        with("#version", "00", ".", New),
        with("#version", "ff", "", New),
        with("#version", "ff", "-more", New),
        with("#version", "FF", "", New),
        with("#version", "0G", "", New),
        with("#version", "+1", "", New),
        with("#version", "0", "", New),
        with("#version", "000", "", New),
        with("#version", "", "", New),
        with(versions, "01", "", Continues(1)),
        with(versions, "fe", "", Continues(1)),
        with(versions, "cc", "", Continues(1)),
        with(versions, "cc", "-", Continues(1)),
        with(versions, "cc", "-what-the-future-will-be-like", Continues(1)),
        with(versions, "cc", ".what-the-future-will-be-like", New),
        with(versions, "cc", "0", New),
        with(versions, "CC", "", New),
        parent(versions, &format!("cc-{TRACE}-{CALLER}-0"), New),
        parent(versions, &format!("cc-{TRACE}-{CALLER}-"), New),
        parent(versions, &format!("cc-{TRACE}-{CALLER}"), New),
        parent(versions, &format!("cc_{TRACE}-{CALLER}-01"), New),
    ])
    .await;
}

//= https://www.w3.org/TR/trace-context-2/#trace-id
//= type=test
//# All bytes as zero (00000000000000000000000000000000) is considered an invalid value.
//= https://www.w3.org/TR/trace-context-2/#parent-id
//= type=test
//# All bytes as zero (0000000000000000) is considered an invalid value.
#[tokio::test]
async fn rule_4_ids_are_lowercase_hex_and_not_zero() {
    let zeros = |digits| "0".repeat(digits);
    let ids = |clause, trace_id: &str, parent_id: &str| {
        parent(clause, &format!("00-{trace_id}-{parent_id}-01"), New)
    };
    let mut rows = vec![
        ids("#trace-id", &zeros(32), CALLER),
        ids("#trace-id", &TRACE.to_uppercase(), CALLER),
        ids("#trace-id", &TRACE[1..], CALLER),
        ids("#trace-id", &format!("{TRACE}0"), CALLER),
        ids("#trace-id", &TRACE.replace('4', "+"), CALLER),
        ids("#trace-id", &TRACE.replace('4', "g"), CALLER),
        ids("#trace-id", &TRACE.replace('4', " "), CALLER),
        ids("#trace-id", &TRACE.replace('4', "-"), CALLER),
        ids("#parent-id", TRACE, &zeros(16)),
        ids("#parent-id", TRACE, &CALLER.to_uppercase()),
        ids("#parent-id", TRACE, &CALLER[1..]),
        ids("#parent-id", TRACE, &format!("{CALLER}0")),
        ids("#parent-id", TRACE, &CALLER.replace('f', "x")),
        ids("#parent-id", &TRACE[1..], &format!("0{CALLER}")),
        parent(
            "#traceparent-header-field-values",
            &format!("00_{TRACE}-{CALLER}-01"),
            New,
        ),
        parent(
            "#traceparent-header-field-values",
            &format!("00-{TRACE}_{CALLER}-01"),
            New,
        ),
        parent(
            "#traceparent-header-field-values",
            &format!("00-{TRACE}-{CALLER}_01"),
            New,
        ),
        parent(
            "#traceparent-header-field-values",
            &format!("00{TRACE}{CALLER}01"),
            New,
        ),
    ];
    for flags in ["0A", "A0", "+1", "1", "001", "0g", " 1", "0x", "1 "] {
        rows.push(parent(
            "#trace-flags",
            &format!("00-{TRACE}-{CALLER}-{flags}"),
            New,
        ));
    }
    check(&rows).await;
}

//= https://www.w3.org/TR/trace-context-2/#trace-flags
//= type=test
//# As this is a bit field, the flags cannot be interpreted by a simple equality comparison.
//= https://www.w3.org/TR/trace-context-2/#other-flags
//= type=test
//# The behavior of other flags, such as (00000100) is not defined and is reserved for future use. Vendors MUST set those to zero.
#[tokio::test]
async fn rule_5_flags_are_bits() {
    // All of them: Level 1 knows bit 0 and Level 2 bit 1, and no other bit gets through.
    let rows: Vec<Row> = (0..=u8::MAX)
        .map(|flags| {
            parent(
                "#other-flags",
                &format!("00-{TRACE}-{CALLER}-{flags:02x}"),
                Continues(flags & 3),
            )
        })
        .collect();
    check(&rows).await;
}

//= https://www.w3.org/TR/trace-context-2/#tracestate-header
//= type=test
//# If the vendor failed to parse traceparent, it MUST NOT attempt to parse tracestate.
//= https://www.w3.org/TR/trace-context-2/#tracestate-header
//= type=test
//# Note that the opposite is not true: failure to parse tracestate MUST NOT affect the parsing of traceparent.
#[tokio::test]
async fn rule_6_without_a_valid_traceparent_a_trace_starts() {
    let clause = "#a-traceparent-is-not-received";
    check(&[
        row::<&str>(clause, &[], New, ""),
        row(clause, &["tracestate: a=1"], New, ""),
        row(clause, &["traceparent:", "tracestate: a=1"], New, ""),
        parent("#traceparent-header", "00", New),
        parent("#traceparent-header", "-", New),
        parent("#traceparent-header", "hello", New),
        states("#tracestate-header", &["a=1,=2"], ""),
        states("#tracestate-header", &["a"], ""),
        states("#tracestate-header", &[b"\xff\xfe"], ""),
    ])
    .await;
}

//= https://www.w3.org/TR/trace-context-2/#a-traceparent-is-received
//= type=test
//# The value of property parent-id MUST be set to a value representing the ID of the current operation.
#[tokio::test]
async fn rule_7_the_parent_is_the_current_operation() {
    let service = Service::open(following()).await;
    let mut seen = std::collections::HashSet::new();
    for flags in ["00", "01", "02", "03"] {
        for _ in 0..4 {
            let sent = service
                .sent(&[format!("traceparent: 00-{TRACE}-{CALLER}-{flags}")])
                .await;
            let (trace, parent_id, _) = sent.traceparent();
            assert_eq!(trace, TRACE);
            assert!(
                parent_id != CALLER && seen.insert(parent_id.to_owned()),
                "{sent:?}"
            );
        }
    }
    service.close().await;
}

//= https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
//= type=test
//# If the flag is unset in the incoming traceparent header, it MUST also be unset in any outgoing traceparent headers which use the same trace-id.
//= https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
//= type=test
//# When at least the right-most 7 bytes of the trace-id are randomly (or pseudo-randomly) generated, the random-trace-id flag SHOULD be set to 1.
#[tokio::test]
async fn rule_8_the_random_flag_stays_with_the_trace_id() {
    let received = |flags| vec![format!("traceparent: 00-{TRACE}-{CALLER}-{flags}")];
    for (tracer, flags) in [
        (following(), [0, 1, 2, 3]),
        // They decide by themselves about sampling, and neither may touch the other bit.
        (
            Tracer::builder("w3c").sampler(AlwaysOn).build().unwrap(),
            [1, 1, 3, 3],
        ),
        (
            Tracer::builder("w3c").sampler(AlwaysOff).build().unwrap(),
            [0, 0, 2, 2],
        ),
    ] {
        let service = Service::open(tracer).await;
        for (wire, expected) in ["00", "01", "02", "03"].into_iter().zip(flags) {
            assert_eq!(
                service.sent(&received(wire)).await.traceparent().2,
                expected,
                "{wire}"
            );
        }
        service.close().await;
    }
    for (sampler, flags) in [(true, 3), (false, 2)] {
        let builder = Tracer::builder("w3c");
        let builder = if sampler {
            builder.sampler(AlwaysOn)
        } else {
            builder.sampler(AlwaysOff)
        };
        let service = Service::open(builder.build().unwrap()).await;
        assert_eq!(service.sent(&[""; 0]).await.traceparent().2, flags);
        service.close().await;
    }
}

//= https://www.w3.org/TR/trace-context-2/#mutating-the-traceparent-field
//= type=test
//# If the value of the traceparent field wasn't changed before propagation, tracestate MUST NOT be modified as well.
//= https://www.w3.org/TR/trace-context-2/#mutating-the-traceparent-field
//= type=test
//# Vendors SHOULD clean up tracestate collection on traceparent restart.
#[tokio::test]
async fn rule_9_passing_through_and_starting_again() {
    let passing = Service::open(Tracer::propagate_only()).await;
    for flags in ["00", "01", "02", "03"] {
        let parent = format!("00-{TRACE}-{CALLER}-{flags}");
        for state in ["a=1", "b=2,ot=th:8;rv:d2000000000000,a=  1"] {
            let sent = passing
                .sent(&[format!("traceparent: {parent}"), format!("tracestate: {state}")])
                .await;
            assert_eq!(sent.values("traceparent"), [parent.as_str()]);
            assert_eq!(sent.values("tracestate"), [state]);
        }
    }
    let (_, _, flags) = passing.sent(&["tracestate: a=1"]).await.traceparent();
    assert_eq!(flags, 2, "new ids are random");
    passing.close().await;

    let restarting = Service::open(Tracer::builder("w3c").restart_traces().build().unwrap()).await;
    let trace = "#mutating-the-traceparent-field";
    let rows = [
        parent(trace, &format!("00-{TRACE}-{CALLER}-01"), New),
        parent(trace, &format!("00-{TRACE}-{CALLER}-00"), New),
    ];
    for row in &rows {
        let sent = restarting.sent(&row.lines).await;
        assert_ne!(sent.traceparent().0, TRACE);
        // A threshold of our own may stand there, nothing of the stranger's.
        assert!(
            sent.value("tracestate")
                .is_none_or(|state| !state.contains("a=1")),
            "{sent:?}"
        );
    }
    restarting.close().await;
}

//= https://www.w3.org/TR/trace-context-2/#trace-id
//= type=test
//# Implementers SHOULD use a trace-id generation method which randomly (or pseudo-randomly) generates at least the right-most 7 bytes of the ID.
#[tokio::test]
async fn rule_16_ids_tell_nothing() {
    let service = Service::open(following()).await;
    let mut seen = std::collections::HashSet::new();
    let (mut ones, requests) = (0, 64);
    for _ in 0..requests {
        let sent = service.sent(&[""; 0]).await;
        let (trace, parent_id, _) = sent.traceparent();
        let random = u64::from_str_radix(&trace[18..], 16).unwrap();
        ones += random.count_ones();
        assert!(
            seen.insert(random.to_string()) && seen.insert(parent_id.to_owned()),
            "{sent:?}"
        );
    }
    // Half of 56 * 64 bits, with a standard deviation of 30.
    assert!(ones.abs_diff(56 * requests / 2) < 240, "{ones}");
    service.close().await;
}
