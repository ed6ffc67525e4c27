//! The file of a Unix socket: made, replaced when it is stale, and removed at the end.
//!
//! It stays behind when a process dies, so it has to be replaced; but never one that somebody still serves, nor a file
//! that is no socket. And two that start at the same moment must not take each other's: a file that is bound and does
//! not listen yet looks stale, and between asking and removing, the file may have become another one. No order of calls
//! closes these gaps (a test with four starters found the hole in each that was tried), so the start is serialised:
//!
//! ```text
//! lock the directory ──► bind ──► in use ──► a socket, that refuses connections? ──► remove it ──► bind
//!                          └──► mode ──► listen ──► unlock
//! ```
//!
//! The lock is a socket bound to an abstract name (Linux): the kernel makes it exclusive, and takes it back however its
//! holder ends. Others wait by connecting to it: when the holder closes it, they are reset. It is a courtesy, not a
//! defence. Who cannot have it in time goes on without; else anybody who binds that name could keep us from starting.
//! It does not reach across network namespaces.
//!
//! Knows nothing of what is served.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use log::warn;
use mio::net::UnixStream;
use socket2::{Domain, SockAddr, Socket, Type};

use super::address::PATH_BYTES_MAX;
use super::error::{Fault, while_doing};

/// The file of a Unix socket, removed when this is dropped, if it is still the same file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

impl SocketFile {
    /// Binds a new socket to a path, and has it listen there, with this mode.
    pub(super) fn listen(path: &Path, socket: &Socket, backlog: i32, mode: u32) -> Result<SocketFile, Fault> {
        let length = path.as_os_str().as_bytes().len();
        if !(1..=PATH_BYTES_MAX).contains(&length) {
            return Err(Fault::PathLength(length));
        }
        let _lock = StartLock::of_folder_of(path, LOCK_PATIENCE);
        bind(socket, path)?;
        let identity = Identity::of(path).map_err(while_doing("looking at the new socket file"))?;
        let file = SocketFile { path: path.to_owned(), identity };
        // Before it listens, so that nobody is turned away, or let in, by what the umask left of the mode.
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(while_doing("setting the mode"))?;
        socket.listen(backlog).map_err(while_doing("listening"))?;
        // Somebody who heeds no lock may have thought it stale.
        if file.is_ours() { Ok(file) } else { Err(Fault::Served) }
    }

    /// The file of a socket that this process has bound before it started its program anew; `None` if it is gone.
    pub fn adopt(path: &Path) -> Option<SocketFile> {
        let identity = Identity::of(path).ok().filter(|identity| identity.is_socket)?;
        Some(SocketFile { path: path.to_owned(), identity })
    }

    /// Gives it other permissions, if it is still the same file.
    ///
    /// # Errors
    ///
    /// When the system does not let us.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        if self.is_ours() { fs::set_permissions(&self.path, Permissions::from_mode(mode)) } else { Ok(()) }
    }

    /// It stays, since another process serves it from here on.
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_ours(&self) -> bool {
        Identity::of(&self.path).is_ok_and(|identity| identity == self.identity)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours() {
            // Nothing is lost if this fails: whoever comes next finds the file stale.
            if let Err(error) = fs::remove_file(&self.path) {
                warn!("{} stays behind, for the next start to replace: {error}", self.path.display());
            }
        }
    }
}

fn bind(socket: &Socket, path: &Path) -> Result<(), Fault> {
    let address = SockAddr::unix(path).map_err(while_doing("binding the path"))?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => remove_stale_file(path)?,
        outcome => return outcome.map_err(while_doing("binding the path")),
    }
    socket.bind(&address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Fault::Served,
        _ => while_doing("binding the path")(error),
    })
}

/// Removes the file if it is a socket that nobody serves.
fn remove_stale_file(path: &Path) -> Result<(), Fault> {
    match Identity::of(path) {
        Ok(identity) if identity.is_socket => {}
        Ok(_) => return Err(Fault::NotASocket),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(while_doing("looking at the file that is there")(error)),
    }
    // Without blocking: a socket that is served, but has a full backlog, would keep us waiting.
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(while_doing("asking whether the socket that is there is served")(error));
        }
        // Connected, or a full backlog, or a socket of another type: somebody is there.
        _ => return Err(Fault::Served),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(while_doing("removing the stale socket file")(error))
        }
        _ => Ok(()),
    }
}

