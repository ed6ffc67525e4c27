//! A Redis that behaves as badly as its script tells it to.
//!
//! Each connection that it accepts runs the script on a thread of its own. The script reads requests, and decides what
//! goes back: the right thing, half of it, garbage, nothing. The requests that a proxy sends for itself (PING, HELLO,
//! AUTH, SELECT, CLIENT, INFO) are answered properly by `user_request`, so that a script only sees what a user sent.
//!
//! ```text
//! proxy ──connect──► listener thread ──► one thread per connection ──► script(connection)
//!                                              │ held by: a Gate that the test opens
//! ```
//!
//! Dropping the fake opens every gate, shuts every socket and joins every thread. A script must therefore return when
//! a read says that the stream ended.

use super::client::bulk;
use super::{Address, PATIENCE, Stream};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The words of one request, its name first.
pub type Request = Vec<Vec<u8>>;

/// A listener whose connections run a script.
#[derive(Debug)]
pub struct FakeServer {
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

/// What the listener, its connections and the test share.
#[derive(Debug, Default)]
struct Shared {
    closing: AtomicBool,
    accepted: AtomicUsize,
    finished: AtomicUsize,
    seen: Mutex<HashMap<String, usize>>,
    sockets: Mutex<Vec<Stream>>,
    gate: Gate,
}

impl Shared {
    fn seen(&self, request: &str) -> usize {
        let seen = self.seen.lock().expect("a table of counts");
        seen.get(request).copied().unwrap_or(0)
    }

    fn cut(&self) {
        let mut sockets = self.sockets.lock().expect("a list of sockets");
        for socket in sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// A door that a test opens once, and that scripts wait at.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Lets through everyone who waits, and everyone who comes later.
    pub fn open(&self) {
        *self.open.lock().expect("no script panics while it holds the door") = true;
        self.opened.notify_all();
    }

    /// Waits until the door is open, or until `patience` has passed; true when it is open.
    pub fn wait(&self, patience: Duration) -> bool {
        let open = self.open.lock().expect("no script panics while it holds the door");
        let (open, _) = self
            .opened
            .wait_timeout_while(open, patience, |open| !*open)
            .expect("no script panics while it holds the door");
        *open
    }
}

impl FakeServer {
    /// Listens on a free port of 127.0.0.1 and runs `script` on every connection.
    pub fn start(script: impl Fn(&mut Connection) + Send + Sync + 'static) -> FakeServer {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = socket.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared::default());
        let script = Arc::new(script);
        let for_listener = Arc::clone(&shared);
        let listener = thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in socket.incoming() {
                if for_listener.closing.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let stream = Stream::Tcp(stream);
                for_listener.sockets.lock().expect("a list of sockets").push(stream.duplicate());
                let number = for_listener.accepted.fetch_add(1, Ordering::SeqCst);
                let mut connection = Connection {
                    number,
                    stream,
                    unread: Vec::new(),
                    is_shut: false,
                    shared: Arc::clone(&for_listener),
                };
                let script = Arc::clone(&script);
                connections.push(thread::spawn(move || {
                    script(&mut connection);
                    connection.shut();
                    connection.shared.finished.fetch_add(1, Ordering::SeqCst);
                }));
            }
            // Also the one that was accepted while the fake was being dropped.
            for_listener.cut();
            for connection in connections {
                let _ = connection.join();
            }
        });
        FakeServer { port, shared, listener: Some(listener) }
    }

    /// One that behaves: every user's request is answered by `answer`.
    pub fn polite() -> FakeServer {
        FakeServer::start(Connection::serve)
    }

    /// Where it listens.
    pub fn address(&self) -> Address {
        Address::Tcp(self.port)
    }

    /// How many connections it has accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many of them have ended: the script has returned, because it wanted to or because the peer closed.
    pub fn finished(&self) -> usize {
        self.shared.finished.load(Ordering::SeqCst)
    }

    /// How many times it was sent this request (its words with blanks between).
    pub fn seen(&self, request: &str) -> usize {
        self.shared.seen(request)
    }

    /// Closes every connection that is open now; the listener goes on.
    pub fn cut(&self) {
        self.shared.cut();
    }

    /// The door that a script waits at with `Connection::wait_at_gate`.
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.gate.open();
        // Wakes the listener, which then sees that it is over.
        let _ = self.address().connect();
        for socket in self.shared.sockets.lock().expect("a list of sockets").iter() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// One accepted connection, in the hands of the script.
#[derive(Debug)]
pub struct Connection {
    /// 0 for the first that was accepted.
    pub number: usize,
    stream: Stream,
    unread: Vec<u8>,
    is_shut: bool,
    shared: Arc<Shared>,
}

impl Connection {
    /// The next request of a user. What the proxy asks for itself is answered on the way. `None` at the end.
    pub fn user_request(&mut self) -> Option<Request> {
        loop {
            let request = self.request()?;
            match answer_to_proxy(&request) {
                Some(answer) => self.send(&answer),
                None => return Some(request),
            }
        }
    }

