use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::accept::Open;
use super::slow_head;
use super::sniff::Protocol;
use crate::join::poll_write_joined;
use crate::lifecycle::Phase;
use crate::report::Cut;
use crate::shared::{Conn, Expired, Reader};
use crate::tail::Tail;

/// A socket that gives up on a client that keeps it waiting: with a head it does not finish, with nothing at all, or
/// by not taking the response.
///
/// hyper's own header time-out also counts the pause between two requests and makes a timer for every head. Here one
/// timer serves the connection and is left alone while it only has to move later: a request costs no timer operation.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts about one socket that do not depend on each other"
)]
pub(crate) struct DeadlineIo<T> {
    io: T,
    conn: Arc<Conn>,
    /// What was read before hyper asked for it: by the sniffing, or to see whether the client is still there.
    prefix: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whom the timer wakes, and whether it is at the end of a pause between requests.
    armed: Option<(Waker, Expired)>,
    http1: bool,
    /// Requests seen to begin: bytes read before belong to them.
    seen: u64,
    /// Since when a head is on its way that is not whole.
    partial_since: Option<Instant>,
    /// Bytes of the next head arrived; its clock starts at the next pause.
    partial: bool,
    /// The last bytes that were read: whether they end a head.
    tail: Tail,
    stalled_since: Option<Instant>,
    /// Bytes were written since the last flush: a response is on its way, also when its request has ended.
    unflushed: bool,
    /// The task was woken for a limit that is past; once is enough.
    woken: bool,
    eof: bool,
    /// The client of an idle HTTP/2 connection was told to go away.
    leaving: bool,
    discard: Option<Discard>,
    /// Made when the head of the upgrade has been sent.
    upgraded: Option<Box<Upgraded>>,
    /// Last, so that it is dropped after all that is counted.
    _open: Arc<Open>,
}

/// The socket of an upgraded connection: nobody but this knows it any more, as hyper has given it away.
#[derive(Debug)]
struct Upgraded {
    /// Reads and writes may wait in two tasks, and both have to hear of the cut.
    killed: [Pin<Box<WaitForCancellationFutureOwned>>; 2],
    sent: u64,
    cut: bool,
}

/// Whose turn it is, an index into [`Upgraded::killed`].
#[derive(Clone, Copy)]
enum Half {
    Read,
    Write,
}

/// The time and the bytes spent on reading what nobody wants, so that the client sees the last answer.
#[derive(Debug)]
struct Discard {
    until: Instant,
    left: usize,
}

/// How long the client of an idle HTTP/2 connection has to go away, if it may be idle for as long.
const FAREWELL: Duration = Duration::from_secs(5);

/// How much of the next request is read while one is served.
const AHEAD: usize = 512;

const DISCARD_TIME: Duration = Duration::from_millis(500);
const DISCARD_BYTES: usize = 1 << 20;

impl<T: AsyncRead + AsyncWrite + Unpin> DeadlineIo<T> {
    pub(super) fn new(io: T, conn: Arc<Conn>, protocol: Protocol, prefix: BytesMut, open: Arc<Open>) -> Self {
        let http1 = protocol == Protocol::Http1;
        Self {
            io,
            prefix,
            timer: None,
            armed: None,
            http1,
            seen: 0,
            partial_since: None,
            partial: http1,
            tail: Tail::default(),
            stalled_since: None,
            unflushed: false,
            woken: false,
            eof: false,
            leaving: false,
            discard: None,
            upgraded: None,
            conn,
            _open: open,
        }
    }

    /// Called when all is flushed: if that was the head of an upgrade, hyper is done with the socket.
    fn watch_upgrade(&mut self) {
        if self.upgraded.is_none() && self.unflushed && self.conn.upgraded().is_some() {
            let killed = || Box::pin(self.conn.shared.kill.clone().cancelled_owned());
            self.upgraded = Some(Box::new(Upgraded {
                killed: [killed(), killed()],
                sent: 0,
                cut: false,
            }));
        }
    }

