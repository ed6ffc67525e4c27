//! Other settings, between two turns: what follows from each for what is there already.
//!
//! ```text
//!   servers    one that stays (the same address; of one that is there n times, the n-th) keeps all it has
//!              one that comes is connected to at once, and has its keys from now on: they wait, as at the start
//!              one that goes is retired: no request more; its connections close when they owe nothing, those that a
//!              client has for itself when it is done, what is left, and what hears messages, after RETIRED_MS
//!   passwords  of servers: connections say AUTH again when they are idle (`authenticate`)
//!   users      who is logged in stays so, with whatever password; who is no user any more is closed, as in Redis
//!   the rest   holds for what comes; deadlines of clients are looked at anew
//! ```
//!
//! A server is not waited for before the ring has it: all workers of a pool would have to wait for each other, or ask
//! different servers for the same key meanwhile; and an address that never answers would hold the reload up.
//!
//! Nothing of what the settings say twice is touched: the same servers, no connection, no epoch.

use std::mem;

use log::Level;

use super::backend_close_reason::BackendCloseReason;
use super::client_close_reason::ClientCloseReason;
use super::interface::Timer;
use super::pubsub::Pubsub;
use super::settings::Settings;
use super::state::Proxy;
use super::topics::SubscriptionConnection;
use super::upstreams::Upstreams;
use super::{
    authenticate, close, connect, drain, publish, recover, replica_watch, subscribe, subscription_connection, zone,
};
use crate::client::{Flow, Need};
use crate::notice::{About, Kind};
use crate::request::Role;
use crate::server_id::ServerId;
use crate::timer::Millis;
use crate::users::Users;

/// What a client has for itself at a server that is gone ends by then, and what is published there is heard until then,
/// in milliseconds.
pub(super) const RETIRED_MS: u64 = 5_000;

/// From here on these settings hold.
pub(super) fn handle_settings(proxy: &mut Proxy, settings: Settings, now: Millis) {
    let mut settings = settings;
    // Who this proxy is.
    settings.workers = proxy.settings.workers.clone();
    settings.process_id = proxy.settings.process_id;
    settings.seed = proxy.settings.seed;
    keep_replicas(&proxy.settings, &mut settings);
    if settings.cluster && proxy.settings.cluster {
        // Those of the file are where it is found; which nodes there are it has told.
        settings.servers.clone_from(&proxy.settings.servers);
        settings.replicas.clone_from(&proxy.settings.replicas);
    }
    let mut old = mem::replace(&mut proxy.settings, settings);
    if old.credentials != proxy.settings.credentials {
        authenticate::on_changed(proxy, old.credentials.take(), now);
    }
    let settings = &proxy.settings;
    proxy.upstreams.set_patience(settings);
    proxy.reading.set_limits(&settings.limits);
    proxy.in_flight.memory.set_limits(&settings.limits);
    proxy.in_flight.measured.set_slow(settings.timeouts.slow_ms);
    let is_new_user = old.users != settings.users;
    // Deadlines and marks, most of which are looked at when something happens.
    let is_new_limit = old.limits != settings.limits || old.timeouts != settings.timeouts;
    if is_new_user {
        change_users(proxy, &old.users);
    }
    change_servers(proxy, now);
    if old.zone != proxy.settings.zone {
        zone::on_settings(proxy, now);
    }
    if is_new_limit {
        look_at_deadlines(proxy, now);
    }
    // Who waits may find room now, or at another server.
    proxy.turn.room_is_new();
    shrink(proxy);
}

/// Who follows a master that is known by its name was told by who watches it, and is not in the file.
fn keep_replicas(old: &Settings, new: &mut Settings) {
    new.replicas.resize(new.servers.len(), Vec::new());
    for (name, replicas) in new.servers.iter().zip(&mut new.replicas) {
        if new.masters.contains(name) {
            let place = old.servers.iter().position(|other| other == name);
            *replicas = place.and_then(|place| old.replicas.get(place).cloned()).unwrap_or_default();
        }
    }
}

