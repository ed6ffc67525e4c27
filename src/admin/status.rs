//! A report as JSON: `/status.json`, and back again for `rmux -top`.
//!
//! One walk over the fields of a report, `walk`, says their names and their order; a `Form` writes each,
//! or reads it.
//! So who reads cannot know another format than who writes. doc/manual.md documents it: fields are added, and neither
//! renamed nor removed; who reads takes what is missing as 0, and looks past what it does not know.
//!
//! Of clients there are only counts: from the lines of the log their addresses are taken out ([`super::events`]).

use super::cluster::{ClusterReport, RefreshReport};
use super::events;
use super::report::{CertificateReport, PoolReport, Report};
use crate::config::Json;
use crate::sentinel::SentinelView;
use crate::stats::{
    CLIENT_CLOSE_REASONS, CODES, CONNECTION_STATES, ErrorCodes, Event, FAILURES, Figures, Histogram, Location,
    REDIRECTS, REQUEST_CLASSES, ServerFigures, ServerRole, ServerState,
};

/// Appends the report.
pub fn write(report: &Report, out: &mut Vec<u8>) {
    let mut report = report.clone();
    for pool in &mut report.pools {
        pool.figures.events = events::newest(std::slice::from_ref(pool));
    }
    let mut writer = Writer { out, is_first: true, ends: Vec::new() };
    writer.begin("");
    walk(&mut report, &mut writer);
    writer.end();
    out.push(b'\n');
}

/// Reads what [`write()`] wrote, of this version of rmux or of another one, and says of which.
///
/// # Errors
///
/// Why it is no such document.
pub fn read(document: &[u8]) -> Result<(Report, String), String> {
    let document = Json::parse(document).map_err(|problem| problem.to_string())?;
    let mut reader = Reader { within: vec![(&document, 0)], elements_left: ELEMENTS_MAX };
    let mut version = String::new();
    reader.text("version", &mut version);
    if version.is_empty() {
        return Err("it is no report of rmux".to_owned());
    }
    let mut report = Report::default();
    walk(&mut report, &mut reader);
    Ok((report, version))
}

/// What is done with each field. Objects and lists begin and end; within a list, names are empty.
trait Form {
    /// An object begins.
    fn begin(&mut self, name: &str);
    /// A list begins, which has so many elements here; returns how many there will be.
    fn begin_list(&mut self, name: &str, count: usize) -> usize;
    /// What began last ends.
    fn end(&mut self);
    fn number(&mut self, name: &str, value: &mut u64);
    fn switch(&mut self, name: &str, value: &mut bool);
    fn text(&mut self, name: &str, value: &mut String);
    /// What follows from other fields: it is written for those who would have to count, and not read.
    fn result(&mut self, name: &str, value: u64);
    /// True exactly when a number that is 0 need not be there.
    fn skips_zeros(&self) -> bool;
}

fn walk(report: &mut Report, form: &mut dyn Form) {
    let mut is_ready = report.is_ready();
    form.text("version", &mut env!("CARGO_PKG_VERSION").to_owned());
    form.number("unix_ms", &mut report.unix_ms);
    form.number("started_unix_ms", &mut report.started_unix_ms);
    form.result("uptime_ms", report.unix_ms.saturating_sub(report.started_unix_ms));
    form.switch("ready", &mut is_ready);
    form.switch("accepting", &mut report.is_accepting);

    let process = &mut report.process;
    form.begin("process");
    let mut id = process.id.into();
    form.number("id", &mut id);
    process.id = id as u32;
    form.number("cpu_ms", &mut process.cpu_ms);
    form.number("resident_bytes", &mut process.resident_bytes);
    form.number("open_files", &mut process.open_files);
    form.number("open_files_max", &mut process.open_files_max);
    form.end();

    let reloads = &mut report.reloads;
    form.begin("reloads");
    form.number("done", &mut reloads.done);
    form.number("refused", &mut reloads.refused);
    form.number("last_unix_ms", &mut reloads.last_unix_ms);
    form.switch("last_refused", &mut reloads.is_last_refused);
    form.end();

    // Those of this version are those of every other.
    form.begin_list("bucket_ends_us", 0);
    Histogram::ends().for_each(|end| form.result("", end));
    form.end();

    let count = form.begin_list("pools", report.pools.len());
    report.pools.resize_with(count, PoolReport::default);
    for pool in &mut report.pools {
        form.begin("");
        walk_pool(pool, form);
        form.end();
    }
    form.end();
}

