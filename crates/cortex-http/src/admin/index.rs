use std::sync::Arc;

use axum::response::{Html, IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::HeaderMap;
use http::header::{ACCEPT, VARY};

/// Answers with a list of what there is: links for browsers, a line each for everybody else.
pub(super) fn index(endpoints: &[&'static str]) -> MethodRouter {
    let text: Arc<str> = format!("{}\n", endpoints.join("\n")).into();
    let items: String = endpoints.iter().map(|endpoint| item(endpoint)).collect();
    let html: Arc<str> = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Admin port</title>\
         <h1>Admin port</h1><ul>{items}</ul></html>\n"
    )
    .into();
    get(async move |headers: HeaderMap| -> Response {
        let accepts = headers.get_all(ACCEPT).iter();
        let is_browser = accepts
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains("text/html"));
        let vary = [(VARY, "accept")];
        if is_browser {
            (vary, Html(html.to_string())).into_response()
        } else {
            (vary, text.to_string()).into_response()
        }
    })
}

/// What can be read by a link is one. Endpoints are ours: nothing in them has to be escaped.
fn item(endpoint: &str) -> String {
    if endpoint.starts_with('/') && !endpoint.contains('{') {
        format!("<li><a href=\"{endpoint}\">{endpoint}</a></li>")
    } else {
        format!("<li>{endpoint}</li>")
    }
}
