//! Lines of the log that a peer can cause: at most one a second of each kind, with a count of what happened.
//!
//! What a peer does it can do a hundred thousand times a second, and each time for the log would fill a disk and take
//! the time of everybody else. So it is noted where it happens, and the shell is handed a line when one is due:
//!
//! ```text
//!   note ─► count, and the text ─► poll(now), at the end of the turn ─► one line ─► silence for a second
//!                                      what is noted meanwhile is counted, and due when that is over
//! ```
//!
//! Knows nothing of connections, and no clock. Invariants: between two lines of one kind about one server (or about the
//! clients) lies a second; nothing that was noted is left out of a count; there are no more entries than kinds times
//! servers.
//!
//! And what is quoted of a peer goes through [`printable`], so that no line can be forged.

use std::fmt::{self, Write as _};
use std::mem;

use log::Level;

use crate::server_id::ServerId;
use crate::timer::Millis;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A server is down, or up again.
    State,
    /// The name of a server has other addresses, or is not found.
    Address,
    /// A server refuses one connection of several, or what it was asked on it.
    Refused,
    /// A connection was lost with requests outstanding.
    Lost,
    /// A server does not speak the protocol.
    Garbage,
    /// A server sent a reply that nobody had asked for.
    Surplus,
    /// Requests had no reply in time.
    Timeout,
    /// A server took no bytes, or sent half of a reply.
    Stalled,
    /// A server does not confirm a subscription.
    Subscription,
    /// Subscriptions were made anew.
    Resubscribed,
    /// A client speaks HTTP.
    Http,
    /// A client does not speak the protocol.
    ClientGarbage,
    /// A client has stopped inside a request.
    ClientStopped,
    /// A client leaves its replies unread.
    ClientUnread,
    /// Memory is short, and who has most gives way.
    Memory,
    /// A client has half of a reply, and the rest is lost.
    ClientTruncated,
    /// The password of the servers has changed, or cannot be read, or a server does not take it.
    Password,
    /// A server refuses writes, since it is no master, or does so no longer.
    ReadOnly,
    /// A client gave a wrong password.
    Denied,
    /// A client does not agree on TLS.
    ClientHandshake,
    /// There are too many clients, or the system takes no more.
    ClientRefused,
}

/// Whom it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// This server.
    Server(ServerId),
    /// The clients of the listener.
    Clients,
}

/// A line that is due.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub kind: Kind,
    /// To whom.
    pub about: About,
    /// How grave it is.
    pub level: Level,
    /// How often it has happened since the last line; never 0.
    pub count: u64,
    /// What was said of the first time; for [`Kind::State`] and [`Kind::Address`], of the last.
    pub text: String,
}

/// What has happened of one kind.
#[derive(Debug)]
struct Entry {
    notice: Notice,
    /// No line before this.
    quiet_until: Millis,
}

/// What happened, and is not in the log yet.
#[derive(Debug, Default)]
pub struct Notices {
    entries: Vec<Entry>,
    /// How many of them have something to tell.
    waiting: usize,
}

impl Notices {
    /// Something happened, `count` times.
    pub fn note(&mut self, kind: Kind, about: About, level: Level, count: u64, text: fmt::Arguments<'_>) {
        let is_this = |entry: &Entry| entry.notice.kind == kind && entry.notice.about == about;
        let index = self.entries.iter().position(is_this).unwrap_or_else(|| {
            let notice = Notice { kind, about, level, count: 0, text: String::new() };
            self.entries.push(Entry { notice, quiet_until: Millis(0) });
            self.entries.len() - 1
        });
        let notice = &mut self.entries[index].notice;
        if notice.count == 0 {
            self.waiting += 1;
        }
        if notice.count == 0 || matches!(kind, Kind::State | Kind::Address) {
            notice.level = level;
            notice.text.clear();
            notice.text.write_fmt(text).expect("a String takes every write");
        }
        notice.count += count;
    }

    /// The next line that is due.
    pub fn poll(&mut self, now: Millis) -> Option<Notice> {
        if self.waiting == 0 {
            return None;
        }
        let is_due = |entry: &&mut Entry| entry.notice.count > 0 && entry.quiet_until <= now;
        let entry = self.entries.iter_mut().find(is_due)?;
        entry.quiet_until = now + QUIET_MS;
        self.waiting -= 1;
        let (count, text) = (mem::take(&mut entry.notice.count), mem::take(&mut entry.notice.text));
        Some(Notice { count, text, ..entry.notice })
    }

    /// When the next line is due.
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.waiting == 0 {
            return None;
        }
        self.entries.iter().filter(|entry| entry.notice.count > 0).map(|entry| entry.quiet_until).min()
    }
}

