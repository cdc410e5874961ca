use super::slot::{PAGE, RESERVED, Slot};
use crate::error::Error;
use crate::quota::Resource;
use rustix::process::{self, Resource as Limited};
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The address space that a process has for itself on the machines that are in use: 47 bits.
const ADDRESSES: u64 = 1 << 47;

/// What the kernel allows of mappings if it doesn't say.
const MAPS: usize = 65_530;

/// The slots of a host: reserved once, used by one memory after another.
#[derive(Debug)]
pub(crate) struct Slots {
    most: usize,
    /// Up to here idle slots keep pages, all together and each.
    idle_bytes: usize,
    kept_bytes: usize,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    /// The last one was used last.
    idle: Vec<Slot>,
    idle_bytes: usize,
    used: usize,
}

/// How slots are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotUsage {
    /// So many are in use.
    pub(crate) used: usize,
    /// So many wait for a memory.
    pub(crate) idle: usize,
    /// So many bytes of those that wait may be resident.
    pub(crate) idle_bytes: usize,
    /// There can be so many.
    pub(crate) most: usize,
}

impl Slots {
    /// Allows so many slots, and no more than this process can have. Those that are idle keep pages of so many bytes
    /// together, and each of so many at most.
    pub(crate) fn new(most: usize, idle_bytes: usize, kept_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.min(Self::admissible()),
            idle_bytes,
            kept_bytes: kept_bytes / PAGE * PAGE,
            all: Mutex::default(),
        })
    }

    /// Returns how many memories this process can have: a third of the mappings that it may have, as each needs one to
    /// three of them, and as many as its address space has room for.
    pub(crate) fn admissible() -> usize {
        let maps = fs::read_to_string("/proc/sys/vm/max_map_count");
        let maps = maps
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(MAPS);
        let addresses = process::getrlimit(Limited::As).current.unwrap_or(u64::MAX);
        let slots = addresses.min(ADDRESSES) / RESERVED as u64;
        usize::try_from(slots).unwrap_or(usize::MAX).min(maps / 3)
    }

    /// Takes a slot, the one that was used last if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Quota`] if all are in use, [`Error::AddressSpace`] if no more can be reserved.
    pub(super) fn take(&self) -> Result<Slot, Error> {
        {
            let mut all = self.hold();
            if all.used >= self.most {
                return Err(self.refusal());
            }
            all.used += 1;
            if let Some(slot) = all.idle.pop() {
                all.idle_bytes -= slot.left_over();
                return Ok(slot);
            }
        }
        Slot::reserve().map_err(|error| {
            self.hold().used -= 1;
            Error::AddressSpace {
                bytes: RESERVED as u64,
                source: error.into(),
            }
        })
    }

    /// Takes back a slot that was cleared, or hears that it is gone.
    pub(super) fn give_back(&self, slot: Option<Slot>) {
        let Some(mut slot) = slot else {
            self.hold().used -= 1;
            return;
        };
        let granted = {
            let mut all = self.hold();
            let left = self.idle_bytes.saturating_sub(all.idle_bytes);
            let granted = slot.left_over().min(left / PAGE * PAGE);
            all.idle_bytes += granted;
            granted
        };
        slot.trim(granted);
        let mut all = self.hold();
        all.idle_bytes += slot.left_over() - granted;
        all.used -= 1;
        all.idle.push(slot);
    }

    /// Gives pages of idle slots back, half of them, those first that were used longest ago.
    ///
    /// Called now and then, this is how what a burst has left fades away.
    pub(crate) fn decay(&self) {
        let goal = self.hold().idle_bytes / 2;
        let mut at = 0;
        loop {
            let mut all = self.hold();
            let over = all.idle_bytes.saturating_sub(goal);
            // One slot at a time, so that nobody waits for all of them.
            let Some(slot) = all.idle.get_mut(at).filter(|_| over > 0) else {
                return;
            };
            let before = slot.left_over();
            slot.trim(before.saturating_sub(over) / PAGE * PAGE);
            let after = slot.left_over();
            all.idle_bytes -= before - after;
            at += 1;
        }
    }

    pub(crate) fn usage(&self) -> SlotUsage {
        let all = self.hold();
        SlotUsage {
            used: all.used,
            idle: all.idle.len(),
            idle_bytes: all.idle_bytes,
            most: self.most,
        }
    }

    /// Returns how many bytes a slot keeps for the memory that comes next.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    fn refusal(&self) -> Error {
        if self.most == 0 {
            let addresses = process::getrlimit(Limited::As).current;
            return Error::AddressSpace {
                bytes: RESERVED as u64,
                source: io::Error::other(match addresses {
                    Some(bytes) => format!("the address space is limited to {bytes} bytes"),
                    None => "no memory is allowed".to_owned(),
                }),
            };
        }
        Error::Quota {
            what: Resource::Slots,
            limit: self.most as u64,
            asked: self.most as u64 + 1,
        }
    }

    fn hold(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::testing::{Bench, Failure, Guest, is_alone};
    use rustix::process::Rlimit;
    use std::thread;
    use wasmer::Imports;

    fn bench(most: usize, idle_pages: usize, kept_pages: usize) -> Bench {
        Bench {
            slots: Slots::new(most, idle_pages * PAGE, kept_pages * PAGE),
            ..Bench::new()
        }
    }

    /// Makes a guest that has written to all of so many pages.
    fn guest(bench: &Bench, pages: usize) -> Guest {
        let mut guest = bench.guest(&format!("(module (memory {pages}))"));
        guest.made.memories[0].all_mut(&mut guest.store).fill(0x5e);
        guest
    }

    /// Returns how many slots are in use and idle, and how many pages the latter keep.
    fn usage(bench: &Bench) -> (usize, usize, usize) {
        let usage = bench.slots.usage();
        assert_eq!(usage.idle_bytes % PAGE, 0);
        (usage.used, usage.idle, usage.idle_bytes / PAGE)
    }

    #[test]
    fn the_number_is_bounded_by_who_asks_and_by_the_process() {
        let most = Slots::new(usize::MAX, 0, 0).usage().most;
        assert_eq!(most, Slots::admissible());
        assert!(
            most > 0 && most < 16_384,
            "47 bits have room for no more than {most}"
        );

        let bench = bench(2, 0, 0);
        let (first, _second) = (guest(&bench, 1), guest(&bench, 1));
        let third = bench.try_guest("(module (memory 1))", Imports::new());
        match third.err() {
            Some(Failure::Ours(error)) => {
                assert_eq!(
                    error.to_string(),
                    "use 3 memories of all instances where 2 are allowed"
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.account.live(), 2 << 16);
        drop(first);
        guest(&bench, 1);
        assert_eq!(usage(&bench), (1, 1, 0));
    }

    #[test]
    fn the_slot_that_was_used_last_is_used_next_and_shows_nothing_of_it() {
        let bench = bench(4, 100, 4);
        let (first, second) = (guest(&bench, 3), guest(&bench, 9));
        let base = |guest: &Guest| guest.bytes().as_ptr().addr();
        let (low, high) = (base(&first), base(&second));
        drop(second);
        drop(first);
        assert_eq!(usage(&bench), (0, 2, 3 + 4));
        let first = bench.guest("(module (memory 20))");
        assert_eq!((base(&first), usage(&bench)), (low, (1, 1, 4)));
        let second = bench.guest("(module (memory 20))");
        assert_eq!((base(&second), usage(&bench)), (high, (2, 0, 0)));
        for guest in [first, second] {
            assert!(guest.bytes().iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn idle_slots_keep_no_more_than_the_budget_and_less_with_time() {
        let bench = bench(4, 10, 6);
        let guests = [8, 3, 7].map(|pages| guest(&bench, pages));
        for (guest, kept) in guests.into_iter().zip([6, 9, 10]) {
            drop(guest);
            assert_eq!(usage(&bench).2, kept);
        }
        for kept in [5, 2, 1, 0, 0] {
            bench.slots.decay();
            assert_eq!(usage(&bench), (0, 3, kept));
        }
        let guests = [8, 8, 8].map(|pages| guest(&bench, pages));
        assert_eq!(usage(&bench), (3, 0, 0));
        drop(guests);
        assert_eq!(usage(&bench), (0, 3, 10));
    }

    #[test]
    fn what_is_idle_is_really_gone_from_memory() {
        if !is_alone("memory::slots::tests::what_is_idle_is_really_gone_from_memory") {
            return;
        }
        let resident = || {
            let statm = fs::read_to_string("/proc/self/statm").unwrap();
            let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
            pages * rustix::param::page_size()
        };
        let bench = bench(1, 1000, 1000);
        drop(guest(&bench, 1000));
        let before = resident();
        assert_eq!(usage(&bench).2, 1000);
        for _ in 0..10 {
            bench.slots.decay();
        }
        assert!(resident() + 900 * PAGE < before, "{before} {}", resident());
    }

    #[test]
    fn threads_that_use_them_at_once_see_zeros_and_leave_the_totals_right() {
        let bench = bench(3, 12, 8);
        thread::scope(|scope| {
            for thread in 0..4 {
                let bench = &bench;
                scope.spawn(move || {
                    for round in 0..12 {
                        let pages = (thread + round) % 9 + 1;
                        let text = format!("(module (memory {pages}))");
                        // One of the four may come too early.
                        let Ok(mut guest) = bench.try_guest(&text, Imports::new()) else {
                            continue;
                        };
                        let all = guest.made.memories[0].all_mut(&mut guest.store);
                        assert!(all.iter().all(|&byte| byte == 0));
                        all.fill(0x5e);
                    }
                });
            }
        });
        let (used, idle, pages) = usage(&bench);
        assert!(used == 0 && idle <= 3 && pages <= 12, "{used} {idle} {pages}");
        let kept: usize = bench.slots.hold().idle.iter().map(Slot::left_over).sum();
        assert_eq!(kept, pages * PAGE);
        assert_eq!(bench.account.live(), 0);
    }

    /// Runs in a process of its own, as the limit would hold for all tests.
    #[test]
    fn a_limited_address_space_is_an_error_that_says_so() {
        if !is_alone("memory::slots::tests::a_limited_address_space_is_an_error_that_says_so") {
            return;
        }
        let error = |slots: &Slots| {
            let error = slots.take().unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            (error.to_string(), source)
        };
        let slots = Slots::new(4, 0, 0);
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
        // With a sanitizer that is much already.
        let limit = pages * rustix::param::page_size() as u64 + (6 << 30);
        let current = Some(limit);
        process::setrlimit(
            Limited::As,
            Rlimit {
                current,
                maximum: current,
            },
        )
        .unwrap();
        let says = "reserve 8590000128 bytes of address space for a memory";
        let (text, source) = error(&slots);
        assert_eq!(text, says);
        assert!(source.contains("memory"), "{source}");
        assert_eq!(slots.usage().used, 0);
        let (text, source) = error(&Slots::new(4, 0, 0));
        assert_eq!(text, says);
        if limit < RESERVED as u64 {
            assert_eq!(source, format!("the address space is limited to {limit} bytes"));
        }
    }
}
