//! Which address of a master is believed, when its sentinels name several, or few of them answer.
//!
//! A failover is agreed on by most sentinels, so the address that most name is the right one. One that was cut off from
//! the others names an old address, and may go on doing so for long. So:
//!
//! ```text
//!   most of all that are known name it                       ─► it is there
//!   fewer answer, or they are divided:
//!     nothing is known yet                                   ─► what most of them name, after a short wait for others
//!     the one that is known serves, as far as one can see    ─► it stays
//!     it is lost, or has said that it is no master           ─► what most of the others name
//!   nobody answers                                           ─► it stays
//! ```
//!
//! Knows addresses and numbers, and nothing of who says so.

use crate::link::HostPort;

/// What is to be decided about.
pub(super) struct Poll<'a> {
    /// What is named, each with how many name it. Not empty addresses, each once.
    pub votes: Vec<(&'a HostPort, usize)>,
    /// How many sentinels there are, whether they answer or not.
    pub sentinels: usize,
    /// Where it is known to be.
    pub current: Option<&'a HostPort>,
    /// Whether there is reason to think that it is there no more.
    pub is_failing: bool,
    /// Whether all that may answer have, or have had their time.
    pub is_complete: bool,
}

/// Where it is, if that is elsewhere than it is known to be.
pub(super) fn decide<'a>(poll: &Poll<'a>) -> Option<&'a HostPort> {
    let is_current = |place: &HostPort| Some(place) == poll.current;
    // Of two with as many votes it is the one that is known, unless that one fails.
    let rank = |&(place, count): &(&HostPort, usize)| (count, is_current(place) != poll.is_failing);
    let &(leader, count) = poll.votes.iter().max_by_key(|vote| rank(vote))?;
    let is_agreed = count > poll.sentinels / 2;
    let is_believed = match poll.current {
        _ if is_agreed => true,
        None => poll.is_complete,
        Some(_) => poll.is_failing,
    };
    (is_believed && !is_current(leader)).then_some(leader)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(port: u16) -> HostPort {
        HostPort { host: "h".to_owned(), port }
    }

    /// What is decided: votes by port, of so many sentinels; where it is known to be, 0 for nowhere.
    fn decided(votes: &[(u16, usize)], sentinels: usize, current: u16, is_failing: bool) -> Option<u16> {
        let places: Vec<(HostPort, usize)> = votes.iter().map(|&(port, count)| (place(port), count)).collect();
        let current = Some(place(current)).filter(|current| current.port > 0);
        let votes = places.iter().map(|(place, count)| (place, *count)).collect();
        let poll = Poll { votes, sentinels, current: current.as_ref(), is_failing, is_complete: true };
        decide(&poll).map(|place| place.port)
    }

    #[test]
    fn what_most_name_is_believed_and_what_fewer_name_is_not() {
        for is_failing in [false, true] {
            assert_eq!(decided(&[(1, 1), (2, 2)], 3, 1, is_failing), Some(2));
            assert_eq!(decided(&[(1, 2), (2, 1)], 3, 1, is_failing), None);
            assert_eq!(decided(&[(1, 2), (2, 3)], 5, 2, is_failing), None);
            assert_eq!(decided(&[], 3, 1, is_failing), None, "nobody answers");
            assert_eq!(decided(&[(2, 2)], 3, 2, is_failing), None, "it is there already");
        }
    }

    #[test]
    fn where_few_answer_one_that_serves_stays_and_one_that_fails_does_not() {
        assert_eq!(decided(&[(2, 1)], 3, 1, false), None);
        assert_eq!(decided(&[(2, 1)], 3, 1, true), Some(2));
        assert_eq!(decided(&[(1, 1), (2, 1)], 4, 1, false), None);
        assert_eq!(decided(&[(1, 1), (2, 1)], 4, 1, true), Some(2), "as many name the one that is not known to fail");
        assert_eq!(decided(&[(1, 2), (2, 1)], 5, 1, true), None, "more say that it is still there");
        assert_eq!(decided(&[(2, 1)], 1, 1, false), Some(2), "there is only one to ask");
    }

    #[test]
    fn where_nothing_is_known_what_there_is_is_believed_once_all_had_their_time() {
        assert_eq!(decided(&[(1, 1)], 3, 0, false), Some(1));
        let one = place(1);
        let poll = |count, is_complete| Poll {
            votes: vec![(&one, count)],
            sentinels: 3,
            current: None,
            is_failing: false,
            is_complete,
        };
        assert_eq!(decide(&poll(1, false)), None, "others may still answer");
        assert_eq!(decide(&poll(2, false)), Some(&one), "nobody can change it");
    }
}
