//! What a scrape shows of layers that are observed by metrics.

use crate::case::{Case, of_body, with};
use crate::support::{Script, Step, decode, noise, read, respond, text};
use bytes::Bytes;
use cortex_compress::{
    Adaptive, Coding, CompressionLayer, MemoryBudget, MetricsObserver, RequestDecompressionLayer,
    VariantCache,
};
use cortex_metrics::Registry;
use cortex_testkit::ManualClock;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;
use tower::{ServiceBuilder, ServiceExt};

/// Returns the value of a series, or none where it is not shown.
#[track_caller]
fn shown(registry: &Registry, series: &str) -> Option<f64> {
    let text = registry.to_text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn send(layer: &CompressionLayer, coding: Coding, body: Script) -> Vec<u8> {
    let request = Request::builder().header("accept-encoding", coding.as_str());
    let response = Response::builder().header("content-type", "text/plain");
    let answer = respond(layer, request.body(()).unwrap(), response.body(body).unwrap());
    read(answer.into_body()).data()
}

#[test]
fn responses_are_counted_by_coding_with_their_bytes_and_their_time() {
    let registry = Registry::default();
    let metrics = MetricsObserver::new(&registry).unwrap();
    for coding in ["zstd", "br", "gzip", "deflate"] {
        for name in ["input_bytes", "output_bytes", "seconds"] {
            let series = format!("cortex_compress_encoder_{name}_total{{coding=\"{coding}\"}}");
            assert_eq!(
                shown(&registry, &series),
                Some(0.0),
                "{series} is there from the start"
            );
        }
    }
    let layer = CompressionLayer::new().observe(metrics.clone());
    let other = CompressionLayer::new().observe(metrics);
    for &coding in Coding::ALL {
        let whole = send(&layer, coding, Script::whole(text(4000)));
        let pieces = send(&other, coding, Script::new([Step::Data(text(3000))]));
        let cut = send(&layer, coding, Script::new([Step::Data(noise(2500)), Step::Fail]));
        assert_eq!(decode(coding, &whole), (text(4000).to_vec(), true));
        let labels = format!("coding=\"{coding}\"");
        let of = |name: &str, more: &str| {
            shown(
                &registry,
                &format!("cortex_compress_{name}_total{{{labels}{more}}}"),
            )
        };
        assert_eq!(of("encoded", ",path=\"inline\""), Some(1.0));
        assert_eq!(of("encoded", ",path=\"streamed\""), Some(1.0));
        assert_eq!(of("aborted", ",cause=\"inner\""), Some(1.0));
        assert_eq!(of("encoder_input_bytes", ""), Some(9500.0));
        let output = of("encoder_output_bytes", "").unwrap();
        let most = u32::try_from(whole.len() + pieces.len() + 2600).unwrap();
        assert!(
            output >= f64::from(most) - 2600.0 && output <= f64::from(most),
            "{coding}: {output}"
        );
        assert!(cut.len() <= 2600);
        let seconds = of("encoder_seconds", "").unwrap();
        assert!(seconds > 0.0 && seconds < 60.0, "{coding}: {seconds}");
    }
}

#[test]
fn skips_are_counted_by_reason_and_the_budget_shows_what_is_held() {
    let registry = Registry::default();
    let metrics = MetricsObserver::new(&registry).unwrap();
    assert_eq!(shown(&registry, "cortex_compress_memory_limit_bytes"), None);
    let (budget, tight) = (MemoryBudget::new(50_000_000), MemoryBudget::new(1000));
    for budget in [&budget, &tight, &budget] {
        metrics.watch(budget);
    }
    assert_eq!(
        shown(&registry, "cortex_compress_memory_limit_bytes"),
        Some(50_001_000.0)
    );
    assert_eq!(shown(&registry, "cortex_compress_memory_used_bytes"), Some(0.0));

    let layer = || CompressionLayer::new().memory_budget(budget.clone());
    let over = |case: Case, layer: CompressionLayer| {
        let request = Request::builder()
            .header("accept-encoding", "gzip")
            .body(())
            .unwrap();
        let mut response = Response::builder();
        for (name, value) in case.response {
            response = response.header(name, value);
        }
        let layer = layer.observe(metrics.clone());
        respond(&layer, request, response.body(case.body).unwrap())
    };
    let waiting = over(
        of_body(Script::new([Step::Data(text(3000)), Step::Stall])),
        layer(),
    );
    assert!(shown(&registry, "cortex_compress_memory_used_bytes").unwrap() > 100_000.0);
    drop(waiting);
    assert_eq!(shown(&registry, "cortex_compress_memory_used_bytes"), Some(0.0));
    let dropped = "cortex_compress_aborted_total{coding=\"gzip\",cause=\"dropped\"}";
    assert_eq!(shown(&registry, dropped), Some(1.0));

    for _ in 0..3 {
        drop(over(Case::default(), layer().memory_budget(tight.clone())));
    }
    drop(over(with(&[("content-type", "image/png")]), layer()));
    drop(over(of_body(Script::whole(noise(3000))), layer()));
    for (reason, count) in [
        ("memory_budget", 3.0),
        ("content_type", 1.0),
        ("not_smaller", 1.0),
    ] {
        let series = format!("cortex_compress_skipped_total{{reason=\"{reason}\"}}");
        assert_eq!(shown(&registry, &series), Some(count), "{reason}");
    }
}

#[tokio::test]
async fn bodies_that_are_decoded_are_counted_with_what_was_wrong() {
    let registry = Registry::default();
    let layer = RequestDecompressionLayer::new()
        .max_decoded(5000)
        .observe(MetricsObserver::new(&registry).unwrap());
    let service = ServiceBuilder::new()
        .layer(layer)
        .service_fn(async |request: Request<_>| {
            let read = BodyExt::collect(request.into_body()).await;
            let data = read.map_or(Bytes::new(), http_body_util::Collected::to_bytes);
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(data)))
        });
    let gzip = |length| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&text(length)).unwrap();
        encoder.finish().unwrap()
    };
    let good = gzip(4000);
    let mut trailing = good.clone();
    trailing.extend_from_slice(b"more");
    let sent = [
        good.clone(),
        b"This is not gzip.".to_vec(),
        good[..good.len() - 5].to_vec(),
        gzip(9000),
    ];
    for body in &sent {
        let request = Request::builder().header("content-encoding", "gzip");
        let request = request.body(Full::<Bytes>::from(body.clone())).unwrap();
        service.clone().oneshot(request).await.unwrap();
    }
    for coding in ["snappy", "gzip, gzip, gzip"] {
        let request = Request::builder().header("content-encoding", coding);
        let request = request.body(Full::<Bytes>::from(good.clone())).unwrap();
        assert_eq!(service.clone().oneshot(request).await.unwrap().status(), 415);
    }
    for (series, value) in [
        ("decoded_total{coding=\"gzip\"}", 1.0),
        ("decoder_output_bytes_total{coding=\"gzip\"}", 4000.0),
        ("not_decoded_total{coding=\"gzip\",reason=\"corrupt\"}", 1.0),
        ("not_decoded_total{coding=\"gzip\",reason=\"truncated\"}", 1.0),
        ("not_decoded_total{coding=\"gzip\",reason=\"decoded_size\"}", 1.0),
        ("refused_total{status=\"415\"}", 2.0),
    ] {
        let name = format!("cortex_compress_{series}");
        assert_eq!(shown(&registry, &name), Some(value), "{}", registry.to_text());
    }
    let input = shown(
        &registry,
        "cortex_compress_decoder_input_bytes_total{coding=\"gzip\"}",
    )
    .unwrap();
    let all: u32 = sent.iter().map(|body| u32::try_from(body.len()).unwrap()).sum();
    assert!(input > 0.0 && input <= f64::from(all), "{input} of {all}");
}

