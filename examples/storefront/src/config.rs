use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) const HELP: &str = "\
A small shop on real HTTP: catalogue, product pages, checkout, and the payment service it calls.

usage: storefront [OPTIONS]

  --addr ADDR                the shop             (127.0.0.1:8080)
  --payments ADDR            the payment service  (127.0.0.1:8081)
  --admin ADDR               probes and metrics   (127.0.0.1:9090)
  --pay-at ADDR              another payment service to call  (its own)
  --payment-failures RATIO   share of payments that fail, 0 to 1  (0)
  --payment-latency MS       time a payment takes  (0)
  --load N                   send itself N requests, print a summary, end
  --sample RATIO             share of requests that are traced, 0 to 1  (0; 1 with --trace-file)
  --trace-file PATH          write spans as OTLP/JSON lines
  --log FILTER               JSON log lines on stderr, as in info,hyper=warn  (warn)
  --announce FILE            write the addresses as JSON once it listens
  --help                     this

Each option is also read from the environment: --payment-failures as STOREFRONT_PAYMENT_FAILURES.
With OTEL_EXPORTER_OTLP_ENDPOINT spans go to that collector, too, sampled as --sample or OTEL_TRACES_SAMPLER say.
Port 0 takes a free port. Ctrl-C or SIGTERM drains; a second one ends at once.
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Run(Box<Config>),
}

/// How to run, from flags, the environment and defaults, in this order.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) addr: String,
    pub(crate) payments: String,
    pub(crate) admin: String,
    pub(crate) pay_at: Option<SocketAddr>,
    pub(crate) payment_failures: f64,
    pub(crate) payment_latency: Duration,
    pub(crate) load: Option<u64>,
    pub(crate) sample: f64,
    pub(crate) trace_file: Option<PathBuf>,
    pub(crate) log: String,
    pub(crate) announce: Option<PathBuf>,
}

/// The options that take a value, which are all.
const OPTIONS: [&str; 11] = [
    "addr",
    "payments",
    "admin",
    "pay-at",
    "payment-failures",
    "payment-latency",
    "load",
    "sample",
    "trace-file",
    "log",
    "announce",
];

impl Config {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    ///
    /// One line that names the flag or the variable, and says what is allowed.
    pub(crate) fn read(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Command, String> {
        let mut values = Vec::new();
        for option in OPTIONS {
            let variable = format!("STOREFRONT_{}", option.replace('-', "_").to_uppercase());
            if let Some(value) = env(&variable) {
                values.push((option, variable, value));
            }
        }
        let mut parser = lexopt::Parser::from_iter(args);
        while let Some(argument) = parser.next().map_err(|error| see_help(&error))? {
            match argument {
                lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return Ok(Command::Help),
                lexopt::Arg::Long(name) => {
                    let known = OPTIONS.into_iter().find(|option| *option == name);
                    let option = known.ok_or_else(|| see_help(&format!("unknown flag --{name}")))?;
                    let value = parser.value().map_err(|error| see_help(&error))?;
                    values.push((option, format!("--{option}"), value));
                }
                other => return Err(see_help(&other.unexpected())),
            }
        }
        Self::of(values).map(|config| Command::Run(Box::new(config)))
    }

    /// Later values win: the environment comes before the flags.
    fn of(values: Vec<(&str, String, OsString)>) -> Result<Self, String> {
        let mut config = Self {
            addr: "127.0.0.1:8080".into(),
            payments: "127.0.0.1:8081".into(),
            admin: "127.0.0.1:9090".into(),
            pay_at: None,
            payment_failures: 0.0,
            payment_latency: Duration::ZERO,
            load: None,
            sample: 0.0,
            trace_file: None,
            log: "warn".into(),
            announce: None,
        };
        let mut sample = None;
        for (option, source, value) in values {
            match option {
                "trace-file" => config.trace_file = Some(value.into()),
                "announce" => config.announce = Some(value.into()),
                "sample" => sample = Some(ratio(&source, &text(&source, value)?)?),
                _ => config.set(option, &source, text(&source, value)?)?,
            }
        }
        config.sample = sample.unwrap_or(if config.trace_file.is_some() { 1.0 } else { 0.0 });
        Ok(config)
    }

    fn set(&mut self, option: &str, source: &str, value: String) -> Result<(), String> {
        match option {
            "addr" => self.addr = value,
            "payments" => self.payments = value,
            "admin" => self.admin = value,
            "log" => self.log = value,
            "pay-at" => {
                let address = value.parse();
                let expected =
                    || format!("{source} is {value:?}: expected an address such as 127.0.0.1:8081");
                self.pay_at = Some(address.map_err(|_| expected())?);
            }
            "payment-failures" => self.payment_failures = ratio(source, &value)?,
            "payment-latency" => {
                self.payment_latency = Duration::from_millis(number(source, &value, 0, "milliseconds")?);
            }
            _ => self.load = Some(number(source, &value, 1, "a number of requests")?),
        }
        Ok(())
    }
}

fn text(source: &str, value: OsString) -> Result<String, String> {
    value
        .into_string()
        .map_err(|_| format!("{source} is not UTF-8 text"))
}

fn see_help(error: &impl ToString) -> String {
    format!(
        "{}; `storefront --help` lists the options",
        error.to_string().replace('\n', " ")
    )
}

fn ratio(source: &str, value: &str) -> Result<f64, String> {
    let ratio = f64::from_str(value)
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("{source} is {value:?}: expected a ratio from 0 to 1"))
}

fn number(source: &str, value: &str, least: u64, what: &str) -> Result<u64, String> {
    let number = u64::from_str(value).ok().filter(|number| *number >= least);
    number.ok_or_else(|| format!("{source} is {value:?}: expected {what}, {least} or more"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Command, String> {
        let args = std::iter::once("storefront")
            .chain(args.iter().copied())
            .map(OsString::from);
        let value = |name: &str| {
            env.iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.into())
        };
        Config::read(args, value)
    }

    #[test]
    fn flags_win_over_the_environment_and_both_over_defaults() {
        let env = [
            ("STOREFRONT_ADDR", "127.0.0.1:1"),
            ("STOREFRONT_PAYMENT_FAILURES", "0.5"),
        ];
        let Ok(Command::Run(config)) =
            read(&["--addr", "127.0.0.1:2", "--load=7", "--trace-file", "x"], &env)
        else {
            panic!("it is right");
        };
        assert_eq!(
            (&*config.addr, &*config.admin, config.load),
            ("127.0.0.1:2", "127.0.0.1:9090", Some(7))
        );
        assert!((config.payment_failures - 0.5).abs() < 1e-9 && (config.sample - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_wrong_is_named_in_one_line() {
        for (args, env, names) in [
            (&["--adrr", "x"][..], None, "--adrr"),
            (&["--load"], None, "load"),
            (&["--load", "0"], None, "--load"),
            (&["extra"], None, "extra"),
            (&["-x"], None, "x"),
            (&["--sample", "1.5"], None, "0 to 1"),
            (&["--payment-latency", "soon"], None, "milliseconds"),
            (&[], Some(("STOREFRONT_LOAD", "many")), "STOREFRONT_LOAD"),
            (&[], Some(("STOREFRONT_SAMPLE", "NaN")), "STOREFRONT_SAMPLE"),
        ] {
            let error = read(args, env.as_slice()).unwrap_err();
            assert!(error.contains(names) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_help_names_every_option() {
        assert!(matches!(read(&["--help"], &[]), Ok(Command::Help)));
        for option in OPTIONS {
            assert!(HELP.contains(&format!("--{option} ")), "{option}");
        }
    }
}
