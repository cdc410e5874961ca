//! Each ABI against a guest that follows it.

use super::scene::*;

#[test]
fn an_owned_block_is_freed_at_the_next_boundary_and_not_before() {
    for functions in [MALLOC_FREE, ALLOC_DEALLOC, ALLOC_DEALLOC_ALIGNED] {
        let mut scene = Scene::new(functions);
        let block = scene.own(100, Align::BYTE).unwrap();
        scene.guest.write(block.ptr(), &[2; 100]);
        let sum = scene
            .guest
            .call("sum", &[block.ptr().cast_signed(), 100])
            .unwrap();
        assert_eq!(sum, Some(200));
        scene.boundary();
        assert_eq!(scene.guest.live(), 1, "it is held");
        drop(block);
        assert_eq!(scene.guest.live(), 1, "the guest may be using it");
        assert_eq!(scene.heap.pending(), 1);
        scene.boundary();
        assert_eq!(scene.guest.live(), 0);
        assert_eq!(scene.heap.totals().stats().live, 0);
        assert_eq!(scene.heap.pending(), 0);
    }
}

/// `alloc` of one of them aligns to nothing at all, and all check what they are told when they free.
#[test]
fn every_alignment_holds_whatever_the_allocator_keeps() {
    for functions in [MALLOC_FREE, ALLOC_DEALLOC, ALLOC_DEALLOC_ALIGNED] {
        let mut scene = Scene::new(functions);
        let blocks: Vec<_> = (0..=12)
            .map(|exponent| {
                let block = scene.own(24, align(1 << exponent)).unwrap();
                assert_eq!(block.ptr() % (1 << exponent), 0);
                assert_eq!(block.len(), 24);
                scene.guest.write(block.ptr(), &[exponent; 24]);
                block
            })
            .collect();
        for (block, exponent) in blocks.iter().zip(0..) {
            assert_eq!(
                scene.guest.read(block.ptr(), 24),
                [exponent; 24],
                "they are apart"
            );
        }
        drop(blocks);
        scene.boundary();
        assert_eq!(scene.guest.live(), 0);
    }
}

#[test]
fn a_returned_block_is_adopted_and_then_freed() {
    let mut scene = Scene::new(MALLOC_FREE);
    let pointer = scene.guest.call("keep", &[64]).unwrap().unwrap().cast_unsigned();
    let holder = holder(&scene.reference);
    let block = scene
        .heap
        .adopt(&mut scene.guest, (pointer, 64), Align::BYTE, holder)
        .unwrap();
    let again = scene
        .heap
        .adopt(&mut scene.guest, (pointer + 8, 8), Align::BYTE, holder);
    assert!(matches!(again, Err(Error::AlreadyHeld { .. })));
    drop(block);
    scene.boundary();
    assert_eq!(scene.guest.live(), 0);
}

#[test]
fn a_block_can_be_given_to_the_guest() {
    let mut scene = Scene::new(MALLOC_FREE);
    let block = scene.own(10, Align::BYTE).unwrap();
    let was = block.ptr();
    let never = |_: &mut Guest, _, _| panic!("it is the guest's allocator's");
    let (pointer, length) = scene.heap.give(&mut scene.guest, block, never).unwrap();
    assert_eq!((pointer, length), (was, 10));
    scene.boundary();
    assert_eq!((scene.guest.live(), scene.heap.totals().stats().live), (1, 0));
    scene.guest.call("free", &[pointer.cast_signed()]).unwrap();

    // The guest could not free what is in the region: that is copied.
    scene.place(0, 4096);
    let before = scene.guest.live();
    let block = scene.own(10, align(8)).unwrap();
    let was = block.ptr();
    let mut copied = None;
    let copy = |_: &mut Guest, from, to| {
        copied = Some((from, to));
        Ok(())
    };
    let (pointer, _) = scene.heap.give(&mut scene.guest, block, copy).unwrap();
    assert_eq!(copied, Some((was, pointer)));
    scene.boundary();
    assert_eq!(scene.heap.totals().stats().live, 0);
    scene
        .guest
        .call("free", &[pointer.cast_signed()])
        .expect("it knows it");
    assert_eq!(scene.guest.live(), before);
}

#[test]
fn no_guest_is_given_a_block_that_begins_where_it_does_not_know() {
    for (functions, kept) in [(MALLOC_FREE, 8), (ALLOC_DEALLOC, 1), (ASSEMBLY_SCRIPT, 16)] {
        let mut scene = Scene::new(functions);
        let block = scene.own(10, align(64)).unwrap();
        let never = |_: &mut Guest, _, _| panic!("there is nowhere to");
        let refused = scene.heap.give(&mut scene.guest, block, never).unwrap_err();
        let expected = format!("align a block to 64: the ABI of the guest keeps {kept}");
        assert_eq!(refused.to_string(), expected);
        scene.boundary();
        assert_eq!(scene.heap.totals().stats().live, 0);
    }
    let mut scene = Scene::new(ASSEMBLY_SCRIPT);
    let holder = holder(&scene.reference);
    let refused = scene.heap.pass(&mut scene.guest, 8, align(32), holder);
    assert!(matches!(refused, Err(Error::Alignment { asked: 32, kept: 16 })));
    assert_eq!(scene.guest.live(), 0);
}

