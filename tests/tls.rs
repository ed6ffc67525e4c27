//! TLS to servers and to clients, with real ones: what works, what is refused and in which words, and what a reload does.
//!
//! The certificates are made by openssl, for each test anew. What a record may do to a session is tried in
//! `src/net/tls/tests.rs`, without sockets.
#![cfg(feature = "tls")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use support::certificates::{Authority, Identity, Validity};
use support::client::encode;
use support::fake::FakeServer;
use support::house::House;
use support::http;
use support::proxy::{Rmux, run_to_end};
use support::server::RedisServer;
use support::{Address, Kind, PATIENCE, Scratch, free_port, wait_for_exit, wait_until};

/// A client inside of TLS.
type TlsClient = StreamOwned<ClientConnection, TcpStream>;

impl House {
    /// A redis-server with this certificate, and its port for TLS.
    fn redis_with(&self, identity: &Identity, more: &[&str]) -> (RedisServer, u16) {
        let port = free_port();
        let text = port.to_string();
        let ca = self.authority.certificate();
        let mut settings = vec!["--tls-port", &text, "--tls-cert-file", &identity.certificate];
        settings.extend(["--tls-key-file", &identity.key, "--tls-ca-cert-file", &ca]);
        settings.extend(more);
        (RedisServer::start_with(&settings), port)
    }

    fn redis(&self) -> (RedisServer, u16) {
        self.redis_with(&self.identity, &["--tls-auth-clients", "no"])
    }

    /// The flags for servers on this port.
    fn remote(&self, port: u16) -> Vec<String> {
        vec![
            format!("-tcpConnections=localhost:{port}"),
            "-remoteTls".to_owned(),
            format!("-remoteTlsCaFile={}", self.authority.certificate()),
        ]
    }

    fn rmux(&self, flags: &[String]) -> Rmux {
        Rmux::start(Kind::Unix, &flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What rmux says of a server that it cannot use.
    fn refusal(&self, flags: &[String]) -> String {
        let rmux = self.rmux(flags);
        wait_until("the server to be down", PATIENCE, || rmux.log().contains(" is down: "));
        rmux.log()
    }

    /// How a client is that trusts the authority.
    fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(self.authority.certificate()).expect("PEM");
        roots.add(certificate).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.expect("versions").with_root_certificates(roots).with_no_client_auth())
    }

    /// A client that trusts the authority.
    fn client(&self, port: u16) -> TlsClient {
        client_of(self.client_config(), port)
    }

    /// How a server of the test's own meets those who come.
    fn server_config(&self) -> Arc<ServerConfig> {
        let chain = vec![CertificateDer::from_pem_file(&self.identity.certificate).expect("PEM")];
        let key = PrivateKeyDer::from_pem_file(&self.identity.key).expect("PEM");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        Arc::new(config.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("they fit"))
    }
}

fn client_of(config: Arc<ClientConfig>, port: u16) -> TlsClient {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(config, name).expect("a client");
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("open");
    StreamOwned::new(connection, socket)
}

fn ask(client: &mut TlsClient, parts: &[&str], reply: &[u8]) {
    client.write_all(&encode(parts)).expect("it is open");
    let mut got = vec![0; reply.len()];
    client.read_exact(&mut got).expect("a reply");
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(reply));
}

