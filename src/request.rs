//! The requests that are outstanding, each in two lines at once: its client's and its backend's.
//!
//! A client's line is the order in which its replies must go out; a backend's line is the order in which its server
//! will answer. Both run through the same [`Request`], so that neither connection owns a queue of its own, and a reply
//! finds its client in one step:
//!
//! ```text
//!   client 7   ─► [GET a] ─► [GET b] ─► [PING]            first to last, as the client asked
//!                    │          │          └ Ready: answered here, waits for its place
//!   backend 1  ─► [GET x] ─► [GET a]                       first to last, as the server will answer
//!   backend 2  ─► [GET b]
//! ```
//!
//! A request that several servers answer is several requests: the parent stands in its client's line alone, and each
//! part in a backend's line alone (see the proxy's `merging`).
//!
//! A request of a client that is gone stays in its backend's line with nobody waiting ([`Id::NONE`]), so that its reply
//! is counted and dropped. Knows no bytes and no sockets. Who unlinks a request from its last line removes it.

use std::mem;
use std::ops::{Index, IndexMut};

use slab::Slab;

use crate::slots::Id;
use crate::timer::Millis;

/// The name of one outstanding request; reused as soon as it is removed.
pub type RequestId = u32;

const NIL: RequestId = RequestId::MAX;

/// The name of one request that several servers answer, while its parts are on their way.
pub type MergingId = u32;

/// Where the reply of a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// No byte of it has arrived.
    Waiting,
    /// It is arriving in pieces, and is passed on as it does; its turn has come.
    Arriving,
    /// It is arriving in pieces before its turn, into the early queue of this number.
    ArrivingEarly(u32),
    /// It came whole before its turn and lies in the early queue of this number.
    Early(u32),
    /// It comes together from the replies of several servers: the merging of this name.
    Merging(MergingId),
    /// This is what one server is asked for the merging of that name: it stands in no client's line.
    Part(MergingId),
}

impl Place {
    /// The number of the early queue in which it lies.
    pub fn early(self) -> Option<u32> {
        match self {
            Place::Early(queue) | Place::ArrivingEarly(queue) => Some(queue),
            Place::Waiting | Place::Arriving | Place::Merging(_) | Place::Part(_) => None,
        }
    }
}

/// What a request's reply means beyond itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    Plain,
    /// It is part of a transaction, which goes to one backend as a whole or not at all.
    Atomic,
    /// It is part of a transaction that went to a node of a cluster as a whole, and not the last of it. Its bytes are
    /// kept until that one is answered.
    Step {
        /// How many requests of it stand before.
        index: u16,
    },
    /// It is the last one of such a transaction.
    Whole {
        /// How long all of it is, in bytes.
        bytes: u32,
    },
    /// Its client waits for data; the lease ends with its reply.
    Blocking,
    /// It ends a transaction, and the lease, if there is one.
    Ending {
        /// Whether the transaction has a `SELECT`: then only its reply tells which database its backend is left with.
        has_selected: bool,
    },
    /// A `SELECT` on a leased backend: if it succeeds, that is the database of both, the client and the backend.
    Select {
        /// The database that it names.
        database: u32,
    },
    /// A `PUBLISH` that more clients receive than its server counts.
    Published {
        /// How many more.
        hidden: u32,
        /// The proxy hears the channel at another node, which this one passes it on to, and does not count.
        is_elsewhere: bool,
    },
    /// rmux sent it for itself: nobody waits, and the reply must be a status.
    Internal,
    /// The same, and it cleans the session of a leased backend: the lease ends with its reply.
    Cleanup,
    /// rmux asks with it what the server is: nobody waits.
    Question,
    /// rmux sent it to see whether the reply before it was one: nobody waits, and the reply must be its own word.
    Guard,
    /// rmux sent it to a replica, to hear how that one is: nobody waits, and any reply will do.
    Watch,
    /// The same, to hear in which zone a server is.
    Zone,
}

/// What there is to be looked at when the reply to a request comes, beside its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    /// Its client wants no reply: it keeps its place, and nothing is put there.
    Muted,
    /// It has waited for a connection.
    Waited,
}