#[test]
fn a_second_observer_in_one_registry_is_refused_and_sub_registries_have_their_own() {
    let registry = Registry::default();
    let layers = ["shop", "partners"].map(|server| {
        let own = registry.sub_registry("", [("server", server)]).unwrap();
        let layer = CompressionLayer::new().observe(MetricsObserver::new(&own).unwrap());
        assert!(MetricsObserver::new(&own).is_err());
        layer
    });
    send(&layers[1], Coding::Gzip, Script::whole(text(10)));
    let series = "cortex_compress_skipped_total{server=\"partners\",reason=\"too_small\"}";
    assert_eq!(shown(&registry, series), Some(1.0), "{}", registry.to_text());
    let series = "cortex_compress_encoder_input_bytes_total{server=\"shop\",coding=\"br\"}";
    assert_eq!(shown(&registry, series), Some(0.0), "{}", registry.to_text());
}

#[test]
fn what_the_cache_spares_and_how_far_the_levels_are_down_is_shown() {
    let registry = Registry::default();
    let metrics = MetricsObserver::new(&registry).unwrap();
    let clock = ManualClock::new();
    let layer = CompressionLayer::new()
        .clock(clock.clone())
        .adaptive(Adaptive::pressure(|| 2.0))
        .cache(VariantCache::weighted(1 << 20))
        .observe(metrics);
    let send = || {
        let request = Request::builder().header("accept-encoding", "gzip");
        let response = Response::builder()
            .header("content-type", "text/plain")
            .header("etag", "\"x\"");
        let body = Script::whole(text(4000));
        let answer = respond(&layer, request.body(()).unwrap(), response.body(body).unwrap());
        drop(read(answer.into_body()));
    };
    let cached = "cortex_compress_cached_total{coding=\"gzip\"}";
    let encoded = "cortex_compress_encoded_total{coding=\"gzip\",path=\"inline\"}";
    send();
    assert_eq!(shown(&registry, "cortex_compress_adaptive_step"), Some(0.0));
    assert_eq!(
        (shown(&registry, encoded), shown(&registry, cached)),
        (Some(1.0), Some(0.0))
    );
    send();
    assert_eq!(
        (shown(&registry, encoded), shown(&registry, cached)),
        (Some(1.0), Some(1.0))
    );
    for _ in 0..20 {
        clock.advance(Duration::from_millis(100));
        send();
    }
    assert_eq!(shown(&registry, "cortex_compress_adaptive_step"), Some(1.0));
    assert_eq!(
        (shown(&registry, encoded), shown(&registry, cached)),
        (Some(1.0), Some(21.0))
    );
    let [input, output] = ["input", "output"].map(|way| {
        let series = |of| format!("cortex_compress_{of}_{way}_bytes_total{{coding=\"gzip\"}}");
        let once = shown(&registry, &series("encoder")).unwrap();
        (shown(&registry, &series("cached")).unwrap(), once * 21.0)
    });
    assert!(
        (input.0 - input.1).abs() < 0.5 && (output.0 - output.1).abs() < 0.5 && output.0 < input.0,
        "{input:?} {output:?}"
    );
}

