//! One command that compares ways to one Redis on one machine: `cargo bench --bench compare`.
//!
//! This file owns the order of things: for each work load, for each round, each subject once (A B C A B C …), so that
//! whatever else the machine does in the meantime falls on all of them alike. A subject is started afresh for each of its
//! runs and stopped after it: no idle neighbour takes part, and memory and connections are the run's own.
//!
//! ```text
//! arguments ─► scenes × rounds × works × subjects ─► Sample ─► report, targets, plot ─► book, results
//!                                       │
//!                                       ├─ subject   how each one is started ─► proxy, floor
//!                                       ├─ program   how each of the children is started
//!                                       ├─ redis     the servers behind all of them; relay, a network before them;
//!                                       │            tls, their certificates
//!                                       └─ load, probe, php   the clients; hold, the idle ones
//! ```
//!
//! To add a work load is an entry in `scene.rs`; to add a peer, an entry in `proxy.rs`; to add a figure, a field of
//! [`Sample`] and a column in `report.rs`.
//!
//! Everything runs in a temporary folder; it and every child go when the run ends, fails, or gets INT or TERM.
//! The same binary with `--floor SOCKET`, `--relay PORT PORT` or `--hold TARGET NUMBER` is one of its own programs.
//! Exit codes: 0; 1 when rmux itself or nothing at all could be measured; 2 for a wrong argument.

mod arguments;
#[path = "../book/mod.rs"]
mod book;
mod floor;
mod hold;
mod load;
mod machine;
mod name;
mod php;
mod plot;
mod probe;
mod program;
mod proxy;
mod redis;
mod relay;
mod report;
mod results;
mod sample;
mod scene;
mod subject;
#[path = "../../tests/support/mod.rs"]
mod support;
mod targets;
mod tls;
mod work;

use std::env;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arguments::{Arguments, Request};
use php::Programs;
use redis::Fleet;
use sample::{Behind, Own, Sample, Samples};
use scene::{Scene, View};
use subject::Subject;
use support::process::Process;
use support::{Address, Scratch, free_port};
use tls::{Certificates, Target};
use work::{Doing, Work};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let Some(result) = own_program(&words) {
        return match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{}: {error}", words[0]);
                ExitCode::FAILURE
            }
        };
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

/// What this binary is when a comparison starts it as one of its children.
fn own_program(words: &[String]) -> Option<io::Result<()>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [floor::FLAG, socket] => Some(floor::serve(Path::new(socket))),
        [relay::FLAG, listen, target] => Some(relay::serve(listen.parse().ok()?, target.parse().ok()?)),
        [hold::FLAG, target, clients] => Some(hold::serve(&hold::target_of(target)?, clients.parse().ok()?)),
        _ => None,
    }
}

/// Runs everything and prints it. False when rmux was asked for and a run of it failed, or when nothing was measured.
fn compare(arguments: &Arguments) -> Result<bool, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(|error| format!("signals: {error}"))?;
    }
    let (subjects, missing) = subject::installed(&arguments.only);
    let mut stage = Stage {
        fleet: None,
        certificates: None,
        php: None,
        folder: Scratch::new(),
        interrupted,
        samples: Vec::new(),
        failures: Vec::new(),
    };
    if arguments.scenes.iter().any(|scene| scene.works.iter().any(|work| work.is_tls)) {
        stage.certificates = Some(Certificates::new());
    }
    stage.fleet = Some(Fleet::start(stage.certificates.as_ref().map_or_else(Vec::new, Certificates::server_flags))?);
    if arguments.scenes.iter().any(|scene| matches!(scene.view, View::Php(_))) {
        stage.find_php();
    }
    let mut facts = machine::facts(&subjects);
    facts.extend(stage.php.iter().map(Programs::facts));
    for (name, why) in &missing {
        facts.push_str(&format!("- not measured: {name}: {why}\n"));
    }
    facts.push_str(&format!("- load average before: {}\n", machine::load_average()));
    println!("{facts}");
    let start = Instant::now();
    for scene in &arguments.scenes {
        let rounds = if matches!(scene.view, View::Plot(_)) { arguments.sweep_rounds } else { arguments.rounds };
        let scene_start = Instant::now();
        stage.play(scene, rounds, &subjects)?;
        eprintln!("{}: {} s", scene.name, scene_start.elapsed().as_secs());
        println!("\n### {}\n\n{}", scene.title, report::table(scene, &subjects, &Samples::new(&stage.samples)));
    }
    let rounds = format!("{} rounds, of sweeps {}", arguments.rounds, arguments.sweep_rounds);
    facts.push_str(&format!("- load average after: {}\n", machine::load_average()));
    facts.push_str(&format!("- {}, {rounds}, {} s\n", machine::date(), start.elapsed().as_secs()));
    let Stage { samples, failures, .. } = stage;
    let targets = targets::table(&Samples::new(&samples));
    println!("\n### Figures aimed at\n\n{targets}");
    for failure in &failures {
        println!("Failed: {failure}");
        facts.push_str(&format!("- failed: {failure}\n"));
    }
    let rows: Vec<String> = samples.iter().map(Sample::row).collect();
    let names: Vec<&str> = arguments.scenes.iter().map(|scene| scene.name).collect();
    if let Some(path) = &arguments.csv {
        results::write_rows(path, Sample::header(), &rows, &names)?;
    }
    if arguments.is_written {
        results::write_rows(&results::rows_path(), Sample::header(), &rows, &names)?;
        write(&arguments.scenes, &subjects, &Samples::new(&samples), &facts)?;
        book::write_part("targets", &targets::renew(&book::read_part("targets")?, &targets))?;
    }
    let rmux_failed = failures.iter().any(|failure| failure.starts_with("rmux,"));
    Ok(!samples.is_empty() && !rmux_failed)
}

