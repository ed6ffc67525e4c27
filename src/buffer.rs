//! Byte queues: what is to be sent on a connection, in chunks of one arena.
//!
//! The bytes that rmux holds for anybody lie in chunks of one [`Arena`], or are charged to it by whoever has them in a
//! buffer elsewhere (`charge`), so that their sum is known and bounded in one place, and so that an idle connection
//! owns no memory at all: a [`Queue`] is a few numbers. Chunks that are done go to a spare list and come back from
//! there; steady traffic allocates nothing.
//!
//! Offsets are absolute: they count every byte that ever went through a queue. Their order is the invariant:
//!
//! ```text
//!        released      <=       sent       <=      end
//!            │                   │                  │
//!   forgotten│ sent, still kept  │   to be sent     │ push() writes here
//!            └── head ──► chunk ─┴► chunk ──► chunk ┘ tail
//!                                 ▲ cursor: the chunk that holds the byte at `sent`
//! ```
//!
//! A backend's queue keeps what was sent until it is answered (`release_to`), so that a request can be sent again; a
//! client's queue lets go at once (`consume`). Bytes that were written past the queue straight from the read buffer
//! are counted by `skip` and are not kept: the chunks around them are not adjacent, and `copy_range` says so.
//!
//! Bytes that go to many connections are held once ([`Arena::share`]), and counted once: a chunk of each queue refers
//! to them. Invariant: the count of a shared piece is that of its chunks and of those who have shared it and not yet
//! said that they need it no longer ([`Arena::release`]).
//!
//! Knows nothing of sockets, requests or replies. Called by the clients and backends of the proxy only; a queue must
//! be given back with `clear`, or its chunks stay in the arena.

use std::mem;

use slab::Slab;

/// Bytes in an ordinary chunk. Four of them and a header are one page short of an odd number of cache lines, so that
/// the starts of many chunks do not fall into the same cache set.
const CHUNK_BYTES: usize = 4096 - 64;

/// Fewer bytes than this are not worth a chunk of their own.
const SMALL: usize = CHUNK_BYTES / 4;

/// Spare chunks that are kept for the next burst; more are given back to the system.
const SPARE_CHUNKS_MAX: usize = 256;

/// What a chunk costs beside its bytes: its entry, and that of its queue where each has a chunk to itself.
const CHUNK_OVERHEAD: usize = size_of::<Chunk>() + size_of::<Queue>();

const NIL: u32 = u32::MAX;

#[derive(Debug)]
struct Chunk {
    /// Offset behind the last byte in the stream of the queue.
    end: u64,
    next: u32,
    /// The shared piece that it refers to; then `bytes` is empty, without any capacity.
    shared: SharedId,
    bytes: Vec<u8>,
}

/// The name of bytes that several queues refer to.
pub type SharedId = u32;

/// Bytes that several queues refer to.
#[derive(Debug)]
struct Shared {
    bytes: Vec<u8>,
    references: usize,
}

/// The memory behind all queues.
#[derive(Debug, Default)]
pub struct Arena {
    chunks: Slab<Chunk>,
    shared: Slab<Shared>,
    spare: Vec<Vec<u8>>,
    bytes: usize,
}

impl Arena {
    /// An arena without chunks.
    pub fn new() -> Arena {
        Arena::default()
    }

    /// The account: memory that the queues have at this moment, and what else was charged, in bytes. Spare chunks are
    /// not in it.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A buffer outside of all queues has `n` bytes more.
    pub fn charge(&mut self, n: usize) {
        self.bytes += n;
    }

    /// `n` bytes that were charged are gone.
    pub fn uncharge(&mut self, n: usize) {
        debug_assert!(n <= self.bytes);
        self.bytes -= n;
    }

    /// What was charged with `charged` bytes has `held` bytes now.
    pub fn recharge(&mut self, charged: &mut usize, held: usize) {
        self.uncharge(*charged);
        self.charge(held);
        *charged = held;
    }

    /// What all queues have, counted anew; for those who check the account.
    pub fn count_queued(&self) -> usize {
        let shared: usize = self.shared.iter().map(|(_, shared)| shared.bytes.capacity()).sum();
        shared + self.chunks.iter().map(|(_, chunk)| CHUNK_OVERHEAD + chunk.bytes.capacity()).sum::<usize>()
    }

