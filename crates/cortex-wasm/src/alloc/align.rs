/// A power of two that an address is a multiple of.
///
/// # Examples
///
/// ```
/// use cortex_wasm::Align;
///
/// assert_eq!(Align::of::<u64>().bytes(), 8);
/// assert!(Align::new(8).is_some_and(|eight| eight > Align::BYTE));
/// assert_eq!(Align::new(12), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Align(u32);

impl Align {
    /// Any address will do.
    pub const BYTE: Self = Self(1);
    /// What suits any number of a guest.
    pub const EIGHT: Self = Self(8);
    /// What suits any value of a guest, vectors among them.
    pub const SIXTEEN: Self = Self(16);

    /// Returns the one of so many bytes, if that is a power of two.
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// Returns the one of a type; a guest's own types may be aligned otherwise.
    pub fn of<T>() -> Self {
        u32::try_from(align_of::<T>()).map_or(Self(1 << 31), Self)
    }

    /// Returns it in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// Returns the next address from this one on.
    pub(crate) const fn up(self, address: u64) -> u64 {
        let mask = self.0 as u64 - 1;
        (address + mask) & !mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_address_is_the_least_multiple() {
        let sixteen = Align::new(16).unwrap();
        assert_eq!([0, 1, 16, 17].map(|at| sixteen.up(at)), [0, 16, 16, 32]);
        let most = Align::new(1 << 31).unwrap();
        assert_eq!(
            most.up(u64::from(u32::MAX)),
            1 << 32,
            "beyond any pointer, and no overflow"
        );
        assert_eq!(Align::BYTE.up(13), 13);
        assert_eq!(Align::new(0), None);
    }
}
