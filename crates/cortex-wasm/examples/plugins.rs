//! Runs plugins for tenants who do not trust each other, each on a file of theirs:
//! `cargo run --release -p cortex-wasm --example plugins -- TENANT=FILE..`. A `.csv` file is added up, a `.ppm` picture is
//! made small, from any other text e-mail addresses and card numbers are taken out. Without files it runs on samples, two
//! of which ask for more than they may have.
#![expect(
    clippy::print_stdout,
    reason = "the answers and the report are what it is for"
)]

use cortex_core::{Clock, SystemClock};
use cortex_wasm::{Deadline, Error, Func, Guests, Instance, Module, Quota, Tag, Tenant, WasmHost};
use cortex_workers::Drain;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What a plugin may use for one file.
const MEMORY: u64 = 4 << 20;
const FUEL: u64 = 100_000_000;
/// What the plugins of a tenant may use together.
const TENANT_MEMORY: u64 = 6 << 20;

/// Plugins in C, Rust and `AssemblyScript`; the folder `guests` has their sources.
const PLUGINS: [(&str, &[u8]); 3] = [
    ("redact", include_bytes!("../guests/redact.wasm")),
    ("thumbnail", include_bytes!("../guests/thumbnail.wasm")),
    ("totals", include_bytes!("../guests/totals.wasm")),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let jobs = if arguments.is_empty() {
        samples()
    } else {
        let jobs = arguments.iter().map(|argument| Job::read(argument));
        jobs.collect::<Result<_, _>>()?
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let service = Service::new()?;
    let done = runtime.block_on(service.run(jobs));
    for done in &done {
        println!(
            "==> {}: {} by {} <==\n{}",
            done.tenant,
            done.file,
            done.plugin,
            done.show()
        );
    }
    println!("{}", service.report(&done));
    runtime.block_on(service.guests.shutdown(Drain::within(Duration::from_secs(1))));
    Ok(())
}

/// A file of a tenant.
struct Job {
    tenant: String,
    file: String,
    bytes: Vec<u8>,
}

/// What became of it.
struct Done {
    tenant: String,
    file: String,
    plugin: &'static str,
    read: usize,
    answer: Result<Vec<u8>, Error>,
    took: Duration,
}

struct Plugin {
    name: &'static str,
    module: Module,
    transform: Func<(u32, u32), u64>,
}

struct Service {
    host: WasmHost,
    guests: Guests,
    plugins: Vec<Plugin>,
    /// What answers are called that the host holds.
    tag: Tag,
    tenants: RefCell<BTreeMap<String, Tenant>>,
}

impl Service {
    fn new() -> Result<Self, Error> {
        let host = WasmHost::builder()
            .quota(Quota::new().max_bytes(MEMORY))
            .deadline(Deadline::Fuel(FUEL))
            .build()?;
        let plugin = |(name, wasm)| {
            let module = host.compile(name, wasm)?;
            let transform = module.func("transform")?;
            Ok(Plugin {
                name,
                module,
                transform,
            })
        };
        Ok(Self {
            plugins: PLUGINS.into_iter().map(plugin).collect::<Result<_, Error>>()?,
            guests: host.guests().threads(2).build_blocking()?,
            tag: host.tags().intern("answer")?,
            tenants: RefCell::default(),
            host,
        })
    }

    /// Runs all of them at once, on as many threads as there are.
    async fn run(&self, jobs: Vec<Job>) -> Vec<Done> {
        let calls: Vec<_> = jobs
            .into_iter()
            .map(|job| tokio::spawn(self.start(job)))
            .collect();
        let mut done = Vec::new();
        for call in calls {
            done.push(
                call.await
                    .expect("invariant: a call is neither cancelled nor panics"),
            );
        }
        done
    }

    /// Lines a job up. Who waits for it no longer, ends it.
    fn start(&self, job: Job) -> impl Future<Output = Done> + Send + use<> {
        let Job { tenant, file, bytes } = job;
        let plugin = self.plugin(&file);
        let account = self.tenant(&tenant);
        let (name, tag, transform, read) = (plugin.name, self.tag, plugin.transform.clone(), bytes.len());
        let call = self.guests.run(&plugin.module, &account, move |guest| {
            let begun = SystemClock.now();
            let answer = run_in(guest, &transform, &bytes, tag);
            (answer, SystemClock.now().saturating_duration_since(begun))
        });
        async move {
            let (answer, took) = match call.await {
                Ok((answer, took)) => (answer, took),
                Err(error) => (Err(error), Duration::ZERO),
            };
            Done {
                tenant,
                file,
                plugin: name,
                read,
                answer,
                took,
            }
        }
    }

    fn plugin(&self, file: &str) -> &Plugin {
        let name = match Path::new(file).extension().and_then(|it| it.to_str()) {
            Some("csv") => "totals",
            Some("ppm") => "thumbnail",
            _ => "redact",
        };
        let found = self.plugins.iter().find(|plugin| plugin.name == name);
        found.expect("invariant: all of them were compiled")
    }

    fn tenant(&self, name: &str) -> Tenant {
        let mut tenants = self.tenants.borrow_mut();
        let found = tenants.entry(name.to_owned());
        found.or_insert_with(|| self.host.tenant(TENANT_MEMORY)).clone()
    }

    /// Tells what each tenant took.
    fn report(&self, done: &[Done]) -> String {
        let mut lines = vec![format!(
            "{:10} {:>5} {:>6} {:>10} {:>10} {:>11} {:>8} {:>10}",
            "tenant", "files", "failed", "read", "answered", "memory", "refused", "time"
        )];
        for (name, tenant) in self.tenants.borrow().iter() {
            let of = || done.iter().filter(|done| done.tenant == *name);
            let answered: usize = of()
                .filter_map(|done| Some(done.answer.as_ref().ok()?.len()))
                .sum();
            lines.push(format!(
                "{name:10} {:>5} {:>6} {:>10} {answered:>10} {:>7} KiB {:>8} {:>7.2} ms",
                of().count(),
                of().filter(|done| done.answer.is_err()).count(),
                of().map(|done| done.read).sum::<usize>(),
                tenant.high_water_bytes() / 1024,
                tenant.refused(),
                of().map(|done| done.took).sum::<Duration>().as_secs_f64() * 1e3,
            ));
        }
        lines.join("\n")
    }
}

/// Has a guest transform bytes, and takes its answer, which is freed before it is next called.
fn run_in(
    guest: &mut Instance,
    transform: &Func<(u32, u32), u64>,
    bytes: &[u8],
    tag: Tag,
) -> Result<Vec<u8>, Error> {
    guest.scope(|scope| {
        let input = scope.put_bytes(bytes)?;
        let answer = scope.call(transform, (input.ptr(), input.len()))?;
        // The guest may say what it likes: `adopt` refuses what is not in its memory.
        let half =
            |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("invariant: they are 32 bits");
        let block = scope.adopt(half(answer >> 32), half(answer), tag)?;
        Ok(scope.block(block.id())?.to_vec())
    })
}

impl Job {
    fn new(tenant: &str, file: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            tenant: tenant.into(),
            file: file.into(),
            bytes: bytes.into(),
        }
    }

    /// Reads `TENANT=FILE`.
    fn read(argument: &str) -> Result<Self, String> {
        let (tenant, file) = argument.split_once('=').ok_or("usage: plugins [TENANT=FILE..]")?;
        let bytes = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        Ok(Self::new(tenant, file, bytes))
    }
}

