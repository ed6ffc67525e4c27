//! AUTH and HELLO: who a client is, and which version of the protocol it speaks.
//!
//! Credentials never reach a server: Redis 7.2 to 8.9 loses the error reply of a failing AUTH behind other requests,
//! and every reply after it would be somebody else's. They are checked here, in one place for both commands
//! ([`Users::enter`](crate::users::Users::enter)), against the users of the configuration; while there are none,
//! everyone is the default user, and AUTH answers as a Redis without a password does. A client that fails to become
//! somebody else stays who it is.
//!
//! Invariant: HELLO takes effect as a whole or, when it answers with an error, not at all. Redis 7.0 acts on its
//! options one after the other: there, what stands before the mistake is done. From 7.2 on it reads all of them first,
//! as here.

use super::client_command;
use super::context::{Context, Outcome};
use super::words::Words;
use crate::backend::handshake::Introduction;
use crate::command::integer;
use crate::reply::{self, error};
use crate::resp::elements::Elements;
use crate::session::{Protocol, Session};
use crate::users::{self, UserId};

pub(super) const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. \
                           Are you sure your configuration is correct?";

/// What a client that is nobody hears from HELLO; Redis 7.0 leaves out `<proto>`.
const NO_AUTH_IN_HELLO: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
                                <proto> AUTH <user> <pass> option can be used to authenticate the client and select \
                                the RESP protocol version at the same time";

pub(super) fn auth(words: Words<'_>, session: &mut Session, context: &Context<'_>, out: &mut Vec<u8>) -> Outcome {
    let (user, password) = match words.len() {
        2 if context.users.is_open() => return refuse(out, NO_PASSWORD),
        2 => (None, words.at(1)),
        3 => (Some(1), words.at(2)),
        0 | 1 => {
            error::wrong_arity(out, "auth");
            return Outcome::Reply;
        }
        _ => return refuse(out, error::SYNTAX),
    };
    match context.users.enter(user.map_or(users::DEFAULT.as_bytes(), |index| words.at(index)), password) {
        Some(user) => {
            session.user = user;
            reply::ok(out);
            Outcome::Reply
        }
        None => deny(out, context, user),
    }
}

/// Where there is no password, nobody can guess one.
fn deny(out: &mut Vec<u8>, context: &Context<'_>, user: Option<usize>) -> Outcome {
    error::write_error(out, WRONG_PASSWORD);
    if context.users.is_open() { Outcome::Reply } else { Outcome::Denied { user } }
}

fn refuse(out: &mut Vec<u8>, text: &str) -> Outcome {
    error::write_error(out, text);
    Outcome::Reply
}

pub(super) fn hello(words: Words<'_>, session: &mut Session, context: &Context<'_>, out: &mut Vec<u8>) -> Outcome {
    let mut protocol = session.profile.protocol;
    if words.len() > 1 {
        protocol = match integer(words.at(1)) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            // The one text on which every client that can falls back to RESP2.
            Some(_) => return refuse(out, "NOPROTO unsupported protocol version"),
            None => return refuse(out, "ERR Protocol version is not an integer or out of range"),
        };
    }
    let mut credentials = None;
    let mut name = None;
    let mut options = words.from(2).zip(2..);
    while let Some((option, _)) = options.next() {
        let mut values = options.clone();
        if option.eq_ignore_ascii_case(b"auth") {
            if let (Some(user), Some((password, _))) = (values.next(), values.next()) {
                credentials = Some((user, password));
                options = values;
                continue;
            }
        } else if option.eq_ignore_ascii_case(b"setname") {
            if let Some((value, _)) = values.next() {
                let Some(value) = client_command::checked_name(value, out) else {
                    return Outcome::Reply;
                };
                name = Some(value);
                options = values;
                continue;
            }
        }
        error::write_error_around(out, "ERR Syntax error in HELLO option '", option, "'");
        return Outcome::Reply;
    }
    let mut user = session.user;
    if let Some(((name, index), password)) = credentials {
        match context.users.enter(name, password) {
            Some(entered) => user = entered,
            None => return deny(out, context, Some(index)),
        }
    }
    if user == UserId::NOBODY {
        return refuse(out, NO_AUTH_IN_HELLO);
    }
    session.user = user;
    if let Some(name) = name {
        session.name = name.into();
    }
    session.profile.protocol = protocol;
    welcome(protocol, context, out);
    Outcome::Reply
}

fn welcome(protocol: Protocol, context: &Context<'_>, out: &mut Vec<u8>) {
    reply::map(out, protocol, 7);
    reply::bulk(out, b"server");
    reply::bulk(out, context.introduction.server.as_bytes());
    reply::bulk(out, b"version");
    reply::bulk(out, context.introduction.version.as_bytes());
    reply::bulk(out, b"proto");
    reply::integer(out, if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply::bulk(out, b"id");
    reply::integer(out, context.client_id as i64);
    reply::bulk(out, b"mode");
    reply::bulk(out, if context.announced.is_some() { b"cluster" } else { b"standalone" });
    reply::bulk(out, b"role");
    reply::bulk(out, b"master");
    reply::bulk(out, b"modules");
    modules(protocol, context.introduction, out);
}

/// The list of modules, as the server tells it, though that may have been in the other version of the protocol: there a
/// module's fields are an array.
fn modules(protocol: Protocol, introduction: &Introduction, out: &mut Vec<u8>) {
    let Some(modules) = Elements::of(&introduction.modules) else { return reply::array(out, 0) };
    reply::array(out, modules.left() as usize);
    for module in modules {
        match Elements::of(module) {
            Some(fields) => {
                reply::map(out, protocol, fields.left() as usize / 2);
                out.extend_from_slice(fields.rest());
            }
            None => out.extend_from_slice(module),
        }
    }
}
