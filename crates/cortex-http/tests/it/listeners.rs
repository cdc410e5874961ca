//! What a server listens on.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cortex_http::{ErrorKind, Limits, ListenAddr, Listener, Routes, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::support::{Shop, get_from, read_until, within};

/// A directory of a test's own, removed at its end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cortex-http-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

async fn ask_unix(path: &Path) -> String {
    let mut socket = UnixStream::connect(path).await.expect("somebody listens");
    socket.write_all(ASK).await.expect("it is open");
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer))
        .await
        .expect("an answer");
    answer
}

fn server() -> Server {
    Server::new(Routes::new().route("/", axum::routing::get(|| async { "hello" })))
}

#[tokio::test]
async fn one_server_listens_on_several_sockets_and_counts_them_together() {
    let directory = Directory::new("several");
    let path = directory.path("shop.sock");
    let shop = Shop::with(Limits::new(), |server| {
        server.listen(Listener::unix(&path)).listen("127.0.0.1:0")
    })
    .await;
    let addrs = shop.running.addrs().to_vec();
    let [
        ListenAddr::Tcp(first),
        ListenAddr::Unix(Some(unix)),
        ListenAddr::Tcp(second),
    ] = &addrs[..]
    else {
        panic!("{addrs:?}");
    };
    assert_eq!((shop.running.local_addr(), unix), (*first, &path));
    assert!(get_from(*first, "/").await.ends_with("hello"));
    assert!(get_from(*second, "/").await.ends_with("hello"));
    assert!(ask_unix(&path).await.ends_with("hello"));
    shop.until_metric("http_server_connections_total", 3.0).await;
    let report = shop.close().await;
    assert_eq!((report.connections, report.code()), (3, 0));
    assert!(TcpStream::connect(second).await.is_err());
}

#[tokio::test]
async fn the_limit_of_connections_is_one_for_all_listeners() {
    let shop = Shop::with(Limits::new().connections(1), |server| {
        server.listen("127.0.0.1:0")
    })
    .await;
    let [ListenAddr::Tcp(first), ListenAddr::Tcp(second)] = shop.running.addrs() else {
        panic!("two ports");
    };
    // Whichever of them waits for connections, the other one gets its turn.
    for _ in 0..3 {
        for addr in [first, second] {
            assert!(get_from(*addr, "/").await.ends_with("hello"));
        }
    }
    let mut held = TcpStream::connect(first).await.unwrap();
    held.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut held, "hello").await;
    let mut waiting = TcpStream::connect(second).await.unwrap();
    waiting.write_all(ASK).await.unwrap();
    assert!(shop.metric("http_server_active_connections") < 2.0);
    drop(held);
    read_until(&mut waiting, "hello").await;
    shop.close().await;
}

#[tokio::test]
async fn a_unix_socket_has_its_mode_and_its_file_is_removed() {
    let directory = Directory::new("mode");
    let path = directory.path("shop.sock");
    let running = server().start(Listener::unix(&path).mode(0o600)).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(format!("{running:?}").contains("shop.sock"));
    running.shutdown();
    within(running.join()).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_file_is_taken_over_only_if_nobody_listens() {
    let directory = Directory::new("stale");
    let path = directory.path("shop.sock");
    let running = server().start(Listener::unix(&path)).await.unwrap();
    let error = server().start(Listener::unix(&path)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bind);
    assert!(
        error.to_string().contains("another process listens there"),
        "{error}"
    );
    assert!(ask_unix(&path).await.ends_with("hello")); // it is not harmed
    running.shutdown();
    within(running.join()).await;

    drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // as a process that is killed leaves it
    assert!(path.exists());
    let running = server().start(Listener::unix(&path)).await.unwrap();
    assert!(ask_unix(&path).await.ends_with("hello"));
    // Who took the path over in the meantime keeps it.
    std::fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    running.shutdown();
    within(running.join()).await;
    assert!(path.exists());
    drop(other);

    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "not a socket").unwrap();
    assert!(server().start(Listener::unix(&path)).await.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"not a socket");
    let error = server()
        .start(Listener::unix(directory.path("no/such")))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("directory must exist"), "{error}");
    let error = server()
        .start(Listener::unix(directory.path(&"a".repeat(200))))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("shorter path"), "{error}");
}

#[tokio::test]
async fn connections_that_wait_on_a_unix_socket_are_served_at_the_end() {
    let directory = Directory::new("backlog");
    let path = directory.path("shop.sock");
    let running = server().start(Listener::unix(&path)).await.unwrap();
    // On one thread: the accept loop has not run between these and the drain.
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
        std::io::Write::write_all(&mut socket, ASK).unwrap();
        sockets.push(socket);
    }
    running.shutdown();
    assert_eq!(within(running.join()).await.connections, 3);
    for mut socket in sockets {
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut socket, &mut answer).unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
    }
}

