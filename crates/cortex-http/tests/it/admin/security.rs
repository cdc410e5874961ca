use std::net::SocketAddr;

use cortex_health::{Access, Check, Detail, Health};
use cortex_http::{Admin, Controls, ErrorKind, Limits, Routes, Server};
use cortex_testkit::ManualClock;
use std::time::Duration;

use super::client::{Answer, Ask, TOKEN, VIEWER};
use crate::support::{Shop, within};

async fn shop(admin: Admin) -> (Shop, SocketAddr) {
    let health = Health::builder()
        .check(Check::from_fn("database", || async {
            Err::<(), _>("no route to db-7.internal")
        }))
        .build()
        .expect("a check");
    let admin = admin.controls(&Controls::new());
    let shop = Shop::with(Limits::new(), |server| server.health(health.clone()).admin(admin)).await;
    health.run_now("database").await.expect("it is run");
    let addr = shop.running.admin_addr().expect("an admin port");
    (shop, SocketAddr::from(([127, 0, 0, 1], addr.port())))
}

/// Each endpoint, who may ask and what they are answered: nobody in particular, a viewer, an operator, a guesser.
const MATRIX: [(&str, [u16; 4]); 10] = [
    ("GET /livez", [200, 200, 200, 200]),
    ("GET /startupz", [200, 200, 200, 200]),
    ("GET /readyz", [503, 503, 503, 503]),
    ("GET /health", [503, 503, 503, 503]),
    ("GET /metrics", [200, 200, 200, 200]),
    ("GET /", [200, 200, 200, 200]),
    ("GET /controls", [401, 200, 200, 401]),
    ("GET /controls/breaker/db", [401, 404, 404, 401]),
    ("POST /controls/breaker/db/reset", [401, 403, 404, 401]),
    ("POST /health/checks/nobody/run", [401, 403, 404, 401]),
];

#[tokio::test]
async fn with_tokens_only_probes_are_for_everybody_and_on_loopback_states_and_metrics_too() {
    for (bound, loopback) in [("127.0.0.1:0", true), ("0.0.0.0:0", false)] {
        let access = Access::new(Detail::Status).bearer(VIEWER).unwrap();
        let (shop, addr) = shop(Admin::bind(bound).detail(access).token(TOKEN).unwrap()).await;
        for (line, mut expected) in MATRIX {
            if !loopback && ["GET /health", "GET /metrics"].contains(&line) {
                (expected[0], expected[3]) = (401, 401);
            }
            let ask = || Ask::line(&format!("{line} HTTP/1.1"));
            let guess = ask().token("guess-0123456789abcdef");
            for (ask, expected) in [ask(), ask().token(VIEWER), ask().token(TOKEN), guess]
                .iter()
                .zip(expected)
            {
                let answer = ask.of(addr).await;
                assert_eq!(answer.status, expected, "{bound} {line} {answer:?}");
            }
        }
        assert_eq!(Ask::post("/drain").of(addr).await.status, 401);
        let probe = |path: &'static str| async move { Ask::get(path).of(addr).await.body };
        let verbose = probe("/readyz?verbose").await;
        assert_eq!(verbose.contains("database"), loopback, "{bound} {verbose}");
        for path in ["/health/ready", "/health/check/database"] {
            let status = Ask::get(path).of(addr).await.status;
            assert_eq!(status, if loopback { 503 } else { 401 }, "{bound} {path}");
        }
        shop.close().await;
    }
}

#[tokio::test]
async fn without_a_token_loopback_is_trusted_and_nothing_else_starts() {
    let (local, addr) = shop(Admin::bind("127.0.0.1:0")).await;
    assert_eq!(Ask::get("/controls").of(addr).await.status, 200);
    let run = Ask::post("/health/checks/database/run").of(addr).await;
    assert_eq!(run.status, 200, "{run:?}");
    // Who sends an Authorization everywhere is not refused for it.
    let scrape = Ask::get("/metrics").token("anything-0123456789").of(addr).await;
    assert_eq!(scrape.status, 200, "{scrape:?}");
    local.close().await;

    for admin in [
        Admin::bind("0.0.0.0:0"),
        Admin::bind("0.0.0.0:0")
            .detail(Detail::None)
            .probes("127.0.0.1:0"),
    ] {
        let server = Server::new(Routes::new()).admin(admin);
        let error = server.start("127.0.0.1:0").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Admin);
        let said = error.to_string();
        assert!(
            said.contains("Admin::token") && said.contains("Admin::probes"),
            "{said}"
        );
    }
    let viewers = Access::new(Detail::None).bearer(VIEWER).unwrap();
    let (viewed, addr) = shop(Admin::bind("0.0.0.0:0").detail(viewers)).await;
    assert_eq!(Ask::get("/metrics").token(VIEWER).of(addr).await.status, 200);
    Ask::post("/drain")
        .token(VIEWER)
        .of(addr)
        .await
        .assert_problem(403, "Admin::token");
    viewed.close().await;
}

