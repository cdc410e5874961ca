#![expect(
    unsafe_code,
    reason = "an inherited file descriptor is a bare number; `look` and `take` are the places that make it more"
)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use socket2::{Domain, SockRef, Type};

use crate::error::{Error, ErrorKind};

/// The first descriptor that a service manager passes (`SD_LISTEN_FDS_START`); the rest follows without a gap.
const FIRST: RawFd = 3;

/// More than any unit has, and few enough to list.
const MOST: RawFd = 1024;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Inherited {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Inherited {
    /// Takes over a descriptor, which must be a stream socket that listens.
    pub(crate) fn of(passed: OwnedFd) -> io::Result<Self> {
        let domain = listening(passed.as_fd())?;
        // A copy is closed on exec and the passed one is not: children must not keep the port open.
        let fd = passed.try_clone()?;
        drop(passed);
        SockRef::from(&fd).set_nonblocking(true)?;
        Ok(if domain == Domain::UNIX {
            Self::Unix(fd.into())
        } else {
            Self::Tcp(fd.into())
        })
    }
}

/// Returns the family of a stream socket of IP or Unix that listens; whatever else it is, it stays as it is.
fn listening(fd: BorrowedFd<'_>) -> io::Result<Domain> {
    let socket = SockRef::from(&fd);
    let kind = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, why);
    if socket.r#type()? != Type::STREAM || !socket.is_listener()? {
        return Err(kind("it is no stream socket that listens (Accept= must be no)"));
    }
    match socket.domain()? {
        domain @ (Domain::IPV4 | Domain::IPV6 | Domain::UNIX) => Ok(domain),
        _ => Err(kind("it is of another family than IP and Unix")),
    }
}

