//! Where the lines of the log go: standard output, or the local syslog.
//!
//! Everyone logs through the `log` crate; this file only knows sinks. Debug lines name their thread, as there are
//! several reactors.
//!
//! - **Standard output**, through simplelog, as the original did: a time stamp in UTC, the level, the text. When it is
//!   the journal's, which stamps each line itself, the time is left out. It never blocks either: a thread of its own
//!   writes (`outlet`).
//! - **Syslog**: one RFC 3164 datagram a line, `<priority>rmux[pid]: text`, to `/dev/log`. It never blocks. The part of
//!   the header that would hold a local time is left out: the receiver fills in its own (RFC 3164, section 4.3), and a
//!   process without a time zone database has none to give.
//!
//! ```text
//! line ─► socket there? ──no──► connect ──failed──► standard output (the first time, with a warning)
//!           └─yes─► send ──failed (syslog restarted)──► connect, send once more
//! ```
//!
//! Invariants: who logs never waits; no line is written twice, and one is lost only while nobody reads standard output,
//! and that is told afterwards; each falling back is announced once.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{env, panic};

use log::{Level, LevelFilter, Log, Metadata, Record};
use outlet::{FLUSH_PATIENCE, LineWriter, Outlet};
use simplelog::{ConfigBuilder, ThreadLogMode, WriteLogger};

mod outlet;

static STDOUT: Outlet = Outlet::new();

/// Starts logging, for the whole process and for good. Who ends the process calls [`flush`] before; a panic does.
///
/// A missing syslog is no error: its lines go to standard output, with one warning.
///
/// # Errors
///
/// If the process has a logger already, or there is no thread for one.
pub fn start(debug: bool, use_syslog: bool) -> io::Result<()> {
    let level = if debug { LevelFilter::Debug } else { LevelFilter::Info };
    log::set_max_level(level);
    STDOUT.start(io::stdout())?;
    let stdout = WriteLogger::new(level, line_format(!is_journal()), LineWriter::new(&STDOUT));
    let sink: Box<dyn Log> =
        if use_syslog { Box::new(Syslog::new(Path::new(SYSLOG_SOCKET), level, stdout)) } else { stdout };
    let set = log::set_boxed_logger(Box::new(OneLine(sink)));
    // With panic = "abort" nothing comes after the hook.
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        flush();
        tell(panic);
    }));
    set.map_err(io::Error::other)
}

/// Waits until all lines are written, but not for a reader that does not read.
pub fn flush() {
    STDOUT.flush(FLUSH_PATIENCE);
}

/// A record is one line, whatever is in it: what peers say is escaped before, and this is for all the rest (a path, an
/// error of the system).
struct OneLine(Box<dyn Log>);

impl Log for OneLine {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let text = record.args().to_string();
        if !text.contains(char::is_control) {
            return self.0.log(record);
        }
        let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        self.0.log(&Record::builder().level(record.level()).args(format_args!("{text}")).build());
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// simplelog's own time formats are `hour:minute:second`, without a date, and RFC 3339: the latter.
fn line_format(with_time: bool) -> simplelog::Config {
    ConfigBuilder::new()
        .set_time_level(if with_time { LevelFilter::Error } else { LevelFilter::Off })
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Debug)
        .set_thread_mode(ThreadLogMode::Names)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}

/// Whether standard output is the journal's socket: systemd tells its device and inode in `JOURNAL_STREAM`, and a child
/// whose output was sent elsewhere inherits the variable all the same.
fn is_journal() -> bool {
    env::var("JOURNAL_STREAM").is_ok_and(|announced| is_file(&announced, Path::new("/proc/self/fd/1")))
}

/// Whether the file is the one of this `device:inode`.
fn is_file(device_and_inode: &str, path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| device_and_inode == format!("{}:{}", file.dev(), file.ino()))
}

/// The local syslog, with another sink for when it is not there.
struct Syslog {
    path: PathBuf,
    level: LevelFilter,
    link: Mutex<Link>,
    fallback: Box<dyn Log>,
}

#[derive(Default)]
struct Link {
    socket: Option<UnixDatagram>,
    /// True exactly when the last line went to the fallback.
    is_down: bool,
}

