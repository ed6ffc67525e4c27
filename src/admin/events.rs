//! Lines of the log, as those are shown them who watch: the newest, and of clients no addresses.

use crate::stats::Event;

/// The newest of them, the oldest first.
pub fn newest<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<Event> {
    let mut events: Vec<Event> = events.cloned().collect();
    events.sort_by_key(|event| std::cmp::Reverse(event.age_ms));
    events.drain(..events.len().saturating_sub(EVENTS_MAX));
    events.iter_mut().for_each(|event| event.text = without_client(&event.text));
    events
}

/// The line without the address in `client 7v1 from 192.0.2.1:4711 …`.
fn without_client(line: &str) -> String {
    let without = || {
        let at = line.find(BEFORE)? + BEFORE.len();
        let (client, rest) = line[at..].split_once(" from ")?;
        let (_, rest) = rest.split_once(' ')?;
        // Else it is said of something else.
        let is_client = !client.contains(' ');
        is_client.then(|| format!("{}{client} {rest}", &line[..at]))
    };
    without().unwrap_or_else(|| line.to_owned())
}

/// What stands before the number of a client.
const BEFORE: &str = ": client ";

/// The most that are shown.
const EVENTS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_client_is_taken_out_and_nothing_else() {
        for (line, shown) in [
            (
                "pool /run/a: client 7v1 from 192.0.2.1:4711 closed: x from y",
                "pool /run/a: client 7v1 closed: x from y",
            ),
            ("pool a: client 7v1 from [::1]:4711 gave a", "pool a: client 7v1 gave a"),
            ("pool a: client 7v1 closed: it came from far away", "pool a: client 7v1 closed: it came from far away"),
            ("server a:1 is down: refused", "server a:1 is down: refused"),
            ("pool a: client 7 from", "pool a: client 7 from"),
        ] {
            assert_eq!(without_client(line), shown);
        }
    }

    #[test]
    fn the_newest_stand_last_and_the_oldest_are_left_out() {
        let event = |age_ms| Event { age_ms, is_warning: false, text: String::new() };
        let events: Vec<Event> = (0..15).chain(5..30).map(event).collect();
        let ages: Vec<u64> = newest(events.iter()).iter().map(|event| event.age_ms).collect();
        assert_eq!((ages.len(), ages[0], ages[EVENTS_MAX - 1]), (20, 12, 0));
    }
}
