//! rmux: a Redis connection pooler and multiplexer.
//!
//! # The house
//!
//! Three layers; an import only ever points down, and `tests/tidy.rs` holds that rule.
//!
//! ```text
//! main ─► cli, config, reactor          argv in, exit code out
//! SHELL   reactor ─► net, resolve, proxy    only here: mio, socket2, std::net, the clock, threads
//! CORE    proxy ─► client, server, pool, backend, request, subscription, local
//!         client, backend ─► resp, buffer
//!         the leaves (ring, timer, command, resp, buffer, slots, limits, sha1, stats, users) ─► nothing of this crate
//! ```
//!
//! The core is sans-IO: no sockets, no clock, no randomness of its own, no threads. It is a function of its inputs.

#![forbid(unsafe_code)]

pub mod backend;
pub mod buffer;
pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod healthcheck;
pub mod limits;
pub mod local;
pub mod logger;
pub mod net;
pub mod pool;
pub mod proxy;
pub mod reactor;
pub mod request;
pub mod resolve;
pub mod resp;
pub mod ring;
pub mod serve;
pub mod server;
pub mod service;
pub mod sha1;
pub mod slots;
pub mod stats;
pub mod subscription;
pub mod timer;
pub mod users;