/// From here on these are the replicas of a server, wherever it stands in the ring.
pub(super) fn handle_replicas(proxy: &mut Proxy, server: ServerId, replicas: Vec<String>, now: Millis) {
    let places = proxy.router.servers().enumerate();
    let Some(place) = places.filter(|&(_, other)| other == server).map(|(place, _)| place).next() else { return };
    let all = &mut proxy.settings.replicas;
    all.resize(all.len().max(place + 1), Vec::new());
    if all[place] != replicas {
        all[place] = replicas;
        change_servers(proxy, now);
        proxy.turn.room_is_new();
        shrink(proxy);
    }
}

/// Has each deadline looked at, and set anew; no request that is out waits longer than one that is sent now.
fn look_at_deadlines(proxy: &mut Proxy, now: Millis) {
    proxy.in_flight.requests.cap_deadlines(now + proxy.settings.timeouts.remote_read_ms);
    for (id, client) in proxy.clients.iter_mut() {
        if !client.is_closed() {
            client.wake_at(&mut proxy.wheel, Timer::Client(id), now);
        }
        // If it may have more in flight from now on, it need not wait.
        let awaits_own = matches!(client.flow(), Flow::AwaitingBackend { need: Need::Bulk, .. });
        if awaits_own && client.connection_mut().mark_dirty() {
            proxy.turn.flush_client(id);
        }
    }
    for (id, backend) in proxy.upstreams.backends_mut() {
        if !backend.is_closed() {
            backend.wake_at(&mut proxy.wheel, Timer::Backend(id), now);
        }
    }
}

/// Clients keep their user, by its name; those whose user is gone are closed.
fn change_users(proxy: &mut Proxy, old: &Users) {
    let mut gone = Vec::new();
    for (id, client) in proxy.clients.iter_mut() {
        match proxy.settings.users.successor_of(client.session().user, old) {
            Some(user) => client.set_user(user),
            None => gone.push(id),
        }
    }
    for id in gone {
        close::close_client(proxy, id, ClientCloseReason::UserGone);
    }
}

/// The servers of the settings are those that there are from here on.
pub(super) fn change_servers(proxy: &mut Proxy, now: Millis) {
    let before = proxy.servers();
    let (servers, replicas) = find_servers(proxy, &before, now);
    let after: Vec<ServerId> = servers.iter().chain(replicas.iter().flatten()).copied().collect();
    let is_other = after != before;
    let added = |server: &&ServerId| !before.contains(server);
    for &server in after.iter().filter(added) {
        proxy.upstreams.revive(server, &proxy.settings);
    }
    proxy.router.settle(&proxy.settings, servers.clone());
    let is_near = |server| zone::is_near(&proxy.settings, &proxy.upstreams, server);
    proxy.router.set_replicas(&proxy.settings, replicas, is_near, proxy.upstreams.slots());
    if !is_other {
        return;
    }
    for &server in &servers {
        proxy.router.set_up(server, proxy.upstreams.health(server).is_up());
    }
    proxy.pubsub.set_slots(proxy.upstreams.slots());
    for &server in after.iter().filter(added) {
        connect::open_if_none(proxy, server, now);
        if proxy.router.replicas().has(server) {
            replica_watch::watch(proxy, server, now);
        } else {
            subscription_connection::on_server_added(proxy, server, now);
        }
    }
    for &server in &before {
        if !after.contains(&server) {
            retire(proxy, server, now);
        }
    }
    subscribe::review_confirmations(proxy, now);
    publish::wake_publishers(&proxy.router, &mut proxy.turn, &proxy.pubsub);
}

/// The servers of the settings, in their order, and the replicas of each; `before` are those of until now.
fn find_servers(proxy: &mut Proxy, before: &[ServerId], now: Millis) -> (Vec<ServerId>, Vec<Vec<ServerId>>) {
    // Those of until now first, in the order of the ring, and then those that were retired.
    let mut free = before.to_vec();
    for slot in 0..proxy.upstreams.slots() {
        let server = proxy.upstreams.server_in(slot);
        if proxy.upstreams.is_retired(server) {
            free.push(server);
        }
    }
    let Proxy { settings, upstreams, pubsub, .. } = proxy;
    let mut find = |address: &String, is_replica: bool| {
        // One that has become a replica, or has been one, is another: it is heard, or it is not.
        let is_it =
            |&server: &ServerId| upstreams.address(server) == address && upstreams.is_replica(server) == is_replica;
        if let Some(place) = free.iter().position(is_it) {
            return free.remove(place);
        }
        let former = free.iter().position(|&server| is_unused(upstreams, pubsub, server));
        let former = former.map(|place| free.remove(place));
        if let Some(former) = former {
            pubsub.connections[former.index()] = SubscriptionConnection::default();
        }
        upstreams.add_server(former, (address, is_replica), settings, now)
    };
    let servers = settings.servers.iter().map(|address| find(address, false)).collect();
    let places = 0..settings.servers.len();
    let replicas = places.map(|place| settings.replicas_of(place).iter().map(|address| find(address, true)).collect());
    (servers, replicas.collect())
}

