use super::recorder::Recorder;
use super::shard::{Kept, Key};
use super::variant_cache::VariantCache;
use crate::body::CompressBody;
use crate::choice::Choice;
use crate::headers::{declared, describe_encoded, vary_on_accept_encoding};
use crate::observer::SkipReason;
use crate::one_shot::Outcome;
use crate::rules::Plan;
use crate::shared::Shared;
use http::HeaderMap;
use http::response::Parts;
use http_body::{Body, SizeHint};

/// The place of a body in the cache, whether it is there yet or not.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) cache: VariantCache,
    pub(super) key: Key,
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
        hint: &SizeHint,
        choice: Choice,
        shared: &Shared,
    ) -> Option<Self> {
        let (cache, resource) = (shared.cache.as_ref()?, plan.resource()?);
        let length = hint.exact().or_else(|| declared(&head.headers))?;
        let level = shared.chosen(choice).level;
        let mut key = resource.key(head, length, choice.coding, level)?;
        // Encoders of another layer may be set up in another way.
        key.extend_from_slice(&shared.pool.id.to_be_bytes());
        Some(Self {
            key: cache.key(&key),
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
        let lower = [&*self.key.bytes, &[step]].concat();
        self.key = self.cache.key(&lower);
        self.cache.get(&self.key, true)
    }

    /// Keeps what became of a body that was there as a whole.
    pub(super) fn put(&self, outcome: &Outcome, constant: bool) {
        let kept = match outcome {
            Outcome::Smaller(data) => Kept::Encoded {
                data: data.clone(),
                constant,
            },
            Outcome::NotSmaller => Kept::NotSmaller,
            Outcome::Failed => return,
        };
        self.cache.insert(self.key.clone(), kept);
    }

    pub(crate) const fn recorder(self) -> Recorder {
        Recorder::new(self)
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
