//! A user and a group: names, or numbers, as the configuration has them → the numbers that the kernel knows.
//!
//! Reads `/etc/passwd` and `/etc/group` itself, so that it works alike in a static binary and in an empty root (where
//! numbers need no file at all). Accounts that come from a directory service are not found: give their numbers.

use std::fs;
use std::io;

/// Whom a process acts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub user: u32,
    pub group: u32,
}

impl Account {
    /// The account of a user, with a group of its own choice or the one that `/etc/passwd` has for that user.
    ///
    /// # Errors
    ///
    /// When there is no such user or group, or nothing says which group; the text names it.
    pub fn find(user: &str, group: Option<&str>) -> io::Result<Account> {
        // What cannot be read has nobody in it.
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        find(user, group, &read("/etc/passwd"), &read("/etc/group"))
            .map_err(|problem| io::Error::new(io::ErrorKind::NotFound, problem))
    }
}

fn find(user: &str, group: Option<&str>, users: &str, groups: &str) -> Result<Account, String> {
    // name:password:number:group:…
    let known = entry(users, user);
    let number_in = |fields: &[&str], column: usize| fields.get(column).and_then(|text| text.parse::<u32>().ok());
    let user_number = user.parse().ok().or_else(|| number_in(known.as_deref()?, 2));
    let user_number = user_number.ok_or_else(|| format!("user: {user:.200?} is not in /etc/passwd"))?;
    let group_number = match group {
        None => known.and_then(|fields| number_in(&fields, 3)).ok_or_else(|| {
            format!("user: {user:.200?} is not in /etc/passwd, which would tell its group: give group as well")
        }),
        Some(group) => {
            let number = group.parse().ok().or_else(|| number_in(&entry(groups, group)?, 2));
            number.ok_or_else(|| format!("group: {group:.200?} is not in /etc/group"))
        }
    };
    Ok(Account { user: user_number, group: group_number? })
}

/// The fields of the line that begins with this name, or has this number in its third field.
fn entry<'a>(table: &'a str, wanted: &str) -> Option<Vec<&'a str>> {
    let mut lines = table.lines().map(|line| line.split(':').collect::<Vec<_>>());
    lines.find(|fields| fields[0] == wanted || fields.get(2) == Some(&wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/bash\n\n# odd\nrmux:x:990:991::/nonexistent:/usr/sbin/nologin\nbad:x:y:z::\n";
    const GROUPS: &str = "root:x:0:\nrmux:x:991:\nredis:x:120:rmux\nshort\n";

    fn found(user: &str, group: Option<&str>) -> Result<(u32, u32), String> {
        find(user, group, USERS, GROUPS).map(|account| (account.user, account.group))
    }

    #[test]
    fn names_and_numbers_are_found() {
        assert_eq!(found("rmux", None), Ok((990, 991)));
        assert_eq!(found("rmux", Some("redis")), Ok((990, 120)));
        assert_eq!(found("990", None), Ok((990, 991)), "a number has the group of its entry");
        assert_eq!(found("1000", Some("1000")), Ok((1000, 1000)), "numbers need no entry");
        assert_eq!(found("root", None), Ok((0, 0)));
        assert_eq!(find("65532", Some("65532"), "", ""), Ok(Account { user: 65532, group: 65532 }), "no files at all");
    }

    #[test]
    fn who_is_not_there_is_named() {
        let refused = |user, group| found(user, group).expect_err("refused");
        assert_eq!(refused("nobody2", None), "user: \"nobody2\" is not in /etc/passwd");
        assert_eq!(refused("bad", None), "user: \"bad\" is not in /etc/passwd");
        assert_eq!(refused("rmux", Some("staff")), "group: \"staff\" is not in /etc/group");
        assert_eq!(refused("rmux", Some("short")), "group: \"short\" is not in /etc/group");
        assert!(refused("1000", None).ends_with("give group as well"));
        assert!(refused("", None).starts_with("user: \"\" is not"));
        assert!(refused("-1", Some("0")).starts_with("user: \"-1\" is not"));
    }
}
