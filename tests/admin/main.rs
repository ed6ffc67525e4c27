//! The admin endpoint, seen from outside: real processes, real servers, both kinds of socket, and peers that behave badly.
//!
//! ```text
//! pages      what there is to be seen, in which form, when something is wrong
//! peers      who asks slowly, wrongly, too much, or does not listen
//! life       reload, end, statsd; an upgrade is in tests/upgrade.rs
//! ```

#[path = "../support/mod.rs"]
mod support;

mod exposition;
mod life;
mod pages;
mod peers;

use exposition::{Form, Metrics};
use support::http::{self, Answer};
use support::proxy::{PATIENT, Rmux, connections_flag};
use support::{Address, Kind, PATIENCE, Scratch, free_port, wait_until};

/// A running rmux with an admin endpoint.
struct Watched {
    rmux: Rmux,
    admin: Address,
    _scratch: Scratch,
}

impl Watched {
    /// In front of these servers, with its endpoint on a socket of this kind.
    fn start(kind: Kind, servers: &[Address], flags: &[&str]) -> Watched {
        let scratch = Scratch::new();
        let admin = match kind {
            Kind::Tcp => Address::Tcp(free_port()),
            Kind::Unix => Address::Unix(scratch.join("admin.sock")),
        };
        let flag = match &admin {
            Address::Tcp(port) => format!("-admin=:{port}"),
            Address::Unix(path) => format!("-admin={}", path.display()),
        };
        let connections = connections_flag(servers);
        let mut all = vec![flag.as_str(), connections.as_str(), PATIENT];
        all.extend_from_slice(flags);
        Watched { rmux: Rmux::start(Kind::Unix, &all), admin, _scratch: scratch }
    }

    fn get(&self, path: &str) -> Answer {
        http::get(&self.admin, path)
    }

    fn metrics(&self) -> Metrics {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        Metrics::parse(&answer.body, Form::Text)
    }

    /// The metrics as soon as they are so.
    fn metrics_when(&self, what: &str, condition: impl Fn(&Metrics) -> bool) -> Metrics {
        let mut metrics = self.metrics();
        wait_until(what, PATIENCE, || {
            metrics = self.metrics();
            condition(&metrics)
        });
        metrics
    }

    /// A series of its pool.
    fn pool(&self, name: &str, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        format!("{name}{{pool=\"{}\"{comma}{more}}}", self.rmux.address().flag_value())
    }

    fn await_ready(&self) {
        wait_until("it is ready", PATIENCE, || self.get("/readyz").status == 200);
    }
}
