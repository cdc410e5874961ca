//! Whatever is done, what is held is what a map says.

use super::scene::*;
use crate::alloc::extent::Extent;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::LazyLock;
use wasmer::Module;

#[derive(Clone, Debug)]
enum Step {
    Own { length: u32, align: u32, owner: usize },
    Put { length: u32, owner: usize },
    Drop(usize),
    Forget(usize),
    Free(usize),
    Close(usize),
    Enter,
    Leave,
    Boundary,
    Collect,
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u32..300, 0_u32..8, 0_usize..4)
            .prop_map(|(length, exponent, owner)| Step::Own { length, align: 1 << exponent, owner }),
        3 => (0_u32..100, 0_usize..4).prop_map(|(length, owner)| Step::Put { length, owner }),
        4 => any::<usize>().prop_map(Step::Drop),
        2 => any::<usize>().prop_map(Step::Forget),
        2 => any::<usize>().prop_map(Step::Free),
        1 => (0_usize..4).prop_map(Step::Close),
        2 => Just(Step::Enter),
        2 => Just(Step::Leave),
        3 => Just(Step::Boundary),
        1 => Just(Step::Collect),
        1 => Just(Step::Reset),
    ]
}

/// A block, as the model has it.
struct Held {
    extent: Extent,
    /// Which owner, of those that there were.
    owner: u64,
    /// The scope that it ends with.
    scope: Option<usize>,
    is_dropped: bool,
}

#[derive(Default)]
struct Model {
    held: HashMap<u64, Held>,
    next: u64,
    boxes: Vec<(u64, GuestBox)>,
    ids: Vec<(u64, crate::BlockId)>,
    stale: Vec<GuestBox>,
}

const GUESTS: [&str; 3] = [MALLOC_FREE, ALLOC_DEALLOC, ALLOC_DEALLOC_ALIGNED];

static MODULES: LazyLock<[Module; 3]> = LazyLock::new(|| GUESTS.map(compile));