    /// Fails once an upgraded connection is cut; while its socket pends, the task is woken then. What hyper serves is
    /// dropped by its task instead.
    fn poll_cut(&mut self, half: Half, pends: bool, cx: &mut Context<'_>) -> Poll<io::Error> {
        let Some(upgraded) = &mut self.upgraded else {
            return Poll::Pending;
        };
        if !self.conn.shared.phase.reached(Phase::Cut) {
            if !pends {
                return Poll::Pending;
            }
            ready!(upgraded.killed[half as usize].as_mut().poll(cx));
        }
        name_cut(&self.conn, Some(upgraded));
        Poll::Ready(io::ErrorKind::ConnectionAborted.into())
    }

    /// Returns until when the client may keep us waiting for a request, and which limit that is; `None` while one is
    /// under way, which has limits of its own.
    fn patience(&mut self) -> Option<(Instant, Expired)> {
        self.see_begun();
        if self.unflushed || self.conn.is_busy() {
            return None;
        }
        let shared = &self.conn.shared;
        if self.partial {
            let since = *self.partial_since.get_or_insert_with(|| shared.clock.now());
            return Some((since + shared.limits.header, Expired::Header));
        }
        let idle = shared.limits.idle;
        let more = if self.leaving {
            idle.min(FAREWELL)
        } else {
            Duration::ZERO
        };
        Some((self.conn.idle_since() + idle + more, Expired::Idle))
    }

    /// Takes note of requests that have begun. What was read before them ends with their heads, or with what belongs to the
    /// next one: unless there was a body, of which only hyper knows where it ends.
    #[inline]
    fn see_begun(&mut self) {
        let begun = self.conn.begun();
        if self.seen != begun {
            self.seen = begun;
            self.partial = self.http1 && !self.tail.ends_head() && !self.conn.had_body();
            self.partial_since = None;
        }
    }

    /// Takes note of bytes that hyper gets. They are of the next head unless a request is under way that has a body, which
    /// somebody reads or nobody wants.
    #[inline]
    fn note_read(&mut self, bytes: &[u8]) {
        if self.http1 && !bytes.is_empty() {
            self.see_begun();
            self.tail.push(bytes);
            // Empty lines before a request are none of it (RFC 9112, section 2.2).
            let is_blank = !self.partial && bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            self.partial |=
                !is_blank && !(self.conn.is_busy() && (self.conn.is_read() || self.conn.is_unread()));
        }
    }

