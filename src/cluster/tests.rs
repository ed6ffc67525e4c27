//! The machine between model nodes, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::link::LinkId;
use crate::link::model::{self, Bench as _, bulk, host_port};
use crate::timer::Millis;
use crate::users::{Credentials, Secret};
use log::Level;

mod doubts;
mod hostile;
mod rounds;

/// Ranges of slots: the first, the last, the master's id and place, its replicas' ids and places.
type Entry = (u16, u16, &'static str, Vec<&'static str>);

/// What a node is like.
#[derive(Clone, Default)]
struct Model {
    /// Refuses connections.
    is_down: bool,
    /// Takes connections, and says nothing.
    is_silent: bool,
    /// Its name is never found.
    is_nowhere: bool,
    /// What it says of who has what.
    entries: Vec<Entry>,
    is_failing: bool,
    epoch: u64,
    /// In the place of an answer to `CLUSTER SLOTS`, or `CLUSTER INFO`.
    slots: Option<String>,
    info: Option<String>,
    /// What it asks for, if it does.
    password: Option<&'static str>,
    /// What it says to SELECT, if that is not the usual.
    select: Option<&'static str>,
}

/// A watch, and the nodes that it has to do with.
struct Bench {
    watch: Watch,
    now: Millis,
    models: BTreeMap<String, Model>,
    /// Connections by their numbers: whose, and whether it was let in.
    open: BTreeMap<u32, (String, bool)>,
    maps: Vec<(Millis, Arc<SlotMap>)>,
    /// Whether there are several databases, as reactors were told.
    databases: Vec<Databases>,
    /// How often nodes were asked, as reactors were told.
    told: Vec<Arc<Refreshes>>,
    said: Vec<(Level, String)>,
    /// When each node was asked who has what, and when it was connected to.
    questions: Vec<(Millis, String)>,
    connects: Vec<(Millis, String)>,
    /// When a node was asked for another database.
    selects: Vec<Millis>,
}

fn settings(seeds: &[&str], password: Option<&'static str>) -> Settings {
    Settings {
        pool: "p".to_owned(),
        seeds: seeds.iter().map(|seed| host_port(seed)).collect(),
        credentials: password.map(|password| Credentials { user: None, password: Secret::new(password.as_bytes()) }),
    }
}

/// A node of the name `a` has the id `ida`, and is at `a:1`.
fn node(name: &str) -> String {
    format!("*4\r\n{}:1\r\n{}*0\r\n", bulk(name), bulk(&format!("id{name}")))
}

fn slots_reply(entries: &[Entry]) -> String {
    let entry = |(first, last, master, replicas): &Entry| {
        let nodes: String = [master].into_iter().chain(replicas).map(|name| node(name)).collect();
        format!("*{}\r\n:{first}\r\n:{last}\r\n{nodes}", 3 + replicas.len())
    };
    format!("*{}\r\n{}", entries.len(), entries.iter().map(entry).collect::<String>())
}

/// Two masters with a half each, and a replica of the first.
fn halves() -> Vec<Entry> {
    vec![(0, 8_191, "a", vec!["c"]), (8_192, 16_383, "b", vec![])]
}

impl Bench {
    /// Nodes a, b and c, of which the user names these, with their ports; all agree.
    fn new(seeds: &[&str]) -> Bench {
        Bench::with(seeds, None, |_| {})
    }

    /// The same, changed before the watch begins.
    fn with(seeds: &[&str], password: Option<&'static str>, change: impl Fn(&mut BTreeMap<String, Model>)) -> Bench {
        let model = |name: &str| (format!("{name}:1"), Model { entries: halves(), epoch: 7, ..Model::default() });
        let mut models = ["a", "b", "c"].map(model).into_iter().collect();
        change(&mut models);
        Bench {
            watch: Watch::new(settings(seeds, password), 7, Millis(0)),
            now: Millis(0),
            models,
            open: BTreeMap::new(),
            maps: Vec::new(),
            databases: Vec::new(),
            told: Vec::new(),
            said: Vec::new(),
            questions: Vec::new(),
            connects: Vec::new(),
            selects: Vec::new(),
        }
    }

