//! What threads tell the one of an instance, in every order that they may run in.
//!
//! `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-wasm --lib --release model`

use super::align::Align;
use super::extent::Extent;
use super::guest_box::{BlockId, GuestBox};
use super::owner::{Owner, OwnerRef};
use super::registry::{Block, Home, Registry};
use super::tags::{Tag, Tags};
use super::totals::Totals;
use crate::Error;
use loom::thread;
use std::sync::Arc;

fn registry() -> Registry {
    Registry::new(8, Arc::new(Tags::new()), Arc::<Totals>::default())
}

fn hold(registry: &mut Registry, owner: &OwnerRef, pointer: u32) -> Result<BlockId, Error> {
    let owner = registry.admit(owner)?;
    let extent = Extent::new(pointer, 1);
    Ok(registry.insert(Block {
        generation: 0,
        extent,
        origin: extent,
        align: Align::BYTE,
        home: Home::Guest,
        tag: Tag::SCOPE,
        owner,
        since: 0,
    }))
}

fn own(registry: &mut Registry, owner: &OwnerRef, pointer: u32) -> GuestBox {
    let id = hold(registry, owner, pointer).expect("there is room");
    registry.guest_box(id, Extent::new(pointer, 1))
}

/// Does what a boundary does, as often as there is something to do; returns the pointers that were freed.
fn boundary(registry: &mut Registry) -> Vec<u32> {
    let mut freed = Vec::new();
    while !registry.is_quiet() {
        registry.gather(1);
        freed.extend(std::iter::from_fn(|| registry.next_doomed()).map(|block| block.extent.pointer));
    }
    freed
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

/// A signal that was taken before the block behind it was seen would leave that block unfreed.
#[test]
fn model_no_dropped_block_is_lost_or_freed_twice() {
    model(|| {
        let mut registry = registry();
        let owner = Owner::new();
        let blocks = [1, 2, 3].map(|pointer| own(&mut registry, &owner.reference(), pointer));
        let [first, second, third] = blocks; // the third is of another page
        let threads = [
            thread::spawn(move || drop((first, third))),
            thread::spawn(move || drop(second)),
        ];
        let mut freed = boundary(&mut registry);
        for thread in threads {
            thread.join().expect("no panic");
        }
        freed.extend(boundary(&mut registry));
        freed.sort_unstable();
        assert_eq!(freed, [1, 2, 3]);
    });
}

/// The slot of a block from before the reset is another's by the time that it is dropped.
#[test]
fn model_an_old_block_does_not_hide_the_new_one_of_its_slot() {
    model(|| {
        let mut registry = registry();
        let owner = Owner::new();
        let old = own(&mut registry, &owner.reference(), 1);
        registry.reset(|_| {});
        let new = own(&mut registry, &owner.reference(), 2);
        let threads = [thread::spawn(move || drop(old)), thread::spawn(move || drop(new))];
        let mut freed = boundary(&mut registry);
        for thread in threads {
            thread.join().expect("no panic");
        }
        freed.extend(boundary(&mut registry));
        assert_eq!(freed, [2]);
    });
}

/// A block that is taken while its owner closes is refused, or swept.
#[test]
fn model_no_block_of_a_closed_owner_stays() {
    model(|| {
        let mut registry = registry();
        let owner = Owner::new();
        let name = owner.reference();
        let mut taken: Vec<u32> = [1]
            .into_iter()
            .filter(|at| hold(&mut registry, &name, *at).is_ok())
            .collect();
        let closer = thread::spawn(move || drop(owner));
        taken.extend(
            [2, 3]
                .into_iter()
                .filter(|at| hold(&mut registry, &name, *at).is_ok()),
        );
        let mut freed = boundary(&mut registry);
        taken.extend(
            [4].into_iter()
                .filter(|at| hold(&mut registry, &name, *at).is_ok()),
        );
        closer.join().expect("no panic");
        freed.extend(boundary(&mut registry));
        freed.sort_unstable();
        assert_eq!(freed, taken);
        assert!(matches!(hold(&mut registry, &name, 5), Err(Error::OwnerClosed)));
    });
}

/// Two instances hold blocks of an owner that closes meanwhile.
#[test]
fn model_each_instance_is_told() {
    model(|| {
        let owner = Owner::new();
        let instances = [1, 2].map(|pointer| {
            let name = owner.reference();
            thread::spawn(move || {
                let mut registry = registry();
                let is_held = hold(&mut registry, &name, pointer).is_ok();
                (registry, is_held)
            })
        });
        drop(owner);
        for instance in instances {
            let (mut registry, is_held) = instance.join().expect("no panic");
            assert_eq!(boundary(&mut registry).len(), usize::from(is_held));
        }
    });
}

/// Neither signal hides the other.
#[test]
fn model_a_drop_beside_a_close_is_heard() {
    model(|| {
        let mut registry = registry();
        let (first, second) = (Owner::new(), Owner::new());
        let dropped = own(&mut registry, &first.reference(), 1);
        hold(&mut registry, &second.reference(), 2).expect("there is room");
        let threads = [
            thread::spawn(move || drop(dropped)),
            thread::spawn(move || drop(second)),
        ];
        let mut freed = boundary(&mut registry);
        for thread in threads {
            thread.join().expect("no panic");
        }
        freed.extend(boundary(&mut registry));
        freed.sort_unstable();
        assert_eq!(freed, [1, 2]);
    });
}
