use std::cell::Cell;
use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::export::{Completion, Waiting};
use crate::{ExportError, FlushError};

/// Hands lines to a thread of its own, so that a writer that is slow or stuck never holds up the service.
///
/// The queue is bounded, in lines and in bytes; what does not fit is dropped and counted. A clone is the same queue.
/// Made by [`JsonLogs::background`](crate::JsonLogs::background), which also logs how many lines were dropped once
/// there is room again, or by [`new`](Self::new) for any other layer that takes a `MakeWriter`.
///
/// Whatever is written with one call is one line: `write_all`, not `writeln!`, which may call several times.
///
/// Lines that are queued when the process ends are lost, unless it waits for [`shutdown`](Self::shutdown). Dropping the
/// last clone lets the thread write what it has, and waits for nothing.
///
/// # Examples
///
/// ```
/// use cortex_trace::Background;
/// use std::io::Write;
/// use std::time::Duration;
///
/// let (mut reader, writer) = std::io::pipe()?;
/// let mut lines = Background::new(writer, 1024)?; // would be `std::io::stdout()`
/// lines.write_all(b"one\n")?;
/// lines.write_all(b"two\n")?;
/// lines.shutdown_blocking(Duration::from_secs(60))?;
/// assert_eq!(lines.stats().written, 2);
///
/// assert_eq!(std::io::read_to_string(&mut reader)?, "one\ntwo\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Background {
    queue: Arc<Closing>,
}

/// Where lines are that went to a [`Background`]; every line is in one of these.
///
/// # Examples
///
/// ```
/// let lines = cortex_trace::Background::new(std::io::sink(), 1024)?;
/// assert_eq!(lines.stats(), cortex_trace::BackgroundStats::default());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackgroundStats {
    /// The writer has them.
    pub written: u64,
    /// They wait, or are being written.
    pub queued: u64,
    /// There was no room for them, or they came after the shutdown.
    pub dropped: u64,
    /// The writer failed or panicked, and may have written some of them.
    pub failed: u64,
}

/// The name under which a [`FlushError`] tells of logs.
pub(super) const NAME: &str = "logs";

/// The bytes that a queue holds for each line that it holds, so that long lines do not fill the memory.
const BYTES_PER_LINE: usize = 2 << 10;

/// The largest buffer that is kept for the next lines.
const KEPT: usize = 1 << 20;

impl Background {
    /// Starts a thread that writes to `writer`, behind a queue of so many lines (at least one) of 2 KiB on average.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn new(writer: impl Write + Send + 'static, lines: usize) -> io::Result<Self> {
        let mut writer = writer;
        let act = move |action: Action<'_>| action.on(&mut writer);
        Self::start(lines, Box::new(act), |_, _| ())
    }

    /// Starts a thread that acts on a writer, and writes what `notice` makes of the number of lines dropped.
    pub(super) fn start(
        lines: usize,
        act: Act,
        notice: impl Fn(&mut String, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let lines = lines.max(1);
        let queue = Arc::new(Queue {
            lines: lines as u64,
            bytes: lines.saturating_mul(BYTES_PER_LINE),
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        std::thread::Builder::new().name("cortex-logs".into()).spawn({
            let queue = Arc::clone(&queue);
            move || run(&queue, act, &notice)
        })?;
        Ok(Self {
            queue: Arc::new(Closing(queue)),
        })
    }

    /// Returns where the lines are.
    pub fn stats(&self) -> BackgroundStats {
        self.queue.0.state().stats
    }

    /// Waits until the lines that are queued by now are written, and the writer is flushed.
    ///
    /// # Errors
    ///
    /// The time was up first, or the writer failed since the last flush.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the lines are written all the same.
    pub async fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        self.ask(false).settled(timeout).await
    }

    /// Does what [`flush`](Self::flush) does, and blocks the thread meanwhile.
    ///
    /// # Errors
    ///
    /// The time was up first, or the writer failed.
    pub fn flush_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        self.ask(false).wait(timeout)
    }

    /// Takes no more lines, and waits until those that are queued are written and the writer is flushed.
    ///
    /// The thread ends then. If the writer is stuck, it is left behind.
    ///
    /// # Errors
    ///
    /// The time was up first, or the writer failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the lines are written all the same, and no more are taken.
    pub async fn shutdown(&self, timeout: Duration) -> Result<(), FlushError> {
        self.ask(true).settled(timeout).await
    }

    /// Does what [`shutdown`](Self::shutdown) does, and blocks the thread meanwhile.
    ///
    /// # Errors
    ///
    /// The time was up first, or the writer failed.
    pub fn shutdown_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        self.ask(true).wait(timeout)
    }

    pub(super) fn ask(&self, is_last: bool) -> Arc<Completion> {
        let completion = Completion::new(vec![NAME], Vec::new());
        let mut state = self.queue.0.state();
        state.is_closed |= is_last;
        if let Some(end) = state.end.clone() {
            drop(state);
            completion.report(NAME, end);
        } else {
            state.waiting.add(&completion);
            drop(state);
            self.queue.0.wake.notify_one();
        }
        completion
    }
}

impl Write for &Background {
    /// Queues the bytes as one line, or drops them; says that it took them in either case.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.0.push(line);
        Ok(line.len())
    }

    /// Does nothing, since it must not wait.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Background {
    /// Queues the bytes as one line, or drops them; says that it took them in either case.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        (&*self).write(line)
    }

    /// Does nothing, since it must not wait.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Background {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Closes the queue when nobody is left who could add to it.
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.wake.notify_one();
    }
}

