//! One signal on its way from a worker thread to the collector.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::encode::Item;
use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::sender::{Patience, Sender};
use super::settings::Settings;
use super::transport::{Http, Transport};
use crate::export::{Abort, Reporter};
use crate::{ExportError, Resource};

/// The most bytes of a request with more than one item: collectors take 4 MiB over gRPC by default.
const MAX_REQUEST: usize = 4_000_000;

/// A runtime of its own, so that no other one has to run for this to make progress, and a connection that lives in it.
pub(super) struct Channel {
    settings: Settings,
    patience: Patience,
    abort: Abort,
    reporter: Option<Reporter>,
    resource: Resource,
    open: Option<Open>,
}

struct Open {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    sender: Sender<Http>,
}

impl Channel {
    pub(super) fn new(settings: Settings, patience: Patience) -> Self {
        Self {
            settings,
            patience,
            abort: Abort::new(),
            reporter: None,
            resource: Resource::default(),
            open: None,
        }
    }

    /// Learns what there is to know before the first batch.
    pub(super) fn begin(&mut self, resource: &Resource, abort: Abort, reporter: Option<Reporter>) {
        self.resource.clone_from(resource);
        self.abort = abort;
        self.reporter = reporter;
    }

    /// Sends a batch and blocks meanwhile.
    pub(super) fn export<I: Item>(&mut self, batch: &[&I]) -> Result<(), ExportError> {
        if self.open.is_none() {
            let open = self.open(I::METHOD);
            self.open =
                Some(open.map_err(|error| ExportError::new(OtlpError::caused(Kind::Runtime, error)))?);
        }
        let Some(Open {
            runtime: Some(runtime),
            sender,
        }) = &mut self.open
        else {
            return Err(ExportError::new(OtlpError::new(Kind::Runtime)));
        };
        let mut losses = Losses::default();
        runtime.block_on(async {
            let until = sender.deadline();
            let encode = |part: &[&I]| I::encode(self.settings.protocol.encoding(), &self.resource, part);
            send(sender, &encode, batch, until, &mut losses).await;
        });
        losses.result()
    }

    /// Makes the runtime, on the thread that will use it.
    fn open(&self, method: &str) -> io::Result<Open> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(2) // which look up names and read certificates
            .thread_name("cortex-trace-otlp")
            .build()?;
        let transport = Http::new(&self.settings);
        let sender = Sender::new(
            transport,
            &self.settings,
            method,
            self.patience,
            self.abort.clone(),
            self.reporter.clone(),
        );
        Ok(Open {
            runtime: Some(runtime),
            sender,
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background(); // what is being looked up is not waited for
        }
    }
}

/// What became of the parts of a batch that did not get there.
#[derive(Debug, Default)]
struct Losses {
    failed: u64,
    rejected: u64,
    error: Option<OtlpError>,
}

impl Losses {
    fn result(self) -> Result<(), ExportError> {
        match self.error {
            None => Ok(()),
            Some(error) => Err(ExportError::new(error).only(self.failed, self.rejected)),
        }
    }
}

/// Sends a batch, in parts if it is too large.
async fn send<I, T: Transport>(
    sender: &mut Sender<T>,
    encode: &impl Fn(&[&I]) -> Vec<u8>,
    batch: &[&I],
    until: Instant,
    losses: &mut Losses,
) {
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        let message = encode(part);
        if message.len() > MAX_REQUEST && part.len() > 1 {
            let (first, second) = part.split_at(part.len() / 2);
            parts.extend([second, first]);
            continue;
        }
        let items = part.len() as u64;
        match sender.send(message, until).await {
            Ok(None) => {}
            Ok(Some(rejection)) => {
                losses.rejected += rejection.items.min(items);
                losses.error = Some(OtlpError::new(Kind::Rejected {
                    items: rejection.items.min(items),
                    message: rejection.message,
                }));
            }
            Err(error) => {
                losses.failed += items;
                losses.error = Some(error);
            }
        }
    }
}
