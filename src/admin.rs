//! What rmux shows of itself to those who watch it: the admin endpoint (`-admin`) and statsd (`-graphite`).
//!
//! A thread of its own, which there is only if one of the two is configured: whoever reads a page slowly, or asks for
//! many, takes no time from a request. It asks the reactors of all pools for their figures, as one of them asks the others for an
//! INFO, and waits for nobody: a reactor that does not answer in time is told as silent.
//!
//! ```text
//!   GET /metrics ─► http ─► a round: each reactor is asked ─► its next turn ─► answers ─► Report ─► metrics ─► written
//!   each second  ──────────► a round ────────────────────────────────────────────────► Report ─► statsd  ─► datagrams
//! ```
//!
//! It can change nothing. Bounded: a few connections at a time, each with a deadline; rounds are shared by all who ask
//! meanwhile.
//!
//! The parts: `report`, what there is to tell; `metrics`, `status`, `page`, `statsd`, how it is written.

pub mod report;
