//! What is not well, in the order in which it matters: what the page and `rmux -top` say first.
//!
//! A problem is something that somebody should look at now; what only may become one has its figure further below.

use super::interval::Interval;
use super::report::{CertificateReport, PoolReport, Report};
use super::words;
use crate::stats::{ServerFigures, ServerRole};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether clients suffer from it; else they may soon.
    pub is_grave: bool,
    /// A sentence without a full stop.
    pub text: String,
}

/// All of them; `interval` is what happened of late.
pub fn problems(report: &Report, interval: &Interval) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut add = |is_grave, parts: &[&str]| found.push(Problem { is_grave, text: parts.concat() });
    if !report.is_accepting {
        add(true, &["clients are not accepted: it starts, or is about to end"]);
    }
    if let Some(stuck) = report.why_stuck() {
        add(true, &[&stuck]);
    }
    for pool in &report.pools {
        let servers = &pool.figures.servers;
        if let Some(reason) = pool.why_not_served().filter(|_| !servers.is_empty()) {
            add(true, &["pool ", &pool.listen, ": ", reason]);
        }
        for (server, address) in servers.iter().zip(&pool.figures.addresses) {
            of_server(report, server, address, &mut add);
        }
    }
    for pool in &report.pools {
        of_pool(report, pool, &mut add);
    }
    let own_errors = interval.own_errors.total();
    if own_errors > 0 {
        let count = words::count(own_errors);
        add(false, &["rmux itself answered ", &count, " requests with an error within ", &words::span(interval.ms)]);
    }
    let process = &report.process;
    if words::percent(process.open_files, process.open_files_max) >= 90 {
        let [open, max] = [process.open_files, process.open_files_max].map(words::count);
        add(false, &[&open, " of ", &max, " files are open"]);
    }
    let reloads = &report.reloads;
    if reloads.is_last_refused {
        let at = words::time_of_day(reloads.last_unix_ms);
        let ago = words::span(report.unix_ms.saturating_sub(reloads.last_unix_ms));
        add(false, &["the last reload, at ", &at, " UTC (", &ago, " ago), was refused: the log says why"]);
    }
    // In their order otherwise.
    let (mut grave, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|problem| problem.is_grave);
    grave.extend(others);
    grave
}

fn of_server(report: &Report, server: &ServerFigures, address: &str, add: &mut dyn FnMut(bool, &[&str])) {
    if server.role == ServerRole::Unread && !is_unwell(server) {
        add(false, &["replica ", address, " is not read from: the log says why"]);
    }
    if server.location.is_lost {
        add(false, &["the name of server ", address, " is not found: what was found before is used"]);
    }
    let until = server.location.certificate_until_unix_ms;
    if let Some((is_grave, end)) = expiring(report, until).filter(|_| until > 0) {
        add(is_grave, &["the certificate of server ", address, " ", &end]);
    }
    if is_unwell(server) {
        let since = words::time_of_day(report.unix_ms.saturating_sub(server.state_ms));
        let why = if server.why.is_empty() { "" } else { ": " };
        let span = words::span(server.state_ms);
        let state = server.state.name();
        // What a replica would answer others do.
        let is_grave = !server.state.is_up() && server.role == ServerRole::Master;
        add(is_grave, &["server ", address, " is ", state, " since ", &since, " UTC (", &span, ")", why, &server.why]);
    }
}

/// True exactly when it is a problem how the server is.
pub fn is_unwell(server: &ServerFigures) -> bool {
    server.state != crate::stats::ServerState::Up
}

/// What is to be said of a certificate that is good until then, and whether that is grave; nothing, if it is good for
/// long.
fn expiring(report: &Report, until_unix_ms: u64) -> Option<(bool, String)> {
    let (left, over) = (until_unix_ms.saturating_sub(report.unix_ms), report.unix_ms.saturating_sub(until_unix_ms));
    match left {
        0 => Some((true, ["expired ", &words::span(over), " ago"].concat())),
        1..CERTIFICATE_MS_MIN => Some((false, ["expires in ", &words::span(left)].concat())),
        _ => None,
    }
}

fn of_pool(report: &Report, pool: &PoolReport, add: &mut dyn FnMut(bool, &[&str])) {
    let figures = &pool.figures;
    let start = ["pool ", &pool.listen, ": "].concat();
    if !pool.sentinels.is_empty() && pool.sentinels_by_state()[0] == 0 {
        add(false, &[&start, "no sentinel answers: a master that moves is not found"]);
    }
    for cluster in pool.clusters.iter().filter(|cluster| !cluster.problem.is_empty()) {
        add(cluster.masters == 0, &[&start, &cluster.problem]);
    }
    for CertificateReport { key, subject, until_unix_ms, .. } in &pool.certificates {
        if let Some((is_grave, end)) = expiring(report, *until_unix_ms) {
            add(is_grave, &[&start, key, ": the certificate of ", subject, " ", &end]);
        }
    }
    if figures.clients_waiting > 0 && figures.wait_max_us >= WAIT_US_MAX {
        let [count, longest] = [words::count(figures.clients_waiting), words::short_span(figures.wait_max_us)];
        add(false, &[&start, "clients that wait for a connection: ", &count, "; the longest wait was ", &longest]);
    }
    if words::percent(figures.buffered_bytes, figures.buffered_bytes_max) >= 80 {
        let [taken, max] = [figures.buffered_bytes, figures.buffered_bytes_max].map(words::bytes);
        add(false, &[&start, "memory is nearly full: ", &taken, " of ", &max]);
    }
    if words::percent(figures.clients, figures.clients_max) >= 90 {
        let [count, max] = [figures.clients, figures.clients_max].map(words::count);
        add(false, &[&start, &count, " of ", &max, " clients are connected"]);
    }
    if figures.turn_max_us >= TURN_US_MAX {
        add(false, &[&start, "a turn of the loop took ", &words::short_span(figures.turn_max_us)]);
    }
}

