//! The figures aimed at, beside what was measured.
//!
//! Each target is a bound and a figure out of the samples. A figure that was not measured is left empty, and none makes
//! the run fail: a benchmark is never a timed test.

use crate::book::align;
use crate::name::{DIRECT_TCP, DIRECT_TLS, DIRECT_UNIX, ENVOY, FLOOR, HAPROXY, RMUX_TWO, TWEMPROXY};
use crate::report::cell;
use crate::sample::{Figure, Sample, Samples};
use crate::scene::{CLIENTS, SEVERAL};

/// What is aimed at: its name, its bound, and what was measured.
type Target = (String, Bound, Option<f64>);

enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// The Markdown table of all targets.
pub fn table(samples: &Samples) -> String {
    let mut rows = vec![["figure", "aimed at", "measured", ""].map(str::to_owned).to_vec()];
    let of_scenes = targets(samples).into_iter().map(|(title, bound, measured)| (title.to_owned(), bound, measured));
    for (title, bound, measured) in of_scenes.chain(beside_peers(samples)).chain(with_tls(samples)) {
        let (sign, value, is_met) = match bound {
            Bound::AtMost(value) => ("≤", value, measured.map(|measured| measured <= value)),
            Bound::AtLeast(value) => ("≥", value, measured.map(|measured| measured >= value)),
        };
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => NOT_MEASURED,
        };
        rows.push(vec![title, format!("{sign} {value}"), cell(measured, 3), verdict.to_owned()]);
    }
    align(&rows, 1)
}

/// `new`, with the rows of `old` for what was not measured this time.
pub fn renew(old: &str, new: &str) -> String {
    let cells = |line: &str| -> Vec<String> { line.split('|').map(|cell| cell.trim().to_owned()).collect() };
    let is_missing = |row: &[String]| row.iter().any(|cell| cell == NOT_MEASURED);
    let title = |row: &[String]| row.get(1).cloned().unwrap_or_default();
    let before: Vec<Vec<String>> = old.lines().map(cells).collect();
    let rows = new.lines().filter(|line| !line.starts_with("|-")).map(cells).map(|row| {
        let kept = before.iter().find(|kept| title(kept) == title(&row)).filter(|_| is_missing(&row));
        let row = kept.unwrap_or(&row);
        row[1..row.len() - 1].to_vec()
    });
    align(&rows.collect::<Vec<_>>(), 1)
}

const NOT_MEASURED: &str = "not measured";

fn targets(samples: &Samples) -> Vec<(&'static str, Bound, Option<f64>)> {
    use Bound::{AtLeast, AtMost};
    let rmux = |scene: &str| samples.of_scene(scene).of("rmux");
    let over = |scene: &str, other: &str, figure: Figure| rmux(scene).ratio(&samples.of_scene(scene).of(other), figure);
    let variant = |scene: &str, name: &str, variant: &str| samples.of_scene(scene).of_variant(variant).of(name);
    let variants = |scene: &str, second: &str, first: &str, figure: Figure| {
        variant(scene, "rmux", second).ratio(&variant(scene, "rmux", first), figure)
    };
    let adds = |figure: Figure| {
        let one = samples.of_scene("one");
        let added = |name: &str| one.of(name).beside(&one.of(DIRECT_UNIX), figure, |own, direct| own - direct);
        added("rmux").zip(added(TWEMPROXY)).map(|(own, peer)| own / peer)
    };
    let two_over_one = |figure: Figure| {
        samples.of_scene("reactors").of(RMUX_TWO).ratio(&samples.of_scene("reactors").of("rmux"), figure)
    };
    vec![
        ("keep-alive: CPU / floor's", AtMost(1.25), over("keepalive", FLOOR, Sample::own_us)),
        ("keep-alive: CPU / twemproxy's", AtMost(0.8), over("keepalive", TWEMPROXY, Sample::own_us)),
        ("keep-alive: throughput / direct TCP's", AtLeast(1.05), over("keepalive", DIRECT_TCP, Sample::per_second)),
        ("keep-alive: Redis's CPU / direct TCP's", AtMost(0.25), over("keepalive", DIRECT_TCP, Sample::behind_us)),
        ("pipeline of 16: CPU, us", AtMost(0.45), rmux("pipeline").median(Sample::own_us)),
        ("pipeline of 16: CPU / twemproxy's", AtMost(0.2), over("pipeline", TWEMPROXY, Sample::own_us)),
        ("pipeline of 16: throughput / direct TCP's", AtLeast(1.0), over("pipeline", DIRECT_TCP, Sample::per_second)),
        ("a connection each: CPU / floor's", AtMost(1.0), over("reconnect", FLOOR, Sample::own_us)),
        ("a connection each: throughput / floor's", AtLeast(1.0), over("reconnect", FLOOR, Sample::per_second)),
        (
            "a connection each: throughput / direct TCP's",
            AtLeast(3.8),
            over("reconnect", DIRECT_TCP, Sample::per_second),
        ),
        (
            "a connection each: Redis's CPU / direct TCP's",
            AtMost(0.05),
            over("reconnect", DIRECT_TCP, Sample::behind_us),
        ),
        ("a connection each: connections that Redis accepts", AtMost(5.0), rmux("reconnect").median(Sample::accepted)),
        ("the same, 2 ms away: throughput / direct TCP's", AtLeast(1.9), over("relay", DIRECT_TCP, Sample::per_second)),
        ("GET of 100 kB: CPU / twemproxy's", AtMost(0.8), over("get100k", TWEMPROXY, Sample::own_us)),
        ("SET of 100 kB: CPU / haproxy's", AtMost(1.0), over("set100k", HAPROXY, Sample::own_us)),
        ("GET of 100 MB: memory grows by, MB", AtMost(4.0), rmux("huge").median(Sample::growth_mb)),
        ("GET of 100 MB: another client's p99, ms", AtMost(2.0), rmux("huge").median(Sample::p99_ms)),
        ("one client: added p50 / twemproxy's", AtMost(0.9), adds(Sample::p50_ms)),
        ("one client: added p99 / twemproxy's", AtMost(0.9), adds(Sample::p99_ms)),
        ("1,000 clients: connections that Redis sees", AtMost(2.0), rmux("clients1000").median(Sample::accepted)),
        (
            "10,000 idle clients: throughput / alone",
            AtLeast(0.95),
            variants("idle", "10,000 idle", "alone", Sample::per_second),
        ),
        ("10,000 idle clients: memory of one, bytes", AtMost(400.0), rmux("idle").median(Sample::bytes_per_idle)),
        ("16 servers: CPU / one server's", AtMost(1.3), variants("servers", "16 servers", "1 server", Sample::own_us)),
        ("maxProcesses 2: CPU / one's", AtMost(1.05), two_over_one(Sample::own_us)),
        (
            "MGET of 100 keys on 4 servers: CPU / one server's",
            AtMost(1.5),
            variants("mget", "4 servers", "1 server", Sample::own_us),
        ),
        (
            "memory at rest, MB",
            AtMost(4.0),
            rmux("keepalive").median(|sample| sample.own.map(|own| own.bytes_at_rest as f64 / 1e6)),
        ),
    ]
}

