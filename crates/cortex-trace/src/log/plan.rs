use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tracing::Metadata;
use tracing::field::Field;

use super::format::Format;
use crate::log_crate::is_log_crate;
use crate::redact::Redact;

/// What all lines of one callsite have in common, worked out once.
#[derive(Debug)]
pub(super) struct Plan {
    /// Level and target, between the time and the fields.
    pub(super) head: Box<str>,
    /// One for every field.
    keys: Box<[Key]>,
    /// This callsite of `tracing-log` stands for all records of the `log` crate, which say themselves where they are from.
    pub(super) is_log_crate: bool,
    /// The message is a secret.
    pub(super) hides_message: bool,
}

#[derive(Debug)]
pub(super) struct Key {
    /// The name with everything around it up to the value.
    pub(super) text: Box<str>,
    /// The first field of that name.
    pub(super) slot: u32,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Message,
    /// The line has that key already.
    Moved,
    Secret {
        moved: bool,
    },
    Skipped,
}

impl Plan {
    pub(super) fn new<F: Format>(format: &F, redact: &Redact, metadata: &Metadata<'_>) -> Self {
        let mut head = String::new();
        format.head(&mut head, *metadata.level(), metadata.target());
        let is_log_crate = is_log_crate(metadata);
        // Those of `r#type` and its like come without the `r#`, since 0.1.43 of `tracing`.
        let names: Vec<_> = metadata.fields().iter().map(|field| field.name()).collect();
        let taken = if metadata.is_span() {
            F::TAKEN_IN_SPAN
        } else {
            F::TAKEN_IN_EVENT
        };
        let key = |(at, name): (usize, &&str)| {
            let first = names.iter().position(|known| known == name).unwrap_or(at);
            // A span keeps the last of several equal names, the line of an event the first, and the last under `fields`.
            let moved = taken.contains(name) || (metadata.is_event() && first < at && F::KEYS_ARE_UNIQUE);
            let kind = match *name {
                _ if is_log_crate && name.starts_with("log.") => Kind::Skipped,
                _ if redact.covers(name) => Kind::Secret { moved },
                _ if moved => Kind::Moved,
                "message" if metadata.is_event() => Kind::Message,
                _ => Kind::Plain,
            };
            let mut text = String::new();
            format.key(&mut text, name, kind);
            Key {
                text: text.into(),
                slot: u32::try_from(first).unwrap_or(u32::MAX),
                kind,
            }
        };
        Self {
            head: head.into(),
            keys: names.iter().enumerate().map(key).collect(),
            is_log_crate,
            hides_message: redact.covers("message"),
        }
    }

    pub(super) fn key(&self, field: &Field) -> Option<&Key> {
        self.keys.get(field.index())
    }
}

/// The plans of one layer.
#[derive(Debug)]
pub(super) struct Plans {
    /// Tells the layers of a process apart, for what they keep in threads and spans.
    pub(super) layer: u64,
    /// By the address of the metadata, which lives as long as the process.
    plans: RwLock<HashMap<usize, Arc<Plan>>>,
}

impl Plans {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            layer: NEXT.fetch_add(1, Ordering::Relaxed),
            plans: RwLock::default(),
        }
    }

    fn get(&self, address: usize, plan: impl FnOnce() -> Plan) -> Arc<Plan> {
        let known = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = known.get(&address) {
            return Arc::clone(plan);
        }
        drop(known);
        let plan = Arc::new(plan());
        let mut known = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(address).or_insert(plan))
    }
}

/// The plans that a thread has used lately.
#[derive(Debug, Default)]
pub(super) struct Recent {
    places: Vec<Place>,
}

#[derive(Clone, Debug, Default)]
struct Place {
    layer: u64,
    address: usize,
    plan: Option<Arc<Plan>>,
}

/// As many fit; each has one place where it may be.
const PLACES_LOG2: u32 = 6;

impl Recent {
    /// Returns the plan of a callsite, which `plan` makes if it is new.
    #[inline]
    pub(super) fn get(
        &mut self,
        plans: &Plans,
        metadata: &'static Metadata<'static>,
        plan: impl FnOnce() -> Plan,
    ) -> &Plan {
        let address = address(metadata);
        if self.places.is_empty() {
            self.places = vec![Place::default(); 1 << PLACES_LOG2];
        }
        let mixed = (address as u64 ^ plans.layer).wrapping_mul(0x9e37_79b9_7f4a_7c15); // golden ratio
        let at = usize::try_from(mixed >> (u64::BITS - PLACES_LOG2)).unwrap_or(0);
        let place = &mut self.places[at];
        if place.address != address || place.layer != plans.layer {
            *place = Place {
                layer: plans.layer,
                address,
                plan: None,
            };
        }
        place.plan.get_or_insert_with(|| plans.get(address, plan))
    }
}

/// Returns what tells callsites apart.
pub(super) fn address(metadata: &'static Metadata<'static>) -> usize {
    ptr::from_ref(metadata).addr()
}
