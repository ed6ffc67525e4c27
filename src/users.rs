//! Who may talk to this pool, and who rmux is to the servers: names and passwords.
//!
//! Two directions, and nothing connects them. [`Users`] are those of the pool's clients: AUTH and HELLO are checked
//! against them here, and never by a server. [`Credentials`] are rmux's own: with them each connection to a server
//! begins. Who is who among the clients, a server never learns.
//!
//! ```text
//!   client ── AUTH bob xyz ──► Users::enter        rmux ── AUTH app abc ──► server
//!             WRONGPASS, or a UserId                       Credentials::request, before anything else
//! ```
//!
//! A [`Secret`] is never shown: its `Debug` is `***`, it has no `Display`, and whoever repeats what a server said about
//! one takes [`Credentials::without_secret`] first, since servers quote what they do not understand.
//!
//! Comparing takes a time that depends on what the client sent, and not on what would have been right: neither how many
//! of its bytes are, nor how long the password is, nor whether there is such a user.
//!
//! Knows no protocol but the one request that it writes, no files, no sessions.

use std::fmt;

/// The longest password, in bytes: the longest argument that a client may send before it is let in, as in Redis.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;

/// The longest name of a user, in bytes; it stands in each line of `CLIENT LIST`.
pub const NAME_BYTES_MAX: usize = 256;

/// The user that a client is before it says another name.
pub const DEFAULT: &str = "default";

/// A password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Keeps these bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Secret {
        Secret(bytes.into())
    }

    /// The password itself: for the one who sends it, or checks that it can be one.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// True exactly when `given` is this password. Takes as long as `given` is long.
    fn is(&self, given: &[u8]) -> bool {
        let mut difference = self.0.len() ^ given.len();
        let mut own = self.0.iter().cycle();
        for byte in given {
            // An empty one has no bytes to compare; then the lengths tell.
            difference |= usize::from(byte ^ own.next().copied().unwrap_or(0));
        }
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One of the pool's users, by its place in [`Users`]; or nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserId(u16);

impl UserId {
    /// The default user: every client, while there are no passwords.
    pub const DEFAULT: UserId = UserId(0);
    /// A client that has not said who it is, and must.
    pub const NOBODY: UserId = UserId(u16::MAX);
}

/// The users of a pool. Without any, every client is the default user, whose password is any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users {
    /// The password of the default user.
    default: DefaultUser,
    /// The others: a [`UserId`] is a place in here, plus one.
    named: Vec<(Box<str>, Secret)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum DefaultUser {
    /// No users are configured: everybody is let in.
    #[default]
    Open,
    /// It has a password.
    With(Secret),
    /// There are others, and nobody may be the default user.
    Off,
}

/// Why a user can not be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// The name is empty, too long, or has other letters than printable ASCII without blanks.
    Name,
    /// There is one of this name already.
    Twice,
    /// There are 65,000 already.
    TooMany,
}

/// Most users of one pool.
const USERS_MAX: usize = 65_000;

impl Users {
    /// One more user. From the first one on, everybody has to say who it is.
    ///
    /// # Errors
    ///
    /// [`Unfit`]; nothing has changed then.
    pub fn add(&mut self, name: &str, password: Secret) -> Result<(), Unfit> {
        let is_printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !is_printable {
            return Err(Unfit::Name);
        }
        if name == DEFAULT {
            if let DefaultUser::With(_) = self.default {
                return Err(Unfit::Twice);
            }
            self.default = DefaultUser::With(password);
            return Ok(());
        }
        if self.named.iter().any(|(other, _)| **other == *name) {
            return Err(Unfit::Twice);
        }
        if self.named.len() == USERS_MAX {
            return Err(Unfit::TooMany);
        }
        self.named.push((name.into(), password));
        if self.default == DefaultUser::Open {
            self.default = DefaultUser::Off;
        }
        Ok(())
    }

    /// Who a client is that has just connected.
    pub fn on_connect(&self) -> UserId {
        if self.default == DefaultUser::Open { UserId::DEFAULT } else { UserId::NOBODY }
    }

