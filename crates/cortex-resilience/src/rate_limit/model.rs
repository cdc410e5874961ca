//! `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-resilience --lib --release model`

use super::bucket::Bucket;
use super::quota::Quota;
use loom::thread;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

/// Two tokens, one every 10 ns.
fn quota() -> Quota {
    let two = NonZero::new(2).expect("not zero");
    Quota::new(two, Duration::from_nanos(20))
}

/// However callers race, as many get through as there are tokens.
#[test]
fn model_of_a_bucket_no_more_get_through_than_there_are_tokens() {
    loom::model(|| {
        let bucket = Arc::new(Bucket::full());
        let others = [0, 1].map(|_| {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.claim(quota(), 1, 100, 0).is_ok())
        });
        let mine = bucket.claim(quota(), 1, 100, 0).is_ok();
        let theirs = others.map(|other| other.join().unwrap());
        let admitted = [mine, theirs[0], theirs[1]];
        assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 2);
        assert_eq!(bucket.missing(100), 20);
    });
}

/// Who gives a reservation back while another reserves: either the other comes first, or the token is gone; no two tokens come
/// at the same time.
#[test]
fn model_of_a_bucket_a_token_that_comes_back_is_nobody_elses_time() {
    loom::model(|| {
        let bucket = Arc::new(Bucket::full());
        bucket.claim(quota(), 2, 100, 0).unwrap();
        let claim = bucket.claim(quota(), 1, 100, 50).unwrap();
        assert_eq!(claim.wait, 10);
        let other = {
            let bucket = Arc::clone(&bucket);
            thread::spawn(move || bucket.claim(quota(), 1, 100, 50).unwrap().wait)
        };
        let came_back = bucket.give_back(claim);
        let wait = other.join().unwrap();
        assert_eq!(wait, if came_back { 10 } else { 20 });
        let last = bucket.claim(quota(), 1, 100, 50).unwrap();
        assert_eq!(last.wait, wait + 10);
    });
}
