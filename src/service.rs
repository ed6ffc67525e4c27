//! What rmux is to the system that runs it: a service with a manager, a process with a pid file and an owner.
//!
//! [`Manager`] is the service manager (systemd, or whoever speaks its protocol, `sd_notify(3)`): it is told when rmux
//! is ready, that it is still alive, that it reads its configuration again, and that it stops. Each message is one
//! datagram of lines `NAME=value`, sent to the socket that the environment names; without one there is no manager, and
//! nothing is said. The rest has places of its own:
//!
//! ```text
//!   account      the names of a user and a group → numbers
//!   activation   the listening socket that the manager has opened
//!   pid_file     a file with the process's number in it
//!   privileges   root → that user, by starting this program anew
//!   successor    what a process leaves to the one that its program is started anew as
//!   upgrade      a new process takes over, and this one goes when its clients have gone
//! ```
//!
//! Knows nothing of what is served. Everything here is done with the standard library: a message, a file, an `exec`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use log::warn;

mod account;
pub mod activation;
mod pid_file;
pub mod privileges;
pub mod successor;
pub mod upgrade;

pub use pid_file::PidFile;

/// Whoever started this process, and wants to hear of it.
#[derive(Debug)]
pub struct Manager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that the environment tells of (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`), or none. One that
    /// cannot be reached gets a line in the log.
    ///
    /// The watchdog may be for another process, such as a shell that has started this one; where this process takes
    /// over from another, `is_watched` says whether it was for that one.
    pub fn of_environment(is_watched: Option<bool>) -> Manager {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()).and_then(|name| {
            let connected = connect(&name);
            connected
                .inspect_err(|error| warn!("the service manager at {name:?} cannot be told anything: {error}"))
                .ok()
        });
        let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
        let own = std::process::id().into();
        let whose = match is_watched {
            None => number("WATCHDOG_PID"),
            Some(is_watched) => is_watched.then_some(own).or(Some(0)),
        };
        let watchdog = watchdog(number("WATCHDOG_USEC"), whose, own);
        Manager::new(socket, watchdog)
    }

    /// One that listens at the other end of this socket, and has so much patience; without a socket, none.
    pub fn new(socket: Option<UnixDatagram>, watchdog: Option<Duration>) -> Manager {
        Manager { watchdog: watchdog.filter(|_| socket.is_some()), socket }
    }

    /// How long the manager waits for a sign of life before it takes this process for stuck; `None` if it does not.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Another process is the service from now on.
    pub fn tell_main_process(&self, process: u32) {
        self.tell(&format!("MAINPID={process}"));
    }

    /// Everything is as it should be, from now on; `status` is one line for people.
    pub fn tell_ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is read anew, until it is ready again.
    pub fn tell_reloading(&self) {
        let since_boot = monotonic_microseconds().map_or(String::new(), |span| format!("MONOTONIC_USEC={span}\n"));
        self.tell(&format!("RELOADING=1\n{since_boot}STATUS=reads its configuration again"));
    }

    /// Still here, and working.
    pub fn tell_alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// The end has begun.
    pub fn tell_stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=answers what is outstanding");
    }

    /// It waits for a manager that does not listen; there is nothing else to do then, as it hears of nothing more.
    fn tell(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            let first = message.lines().next().unwrap_or_default();
            warn!("the service manager was not told {first}: {error}");
        }
    }
}

/// The system's monotonic clock, by which systemd tells the answer to its own request from an earlier one.
///
/// It is what an `Instant` holds on Linux, which the standard library shows and does not give. What `/proc/uptime` says
/// would be the clock that counts a machine's sleep as well, and a unit with `ProcSubset=pid` does not see it.
fn monotonic_microseconds() -> Option<u64> {
    let shown = format!("{:?}", Instant::now());
    let field = |name: &str| {
        let digits = shown.split_once(name)?.1;
        digits.split(|char: char| !char.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    Some(field("tv_sec: ")? * 1_000_000 + field("tv_nsec: ")? / 1_000)
}

/// A path, or the name of an abstract socket behind an `@`.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    Ok(socket)
}

/// A watchdog for another process, such as a shell that started this one, is none of ours.
fn watchdog(microseconds: Option<u64>, process: Option<u64>, own: u64) -> Option<Duration> {
    let is_ours = process.is_none_or(|process| process == own);
    microseconds.filter(|&span| span > 0 && is_ours).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_that_of_this_process() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(Some(1_000_000), None, 7), second);
        assert_eq!(watchdog(Some(1_000_000), Some(7), 7), second);
        assert_eq!(watchdog(Some(1_000_000), Some(8), 7), None);
        assert_eq!(watchdog(Some(0), Some(7), 7), None);
        assert_eq!(watchdog(None, Some(7), 7), None);
    }

    #[test]
    fn the_monotonic_clock_is_the_system_s() {
        let stat = std::fs::read_to_string("/proc/uptime").expect("Linux has it");
        let uptime: f64 = stat.split(' ').next().expect("a first word").parse().expect("seconds");
        let before = monotonic_microseconds().expect("this standard library shows it as expected");
        let after = monotonic_microseconds().expect("it shows it again");
        assert!(before <= after && before > 0);
        // That clock goes on while the machine sleeps, and is cut to hundredths of a second.
        assert!(before as f64 / 1e6 < uptime + 1.0, "{before} µs, and {uptime} s since boot");
    }

    #[test]
    fn a_manager_is_reached_by_a_path_or_an_abstract_name() {
        let name = format!("rmux-service-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let by_path = UnixDatagram::bind(&path).expect("the folder can be written");
        let abstract_name = SocketAddr::from_abstract_name(&name).expect("short enough");
        let by_name = UnixDatagram::bind_addr(&abstract_name).expect("nobody else has this name");
        for (receiver, address) in [(by_path, path.clone().into_os_string()), (by_name, format!("@{name}").into())] {
            let manager = Manager::new(Some(connect(&address).expect("somebody listens")), None);
            manager.tell_ready("listens");
            let mut buffer = [0; 64];
            let length = receiver.recv(&mut buffer).expect("one datagram");
            assert_eq!(&buffer[..length], b"READY=1\nSTATUS=listens");
        }
        std::fs::remove_file(&path).expect("it is still there");
        assert_eq!(connect(OsStr::new("vsock:2:1")).expect_err("no socket of ours").kind(), io::ErrorKind::Unsupported);
        connect(path.as_os_str()).expect_err("nobody is there");
        Manager::new(None, None).tell_ready("nobody hears it");
    }
}
