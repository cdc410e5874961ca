use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use super::scenario::{Scenario, Setup};
use super::{
    abuse, arguments, bodies, compress, curl, ending, exposition, health, hostile, load, monitoring, names,
    prometheus, random, rolling, signals, slow, trace, transports, versions,
};
use crate::project::Project;
use crate::step::{Stopwatch, seconds};
use crate::tools::{self, Missing, Unknown};

/// Runs the scenarios whose name contains `filter`, or all; the code is 1 if one failed.
///
/// # Errors
///
/// A program is missing, or the storefront does not build.
#[expect(clippy::print_stdout, reason = "the progress of a command")]
pub(crate) fn run(project: &Project, filter: Option<&str>, is_long: bool) -> Result<ExitCode> {
    let scenarios = select(filter)?;
    let path = tools::path()?;
    let python = present(&scenarios, &path)?;
    let examples = build(
        project,
        "--package cortex-http --features grpc,tls --example probes --example service --example balance",
    )?
    .join("examples");
    let compressing = build(project, &optimized(COMPRESSING, &CODECS))?.join("examples");
    let setup = Setup {
        storefront: build(project, "--package storefront")?.join("storefront"),
        otlp: build(
            project,
            "--package cortex-trace --features logs,otlp --example otlp",
        )?
        .join("examples/otlp"),
        names: build(
            project,
            "--package cortex-metrics --features tower --example names",
        )?
        .join("examples/names"),
        hostile: build(
            project,
            "--package cortex-metrics --features tower,protobuf --example hostile",
        )?
        .join("examples/hostile"),
        probes: examples.join("probes"),
        service: examples.join("service"),
        balance: examples.join("balance"),
        bodies: compressing.join("bodies"),
        dictionary: compressing.join("dictionary"),
        path,
        python,
        is_long,
    };
    let (mut passed, mut failed) = (0, Vec::new());
    for scenario in &scenarios {
        let watch = Stopwatch::start();
        let result = (scenario.test)(&setup);
        let time = seconds(watch.elapsed());
        match result {
            Ok(()) => {
                passed += 1;
                println!("{} ... ok in {time}", scenario.name);
            }
            Err(error) => {
                failed.push(scenario.name);
                println!("{} ... FAILED in {time}: {error:#}", scenario.name);
            }
        }
    }
    let long = if is_long { " --long" } else { "" };
    let code = match failed.as_slice() {
        [] => ExitCode::SUCCESS,
        [one] => {
            println!("\nagain: cargo xtask e2e{long} '{one}'");
            ExitCode::FAILURE
        }
        _ => {
            println!("\nagain: cargo xtask e2e{long}");
            ExitCode::FAILURE
        }
    };
    // Last, as the closing line of a test runner.
    println!("e2e: {passed} passed, {} failed", failed.len());
    Ok(code)
}

fn all() -> impl Iterator<Item = Scenario> {
    let arguments = arguments::SCENARIOS.into_iter();
    arguments
        .chain(curl::SCENARIOS)
        .chain(exposition::SCENARIOS)
        .chain(prometheus::SCENARIOS)
        .chain(names::SCENARIOS)
        .chain(hostile::SCENARIOS)
        .chain(monitoring::SCENARIOS)
        .chain(abuse::SCENARIOS)
        .chain(ending::SCENARIOS)
        .chain(trace::SCENARIOS)
        .chain(health::SCENARIOS)
        .chain(bodies::SCENARIOS)
        .chain(versions::SCENARIOS)
        .chain(transports::SCENARIOS)
        .chain(random::SCENARIOS)
        .chain(signals::SCENARIOS)
        .chain(slow::SCENARIOS)
        .chain(load::SCENARIOS)
        .chain(rolling::SCENARIOS)
        .chain(compress::READERS)
        .chain(compress::BROWSER)
        .chain(compress::FIELDS)
        .chain(compress::UPLOADS)
        .chain(compress::SLOW)
        .chain(compress::FLOOD)
}