    /// The next request, whoever it is from; nothing is answered. `None` at the end.
    pub fn request(&mut self) -> Option<Request> {
        loop {
            if let Some((request, length)) = parse(&self.unread) {
                self.unread.drain(..length);
                let words: Vec<_> = request.iter().map(|word| String::from_utf8_lossy(word)).collect();
                *self.shared.seen.lock().expect("a table of counts").entry(words.join(" ")).or_default() += 1;
                return Some(request);
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(length) => self.unread.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Writes; a peer that is gone is no failure of the fake.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Writes one byte at a time, with a pause after each: the behaviour of a bad line, not a wait of the test.
    pub fn trickle(&mut self, bytes: &[u8], pause: Duration) {
        let never = Gate::default();
        for byte in bytes {
            if self.shared.closing.load(Ordering::SeqCst) || self.stream.write_all(&[*byte]).is_err() {
                return;
            }
            never.wait(pause);
        }
    }

    /// Answers every user's request properly until the end.
    pub fn serve(&mut self) {
        while let Some(request) = self.user_request() {
            let answer = answer(&request);
            self.send(&answer);
        }
    }

    /// Waits until the test opens the gate, at most `PATIENCE`.
    pub fn wait_at_gate(&self) {
        self.shared.gate.wait(PATIENCE);
    }

    /// Closes the connection; the script should return then.
    pub fn shut(&mut self) {
        self.is_shut = true;
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// True once the script has closed the connection.
    pub fn is_shut(&self) -> bool {
        self.is_shut
    }

    /// How many times the fake was sent this request, on any connection.
    pub fn seen(&self, request: &str) -> usize {
        self.shared.seen(request)
    }

    /// True once the test has opened the gate.
    pub fn is_gate_open(&self) -> bool {
        self.shared.gate.wait(Duration::ZERO)
    }

    /// Stays connected and reads nothing, until the fake is dropped.
    pub fn hold(&self) {
        while !self.shared.closing.load(Ordering::SeqCst) {
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Reads and says nothing, until the peer closes.
    pub fn swallow(&mut self) {
        while self.request().is_some() {}
    }
}

/// The proper answer to a user's request: `GET k` gives `value of k`, everything else `+OK`.
///
/// The value names the key, so that a reply which reaches the wrong request is seen.
pub fn answer(request: &Request) -> Vec<u8> {
    match request[0].to_ascii_uppercase().as_slice() {
        b"GET" => bulk(&[b"value of ", request[1].as_slice()].concat()),
        b"INCR" => b":1\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    }
}

/// What a client expects from `GET key` if the request was answered by `answer`.
pub fn value_of(key: &str) -> Vec<u8> {
    bulk(format!("value of {key}").as_bytes())
}

/// The answer to what a proxy asks for itself; `None` for a user's request.
fn answer_to_proxy(request: &Request) -> Option<Vec<u8>> {
    let answer = match request[0].to_ascii_uppercase().as_slice() {
        b"PING" => match request.get(1) {
            Some(word) => bulk(word),
            None => b"+PONG\r\n".to_vec(),
        },
        b"HELLO" if request.get(1).is_some_and(|version| version == b"3") => {
            b"%2\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n".to_vec()
        }
        b"HELLO" => b"*4\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n".to_vec(),
        b"AUTH" | b"SELECT" | b"CLIENT" => b"+OK\r\n".to_vec(),
        b"INFO" => bulk(b"# Server\r\nredis_version:7.0.15\r\nloading:0\r\nrole:master\r\n"),
        b"COMMAND" => b"*0\r\n".to_vec(),
        _ => return None,
    };
    Some(answer)
}

/// The first whole request, and its length in bytes.
fn parse(bytes: &[u8]) -> Option<(Request, usize)> {
    let number = |start: usize| -> Option<(usize, usize)> {
        let length = bytes[start..].windows(2).position(|pair| pair == b"\r\n")?;
        let text = std::str::from_utf8(&bytes[start + 1..start + length]).expect("a length in digits");
        Some((text.parse().expect("a length"), start + length + 2))
    };
    if bytes.is_empty() {
        return None;
    }
    assert_eq!(bytes[0], b'*', "a proxy sends arrays only: {:?}", String::from_utf8_lossy(bytes));
    let (count, mut position) = number(0)?;
    let mut request = Vec::new();
    for _ in 0..count {
        if position >= bytes.len() {
            return None;
        }
        let (length, start) = number(position)?;
        let word = bytes.get(start..start + length)?;
        position = start + length + 2;
        if position > bytes.len() {
            return None;
        }
        request.push(word.to_vec());
    }
    Some((request, position))
}

/// A listener that completes no connection: its backlog is full, and the kernel drops what comes.
#[derive(Debug)]
pub struct BlackHole {
    listener: TcpListener,
    fillers: Vec<TcpStream>,
}

impl BlackHole {
    /// Listens with the shortest backlog and fills it.
    pub fn dig() -> BlackHole {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a descriptor is free");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port is free");
        socket.listen(0).expect("a bound socket");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("a bound socket has an address");
        let mut fillers = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
            fillers.push(stream);
        }
        BlackHole { listener, fillers }
    }

    /// Where nobody answers.
    pub fn address(&self) -> Address {
        Address::Tcp(self.listener.local_addr().expect("a bound socket has an address").port())
    }
}
