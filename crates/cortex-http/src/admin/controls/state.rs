use std::borrow::Cow;
use std::time::Duration;

use crate::admin::json::Object;

/// How a [`Controllable`](crate::Controllable) part is: a word for people, and what stands behind it.
///
/// At most 64 fields are shown, and 1024 bytes of each text.
///
/// # Examples
///
/// ```
/// use cortex_http::ControlState;
/// use std::time::Duration;
///
/// let state = ControlState::new("forced_open")
///     .expires_in(Duration::from_secs(600))
///     .field("failures", 12_u32)
///     .field("failure_ratio", 0.8)
///     .field("last_error", "no route to host")
///     .field("probing", false);
/// assert!(format!("{state:?}").contains("forced_open"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ControlState {
    state: Cow<'static, str>,
    expires_in: Option<Duration>,
    fields: Vec<(Cow<'static, str>, ControlValue)>,
}

/// The value of a field of a [`ControlState`].
///
/// It is what a person reads in a line beside others, so it is flat, knows times and is cut when it is long, unlike a
/// [`ProblemValue`](crate::ProblemValue), which is any JSON for a program.
///
/// # Examples
///
/// ```
/// use cortex_http::ControlValue;
///
/// assert_eq!(ControlValue::from(3_u32), ControlValue::Count(3));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ControlValue {
    /// Yes or no.
    Bool(bool),
    /// So many.
    Count(u64),
    /// So much; what is not finite is shown as `null`.
    Number(f64),
    /// So long; shown in seconds.
    Duration(Duration),
    /// In words.
    Text(Cow<'static, str>),
}

const FIELDS: usize = 64;
const BYTES: usize = 1024;

impl ControlState {
    /// Names the state, as `open` does.
    pub fn new(state: impl Into<Cow<'static, str>>) -> Self {
        Self {
            state: state.into(),
            expires_in: None,
            fields: Vec::new(),
        }
    }

    /// Says that the state was forced, and ends by itself in so long.
    #[must_use]
    pub const fn expires_in(mut self, left: Duration) -> Self {
        self.expires_in = Some(left);
        self
    }

    /// Adds what stands behind it.
    #[must_use]
    pub fn field(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<ControlValue>) -> Self {
        if self.fields.len() < FIELDS {
            self.fields.push((name.into(), value.into()));
        }
        self
    }

    pub(super) fn write(&self, object: &mut Object) {
        object.text("state", cut(&self.state));
        if let Some(left) = self.expires_in {
            object.literal("expires_in_seconds", left.as_secs());
        }
        let mut fields = Object::new();
        for (name, value) in &self.fields {
            let name = cut(name);
            match value {
                ControlValue::Bool(value) => fields.literal(name, value),
                ControlValue::Count(value) => fields.literal(name, value),
                ControlValue::Number(value) if value.is_finite() => fields.literal(name, value),
                ControlValue::Number(_) => fields.literal(name, "null"),
                ControlValue::Duration(value) => fields.literal(name, value.as_secs_f64()),
                ControlValue::Text(value) => fields.text(name, cut(value)),
            }
        }
        object.literal("fields", fields.finish());
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(BYTES)]
}

impl From<bool> for ControlValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for ControlValue {
    fn from(value: u32) -> Self {
        Self::Count(value.into())
    }
}

impl From<u64> for ControlValue {
    fn from(value: u64) -> Self {
        Self::Count(value)
    }
}

impl From<usize> for ControlValue {
    fn from(value: usize) -> Self {
        Self::Count(value as u64)
    }
}

impl From<f64> for ControlValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<Duration> for ControlValue {
    fn from(value: Duration) -> Self {
        Self::Duration(value)
    }
}

impl From<&'static str> for ControlValue {
    fn from(value: &'static str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for ControlValue {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(state: &ControlState) -> serde_json::Value {
        let mut object = Object::new();
        state.write(&mut object);
        serde_json::from_str(&object.finish()).expect("JSON")
    }

    #[test]
    fn every_value_is_json() {
        let state = ControlState::new("open")
            .expires_in(Duration::from_millis(1500))
            .field("yes", true)
            .field("count", u64::MAX)
            .field("few", 3_usize)
            .field("ratio", 0.5)
            .field("whole", 2.0)
            .field("none", f64::NAN)
            .field("age", Duration::from_millis(250))
            .field("error", "\"quoted\"\n".to_owned());
        let expected = serde_json::json!({
            "state": "open", "expires_in_seconds": 1,
            "fields": {
                "yes": true, "count": u64::MAX, "few": 3, "ratio": 0.5, "whole": 2, "none": null, "age": 0.25,
                "error": "\"quoted\"\n",
            },
        });
        assert_eq!(written(&state), expected);
    }

    #[test]
    fn it_is_bounded() {
        let mut state = ControlState::new("é".repeat(4000));
        for index in 0..1000_u32 {
            state = state.field(format!("{index}"), "x".repeat(9000));
        }
        let written = written(&state);
        assert_eq!(written["state"], "é".repeat(512));
        assert_eq!(written["fields"].as_object().map(serde_json::Map::len), Some(64));
        assert_eq!(written["fields"]["63"], "x".repeat(1024));
    }
}
