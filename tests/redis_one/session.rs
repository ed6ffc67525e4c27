//! What each client has for itself, though all share a connection: database, protocol, name; and what rmux answers.
//!
//! Where rmux must equal Redis byte for byte, `same_as_redis` has the table. Here stands what is rmux's own: a session
//! that is virtual, and SELECT that always succeeds.

use crate::support::client::{Client, body, bulk, encode, show};
use crate::support::proxy::{Front, PATIENT, Rmux};
use crate::support::server::RedisServer;
use crate::support::{KINDS, Kind, PATIENCE, is_direct, wait_until};

#[test]
fn each_client_has_its_own_database() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let mut clients: Vec<Client> = (0..16).map(|_| front.client()).collect();
        for (database, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.line(&format!("SELECT {database}")), "+OK\r\n");
        }
        for (database, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.line(&format!("SET where {database}")), "+OK\r\n");
        }
        for (database, client) in clients.iter_mut().enumerate().rev() {
            assert_eq!(show(&client.cmd(&["GET", "where"])), show(&bulk(database.to_string().as_bytes())));
        }
        // As Redis itself has it.
        let mut direct = server.client();
        for database in 0..16 {
            direct.line(&format!("SELECT {database}"));
            assert_eq!(direct.line("GET where"), show(&bulk(database.to_string().as_bytes())));
        }
        // A newcomer starts in database 0, whoever used the connection before.
        assert_eq!(front.client().line("GET where"), "$1\r\n0\r\n");
    }
}

#[test]
fn select_in_a_pipeline_holds_for_what_is_behind_it() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut client = front.client();
    let mut requests = Vec::new();
    for round in 0..100 {
        let database = (round % 3).to_string();
        requests.extend(encode(&["SELECT", &database]));
        requests.extend(encode(&["SET", "where", &format!("{database}:{round}")]));
        requests.extend(encode(&["GET", "where"]));
    }
    client.send(&requests);
    for round in 0..100 {
        assert_eq!(show(&client.reply()), "+OK\r\n");
        assert_eq!(show(&client.reply()), "+OK\r\n");
        let wanted = bulk(format!("{}:{round}", round % 3).as_bytes());
        assert_eq!(show(&client.reply()), show(&wanted), "round {round}");
    }
}

#[test]
fn a_database_that_does_not_exist_is_an_error_of_the_first_command() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[PATIENT]);
    let mut client = rmux.client();
    let mut neighbour = rmux.client();
    assert_eq!(client.line("SELECT 99"), "+OK\r\n");
    assert_eq!(client.line("GET k"), "-ERR DB index is out of range\r\n");
    assert_eq!(client.line("SET k v"), "-ERR DB index is out of range\r\n");
    assert_eq!(neighbour.line("GET k"), "$-1\r\n", "nothing was written anywhere");
    assert_eq!(client.line("SELECT 1"), "+OK\r\n");
    assert_eq!(client.line("SET k v"), "+OK\r\n", "the connection and the server are fine");
    assert_eq!(neighbour.line("GET k"), "$-1\r\n");
}

#[test]
fn the_database_outlives_the_connection_to_the_server() {
    if is_direct() {
        return;
    }
    for kind in KINDS {
        let server = RedisServer::start();
        let rmux = Rmux::in_front_of(kind, &[&server], &[PATIENT]);
        let mut third = rmux.client();
        let mut first = rmux.client();
        third.line("SELECT 3");
        assert_eq!(third.line("SET where 3"), "+OK\r\n");
        assert_eq!(first.line("SET where 0"), "+OK\r\n");
        for _ in 0..20 {
            server.cut_connections();
            // Reading only, so it may be asked again on a new connection.
            assert_eq!(third.line("GET where"), "$1\r\n3\r\n");
            assert_eq!(first.line("GET where"), "$1\r\n0\r\n");
        }
    }
}

#[test]
fn quit_answers_and_closes() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let mut client = front.client();
        client.send(&[encode(&["SET", "k", "v"]), encode(&["QUIT"]), encode(&["SET", "k", "late"])].concat());
        assert_eq!(show(&client.rest()), "+OK\r\n+OK\r\n");
        assert_eq!(front.client().line("GET k"), "$1\r\nv\r\n", "what came behind QUIT is dropped");
    }
}

