//! Sends a request until it is taken, refused for good, or out of time.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use cortex_core::{Clock, SystemClock};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TE};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answer::{Answer, Failure, Rejection, Retry, judge};
use super::backoff::Backoff;
use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::grpc;
use super::settings::{Encoding, Protocol, Settings};
#[cfg(feature = "tls")]
use super::tls;
use super::tls_problem::TlsProblem;
use super::transport::{BoxError, Payload, Transport, read};
use crate::ExportError;
use crate::export::{Abort, Reporter};

/// How long a batch may be tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The wait before the second attempt.
    pub(super) first: Duration,
    /// The time for all attempts.
    pub(super) all: Duration,
}

/// The way to one collector.
#[derive(Debug)]
pub(super) struct Sender<T> {
    transport: T,
    /// Everything of a request but its body.
    template: Request<Payload>,
    protocol: Protocol,
    timeout: Duration,
    gzip: bool,
    patience: Patience,
    abort: Abort,
    /// Hears of what somebody has to look after, while it is tried again.
    reporter: Option<Reporter>,
    /// Until then the collector asked to be left alone.
    not_before: Option<Instant>,
}

impl<T: Transport> Sender<T> {
    pub(super) fn new(
        transport: T,
        settings: &Settings,
        method: &str,
        patience: Patience,
        abort: Abort,
        reporter: Option<Reporter>,
    ) -> Self {
        let url = match settings.protocol {
            Protocol::Http(_) => settings.url.clone(),
            Protocol::Grpc => settings.method(method),
        };
        Self {
            transport,
            template: template(settings, url),
            protocol: settings.protocol,
            timeout: settings.timeout,
            gzip: settings.gzip,
            patience,
            abort,
            reporter,
            not_before: None,
        }
    }

    /// Returns when a batch that begins now is given up.
    pub(super) fn deadline(&self) -> Instant {
        after(self.patience.all)
    }

    /// Sends a request, again and again if need be; a success may have a rejection of some items in it.
    pub(super) async fn send(
        &mut self,
        message: Vec<u8>,
        until: Instant,
    ) -> Result<Option<Rejection>, OtlpError> {
        if let Some(at) = self.not_before {
            if at >= until {
                return Err(OtlpError::new(Kind::Throttled));
            }
            self.wait(at).await?;
            self.not_before = None;
        }
        let message = self.pack(message);
        let mut backoff = Backoff::new(self.patience.first);
        loop {
            let abort = self.abort.clone();
            let attempt = self.attempt(message.clone(), until);
            let failure = match unless(&abort, attempt).await? {
                Ok(rejection) => return Ok(rejection),
                Err(failure) => failure,
            };
            let wait = match failure.retry {
                Retry::Never => return Err(failure.error),
                Retry::Later => backoff.next(),
                Retry::After(wait) => {
                    self.not_before = Some(after(wait));
                    wait.max(backoff.next()) // a collector that says 0 all the time is not to be hammered
                }
            };
            let at = after(wait);
            if at >= until {
                return Err(failure.error);
            }
            self.wait(at).await?;
            self.not_before = None;
        }
    }

    async fn attempt(&mut self, message: Bytes, until: Instant) -> Result<Option<Rejection>, Failure> {
        let mut request = self.template.clone();
        request.body_mut().0 = message;
        let deadline = after(self.timeout).min(until);
        match self.ask(request, deadline).await {
            Ok(answer) => judge(&answer, self.protocol, SystemClock.wall()),
            Err(error) => {
                if *error.kind() == Kind::TimedOut {
                    self.transport.renew(); // HTTP/2 would keep a dead connection until TCP gives it up
                }
                let retry = match error.kind() {
                    Kind::Tls { problem } => retry(*problem),
                    _ => Retry::Later,
                };
                if let (Kind::Tls { .. }, Retry::Later, Some(reporter)) =
                    (error.kind(), retry, &self.reporter)
                {
                    // Whoever looks after certificates wants to know now, not after the last attempt.
                    reporter.report(ExportError::new(error.clone()));
                }
                Err(Failure { error, retry })
            }
        }
    }