    /// True exactly when the default user needs no password; AUTH with one argument is then an error of its own.
    pub fn is_open(&self) -> bool {
        self.default == DefaultUser::Open
    }

    /// The user, if the password is right.
    pub fn enter(&self, name: &[u8], password: &[u8]) -> Option<UserId> {
        let nobody = Secret::new([0; 16]);
        let (id, secret) = if name == DEFAULT.as_bytes() {
            match &self.default {
                DefaultUser::Open => return Some(UserId::DEFAULT),
                DefaultUser::With(secret) => (Some(UserId::DEFAULT), secret),
                DefaultUser::Off => (None, &nobody),
            }
        } else {
            match self.named.iter().position(|(other, _)| other.as_bytes() == name) {
                Some(place) => (Some(UserId(place as u16 + 1)), &self.named[place].1),
                None => (None, &nobody),
            }
        };
        // Whoever is not there takes as long as whoever is.
        let is_right = secret.is(password);
        id.filter(|_| is_right)
    }

    /// The user's name; Redis calls a client that is nobody yet by the default user's.
    pub fn name(&self, id: UserId) -> &str {
        match usize::from(id.0).checked_sub(1).and_then(|place| self.named.get(place)) {
            Some((name, _)) => name,
            None => DEFAULT,
        }
    }

    /// Who a client is from here on that was `id` when the users were `old`: the same by its name, whatever its
    /// password is now. `None` if there is none of that name any more.
    pub fn successor_of(&self, id: UserId, old: &Users) -> Option<UserId> {
        if id == UserId::NOBODY {
            return Some(self.on_connect());
        }
        let name = old.name(id);
        if name == DEFAULT {
            // As in Redis: who was let in as the default user stays so while there is no reason to ask him again.
            return Some(UserId::DEFAULT);
        }
        self.named.iter().position(|(other, _)| **other == *name).map(|place| UserId(place as u16 + 1))
    }

    /// True exactly when there is a user of this name, which may be one that nobody is let in as.
    pub fn has(&self, name: &[u8]) -> bool {
        name == DEFAULT.as_bytes() || self.named.iter().any(|(other, _)| other.as_bytes() == name)
    }
}

/// Who rmux is to its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name; `None` for the default user, in the form that servers older than Redis 6 understand.
    pub user: Option<Box<str>>,
    /// Its password.
    pub password: Secret,
}

