//! The world of one seed: the proxy under its shell, its clients, its servers, time, and what befalls them.
//!
//! ```text
//!   step:   time passes ─► clients act ─► servers act ─► something happens ─► a turn, if the loop would wake ─► checks
//! ```
//!
//! After so many steps everything is made good. Then every client must get what it is owed, all servers must be up
//! again, and nothing may be left of anybody.

use std::mem;

use rmux::proxy::{Proxy, Settings};
use rmux::timer::Millis;

use crate::client::{Client, Scene};
use crate::cluster::Cluster;
use crate::history::History;
use crate::names::Names;
use crate::network::Network;
use crate::plan::{Faults, Plan, number};
use crate::random::Random;
use crate::server::{Mood, Server};
use crate::shell::Shell;

pub struct World {
    plan: Plan,
    random: Random,
    shell: Shell,
    servers: Vec<Server>,
    clients: Vec<Client>,
    history: History,
    born: u32,
    step: u64,
    now: u64,
    paced: u64,
    disturbed_at: Option<u64>,
    /// Chance of its own, so that the rest of the world is that of the seed.
    reloads: Random,
    moves: Random,
    demotions: Random,
    has_reloaded: bool,
    /// Whether the proxy knows the cluster as it is in the end.
    has_last_map: bool,
    is_ending: bool,
    /// In which step another process takes over, if one does, and how many milliseconds this one has then.
    dismissal: Option<(u64, u64)>,
    /// How much had happened on the network, and the step in which it did.
    happened: (u64, u64),
    /// Replies that clients got.
    replies: u64,
}