impl Done {
    fn show(&self) -> String {
        match &self.answer {
            Ok(answer) if self.plugin == "thumbnail" => {
                let size = answer.split(|&byte| byte == b'\n').nth(1).unwrap_or_default();
                format!(
                    "a picture of {} pixels\n",
                    String::from_utf8_lossy(size).replace(' ', " x ")
                )
            }
            Ok(answer) => String::from_utf8_lossy(answer).into_owned(),
            // Where there is to be a block there is none: so a plugin says that it cannot.
            Err(Error::NullPointer) => format!("{} knows no such input\n", self.plugin),
            Err(error) => format!("failed to {error}\n"),
        }
    }
}

fn samples() -> Vec<Job> {
    let row = |x: u32| [x, 255 - x, 128].map(|color| u8::try_from(color).unwrap_or(u8::MAX));
    let pixels: Vec<u8> = (0..200).flat_map(|_| (0..256).flat_map(row)).collect();
    let picture = [b"P6\n256 200\n255\n", &pixels[..]].concat();
    let rows = |count: u32, row: fn(u32) -> String| (0..count).map(row).collect::<Vec<_>>().concat();
    let sales = rows(100, |n| {
        format!("shop {},2026-11-{:02},{n}.50\n", n % 3, 1 + n % 30)
    });
    let slow = rows(40_000, |n| format!("{n},1\n"));
    vec![
        Job::new(
            "ann",
            "note.txt",
            "Bob (bob@mail.example.org) paid by 4111 1111 1111 1111.\n",
        ),
        Job::new("ann", "sales.csv", format!("shop,day,amount\n{sales}")),
        Job::new("eve", "huge.txt", vec![b'.'; 5 << 20]),
        Job::new("eve", "slow.csv", format!("name,amount\n{slow}")),
        Job::new("bob", "note.txt", "Ann's card is 5500-0000-0000-0004, I think.\n"),
        Job::new("bob", "picture.ppm", picture),
        Job::new("bob", "wrong.csv", "name,amount\nann,much\n"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_get_their_answers_and_nobody_gets_more_than_they_may_have() {
        let service = Service::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Twice: the second time with instances that others have used, among them those of eve.
        for _ in 0..2 {
            let done = runtime.block_on(service.run(samples()));
            let huge = "failed to take 5242880 bytes from the guest: it has no such block\n";
            let slow = format!("failed to finish within {}\n", Deadline::Fuel(FUEL));
            let expected = [
                ("ann", "note.txt", "Bob ([email]) paid by [card].\n"),
                (
                    "ann",
                    "sales.csv",
                    "name,rows,total\nshop 0,34,1700.00\nshop 1,33,1633.50\nshop 2,33,1666.50\n",
                ),
                ("eve", "huge.txt", huge),
                ("eve", "slow.csv", &*slow),
                ("bob", "note.txt", "Ann's card is [card], I think.\n"),
                ("bob", "picture.ppm", "a picture of 64 x 50 pixels\n"),
                ("bob", "wrong.csv", "totals knows no such input\n"),
            ];
            let texts: Vec<_> = done.iter().map(Done::show).collect();
            let shown = done.iter().zip(&texts);
            let shown: Vec<_> = shown
                .map(|(done, text)| (&*done.tenant, &*done.file, &**text))
                .collect();
            assert_eq!(shown, expected);
            let report = service.report(&done);
            assert_eq!(report.lines().count(), 4, "{report}");
        }
        let tenants = service.tenants.borrow().clone();
        assert!(tenants["eve"].refused() > 0);
        assert_eq!((tenants["ann"].refused(), tenants["bob"].refused()), (0, 0));
        for tenant in tenants.values() {
            let most = tenant.high_water_bytes();
            assert!(most > 0 && most <= TENANT_MEMORY, "{most}");
            assert_eq!(tenant.live_bytes(), 0, "what waits is nobody's");
        }
        runtime.block_on(service.guests.shutdown(Drain::within(Duration::from_secs(10))));
    }

    #[test]
    fn files_are_read_for_their_tenant() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/redact.c");
        let job = Job::read(&format!("ann={file}")).unwrap();
        assert_eq!((&*job.tenant, &*job.file), ("ann", file));
        assert_eq!(job.bytes, std::fs::read(file).unwrap());
        assert!(Job::read(file).is_err_and(|error| error.starts_with("usage")));
        assert!(Job::read("ann=no such file").is_err_and(|error| error.starts_with("no such file: ")));
    }
}
