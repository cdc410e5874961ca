use super::budget::{Budget, reason};
use crate::check::Check;
use crate::outcome::Outcome;
use std::borrow::Cow;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};

/// The most addresses of a name that are tried.
const MOST_ADDRESSES: usize = 8;

/// Makes a check that connects to `host:port` and closes the connection again.
///
/// It reports which address accepted. That something accepts does not say that it works: prefer [`http`](super::http), or
/// a query by [`Check::from_fn`]. The addresses of a name are tried one after the other, each with its share of the time.
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
        Ok((_, address)) => Outcome::up().detail("address", address),
        Err(error) => Outcome::down(format!("connect to {addr}: {}", reason(&error))),
    })
}

/// Connects to the first address of a name that accepts, and returns which it was.
pub(super) fn connect(addr: impl ToSocketAddrs, budget: Budget) -> io::Result<(TcpStream, SocketAddr)> {
    let addresses: Vec<_> = addr.to_socket_addrs()?.take(MOST_ADDRESSES).collect();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        // One that swallows packets must not use up the time of the others.
        let share = budget.left()? / u32::try_from(left).unwrap_or(1);
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    /// A name and what a resolver says of it.
    struct Name(Result<Vec<SocketAddr>, &'static str>);

    impl ToSocketAddrs for Name {
        type Iter = std::vec::IntoIter<SocketAddr>;

        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            match &self.0 {
                Ok(addresses) => Ok(addresses.clone().into_iter()),
                Err(error) => Err(io::Error::other(*error)),
            }
        }
    }

    fn connect_to(found: Result<Vec<SocketAddr>, &'static str>) -> Result<SocketAddr, String> {
        match connect(Name(found), Budget::of(Duration::from_secs(5))) {
            Ok((_, address)) => Ok(address),
            Err(error) => Err(reason(&error)),
        }
    }

    #[test]
    fn the_first_address_that_accepts_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accepts = listener.local_addr().unwrap();
        let refuses = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // closed again
        assert_eq!(connect_to(Ok(vec![refuses, accepts])), Ok(accepts));
        let message = connect_to(Ok(vec![refuses])).unwrap_err();
        assert!(message.starts_with("Connection refused"), "{message}");
        let many = [vec![refuses; MOST_ADDRESSES], vec![accepts]].concat();
        assert!(connect_to(Ok(many)).is_err(), "so many are not tried");
    }

    #[test]
    fn a_name_without_an_address_is_an_error() {
        assert_eq!(
            connect_to(Ok(Vec::new())),
            Err("the name has no address".to_owned())
        );
        assert_eq!(connect_to(Err("no such name")), Err("no such name".to_owned()));
    }
}
