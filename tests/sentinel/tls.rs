//! Sentinels and servers that speak TLS with each other and with rmux; and certificates that are wrong.

use super::load::{Load, assert_no_double};
use super::trio::{LONG, NAME, Trio, await_write, held, shown, start_rmux};
use crate::support::certificates::{Authority, Identity, Validity};
use crate::support::fake::FakeServer;
use crate::support::house::House;
use crate::support::proxy::{Rmux, run_to_end};
use crate::support::wait_until;
use std::fs;

impl House {
    /// The keys for servers and sentinels, and the certificate that rmux shows to whom these say.
    fn keys(&self, shown_to: &[&str]) -> String {
        let ca = self.authority.certificate();
        let mut keys = String::new();
        for whom in ["remote", "sentinel"] {
            keys += &format!(r#", "{whom}Tls": true, "{whom}TlsCaFile": "{ca}""#);
        }
        let Identity { certificate, key } = &self.identity;
        for whom in shown_to {
            keys += &format!(r#", "{whom}TlsCertFile": "{certificate}", "{whom}TlsKeyFile": "{key}""#);
        }
        keys
    }
}

fn await_log(rmux: &Rmux, words: &str) {
    wait_until("the log to say so", LONG, || rmux.log().contains(words));
}

/// An rmux that cannot ask a sentinel for one of these reasons, as it says. On a busy machine the first reason may be
/// that an answer is late; then another rmux is asked.
fn refused(start: impl Fn() -> Rmux, reasons: &[&str]) -> Rmux {
    for _ in 0..20 {
        let rmux = start();
        await_log(&rmux, "no sentinel can be asked, of 3");
        let log = rmux.log();
        if reasons.iter().any(|reason| log.contains(reason)) {
            return rmux;
        }
        assert!(log.contains("in time"), "{log}");
    }
    panic!("always late");
}

#[test]
fn all_of_it_is_inside_of_tls_and_a_failover_is_one_as_any_other() {
    let house = House::new();
    let mut trio = Trio::start_with(None, Some(&house.files(true)));
    let rmux = trio.rmux(&[0], &house.keys(&["remote", "sentinel"]));
    let load = Load::start(&rmux);
    // Those that it was not told of are found, and shaken hands with.
    let is_heard = |number: usize| shown(&trio.sentinels[number].client().cmd(&["CLIENT", "LIST"])).contains("sub=1");
    wait_until("rmux to hear all of them", LONG, || (0..3).all(is_heard));
    trio.sentinels[0].kill();
    trio.servers[0].kill();
    trio.await_master(&[1, 2], 0);
    load.await_more(200);
    let outcome = load.stop();
    outcome.assert_known();
    assert_no_double(&trio.servers[trio.master(1)]);
    await_write(&rmux, "b");
    assert_eq!(held(&trio.servers[trio.master(1)], "b"), "$1\r\n1\r\n");
}

#[test]
fn each_reason_not_to_trust_a_sentinel_is_said_and_a_reload_takes_what_is_right() {
    let house = House::new();
    let trio = Trio::start_with(None, Some(&house.files(true)));
    let servers = format!(r#"{{"master": "{NAME}"}}"#);
    let sentinels = trio.addresses(&[0, 1, 2]);
    let why = format!("master {NAME}: no sentinel can be asked, of 3, {}: ", sentinels[2]);

    let start = |keys: &str| start_rmux(&servers, &sentinels, keys);
    let asked = "it wants a client's certificate: give sentinelTlsCertFile and sentinelTlsKeyFile";
    // With TLS 1.3 a server refuses a client after that has begun to ask.
    let reasons = [format!("{why}TLS handshake: {asked}"), format!("{why}{asked}")];
    refused(|| start(&house.keys(&["remote"])), &[&reasons[0], &reasons[1]]);

    let stranger = Authority::new(house.folder.path(), "stranger");
    let file = house.folder.join("ca.pem");
    fs::copy(stranger.certificate(), &file).expect("the folder can be written");
    let all = house.keys(&["remote", "sentinel"]);
    let own = format!(r#""sentinelTlsCaFile": "{}""#, house.authority.certificate());
    let keys = all.replace(&own, &format!(r#""sentinelTlsCaFile": "{}""#, file.display()));
    let shown = format!("{why}TLS handshake: its certificate (redis, issued by authority)");
    let rmux = refused(|| start(&keys), &[&format!("{shown} comes from an authority that is not known")]);
    // The file gets the right contents, and nothing else is changed.
    fs::copy(house.authority.certificate(), &file).expect("the folder can be written");
    rmux.signal("HUP");
    await_log(&rmux, "sentinelTls: what its files have differs");
    await_write(&rmux, "a");
    rmux.signal("HUP");
    await_log(&rmux, "reload: done: no changes");

    let named = |name: &str| start(&format!(r#"{all}, "sentinelTlsServerName": "{name}""#));
    refused(|| named("redis.example"), &[&format!("{shown} is not for redis.example, but for localhost, 127.0.0.1")]);
    await_write(&named("localhost"), "b");
}

#[test]
fn a_sentinel_that_says_nothing_or_something_else_is_not_taken_for_one_inside_of_tls() {
    let house = House::new();
    let servers = format!(r#"{{"master": "{NAME}"}}"#);
    let silent = FakeServer::start(|connection| connection.hold());
    let plain = FakeServer::start(|connection| {
        connection.send(b"-ERR unknown command\r\n");
        connection.hold();
    });
    let leaving = FakeServer::start(|connection| connection.shut());
    for (fake, reason) in [
        (silent, "TLS handshake: not done in time; does it speak TLS there?"),
        (plain, "TLS handshake: it does not speak TLS on this port: it answers \"-ERR unknown command\""),
        (leaving, "TLS handshake: it closes the connection instead"),
    ] {
        let sentinel = format!("127.0.0.1:{}", fake.address().flag_value().rsplit(':').next().expect("a port"));
        let rmux = start_rmux(&servers, std::slice::from_ref(&sentinel), &house.keys(&[]));
        await_log(&rmux, &format!("master {NAME}: no sentinel can be asked, of 1, {sentinel}: {reason}"));
    }
}

#[test]
fn a_sentinel_that_wants_tls_and_is_spoken_to_plainly_is_said_to_want_it() {
    let servers = format!(r#"{{"master": "{NAME}"}}"#);
    let closing = FakeServer::start(|connection| drop(connection.request()));
    let alerting = FakeServer::start(|connection| {
        connection.request();
        connection.send(&[21, 3, 3, 0, 2, 2, 70]);
    });
    for (fake, reason) in [
        (closing, ", before it had answered anything; does it want TLS on this port (sentinelTls)?"),
        (alerting, ": it speaks TLS on this port: give sentinelTls"),
    ] {
        let sentinel = format!("127.0.0.1:{}", fake.address().flag_value().rsplit(':').next().expect("a port"));
        let rmux = start_rmux(&servers, std::slice::from_ref(&sentinel), "");
        wait_until("the log to say so", LONG, || {
            rmux.log().lines().any(|line| line.contains(&sentinel) && line.ends_with(reason))
        });
    }
}

#[test]
fn test_tries_the_files_and_says_which_one_is_wrong() {
    let house = House::new();
    let old = house.authority.issue("old", "DNS:localhost", Validity::Past);
    let file = house.folder.join("rmux.json");
    let test = |keys: &str| {
        let text = format!(
            r#"[{{"socket": "/a", "tcpConnections": [{{"master": "a"}}], "sentinels": ["localhost:26379"]{keys}}}]"#
        );
        fs::write(&file, text).expect("the folder can be written");
        run_to_end(&["-test", &format!("-config={}", file.display())])
    };
    for (keys, words) in [
        (r#""sentinelTlsCaFile": "x""#, "sentinelTlsCaFile: has no meaning without sentinelTls: give both"),
        (r#""sentinelTls": true, "sentinelTlsCaFile": "/no/such""#, "sentinelTlsCaFile: \"/no/such\" cannot be read"),
        (r#""sentinelTls": true, "sentinelTlsCertFile": "x""#, "sentinelTlsCertFile: has no meaning without"),
        (r#""sentinelTls": true, "sentinelTlsServerName": "no name""#, "sentinelTlsServerName: \"no name\" is no name"),
    ] {
        let ended = test(&format!(", {keys}"));
        assert_eq!(ended.code, Some(2), "{}", ended.output);
        assert!(ended.output.contains(words), "{words}: {}", ended.output);
    }
    let files = format!(
        r#", "sentinelTls": true, "sentinelTlsCaFile": "{}", "sentinelTlsCertFile": "{}", "sentinelTlsKeyFile": "{}""#,
        house.authority.certificate(),
        old.certificate,
        old.key
    );
    let ended = test(&files);
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let words = format!("sentinelTlsCertFile: {}: the certificate of old expired on 2021-01-01", old.certificate);
    assert!(ended.output.contains(&words), "{}", ended.output);

    fs::write(&file, r#"[{"socket": "/a", "tcpConnections": ["b:1"], "sentinelTls": true}]"#).expect("as before");
    let ended = run_to_end(&["-test", &format!("-config={}", file.display())]);
    assert!(ended.output.contains("sentinelTls: has no meaning without sentinels"), "{}", ended.output);
}
