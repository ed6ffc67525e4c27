//! What a certificate says of itself, as far as a person wants to know: whose, from whom, for which names, until when.
//!
//! Decides nothing: whether it is to be trusted is rustls' business, which does not say this much. The bytes may come
//! from anybody: each length is checked, nothing is followed deeper than what is looked for, and what is shown is short
//! and printable.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What is shown of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    /// The common name of its owner, or what stands in the place of one.
    pub subject: String,
    /// The same of who has signed it.
    pub issuer: String,
    /// In seconds since 1970.
    pub from: i64,
    /// The last second in which it is good, in seconds since 1970.
    pub until: i64,
    /// The names and addresses that it is for; at most [`NAMES_MAX`].
    pub names: Vec<String>,
    /// Whether it says that it is an authority's.
    pub is_authority: bool,
}

impl Certificate {
    /// Reads one in DER; `None` if it is none.
    pub fn read(der: &[u8]) -> Option<Certificate> {
        let mut outer = der;
        let mut certificate = maybe(&mut outer, SEQUENCE)?;
        let mut fields = maybe(&mut certificate, SEQUENCE)?;
        // The version, if there is one; then the number, the algorithm.
        let _ = maybe(&mut fields, VERSION);
        maybe(&mut fields, INTEGER)?;
        maybe(&mut fields, SEQUENCE)?;
        let issuer = name(maybe(&mut fields, SEQUENCE)?);
        let mut validity = maybe(&mut fields, SEQUENCE)?;
        let (from, until) = (time(&mut validity)?, time(&mut validity)?);
        let subject = name(maybe(&mut fields, SEQUENCE)?);
        maybe(&mut fields, SEQUENCE)?;
        let mut certificate = Certificate { subject, issuer, from, until, names: Vec::new(), is_authority: false };
        while let Some((tag, mut body)) = any(&mut fields) {
            if tag == EXTENSIONS {
                certificate.read_extensions(maybe(&mut body, SEQUENCE)?);
            }
        }
        Some(certificate)
    }

    fn read_extensions(&mut self, mut extensions: &[u8]) {
        while let Some(mut extension) = maybe(&mut extensions, SEQUENCE) {
            let Some(id) = maybe(&mut extension, OBJECT_ID) else { return };
            // Whether it is critical is nothing that is shown.
            let _ = maybe(&mut extension, BOOLEAN);
            let Some(mut value) = maybe(&mut extension, OCTETS) else { return };
            let Some(mut value) = maybe(&mut value, SEQUENCE) else { continue };
            match id {
                BASIC_CONSTRAINTS => self.is_authority = maybe(&mut value, BOOLEAN).is_some_and(|is| is != [0]),
                ALTERNATIVE_NAMES => self.read_names(value),
                _ => {}
            }
        }
    }

    fn read_names(&mut self, mut names: &[u8]) {
        while let Some((tag, body)) = any(&mut names) {
            let name = match (tag, body.len()) {
                (DNS_NAME, _) => printable(body),
                (IP_ADDRESS, 4) => Ipv4Addr::from(<[u8; 4]>::try_from(body).unwrap_or_default()).to_string(),
                (IP_ADDRESS, 16) => Ipv6Addr::from(<[u8; 16]>::try_from(body).unwrap_or_default()).to_string(),
                _ => continue,
            };
            if self.names.len() < NAMES_MAX {
                self.names.push(name);
            }
        }
    }
}

/// A point in time as people write it, to the second, in UTC.
pub(super) fn date(seconds: i64) -> String {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March, counted in eras of 400 years (Howard Hinnant's civil_from_days).
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month, year) = (day - (153 * month + 2) / 5 + 1, month, year + era * 400);
    let (month, year) = if month < 10 { (month + 3, year) } else { (month - 9, year + 1) };
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Seconds since 1970 of a date in UTC.
fn seconds(year: i64, month: i64, day: i64, second: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day = (153 * month + 2) / 5 + day - 1;
    (era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468) * 86_400 + second
}

/// The next element, whatever it is: its tag and its bytes. `None` at the end, and where the bytes are no element.
fn any<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[tag, first], mut bytes) = rest.split_first_chunk::<2>()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        // The length stands in so many bytes: more than three are more than anybody sends.
        0x81..=0x83 => {
            let (length, after) = bytes.split_at_checked(usize::from(first & 0x7f))?;
            bytes = after;
            length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte))
        }
        _ => return None,
    };
    let (body, after) = bytes.split_at_checked(length)?;
    *rest = after;
    Some((tag, body))
}

/// The next element, if it has this tag.
fn maybe<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let mut after = *rest;
    let (_, body) = any(&mut after).filter(|(found, _)| *found == tag)?;
    *rest = after;
    Some(body)
}

/// The common name in a list of attributes; else the last unit or organization; else nothing, in words.
fn name(mut list: &[u8]) -> String {
    let mut found: Option<&[u8]> = None;
    while let Some(mut set) = maybe(&mut list, SET) {
        let Some(mut attribute) = maybe(&mut set, SEQUENCE) else { break };
        let id = maybe(&mut attribute, OBJECT_ID);
        let Some((_, value)) = any(&mut attribute) else { break };
        match id {
            Some(COMMON_NAME) => return printable(value),
            Some(ORGANIZATION | UNIT) => found = Some(value),
            _ => {}
        }
    }
    found.map_or_else(|| "no name".to_owned(), printable)
}

/// Text that may stand in a line, and is not too long for it.
pub(super) fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for letter in String::from_utf8_lossy(bytes).chars().take(SHOWN_MAX) {
        match letter.is_control() {
            true => write!(text, "{}", letter.escape_default()).expect("a String takes every write"),
            false => text.push(letter),
        }
    }
    if bytes.len() > text.len() && text.chars().count() >= SHOWN_MAX {
        text.push_str("...");
    }
    text
}

/// A time in either form, both in UTC.
fn time(rest: &mut &[u8]) -> Option<i64> {
    let (tag, text) = any(rest)?;
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let two = |at: usize| digits.get(at..at + 2).map(|two| i64::from(two[0] - b'0') * 10 + i64::from(two[1] - b'0'));
    let (year, at) = match tag {
        UTC_TIME => (two(0).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        GENERALIZED_TIME => (two(0)? * 100 + two(2)?, 4),
        _ => return None,
    };
    let (month, day) = (two(at)?, two(at + 2)?);
    let second = two(at + 4)? * 3_600 + two(at + 6)? * 60 + two(at + 8)?;
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| seconds(year, month, day, second))
}

/// More names are not shown.
const NAMES_MAX: usize = 8;
/// Letters of a name that are shown.
const SHOWN_MAX: usize = 80;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
const UNIT: &[u8] = &[0x55, 0x04, 0x0b];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
