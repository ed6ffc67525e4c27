//! Rounds of questions: each reactor of all pools is asked for its figures, and those that answer in time make a
//! report.
//!
//! ```text
//!   begin ─► FiguresQuestion to each reactor ─► take_answers, again and again ─► all have answered, or ANSWER_TIMEOUT
//! ```
//!
//! Nobody is waited for but by asking again whether the round is over. Answers to a former round are dropped: they are
//! older than what they would stand for. A reactor that is silent is counted with what it said last, so that no count
//! goes back for the time of one round.
//!
//! Knows nothing of who wants to know, or in which form.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Waker;

use super::cluster::reports;
use super::report::{CertificateReport, PoolReport};
use crate::channel::{Receiver, Sender, channel};
use crate::reactor::{FiguresAnswer, FiguresQuestion, Handle};
use crate::stats::Figures;
use crate::watcher::Viewer;

/// How long a reactor may take to answer before it counts as silent.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// From the beginning of one round to that of the next, at least: whoever asks again and again takes no more of the
/// reactors' time than that.
const PAUSE: Duration = Duration::from_millis(10);

/// A pool that is watched.
#[derive(Debug)]
pub struct Watched {
    /// Where it listens.
    pub listen: String,
    /// Its reactors.
    pub reactors: Vec<Handle>,
    /// With what its sentinels are seen, or its cluster, if it has some.
    pub watcher: Option<Viewer>,
    /// Its certificates.
    pub certificates: Vec<CertificateReport>,
}

/// A pool of which reactors are asked.
#[derive(Debug)]
struct Pool {
    /// But for its reactors.
    watched: Watched,
    asked: Vec<Asked>,
}

/// A reactor, and what is known of it.
#[derive(Debug)]
struct Asked {
    handle: Handle,
    has_answered: bool,
    figures: Figures,
}

/// All rounds.
#[derive(Debug)]
pub(super) struct Rounds {
    pools: Vec<Pool>,
    /// The number of the round that is under way, or was last.
    round: u32,
    /// When the one that is under way is over.
    until: Option<Instant>,
    not_before: Option<Instant>,
    sender: Sender<FiguresAnswer>,
    receiver: Receiver<FiguresAnswer>,
    waker: Arc<Waker>,
}

impl Rounds {
    /// None yet; `waker` is rung by each answer.
    pub fn new(waker: Arc<Waker>) -> Rounds {
        let (sender, receiver) = channel();
        Rounds { pools: Vec::new(), round: 0, until: None, not_before: None, sender, receiver, waker }
    }

    /// From now on these are the pools. A pool that there was keeps its reactors, and what they said.
    pub fn set_pools(&mut self, pools: Vec<Watched>, now: Instant) {
        let mut former = std::mem::take(&mut self.pools);
        for mut watched in pools {
            let known = former.iter_mut().find(|other| other.watched.listen == watched.listen);
            let mut known = known.map(|other| std::mem::take(&mut other.asked)).unwrap_or_default().into_iter();
            let asked = std::mem::take(&mut watched.reactors).into_iter().map(|handle| {
                let figures = known.next().map(|asked| asked.figures).unwrap_or_default();
                Asked { handle, has_answered: false, figures }
            });
            let asked = asked.collect();
            self.pools.push(Pool { watched, asked });
        }
        if self.until.is_some() {
            self.begin(now);
        }
    }

    /// True while a round is under way.
    pub fn is_under_way(&self) -> bool {
        self.until.is_some()
    }

    /// When the round that is under way is over, whoever has not answered.
    pub fn deadline(&self) -> Option<Instant> {
        self.until
    }

    /// When the next one may begin.
    pub fn next_begin(&self, now: Instant) -> Instant {
        self.not_before.unwrap_or(now)
    }

    /// Asks all reactors.
    pub fn begin(&mut self, now: Instant) {
        self.round = self.round.wrapping_add(1);
        self.until = Some(now + ANSWER_TIMEOUT);
        self.not_before = Some(now + PAUSE);
        for (place, asked) in self.pools.iter_mut().flat_map(|pool| &mut pool.asked).enumerate() {
            let (answers, waker) = (self.sender.clone(), Arc::clone(&self.waker));
            asked.has_answered = false;
            asked.handle.ask_figures(FiguresQuestion::new(self.round, place, answers, waker));
        }
    }

    /// Takes the answers that have come. The report of the pools if the round that is under way is over.
    pub fn poll(&mut self, now: Instant) -> Option<Vec<PoolReport>> {
        while let Some((round, place, figures)) = self.receiver.try_recv() {
            let mut asked = self.pools.iter_mut().flat_map(|pool| &mut pool.asked);
            match asked.nth(place) {
                Some(asked) if round == self.round && self.until.is_some() => {
                    // One that has ended, since rmux ends, is not stuck.
                    asked.figures = figures.unwrap_or_else(|| std::mem::take(&mut asked.figures));
                    asked.has_answered = true;
                }
                _ => {}
            }
        }
        let until = self.until?;
        let is_over = until <= now || self.pools.iter().flat_map(|pool| &pool.asked).all(|asked| asked.has_answered);
        if !is_over {
            return None;
        }
        self.until = None;
        Some(self.pools.iter().map(report_of).collect())
    }
}

fn report_of(Pool { watched, asked }: &Pool) -> PoolReport {
    let mut figures = Figures::default();
    asked.iter().for_each(|asked| figures.add(&asked.figures));
    merge_servers(&mut figures);
    let (sentinels, clusters) = watched.watcher.as_ref().map(|viewer| reports(viewer.view())).unwrap_or_default();
    PoolReport {
        listen: watched.listen.clone(),
        threads: asked.len(),
        threads_silent: asked.iter().filter(|asked| !asked.has_answered).count(),
        figures,
        sentinels,
        clusters,
        certificates: watched.certificates.clone(),
    }
}

/// A server that stands in the configuration more than once is one server to those who watch.
fn merge_servers(figures: &mut Figures) {
    let servers = std::mem::take(&mut figures.servers);
    let addresses = std::mem::take(&mut figures.addresses);
    for (server, address) in servers.into_iter().zip(addresses) {
        figures.add(&Figures { servers: vec![server], addresses: vec![address], ..Figures::default() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{ServerFigures, ServerState};

    #[test]
    fn a_server_that_stands_there_twice_is_told_once() {
        let server = |state, connections| ServerFigures { state, connections, ..ServerFigures::default() };
        let mut figures = Figures {
            servers: vec![server(ServerState::Up, 1), server(ServerState::Up, 2), server(ServerState::Down, 4)],
            addresses: ["a:1", "b:1", "a:1"].map(str::to_owned).to_vec(),
            clients: 7,
            ..Figures::default()
        };
        merge_servers(&mut figures);
        assert_eq!(figures.addresses, ["a:1", "b:1"]);
        assert_eq!(figures.servers, [server(ServerState::Down, 5), server(ServerState::Up, 2)]);
        assert_eq!(figures.clients, 7);
    }
}