/// What a peer has sent, fit for a line of the log: on one line, without what a terminal obeys or does not show, of a
/// bounded length, and such that no two different texts look the same.
pub fn printable(bytes: &[u8]) -> String {
    let bytes = bytes.trim_ascii_end();
    let mut text = String::new();
    for chunk in bytes[..bytes.len().min(SHOWN_BYTES_MAX)].utf8_chunks() {
        for char in chunk.valid().chars() {
            if char == '\\' || is_hidden(char) {
                text.extend(char.escape_default());
            } else {
                text.push(char);
            }
        }
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a String takes every write");
        }
    }
    if bytes.len() > SHOWN_BYTES_MAX {
        text.push_str("...");
    }
    text
}

/// Control characters, and those that change how others are shown: line ends, directions of writing, joiners, tags.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Of what a peer says, so much is shown.
const SHOWN_BYTES_MAX: usize = 200;

/// The time between two lines of a kind, in milliseconds.
const QUIET_MS: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(notices: &mut Notices, now: u64) -> Vec<(u64, String)> {
        std::iter::from_fn(|| notices.poll(Millis(now))).map(|notice| (notice.count, notice.text)).collect()
    }

    #[test]
    fn a_flood_is_one_line_a_second_that_counts_all_of_it() {
        let mut notices = Notices::default();
        let mut counted = 0;
        let mut times = Vec::new();
        for now in 0..10_000 {
            for client in 0..55 {
                notices.note(Kind::Http, About::Clients, Level::Warn, 1, format_args!("client {client}"));
            }
            for (count, _) in lines(&mut notices, now) {
                counted += count;
                times.push(now);
            }
        }
        assert_eq!(times, [0, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000]);
        assert_eq!(notices.next_deadline(), Some(Millis(10_000)));
        counted += lines(&mut notices, 10_000)[0].0;
        assert_eq!(counted, 550_000);
        assert_eq!((notices.next_deadline(), lines(&mut notices, 99_000)), (None, vec![]), "and then silence");
    }

    #[test]
    fn kinds_and_servers_do_not_silence_each_other() {
        let mut notices = Notices::default();
        for about in [About::Server(ServerId::of_index(0)), About::Server(ServerId::of_index(1)), About::Clients] {
            for kind in [Kind::Lost, Kind::Surplus] {
                for _ in 0..3 {
                    notices.note(kind, about, Level::Warn, 2, format_args!("{kind:?} {about:?}"));
                }
            }
        }
        let found = lines(&mut notices, 5);
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found.iter().all(|(count, _)| *count == 6));
    }

    #[test]
    fn of_a_state_the_last_one_counts() {
        let mut notices = Notices::default();
        let note = |notices: &mut Notices, level, text| {
            notices.note(Kind::State, About::Server(ServerId::of_index(0)), level, 1, format_args!("{text}"));
        };
        note(&mut notices, Level::Warn, "down");
        assert_eq!(lines(&mut notices, 0), [(1, "down".to_owned())]);
        note(&mut notices, Level::Info, "up");
        note(&mut notices, Level::Warn, "down");
        note(&mut notices, Level::Info, "up");
        assert_eq!(lines(&mut notices, 999), []);
        let notice = notices.poll(Millis(1000)).expect("it is due");
        assert_eq!((notice.level, notice.count, notice.text.as_str()), (Level::Info, 3, "up"));
    }

    #[test]
    fn what_a_peer_says_stays_on_its_line_and_obeys_nobody() {
        for (said, shown) in [
            ("-ERR max number of clients reached\r\n", "-ERR max number of clients reached"),
            ("-x\r\n2025-01-01 [INFO] all is well", "-x\\r\\n2025-01-01 [INFO] all is well"),
            ("\x1b[2J\x07\x7f\u{9b}31m\0", "\\u{1b}[2J\\u{7}\\u{7f}\\u{9b}31m\\u{0}"),
            ("a\u{2028}b\u{202e}c\u{200b}\u{feff}", "a\\u{2028}b\\u{202e}c\\u{200b}\\u{feff}"),
            ("C:\\n is no line end", "C:\\\\n is no line end"),
            ("Grüße, 'x' \"y\" 日本", "Grüße, 'x' \"y\" 日本"),
        ] {
            assert_eq!(printable(said.as_bytes()), shown);
        }
        assert_eq!(printable(b"\xff\xfea\xc3"), "\\xff\\xfea\\xc3");
        let long = printable(&[b'\x1b'; 100_000]);
        assert!(long.len() < 6 * SHOWN_BYTES_MAX + 10 && long.ends_with("..."), "{}", long.len());
        for byte in 0..=255 {
            assert!(!printable(&[b'a', byte, b'b']).contains(|char: char| char.is_control()), "{byte}");
        }
    }
}
