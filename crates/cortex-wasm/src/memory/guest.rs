#![expect(
    unsafe_code,
    reason = "implements a trait of wasmer that has an unsafe method"
)]

use super::linear::Linear;
use crate::error::Error;
use std::ptr::NonNull;
use std::sync::Arc;
use wasmer::sys::vm::{LinearMemory, Trap, TrapCode, VMMemoryDefinition};
use wasmer::{MemoryError, MemoryStyle, MemoryType, Pages};

/// A memory of a guest as wasmer sees it. The store owns it.
#[derive(Debug)]
pub(super) struct GuestMemory(pub(super) Arc<Linear>);

// In each of these wasmer has the store: it owns this, and lends it to nobody else.
impl LinearMemory for GuestMemory {
    fn ty(&self) -> MemoryType {
        MemoryType {
            minimum: self.size(),
            ..self.0.declared()
        }
    }

    fn size(&self) -> Pages {
        // SAFETY: the store is held, see above.
        unsafe { self.0.pages() }
    }

    fn style(&self) -> MemoryStyle {
        MemoryStyle::Static
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        // SAFETY: the store is held alone, see above.
        unsafe { self.0.grow(delta) }.map_err(|_| MemoryError::CouldNotGrow {
            current: self.size(),
            attempted_delta: delta,
        })
    }

    fn grow_at_least(&mut self, min_size: u64) -> Result<(), MemoryError> {
        let current = self.size();
        let wanted = Pages::from_bytes_rounded_up(min_size).unwrap_or(Pages(u32::MAX));
        match wanted.0.checked_sub(current.0) {
            None | Some(0) => Ok(()),
            Some(delta) => self.grow(Pages(delta)).map(drop),
        }
    }

    fn reset(&mut self) -> Result<(), MemoryError> {
        // SAFETY: the store is held alone, see above.
        let cleared = unsafe { self.0.clear() };
        cleared.map_err(|error: Error| MemoryError::Generic(error.to_string()))
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.0.definition()
    }

    /// Refuses: two stores would use one memory at once.
    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, MemoryError> {
        Err(MemoryError::MemoryNotShared)
    }

    unsafe fn initialize_with_data(&self, start: usize, data: &[u8]) -> Result<(), Trap> {
        // SAFETY: the store is held, see above.
        let length = unsafe { self.0.length() };
        if start.checked_add(data.len()).is_none_or(|end| end > length) {
            return Err(Trap::lib(TrapCode::HeapAccessOutOfBounds));
        }
        // SAFETY: there are so many bytes, checked above; `data` is of the module, not of the memory.
        unsafe {
            let base = self.vmmemory().as_ref().base;
            base.add(start)
                .copy_from_nonoverlapping(data.as_ptr(), data.len());
        }
        Ok(())
    }

