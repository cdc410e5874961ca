//! Log lines for people.

use std::io;

use cortex_trace::TextLogs;
use expect_test::expect;
use proptest::prelude::*;
use tracing::field::Empty;
use tracing::{debug, error, info, info_span, trace, warn};

use crate::log_support::{context, text_by};

fn text(work: impl FnOnce()) -> String {
    text_by(|logs| logs, work)
}

#[test]
fn a_line_says_when_where_and_what() {
    let text = text(|| {
        info!(target: "shop", "started");
        let _guard = context().attach();
        info!(target: "shop", items = 3, "restocked {}", "apples");
        warn!(target: "shop::cart", ratio = 0.5, big = u128::MAX, nan = f64::NAN, yes = true, "odd");
        error!(target: "shop", error = %io::Error::other("disk full"), path = ?"a b", by = "ann", at = "shelf 7");
        debug!(target: "shop", list = ?[1, 2], point = ?Some("x"), "d");
        trace!(target: "shop", "t");
    });
    expect![[r#"
        2026-01-01T00:00:00.000000Z  INFO shop: started
        2026-01-01T00:00:00.000000Z  INFO shop: restocked apples items=3 trace=4bf92f35
        2026-01-01T00:00:00.000000Z  WARN shop::cart: odd ratio=0.5 big=340282366920938463463374607431768211455 nan=NaN yes=true trace=4bf92f35
        2026-01-01T00:00:00.000000Z ERROR shop: error=disk full path="a b" by=ann at="shelf 7" trace=4bf92f35
        2026-01-01T00:00:00.000000Z DEBUG shop: d list=[1, 2] point=Some("x") trace=4bf92f35
        2026-01-01T00:00:00.000000Z TRACE shop: t trace=4bf92f35
    "#]]
    .assert_eq(&text);
}

#[test]
fn the_spans_around_it_are_a_path() {
    let text = text(|| {
        let _guard = context().attach();
        let outer = info_span!("request", method = "GET", user = Empty).entered();
        outer.record("user", "ann");
        let inner = info_span!("load cart");
        inner.in_scope(|| info!(target: "shop", rows = 2, "loaded"));
        outer.record("user", "bob");
        inner.in_scope(|| info!(target: "shop", "again"));
        info!(target: "shop", "outside");
        info!(target: "shop", parent: None, "apart");
    });
    expect![[r#"
        2026-01-01T00:00:00.000000Z  INFO shop: loaded rows=2 in request{method=GET user=ann}:"load cart" trace=4bf92f35
        2026-01-01T00:00:00.000000Z  INFO shop: again in request{method=GET user=bob}:"load cart" trace=4bf92f35
        2026-01-01T00:00:00.000000Z  INFO shop: outside in request{method=GET user=bob} trace=4bf92f35
        2026-01-01T00:00:00.000000Z  INFO shop: apart trace=4bf92f35
    "#]]
    .assert_eq(&text);
}

#[test]
fn of_many_spans_the_inner_ones_are_shown() {
    let text = text(|| {
        let spans: Vec<_> = (0..20).map(|depth| info_span!("s", depth).entered()).collect();
        info!(target: "shop", "deep");
        spans.into_iter().rev().for_each(drop);
    });
    assert!(text.contains(" in …:s{depth=4}:s{depth=5}:"), "{text}");
    assert!(text.ends_with(":s{depth=19}\n"), "{text}");
}

#[test]
fn the_message_stands_first_wherever_it_comes_from() {
    let text = text(|| info!(target: "shop", a = 1, message = "late", b = 2));
    assert!(text.ends_with(" INFO shop: late a=1 b=2\n"), "{text}");
}

#[test]
fn colour_is_only_where_it_was_asked_for() {
    let work = || info_span!("s", a = 1).in_scope(|| error!(target: "shop", b = 2, "bad"));
    assert!(!text(work).contains('\u{1b}'));
    let text = text_by(|logs| logs.colour(true), work);
    expect![[r#"
        "\u{1b}[2m2026-01-01T00:00:00.000000Z\u{1b}[0m\u{1b}[31m ERROR \u{1b}[0m\u{1b}[2mshop\u{1b}[0m: bad b=2\u{1b}[2m in s{a=1}\u{1b}[0m\n"
    "#]]
    .assert_eq(&format!("{text:?}\n"));
    assert!(format!("{:?}", TextLogs::stderr()).starts_with("TextLogs"));
}

#[test]
fn hostile_text_stays_on_its_line() {
    let text = text(|| {
        let span = info_span!("s", agent = "\u{1b}]0;owned\u{7}", rows = ?"\u{202e}");
        span.in_scope(|| {
            info!(target: "shop", raw = %"x\n2026-01-01T00:00:00Z ERROR shop: forged admin=true", "a\r\nb\u{9b}2J");
        });
    });
    expect![[r#"
        2026-01-01T00:00:00.000000Z  INFO shop: a\r\nb\u{9b}2J raw="x\n2026-01-01T00:00:00Z ERROR shop: forged admin=true" in s{agent="\u{1b}]0;owned\u{7}" rows="\u{202e}"}
    "#]]
    .assert_eq(&text);
}

proptest! {
    #[test]
    fn nothing_that_is_logged_makes_a_terminal_act(
        text in "(\\PC|\\p{Cc}|\\p{Cf}|[\"= ]){0,20}",
        message in "(\\PC|\\p{Cc}){0,20}",
    ) {
        let lines = text_by(|logs| logs, || {
            let span = info_span!("span", text, debug = ?text, rows = Empty);
            span.record("rows", text.as_str());
            span.in_scope(|| info!(text, debug = ?text, display = %text, "{message}"));
        });
        prop_assert_eq!(lines.matches('\n').count(), 1);
        let line = lines.trim_end_matches('\n');
        prop_assert!(!line.contains(|c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c)), "{}", line);
    }
}

#[test]
fn a_value_is_cut_and_says_so() {
    let long = "y".repeat(1 << 20);
    let text = text(|| {
        let _span = info_span!("s", kept = long).entered();
        info!(target: "shop", text = long, shown = %long, list = ?[&long], "{long}");
    });
    let cut = format!("{}…", "y".repeat(64 << 10));
    let list = format!("[\"{}…", "y".repeat((64 << 10) - 2));
    let expected = format!(
        "2026-01-01T00:00:00.000000Z  INFO shop: {cut} text={cut} shown={cut} list={list} in s{{kept={cut}}}\n"
    );
    assert!(text == expected, "{} bytes", text.len());
}
