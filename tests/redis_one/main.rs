//! The whole, in front of one real redis-server: nothing may be different from talking to that server, except how few
//! connections it sees.
//!
//! ```text
//! same_as_redis  tables of requests that go to Redis and through rmux: the bytes that come back are equal
//! order          pipelines of any depth, big values, many clients at once: every reply is its own request's
//! session        what each client has for itself: database, protocol, name; what rmux answers by itself
//! tools          redis-cli and redis-benchmark run without complaint
//! scripts        what runs for ever is stopped, past those who wait
//! loss           connections and the server die in the middle: nothing hangs, nothing is counted twice
//! ```
//!
//! Each test starts its own server and its own rmux. Most run over TCP and over Unix sockets.

#[path = "../support/mod.rs"]
mod support;

mod loss;
mod order;
mod same_as_redis;
mod scripts;
mod session;
mod tools;
