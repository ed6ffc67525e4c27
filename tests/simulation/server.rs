//! Model servers: a small Redis behind connections, in the moods that real ones have.
//!
//! ```text
//!   Fine · Slow: answers late · Silent: takes what it is sent, and answers nothing · Loading: answers -LOADING
//!   Dead: refuses connections · Full: takes no more connections, and serves those that there are
//!   Mute: answers handshakes, and nothing else · Closing: closes what is idle, as soon as its handshake is over
//! ```
//!
//! What was sent to a connection that the proxy has closed is still run, as a real server would.

use crate::history::History;
use crate::network::{LinkId, Network};
use crate::plan::Plan;
use crate::protocol::{Value, parse_request, show_request, write_attribute, write_push, write_value};
use crate::random::Random;
use crate::redis::{Kind, Store};
use crate::session::{Here, Session};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Fine,
    Slow,
    Silent,
    Loading,
    Dead,
    Full,
    Mute,
    Closing,
}

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Connected,
    /// Refused, and the caller knows it in the same moment.
    RefusedAtOnce,
    Refused,
    /// Nothing is heard.
    Nothing,
}

pub struct Connection {
    pub link: LinkId,
    session: Session,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    /// Where, in what is still to be sent, the reply to the last request that sets the session ends.
    control_end: usize,
    /// Until this step it does nothing.
    pub stalled_until: u64,
    is_done: bool,
}

impl Connection {
    /// Whether some of what it has to say is not said.
    pub fn owes(&self) -> bool {
        !self.outbox.is_empty()
    }
}

pub struct Server {
    pub number: usize,
    pub mood: Mood,
    pub mood_until: u64,
    /// When it came into this mood, and how many connections were asked for by then.
    pub mood_since: (u64, u64),
    /// While silent: whether it still completes connects.
    pub is_deaf: bool,
    /// Where its name leads to.
    pub address: u32,
    /// How often it has moved.
    pub moves: usize,
    /// Nobody takes connections at a former address.
    pub is_deserted: bool,
    /// Until this step nobody takes connections at its address.
    pub is_away_until: u64,
    pub knows_hello: bool,
    /// It refuses writes.
    pub is_replica: bool,
    pub connections: Vec<Connection>,
    store: Store,
    /// As in the plan.
    push_in: usize,
    push_max: usize,
    /// Whether its scripts can be made to say a line too much, and until which step.
    can_lie: bool,
    pub lies_until: u64,
}

impl Server {
    pub fn new(number: usize, plan: &Plan) -> Server {
        Server {
            number,
            mood: Mood::Fine,
            mood_until: 0,
            mood_since: (0, 0),
            is_deaf: false,
            address: 0,
            moves: 0,
            is_deserted: false,
            is_away_until: 0,
            knows_hello: plan.knows_hello,
            is_replica: false,
            connections: Vec::new(),
            store: Store::default(),
            push_in: plan.push_in,
            push_max: plan.value_max,
            can_lie: plan.has_lies(),
            lies_until: 0,
        }
    }

    /// True while an attempt to connect hears nothing.
    pub fn is_unreachable(&self) -> bool {
        self.mood == Mood::Silent && self.is_deaf
    }

    pub fn answer(&self, random: &mut Random) -> Answer {
        match self.mood {
            Mood::Dead => random.pick(&[Answer::RefusedAtOnce, Answer::Refused]),
            _ if self.is_unreachable() => Answer::Nothing,
            _ => Answer::Connected,
        }
    }

    /// What becomes of an attempt to connect to this address.
    pub fn answer_at(&self, address: u32, step: u64, random: &mut Random) -> Answer {
        let is_left = address != self.address && self.is_deserted;
        match is_left || address == self.address && self.is_away_until > step {
            true => Answer::Refused,
            false => self.answer(random),
        }
    }

