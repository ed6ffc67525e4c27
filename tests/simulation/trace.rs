//! What happened last: kept only when a seed is run again to be shown.

use std::cell::RefCell;
use std::collections::VecDeque;

const LINES_MAX: usize = 60;

#[derive(Default)]
struct Trace {
    is_on: bool,
    is_printed: bool,
    step: u64,
    now: u64,
    lines: VecDeque<String>,
}

thread_local! {
    static TRACE: RefCell<Trace> = RefCell::default();
}

/// Takes in what the proxy logs.
struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        is_on()
    }

    fn log(&self, record: &log::Record<'_>) {
        if is_on() {
            add(format!("  {}", record.args()));
        }
    }

    fn flush(&self) {}
}

/// Keeps, and perhaps prints, what is traced on this thread from now on.
pub fn start(is_printed: bool) {
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
    TRACE.with_borrow_mut(|trace| *trace = Trace { is_on: true, is_printed, ..Trace::default() });
}

pub fn is_on() -> bool {
    TRACE.with_borrow(|trace| trace.is_on)
}

pub fn at(step: u64, now: u64) {
    TRACE.with_borrow_mut(|trace| (trace.step, trace.now) = (step, now));
}

pub fn step() -> u64 {
    TRACE.with_borrow(|trace| trace.step)
}

pub fn add(text: String) {
    TRACE.with_borrow_mut(|trace| {
        let line = format!("step {} at {} ms: {text}", trace.step, trace.now);
        if trace.is_printed {
            eprintln!("{line}");
        }
        if trace.lines.len() == LINES_MAX {
            trace.lines.pop_front();
        }
        trace.lines.push_back(line);
    });
}

pub fn last_lines() -> Vec<String> {
    TRACE.with_borrow_mut(|trace| trace.lines.drain(..).collect())
}
