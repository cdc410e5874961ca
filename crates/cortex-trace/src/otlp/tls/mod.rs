//! TLS: whom to trust, who this client is, and connections.

mod builder;
mod configs;
mod connector;
mod credentials;
mod diagnosis;
mod last_words;
mod name;
mod pem;
mod stream;

pub(super) use self::connector::Connector;
pub(super) use self::credentials::Credentials;
pub(super) use self::diagnosis::diagnose;
pub(super) use self::name::server_name;
pub(super) use self::pem::Pem;