/// The descriptors that the service manager says it passed, by the protocol of `sd_listen_fds(3)`.
///
/// It reads `LISTEN_PID`, which must be this process, `LISTEN_FDS` and `LISTEN_FDNAMES`. All that bear the name are
/// returned, or all there are.
pub(crate) fn passed(
    name: Option<&str>,
    pid: u32,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Vec<RawFd>, Error> {
    let refused = |why: String| {
        let message = format!("take over the sockets of the service manager: {why}");
        Error::new(ErrorKind::Inherited, message, None)
    };
    let text = |key: &str| variable(key).map(|value| value.to_string_lossy().into_owned());
    let number = |key: &str| -> Result<u32, Error> {
        let value = text(key)
            .ok_or_else(|| refused(format!("{key} is not set; start the service by its .socket unit")))?;
        value
            .parse()
            .map_err(|_| refused(format!("{key} is {value:?}: expected a number")))
    };
    let meant = number("LISTEN_PID")?;
    if meant != pid {
        let why = format!(
            "they are for the process {meant} (LISTEN_PID), and this is {pid}; start it without a wrapper"
        );
        return Err(refused(why));
    }
    let count = number("LISTEN_FDS")?;
    let count = RawFd::try_from(count)
        .ok()
        .filter(|count| (1..=MOST).contains(count))
        .ok_or_else(|| refused(format!("LISTEN_FDS is {count}: expected 1 to {MOST}")))?;
    let all = FIRST..FIRST + count;
    let Some(name) = name else {
        return Ok(all.collect());
    };
    let names = text("LISTEN_FDNAMES").unwrap_or_default();
    let found: Vec<_> = all
        .zip(names.split(':'))
        .filter(|(_, other)| *other == name)
        .map(|(fd, _)| fd)
        .collect();
    if found.is_empty() {
        let why = format!("none is named {name:?}; the names (FileDescriptorName=) are {names:?}");
        return Err(refused(why));
    }
    Ok(found)
}

/// The descriptors that were taken: each can be owned once.
static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Takes over descriptors that [`passed`] found in the environment of this process.
pub(crate) fn take(fds: &[RawFd]) -> Result<Vec<Inherited>, Error> {
    let refused = |fd: &RawFd, why: io::Error| {
        let message = format!("take over the socket of the service manager with the descriptor {fd}");
        Error::new(ErrorKind::Inherited, message, Some(why))
    };
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(fd) = fds.iter().find(|fd| taken.contains(fd)) {
        let why = io::Error::new(io::ErrorKind::AlreadyExists, "it has been taken over before");
        return Err(refused(fd, why));
    }
    // All of them are looked at before one is touched: a number may be wrong, and be that of a file of somebody else here.
    for fd in fds {
        look(*fd).map_err(|error| refused(fd, error))?;
    }
    let take = |fd: &RawFd| {
        taken.push(*fd);
        // SAFETY: the service manager opened it for this process (`LISTEN_PID`), it is a socket that listens, and by the
        // protocol it belongs to whoever reads `LISTEN_FDS`; `TAKEN` sees to it that it becomes owned once.
        let owned = unsafe { OwnedFd::from_raw_fd(*fd) };
        Inherited::of(owned).map_err(|error| refused(fd, error))
    };
    fds.iter().map(take).collect()
}

/// Says what is wrong with a descriptor, without taking it over.
fn look(fd: RawFd) -> io::Result<()> {
    if fd < FIRST || !std::fs::exists(format!("/proc/self/fd/{fd}")).unwrap_or(true) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is closed"));
    }
    // SAFETY: it is open, and was before this program began, so that nothing here closes it; were it closed regardless, the
    // kernel would say so. It is asked for its options, no more.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    listening(fd).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_by(variables: &[(&str, &str)], name: Option<&str>) -> Result<Vec<RawFd>, String> {
        let variable = |key: &str| {
            let found = variables.iter().find(|(name, _)| *name == key);
            found.map(|(_, value)| OsString::from(value))
        };
        passed(name, 42, variable).map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Inherited);
            error.to_string()
        })
    }

    #[test]
    fn the_environment_says_which_sockets_are_ours() {
        let unit = [
            ("LISTEN_PID", "42"),
            ("LISTEN_FDS", "3"),
            ("LISTEN_FDNAMES", "http:https:http"),
        ];
        assert_eq!(passed_by(&unit, None), Ok(vec![3, 4, 5]));
        assert_eq!(passed_by(&unit, Some("http")), Ok(vec![3, 5]));
        assert_eq!(passed_by(&unit, Some("https")), Ok(vec![4]));
        let error = passed_by(&unit, Some("admin")).unwrap_err();
        assert!(
            error.contains("admin") && error.contains("http:https:http"),
            "{error}"
        );
        assert_eq!(passed_by(&unit[..2], None), Ok(vec![3, 4, 5]));
        assert!(passed_by(&unit[..2], Some("http")).is_err());
    }

    #[test]
    fn what_is_not_for_this_process_is_refused_with_the_reason() {
        for (pid, count, why) in [
            (None, Some("1"), "LISTEN_PID is not set"),
            (Some("42"), None, "LISTEN_FDS is not set"),
            (Some("41"), Some("1"), "for the process 41"),
            (Some("x"), Some("1"), "expected a number"),
            (Some("42"), Some("-1"), "expected a number"),
            (Some("42"), Some("0"), "expected 1 to 1024"),
            (Some("42"), Some("4000000000"), "expected 1 to 1024"),
        ] {
            let pid = pid.map(|pid| ("LISTEN_PID", pid));
            let count = count.map(|count| ("LISTEN_FDS", count));
            let variables: Vec<_> = pid.into_iter().chain(count).collect();
            let error = passed_by(&variables, None).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn only_sockets_that_listen_are_taken() {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = tcp.local_addr().unwrap();
        let connected = std::net::TcpStream::connect(addr).unwrap();
        let taken = Inherited::of(tcp.into()).unwrap();
        assert!(matches!(&taken, Inherited::Tcp(tcp) if tcp.local_addr().unwrap() == addr));
        let (_one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for wrong in [connected.into(), other.into(), udp.into(), file.into()] {
            assert!(Inherited::of(wrong).is_err());
        }
        assert!(take(&[RawFd::MAX]).unwrap_err().kind() == ErrorKind::Inherited);
    }

    #[test]
    fn what_is_wrong_is_neither_taken_nor_closed() {
        use std::io::Read as _;
        use std::os::fd::AsRawFd as _;

        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut file = std::fs::File::open("/proc/self/stat").unwrap();
        let error = take(&[listening.as_raw_fd(), file.as_raw_fd()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Inherited);
        assert!(
            error.to_string().contains(&file.as_raw_fd().to_string()),
            "{error}"
        );
        assert_eq!(file.read(&mut [0]).unwrap(), 1);
        let addr = listening.local_addr().unwrap();
        let _client = std::net::TcpStream::connect(addr).unwrap();
        listening.accept().unwrap(); // it still blocks, too
        let passed = std::os::fd::IntoRawFd::into_raw_fd(listening);
        assert_eq!(take(&[passed]).unwrap().len(), 1); // it was not marked as taken either
    }
}