fn walk_pool(pool: &mut PoolReport, form: &mut dyn Form) {
    let figures = &mut pool.figures;
    form.text("listen", &mut pool.listen);
    size(form, "threads", &mut pool.threads);
    size(form, "threads_silent", &mut pool.threads_silent);
    form.number("uptime_ms", &mut figures.uptime_ms);

    walk_clients(figures, form);
    let stats = &mut figures.stats;
    numbers(form, "requests", &REQUEST_CLASSES, &mut stats.requests);
    form.begin("errors");
    codes(form, "server", &mut stats.errors);
    codes(form, "rmux", &mut stats.own_errors);
    form.end();
    times(form, "wait", &mut figures.waits);
    times(form, "server_time", &mut figures.durations);
    let bytes = &mut stats.bytes;
    for (name, value) in [
        ("longest_wait_us", &mut figures.wait_max_us),
        ("longest_turn_us", &mut figures.turn_max_us),
        ("buffered_bytes", &mut figures.buffered_bytes),
        ("buffered_bytes_max", &mut figures.buffered_bytes_max),
        ("bytes_from_clients", &mut bytes.from_clients),
        ("bytes_to_clients", &mut bytes.to_clients),
        ("bytes_from_servers", &mut bytes.from_servers),
        ("bytes_to_servers", &mut bytes.to_servers),
        ("resends", &mut stats.resends),
        ("moves", &mut stats.moves),
        ("held", &mut stats.held),
        ("resubscriptions", &mut stats.resubscriptions),
        ("messages", &mut stats.messages),
    ] {
        form.number(name, value);
    }
    numbers(form, "redirects", &REDIRECTS, &mut stats.redirects);

    let count = form.begin_list("servers", figures.servers.len());
    figures.servers.resize_with(count, ServerFigures::default);
    figures.addresses.resize_with(count, String::new);
    for (server, address) in figures.servers.iter_mut().zip(&mut figures.addresses) {
        form.begin("");
        form.text("address", address);
        walk_server(server, form);
        form.end();
    }
    form.end();

    walk_sentinels(&mut pool.sentinels, form);
    walk_clusters(&mut pool.clusters, form);
    walk_certificates(&mut pool.certificates, form);

    let count = form.begin_list("events", figures.events.len());
    let none = || Event { age_ms: 0, is_warning: false, text: String::new() };
    figures.events.resize_with(count, none);
    for event in &mut figures.events {
        form.begin("");
        form.number("age_ms", &mut event.age_ms);
        form.switch("warning", &mut event.is_warning);
        form.text("text", &mut event.text);
        form.end();
    }
    form.end();
}

fn walk_sentinels(sentinels: &mut Vec<SentinelView>, form: &mut dyn Form) {
    let count = form.begin_list("sentinels", sentinels.len());
    sentinels.resize_with(count, SentinelView::default);
    for sentinel in sentinels {
        form.begin("");
        form.text("address", &mut sentinel.address);
        form.switch("up", &mut sentinel.is_up);
        form.switch("tilted", &mut sentinel.is_tilted);
        form.end();
    }
    form.end();
}

fn walk_clusters(clusters: &mut Vec<ClusterReport>, form: &mut dyn Form) {
    let count = form.begin_list("clusters", clusters.len());
    clusters.resize_with(count, ClusterReport::default);
    for cluster in clusters {
        form.begin("");
        form.number("slots_covered", &mut cluster.slots_covered);
        form.number("masters", &mut cluster.masters);
        form.number("replicas", &mut cluster.replicas);
        form.number("told_ms", &mut cluster.told_ms);
        form.text("problem", &mut cluster.problem);
        let count = form.begin_list("refreshes", cluster.refreshes.len());
        cluster.refreshes.resize_with(count, RefreshReport::default);
        for refresh in &mut cluster.refreshes {
            form.begin("");
            form.text("cause", &mut refresh.cause);
            form.text("outcome", &mut refresh.outcome);
            form.number("count", &mut refresh.count);
            form.end();
        }
        form.end();
        form.end();
    }
    form.end();
}

