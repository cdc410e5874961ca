use crate::budget::MemoryBudget;
use crate::coding::Coding;
use crate::decode::{DecodeError, DecodeErrorKind, Limit};
use crate::dictionary::name_with_dictionary;
use crate::observer::{AbortCause, EncodePath, Event, Observer};
use cortex_metrics::{Counter, CounterF64, Family, Gauge, RegisterError, Registry, Samples, labels};
use http::StatusCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Counts what becomes of responses, and of bodies that are decoded: an [`Observer`] for any number of layers. Clones
/// count in the same place.
///
/// | metric | labels | counts |
/// |---|---|---|
/// | `cortex_compress_encoded_total` | `coding`, `path` | responses that were encoded to their end, by [`EncodePath`] |
/// | `cortex_compress_aborted_total` | `coding`, `cause` | responses that were given up before it, by [`AbortCause`] |
/// | `cortex_compress_skipped_total` | `reason` | responses that were left as they were, by [`SkipReason`](crate::SkipReason); `memory_budget` is the budget's refusals |
/// | `cortex_compress_cached_total` | `coding` | responses whose bodies had been encoded for others: from the [cache](crate::VariantCache), or at the same time |
/// | `cortex_compress_cached_input_bytes_total` | `coding` | bytes of those bodies as they would have been sent otherwise |
/// | `cortex_compress_cached_output_bytes_total` | `coding` | bytes of those bodies as they were sent |
/// | `cortex_compress_adaptive_step` | | how many steps down the levels are, of the layer that took a step last |
/// | `cortex_compress_encoder_input_bytes_total` | `coding` | bytes that encoders have read, of responses that were given up, too |
/// | `cortex_compress_encoder_output_bytes_total` | `coding` | bytes that they have made of them |
/// | `cortex_compress_encoder_seconds_total` | `coding` | time that they were at it; not of bodies that did not get smaller |
/// | `cortex_compress_decoded_total` | `coding` | bodies that were decoded to their end |
/// | `cortex_compress_not_decoded_total` | `coding`, `reason` | bodies that were not: `corrupt`, `truncated`, `trailing_data`, or the limit that they exceed |
/// | `cortex_compress_refused_total` | `status` | requests that were refused unread for their `Content-Encoding` or length |
/// | `cortex_compress_decoder_input_bytes_total` | `coding` | bytes that came for decoders |
/// | `cortex_compress_decoder_output_bytes_total` | `coding` | bytes that bodies decoded to their end were decoded to |
///
/// Each label has few values, all of them known beforehand, whatever clients send. Each coding is shown from the start, as
/// zero. Of what encoders do, `coding` is `dcz` or `dcb` where it is against a dictionary.
///
/// What compression spares on the way to clients is input less output, of encoders and of what was cached together.
///
/// Of the budgets that are [watched](Self::watch), each scrape shows `cortex_compress_memory_used_bytes` and
/// `cortex_compress_memory_limit_bytes`, as sums.
///
/// # Performance
///
/// A response that is skipped takes one look-up by a label, about 20 ns; one that is encoded takes one and three
/// additions, and two readings of the clock for each piece. Nothing is allocated after the first event of its kind on a
/// thread.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "gzip")] {
/// use axum::{Router, body::Body, routing::get};
/// use cortex_compress::{CompressionLayer, MemoryBudget, MetricsObserver};
/// use cortex_metrics::Registry;
/// use http::Request;
/// use tower::ServiceExt;
///
/// let registry = Registry::default();
/// let metrics = MetricsObserver::new(&registry)?;
/// let budget = MemoryBudget::new(64 << 20);
/// metrics.watch(&budget);
/// let layer = CompressionLayer::new().memory_budget(budget).observe(metrics);
///
/// let app = Router::new().route("/", get(async || "a line of text\n".repeat(500))).layer(layer);
/// let request = Request::builder().header("accept-encoding", "gzip").body(Body::empty()).unwrap();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// app.oneshot(request).await.unwrap();
/// # });
/// let text = registry.to_text();
/// for line in [
///     "cortex_compress_encoded_total{coding=\"gzip\",path=\"inline\"} 1\n",
///     "cortex_compress_encoder_input_bytes_total{coding=\"gzip\"} 7500\n",
///     "cortex_compress_memory_limit_bytes 67108864.0\n",
/// ] {
///     assert!(text.contains(line), "{text}");
/// }
/// # }
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricsObserver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    of_codings: [OfCoding; Coding::COUNT],
    /// The same with dictionaries, of those codings that have any.
    with_dictionary: [OfCoding; Coding::COUNT],
    encoded: Family<ByPath, Counter>,
    aborted: Family<ByCause, Counter>,
    step: Gauge,
    skipped: Family<ByReason, Counter>,
    not_decoded: Family<ByError, Counter>,
    refused: Family<ByStatus, Counter>,
    budgets: Mutex<Vec<MemoryBudget>>,
}

