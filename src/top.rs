//! `rmux -top`: how a running rmux does, each second anew, as `top` shows processes.
//!
//! It asks the admin endpoint for its report (`source`), and draws what the page shows as lines that fit the terminal
//! (`view`): on the terminal's second screen, which `q`, INT and TERM leave, with everything as it was
//! before. As long as
//! nobody answers it says so, and tries again. Where standard output is no terminal it prints one report, whole, with
//! the rates of one second, and ends.

mod source;
mod view;

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal as _, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};
use signal_hook::{flag, low_level};

use crate::admin::report::Report;
use crate::net::Address;
use crate::thread;
use source::Source;
use view::{Shown, lines};

/// Why it ends without having shown anything.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Shows the rmux whose admin endpoint listens there, until somebody has seen enough.
///
/// # Errors
///
/// When nobody answers and standard output is no terminal, or the system has no descriptors left.
pub fn run(place: &Address) -> Result<(), Failure> {
    let pause = Pause::new().map_err(|error| Failure(error.to_string()))?;
    let mut source = Source::new(place.clone());
    if io::stdout().is_terminal() {
        watch(&mut source, place, &pause);
        return Ok(());
    }
    let (before, _) = source.report().map_err(Failure)?;
    pause.wait();
    let (report, version) = source.report().map_err(Failure)?;
    let shown = Shown { place: &place.to_string(), version: &version, report: &report, before: Some(&before) };
    let text: String = lines(&shown, None).into_iter().flat_map(|line| [line.text, "\n".to_owned()]).collect();
    // A reader that has seen enough is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn watch(source: &mut Source, place: &Address, pause: &Pause) {
    let screen = Screen::enter(pause);
    let place = place.to_string();
    let mut before: Option<Report> = None;
    while !pause.is_over() {
        let size = screen.size();
        let frame = match source.report() {
            Ok((report, version)) => {
                let shown = Shown { place: &place, version: &version, report: &report, before: before.as_ref() };
                let frame = lines(&shown, Some(size));
                // A terminal that changes its size has it drawn at once.
                if before.as_ref().is_none_or(|before| report.unix_ms >= before.unix_ms + 900) {
                    before = Some(report);
                }
                frame
            }
            Err(reason) => view::trouble(&reason, size),
        };
        // Who closes the terminal wants no more.
        if screen.draw(&frame).is_err() {
            return;
        }
        pause.wait();
    }
}

/// What lets a second pass, unless something happens before.
struct Pause {
    heard: UnixStream,
    rung: UnixStream,
    is_over: Arc<AtomicBool>,
}

impl Pause {
    fn new() -> io::Result<Pause> {
        let (heard, rung) = UnixStream::pair()?;
        heard.set_read_timeout(Some(PERIOD))?;
        let is_over = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register(signal, Arc::clone(&is_over))?;
        }
        // Behind the flags: who is woken sees them.
        for signal in [SIGINT, SIGTERM, SIGWINCH] {
            low_level::pipe::register(signal, rung.try_clone()?)?;
        }
        Ok(Pause { heard, rung, is_over })
    }

    fn wait(&self) {
        if !self.is_over() {
            // A signal, or the time.
            let _ = (&self.heard).read(&mut [0; 16]);
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// From now on the key q ends it. The thread stays behind at the end, as the process does not.
    fn listen_to_keys(&self) {
        let Ok(mut rung) = self.rung.try_clone() else { return };
        let is_over = Arc::clone(&self.is_over);
        let read = Box::new(move || {
            let mut key = [0];
            while key != *b"q" {
                match io::stdin().read(&mut key) {
                    Ok(0) => return Ok(()),
                    Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                    _ => {}
                }
            }
            is_over.store(true, Ordering::Relaxed);
            rung.write_all(b"q")
        });
        // Without it, signals end it.
        let _ = thread::spawn("rmux-keys", None, read);
    }
}

/// The terminal's second screen; the first one comes back when this is dropped.
struct Screen {
    /// How the keyboard was before, if it is one.
    keyboard: Option<Termios>,
}

impl Screen {
    fn enter(pause: &Pause) -> Screen {
        let keyboard = termios::tcgetattr(io::stdin()).ok();
        if let Some(keyboard) = &keyboard {
            let mut keys = keyboard.clone();
            keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &keys);
            pause.listen_to_keys();
        }
        let _ = io::stdout().write_all(b"\x1b[?1049h\x1b[?25l");
        Screen { keyboard }
    }

    /// Columns and rows.
    fn size(&self) -> (usize, usize) {
        match termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// Draws over what stands there, without a blank screen between.
    fn draw(&self, frame: &[view::Line]) -> io::Result<()> {
        let mut out = String::from("\x1b[H");
        for (number, line) in frame.iter().enumerate() {
            if number > 0 {
                out.push_str("\r\n");
            }
            [line.style.start(), &line.text, "\x1b[0m\x1b[K"].into_iter().for_each(|part| out.push_str(part));
        }
        out.push_str("\x1b[J");
        let mut stdout = io::stdout();
        stdout.write_all(out.as_bytes())?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = io::stdout().write_all(b"\x1b[?25h\x1b[?1049l");
        let _ = io::stdout().flush();
        if let Some(keyboard) = &self.keyboard {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, keyboard);
        }
    }
}

const PERIOD: Duration = Duration::from_secs(1);
