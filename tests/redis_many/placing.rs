//! Which key lives on which server, and what that means for a command.

use crate::support::client::{Client, bulk, encode, show, text};
use crate::support::golden::{key_for_each, keys_of, rows};
use crate::support::proxy::{PATIENT, Rmux, connections_flag};
use crate::support::server::RedisServer;
use crate::support::{Kind, PATIENCE, wait_until};

/// `count` servers.
fn servers(count: usize) -> Vec<RedisServer> {
    (0..count).map(|_| RedisServer::start()).collect()
}

/// An rmux in front of all of them.
fn rmux_for(kind: Kind, servers: &[RedisServer], flags: &[&str]) -> Rmux {
    Rmux::in_front_of(kind, &servers.iter().collect::<Vec<_>>(), flags)
}

/// The indexes of the servers that have this key.
fn holders(servers: &mut [Client], key: &[u8]) -> Vec<usize> {
    let has = |server: &mut Client| server.cmd(&[b"EXISTS".as_slice(), key]) == b":1\r\n";
    (0..servers.len()).filter(|index| has(&mut servers[*index])).collect()
}

#[test]
fn keys_live_where_the_golden_ring_says() {
    for (kind, count) in [(Kind::Tcp, 2), (Kind::Unix, 3), (Kind::Tcp, 4), (Kind::Unix, 5), (Kind::Tcp, 8)] {
        let servers = servers(count);
        let rmux = rmux_for(kind, &servers, &[PATIENT]);
        let mut client = rmux.client();
        let mut direct: Vec<Client> = servers.iter().map(RedisServer::client).collect();
        let rows: Vec<_> = rows().into_iter().filter(|row| row.servers == count && row.down.is_none()).collect();
        assert!(rows.len() > 50, "the table has rows for {count} servers");
        for row in rows {
            assert_eq!(show(&client.cmd(&[b"SET".as_slice(), &row.key, b"v"])), "+OK\r\n");
            assert_eq!(holders(&mut direct, &row.key), [row.server], "{count} servers, {row:?}");
            assert_eq!(show(&client.cmd(&[b"GET".as_slice(), &row.key])), "$1\r\nv\r\n");
        }
    }
}

#[test]
fn keys_of_a_dead_server_live_where_the_golden_ring_says() {
    for count in [2, 3, 4, 5, 7, 8] {
        let rows: Vec<_> = rows().into_iter().filter(|row| row.servers == count && row.down.is_some()).collect();
        let dead = rows[0].down.expect("these rows have one");
        let mut servers = servers(count);
        servers[dead].kill();
        let rmux = rmux_for(Kind::Unix, &servers, &[PATIENT]);
        let mut client = rmux.client();
        let mut direct: Vec<(usize, Client)> =
            (0..count).filter(|index| *index != dead).map(|index| (index, servers[index].client())).collect();
        wait_until("rmux to notice the dead server", PATIENCE, || {
            rmux.info("active_endpoints") == (count - 1).to_string()
        });
        for row in rows {
            assert_eq!(row.down, Some(dead));
            assert_eq!(show(&client.cmd(&[b"SET".as_slice(), &row.key, b"v"])), "+OK\r\n");
            let mut found = Vec::new();
            for (index, server) in &mut direct {
                if server.cmd(&[b"EXISTS".as_slice(), &row.key]) == b":1\r\n" {
                    found.push(*index);
                }
            }
            assert_eq!(found, [row.server], "{count} servers, {row:?}");
        }
    }
}

#[test]
fn tcp_servers_come_before_unix_servers() {
    let servers = servers(4);
    let tcp = connections_flag(&[servers[0].address(Kind::Tcp), servers[1].address(Kind::Tcp)]);
    let unix = connections_flag(&[servers[2].address(Kind::Unix), servers[3].address(Kind::Unix)]);
    let rmux = Rmux::start(Kind::Unix, &[&unix, &tcp]);
    let mut client = rmux.client();
    let mut direct: Vec<Client> = servers.iter().map(RedisServer::client).collect();
    for server in 0..4 {
        for key in keys_of(server, 4) {
            client.cmd(&[b"SET".as_slice(), &key, b"v"]);
            assert_eq!(holders(&mut direct, &key), [server]);
        }
    }
}