struct Queue {
    lines: u64,
    bytes: usize,
    state: Mutex<State>,
    /// Wakes the thread.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    /// The lines that wait, one after the other.
    text: Vec<u8>,
    /// How many.
    waiting_lines: u64,
    /// The bytes that the thread is writing.
    writing: usize,
    stats: BackgroundStats,
    /// How many of the dropped lines were told.
    told: u64,
    /// Who waits until what is queued has been written.
    waiting: Waiting,
    /// The thread waits.
    is_idle: bool,
    is_closed: bool,
    /// The thread has ended, and how.
    end: Option<Result<(), ExportError>>,
}

impl Queue {
    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        let bytes = state.text.len() + state.writing;
        // A line that is longer than the queue passes if it is alone.
        let is_full = state.stats.queued == self.lines || bytes > 0 && bytes + line.len() > self.bytes;
        if state.is_closed || is_full || IS_WRITING.get() {
            state.stats.dropped += 1;
            return;
        }
        state.text.extend_from_slice(line);
        state.waiting_lines += 1;
        state.stats.queued += 1;
        let tell = std::mem::take(&mut state.is_idle);
        drop(state);
        if tell {
            self.wake.notify_one();
        }
    }

    /// Waits for something to do, and takes it into the emptied `batch`; returns nothing at the end.
    fn next(&self, batch: &mut Vec<u8>) -> Option<Work> {
        let mut state = self.state();
        while state.text.is_empty() && state.waiting.is_empty() && !state.is_closed {
            state.is_idle = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_idle = false;
        if state.text.is_empty() && state.waiting.is_empty() {
            return None;
        }
        std::mem::swap(&mut state.text, batch);
        state.writing = batch.len();
        Some(Work {
            lines: std::mem::take(&mut state.waiting_lines),
            dropped: state.stats.dropped - state.told,
            waiting: std::mem::take(&mut state.waiting),
        })
    }

    /// Notes what became of lines; returns how many dropped ones to tell now, and whether nothing waits.
    fn wrote(&self, work: &Work, is_written: bool) -> (u64, bool) {
        let mut state = self.state();
        state.writing = 0;
        state.stats.queued -= work.lines;
        if is_written {
            state.stats.written += work.lines;
        } else {
            state.stats.failed += work.lines;
        }
        let is_idle = state.text.is_empty();
        // Lines are dropped only while the queue is full, so after all that are in it.
        let dropped = if is_idle {
            state.stats.dropped - state.told
        } else {
            work.dropped
        };
        (dropped, is_idle)
    }

    /// Notes that the thread is done, and tells whoever has asked in the last moment.
    fn ended(&self, result: &Result<(), ExportError>) {
        let mut state = self.state();
        state.end = Some(result.clone());
        state.is_closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.report(NAME, result);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Work {
    lines: u64,
    /// How many lines were dropped after those and not told.
    dropped: u64,
    waiting: Waiting,
}

/// What the thread does with its writer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action<'a> {
    Write(&'a [u8]),
    Flush,
}

impl Action<'_> {
    pub(super) fn on(self, mut writer: impl Write) -> io::Result<()> {
        match self {
            Self::Write(text) => writer.write_all(text),
            Self::Flush => writer.flush(),
        }
    }
}

pub(super) type Act = Box<dyn FnMut(Action<'_>) -> io::Result<()> + Send>;

thread_local! {
    /// This thread writes lines; if that logs in turn, nobody wants to know.
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
}

fn run(queue: &Queue, mut act: Act, notice: &dyn Fn(&mut String, u64)) {
    IS_WRITING.set(true);
    let mut ending = Ending {
        queue,
        result: Err(ExportError::panicked("the thread of the logs")),
    };
    let mut guarded = |action: Action<'_>| {
        // What a panic leaves half done belongs to the writer, which gets the next lines all the same.
        catch_unwind(AssertUnwindSafe(|| act(action)))
            .map_err(|_| ExportError::panicked("the log writer"))
            .and_then(|result| result.map_err(ExportError::from))
    };
    let (mut batch, mut text) = (Vec::new(), String::new());
    // What went wrong since somebody was told how it goes.
    let mut untold = Ok(());
    let mut last = Ok(());
    while let Some(work) = queue.next(&mut batch) {
        let mut result = Ok(());
        if work.lines > 0 {
            result = guarded(Action::Write(&batch));
        }
        let (dropped, is_idle) = queue.wrote(&work, result.is_ok());
        if dropped > 0 && result.is_ok() {
            text.clear();
            // It asks a clock, which is foreign code, too.
            let noticed = catch_unwind(AssertUnwindSafe(|| notice(&mut text, dropped)));
            if noticed.is_ok() && guarded(Action::Write(text.as_bytes())).is_ok() {
                queue.state().told += dropped;
            }
        }
        if is_idle || !work.waiting.is_empty() {
            result = result.and(guarded(Action::Flush));
        }
        last = untold.and(result);
        let is_told = work.waiting.report(NAME, &last);
        untold = if is_told { Ok(()) } else { last.clone() };
        if batch.capacity() > KEPT {
            batch = Vec::new();
        }
        batch.clear();
    }
    ending.result = last;
}

/// Tells everybody who waits that the thread has ended, even if it panics.
struct Ending<'a> {
    queue: &'a Queue,
    result: Result<(), ExportError>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.queue.ended(&self.result);
    }
}
