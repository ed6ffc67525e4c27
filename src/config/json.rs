//! A JSON document as it was written: keys in their order, with those that stand twice.
//!
//! serde_json's own `Value` keeps the last of two equal keys and forgets the order, so it cannot say that somebody
//! wrote `port` twice. This one keeps every pair. It knows nothing of pools: it reads a file, and it can name what it
//! found.
//!
//! One thing is added to JSON: a line that begins with `//` (behind white space) is a comment. No line of a JSON
//! document can begin so, not even inside a string, which holds no line feed.
//!
//! Limits: a file of 16 MiB, and serde_json's nesting depth of 128.

use std::fmt;
use std::fs::File;
use std::io::Read;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::{Problem, Quoted};

/// One JSON value. `Display` names it for an error message: a plain value as itself, a composite by what it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Switch(bool),
    /// A number without fraction or exponent, within 64 bits, signed or not.
    Whole(i128),
    /// Any other number. No key takes one.
    Fraction(f64),
    Text(String),
    List(Vec<Json>),
    /// Key and value pairs in the order of the file; a key may stand there more than once.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads and parses a whole file.
    ///
    /// # Errors
    ///
    /// [`Problem::Unreadable`], [`Problem::FileTooLarge`] or [`Problem::Syntax`].
    pub(crate) fn read(path: &str) -> Result<Json, Problem> {
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|error| Problem::Unreadable(error.to_string()))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(Problem::FileTooLarge(FILE_BYTES_MAX));
        }
        Json::parse(&bytes)
    }

    /// Parses one document, with nothing around it but white space and comments.
    ///
    /// # Errors
    ///
    /// [`Problem::Syntax`], with serde_json's own words, line and column.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Json, Problem> {
        let bytes = without_comments(bytes);
        serde_json::from_slice(&bytes).map_err(|error| Problem::Syntax(error.to_string()))
    }
}

/// The document with its comments turned into blanks, so that lines and columns stay where they are.
fn without_comments(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for line in bytes.split_mut(|&byte| byte == b'\n') {
        if line.trim_ascii_start().starts_with(b"//") {
            line.fill(b' ');
        }
    }
    bytes
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Switch(on) => write!(f, "{on}"),
            Json::Whole(number) => write!(f, "{number}"),
            Json::Fraction(number) => write_fraction(*number, f),
            Json::Text(text) => write!(f, "{}", Quoted(text)),
            Json::List(_) => f.write_str("a list"),
            Json::Object(_) => f.write_str("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Builder)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, on: bool) -> Result<Json, E> {
        Ok(Json::Switch(on))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Whole(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Whole(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Fraction(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = entries.next_entry()? {
            pairs.push(pair);
        }
        Ok(Json::Object(pairs))
    }
}

/// As people write such numbers, which is with at most six places; the standard library's way, which can write every
/// one, is 12 kB of code that nothing else needs.
fn write_fraction(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let millionths = (number * 1e6).round();
    if millionths.abs() > EXACT_MAX || millionths / 1e6 != number {
        return f.write_str("a number of too many digits");
    }
    let millionths = millionths as i64;
    let sign = if millionths < 0 { "-" } else { "" };
    let (whole, places) = (millionths.abs() / 1_000_000, format!("{:06}", millionths.abs() % 1_000_000));
    // One zero is left: `5.0` is what was wrong with it.
    let places = places.trim_end_matches('0');
    write!(f, "{sign}{whole}.{}", if places.is_empty() { "0" } else { places })
}

/// Up to here an `f64` holds every whole number.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// More than any list of pools needs, and little enough to read a device or a wrong file without harm.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Json {
        Json::parse(text.as_bytes()).expect("valid JSON")
    }

    #[test]
    fn every_kind_of_value_is_kept() {
        assert_eq!(
            parse(r#" [null, true, 7, -7, 18446744073709551615, 1.0, 1e3, "a\nb", {}] "#),
            Json::List(vec![
                Json::Null,
                Json::Switch(true),
                Json::Whole(7),
                Json::Whole(-7),
                Json::Whole(u64::MAX.into()),
                Json::Fraction(1.0),
                Json::Fraction(1000.0),
                Json::Text("a\nb".to_owned()),
                Json::Object(vec![]),
            ])
        );
    }

    #[test]
    fn a_fraction_is_shown_as_it_was_written() {
        for text in ["5.0", "5.3", "-0.5", "0.000001", "1234567.89", "-1000000000.123456"] {
            assert_eq!(parse(text).to_string(), text);
        }
        assert_eq!(parse("1e3").to_string(), "1000.0");
        for text in ["1e-7", "1e30", "-1e300", "0.3333333333333"] {
            assert_eq!(parse(text).to_string(), "a number of too many digits", "{text}");
        }
    }

    #[test]
    fn a_key_that_stands_twice_is_kept_twice_and_in_order() {
        let pair = |key: &str, number| (key.to_owned(), Json::Whole(number));
        assert_eq!(parse(r#"{"z": 1, "a": 2, "z": 3}"#), Json::Object(vec![pair("z", 1), pair("a", 2), pair("z", 3)]));
    }

    #[test]
    fn a_syntax_error_names_line_and_column() {
        for (text, words) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("[\n  {\"port\": 1,}\n]", "trailing comma at line 2 column 14"),
            ("[] []", "trailing characters at line 1 column 4"),
            ("[nope]", "expected ident at line 1 column 3"),
        ] {
            match Json::parse(text.as_bytes()) {
                Err(Problem::Syntax(found)) => assert_eq!(found, words, "{text:?}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_line_that_begins_with_two_slashes_is_a_comment() {
        let text = "// one\r\n[\n\t // \"two\", {\n  \"//\", \"https://three\"\n]\n//";
        assert_eq!(parse(text), Json::List(vec![Json::Text("//".to_owned()), Json::Text("https://three".to_owned())]));
        for (text, words) in [
            ("[1,\n// 2\n 3,]", "trailing comma at line 3 column 4"),
            ("[1, // 2\n 3]", "expected value at line 1 column 5"),
            ("// nothing else", "EOF while parsing a value at line 1 column 15"),
            (
                "[\"\n// no string goes on here\n\"]",
                "control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0",
            ),
        ] {
            match Json::parse(text.as_bytes()) {
                Err(Problem::Syntax(found)) => assert_eq!(found, words, "{text:?}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn nesting_and_size_are_bounded() {
        assert!(matches!(Json::parse("[".repeat(100_000).as_bytes()), Err(Problem::Syntax(_))));
        assert!(matches!(Json::read("/dev/zero"), Err(Problem::FileTooLarge(_))));
    }
}
