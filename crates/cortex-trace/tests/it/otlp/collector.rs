//! A collector that answers as it was told.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cortex_trace::{Otlp, Stats};
use http::{HeaderMap, Request, Response};
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::support::AGES;

/// Which protocol it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http,
    Grpc,
}

/// What it does with a request. After those that it was told it always answers well.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Of HTTP: the status, headers and the body.
    Http(u16, Vec<(&'static str, &'static str)>, Vec<u8>),
    /// Of gRPC: the body, and the trailers.
    Grpc(Vec<u8>, Vec<(&'static str, &'static str)>),
    /// Never answers.
    Hang,
    /// Closes the connection.
    Die,
    /// Sends the head of a success and the beginning of a body, and closes the connection.
    DieInBody,
    /// Sends the head of a success and the beginning of a body, and no more.
    HangInBody,
    /// Sends a success with so many bytes, or a refusal.
    Flood(u16, usize),
}

pub(super) struct Collector {
    speaks: Speaks,
    address: SocketAddr,
    received: Receiver<Received>,
    connections: Arc<AtomicUsize>,
    failed_handshakes: Receiver<()>,
    /// Ends the thread.
    _end: oneshot::Sender<()>,
}

pub(super) struct Received {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Collector {
    pub(super) fn start(speaks: Speaks, replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::behind(Vec::new(), speaks, replies)
    }

