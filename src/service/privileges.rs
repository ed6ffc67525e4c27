//! Giving up root: what needs its rights is done first, then this same program is started anew as the user.
//!
//! A process changes its owner with the standard library only on the way into a program (`CommandExt::uid`), so that is
//! the way that is taken. The process id stays the same, and the signals, the supervisor and the pid file with it.
//!
//! ```text
//!   root: the first pool listens ─► its socket and the pid file are given to the user ─► exec
//!     ─► the user: takes up the socket, opens all the rest
//! ```
//!
//! The new one knows by its name that it is the second (see `successor`). All but the first pool are opened by the
//! user. The supplementary groups are all given up (the standard library does that for a process that leaves root), so
//! `group` must be the one that may reach the servers' sockets. A process that is not root has nothing to give up: it
//! goes on as it is, with a warning.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use log::warn;

use super::account::Account;
use super::activation::Activation;
use super::pid_file::PidFile;
use super::successor::{GIVEN, LISTENING, is_successor, own_command_line};
use crate::config::Config;
use crate::net;

/// Gives up root if the configuration says so; then it returns only if that failed, or if there was nothing to give up.
///
/// # Errors
///
/// When there is no such user or group, when the first pool cannot listen or the pid file cannot be written, and when
/// the program cannot be started anew.
pub fn maybe_give_up(config: &Config) -> io::Result<()> {
    let Some(user) = config.user.as_deref().filter(|_| !is_successor()) else { return Ok(()) };
    let account = Account::find(user, config.group.as_deref())?;
    let own = own_user()?;
    if own != 0 {
        if own != account.user {
            warn!("user and group have no effect: only root can become somebody else");
        }
        return Ok(());
    }
    if account.user == 0 {
        return Ok(());
    }
    let pool = &config.pools[0];
    let (listener, socket_file, left) = match Activation::of_process()? {
        Some(given) if given.is_for(pool) => (given.into_listener(), None, GIVEN),
        Some(given) => return Err(given.unwanted()),
        None => {
            let made = net::listen(&pool.listen, net::backlog_max(), pool.socket_mode).map_err(io::Error::other)?;
            (made.0, made.1, LISTENING)
        }
    };
    let own_it = |path: &Path| lchown(path, Some(account.user), Some(account.group));
    if let Some(file) = &socket_file {
        own_it(file.path())?;
        warn_if_it_stays(file.path(), account);
    }
    // Held until this program is replaced, and removed if it is not.
    let _pid_file = config.pid_file.as_deref().map(PidFile::write).transpose()?;
    if let Some(path) = &config.pid_file {
        own_it(path)?;
        warn_if_it_stays(path, account);
    }
    // The thread that writes the log ends with this program.
    log::logger().flush();
    let (program, arguments) = own_command_line();
    let error = Command::new(&program)
        .arg0(left)
        .args(arguments)
        .stdin(Stdio::from(listener.to_descriptor()?))
        .uid(account.user)
        .gid(account.group)
        .exec();
    let place = program.display();
    Err(io::Error::new(error.kind(), format!("cannot start {place} as user {user}: {error}")))
}

/// Says so if this account will not be able to remove a file at the end: who may write to its folder may.
fn warn_if_it_stays(file: &Path, account: Account) {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if fs::metadata(folder).is_ok_and(|found| !may_write(&found, account)) {
        let (file, folder, user) = (file.display(), folder.display(), account.user);
        warn!(
            "{file} will stay behind at the end: user {user} may not write to {folder}; give rmux a folder of its own"
        );
    }
}

/// As far as owner, group and mode tell; an access control list may say more.
fn may_write(folder: &Metadata, account: Account) -> bool {
    let bits = match () {
        () if folder.uid() == account.user => folder.mode() >> 6,
        () if folder.gid() == account.group => folder.mode() >> 3,
        () => folder.mode(),
    };
    bits & 0o3 == 0o3
}

/// The user of this process. A socket belongs to who makes it, and that can be asked for where there is no `/proc`.
fn own_user() -> io::Result<u32> {
    let (socket, _) = UnixStream::pair()?;
    File::from(OwnedFd::from(socket)).metadata().map(|socket| socket.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_user_is_that_of_a_new_file() {
        let path = std::env::temp_dir().join(format!("rmux-own-user-{}", std::process::id()));
        let file = File::create(&path).expect("writable");
        assert_eq!(own_user().expect("known"), file.metadata().expect("known").uid());
        std::fs::remove_file(&path).expect("it is ours");
    }
}
