//! What an observer learns of bodies that are decoded.

use super::support::{body, encode, read};
use crate::support::{Script, Step, drive, text};
use cortex_compress::{
    Coding, DecodeErrorKind, Event, Limit, Observer, RequestDecompressionLayer, ResponseDecompressionLayer,
};
use http::{Request, Response};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tower::{Layer, Service, service_fn};

#[derive(Default)]
struct Log(Mutex<Vec<Event>>);

impl Observer for Log {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

/// Decodes a body and returns what was told of it.
fn told(layer: &ResponseDecompressionLayer, codings: &str, script: Script) -> Vec<Event> {
    let log = Arc::new(Log::default());
    read(body(&layer.clone().observe(Arc::clone(&log)), codings, script));
    let events = log.0.lock().unwrap();
    events.clone()
}

#[test]
fn a_body_is_told_once_with_its_lengths() {
    let layer = ResponseDecompressionLayer::new();
    for &coding in Coding::ALL {
        let once = encode(coding, &text(50_000));
        let twice = encode(Coding::Gzip, &once);
        for (codings, outer, data) in [
            (coding.to_string(), coding, once),
            (format!("{coding}, gzip"), Coding::Gzip, twice),
        ] {
            let length = data.len() as u64;
            let events = told(&layer, &codings, Script::whole(data));
            let [
                Event::Decoded {
                    coding,
                    bytes_in,
                    bytes_out,
                    ..
                },
            ] = events[..]
            else {
                panic!("{events:?}")
            };
            assert_eq!((coding, bytes_in, bytes_out), (outer, length, 50_000));
        }
    }
}

#[test]
fn a_body_that_is_wrong_is_told_once_with_its_error() {
    let gzip = encode(Coding::Gzip, &text(50_000));
    let length = gzip.len() as u64;
    let layer = ResponseDecompressionLayer::new();
    let small = layer.clone().max_encoded(100);
    let too_long = DecodeErrorKind::Limit(Limit::EncodedSize(100));
    let cases = [
        (
            &layer,
            Script::whole(gzip[..1000].to_vec()),
            DecodeErrorKind::Truncated,
            1000,
        ),
        (&layer, Script::whole("something"), DecodeErrorKind::Corrupt, 9),
        (&small, Script::whole(gzip.clone()), too_long, 0),
        (&small, Script::new([Step::Data(gzip.into())]), too_long, length),
    ];
    for (layer, script, kind, length) in cases {
        let events = told(layer, "gzip", script);
        let [Event::NotDecoded { error, bytes_in, .. }] = events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((error.kind(), bytes_in), (kind, length));
    }
    let failing = Script::new([Step::Fail]);
    assert_eq!(told(&layer, "gzip", failing), [], "that is told by who failed");
    assert_eq!(told(&layer, "identity", Script::whole("text")), []);
}

#[test]
fn a_refusal_is_told_with_its_status() {
    for (coding, length, status) in [("compress", 1, 415), ("gzip", 1001, 413)] {
        let log = Arc::new(Log::default());
        let layer = RequestDecompressionLayer::new()
            .max_encoded(1000)
            .observe(Arc::clone(&log));
        assert!(format!("{layer:?}").contains("observed: true"));
        let handler =
            service_fn(async |_| -> Result<Response<Script>, Infallible> { panic!("it was refused") });
        let request = Request::post("/").header("content-encoding", coding);
        let request = request.body(Script::whole(text(length))).unwrap();
        let mut future = std::pin::pin!(layer.layer(handler).call(request));
        drive(|cx| future.as_mut().poll(cx)).0.unwrap().unwrap();
        let events = log.0.lock().unwrap();
        let [Event::Refused { status: told, .. }] = events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(told, status);
    }
}
