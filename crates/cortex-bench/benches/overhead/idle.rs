use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use cortex_bench::Series;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::stacks::{BODY, Stack};
use crate::{Failure, Measured};

/// The argument that makes this program one of the servers.
const SERVE: &str = "--serve";

const CONNECTIONS: usize = 10_000;

/// Those that come and go before anything is measured: what a server makes once is no connection's.
const FIRST: usize = 64;

/// What the servers' own files may be.
const OTHER_FILES: u64 = 200;

const PATIENCE: Duration = Duration::from_secs(30);

/// Serves, if this program was started for that, until nobody holds its input any more.
pub(crate) fn serve_if_asked() -> Option<Result<(), Failure>> {
    let mut arguments = env::args().skip(1);
    if arguments.next()? != SERVE {
        return None;
    }
    let name = arguments.next()?;
    let stack = Stack::ALL.into_iter().find(|stack| stack.name() == name)?;
    Some(serve(stack))
}

fn serve(stack: Stack) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let serving = stack.serve().await?;
        let mut output = io::stdout();
        writeln!(output, "{}", serving.address)?;
        output.flush()?;
        let (ended, end) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            let _ = io::stdin().read_to_end(&mut Vec::new()); // an error is an end, too
            let _ = ended.send(());
        });
        let _ = end.await; // an error says that the thread has ended
        Ok(())
    })
}

/// Measures the bytes that a server's memory grows by for each connection that has made a request and keeps open.
///
/// Each server is a process of its own: what one gives back, another would take.
pub(crate) fn measure(passes: usize, all: bool) -> Result<Measured, Failure> {
    let connections = if all { most()? } else { FIRST };
    let stacks = [Stack::Bare, Stack::Cortex];
    let mut measured: Measured = stacks.map(|stack| (stack, Series::default())).into();
    for _ in 0..passes {
        for (stack, series) in &mut measured {
            let grown = grown(*stack, connections);
            series.push(grown.map_err(|error| format!("the idle server {}: {error}", stack.name()))?);
        }
    }
    Ok(measured)
}

/// Takes as many files as the system gives, and returns how many connections both sides can hold with them.
#[expect(
    clippy::print_stderr,
    reason = "a figure of fewer connections is to be told from one of all"
)]
fn most() -> Result<usize, Failure> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    // The server leaves a fifth of them alone.
    let files = limit.maximum.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES) / 5 * 4;
    let most = usize::try_from(files).unwrap_or(usize::MAX);
    if most < CONNECTIONS {
        eprintln!(
            "idle connections: {} instead of {CONNECTIONS}, as no more files may be open; raise the hard limit of `ulimit -n`",
            most.max(FIRST)
        );
    }
    Ok(most.clamp(FIRST, CONNECTIONS))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn grown(stack: Stack, connections: usize) -> Result<f64, Failure> {
    let server = Server::start(stack)?;
    drop(server.connect(FIRST)?);
    let before = server.resident()?;
    let open = server.connect(connections)?;
    let grown = server.resident()?.saturating_sub(before);
    drop(open);
    Ok(grown as f64 / connections as f64)
}

/// A server in a process of its own, which ends when this is dropped.
struct Server {
    process: Child,
    input: Option<ChildStdin>,
    address: SocketAddr,
}

impl Server {
    fn start(stack: Stack) -> Result<Self, Failure> {
        let mut process = Command::new(env::current_exe()?)
            .args([SERVE, stack.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or("its output is piped")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self {
            process,
            input,
            address: line.trim().parse()?,
        })
    }

    /// Opens connections that make a request each and stay.
    fn connect(&self, connections: usize) -> Result<Vec<TcpStream>, Failure> {
        let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        let connect = || {
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = Vec::new();
            let mut buffer = [0; 1024];
            while !answer.ends_with(BODY.as_bytes()) {
                let read = stream.read(&mut buffer)?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                answer.extend_from_slice(&buffer[..read]);
            }
            Ok(stream)
        };
        let opened: io::Result<_> = (0..connections).map(|_| connect()).collect();
        Ok(opened?)
    }

    /// Returns the bytes of memory that the process holds.
    fn resident(&self) -> Result<u64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(kib.ok_or("it holds no memory")? << 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.input = None; // its end is what the server waits for
        let _ = self.process.wait(); // fails only if it is gone already
    }
}
