//! One pool while it is being read, and what makes a valid pool of it.
//!
//! A draft starts with every default. The rows of the key table write into it, each value already checked by itself;
//! what only shows when all of them are there is checked here: somewhere to listen, at least one server, no pool that
//! is its own server. The draft does not know whether its values came from flags or a file; the one difference, whether
//! missing addresses have a default, is told to it.
//!
//! ```text
//! flag texts ─┐                                   ┌─► PoolConfig
//!             ├─► key table ─► Draft ─► into_pool ┤
//! JSON object ┘                                   └─► the key that is wrong, and how
//! ```

use crate::command::{self, Declared, Objection, Policy};
use crate::limits::{Limits, Timeouts};
use crate::net::Address;
use crate::read_from::ReadFrom;
use crate::users::{self, Credentials, Unfit, Users};

use super::address::{is_reached_at, listen_host, socket_path};
use super::announce;
use super::entry::{Place, User};
use super::error::{Problem, Quoted};
use super::password::{Names, Source};
use super::pool::PoolConfig;
use super::server::{self, ServerConfig};
use super::spelling::nearest;
use super::spread;
use super::tls::TlsDraft;
use super::zone;

/// What the flags say about the program as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// The file with the pools.
    pub config: Option<String>,
    /// Only check the configuration.
    pub test: bool,
    /// Compare it with this file.
    pub against: Option<String>,
    /// Log at debug level.
    pub debug: bool,
    /// Log to the local syslog socket.
    pub use_syslog: bool,
    /// Only ask a running rmux whether it answers.
    pub healthcheck: bool,
    /// Only show how a running rmux does.
    pub top: bool,
    /// The file to write the process id to.
    pub pid_file: Option<String>,
    /// How long clients may stay when another process has taken over, in milliseconds.
    pub drain_ms: usize,
    /// Where to show figures.
    pub admin: Option<String>,
    /// Which statsd server to send counters to.
    pub graphite: Option<String>,
    /// Whether to send times, too.
    pub timing: bool,
    /// Whom to become when started as root.
    pub user: Option<String>,
    /// With which group.
    pub group: Option<String>,
    /// Print the version.
    pub version: bool,
    /// Print the help.
    pub help: bool,
}

/// What has been said about one pool so far, and about the program (by flags alone).
#[derive(Debug, Clone)]
pub struct Draft {
    pub(crate) process: Process,
    /// The keys that something was said of.
    pub(crate) given: Vec<&'static str>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) socket: Option<String>,
    pub(crate) tcp_connections: Option<Vec<Place>>,
    pub(crate) unix_connections: Option<Vec<String>>,
    pub(crate) cluster: bool,
    pub(crate) cluster_announce: Option<String>,
    pub(crate) sentinels: Option<Vec<String>>,
    pub(crate) read_from: Option<String>,
    pub(crate) availability_zone: Option<String>,
    pub(crate) socket_mode: u32,
    pub(crate) reactors: usize,
    pub(crate) pool_size: usize,
    pub(crate) lease_max: usize,
    pub(crate) failover: bool,
    pub(crate) multi_key: bool,
    pub(crate) strict_replies: bool,
    pub(crate) distribution: Option<String>,
    pub(crate) hash: Option<String>,
    pub(crate) hash_tag: Option<String>,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) password: Source,
    pub(crate) users: Option<Vec<User>>,
    pub(crate) remote_user: Option<String>,
    pub(crate) remote_password: Source,
    pub(crate) sentinel_user: Option<String>,
    pub(crate) sentinel_password: Source,
    pub(crate) tls: TlsDraft,
    pub(crate) allow_commands: Option<Vec<String>>,
    pub(crate) deny_commands: Option<Vec<String>>,
    pub(crate) module_commands: Option<Vec<Declared>>,
}

/// Whether a pool that names no address gets the ones that make `rmux` without arguments do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Flags: every address has a default.
    Default,
    /// A file's pool must say where it listens, and which servers it has.
    Refused,
}