/// One outstanding request.
#[derive(Debug)]
pub struct Request {
    /// Who waits for the reply; [`Id::NONE`] when nobody does.
    client: Id,
    /// When its time is over; a point on the proxy's clock.
    deadline: Millis,
    /// Its length in its backend's queue, in bytes.
    len: u32,
    /// The hash of its first key, with which it can be routed again.
    hash: u32,
    /// Where its reply stands.
    place: Place,
    /// True exactly while it stands in a backend's line.
    is_at_backend: bool,
    /// What its reply means beyond itself.
    role: Role,
    /// True exactly when its time is over: its client was told, and a late reply will be dropped.
    is_expired: bool,
    /// True exactly when running it a second time does no harm.
    is_read: bool,
    /// True once it has gone to another backend because a reply before its own took too long.
    is_moved: bool,
    /// What there is to be looked at when its reply comes.
    mark: Mark,
    /// How many backends it was given to, and lost with.
    losses: u8,
    /// Which part of its merging it is, if its place is [`Place::Part`]; how long it waited, in milliseconds, if its
    /// mark is [`Mark::Waited`].
    number: u16,
    next: [RequestId; 2],
}

impl Request {
    /// A request that waits for its reply and stands in no line yet.
    pub fn new(client: Id, deadline: Millis, len: u32, hash: u32, is_read: bool) -> Request {
        Request {
            client,
            deadline,
            len,
            hash,
            place: Place::Waiting,
            is_at_backend: false,
            role: Role::Plain,
            is_expired: false,
            is_read,
            is_moved: false,
            mark: Mark::None,
            losses: 0,
            number: 0,
            next: [NIL; 2],
        }
    }

    /// Who waits for the reply; [`Id::NONE`] when nobody does.
    #[inline]
    pub fn client(&self) -> Id {
        self.client
    }

    /// When its time is over; a point on the proxy's clock.
    #[inline]
    pub fn deadline(&self) -> Millis {
        self.deadline
    }

    /// Its length in its backend's queue, in bytes.
    #[inline]
    pub fn bytes(&self) -> u32 {
        self.len
    }

    /// The hash of its first key, with which it can be routed again.
    pub fn hash(&self) -> u32 {
        self.hash
    }

    /// Where its reply stands.
    #[inline]
    pub fn place(&self) -> Place {
        self.place
    }

    /// What its reply means beyond itself.
    #[inline]
    pub fn role(&self) -> Role {
        self.role
    }

    /// True exactly while it stands in a backend's line.
    pub fn is_at_backend(&self) -> bool {
        self.is_at_backend
    }

    /// True exactly when its time is over: its client was told, and a late reply will be dropped.
    #[inline]
    pub fn is_expired(&self) -> bool {
        self.is_expired
    }

    /// True exactly when running it a second time does no harm.
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    /// True once it has gone to another backend because a reply before its own took too long.
    pub fn is_moved(&self) -> bool {
        self.is_moved
    }

    /// True exactly when its client wants no reply: it keeps its place, and nothing is put there.
    #[inline]
    pub fn is_muted(&self) -> bool {
        self.mark == Mark::Muted
    }

    /// True exactly when there is more to be looked at when its reply comes: it is muted, or has waited.
    #[inline]
    pub fn is_marked(&self) -> bool {
        self.mark != Mark::None
    }

    /// How long it waited for a connection, in milliseconds.
    pub fn waited_ms(&self) -> u64 {
        if self.mark == Mark::Waited { self.number.into() } else { 0 }
    }

    /// It has waited so long for a connection, in milliseconds. It is no part of another one.
    #[inline]
    pub fn on_waited(&mut self, waited_ms: u32) {
        if waited_ms > 0 {
            (self.mark, self.number) = (Mark::Waited, waited_ms.min(u16::MAX.into()) as u16);
        }
    }

    /// How many backends it was given to, and lost with.
    pub fn losses(&self) -> u8 {
        self.losses
    }

    /// Which part of its merging it is; of no meaning unless its place is [`Place::Part`].
    pub fn part(&self) -> u16 {
        self.number
    }

    /// Its client wants no reply to it, or does.
    #[inline]
    pub fn mute(&mut self, is_muted: bool) {
        match is_muted {
            true => self.mark = Mark::Muted,
            false if self.mark == Mark::Muted => self.mark = Mark::None,
            false => {}
        }
    }

    /// Its reply means this beyond itself.
    #[inline]
    pub fn set_role(&mut self, role: Role) {
        self.role = role;
    }

    /// Its reply stands there now.
    #[inline]
    pub fn move_to(&mut self, place: Place) {
        self.place = place;
    }