/// What tells a file from others. The inode number alone does not: a file that replaces another often gets the same
/// number, and then a predecessor that is still finishing would remove its successor's file. The time is that of the
/// last modification, which for a socket is its making: neither chmod nor connecting changes it.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    made: (i64, i64),
    is_socket: bool,
}

impl Identity {
    /// Of the file itself, not of what a symbolic link points to.
    fn of(path: &Path) -> io::Result<Identity> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            made: (metadata.mtime(), metadata.mtime_nsec()),
            is_socket: metadata.file_type().is_socket(),
        })
    }
}

/// The right to put a socket into a folder, until it is dropped.
struct StartLock {
    _socket: Socket,
}

impl StartLock {
    /// Waits for it. `None` when it cannot be had in time, or not at all.
    fn of_folder_of(path: &Path, patience: Duration) -> Option<StartLock> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = fs::metadata(folder).ok()?;
        let name = SockAddr::unix(format!("\0rmux-start-{:x}-{:x}", folder.dev(), folder.ino())).ok()?;
        let deadline = Instant::now() + patience;
        loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).ok()?;
            match socket.bind(&name) {
                Ok(()) => {
                    socket.listen(LOCK_WAITERS_MAX).ok()?;
                    return Some(StartLock { _socket: socket });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    wait_for_holder(&name, left.max(Duration::from_millis(1))).ok()?;
                }
                Err(_) => return None,
            }
        }
    }
}

/// Returns when the holder of a lock is likely to have gone, or after `patience`.
fn wait_for_holder(name: &SockAddr, patience: Duration) -> io::Result<()> {
    let mut socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?; // connecting waits while the holder's backlog is full
    match socket.connect(name) {
        // Nobody will ever answer: what ends this is the reset, when the holder closes its socket.
        Ok(()) => drop(socket.read(&mut [0])),
        // The holder does not listen yet, or has just gone.
        Err(_) => thread::yield_now(),
    }
    Ok(())
}

