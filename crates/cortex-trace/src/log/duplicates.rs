use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::Metadata;

use super::lines::Notice;
use super::origin::Origin;
use super::plan;

/// How many lines one place in the code may write in a while; what it writes beyond is counted and not written.
///
/// A place is a callsite, that is, one `info!(..)` in the source. When the time is over, a line tells how many were
/// suppressed, and where: with the next event, whichever it is, or with a flush. A thousand places are watched at a
/// time; if there are more, those that did not reach the limit are forgotten first.
///
/// # Examples
///
/// ```
/// use cortex_trace::{DuplicateLimit, JsonLogs};
/// use std::time::Duration;
///
/// let logs = JsonLogs::stdout().limit_duplicates(DuplicateLimit::new(100, Duration::from_secs(10)));
/// assert_eq!(DuplicateLimit::per_second(5), DuplicateLimit::new(5, Duration::from_secs(1)));
/// # drop(logs);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateLimit {
    burst: u32,
    interval: Duration,
    by_message: bool,
}

impl DuplicateLimit {
    /// Allows `burst` lines in every `interval`, which is at least a millisecond.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        Self {
            burst,
            interval,
            by_message: false,
        }
    }

    /// Allows so many lines a second.
    pub const fn per_second(lines: u32) -> Self {
        Self::new(lines, Duration::from_secs(1))
    }

    /// Counts only lines with the same message as duplicates, whatever their fields.
    ///
    /// The message is then formatted twice, once to compare it.
    #[must_use]
    pub const fn by_message(mut self) -> Self {
        self.by_message = true;
        self
    }
}

/// Counts lines.
#[derive(Debug)]
pub(super) struct Limiter {
    limit: DuplicateLimit,
    /// In nanoseconds, like every time in here.
    interval: u64,
    /// When the first line came.
    start: OnceLock<Instant>,
    /// What is counted here lies apart from what other threads count at the moment, mostly.
    shards: [Mutex<Shard>; SHARDS],
    /// The first time at which there is something to tell.
    next: AtomicU64,
    suppressed: AtomicU64,
    hasher: RandomState,
}

const SHARDS: usize = 16;

/// The characters of a message that are told.
const SHOWN: usize = 200;

/// The windows of a shard.
const WINDOWS: usize = 64;

#[derive(Debug, Default)]
struct Shard {
    windows: HashMap<u64, Window, BuildHasherDefault<Mixed>>,
    /// What was suppressed in windows that are over.
    ended: Vec<Suppressed>,
}

/// Takes keys that are mixed already as they are.
#[derive(Debug, Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Window {
    end: u64,
    passed: u32,
    suppressed: Option<Suppressed>,
}

/// What is told in place of lines.
#[derive(Debug)]
pub(super) struct Suppressed {
    pub(super) metadata: &'static Metadata<'static>,
    count: u64,
    origin: Origin,
    /// The message if that counts, at most so much of it that one knows it again.
    message: Box<str>,
}