/// Renews the parts of BENCHMARKS.md that were measured.
fn write(scenes: &[Scene], subjects: &[Subject], samples: &Samples, facts: &str) -> Result<(), String> {
    book::write_part("machine", facts)?;
    for scene in scenes {
        match scene.view {
            View::Plot(axes) => {
                if let Some(svg) = report::curves(scene, axes, subjects, samples) {
                    results::write_plot(scene.name, &svg)?;
                }
            }
            _ => book::write_part(scene.name, &report::table(scene, subjects, samples))?,
        }
    }
    for (name, svg) in report::bars(subjects, samples) {
        results::write_plot(name, &svg)?;
    }
    Ok(())
}

/// What a comparison works with, and what it has so far.
struct Stage {
    // Dropped first: what lives in the folder goes before it.
    fleet: Option<Fleet>,
    /// Present exactly when a work load has TLS.
    certificates: Option<Certificates>,
    php: Option<Programs>,
    folder: Scratch,
    interrupted: Arc<AtomicBool>,
    samples: Vec<Sample>,
    failures: Vec<String>,
}

impl Stage {
    fn find_php(&mut self) {
        let found = Programs::find().or_else(|_| {
            Programs::install();
            Programs::find()
        });
        match found {
            Ok(programs) => self.php = Some(programs),
            Err(reason) => self.failures.push(format!("php: {reason}")),
        }
    }

    /// Every round of one scene.
    fn play(&mut self, scene: &Scene, rounds: u32, subjects: &[Subject]) -> Result<(), String> {
        if matches!(scene.view, View::Php(_)) && self.php.is_none() {
            return Ok(());
        }
        let mut failed: Vec<(&str, &str)> = Vec::new();
        if let Some(work) = scene.works.iter().find(|work| !work.keep_alive && !work.is_far && !work.is_tls) {
            self.use_up_ports(work)?;
        }
        for round in 1..=rounds {
            for work in &scene.works {
                let count = if matches!(work.doing, Doing::Php(_)) { 1 } else { work.servers };
                self.fleet.as_mut().expect("started before anything is played").resize(count)?;
                for subject in subjects.iter().filter(|subject| subject.can_do(work)) {
                    if failed.contains(&(subject.name, &work.variant)) {
                        continue;
                    }
                    eprintln!("{} {} {round}/{rounds}: {}", scene.name, work.variant, subject.name);
                    match self.measure(subject, work, round) {
                        Ok(sample) => self.samples.push(sample),
                        Err(reason) => {
                            if self.interrupted.load(Ordering::Relaxed) {
                                return Err("interrupted".to_owned());
                            }
                            eprintln!("{}: {reason}", subject.name);
                            let variant = if work.variant.is_empty() { "" } else { " " };
                            let what = format!("{}{variant}{}", scene.name, work.variant);
                            self.failures.push(format!("{}, {what}, round {round}: {reason}", subject.name));
                            failed.push((subject.name, &work.variant));
                        }
                    }
                }
            }
        }
        self.fleet.as_mut().expect("started before anything is played").resize(1)
    }

