#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use cortex_health::{Check, Health};
use cortex_http::{Admin, Lifecycle, Limits};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{Shop, get_from};

const LONG: Duration = Duration::from_secs(20);

/// Calls a method with an empty message, which asks about the process as a whole.
async fn call(client: &mut SendRequest<Full<Bytes>>, method: &str) -> Response<Incoming> {
    let request = Request::post(format!("http://localhost/grpc.health.v1.Health/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"\0\0\0\0\0")))
        .unwrap();
    client.send_request(request).await.unwrap()
}

/// Reads the next status of a stream.
async fn next(body: &mut Incoming) -> u8 {
    let frame = tokio::time::timeout(LONG, body.frame())
        .await
        .expect("a frame in time");
    let data = frame.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data[..6], [0, 0, 0, 0, 2, 8]);
    data[6]
}

async fn connect(shop: &Shop) -> SendRequest<Full<Bytes>> {
    connect_to(shop.running.admin_addr().unwrap()).await
}

async fn connect_to(addr: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = TcpStream::connect(addr).await.unwrap();
    let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn the_admin_port_speaks_grpc_beside_http() {
    let health = Health::builder()
        .check(Check::from_fn("database", || async { true }))
        .build()
        .unwrap();
    let lifecycle = Lifecycle::local().drain_delay(Duration::from_mins(1));
    let shop = Shop::with(Limits::new(), |server| {
        let admin = Admin::bind("127.0.0.1:0").grpc();
        server.health(health).admin(admin).lifecycle(lifecycle)
    })
    .await;
    let admin = shop.running.admin_addr().unwrap();
    let mut client = connect(&shop).await;
    let mut watch = call(&mut client, "Watch").await.into_body();
    if next(&mut watch).await == 2 {
        assert_eq!(next(&mut watch).await, 1, "the first run was under way");
    }
    let answer = call(&mut client, "Check").await;
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    assert!(
        !answer.headers().contains_key("content-encoding"),
        "it has a compression of its own"
    );
    let answer = answer.into_body().collect().await.unwrap();
    assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(answer.to_bytes(), &b"\0\0\0\0\x02\x08\x01"[..]);
    assert!(get_from(admin, "/readyz").await.starts_with("HTTP/1.1 200"));

    shop.running.shutdown();
    assert_eq!(next(&mut watch).await, 2);
    let end = tokio::time::timeout(LONG, watch.collect())
        .await
        .expect("the stream ends");
    assert_eq!(end.unwrap().trailers().unwrap()["grpc-status"], "14");
    shop.running.kill();
    shop.close().await;
}

#[tokio::test]
async fn an_admin_port_that_was_not_told_to_knows_no_grpc() {
    let shop = Shop::with(Limits::new(), |server| server.admin(Admin::bind("127.0.0.1:0"))).await;
    let mut client = connect(&shop).await;
    assert_eq!(call(&mut client, "Check").await.status(), 404);
    drop(client);
    shop.close().await;
}

#[tokio::test]
async fn the_listener_for_probes_speaks_grpc_too_and_no_name_that_is_not_ours() {
    let admin = Admin::bind("127.0.0.1:0").probes("127.0.0.1:0").grpc();
    let shop = Shop::with(Limits::new(), |server| server.admin(admin)).await;
    let mut client = connect_to(shop.running.probes_addr().unwrap()).await;
    let answer = call(&mut client, "Check").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    let foreign = Request::post("http://evil.example/grpc.health.v1.Health/Check");
    let foreign = foreign
        .header("content-type", "application/grpc")
        .body(Full::default());
    let refused = client.send_request(foreign.unwrap()).await.unwrap();
    assert_eq!(refused.status(), 421);
    drop(client);
    shop.close().await;
}
