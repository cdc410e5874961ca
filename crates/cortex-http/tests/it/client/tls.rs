use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use cortex_http::Client;
use cortex_http::client::{ClientBuilder, ErrorKind};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::support::{SOON, measured, raw};

/// An authority, and what it signs.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no name is wrong");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("there is randomness");
        Self(CertifiedIssuer::self_signed(params, key).expect("it is whole"))
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Returns a chain and a key in PEM.
    fn sign(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("there is randomness");
        let signed = params.signed_by(&key, &self.0).expect("it is whole");
        (signed.pem(), key.serialize_pem())
    }

    /// Starts a server that says over which protocol it was asked.
    async fn serve(&self, name: &str, protocols: &[&[u8]], client_must: Option<&Self>) -> SocketAddr {
        let (chain, key) = self.sign(name, ExtendedKeyUsagePurpose::ServerAuth);
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring knows them");
        let builder = match client_must {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(authority.pem().as_bytes());
                roots.add(root.expect("just made")).expect("it is an authority");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("there is a root"))
            }
        };
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        let config = builder.with_single_cert(chain.expect("just made"), key.expect("just made"));
        let mut config = config.expect("they belong together");
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        raw(move |socket| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(socket).await else {
                    return;
                };
                let tell = service_fn(async |request: Request<Incoming>| {
                    Ok::<_, Infallible>(Response::new(format!("{:?}", request.version())))
                });
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = serve.serve_connection(TokioIo::new(stream), tell).await;
                } else {
                    let serve = hyper::server::conn::http1::Builder::new();
                    let _ = serve.serve_connection(TokioIo::new(stream), tell).await;
                }
            }
        })
        .await
    }
}

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

type Change = fn(ClientBuilder) -> ClientBuilder;

#[tokio::test]
async fn the_protocol_is_what_both_can() {
    let authority = Authority::new();
    let cases: [(&[&[u8]], Change, Version); 5] = [
        (BOTH, |client| client, Version::HTTP_2),
        (BOTH, ClientBuilder::http1_only, Version::HTTP_11),
        (&[b"http/1.1"], |client| client, Version::HTTP_11),
        (&[], |client| client, Version::HTTP_11),
        (&[b"h2"], ClientBuilder::http2_prior_knowledge, Version::HTTP_2),
    ];
    for (protocols, change, version) in cases {
        let addr = authority.serve("127.0.0.1", protocols, None).await;
        let calls = measured(|client| change(client.ca_certificate_pem(authority.pem())));
        for _ in 0..3 {
            let response = calls.client.get(format!("https://{addr}/")).await.unwrap();
            assert_eq!(response.version(), version);
            assert_eq!(response.into_body().text().await.unwrap(), format!("{version:?}"));
        }
        assert_eq!(calls.sum("http_client_open_connections"), 1);
        assert_eq!(calls.ended(addr, "200", ""), 3);
    }
}

#[tokio::test]
async fn who_is_not_trusted_is_not_asked() {
    let (ours, other) = (Authority::new(), Authority::new());
    for (authority, name) in [(&other, "127.0.0.1"), (&ours, "other.example")] {
        let addr = authority.serve(name, BOTH, None).await;
        let calls = measured(|client| client.ca_certificate_pem(ours.pem()));
        let error = calls.client.get(format!("https://{addr}/")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
        assert!(error.is_unsent());
        assert!(error.to_string().contains("check the certificate"), "{error}");
        assert_eq!(calls.ended(addr, "", "tls"), 1);
        calls.until_quiet().await;
    }
}

#[tokio::test]
async fn what_this_machine_trusts_is_not_this_authority() {
    let authority = Authority::new();
    let addr = authority.serve("127.0.0.1", BOTH, None).await;
    let client = Client::builder().build().unwrap();
    let error = client.get(format!("https://{addr}/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
}

#[tokio::test]
async fn a_server_may_want_to_know_who_calls() {
    let authority = Authority::new();
    let addr = authority.serve("127.0.0.1", BOTH, Some(&authority)).await;
    let (chain, key) = authority.sign("shop.example", ExtendedKeyUsagePurpose::ClientAuth);
    let trusting = Client::builder().ca_certificate_pem(authority.pem());
    let known = trusting.clone().client_identity_pem(chain, key).build().unwrap();
    let response = known.get(format!("https://{addr}/")).await.unwrap();
    assert_eq!(response.into_body().text().await.unwrap(), "HTTP/2.0");
    // With TLS 1.3 the server says no only after the handshake.
    let unknown = trusting.build().unwrap();
    assert!(unknown.get(format!("https://{addr}/")).await.is_err());
}

#[tokio::test]
async fn handshakes_that_hang_or_are_none_end() {
    let authority = Authority::new();
    let silent = raw(|mut socket| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let calls = measured(|client| client.ca_certificate_pem(authority.pem()).connect_timeout(SOON));
    let error = calls.client.get(format!("https://{silent}/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectTimeout, "{error:?}");
    assert!(error.is_timeout() && error.is_unsent());
    assert_eq!(calls.ended(silent, "", "connect_timeout"), 1);

    let plain = raw(|mut socket| async move {
        let _ = socket.read_u8().await;
        let _ = tokio::io::AsyncWriteExt::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let calls = measured(|client| client.ca_certificate_pem(authority.pem()));
    let error = calls.client.get(format!("https://{plain}/")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
}

#[test]
fn certificates_and_keys_that_cannot_be_used_are_refused() {
    let authority = Authority::new();
    let (chain, key) = authority.sign("shop.example", ExtendedKeyUsagePurpose::ClientAuth);
    let (_, other) = authority.sign("shop.example", ExtendedKeyUsagePurpose::ClientAuth);
    for (builder, why) in [
        (Client::builder().ca_certificate_pem(""), "no certificate in PEM"),
        (
            Client::builder().ca_certificate_pem("-----BEGIN CERTIFICATE-----\n!"),
            "malformed",
        ),
        (
            Client::builder().ca_certificate_pem(key.clone()),
            "no certificate in PEM",
        ),
        (
            Client::builder().client_identity_pem("", key.clone()),
            "no certificate in PEM",
        ),
        (
            Client::builder().client_identity_pem(chain.clone(), ""),
            "no private key",
        ),
        (
            Client::builder().client_identity_pem(chain.clone(), chain.clone()),
            "no private key",
        ),
        (
            Client::builder().client_identity_pem(chain, other.clone()),
            "do not belong together",
        ),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(why), "{error}");
        let shown = format!("{error:?}");
        assert!(
            !other
                .lines()
                .skip(1)
                .any(|line| !line.starts_with('-') && shown.contains(line)),
            "{shown}"
        );
    }
}
