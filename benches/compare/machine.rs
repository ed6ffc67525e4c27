//! The machine: what the head of the report says about it and about the versions of everything that takes part, and the
//! state of its TCP ports.
//!
//! Reads `/proc` and asks programs for their version; what cannot be read is left out or called unknown.

use std::fs;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::subject::Subject;

/// A Markdown list: processor, cores, memory, kernel, redis, and each subject's version.
pub fn facts(subjects: &[Subject]) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut text = format!("- machine: {}, {cores} cores, {}\n", first("/proc/cpuinfo", "model name"), memory());
    text.push_str(&format!("- kernel: {}\n", read("/proc/sys/kernel/osrelease").trim()));
    text.push_str(&format!("- compiler: {}\n", version("rustc", "--version")));
    text.push_str(&format!("- redis-server: {}\n", version("redis-server", "--version")));
    text.push_str(&format!("- redis-benchmark: {}\n", version("redis-benchmark", "--version")));
    for subject in subjects {
        if let Some((program, flag)) = subject.version_command() {
            text.push_str(&format!("- {}: {}\n", subject.name, version(&program, flag)));
        }
    }
    text
}

/// Today, as UTC.
pub fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    // The civil calendar, counted from a March 1st, so that the day that some years have more is the last of its year.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// The kernel's three load averages.
pub fn load_average() -> String {
    read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// TCP sockets in TIME_WAIT at this moment: each holds a port.
pub fn time_wait() -> u64 {
    let text = read("/proc/net/sockstat");
    let words: Vec<&str> = text.split_whitespace().collect();
    let value = words.windows(2).find(|pair| pair[0] == "tw").map(|pair| pair[1]);
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// How many ports the kernel has for outgoing TCP connections to one address.
pub fn ephemeral_ports() -> u32 {
    let text = read("/proc/sys/net/ipv4/ip_local_port_range");
    let bounds: Vec<u32> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match bounds[..] {
        [first, last] if last >= first => last - first + 1,
        // The kernel's own default.
        _ => 28_232,
    }
}

/// The first line with a number that a program prints about itself.
fn version(program: &str, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return "unknown version".to_owned();
    };
    let mut text = output.stdout;
    text.extend_from_slice(&output.stderr);
    let text = String::from_utf8_lossy(&text);
    // Some say something else before.
    let line = text.lines().map(str::trim).find(|line| line.contains(|c: char| c.is_ascii_digit()));
    // Some begin with their own path, which is nobody's business.
    let line = line.map(|line| line.strip_prefix(program).unwrap_or(line).trim_start());
    line.unwrap_or("unknown version").to_owned()
}

fn memory() -> String {
    let kilobytes: u64 =
        first("/proc/meminfo", "MemTotal").split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0);
    format!("{} MB", kilobytes / 1_024)
}

/// The value of the first `field: value` line.
fn first(path: &str, field: &str) -> String {
    read(path)
        .lines()
        .find(|line| line.starts_with(field))
        .and_then(|line| line.split_once(':'))
        .map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
