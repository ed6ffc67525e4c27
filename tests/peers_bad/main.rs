//! Peers that behave badly, on both sides, each in its own way.
//!
//! ```text
//! servers  silent, late, never shaking hands, not reading, trickling, a black hole; surplus bytes, garbage, half replies
//! clients  not reading, trickling, half a request and gone, half-closed, thousands at once, too many for the descriptors
//! ```
//!
//! Each test asserts three things: what the request in question gets, which party is closed, and that a neighbour is
//! not harmed. The neighbour's values name its requests, so that nobody else's reply can pass for one of them.

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod servers;

use support::Kind;
use support::client::{Client, show};
use support::fake::{FakeServer, value_of};
use support::proxy::{Rmux, connections_flag};

/// An rmux in front of one fake, on a Unix socket.
fn in_front_of(fake: &FakeServer, flags: &[&str]) -> Rmux {
    let connections = connections_flag(&[fake.address()]);
    let mut all = vec![connections.as_str()];
    all.extend_from_slice(flags);
    Rmux::start(Kind::Unix, &all)
}

/// `rounds` requests of a client, each answered with its own value.
fn expect_own_values(client: &mut Client, name: &str, rounds: usize) {
    for round in 0..rounds {
        let key = format!("{name}:{round}");
        let got = client.cmd(&["GET", &key]);
        assert_eq!(show(&got), show(&value_of(&key)));
    }
}

#[test]
fn the_fakes_do_what_they_say() {
    use std::time::Duration;
    use support::fake::BlackHole;
    use support::{Address, PATIENCE, wait_until};

    let fake = FakeServer::polite();
    let mut client = Client::connect(&fake.address());
    assert_eq!(client.line("PING"), "+PONG\r\n");
    assert!(client.line("HELLO 3").starts_with("%2\r\n"));
    expect_own_values(&mut client, "direct", 3);
    assert_eq!((fake.accepted(), fake.finished(), fake.seen("GET direct:1")), (1, 0, 1));
    fake.cut();
    client.expect_closed();
    wait_until("the script to end", PATIENCE, || fake.finished() == 1);

    let Address::Tcp(port) = BlackHole::dig().address() else { panic!("a black hole is a TCP port") };
    let hole = BlackHole::dig();
    let Address::Tcp(open) = hole.address() else { panic!("a black hole is a TCP port") };
    let connect = |port: u16| {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).map(drop)
    };
    assert_eq!(connect(open).map_err(|error| error.kind()), Err(std::io::ErrorKind::TimedOut));
    assert_eq!(connect(port).map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionRefused));
}
