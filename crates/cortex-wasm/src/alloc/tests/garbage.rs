//! What was forgotten is found.

use super::scene::*;
use std::thread;

#[test]
fn a_forgotten_block_is_freed_once_its_owner_is_closed() {
    let mut scene = Scene::new(MALLOC_FREE);
    let _ = scene.own(8, Align::BYTE).unwrap().into_id();
    scene.boundary();
    scene.heap.collect(&mut scene.guest, u64::MAX).unwrap();
    assert_eq!(scene.guest.live(), 1, "its owner is open, however old it is");
    scene.owner = None;
    scene.boundary();
    assert_eq!(scene.guest.live(), 0);
    let stats = scene.heap.totals().stats();
    assert_eq!((stats.live, stats.swept, stats.expired), (0, 1, 0));
    assert_eq!(scene.tags.swept(Tag::SCOPE), 1);
    assert!(matches!(scene.own(8, Align::BYTE), Err(Error::OwnerClosed)));
}

/// A boundary looks at 64 slots, and goes on with the next ones at the next.
#[test]
fn a_sweep_is_done_bit_by_bit_and_by_a_collection_at_once() {
    for collects in [false, true] {
        let mut scene = Scene::new(MALLOC_FREE);
        let stays = Owner::new();
        let name = stays.reference();
        for turn in 0..300 {
            let owner = if turn % 3 == 0 { &name } else { &scene.reference };
            let holder = holder(owner);
            let block = scene.heap.own(&mut scene.guest, 8, Align::BYTE, holder).unwrap();
            let _ = block.into_id();
        }
        scene.owner = None;
        if collects {
            scene.heap.collect(&mut scene.guest, 0).unwrap();
        } else {
            for turn in 1..=5 {
                let before = scene.guest.live();
                scene.boundary();
                let freed = before - scene.guest.live();
                assert!((1..=43).contains(&freed), "boundary {turn} freed {freed}");
            }
        }
        assert_eq!(scene.guest.live(), 100);
        assert_eq!(scene.tags.swept(Tag::SCOPE), 200);
        let calls = scene.guest.calls;
        scene.boundary();
        assert_eq!(scene.guest.calls, calls);
        drop(stays);
        for _ in 0..5 {
            scene.boundary();
        }
        assert_eq!(scene.guest.live(), 0);
    }
}

/// While a sweep is under way another owner closes, whose blocks it has passed.
#[test]
fn what_a_sweep_has_passed_is_not_missed() {
    let mut scene = Scene::new(MALLOC_FREE);
    let early = Owner::new();
    let name = early.reference();
    let holder = holder(&name);
    let _ = scene
        .heap
        .own(&mut scene.guest, 8, Align::BYTE, holder)
        .unwrap()
        .into_id();
    for _ in 0..199 {
        let _ = scene.own(8, Align::BYTE).unwrap().into_id();
    }
    scene.owner = None;
    scene.boundary();
    assert_eq!(scene.guest.live(), 200 - 63);
    drop(early);
    for _ in 0..4 {
        scene.boundary();
    }
    assert_eq!(scene.guest.live(), 0);
}

#[test]
fn leaks_are_told_by_tag_and_age() {
    let mut scene = Scene::new(MALLOC_FREE);
    let session = scene.tags.intern("session").unwrap();
    let cache = scene.tags.intern("cache").unwrap();
    let mut blocks = Vec::new();
    for (tag, second) in [(session, 1), (session, 2), (cache, 3), (session, 90)] {
        let holder = Holder {
            tag,
            owner: &scene.reference,
            now: second * SECOND,
        };
        let length = u32::try_from(second).unwrap();
        blocks.push(
            scene
                .heap
                .own(&mut scene.guest, length, Align::BYTE, holder)
                .unwrap(),
        );
    }
    let leaks = scene.heap.leaks(100 * SECOND, Duration::from_mins(1));
    let told: Vec<_> = leaks
        .iter()
        .map(|leak| (leak.tag, leak.count, leak.bytes))
        .collect();
    assert_eq!(told, [("session", 2, 3), ("cache", 1, 3)]);
    assert_eq!(leaks[0].oldest, Duration::from_secs(99));
    assert_eq!(leaks[0].samples, [blocks[0].ptr(), blocks[1].ptr()]);

    drop(blocks.remove(0));
    let leaks = scene.heap.leaks(100 * SECOND, Duration::from_mins(1));
    assert_eq!(leaks[0].count, 1, "dropped is not leaked, if not yet freed");
    assert_eq!(scene.heap.leaks(100 * SECOND, Duration::from_secs(99)), []);
    scene.owner = None;
    let leaks = scene.heap.leaks(100 * SECOND, Duration::ZERO);
    assert_eq!(leaks, [], "what is to be swept is not leaked");
}