#[test]
fn commands_with_several_keys_work_only_when_those_share_a_server() {
    const CROSSSLOT: &str = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    let servers = servers(3);
    let rmux = rmux_for(Kind::Unix, &servers, &[PATIENT]);
    let mut client = rmux.client();
    let together = keys_of(1, 3);
    let [a, b, c] = [&together[0], &together[1], &together[2]];
    let away = &keys_of(2, 3)[0];
    let mut line = |parts: &[&[u8]]| show(&client.cmd(parts));
    assert_eq!(line(&[b"RENAME", a, b]), "-ERR no such key\r\n");
    assert_eq!(line(&[b"SADD", a, b"x", b"y"]), ":2\r\n");
    assert_eq!(line(&[b"SADD", b, b"y", b"z"]), ":2\r\n");
    assert_eq!(line(&[b"SADD", away, b"z"]), ":1\r\n");
    assert_eq!(line(&[b"SINTER", a, b]), "*1\r\n$1\r\ny\r\n");
    assert_eq!(line(&[b"SUNIONSTORE", c, a, b]), ":3\r\n");
    assert_eq!(line(&[b"EVAL", b"return #KEYS", b"2", a, b]), ":2\r\n");
    assert_eq!(line(&[b"ZUNIONSTORE", c, b"2", a, b]), ":3\r\n");
    let apart: &[&[&[u8]]] = &[
        &[b"SINTER", a, away],
        &[b"SUNIONSTORE", away, a, b],
        &[b"SMOVE", a, away, b"x"],
        &[b"RENAME", a, away],
        &[b"COPY", a, away],
        &[b"LMOVE", a, away, b"LEFT", b"RIGHT"],
        &[b"LMPOP", b"2", a, away, b"LEFT"],
        &[b"EVAL", b"return #KEYS", b"2", a, away],
        &[b"ZUNIONSTORE", c, b"2", a, away],
        &[b"ZUNION", b"2", away, a],
        &[b"PFCOUNT", a, away],
        &[b"BITOP", b"OR", c, a, away],
        &[b"MSETNX", a, b"1", away, b"2"],
        &[b"SORT", a, b"STORE", away],
        &[b"GEOSEARCHSTORE", a, away, b"FROMLONLAT", b"1", b"1", b"BYRADIUS", b"1", b"m"],
        &[b"XREAD", b"STREAMS", a, away, b"0", b"0"],
    ];
    for request in apart {
        assert_eq!(line(request), CROSSSLOT, "{}", show(request[0]));
    }
    assert_eq!(line(&[b"SCARD", a]), ":2\r\n", "nothing was changed, and the connection is there");
    assert_eq!(line(&[b"SCARD", away]), ":1\r\n");
}

#[test]
fn order_holds_over_several_servers() {
    let servers = servers(4);
    let rmux = rmux_for(Kind::Unix, &servers, &[PATIENT]);
    let keys = key_for_each(4);
    let mut client = rmux.client();
    let mut requests = Vec::new();
    let mut wanted = Vec::new();
    for round in 0..1_000 {
        // Hops from server to server; big values make one of them slower than the others.
        let key = &keys[(round * 7 + round / 3) % 4];
        let value = format!("{round}:").into_bytes().repeat(if round % 97 == 0 { 20_000 } else { 1 });
        requests.extend(encode(&[b"SET".as_slice(), key, &value]));
        wanted.push(b"+OK\r\n".to_vec());
        requests.extend(encode(&[b"GET".as_slice(), key]));
        wanted.push(bulk(&value));
        if round % 5 == 0 {
            requests.extend(encode(&["ECHO", "local"]));
            wanted.push(bulk(b"local"));
        }
    }
    let mut writer = client.writer();
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &requests));
    for (number, wanted) in wanted.iter().enumerate() {
        assert_eq!(show(&client.reply()), show(wanted), "reply {number}");
    }
    sender.join().expect("the sender does not panic").expect("everything is taken");
}

#[test]
fn big_values_from_several_servers_do_not_wait_for_each_other() {
    // Each alone is more than rmux keeps for a client that does not read; those behind come before their turn.
    const SIZE: usize = 6 << 20;
    let servers = servers(3);
    let rmux = rmux_for(Kind::Unix, &servers, &[PATIENT]);
    let keys = key_for_each(3);
    let mut client = rmux.client();
    for (number, key) in keys.iter().enumerate() {
        let value = vec![b'a' + number as u8; SIZE];
        assert_eq!(show(&client.cmd(&[b"SET".as_slice(), key, &value])), "+OK\r\n");
    }
    for order in [[0, 1, 2], [2, 1, 0], [1, 1, 0], [0, 2, 2]] {
        client.send(&order.map(|server: usize| encode(&[b"GET".as_slice(), &keys[server]])).concat());
        for server in order {
            let value = vec![b'a' + server as u8; SIZE];
            assert!(client.reply() == bulk(&value), "{order:?}: the value of server {server}");
        }
    }
}

#[test]
fn a_clients_database_is_its_own_on_every_server() {
    let servers = servers(3);
    let rmux = rmux_for(Kind::Tcp, &servers, &[PATIENT]);
    let keys = key_for_each(3);
    let mut clients: Vec<Client> = (0..4).map(|_| rmux.client()).collect();
    for (database, client) in clients.iter_mut().enumerate() {
        client.line(&format!("SELECT {database}"));
        for key in &keys {
            let value = database.to_string();
            assert_eq!(show(&client.cmd(&[b"SET".as_slice(), key, value.as_bytes()])), "+OK\r\n");
        }
    }
    for (database, client) in clients.iter_mut().enumerate() {
        for key in &keys {
            let value = bulk(database.to_string().as_bytes());
            assert_eq!(show(&client.cmd(&[b"GET".as_slice(), key])), show(&value));
        }
    }
}

