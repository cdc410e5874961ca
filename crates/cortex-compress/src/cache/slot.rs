use super::recorder::Recorder;
use super::shard::{Kept, Key};
use super::variant_cache::VariantCache;
use crate::body::CompressBody;
use crate::choice::Choice;
use crate::headers::{describe_encoded, vary_on_accept_encoding};
use crate::observer::SkipReason;
use crate::one_shot::Outcome;
use crate::rules::Plan;
use crate::shared::Shared;
use http::HeaderMap;
use http::response::Parts;
use http_body::Body;

/// The place of a body in the cache, whether it is there yet or not.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) cache: VariantCache,
    pub(super) key: Key,
    /// How often the cache had been cleared when the request came: what is made for it is of no use once it is again.
    pub(super) epoch: u64,
    pub(super) choice: Choice,
    /// The length of the identity.
    pub(super) length: u64,
}

impl Slot {
    /// Finds the place of a response that is to be encoded; none if it is not to be kept.
    #[inline]
    pub(crate) fn find(
        plan: &Plan,
        head: &Parts,
        length: Option<u64>,
        choice: Choice,
        shared: &Shared,
    ) -> Option<Self> {
        let (cache, resource) = (shared.cache.as_ref()?, plan.resource()?);
        let length = length?;
        let level = shared.chosen(choice).level;
        let mut key = resource.key(head, length, choice.coding, level)?;
        // Encoders of another layer may be set up in another way.
        key.extend_from_slice(&shared.pool.id.to_be_bytes());
        Some(Self {
            key: cache.key(&key),
            epoch: resource.epoch(),
            cache: cache.clone(),
            choice,
            length,
        })
    }

    /// Returns what is there: at best at the level that was configured, else so many steps down, where it will be put.
    pub(crate) fn get(&mut self, step: u8) -> Option<Kept> {
        if step == 0 {
            return self.cache.get(&self.key, true);
        }
        let kept = self.cache.get(&self.key, false);
        if kept.is_some() {
            return kept;
        }
        self.key = self.lower(step);
        self.cache.get(&self.key, true)
    }

    /// Returns what a `GET` would find so many steps down; it counts as no use of the cache.
    pub(crate) fn peek(&self, step: u8) -> Option<Kept> {
        let kept = self.cache.peek(&self.key);
        if step == 0 || kept.is_some() {
            return kept;
        }
        self.cache.peek(&self.lower(step))
    }

    fn lower(&self, step: u8) -> Key {
        let lower = [&*self.key.bytes, &[step]].concat();
        self.cache.key(&lower)
    }

    /// Keeps what became of a body that was there as a whole.
    pub(super) fn put(&self, outcome: &Outcome, constant: bool) {
        let kept = match outcome {
            Outcome::Smaller(data) => Kept::Encoded {
                data: data.clone(),
                constant,
            },
            Outcome::NotSmaller => Kept::NotSmaller,
            Outcome::Failed | Outcome::Cold => return,
        };
        self.keep(kept);
    }

    pub(super) fn keep(&self, kept: Kept) {
        self.cache.insert(self.key.clone(), kept, self.epoch);
    }

    /// Returns what records a stream; none if another response does.
    pub(crate) fn recorder(self, shared: &Shared) -> Option<Recorder> {
        Recorder::new(self, &shared.clock)
    }
}

/// Makes the response of what the cache has.
pub(crate) fn serve<B: Body>(
    headers: &mut HeaderMap,
    body: B,
    kept: Kept,
    slot: &Slot,
    shared: &Shared,
) -> CompressBody<B> {
    match kept {
        Kept::Encoded { data, constant } => {
            drop(body);
            let bytes_out = data.len() as u64;
            describe_encoded(headers, shared.variant(slot.choice), Some(bytes_out), constant);
            shared.cached(slot.choice.coding, slot.length, bytes_out);
            CompressBody::own(data)
        }
        Kept::NotSmaller => {
            vary_on_accept_encoding(headers);
            shared.skipped(SkipReason::NotSmaller);
            CompressBody::identity(body)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::VariantCache;
    use crate::coding::Coding;
    use crate::compressor::{Compressing, Compressor};
    use crate::etag::EtagPolicy;
    use bytes::Bytes;
    use cortex_testkit::ManualClock;
    use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue};
    use http::{Method, Response, Uri};
    use http_body_util::Full;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    /// Few enough for a strong tag, whatever the coding.
    const LENGTH: usize = 8000;

    type Begun = (Parts, Compressing<Full<Bytes>>);

    fn begin(compressor: &Compressor, coding: Coding) -> Begun {
        let accepts = HeaderValue::from_static(coding.as_str());
        let mut request = HeaderMap::from_iter([(ACCEPT_ENCODING, accepts)]);
        let mut plan = compressor.plan(&Method::GET, &mut request);
        compressor.identify(&mut plan, &Uri::from_static("/"), &request);
        let mut response = Response::new(Full::new(Bytes::from("{\"id\":17},".repeat(LENGTH / 10))));
        for (name, value) in [(CONTENT_TYPE, "text/plain"), (ETAG, "\"x\"")] {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let (mut head, body) = response.into_parts();
        let mut cx = Context::from_waker(Waker::noop());
        let begun = compressor.respond(&plan, &mut head, body, &mut cx);
        (head, begun)
    }

    fn tag((mut head, begun): Begun) -> HeaderValue {
        if let Compressing::Encoding(mut encoding) = begun {
            let mut cx = Context::from_waker(Waker::noop());
            while encoding.poll(&mut head, &mut cx).is_pending() {}
        }
        head.headers[ETAG].clone()
    }

    /// 8.8.3 of RFC 9110: bodies are encoded in slices on a busy machine, which gives other bytes than those that the
    /// strong tag of a clone of the layer stands for.
    #[test]
    fn what_was_encoded_in_slices_has_a_weak_tag_whoever_asks_for_it() {
        for &coding in Coding::ALL {
            let mut shared = Shared::new();
            shared.set_clock(Arc::new(ManualClock::new()));
            shared.cache = Some(VariantCache::weighted(1 << 20));
            for _ in 0..100 {
                let cost = &shared.offer_at(shared.find(coding)).cost;
                cost.whole.learn(LENGTH, u64::MAX);
                cost.slices.learn(LENGTH, u64::MAX);
            }
            let mut strong = shared.clone();
            strong.set_etag(EtagPolicy::Suffix);
            let cache = shared.cache.clone().unwrap();
            let [weak, strong] = [shared, strong].map(|shared| Compressor::new(Arc::new(shared)));

            let first = begin(&weak, coding);
            assert!(matches!(first.1, Compressing::Encoding(_)), "{coding}: in slices");
            let joined = begin(&strong, coding);
            assert_eq!(tag(first), "W/\"x\"", "{coding}");
            assert_eq!(tag(joined), "W/\"x\"", "{coding}: joined in");
            assert_eq!(tag(begin(&strong, coding)), "W/\"x\"", "{coding}: from the cache");
            assert_eq!(cache.stats().hits, 1, "{coding}");

            // Encoded for the strong tag, it has that.
            cache.clear();
            for _ in 0..2 {
                let tag = tag(begin(&strong, coding));
                assert!(
                    tag.to_str().unwrap().starts_with("\"x~cortex-"),
                    "{coding}: {tag:?}"
                );
            }
            assert_eq!(cache.stats().hits, 2, "{coding}");
        }
    }
}
