#[cfg(not(cortex_loom))]
mod real {
    use std::sync::Barrier;

    use crate::cells::pool::{Pool, SLOTS};
    use crate::cells::thread::{PATIENCE, POOL, has_own};
    use crate::cells::{Block, Shape, reclaim, walk};

    const PAIR: Shape = Shape {
        integers: 1,
        floats: 1,
    };

    fn read(block: &Block) -> (u64, f64) {
        let walk = walk();
        let float = block.float(&walk, 1);
        (walk.first(block.at()), float)
    }

    #[test]
    fn more_threads_than_slots_lose_nothing() {
        const THREADS: usize = SLOTS + 200;
        const EACH: u32 = 100;
        let (integer, float) = (Block::new(Shape::INTEGER), Block::new(Shape::FLOAT));
        let (all_run, all_counted) = (Barrier::new(THREADS), Barrier::new(THREADS));
        std::thread::scope(|scope| {
            for n in 0..THREADS {
                let count = || {
                    all_run.wait();
                    for _ in 0..EACH {
                        integer.add(0, 1);
                        float.add_float(0, 0.5);
                    }
                    all_counted.wait(); // nobody gives its slot back before
                };
                let thread = std::thread::Builder::new()
                    .stack_size(64 << 10)
                    .name(n.to_string());
                thread.spawn_scoped(scope, count).unwrap();
            }
        });
        let count = THREADS as u64 * u64::from(EACH);
        assert_eq!(walk().first(integer.at()), count);
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let half = count as f64 / 2.0;
        assert_eq!(float.float(&walk(), 0).to_bits(), half.to_bits());
        // Most of the slabs are idle now.
        reclaim();
        assert_eq!(walk().first(integer.at()), count);
        assert_eq!(float.float(&walk(), 0).to_bits(), half.to_bits());
    }

    #[test]
    fn threads_that_end_leave_what_they_counted() {
        let block = Block::new(PAIR);
        for n in 1..=20 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    block.add(0, 1);
                    block.add_float(1, 0.25);
                });
            });
            if n % 3 == 0 {
                reclaim();
            }
            assert_eq!(read(&block), (n, f64::from(u32::try_from(n).unwrap()) * 0.25));
        }
    }

    #[test]
    fn destructors_of_thread_locals_may_count() {
        struct Late(std::sync::Arc<Block>);
        impl Drop for Late {
            fn drop(&mut self) {
                self.0.add(0, 1);
                self.0.add_float(1, 0.5);
            }
        }
        thread_local! {
            static BEFORE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
            static AFTER: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
        }
        let block = std::sync::Arc::new(Block::new(PAIR));
        let counted = std::sync::Arc::clone(&block);
        let thread = std::thread::spawn(move || {
            let late = || Some(Late(std::sync::Arc::clone(&counted)));
            // One is registered before the thread's lease and one after it: one of them runs when it is gone.
            BEFORE.set(late());
            counted.add(0, 1);
            AFTER.set(late());
        });
        thread.join().unwrap(); // unlike the end of a scope, waits for the destructors
        assert_eq!(read(&block), (3, 1.0));
    }

    #[test]
    fn a_place_that_is_used_again_is_zero() {
        for _ in 0..3 {
            let blocks: Vec<_> = (0..600).map(|_| Block::new(PAIR)).collect();
            assert!(blocks.iter().all(|block| read(block) == (0, 0.0)));
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for block in &blocks {
                            block.record(0, 3.0);
                        }
                    });
                }
            });
            reclaim();
            assert!(blocks.iter().all(|block| read(block) == (2, 6.0)));
        }
    }

    #[test]
    fn blocks_of_all_sizes_fit_and_do_not_overlap() {
        let pool = Pool::new();
        let lease = pool.lease().unwrap();
        let shapes = [1, 3, 64, 66, 17, 512, 100].map(Shape::integers);
        let places: Vec<_> = (0..700).map(|n| pool.take(shapes[n % shapes.len()])).collect();
        for at in &places {
            for cell in lease.slab().get_or_make(*at) {
                assert_eq!(cell.fetch_add(1, std::sync::atomic::Ordering::Relaxed), 0);
            }
        }
        let readers = pool.read();
        assert_eq!(readers.slabs().count(), 2);
        assert!(format!("{pool:?} {lease:?}").contains("made: 1"));
    }

    #[test]
    fn a_number_that_is_not_there_is_a_panic_in_every_thread() {
        let block = Block::new(PAIR);
        let panics = |f: &(dyn Fn() + Sync)| {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            assert!(caught.is_err());
        };
        let adds: [&(dyn Fn() + Sync); 3] = [&|| block.add(2, 1), &|| block.add_float(2, 1.0), &|| {
            block.record(2, 1.0);
        }];
        for add in adds {
            // New to the pool, a thread adds in another way than later.
            std::thread::scope(|scope| _ = scope.spawn(|| panics(add)));
            block.add(0, 1);
            panics(add);
        }
        assert_eq!(read(&block), (3, 0.0));
    }

    /// Counts without a slab, and goes on when there is one; returns how often, or nothing if there was one at once.
    fn count(block: &Block, begun: &Barrier, freed: &Barrier) -> Option<u64> {
        block.record(0, 1.0);
        let had_one = has_own();
        begun.wait();
        freed.wait();
        if had_one {
            return None;
        }
        let mut counted = 1;
        while !has_own() {
            block.record(0, 1.0);
            counted += 1;
        }
        // It asks when it has been patient, not before, and gets one as soon as other tests leave one.
        assert_eq!(counted % (u64::from(PATIENCE) + 1), 1);
        assert!(counted > u64::from(PATIENCE));
        for _ in 0..10 {
            block.record(0, 1.0);
        }
        Some(counted + 10)
    }

    #[test]
    fn a_thread_without_a_slab_gets_one_later() {
        let block = Block::new(PAIR);
        let round = || {
            let before = walk().first(block.at());
            let (begun, freed) = (Barrier::new(2), Barrier::new(2));
            let counted = std::thread::scope(|scope| {
                let all: Vec<_> = std::iter::from_fn(|| POOL.lease()).collect();
                let thread = scope.spawn(|| count(&block, &begun, &freed));
                begun.wait();
                drop(all);
                freed.wait();
                thread.join().unwrap()
            })?;
            assert_eq!(walk().first(block.at()) - before, counted);
            Some(counted)
        };
        // A thread of another test may end while all others are leased, and leave its slab to ours: then again.
        assert!(
            std::iter::repeat_with(round)
                .take(1_000)
                .flatten()
                .next()
                .is_some()
        );
    }

    #[test]
    fn the_lowest_free_slot_is_leased() {
        let pool = Pool::new();
        let leases: Vec<_> = (0..SLOTS).map(|_| pool.lease().unwrap()).collect();
        assert!(pool.lease().is_none());
        let slab = std::ptr::from_ref(leases[3].slab());
        drop(leases);
        let again: Vec<_> = (0..4).map(|_| pool.lease().unwrap()).collect();
        assert!(std::ptr::eq(again[3].slab(), slab));
    }
}

