//! The model shell: it plays the reactor's part, in the reactor's order of a turn, on the model network.
//!
//! ```text
//!   events, in any order, some of them later ─► what has left is closed ─► accept ─► read: each ready connection once, as much as chance allows
//!        ─► timeouts ─► transmit ─► actions: connect, close, read again
//! ```
//!
//! As there, an edge is told once: what is not read then is read when the proxy says `Resume`, or when more comes. A turn
//! begins only when there is an event, or when the proxy's next deadline has come.

use std::collections::HashMap;

use rmux::buffer::Scratch;
use rmux::proxy::{Action, Conn, Proxy};
use rmux::server_id::ServerId;
use rmux::slots::Id;
use rmux::timer::Millis;

use crate::names::Names;
use crate::network::{LinkId, Network};
use crate::plan::{Plan, number};
use crate::random::Random;
use crate::server::{Answer, Server};

struct Socket {
    conn: Conn,
    is_readable: bool,
    is_queued: bool,
    /// Its client was asked to leave: a read that finds nothing is the end.
    is_dismissed: bool,
}

pub struct Shell {
    pub proxy: Proxy,
    pub network: Network,
    scratch: Scratch,
    /// By the number of the link.
    sockets: Vec<Option<Socket>>,
    ready: Vec<LinkId>,
    /// Backends on their way to a server, and to which of its addresses.
    dials: Vec<(Id, u16, u32)>,
    pub names: Names,
    /// Steps of the world.
    pub step: u64,
    /// The numbers of the servers, by the proxy's names for them; those of servers that are no more, too.
    numbers: HashMap<ServerId, usize>,
    /// How many connections the proxy has asked for, by the number of the server.
    pub connects: Vec<u64>,
    /// Connections that are no more.
    dead: Vec<Conn>,
    /// Links that wait to be accepted.
    pub backlog: Vec<LinkId>,
    /// A link on which something comes that nobody asked for, and that is read in the next turn: before all others, or
    /// behind them.
    pub surplus: Option<(LinkId, bool)>,
    /// Who has which slot is to be asked for.
    pub is_refresh_asked: bool,
    /// How many lines the log got.
    lines: u64,
}

impl Shell {
    pub fn new(proxy: Proxy, network: Network, names: Names, servers: usize) -> Shell {
        Shell {
            proxy,
            network,
            scratch: Scratch::new(),
            sockets: Vec::new(),
            is_refresh_asked: false,
            lines: 0,
            ready: Vec::new(),
            dials: Vec::new(),
            names,
            step: 0,
            numbers: HashMap::new(),
            connects: vec![0; servers],
            dead: Vec::new(),
            backlog: Vec::new(),
            surplus: None,
        }
    }

    /// The settings are those of this plan.
    pub fn name_servers(&mut self, plan: &Plan) {
        let numbers = plan.settings.servers.iter().map(|address| number(address));
        self.numbers.extend(self.proxy.servers().iter().copied().zip(numbers));
    }

    /// Whether the loop would wake.
    pub fn has_events(&self, now: u64, servers: &[Server]) -> bool {
        let is_due = self.proxy.next_deadline().is_some_and(|deadline| deadline.0 <= now);
        let is_dialing = self.dials.iter().any(|dial| !servers[usize::from(dial.1)].is_unreachable());
        let has_edge = |link: LinkId| {
            let link = self.network.link(link);
            link.readable_edge || link.writable_edge
        };
        let has_edges = (0..self.sockets.len()).any(|link| self.sockets[link].is_some() && has_edge(link));
        is_due || is_dialing || self.names.is_asked() || !self.ready.is_empty() || !self.backlog.is_empty() || has_edges
    }

    /// Whether no connect is under way.
    pub fn is_connected(&self) -> bool {
        self.dials.is_empty()
    }

    /// Connections of the proxy to this server that are not closed.
    pub fn connections_to(&self, server: &Server) -> usize {
        let open = server.connections.iter().filter(|connection| !self.network.link(connection.link).is_closed);
        open.count()
    }

    pub fn turn(&mut self, now: u64, plan: &Plan, servers: &mut [Server], random: &mut Random) {
        self.network.now = now;
        self.network.writes = 0;
        let now = Millis(now);
        let surplus = self.surplus.take();
        if let Some((link, true)) = surplus {
            self.network.take_readable_edge(link);
            self.read(link, usize::MAX, now);
        }
        self.tell_events(now, plan, servers, random, surplus);
        self.proxy.handle_follow_ups(now);
        self.carry_out(now, plan, servers, random);
        self.accept(now);
        self.read_ready(now, plan, random);
        if let Some((link, false)) = surplus {
            self.network.take_readable_edge(link);
            self.read(link, usize::MAX, now);
        }
        self.proxy.handle_timeouts(now, &mut self.network);
        self.proxy.transmit(now, &mut self.network);
        self.carry_out(now, plan, servers, random);
        self.note_refused();
        self.log(now, servers.len());
        if let Some((link, _)) = surplus {
            assert!(self.network.link(link).is_closed, "a surplus byte came, and the connection is still used");
        }
    }

