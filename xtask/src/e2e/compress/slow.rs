use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::http::{self, Response};
use super::super::scenario::{Scenario, Setup};
use super::super::wait::{PATIENCE, pause, until};
use super::readers::decode;
use super::server::{CODINGS, Server};
use crate::step::Stopwatch;

pub(in super::super) const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "compress: readers that stall for ever cost little, and give it back when they vanish",
        programs: &[],
        test: stall,
    },
    Scenario {
        name: "compress: readers of a byte now and then get everything, and hold nobody up",
        programs: &["brotli", "gzip", "zstd"],
        test: drip,
    },
];

/// Readers that stall at the same time.
const READERS: u64 = 12;

/// Readers that are slow at the same time.
const SLOW: usize = 8;

/// What an encoder may cost, in bytes of the server's memory, beyond what the same reader costs whose body is sent plain:
/// most of that are 400 KB that hyper reads ahead.
const COSTS: [(&str, u64); 4] = [
    ("gzip", 500_000),
    ("deflate", 500_000),
    ("zstd", 700_000),
    ("br", 1_000_000),
];

/// What the server may keep of readers that are gone: their encoders, for a minute, but not more with each round.
const SLACK: u64 = 3 << 20;

/// Readers read the head and no more. The memory is bounded by coding; the budget of the encoders is free again after
/// they vanished, however often that happens.
fn stall(setup: &Setup) -> Result<()> {
    let server = Server::start(setup)?;
    let (plain, _) = stalled(&server, "plain")?;
    for (coding, most) in COSTS {
        // Room for as many as there are, and no more: who leaks one of them, refuses one of a later round.
        let server = Server::with(setup, Some(READERS * most))?;
        server.coded(coding, "text/1000000")?;
        let (each, readers) = stalled(&server, coding)?;
        let each = each.saturating_sub(plain);
        ensure!(each <= most, "{coding}: {each} bytes for each reader, not {most}");
        // Somebody who reads is served.
        let watch = Stopwatch::start();
        server.plain("json/10000")?;
        ensure!(
            watch.elapsed() < PATIENCE,
            "{coding}: it took {:?}",
            watch.elapsed()
        );
        refused(&server, coding)?;
        drop(readers);
        let most = quiet(&server)?;
        for round in 0..if setup.is_long { 20 } else { 2 } {
            drop(stalled(&server, coding).with_context(|| format!("round {round}"))?);
            let now = quiet(&server)?;
            ensure!(
                now < most + SLACK,
                "{coding}, round {round}: {most} bytes became {now}"
            );
        }
    }
    Ok(())
}

/// Stalls, and returns what each reader costs the server.
fn stalled(server: &Server, coding: &str) -> Result<(u64, Vec<TcpStream>)> {
    let expected = Some(coding).filter(|coding| *coding != "plain");
    let before = quiet(server)?;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let (stream, found) = endless(server, coding)?;
        ensure!(found.as_deref() == expected, "{coding} came as {found:?}");
        readers.push(stream);
    }
    let after = quiet(server)?;
    Ok((after.saturating_sub(before) / READERS, readers))
}

/// More readers than the budget has room for: some of them get the identity.
fn refused(server: &Server, coding: &str) -> Result<()> {
    let mut more = Vec::new();
    for _ in 0..READERS * 2 {
        let (stream, found) = endless(server, coding)?;
        if found.is_none() {
            return Ok(());
        }
        more.push(stream);
    }
    anyhow::bail!("{coding}: {} readers more were not too many", more.len());
}

/// Asks for a body without an end, reads its head, and returns the coding.
fn endless(server: &Server, coding: &str) -> Result<(TcpStream, Option<String>)> {
    let mut stream = http::connect(server.addr)?;
    let path = format!("GET /{coding}/endless\naccept-encoding: {coding}");
    stream.write_all(&http::message(&path, 0))?;
    let head = String::from_utf8(head(&mut stream)?)?.to_ascii_lowercase();
    let varies = head.contains("\r\nvary: accept-encoding\r\n");
    ensure!(
        head.starts_with("http/1.1 200") && varies == (coding != "plain"),
        "answered {head}"
    );
    let found = head
        .lines()
        .find_map(|line| line.strip_prefix("content-encoding: "));
    Ok((stream, found.map(str::to_owned)))
}

/// Reads the head of an answer, and nothing of its body.
fn head(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// Waits until the server does nothing any more, and returns the memory that it holds.
fn quiet(server: &Server) -> Result<u64> {
    let mut last = None;
    until(Duration::from_mins(1), "the server to have nothing to do", || {
        let spent = server.child.cpu_ticks()?;
        let still = last.replace(spent) == Some(spent);
        pause(Duration::from_millis(150));
        Ok((still && server.child.cpu_ticks()? == spent).then_some(()))
    })?;
    server.child.resident()
}

/// A body of which no coding makes less than 8 MB: the system takes much less on account of who does not read.
const LARGE: &str = "digits/16000000";

/// Readers take some single bytes, with pauses, then the rest: the body is whole.
fn drip(setup: &Setup) -> Result<()> {
    let server = Server::start(setup)?;
    let plain = server.plain(LARGE)?;
    let sent = || -> Result<usize> { Ok(String::from_utf8(server.plain("digits-sent")?)?.parse()?) };
    ensure!(sent()? == 1, "the plain body was not counted");
    let mut readers = Vec::new();
    for coding in CODINGS.into_iter().cycle().take(SLOW) {
        let mut stream = http::connect(server.addr)?;
        let path = format!("GET /any/{LARGE}\naccept-encoding: {coding}");
        stream.write_all(&http::message(&path, 0))?;
        let head = head(&mut stream)?;
        readers.push((coding, stream, head));
    }
    let before = quiet(&server)?;
    for _ in 0..if setup.is_long { 60 } else { 6 } {
        for (_, stream, bytes) in &mut readers {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            bytes.push(byte[0]);
        }
        let watch = Stopwatch::start();
        server.coded("gzip", "json/10000")?;
        ensure!(watch.elapsed() < PATIENCE, "it took {:?}", watch.elapsed());
        pause(Duration::from_millis(if setup.is_long { 1000 } else { 200 }));
    }
    let after = server.child.resident()?;
    ensure!(after < before + SLACK, "it grew from {before} to {after} bytes");
    let done = sent()?;
    ensure!(
        done == 1,
        "{} bodies were encoded before they were read",
        done - 1
    );
    for (coding, mut stream, mut bytes) in readers {
        bytes.append(&mut http::to_end(&mut stream)?);
        let response = Response::parse(&bytes).with_context(|| coding)?;
        let found = response.header("content-encoding");
        ensure!(found == Some(coding), "{coding} came as {found:?}");
        if let Some(decoded) = decode(setup, coding, &response.body)? {
            ensure!(
                decoded == plain,
                "{coding}: {} bytes are not the same",
                decoded.len()
            );
        }
    }
    ensure!(sent()? == 1 + SLOW, "not all bodies were read to their end");
    Ok(())
}
