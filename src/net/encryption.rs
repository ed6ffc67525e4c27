//! What a configuration says of TLS: names of files, and what is found wrong with them. Data only, the same in a build
//! without TLS.

use std::fmt;

/// How servers are to be reached over TLS, as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteTlsFiles {
    /// The authorities that are trusted, as PEM; `None`: those of the system.
    pub authorities: Option<String>,
    /// The name that a server's certificate must be for; `None`: the server's own, as it stands in the list.
    pub server_name: Option<String>,
    /// The certificate that is shown to a server that asks for one, and the file of its key.
    pub identity: Option<(String, String)>,
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
