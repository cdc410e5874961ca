//! Collectors behind TLS, with certificates that are good, and all kinds that are not.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cortex_trace::{Otlp, OtlpError, OtlpErrorKind, TlsProblem};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::collector::{Collector, Reply, Speaks};
use super::faults::{BOTH, end_spans, patient, send};
use crate::support::AGES;

/// An authority, whose certificates are trusted where its own is.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
struct Signed {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Signs a certificate for the address of tests.
    fn sign(&self) -> Signed {
        self.sign_for("127.0.0.1", |_| {})
    }

    fn sign_for(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Signed {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

const ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// A server, which wants certificates of these clients, if there are any.
struct Server<'a> {
    signed: Signed,
    clients: Option<&'a Authority>,
    protocols: &'a [&'a str],
    versions: &'a [&'static SupportedProtocolVersion],
}

impl Server<'_> {
    fn new(signed: Signed) -> Self {
        Self {
            signed,
            clients: None,
            protocols: &[],
            versions: ALL_VERSIONS,
        }
    }

    fn start(&self, speaks: Speaks, replies: impl IntoIterator<Item = Reply>) -> Collector {
        Collector::behind(vec![self.acceptor()], speaks, replies)
    }

    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .unwrap();
        let builder = match self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut store = RootCertStore::empty();
                store.add(authority.0.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(store.into(), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = CertificateDer::pem_slice_iter(self.signed.certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.signed.key.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = self.protocols.iter().map(|name| (*name).into()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

fn exporter(collector: &Collector) -> Otlp {
    collector.exporter_to(&format!("https://{}", collector.address()))
}

/// Sends two batches to a collector that nothing gets to, and returns what was wrong, which would be tried again.
fn problem(collector: &Collector, otlp: Otlp) -> TlsProblem {
    final_problem(collector, once(otlp))
}

/// Takes care that a second attempt would come too late, so that there is none, and no wait.
fn once(otlp: Otlp) -> Otlp {
    otlp.backoff(Duration::from_hours(1))
        .retry_for(Duration::from_secs(10))
}

/// Sends two batches to a collector that nothing gets to, and returns what was wrong, after one attempt for each.
fn final_problem(collector: &Collector, otlp: Otlp) -> TlsProblem {
    let (stats, error) = send(otlp);
    assert_eq!((stats.exported, stats.failed), (0, 4));
    assert_eq!(collector.others(), 0);
    assert_eq!(collector.connections(), 2); // one for each batch: nothing was tried again
    match error {
        Some(OtlpErrorKind::Tls { problem }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn spans_get_there() {
    let authority = Authority::new("ours");
    for speaks in BOTH {
        for protocols in [&[][..], &["h2", "http/1.1"]] {
            for versions in [&[&TLS13], &[&TLS12]] {
                let server = Server {
                    protocols,
                    versions,
                    ..Server::new(authority.sign())
                };
                if speaks == Speaks::Http && !protocols.is_empty() {
                    continue; // it would prefer HTTP/2, which is for the next test
                }
                let collector = server.start(speaks, []);
                let otlp = exporter(&collector).ca_certificate_pem(authority.pem());
                let (stats, error) = send(otlp.unwrap());
                assert_eq!((stats.exported, error), (4, None), "{speaks:?} {protocols:?}");
                assert_eq!([3, 1].map(|_| collector.next().spans()), [3, 1]);
                assert_eq!(collector.connections(), 1);
            }
        }
    }
}

#[test]
fn protocols_are_agreed_upon() {
    let authority = Authority::new("ours");
    let start = |speaks, protocols: &[&str]| {
        let server = Server {
            protocols,
            ..Server::new(authority.sign())
        };
        server.start(speaks, [])
    };
    let otlp = |collector: &Collector| exporter(collector).ca_certificate_pem(authority.pem()).unwrap();
    for protocols in [&["h2"][..], &["h2", "http/1.1"], &["http/1.1"]] {
        let collector = start(Speaks::Http, protocols);
        let (stats, error) = send(otlp(&collector));
        assert_eq!((stats.exported, error), (4, None), "{protocols:?}");
        let received = collector.next();
        assert_eq!(received.path, "/v1/traces");
        // Of HTTP/1.1 only.
        assert_eq!(received.headers.contains_key("host"), protocols == ["http/1.1"]);
        assert_eq!(collector.connections(), 1);
    }
    let collector = start(Speaks::Grpc, &["http/1.1"]);
    assert_eq!(
        final_problem(&collector, otlp(&collector)),
        TlsProblem::NothingInCommon
    );
}

#[cfg(feature = "logs")]
#[test]
fn logs_get_there() {
    use cortex_trace::OtlpLogs;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::collector::assert_adds_up;

    let authority = Authority::new("ours");
    for speaks in BOTH {
        let collector = Server::new(authority.sign()).start(speaks, []);
        let otlp = exporter(&collector).ca_certificate_pem(authority.pem()).unwrap();
        let logs = OtlpLogs::builder("shop").start(otlp).unwrap();
        let subscriber = tracing_subscriber::registry().with(logs.clone());
        tracing::subscriber::with_default(subscriber, || tracing::warn!("restocked"));
        logs.shutdown_blocking(AGES).unwrap();
        assert_eq!(assert_adds_up(logs.stats()).exported, 1);
        let received = collector.next();
        let request: ExportLogsServiceRequest = match speaks {
            Speaks::Http => received.decode(),
            Speaks::Grpc => received.decode_framed(),
        };
        assert_eq!(request.resource_logs[0].scope_logs[0].log_records.len(), 1);
    }
}

#[test]
fn names_are_those_of_the_endpoint() {
    let authority = Authority::new("ours");
    for speaks in BOTH {
        let signed = authority.sign_for("localhost", |_| {});
        let collector = Server::new(signed).start(speaks, []);
        let port = collector.address().port();
        let otlp = |host| {
            let otlp = collector.exporter_to(&format!("https://{host}:{port}"));
            otlp.ca_certificate_pem(authority.pem()).unwrap()
        };
        assert_eq!(problem(&collector, otlp("127.0.0.1")), TlsProblem::WrongName);
        let (stats, error) = send(otlp("localhost"));
        assert_eq!((stats.exported, error), (4, None));
    }
}

#[test]
fn what_is_wrong_with_certificates_is_told() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let expired = || {
        ours.sign_for("127.0.0.1", |params| {
            params.not_after = date_time_ymd(2020, 1, 1);
        })
    };
    let early = || {
        ours.sign_for("127.0.0.1", |params| {
            params.not_before = date_time_ymd(4000, 1, 1);
        })
    };
    let authority = || {
        ours.sign_for("127.0.0.1", |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        })
    };
    for speaks in BOTH {
        for (signed, expected) in [
            (theirs.sign(), TlsProblem::UnknownIssuer),
            (expired(), TlsProblem::Expired),
            (early(), TlsProblem::NotYetValid),
            (ours.sign_for("elsewhere.example", |_| {}), TlsProblem::WrongName),
            (authority(), TlsProblem::InvalidCertificate),
        ] {
            let collector = Server::new(signed).start(speaks, []);
            let otlp = exporter(&collector).ca_certificate_pem(ours.pem()).unwrap();
            assert_eq!(problem(&collector, otlp), expected, "{speaks:?}");
        }
    }
}

#[test]
fn what_was_wrong_is_said_with_its_source_and_what_to_do() {
    let authority = Authority::new("ours");
    let signed = authority.sign_for("elsewhere.example", |_| {});
    let collector = Server::new(signed).start(Speaks::Http, []);
    let otlp = exporter(&collector).ca_certificate_pem(authority.pem()).unwrap();
    let tracer = patient().export(once(otlp)).build().unwrap();
    end_spans(&tracer, 1);
    tracer.flush_blocking(AGES).unwrap();
    let (name, error) = tracer.last_errors().next().unwrap();
    let error = error.source().unwrap();
    assert_eq!(name, "otlp");
    assert_eq!(
        error.to_string(),
        "send to the collector: its certificate is for other names: use one of them in the endpoint, or add this one \
         to the certificate"
    );
    let source = error.source().unwrap().to_string();
    assert!(
        source.contains("127.0.0.1") && source.contains("elsewhere.example"),
        "{source}"
    );
}

#[test]
fn clients_show_their_certificates() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for speaks in BOTH {
        for version in [&TLS13, &TLS12] {
            let server = Server {
                clients: Some(&ours),
                versions: &[version],
                ..Server::new(ours.sign())
            };
            let collector = server.start(speaks, []);
            let otlp = || exporter(&collector).ca_certificate_pem(ours.pem()).unwrap();
            let known = ours.sign_for("client", |_| {});
            let (stats, error) = send(otlp().client_identity_pem(known.certificate, known.key).unwrap());
            assert_eq!((stats.exported, error), (4, None), "{speaks:?} {version:?}");
            assert_eq!([3, 1].map(|_| collector.next().spans()), [3, 1]);

            let collector = server.start(speaks, []);
            let otlp = || exporter(&collector).ca_certificate_pem(ours.pem()).unwrap();
            let nobody = problem(&collector, otlp());
            assert_eq!(
                nobody,
                TlsProblem::ClientCertificateRequired,
                "{speaks:?} {version:?}"
            );

            let collector = server.start(speaks, []);
            let otlp = exporter(&collector).ca_certificate_pem(ours.pem()).unwrap();
            let stranger = theirs.sign_for("client", |_| {});
            let otlp = otlp.client_identity_pem(stranger.certificate, stranger.key);
            let stranger = problem(&collector, otlp.unwrap());
            assert_eq!(
                stranger,
                TlsProblem::ClientCertificateRefused,
                "{speaks:?} {version:?}"
            );
        }
    }
}

#[test]
fn what_is_mended_in_time_costs_nothing() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let good = || Server::new(ours.sign());
    let expired = ours.sign_for("127.0.0.1", |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let early = ours.sign_for("127.0.0.1", |params| {
        params.not_before = date_time_ymd(4000, 1, 1);
    });
    let strict = |clients| Server {
        clients: Some(clients),
        ..good()
    };
    let known = ours.sign_for("client", |_| {});
    for speaks in BOTH {
        for (bad, identity, expected) in [
            (Server::new(expired.clone()), None, TlsProblem::Expired),
            (Server::new(early.clone()), None, TlsProblem::NotYetValid),
            (Server::new(theirs.sign()), None, TlsProblem::UnknownIssuer),
            (strict(&ours), None, TlsProblem::ClientCertificateRequired),
            (
                strict(&theirs),
                Some(&known),
                TlsProblem::ClientCertificateRefused,
            ),
        ] {
            // The same port, whose certificate is renewed after the second connection.
            let acceptors = vec![bad.acceptor(), bad.acceptor(), good().acceptor()];
            let collector = Collector::behind(acceptors, speaks, []);
            let mut otlp = exporter(&collector).ca_certificate_pem(ours.pem()).unwrap();
            if let Some(Signed { certificate, key }) = identity {
                otlp = otlp.client_identity_pem(certificate, key).unwrap();
            }
            let (stats, error) = send(otlp);
            assert_eq!((stats.exported, stats.failed), (4, 0), "{speaks:?} {expected:?}");
            assert_eq!(error, Some(OtlpErrorKind::Tls { problem: expected }));
            assert_eq!([3, 1].map(|_| collector.next().spans()), [3, 1]);
            assert_eq!((collector.connections(), collector.others()), (3, 0));
        }
    }
}

#[cfg(any(feature = "bridge", feature = "logs"))]
#[test]
fn a_handshake_that_fails_is_told_while_it_is_tried_again() {
    use std::cell::RefCell;
    use std::fmt::Write as _;
    use std::sync::mpsc::{Sender, channel};

    use cortex_trace::{ExportError, Exporter, ExporterStart, SpanData};
    use tracing::field::{Field, Visit};
    use tracing::subscriber::DefaultGuard;
    use tracing::{Event, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    struct Lines(Sender<String>);
    impl<S: Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            if event.metadata().target().starts_with("cortex_trace") {
                let _ = self.0.send(line.0);
            }
        }
    }
    struct Line(String);
    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    thread_local! {
        static SUBSCRIBER: RefCell<Option<DefaultGuard>> = const { RefCell::new(None) };
    }

    /// Listens on the thread of the exporter.
    struct Heard(Otlp, Sender<String>);
    impl Exporter for Heard {
        fn name(&self) -> &'static str {
            self.0.name()
        }

        fn begin(&mut self, start: ExporterStart<'_>) {
            let subscriber = tracing_subscriber::registry().with(Lines(self.1.clone()));
            SUBSCRIBER.set(Some(cortex_testkit::subscribe(subscriber)));
            self.0.begin(start);
        }

        fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
            self.0.export(batch)
        }
    }

    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::new();
    let collector = Server::new(ours.sign()).start(Speaks::Http, []);
    let ca = folder.write("ca.pem", &theirs.pem());
    let otlp = exporter(&collector).ca_certificate_file(&ca).unwrap();
    let (sender, lines) = channel();
    let tracer = patient()
        .batch_size(1)
        .export(Heard(otlp, sender))
        .build()
        .unwrap();
    end_spans(&tracer, 1);

    let line = lines.recv_timeout(AGES).unwrap();
    let beginning = "WARN message=telemetry is held up exporter=\"otlp\" error=send to the collector: no trusted authority";
    assert!(line.starts_with(beginning), "{line}");
    let stats = tracer.stats();
    assert_eq!((stats.in_flight, stats.failed), (1, 0));
    let (_, error) = tracer.last_errors().next().unwrap();
    let error = error.source().unwrap().downcast_ref::<OtlpError>().unwrap();
    let problem = TlsProblem::UnknownIssuer;
    assert_eq!(*error.kind(), OtlpErrorKind::Tls { problem });

    folder.write("ca.pem", &ours.pem());
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!((tracer.stats().exported, tracer.stats().failed), (1, 0));
    assert_eq!(lines.try_iter().count(), 0); // nothing was lost, and one line a minute is enough
}

#[test]
fn collectors_without_tls_are_noticed() {
    let authority = Authority::new("ours");
    for speaks in BOTH {
        let collector = Collector::start(speaks, []);
        let otlp = exporter(&collector).ca_certificate_pem(authority.pem()).unwrap();
        assert_eq!(final_problem(&collector, otlp), TlsProblem::NotTls, "{speaks:?}");
    }
}

#[test]
fn a_handshake_that_hangs_costs_the_timeout() {
    // The system accepts, and nobody ever reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let short = Duration::from_millis(50);
    for otlp in [Otlp::http(&url), Otlp::grpc(&url)] {
        let otlp = otlp
            .unwrap()
            .ca_certificate_pem(Authority::new("ours").pem())
            .unwrap();
        let (stats, error) = send(otlp.timeout(short).retry_for(short));
        assert_eq!((stats.exported, stats.failed), (0, 4));
        assert_eq!(error, Some(OtlpErrorKind::TimedOut));
    }
}

/// A directory that goes when this does.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cortex-trace-tls-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_are_read_again_for_each_connection() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::new();
    let write = |authority: &Authority| {
        let client = authority.sign_for("client", |_| {});
        let ca = folder.write("ca.pem", &authority.pem());
        let certificate = folder.write("client.pem", &client.certificate);
        (ca, certificate, folder.write("client.key", &client.key))
    };
    let server = Server {
        clients: Some(&ours),
        ..Server::new(ours.sign())
    };
    let well = Speaks::Http.well();
    let collector = server.start(Speaks::Http, [well.clone(), well, Reply::Die]);
    let (ca, certificate, key) = write(&theirs);
    let otlp = exporter(&collector).ca_certificate_file(ca).unwrap();
    let otlp = otlp.client_identity_files(certificate, key).unwrap();
    let tracer = patient().batch_size(1).export(otlp).build().unwrap();
    let send = |exported| {
        end_spans(&tracer, 1);
        tracer.flush_blocking(AGES).unwrap();
        let stats = tracer.stats();
        assert_eq!((stats.exported, stats.failed), (exported, 0));
    };
    end_spans(&tracer, 1);
    collector.failed_handshake(); // they know neither the collector, nor it them
    write(&ours);
    send(2);
    // Half of a renewal, and nonsense.
    folder.write("ca.pem", "");
    folder.write("client.key", &theirs.sign().key);
    let connections = collector.connections();
    send(3); // what was there before does, for the connection after the one that dies
    assert_eq!(collector.connections(), connections + 1);
    tracer.shutdown_blocking(AGES).unwrap();
}

