//! The table as a whole: names, arities, classes, and what each command says about its requests.

use std::collections::HashSet;

use super::*;

/// Every row, with the subcommands behind their container.
fn all_with_subs() -> impl Iterator<Item = &'static Command> {
    all().flat_map(|row| std::iter::once(row).chain(row.subs()))
}

fn sub(name: &str, word: &str) -> &'static Command {
    let container = find(name.as_bytes()).expect(name);
    container.sub(word.as_bytes()).expect(word)
}

fn class(name: &str) -> Class {
    find(name.as_bytes()).expect(name).class
}

#[test]
fn names_are_lower_case_and_unique() {
    let mut names = HashSet::new();
    for row in all() {
        assert!(names.insert(row.name()), "{} is there twice", row.name());
        let mut words = HashSet::new();
        assert!(row.subs().iter().all(|sub| words.insert(sub.name())), "{}", row.name());
    }
    for row in all_with_subs() {
        assert!(!row.name().is_empty() && !row.name().contains('\0'), "{}", row.name());
        assert_eq!(row.name(), row.name().to_ascii_lowercase());
    }
    assert_eq!(names.len(), COUNT);
}

#[test]
fn arity_counts_as_redis_does() {
    let allowed = |name: &str, argc: usize| find(name.as_bytes()).expect(name).arity_allows(argc);
    assert!(!allowed("get", 1) && allowed("get", 2) && !allowed("get", 3));
    assert!(!allowed("set", 2) && allowed("set", 3) && allowed("set", 7));
    assert!(!allowed("ping", 0) && allowed("ping", 1) && allowed("ping", 2));
    assert!(allowed("mget", 1_000_000) && !allowed("mget", 1));
    assert!(!sub("object", "encoding").arity_allows(2) && sub("object", "encoding").arity_allows(3));
    assert!(!sub("xgroup", "create").arity_allows(4) && sub("xgroup", "create").arity_allows(6));
    for row in all_with_subs() {
        assert_ne!(row.arity, 0, "{}", row.name());
    }
    for row in all() {
        assert!(row.subs().iter().all(|sub| sub.arity.unsigned_abs() >= 2), "{}", row.name());
    }
}

#[test]
fn only_containers_have_subcommands() {
    for row in all() {
        assert_eq!(row.is_container(), !row.subs().is_empty(), "{}", row.name());
        assert!(row.subs().iter().all(|sub| !sub.is_container()), "{}", row.name());
        for sub in row.subs() {
            let found = row.sub(sub.name().to_ascii_uppercase().as_bytes()).expect("it is there");
            assert!(std::ptr::eq(found, sub));
        }
    }
    let object = find(b"object").expect("a row");
    for word in ["", "encodin", "encoding\0", "encodings"] {
        assert!(object.sub(word.as_bytes()).is_none(), "{word:?}");
    }
    assert!(find(b"get").expect("a row").sub(b"get").is_none());
}

#[test]
fn only_modules_that_refuse_nothing_may_have_unknown_subcommands() {
    let open: Vec<&str> = all().filter(|row| row.may_have_sub(b"NEWER")).map(|row| row.name()).collect();
    assert_eq!(open, ["json.debug", "ft.cursor"]);
    let debug = find(b"json.debug").expect("a row");
    assert!(!debug.may_have_sub(b"MEMORY\0") && !debug.may_have_sub(b"a b") && !debug.may_have_sub(b"a\r\n"));
}

#[test]
fn what_belongs_on_the_server_is_refused() {
    for name in [
        "bgrewriteaof",
        "bgsave",
        "debug",
        "monitor",
        "migrate",
        "save",
        "shutdown",
        "slaveof",
        "replicaof",
        "failover",
        "sync",
        "psync",
        "replconf",
        "restore-asking",
        "pfdebug",
        "pfselftest",
        "swapdb",
        "backup",
        "hotkeys",
        "himport",
        "trimslots",
        "_ft.debug",
        "_ft.config",
    ] {
        assert_eq!(class(name), Class::Refused, "{name}");
    }
    for (name, word) in [
        ("config", "set"),
        ("config", "rewrite"),
        ("config", "resetstat"),
        ("acl", "setuser"),
        ("acl", "log"),
        ("slowlog", "reset"),
        ("commandlog", "reset"),
        ("latency", "reset"),
        ("module", "load"),
        ("module", "loadex"),
        ("module", "unload"),
        ("cluster", "meet"),
        ("cluster", "migrateslots"),
        ("cluster", "setslot"),
        ("cluster", "reset"),
        ("script", "debug"),
        ("ft.config", "set"),
    ] {
        assert_eq!(sub(name, word).class, Class::Refused, "{name} {word}");
    }
    for name in ["dbsize", "flushall", "flushdb", "move", "object", "randomkey", "time"] {
        assert_ne!(class(name), Class::Refused, "{name}");
    }
}

