//! Trees for people.

use std::time::Duration;

use cortex_core::{Clock, Context, Flags, SpanId, TraceId};
use cortex_testkit::{ManualClock, Recorder};
use cortex_trace::propagation::{Remote, TraceState};
use cortex_trace::{AlwaysOn, Attribute, Console, Exporter, ServerEnd, ServerStart, Span, Tracer};
use expect_test::expect;
use http::{HeaderMap, Method, StatusCode};

use crate::support::{AGES, Fixture};

struct Screen {
    tracer: Tracer,
    clock: ManualClock,
    output: Recorder,
}

impl Screen {
    fn new(colour: bool) -> Self {
        let (clock, output) = (ManualClock::new(), Recorder::new());
        let tracer = Tracer::builder("shop")
            .sampler(AlwaysOn)
            .clock(clock.clone())
            .queue_capacity(100_000)
            .batch_delay(Duration::from_hours(1))
            .export(Console::new(output.clone()).colour(colour))
            .build()
            .unwrap();
        Self {
            tracer,
            clock,
            output,
        }
    }

    fn start(&self, name: &'static str, parent: Context) -> Span {
        self.tracer.span(name).parent(parent).start()
    }

    fn flushed(&self) -> String {
        self.tracer.flush_blocking(AGES).unwrap();
        without_ids(&self.output.text())
    }

    fn ended(self) -> String {
        self.tracer.shutdown_blocking(AGES).unwrap();
        without_ids(&self.output.text())
    }

    fn pass(&self, micros: u64) {
        self.clock.advance(Duration::from_micros(micros));
    }
}

/// Trace ids are random.
fn without_ids(text: &str) -> String {
    let mut pieces = text.split("trace ");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (id, rest) = piece.split_at(32);
        assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        shown.push_str("trace <id>");
        shown.push_str(rest);
    }
    shown
}

