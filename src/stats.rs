//! Counters of what a proxy has done, for `INFO` and the log, and how those of several proxies become one.
//!
//! Plain numbers, each counted in one place of the proxy; the counters only grow. Knows nothing else.

/// What one server was given, and how it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Requests that were queued to it; one that is sent again counts again.
    pub requests: u64,
    /// Requests that it did not answer: timed out, or lost with their connection.
    pub errors: u64,
    /// Connections that were opened to it.
    pub connects: u64,
    /// Times that it went down.
    pub downs: u64,
}

/// What the whole proxy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyStats {
    /// Clients that connected.
    pub clients: u64,
    /// Clients that were turned away, because there were too many.
    pub clients_refused: u64,
    /// Times that a client gave a wrong password.
    pub denials: u64,
    /// Reads that were sent a second time, after their backend was lost.
    pub resends: u64,
    /// Reads that were sent a second time, because they stood behind a huge reply, or one that was taken too slowly.
    pub moves: u64,
    /// Times that a connection which heard messages was lost, and all of its subscriptions were made anew.
    pub resubscriptions: u64,
    /// Messages that were given to a subscriber; one that several get counts for each.
    pub messages: u64,
}

/// How a server is, the worst last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerState {
    /// It answers.
    #[default]
    Up,
    /// Its connections end before they were of use.
    Unsteady,
    /// It answers handshakes, and no requests.
    Mute,
    /// It answers nothing, and is waited for.
    Silent,
    /// It did not, and is being tried.
    Probing,
    /// It does not answer.
    Down,
}

/// What there is to tell about one server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerFigures {
    /// How it is.
    pub state: ServerState,
    /// Connections to it.
    pub connections: usize,
    /// Requests that it has not answered yet.
    pub outstanding: usize,
    /// What it was given.
    pub stats: ServerStats,
}

/// What there is to tell about a proxy, or about several as one. The default is that of none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// What it did.
    pub stats: ProxyStats,
    /// One for each server, in the order of the configuration.
    pub servers: Vec<ServerFigures>,
    /// Their addresses.
    pub addresses: Vec<String>,
}

impl Figures {
    /// Adds those of another proxy. A server is as the one says who finds it worse. Servers that only the other one
    /// has, since one of them has other settings by now, stand behind.
    pub fn add(&mut self, other: &Figures) {
        let (own, stats) = (&mut self.stats, &other.stats);
        own.clients += stats.clients;
        own.clients_refused += stats.clients_refused;
        own.denials += stats.denials;
        own.resends += stats.resends;
        own.moves += stats.moves;
        own.resubscriptions += stats.resubscriptions;
        own.messages += stats.messages;
        let mut taken = vec![false; self.servers.len()];
        for (index, (server, address)) in other.servers.iter().zip(&other.addresses).enumerate() {
            let is_same = |&place: &usize| !taken[place] && self.addresses[place] == *address;
            // Nearly always it has the same place.
            let place =
                Some(index).filter(|&place| place < taken.len()).into_iter().chain(0..taken.len()).find(is_same);
            let Some(place) = place else {
                self.servers.push(*server);
                self.addresses.push(address.clone());
                continue;
            };
            taken[place] = true;
            let own = &mut self.servers[place];
            own.state = own.state.max(server.state);
            own.connections += server.connections;
            own.outstanding += server.outstanding;
            own.stats.requests += server.stats.requests;
            own.stats.errors += server.stats.errors;
            own.stats.connects += server.stats.connects;
            own.stats.downs += server.stats.downs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_added_one_by_one_and_the_worst_state_counts() {
        let server = |state, number: u64| ServerFigures {
            state,
            connections: number as usize,
            outstanding: 10 * number as usize,
            stats: ServerStats { requests: 100 + number, errors: 200 + number, connects: 300 + number, downs: number },
        };
        let stats = |number| ProxyStats {
            clients: number,
            clients_refused: 10 * number,
            denials: 60 * number,
            resends: 20 * number,
            moves: 30 * number,
            resubscriptions: 40 * number,
            messages: 50 * number,
        };
        let addresses = || vec!["a".to_owned(), "b".to_owned()];
        let mut sum = Figures::default();
        let servers = vec![server(ServerState::Up, 1), server(ServerState::Down, 2)];
        sum.add(&Figures { stats: stats(1), servers, addresses: addresses() });
        let servers = vec![server(ServerState::Probing, 3), server(ServerState::Up, 4)];
        sum.add(&Figures { stats: stats(2), servers, addresses: addresses() });
        let both = |state, number: u64| {
            let mut both = server(state, number);
            both.stats.requests += 100;
            both.stats.errors += 200;
            both.stats.connects += 300;
            both
        };
        let servers = vec![both(ServerState::Probing, 4), both(ServerState::Down, 6)];
        assert_eq!(sum, Figures { stats: stats(3), servers, addresses: addresses() });
    }
}
