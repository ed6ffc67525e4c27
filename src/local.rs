//! The replies that rmux gives itself: PING, ECHO, QUIT, SELECT, AUTH, HELLO, CLIENT, RESET, RMUX and their like.
//!
//! A client's session is virtual: what it selects, names and negotiates is written into its [`Session`] and
//! never reaches a backend of its own. Here a session command becomes a changed session and the bytes of its reply, in
//! the client's version of the protocol. `INFO` and `ROLE` are answered here only when there are several servers, whose
//! answers would contradict each other; with one server they are its business, as `COMMAND` always is.
//!
//! ```text
//!   request ─► answer ─┬─► Reply          reply appended to `out`, in its place behind what is outstanding
//!                      ├─► ReplyAndLeave  the same, and nothing more is read from this client
//!                      ├─► Denied         the same, but it is not in a hurry: the password was wrong
//!                      ├─► Silence        no reply: the client wants none
//!                      ├─► Pool           nothing appended: whoever knows all of the pool answers, with `roster`,
//!                      │                  `info` or `rmux_reply`
//!                      ├─► ForwardInstead no reply, but the request that a server answers in the place of this one
//!                      └─► Forward        nothing appended: a server answers
//! ```
//!
//! Knows no sockets, no backends, no clock, and no other client than the one that asks. Invariants: exactly one reply
//! is appended unless the outcome says that there is none; a reply that is an error has changed nothing in the session;
//! PING, ECHO and SELECT allocate nothing but room in `out`.
//!
//! Bytes and texts are those of Redis 7.0.15, recorded from its socket; `CLIENT SETINFO` and `CLIENT NO-TOUCH`, which
//! it does not have, are those of Redis 7.2. The caller has looked the command up and checked its arity; this file
//! checks again where a wrong one would otherwise be taken for something else.

pub mod info;
pub mod rmux_reply;
pub mod roster;
pub mod servers_info;

mod auth;
mod client_command;
mod cluster_lines;
mod cluster_node;
mod config_get;
mod context;
mod fields;
mod words;

pub use context::{Context, Outcome};

use crate::command::{self, integer};
use crate::reply::{self, error};
use crate::resp::Arg;
use crate::session::{Profile, ReplyMode, Session};
use words::Words;

