//! What the host puts into guests, and takes back.

use crate::guests::{build, get, guest, host, module, run, summing};
use cortex_wasm::{Align, Calls, Error, GuestAbi, GuestBlock, Owner, Quota, Resource, WasmHost};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

#[test]
fn arguments_that_fit_the_arena_take_no_call_of_the_allocator() {
    let host = host();
    let mut guest = guest(&host, &summing());
    let sum = guest.module().func::<(u32, u32), u32>("sum").unwrap();
    let before = get(&mut guest, "given").unwrap();
    for round in 0..100_u8 {
        let bytes = vec![round; 1000];
        let total = guest.scope(|scope| {
            let slice = scope.put_bytes(&bytes).unwrap();
            assert_eq!(scope.bytes(slice.ptr(), slice.len()).unwrap(), bytes);
            scope.call(&sum, (slice.ptr(), slice.len()))
        });
        assert_eq!(total.unwrap(), 1000 * u32::from(round));
    }
    assert_eq!(get(&mut guest, "given").unwrap(), before);
    assert_eq!(guest.alloc_stats().arena_overflows, 0);
}

#[test]
fn what_does_not_fit_is_freed_however_the_scope_ends() {
    let host = build(WasmHost::builder().arena(64));
    let mut guest = guest(&host, &summing());
    let mut freed = 0;
    let mut check = |guest: &mut cortex_wasm::Instance| {
        freed += 1;
        run_nothing(guest);
        assert_eq!(get(guest, "freed").unwrap(), freed);
        assert_eq!(guest.alloc_stats().live, 0);
    };
    guest.scope(|scope| scope.put_bytes(&[1; 100]).map(drop)).unwrap();
    check(&mut guest);
    let failed: Result<(), Error> = guest.scope(|scope| {
        scope.put_bytes(&[1; 100])?;
        scope.bytes(u32::MAX, 1).map(drop)
    });
    failed.unwrap_err();
    check(&mut guest);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        guest.scope(|scope| {
            scope.put_bytes(&[1; 100]).unwrap();
            panic!("on purpose");
        })
    }));
    panicked.unwrap_err();
    check(&mut guest);
    assert_eq!(guest.alloc_stats().arena_overflows, 3);
}

fn run_nothing(guest: &mut cortex_wasm::Instance) {
    get(guest, "given").expect("it runs");
}

#[test]
fn scopes_nest_and_the_inner_one_gives_back_what_it_took() {
    let host = host();
    let mut guest = guest(&host, &summing());
    guest.scope(|outer| {
        let first = outer.put(1_u64).unwrap();
        let inner = outer
            .scope(|inner| inner.put(2_u64).map(|slice| slice.ptr()))
            .unwrap();
        let second = outer.put(3_u64).unwrap();
        assert_eq!(second.ptr(), inner);
        assert_eq!(outer.read::<u64>(first.ptr()).unwrap(), 1);
        assert_eq!(outer.read::<u64>(second.ptr()).unwrap(), 3);
        assert!(first.ptr().is_multiple_of(8) && second.ptr().is_multiple_of(8));
    });
}

#[test]
fn a_box_is_freed_at_the_next_call_whoever_drops_it() {
    let host = host();
    let mut guest = guest(&host, &summing());
    let tag = host.tags().intern("session").unwrap();
    let block = guest.alloc_owned(64, tag).unwrap();
    guest.block_mut(block.id()).unwrap().copy_from_slice(&[7; 64]);
    assert_eq!(guest.block(block.id()).unwrap(), [7; 64]);
    let id = block.id();
    thread::spawn(move || drop(block)).join().unwrap();
    assert_eq!(guest.frees_pending(), 1);
    assert_eq!(get(&mut guest, "freed").unwrap(), 1);
    assert!(matches!(guest.block(id), Err(Error::UseAfterFree)));
    assert!(matches!(guest.free(id), Err(Error::DoubleFree)));
    let mut other = host.instantiate(guest.module()).unwrap();
    assert!(matches!(other.free(id), Err(Error::WrongInstance)));
}