impl Limiter {
    pub(super) fn new(limit: DuplicateLimit) -> Self {
        let interval = limit.interval.max(Duration::from_millis(1)).as_nanos();
        Self {
            limit,
            interval: u64::try_from(interval).unwrap_or(u64::MAX),
            start: OnceLock::new(),
            shards: Default::default(),
            next: AtomicU64::new(u64::MAX),
            suppressed: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    pub(super) const fn by_message(&self) -> bool {
        self.limit.by_message
    }

    /// Returns how many lines were suppressed in all.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    pub(super) fn at(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(*self.start.get_or_init(|| now));
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Counts a line; says whether it may be written.
    pub(super) fn admit(
        &self,
        now: u64,
        metadata: &'static Metadata<'static>,
        origin: &Origin,
        message: &str,
    ) -> bool {
        let key = self.key(plan::address(metadata), origin, message);
        let mut shard = lock(&self.shards[usize::from(key.to_be_bytes()[3]) % SHARDS]);
        let Some(window) = shard.window(key, now, self.interval) else {
            return true; // so much is suppressed at once that this one cannot be counted
        };
        if window.passed < self.limit.burst {
            window.passed += 1;
            return true;
        }
        let suppressed = window.suppressed.get_or_insert_with(|| Suppressed {
            metadata,
            count: 0,
            origin: origin.clone(),
            message: message.chars().take(SHOWN).collect(),
        });
        suppressed.count += 1;
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        self.next.fetch_min(window.end, Ordering::Relaxed);
        false
    }

    /// Returns what tells lines apart, well mixed.
    fn key(&self, address: usize, origin: &Origin, message: &str) -> u64 {
        if origin.target.is_none() && message.is_empty() {
            // Nobody chooses the addresses of callsites, so it takes no hash that withstands a choice.
            let product = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15); // golden ratio
            return product ^ product >> 32;
        }
        let place = (&origin.target, &origin.file, origin.line);
        self.hasher.hash_one((address, place, message))
    }

    /// Returns what was suppressed in windows that are over.
    pub(super) fn due(&self, now: u64) -> Vec<Suppressed> {
        if now < self.next.load(Ordering::Relaxed) {
            return Vec::new();
        }
        self.take(now)
    }

    /// Returns all that was suppressed and not told.
    pub(super) fn all(&self) -> Vec<Suppressed> {
        self.take(u64::MAX)
    }

    fn take(&self, now: u64) -> Vec<Suppressed> {
        // Before any shard is looked into: whoever suppresses something there afterwards sets it again.
        self.next.store(u64::MAX, Ordering::Relaxed);
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = lock(shard);
            let Shard { windows, ended } = &mut *shard;
            taken.append(ended);
            windows.retain(|_, window| {
                if window.end <= now {
                    taken.extend(window.suppressed.take());
                } else if window.suppressed.is_some() {
                    self.next.fetch_min(window.end, Ordering::Relaxed);
                }
                window.end > now || now == u64::MAX // a flush does not begin a new window
            });
        }
        taken.sort_by(|a, b| a.place().cmp(&b.place()).then_with(|| a.message.cmp(&b.message)));
        taken
    }
}

impl Shard {
    /// Returns the window of a key, a new one if the last is over; none if there is no room.
    fn window(&mut self, key: u64, now: u64, interval: u64) -> Option<&mut Window> {
        let Self { windows, ended } = self;
        if windows.len() >= WINDOWS && !windows.contains_key(&key) {
            windows.retain(|_, window| {
                let is_over = window.end <= now;
                if is_over {
                    ended.extend(window.suppressed.take());
                }
                !is_over
            });
            if windows.len() >= WINDOWS {
                windows.retain(|_, window| window.suppressed.is_some());
            }
            if windows.len() >= WINDOWS {
                return None;
            }
        }
        let end = now.saturating_add(interval);
        let window = windows.entry(key).or_insert_with(|| Window {
            end,
            passed: 0,
            suppressed: None,
        });
        if window.end <= now {
            ended.extend(window.suppressed.take());
            (window.end, window.passed) = (end, 0);
        }
        Some(window)
    }
}

impl Suppressed {
    fn place(&self) -> (Option<&str>, Option<u64>) {
        let file = self.origin.file.as_deref().or_else(|| self.metadata.file());
        let line = self.origin.line.or_else(|| self.metadata.line().map(u64::from));
        (file, line)
    }

    /// Hands over the line that tells it.
    pub(super) fn notice(&self, tell: impl FnOnce(&Notice<'_>)) {
        let (file, line) = self.place();
        let numbers = [("suppressed", self.count), ("line", line.unwrap_or_default())];
        let texts = [("file", file.unwrap_or_default()), ("repeated", &*self.message)];
        tell(&Notice {
            level: *self.metadata.level(),
            target: self
                .origin
                .target
                .as_deref()
                .unwrap_or_else(|| self.metadata.target()),
            message: "repeated lines suppressed",
            numbers: &numbers[..=usize::from(line.is_some())],
            texts: &texts[usize::from(file.is_none())..=usize::from(!self.message.is_empty())],
        });
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
