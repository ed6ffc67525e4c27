//! The subjects: the ways to reach the server that are compared, and how each one is started.
//!
//! Owns the ways without a proxy and the start of any: a subject counts as started once a SET and a GET have come back
//! through it. Knows no proxy by name (`proxy.rs`), no work load beyond whether the floor program stands for it, and no
//! figure.
//!
//! ```text
//! direct-tcp    clients ─TCP─────────────────────► redis
//! direct-unix   clients ─Unix────────────────────► redis
//! direct-tls    clients ─TLS─────────────────────► redis
//! floor         clients ─Unix─► a constant
//! every proxy   clients ─Unix─► proxy ─TCP, TLS──► redis
//! ```

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::floor;
use crate::name::{DIRECT_TCP, DIRECT_TLS, DIRECT_UNIX, FLOOR, RMUX_TWO, STUNNEL};
use crate::program;
use crate::proxy::{Listens, PROXIES, Place, Proxy};
use crate::redis::{Fleet, Link, socket_of};
use crate::support::process::{Process, Usage};
use crate::support::{Address, Scratch, free_port};
use crate::tls::Target;
use crate::work::Work;

/// One way to reach the server, found on this machine.
pub struct Subject {
    /// Its name in every table.
    pub name: &'static str,
    kind: Kind,
}

enum Kind {
    DirectTcp,
    DirectUnix,
    DirectTls,
    Floor,
    Proxy { proxy: &'static Proxy, program: PathBuf },
}

/// A subject that is ready to take clients; dropped, it ends.
pub struct Running {
    /// Where clients go.
    pub target: Target,
    process: Option<Process>,
}

impl Running {
    /// What its process has used so far; nothing for a direct connection, which has none.
    pub fn usage(&self) -> Result<Option<Usage>, String> {
        self.process.as_ref().map(Process::usage).transpose()
    }

    /// Keeps it to one core, if it has a process.
    pub fn keep_to(&self, core: u32) -> Result<(), String> {
        self.process.as_ref().map_or(Ok(()), |process| program::keep_to(core, process.id()))
    }

    /// Gives every key that the work load draws from a value: through the subject, for only it knows where they belong.
    pub fn fill(&self, work: &Work) -> Result<(), String> {
        let mut link = Link::connect(&self.target.address)?;
        let value = vec![b'x'; work.bytes as usize];
        // As redis-benchmark writes a random key.
        (0..work.keys)
            .try_for_each(|key| link.command(&[b"SET", format!("key:{key:012}").as_bytes(), &value]).map(drop))
    }
}

impl Subject {
    /// False where its figure would mean nothing: the floor's constant is no value of 100 kB.
    pub fn can_do(&self, work: &Work) -> bool {
        match work.subjects {
            // What differs from another subject in nothing but what one work load is about stays out of all others.
            [] => ![RMUX_TWO, DIRECT_TLS, STUNNEL].contains(&self.name) && (self.reaches_redis() || work.is_small()),
            subjects => subjects.contains(&self.name),
        }
    }

    /// True exactly when its requests arrive at the server.
    pub fn reaches_redis(&self) -> bool {
        !matches!(self.kind, Kind::Floor)
    }

    /// Program and flag that tell its version.
    pub fn version_command(&self) -> Option<(String, &'static str)> {
        match &self.kind {
            Kind::Proxy { proxy, program } if self.name != RMUX_TWO => {
                Some((program.display().to_string(), proxy.version_flag?))
            }
            _ => None,
        }
    }

