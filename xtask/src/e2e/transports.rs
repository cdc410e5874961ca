use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, TempDir};

use super::child::Child;
use super::http;
use super::scenario::{Scenario, Setup};
use super::service::Service;
use super::wait::{pause, until};
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "http: curl speaks HTTP/1.1 and HTTP/2 over TLS",
        programs: &["curl", "openssl"],
        test: tls,
    },
    Scenario {
        name: "http: a new certificate is taken while requests run",
        programs: &["curl", "openssl", "h2load"],
        test: renewed,
    },
    Scenario {
        name: "http: curl reaches a Unix socket",
        programs: &["curl"],
        test: unix,
    },
    Scenario {
        name: "http: a proxy names its client by the PROXY protocol",
        programs: &["curl"],
        test: proxied,
    },
];

const SOON: Duration = Duration::from_secs(10);

const ERRORS: &str = "http_server_connection_errors_total";

/// What curl is to say of an answer: the protocol and the status.
const SAY: &str = "%{http_version} %{http_code}";

/// Certificates for `localhost`, each its own authority.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Result<Self> {
        Ok(Self {
            folder: Shell::new()?.create_temp_dir()?,
        })
    }

    /// Makes a certificate and its key.
    fn make(&self, setup: &Setup, name: &str) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (
            self.file(&format!("{name}.crt")),
            self.file(&format!("{name}.key")),
        );
        let output = Command::new(tools::find("openssl", &setup.path)?)
            .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '))
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .args(["-out".as_ref(), certificate.as_os_str()])
            .args(["-keyout".as_ref(), key.as_os_str()])
            .output()?;
        ensure!(output.status.success(), "openssl: {}", said(&output));
        Ok((certificate, key))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a certificate and its key where the service looks, one after the other, as a person would.
    fn install(&self, (certificate, key): &(PathBuf, PathBuf)) -> Result<()> {
        for (from, to) in [(certificate, "tls.crt"), (key, "tls.key")] {
            let unfinished = self.file("unfinished");
            fs::copy(from, &unfinished)?;
            fs::rename(unfinished, self.file(to))?;
        }
        Ok(())
    }

    fn serve(&self, setup: &Setup) -> Result<(Service, SocketAddr)> {
        let text = |path: PathBuf| path.to_str().map(str::to_owned).context("the folder is no text");
        let (certificate, key) = (text(self.file("tls.crt"))?, text(self.file("tls.key"))?);
        let service = Service::start(setup, &format!("--certificate {certificate} --key {key}"))?;
        let secure = service.at.others[0].parse()?;
        Ok((service, secure))
    }
}

fn tls(setup: &Setup) -> Result<()> {
    let certificates = Certificates::new()?;
    let pair = certificates.make(setup, "one")?;
    certificates.install(&pair)?;
    let (service, secure) = certificates.serve(setup)?;
    for (flags, expected) in [
        ("--http1.1", "1.1 200"),
        ("--http2", "2 200"),
        ("--http2 --tls-max 1.2", "2 200"),
        ("--http1.1 --tlsv1.3", "1.1 200"),
        ("--no-alpn", "1.1 200"),
    ] {
        let output = secured(setup, secure, &pair.0, flags)?;
        ensure!(
            output.status.success() && output.stdout.ends_with(expected.as_bytes()),
            "{flags}: {}",
            said(&output)
        );
    }
    ensure!(service.sample(ERRORS)? <= 0.0, "a connection failed");
    // What is too old is turned away, and so is what is not TLS; both are counted.
    let old = secured(
        setup,
        secure,
        &pair.0,
        "--tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0",
    )?;
    ensure!(!old.status.success(), "TLS 1.1: {}", said(&old));
    let plain = curl(setup, &[&format!("http://{secure}/")])?;
    ensure!(!plain.status.success(), "without TLS: {}", said(&plain));
    until(SOON, "both to be counted", || {
        Ok((service.sample(ERRORS)? >= 2.0).then_some(()))
    })?;
    service.stop()?;
    Ok(())
}

