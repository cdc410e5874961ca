//! The bulkhead as its users see it, in time that stands still until somebody waits.

use crate::support::{Log, millis};
use crate::tokio_clock::TokioClock;
use cortex_core::{Clock, Context, Deadline, FutureExt};
use cortex_resilience::bulkhead::{Acquire, Builder, Bulkhead, Error, Permit, Priority};
use cortex_resilience::{Event, Reason, Rejected};
use std::cell::Cell;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use tokio::time::sleep;

type Tested = Bulkhead<Log, TokioClock>;
type Place = Pin<Box<Acquire<'static, Log, TokioClock>>>;

fn tested(set: impl FnOnce(Builder<Log, TokioClock>) -> Builder<Log, TokioClock>) -> (Tested, Log) {
    let log = Log::new();
    let builder = Bulkhead::builder("test").observe(log.clone()).clock(TokioClock);
    (set(builder).build().expect("the settings make sense"), log)
}

fn queue(limit: u32, queue: u32) -> Tested {
    tested(|builder| builder.max_concurrent(limit).queue(queue)).0
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut std::task::Context::from_waker(Waker::noop()))
}

/// Lets somebody wait.
fn place(bulkhead: &Tested, priority: Priority) -> Place {
    let mut place = Box::pin(bulkhead.acquire_owned().priority(priority));
    assert!(poll(place.as_mut()).is_pending());
    place
}

type Held = Permit<'static, Log, TokioClock>;

/// Says whose turn it is, takes the permit, and passes it on.
fn turns(places: &mut Vec<(u32, Place)>, mut running: Held) -> Vec<u32> {
    let mut turns = Vec::new();
    while !places.is_empty() {
        drop(running);
        let mut next = Vec::new();
        places.retain_mut(|(name, place)| match poll(place.as_mut()) {
            Poll::Ready(permit) => {
                next.push((*name, permit.expect("it waits for a permit")));
                false
            }
            Poll::Pending => true,
        });
        assert_eq!(next.len(), 1, "one permit is for one");
        let (name, permit) = next.remove(0);
        turns.push(name);
        running = permit;
    }
    turns
}

const fn refused(reason: Reason) -> Rejected {
    Rejected::new(reason, None)
}

#[test]
fn so_many_run_and_the_rest_is_refused() {
    let (bulkhead, log) = tested(|builder| builder.max_concurrent(2));
    let first = bulkhead.try_acquire().unwrap();
    let second = bulkhead.try_acquire_owned().unwrap();
    assert_eq!(bulkhead.try_acquire().unwrap_err(), refused(Reason::Full));
    let mut call = pin!(bulkhead.call(ready(Ok::<_, ()>(1))));
    assert_eq!(
        poll(call.as_mut()),
        Poll::Ready(Err(Error::Rejected(refused(Reason::Full))))
    );
    assert_eq!(log.all(), [Event::Rejected(refused(Reason::Full)); 2]);
    drop(first);
    assert!(bulkhead.try_acquire().is_ok());
    drop(second);
    let snapshot = bulkhead.snapshot();
    assert_eq!(
        (snapshot.in_use, snapshot.max_concurrent, snapshot.rejected),
        (0, 2, 2)
    );
    assert_eq!(bulkhead.name(), "test");
}

#[test]
fn those_who_wait_come_in_order_and_nobody_overtakes_them() {
    let bulkhead = queue(1, 3);
    let running = bulkhead.try_acquire_owned().unwrap();
    let mut places: Vec<_> = (0..3)
        .map(|name| (name, place(&bulkhead, Priority::Normal)))
        .collect();
    let mut more = pin!(bulkhead.acquire());
    assert_eq!(
        poll(more.as_mut()).map(|permit| permit.map(drop)),
        Poll::Ready(Err(refused(Reason::Full)))
    );
    drop(running);
    // The permit is promised: it is not there for others, although nobody has polled yet.
    assert!(bulkhead.try_acquire().is_err());
    let mut late = pin!(bulkhead.acquire());
    assert!(poll(late.as_mut()).is_pending());
    let Poll::Ready(Ok(running)) = poll(places.remove(0).1.as_mut()) else {
        panic!("it is its turn")
    };
    assert_eq!(turns(&mut places, running), [1, 2]);
    assert!(poll(late.as_mut()).is_ready());
    assert_eq!((bulkhead.snapshot().in_use, bulkhead.snapshot().waiting), (0, 0));
}

