//! A report as lines of a terminal, or of a text: no sockets, no terminal.
//!
//! What is wrong stands first; then pools, servers (those that are not well first) and events. Where there
//! are more than
//! fit, each part says how many it leaves out. What came over the network can steer no terminal: control characters are
//! shown as dots.

use crate::admin::interval::{self, Interval};
use crate::admin::report::Report;
use crate::admin::{events, problem, words};
use crate::stats::{Histogram, ServerState};

/// What is to be shown.
pub(super) struct Shown<'a> {
    /// Where it was asked.
    pub place: &'a str,
    pub version: &'a str,
    pub report: &'a Report,
    /// The report before it, if there is one.
    pub before: Option<&'a Report>,
}

/// A line, and how it looks on a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub text: String,
    pub style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Heading,
    Good,
    Warning,
    Grave,
}

impl Style {
    /// What the terminal is sent before such a line.
    pub fn start(self) -> &'static str {
        ["", "\x1b[1m", "\x1b[32m", "\x1b[33m", "\x1b[1;31m"][self as usize]
    }
}

/// All of it, within so many columns and rows, or whole.
pub(super) fn lines(shown: &Shown<'_>, size: Option<(usize, usize)>) -> Vec<Line> {
    let (columns, rows) = size.unwrap_or((COLUMNS_OF_TEXT, usize::MAX / 2));
    let report = shown.report;
    let start = interval::start_of(report);
    let before = shown.before.unwrap_or(&start);
    let interval = Interval::between(before, report);

    let mut all = headline(shown, before, &interval);
    let problems = problem_lines(report, &interval);
    all.extend(cut(problems, (rows / 4).max(2)));
    all.push(plain(""));
    all.extend(cut(pool_lines(report, before, columns), (rows / 5).max(3)));
    all.push(plain(""));
    // Events are left four rows, if they can be.
    let left = rows.saturating_sub(all.len());
    all.extend(cut(server_lines(report, before, columns), left.saturating_sub(5).max(4)));
    let events = event_lines(report);
    let left = rows.saturating_sub(all.len() + 1);
    if left > 1 {
        all.push(plain(""));
        // The newest stand first.
        all.extend(events.into_iter().take(left));
    }
    fit(all, columns, rows)
}

/// What is shown as long as nobody answers.
pub(super) fn trouble(reason: &str, (columns, rows): (usize, usize)) -> Vec<Line> {
    let text = ["no report from ", reason].concat();
    let all = vec![Line { text, style: Style::Grave }, plain("it is asked again each second; q ends")];
    fit(all, columns, rows)
}

fn headline(shown: &Shown<'_>, before: &Report, interval: &Interval) -> Vec<Line> {
    let (report, process) = (shown.report, &shown.report.process);
    let up = words::span(report.unix_ms.saturating_sub(report.started_unix_ms));
    let cpu = words::percent(process.cpu_ms.saturating_sub(before.process.cpu_ms), interval.ms).to_string();
    let at = words::time_of_day(report.unix_ms);
    let resident = words::bytes(process.resident_bytes);
    let clients: u64 = report.pools.iter().map(|pool| pool.figures.clients).sum();
    let rate = |count| words::count(interval.per_second(count));
    let [bytes_in, bytes_out] =
        [interval.bytes_in, interval.bytes_out].map(|bytes| words::bytes(interval.per_second(bytes)));
    let head = [
        "rmux ",
        shown.version,
        " at ",
        shown.place,
        ", process ",
        &process.id.to_string(),
        ", up ",
        &up,
        ", ",
        &at,
        " UTC",
    ];
    let of_late = [
        &words::count(clients),
        " clients, ",
        &rate(interval.requests),
        " requests/s, in ",
        &bytes_in,
        "/s, out ",
        &bytes_out,
        "/s, processor ",
        &cpu,
        " %, memory ",
        &resident,
        ", files ",
        &words::count(process.open_files),
        "/",
        &words::count(process.open_files_max),
    ];
    vec![Line { text: head.concat(), style: Style::Heading }, plain(&of_late.concat())]
}

fn problem_lines(report: &Report, interval: &Interval) -> Vec<Line> {
    let problems = problem::problems(report, interval);
    if problems.is_empty() {
        return vec![Line { text: "all is well".to_owned(), style: Style::Good }];
    }
    let line = |problem: problem::Problem| {
        let style = if problem.is_grave { Style::Grave } else { Style::Warning };
        Line { text: ["! ", &problem.text].concat(), style }
    };
    problems.into_iter().map(line).collect()
}

