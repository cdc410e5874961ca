//! The `ot` member of `tracestate`, where samplers meet: `th` is the threshold that kept the trace, `rv` an explicit
//! randomness for trace ids without enough of it.

use cortex_core::TraceId;

use super::{Decision, Threshold};
use crate::propagation::TraceState;

const KEY: &str = "ot";
/// The most characters of a `tracestate` value.
const LENGTH: usize = 256;

/// Returns the 56 bits that decide: `rv`, or the low bits of the trace id.
#[inline]
pub(crate) fn randomness(tracestate: Option<&TraceState>, trace_id: TraceId) -> u64 {
    let explicit = match tracestate {
        Some(state) if !state.is_empty() => given_randomness(state),
        _ => None,
    };
    explicit.unwrap_or_else(|| {
        let low = trace_id.get() & u128::from(super::threshold::END - 1);
        u64::try_from(low).expect("invariant: 56 bits")
    })
}

/// Returns the randomness that the caller gave the trace apart from its id.
fn given_randomness(tracestate: &TraceState) -> Option<u64> {
    explicit(sub_value(tracestate.get(KEY)?, "rv")?)
}

/// Says whether the caller gave the trace a randomness apart from its id.
pub(super) fn has_randomness(tracestate: &TraceState) -> bool {
    given_randomness(tracestate).is_some()
}

/// Returns the threshold that the caller published.
pub(crate) fn threshold(tracestate: &TraceState) -> Option<Threshold> {
    Threshold::parse(sub_value(tracestate.get(KEY)?, "th")?)
}

/// Returns the `tracestate` to send on after a decision.
#[inline]
pub(crate) fn published(received: &TraceState, decision: Decision, trace_id: TraceId) -> TraceState {
    let threshold = match decision {
        Decision::RecordAndSample { threshold } => threshold,
        Decision::Drop | Decision::RecordOnly if received.is_empty() => return TraceState::EMPTY,
        // It passes only if it agrees with the flag.
        Decision::Drop | Decision::RecordOnly => {
            threshold(received).filter(|threshold| !threshold.keeps(randomness(Some(received), trace_id)))
        }
    };
    with_threshold(received, threshold)
}

fn with_threshold(received: &TraceState, threshold: Option<Threshold>) -> TraceState {
    let value = received.get(KEY).unwrap_or_default();
    let mut wanted = threshold.map(|threshold| format!("th:{threshold}"));
    if wanted.as_deref() == value.split(';').find(|part| is_key(part, "th")) {
        return received.clone();
    }
    // Before all others: without it callees would decide by other bits. One that decides nothing here goes.
    let rv = sub_value(value, "rv").filter(|digits| explicit(digits).is_some());
    let rv = rv.map(|digits| format!("rv:{digits}"));
    let others = value.split(';');
    let others = others.filter(|part| !part.is_empty() && !is_key(part, "th") && !is_key(part, "rv"));
    for part in rv.as_deref().into_iter().chain(others) {
        match &mut wanted {
            None => wanted = Some(part.to_owned()),
            Some(wanted) if wanted.len() + 1 + part.len() <= LENGTH => {
                wanted.push(';');
                wanted.push_str(part);
            }
            Some(_) => {} // no room: our threshold is worth more than a key that nobody here knows
        }
    }
    // A value may hold spaces, but not at its end, where one of an inner part may have come to stand.
    match wanted.as_deref().map(str::trim_end) {
        None | Some("") => received.without(KEY),
        Some(wanted) => received
            .with(KEY, wanted)
            .expect("invariant: parts of a valid value and hex digits"),
    }
}

/// Reads the value of `rv`.
fn explicit(digits: &str) -> Option<u64> {
    Some(digits).filter(|digits| digits.len() == 14).and_then(hex)
}

/// Reads at most 16 lowercase hex digits; `u64::from_str_radix` would also take `+` and capitals.
pub(super) fn hex(digits: &str) -> Option<u64> {
    let lowercase = digits
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    lowercase.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

fn sub_value<'a>(value: &'a str, key: &str) -> Option<&'a str> {
    value
        .split(';')
        .find(|part| is_key(part, key))?
        .split_once(':')
        .map(|(_, value)| value)
}