#[test]
fn the_environment_names_files() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::new();
    let client = ours.sign_for("client", |_| {});
    let ca = folder.write("ca.pem", &ours.pem());
    let other = folder.write("other.pem", &theirs.pem());
    let certificate = folder.write("client.pem", &client.certificate);
    let key = folder.write("client.key", &client.key);
    let server = Server {
        clients: Some(&ours),
        ..Server::new(ours.sign())
    };
    let collector = server.start(Speaks::Grpc, []);
    // Without a scheme it is TLS.
    let endpoint = PathBuf::from(collector.address().to_string());
    let read = |variables: &[(&str, &Path)]| {
        Otlp::from_variables(|asked| {
            let (_, value) = variables.iter().find(|(name, _)| *name == asked)?;
            Some(OsString::from(value))
        })
    };
    let otlp = read(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", Path::new("grpc")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &other),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", &ca),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key),
    ]);
    let otlp = otlp.unwrap();
    let shown = format!("{otlp:?}");
    assert!(
        shown.contains("client.key") && !shown.contains("BEGIN"),
        "{shown}"
    );
    let (stats, error) = send(otlp);
    assert_eq!((stats.exported, error), (4, None));
    assert_eq!(collector.next().spans(), 3);
}

#[test]
fn files_that_cannot_be_used_are_named_by_variable_and_path() {
    const CA: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE";
    const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
    let authority = Authority::new("ours");
    let folder = Folder::new();
    let client = authority.sign_for("client", |_| {});
    let certificate = folder.write("client.pem", &client.certificate);
    let key = folder.write("client.key", &client.key);
    let other = folder.write("other.key", &authority.sign().key);
    let broken = folder.write(
        "broken.pem",
        &client.key.replace("PRIVATE KEY-----\n", "PRIVATE KEY----\n"),
    );
    let large = folder.write("large.pem", &"\n".repeat((1 << 20) + 1));
    let missing = folder.0.join("missing.pem");
    let unreadable = |path: &Path| OtlpErrorKind::UnreadableFile { path: path.into() };
    let no_certificate = |path: &Path| OtlpErrorKind::InvalidCertificate {
        path: Some(path.into()),
    };
    let no_key = |path: &Path| OtlpErrorKind::InvalidKey {
        path: Some(path.into()),
    };
    for (variables, name, expected) in [
        (&[(CA, &missing)][..], CA, unreadable(&missing)),
        (&[(CA, &large)], CA, unreadable(&large)),
        (&[(CA, &key)], CA, no_certificate(&key)),
        (&[(CA, &broken)], CA, no_certificate(&broken)),
        (
            &[(CERTIFICATE, &certificate), (KEY, &missing)],
            KEY,
            unreadable(&missing),
        ),
        (
            &[(CERTIFICATE, &missing), (KEY, &key)],
            CERTIFICATE,
            unreadable(&missing),
        ),
        (
            &[(CERTIFICATE, &key), (KEY, &key)],
            CERTIFICATE,
            no_certificate(&key),
        ),
        (
            &[(CERTIFICATE, &certificate), (KEY, &certificate)],
            KEY,
            no_key(&certificate),
        ),
        (
            &[(CERTIFICATE, &certificate), (KEY, &broken)],
            KEY,
            no_key(&broken),
        ),
        (&[(CERTIFICATE, &certificate), (KEY, &other)], KEY, no_key(&other)),
        (
            &[(CERTIFICATE, &certificate)],
            CERTIFICATE,
            OtlpErrorKind::InvalidKey { path: None },
        ),
        (
            &[(KEY, &key)],
            KEY,
            OtlpErrorKind::InvalidCertificate { path: None },
        ),
    ] {
        let error = Otlp::from_variables(|asked| {
            let (_, path) = variables.iter().find(|(name, _)| *name == asked)?;
            Some(OsString::from(path))
        });
        let error = error.unwrap_err();
        assert_eq!(*error.kind(), OtlpErrorKind::InvalidVariable { name });
        let source = error.source().unwrap().downcast_ref::<OtlpError>().unwrap();
        assert_eq!(*source.kind(), expected, "{variables:?}");
        let why = source.source().unwrap().to_string();
        let all = format!("{error} {error:?} {source} {source:?} {why}");
        let secret = client.key.lines().nth(1).unwrap();
        assert!(!all.contains(secret) && !all.contains("PRIVATE"), "{all}");
    }
}

