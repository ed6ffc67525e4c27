//! How often nodes of a cluster have not run a request, by what they said instead.
//!
//! Counted where the error is read, whether the request is sent again or its client is told.

use super::ProxyStats;

/// What a node says instead of a reply, by the first word of it: the names of [`ProxyStats::redirects`].
pub const REDIRECTS: [&str; 5] = ["moved", "ask", "tryagain", "clusterdown", "readonly"];

impl ProxyStats {
    /// A node of a cluster has not run a request, and has said this.
    pub fn count_redirect(&mut self, reply: &[u8]) {
        let word = reply.get(1..).and_then(|rest| rest.split(|byte| byte.is_ascii_whitespace()).next());
        let is_it = |name: &&str| word.is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        if let Some(place) = REDIRECTS.iter().position(is_it) {
            self.redirects[place] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_counted_by_its_first_word() {
        let mut stats = ProxyStats::default();
        for reply in [
            "-MOVED 7 10.0.0.2:6379\r\n",
            "-ASK 7 10.0.0.2:6379\r\n",
            "-ASK 8 10.0.0.2:6379\r\n",
            "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
            "-CLUSTERDOWN\r\n",
            "-READONLY You can't write against a read only replica.\r\n",
            "-ASKING no such word\r\n",
            "-",
            "",
        ] {
            stats.count_redirect(reply.as_bytes());
        }
        assert_eq!(stats.redirects, [1, 2, 1, 1, 1]);
    }
}