fn walk_certificates(certificates: &mut Vec<CertificateReport>, form: &mut dyn Form) {
    let count = form.begin_list("certificates", certificates.len());
    certificates.resize_with(count, CertificateReport::default);
    for certificate in certificates {
        form.begin("");
        form.text("key", &mut certificate.key);
        form.text("file", &mut certificate.file);
        form.text("subject", &mut certificate.subject);
        form.text("until", &mut certificate.until);
        form.number("until_unix_ms", &mut certificate.until_unix_ms);
        form.end();
    }
    form.end();
}

fn walk_clients(figures: &mut Figures, form: &mut dyn Form) {
    let stats = &mut figures.stats;
    form.begin("clients");
    for (name, value) in [
        ("connected", &mut figures.clients),
        ("max", &mut figures.clients_max),
        ("paused", &mut figures.clients_paused),
        ("waiting", &mut figures.clients_waiting),
        ("blocked", &mut figures.clients_blocked),
        ("accepted", &mut stats.clients),
        ("refused", &mut stats.clients_refused),
        ("accept_failures", &mut stats.accept_failures),
        ("denied", &mut stats.denials),
    ] {
        form.number(name, value);
    }
    numbers(form, "closed", &CLIENT_CLOSE_REASONS, &mut stats.clients_closed);
    form.end();
}

fn walk_server(server: &mut ServerFigures, form: &mut dyn Form) {
    let mut is_up = server.state.is_up();
    let mut state = server.state.name().to_owned();
    let mut role = server.role.name().to_owned();
    form.text("role", &mut role);
    server.role = ServerRole::ALL.into_iter().find(|known| known.name() == role).unwrap_or_default();
    form.text("state", &mut state);
    // A state that this version does not know is none in which requests go there.
    let known = ServerState::ALL.into_iter().find(|known| known.name() == state);
    server.state = known.unwrap_or(ServerState::Down);
    form.switch("up", &mut is_up);
    form.number("state_ms", &mut server.state_ms);
    form.text("why", &mut server.why);
    size(form, "connections", &mut server.connections);
    numbers(form, "connections_by_state", &CONNECTION_STATES, &mut server.by_state);
    size(form, "outstanding", &mut server.outstanding);
    form.number("queue_bytes", &mut server.queue_bytes);
    numbers(form, "waiting", &["shared", "leased"], &mut server.waiting);
    let stats = &mut server.stats;
    for (name, value) in [
        ("requests", &mut stats.requests),
        ("unanswered", &mut stats.errors),
        ("timeouts", &mut stats.timeouts),
        ("lost", &mut stats.lost),
        ("connects", &mut stats.connects),
        ("downs", &mut stats.downs),
        ("changes", &mut stats.changes),
    ] {
        form.number(name, value);
    }
    numbers(form, "failures", &FAILURES, &mut stats.failures);
    walk_location(&mut server.location, form);
}

fn walk_location(location: &mut Location, form: &mut dyn Form) {
    form.begin("location");
    form.text("addresses", &mut location.addresses);
    form.text("zone", &mut location.zone);
    form.number("count", &mut location.count);
    form.switch("lost", &mut location.is_lost);
    for (name, value) in [
        ("resolutions", &mut location.lookups),
        ("resolutions_failed", &mut location.lookups_failed),
        ("resolved_unix_ms", &mut location.looked_up_unix_ms),
        ("changes", &mut location.changes),
        ("switches", &mut location.switches),
        ("certificate_until_unix_ms", &mut location.certificate_until_unix_ms),
    ] {
        form.number(name, value);
    }
    form.end();
}

