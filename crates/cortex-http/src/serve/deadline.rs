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
use super::sniff::Protocol;
use crate::lifecycle::Phase;
use crate::report::Cut;
use crate::shared::{Conn, Expired};

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

/// RFC 9110, section 15.5.9: a server that times out on a request should say so and close.
const REQUEST_TIMEOUT: &[u8] = concat!(
    "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncache-control: no-store\r\n",
    "content-type: application/problem+json\r\ncontent-length: 120\r\n\r\n",
    r#"{"type":"about:blank","title":"Request Timeout","status":408,"#,
    r#""detail":"The head of the request did not arrive in time."}"#
)
.as_bytes();

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
            partial_since: http1.then(|| conn.accepted()),
            partial: http1,
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

    #[inline]
    fn see_begun(&mut self) {
        let begun = self.conn.begun();
        if self.seen != begun {
            self.seen = begun;
            self.partial = false;
            self.partial_since = None;
        }
    }

    /// Called when a read pends: fails if the client has kept us waiting for too long.
    fn poll_read_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.partial && self.is_armed_for_idle(cx) {
            return Poll::Pending;
        }
        let Some((until, limit)) = self.patience() else {
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
            let _ = Pin::new(&mut self.io).poll_write(cx, REQUEST_TIMEOUT);
        }
        // hyper drops the socket now; with TLS the client hears that this is the end, and not an attack.
        let _ = Pin::new(&mut self.io).poll_shutdown(cx);
        Poll::Ready(self.expire(limit))
    }

    /// Called when all is flushed: hyper waits for the next request with the read it began during the last one, so
    /// this is where the wait for it begins. The read finds the limit reached when the timer wakes the task.
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

    /// Called while a request may be under way: fails once its client has left, so that its handler is dropped.
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
            buf.put_slice(&this.prefix.split_to(count));
            this.partial |= this.http1 && !this.conn.is_busy();
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
                this.partial |= this.http1 && !this.conn.is_busy();
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
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
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
            this.start_waiting(cx);
            if let Poll::Ready(error) = this.poll_left(cx) {
                return Poll::Ready(Err(error));
            }
        }
        this.written(flushed, cx)
    }

    /// Closes our side. If the client may still be sending, reads on for a moment: closing with bytes unread resets
    /// the connection, and the client would lose the answer that says why (RFC 9112, section 9.6).
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.discard.is_none() {
            // With TLS the farewell has to be written, too.
            let shut = Pin::new(&mut this.io).poll_shutdown(cx);
            ready!(this.written(shut, cx))?;
            let begun = this.conn.begun();
            let refused = this.http1 && this.partial && this.seen == begun;
            if this.eof || !(this.conn.is_unread() || refused) {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_discard(cx)
    }
}