fn pool_lines(report: &Report, before: &Report, columns: usize) -> Vec<Line> {
    let heads = ["POOL", "REQ/S", "CLIENTS", "WAITING", "WAIT p50", "p99", "SERVER p50", "p99", "ERRORS/S", "MEMORY"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for pool in &report.pools {
        let figures = &pool.figures;
        let interval = Interval::of_pool(before, report, pool);
        let rate = |count| words::count(interval.per_second(count));
        let quantile = |times: &Histogram, thousandths| match times.count() {
            0 => "-".to_owned(),
            _ => words::short_span(times.quantile_us(thousandths)),
        };
        rows.push(vec![
            pool.listen.clone(),
            rate(interval.requests),
            words::count(figures.clients),
            words::count(figures.clients_waiting),
            quantile(&interval.waits, 500),
            quantile(&interval.waits, 990),
            quantile(&interval.durations, 500),
            quantile(&interval.durations, 990),
            rate(interval.own_errors.total() + interval.server_errors.total()),
            words::bytes(figures.buffered_bytes),
        ]);
    }
    if columns < COLUMNS_FOR_MEDIANS {
        for row in &mut rows {
            row.remove(6);
            row.remove(4);
        }
        (rows[0][4], rows[0][5]) = ("WAIT p99".to_owned(), "SERVER p99".to_owned());
    }
    table(&rows, columns)
}

fn server_lines(report: &Report, before: &Report, columns: usize) -> Vec<Line> {
    let heads = ["SERVER", "REQ/S", "STATE", "FOR", "IN FLIGHT", "WAITING", "CONNECTIONS", "TIMEOUTS"];
    let mut states = Vec::new();
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for pool in &report.pools {
        let interval = Interval::of_pool(before, report, pool);
        for (place, (server, address)) in pool.figures.servers.iter().zip(&pool.figures.addresses).enumerate() {
            let requests = interval::requests_of(before, report, pool, place);
            let row = vec![
                address.clone(),
                words::count(interval.per_second(requests)),
                server.state.name().to_owned(),
                words::span(server.state_ms),
                words::count(server.outstanding as u64),
                words::count(server.waiting.iter().sum()),
                words::count(server.connections as u64),
                words::count(server.stats.timeouts),
            ];
            // The worst first, otherwise in their order.
            let at = states.partition_point(|other| *other >= server.state);
            states.insert(at, server.state);
            rows.insert(1 + at, row);
        }
    }
    let mut all = table(&rows, columns);
    for (line, state) in all[1..].iter_mut().zip(states) {
        line.style = match state {
            state if !state.is_up() => Style::Grave,
            ServerState::Up => Style::Plain,
            _ => Style::Warning,
        };
    }
    all
}

fn event_lines(report: &Report) -> Vec<Line> {
    let newest = events::newest(&report.pools);
    if newest.is_empty() {
        return vec![Line { text: "NO EVENTS".to_owned(), style: Style::Heading }];
    }
    let head = Line { text: "LAST EVENTS".to_owned(), style: Style::Heading };
    let lines = newest.iter().rev().map(|event| {
        let at = words::time_of_day(report.unix_ms.saturating_sub(event.age_ms));
        let style = if event.is_warning { Style::Warning } else { Style::Plain };
        let sign = if event.is_warning { " ! " } else { "   " };
        Line { text: [at.as_str(), sign, &event.text].concat(), style }
    });
    [head].into_iter().chain(lines).collect()
}

/// The rows with their columns below each other: the first to the left, the others to the right. The first column is
/// shortened for the others, from its start, where names are alike.
fn table(rows: &[Vec<String>], columns: usize) -> Vec<Line> {
    let width = |text: &String| text.chars().count();
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|column| rows.iter().map(|row| width(&row[column])).max().unwrap_or(0)).collect();
    let others: usize = widths[1..].iter().map(|width| width + 2).sum();
    let first = widths[0].min(columns.saturating_sub(others).max(FIRST_MIN));
    let text_of = |row: &Vec<String>| {
        let name = &row[0];
        let lost = (width(name) + 1).saturating_sub(first + 1);
        let mut text = match lost {
            0 => name.clone(),
            _ => ["…", &name.chars().skip(lost + 1).collect::<String>()].concat(),
        };
        text.push_str(&" ".repeat(first - text.chars().count().min(first)));
        for (cell, column) in row[1..].iter().zip(&widths[1..]) {
            text.push_str(&" ".repeat(2 + column - width(cell)));
            text.push_str(cell);
        }
        text
    };
    let style = |number| if number == 0 { Style::Heading } else { Style::Plain };
    rows.iter().enumerate().map(|(number, row)| Line { text: text_of(row), style: style(number) }).collect()
}

/// At most so many; the last says how many more there are.
fn cut(mut lines: Vec<Line>, max: usize) -> Vec<Line> {
    if lines.len() > max {
        let left_out = lines.len() + 1 - max;
        lines.truncate(max - 1);
        lines.push(plain(&["… and ", &words::count(left_out as u64), " more"].concat()));
    }
    lines
}

fn fit(lines: Vec<Line>, columns: usize, rows: usize) -> Vec<Line> {
    let shown = |char: char| if char.is_control() { '·' } else { char };
    let fitted = lines.into_iter().take(rows).map(|line| {
        let text: String = line.text.chars().take(columns).map(shown).collect();
        Line { text, ..line }
    });
    fitted.collect()
}