    /// Starts one whose connections go through TLS, if there is an acceptor; of several the first takes the first
    /// connection, and so on, and the last all others.
    pub(super) fn behind(
        tls: Vec<TlsAcceptor>,
        speaks: Speaks,
        replies: impl IntoIterator<Item = Reply>,
    ) -> Self {
        let replies = Arc::new(Mutex::new(replies.into_iter().collect::<VecDeque<_>>()));
        let (sender, received) = channel();
        let (failed, failed_handshakes) = channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let accepted = Arc::clone(&connections);
        let (started, address) = channel();
        let (end, ended) = oneshot::channel();
        std::thread::spawn(move || {
            // What the server says is not what the tests are about.
            let _silence = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                started.send(listener.local_addr().unwrap()).unwrap();
                let serve = async {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        let number = accepted.fetch_add(1, Ordering::SeqCst);
                        let tls = tls.get(number).or(tls.last()).cloned();
                        let (sender, replies) = (sender.clone(), Arc::clone(&replies));
                        let failed = failed.clone();
                        tokio::spawn(async move {
                            if accept(stream, tls, speaks, sender, replies).await.is_err() {
                                let _ = failed.send(()); // the test may have ended
                            }
                        });
                    }
                };
                tokio::select! { () = serve => {}, _ = ended => {} }
            });
        });
        Self {
            speaks,
            address: address.recv_timeout(AGES).unwrap(),
            received,
            connections,
            failed_handshakes,
            _end: end,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes an exporter for it, with short waits.
    pub(super) fn exporter(&self) -> Otlp {
        self.exporter_to(&self.url())
    }

    /// Makes an exporter for another URL of it, with short waits.
    pub(super) fn exporter_to(&self, url: &str) -> Otlp {
        let otlp = match self.speaks {
            Speaks::Http => Otlp::http(url),
            Speaks::Grpc => Otlp::grpc(url),
        };
        otlp.unwrap().backoff(std::time::Duration::from_millis(1))
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until a handshake has failed.
    pub(super) fn failed_handshake(&self) {
        self.failed_handshakes.recv_timeout(AGES).unwrap();
    }

    pub(super) fn next(&self) -> Received {
        self.received.recv_timeout(AGES).unwrap()
    }

    /// Returns how many requests there were beside those that were looked at.
    pub(super) fn others(&self) -> usize {
        self.received.try_iter().count()
    }
}

impl Received {
    /// Decodes what was sent over HTTP.
    pub(super) fn decode<M: Message + Default>(&self) -> M {
        M::decode(self.body.clone()).unwrap()
    }

    /// Decodes what was sent over gRPC.
    pub(super) fn decode_framed<M: Message + Default>(&self) -> M {
        let (prefix, message) = self.body.split_first_chunk::<5>().unwrap();
        let len = u32::from_be_bytes(prefix[1..].try_into().unwrap());
        assert_eq!((prefix[0], len as usize), (0, message.len()));
        M::decode(message).unwrap()
    }

    pub(super) fn spans(&self) -> usize {
        let request: ExportTraceServiceRequest = if self.path.starts_with("/opentelemetry") {
            self.decode_framed()
        } else {
            self.decode()
        };
        let scopes = request.resource_spans.iter().flat_map(|of| &of.scope_spans);
        scopes.map(|scope| scope.spans.len()).sum()
    }
}

async fn accept(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    speaks: Speaks,
    sender: Sender<Received>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) -> io::Result<()> {
    let is_grpc = speaks == Speaks::Grpc;
    let Some(tls) = tls else {
        serve(stream, is_grpc, speaks, sender, replies).await;
        return Ok(());
    };
    match tls.accept(stream).into_fallible().await {
        Ok(stream) => {
            let is_http2 = is_grpc || stream.get_ref().1.alpn_protocol() == Some(b"h2");
            serve(stream, is_http2, speaks, sender, replies).await;
            Ok(())
        }
        Err((error, mut stream)) => {
            // What it said would be lost, if the connection was closed before everything that comes is read.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            Err(error)
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    speaks: Speaks,
    sender: Sender<Received>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) {
    let service = service_fn(move |request| {
        let replies = Arc::clone(&replies);
        receive(request, speaks, sender.clone(), replies)
    });
    // Errors are what the tests are about.
    let _ = if is_http2 {
        http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
    } else {
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await
    };
}

type Body = BoxBody<Bytes, io::Error>;

async fn receive(
    request: Request<Incoming>,
    speaks: Speaks,
    sender: Sender<Received>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
) -> io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let received = Received {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body,
    };
    let _ = sender.send(received); // the test may have ended
    let reply = replies.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    answer(reply.unwrap_or_else(|| speaks.well())).await
}

impl Speaks {
    /// The answer of a collector that took everything.
    pub(super) fn well(self) -> Reply {
        match self {
            Self::Http => Reply::Http(200, vec![("content-type", "application/x-protobuf")], vec![]),
            Self::Grpc => Reply::Grpc(vec![0; 5], vec![("grpc-status", "0")]),
        }
    }

    /// The answer of a collector that did not take some.
    pub(super) fn rejects(self, spans: i64, message: &str) -> Reply {
        use opentelemetry_proto::tonic::collector::trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceResponse,
        };
        let partial_success = Some(ExportTracePartialSuccess {
            rejected_spans: spans,
            error_message: message.to_owned(),
        });
        let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
        match self {
            Self::Http => Reply::Http(200, vec![("content-type", "application/x-protobuf")], body),
            Self::Grpc => Reply::Grpc(frame(&body), vec![("grpc-status", "0")]),
        }
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &len, message].concat()
}

async fn answer(reply: Reply) -> io::Result<Response<Body>> {
    let full = |bytes: Vec<u8>| Full::new(Bytes::from(bytes)).map_err(infallible).boxed();
    match reply {
        Reply::Http(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(full(body)).unwrap())
        }
        Reply::Grpc(message, trailers) => {
            let trailers: HeaderMap = trailers
                .into_iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>();
            let body = full(message).with_trailers(async { Some(Ok(trailers)) }).boxed();
            Ok(Response::builder()
                .header("content-type", "application/grpc")
                .body(body)
                .unwrap())
        }
        Reply::Hang => std::future::pending().await,
        Reply::Die => Err(io::ErrorKind::ConnectionReset.into()),
        Reply::DieInBody => {
            let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
            tokio::spawn(async move {
                let _ = sender.send_data(Bytes::from_static(b"\x0a\x20")).await;
                sender.abort(io::ErrorKind::ConnectionReset.into());
            });
            Ok(Response::new(body.boxed()))
        }
        Reply::HangInBody => {
            let (mut sender, body) = Channel::<Bytes, io::Error>::new(1);
            tokio::spawn(async move {
                let _ = sender.send_data(Bytes::from_static(b"\x0a\x20")).await;
                std::future::pending::<()>().await;
            });
            Ok(Response::new(body.boxed()))
        }
        Reply::Flood(status, len) => Ok(Response::builder()
            .status(status)
            .header("content-type", "text/plain")
            .body(full(vec![b'x'; len]))
            .unwrap()),
    }
}

fn infallible(never: Infallible) -> io::Error {
    match never {}
}

/// The equation of 5.8: nothing is lost without being counted.
pub(super) fn assert_adds_up(stats: Stats) -> Stats {
    assert_eq!(
        stats.enqueued,
        stats.exported + stats.rejected + stats.failed + stats.dropped() + stats.in_flight,
        "{stats:?}"
    );
    stats
}
