//! What the environment says about log records.

use std::ffi::OsString;

use super::OtlpLogsBuilder;
use crate::VariableError;
use crate::export::BLRP;

impl OtlpLogsBuilder {
    /// Takes over what the environment says, in place of what was set before; what is set afterwards goes before it.
    ///
    /// The variables are those of the OpenTelemetry specification: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_BLRP_SCHEDULE_DELAY`, `_MAX_QUEUE_SIZE` and `_MAX_EXPORT_BATCH_SIZE`. `OTEL_BLRP_EXPORT_TIMEOUT` has no
    /// counterpart: the exporter has [limits of its own](crate::Otlp::retry_for), and
    /// [`Otlp::logs_from_env`](crate::Otlp::logs_from_env) reads what is about it.
    ///
    /// # Errors
    ///
    /// A value cannot be used; the error names the variable. The specification would have it ignored, but who sets a
    /// variable wants it to count.
    pub fn from_env(self) -> Result<Self, VariableError> {
        self.variables(std::env::var_os)
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
    /// use cortex_trace::{Otlp, OtlpLogs};
    ///
    /// let builder = OtlpLogs::builder("shop").variables(|name| match name {
    ///     "OTEL_BLRP_MAX_QUEUE_SIZE" => Some("1024".into()),
    ///     _ => None,
    /// })?;
    /// let logs = builder.start(Otlp::http("http://localhost:4318")?)?;
    /// assert_eq!(logs.stats().queue_capacity, 1024);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn variables(
        mut self,
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, VariableError> {
        self.resource.read(&variable)?;
        self.limits.read(&BLRP, &variable)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OtlpLogs;
    use std::time::Duration;

    const DELAY: &str = "OTEL_BLRP_SCHEDULE_DELAY";
    const QUEUE: &str = "OTEL_BLRP_MAX_QUEUE_SIZE";
    const BATCH: &str = "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE";

    fn builder(variables: &[(&str, &str)]) -> Result<OtlpLogsBuilder, VariableError> {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        OtlpLogs::builder("shop").variables(|name| find(name).map(|(_, value)| value.into()))
    }

    #[test]
    fn nothing_said_changes_nothing() {
        let ours = format!("{:?}", OtlpLogs::builder("shop"));
        // Nor does what is said about spans.
        for variables in [&[][..], &[(QUEUE, ""), ("OTEL_BSP_MAX_QUEUE_SIZE", "7")]] {
            assert_eq!(format!("{:?}", builder(variables).unwrap()), ours);
        }
    }

    #[test]
    fn the_limits_and_the_service_are_taken_over() {
        let logs = builder(&[
            (DELAY, "20"),
            (QUEUE, "7"),
            (BATCH, "3"),
            ("OTEL_SERVICE_NAME", "mail"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=post,service.version=1.4",
            ),
        ])
        .unwrap();
        assert_eq!(
            (logs.limits.delay, logs.limits.capacity, logs.limits.batch),
            (Duration::from_millis(20), 7, 3)
        );
        assert_eq!(logs.resource.service_name(), "mail");
        assert_eq!(logs.resource.attributes().len(), 2);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value) in [
            (DELAY, "1s"),
            (DELAY, "-1"),
            (QUEUE, "0"),
            (QUEUE, "many"),
            (BATCH, "0"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a"),
        ] {
            assert_eq!(builder(&[(name, value)]).unwrap_err().name(), name, "{value}");
        }
    }
}
