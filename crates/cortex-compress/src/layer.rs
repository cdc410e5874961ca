use crate::adaptive::Adaptive;
use crate::breach::BreachPolicy;
use crate::budget::MemoryBudget;
use crate::cache::VariantCache;
use crate::coding::{Coding, Level};
use crate::compressor::Compressor;
use crate::content_types::ContentTypes;
use crate::etag::EtagPolicy;
use crate::flush::FlushPolicy;
use crate::observer::Observer;
use crate::offload::Offload;
use crate::refusal::NotAcceptable;
use crate::service::Compress;
use crate::shared::Shared;
use cortex_core::Clock;
use std::fmt;
use std::sync::Arc;
use tower_layer::Layer;

/// Compresses responses with the best coding that the client accepts.
///
/// Put it inside what measures and outside what decides: inside the observing layer, outside timeouts, limits and the
/// handlers. A clone, and every service made from it, uses the same encoders.
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "brotli", feature = "gzip", feature = "zstd"))] {
/// use axum::{Router, routing::get};
/// use cortex_compress::{Coding, CompressionLayer, ContentTypes, Level};
///
/// let layer = CompressionLayer::new()
///     .coding(Coding::Br, Level::new(5))
///     .coding(Coding::Gzip, Level::DEFAULT)
///     .min_size(512)
///     .types(ContentTypes::compressible().allow("application/vnd.acme.table")?);
/// let app: Router = Router::new().route("/", get(async || "Hello")).layer(layer.clone());
/// assert!(format!("{layer:?}").contains("[br 5, gzip 4]"));
/// # }
/// # Ok::<(), cortex_compress::InvalidContentType>(())
/// ```
#[derive(Clone)]
pub struct CompressionLayer {
    shared: Arc<Shared>,
    /// The offers are still the ones of [`new`](Self::new).
    default_codings: bool,
}

impl CompressionLayer {
    /// Makes a layer that offers every coding of this build: zstd, then br, gzip and deflate, each at its default level.
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared::new()),
            default_codings: true,
        }
    }

    /// Offers a coding, after those offered before; where the client has no preference, the earliest wins.
    ///
    /// The first call replaces the offers of [`new`](Self::new). To offer a coding again changes its level.
    ///
    /// The default levels are safe to run on every response: zstd 1, br 4, gzip 4, deflate 4. A level far above them belongs to
    /// bodies that are encoded once and kept.
    ///
    /// # Performance
    ///
    /// Microseconds for 10 KB of JSON, and how many times smaller it gets: zstd 1 24 (2.8), gzip 4 47 (2.6), with feature
    /// `libdeflate` 26 (2.7), br 4 175 (2.8). Whole bodies cost the same at all levels of gzip up to 4. Levels that take longer than 60 ns for a byte (zstd 13, br 7 and
    /// above) hold the thread longer than a quarter of a millisecond at a time, unless there is an
    /// [`offload`](Self::offload).
    ///
    /// # Panics
    ///
    /// The coding has no such level; [`Coding::level`] checks without panicking, and a [`Coding`] can be parsed.
    #[must_use]
    pub fn coding(mut self, coding: Coding, level: Level) -> Self {
        if let Err(error) = coding.level(level.resolve(coding)) {
            panic!("failed to {error}");
        }
        let shared = Arc::make_mut(&mut self.shared);
        if std::mem::take(&mut self.default_codings) {
            shared.clear_offers();
        }
        shared.offer(coding, level);
        self
    }

    /// Leaves bodies shorter than this many bytes alone; 1024 by default.
    ///
    /// A body whose length is not known beforehand is encoded. An empty one never is.
    #[must_use]
    pub fn min_size(mut self, bytes: u64) -> Self {
        Arc::make_mut(&mut self.shared).min_size = bytes;
        self
    }

    /// Encodes bodies up to this many bytes as a whole, before their header is sent, if all of them is there and their length
    /// is known; 256 KiB by default.
    ///
    /// Such a response has an exact `Content-Length`, is left alone where it would not get smaller, and under
    /// [`EtagPolicy::Suffix`] may have a strong tag. For that its first byte waits for the last one to be encoded, and the
    /// encoder holds a buffer as large as the body, which idle ones keep up to 8 MB. All longer bodies are streamed; with 0,
    /// all bodies are.
    #[must_use]
    pub fn one_shot_max(mut self, bytes: u64) -> Self {
        Arc::make_mut(&mut self.shared).one_shot_max = bytes;
        self
    }

    /// Sets which content types are encoded; [`ContentTypes::compressible`] by default.
    #[must_use]
    pub fn types(mut self, types: ContentTypes) -> Self {
        Arc::make_mut(&mut self.shared).types = types;
        self
    }

    /// Obeys `Cache-Control: no-transform` of requests and responses, or ignores it; obeys by default.
    #[must_use]
    pub fn no_transform(mut self, obey: bool) -> Self {
        Arc::make_mut(&mut self.shared).no_transform = obey;
        self
    }

    /// Sets what becomes of strong entity tags; [`EtagPolicy::Weaken`] by default.
    #[must_use]
    pub fn etag(mut self, policy: EtagPolicy) -> Self {
        Arc::make_mut(&mut self.shared).set_etag(policy);
        self
    }

    /// Sets what a client gets that refuses the identity and every coding on offer; the identity by default.
    #[must_use]
    pub fn not_acceptable(mut self, policy: NotAcceptable) -> Self {
        Arc::make_mut(&mut self.shared).not_acceptable = policy;
        self
    }

    /// Sets what is done against guesses of secrets by the length of encoded responses; nothing by default.
    #[must_use]
    pub fn breach(mut self, policy: BreachPolicy) -> Self {
        Arc::make_mut(&mut self.shared).set_breach(policy);
        self
    }

    /// Compresses against dictionaries that clients have (RFC 9842); without any by default.
    ///
    /// A client that names `dcz` or `dcb` in `Accept-Encoding`, and one of these dictionaries in
    /// `Available-Dictionary`, gets that coding, unless it likes another one better. `dcz` is on offer where zstd is,
    /// at its level or 3 if that is higher, and `dcb` where br is, at its level or 2, with dictionaries of at most
    /// 256 KiB; the earliest offer wins as always. Whatever might be encoded says `Vary: accept-encoding,
    /// available-dictionary`, and strong entity tags are weakened.
    ///
    /// A response with [`CompressWith`](crate::CompressWith) gets that coding, with the dictionary if there is one for it,
    /// and at its level if that is not lower than the two above; so do the steps of [`adaptive`](Self::adaptive). What is
    /// compressed against a dictionary is not kept in the [`cache`](Self::cache).
    ///
    /// Where a page of another origin asks, the response has to have an `Access-Control-Allow-Origin` that lets it read
    /// the content, or there is no dictionary (section 9.3.3): a layer that adds it belongs inside this one.
    ///
    /// An encoder of `dcz` works its dictionary up once. If that takes longer than a task may take at a time, as for
    /// one of more than about 70 KB at level 3, it is a job for the [`offload`](Self::offload): without one, and while
    /// it is saturated, the response is encoded without the dictionary.
    ///
    /// Whether the dictionary is meant for the URL is up to the client: it sends the field where the pattern of
    /// [`UseAsDictionary`](crate::UseAsDictionary) covers the URL, and to the origin that it has the dictionary from.
    /// Clients do so over HTTPS only (section 8), and to loopback.
    #[cfg(feature = "dictionary")]
    #[must_use]
    pub fn dictionaries(mut self, store: crate::DictionaryStore) -> Self {
        Arc::make_mut(&mut self.shared).dictionaries = Some(store);
        self
    }

    /// Encodes streams of events (`text/event-stream`), or leaves them alone; alone by default.
    ///
    /// An encoded stream holds an encoder as long as it lasts, and each flush costs some bytes: it pays where events are
    /// large and clients far away. What a source has sent before it pauses is flushed out.
    #[must_use]
    pub fn sse(mut self, encode: bool) -> Self {
        Arc::make_mut(&mut self.shared).sse = encode;
        self
    }

    /// Sets when streamed bodies are flushed out to the client; [`FlushPolicy::OnPause`] by default.
    #[must_use]
    pub fn flush(mut self, policy: FlushPolicy) -> Self {
        Arc::make_mut(&mut self.shared).flush = policy;
        self
    }

    /// Tells an observer what becomes of each response. A second call replaces the observer: give a pair for two.
    #[must_use]
    pub fn observe(mut self, observer: impl Observer + 'static) -> Self {
        Arc::make_mut(&mut self.shared).observe(Arc::new(observer));
        self
    }

    /// Lets the encoders at work hold at most this many bytes of memory together; 256 MiB by default.
    ///
    /// A [`MemoryBudget`] may be shared with other layers, and tells how much of it is used; a number is one of its own.
    ///
    /// A response whose encoder would exceed it is encoded without the dictionary or at a lower level, where that takes
    /// less, and else sent as it is; it says that it varies either way. A waiting stream takes, however slow its reader
    /// is:
    ///
    /// | coding and level | MB |
    /// |---|---|
    /// | gzip, deflate | 0.4 |
    /// | zstd | 0.55; from 16 on 1.2 |
    /// | br 1, 4, 5 | 0.2, 1, 1.8 |
    /// | br 6 to 9 | 2.8: streams of more than 6 are encoded at 6, as the tables of 9 take 34 MB |
    /// | br 10, 11 | 3.6 |
    /// | with a dictionary of 100 KB | dcz 2.8, dcb 1.5 more than br |
    ///
    /// A whole body takes more, and for a short time: up to 36 MB with br 9. Idle encoders are bounded apart from that:
    /// to 64 MiB, and to a minute, after which the responses that come next let them go.
    #[must_use]
    pub fn memory_budget(mut self, budget: impl Into<MemoryBudget>) -> Self {
        Arc::make_mut(&mut self.shared).budget = budget.into().into_inner();
        self
    }

    /// Steps the levels down, and then to the identity, while there is more to do than there is time for; it does not
    /// by default.
    ///
    /// See [`Adaptive`] for what is too much, and how it ends. A response costs a look at the clock more.
    #[must_use]
    pub fn adaptive(mut self, adaptive: Adaptive) -> Self {
        Arc::make_mut(&mut self.shared).set_adaptive(adaptive);
        self
    }

    /// Keeps encoded bodies in this cache, for the next responses with the same strong entity tag; there is none by
    /// default.
    ///
    /// A hit costs about what the identity does, so that the level may be one that is too slow to run on every response:
    /// see [`VariantCache`] for what is kept, and [`offload`](Self::offload) for where to encode it the first time.
    #[must_use]
    pub fn cache(mut self, cache: VariantCache) -> Self {
        Arc::make_mut(&mut self.shared).cache = Some(cache);
        self
    }

    /// Encodes elsewhere what would hold the serving thread for more than a quarter of a millisecond.
    ///
    /// Without an offload, and while it is saturated, such work is done in slices, between which other tasks run (but
    /// for what [`EtagPolicy::Suffix`] gives a strong tag). The response has its exact `Content-Length` either way if
    /// its body was there as a whole.
    ///
    /// There is no length to set from which on work is sent away: a length that takes long with br 9 is nothing with zstd 1, on
    /// this machine or a slower one. What takes long is learned from what encoding took, by coding and level.
    #[must_use]
    pub fn offload(mut self, offload: impl Offload) -> Self {
        Arc::make_mut(&mut self.shared).set_offload(Arc::new(offload));
        self
    }

    /// Measures the cost of encoding with this clock, to learn what this machine does in a quarter of a millisecond; a
    /// [`TscClock`](cortex_core::TscClock) by default. With one that stands still nothing is learned.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        Arc::make_mut(&mut self.shared).set_clock(Arc::new(clock));
        self
    }

    /// Returns what its services do, in two steps; it uses the same encoders.
    pub fn compressor(&self) -> Compressor {
        Compressor::new(Arc::clone(&self.shared))
    }
}

impl Default for CompressionLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CompressionLayer {
    type Service = Compress<S>;

    fn layer(&self, inner: S) -> Compress<S> {
        Compress::new(inner, self.compressor())
    }
}

impl fmt::Debug for CompressionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