impl Syslog {
    fn new(path: &Path, level: LevelFilter, fallback: Box<dyn Log>) -> Syslog {
        Syslog { path: path.to_owned(), level, link: Mutex::default(), fallback }
    }

    /// Sends over the socket that is open, if it still leads somewhere, else over a new one.
    fn send(&self, link: &mut Link, datagram: &[u8]) -> io::Result<()> {
        if let Some(socket) = &link.socket {
            match socket.send(datagram) {
                Ok(_) => return Ok(()),
                // It is there, and has enough to do: a new socket would end in the same queue.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => link.socket = None,
            }
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        socket.send(datagram)?;
        link.socket = Some(socket);
        Ok(())
    }
}

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let datagram = datagram(record);
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        match self.send(&mut link, &datagram) {
            Ok(()) => link.is_down = false,
            Err(error) => {
                if !link.is_down {
                    let path = self.path.display();
                    self.fallback.log(
                        &Record::builder()
                            .level(Level::Warn)
                            .args(format_args!(
                                "syslog at {path}: {error}: logging to standard output until it is back"
                            ))
                            .build(),
                    );
                }
                link.is_down = true;
                self.fallback.log(record);
            }
        }
    }

    fn flush(&self) {
        self.fallback.flush();
    }
}

/// `<priority>rmux[pid]: text`, of a bounded length.
fn datagram(record: &Record<'_>) -> Vec<u8> {
    let severity = match record.level() {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    let mut bytes = Vec::with_capacity(128);
    let header = (FACILITY_DAEMON * 8 + severity, std::process::id());
    write!(bytes, "<{}>rmux[{}]: {}", header.0, header.1, record.args()).expect("writing to a vector cannot fail");
    if bytes.len() > DATAGRAM_BYTES_MAX {
        let mut end = DATAGRAM_BYTES_MAX;
        // Not in the middle of a UTF-8 sequence: its later bytes begin with the bits 10.
        while bytes[end] & 0b1100_0000 == 0b1000_0000 {
            end -= 1;
        }
        bytes.truncate(end);
    }
    bytes
}

const SYSLOG_SOCKET: &str = "/dev/log";

/// "System daemons", RFC 3164 section 4.1.1.
const FACILITY_DAEMON: u32 = 3;

/// RFC 3164 promises that 1024 bytes arrive; every local syslog takes more, some no more than 8192.
const DATAGRAM_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// A fallback that remembers its lines.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl Log for Lines {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &Record<'_>) {
            self.0.lock().unwrap().push(format!("{} {}", record.level(), record.args()));
        }
        fn flush(&self) {}
    }

    impl Lines {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    /// A folder of its own, gone afterwards.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let name = format!("rmux-logger-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn say(log: &dyn Log, level: Level, text: &str) {
        log.log(&Record::builder().level(level).args(format_args!("{text}")).build());
    }

    fn bind(path: &Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 10_000];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn syslog(folder: &Folder, level: LevelFilter) -> (Syslog, PathBuf, Lines) {
        let (path, lines) = (folder.0.join("log"), Lines::default());
        (Syslog::new(&path, level, Box::new(lines.clone())), path, lines)
    }

    #[test]
    fn a_line_is_a_datagram_with_priority_name_and_process() {
        let folder = Folder::new();
        let (log, path, lines) = syslog(&folder, LevelFilter::Info);
        let server = bind(&path);
        let pid = std::process::id();
        for (level, priority) in [(Level::Error, 27), (Level::Warn, 28), (Level::Info, 30)] {
            say(&log, level, "server a:1 is down");
            assert_eq!(receive(&server), format!("<{priority}>rmux[{pid}]: server a:1 is down"));
        }
        say(&log, Level::Debug, "too quiet");
        say(&log, Level::Info, "all is well");
        assert_eq!(receive(&server), format!("<30>rmux[{pid}]: all is well"), "and the debug line was not sent");
        assert_eq!(lines.take(), Vec::<String>::new());
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let lines = Lines::default();
        let log = OneLine(Box::new(lines.clone()));
        say(&log, Level::Info, "two\r\nlines \x1b[2J\0\u{9b}");
        say(&log, Level::Warn, "none of that");
        assert_eq!(lines.take(), ["INFO two  lines  [2J  ", "WARN none of that"]);
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let folder = Folder::new();
        let (log, path, _) = syslog(&folder, LevelFilter::Info);
        let server = bind(&path);
        for shift in 0..4 {
            say(&log, Level::Info, &format!("{}{}", "x".repeat(shift), "\u{20ac}".repeat(5000)));
            let line = receive(&server);
            assert!((DATAGRAM_BYTES_MAX - 3..=DATAGRAM_BYTES_MAX).contains(&line.len()), "{}", line.len());
        }
    }

    #[test]
    fn without_syslog_lines_go_to_standard_output_and_one_warning() {
        let folder = Folder::new();
        let (log, path, lines) = syslog(&folder, LevelFilter::Info);
        say(&log, Level::Info, "one");
        say(&log, Level::Info, "two");
        let found = lines.take();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with(&format!("WARN syslog at {}: ", path.display())), "{found:?}");
        assert_eq!(found[1..], ["INFO one", "INFO two"]);

        let server = bind(&path);
        say(&log, Level::Info, "three");
        assert!(receive(&server).ends_with(": three"));
        assert_eq!(lines.take(), Vec::<String>::new());
    }

    #[test]
    fn a_syslog_that_restarts_loses_no_line() {
        let folder = Folder::new();
        let (log, path, lines) = syslog(&folder, LevelFilter::Info);
        let first = bind(&path);
        say(&log, Level::Info, "one");
        assert!(receive(&first).ends_with(": one"));

        drop(first);
        fs::remove_file(&path).unwrap();
        let second = bind(&path);
        say(&log, Level::Info, "two");
        assert!(receive(&second).ends_with(": two"), "it is found again within the same line");

        drop(second);
        say(&log, Level::Info, "three");
        assert_eq!(lines.take()[1..], ["INFO three"]);
        fs::remove_file(&path).unwrap();
        let third = bind(&path);
        say(&log, Level::Info, "four");
        assert!(receive(&third).ends_with(": four"));

        drop(third);
        say(&log, Level::Info, "five");
        assert_eq!(lines.take().len(), 2, "a new fall is announced again");
    }

    #[test]
    fn a_syslog_that_does_not_read_never_blocks() {
        let folder = Folder::new();
        let (log, path, lines) = syslog(&folder, LevelFilter::Info);
        let server = bind(&path);
        let mut sent = 0;
        while lines.0.lock().unwrap().is_empty() {
            say(&log, Level::Info, "line");
            sent += 1;
            assert!(sent < 1_000_000, "its queue has an end");
        }
        let found = lines.take();
        assert!(found[0].starts_with("WARN syslog at "), "{found:?}");
        assert_eq!(found[1..], ["INFO line"]);
        assert!(receive(&server).ends_with(": line"));
        say(&log, Level::Info, "after");
        assert_eq!(lines.take(), Vec::<String>::new(), "there is room again");
    }

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        let folder = Folder::new();
        let (path, other) = (folder.0.join("out"), folder.0.join("other"));
        let file = fs::File::create(&path).unwrap().metadata().unwrap();
        fs::File::create(&other).unwrap();
        let announced = format!("{}:{}", file.dev(), file.ino());
        assert!(is_file(&announced, &path));
        assert!(!is_file(&announced, &other), "the variable is inherited, the output was sent elsewhere");
        assert!(!is_file(&announced, &folder.0.join("none")));
        assert!(!is_file("", &path));
    }

    #[test]
    fn standard_output_has_a_time_unless_the_journal_adds_it() {
        for (with_time, is_stamped) in [(true, true), (false, false)] {
            let folder = Folder::new();
            let path = folder.0.join("out");
            let log = WriteLogger::new(LevelFilter::Info, line_format(with_time), fs::File::create(&path).unwrap());
            say(&*log, Level::Info, "hello");
            let line = fs::read_to_string(&path).unwrap();
            assert!(line.ends_with("[INFO] hello\n"), "{line:?}");
            let stamp = line.strip_suffix("[INFO] hello\n").unwrap();
            assert_eq!(stamp.len() > 19 && stamp.as_bytes()[10] == b'T' && stamp.ends_with("Z "), is_stamped);
            assert_eq!(stamp.is_empty(), !is_stamped, "{line:?}");
        }
    }
}
