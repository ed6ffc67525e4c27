//! Each kind of change, and that what says the same is none.

use super::super::draft::{Draft, Missing};
use super::super::json::Json;
use super::super::key;
use super::super::key::Group;
use super::*;

/// A configuration with these pools, as in the file.
fn config(pools: &[&str]) -> Config {
    let pools = pools.iter().map(|text| pool(text)).collect();
    Config {
        pools,
        debug: false,
        use_syslog: false,
        pid_file: None,
        drain_ms: 30_000,
        admin: None,
        graphite: None,
        timing: false,
        user: None,
        group: None,
    }
}

fn pool(text: &str) -> PoolConfig {
    let Ok(Json::Object(pairs)) = Json::parse(format!("{{{text}}}").as_bytes()) else { panic!("{text}") };
    let mut draft = Draft::default();
    for key in KEYS {
        if let Some((_, value)) = pairs.iter().find(|(name, _)| name == key.name) {
            key.store(key.read_json(value).expect(text), &mut draft).expect(text);
        }
    }
    assert!(pairs.iter().all(|(name, _)| key::find(name).is_some()), "{text}");
    draft.into_pool(Missing::Refused).unwrap_or_else(|(key, problem)| panic!("{text}: {key:?} {problem}"))
}

fn lines(old: &[&str], new: &[&str]) -> Vec<String> {
    diff(&config(old), &config(new)).iter().map(ToString::to_string).collect()
}

