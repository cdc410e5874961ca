use bytes::Bytes;
use cortex_health::{Check, GrpcHealth, Health};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const LONG: Duration = Duration::from_secs(30);

/// Serves over HTTP/2 on a free port, and connects to it.
async fn connect(service: GrpcHealth) -> SendRequest<Full<Bytes>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let service = TowerToHyperService::new(service);
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    });
    let stream = TcpStream::connect(addr).await.unwrap();
    let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (client, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn call(client: &mut SendRequest<Full<Bytes>>, method: &str, name: &str) -> Response<Incoming> {
    let length = u8::try_from(name.len()).unwrap();
    let mut message = vec![0, 0, 0, 0, length + 2, 10, length];
    message.extend_from_slice(name.as_bytes());
    let request = Request::post(format!("http://shop/grpc.health.v1.Health/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(message.into()))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    response
}

fn code(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status").map(|code| code.to_str().unwrap())
}

/// Reads the next status of a stream.
async fn next(body: &mut Incoming) -> u8 {
    let frame = tokio::time::timeout(LONG, body.frame()).await;
    let data = frame
        .expect("a frame in time")
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert_eq!(data[..6], [0, 0, 0, 0, 2, 8]);
    data[6]
}

fn health(up: &Arc<AtomicBool>) -> Health {
    let up = Arc::clone(up);
    let check = Check::from_fn("db", move || std::future::ready(up.load(Ordering::SeqCst)));
    let check = check.every(Duration::from_millis(2)).stale_after(LONG).fall(1);
    Health::builder().check(check).build().unwrap()
}

#[tokio::test]
async fn a_client_checks_and_watches() {
    let up = Arc::new(AtomicBool::new(true));
    let health = health(&up);
    let mut client = connect(GrpcHealth::new(&health)).await;
    let mut watch = call(&mut client, "Watch", "ready").await.into_body();
    assert_eq!(next(&mut watch).await, 2, "nothing is known yet");

    let running = health.start(&tokio::runtime::Handle::current()).unwrap();
    assert_eq!(next(&mut watch).await, 1);
    let answer = call(&mut client, "Check", "")
        .await
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(code(answer.trailers().unwrap()), Some("0"));
    assert_eq!(answer.to_bytes(), &b"\0\0\0\0\x02\x08\x01"[..]);
    let missing = call(&mut client, "Check", "nobody").await;
    assert_eq!(code(missing.headers()), Some("5"));
    let mut unknown = call(&mut client, "Watch", "nobody").await.into_body();
    assert_eq!(next(&mut unknown).await, 3);

    up.store(false, Ordering::SeqCst);
    assert_eq!(next(&mut watch).await, 2);
    up.store(true, Ordering::SeqCst);
    assert_eq!(next(&mut watch).await, 1);

    health.set_draining(true);
    assert_eq!(next(&mut watch).await, 2);
    let end = tokio::time::timeout(LONG, watch.collect())
        .await
        .expect("the stream ends");
    assert_eq!(code(end.unwrap().trailers().unwrap()), Some("14"));
    running.stop();
}

#[tokio::test]
async fn a_client_that_goes_makes_room() {
    let health = Health::builder().build().unwrap();
    let service = GrpcHealth::new(&health).max_watchers(3);
    let mut client = connect(service.clone()).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = call(&mut client, "Watch", "").await.into_body();
        assert_eq!(next(&mut stream).await, 2);
        streams.push(stream);
    }
    let mut other = connect(service).await;
    let refused = call(&mut other, "Watch", "").await;
    assert_eq!(
        code(refused.headers()),
        Some("8"),
        "the bound is for all connections together"
    );
    drop((streams, client));
    let room = async {
        while code(call(&mut other, "Watch", "").await.headers()).is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, room)
        .await
        .expect("there is room again");
}