    /// Gives the tables' own memory back, if much of it is not used.
    pub fn shrink(&mut self) {
        if self.chunks.is_empty() && self.chunks.capacity() > SPARE_CHUNKS_MAX {
            self.chunks = Slab::new();
        }
    }

    /// Takes in what several queues are to refer to, with `push_shared`. To be given back with `release`.
    pub fn share(&mut self, bytes: Vec<u8>) -> SharedId {
        self.bytes += bytes.capacity();
        self.shared.insert(Shared { bytes, references: 1 }) as SharedId
    }

    /// Who has shared this needs it no longer, or a queue does not.
    #[cold]
    pub fn release(&mut self, id: SharedId) {
        let shared = &mut self.shared[id as usize];
        shared.references -= 1;
        if shared.references == 0 {
            self.bytes -= self.shared.remove(id as usize).bytes.capacity();
        }
    }

    /// What was shared under this name.
    #[cold]
    pub fn shared(&self, id: SharedId) -> &[u8] {
        &self.shared[id as usize].bytes
    }

    fn bytes_of<'a>(&'a self, chunk: &'a Chunk) -> &'a [u8] {
        if chunk.shared == NIL { &chunk.bytes } else { self.shared(chunk.shared) }
    }

    fn take(&mut self, end: u64, shared: SharedId, bytes: Vec<u8>) -> u32 {
        self.bytes += CHUNK_OVERHEAD + bytes.capacity();
        self.chunks.insert(Chunk { end, next: NIL, shared, bytes }) as u32
    }

    fn spare_vec(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES))
    }

    fn free(&mut self, chunk: u32) -> u32 {
        let Chunk { next, shared, mut bytes, .. } = self.chunks.remove(chunk as usize);
        self.bytes -= CHUNK_OVERHEAD + bytes.capacity();
        if bytes.capacity() == CHUNK_BYTES && self.spare.len() < SPARE_CHUNKS_MAX {
            bytes.clear();
            self.spare.push(bytes);
        } else if shared != NIL {
            self.release(shared);
        }
        next
    }
}

/// Bytes in order, to be sent, and perhaps kept until somebody says that they are no longer needed.
#[derive(Debug)]
pub struct Queue {
    head: u32,
    tail: u32,
    cursor: u32,
    sent: u64,
    end: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Queue::new()
    }
}

impl Queue {
    /// An empty queue; it owns nothing.
    pub const fn new() -> Queue {
        Queue { head: NIL, tail: NIL, cursor: NIL, sent: 0, end: 0 }
    }

    /// The offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The offset behind the last byte that was sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many bytes wait to be sent.
    pub fn unsent(&self) -> usize {
        (self.end - self.sent) as usize
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn push(&mut self, arena: &mut Arena, bytes: &[u8]) {
        if self.tail != NIL {
            let chunk = &mut arena.chunks[self.tail as usize];
            if bytes.len() <= chunk.bytes.capacity() - chunk.bytes.len() && chunk.end == self.end {
                chunk.bytes.extend_from_slice(bytes);
                if self.cursor == NIL {
                    self.cursor = self.tail;
                }
                self.end += bytes.len() as u64;
                chunk.end = self.end;
                return;
            }
        }
        self.push_chunks(arena, bytes);
    }

    fn push_chunks(&mut self, arena: &mut Arena, mut bytes: &[u8]) {
        if self.tail != NIL {
            let chunk = &mut arena.chunks[self.tail as usize];
            if chunk.end == self.end {
                let room = chunk.bytes.capacity() - chunk.bytes.len();
                let (now, later) = bytes.split_at(room.min(bytes.len()));
                if !now.is_empty() {
                    chunk.bytes.extend_from_slice(now);
                    if self.cursor == NIL {
                        self.cursor = self.tail;
                    }
                    self.end += now.len() as u64;
                    chunk.end = self.end;
                }
                bytes = later;
            }
        }
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(CHUNK_BYTES.min(bytes.len()));
            let mut vec = arena.spare_vec();
            vec.extend_from_slice(now);
            self.link(arena, now.len(), NIL, vec);
            bytes = later;
        }
    }

    /// A queue of these bytes. Where there are many queues, what is small takes less than a chunk.
    pub fn of(arena: &mut Arena, bytes: &[u8]) -> Queue {
        let mut queue = Queue::new();
        if bytes.len() <= SMALL && arena.chunks.len() >= SPARE_CHUNKS_MAX {
            queue.push_vec(arena, bytes.to_vec());
        } else {
            queue.push(arena, bytes);
        }
        queue
    }

