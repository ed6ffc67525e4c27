//! Requests for several servers, taken apart: which server is asked what.
//!
//! ```text
//!   MGET a b c d     a, c on server 0; b, d on server 1     ─►  0: MGET a c      1: MGET b d
//!   MSET a 1 b 2     a on server 0, b on server 1           ─►  0: MSET a 1      1: MSET b 2
//!   JSON.MGET a b p                                         ─►  0: JSON.MGET a p 1: JSON.MGET b p
//!   KEYS *, FLUSHALL, SCRIPT LOAD x …                       ─►  the same to each server
//!   SCAN 13 COUNT 5  with 3 servers: server 1, its cursor 4 ─►  1: SCAN 4 COUNT 5
//! ```
//!
//! One part for each server, keys in the order in which they were asked; the arguments are spliced, byte for byte, out
//! of the request. It is all or nothing: a backend is found for every part before one byte of any is queued, and if one
//! has to be waited for, the client waits with the whole request.
//!
//! What is not exact is refused. A key whose server is down, with no other to stand in, refuses the whole command; so
//! does any server that is down for a command about all of them (`KEYS`, `DBSIZE`, `FLUSHALL` …): half of the keys is
//! not the keys. Between the parts of a write there is no transaction: if one server refuses, its error is the reply,
//! and the others have done their part. That is the price of several servers, and the client is told.
//!
//! When a server dies, different ones may come to stand in for keys that lived there together: what is to be asked
//! again is then taken apart once more.
//!
//! A server whose address is given twice has a share of the keys twice, but is one server to `KEYS` and its like.
//!
//! Knows how to take apart and where it goes; `merging` has the parts from there on, `compose` their replies.

