use std::net::SocketAddr;
use std::time::Duration;

use cortex_http::Client;
use cortex_http::client::{ClientBuilder, ClientMetrics};
use cortex_metrics::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::within;

/// Long enough for anything that happens, on a machine that is busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// For what never happens.
pub(super) const SOON: Duration = Duration::from_millis(100);

/// For what goes on after something that does happen.
pub(super) const LATER: Duration = Duration::from_secs(2);

/// A client whose metrics can be read.
pub(super) struct Measured {
    pub(super) client: Client,
    pub(super) registry: Registry,
}

pub(super) fn measured(change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Measured {
    let registry = Registry::default();
    let metrics = ClientMetrics::new(&registry).expect("a new registry");
    let client = change(Client::builder().metrics(metrics)).build();
    Measured {
        client: client.expect("settings that make sense"),
        registry,
    }
}

impl Measured {
    /// Returns the number of calls that ended with these values of `status` and `error_type`.
    pub(super) fn ended(&self, addr: SocketAddr, status: &str, error: &str) -> u64 {
        let text = self.registry.to_text();
        let (host, port) = (addr.ip(), addr.port());
        let labels = format!(
            "http_request_method=\"GET\",server_address=\"{host}\",server_port=\"{port}\",\
             http_response_status_code=\"{status}\",error_type=\"{error}\""
        );
        let name = format!("http_client_request_duration_seconds_count{{{labels}}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |value| value.parse().expect("a count"))
    }

    pub(super) fn sum(&self, name: &str) -> i64 {
        let text = self.registry.to_text();
        let values = text.lines().filter(|line| line.starts_with(name));
        let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<i64>().ok());
        values.sum()
    }

    /// Waits until nothing is under way any more, and no connection open.
    pub(super) async fn until_quiet(&self) {
        let quiet = async {
            while self.sum("http_client_active_requests") + self.sum("http_client_open_connections") > 0 {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, quiet).await;
        assert!(waited.is_ok(), "{}", self.registry.to_text());
    }
}

/// A server that does with each connection what it is told.
pub(super) async fn raw<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let addr = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket));
        }
    });
    addr
}

/// A server that reads the head of a request, answers with these bytes, and then does not close until the client does.
pub(super) async fn answering(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    raw(move |mut socket| {
        let bytes = bytes.clone();
        async move {
            read_head(&mut socket).await;
            let _ = socket.write_all(&bytes).await;
            let _ = socket.read_to_end(&mut Vec::new()).await;
        }
    })
    .await
}

/// A server that reads the head of a request, answers with these bytes, and closes.
pub(super) async fn closing_after(bytes: &'static [u8]) -> SocketAddr {
    raw(move |mut socket| async move {
        read_head(&mut socket).await;
        let _ = socket.write_all(bytes).await;
    })
    .await
}

pub(super) async fn read_head(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        match within(socket.read_u8()).await {
            Ok(byte) => text.push(char::from(byte)),
            Err(_) => break,
        }
    }
    text
}

pub(super) fn url(addr: SocketAddr, path: &str) -> String {
    format!("http://{addr}{path}")
}
