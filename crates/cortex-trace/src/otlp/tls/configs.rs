use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use super::credentials::Credentials;
use crate::otlp::error::OtlpError;
use crate::otlp::transport::BoxError;

/// How long a connection waits for files before it goes on with what was read of them earlier. A disk that works needs
/// milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// What handshakes go by, with what is in files by then. A disk that hangs holds up at most one thread.
pub(super) struct Configs {
    protocols: &'static [&'static [u8]],
    /// Never locked while anything is read.
    state: Mutex<State>,
}

struct State {
    credentials: Credentials,
    /// Made for the first connection, and again for the first one after a change.
    config: Option<Arc<ClientConfig>>,
    is_reading: bool,
}

impl Configs {
    pub(super) fn new(credentials: Credentials, protocols: &'static [&'static [u8]]) -> Self {
        let state = State {
            credentials,
            config: None,
            is_reading: false,
        };
        Self {
            protocols,
            state: Mutex::new(state),
        }
    }

    /// Reads files again, unless somebody is at it, and returns what to go by: what was known before, if they take long.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Arc<ClientConfig>, BoxError> {
        let Some(reading) = Reading::begin(self) else {
            let known = self.known();
            return known.ok_or_else(|| "the authorities of this machine are still being read".into());
        };
        // Before the other thread has it to itself.
        let known = self.known();
        // On a thread that nobody has to wait for.
        let read = tokio::task::spawn_blocking(move || reading.finish());
        let Some(known) = known else {
            return Ok(read.await??);
        };
        match timeout(PATIENCE, read).await {
            Ok(Ok(Ok(fresh))) => Ok(fresh),
            _ => Ok(known), // which may do all the same
        }
    }

    /// Returns what needs no disk.
    fn known(&self) -> Option<Arc<ClientConfig>> {
        let mut state = self.state();
        if state.config.is_none() && state.credentials.are_at_hand() {
            state.config = state.credentials.config(self.protocols).ok().map(Arc::new);
        }
        state.config.clone() // with the sessions that it can resume
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to read, of which there is one at a time.
struct Reading(Arc<Configs>);

impl Reading {
    fn begin(configs: &Arc<Configs>) -> Option<Self> {
        let mut state = configs.state();
        let is_free = !std::mem::replace(&mut state.is_reading, true);
        is_free.then(|| Self(Arc::clone(configs)))
    }

    fn finish(self) -> Result<Arc<ClientConfig>, OtlpError> {
        let (mut credentials, known) = {
            let state = self.0.state();
            (state.credentials.clone(), state.config.clone())
        };
        let has_changed = credentials.refresh();
        if let Some(config) = known.filter(|_| !has_changed) {
            return Ok(config);
        }
        let config = Arc::new(credentials.config(self.0.protocols)?);
        let mut state = self.0.state();
        state.credentials = credentials;
        state.config = Some(Arc::clone(&config));
        drop(state);
        Ok(config)
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.state().is_reading = false;
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::process::Command;

    use super::super::Pem;
    use super::*;

    /// A file in PEM whose disk can hang: then it is a pipe, which is read once somebody writes.
    struct Disk(PathBuf);

    impl Disk {
        fn new(name: &str) -> Self {
            let name = format!("cortex-trace-configs-{}-{name}", std::process::id());
            let disk = Self(std::env::temp_dir().join(name));
            fs::create_dir(&disk.0).expect("the directory is new");
            disk
        }

        fn path(&self) -> PathBuf {
            self.0.join("ca.pem")
        }

        fn hang(&self) {
            fs::remove_file(self.path()).expect("it is there");
            let made = Command::new("mkfifo").arg(self.path()).status();
            assert!(made.expect("POSIX has it").success());
        }

        /// Lets who reads go on with this; who comes later does not hang.
        async fn answer(&self, pem: String) {
            let path = self.path();
            let written = tokio::task::spawn_blocking(move || {
                let mut pipe = OpenOptions::new().write(true).open(&path)?; // once there is a reader
                fs::remove_file(&path)?;
                fs::write(&path, &pem)?;
                pipe.write_all(pem.as_bytes())
            });
            written.await.expect("no panic").expect("it is a pipe");
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            // Lets go of a reader that a failed test leaves behind, which would keep its runtime from ending.
            let pipe: Option<File> = OpenOptions::new().read(true).write(true).open(self.path()).ok();
            drop(pipe);
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn authority() -> String {
        let signed = rcgen::generate_simple_self_signed(["c".to_owned()]).expect("it is a name");
        signed.cert.pem()
    }

    fn trusting(disk: &Disk) -> Arc<Configs> {
        fs::write(disk.path(), authority()).expect("the directory is there");
        let mut credentials = Credentials::default();
        let pem = Pem::read(disk.path()).expect("it was just written");
        credentials.trust(pem).expect("it is a certificate");
        Arc::new(Configs::new(credentials, &[b"h2"]))
    }

    // Paused time stands still while a thread reads.
    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_keeps_nobody_from_going_on_with_what_is_known() {
        let disk = Disk::new("hangs");
        let configs = trusting(&disk);
        let known = configs.current().await.unwrap();
        disk.hang();
        let first = tokio::spawn({
            let configs = Arc::clone(&configs);
            async move { configs.current().await.map_err(|error| error.to_string()) }
        });
        while !configs.state().is_reading {
            tokio::task::yield_now().await;
        }
        // Others go on at once, and do not read.
        for _ in 0..3 {
            assert!(Arc::ptr_eq(&configs.current().await.unwrap(), &known));
        }
        assert!(!first.is_finished());
        tokio::time::advance(PATIENCE).await;
        assert!(Arc::ptr_eq(&first.await.unwrap().unwrap(), &known));
        assert!(configs.state().is_reading);

        // What is read at last is for those who come then.
        disk.answer(authority()).await;
        while configs.state().is_reading {
            tokio::task::yield_now().await;
        }
        let renewed = configs.current().await.unwrap();
        assert!(!Arc::ptr_eq(&renewed, &known));
        assert!(Arc::ptr_eq(&configs.current().await.unwrap(), &renewed));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_connection_goes_on_with_what_the_exporter_was_made_with() {
        let disk = Disk::new("first");
        let configs = trusting(&disk);
        disk.hang();
        let first = tokio::spawn({
            let configs = Arc::clone(&configs);
            async move { configs.current().await.map_err(|error| error.to_string()) }
        });
        while !configs.state().is_reading {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(PATIENCE).await;
        let known = first.await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&configs.current().await.unwrap(), &known));
        disk.answer(authority()).await;
    }

    #[tokio::test]
    async fn where_nothing_is_known_yet_somebody_who_reads_is_not_waited_for() {
        let configs = Arc::new(Configs::new(Credentials::default(), &[b"h2"]));
        let reading = Reading::begin(&configs).unwrap();
        let error = configs.current().await.unwrap_err();
        assert!(error.to_string().contains("still being read"), "{error}");
        drop(reading);
        assert!(Reading::begin(&configs).is_some());
    }
}
