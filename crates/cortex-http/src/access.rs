use std::time::Duration;

use cortex_core::Context;

use crate::Outcome;

/// Says which requests get a line in the access log.
///
/// A line is a `tracing` event at INFO with the target `cortex_http::access`, written when the response ends. Failed
/// and slow requests always get one; of the others a share, chosen by trace id, so that all services of a trace choose
/// alike.
///
/// # Examples
///
/// ```
/// use cortex_http::AccessLog;
/// use std::time::Duration;
///
/// let log = AccessLog::new().ratio(0.01).slow(Duration::from_millis(250));
/// assert_ne!(format!("{log:?}"), format!("{:?}", AccessLog::new()));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AccessLog {
    threshold: u64,
    slow: Duration,
    off: bool,
}

/// The random part of a trace id: its low 56 bits (W3C Trace Context Level 2, section 3.2.2.5).
const RANDOM_BITS: u32 = 56;

impl AccessLog {
    /// Logs failed requests, and those that took a second or more. What is refused for load or rate, or for what the
    /// client alone is the cause of, is not among the failed ones: it comes in floods, which the metrics show. Such are
    /// requests that HTTP does not allow, that have no time left when they come, and whose bodies are too large or not
    /// sent in time.
    pub const fn new() -> Self {
        Self {
            threshold: 0,
            slow: Duration::from_secs(1),
            off: false,
        }
    }

    /// Logs nothing.
    pub const fn off() -> Self {
        Self {
            off: true,
            ..Self::new()
        }
    }

    /// Logs this share of the requests that are neither slow nor failed: 0 is none, 1 is all.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=2^56 before"
    )]
    #[expect(clippy::cast_precision_loss, reason = "2^56 is a power of two, exact as f64")]
    pub fn ratio(mut self, share: f64) -> Self {
        self.threshold = (share.clamp(0.0, 1.0) * (1_u64 << RANDOM_BITS) as f64) as u64;
        self
    }

    /// Counts a request as slow from this duration on.
    #[must_use]
    pub const fn slow(mut self, limit: Duration) -> Self {
        self.slow = limit;
        self
    }

    pub(crate) const fn is_off(self) -> bool {
        self.off
    }

    /// Says whether a request gets a line that ended like this; `expired` if its deadline was over when it came.
    pub(crate) fn wants(
        self,
        context: &Context,
        (outcome, status, expired): (Outcome, u16, bool),
        took: Duration,
    ) -> bool {
        use Outcome::{BadRequest, Deadline, NotImplemented, Ok, RateLimited, Shed, Timeout, TooLarge};
        let random = context
            .trace_id()
            .map_or(0, |id| id.get() & ((1 << RANDOM_BITS) - 1));
        // What is refused comes in floods, some of it before any limit is asked: a share is enough to know.
        // A deadline that passed while the handler ran is not: the service was too slow for it.
        let refused = match outcome {
            Shed | RateLimited | BadRequest | NotImplemented | TooLarge | Timeout => true,
            Deadline => expired,
            _ => false,
        };
        let failed = !refused && (outcome != Ok || status >= 500);
        failed || took >= self.slow || random < u128::from(self.threshold)
    }
}

impl Default for AccessLog {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_core::{Flags, SpanId, TraceId};

    #[test]
    fn failures_and_slow_requests_always_count_and_a_share_of_the_rest() {
        let context = |id: u128| {
            let (trace, span) = (TraceId::new(id).unwrap(), SpanId::new(1).unwrap());
            Context::new().with_span(trace, span, Flags::RANDOM)
        };
        let fast = Duration::from_millis(1);
        let log = AccessLog::new();
        assert!(!log.wants(&context(1), (Outcome::Ok, 404, false), fast));
        assert!(log.wants(&context(1), (Outcome::Ok, 500, false), fast));
        for (refused, status, expired) in [
            (Outcome::Shed, 503, false),
            (Outcome::RateLimited, 429, false),
            (Outcome::BadRequest, 400, false),
            (Outcome::NotImplemented, 501, false),
            (Outcome::TooLarge, 413, false),
            (Outcome::Timeout, 408, false),
            (Outcome::Deadline, 504, true),
        ] {
            assert!(!log.wants(&context(1), (refused, status, expired), fast));
            assert!(
                log.ratio(1.0)
                    .wants(&context(1), (refused, status, expired), fast)
            );
        }
        let slow = Duration::from_secs(1);
        assert!(log.wants(&context(1), (Outcome::Timeout, 408, false), slow));
        assert!(log.wants(&context(1), (Outcome::Deadline, 504, false), fast));
        assert!(log.wants(&context(1), (Outcome::ClientCancel, 499, false), fast));
        assert!(log.wants(&context(1), (Outcome::Ok, 200, false), Duration::from_secs(1)));

        let half = log.ratio(0.5);
        let low = context(1 << 55 | 1);
        assert!(half.wants(&context((1 << 55) - 1), (Outcome::Ok, 200, false), fast));
        assert!(!half.wants(&low, (Outcome::Ok, 200, false), fast));
        assert!(
            log.ratio(7.0)
                .wants(&context((1 << 56) - 1), (Outcome::Ok, 200, false), fast)
        );
    }
}
