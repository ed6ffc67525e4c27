//! What a right configuration becomes. What a wrong one is told stands in `tests/cli.rs`, as the user sees it.

use super::*;
use crate::command::Policy;
use crate::read_from::ReadFrom;
use crate::ring::{HashTag, Spread};
use crate::users::Users;

fn flags(texts: &[(&str, &str)]) -> Vec<(&'static Key, String)> {
    texts.iter().map(|(name, text)| (key::find(name).expect("a key of the table"), (*text).to_owned())).collect()
}

fn from_flags(texts: &[(&str, &str)]) -> PoolConfig {
    let mut loaded = load(&flags(texts)).unwrap_or_else(|error| panic!("{texts:?}: {error}"));
    loaded.config.pools.remove(0)
}

/// The pools of a file with this text.
fn from_text(text: &str) -> Result<Loaded, Error> {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("rmux-config-{}-{number}.json", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let loaded = load(&flags(&[("config", path.to_str().unwrap())]));
    std::fs::remove_file(&path).unwrap();
    loaded
}

fn from_file(text: &str) -> Vec<PoolConfig> {
    from_text(text).unwrap_or_else(|error| panic!("{text}: {error}")).config.pools
}

fn tcp(host: &str, port: u16) -> Address {
    Address::Tcp { host: host.to_owned(), port }
}

fn unix(path: &str) -> Address {
    Address::Unix(path.into())
}

/// A server there.
fn at(address: Address) -> ServerConfig {
    ServerConfig::at(address)
}

#[test]
fn without_flags_it_is_the_original_without_flags() {
    let loaded = load(&[]).unwrap();
    let pool = PoolConfig {
        listen: tcp("localhost", 6379),
        socket_mode: 0o666,
        servers: vec![at(tcp("localhost", 6380)), at(tcp("localhost", 6381))],
        cluster: false,
        cluster_announce: None,
        availability_zone: None,
        sentinels: vec![],
        sentinel_credentials: None,
        reactors: 1,
        pool_size: 50,
        lease_max: 0,
        failover: true,
        read_from: ReadFrom::Master,
        multi_key: true,
        strict_replies: false,
        spread: Spread::default(),
        members: Vec::new(),
        timeouts: Timeouts::default(),
        limits: Limits::default(),
        users: Users::default(),
        credentials: None,
        remote_password_file: None,
        remote_tls: None,
        sentinel_tls: None,
        local_tls: None,
        policy: Policy::default(),
        module_commands: vec![],
    };
    let config = Config {
        pools: vec![pool],
        debug: false,
        use_syslog: false,
        pid_file: None,
        drain_ms: 30_000,
        admin: None,
        graphite: None,
        timing: false,
        user: None,
        group: None,
    };
    assert_eq!(
        loaded,
        Loaded {
            config,
            has_file: false,
            test: false,
            against: None,
            healthcheck: false,
            top: false,
            warnings: vec![]
        }
    );
}

#[test]
fn the_specific_timeout_wins_in_any_order() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
        let all = [
            ("localTimeout", "30"),
            ("localWriteTimeout", "0"),
            ("remoteTimeout", "45"),
            ("remoteConnectTimeout", "60"),
        ];
        let given: Vec<_> = order.into_iter().map(|index| all[index]).collect();
        let expected = Timeouts {
            local_read_ms: 30,
            local_write_ms: 0,
            local_request_ms: 60_000,
            remote_connect_ms: 60,
            remote_read_ms: 45,
            remote_write_ms: 45,
            ..Timeouts::default()
        };
        assert_eq!(from_flags(&given).timeouts, expected, "{given:?}");
    }
    let pools = from_file(
        r#"[{"port": 1, "tcpConnections": ["a:1"], "remoteReadTimeout": 50, "remoteTimeout": 45,
             "localReadTimeout": 7}]"#,
    );
    assert_eq!((pools[0].timeouts.remote_read_ms, pools[0].timeouts.remote_write_ms), (50, 45));
    assert_eq!((pools[0].timeouts.local_read_ms, pools[0].timeouts.local_write_ms), (7, 0));
}

