//! Reads files with certificates and keys, all of them PEM.

use std::fs::File;
use std::hash::Hasher as _;
use std::io::Read as _;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::certificate::{Certificate, date, printable};
use crate::net::encryption::{Expiry, TlsFault};

/// A larger file is not read.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Where distributions have the authorities that they trust, and the variable that says it before them.
const BUNDLE_VARIABLE: &str = "SSL_CERT_FILE";
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// The files of one configuration while they are read: what they had, in one number, and until when it is good.
#[derive(Default)]
pub(super) struct Reading {
    /// Of the contents of all files, so that files that have not changed are known.
    contents: std::collections::hash_map::DefaultHasher,
    pub expiries: Vec<Expiry>,
}

/// A certificate with those that it is signed with, and its key.
pub(super) struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Reading {
    /// One number for the contents of all files that were read.
    pub fn digest(&self) -> u64 {
        self.contents.finish()
    }

    /// The authorities of this file, or those that the system trusts; and where they are.
    pub fn authorities(&mut self, key: &'static str, path: Option<&str>) -> Result<(RootCertStore, String), TlsFault> {
        let Some(path) = path else { return self.bundle(key) };
        let certificates = self.certificates(key, path)?;
        for der in &certificates {
            self.note_expiry(key, path, der);
        }
        let mut store = RootCertStore::empty();
        if store.add_parsable_certificates(certificates).0 == 0 {
            return Err(fault(key, path, "none of its certificates can be an authority's"));
        }
        Ok((store, shown(path)))
    }

    fn bundle(&mut self, key: &'static str) -> Result<(RootCertStore, String), TlsFault> {
        let given = std::env::var(BUNDLE_VARIABLE).ok().filter(|path| !path.is_empty());
        let mut paths = given.iter().map(String::as_str).chain(BUNDLES);
        let Some(path) = paths.find(|path| std::path::Path::new(path).exists()) else {
            let reason = format!("the system has no file of authorities ({}): give one", BUNDLES.join(", "));
            return Err(TlsFault { key, reason });
        };
        let mut store = RootCertStore::empty();
        if store.add_parsable_certificates(self.certificates(key, path)?).0 == 0 {
            return Err(fault(key, path, "none of its certificates can be an authority's"));
        }
        Ok((store, shown(path)))
    }

    /// A certificate and its key.
    pub fn identity(&mut self, keys: [&'static str; 2], paths: [&str; 2]) -> Result<Identity, TlsFault> {
        let chain = self.certificates(keys[0], paths[0])?;
        if let Some(own) = chain.first() {
            self.note_expiry(keys[0], paths[0], own);
        }
        let bytes = self.read(keys[1], paths[1])?;
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
            let reason = match find(&bytes, b"ENCRYPTED") {
                true => "its key is encrypted: give one that is not, in a file that others cannot read",
                false => "has no private key in it (PEM: a line with BEGIN PRIVATE KEY)",
            };
            fault(keys[1], paths[1], reason)
        })?;
        Ok(Identity { chain, key })
    }

    fn certificates(&mut self, key: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
        let bytes = self.read(key, path)?;
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match read {
            Ok(certificates) if certificates.is_empty() => {
                Err(fault(key, path, "has no certificate in it (PEM: a line with BEGIN CERTIFICATE)"))
            }
            Ok(certificates) => Ok(certificates),
            Err(_) => Err(fault(key, path, "is not PEM from its beginning to its end")),
        }
    }

    fn read(&mut self, key: &'static str, path: &str) -> Result<Vec<u8>, TlsFault> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| fault(key, path, &format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(fault(key, path, "is larger than 4 MB"));
        }
        self.contents.write(&bytes);
        self.contents.write_usize(bytes.len());
        Ok(bytes)
    }

    fn note_expiry(&mut self, key: &'static str, path: &str, der: &[u8]) {
        if let Some(Certificate { subject, from, until, .. }) = Certificate::read(der) {
            let (path, until_text) = (printable(path.as_bytes()), date(until));
            self.expiries.push(Expiry { key, path, subject, from, until, until_text });
        }
    }
}

/// What is wrong with the certificate and key of an identity, as rustls says it.
pub(super) fn unfit(error: &Error, keys: [&'static str; 2], paths: [&str; 2]) -> TlsFault {
    match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            fault(keys[1], paths[1], &format!("is not the key of the certificate in {}", shown(paths[0])))
        }
        Error::InvalidCertificate(_) => fault(keys[0], paths[0], "its certificate cannot be used"),
        _ => fault(keys[1], paths[1], "its key cannot be used: RSA from 2048 bits on, P-256, P-384 and Ed25519 can"),
    }
}

fn find(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

fn shown(path: &str) -> String {
    format!("\"{}\"", printable(path.as_bytes()))
}

fn fault(key: &'static str, path: &str, reason: &str) -> TlsFault {
    TlsFault { key, reason: format!("{} {reason}", shown(path)) }
}
