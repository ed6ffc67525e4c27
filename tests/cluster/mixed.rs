//! Clients that pipeline all kinds of requests, and know to the byte what each reply must be.
//!
//! ```text
//!   one turn, of some of a client's tags, each of which is in a slot of its own:
//!     for each tag   INCR of its counter      1, 2, 3 …                                   run once
//!                    APPEND of a token        the length of all of them                   run once, in order
//!     MSET           two keys of each tag     +OK
//!     MGET           the same                 what was set                                not overtaken
//!     SET, GET       one key of each tag      the token
//!     DEL, MGET      the same                 how many there are; nothing
//! ```
//!
//! In one pipeline nothing is written again that a request with several keys of one slot has before it: such a request may
//! be told `TRYAGAIN` while its slot is moved, as the manual says.
//!
//! Nobody else has a client's tags, so whatever another reply is, it is wrong: run twice, overtaken, lost, or another's. An
//! error is counted, and its client goes on with new tags.

use super::nodes::{LONG, shown};
use crate::support::client::{Client, bulk, encode};
use crate::support::proxy::Rmux;
use crate::support::wait_until;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// So many of its tags a client asks for in one turn.
const TAGS_AT_ONCE: usize = 6;
/// What is missing.
const NONE: &[u8] = b"$-1\r\n";

/// Clients at work.
pub struct Mixed {
    stop: Arc<AtomicBool>,
    /// How many requests were answered.
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Report>>,
}

/// What all of them were told.
#[derive(Default)]
pub struct Report {
    pub requests: usize,
    /// Each error, and how often.
    pub errors: BTreeMap<String, usize>,
    /// Replies that were no errors, and wrong.
    pub wrong: Vec<String>,
    /// How long the slowest pipeline took.
    pub slowest: Duration,
}

impl Mixed {
    /// So many clients, with so many tags each, at least [`TAGS_AT_ONCE`], over all slots.
    pub fn start(rmux: &Rmux, clients: usize, tags: usize) -> Mixed {
        let (stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let client = |number| {
            let (client, stop, done) = (rmux.client(), Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || Worker::new(client, number, tags).work(&stop, &done))
        };
        let load = Mixed { clients: (0..clients).map(client).collect(), stop, done };
        load.await_more(100);
        load
    }

    /// Waits until so many more requests are answered.
    pub fn await_more(&self, count: usize) {
        let until = self.done.load(Ordering::Relaxed) + count;
        wait_until("requests that are answered", LONG, || self.done.load(Ordering::Relaxed) >= until);
    }

    /// Ends them. What they wrote is looked at once more.
    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Report::default();
        for client in self.clients {
            let one = client.join().expect("each request is answered");
            all.requests += one.requests;
            one.errors.into_iter().for_each(|(error, count)| *all.errors.entry(error).or_default() += count);
            all.wrong.extend(one.wrong);
            all.slowest = all.slowest.max(one.slowest);
        }
        all
    }
}

impl Report {
    /// That no client was told an error, and none something wrong.
    pub fn assert_nobody_noticed(&self, rmux: &Rmux) {
        assert!(self.wrong.is_empty() && self.errors.is_empty(), "{self}; {:?}; {}", self.wrong, rmux.log());
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (requests, wrong, slowest) = (self.requests, self.wrong.len(), self.slowest.as_millis());
        let errors: usize = self.errors.values().sum();
        write!(
            formatter,
            "{requests} requests, {errors} errors, {wrong} wrong replies, slowest pipeline {slowest} ms"
        )?;
        self.errors.iter().try_for_each(|(error, count)| write!(formatter, "; {count} times {error}"))
    }
}

/// One client.
struct Worker {
    client: Client,
    number: usize,
    /// Of each tag, the tokens that were appended.
    tokens: Vec<String>,
    /// How often each tag was asked for.
    counts: Vec<usize>,
    /// How often it began anew, with other tags.
    generation: usize,
    turn: usize,
    report: Report,
}

/// One pipeline, and what its replies must be.
#[derive(Default)]
struct Pipeline {
    bytes: Vec<u8>,
    expected: Vec<(String, Vec<u8>)>,
}

impl Pipeline {
    fn ask(&mut self, words: &[&str], expected: Vec<u8>) {
        self.bytes.extend(encode(words));
        self.expected.push((words.join(" "), expected));
    }
}