/// A key of the table, or nothing if no single one is at fault, and what is wrong.
pub(crate) type Fault = (Option<&'static str>, Problem);

impl Default for Draft {
    fn default() -> Draft {
        Draft {
            process: Process { drain_ms: 30_000, ..Process::default() },
            given: Vec::new(),
            host: None,
            port: None,
            socket: None,
            tcp_connections: None,
            unix_connections: None,
            cluster: false,
            cluster_announce: None,
            sentinels: None,
            read_from: None,
            availability_zone: None,
            socket_mode: 0o666,
            reactors: 1,
            pool_size: 50,
            lease_max: 0,
            failover: true,
            multi_key: true,
            strict_replies: false,
            distribution: None,
            hash: None,
            hash_tag: None,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            password: Source::default(),
            users: None,
            remote_user: None,
            remote_password: Source::default(),
            sentinel_user: None,
            sentinel_password: Source::default(),
            tls: TlsDraft::default(),
            allow_commands: None,
            deny_commands: None,
            module_commands: None,
        }
    }
}

impl Draft {
    /// Where this pool listens, for an error message; `None` as long as nothing was said about it.
    pub(crate) fn listen_label(&self) -> Option<String> {
        if let Some(path) = self.socket.as_ref().filter(|path| !path.is_empty()) {
            return Some(path.clone());
        }
        if self.host.is_none() && self.port.is_none() {
            return None;
        }
        let host = self.host.clone().unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let port = self.port.unwrap_or(DEFAULT_PORT);
        Some(Address::Tcp { host, port }.to_string())
    }

    /// The pool, if what was said makes one.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong or missing.
    pub(crate) fn into_pool(self, missing: Missing) -> Result<PoolConfig, Fault> {
        let listen = self.listen(missing)?;
        let servers = self.servers(missing)?;
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let spread =
            spread::spread(&said(&self.distribution), &said(&self.hash), &said(&self.hash_tag)).map_err(at_key)?;
        let places = self.tcp_connections.as_deref().unwrap_or_default();
        let members = spread::members(spread.distribution, places, &servers);
        let members = members.map_err(|problem| (Some("tcpConnections"), problem))?;
        let sentinels = server::sentinels(self.sentinels.as_deref().unwrap_or_default(), &servers);
        let sentinels = sentinels.map_err(|problem| (Some("sentinels"), problem))?;
        let (read_from, availability_zone) = self.reads(&servers)?;
        let addresses = servers.iter().flat_map(|server| server.address().into_iter().chain(server.replicas()));
        if addresses.chain(&sentinels).any(|server| is_reached_at(&listen, server)) {
            let key = if matches!(listen, Address::Unix(_)) { "socket" } else { "port" };
            return Err((Some(key), Problem::OwnAddress { address: listen.to_string() }));
        }
        let (pause, limit) = (self.limits.client_unread_pause_bytes, self.limits.client_unread_bytes_max);
        if pause > limit {
            return Err((Some("clientUnreadPauseBytes"), Problem::PauseAboveLimit { pause, limit }));
        }
        let cluster_announce = self.announced()?;
        let users = self.users()?;
        let names = ["remotePassword", "remotePasswordFile", "remotePasswordEnv"];
        let remote = credentials("remoteUser", self.remote_user.as_deref(), &self.remote_password, names)?;
        let sentinel_credentials = self.sentinel_credentials(!sentinels.is_empty())?;
        let policy = self.policy(if self.cluster { SERVERS_MAX } else { servers.len() })?;
        let has_tcp = servers.iter().any(|server| !matches!(server.address(), Some(Address::Unix(_))));
        let (remote_tls, local_tls) = (self.tls.remote(has_tcp)?, self.tls.local(&listen)?);
        let sentinel_tls = self.tls.sentinel(!sentinels.is_empty())?;
        Ok(PoolConfig {
            listen,
            socket_mode: self.socket_mode,
            servers,
            cluster: self.cluster,
            cluster_announce,
            sentinels,
            sentinel_credentials,
            sentinel_tls,
            read_from,
            availability_zone,
            reactors: self.reactors.max(1),
            pool_size: self.pool_size,
            lease_max: self.lease_max,
            failover: self.failover,
            multi_key: self.multi_key,
            strict_replies: self.strict_replies,
            spread,
            members,
            timeouts: self.timeouts,
            limits: self.limits,
            users,
            credentials: remote,
            remote_password_file: self.remote_password.path(),
            remote_tls,
            local_tls,
            policy,
            module_commands: self.module_commands.unwrap_or_default(),
        })
    }

    /// Where clients that insist on a cluster reach rmux.
    fn announced(&self) -> Result<Option<Address>, Fault> {
        let address = announce::announced(self.cluster_announce.as_deref(), self.cluster);
        address.map_err(|problem| (Some("clusterAnnounce"), problem))
    }

    /// Where reads go, and the zone that is read first.
    fn reads(&self, servers: &[ServerConfig]) -> Result<(ReadFrom, Option<String>), Fault> {
        let read_from = read_from(self.read_from.as_deref().unwrap_or_default(), servers, self.cluster)?;
        let zone = zone::zone(self.availability_zone.as_deref(), read_from);
        Ok((read_from, zone.map_err(|problem| (Some("availabilityZone"), problem))?))
    }

    /// Who rmux is to the sentinels; `has_any` says whether there are some.
    fn sentinel_credentials(&self, has_any: bool) -> Result<Option<Credentials>, Fault> {
        let names = ["sentinelPassword", "sentinelPasswordFile", "sentinelPasswordEnv"];
        let user = self.sentinel_user.as_deref();
        let found = credentials("sentinelUser", user, &self.sentinel_password, names)?;
        if !has_any && found.is_some() {
            let key = if user.is_some() { "sentinelUser" } else { "sentinelPassword" };
            return Err((Some(key), Problem::Needs { key: "sentinels" }));
        }
        Ok(found)
    }

    /// `password` is that of the default user, which may as well be one of `users`.
    fn users(&self) -> Result<Users, Fault> {
        let mut users = Users::default();
        let names = ["password", "passwordFile", "passwordEnv"];
        if let Some(password) = self.password.read(names).map_err(at_key)? {
            users.add(users::DEFAULT, password).map_err(|unfit| (Some("password"), bad_user(users::DEFAULT, unfit)))?;
        }
        match &self.users {
            Some(list) if list.is_empty() => return Err((Some("users"), Problem::NoUsers)),
            _ => {}
        }
        for (index, user) in self.users.iter().flatten().enumerate() {
            let entry = |key: &str, reason: String| {
                (Some("users"), Problem::Entry { number: index + 1, key: Some(key.to_owned()), reason })
            };
            let password = match user.password.read(names) {
                Ok(Some(password)) => password,
                Ok(None) => return Err(entry("password", "is missing".to_owned())),
                Err((key, problem)) => return Err(entry(key, problem.to_string())),
            };
            users.add(&user.name, password).map_err(|unfit| (Some("users"), bad_user(&user.name, unfit)))?;
        }
        Ok(users)
    }

    fn policy(&self, servers: usize) -> Result<Policy, Fault> {
        let mut policy = Policy::default();
        let denied = self.deny_commands.as_deref().unwrap_or_default();
        for name in self.allow_commands.iter().flatten() {
            policy.allow(name, servers).map_err(|objection| (Some("allowCommands"), bad_command(name, objection)))?;
            if denied.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                return Err((Some("allowCommands"), Problem::AllowedAndDenied { name: Quoted(name).to_string() }));
            }
        }
        for name in denied {
            policy.deny(name).map_err(|objection| (Some("denyCommands"), bad_command(name, objection)))?;
        }
        for declared in self.module_commands.iter().flatten() {
            let name = &declared.name;
            let added = policy.declare(declared, servers);
            added.map_err(|objection| (Some("moduleCommands"), bad_command(name, objection)))?;
        }
        Ok(policy)
    }

    /// The socket wins over host and port, as in the original; an empty one counts as not given, as there.
    fn listen(&self, missing: Missing) -> Result<Address, Fault> {
        if let Some(path) = self.socket.as_ref().filter(|path| !path.is_empty()) {
            return match socket_path(path) {
                Ok(path) => Ok(Address::Unix(path)),
                Err(reason) => Err((Some("socket"), bad_address(path, reason))),
            };
        }
        if missing == Missing::Refused && self.host.is_none() && self.port.is_none() {
            return Err((None, Problem::NoListener));
        }
        let host = self.host.as_deref().unwrap_or(DEFAULT_HOST);
        let host = listen_host(host).map_err(|reason| (Some("host"), bad_address(host, reason)))?;
        Ok(Address::Tcp { host, port: self.port.unwrap_or(DEFAULT_PORT) })
    }

    /// TCP first, then Unix, each in the order given: the ring depends on it, so a server given twice stays there
    /// twice.
    fn servers(&self, missing: Missing) -> Result<Vec<ServerConfig>, Fault> {
        let unix = self.unix_connections.as_deref().unwrap_or_default();
        let default_tcp: Vec<Place> = words(DEFAULT_TCP_CONNECTIONS).into_iter().map(Place::Address).collect();
        let tcp = match &self.tcp_connections {
            Some(given) => given,
            // Whoever names Unix servers alone means these alone.
            None if missing == Missing::Default && unix.is_empty() => &default_tcp,
            None => &Vec::new(),
        };
        let count = tcp.len() + unix.len();
        if count > SERVERS_MAX {
            let key = if tcp.len() > SERVERS_MAX { "tcpConnections" } else { "unixConnections" };
            return Err((Some(key), Problem::TooManyServers { count, max: SERVERS_MAX }));
        }
        let has_sentinels = self.sentinels.as_ref().is_some_and(|sentinels| !sentinels.is_empty());
        let servers = server::tcp_servers(tcp, has_sentinels).map_err(|problem| (Some("tcpConnections"), problem))?;
        let behind = server::unix_servers(unix).map_err(|problem| (Some("unixConnections"), problem))?;
        let servers = [servers, behind].concat();
        if servers.is_empty() {
            return Err((None, Problem::NoServer));
        }
        Ok(servers)
    }
}

