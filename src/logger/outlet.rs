//! Standard output, behind a queue: who logs a line never waits for whoever reads them.
//!
//! A terminal that was stopped, a full pipe, a journal that hangs: a write there blocks for as long as it likes, and no
//! flag can be set against that, since the open file is shared with other processes. So one thread does nothing but
//! write, and everybody else appends to a queue in memory:
//!
//! ```text
//!   LineWriter ─► queue (bounded) ─► the thread takes all of it ─► write
//!        └─ full: the line is lost, and counted ─► as soon as there is room: "N lines of the log are lost"
//! ```
//!
//! Invariants: `queued` holds whole lines only, in their order, and at most [`QUEUED_BYTES_MAX`] bytes; no lock is held
//! while something is written, and nothing that holds one can panic.

use std::io::{self, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::warn;

use crate::thread;

/// Lines on their way to a reader that may not read them.
pub(super) struct Outlet {
    state: Mutex<State>,
    is_news: Condvar,
    is_quiet: Condvar,
}

struct State {
    queued: Vec<u8>,
    /// Lines for which there was no room, and which nobody was told about.
    lost: u64,
    /// True while the thread has lines that it has not written.
    is_writing: bool,
}

impl Outlet {
    pub const fn new() -> Outlet {
        let state = State { queued: Vec::new(), lost: 0, is_writing: false };
        Outlet { state: Mutex::new(state), is_news: Condvar::new(), is_quiet: Condvar::new() }
    }

    /// Starts the thread that writes to `sink`, for good.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn start(&'static self, sink: impl Write + Send + 'static) -> io::Result<()> {
        let run = Box::new(move || {
            self.run(sink);
            Ok(())
        });
        thread::spawn("rmux-log", Some(STACK_BYTES), run).map(drop)
    }

    /// Queues a whole line, unless there is no room for it.
    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.queued.len() + line.len() > QUEUED_BYTES_MAX {
            state.lost += 1;
            return;
        }
        state.queued.extend_from_slice(line);
        self.is_news.notify_one();
    }

    /// Waits until everything is written, but no longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.queued.is_empty();
        drop(self.is_quiet.wait_timeout_while(self.state(), patience, is_busy));
    }

    fn run(&self, mut sink: impl Write) {
        let mut batch = Vec::new();
        loop {
            let mut state = self.state();
            state.is_writing = false;
            while state.queued.is_empty() {
                self.is_quiet.notify_all();
                state = self.is_news.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.is_writing = true;
            mem::swap(&mut state.queued, &mut batch);
            let lost = mem::take(&mut state.lost);
            drop(state);
            if lost > 0 {
                // In its place: behind the last line that found room, and there is room now.
                let s = if lost == 1 { "" } else { "s" };
                warn!("{lost} line{s} of the log lost: standard output was not read in time");
            }
            // Nobody is left to be told that a write has failed.
            let _ = sink.write_all(&batch).and_then(|()| sink.flush());
            batch.clear();
            batch.shrink_to(KEPT_BYTES_MAX);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes text in pieces, and queues it line by line.
pub(super) struct LineWriter {
    outlet: &'static Outlet,
    line: Vec<u8>,
}

impl LineWriter {
    pub fn new(outlet: &'static Outlet) -> LineWriter {
        LineWriter { outlet, line: Vec::new() }
    }
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if self.line.ends_with(b"\n") {
            self.outlet.push(&self.line);
            self.line.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outlet.flush(FLUSH_PATIENCE);
        Ok(())
    }
}

/// For how long the end of the process waits for the last lines to be written.
pub(super) const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Some hundred lines: enough for a burst, and little for a small host.
const QUEUED_BYTES_MAX: usize = 128 * 1024;

/// Memory that is kept for the next lines.
const KEPT_BYTES_MAX: usize = 8 * 1024;

/// It calls nothing deep: a write, and the writing of one line of its own.
const STACK_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    /// A sink that takes a write only when it is told to.
    struct Slow {
        go: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.go.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.written.send(bytes.to_vec()).map_err(|_| io::ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow_outlet() -> (&'static Outlet, Sender<()>, Receiver<Vec<u8>>) {
        let outlet: &'static Outlet = Box::leak(Box::new(Outlet::new()));
        let ((go, gone), (written, read)) = (channel(), channel());
        outlet.start(Slow { go: gone, written }).expect("a thread");
        (outlet, go, read)
    }

    #[test]
    fn a_reader_that_does_not_read_stops_nobody_and_costs_a_bounded_amount_of_memory() {
        let (outlet, go, read) = slow_outlet();
        let mut lines = LineWriter::new(outlet);
        writeln!(lines, "line 0").expect("it never fails");
        // From the moment on that the thread has that in its hands, it takes no more.
        let begun = Instant::now();
        while !outlet.state().queued.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the thread takes what there is");
            std::thread::yield_now();
        }
        for number in 1..100_000 {
            writeln!(lines, "line {number}").expect("it never fails");
        }
        let lost = outlet.state().lost;
        assert!(lost > 50_000 && outlet.state().queued.len() <= QUEUED_BYTES_MAX, "{lost} lines are lost");
        let begun = Instant::now();
        outlet.flush(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(10), "a flush gives up, too");

        // As soon as it reads, it has the first lines, whole and in order, and there is room again.
        let next = || {
            go.send(()).expect("the thread waits");
            let batch = read.recv_timeout(Duration::from_secs(10)).expect("it goes on");
            String::from_utf8(batch).expect("ASCII")
        };
        let mut text = next();
        while text.len() + 32 < QUEUED_BYTES_MAX {
            text += &next();
        }
        assert!(text.ends_with('\n'), "whole lines");
        assert!(text.lines().enumerate().all(|(number, line)| line == format!("line {number}")));
        writeln!(lines, "after").expect("it never fails");
        text += &next();
        while !text.ends_with("after\n") {
            text += &next();
        }
        assert_eq!(outlet.state().lost, 0, "what is lost is told once");
    }

    #[test]
    fn a_line_is_whole_whatever_pieces_it_comes_in_and_a_flush_waits_for_it() {
        let (outlet, go, read) = slow_outlet();
        let mut lines = LineWriter::new(outlet);
        lines.write_all(b"2025-01-01 ").expect("it never fails");
        assert!(outlet.state().queued.is_empty(), "another thread's line may come before the rest");
        lines.write_all(b"[INFO] x\n").expect("it never fails");
        go.send(()).expect("the thread waits");
        lines.flush().expect("it never fails");
        assert_eq!(read.try_recv().expect("written already"), b"2025-01-01 [INFO] x\n");
    }
}