/// What changes in a pool with one server, from these keys to those.
fn lines_of(old: &str, new: &str) -> Vec<String> {
    let pool = |text: &str| {
        let comma = if text.is_empty() { "" } else { ", " };
        format!(r#""port": 1, "tcpConnections": ["a:1"]{comma}{text}"#)
    };
    let lines = lines(&[&pool(old)], &[&pool(new)]);
    lines.iter().map(|line| line.strip_prefix("pool localhost:1: ").expect(line).to_owned()).collect()
}

fn servers(names: &str) -> String {
    let names: Vec<String> = names.split(' ').map(|name| format!("\"{name}:1\"")).collect();
    format!(r#""port": 1, "tcpConnections": [{}]"#, names.join(", "))
}

#[test]
fn nothing_changes_against_itself() {
    let pool = r#""socket": "/tmp/a", "tcpConnections": ["a:1", "b:1"], "poolSize": 7, "hashTag": "{}", "users":
        [{"name": "a", "password": "hunter2"}], "remoteUser": "b", "remotePassword": "hunter2", "denyCommands": ["get"],
        "moduleCommands": [{"name": "x.y", "firstKey": 1}]"#;
    assert_eq!(diff(&config(&[pool]), &config(&[pool])), []);
}

#[test]
fn another_spelling_of_the_same_is_no_change() {
    for (old, new) in [
        ("", r#""poolSize": 50, "failover": true, "socketMode": "0666", "maxProcesses": 0"#),
        (
            r#""remoteTimeout": 700"#,
            r#""remoteConnectTimeout": 700, "remoteReadTimeout": 700, "remoteWriteTimeout": 700"#,
        ),
        (r#""denyCommands": ["get", "SET", "get"]"#, r#""denyCommands": ["set", "get"]"#),
        (
            r#""moduleCommands": [{"name": "A.b", "firstKey": 1}, {"name": "a.a", "firstKey": 1}]"#,
            r#""moduleCommands": [{"name": "a.a", "firstKey": 1, "lastKey": 1}, {"name": "a.b", "firstKey": 1}]"#,
        ),
    ] {
        assert_eq!(lines_of(old, new), [""; 0], "{old} {new}");
    }
    let (old, new) = (r#""host": "LOCALHOST", "port": 1, "tcpConnections": ["A:1"]"#, servers("a"));
    assert_eq!(lines(&[old], &[&new]), [""; 0]);
}

#[test]
fn settings_are_named_as_in_the_file_with_both_values() {
    for (old, new, line) in [
        ("", r#""poolSize": 80"#, "poolSize: 50 -> 80"),
        (r#""failover": false"#, "", "failover: false -> true"),
        ("", r#""socketMode": "0600""#, "socketMode: 0666 -> 0600"),
        ("", r#""maxProcesses": 2"#, "maxProcesses: 1 -> 2 (takes a restart)"),
        ("", r#""failoverAfter": 0"#, "failoverAfter: 5000 -> 0"),
        ("", r#""clientsMax": 5"#, "clientsMax: 10000 -> 5"),
        ("", r#""hashTag": "{}""#, r#"hashTag: none -> "{}""#),
        (r#""denyCommands": ["get"]"#, r#""denyCommands": ["set", "get"]"#, "denyCommands: get -> get set"),
        ("", r#""allowCommands": ["SAVE"]"#, "allowCommands: none -> save"),
        (
            r#""moduleCommands": [{"name": "a.b", "firstKey": 1}]"#,
            "",
            "moduleCommands: a.b firstKey=1 lastKey=1 step=1 readonly=false -> none",
        ),
    ] {
        assert_eq!(lines_of(old, new), [line]);
    }
    assert_eq!(lines_of("", r#""localTimeout": 9"#), ["localReadTimeout: 0 -> 9", "localWriteTimeout: 0 -> 9"]);
}

/// The table's own values: a key whose change is not seen would be a setting that a reload forgets.
#[test]
fn every_number_and_switch_is_compared() {
    for key in KEYS.iter().filter(|key| key.scope == Scope::Pool && !key.is_retired() && !key.is_general()) {
        if key.group == Group::Tls && cfg!(not(feature = "tls")) {
            continue;
        }
        let value = match &key.kind {
            Kind::Switch(_) if key.default_text() == "true" => "false",
            Kind::Switch(_) => "true",
            Kind::Number(range, ..) if range.contains(&2_000_000) => "2000000",
            Kind::Number(..) => "33",
            Kind::LocalTimeout(_) | Kind::RemoteTimeout(_) => "4321",
            _ => continue,
        };
        let lines = lines_of("", &format!("\"{}\": {value}", key.name));
        assert_eq!(lines.len(), 1, "{}: {lines:?}", key.name);
        assert!(lines[0].starts_with(&format!("{}: {} -> {value}", key.name, key.default_text())), "{lines:?}");
    }
}

#[test]
fn passwords_are_said_to_differ_and_never_shown() {
    let user = |password: &str| format!(r#""users": [{{"name": "a", "password": "{password}"}}]"#);
    for (old, new, expected) in [
        ("", r#""password": "hunter2""#.to_owned(), &["password, users: differs"][..]),
        (&user("hunter2"), user("hunter3"), &["password, users: differs"]),
        (r#""remotePassword": "hunter2""#, r#""remotePassword": "hunter3""#.to_owned(), &["remotePassword: differs"]),
        (
            r#""remotePassword": "hunter2""#,
            r#""remoteUser": "app\n", "remotePassword": "hunter2""#.to_owned(),
            &[r#"remoteUser: none -> "app\n""#],
        ),
    ] {
        let lines = lines_of(old, &new);
        assert_eq!(lines, expected);
    }
}

#[test]
fn servers_come_and_go_and_the_share_of_the_keys_that_move_is_told() {
    for (old, new, expected) in [
        (
            "a b c",
            "a b c d",
            &["server d:1: added", "71.9 % of the keys get another server (exact: 23 of 32 cells of the ring)"][..],
        ),
        (
            "a b",
            "a",
            &["server b:1: removed", "50.0 % of the keys get another server (exact: 1 of 2 cells of the ring)"],
        ),
        (
            "a b",
            "b a",
            &[
                "servers: the same in another order",
                "100.0 % of the keys get another server (exact: 2 of 2 cells of the ring)",
            ],
        ),
        (
            "a b c",
            "a x c",
            &[
                "server x:1: added",
                "server b:1: removed",
                "37.5 % of the keys get another server (exact: 3 of 8 cells of the ring)",
            ],
        ),
        (
            "a a",
            "a",
            &["server a:1: removed", "0.0 % of the keys get another server (exact: 0 of 2 cells of the ring)"],
        ),
    ] {
        let lines = lines(&[&servers(old)], &[&servers(new)]);
        let expected: Vec<String> = expected.iter().map(|line| format!("pool localhost:1: {line}")).collect();
        assert_eq!(lines, expected, "{old} to {new}");
    }
    assert_eq!(
        lines(&[&servers("a b")], &[&format!(r#"{}, "hashTag": "{{}}""#, servers("a b"))]),
        [
            "pool localhost:1: hashTag: none -> \"{}\"",
            "pool localhost:1: keys with such a tag get another server (how many depends on the keys)"
        ]
    );
    let share = |moved| PoolChange::KeysMoved(Moved { moved, cells: 1 << 20, is_exact: true }).to_string();
    assert!(share(1).starts_with("less than 0.1 %") && share(0).starts_with("0.0 %"), "{} {}", share(1), share(0));
}

#[test]
fn another_kind_of_ring_says_what_it_moves() {
    let ring = |servers: &str, keys: &str| format!(r#""port": 1, "tcpConnections": [{servers}]{keys}"#);
    let ketama = r#", "distribution": "ketama""#;
    let named = |name: &str, weight: u32| format!(r#"{{"master": "{name}:1", "name": "{name}", "weight": {weight}}}"#);
    let three = [named("a", 1), named("b", 1), named("c", 1)].join(", ");
    let lines = |old: &str, new: &str| -> Vec<String> {
        let lines = lines(&[old], &[new]);
        lines.iter().map(|line| line.strip_prefix("pool localhost:1: ").expect(line).to_owned()).collect()
    };
    let old = ring(&three, ketama);
    assert_eq!(lines(&old, &old), [""; 0]);
    let four = lines(&old, &ring(&format!("{three}, {}", named("d", 1)), ketama));
    assert_eq!(four[0], "server d:1: added");
    assert!(
        four[1].ends_with(" of 65536 hashes)") && four[1].contains(" % of the keys get another server (measured: ")
    );
    let heavier = lines(&old, &ring(&[named("a", 1), named("b", 5), named("c", 1)].join(", "), ketama));
    assert_eq!(heavier[0], "servers: other names or weights in the ring");
    assert!(heavier[1].contains("(measured: "), "{heavier:?}");
    let modula = lines(&old, &ring(&three, r#", "distribution": "modula""#));
    assert_eq!(modula[0], r#"distribution: "ketama" -> "modula""#);
    assert!(modula[1].contains("(measured: ") && modula.len() == 2, "{modula:?}");
    assert_eq!(
        lines(&old, &ring(&three, &format!(r#"{ketama}, "hash": "md5""#))),
        [r#"hash: "fnv1a_64" -> "md5""#, "most keys get another server: they are hashed in another way"]
    );
    let alone = ring(&named("a", 1), ketama);
    assert_eq!(lines(&alone, &ring(&named("a", 1), &format!(r#"{ketama}, "hash": "md5""#))).len(), 1);
}

#[test]
fn pools_are_told_apart_by_their_listener() {
    let [a, b, c] =
        ["/tmp/a", "/tmp/b\\n", "/tmp/c"].map(|path| format!(r#""socket": "{path}", "tcpConnections": ["a:1"]"#));
    let changed = format!(r#"{a}, "poolSize": 3"#);
    assert_eq!(
        lines(&[&a, &b], &[&c, &changed]),
        ["pool /tmp/c: added, with 1 server", "pool /tmp/a: poolSize: 50 -> 3", r"pool /tmp/b\n: removed",]
    );
    assert_eq!(lines(&[&a, &c], &[&c, &a]), [""; 0], "their order in the file says nothing");
}

#[test]
fn what_takes_a_restart_is_said() {
    let old = config(&[&servers("a")]);
    let (pid_file, user, group) = (Some("/run/rmux.pid".into()), Some("rmux".to_owned()), Some("redis".to_owned()));
    let admin = Some(Address::Unix("/run/admin.sock".into()));
    let new = Config { debug: true, use_syslog: true, pid_file, admin, timing: true, user, group, ..old.clone() };
    let changes = diff(&old, &new);
    assert_eq!(
        changes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "debug: false -> true",
            "useSyslog: false -> true",
            "pidFile: none -> \"/run/rmux.pid\" (takes a restart)",
            "admin: none -> \"/run/admin.sock\" (takes a restart)",
            "timing: false -> true (takes a restart)",
            "user: none -> \"rmux\" (takes a restart)",
            "group: none -> \"redis\" (takes a restart)",
        ]
    );
    assert_eq!(changes.iter().filter(|change| change.needs_restart()).count(), 5);
}

#[test]
fn masters_replicas_and_sentinels() {
    let pool = |rest: &str| format!(r#""port": 1, {rest}"#);
    let fixed = pool(r#""tcpConnections": ["a:1", "b:1"]"#);
    let watched = pool(r#""tcpConnections": [{"master": "cache-1"}, "b:1"], "sentinels": ["s:1", "t:1"]"#);
    assert_eq!(lines(&[&watched], &[&watched]), [""; 0]);
    assert_eq!(
        lines(&[&fixed], &[&watched]),
        [
            "pool localhost:1: sentinels: none -> s:1 t:1",
            "pool localhost:1: server cache-1: added",
            "pool localhost:1: server a:1: removed",
            "pool localhost:1: 50.0 % of the keys get another server (exact: 1 of 2 cells of the ring)",
        ]
    );
    let other =
        pool(r#""tcpConnections": [{"master": "cache-1"}, "b:1"], "sentinels": ["s:1"], "sentinelPassword": "x""#);
    assert_eq!(
        lines(&[&watched], &[&other]),
        ["pool localhost:1: sentinels: s:1 t:1 -> s:1", "pool localhost:1: sentinelPassword: differs"]
    );
    let followed = pool(r#""tcpConnections": [{"master": "a:1", "replicas": ["c:1", "d:1"]}, {"master": "b:1"}]"#);
    assert_eq!(lines(&[&fixed], &[&followed]), ["pool localhost:1: server a:1: replicas: none -> c:1 d:1"]);
    assert_eq!(lines(&[&followed], &[&fixed]), ["pool localhost:1: server a:1: replicas: c:1 d:1 -> none"]);
}
