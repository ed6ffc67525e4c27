//! What several servers say of themselves in INFO, added up: memory, keys, hits and misses, commands, errors.
//!
//! Pure: texts in, lines out. Only what has a sum that means something is taken, from a list of names; what is
//! different with each server (its role, its policies, when it saved last) is for its own INFO to tell.
//!
//! ```text
//!   keyspace_hits:7                       keyspace_hits:5                ─►  keyspace_hits:12
//!   db0:keys=3,expires=1,avg_ttl=900      db0:keys=1,expires=1,avg_ttl=100   db0:keys=4,expires=2,avg_ttl=500
//! ```
//!
//! Lines stand in the order of their names. A line that is not what it should be is left out.
//!
//! Bounded, whatever a server says: a text of `TEXT_BYTES_MAX`, or none of it; `LINES_MAX`; `NUMBERS_MAX` in a
//! line. The work is in proportion to the texts.

use super::fields::push;
use crate::reply;

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// All together.
    Sum,
    /// The most that one has: of what rmux does at all of them at once.
    Max,
    /// All together, unless one has no limit: 0.
    Limit,
}

/// The fields that are taken as they are, each number for itself.
const FIELDS: &[(&str, &[&str], Rule)] = &[
    ("Clients", &["blocked_clients", "tracking_clients", "clients_in_timeout_table"], Rule::Sum),
    (
        "Memory",
        &[
            "used_memory",
            "used_memory_rss",
            "used_memory_peak",
            "used_memory_overhead",
            "used_memory_startup",
            "used_memory_dataset",
            "used_memory_lua",
            "used_memory_scripts",
            "mem_not_counted_for_evict",
            "mem_clients_normal",
            "mem_clients_slaves",
            "mem_fragmentation_bytes",
            "allocator_allocated",
            "allocator_active",
            "allocator_resident",
            "allocator_frag_bytes",
            "allocator_rss_bytes",
            "active_defrag_running",
            "lazyfree_pending_objects",
            "lazyfreed_objects",
            "number_of_cached_scripts",
        ],
        Rule::Sum,
    ),
    ("Memory", &["maxmemory"], Rule::Limit),
    ("Persistence", &["rdb_changes_since_last_save"], Rule::Sum),
    (
        "Persistence",
        &["rdb_bgsave_in_progress", "aof_enabled", "aof_rewrite_in_progress", "aof_rewrite_scheduled"],
        Rule::Max,
    ),
    (
        "Stats",
        &[
            "instantaneous_ops_per_sec",
            "total_net_input_bytes",
            "total_net_output_bytes",
            "expired_keys",
            "evicted_keys",
            "keyspace_hits",
            "keyspace_misses",
            "total_error_replies",
            "unexpected_error_replies",
            "total_reads_processed",
            "total_writes_processed",
            "io_threaded_reads_processed",
            "io_threaded_writes_processed",
            "expired_time_cap_reached_count",
            "active_defrag_hits",
            "active_defrag_misses",
            "active_defrag_key_hits",
            "active_defrag_key_misses",
            "tracking_total_keys",
            "tracking_total_items",
            "tracking_total_prefixes",
            "slave_expires_tracked_keys",
            "migrate_cached_sockets",
            "dump_payload_sanitizations",
        ],
        Rule::Sum,
    ),
    ("Stats", &["pubsub_channels", "pubsub_patterns", "pubsubshard_channels", "latest_fork_usec"], Rule::Max),
    ("Clients", &["client_recent_max_input_buffer", "client_recent_max_output_buffer"], Rule::Max),
    (
        "CPU",
        &[
            "used_cpu_sys",
            "used_cpu_user",
            "used_cpu_sys_children",
            "used_cpu_user_children",
            "used_cpu_sys_main_thread",
            "used_cpu_user_main_thread",
        ],
        Rule::Sum,
    ),
];

/// The beginnings of fields that have several numbers, each with a name: `db0:keys=3,expires=1,avg_ttl=0`.
const LISTS: [(&str, &str); 3] = [("cmdstat_", "Commandstats"), ("errorstat_", "Errorstats"), ("db", "Keyspace")];

/// A number with up to six digits behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number {
    whole: u64,
    /// Below a million.
    millionths: u32,
    /// As many digits are shown behind the point.
    digits: u8,
}

#[derive(Debug, PartialEq, Eq)]
struct Line {
    section: &'static str,
    name: Box<str>,
    /// One without a name, or several with names.
    numbers: Vec<(Box<str>, Number)>,
}

/// What the servers say, together.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ServersInfo {
    /// How many have told something.
    servers: u64,
    /// In the order of their names, each of which is there once.
    lines: Vec<Line>,
}

/// What a server with all of Redis's commands says of each of them is less than half of this.
const TEXT_BYTES_MAX: usize = 128 * 1024;
const LINES_MAX: usize = 2048;
const NUMBERS_MAX: usize = 16;