    async fn ask(&self, request: Request<Payload>, deadline: Instant) -> Result<Answer, OtlpError> {
        let late = || OtlpError::new(Kind::TimedOut);
        let head = timeout_at(deadline, self.transport.send(request)).await;
        let (head, body) = head.map_err(|_| late())?.map_err(broken)?.into_parts();
        let (body, trailers) = match (timeout_at(deadline, read(body)).await, self.protocol) {
            (Ok(Ok(read)), _) => read,
            // The status has said it all: to send again what was taken would double it.
            (Ok(Err(_)) | Err(_), Protocol::Http(_)) => Default::default(),
            // The status would have come last.
            (Ok(Err(error)), Protocol::Grpc) => return Err(broken(error.into())),
            (Err(_), Protocol::Grpc) => return Err(late()),
        };
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body,
            trailers,
        })
    }

    async fn wait(&self, at: Instant) -> Result<(), OtlpError> {
        unless(&self.abort, sleep_until(at)).await
    }

    fn pack(&self, message: Vec<u8>) -> Bytes {
        let message = if self.gzip { gzip(&message) } else { message };
        match self.protocol {
            Protocol::Http(_) => message.into(),
            Protocol::Grpc => grpc::frame(&message, self.gzip).into(),
        }
    }
}

/// Says whether a later handshake can go well though nobody has set this client up anew: files are read again for each.
const fn retry(problem: TlsProblem) -> Retry {
    match problem {
        // Renewed at the collector, or the clock of either machine set: minutes.
        TlsProblem::Expired
        | TlsProblem::NotYetValid
        // An authority, or a whole chain, in rotation: the two ends do not change at the same moment. And a collector that
        // has only just started may show the certificate that was there before its own.
        | TlsProblem::UnknownIssuer
        | TlsProblem::WrongName
        | TlsProblem::InvalidCertificate
        // The files of this client are being renewed, or the collector has not heard of its authority yet.
        | TlsProblem::ClientCertificateRequired
        | TlsProblem::ClientCertificateRefused
        // The bundle of the machine is empty while it is written.
        | TlsProblem::NoAuthorities
        // It may be anything, such as a proxy whose backend is being replaced.
        | TlsProblem::Handshake => Retry::Later,
        // The endpoint is wrong, or what listens there is set up otherwise.
        TlsProblem::NotTls
        // Neither end learns a version, a cipher or a protocol without another program or configuration.
        | TlsProblem::NothingInCommon => Retry::Never,
    }
}

/// Says why there is no connection, or no longer.
fn broken(error: BoxError) -> OtlpError {
    #[cfg(feature = "tls")]
    if let Some(error) = tls::diagnose(&*error) {
        return error;
    }
    OtlpError::caused(Kind::Transport, error)
}

/// Waits for the future, unless the abort is raised first.
async fn unless<F: Future>(abort: &Abort, future: F) -> Result<F::Output, OtlpError> {
    let (mut future, mut raised) = (pin!(future), pin!(abort.raised()));
    poll_fn(|cx| {
        if raised.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(OtlpError::new(Kind::Aborted)));
        }
        future.as_mut().poll(cx).map(Ok)
    })
    .await
}

fn template(settings: &Settings, url: Uri) -> Request<Payload> {
    let mut request = Request::new(Payload::default());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url;
    let headers = request.headers_mut();
    headers.clone_from(&settings.headers);
    let content_type = match settings.protocol {
        Protocol::Http(Encoding::Protobuf) => "application/x-protobuf",
        Protocol::Http(Encoding::Json) => "application/json",
        Protocol::Grpc => "application/grpc",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let encoding = match settings.protocol {
        Protocol::Http(_) => CONTENT_ENCODING,
        Protocol::Grpc => {
            *request.version_mut() = http::Version::HTTP_2;
            let headers = request.headers_mut();
            headers.insert(TE, HeaderValue::from_static("trailers"));
            let timeout = grpc::timeout(settings.timeout).parse();
            let timeout = timeout.expect("invariant: digits and a letter");
            headers.insert(HeaderName::from_static("grpc-timeout"), timeout);
            HeaderName::from_static("grpc-encoding")
        }
    };
    if settings.gzip {
        request
            .headers_mut()
            .insert(encoding, HeaderValue::from_static("gzip"));
    }
    request
}

/// Returns the time so long from now.
fn after(duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365 * 30);
    Instant::now() + duration.min(FAR)
}

#[cfg(feature = "gzip")]
fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder.write_all(bytes).and_then(|()| encoder.finish());
    compressed.expect("invariant: writing to a Vec does not fail")
}

