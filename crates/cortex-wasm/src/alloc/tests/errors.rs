//! What is wrong is told, and does no harm.

use super::scene::*;

#[test]
fn what_an_allocator_returns_is_looked_at() {
    let mut scene = Scene::new(HOSTILE);
    let memory = 65_536;
    for (answer, length, bytes, expected) in [
        (0, 8, 8, "take 8 bytes from the guest: it has no such block"),
        (-16, 8, 8, "use 8 bytes at 4294967280 of a memory of 65536"),
        (
            -1,
            u32::MAX,
            1,
            "use 4294967295 bytes at 4294967295 of a memory of 65536",
        ),
        (65_528, 9, 1, "use 9 bytes at 65528 of a memory of 65536"),
        (
            1028,
            8,
            8,
            "use the block at 1028 that the guest took: it is not aligned to 8",
        ),
        (
            8,
            u32::MAX,
            64,
            "take 4294967358 bytes from the guest: it has no such block",
        ),
    ] {
        scene.guest.call("say", &[answer]).unwrap();
        let refused = scene.own(length, align(bytes)).unwrap_err();
        assert_eq!(refused.to_string(), expected);
    }
    assert_eq!(scene.guest.memory_len(), memory);
    assert_eq!(scene.heap.totals().stats().live, 0);
    scene.guest.call("say", &[65_528]).unwrap();
    let last = scene.own(8, align(8)).expect("the last bytes there are");
    assert_eq!(last.ptr(), 65_528);
}

#[test]
fn what_an_export_returned_is_looked_at() {
    let mut scene = Scene::new(MALLOC_FREE);
    scene.place(64, 64);
    let arena = {
        let scope = scene.heap.scope();
        let holder = holder(&scene.reference);
        let pointer = scene.heap.put(&mut scene.guest, 1, Align::BYTE, holder).unwrap();
        scene.heap.end(scope);
        pointer
    };
    let region = scene.own(1, Align::BYTE).unwrap();
    let holder = holder(&scene.reference);
    for (place, expected) in [
        ((0, 8), "take over a block: it is at 0"),
        ((65_530, 7), "use 7 bytes at 65530 of a memory of 65536"),
        (
            (u32::MAX, u32::MAX),
            "use 4294967295 bytes at 4294967295 of a memory of 65536",
        ),
    ] {
        let refused = scene.heap.adopt(&mut scene.guest, place, Align::BYTE, holder);
        assert_eq!(refused.unwrap_err().to_string(), expected);
    }
    for pointer in [arena, arena + 63, region.ptr(), region.ptr() + 63] {
        let refused = scene
            .heap
            .adopt(&mut scene.guest, (pointer, 1), Align::BYTE, holder);
        assert!(
            matches!(refused, Err(Error::AlreadyHeld { .. })),
            "its `free` would be called with what is ours"
        );
    }
}

#[test]
fn each_wrong_use_has_its_error() {
    let mut scene = Scene::new(MALLOC_FREE);
    let mut other = Scene::new(MALLOC_FREE);
    let id = scene.own(8, Align::BYTE).unwrap().into_id();
    assert!(matches!(other.heap.find(id), Err(Error::WrongInstance)));
    assert!(matches!(
        other.heap.free(&mut other.guest, id),
        Err(Error::WrongInstance)
    ));

    scene.heap.free(&mut scene.guest, id).unwrap();
    assert!(matches!(scene.heap.find(id), Err(Error::UseAfterFree)));
    assert!(matches!(scene.heap.claim(id), Err(Error::UseAfterFree)));
    assert!(matches!(
        scene.heap.free(&mut scene.guest, id),
        Err(Error::DoubleFree)
    ));
    assert_eq!(scene.guest.live(), 0, "the guest did not hear of the second one");

    let second = scene.own(8, Align::BYTE).unwrap();
    assert_eq!(second.id(), scene.heap.claim(second.id()).unwrap().into_id());
    assert!(
        matches!(scene.heap.find(id), Err(Error::UseAfterFree)),
        "its slot is another's"
    );
    let id = second.id();
    drop(second);
    assert!(
        matches!(scene.heap.find(id), Err(Error::UseAfterFree)),
        "dropped, if not yet freed"
    );
    assert!(matches!(
        scene.heap.free(&mut scene.guest, id),
        Err(Error::DoubleFree)
    ));
    scene.boundary();

    let third = scene.own(8, Align::BYTE).unwrap();
    scene.heap.reset();
    assert!(matches!(scene.heap.find(third.id()), Err(Error::Stale)));
    assert!(matches!(
        scene.heap.free(&mut scene.guest, third.id()),
        Err(Error::Stale)
    ));
    let never = |_: &mut Guest, _, _| panic!("it is stale");
    assert!(matches!(
        scene.heap.give(&mut scene.guest, third, never),
        Err(Error::Stale)
    ));
    assert!(matches!(scene.heap.find(id), Err(Error::Stale)));
}

#[test]
fn the_quota_is_on_what_is_held_at_once() {
    let mut scene = Scene::with_limit(MALLOC_FREE, 2);
    let first = scene.own(8, Align::BYTE).unwrap();
    let _second = scene.own(8, Align::BYTE).unwrap();
    let refused = scene.own(8, Align::BYTE).unwrap_err();
    assert_eq!(refused.to_string(), "use 3 live allocations where 2 are allowed");
    assert_eq!(scene.guest.live(), 2, "the guest was not asked");
    drop(first);
    scene.boundary();
    let _third = scene.own(8, Align::BYTE).unwrap();
    let stats = scene.heap.totals().stats();
    assert_eq!(
        (stats.live, stats.high_water, stats.allocated, stats.refused),
        (2, 2, 3, 1)
    );
    assert_eq!((stats.live_bytes, stats.high_water_bytes), (16, 16));
}

/// The instance is poisoned then: what is left is dropped by the reset, without the guest.
#[test]
fn a_guest_that_traps_when_it_frees_loses_nothing_of_the_host() {
    let mut scene = Scene::new(HOSTILE);
    let blocks: Vec<_> = [672, 1024]
        .map(|answer| {
            scene.guest.call("say", &[answer]).unwrap();
            scene.own(8, Align::BYTE).unwrap()
        })
        .into();
    drop(blocks);
    while scene.heap.boundary(&mut scene.guest).is_ok() {
        assert!(scene.heap.pending() > 0, "it traps at one of them");
    }
    let calls = scene.guest.calls;
    scene.heap.reset();
    assert_eq!(scene.heap.pending(), 0);
    scene.boundary();
    assert_eq!(scene.guest.calls, calls);
}