#[test]
fn a_remote_timeout_of_zero_is_as_if_not_given() {
    let all_zero = [
        ("remoteTimeout", "0"),
        ("remoteConnectTimeout", "0"),
        ("remoteReadTimeout", "0"),
        ("remoteWriteTimeout", "0"),
    ];
    assert_eq!(from_flags(&all_zero).timeouts, Timeouts::default());
    let timeouts = from_flags(&[("remoteTimeout", "2000"), ("remoteReadTimeout", "0")]).timeouts;
    assert_eq!(timeouts.remote_read_ms, 2000, "as the original took it");
}

#[test]
fn servers_keep_their_order_tcp_first() {
    let pool = from_flags(&[("unixConnections", " /b  /a "), ("tcpConnections", "  z:1   a:2\t[::1]:3 ")]);
    let expected = [tcp("z", 1), tcp("a", 2), tcp("::1", 3), unix("/b"), unix("/a")].map(at);
    assert_eq!(pool.servers, expected);
    let pools = from_file(r#"[{"host": "h", "unixConnections": ["/b"], "tcpConnections": ["z:1", "a:2"]}]"#);
    assert_eq!(pools[0].servers, [tcp("z", 1), tcp("a", 2), unix("/b")].map(at));
}

#[test]
fn unix_servers_alone_are_meant_alone() {
    assert_eq!(from_flags(&[("unixConnections", "/a")]).servers, [at(unix("/a"))]);
    let both = from_flags(&[("unixConnections", "/a"), ("tcpConnections", "")]);
    assert_eq!(both.servers, [at(unix("/a"))]);
    assert_eq!(from_flags(&[("unixConnections", "")]).servers.len(), 2, "nothing said: the default");
}

#[test]
fn the_socket_wins_over_host_and_port_and_each_has_a_default() {
    assert_eq!(from_flags(&[("host", "[::1]")]).listen, tcp("::1", 6379));
    assert_eq!(from_flags(&[("port", "7000")]).listen, tcp("localhost", 7000));
    assert_eq!(from_flags(&[("socket", "/s"), ("port", "7000")]).listen, unix("/s"));
    assert_eq!(from_flags(&[("socket", "")]).listen, tcp("localhost", 6379), "an empty one is none");

    let listen = |said: &str| from_file(&format!(r#"[{{{said}, "tcpConnections": ["a:1"]}}]"#))[0].listen.clone();
    assert_eq!(listen(r#""port": 7000"#), tcp("localhost", 7000));
    assert_eq!(listen(r#""host": "0.0.0.0""#), tcp("0.0.0.0", 6379));
    assert_eq!(listen(r#""host": "h", "port": 1, "socket": "/s""#), unix("/s"));
    assert_eq!(listen(r#""socket": "", "host": "h", "port": 1"#), tcp("h", 1));
}

#[test]
fn null_is_as_if_not_there() {
    let pools = from_file(
        r#"[{"socket": null, "port": 1, "tcpConnections": ["a:1"], "unixConnections": null, "poolSize": null,
             "failover": null, "remoteReconnectInterval": null}]"#,
    );
    assert_eq!((pools[0].pool_size, pools[0].failover), (50, true));
}

#[test]
fn a_hash_tag_is_two_characters_or_none() {
    assert_eq!(from_flags(&[("hashTag", "")]).spread.tag, None);
    assert_eq!(from_flags(&[("hashTag", "<>")]).spread.tag, Some(HashTag { open: b'<', close: b'>' }));
    for text in ["{", "{x}", "é", "{{}}"] {
        let error = load(&flags(&[("hashTag", text)])).unwrap_err().to_string();
        assert!(error.starts_with(&format!("-hashTag: \"{text}\" is not two ASCII characters")), "{error}");
    }
}

#[test]
fn reads_go_where_there_is_somebody_to_answer_them() {
    let pool = |rest: &str| format!(r#"[{{"port": 1, {rest}}}]"#);
    let followed = r#""tcpConnections": [{"master": "a:1", "replicas": ["b:1"]}]"#;
    let named = r#""tcpConnections": [{"master": "cache-1"}], "sentinels": ["s:1"]"#;
    for servers in [followed, named] {
        assert_eq!(from_file(&pool(servers))[0].read_from, ReadFrom::Master);
        for read_from in ReadFrom::ALL {
            let text = pool(&format!(r#"{servers}, "readFrom": "{}""#, read_from.name()));
            assert_eq!(from_file(&text)[0].read_from, read_from);
        }
    }
    let alone = r#""tcpConnections": ["a:1"]"#;
    assert_eq!(from_file(&pool(&format!(r#"{alone}, "readFrom": "master""#)))[0].read_from, ReadFrom::Master);
    for (servers, read_from, words) in [
        (alone, "replica", "readFrom: has no meaning without replicas: give both"),
        (followed, "slave", "readFrom: \"slave\" is not one of master, preferReplica and replica"),
    ] {
        let error = from_text(&pool(&format!(r#"{servers}, "readFrom": "{read_from}""#))).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn each_row_of_the_table_reaches_a_field_of_its_own() {
    let plain = from_flags(&[]);
    let has_own_test = |key: &Key| matches!(key.group, Group::Access | Group::Commands | Group::Tls);
    for key in KEYS.iter().filter(|key| key.scope == Scope::Pool && !key.is_retired() && !has_own_test(key)) {
        let range = key.range();
        let text = match key.hint() {
            "path" => "/x",
            "host" => "example",
            "servers" => "example:1",
            "paths" => "/x",
            "octal" => "0600",
            "characters" => "{}",
            "table" => "modula",
            "function" => "md5",
            "" if ["strictReplies", "cluster"].contains(&key.name) => "true",
            "" => "false",
            // Some number that is allowed, and is no default.
            _ if key.name == "clientUnreadPauseBytes" => "2048",
            _ => range.rsplit(' ').next().unwrap(),
        };
        let changed = from_flags(&[(key.name, text)]);
        assert_ne!(changed, plain, "-{}={text}", key.name);
        let json = match key.hint() {
            "path" | "host" | "octal" | "characters" | "table" | "function" => format!("\"{text}\""),
            "servers" | "paths" => format!("[\"{text}\"]"),
            _ => text.to_owned(),
        };
        let base = match key.name {
            "host" => r#""port": 6379, "tcpConnections": ["localhost:6380", "localhost:6381"]"#,
            "tcpConnections" => r#""port": 6379"#,
            "unixConnections" => r#""port": 6379"#,
            _ => r#""host": "localhost", "tcpConnections": ["localhost:6380", "localhost:6381"]"#,
        };
        let in_file = from_file(&format!(r#"[{{"{}": {json}, {base}}}]"#, key.name));
        assert_eq!(in_file, [changed], "{}: a flag and the file say the same", key.name);
    }
}

#[test]
fn the_ends_of_every_range_are_allowed_and_the_next_numbers_are_not() {
    for key in KEYS {
        let range = key.range();
        let Some((low, high)) = range.split_once(" to ") else {
            continue;
        };
        let radix = if key.hint() == "octal" { 8 } else { 10 };
        let number = |text| i128::from_str_radix(text, radix).unwrap();
        let shown = |number: i128| {
            if radix == 8 { format!("{number:o}") } else { number.to_string() }
        };
        let mut draft = Draft::default();
        for text in [low, high] {
            let stored = key.read_text(text).and_then(|value| key.store(value, &mut draft));
            assert_eq!(stored, Ok(()), "-{}={text}", key.name);
        }
        for beyond in [number(low) - 1, number(high) + 1, i128::from(u64::MAX) + 1] {
            let value = Value::Whole(beyond);
            match key.store(value, &mut draft) {
                Err(Problem::OutOfRange { .. }) => {}
                other => panic!("{}: {}: {other:?}", key.name, shown(beyond)),
            }
        }
    }
}

#[test]
fn names_are_said_once() {
    for (index, key) in KEYS.iter().enumerate() {
        let same = |other: &Key| other.name == key.name || (!key.alias.is_empty() && other.alias == key.alias);
        assert_eq!(KEYS.iter().filter(|other| same(other)).count(), 1, "{}", key.name);
        let seen = KEYS[..index].iter().any(|earlier| earlier.group == key.group);
        assert!(!seen || KEYS[index - 1].group == key.group, "{}: its group stands together", key.name);
    }
}

#[test]
fn switches_take_the_words_that_go_takes() {
    for (text, on) in [("1", true), ("t", true), ("TRUE", true), ("0", false), ("F", false), ("False", false)] {
        assert_eq!(from_flags(&[("failover", text)]).failover, on, "{text}");
    }
    for text in ["", "yes", "on", "tRUE", "2"] {
        assert!(load(&flags(&[("failover", text)])).is_err(), "{text:?}");
    }
}

#[test]
fn zero_and_one_process_are_one_reactor() {
    for (text, reactors) in [("0", 1), ("1", 1), ("64", 64)] {
        assert_eq!(from_flags(&[("maxProcesses", text)]).reactors, reactors);
    }
}

#[test]
fn what_is_accepted_without_effect_is_said_once() {
    let loaded = from_text(
        r#"[{"port": 1, "tcpConnections": ["a:1", "b:1", "A:1", "a:1"], "remoteReconnectInterval": 5},
            {"port": 2, "tcpConnections": ["a:1"], "remoteReconnectInterval": "x",
             "remoteDiagnosticCheckInterval": 1}]"#,
    );
    assert_eq!(
        loaded.unwrap().warnings,
        [
            "remoteReconnectInterval has no effect: rmux keeps a connection for as long as it is sound",
            "remoteDiagnosticCheckInterval has no effect: rmux probes servers by itself",
            "pool 1 (localhost:1): server A:1 is given more than once: each time, it gets a share of the keys",
        ]
    );
}

#[test]
fn the_examples_are_right() {
    for (name, servers) in [
        ("one-pool", vec![1]),
        ("several-pools", vec![4, 2, 1]),
        ("original", vec![2]),
        ("sentinel", vec![2]),
        ("cluster", vec![3]),
    ] {
        let path = format!("{}/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let loaded = load(&flags(&[("config", &path)])).unwrap_or_else(|error| panic!("{error}"));
        let counts: Vec<usize> = loaded.config.pools.iter().map(|pool| pool.servers.len()).collect();
        assert_eq!(counts, servers, "{name}");
    }
}

#[test]
fn passwords_and_users_come_from_the_file_and_the_environment() {
    let pool = &from_file(
        r#"[{"port": 1, "tcpConnections": ["a:1"], "password": "hunter2", "remoteUser": "app",
             "remotePasswordEnv": "PATH", "users": [{"name": "bob", "password": "two"}]}]"#,
    )[0];
    let path = std::env::var_os("PATH").unwrap().into_encoded_bytes();
    assert!(!pool.users.is_open());
    assert!(pool.users.enter(b"default", b"hunter2").is_some());
    let bob = pool.users.enter(b"bob", b"two").unwrap();
    assert_eq!(pool.users.name(bob), "bob");
    assert!(pool.users.enter(b"bob", b"hunter2").is_none());
    let credentials = pool.credentials.as_ref().unwrap();
    assert_eq!((credentials.user.as_deref(), credentials.password.reveal()), (Some("app"), &path[..]));
    assert!(!format!("{pool:?}").contains("hunter2"));

    let pool = from_flags(&[("passwordEnv", "PATH"), ("remotePasswordEnv", "PATH")]);
    assert!(pool.users.enter(b"default", &path).is_some());
    assert_eq!(pool.credentials.unwrap().user, None);
    let pool = from_flags(&[("passwordFile", ""), ("remoteUser", ""), ("remotePasswordEnv", "")]);
    assert_eq!(pool, from_flags(&[]));
}

#[test]
fn commands_that_are_allowed_denied_and_declared() {
    let pool = &from_file(
        r#"[{"port": 1, "tcpConnections": ["a:1"], "allowCommands": ["SLOWLOG|reset", "latency"],
             "denyCommands": ["flushall", "client|kill"],
             "moduleCommands": [{"name": "My.Cmd", "firstKey": 2, "readonly": true},
                                {"name": "my.mset", "firstKey": 1, "lastKey": -1, "step": 2}]}]"#,
    )[0];
    let row = |name: &str| crate::command::find(name.as_bytes()).unwrap();
    let policy = &pool.policy;
    assert!(policy.is_allowed(row("slowlog"), Some(b"RESET")) && !policy.is_allowed(row("slowlog"), Some(b"get")));
    assert!(policy.is_denying() && policy.is_denied(row("flushall"), None));
    assert!(!policy.is_denied(row("flushdb"), None));
    assert_eq!(policy.declared(b"MY.CMD").unwrap().keys.range(), (2, 2, 1));
    assert_eq!(policy.declared(b"my.mset").unwrap().keys.range(), (1, -1, 2));
    let in_flags = from_flags(&[("tcpConnections", "a:1"), ("denyCommands", "flushall client|kill")]);
    assert!(in_flags.policy.is_denied(row("client"), Some(b"kill")));
}

use key::Value;

#[test]
fn a_master_is_a_name_that_sentinels_know_or_an_address_that_others_follow() {
    let pools = from_file(
        r#"[{"port": 1, "sentinels": ["s1:26379", "[::1]:26379"],
             "sentinelUser": "watch", "sentinelPassword": "hunter2",
             "tcpConnections": ["a:1", {"master": "cache-1"}, {"master": "b:2", "replicas": ["c:3", "d:4"]},
                {"master": "e:5"}, {"master": "f:6", "replicas": []}], "unixConnections": ["/u"]}]"#,
    );
    let pool = &pools[0];
    let expected = [
        at(tcp("a", 1)),
        ServerConfig::Master { name: "cache-1".to_owned() },
        ServerConfig::Fixed { address: tcp("b", 2), replicas: vec![tcp("c", 3), tcp("d", 4)] },
        at(tcp("e", 5)),
        at(tcp("f", 6)),
        at(unix("/u")),
    ];
    assert_eq!(pool.servers, expected);
    let names: Vec<String> = pool.servers.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["a:1", "cache-1", "b:2", "e:5", "f:6", "/u"], "what the ring knows them by");
    assert_eq!(pool.sentinels, [tcp("s1", 26379), tcp("::1", 26379)]);
    let credentials = pool.sentinel_credentials.as_ref().expect("they were given");
    assert_eq!((credentials.user.as_deref(), credentials.password.reveal()), (Some("watch"), &b"hunter2"[..]));
    assert_eq!(pool.credentials, None, "those of the servers are others");
}

#[test]
fn a_zone_is_one_word_and_goes_with_reads_from_replicas() {
    let pool = |keys: &str| {
        format!(r#"[{{"port": 7000, "tcpConnections": [{{"master": "a:1", "replicas": ["b:1"]}}]{keys}}}]"#)
    };
    let zoned = |zone: &str| pool(&format!(r#", "readFrom": "replica", "availabilityZone": "{zone}""#));
    assert_eq!(from_file(&zoned("use1-az1"))[0].availability_zone.as_deref(), Some("use1-az1"));
    assert_eq!(from_file(&zoned(""))[0].availability_zone, None);
    for zone in ["a b", "é", " a", &"x".repeat(65)] {
        let error = from_text(&zoned(zone)).expect_err("no zone").to_string();
        let wanted = "is not the name of a zone: 1 to 64 letters of printable ASCII, without blanks";
        assert!(error.contains("availabilityZone: ") && error.contains(wanted), "{error}");
    }
    for keys in [r#", "availabilityZone": "a""#, r#", "readFrom": "master", "availabilityZone": "a""#] {
        let error = from_text(&pool(keys)).expect_err("nothing is read from replicas").to_string();
        assert!(error.contains("availabilityZone: has no meaning without readFrom: give both"), "{error}");
    }
}

#[test]
fn a_cluster_has_seeds_and_nothing_that_it_knows_itself() {
    let pool = |keys: &str| format!(r#"[{{"port": 7000, "cluster": true, {keys}}}]"#);
    let good = from_file(&pool(
        r#""tcpConnections": ["a:1", {"master": "b:2"}], "failover": false, "hashTag": "", "readFrom": "master",
        "sentinels": [], "unixConnections": [], "remotePassword": "x""#,
    ));
    assert_eq!(good[0].servers, [at(tcp("a", 1)), at(tcp("b", 2))]);
    assert!(good[0].cluster);
    let read = from_file(&pool(r#""tcpConnections": ["a:1"], "readFrom": "replica""#));
    assert_eq!((read[0].read_from, &read[0].availability_zone), (ReadFrom::Replica, &None));
    let zoned = r#""tcpConnections": ["a:1"], "readFrom": "preferReplica", "availabilityZone": "eu-west-1b""#;
    assert_eq!(from_file(&pool(zoned))[0].availability_zone.as_deref(), Some("eu-west-1b"));
    assert!(from_flags(&[("cluster", "true")]).cluster);
    let announced = from_file(&pool(r#""tcpConnections": ["a:1"], "clusterAnnounce": "10.0.0.5:6379""#));
    assert_eq!(announced[0].cluster_announce, Some(tcp("10.0.0.5", 6379)));
    let alone = r#"[{"port": 7000, "tcpConnections": ["a:1"], "clusterAnnounce": "10.0.0.5:6379"}]"#;
    let error = from_text(alone).expect_err("no cluster").to_string();
    assert!(error.contains("clusterAnnounce: has no meaning without cluster: give both"), "{error}");
    for (keys, refused) in [
        (r#""clusterAnnounce": "here""#, "clusterAnnounce: \"here\" has no port: write host:port"),
        (r#""failover": true"#, "failover: does not go with cluster: leave one of them out"),
        (r#""hashTag": "{}""#, "hashTag: does not go with cluster: "),
        (r#""hash": "md5""#, "hash: does not go with cluster: "),
        (r#""distribution": "ketama""#, "distribution: does not go with cluster: "),
        (r#""sentinels": ["s:1"]"#, "sentinels: does not go with cluster: "),
        (r#""unixConnections": ["/tmp/r.sock"]"#, "unixConnections: does not go with cluster: "),
        (r#""tcpConnections": [{"master": "cache-1"}]"#, "entry 1: master: does not go with cluster: "),
        (r#""tcpConnections": ["b:1", {"master": "a:1", "replicas": ["c:1"]}]"#, "entry 2: replicas: does not go with"),
        (r#""tcpConnections": [{"master": "a:1", "weight": 2}]"#, "entry 1: weight: does not go with cluster: "),
        (r#""tcpConnections": [{"master": "a:1", "name": "x"}]"#, "entry 1: name: does not go with cluster: "),
        (r#""tcpConnections": ["a:1", "b:1", "a:1"]"#, "tcpConnections: \"a:1\" is there twice"),
        (r#""allowCommands": ["save"]"#, "allowCommands: \"save\""),
        (r#""sentinelPassword": "x""#, "sentinelPassword: has no meaning without sentinels"),
    ] {
        let seeds = if keys.contains("tcpConnections") { "" } else { r#", "tcpConnections": ["a:1"]"# };
        let text = pool(&format!("{keys}{seeds}"));
        let error = from_text(&text).expect_err(&text).to_string();
        assert!(error.contains(refused), "{keys}: {error}");
    }
    let error = from_text(r#"[{"port": 7000, "cluster": true}]"#).expect_err("no seed").to_string();
    assert!(error.contains("no server: give tcpConnections"), "{error}");
}
