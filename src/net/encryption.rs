//! What a configuration says of TLS: names of files, and what is found wrong with them. Data only, the same in a build
//! without TLS.

use std::fmt;

/// What `-healthcheck` asks a listener of clients inside of TLS. That is not TLS, so it is turned away, which tells
/// that rmux is alive; and since nobody else says this, the log is not told.
pub const HEALTHCHECK: &[u8] = b"PING rmux-healthcheck\r\n";

/// The keys that say how somebody is to be reached over TLS: they are named where something is wrong.
#[derive(Debug, PartialEq, Eq)]
pub struct RemoteTlsKeys {
    /// The one that turns it on.
    pub switch: &'static str,
    /// The one with the authorities.
    pub authorities: &'static str,
    /// The one with a name.
    pub server_name: &'static str,
    /// The one with rmux's own certificate.
    pub certificate: &'static str,
    /// The one with the key of that.
    pub key: &'static str,
}

/// Those of the servers.
pub const SERVER_KEYS: RemoteTlsKeys = RemoteTlsKeys {
    switch: "remoteTls",
    authorities: "remoteTlsCaFile",
    server_name: "remoteTlsServerName",
    certificate: "remoteTlsCertFile",
    key: "remoteTlsKeyFile",
};

/// Those of the sentinels.
pub const SENTINEL_KEYS: RemoteTlsKeys = RemoteTlsKeys {
    switch: "sentinelTls",
    authorities: "sentinelTlsCaFile",
    server_name: "sentinelTlsServerName",
    certificate: "sentinelTlsCertFile",
    key: "sentinelTlsKeyFile",
};

/// How servers, or sentinels, are to be reached over TLS, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTlsFiles {
    /// Whose they are.
    pub keys: &'static RemoteTlsKeys,
    /// The authorities that are trusted, as PEM; `None`: those of the system.
    pub authorities: Option<String>,
    /// The name that a server's certificate must be for; `None`: the server's own, as it stands in the list.
    pub server_name: Option<String>,
    /// The certificate that is shown to a server that asks for one, and the file of its key.
    pub identity: Option<(String, String)>,
}

impl Default for RemoteTlsFiles {
    /// A server's, of which nothing more was said.
    fn default() -> RemoteTlsFiles {
        RemoteTlsFiles { keys: &SERVER_KEYS, authorities: None, server_name: None, identity: None }
    }
}

/// How clients are to be met with TLS, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalTlsFiles {
    /// The certificate that is shown to clients, those that it is signed with behind it, and the file of its key.
    pub identity: (String, String),
    /// The authorities that a client's certificate must come from, as PEM; `None`: clients need none.
    pub client_authorities: Option<String>,
}

/// What is wrong with a file, or with what was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFault {
    /// The key that names the file.
    pub key: &'static str,
    /// The file, and what is wrong, fit for the end of a line.
    pub reason: String,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

impl std::error::Error for TlsFault {}

/// Until when one certificate of a file is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// The key that names the file.
    pub key: &'static str,
    /// The file.
    pub path: String,
    /// Whose certificate it is.
    pub subject: String,
    /// From then on it is good, in seconds since 1970.
    pub from: i64,
    /// The last second in which it is good, in seconds since 1970.
    pub until: i64,
    /// The same as a date, in UTC.
    pub until_text: String,
}