    /// One run: start the subject, load it, read the counters before and after, stop it.
    fn measure(&mut self, subject: &Subject, work: &Work, round: u32) -> Result<Sample, String> {
        let Stage { fleet, certificates, php, folder, interrupted, .. } = self;
        let fleet = fleet.as_mut().expect("started before anything is measured");
        fleet.fill(work.bytes)?;
        let clients_before_start = fleet.clients()?;
        let (ports, _relays) = ports(folder, fleet, work)?;
        let authority = certificates.as_ref().filter(|_| work.is_tls).map(Certificates::authority);
        let running = subject.start(folder, fleet, &ports, authority, work)?;
        if work.keys > 0 {
            running.fill(work)?;
        }
        if let Some(cores) = work.cores {
            fleet.keep_to(cores.servers)?;
            running.keep_to(cores.proxy)?;
        }
        let at_rest = running.usage()?;
        let _idle = hold(folder, &running.target.address, work)?;
        let time_wait = machine::time_wait();
        let clients_at_rest = fleet.clients()?.saturating_sub(clients_before_start);
        let counters_before = fleet.counters()?;
        let cpu_before = fleet.cpu()?;
        let own_before = running.usage()?;
        let mut clients_peak = 0;

        // A sample that fails is a sample less; a server that died fails the run itself.
        let mut sample = || clients_peak = clients_peak.max(fleet.clients().unwrap_or(0));
        let outcome = match work.doing {
            Doing::Tests(_) | Doing::Mget(_) => load::run(folder, &running.target, work, interrupted, sample),
            Doing::Alone => probe::alone(&running.target.address, work),
            Doing::Huge => probe::huge(&running.target.address, work),
            Doing::Php(is_persistent) => {
                let programs = php.as_ref().ok_or("no PHP")?;
                programs.run(folder, &running.target, work, is_persistent, interrupted, &mut sample)
            }
        }?;

        let own_after = running.usage()?;
        let cpu_after = fleet.cpu()?;
        let counters_after = fleet.counters()?;
        // A proxy that answers in the server's place would look splendid; the floor is the one that may.
        let served = counters_after.commands - counters_before.commands;
        let expected = outcome.requests * work.commands_per_request();
        if subject.reaches_redis() && served < expected {
            return Err(format!("Redis saw {served} of {expected} requests"));
        }
        let behind = subject.reaches_redis().then(|| Behind {
            cpu: cpu_after.saturating_sub(cpu_before),
            accepted: clients_at_rest + counters_after.accepted - counters_before.accepted,
            peak: clients_peak.saturating_sub(clients_before_start),
        });
        let own = at_rest.zip(own_before).zip(own_after).map(|((at_rest, before), after)| Own {
            cpu: after.cpu.saturating_sub(before.cpu),
            waits: after.waits.zip(before.waits).map(|(after, before)| after.saturating_sub(before)),
            bytes_at_rest: at_rest.bytes,
            bytes_with_idle: before.bytes,
            bytes_after: after.bytes,
            bytes_peak: after.bytes_peak,
        });
        Ok(Sample { work: work.clone(), through: subject.name, round, time_wait, outcome, own, behind })
    }

    /// Takes every TCP port of this machine into use once, so that each round finds the same state.
    ///
    /// A closed TCP connection keeps its port for a minute (TIME_WAIT). Until the range is used up the first time, the
    /// kernel finds a free port at once, and connections over TCP are twice as fast as ever after: that is the lasting
    /// state of a host that opens some hundred connections per second, and the first seconds of the run would not be.
    fn use_up_ports(&self, work: &Work) -> Result<(), String> {
        let requests = machine::ephemeral_ports() * 3 / 2;
        eprintln!("{}: {requests} connections over TCP, not counted", work.scene);
        let fleet = self.fleet.as_ref().expect("started before anything is played");
        let unmeasured = Work { doing: Doing::Tests(&["get"]), requests, ..work.clone() };
        let target = Target::plain(Address::Tcp(fleet.first().port()));
        load::run(&self.folder, &target, &unmeasured, &self.interrupted, || ()).map(drop)
    }
}

/// The ports that a subject is to go to: the servers' own, or those of a relay before each of them.
fn ports(folder: &Scratch, fleet: &Fleet, work: &Work) -> Result<(Vec<u16>, Vec<Process>), String> {
    let targets = if work.is_tls { fleet.tls_ports() } else { fleet.ports() };
    if !work.is_far {
        return Ok((targets, Vec::new()));
    }
    let mut relays = Vec::new();
    let mut ports = Vec::new();
    for (number, target) in targets.into_iter().enumerate() {
        let port = free_port();
        let arguments = [relay::FLAG.to_owned(), port.to_string(), target.to_string()];
        let mut relay = program::start(folder, &format!("relay-{number}"), &own_path()?, &arguments)?;
        relay.await_ready(|| match work.is_tls {
            true => Address::Tcp(port).connect().map(drop).map_err(|error| error.to_string()),
            false => redis::Link::connect(&Address::Tcp(port))?.command(&[b"PING"]).map(drop),
        })?;
        relays.push(relay);
        ports.push(port);
    }
    Ok((ports, relays))
}

/// The idle clients of a work load, connected.
fn hold(folder: &Scratch, target: &Address, work: &Work) -> Result<Option<Process>, String> {
    if work.idle == 0 {
        return Ok(None);
    }
    let arguments = hold::arguments(target, work.idle);
    let mut process = program::start(folder, "idle clients", &own_path()?, &arguments)?;
    let log = folder.join("idle clients.log");
    process.await_ready(|| {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        if said.contains(hold::READY) { Ok(()) } else { Err("not all idle clients are connected".to_owned()) }
    })?;
    Ok(Some(process))
}

fn own_path() -> Result<std::path::PathBuf, String> {
    env::current_exe().map_err(|error| format!("own path: {error}"))
}
