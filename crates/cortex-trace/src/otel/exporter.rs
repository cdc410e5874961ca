use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use cortex_core::Flags;
use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::SpanExporter;

use super::convert;
use super::driver::Driver;
use crate::export::ask_sdk;
use crate::{Abort, ExportError, ExporterStart, SpanData};

/// Exports through an exporter of OpenTelemetry's SDK, with our queue, thread and statistics in place of its batch
/// processor.
///
/// It gets spans only if they are sampled, and never more than one batch at once.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Tracer, otel};
/// use cortex_trace::otel::opentelemetry_sdk::{error::OTelSdkResult, trace::{SpanData, SpanExporter}};
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// #[derive(Debug)]
/// struct Names(mpsc::SyncSender<String>);
///
/// impl SpanExporter for Names {
///     async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
///         for span in batch {
///             let _ = self.0.send(span.name.into_owned());
///         }
///         Ok(())
///     }
/// }
///
/// let (sender, names) = mpsc::sync_channel(8);
/// let tracer = Tracer::builder("shop").export(otel::Exporter::new(Names(sender))).build()?;
/// tracer.span("restock").start().end();
/// tracer.shutdown_blocking(Duration::from_secs(60))?;
/// assert_eq!(names.try_recv()?, "restock");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Exporter<E> {
    // Before the driver, so that a runtime outlives what was spawned on it.
    inner: Result<E, ExportError>,
    /// What there is instead of the exporter until the worker's thread builds it.
    build: Option<Box<dyn FnOnce() -> Result<E, ExportError> + Send>>,
    driver: Driver,
    timeout: Duration,
    abort: Option<Abort>,
}

/// `OTEL_BSP_EXPORT_TIMEOUT` without that variable.
const TIMEOUT: Duration = Duration::from_secs(30);

impl<E: SpanExporter + 'static> Exporter<E> {
    /// Takes an exporter that needs no runtime: whatever works with the SDK's `BatchSpanProcessor`.
    ///
    /// One with a client that blocks (`reqwest-blocking-client`) must not have a runtime around it, so here is none.
    pub fn new(exporter: E) -> Self {
        ask_sdk();
        Self {
            inner: Ok(exporter),
            build: None,
            driver: Driver::Thread,
            timeout: TIMEOUT,
            abort: None,
        }
    }

    /// Takes what builds an exporter that needs a tokio runtime, such as one over gRPC: it is built and run in a
    /// runtime of its own, so that neither a busy service nor its end can keep it from sending.
    ///
    /// An error counts every span as failed.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::{Tracer, otel};
    /// use cortex_trace::otel::opentelemetry_sdk::{error::OTelSdkResult, trace::{SpanData, SpanExporter}};
    /// use std::time::Duration;
    ///
    /// #[derive(Debug)]
    /// struct Patient;
    ///
    /// impl SpanExporter for Patient {
    ///     async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
    ///         tokio::time::sleep(Duration::from_millis(1)).await; // panics without a runtime
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let exporter = otel::Exporter::in_runtime(|| Ok(Patient));
    /// let tracer = Tracer::builder("shop").export(exporter).build()?;
    /// tracer.span("restock").start().end();
    /// tracer.shutdown_blocking(Duration::from_secs(60))?;
    /// assert_eq!(tracer.stats().exported, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_runtime(build: impl FnOnce() -> Result<E, ExportError> + Send + 'static) -> Self {
        ask_sdk();
        Self {
            inner: Err(ExportError::new("the exporter panicked while it was built")),
            build: Some(Box::new(build)),
            driver: Driver::Thread,
            timeout: TIMEOUT,
            abort: None,
        }
    }

    /// Sets how long a batch may take, 30 s without it; after that, and when the time for a shutdown is up, it counts as
    /// failed and its export is dropped.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the exporter, which is built by the first call: on the worker's thread, in its runtime.
    fn ready(&mut self) -> Result<(&mut E, &Driver), ExportError> {
        if let Some(build) = self.build.take() {
            self.inner = Driver::runtime().and_then(|driver| {
                self.driver = driver;
                self.driver.enter(build)
            });
        }
        match &mut self.inner {
            Ok(exporter) => Ok((exporter, &self.driver)),
            Err(error) => Err(error.clone()),
        }
    }
}

impl<E: SpanExporter + 'static> crate::Exporter for Exporter<E> {
    fn name(&self) -> &'static str {
        std::any::type_name::<E>()
    }

    fn begin(&mut self, start: ExporterStart<'_>) {
        self.abort = Some(start.abort.clone());
        let _guard = Context::enter_telemetry_suppressed_scope();
        let resource = convert::resource(start.resource);
        if let Ok((exporter, driver)) = self.ready() {
            driver.enter(|| exporter.set_resource(&resource));
        } // else every batch says why
    }

    fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
        let _guard = Context::enter_telemetry_suppressed_scope();
        let (timeout, abort) = (self.timeout, self.abort.clone());
        let (exporter, driver) = self.ready()?;
        let sampled: Vec<_> = sampled(batch).map(convert::span_data).collect();
        if sampled.is_empty() {
            return Ok(());
        }
        // The future is made inside: some spawn before they are polled.
        let export = unless(abort, async { exporter.export(sampled).await });
        match driver.run(export, timeout) {
            Some(Some(result)) => checked(result),
            Some(None) => Err(ExportError::new("the time for the shutdown was up")),
            None => checked(Err(OTelSdkError::Timeout(timeout))),
        }
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        let _guard = Context::enter_telemetry_suppressed_scope();
        let (exporter, driver) = self.ready()?;
        checked(driver.enter(|| exporter.force_flush()))
    }

    fn shutdown(&mut self) -> Result<(), ExportError> {
        let _guard = Context::enter_telemetry_suppressed_scope();
        let (exporter, driver) = self.ready()?;
        // Not `shutdown_with_timeout`: exporters override this one.
        over(driver.enter(|| exporter.shutdown()))
    }
}

/// Runs a future until it is done, or the abort is raised: then `None`.
async fn unless<F: Future>(abort: Option<Abort>, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut raised = pin!(async {
        match &abort {
            Some(abort) => abort.raised().await,
            None => std::future::pending().await,
        }
    });
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        raised.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// The spans that may be exported; the SDK's own batch processor does not look.
pub(super) fn sampled<'a>(batch: &[&'a SpanData]) -> impl Iterator<Item = &'a SpanData> {
    batch
        .iter()
        .copied()
        .filter(|span| span.flags.contains(Flags::SAMPLED))
}

pub(super) fn checked(result: OTelSdkResult) -> Result<(), ExportError> {
    result.map_err(ExportError::new)
}

/// Somebody else may have shut it down: that is no failure of ours.
pub(super) fn over(result: OTelSdkResult) -> Result<(), ExportError> {
    match result {
        Err(OTelSdkError::AlreadyShutdown) => Ok(()),
        other => checked(other),
    }
}

impl<E: fmt::Debug> fmt::Debug for Exporter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter")
            .field("exporter", &self.inner)
            .field("driver", &self.driver)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