/// What is counted for each body of a coding: found without a look-up.
#[derive(Debug, Default)]
struct OfCoding {
    encoder_input: Counter,
    encoder_output: Counter,
    encoder_time: CounterF64,
    cached: Counter,
    cached_input: Counter,
    cached_output: Counter,
    decoded: Counter,
    decoder_input: Counter,
    decoder_output: Counter,
}

labels! {
    struct ByCoding { coding: &'static str }
}

labels! {
    struct ByPath { coding: &'static str, path: &'static str }
}

labels! {
    struct ByCause { coding: &'static str, cause: &'static str }
}

labels! {
    struct ByReason { reason: &'static str }
}

labels! {
    struct ByError { coding: &'static str, reason: &'static str }
}

labels! {
    struct ByStatus { status: &'static str }
}

impl MetricsObserver {
    /// Registers the metrics. For a prefix or more labels, give it a
    /// [sub-registry](cortex_metrics::Registry::sub_registry).
    ///
    /// # Errors
    ///
    /// One of the names is taken: there is such an observer in this registry already, of which a clone will do. What was
    /// registered before that name stays, and counts nothing.
    pub fn new(registry: &Registry) -> Result<Self, RegisterError> {
        let [of_codings, with_dictionary] = register_of_codings(registry)?;
        let shared = Arc::new(Shared {
            of_codings,
            with_dictionary,
            encoded: Family::new(Counter::default),
            aborted: Family::new(Counter::default),
            step: Gauge::default(),
            skipped: Family::new(Counter::default),
            not_decoded: Family::new(Counter::default),
            refused: Family::new(Counter::default),
            budgets: Mutex::default(),
        });
        registry.register(
            "cortex_compress_encoded",
            "Responses whose bodies were encoded to their end, by the way they were.",
            shared.encoded.clone(),
        )?;
        registry.register(
            "cortex_compress_aborted",
            "Responses whose encoding was given up before their end, by what was the end of it.",
            shared.aborted.clone(),
        )?;
        registry.register(
            "cortex_compress_adaptive_step",
            "How many steps down the levels are, of the layer that took a step last.",
            shared.step.clone(),
        )?;
        registry.register(
            "cortex_compress_skipped",
            "Responses that were not encoded, by the first reason that was found.",
            shared.skipped.clone(),
        )?;
        registry.register(
            "cortex_compress_not_decoded",
            "Bodies that could not be decoded to their end, by what was wrong.",
            shared.not_decoded.clone(),
        )?;
        registry.register(
            "cortex_compress_refused",
            "Requests that were refused before their encoded body was read.",
            shared.refused.clone(),
        )?;
        let shown = Arc::clone(&shared);
        registry.register_collector(move |out: &mut Samples<'_>| shown.collect(out));
        Ok(Self { shared })
    }

    /// Shows at each scrape how much of this budget is used, and how much there is; of several, the sums.
    ///
    /// A budget that is watched already is not counted twice.
    pub fn watch(&self, budget: &MemoryBudget) {
        let mut budgets = self.shared.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if !budgets.iter().any(|known| known.is_same(budget)) {
            budgets.push(budget.clone());
        }
    }
}

/// Registers what is counted by coding alone.
fn register_of_codings(registry: &Registry) -> Result<[[OfCoding; Coding::COUNT]; 2], RegisterError> {
    let bytes = || Family::<ByCoding, Counter>::new(Counter::default);
    let (encoder_input, encoder_output) = (bytes(), bytes());
    let (cached_input, cached_output) = (bytes(), bytes());
    let (decoder_input, decoder_output) = (bytes(), bytes());
    for (name, help, family) in [
        (
            "cortex_compress_encoder_input",
            "Bytes of responses that encoders have read.",
            &encoder_input,
        ),
        (
            "cortex_compress_encoder_output",
            "Bytes that encoders have made of them.",
            &encoder_output,
        ),
        (
            "cortex_compress_cached_input",
            "Bytes of bodies that had been encoded for others, as they would have been sent otherwise.",
            &cached_input,
        ),
        (
            "cortex_compress_cached_output",
            "Bytes of bodies that had been encoded for others, as they were sent.",
            &cached_output,
        ),
        (
            "cortex_compress_decoder_input",
            "Bytes of encoded bodies that came for decoders.",
            &decoder_input,
        ),
        (
            "cortex_compress_decoder_output",
            "Bytes that bodies were decoded to which were decoded to their end.",
            &decoder_output,
        ),
    ] {
        registry.register_with_unit(name, help, "bytes", family.clone())?;
    }
    let encoder_time = Family::<ByCoding, CounterF64>::new(CounterF64::default);
    registry.register_with_unit(
        "cortex_compress_encoder",
        "Time that encoders were at work, on whatever thread.",
        "seconds",
        encoder_time.clone(),
    )?;
    let cached = Family::<ByCoding, Counter>::new(Counter::default);
    registry.register(
        "cortex_compress_cached",
        "Responses whose bodies had been encoded for others.",
        cached.clone(),
    )?;
    let decoded = Family::<ByCoding, Counter>::new(Counter::default);
    registry.register(
        "cortex_compress_decoded",
        "Bodies that were decoded to their end.",
        decoded.clone(),
    )?;
    let [mut of_codings, mut with_dictionary]: [[OfCoding; Coding::COUNT]; 2] = Default::default();
    for &coding in Coding::ALL {
        let labels = ByCoding {
            coding: coding.as_str(),
        };
        of_codings[coding.index()] = OfCoding {
            encoder_input: encoder_input.handle(&labels),
            encoder_output: encoder_output.handle(&labels),
            encoder_time: encoder_time.handle(&labels),
            cached: cached.handle(&labels),
            cached_input: cached_input.handle(&labels),
            cached_output: cached_output.handle(&labels),
            decoded: decoded.handle(&labels),
            decoder_input: decoder_input.handle(&labels),
            decoder_output: decoder_output.handle(&labels),
        };
        let name = name_of(coding, true);
        if cfg!(feature = "dictionary") && name != coding.as_str() {
            let labels = ByCoding { coding: name };
            with_dictionary[coding.index()] = OfCoding {
                encoder_input: encoder_input.handle(&labels),
                encoder_output: encoder_output.handle(&labels),
                encoder_time: encoder_time.handle(&labels),
                ..OfCoding::default() // there is no decoder for them
            };
        }
    }
    Ok([of_codings, with_dictionary])
}

/// Returns the name of what the client gets.
fn name_of(coding: Coding, dictionary: bool) -> &'static str {
    if dictionary {
        name_with_dictionary(coding.as_str())
    } else {
        coding.as_str()
    }
}

impl Shared {
    fn of(&self, coding: Coding) -> &OfCoding {
        &self.of_codings[coding.index()]
    }

    /// Counts what an encoder did, to the end of a body or not.
    fn worked(&self, coding: Coding, dictionary: bool, (bytes_in, bytes_out): (u64, u64), time: Duration) {
        let of = if dictionary {
            &self.with_dictionary[coding.index()]
        } else {
            self.of(coding)
        };
        of.encoder_input.add(bytes_in);
        of.encoder_output.add(bytes_out);
        of.encoder_time.add(time.as_secs_f64());
    }

    fn encoded(&self, coding: Coding, dictionary: bool, path: EncodePath) {
        let labels = ByPath {
            coding: name_of(coding, dictionary),
            path: path.as_str(),
        };
        self.encoded.with(&labels, Counter::inc);
    }

    fn aborted(&self, coding: Coding, dictionary: bool, cause: AbortCause) {
        let labels = ByCause {
            coding: name_of(coding, dictionary),
            cause: cause.as_str(),
        };
        self.aborted.with(&labels, Counter::inc);
    }

    fn not_decoded(&self, error: &DecodeError, bytes_in: u64) {
        self.of(error.coding()).decoder_input.add(bytes_in);
        let labels = ByError {
            coding: error.coding().as_str(),
            reason: reason(error.kind()),
        };
        self.not_decoded.with(&labels, Counter::inc);
    }

    #[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
    fn collect(&self, out: &mut Samples<'_>) {
        let budgets = self
            .budgets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if budgets.is_empty() {
            return;
        }
        let sum = |of: fn(&MemoryBudget) -> usize| budgets.iter().map(|budget| of(budget) as f64).sum();
        let help = "Bytes that encoders at work hold, of the budgets that are watched.";
        out.gauge(
            "cortex_compress_memory_used_bytes",
            help,
            &[],
            sum(MemoryBudget::used),
        );
        let help = "Bytes that encoders at work may hold.";
        out.gauge(
            "cortex_compress_memory_limit_bytes",
            help,
            &[],
            sum(MemoryBudget::limit),
        );
    }
}

impl Observer for MetricsObserver {
    fn on_event(&self, event: &Event) {
        let shared = &*self.shared;
        match *event {
            Event::Encoded {
                coding,
                dictionary,
                path,
                bytes_in,
                bytes_out,
                time,
                level: _,
            } => {
                shared.worked(coding, dictionary, (bytes_in, bytes_out), time);
                shared.encoded(coding, dictionary, path);
            }
            Event::Aborted {
                coding,
                dictionary,
                bytes_in,
                bytes_out,
                time,
                cause,
                level: _,
                path: _,
            } => {
                shared.worked(coding, dictionary, (bytes_in, bytes_out), time);
                shared.aborted(coding, dictionary, cause);
            }
            Event::Adapted { step } => shared.step.set(i64::from(step)),
            Event::Cached {
                coding,
                bytes_in,
                bytes_out,
            } => {
                let of = shared.of(coding);
                of.cached.inc();
                of.cached_input.add(bytes_in);
                of.cached_output.add(bytes_out);
            }
            Event::Skipped { reason } => {
                let labels = ByReason {
                    reason: reason.as_str(),
                };
                shared.skipped.with(&labels, Counter::inc);
            }
            Event::Decoded {
                coding,
                bytes_in,
                bytes_out,
            } => {
                let of = shared.of(coding);
                of.decoded.inc();
                of.decoder_input.add(bytes_in);
                of.decoder_output.add(bytes_out);
            }
            Event::NotDecoded { error, bytes_in } => shared.not_decoded(&error, bytes_in),
            Event::Refused { status } => {
                let status = match status {
                    StatusCode::PAYLOAD_TOO_LARGE => "413",
                    _ => "415",
                };
                shared.refused.with(&ByStatus { status }, Counter::inc);
            }
        }
    }
}

const fn reason(kind: DecodeErrorKind) -> &'static str {
    match kind {
        DecodeErrorKind::Corrupt => "corrupt",
        DecodeErrorKind::MemoryBudget => "memory_budget",
        DecodeErrorKind::Truncated => "truncated",
        DecodeErrorKind::TrailingData => "trailing_data",
        DecodeErrorKind::Limit(limit) => match limit {
            Limit::EncodedSize(_) => "encoded_size",
            Limit::DecodedSize(_) => "decoded_size",
            Limit::Ratio(_) => "ratio",
            Limit::Members(_) => "members",
            Limit::Window(_) => "window",
        },
    }
}
