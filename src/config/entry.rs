//! The keys of a pool whose value is a list of objects: `users`, `moduleCommands`, and, among plain addresses,
//! `tcpConnections`.
//!
//! Reads each object as strictly as a pool is read: no unknown key, no key twice, each value of its kind. What is wrong
//! is said with the number of the entry, from 1, and its key; never with a value, which may be a password.
//!
//! It does not know whether the entries make sense together; that is the draft's business.

use crate::command::Declared;
use crate::ring::Ring;
use crate::users::Secret;

use super::error::Problem;
use super::json::Json;
use super::password::Source;
use super::spelling::nearest;

/// One of `users`, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: Source,
}

/// One of `tcpConnections`, as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// An address.
    Address(String),
    /// The address or the name of a master; of an address, those that follow it; and what a ring of twemproxy's knows.
    Master { master: String, replicas: Vec<String>, name: Option<String>, weight: Option<u32> },
}

/// The value of `tcpConnections`.
///
/// # Errors
///
/// [`Problem::Entry`] or [`Problem::WrongKind`].
pub(crate) fn places(json: &Json) -> Result<Vec<Place>, Problem> {
    let Json::List(elements) = json else {
        return Err(Problem::WrongKind { value: json.to_string(), wanted: "a list of strings or objects".to_owned() });
    };
    let place = |(index, element): (usize, &Json)| match element {
        Json::Text(text) => Ok(Place::Address(text.clone())),
        Json::Object(_) => {
            let entry = Entry::new(index + 1, element, &["master", "replicas", "name", "weight"])?;
            let master = entry.text("master")?.ok_or_else(|| entry.problem("master", "is missing"))?;
            Ok(Place::Master {
                master,
                replicas: entry.texts("replicas")?,
                name: entry.text("name")?,
                weight: entry.number("weight", &format!("a whole number from 1 to {}", Ring::WEIGHT_MAX))?,
            })
        }
        other => Err(Problem::WrongKind {
            value: other.to_string(),
            wanted: "a string or an object, in the list".to_owned(),
        }),
    };
    elements.iter().enumerate().map(place).collect()
}

/// The value of `users`.
///
/// # Errors
///
/// [`Problem::Entry`] or [`Problem::WrongKind`].
pub(crate) fn users(json: &Json) -> Result<Vec<User>, Problem> {
    entries(json, &["name", "password", "passwordFile", "passwordEnv"])?
        .map(|entry| {
            let entry = entry?;
            let name = entry.text("name")?.ok_or_else(|| entry.problem("name", "is missing"))?;
            let password = Source {
                text: entry.text("password")?.map(|text| Secret::new(text.into_bytes())),
                file: entry.text("passwordFile")?,
                variable: entry.text("passwordEnv")?,
            };
            Ok(User { name, password })
        })
        .collect()
}

/// The value of `moduleCommands`.
///
/// # Errors
///
/// [`Problem::Entry`] or [`Problem::WrongKind`].
pub(crate) fn module_commands(json: &Json) -> Result<Vec<Declared>, Problem> {
    entries(json, &["name", "firstKey", "lastKey", "step", "readonly"])?
        .map(|entry| {
            let entry = entry?;
            let wanted = format!("a whole number from 0 to {FIRST_KEY_MAX}");
            let first_key: u8 = entry.number("firstKey", &wanted)?.unwrap_or(0);
            if first_key > FIRST_KEY_MAX {
                return Err(entry.problem("firstKey", &format!("is not {wanted}")));
            }
            const STEPS: &str = "a whole number from 1 to 255";
            let step = entry.number("step", STEPS)?.unwrap_or(1);
            if step == 0 {
                return Err(entry.problem("step", &format!("is not {STEPS}")));
            }
            Ok(Declared {
                name: entry.text("name")?.ok_or_else(|| entry.problem("name", "is missing"))?,
                first_key,
                // Nothing said: the first one is the only one.
                last_key: entry.number("lastKey", "a whole number from -128 to 127")?.unwrap_or(first_key as i8),
                step,
                is_read: entry.switch("readonly")?.unwrap_or(false),
            })
        })
        .collect()
}

/// A declared command on one line: `x.get firstKey=1 lastKey=-1 step=1 readonly=true`.
pub(crate) fn text_of(declared: &Declared) -> String {
    let Declared { name, first_key, last_key, step, is_read } = declared;
    format!("{name} firstKey={first_key} lastKey={last_key} step={step} readonly={is_read}")
}

/// The objects of a list that have no other keys than these.
fn entries<'a>(
    json: &'a Json,
    known: &'static [&'static str],
) -> Result<impl Iterator<Item = Result<Entry<'a>, Problem>>, Problem> {
    let Json::List(elements) = json else {
        let wanted = "a list of objects".to_owned();
        return Err(Problem::WrongKind { value: "what stands there".to_owned(), wanted });
    };
    Ok(elements.iter().enumerate().map(move |(index, element)| Entry::new(index + 1, element, known)))
}

/// One object of a list.
struct Entry<'a> {
    number: usize,
    pairs: &'a [(String, Json)],
}

impl Entry<'_> {
    /// An element of a list, counted from 1, if it is an object that has no other keys than these.
    fn new<'a>(number: usize, element: &'a Json, known: &[&'static str]) -> Result<Entry<'a>, Problem> {
        let Json::Object(pairs) = element else {
            return Err(Problem::Entry { number, key: None, reason: "is not an object, {...}".to_owned() });
        };
        let entry = Entry { number, pairs };
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let reason = match nearest(name, known.iter().copied()) {
                    Some(likely) => format!("unknown key: did you mean {likely}?"),
                    None => format!("unknown key: known are {}", known.join(", ")),
                };
                return Err(entry.problem(name, &reason));
            }
            if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(entry.problem(name, "stands there a second time"));
            }
        }
        Ok(entry)
    }

    fn value(&self, key: &str) -> Option<&Json> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value).filter(|value| **value != Json::Null)
    }

    fn text(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.value(key) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.problem(key, "is not a string")),
        }
    }

    /// A list of them; none if it is not there.
    fn texts(&self, key: &str) -> Result<Vec<String>, Problem> {
        let text = |element: &Json| match element {
            Json::Text(text) => Some(text.clone()),
            _ => None,
        };
        let texts = match self.value(key) {
            None => Some(Vec::new()),
            Some(Json::List(elements)) => elements.iter().map(text).collect(),
            Some(_) => None,
        };
        texts.ok_or_else(|| self.problem(key, "is not a list of strings"))
    }

    fn switch(&self, key: &str) -> Result<Option<bool>, Problem> {
        match self.value(key) {
            None => Ok(None),
            Some(Json::Switch(on)) => Ok(Some(*on)),
            Some(_) => Err(self.problem(key, "is not true or false")),
        }
    }

    fn number<T: TryFrom<i128>>(&self, key: &str, wanted: &str) -> Result<Option<T>, Problem> {
        let number = match self.value(key) {
            None => return Ok(None),
            Some(Json::Whole(number)) => T::try_from(*number).ok(),
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| self.problem(key, &format!("is not {wanted}")))
    }

    fn problem(&self, key: &str, reason: &str) -> Problem {
        Problem::Entry { number: self.number, key: Some(key.to_owned()), reason: reason.to_owned() }
    }
}

/// No command has its first key further behind; and it fits into the 7 bits that the table has for its last one.
const FIRST_KEY_MAX: u8 = 100;
