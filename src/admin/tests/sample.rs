//! Two reports, two seconds apart, in which everything has happened: for the tests of the forms.

use super::cluster::{ClusterReport, RefreshReport};
use super::report::{CertificateReport, PoolReport, Process, Reloads, Report};
use crate::sentinel::SentinelView;
use crate::stats::{Bytes, Event, Figures, Histogram, Location, ProxyStats, ServerFigures, ServerState, ServerStats};

/// The newer one: one server of three is down, clients wait, the last reload was refused.
pub fn report() -> Report {
    let mut report = report_before();
    report.unix_ms += 2_000;
    report.process.cpu_ms += 1_500;
    let figures = &mut report.pools[0].figures;
    let stats = &mut figures.stats;
    stats.clients += 30;
    stats.requests = [103_000, 20_900, 250, 50];
    for _ in 0..7 {
        stats.own_errors.count(b"-ERR Connection down\r\n");
    }
    for _ in 0..4 {
        stats.errors.count(b"-WRONGTYPE <x>\r\n");
    }
    stats.bytes.from_clients += 100_000;
    stats.bytes.to_clients += 900_000;
    figures.clients_waiting = 12;
    figures.waits.add_immediate(1_998);
    figures.waits.record(2, 12_500);
    figures.durations.record(3_900, 400);
    figures.durations.record(100, 5_000);
    figures.servers[0].location.is_lost = true;
    for (server, requests) in figures.servers.iter_mut().zip([3_000, 1_000]) {
        server.stats.requests += requests;
    }
    let server = &mut figures.servers[1];
    server.state = ServerState::Down;
    server.state_ms = 252_000;
    server.why = "it does not take connections: \"Connection <refused>\" & more".to_owned();
    server.connections = 0;
    server.by_state = [0; 5];
    server.stats.failures[0] += 5;
    server.stats.timeouts += 3;
    server.stats.lost += 2;
    server.waiting = [2, 10];
    figures.events.push(Event {
        age_ms: 252_000,
        is_warning: true,
        text: "server redis2:6379 is down: \"Connection <refused>\" & more".to_owned(),
    });
    figures.events.push(Event {
        age_ms: 9_000,
        is_warning: true,
        text: "pool /run/rmux/<cache>.sock: client 7v1 from 192.0.2.1:4711 closed: it spoke HTTP".to_owned(),
    });
    let figures = &mut report.pools[1].figures;
    figures.waits.add_immediate(10);
    figures.stats.requests[3] += 10;
    report
}

/// The older one: all is well, but for a reload that was refused.
pub fn report_before() -> Report {
    let mut waits = Histogram::default();
    waits.add_immediate(100_000);
    waits.record(20, 600_000);
    let mut durations = Histogram::default();
    durations.record(119_000, 300);
    durations.record(999, 2_000);
    durations.record(1, 490_000);
    let server = |requests: u64| ServerFigures {
        connections: 4,
        outstanding: 17,
        stats: ServerStats { requests, connects: 9, downs: 1, changes: 2, ..ServerStats::default() },
        state_ms: 93_784_000,
        by_state: [0, 3, 1, 0, 0],
        queue_bytes: 1_042,
        ..ServerFigures::default()
    };
    let sentinel =
        |address: &str, is_up| SentinelView { address: address.to_owned(), is_up, ..SentinelView::default() };
    let stats = ProxyStats {
        clients: 5_000,
        clients_refused: 3,
        denials: 1,
        resends: 2,
        held: 7,
        redirects: [9, 4, 0, 0, 1],
        clients_closed: [4_800, 20, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        requests: [100_000, 20_000, 200, 0],
        bytes: Bytes { from_clients: 9_000_000, to_clients: 70_000_000, from_servers: 1, to_servers: 2 },
        ..ProxyStats::default()
    };
    let location = Location {
        addresses: "10.0.0.7:6379, 10.0.0.8:6379".to_owned(),
        count: 2,
        is_lost: false,
        lookups: 40,
        lookups_failed: 3,
        looked_up_unix_ms: 1_795_687_900_000,
        changes: 2,
        switches: 1,
        certificate_until_unix_ms: 1_797_687_929_000,
        zone: "eu-west-1b".to_owned(),
    };
    let cache = Figures {
        stats,
        servers: vec![ServerFigures { location, ..server(90_000) }, server(30_000)],
        addresses: ["redis1:6379", "redis2:6379"].map(str::to_owned).to_vec(),
        clients: 128,
        clients_paused: 1,
        clients_blocked: 5,
        buffered_bytes: 220_200_960,
        buffered_bytes_max: 268_435_456,
        clients_max: 10_000,
        waits,
        durations,
        wait_max_us: 612_500,
        turn_max_us: 4_100,
        uptime_ms: 93_784_000,
        ..Figures::default()
    };
    let queue = Figures {
        servers: vec![server(10)],
        addresses: vec!["/run/redis/queue.sock".to_owned()],
        clients: 3,
        buffered_bytes_max: 268_435_456,
        clients_max: 10_000,
        uptime_ms: 93_784_000,
        ..Figures::default()
    };
    Report {
        unix_ms: 1_795_687_929_000,
        started_unix_ms: 1_795_594_145_000,
        is_accepting: true,
        reloads: Reloads { done: 2, refused: 1, last_unix_ms: 1_795_677_129_000, is_last_refused: true },
        process: Process {
            id: 4711,
            cpu_ms: 754_000,
            resident_bytes: 34_000_000,
            open_files: 171,
            open_files_max: 16_384,
        },
        pools: vec![
            PoolReport {
                listen: "/run/rmux/<cache>.sock".to_owned(),
                threads: 2,
                figures: cache,
                sentinels: vec![sentinel("10.0.0.1:26379", true), sentinel("10.0.0.2:26379", false)],
                clusters: vec![ClusterReport {
                    slots_covered: 16_000,
                    masters: 3,
                    replicas: 2,
                    told_ms: 5_000,
                    problem: String::new(),
                    refreshes: vec![RefreshReport {
                        cause: "moved".to_owned(),
                        outcome: "changed".to_owned(),
                        count: 7,
                    }],
                }],
                certificates: vec![CertificateReport {
                    key: "remoteTlsCaFile".to_owned(),
                    file: "/etc/rmux/ca.pem".to_owned(),
                    subject: "<CA>".to_owned(),
                    until: "2027-10-21 12:12:09 UTC".to_owned(),
                    until_unix_ms: 1_824_120_729_000,
                }],
                ..PoolReport::default()
            },
            PoolReport { listen: "localhost:7000".to_owned(), threads: 1, figures: queue, ..PoolReport::default() },
        ],
    }
}
