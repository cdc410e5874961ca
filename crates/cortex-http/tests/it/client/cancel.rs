use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use cortex_http::Limits;
use cortex_http::client::ClientBuilder;
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::support::{PATIENCE, measured, raw, read_head, url};
use crate::support::Shop;

/// Polls a future once, which is not over then.
async fn begin<F: Future>(future: std::pin::Pin<&mut F>) {
    let mut future = Some(future);
    poll_fn(|cx| {
        let first = future.take().expect("polled once").poll(cx);
        assert!(first.is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_call_that_was_never_awaited_is_over_when_it_is_dropped() {
    let shop = Shop::open(Limits::new()).await;
    let addr = shop.running.local_addr();
    let calls = measured(|client| client);
    drop(
        calls
            .client
            .send(http::Request::get(url(addr, "/")).body(String::new()).unwrap()),
    );
    assert_eq!(calls.ended(addr, "", "cancelled"), 1);
    calls.until_quiet().await;
    shop.close().await;
}

#[tokio::test]
async fn a_call_can_be_dropped_while_it_connects() {
    let (seen, mut sockets) = mpsc::unbounded_channel();
    let addr = raw(move |mut socket| {
        let seen = seen.clone();
        async move {
            let _ = seen.send(());
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let calls = measured(|client| client);
    let mut call = Box::pin(calls.client.get(url(addr, "/")));
    begin(call.as_mut()).await;
    drop(call);
    assert_eq!(calls.ended(addr, "", "cancelled"), 1);
    // The connection may be finished in the background, for a call to come; then it is idle.
    let _ = tokio::time::timeout(PATIENCE, sockets.recv()).await;
    assert_eq!(calls.sum("http_client_active_requests"), 0);
}

#[tokio::test]
async fn a_call_can_be_dropped_while_it_waits_for_the_head() {
    let (seen, mut heads) = mpsc::unbounded_channel();
    let addr = raw(move |mut socket| {
        let seen = seen.clone();
        async move {
            let head = read_head(&mut socket).await;
            let _ = seen.send(head);
            let _ = socket.read_to_end(&mut Vec::new()).await;
            let _ = seen.send("closed".to_owned());
        }
    })
    .await;
    let calls = measured(|client| client);
    {
        let mut call = pin!(calls.client.get(url(addr, "/")));
        let sent = async {
            tokio::select! {
                _ = &mut call => panic!("it is not answered"),
                head = heads.recv() => head,
            }
        };
        assert!(sent.await.is_some_and(|head| head.starts_with("GET / HTTP/1.1")));
    }
    // The server learns that nobody waits any more.
    let closed = tokio::time::timeout(PATIENCE, heads.recv()).await;
    assert_eq!(closed.unwrap().as_deref(), Some("closed"));
    assert_eq!(calls.ended(addr, "", "cancelled"), 1);
    calls.until_quiet().await;
}

#[tokio::test]
async fn a_body_can_be_dropped_before_it_is_read_and_in_its_midst() {
    for http2 in [false, true] {
        for frames in [0, 1, 3] {
            let shop = Shop::open(Limits::new()).await;
            let addr = shop.running.local_addr();
            let calls = measured(|client| {
                if http2 {
                    client.http2_prior_knowledge()
                } else {
                    client
                }
            });
            let mut body = calls.client.get(url(addr, "/endless")).await.unwrap().into_body();
            for _ in 0..frames {
                assert!(body.frame().await.unwrap().is_ok());
            }
            drop(body);
            // Nobody wanted the rest: that is no error.
            assert_eq!(calls.ended(addr, "200", ""), 1);
            assert_eq!(calls.sum("http_client_active_requests"), 0);
            // The server hears of it, and does not go on for ever.
            shop.until_metric("http_server_request_outcomes_total{outcome=\"aborted\"}", 1.0)
                .await;
            drop(calls);
            shop.close().await;
        }
    }
}

#[tokio::test]
async fn over_http2_a_dropped_call_leaves_the_others_alone() {
    let shop = Shop::open(Limits::new()).await;
    let addr = shop.running.local_addr();
    let calls = measured(ClientBuilder::http2_prior_knowledge);
    {
        let mut call = pin!(calls.client.get(url(addr, "/stuck")));
        tokio::select! {
            _ = &mut call => panic!("it is not answered"),
            () = shop.gates.until_entered() => (),
        }
    }
    shop.until_metric(
        "http_server_request_outcomes_total{outcome=\"client_cancel\"}",
        1.0,
    )
    .await;
    let response = calls.client.get(url(addr, "/")).await.unwrap();
    assert_eq!(response.into_body().text().await.unwrap(), "hello");
    assert_eq!(calls.sum("http_client_open_connections"), 1);
    assert!(
        shop.registry
            .to_text()
            .contains("http_server_connections_total 1\n")
    );
    drop(calls);
    shop.close().await;
}
