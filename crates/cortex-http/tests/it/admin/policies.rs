use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use cortex_http::{Acted, ActionError, ActionInput, Admin, ControlState, Controllable, Controls, Limits};
use cortex_resilience::adaptive::{AdaptiveLimit, Aimd};
use cortex_resilience::budget::Budget;
use cortex_resilience::bulkhead::Bulkhead;
use cortex_resilience::chaos::Chaos;
use cortex_resilience::circuit::{Breaker, State};
use cortex_resilience::fallback::Fallback;
use cortex_resilience::hedge::Hedge;
use cortex_resilience::load_shed::LoadShed;
use cortex_resilience::pipeline::Pipeline;
use cortex_resilience::rate_limit::{KeyedRateLimiter, RateLimiter};
use cortex_resilience::registry::Registry;
use cortex_resilience::retry::Retry;
use cortex_resilience::throttle::AdaptiveThrottle;
use cortex_resilience::timeout::Timeout;
use serde_json::{Value, json};

use super::client::{Answer, Ask};
use crate::support::{Shop, within};

/// An admin port with a part.
struct Port {
    shop: Shop,
    part: Part,
}

/// A part of an admin port.
struct Part {
    addr: SocketAddr,
    path: &'static str,
}

impl Deref for Port {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.part
    }
}

impl Port {
    async fn open(controls: &Controls, path: &'static str) -> Self {
        let admin = Admin::bind("127.0.0.1:0").controls(controls);
        let shop = Shop::with(Limits::new(), |server| server.admin(admin)).await;
        let addr = shop.running.admin_addr().expect("an admin port");
        let part = Part { addr, path };
        Self { shop, part }
    }
}

impl Part {
    const fn beside(&self, path: &'static str) -> Self {
        Self {
            addr: self.addr,
            path,
        }
    }

