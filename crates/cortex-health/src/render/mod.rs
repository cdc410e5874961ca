//! Writes reports.

mod actuator;
mod body;
mod health_json;
mod history;
mod json;
mod text;
mod time;

pub(crate) use self::body::{Page, Service, body};
pub(crate) use self::time::Rfc3339;
