//! A report as metrics: the text that Prometheus reads (0.0.4), or OpenMetrics (1.0.0).
//!
//! One table of families, one row each: name, what it is, which samples it has and where they come from. A value that
//! is not there is left out. Labels are few, and none is about a client or a key: `pool`, `server`, and `reason`,
//! `class`, `source`, `code`, `state`, `type` or `certificate`. Addresses that come and go are no labels.
//!
//! ```text
//!   # HELP rmux_server_timeouts_total Requests that a server did not answer in time.
//!   # TYPE rmux_server_timeouts_total counter
//!   rmux_server_timeouts_total{pool="/run/rmux.sock",server="redis1:6379"} 3
//! ```
//!
//! The two forms differ little: in OpenMetrics a family of counters is called without `_total`, says its unit, and
//! there is an end.

use super::cluster::{ClusterReport, RefreshReport};
use super::report::{CertificateReport, PoolReport, Process, Report, SENTINEL_STATES};
use crate::stats::{
    CLIENT_CLOSE_REASONS, CONNECTION_STATES, ErrorCodes, FAILURES, Figures, Histogram, REDIRECTS, REQUEST_CLASSES,
    SERVER_ROLES, SPLIT, ServerFigures, ServerRole,
};

/// One family: samples of the same name.
struct Family {
    /// Without what all of them begin with, if [`Source`] does not say otherwise; of counters, without `_total`.
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// How many of the last digits of the values stand behind the point.
    decimals: usize,
    source: Source,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// Where values come from.
enum Source {
    /// Whose names are everybody's: they do not begin with `rmux_`.
    Process(fn(&Process, &Report) -> Option<u64>),
    Program(fn(&Report) -> Option<u64>),
    /// The version.
    Version,
    Pool(fn(&Figures) -> u64),
    /// One for each name.
    PoolBy(&'static str, &'static [&'static str], fn(&Figures, usize) -> u64),
    /// A label each for where an error comes from, and for its code.
    PoolErrors,
    PoolTimes(fn(&Figures) -> &Histogram),
    /// Of its reactors: all of them, and those that are silent.
    Threads,
    /// Of a pool's sentinels, by whether they answer; nothing of a pool that has none.
    Sentinels,
    /// Of a pool's cluster; nothing of a pool that has none, or of which nothing is known yet.
    Cluster(fn(&Report, &ClusterReport) -> Option<u64>),
    /// Of the same, by what a node is.
    ClusterNodes,
    /// Of the same, by why its nodes were asked, and what came of it.
    ClusterRefreshes,
    /// Of the same, by what nodes said instead of a reply.
    ClusterRedirects,
    /// Of each file with certificates.
    Certificates,
    Server(fn(&ServerFigures) -> u64),
    /// Of those servers of which there is something to tell.
    ServerMaybe(fn(&PoolReport, &ServerFigures) -> Option<u64>),
    ServerBy(&'static str, &'static [&'static str], fn(&ServerFigures, usize) -> u64),
}

/// Appends all of it.
pub(super) fn write(report: &Report, is_open: bool, out: &mut Vec<u8>) {
    let mut writer = Writer { out, is_open };
    for family in FAMILIES {
        writer.write_family(family, report);
    }
    if is_open {
        writer.put(&["# EOF\n"]);
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// Whether it is to be OpenMetrics.
    is_open: bool,
}

impl Writer<'_> {
    fn put(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.out.extend_from_slice(part.as_bytes()));
    }

    fn write_family(&mut self, family: &Family, report: &Report) {
        let begin = self.out.len();
        self.write_head(family);
        let head_end = self.out.len();
        match family.source {
            Source::Process(value) => self.write_maybe(family, value(&report.process, report)),
            Source::Program(value) => self.write_maybe(family, value(report)),
            Source::Version => self.write_sample(family, "", &[("version", env!("CARGO_PKG_VERSION"))], 1),
            Source::Threads => {
                for pool in &report.pools {
                    let labels = |state| [("pool", &*pool.listen), ("state", state)];
                    let silent = pool.threads_silent;
                    self.write_sample(family, "", &labels("turning"), (pool.threads - silent) as u64);
                    self.write_sample(family, "", &labels("silent"), silent as u64);
                }
            }
            Source::Sentinels => {
                for pool in report.pools.iter().filter(|pool| !pool.sentinels.is_empty()) {
                    for (state, count) in SENTINEL_STATES.iter().zip(pool.sentinels_by_state()) {
                        self.write_sample(family, "", &[("pool", &pool.listen), ("state", state)], count);
                    }
                }
            }
            Source::Cluster(_) | Source::ClusterNodes | Source::ClusterRefreshes | Source::ClusterRedirects => {
                for pool in &report.pools {
                    pool.clusters.iter().for_each(|cluster| self.write_cluster(family, report, pool, cluster));
                }
            }
            Source::Certificates => {
                for pool in &report.pools {
                    for CertificateReport { key, until_unix_ms, .. } in &pool.certificates {
                        let labels = [("pool", &*pool.listen), ("certificate", key)];
                        self.write_sample(family, "", &labels, *until_unix_ms);
                    }
                }
            }
            Source::Server(_) | Source::ServerMaybe(_) | Source::ServerBy(..) => {
                for pool in &report.pools {
                    for (server, address) in pool.figures.servers.iter().zip(&pool.figures.addresses) {
                        self.write_server(family, pool, server, address);
                    }
                }
            }
            _ => report.pools.iter().for_each(|pool| self.write_pool(family, &pool.listen, &pool.figures)),
        }
        if self.out.len() == head_end {
            self.out.truncate(begin);
        }
    }

    fn write_head(&mut self, family: &Family) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info if self.is_open => "info",
            Kind::Info => "gauge",
        };
        let suffix = match family.kind {
            Kind::Counter if !self.is_open => "_total",
            Kind::Info if !self.is_open => "_info",
            _ => "",
        };
        let prefix = family.prefix();
        self.put(&["# HELP ", prefix, family.name, suffix, " ", family.help, "\n"]);
        self.put(&["# TYPE ", prefix, family.name, suffix, " ", kind, "\n"]);
        let unit = family.name.rsplit('_').next().filter(|unit| matches!(*unit, "seconds" | "bytes"));
        if let Some(unit) = unit.filter(|_| self.is_open) {
            self.put(&["# UNIT ", prefix, family.name, " ", unit, "\n"]);
        }
    }

    fn write_maybe(&mut self, family: &Family, value: Option<u64>) {
        if let Some(value) = value {
            self.write_sample(family, "", &[], value);
        }
    }

    fn write_pool(&mut self, family: &Family, pool: &str, figures: &Figures) {
        let pool = ("pool", pool);
        match family.source {
            Source::Pool(value) => self.write_sample(family, "", &[pool], value(figures)),
            Source::PoolBy(label, names, value) => {
                for (place, name) in names.iter().enumerate() {
                    self.write_sample(family, "", &[pool, (label, name)], value(figures, place));
                }
            }
            Source::PoolErrors => {
                let mut write = |source: &str, codes: &ErrorCodes| {
                    for (code, count) in codes.iter() {
                        self.write_sample(family, "", &[pool, ("source", source), ("code", code)], count);
                    }
                };
                write("server", &figures.stats.errors);
                write("rmux", &figures.stats.own_errors);
            }
            Source::PoolTimes(times) => {
                let times = times(figures);
                for (end_us, count) in times.doublings() {
                    let end = decimal(end_us, MICROS);
                    self.write_whole(family, "_bucket", &[pool, ("le", &end)], count);
                }
                self.write_whole(family, "_bucket", &[pool, ("le", "+Inf")], times.count());
                self.write_sample(family, "_sum", &[pool], times.sum_us());
                self.write_whole(family, "_count", &[pool], times.count());
            }
            _ => {}
        }
    }

    fn write_server(&mut self, family: &Family, report: &PoolReport, server: &ServerFigures, address: &str) {
        let (pool, address) = (("pool", &*report.listen), ("server", address));
        match family.source {
            Source::ServerMaybe(value) => {
                if let Some(value) = value(report, server) {
                    self.write_sample(family, "", &[pool, address], value);
                }
            }
            Source::Server(value) => self.write_sample(family, "", &[pool, address], value(server)),
            Source::ServerBy(label, names, value) => {
                for (place, name) in names.iter().enumerate() {
                    self.write_sample(family, "", &[pool, address, (label, name)], value(server, place));
                }
            }
            _ => {}
        }
    }

    fn write_cluster(&mut self, family: &Family, report: &Report, pool: &PoolReport, cluster: &ClusterReport) {
        let (pool, stats) = (&*pool.listen, &pool.figures.stats);
        match family.source {
            Source::Cluster(value) => {
                if let Some(value) = value(report, cluster) {
                    self.write_sample(family, "", &[("pool", pool)], value);
                }
            }
            Source::ClusterNodes => {
                self.write_sample(family, "", &[("pool", pool), ("role", "master")], cluster.masters);
                self.write_sample(family, "", &[("pool", pool), ("role", "replica")], cluster.replicas);
            }
            Source::ClusterRedirects => {
                for (kind, count) in REDIRECTS.iter().zip(stats.redirects) {
                    self.write_sample(family, "", &[("pool", pool), ("type", kind)], count);
                }
            }
            _ => {
                for RefreshReport { cause, outcome, count } in &cluster.refreshes {
                    self.write_sample(family, "", &[("pool", pool), ("cause", cause), ("outcome", outcome)], *count);
                }
            }
        }
    }

    fn write_sample(&mut self, family: &Family, suffix: &str, labels: &[(&str, &str)], value: u64) {
        self.write_line(family, suffix, labels, &decimal(value, family.decimals));
    }

    fn write_whole(&mut self, family: &Family, suffix: &str, labels: &[(&str, &str)], value: u64) {
        self.write_line(family, suffix, labels, &decimal(value, 0));
    }

    fn write_line(&mut self, family: &Family, suffix: &str, labels: &[(&str, &str)], value: &str) {
        let suffix = match family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            _ => suffix,
        };
        self.put(&[family.prefix(), family.name, suffix]);
        for (number, (name, value)) in labels.iter().enumerate() {
            self.put(&[if number == 0 { "{" } else { "," }, name, "=\""]);
            self.put_escaped(value);
            self.put(&["\""]);
        }
        self.put(&[if labels.is_empty() { " " } else { "} " }, value, "\n"]);
    }

