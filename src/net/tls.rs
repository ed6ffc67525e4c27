//! TLS, to servers and to clients: from files to sessions.
//!
//! ```text
//!   files ── load ──► RemoteTls, LocalTls: one for each pool, shared by its threads ── session ──► Session
//! ```
//!
//! What was made of the same files, with the same contents, is equal: so a reload knows whether there is anything to be
//! done, and what is remembered of servers, to be resumed, lasts. Nothing here turns checking off.
//!
//! The parts, each above those that it needs: `files`, `verify`, `session`; `reason`; `certificate`.

mod certificate;
mod files;
mod reason;
mod session;
#[cfg(test)]
mod tests;
mod verify;

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::{UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, UnbufferedServerConnection, WebPkiClientVerifier};
use rustls::{ClientConfig, ServerConfig};

use super::encryption::{Expiry, LocalTlsFiles, RemoteTlsFiles, TlsFault};
use files::{Reading, unfit};
use verify::Explained;

pub use session::{Buffers, Session};

/// How servers, or sentinels, are reached over TLS. Clones share what is remembered of them.
#[derive(Clone)]
pub struct RemoteTls {
    files: RemoteTlsFiles,
    digest: u64,
    expiries: Arc<[Expiry]>,
    config: Arc<ClientConfig>,
}

/// How clients are met with TLS. Clones share what is remembered of them.
#[derive(Clone)]
pub struct LocalTls {
    files: LocalTlsFiles,
    digest: u64,
    expiries: Arc<[Expiry]>,
    config: Arc<ServerConfig>,
}

impl RemoteTls {
    /// Reads the files, and makes something of them.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with one.
    pub fn load(files: RemoteTlsFiles) -> Result<RemoteTls, TlsFault> {
        if let Some(name) = files.server_name.as_deref().filter(|name| ServerName::try_from(*name).is_err()) {
            let reason = format!("\"{}\" is no name of a host", certificate::printable(name.as_bytes()));
            return Err(TlsFault { key: files.keys.server_name, reason });
        }
        let keys = files.keys;
        let mut reading = Reading::default();
        let (store, place) = reading.authorities(keys.authorities, files.authorities.as_deref())?;
        let provider = Arc::new(default_provider());
        let check = WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider));
        let check = check.build().map_err(|_| no_authority(keys.authorities, &place))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| no_authority(keys.switch, &place))?
            .dangerous()
            .with_custom_certificate_verifier(Explained::new(check, place));
        let config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let (keys, paths) = ([keys.certificate, keys.key], [certificate.as_str(), key.as_str()]);
                let identity = reading.identity(keys, paths)?;
                builder
                    .with_client_auth_cert(identity.chain, identity.key)
                    .map_err(|error| unfit(&error, keys, paths))?
            }
        };
        let digest = reading.digest();
        Ok(RemoteTls { files, digest, expiries: reading.expiries.into(), config: Arc::new(config) })
    }

    /// What it was made of.
    pub fn files(&self) -> &RemoteTlsFiles {
        &self.files
    }

    /// Until when its certificates are good: the client's, and those of authorities that were named.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }

    /// A session with the server that is known by this name or address.
    ///
    /// # Errors
    ///
    /// When that cannot stand in a certificate.
    pub fn session(&self, host: &str) -> io::Result<Session> {
        let name = self.files.server_name.as_deref().unwrap_or(host);
        let unfit = |_| io::Error::new(io::ErrorKind::InvalidInput, "its name cannot stand in a certificate");
        let name = ServerName::try_from(name.to_owned()).map_err(unfit)?;
        let connection = UnbufferedClientConnection::new(Arc::clone(&self.config), name);
        let peer = reason::Side::Server(self.files.keys);
        match connection {
            Ok(connection) => Ok(Session::to_server(connection, peer)),
            Err(error) => Err(reason::broken(&error, peer)),
        }
    }
}

impl LocalTls {
    /// Reads the files, and makes something of them.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with one.
    pub fn load(files: LocalTlsFiles) -> Result<LocalTls, TlsFault> {
        let mut reading = Reading::default();
        let provider = Arc::new(default_provider());
        let check = match &files.client_authorities {
            None => Arc::new(NoClientAuth),
            Some(path) => client_check(&mut reading, path, &provider)?,
        };
        let paths = [files.identity.0.as_str(), files.identity.1.as_str()];
        let identity = reading.identity(LOCAL_KEYS, paths)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(&error, LOCAL_KEYS, paths))?
            .with_client_cert_verifier(check)
            .with_single_cert(identity.chain, identity.key)
            .map_err(|error| unfit(&error, LOCAL_KEYS, paths))?;
        // What a client needs to be resumed it keeps itself: here, thousands of them cost nothing.
        config.ticketer = Ticketer::new().map_err(|error| unfit(&error, LOCAL_KEYS, paths))?;
        config.send_tls13_tickets = 1;
        let digest = reading.digest();
        Ok(LocalTls { files, digest, expiries: reading.expiries.into(), config: Arc::new(config) })
    }

    /// What it was made of.
    pub fn files(&self) -> &LocalTlsFiles {
        &self.files
    }

    /// Until when its certificates are good: its own, and those of clients' authorities.
    pub fn expiries(&self) -> &[Expiry] {
        &self.expiries
    }

    /// A session with a client.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn session(&self) -> io::Result<Session> {
        let connection = UnbufferedServerConnection::new(Arc::clone(&self.config));
        connection.map(Session::to_client).map_err(|error| reason::broken(&error, reason::Side::Client))
    }
}

fn client_check(
    reading: &mut Reading,
    path: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsFault> {
    let (store, place) = reading.authorities("localTlsClientCaFile", Some(path))?;
    let check = WebPkiClientVerifier::builder_with_provider(Arc::new(store), Arc::clone(provider));
    let check = check.build().map_err(|_| no_authority("localTlsClientCaFile", &place))?;
    Ok(Explained::new(check, place))
}

fn no_authority(key: &'static str, place: &str) -> TlsFault {
    TlsFault { key, reason: format!("{place} has no authority that can be trusted") }
}

const LOCAL_KEYS: [&str; 2] = ["localTlsCertFile", "localTlsKeyFile"];

impl PartialEq for RemoteTls {
    fn eq(&self, other: &RemoteTls) -> bool {
        self.files == other.files && self.digest == other.digest
    }
}

impl Eq for RemoteTls {}

impl PartialEq for LocalTls {
    fn eq(&self, other: &LocalTls) -> bool {
        self.files == other.files && self.digest == other.digest
    }
}

impl Eq for LocalTls {}

impl fmt::Debug for RemoteTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

impl fmt::Debug for LocalTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}