#[test]
fn a_component_owns_its_arguments_and_is_told_when_its_results_were_read() {
    let mut scene = Scene::new(CABI_REALLOC);
    let holder = holder(&scene.reference);
    let scope = scene.heap.scope();
    let argument = scene.heap.pass(&mut scene.guest, 5, Align::BYTE, holder).unwrap();
    scene.guest.write(argument, b"abcde");
    let area = scene
        .guest
        .call("reverse", &[argument.cast_signed(), 5])
        .unwrap()
        .unwrap();
    let words: Vec<_> = scene
        .guest
        .read(area.cast_unsigned(), 8)
        .chunks(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    assert_eq!(scene.guest.read(words[0], words[1]), b"edcba");
    scene.heap.end(scope);
    scene.boundary();
    assert_eq!(scene.guest.live(), 2, "what the guest owns is not freed by us");
    assert_eq!(
        CabiRealloc.post_return("reverse").as_deref(),
        Some("cabi_post_reverse")
    );
    scene.guest.call("cabi_post_reverse", &[area]).unwrap();
    assert_eq!(scene.guest.live(), 0);
}

#[test]
fn what_takes_nothing_back_can_own_nothing_but_in_a_region() {
    let mut scene = Scene::new(CABI_REALLOC);
    let refused = scene.own(8, Align::BYTE).unwrap_err();
    assert!(matches!(refused, Error::NoFree { abi: "cabi_realloc" }));
    assert_eq!(
        scene.guest.live(),
        0,
        "nothing was taken that could not be given back"
    );
    let holder = holder(&scene.reference);
    let adopted = scene.heap.adopt(&mut scene.guest, (4096, 8), Align::BYTE, holder);
    assert!(matches!(adopted, Err(Error::NoFree { .. })));
    scene.place(0, 1024);
    let calls = scene.guest.calls;
    let block = scene.own(8, Align::BYTE).unwrap();
    drop(block);
    scene.boundary();
    assert_eq!(scene.guest.calls, calls, "no guest code runs for the region");
    assert_eq!(scene.heap.totals().stats().region_free_bytes, 1024);
}

#[test]
fn an_object_of_a_script_lives_while_it_is_pinned() {
    let mut scene = Scene::new(ASSEMBLY_SCRIPT);
    let block = scene.own(40, align(16)).unwrap();
    assert_eq!(
        scene.guest.global("class"),
        AssemblyScript::ARRAY_BUFFER.cast_signed()
    );
    scene.heap.collect(&mut scene.guest, 0).unwrap();
    assert_eq!(scene.guest.live(), 1);
    drop(block);
    scene.boundary();
    assert_eq!(
        scene.guest.live(),
        1,
        "it is unpinned, and its collector was not asked"
    );
    scene.heap.collect(&mut scene.guest, 0).unwrap();
    assert_eq!(scene.guest.live(), 0);

    let made = scene.guest.call("make", &[16]).unwrap().unwrap().cast_unsigned();
    let holder = holder(&scene.reference);
    let adopted = scene
        .heap
        .adopt(&mut scene.guest, (made, 16), Align::BYTE, holder)
        .unwrap();
    scene.heap.collect(&mut scene.guest, 0).unwrap();
    assert_eq!(scene.guest.live(), 1, "adopted is pinned");
    let again = scene
        .heap
        .adopt(&mut scene.guest, (made, 16), Align::BYTE, holder);
    assert!(
        matches!(again, Err(Error::AlreadyHeld { .. })),
        "to pin it twice would trap"
    );
    let never = |_: &mut Guest, _, _| panic!("it is an object already");
    scene.heap.give(&mut scene.guest, adopted, never).unwrap();
    scene.heap.collect(&mut scene.guest, 0).unwrap();
    assert_eq!(scene.guest.live(), 0, "the guest kept no reference");

    scene.place(0, 64);
    let before = scene.guest.live();
    let cut = scene.own(16, Align::BYTE).unwrap();
    let copy = |_: &mut Guest, _, _| Ok(());
    scene.heap.give(&mut scene.guest, cut, copy).unwrap();
    assert_eq!(scene.guest.live(), before + 1, "an object of its own");
    scene.heap.collect(&mut scene.guest, 0).unwrap();
    assert_eq!(scene.guest.live(), before, "that is not pinned");
}

#[test]
fn an_argument_of_a_script_is_an_object_until_the_scope_ends() {
    let mut scene = Scene::new(ASSEMBLY_SCRIPT);
    let strings: Arc<dyn GuestAbi> = Arc::new(AssemblyScript::new().class(AssemblyScript::STRING));
    scene.heap = Heap::new(Some(strings), 10, Arc::clone(&scene.tags));
    let holder = holder(&scene.reference);
    let scope = scene.heap.scope();
    scene.heap.pass(&mut scene.guest, 12, align(2), holder).unwrap();
    assert_eq!(scene.guest.global("class"), AssemblyScript::STRING.cast_signed());
    scene.heap.collect(&mut scene.guest, 0).unwrap();
    assert_eq!(scene.guest.live(), 1);
    scene.heap.end(scope);
    scene.heap.collect(&mut scene.guest, 0).unwrap();
    assert_eq!(scene.guest.live(), 0);
    assert_eq!(
        scene.heap.totals().stats().arena_overflows,
        0,
        "it was not for want of room"
    );
}

#[test]
fn without_an_allocator_there_is_the_region_alone() {
    let mut scene = Scene::new("");
    assert!(matches!(scene.own(8, Align::BYTE), Err(Error::NoAllocator)));
    let reserved = scene.heap.reserve(&mut scene.guest, 8, Align::BYTE);
    assert!(matches!(reserved, Err(Error::NoAllocator)));
    scene.heap.place_region((32_768, 1024));
    let block = scene.own(8, Align::BYTE).unwrap();
    assert_eq!(block.ptr(), 32_768);
    assert!(matches!(scene.own(2048, Align::BYTE), Err(Error::NoAllocator)));
    let passed = scene
        .heap
        .pass(&mut scene.guest, 8, Align::BYTE, holder(&scene.reference));
    assert!(matches!(passed, Err(Error::NoAllocator)));
}
