use std::time::{Duration, Instant};

/// A call that an [`AdaptiveLimit`](super::AdaptiveLimit) let through, for those who keep the time themselves.
///
/// It fits into a word, for places that have no room for more.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, Aimd, End, Ticket};
/// use std::time::Duration;
///
/// let aimd = Aimd::new(1..=100, Duration::from_millis(200));
/// let limit = AdaptiveLimit::builder("search", aimd).build()?;
/// let word = limit.enter()?.to_bits();
/// let took = Duration::from_millis(120);
/// limit.leave(Ticket::from_bits(word), End::Success(took));
/// assert_eq!((limit.in_flight(), limit.limit()), (0, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a ticket that is not handed back holds its place for ever"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// How many calls were under way with this one.
    pub(super) in_flight: u32,
    /// How often the limit had fallen.
    pub(super) cuts: u32,
}

impl Ticket {
    /// Returns how many calls were under way with this one when it began.
    pub const fn in_flight(self) -> u32 {
        self.in_flight
    }

    /// Returns it as a word.
    pub const fn to_bits(self) -> u64 {
        pack(self.cuts, self.in_flight)
    }

    /// Returns the ticket that is this word.
    pub const fn from_bits(word: u64) -> Self {
        let (cuts, in_flight) = split(word);
        Self { in_flight, cuts }
    }
}

/// How a call ended that had a [`Ticket`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::End;
///
/// assert_ne!(End::Ignored, End::Success(std::time::Duration::ZERO));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It succeeded after this time.
    Success(Duration),
    /// It failed after this time.
    Failed(Duration),
    /// It tells nothing.
    Ignored,
}

/// A call that was let through, and when it began.
#[must_use = "a call that does not end holds its place for ever"]
#[derive(Clone, Copy, Debug)]
pub struct Started {
    pub(super) ticket: Ticket,
    pub(super) start: Instant,
}

pub(super) const fn pack(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

#[expect(clippy::cast_possible_truncation, reason = "each is one half")]
pub(super) const fn split(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}