impl ServersInfo {
    /// Adds what one server says: the text of an INFO, whatever sections it has. One that says too much is as one that
    /// was not asked.
    pub fn add(&mut self, text: &str) {
        if text.len() > TEXT_BYTES_MAX {
            return;
        }
        self.servers += 1;
        for line in text.lines() {
            if let Some((line, rule)) = line.split_once(':').and_then(|(name, value)| read_line(name, value)) {
                self.add_line(line, rule);
            }
        }
    }

    /// How many servers it is the sum of.
    pub fn servers(&self) -> u64 {
        self.servers
    }

    /// Appends the lines of one section, without its head line.
    pub fn write(&self, section: &str, text: &mut Vec<u8>) {
        for line in self.lines.iter().filter(|line| line.section == section) {
            push(text, &[&line.name]);
            for (index, (name, number)) in line.numbers.iter().enumerate() {
                let sign = if name.is_empty() { "" } else { "=" };
                push(text, &[if index == 0 { ":" } else { "," }, name, sign]);
                number.write(text);
            }
            push(text, &["\r\n"]);
        }
    }

    fn add_line(&mut self, line: Line, rule: Rule) {
        let place = match self.lines.binary_search_by(|known| known.name.cmp(&line.name)) {
            Ok(place) => place,
            // Of those with one number there is a list.
            Err(_) if self.lines.len() >= LINES_MAX && !line.numbers[0].0.is_empty() => return,
            Err(place) => return self.lines.insert(place, line),
        };
        let own = &mut self.lines[place].numbers;
        let whole = |numbers: &[(Box<str>, Number)], name: &str| {
            numbers.iter().find(|(own, _)| &**own == name).map_or(0, |(_, number)| number.whole)
        };
        let (own_keys, other_keys) = (whole(own, "expires"), whole(&line.numbers, "expires"));
        for (name, number) in line.numbers {
            let Some((_, own)) = own.iter_mut().find(|(own, _)| *own == name) else {
                own.push((name, number));
                continue;
            };
            match (&*name, rule) {
                ("avg_ttl", _) => {
                    let sum =
                        own.whole.saturating_mul(own_keys).saturating_add(number.whole.saturating_mul(other_keys));
                    own.whole = sum / (own_keys + other_keys).max(1);
                }
                (_, Rule::Max) => own.whole = own.whole.max(number.whole),
                (_, Rule::Limit) if own.whole == 0 || number.whole == 0 => own.whole = 0,
                (_, Rule::Sum | Rule::Limit) => own.add(number),
            }
        }
        // The one number that others follow from.
        let (calls, usec) = (whole(own, "calls").max(1), whole(own, "usec"));
        if let Some((_, each)) = own.iter_mut().find(|(name, _)| &**name == "usec_per_call") {
            each.whole = usec / calls;
            each.millionths = (100 * (usec % calls) / calls) as u32 * 10_000;
        }
    }
}

/// What is taken of a line, and how it is added to others; `None` if nothing is.
fn read_line(name: &str, value: &str) -> Option<(Line, Rule)> {
    if let Some((section, _, rule)) = FIELDS.iter().find(|(_, names, _)| names.contains(&name)) {
        let numbers = vec![(Box::default(), Number::read(value)?)];
        return Some((Line { section, name: name.into(), numbers }, *rule));
    }
    let (prefix, section) = LISTS.iter().find(|(prefix, _)| name.starts_with(prefix))?;
    if *prefix == "db" && !name[2..].bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut numbers = Vec::new();
    for part in value.split(',') {
        let (name, number) = part.split_once('=')?;
        if numbers.len() >= NUMBERS_MAX {
            return None;
        }
        numbers.push((name.into(), Number::read(number)?));
    }
    Some((Line { section, name: name.into(), numbers }, Rule::Sum))
}

const DIGITS: usize = 6;

impl Number {
    fn read(text: &str) -> Option<Number> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
        let mut millionths = 0;
        for place in 0..DIGITS {
            let digit = rest.as_bytes().get(place).copied().unwrap_or(b'0');
            millionths = 10 * millionths + u32::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        Some(Number { whole: whole.parse().ok()?, millionths, digits: rest.len().min(DIGITS) as u8 })
    }

    fn add(&mut self, other: Number) {
        let millionths = self.millionths + other.millionths;
        self.whole = self.whole.saturating_add(other.whole).saturating_add(u64::from(millionths / 1_000_000));
        self.millionths = millionths % 1_000_000;
        self.digits = self.digits.max(other.digits);
    }

