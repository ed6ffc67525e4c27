//! Sessions of both sides, over a pipe that a test owns: cut anywhere, full, and with hostile bytes in it.

#[path = "../../../tests/support/certificates.rs"]
mod certificates;
mod cut;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::rc::Rc;
use std::sync::OnceLock;

use super::super::tests::Folder;
use super::certificate::{Certificate, date};
use super::*;
use crate::net::stream::Incoming;
use certificates::{Authority, Identity, Validity};

/// As large as the reactor's.
const AREA: usize = 128 * 1024;

/// What is on the way in one direction.
type Line = Rc<RefCell<VecDeque<u8>>>;

/// One end of a connection.
struct End {
    incoming: Line,
    outgoing: Line,
    /// One read, and one write, moves no more than this.
    step: usize,
    /// The peer has read nothing, and no more than this fits.
    room: usize,
    is_closed: bool,
}

impl Read for End {
    fn read(&mut self, area: &mut [u8]) -> io::Result<usize> {
        let mut line = self.incoming.borrow_mut();
        if line.is_empty() && !self.is_closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = area.len().min(self.step).min(line.len());
        area.iter_mut().zip(line.drain(..length)).for_each(|(place, byte)| *place = byte);
        Ok(length)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut line = self.outgoing.borrow_mut();
        let length = bytes.len().min(self.step).min(self.room.saturating_sub(line.len()));
        if length == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        line.extend(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One side of a TLS connection.
struct Peer {
    session: Session,
    end: End,
    buffers: Buffers,
    /// Plaintext that has come.
    heard: Vec<u8>,
    is_ended: bool,
}

impl Peer {
    /// Reads until there is nothing left.
    fn read(&mut self) -> io::Result<()> {
        let mut area = vec![0; AREA];
        loop {
            let asked = self.end.step.min(AREA);
            let incoming = self.session.receive(&mut self.end, &mut area, asked, &mut self.buffers)?;
            self.heard.extend_from_slice(&area[..incoming.count]);
            self.is_ended |= incoming.is_ended;
            if incoming.is_ended || (incoming.is_drained && self.end.incoming.borrow().is_empty()) {
                return Ok(());
            }
        }
    }

    fn write(&mut self, parts: &[&[u8]]) -> usize {
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        self.session.write(&mut self.end, &slices, &mut self.buffers).expect("nothing is broken")
    }
}

/// A client and a server with a pipe between them, of which one read or write moves so many bytes.
fn connected(remote: &RemoteTls, local: &LocalTls, step: usize) -> (Peer, Peer) {
    let lines: [Line; 2] = Default::default();
    let end = |incoming: usize, outgoing: usize| End {
        incoming: Rc::clone(&lines[incoming]),
        outgoing: Rc::clone(&lines[outgoing]),
        step,
        room: usize::MAX,
        is_closed: false,
    };
    let peer = |session, end| Peer { session, end, buffers: Buffers::default(), heard: Vec::new(), is_ended: false };
    let client = peer(remote.session("localhost").expect("a name"), end(0, 1));
    (client, peer(local.session().expect("random bytes"), end(1, 0)))
}

/// Both sides agree, or one of them says why not.
fn shake_hands(client: &mut Peer, server: &mut Peer) -> io::Result<()> {
    client.session.begin(&mut client.end, &mut client.buffers)?;
    for _ in 0..100 {
        client.session.flush(&mut client.end)?;
        server.session.flush(&mut server.end)?;
        server.read()?;
        client.read()?;
        let is_quiet = client.end.incoming.borrow().is_empty() && server.end.incoming.borrow().is_empty();
        if is_quiet && !client.session.is_shaking() && !server.session.is_shaking() {
            return Ok(());
        }
    }
    panic!("they never agree");
}

/// An authority, and a certificate of it for `localhost`; made once for each test.
fn usual() -> Rc<(Folder, Authority, Identity)> {
    thread_local! {
        static USUAL: Rc<(Folder, Authority, Identity)> = {
            let folder = Folder::new();
            let authority = Authority::new(&folder.file(""), "authority");
            let identity = authority.issue("redis", "DNS:localhost,IP:127.0.0.1,DNS:*.example", Validity::Now);
            Rc::new((folder, authority, identity))
        };
    }
    USUAL.with(Rc::clone)
}

fn remote() -> RemoteTls {
    let authorities = Some(usual().1.certificate());
    RemoteTls::load(RemoteTlsFiles { authorities, ..RemoteTlsFiles::default() }).expect("good files")
}

fn local_of(identity: &Identity) -> LocalTls {
    let identity = (identity.certificate.clone(), identity.key.clone());
    LocalTls::load(LocalTlsFiles { identity, client_authorities: None }).expect("good files")
}

fn local() -> LocalTls {
    local_of(&usual().2)
}

/// Bytes that do not repeat soon.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn records_may_be_cut_anywhere() {
    let (remote, local) = (remote(), local());
    let bytes = noise(100_000);
    for step in [1, 2, 3, 7, 1_000, 16_000, usize::MAX] {
        let (mut client, mut server) = connected(&remote, &local, step);
        shake_hands(&mut client, &mut server).expect("good certificates");
        let lengths = if step < 1_000 { &[1, 100, 20_000][..] } else { &[1, 100, 16_384, 16_385, 100_000] };
        for &length in lengths {
            for is_reply in [false, true] {
                let (from, to) = if is_reply { (&mut server, &mut client) } else { (&mut client, &mut server) };
                let mut rest = &bytes[..length];
                while !rest.is_empty() || from.session.has_unsent() {
                    let (first, second) = rest.split_at(rest.len() / 3);
                    let taken = from.write(&[first, b"", second]);
                    rest = &rest[taken..];
                    to.read().expect("whole records");
                }
                assert!(to.heard == bytes[..length], "{length} bytes in steps of {step}");
                to.heard.clear();
            }
        }
        assert!(client.session.owns_nothing() && server.session.owns_nothing(), "an idle session has no buffer");
    }
}

#[test]
fn what_a_full_socket_does_not_take_is_bounded_and_comes_first() {
    let (mut client, mut server) = connected(&remote(), &local(), usize::MAX);
    shake_hands(&mut client, &mut server).expect("good certificates");
    let bytes = noise(1_000_000);
    let mut rest = &bytes[..];
    client.end.room = 50_000;
    while !rest.is_empty() || client.session.has_unsent() {
        let taken = client.write(&[rest]);
        rest = &rest[taken..];
        let is_full = !rest.is_empty();
        assert_eq!(client.session.has_unsent(), is_full || client.session.unsent_bytes() > 0);
        assert!(client.session.unsent_bytes() <= 2 * (16 * 1024 + 300), "{}", client.session.unsent_bytes());
        if is_full {
            assert_eq!(client.write(&[rest]), 0, "it is full");
        }
        server.read().expect("whole records");
    }
    assert!(server.heard == bytes);
    assert!(client.session.owns_nothing());
}

#[test]
fn half_of_a_handshake_message_does_not_keep_a_client_from_writing() {
    // What a server sends behind the handshake comes in the smallest records.
    let usual = local();
    let mut config = (*usual.config).clone();
    (config.max_fragment_size, config.send_tls13_tickets) = (Some(64), 4);
    let local = LocalTls { config: Arc::new(config), ..usual };
    let (mut client, mut server) = connected(&remote(), &local, usize::MAX);
    client.session.begin(&mut client.end, &mut client.buffers).expect("open");
    let mut said = 0;
    for _ in 0..3 {
        server.read().expect("good certificates");
        let flight: Vec<u8> = server.end.outgoing.borrow_mut().drain(..).collect();
        for byte in flight {
            client.end.incoming.borrow_mut().push_back(byte);
            client.read().expect("good certificates");
            said += client.write(&[b"PING\r\n"]);
        }
    }
    server.read().expect("whole records");
    assert!(said > 1_000, "between all of the bytes of the tickets: {said}");
    assert!(server.heard.len() == said && server.heard.chunks(6).all(|ping| ping == b"PING\r\n"));
    assert!(client.session.close(&mut client.end, &mut client.buffers));
    server.read().expect("an end in words");
    assert!(server.is_ended);
}

#[test]
fn each_side_hears_of_the_end_and_an_end_without_words_is_one_too() {
    let (mut client, mut server) = connected(&remote(), &local(), usize::MAX);
    shake_hands(&mut client, &mut server).expect("good certificates");
    client.write(&[b"PING\r\n"]);
    assert!(client.session.close(&mut client.end, &mut client.buffers));
    server.read().expect("an end in words");
    assert!(server.is_ended);
    assert_eq!(server.heard, b"PING\r\n");
    // Half of it is still open.
    assert_eq!(server.write(&[b"+PONG\r\n"]), 7);
    client.read().expect("still open");
    assert_eq!(client.heard, b"+PONG\r\n");
    assert!(server.session.close(&mut server.end, &mut server.buffers));

    let (mut client, mut server) = connected(&remote(), &local(), usize::MAX);
    shake_hands(&mut client, &mut server).expect("good certificates");
    server.end.is_closed = true;
    server.read().expect("an end is no error");
    assert!(server.is_ended);
    let nothing = Incoming { count: 0, is_drained: true, is_ended: false };
    let mut area = vec![0; AREA];
    let quiet = client.session.receive(&mut client.end, &mut area, AREA, &mut client.buffers);
    assert_eq!(quiet.expect("open"), nothing);
}

#[test]
fn a_second_session_is_resumed_and_one_of_other_files_is_not() {
    let (remote, local) = (remote(), local());
    let is_resumed = |remote: &RemoteTls, local: &LocalTls| {
        let (mut client, mut server) = connected(remote, local, usize::MAX);
        shake_hands(&mut client, &mut server).expect("good certificates");
        (client.session.is_resumed(), server.session.is_resumed())
    };
    assert_eq!(is_resumed(&remote, &local), (false, false));
    assert_eq!(is_resumed(&remote.clone(), &local), (true, true));
    assert_eq!(is_resumed(&super::tests::remote(), &local), (false, false), "another one remembers nothing");
    assert_eq!(is_resumed(&remote, &super::tests::local()), (false, false), "keys of tickets are not shared");
}

/// Why a client of `remote` does not trust a server with this certificate.
fn distrust(remote: &RemoteTls, identity: &Identity) -> String {
    let (mut client, mut server) = connected(remote, &local_of(identity), usize::MAX);
    let reason = shake_hands(&mut client, &mut server).expect_err("it is not trusted");
    assert_eq!(reason.kind(), io::ErrorKind::InvalidData);
    assert!(!client.end.outgoing.borrow().is_empty(), "the other side is told");
    let told = server.read().expect_err("an alert").to_string();
    assert!(told.contains("does not accept the certificate of localTlsCertFile"), "{told}");
    reason.to_string()
}

#[test]
fn who_is_not_trusted_is_told_by_its_certificate_and_its_fault() {
    let usual = usual();
    let (folder, authority, _) = &*usual;
    let remote = remote();
    let old = authority.issue("old", "DNS:localhost", Validity::Past);
    assert_eq!(
        distrust(&remote, &old),
        "its certificate (old, issued by authority) expired on 2021-01-01 00:00:00 UTC"
    );
    let early = authority.issue("early", "DNS:localhost", Validity::Future);
    assert_eq!(
        distrust(&remote, &early),
        "its certificate (early, issued by authority) is not valid before 2090-01-01 00:00:00 UTC"
    );
    let other = authority.issue("other", "DNS:a.example,IP:10.0.0.1,IP:::1", Validity::Now);
    assert_eq!(
        distrust(&remote, &other),
        "its certificate (other, issued by authority) is not for localhost, but for a.example, 10.0.0.1, ::1"
    );
    let nameless = authority.issue("localhost", "", Validity::Now);
    assert!(distrust(&remote, &nameless).contains("has no alternative names"), "{}", distrust(&remote, &nameless));
    let stranger = Authority::new(&folder.file(""), "stranger");
    let strange = stranger.issue("strange", "DNS:localhost", Validity::Now);
    let reason = distrust(&remote, &strange);
    assert!(reason.contains("comes from an authority that is not known: stranger is not in"), "{reason}");
    let key = stranger.certificate().replace(".pem", ".key");
    let own = Identity { certificate: stranger.certificate(), key };
    assert!(distrust(&remote, &own).contains("is an authority's own (CA:TRUE)"), "{}", distrust(&remote, &own));
}

#[test]
fn clients_show_certificates_where_they_must() {
    let usual = usual();
    let (folder, authority, identity) = &*usual;
    let stranger = Authority::new(&folder.file(""), "unknown");
    let files = LocalTlsFiles {
        identity: (identity.certificate.clone(), identity.key.clone()),
        client_authorities: Some(authority.certificate()),
    };
    let local = LocalTls::load(files).expect("good files");
    let refusal = |identity: Option<&Identity>| {
        let identity = identity.map(|identity| (identity.certificate.clone(), identity.key.clone()));
        let authorities = Some(authority.certificate());
        let remote =
            RemoteTls::load(RemoteTlsFiles { authorities, identity, ..RemoteTlsFiles::default() }).expect("good files");
        let (mut client, mut server) = connected(&remote, &local, usize::MAX);
        let refused = shake_hands(&mut client, &mut server).err()?.to_string();
        Some((refused, client.read().expect_err("an alert").to_string()))
    };
    assert_eq!(refusal(Some(&authority.issue("client", "", Validity::Now))), None);
    let (reason, told) = refusal(None).expect("refused");
    assert_eq!(reason, "it shows no certificate, and localTlsClientCaFile asks for one");
    assert_eq!(told, "it wants a client's certificate: give remoteTlsCertFile and remoteTlsKeyFile");
    let (reason, told) = refusal(Some(&stranger.issue("spy", "", Validity::Now))).expect("refused");
    assert!(reason.contains("(spy, issued by unknown) comes from an authority that is not known"), "{reason}");
    assert!(told.contains("does not accept the certificate of remoteTlsCertFile"), "{told}");
}

#[test]
fn what_is_no_tls_is_said_to_be_none() {
    let (mut client, mut server) = connected(&remote(), &local(), usize::MAX);
    client.end.incoming.borrow_mut().extend(b"-ERR unknown command\r\nmore");
    let reason = client.read().expect_err("plain");
    assert_eq!(reason.to_string(), "it does not speak TLS on this port: it answers \"-ERR unknown command\"");
    server.end.incoming.borrow_mut().extend(b"PING\x1b[2J\r\n");
    let reason = server.read().expect_err("plain");
    assert_eq!(reason.to_string(), "it does not speak TLS, which this port asks for: it says \"PING\\u{1b}[2J\"");
    let answer: Vec<u8> = server.end.outgoing.borrow().iter().copied().collect();
    assert_eq!(answer, b"-ERR this port speaks TLS, and nothing else\r\n");
}

#[test]
fn hostile_bytes_are_errors_and_are_not_kept_for_long() {
    // A record that says to be long, and never is whole.
    let (_, mut server) = connected(&remote(), &local(), usize::MAX);
    server.end.incoming.borrow_mut().extend([22, 3, 1, 0x40, 0]);
    server.end.incoming.borrow_mut().extend([0; 10_000]);
    server.read().expect("nothing is wrong yet");
    // A handshake message that is said to have 60,000 bytes, in whole records.
    let (_, mut server) = connected(&remote(), &local(), usize::MAX);
    for number in 0..4 {
        let start: &[u8] = if number == 0 { &[1, 0, 0xea, 0x60] } else { &[0; 4] };
        let mut line = server.end.incoming.borrow_mut();
        line.extend([22, 3, 1, 0x3a, 0x98]);
        line.extend(start);
        line.extend(vec![0; 15_000 - 4]);
    }
    assert!(server.read().is_err(), "too long for a client");
    // Each bit of the first words of a client may be another one.
    let (mut client, _) = connected(&remote(), &local(), usize::MAX);
    client.session.begin(&mut client.end, &mut client.buffers).expect("open");
    let hello: Vec<u8> = client.end.outgoing.borrow().iter().copied().collect();
    for position in 0..hello.len() {
        let (_, mut server) = connected(&remote_once(), &local_once(), usize::MAX);
        let mut changed = hello.clone();
        changed[position] ^= 1 << (position % 8);
        server.end.incoming.borrow_mut().extend(changed);
        // An error or not: it may not panic, and not take it for agreed.
        let _ = server.read();
        assert!(server.session.is_shaking());
    }
    // And a record that was changed on its way.
    let (mut client, mut server) = connected(&remote(), &local(), usize::MAX);
    shake_hands(&mut client, &mut server).expect("good certificates");
    client.write(&[b"SET a 1\r\n"]);
    *client.end.outgoing.borrow_mut().back_mut().expect("a record") ^= 1;
    let reason = server.read().expect_err("changed").to_string();
    assert_eq!(reason, "a TLS record was changed on its way, or has another key");
    assert!(server.heard.is_empty());
}

/// Those of before, made once.
fn remote_once() -> RemoteTls {
    static REMOTE: OnceLock<RemoteTls> = OnceLock::new();
    REMOTE.get_or_init(remote).clone()
}

fn local_once() -> LocalTls {
    static LOCAL: OnceLock<LocalTls> = OnceLock::new();
    LOCAL.get_or_init(local).clone()
}

#[test]
fn files_that_do_not_fit_are_named_with_their_keys() {
    let usual = usual();
    let (folder, authority, identity) = &*usual;
    let other = authority.issue("another", "DNS:localhost", Validity::Now);
    let file = |name: &str, text: &[u8]| {
        std::fs::write(folder.file(name), text).expect("the folder can be written");
        folder.file(name).display().to_string()
    };
    let load = |certificate: &str, key: &str, authorities: &str| {
        let identity = Some((certificate.to_owned(), key.to_owned()));
        let files = RemoteTlsFiles { authorities: Some(authorities.to_owned()), identity, ..RemoteTlsFiles::default() };
        RemoteTls::load(files).expect_err("refused").to_string()
    };
    let (good, key, trusted) = (&*identity.certificate, &*identity.key, &*authority.certificate());
    let empty = file("empty.pem", b"");
    let broken = file("broken.pem", b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n");
    let nonsense = file("nonsense.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted =
        file("encrypted.pem", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    for (certificate, key, authorities, words) in [
        (good, &*other.key, trusted, "remoteTlsKeyFile: \"KEY\" is not the key of the certificate in"),
        (good, &*empty, trusted, "remoteTlsKeyFile: \"KEY\" has no private key in it"),
        (good, &*encrypted, trusted, "remoteTlsKeyFile: \"KEY\" its key is encrypted"),
        (&*empty, key, trusted, "remoteTlsCertFile: \"CERTIFICATE\" has no certificate in it"),
        (&*broken, key, trusted, "remoteTlsCertFile: \"CERTIFICATE\" is not PEM"),
        (&*nonsense, key, trusted, "remoteTlsCertFile: \"CERTIFICATE\" its certificate cannot be used"),
        ("/no/such", key, trusted, "remoteTlsCertFile: \"CERTIFICATE\" cannot be read: No such file"),
        (good, key, "/no/such", "remoteTlsCaFile: \"/no/such\" cannot be read: No such file"),
        (good, key, &*nonsense, "none of its certificates can be an authority's"),
    ] {
        let reason = load(certificate, key, authorities);
        let words = words.replace("KEY\"", &format!("{key}\"")).replace("CERTIFICATE\"", &format!("{certificate}\""));
        assert!(reason.contains(&words), "{reason}: {words}");
    }
    let server_name = Some("no name".to_owned());
    let files = RemoteTlsFiles { server_name, ..RemoteTlsFiles::default() };
    let reason = RemoteTls::load(files).expect_err("refused").to_string();
    assert_eq!(reason, "remoteTlsServerName: \"no name\" is no name of a host");
}

#[test]
fn files_are_equal_by_what_they_have() {
    let usual = usual();
    let (folder, authority, _) = &*usual;
    let identity = authority.issue("moving", "DNS:localhost", Validity::Now);
    let before = local_of(&identity);
    assert_eq!(before, local_of(&identity));
    let expiry = &before.expiries()[0];
    assert_eq!((&*expiry.subject, &*expiry.until_text), ("moving", "2100-01-01 00:00:00 UTC"));
    let other = Authority::new(&folder.file(""), "renewer").issue("moved", "DNS:localhost", Validity::Now);
    std::fs::copy(&other.certificate, &identity.certificate).expect("the folder can be written");
    std::fs::copy(&other.key, &identity.key).expect("the folder can be written");
    assert_ne!(before, local_of(&identity));
}

#[test]
fn a_certificate_is_read_whatever_becomes_of_its_bytes() {
    use rustls::pki_types::pem::PemObject as _;
    let der = rustls::pki_types::CertificateDer::from_pem_file(&usual().2.certificate).expect("PEM");
    let read = Certificate::read(&der).expect("it is one");
    assert_eq!((&*read.subject, &*read.issuer, read.is_authority), ("redis", "authority", false));
    assert_eq!(read.names, ["localhost", "127.0.0.1", "*.example"]);
    assert_eq!(
        (date(read.from), date(read.until)),
        ("2020-01-01 00:00:00 UTC".to_owned(), "2100-01-01 00:00:00 UTC".to_owned())
    );
    let own = rustls::pki_types::CertificateDer::from_pem_file(usual().1.certificate()).expect("PEM");
    assert!(Certificate::read(&own).expect("it is one").is_authority);
    for length in 0..der.len() {
        assert!(Certificate::read(&der[..length]).is_none(), "cut at {length}");
    }
    for position in 0..der.len() {
        for byte in [0, 0x30, 0x7f, 0x80, 0x81, 0x84, 0xff] {
            let mut changed = der.to_vec();
            changed[position] = byte;
            let names = Certificate::read(&changed).map(|read| [read.subject, read.issuer].concat());
            assert!(names.is_none_or(|names| !names.contains(char::is_control)));
        }
    }
    assert_eq!((date(0), date(-1)), ("1970-01-01 00:00:00 UTC".into(), "1969-12-31 23:59:59 UTC".into()));
    assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
}
