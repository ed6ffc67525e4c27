//! The keys of a pool that are about TLS: what goes together, and what is made of the files that they name.
//!
//! The files are read when the configuration is read, as those with passwords are: so `-test` tries them, and a reload
//! that finds something wrong with one changes nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::net::{
    Address, Expiry, LocalTls, LocalTlsFiles, RemoteTls, RemoteTlsFiles, RemoteTlsKeys, SENTINEL_KEYS, SERVER_KEYS,
    TlsFault,
};

use super::error::Problem;
use super::pool::PoolConfig;

/// What was said about TLS in one pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TlsDraft {
    pub(crate) remote: RemoteTlsDraft,
    pub(crate) sentinel: RemoteTlsDraft,
    pub(crate) local_certificate: Option<String>,
    pub(crate) local_key: Option<String>,
    pub(crate) local_client_authorities: Option<String>,
}

/// What was said about those whom rmux connects to: the servers, or the sentinels.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RemoteTlsDraft {
    pub(crate) is_on: bool,
    pub(crate) authorities: Option<String>,
    pub(crate) server_name: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) key: Option<String>,
}

/// A key, and what is wrong with it.
type Wrong = (Option<&'static str>, Problem);

impl TlsDraft {
    /// What a pool was made of.
    pub(crate) fn of(pool: &PoolConfig) -> TlsDraft {
        let local = pool.local_tls.as_ref().map(LocalTls::files);
        TlsDraft {
            remote: RemoteTlsDraft::of(pool.remote_tls.as_ref()),
            sentinel: RemoteTlsDraft::of(pool.sentinel_tls.as_ref()),
            local_certificate: local.map(|files| files.identity.0.clone()),
            local_key: local.map(|files| files.identity.1.clone()),
            local_client_authorities: local.and_then(|files| files.client_authorities.clone()),
        }
    }

    /// How servers are reached; `has_tcp` says whether there is one over TCP.
    ///
    /// # Errors
    ///
    /// What does not go together, or is wrong with a file.
    pub(crate) fn remote(&self, has_tcp: bool) -> Result<Option<RemoteTls>, Wrong> {
        self.remote.load(&SERVER_KEYS, has_tcp, "tcpConnections")
    }

    /// How sentinels are reached; `has_any` says whether there are some.
    ///
    /// # Errors
    ///
    /// What does not go together, or is wrong with a file.
    pub(crate) fn sentinel(&self, has_any: bool) -> Result<Option<RemoteTls>, Wrong> {
        self.sentinel.load(&SENTINEL_KEYS, has_any, "sentinels")
    }

    /// How clients are met, who come in there.
    ///
    /// # Errors
    ///
    /// What does not go together, or is wrong with a file.
    pub(crate) fn local(&self, listen: &Address) -> Result<Option<LocalTls>, Wrong> {
        let client_authorities = given(&self.local_client_authorities);
        let identity =
            both(["localTlsCertFile", "localTlsKeyFile"], [given(&self.local_certificate), given(&self.local_key)])?;
        match (identity, listen) {
            (None, _) if client_authorities.is_some() => {
                Err((Some("localTlsClientCaFile"), Problem::Needs { key: "localTlsCertFile" }))
            }
            (None, _) => Ok(None),
            (Some(_), Address::Unix(_)) => Err((Some("localTlsCertFile"), Problem::TlsOnSocket)),
            (Some(identity), Address::Tcp { .. }) => {
                LocalTls::load(LocalTlsFiles { identity, client_authorities }).map(Some).map_err(wrong)
            }
        }
    }
}

impl RemoteTlsDraft {
    fn of(tls: Option<&RemoteTls>) -> RemoteTlsDraft {
        let files = tls.map(|tls| tls.files().clone()).unwrap_or_default();
        let (certificate, key) = files.identity.unzip();
        let RemoteTlsFiles { authorities, server_name, .. } = files;
        RemoteTlsDraft { is_on: tls.is_some(), authorities, server_name, certificate, key }
    }

    /// `is_any` says whether there is somebody to reach, who stands under the key `whom`.
    fn load(&self, keys: &'static RemoteTlsKeys, is_any: bool, whom: &'static str) -> Result<Option<RemoteTls>, Wrong> {
        let (authorities, server_name) = (given(&self.authorities), given(&self.server_name));
        let identity = both([keys.certificate, keys.key], [given(&self.certificate), given(&self.key)])?;
        if !self.is_on {
            let said = [
                (keys.authorities, authorities.is_some()),
                (keys.server_name, server_name.is_some()),
                (keys.certificate, identity.is_some()),
            ];
            return match said.into_iter().find(|(_, is_given)| *is_given) {
                Some((key, _)) => Err((Some(key), Problem::Needs { key: keys.switch })),
                None => Ok(None),
            };
        }
        if !is_any {
            return Err((Some(keys.switch), Problem::Needs { key: whom }));
        }
        RemoteTls::load(RemoteTlsFiles { keys, authorities, server_name, identity }).map(Some).map_err(wrong)
    }
}

/// Until when the certificates are good that a pool has files of.
pub(super) fn expiries(pool: &PoolConfig) -> impl Iterator<Item = &Expiry> {
    let remote = pool.remote_tls.iter().chain(&pool.sentinel_tls).flat_map(RemoteTls::expiries);
    remote.chain(pool.local_tls.as_ref().map(LocalTls::expiries).unwrap_or_default())
}

/// For each key that names a file with certificates, the certificate until which it is good: of authorities the one
/// that lasts longest. When another one of them ends, those that it has signed do as well, and that is seen in these.
pub(crate) fn lasting(pool: &PoolConfig) -> Vec<&Expiry> {
    let all: Vec<&Expiry> = expiries(pool).collect();
    let of_keys = all.chunk_by(|one, next| one.key == next.key);
    of_keys.filter_map(|of_key| of_key.iter().max_by_key(|expiry| expiry.until).copied()).collect()
}

/// The certificates of a pool, one line for each; of a file with many, one line for all.
pub(crate) fn certificates(pool: &PoolConfig) -> Vec<String> {
    let all: Vec<&Expiry> = expiries(pool).collect();
    let mut lines = Vec::new();
    for of_file in all.chunk_by(|one, next| one.key == next.key) {
        if of_file.len() <= LINES_MAX {
            lines.extend(of_file.iter().map(|expiry| line(expiry)));
            continue;
        }
        if let Some(first) = of_file.iter().min_by_key(|expiry| expiry.until) {
            let Expiry { key, path, until_text, .. } = first;
            lines.push(format!("{key}: {path}: {} certificates, the first to expire on {until_text}", of_file.len()));
        }
    }
    lines
}

/// What its owner should know of a certificate, if there is anything: that it is not good, or will not be for long.
pub(crate) fn concern(expiry: &Expiry) -> Option<String> {
    let now = now();
    (expiry.until - now < SOON_SECONDS || expiry.from > now).then(|| line(expiry))
}

fn line(expiry: &Expiry) -> String {
    let now = now();
    let Expiry { key, path, subject, until_text, .. } = expiry;
    let what = match expiry.until < now {
        true => "expired on",
        false => "expires on",
    };
    match expiry.from > now {
        true => format!("{key}: {path}: the certificate of {subject} is not valid yet"),
        false => format!("{key}: {path}: the certificate of {subject} {what} {until_text}"),
    }
}

/// In seconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) as i64
}

/// An empty text counts as not given, as with the addresses.
fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// Both of two keys, or none.
fn both(keys: [&'static str; 2], values: [Option<String>; 2]) -> Result<Option<(String, String)>, Wrong> {
    match values {
        [Some(first), Some(second)] => Ok(Some((first, second))),
        [Some(_), None] => Err((Some(keys[0]), Problem::Needs { key: keys[1] })),
        [None, Some(_)] => Err((Some(keys[1]), Problem::Needs { key: keys[0] })),
        [None, None] => Ok(None),
    }
}

fn wrong(fault: TlsFault) -> Wrong {
    (Some(fault.key), Problem::BadFile { reason: fault.reason })
}

/// More certificates of one file are one line.
const LINES_MAX: usize = 8;

/// Before a certificate expires, so long is soon: 30 days, in seconds.
const SOON_SECONDS: i64 = 30 * 86_400;
