//! What can be wrong with a configuration, and where: always one line.
//!
//! ```text
//! /etc/rmux.json: pool 2 (/run/b.sock): poolSize: 0 is out of range: allowed is 1 to 10000 connections
//! └── file ─────┘ └─ index and listener ┘ └─ key ┘ └─ value and problem ──── └─ what is allowed
//! -poolSize: 0 is out of range: allowed is 1 to 10000 connections
//! ```
//!
//! Knows how to say it; does not know the rules. Whatever the user wrote is shown with its control characters escaped
//! and cut at a length that fits a line, so an error can never become two lines, nor a screenful.

use std::fmt::{self, Write as _};

use crate::command::Objection;

/// A configuration that is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Error {
    /// Boxed, so that every result on the way up stays small.
    place: Box<Place>,
    problem: Problem,
}

impl Error {
    pub(crate) fn new(place: Place, problem: Problem) -> Error {
        Error { place: Box::new(place), problem }
    }
}

/// Where it is wrong, as narrowly as is known.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Place {
    /// The configuration file; `None` for flags.
    pub(crate) file: Option<String>,
    /// The pool's place in the file, from 1, and where it listens if that much is known.
    pub(crate) pool: Option<(usize, Option<String>)>,
    /// The key (in a file) or flag.
    pub(crate) key: Option<String>,
}

impl Place {
    /// The same place, at this key of it.
    pub(crate) fn at(&self, key: &str) -> Place {
        Place { key: Some(key.to_owned()), ..self.clone() }
    }
}

/// What is wrong there. Values are held as they will be shown.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Problem {
    Unreadable(String),
    FileTooLarge(u64),
    Syntax(String),
    NotPools {
        found: String,
    },
    NoPools,
    PoolNotObject {
        found: String,
    },
    UnknownKey {
        value: String,
        likely: Option<&'static str>,
    },
    /// It is a flag of the program, and was given as a key of one pool.
    FlagOnly,
    GivenTwice {
        value: String,
    },
    WrongKind {
        value: String,
        wanted: String,
    },
    OutOfRange {
        value: String,
        allowed: String,
    },
    /// An address, host or path that cannot be one; the reason says what to write.
    BadAddress {
        value: String,
        reason: &'static str,
    },
    /// A file's pool with neither `socket` nor `host` nor `port`.
    NoListener,
    NoServer,
    /// Sentinels, and no master that they are asked for.
    NoMaster,
    TooManyServers {
        count: usize,
        max: usize,
    },
    /// It means nothing without another one.
    Needs {
        key: &'static str,
    },
    /// A pool that would be its own server.
    OwnAddress {
        address: String,
    },
    /// Another pool, named by its index, listens there already.
    AddressTaken {
        address: String,
        by: usize,
        /// Where that one listens, in its own spelling.
        taken: String,
    },
    PauseAboveLimit {
        pause: usize,
        limit: usize,
    },
    /// A key of one object in a list, or the object itself.
    Entry {
        number: usize,
        key: Option<String>,
        reason: String,
    },
    /// The reason names the file or the variable, and never the password.
    BadPassword {
        reason: String,
    },
    /// The reason names the file.
    BadFile {
        reason: String,
    },
    NotWith {
        key: &'static str,
    },
    /// TLS where clients come in through a Unix socket.
    TlsOnSocket,
    TwoPasswords {
        other: &'static str,
    },
    /// A user without the password that goes with it.
    NoPassword {
        file: &'static str,
        variable: &'static str,
    },
    NoUsers,
    BadUser {
        name: String,
        reason: &'static str,
    },
    BadCommand {
        name: String,
        objection: Objection,
        likely: Option<String>,
    },
    AllowedAndDenied {
        name: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.problem)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}: ", Plain(file))?;
        }
        match &self.pool {
            Some((index, Some(listen))) => write!(f, "pool {index} ({}): ", Plain(listen))?,
            Some((index, None)) => write!(f, "pool {index}: ")?,
            None => {}
        }
        let dash = if self.file.is_some() { "" } else { "-" };
        match &self.key {
            Some(key) => write!(f, "{dash}{}: ", Plain(key)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Problem::FileTooLarge(max) => write!(f, "is larger than {max} bytes: not a configuration"),
            Problem::Syntax(error) => write!(f, "is not valid JSON: {error}"),
            Problem::NotPools { found } => write!(f, "must be a list of pools, [{{...}}, ...], not {found}"),
            Problem::NoPools => f.write_str("the list of pools is empty: at least one is needed"),
            Problem::PoolNotObject { found } => write!(f, "must be an object, {{...}}, not {found}"),
            Problem::UnknownKey { value, likely: Some(key) } => {
                write!(f, "unknown key, with the value {value}: did you mean {key}?")
            }
            Problem::UnknownKey { value, likely: None } => {
                write!(f, "unknown key, with the value {value}: rmux -help lists the keys")
            }
            Problem::FlagOnly => f.write_str("is a flag of the program, not a key of a pool"),
            Problem::GivenTwice { value } => write!(f, "stands there a second time, with the value {value}"),
            Problem::WrongKind { value, wanted } => write!(f, "{value} is not {wanted}"),
            Problem::OutOfRange { value, allowed } => write!(f, "{value} is out of range: allowed is {allowed}"),
            Problem::BadAddress { value, reason } => write!(f, "{value} {reason}"),
            Problem::NoListener => f.write_str("says not where to listen: give socket, host or port"),
            Problem::NoServer => f.write_str("no server: give tcpConnections or unixConnections"),
            Problem::NoMaster => {
                f.write_str("no server is a master's name: write {\"master\": \"name\"} in tcpConnections")
            }
            Problem::TooManyServers { count, max } => write!(f, "{count} servers are too many: at most {max}"),
            Problem::Needs { key } => write!(f, "has no meaning without {key}: give both"),
            Problem::NotWith { key } => write!(f, "does not go with {key}: leave one of them out"),
            Problem::OwnAddress { address } => {
                write!(f, "{} is a server of this pool as well: it would connect to itself", Plain(address))
            }
            Problem::AddressTaken { address, by, taken } if address != taken => {
                write!(f, "{} is where pool {by} ({}) listens already", Plain(address), Plain(taken))
            }
            Problem::AddressTaken { address, by, .. } => {
                write!(f, "{} is where pool {by} listens already", Plain(address))
            }
            Problem::Entry { number, key: Some(key), reason } => write!(f, "entry {number}: {}: {reason}", Plain(key)),
            Problem::Entry { number, key: None, reason } => write!(f, "entry {number} {reason}"),
            Problem::BadPassword { reason } | Problem::BadFile { reason } => f.write_str(reason),
            Problem::TlsOnSocket => f.write_str("is for clients over TCP: give host and port in the place of socket"),
            Problem::TwoPasswords { other } => write!(f, "stands there besides {other}: one of them is enough"),
            Problem::NoPassword { file, variable } => write!(f, "needs a password: give {file} or {variable}"),
            Problem::NoUsers => f.write_str("the list is empty: leave it out to let everybody in"),
            Problem::BadUser { name, reason } => write!(f, "{name} {reason}"),
            Problem::BadCommand { name, objection, likely: Some(likely) } => {
                write!(f, "{name} {objection}: did you mean {likely}?")
            }
            Problem::BadCommand { name, objection, likely: None } => write!(f, "{name} {objection}"),
            Problem::AllowedAndDenied { name } => write!(f, "{name} is denied as well: say one of both"),
            Problem::PauseAboveLimit { pause, limit } => {
                write!(f, "{pause} is out of range: allowed is up to clientUnreadBytesMax, which is {limit} bytes")
            }
        }
    }
}