/// Waits that are shorter go by without anybody noticing.
const WAIT_US_MAX: u64 = 100_000;

/// In a turn that is longer, all clients of a thread wait noticeably.
const TURN_US_MAX: u64 = 250_000;

/// A certificate that is good for less is to be renewed, by who has not automated that: 14 days.
const CERTIFICATE_MS_MIN: u64 = 14 * 86_400_000;

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn texts(report: &Report) -> Vec<String> {
        let interval = Interval::between(&sample::report_before(), report);
        problems(report, &interval).into_iter().map(|problem| problem.text).collect()
    }

    #[test]
    fn what_clients_suffer_from_stands_first() {
        assert_eq!(
            texts(&sample::report()),
            [
                "server redis2:6379 is down since 10:07:59 UTC (4 min 12 s): it does not take connections: \
                 \"Connection <refused>\" & more",
                "the name of server redis1:6379 is not found: what was found before is used",
                "pool /run/rmux/<cache>.sock: clients that wait for a connection: 12; the longest wait was 612 ms",
                "pool /run/rmux/<cache>.sock: memory is nearly full: 210 MiB of 256 MiB",
                "rmux itself answered 7 requests with an error within 2 s",
                "the last reload, at 07:12:09 UTC (3 h 0 min ago), was refused: the log says why",
            ]
        );
    }

    #[test]
    fn certificates_are_told_of_before_they_expire_and_grave_when_they_have() {
        let mut report = sample::report_before();
        report.reloads.is_last_refused = false;
        report.pools[0].figures.buffered_bytes = 0;
        let set = |report: &mut Report, file_ms: u64, server_ms: u64| {
            report.pools[0].certificates[0].until_unix_ms = file_ms;
            report.pools[0].figures.servers[0].location.certificate_until_unix_ms = server_ms;
        };
        let now = report.unix_ms;
        set(&mut report, now + CERTIFICATE_MS_MIN, now + CERTIFICATE_MS_MIN);
        assert_eq!(texts(&report), [""; 0]);
        set(&mut report, now + CERTIFICATE_MS_MIN - 1, now);
        let start = "pool /run/rmux/<cache>.sock: remoteTlsCaFile: the certificate of <CA>";
        let expected = [
            "the certificate of server redis1:6379 expired 0 s ago".to_owned(),
            format!("{start} expires in 13 d 23 h"),
        ];
        assert_eq!(texts(&report), expected);
        set(&mut report, now - 300_000, 0);
        assert_eq!(texts(&report), [format!("{start} expired 5 min 0 s ago")]);
        report.pools[0].sentinels[0].is_up = false;
        let silent = "pool /run/rmux/<cache>.sock: no sentinel answers: a master that moves is not found".to_owned();
        assert_eq!(texts(&report), [format!("{start} expired 5 min 0 s ago"), silent], "the grave one first");
    }

    #[test]
    fn a_cluster_that_is_not_found_is_grave_only_as_long_as_it_never_was() {
        let mut report = sample::report_before();
        report.reloads.is_last_refused = false;
        report.pools[0].clusters[0].problem = "its cluster cannot be asked".to_owned();
        for (masters, is_grave) in [(3, false), (0, true)] {
            report.pools[0].clusters[0].masters = masters;
            let found = problems(&report, &Interval::between(&report, &report));
            let is_it = |problem: &&Problem| problem.text.ends_with(": its cluster cannot be asked");
            assert_eq!(found.iter().find(is_it).map(|problem| problem.is_grave), Some(is_grave));
        }
    }

    #[test]
    fn nothing_is_wrong_where_all_is_well() {
        let mut report = sample::report_before();
        report.reloads.is_last_refused = false;
        report.pools[0].figures.buffered_bytes = 0;
        assert_eq!(texts(&report), [""; 0]);
        report.is_accepting = false;
        report.process.open_files = 16_000;
        let pool = &mut report.pools[1];
        pool.threads_silent = 1;
        pool.figures.servers[0].state = crate::stats::ServerState::Probing;
        pool.figures.servers[0].state_ms = 1_000;
        (pool.figures.clients, pool.figures.turn_max_us) = (9_000, 250_000);
        assert_eq!(
            texts(&report),
            [
                "clients are not accepted: it starts, or is about to end",
                "pool localhost:7000: threads that do not turn: 1 of 1",
                "pool localhost:7000: no server is up",
                "server /run/redis/queue.sock is probing since 10:12:08 UTC (1 s)",
                "pool localhost:7000: 9,000 of 10,000 clients are connected",
                "pool localhost:7000: a turn of the loop took 250 ms",
                "16,000 of 16,384 files are open",
            ]
        );
    }
}