    async fn show(&self) -> Value {
        let answer = Ask::get(&format!("/controls/{}", self.path)).of(self.addr).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn act(&self, action: &str, body: &str) -> Answer {
        let ask = Ask::post(&format!("/controls/{}/{action}", self.path));
        let ask = if body.is_empty() { ask } else { ask.json(body) };
        ask.of(self.addr).await
    }

    async fn done(&self, action: &str, body: &str) -> Value {
        let answer = self.act(action, body).await;
        assert_eq!(answer.status, 200, "{action}: {answer:?}");
        answer.json()
    }

    /// Waits until what is forced has ended, which the port sees to.
    async fn until_ended(&self) -> Value {
        let ended = async {
            loop {
                let shown = self.show().await;
                if shown["expires_in_seconds"].is_null() {
                    return shown;
                }
            }
        };
        within(ended).await
    }
}

#[tokio::test]
async fn a_breaker_is_opened_closed_and_forced_for_a_time() {
    let breaker = Breaker::builder("payments").build().unwrap();
    breaker.try_acquire().unwrap().failure();
    let controls = Controls::new();
    controls.register("breaker", "payments", breaker.clone()).unwrap();
    let port = Port::open(&controls, "breaker/payments").await;
    let shown = port.show().await;
    assert_eq!(
        shown["actions"],
        json!([
            "open",
            "close",
            "half_open",
            "force_open",
            "disable",
            "metrics_only",
            "reset"
        ])
    );
    assert!(shown["inputs"].is_null(), "{shown}");
    assert_eq!(
        (&shown["state"], &shown["fields"]["failed"]),
        (&json!("closed"), &json!(1))
    );

    port.act("half_open", "").await.assert_problem(409, "half");
    port.act("close", r#"{"for_seconds": 9}"#)
        .await
        .assert_problem(400, "leave `for_seconds` out");
    let shown = port.done("open", r#"{"for_seconds": 90}"#).await;
    assert_eq!(shown["state"], "open");
    assert!(
        shown["fields"]["opens_for"]
            .as_f64()
            .is_some_and(|left| left > 60.0 && left <= 90.0)
    );
    assert_eq!(port.done("half_open", "").await["state"], "half_open");
    assert_eq!(port.done("close", "").await["state"], "closed");

    let shown = port.done("force_open", "").await;
    assert_eq!(shown["state"], "forced_open");
    let left = shown["expires_in_seconds"].as_u64().unwrap();
    assert!((590..=600).contains(&left), "ten minutes by itself: {left}");
    assert!(breaker.try_acquire().is_err());
    let shown = port.done("reset", "").await;
    assert_eq!(
        (&shown["state"], &shown["expires_in_seconds"]),
        (&json!("closed"), &Value::Null)
    );
    assert_eq!(shown["fields"]["total"], 0);

    // What was changed while it was forced ends with the first of it.
    assert_eq!(port.done("metrics_only", "").await["state"], "metrics_only");
    assert_eq!(
        port.done("disable", r#"{"for_seconds": 1}"#).await["state"],
        "disabled"
    );
    assert_eq!(port.until_ended().await["state"], "closed");
    // What somebody else has changed meanwhile stays.
    port.done("force_open", r#"{"for_seconds": 1}"#).await;
    breaker.disable();
    assert_eq!(port.show().await["expires_in_seconds"], Value::Null);
    // What it was before comes back.
    let shown = port.done("force_open", r#"{"for_seconds": 1}"#).await;
    assert_eq!(shown["state"], "forced_open");
    assert_eq!(port.until_ended().await["state"], "disabled");
    assert_eq!(breaker.state(), State::Disabled);
    port.shop.close().await;
}

#[tokio::test]
async fn a_circuit_that_was_open_before_it_was_forced_is_probed() {
    let breaker = Breaker::builder("search").build().unwrap();
    let controls = Controls::new();
    controls.register("breaker", "search", breaker.clone()).unwrap();
    let port = Port::open(&controls, "breaker/search").await;
    breaker.open().unwrap();
    port.done("force_open", r#"{"for_seconds": 1}"#).await;
    assert_eq!(port.until_ended().await["state"], "half_open");
    assert_eq!(breaker.state(), State::HalfOpen);
    port.shop.close().await;
}

#[tokio::test]
async fn a_rate_is_set_for_good_or_for_a_time() {
    let limiter = RateLimiter::builder("mail")
        .limit(3, Duration::from_mins(1))
        .burst(2)
        .build()
        .unwrap();
    let quota = limiter.snapshot().quota;
    let controls = Controls::new();
    controls.register("rate_limit", "mail", limiter.clone()).unwrap();
    let port = Port::open(&controls, "rate_limit/mail").await;
    let shown = port.show().await;
    assert_eq!(
        shown["inputs"],
        json!({"set_limit": {"count": "count", "period_seconds": "seconds", "burst": "count"}})
    );
    assert_eq!(
        (&shown["state"], &shown["fields"]["burst"]),
        (&json!("admitting"), &json!(2))
    );
    for (body, detail) in [
        ("", "`count`"),
        (r#"{"count": 0}"#, ""),
        (r#"{"count": 1.5}"#, "whole number"),
        (r#"{"count": -1}"#, "whole number"),
        (r#"{"count": "7"}"#, "has to be a number"),
        (r#"{"count": 7, "period_seconds": -1}"#, "a time in seconds"),
        (r#"{"count": 7, "period_seconds": 1e999}"#, "a time in seconds"),
        (r#"{"count": 7, "period": 1}"#, "there is no `period`"),
    ] {
        port.act("set_limit", body).await.assert_problem(400, detail);
        assert_eq!(limiter.snapshot().quota, quota, "{body}");
    }
    let set = r#"{"count": 10, "period_seconds": 0.5, "burst": 4, "for_seconds": 1}"#;
    let shown = port.done("set_limit", set).await;
    assert_eq!(shown["fields"]["interval"], 0.05);
    assert_eq!(shown["fields"]["burst"], 4);
    assert!(!shown["expires_in_seconds"].is_null());
    port.until_ended().await;
    assert_eq!(limiter.snapshot().quota, quota);
    let shown = port.done("set_limit", r#"{"count": 5}"#).await;
    assert_eq!(shown["fields"]["interval"], 0.2);
    assert_eq!(
        (&shown["fields"]["burst"], &shown["expires_in_seconds"]),
        (&json!(5), &Value::Null)
    );
    port.shop.close().await;
}

#[tokio::test]
async fn a_bulkhead_is_resized_and_comes_back() {
    let bulkhead = Bulkhead::builder("search")
        .max_concurrent(1)
        .queue(5)
        .build()
        .unwrap();
    let controls = Controls::new();
    controls.register("bulkhead", "search", bulkhead.clone()).unwrap();
    let port = Port::open(&controls, "bulkhead/search").await;
    let running = bulkhead.try_acquire_owned().unwrap();
    let waiting = tokio::spawn(bulkhead.acquire_owned());
    let until_waiting = async {
        while bulkhead.snapshot().waiting == 0 {
            tokio::task::yield_now().await;
        }
    };
    within(until_waiting).await;
    assert_eq!(port.show().await["state"], "full");
    port.act("set_max_concurrent", r#"{"max_concurrent": 0}"#)
        .await
        .assert_problem(400, "");
    let shown = port
        .done(
            "set_max_concurrent",
            r#"{"max_concurrent": 3, "for_seconds": 600}"#,
        )
        .await;
    assert_eq!(shown["fields"]["max_concurrent"], 3);
    let waited = within(waiting).await.unwrap().unwrap();
    port.done("set_max_concurrent", r#"{"max_concurrent": 2, "for_seconds": 1}"#)
        .await;
    let shown = port.until_ended().await;
    assert_eq!(shown["fields"]["max_concurrent"], 1, "as it was before both");
    drop((running, waited));
    port.shop.close().await;
}

#[tokio::test]
async fn chaos_is_switched_on_for_a_time() {
    let chaos = Chaos::builder("search").hang(0.5).build().unwrap();
    let controls = Controls::new();
    controls.register("chaos", "search", chaos.clone()).unwrap();
    let port = Port::open(&controls, "chaos/search").await;
    assert_eq!(port.show().await["state"], "off");
    let shown = port.done("on", "").await;
    assert_eq!(shown["state"], "on");
    assert!(
        shown["expires_in_seconds"]
            .as_u64()
            .is_some_and(|left| left <= 600)
    );
    assert_eq!(port.done("off", "").await["state"], "off");
    port.done("on", r#"{"for_seconds": 1}"#).await;
    assert!(chaos.is_enabled());
    assert_eq!(port.until_ended().await["state"], "off");
    assert!(!chaos.is_enabled());
    port.shop.close().await;
}

#[tokio::test]
async fn chaos_that_was_on_before_comes_back() {
    let chaos = Chaos::builder("search").hang(0.5).build().unwrap();
    chaos.enable();
    let controls = Controls::new();
    controls.register("chaos", "search", chaos.clone()).unwrap();
    let port = Port::open(&controls, "chaos/search").await;
    assert!(!port.done("on", r#"{"for_seconds": 1}"#).await["expires_in_seconds"].is_null());
    assert_eq!(port.until_ended().await["state"], "on");
    let shown = port.done("off", r#"{"for_seconds": 600}"#).await;
    assert_eq!(
        (&shown["state"], shown["expires_in_seconds"].is_null()),
        (&json!("off"), false)
    );
    // On and off are one thing: what was there before both is what comes back.
    assert_eq!(port.done("on", "").await["state"], "on");
    assert_eq!(port.done("off", r#"{"for_seconds": 1}"#).await["state"], "off");
    assert_eq!(port.until_ended().await["state"], "on");
    assert_eq!(port.done("off", "").await["expires_in_seconds"], Value::Null);
    assert!(!chaos.is_enabled());
    port.shop.close().await;
}

#[tokio::test]
async fn what_is_forced_is_forced_of_the_policy_however_often_it_is_there() {
    let payments = Pipeline::standard("payments").build().unwrap();
    let breaker = payments.stages().rest().rest().policy().clone();
    let controls = Controls::new();
    controls.register_pipeline("payments", &payments).unwrap();
    controls.register("breaker", "payments", breaker.clone()).unwrap();
    let port = Port::open(&controls, "breaker/payments").await;
    let same = port.beside("pipeline/payments.3-breaker");
    let left = |shown: &Value| shown["expires_in_seconds"].as_u64();

    port.done("force_open", "").await;
    assert!(left(&same.show().await).is_some_and(|left| left > 60));
    // What ends it through one of them ends it for all.
    same.done("close", "").await;
    assert_eq!(left(&port.show().await), None);

    // What replaces it through the other one takes its end over.
    same.done("force_open", "").await;
    port.done("metrics_only", r#"{"for_seconds": 30}"#).await;
    assert!(left(&same.show().await).is_some_and(|left| left < 60));
    port.done("metrics_only", r#"{"for_seconds": 1}"#).await;
    assert_eq!(same.until_ended().await["state"], "closed");
    assert_eq!(left(&port.show().await), None);

    // A part that is there anew is the policy that it was.
    port.done("force_open", "").await;
    assert!(controls.remove("breaker", "payments") && controls.remove("pipeline", "payments.3-breaker"));
    controls.register("breaker", "payments", breaker.clone()).unwrap();
    assert!(left(&port.show().await).is_some_and(|left| left > 60));
    port.done("disable", r#"{"for_seconds": 1}"#).await;
    assert_eq!(port.until_ended().await["state"], "closed");
    assert_eq!(breaker.state(), State::Closed);
    port.shop.close().await;
}

#[tokio::test]
async fn what_is_set_for_good_stays_though_it_was_forced_before() {
    let bulkhead = Bulkhead::builder("search").max_concurrent(1).build().unwrap();
    let controls = Controls::new();
    controls.register("bulkhead", "search", bulkhead.clone()).unwrap();
    controls.register("bulkhead", "again", bulkhead.clone()).unwrap();
    let port = Port::open(&controls, "bulkhead/search").await;
    let set = r#"{"max_concurrent": 3, "for_seconds": 30}"#;
    port.done("set_max_concurrent", set).await;
    let again = port.beside("bulkhead/again");
    let shown = again.done("set_max_concurrent", r#"{"max_concurrent": 3}"#).await;
    assert_eq!(shown["expires_in_seconds"], Value::Null);
    assert_eq!(port.show().await["expires_in_seconds"], Value::Null);
    assert_eq!(bulkhead.snapshot().max_concurrent, 3);
    port.shop.close().await;
}

/// A part of which two things can be forced, and a third one done.
#[derive(Default)]
struct Orders {
    paused: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    flushed: AtomicU32,
}

impl Controllable for Orders {
    fn state(&self) -> ControlState {
        ControlState::new("here")
            .field("paused", self.paused.load(Ordering::SeqCst))
            .field("silent", self.silent.load(Ordering::SeqCst))
            .field("flushed", self.flushed.load(Ordering::SeqCst))
    }

    fn actions(&self) -> &'static [&'static str] {
        &["pause", "resume", "silence", "flush"]
    }

    fn act_with(&self, action: &str, input: &ActionInput) -> Result<Acted, ActionError> {
        let (what, flag) = match action {
            "pause" => ("paused", &self.paused),
            "silence" => ("silent", &self.silent),
            "resume" => {
                self.paused.store(false, Ordering::SeqCst);
                return Ok(Acted::for_good("paused"));
            }
            _ => {
                self.flushed.fetch_add(1, Ordering::SeqCst);
                return Ok(Acted::done());
            }
        };
        flag.store(true, Ordering::SeqCst);
        let (still, undone) = (Arc::clone(flag), Arc::clone(flag));
        let term = input.expires_after().unwrap_or(Duration::from_mins(10));
        let is_so = move || still.load(Ordering::SeqCst);
        let undo = move || undone.store(false, Ordering::SeqCst);
        Ok(Acted::for_a_time(what, term, is_so, undo))
    }
}

#[tokio::test]
async fn what_is_done_besides_leaves_what_is_forced_alone() {
    let orders = Arc::new(Orders::default());
    let controls = Controls::new();
    controls.register("queue", "orders", Arc::clone(&orders)).unwrap();
    controls
        .register("queue", "the-same", Arc::clone(&orders))
        .unwrap();
    let port = Port::open(&controls, "queue/orders").await;
    let same = port.beside("queue/the-same");
    port.done("pause", r#"{"for_seconds": 30}"#).await;
    let shown = same.done("flush", "").await;
    assert_eq!(shown["fields"]["flushed"], 1);
    let shown = port.done("silence", "").await;
    assert!(
        shown["expires_in_seconds"].as_u64().is_some_and(|left| left < 60),
        "the first end"
    );
    port.done("pause", r#"{"for_seconds": 1}"#).await;
    let resumed = async {
        loop {
            let shown = same.show().await;
            if shown["fields"]["paused"] == false {
                return shown;
            }
        }
    };
    let shown = within(resumed).await;
    assert_eq!(shown["fields"]["silent"], true, "each has its own end");
    assert!(shown["expires_in_seconds"].as_u64().is_some_and(|left| left > 60));
    port.done("pause", "").await;
    let shown = port.done("resume", "").await;
    assert_eq!(
        (&shown["fields"]["paused"], &shown["fields"]["silent"]),
        (&json!(false), &json!(true))
    );
    assert!(!shown["expires_in_seconds"].is_null());
    port.shop.close().await;
}

#[tokio::test]
async fn every_policy_shows_how_it_is() {
    let controls = Controls::new();
    let budget = Budget::throttle(4, 0.1).unwrap();
    let retry = Retry::builder("a").budget(budget.clone()).build().unwrap();
    let limit = AdaptiveLimit::builder("a", Aimd::new(1..=1, Duration::from_secs(1)));
    let limit = limit.build().unwrap();
    let _only = limit.try_acquire_owned().unwrap();
    let timeout = Timeout::builder("a")
        .total(Duration::from_secs(2))
        .build()
        .unwrap();
    let keyed = KeyedRateLimiter::builder("a")
        .limit(1, Duration::from_secs(1))
        .build();
    let hosts: Registry<String, Breaker> = Registry::builder("a")
        .capacity(16)
        .build(|host: &String| Breaker::builder(host.as_str()).build().expect("it makes sense"))
        .unwrap();
    controls.register("adaptive_limit", "a", limit).unwrap();
    controls.register("budget", "a", budget).unwrap();
    controls
        .register("hedge", "a", Hedge::builder("a").build().unwrap())
        .unwrap();
    controls
        .register("fallback", "a", Fallback::builder("a").value(7).build())
        .unwrap();
    controls.register("keyed", "a", keyed.unwrap()).unwrap();
    let shed = LoadShed::builder("a").policy(|| true).build();
    controls.register("load_shed", "a", shed).unwrap();
    controls.register("registry", "a", hosts).unwrap();
    controls.register("retry", "a", retry).unwrap();
    let throttle = AdaptiveThrottle::builder("a").build().unwrap();
    controls.register("throttle", "a", throttle).unwrap();
    controls.register("timeout", "a", timeout.clone()).unwrap();
    let port = Port::open(&controls, "timeout/a").await;
    let list = Ask::get("/controls").of(port.addr).await.json();
    let list = list["controls"].as_array().unwrap();
    let states: Vec<_> = list
        .iter()
        .map(|part| {
            (
                part["kind"].as_str().unwrap(),
                part["state"].as_str().unwrap_or("-"),
            )
        })
        .collect();
    let expected = [
        ("adaptive_limit", "full"),
        ("budget", "allowing"),
        ("fallback", "ready"),
        ("hedge", "unlimited"),
        ("keyed", "admitting"),
        ("load_shed", "shedding"),
        ("registry", "open"),
        ("retry", "allowing"),
        ("throttle", "admitting"),
        ("timeout", "limiting"),
    ];
    assert_eq!(states, expected);
    assert_eq!(list[1]["fields"]["budget_level"], 4);
    assert_eq!(
        list[9]["fields"],
        json!({"of": "total", "time": 2, "timed_out": 0})
    );
    let shown = port
        .done("set_time", r#"{"time_seconds": 0.25, "for_seconds": 1}"#)
        .await;
    assert_eq!(shown["fields"]["time"], 0.25);
    assert_eq!(port.until_ended().await["fields"]["time"], 2);
    port.shop.close().await;
}

#[tokio::test]
async fn the_policies_of_a_pipeline_are_listed_in_order_and_acted_on() {
    let limiter = RateLimiter::builder("payments").limit(1000, Duration::from_secs(1));
    let limiter = limiter.build().unwrap();
    let payments = Pipeline::standard("payments")
        .rate_limit(limiter)
        .build()
        .unwrap();
    let controls = Controls::new();
    controls.register_pipeline("payments", &payments).unwrap();
    let taken = controls.register_pipeline("payments", &payments).unwrap_err();
    assert!(taken.to_string().contains("payments.1-rate_limit"), "{taken}");
    let search = Pipeline::outer_breaker("search").build().unwrap();
    controls
        .register("pipeline", "search.3-bulkhead", LoadShed::builder("a").build())
        .unwrap();
    controls.register_pipeline("search", &search).unwrap_err();
    assert_eq!(controls.len(), 6, "all of a pipeline or nothing");

    let port = Port::open(&controls, "pipeline/payments.4-breaker").await;
    let list = Ask::get("/controls").of(port.addr).await.json();
    let names: Vec<_> = list["controls"].as_array().unwrap()[..5]
        .iter()
        .map(|part| part["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "payments.1-rate_limit",
            "payments.2-timeout",
            "payments.3-retry",
            "payments.4-breaker",
            "payments.5-timeout"
        ]
    );
    let charge = async |_| Ok::<_, std::io::Error>(7);
    assert_eq!(payments.call(charge).await.unwrap(), 7);
    port.done("force_open", "").await;
    assert!(payments.call(charge).await.unwrap_err().rejected().is_some());
    port.done("close", "").await;
    assert_eq!(payments.call(charge).await.unwrap(), 7);
    assert_eq!(port.show().await["fields"]["ok"], 1);
    port.shop.close().await;
}
