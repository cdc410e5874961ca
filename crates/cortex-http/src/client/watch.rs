use cortex_core::Context;
use cortex_metrics::LevelGauge;
use http::StatusCode;
use tokio::time::Instant;

use super::metrics::ClientMetrics;
use super::target::Target;
use crate::metrics::method_name;

/// One call from its beginning to the end of its answer. Dropping it is itself an end, so whatever becomes of the
/// futures, every call is counted once.
#[derive(Debug)]
pub(super) struct Watch {
    metrics: ClientMetrics,
    active: LevelGauge,
    /// Whose span an exemplar names.
    context: Context,
    started: Instant,
    target: Target,
    method: u8,
    status: Option<StatusCode>,
    ended: bool,
}

impl Watch {
    pub(super) fn begin(metrics: &ClientMetrics, method: u8, target: &Target, started: Instant) -> Box<Self> {
        let active = metrics.active(target);
        active.inc();
        Box::new(Self {
            metrics: metrics.clone(),
            active,
            context: Context::current(),
            started,
            target: target.clone(),
            method,
            status: None,
            ended: false,
        })
    }

    pub(super) fn answer(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    pub(super) fn end(mut self, error: Option<&'static str>) {
        self.finish(error);
    }

    fn finish(&mut self, error: Option<&'static str>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.active.dec();
        let target = (method_name(self.method), &self.target);
        let took = self.started.elapsed();
        self.metrics
            .record(&self.context, target, self.status, error, took);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let error = if std::thread::panicking() {
            "panic"
        } else {
            "cancelled"
        };
        let error = self.status.is_none().then_some(error);
        self.finish(error);
    }
}