    /// It is this part of that merging.
    pub fn make_part(&mut self, merging: MergingId, part: u16) {
        debug_assert!(self.mark != Mark::Waited, "a part does not tell how long it waited");
        self.place = Place::Part(merging);
        self.number = part;
    }

    /// It stands in no backend's line any more, though nobody has taken it out of one.
    #[inline]
    pub fn leave_backend(&mut self) {
        self.is_at_backend = false;
    }

    /// Nobody waits for its reply any more.
    pub fn forget_client(&mut self) {
        self.client = Id::NONE;
    }

    /// Its time is over: what still comes is dropped.
    pub fn expire(&mut self) {
        self.is_expired = true;
    }

    /// Its time is over then; returns when it was.
    #[inline]
    pub fn renew(&mut self, deadline: Millis) -> Millis {
        mem::replace(&mut self.deadline, deadline)
    }

    /// Something else is sent in its place, of this length, and has its own time.
    pub fn rewrite(&mut self, len: usize, deadline: Millis) {
        self.len = len as u32;
        self.deadline = deadline;
    }

    /// So many bytes more of it have come.
    pub fn grow(&mut self, n: usize) {
        self.len += n as u32;
    }

    /// One more backend was lost with it.
    pub fn lose(&mut self) {
        self.losses += 1;
    }

    /// It stands for one that was lost so often.
    pub fn inherit_losses(&mut self, losses: u8) {
        self.losses = losses;
    }

    /// It goes to another backend because a reply before its own takes too long.
    pub fn mark_moved(&mut self) {
        self.is_moved = true;
    }
}

/// All outstanding requests of a proxy.
#[derive(Debug, Default)]
pub struct Requests(Slab<Request>);

impl Requests {
    /// None.
    pub fn new() -> Requests {
        Requests::default()
    }

    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True exactly when there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes one in, which stands in no line yet.
    #[inline]
    pub fn insert(&mut self, request: Request) -> RequestId {
        self.0.insert(request) as RequestId
    }

    /// Takes one out, which stands in no line any more.
    #[inline]
    pub fn remove(&mut self, id: RequestId) -> Request {
        self.0.remove(id as usize)
    }

    /// The request of this name, if there is one.
    pub fn get(&self, id: RequestId) -> Option<&Request> {
        self.0.get(id as usize)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: RequestId) -> Option<&mut Request> {
        self.0.get_mut(id as usize)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (RequestId, &Request)> {
        self.0.iter().map(|(id, request)| (id as RequestId, request))
    }

    /// Nobody has a later deadline than this but who waits for data, or has none.
    pub fn cap_deadlines(&mut self, latest: Millis) {
        for (_, request) in &mut self.0 {
            if request.role() != Role::Blocking && request.deadline != Millis(u64::MAX) {
                request.deadline = request.deadline.min(latest);
            }
        }
    }

    /// For how many there is room without more memory.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Gives back memory that none of them uses.
    pub fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }
}

impl Index<RequestId> for Requests {
    type Output = Request;

    #[inline]
    fn index(&self, id: RequestId) -> &Request {
        &self.0[id as usize]
    }
}

impl IndexMut<RequestId> for Requests {
    #[inline]
    fn index_mut(&mut self, id: RequestId) -> &mut Request {
        &mut self.0[id as usize]
    }
}

/// A line of requests, in order. `LINK` says which of the two lines of a request this is.
#[derive(Debug)]
pub struct Line<const LINK: usize> {
    first: RequestId,
    last: RequestId,
    len: u32,
}

/// The order in which a client's replies go out.
pub type ClientLine = Line<0>;
/// The order in which a backend's replies come in.
pub type BackendLine = Line<BACKEND>;

const BACKEND: usize = 1;

impl<const LINK: usize> Default for Line<LINK> {
    fn default() -> Self {
        Line { first: NIL, last: NIL, len: 0 }
    }
}

impl<const LINK: usize> Line<LINK> {
    /// How many requests stand in line.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True exactly when nobody stands in line.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Who is next.
    #[inline]
    pub fn first(&self) -> Option<RequestId> {
        (self.first != NIL).then_some(self.first)
    }

    /// Who came last.
    pub fn last(&self) -> Option<RequestId> {
        (self.last != NIL).then_some(self.last)
    }