#[test]
fn all_goes_through_tls_on_both_sides() {
    let house = House::new();
    let (redis, port) = house.redis();
    let own_port = free_port();
    let mut flags = vec!["-host=127.0.0.1".to_owned(), format!("-port={own_port}")];
    flags.extend(house.remote(port));
    flags.push(format!("-localTlsCertFile={}", house.identity.certificate));
    flags.push(format!("-localTlsKeyFile={}", house.identity.key));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let folder = Scratch::new();
    let rmux = Rmux::start_tls(own_port, folder, &flags);
    let mut client = house.client(own_port);
    ask(&mut client, &["SET", "a", "1"], b"+OK\r\n");
    ask(&mut client, &["INCR", "a"], b":2\r\n");

    // Values of many records, each way; a pipeline; a transaction; what blocks; messages.
    let large = "0123456789abcdef".repeat(200_000);
    ask(&mut client, &["SET", "large", &large], b"+OK\r\n");
    ask(&mut client, &["STRLEN", "large"], b":3200000\r\n");
    ask(&mut client, &["GET", "large"], format!("$3200000\r\n{large}\r\n").as_bytes());
    let pipeline = b"INCR n\r\n".repeat(5_000);
    client.write_all(&pipeline).expect("it is open");
    let replies: String = (1..=5_000).map(|number| format!(":{number}\r\n")).collect();
    let mut got = vec![0; replies.len()];
    client.read_exact(&mut got).expect("5,000 replies");
    assert!(got == replies.as_bytes());
    ask(&mut client, &["MULTI"], b"+OK\r\n");
    ask(&mut client, &["INCR", "a"], b"+QUEUED\r\n");
    ask(&mut client, &["EXEC"], b"*1\r\n:3\r\n");
    let mut subscriber = house.client(own_port);
    ask(&mut subscriber, &["SUBSCRIBE", "news"], b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    ask(&mut client, &["PUBLISH", "news", "x"], b":1\r\n");
    let message = b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n";
    let mut got = [0; 34];
    subscriber.read_exact(&mut got).expect("a message");
    assert_eq!(&got, message);

    // The end comes in words, behind what was owed.
    ask(&mut client, &["QUIT"], b"+OK\r\n");
    assert_eq!(client.read(&mut got).expect("an end in words"), 0);
    // rmux has told nobody's secrets to the port without TLS.
    assert_eq!(redis.ask("GET a"), b"$1\r\n3\r\n");
    drop(rmux);
}

#[test]
fn figures_say_until_when_certificates_are_good() {
    let house = House::new();
    let (_redis, port) = house.redis();
    let admin = Address::Unix(house.folder.join("admin.sock"));
    let mut flags = house.remote(port);
    flags.push(format!("-admin={}", admin.flag_value()));
    let rmux = house.rmux(&flags);
    assert_eq!(rmux.client().line("SET a 1"), "+OK\r\n");
    let metrics = http::get(&admin, "/metrics").body;
    let until = |series: &str| -> Option<f64> {
        let line = metrics.lines().find(|line| line.starts_with(series))?;
        line.rsplit(' ').next().expect("a value").parse().ok()
    };
    let pool = rmux.address().flag_value();
    // 2100-01-01, in seconds since 1970.
    let series =
        format!("rmux_server_certificate_expiry_timestamp_seconds{{pool=\"{pool}\",server=\"localhost:{port}\"}}");
    assert_eq!(until(&series), Some(4_102_444_800.0), "{metrics}");
    let series =
        format!("rmux_tls_certificate_expiry_timestamp_seconds{{pool=\"{pool}\",certificate=\"remoteTlsCaFile\"}}");
    assert!(until(&series).is_some_and(|until| until > 1.7e9), "{metrics}");
    let status = http::get(&admin, "/status.json").body;
    assert!(
        status.contains(&format!("\"file\":\"{}\",\"subject\":\"authority\"", house.authority.certificate())),
        "{status}"
    );
    assert!(http::get(&admin, "/").body.contains("remoteTlsCaFile until 2"));
}

#[test]
fn each_reason_not_to_trust_a_server_is_said() {
    let house = House::new();
    let old = house.authority.issue("old", "DNS:localhost", Validity::Past);
    let early = house.authority.issue("early", "DNS:localhost", Validity::Future);
    let other = house.authority.issue("other", "DNS:a.example,DNS:b.example", Validity::Now);
    let stranger = Authority::new(house.folder.path(), "stranger").issue("strange", "DNS:localhost", Validity::Now);
    let at_fault = "cannot connect: TLS handshake: its certificate";
    for (identity, words) in [
        (&old, "(old, issued by authority) expired on 2021-01-01 00:00:00 UTC"),
        (&early, "(early, issued by authority) is not valid before 2090-01-01 00:00:00 UTC"),
        (&other, "(other, issued by authority) is not for localhost, but for a.example, b.example"),
        (&stranger, "(strange, issued by stranger) comes from an authority that is not known: stranger is not in"),
    ] {
        let (_redis, port) = house.redis_with(identity, &["--tls-auth-clients", "no"]);
        let log = house.refusal(&house.remote(port));
        assert!(log.contains(&format!("server localhost:{port} is down: {at_fault} {words}")), "{log}");
    }
    // The same server under the name that its certificate is for.
    let (_redis, port) = house.redis_with(&other, &["--tls-auth-clients", "no"]);
    let mut flags = house.remote(port);
    flags.push("-remoteTlsServerName=b.example".to_owned());
    assert_eq!(house.rmux(&flags).client().cmd(&["SET", "a", "1"]), b"+OK\r\n");
}

#[test]
fn a_server_that_wants_a_certificate_gets_one_or_is_said_to_want_one() {
    let house = House::new();
    for more in [&["--tls-auth-clients", "yes"][..], &["--tls-auth-clients", "yes", "--tls-protocols", "TLSv1.2"]] {
        let (_redis, port) = house.redis_with(&house.identity, more);
        let log = house.refusal(&house.remote(port));
        assert!(log.contains("remoteTlsCertFile"), "{log}");
        let client = house.authority.issue("client", "", Validity::Now);
        let mut flags = house.remote(port);
        flags.push(format!("-remoteTlsCertFile={}", client.certificate));
        flags.push(format!("-remoteTlsKeyFile={}", client.key));
        assert_eq!(house.rmux(&flags).client().cmd(&["SET", "a", "1"]), b"+OK\r\n");
    }
}

#[test]
fn the_older_version_will_do_and_one_that_is_older_still_will_not() {
    let house = House::new();
    let (_redis, port) = house.redis_with(&house.identity, &["--tls-auth-clients", "no", "--tls-protocols", "TLSv1.2"]);
    let rmux = house.rmux(&house.remote(port));
    let large = "x".repeat(1_000_000);
    assert_eq!(rmux.client().cmd(&["SET", "a", &large]), b"+OK\r\n");
    assert_eq!(rmux.client().cmd(&["GET", "a"]).len(), 1_000_000 + 12);
}

#[test]
fn a_server_without_tls_is_said_to_have_none() {
    let house = House::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut bytes = [0; 1_024];
            let _ = client.read(&mut bytes).map(|_| client.write_all(b"-ERR unknown command 'x'\r\n"));
        }
    });
    let log = house.refusal(&house.remote(port));
    assert!(log.contains("it does not speak TLS on this port: it answers \"-ERR unknown command 'x'\""), "{log}");
}

