use super::flight::Flight;
use super::key::MAX_KEY;
use super::recordings::{Gone, Recordings};
use super::shard::{Kept, Key, OVERHEAD, Shard};
use bytes::Bytes;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Encoded bodies, kept for the next responses with the same strong entity tag; give it to
/// [`CompressionLayer::cache`](crate::CompressionLayer::cache).
///
/// The handler is asked each time, and decides on each response. The cache only spares the encoder: where it has the
/// body that belongs to the response, the response gets that, with its exact `Content-Length`, and the body of the
/// handler is dropped unread.
///
/// # What is kept
///
/// The body of a response to `GET` with status 200 that is to be encoded, has a strong `ETag` (RFC 9110, section 8.8.1)
/// and a known length (of the body, or in `Content-Length`), and
///
/// - no `Cache-Control: no-store` or `private`, nor `no-store` in the request,
/// - no `Authorization` in the request, unless the response says `public`, `s-maxage` or `must-revalidate` (RFC 9111,
///   section 3.5),
/// - no `Set-Cookie`, no `Trailer`, no `Vary: *`.
///
/// RFC 9111 binds caches that answer instead of a server, which this one never does. Its rules hold here all the same:
/// what was made for one person should not linger in memory, would hardly ever be asked for again, and would tell by
/// the time that a response takes whether somebody else has seen it.
///
/// Bodies that are there at once are kept when they are encoded, others when they were sent to their end. What of those
/// is on its way takes at most an eighth of the cache, all together; where that is not enough, the one is given up
/// whose reader has taken nothing for the longest time. That a body does not get smaller is remembered, too, unless it
/// was flushed while it was sent.
///
/// Responses that want the same body at the same time have it encoded once if it is there at once and takes long. What
/// is streamed each of them encodes for itself, since their readers are not equally fast; the first one is recorded, or
/// another one if that has sent nothing for a second.
///
/// # What tells bodies apart
///
/// The authority, path and query of the request, its `Host`, `Forwarded` and `X-Forwarded-Host`, the entity tag, the
/// length of the identity, the coding and its level, and the values of the request headers that the handler's own `Vary`
/// names (but for `Accept-Encoding` and `Available-Dictionary`, since a body that has one tag before it is encoded is one
/// body). So two resources may use the same tags, and so may the languages of one, and the sites of one server, by
/// whichever of its names a handler tells them apart. A proxy that says in `Forwarded` for whom it asks makes entries of
/// its own for each client.
///
/// What is compressed against a dictionary of the client's is neither kept nor looked for. Padding
/// ([`BreachPolicy::Pad`](crate::BreachPolicy::Pad)) is by the content, and kept with it. Whether a request with
/// credentials gets an encoded response at all
/// ([`SkipWhenCredentials`](crate::BreachPolicy::SkipWhenCredentials)) is decided before the cache is asked.
///
/// The layer has to see the whole path for that: inside of `Router::nest` of axum it would not. Put it around the
/// outermost router.
///
/// A handler whose tag stays while its body changes breaks this cache as it does any other.
///
/// # Performance
///
/// A hit takes about a microsecond more than the identity (1.3 with twelve fields in the header of the request),
/// whatever the length of the body. Each `GET` or `HEAD` that accepts a coding pays for the part of that which shares
/// the values of its header, even if nothing is kept.
///
/// # Memory
///
/// At most what [`weighted`](Self::weighted) says, which counts keys and an estimate of what else an entry takes, and
/// an eighth of it more for bodies that are still being sent. What has to go is found by the clock algorithm: entries
/// that were asked for since the last round stay, so that a flood of paths displaces little else than itself. Hashes
/// are seeded at random.
///
/// Clones are one cache. Layers that share it share its room; bodies are shared by clones of one layer alone, as others
/// may encode in another way.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use axum::{Router, body::Body, routing::get};
/// use cortex_compress::{CompressionLayer, VariantCache};
/// use http::Request;
/// use tower::ServiceExt;
///
/// let cache = VariantCache::weighted(64 << 20);
/// let page = async || ([("etag", "\"v1\""), ("content-type", "text/html")], "again and ".repeat(1000));
/// let app = Router::new()
///     .route("/", get(page))
///     .layer(CompressionLayer::new().cache(cache.clone()));
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// for _ in 0..3 {
///     let request = Request::builder().uri("/").header("accept-encoding", "gzip").body(Body::empty()).unwrap();
///     let response = app.clone().oneshot(request).await.unwrap();
///     assert_eq!(response.headers()["etag"], "W/\"v1\"");
///     assert_eq!(response.headers()["content-encoding"], "gzip");
/// }
/// # });
/// let stats = cache.stats();
/// assert_eq!((stats.entries, stats.misses, stats.hits), (1, 1, 2));
/// # }
/// ```
#[derive(Clone)]
pub struct VariantCache {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Box<[Line]>,
    /// What one shard may hold.
    limit: usize,
    max_entry: usize,
    capacity: usize,
    recordings: Mutex<Recordings>,
    /// How often it was cleared.
    epoch: AtomicU64,
    seed: RandomState,
}

