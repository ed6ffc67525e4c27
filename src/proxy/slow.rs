//! Which requests stand in the slow log, and what stands there.
//!
//! A request is slow that is answered after `slowlogSlowerThan`, the wait for a connection counted, or whose time is
//! over; of a large reply the beginning counts. To wait for data is no slowness. Who is answered late because the one
//! before was slow is not noted as well, or one slow request would push all others out of the log: from an entry on,
//! the time of those behind it on the same connection begins anew.
//!
//! Nothing is written for each request. When the oldest one on a connection was queued is known (`batches`): as long as
//! that is less than the limit ago, what comes is not looked at one by one. What a request was is read once more from
//! its bytes, which are kept until it is answered.

use super::reading::Reading;
use super::settings::Settings;
use super::state::Proxy;
use crate::command::{self, Name};
use crate::request::{RequestId, Role};
use crate::resp::RequestFramer;
use crate::slots::Id;
use crate::slow_log::SlowEntry;
use crate::timer::Millis;

/// As much of a request is looked at: its name, and where its first key is.
const LOOKED_AT: u64 = 4096;

/// Notes the first request in flight on this backend, whose reply has come, if it is slow.
#[cold]
pub(super) fn note_first(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    let measured = &mut proxy.in_flight.measured;
    // Then the oldest one is the first.
    backend.settle_answered(measured);
    let us = backend.oldest_queued_us(measured.clock_us).unwrap_or(0);
    if let Some(first) = backend.in_flight().first() {
        note(proxy, id, first, u64::from(us) / 1000, now);
    }
}

/// Notes the first of these requests in flight on a backend, whose time is over, if that is long enough.
#[cold]
pub(super) fn note_expired(proxy: &mut Proxy, id: Id, due: &[RequestId], now: Millis) {
    // Of a large reply the beginning was looked at.
    let is_arriving = proxy.upstreams.backend(id).is_none_or(|backend| backend.is_in_large_reply());
    let Some(&first) = due.first().filter(|_| !is_arriving) else { return };
    let deadline = proxy.in_flight.requests[first].deadline();
    note(proxy, id, first, now + proxy.settings.timeouts.remote_read_ms - deadline, now);
}

/// Notes a request in flight on this backend that was with its server for so long, in milliseconds, if it was slow and
/// somebody waits for it.
fn note(proxy: &mut Proxy, id: Id, request: RequestId, server_ms: u64, now: Millis) {
    let Proxy { settings, upstreams, clients, reading, in_flight, journal, .. } = proxy;
    let entry = &in_flight.requests[request];
    let Some(backend) = upstreams.backend_mut(id) else { return };
    let clock_us = in_flight.measured.clock_us;
    let own_ms = server_ms.min(u64::from(backend.since_slow_us(clock_us)) / 1000);
    let (waited_ms, slow_ms) = (entry.waited_ms(), settings.timeouts.slow_ms);
    let is_slow = slow_ms > 0 && own_ms + waited_ms >= slow_ms && entry.role() != Role::Blocking;
    let Some(client) = clients.get(entry.client()).filter(|_| is_slow) else { return };
    backend.on_slow(clock_us);
    let Some(backend) = upstreams.backend(id) else { return };
    let before = backend.in_flight().iter(&in_flight.requests).take_while(|&other| other != request);
    let from = backend.answered() + before.map(|other| u64::from(in_flight.requests[other].bytes())).sum::<u64>();
    let to = from + u64::from(entry.bytes()).min(LOOKED_AT);
    // Of a large one that was passed on as it came, nothing is there.
    let bytes = backend.queue().copy_range(&in_flight.arena, from, to).unwrap_or_default();
    let (name, key) = name_and_key(settings, reading, &bytes);
    let name = name.or_else(|| client.command().map(|command| command.full_name()));
    let entry = SlowEntry {
        number: settings.workers.own_number(journal.slow_log.noted()),
        unix_ms: journal.unix_ms + now.0,
        waited_ms,
        server_ms,
        server: upstreams.address(backend.server()).into(),
        client: client.connection().peer().unwrap_or(&settings.listen).into(),
        client_name: SlowEntry::cut(client.session().name.as_bytes()),
        command: name.map_or_else(Default::default, |name| name.words().concat().into_bytes().into()),
        key: key.map(SlowEntry::cut),
    };
    journal.slow_log.note(entry, settings.limits.slow_entries_max);
}

/// What a request is, of which this is the start, and its first key, as far as they are there.
fn name_and_key<'a>(settings: &Settings, reading: &Reading, start: &'a [u8]) -> (Option<Name>, Option<&'a [u8]>) {
    let mut framer = RequestFramer::new();
    // Part of it will do.
    let _ = framer.frame(start, &reading.request_limits);
    let known = framer.args().iter().take_while(|arg| arg.is_within(start.len())).count();
    let args = &framer.args()[..known];
    let arg = |index: usize| args.get(index).map_or(&b""[..], |arg| arg.of(start));
    let Some(row) = command::find(arg(0)).or_else(|| settings.policy.declared(arg(0))) else { return (None, None) };
    let command = row.sub(arg(1)).unwrap_or(row);
    let span = command.key_span(framer.args_total().max(known), arg).ok();
    let key = span.and_then(|span| span.iter().next()).filter(|&index| (index as usize) < known);
    (Some(Name::new(row.name(), command.name())), key.map(|index| arg(index as usize)))
}