use super::compose::{self, Shape};
use super::dispatch::Pick;
use super::merging::{Merging, Part};
use super::router::Route;
use super::routing::{CONNECTION_DOWN, CROSS_SLOT, Call, UNSUPPORTED, Verdict};
use super::{LARGE, NO_DEADLINE, Proxy};
use crate::client::Need;
use crate::command::{self, Access, Class, Gather, Merge};
use crate::reply::{self, error};
use crate::request::{MergingId, Place, Request, RequestId, Role};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// A request whose keys live on several servers.
    pub(super) fn on_split(&mut self, id: Id, call: &Call<'_>, merge: Merge, now: Millis) -> Verdict {
        let Some(row) = self.key_row(call) else {
            self.reply_here(id, CROSS_SLOT);
            return Verdict::Done;
        };
        // Until the parts are queued, all of it is there twice.
        let len = call.request.len();
        if len > LARGE && self.buffered_bytes() + 2 * len > self.settings.limits.buffered_bytes_max {
            self.refuse_for_memory(id, "This request, taken apart,");
            return Verdict::Done;
        }
        let mut merging = self.new_merging();
        merging.shape = shape_of(merge);
        if !self.sort_keys(call, row, &mut merging) {
            self.spare_merging(merging);
            self.reply_here(id, CONNECTION_DOWN);
            return Verdict::Done;
        }
        if let Err(verdict) = self.claim_all(id, &mut merging, now) {
            self.spare_merging(merging);
            return verdict;
        }
        self.queue_parts(call, row, &mut merging);
        self.line_up_parts(id, call.command.access, merging, now);
        Verdict::Done
    }

    /// Where the keys stand that can be taken apart; `None` if they can not.
    fn key_row(&self, call: &Call<'_>) -> Option<KeyRow> {
        let span = call.command.key_span(call.args.len(), |index| call.arg(index)).ok()?;
        if !self.settings.multi_key || span.extra.is_some() || span.first == 0 {
            return None;
        }
        let (first, step) = (span.first as usize, span.step as usize);
        Some(KeyRow { first, tail: first + span.count as usize * step, step })
    }

    /// Queues its bytes for each part, to the backend that was found for it.
    fn queue_parts(&mut self, call: &Call<'_>, row: KeyRow, merging: &mut Merging) {
        let KeyRow { first, tail, step } = row;
        let fixed = first + call.args.len() - tail;
        let mut head = std::mem::take(&mut self.reading.reply);
        for part in merging.parts_mut() {
            head.clear();
            reply::array(&mut head, fixed + part.keys * step);
            head.extend_from_slice(call.raw(0, first));
            part.bytes.extend_from_slice(call.raw(tail, call.args.len()));
            part.len = head.len() + part.bytes.len();
            self.queue(part.backend, &head);
            if part.bytes.len() > LARGE {
                part.bytes.shrink_to_fit();
                self.forward_owned(part.backend, std::mem::take(&mut part.bytes));
            } else {
                self.queue(part.backend, &part.bytes);
                part.bytes.clear();
            }
        }
        self.spare_reply(head);
    }

    /// Finds the part of each key, and begins its bytes with the key and what belongs to it. False if the server of one
    /// is down.
    fn sort_keys(&mut self, call: &Call<'_>, row: KeyRow, merging: &mut Merging) -> bool {
        let is_whole = self.sort_each_key(call, row, merging);
        self.router.forget_parts(merging.parts().iter().map(|part| part.server));
        is_whole
    }

    fn sort_each_key(&mut self, call: &Call<'_>, row: KeyRow, merging: &mut Merging) -> bool {
        let KeyRow { first, tail, step } = row;
        let mut start = call.args[first - 1].end();
        for index in (first..tail).step_by(step) {
            let Some(server) = self.router.server_of_key(call.arg(index)) else { return false };
            let part = self.router.part_for(server, || merging.add_part(server));
            let end = call.args[index + step - 1].end();
            let entry = &mut merging.parts_mut()[usize::from(part)];
            entry.keys += 1;
            entry.bytes.extend_from_slice(&call.request[start..end]);
            start = end;
            merging.order.push(part);
        }
        true
    }

    /// A request for all servers.
    pub(super) fn on_gather(&mut self, id: Id, call: &Call<'_>, gather: Gather, now: Millis) -> Verdict {
        let is_whole = self.router.distinct_servers().iter().all(|&server| self.router.is_up(server));
        if self.router.has_several() && (!self.settings.multi_key || gather == Gather::Masked) {
            self.reply_here(id, UNSUPPORTED);
            return Verdict::Done;
        }
        let shape = match gather {
            Gather::Cursor => return self.on_scan(id, call, now),
            Gather::Concat => Shape::Concat,
            Gather::Union => Shape::Union,
            Gather::Sum => Shape::Sum,
            Gather::Max => Shape::Max,
            Gather::Subscribers(family) => Shape::Subscribers(family),
            Gather::AllOk => Shape::AllOk,
            Gather::First => Shape::First,
            Gather::And => Shape::And,
            Gather::AnyKey => Shape::AnyKey(self.upstreams.random() as usize % self.router.distinct_servers().len()),
            Gather::Kill => Shape::Kill { is_whole },
            Gather::Masked => Shape::Masked,
        };
        // A script is stopped wherever it can be reached.
        let is_reached = gather == Gather::Kill && self.router.route_any().server().is_some();
        if !is_whole && !is_reached {
            self.reply_here(id, CONNECTION_DOWN);
            return Verdict::Done;
        }
        match (call.container, call.command.name()) {
            ("script", "load") if call.args.len() > 2 => self.learn_script(call.arg(2)),
            ("script", "flush") => self.forget_scripts(),
            _ => {}
        }
        let mut merging = self.new_merging();
        for server in self.router.distinct_servers_up() {
            merging.add_part(server);
        }
        self.send_pinned(id, call, shape, merging, call.request, now)
    }

    /// SCAN: the cursor says which server is asked, and with which cursor of its own.
    fn on_scan(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Verdict {
        if !call.command.arity_allows(call.args.len()) {
            self.reply_with(id, |out| error::wrong_arity(out, call.name()));
            return Verdict::Done;
        }
        let places = self.router.distinct_servers().len() as u64;
        let Some((place, cursor)) = scan_cursor(call.arg(1)).map(|cursor| compose::split_cursor(cursor, places)) else {
            self.reply_here(id, b"-ERR invalid cursor\r\n");
            return Verdict::Done;
        };
        let server = self.router.distinct_servers()[place as usize];
        if !self.router.is_up(server) {
            self.reply_here(id, CONNECTION_DOWN);
            return Verdict::Done;
        }
        let mut request = Vec::with_capacity(call.request.len() + 2);
        reply::array(&mut request, call.args.len());
        request.extend_from_slice(call.raw(0, 1));
        reply::bulk(&mut request, cursor.to_string().as_bytes());
        request.extend_from_slice(call.raw(2, call.args.len()));
        let mut merging = self.new_merging();
        merging.add_part(server);
        self.send_pinned(id, call, Shape::Cursor { place, places }, merging, &request, now)
    }

    /// Sends the same to each part's server; no other may stand in for one.
    fn send_pinned(
        &mut self,
        id: Id,
        call: &Call<'_>,
        shape: Shape,
        mut merging: Merging,
        request: &[u8],
        now: Millis,
    ) -> Verdict {
        merging.shape = shape;
        merging.is_pinned = true;
        if let Shape::Kill { .. } = shape {
            // On another connection it might wait behind the script after all.
            merging.role = Role::Atomic;
        }
        if let Err(verdict) = self.claim_all(id, &mut merging, now) {
            self.spare_merging(merging);
            return verdict;
        }
        for part in merging.parts_mut() {
            part.len = request.len();
            self.queue(part.backend, request);
        }
        // What is to stop a script would be asked about one that is still busy.
        let is_guarded = merging.role == Role::Plain && self.is_guarded(request);
        let asked: Vec<Id> = merging.parts().iter().filter(|_| is_guarded).map(|part| part.backend).collect();
        self.line_up_parts(id, call.command.access, merging, now);
        asked.into_iter().for_each(|backend| self.send_guard(backend));
        Verdict::Done
    }

    /// Finds a backend for every part. If one must be waited for, the verdict says so, and nothing was asked of any.
    fn claim_all(&mut self, id: Id, merging: &mut Merging, now: Millis) -> Result<(), Verdict> {
        let shape = merging.shape;
        for part in merging.parts_mut() {
            let Some(client) = self.clients.get(id) else { return Err(Verdict::Done) };
            let profile = client.session.profile;
            let pick = match shape {
                Shape::Kill { .. } => self.pick_beside(id, part.server, profile, now),
                _ => self.pick(id, part.server, profile, now),
            };
            part.backend = match pick {
                Pick::Take(backend) => backend,
                pick => return Err(self.put_off(id, part.server, pick, Need::Room, now)),
            };
        }
        Ok(())
    }

    /// Puts the parent into its client's line and the parts, whose bytes were just queued, into those of their
    /// backends.
    pub(super) fn line_up_parts(&mut self, id: Id, access: Access, mut merging: Merging, now: Millis) {
        let id_of_merging = self.in_flight.merges.vacant_key() as MergingId;
        let mut parent = Request::new(id, NO_DEADLINE, 0, 0, false);
        parent.move_to(Place::Merging(id_of_merging));
        merging.parent = self.in_flight.requests.insert(parent);
        merging.client = id;
        let wrote_to = merging.parts().last().map(|part| part.backend).filter(|_| access == Access::Write);
        if let Some(client) = self.clients.get_mut(id) {
            client.reply_order.push(&mut self.in_flight.requests, merging.parent);
            self.in_flight.requests[merging.parent].mute(client.session.reply_mode.take());
            client.wrote_to = wrote_to.unwrap_or(client.wrote_to);
        }
        let deadline = now + self.settings.timeouts.remote_read_ms;
        let role = merging.role;
        for (part, entry) in (0..).zip(merging.parts_mut()) {
            let mut request = Request::new(id, deadline, entry.len as u32, 0, access == Access::Read);
            request.make_part(id_of_merging, part);
            request.set_role(role);
            let request = self.in_flight.requests.insert(request);
            entry.request = Some(request);
            self.stand_at(request, entry.backend, entry.server);
            self.mark_backend_dirty(entry.backend);
        }
        self.charge_merging(&mut merging);
        let key = self.in_flight.merges.insert(merging);
        debug_assert_eq!(key as MergingId, id_of_merging);
        self.on_forwarded(id, now);
    }

    pub(super) fn queue(&mut self, backend: Id, bytes: &[u8]) {
        if let Some(backend) = self.upstreams.backend_mut(backend) {
            backend.push(&mut self.in_flight.arena, bytes);
        }
    }

    /// A request, or a part of one, has lost its backend, and different servers stand in for its keys: each of them is
    /// asked its share. False if it can not be taken apart; then nothing was done.
    pub(super) fn split_again(&mut self, request: RequestId, profile: Profile, bytes: &[u8], now: Millis) -> bool {
        let Some(framer) = self.framed(bytes) else { return false };
        let args = framer.args();
        let command = args.first().and_then(|name| command::find(name.of(bytes)));
        let Some((command, Class::Split(merge))) = command.map(|command| (command, command.class)) else {
            return false;
        };
        let call = Call { container: command.name(), command, request: bytes, args };
        let Some(row) = self.key_row(&call) else { return false };
        let client = self.in_flight.requests[request].client();
        let mut shares = self.new_merging();
        shares.shape = shape_of(merge);
        let is_whole = self.sort_keys(&call, row, &mut shares);
        for part in shares.parts_mut() {
            part.backend = self.pick_again(client, part.server, profile, now).unwrap_or(Id::NONE);
        }
        if !is_whole || shares.parts().iter().any(|part| part.backend == Id::NONE) {
            self.spare_merging(shares);
            self.deliver(client, request, CONNECTION_DOWN, now);
            return true;
        }
        self.queue_parts(&call, row, &mut shares);
        match self.in_flight.requests[request].place() {
            Place::Part(merging) => self.replace_part(merging, request, shares, now),
            _ => {
                let merging = self.in_flight.merges.vacant_key() as MergingId;
                self.in_flight.requests[request].move_to(Place::Merging(merging));
                shares.client = client;
                shares.parent = request;
                for part in 0..shares.parts().len() {
                    let asked = self.another_part(merging, request, part as u16);
                    self.ask_part(asked, &mut shares.parts_mut()[part], now);
                }
                self.charge_merging(&mut shares);
                self.in_flight.merges.insert(shares);
            }
        }
        true
    }

    /// Puts `shares` into the place of the part whose request is `request`.
    fn replace_part(&mut self, merging: MergingId, request: RequestId, shares: Merging, now: Millis) {
        let mut whole = std::mem::take(&mut self.in_flight.merges[merging as usize]);
        let own = self.in_flight.requests[request].part();
        let mut numbers = Vec::new();
        for share in shares.parts() {
            let (part, asked) = if numbers.is_empty() {
                (own, request)
            } else {
                let part = whole.add_part(share.server);
                (part, self.another_part(merging, request, part))
            };
            numbers.push(part);
            let entry = &mut whole.parts_mut()[usize::from(part)];
            (entry.server, entry.backend) = (share.server, share.backend);
            (entry.len, entry.keys) = (share.len, share.keys);
            self.ask_part(asked, entry, now);
        }
        let mut order = shares.order.iter();
        for part in whole.order.iter_mut().filter(|part| **part == own) {
            *part = order.next().map_or(own, |&share| numbers[usize::from(share)]);
        }
        self.charge_merging(&mut whole);
        self.in_flight.merges[merging as usize] = whole;
        self.spare_merging(shares);
    }

    /// A request for one more part of an entry, as `like` is, which has lost a backend.
    fn another_part(&mut self, merging: MergingId, like: RequestId, part: u16) -> RequestId {
        let like = &self.in_flight.requests[like];
        let mut request = Request::new(like.client(), NO_DEADLINE, 0, 0, like.is_read());
        request.inherit_losses(like.losses());
        request.make_part(merging, part);
        self.in_flight.requests.insert(request)
    }

    /// Puts the request of a part, whose bytes were just queued, into line.
    fn ask_part(&mut self, request: RequestId, part: &mut Part, now: Millis) {
        let entry = &mut self.in_flight.requests[request];
        entry.rewrite(part.len, now + self.settings.timeouts.remote_read_ms);
        part.request = Some(request);
        self.stand_at(request, part.backend, part.server);
        self.mark_backend_dirty(part.backend);
    }

    /// Where a part goes that lost its backend at server `lost`. What had come of its reply is worth nothing.
    pub(super) fn route_part_again(
        &mut self,
        merging: MergingId,
        request: RequestId,
        lost: ServerId,
        bytes: &[u8],
    ) -> Route {
        self.forget_collected(merging, request);
        if !self.in_flight.merges[merging as usize].is_pinned {
            return self.route_again(bytes, 0);
        }
        self.router.route_pinned(lost)
    }
}

/// Where the keys of a request stand: from one argument on, up to another, so many arguments for each.
#[derive(Debug, Clone, Copy)]
struct KeyRow {
    first: usize,
    tail: usize,
    step: usize,
}

fn shape_of(merge: Merge) -> Shape {
    match merge {
        Merge::Sum => Shape::Sum,
        Merge::ByPosition => Shape::ByPosition,
        Merge::AllOk => Shape::AllOk,
    }
}

/// The cursor that a client sent: decimal digits, within 64 bits.
fn scan_cursor(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}
