use axum::Router;
use axum::body::Body;
use axum::http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Request, StatusCode};
use cortex_health::{Access, Check, Detail, Group, Health, router};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tower::ServiceExt;

fn app(detail: Detail) -> Router {
    let payments = Group::new("payments").unwrap();
    let check = Check::from_fn("db", || async {}).groups([Group::READY, payments]);
    router(&Health::builder().check(check).build().unwrap(), detail)
}

async fn ask(app: &Router, method: &str, path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let (head, body) = app.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        head.status,
        head.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn every_path_answers() {
    let app = app(Detail::None);
    for (path, status) in [
        ("/livez", 200), // not started
        ("/readyz", 503),
        ("/startupz", 503),
        ("/health", 503),
        ("/health/live", 200),
        ("/health/payments", 503),
        ("/health/check/db", 503),
        ("/health/nobody", 404),
        ("/health/check/nobody", 404),
        ("/health/check/%FF", 400), // no UTF-8
        ("/healthz", 404),
    ] {
        let (code, headers, body) = ask(&app, "GET", path).await;
        assert_eq!(code, status, "{path}");
        assert!(!body.contains("nobody"), "{path} echoes the name: {body}");
        let (head, _, nothing) = ask(&app, "HEAD", path).await;
        assert_eq!((head, &*nothing), (code, ""), "{path}");
        if code == 200 || code == 503 {
            assert_eq!(headers[CACHE_CONTROL], "no-store");
            assert_eq!(headers[CONTENT_TYPE], "application/health+json");
            let word = if code == 200 { "pass" } else { "fail" };
            assert_eq!(body, format!("{{\"status\":\"{word}\"}}"), "{path}");
        }
    }
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let (code, headers, _) = ask(&app(Detail::None), "POST", "/readyz").await;
    assert_eq!(
        (code, headers[ALLOW].to_str().unwrap()),
        (StatusCode::METHOD_NOT_ALLOWED, "GET,HEAD")
    );
}

#[tokio::test]
async fn a_head_tells_the_length() {
    let app = app(Detail::Status);
    let (_, _, body) = ask(&app, "GET", "/health").await;
    let (_, headers, _) = ask(&app, "HEAD", "/health").await;
    assert_eq!(headers[CONTENT_LENGTH], body.len().to_string());
    assert!(body.contains("\"db\":[{"), "{body}");
}

#[tokio::test]
async fn verbose_is_text() {
    let app = app(Detail::Full);
    for (query, is_text) in [
        ("verbose", true),
        ("a=b&verbose=1", true),
        ("verbosely", false),
        ("", false),
    ] {
        for path in ["/readyz", "/health/payments", "/health/check/db"] {
            let (_, headers, _) = ask(&app, "GET", &format!("{path}?{query}")).await;
            let is = headers[CONTENT_TYPE] == "text/plain; charset=utf-8";
            assert_eq!(is, is_text, "{path}?{query}");
        }
    }
}

#[tokio::test]
async fn a_token_opens_what_others_do_not_see() {
    let check = Check::from_fn("db", || async { true }).depends_on(["net"]);
    let health = Health::builder()
        .check(check)
        .check(Check::from_fn("net", || async { true }))
        .build()
        .unwrap();
    let token = "0123456789abcdef";
    let app = router(&health, Access::new(Detail::None).bearer(token).unwrap());
    for (value, full) in [
        (None, false),
        (Some("Bearer 0123456789abcdee"), false),
        (Some("Bearer 0123456789abcdef"), true),
    ] {
        for path in [
            "/health",
            "/readyz",
            "/health/ready",
            "/health/check/db",
            "/health?verbose",
        ] {
            let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
            if let Some(value) = value {
                request
                    .headers_mut()
                    .insert(AUTHORIZATION, value.parse().unwrap());
            }
            let response = app.clone().oneshot(request).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body = str::from_utf8(&body).unwrap();
            assert_eq!(body.contains("db"), full, "{path}: {body}");
            assert!(!body.contains(token), "{body}");
        }
    }
}

#[tokio::test]
async fn a_fresh_answer_is_for_who_has_a_token() {
    let (calls, token) = (Arc::new(AtomicUsize::new(0)), "0123456789abcdef");
    let counted = Arc::clone(&calls);
    let check = Check::from_fn("db", move || {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(if call == 0 { Ok(()) } else { Err("refused") })
    });
    let health = Health::builder()
        .check(check.every(Duration::from_hours(1)).fall(1))
        .build()
        .unwrap();
    let app = router(&health, Access::new(Detail::Full).bearer(token).unwrap());
    let fresh = async |path: &str, token: &str| {
        let authorization = format!("Bearer {token}");
        let request = Request::builder().uri(path).header(AUTHORIZATION, authorization);
        let request = request.body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status().as_u16()
    };
    assert_eq!(fresh("/health/check/db?fresh", token).await, 503, "not started");
    let running = health.start(&tokio::runtime::Handle::current()).unwrap();
    while health.snapshot().check("db").unwrap().checked().is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(fresh("/health/check/db?fresh", "0123456789abcdee").await, 200);
    assert_eq!(fresh("/health/check/db?refresh", token).await, 200);
    assert_eq!(fresh("/health/check/nobody?fresh", token).await, 404);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(fresh("/health/check/db?fresh=1", token).await, 503);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    running.stop();
}