    fn model(&mut self, name: &str) -> &mut Model {
        self.models.entry(name.to_owned()).or_default()
    }

    /// Changes what all of them are like.
    fn all(&mut self, change: impl Fn(&mut Model)) {
        self.models.values_mut().for_each(change);
    }

    fn connect(&mut self, id: LinkId, to: &str) {
        assert!(self.open.is_empty(), "one connection at a time");
        self.connects.push((self.now, to.to_owned()));
        match self.models.get(to) {
            Some(model) if model.is_nowhere => {}
            Some(model) if !model.is_down => {
                self.open.insert(id.0, (to.to_owned(), model.password.is_none()));
                self.watch.handle_found(id, self.now);
                self.watch.handle_connected(id, self.now);
            }
            _ => self.watch.handle_lost(id, "connection refused", self.now),
        }
    }

    fn receive(&mut self, id: LinkId, bytes: &[u8]) {
        for request in model::requests(bytes) {
            let words: Vec<&str> = request.iter().map(String::as_str).collect();
            let Some(reply) = self.reply(id, &words) else { return };
            self.watch.handle_data(id, reply.as_bytes(), self.now);
        }
    }

    /// What is answered; nothing on a connection that is no more.
    fn reply(&mut self, id: LinkId, words: &[&str]) -> Option<String> {
        let (name, is_let_in) = self.open.get_mut(&id.0)?;
        let model = &self.models[name.as_str()];
        if model.is_silent {
            return None;
        }
        let refused = model::authenticate(words, model.password, is_let_in);
        Some(match words {
            _ if refused.is_some() => return refused,
            ["CLUSTER", "INFO"] => model.info.clone().unwrap_or_else(|| {
                let state = if model.is_failing { "fail" } else { "ok" };
                bulk(&format!("cluster_state:{state}\r\ncluster_current_epoch:{}\r\n", model.epoch))
            }),
            ["SELECT", "1"] => {
                self.selects.push(self.now);
                model.select.unwrap_or("-ERR SELECT is not allowed in cluster mode\r\n").to_owned()
            }
            ["CLUSTER", "SLOTS"] => {
                self.questions.push((self.now, name.clone()));
                model.slots.clone().unwrap_or_else(|| slots_reply(&model.entries))
            }
            other => panic!("{other:?}"),
        })
    }

    /// Says this every ten milliseconds for so long.
    fn hint(&mut self, cause: RefreshCause, ms: u64) {
        for _ in 0..ms / 10 {
            self.watch.handle_hint(cause, self.now);
            self.run(10);
        }
    }

    /// Where the master of this slot is, as far as is known.
    fn master(&self, slot: u16) -> Option<&str> {
        let map = self.watch.map()?;
        Some(map.shards()[map.owner(slot)?].master.as_str())
    }

    fn warnings(&self) -> Vec<&str> {
        self.said.iter().filter(|said| said.0 <= Level::Warn).map(|said| said.1.as_str()).collect()
    }

    /// Who was asked, each once.
    fn asked(&self) -> BTreeSet<&str> {
        self.questions.iter().map(|question| question.1.as_str()).collect()
    }

    /// How often nodes were asked with this outcome.
    fn count(&self, outcome: Outcome) -> u64 {
        self.watch.view().refreshes.iter().filter(|(key, _)| key.1 == outcome).map(|(_, count)| count).sum()
    }
}

impl model::Bench for Bench {
    fn now(&mut self) -> &mut Millis {
        &mut self.now
    }

    fn next_deadline(&self) -> Millis {
        self.watch.next_deadline()
    }

    fn handle_timeouts(&mut self) {
        self.watch.handle_timeouts(self.now);
    }

    fn settle(&mut self) {
        while let Some(action) = self.watch.poll_action() {
            match action {
                Action::Connect(id, to) => self.connect(id, &to.to_string()),
                Action::Send(id, bytes) => self.receive(id, &bytes),
                Action::Close(id) => drop(self.open.remove(&id.0)),
                Action::Map(map) => self.maps.push((self.now, map)),
                Action::Databases(databases) => self.databases.push(databases),
                Action::Asked(refreshes) => self.told.push(refreshes),
                Action::Say(level, text) => self.said.push((level, text)),
            }
        }
    }
}
