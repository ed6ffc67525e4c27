//! CLIENT with its subcommands: what a client tells about itself, and asks about itself.
//!
//! Names and numbers are rmux's own: a server would tell those of a connection that the client shares with others. A
//! client is shown alone: `CLIENT LIST` has one line, and `CLIENT KILL` and `CLIENT UNBLOCK` find nobody else, as a
//! server with this one client would answer. What would bind a shared connection, or stop all others, is refused;
//! `MAINT_NOTIFICATIONS` must be unknown, or clients wait for messages that name servers which they cannot reach.
//!
//! Invariant: nothing that is kept in the session is longer than [`NAME_BYTES_MAX`], and all of it is printable ASCII
//! without blanks, so that no client can write fields of its own choice into `CLIENT LIST`.

use super::{Context, Outcome, Words, auth, error, integer, reply};
use crate::client::{Profile, Protocol, Session};

/// The longest name, library or version that is kept, in bytes. Redis has no limit but that of a request, which would
/// let each client hold half a gigabyte for as long as it is connected.
const NAME_BYTES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subcommand {
    Caching,
    GetName,
    GetRedirection,
    Help,
    Id,
    Info,
    Kill,
    List,
    /// `NO-EVICT` and `NO-TOUCH`: about a connection's place among its server's clients, which is not the client's own.
    NoEvictNoTouch,
    /// `PAUSE` and `UNPAUSE`: of all clients of a server.
    Pause,
    Reply,
    SetInfo,
    SetName,
    Tracking,
    TrackingInfo,
    Unblock,
}

/// Name and arity, as Redis 7.2 has them: both words counted, negative for at least so many.
const SUBCOMMANDS: [(&str, i8, Subcommand); 18] = [
    ("setinfo", 4, Subcommand::SetInfo),
    ("setname", 3, Subcommand::SetName),
    ("id", 2, Subcommand::Id),
    ("getname", 2, Subcommand::GetName),
    ("info", 2, Subcommand::Info),
    ("list", -2, Subcommand::List),
    ("no-evict", 3, Subcommand::NoEvictNoTouch),
    ("no-touch", 3, Subcommand::NoEvictNoTouch),
    ("reply", 3, Subcommand::Reply),
    ("tracking", -3, Subcommand::Tracking),
    ("trackinginfo", 2, Subcommand::TrackingInfo),
    ("caching", 3, Subcommand::Caching),
    ("getredir", 2, Subcommand::GetRedirection),
    ("kill", -3, Subcommand::Kill),
    ("unblock", -3, Subcommand::Unblock),
    ("pause", -3, Subcommand::Pause),
    ("unpause", 2, Subcommand::Pause),
    ("help", 2, Subcommand::Help),
];

pub(super) fn answer(words: Words<'_>, session: &mut Session, context: &Context<'_>, out: &mut Vec<u8>) -> Outcome {
    if words.len() < 2 {
        error::wrong_arity(out, "client");
        return Outcome::Reply;
    }
    let asked = words.at(1);
    let Some((name, arity, subcommand)) =
        SUBCOMMANDS.iter().find(|(name, ..)| name.as_bytes().eq_ignore_ascii_case(asked))
    else {
        error::unknown_subcommand(out, b"client", asked);
        return Outcome::Reply;
    };
    let least = usize::from(arity.unsigned_abs());
    if words.len() < least || (*arity > 0 && words.len() > least) {
        error::wrong_arity(out, format_args!("client|{name}"));
        return Outcome::Reply;
    }
    let protocol = session.profile.protocol;
    match subcommand {
        Subcommand::Id => reply::integer(out, context.client_id as i64),
        Subcommand::GetName if session.name.is_empty() => reply::null(out, protocol),
        Subcommand::GetName => reply::bulk(out, session.name.as_bytes()),
        Subcommand::SetName => set_name(words.at(2), session, out),
        Subcommand::SetInfo => set_info(words.at(2), words.at(3), session, out),
        Subcommand::Info => {
            let line = line_of(session, context, "info");
            reply::verbatim(out, protocol, &line);
        }
        Subcommand::List => list(words, session, context, out),
        Subcommand::NoEvictNoTouch => match switch(words.at(2)) {
            Some(_) => reply::ok(out),
            None => error::write_error(out, error::SYNTAX),
        },
        Subcommand::Reply => set_reply(words.at(2), out),
        Subcommand::Tracking => set_tracking(words, out),
        Subcommand::TrackingInfo => tracking_info(protocol, out),
        Subcommand::Caching => error::write_error(out, NO_CACHING),
        Subcommand::GetRedirection => reply::integer(out, -1),
        Subcommand::Kill => return kill(words, context, out),
        Subcommand::Unblock => unblock(words, out),
        Subcommand::Pause => error::write_error(out, error::NOT_SUPPORTED),
        Subcommand::Help => help(out),
    }
    Outcome::Reply
}