#[test]
fn higher_priorities_come_first_and_take_places_of_lower_ones() {
    let bulkhead = queue(1, 4);
    let running = bulkhead.try_acquire_owned().unwrap();
    let all = [Priority::Low, Priority::Normal, Priority::Low, Priority::High];
    let mut places: Vec<_> = (0..4)
        .zip(all.map(|priority| place(&bulkhead, priority)))
        .collect();
    let mut equal = pin!(bulkhead.acquire_owned().priority(Priority::Low));
    assert!(matches!(poll(equal.as_mut()), Poll::Ready(Err(_)))); // nobody is lower
    places.push((4, place(&bulkhead, Priority::Critical)));
    let refusal = poll(places[2].1.as_mut()).map(|permit| permit.map(drop)); // the newest of the lowest
    assert_eq!(refusal, Poll::Ready(Err(refused(Reason::Full))));
    drop(places.remove(2));
    assert_eq!(bulkhead.snapshot().waiting, 4);
    assert_eq!(turns(&mut places, running), [4, 3, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_more_than_half_full_or_old_turns_round() {
    let (bulkhead, _) = tested(|builder| builder.max_concurrent(1).queue(6).adaptive_lifo(millis(100)));
    let running = || bulkhead.try_acquire_owned().unwrap();
    let fill = |count| -> Vec<_> {
        (0..count)
            .map(|name| (name, place(&bulkhead, Priority::Normal)))
            .collect()
    };
    let permit = running();
    let mut places = fill(3);
    assert_eq!(turns(&mut places, permit), [0, 1, 2]); // half full, and no more
    let permit = running();
    let mut places = fill(5);
    assert_eq!(turns(&mut places, permit), [4, 3, 0, 1, 2]); // until it is half full again
    let permit = running();
    let mut places = fill(2);
    sleep(millis(99)).await;
    places.extend([(2, place(&bulkhead, Priority::Normal))]);
    sleep(millis(1)).await;
    assert_eq!(turns(&mut places, permit), [2, 1, 0]); // its oldest is old
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_after_its_time_or_with_the_deadline() {
    let (bulkhead, log) = tested(|builder| builder.max_concurrent(1).queue(3).max_wait(millis(100)));
    let running = bulkhead.try_acquire_owned().unwrap();
    let start = TokioClock.now();
    let within = |time| Context::new().with_deadline(Deadline::after(TokioClock.now(), millis(time)));
    let refusal = async |time, reason| {
        let acquire = bulkhead.acquire().with_context(within(time));
        assert_eq!(acquire.await.unwrap_err(), refused(reason));
    };
    refusal(1000, Reason::QueueTimeout).await;
    assert_eq!(TokioClock.now() - start, millis(100));
    refusal(99, Reason::Deadline).await;
    assert_eq!(TokioClock.now() - start, millis(199));
    log.all();
    refusal(0, Reason::Deadline).await; // it does not even begin to wait
    assert_eq!(log.all(), [Event::Rejected(refused(Reason::Deadline))]);
    assert_eq!(bulkhead.snapshot().waiting, 0);
    let mut place = place(&bulkhead, Priority::Normal);
    sleep(millis(99)).await;
    drop(running);
    sleep(millis(99)).await;
    assert!(matches!(poll(place.as_mut()), Poll::Ready(Ok(_)))); // granted in time, looked at late
    assert_eq!(log.all(), [Event::Queued]);
}

struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_goes_away_loses_neither_a_permit_nor_a_wake_up() {
    let bulkhead = queue(1, 9);
    for granted in [false, true] {
        let mut running = Some(bulkhead.try_acquire_owned().unwrap());
        let goes = place(&bulkhead, Priority::Normal);
        let bell = Arc::new(Bell(AtomicUsize::new(0)));
        let waker = Waker::from(bell.clone());
        let mut stays = Box::pin(bulkhead.acquire());
        assert!(
            stays
                .as_mut()
                .poll(&mut std::task::Context::from_waker(&waker))
                .is_pending()
        );
        if granted {
            running = None;
        }
        assert_eq!(bell.0.load(Ordering::Relaxed), 0);
        drop(goes);
        drop(running);
        assert_eq!(bell.0.load(Ordering::Relaxed), 1, "{granted}");
        assert!(poll(stays.as_mut()).is_ready());
        drop(stays);
        let snapshot = bulkhead.snapshot();
        assert_eq!((snapshot.in_use, snapshot.waiting), (0, 0));
    }
    drop(bulkhead.acquire()); // never polled
}

/// A task that is dropped with its waker, and with a permit in it, comes back to the bulkhead.
#[test]
fn a_waker_may_hold_a_permit() {
    struct Task(std::sync::Mutex<Option<Held>>);
    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let bulkhead = queue(2, 9);
    let task = || {
        Waker::from(Arc::new(Task(std::sync::Mutex::new(
            bulkhead.try_acquire_owned().ok(),
        ))))
    };
    let (first, second) = (task(), task());
    let mut waits = Box::pin(bulkhead.acquire_owned());
    assert!(
        waits
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&first))
            .is_pending()
    );
    drop(first);
    assert!(poll(waits.as_mut()).is_pending()); // replaces the waker, whose permit comes back and is ours
    assert!(poll(waits.as_mut()).is_ready());
    drop(second);
    assert_eq!(bulkhead.snapshot().in_use, 0);
}

#[test]
fn a_resize_lets_more_begin_and_fewer_end() {
    let bulkhead = queue(2, 9);
    let running = [(); 2].map(|()| bulkhead.try_acquire_owned().unwrap());
    let mut places = [(); 3].map(|()| place(&bulkhead, Priority::Normal));
    bulkhead.resize(4).unwrap();
    let mut permits: Vec<_> = places.iter_mut().map(|place| poll(place.as_mut())).collect();
    assert!(permits[0].is_ready() && permits[1].is_ready() && permits[2].is_pending());
    bulkhead.resize(1).unwrap();
    assert_eq!(bulkhead.snapshot().in_use, 4);
    drop(running);
    drop(permits.remove(0));
    assert_eq!(bulkhead.snapshot().in_use, 1);
    assert!(poll(places[2].as_mut()).is_pending());
    permits.clear();
    assert!(poll(places[2].as_mut()).is_ready());
    assert_eq!(bulkhead.snapshot().in_use, 0);
    assert_eq!(bulkhead.resize(0).unwrap_err().field(), "max_concurrent");
    assert_eq!(bulkhead.resize(1 << 31).unwrap_err().field(), "max_concurrent");
    let without_queue = || Bulkhead::builder("test").max_concurrent(1);
    let error = without_queue().max_wait(millis(5)).build().unwrap_err();
    assert_eq!(
        error.to_string(),
        "accept `max_wait` = 5ms: it is of use only where `queue` lets calls wait"
    );
    let error = without_queue().adaptive_lifo(millis(5)).queue(0).build();
    assert_eq!(error.unwrap_err().field(), "adaptive_lifo");
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_for_those_who_come_later() {
    let bulkhead = queue(1, 2);
    let running = bulkhead.try_acquire_owned().unwrap();
    let mut places = vec![
        (0, place(&bulkhead, Priority::Normal)),
        (1, place(&bulkhead, Priority::Normal)),
    ];
    let settings = Bulkhead::builder("other")
        .max_concurrent(1)
        .queue(1)
        .max_wait(millis(10));
    bulkhead.reload(&settings).unwrap();
    assert_eq!(
        bulkhead.acquire().priority(Priority::High).await.unwrap_err(),
        refused(Reason::Full)
    );
    assert_eq!(turns(&mut places, running), [0, 1]);
    let running = bulkhead.try_acquire_owned().unwrap();
    assert_eq!(
        bulkhead.acquire().await.unwrap_err(),
        refused(Reason::QueueTimeout)
    );
    drop(running);
    assert_eq!(
        bulkhead.reload(&Bulkhead::builder("other")).unwrap_err().value(),
        "unset"
    );
    assert_eq!(bulkhead.snapshot().queue, 1);
}

#[test]
fn a_call_that_panics_or_is_dropped_passes_its_permit_on() {
    let bulkhead = queue(1, 1);
    let mut call = Box::pin(bulkhead.call(async {
        assert_ne!(bulkhead.snapshot().in_use, 1, "as it should");
        Ok::<_, ()>(())
    }));
    catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()).is_ready())).unwrap_err();
    drop(call);
    assert_eq!(bulkhead.snapshot().in_use, 0);
    let mut call = Box::pin(bulkhead.call(pending::<Result<(), ()>>()));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(bulkhead.snapshot().in_use, 1);
    drop(call);
    assert_eq!(bulkhead.snapshot().in_use, 0);
}