#[test]
fn what_its_owner_has_forgotten_is_swept_and_what_is_held_is_reported() {
    let host = host();
    let mut guest = guest(&host, &summing());
    let tag = host.tags().intern("session").unwrap();
    let session = Owner::new();
    let block = guest
        .alloc_for(&session.reference(), 128, Align::SIXTEEN, tag)
        .unwrap();
    let id = block.into_id(); // as good as forgotten
    let leaks = guest.leaks(Duration::ZERO);
    assert_eq!(
        (leaks[0].tag, leaks[0].count, leaks[0].bytes),
        ("session", 1, 128)
    );
    assert!(guest.leaks(Duration::from_hours(1)).is_empty());
    drop(session);
    run_nothing(&mut guest);
    assert_eq!(get(&mut guest, "freed").unwrap(), 1);
    assert!(matches!(guest.claim(id), Err(Error::UseAfterFree)));
    assert_eq!((guest.alloc_stats().swept, host.tags().swept(tag)), (1, 1));
}

#[test]
fn a_block_changes_hands() {
    let host = host();
    let mut guest = guest(&host, &summing());
    let tag = host.tags().intern("block").unwrap();
    let pointer = get(&mut guest, "block").unwrap();
    let adopted = guest.adopt(pointer, 100, tag).unwrap();
    assert!(matches!(
        guest.adopt(pointer, 100, tag),
        Err(Error::AlreadyHeld { .. })
    ));
    assert!(matches!(
        guest.adopt(u32::MAX - 4, 100, tag),
        Err(Error::OutOfBounds { .. })
    ));
    assert_eq!(guest.into_guest(adopted).unwrap(), (pointer, 100));
    run_nothing(&mut guest);
    assert_eq!(get(&mut guest, "freed").unwrap(), 0, "it is the guest's");
    assert_eq!(guest.alloc_stats().live, 0);
}

#[test]
fn a_block_of_the_region_is_copied_for_the_guest() {
    let host = build(WasmHost::builder().region(4096));
    let mut guest = guest(&host, &summing());
    let tag = host.tags().intern("block").unwrap();
    let given = get(&mut guest, "given").unwrap();
    let block = guest.alloc_owned(32, tag).unwrap();
    assert_eq!(get(&mut guest, "given").unwrap(), given, "the region has it");
    guest.block_mut(block.id()).unwrap().fill(9);
    let (pointer, length) = guest.into_guest(block).unwrap();
    assert_eq!(guest.bytes(pointer, length).unwrap(), [9; 32]);
    assert_eq!(get(&mut guest, "given").unwrap(), given + 1);
}

#[test]
fn a_guest_without_an_allocator_has_none_or_a_region() {
    let text = r#"(module (memory (export "memory") 1) (func (export "nothing")))"#;
    let without = host();
    let mut guest = guest(&without, text);
    let tag = without.tags().intern("block").unwrap();
    assert!(matches!(guest.alloc_owned(1, tag), Err(Error::NoAllocator)));
    let put = guest.scope(|scope| scope.put_bytes(b"x").map(drop));
    assert!(matches!(put, Err(Error::NoAllocator)));

    let with = build(WasmHost::builder().region(1 << 16));
    let mut guest = with.instantiate(&module(&with, text)).unwrap();
    let tag = with.tags().intern("block").unwrap();
    assert_eq!(guest.memory_len(), 3 << 16, "the arena and the region");
    let blocks: Vec<_> = (0..100).map(|_| guest.alloc_owned(100, tag).unwrap()).collect();
    assert!(blocks.iter().all(|block| block.ptr() >= 1 << 16));
    drop(blocks);
    run(&mut guest, "nothing").unwrap();
    assert_eq!(guest.alloc_stats().live, 0);
    guest.reset().unwrap();
    assert_eq!(guest.memory_len(), 3 << 16);
}

#[derive(Debug)]
struct Named;

impl GuestAbi for Named {
    fn name(&self) -> &'static str {
        "named"
    }

    fn alloc(&self, guest: &mut dyn Calls, size: u32, _: Align) -> Result<u32, Error> {
        guest.pointer("take", &[size.cast_signed()])
    }

    fn free(&self, guest: &mut dyn Calls, block: GuestBlock) -> Result<(), Error> {
        guest.call("give", &[block.pointer.cast_signed()]).map(drop)
    }
}