    /// Takes the first chunk out of the queue; of that, what is still to be sent.
    pub fn pop_chunk(&mut self, arena: &mut Arena) -> Option<Vec<u8>> {
        self.release_to(arena, self.sent);
        let chunk = arena.chunks.get_mut(self.head as usize)?;
        debug_assert!(chunk.shared == NIL, "a shared piece belongs to nobody");
        let (mut bytes, end) = (mem::take(&mut chunk.bytes), chunk.end);
        let gone = bytes.len().saturating_sub((end - self.sent) as usize);
        arena.bytes -= bytes.capacity();
        self.head = arena.free(self.head);
        self.cursor = self.head;
        if self.head == NIL {
            self.tail = NIL;
        }
        self.sent = end;
        bytes.drain(..gone);
        Some(bytes)
    }

    /// Appends `bytes` without copying them.
    pub fn push_vec(&mut self, arena: &mut Arena, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.link(arena, bytes.len(), NIL, bytes);
        }
    }

    /// Appends what [`Arena::share`] has taken in, without copying it.
    pub fn push_shared(&mut self, arena: &mut Arena, id: SharedId) {
        let shared = &mut arena.shared[id as usize];
        if shared.bytes.is_empty() {
            return;
        }
        shared.references += 1;
        let len = shared.bytes.len();
        self.link(arena, len, id, Vec::new());
    }

    // In one piece, or it is copied into all that call it.
    #[inline(never)]
    fn link(&mut self, arena: &mut Arena, len: usize, shared: SharedId, bytes: Vec<u8>) {
        let end = self.end + len as u64;
        let chunk = arena.take(end, shared, bytes);
        if self.tail == NIL {
            self.head = chunk;
        } else {
            arena.chunks[self.tail as usize].next = chunk;
        }
        self.tail = chunk;
        if self.cursor == NIL {
            self.cursor = chunk;
        }
        self.end = end;
    }

    /// What is to be sent, if all of it is in one chunk and shared with nobody.
    #[inline]
    pub fn only_slice<'a>(&self, arena: &'a Arena) -> Option<&'a [u8]> {
        let chunk = arena.chunks.get(self.cursor as usize).filter(|chunk| chunk.next & chunk.shared == NIL)?;
        chunk.bytes.get(chunk.bytes.len() - self.unsent()..)
    }

    /// What is to be sent, in order; nothing when nothing waits.
    pub fn slices<'a>(&self, arena: &'a Arena) -> impl Iterator<Item = &'a [u8]> {
        let sent = self.sent;
        let mut next = self.cursor;
        std::iter::from_fn(move || {
            if next == NIL {
                return None;
            }
            let chunk = &arena.chunks[next as usize];
            next = chunk.next;
            let bytes = arena.bytes_of(chunk);
            Some(&bytes[bytes.len().saturating_sub((chunk.end - sent) as usize)..])
        })
    }

    /// `n` more bytes were sent; they are kept. `n <= unsent()`.
    pub fn mark_sent(&mut self, arena: &Arena, n: usize) {
        debug_assert!(n <= self.unsent());
        self.sent += n as u64;
        while self.cursor != NIL {
            let chunk = &arena.chunks[self.cursor as usize];
            if chunk.end > self.sent {
                break;
            }
            self.cursor = chunk.next;
        }
    }

    /// `n` bytes were sent past this queue, in which nothing waited; they are not kept.
    pub fn skip(&mut self, n: usize) {
        debug_assert!(self.unsent() == 0);
        self.sent += n as u64;
        self.end += n as u64;
    }

    /// Forgets what was sent before `offset`, chunk by chunk. `offset <= sent()`.
    #[inline]
    pub fn release_to(&mut self, arena: &mut Arena, offset: u64) {
        debug_assert!(offset <= self.sent);
        while self.head != NIL && arena.chunks[self.head as usize].end <= offset {
            self.head = arena.free(self.head);
        }
        if self.head == NIL {
            self.tail = NIL;
        }
    }

    /// `n` more bytes were sent, and nobody needs them any more.
    pub fn consume(&mut self, arena: &mut Arena, n: usize) {
        self.mark_sent(arena, n);
        self.release_to(arena, self.sent);
    }

    /// Appends all that `other` has still to send, without copying it unless it is little.
    pub fn append(&mut self, arena: &mut Arena, mut other: Queue) {
        other.release_to(arena, other.sent);
        if other.head == NIL {
            return;
        }
        let first = &mut arena.chunks[other.head as usize];
        let gone = first.bytes.len().saturating_sub((first.end - other.sent) as usize);
        if other.head == other.tail && other.unsent() <= SMALL && first.shared == NIL {
            let bytes = mem::take(&mut first.bytes);
            self.push(arena, &bytes[gone..]);
            arena.chunks[other.head as usize].bytes = bytes;
            arena.free(other.head);
            return;
        }
        if gone > 0 {
            first.bytes.drain(..gone);
        }
        // Only a client's own queue is sent from, and that is given to nobody.
        debug_assert!(first.shared == NIL || other.sent == 0, "part of a shared piece cannot be given on");
        let mut chunk = other.head;
        while chunk != NIL {
            let entry = &mut arena.chunks[chunk as usize];
            entry.end = entry.end - other.sent + self.end;
            chunk = entry.next;
        }
        if self.tail == NIL {
            self.head = other.head;
        } else {
            arena.chunks[self.tail as usize].next = other.head;
        }
        if self.cursor == NIL {
            self.cursor = other.head;
        }
        self.tail = other.tail;
        self.end += other.end - other.sent;
    }

    /// A copy of the bytes from `from` to `to`, or `None` if not all of them are kept.
    pub fn copy_range(&self, arena: &Arena, from: u64, to: u64) -> Option<Vec<u8>> {
        let mut copy = Vec::with_capacity((to - from) as usize);
        let mut at = from;
        let mut next = self.head;
        while next != NIL && at < to {
            let chunk = &arena.chunks[next as usize];
            next = chunk.next;
            if chunk.end <= at {
                continue;
            }
            let bytes = arena.bytes_of(chunk);
            let start = chunk.end - bytes.len() as u64;
            if start > at {
                return None;
            }
            let last = to.min(chunk.end);
            copy.extend_from_slice(&bytes[(at - start) as usize..(last - start) as usize]);
            at = last;
        }
        (at == to).then_some(copy)
    }

    /// Gives every chunk back; what was not sent is lost.
    pub fn clear(&mut self, arena: &mut Arena) {
        while self.head != NIL {
            self.head = arena.free(self.head);
        }
        *self = Queue { sent: self.end, end: self.end, ..Queue::new() };
    }
}

