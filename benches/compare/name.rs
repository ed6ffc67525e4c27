//! The names of the subjects that others are put in relation to, or that a work load is about.
//!
//! Knows nothing but names: what is behind them is in `subject.rs` and `proxy.rs`.

/// The name of the subject that throughput and the server's CPU time are put in relation to.
pub const DIRECT_TCP: &str = "direct-tcp";
/// The name of the subject that delays are put in relation to.
pub const DIRECT_UNIX: &str = "direct-unix";
/// The name of the subject that everything with TLS to the server is put in relation to.
pub const DIRECT_TLS: &str = "direct-tls";
/// The name of the subject that CPU time is put in relation to.
pub const FLOOR: &str = "floor";
/// The name of the peer that CPU time is put in relation to.
pub const TWEMPROXY: &str = "twemproxy";
/// The other peer that throughput and CPU time are put in relation to, where counts of clients are compared.
pub const ENVOY: &str = "envoy";
/// The peers that CPU time is put in relation to where the server is reached over TLS, beside envoy.
pub const HAPROXY: &str = "haproxy";
/// It wraps connections in TLS, and is of no use without.
pub const STUNNEL: &str = "stunnel";
/// `rmux` with two reactors.
pub const RMUX_TWO: &str = "rmux-2";
