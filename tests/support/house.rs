//! An authority, and a certificate of it for this machine: what servers with TLS show, and what they are told of it.

use super::Scratch;
use super::certificates::{Authority, Identity, Validity};

/// An authority, a certificate of it for this machine, and room for more.
pub struct House {
    pub folder: Scratch,
    pub authority: Authority,
    pub identity: Identity,
}

/// What servers and sentinels show each other inside of TLS: files, and whether each has to show one.
pub struct Files {
    pub certificate: String,
    pub key: String,
    pub authorities: String,
    pub is_mutual: bool,
}

impl House {
    pub fn new() -> House {
        let folder = Scratch::new();
        let authority = Authority::new(folder.path(), "authority");
        let identity = authority.issue("redis", "DNS:localhost,IP:127.0.0.1", Validity::Now);
        House { folder, authority, identity }
    }

    /// What servers are to show each other.
    pub fn files(&self, is_mutual: bool) -> Files {
        Files {
            certificate: self.identity.certificate.clone(),
            key: self.identity.key.clone(),
            authorities: self.authority.certificate(),
            is_mutual,
        }
    }
}

impl Files {
    /// The settings of a server or sentinel that speaks TLS on this port, and to the others: names and values in turns.
    pub fn settings(&self, port: u16) -> Vec<String> {
        let asks = if self.is_mutual { "yes" } else { "no" };
        let of_files = [
            ("tls-cert-file", self.certificate.as_str()),
            ("tls-key-file", &self.key),
            ("tls-ca-cert-file", &self.authorities),
            ("tls-auth-clients", asks),
            ("tls-replication", "yes"),
        ];
        let mut settings = vec!["tls-port".to_owned(), port.to_string()];
        settings.extend(of_files.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]));
        settings
    }

    /// The same as they stand on a command line.
    pub fn arguments(&self, port: u16) -> Vec<String> {
        let settings = self.settings(port);
        settings.chunks(2).flat_map(|pair| [format!("--{}", pair[0]), pair[1].clone()]).collect()
    }
}