    /// Starts it in front of these ports, and returns when a request has come back through it. With an authority, TLS is
    /// spoken at the ports, and its certificates come from there.
    pub fn start(
        &self,
        folder: &Scratch,
        fleet: &Fleet,
        ports: &[u16],
        authority: Option<&str>,
        work: &Work,
    ) -> Result<Running, String> {
        let socket = folder.join(&format!("{}.sock", self.name));
        // The last run's process was killed and may have left it behind.
        let _ = fs::remove_file(&socket);
        let (target, mut process) = match &self.kind {
            Kind::DirectTcp | Kind::DirectTls => (Address::Tcp(ports[0]), None),
            Kind::DirectUnix => (Address::Unix(socket_of(fleet.first())), None),
            Kind::Floor => {
                let own = env::current_exe().map_err(|error| format!("own path: {error}"))?;
                let arguments = [floor::FLAG.to_owned(), socket.display().to_string()];
                let process = program::start(folder, self.name, &own, &arguments)?;
                (Address::Unix(socket), Some(process))
            }
            Kind::Proxy { proxy, program } => {
                let listen = match proxy.listens {
                    Listens::Unix => Address::Unix(socket),
                    Listens::Tcp => Address::Tcp(free_port()),
                };
                let place = Place {
                    listen,
                    clients: work.clients + work.idle,
                    server_ports: ports.to_vec(),
                    authority: authority.map(str::to_owned),
                    config: folder.join(&format!("{}.{}", self.name, proxy.config_extension)),
                    pid_file: folder.join(&format!("{}.pid", self.name)),
                    spare_port: free_port(),
                };
                if let Some(config) = (proxy.config)(&place) {
                    fs::write(&place.config, config).map_err(|error| format!("{}: {error}", place.config.display()))?;
                }
                let process = program::start(folder, self.name, program, &(proxy.arguments)(&place))?;
                (place.listen, Some(process))
            }
        };
        let reaches_redis = self.reaches_redis();
        if let Some(process) = &mut process {
            process.await_ready(|| try_once(&target, reaches_redis))?;
        }
        // Clients of a proxy speak no TLS with it: it is on their own machine.
        let authority = authority.filter(|_| matches!(self.kind, Kind::DirectTls)).map(str::to_owned);
        Ok(Running { target: Target { address: target, authority }, process })
    }
}

/// Sets a key and reads it back through the target.
fn try_once(target: &Address, compare_value: bool) -> Result<(), String> {
    let mut link = Link::connect(target)?;
    link.command(&[b"SET", b"warm-up", b"a value"])?;
    let value = link.command(&[b"GET", b"warm-up"])?;
    if compare_value && value != b"a value" {
        return Err(format!("GET brought {:?}", String::from_utf8_lossy(&value)));
    }
    Ok(())
}

/// The subjects that this machine has, of those asked for (all when `only` is empty); and, of the others, why not.
pub fn installed(only: &[String]) -> (Vec<Subject>, Vec<(&'static str, String)>) {
    let mut subjects = vec![
        Subject { name: DIRECT_TCP, kind: Kind::DirectTcp },
        Subject { name: DIRECT_UNIX, kind: Kind::DirectUnix },
        Subject { name: DIRECT_TLS, kind: Kind::DirectTls },
        Subject { name: FLOOR, kind: Kind::Floor },
    ];
    subjects.retain(|subject| is_wanted(subject.name, only));
    let mut missing = Vec::new();
    for proxy in PROXIES.iter().filter(|proxy| is_wanted(proxy.name, only)) {
        match proxy.find() {
            Ok(program) => subjects.push(Subject { name: proxy.name, kind: Kind::Proxy { proxy, program } }),
            Err(why) => missing.push((proxy.name, why)),
        }
    }
    (subjects, missing)
}

/// Every subject's name, and where it comes from.
pub fn known() -> Vec<(&'static str, String)> {
    let mut list = vec![
        (DIRECT_TCP, "redis itself over TCP".to_owned()),
        (DIRECT_UNIX, "redis itself over its Unix socket".to_owned()),
        (DIRECT_TLS, "redis itself over TLS".to_owned()),
        (FLOOR, "a program that answers a constant".to_owned()),
    ];
    list.extend(PROXIES.iter().map(|proxy| (proxy.name, proxy.source())));
    list
}

/// True for a name in [`known`], and for `direct`, which stands for all of those without a proxy.
pub fn is_known(name: &str) -> bool {
    name == "direct" || known().iter().any(|(known, _)| *known == name)
}

fn is_wanted(name: &str, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|wanted| wanted == name || (wanted == "direct" && name.starts_with("direct-")))
}