/// Answers a session command: changes the client's session and appends the reply to `out`.
///
/// `args` are those of the whole request, the command's name first; `request` are its bytes. `INFO` and `ROLE` are
/// forwarded if there is one server only.
pub fn answer(
    what: command::Session,
    request: &[u8],
    args: &[Arg],
    session: &mut Session,
    context: &Context<'_>,
    out: &mut Vec<u8>,
) -> Outcome {
    let words = Words { request, args };
    match what {
        command::Session::Ping => ping(words, out),
        command::Session::Echo => echo(words, out),
        command::Session::Select => select(words, session, context, out),
        command::Session::Auth => return auth::auth(words, session, context, out),
        command::Session::Hello => return auth::hello(words, session, context, out),
        command::Session::Client => return client_command::answer(words, session, context, out),
        command::Session::ConfigGet if context.is_alone && config_get::ask(words, out) => {
            return Outcome::ForwardInstead;
        }
        command::Session::ConfigGet => config_get::answer(words, session.profile.protocol, context.is_alone, out),
        command::Session::AclWhoami => reply::bulk(out, context.users.name(session.user).as_bytes()),
        command::Session::ReadOnly if context.announced.is_some() => reply::ok(out),
        command::Session::ReadOnly => error::write_error(out, error::NO_CLUSTER),
        command::Session::Cluster => match context.announced {
            Some(address) => cluster_node::answer(words, session.profile.protocol, address, out),
            None => error::write_error(out, error::NO_CLUSTER),
        },
        command::Session::Reset => reset(session, context, out),
        command::Session::Quit => {
            reply::ok(out);
            return Outcome::ReplyAndLeave;
        }
        command::Session::Command => return Outcome::Forward,
        command::Session::Info | command::Session::Role if context.is_alone => return Outcome::Forward,
        command::Session::Rmux(command::Rmux::Help) => rmux_reply::help(out),
        command::Session::Info | command::Session::Rmux(_) => return Outcome::Pool,
        command::Session::Role => out.extend_from_slice(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
    }
    Outcome::Reply
}

/// Appends what a client is told that gave a wrong password.
pub fn write_denial(out: &mut Vec<u8>) {
    error::write_error(out, auth::WRONG_PASSWORD);
}

/// The request that the only server gets in the place of this `CONFIG GET` is appended to `out`; false if there is
/// nothing that it could be asked for.
pub fn ask_for_config(request: &[u8], args: &[Arg], out: &mut Vec<u8>) -> bool {
    config_get::ask(Words { request, args }, out)
}

/// What is wrong with a `CLIENT` command before its arguments are looked at: it is unknown, or their number is wrong.
/// Then the error is appended to `out`.
pub fn refuse_client_command(request: &[u8], args: &[Arg], out: &mut Vec<u8>) {
    client_command::refuse(Words { request, args }, out);
}

/// Whether this `CLIENT` command is about all clients of the pool.
pub fn is_about_clients(request: &[u8], args: &[Arg]) -> bool {
    client_command::is_about_clients(Words { request, args })
}

#[inline]
fn ping(words: Words<'_>, out: &mut Vec<u8>) {
    match words.len() {
        1 => out.extend_from_slice(b"+PONG\r\n"),
        2 => reply::bulk(out, words.at(1)),
        _ => error::wrong_arity(out, "ping"),
    }
}

#[inline]
fn echo(words: Words<'_>, out: &mut Vec<u8>) {
    match words.len() {
        2 => reply::bulk(out, words.at(1)),
        _ => error::wrong_arity(out, "echo"),
    }
}

// How many databases there are, only a server knows: any number that could be one is taken, and a number that is too
// high gets its error from the server with the first command that needs the database. Of a cluster it is known whether
// there is any but 0.
#[inline]
fn select(words: Words<'_>, session: &mut Session, context: &Context<'_>, out: &mut Vec<u8>) {
    if words.len() != 2 {
        return error::wrong_arity(out, "select");
    }
    let Some(number) = integer(words.at(1)) else {
        return error::write_error(out, error::NOT_AN_INTEGER);
    };
    if i32::try_from(number).is_err() {
        let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
        return error::write_error(out, text);
    }
    let Ok(database) = u32::try_from(number) else {
        return error::write_error(out, "ERR DB index is out of range");
    };
    if let Some(error) = context.select_error.filter(|_| database != 0) {
        return out.extend_from_slice(error);
    }
    session.profile.database = database;
    reply::ok(out);
}

// As Redis: the library that the connection was opened by stays what it is.
fn reset(session: &mut Session, context: &Context<'_>, out: &mut Vec<u8>) {
    session.profile = Profile::default();
    session.user = context.users.on_connect();
    session.reply_mode = ReplyMode::On;
    session.name = Box::default();
    out.extend_from_slice(b"+RESET\r\n");
}

/// Whether a command is refused to somebody who has not said who it is, and must; if so, the reply is written. What
/// lets somebody in, or out, is not.
///
/// As in Redis, what is wrong with the request as such is said first: that the command is unknown (the caller has seen
/// to that), and how many arguments it takes. `name` is the full name for that error.
pub fn refuse_nobody(command: &command::Command, name: impl std::fmt::Display, argc: usize, out: &mut Vec<u8>) -> bool {
    let is_door = matches!(
        command.class,
        command::Class::Session(
            command::Session::Auth | command::Session::Hello | command::Session::Quit | command::Session::Reset
        )
    );
    if !command.arity_allows(argc) {
        error::wrong_arity(out, name);
    } else if is_door {
        return false;
    } else {
        error::write_error(out, error::NO_AUTH);
    }
    true
}

#[cfg(test)]
mod tests;