#[test]
fn hello_says_what_redis_says() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        // The version is the server's own from the moment on that rmux has met it.
        assert_eq!(front.client().line("GET nothing"), "$-1\r\n");
        for hello in ["HELLO", "HELLO 2", "HELLO 3", "HELLO 3 SETNAME me", "hello 2 setname me"] {
            let wanted = without_own(&Client::connect(&server.address(kind)).line(hello));
            let got = without_own(&front.client().line(hello));
            assert_eq!(got, wanted, "{kind:?}: {hello}");
        }
        // The name that HELLO gave, and the protocol that it kept.
        let mut client = front.client();
        client.line("HELLO 3 SETNAME me");
        assert_eq!(client.line("CLIENT GETNAME"), "$2\r\nme\r\n");
        assert!(client.line("HELLO").starts_with("%7\r\n"), "HELLO alone keeps the protocol");
        assert_eq!(client.line("HELLO 9"), "-NOPROTO unsupported protocol version\r\n");
        assert_eq!(client.line("GET nothing"), "_\r\n", "a refused HELLO changes nothing");
        client.line("HELLO 2");
        assert_eq!(client.line("GET nothing"), "$-1\r\n");
    }
}

#[test]
fn client_id_is_the_clients_own() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut one = front.client();
    let mut two = front.client();
    let first = one.line("CLIENT ID");
    assert!(first.starts_with(':'), "{first}");
    assert_ne!(first, two.line("CLIENT ID"));
    assert_eq!(first, one.line("CLIENT ID"));
    assert!(one.line("HELLO").contains(&format!("$2\r\nid\r\n{first}")), "HELLO names the same id");
}

#[test]
fn names_are_not_shared() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut one = front.client();
    let mut two = front.client();
    assert_eq!(one.line("CLIENT SETNAME one"), "+OK\r\n");
    assert_eq!(two.line("CLIENT GETNAME"), "$-1\r\n");
    assert_eq!(two.line("CLIENT SETNAME two"), "+OK\r\n");
    assert_eq!(one.line("CLIENT GETNAME"), "$3\r\none\r\n");
    assert_eq!(two.line("CLIENT GETNAME"), "$3\r\ntwo\r\n");
}

#[test]
fn what_libraries_say_of_themselves_is_taken() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[PATIENT]);
    let mut client = rmux.client();
    assert_eq!(client.line("CLIENT SETINFO LIB-NAME redis-py"), "+OK\r\n");
    assert_eq!(client.line("CLIENT SETINFO LIB-VER 5.0"), "+OK\r\n");
    assert_eq!(client.line("COMMAND COUNT").as_bytes()[0], b':');
}

#[test]
fn info_is_the_servers() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut client = front.client();
    let text = client.cmd(&["INFO", "server"]);
    assert_eq!(text[0], b'$');
    assert!(show(body(&text)).contains(&format!("process_id:{}\r\n", server.process_id())));
    client.line("HELLO 3");
    let text = client.cmd(&["INFO"]);
    assert_eq!(text[0], b'=', "a verbatim string in protocol 3");
    assert!(show(body(&text)).contains("redis_version:"));
}

#[test]
fn clients_of_both_protocols_get_replies_in_their_own() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let mut two = front.client();
        let mut three = front.client();
        assert!(three.line("HELLO 3").starts_with('%'));
        assert_eq!(two.line("HSET h a 1"), ":1\r\n");
        for _ in 0..50 {
            two.send(&[encode(&["HGETALL", "h"]), encode(&["GET", "nothing"])].concat());
            three.send(&[encode(&["HGETALL", "h"]), encode(&["GET", "nothing"])].concat());
            assert_eq!(show(&three.reply()), "%1\r\n$1\r\na\r\n$1\r\n1\r\n");
            assert_eq!(show(&three.reply()), "_\r\n");
            assert_eq!(show(&two.reply()), "*2\r\n$1\r\na\r\n$1\r\n1\r\n");
            assert_eq!(show(&two.reply()), "$-1\r\n");
        }
        // There and back within one pipeline.
        let mut both = front.client();
        both.send(&[encode(&["HELLO", "3"]), encode(&["HGETALL", "h"])].concat());
        both.send(&[encode(&["HELLO", "2"]), encode(&["HGETALL", "h"])].concat());
        let replies = both.replies(4);
        assert_eq!((replies[0][0], replies[1][0]), (b'%', b'%'));
        assert_eq!((replies[2][0], replies[3][0]), (b'*', b'*'));
    }
}