#[test]
fn each_class_holds_what_the_design_says() {
    assert_eq!(class("sort"), Class::Keyed);
    assert_eq!(class("eval"), Class::Keyed);
    assert_eq!(class("select"), Class::Session(Session::Select));
    assert_eq!(sub("config", "get").class, Class::Session(Session::ConfigGet));
    assert_eq!(class("client"), Class::Session(Session::Client));
    assert_eq!(class("wait"), Class::Lease(Lease::Wait));
    assert_eq!(class("mget"), Class::Split(Merge::ByPosition));
    assert_eq!(class("mset"), Class::Split(Merge::AllOk));
    for name in ["del", "unlink", "exists", "touch"] {
        assert_eq!(class(name), Class::Split(Merge::Sum), "{name}");
    }
    assert_eq!(class("scan"), Class::All(Gather::Cursor));
    assert_eq!(sub("script", "load").class, Class::All(Gather::First));
    assert_eq!(class("publish"), Class::Channel(Channels::Exact));
    assert_eq!(class("time"), Class::Any);
    assert_eq!(class("ft.search"), Class::Single);
    for (name, word) in [
        ("slowlog", "get"),
        ("slowlog", "len"),
        ("commandlog", "get"),
        ("commandlog", "len"),
        ("latency", "latest"),
        ("latency", "history"),
        ("latency", "histogram"),
        ("latency", "doctor"),
        ("acl", "users"),
    ] {
        assert_eq!(sub(name, word).class, Class::Single, "{name} {word}");
    }
    assert_eq!(class("lastsave"), Class::Single);
    for (name, word) in [("module", "list"), ("acl", "cat"), ("script", "show")] {
        assert_eq!(sub(name, word).class, Class::Any, "{name} {word}");
    }
    for word in ["list", "getuser"] {
        assert_eq!(sub("acl", word).class, Class::All(Gather::Masked), "{word}");
    }
    for name in ["script", "function"] {
        assert_eq!(sub(name, "kill").class, Class::All(Gather::Kill), "{name}");
    }
    assert_eq!(class("clusterscan"), Class::Session(Session::Cluster));
    assert_eq!(sub("cluster", "getslotmigrations").class, Class::Session(Session::Cluster));
}

/// A request that changes something must never count as one that may be sent twice.
#[test]
fn only_reading_commands_may_be_sent_twice() {
    for name in ["get", "mget", "eval_ro", "evalsha_ro", "fcall_ro", "xread", "pfcount", "scan", "touch", "sort_ro"] {
        assert_eq!(find(name.as_bytes()).expect(name).access, Access::Read, "{name}");
    }
    for name in ["set", "eval", "evalsha", "fcall", "getex", "getdel", "xreadgroup", "sort", "bitfield", "flushall"] {
        assert_eq!(find(name.as_bytes()).expect(name).access, Access::Write, "{name}");
    }
    for name in ["ping", "publish", "spublish", "multi", "wait", "time"] {
        assert_eq!(find(name.as_bytes()).expect(name).access, Access::None, "{name}");
    }
    assert_eq!(sub("script", "load").access, Access::None);
    assert_eq!(sub("function", "load").access, Access::Write);
    assert_eq!(sub("ft.cursor", "read").access, Access::Write);
    for row in all_with_subs() {
        if matches!(row.class, Class::Keyed | Class::Split(_)) {
            assert!(row.access != Access::None && row.keys != Keys::None, "{}", row.name());
        }
    }
}

