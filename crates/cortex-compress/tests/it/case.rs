//! One request and one response, and what has to become of them.

use crate::support::{Script, ask, decode, read, text};
use cortex_compress::{Coding, CompressBody, CompressionLayer, Event, Observer, SkipReason};
use http::{Extensions, Method, Request, Response, StatusCode};
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub(crate) struct Log(pub(crate) Mutex<Vec<Event>>);

impl Observer for Log {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

/// One request and the response to it. The defaults would be encoded with gzip.
pub(crate) struct Case {
    pub(crate) method: Method,
    pub(crate) request: Vec<(&'static str, &'static str)>,
    pub(crate) status: StatusCode,
    pub(crate) response: Vec<(&'static str, &'static str)>,
    pub(crate) body: Script,
    pub(crate) layer: CompressionLayer,
    pub(crate) extensions: Extensions,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            method: Method::GET,
            request: vec![("accept-encoding", "gzip")],
            status: StatusCode::OK,
            response: vec![("content-type", "text/plain"), ("etag", "\"x\"")],
            body: Script::whole(text(4000)),
            layer: CompressionLayer::new(),
            extensions: Extensions::new(),
        }
    }
}

pub(crate) struct Answer {
    pub(crate) response: Response<CompressBody<Script>>,
    pub(crate) events: Vec<Event>,
}

impl Case {
    /// Lets the handler attach an extension to the response.
    pub(crate) fn extended(mut self, extension: impl Clone + Send + Sync + 'static) -> Self {
        self.extensions.insert(extension);
        self
    }

    /// Sends the request, whose response has to be the handler's.
    pub(crate) fn send(self) -> Answer {
        let (answer, called) = self.run();
        assert!(called, "the handler was not called");
        answer
    }

    /// Sends a request that the handler must not see.
    pub(crate) fn send_refused(self) -> Answer {
        let (answer, called) = self.run();
        assert!(!called, "the handler was called");
        answer
    }

    fn run(self) -> (Answer, bool) {
        let log = Arc::new(Log::default());
        let layer = self.layer.observe(Arc::clone(&log));
        let mut request = Request::builder().method(self.method);
        for (name, value) in self.request {
            request = request.header(name, value);
        }
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.response {
            response = response.header(name, value);
        }
        let mut response = response.body(self.body).unwrap();
        *response.extensions_mut() = self.extensions;
        let (response, called) = ask(&layer, request.body(()).unwrap(), response);
        let events = log.0.lock().unwrap().clone();
        (Answer { response, events }, called)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.response.headers().get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "two lines of {name}");
        value
    }

    pub(crate) fn reason(&self) -> Option<SkipReason> {
        match self.events[..] {
            [Event::Skipped { reason, .. }] => Some(reason),
            _ => None,
        }
    }

    /// The response is as the handler made it.
    #[track_caller]
    pub(crate) fn must_be_untouched(self, reason: SkipReason) {
        assert_eq!(self.reason(), Some(reason));
        assert_eq!(self.header("vary"), None);
        assert_eq!(self.header("etag"), Some("\"x\""));
        assert_eq!(self.header("accept-ranges"), None);
    }

    /// The identity, of a response that might have been encoded.
    #[track_caller]
    pub(crate) fn must_be_identity(self, reason: SkipReason) {
        assert_eq!(self.reason(), Some(reason));
        assert_eq!(self.header("vary"), Some("accept-encoding"));
        assert_eq!(self.header("content-encoding"), None);
        assert_eq!(self.header("etag"), Some("\"x\""));
    }

    #[track_caller]
    pub(crate) fn must_be_encoded(self) {
        assert_eq!(self.reason(), None);
        assert_eq!(self.header("content-encoding"), Some("gzip"));
        assert_eq!(self.header("vary"), Some("accept-encoding"));
        assert_eq!(self.header("etag"), Some("W/\"x\""));
        let received = read(self.response.into_body());
        assert_eq!(
            decode(Coding::Gzip, &received.data()),
            (text(4000).to_vec(), true)
        );
    }
}

pub(crate) fn with(response: &[(&'static str, &'static str)]) -> Case {
    let mut case = Case::default();
    for &(name, value) in response {
        case.response.retain(|&(present, _)| present != name);
        case.response.push((name, value));
    }
    case
}

pub(crate) fn of_status(status: u16) -> Case {
    Case {
        status: StatusCode::from_u16(status).unwrap(),
        ..Case::default()
    }
}

pub(crate) fn of_body(body: Script) -> Case {
    Case {
        body,
        ..Case::default()
    }
}

pub(crate) fn asking(request: &[(&'static str, &'static str)]) -> Case {
    Case {
        request: request.to_vec(),
        ..Case::default()
    }
}
