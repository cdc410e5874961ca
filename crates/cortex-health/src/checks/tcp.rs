use super::budget::{Budget, reason};
use crate::check::Check;
use crate::outcome::Outcome;
use std::borrow::Cow;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};

/// The most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 8;

/// Makes a check that connects to `host:port` and closes the connection again.
///
/// It says that something accepts, not that it works: prefer [`http`](super::http), or a query by
/// [`Check::from_fn`]. The addresses of a name are tried one after the other, each with its share of the time.
///
/// # Examples
///
/// ```
/// use cortex_health::{Health, checks};
/// use std::time::Duration;
///
/// let smtp = checks::tcp("smtp", "mail.internal:25").degrades().every(Duration::from_secs(30));
/// assert!(Health::builder().check(smtp).build().is_ok());
/// ```
pub fn tcp(name: impl Into<Cow<'static, str>>, addr: impl Into<String>) -> Check {
    let addr = addr.into();
    Check::blocking(name, move || match connect(&addr, Budget::of_run()) {
        Ok(_) => Outcome::up(),
        Err(error) => Outcome::down(format!("connect to {addr}: {}", reason(&error))),
    })
}

/// Connects to the first address of a name that accepts.
pub(super) fn connect(addr: impl ToSocketAddrs, budget: Budget) -> io::Result<TcpStream> {
    let addresses: Vec<_> = addr.to_socket_addrs()?.take(MOST_ADDRESSES).collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        // One that swallows packets must not use up the time of the others.
        let share = budget.left()? / u32::try_from(left).unwrap_or(1);
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
