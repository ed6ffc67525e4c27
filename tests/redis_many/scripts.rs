//! A script that runs for ever at one of several servers is stopped, whichever it is.

use crate::support::client::{encode, show};
use crate::support::golden::key_for_each;
use crate::support::proxy::{PATIENT, Rmux};
use crate::support::server::RedisServer;
use crate::support::{KINDS, PATIENCE, wait_until};

#[test]
fn a_script_is_stopped_at_whichever_server_it_runs() {
    for kind in KINDS {
        let servers: Vec<RedisServer> =
            (0..3).map(|_| RedisServer::start_with(&["--busy-reply-threshold", "50"])).collect();
        let rmux = Rmux::in_front_of(kind, &servers.iter().collect::<Vec<_>>(), &[PATIENT, "-poolSize=1"]);
        let (mut runner, mut waiter, mut killer) = (rmux.client(), rmux.client(), rmux.client());
        assert_eq!(killer.line("SCRIPT KILL"), "-NOTBUSY No scripts in execution right now.\r\n");
        for key in key_for_each(3) {
            runner.send(&encode(&[b"EVAL".as_slice(), b"while true do end", b"1", &key]));
            wait_until("the script to be stopped", PATIENCE, || {
                waiter.send(&encode(&[b"GET".as_slice(), &key]));
                let reply = killer.line("SCRIPT KILL");
                assert!(reply == "+OK\r\n" || reply.starts_with("-NOTBUSY "), "{key:?}: {reply}");
                assert_eq!(show(&waiter.reply()), "$-1\r\n");
                reply == "+OK\r\n"
            });
            let reply = show(&runner.reply());
            assert!(reply.contains("Script killed by user"), "{reply}");
        }
    }
}