#[test]
fn info_adds_up_what_the_servers_tell_and_ends_with_lines_of_the_original() {
    let mut servers = servers(3);
    let rmux = rmux_for(Kind::Unix, &servers, &[PATIENT]);
    let mut client = rmux.client();
    let _neighbour = rmux.client();
    let wait_for = |field: &str, value: &str| {
        wait_until(&format!("INFO's {field} to be {value}"), PATIENCE, || rmux.info(field) == value);
    };
    wait_for("active_endpoints", "3");
    // The helper's own connection may not be gone yet when it asks again.
    wait_until("the other clients to be gone", PATIENCE, || {
        text(&client.cmd(&["INFO"])).contains("\r\nconnected_clients:2\r\n")
    });
    let reply = client.cmd(&["INFO"]);
    assert_eq!(reply[0], b'$');
    let info = text(&reply);
    let (_, original) = info.split_once("\r\n# Rmux\r\n").unwrap_or_else(|| panic!("{info}"));
    let lines: Vec<&str> = original.split("\r\n").collect();
    assert_eq!(lines.len(), 5, "{info}");
    assert_eq!(lines[0], format!("rmux_version: {}", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("rust_version: "), "{info}");
    assert_eq!(lines[2], "active_endpoints: 3");
    assert_eq!(lines[3], "total_endpoints: 3");
    assert_eq!(rmux.info("process_id"), rmux.process_id().to_string());
    // Each once, with or without a blank: some programs take the first line of a name, and some the last.
    for field in "redis_version redis_mode arch_bits redis_build_id uptime_in_seconds run_id loading process_id \
                  connected_clients"
        .split(' ')
    {
        assert_eq!(info.matches(&format!("\r\n{field}:")).count(), 1, "{field}: {info}");
    }
    for key in 0..100 {
        assert_eq!(client.line(&format!("SET {key} v")), "+OK\r\n");
    }
    assert_eq!(rmux.info("db0"), "keys=100,expires=0,avg_ttl=0");
    assert_eq!(client.line("GET 1"), "$1\r\nv\r\n");
    assert_eq!(client.line("GET none"), "$-1\r\n");
    assert_eq!((rmux.info("keyspace_hits"), rmux.info("keyspace_misses")), ("1".to_owned(), "1".to_owned()));
    let memory: u64 = rmux.info("used_memory").parse().expect("a number");
    assert!(memory > 3 * 500_000, "three servers take more than {memory}");
    let every = text(&client.cmd(&["INFO", "everything"]));
    assert!(every.contains("\r\ncmdstat_set:calls=100,usec="), "{every}");
    for server in &servers {
        let address = server.address(Kind::Unix).flag_value();
        assert!(info.contains(&address), "a section for {address}: {info}");
    }
    servers[1].kill();
    wait_for("active_endpoints", "2");
    assert_eq!(rmux.info("total_endpoints"), "3");
    client.line("HELLO 3");
    assert_eq!(client.cmd(&["INFO"])[0], b'=', "a verbatim string in protocol 3");
    assert_eq!(client.line("ROLE"), "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
}

#[test]
fn local_answers_need_no_server() {
    let servers = servers(2);
    let rmux = rmux_for(Kind::Unix, &servers, &[PATIENT]);
    drop(servers);
    let mut client = rmux.client();
    assert_eq!(client.line("PING"), "+PONG\r\n");
    assert_eq!(client.line("PING hello"), "$5\r\nhello\r\n");
    assert_eq!(client.line("ECHO hello"), "$5\r\nhello\r\n");
    assert_eq!(client.line("SELECT 7"), "+OK\r\n");
    assert_eq!(client.line("CLIENT SETNAME me"), "+OK\r\n");
    assert_eq!(client.line("CLIENT GETNAME"), "$2\r\nme\r\n");
    assert!(text(&client.cmd(&["INFO"])).contains("rmux_version: "));
    assert!(client.line("HELLO 3").starts_with('%'));
    assert_eq!(client.line("CONFIG GET appendonly"), "%1\r\n$10\r\nappendonly\r\n$2\r\nno\r\n");
    assert!(client.line("NOSUCH").starts_with("-ERR unknown command 'NOSUCH'"));
    assert_eq!(client.line("SHUTDOWN"), "-ERR This command is not supported\r\n");
    assert_eq!(client.line("QUIT"), "+OK\r\n");
    client.expect_closed();
}
