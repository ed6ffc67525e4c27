//! AUTH and HELLO: who a client is, and which version of the protocol it speaks.
//!
//! Credentials never reach a server: Redis 7.2 to 8.9 loses the error reply of a failing AUTH behind other requests, and
//! every reply after it would be somebody else's. They are checked here, in one place for both commands
//! ([`may_enter`]), against the users of the configuration; while there are none, everyone is the default user, and
//! AUTH answers as a Redis without a password does.
//!
//! Invariant: HELLO takes effect as a whole or, when it answers with an error, not at all. Redis 7.0 acts on its options
//! one after the other: there, what stands before the mistake is done. From 7.2 on it reads all of them first, as here.

use super::{Context, Words, client_command, error, integer, reply};
use crate::client::{Protocol, Session};

/// The user that every connection begins as.
pub(super) const DEFAULT_USER: &[u8] = b"default";

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. \
                           Are you sure your configuration is correct?";

pub(super) fn auth(words: Words<'_>, out: &mut Vec<u8>) {
    match words.len() {
        2 => error::write_error(out, NO_PASSWORD),
        3 if may_enter(words.at(1), words.at(2)) => reply::ok(out),
        3 => error::write_error(out, WRONG_PASSWORD),
        0 | 1 => error::wrong_arity(out, "auth"),
        _ => error::write_error(out, error::SYNTAX),
    }
}

pub(super) fn hello(words: Words<'_>, session: &mut Session, context: &Context<'_>, out: &mut Vec<u8>) {
    let mut protocol = session.profile.protocol;
    if words.len() > 1 {
        protocol = match integer(words.at(1)) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            // The one text on which every client that can falls back to RESP2.
            Some(_) => return error::write_error(out, "NOPROTO unsupported protocol version"),
            None => return error::write_error(out, "ERR Protocol version is not an integer or out of range"),
        };
    }
    let mut credentials = None;
    let mut name = None;
    let mut options = words.from(2);
    while let Some(option) = options.next() {
        let mut values = options.clone();
        if option.eq_ignore_ascii_case(b"auth") {
            if let (Some(user), Some(password)) = (values.next(), values.next()) {
                credentials = Some((user, password));
                options = values;
                continue;
            }
        } else if option.eq_ignore_ascii_case(b"setname") {
            if let Some(value) = values.next() {
                let Some(value) = client_command::checked_name(value, out) else {
                    return;
                };
                name = Some(value);
                options = values;
                continue;
            }
        }
        return error::write_error_around(out, "ERR Syntax error in HELLO option '", option, "'");
    }
    if credentials.is_some_and(|(user, password)| !may_enter(user, password)) {
        return error::write_error(out, WRONG_PASSWORD);
    }
    if let Some(name) = name {
        session.name = name.into();
    }
    session.profile.protocol = protocol;
    welcome(protocol, context, out);
}

/// True exactly when this user may come in with this password.
fn may_enter(user: &[u8], _password: &[u8]) -> bool {
    // No users are configured: the default user has no password, so any will do, and there is no other user.
    user == DEFAULT_USER
}

fn welcome(protocol: Protocol, context: &Context<'_>, out: &mut Vec<u8>) {
    reply::map(out, protocol, 7);
    reply::bulk(out, b"server");
    reply::bulk(out, b"redis");
    reply::bulk(out, b"version");
    reply::bulk(out, context.server_version.as_bytes());
    reply::bulk(out, b"proto");
    reply::integer(out, if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply::bulk(out, b"id");
    reply::integer(out, context.client_id as i64);
    reply::bulk(out, b"mode");
    reply::bulk(out, b"standalone");
    reply::bulk(out, b"role");
    reply::bulk(out, b"master");
    reply::bulk(out, b"modules");
    reply::array(out, 0);
}
