//! When the file of the servers' password is read again: at every connect, and every few seconds.
//!
//! Tokens that stand in for passwords last some minutes, and a connection may live longer. A read is a thread of its
//! own (`password_file`), as a file system may hang; there is one at a time, and none within `FRESH_MS` of the last.
//!
//! ```text
//!   connect ─► read within the last second? ─► dial
//!                 └ no: read; it waits ─► read, or half of remoteConnectTimeout is over ─► dial with what is known
//!   time    ─► EVERY_MS after the last read: read
//!   read    ─► the proxy is told the password; of what is wrong with the file once, until that is something else
//! ```
//!
//! Knows no passwords and no servers' replies. Invariant: who waits is dialled, or closed by the proxy (`forget`).

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use mio::Waker;

use crate::password_file::Reader;
use crate::proxy::{Conn, Proxy, Settings};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// The file is read so often at the least, in milliseconds.
const EVERY_MS: u64 = 5_000;
/// What was read is new for so long, in milliseconds.
const FRESH_MS: u64 = 1_000;

/// The file of one reactor's password.
pub(super) struct Passwords {
    reader: Reader,
    /// `None`: the password is from elsewhere, or there is none.
    file: Option<PathBuf>,
    /// Counts settings: what was read for others says nothing.
    number: u32,
    /// So long a connect waits for a read, in milliseconds.
    patience_ms: u64,
    /// When the read began that has no answer yet.
    reading_since: Option<Millis>,
    /// When the last one ended.
    read_at: Millis,
    /// What the proxy was told is wrong with the file; empty if nothing is.
    problem: String,
    /// Backends that are to be connected, and their servers.
    waiting: Vec<(Id, ServerId)>,
}

impl Passwords {
    /// With these settings, whose password was read just now.
    pub fn new(waker: Arc<Waker>, settings: &Settings, now: Millis) -> Passwords {
        Passwords {
            reader: Reader::new(waker),
            file: settings.password_file.clone(),
            number: 0,
            patience_ms: settings.timeouts.remote_connect_ms / 2,
            reading_since: None,
            read_at: now,
            problem: String::new(),
            waiting: Vec::new(),
        }
    }

    /// These settings hold from here on; their password was read just now.
    pub fn settle(&mut self, settings: &Settings, now: Millis) {
        self.number = self.number.wrapping_add(1);
        self.file = settings.password_file.clone();
        self.patience_ms = settings.timeouts.remote_connect_ms / 2;
        (self.reading_since, self.read_at) = (None, now);
        self.problem.clear();
    }

    /// True if this backend is not to be connected before the file was read: `next_released` names it then.
    pub fn holds(&mut self, backend: Id, server: ServerId, now: Millis) -> bool {
        if self.file.is_none() || now - self.read_at < FRESH_MS {
            return false;
        }
        self.begin(now);
        let is_held = self.is_waited_for(now);
        if is_held {
            self.waiting.push((backend, server));
        }
        is_held
    }

    /// The next backend that waits no longer.
    pub fn next_released(&mut self, now: Millis) -> Option<(Id, ServerId)> {
        if self.waiting.is_empty() || self.is_waited_for(now) {
            return None;
        }
        Some(self.waiting.remove(0))
    }

    /// The proxy has closed this connection.
    pub fn forget(&mut self, conn: Conn) {
        self.waiting.retain(|&(backend, _)| Conn::Backend(backend) != conn);
    }

    /// When something is to be done.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.file.as_ref()?;
        let since = self.reading_since.unwrap_or(self.read_at);
        Some(since + if self.waiting.is_empty() { EVERY_MS } else { self.patience_ms })
    }

    /// Reads the file if it is time.
    pub fn maybe_read(&mut self, proxy: &mut Proxy, now: Millis) {
        if self.file.is_none() || now - self.read_at < EVERY_MS {
            return;
        }
        if self.reading_since.is_some_and(|since| now - since >= EVERY_MS) {
            self.on_problem(proxy, format!("is not read within {EVERY_MS} ms"));
            // It is looked at again as late as if that were an answer.
            (self.reading_since, self.read_at) = (Some(now), now);
            return;
        }
        self.begin(now);
    }

    /// Files may have been read.
    pub fn on_read(&mut self, proxy: &mut Proxy, now: Millis) {
        while let Some((number, outcome)) = self.reader.poll() {
            if number != self.number {
                continue;
            }
            (self.reading_since, self.read_at) = (None, now);
            match outcome {
                Ok(password) => {
                    let is_another = proxy.handle_password(password, now);
                    if !mem::take(&mut self.problem).is_empty() && !is_another {
                        proxy.handle_password_readable();
                    }
                }
                Err(reason) => self.on_problem(proxy, reason),
            }
        }
    }

    fn on_problem(&mut self, proxy: &mut Proxy, problem: String) {
        if self.problem != problem {
            proxy.handle_password_unread(&problem);
            self.problem = problem;
        }
    }

    fn begin(&mut self, now: Millis) {
        let Some(file) = self.file.as_ref().filter(|_| self.reading_since.is_none()) else { return };
        match self.reader.begin(self.number, file) {
            true => self.reading_since = Some(now),
            // No thread can be made now.
            false => self.read_at = now,
        }
    }

    /// True while a connect waits for the read that is under way.
    fn is_waited_for(&self, now: Millis) -> bool {
        self.reading_since.is_some_and(|since| now - since < self.patience_ms)
    }
}
