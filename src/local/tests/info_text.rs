//! INFO of several servers, to the byte.

use super::*;

/// What two of them say of themselves.
pub(super) const SERVERS_TELL: [&str; 2] = [
    "used_memory:100\r\nkeyspace_hits:7\r\nblocked_clients:1\r\ndb0:keys=1\r\nused_cpu_sys:1.000000\r\n",
    "blocked_clients:2\r\nused_memory:200\r\nused_cpu_sys:1.500000\r\ncmdstat_get:calls=3\r\nerrorstat_ERR:count=5\r\n\
     db0:keys=2\r\n",
];

#[test]
fn info_of_several_servers_adds_up_what_they_tell_and_ends_with_the_lines_of_the_original() {
    let mut talk = Talk { servers: THREE, ..Talk::new() };
    let reply = talk.say("INFO");
    let (head, text) = reply.split_once("\r\n").expect("a bulk string");
    let text = text.strip_suffix("\r\n").expect("a bulk string");
    assert_eq!(head, format!("${}", text.len()));

    let lines: Vec<&str> = text.split("\r\n").collect();
    let last = [
        "",
        "# Rmux",
        &format!("rmux_version: {}", env!("CARGO_PKG_VERSION")),
        "rust_version: 1.85",
        "active_endpoints: 1",
        "total_endpoints: 3",
        "",
    ];
    assert_eq!(lines[lines.len() - 7..], last);
    let sections = "# Server|redis_version:7.0.15|redis_git_sha1:00000000|redis_git_dirty:0|\
                    redis_build_id:0000000000000000|redis_mode:standalone|os:Linux|arch_bits:64|process_id:77|\
                    run_id:0123456789abcdeffedcba98765432100000004d|tcp_port:6379|uptime_in_seconds:200000|\
                    uptime_in_days:2||# Clients|connected_clients:5|blocked_clients:3||# Memory|used_memory:300||\
                    # Persistence|loading:0||\
                    # Stats|total_connections_received:9|total_commands_processed:60|rejected_connections:1|\
                    acl_access_denied_auth:6|resends:2|moves:5|held:7|resubscriptions:3|messages:4|servers_summed:2|\
                    keyspace_hits:7||\
                    # Replication|role:master|connected_slaves:0||\
                    # CPU|used_cpu_sys:2.500000||# Commandstats|cmdstat_get:calls=3||\
                    # Errorstats|errorstat_ERR:count=5||\
                    # Cluster|cluster_enabled:0||# Keyspace|db0:keys=3||\
                    # Server_0|server0_address:redis1:6379|server0_state:up|server0_connections:1|\
                    server0_outstanding:2|server0_requests:30|server0_errors:4||\
                    # Server_1|server1_address:/run/redis.sock|server1_state:down|server1_connections:1|\
                    server1_outstanding:2|server1_requests:30|server1_errors:4||\
                    # Server_2|server2_address:[::1]:6381|server2_state:probing|server2_connections:0|\
                    server2_outstanding:0|server2_requests:0|server2_errors:0";
    assert_eq!(lines[..lines.len() - 7].join("|"), sections);

    let introduction = Introduction { server: "valkey".into(), version: "9.0.1".into(), ..Introduction::default() };
    let valkey = Talk { servers: THREE, introduction, ..Talk::new() }.say("INFO");
    let told = "\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.0.1\r\n";
    assert!(valkey.contains(told), "{valkey}");

    let mut talk = Talk { servers: THREE, ..Talk::in_resp3() };
    let expected = format!("={}\r\ntxt:{text}\r\n", text.len() + 4);
    talk.hears("INFO replication", &expected);
}
