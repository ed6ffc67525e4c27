//! Steady traffic allocates nothing: a counting allocator around the core, driven by hand.
//!
//! The one place of the project with `unsafe`: a global allocator cannot be written without it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{self, IoSlice};

use rmux::buffer::Scratch;
use rmux::proxy::{Action, Conn, Proxy, Settings, Wire};
use rmux::slots::Id;
use rmux::timer::Millis;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Takes everything, and counts the requests that each backend was sent by their keys' marks.
#[derive(Default)]
struct Sink {
    /// Per slot of a backend: it, and how many requests it was sent and has not answered.
    asked: Vec<(Option<Id>, usize)>,
    told: usize,
}

impl Wire for Sink {
    fn write(&mut self, conn: Conn, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        for slice in slices {
            match conn {
                Conn::Client(_) => self.told += slice.len(),
                Conn::Backend(id) => {
                    let requests = slice.iter().filter(|&&byte| byte == b'*').count();
                    let entry = &mut self.asked[id.slot()];
                    *entry = (Some(id), entry.1 + requests);
                }
            }
        }
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}

struct Bench {
    proxy: Proxy,
    sink: Sink,
    scratch: Scratch,
    now: Millis,
}

impl Bench {
    fn new(servers: usize) -> Bench {
        let addresses = (0..servers).map(|number| format!("server{number}:6379")).collect();
        let now = Millis(1);
        let proxy = Proxy::new(Settings::new(addresses), now);
        let sink = Sink { asked: vec![(None, 0); 64], told: 0 };
        let mut bench = Bench { proxy, sink, scratch: Scratch::new(), now };
        bench.proxy.start(now);
        let mut backends = Vec::new();
        while let Some(action) = bench.proxy.poll_action() {
            if let Action::Connect { backend, .. } = action {
                backends.push(backend);
            }
        }
        for backend in backends {
            bench.proxy.handle_connected(backend, now);
            bench.end_turn();
            bench.sink.asked[backend.slot()].1 = 0;
            bench.answer(backend, b"*0\r\n+PONG\r\n", 1);
        }
        bench.end_turn();
        bench
    }

    fn end_turn(&mut self) {
        self.proxy.handle_timeouts(self.now, &mut self.sink);
        self.proxy.transmit(self.now, &mut self.sink);
        while self.proxy.poll_action().is_some() {}
        self.now = self.now + 1;
    }

    fn say(&mut self, client: Id, bytes: &[u8]) {
        self.scratch.read_area()[..bytes.len()].copy_from_slice(bytes);
        self.proxy.handle_client_data(client, &mut self.scratch, bytes.len(), self.now, &mut self.sink);
    }

    fn answer(&mut self, backend: Id, reply: &[u8], times: usize) {
        let area = self.scratch.read_area();
        for time in 0..times {
            area[time * reply.len()..][..reply.len()].copy_from_slice(reply);
        }
        let n = reply.len() * times;
        self.proxy.handle_backend_data(backend, &mut self.scratch, n, self.now, &mut self.sink);
    }

    /// Every backend answers everything that it was asked.
    fn answer_all(&mut self) {
        for slot in 0..self.sink.asked.len() {
            if let (Some(backend), asked @ 1..) = self.sink.asked[slot] {
                self.sink.asked[slot].1 = 0;
                self.answer(backend, b"$5\r\nvalue\r\n", asked);
            }
        }
        self.end_turn();
    }
}

/// Allocations in the last of many rounds, each of which does the same.
fn allocations_in_steady_state(mut round: impl FnMut()) -> usize {
    for _ in 0..50 {
        round();
    }
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..200 {
        round();
    }
    ALLOCATIONS.with(Cell::get) - before
}

fn requests(depth: usize) -> Vec<Vec<u8>> {
    let request = |number: usize| format!("*2\r\n$3\r\nGET\r\n$8\r\nkey{number:05}\r\n");
    (0..20).map(|client| (0..depth).map(|i| request(client * depth + i)).collect::<String>().into_bytes()).collect()
}

#[test]
fn requests_in_steady_state_allocate_nothing() {
    for servers in [1, 4] {
        for depth in [1, 16] {
            let mut bench = Bench::new(servers);
            let requests = requests(depth);
            let clients: Vec<Id> =
                requests.iter().map(|_| bench.proxy.handle_accept(bench.now).expect("there is room")).collect();
            let told = bench.sink.told;
            let allocations = allocations_in_steady_state(|| {
                for (client, request) in clients.iter().zip(&requests) {
                    bench.say(*client, request);
                }
                bench.end_turn();
                bench.answer_all();
            });
            assert_eq!(bench.sink.told - told, 250 * 20 * depth * 11, "every request was answered");
            assert_eq!(allocations, 0, "{servers} servers, pipelines of {depth}");
        }
    }
}

#[test]
fn a_connection_for_each_request_allocates_no_more_than_its_lane() {
    let mut bench = Bench::new(1);
    let requests = requests(1);
    let allocations = allocations_in_steady_state(|| {
        let client = bench.proxy.handle_accept(bench.now).expect("there is room");
        bench.say(client, &requests[0]);
        bench.end_turn();
        bench.answer_all();
        bench.proxy.handle_client_end(client);
        bench.end_turn();
    });
    assert!(allocations <= 200, "{allocations} allocations for 200 connections");
}