    fn write(self, text: &mut Vec<u8>) {
        reply::decimal(text, self.whole);
        if self.digits > 0 {
            // A digit more in front keeps the zeros.
            let digits = (1_000_000 + self.millionths).to_string();
            push(text, &[".", &digits[1..=usize::from(self.digits)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(texts: &[&str], sections: &[&str]) -> String {
        let mut info = ServersInfo::default();
        texts.iter().for_each(|text| info.add(text));
        let mut text = Vec::new();
        sections.iter().for_each(|section| info.write(section, &mut text));
        String::from_utf8(text).expect("it is text").replace("\r\n", "|")
    }

    #[test]
    fn fields_are_added_and_stand_in_their_sections() {
        let one = "# Memory\r\nused_memory:100\r\nused_memory_human:100B\r\nmaxmemory:0\r\n\r\n# Stats\r\n\
                   keyspace_hits:7\r\npubsub_channels:3\r\n# CPU\r\nused_cpu_sys:0.060001\r\n";
        let other = "# Stats\r\nkeyspace_hits:5\r\npubsub_channels:4\r\n# Memory\r\nused_memory:20\r\n\
                     maxmemory:1000\r\nused_cpu_sys:1.940000\r\nexpired_keys:2\r\n";
        assert_eq!(sum(&[one, other], &["Memory"]), "maxmemory:0|used_memory:120|");
        assert_eq!(sum(&[one, other], &["Stats"]), "expired_keys:2|keyspace_hits:12|pubsub_channels:4|");
        assert_eq!(sum(&[one, other], &["CPU"]), "used_cpu_sys:2.000001|");
        assert_eq!(sum(&["maxmemory:5\r\n", "maxmemory:6"], &["Memory"]), "maxmemory:11|");
        assert_eq!(sum(&[], &["Memory"]), "");
    }

    #[test]
    fn fields_of_several_numbers_are_added_one_by_one() {
        let one = "db0:keys=3,expires=1,avg_ttl=900\r\ndb10:keys=1,expires=0,avg_ttl=0\r\n\
                   cmdstat_get:calls=2,usec=10,usec_per_call=5.00,rejected_calls=0,failed_calls=1\r\n\
                   errorstat_ERR:count=2\r\n";
        let other = "errorstat_OOM:count=1\r\nerrorstat_ERR:count=3\r\ndb0:keys=4,expires=2,avg_ttl=300,subexpiry=1\r\n\
                     cmdstat_get:calls=4,usec=15,usec_per_call=3.75,rejected_calls=1,failed_calls=0\r\n";
        assert_eq!(
            sum(&[one, other], &["Keyspace"]),
            "db0:keys=7,expires=3,avg_ttl=500,subexpiry=1|db10:keys=1,expires=0,avg_ttl=0|"
        );
        assert_eq!(
            sum(&[one, other], &["Commandstats"]),
            "cmdstat_get:calls=6,usec=25,usec_per_call=4.16,rejected_calls=1,failed_calls=1|"
        );
        assert_eq!(sum(&[one, other], &["Errorstats"]), "errorstat_ERR:count=5|errorstat_OOM:count=1|");
    }

    #[test]
    fn a_server_that_says_too_much_is_not_listened_to_for_long() {
        let mut info = ServersInfo::default();
        let line = "used_memory:1\r\n";
        info.add(&line.repeat(TEXT_BYTES_MAX / line.len() + 1));
        assert_eq!((info.servers(), info.lines.len()), (0, 0), "a text that is too long");
        for start in [0, 4_000] {
            let lines: String = (start..start + 4_000).map(|number| format!("cmdstat_{number}:calls=1\r\n")).collect();
            assert!(lines.len() <= TEXT_BYTES_MAX);
            info.add(&lines);
            assert_eq!(info.lines.len(), LINES_MAX);
        }
        info.add("used_memory:1\r\n");
        assert_eq!(info.lines.len(), LINES_MAX + 1, "it keeps nobody else from being heard");
        let numbers = |count: usize| (0..count).map(|number| format!("a{number}=1")).collect::<Vec<_>>().join(",");
        let mut info = ServersInfo::default();
        info.add(&format!("cmdstat_x:{}\r\ncmdstat_y:{}\r\n", numbers(NUMBERS_MAX + 1), numbers(NUMBERS_MAX)));
        assert_eq!(info.lines.len(), 1);
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        for text in [
            "used_memory:\r\n",
            "used_memory:-1\r\n",
            "used_memory:1.x\r\n",
            "used_memory:99999999999999999999\r\n",
            "used_memory\r\n",
            "db0:keys\r\n",
            "db0:keys=x\r\n",
            "dbx:keys=1\r\n",
            "cmdstat_get:\r\n",
            "role:master\r\n",
            "connected_clients:3\r\n",
        ] {
            let mut info = ServersInfo::default();
            info.add(text);
            assert_eq!((info.servers(), info.lines.len()), (1, 0), "{text}");
        }
        let most = u64::MAX.to_string();
        let text = format!("used_memory:{most}\r\n");
        assert_eq!(sum(&[&text, &text], &["Memory"]), "used_memory:18446744073709551615|");
    }
}