#[test]
fn a_server_that_shakes_hands_and_leaves_or_never_does_is_down_and_said_to_be_once() {
    let house = House::new();
    let config = house.server_config();
    let leaves = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let leaving = leaves.local_addr().expect("bound").port();
    thread::spawn(move || {
        for mut socket in leaves.incoming().flatten() {
            let mut connection = ServerConnection::new(Arc::clone(&config)).expect("a server");
            let _ = connection.complete_io(&mut socket);
        }
    });
    let log = house.refusal(&house.remote(leaving));
    assert!(log.contains(": it closed the connection") || log.contains("is down: connection lost"), "{log}");

    // One says nothing, one begins a record of its own and does not end it.
    let silent = FakeServer::start(|connection| connection.hold());
    let slow = FakeServer::start(|connection| {
        connection.send(&[22, 3, 3, 0, 122, 2]);
        connection.hold();
    });
    for (fake, words) in [
        (silent, "no answer to the TLS hello within remoteConnectTimeout; does it speak TLS on this port?"),
        (slow, "the TLS handshake was not finished within remoteConnectTimeout"),
    ] {
        let log = told_once(&house, house.remote(port_of(&fake)), &fake);
        assert!(log.contains(&format!(" is down: {words}")), "{log}");
    }
}

fn port_of(fake: &FakeServer) -> u16 {
    match fake.address() {
        Address::Tcp(port) => port,
        Address::Unix(_) => panic!("a port"),
    }
}

/// What rmux logs of a server of which it makes no use; it has tried several times, and has said so once.
fn told_once(house: &House, mut flags: Vec<String>, fake: &FakeServer) -> String {
    flags.push("-remoteConnectTimeout=50".to_owned());
    let rmux = house.rmux(&flags);
    wait_until("the server to be down", PATIENCE, || rmux.log().contains(" is down: "));
    let before = fake.accepted();
    wait_until("more attempts", PATIENCE, || fake.accepted() > before + 2);
    assert_eq!(rmux.log().matches(" is down: ").count(), 1, "{}", rmux.log());
    rmux.log()
}