    fn put_escaped(&mut self, value: &str) {
        for byte in value.bytes() {
            match byte {
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\\' | b'"' => self.out.extend_from_slice(&[b'\\', byte]),
                _ => self.out.push(byte),
            }
        }
    }
}

impl Family {
    fn prefix(&self) -> &'static str {
        if matches!(self.source, Source::Process(_)) { "process_" } else { "rmux_" }
    }
}

/// A number of which so many digits stand behind the point.
fn decimal(value: u64, decimals: usize) -> String {
    let mut digits = value.to_string();
    if decimals > 0 {
        let missing = (decimals + 1).saturating_sub(digits.len());
        digits.insert_str(0, &"0000000"[..missing]);
        digits.insert(digits.len() - decimals, '.');
    }
    digits
}

/// This, of a server that has a name which was looked up.
fn looked_up(server: &ServerFigures, value: u64) -> Option<u64> {
    (server.location.lookups > 0).then_some(value)
}

/// What is counted in thousandths, and in millionths.
const MILLIS: usize = 3;
const MICROS: usize = 6;

const fn family(kind: Kind, name: &'static str, decimals: usize, source: Source, help: &'static str) -> Family {
    Family { name, kind, help, decimals, source }
}

use Kind::{Counter, Gauge, Info};
use Source::{Pool, PoolBy, PoolErrors, PoolTimes, Program, Server, ServerBy, ServerMaybe, Threads, Version};

