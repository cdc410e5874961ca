use cortex_metrics::{Counter, Family, RegisterError, Registry, labels};
use http::StatusCode;

labels! {
    struct RefusedLabels { reason: &'static str }
}

/// What the admin port counts of those who may not ask for what they ask for, and of the crowd.
#[derive(Clone, Debug)]
pub(super) struct AdminMetrics {
    refused: Family<RefusedLabels, Counter>,
    pub(super) wrong_tokens: Counter,
    pub(super) evicted: Counter,
}

impl AdminMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, RegisterError> {
        let this = Self {
            refused: Family::new(Counter::default),
            wrong_tokens: Counter::default(),
            evicted: Counter::default(),
        };
        registry.register(
            "cortex_admin_refused_requests",
            "Requests that the admin port refused, by reason",
            this.refused.clone(),
        )?;
        registry.register(
            "cortex_admin_wrong_tokens",
            "Wrong tokens that the admin port was sent, also where it needs none",
            this.wrong_tokens.clone(),
        )?;
        registry.register(
            "cortex_admin_evicted_connections",
            "Connections to the admin port that were closed to make room for others",
            this.evicted.clone(),
        )?;
        Ok(this)
    }

    pub(super) fn refused(&self, status: StatusCode) {
        let reason = match status {
            StatusCode::UNAUTHORIZED => "token",
            StatusCode::TOO_MANY_REQUESTS => "guessing",
            StatusCode::MISDIRECTED_REQUEST => "host",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "media_type",
            _ => "malformed",
        };
        self.refused.with(&RefusedLabels { reason }, Counter::inc);
    }
}
