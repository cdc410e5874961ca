//! Sends requests to the instances of a service in turn, as a load balancer does, while instances come and go.
//! `balance PROTOCOL OBEYS INSTANCE..`: `http1` or `http2`; `readiness`, or `close` to learn of an end only from the
//! connections themselves; and a file for each instance with the addresses of its port and its admin port, replaced when
//! it starts anew. At SIGTERM it says how many requests were answered, and ends with 1 if one was lost.
//!
//! Lost is what was sent and not answered as it should be. What no instance has worked on is sent again: a connection was
//! refused, or reset before it was made, it closed before the request was handed to it, or a GOAWAY says that the request came too late (RFC 9113,
//! section 6.8). Nothing else is, not even a GET.
#![expect(clippy::print_stdout, reason = "it says what it saw")]

use std::collections::VecDeque;
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Requests that are under way at once.
const CLIENTS: usize = 16;

/// How often it is looked whether an instance is new, and ready.
const PROBE: Duration = Duration::from_millis(20);

/// What an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

type Fault = Box<dyn Error + Send + Sync>;

type Sent = Request<Full<Bytes>>;

#[tokio::main]
async fn main() -> Result<ExitCode, Fault> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().unwrap_or_default();
    let (protocol, obeys) = (next(), next());
    let is_http2 = choose(&protocol, ["http1", "http2"])?;
    let obeys_readiness = !choose(&obeys, ["readiness", "close"])?;
    let instances: Vec<_> = arguments.map(|file| Instance::new(file.into())).collect();
    let mut terminate = signal(SignalKind::terminate())?;
    let balancer = Arc::new(Balancer {
        is_http2,
        instances,
        turn: AtomicUsize::new(0),
        answered: AtomicU64::new(0),
        resent: AtomicU64::new(0),
        lost: Mutex::default(),
    });
    let stop = CancellationToken::new();
    for n in 0..balancer.instances.len() {
        let balancer = Arc::clone(&balancer);
        tokio::spawn(async move { balancer.instances[n].watch(obeys_readiness).await });
    }
    while !balancer.instances.iter().all(|instance| instance.at().is_some()) {
        tokio::time::sleep(PROBE).await;
    }
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (balancer, stop) = (Arc::clone(&balancer), stop.clone());
            tokio::spawn(async move { balancer.client(client, &stop).await })
        })
        .collect();
    println!("running");
    std::io::stdout().flush()?; // a pipe is not flushed by the end of a line
    terminate.recv().await;
    stop.cancel();
    for client in clients {
        client.await?;
    }
    let lost = balancer.lost.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} answered, {} sent again, {} lost",
        balancer.answered.load(Ordering::Relaxed),
        balancer.resent.load(Ordering::Relaxed),
        lost.len()
    );
    for lost in lost.iter().take(10) {
        println!("{lost}");
    }
    Ok(if lost.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns whether it is the second of two words.
fn choose(word: &str, words: [&str; 2]) -> Result<bool, Fault> {
    let index = words.iter().position(|known| *known == word);
    let index = index.ok_or_else(|| format!("{word:?} is neither {} nor {}", words[0], words[1]))?;
    Ok(index == 1)
}

struct Balancer {
    is_http2: bool,
    instances: Vec<Instance>,
    turn: AtomicUsize,
    answered: AtomicU64,
    /// Requests that could not be sent to the instance whose turn it was.
    resent: AtomicU64,
    lost: Mutex<Vec<String>>,
}

/// One instance of the service, and the connections to it.
struct Instance {
    file: PathBuf,
    /// Where requests go, if they may.
    target: Mutex<Option<SocketAddr>>,
    /// Those that nobody uses, the one that rests longest first, so that each is used often.
    idle: Mutex<VecDeque<(SocketAddr, Connection)>>,
}

/// HTTP/2 is shared by those who clone it.
enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why there is no answer.
enum Failed {
    /// Nobody has worked on it; here it is again.
    Unsent(Box<Sent>),
    Lost(String),
}

impl Balancer {
    /// Sends one request after the other, until one is lost: there would be no end of them if nobody is there.
    async fn client(&self, client: usize, stop: &CancellationToken) {
        for n in client.. {
            if stop.is_cancelled() {
                return;
            }
            let echoed = Bytes::from(n.to_string().repeat(500));
            let (request, expected) = match n % 4 {
                0 => (
                    Request::get("/").body(Full::default()),
                    Bytes::from("Hello, World!"),
                ),
                1 => (
                    Request::get("/wait/20").body(Full::default()),
                    Bytes::from("waited"),
                ),
                2 => (Request::get("/users/7").body(Full::default()), Bytes::from("7")),
                _ => (Request::post("/echo").body(Full::new(echoed.clone())), echoed),
            };
            let request = request.expect("invariant: made of good parts");
            let answer = tokio::time::timeout(LIMIT, self.request(request, &expected));
            match answer.await {
                Ok(Ok(())) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Err(why)) => return self.lose(why),
                Err(_) => return self.lose("no answer in time".into()),
            }
        }
    }

    fn lose(&self, why: String) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    }

    /// Sends a request to the instance whose turn it is, or to the next that takes it.
    async fn request(&self, mut request: Sent, expected: &Bytes) -> Result<(), String> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut refused = 0;
        // A pool may be full of connections that closed: none of them was sent the request.
        while refused < self.instances.len() {
            let instance = &self.instances[(first + refused) % self.instances.len()];
            let Some(at) = instance.at() else {
                refused += 1;
                continue;
            };
            let connection = match instance.idle(at) {
                Some(connection) => connection,
                None => match connect(at, self.is_http2).await {
                    Ok(connection) => connection,
                    // Reset while it was made: the kernel had it, and the port was closed.
                    Err(error)
                        if matches!(
                            error.kind(),
                            std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::ConnectionReset
                        ) =>
                    {
                        self.resent.fetch_add(1, Ordering::Relaxed);
                        refused += 1;
                        continue;
                    }
                    Err(error) => return Err(format!("connect: {error}")),
                },
            };
            match instance.exchange(at, connection, request, expected).await {
                Ok(()) => return Ok(()),
                Err(Failed::Unsent(unsent)) => {
                    self.resent.fetch_add(1, Ordering::Relaxed);
                    request = *unsent;
                }
                Err(Failed::Lost(why)) => return Err(why),
            }
        }
        Err("no instance takes it".into())
    }
}

