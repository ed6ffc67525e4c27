//! CLIENT with its subcommands: what a client tells about itself, and asks about itself.
//!
//! Names and numbers are rmux's own: a server would tell those of a connection that the client shares with others. Whom
//! `CLIENT LIST`, `CLIENT KILL` and `CLIENT UNBLOCK` mean is `roster`'s business. What would bind a shared connection,
//! or stop all others, is refused; `MAINT_NOTIFICATIONS` must be unknown, or clients wait for messages that name
//! servers which they cannot reach.
//!
//! Invariant: nothing that is kept in the session is longer than [`NAME_BYTES_MAX`], and all of it is printable ASCII
//! without blanks, so that no client can write fields of its own choice into `CLIENT LIST`.

use super::context::{Context, Outcome};
use super::roster::{self, ClientFacts};
use super::words::{Words, is_one_of};
use crate::command::Name;
use crate::reply::{self, error};
use crate::session::{Protocol, ReplyMode, Session};

/// The longest name, library or version that is kept, in bytes. Redis has no limit but that of a request, which would
/// let each client hold half a gigabyte for as long as it is connected.
const NAME_BYTES_MAX: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subcommand {
    /// What a client can do, of which no server behind rmux makes use: Valkey sends redirections to those that say so.
    Capabilities,
    Caching,
    GetName,
    GetRedirection,
    Help,
    Id,
    /// Valkey's, for whoever brings data from elsewhere: it would show this connection keys that have expired.
    ImportSource,
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

/// Name and arity, as Redis 7.2 has them, or Valkey 9: both words counted, negative for at least so many.
const SUBCOMMANDS: [(&str, i8, Subcommand); 20] = [
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
    ("capa", -3, Subcommand::Capabilities),
    ("import-source", 3, Subcommand::ImportSource),
    ("caching", 3, Subcommand::Caching),
    ("getredir", 2, Subcommand::GetRedirection),
    ("kill", -3, Subcommand::Kill),
    ("unblock", -3, Subcommand::Unblock),
    ("pause", -3, Subcommand::Pause),
    ("unpause", 2, Subcommand::Pause),
    ("help", 2, Subcommand::Help),
];

/// The subcommand that is meant; if there is none, or not with so many arguments, the error is written.
fn subcommand(words: Words<'_>, out: &mut Vec<u8>) -> Option<Subcommand> {
    if words.len() < 2 {
        error::wrong_arity(out, "client");
        return None;
    }
    let asked = words.at(1);
    let Some((name, arity, subcommand)) =
        SUBCOMMANDS.iter().find(|(name, ..)| name.as_bytes().eq_ignore_ascii_case(asked))
    else {
        error::unknown_subcommand(out, b"client", asked);
        return None;
    };
    let least = usize::from(arity.unsigned_abs());
    if words.len() < least || (*arity > 0 && words.len() > least) {
        error::wrong_arity(out, format_args!("client|{name}"));
        return None;
    }
    Some(*subcommand)
}

/// Whether it is about all clients, and what it asks for is `roster`'s business.
pub(super) fn is_about_clients(words: Words<'_>) -> bool {
    let subcommand = subcommand(words, &mut Vec::new());
    matches!(subcommand, Some(Subcommand::List | Subcommand::Kill | Subcommand::Unblock))
}

/// Writes the error that Redis finds before it looks at a subcommand's arguments, if there is one.
pub(super) fn refuse(words: Words<'_>, out: &mut Vec<u8>) {
    subcommand(words, out);
}

pub(super) fn answer(words: Words<'_>, session: &mut Session, context: &Context<'_>, out: &mut Vec<u8>) -> Outcome {
    let Some(subcommand) = subcommand(words, out) else { return Outcome::Reply };
    let protocol = session.profile.protocol;
    match subcommand {
        Subcommand::Id => reply::integer(out, context.client_id as i64),
        Subcommand::GetName if session.name.is_empty() => reply::null(out, protocol),
        Subcommand::GetName => reply::bulk(out, session.name.as_bytes()),
        Subcommand::SetName => set_name(words.at(2), session, out),
        Subcommand::SetInfo => set_info(words.at(2), words.at(3), session, out),
        Subcommand::Info => info(session, context, out),
        Subcommand::List | Subcommand::Kill | Subcommand::Unblock => return Outcome::Pool,
        Subcommand::NoEvictNoTouch => match switch(words.at(2)) {
            Some(_) => reply::ok(out),
            None => error::write_error(out, error::SYNTAX),
        },
        Subcommand::Reply => return set_reply(words.at(2), session, out),
        Subcommand::Tracking => set_tracking(words, out),
        Subcommand::TrackingInfo => tracking_info(protocol, out),
        Subcommand::Capabilities => reply::ok(out),
        Subcommand::ImportSource => match switch(words.at(2)) {
            Some(false) => reply::ok(out),
            Some(true) => error::write_error(out, error::NOT_SUPPORTED),
            None => error::write_error(out, error::SYNTAX),
        },
        Subcommand::Caching => error::write_error(out, NO_CACHING),
        Subcommand::GetRedirection => reply::integer(out, -1),
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
    let is_name = attribute.eq_ignore_ascii_case(b"lib-name");
    if !is_name && !attribute.eq_ignore_ascii_case(b"lib-ver") {
        return error::write_error_around(out, "ERR Unrecognized option '", attribute, "'");
    }
    let Some(value) = printable(value) else {
        let behind = " cannot contain spaces, newlines or special characters.";
        return error::write_error_around(out, "ERR ", attribute, behind);
    };
    if value.len() > NAME_BYTES_MAX {
        return error::write_error_around(out, "ERR ", attribute, " is too long");
    }
    if is_name {
        let version = session.library().1.to_owned();
        session.set_library(value, &version);
    } else {
        let name = session.library().0.to_owned();
        session.set_library(&name, value);
    }
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

// To leave out replies is the business of whoever delivers them.
fn set_reply(mode: &[u8], session: &mut Session, out: &mut Vec<u8>) -> Outcome {
    if mode.eq_ignore_ascii_case(b"on") {
        session.reply_mode = ReplyMode::On;
        reply::ok(out);
        return Outcome::Reply;
    }
    if mode.eq_ignore_ascii_case(b"off") {
        session.reply_mode = ReplyMode::Off;
    } else if !mode.eq_ignore_ascii_case(b"skip") {
        error::write_error(out, error::SYNTAX);
        return Outcome::Reply;
    } else if session.reply_mode != ReplyMode::Off {
        session.reply_mode = ReplyMode::SkipNext;
    }
    Outcome::Silence
}

fn info(session: &Session, context: &Context<'_>, out: &mut Vec<u8>) {
    let facts = ClientFacts {
        id: context.client_id,
        peer: context.peer,
        listen: context.listen,
        age_ms: context.age_ms,
        idle_ms: 0,
        session,
        user: context.users.name(session.user),
        heard: context.heard,
        is_blocked: false,
        queued: None,
        memory: context.memory,
        is_unwritable: false,
        command: Some(Name::new("client", "info")),
    };
    let mut line = Vec::new();
    roster::write_line(&mut line, &facts);
    reply::verbatim(out, session.profile.protocol, &line);
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

fn help(out: &mut Vec<u8>) {
    reply::array(out, HELP.len());
    for line in HELP {
        reply::simple(out, line);
    }
}

/// What Redis says to `CLIENT CACHING` while tracking is off, as it always is here.
const NO_CACHING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
                          OPTOUT mode enabled";

const HELP: [&str; 29] = [
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CAPA <capability> [<capability> ...]",
    "    Accepted, without effect.",
    "GETNAME",
    "    Return the name of the current connection.",
    "ID",
    "    Return the ID of the current connection.",
    "IMPORT-SOURCE (ON|OFF)",
    "    Only OFF is accepted: it would be about a connection that others share.",
    "INFO",
    "    Return information about the current connection.",
    "KILL <addr> | <option> <value> ...",
    "    Close the clients that are selected by ADDR, ID, LADDR, MAXAGE, TYPE, USER; SKIPME (YES|NO).",
    "LIST [TYPE <type> | ID <id> [<id> ...]]",
    "    Return information about the clients of this pool: all, or those of a type, or with these IDs.",
    "NO-EVICT, NO-TOUCH (ON|OFF)",
    "    Accepted, without effect.",
    "REPLY (ON|OFF|SKIP)",
    "    Have all requests answered, or none, or not the next one.",
    "SETINFO (LIB-NAME|LIB-VER) <value>",
    "    Tell the name or the version of the client's library.",
    "SETNAME <name>",
    "    Name the current connection.",
    "TRACKINGINFO, GETREDIR",
    "    Tracking is off.",
    "UNBLOCK <client-id> [TIMEOUT|ERROR]",
    "    End the wait of a client that is blocked by BLPOP or its like.",
    "HELP",
    "    Print this help.",
];