/// All of them, in the order in which they are written.
#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    family(Info, "build", 0, Version,
        "The version that runs."),
    family(Gauge, "start_time_seconds", MILLIS, Program(|r| Some(r.started_unix_ms)),
        "When it started, in seconds since 1970."),
    family(Gauge, "accepting", 0, Program(|r| Some(r.is_accepting.into())),
        "1 if clients are accepted, 0 while it starts or ends."),
    family(Gauge, "config_last_reload_success", 0, Program(|r| Some((!r.reloads.is_last_refused).into())),
        "0 if the last reload was refused, and the configuration before it is in use; else 1."),
    family(Gauge, "config_last_reload_timestamp_seconds", MILLIS,
        Program(|r| Some(r.reloads.last_unix_ms).filter(|ms| *ms > 0)),
        "When the last reload ended, well or not, in seconds since 1970."),
    family(Counter, "config_reloads", 0, Program(|r| Some(r.reloads.done)),
        "Reloads that were done."),
    family(Counter, "config_reloads_refused", 0, Program(|r| Some(r.reloads.refused)),
        "Reloads that were refused."),
    family(Gauge, "threads", 0, Threads,
        "Threads of a pool, by whether they turn or did not answer within a second."),

    family(Gauge, "clients", 0, Pool(|f| f.clients),
        "Clients that are connected."),
    family(Gauge, "clients_limit", 0, Pool(|f| f.clients_max),
        "The most clients at one time."),
    family(Gauge, "clients_paused", 0, Pool(|f| f.clients_paused),
        "Clients that are not read until they take their replies."),
    family(Gauge, "clients_blocked", 0, Pool(|f| f.clients_blocked),
        "Clients that wait for data, as in BLPOP."),
    family(Counter, "clients_accepted", 0, Pool(|f| f.stats.clients),
        "Clients that connected."),
    family(Counter, "clients_rejected", 0,
        PoolBy("reason", &["max", "fd", "auth"], |f, place| {
            [f.stats.clients_refused, f.stats.accept_failures, f.stats.denials][place]
        }),
        "Clients that were turned away, connections that the system did not let in, and wrong passwords."),
    family(Counter, "clients_closed", 0,
        PoolBy("reason", &CLIENT_CLOSE_REASONS, |f, place| f.stats.clients_closed[place]),
        "Clients that were closed, by why."),
    family(Counter, "client_bytes_received", 0, Pool(|f| f.stats.bytes.from_clients),
        "Bytes that clients sent."),
    family(Counter, "client_bytes_sent", 0, Pool(|f| f.stats.bytes.to_clients),
        "Bytes that were sent to clients."),
    family(Counter, "server_bytes_received", 0, Pool(|f| f.stats.bytes.from_servers),
        "Bytes that servers sent."),
    family(Counter, "server_bytes_sent", 0, Pool(|f| f.stats.bytes.to_servers),
        "Bytes that were sent to servers."),
    family(Counter, "requests", 0, PoolBy("class", &REQUEST_CLASSES, |f, place| f.stats.requests[place]),
        "Requests, by what is done with them."),
    family(Counter, "requests_split", 0, Pool(|f| f.stats.requests[SPLIT]),
        "Requests of which several servers had a part."),
    family(Counter, "requests_retried", 0,
        PoolBy("reason", &["lost", "slow", "read_only"],
            |f, place| [f.stats.resends, f.stats.moves, f.stats.held][place]),
        "Reads that were sent again: their connection was lost, or they stood behind a reply that took its time; and \
         requests that waited for a master."),
    family(Counter, "replies_error", 0, PoolErrors,
        "Errors that were replied to clients, by who said so and by their code."),
    family(Kind::Histogram, "request_wait_seconds", MICROS, PoolTimes(|f| &f.waits),
        "From the moment in which a request was read until it was queued for a server."),
    family(Kind::Histogram, "request_duration_seconds", MICROS, PoolTimes(|f| &f.durations),
        "From the moment in which a request was queued for a server until its reply was there."),
    family(Gauge, "lease_waiting", 0, Pool(|f| f.clients_waiting),
        "Clients that wait for a connection to a server."),
    family(Gauge, "lease_wait_seconds_max", MICROS, Pool(|f| f.wait_max_us),
        "The longest wait for a connection that lasts, or ended within the last minute."),
    family(Gauge, "loop_turn_seconds_max", MICROS, Pool(|f| f.turn_max_us),
        "The longest turn of a loop within the last minute."),
    family(Gauge, "buffered_bytes", 0, Pool(|f| f.buffered_bytes),
        "Memory that requests and replies take."),
    family(Gauge, "buffered_bytes_limit", 0, Pool(|f| f.buffered_bytes_max),
        "The most that they may take."),
    family(Counter, "messages_delivered", 0, Pool(|f| f.stats.messages),
        "Messages that were given to a subscriber."),
    family(Counter, "resubscriptions", 0, Pool(|f| f.stats.resubscriptions),
        "Times that a connection which heard messages was lost, and all of its subscriptions were made anew."),

    family(Gauge, "server_up", 0, Server(|s| s.state.is_up().into()),
        "1 if requests may go there, else 0."),
    family(Gauge, "server_role", 0, ServerBy("role", &SERVER_ROLES, |s, place| (s.role as usize == place).into()),
        "1 for what it is: a server with keys of its own, a replica, or one that is not read from now; else 0."),
    family(Gauge, "server_state_seconds", MILLIS, Server(|s| s.state_ms),
        "For how long it is in its state."),
    family(Counter, "server_state_changes", 0, Server(|s| s.stats.changes),
        "Times that its state became another one."),
    family(Counter, "server_downs", 0, Server(|s| s.stats.downs),
        "Times that it went down."),
    family(Gauge, "server_connections", 0, ServerBy("state", &CONNECTION_STATES, |s, place| s.by_state[place]),
        "Connections to it, by what they are at."),
    family(Counter, "server_connects", 0, Server(|s| s.stats.connects),
        "Connections that were opened to it."),
    family(Counter, "server_connect_failures", 0, ServerBy("reason", &FAILURES, |s, place| s.stats.failures[place]),
        "Connections that could not be made, by why."),
    family(Counter, "server_lost", 0, Server(|s| s.stats.lost),
        "Connections that were of use, and that rmux did not end."),
    family(Counter, "server_requests", 0, Server(|s| s.stats.requests),
        "Requests that were queued for it."),
    family(Counter, "server_requests_failed", 0, Server(|s| s.stats.errors),
        "Requests that it did not answer: timed out, or lost with their connection."),
    family(Counter, "server_timeouts", 0, Server(|s| s.stats.timeouts),
        "Requests that it did not answer in time."),
    family(Gauge, "server_queue_requests", 0, Server(|s| s.outstanding as u64),
        "Requests that it has not answered yet."),
    family(Gauge, "server_queue_bytes", 0, Server(|s| s.queue_bytes),
        "Bytes that are queued for it."),
    family(Gauge, "server_waiting", 0, ServerBy("reason", &["room", "lease"], |s, place| s.waiting[place]),
        "Clients that wait for room on one of its connections, or for one of their own."),
    family(Gauge, "server_addresses", 0, ServerMaybe(|_, s| looked_up(s, s.location.count)),
        "Addresses that its name has."),
    family(Counter, "server_resolutions", 0, ServerMaybe(|_, s| looked_up(s, s.location.lookups)),
        "Times that its name was looked up."),
    family(Counter, "server_resolutions_failed", 0, ServerMaybe(|_, s| looked_up(s, s.location.lookups_failed)),
        "Times that no address was found for its name."),
    family(Gauge, "server_last_resolution_timestamp_seconds", MILLIS,
        ServerMaybe(|_, s| looked_up(s, s.location.looked_up_unix_ms)),
        "When its name was looked up last, in seconds since 1970."),
    family(Counter, "server_address_changes", 0, ServerMaybe(|_, s| looked_up(s, s.location.changes)),
        "Times that its name had other addresses than before."),
    family(Gauge, "server_certificate_expiry_timestamp_seconds", MILLIS,
        ServerMaybe(|_, s| Some(s.location.certificate_until_unix_ms).filter(|until| *until > 0)),
        "Until when the certificate is good that it has shown last, in seconds since 1970."),

    family(Gauge, "sentinels", 0, Source::Sentinels,
        "Sentinels that are known, by whether they answer."),
    family(Counter, "sentinel_switches", 0,
        ServerMaybe(|pool, s| {
            Some(s.location.switches).filter(|_| !pool.sentinels.is_empty() && s.role == ServerRole::Master)
        }),
        "Times that another server became the master which sentinels know by its name."),
    family(Gauge, "cluster_slots_covered", 0, Source::Cluster(|_, cluster| Some(cluster.slots_covered)),
        "Slots of the cluster that have a node, of 16384."),
    family(Gauge, "cluster_nodes", 0, Source::ClusterNodes,
        "Nodes of the cluster that have slots, and their replicas."),
    family(Counter, "cluster_refreshes", 0, Source::ClusterRefreshes,
        "Times that nodes were asked who has which slot, by why, and by what came of it."),
    family(Counter, "cluster_redirects", 0, Source::ClusterRedirects,
        "Requests that a node did not run, by what it said instead."),
    family(Gauge, "cluster_last_refresh_timestamp_seconds", MILLIS,
        Source::Cluster(|r, cluster| Some(r.unix_ms.saturating_sub(cluster.told_ms)).filter(|_| cluster.masters > 0)),
        "When a node was last believed that has said so, in seconds since 1970."),
    family(Gauge, "tls_certificate_expiry_timestamp_seconds", MILLIS, Source::Certificates,
        "Until when the certificate of a file is good, in seconds since 1970; of authorities the one that lasts \
         longest."),

    family(Counter, "cpu_seconds", MILLIS, Source::Process(|p, _| Some(p.cpu_ms).filter(|_| p.resident_bytes > 0)),
        "Time of the processor, in user and system."),
    family(Gauge, "resident_memory_bytes", 0, Source::Process(|p, _| Some(p.resident_bytes).filter(|bytes| *bytes > 0)),
        "Memory that it has."),
    family(Gauge, "open_fds", 0, Source::Process(|p, _| Some(p.open_files).filter(|files| *files > 0)),
        "File descriptors that are open."),
    family(Gauge, "max_fds", 0,
        Source::Process(|p, _| Some(p.open_files_max).filter(|files| *files > 0 && *files < u64::MAX)),
        "File descriptors that it may have open."),
    family(Gauge, "start_time_seconds", MILLIS, Source::Process(|_, r| Some(r.started_unix_ms)),
        "When it started, in seconds since 1970."),
];

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;
    use std::collections::BTreeSet;

    fn written(report: &Report, is_open: bool) -> String {
        let mut out = Vec::new();
        write(report, is_open, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn numbers_are_written_with_their_point() {
        for (value, decimals, text) in [
            (0, 0, "0"),
            (1234, 0, "1234"),
            (0, 3, "0.000"),
            (7, 3, "0.007"),
            (1234, 3, "1.234"),
            (64, 6, "0.000064"),
            (4_194_304, 6, "4.194304"),
            (u64::MAX, 6, "18446744073709.551615"),
        ] {
            assert_eq!(decimal(value, decimals), text);
        }
    }

    #[test]
    fn each_family_is_there_once_and_stands_in_the_manual() {
        let text = written(&sample::report(), false);
        let manual =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/manual.md")).expect("it is there");
        let mut names = BTreeSet::new();
        for family in FAMILIES {
            let suffix = match family.kind {
                Kind::Counter => "_total",
                Kind::Info => "_info",
                _ => "",
            };
            let name = [family.name, suffix].concat();
            let full = [family.prefix(), &name].concat();
            assert!(manual.contains(&format!("`{full}`")), "doc/manual.md has no {full}");
            assert_eq!(text.matches(&format!("# TYPE {full} ")).count(), 1, "{full}");
            assert!(names.insert(full));
        }
    }

    #[test]
    fn a_process_that_has_only_just_begun_has_used_no_time() {
        let process = Process { resident_bytes: 1, ..Process::default() };
        let text = written(&Report { process, ..Report::default() }, false);
        assert!(text.contains("\nprocess_cpu_seconds_total 0"), "{text}");
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let text = written(&Report::default(), false);
        for name in ["process_cpu", "process_open_fds", "process_max_fds", "timestamp", "server_up", "rmux_clients"] {
            assert!(!text.contains(name), "{name} in {text}");
        }
        assert!(written(&Report::default(), true).ends_with("\n# EOF\n"));
    }

    #[test]
    fn counters_and_units_are_called_as_each_form_has_it() {
        let (text, open) = (written(&sample::report(), false), written(&sample::report(), true));
        assert!(text.contains("# TYPE rmux_requests_total counter\nrmux_requests_total{"));
        assert!(open.contains("# TYPE rmux_requests counter\nrmux_requests_total{"));
        assert!(open.contains("# TYPE rmux_build info\nrmux_build_info{version="));
        assert!(open.contains("# UNIT rmux_request_wait_seconds seconds\n") && !text.contains("# UNIT"));
        assert!(open.contains("# UNIT process_cpu_seconds seconds\nprocess_cpu_seconds_total "));
        // But for the descriptions, both are the same.
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        assert_eq!(samples(&text), samples(&open));
    }
}