/// How long another start in the same folder is waited for. It takes far less than a millisecond.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How many can wait for a lock without trying again and again.
const LOCK_WAITERS_MAX: i32 = 64;

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::super::{Address, Listener, ResolvedAddress, Stream, backlog_max, listen};
    use super::*;
    use std::os::unix::net as std_unix;

    fn on(path: &Path) -> Result<(Listener, Option<SocketFile>), String> {
        listen(&Address::Unix(path.to_owned()), backlog_max(), 0o666).map_err(|error| error.to_string())
    }

    fn refusal(path: &Path) -> String {
        on(path).expect_err("refused")
    }

    fn is_served(path: &Path) -> bool {
        Stream::connect(&ResolvedAddress::Unix(path.to_owned())).is_ok()
    }

    /// As a process leaves it that died.
    fn leave_stale(path: &Path) {
        drop(std_unix::UnixListener::bind(path).expect("bind"));
        assert!(path.exists() && !is_served(path));
    }

    fn names_in(folder: &Folder) -> Vec<std::ffi::OsString> {
        fs::read_dir(&folder.0).expect("readable").map(|entry| entry.expect("an entry").file_name()).collect()
    }

    #[test]
    fn the_file_has_the_mode_asked_for_whatever_the_umask_and_goes_at_the_end() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        for mode in [0o666, 0o600, 0o777] {
            let (_listener, file) = listen(&Address::Unix(path.clone()), 16, mode).expect("listen");
            let found = fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(found & 0o7777, mode, "{found:o}");
            assert_eq!(file.as_ref().map(SocketFile::path), Some(&*path));
            drop(file);
            assert!(names_in(&folder).is_empty());
        }
    }

    #[test]
    fn a_stale_file_is_replaced_and_nothing_is_left_beside_it() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        leave_stale(&path);
        let (_listener, file) = on(&path).expect("replaced");
        assert!(is_served(&path));
        assert_eq!(names_in(&folder), ["rmux.sock"]);
        drop(file);
        assert!(names_in(&folder).is_empty());
    }

    #[test]
    fn a_socket_that_somebody_serves_is_left_alone() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        let (listener, _file) = on(&path).expect("listen");
        assert_eq!(refusal(&path), format!("cannot listen on {}: somebody serves this socket already", path.display()));
        assert!(is_served(&path));
        assert_eq!(names_in(&folder), ["rmux.sock"]);
        drop(listener);
        on(&path).expect("nobody serves it any more");
    }

    #[test]
    fn a_socket_whose_backlog_is_full_is_served_and_does_not_keep_us_waiting() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        let (_listener, _file) = listen(&Address::Unix(path.clone()), 1, 0o666).expect("listen");
        let mut waiting = Vec::new();
        while let Ok(stream) = Stream::connect(&ResolvedAddress::Unix(path.clone())) {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the backlog never fills");
        }
        assert!(refusal(&path).contains("somebody serves"));
    }

    #[test]
    fn a_datagram_socket_is_somebody_else_s() {
        let folder = Folder::new();
        let path = folder.file("syslog.sock");
        let _socket = std_unix::UnixDatagram::bind(&path).expect("bind");
        assert!(refusal(&path).contains("somebody serves"));
        assert_eq!(names_in(&folder), ["syslog.sock"]);
    }

    #[test]
    fn what_is_no_socket_is_never_removed() {
        let folder = Folder::new();
        let (file, directory, link) = (folder.file("file"), folder.file("directory"), folder.file("link"));
        fs::write(&file, "precious").expect("written");
        fs::create_dir(&directory).expect("made");
        std::os::unix::fs::symlink(folder.file("nowhere"), &link).expect("linked");
        for path in [&file, &directory, &link] {
            assert!(refusal(path).contains("there is a file that is not a socket"), "{}", refusal(path));
        }
        assert_eq!(fs::read_to_string(&file).expect("still there"), "precious");
        assert_eq!(names_in(&folder).len(), 3);
    }

    #[test]
    fn a_path_of_107_bytes_is_taken_and_a_longer_one_named_with_its_length() {
        let folder = Folder::new();
        let name = |length: usize| folder.file(&"s".repeat(length - folder.file("").as_os_str().len()));
        let (_listener, _file) = on(&name(107)).expect("just fits");
        assert!(refusal(&name(108)).ends_with("the path has 108 bytes, and that of a socket has 1 to 107"));
        assert!(refusal(Path::new("")).contains("the path has 0 bytes"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_with_the_system_s_words() {
        let folder = Folder::new();
        let error = refusal(&folder.file("missing/rmux.sock"));
        assert!(error.contains("missing/rmux.sock: binding the path: No such file or directory"), "{error}");
    }

    #[test]
    fn a_file_that_was_replaced_meanwhile_is_not_ours_to_remove() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        let (listener, file) = on(&path).expect("listen");
        drop(listener);
        wait_for_another_file_time(&folder, &path);
        // The successor finds it stale, and takes its place before we are gone; often even with the same inode number.
        let (_successor, _its_file) = on(&path).expect("replaced");
        drop(file);
        assert!(is_served(&path), "the successor's file was removed");
    }

    /// File times move in steps of some milliseconds.
    fn wait_for_another_file_time(folder: &Folder, path: &Path) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let other = folder.file("time");
        let made = Identity::of(path).expect("there").made;
        loop {
            fs::write(&other, "").expect("written");
            let differs = Identity::of(&other).expect("there").made != made;
            fs::remove_file(&other).expect("removed");
            if differs {
                return;
            }
            assert!(Instant::now() < deadline, "time stands still");
        }
    }

    #[test]
    fn a_lock_is_waited_for_and_gone_with_its_holder() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        let first = StartLock::of_folder_of(&path, Duration::from_secs(10)).expect("free");
        assert!(StartLock::of_folder_of(&folder.file("other.sock"), Duration::from_millis(50)).is_none(), "held");
        let waiter = thread::spawn(move || StartLock::of_folder_of(&path, Duration::from_secs(10)).is_some());
        drop(first);
        assert!(waiter.join().expect("no panic"), "it was free again");
    }

    #[test]
    fn a_lock_that_somebody_keeps_does_not_keep_us_from_starting() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        let _kept = StartLock::of_folder_of(&path, LOCK_PATIENCE).expect("free");
        on(&path).expect("after a while, without the lock");
    }

    #[test]
    fn of_many_that_start_at_once_over_a_stale_file_one_serves_and_knows_it() {
        let folder = Folder::new();
        for round in 0..50 {
            let path = folder.file(&format!("{round}.sock"));
            leave_stale(&path);
            let start = std::sync::Barrier::new(4);
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let starter = || {
                    start.wait();
                    on(&path)
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(starter)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            let winners: Vec<_> = outcomes.iter().flatten().collect();
            assert_eq!(winners.len(), 1, "round {round}: {outcomes:?}");
            assert!(is_served(&path), "round {round}: {outcomes:?}");
            winners[0].0.accept().expect("it is the winner who is served there");
            drop(outcomes);
            assert!(names_in(&folder).is_empty(), "round {round}: {:?}", names_in(&folder));
        }
    }
}