    /// Refuses, for the account would not know of it.
    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, MemoryError> {
        Err(MemoryError::MemoryNotShared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryUsage;
    use crate::memory::slot::PAGE;
    use crate::memory::testing::{Bench, is_alone};
    use crate::quota::Quota;
    use rustix::process::{self, Resource, Rlimit};
    use std::fs;
    use wasmer::Imports;

    const GUEST: &str = r#"(module
        (memory (export "memory") 1 10)
        (data (i32.const 65531) "DATA!")
        (data $passive "passive")
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "size") (result i32) memory.size)
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "far") (param i32) (result i32) (i32.load8_u offset=0xffffffff (local.get 0)))
        (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
        (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))
        (func (export "init") (param i32) (memory.init $passive (local.get 0) (i32.const 0) (i32.const 7))))"#;

    #[test]
    fn a_guest_grows_up_to_what_it_declared() {
        let bench = Bench::new();
        let mut guest = bench.guest(GUEST);
        assert_eq!(guest.call("grow", &[10]).unwrap(), -1);
        assert_eq!(guest.call("grow", &[0]).unwrap(), 1);
        assert_eq!(guest.call("grow", &[9]).unwrap(), 1);
        assert_eq!(guest.call("size", &[]).unwrap(), 10);
        assert_eq!(guest.call("grow", &[1]).unwrap(), -1);
        assert_eq!(guest.call("grow", &[-1]).unwrap(), -1);
        let usage = guest.memory().usage(&guest.store);
        let all = 10 << 16;
        assert_eq!(
            usage,
            MemoryUsage {
                live: all,
                high_water: all,
                refused: 3
            }
        );
        assert_eq!(
            (bench.account.live(), bench.account.refused()),
            (all, 0),
            "the type refused"
        );
        assert!(guest.bytes()[65_536..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_guest_is_told_when_its_quota_is_used_up_and_goes_on() {
        let bench = Bench::with(Quota::new().max_bytes(3 << 16));
        let mut guest = bench.guest(GUEST);
        assert_eq!(guest.call("grow", &[3]).unwrap(), -1);
        assert_eq!(guest.call("grow", &[2]).unwrap(), 1);
        assert_eq!(guest.call("grow", &[1]).unwrap(), -1);
        assert_eq!(guest.memory().usage(&guest.store).refused, 2);
        assert_eq!((bench.account.live(), bench.account.refused()), (3 << 16, 2));
        guest.call("store", &[3 * 65_536 - 4, 77]).unwrap();
        assert_eq!(guest.call("load", &[3 * 65_536 - 4]).unwrap(), 77);
    }

    #[test]
    fn all_memories_of_an_instance_have_one_quota() {
        let bench = Bench::with(Quota::new().max_bytes(4 << 16).max_memories(2));
        let mut guest = bench.guest(
            r#"(module (memory 1) (memory 1)
                (func (export "first") (result i32) (memory.grow 0 (i32.const 1)))
                (func (export "second") (result i32) (memory.grow 1 (i32.const 1))))"#,
        );
        assert_eq!(guest.call("first", &[]).unwrap(), 1);
        assert_eq!(guest.call("second", &[]).unwrap(), 1);
        assert_eq!(guest.call("second", &[]).unwrap(), -1);
        assert_eq!(guest.call("first", &[]).unwrap(), -1);
        let [first, second] = &guest.made.memories[..] else {
            panic!("two memories")
        };
        let refused = [first, second].map(|memory| memory.usage(&guest.store).refused);
        assert_eq!((refused, bench.account.refused()), ([1, 1], 2));
        drop(guest);
        assert_eq!(bench.used(), (0, 0));
    }

    #[test]
    fn it_ends_where_32_bits_end() {
        let bench = Bench::with(Quota::new().max_bytes(u64::MAX));
        let mut guest = bench.guest(&GUEST.replace("1 10)", "1)"));
        assert_eq!(guest.call("grow", &[65_536]).unwrap(), -1);
        assert_eq!(guest.call("grow", &[65_535]).unwrap(), 1);
        assert_eq!(guest.call("grow", &[1]).unwrap(), -1);
        guest.call("store", &[-4, 123]).unwrap();
        assert_eq!(guest.call("load", &[-4]).unwrap(), 123);
        assert_eq!(guest.memory().len(&guest.store), 1 << 32);
        assert!(guest.call("load", &[-3]).is_err(), "over the end by one");
        assert!(guest.call("far", &[-1]).is_err(), "as far as an address reaches");
    }

    #[test]
    fn who_reaches_beyond_the_end_traps_and_the_host_goes_on() {
        let mut guest = Bench::new().guest(GUEST);
        for at in [65_533, 65_536, 1 << 20, i32::MAX, -1] {
            let trap = guest.call("load", &[at]).unwrap_err().to_trap();
            assert_eq!(trap, Some(TrapCode::HeapAccessOutOfBounds), "{at}");
        }
        guest.call("fill", &[65_530, 1, 7]).unwrap_err();
        assert_eq!(guest.bytes()[65_530], 0, "nothing is written if not all can be");
        assert_eq!(
            guest.call("load", &[65_531]).unwrap(),
            i32::from_le_bytes(*b"DATA")
        );
    }

    #[test]
    fn segments_are_where_the_module_says_or_there_is_no_instance() {
        let mut guest = Bench::new().guest(GUEST);
        assert_eq!(&guest.bytes()[65_530..], b"\0DATA!");
        guest.call("init", &[100]).unwrap();
        assert_eq!(&guest.bytes()[99..108], b"\0passive\0");
        guest.call("init", &[65_530]).unwrap_err();
        let beyond = Bench::new();
        let beyond = beyond.try_guest(&GUEST.replace("65531", "65532"), Imports::new());
        assert!(beyond.is_err());
    }

    #[test]
    fn the_host_grows_it_by_the_same_rules() {
        let bench = Bench::with(Quota::new().max_bytes(5 << 16));
        let mut guest = bench.guest(GUEST);
        let memory = guest.instance.exports.get_memory("memory").unwrap().clone();
        assert_eq!(memory.grow(&mut guest.store, 1).unwrap(), Pages(1));
        memory.grow_at_least(&mut guest.store, 2 * 65_536 + 1).unwrap();
        memory.grow_at_least(&mut guest.store, 1).unwrap();
        assert_eq!(guest.call("size", &[]).unwrap(), 3);
        assert!(matches!(
            memory.grow_at_least(&mut guest.store, u64::MAX),
            Err(MemoryError::CouldNotGrow {
                current: Pages(3),
                ..
            })
        ));
        assert_eq!(guest.made.memories[0].grow(&mut guest.store, 1).unwrap(), 3);
        assert!(matches!(
            memory.grow(&mut guest.store, 2),
            Err(MemoryError::CouldNotGrow {
                current: Pages(4),
                attempted_delta: Pages(2)
            })
        ));
        let error = guest.made.memories[0].grow(&mut guest.store, 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "use 393216 bytes of memory where 327680 are allowed"
        );
        let error = guest.made.memories[0]
            .grow(&mut guest.store, u32::MAX)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "use 281474976907264 bytes of memory where 655360 are allowed"
        );
        assert_eq!(guest.memory().usage(&guest.store).refused, 4);
        assert_eq!((bench.account.live(), bench.account.refused()), (4 << 16, 2));
        assert_eq!(memory.ty(&guest.store).minimum, Pages(4));
    }

    /// Stock `Memory::reset` sets the length only, and a later growth returns what the last tenant has left.
    #[test]
    fn wasmers_own_reset_leaks_nothing() {
        let bench = Bench::new();
        let mut guest = bench.guest(GUEST);
        guest.call("grow", &[9]).unwrap();
        guest.call("fill", &[0, 0x5e, 10 * 65_536]).unwrap();
        let memory = guest.instance.exports.get_memory("memory").unwrap().clone();
        memory.reset(&mut guest.store).unwrap();
        assert_eq!((guest.bytes().len(), bench.account.live()), (0, 0));
        assert!(guest.call("load", &[0]).is_err());
        guest.call("grow", &[10]).unwrap();
        assert!(guest.bytes().iter().all(|&byte| byte == 0));
        assert_eq!(guest.bytes().len(), 10 << 16);
    }

    #[test]
    fn no_second_hand_gets_a_memory() {
        let guest = Bench::new().guest(GUEST);
        let memory = guest.instance.exports.get_memory("memory").unwrap().clone();
        assert!(memory.as_shared(&guest.store).is_none());
        assert!(memory.copy(&guest.store).is_err());
        let mut other = Bench::new().guest("(module)");
        assert!(memory.copy_to_store(&guest.store, &mut other.store).is_err());
    }

    #[test]
    fn a_handle_is_of_one_store() {
        let guest = Bench::new().guest(GUEST);
        let other = Bench::new().guest(GUEST);
        let wrong =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| guest.memory().len(&other.store)));
        let said = wrong.unwrap_err();
        assert_eq!(
            said.downcast_ref::<String>()
                .map(String::as_str)
                .map(|it| it.contains("wrong context")),
            Some(true)
        );
    }

    #[test]
    fn data_beyond_the_end_is_refused_whoever_asks() {
        let bench = Bench::new();
        let ty = MemoryType::new(1, None, false);
        // SAFETY: the memory defines itself, and nobody else has it.
        let linear = unsafe { Linear::new(ty, None, &bench.account, &bench.slots) }.unwrap();
        let memory = GuestMemory(linear);
        for (start, fits) in [
            (PAGE - 2, true),
            (PAGE - 1, false),
            (PAGE, false),
            (usize::MAX, false),
        ] {
            // SAFETY: as above.
            let done = unsafe { memory.initialize_with_data(start, b"ab") };
            assert_eq!(done.is_ok(), fits, "{start}");
        }
    }

    /// Runs in a process of its own, as the limit would hold for all tests.
    #[test]
    fn a_kernel_without_memory_refuses_and_nobody_pays_for_it() {
        if !is_alone("memory::guest::tests::a_kernel_without_memory_refuses_and_nobody_pays_for_it") {
            return;
        }
        let bench = Bench::with(Quota::new().max_bytes(8 << 30));
        let mut guest = bench.guest(&GUEST.replace("1 10)", "1)"));
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let data = status
            .lines()
            .find_map(|line| line.strip_prefix("VmData:"))
            .unwrap();
        let data: u64 = data.trim().trim_end_matches(" kB").parse().unwrap();
        // Room for the test to go on, and not for half of what the guest asks for.
        let current = Some((data << 10) + (1 << 30));
        process::setrlimit(
            Resource::Data,
            Rlimit {
                current,
                maximum: current,
            },
        )
        .unwrap();

        assert_eq!(guest.call("grow", &[2 << 14]).unwrap(), -1);
        let error = guest.made.memories[0]
            .grow(&mut guest.store, 2 << 14)
            .unwrap_err();
        assert_eq!(error.to_string(), "change the pages of a memory");
        assert!(std::error::Error::source(&error).is_some());
        assert_eq!(bench.used(), (1 << 16, 1));
        assert_eq!(guest.memory().usage(&guest.store).refused, 2);
        assert_eq!(guest.call("grow", &[3]).unwrap(), 1);
        assert!(guest.bytes()[1 << 16..].iter().all(|&byte| byte == 0));

        let ty = MemoryType::new(2 << 14, None, false);
        // SAFETY: the memory defines itself, and nobody else has it.
        let error = unsafe { Linear::new(ty, None, &bench.account, &bench.slots) }.unwrap_err();
        assert!(matches!(error, Error::Paging { .. }), "{error:?}");
        assert_eq!(bench.used(), (4 << 16, 1));
    }
}
