//! What tests of a watch need, whichever servers it watches: model servers' words, and virtual time.

use super::HostPort;
use crate::timer::Millis;

/// The address in `host:port`.
pub fn host_port(text: &str) -> HostPort {
    let (host, port) = text.rsplit_once(':').expect("host:port");
    HostPort { host: host.to_owned(), port: port.parse().expect("a port") }
}

/// A bulk string with this text.
pub fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// The words of each request in what a watch has sent.
pub fn requests(bytes: &[u8]) -> Vec<Vec<String>> {
    let text = std::str::from_utf8(bytes).expect("text");
    let mut lines = text.split("\r\n");
    let mut requests = Vec::new();
    while let Some(count) = lines.next().and_then(|line| line.strip_prefix('*')) {
        let count: usize = count.parse().expect("a number");
        requests.push((0..count).filter_map(|_| lines.nth(1)).map(str::to_owned).collect());
    }
    requests
}

/// What a server says that may want a password, on a connection that is `is_let_in` or not; `None` if the request is
/// one that it answers otherwise.
pub fn authenticate(words: &[&str], password: Option<&str>, is_let_in: &mut bool) -> Option<String> {
    match words {
        ["AUTH", given] if password == Some(given) => {
            *is_let_in = true;
            Some("+OK\r\n".to_owned())
        }
        ["AUTH", ..] => Some("-WRONGPASS invalid username-password pair\r\n".to_owned()),
        _ if !*is_let_in => Some("-NOAUTH Authentication required.\r\n".to_owned()),
        _ => None,
    }
}

/// A watch among model servers.
pub trait Bench {
    /// The time.
    fn now(&mut self) -> &mut Millis;
    /// When the watch wants to be told of time.
    fn next_deadline(&self) -> Millis;
    /// Tells the watch the time.
    fn handle_timeouts(&mut self);
    /// Does all that the watch wants done at this time.
    fn settle(&mut self);

    /// Lets time pass. Fails if the watch wants to be told of time again and again without any that passes.
    fn run(&mut self, ms: u64) {
        let until = *self.now() + ms;
        self.settle();
        let mut turns = 0;
        loop {
            let next = self.next_deadline();
            let now = self.now();
            turns = if next > *now { 0 } else { turns + 1 };
            assert!(turns < 5, "it would not sleep at {now}");
            if next > until {
                break;
            }
            *now = (*now).max(next);
            self.handle_timeouts();
            self.settle();
        }
        *self.now() = until;
    }
}
