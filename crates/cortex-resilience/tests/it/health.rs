//! What a probe says of policies.

use crate::support::{Bench, bench, secs};
use cortex_health::{Group, Health, Status};
use cortex_resilience::health;

/// Looks twice, which is what it takes to get worse, and returns the status of the check and of its group.
async fn looks(health: &Health) -> (Status, Status) {
    for _ in 0..2 {
        health.run_now("payments").await.expect("it runs");
    }
    let snapshot = health.snapshot();
    let check = snapshot.check("payments").expect("there is one");
    let group = snapshot.group(&Group::READY);
    (check.status(), group)
}

#[tokio::test]
async fn an_open_circuit_degrades_and_takes_down_what_cannot_do_without() {
    for (critical, group) in [(false, Status::Degraded), (true, Status::Down)] {
        let Bench { breaker, clock, .. } = bench(|builder| builder);
        let mut check = health::check("payments", &breaker);
        if critical {
            check = check.critical();
        }
        let health = Health::builder().check(check).build().unwrap();
        let running = health.start(&tokio::runtime::Handle::current()).unwrap();
        assert_eq!(looks(&health).await, (Status::Up, Status::Up));
        breaker.open_for(secs(30)).unwrap();
        assert_eq!(looks(&health).await, (Status::Down, group));
        clock.advance(secs(30));
        assert_eq!(looks(&health).await, (Status::Degraded, Status::Degraded));
        breaker.close();
        assert_eq!(looks(&health).await, (Status::Up, Status::Up));
        running.stop();
    }
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn of_a_pipeline_the_worst_policy_counts() {
    use cortex_resilience::bulkhead::Bulkhead;
    use cortex_resilience::circuit::Breaker;
    use cortex_resilience::pipeline::Pipeline;
    use cortex_resilience::retry::Retry;
    use cortex_resilience::timeout::Timeout;

    let bulkhead = Bulkhead::builder("calls").max_concurrent(1).build().unwrap();
    let breaker = Breaker::builder("payments").build().unwrap();
    let pipeline = Pipeline::new((
        Timeout::builder("payments").total(secs(3)).build().unwrap(),
        Retry::builder("payments").build().unwrap(),
        breaker.clone(),
        bulkhead.clone(),
    ));
    let check = health::check("payments", &pipeline);
    let health = Health::builder().check(check).build().unwrap();
    let running = health.start(&tokio::runtime::Handle::current()).unwrap();
    assert_eq!(looks(&health).await.0, Status::Up);
    let permit = bulkhead.try_acquire().unwrap();
    assert_eq!(looks(&health).await.0, Status::Degraded);
    breaker.force_open();
    assert_eq!(looks(&health).await.0, Status::Down);
    let snapshot = health.snapshot();
    let message = snapshot.check("payments").unwrap().message().unwrap();
    assert_eq!(
        message,
        "payments: the circuit is forced open until further notice"
    );
    breaker.close();
    drop(permit);
    assert_eq!(looks(&health).await.0, Status::Up);
    running.stop();
}
