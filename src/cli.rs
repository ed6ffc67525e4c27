//! argv → what to do: print something, check a configuration, or serve it.
//!
//! Flags are written as Go programs take them, as the original was one: `-flag=value`, `-flag value`, the same with two
//! dashes; a boolean may stand alone, and takes its value only with `=`. Of a flag given twice, the last counts. `--`
//! ends the flags, and nothing may follow: rmux takes no other arguments.
//!
//! getopts does the splitting, the key table of the configuration says which flags there are; this file knows neither
//! their kinds nor their ranges. It also writes the help, from the same table. It prints nothing itself.
//!
//! `-help` wins over `-version`, and both win over whatever else is wrong with a known flag's value. Of what asks for
//! something else than serving, `-key` wins over `-test`, that over `-healthcheck`, and
//! that over `-top`.
//!
//! All is text but the keys of `-key`, which are any bytes.

mod arguments;

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use getopts::{Fail, HasArg, Matches, Occur, Options, ParsingStyle};

use crate::cluster::SlotMap;
use crate::config::{self, Group, KEYS, Key, Loaded, Placements, Scope, diff, nearest};
use arguments::Arguments;

/// What the arguments ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Print this text, which ends with a line feed, and exit with 0.
    Print(String),
    /// The configuration is right, and it was only to be checked: print [`summary`] and exit with 0.
    Check(Loaded),
    /// Print [`placements`] of these keys and exit with 0.
    Locate(Loaded, Vec<Vec<u8>>),
    /// Ask the rmux that serves this configuration whether it answers, and exit with 0 if it does, else with 1.
    Healthcheck(Loaded),
    /// Show how the rmux does whose admin endpoint is in this configuration.
    Top(Loaded),
    /// Serve this configuration.
    Serve(Loaded),
}