/// The user's own text without quotation marks, safe for one line.
pub(crate) struct Plain<'a>(pub(crate) &'a str);

/// The user's own text in quotation marks, safe for one line.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, letter) in self.0.chars().enumerate() {
            if count == SHOWN_MAX {
                return f.write_str("...");
            }
            if letter.is_control() {
                write!(f, "{}", letter.escape_default())?;
            } else {
                f.write_char(letter)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Plain(self.0))
    }
}

/// Characters of the user's text that are shown. A full path fits in most cases, a pasted file does not.
const SHOWN_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_whatever_the_user_wrote() {
        let place =
            Place { file: Some("/tmp/a\nb".to_owned()), pool: Some((3, Some("\u{1b}[2J".to_owned()))), key: None };
        let value = Quoted(&"x\r\n".repeat(5000)).to_string();
        let error = Error::new(place.at("po\nrt"), Problem::UnknownKey { value, likely: None });
        let line = error.to_string();
        assert!(line.starts_with(r"/tmp/a\nb: pool 3 (\u{1b}[2J): po\nrt: unknown key"), "{line}");
        assert!(line.ends_with("...\": rmux -help lists the keys"), "{line}");
        assert!(line.len() < 700, "{line}");
        assert!(!line.contains(char::is_control));
    }

    #[test]
    fn a_flag_is_named_with_its_dash() {
        let problem = Problem::OutOfRange { value: "0".to_owned(), allowed: "1 to 9".to_owned() };
        let error = Error::new(Place::default().at("poolSize"), problem);
        assert_eq!(error.to_string(), "-poolSize: 0 is out of range: allowed is 1 to 9");
    }
}
