use anyhow::{Context, Result, ensure};

use super::super::http;
use super::super::scenario::{Scenario, Setup};
use super::super::wait::PATIENCE;
use super::server::Server;
use crate::step::Stopwatch;

pub(in super::super) const SCENARIOS: [Scenario; 1] = [Scenario {
    name: "compress: a monstrous accept-encoding is read in time, and for what it says",
    programs: &[],
    test: monstrous,
}];

/// What reading any of it may leave behind.
const GROWTH: u64 = 8 << 20;

/// Field values that nobody sends who means well, and whether gzip, which is all that is on offer, is accepted by them.
fn fields() -> Vec<(&'static str, String, bool)> {
    vec![
        ("64 KB of one token", "x".repeat(65_000), false),
        (
            "64 KB of one token, then gzip",
            "x".repeat(65_000) + ", gzip",
            true,
        ),
        ("64 KB of commas, then gzip", ",".repeat(65_000) + "gzip", true),
        (
            "64 KB of blanks, then gzip",
            format!("x,{}gzip", " \t".repeat(32_000)),
            true,
        ),
        (
            "thousands of members",
            "br;q=0.1,".repeat(7_000) + "gzip;q=0.2",
            true,
        ),
        (
            "thousands of wildcards",
            "*;q=0,".repeat(9_000) + "gzip;q=0.001",
            true,
        ),
        ("thousands of refusals", "gzip;q=0,".repeat(7_000) + "gzip", false),
        (
            "one refusal among thousands",
            "gzip,".repeat(9_000) + "gzip;q=0",
            false,
        ),
        (
            "parameters without end",
            format!("gzip{}", ";q=1".repeat(15_000)),
            false,
        ),
        (
            "digits without end",
            format!("gzip;q=0.{}", "1".repeat(60_000)),
            false,
        ),
        (
            "weights that are none",
            "gzip;q=.5, gzip;q=2, gzip;q=-1, gzip;q=nan, gzip;q=".into(),
            false,
        ),
        (
            "a weight that is none, and one that is",
            "gzip;q=2, gzip;q=0.5".into(),
            true,
        ),
        (
            "letters beyond ASCII",
            "gzıp, ｇｚｉｐ, \u{ff}\u{fe}".into(),
            false,
        ),
        (
            "quotes and braces",
            "\"gzip\", {gzip}, gzip\\, =gzip, ;gzip".into(),
            false,
        ),
        // Of as many lines as hyper reads.
        (
            "lines",
            "x\naccept-encoding: y".repeat(80) + "\naccept-encoding: gzip",
            true,
        ),
    ]
}

fn monstrous(setup: &Setup) -> Result<()> {
    let server = Server::start(setup)?;
    let plain = server.plain("json/10000")?;
    let ask = |what: &str, field: &str, accepted: bool| -> Result<()> {
        let watch = Stopwatch::start();
        let head = format!("GET /gzip/json/10000\naccept-encoding: {field}");
        let response = http::request(server.addr, &head, b"").context(what.to_owned())?;
        ensure!(watch.elapsed() < PATIENCE, "{what} took {:?}", watch.elapsed());
        ensure!(response.status == 200, "{what} is answered {}", response.status);
        let coding = response.header("content-encoding");
        ensure!(
            coding == accepted.then_some("gzip") && (accepted || response.body == plain),
            "{what}: came as {coding:?}"
        );
        ensure!(
            response.header("vary") == Some("accept-encoding"),
            "{what}: does not say that it varies"
        );
        Ok(())
    };
    let all = fields();
    let each = || {
        all.iter()
            .try_for_each(|(what, field, accepted)| ask(what, field, *accepted))
    };
    each()?;
    let before = server.child.resident()?;
    for _ in 0..10 {
        each()?;
    }
    let after = server.child.resident()?;
    ensure!(after < before + GROWTH, "it grew from {before} to {after} bytes");
    Ok(())
}
