//! What a seed makes of the world: how many servers, which limits, and how badly everybody behaves.

use rmux::limits::{Limits, Timeouts};
use rmux::proxy::Settings;

use crate::random::Random;

/// Who misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Faults {
    /// Nobody: every request has its right answer, no client is closed.
    None,
    /// Clients vanish, stop reading, send nonsense; servers are perfect.
    Clients,
    /// Servers and the clock, too.
    All,
}

pub struct Plan {
    pub settings: Settings,
    pub faults: Faults,
    /// Clients at one time.
    pub clients: usize,
    /// Steps before everything is made good and must come to rest.
    pub steps: u64,
    /// The shortest and the longest pipe, in bytes.
    pub pipes: (usize, usize),
    pub short_write_in: usize,
    /// The most that one read of the proxy takes.
    pub read_max: usize,
    /// The largest values.
    pub value_max: usize,
    /// One value in so many is large.
    pub large_in: usize,
    /// Databases that clients select, beside 0.
    pub databases: u32,
    pub has_resp3: bool,
    pub knows_hello: bool,
    /// One request in so many begins a transaction; 0 for none.
    pub transact_in: usize,
    /// One request in so many waits for an element of a list; 0 for none.
    pub wait_in: usize,
    /// One write in so many is a script's; 0 for none.
    pub script_in: usize,
    /// A server that speaks RESP3 has something to say of itself with one request in so many; 0 for never.
    pub push_in: usize,
    /// The longest pipeline that a client sends at once.
    pub pipeline: usize,
    /// Milliseconds that pass between two steps, at the most.
    pub pace_ms: usize,
    /// One step in so many, the clock jumps; 0 for never.
    pub jump_in: usize,
    /// One step in so many, something happens to a server; 0 for never.
    pub fault_in: usize,
    /// One step in so many, the settings change; 0 for never. There are more servers then than are in use.
    pub reload_in: usize,
    /// One step in so many, the name of a server moves; 0 for never.
    pub move_in: usize,
    /// One step in so many, a server becomes a replica, or a master again; 0 for never.
    pub demote_in: usize,
    /// One step in so many, a slot of a cluster begins to move; 0 where there is no cluster.
    pub reshard_in: usize,
    /// All settings that there were, with those of now.
    pub seen: Vec<Settings>,
    /// Whether replies may take too long though nobody is at fault.
    pub is_sluggish: bool,
    /// Whether servers are silent at times, and nothing else befalls them: other servers get their keys only after
    /// `failover_after_ms` of that.
    pub is_test_of_patience: bool,
}

