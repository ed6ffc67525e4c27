//! A script that runs for ever is stopped through rmux, whoever waits behind it.

use crate::support::client::{Client, encode, show};
use crate::support::proxy::{PATIENT, Rmux};
use crate::support::server::RedisServer;
use crate::support::{KINDS, PATIENCE, is_direct, wait_until};

const FOR_EVER: &str = "while true do end";
const LIBRARY: &str = "#!lua name=lib\nredis.register_function('forever', function() while true do end end)";

/// Stops what runs at the server, which may not have begun yet.
fn stop(client: &mut Client, command: &str) {
    wait_until("the script to be stopped", PATIENCE, || {
        let reply = client.line(command);
        assert!(reply == "+OK\r\n" || reply.starts_with("-NOTBUSY "), "{command}: {reply}");
        reply == "+OK\r\n"
    });
}

#[test]
fn a_script_that_runs_for_ever_is_stopped_past_those_who_wait() {
    if is_direct() {
        return;
    }
    for kind in KINDS {
        for pool_size in ["-poolSize=1", "-poolSize=3"] {
            let server = RedisServer::start_with(&["--busy-reply-threshold", "50"]);
            let rmux = Rmux::in_front_of(kind, &[&server], &[PATIENT, pool_size]);
            let (mut runner, mut killer) = (rmux.client(), rmux.client());
            let mut waiters: Vec<Client> = (0..20).map(|_| rmux.client()).collect();
            assert_eq!(runner.line("FUNCTION KILL"), "-NOTBUSY No scripts in execution right now.\r\n");
            runner.cmd(&["FUNCTION", "LOAD", LIBRARY]);
            for (script, command) in [
                (encode(&["EVAL", FOR_EVER, "0"]), "SCRIPT KILL"),
                (encode(&["FCALL", "forever", "0"]), "FUNCTION KILL"),
            ] {
                runner.send(&script);
                waiters.iter_mut().for_each(|waiter| waiter.send(&encode(&["SET", "k", "v"])));
                stop(&mut killer, command);
                let reply = show(&runner.reply());
                assert!(reply.contains("Script killed by user"), "{reply}");
                for waiter in &mut waiters {
                    assert_eq!(show(&waiter.reply()), "+OK\r\n", "it stood behind the script, and was not lost");
                }
                assert_eq!(killer.line("GET k"), "$1\r\nv\r\n");
            }
            wait_until("the reserve to be closed", PATIENCE, || server.clients_connected() == 1);
        }
    }
}

#[test]
fn a_server_that_runs_a_script_for_long_answers_as_redis_does_and_is_not_down() {
    if is_direct() {
        return;
    }
    for kind in KINDS {
        let server = RedisServer::start_with(&["--busy-reply-threshold", "50"]);
        let rmux = Rmux::in_front_of(kind, &[&server], &["-remoteTimeout=500"]);
        let (mut runner, mut client) = (rmux.client(), rmux.client());
        runner.send(&encode(&["EVAL", FOR_EVER, "0"]));
        // Its time passes, and the next connection shakes hands with a server that is busy.
        assert!(show(&runner.reply()).starts_with("-ERR No reply from "));
        for _ in 0..3 {
            assert!(client.line("GET k").starts_with("-BUSY "));
            assert!(client.line("SELECT 1").starts_with("+OK"));
            assert!(client.line("GET k").starts_with("-BUSY "));
            assert!(client.line("SELECT 0").starts_with("+OK"));
        }
        stop(&mut client, "SCRIPT KILL");
        // It is stopped a moment after that was said.
        wait_until("the script to have ended", PATIENCE, || client.line("GET k") == "$-1\r\n");
        assert!(!rmux.log().contains(" is down"), "{}", rmux.log());
    }
}