#[test]
fn a_value_may_stream_behind_a_key_at_a_fixed_place() {
    let needed = |name: &str| find(name.as_bytes()).expect(name).args_needed();
    assert_eq!(needed("set"), Some(2));
    assert_eq!(needed("rename"), Some(3));
    assert_eq!(needed("publish"), Some(2));
    assert_eq!(needed("xgroup"), Some(2));
    assert_eq!(sub("xgroup", "create").args_needed(), Some(3));
    assert_eq!(needed("time"), Some(1));
    for name in ["mset", "del", "eval", "sort", "xread", "zunionstore", "georadius", "blpop"] {
        assert_eq!(needed(name), None, "{name}");
    }
}

#[test]
fn blocking_is_known_with_its_timeout() {
    use Timeout::*;
    let cases = [
        ("BLPOP k 0", Some(Forever)),
        ("BLPOP k 5", Some(Millis(5000))),
        ("BRPOP a b 0.0001", Some(Millis(1))),
        ("BRPOP a b 1e3", Some(Millis(1_000_000))),
        ("BLPOP k -1", Some(Millis(0))),
        ("BLPOP k 0x10", Some(Forever)),
        ("BLPOP k +.5", Some(Millis(500))),
        ("BLPOP k 5.", Some(Millis(5000))),
        ("BLPOP k 0.0010", Some(Millis(1))),
        ("BLPOP k 0.00100000000000000000000001", Some(Millis(2))),
        ("BLPOP k 100000000000000000000000e-20", Some(Millis(1_000_000))),
        ("BLPOP k 25e-04", Some(Millis(3))),
        ("BLPOP k 1e-300", Some(Millis(1))),
        ("BLPOP k -0.0001", Some(Forever)),
        ("BLPOP k -1e300", Some(Millis(0))),
        ("BLPOP k 0e9", Some(Forever)),
        ("BLPOP k 9223372036854775.806", Some(Millis(i64::MAX as u64 - 1))),
        ("BLPOP k 9223372036854775.807", Some(Forever)),
        ("BLPOP k 1.2.3", Some(Forever)),
        ("BLPOP k .", Some(Forever)),
        ("BLPOP k 1e", Some(Forever)),
        ("BLPOP k inf", Some(Forever)),
        ("BLPOP k nan", Some(Forever)),
        ("BLPOP k 1e300", Some(Forever)),
        ("BLPOP k ", Some(Forever)),
        ("BRPOPLPUSH a b 2", Some(Millis(2000))),
        ("BRPOPLPUSH a b", Some(Forever)),
        ("BLMOVE a b LEFT RIGHT 2.5", Some(Millis(2500))),
        ("BLMOVEM a b LEFT RIGHT 3 COUNT 9 BULK", Some(Millis(3000))),
        ("BLMPOP 1.5 2 a b LEFT", Some(Millis(1500))),
        ("BZMPOP 0 1 a MIN", Some(Forever)),
        ("BZPOPMIN a 7", Some(Millis(7000))),
        ("XREAD STREAMS a 0", None),
        ("XREAD STREAMS BLOCK 5", None),
        ("XREAD COUNT BLOCK STREAMS a 0", None),
        ("XREAD BLOCK", None),
        ("XREAD BLOCK 0 STREAMS a $", Some(Forever)),
        ("XREAD block 250 STREAMS a $", Some(Millis(250))),
        ("XREAD BLOCK 0 COUNT 1 BLOCK 5 STREAMS a $", Some(Millis(5))),
        ("XREAD BLOCK x STREAMS a $", Some(Forever)),
        ("XREAD BLOCK -5 STREAMS a $", Some(Millis(0))),
        ("XREADGROUP GROUP BLOCK 5 STREAMS a >", None),
        ("XREADGROUP GROUP g c NOACK BLOCK 10 STREAMS a >", Some(Millis(10))),
        ("TS.READ k 0", None),
        ("TS.READ k 0 BLOCK 100 5 MAX_COUNT 9", Some(Millis(100))),
        ("TS.READ BLOCK 0", None),
        ("LPOP k 0", None),
        ("WAIT 1 0", None),
    ];
    for (request, expected) in cases {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let command = find(words[0]).expect(request);
        assert_eq!(command.blocks(words.len(), |index| words[index]), expected, "{request}");
    }
}

#[test]
fn rows_stay_small() {
    assert!(size_of::<Command>() <= 48, "{}", size_of::<Command>());
}