/// `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-metrics --lib --release model`
#[cfg(cortex_loom)]
mod model {
    use loom::sync::Arc;
    use loom::thread;

    use crate::cells::Shape;
    use crate::cells::arena::At;
    use crate::cells::pool::Pool;
    use crate::cells::sync::Ordering;
    use crate::cells::thread::Cells;

    /// What a thread does: lease, write, end.
    fn count(pool: &Pool, at: At, times: u64) {
        match pool.lease() {
            Some(lease) => {
                for _ in 0..times {
                    Cells::Own(lease.slab().get_or_make(at)).add(0, 1);
                }
            }
            None => Cells::Shared(pool.shared().get_or_make(at)).add(0, times),
        }
    }

    fn read(pool: &Pool, at: At) -> u64 {
        let readers = pool.read();
        let cells = readers.slabs().filter_map(|slab| slab.get(&at));
        cells.map(|cells| cells[0].load(Ordering::Relaxed)).sum()
    }

    #[test]
    fn model_tenants_follow_each_other_and_a_reader_watches() {
        loom::model(|| {
            let pool = Arc::new(Pool::new());
            let at = pool.take(Shape::INTEGER);
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    let pool = Arc::clone(&pool);
                    thread::spawn(move || count(&pool, at, 1))
                })
                .collect();
            let first = read(&pool, at);
            let second = read(&pool, at);
            assert!(first <= second && second <= 2);
            for writer in writers {
                writer.join().unwrap();
            }
            assert_eq!(read(&pool, at), 2);
        });
    }

    #[test]
    fn model_more_threads_than_slots() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let pool = Arc::new(Pool::new());
            let at = pool.take(Shape::INTEGER);
            let writers: Vec<_> = (0..3)
                .map(|_| {
                    let pool = Arc::clone(&pool);
                    thread::spawn(move || count(&pool, at, 1))
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
            assert_eq!(read(&pool, at), 3);
        });
    }

    #[test]
    fn model_threads_without_a_slot_share() {
        loom::model(|| {
            let pool = Arc::new(Pool::new());
            let at = pool.take(Shape::sum_and(1));
            let add = move |pool: &Pool| {
                let cells = Cells::Shared(pool.shared().get_or_make(at));
                cells.add(0, 1);
                cells.add_float(1, 0.5);
            };
            let other = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || add(&pool))
            };
            add(&pool);
            other.join().unwrap();
            let sum = f64::from_bits(pool.shared().get(&at).unwrap()[1].load(Ordering::Relaxed));
            assert_eq!((read(&pool, at), sum.to_bits()), (2, 1.0_f64.to_bits()));
        });
    }

    #[test]
    fn model_reclaiming_while_a_thread_starts_and_another_reads() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let pool = Arc::new(Pool::new());
            let at = pool.take(Shape::INTEGER);
            count(&pool, at, 2); // and ends
            let writer = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || count(&pool, at, 1))
            };
            let reader = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    let first = read(&pool, at);
                    assert!(first >= 2 && first <= read(&pool, at));
                })
            };
            pool.reclaim();
            writer.join().unwrap();
            reader.join().unwrap();
            assert_eq!(read(&pool, at), 3);
        });
    }

    #[test]
    fn model_a_place_is_zero_for_its_next_owner() {
        loom::model(|| {
            let pool = Arc::new(Pool::new());
            let at = pool.take(Shape::INTEGER);
            let other = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    count(&pool, at, 1);
                    pool.give_back(Shape::INTEGER, at);
                })
            };
            other.join().unwrap();
            let next = pool.take(Shape::INTEGER);
            assert_eq!(next, at);
            let writer = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || count(&pool, next, 1))
            };
            count(&pool, next, 1);
            writer.join().unwrap();
            assert_eq!(read(&pool, next), 2);
        });
    }
}
