//! Wrong passwords: answered late and in their place, counted, told of, and nobody else's business.

use super::*;
use crate::users::Secret;

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

fn guarded() -> (Bench, Vec<Id>) {
    Bench::ready(2, |settings| {
        settings.users.add("default", Secret::new(*b"pw")).expect("a good name");
        settings.users.add("bob", Secret::new(*b"two")).expect("a good name");
    })
}

#[test]
fn a_wrong_password_is_answered_late_and_in_its_place() {
    let (mut bench, _) = guarded();
    let client = bench.client();
    bench.say(client, "AUTH pw\r\nPING\r\nAUTH bob x\r\nPING\r\nHELLO 3 AUTH bob y\r\nECHO z\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+PONG\r\n");
    assert!(!bench.proxy.is_listening_to(Conn::Client(client)), "nothing is read, and so nothing kept");
    bench.pass(99);
    assert_eq!(bench.told(client), "");
    bench.pass(2);
    assert_eq!(bench.told(client), format!("{WRONG}+PONG\r\n"));
    bench.pass(150);
    assert_eq!(bench.told(client), "", "the second waits longer");
    bench.pass(52);
    assert_eq!(bench.told(client), format!("{WRONG}$1\r\nz\r\n"));
    assert!(bench.proxy.is_listening_to(Conn::Client(client)));
}

#[test]
fn guesses_on_many_connections_wait_for_each_other_and_right_ones_do_not() {
    let (mut bench, _) = guarded();
    let mut guesses = 0;
    let begun = bench.now;
    let mut guesser = bench.client();
    while bench.now < begun + 20_000 {
        // A new connection for each guess.
        bench.say(guesser, "AUTH guess\r\n");
        while bench.told(guesser).is_empty() {
            bench.pass(10);
        }
        bench.proxy.handle_client_end(guesser);
        bench.turn();
        guesser = bench.client();
        guesses += 1;
        let honest = bench.client();
        bench.say(honest, "AUTH bob two\r\nPING\r\n");
        assert_eq!(bench.told(honest), "+OK\r\n+PONG\r\n");
        bench.proxy.handle_client_end(honest);
        bench.turn();
    }
    assert!(guesses <= 25, "{guesses} in 20 s");
    bench.pass(10_001);
    bench.say(guesser, "AUTH guess\r\n");
    bench.pass(102);
    assert_eq!(bench.told(guesser), WRONG, "it is forgotten");
}

#[test]
fn it_is_counted_and_told_of_without_the_password() {
    let (mut bench, backends) = guarded();
    let clients = [bench.client(), bench.client()];
    bench.proxy.handle_peer(clients[0], "192.0.2.1:7".into());
    bench.say(clients[0], "AUTH \"b\\nob\" s3cr3t\r\n");
    bench.say(clients[1], "AUTH s3cr3t\r\n");
    bench.pass(1_000);
    bench.pass(1_000);
    let user = |user: &str| format!("gave a wrong password for user \"{user}\"");
    assert_eq!(
        bench.lines,
        [
            format!("WARN pool the bench: client {} from 192.0.2.1:7 {}", clients[0], user("b\\nob")),
            format!("WARN pool the bench: client {} {}", clients[1], user("default")),
        ]
    );
    let client = bench.client();
    bench.say(client, "AUTH pw\r\nINFO\r\n");
    backends.iter().for_each(|&backend| bench.answer(backend, "-ERR no\r\n"));
    assert!(bench.told(client).contains("\r\nacl_access_denied_auth:2\r\n"));
}

#[test]
fn who_leaves_meanwhile_is_seen_off_afterwards_and_the_end_does_not_wait_for_ever() {
    let (mut bench, _) = guarded();
    let (broken, left) = (bench.client(), bench.client());
    bench.say(broken, "AUTH x\r\n");
    bench.say(left, "AUTH x\r\n");
    bench.proxy.handle_client_broken(broken);
    bench.turn();
    assert_eq!(bench.closed, [Conn::Client(broken)]);
    bench.proxy.handle_shutdown();
    bench.turn();
    bench.pass(202);
    assert_eq!(bench.told(left), WRONG);
    assert!(bench.closed.contains(&Conn::Client(left)));
}

#[test]
fn a_transaction_is_no_place_to_guess() {
    let (mut bench, _) = guarded();
    let client = bench.client();
    bench.say(client, "AUTH bob two\r\n");
    bench.told(client);
    bench.say(client, "MULTI\r\nAUTH default x\r\nHELLO 2 AUTH default y\r\nEXEC\r\n");
    let told = bench.told(client);
    let replies: Vec<&str> = told.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(replies, ["+OK", "-ERR", "-ERR", "-EXECABORT"], "{told}");
}
