//! Writes reports.

mod actuator;
mod body;
mod health_json;
mod json;
mod text;
mod time;

pub(crate) use self::body::{Service, body};
pub(crate) use self::time::Rfc3339;