    /// The proxy is connected by this link.
    pub fn accept(&mut self, link: LinkId, network: &mut Network) {
        if self.mood == Mood::Full {
            network.send(link, b"-ERR max number of clients reached\r\n");
            network.end(link);
            return;
        }
        self.connections.push(Connection {
            link,
            session: Session::default(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            control_end: 0,
            stalled_until: 0,
            is_done: false,
        });
    }

    /// One round of its loop: every connection a little.
    pub fn act(&mut self, (step, now): (u64, u64), network: &mut Network, random: &mut Random, history: &mut History) {
        if self.mood == Mood::Silent {
            return;
        }
        self.serve_waiting(now, network, history);
        for index in 0..self.connections.len() {
            if random.one_in(6) || self.connections[index].stalled_until > step {
                continue;
            }
            let n = random.pick(&[1, 50, 3_000, 100_000, 100_000]);
            let connection = &mut self.connections[index];
            if self.mood == Mood::Closing && connection.session.is_greeted && connection.outbox.is_empty() {
                network.end(connection.link);
                connection.is_done = true;
                continue;
            }
            let got = network.receive(connection.link, n, &mut connection.inbox);
            history.is_given_up = network.link(connection.link).is_closed;
            let done = self.work(index, (step, now), random, history);
            let connection = &self.connections[index];
            if connection.control_end > 0 {
                network.note_control(connection.link, connection.control_end);
            }
            history.is_given_up = false;
            self.serve_waiting(now, network, history);
            let connection = &mut self.connections[index];
            connection.is_done = got + done == 0 && network.is_over(connection.link);
            let n = connection.outbox.len().min(random.pick(&[1, 40, 1_000, 100_000, 100_000]));
            let is_free = connection.outbox.is_empty() && connection.session.is_resp3 && self.push_in > 0;
            if is_free && random.one_in(20 * self.push_in) {
                // Whether or not anybody waits for an answer.
                write_push(&mut connection.outbox, random.below(self.push_max), random);
            }
            let sent = network.send(connection.link, &connection.outbox[..n]);
            connection.outbox.drain(..sent);
            connection.control_end = connection.control_end.saturating_sub(sent);
            if self.mood == Mood::Slow && random.one_in(3) {
                connection.stalled_until = step + random.between(1, 60) as u64;
            }
        }
        self.connections.retain(|connection| !connection.is_done);
    }

    /// Runs some of the requests that are whole. Returns how many bytes they had.
    fn work(&mut self, index: usize, (step, now): (u64, u64), random: &mut Random, history: &mut History) -> usize {
        let connection = &mut self.connections[index];
        let mut done = 0;
        for _ in 0..random.pick(&[1, 5, 1_000]) {
            if connection.outbox.len() > 1_000_000 || connection.session.waiting.is_some() {
                break;
            }
            if self.mood == Mood::Mute && connection.session.is_greeted {
                break;
            }
            let (words, len) = match parse_request(&connection.inbox[done..]) {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(error) => panic!("server {} is sent {error}", self.number),
            };
            done += len;
            let here = Here {
                number: self.number,
                knows_hello: self.knows_hello,
                is_loading: self.mood == Mood::Loading,
                is_replica: self.is_replica,
                now,
            };
            trace!("server {} takes {} of link {}", self.number, show_request(&words), connection.link);
            let (kind, value) = self.store.answer(&words, &mut connection.session, here, history);
            if kind == Kind::User {
                let is_confirmed = connection.control_end == 0;
                assert!(is_confirmed, "server {} is sent a request before the session is confirmed", self.number);
            }
            let speaks = connection.session.is_resp3 && self.push_in > 0;
            if speaks && random.one_in(self.push_in) {
                write_push(&mut connection.outbox, random.below(self.push_max), random);
            }
            if let Some(value) = value {
                // What a node does not run it says without more ado.
                let is_refusal = history.cluster.is_some() && matches!(value, Value::Error(_));
                let may_have_attribute = kind == Kind::User && !may_be_part(&words[0]) && !is_refusal;
                if speaks && may_have_attribute && random.one_in(self.push_in) {
                    write_attribute(&mut connection.outbox, random);
                }
                write_value(&mut connection.outbox, &value, connection.session.is_resp3);
                let is_script = words[0].len() >= 4 && words[0][..4].eq_ignore_ascii_case(b"EVAL");
                if is_script && step < self.lies_until && random.one_in(2) {
                    trace!("server {} says a line too much on link {}", self.number, connection.link);
                    connection.outbox.extend_from_slice(random.pick(&[&b"+INJECTED\r\n"[..], b":1\r\n", b"+OK\r\n"]));
                }
            }
            if kind == Kind::Control {
                connection.control_end = connection.outbox.len();
            }
        }
        connection.inbox.drain(..done);
        done
    }

    /// Answers those who wait, as far as there is something for them, or their time is over: who waited first, first.
    fn serve_waiting(&mut self, now: u64, network: &mut Network, history: &mut History) {
        // Who has closed its connection waits no longer.
        for connection in &mut self.connections {
            if network.link(connection.link).is_closed {
                connection.session.waiting = None;
            }
        }
        let order = |connection: &Connection| connection.session.waiting.as_ref().map(|waiting| waiting.order);
        let mut waiting: Vec<&mut Connection> = self.connections.iter_mut().collect();
        waiting.retain(|connection| connection.session.waiting.is_some());
        waiting.sort_by_key(|connection| order(connection));
        for connection in waiting {
            let Some(waiting) = connection.session.waiting.take() else { continue };
            let cluster = history.cluster.as_ref();
            if let Some(error) = cluster.and_then(|cluster| cluster.unblock(self.number, &waiting.keys(), now)) {
                history.lists.refuse(waiting.pop);
                trace!("server {} lets {} wait no longer: {error}", self.number, waiting.pop);
                write_value(&mut connection.outbox, &Value::Error(error.into_bytes()), connection.session.is_resp3);
                continue;
            }
            let Some(value) = self.store.shelf.serve(&waiting, self.number, now, history) else {
                connection.session.waiting = Some(waiting);
                continue;
            };
            let has_left = network.link(history.lists.link(waiting.pop)).has_left;
            let is_right = !has_left || matches!(value, Value::Nil(_));
            assert!(is_right, "{} waits on link {}, though its client has left", waiting.pop, connection.link);
            write_value(&mut connection.outbox, &value, connection.session.is_resp3);
        }
    }

    /// When somebody who waits for an element waits no longer.
    pub fn next_deadline(&self) -> Option<u64> {
        let waiting = self.connections.iter().filter_map(|connection| connection.session.waiting.as_ref());
        waiting.filter_map(|waiting| waiting.until).min()
    }

    /// How many elements lie in its lists.
    pub fn elements(&self) -> usize {
        self.store.shelf.count()
    }

    /// Nothing was asked on this connection that is not answered, and nothing is on its way.
    pub fn is_quiet(&self, index: usize, network: &Network) -> bool {
        let connection = &self.connections[index];
        let link = network.link(connection.link);
        let is_waiting = connection.session.waiting.is_some();
        let is_empty = connection.inbox.is_empty() && connection.outbox.is_empty() && !is_waiting;
        is_empty && link.up.len() == 0 && link.down.len() == 0 && !link.is_closed && !link.is_reset
    }

    /// Says something that is no reply, in the place of one or behind it.
    pub fn garble(&mut self, index: usize, step: u64) {
        if self.can_lie {
            self.lies_until = step + 100;
        }
        self.connections[index].outbox.extend_from_slice(b"?\r\n");
    }

    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Ends one connection, some of whose replies may still get out.
    pub fn drop_connection(&mut self, index: usize, network: &mut Network, random: &mut Random) {
        let connection = self.connections.swap_remove(index);
        trace!("server {} drops link {}", self.number, connection.link);
        let n = random.below(connection.outbox.len() + 1);
        network.send(connection.link, &connection.outbox[..n]);
        if random.one_in(2) {
            network.reset(connection.link);
        } else {
            network.end(connection.link);
        }
    }

    /// The process dies.
    pub fn die(&mut self, network: &mut Network, random: &mut Random, history: &mut History) {
        while !self.connections.is_empty() {
            self.drop_connection(0, network, random);
        }
        if random.one_in(2) {
            self.store = Store::default();
            history.lists.forget(self.number);
        }
    }
}

/// Whether the reply to this command may become a part of another one, which rmux puts together.
fn may_be_part(name: &[u8]) -> bool {
    let parts: &[&[u8]] = &[b"MGET", b"MSET", b"EXISTS", b"DEL", b"EXEC", b"PUBLISH"];
    parts.iter().any(|part| name.eq_ignore_ascii_case(part))
}