#[test]
fn a_permit_is_free_as_soon_as_the_call_has_ended_and_after_what_it_held() {
    struct Held<'a>(&'a Tested);
    impl Drop for Held<'_> {
        fn drop(&mut self) {
            assert_eq!(self.0.snapshot().in_use, 1);
        }
    }
    let bulkhead = queue(1, 1);
    let mut call = Box::pin(bulkhead.call(ready(Err::<(), _>("bad"))));
    assert_eq!(poll(call.as_mut()), Poll::Ready(Err(Error::Inner("bad"))));
    assert_eq!(bulkhead.snapshot().in_use, 0);
    let held = Held(&bulkhead);
    let mut call = Box::pin(bulkhead.call(async move {
        let _held = held;
        pending::<Result<(), ()>>().await
    }));
    assert!(poll(call.as_mut()).is_pending());
    drop(call);
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn a_wait_that_has_ended_is_not_polled_again() {
    let bulkhead = queue(1, 1);
    let mut acquire = pin!(bulkhead.acquire());
    assert!(poll(acquire.as_mut()).is_ready());
    let _ = poll(acquire.as_mut());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_callers_at_once() {
    let bulkhead = Bulkhead::builder("test")
        .max_concurrent(10)
        .queue(9000)
        .build()
        .unwrap();
    let (running, most, ended) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((running, most, ended));
    let tasks: Vec<_> = (0..10_000_u32)
        .map(|number| {
            let (bulkhead, counts) = (bulkhead.clone(), counts.clone());
            tokio::spawn(async move {
                let work = bulkhead.call(async {
                    let running = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
                    counts.1.fetch_max(running, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    counts.0.fetch_sub(1, Ordering::SeqCst);
                    counts.2.fetch_add(1, Ordering::SeqCst);
                    Ok::<_, ()>(())
                });
                if number % 7 == 0 {
                    // Goes away after a look or two, wherever that finds it; what it counted is taken back.
                    let mut work = Box::pin(bulkhead.acquire());
                    for _ in 0..number % 3 {
                        if poll(work.as_mut()).is_ready() {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                    return true;
                }
                work.await.is_ok()
            })
        })
        .collect();
    let mut refused = 0;
    for task in tasks {
        refused += usize::from(!task.await.unwrap());
    }
    let patient = 10_000 - 10_000_usize.div_ceil(7);
    assert_eq!(counts.2.load(Ordering::SeqCst) + refused, patient);
    assert!(counts.1.load(Ordering::SeqCst) <= 10);
    let snapshot = bulkhead.snapshot();
    assert_eq!((snapshot.in_use, snapshot.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_permits_to_spare_all_have_their_turn() {
    let bulkhead = queue(2, 100);
    let (running, ended) = (Cell::new(0), Cell::new(0));
    let work = || {
        bulkhead.call(async {
            running.set(running.get() + 1);
            assert!(running.get() <= 2);
            sleep(millis(10)).await;
            running.set(running.get() - 1);
            ended.set(ended.get() + 1);
            Ok::<_, ()>(())
        })
    };
    let start = TokioClock.now();
    let mut calls: Vec<_> = (0..40).map(|_| Box::pin(work())).collect();
    std::future::poll_fn(|cx| {
        calls.retain_mut(|call| call.as_mut().poll(cx).is_pending());
        if calls.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    assert_eq!((ended.get(), TokioClock.now() - start), (40, millis(200)));
}

#[cfg(feature = "tower")]
mod layer {
    use super::*;
    use cortex_resilience::bulkhead::BulkheadLayer;
    use tower::{Layer, Service, ServiceExt};

    /// Has permits of its own, which readiness takes; panics if it is called before.
    struct Inner {
        ready_ones: Arc<AtomicUsize>,
        is_ready: bool,
    }

    impl Inner {
        fn new(ready_ones: &Arc<AtomicUsize>) -> Self {
            Self {
                ready_ones: ready_ones.clone(),
                is_ready: false,
            }
        }
    }

    impl Clone for Inner {
        fn clone(&self) -> Self {
            Self::new(&self.ready_ones)
        }
    }

    impl Drop for Inner {
        fn drop(&mut self) {
            self.ready_ones
                .fetch_sub(usize::from(self.is_ready), Ordering::Relaxed);
        }
    }

    impl Service<u64> for Inner {
        type Response = u64;
        type Error = &'static str;
        type Future = Pin<Box<dyn Future<Output = Result<u64, &'static str>>>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), &'static str>> {
            if !std::mem::replace(&mut self.is_ready, true) {
                self.ready_ones.fetch_add(1, Ordering::Relaxed);
            }
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, time: u64) -> Self::Future {
            assert!(
                std::mem::take(&mut self.is_ready),
                "it was called before it was ready"
            );
            self.ready_ones.fetch_sub(1, Ordering::Relaxed);
            Box::pin(async move {
                sleep(millis(time)).await;
                if time == 13 { Err("bad") } else { Ok(time) }
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn clones_that_are_ready_and_idle_hold_no_permit() {
        let bulkhead = queue(1, 9);
        let count = Arc::default();
        let service = BulkheadLayer::new(bulkhead.clone()).layer(Inner::new(&count));
        let mut idle: Vec<_> = (0..5).map(|_| service.clone()).collect();
        for service in &mut idle {
            service.ready().await.unwrap();
        }
        assert_eq!(bulkhead.snapshot().in_use, 0);
        assert_eq!(service.oneshot(5).await, Ok(5));
        assert_eq!(idle[0].call(13).await, Err(Error::Inner("bad")));
        assert_eq!(idle[0].call(1).await, Err(Error::NotReady));
        let mut clone = idle[1].clone();
        assert_eq!(clone.call(1).await, Err(Error::NotReady));
        assert_eq!(bulkhead.snapshot().in_use, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_takes_the_very_instance_that_was_ready() {
        let (bulkhead, log) = tested(|builder| builder.max_concurrent(1).queue(1));
        let count = Arc::default();
        let ready_ones = |count: &Arc<AtomicUsize>| count.load(Ordering::Relaxed);
        let mut service = BulkheadLayer::new(bulkhead.clone()).layer(Inner::new(&count));
        let running = bulkhead.try_acquire_owned().unwrap();
        let mut waits = Box::pin(service.ready().await.unwrap().call(7));
        assert!(poll(waits.as_mut()).is_pending());
        assert_eq!(ready_ones(&count), 1); // that of the call
        assert_eq!(service.call(8).await, Err(Error::NotReady));
        let refused_call = service.ready().await.unwrap().call(8);
        assert_eq!(refused_call.await, Err(Error::Rejected(refused(Reason::Full))));
        assert_eq!(ready_ones(&count), 1);
        drop(running);
        assert!(bulkhead.try_acquire().is_err()); // it is promised
        assert_eq!(waits.await, Ok(7));
        assert_eq!(log.all()[0], Event::Queued);
        let running = bulkhead.try_acquire_owned().unwrap();
        let mut gone = Box::pin(service.ready().await.unwrap().call(9));
        assert!(poll(gone.as_mut()).is_pending());
        drop(gone);
        drop(running);
        assert_eq!((bulkhead.snapshot().in_use, ready_ones(&count)), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn layers_of_one_bulkhead_have_their_priorities() {
        let bulkhead = queue(1, 9);
        let layer = |priority| {
            let layer = BulkheadLayer::new(bulkhead.clone()).priority(priority);
            layer.layer(Inner::new(&Arc::default()))
        };
        let (mut low, mut high) = (layer(Priority::Low), layer(Priority::High));
        let running = bulkhead.try_acquire_owned().unwrap();
        let mut first = Box::pin(low.ready().await.unwrap().call(1));
        let mut second = Box::pin(high.ready().await.unwrap().call(1));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        drop(running);
        assert_eq!(second.await, Ok(1));
        assert_eq!(first.await, Ok(1));
    }
}

#[cfg(feature = "http")]
mod body {
    use super::*;
    use bytes::Bytes;
    use cortex_resilience::bulkhead::PermitBody;
    use http_body_util::{BodyExt, Channel, Full};

    #[tokio::test(start_paused = true)]
    async fn a_permit_is_held_until_the_body_has_ended() {
        let bulkhead = queue(1, 0);
        let (mut sender, body) = Channel::<Bytes, &str>::new(4);
        let mut body = PermitBody::new(body, bulkhead.try_acquire_owned().unwrap());
        sender.send_data(Bytes::from_static(b"a")).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert!(body.permit().is_some() && bulkhead.try_acquire().is_err());
        drop(sender);
        assert!(body.frame().await.is_none());
        assert!(body.permit().is_none() && bulkhead.try_acquire().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_a_last_frame_and_a_drop_end_it_too() {
        let bulkhead = queue(1, 0);
        let permit = || bulkhead.try_acquire_owned().unwrap();
        let (sender, body) = Channel::<Bytes, &str>::new(4);
        let mut body = PermitBody::new(body, permit());
        sender.abort("gone");
        assert!(body.frame().await.unwrap().is_err());
        assert_eq!(bulkhead.snapshot().in_use, 0);
        let mut body = PermitBody::new(Full::new(Bytes::from_static(b"all of it")), permit());
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(bulkhead.snapshot().in_use, 0); // nobody has asked for the end
        let body = PermitBody::new(Full::new(Bytes::new()), permit());
        assert_eq!(bulkhead.snapshot().in_use, 0);
        drop(body);
        let body = PermitBody::new(Full::new(Bytes::from_static(b"never sent")), permit());
        assert_eq!(bulkhead.snapshot().in_use, 1);
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(10));
        drop(body);
        assert_eq!(bulkhead.snapshot().in_use, 0);
    }

    #[cfg(feature = "tower")]
    #[tokio::test(start_paused = true)]
    async fn a_layer_holds_permits_as_long_as_bodies() {
        use cortex_resilience::bulkhead::BulkheadLayer;
        use tower::{Layer, Service, ServiceExt, service_fn};
        let bulkhead = queue(1, 1);
        let answer = |body: &'static str| async move {
            Ok::<_, ()>(http::Response::new(Full::new(Bytes::from_static(
                body.as_bytes(),
            ))))
        };
        let layer = BulkheadLayer::new(bulkhead.clone()).until_body_end();
        let mut service = layer.layer(service_fn(answer));
        let long = service.ready().await.unwrap().call("long").await.unwrap();
        let mut waits = Box::pin(service.ready().await.unwrap().call(""));
        assert!(poll(waits.as_mut()).is_pending());
        assert_eq!(long.into_body().collect().await.unwrap().to_bytes(), "long");
        let empty = waits.await.unwrap();
        assert!(empty.body().permit().is_none());
        assert_eq!(bulkhead.snapshot().in_use, 0);
    }

    /// The body of the one who runs is read after the other has become ready, and so has the one permit of the service inside.
    #[cfg(feature = "tower")]
    #[tokio::test(start_paused = true)]
    async fn a_layer_does_not_wait_for_a_permit_that_it_holds_itself() {
        use cortex_resilience::bulkhead::BulkheadLayer;
        use tower::limit::ConcurrencyLimitLayer;
        use tower::{Layer, Service, ServiceExt, service_fn};
        let bulkhead = queue(1, 1);
        let answer = |body: &'static str| async move {
            Ok::<_, ()>(http::Response::new(Full::new(Bytes::from_static(
                body.as_bytes(),
            ))))
        };
        let inner = ConcurrencyLimitLayer::new(1).layer(service_fn(answer));
        let mut service = BulkheadLayer::new(bulkhead.clone()).until_body_end().layer(inner);
        let long = service.ready().await.unwrap().call("long").await.unwrap();
        let mut waits = Box::pin(service.ready().await.unwrap().call("next"));
        assert!(poll(waits.as_mut()).is_pending());
        assert_eq!(long.into_body().collect().await.unwrap().to_bytes(), "long");
        let next = tokio::time::timeout(millis(1000), waits).await;
        let next = next.expect("it has all that it needs").unwrap();
        assert_eq!(next.into_body().collect().await.unwrap().to_bytes(), "next");
        assert_eq!(bulkhead.snapshot().in_use, 0);
    }
}

/// Threads that meet get permits in advance: nobody is refused while there is one, and never more are out than there are.
#[test]
fn threads_that_meet_get_all_permits_and_no_more() {
    const THREADS: u32 = 4;
    const LIMIT: u32 = 40;
    for share in [LIMIT / THREADS, LIMIT] {
        let bulkhead = Bulkhead::builder("test")
            .max_concurrent(LIMIT)
            .build()
            .expect("the settings make sense");
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            let mut held = Vec::new();
            for round in 0..20_000_usize {
                // Up to the share and down again.
                let goes_up = (round / share as usize).is_multiple_of(2);
                if goes_up {
                    match bulkhead.try_acquire() {
                        Ok(permit) => {
                            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            held.push(permit);
                        }
                        Err(rejected) => assert!(
                            share > LIMIT / THREADS,
                            "{rejected}, and nobody has more than a share"
                        ),
                    }
                } else if let Some(permit) = held.pop() {
                    running.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                }
            }
            running.fetch_sub(held.len(), Ordering::SeqCst);
        };
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(work);
            }
        });
        assert!(most.into_inner() <= LIMIT as usize);
        let all: Vec<_> = (0..LIMIT).map(|_| bulkhead.try_acquire()).collect();
        assert!(all.iter().all(Result::is_ok) && bulkhead.try_acquire().is_err());
        assert_eq!(bulkhead.snapshot().in_use, LIMIT);
        drop(all);
        assert_eq!(bulkhead.snapshot().in_use, 0);
    }
}