#[test]
fn who_speaks_tls_to_a_plain_port_or_plainly_to_one_with_tls_is_told_what_to_do() {
    let house = House::new();
    // A Redis without TLS waits for the end of a line, unless there happens to be one in what it takes for words.
    let plain = RedisServer::start();
    let mut flags = house.remote(plain.port());
    flags.push("-remoteConnectTimeout=100".to_owned());
    let log = house.refusal(&flags);
    let silent = "no answer to the TLS hello within remoteConnectTimeout; does it speak TLS on this port?";
    let others =
        ["TLS handshake: it does not speak TLS on this port: it answers", "TLS handshake: it closes the connection"];
    assert!(log.contains(silent) || others.iter().any(|words| log.contains(words)), "{log}");

    // A Redis with it closes the connection; what is said of that depends on who is first.
    let (_redis, port) = house.redis();
    let log = house.refusal(&[format!("-tcpConnections=localhost:{port}")]);
    assert!(log.contains(", before it had answered anything; does it want TLS on this port (remoteTls)?"), "{log}");
    let closing = FakeServer::start(|connection| drop(connection.request()));
    let alerting = FakeServer::start(|connection| {
        connection.request();
        connection.send(&[21, 3, 3, 0, 2, 2, 70]);
    });
    for (fake, words) in [
        (
            closing,
            "it closed the connection, before it had answered anything; does it want TLS on this port (remoteTls)?",
        ),
        (alerting, "it speaks TLS on this port: give remoteTls"),
    ] {
        let log = told_once(&house, vec![format!("-tcpConnections=localhost:{}", port_of(&fake))], &fake);
        assert!(log.contains(&format!(" is down: {words}")), "{log}");
    }
    // Who has answered before, and closes then, has said what it is.
    let known = FakeServer::start(|connection| {
        connection.request();
        connection.send(b"-NOAUTH Authentication required.\r\n");
    });
    let log = told_once(&house, vec![format!("-tcpConnections=localhost:{}", port_of(&known))], &known);
    assert!(log.contains("-NOAUTH") && !log.contains("remoteTls"), "{log}");
}

#[test]
fn connections_to_a_server_are_resumed() {
    let house = House::new();
    let config = house.server_config();
    let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = server.local_addr().expect("bound").port();
    let (sender, kinds) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for mut socket in server.incoming().flatten() {
            let mut connection = ServerConnection::new(Arc::clone(&config)).expect("a server");
            let _ = connection.complete_io(&mut socket);
            let mut stream = StreamOwned::new(connection, socket);
            // Whatever it is asked first, it has answered, and closes.
            let mut bytes = [0; 1_024];
            let _ = stream.read(&mut bytes).and_then(|_| stream.write_all(b"-LOADING x\r\n"));
            let _ = sender.send(stream.conn.handshake_kind());
        }
    });
    let _rmux = house.rmux(&house.remote(port));
    let first = kinds.recv_timeout(PATIENCE).expect("a connection");
    assert_eq!(first, Some(rustls::HandshakeKind::Full));
    let resumed = (0..10)
        .any(|_| kinds.recv_timeout(PATIENCE).expect("another connection") == Some(rustls::HandshakeKind::Resumed));
    assert!(resumed);
}

/// Writes a file of one pool that listens at this port, and says how it is met there.
fn write_pool(path: &Path, own_port: u16, redis: u16, house: &House, identity: &Identity) {
    let text = format!(
        r#"[{{"host": "127.0.0.1", "port": {own_port}, "tcpConnections": ["localhost:{redis}"], "remoteTls": true,
             "remoteTlsCaFile": "{}", "localTlsCertFile": "{}", "localTlsKeyFile": "{}"}}]"#,
        house.authority.certificate(),
        identity.certificate,
        identity.key
    );
    fs::write(path, text).expect("the folder can be written");
}

/// The serial number of the certificate that a server shows.
fn shown(house: &House, port: u16) -> Vec<u8> {
    let mut client = house.client(port);
    ask(&mut client, &["PING"], b"+PONG\r\n");
    client.conn.peer_certificates().expect("it has shown one")[0].to_vec()
}

#[test]
fn a_reload_takes_new_certificates_and_no_wrong_ones() {
    let house = House::new();
    let (_redis, port) = house.redis();
    let own_port = free_port();
    let file = house.folder.join("rmux.json");
    let identity = house.authority.issue("front", "DNS:localhost", Validity::Now);
    write_pool(&file, own_port, port, &house, &identity);
    let config = format!("-config={}", file.display());
    let rmux = Rmux::start_tls(own_port, Scratch::new(), &[&config]);
    let hangup = |end: &str| {
        let before = rmux.log().len();
        rmux.signal("HUP");
        wait_until("the end of a reload", PATIENCE, || rmux.log()[before..].contains(end));
        rmux.log()[before..].to_owned()
    };
    let first = shown(&house, own_port);
    let mut stays = house.client(own_port);
    ask(&mut stays, &["SET", "a", "1"], b"+OK\r\n");
    assert!(hangup("reload: done").contains("reload: done: no changes"));

    let renewed = house.authority.issue("renewed", "DNS:localhost", Validity::Now);
    fs::copy(&renewed.certificate, &identity.certificate).expect("the folder can be written");
    let refused = hangup("reload: refused");
    assert!(
        refused.contains("localTlsKeyFile: ") && refused.contains("is not the key of the certificate"),
        "{refused}"
    );
    assert_eq!(shown(&house, own_port), first, "nothing is changed");

    fs::copy(&renewed.key, &identity.key).expect("the folder can be written");
    let done = hangup("reload: done");
    assert!(done.contains("localTlsCertFile: what its files have differs"), "{done}");
    wait_until("the new certificate", PATIENCE, || shown(&house, own_port) != first);
    ask(&mut stays, &["GET", "a"], b"$1\r\n1\r\n");
}

