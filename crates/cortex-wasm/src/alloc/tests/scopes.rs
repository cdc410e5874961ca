//! Arguments, and where they are put.

use super::scene::*;

fn put(scene: &mut Scene, length: u32) -> Result<u32, Error> {
    let holder = holder(&scene.reference);
    scene.heap.put(&mut scene.guest, length, Align::BYTE, holder)
}

#[test]
fn arguments_that_fit_cost_no_call_of_the_guest() {
    let mut scene = Scene::new(MALLOC_FREE);
    scene.place(256, 0);
    let calls = scene.guest.calls;
    let mut first = None;
    for _ in 0..100 {
        let scope = scene.heap.scope();
        let pointers = [100, 100].map(|length| put(&mut scene, length).unwrap());
        assert_eq!(pointers[1], pointers[0] + 100);
        assert_eq!(*first.get_or_insert(pointers), pointers, "the cursor is back");
        scene.heap.end(scope);
        scene.boundary();
    }
    assert_eq!(scene.guest.calls, calls);
    let stats = scene.heap.totals().stats();
    assert_eq!((stats.arena_high_water_bytes, stats.arena_overflows), (200, 0));
    assert_eq!((stats.arena_bytes, stats.allocated), (256, 0));
}

#[test]
fn what_does_not_fit_is_counted_and_freed_after_the_scope() {
    let mut scene = Scene::new(MALLOC_FREE);
    scene.place(64, 0);
    let outer = scene.heap.scope();
    put(&mut scene, 60).unwrap();
    let inner = scene.heap.scope();
    put(&mut scene, 60).unwrap();
    assert_eq!(scene.guest.live(), 2, "the arena, and one more");
    scene.heap.end(inner);
    put(&mut scene, 100).unwrap();
    scene.boundary();
    assert_eq!(
        scene.guest.live(),
        2,
        "the inner one is over, the outer one is not"
    );
    scene.heap.end(outer);
    scene.boundary();
    assert_eq!(scene.guest.live(), 1);
    let stats = scene.heap.totals().stats();
    assert_eq!((stats.arena_overflows, stats.live, stats.high_water), (2, 0, 2));
}

/// As when the guard of the scope was forgotten.
#[test]
fn what_did_not_fit_is_swept_with_its_owner() {
    let mut scene = Scene::new(MALLOC_FREE);
    let scope = scene.heap.scope();
    put(&mut scene, 8).unwrap();
    scene.owner = None;
    scene.boundary();
    assert_eq!(scene.guest.live(), 0);
    scene.heap.end(scope);
    scene.boundary();
    assert_eq!(scene.guest.live(), 0, "freed once: the guest would have trapped");
}

#[test]
fn what_is_to_be_freed_cannot_be_adopted() {
    let mut scene = Scene::new(MALLOC_FREE);
    let scope = scene.heap.scope();
    let pointer = put(&mut scene, 8).unwrap();
    scene.heap.end(scope);
    let holder = holder(&scene.reference);
    let adopted = scene
        .heap
        .adopt(&mut scene.guest, (pointer, 8), Align::BYTE, holder);
    assert!(matches!(adopted, Err(Error::AlreadyHeld { .. })));
    scene.boundary();
    assert_eq!(scene.guest.live(), 0);
}

#[test]
fn what_does_not_fit_takes_from_the_region_first() {
    let mut scene = Scene::new(MALLOC_FREE);
    scene.place(16, 256);
    let calls = scene.guest.calls;
    let scope = scene.heap.scope();
    put(&mut scene, 100).unwrap();
    assert_eq!(scene.heap.totals().stats().region_free_bytes, 256 - 112);
    scene.heap.end(scope);
    scene.boundary();
    assert_eq!(scene.heap.totals().stats().region_free_bytes, 256);
    assert_eq!(scene.guest.calls, calls);
}

#[test]
fn a_reset_empties_the_arena_and_the_region() {
    let mut scene = Scene::new(MALLOC_FREE);
    scene.place(64, 1024);
    let first = (put(&mut scene, 8).unwrap(), scene.own(8, Align::BYTE).unwrap());
    let kept: Vec<_> = (0..10).map(|_| scene.own(33, Align::BYTE).unwrap()).collect();
    scene.heap.reset();
    let stats = scene.heap.totals().stats();
    assert_eq!(
        (stats.live, stats.live_bytes, stats.region_free_bytes),
        (0, 0, 1024)
    );
    drop(kept);
    scene.boundary();
    let again = (put(&mut scene, 8).unwrap(), scene.own(8, Align::BYTE).unwrap());
    assert_eq!(
        (again.0, again.1.ptr()),
        (first.0, first.1.ptr()),
        "as in a fresh instance"
    );
    drop(first);
    scene.boundary();
    assert!(
        scene.heap.find(again.1.id()).is_ok(),
        "an old handle has the same slot, and frees nothing"
    );
}
