//! TLS to the servers: the certificates of a run, and where clients go with it or without it.
//!
//! Owns the authority and the server's certificate, made by openssl: EC keys (P-256), whose handshake is the cheapest
//! that there is. Whoever connects checks the certificate against this authority, as a user must; a subject that can
//! check the name checks that, too. Nothing else is set on either side: version and ciphers are what the two agree on.
//!
//! Knows no process: the servers are in `redis.rs`, what each proxy is told in `proxy.rs`.

use crate::support::certificates::{Authority, Identity, Validity};
use crate::support::{Address, Scratch};

/// The certificates of a run, as files that every user can read.
pub struct Certificates {
    // They go with it.
    _folder: Scratch,
    authority: String,
    server: Identity,
}

impl Certificates {
    /// Makes them.
    ///
    /// # Panics
    ///
    /// When openssl is not installed.
    pub fn new() -> Certificates {
        let folder = Scratch::new();
        let authority = Authority::new(folder.path(), "authority");
        let server = authority.issue("server", "DNS:localhost,IP:127.0.0.1", Validity::Now);
        Certificates { authority: authority.certificate(), server, _folder: folder }
    }

    /// The file with the certificate that a server's own is checked against.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What redis-server is told to speak TLS, but for the port.
    pub fn server_flags(&self) -> Vec<String> {
        [
            ("--tls-cert-file", self.server.certificate.clone()),
            ("--tls-key-file", self.server.key.clone()),
            ("--tls-ca-cert-file", self.authority.clone()),
            ("--tls-auth-clients", "no".to_owned()),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }
}

/// Where clients go.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where somebody listens.
    pub address: Address,
    /// When TLS is spoken there: the file of the authority that its certificate comes from.
    pub authority: Option<String>,
}

impl Target {
    /// Without TLS.
    pub fn plain(address: Address) -> Target {
        Target { address, authority: None }
    }
}