#[tokio::test]
async fn tokens_open_details_and_are_not_shown() {
    let (shop, addr) = shop(Admin::bind("127.0.0.1:0").token(TOKEN).unwrap()).await;
    let report = |token: Option<&'static str>| async move {
        let ask = Ask::get("/health");
        let ask = token.map_or_else(|| Ask::get("/health"), |token| ask.token(token));
        ask.of(addr).await.body
    };
    assert!(!report(None).await.contains("db-7"));
    assert!(report(Some(TOKEN)).await.contains("db-7"));
    let index = Ask::get("/").token(TOKEN).of(addr).await;
    assert!(!index.body.contains(TOKEN) && !index.head.contains(TOKEN));
    let missing = Ask::get("/controls").of(addr).await;
    assert_eq!(
        missing.header("www-authenticate"),
        Some(r#"bearer realm="admin""#)
    );
    shop.close().await;
}

#[tokio::test]
async fn who_guesses_is_told_to_wait_and_who_has_the_token_is_heard_from_the_same_address() {
    let clock = ManualClock::new();
    let admin = Admin::bind("127.0.0.1:0").token(TOKEN).unwrap();
    let admin = admin.controls(&Controls::new());
    let shop = Shop::with(Limits::new(), |server| server.admin(admin).clock(clock.clone())).await;
    let addr = shop.running.admin_addr().unwrap();
    let guess = |path: &str, index: u32| Ask::get(path).token(&format!("guess-number-{index:07}"));
    for index in 0..20 {
        for path in ["/livez", "/metrics", "/nowhere"] {
            let (guessed, anybody) = (guess(path, index).of(addr).await, Ask::get(path).of(addr).await);
            assert_eq!(
                guessed.status, anybody.status,
                "a token opens nothing here: {path}"
            );
        }
    }
    for index in 0..10 {
        let answer = guess("/controls", index).of(addr).await;
        answer.assert_problem(401, "the token is wrong");
        assert!(
            answer
                .header("www-authenticate")
                .is_some_and(|value| value.contains("invalid_token"))
        );
    }
    let answer = guess("/controls", 11).of(addr).await;
    answer.assert_problem(429, "too many wrong tokens");
    assert_eq!(answer.header("retry-after"), Some("6"), "{answer:?}");
    for path in ["/livez", "/metrics"] {
        assert_eq!(guess(path, 12).of(addr).await.status, 200, "{path}");
    }
    assert_eq!(
        Ask::post("/controls/a/b/c").token(TOKEN).of(addr).await.status,
        404,
        "admitted"
    );
    let refused = |reason: &str| {
        shop.metric(&format!(
            "cortex_admin_refused_requests_total{{reason=\"{reason}\"}}"
        ))
    };
    assert!(refused("token") > 9.5 && refused("token") < 10.5);
    assert!(refused("guessing") > 0.5 && refused("guessing") < 1.5);
    clock.advance(Duration::from_secs(6));
    guess("/controls", 13)
        .of(addr)
        .await
        .assert_problem(401, "the token is wrong");
    assert_eq!(Ask::post("/drain").token(TOKEN).of(addr).await.status, 202);
    shop.close().await;
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_answered_421_and_an_address_is_not() {
    let admin = Admin::bind("127.0.0.1:0").host("Shop.Internal");
    let (shop, addr) = shop(admin).await;
    let asked = |host: Option<&'static str>, line: &'static str| async move {
        Ask::line(line).host(host).of(addr).await
    };
    for host in [
        "localhost:9090",
        "127.0.0.1",
        "10.0.0.9:1",
        "[::1]:9090",
        "shop.internal",
        "shop.internal.:9090",
    ] {
        let answer = asked(Some(host), "GET /livez HTTP/1.1").await;
        assert_eq!(answer.status, 200, "{host} {answer:?}");
    }
    for host in ["evil.example", "localhost.evil.example", ""] {
        for line in [
            "GET /livez HTTP/1.1",
            "GET /metrics HTTP/1.1",
            "GET / HTTP/1.1",
            "POST /drain HTTP/1.1",
        ] {
            asked(Some(host), line).await.assert_problem(421, "Admin::host");
        }
    }
    let absolute = asked(Some("localhost"), "GET http://evil.example/metrics HTTP/1.1").await;
    absolute.assert_problem(421, "evil.example");
    let old = asked(None, "GET /livez HTTP/1.0").await;
    assert_eq!(old.status, 200, "{old:?}");
    asked(None, "POST /drain HTTP/1.0")
        .await
        .assert_problem(421, "Host");
    asked(None, "GET /livez HTTP/1.1")
        .await
        .assert_problem(400, "Host");
    assert!(shop.metric("cortex_admin_refused_requests_total{reason=\"host\"}") > 13.5);
    asked(Some("x@localhost"), "GET /livez HTTP/1.1")
        .await
        .assert_problem(400, "Host");
    let two = Ask::get("/livez").header("host", "evil.example").of(addr).await;
    assert_eq!(two.status, 400, "{two:?}");
    assert_eq!(
        Ask::get("/readyz").of(addr).await.status,
        503,
        "not drained: that check fails"
    );
    let report = shop.close().await;
    assert_eq!(report.reason, "requested");
}

#[tokio::test]
async fn another_site_changes_nothing() {
    let (shop, addr) = shop(Admin::bind("127.0.0.1:0")).await;
    let drain = || Ask::post("/drain").host(Some("127.0.0.1:9090"));
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:9091"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        drain()
            .header(name, value)
            .of(addr)
            .await
            .assert_problem(403, "another site");
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let answer = drain().header("content-type", kind).of(addr).await;
        answer.assert_problem(415, "application/json");
    }
    assert_eq!(Ask::get("/livez").of(addr).await.status, 200);
    let (report, ours) = {
        let ours = drain()
            .header("origin", "http://127.0.0.1:9090")
            .header("sec-fetch-site", "same-origin")
            .of(addr)
            .await;
        (within(shop.running.join()).await, ours)
    };
    assert_eq!((ours.status, &*report.reason), (202, "POST /drain"));
}