/// A name that may be kept; otherwise the error is written.
pub(super) fn checked_name<'a>(name: &'a [u8], out: &mut Vec<u8>) -> Option<&'a str> {
    let Some(text) = printable(name) else {
        error::write_error(out, "ERR Client names cannot contain spaces, newlines or special characters.");
        return None;
    };
    if text.len() > NAME_BYTES_MAX {
        error::write_error(out, format_args!("ERR Client names cannot be longer than {NAME_BYTES_MAX} bytes"));
        return None;
    }
    Some(text)
}

// An empty name is none.
fn set_name(name: &[u8], session: &mut Session, out: &mut Vec<u8>) {
    if let Some(name) = checked_name(name, out) {
        session.name = name.into();
        reply::ok(out);
    }
}

fn set_info(attribute: &[u8], value: &[u8], session: &mut Session, out: &mut Vec<u8>) {
    let place = match attribute {
        _ if attribute.eq_ignore_ascii_case(b"lib-name") => &mut session.library,
        _ if attribute.eq_ignore_ascii_case(b"lib-ver") => &mut session.library_version,
        _ => return error::write_error_around(out, "ERR Unrecognized option '", attribute, "'"),
    };
    let Some(value) = printable(value) else {
        let behind = " cannot contain spaces, newlines or special characters.";
        return error::write_error_around(out, "ERR ", attribute, behind);
    };
    if value.len() > NAME_BYTES_MAX {
        return error::write_error_around(out, "ERR ", attribute, " is too long");
    }
    *place = value.into();
    reply::ok(out);
}

