//! What the system says about this process, from `/proc`. What cannot be read there is 0.

use std::fs;

use super::report::Process;
use crate::net;

/// How it is now.
pub(super) fn look() -> Process {
    let read = |name: &str| fs::read_to_string(["/proc/self/", name].concat()).unwrap_or_default();
    let open_files = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    Process {
        id: std::process::id(),
        cpu_ms: cpu_ms(&read("stat")).unwrap_or(0),
        resident_bytes: resident_bytes(&read("status")).unwrap_or(0),
        // One of them is for looking.
        open_files: open_files.saturating_sub(1),
        open_files_max: net::file_limit(),
    }
}

/// User and system, which `stat` has in ticks. They are the 12th and 13th word behind the name, which may have blanks.
fn cpu_ms(stat: &str) -> Option<u64> {
    let mut words = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || words.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * TICK_MS)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Linux shows user space 100 ticks per second everywhere.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_understood() {
        assert_eq!(cpu_ms("1 (a) b) S 1 2 3 4 5 6 7 8 9 10 120 34 0"), Some(1540));
        assert_eq!(cpu_ms("1 (a"), None);
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        let own = look();
        assert!(own.id == std::process::id() && own.resident_bytes > 1 << 16 && own.open_files_max > 0);
        let file = fs::File::open("/proc/self/stat").expect("Linux has it");
        assert!(own.open_files >= 3, "{own:?}");
        drop(file);
    }
}
