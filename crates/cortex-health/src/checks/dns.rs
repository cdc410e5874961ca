use super::budget::reason;
use crate::check::Check;
use crate::outcome::Outcome;
use std::borrow::Cow;
use std::net::ToSocketAddrs;

/// Makes a check that looks up the addresses of a host name, as the system does.
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
    Check::blocking(name, move || look_up(&host))
}

fn look_up(host: &str) -> Outcome {
    match (host, 0).to_socket_addrs().map(|mut addresses| addresses.next()) {
        Ok(Some(_)) => Outcome::up(),
        Ok(None) => Outcome::down(format!("{host} has no address")),
        Err(error) => Outcome::down(format!("look up {host}: {}", reason(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;

    #[test]
    fn a_name_is_looked_up() {
        assert_eq!(look_up("localhost"), Outcome::up());
        assert_eq!(look_up("::1"), Outcome::up());
        // RFC 6761: this one exists nowhere.
        let none = look_up("nobody.invalid");
        assert_eq!(none.status(), Status::Down);
        assert!(
            none.message().unwrap().starts_with("look up nobody.invalid: "),
            "{none:?}"
        );
    }
}