/// On a cache line of its own: threads that ask for different entries have mostly nothing to do with each other.
#[derive(Default)]
#[repr(align(128))]
struct Line(Mutex<Shard>);

/// A shard is not smaller than this: an entry has to fit in one.
const MIN_SHARD: usize = 4 << 20;
const MAX_SHARDS: usize = 16;

/// The default of the largest body that is kept.
const MAX_ENTRY: usize = 1 << 20;

/// What an entry takes beside its body at most, whatever its key.
const MAX_BESIDE: usize = OVERHEAD + MAX_KEY + 64;

/// Returns the length of the largest body that a cache of this many bytes may be told to keep: no shard is too small for
/// it, whatever its key.
const fn most(capacity: usize) -> usize {
    let sixteenth = capacity / MAX_SHARDS;
    let most = if sixteenth > MIN_SHARD {
        sixteenth
    } else {
        MIN_SHARD
    };
    let most = if most < capacity { most } else { capacity };
    most.saturating_sub(MAX_BESIDE)
}

impl VariantCache {
    /// Makes an empty cache that holds at most this many bytes.
    pub fn weighted(bytes: usize) -> Self {
        let shards = (bytes / MIN_SHARD).clamp(1, MAX_SHARDS);
        let shards = (shards + 1).next_power_of_two() / 2; // the power of two below it
        let limit = bytes / shards;
        Self {
            inner: Arc::new(Inner {
                shards: std::iter::repeat_with(Line::default).take(shards).collect(),
                limit,
                max_entry: MAX_ENTRY.min(limit / 4),
                capacity: bytes,
                recordings: Mutex::default(),
                epoch: AtomicU64::new(0),
                seed: RandomState::new(),
            }),
        }
    }

    /// Keeps encoded bodies of at most this many bytes; by default 1 MiB, or a quarter of a small cache.
    ///
    /// Never more than a sixteenth of the cache, or 4 MiB where that is more, or all of it where that is less, each time less
    /// 5 KB for a key and what else an entry takes. Of bodies that are sent as streams, no more than an eighth of the cache
    /// is kept. The cache that is returned is an empty one.
    #[must_use]
    pub fn max_entry(self, bytes: usize) -> Self {
        let Inner { capacity, .. } = *self.inner;
        let mut cache = Self::weighted(capacity);
        if let Some(inner) = Arc::get_mut(&mut cache.inner) {
            inner.max_entry = bytes.min(most(capacity));
        }
        cache
    }

    /// Drops all bodies; responses that are under way are not affected, and nothing of them is kept. The counts stay.
    ///
    /// A response is under way from when its request came to the layer: its handler may have begun with what was there
    /// before.
    pub fn clear(&self) {
        // First: whoever comes to a shard later than this finds that it is too late, and whoever was there before goes
        // with the rest.
        self.inner.epoch.fetch_add(1, Ordering::Relaxed);
        let gone = self.recordings().clear();
        drop(gone);
        for line in &self.inner.shards {
            let gone = lock(line).clear();
            drop(gone);
        }
    }

