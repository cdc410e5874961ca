use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// When and by what the levels are stepped down; give it to
/// [`CompressionLayer::adaptive`](crate::CompressionLayer::adaptive).
///
/// A signal is a pressure: 1 is the most that is wanted. It is looked at ten times in a second, if there are responses,
/// and smoothed over about one second.
///
/// - Above 1, all codings go one step down, and further ones every two seconds: each step halves the cost of encoding,
///   or nearly, and the last one is the identity. A coding that has no lower level stays at its lowest until then: with
///   a dictionary, that is zstd 3 and br 2.
/// - Below one half, for ten seconds, they go one step up. Where that was too much, and they have to go down again
///   within that time, the next attempt comes after twice the time, up to about five minutes: a steady load does not
///   make the levels swing.
///
/// # What a client sees
///
/// `Vary` is the same at each step. Strong tags promise the same bytes each time, which cannot hold here:
/// [`EtagPolicy::Suffix`](crate::EtagPolicy::Suffix) is [`Weaken`](crate::EtagPolicy::Weaken) in effect. A
/// [`VariantCache`](crate::VariantCache) is asked for the highest level first, whatever the step.
///
/// # Examples
///
/// ```
/// use cortex_compress::{Adaptive, CompressionLayer};
/// use std::time::Duration;
///
/// // Where large bodies are encoded by a pool, and no more than half of the machine is for encoding.
/// let adaptive = Adaptive::queue_delay(Duration::from_millis(20)).or(Adaptive::share(0.5));
/// let layer = CompressionLayer::new().adaptive(adaptive);
/// # drop(layer);
///
/// // The pressure that the kernel sees (PSI): tasks waited for a processor in more than 30 % of the last ten seconds.
/// fn waiting() -> Option<f32> {
///     let text = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
///     text.split_once("avg10=")?.1.split(' ').next()?.parse().ok()
/// }
/// let layer = CompressionLayer::new().adaptive(Adaptive::pressure(|| waiting().unwrap_or(0.0) / 30.0));
/// # drop(layer);
/// ```
#[derive(Clone)]
pub struct Adaptive {
    pub(super) signals: Vec<Signal>,
}

#[derive(Clone)]
pub(super) enum Signal {
    QueueDelay(Duration),
    Share(f32),
    Pressure(Arc<dyn Fn() -> f32 + Send + Sync>),
}

impl Adaptive {
    /// Steps down when jobs wait this long for the [`Offload`](crate::Offload) to run them, or when it refuses them.
    ///
    /// The longest wait counts: of the jobs that still wait, and of those that began within the last half a second to a
    /// second, so that few jobs that all wait are seen, too.
    ///
    /// Without an [`offload`](crate::CompressionLayer::offload) there is no such signal.
    pub fn queue_delay(most: Duration) -> Self {
        Self::of(Signal::QueueDelay(most))
    }

    /// Steps down when encoding takes more than this share of the machine's time: 0.5 is half of the time of all
    /// processors there are.
    ///
    /// What the encoders took is measured where pieces are of 2 KiB and more, of bodies that did not get smaller, too. On a machine that is busy otherwise it
    /// counts the time that they were kept waiting, too.
    pub fn share(most: f32) -> Self {
        Self::of(Signal::Share(most))
    }

    /// Steps down by a signal of the caller's: from 1 on it is too much. What is no number is no pressure.
    ///
    /// The function is called ten times in a second at most, by a thread that serves: it must neither block nor panic.
    pub fn pressure(pressure: impl Fn() -> f32 + Send + Sync + 'static) -> Self {
        Self::of(Signal::Pressure(Arc::new(pressure)))
    }

    /// Heeds the signals of another one, too: the highest counts.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.signals.extend(other.signals);
        self
    }

    fn of(signal: Signal) -> Self {
        Self {
            signals: vec![signal],
        }
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.signals).finish()
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueDelay(most) => f.debug_tuple("QueueDelay").field(most).finish(),
            Self::Share(most) => f.debug_tuple("Share").field(most).finish(),
            Self::Pressure(_) => f.write_str("Pressure"),
        }
    }
}
