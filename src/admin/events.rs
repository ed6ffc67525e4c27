//! Lines of the log, as those are shown them who watch: the newest, and of clients no addresses.

use super::report::PoolReport;
use crate::stats::Event;

/// The newest of those of these pools, the oldest first.
pub fn newest(pools: &[PoolReport]) -> Vec<Event> {
    let mut newest: Vec<&Event> = Vec::new();
    for event in pools.iter().flat_map(|pool| &pool.figures.events) {
        let place = newest.partition_point(|other| other.age_ms >= event.age_ms);
        newest.insert(place, event);
        if newest.len() > EVENTS_MAX {
            newest.remove(0);
        }
    }
    let shown = |event: &Event| Event { text: without_client(&event.text), ..*event };
    newest.into_iter().map(shown).collect()
}

/// The line without the address in `client 7v1 from 192.0.2.1:4711 …`.
fn without_client(line: &str) -> String {
    let without = || {
        let at = line.find(BEFORE)? + BEFORE.len();
        let (client, rest) = line[at..].split_once(" from ")?;
        let (_, rest) = rest.split_once(' ')?;
        // Else it is said of something else.
        let is_client = !client.contains(' ');
        is_client.then(|| [&line[..at], client, " ", rest].concat())
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
    use crate::stats::Figures;

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
        let pools = events.chunks(10).map(|events| {
            let figures = Figures { events: events.to_vec(), ..Figures::default() };
            PoolReport { figures, ..PoolReport::default() }
        });
        let newest = newest(&pools.collect::<Vec<_>>());
        let ages: Vec<u64> = newest.iter().map(|event| event.age_ms).collect();
        assert_eq!((ages.len(), ages[0], ages[EVENTS_MAX - 1]), (20, 12, 0));
    }
}