    /// Called when a read pends: fails if the client has kept us waiting for too long.
    fn poll_read_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.see_begun();
        if !self.partial && self.is_armed_for_idle(cx) {
            return Poll::Pending;
        }
        let patience = match self.patience() {
            // Not if there was nobody to wait for before: only the last reader of a body changes the answer.
            None if self.conn.waits_for_reader(cx) == Reader::Gone => self.patience(),
            patience => patience,
        };
        let Some((until, limit)) = patience else {
            return Poll::Pending;
        };
        ready!(self.poll_until(until, limit, cx));
        if limit == Expired::Idle && !self.http1 && !self.leaving {
            // First GOAWAY, which says that a request that is on its way was not seen.
            self.leaving = true;
            self.conn.leave();
            return self.poll_read_limit(cx);
        }
        if limit == Expired::Header {
            // Nothing of a response is under way, so this is a message of its own.
            let _ = Pin::new(&mut self.io).poll_write(cx, &slow_head::answer(&self.conn));
        }
        // hyper drops the socket now; with TLS the client hears that this is the end, and not an attack.
        let _ = Pin::new(&mut self.io).poll_shutdown(cx);
        Poll::Ready(self.expire(limit))
    }

    /// Called when all is flushed on HTTP/2, where no read follows: this is where the wait for the next request begins. The
    /// read finds the limit reached when the timer wakes the task. On HTTP/1 a read follows.
    fn start_waiting(&mut self, cx: &mut Context<'_>) {
        self.see_begun();
        if self.discard.is_some() || !self.partial && self.is_armed_for_idle(cx) {
            return;
        }
        if let Some((until, limit)) = self.patience()
            && self.poll_until(until, limit, cx).is_ready()
            && !std::mem::replace(&mut self.woken, true)
        {
            cx.waker().wake_by_ref();
        }
    }

    /// Says whether the timer is at the end of an earlier pause, and wakes this task: when it does is soon enough for what
    /// comes after that pause. Asked once a request, where to poll the timer costs ten times as much.
    #[inline]
    fn is_armed_for_idle(&self, cx: &Context<'_>) -> bool {
        let (Some(timer), Some((waker, Expired::Idle))) = (&self.timer, &self.armed) else {
            return false;
        };
        !timer.is_elapsed() && waker.will_wake(cx.waker())
    }

    /// Called while a request may be under way: fails once its client has left, so that its handler is dropped. One that
    /// has closed its half counts as gone, too, as it is to proxies: nobody can tell them apart.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        // Who has sent another request already is there.
        if !self.http1 || !self.conn.is_served() || !self.prefix.is_empty() {
            return Poll::Pending;
        }
        let mut ahead = [MaybeUninit::uninit(); AHEAD];
        let mut ahead = ReadBuf::uninit(&mut ahead);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut ahead));
        match read {
            Ok(()) if !ahead.filled().is_empty() => {
                self.prefix.extend_from_slice(ahead.filled());
                return Poll::Pending;
            }
            Ok(()) => self.eof = true,
            // TLS without its farewell.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.eof = true,
            Err(error) => return Poll::Ready(error),
        }
        self.conn.expire(Expired::Left);
        Poll::Ready(io::ErrorKind::ConnectionAborted.into())
    }

    /// Called when a write pends: fails if the client has taken nothing for too long.
    fn poll_write_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let shared = &self.conn.shared;
        let since = *self.stalled_since.get_or_insert_with(|| shared.clock.now());
        let until = since + shared.limits.write_stall;
        ready!(self.poll_until(until, Expired::WriteStall, cx));
        Poll::Ready(self.expire(Expired::WriteStall))
    }

    fn expire(&self, limit: Expired) -> io::Error {
        self.conn.expire(limit);
        io::ErrorKind::TimedOut.into()
    }

    /// Makes sure that the task wakes no later than `until`; ready once that is past. A timer that fires too early is
    /// set again then, which is rarer than setting it again for every request.
    fn poll_until(&mut self, until: Instant, limit: Expired, cx: &mut Context<'_>) -> Poll<()> {
        let until = until.into();
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        let is_set = self.armed.as_ref();
        if is_set.is_none() || timer.deadline() > until && !timer.is_elapsed() {
            timer.as_mut().reset(until);
            self.armed = Some((cx.waker().clone(), limit));
        } else if !is_set.is_some_and(|(waker, _)| waker.will_wake(cx.waker())) {
            self.armed = is_set.map(|(_, limit)| (cx.waker().clone(), *limit));
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
            self.armed = Some((cx.waker().clone(), limit));
        }
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = || self.conn.shared.clock.now();
        let mut discard = self.discard.take().unwrap_or_else(|| Discard {
            until: now() + DISCARD_TIME,
            left: DISCARD_BYTES,
        });
        let mut scratch = [0; 8 << 10];
        while discard.left > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    discard.left = discard.left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => break, // closed on the other side
                Poll::Pending => {
                    let until = discard.until;
                    self.discard = Some(discard);
                    return self.poll_until(until, Expired::WriteStall, cx).map(Ok);
                }
            }
        }
        self.discard = Some(Discard { left: 0, ..discard });
        Poll::Ready(Ok(()))
    }

    fn written<R>(&mut self, written: Poll<io::Result<R>>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        if written.is_pending() {
            if let Poll::Ready(error) = self.poll_cut(Half::Write, true, cx) {
                return Poll::Ready(Err(error));
            }
            if let Poll::Ready(error) = self.poll_left(cx) {
                return Poll::Ready(Err(error));
            }
            return self.poll_write_limit(cx).map(Err);
        }
        self.stalled_since = None;
        written
    }

    /// Notes that something is on its way, or that all is flushed.
    #[inline]
    fn note_sending(&mut self, sending: bool) {
        self.unflushed = sending;
        if !self.http1 {
            self.conn.set_sending(sending);
        }
    }

    /// As [`written`](Self::written), of bytes.
    fn sent(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            if !self.http1 {
                self.conn.wrote(*bytes);
            } else if let Some(upgraded) = &mut self.upgraded {
                upgraded.sent += *bytes as u64;
            }
        }
        self.written(written, cx)
    }
}

