use std::io::Read;
use std::path::Path;

use cortex_bench::{Load, Record, Series, catalogue, interleave, pin_current_thread};

use crate::peers::{Folder, Server};
use crate::sizes::float;
use crate::{Failure, report};

const CONNECTIONS: usize = 16;

/// What each server is to spend on a pass.
const PASS_NANOS: f64 = 50e6;

/// What is asked for, and from whom.
#[derive(Clone, Copy)]
struct Plan {
    group: &'static str,
    path: &'static str,
    size: usize,
    coding: Option<&'static str>,
    servers: &'static [&'static str],
    level: Option<u8>,
    passes: usize,
}

const GZIP: Plan = Plan {
    group: "served-gzip-10k",
    path: "/10k.json",
    size: 10_000,
    coding: Some("gzip"),
    servers: &["cortex", "tower-http", "actix", "nginx", "caddy"],
    level: None,
    passes: 20,
};

const ZSTD: Plan = Plan {
    group: "served-zstd-10k",
    coding: Some("zstd"),
    servers: &["cortex", "tower-http", "actix", "caddy"],
    ..GZIP
};

/// zstd at the same level.
const fn zstd(level: u8, group: &'static str) -> Plan {
    Plan {
        group,
        servers: &["cortex", "tower-http"],
        level: Some(level),
        ..ZSTD
    }
}

const fn large(plan: Plan) -> Plan {
    Plan {
        path: "/100k.json",
        size: 100_000,
        ..plan
    }
}

const PLANS: [Plan; 8] = [
    GZIP,
    large(Plan {
        group: "served-gzip-100k",
        ..GZIP
    }),
    ZSTD,
    zstd(1, "served-zstd-1-10k"),
    large(zstd(1, "served-zstd-1-100k")),
    zstd(3, "served-zstd-3-10k"),
    large(zstd(3, "served-zstd-3-100k")),
    Plan {
        group: "served-identity-10k",
        coding: None,
        servers: &["bare", "cortex", "tower-http"],
        passes: 80,
        ..GZIP
    },
];

/// Measures the processor's time per response of each server over loopback, in turn, so that a machine that slows down
/// hits all alike; with its default levels where no other is said. That of nginx is 1.
pub(crate) fn measure(program: &Path, record: Option<&Record>) -> Result<(), Failure> {
    let folder = Folder::new()?;
    let servers = [
        Server::rust(program, "bare", None),
        Server::rust(program, "cortex", None),
        Server::rust(program, "cortex", Some(1)),
        Server::rust(program, "cortex", Some(3)),
        Server::rust(program, "tower-http", None),
        Server::rust(program, "tower-http", Some(1)),
        Server::rust(program, "tower-http", Some(3)),
        Server::rust(program, "actix", None),
        Server::nginx(folder.path()),
        Server::caddy(folder.path()),
    ];
    let servers = servers.into_iter().collect::<Result<Vec<_>, _>>()?;
    pin_current_thread(1).map_err(|error| format!("two cores are needed, one for the load: {error}"))?;
    PLANS.iter().try_for_each(|plan| plan.measure(&servers, record))
}

impl Plan {
    fn measure(&self, servers: &[Server], record: Option<&Record>) -> Result<(), Failure> {
        let body = catalogue(self.size);
        let mut variants = Vec::new();
        for name in self.servers {
            let server = servers
                .iter()
                .find(|server| server.name == *name && server.level == self.level);
            let server = server.ok_or_else(|| format!("there is no server {name}"))?;
            let of = |error: Failure| format!("{}/{name}: {error}", self.group);
            variants.push(Variant::new(self, server, &body).map_err(of)?);
        }
        for n in interleave(variants.len(), self.passes) {
            let variant = &mut variants[n];
            let nanos = variant.pass(variant.requests)?;
            variant.series.push(nanos);
        }
        for variant in variants {
            let name = variant.server.name;
            let nanos = variant.series.median().ok_or("nothing was measured")?;
            report(record, &format!("{}/{name}", self.group), nanos)?;
            if let Some(length) = variant.length {
                report(record, &format!("{}-bytes/{name}", self.group), float(length))?;
            }
        }
        Ok(())
    }
}

struct Variant<'a> {
    server: &'a Server,
    load: Load,
    /// How many of them take a pass.
    requests: usize,
    /// The bytes of an encoded body.
    length: Option<usize>,
    series: Series,
}

impl<'a> Variant<'a> {
    /// Makes sure that it answers with the body, and learns how long that takes.
    fn new(plan: &Plan, server: &'a Server, body: &str) -> Result<Self, Failure> {
        let mut load = match plan.coding {
            None => Load::connect(server.address, CONNECTIONS, plan.path, body.as_bytes()),
            Some(coding) => Load::coded(server.address, CONNECTIONS, plan.path, coding),
        }?;
        let first = load.first()?;
        let length = plan.coding.map(|_| first.len());
        if let Some(coding) = plan.coding
            && decode(coding, &first)? != body.as_bytes()
        {
            return Err("it decodes to something else".into());
        }
        let mut variant = Self {
            server,
            load,
            requests: 0,
            length,
            series: Series::default(),
        };
        variant.pass(CONNECTIONS * 4)?; // warms up: caches, encoders, threads
        let nanos = variant.pass(CONNECTIONS * 4)?.max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 50 million"
        )]
        let requests = (PASS_NANOS / nanos) as usize;
        variant.requests = requests.max(CONNECTIONS);
        Ok(variant)
    }

    /// Makes the requests and returns the processor's time that they took, in nanoseconds per request.
    fn pass(&mut self, requests: usize) -> Result<f64, Failure> {
        let of = |error| format!("failed to load {}: {error}", self.server.name);
        let before = self.server.cpu_at_rest()?;
        let made = self.load.run(requests).map_err(of)?;
        let spent = self.server.cpu_at_rest()?.saturating_sub(before); // less only if a thread has ended
        Ok(spent.as_secs_f64() * 1e9 / float(made))
    }
}

fn decode(coding: &str, encoded: &[u8]) -> Result<Vec<u8>, Failure> {
    if coding == "zstd" {
        return Ok(zstd::decode_all(encoded)?);
    }
    let mut decoded = Vec::new();
    flate2::read::GzDecoder::new(encoded).read_to_end(&mut decoded)?;
    Ok(decoded)
}