/// What the proxy may take of one connection in one turn, beside the rest of what it has begun.
const READ: usize = 128 * 1024;
const LARGE: usize = 64 * 1024;
/// Time that passes in one step counts up to here; more is a jump of the clock.
const PACE_MAX_MS: u64 = 50;
/// After so many steps without an event nobody has anything more to do.
const QUIET_STEPS: u64 = 40;
/// After so many everything has come to rest: replies of megabytes come through pipes of some kilobytes.
const STEPS_TO_END: u64 = 600_000;

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        World::of(seed, plan, random)
    }

    /// The same world, in which the settings change at times.
    pub fn to_reload(seed: u64) -> World {
        let mut random = Random::new(seed);
        let mut plan = Plan::draw(&mut random);
        plan.reload(&mut Random::new(!seed));
        World::of(seed, plan, random)
    }

    /// The same world, in which the names of servers move at times.
    pub fn to_move(seed: u64) -> World {
        let mut random = Random::new(seed);
        let mut plan = Plan::draw(&mut random);
        plan.make_moving(&mut Random::new(!seed));
        World::of(seed, plan, random)
    }

    /// The same world, in which servers become replicas at times, and masters again.
    pub fn to_demote(seed: u64) -> World {
        let mut random = Random::new(seed);
        let mut plan = Plan::draw(&mut random);
        plan.demote(&mut Random::new(!seed));
        World::of(seed, plan, random)
    }

    /// The same world, in which the servers are nodes of a cluster whose slots move.
    pub fn to_reshard(seed: u64) -> World {
        let mut random = Random::new(seed);
        let mut plan = Plan::draw(&mut random);
        plan.reshard(&mut Random::new(!seed));
        World::of(seed, plan, random)
    }

    /// A world in which each write takes what there is room for, so that it makes no difference in how many pieces
    /// something is written.
    #[cfg(debug_assertions)]
    pub fn to_compare(seed: u64, has_fast_path: bool) -> World {
        let mut random = Random::new(seed);
        let mut plan = Plan::draw(&mut random);
        plan.short_write_in = 0;
        // Who is looked at behind each request, and not behind each run of them, is paused sooner.
        let limits = &mut plan.settings.limits;
        limits.client_unread_pause_bytes = limits.client_unread_pause_bytes.max(1_000_000);
        limits.client_unread_bytes_max = limits.client_unread_bytes_max.max(64_000_000);
        limits.buffered_bytes_max = limits.buffered_bytes_max.max(64_000_000);
        let mut world = World::of(seed, plan, random);
        // Who has just been answered may leave at once, or one look later, as its reply was sent in this turn or before.
        world.dismissal = None;
        if !has_fast_path {
            world.shell.proxy.turn_fast_path_off();
        }
        world
    }

    /// What all peers have seen, and what was counted.
    #[cfg(debug_assertions)]
    pub fn outcome(&self) -> (Vec<u64>, String) {
        (self.shell.network.digests(), format!("{:?}", self.shell.proxy.stats()))
    }

    fn of(seed: u64, plan: Plan, mut random: Random) -> World {
        trace!("seed {seed}: {:?}, {:#?}", plan.faults, plan.settings);
        let now = random.below(100_000) as u64;
        let proxy = Proxy::new(plan.settings.clone(), Millis(now));
        let network = Network::new(Random::new(random.next()), plan.short_write_in);
        let servers = (0..plan.universe()).map(|number| Server::new(number, &plan)).collect();
        let mut history = History::new(plan.settings.servers.len(), plan.settings.failover);
        history.is_disturbed = plan.is_sluggish;
        if plan.reshard_in > 0 {
            let is_calm = plan.faults < Faults::All;
            let cluster = Cluster::new(plan.universe(), plan.reshard_in, is_calm, Random::new(seed ^ 0x5107));
            history.cluster = Some(cluster);
        }
        history.may_read_again = plan.demote_in > 0 || plan.reshard_in > 0;
        if plan.is_test_of_patience {
            history.trusted = (0..plan.settings.servers.len()).collect();
        }
        let drain_ms = random.pick(&[0, 100, 2_000, 30_000]);
        let dismissal = random.one_in(4).then(|| (random.between(20, plan.steps as usize) as u64, drain_ms));
        let names = Names::new(plan.universe(), (plan.move_in > 0).then(|| Random::new(seed ^ 0xadd2)));
        World {
            dismissal,
            history,
            shell: Shell::new(proxy, network, names, plan.universe()),
            servers,
            clients: Vec::new(),
            born: 0,
            step: 0,
            now,
            paced: 0,
            disturbed_at: None,
            reloads: Random::new(seed ^ 0x5eed),
            moves: Random::new(seed ^ 0x0ddf),
            demotions: Random::new(seed ^ 0xdeed),
            has_reloaded: false,
            has_last_map: false,
            is_ending: false,
            happened: (0, 0),
            replies: 0,
            plan,
            random,
        }
    }

    /// Lives through all of it. Returns how many replies were judged.
    pub fn run(&mut self) -> u64 {
        self.shell.name_servers(&self.plan);
        self.shell.proxy.start(Millis(self.now));
        self.shell.turn(self.now, &self.plan, &mut self.servers, &mut self.random);
        for _ in 0..self.plan.steps {
            self.step();
        }
        self.end();
        self.replies
    }

    fn step(&mut self) {
        self.step += 1;
        self.shell.step = self.step;
        crate::trace::at(self.step, self.now);
        self.pass();
        if let Some((_, drain_ms)) = self.dismissal.filter(|(step, _)| *step == self.step) {
            // Who has not connected yet connects to the other process.
            self.clients.retain(|client| client.link.is_some());
            self.shell.dismiss(self.now, drain_ms);
        }
        let is_accepting = !self.is_ending && !self.is_dismissing();
        if is_accepting && self.clients.len() < self.plan.clients && self.random.one_in(3) {
            self.born += 1;
            let number = self.born;
            let client = Client::new(number, &mut self.scene());
            self.clients.push(client);
        }
        for index in 0..self.clients.len() {
            if self.random.one_in(3) {
                continue;
            }
            let mut client = std::mem::take(&mut self.clients[index]);
            client.act(&mut self.scene());
            self.clients[index] = client;
        }
        for client in &self.clients {
            if client.is_done || client.link.is_some_and(|link| self.shell.network.link(link).is_closed) {
                self.history.leave(client.number);
            }
            self.replies += if client.is_done { client.replies } else { 0 };
        }
        self.clients.retain(|client| !client.is_done);
        for server in &mut self.servers {
            if !self.random.one_in(4) {
                server.act((self.step, self.now), &mut self.shell.network, &mut self.random, &mut self.history);
            }
        }
        self.befall();
        self.reshard();
        if self.plan.demote_in > 0 && !self.is_ending && self.demotions.one_in(self.plan.demote_in) {
            let count = self.servers.len();
            let server = &mut self.servers[self.demotions.below(count)];
            server.is_replica = !server.is_replica;
            trace!("server {} is a {}", server.number, if server.is_replica { "replica" } else { "master" });
        }
        if self.plan.reload_in > 0 && !self.is_ending && self.reloads.one_in(self.plan.reload_in) {
            self.reload();
        }
        if self.plan.move_in > 0 {
            self.maybe_move();
        }
        if self.shell.surplus.is_some() || self.shell.has_events(self.now, &self.servers) && !self.random.one_in(8) {
            self.shell.turn(self.now, &self.plan, &mut self.servers, &mut self.random);
        }
        self.check();
    }

    fn is_dismissing(&self) -> bool {
        self.dismissal.is_some_and(|(step, _)| step <= self.step)
    }

    fn scene(&mut self) -> Scene<'_> {
        Scene {
            plan: &self.plan,
            network: &mut self.shell.network,
            random: &mut self.random,
            history: &mut self.history,
            backlog: &mut self.shell.backlog,
            step: self.step,
            paced: self.paced,
            disturbed_at: self.disturbed_at,
            has_reloaded: self.has_reloaded,
            is_ending: self.is_ending,
            is_dismissing: self.dismissal.is_some_and(|(step, _)| step <= self.step),
        }
    }

    fn pass(&mut self) {
        let mut passed = match self.random.below(4) {
            0 => 0,
            _ => self.random.below(self.plan.pace_ms + 1) as u64,
        };
        if self.plan.jump_in > 0 && !self.is_ending && self.random.one_in(self.plan.jump_in) {
            passed = self.random.pick(&[100, 600, 3_000, 40_000, 600_000]);
            trace!("the clock jumps by {passed} ms");
            self.disturb();
        }
        if self.shell.network.happened != self.happened.0 || self.shell.has_events(self.now, &self.servers) {
            self.happened = (self.shell.network.happened, self.step);
        }
        let has_long_been_quiet = self.step - self.happened.1 > QUIET_STEPS || self.is_idle();
        let is_quiet = self.happened.1 != self.step;
        let may_skip = has_long_been_quiet && (self.is_ending || self.random.one_in(5));
        let is_skipped = may_skip || is_quiet && self.plan.faults == Faults::All && self.random.one_in(40);
        if let Some(deadline) = self.next_deadline().filter(|_| is_skipped) {
            // Nothing else happens until then; or somebody is late over it.
            passed = deadline.saturating_sub(self.now);
            if passed > PACE_MAX_MS && !has_long_been_quiet {
                self.disturb();
            }
        }
        self.now += passed;
        self.paced += passed.min(PACE_MAX_MS);
    }

    /// When something happens by itself.
    fn next_deadline(&self) -> Option<u64> {
        let deadlines = self.servers.iter().filter_map(Server::next_deadline);
        deadlines.chain(self.shell.proxy.next_deadline().map(|deadline| deadline.0)).min()
    }

    /// Whether nobody waits for anything, so that any time may pass.
    fn is_idle(&self) -> bool {
        let is_quiet =
            |server: &Server| (0..server.connections.len()).all(|index| server.is_quiet(index, &self.shell.network));
        self.clients.iter().all(Client::is_content)
            && self.shell.is_connected()
            && self.shell.proxy.outstanding() == 0
            && self.servers.iter().all(is_quiet)
            && !self.shell.has_events(self.now, &self.servers)
    }

    /// Something is wrong with a server, or with time.
    fn disturb(&mut self) {
        self.disturbed_at = Some(self.paced);
        self.history.is_disturbed = true;
    }

    /// What happens to servers and their connections.
    fn befall(&mut self) {
        if self.servers.iter().any(|server| server.mood != Mood::Fine) {
            self.disturb();
        }
        for server in &mut self.servers {
            if server.mood != Mood::Fine && server.mood_until <= self.step {
                trace!("server {} is fine again", server.number);
                server.mood = Mood::Fine;
            }
        }
        if self.is_ending || self.plan.fault_in == 0 || !self.random.one_in(self.plan.fault_in) {
            return;
        }
        self.disturb();
        let (random, network) = (&mut self.random, &mut self.shell.network);
        let count = self.servers.len();
        let server = &mut self.servers[random.below(count)];
        let until = self.step + random.between(1, 150) as u64;
        let what = if self.plan.is_test_of_patience { 3 } else { random.below(16) };
        let mood = match what {
            0 | 1 => {
                server.die(network, random, &mut self.history);
                if random.one_in(2) { Mood::Dead } else { Mood::Fine }
            }
            2 => Mood::Slow,
            3 => Mood::Silent,
            4 => Mood::Loading,
            5 | 6 => Mood::Full,
            14 => Mood::Mute,
            15 => Mood::Closing,
            _ if server.connections.is_empty() => return,
            what => {
                let index = random.below(server.connections.len());
                match what {
                    7..10 => server.drop_connection(index, network, random),
                    10 => server.connections[index].stalled_until = until,
                    // It must be read before the proxy asks something that it could be the answer to.
                    11..13 if server.is_quiet(index, network) => {
                        trace!("server {} says something that nobody asked for", server.number);
                        let link = server.connections[index].link;
                        let words: &[&[u8]] = &[b"+OK\r\n", b"$", b":1\r\n", b"\0", b"$100000\r\nx", b"*1\r\n"];
                        network.send(link, random.pick(words));
                        // What is large may be sent on while it is read, and who is held back is not read.
                        let is_held_back = self.plan.settings.limits.client_unread_pause_bytes < 100_000;
                        let is_first = self.plan.value_max > 10_000 || is_held_back || random.one_in(3);
                        self.shell.surplus = Some((link, is_first));
                    }
                    _ => server.garble(index, self.step),
                }
                return;
            }
        };
        trace!("server {} is {mood:?} until step {until}", server.number);
        server.is_deaf = random.one_in(2);
        if server.mood != mood {
            server.mood_since = (self.now, self.shell.connects[server.number]);
        }
        server.mood = mood;
        server.mood_until = until;
    }

    /// Slots of a cluster move, and now and then somebody says who has which.
    fn reshard(&mut self) {
        let History { cluster: Some(cluster), lists, .. } = &mut self.history else { return };
        cluster.act(&mut self.servers, lists, self.now, self.is_ending);
        let is_asked = self.shell.is_refresh_asked && self.demotions.one_in(10) || self.demotions.one_in(100);
        let is_last = self.is_ending && cluster.is_settled();
        if is_asked || is_last && !self.has_last_map {
            self.shell.is_refresh_asked = false;
            self.has_last_map = is_last;
            self.shell.proxy.handle_slot_map(&cluster.map(), Millis(self.now));
        }
    }

    /// Other settings hold from here on; sometimes they are the same.
    fn reload(&mut self) {
        if !self.reloads.one_in(5) {
            self.plan.change(&mut self.reloads);
        }
        self.has_reloaded = true;
        let settings = &self.plan.settings;
        self.history.change(settings.servers.iter().map(|address| number(address)).collect(), settings.failover);
        self.shell.proxy.handle_settings(settings.clone(), Millis(self.now));
        self.shell.name_servers(&self.plan);
    }

    /// The name of a server may move, and names are looked up by time.
    fn maybe_move(&mut self) {
        let number = self.moves.below(self.servers.len());
        let server = &mut self.servers[number];
        if !self.is_ending && self.moves.one_in(self.plan.move_in) {
            // Some come back.
            server.address = if self.moves.one_in(3) { server.address.saturating_sub(1) } else { server.address + 1 };
            server.moves += 1;
            server.is_deserted = self.moves.one_in(2);
            trace!("server {number} moves to address {}", server.address);
            // What holds a connection may lose it.
            self.has_reloaded = true;
            if self.plan.faults == Faults::All && self.moves.one_in(3) {
                server.is_away_until = self.step + self.moves.between(1, 200) as u64;
            }
        }
        if self.is_ending && self.servers[number].is_away_until > self.step {
            self.servers[number].is_away_until = 0;
        }
        if self.moves.one_in(20) || self.is_ending && self.shell.names.known(number) != self.servers[number].address {
            self.shell.names.ask(number);
        }
        if self.servers.iter().any(|server| server.is_away_until > self.step) {
            self.disturb();
        }
    }

    /// What must hold after every step.
    fn check(&mut self) {
        let proxy = &self.shell.proxy;
        let timeouts = &self.plan.settings.timeouts;
        for server in &self.servers {
            let open = self.shell.connections_to(server);
            // One more for each move: it replaces others, and those owe something for as long as replies trickle. And one
            // more asks what a server is that has refused a write.
            let more = server.moves + usize::from(self.plan.demote_in > 0);
            let is_too_many = |settings: &Settings| open > settings.pool_size + more;
            assert!(!self.plan.seen.iter().all(is_too_many), "{open} connections to server {}", server.number);
            let network = &self.shell.network;
            let silent_ms = network.asked_at.get(&server.number).map_or(0, |at| self.now - at);
            // A request may have waited until its connection was ready.
            let mute_ms = network.requested_at.get(&server.number).map_or(0, |at| self.now - at);
            // Half of a reply came, and no more.
            let owing = server.connections.iter().filter(|connection| connection.owes());
            let read_at = owing.map(|connection| network.link(connection.link).read_at).filter(|&at| at > 0).min();
            let silent_ms = silent_ms.max(read_at.map_or(0, |at| self.now - at));
            if silent_ms.max(mute_ms + timeouts.remote_connect_ms) >= timeouts.failover_after_ms {
                self.history.trusted.remove(&server.number);
            }
            let (since, before) = server.mood_since;
            let (passed, connects) = (self.now - since, self.shell.connects[server.number] - before);
            // Some at once, until it is known to be of no use; then no more than with the shortest delay of all.
            let size_max = self.plan.seen.iter().map(|settings| settings.pool_size).max().unwrap_or(0) as u64;
            // Where the settings change, connections are wanted anew.
            let paced = (2 * size_max + 5 + passed / 50) * self.plan.seen.len() as u64;
            let bound = match server.mood {
                Mood::Silent | Mood::Closing => paced,
                // One for each request whose time is over, at the most.
                Mood::Mute => {
                    paced + size_max * passed / timeouts.remote_read_ms.min(self.plan.seen[0].timeouts.remote_read_ms)
                }
                _ => continue,
            };
            assert!(
                connects <= bound,
                "{connects} connections to server {} in {passed} ms, {bound} may be",
                server.number
            );
        }
        let limits = &self.plan.settings.limits;
        assert!(proxy.clients() <= limits.clients_max);
        let send_queue_max =
            self.plan.seen.iter().map(|settings| settings.limits.send_queue_bytes_max).max().unwrap_or(0);
        // Past the limit each client and each connection may have what was under way, and no more.
        let under_way = LARGE + READ + self.plan.value_max;
        let bound = limits.buffered_bytes_max
            + proxy.clients() * (limits.client_unread_pause_bytes + under_way)
            + proxy.backends() * (send_queue_max + under_way);
        assert!(proxy.buffered_bytes() <= bound, "{} bytes are held, and {bound} may be", proxy.buffered_bytes());
        // Where the marks are low, what a client has sent at once is answered in as many writes.
        let is_low = |settings: &Settings| settings.limits.client_outstanding_max < 10;
        let is_mark_low = limits.client_unread_pause_bytes <= 5_000 || self.plan.was(is_low);
        let writes_max = 50 + 30 * (proxy.clients() + proxy.backends());
        assert!(
            is_mark_low || self.shell.network.writes <= writes_max,
            "{} writes in one turn",
            self.shell.network.writes
        );
        if let Err(error) = proxy.check() {
            panic!("the proxy is not in order: {error}");
        }
    }

    /// Everything is made good, and comes to rest.
    fn end(&mut self) {
        trace!("from here on all is well");
        self.is_ending = true;
        self.plan.relax();
        for server in &mut self.servers {
            server.mood = Mood::Fine;
            server.is_replica = false;
            server.connections.iter_mut().for_each(|connection| connection.stalled_until = 0);
        }
        let steps_max = self.step + STEPS_TO_END;
        while !self.clients.is_empty() {
            self.step();
            assert!(self.step < steps_max, "{}", self.show_stuck());
        }
        self.rest();
    }

    fn show_stuck(&self) -> String {
        let stuck: Vec<String> =
            self.clients.iter().map(|client| format!("client {}: {} owed", client.number, client.owed())).collect();
        format!("it does not come to rest: {stuck:?}")
    }

    /// Nobody is there any more: what is left is one idle connection to each server.
    fn rest(&mut self) {
        let patience = self.plan.patience_ms() + 100_000;
        let mut until = self.now + patience;
        let steps_max = self.step + STEPS_TO_END;
        let mut happened = self.shell.network.happened;
        while self.now < until && !(self.is_idle() && self.next_deadline().is_none()) {
            self.step();
            // As long as replies of megabytes trickle that nobody waits for, all is well.
            let is_draining = self.shell.proxy.backends() > self.servers.len();
            let is_quiet = mem::replace(&mut happened, self.shell.network.happened) == self.shell.network.happened;
            if is_draining && !is_quiet {
                until = self.now + patience;
            }
            assert!(self.step < steps_max, "there are always events, though nobody is there");
        }
        let proxy = &self.shell.proxy;
        assert_eq!(proxy.clients(), 0, "clients are left");
        assert_eq!(proxy.outstanding(), 0, "requests are left");
        // The start of a push may be there.
        let pushed_max = if self.plan.push_in > 0 { proxy.backends() * LARGE } else { 0 };
        let left = proxy.buffered_bytes() - proxy.remembered_bytes();
        assert!(left <= pushed_max, "{left} bytes are left");
        for server in &self.servers {
            let open = self.shell.connections_to(server);
            let is_used = self.plan.settings.servers.iter().any(|address| number(address) == server.number);
            let is_right = open == usize::from(is_used) || self.history.cluster.is_some() && open <= 1;
            assert!(is_right, "{open} connections to server {} are left", server.number);
            let elements = self.history.lists.listed(server.number);
            assert_eq!(server.elements(), elements, "elements in the lists of server {}", server.number);
        }
        assert!(proxy.is_all_up(), "not all servers are up again");
        assert!(proxy.timers() <= 2 * self.servers.len(), "{} timers are left", proxy.timers());
    }
}