#[tokio::test]
async fn wrong_methods_say_which_are_right() {
    let (shop, addr) = shop(Admin::bind("127.0.0.1:0")).await;
    for (line, allowed) in [
        ("POST /livez", "get,head"),
        ("DELETE /health", "get,head"),
        ("PUT /metrics", "get"),
        ("GET /drain", "post"),
        ("PUT /drain", "post"),
        ("GET /health/checks/database/run", "post"),
        ("DELETE /controls/a/b/c", "post"),
        ("POST /controls", "get,head"),
        ("OPTIONS /drain", "post"),
        ("TRACE /", "get,head"),
    ] {
        let answer = Ask::line(&format!("{line} HTTP/1.1")).of(addr).await;
        assert_eq!(answer.status, 405, "{line} {answer:?}");
        let allow = answer.header("allow").unwrap_or_default();
        assert!(allow.starts_with(allowed), "{line} {answer:?}");
    }
    Ask::get("/nowhere").of(addr).await.assert_problem(404, "");
    for target in [
        "OPTIONS *",
        "CONNECT localhost:80",
        "GET http://localhost/nowhere",
    ] {
        let answer = Ask::line(&format!("{target} HTTP/1.1")).of(addr).await;
        answer.assert_problem(404, "");
    }
    for path in ["/health/%ff", "/health/check/%ff", "/controls/%ff/x"] {
        Ask::get(path).of(addr).await.assert_problem(400, "UTF-8");
    }
    Ask::get("/env").of(addr).await.assert_problem(404, "");
    shop.close().await;
}

#[tokio::test]
async fn every_answer_tells_browsers_to_keep_their_hands_off() {
    let (shop, addr) = shop(Admin::bind("127.0.0.1:0")).await;
    let guarded = |answer: &Answer| {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(answer.header("access-control-allow-origin").is_none());
    };
    for path in [
        "/",
        "/livez",
        "/health",
        "/metrics",
        "/controls",
        "/nowhere",
        "/drain",
    ] {
        guarded(
            &Ask::get(path)
                .header("origin", "http://evil.example")
                .of(addr)
                .await,
        );
    }
    guarded(&Ask::get("/").host(Some("evil.example")).of(addr).await);
    let large = Ask::post("/controls/a/b/c").json(&format!("\"{}\"", "x".repeat(20_000)));
    let large = large.of(addr).await;
    assert_eq!(large.status, 413);
    guarded(&large);
    let page = Ask::get("/")
        .header("accept", "text/html,*/*;q=0.8")
        .of(addr)
        .await;
    assert!(
        page.header("content-type")
            .is_some_and(|kind| kind.starts_with("text/html"))
    );
    assert!(
        page.body.contains("<a href=\"/metrics\">") && page.body.contains("<li>POST /drain</li>"),
        "{page:?}"
    );
    let text = Ask::get("/").of(addr).await;
    assert!(text.body.lines().any(|line| line == "/controls"), "{text:?}");
    shop.close().await;
}

#[tokio::test]
async fn large_and_slow_requests_are_bounded() {
    let (shop, addr) = shop(Admin::bind("127.0.0.1:0")).await;
    let large = Ask::post("/controls/a/b/c").json(&format!("\"{}\"", "x".repeat(20_000)));
    assert_eq!(large.of(addr).await.status, 413);
    let head = Ask::get("/livez").header("x-large", &"x".repeat(20_000));
    assert_eq!(head.of(addr).await.status, 431);
    let path = format!("/health/check/{}", "x".repeat(8_000));
    assert_eq!(Ask::get(&path).of(addr).await.status, 404);
    shop.close().await;
}
