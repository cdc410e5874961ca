use std::io;

use cortex_http::client::{ClientLayer, ClientMetrics, ErrorKind};
use cortex_metrics::Registry;
use http::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::{Layer, Service, ServiceExt, service_fn};

use super::support::{closing_after, url};

fn measured() -> (ClientLayer, Registry) {
    let registry = Registry::default();
    let metrics = ClientMetrics::new(&registry).expect("a new registry");
    (ClientLayer::new().metrics(metrics), registry)
}

fn request() -> Request<String> {
    Request::get("https://Stock.Internal./7")
        .body(String::new())
        .expect("an address")
}

#[tokio::test]
async fn whatever_sends_requests_is_measured() {
    let (layer, registry) = measured();
    let mut service = layer.layer(service_fn(async |_: Request<String>| {
        Ok::<_, io::Error>(Response::new("seven".to_owned()))
    }));
    let response = service.ready().await.unwrap().call(request()).await.unwrap();
    assert!(
        registry.to_text().contains(
            "http_client_active_requests{server_address=\"stock.internal\",server_port=\"443\"} 1\n"
        )
    );
    assert_eq!(response.into_body().bytes().await.unwrap(), "seven");
    let text = registry.to_text();
    assert!(
        text.contains(
            "http_client_active_requests{server_address=\"stock.internal\",server_port=\"443\"} 0\n"
        ),
        "{text}"
    );
    let ended = "server_address=\"stock.internal\",server_port=\"443\",http_response_status_code=\"200\",error_type=\"\"} 1\n";
    assert!(text.contains(ended), "{text}");
}

#[tokio::test]
async fn errors_of_any_service_have_a_kind() {
    let (layer, registry) = measured();
    let own = layer.layer(service_fn(async |_: Request<String>| {
        Err::<Response<String>, _>(io::Error::other("seeded"))
    }));
    let error = own.oneshot(request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed); // what an error of a socket is
    let odd = layer.layer(service_fn(async |_: Request<String>| {
        Err::<Response<String>, _>("seeded".parse::<u8>().unwrap_err())
    }));
    let error = odd.oneshot(request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Inner);
    assert!(
        std::error::Error::source(&error)
            .unwrap()
            .to_string()
            .contains("invalid digit")
    );
    assert!(registry.to_text().contains("error_type=\"_OTHER\"} 1\n"));

    // hyper's own client, whose errors it knows.
    let addr = closing_after(b"nonsense\r\n\r\n").await;
    let hyper = Client::builder(TokioExecutor::new()).build_http::<String>();
    let asked = Request::get(url(addr, "/")).body(String::new()).unwrap();
    let error = layer.layer(hyper).oneshot(asked).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);

    // A client in a client says what the inner one said.
    let inner = cortex_http::Client::builder().build().unwrap();
    let error = layer
        .layer(inner)
        .oneshot(Request::get("/").body(String::new()).unwrap())
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Request);
}

#[tokio::test]
async fn a_panic_is_counted_and_goes_on() {
    let (layer, registry) = measured();
    let service = layer.layer(service_fn(|_: Request<String>| async {
        assert!(std::hint::black_box(false), "seeded");
        Ok::<_, io::Error>(Response::new(String::new()))
    }));
    let panicked = tokio::spawn(service.oneshot(request())).await;
    assert!(panicked.unwrap_err().is_panic());
    let text = registry.to_text();
    assert!(text.contains("error_type=\"panic\"} 1\n"), "{text}");
    assert!(
        text.contains(
            "http_client_active_requests{server_address=\"stock.internal\",server_port=\"443\"} 0\n"
        )
    );
}

#[tokio::test]
async fn methods_and_hosts_without_end_do_not_make_series_without_end() {
    let (layer, registry) = measured();
    let mut service = layer.layer(service_fn(async |_: Request<String>| {
        Ok::<_, io::Error>(Response::new(String::new()))
    }));
    for number in 0..2_500 {
        let request = Request::builder()
            .method(format!("M{number}").as_str())
            .uri(format!("http://h{number}.example/"));
        let request = request.body(String::new()).unwrap();
        drop(service.ready().await.unwrap().call(request).await.unwrap());
    }
    let text = registry.to_text();
    let series = text
        .matches("http_client_request_duration_seconds_count{")
        .count();
    assert_eq!(series, 2_001);
    assert!(text.contains("http_request_method=\"_OTHER\"") && !text.contains("M1\""));
    assert!(text.contains("server_address=\"__other__\""));
}