    /// Notes which clients the proxy does not want to read.
    fn note_refused(&mut self) {
        for (link, socket) in self.sockets.iter().enumerate() {
            let Some(Socket { conn: conn @ Conn::Client(_), .. }) = socket else { continue };
            if !self.proxy.is_listening_to(*conn) {
                self.network.refuse(link);
            }
        }
    }

    /// Whatever the peers do, of each kind there is a line a second at the most.
    fn log(&mut self, now: Millis, servers: usize) {
        while let Some((_, line)) = self.proxy.poll_notice(now) {
            trace!("{line}");
            assert!(!line.contains(char::is_control), "{line:?}");
            self.lines += 1;
        }
        let kinds_max = 10 * (servers as u64 + 1);
        assert!(self.lines <= kinds_max * (now.0 / 1000 + 1), "{} lines in {} ms", self.lines, now.0);
    }

    fn tell_events(
        &mut self,
        now: Millis,
        plan: &Plan,
        servers: &mut [Server],
        random: &mut Random,
        surplus: Option<(LinkId, bool)>,
    ) {
        let mut links: Vec<LinkId> = (0..self.sockets.len()).filter(|&link| self.sockets[link].is_some()).collect();
        random.shuffle(&mut links);
        for link in links {
            let Some(socket) = &mut self.sockets[link] else { continue };
            let conn = socket.conn;
            if random.one_in(10) || surplus.is_some_and(|surplus| surplus.0 == link) {
                continue;
            }
            if self.network.take_readable_edge(link) {
                socket.is_readable = true;
                if !socket.is_queued {
                    socket.is_queued = true;
                    self.ready.push(link);
                }
                if self.network.link(link).is_ended || self.network.link(link).is_reset {
                    if let Conn::Client(id) = conn {
                        self.network.note_departure(link);
                        self.proxy.handle_client_hangup(id);
                    }
                }
            }
            // With an event of one kind come those of the other that hold just then.
            let has_room = self.network.link(link).down.room() > 0;
            if self.network.take_writable_edge(link) || has_room && random.one_in(8) {
                self.proxy.handle_writable(conn);
            }
        }
        self.tell_stale(now, random);
        self.names.look_up(&mut self.proxy, &self.numbers, servers, now);
        for index in (0..self.dials.len()).rev() {
            let (backend, server, address) = self.dials[index];
            if address != self.names.known(usize::from(server)) {
                trace!("{backend:?} is turned round");
                self.dials[index].2 = self.names.known(usize::from(server));
                continue;
            }
            if random.one_in(3) {
                continue;
            }
            let is_elsewhere = address != servers[usize::from(server)].address;
            match servers[usize::from(server)].answer_at(address, self.step, random) {
                Answer::Nothing => continue,
                Answer::Refused if is_elsewhere => {
                    // A lookup may know more.
                    self.names.ask(usize::from(server));
                    continue;
                }
                Answer::Connected => {
                    let link = self.network.connect(plan.pipe(random));
                    trace!("{backend:?} is connected to server {server} by link {link}");
                    self.network.set_server(link, usize::from(server));
                    self.add(link, Conn::Backend(backend));
                    self.names.on_connected(backend, usize::from(server), address);
                    servers[usize::from(server)].accept(link, &mut self.network);
                    self.proxy.handle_connected(backend, now);
                }
                Answer::Refused | Answer::RefusedAtOnce => {
                    self.proxy.handle_connect_failed(backend, "refused", now);
                }
            }
            self.dials.swap_remove(index);
        }
    }

    /// Events that come late, for connections that are no more.
    fn tell_stale(&mut self, now: Millis, random: &mut Random) {
        if self.dead.is_empty() || !random.one_in(10) {
            return;
        }
        match random.pick(&self.dead) {
            Conn::Client(id) => match random.below(4) {
                0 => self.proxy.handle_client_end(id),
                1 => self.proxy.handle_client_broken(id),
                2 => self.proxy.handle_client_hangup(id),
                _ => self.proxy.handle_writable(Conn::Client(id)),
            },
            Conn::Backend(id) => match random.below(5) {
                0 => self.proxy.handle_backend_end(id, now),
                1 => self.proxy.handle_backend_broken(id, "late", now),
                2 => self.proxy.handle_connected(id, now),
                3 => self.proxy.handle_connect_failed(id, "late", now),
                _ => self.proxy.handle_writable(Conn::Backend(id)),
            },
        }
    }

    fn add(&mut self, link: LinkId, conn: Conn) {
        if self.sockets.len() <= link {
            self.sockets.resize_with(link + 1, || None);
        }
        self.network.name(link, conn);
        self.sockets[link] = Some(Socket { conn, is_readable: false, is_queued: false, is_dismissed: false });
    }

    /// Another process takes over: it accepts from now on, and not this one.
    pub fn dismiss(&mut self, now: u64, drain_ms: u64) {
        trace!("another process takes over, {drain_ms} ms are left");
        self.accept(Millis(now));
        self.proxy.handle_dismiss(drain_ms, Millis(now));
    }

