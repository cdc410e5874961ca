use crate::account::Account;
use std::fmt;
use std::sync::Arc;

/// Somebody for whom guests run, and whose guests together have so much memory at most.
///
/// Made by [`WasmHost::tenant`](crate::WasmHost::tenant); a clone is the same one.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Error, WasmHost};
///
/// let host = WasmHost::builder().build()?;
/// let wasm = wat::parse_str(r#"(module (memory 3))"#).unwrap();
/// let module = host.compile("three pages", &wasm)?;
/// let tenant = host.tenant(5 * 65_536);
/// let guest = host.instantiate_for(&module, &tenant)?;
/// assert_eq!(tenant.live_bytes(), 3 * 65_536);
/// assert!(matches!(host.instantiate_for(&module, &tenant), Err(Error::Quota { .. })));
/// drop(guest);
/// assert_eq!((tenant.live_bytes(), tenant.refused()), (0, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Tenant {
    pub(crate) account: Arc<Account>,
}

impl Tenant {
    /// Returns how many bytes of memory its guests have.
    pub fn live_bytes(&self) -> u64 {
        self.account.live()
    }

    /// Returns how many bytes they had at most.
    pub fn high_water_bytes(&self) -> u64 {
        self.account.high_water()
    }

    /// Returns how often they were refused more.
    pub fn refused(&self) -> u64 {
        self.account.refused()
    }

    /// Returns how many bytes they may have.
    pub fn max_bytes(&self) -> u64 {
        self.account.limit()
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenant")
            .field("live_bytes", &self.live_bytes())
            .field("max_bytes", &self.max_bytes())
            .finish_non_exhaustive()
    }
}
