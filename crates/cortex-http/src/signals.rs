use std::io;
use std::process::exit;
use std::sync::LazyLock;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The services that act upon signals. Signals are the process's, and so is this.
static ACTING: LazyLock<watch::Sender<Acting>> = LazyLock::new(watch::Sender::default);

#[derive(Debug, Default)]
struct Acting {
    now: usize,
    ever: u64,
}

/// The signals that a service acts upon, from when the handlers are installed until it has ended, and
/// [`afterwards`](Self::afterwards): handlers stay for as long as the process, so that no signal has its default action any
/// more.
///
/// SIGQUIT is none of them: its default, a core dump, is how an operator looks into a process that hangs.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Streams,
    /// One has asked for the end.
    asked: bool,
    live: Live,
}

#[derive(Debug)]
struct Streams {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

#[derive(Debug)]
struct Live {
    left: bool,
}

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
            streams: Streams::install()?, // before it counts: whoever acted until then retires
            asked: false,
            live: Live::new(),
        })
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    ///
    /// None is lost.
    pub(crate) async fn recv(&mut self) -> Received {
        self.streams.recv().await
    }

    /// Returns whether it is the first one that asks for the end.
    pub(crate) fn is_first(&mut self) -> bool {
        !std::mem::replace(&mut self.asked, true)
    }

    /// Goes on when the service has ended, with the same streams, so that no signal falls between the two: something that
    /// blocks may hold the process for ever, and nothing but SIGKILL would end it. So the second signal ends the process;
    /// the first one only asks for what has happened, as the one that Kubernetes sends after a `preStop` hook that drained.
    /// If the service `failed` to start, nothing is left that a first one could ask for.
    ///
    /// It returns if another service acts upon signals, or once one does.
    pub(crate) async fn afterwards(mut self, failed: bool) {
        let Some(ever) = self.live.leave() else {
            return;
        };
        self.asked |= failed;
        let mut acting = ACTING.subscribe();
        loop {
            let received = tokio::select! {
                biased;
                received = self.recv() => received,
                _ = acting.wait_for(|acting| acting.ever > ever) => return,
            };
            let Received::End(ending) = received else {
                continue; // nothing is left to reload
            };
            let signal = ending.name;
            if !self.is_first() {
                tracing::error!(signal, "the process is ended: it still ran after its service");
                ending.exit();
            }
            tracing::info!(signal, "the service has ended already; one more ends the process");
        }
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
        ACTING.send_modify(|Acting { now, ever }| {
            *now += 1;
            *ever += 1;
        });
        Self { left: false }
    }

    /// Counts it no more. If it was the last one, returns how many there have been.
    fn leave(&mut self) -> Option<u64> {
        let mut last = None;
        if !std::mem::replace(&mut self.left, true) {
            ACTING.send_modify(|Acting { now, ever }| {
                *now -= 1;
                last = (*now == 0).then_some(*ever);
            });
        }
        last
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Ending {
    /// Ends the process with the code that tells of this signal.
    pub(crate) fn exit(self) -> ! {
        exit(i32::from(128 + self.number))
    }
}
