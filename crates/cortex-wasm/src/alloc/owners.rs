use super::frees::Signals;
use super::owner::OwnerRef;
use crate::Error;
use std::sync::Arc;

/// The owners for which an instance holds blocks, or has held some.
#[derive(Default)]
pub(super) struct Owners {
    entries: Vec<Option<Entry>>,
    vacant: Vec<u32>,
}

struct Entry {
    owner: OwnerRef,
    blocks: u32,
}

impl Owners {
    /// Returns the place of an owner, which is noted if it is new here.
    pub(super) fn admit(&mut self, owner: &OwnerRef, signals: &Arc<Signals>) -> Result<u32, Error> {
        if owner.is_closed() {
            return Err(Error::OwnerClosed);
        }
        let hint = owner.hint();
        if self.has(hint, owner) {
            return Ok(hint);
        }
        owner.note(signals, |known| match known {
            Some(place) if self.has(place, owner) => place,
            _ => self.add(owner.clone()),
        })
    }

    /// Counts a block of an owner that was admitted.
    pub(super) fn hold(&mut self, place: u32) {
        if let Some(Some(entry)) = self.entries.get_mut(place as usize) {
            entry.blocks += 1;
        }
    }

    /// Counts a block less; the last one of an owner that is closed lets go of it.
    pub(super) fn release(&mut self, place: u32) {
        if let Some(Some(entry)) = self.entries.get_mut(place as usize) {
            entry.blocks -= 1;
            self.forget_closed(place);
        }
    }

    pub(super) fn is_closed(&self, place: u32) -> bool {
        let entry = self.entries.get(place as usize);
        entry.is_some_and(|entry| entry.as_ref().is_some_and(|entry| entry.owner.is_closed()))
    }

    /// Says whether there are blocks of an owner that is closed.
    pub(super) fn is_garbage(&mut self, place: u32) -> bool {
        self.forget_closed(place);
        self.is_closed(place)
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.vacant.clear();
    }

    #[cfg(test)]
    pub(super) const fn places(&self) -> usize {
        self.entries.len()
    }

    fn has(&self, place: u32, owner: &OwnerRef) -> bool {
        let entry = self.entries.get(place as usize);
        entry.is_some_and(|entry| entry.as_ref().is_some_and(|entry| entry.owner.is(owner)))
    }

    fn add(&mut self, owner: OwnerRef) -> u32 {
        let entry = Some(Entry { owner, blocks: 0 });
        if let Some(place) = self.vacant.pop() {
            self.entries[place as usize] = entry;
            return place;
        }
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX) // so many would not fit the host's memory
    }

    fn forget_closed(&mut self, place: u32) {
        let is_over = |entry: &mut Entry| entry.blocks == 0 && entry.owner.is_closed();
        let entry = self.entries.get_mut(place as usize);
        if entry.and_then(|entry| entry.take_if(is_over)).is_some() {
            self.vacant.push(place);
        }
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::super::frees::{CLOSED, Frees};
    use super::super::owner::Owner;
    use super::*;

    struct Instance {
        owners: Owners,
        frees: Frees,
    }

    impl Instance {
        fn new() -> Self {
            Self {
                owners: Owners::default(),
                frees: Frees::default(),
            }
        }

        fn admit(&mut self, owner: &Owner) -> u32 {
            let admitted = self.owners.admit(&owner.reference(), self.frees.signals());
            admitted.expect("it is open")
        }

        fn closed(&self) -> Vec<u32> {
            if self.frees.take() & CLOSED == 0 {
                return Vec::new();
            }
            self.frees.take_closed()
        }
    }

    /// Each has others before it, so that the places differ and a hint of the other one is wrong.
    #[test]
    fn instances_that_share_an_owner_each_have_it_once() {
        let mut instances = [Instance::new(), Instance::new()];
        let others = [Owner::new(), Owner::new()];
        instances[1].admit(&others[0]);
        instances[1].admit(&others[1]);
        let owner = Owner::new();
        for _ in 0..3 {
            assert_eq!(
                instances.each_mut().map(|instance| instance.admit(&owner)),
                [0, 2]
            );
        }
        drop(owner);
        assert_eq!(instances.each_ref().map(Instance::closed), [vec![0], vec![2]]);
    }

    #[test]
    fn an_instance_that_is_gone_is_forgotten_and_one_that_was_reset_is_told_anew() {
        let owner = Owner::new();
        Instance::new().admit(&owner);
        let mut instance = Instance::new();
        instance.admit(&owner);
        instance.owners.clear();
        let other = Owner::new();
        assert_eq!(instance.admit(&other), 0);
        assert_eq!(instance.admit(&owner), 1);
        drop(owner);
        assert_eq!(instance.closed(), [1]);
    }

    #[test]
    fn an_owner_that_is_closed_is_let_go_with_its_last_block() {
        let mut instance = Instance::new();
        let (owner, idle) = (Owner::new(), Owner::new());
        let places = [instance.admit(&owner), instance.admit(&idle)];
        instance.owners.hold(places[0]);
        instance.owners.hold(places[0]);
        let name = owner.reference();
        drop((owner, idle));
        assert_eq!(
            places.map(|place| instance.owners.is_garbage(place)),
            [true, false]
        );
        instance.owners.release(places[0]);
        assert!(instance.owners.is_garbage(places[0]));
        assert_eq!(name.names(), 2);
        instance.owners.release(places[0]);
        assert_eq!(name.names(), 1);
        assert!(!instance.owners.is_garbage(places[0]));
        let reused = [Owner::new(), Owner::new()].map(|owner| instance.admit(&owner));
        assert_eq!(reused, [0, 1]);
    }

    #[test]
    fn one_that_is_closed_is_refused_by_whoever_knows_it_or_not() {
        let (mut known, mut other) = (Instance::new(), Instance::new());
        let owner = Owner::new();
        let name = owner.reference();
        known.admit(&owner);
        drop(owner);
        for instance in [&mut known, &mut other] {
            let refused = instance.owners.admit(&name, instance.frees.signals());
            assert!(matches!(refused, Err(Error::OwnerClosed)));
        }
        assert!(other.frees.is_quiet());
    }
}