    /// Returns what the cache holds now, and how it was used so far.
    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats::default();
        for line in &self.inner.shards {
            let shard = lock(line);
            stats.hits += shard.hits;
            stats.misses += shard.misses;
            stats.evictions += shard.evictions;
            stats.entries += shard.len();
            stats.bytes += shard.bytes;
        }
        stats
    }

    pub(super) fn key(&self, bytes: &[u8]) -> Key {
        Key {
            hash: self.inner.seed.hash_one(bytes),
            bytes: Arc::from(bytes),
        }
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        // Not the bits that the table goes by, which are the lowest and the highest.
        let at = usize::from(key.hash.to_be_bytes()[2]) & (self.inner.shards.len() - 1);
        lock(&self.inner.shards[at])
    }

    /// Finds an entry; that it is not there counts where there is nowhere else to look.
    pub(super) fn get(&self, key: &Key, last: bool) -> Option<Kept> {
        self.shard(key).get(key, last)
    }

    /// Finds an entry without counting that it was asked for.
    pub(super) fn peek(&self, key: &Key) -> Option<Kept> {
        self.shard(key).peek(key)
    }

    /// Returns how often the cache was cleared.
    pub(crate) fn epoch(&self) -> u64 {
        self.inner.epoch.load(Ordering::Relaxed)
    }

    /// Keeps what was asked for in this epoch.
    pub(super) fn insert(&self, key: Key, kept: Kept, epoch: u64) {
        if let Kept::Encoded { data, .. } = &kept
            && data.len() > self.inner.max_entry
        {
            return;
        }
        let mut shard = self.shard(&key);
        if epoch != self.epoch() {
            return;
        }
        let gone = shard.insert(key, kept, self.inner.limit);
        drop(shard);
        drop(gone);
    }

    pub(super) fn max_body(&self) -> usize {
        self.inner.max_entry
    }

    /// Joins in what is being encoded for this key, or begins it, under the lock of the shard. What was asked for in
    /// another epoch nobody joins in.
    pub(super) fn join(
        &self,
        key: &Key,
        epoch: u64,
        begin: impl FnOnce() -> Option<Arc<Flight>>,
    ) -> Option<Arc<Flight>> {
        let mut shard = self.shard(key);
        if epoch == self.epoch() {
            shard.join(key, begin)
        } else {
            drop(shard);
            begin()
        }
    }

    pub(super) fn leave(&self, key: &Key, flight: *const Flight) {
        self.shard(key).leave(key, flight);
    }

    fn recordings(&self) -> MutexGuard<'_, Recordings> {
        let recordings = &self.inner.recordings;
        recordings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to record a body that is being sent, unless another response does; returns the number of the recording.
    pub(super) fn begin_recording(&self, key: &Key, now: u64) -> Option<u64> {
        let mut gone = Gone::new();
        self.recordings().begin(key, now, &mut gone)
    }

    /// Adds a frame to a recording; tells whether it goes on.
    pub(super) fn record(&self, key: &Key, begun: u64, frame: &Bytes, now: u64) -> bool {
        let mut gone = Gone::new();
        let limit = self.inner.capacity / 8;
        self.recordings()
            .add((key, begun), frame, (now, limit), &mut gone)
    }

    /// Ends a recording, and returns what it has if it went on until now.
    pub(super) fn end_recording(&self, key: &Key, begun: u64) -> Option<Vec<Bytes>> {
        self.recordings().end(key, begun)
    }

    #[cfg(test)]
    pub(super) fn under_way(&self) -> (usize, usize) {
        let flights = self.inner.shards.iter().map(|line| lock(line).flights()).sum();
        (flights, self.recordings().bytes())
    }
}

fn lock(line: &Line) -> MutexGuard<'_, Shard> {
    line.0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for VariantCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VariantCache")
            .field("capacity", &self.inner.capacity)
            .field("max_entry", &self.inner.max_entry)
            .finish_non_exhaustive()
    }
}

