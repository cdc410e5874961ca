use http::HeaderName;

/// The header that says how much longer a caller waits for the answer, in whole milliseconds.
///
/// There is no standard for it outside of gRPC, whose `grpc-timeout` has units that plain HTTP services do not read. A
/// span of time and not a point in time, since the clocks of two machines differ.
pub(crate) const REQUEST_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-request-timeout-ms");