impl Plan {
    pub fn draw(random: &mut Random) -> Plan {
        let faults = random.pick(&[Faults::None, Faults::Clients, Faults::All, Faults::All, Faults::All]);
        let is_calm = faults < Faults::All;
        let is_test_of_patience = faults == Faults::All && random.percent(20);
        let servers = random.pick(&[1, 1, 2, 3, 5, 7]);
        let timeouts = if is_calm {
            Timeouts {
                local_read_ms: 0,
                local_write_ms: 0,
                local_request_ms: match faults {
                    Faults::None => 60_000,
                    _ => random.pick(&[0, 400, 5_000, 60_000]),
                },
                remote_connect_ms: 60_000,
                remote_read_ms: 60_000,
                remote_write_ms: 60_000,
                ..Timeouts::default()
            }
        } else {
            Timeouts {
                local_read_ms: random.pick(&[0, 0, 400, 5_000]),
                local_write_ms: random.pick(&[0, 0, 400, 5_000]),
                local_request_ms: random.pick(&[0, 400, 5_000, 60_000]),
                remote_connect_ms: random.pick(&[100, 500, 2_000]),
                remote_read_ms: random.pick(&[100, 500, 500, 5_000]),
                remote_write_ms: random.pick(&[100, 500, 500, 5_000]),
                failover_after_ms: random.pick(&[0, 300, 1_000, 2_000, 5_000]),
                slow_ms: 1,
                ..Timeouts::default()
            }
        };
        let timeouts = match is_test_of_patience {
            true => Timeouts {
                remote_connect_ms: random.pick(&[500, 1_000]),
                remote_read_ms: random.pick(&[500, 1_000]),
                remote_write_ms: 1_000,
                failover_after_ms: random.pick(&[1_500, 3_000, 5_000]),
                ..timeouts
            },
            false => timeouts,
        };
        let value_max = random.pick(&[300, 300, 20_000, 100_000, 300_000]);
        let pause = random.pick(&[1, 100, 5_000, 60_000, 1_000_000]);
        let mut limits = Limits {
            client_outstanding_max: random.pick(&[1, 2, 5, 50, 4096]),
            client_unread_pause_bytes: pause,
            pipeline_max: random.pick(&[1, 2, 3, 8, 8192]),
            connects_per_second: if is_calm { 0 } else { [0, 5, 20, 100][random.next() as usize % 4] },
            send_queue_bytes_max: random.pick(&[1, 1_000, 30_000, 1_000_000]),
            ..Limits::default()
        };
        if faults == Faults::All {
            limits.client_unread_bytes_max = pause.max(random.pick(&[2_000, 200_000, 64_000_000]));
            limits.buffered_bytes_max = random.pick(&[50_000, 1_000_000, 64_000_000]);
            limits.clients_max = random.pick(&[3, 1_000]);
        }
        let settings = Settings {
            listen: "a simulation".to_string(),
            multi_key: random.percent(60),
            failover: random.percent(75),
            pool_size: random.between(1, 4),
            lease_max: random.between(1, 4),
            strict_replies: random.one_in(3),
            timeouts,
            limits,
            seed: random.next(),
            ..Settings::new((0..servers).map(name).collect())
        };
        let shortest: usize =
            if is_calm { random.pick(&[5_000, 60_000]) } else { random.pick(&[1, 100, 5_000, 60_000]) };
        let read_max = random.pick(&[1, 30, 5_000, 200_000, 200_000, 200_000]);
        let (shortest, read_max) = if is_test_of_patience { (60_000, 200_000) } else { (shortest, read_max) };
        // What takes too many steps is left to others.
        let value_max = value_max.min(shortest.saturating_mul(100)).min(read_max * 100).max(300);
        let shortest_ms = timeouts.remote_connect_ms.min(timeouts.remote_read_ms).min(timeouts.remote_write_ms);
        let pace_ms = if is_calm || is_test_of_patience { 2 } else { random.pick(&[1, 3, 20]) };
        let is_narrow = shortest < 5_000 || read_max < 5_000;
        let is_sluggish = faults == Faults::All && (is_narrow || shortest_ms < 500 || pace_ms > 5);
        Plan {
            is_test_of_patience,
            is_sluggish,
            faults,
            clients: random.pick(&[1, 2, 4, 8, 12]),
            steps: random.between(200, 700) as u64,
            pipes: (shortest, shortest.max(200_000)),
            short_write_in: random.pick(&[0, 0, 2, 20]),
            read_max,
            value_max,
            large_in: random.pick(&[3, 10, 20]),
            databases: random.pick(&[0, 0, 1, 3]),
            has_resp3: random.percent(40),
            knows_hello: is_calm || random.percent(85),
            wait_in: random.pick(&[0, 6, 12, 40]),
            transact_in: random.pick(&[0, 4, 10, 30]),
            script_in: random.pick(&[0, 3, 10]),
            push_in: random.pick(&[0, 3, 20]),
            pipeline: random.pick(&[1, 3, 10, 30]),
            pace_ms,
            jump_in: if is_calm || is_test_of_patience { 0 } else { random.pick(&[0, 0, 100, 300]) },
            fault_in: if is_calm { 0 } else { random.pick(&[10, 30, 100]) },
            reload_in: 0,
            move_in: 0,
            demote_in: 0,
            reshard_in: 0,
            seen: vec![settings.clone()],
            settings,
        }
    }

    /// Settings change, at times.
    pub fn reload(&mut self, random: &mut Random) {
        self.reload_in = random.pick(&[20, 50, 150]);
        self.is_test_of_patience = false;
    }

    /// Servers move, at times, and with some seeds settings change, too.
    pub fn make_moving(&mut self, random: &mut Random) {
        self.move_in = random.pick(&[20, 50, 150]);
        self.is_test_of_patience = false;
        if random.one_in(3) {
            self.reload(random);
        }
    }

    /// Servers become replicas at times, and masters again. In a calm world nothing else goes wrong.
    pub fn demote(&mut self, random: &mut Random) {
        self.demote_in = random.pick(&[5, 20, 60]);
        self.is_test_of_patience = false;
    }

