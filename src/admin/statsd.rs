//! A second of rmux for statsd: counters, gauges and, with `-timing`, two times, as few datagrams as they fit in.
//!
//! The first four counters are those of the original, which sent a datagram for each event; statsd adds them up alike.
//! A counter of which there was nothing is left out; gauges are always there. doc/manual.md lists all of them.
//!
//! ```text
//!   rmux.web-1.accepted:3|c
//!   rmux.web-1.requests:1204|c
//!   rmux.web-1.clients:41|g
//! ```

use super::interval::Interval;
use super::report::Report;
use crate::stats::{Figures, Histogram};

/// What happened since an older report (best the one of a second ago), and how things are now. The prefix
/// ends with a dot.
pub fn datagrams(before: &Report, now: &Report, prefix: &str, with_timing: bool) -> Vec<Vec<u8>> {
    let mut datagrams = vec![Vec::new()];
    let mut add = |name: &str, value: String, kind: &str| push(&mut datagrams, &[prefix, name, ":", &value, kind]);
    let interval = Interval::between(before, now);
    for (name, count) in [
        ("accepted", interval.accepted),
        ("disconnect", interval.lost),
        ("reconnect_error", interval.failures),
        ("nettimeout", interval.timeouts),
        ("requests", interval.requests),
        ("server_errors", interval.server_errors.total()),
        ("own_errors", interval.own_errors.total()),
    ] {
        if count > 0 {
            add(name, count.to_string(), "|c");
        }
    }
    if with_timing {
        for (name, times) in [("redis_write", &interval.waits), ("request", &interval.durations)] {
            if times.count() > 0 {
                add(name, mean_ms(times), "|ms");
            }
        }
    }
    let all = |count: fn(&Figures) -> usize| now.pools.iter().map(|pool| count(&pool.figures)).sum::<usize>();
    for (name, number) in [
        ("clients", all(|figures| figures.clients as usize)),
        ("clients_waiting", all(|figures| figures.clients_waiting as usize)),
        ("connections", all(|figures| figures.servers.iter().map(|server| server.connections).sum())),
        ("servers_up", all(|figures| figures.servers.iter().filter(|server| server.state.is_up()).count())),
        ("servers_down", all(|figures| figures.servers.iter().filter(|server| !server.state.is_up()).count())),
        ("buffered_bytes", all(|figures| figures.buffered_bytes as usize)),
    ] {
        add(name, number.to_string(), "|g");
    }
    datagrams
}

/// Adds a line, to a new datagram if the last one has no room for it.
fn push(datagrams: &mut Vec<Vec<u8>>, parts: &[&str]) {
    let line = parts.concat();
    if datagrams.last().is_none_or(|last| !last.is_empty() && last.len() + 1 + line.len() > DATAGRAM_BYTES_MAX) {
        datagrams.push(Vec::new());
    }
    if let Some(last) = datagrams.last_mut() {
        if !last.is_empty() {
            last.push(b'\n');
        }
        last.extend_from_slice(line.as_bytes());
    }
}

/// As the original wrote times: with four places.
fn mean_ms(times: &Histogram) -> String {
    let tenths_of_us = times.sum_us().saturating_mul(10) / times.count().max(1);
    // A digit more in front keeps the zeros.
    let places = (10_000 + tenths_of_us % 10_000).to_string();
    [&(tenths_of_us / 10_000).to_string(), ".", &places[1..]].concat()
}

/// What passes through Ethernet whole, with some room for tunnels; statsd's own advice.
const DATAGRAM_BYTES_MAX: usize = 1432;

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn texts(before: &Report, now: &Report, prefix: &str, with_timing: bool) -> Vec<String> {
        let datagrams = datagrams(before, now, prefix, with_timing);
        datagrams.into_iter().map(|datagram| String::from_utf8(datagram).expect("it is text")).collect()
    }

    #[test]
    fn a_second_is_one_datagram() {
        let (before, now) = (sample::report_before(), sample::report());
        let expected = "\
            rmux.web-1.accepted:30|c\n\
            rmux.web-1.disconnect:2|c\n\
            rmux.web-1.reconnect_error:5|c\n\
            rmux.web-1.nettimeout:3|c\n\
            rmux.web-1.requests:4010|c\n\
            rmux.web-1.server_errors:4|c\n\
            rmux.web-1.own_errors:7|c\n\
            rmux.web-1.redis_write:0.0124|ms\n\
            rmux.web-1.request:0.5150|ms\n\
            rmux.web-1.clients:131|g\n\
            rmux.web-1.clients_waiting:12|g\n\
            rmux.web-1.connections:8|g\n\
            rmux.web-1.servers_up:2|g\n\
            rmux.web-1.servers_down:1|g\n\
            rmux.web-1.buffered_bytes:220200960|g";
        assert_eq!(texts(&before, &now, "rmux.web-1.", true), [expected]);
        let without = texts(&before, &now, "rmux.web-1.", false);
        assert!(!without[0].contains("|ms") && without[0].contains("accepted:30|c"), "{without:?}");
    }

    #[test]
    fn of_nothing_that_happened_nothing_is_said() {
        let now = sample::report();
        for (before, now) in [(&now, &now), (&now, &sample::report_before())] {
            let texts = texts(before, now, "rmux.web-1.", true);
            assert!(!texts[0].contains("|c") && !texts[0].contains("|ms"), "{texts:?}");
        }
        assert_eq!(texts(&Report::default(), &Report::default(), "r.", true)[0].lines().count(), 6);
    }

    #[test]
    fn a_long_prefix_takes_several_datagrams_none_of_which_is_too_long() {
        let (before, now) = (sample::report_before(), sample::report());
        let whole = texts(&before, &now, "", true).concat();
        let lines = |text: &str, prefix: &str| -> Vec<String> {
            text.lines().map(|line| line.strip_prefix(prefix).expect("each has it").to_owned()).collect()
        };
        let mut counts = Vec::new();
        for length in 0..1380 {
            let prefix = format!("{}.", "x".repeat(length));
            let texts = texts(&before, &now, &prefix, true);
            assert!(texts.iter().all(|text| text.len() <= DATAGRAM_BYTES_MAX && !text.is_empty()), "{length}");
            assert_eq!(lines(&texts.join("\n"), &prefix), lines(&whole, ""));
            counts.push(texts.len());
        }
        assert_eq!((counts[70], counts[1379]), (1, 15));
    }

    #[test]
    fn times_have_four_places() {
        let mean = |count, us| {
            let mut times = Histogram::default();
            times.record(count, us);
            mean_ms(&times)
        };
        assert_eq!([mean(3, 0), mean(1, 7), mean(2, 1_234_567)], ["0.0000", "0.0070", "1234.5670"]);
    }
}
