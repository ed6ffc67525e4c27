//! What rmux shows of itself to those who watch it: the admin endpoint (`-admin`) and statsd (`-graphite`).
//!
//! A thread of its own, which there is only if one of the two is configured: whoever reads a page slowly, or asks for
//! many, takes no time from a request. It asks the reactors of all pools for their figures, as one of them asks the
//! others for an INFO, and waits for nobody: a reactor that does not answer in time is told as silent.
//!
//! ```text
//!   GET /metrics ─► http ─► a round: each reactor is asked ─► its next turn ─► answers ─► Report ─► metrics ─► written
//!   each second  ──────────► a round ────────────────────────────────────────────────► Report ─► statsd  ─► datagrams
//! ```
//!
//! It can change nothing, and shows no key, no password and no client. Bounded: a few connections at a time, each
//! with a deadline; rounds are shared by all who ask meanwhile, and have a pause between them.
//!
//! The parts, from top to bottom: `endpoint`, the loop; `graphite`, who is sent what `statsd` writes; `round`, the
//! questions; `connection`, above `response` and `http`; `metrics` and `status`, how a report is written; `process`,
//! what the system says; `report`, what there is to tell. Whoever runs the pools has a [`Link`], and tells by that
//! what happens.

mod cluster;
mod connection;
mod endpoint;
pub mod events;
mod graphite;
mod http;
pub mod interval;
mod metrics;
pub mod page;
pub mod problem;
mod process;
pub mod report;
mod response;
mod round;
#[cfg(test)]
#[path = "admin/tests/sample.rs"]
pub(crate) mod sample;
pub mod statsd;
pub mod status;
pub mod words;

pub use endpoint::{Endpoint, Link, News};
pub use round::Watched;