/// What a [`VariantCache`] holds, and how it was used.
///
/// # Examples
///
/// ```
/// use cortex_compress::{CacheStats, VariantCache};
///
/// let stats: CacheStats = VariantCache::weighted(1 << 20).stats();
/// assert_eq!((stats.entries, stats.bytes, stats.hits), (0, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Responses whose body, or that it does not get smaller, was known.
    pub hits: u64,
    /// Responses that might have been in the cache, and were not.
    pub misses: u64,
    /// Entries that had to make room for others.
    pub evictions: u64,
    /// Entries there are.
    pub entries: usize,
    /// Bytes they hold, with their keys and all.
    pub bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::super::shard::OVERHEAD;
    use super::*;

    fn encoded(length: usize) -> Kept {
        Kept::Encoded {
            data: vec![1; length].into(),
            constant: false,
        }
    }

    #[test]
    fn a_cache_of_any_size_keeps_its_limits() {
        for capacity in [
            0,
            1,
            1000,
            OVERHEAD + 100,
            1 << 20,
            (8 << 20) - 1,
            8 << 20,
            100 << 20,
            1 << 40,
        ] {
            let cache = VariantCache::weighted(capacity);
            let shards = cache.inner.shards.len();
            assert!(shards.is_power_of_two() && shards <= MAX_SHARDS, "{capacity}");
            assert!(shards == 1 || cache.inner.limit >= MIN_SHARD, "{capacity}");
            assert!(shards * cache.inner.limit <= capacity);
            assert!(cache.inner.max_entry <= MAX_ENTRY && cache.inner.max_entry <= capacity);
            for number in 0..200_u32 {
                cache.insert(cache.key(&number.to_be_bytes()), encoded(50), cache.epoch());
                assert!(cache.stats().bytes <= capacity);
            }
            let (kept, fit) = (cache.stats().entries, capacity / (OVERHEAD + 54));
            assert_eq!(kept, fit.min(200), "{capacity}");
            cache.clear();
            assert_eq!((cache.stats().bytes, cache.stats().entries), (0, 0));
        }
    }

    #[test]
    fn the_largest_body_is_a_setting_within_bounds() {
        let cache = VariantCache::weighted(1 << 20);
        assert_eq!(cache.max_body(), 1 << 18);
        let cache = cache.max_entry(100);
        cache.insert(cache.key(b"a"), encoded(101), 0);
        assert_eq!(cache.stats().entries, 0);
        cache.insert(cache.key(b"a"), encoded(100), 0);
        assert_eq!(cache.stats().entries, 1);
        assert_eq!(cache.max_entry(usize::MAX).max_body(), (1 << 20) - MAX_BESIDE);
        let large = VariantCache::weighted(64 << 20);
        assert_eq!(large.max_body(), 1 << 20);
        assert_eq!(large.max_entry(usize::MAX).max_body(), (4 << 20) - MAX_BESIDE);
    }

    #[test]
    fn the_largest_body_that_may_be_is_kept_whatever_its_key_and_the_size_of_the_cache() {
        const MIB: usize = 1 << 20;
        let longest = [7; MAX_KEY + 64];
        for capacity in [
            5000,
            100_000,
            MIB,
            4 * MIB,
            7 * MIB,
            8 * MIB - 1,
            12 * MIB,
            28 * MIB,
        ]
        .into_iter()
        .chain((29..300).step_by(7).map(|mib| mib * MIB + 1))
        {
            let cache = VariantCache::weighted(capacity).max_entry(usize::MAX);
            let documented = (capacity / 16).max(4 * MIB).min(capacity);
            let most = cache.max_body();
            assert_eq!(most, documented - MAX_BESIDE, "{capacity}");
            const { assert!(MAX_BESIDE <= 5000) };
            cache.insert(cache.key(&longest), encoded(most + 1), 0);
            assert_eq!(cache.stats().entries, 0, "{capacity}");
            cache.insert(cache.key(&longest), encoded(most), 0);
            assert_eq!(cache.stats().entries, 1, "{capacity}");
        }
    }

    #[test]
    fn what_is_asked_for_before_the_cache_is_cleared_is_not_kept_after() {
        let cache = VariantCache::weighted(1 << 20);
        let (key, epoch) = (cache.key(b"/"), cache.epoch());
        let begun = cache.begin_recording(&key, 0).unwrap();
        cache.clear();
        cache.insert(key.clone(), encoded(50), epoch);
        assert_eq!(cache.stats().entries, 0);
        assert!(!cache.record(&key, begun, &Bytes::from_static(b"x"), 0));
        assert_eq!(cache.end_recording(&key, begun), None);
        cache.insert(key, encoded(50), cache.epoch());
        assert_eq!(cache.stats().entries, 1);
    }

    #[test]
    fn hashes_differ_from_cache_to_cache() {
        let hash = || VariantCache::weighted(1).key(b"/").hash;
        assert_ne!(hash(), hash());
    }
}