/// The ids of the connections that rmux has to a server.
fn ids(redis: &RedisServer) -> BTreeSet<u64> {
    let list = String::from_utf8_lossy(&redis.ask("CLIENT LIST")).into_owned();
    let id = |line: &str| line.split_once("id=")?.1.split(' ').next()?.parse().ok();
    list.lines().filter(|line| line.contains(" laddr=127.0.0.1:")).filter_map(id).collect()
}

/// Clients that ask all the time, each of them one thing after the other, until told to stop; none may get an error.
struct Askers {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Askers {
    fn start(rmux: &Rmux) -> Askers {
        let (stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let asker = |number: usize| {
            let (mut client, stop, done) = (rmux.client(), Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || {
                let key = format!("key-{number}");
                for turn in 1.. {
                    let reply = client.cmd(&["INCR", &key]);
                    assert_eq!(String::from_utf8_lossy(&reply), format!(":{turn}\r\n"), "of client {number}");
                    done.fetch_add(1, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            })
        };
        Askers { threads: (0..4).map(asker).collect(), stop, done }
    }

    /// Waits for so many replies more.
    fn await_more(&self, count: usize) {
        let until = self.done.load(Ordering::Relaxed) + count;
        wait_until("replies", PATIENCE, || self.done.load(Ordering::Relaxed) >= until);
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no error, and nothing twice"));
    }
}

/// Has rmux reload, and returns what it logs until it is done.
fn reload(rmux: &Rmux) -> String {
    let before = rmux.log().len();
    rmux.signal("HUP");
    wait_until("the end of a reload", PATIENCE, || rmux.log()[before..].contains("reload: "));
    wait_until("the end of a reload", PATIENCE, || {
        ["reload: done", "reload: refused"].iter().any(|end| rmux.log()[before..].contains(end))
    });
    rmux.log()[before..].to_owned()
}

/// A pool at a Unix socket, started with this file, of which these are the keys.
fn start_with_file(file: &Path, keys: &str) -> Rmux {
    let scratch = Scratch::new();
    let socket = scratch.join("rmux.sock");
    fs::write(file, pool_text(&socket, keys)).expect("the folder can be written");
    Rmux::start_at(Address::Unix(socket), scratch, &[&format!("-config={}", file.display())])
}

fn pool_text(socket: &Path, keys: &str) -> String {
    format!(r#"[{{"socket": "{}", {keys}}}]"#, socket.display())
}

#[test]
fn a_reload_renews_connections_to_servers_when_their_files_differ_and_no_client_sees_it() {
    let house = House::new();
    let (redis, port) = house.redis();
    let ca = house.folder.join("ca.pem");
    fs::copy(house.authority.certificate(), &ca).expect("the folder can be written");
    let keys = format!(
        r#""tcpConnections": ["localhost:{port}", "127.0.0.1:{port}"], "remoteTls": true, "remoteTlsCaFile": "{}""#,
        ca.display()
    );
    let rmux = start_with_file(&house.folder.join("rmux.json"), &keys);
    let askers = Askers::start(&rmux);
    let mut holder = rmux.client();
    holder.cmd(&["SUBSCRIBE", "news"]);
    askers.await_more(100);
    let first = ids(&redis);
    assert!(first.len() >= 3, "of two servers, and one that hears: {first:?}");

    // The same contents, written anew, are nothing new.
    fs::copy(house.authority.certificate(), &ca).expect("the folder can be written");
    let done = reload(&rmux);
    assert!(done.contains("reload: done: no changes"), "{done}");
    askers.await_more(200);
    assert!(ids(&redis).is_superset(&first), "nothing is made anew");

    // One authority more.
    let other = Authority::new(house.folder.path(), "other");
    let both = [house.authority.certificate(), other.certificate()].map(|path| fs::read_to_string(path).expect("text"));
    fs::write(&ca, both.concat()).expect("the folder can be written");
    let done = reload(&rmux);
    assert!(done.contains("remoteTls: what its files have differs"), "{done}");
    wait_until("all connections to be others", PATIENCE, || ids(&redis).is_disjoint(&first));
    askers.await_more(200);
    let mut publisher = rmux.client();
    wait_until("a message", PATIENCE, || publisher.cmd(&["PUBLISH", "news", "x"]) != b":0\r\n");

    // An authority that has signed nothing: what is there goes on, and the log says why.
    let second = ids(&redis);
    fs::copy(other.certificate(), &ca).expect("the folder can be written");
    reload(&rmux);
    let words = "comes from an authority that is not known: authority is not in";
    wait_until("the log to say so", PATIENCE, || {
        rmux.log().lines().any(|line| line.contains(words) && line.contains("connections from before are used"))
    });
    askers.await_more(200);
    assert!(!ids(&redis).is_disjoint(&second), "they are used");
    assert!(!rmux.log().contains("is down"), "{}", rmux.log());
    fs::copy(house.authority.certificate(), &ca).expect("the folder can be written");
    reload(&rmux);
    wait_until("all connections to be others", PATIENCE, || ids(&redis).is_disjoint(&second));
    askers.stop();
}

/// A server that speaks TLS to whoever begins with it, and plainly to others. It answers each request with `+PONG`.
/// Counts the connections of both kinds that are open.
fn bilingual(config: Arc<ServerConfig>) -> (u16, Arc<[AtomicUsize; 2]>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let open: Arc<[AtomicUsize; 2]> = Default::default();
    let counts = Arc::clone(&open);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (config, counts) = (Arc::clone(&config), Arc::clone(&counts));
            thread::spawn(move || {
                let is_tls = first_byte(&socket) == Some(22);
                let count = &counts[usize::from(is_tls)];
                count.fetch_add(1, Ordering::SeqCst);
                let _ = match is_tls {
                    true => answer_all(StreamOwned::new(ServerConnection::new(config).expect("a server"), socket)),
                    false => answer_all(socket),
                };
                count.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (port, open)
}

fn first_byte(socket: &TcpStream) -> Option<u8> {
    let mut first = [0];
    socket.peek(&mut first).ok().filter(|count| *count == 1).map(|_| first[0])
}

fn answer_all(mut stream: impl Read + Write) -> std::io::Result<()> {
    loop {
        let mut bytes = [0; 4_096];
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        let requests = bytes[..count].iter().filter(|byte| **byte == b'*').count();
        stream.write_all(&b"+PONG\r\n".repeat(requests))?;
    }
}

#[test]
fn a_switch_to_tls_and_back_renews_connections_to_servers() {
    let house = House::new();
    let (port, open) = bilingual(house.server_config());
    let counts = || [0, 1].map(|kind| open[kind].load(Ordering::SeqCst));
    let file = house.folder.join("rmux.json");
    let plain = format!(r#""tcpConnections": ["localhost:{port}"], "poolSize": 2"#);
    let ca = house.authority.certificate();
    let inside = format!(r#"{plain}, "remoteTls": true, "remoteTlsCaFile": "{ca}""#);
    let rmux = start_with_file(&file, &plain);
    let mut client = rmux.client();
    assert_eq!(client.cmd(&["SET", "a", "1"]), b"+PONG\r\n");
    assert!(counts()[0] > 0 && counts()[1] == 0, "{:?}", counts());
    for (keys, is_tls) in [(&inside, true), (&plain, false), (&inside, true)] {
        fs::write(&file, pool_text(Path::new(&rmux.address().flag_value()), keys)).expect("the folder can be written");
        let done = reload(&rmux);
        assert!(done.contains(&format!("remoteTls: {} -> {is_tls}", !is_tls)), "{done}");
        wait_until("all connections to be of the other kind", PATIENCE, || {
            assert_eq!(client.cmd(&["SET", "a", "1"]), b"+PONG\r\n");
            counts()[usize::from(!is_tls)] == 0 && counts()[usize::from(is_tls)] > 0
        });
    }
    assert!(!rmux.log().contains("is down"), "{}", rmux.log());
}

#[test]
fn who_speaks_plainly_to_a_port_with_tls_is_told_so_and_logged_once() {
    let house = House::new();
    let (_redis, port) = house.redis();
    let own_port = free_port();
    let file = house.folder.join("rmux.json");
    write_pool(&file, own_port, port, &house, &house.identity);
    let rmux = Rmux::start_tls(own_port, Scratch::new(), &[&format!("-config={}", file.display())]);
    for _ in 0..20 {
        let mut plain = TcpStream::connect(("127.0.0.1", own_port)).expect("it listens");
        plain.set_read_timeout(Some(PATIENCE)).expect("open");
        plain.write_all(b"PING\r\n").expect("open");
        let mut heard = Vec::new();
        // It may be cut behind the words.
        let _ = plain.read_to_end(&mut heard);
        assert_eq!(heard, b"-ERR this port speaks TLS, and nothing else\r\n");
    }
    let words = "failed to shake hands for TLS: it does not speak TLS, which this port asks for: it says \"PING\"";
    wait_until("a line in the log", PATIENCE, || rmux.log().contains(words));
    assert!(rmux.log().matches(words).count() <= 3, "{}", rmux.log());
    // Half of a handshake, often, hurts nobody else.
    let half: Vec<TcpStream> = (0..500)
        .map(|_| {
            let mut socket = TcpStream::connect(("127.0.0.1", own_port)).expect("it listens");
            socket.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).expect("open");
            socket
        })
        .collect();
    ask(&mut house.client(own_port), &["SET", "a", "1"], b"+OK\r\n");
    drop(half);
}

#[test]
fn a_health_check_is_answered_and_not_logged() {
    let house = House::new();
    let (_redis, port) = house.redis();
    let own_port = free_port();
    let file = house.folder.join("rmux.json");
    write_pool(&file, own_port, port, &house, &house.identity);
    let config = format!("-config={}", file.display());
    let rmux = Rmux::start_tls(own_port, Scratch::new(), &[&config]);
    for _ in 0..3 {
        let healthy = run_to_end(&[&config, "-healthcheck"]);
        assert_eq!((healthy.code, healthy.output.as_str()), (Some(0), ""));
    }
    // What is logged is logged in its order.
    let mut plain = TcpStream::connect(("127.0.0.1", own_port)).expect("it listens");
    plain.write_all(b"PING other\r\n").expect("open");
    wait_until("a line in the log", PATIENCE, || rmux.log().contains("it says \"PING other\""));
    assert_eq!(rmux.log().matches("shake hands").count(), 1, "{}", rmux.log());
    drop(rmux);
    let nobody = run_to_end(&[&config, "-healthcheck"]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.output);
}

/// With TLS 1.2 either side may ask for another handshake on a connection, at the other's cost. OpenSSL's client does,
/// when it is told to, and gives up when it is refused.
#[test]
fn a_client_that_wants_to_shake_hands_again_is_refused_and_others_do_not_notice() {
    let house = House::new();
    let (_redis, port) = house.redis();
    let own_port = free_port();
    let file = house.folder.join("rmux.json");
    write_pool(&file, own_port, port, &house, &house.identity);
    let rmux = Rmux::start_tls(own_port, Scratch::new(), &[&format!("-config={}", file.display())]);
    let mut other = house.client(own_port);
    ask(&mut other, &["SET", "a", "1"], b"+OK\r\n");
    let said = house.folder.join("said");
    let output = fs::File::create(&said).expect("the folder can be written");
    let mut client = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &format!("127.0.0.1:{own_port}")])
        .stdin(Stdio::piped())
        .stdout(output.try_clone().expect("a descriptor"))
        .stderr(output)
        .spawn()
        .expect("openssl is installed");
    let heard = |words: &str| fs::read_to_string(&said).unwrap_or_default().contains(words);
    let mut input = client.stdin.take().expect("a pipe");
    input.write_all(b"PING\n").expect("it runs");
    wait_until("a reply", PATIENCE, || heard("+PONG"));
    input.write_all(b"R\n").expect("it runs");
    wait_until("it to begin", PATIENCE, || heard("RENEGOTIATING"));
    let status = wait_for_exit(&mut client, PATIENCE);
    drop(input);
    if status.is_none() {
        client.kill().expect("it is there");
    }
    assert!(heard("no renegotiation"), "{:?}", fs::read_to_string(&said));
    ask(&mut other, &["GET", "a"], b"$1\r\n1\r\n");
    assert!(!rmux.log().contains("panicked"), "{}", rmux.log());
}

#[test]
fn test_tries_the_files_and_says_when_they_expire() {
    let house = House::new();
    let old = house.authority.issue("old", "DNS:localhost", Validity::Past);
    let mut flags = vec!["-test".to_owned(), "-host=127.0.0.1".to_owned(), "-port=1".to_owned()];
    flags.extend(house.remote(6379));
    flags.push(format!("-localTlsCertFile={}", old.certificate));
    flags.push(format!("-localTlsKeyFile={}", old.key));
    let all: Vec<&str> = flags.iter().map(String::as_str).collect();
    let ended = run_to_end(&all);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let words = "the certificate of old expired on 2021-01-01 00:00:00 UTC";
    assert!(ended.output.contains(words), "{}", ended.output);
    // Those that are good are named as well.
    let place = "\npool 1 (127.0.0.1:1): ";
    let line =
        format!("{place}remoteTlsCaFile: {}: the certificate of authority expires on 2", house.authority.certificate());
    assert!(ended.output.contains(&line), "{}", ended.output);
    let line = format!(
        "{place}localTlsCertFile: {}: the certificate of old expired on 2021-01-01 00:00:00 UTC\n",
        old.certificate
    );
    assert!(ended.output.contains(&line), "{}", ended.output);
    assert!(ended.output.contains(&format!("{place}server localhost:6379: 127.0.0.1")), "{}", ended.output);
    // Of a file with many there is one line.
    let many = house.folder.join("many.pem");
    let one = fs::read_to_string(house.authority.certificate()).expect("PEM");
    fs::write(&many, one.repeat(9)).expect("room");
    let ca = format!("-remoteTlsCaFile={}", many.display());
    let ended = run_to_end(&["-test", "-tcpConnections=localhost:1", "-remoteTls", &ca]);
    let line = format!("remoteTlsCaFile: {}: 9 certificates, the first to expire on 2", many.display());
    assert!(ended.output.contains(&line), "{}", ended.output);

    for (flags, words) in [
        (&["-remoteTlsCaFile=x"][..], "-remoteTlsCaFile: has no meaning without remoteTls: give both"),
        (&["-remoteTls", "-remoteTlsCertFile=x"], "-remoteTlsCertFile: has no meaning without remoteTlsKeyFile"),
        (&["-remoteTls", "-remoteTlsCaFile=/no/such"], "-remoteTlsCaFile: \"/no/such\" cannot be read"),
        (&["-remoteTls", "-unixConnections=/a"], "-remoteTls: has no meaning without tcpConnections"),
        (&["-localTlsKeyFile=x"], "-localTlsKeyFile: has no meaning without localTlsCertFile"),
        (&["-localTlsClientCaFile=x"], "-localTlsClientCaFile: has no meaning without localTlsCertFile"),
        (&["-socket=/a", "-localTlsCertFile=x", "-localTlsKeyFile=y"], "-localTlsCertFile: is for clients over TCP"),
    ] {
        let mut all = vec!["-test"];
        all.extend(flags);
        let ended = run_to_end(&all);
        assert_eq!(ended.code, Some(2), "{}", ended.output);
        assert!(ended.output.contains(words), "{}", ended.output);
    }
}

/// Those without TLS are tried by `tests/manual.rs`.
#[test]
fn the_recipes_are_accepted() {
    let house = House::new();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/recipes.md")).expect("it is there");
    for (name, from) in [("ca.pem", house.authority.certificate()), ("own.pem", house.identity.certificate.clone())] {
        fs::copy(from, house.folder.join(name)).expect("room");
    }
    fs::copy(&house.identity.key, house.folder.join("own.key")).expect("room");
    fs::write(house.folder.join("token"), "secret\n").expect("room");
    fs::write(house.folder.join("hosts"), "* 192.0.2.1:1\n").expect("room");
    let file = house.folder.join("recipe.json");
    let place = format!("{}/", house.folder.path().display());
    let mut tried = 0;
    for block in page.split("\n```jsonc\n").skip(1) {
        let (recipe, _) = block.split_once("\n```\n").expect("it ends");
        fs::write(&file, recipe.replace("/etc/rmux/", &place)).expect("room");
        let mut rmux = Command::new(env!("CARGO_BIN_EXE_rmux"));
        // The authorities of the system, which may have none; and names that lead nowhere else.
        rmux.env("SSL_CERT_FILE", house.authority.certificate()).env("RMUX_TEST_HOSTS", house.folder.join("hosts"));
        let output = rmux.arg("-test").arg("-config").arg(&file).output().expect("cargo has built it");
        assert_eq!(output.status.code(), Some(0), "{recipe}\n{output:?}");
        tried += 1;
    }
    assert!(tried >= 4, "{tried}");
}

#[test]
fn clients_are_resumed() {
    let house = House::new();
    let (_redis, port) = house.redis();
    let own_port = free_port();
    let file = house.folder.join("rmux.json");
    write_pool(&file, own_port, port, &house, &house.identity);
    let _rmux = Rmux::start_tls(own_port, Scratch::new(), &[&format!("-config={}", file.display())]);
    let config = house.client_config();
    for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let mut client = client_of(Arc::clone(&config), own_port);
        ask(&mut client, &["PING"], b"+PONG\r\n");
        assert_eq!(client.conn.handshake_kind(), Some(kind));
    }
}
