//! TLS in a build without it: it can be asked for, and the answer is an error. No session ever exists, so that who
//! looks after sessions costs nothing.

use std::io::{self, IoSlice, Read, Write};

use super::encryption::{Expiry, LocalTlsFiles, RemoteTlsFiles, TlsFault};
use super::stream::Incoming;

/// TLS towards servers: there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteTls {}

/// TLS towards clients: there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalTls {}

/// A connection inside of TLS: there is none.
#[derive(Debug)]
pub enum Session {}

/// What sessions share: nothing.
#[derive(Debug, Default)]
pub struct Buffers {}

fn absent(key: &'static str) -> TlsFault {
    TlsFault { key, reason: "this rmux was built without TLS (the cargo feature tls): take a build with it".to_owned() }
}

impl RemoteTls {
    /// # Errors
    ///
    /// Always: it is not in this build.
    pub fn load(files: RemoteTlsFiles) -> Result<RemoteTls, TlsFault> {
        Err(absent(files.keys.switch))
    }

    /// What it was made of.
    pub fn files(&self) -> &RemoteTlsFiles {
        match *self {}
    }

    /// Until when its certificates are good.
    pub fn expiries(&self) -> &[Expiry] {
        match *self {}
    }

    /// A session with a server.
    ///
    /// # Errors
    ///
    /// None: there is nothing to ask.
    pub fn session(&self, _: &str) -> io::Result<Session> {
        match *self {}
    }
}

impl LocalTls {
    /// # Errors
    ///
    /// Always: it is not in this build.
    pub fn load(_: LocalTlsFiles) -> Result<LocalTls, TlsFault> {
        Err(absent("localTlsCertFile"))
    }

    /// What it was made of.
    pub fn files(&self) -> &LocalTlsFiles {
        match *self {}
    }

    /// Until when its certificates are good.
    pub fn expiries(&self) -> &[Expiry] {
        match *self {}
    }

    /// A session with a client.
    ///
    /// # Errors
    ///
    /// None: there is nothing to ask.
    pub fn session(&self) -> io::Result<Session> {
        match *self {}
    }
}

#[allow(missing_docs, clippy::missing_errors_doc)]
impl Session {
    pub fn begin(&mut self, _: &mut impl Write, _: &mut Buffers) -> io::Result<()> {
        match *self {}
    }

    pub fn is_shaking(&self) -> bool {
        match *self {}
    }

    pub fn peer_expiry(&self) -> Option<u64> {
        match *self {}
    }

    pub fn has_heard(&self) -> bool {
        match *self {}
    }

    pub fn receive<S: Read + Write>(
        &mut self,
        _: &mut S,
        _: &mut [u8],
        _: usize,
        _: &mut Buffers,
    ) -> io::Result<Incoming> {
        match *self {}
    }

    pub fn write(&mut self, _: &mut impl Write, _: &[IoSlice<'_>], _: &mut Buffers) -> io::Result<usize> {
        match *self {}
    }

    pub fn flush(&mut self, _: &mut impl Write) -> io::Result<bool> {
        match *self {}
    }

    pub fn held(&self) -> usize {
        match *self {}
    }

    pub fn has_unsent(&self) -> bool {
        match *self {}
    }

    pub fn close(&mut self, _: &mut impl Write, _: &mut Buffers) -> bool {
        match *self {}
    }
}
