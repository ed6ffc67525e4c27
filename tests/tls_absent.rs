//! A build without TLS (`--no-default-features`): whoever asks for it is told that there is none, and all else works.
#![cfg(not(feature = "tls"))]

mod support;

use std::fs;

use support::proxy::{Rmux, run_to_end};
use support::server::RedisServer;
use support::{Address, Kind, PATIENCE, Scratch, wait_until};

const ABSENT: &str = "this rmux was built without TLS (the cargo feature tls): take a build with it";

#[test]
fn whoever_asks_for_it_is_told_that_there_is_none() {
    for (flags, key) in [
        (&["-remoteTls"][..], "-remoteTls"),
        (&["-remoteTls", "-remoteTlsCaFile=/a", "-remoteTlsServerName=a"], "-remoteTls"),
        (&["-host=127.0.0.1", "-localTlsCertFile=/a", "-localTlsKeyFile=/b"], "-localTlsCertFile"),
    ] {
        // With -test and without it.
        for first in ["-test", "-failover"] {
            let mut all = vec![first];
            all.extend(flags);
            let ended = run_to_end(&all);
            assert_eq!(ended.code, Some(2), "{}", ended.output);
            assert!(ended.output.contains(&format!("{key}: {ABSENT}")), "{}", ended.output);
        }
    }
    let folder = Scratch::new();
    let file = folder.join("rmux.json");
    let sentinels = r#""tcpConnections": [{"master": "a"}], "sentinels": ["a:26379"], "sentinelTls": true"#;
    fs::write(&file, format!(r#"[{{"socket": "/a", {sentinels}}}]"#)).expect("the folder can be written");
    let ended = run_to_end(&["-test", &format!("-config={}", file.display())]);
    assert_eq!(ended.code, Some(2), "{}", ended.output);
    assert!(ended.output.contains(&format!("sentinelTls: {ABSENT}")), "{}", ended.output);
}

#[test]
fn what_does_not_go_together_is_said_as_in_any_build() {
    let ended = run_to_end(&["-test", "-remoteTlsCaFile=/a"]);
    assert!(ended.output.contains("-remoteTlsCaFile: has no meaning without remoteTls: give both"), "{}", ended.output);
}

#[test]
fn a_reload_that_asks_for_it_changes_nothing() {
    let redis = RedisServer::start();
    let scratch = Scratch::new();
    let (socket, file) = (scratch.join("rmux.sock"), scratch.join("rmux.json"));
    let pool = |more: &str| {
        let server = redis.address(Kind::Tcp).flag_value();
        format!(r#"[{{"socket": "{}", "tcpConnections": ["{server}"]{more}}}]"#, socket.display())
    };
    fs::write(&file, pool("")).expect("the folder can be written");
    let config = format!("-config={}", file.display());
    let rmux = Rmux::start_at(Address::Unix(socket.clone()), scratch, &[&config]);
    let mut client = rmux.client();
    assert_eq!(client.cmd(&["SET", "a", "1"]), b"+OK\r\n");
    fs::write(&file, pool(r#", "remoteTls": true"#)).expect("the folder can be written");
    rmux.signal("HUP");
    wait_until("the reload to be refused", PATIENCE, || {
        rmux.log().contains("reload: refused, and nothing is changed: ") && rmux.log().contains(ABSENT)
    });
    assert_eq!(client.cmd(&["GET", "a"]), b"$1\r\n1\r\n");
}
