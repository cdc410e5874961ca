//! What the environment says about spans and logs.

use std::ffi::OsString;

use super::{Telemetry, TelemetryBuilder, TelemetryError};
use crate::variables::{VariableError, text};
use crate::{TextLogs, Tracer};

const TRACES: &str = "OTEL_TRACES_EXPORTER";
const LOGS: &str = "OTEL_LOGS_EXPORTER";
const FILTER: &str = "RUST_LOG";

impl Telemetry {
    /// Begins with what the environment says, for the service of this name unless that says another one.
    ///
    /// Beside the variables of [`TracerBuilder::from_env`](crate::TracerBuilder::from_env) and, with the feature
    /// `otlp`, those of `Otlp::from_env` and the `OTEL_BLRP_*` of `OtlpLogsBuilder::from_env`, these are read:
    /// `OTEL_TRACES_EXPORTER` and `OTEL_LOGS_EXPORTER`, which are `otlp`, `console` or `none` (for spans, `console`
    /// needs the feature of that name), and `RUST_LOG` for the filter. Without them both go to a collector if the
    /// feature `otlp` is on, and nowhere if it is not. With `OTEL_SDK_DISABLED=true` nothing goes anywhere but lines to
    /// the console, if `OTEL_LOGS_EXPORTER` says so, and only `OTEL_PROPAGATORS` and `RUST_LOG` need be right.
    ///
    /// # Errors
    ///
    /// A value cannot be used; the error names the variable.
    pub fn from_env(service: impl Into<String>) -> Result<TelemetryBuilder, TelemetryError> {
        Self::from_variables(service, std::env::var_os)
    }

    /// Does what [`from_env`](Self::from_env) does, with variables from elsewhere.
    ///
    /// # Errors
    ///
    /// A value cannot be used; the error names the variable.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::Telemetry;
    ///
    /// let builder = Telemetry::from_variables("shop", |name| match name {
    ///     "OTEL_TRACES_EXPORTER" | "OTEL_LOGS_EXPORTER" => Some("none".into()),
    ///     "RUST_LOG" => Some("warn".into()),
    ///     _ => None,
    /// })?;
    /// let (telemetry, _) = builder.build()?;
    /// assert_eq!(telemetry.filter().to_string(), "warn");
    /// # Ok::<(), cortex_trace::TelemetryError>(())
    /// ```
    pub fn from_variables(
        service: impl Into<String>,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<TelemetryBuilder, TelemetryError> {
        let tracer = Tracer::builder(service).variables(&variable)?;
        let mut builder = Self::builder(tracer);
        // What is not used need not be right, so that switching all off helps against what is wrong.
        let is_disabled = builder.tracer.is_disabled();
        match Exporter::read(TRACES, cfg!(feature = "console"), &variable) {
            _ if is_disabled => {}
            Err(error) => return Err(error.into()),
            Ok(Exporter::None) => {}
            #[cfg(feature = "console")]
            Ok(Exporter::Console) => builder.tracer = builder.tracer.export(crate::Console::stderr()),
            #[cfg(not(feature = "console"))]
            Ok(Exporter::Console) => unreachable!("refused above"),
            #[cfg(feature = "otlp")]
            Ok(Exporter::Otlp) => {
                builder.tracer = builder.tracer.export(crate::Otlp::from_variables(&variable)?);
            }
        }
        match Exporter::read(LOGS, true, &variable) {
            Ok(Exporter::Console) => builder = builder.text_logs(TextLogs::stdout()),
            _ if is_disabled => {}
            Err(error) => return Err(error.into()),
            Ok(Exporter::None) => {}
            #[cfg(feature = "otlp")]
            Ok(Exporter::Otlp) => {
                builder = builder.otlp_logs(crate::Otlp::logs_from_variables(&variable)?);
                builder.log_limits.read(&crate::export::BLRP, &variable)?;
            }
        }
        if let Some(directives) = text(&variable, FILTER)? {
            builder = builder.filter(directives);
        }
        Ok(builder)
    }
}

enum Exporter {
    #[cfg(feature = "otlp")]
    Otlp,
    Console,
    None,
}

impl Exporter {
    fn read(
        name: &'static str,
        has_console: bool,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, VariableError> {
        match text(variable, name)?.as_deref() {
            #[cfg(feature = "otlp")]
            None | Some("otlp") => Ok(Self::Otlp),
            #[cfg(not(feature = "otlp"))]
            None => Ok(Self::None),
            Some("none") => Ok(Self::None),
            Some("console") if has_console => Ok(Self::Console),
            Some(_) => Err(VariableError::new(
                name,
                "`otlp`, `console` or `none`, as far as their features are on",
            )),
        }
    }
}
