use std::hint::black_box;
use std::sync::OnceLock;

use cortex_testkit::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator::new();

#[test]
fn arithmetic_allocates_nothing() {
    let (sum, usage) = ALLOCATOR.measure(|| (0..black_box(100_u64)).sum::<u64>());
    assert_eq!(sum, 4950);
    assert_eq!((usage.allocations, usage.allocated, usage.freed), (0, 0, 0));
}

#[test]
fn counts_what_comes_and_goes() {
    let ((), usage) = ALLOCATOR.measure(|| drop(black_box(vec![1_u8; 100])));
    assert_eq!((usage.allocations, usage.allocated, usage.freed), (1, 100, 100));
    assert_eq!(usage.retained(), 0);

    let (zeroed, usage) = ALLOCATOR.measure(|| black_box(vec![0_u8; 100]));
    assert_eq!((usage.allocations, usage.retained()), (1, 100));
    drop(zeroed);
}

#[test]
fn a_reallocation_counts_once_and_keeps_the_content() {
    let mut bytes = Vec::with_capacity(10);
    bytes.extend_from_slice(b"0123456789");
    let ((), usage) = ALLOCATOR.measure(|| bytes.reserve_exact(990));
    assert_eq!((usage.allocations, usage.retained()), (1, 990));
    assert_eq!(bytes, b"0123456789");
}

#[test]
fn finds_a_leak() {
    // In a static, so that a leak checker over these tests sees it reachable and stays quiet.
    static LEAKED: OnceLock<&[u8; 64]> = OnceLock::new();
    let (leaked, usage) = ALLOCATOR.measure(|| &*Box::leak(Box::new([7_u8; 64])));
    assert_eq!(usage.retained(), 64);
    LEAKED.set(leaked).unwrap();
}

#[test]
fn other_threads_do_not_count_but_live_bytes_do() {
    const SIZE: usize = 16 << 20; // dwarfs whatever the other tests hold at the same time
    let before = ALLOCATOR.live_bytes();
    let (elsewhere, usage) =
        ALLOCATOR.measure(|| std::thread::scope(|scope| scope.spawn(|| vec![1_u8; SIZE]).join().unwrap()));
    assert!(usage.allocated < SIZE as u64);
    assert!(ALLOCATOR.live_bytes() >= before + SIZE / 2);
    drop(elsewhere);
    assert!(ALLOCATOR.live_bytes() < before + SIZE / 2);
}

#[test]
fn over_aligned_memory_is_aligned() {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let (page, usage) = ALLOCATOR.measure(|| Box::new(Page([7; 4096])));
    assert_eq!(std::ptr::from_ref(&*page).addr() % 4096, 0);
    assert_eq!((page.0[0], usage.retained()), (7, 4096));
}