fn renewed(setup: &Setup) -> Result<()> {
    let certificates = Certificates::new()?;
    let (one, two) = (certificates.make(setup, "one")?, certificates.make(setup, "two")?);
    certificates.install(&one)?;
    let (service, secure) = certificates.serve(setup)?;
    let accepted = |pair: &(PathBuf, PathBuf)| -> Result<bool> {
        Ok(secured(setup, secure, &pair.0, "--http2")?.status.success())
    };
    ensure!(
        accepted(&one)? && !accepted(&two)?,
        "it shows another certificate"
    );
    let file = tools::find("h2load", &setup.path)?;
    let load = Child::start("h2load", |_| {
        let mut command = Command::new(file);
        command.args(["-n", "15000", "-c", "8", &format!("https://{secure}/")]);
        Ok(command)
    })?;
    until(SOON, "the load", || {
        Ok((service.sample("http_server_request_outcomes_total")? > 100.0).then_some(()))
    })?;
    certificates.install(&two)?;
    until(SOON, "the new certificate", || Ok(accepted(&two)?.then_some(())))?;
    ensure!(!load.said().contains("finished in"), "the load had ended before");
    ensure!(!accepted(&one)?, "the old certificate is shown, too");
    // One that is none changes nothing.
    fs::write(certificates.file("tls.crt"), "no certificate")?;
    pause(Duration::from_millis(500));
    ensure!(accepted(&two)?, "the certificate is gone");
    let ended = load.end(Duration::from_mins(2))?;
    ensure!(
        ended.status.success()
            && ended
                .stdout
                .contains("15000 succeeded, 0 failed, 0 errored, 0 timeout"),
        "h2load: {}",
        ended.stdout
    );
    service.stop()?;
    Ok(())
}

fn unix(setup: &Setup) -> Result<()> {
    let folder = Shell::new()?.create_temp_dir()?;
    let socket = folder.path().join("service.sock");
    let path = socket.to_str().context("the folder is no text")?;
    let service = Service::start(setup, &format!("--unix {path}"))?;
    for (flag, expected) in [("--http1.1", "1.1 200"), ("--http2-prior-knowledge", "2 200")] {
        let output = curl(setup, &[flag, "--unix-socket", path, "http://localhost/users/7"])?;
        ensure!(
            output.stdout == format!("7{expected}").as_bytes(),
            "{flag}: {}",
            said(&output)
        );
    }
    service.stop()?;
    ensure!(!socket.exists(), "the socket is there after the end");
    Ok(())
}

/// The header comes first, or there is no answer; only those who are trusted may send it.
fn proxied(setup: &Setup) -> Result<()> {
    let service = Service::start(setup, "--proxies 127.0.0.0/8")?;
    let port: SocketAddr = service.at.others[0].parse()?;
    let url = format!("http://{port}/users/7");
    for flag in ["--http1.1", "--http2-prior-knowledge"] {
        let output = curl(setup, &["--haproxy-protocol", flag, &url])?;
        ensure!(output.stdout.starts_with(b"7"), "version 1: {}", said(&output));
    }
    // Version 2, section 2.2: the signature, PROXY, TCP over IPv4, 12 bytes of addresses and ports.
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\xd4\x31\0\x50";
    let mut stream = http::connect(port)?;
    stream.write_all(header)?;
    stream.write_all(&http::message("GET /users/7", 0))?;
    let answer = http::Response::parse(&http::to_end(&mut stream)?)?.text()?;
    ensure!(answer == "7", "version 2: {answer}");

    let before = service.sample(ERRORS)?;
    let without = curl(setup, &["--http1.1", &url])?;
    ensure!(!without.status.success(), "without a header: {}", said(&without));
    until(SOON, "it to be counted", || {
        Ok((service.sample(ERRORS)? > before).then_some(()))
    })?;

    let stranger = Service::start(setup, "--proxies 10.0.0.0/8")?;
    let url = format!("http://{}/users/7", stranger.at.others[0]);
    let output = curl(setup, &["--haproxy-protocol", "--http1.1", &url])?;
    ensure!(!output.status.success(), "of a stranger: {}", said(&output));
    Ok(())
}

/// Asks for something over TLS, and trusts this certificate alone.
fn secured(setup: &Setup, secure: SocketAddr, certificate: &Path, flags: &str) -> Result<Output> {
    let (port, certificate) = (secure.port(), certificate.to_str().context("no text")?);
    let resolve = format!("localhost:{port}:127.0.0.1");
    let url = format!("https://localhost:{port}/users/7");
    let mut arguments = vec!["--resolve", &resolve, "--cacert", certificate, &url];
    arguments.extend(flags.split_whitespace());
    curl(setup, &arguments)
}

fn curl(setup: &Setup, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(tools::find("curl", &setup.path)?)
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ])
        .args(["--write-out", SAY])
        .args(arguments)
        .output()?;
    Ok(output)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