#[cfg(not(feature = "gzip"))]
fn gzip(_: &[u8]) -> Vec<u8> {
    unreachable!("nothing switches it on without the feature")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::Context;

    use http::header::RETRY_AFTER;
    use http::{HeaderMap, Response};
    use http_body::{Body, Frame};

    use super::*;

    /// Answers as it was told, then not at all; notes when it was asked.
    struct Script {
        answers: RefCell<VecDeque<Reply>>,
        asked: RefCell<Vec<Duration>>,
        start: Instant,
        renewed: usize,
    }

    #[derive(Clone, Copy)]
    enum Reply {
        Status(u16, Option<&'static str>),
        /// The head of a status, and no end of the body.
        HangInBody(u16),
        Broken,
        /// What the connector says.
        #[cfg(feature = "tls")]
        Tls(TlsProblem),
        Never,
    }

    /// A body that has ended, or never does.
    struct Ending(bool);

    impl Body for Ending {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            if self.0 { Poll::Ready(None) } else { Poll::Pending }
        }
    }

    impl Transport for Script {
        async fn send(
            &self,
            request: Request<Payload>,
        ) -> Result<Response<impl Body<Error: Into<BoxError>>>, BoxError> {
            assert_eq!(request.body().0, "message");
            self.asked.borrow_mut().push(self.start.elapsed());
            let next = self.answers.borrow_mut().pop_front();
            match next {
                Some(Reply::Status(status, retry_after)) => {
                    let headers = retry_after.map(|after| (RETRY_AFTER, HeaderValue::from_static(after)));
                    let mut response = Response::builder().status(status).body(Ending(true))?;
                    *response.headers_mut() = headers.into_iter().collect::<HeaderMap>();
                    Ok(response)
                }
                Some(Reply::HangInBody(status)) => {
                    Ok(Response::builder().status(status).body(Ending(false))?)
                }
                Some(Reply::Broken) => Err("broken pipe".into()),
                #[cfg(feature = "tls")]
                Some(Reply::Tls(problem)) => Err(OtlpError::new(Kind::Tls { problem }).into()),
                Some(Reply::Never) | None => std::future::pending().await,
            }
        }

        fn renew(&mut self) {
            self.renewed += 1;
        }
    }

    const PATIENCE: Patience = Patience {
        first: Duration::from_secs(1),
        all: Duration::from_mins(1),
    };

    fn sender(answers: impl IntoIterator<Item = Reply>) -> Sender<Script> {
        let settings = Settings::exact(Protocol::Http(Encoding::Protobuf), "http://c/v1/traces").unwrap();
        let script = Script {
            answers: RefCell::new(answers.into_iter().collect()),
            asked: RefCell::default(),
            start: Instant::now(),
            renewed: 0,
        };
        Sender::new(
            script,
            &settings,
            "",
            PATIENCE,
            Abort::new(),
            Some(Reporter::new("otlp")),
        )
    }

    async fn send(sender: &mut Sender<Script>) -> Result<Option<Rejection>, OtlpErrorKind> {
        let until = sender.deadline();
        let sent = sender.send(b"message".to_vec(), until).await;
        sent.map_err(|error| error.kind().clone())
    }

    use crate::otlp::OtlpErrorKind;

    fn seconds(sender: &Sender<Script>) -> Vec<u64> {
        // Rounded, as timers have milliseconds.
        let asked = sender.transport.asked.borrow();
        asked
            .iter()
            .map(|at| (*at + Duration::from_millis(500)).as_secs())
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn waits_as_long_as_it_was_told() {
        let busy = |after| Reply::Status(503, Some(after));
        let mut sender = sender([busy("20"), busy("7"), Reply::Status(200, None)]);
        assert_eq!(send(&mut sender).await, Ok(None));
        assert_eq!(seconds(&sender), [0, 20, 27]);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_longer_and_longer_otherwise_and_gives_up_in_time() {
        let mut sender = sender([Reply::Broken; 99]);
        assert_eq!(send(&mut sender).await, Err(OtlpErrorKind::Transport));
        let asked = sender.transport.asked.borrow().clone();
        let waits: Vec<_> = asked
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]))
            .collect();
        for (at, wait) in waits.iter().enumerate() {
            let whole = Duration::from_secs(1 << at).min(Duration::from_secs(30));
            let slack = Duration::from_millis(2);
            assert!((whole / 2..=whole + slack).contains(wait), "{waits:?}");
        }
        assert!(
            waits.len() >= 5 && asked.last() < Some(&PATIENCE.all),
            "{asked:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_hangs_is_given_up_and_all_of_them_too() {
        let mut sender = sender([Reply::Never, Reply::Status(200, None)]);
        assert_eq!(send(&mut sender).await, Ok(None));
        assert_eq!(sender.transport.start.elapsed().as_secs(), 10);
        assert_eq!(sender.transport.renewed, 1); // what hangs may be the connection
        assert_eq!(send(&mut sender).await, Err(OtlpErrorKind::TimedOut));
        assert!(sender.transport.start.elapsed() < Duration::from_secs(71));
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_counts_though_its_body_hangs() {
        let mut sender = sender([Reply::HangInBody(200), Reply::Status(200, None)]);
        assert_eq!(send(&mut sender).await, Ok(None));
        assert_eq!(seconds(&sender), [0]); // a second time would double what was taken
        assert_eq!(sender.transport.start.elapsed().as_secs(), 10);

        let mut sender = self::sender([Reply::HangInBody(503), Reply::Status(200, None)]);
        assert_eq!(send(&mut sender).await, Ok(None));
        assert_eq!(sender.transport.asked.borrow().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn over_grpc_a_body_that_hangs_has_no_status() {
        let mut sender = sender([Reply::HangInBody(200)]);
        sender.protocol = Protocol::Grpc;
        let sent = sender.attempt("message".into(), sender.deadline()).await;
        let failure = sent.unwrap_err();
        assert_eq!(
            (failure.error.kind(), failure.retry),
            (&OtlpErrorKind::TimedOut, Retry::Later)
        );
        assert_eq!(sender.transport.renewed, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_final_is_sent_once() {
        for status in [301, 400, 500] {
            let mut sender = sender([Reply::Status(status, Some("1")), Reply::Status(200, None)]);
            let error = send(&mut sender).await.unwrap_err();
            assert!(matches!(error, OtlpErrorKind::Refused { .. }), "{error:?}");
            assert_eq!(seconds(&sender), [0]);
        }
    }

    #[cfg(feature = "tls")]
    #[tokio::test(start_paused = true)]
    async fn handshakes_that_fail_are_tried_again_as_long_as_everything_else_and_told_at_once() {
        use TlsProblem as Problem;
        for (problem, is_final) in [
            (Problem::UnknownIssuer, false),
            (Problem::Expired, false),
            (Problem::NotYetValid, false),
            (Problem::WrongName, false),
            (Problem::InvalidCertificate, false),
            (Problem::ClientCertificateRequired, false),
            (Problem::ClientCertificateRefused, false),
            (Problem::NoAuthorities, false),
            (Problem::Handshake, false),
            (Problem::NotTls, true),
            (Problem::NothingInCommon, true),
        ] {
            let expected = Err(OtlpErrorKind::Tls { problem });
            let mut sender = sender([Reply::Tls(problem), Reply::Tls(problem), Reply::Status(200, None)]);
            let reporter = sender.reporter.clone().unwrap();
            let sent = send(&mut sender).await;
            if is_final {
                assert_eq!((sent, seconds(&sender)), (expected, vec![0]), "{problem:?}");
                continue;
            }
            assert_eq!(sent, Ok(None), "{problem:?}");
            let told = reporter.last().unwrap();
            let told = std::error::Error::source(&told).unwrap().downcast_ref().unwrap();
            assert_eq!(*OtlpError::kind(told), OtlpErrorKind::Tls { problem });
            // And no longer than the rest, either.
            let mut sender = self::sender([Reply::Tls(problem); 99]);
            assert_eq!(send(&mut sender).await, expected);
            let asked = sender.transport.asked.borrow();
            assert!(
                asked.len() >= 5 && asked.last() < Some(&PATIENCE.all),
                "{asked:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_collector_that_wants_to_be_left_alone_is() {
        let mut sender = sender([Reply::Status(429, Some("3600")), Reply::Status(200, None)]);
        let error = send(&mut sender).await.unwrap_err();
        assert!(matches!(error, OtlpErrorKind::Refused { .. }), "{error:?}");
        assert_eq!(send(&mut sender).await, Err(OtlpErrorKind::Throttled));
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(send(&mut sender).await, Ok(None)); // after the rest of one minute, the most that is heeded
        assert_eq!(seconds(&sender), [0, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_hammered() {
        let mut sender = sender([Reply::Status(503, Some("0")); 99]);
        assert!(send(&mut sender).await.is_err());
        assert!(sender.transport.asked.borrow().len() < 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_ends_every_wait() {
        for replies in [[Reply::Never], [Reply::Broken], [Reply::Status(503, Some("30"))]] {
            let mut sender = sender(replies);
            let abort = sender.abort.clone();
            let (sent, ()) = tokio::join!(send(&mut sender), async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                abort.raise();
            });
            assert_eq!(sent, Err(OtlpErrorKind::Aborted));
            assert!(sender.transport.start.elapsed() < Duration::from_millis(102));
            assert_eq!(send(&mut sender).await, Err(OtlpErrorKind::Aborted));
            assert_eq!(seconds(&sender), [0]);
        }
    }
}
