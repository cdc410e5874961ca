use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use cortex_bench::Record;

use crate::peers::Server;
use crate::{CODINGS, Failure, report};

/// Clients that stall at the same time.
const CLIENTS: u32 = 24;

const PATIENCE: Duration = Duration::from_secs(20);

/// Measures the memory that a server takes for each client who asks for a stream and stops reading: in all without a
/// coding, which is what the HTTP server reads ahead, and how much more with one.
pub(crate) fn measure(program: &Path, record: Option<&Record>) -> Result<(), Failure> {
    let bare = grown(program, "bare", "identity")?;
    report(record, "stalled-bytes/bare", bare)?;
    for name in ["cortex", "tower-http"] {
        for coding in CODINGS {
            let grown = grown(program, name, coding)?;
            report(
                record,
                &format!("stalled-bytes/{name}-{coding}"),
                (grown - bare).max(1.0),
            )?;
        }
    }
    Ok(())
}

/// Returns the bytes for each client, of a server of their own: what one gives back, another would take.
fn grown(program: &Path, name: &'static str, coding: &str) -> Result<f64, Failure> {
    let server = Server::rust(program, name, None)?;
    let of = |error: Failure| format!("{name} with {coding}: {error}");
    drop(stall(&server, "/100k.json", coding, 1).map_err(of)?); // what is made once is no client's
    server.cpu_at_rest()?;
    let before = server.resident()?;
    let clients = stall(&server, "/endless", coding, CLIENTS).map_err(of)?;
    server.cpu_at_rest()?;
    let after = server.resident()?;
    drop(clients);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let grown = after.saturating_sub(before) as f64;
    Ok(grown / f64::from(CLIENTS))
}

/// Has clients ask and read no more than the head.
fn stall(server: &Server, path: &str, coding: &str, clients: u32) -> Result<Vec<TcpStream>, Failure> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept-encoding: {coding}\r\n\r\n");
    let connect = |_| {
        let mut stream = TcpStream::connect(server.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte)?;
            head.push(byte[0].to_ascii_lowercase());
        }
        let field = format!("\r\ncontent-encoding: {coding}\r\n");
        let encoded = head.windows(field.len()).any(|part| part == field.as_bytes());
        if encoded == (coding == "identity") {
            return Err(format!("answered {}", String::from_utf8_lossy(&head)).into());
        }
        Ok(stream)
    };
    (0..clients).map(connect).collect()
}