fn select(filter: Option<&str>) -> Result<Vec<Scenario>> {
    let wanted = |scenario: &Scenario| filter.is_none_or(|filter| scenario.name.contains(filter));
    let scenarios: Vec<_> = all().filter(wanted).collect();
    ensure!(
        !scenarios.is_empty(),
        Unknown(format!(
            "no scenario's name contains {:?}; there are:\n  {}",
            filter.unwrap_or_default(),
            all()
                .map(|scenario| scenario.name)
                .collect::<Vec<_>>()
                .join("\n  ")
        ))
    );
    Ok(scenarios)
}

/// Makes sure that every program is there before anything is built, and returns the Python to use.
fn present(scenarios: &[Scenario], path: &OsString) -> Result<PathBuf> {
    let mut python = PathBuf::new();
    for program in scenarios.iter().flat_map(|scenario| scenario.programs) {
        if is_python(program) {
            python = find_python(program, path)?;
        } else {
            tools::find(program, path)?;
        }
    }
    Ok(python)
}

/// Says whether this is a package of Python and not a program.
fn is_python(program: &str) -> bool {
    matches!(
        program,
        "grpc_health"
            | "httpx"
            | "jsonschema"
            | "opentelemetry_proto"
            | "opentelemetry_sdk"
            | "prometheus_client"
            | "zstandard"
    )
}

fn find_python(package: &str, path: &OsString) -> Result<PathBuf> {
    let missing = || Missing::new(package);
    let module = match package {
        "opentelemetry_proto" => "opentelemetry.proto",
        "opentelemetry_sdk" => "opentelemetry.sdk",
        package => package,
    };
    let python = tools::find("python3", path).map_err(|_| missing())?;
    let output = Command::new(&python)
        .args(["-c", &format!("import {module}")])
        .output();
    let works = output.is_ok_and(|output| output.status.success());
    ensure!(works, missing());
    Ok(python)
}

/// Our example that serves bodies of every kind.
const COMPRESSING: &str = "--package cortex-compress --features brotli,deflate,dictionary,gzip,libdeflate,zstd --example bodies \
     --example dictionary";

/// What encodes and decodes: without optimization it is 20 times slower, and megabytes of it are the point.
const CODECS: [&str; 5] = [
    "brotli",
    "brotli-decompressor",
    "libdeflate-sys",
    "zlib-rs",
    "zstd-sys",
];

/// Adds to what is built that these packages are optimized, and nothing else is built again for that.
fn optimized(what: &str, packages: &[&str]) -> String {
    packages.iter().fold(what.to_owned(), |what, package| {
        format!("{what} --config profile.dev.package.{package}.opt-level=3")
    })
}

/// Builds what `cargo build` is told to, and returns the folder that it is in.
fn build(project: &Project, what: &str) -> Result<PathBuf> {
    let sh = Shell::new()?;
    sh.change_dir(&project.root);
    let arguments = what.split_whitespace();
    cmd!(sh, "cargo build --quiet {arguments...}")
        .quiet()
        .run()
        .with_context(|| format!("{what} does not build"))?;
    Ok(project.target.join("debug"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_select() {
        let names: BTreeSet<_> = all().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all().count());
        assert_eq!(select(None).unwrap().len(), names.len());
        let curl = select(Some("curl")).unwrap();
        assert!(curl.len() >= 4 && curl.iter().all(|scenario| scenario.name.contains("curl")));
        let error = select(Some("nginx")).err().unwrap().to_string();
        assert!(
            error.contains("no scenario's name contains \"nginx\"; there are:\n  an unknown flag"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_program_is_named_before_anything_runs() {
        let nowhere = OsString::from("/nonexistent");
        let error = present(&select(Some("curl reads br")).unwrap(), &nowhere).unwrap_err();
        assert!(error.is::<Missing>(), "{error}");
        assert_eq!(
            error.to_string(),
            "curl is not installed; `bash .ci/setup curl` does it"
        );
        let error = present(&select(Some("python")).unwrap(), &nowhere).unwrap_err();
        assert!(error.is::<Missing>(), "{error}");
        assert!(
            error.to_string().ends_with("`bash .ci/setup python` does it"),
            "{error}"
        );
        assert!(present(&select(Some("SIGTERM")).unwrap(), &nowhere).is_ok());
    }
}