#[test]
fn many_leaks_are_counted_and_some_places_told() {
    let mut scene = Scene::new(MALLOC_FREE);
    for _ in 0..20 {
        let _ = scene.own(4, Align::BYTE).unwrap().into_id();
    }
    let leaks = scene.heap.leaks(0, Duration::ZERO);
    assert_eq!((leaks.len(), leaks[0].count, leaks[0].samples.len()), (1, 20, 8));
}

#[test]
fn blocks_of_some_tags_expire() {
    let mut scene = Scene::new(MALLOC_FREE);
    let session = scene.tags.intern("session").unwrap();
    let cache = scene.tags.intern("cache").unwrap();
    scene.tags.expire(cache, Duration::from_mins(1));
    let blocks = [session, cache].map(|tag| {
        let holder = Holder {
            tag,
            owner: &scene.reference,
            now: SECOND,
        };
        scene.heap.own(&mut scene.guest, 8, Align::BYTE, holder).unwrap()
    });
    scene.heap.collect(&mut scene.guest, 61 * SECOND - 1).unwrap();
    assert_eq!(scene.guest.live(), 2);
    scene.heap.collect(&mut scene.guest, 61 * SECOND).unwrap();
    assert_eq!(scene.guest.live(), 1);
    assert!(scene.heap.find(blocks[0].id()).is_ok());
    assert!(matches!(
        scene.heap.find(blocks[1].id()),
        Err(Error::UseAfterFree)
    ));
    assert_eq!((scene.tags.expired(cache), scene.tags.swept(cache)), (1, 0));
    assert_eq!(scene.heap.totals().stats().expired, 1);
    drop(blocks);
    scene.boundary();
    assert_eq!(scene.guest.live(), 0, "and it was freed once");
}

#[test]
fn handles_are_dropped_on_any_thread() {
    let mut scene = Scene::new(MALLOC_FREE);
    for _ in 0..5 {
        let mut blocks: Vec<_> = (0..200).map(|_| scene.own(8, Align::BYTE).unwrap()).collect();
        thread::scope(|scope| {
            let half = blocks.split_off(100);
            scope.spawn(move || drop(half));
            scope.spawn(move || drop(blocks));
            for _ in 0..20 {
                scene.boundary();
            }
        });
        scene.boundary();
        assert_eq!(scene.guest.live(), 0);
        assert_eq!(scene.heap.totals().stats().live, 0);
    }
}

#[test]
fn a_handle_may_outlive_its_instance() {
    let mut scene = Scene::new(MALLOC_FREE);
    let block = scene.own(8, Align::BYTE).unwrap();
    let owner = scene.owner.take();
    drop(scene);
    drop((block, owner));
}

#[test]
fn what_is_over_holds_no_owner() {
    let mut scene = Scene::new(MALLOC_FREE);
    let name = scene.reference.clone();
    let alone = name.names();
    let blocks = [(); 2].map(|()| scene.own(8, Align::BYTE).unwrap());
    assert_eq!(name.names(), alone + 1, "once, however many blocks there are");
    scene.heap.reset();
    assert_eq!(name.names(), alone);
    drop(blocks);
    let _ = scene.own(8, Align::BYTE).unwrap().into_id();
    scene.owner = None;
    scene.boundary();
    assert_eq!(name.names(), alone - 1, "it is swept");
}
