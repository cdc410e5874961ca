/// A format that a scraper may ask for; [`negotiate`](crate::negotiate) finds the one it prefers.
///
/// # Examples
///
/// ```
/// use cortex_metrics::Format;
///
/// assert_eq!(Format::Text004.content_type(), "text/plain; version=0.0.4; charset=utf-8");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// The Prometheus text format 0.0.4, which every scraper reads.
    Text004,
    /// The `OpenMetrics` text format 1.0: adds units and an end mark that tells a whole exposition from a torn one.
    OpenMetrics1,
    /// The Prometheus protobuf format: `io.prometheus.client.MetricFamily` messages, each after its length.
    #[cfg(feature = "protobuf")]
    Protobuf,
}

impl Format {
    /// Returns the value of the `Content-Type` header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text004 => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics1 => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            #[cfg(feature = "protobuf")]
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}
