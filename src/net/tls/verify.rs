//! Checks the certificates of peers: as rustls does, and with words for what is wrong.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::reason::untrusted;

/// A check, and where the authorities come from that it trusts.
pub(super) struct Explained<V> {
    check: V,
    authorities: String,
}

impl<V> Explained<V> {
    pub fn new(check: V, authorities: String) -> Arc<Explained<V>> {
        Arc::new(Explained { check, authorities })
    }
}

impl<V> fmt::Debug for Explained<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.authorities.fmt(f)
    }
}

/// What was shown, the peer's own first.
fn shown<'a, 'b>(own: &'a CertificateDer<'b>, others: &'a [CertificateDer<'b>]) -> Vec<&'a CertificateDer<'b>> {
    std::iter::once(own).chain(others).collect()
}

/// Signatures are checked as the check itself does, whichever side it is for.
macro_rules! signatures_of_the_check {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.check.verify_tls12_signature(message, cert, dss)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.check.verify_tls13_signature(message, cert, dss)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.check.supported_verify_schemes()
        }
    };
}

impl ServerCertVerifier for Explained<Arc<WebPkiServerVerifier>> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map_err(|error| {
            untrusted(error, &shown(end_entity, intermediates), Some(server_name), now, &self.authorities)
        })
    }

    signatures_of_the_check!();
}

impl ClientCertVerifier for Explained<Arc<dyn ClientCertVerifier>> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.check.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check
            .verify_client_cert(end_entity, intermediates, now)
            .map_err(|error| untrusted(error, &shown(end_entity, intermediates), None, now, &self.authorities))
    }

    signatures_of_the_check!();
}