/// The words of a list as a flag holds it: separated by any white space.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Where reads go: nothing is where the keys are. To replicas, if any server may have some, as each may in a cluster.
fn read_from(text: &str, servers: &[ServerConfig], is_cluster: bool) -> Result<ReadFrom, Fault> {
    let found = ReadFrom::ALL.into_iter().find(|read_from| read_from.name() == text);
    let may_have_some = |server: &ServerConfig| server.master().is_some() || !server.replicas().is_empty();
    match found {
        None if text.is_empty() => Ok(ReadFrom::Master),
        None => {
            let wanted = "one of master, preferReplica and replica".to_owned();
            Err((Some("readFrom"), Problem::WrongKind { value: Quoted(text).to_string(), wanted }))
        }
        Some(ReadFrom::PreferReplica | ReadFrom::Replica) if !is_cluster && !servers.iter().any(may_have_some) => {
            Err((Some("readFrom"), Problem::Needs { key: "replicas" }))
        }
        Some(read_from) => Ok(read_from),
    }
}

/// Who rmux is to others, by the keys that say so.
fn credentials(
    user_key: &'static str,
    user: Option<&str>,
    password: &Source,
    names: Names,
) -> Result<Option<Credentials>, Fault> {
    let user = user.filter(|user| !user.is_empty());
    match password.read(names).map_err(at_key)? {
        Some(password) => Ok(Some(Credentials { user: user.map(Into::into), password })),
        None if user.is_some() => Err((Some(user_key), Problem::NoPassword { file: names[1], variable: names[2] })),
        None => Ok(None),
    }
}

