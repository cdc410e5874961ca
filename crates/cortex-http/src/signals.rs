use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a service acts upon.
///
/// SIGQUIT is none of them: its default, a core dump, is how an operator looks into a process that hangs.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
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
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn recv(&mut self) -> Received {
        tokio::select! {
            biased; // the end is more urgent
            _ = self.terminate.recv() => Received::End(Ending { name: "SIGTERM", number: 15 }),
            _ = self.interrupt.recv() => Received::End(Ending { name: "SIGINT", number: 2 }),
            _ = self.hangup.recv() => Received::Reload,
        }
    }
}
