//! Every flag and every key of the file: one table, one row each.
//!
//! A row says the name, the kind of value with its range and unit, the field that it goes to, and a line of help.
//! Flags, JSON, `-help` and the errors are all driven by it, and the defaults are read from the field itself, so that
//! nothing is said twice: a new setting is one row here and one field in the draft.
//!
//! A value is read in two steps: out of its text or JSON into a [`Value`] (is it of the right kind?), then into the
//! draft (is it in range?). The rows are applied in the order of the table, whatever the order of the user: that is how
//! `localReadTimeout` wins over `localTimeout`. What only shows with several keys together is not known here.

use std::ops::RangeInclusive;

use super::draft::{DEFAULT_HOST, DEFAULT_PORT, DEFAULT_TCP_CONNECTIONS, Draft, words};
use super::entry::{self, Place, User};
use super::error::{Problem, Quoted};
use super::json::Json;

use crate::command::Declared;
use crate::users::Secret;

use Group::{Access, Commands, Limits, Listening, Servers, Timeouts, Tls};
use Kind::{
    List, LocalTimeout, Mode, ModuleCommands, Number, Password, Places, Port, RemoteTimeout, Switch, Text, Users,
};

/// One flag, and, unless it is about the program as a whole, one key of a pool in the file.
#[derive(Debug)]
pub struct Key {
    /// The flag without its dash, and the key in the file.
    pub name: &'static str,
    /// A flag of one letter that means the same, or "".
    pub alias: &'static str,
    /// What it is about.
    pub group: Group,
    /// Whether a pool of the file may have it too.
    pub scope: Scope,
    /// What value it takes, and where that goes.
    pub(crate) kind: Kind,
    /// What it does, for `-help`; for a retired one: why it does nothing.
    pub help: &'static str,
}

/// The headings of `-help`, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Where clients connect.
    Listening,
    /// Where requests go.
    Servers,
    /// Who may be a client, and who rmux is to the servers.
    Access,
    /// What of it is inside of TLS.
    Tls,
    /// Which commands there are.
    Commands,
    /// How long to wait.
    Timeouts,
    /// How much to hold.
    Limits,
    /// The program as a whole.
    Program,
    /// The original's, accepted and without effect.
    Retired,
}

/// What a key is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One pool: a flag, or a key of each pool in the file.
    Pool,
    /// One pool: a key of each pool in the file, and no flag, since the list of processes shows flags to everybody, or
    /// since it is more than a flag can hold.
    File,
    /// The program: a flag alone.
    Program,
}

/// A kind of value, what is allowed, and the field that it is stored in.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Any text; the first string is how `-help` calls it, the second its default.
    Text(&'static str, &'static str, fn(&mut Draft) -> &mut Option<String>),
    /// A list of strings in the file, words in a flag; the strings as for `Text`.
    List(&'static str, &'static str, fn(&mut Draft) -> &mut Option<Vec<String>>),
    /// A list of strings or objects in the file, see [`entry::places`], words in a flag; the strings as for `Text`.
    Places(&'static str, &'static str, fn(&mut Draft) -> &mut Option<Vec<Place>>),
    /// A TCP port.
    Port(fn(&mut Draft) -> &mut Option<u16>),
    /// True or false; a bare flag is true.
    Switch(fn(&mut Draft) -> &mut bool),
    /// A whole number of the unit.
    Number(RangeInclusive<u64>, &'static str, fn(&mut Draft) -> &mut usize),
    /// Milliseconds, into each of the fields; 0 means no limit.
    LocalTimeout(fn(&mut Draft) -> Vec<&mut u64>),
    /// Milliseconds, into each of the fields; 0 means not given, as in the original: there is no "no limit" here.
    RemoteTimeout(fn(&mut Draft) -> Vec<&mut u64>),
    /// The permissions of a file, as octal text.
    Mode(fn(&mut Draft) -> &mut u32),
    /// A text that is never shown.
    Password(fn(&mut Draft) -> &mut Option<Secret>),
    /// A list of objects: see [`entry::users`].
    Users(fn(&mut Draft) -> &mut Option<Vec<User>>),
    /// A list of objects: see [`entry::module_commands`].
    ModuleCommands(fn(&mut Draft) -> &mut Option<Vec<Declared>>),
    /// Any bytes, as often as the flag stands there: the command line keeps them, since they are not about the
    /// configuration.
    RedisKeys,
    /// Anything; the original understood it.
    Retired,
}

