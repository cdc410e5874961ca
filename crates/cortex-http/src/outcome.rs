/// How a request ended, beside its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The response was handed over whole.
    Ok,
    /// The client left before the response began; counted as status 499, which is never sent.
    ClientCancel,
    /// The client left, or the body failed, before the response was whole.
    Aborted,
    /// The handler panicked: answered with 500, or the body was cut.
    Panic,
    /// The request body did not arrive in time: answered with 408.
    Timeout,
    /// The request body was larger than allowed: answered with 413.
    TooLarge,
    /// The drain ran out of time and cut the request.
    DrainCut,
    /// The service has more to do than it can: answered with 503.
    Shed,
    /// The client asks more often than it may: answered with 429.
    RateLimited,
    /// The response did not begin by the request's deadline: answered with 504.
    Deadline,
    /// The request is one that HTTP does not allow, as one without a host: answered with 400.
    BadRequest,
    /// The request is CONNECT over HTTP/2 without a protocol, which is not served: answered with 501.
    NotImplemented,
}

impl Outcome {
    pub(crate) const ALL: [Self; 12] = [
        Self::Ok,
        Self::ClientCancel,
        Self::Aborted,
        Self::Panic,
        Self::Timeout,
        Self::TooLarge,
        Self::DrainCut,
        Self::Shed,
        Self::RateLimited,
        Self::Deadline,
        Self::BadRequest,
        Self::NotImplemented,
    ];

    /// Returns the name used in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientCancel => "client_cancel",
            Self::Aborted => "aborted",
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::DrainCut => "drain_cut",
            Self::Shed => "shed",
            Self::RateLimited => "rate_limited",
            Self::Deadline => "deadline",
            Self::BadRequest => "bad_request",
            Self::NotImplemented => "not_implemented",
        }
    }
}
