//! Thousands of clients at a listener with TLS that say nothing, half of a hello, half of a record, or something else,
//! or shake hands and leave: what they cost, when they are gone, and that others are served meanwhile.
//!
//! It takes most descriptors that a process may have, and so is a program of its own: no other test runs beside it.
#![cfg(feature = "tls")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use support::certificates::{Authority, Validity};
use support::client::encode;
use support::proxy::Rmux;
use support::server::RedisServer;
use support::{PATIENCE, Scratch, free_port, raise_descriptor_limit, wait_until};

/// As many of them as there are descriptors for.
const CLIENTS_MAX: usize = 10_000;
/// What each of those may cost that hold half a record of some kB, and what each may that hold none.
const HOLDER_BYTES_MAX: u64 = 24 * 1024;
const SILENT_BYTES_MAX: u64 = 12 * 1024;
/// What half a record has.
const HALF_RECORD: usize = 10_000;
/// From the first byte on, a client has 10 s to shake hands; a busy machine may need some more to see to all of them.
const LONG: Duration = Duration::from_secs(60);

struct House {
    port: u16,
    config: Arc<ClientConfig>,
    rmux: Rmux,
    _redis: RedisServer,
    _folder: Scratch,
}

impl House {
    fn new(more: &[&str]) -> House {
        let folder = Scratch::new();
        let authority = Authority::new(folder.path(), "authority");
        let identity = authority.issue("front", "DNS:localhost", Validity::Now);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.certificate()).expect("PEM")).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        let (redis, port) = (RedisServer::start(), free_port());
        let mut flags = vec![
            "-host=127.0.0.1".to_owned(),
            format!("-port={port}"),
            // With two servers INFO is about rmux itself.
            format!("-tcpConnections=127.0.0.1:{0} localhost:{0}", redis.port()),
            format!("-localTlsCertFile={}", identity.certificate),
            format!("-localTlsKeyFile={}", identity.key),
            "-clientsMax=100000".to_owned(),
        ];
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let rmux = Rmux::start_tls(port, Scratch::new(), &flags);
        House { port, config: Arc::new(config), rmux, _redis: redis, _folder: folder }
    }

    fn client(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::clone(&self.config), name).expect("a client");
        let socket = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("open");
        StreamOwned::new(connection, socket)
    }

    /// One that has said this.
    fn half(&self, words: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        socket.write_all(words).expect("open");
        socket
    }

    fn memory(&self) -> u64 {
        self.rmux.usage().bytes
    }
}

/// A client that is served is served within the time that a test may take for anything.
fn ask(client: &mut StreamOwned<ClientConnection, TcpStream>, parts: &[&str]) -> String {
    client.write_all(&encode(parts)).expect("it is open");
    let mut got = vec![0; 16 * 1024];
    let mut count = client.read(&mut got).expect("a reply");
    if got[0] == b'$' {
        // A bulk string, of which more may have to come.
        let text = String::from_utf8_lossy(&got[..count]).into_owned();
        let (head, _) = text.split_once("\r\n").expect("a length");
        let whole = head.len() + 2 + head[1..].parse::<usize>().expect("a length") + 2;
        while count < whole {
            count += client.read(&mut got[count..]).expect("the rest");
        }
    }
    String::from_utf8_lossy(&got[..count]).into_owned()
}

/// What rmux says of itself: a number behind this name.
fn figure(client: &mut StreamOwned<ClientConnection, TcpStream>, name: &str) -> usize {
    let text = ask(client, &["INFO"]);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
}

#[test]
fn thousands_that_never_finish_a_handshake_cost_little_and_are_gone_in_time() {
    let count = CLIENTS_MAX.min(raise_descriptor_limit().saturating_sub(1_000));
    let house = House::new(&[]);
    let mut served = house.client();
    assert_eq!(ask(&mut served, &["SET", "a", "1"]), "+OK\r\n");
    let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252];
    let mut record = vec![0; HALF_RECORD];
    record[..9].copy_from_slice(&[22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb]);
    let begun = Instant::now();
    let mut measured = Vec::new();
    let mut sockets = Vec::new();
    for (words, bytes_max) in [(&[][..], SILENT_BYTES_MAX), (&hello, SILENT_BYTES_MAX), (&record, HOLDER_BYTES_MAX)] {
        let before = (house.memory(), figure(&mut served, "connected_clients"));
        let part = count / 3;
        let came = Instant::now();
        sockets.extend((0..part).map(|_| house.half(words)));
        assert_eq!(ask(&mut served, &["GET", "a"]), "$1\r\n1\r\n", "others are served meanwhile");
        let mut new = 0;
        // On a machine that is very slow the first of them leave before the last ones come.
        wait_until("all of them to be accepted", LONG, || {
            new = figure(&mut served, "connected_clients").saturating_sub(before.1);
            new >= part || came.elapsed() > Duration::from_secs(8)
        });
        let each = house.memory().saturating_sub(before.0) / new.max(1) as u64;
        measured.push(format!("{new} of {part} with {} bytes: {each} bytes each", words.len()));
        assert!(new > part / 2 && each <= bytes_max, "{measured:?}");
    }
    println!("{count} clients within {:?}: {measured:#?}", begun.elapsed());
    assert!(figure(&mut served, "connected_clients") > count / 2, "they are there at the same time: {measured:?}");

    // Some that say something else, and some that shake hands and leave, are gone at once.
    for _ in 0..200 {
        drop(house.half(b"GET / HTTP/1.1\r\n\r\n"));
        let mut client = house.client();
        client.conn.complete_io(&mut client.sock).expect("it shakes hands");
    }
    wait_until("all of them to be gone", LONG, || figure(&mut served, "connected_clients") == 1);
    assert!(begun.elapsed() >= Duration::from_secs(10), "they had their time");
    assert_eq!(ask(&mut served, &["GET", "a"]), "$1\r\n1\r\n");
    // It is said once in an interval, and how often it was: a line a second at the most.
    let seconds = begun.elapsed().as_secs() as usize;
    let lines = house.rmux.log().matches("failed to shake hands for TLS: ").count();
    assert!((1..=seconds + 2).contains(&lines), "{lines} lines in {seconds} s: {}", house.rmux.log());
    assert!(house.rmux.log().contains("not done within 10000 ms"), "{}", house.rmux.log());
    drop(sockets);
}

#[test]
fn handshakes_that_are_never_finished_take_a_quarter_of_the_memory_at_most() {
    let house = House::new(&["-bufferedBytesMax=4000000"]);
    let mut served = house.client();
    assert_eq!(ask(&mut served, &["SET", "a", "1"]), "+OK\r\n");
    let mut record = vec![0; HALF_RECORD];
    record[..9].copy_from_slice(&[22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb]);
    // Six times as much as they may have.
    let sockets: Vec<TcpStream> = (0..600).map(|_| house.half(&record)).collect();
    wait_until("the log to say so", PATIENCE, || {
        house.rmux.log().contains("a quarter of bufferedBytesMax is held for handshakes of which half has come")
    });
    wait_until("some to be gone", PATIENCE, || figure(&mut served, "connected_clients") <= 101);
    // Who is served finds room.
    let large = "x".repeat(10_000);
    assert_eq!(ask(&mut served, &["SET", "a", &large]), "+OK\r\n");
    assert_eq!(ask(&mut served, &["STRLEN", "a"]), ":10000\r\n");
    drop(sockets);
}