/// A value of the right kind, its range not yet checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    List(Vec<String>),
    Places(Vec<Place>),
    Switch(bool),
    Whole(i128),
    Password(Secret),
    Users(Vec<User>),
    ModuleCommands(Vec<Declared>),
    /// Of a retired key, and of one that is not about the configuration.
    Ignored,
}

impl Key {
    /// Whether the flag may stand alone, as Go's booleans do: `-debug`, `-debug=false`.
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch(_))
    }

    /// Whether it is a switch, and this text turns it on.
    pub fn is_on(&self, text: &str) -> bool {
        self.read_text(text) == Ok(Value::Switch(true))
    }

    /// Whether it is a flag, and not only a key of the file.
    pub fn is_flag(&self) -> bool {
        self.scope != Scope::File
    }

    /// Whether its value must not be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, Password(_) | Users(_))
    }

    /// Whether the key is accepted for the original's sake alone.
    pub fn is_retired(&self) -> bool {
        self.group == Group::Retired
    }

    /// What the value is called in `-help`; "" for a switch, which needs none.
    pub fn hint(&self) -> &'static str {
        match &self.kind {
            Kind::Text(hint, ..) | Kind::List(hint, ..) | Kind::Places(hint, ..) => hint,
            Kind::Port(_) => "port",
            Kind::Switch(_) => "",
            Kind::Number(_, unit, _) => unit,
            Kind::LocalTimeout(_) | Kind::RemoteTimeout(_) => "ms",
            Kind::Mode(_) => "octal",
            Kind::Password(_) => "text",
            Kind::Users(_) | Kind::ModuleCommands(_) => "list",
            Kind::RedisKeys => "key",
            Kind::Retired => "value",
        }
    }

    /// The range, for errors and `-help`: "1 to 10000". "" where there is none.
    pub fn range(&self) -> String {
        match &self.kind {
            Kind::Port(_) => format!("1 to {}", u16::MAX),
            Kind::Number(range, ..) => format!("{} to {}", range.start(), range.end()),
            Kind::LocalTimeout(_) | Kind::RemoteTimeout(_) => format!("0 to {TIMEOUT_MS_MAX}"),
            Kind::Mode(_) => format!("0 to {MODE_MAX:#o}").replace("0o", "0"),
            _ => String::new(),
        }
    }

    /// The default as the user would write it; "" where there is none.
    pub fn default_text(&self) -> String {
        match &self.kind {
            Kind::Text(_, default, _) | Kind::List(_, default, _) | Kind::Places(_, default, _) => {
                (*default).to_owned()
            }
            Kind::Port(_) => DEFAULT_PORT.to_string(),
            _ => self.text_in(&mut Draft::default()),
        }
    }

    /// Its value in this draft, as the user would write it; "" where there is none, and for passwords and users.
    pub(crate) fn text_in(&self, draft: &mut Draft) -> String {
        match &self.kind {
            Kind::Text(_, _, field) => field(draft).clone().unwrap_or_default(),
            Kind::List(_, _, field) => field(draft).iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" "),
            Kind::Port(field) => field(draft).map(|port| port.to_string()).unwrap_or_default(),
            Kind::Switch(field) => field(draft).to_string(),
            Kind::Number(_, _, field) => field(draft).to_string(),
            Kind::LocalTimeout(fields) | Kind::RemoteTimeout(fields) => {
                fields(draft).first().map(|field| field.to_string()).unwrap_or_default()
            }
            Kind::Mode(field) => format!("{:04o}", field(draft)),
            Kind::ModuleCommands(field) => {
                field(draft).iter().flatten().map(entry::text_of).collect::<Vec<_>>().join(", ")
            }
            // Servers are compared as places of the ring, and not as values.
            Kind::Password(_) | Kind::Users(_) | Kind::Places(..) => String::new(),
            Kind::RedisKeys | Kind::Retired => String::new(),
        }
    }

    /// Whether it sets several values that have keys of their own.
    pub(crate) fn is_general(&self) -> bool {
        match &self.kind {
            Kind::LocalTimeout(fields) | Kind::RemoteTimeout(fields) => fields(&mut Draft::default()).len() > 1,
            _ => false,
        }
    }

    /// Reads a flag's text.
    ///
    /// # Errors
    ///
    /// [`Problem::WrongKind`].
    pub(crate) fn read_text(&self, text: &str) -> Result<Value, Problem> {
        let value = match &self.kind {
            Kind::Text(..) => Some(Value::Text(text.to_owned())),
            Kind::List(..) => Some(Value::List(words(text))),
            Kind::Places(..) => Some(Value::Places(words(text).into_iter().map(Place::Address).collect())),
            Kind::Switch(_) => go_bool(text).map(Value::Switch),
            Kind::Port(_) | Kind::Number(..) | Kind::LocalTimeout(_) | Kind::RemoteTimeout(_) => {
                text.parse().ok().map(Value::Whole)
            }
            Kind::Mode(_) if text.starts_with(['+', '-']) => None,
            Kind::Mode(_) => i128::from_str_radix(text, 8).ok().map(Value::Whole),
            // No flags.
            Kind::Password(_) | Kind::Users(_) | Kind::ModuleCommands(_) => None,
            Kind::RedisKeys | Kind::Retired => Some(Value::Ignored),
        };
        value.ok_or_else(|| self.wrong_kind(Quoted(text).to_string()))
    }

    /// Reads a value of the file.
    ///
    /// # Errors
    ///
    /// [`Problem::WrongKind`].
    pub(crate) fn read_json(&self, json: &Json) -> Result<Value, Problem> {
        match (&self.kind, json) {
            (Kind::Text(..), Json::Text(text)) => Ok(Value::Text(text.clone())),
            (Kind::Mode(_), Json::Text(text)) => self.read_text(text),
            (Kind::Switch(_), Json::Switch(on)) => Ok(Value::Switch(*on)),
            (Kind::Port(_) | Kind::Number(..), Json::Whole(number)) => Ok(Value::Whole(*number)),
            (Kind::LocalTimeout(_) | Kind::RemoteTimeout(_), Json::Whole(number)) => Ok(Value::Whole(*number)),
            (Kind::Password(_), Json::Text(text)) => Ok(Value::Password(Secret::new(text.as_bytes()))),
            (Kind::Password(_), _) => Err(self.wrong_kind("what stands there".to_owned())),
            (Kind::Places(..), json) => entry::places(json).map(Value::Places),
            (Kind::Users(_), json) => entry::users(json).map(Value::Users),
            (Kind::ModuleCommands(_), json) => entry::module_commands(json).map(Value::ModuleCommands),
            (Kind::Retired, _) => Ok(Value::Ignored),
            (Kind::List(..), Json::List(elements)) => {
                let text = |element: &Json| match element {
                    Json::Text(text) => Ok(text.clone()),
                    other => {
                        Err(Problem::WrongKind { value: other.to_string(), wanted: "a string, in the list".to_owned() })
                    }
                };
                elements.iter().map(text).collect::<Result<_, _>>().map(Value::List)
            }
            _ => Err(self.wrong_kind(json.to_string())),
        }
    }

    /// Puts the value where it belongs.
    ///
    /// # Errors
    ///
    /// [`Problem::OutOfRange`].
    pub(crate) fn store(&self, value: Value, draft: &mut Draft) -> Result<(), Problem> {
        draft.given.push(self.name);
        match (&self.kind, value) {
            (Kind::Text(_, _, field), Value::Text(text)) => *field(draft) = Some(text),
            (Kind::List(_, _, field), Value::List(list)) => *field(draft) = Some(list),
            (Kind::Places(_, _, field), Value::Places(places)) => *field(draft) = Some(places),
            (Kind::Switch(field), Value::Switch(on)) => *field(draft) = on,
            (Kind::Port(field), Value::Whole(number)) => match u16::try_from(number) {
                Ok(port) if port > 0 => *field(draft) = Some(port),
                _ => return Err(self.out_of_range(number.to_string())),
            },
            (Kind::Number(range, _, field), Value::Whole(number)) => {
                let number = self.within(range, number)?;
                // On a machine of 32 bits, what does not fit is no limit at all.
                *field(draft) = usize::try_from(number).unwrap_or(usize::MAX);
            }
            (Kind::LocalTimeout(fields), Value::Whole(number)) => {
                let ms = self.within(&(0..=TIMEOUT_MS_MAX), number)?;
                fields(draft).into_iter().for_each(|field| *field = ms);
            }
            (Kind::RemoteTimeout(fields), Value::Whole(number)) => {
                let ms = self.within(&(0..=TIMEOUT_MS_MAX), number)?;
                if ms > 0 {
                    fields(draft).into_iter().for_each(|field| *field = ms);
                }
            }
            (Kind::Mode(field), Value::Whole(number)) => match u32::try_from(number) {
                Ok(mode) if mode <= MODE_MAX => *field(draft) = mode,
                _ => return Err(self.out_of_range(format!("0{number:o}"))),
            },
            (Kind::Password(field), Value::Password(secret)) => *field(draft) = Some(secret),
            (Kind::Users(field), Value::Users(users)) => *field(draft) = Some(users),
            (Kind::ModuleCommands(field), Value::ModuleCommands(commands)) => *field(draft) = Some(commands),
            (_, value) => debug_assert_eq!(value, Value::Ignored, "{} was read as another kind", self.name),
        }
        Ok(())
    }

    fn within(&self, range: &RangeInclusive<u64>, number: i128) -> Result<u64, Problem> {
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(self.out_of_range(number.to_string())),
        }
    }

    fn out_of_range(&self, value: String) -> Problem {
        let unit = if matches!(self.kind, Kind::Port(_) | Kind::Mode(_)) { "" } else { self.hint() };
        Problem::OutOfRange { value, allowed: format!("{} {unit}", self.range()).trim_end().to_owned() }
    }

    fn wrong_kind(&self, value: String) -> Problem {
        let wanted = match &self.kind {
            Kind::Text(..) | Kind::Password(_) => "a string".to_owned(),
            Kind::List(..) => "a list of strings".to_owned(),
            Kind::Switch(_) => "true or false".to_owned(),
            Kind::Port(_) => format!("a whole number: allowed is {}", self.range()),
            Kind::Mode(_) => format!("octal text like \"0660\": allowed is {}", self.range()),
            _ => format!("a whole number: allowed is {} {}", self.range(), self.hint()),
        };
        Problem::WrongKind { value, wanted }
    }
}

