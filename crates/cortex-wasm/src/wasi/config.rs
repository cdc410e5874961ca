use super::output::{OutputLine, Streams};
use crate::error::Error;
use cortex_core::{Clock, SystemClock};
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What guests that are made for WASI preview1 find: arguments and variables that are stated here and no others, the
/// time, random bytes, and somewhere to print to. Nothing of the process is handed to them by itself.
///
/// There are no files and no sockets. All 46 functions exist, so that guests link; those that would need one return
/// `ENOSYS`, or `EBADF` where guests look for what there is. To end itself by `proc_exit` ends the guest's call with
/// [`Error::Exited`]. It may sleep by `poll_oneoff` until its deadline, unless that is fuel, of which sleep uses none.
/// The host goes on being careful: a pointer beyond the memory ends the call with [`Error::OutOfBounds`].
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Imports, Stream, Wasi};
///
/// let wasi = Wasi::new()
///     .arg("thumbnailer")?
///     .env("LANG", "de_DE.UTF-8")?
///     .output(|line| {
///         // Where the service logs; it is called on the thread and in the `Context` of the guest's call.
///         let text = line.text().escape_debug();
///         assert!(line.stream() == Stream::Stdout || text.count() < 4096);
///     });
/// let imports = Imports::new().wasi(wasi);
/// # drop(imports);
/// # Ok::<(), cortex_wasm::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Wasi {
    pub(super) args: Entries,
    pub(super) environ: Entries,
    clock: Arc<dyn Clock>,
    /// What guests see as the beginning of time that only goes forward: how long the host has been up is not theirs.
    begun: Instant,
    random: Arc<Random>,
    sink: Option<Arc<Sink>>,
    line_bytes: usize,
}

type Random = dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync;
pub(super) type Sink = dyn Fn(&OutputLine<'_>) + Send + Sync;

/// Texts as C has them, each with a nought behind it.
#[derive(Clone, Default)]
pub(super) struct Entries {
    pub(super) lengths: Vec<u32>,
    pub(super) bytes: Vec<u8>,
}

impl Wasi {
    /// Makes one with no arguments and no variables, the system's clock and random bytes, and what is printed is
    /// dropped.
    pub fn new() -> Self {
        Self {
            args: Entries::default(),
            environ: Entries::default(),
            begun: SystemClock.now(),
            clock: Arc::new(SystemClock),
            random: Arc::new(system_random),
            sink: None,
            line_bytes: 4096,
        }
    }

    /// Adds an argument. The first one is what the program is called.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if it has a NUL in it.
    pub fn arg(mut self, text: &str) -> Result<Self, Error> {
        self.args.push(text)?;
        Ok(self)
    }

    /// Adds a variable of the environment.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if it has a NUL in it, or the name is empty or has a `=`.
    pub fn env(mut self, name: &str, value: &str) -> Result<Self, Error> {
        if name.is_empty() || name.contains('=') {
            return Err(Error::Argument {
                text: name.into(),
                reason: "the name of a variable has a letter and no `=`",
            });
        }
        self.environ.push(&format!("{name}={value}"))?;
        Ok(self)
    }

    /// Takes the time from this clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.begun = clock.now();
        self.clock = Arc::new(clock);
        self
    }

    /// Takes random bytes from here: it fills all of what it is given. An error becomes `EIO`.
    pub fn random(mut self, fill: impl Fn(&mut [u8]) -> io::Result<()> + Send + Sync + 'static) -> Self {
        self.random = Arc::new(fill);
        self
    }

    /// Has lines that guests print taken by this, as they end; one without an end, when the call does.
    ///
    /// A call prints at most [`Quota::max_output_bytes`](crate::Quota::max_output_bytes). What is beyond is dropped
    /// and counted, and the guest doesn't notice: a full log is no reason to fail.
    pub fn output(mut self, sink: impl Fn(&OutputLine<'_>) + Send + Sync + 'static) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    /// Sets how many bytes a line has at most, 4,096 unless told: what is beyond, up to its end, is dropped.
    pub const fn line_bytes(mut self, bytes: usize) -> Self {
        self.line_bytes = bytes;
        self
    }

    pub(super) fn streams(&self) -> Streams {
        Streams::new(self.sink.clone(), self.line_bytes)
    }

    pub(super) fn clock_of(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Returns the time by one of WASI's clocks, if there is such a one.
    pub(super) fn time(&self, clock: u32) -> Option<Duration> {
        match clock {
            0 => Some(
                self.clock
                    .wall()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default(),
            ),
            1 => Some(self.clock.now().saturating_duration_since(self.begun)),
            _ => None,
        }
    }

    pub(super) fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        (self.random)(bytes)
    }
}

impl Default for Wasi {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Wasi {
    /// Leaves out what is in the arguments and variables: there may be secrets among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wasi")
            .field("args", &self.args.lengths.len())
            .field("environ", &self.environ.lengths.len())
            .field("line_bytes", &self.line_bytes)
            .finish_non_exhaustive()
    }
}

impl Entries {
    fn push(&mut self, text: &str) -> Result<(), Error> {
        let refused = |reason| Error::Argument {
            text: text.into(),
            reason,
        };
        if text.contains('\0') {
            return Err(refused("it has a NUL, which would end it"));
        }
        let length = text.len() + 1;
        if self.bytes.len() + length > u32::MAX as usize {
            return Err(refused("all of them together are too long"));
        }
        self.lengths.push(u32::try_from(length).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        Ok(())
    }
}

fn system_random(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Ok(filled) => bytes = &mut bytes[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
