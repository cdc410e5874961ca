//! What the tests of logs share.

use cortex_core::{Context, Flags, SpanId, TraceId};
use cortex_testkit::{ManualClock, Recorder};
use cortex_trace::{JsonLogs, TextLogs};
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

pub(crate) type Writer = Box<dyn Fn() -> Recorder + Send + Sync>;

pub(crate) fn context() -> Context {
    let ids = TraceId::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736).zip(SpanId::new(0x00f0_67aa_0ba9_02b7));
    let (trace, span) = ids.unwrap();
    Context::new().with_span(trace, span, Flags::SAMPLED | Flags::RECORDING)
}

pub(crate) fn writer(output: &Recorder) -> Writer {
    let output = output.clone();
    Box::new(move || output.clone())
}

/// Returns what is logged meanwhile.
pub(crate) fn logged(work: impl FnOnce()) -> String {
    logged_by(|logs| logs, work)
}

/// Returns what a layer that is set up like this logs meanwhile.
pub(crate) fn logged_by(
    set_up: impl FnOnce(JsonLogs<Writer>) -> JsonLogs<Writer>,
    work: impl FnOnce(),
) -> String {
    let output = Recorder::new();
    let logs = set_up(JsonLogs::new(writer(&output)).clock(ManualClock::new()));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), work);
    output.text()
}

/// Returns what is logged as text meanwhile.
pub(crate) fn text_by(
    set_up: impl FnOnce(TextLogs<Writer>) -> TextLogs<Writer>,
    work: impl FnOnce(),
) -> String {
    let output = Recorder::new();
    let logs = set_up(TextLogs::new(writer(&output)).clock(ManualClock::new()));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), work);
    output.text()
}

/// Returns the one line that is logged meanwhile, and checks that no key stands in an object twice.
pub(crate) fn one(work: impl FnOnce()) -> Value {
    let text = logged(work);
    assert_eq!(text.lines().count(), 1, "{text}");
    read(&text)
}

pub(crate) fn read(line: &str) -> Value {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    // serde_json keeps the last of equal keys: written out again, a line with one is shorter.
    let again = serde_json::to_string(&value).unwrap();
    let colons = |text: &str| text.matches("\":").count();
    assert_eq!(colons(&again), colons(line), "{line}");
    value
}