#[test]
fn responses_to_requests_with_credentials_are_a_reason_of_their_own() {
    let registry = Registry::default();
    let metrics = MetricsObserver::new(&registry).unwrap();
    let layer = crate::breach::guarded().observe(metrics);
    let request = Request::builder()
        .header("accept-encoding", "gzip")
        .header("cookie", "a=b");
    let response = Response::builder().header("content-type", "text/plain");
    let response = response.body(Script::whole(text(4000))).unwrap();
    drop(respond(&layer, request.body(()).unwrap(), response));
    let series = "cortex_compress_skipped_total{reason=\"credentials\"}";
    assert_eq!(shown(&registry, series), Some(1.0));
}

#[cfg(feature = "dictionary")]
#[test]
fn what_is_compressed_against_a_dictionary_is_counted_by_its_own_name() {
    use crate::dictionary::{available, dictionary, layer_with, version};
    let registry = Registry::default();
    let known = dictionary(5000);
    let layer = layer_with(&[&known]).observe(MetricsObserver::new(&registry).unwrap());
    let of =
        |name: &str, labels: &str| shown(&registry, &format!("cortex_compress_{name}_total{{{labels}}}"));
    for (name, plain) in [("dcz", "zstd"), ("dcb", "br")] {
        let input = |coding: &str| of("encoder_input_bytes", &format!("coding=\"{coding}\""));
        assert_eq!(input(name), Some(0.0), "from the start");
        let send = |body: Script| {
            let request = Request::builder()
                .header("accept-encoding", name)
                .header("available-dictionary", available(&known));
            let response = Response::builder().header("content-type", "text/plain");
            let answer = respond(&layer, request.body(()).unwrap(), response.body(body).unwrap());
            read(answer.into_body()).data()
        };
        let encoded = send(Script::whole(version(&known)));
        let output = of("encoder_output_bytes", &format!("coding=\"{name}\""));
        assert_eq!(output, Some(f64::from(u32::try_from(encoded.len()).unwrap())));
        assert_eq!((input(name), input(plain)), (Some(5000.0), Some(0.0)));
        send(Script::new([Step::Data(text(500)), Step::Fail]));
        for (event, label) in [("encoded", "path=\"inline\""), ("aborted", "cause=\"inner\"")] {
            let labels = format!("coding=\"{name}\",{label}");
            assert_eq!(of(event, &labels), Some(1.0), "{labels}");
        }
    }
}
