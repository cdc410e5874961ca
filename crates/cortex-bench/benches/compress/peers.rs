use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use cortex_bench::{Record, Tasks, catalogue, pin_current_thread};
use cortex_core::{Clock, SystemClock};

use crate::{Failure, SIZES, report};

/// The core that all servers share; the load has the other.
const CORE: usize = 0;

/// Builds the servers that live apart from the workspace, and returns their program.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/Cargo.toml");
    // This program is in `target/release/deps`.
    let here = env::current_exe()?;
    let target = here
        .ancestors()
        .nth(3)
        .ok_or("a bench lies in a target folder")?
        .join("peers");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--manifest-path",
            manifest,
        ])
        .arg("--target-dir")
        .arg(&target)
        .status()?;
    if !status.success() {
        return Err(format!("{manifest} does not build").into());
    }
    Ok(target.join("release/cortex-bench-peers"))
}

/// Has it compare ours with tower-http, each with its own codecs.
pub(crate) fn compare(program: &Path, record: Option<&Record>) -> Result<(), Failure> {
    let output = Command::new(program)
        .arg("compare")
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("the comparison ended with {}", output.status).into());
    }
    for line in String::from_utf8(output.stdout)?.lines() {
        let (id, value) = line.split_once(' ').ok_or("a line has a name and a value")?;
        report(record, id, value.parse()?)?;
    }
    Ok(())
}

/// A server in a process of its own, which ends when this is dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// That of all its codings, if not the default of each.
    pub(crate) level: Option<u8>,
    pub(crate) address: SocketAddr,
    process: Child,
    /// Ours end when nobody holds it any more.
    input: Option<ChildStdin>,
}

impl Server {
    /// Starts one of the program's servers, with its defaults or at this level.
    pub(crate) fn rust(program: &Path, name: &'static str, level: Option<u8>) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command
            .args(["serve", name])
            .args(level.map(|level| level.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = spawn(command, name)?;
        let output = process.stdout.take().ok_or("its output is piped")?;
        let input = process.stdin.take();
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse();
        Ok(Self {
            name,
            level,
            address: address.map_err(|_| format!("the server {name} did not say where it is: {line:?}"))?,
            process,
            input,
        })
    }

    /// Starts nginx with gzip at its default level, 1, and files from memory.
    pub(crate) fn nginx(folder: &Path) -> Result<Self, Failure> {
        let address = free()?;
        let at = folder.display();
        let config = format!(
            "daemon off; master_process off; worker_processes 1; pid {at}/nginx.pid; error_log stderr error;
            events {{ worker_connections 256; }}
            http {{
                access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 1h; types {{ application/json json; }}
                open_file_cache max=16; open_file_cache_valid 1h;
                gzip on; gzip_types application/json;
                client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3;
                uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;
                server {{ listen {address}; root {at}; }}
            }}"
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, config)?;
        let mut command = Command::new(find("nginx")?);
        command
            .arg("-c")
            .arg(&file)
            .args(["-e", "stderr", "-p"])
            .arg(folder);
        Self::elsewhere("nginx", address, command)
    }

    /// Starts Caddy with its default levels.
    pub(crate) fn caddy(folder: &Path) -> Result<Self, Failure> {
        let address = free()?;
        let config = format!(
            "{{
                admin off
                auto_https off
            }}
            http://{address} {{
                root * {}
                encode zstd gzip
                file_server
            }}
            ",
            folder.display()
        );
        let file = folder.join("Caddyfile");
        fs::write(&file, config)?;
        let mut command = Command::new(find("caddy")?);
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(&file);
        // What it wants to keep, it keeps here.
        command
            .env("HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder);
        command.stderr(Stdio::null());
        Self::elsewhere("caddy", address, command)
    }

    fn elsewhere(name: &'static str, address: SocketAddr, command: Command) -> Result<Self, Failure> {
        let process = spawn(command, name)?;
        let mut server = Self {
            name,
            level: None,
            address,
            process,
            input: None,
        };
        let give_up = SystemClock.now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.process.try_wait()? {
                return Err(format!("{name} ended at once, with {status}").into());
            }
            if SystemClock.now() > give_up {
                return Err(format!("{name} does not listen").into());
            }
            thread::yield_now();
        }
        Ok(server)
    }

    /// Returns the processor's time that it has used, once it rests.
    pub(crate) fn cpu_at_rest(&self) -> Result<Duration, Failure> {
        let spent = Tasks::of(self.process.id()).and_then(|tasks| tasks.cpu_at_rest());
        spent.map_err(|error| format!("failed to read the time of {}: {error}", self.name).into())
    }

    /// Returns the bytes of memory that it holds.
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.ok_or("it holds no memory")? << 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.input.take().is_none() {
            let _ = self.process.kill(); // fails only if it is gone already, as the next does
        }
        let _ = self.process.wait();
    }
}

/// Starts a process on the servers' core.
fn spawn(mut command: Command, name: &str) -> Result<Child, Failure> {
    let pinned = thread::spawn(move || {
        pin_current_thread(CORE)?;
        command.spawn()
    });
    let started = pinned.join().map_err(|_| "the thread panicked")?;
    started.map_err(|error| format!("failed to start {name}: {error}").into())
}

/// Finds a port that nobody has at the moment.
fn free() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Finds a program, also where only root looks.
fn find(program: &str) -> Result<PathBuf, Failure> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    found.ok_or_else(|| format!("{program} is not installed; `bash .ci/setup {program}` does it").into())
}

/// A folder with the bodies as files, which is removed when this is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = env::temp_dir().join(format!("cortex-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let folder = Self(folder);
        for (size, name) in SIZES {
            fs::write(folder.0.join(format!("{name}.json")), catalogue(size))?;
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // nothing can be done about it
    }
}