    fn accept(&mut self, now: Millis) {
        for link in std::mem::take(&mut self.backlog) {
            match self.proxy.handle_accept(now) {
                Some(id) => self.add(link, Conn::Client(id)),
                None => self.network.tell(link, Proxy::TOO_MANY_CLIENTS),
            }
        }
    }

    fn read_ready(&mut self, now: Millis, plan: &Plan, random: &mut Random) {
        let mut ready = std::mem::take(&mut self.ready);
        random.shuffle(&mut ready);
        for link in ready {
            let Some(socket) = &mut self.sockets[link] else { continue };
            socket.is_queued = false;
            if socket.is_readable {
                let max = if random.one_in(3) { random.between(1, plan.read_max) } else { plan.read_max };
                self.read(link, max, now);
            }
        }
    }

    /// Reads a connection once.
    fn read(&mut self, link: LinkId, max: usize, now: Millis) {
        let Some(socket) = &mut self.sockets[link] else { return };
        let conn = socket.conn;
        if !self.proxy.is_listening_to(conn) {
            socket.is_readable = true;
            return;
        }
        if self.network.link(link).is_reset {
            match conn {
                Conn::Client(id) => self.proxy.handle_client_broken(id),
                Conn::Backend(id) => self.proxy.handle_backend_broken(id, "reset", now),
            }
            return;
        }
        let area = self.scratch.read_area();
        let asked = area.len().min(max);
        let got = self.network.read(link, &mut area[..asked]);
        let is_drained = self.network.link(link).up.len() == 0;
        let is_end = is_drained && self.network.link(link).is_ended;
        socket.is_readable = !is_drained;
        if let (0, false, true, Conn::Client(id)) = (got, is_end, socket.is_dismissed, conn) {
            if self.proxy.may_dismiss(id) {
                self.proxy.handle_client_silent(id);
            }
        }
        if socket.is_readable && !socket.is_queued {
            socket.is_queued = true;
            self.ready.push(link);
        }
        if got > 0 {
            match conn {
                Conn::Client(id) => {
                    self.proxy.handle_client_data(id, &mut self.scratch, got, now, &mut self.network);
                }
                Conn::Backend(id) => {
                    self.proxy.handle_backend_data(id, &mut self.scratch, got, now, &mut self.network);
                }
            }
        }
        if is_end {
            match conn {
                Conn::Client(id) => self.proxy.handle_client_end(id),
                Conn::Backend(id) => self.proxy.handle_backend_end(id, now),
            }
        }
    }

    fn carry_out(&mut self, now: Millis, plan: &Plan, servers: &[Server], random: &mut Random) {
        let actions_max = 1_000 + 100 * (self.sockets.len() + plan.clients);
        for count in 0.. {
            assert!(count < actions_max, "the actions of one turn have no end");
            let Some(action) = self.proxy.poll_action() else { return };
            match action {
                Action::Connect { backend, server } => {
                    let (id, server) = (server, number(self.proxy.address(server)));
                    self.numbers.insert(id, server);
                    trace!("connection {backend:?} to server {server}");
                    self.network.ask(server);
                    self.connects[server] += 1;
                    match servers[server].answer(random) {
                        Answer::RefusedAtOnce => self.proxy.handle_connect_failed(backend, "refused at once", now),
                        _ => self.dials.push((backend, server as u16, self.names.known(server))),
                    }
                }
                Action::Close(conn) => {
                    self.dials.retain(|dial| Conn::Backend(dial.0) != conn);
                    self.names.forget(conn);
                    self.dead.push(conn);
                    trace!("{conn:?} is closed, link {:?}", self.network.find(conn));
                    if let Some(link) = self.network.find(conn) {
                        self.network.close(link, conn);
                        self.sockets[link] = None;
                    }
                }
                Action::Resolve(server) => {
                    if !self.names.ask(self.numbers[&server]) {
                        self.proxy.handle_resolved(server, false, now);
                    }
                }
                Action::Renew(server) => {
                    self.names.on_replaced(self.numbers[&server], server, &mut self.proxy, now);
                }
                Action::Dismiss(id) => {
                    let Some(link) = self.network.find(Conn::Client(id)) else { continue };
                    let Some(socket) = &mut self.sockets[link] else { continue };
                    (socket.is_readable, socket.is_dismissed) = (true, true);
                    if !socket.is_queued {
                        socket.is_queued = true;
                        self.ready.push(link);
                    }
                }
                Action::Refresh(_) => self.is_refresh_asked = true,
                Action::Post => unreachable!("there is one proxy only"),
                Action::Resume(conn) => {
                    let Some(link) = self.network.find(conn) else { continue };
                    let Some(socket) = &mut self.sockets[link] else { continue };
                    if socket.is_readable && !socket.is_queued {
                        socket.is_queued = true;
                        self.ready.push(link);
                    }
                }
            }
        }
    }
}
