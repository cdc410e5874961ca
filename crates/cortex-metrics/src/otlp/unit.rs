//! Units as Prometheus spells them, turned into those of UCUM, which OpenTelemetry uses.

use std::borrow::Cow;

/// Returns the unit of UCUM for one in plural and words; one that is not known stays as it is.
///
/// <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata>
pub(super) fn unit(words: &str) -> Cow<'_, str> {
    if let Some((above, below)) = words.split_once("_per_") {
        return format!("{}/{}", plural(above), singular(below)).into();
    }
    plural(words).into()
}

fn plural(word: &str) -> &str {
    match word {
        "ratio" => "1",
        "percent" => "%",
        "days" => "d",
        "hours" => "h",
        "minutes" => "min",
        "seconds" => "s",
        "milliseconds" => "ms",
        "microseconds" => "us",
        "nanoseconds" => "ns",
        "bytes" => "By",
        "kibibytes" => "KiBy",
        "mebibytes" => "MiBy",
        "gibibytes" => "GiBy",
        "tebibytes" => "TiBy",
        "kilobytes" => "KBy",
        "megabytes" => "MBy",
        "gigabytes" => "GBy",
        "terabytes" => "TBy",
        "meters" => "m",
        "volts" => "V",
        "amperes" => "A",
        "joules" => "J",
        "watts" => "W",
        "grams" => "g",
        "celsius" => "Cel",
        "hertz" => "Hz",
        other => other,
    }
}

fn singular(word: &str) -> &str {
    match word {
        "second" => "s",
        "minute" => "min",
        "hour" => "h",
        "day" => "d",
        "week" => "wk",
        "month" => "mo",
        "year" => "a",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_units_are_translated() {
        for (words, expected) in [
            ("seconds", "s"),
            ("bytes", "By"),
            ("ratio", "1"),
            ("bytes_per_second", "By/s"),
            ("jobs_per_minute", "jobs/min"),
            ("jobs", "jobs"),
        ] {
            assert_eq!(unit(words), expected);
        }
    }
}