#[tokio::test]
async fn sockets_that_somebody_else_opened_are_served() {
    let directory = Directory::new("open");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = tcp.local_addr().unwrap();
    let path = directory.path("shop.sock");
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let running = server()
        .listen(Listener::from_std(unix).unwrap())
        .start(tcp)
        .await
        .unwrap();
    assert_eq!(running.local_addr(), addr);
    assert!(get_from(addr, "/").await.ends_with("hello"));
    assert!(ask_unix(&path).await.ends_with("hello"));
    running.shutdown();
    within(running.join()).await;
    assert!(path.exists()); // it was not ours to remove
    let error = Listener::from_std(std::fs::File::open("/dev/null").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Inherited);
}

#[tokio::test]
async fn addresses_may_be_given_in_any_form() {
    for listener in [
        Listener::tcp(([127, 0, 0, 1], 0)),
        Listener::from(("127.0.0.1", 0)),
        Listener::from(("localhost", 0)),
        Listener::from("localhost:0".to_owned()),
        Listener::from((std::net::Ipv4Addr::LOCALHOST, 0)),
    ] {
        let running = server().start(listener).await.unwrap();
        assert!(get_from(running.local_addr(), "/").await.ends_with("hello"));
        running.kill();
        within(running.join()).await;
    }
}

/// Set for the process that a test starts as a service manager would.
const UNIT: &str = "CORTEX_HTTP_TEST_UNIT";

#[tokio::test]
async fn a_socket_unit_hands_its_sockets_over() {
    if std::env::var_os(UNIT).is_some() {
        return serve_the_unit().await;
    }
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    // The shell becomes the service, so that its process is the one the sockets are for.
    let script =
        r#"exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; exec "$0" "$@""#;
    let mut service = tokio::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "listeners::a_socket_unit_hands_its_sockets_over"])
        .env(UNIT, "1")
        .stdin(std::os::fd::OwnedFd::from(socket))
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // The port was open before the service was there: nothing has to wait for it.
    assert!(get_from(addr, "/").await.ends_with("hello"));
    assert!(get_from(addr, "/stop").await.ends_with("bye"));
    assert!(service.wait().await.unwrap().success());
    assert!(TcpStream::connect(addr).await.is_err()); // no copy of the socket was left open
}

async fn serve_the_unit() {
    let error = Listener::systemd_named("admin").expect_err("there is none of this name");
    assert!(error.to_string().contains("\"http\""), "{error}");
    let listener = Listener::systemd_named("http").expect("the one that was passed");
    let error = Listener::systemd().expect_err("it was taken");
    assert_eq!(error.kind(), ErrorKind::Inherited);
    let stop = std::sync::Arc::new(tokio::sync::Notify::new());
    let stopping = std::sync::Arc::clone(&stop);
    let routes = Routes::new()
        .route("/", axum::routing::get(|| async { "hello" }))
        .route(
            "/stop",
            axum::routing::get(|| async move {
                stopping.notify_one();
                "bye"
            }),
        );
    let running = Server::new(routes).start(listener).await.expect("it serves");
    within(stop.notified()).await;
    running.shutdown();
    assert_eq!(within(running.join()).await.code(), 0);
}

#[test]
fn without_a_service_manager_nothing_is_taken_over() {
    if std::env::var_os("LISTEN_PID").is_none() {
        let error = Listener::systemd().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Inherited);
        assert!(error.to_string().contains("LISTEN_PID is not set"), "{error}");
    }
}

/// Set for the process that may open few files.
const POOR: &str = "CORTEX_HTTP_TEST_POOR";

#[tokio::test]
async fn without_file_descriptors_connections_wait_until_there_are_some() {
    if std::env::var_os(POOR).is_some() {
        return serve_without_descriptors().await;
    }
    // The limit is that of a process, so the test is one of its own.
    let test = "listeners::without_file_descriptors_connections_wait_until_there_are_some";
    let poor = tokio::process::Command::new("sh")
        .args(["-c", r#"ulimit -n 64; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(POOR, "1")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&poor.stdout);
    assert!(poor.status.success() && said.contains("1 passed"), "{said}");
}

async fn serve_without_descriptors() {
    let shop = Shop::open(Limits::new()).await;
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    files.pop(); // for the client; the server has none for its end
    let mut socket = shop.connect().await;
    socket
        .write_all(ASK)
        .await
        .expect("the kernel took the connection");
    let accept = r#"http_server_connection_errors_total{kind="accept"}"#;
    shop.until_metric(accept, 2.0).await; // it tries again
    assert!(shop.metric("http_server_connections_total") < 1.0);
    drop(files);
    read_until(&mut socket, "hello").await;
    assert_eq!(shop.close().await.code(), 0);
}