/// An object of numbers.
fn numbers(form: &mut dyn Form, name: &str, names: &[&str], values: &mut [u64]) {
    form.begin(name);
    names.iter().zip(values).for_each(|(name, value)| form.number(name, value));
    form.end();
}

/// The codes of which there was one at least.
fn codes(form: &mut dyn Form, name: &str, codes: &mut ErrorCodes) {
    form.begin(name);
    for (code, count) in CODES.iter().zip(codes.counts_mut()) {
        if *count > 0 || !form.skips_zeros() {
            form.number(code, count);
        }
    }
    form.end();
}

fn times(form: &mut dyn Form, name: &str, times: &mut Histogram) {
    form.begin(name);
    form.result("count", times.count());
    form.result("mean_us", times.mean_us());
    for (name, thousandths) in [("p50_us", 500), ("p90_us", 900), ("p99_us", 990), ("p999_us", 999)] {
        form.result(name, times.quantile_us(thousandths));
    }
    let (buckets, sum_us) = times.parts_mut();
    form.number("sum_us", sum_us);
    let count = form.begin_list("buckets", buckets.len());
    buckets.iter_mut().take(count).for_each(|bucket| form.number("", bucket));
    form.end();
    form.end();
}

fn size(form: &mut dyn Form, name: &str, value: &mut usize) {
    let mut number = *value as u64;
    form.number(name, &mut number);
    *value = number as usize;
}

/// Writes.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    /// True exactly when nothing stands yet in what began last.
    is_first: bool,
    /// What will end all that has begun.
    ends: Vec<u8>,
}

impl Writer<'_> {
    fn name(&mut self, name: &str) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        if !name.is_empty() {
            self.string(name);
            self.out.push(b':');
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push(b'"');
        for &byte in text.as_bytes() {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                0..0x20 => {
                    self.out.extend_from_slice(b"\\u00");
                    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                    self.out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
                }
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    fn open(&mut self, name: &str, start: u8, end: u8) {
        self.name(name);
        self.out.push(start);
        self.ends.push(end);
        self.is_first = true;
    }
}

impl Form for Writer<'_> {
    fn begin(&mut self, name: &str) {
        self.open(name, b'{', b'}');
    }

    fn begin_list(&mut self, name: &str, count: usize) -> usize {
        self.open(name, b'[', b']');
        count
    }

    fn end(&mut self) {
        self.out.extend(self.ends.pop());
        self.is_first = false;
    }

    fn number(&mut self, name: &str, value: &mut u64) {
        self.name(name);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    fn switch(&mut self, name: &str, value: &mut bool) {
        self.name(name);
        self.out.extend_from_slice(if *value { b"true" } else { b"false" });
    }

    fn text(&mut self, name: &str, value: &mut String) {
        self.name(name);
        self.string(value);
    }

    fn result(&mut self, name: &str, mut value: u64) {
        self.number(name, &mut value);
    }

    fn skips_zeros(&self) -> bool {
        true
    }
}

/// Reads, and leaves what is not there, or of another kind, as it is.
struct Reader<'a> {
    /// What has begun and not ended, and how many of its elements were read, if it is a list.
    within: Vec<(&'a Json, usize)>,
    /// So many elements of lists may come yet: a byte of a list must not become a kilobyte of a report.
    elements_left: usize,
}

impl<'a> Reader<'a> {
    /// What stands under this name, or is the next element.
    fn named(&mut self, name: &str) -> Option<&'a Json> {
        let (within, read) = self.within.last_mut()?;
        match *within {
            Json::Object(pairs) => pairs.iter().find(|(found, _)| found == name).map(|(_, value)| value),
            Json::List(elements) => {
                *read += 1;
                elements.get(*read - 1)
            }
            _ => None,
        }
    }
}

