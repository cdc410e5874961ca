use super::linear::LinearHandle;
use super::pod::Pod;
use crate::error::Error;
use std::ops::Range;
use wasmer::{AsStoreMut, AsStoreRef};
use zerocopy::IntoBytes;

/// Typed access. Pointers and lengths come from guests, so that each use is checked, once.
impl LinearHandle {
    /// Returns how many bytes the memory has.
    pub(crate) fn len(&self, store: &impl AsStoreRef) -> u64 {
        self.all(store).len() as u64
    }

    /// Lends bytes.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`] if not all of them are in the memory, as in all methods here.
    pub(crate) fn bytes<'a>(
        &self,
        store: &'a impl AsStoreRef,
        pointer: u32,
        length: u32,
    ) -> Result<&'a [u8], Error> {
        let all = self.all(store);
        let found = all.get(range(pointer, length as usize));
        found.ok_or_else(|| outside(pointer, length as usize, all.len()))
    }

    /// Lends bytes to be written.
    pub(crate) fn bytes_mut<'a>(
        &self,
        store: &'a mut impl AsStoreMut,
        pointer: u32,
        length: u32,
    ) -> Result<&'a mut [u8], Error> {
        part_mut(self.all_mut(store), pointer, length as usize)
    }

    /// Lends bytes that are text.
    ///
    /// # Errors
    ///
    /// [`Error::NotText`] if they aren't.
    pub(crate) fn text<'a>(
        &self,
        store: &'a impl AsStoreRef,
        pointer: u32,
        length: u32,
    ) -> Result<&'a str, Error> {
        let bytes = self.bytes(store, pointer, length)?;
        str::from_utf8(bytes).map_err(|source| Error::NotText {
            pointer,
            length,
            source,
        })
    }

    /// Reads a value, which need not be aligned.
    pub(crate) fn read<T: Pod>(&self, store: &impl AsStoreRef, pointer: u32) -> Result<T, Error> {
        let all = self.all(store);
        let found = all.get(range(pointer, size_of::<T>()));
        let value = found.and_then(|bytes| T::read_from_bytes(bytes).ok());
        value.ok_or_else(|| outside(pointer, size_of::<T>(), all.len()))
    }

    /// Writes a value, which need not be aligned.
    pub(crate) fn write<T: Pod>(
        &self,
        store: &mut impl AsStoreMut,
        pointer: u32,
        value: T,
    ) -> Result<(), Error> {
        self.copy_in(store, pointer, &[value])
    }

    /// Reads so many values, one behind the other.
    ///
    /// Nothing is allocated unless all of them are in the memory.
    pub(crate) fn values<T: Pod>(
        &self,
        store: &impl AsStoreRef,
        pointer: u32,
        count: u32,
    ) -> Result<Vec<T>, Error> {
        let all = self.all(store);
        let length = size_of::<T>().saturating_mul(count as usize);
        let Some(found) = all.get(range(pointer, length)) else {
            return Err(outside(pointer, length, all.len()));
        };
        // Values of no size take no memory: the only way that this fails is a count beyond all of it.
        let mut values =
            T::new_vec_zeroed(count as usize).map_err(|_| outside(pointer, length, all.len()))?;
        values.as_mut_bytes().copy_from_slice(found);
        Ok(values)
    }

    /// Copies values of the host into the memory.
    pub(crate) fn copy_in<T: Pod>(
        &self,
        store: &mut impl AsStoreMut,
        pointer: u32,
        values: &[T],
    ) -> Result<(), Error> {
        let bytes = values.as_bytes();
        part_mut(self.all_mut(store), pointer, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Copies values out of the memory.
    pub(crate) fn copy_out<T: Pod>(
        &self,
        store: &impl AsStoreRef,
        pointer: u32,
        values: &mut [T],
    ) -> Result<(), Error> {
        let all = self.all(store);
        let values = values.as_mut_bytes();
        let Some(found) = all.get(range(pointer, values.len())) else {
            return Err(outside(pointer, values.len(), all.len()));
        };
        values.copy_from_slice(found);
        Ok(())
    }
}

fn part_mut(all: &mut [u8], pointer: u32, length: usize) -> Result<&mut [u8], Error> {
    let memory = all.len();
    all.get_mut(range(pointer, length))
        .ok_or_else(|| outside(pointer, length, memory))
}

/// Returns where these bytes would be. It may be that no memory reaches as far.
fn range(pointer: u32, length: usize) -> Range<usize> {
    let start = pointer as usize;
    start..start.saturating_add(length)
}

#[cold]
fn outside(pointer: u32, length: usize, memory: usize) -> Error {
    Error::OutOfBounds {
        pointer,
        length: length as u64,
        memory: memory as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::testing::{Bench, Guest};
    use proptest::prelude::*;
    use zerocopy::{FromBytes, Immutable};

    #[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable)]
    #[repr(C)]
    struct Record {
        id: u64,
        weight: f32,
        flags: [u8; 4],
    }

    fn guest() -> Guest {
        Bench::new().guest("(module (memory 1))")
    }

    #[test]
    fn values_are_written_and_read_wherever_they_lie() {
        let mut guest = guest();
        let memory = &guest.made.memories[0];
        let record = Record {
            id: 0x0102_0304_0506_0708,
            weight: 1.5,
            flags: *b"abcd",
        };
        for at in [0, 1, 3, 65_536 - 16] {
            memory.write(&mut guest.store, at, record).unwrap();
            assert_eq!(memory.read::<Record>(&guest.store, at).unwrap(), record);
            assert_eq!(
                memory.read::<u8>(&guest.store, at).unwrap(),
                8,
                "the lowest byte is first"
            );
            assert_eq!(
                memory.read::<[u16; 2]>(&guest.store, at).unwrap(),
                [0x0708, 0x0506]
            );
        }
        memory.copy_in(&mut guest.store, 101, &[record; 3]).unwrap();
        assert_eq!(
            memory.values::<Record>(&guest.store, 101, 3).unwrap(),
            [record; 3]
        );
        let mut out = [0_u64; 2];
        memory.copy_out(&guest.store, 101 + 16, &mut out).unwrap();
        assert_eq!(out[0], record.id);
        memory
            .bytes_mut(&mut guest.store, 5, 3)
            .unwrap()
            .copy_from_slice(b"xyz");
        assert_eq!(memory.bytes(&guest.store, 5, 3).unwrap(), b"xyz");
    }

    #[test]
    fn text_is_text_or_an_error_that_says_where() {
        let mut guest = guest();
        let memory = &guest.made.memories[0];
        memory
            .copy_in(&mut guest.store, 8, "gr\u{fc}n".as_bytes())
            .unwrap();
        assert_eq!(memory.text(&guest.store, 8, 5).unwrap(), "gr\u{fc}n");
        assert_eq!(memory.text(&guest.store, 0, 0).unwrap(), "");
        let error = memory.text(&guest.store, 8, 3).unwrap_err();
        assert_eq!(error.to_string(), "read 3 bytes at 8 as text");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("incomplete utf-8"), "{source}");
    }

    #[test]
    fn what_is_outside_is_refused_with_all_that_is_known_of_it() {
        let mut guest = guest();
        let memory = &guest.made.memories[0];
        let error = memory.bytes(&guest.store, 65_530, 7).unwrap_err();
        assert_eq!(error.to_string(), "use 7 bytes at 65530 of a memory of 65536");
        let error = memory
            .values::<Record>(&guest.store, u32::MAX, u32::MAX)
            .unwrap_err();
        assert!(
            matches!(
                error,
                Error::OutOfBounds {
                    pointer: u32::MAX,
                    length: 68_719_476_720,
                    memory: 65_536
                }
            ),
            "{error:?}"
        );
        memory.read::<u64>(&guest.store, 65_529).unwrap_err();
        memory.text(&guest.store, 65_536, 1).unwrap_err();
        memory.copy_out(&guest.store, 65_533, &mut [0_u32]).unwrap_err();
        memory.write(&mut guest.store, 65_535, 0xffff_u16).unwrap_err();
        assert_eq!(guest.bytes()[65_535], 0, "no part of it is written");
        assert_eq!(memory_of_none(&mut guest), (0, 0));
    }

    /// At the end there is nothing, which can be lent.
    fn memory_of_none(guest: &mut Guest) -> (usize, usize) {
        let memory = &guest.made.memories[0];
        let read = memory.bytes(&guest.store, 65_536, 0).expect("nothing").len();
        memory.bytes(&guest.store, 65_537, 0).expect_err("beyond the end");
        (
            read,
            memory
                .bytes_mut(&mut guest.store, 65_536, 0)
                .expect("nothing")
                .len(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// A range is lent if and only if a sum without overflow says that it is inside, and it is the bytes of it.
        #[test]
        fn bounds_are_those_of_arithmetic(
            pointer in prop_oneof![any::<u32>(), 65_500_u32..65_600, 0_u32..100],
            length in prop_oneof![any::<u32>(), 0_u32..100, Just(u32::MAX)],
        ) {
            let mut guest = guest();
            for (at, byte) in guest.made.memories[0].all_mut(&mut guest.store).iter_mut().enumerate() {
                *byte = at.to_le_bytes()[0];
            }
            let end = u64::from(pointer) + u64::from(length);
            let memory = &guest.made.memories[0];
            let lent = memory.bytes(&guest.store, pointer, length);
            prop_assert_eq!(lent.is_ok(), end <= 65_536);
            if let Ok(bytes) = lent {
                prop_assert_eq!(bytes.len(), length as usize);
                prop_assert!(bytes.iter().zip(pointer..).all(|(byte, at)| *byte == at.to_le_bytes()[0]));
            }
            prop_assert_eq!(memory.bytes_mut(&mut guest.store, pointer, length).is_ok(), end <= 65_536);
            prop_assert_eq!(memory.values::<u8>(&guest.store, pointer, length).is_ok(), end <= 65_536);
            let end = u64::from(pointer) + 8;
            prop_assert_eq!(memory.read::<u64>(&guest.store, pointer).is_ok(), end <= 65_536);
        }
    }
}