async fn connect(at: SocketAddr, is_http2: bool) -> std::io::Result<Connection> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    let io = TokioIo::new(stream);
    if is_http2 {
        let handshake = http2::handshake(TokioExecutor::new(), io).await;
        let (sender, driver) = handshake.map_err(std::io::Error::other)?;
        tokio::spawn(driver);
        return Ok(Connection::Http2(sender));
    }
    let (sender, driver) = http1::handshake(io).await.map_err(std::io::Error::other)?;
    tokio::spawn(driver);
    Ok(Connection::Http1(sender))
}

impl Instance {
    fn new(file: PathBuf) -> Self {
        Self {
            file,
            target: Mutex::default(),
            idle: Mutex::default(),
        }
    }

    fn at(&self) -> Option<SocketAddr> {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a connection to this address that may still be used.
    fn idle(&self, at: SocketAddr) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((to, connection)) = idle.pop_front() {
            if to != at || connection.is_closed() {
                continue;
            }
            if let Connection::Http2(shared) = &connection {
                idle.push_front((to, Connection::Http2(shared.clone())));
            }
            return Some(connection);
        }
        None
    }

    fn keep(&self, at: SocketAddr, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.is_empty() || matches!(connection, Connection::Http1(_)) {
            idle.push_back((at, connection));
        }
    }

    /// Sends the request, reads all of the answer, and keeps the connection unless the server wants it closed.
    async fn exchange(
        &self,
        at: SocketAddr,
        mut connection: Connection,
        mut request: Sent,
        expected: &Bytes,
    ) -> Result<(), Failed> {
        let what = format!("{} {}", request.method(), request.uri());
        let lost = |why: &dyn std::fmt::Display| Failed::Lost(format!("{what} to {at}: {why}"));
        if let Connection::Http2(_) = connection {
            let absolute = format!("http://{at}{}", request.uri().path());
            *request.uri_mut() = absolute.parse().expect("invariant: made of good parts");
        } else {
            let host = at
                .to_string()
                .parse()
                .expect("invariant: an address is visible ASCII");
            request.headers_mut().insert(HOST, host);
        }
        let answer = match connection.send(request).await {
            Ok(answer) => answer,
            Err((_, Some(request))) => return Err(Failed::Unsent(Box::new(relative(request)))),
            Err((error, None)) => return Err(lost(&describe(&error))),
        };
        let status = answer.status();
        let closes = answer
            .headers()
            .get(CONNECTION)
            .is_some_and(|value| value == "close");
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| lost(&describe(&error)))?.to_bytes();
        if status != StatusCode::OK || body != *expected {
            return Err(lost(&format!("answered {status} with {} bytes", body.len())));
        }
        if !closes {
            self.keep(at, connection);
        }
        Ok(())
    }

    /// Follows the file, and the probe of the instance that it names.
    async fn watch(&self, obeys_readiness: bool) {
        loop {
            let addresses = std::fs::read_to_string(&self.file).ok().and_then(|text| {
                let (app, admin) = text.trim().split_once(' ')?;
                Some((app.parse().ok()?, admin.parse().ok()?))
            });
            let target = match addresses {
                Some((app, admin)) if !obeys_readiness || is_ready(admin).await => Some(app),
                _ => None,
            };
            *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
            tokio::time::sleep(PROBE).await;
        }
    }
}

impl Connection {
    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    /// Sends a request; an error comes with the request if nobody has worked on it.
    async fn send(&mut self, request: Sent) -> Result<Response<Incoming>, (hyper::Error, Option<Sent>)> {
        let ready = match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        };
        if let Err(error) = ready {
            return Err((error, Some(request)));
        }
        let again = request.clone();
        let sent = match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut error| {
            let request = error.take_message();
            let error = error.into_error();
            let request = request.or_else(|| is_goaway(&error).then_some(again));
            (error, request)
        })
    }
}

/// Takes back what [`Instance::exchange`] said of the instance.
fn relative(mut request: Sent) -> Sent {
    let path = request.uri().path().parse().expect("invariant: a path is a URI");
    *request.uri_mut() = path;
    request
}

/// Says whether the server closed and had not begun with this stream: those that it had begun go on.
fn is_goaway(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR)
    })
}

fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn is_ready(admin: SocketAddr) -> bool {
    let probe = async {
        let mut stream = TcpStream::connect(admin).await?;
        let head = format!("GET /readyz HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer == *b"HTTP/1.1 200")
    };
    matches!(
        tokio::time::timeout(Duration::from_secs(1), probe).await,
        Ok(Ok(true))
    )
}