impl Worker {
    fn new(client: Client, number: usize, tags: usize) -> Worker {
        client.set_patience(LONG);
        let (tokens, counts) = (vec![String::new(); tags], vec![0; tags]);
        Worker { client, number, tokens, counts, generation: 0, turn: 0, report: Report::default() }
    }

    fn key(&self, tag: usize, name: &str) -> String {
        format!("{{{}-{}-{tag}}}{name}", self.number, self.generation)
    }

    fn work(mut self, stop: &AtomicBool, done: &AtomicUsize) -> Report {
        while !stop.load(Ordering::Relaxed) {
            self.turn += 1;
            // Other ones together in each turn.
            let tags: Vec<usize> = (0..TAGS_AT_ONCE).map(|nth| (self.turn * 7 + nth) % self.counts.len()).collect();
            let pipeline = self.pipeline(&tags);
            let count = pipeline.expected.len();
            self.send(pipeline);
            done.fetch_add(count, Ordering::Relaxed);
        }
        // Nothing was lost, and nothing came late.
        let mut last = Pipeline::default();
        for tag in 0..self.counts.len() {
            let count = self.counts[tag].to_string();
            let is_there = self.counts[tag] > 0;
            let or_none = |text: &str| if is_there { bulk(text.as_bytes()) } else { NONE.to_vec() };
            last.ask(&["GET", &self.key(tag, "counter")], or_none(&count));
            last.ask(&["GET", &self.key(tag, "tokens")], or_none(&self.tokens[tag]));
        }
        self.send(last);
        self.report
    }

    fn pipeline(&mut self, tags: &[usize]) -> Pipeline {
        let mut pipeline = Pipeline::default();
        let token = format!("{} ", self.turn);
        for &tag in tags {
            self.counts[tag] += 1;
            self.tokens[tag].push_str(&token);
            pipeline.ask(&["INCR", &self.key(tag, "counter")], integer(self.counts[tag]));
            pipeline.ask(&["APPEND", &self.key(tag, "tokens"), &token], integer(self.tokens[tag].len()));
        }
        let names = |name: &str| tags.iter().map(|&tag| self.key(tag, name)).collect::<Vec<_>>();
        let (first, second, alone) = (names("a"), names("b"), names("c"));
        let both: Vec<&str> = first.iter().zip(&second).flat_map(|(a, b)| [a.as_str(), b]).collect();
        let pairs: Vec<&str> = both.iter().flat_map(|key| [*key, token.as_str()]).collect();
        let value = bulk(token.as_bytes());
        pipeline.ask(&[&["MSET"], &pairs[..]].concat(), b"+OK\r\n".to_vec());
        pipeline.ask(&[&["MGET"], &both[..]].concat(), array(&vec![value.as_slice(); both.len()]));
        for key in &alone {
            pipeline.ask(&["SET", key, &token], b"+OK\r\n".to_vec());
            pipeline.ask(&["GET", key], value.clone());
        }
        let alone: Vec<&str> = alone.iter().map(String::as_str).collect();
        pipeline.ask(&[&["DEL"], &alone[..]].concat(), integer(alone.len()));
        pipeline.ask(&[&["MGET"], &alone[..]].concat(), array(&vec![NONE; alone.len()]));
        pipeline
    }

    fn send(&mut self, pipeline: Pipeline) {
        let began = Instant::now();
        self.client.send(&pipeline.bytes);
        let mut is_known = true;
        for (what, expected) in pipeline.expected {
            let reply = self.client.reply();
            self.report.requests += 1;
            if reply == expected {
                continue;
            }
            let reply = shown(&reply);
            match reply.strip_prefix('-') {
                Some(error) => *self.report.errors.entry(error.trim_end().to_owned()).or_default() += 1,
                // Behind an error it may be another one.
                None if is_known => self.report.wrong.push(format!("{what}: {reply:?}, not {:?}", shown(&expected))),
                None => {}
            }
            is_known = false;
        }
        self.report.slowest = self.report.slowest.max(began.elapsed());
        if !is_known {
            self.generation += 1;
            self.counts.fill(0);
            self.tokens.fill(String::new());
        }
    }
}

fn integer(value: usize) -> Vec<u8> {
    format!(":{value}\r\n").into_bytes()
}

fn array(values: &[&[u8]]) -> Vec<u8> {
    [format!("*{}\r\n", values.len()).as_bytes(), &values.concat()].concat()
}
