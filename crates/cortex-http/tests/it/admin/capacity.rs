use cortex_http::{Admin, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Ask;
use crate::support::{Shop, read_until};

/// More than are served at once, each idle in its way: having said nothing, the half of a request, or a request.
#[tokio::test]
async fn idle_clients_keep_no_probe_out() {
    let admin = Admin::bind("127.0.0.1:0").probes("127.0.0.1:0");
    let shop = Shop::with(Limits::new(), |server| server.admin(admin)).await;
    let addr = shop.running.admin_addr().unwrap();
    let mut kubelet = TcpStream::connect(addr).await.unwrap();
    let mut crowd = Vec::new();
    for index in 0..360 {
        let mut idle = TcpStream::connect(addr).await.unwrap();
        match index % 3 {
            0 => {}
            1 => idle.write_all(b"GET /livez HT").await.unwrap(),
            _ => {
                idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
                    .await
                    .unwrap();
                read_until(&mut idle, "\r\n\r\n").await;
            }
        }
        crowd.push(idle);
        if index % 50 == 0 {
            // One that asks now and then is not the one that has been idle for longest.
            kubelet
                .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
                .await
                .unwrap();
            assert!(
                read_until(&mut kubelet, "\r\n\r\n")
                    .await
                    .starts_with("HTTP/1.1 200")
            );
            let mut body = vec![0; 64];
            let _ = kubelet.read(&mut body).await.unwrap();
            let answer = Ask::get("/livez").of(addr).await;
            assert_eq!(answer.status, 200, "{index}");
        }
    }
    assert_eq!(Ask::get("/metrics").of(addr).await.status, 200);
    assert_eq!(
        Ask::get("/livez")
            .of(shop.running.probes_addr().unwrap())
            .await
            .status,
        200
    );
    assert!(shop.metric("cortex_admin_evicted_connections_total") > 100.0);
    let mut first = crowd.swap_remove(0);
    let closed = first.read(&mut [0; 64]).await;
    assert!(
        matches!(closed, Ok(0) | Err(_)),
        "the first had to leave: {closed:?}"
    );
    shop.close().await;
}
