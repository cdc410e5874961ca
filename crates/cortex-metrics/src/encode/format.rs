/// A format that a scraper may ask for; with an [`Escaping`](crate::Escaping) it is a
/// [`ContentType`](crate::ContentType).
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Format, Registry};
///
/// let registry = Registry::default();
/// registry.register("jobs", "", Counter::default())?;
/// let mut out = Vec::new();
/// registry.encode(Format::Text004, &mut out);
/// assert_eq!(out, b"# TYPE jobs_total counter\njobs_total 0\n");
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// The Prometheus text format 0.0.4, which every scraper reads.
    Text004,
    /// The Prometheus text format 1.0.0: the same, asked for by scrapers that can also read names in quotes.
    Text100,
    /// The `OpenMetrics` text format 1.0: adds units and an end mark that tells a whole exposition from a torn one.
    OpenMetrics1,
    /// The Prometheus protobuf format: `io.prometheus.client.MetricFamily` messages, each after its length.
    #[cfg(feature = "protobuf")]
    Protobuf,
}

/// All formats of this build; where only wildcards of an `Accept` header match, the earlier is taken.
pub(crate) const FORMATS: [Format; 3 + cfg!(feature = "protobuf") as usize] = [
    Format::Text004,
    Format::Text100,
    Format::OpenMetrics1,
    #[cfg(feature = "protobuf")]
    Format::Protobuf,
];