/// Arguments that are refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// No such flag; and the one that was probably meant.
    UnknownFlag(String, Option<&'static str>),
    /// A key of the file that is no flag; true when that is so because its value is a secret.
    FileOnly(&'static str, bool),
    /// The last argument is a flag that needs a value.
    MissingValue(String),
    /// Not a flag.
    StrayArgument(String),
    /// Not text.
    NotUnicode(OsString),
    /// The value of a flag, or the file.
    Config(config::Error),
}

/// Reads the arguments (without the program's own name), and the configuration file that they name.
///
/// # Errors
///
/// The first thing that is wrong; its `Display` is one line.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Action, Error> {
    let arguments = Arguments::new(args);
    let texts = arguments.texts();
    let not_unicode = |piece: &str| arguments.not_unicode(piece).cloned().map(Error::NotUnicode);
    let matches = options().parse(&texts).map_err(|fail| refuse(fail, not_unicode))?;
    if let Some(stray) = matches.free.first() {
        return Err(not_unicode(stray).unwrap_or_else(|| Error::StrayArgument(stray.clone())));
    }
    let flags: Vec<(&'static Key, String)> =
        KEYS.iter().filter(|key| key.is_flag()).filter_map(|key| Some((key, last_value(&matches, key)?))).collect();
    for (key, _) in flags.iter().filter(|(key, _)| key.name != KEY_FLAG) {
        if let Some(error) = matches.opt_strs(key.name).iter().find_map(|text| not_unicode(text)) {
            return Err(error);
        }
    }

    let is_on = |name: &str| flags.iter().any(|(key, text)| key.name == name && key.is_on(text));
    if is_on("help") {
        return Ok(Action::Print(help()));
    }
    if is_on("version") {
        return Ok(Action::Print(format!("rmux {}\n", env!("CARGO_PKG_VERSION"))));
    }
    let loaded = config::load(&flags).map_err(Error::Config)?;
    let redis_keys: Vec<Vec<u8>> = matches.opt_strs(KEY_FLAG).iter().map(|text| arguments.bytes_of(text)).collect();
    Ok(match &loaded {
        _ if !redis_keys.is_empty() => Action::Locate(loaded, redis_keys),
        Loaded { test: true, .. } => Action::Check(loaded),
        Loaded { healthcheck: true, .. } => Action::Healthcheck(loaded),
        Loaded { top: true, .. } => Action::Top(loaded),
        _ => Action::Serve(loaded),
    })
}

/// What `-test` prints when all is well: one line, one for each of these facts, and with `-against` one for each
/// change, without the last line feed.
pub fn summary(loaded: &Loaded, facts: &[String]) -> String {
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let pools = &loaded.config.pools;
    let servers = pools.iter().map(|pool| pool.servers.len()).sum();
    let mut text = format!("configuration ok: {}, {}", count(pools.len(), "pool"), count(servers, "server"));
    facts.iter().for_each(|fact| text.push_str(&format!("\n{fact}")));
    let Some(old) = &loaded.against else { return text };
    let changes = diff(old, &loaded.config);
    match changes.len() {
        0 => text.push_str("\nno changes"),
        number => text.push_str(&format!("\n{}:", count(number, "change"))),
    }
    changes.iter().for_each(|change| text.push_str(&format!("\n{change}")));
    text
}

/// What `-key` prints: a table, without its last line feed. `maps` has, for the pools in their order, who has which
/// slot of its cluster, as far as that is known.
pub fn placements(loaded: &Loaded, maps: &[Option<Arc<SlotMap>>], redis_keys: &[Vec<u8>]) -> String {
    Placements::new(&loaded.config, maps, redis_keys).to_string()
}

/// The text of `-help`: every flag with its unit and default, no line longer than 100 columns.
pub fn help() -> String {
    let mut text = format!("rmux {}: {}\n\n", env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_DESCRIPTION"));
    text.push_str("usage: rmux [-flag=value] [-flag value] [-switch] ...\n");
    for (group, title) in HEADINGS {
        text.push_str(&format!("\n{title}:\n"));
        for key in KEYS.iter().filter(|key| key.group == group) {
            push_entry(&mut text, key);
        }
    }
    text.push_str(AFTERWORD);
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::UnknownFlag(name, Some(likely)) => {
                write!(f, "unknown flag -{name:.200}: did you mean -{likely}?")
            }
            Error::UnknownFlag(name, None) => {
                write!(f, "unknown flag -{name:.200}: rmux -help lists the flags")
            }
            Error::FileOnly(name, true) => {
                write!(f, "{name} is a key of the file, and no flag: the list of processes would show it")
            }
            Error::FileOnly(name, false) => write!(f, "{name} is a key of the file, and no flag"),
            Error::MissingValue(name) => write!(f, "-{name} needs a value: -{name}=VALUE"),
            Error::StrayArgument(text) => write!(
                f,
                "unexpected argument {text:.200?}: every argument is a -flag or its value; a switch is turned off as \
                 -failover=false"
            ),
            Error::NotUnicode(argument) => write!(f, "argument {argument:?} is not valid UTF-8"),
            Error::Config(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

fn options() -> Options {
    let mut options = Options::new();
    options.long_only(true).parsing_style(ParsingStyle::StopAtFirstFree);
    for key in KEYS.iter().filter(|key| key.is_flag()) {
        // In getopts' long form, an optional value stands only behind `=`: exactly Go's booleans.
        let value = if key.is_switch() { HasArg::Maybe } else { HasArg::Yes };
        options.opt(key.alias, key.name, key.help, key.hint(), value, Occur::Multi);
    }
    options
}

/// The value of the flag's last occurrence; "true" for a switch that stands alone.
fn last_value(matches: &Matches, key: &Key) -> Option<String> {
    let position = matches.opt_positions(key.name).into_iter().max()?;
    let with_value = matches.opt_strs_pos(key.name).into_iter().find(|(other, _)| *other == position);
    Some(with_value.map_or_else(|| "true".to_owned(), |(_, text)| text))
}

fn refuse(fail: Fail, not_unicode: impl Fn(&str) -> Option<Error>) -> Error {
    match fail {
        Fail::ArgumentMissing(name) => Error::MissingValue(name),
        Fail::UnrecognizedOption(name)
        // The rest cannot happen: no flag is required, unique, or without the right to a value.
        | Fail::OptionMissing(name)
        | Fail::OptionDuplicated(name)
        | Fail::UnexpectedArgument(name) => {
            if let Some(error) = not_unicode(&name) {
                return error;
            }
            if let Some(key) = KEYS.iter().find(|key| key.name == name && !key.is_flag()) {
                return Error::FileOnly(key.name, key.is_secret());
            }
            let likely = nearest(&name, KEYS.iter().filter(|key| key.is_flag()).map(|key| key.name));
            Error::UnknownFlag(name.escape_debug().to_string(), likely)
        }
    }
}

fn push_entry(text: &mut String, key: &Key) {
    let dash = if key.is_flag() { "-" } else { "" };
    let mut left = format!("  {dash}{}", key.name);
    if !key.alias.is_empty() {
        left.push_str(&format!(", -{}", key.alias));
    }
    if !key.hint().is_empty() && !key.is_retired() {
        left.push_str(&format!(" {}", key.hint()));
    }
    let mut right = key.help.to_owned();
    // The ranges of the other groups are as wide as can be: only an error needs to tell them.
    let has_range = matches!(key.group, Group::Listening | Group::Servers) && !key.range().is_empty();
    // That a switch of the program is off goes without saying.
    let has_default = !key.default_text().is_empty() && key.scope == Scope::Pool;
    match (has_range, has_default) {
        (true, _) => right.push_str(&format!(" ({}; default {})", key.range(), key.default_text())),
        (false, true) => right.push_str(&format!(" (default {})", shown_default(key))),
        (false, false) => {}
    }
    push_wrapped(text, &left, &right);
}

/// The default as it is best read: words in quotes, large sizes in a larger unit as well.
fn shown_default(key: &Key) -> String {
    let text = key.default_text();
    if text.contains(' ') {
        return format!("\"{text}\"");
    }
    match text.parse::<u64>() {
        Ok(bytes) if key.hint() == "bytes" => {
            let (size, unit) = [(30, "GiB"), (20, "MiB"), (10, "KiB")]
                .into_iter()
                .map(|(shift, unit)| (bytes >> shift, unit))
                .find(|(size, _)| *size > 0)
                .unwrap_or((bytes, "bytes"));
            format!("{text}, {size} {unit}")
        }
        _ => text,
    }
}

/// One entry: the left part, then the words of the right part in a column of their own.
fn push_wrapped(text: &mut String, left: &str, right: &str) {
    let mut line = format!("{left:<HELP_COLUMN$}");
    let mut is_empty = true;
    for word in right.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > HELP_COLUMNS_MAX {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(HELP_COLUMN);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    text.push_str(&line);
    text.push('\n');
}

/// The flag that may be repeated, and whose values are bytes.
const KEY_FLAG: &str = "key";

/// Where the right part of an entry begins: behind the longest left part.
const HELP_COLUMN: usize = 34;

const HELP_COLUMNS_MAX: usize = 100;

const HEADINGS: [(Group, &str); 9] = [
    (Group::Listening, "Listening"),
    (Group::Servers, "Servers"),
    (Group::Access, "Users and passwords"),
    (Group::Tls, "TLS"),
    (Group::Commands, "Commands"),
    (Group::Timeouts, "Timeouts, in milliseconds"),
    (Group::Limits, "Limits, the most of each"),
    (Group::Program, "Program"),
    (Group::Retired, "Accepted from the original rmux, without effect"),
];

const AFTERWORD: &str = "
A list in a flag is separated by spaces: -tcpConnections=\"redis1:6379 redis2:6379\".
A switch is turned off with its value: -failover=false.

The flags of the first six groups are also keys of a pool in the file; those without a dash are
keys alone:
  [{\"socket\": \"/tmp/rmux.sock\", \"tcpConnections\": [\"redis1:6379\"], \"poolSize\": 50}, ...]
There, each pool must say where it listens, and have at least one server.

Exit codes: 0 done, 1 failed, 2 the arguments or the file are refused.
";
