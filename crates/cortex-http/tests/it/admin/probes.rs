use std::time::Duration;

use cortex_health::{Check, Detail, Health};
use cortex_http::{Admin, ErrorKind, Limits, Routes, Server};

use super::client::{Ask, TOKEN};
use crate::support::Shop;

async fn shop(admin: Admin) -> Shop {
    let health = Health::builder()
        .check(Check::from_fn("database", || async { Err::<(), _>("no route") }))
        .build()
        .expect("a check");
    let shop = Shop::with(Limits::new(), |server| server.health(health.clone()).admin(admin)).await;
    health.run_now("database").await.expect("it is run");
    shop
}

#[tokio::test]
async fn the_second_listener_tells_whether_and_nothing_else() {
    let admin = Admin::bind("127.0.0.1:0")
        .probes("0.0.0.0:0")
        .detail(Detail::Full);
    let shop = shop(admin.token(TOKEN).unwrap()).await;
    let addr = shop.running.probes_addr().unwrap();
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], addr.port()));
    assert_ne!(
        Some(addr.port()),
        shop.running.admin_addr().map(|addr| addr.port())
    );
    for (path, status) in [
        ("/livez", 200),
        ("/readyz", 503),
        ("/startupz", 200),
        ("/", 200),
        ("/health", 404),
        ("/health/ready", 404),
        ("/metrics", 404),
        ("/controls", 404),
        ("/loglevel", 404),
        ("/drain", 404),
    ] {
        let answer = Ask::get(path).of(addr).await;
        assert_eq!(answer.status, status, "{path} {answer:?}");
        let answer = Ask::get(path).token(TOKEN).of(addr).await;
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert!(!answer.body.contains("database"), "{path} {answer:?}");
    }
    assert_eq!(Ask::post("/drain").token(TOKEN).of(addr).await.status, 404);
    assert_eq!(
        Ask::get("/livez")
            .host(Some("evil.example"))
            .of(addr)
            .await
            .status,
        421
    );
    shop.running.shutdown();
    shop.close().await;
    assert!(
        tokio::net::TcpStream::connect(addr).await.is_err(),
        "it closes, too"
    );
}

#[tokio::test]
async fn it_shows_metrics_if_it_is_told_to() {
    let admin = Admin::bind("127.0.0.1:0")
        .probes("127.0.0.1:0")
        .probe_metrics(true);
    let shop = shop(admin).await;
    let addr = shop.running.probes_addr().unwrap();
    let metrics = Ask::get("/metrics").of(addr).await;
    assert!(metrics.body.contains("cortex_lifecycle_phase"), "{metrics:?}");
    shop.close().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_and_leaves_nothing_open() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|addr| (taken, addr.to_string())).unwrap();
    let admin = Admin::bind("127.0.0.1:0").probes(&*taken.1);
    let server = Server::new(Routes::new()).admin(admin);
    let error = tokio::time::timeout(Duration::from_secs(20), server.start("127.0.0.1:0"))
        .await
        .expect("it does not hang")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bind);
    assert!(error.to_string().contains(&taken.1), "{error}");
}
