//! Certificates for tests, made by openssl: right ones, and ones that are wrong in one way each.
//!
//! The unit tests of `src/net/tls` include this file as well; so it uses nothing of its neighbours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Now,
    /// Until 2021-01-01 00:00:00 UTC.
    Past,
    /// From 2090-01-01 00:00:00 UTC on.
    Future,
}

/// Somebody who signs certificates, with everything in one folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    name: String,
}

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// A new one of this name; its certificate is `NAME.pem` in the folder.
    pub fn new(folder: &Path, name: &str) -> Authority {
        let authority = Authority { folder: folder.to_owned(), name: name.to_owned() };
        fs::write(authority.file("index"), "").expect("the folder can be written");
        fs::write(authority.file("serial"), "01").expect("the folder can be written");
        let settings = format!(
            "[ca]\ndefault_ca = own\n[own]\ndatabase = {}\nserial = {}\nnew_certs_dir = {}\ndefault_md = sha256\n\
             policy = any\nunique_subject = no\ncopy_extensions = copy\n[any]\ncommonName = supplied\n",
            authority.path("index"),
            authority.path("serial"),
            folder.display(),
        );
        fs::write(authority.file("cnf"), settings).expect("the folder can be written");
        let subject = format!("/CN={name}");
        let (key, certificate) = (authority.path("key"), authority.certificate());
        openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "36500"],
            &["-subj", &subject, "-keyout", &key, "-out", &certificate],
        );
        authority
    }

    /// The file with its own certificate.
    pub fn certificate(&self) -> String {
        self.path("pem")
    }

    /// A certificate for these names: `DNS:localhost,IP:127.0.0.1`; none where there are none.
    pub fn issue(&self, name: &str, names: &str, validity: Validity) -> Identity {
        let file = |end: &str| self.folder.join(format!("{name}.{end}")).display().to_string();
        let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
        let subject = format!("/CN={name}");
        let alternatives = format!("subjectAltName={names}");
        let mut more = vec!["-subj", &subject, "-keyout", &key, "-out", &request];
        more.extend(["-addext", "basicConstraints=CA:FALSE"]);
        if !names.is_empty() {
            more.extend(["-addext", &alternatives]);
        }
        openssl(&["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"], &more);
        let [from, until] = match validity {
            Validity::Now => ["20200101000000Z", "21000101000000Z"],
            Validity::Past => ["20200101000000Z", "20210101000000Z"],
            Validity::Future => ["20900101000000Z", "21000101000000Z"],
        };
        openssl(
            &["ca", "-batch", "-notext", "-startdate", from, "-enddate", until],
            &[
                "-config",
                &self.path("cnf"),
                "-cert",
                &self.certificate(),
                "-keyfile",
                &self.path("key"),
                "-in",
                &request,
                "-out",
                &certificate,
            ],
        );
        Identity { certificate, key }
    }

    fn file(&self, end: &str) -> PathBuf {
        self.folder.join(format!("{}.{end}", self.name))
    }

    fn path(&self, end: &str) -> String {
        self.file(end).display().to_string()
    }
}

fn openssl(first: &[&str], more: &[&str]) {
    let output = Command::new("openssl").args(first).args(more).output();
    let output = output.expect("openssl is installed (apt-get install openssl)");
    assert!(output.status.success(), "openssl {first:?}: {}", String::from_utf8_lossy(&output.stderr));
}
