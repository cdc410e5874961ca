use std::io;
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};

// Signals are the process's, and so are these.

/// Handlers stay for as long as the process, so that no signal has its default action any more.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// How many services act upon signals.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// Somebody acts upon signals when no service does any more.
static AFTERWARDS: AtomicBool = AtomicBool::new(false);

/// The signals that a service acts upon, from when the handlers are installed until it has ended.
///
/// SIGQUIT is none of them: its default, a core dump, is how an operator looks into a process that hangs.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Streams,
    _live: Live,
}

#[derive(Debug)]
struct Streams {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

#[derive(Debug)]
struct Live;

/// What a signal asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Received {
    End(Ending),
    Reload,
}

/// A signal that ends a service: its name, and its number for the exit code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) name: &'static str,
    pub(crate) number: u8,
}

impl Signals {
    /// Installs the handlers: as process 1 of a container there is no default action to rely on.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            _live: Live::new(),
            streams: Streams::install()?,
        })
    }

    pub(crate) async fn recv(&mut self) -> Received {
        self.streams.recv().await
    }
}

impl Streams {
    fn install() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn recv(&mut self) -> Received {
        tokio::select! {
            biased; // the end is more urgent
            _ = self.terminate.recv() => Received::End(Ending { name: "SIGTERM", number: 15 }),
            _ = self.interrupt.recv() => Received::End(Ending { name: "SIGINT", number: 2 }),
            _ = self.hangup.recv() => Received::Reload,
        }
    }
}

impl Live {
    fn new() -> Self {
        INSTALLED.store(true, Ordering::SeqCst);
        LIVE.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ending {
    /// Ends the process with the code that tells of this signal.
    pub(crate) fn exit(self) -> ! {
        exit(i32::from(128 + self.number))
    }
}

/// Ends the process at the next signal that no service acts upon: once the last one has ended, something that blocks
/// would hold the process for ever, and nothing but SIGKILL would end it. Returns if nobody needs that.
///
/// # Cancel safety
///
/// Not to be dropped: nobody else does it in its place.
pub(crate) async fn afterwards() {
    if !INSTALLED.load(Ordering::SeqCst) || AFTERWARDS.swap(true, Ordering::SeqCst) {
        return;
    }
    let Ok(mut streams) = Streams::install() else {
        AFTERWARDS.store(false, Ordering::SeqCst);
        return; // the handlers are there, so that this takes a runtime without a driver
    };
    loop {
        if let Received::End(ending) = streams.recv().await
            && LIVE.load(Ordering::SeqCst) == 0
        {
            tracing::error!(
                signal = ending.name,
                "the process is ended: it still ran after its service"
            );
            ending.exit();
        }
    }
}
