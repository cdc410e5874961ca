use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::time::{sleep, timeout};

/// As many as tokio lets wait in the backlog of a TCP listener.
const BACKLOG: i32 = 1024;

/// The file of a Unix socket, which is removed when this is dropped: unless it is not ours any more.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode: another process may have taken the path over.
    id: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            id: id(path)?,
        })
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|found| found == self.id) {
            let _ = fs::remove_file(&self.path); // a directory that is gone, or read-only by now
        }
    }
}

/// Listens on a path. A socket file that nobody listens on is left over from a process that was killed, and replaced.
///
/// # Cancel safety
///
/// Dropping it while it waits for another process leaves everything as it was.
pub(crate) async fn bind(path: &Path, mode: Option<u32>) -> io::Result<(Socket, SocketFile)> {
    let _turn = turn(path).await;
    bind_now(path, mode)
}

/// How long to wait for others that open sockets in the same directory, which takes each of them less than a millisecond.
const TURN: Duration = Duration::from_secs(1);

/// Waits until no other process of ours opens a socket in this directory: between bind and listen its file looks like one
/// that nobody listens on. What is locked is the directory itself, so that no file for it stays behind.
///
/// Without the lock all is well unless two begin at once; so who holds it for long, or a file system that has none, does not
/// keep the server from starting.
async fn turn(path: &Path) -> Option<File> {
    let directory = match path.parent()? {
        here if here.as_os_str().is_empty() => Path::new("."),
        directory => directory,
    };
    let directory = File::open(directory).ok()?;
    let turn = async {
        loop {
            match directory.try_lock() {
                Ok(()) => return true,
                Err(TryLockError::WouldBlock) => sleep(TURN / 100).await,
                Err(TryLockError::Error(_)) => return false,
            }
        }
    };
    timeout(TURN, turn).await.unwrap_or_default().then_some(directory)
}

fn bind_now(path: &Path, mode: Option<u32>) -> io::Result<(Socket, SocketFile)> {
    let addr = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    match socket.bind(&addr) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path, &addr) => {
            fs::remove_file(path)?;
            socket.bind(&addr)?;
        }
        bound => bound?,
    }
    let file = SocketFile::of(path)?;
    if let Some(mode) = mode {
        // Before it listens: until then nobody can connect, whatever the umask allows.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket, file))
}

/// Says whether a path is a socket that nobody listens on. Any doubt is a no: what is not ours stays.
fn is_stale(path: &Path, addr: &SockAddr) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        && connect(addr).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Connects without waiting for who listens there: they may be busy, and their backlog full.
fn connect(addr: &SockAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(addr)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("cortex-http-unix-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn bound(path: &Path) -> Socket {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        socket
            .bind(&SockAddr::unix(path).expect("a short path"))
            .expect("it is free");
        socket
    }

    #[tokio::test]
    async fn who_listens_with_a_full_backlog_is_left_alone() {
        let directory = Directory::new("full");
        let path = directory.0.join("a.sock");
        let busy = bound(&path);
        busy.listen(0).unwrap();
        let addr = SockAddr::unix(&path).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            match client.connect(&addr) {
                Ok(()) => waiting.push(client),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let (tell, told) = std::sync::mpsc::channel();
        let trying = path.clone();
        let thread = std::thread::spawn(move || tell.send(bind_now(&trying, None).map(drop)));
        let told = told.recv_timeout(Duration::from_secs(20));
        drop((busy, waiting)); // whoever waits after all is let go
        thread.join().unwrap().unwrap();
        let error = told.expect("it does not wait").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[tokio::test]
    async fn who_is_about_to_listen_is_waited_for() {
        let directory = Directory::new("turn");
        let path = directory.0.join("a.sock");
        let turn = turn(&path).await.expect("nobody else is here");
        let other = bound(&path);
        let mut second = pin!(bind(&path, None));
        let waits = poll_fn(|cx| Poll::Ready(second.as_mut().poll(cx).is_pending())).await;
        assert!(waits);
        other.listen(1).unwrap();
        drop(turn);
        let error = second.await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        connect(&SockAddr::unix(&path).unwrap()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_the_directory_locked_keeps_nobody_from_listening() {
        let directory = Directory::new("locked");
        let path = directory.0.join("a.sock");
        let locked = File::open(&directory.0).unwrap();
        locked.lock().unwrap();
        let (_socket, _file) = bind(&path, None).await.unwrap();
        connect(&SockAddr::unix(&path).unwrap()).unwrap();
    }
}
