//! Why a TLS connection fails, in words for a log: which certificate, which name, since when, and what to do.
//!
//! rustls says what is wrong by its own names, for those who know them; its texts are not used, and so not linked.

use std::fmt;
use std::io;

use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::certificate::{Certificate, date, printable};
use crate::net::encryption::RemoteTlsKeys;

/// Which side of the connection the peer is; of a server, with the keys that are about it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Side {
    Client,
    Server(&'static RemoteTlsKeys),
}

/// A certificate that is not trusted, in words. It travels through rustls as its "other" error.
#[derive(Debug)]
pub(super) struct Untrusted(pub(super) String);

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Untrusted {}

/// The peer does not keep to the protocol, or is not who it should be.
pub(super) fn protocol_error(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

/// True exactly when this is how somebody begins who does not speak TLS.
pub(super) fn is_plain(words: &[u8]) -> bool {
    words.first().is_some_and(|first| !(20..=23).contains(first))
}

/// The peer does not speak TLS, and has said this.
pub(super) fn plain_peer(peer: Side, words: &[u8]) -> io::Error {
    let line = words.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let line = printable(line);
    protocol_error(&match peer {
        Side::Server(_) => format!("it does not speak TLS on this port: it answers \"{line}\""),
        Side::Client => format!("it does not speak TLS, which this port asks for: it says \"{line}\""),
    })
}

/// An error of rustls about a peer.
pub(super) fn broken(error: &Error, peer: Side) -> io::Error {
    protocol_error(&words(error, peer))
}

fn words(error: &Error, peer: Side) -> String {
    let is_server = matches!(peer, Side::Server(_));
    match error {
        Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref::<Untrusted>() {
            Some(Untrusted(words)) => words.clone(),
            None => "its certificate cannot be used".to_owned(),
        },
        Error::AlertReceived(alert) => alert_words(*alert, peer),
        Error::NoCertificatesPresented if is_server => "it shows no certificate".to_owned(),
        Error::NoCertificatesPresented => "it shows no certificate, and localTlsClientCaFile asks for one".to_owned(),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => "what it says is not TLS".to_owned(),
        Error::PeerIncompatible(reason) => match reason {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
                "it speaks neither TLS 1.2 nor TLS 1.3".to_owned()
            }
            _ => "it has no version, cipher or signature of TLS in common with rmux".to_owned(),
        },
        Error::DecryptError => "a TLS record was changed on its way, or has another key".to_owned(),
        Error::PeerSentOversizedRecord => "a TLS record is longer than it may be".to_owned(),
        Error::FailedToGetRandomBytes => "the system gives no random bytes".to_owned(),
        Error::FailedToGetCurrentTime => "the system's clock cannot be read".to_owned(),
        Error::InvalidMessage(_) => "a TLS message is malformed".to_owned(),
        Error::PeerMisbehaved(_) => "it does not keep to the TLS protocol".to_owned(),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "a TLS message comes out of turn".to_owned()
        }
        _ => "the TLS session failed".to_owned(),
    }
}

/// What the peer says as it gives up.
fn alert_words(alert: AlertDescription, peer: Side) -> String {
    use AlertDescription as Alert;
    let certificate = match peer {
        Side::Client => "the certificate of localTlsCertFile".to_owned(),
        Side::Server(keys) => format!("the certificate of {}", keys.certificate),
    };
    match (alert, peer) {
        (Alert::CertificateRequired, Side::Server(keys)) => {
            format!("it wants a client's certificate: give {} and {}", keys.certificate, keys.key)
        }
        (Alert::HandshakeFailure, Side::Server(keys)) => {
            format!(
                "it refuses the TLS handshake: it has no version or cipher in common with rmux, or wants a client's \
                 certificate ({})",
                keys.certificate
            )
        }
        (Alert::UnrecognisedName, Side::Server(keys)) => {
            format!("it does not serve the name that it was asked for: see {}", keys.server_name)
        }
        _ => of_either(alert, &certificate),
    }
}

/// What either side may say as it gives up.
fn of_either(alert: AlertDescription, certificate: &str) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::UnknownCA => format!("it does not know the authority that has signed {certificate}"),
        Alert::CertificateExpired => format!("it says that {certificate} has expired"),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::AccessDenied => format!("it does not accept {certificate} (TLS alert {})", u8::from(alert)),
        Alert::ProtocolVersion => "it speaks neither TLS 1.2 nor TLS 1.3".to_owned(),
        _ => format!("it gives up, with TLS alert {}", u8::from(alert)),
    }
}

/// Why a certificate that was shown is not trusted, with `authorities` as the place of those who are.
pub(super) fn untrusted(
    error: Error,
    shown: &[&CertificateDer<'_>],
    name: Option<&ServerName<'_>>,
    now: UnixTime,
    authorities: &str,
) -> Error {
    let Error::InvalidCertificate(reason) = &error else { return error };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let read: Vec<Certificate> = shown.iter().filter_map(|der| Certificate::read(der)).collect();
    let words = match read.first() {
        None => "its certificate cannot be read".to_owned(),
        Some(own) => {
            let kind = Distrust::of(reason);
            // One that it is signed with may be the one that has expired.
            let is_cause = |certificate: &&Certificate| match kind {
                Distrust::Expired => certificate.until < now,
                Distrust::Early => certificate.from > now,
                _ => true,
            };
            let cause = read.iter().find(is_cause).unwrap_or(own);
            format!(
                "its certificate ({}, issued by {}) {}",
                cause.subject,
                cause.issuer,
                kind.words(cause, name, authorities)
            )
        }
    };
    Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(std::sync::Arc::new(Untrusted(words)))))
}

/// The kinds of distrust that are worth words of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distrust {
    Expired,
    Early,
    OtherName,
    UnknownIssuer,
    Purpose,
    Revoked,
    Signature,
    Other,
}

impl Distrust {
    fn of(error: &CertificateError) -> Distrust {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Distrust::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Distrust::Early,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Distrust::OtherName,
            CertificateError::UnknownIssuer => Distrust::UnknownIssuer,
            CertificateError::InvalidPurpose => Distrust::Purpose,
            CertificateError::Revoked => Distrust::Revoked,
            CertificateError::BadSignature => Distrust::Signature,
            _ => Distrust::Other,
        }
    }

    fn words(self, certificate: &Certificate, name: Option<&ServerName<'_>>, authorities: &str) -> String {
        match self {
            Distrust::Expired => format!("expired on {}", date(certificate.until)),
            Distrust::Early => format!("is not valid before {}", date(certificate.from)),
            Distrust::OtherName => {
                let asked = name.map_or_else(String::new, |name| printable(name.to_str().as_bytes()));
                match certificate.names.as_slice() {
                    [] => {
                        format!("is not for {asked}: it has no alternative names, and its common name does not count")
                    }
                    names => format!("is not for {asked}, but for {}", names.join(", ")),
                }
            }
            Distrust::UnknownIssuer if certificate.subject == certificate.issuer => {
                format!("is signed by itself, and is not in {authorities}")
            }
            Distrust::UnknownIssuer => {
                format!("comes from an authority that is not known: {} is not in {authorities}", certificate.issuer)
            }
            Distrust::Purpose => "is not meant for this side of a connection (extended key usage)".to_owned(),
            Distrust::Revoked => "was revoked".to_owned(),
            Distrust::Signature => "has a signature that is wrong".to_owned(),
            Distrust::Other if certificate.is_authority => {
                "is an authority's own (CA:TRUE), which cannot be a server's as well".to_owned()
            }
            Distrust::Other => "cannot be used".to_owned(),
        }
    }
}