const LIMIT: u32 = 48; // one boundary looks at all

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_held_is_what_a_map_says(
        steps in prop::collection::vec(step(), 1..150),
        which in 0..GUESTS.len(),
        has_region: bool,
    ) {
        let mut guest = Guest::new(&MODULES[which]);
        let mut heap = Heap::new(abi(GUESTS[which]), LIMIT, Arc::new(Tags::new()));
        let mut resident = 1;
        let place = heap.reserve(&mut guest, 128, align(16)).unwrap();
        heap.place_arena(place);
        let mut region = None;
        if has_region {
            let place = heap.reserve(&mut guest, 2048, align(16)).unwrap();
            heap.place_region(place);
            region = Some(Extent::new(place.0, place.1));
            resident += 1;
        }
        let mut owners: Vec<(u64, Owner)> = (0..4).map(|number| (number, Owner::new())).collect();
        let mut next_owner = 4;
        let mut closed = Vec::new();
        let mut scopes = Vec::new();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Own { length, align: bytes, owner } => {
                    let reference = owners[owner].1.reference();
                    let holder = holder(&reference);
                    match heap.own(&mut guest, length, align(bytes), holder) {
                        Ok(block) => {
                            let extent = Extent::new(block.ptr(), block.len());
                            prop_assert_eq!((extent.length, extent.pointer % bytes), (length, 0));
                            prop_assert!(model.held.values().all(|held| !held.extent.overlaps(extent)));
                            let held = Held { extent, owner: owners[owner].0, scope: None, is_dropped: false };
                            model.held.insert(model.next, held);
                            model.boxes.push((model.next, block));
                            model.next += 1;
                        }
                        Err(error) => {
                            prop_assert!(matches!(error, Error::Quota { .. }), "{}", error);
                            prop_assert_eq!(model.held.len(), LIMIT as usize);
                        }
                    }
                }
                Step::Put { length, owner } => {
                    let reference = owners[owner].1.reference();
                    let holder = holder(&reference);
                    let overflows = heap.totals().stats().arena_overflows;
                    let Ok(pointer) = heap.put(&mut guest, length, Align::BYTE, holder) else {
                        prop_assert_eq!(model.held.len(), LIMIT as usize);
                        continue;
                    };
                    let extent = Extent::new(pointer, length);
                    prop_assert!(model.held.values().all(|held| !held.extent.overlaps(extent)));
                    if heap.totals().stats().arena_overflows > overflows {
                        let scope = Some(scopes.len());
                        let held = Held { extent, owner: owners[owner].0, scope, is_dropped: false };
                        model.held.insert(model.next, held);
                        model.next += 1;
                    }
                }
                Step::Drop(at) => {
                    if !model.boxes.is_empty() {
                        let at = at % model.boxes.len();
                        let (key, block) = model.boxes.swap_remove(at);
                        drop(block);
                        if let Some(held) = model.held.get_mut(&key) {
                            held.is_dropped = true;
                        }
                    }
                }
                Step::Forget(at) => {
                    if !model.boxes.is_empty() {
                        let at = at % model.boxes.len();
                        let (key, block) = model.boxes.swap_remove(at);
                        model.ids.push((key, block.into_id()));
                    }
                }
                Step::Free(at) => {
                    if !model.ids.is_empty() {
                        let (key, id) = model.ids[at % model.ids.len()];
                        let was_held = model.held.remove(&key).is_some();
                        match heap.free(&mut guest, id) {
                            Ok(()) => prop_assert!(was_held),
                            Err(Error::DoubleFree | Error::Stale) => prop_assert!(!was_held),
                            Err(error) => prop_assert!(false, "{}", error),
                        }
                    }
                }
                Step::Close(at) => {
                    let (number, owner) = std::mem::replace(&mut owners[at], (next_owner, Owner::new()));
                    next_owner += 1;
                    drop(owner);
                    closed.push(number);
                }
                Step::Enter => scopes.push(heap.scope()),
                Step::Leave => {
                    if let Some(scope) = scopes.pop() {
                        heap.end(scope);
                        for held in model.held.values_mut() {
                            held.is_dropped |= held.scope.is_some_and(|scope| scope > scopes.len());
                        }
                    }
                }
                Step::Boundary | Step::Collect => {
                    if matches!(step, Step::Collect) {
                        heap.collect(&mut guest, 0).unwrap();
                    } else {
                        heap.boundary(&mut guest).unwrap();
                    }
                    model.held.retain(|_, held| !held.is_dropped && !closed.contains(&held.owner));
                    prop_assert_eq!(heap.pending(), 0);
                    let is_cut = |held: &&Held| region.is_some_and(|region| region.overlaps(held.extent));
                    let cut = model.held.values().filter(is_cut).count();
                    prop_assert_eq!(guest.live(), i32::try_from(model.held.len() - cut).unwrap() + resident);
                }
                Step::Reset => {
                    heap.reset();
                    // The memory is not put back here, so the guest gets its blocks back as from a host that knows of
                    // them.
                    for held in model.held.values() {
                        if !region.is_some_and(|region| region.overlaps(held.extent)) {
                            resident += 1;
                        }
                    }
                    model.held.clear();
                    model.stale.extend(model.boxes.drain(..).map(|(_, block)| block));
                    scopes.clear();
                }
            }
            let stats = heap.totals().stats();
            for (key, block) in &model.boxes {
                prop_assert_eq!(heap.find(block.id()).is_ok(), model.held.contains_key(key));
            }
            for block in &model.stale {
                prop_assert!(matches!(heap.find(block.id()), Err(Error::Stale)));
            }
            prop_assert_eq!(stats.live, model.held.len() as u64);
            let bytes: u64 = model.held.values().map(|held| u64::from(held.extent.length)).sum();
            prop_assert_eq!(stats.live_bytes, bytes);
        }
    }
}