#[test]
fn an_allocator_of_any_name_can_be_stated() {
    let host = host();
    let text = summing()
        .replace("\"malloc\"", "\"take\"")
        .replace("\"free\"", "\"give\"");
    let unknown = module(&host, &text);
    let known = unknown.clone().with_abi(Named);
    let tag = host.tags().intern("block").unwrap();
    let tenant = host.tenant(1 << 30);
    let mut local = host.local();
    for _ in 0..2 {
        // An instance of one does not pass for one of the other.
        let taken = local
            .run(&known, &tenant, |guest| guest.alloc_owned(8, tag).map(drop))
            .unwrap();
        taken.unwrap();
        let refused = local
            .run(&unknown, &tenant, |guest| guest.alloc_owned(8, tag).map(drop))
            .unwrap();
        assert!(matches!(refused, Err(Error::NoAllocator)), "{refused:?}");
    }
}

#[test]
fn live_allocations_are_bounded() {
    let host = build(WasmHost::builder().quota(Quota::new().max_live_allocs(3)));
    let mut guest = guest(&host, &summing());
    let tag = host.tags().intern("block").unwrap();
    let blocks: Vec<_> = (0..3).map(|_| guest.alloc_owned(8, tag).unwrap()).collect();
    let error = guest.alloc_owned(8, tag).unwrap_err();
    assert!(matches!(
        error,
        Error::Quota {
            what: Resource::LiveAllocs,
            limit: 3,
            asked: 4
        }
    ));
    drop(blocks);
    drop(guest.alloc_owned(8, tag).unwrap());
}

#[test]
fn what_is_passed_through_the_canonical_abi_is_the_guests_and_what_it_returns_is_lent() {
    let text = r#"(module (memory (export "memory") 1) (global $top (mut i32) (i32.const 1024))
        (global $posted (mut i32) (i32.const 0))
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (global.get $top)
            (global.set $top (i32.add (global.get $top) (local.get 3))))
        (func (export "greet") (param i32 i32) (result i32) (i32.const 512))
        (func (export "cabi_post_greet") (param i32) (global.set $posted (local.get 0)))
        (func (export "posted") (result i32) (global.get $posted)))"#;
    let host = build(WasmHost::builder().arena(0));
    let mut guest = guest(&host, text);
    let greet = guest.module().func::<(u32, u32), u32>("greet").unwrap();
    guest
        .scope(|scope| {
            let name = scope.pass_bytes(b"Ada", Align::BYTE)?;
            let greeting = scope.call(&greet, (name.ptr(), name.len()))?;
            assert_eq!(scope.bytes(name.ptr(), 3)?, b"Ada");
            scope.post_return(&greet, greeting)
        })
        .unwrap();
    assert_eq!(get(&mut guest, "posted").unwrap(), 512);
    assert_eq!(guest.alloc_stats().live, 0);
}

#[test]
fn values_of_many_kinds_pass() {
    let host = host();
    let text = r#"(module (memory (export "memory") 1)
        (func (export "mix") (param i32 i64 f32 f64) (result f64 i64 i32)
            (f64.add (local.get 3) (f64.promote_f32 (local.get 2))) (local.get 1) (local.get 0)))"#;
    let mut guest = guest(&host, text);
    let mix = guest
        .module()
        .func::<(i32, u64, f32, f64), (f64, i64, u32)>("mix")
        .unwrap();
    assert_eq!(
        guest.call(&mix, (-1, 1 << 40, 0.5, 2.0)).unwrap(),
        (2.5, 1 << 40, u32::MAX)
    );
    guest.copy_in(16, &[1_u16, 2, 3]).unwrap();
    assert_eq!(guest.values::<u16>(16, 3).unwrap(), [1, 2, 3]);
    let mut out = [0_u16; 2];
    guest.copy_out(18, &mut out).unwrap();
    assert_eq!(out, [2, 3]);
    guest.bytes_mut(32, 2).unwrap().copy_from_slice("é".as_bytes());
    assert_eq!(guest.text(32, 2).unwrap(), "é");
    assert!(matches!(guest.text(32, 1), Err(Error::NotText { .. })));
}