/// The row of a name.
pub(crate) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The words that Go's `strconv.ParseBool` takes, and so the original's flags took.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

const fn pool(name: &'static str, group: Group, kind: Kind, help: &'static str) -> Key {
    Key { name, alias: "", group, scope: Scope::Pool, kind, help }
}

const fn file(name: &'static str, group: Group, kind: Kind, help: &'static str) -> Key {
    Key { name, alias: "", group, scope: Scope::File, kind, help }
}

const fn program(name: &'static str, alias: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, alias, group: Group::Program, scope: Scope::Program, kind, help }
}

const fn retired(name: &'static str, scope: Scope, kind: Kind, help: &'static str) -> Key {
    Key { name, alias: "", group: Group::Retired, scope, kind, help }
}

/// The table. Rows of one group stand together, in the order of `-help`; a general timeout stands before its specific
/// ones.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    pool("socket", Listening, Text("path", "", |d| &mut d.socket),
        "Unix socket to listen on; wins over host and port"),
    pool("socketMode", Listening, Mode(|d| &mut d.socket_mode),
        "permissions of that socket"),
    pool("host", Listening, Text("host", DEFAULT_HOST, |d| &mut d.host),
        "name or IP address to listen on"),
    pool("port", Listening, Port(|d| &mut d.port),
        "TCP port to listen on"),
    pool("maxProcesses", Listening, Number(0..=64, "threads", |d| &mut d.reactors),
        "threads that serve this listener, each with connections of its own; 0 is 1"),

    pool("tcpConnections", Servers, Places("servers", DEFAULT_TCP_CONNECTIONS, |d| &mut d.tcp_connections),
        "Redis servers, each host:port or [IPv6]:port; the default is not used if unixConnections is given"),
    pool("unixConnections", Servers, List("paths", "", |d| &mut d.unix_connections),
        "Redis servers, each the path of a Unix socket; they follow the TCP ones on the ring"),
    pool("cluster", Servers, Switch(|d| &mut d.cluster),
        "they are nodes of a Redis Cluster, one that answers is enough: it tells of all others, and who has which key"),
    file("clusterAnnounce", Servers, Text("host:port", "", |d| &mut d.cluster_announce),
        "where clients that insist on a cluster reach rmux: they are told that it is the only node, and has all keys"),
    file("sentinels", Servers, List("list", "", |d| &mut d.sentinels),
        "Redis Sentinels, each host:port; they know where the masters are that tcpConnections only names"),
    file("readFrom", Servers, Text("text", "master", |d| &mut d.read_from),
        "where reads go: master, preferReplica (the master if no replica is well), or replica"),
    file("availabilityZone", Servers, Text("text", "", |d| &mut d.availability_zone),
        "the zone of this host: servers that say they are in it are read first"),
    pool("poolSize", Servers, Number(1..=10_000, "connections", |d| &mut d.pool_size),
        "most connections to each server, shared out among the threads"),
    pool("leaseMax", Servers, Number(0..=10_000, "connections", |d| &mut d.lease_max),
        "most of them that clients hold for themselves at one time (transactions, blocking commands); one is always \
         left to the others; 0: all but one"),
    pool("failover", Servers, Switch(|d| &mut d.failover),
        "while a server is down, another one takes its keys"),
    pool("multiKey", Servers, Switch(|d| &mut d.multi_key),
        "a command for several servers is sent to each, and its replies are merged; off, it is refused"),
    pool("strictReplies", Servers, Switch(|d| &mut d.strict_replies),
        "behind each script, function and transaction an ECHO makes sure that its reply was one, for servers whose \
         scripts can say more than one"),
    pool("distribution", Servers, Text("table", "rmux", |d| &mut d.distribution),
        "how keys are spread: rmux, as the original does, or, as twemproxy does, ketama or modula"),
    pool("hash", Servers, Text("function", "", |d| &mut d.hash),
        "what hashes a key; the default is times33, and with ketama or modula fnv1a_64"),
    pool("hashTag", Servers, Text("characters", "", |d| &mut d.hash_tag),
        "two characters, like {}: what stands between them in a key chooses its server"),

    file("password", Access, Password(|d| &mut d.password.text),
        "password of the default user; without it and without users, everybody is let in"),
    pool("passwordFile", Access, Text("path", "", |d| &mut d.password.file),
        "file with that password, as its only line"),
    pool("passwordEnv", Access, Text("variable", "", |d| &mut d.password.variable),
        "environment variable with that password"),
    file("users", Access, Users(|d| &mut d.users),
        "clients' users: each an object with name, and password, passwordFile or passwordEnv"),
    pool("remoteUser", Access, Text("user", "", |d| &mut d.remote_user),
        "user that rmux is to the servers; the default is their default user"),
    file("remotePassword", Access, Password(|d| &mut d.remote_password.text),
        "password that rmux gives to the servers"),
    pool("remotePasswordFile", Access, Text("path", "", |d| &mut d.remote_password.file),
        "file with that password, as its only line"),
    pool("remotePasswordEnv", Access, Text("variable", "", |d| &mut d.remote_password.variable),
        "environment variable with that password"),

    file("sentinelUser", Access, Text("user", "", |d| &mut d.sentinel_user),
        "user that rmux is to the sentinels; the default is their default user"),
    file("sentinelPassword", Access, Password(|d| &mut d.sentinel_password.text),
        "password that rmux gives to the sentinels; that of the servers is never given to them"),
    file("sentinelPasswordFile", Access, Text("path", "", |d| &mut d.sentinel_password.file),
        "file with that password, as its only line"),
    file("sentinelPasswordEnv", Access, Text("variable", "", |d| &mut d.sentinel_password.variable),
        "environment variable with that password"),

    pool("remoteTls", Tls, Switch(|d| &mut d.tls.remote.is_on),
        "reach the servers of tcpConnections over TLS 1.2 or 1.3, and check their certificates"),
    pool("remoteTlsCaFile", Tls, Text("path", "", |d| &mut d.tls.remote.authorities),
        "PEM file of the authorities that a server's certificate may come from; the default are those of the system"),
    pool("remoteTlsServerName", Tls, Text("name", "", |d| &mut d.tls.remote.server_name),
        "name that a server's certificate must be for; the default is its host in tcpConnections"),
    pool("remoteTlsCertFile", Tls, Text("path", "", |d| &mut d.tls.remote.certificate),
        "PEM file of the certificate that rmux shows to the servers, if they ask for one"),
    pool("remoteTlsKeyFile", Tls, Text("path", "", |d| &mut d.tls.remote.key),
        "PEM file of its private key"),
    file("sentinelTls", Tls, Switch(|d| &mut d.tls.sentinel.is_on),
        "reach the sentinels over TLS 1.2 or 1.3, and check their certificates"),
    file("sentinelTlsCaFile", Tls, Text("path", "", |d| &mut d.tls.sentinel.authorities),
        "PEM file of the authorities that a sentinel's certificate may come from; the default are those of the system"),
    file("sentinelTlsServerName", Tls, Text("name", "", |d| &mut d.tls.sentinel.server_name),
        "name that a sentinel's certificate must be for; the default is its host in sentinels, or as another tells it"),
    file("sentinelTlsCertFile", Tls, Text("path", "", |d| &mut d.tls.sentinel.certificate),
        "PEM file of the certificate that rmux shows to the sentinels, if they ask for one"),
    file("sentinelTlsKeyFile", Tls, Text("path", "", |d| &mut d.tls.sentinel.key),
        "PEM file of its private key"),
    pool("localTlsCertFile", Tls, Text("path", "", |d| &mut d.tls.local_certificate),
        "PEM file of the certificate that rmux shows to clients on host and port, who must speak TLS then"),
    pool("localTlsKeyFile", Tls, Text("path", "", |d| &mut d.tls.local_key),
        "PEM file of its private key"),
    pool("localTlsClientCaFile", Tls, Text("path", "", |d| &mut d.tls.local_client_authorities),
        "PEM file of the authorities that each client's certificate must come from; without it, clients need none"),

    pool("allowCommands", Commands, List("commands", "", |d| &mut d.allow_commands),
        "commands to forward that rmux refuses: save, or config|set for a part of one"),
    pool("denyCommands", Commands, List("commands", "", |d| &mut d.deny_commands),
        "commands to refuse, written the same; those that scripts call are not seen"),
    file("moduleCommands", Commands, ModuleCommands(|d| &mut d.module_commands),
        "commands that rmux does not know: each an object with name, firstKey, lastKey, step, readonly"),

    pool("localTimeout", Timeouts,
        LocalTimeout(|d| vec![&mut d.timeouts.local_read_ms, &mut d.timeouts.local_write_ms]),
        "for the client side: both of the next two; 0 is none"),
    pool("localReadTimeout", Timeouts, LocalTimeout(|d| vec![&mut d.timeouts.local_read_ms]),
        "wait for a client's next request; 0 is none"),
    pool("localWriteTimeout", Timeouts, LocalTimeout(|d| vec![&mut d.timeouts.local_write_ms]),
        "wait for a client to take its replies; 0 is none"),
    pool("localRequestTimeout", Timeouts, LocalTimeout(|d| vec![&mut d.timeouts.local_request_ms]),
        "wait for the rest of a request of which nothing more comes; 0 is none"),
    pool("remoteTimeout", Timeouts, RemoteTimeout(|d| vec![
            &mut d.timeouts.remote_connect_ms, &mut d.timeouts.remote_read_ms, &mut d.timeouts.remote_write_ms]),
        "for the server side: all of the next three; 0 is the default"),
    pool("remoteConnectTimeout", Timeouts, RemoteTimeout(|d| vec![&mut d.timeouts.remote_connect_ms]),
        "wait for a connection to a server, handshake included; 0 is remoteTimeout"),
    pool("remoteReadTimeout", Timeouts, RemoteTimeout(|d| vec![&mut d.timeouts.remote_read_ms]),
        "wait for a server's reply; 0 is remoteTimeout"),
    pool("remoteWriteTimeout", Timeouts, RemoteTimeout(|d| vec![&mut d.timeouts.remote_write_ms]),
        "wait for a server to take requests; 0 is remoteTimeout"),
    pool("failoverAfter", Timeouts, LocalTimeout(|d| vec![&mut d.timeouts.failover_after_ms]),
        "a server that is there and answers nothing is down after so long; 0: with its first timeout"),
    pool("resolveInterval", Timeouts, LocalTimeout(|d| vec![&mut d.timeouts.resolve_ms]),
        "look the name of a server up again after so long, at the latest; 0: not by time alone"),
    pool("slowlogSlowerThan", Timeouts, LocalTimeout(|d| vec![&mut d.timeouts.slow_ms]),
        "a request that takes so long stands in RMUX SLOWLOG; 0: none does"),

    pool("clientsMax", Limits, Number(1..=1_000_000, "clients", |d| &mut d.limits.clients_max),
        "clients at one time"),
    pool("requestBytesMax", Limits, Number(1024..=BYTES_MAX, "bytes", |d| &mut d.limits.request_bytes_max),
        "size of a request"),
    pool("bulkBytesMax", Limits, Number(1024..=BYTES_MAX, "bytes", |d| &mut d.limits.bulk_bytes_max),
        "size of one argument of a request"),
    pool("argsMax", Limits, Number(1..=COUNT_MAX, "arguments", |d| &mut d.limits.args_max),
        "arguments of a request"),
    pool("inlineBytesMax", Limits, Number(64..=BYTES_MAX, "bytes", |d| &mut d.limits.inline_bytes_max),
        "size of an inline request"),
    pool("clientOutstandingMax", Limits, Number(1..=COUNT_MAX, "requests", |d| &mut d.limits.client_outstanding_max),
        "unanswered requests of a client that has no connection of its own; reading from it pauses there"),
    pool("clientUnreadPauseBytes", Limits,
        Number(1024..=BYTES_MAX, "bytes", |d| &mut d.limits.client_unread_pause_bytes),
        "replies that a client has not taken; from there on they stay with the server, or reading from it pauses"),
    pool("clientUnreadBytesMax", Limits, Number(1024..=BYTES_MAX, "bytes", |d| &mut d.limits.client_unread_bytes_max),
        "replies that a client has not taken; past it, the client is closed"),
    pool("subscriberBytesMax", Limits,
        Number(1024..=BYTES_MAX, "bytes", |d| &mut d.limits.subscriber_unread_bytes_max),
        "the same of a subscriber, if it is less: messages and replies"),
    pool("subscriberSoftBytes", Limits,
        Number(1024..=BYTES_MAX, "bytes", |d| &mut d.limits.subscriber_unread_soft_bytes),
        "messages and replies that a subscriber has not taken; past it for the time below, it is closed"),
    pool("subscriberSoftTimeout", Limits, LocalTimeout(|d| vec![&mut d.limits.subscriber_unread_soft_ms]),
        "how long a subscriber may be past that; 0 is no limit"),
    pool("bufferedBytesMax", Limits, Number(65_536..=BYTES_MAX, "bytes", |d| &mut d.limits.buffered_bytes_max),
        "requests and replies in memory, all together"),
    pool("connectsPerSecond", Limits, Number(0..=1_000_000, "connections", |d| &mut d.limits.connects_per_second),
        "connections made to one server within a second, when poolSize of them are made already; 0 is no limit"),
    pool("pipelineMax", Limits, Number(1..=COUNT_MAX, "requests", |d| &mut d.limits.pipeline_max),
        "unanswered requests on one connection to a server; then the next one is used"),
    pool("sendQueueBytesMax", Limits, Number(1024..=BYTES_MAX, "bytes", |d| &mut d.limits.send_queue_bytes_max),
        "bytes queued on one connection to a server; then the next one is used"),
    pool("fdReserve", Limits, Number(0..=65_536, "descriptors", |d| &mut d.limits.fd_reserve),
        "file descriptors that clients never get"),
    pool("slowlogMax", Limits, Number(0..=1_000_000, "entries", |d| &mut d.limits.slow_entries_max),
        "entries of RMUX SLOWLOG"),

    program("config", "", Text("path", "", |d| &mut d.process.config),
        "JSON file with a list of pools; every flag above is then ignored"),
    program("test", "t", Switch(|d| &mut d.process.test),
        "check the configuration, say so, and exit"),
    program("against", "", Text("path", "", |d| &mut d.process.against),
        "with -test, say what the configuration changes against this file, which is in use"),
    program("key", "", Kind::RedisKeys,
        "say which server of each pool has this key, and which ones would stand in, and exit; may be repeated"),
    program("healthcheck", "", Switch(|d| &mut d.process.healthcheck),
        "ask the rmux that runs with this configuration for a PONG: exit code 0 if all pools answer, else 1"),
    program("top", "", Switch(|d| &mut d.process.top),
        "show how the rmux does that has this admin endpoint, each second anew; as a text once, if it is no terminal"),
    program("debug", "", Switch(|d| &mut d.process.debug),
        "log more: each client that comes and goes"),
    program("useSyslog", "", Switch(|d| &mut d.process.use_syslog),
        "log to the local syslog, /dev/log, and not to standard output"),
    program("pidFile", "", Text("path", "", |d| &mut d.process.pid_file),
        "write the process id to this file, and remove it at the end"),
    program("drainTimeout", "", Number(1..=TIMEOUT_MS_MAX, "ms", |d| &mut d.process.drain_ms),
        "after an upgrade, how long the old process serves the clients that stay"),
    program("admin", "", Text("address", "", |d| &mut d.process.admin),
        "show metrics, health and status over HTTP there: host:port, a port of 127.0.0.1, or a path with a slash"),
    program("graphite", "", Text("host:port", "", |d| &mut d.process.graphite),
        "send counters to this statsd server, once a second"),
    program("timing", "", Switch(|d| &mut d.process.timing),
        "send it times, too"),
    program("user", "", Text("name", "", |d| &mut d.process.user),
        "when started as root, become this user (or number) once the first pool listens"),
    program("group", "", Text("name", "", |d| &mut d.process.group),
        "with this group (or number), and not the user's own"),
    program("version", "", Switch(|d| &mut d.process.version),
        "print the version and exit"),
    program("help", "h", Switch(|d| &mut d.process.help),
        "print this and exit"),

    retired("remoteReconnectInterval", Scope::Pool, Kind::Retired,
        "rmux keeps a connection for as long as it is sound"),
    retired("remoteDiagnosticCheckInterval", Scope::Pool, Kind::Retired,
        "rmux probes servers by itself"),
    retired("cpuProfile", Scope::Program, Kind::Retired,
        "a profiler of the system sees all there is"),
];

/// About 24 days: what fits into 31 bits, as a C program's timeout does.
const TIMEOUT_MS_MAX: u64 = i32::MAX as u64;

/// Read, write and execute for owner, group and others.
const MODE_MAX: u32 = 0o777;

/// 1 TiB: no size is ever meant to be larger.
const BYTES_MAX: u64 = 1 << 40;

/// What fits into 31 bits: Redis' own bound on the number of arguments.
const COUNT_MAX: u64 = i32::MAX as u64;