fn plain(text: &str) -> Line {
    Line { text: text.to_owned(), style: Style::Plain }
}

/// Lines of a text are as long as they are, within reason.
const COLUMNS_OF_TEXT: usize = 500;

/// With less, there is no room for medians beside the name of a pool.
const COLUMNS_FOR_MEDIANS: usize = 110;

/// The first column has this at the least.
const FIRST_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::sample;

    fn texts(size: Option<(usize, usize)>) -> Vec<String> {
        let (before, report) = (sample::report_before(), sample::report());
        let shown = Shown { place: "127.0.0.1:9121", version: "1.0.0", report: &report, before: Some(&before) };
        lines(&shown, size).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_text_is_whole() {
        let expected = "\
rmux 1.0.0 at 127.0.0.1:9121, process 4711, up 1 d 2 h, 10:12:11 UTC
131 clients, 2,005 requests/s, in 48 KiB/s, out 439 KiB/s, processor 75 %, memory 32 MiB, files 171/16,384
! server redis2:6379 is down since 10:07:59 UTC (4 min 12 s): it does not take connections: \
\"Connection <refused>\" & more
! the name of server redis1:6379 is not found: what was found before is used
! pool /run/rmux/<cache>.sock: clients that wait for a connection: 12; the longest wait was 612 ms
! pool /run/rmux/<cache>.sock: memory is nearly full: 210 MiB of 256 MiB
! rmux itself answered 7 requests with an error within 2 s
! the last reload, at 07:12:09 UTC (3 h 0 min ago), was refused: the log says why

POOL                     REQ/S  CLIENTS  WAITING  WAIT p50    p99  SERVER p50     p99  ERRORS/S   MEMORY
/run/rmux/<cache>.sock   2,000      128       12     48 µs  48 µs      512 µs  6.1 ms         6  210 MiB
localhost:7000               5        3        0     48 µs  48 µs           -       -         0      0 B

SERVER                 REQ/S  STATE         FOR  IN FLIGHT  WAITING  CONNECTIONS  TIMEOUTS
redis2:6379              500   down  4 min 12 s         17       12            0         3
redis1:6379            1,500     up     1 d 2 h         17        0            4         0
/run/redis/queue.sock      0     up     1 d 2 h         17        0            4         0

LAST EVENTS
10:12:02 ! pool /run/rmux/<cache>.sock: client 7v1 closed: it spoke HTTP
10:07:59 ! server redis2:6379 is down: \"Connection <refused>\" & more";
        let expected = expected.replace("/run/rmux/<cache>.sock   2", "/run/rmux/<cache>.sock  2");
        let expected = expected.replace("POOL                     R", "POOL                    R");
        let expected = expected.replace("localhost:7000               5", "localhost:7000              5");
        assert_eq!(texts(None).join("\n"), expected);
    }

    #[test]
    fn every_size_is_kept_and_what_is_wrong_is_never_left_out() {
        for columns in 1..130 {
            for rows in 1..60 {
                let texts = texts(Some((columns, rows)));
                assert!(texts.len() <= rows, "{columns} {rows}");
                assert!(texts.iter().all(|text| text.chars().count() <= columns), "{columns} {rows}: {texts:?}");
                let is_there = texts.iter().any(|text| text.starts_with("! server redis2"));
                assert!(is_there || columns < 20 || rows < 3, "{columns} {rows}: {texts:?}");
            }
        }
        let small = texts(Some((80, 24)));
        assert!(small.iter().any(|text| text.starts_with("SERVER")) && small.iter().any(|text| text == "LAST EVENTS"));
        assert!(small.iter().any(|text| text.starts_with("…un") || text.starts_with("…")), "{small:?}");
    }

    #[test]
    fn many_servers_leave_room_and_say_how_many_are_left_out() {
        let mut report = sample::report();
        let figures = &mut report.pools[0].figures;
        for number in 0..100 {
            figures.servers.insert(0, figures.servers[0].clone());
            figures.addresses.insert(0, format!("redis{number}:1"));
        }
        let shown = Shown { place: "a", version: "1", report: &report, before: None };
        let texts: Vec<String> = lines(&shown, Some((80, 24))).into_iter().map(|line| line.text).collect();
        assert!(texts.len() <= 24 && texts.iter().any(|text| text.starts_with("… and ")), "{texts:?}");
        let first = texts.iter().position(|text| text.starts_with("SERVER")).expect("a heading") + 1;
        assert!(texts[first].starts_with("redis2:6379"), "{texts:?}");
    }

    #[test]
    fn nobody_steers_the_terminal() {
        let mut report = sample::report();
        report.pools[0].listen = "\x1b]0;x\x07\u{9b}31m".to_owned();
        let shown = Shown { place: "a", version: "\x1b[2J", report: &report, before: None };
        for line in lines(&shown, None).into_iter().chain(trouble("a: \x1b[2J\r\n", (80, 24))) {
            assert!(!line.text.contains(char::is_control), "{line:?}");
        }
    }
}