    /// Puts `id` at the end.
    #[inline]
    pub fn push(&mut self, requests: &mut Requests, id: RequestId) {
        let request = &mut requests[id];
        request.next[LINK] = NIL;
        request.is_at_backend |= LINK == BACKEND;
        if self.last == NIL {
            self.first = id;
        } else {
            requests[self.last].next[LINK] = id;
        }
        self.last = id;
        self.len += 1;
    }

    /// Takes the first one out of the line; the request itself stays.
    #[inline]
    pub fn pop(&mut self, requests: &Requests) -> Option<RequestId> {
        let id = self.first()?;
        self.first = requests[id].next[LINK];
        if self.first == NIL {
            self.last = NIL;
        }
        self.len -= 1;
        Some(id)
    }

    /// Takes the last one out of the line; the request itself stays. Walks the whole line.
    pub fn pop_last(&mut self, requests: &mut Requests) -> Option<RequestId> {
        let id = self.last()?;
        let before = self.iter(requests).take_while(|&other| other != id).last();
        match before {
            None => *self = Line::default(),
            Some(before) => {
                requests[before].next[LINK] = NIL;
                self.last = before;
                self.len -= 1;
            }
        }
        Some(id)
    }

    /// Puts `new` into the place of `old`, which leaves the line.
    pub fn replace(&mut self, requests: &mut Requests, old: RequestId, new: RequestId) {
        let before = self.iter(requests).take_while(|&other| other != old).last();
        requests[new].next[LINK] = requests[old].next[LINK];
        match before {
            None => self.first = new,
            Some(before) => requests[before].next[LINK] = new,
        }
        if self.last == old {
            self.last = new;
        }
    }

    /// From the first to the last.
    pub fn iter<'a>(&self, requests: &'a Requests) -> impl Iterator<Item = RequestId> + use<'a, LINK> {
        let mut next = self.first;
        std::iter::from_fn(move || {
            let id = (next != NIL).then_some(next)?;
            next = requests[id].next[LINK];
            Some(id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(requests: &mut Requests) -> RequestId {
        requests.insert(Request::new(Id::NONE, Millis(0), 0, 0, false))
    }

    #[test]
    fn a_request_stands_in_two_lines_at_once() {
        let mut requests = Requests::new();
        let (a, b, c) = (request(&mut requests), request(&mut requests), request(&mut requests));
        let (mut client, mut backend) = (ClientLine::default(), BackendLine::default());
        for id in [a, b, c] {
            client.push(&mut requests, id);
        }
        for id in [c, a] {
            backend.push(&mut requests, id);
        }
        assert_eq!(client.iter(&requests).collect::<Vec<_>>(), [a, b, c]);
        assert_eq!(backend.iter(&requests).collect::<Vec<_>>(), [c, a]);
        assert_eq!(backend.pop(&requests), Some(c));
        assert_eq!(client.pop(&requests), Some(a));
        assert_eq!((client.len(), backend.len()), (2, 1));
        assert_eq!(backend.pop(&requests), Some(a));
        assert_eq!(backend.pop(&requests), None);
        assert!(backend.is_empty());
    }

    #[test]
    fn lines_can_be_mended_in_the_middle_and_at_both_ends() {
        let mut requests = Requests::new();
        let ids: Vec<_> = (0..4).map(|_| request(&mut requests)).collect();
        let mut line = BackendLine::default();
        for &id in &ids[..3] {
            line.push(&mut requests, id);
        }
        for (old, expected) in [(ids[0], [3, 1, 2]), (ids[1], [0, 3, 2]), (ids[2], [0, 1, 3])] {
            line.replace(&mut requests, old, ids[3]);
            let expected: Vec<_> = expected.iter().map(|&i: &usize| ids[i]).collect();
            assert_eq!(line.iter(&requests).collect::<Vec<_>>(), expected);
            assert_eq!(line.last(), expected.last().copied());
            line.replace(&mut requests, ids[3], old);
        }
        assert_eq!(line.pop_last(&mut requests), Some(ids[2]));
        assert_eq!(line.pop_last(&mut requests), Some(ids[1]));
        line.push(&mut requests, ids[3]);
        assert_eq!(line.iter(&requests).collect::<Vec<_>>(), [ids[0], ids[3]]);
        assert_eq!(line.pop_last(&mut requests), Some(ids[3]));
        assert_eq!(line.pop_last(&mut requests), Some(ids[0]));
        assert_eq!(line.pop_last(&mut requests), None);
        assert_eq!(line.first(), None);
    }
}
