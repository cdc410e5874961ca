use std::time::Duration;

use cortex_http::client::ClientBuilder;
use cortex_http::{Limits, Routes, Server};
use http::StatusCode;

use super::support::{PATIENCE, measured, url};
use crate::support::{Shop, until, within};

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let shop = Shop::open(Limits::new()).await;
    let addr = shop.running.local_addr();
    let calls = measured(|client| client);
    for _ in 0..20 {
        let response = calls.client.get(url(addr, "/big")).await.unwrap();
        assert_eq!(response.into_body().bytes().await.unwrap().len(), 10_000);
    }
    assert!(
        shop.registry
            .to_text()
            .contains("http_server_connections_total 1\n")
    );
    assert_eq!(calls.sum("http_client_open_connections"), 1);
    let text = calls.registry.to_text();
    let open = format!(
        "http_client_open_connections{{server_address=\"127.0.0.1\",server_port=\"{}\"}} 1\n",
        addr.port()
    );
    assert!(text.contains(&open), "{text}");
    // A body that was not read to its end costs the connection.
    drop(calls.client.get(url(addr, "/endless")).await.unwrap());
    let response = calls.client.get(url(addr, "/")).await.unwrap();
    assert_eq!(response.into_body().text().await.unwrap(), "hello");
    assert!(
        shop.registry
            .to_text()
            .contains("http_server_connections_total 2\n")
    );
    drop(calls);
    shop.close().await;
}

#[tokio::test]
async fn calls_at_once_share_one_connection_of_http2() {
    let shop = Shop::open(Limits::new()).await;
    let addr = shop.running.local_addr();
    let calls = measured(ClientBuilder::http2_prior_knowledge);
    let tasks: Vec<_> = (0..50)
        .map(|user| {
            let client = calls.client.clone();
            tokio::spawn(async move {
                let response = client.get(url(addr, &format!("/users/{user}"))).await?;
                response.into_body().text().await
            })
        })
        .collect();
    for (user, task) in tasks.into_iter().enumerate() {
        assert_eq!(within(task).await.unwrap().unwrap(), user.to_string());
    }
    assert!(
        shop.registry
            .to_text()
            .contains("http_server_connections_total 1\n")
    );
    assert_eq!(calls.ended(addr, "200", ""), 50);
    drop(calls);
    shop.close().await;
}

#[tokio::test]
async fn unused_connections_are_bounded_in_number_and_time() {
    let shop = Shop::open(Limits::new()).await;
    let addr = shop.running.local_addr();
    let calls = measured(|client| client.pool_idle_per_host(2).pool_idle(Duration::from_millis(50)));
    let stuck: Vec<_> = (0..4)
        .map(|_| {
            let client = calls.client.clone();
            tokio::spawn(async move { client.get(url(addr, "/stuck")).await?.into_body().text().await })
        })
        .collect();
    shop.until_metric("http_server_active_requests", 4.0).await;
    assert_eq!(calls.sum("http_client_open_connections"), 4);
    shop.gates.release.notify_waiters();
    for task in stuck {
        assert_eq!(within(task).await.unwrap().unwrap(), "released");
    }
    let few = || calls.sum("http_client_open_connections") <= 2;
    until("two connections are kept", few).await;
    let emptied = tokio::time::timeout(PATIENCE, calls.until_quiet());
    emptied.await.unwrap();
    shop.close().await;
}

#[tokio::test]
async fn a_server_that_restarts_loses_no_call() {
    let start = |addr: String| async move {
        let routes = Routes::new().route("/", axum::routing::get(|| async { "here" }));
        Server::new(routes).start(addr).await.expect("the port is free")
    };
    let calls = measured(|client| client);
    let mut running = start("127.0.0.1:0".to_owned()).await;
    let addr = running.local_addr();
    for _ in 0..5 {
        for _ in 0..3 {
            let response = calls.client.get(url(addr, "/")).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.into_body().text().await.unwrap(), "here");
        }
        running.shutdown();
        within(running.join()).await;
        // The connection in the pool is closed by now, whether the client has noticed or not.
        running = start(addr.to_string()).await;
    }
    assert_eq!(calls.ended(addr, "200", ""), 15);
}
