//! A password that changes: connections that are there say `AUTH` again, each when nobody has anything on it.
//!
//! The shell reads the file of the password, and tells what it has found; a reload may bring other credentials, too.
//! From then on new connections begin with these, and those that are there owe their servers an `AUTH`:
//!
//! ```text
//!   idle                           AUTH at once; what is asked meanwhile waits behind it
//!   busy                           in the first turn in which it owes no reply; after BUSY_MS without one it is given
//!                                  no more requests until it is idle: of each server one at a time
//!   a client has it for itself     when that one gives it back (MULTI, BLPOP, a deep pipeline)
//!   hears messages                 as it is: in RESP2 a subscribed connection can not say AUTH
//!   connecting, shaking hands      with the handshake, if that has not begun; else when it is done
//! ```
//!
//! A server that does not take the new ones leaves the connection what it was, and the log is told once for each
//! server: what still works goes on. New connections begin with the new ones all the same, and if those are refused
//! the reason says that the ones before were not.
//!
//! Behind other requests Redis 7.2 to 8.9 may leave out the error of an `AUTH`: it is never sent behind any.

use log::Level;

use super::interface::Timer;
use super::state::Proxy;
use super::{mark, report};
use crate::backend::handshake::Step;
use crate::notice::{About, Kind};
use crate::slots::Id;
use crate::timer::Millis;
use crate::users::{Credentials, Secret};

/// For so long a connection goes on taking requests without ever being idle, in milliseconds.
pub(super) const BUSY_MS: u64 = 2_000;
/// So often those are looked at that are to say `AUTH`, if no turn has come by, in milliseconds.
const LOOK_MS: u64 = 250;

impl Proxy {
    /// `Settings::password_file` was read, and this is the password in it. True if it is another than before.
    pub fn handle_password(&mut self, password: Secret, now: Millis) -> bool {
        handle_password(self, password, now)
    }

    /// `Settings::password_file` cannot be used, for this reason. To be told once, as long as it stays the same.
    pub fn handle_password_unread(&mut self, reason: &str) {
        handle_password_unread(self, reason);
    }

    /// `Settings::password_file` can be used again, and the password is the same.
    pub fn handle_password_readable(&mut self) {
        handle_password_readable(self);
    }
}

/// The file of the password was read, and has this one. True if it is another than before.
fn handle_password(proxy: &mut Proxy, password: Secret, now: Millis) -> bool {
    let Some(credentials) = &proxy.settings.credentials else { return false };
    if credentials.password == password {
        return false;
    }
    let credentials = Credentials { user: credentials.user.clone(), password };
    let former = proxy.settings.credentials.replace(credentials);
    proxy.journal.notices.note(
        Kind::Password,
        About::Clients,
        Level::Info,
        1,
        format_args!("remotePasswordFile has another password: connections to servers log in again"),
    );
    on_changed(proxy, former, now);
    true
}

/// The file of the password cannot be used, for this reason; it could before, or the reason was another.
fn handle_password_unread(proxy: &mut Proxy, reason: &str) {
    proxy.journal.notices.note(
        Kind::Password,
        About::Clients,
        Level::Warn,
        1,
        format_args!("remotePasswordFile {reason}; the password that is known stays in use"),
    );
}

/// The same file can be used again.
fn handle_password_readable(proxy: &mut Proxy) {
    proxy.journal.notices.note(
        Kind::Password,
        About::Clients,
        Level::Info,
        1,
        format_args!("remotePasswordFile can be read again"),
    );
}

/// Other credentials hold than these.
pub(super) fn on_changed(proxy: &mut Proxy, former: Option<Credentials>, now: Millis) {
    let is_quotable = proxy.upstreams.backends().any(|(_, backend)| backend.is_setting_up());
    proxy.authentication.change(former, is_quotable);
    if proxy.settings.credentials.is_some() && !proxy.authentication.is_owed() {
        proxy.wheel.arm(Timer::Authenticate, now + LOOK_MS);
        proxy.authentication.owe(now);
    }
}

/// Has those say `AUTH` that owe it and can. To be called in each turn, while any does.
#[cold]
#[inline(never)]
pub(super) fn authenticate_idle(proxy: &mut Proxy, now: Millis) {
    let number = proxy.authentication.number();
    let is_late = proxy.authentication.owed_ms(now) >= BUSY_MS;
    let mut settling: Vec<_> = Vec::new();
    for (_, backend) in proxy.upstreams.backends().filter(|(_, backend)| backend.is_settling()) {
        settling.push(backend.server());
    }
    let (mut idle, mut is_owed) = (Vec::new(), false);
    for (id, backend) in proxy.upstreams.backends_mut() {
        let is_told = backend.told() == number || backend.told() == 0;
        if is_told || !backend.is_pooled() || !backend.may_wait() {
            continue;
        }
        is_owed = true;
        if backend.may_authenticate() {
            idle.push(id);
        } else if is_late && !settling.contains(&backend.server()) {
            settling.push(backend.server());
            backend.settle();
        }
    }
    let Some(credentials) = proxy.settings.credentials.clone().filter(|_| is_owed) else {
        return proxy.authentication.owe_no_more();
    };
    for id in idle {
        let Some(backend) = proxy.upstreams.backend_mut(id) else { continue };
        backend.authenticate(&credentials, number, now);
        backend.wake_at(&mut proxy.wheel, Timer::Backend(id), now + proxy.settings.timeouts.remote_connect_ms);
        mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, id);
        // It takes requests again.
        proxy.turn.room_is_new();
    }
}

/// Those that are to say `AUTH` were looked at in this turn.
pub(super) fn on_due(proxy: &mut Proxy, now: Millis) {
    if proxy.authentication.is_owed() {
        proxy.wheel.arm(Timer::Authenticate, now + LOOK_MS);
    }
}

/// A server has taken what it was told in this step.
pub(super) fn on_taken(proxy: &mut Proxy, id: Id, step: Step) {
    if let (Step::Auth | Step::AuthAgain, Some(backend)) = (step, proxy.upstreams.backend(id)) {
        proxy.authentication.on_taken(backend.told());
    }
}

/// A server does not take the new credentials on a connection that goes on with those from before.
pub(super) fn on_refused_again(proxy: &mut Proxy, id: Id, words: &str) {
    let Some(backend) = proxy.upstreams.backend(id) else { return };
    let server = backend.server();
    // Meanwhile they may have changed once more.
    if backend.told() == proxy.authentication.number() && proxy.authentication.on_refused(server) {
        report::warn_of(
            &mut proxy.journal,
            Kind::Password,
            server,
            1,
            format_args!("it refuses the new password, and connections go on with the one before: {words}"),
        );
    }
}

/// What a server says that refuses a new connection in this step, and what is to be known about that.
pub(super) fn refusal(proxy: &Proxy, step: Step, words: String) -> String {
    match step == Step::Auth && proxy.authentication.is_change_for_the_worse() {
        true => format!("{words} (the password before it was taken)"),
        false => words,
    }
}