#[test]
fn a_request_is_a_tree() {
    let screen = Screen::new(false);
    let start = ServerStart {
        method: &Method::POST,
        path: "/checkout",
        start: screen.clock.now(),
    };
    let mut server = screen.tracer.server(&HeaderMap::new(), start);
    server.set_route("/checkout");
    screen.pass(150);
    let cart = screen.start("load cart", server.context());
    let mut rows = screen.start("read rows", cart.context());
    screen.pass(2_340);
    rows.add_event_with("cache miss", [Attribute::new("key", 7)]);
    rows.set_attribute("rows", 3);
    drop((rows, cart));
    let mut pay = screen.start("pay", server.context());
    pay.add_event("retry");
    let mut call = screen.start("POST", pay.context());
    screen.pass(1_200_000);
    call.set_response_status(StatusCode::BAD_GATEWAY);
    drop((call, pay));
    server.finish(ServerEnd {
        status: Some(502),
        end: screen.clock.now(),
        error: None,
    });
    let shown = screen.flushed();
    expect![[r#"
        POST /checkout 1.20s ERROR 502 http.request.method=POST url.path=/checkout url.scheme=http http.route=/checkout http.response.status_code=502  trace <id>
        ├─ load cart 2.34ms
        │  └─ read rows 2.34ms rows=3
        │        • cache miss +2.34ms
        └─ pay 1.20s
           │  • retry +0ns
           └─ POST 1.20s ERROR 502 http.response.status_code=502
    "#]].assert_eq(&shown);
    assert_eq!(screen.ended(), shown);
}

#[test]
fn colour_marks_names_and_errors() {
    let screen = Screen::new(true);
    let mut root = screen.start("job", Context::new());
    let mut child = screen.start("step", root.context());
    child.set_error("timeout");
    child.end();
    root.set_attribute("a", 1);
    root.end();
    expect![[r#"
        ESC[1mjobESC[0m 0nsESC[2m a=1ESC[0mESC[2m  trace <id>ESC[0m
        └─ ESC[31mstepESC[0m 0ns ESC[31mERROR timeoutESC[0m
    "#]]
    .assert_eq(&screen.ended().replace('\u{1b}', "ESC"));
}

#[test]
fn what_others_send_cannot_reach_the_terminal() {
    let screen = Screen::new(false);
    let mut root = screen.tracer.span("name\u{1b}[2J\n".to_owned()).start();
    root.set_attribute("key\r", format!("value\u{7}\u{9b}{}", "x".repeat(300)));
    root.add_event("event\u{8}");
    root.set_error("kind\t");
    root.end();
    expect![[r#"
        name\u{1b}[2J\n 0ns ERROR kind\t key\r=value\u{7}\u{9b}xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…  trace <id>
           • event\u{8} +0ns
    "#]].assert_eq(&screen.ended());
}

#[test]
fn two_requests_of_one_trace_are_two_trees() {
    let screen = Screen::new(false);
    let caller = || {
        let ids = TraceId::new(7).zip(SpanId::new(7)).unwrap();
        Remote::new(ids.0, ids.1, Flags::SAMPLED, TraceState::EMPTY)
    };
    let first = screen.tracer.span("first").remote(caller()).start();
    let second = screen.tracer.span("second").remote(caller()).start();
    screen.start("in first", first.context()).end();
    screen.start("in second", second.context()).end();
    drop(second);
    drop(first);
    expect![[r#"
        second 0ns  trace <id>
        └─ in second 0ns
        first 0ns  trace <id>
        └─ in first 0ns
    "#]]
    .assert_eq(&screen.ended());
}

/// A console without a queue and a thread in front of it.
struct Direct {
    fixture: Fixture,
    console: Console,
    output: Recorder,
}

impl Direct {
    fn new() -> Self {
        let output = Recorder::new();
        Self {
            fixture: Fixture::with(|builder| builder.sampler(AlwaysOn).queue_capacity(100_000)),
            console: Console::new(output.clone()),
            output,
        }
    }

    fn start(&self, name: &'static str, parent: Context) -> Span {
        self.fixture.tracer.span(name).parent(parent).start()
    }

    /// Returns what the spans that have ended show.
    fn shown(&mut self) -> String {
        self.console
            .export(&self.fixture.ended().iter().collect::<Vec<_>>())
            .unwrap();
        without_ids(&String::from_utf8(self.output.take()).unwrap())
    }

    fn flushed(&mut self) -> String {
        self.console.flush().unwrap();
        without_ids(&String::from_utf8(self.output.take()).unwrap())
    }
}

#[test]
fn nothing_is_shown_before_the_root_ends_unless_it_is_flushed() {
    let mut direct = Direct::new();
    let root = direct.start("root", Context::new());
    direct.start("first", root.context()).end();
    assert_eq!(direct.shown(), "");
    assert_eq!(
        direct.flushed(),
        "first 0ns  trace <id> (apart from its parent)\n"
    );
    direct.start("second", root.context()).end();
    assert_eq!((direct.flushed(), direct.shown()), (String::new(), String::new()));
    root.end();
    assert_eq!(direct.shown(), "root 0ns  trace <id>\n└─ second 0ns\n");
    assert_eq!(direct.flushed(), "");
}

#[test]
fn what_ends_after_its_root_is_shown_when_nothing_else_comes() {
    let mut direct = Direct::new();
    let root = direct.start("root", Context::new());
    let late = direct.start("late", root.context());
    let later = direct.start("below it", late.context());
    drop(root);
    assert_eq!(direct.shown(), "root 0ns  trace <id>\n");
    drop((later, late));
    assert_eq!(direct.shown(), "");
    let other_after = |direct: &mut Direct, seconds| {
        direct.fixture.clock.advance(Duration::from_secs(seconds));
        direct.start("other", Context::new()).end();
        direct.shown()
    };
    assert_eq!(other_after(&mut direct, 29), "other 0ns  trace <id>\n");
    expect![[r#"
        other 0ns  trace <id>
        late 0ns  trace <id> (apart from its parent)
        └─ below it 0ns
    "#]]
    .assert_eq(&other_after(&mut direct, 1));
    assert_eq!(direct.flushed(), "");
}

#[test]
fn what_ends_after_its_root_is_shown_by_a_flush_and_at_the_end() {
    let screen = Screen::new(false);
    let root = screen.start("root", Context::new());
    let (late, latest) = (
        screen.start("late", root.context()),
        screen.start("latest", root.context()),
    );
    drop(root);
    assert_eq!(screen.flushed(), "root 0ns  trace <id>\n");
    drop(late);
    let shown = screen.flushed();
    assert!(
        shown.ends_with("\nlate 0ns  trace <id> (apart from its parent)\n"),
        "{shown}"
    );
    drop(latest);
    let shown = screen.ended();
    assert!(
        shown.ends_with("\nlatest 0ns  trace <id> (apart from its parent)\n"),
        "{shown}"
    );
}

#[test]
fn memory_is_bounded() {
    let mut direct = Direct::new();
    let endless = direct.start("endless", Context::new());
    for _ in 0..4096 {
        direct.start("step", endless.context()).end();
    }
    assert_eq!(direct.shown(), "");
    direct.start("one more", endless.context()).end();
    let shown = direct.shown();
    assert_eq!(shown.lines().count(), 4097);
    assert!(shown.ends_with("one more 0ns  trace <id> (apart from its parent)\n"));
    drop(endless);
    assert_eq!(direct.shown(), "endless 0ns  trace <id>\n");
}

#[test]
fn a_deep_trace_does_not_need_a_deep_stack() {
    let screen = Screen::new(false);
    let mut chain = vec![screen.start("root", Context::new())];
    for _ in 0..3000 {
        chain.push(screen.start("down", chain[chain.len() - 1].context()));
    }
    while chain.pop().is_some() {}
    let shown = screen.ended();
    assert_eq!(shown.lines().count(), 3001);
    assert!(shown.lines().all(|line| line.chars().count() < 200));
}

#[test]
fn a_writer_that_fails_is_counted() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let tracer = Tracer::builder("shop")
        .export(Console::new(Closed))
        .build()
        .unwrap();
    tracer.span("job").start().end();
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(tracer.stats().failed, 1);
    assert!(format!("{:?}", Console::stderr()).starts_with("Console"));
}
