//! Where a password comes from: the configuration file itself, a file of its own, or an environment variable.
//!
//! There is no flag that holds a password, since the list of processes shows flags to everybody on the machine; there
//! are flags that say where one is. It is read at the start and at a reload; `-test` reads it as well. The form of a
//! file is `password_file`'s business. Nothing that is wrong with a password is said with the password.

use std::env;
use std::path::{Path, PathBuf};

use crate::password_file;
use crate::users::Secret;

use super::error::{Problem, Quoted};

/// What was said about one password.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Source {
    /// The password itself.
    pub(crate) text: Option<Secret>,
    /// The path of a file with it.
    pub(crate) file: Option<String>,
    /// The name of an environment variable with it.
    pub(crate) variable: Option<String>,
}

/// The keys by which one password can be given: itself, its file, its variable.
pub(crate) type Names = [&'static str; 3];

impl Source {
    /// The file that it comes from, if it does.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.file.as_deref().filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// The password, if one was given. An empty file name or variable name is as if not given.
    ///
    /// # Errors
    ///
    /// The key that is wrong, and how.
    pub(crate) fn read(&self, names: Names) -> Result<Option<Secret>, (&'static str, Problem)> {
        let file = self.file.as_deref().filter(|path| !path.is_empty());
        let variable = self.variable.as_deref().filter(|name| !name.is_empty());
        let given = [self.text.is_some(), file.is_some(), variable.is_some()];
        let mut keys = names.into_iter().zip(given).filter(|(_, is_given)| *is_given).map(|(name, _)| name);
        let Some(key) = keys.next() else { return Ok(None) };
        if let Some(second) = keys.next() {
            return Err((second, Problem::TwoPasswords { other: key }));
        }
        let problem = |reason: String| (key, Problem::BadPassword { reason });
        let secret = if let Some(secret) = &self.text {
            secret.clone()
        } else if let Some(path) = file {
            password_file::read(Path::new(path)).map_err(|reason| problem(format!("{} {reason}", Quoted(path))))?
        } else {
            let name = variable.unwrap_or_default();
            read_variable(name).map_err(|reason| problem(format!("{} {reason}", Quoted(name))))?
        };
        match password_file::check(&secret) {
            Ok(()) => Ok(Some(secret)),
            Err(reason) => Err(problem(reason.to_owned())),
        }
    }
}

fn read_variable(name: &str) -> Result<Secret, &'static str> {
    // The system's own functions take these for a mistake of the program.
    if name.contains(['=', '\0']) {
        return Err("cannot be the name of an environment variable");
    }
    match env::var_os(name) {
        Some(value) => Ok(Secret::new(value.into_encoded_bytes())),
        None => Err("is not set in the environment"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::SECRET_BYTES_MAX;

    const NAMES: Names = ["password", "passwordFile", "passwordEnv"];

    fn from_file(bytes: &[u8]) -> Result<Option<Secret>, (&'static str, Problem)> {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = env::temp_dir().join(format!("rmux-password-{}-{number}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let file = Some(path.to_str().unwrap().to_owned());
        let read = Source { file, ..Source::default() }.read(NAMES);
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn a_file_has_the_password_as_its_only_line() {
        for bytes in [&b"a b c"[..], b"a b c\n", b"a b c\r\n"] {
            assert_eq!(from_file(bytes), Ok(Some(Secret::new(*b"a b c"))));
        }
        assert_eq!(from_file(b" \xff\0"), Ok(Some(Secret::new(*b" \xff\0"))));
        assert_eq!(from_file(&[b'x'; SECRET_BYTES_MAX]), Ok(Some(Secret::new([b'x'; SECRET_BYTES_MAX]))));
        for bytes in [&b""[..], b"\n", b"hunter2\nx", b"hunter2\n\n", &[b'x'; SECRET_BYTES_MAX + 1]] {
            let (key, problem) = from_file(bytes).expect_err("refused");
            assert_eq!(key, "passwordFile");
            assert!(!problem.to_string().contains("hunter2") && !problem.to_string().contains("xxx"));
        }
    }

    #[test]
    fn one_source_is_enough() {
        let text = Some(Secret::new(*b"hunter2"));
        let (file, variable) = (Some("/no/such/file".to_owned()), Some("PATH".to_owned()));
        assert_eq!(Source::default().read(NAMES), Ok(None));
        let empty = Source { file: Some(String::new()), variable: Some(String::new()), text: None };
        assert_eq!(empty.read(NAMES), Ok(None));
        assert_eq!(Source { text: text.clone(), ..empty.clone() }.read(NAMES), Ok(text.clone()));
        assert!(Source { variable: variable.clone(), ..empty.clone() }.read(NAMES).unwrap().is_some());
        for (source, key, words) in [
            (Source { text: text.clone(), file: file.clone(), variable: None }, "passwordFile", "besides password"),
            (Source { text: None, file: file.clone(), variable }, "passwordEnv", "besides passwordFile"),
            (Source { file, ..empty.clone() }, "passwordFile", "\"/no/such/file\" cannot be read"),
            (Source { variable: Some("NO SUCH=".into()), ..empty.clone() }, "passwordEnv", "cannot be the name"),
            (Source { variable: Some("RMUX_UNSET".into()), ..empty.clone() }, "passwordEnv", "is not set"),
            (Source { text: Some(Secret::new(*b"")), ..empty }, "password", "is empty"),
        ] {
            let (found, problem) = source.read(NAMES).expect_err(words);
            assert_eq!(found, key);
            assert!(problem.to_string().contains(words), "{problem}");
            assert!(!format!("{source:?}{problem}").contains("hunter2"));
        }
    }
}
