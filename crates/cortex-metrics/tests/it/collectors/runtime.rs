#![expect(clippy::float_cmp, reason = "whole numbers, which doubles hold exactly")]

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};

use cortex_metrics::{Format, Registry, RuntimeCollector};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::{encode, parser};

/// The values of one runtime, by name and, if there is one, worker.
fn scrape(registry: &Registry, runtime: &str) -> BTreeMap<String, f64> {
    let families = parser::parse(Format::Text004, &encode(registry, Format::Text004));
    let mut values = BTreeMap::new();
    for sample in families.into_iter().flat_map(|family| family.samples) {
        if sample.labels["runtime"] == runtime {
            let worker = sample
                .labels
                .get("worker")
                .map_or_else(String::new, |worker| format!("/{worker}"));
            values.insert(format!("{}{worker}", sample.name), sample.value);
        }
    }
    values
}

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .build()
        .unwrap()
}

#[test]
fn tasks_and_queues_show() {
    let registry = Registry::default();
    let runtime = runtime(1);
    registry.register_collector(RuntimeCollector::new("main", runtime.handle()));
    let idle = scrape(&registry, "main");
    assert_eq!((idle["tokio_workers"], idle["tokio_alive_tasks"]), (1.0, 0.0));

    // The only worker is kept busy, so that what is spawned from outside waits in the global queue.
    let (running, done) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let mut tasks = vec![runtime.spawn({
        let (running, done) = (Arc::clone(&running), Arc::clone(&done));
        async move {
            running.wait();
            done.wait();
        }
    })];
    running.wait();
    tasks.extend((0..5).map(|_| runtime.spawn(async {})));
    let busy = scrape(&registry, "main");
    assert_eq!(
        (busy["tokio_alive_tasks"], busy["tokio_global_queue_depth"]),
        (6.0, 5.0)
    );
    done.wait();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    let after = scrape(&registry, "main");
    assert_eq!(after["tokio_global_queue_depth"], 0.0);
}

#[test]
fn busy_time_and_parks_grow() {
    let registry = Registry::default();
    let runtime = runtime(2);
    registry.register_collector(RuntimeCollector::new("main", runtime.handle()));
    let sum = |values: &BTreeMap<String, f64>, name: &str| -> f64 {
        [0, 1]
            .map(|worker| values[&format!("{name}/{worker}")])
            .iter()
            .sum()
    };
    let mut last = scrape(&registry, "main");
    let first = last.clone();
    for round in 0.. {
        assert!(round < 10_000, "{first:?}, {last:?}");
        let (send, receive) = oneshot::channel();
        let task = runtime.spawn(async move {
            receive.await.unwrap();
            for value in 0..100_000_u64 {
                std::hint::black_box(value);
            }
        });
        send.send(()).unwrap();
        runtime.block_on(task).unwrap();
        let now = scrape(&registry, "main");
        let names = ["tokio_worker_busy_seconds_total", "tokio_worker_parks_total"];
        for name in names {
            assert!(sum(&now, name) >= sum(&last, name), "{name} fell");
        }
        last = now;
        if names.iter().all(|name| sum(&last, name) > sum(&first, name)) {
            break;
        }
    }
}

#[test]
fn several_runtimes_are_one_family() {
    let registry = Registry::default();
    let runtimes = [runtime(1), runtime(3)];
    for (name, runtime) in ["a", "hostile\"\n\\"].into_iter().zip(&runtimes) {
        registry.register_collector(RuntimeCollector::new(name, runtime.handle()));
    }
    let current = Builder::new_current_thread().build().unwrap();
    registry.register_collector(RuntimeCollector::new(String::from("current"), current.handle()));
    for (name, workers) in [("a", 1.0), ("hostile\"\n\\", 3.0), ("current", 1.0)] {
        let values = scrape(&registry, name);
        assert_eq!(values["tokio_workers"], workers);
        let counted = values
            .keys()
            .filter(|name| name.starts_with("tokio_worker_parks_total/"));
        #[expect(clippy::cast_precision_loss, reason = "a few")]
        let counted = counted.count() as f64;
        assert_eq!(counted, workers);
    }
    assert_eq!(registry.dropped().get(), 0);
}

#[test]
fn the_same_name_twice_leaves_the_first() {
    let registry = Registry::default();
    let runtimes = [runtime(1), runtime(2)];
    for runtime in &runtimes {
        registry.register_collector(RuntimeCollector::new("main", runtime.handle()));
    }
    assert_eq!(scrape(&registry, "main")["tokio_workers"], 1.0);
    assert!(registry.dropped().get() > 0);
}

struct SetOnDrop(Option<oneshot::Sender<()>>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        let _ = self.0.take().map(|send| send.send(()));
    }
}

#[test]
fn it_outlives_the_runtime_and_does_not_keep_it() {
    for runtime in [runtime(2), Builder::new_current_thread().build().unwrap()] {
        let registry = Registry::default();
        registry.register_collector(RuntimeCollector::new("main", runtime.handle()));
        let (send, mut dropped) = oneshot::channel();
        let held = SetOnDrop(Some(send));
        runtime.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let before = scrape(&registry, "main");
        assert_eq!(before["tokio_alive_tasks"], 1.0);
        drop(runtime);
        dropped.try_recv().expect("its tasks are dropped with it");
        let after = scrape(&registry, "main");
        assert_eq!(
            after.keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>()
        );
        assert_eq!(after["tokio_workers"], before["tokio_workers"]);
        assert_eq!(after["tokio_alive_tasks"], 0.0);
    }
}

#[cfg(tokio_unstable)]
#[test]
fn the_unstable_ones_show() {
    let registry = Registry::default();
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .build()
        .unwrap();
    registry.register_collector(RuntimeCollector::new("main", runtime.handle()));
    let (running, done) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let mut tasks = vec![runtime.spawn_blocking({
        let (running, done) = (Arc::clone(&running), Arc::clone(&done));
        move || {
            running.wait();
            done.wait();
        }
    })];
    running.wait();
    tasks.push(runtime.spawn_blocking(|| {}));
    let values = scrape(&registry, "main");
    assert_eq!(values["tokio_blocking_threads"], 1.0);
    assert_eq!(values["tokio_idle_blocking_threads"], 0.0);
    assert_eq!(values["tokio_blocking_queue_depth"], 1.0);
    done.wait();
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
    for _ in 0..10 {
        let task = runtime.spawn(tokio::task::yield_now());
        runtime.block_on(task).unwrap();
    }
    drop(runtime); // the worker publishes what it counted when it parks or ends
    let values = scrape(&registry, "main");
    assert!(values["tokio_spawned_tasks_total"] >= 10.0);
    assert!(values["tokio_worker_polls_total/0"] >= 20.0);
    assert_eq!(values["tokio_worker_steals_total/0"], 0.0); // from nobody
}
