//! rmux: a Redis connection pooler and multiplexer.
//!
//! # The house
//!
//! Three layers; an import only ever points down, and `tests/tidy` holds that rule.
//!
//! ```text
//! TOP     main ─► cli ─► config             argv in, exit code out
//!         main ─► serve ─► service          threads and signals, and what a service manager wants to hear
//!         main ─► logger, check, healthcheck, top
//!         serve ─► admin ─► reactor         who watches is told, by HTTP and statsd
//! SHELL   reactor ─► net, resolve, proxy    epoll, sockets, the clock, host names
//!         reactor ─► password_file          a password that may change
//!         reactor, resolve ─► channel       what threads leave for each other
//! CORE    proxy ─► cluster, local, pool ─► backend, client ─► subscription, server, request
//!         what speaks Redis's language: reply ─► session
//!         the leaves (ring, timer, command, resp, buffer, slots, slow_log, stats …) ─► nothing of this crate
//! ```
//!
//! The core is sans-IO: no sockets, no clock, no randomness of its own, no threads. It is a function of its inputs:
//! `handle_*` tells it what has happened, `poll_*` asks it what is to be done, `on_*` are its own reactions.
//!
//! # The life of a command
//!
//! ```text
//!   a client's socket ─► reactor ─► Proxy::handle_client_data
//!     1  proxy/client_read    finds the end of the request in the read buffer (resp::RequestFramer)
//!     2  proxy/routing        looks up what it is (command::find), and which server has its first key (proxy/router)
//!     3  proxy/dispatch       picks a backend (proxy/pick, pool::Pool); puts the request (request::Request) into two
//!        proxy/enqueue        queues: its client's reply order, in which replies go out, and its backend's in-flight
//!                             queue, in which they come in (proxy/in_flight). For that there is a ticket
//!        proxy/forward        and the ticket is given for its bytes, at the end of the backend's queue (buffer::Queue)
//!   when all ready clients have been read ─► Proxy::transmit_requests
//!     4  proxy/flush          one write for each backend
//!   a backend's socket ─► reactor ─► Proxy::handle_backend_data
//!     5  proxy/backend_read   finds the end of the reply (resp::ReplyFramer); it belongs to the first in the backend's
//!        proxy/answer         in-flight queue, and goes to the end of its client's queue, or waits there for its place
//!   the end of the turn ─► Proxy::transmit, then Proxy::poll_action
//!     6  proxy/flush          one write for each client; then the shell connects and closes what it is told to
//! ```
//!
//! Plain requests and replies, which most are, take steps 1 to 3 and 5 in runs, through `proxy/fast_path`, by the same
//! owners: one piece of bytes for a run of tickets; and a reply behind which its client is owed nothing is written to
//! its socket in step 5. What rmux answers by itself (`local`) leaves the way behind step 2; what needs several servers
//! (`proxy/scatter`) or a backend of its own (`proxy/blocking`, `proxy/transaction`) makes a detour in step 3.

#![forbid(unsafe_code)]

pub mod admin;
pub mod backend;
pub mod blocking;
pub mod buffer;
pub mod channel;
pub mod check;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod command;
pub mod config;
pub mod glob;
pub mod healthcheck;
pub mod limits;
pub mod link;
pub mod local;
pub mod logger;
pub mod net;
pub mod notice;
pub mod password_file;
pub mod pool;
pub mod proxy;
pub mod reactor;
pub mod read_from;
pub mod recent;
pub mod reply;
pub mod request;
pub mod resolve;
pub mod resp;
pub mod ring;
pub mod sentinel;
pub mod serve;
pub mod server;
pub mod server_id;
pub mod service;
pub mod session;
pub mod sha1;
pub mod slots;
pub mod slow_log;
pub mod stats;
pub mod subscription;
pub mod thread;
pub mod timer;
pub mod top;
pub mod users;
pub mod watcher;
