use http::Uri;
use tokio_rustls::rustls::pki_types::ServerName;

/// Returns the name that the certificate of a server must be for, if its host can be in one.
pub(in crate::otlp) fn server_name(url: &Uri) -> Option<ServerName<'static>> {
    let host = url.host()?;
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    ServerName::try_from(address.unwrap_or(host).to_owned()).ok()
}