impl Credentials {
    /// The request that says so.
    pub fn request(&self) -> Vec<u8> {
        let words = [Some(&b"AUTH"[..]), self.user.as_deref().map(str::as_bytes), Some(self.password.reveal())];
        let count = words.iter().flatten().count();
        let mut request = format!("*{count}\r\n").into_bytes();
        for word in words.into_iter().flatten() {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        request
    }

    /// What a server said to that request, fit to be shown. A server that does not know AUTH quotes its arguments.
    pub fn without_secret(&self, text: &str) -> String {
        let quoted = text.find("with args").or_else(|| text.find("args beginning"));
        let text = text[..quoted.unwrap_or(text.len())].trim_end_matches([' ', ',']);
        match std::str::from_utf8(self.password.reveal()) {
            Ok(secret) if !secret.is_empty() => text.replace(secret, "***"),
            // The text was made readable already; what is left of such a password can not be told from the rest.
            _ if text.is_ascii() => text.to_owned(),
            _ => "***".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes())
    }

    #[test]
    fn without_users_everybody_is_the_default_user() {
        let users = Users::default();
        assert_eq!(users.on_connect(), UserId::DEFAULT);
        assert!(users.is_open());
        assert_eq!(users.enter(b"default", b"anything"), Some(UserId::DEFAULT));
        assert_eq!(users.enter(b"bob", b""), None);
    }

    #[test]
    fn the_right_name_and_the_right_password_are_needed() {
        let mut users = Users::default();
        users.add("default", secret("one")).unwrap();
        users.add("bob", secret("two")).unwrap();
        users.add("eve", secret("three")).unwrap();
        assert_eq!(users.on_connect(), UserId::NOBODY);
        let name = |name: &str, password: &str| users.enter(name.as_bytes(), password.as_bytes());
        assert_eq!(name("default", "one"), Some(UserId::DEFAULT));
        assert_eq!(name("bob", "two").map(|id| users.name(id)), Some("bob"));
        assert_eq!(name("eve", "three").map(|id| users.name(id)), Some("eve"));
        for (user, password) in [
            ("default", "two"),
            ("bob", "one"),
            ("bob", ""),
            ("bob", "tw"),
            ("bob", "twotwo"),
            ("bob", "two\0"),
            ("Bob", "two"),
            ("nobody", "two"),
            ("nobody", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
            ("", ""),
        ] {
            assert_eq!(name(user, password), None, "{user} {password:?}");
        }
        assert_eq!(users.name(UserId::NOBODY), "default");
        assert!(users.has(b"default") && users.has(b"eve") && !users.has(b"mallory"));
    }

    #[test]
    fn with_other_users_alone_nobody_is_the_default_user() {
        let mut users = Users::default();
        users.add("bob", secret("two")).unwrap();
        assert!(!users.is_open());
        assert_eq!(users.on_connect(), UserId::NOBODY);
        for password in ["", "two", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(users.enter(b"default", password.as_bytes()), None);
        }
        users.add("default", secret("one")).unwrap();
        assert_eq!(users.enter(b"default", b"one"), Some(UserId::DEFAULT));
    }

    #[test]
    fn only_printable_names_without_blanks_are_taken_and_only_once() {
        let mut users = Users::default();
        for name in ["", "a b", "a\n", "ü", &"n".repeat(257)] {
            assert_eq!(users.add(name, secret("x")), Err(Unfit::Name), "{name:?}");
        }
        assert_eq!(users, Users::default());
        users.add("bob", secret("x")).unwrap();
        assert_eq!(users.add("bob", secret("y")), Err(Unfit::Twice));
        users.add("default", secret("x")).unwrap();
        assert_eq!(users.add("default", secret("y")), Err(Unfit::Twice));
    }

    #[test]
    fn a_secret_is_compared_whole() {
        assert!(secret("abc").is(b"abc"));
        for other in ["", "a", "ab", "abcabc", "abcd", "abd", "ABC"] {
            assert!(!secret("abc").is(other.as_bytes()), "{other}");
        }
        assert!(secret("").is(b"") && !secret("").is(b"\0"));
    }

    #[test]
    fn nothing_shows_a_secret() {
        let mut users = Users::default();
        users.add("bob", secret("hunter2")).unwrap();
        let credentials = Credentials { user: Some("app".into()), password: secret("hunter2") };
        for shown in [format!("{users:?}"), format!("{credentials:?}"), format!("{:#?}", secret("hunter2"))] {
            assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn what_a_server_quotes_is_taken_out() {
        let credentials = Credentials { user: Some("app".into()), password: secret("hunter2") };
        for (said, shown) in [
            (
                "-WRONGPASS invalid username-password pair or user is disabled.",
                "-WRONGPASS invalid username-password pair or user is disabled.",
            ),
            ("-ERR unknown command 'AUTH', with args beginning with: 'app' 'hunter2' ", "-ERR unknown command 'AUTH'"),
            ("-ERR unknown command `AUTH`, with args beginning with: `hunt", "-ERR unknown command `AUTH`"),
            ("-ERR not hunter2, hunter2!", "-ERR not ***, ***!"),
        ] {
            assert_eq!(credentials.without_secret(said), shown);
        }
        let binary = Credentials { user: None, password: Secret::new(*b"\xff\xfe") };
        assert_eq!(binary.without_secret("-ERR no \u{fffd}\u{fffd}"), "***");
        assert_eq!(binary.without_secret("-ERR no"), "-ERR no");
    }

    #[test]
    fn the_request_has_a_user_only_when_one_is_configured() {
        let mut credentials = Credentials { user: None, password: secret("a\r\nb") };
        assert_eq!(credentials.request(), b"*2\r\n$4\r\nAUTH\r\n$4\r\na\r\nb\r\n");
        credentials.user = Some("app".into());
        assert_eq!(credentials.request(), b"*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$4\r\na\r\nb\r\n");
    }
}
