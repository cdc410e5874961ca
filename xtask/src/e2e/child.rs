use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, TempDir};

use super::wait::until;

/// A process of a scenario, with a folder of its own. It ends, if it has not yet, when this is dropped.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    process: std::process::Child,
    folder: TempDir,
}

/// How a process ended and what it said.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Child {
    /// Starts what `command` makes of a new folder; what it prints goes to files there.
    pub(super) fn start(name: &'static str, command: impl FnOnce(&Path) -> Result<Command>) -> Result<Self> {
        let folder = Shell::new()?.create_temp_dir()?;
        let mut command = command(folder.path())?;
        let file = |name| File::create(folder.path().join(name));
        let process = command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(file("stdout")?)
            .stderr(file("stderr")?)
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        Ok(Self {
            name,
            process,
            folder,
        })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn stderr(&self) -> Result<String> {
        Ok(fs::read_to_string(self.file("stderr"))?)
    }

    /// Starts an example of ours that says, in its one line, where it listens.
    pub(super) fn listening(name: &'static str, program: &Path) -> Result<(Self, SocketAddr)> {
        let mut child = Self::start(name, |_| Ok(Command::new(program)))?;
        let addr = child.ready("its address", |child| {
            let said = fs::read_to_string(child.file("stdout"))?;
            Ok(said.strip_suffix('\n').map(str::parse).transpose()?)
        })?;
        Ok((child, addr))
    }

    /// Waits until `ask` answers; a process that ends before that fails at once.
    pub(super) fn ready<T>(
        &mut self,
        what: &str,
        mut ask: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let limit = Duration::from_secs(20);
        let name = self.name;
        let ready = until(limit, what, || match (ask(self), self.process.try_wait()?) {
            (Ok(Some(answer)), _) => Ok(Some(Some(answer))),
            (_, Some(_)) => Ok(Some(None)),
            (answer, None) => answer.map(|_| None),
        });
        ready?.with_context(|| format!("{name} ended before {what}: {}", self.said()))
    }

    /// Asks the process to end, as an orchestrator does.
    pub(super) fn terminate(&self) -> Result<()> {
        self.signal("TERM")
    }

    /// Sends a signal of this name: `STOP`.
    pub(super) fn signal(&self, signal: &str) -> Result<()> {
        let process = self.process.id().to_string();
        let status = Command::new("sh")
            .args(["-c", "kill -\"$0\" \"$1\"", signal, &process])
            .status()?;
        ensure!(status.success(), "failed to send SIG{signal} to {}", self.name);
        Ok(())
    }

    /// Returns the bytes of memory that it holds: its own and the files' that it has mapped.
    pub(super) fn resident(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    /// Returns the most bytes of memory that it ever held.
    pub(super) fn peak(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let file = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.with_context(|| format!("{} holds no memory: {}", self.name, self.said()))? << 10)
    }

    /// Returns the processor's time that it has used, in the kernel's ticks.
    pub(super) fn cpu_ticks(&self) -> Result<u64> {
        let file = format!("/proc/{}/stat", self.process.id());
        let stat = fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?;
        ticks(&stat).with_context(|| format!("{file} has no times: {stat}"))
    }

    /// Waits for the end, at most for `limit`.
    pub(super) fn end(mut self, limit: Duration) -> Result<Ended> {
        let what = format!("the end of {}", self.name);
        let status = until(limit, &what, || Ok(self.process.try_wait()?)).with_context(|| self.said())?;
        Ok(Ended {
            status,
            stdout: fs::read_to_string(self.file("stdout"))?,
            stderr: self.stderr()?,
        })
    }

    /// Returns the last lines of what the process printed.
    pub(super) fn said(&self) -> String {
        let read = |name| fs::read_to_string(self.file(name)).unwrap_or_default();
        tail(&(read("stdout") + &read("stderr")), 20)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads the times in user and kernel mode. The name before them stands in parentheses and may hold any character.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start("the shell", |_| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Ok(command)
        })
        .unwrap()
    }

    #[test]
    fn keeps_what_was_said_and_the_code() {
        let ended = shell("echo out; echo err >&2; exit 3")
            .end(Duration::from_secs(20))
            .unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!((&*ended.stdout, &*ended.stderr), ("out\n", "err\n"));
    }

    #[test]
    fn a_signal_ends_it_and_so_does_a_drop() {
        let child = shell("trap 'exit 7' TERM; echo ready; while :; do :; done");
        until(Duration::from_secs(20), "the trap", || {
            Ok(fs::read_to_string(child.file("stdout"))?
                .contains("ready")
                .then_some(()))
        })
        .unwrap();
        child.terminate().unwrap();
        assert_eq!(child.end(Duration::from_secs(20)).unwrap().status.code(), Some(7));

        let child = shell("while :; do :; done");
        let process = PathBuf::from(format!("/proc/{}", child.process.id()));
        assert!(process.exists() || cfg!(not(target_os = "linux")));
        assert!(child.resident().is_ok_and(|bytes| bytes > 0) || cfg!(not(target_os = "linux")));
        assert!(child.peak().is_ok_and(|bytes| bytes > 0) || cfg!(not(target_os = "linux")));
        drop(child);
        assert!(!process.exists());
    }

    #[test]
    fn waiting_for_what_has_ended_fails_at_once() {
        let mut child = shell("echo no such file >&2; exit 1");
        let error = child
            .ready::<()>("its file", |_| Ok(None))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "the shell ended before its file: no such file");
    }

    #[test]
    fn reads_the_times() {
        let stat = "71 (a) b (R) S 1 71 71 0 -1 4194304 100 0 0 0 250 31 0 0 20 0 4 0 8200 0 0";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("71 (a) S 1"), None);
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
    }
}
