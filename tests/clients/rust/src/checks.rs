//! What both programs share: where rmux is, and how the outcome of a check is told.

use std::env;
use std::fmt::{Debug, Display};

/// Where rmux is, and what a client says there.
pub struct Place {
    pub host: String,
    pub port: u16,
    /// Empty for TCP.
    pub socket: String,
    /// Empty for none.
    pub password: String,
    pub database: u8,
    pub name: String,
    pub servers: usize,
}

impl Place {
    pub fn from_environment() -> Self {
        let text = |name: &str| env::var(format!("RMUX_{name}")).unwrap_or_default();
        Self {
            host: text("HOST"),
            port: text("PORT").parse().unwrap_or(0),
            socket: text("SOCKET"),
            password: text("PASSWORD"),
            database: text("DATABASE").parse().expect("a number"),
            name: text("NAME"),
            servers: text("SERVERS").parse().expect("a number"),
        }
    }
}

/// The version of the client, which ../run.sh finds in Cargo.lock: the libraries do not tell it.
pub fn version() -> String {
    env::var("RMUX_CLIENT_VERSION").unwrap_or_else(|_| "-".to_owned())
}

/// Keys enough that three servers all have some of them.
pub fn keys() -> Vec<String> {
    (0..100).map(|number| format!("key:{number}")).collect()
}

/// What a check ends with: nothing, or why it failed.
pub type Outcome = Result<(), String>;

pub fn tell(title: &str, outcome: Outcome) {
    match outcome {
        Ok(()) => println!("ok {title}"),
        Err(why) => println!("not ok {title}: {}", why.replace(['\r', '\n'], " ")),
    }
}

pub fn equal<T: PartialEq + Debug>(got: T, wanted: T) -> Outcome {
    if got == wanted { Ok(()) } else { Err(format!("got {got:.80?}, wanted {wanted:.80?}")) }
}

/// The error as the text that a check fails with.
pub fn told(error: impl Display) -> String {
    error.to_string()
}
