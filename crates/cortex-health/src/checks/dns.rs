use super::budget::reason;
use crate::check::Check;
use crate::outcome::Outcome;
use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};

/// Makes a check that looks up the addresses of a host name, as the system does, and reports the first 8.
///
/// The call to the system cannot be ended: a name server that does not answer keeps the thread of this check until the
/// system gives up, and the check is not run again before that.
///
/// # Examples
///
/// ```
/// use cortex_health::{Health, checks};
///
/// let names = checks::dns("dns", "db.internal").degrades();
/// assert!(Health::builder().check(names).build().is_ok());
/// ```
pub fn dns(name: impl Into<Cow<'static, str>>, host: impl Into<String>) -> Check {
    let host = host.into();
    Check::blocking(name, move || judge(&host, look_up(&host)))
}

/// The most addresses that are reported.
const MOST_SHOWN: usize = 8;

fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let found = (host, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

fn judge(host: &str, found: io::Result<Vec<IpAddr>>) -> Outcome {
    let mut addresses = match found {
        Ok(addresses) => addresses,
        Err(error) => return Outcome::down(format!("look up {host}: {}", reason(&error))),
    };
    if addresses.is_empty() {
        return Outcome::down(format!("{host} has no address"));
    }
    addresses.truncate(MOST_SHOWN);
    let shown: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    Outcome::up().detail("addresses", shown.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up() {
        let found = judge("localhost", look_up("localhost"));
        let (key, addresses) = found.details().next().expect("addresses");
        assert!(
            key == "addresses" && (addresses.contains("127.0.0.1") || addresses.contains("::1")),
            "{found:?}"
        );
        assert_eq!(
            judge("::1", look_up("::1")),
            Outcome::up().detail("addresses", "::1")
        );
    }

    // What a name server says is not asked for: another machine has another one, or none.
    #[test]
    fn a_name_without_an_address_is_down() {
        let message = |found| judge("nobody", found).message().map(str::to_owned);
        let unknown = io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(
            message(Err(unknown)).unwrap(),
            "look up nobody: failed to lookup address information: Name or service not known"
        );
        let late = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(message(Err(late)).unwrap(), "look up nobody: no answer in time");
        assert_eq!(message(Ok(Vec::new())).unwrap(), "nobody has no address");
    }

    #[test]
    fn a_long_answer_is_cut() {
        let many = vec![IpAddr::from([10, 0, 0, 1]); 100];
        let found = judge("many", Ok(many));
        let (_, addresses) = found.details().next().unwrap();
        assert_eq!(addresses.split(' ').count(), MOST_SHOWN);
    }
}
