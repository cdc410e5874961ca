//! What kind of error something below had, by what the chain of its causes consists of.

use std::error::Error as StdError;
use std::io;

use super::connector::ConnectError;
use super::error::{Error, ErrorKind};
use super::pooled::NoAddress;

/// Causes deeper down are not looked at: somebody's chain may be endless.
const DEEPEST: usize = 16;

/// Finds the kind of an error of hyper, hyper-util, or something around them, such as reqwest.
pub(super) fn kind_of(error: &(dyn StdError + 'static)) -> ErrorKind {
    let chain = std::iter::successors(Some(error), |error: &&(dyn StdError + 'static)| (*error).source())
        .take(DEEPEST);
    let mut found = None;
    for cause in chain {
        if let Some(ours) = cause.downcast_ref::<Error>() {
            return ours.kind();
        } else if cause.is::<NoAddress>() {
            return ErrorKind::Request;
        } else if let Some(connect) = cause.downcast_ref::<ConnectError>() {
            return connect.kind();
        } else if let Some(client) = cause.downcast_ref::<hyper_util::client::legacy::Error>() {
            // Somebody else's connector may say more below.
            found = client.is_connect().then_some(ErrorKind::Connect).or(found);
        } else if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            let kind = of_hyper(hyper, found);
            if kind == ErrorKind::RequestBody {
                return kind; // what is below is about whatever the body was made of, another call perhaps
            }
            found = Some(kind);
        } else if cause.is::<io::Error>() && found.is_none_or(|kind| kind == ErrorKind::Protocol) {
            found = Some(ErrorKind::Closed);
        }
    }
    found.unwrap_or(ErrorKind::Inner)
}

fn of_hyper(error: &hyper::Error, above: Option<ErrorKind>) -> ErrorKind {
    if error.is_parse_too_large() {
        ErrorKind::HeadTooLarge
    } else if error.is_parse() {
        ErrorKind::Protocol
    } else if error.is_canceled() {
        ErrorKind::Cancelled
    } else if is_abandoned(error) {
        ErrorKind::Closed
    } else if error.is_user() {
        ErrorKind::RequestBody
    } else if error.is_incomplete_message() || error.is_closed() || error.is_body_write_aborted() {
        ErrorKind::Closed
    } else {
        // An error of HTTP/2, or of the socket: what is below tells.
        above.unwrap_or(ErrorKind::Protocol)
    }
}

/// Says whether the runtime that the connection lived on was shut down, which hyper lays at the user's door.
fn is_abandoned(error: &hyper::Error) -> bool {
    let gone = "runtime dropped the dispatch task";
    error.is_user() && error.source().is_some_and(|cause| cause.to_string() == gone)
}
