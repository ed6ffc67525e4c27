//! Makes sockets: listeners, and TCP and Unix connections as one [`Stream`].
//!
//! The only place that knows which options a socket gets:
//! non-blocking and close-on-exec always, no Nagle delay on TCP on either side, keep-alive towards the servers. It
//! knows nothing of what is sent, nor of time; and it never waits, but for the name lookup of [`listen()`], at start. A
//! read answers with bytes and facts ([`Incoming`]): who reads need not know how the kernel's answers are to be taken.
//!
//! ```text
//! the configuration's Address ── resolve.rs ──► ResolvedAddress ── Stream::connect ──► Stream
//!                      └── listen ──► Listener ── accept ──► Stream
//! ```
//!
//! The parts, each above those that it needs: `handover`, `inherit` and `listen`; `listener` and `socket_file`;
//! `stream` and `error`; `address`.

mod address;
mod encryption;
mod error;
mod handover;
mod inherit;
mod listen;
mod listener;
mod socket_file;
mod stream;
#[cfg_attr(not(feature = "tls"), path = "net/tls_absent.rs")]
mod tls;

pub use address::{Address, ResolvedAddress};
pub use encryption::{
    Expiry, HEALTHCHECK, LocalTlsFiles, RemoteTlsFiles, RemoteTlsKeys, SENTINEL_KEYS, SERVER_KEYS, TlsFault,
};
pub use error::ListenError;
pub use handover::Handover;
pub use inherit::inherited;
pub use listen::{backlog_max, listen};
pub use listener::Listener;
pub use socket_file::SocketFile;
pub use stream::{Incoming, Stream};
pub use tls::{Buffers, LocalTls, RemoteTls, Session};

/// How many files (sockets included) this process may have open: the soft limit, read from `/proc/self/limits`.
/// `u64::MAX` when there is none; 1,024, the kernel's default, where that cannot be read.
pub fn file_limit() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    soft_file_limit(&limits).unwrap_or(1024)
}

fn soft_file_limit(limits: &str) -> Option<u64> {
    let columns = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match columns.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests;
