//! Where the masters of one pool are, by the word of its sentinels.
//!
//! A machine without sockets and without a clock, as the core is one: `handle_*` tells it what has happened,
//! `poll_action` asks what is to be done, time is an argument.
//!
//! ```text
//!   sentinel 1 ◄─ asks ── its address, by name, each second or five ──┐
//!              ◄─ hears ─ +switch-master ──── asks all at once ───────┤
//!   sentinel 2 …                                                      ├─► votes ─► it has moved ─► the reactors
//!   a reactor: "its connection is lost", "it is no master" ── asks ───┘
//! ```
//!
//! There are two connections to each sentinel: one that asks, and one that hears what happens. What is heard only makes
//! it ask, since messages get lost. Sentinels tell each other's addresses, so one that answers is enough to know all.
//!
//! What one sentinel says is a vote (`vote` has the rules): the address that fewer of them name is not believed, nor is
//! a sentinel whose clock jumps (TILT). Whether who was named is a master the connections to it find out (`ROLE`),
//! and one that is not is asked about anew. As long as no sentinel answers, all stays as it is known.
//!
//! Bounded: sentinels, replicas and bytes of one reply have limits, each question and each connect has a deadline, and
//! questions have a pause between them, however many ask for them.
//!
//! The parts, from top to bottom: `watch`, the machine; `known`, what it knows of each sentinel and master;
//! `interface`, its words to the shell; `question`; `answer`, what replies mean; `vote`. A connection is a
//! [`Link`](crate::link::Link).

mod answer;
mod interface;
mod known;
mod question;
mod vote;
mod watch;

pub use answer::Replica;
pub use interface::{Action, SentinelView, Settings};
pub use watch::Watch;

#[cfg(test)]
mod tests;