fn at_key((key, problem): (&'static str, Problem)) -> Fault {
    (Some(key), problem)
}

fn bad_user(name: &str, unfit: Unfit) -> Problem {
    let reason = match unfit {
        Unfit::Name => "cannot be a user's name: write 1 to 256 letters of printable ASCII, without blanks",
        Unfit::Twice => "is there twice",
        Unfit::TooMany => "is one user too many",
    };
    Problem::BadUser { name: Quoted(name).to_string(), reason }
}

fn bad_command(name: &str, objection: Objection) -> Problem {
    let known: Vec<String> = if objection == Objection::Unknown { command::names().collect() } else { Vec::new() };
    let likely = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    Problem::BadCommand { name: Quoted(name).to_string(), objection, likely }
}

pub(super) fn bad_address(text: &str, reason: &'static str) -> Problem {
    Problem::BadAddress { value: Quoted(text).to_string(), reason }
}

pub(crate) const DEFAULT_HOST: &str = "localhost";
pub(crate) const DEFAULT_PORT: u16 = 6379;
pub(crate) const DEFAULT_TCP_CONNECTIONS: &str = "localhost:6380 localhost:6381";

/// The ring's table grows with the square of the servers: some two million cells, 4 MB for each thread, at this number.
/// The ring itself would take twice as many.
const SERVERS_MAX: usize = 1024;
