use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use cortex_metrics::{Counter, Registry, router};
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn ask(method: Method, accept: Option<&str>) -> (Response<()>, String) {
    let registry = Registry::default();
    let counter = Counter::default();
    registry.register("jobs", "", counter.clone()).unwrap();
    let app = router(&registry);
    counter.inc(); // the router shows what comes after it was made
    let mut request = Request::builder().method(method).uri("/metrics");
    if let Some(accept) = accept {
        request = request.header(header::ACCEPT, accept);
    }
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        Response::from_parts(parts, ()),
        String::from_utf8(body.into()).unwrap(),
    )
}

fn header<'a>(response: &'a Response<()>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn answers_in_the_format_asked_for() {
    let text = "# TYPE jobs_total counter\njobs_total 1\n";
    let open_metrics = "# TYPE jobs counter\njobs_total 1\n# EOF\n";
    for (accept, body, content_type) in [
        (None, text, "text/plain; version=0.0.4; charset=utf-8"),
        (
            Some("text/html, */*"),
            text,
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        (
            Some("application/openmetrics-text"),
            open_metrics,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ] {
        let (response, answered) = ask(Method::GET, accept).await;
        assert_eq!((response.status(), &*answered), (StatusCode::OK, body));
        assert_eq!(header(&response, "content-type"), content_type);
        assert_eq!(header(&response, "content-length"), body.len().to_string());
        assert_eq!(header(&response, "vary"), "accept");
        assert_eq!(header(&response, "cache-control"), "no-store");
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get() {
    let (get, body) = ask(Method::GET, None).await;
    let (head, nothing) = ask(Method::HEAD, None).await;
    assert_eq!((head.status(), head.headers()), (StatusCode::OK, get.headers()));
    assert_eq!(header(&head, "content-length"), body.len().to_string());
    assert_eq!(nothing, "");
}

#[tokio::test]
async fn other_methods_are_refused() {
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let (response, _) = ask(method, None).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(header(&response, "allow"), "GET,HEAD");
    }
}