/// Names an upgraded connection in the report, once.
fn name_cut(conn: &Conn, state: Option<&mut Upgraded>) {
    let Some(upgrade) = conn.upgraded() else { return };
    let bytes = state.as_ref().map_or(0, |state| state.sent);
    if state.is_some_and(|state| std::mem::replace(&mut state.cut, true)) {
        return;
    }
    let age = conn.shared.clock.now().saturating_duration_since(upgrade.since);
    conn.shared.tally.cut(Cut {
        method: upgrade.method,
        route: Arc::clone(&upgrade.route),
        age,
        bytes,
    });
}

impl<T> Drop for DeadlineIo<T> {
    /// Who held an upgraded connection over the cut may have let it go without asking for more.
    fn drop(&mut self) {
        if self.conn.shared.phase.reached(Phase::Cut) {
            name_cut(&self.conn, self.upgraded.as_deref_mut());
            if let Some(cut) = self.conn.unsent(self.unflushed) {
                self.conn.shared.tally.cut(cut);
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for DeadlineIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.prefix.is_empty() {
            let count = this.prefix.len().min(buf.remaining());
            let prefix = this.prefix.split_to(count);
            this.note_read(&prefix);
            buf.put_slice(&prefix);
            if this.prefix.is_empty() {
                this.prefix = BytesMut::new(); // an empty one would keep its memory for as long as the connection lives
            }
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(error) = this.poll_cut(Half::Read, false, cx) {
            return Poll::Ready(Err(error));
        }
        this.woken = false;
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                this.eof = buf.filled().len() == before && buf.remaining() > 0;
                this.note_read(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            // TLS without its farewell: nothing that somebody reads is cut short by it.
            Poll::Ready(Err(error))
                if error.kind() == io::ErrorKind::UnexpectedEof && !this.conn.is_read() =>
            {
                this.eof = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if let Poll::Ready(error) = this.poll_cut(Half::Read, true, cx) {
                    return Poll::Ready(Err(error));
                }
                this.poll_read_limit(cx).map(Err)
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for DeadlineIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Poll::Ready(error) = this.poll_cut(Half::Write, false, cx) {
            return Poll::Ready(Err(error));
        }
        this.note_sending(true);
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.sent(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Poll::Ready(error) = this.poll_cut(Half::Write, false, cx) {
            return Poll::Ready(Err(error));
        }
        this.note_sending(true);
        let written = poll_write_joined(Pin::new(&mut this.io), cx, bufs);
        this.sent(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.io).poll_flush(cx);
        if flushed.is_ready() {
            this.watch_upgrade();
            this.note_sending(false);
            if !this.http1 {
                this.start_waiting(cx);
            }
            if let Poll::Ready(error) = this.poll_left(cx) {
                return Poll::Ready(Err(error));
            }
        }
        this.written(flushed, cx)
    }

    /// Closes our side. If the client may still be sending, reads on for a moment: closing with bytes unread resets
    /// the connection, and the client would lose the answer that says why (RFC 9112, section 9.6). On HTTP/2 it always
    /// may: of the answers that have arrived it takes, and gives window for, one after the other, and the rest would be
    /// lost.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.discard.is_none() {
            // With TLS the farewell has to be written, too.
            let shut = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.written(shut, cx))?;
            let begun = this.conn.begun();
            let ahead = this.partial && this.seen == begun || !this.prefix.is_empty();
            if this.eof || this.http1 && !(this.conn.is_unread() || ahead) {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_discard(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::SystemTime;

    use axum::routing::{any, get};
    use cortex_core::Clock;
    use cortex_trace::Tracer;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::access::AccessLog;
    use crate::guard::{Deadlines, SecurityHeaders};
    use crate::join::tests::Writes;
    use crate::limits::Limits;
    use crate::observe::{Observed, PerConnection};
    use crate::routes::Routes;
    use crate::serve::connection::http1_builder;
    use crate::shared::Shared;

    /// Runs as fast as tokio's clock, and tells a date.
    struct TokioClock;

    impl Clock for TokioClock {
        fn now(&self) -> Instant {
            tokio::time::Instant::now().into_std()
        }

        fn wall(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
        }
    }

    /// A connection of HTTP/1 whose client is the other end of a pipe, in paused time.
    struct Client {
        io: DuplexStream,
        opened: tokio::time::Instant,
        /// The bodies that were read after the answer.
        reads: mpsc::UnboundedReceiver<bytes::Bytes>,
        server: JoinHandle<Option<Expired>>,
    }

    impl Client {
        /// Is silent for so long, and then begins with these bytes.
        async fn open(silent: Duration, first: &str) -> Self {
            let opened = tokio::time::Instant::now();
            let (read, reads) = mpsc::unbounded_channel();
            // Answers at once, and reads the body later, in a task of its own.
            let read_later = async move |body: axum::body::Body| {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    let body = axum::body::to_bytes(body, 100).await;
                    let _ = read.send(body.expect("all of it"));
                });
                "later"
            };
            let slow = || async {
                tokio::time::sleep(Duration::from_secs(20)).await;
                "slow"
            };
            let routes = Routes::new()
                .route("/slow", get(slow))
                .route("/later", any(read_later))
                .route("/echo", any(|body: String| async move { body }))
                .route("/", any(|| async { "hello" }));
            let (app, table) = routes.into_parts();
            let tracer = Tracer::propagate_only();
            let mut shared = Shared::new(
                table,
                Limits::new(),
                tracer,
                AccessLog::off(),
                Arc::new(TokioClock),
            );
            shared.guards.security = Some(SecurityHeaders::new());
            shared.guards.deadlines = Deadlines::new();
            let shared = Arc::new(shared);
            let (io, ours) = duplex(64 << 10);
            let conn = Conn::new(Arc::clone(&shared), None).speaking(Protocol::Http1);
            let conn = Arc::new(conn);
            let open = Arc::new(Open::new(&shared, None));
            tokio::time::sleep(silent).await;
            let read = BytesMut::from(first);
            let socket = DeadlineIo::new(ours, Arc::clone(&conn), Protocol::Http1, read, open);
            let service = PerConnection::new(Observed::new(app, Arc::clone(&conn)));
            let server = tokio::task::spawn_local(async move {
                let served = http1_builder(&shared).serve_connection(TokioIo::new(socket), service);
                let _ = pin!(served).await;
                conn.expired()
            });
            Self {
                io,
                opened,
                reads,
                server,
            }
        }

        async fn send_after(&mut self, pause: Duration, bytes: &str) {
            tokio::time::sleep(pause).await;
            self.io.write_all(bytes.as_bytes()).await.expect("it is open");
        }

        /// Reads to the end; returns what came, how many seconds after the beginning it ended, and by which limit.
        async fn end(mut self) -> (String, u64, Option<Expired>) {
            let mut all = String::new();
            self.io.read_to_string(&mut all).await.expect("text");
            let expired = self.server.await.expect("no panic");
            (all, self.opened.elapsed().as_secs(), expired)
        }
    }

    fn local<F: Future<Output = ()>>(test: F) -> impl Future<Output = ()> {
        let set = tokio::task::LocalSet::new();
        async move { set.run_until(test).await }
    }

    const SECOND: Duration = Duration::from_secs(1);
    const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";
    const POST: &str = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nfive!";

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_its_first_byte() {
        local(async {
            // Of the first head, the wait for its first byte is another one.
            let client = Client::open(4 * SECOND, "GET / HT").await;
            let (answer, at, expired) = client.end().await;
            assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
            assert_eq!((at, expired), (4 + 5, Some(Expired::Header)));

            let mut client = Client::open(4 * SECOND, "GET / HT").await;
            client.send_after(4 * SECOND, &GET[8..]).await; // in time
            client.send_after(10 * SECOND, "GET").await;
            client.send_after(4 * SECOND, " ").await; // which wins it no time
            let (answer, at, expired) = client.end().await;
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("HTTP/1.1 408 "),
                "{answer}"
            );
            assert_eq!((at, expired), (4 + 4 + 10 + 5, Some(Expired::Header)));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_begins_early_has_its_time_once_the_answer_before_it_is_sent() {
        local(async {
            for (first, later) in [
                (SLOW.to_owned(), "GET / HT"),
                (format!("{SLOW}GET / HT"), ""),
                (format!("{SLOW}{GET}GET / HT"), ""),
                (SLOW.to_owned(), "G"),
                (SLOW.to_owned(), "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HT"),
                (format!("{POST}{SLOW}G"), ""),
            ] {
                let mut client = Client::open(Duration::ZERO, &first).await;
                client.send_after(SECOND, later).await;
                let (answer, at, expired) = client.end().await;
                assert!(answer.contains("HTTP/1.1 408 "), "{first}|{later}: {answer}");
                assert_eq!((at, expired), (20 + 5, Some(Expired::Header)), "{first}|{later}");
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn whole_requests_leave_no_head_behind() {
        local(async {
            let halves = GET.split_at(GET.len() - 1);
            let unread = POST.replace("/echo", "/");
            for (first, later) in [
                (GET.to_owned(), ""),
                (format!("{GET}{GET}"), ""),
                (format!("{GET}\r\n"), ""),
                (GET.to_owned(), "\r\n"),
                ("GET / HTTP/1.1\nhost: a\n\n".to_owned(), ""),
                (halves.0.to_owned(), halves.1),
                (POST.to_owned(), ""),
                (POST[..POST.len() - 5].to_owned(), "five!"),
                (format!("{POST}{POST}"), ""),
                (unread, ""),
            ] {
                let mut client = Client::open(Duration::ZERO, &first).await;
                client.send_after(SECOND, later).await;
                let (answer, at, expired) = client.end().await;
                assert!(!answer.contains("408"), "{first}|{later}: {answer}");
                assert_eq!(expired, Some(Expired::Idle), "{first}|{later}");
                assert!((75..=76).contains(&at), "{first}|{later}: {at}");
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_the_next_request_begins_when_somebody_has_read_the_body_of_the_last() {
        local(async {
            let later = POST.replace("/echo", "/later");
            // Of these nothing but the last chunk tells the end, which the connection has read long before the reader has.
            let chunked = later.replace("content-length: 5", "transfer-encoding: chunked");
            let chunked = chunked.replace("five!", "5\r\nfive!\r\n0\r\n\r\n");
            let head_of = |all: &str| all.find("\r\n\r\n").map_or(0, |end| end + 4);
            for all in [later, chunked] {
                let (head, body) = all.split_at(head_of(&all));
                for (first, pause, rest, read_at) in [
                    (all.clone(), 1, "", 10),           // it is there long before it is read
                    (head.to_owned(), 5, body, 10),     // it comes after the answer
                    (head.to_owned(), 25, body, 25),    // it is waited for
                    (format!("{GET}{all}"), 1, "", 10), // a timer runs already
                ] {
                    let mut client = Client::open(Duration::ZERO, &first).await;
                    client.send_after(pause * SECOND, rest).await;
                    assert_eq!(client.reads.recv().await.expect("it is read"), "five!");
                    assert_eq!(client.opened.elapsed().as_secs(), read_at, "{first}|{rest}");
                    let ended = tokio::time::timeout(Duration::from_hours(1), client.end()).await;
                    let (answer, at, expired) = ended.expect("it does not idle for ever");
                    assert!(answer.ends_with("later"), "{first}|{rest}: {answer}");
                    assert_eq!(expired, Some(Expired::Idle), "{first}|{rest}");
                    assert_eq!(at, read_at + 75, "{first}|{rest}");
                }
            }
            // Who gives it up has read it, too.
            let mut client = Client::open(Duration::ZERO, &POST.replace("/echo", "/")).await;
            client.send_after(SECOND, "").await;
            assert_eq!(client.end().await.2, Some(Expired::Idle));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_nobody_read_is_forgotten_with_the_next_request() {
        local(async {
            let unread = POST.replace("/echo", "/");
            let late = SLOW.replace("\r\n\r\n", "\r\nx-request-timeout-ms: 1000\r\n\r\n");
            let last = GET.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
            let mut client = Client::open(Duration::ZERO, &format!("{unread}{late}")).await;
            client.send_after(10 * SECOND, &last).await;
            let opened = client.opened;
            let (answers, _, expired) = client.end().await;
            // The late one costs nobody the connection, and in the end nobody waits for more of the body.
            assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
            assert_eq!(answers.matches("HTTP/1.1 504 ").count(), 1, "{answers}");
            assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
            assert_eq!((opened.elapsed(), expired), (10 * SECOND, None));
        })
        .await;
    }

    #[tokio::test]
    async fn a_head_and_a_small_body_are_one_write() {
        let (_, table) = Routes::new().into_parts();
        let clock = Arc::new(TokioClock);
        let shared = Shared::new(
            table,
            Limits::new(),
            Tracer::propagate_only(),
            AccessLog::off(),
            clock,
        );
        let shared = Arc::new(shared);
        let open = Arc::new(Open::new(&shared, None));
        let conn = Arc::new(Conn::new(shared, None).speaking(Protocol::Http1));
        let io = tokio::io::join(tokio::io::empty(), Writes::taking(700));
        let mut socket = DeadlineIo::new(io, conn, Protocol::Http1, BytesMut::new(), open);
        assert!(socket.is_write_vectored());
        let parts = [io::IoSlice::new(b"head"), io::IoSlice::new(b"body")];
        assert_eq!(socket.write_vectored(&parts).await.expect("it takes them"), 8);
        let writes = socket.io.writer();
        assert_eq!(
            (&writes.bytes[..], &writes.joined, writes.vectored.len()),
            (&b"headbody"[..], &vec![8], 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn on_http2_the_rest_of_a_body_is_awaited_for_a_while() {
        let (_, table) = Routes::new().into_parts();
        let tracer = Tracer::propagate_only();
        let shared = Shared::new(
            table,
            Limits::new(),
            tracer,
            AccessLog::off(),
            Arc::new(TokioClock),
        );
        let conn = Conn::new(Arc::new(shared), None);
        let conn = conn.speaking(Protocol::Http2);
        assert!(!conn.is_unread());
        conn.leave_unread();
        conn.begin(); // another stream
        tokio::time::advance(4 * SECOND).await;
        assert!(conn.is_unread());
        tokio::time::advance(2 * SECOND).await;
        assert!(!conn.is_unread());
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_to_a_slow_head_bears_what_all_answers_do() {
        local(async {
            let (answer, ..) = Client::open(Duration::ZERO, "GET").await.end().await;
            let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
            let mut headers: Vec<_> = head.lines().skip(1).collect();
            headers.sort_unstable();
            assert_eq!(
                headers,
                [
                    "cache-control: no-store",
                    "connection: close",
                    "content-length: 120",
                    "content-security-policy: frame-ancestors 'none'",
                    "content-type: application/problem+json",
                    "date: Sun, 06 Nov 1994 08:49:37 GMT",
                    "referrer-policy: same-origin",
                    "x-content-type-options: nosniff",
                    "x-frame-options: DENY",
                ]
            );
            let problem = r#"{"type":"about:blank","title":"Request Timeout","status":408,"#;
            assert!(body.starts_with(problem) && body.len() == 120, "{body}");
        })
        .await;
    }
}
