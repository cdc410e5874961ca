use std::io;
use std::sync::Arc;

use cortex_core::Flags;

use super::queue::{Limits, Queue};
use super::queued::Queued;
use super::worker::{self, Consumer};
use super::{Abort, Completion, Exporter, Stats, Untracked};
use crate::span::Record;
use crate::{ExportError, Resource};

/// All destinations of a tracer, or of logs. Dropping it tells the workers to finish, and does not wait for them.
#[derive(Debug)]
pub(crate) struct Pipeline<T = Box<Record>> {
    queues: Vec<Arc<Queue<T>>>,
}

impl<T> Default for Pipeline<T> {
    fn default() -> Self {
        Self { queues: Vec::new() }
    }
}

impl Pipeline {
    /// Starts a worker per exporter; whichever has time also tells how many spans nobody got as there was no room for
    /// them.
    pub(crate) fn start(
        exporters: Vec<Box<dyn Exporter>>,
        resource: &Resource,
        limits: Limits,
        untracked: &Arc<Untracked>,
    ) -> io::Result<Self> {
        Self::start_workers(exporters, resource, limits, Some(untracked))
    }

    /// Hands a finished span to every destination, if it is sampled: what is only recorded is nobody's business.
    #[inline]
    pub(crate) fn submit_sampled(&self, span: Box<Record>) {
        if span.data().flags.contains(Flags::SAMPLED) {
            self.submit(span);
        }
    }
}

impl<T: Queued> Pipeline<T> {
    /// Starts a worker per destination.
    #[cfg(all(feature = "logs", feature = "otlp"))]
    pub(crate) fn start_consumers(
        consumers: Vec<impl Consumer<T::Item>>,
        resource: &Resource,
        limits: Limits,
    ) -> io::Result<Self> {
        Self::start_workers(consumers, resource, limits, None)
    }

    fn start_workers(
        consumers: Vec<impl Consumer<T::Item>>,
        resource: &Resource,
        limits: Limits,
        untracked: Option<&Arc<Untracked>>,
    ) -> io::Result<Self> {
        let mut pipeline = Self::default(); // dropped on an error, which ends the workers that have started
        for exporter in consumers {
            let queue = Arc::new(Queue::new(exporter.name(), limits));
            std::thread::Builder::new()
                .name("cortex-trace-export".into())
                .spawn({
                    let (queue, resource) = (Arc::clone(&queue), resource.clone());
                    let untracked = untracked.cloned();
                    move || worker::run(&queue, exporter, &resource, untracked.as_deref())
                })?;
            pipeline.queues.push(queue);
        }
        Ok(pipeline)
    }

    /// Hands a finished span, or whatever this is for, to every destination.
    pub(crate) fn submit(&self, span: T) {
        let Some((last, others)) = self.queues.split_last() else {
            return;
        };
        let bytes = span.weight(); // a clone takes as much, or less
        for queue in others {
            push(queue, span.clone(), bytes);
        }
        push(last, span, bytes);
    }

    /// Wakes every worker that waits, to look at what is untracked.
    #[cfg(feature = "bridge")]
    pub(crate) fn nudge(&self) {
        for queue in &self.queues {
            queue.nudge();
        }
    }

    pub(crate) fn stats(&self) -> impl Iterator<Item = (&'static str, Stats)> {
        self.queues.iter().map(|queue| (queue.name, queue.stats()))
    }

    pub(crate) fn last_errors(&self) -> impl Iterator<Item = (&'static str, ExportError)> {
        self.queues
            .iter()
            .filter_map(|queue| Some((queue.name, queue.last_error()?)))
    }

    /// Asks every worker to flush.
    pub(crate) fn flush(&self) -> Arc<Completion> {
        self.ask(Queue::flush, Vec::new())
    }

    /// Asks every worker to end; one that is late is told to abort.
    pub(crate) fn shutdown(&self) -> Arc<Completion> {
        let aborts = self.queues.iter().map(|queue| queue.abort.clone());
        self.ask(Queue::shutdown, aborts.collect())
    }

    fn ask(&self, what: impl Fn(&Queue<T>, &Arc<Completion>), aborts: Vec<Abort>) -> Arc<Completion> {
        let names = self.queues.iter().map(|queue| queue.name).collect();
        let completion = Completion::new(names, aborts);
        for queue in &self.queues {
            what(queue, &completion);
        }
        completion
    }
}

impl<T> Drop for Pipeline<T> {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.close();
        }
    }
}

#[inline]
fn push<T: Queued>(queue: &Arc<Queue<T>>, span: T, bytes: usize) {
    let is_told = !queue.push(span, bytes);
    #[cfg(any(feature = "bridge", feature = "logs"))]
    if !is_told {
        super::teller::start(queue);
    }
    #[cfg(not(any(feature = "bridge", feature = "logs")))]
    let _ = is_told; // nobody listens
}
