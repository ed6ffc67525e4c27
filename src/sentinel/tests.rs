//! The machine between model sentinels, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::link::model::{self, Bench as _, host_port};
use crate::link::{HostPort, LinkId};
use crate::timer::Millis;
use crate::users::{Credentials, Secret};
use log::Level;

mod hostile;
mod rounds;
mod switches;

/// What a sentinel is like.
#[derive(Clone, Default)]
struct Model {
    /// Refuses connections.
    is_down: bool,
    /// Takes connections, and says nothing.
    is_silent: bool,
    /// Takes connections, and does not shake hands for TLS.
    is_shaking: bool,
    is_tilted: bool,
    /// Where it says masters are, by their names.
    masters: BTreeMap<String, HostPort>,
    /// What it asks for, if it does.
    password: Option<&'static str>,
    id: String,
    /// The others that it tells of.
    others: Vec<(HostPort, String)>,
    replicas: String,
}

/// A watch, and the sentinels that it has to do with.
struct Bench {
    watch: Watch,
    now: Millis,
    models: BTreeMap<String, Model>,
    /// Connections by their numbers: whose, whether somebody hears on it, and whether it was let in.
    open: BTreeMap<u32, (String, bool, bool)>,
    moved: Vec<(String, String)>,
    asked: Vec<String>,
    replicas: Vec<Replica>,
    said: Vec<(Level, String)>,
    /// When each of them was asked for an address.
    questions: Vec<(Millis, String)>,
    connects: usize,
}

fn bulks(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{}", words.len(), words.concat())
}

impl Bench {
    /// With these sentinels, all of which say that m is at a:1.
    fn new(names: &[&str]) -> Bench {
        Bench::with(names, names, None)
    }

    /// With these sentinels, of which the user names some, and gives a password.
    fn with(names: &[&str], configured: &[&str], password: Option<&'static str>) -> Bench {
        let all: Vec<(HostPort, String)> = names.iter().map(|name| (host_port(name), format!("id-{name}"))).collect();
        let model = |name: &&str| {
            let others = all.iter().filter(|other| other.0 != host_port(name)).cloned().collect();
            let masters = BTreeMap::from([("m".to_owned(), host_port("a:1"))]);
            ((*name).to_owned(), Model { masters, id: format!("id-{name}"), others, ..Model::default() })
        };
        let settings = Settings {
            sentinels: configured.iter().map(|name| host_port(name)).collect(),
            masters: vec!["m".to_owned()],
            credentials: password
                .map(|password| Credentials { user: None, password: Secret::new(password.as_bytes()) }),
            wants_replicas: false,
        };
        Bench {
            watch: Watch::new(settings, 7, Millis(0)),
            now: Millis(0),
            models: names.iter().map(model).collect(),
            open: BTreeMap::new(),
            moved: Vec::new(),
            asked: Vec::new(),
            replicas: Vec::new(),
            said: Vec::new(),
            questions: Vec::new(),
            connects: 0,
        }
    }

    fn model(&mut self, name: &str) -> &mut Model {
        self.models.get_mut(name).expect("it is there")
    }

    /// Changes what all of them are like.
    fn all(&mut self, change: impl Fn(&mut Model)) {
        self.models.values_mut().for_each(change);
    }

    /// From now on these say that m is there.
    fn point(&mut self, names: &[&str], to: &str) {
        for name in names {
            self.model(name).masters.insert("m".to_owned(), host_port(to));
        }
    }

    fn connect(&mut self, id: LinkId, to: &str) {
        self.connects += 1;
        match self.models.get(to) {
            Some(model) if !model.is_down => {
                self.open.insert(id.0, (to.to_owned(), false, model.password.is_none()));
                match model.is_shaking {
                    true => self.watch.handle_shaking(id),
                    false => self.watch.handle_connected(id, Some(to.to_owned()), self.now),
                }
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
        let (name, is_hearing, is_let_in) = self.open.get_mut(&id.0)?;
        let model = &self.models[name.as_str()];
        if model.is_silent {
            return None;
        }
        let refused = model::authenticate(words, model.password, is_let_in);
        Some(match words {
            _ if refused.is_some() => return refused,
            ["SENTINEL", "MYID"] => format!("${}\r\n{}\r\n", model.id.len(), model.id),
            ["INFO", "sentinel"] => {
                let text = format!("# Sentinel\r\nsentinel_tilt:{}\r\n", u8::from(model.is_tilted));
                format!("${}\r\n{text}\r\n", text.len())
            }
            ["SENTINEL", "get-master-addr-by-name", master] => {
                self.questions.push((self.now, name.clone()));
                let found = model.masters.get(*master);
                found.map_or("*-1\r\n".to_owned(), |found| bulks(&[&found.host, &found.port.to_string()]))
            }
            ["SENTINEL", "sentinels", _] => {
                let others = model.others.iter().map(|(place, id)| {
                    let port = place.port.to_string();
                    bulks(&["name", id, "ip", &place.host, "port", &port, "runid", id, "flags", "sentinel"])
                });
                format!("*{}\r\n{}", model.others.len(), others.collect::<String>())
            }
            ["SENTINEL", "replicas", _] => model.replicas.clone(),
            ["SUBSCRIBE", channel] => {
                *is_hearing = true;
                format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{channel}\r\n:1\r\n", channel.len())
            }
            ["PING"] if *is_hearing => "*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_owned(),
            other => panic!("{other:?}"),
        })
    }

    /// What one of them publishes reaches who hears it.
    fn publish(&mut self, name: &str, message: &str) {
        let push = bulks(&["message", "+switch-master", message]);
        let hearing: Vec<u32> =
            self.open.iter().filter(|(_, open)| open.0 == name && open.1).map(|(&id, _)| id).collect();
        assert!(!hearing.is_empty(), "nobody hears {name}");
        for id in hearing {
            self.watch.handle_data(LinkId(id), push.as_bytes(), self.now);
        }
        self.settle();
    }

    /// One of them goes away, with its connections.
    fn kill(&mut self, name: &str) {
        self.model(name).is_down = true;
        self.cut(name);
    }

    fn cut(&mut self, name: &str) {
        let gone: Vec<u32> = self.open.iter().filter(|(_, open)| open.0 == name).map(|(&id, _)| id).collect();
        for id in gone {
            self.open.remove(&id);
            self.watch.handle_lost(LinkId(id), "it closed the connection", self.now);
        }
        self.settle();
    }

    fn address(&self) -> Option<String> {
        self.watch.address("m").map(ToString::to_string)
    }

    fn warnings(&self) -> Vec<&str> {
        self.said.iter().filter(|said| said.0 == Level::Warn).map(|said| said.1.as_str()).collect()
    }

    /// Who is connected to.
    fn connected(&self) -> BTreeSet<&str> {
        self.open.values().map(|open| open.0.as_str()).collect()
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
                Action::Moved(name, to) => self.moved.push((name, to.to_string())),
                Action::Asked(name) => self.asked.push(name),
                Action::Replicas(_, replicas) => self.replicas = replicas,
                Action::Say(level, text) => self.said.push((level, text)),
            }
        }
    }
}

const TRIO: [&str; 3] = ["s:1", "s:2", "s:3"];