impl Form for Reader<'_> {
    fn begin(&mut self, name: &str) {
        let value = self.named(name).unwrap_or(&Json::Null);
        self.within.push((value, 0));
    }

    fn begin_list(&mut self, name: &str, _: usize) -> usize {
        self.begin(name);
        let count = match self.within.last() {
            Some((Json::List(elements), _)) => elements.len().min(self.elements_left),
            _ => 0,
        };
        self.elements_left -= count;
        count
    }

    fn end(&mut self) {
        self.within.pop();
    }

    fn number(&mut self, name: &str, value: &mut u64) {
        if let Some(Json::Whole(number)) = self.named(name) {
            // What JSON holds exactly; so sums of a few do not overflow, whoever wrote it.
            *value = (*number).clamp(0, 1 << 53) as u64;
        }
    }

    fn switch(&mut self, name: &str, value: &mut bool) {
        if let Some(Json::Switch(is_on)) = self.named(name) {
            *value = *is_on;
        }
    }

    fn text(&mut self, name: &str, value: &mut String) {
        if let Some(Json::Text(text)) = self.named(name) {
            value.clone_from(text);
        }
    }

    fn result(&mut self, _: &str, _: u64) {}

    fn skips_zeros(&self) -> bool {
        false
    }
}

/// As many as many pools with many servers have.
const ELEMENTS_MAX: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn written(report: &Report) -> String {
        let mut out = Vec::new();
        write(report, &mut out);
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn the_format_is_that_of_the_manual() {
        let text = written(&sample::report());
        let expected = include_str!("status.golden.json");
        let expected: String = expected.lines().map(str::trim_start).chain(["\n"]).collect();
        assert_eq!(text, expected.replace("VERSION", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn it_is_json_and_all_of_it_is_read_again() {
        for report in [sample::report(), Report::default()] {
            let text = written(&report);
            let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
            assert_eq!(document["ready"], serde_json::Value::Bool(report.is_ready()));
            let mut expected = report;
            for pool in &mut expected.pools {
                pool.figures.events = events::newest(std::slice::from_ref(pool));
            }
            assert_eq!(read(text.as_bytes()), Ok((expected, env!("CARGO_PKG_VERSION").to_owned())));
        }
    }

    #[test]
    fn any_text_is_a_string_of_json() {
        let mut report = sample::report();
        let text: String = (0..0x250).filter_map(char::from_u32).chain("\u{2028}🦀".chars()).collect();
        report.pools[0].figures.servers[0].why.clone_from(&text);
        let document: serde_json::Value = serde_json::from_str(&written(&report)).expect("it is JSON");
        assert_eq!(document["pools"][0]["servers"][0]["why"], serde_json::Value::String(text));
    }

    #[test]
    fn clients_addresses_are_not_told() {
        let text = written(&sample::report());
        assert!(text.contains("client 7v1 closed: it spoke HTTP") && !text.contains("192.0.2"), "{text}");
    }

    #[test]
    fn what_is_missing_unknown_or_of_another_kind_does_no_harm() {
        for (document, reason) in [
            ("", "is not valid JSON: EOF while parsing a value at line 1 column 0"),
            ("[]", "it is no report of rmux"),
            (r#"{"error": "no"}"#, "it is no report of rmux"),
            (r#"{"version": 1}"#, "it is no report of rmux"),
        ] {
            assert_eq!(read(document.as_bytes()), Err(reason.to_owned()));
        }
        let odd = r#"{"version": "9", "new": [{}], "unix_ms": "x", "process": 3, "pools": [7, {"listen": "a", "servers":
            [{"state": "asleep", "requests": -5, "connections": 1e3}], "wait": {"buckets": [1, "x", 3]}}]}"#;
        let (report, version) = read(odd.as_bytes()).expect("it is one");
        assert_eq!((version.as_str(), report.pools.len(), report.pools[1].listen.as_str()), ("9", 2, "a"));
        let figures = &report.pools[1].figures;
        assert_eq!((figures.servers[0].state, figures.servers[0].stats.requests), (ServerState::Down, 0));
        assert_eq!(figures.waits.count(), 4);
        let many = format!(r#"{{"version": "9", "pools": [{}0]}}"#, "0,".repeat(100_000));
        assert_eq!(read(many.as_bytes()).expect("it is one").0.pools.len(), ELEMENTS_MAX);
    }
}