/// The read buffer that a whole loop shares: room in front for what a connection had kept, then the bytes just read.
///
/// ```text
///   ┌───────────── HEADROOM ─────────────┬──────────── READ ────────────┐
///   │              [ kept by connection ]│[ bytes just read ]           │
/// ```
#[derive(Debug)]
pub struct Scratch {
    bytes: Box<[u8]>,
}

impl Scratch {
    /// The longest piece that a connection may have kept and still be put in front of what is read.
    pub const HEADROOM: usize = 64 * 1024;
    /// The most that one read takes in.
    pub const READ: usize = 128 * 1024;

    /// The buffer; its pages cost memory only once they are used.
    pub fn new() -> Scratch {
        Scratch { bytes: vec![0; Scratch::HEADROOM + Scratch::READ].into_boxed_slice() }
    }

    /// Where the next read goes.
    pub fn read_area(&mut self) -> &mut [u8] {
        &mut self.bytes[Scratch::HEADROOM..]
    }

    /// Puts `kept` in front of the `n` bytes that were just read and gives both as one slice.
    pub fn joined(&mut self, kept: &[u8], n: usize) -> &[u8] {
        let start = Scratch::HEADROOM - kept.len();
        self.bytes[start..Scratch::HEADROOM].copy_from_slice(kept);
        &self.bytes[start..Scratch::HEADROOM + n]
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsent(queue: &Queue, arena: &Arena) -> Vec<u8> {
        queue.slices(arena).flatten().copied().collect()
    }

    /// Pushes, sends, releases and splices at random beside a plain `Vec`, and compares after every step.
    #[test]
    fn a_queue_behaves_like_a_vec_with_three_cursors() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |n: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % n
        };
        let mut arena = Arena::new();
        let mut queue = Queue::new();
        let mut model: Vec<u8> = Vec::new();
        let (mut sent, mut released) = (0, 0);
        for step in 0..2_000_u64 {
            match random(7) {
                0 => {
                    let bytes: Vec<u8> = (0..random(9000)).map(|i| (i ^ step) as u8).collect();
                    queue.push(&mut arena, &bytes);
                    model.extend(&bytes);
                }
                1 => {
                    let bytes = vec![step as u8; random(50) as usize];
                    queue.push(&mut arena, &bytes);
                    model.extend(&bytes);
                }
                2 => {
                    let bytes = vec![step as u8; random(20_000) as usize];
                    queue.push_vec(&mut arena, bytes.clone());
                    model.extend(&bytes);
                }
                3 => {
                    let n = random(queue.unsent() as u64 + 1) as usize;
                    queue.mark_sent(&arena, n);
                    sent += n;
                }
                4 => {
                    released += random((sent - released) as u64 + 1) as usize;
                    queue.release_to(&mut arena, released as u64);
                }
                5 => {
                    let bytes = vec![step as u8; random(9000) as usize];
                    let shared = arena.share(bytes.clone());
                    let mut other = Queue::new();
                    other.push_shared(&mut arena, shared);
                    other.push_shared(&mut arena, shared);
                    queue.push_shared(&mut arena, shared);
                    queue.append(&mut arena, other);
                    arena.release(shared);
                    model.extend(bytes.repeat(3));
                }
                _ => {
                    let mut other = Queue::new();
                    let bytes = vec![step as u8; random(9000) as usize];
                    other.push(&mut arena, &bytes);
                    let gone = random(bytes.len() as u64 + 1) as usize;
                    other.mark_sent(&arena, gone);
                    queue.append(&mut arena, other);
                    model.extend(&bytes[gone..]);
                }
            }
            assert_eq!(queue.end() as usize, model.len());
            assert_eq!(queue.unsent(), model.len() - sent);
            assert!(unsent(&queue, &arena) == model[sent..], "step {step}");
            let kept = queue.copy_range(&arena, released as u64, model.len() as u64);
            assert!(kept.as_deref() == Some(&model[released..]), "step {step}");
        }
        queue.clear(&mut arena);
        assert_eq!(arena.bytes(), 0);
        assert!(arena.chunks.is_empty() && arena.shared.is_empty());
    }

    #[test]
    fn what_many_are_sent_is_held_once_until_the_last_has_it() {
        let mut arena = Arena::new();
        let mut queues: Vec<Queue> = (0..100).map(|_| Queue::new()).collect();
        let shared = arena.share(vec![7; 1_000_000]);
        for queue in &mut queues {
            queue.push(&mut arena, b"before");
            queue.push_shared(&mut arena, shared);
            queue.push(&mut arena, b"after");
        }
        arena.release(shared);
        assert!(arena.bytes() <= 1_000_000 + 100 * (2 * CHUNK_BYTES + 3 * CHUNK_OVERHEAD), "{} bytes", arena.bytes());
        for queue in &mut queues {
            assert_eq!(queue.unsent(), 1_000_011);
            queue.consume(&mut arena, 500_000);
            assert!(unsent(queue, &arena).ends_with(b"\x07\x07after"));
            assert!(arena.bytes() > 1_000_000);
            queue.consume(&mut arena, 500_011);
        }
        assert_eq!(arena.bytes(), 0);
    }

    #[test]
    fn bytes_sent_past_the_queue_leave_a_hole_that_is_reported() {
        let mut arena = Arena::new();
        let mut queue = Queue::new();
        queue.push(&mut arena, b"before");
        queue.mark_sent(&arena, 6);
        queue.skip(100);
        queue.push(&mut arena, b"after");
        assert_eq!(unsent(&queue, &arena), b"after");
        assert_eq!(queue.copy_range(&arena, 0, 6).as_deref(), Some(&b"before"[..]));
        assert_eq!(queue.copy_range(&arena, 6, 111), None);
        assert_eq!(queue.copy_range(&arena, 106, 111).as_deref(), Some(&b"after"[..]));
        queue.mark_sent(&arena, 5);
        queue.release_to(&mut arena, 111);
        assert_eq!(arena.bytes(), 0);
    }

    #[test]
    fn steady_traffic_reuses_its_chunks() {
        let mut arena = Arena::new();
        let mut queue = Queue::new();
        for _ in 0..100 {
            queue.push(&mut arena, &[7; 10_000]);
            assert_eq!(arena.bytes(), 3 * (CHUNK_BYTES + CHUNK_OVERHEAD));
            queue.consume(&mut arena, 10_000);
            assert_eq!(arena.bytes(), 0);
        }
        assert_eq!(arena.spare.len(), 3);
    }
}