/// The targets of each count of clients: throughput beside the better one of the peers that were measured, CPU time of
/// proxy and server together, and the proxy's own beside the floor's.
fn beside_peers(samples: &Samples) -> Vec<Target> {
    let of_scene = samples.of_scene("clients");
    let ratio = |variant: &str, other: &str, figure: Figure| {
        let of_variant = of_scene.of_variant(variant);
        of_variant.of("rmux").ratio(&of_variant.of(other), figure)
    };
    let counts = CLIENTS.map(|count| (count, count.to_string()));
    let several = counts.iter().skip(1).map(|(_, count)| count.as_str()).chain([SEVERAL]);
    let title = |variant: &str, what: &str| match variant.split_once(',') {
        Some((count, rest)) => format!("{count} clients,{rest}: {what}"),
        None => format!("{variant} clients: {what}"),
    };
    let mut all = Vec::new();
    for variant in several.clone() {
        let peers = [TWEMPROXY, ENVOY].map(|peer| ratio(variant, peer, Sample::per_second));
        let least = peers.into_iter().flatten().reduce(f64::min);
        all.push((title(variant, "throughput / the better peer's"), Bound::AtLeast(1.0), least));
    }
    for variant in several {
        let measured = ratio(variant, TWEMPROXY, Sample::together_us);
        all.push((title(variant, "CPU with Redis / twemproxy's"), Bound::AtMost(0.95), measured));
    }
    for (_, variant) in counts.iter().filter(|(count, _)| (20..1_000).contains(count)) {
        let measured = ratio(variant, FLOOR, Sample::own_us);
        all.push((title(variant, "CPU / floor's"), Bound::AtMost(1.5), measured));
    }
    all
}

/// The targets of servers that are reached over TLS.
fn with_tls(samples: &Samples) -> Vec<Target> {
    let of = |scene: &str, variant: &str, name: &str| samples.of_scene(scene).of_variant(variant).of(name);
    let over = |scene: &str, variant: &str, other: &str, figure: Figure| {
        of(scene, variant, "rmux").ratio(&of(scene, variant, other), figure)
    };
    let throughput = |scene: &str, variant: &str| over(scene, variant, DIRECT_TLS, Sample::per_second);
    let mut all = vec![
        (
            "TLS, a connection each: throughput / direct TLS's".to_owned(),
            Bound::AtLeast(20.0),
            throughput("tls-reconnect", ""),
        ),
        (
            "TLS, PHP that connects, 2 ms away: pages / direct TLS's".to_owned(),
            Bound::AtLeast(2.0),
            throughput("tls-php", "connect, 2 ms away"),
        ),
    ];
    for (scene, title) in [("tls", "keep-alive"), ("tls-pipeline", "pipeline of 16")] {
        for peer in [HAPROXY, ENVOY] {
            let measured = over(scene, "", peer, Sample::own_us);
            all.push((format!("TLS, {title}: CPU / {peer}'s"), Bound::AtMost(0.6), measured));
        }
    }
    all
}