#[test]
fn refused_and_unknown_commands_keep_the_connection() {
    if is_direct() {
        return;
    }
    for kind in KINDS {
        let server = RedisServer::start();
        let rmux = Rmux::in_front_of(kind, &[&server], &[PATIENT]);
        let mut client = rmux.client();
        for refused in [
            "CONFIG SET save x",
            "DEBUG SLEEP 0",
            "SHUTDOWN NOSAVE",
            "shutdown",
            "SAVE",
            "BGSAVE",
            "BGREWRITEAOF",
            "REPLICAOF NO ONE",
            "SLAVEOF NO ONE",
            "MONITOR",
            "SYNC",
            "PSYNC ? -1",
            "MIGRATE 127.0.0.1 1 k 0 1",
        ] {
            assert_eq!(client.line(refused), "-ERR This command is not supported\r\n", "{refused}");
        }
        // Inline, and in any quoting, it is the same command.
        for inline in [&b"SHUTDOWN NOSAVE\r\n"[..], b"\"SHUT\\x44OWN\" NOSAVE\r\n", b"  'debug' sleep 0\n"] {
            client.send(inline);
            assert_eq!(show(&client.reply()), "-ERR This command is not supported\r\n", "{}", show(inline));
        }
        assert!(client.line("NOSUCHCOMMAND").starts_with("-ERR unknown command 'NOSUCHCOMMAND'"));
        assert_eq!(client.line("SET k v"), "+OK\r\n");
        assert_eq!(server.client().line("PING"), "+PONG\r\n");
    }
}

#[test]
fn what_config_get_tells_is_the_servers_but_nothing_of_its_secrets() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start_with(&["--maxmemory", "77mb", "--maxmemory-policy", "allkeys-lfu"]);
    server.client().line("CONFIG SET masterauth hidden");
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[PATIENT]);
    let mut client = rmux.client();
    assert_eq!(client.line("CONFIG GET maxmemory"), "*2\r\n$9\r\nmaxmemory\r\n$8\r\n80740352\r\n");
    assert!(client.line("CONFIG GET maxmemory-*").contains("allkeys-lfu"));
    for pattern in ["masterauth", "MASTERAUTH", "master*", "requirepass", "?asterauth", "maste[r]auth"] {
        assert_eq!(client.line(&format!("CONFIG GET {pattern}")), "*0\r\n", "{pattern}");
    }
    for request in ["CONFIG GET *", "CONFIG GET save masterauth *", "CONFIG GET timeout *auth"] {
        let told = client.line(request);
        assert!(told.starts_with('*') && !told.contains("hidden") && !told.contains("masterauth"), "{told}");
    }
    client.send(&[encode(&["MULTI"]), encode(&["CONFIG", "GET", "*"]), encode(&["EXEC"])].concat());
    let told = show(&client.replies(3).concat());
    assert!(told.starts_with("+OK\r\n+QUEUED\r\n*1\r\n*") && !told.contains("hidden"), "{told}");
    client.line("HELLO 3");
    assert_eq!(client.line("CONFIG GET timeout"), "%1\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
}

#[test]
fn clients_of_several_threads_have_numbers_of_their_own() {
    if is_direct() {
        return;
    }
    let servers = [RedisServer::start(), RedisServer::start()];
    let connections: Vec<&RedisServer> = servers.iter().collect();
    let rmux = Rmux::in_front_of(Kind::Unix, &connections, &[PATIENT, "-maxProcesses=4"]);
    let mut clients: Vec<Client> = (0..60).map(|_| rmux.client()).collect();
    let mut numbers: Vec<String> = clients.iter_mut().map(|client| client.line("CLIENT ID")).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), clients.len());
    // All of them count them all; the connections of the start are gone by then, or soon.
    for client in &mut clients {
        wait_until("everybody is counted", PATIENCE, || client.line("INFO").contains("connected_clients:60\r\n"));
    }
}

/// A reply of HELLO without what is rmux's own: the client's number, and the list of modules at its end, of which rmux
/// has none.
fn without_own(hello: &str) -> String {
    let (before, after) = hello.split_once("$2\r\nid\r\n:").expect("HELLO names an id");
    let (_, after) = after.split_once("\r\n").expect("an id ends");
    let (after, _) = after.split_once("$7\r\nmodules\r\n").expect("HELLO lists the modules");
    format!("{before}{after}")
}

#[test]
fn replies_that_are_made_sure_of_are_those_of_redis() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &["-strictReplies=true"]);
    let mut client = rmux.client();
    for _ in 0..100 {
        client.send(&[encode(&["EVAL", "return ARGV[1]", "0", "a"]), encode(&["ECHO", "b"])].concat());
        assert_eq!(show(&client.reply()) + &show(&client.reply()), "$1\r\na\r\n$1\r\nb\r\n");
        let eval = encode(&["EVAL", "return redis.error_reply('no')", "0"]);
        client.send(&[encode(&["MULTI"]), eval.clone(), encode(&["EXEC"]), eval].concat());
        let replies: String = (0..4).map(|_| show(&client.reply())).collect();
        assert_eq!(replies, "+OK\r\n+QUEUED\r\n*1\r\n-ERR no\r\n-ERR no\r\n");
        assert_eq!(client.line("FUNCTION LIST"), "*0\r\n");
    }
}