    /// The servers are nodes of a cluster whose slots move. In a calm world nothing else goes wrong.
    pub fn reshard(&mut self, random: &mut Random) {
        self.reshard_in = random.pick(&[2, 5, 20, 60]);
        self.is_test_of_patience = false;
        // A cluster has one database.
        self.databases = 0;
        self.settings.cluster = true;
        self.settings.multi_key |= random.percent(70);
        self.settings.servers = (0..random.between(2, 6)).map(name).collect();
        self.seen = vec![self.settings.clone()];
    }

    /// How many servers there are, in use or not.
    pub fn universe(&self) -> usize {
        self.seen[0].servers.len() + if self.reload_in > 0 { 2 } else { 0 }
    }

    /// Other settings: what a reload may change, and nothing that its clients could not know.
    pub fn change(&mut self, random: &mut Random) {
        let mut settings = self.settings.clone();
        if random.one_in(2) {
            let mut all: Vec<String> = (0..self.universe()).map(name).collect();
            random.shuffle(&mut all);
            all.truncate(random.between(1, self.universe()));
            if random.one_in(3) {
                all.sort();
            }
            settings.servers = all;
        }
        if random.one_in(4) {
            settings.multi_key = random.one_in(2);
            settings.failover = random.one_in(2);
            // Where scripts are made to say too much, their replies are made sure of all the time.
            settings.strict_replies = self.has_lies() || random.one_in(2);
        }
        if random.one_in(3) {
            settings.pool_size = random.between(1, 4);
            settings.lease_max = random.between(1, 4);
        }
        if random.one_in(3) {
            settings.limits.client_outstanding_max = random.pick(&[1, 2, 5, 50, 4096]);
            settings.limits.pipeline_max = random.pick(&[1, 2, 3, 8, 8192]);
            settings.limits.send_queue_bytes_max = random.pick(&[1, 1_000, 30_000, 1_000_000]);
        }
        if random.one_in(3) && self.faults == Faults::All {
            settings.timeouts.remote_connect_ms = random.pick(&[100, 500, 2_000]);
            settings.timeouts.remote_read_ms = random.pick(&[100, 500, 500, 5_000]);
            settings.timeouts.remote_write_ms = random.pick(&[100, 500, 500, 5_000]);
            settings.timeouts.failover_after_ms = random.pick(&[0, 300, 1_000, 2_000, 5_000]);
            settings.limits.buffered_bytes_max = random.pick(&[50_000, 1_000_000, 64_000_000]);
        }
        trace!("other settings: {settings:#?}");
        self.seen.push(settings.clone());
        self.settings = settings;
    }

    /// Whether scripts may say more than one reply.
    pub fn has_lies(&self) -> bool {
        self.seen[0].strict_replies
    }

    /// Whether this was so at any time.
    pub fn was(&self, is_so: impl Fn(&Settings) -> bool) -> bool {
        self.seen.iter().any(is_so)
    }

    /// From here on the network is as good as it gets.
    pub fn relax(&mut self) {
        self.pipes = (60_000, 200_000);
        self.read_max = 200_000;
        self.pace_ms = 2;
        self.jump_in = 0;
    }

    /// The length of a value.
    pub fn len(&self, random: &mut Random) -> usize {
        match random.one_in(self.large_in) {
            false => random.below(200),
            true if random.one_in(2) => random.below(self.value_max.min(20_000)),
            true => random.below(self.value_max),
        }
    }

    /// The size of a new pipe.
    pub fn pipe(&self, random: &mut Random) -> usize {
        random.pick(&[self.pipes.0, self.pipes.0, self.pipes.1])
    }

    /// Whether a request may be answered by several servers, each a part of it.
    pub fn has_parts(&self) -> bool {
        self.was(|settings| settings.multi_key && settings.servers.len() > 1)
    }

    /// Longer than any chain of waiting may be, in milliseconds: a request is given to three backends, and waits for
    /// each of them to connect and to answer.
    pub fn patience_ms(&self) -> u64 {
        let chain = |settings: &Settings| {
            let timeouts = &settings.timeouts;
            10 * (timeouts.remote_connect_ms + timeouts.remote_read_ms + timeouts.remote_write_ms) + 5_000
        };
        self.seen.iter().map(chain).max().expect("there are settings")
    }
}

/// The address of a server.
pub fn name(server: usize) -> String {
    format!("server-{server}:1")
}

/// The number of the server with this address.
pub fn number(address: &str) -> usize {
    let number = address.strip_prefix("server-").and_then(|rest| rest.strip_suffix(":1"));
    number.and_then(|number| number.parse().ok()).expect("the address of a server")
}