/// The text, if all of it is printable ASCII without blanks.
fn printable(bytes: &[u8]) -> Option<&str> {
    if !bytes.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

fn switch(word: &[u8]) -> Option<bool> {
    if word.eq_ignore_ascii_case(b"on") {
        Some(true)
    } else if word.eq_ignore_ascii_case(b"off") {
        Some(false)
    } else {
        None
    }
}

// To leave out replies is not in the power of whoever writes them: the proxy would have to.
fn set_reply(mode: &[u8], out: &mut Vec<u8>) {
    if mode.eq_ignore_ascii_case(b"on") {
        reply::ok(out);
    } else if mode.eq_ignore_ascii_case(b"off") || mode.eq_ignore_ascii_case(b"skip") {
        error::write_error(out, error::NOT_SUPPORTED);
    } else {
        error::write_error(out, error::SYNTAX);
    }
}

// It never is on.
fn set_tracking(words: Words<'_>, out: &mut Vec<u8>) {
    let are_flags = words.from(3).all(|word| is_one_of(word, &["bcast", "optin", "optout", "noloop"]));
    match switch(words.at(2)) {
        Some(false) if are_flags => reply::ok(out),
        Some(true) => error::write_error(out, "ERR CLIENT TRACKING is not supported"),
        _ => error::write_error(out, error::SYNTAX),
    }
}

fn tracking_info(protocol: Protocol, out: &mut Vec<u8>) {
    reply::map(out, protocol, 3);
    reply::bulk(out, b"flags");
    reply::set(out, protocol, 1);
    reply::bulk(out, b"off");
    reply::bulk(out, b"redirect");
    reply::integer(out, -1);
    reply::bulk(out, b"prefixes");
    reply::array(out, 0);
}

fn unblock(words: Words<'_>, out: &mut Vec<u8>) {
    let reason = match words.len() {
        3 => None,
        4 => Some(words.at(3)),
        _ => {
            let before = "ERR unknown subcommand or wrong number of arguments for '";
            return error::write_error_around(out, before, words.at(1), "'. Try CLIENT HELP.");
        }
    };
    if reason.is_some_and(|reason| !is_one_of(reason, &["timeout", "error"])) {
        error::write_error(out, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    } else if integer(words.at(2)).is_none() {
        error::write_error(out, error::NOT_AN_INTEGER);
    } else {
        reply::integer(out, 0);
    }
}

fn list(words: Words<'_>, session: &Session, context: &Context<'_>, out: &mut Vec<u8>) {
    let lines = match words.len() {
        2 => 1,
        4 if words.at(2).eq_ignore_ascii_case(b"type") => match is_own_type(words.at(3)) {
            Some(is_own) => usize::from(is_own),
            None => return error::write_error_around(out, "ERR Unknown client type '", words.at(3), "'"),
        },
        4.. if words.at(2).eq_ignore_ascii_case(b"id") => {
            let mut ids = words.from(3).map(integer);
            if ids.clone().any(|id| id.is_none()) {
                return error::write_error(out, "ERR Invalid client ID");
            }
            // Once, where Redis repeats the line as often as it is asked for: a request of a million numbers would
            // make a reply of half a gigabyte.
            usize::from(ids.any(|id| id == Some(context.client_id as i64)))
        }
        _ => return error::write_error(out, error::SYNTAX),
    };
    let line = if lines == 0 { String::new() } else { line_of(session, context, "list") };
    reply::verbatim(out, session.profile.protocol, &line);
}

/// The client as `CLIENT LIST` of Redis 7.2 shows it; what rmux does not count is 0, and a client that it does not know
/// the address of comes from where it arrived, as every client of a Unix socket does.
fn line_of(session: &Session, context: &Context<'_>, subcommand: &str) -> String {
    let Profile { database, protocol } = session.profile;
    let listen = context.listen;
    let is_unix = is_path(listen);
    format!(
        "id={id} addr={listen}{port} laddr={listen}{port} fd=-1 name={name} age={age} idle=0 flags={flags} \
         db={database} sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 \
         oll=0 omem=0 tot-mem=0 events=r cmd=client|{subcommand} user={user} redir=-1 resp={resp} \
         lib-name={library} lib-ver={version}\n",
        id = context.client_id,
        port = if is_unix { ":0" } else { "" },
        name = session.name,
        age = context.age_ms / 1000,
        flags = if is_unix { "U" } else { "N" },
        user = String::from_utf8_lossy(auth::DEFAULT_USER),
        resp = if protocol == Protocol::Resp3 { 3 } else { 2 },
        library = session.library,
        version = session.library_version,
    )
}

/// A Unix socket, rather than a host and a port.
fn is_path(listen: &str) -> bool {
    listen.contains('/')
}

/// The address as `line_of` shows it.
fn is_own_address(address: &[u8], listen: &str) -> bool {
    let rest = address.strip_prefix(listen.as_bytes());
    rest.is_some_and(|rest| rest == if is_path(listen) { &b":0"[..] } else { b"" })
}

/// Whether clients of this type are what the client is; `None` for a type that does not exist.
fn is_own_type(name: &[u8]) -> Option<bool> {
    if name.eq_ignore_ascii_case(b"normal") {
        Some(true)
    } else if is_one_of(name, &["master", "replica", "slave", "pubsub"]) {
        Some(false)
    } else {
        None
    }
}

fn is_one_of(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
}

// A client may close nobody but itself, and even that only when it says so in as many words.
fn kill(words: Words<'_>, context: &Context<'_>, out: &mut Vec<u8>) -> Outcome {
    if words.len() == 3 {
        if !is_own_address(words.at(2), context.listen) {
            error::write_error(out, "ERR No such client");
            return Outcome::Reply;
        }
        reply::ok(out);
        return Outcome::ReplyAndLeave;
    }
    let Some(is_own) = is_own_by_filters(words, context, out) else {
        return Outcome::Reply;
    };
    reply::integer(out, i64::from(is_own));
    if is_own { Outcome::ReplyAndLeave } else { Outcome::Reply }
}

/// Whether all filters of a CLIENT KILL select the client, and it does not skip itself; `None` when the error of one
/// of them is written.
fn is_own_by_filters(words: Words<'_>, context: &Context<'_>, out: &mut Vec<u8>) -> Option<bool> {
    let mut is_own = true;
    let mut skips_own = true;
    let mut filters = words.from(2);
    while let Some(filter) = filters.next() {
        let Some(value) = filters.next() else {
            error::write_error(out, error::SYNTAX);
            return None;
        };
        if filter.eq_ignore_ascii_case(b"id") {
            let Some(id) = integer(value).filter(|id| *id > 0) else {
                error::write_error(out, "ERR client-id should be greater than 0");
                return None;
            };
            is_own &= id == context.client_id as i64;
        } else if filter.eq_ignore_ascii_case(b"type") {
            let Some(is_own_type) = is_own_type(value) else {
                error::write_error_around(out, "ERR Unknown client type '", value, "'");
                return None;
            };
            is_own &= is_own_type;
        } else if is_one_of(filter, &["addr", "laddr"]) {
            is_own &= is_own_address(value, context.listen);
        } else if filter.eq_ignore_ascii_case(b"user") {
            if value != auth::DEFAULT_USER {
                error::write_error_around(out, "ERR No such user '", value, "'");
                return None;
            }
        } else if filter.eq_ignore_ascii_case(b"skipme") && is_one_of(value, &["yes", "no"]) {
            skips_own = value.eq_ignore_ascii_case(b"yes");
        } else {
            error::write_error(out, error::SYNTAX);
            return None;
        }
    }
    Some(is_own && !skips_own)
}

fn help(out: &mut Vec<u8>) {
    reply::array(out, HELP.len());
    for line in HELP {
        reply::simple(out, line);
    }
}

/// What Redis says to `CLIENT CACHING` while tracking is off, as it always is here.
const NO_CACHING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
                          OPTOUT mode enabled";

const HELP: [&str; 19] = [
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current connection.",
    "LIST [TYPE <type> | ID <id> [<id> ...]]",
    "    The same, if it is of that type or has one of those IDs.",
    "NO-EVICT, NO-TOUCH (ON|OFF)",
    "    Accepted, without effect.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Tell the name or the version of the client's library.",
    "SETNAME <name>",
    "    Name the current connection.",
    "TRACKINGINFO, GETREDIR",
    "    Tracking is off.",
    "HELP",
    "    Print this help.",
];