/// Tells a process of its own where the collector is, and what should come of it.
const ENDPOINT: &str = "CORTEX_TRACE_TEST_ENDPOINT";
const EXPECTED: &str = "CORTEX_TRACE_TEST_EXPECTED";

#[test]
fn authorities_of_the_machine_are_trusted_unless_there_are_others() {
    if let (Ok(endpoint), Ok(expected)) = (std::env::var(ENDPOINT), std::env::var(EXPECTED)) {
        let (stats, error) = send(once(Otlp::http(&endpoint).unwrap()));
        assert_eq!(format!("{} {error:?}", stats.exported), expected);
        return;
    }
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::new();
    for (pem, expected) in [
        (ours.pem(), "4 None"),
        (theirs.pem(), "0 Some(Tls { problem: UnknownIssuer })"),
        (String::new(), "0 Some(Tls { problem: NoAuthorities })"),
    ] {
        let collector = Server::new(ours.sign()).start(Speaks::Http, []);
        let test = "otlp::tls::authorities_of_the_machine_are_trusted_unless_there_are_others";
        // There is no other way to choose what the machine trusts.
        let output = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact"])
            .env(ENDPOINT, format!("https://{}", collector.address()))
            .env(EXPECTED, expected)
            .env("SSL_CERT_FILE", folder.write("ca.pem", &pem))
            .env_remove("SSL_CERT_DIR")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
    let collector = Server::new(ours.sign()).start(Speaks::Http, []);
    let otlp = exporter(&collector).ca_certificate_pem(theirs.pem()).unwrap();
    assert_eq!(problem(&collector, otlp), TlsProblem::UnknownIssuer);
}
