use super::calls::Calls;
use super::guest_abi::GuestAbi;
use crate::Error;
use crate::alloc::align::Align;
use crate::alloc::extent::Extent;

/// Takes a block from a guest's allocator: returns where what was asked for begins, and all of what was taken.
///
/// The guest is not trusted: what it returns is in its memory and aligned as its ABI has it, or an error.
pub(crate) fn obtain(
    abi: &dyn GuestAbi,
    guest: &mut dyn Calls,
    length: u32,
    align: Align,
) -> Result<(u32, Extent), Error> {
    let kept = abi.alignment(align);
    let slack = if kept < align { align.bytes() - 1 } else { 0 };
    let asked = u64::from(length.max(1)) + u64::from(slack);
    let exhausted = Error::GuestOutOfMemory { asked };
    let Ok(size) = u32::try_from(asked) else {
        return Err(exhausted);
    };
    let origin = Extent::new(abi.alloc(guest, size, align)?, size);
    if origin.pointer == 0 {
        return Err(exhausted);
    }
    within(origin, guest)?;
    let start = align.up(origin.pointer.into());
    match u32::try_from(start) {
        Ok(pointer) if slack > 0 || pointer == origin.pointer => Ok((pointer, origin)),
        _ => Err(Error::Misaligned {
            pointer: origin.pointer,
            align: align.bytes(),
        }),
    }
}

/// Takes a block that the guest is to know by where it begins, so that there can be no slack before it.
pub(crate) fn begin(
    abi: &dyn GuestAbi,
    guest: &mut dyn Calls,
    length: u32,
    align: Align,
) -> Result<u32, Error> {
    let kept = abi.alignment(align);
    if kept < align {
        return Err(Error::Alignment {
            asked: align.bytes(),
            kept: kept.bytes(),
        });
    }
    obtain(abi, guest, length, align).map(|(pointer, _)| pointer)
}

/// Says whether a stretch is in a guest's memory.
pub(crate) fn within(extent: Extent, guest: &dyn Calls) -> Result<(), Error> {
    let memory = guest.memory_len();
    if extent.end() <= memory {
        return Ok(());
    }
    Err(Error::OutOfBounds {
        pointer: extent.pointer,
        length: extent.length.into(),
        memory,
    })
}
