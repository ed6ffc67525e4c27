//! One command that compares ways to one Redis on one machine: `cargo bench --bench compare`.
//!
//! This file owns the order of things: for each work load, for each round, each subject once (A B C A B C …), so that
//! whatever else the machine does in the meantime falls on all of them alike. A subject is started afresh for each of its
//! runs and stopped after it: no idle neighbour takes part, and memory and connections are the run's own.
//!
//! ```text
//! arguments ─► works × rounds × subjects ─► Sample ─► report (tables, CSV)
//!                                │
//!                                ├─ subject   how each one is started ─► proxy, floor
//!                                ├─ process   a child: its CPU time, its memory, its end
//!                                ├─ redis     the server behind all of them
//!                                └─ load      redis-benchmark
//! ```
//!
//! To add a work load is an entry in `work.rs`; to add a peer, an entry in `proxy.rs`; to add a figure, a field of
//! [`Sample`] and a column in `report.rs`.
//!
//! Everything runs in a temporary folder; it and every child go when the run ends, fails, or gets INT or TERM.
//! The same binary with `--floor SOCKET` is the floor program (`floor.rs`).
//! Exit codes: 0; 1 when rmux itself or nothing at all could be measured; 2 for a wrong argument.

mod arguments;
mod floor;
mod load;
mod machine;
mod process;
mod proxy;
mod redis;
mod report;
mod subject;
mod work;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arguments::{Arguments, Request};
use process::Folder;
use redis::{RedisServer, Target};
use report::Sample;
use subject::Subject;
use work::Work;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [flag, socket] = words.as_slice() {
        if flag == floor::FLAG {
            return match floor::serve(Path::new(socket)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("floor: {error}");
                    ExitCode::FAILURE
                }
            };
        }
    }
    let arguments = match Arguments::parse(&words) {
        Ok(Request::Compare(arguments)) => arguments,
        Ok(Request::Show(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            eprintln!("compare: {reason}");
            return ExitCode::from(2);
        }
    };
    match compare(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("compare: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Runs everything and prints it. False when rmux was asked for and a run of it failed, or when nothing was measured.
fn compare(arguments: &Arguments) -> Result<bool, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(|error| format!("signals: {error}"))?;
    }
    let folder = Folder::create()?;
    let mut server = RedisServer::start(&folder)?;
    let (subjects, missing) = subject::installed(&arguments.only);
    println!("{}", machine::facts(&subjects));
    for (name, why) in &missing {
        println!("Not measured: {name}: {why}");
    }
    println!("Load average before: {}", machine::load_average());

    let mut samples: Vec<Sample> = Vec::new();
    let mut failures: Vec<String> = Vec::new();
    for work in &arguments.works {
        let mut running: Vec<&Subject> = subjects.iter().filter(|subject| subject.can_do(work)).collect();
        if !work.keep_alive {
            use_up_ports(&folder, &server, work, &interrupted)?;
        }
        for round in 1..=arguments.rounds {
            let mut failed: Vec<&'static str> = Vec::new();
            for subject in &running {
                eprintln!("{} {round}/{}: {}", work.name, arguments.rounds, subject.name);
                match measure(&folder, &mut server, subject, work, round, &interrupted) {
                    Ok(sample) => samples.push(sample),
                    Err(reason) => {
                        if interrupted.load(Ordering::Relaxed) {
                            return Err("interrupted".to_owned());
                        }
                        eprintln!("{}: {reason}", subject.name);
                        failures.push(format!("{}, {}, round {round}: {reason}", subject.name, work.name));
                        failed.push(subject.name);
                    }
                }
            }
            running.retain(|subject| !failed.contains(&subject.name));
        }
        println!("\n### {}\n\n{}", work.title, report::table(work, &subjects, &samples));
    }
    println!("Load average after: {}", machine::load_average());
    for failure in &failures {
        println!("Failed: {failure}");
    }
    if let Some(path) = &arguments.csv {
        report::write_csv(path, &samples)?;
    }
    let rmux_failed = failures.iter().any(|failure| failure.starts_with("rmux,"));
    Ok(!samples.is_empty() && !rmux_failed)
}

/// One run: start the subject, load it, read the counters before and after, stop it.
fn measure(
    folder: &Folder,
    server: &mut RedisServer,
    subject: &Subject,
    work: &Work,
    round: u32,
    interrupted: &AtomicBool,
) -> Result<Sample, String> {
    server.fill(work.bytes)?;
    let clients_before_start = server.clients()?;
    let running = subject.start(folder, server)?;
    let time_wait = machine::time_wait();
    let clients_at_rest = server.clients()?.saturating_sub(clients_before_start);
    let counters_before = server.counters()?;
    let redis_before = server.process.usage()?;
    let proxy_before = running.usage()?;
    let mut clients_peak = 0;

    let outcome = load::run(folder, &running.target, work, interrupted, || {
        // A sample that fails is a sample less; a server that died fails the run itself.
        clients_peak = clients_peak.max(server.clients().unwrap_or(0));
    })?;

    let proxy_after = running.usage()?;
    let redis_after = server.process.usage()?;
    let counters_after = server.counters()?;
    // A proxy that answers in the server's place would look splendid; the floor is the one that may.
    let served = counters_after.commands - counters_before.commands;
    if subject.reaches_redis() && served < outcome.requests {
        return Err(format!("Redis saw {served} of {} requests", outcome.requests));
    }
    let behind = subject.reaches_redis().then(|| report::Behind {
        cpu: redis_after.cpu.saturating_sub(redis_before.cpu),
        accepted: clients_at_rest + counters_after.accepted - counters_before.accepted,
        peak: clients_peak.saturating_sub(clients_before_start),
    });
    let own = proxy_before.zip(proxy_after).map(|(before, after)| report::Own {
        cpu: after.cpu.saturating_sub(before.cpu),
        waits: after.waits.saturating_sub(before.waits),
        bytes_at_rest: before.bytes,
        bytes_after: after.bytes,
    });
    Ok(Sample { work: work.clone(), through: subject.name, round, time_wait, outcome, own, behind })
}

/// Takes every TCP port of this machine into use once, so that each round finds the same state.
///
/// A closed TCP connection keeps its port for a minute (TIME_WAIT). Until the range is used up the first time, the kernel
/// finds a free port at once, and connections over TCP are twice as fast as ever after: that is the lasting state of
/// a host that opens some hundred connections per second, and the first seconds of the run would not be.
fn use_up_ports(folder: &Folder, server: &RedisServer, work: &Work, interrupted: &AtomicBool) -> Result<(), String> {
    let requests = machine::ephemeral_ports() * 3 / 2;
    eprintln!("{}: {requests} connections over TCP, not counted", work.name);
    let unmeasured = Work { tests: &["get"], requests, ..work.clone() };
    load::run(folder, &Target::Tcp(server.port), &unmeasured, interrupted, || ()).map(drop)
}
