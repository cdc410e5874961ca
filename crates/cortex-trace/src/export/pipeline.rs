use std::io;
use std::sync::Arc;

use super::completion::Completion;
use super::queue::{Limits, Queue};
use super::{Exporter, Stats, worker};
use crate::{Resource, SpanData};

/// All destinations of a tracer. Dropping it tells the workers to finish, and does not wait for them.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    queues: Vec<Arc<Queue>>,
}

impl Pipeline {
    /// Starts a worker per exporter.
    pub(crate) fn start(
        exporters: Vec<Box<dyn Exporter>>,
        resource: &Resource,
        limits: Limits,
    ) -> io::Result<Self> {
        let mut pipeline = Self::default(); // dropped on an error, which ends the workers that have started
        for exporter in exporters {
            let queue = Arc::new(Queue::new(exporter.name(), limits));
            std::thread::Builder::new()
                .name("cortex-trace-export".into())
                .spawn({
                    let (queue, resource) = (Arc::clone(&queue), resource.clone());
                    move || worker::run(&queue, exporter, &resource)
                })?;
            pipeline.queues.push(queue);
        }
        Ok(pipeline)
    }

    /// Hands a finished span to every destination.
    pub(crate) fn submit(&self, span: SpanData) {
        let Some((last, others)) = self.queues.split_last() else {
            return;
        };
        for queue in others {
            queue.push(span.clone());
        }
        last.push(span);
    }

    pub(crate) fn stats(&self) -> impl Iterator<Item = (&'static str, Stats)> {
        self.queues.iter().map(|queue| (queue.name, queue.stats()))
    }

    /// Asks every worker to flush.
    pub(crate) fn flush(&self) -> Arc<Completion> {
        self.ask(Queue::flush)
    }

    /// Asks every worker to end.
    pub(crate) fn shutdown(&self) -> Arc<Completion> {
        self.ask(Queue::shutdown)
    }

    fn ask(&self, what: impl Fn(&Queue, Arc<Completion>)) -> Arc<Completion> {
        let completion = Completion::new(self.queues.iter().map(|queue| queue.name).collect());
        for queue in &self.queues {
            what(queue, Arc::clone(&completion));
        }
        completion
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.close();
        }
    }
}