fn is_key(part: &str, key: &str) -> bool {
    part.split_once(':').is_some_and(|(name, _)| name == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_was_received_can_be_sent_on(
            value in "([ a-d:;]|th:|rv:|;rv:9b8233f7e3a151|;y:x{60}){0,40}",
            end in "[!-+.-<>-~]",
            probability in 0.0_f64..1.1,
        ) {
            let value = &value[..value.len().min(LENGTH - 1)];
            let received: TraceState = format!("a=1,ot={value}{end},b=2").parse().unwrap();
            let threshold = Threshold::for_probability(probability);
            let sent = published(&received, Decision::RecordAndSample { threshold }, trace_id());
            prop_assert_eq!(super::threshold(&sent), threshold);
            prop_assert_eq!(randomness(Some(&sent), trace_id()), randomness(Some(&received), trace_id()));
            prop_assert_eq!((sent.get("a"), sent.get("b")), (Some("1"), Some("2")));
            let dropped = published(&received, Decision::Drop, trace_id());
            let randomness = randomness(Some(&received), trace_id());
            prop_assert!(super::threshold(&dropped).is_none_or(|threshold| !threshold.keeps(randomness)));
        }
    }

    fn trace_id() -> TraceId {
        TraceId::new(0xd2_0000_0000_0000).unwrap()
    }

    fn after(received: &str, decision: Decision) -> String {
        published(&received.parse().unwrap(), decision, trace_id()).to_string()
    }

    fn kept(th: &str) -> Decision {
        Decision::RecordAndSample {
            threshold: Threshold::parse(th),
        }
    }

    #[test]
    fn a_threshold_is_published_left_most() {
        assert_eq!(after("", kept("8")), "ot=th:8");
        assert_eq!(after("a=1", kept("0")), "ot=th:0,a=1");
        assert_eq!(after("a=1,ot=th:c,b=2", kept("8")), "ot=th:8,a=1,b=2");
    }

    #[test]
    fn unknown_keys_and_rv_stay() {
        let received = "a=1,ot=x:1;th:c;rv:d2000000000000;y:2";
        assert_eq!(
            after(received, kept("8")),
            "ot=th:8;rv:d2000000000000;x:1;y:2,a=1"
        );
        assert_eq!(
            after(received, Decision::RecordAndSample { threshold: None }),
            "ot=rv:d2000000000000;x:1;y:2,a=1"
        );
        assert_eq!(after("ot=odd;;x:1", kept("8")), "ot=th:8;odd;x:1");
    }

    #[test]
    fn a_full_member_never_loses_the_randomness() {
        let filler = "x".repeat(236);
        let received = format!("ot=x:{filler};rv:9b8233f7e3a151");
        assert_eq!(received.len() - "ot=".len(), 256);
        assert_eq!(after(&received, kept("8")), "ot=th:8;rv:9b8233f7e3a151");
        let room = format!("ot=x:{};rv:9b8233f7e3a151", &filler[5..]);
        assert_eq!(
            after(&room, kept("8")),
            format!("ot=th:8;rv:9b8233f7e3a151;x:{}", &filler[5..])
        );
    }

    #[test]
    fn what_is_no_randomness_does_not_become_one() {
        // The space makes it invalid, and would be lost at the end of the member.
        assert_eq!(after("ot=rv:9b8233f7e3a151 ;th:c", kept("8")), "ot=th:8");
        assert_eq!(after("ot=rv:0;rv:9b8233f7e3a151;x:1", kept("8")), "ot=th:8;x:1");
    }

    #[test]
    fn unchanged_nothing_moves() {
        assert_eq!(after("a=1,ot=x:1;th:8", kept("8")), "a=1,ot=x:1;th:8");
        assert_eq!(after("a=1,b=2", Decision::Drop), "a=1,b=2");
        assert_eq!(after("a=1", Decision::RecordAndSample { threshold: None }), "a=1");
        assert_eq!(after("", Decision::Drop), "");
    }

    #[test]
    fn on_drop_a_threshold_passes_only_if_it_agrees() {
        assert_eq!(after("a=1,ot=th:e", Decision::Drop), "a=1,ot=th:e");
        assert_eq!(after("a=1,ot=th:8", Decision::Drop), "a=1");
        assert_eq!(after("a=1,ot=th:8;x:1", Decision::Drop), "ot=x:1,a=1");
        assert_eq!(after("a=1,ot=th:WRONG", Decision::Drop), "a=1");
        assert_eq!(after("a=1,ot= ;th:8", Decision::Drop), "a=1");
    }

    #[test]
    fn a_full_member_gives_way_to_the_threshold() {
        let full = format!("ot=a:1;b:{}", "x".repeat(250));
        assert_eq!(after(&full, kept("8")), "ot=th:8;a:1");
        let spaces = format!("ot=a: ;b:{}", "x".repeat(249));
        assert_eq!(after(&spaces, kept("8")), "ot=th:8;a:");
    }

    #[test]
    fn randomness_is_rv_or_the_low_bits() {
        let id = TraceId::new(0x1111_1111_1111_1111_11ce_929d_0e0e_4736).unwrap();
        let of = |list: &str| randomness(Some(&list.parse().unwrap()), id);
        assert_eq!(randomness(None, id), 0xce_929d_0e0e_4736);
        assert_eq!(of("a=1,ot=th:8;rv:9b8233f7e3a151"), 0x9b_8233_f7e3_a151);
        for not_a_randomness in [
            "ot=rv:9b",
            "ot=rv:9B8233f7e3a151",
            "ot=rv:9b8233f7e3a1511",
            "ot=rv",
            "rv=1",
        ] {
            assert_eq!(of(not_a_randomness), 0xce_929d_0e0e_4736, "{not_a_randomness}");
        }
    }
}