/// True exactly when nothing is left of a server that is retired: its slot can be another's.
fn is_unused(upstreams: &Upstreams, pubsub: &Pubsub, server: ServerId) -> bool {
    upstreams.is_retired(server) && !upstreams.has_backends(server) && pubsub.is_unused(server.index())
}

/// This server gets no request any more.
fn retire(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let until = now + RETIRED_MS;
    proxy.upstreams.retire(server, until);
    proxy.wheel.arm(Timer::Retired(server), until);
    let count = proxy.upstreams.backends_of(server).count();
    proxy.journal.notices.note(
        Kind::State,
        About::Server(server),
        Level::Info,
        1,
        format_args!("is removed; connections that close when they owe nothing: {count}"),
    );
}

/// Drains those connections that are too many, and that nobody has for himself: those of servers that are retired, and
/// of one that has more than it may the youngest. To be called in each turn, while there are any.
#[cold]
#[inline(never)]
pub(super) fn shrink(proxy: &mut Proxy) {
    let mut is_shrinking = false;
    for slot in 0..proxy.upstreams.slots() {
        let server = proxy.upstreams.server_in(slot);
        let is_retired = proxy.upstreams.is_retired(server);
        // What was asked on one that is not ready waits for it, where it may be so; others may have no room for that.
        let may_wait = !is_retired || proxy.upstreams.health(server).is_up();
        let (mut held, mut serving, mut free) = (0, 0, Vec::new());
        for (id, backend) in proxy.upstreams.backends_of(server) {
            let is_awaited = backend.is_setting_up() && may_wait && !(is_retired && backend.in_flight().is_empty());
            held += usize::from(backend.is_held());
            serving += usize::from(backend.is_serving());
            if backend.is_serving() && !backend.is_held() && !is_awaited {
                free.push(id);
            }
        }
        // One is left to the others, whatever is held.
        let pool_size = proxy.settings.pool_size;
        let size_max = pool_size.max(held + 1);
        proxy.upstreams.pool_mut(server).set_limits(size_max, proxy.settings.lease_max.min(pool_size - 1));
        let count = proxy.upstreams.pool(server).backends().len();
        let (size_max, kept) = if is_retired { (0, 0) } else { (size_max, 1) };
        is_shrinking |= count > size_max.min(pool_size) || size_max > pool_size;
        // The youngest first.
        let surplus = serving.saturating_sub(size_max).min(free.len().saturating_sub(kept));
        for &id in &free[free.len() - surplus..] {
            drain::drain_backend(&mut proxy.upstreams, &mut proxy.turn, id);
        }
    }
    proxy.upstreams.set_shrinking(is_shrinking);
}

/// Nobody has anything of a retired server for himself any longer, and nobody hears it.
#[cold]
#[inline(never)]
pub(super) fn on_retired(proxy: &mut Proxy, server: ServerId, now: Millis) {
    // It may have been there again meanwhile.
    if proxy.upstreams.retired_until(server).is_none_or(|until| until > now) {
        return;
    }
    let mut all = Vec::new();
    for (id, backend) in proxy.upstreams.backends() {
        if backend.server() == server && !backend.is_closed() {
            all.push(id);
        }
    }
    for id in all {
        let Some(backend) = proxy.upstreams.backend(id) else { continue };
        let is_blocking = |request| proxy.in_flight.requests[request].role() == Role::Blocking;
        if backend.is_subscription() || backend.in_flight().iter(&proxy.in_flight.requests).any(is_blocking) {
            recover::lose_backend(proxy, id, BackendCloseReason::Retired, now);
        } else {
            drain::drain_backend(&mut proxy.upstreams, &mut proxy.turn, id);
        }
    }
}
