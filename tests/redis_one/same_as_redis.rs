//! Tables of requests that go to Redis itself and through rmux; the bytes that come back must be equal.
//!
//! The expectation is always the server that is installed, never a text in this file: what Redis answers is for Redis
//! to say. A row that Redis itself answers differently from run to run (time, randomness, ids) has no place here.

use crate::support::client::{Client, bulk, encode, show};
use crate::support::proxy::Front;
use crate::support::server::RedisServer;
use crate::support::{Address, KINDS, Kind};

/// Commands of every core type that are safe on a shared connection, in an order in which each finds its data.
const COMMANDS: &str = "
SET s 10
GET s
GETSET s 11
GETDEL nothing
GETEX s
APPEND s 2
STRLEN s
INCR s
INCRBY s 5
INCRBYFLOAT s 1.5
SET n 5
DECR n
DECRBY n 2
SETNX n 1
SETEX t 100 v
PSETEX t 100000 v
SETRANGE t 2 xyz
GETRANGE t 0 -1
SUBSTR t 0 1
MSET m1 a m2 b
MSETNX m2 c m3 d
MGET m1 m2 m3 s
LCS m1 m2
EXISTS s m1 m2 nothing
TYPE s
TOUCH s m1
EXPIRE s 100
TTL s
PERSIST s
PEXPIRE s 100000
EXPIREAT s 33177117420
EXPIRETIME s
PEXPIRETIME s
RENAME m1 m4
RENAMENX m4 m5
COPY m5 m6
DEL m5 nothing
UNLINK m6 nothing
OBJECT ENCODING n
DUMP n
GETBIT t 1
SETBIT t 1 1
BITCOUNT t
BITPOS t 1
BITOP NOT u t
BITFIELD u GET u8 0
BITFIELD_RO u GET u8 0
HSET h a 1 b 2
HSETNX h c 3
HGET h a
HMSET h d 4
HMGET h a b z
HGETALL h
HINCRBY h a 5
HINCRBYFLOAT h a 0.5
HKEYS h
HVALS h
HLEN h
HEXISTS h a
HSTRLEN h a
HDEL h b
HSCAN h 0
RPUSH l a b c d
LPUSH l z
LPUSHX l y
RPUSHX l e
LRANGE l 0 -1
LINDEX l 1
LINSERT l BEFORE b x
LSET l 0 w
LREM l 1 x
LTRIM l 0 4
LPOS l b
LLEN l
LPOP l
RPOP l
LMOVE l k LEFT RIGHT
RPOPLPUSH l k
LMPOP 2 l k LEFT
SADD a 1 2 3 4
SADD b 3 4 5
SCARD a
SISMEMBER a 1
SMISMEMBER a 1 9
SMEMBERS a
SINTER a b
SINTERCARD 2 a b
SUNION a b
SDIFF a b
SINTERSTORE c a b
SUNIONSTORE c a b
SDIFFSTORE c a b
SMOVE a b 1
SREM a 2
SSCAN a 0
SORT a
SORT_RO a
ZADD z 1 a 2 b 3 c
ZADD y 2 b 5 e
ZCARD z
ZSCORE z a
ZMSCORE z a q
ZINCRBY z 2 a
ZRANK z a
ZREVRANK z a
ZCOUNT z 0 5
ZLEXCOUNT z - +
ZRANGE z 0 -1 WITHSCORES
ZREVRANGE z 0 -1
ZRANGEBYSCORE z 0 9
ZREVRANGEBYSCORE z 9 0
ZRANGEBYLEX z - +
ZREVRANGEBYLEX z + -
ZRANGESTORE x z 0 -1
ZUNION 2 z y WITHSCORES
ZINTER 2 z y
ZDIFF 2 z y
ZINTERCARD 2 z y
ZUNIONSTORE w 2 z y
ZINTERSTORE w 2 z y
ZDIFFSTORE w 2 z y
ZSCAN z 0
ZREM z b
ZPOPMIN z
ZPOPMAX z
ZMPOP 2 z y MIN
ZREMRANGEBYRANK y 0 0
ZREMRANGEBYSCORE x 0 1
ZREMRANGEBYLEX x [b [b
PFADD p a b c
PFCOUNT p
PFMERGE q p
GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
GEODIST g Palermo Catania km
GEOHASH g Palermo
GEOPOS g Palermo
GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC
GEOSEARCHSTORE v g FROMLONLAT 15 37 BYRADIUS 200 km ASC
GEORADIUS g 15 37 200 km
GEORADIUSBYMEMBER g Palermo 200 km
XADD r 1-1 f v
XADD r 2-1 f w
XLEN r
XRANGE r - +
XREVRANGE r + -
XREAD COUNT 1 STREAMS r 0
XGROUP CREATE r group 0
XREADGROUP GROUP group me COUNT 1 STREAMS r >
XPENDING r group
XACK r group 1-1
XINFO STREAM nothing
XDEL r 1-1
XTRIM r MAXLEN 1
XSETID r 5-0
EVAL return{KEYS[1],ARGV[1]} 1 s x
EVAL_RO return{1,2,{3}} 1 s
SCRIPT LOAD return(1)
EVALSHA 0000000000000000000000000000000000000000 1 s
FUNCTION LIST
PUBLISH nobody hears
GET
GET a
SET s
SET s v NOSUCHOPTION
HSET h a
LPUSH s a
INCR t
ZADD z x a
EXPIRE s x
XADD r 1-1 f v
OBJECT NOSUCH s
XGROUP NOSUCH
";

#[test]
fn commands_of_every_type_are_answered_as_by_redis() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        for protocol in ["2", "3"] {
            let mut replies = [Vec::new(), Vec::new()];
            for (address, replies) in [server.address(kind), front.address().clone()].iter().zip(&mut replies) {
                server.client().cmd(&["FLUSHALL"]);
                let mut client = Client::connect(address);
                client.cmd(&["HELLO", protocol]);
                for line in COMMANDS.trim().lines() {
                    replies.push((line, client.line(line)));
                }
            }
            let [redis, rmux] = replies;
            for (wanted, got) in redis.iter().zip(&rmux) {
                assert_eq!(got, wanted, "{kind:?}, protocol {protocol}: Redis is on the right");
            }
        }
    }
}

/// Inline requests: quotes, escapes, blanks and ends of line, just as `sdssplitargs` takes them.
///
/// No row has a NUL: Redis looks for the end of the line with `strchr`, does not see it behind a NUL, and waits for ever.
const INLINE: &[&[u8]] = &[
    b"PING\r\n",
    b"PING\n",
    b"  PING  \r\n",
    b"\tPING\t\r\n",
    b"ping\r\n",
    b"PING hello\r\n",
    b"\r\nPING\r\n",
    b"\n\n\nPING\n",
    b"   \r\nPING\r\n",
    b"SET k v\r\nGET k\r\n",
    b"SET k \"a b\"\r\nGET k\r\n",
    b"SET k 'a b'\r\nGET k\r\n",
    b"SET k \"\"\r\nGET k\r\n",
    b"SET k ''\r\nGET k\r\n",
    b"'SET' \"k\" 'v'\r\nGET k\r\n",
    b"ECHO \"\\x41\\x4a\\x4B\\x00\\xff\"\r\n",
    b"ECHO \"\\n\\r\\t\\b\\a\\\\\\\"\\q\"\r\n",
    b"ECHO \"\\xZZ\\x4\"\r\n",
    b"ECHO \"\\x\"\r\n",
    b"ECHO '\\n\\x41\\''\r\n",
    b"ECHO 'it\\'s'\r\n",
    b"ECHO a\\nb\r\n",
    b"ECHO a\"b c\"\r\n",
    b"ECHO a'b c'\r\n",
    b"ECHO \"a\"\tb\r\n",
    b"ECHO a\rb\r\n",
    b"ECHO \rab\r\n",
    b"ECHO \x0bab\r\n",
    b"ECHO a\x0bb\r\n",
    b"ECHO \x0cab\x0c\r\n",
    b"ECHO \"a\"\x0b\r\n",
    b"ECHO \xff\xfe\x80\r\n",
    b"ECHO \xd0\xba\xd0\xbb\r\n",
    b"ECHO \"*1\"\r\n",
    b" *1\r\n",
    b"$3\r\n",
    b"ECHO\r\n",
    b"ECHO a b\r\n",
    b"NOSUCH a \"b c\"\r\n",
    b"GET\r\n",
    // Unbalanced quotes, and a closing quote with something right behind it: an error, and the end.
    b"ECHO \"ab\r\n",
    b"ECHO 'ab\r\n",
    b"ECHO \"ab\\\"\r\n",
    b"ECHO 'ab\\'\r\n",
    b"ECHO \"ab\"cd\r\n",
    b"ECHO 'ab'cd\r\n",
    b"ECHO \"ab\"\"cd\"\r\n",
    b"ECHO \"\r\n",
    b"\"\r\n",
    // A web page that makes a browser talk to Redis: dropped without a word.
    b"POST / HTTP/1.1\r\n",
    b"Host: 127.0.0.1\r\n",
    b"post x\r\n",
    b"host: x\r\n",
];

#[test]
fn inline_requests_are_answered_as_by_redis() {
    let long = [b"ECHO ".as_slice(), &vec![b'x'; 60_000], b"\r\n"].concat();
    let endless = vec![b'x'; 200_000];
    let mut rows: Vec<&[u8]> = INLINE.to_vec();
    rows.extend([long.as_slice(), endless.as_slice()]);
    compare(&rows);
}

/// What is no request: Redis says why and closes.
const BROKEN: &[&[u8]] = &[
    b"*3\r\n:1\r\n",
    b"*1\r\nPING\r\n",
    b"*1\r\n+PING\r\n",
    b"*1\r\n\r\n",
    b"*1\r\n*1\r\n",
    b"*2\r\n$4\r\nECHO\r\n!\r\n",
    b"*abc\r\n",
    b"*\r\n",
    b"* 1\r\n",
    b"*1 \r\n",
    b"*+1\r\n",
    b"*01\r\n",
    b"*1a\r\n",
    b"*--1\r\n",
    b"*1048577000000\r\n",
    b"*2147483648\r\n",
    b"*9223372036854775808\r\n",
    b"*99999999999999999999999\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$-2\r\n",
    b"*1\r\n$abc\r\n",
    b"*1\r\n$\r\n",
    b"*1\r\n$ 4\r\n",
    b"*1\r\n$+4\r\n",
    b"*1\r\n$04\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$9223372036854775808\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$-1\r\n",
    b"*1\r\n$4\r\nPING\r\n*1\r\n$-1\r\n",
];

#[test]
fn broken_requests_are_answered_as_by_redis() {
    let count = [b"*".as_slice(), &vec![b'1'; 200_000]].concat();
    let length = [b"*1\r\n$".as_slice(), &vec![b'1'; 200_000]].concat();
    let mut rows: Vec<&[u8]> = BROKEN.to_vec();
    rows.extend([count.as_slice(), length.as_slice()]);
    compare(&rows);
}

#[test]
fn empty_requests_are_ignored() {
    compare(&[b"*0\r\n", b"*-1\r\n", b"*-5\r\n", b"*0\r\n*0\r\n\r\n\n*-1\r\n", b"\r\n", b"*1\r\n$0\r\n\r\n"]);
}

/// Requests whose answers rmux must find by itself, and give in Redis's own words.
const ANSWERED: &[&[&str]] = &[
    &["FOO"],
    &["FOO", "bar", "baz"],
    &["foo", "a\r\nb", "c\0d"],
    &["fo\r\no", "a"],
    &["FOO", "", "'quoted'"],
    &[" "],
    &[""],
    &["GETT", "k"],
    &["GET k"],
    &["GET"],
    &["get", "a", "b"],
    &["MGET"],
    &["MSET", "a"],
    &["MSET", "a", "1", "b"],
    &["DEL"],
    &["EVAL", "return 1"],
    &["EVAL", "return 1", "x"],
    &["EVAL", "return 1", "2", "a"],
    &["EVAL", "return 1", "-1", "a"],
    &["ZUNION", "0", "a"],
    &["LMPOP", "x", "a", "LEFT"],
    &["XREAD", "STREAMS", "a"],
    &["XREAD", "COUNT"],
    &["PING", "a"],
    &["PING", "a", "b"],
    &["PING", "a\r\nb\0c"],
    &["ECHO"],
    &["ECHO", "a", "b"],
    &["ECHO", ""],
    &["ECHO", "a\r\n\0b"],
    &["SELECT"],
    &["SELECT", "abc"],
    &["SELECT", "1", "2"],
    &["SELECT", "1.5"],
    &["SELECT", "99999999999999999999"],
    &["SELECT", "3"],
    &["select", "0"],
    &["AUTH"],
    &["AUTH", "secret"],
    &["AUTH", "somebody", "secret"],
    &["AUTH", "a", "b", "c"],
    &["HELLO", "4"],
    &["HELLO", "1"],
    &["HELLO", "x"],
    &["HELLO", "2", "NOSUCH"],
    &["HELLO", "2", "AUTH", "default"],
    &["HELLO", "2", "SETNAME"],
    &["HELLO", "2", "SETNAME", "a b"],
    &["CLIENT"],
    &["CLIENT", "NOSUCH"],
    &["CLIENT", "GETNAME"],
    &["CLIENT", "SETNAME", "a b"],
    &["CLIENT", "SETNAME", "me"],
    &["CLIENT", "GETNAME"],
    &["CLIENT", "SETNAME"],
    &["CLIENT", "SETNAME", ""],
    &["CLIENT", "GETNAME"],
    &["CLIENT", "MAINT_NOTIFICATIONS", "ON"],
    &["CLIENT", "REPLY", "ON"],
    &["CLIENT", "NO-EVICT", "on"],
    &["CLIENT", "GETREDIR"],
    &["CLIENT", "TRACKINGINFO"],
    &["CONFIG", "GET", "databases"],
    &["CONFIG", "GET", "save"],
    &["CONFIG", "GET", "appendonly"],
    &["CONFIG", "GET", "nosuchsetting"],
    &["config", "get", "MaxMemory-Policy"],
    &["CONFIG", "GET", "notify-keyspace-*"],
    &["CONFIG", "GET", "maxclients"],
    &["CONFIG", "GET", "proto-max-bulk-len"],
    &["CONFIG", "GET", "timeout"],
    &["CONFIG", "GET"],
    &["COMMAND", "INFO", "nosuchcommand"],
    &["COMMAND", "DOCS", "nosuchcommand"],
    &["COMMAND", "NOSUCH"],
    &["COMMAND", "COUNT"],
    &["COMMAND", "INFO", "get", "mset"],
    &["COMMAND", "DOCS", "get"],
    &["COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2"],
    &["MODULE", "LIST"],
    &["MODULE", "HELP"],
    &["MODULE"],
    &["MODULE", "NOSUCH"],
    &["SLOWLOG", "HELP"],
    &["SLOWLOG", "GET", "0"],
    &["SLOWLOG", "GET", "x"],
    &["SLOWLOG", "LEN", "x"],
    &["LATENCY", "LATEST"],
    &["LATENCY", "HISTORY", "nosuch"],
    &["LATENCY", "HISTORY"],
    &["LATENCY", "GRAPH", "nosuch"],
    &["LATENCY", "HELP"],
    &["LASTSAVE"],
    &["LASTSAVE", "x"],
    &["ACL", "CAT"],
    &["ACL", "CAT", "hash"],
    &["ACL", "USERS"],
    &["ACL", "LIST"],
    &["ACL", "GETUSER", "default"],
    &["ACL", "GETUSER", "nobody"],
    &["ACL", "GETUSER"],
    &["SCRIPT", "KILL"],
    &["SCRIPT", "KILL", "x"],
    &["FUNCTION", "KILL"],
    &["OBJECT", "NOSUCH", "k"],
    &["SENTINEL", "MASTERS"],
    &["READONLY"],
    &["CLUSTER", "SLOTS"],
];

#[test]
fn what_rmux_answers_itself_is_in_redis_own_words() {
    let long_name = "x".repeat(300);
    let long_word = "y".repeat(100);
    let long: [&[&str]; 3] = [&[&long_name, "a"], &["FOO", &long_word, &long_word, "z"], &["CLIENT", &long_name]];
    let rows: Vec<&[&str]> = ANSWERED.iter().copied().chain(long).collect();
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        for protocol in ["2", "3"] {
            let mut redis = Client::connect(&server.address(kind));
            let mut rmux = front.client();
            redis.cmd(&["HELLO", protocol]);
            rmux.cmd(&["HELLO", protocol]);
            let mut different = Vec::new();
            for row in &rows {
                let (wanted, got) = (redis.cmd(row), rmux.cmd(row));
                if got != wanted {
                    different.push(format!("{row:?}\n     got {:?}\n  wanted {:?}", show(&got), show(&wanted)));
                }
            }
            assert!(
                different.is_empty(),
                "{kind:?}, protocol {protocol}: {} answers differ:\n{}",
                different.len(),
                different.join("\n")
            );
        }
    }
}

/// Sends each row on a connection of its own, to Redis and through rmux, and compares everything that comes back until
/// the connection closes, or until the ECHO that follows the row is answered.
fn compare(rows: &[&[u8]]) {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let mut different = Vec::new();
        for row in rows {
            let wanted = outcome(&server.address(kind), row);
            let got = outcome(front.address(), row);
            if got != wanted {
                different.push(format!(
                    "{:?}\n     got {:?}\n  wanted {:?}",
                    show(&row[..row.len().min(100)]),
                    show(&got),
                    show(&wanted)
                ));
            }
        }
        assert!(different.is_empty(), "{kind:?}: {} answers differ:\n{}", different.len(), different.join("\n"));
    }
}

/// All bytes that follow the row, and whether the connection survived it.
fn outcome(address: &Address, row: &[u8]) -> Vec<u8> {
    const MARKER: &str = "the connection is still there";
    let mut client = Client::connect(address);
    // The peer may have closed already when the marker is sent.
    let _ = client.try_send(row);
    let _ = client.try_send(&encode(&["ECHO", MARKER]));
    let mut all = client.until_closed_or(&bulk(MARKER.as_bytes()));
    if !all.ends_with(&bulk(MARKER.as_bytes())) {
        all.extend_from_slice(b" (closed)");
    }
    all
}

#[test]
fn replies_of_one_line_may_have_any_length() {
    // A script's error or status is one line, and no limit is set to it.
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        for length in [100, 16_000, 65_534, 65_536, 70_000, 200_000, 1_000_000] {
            for field in ["err", "ok"] {
                let script = format!("return {{{field}=string.rep('x',{length})}}");
                let request = [encode(&["EVAL", &script, "0"]), encode(&["ECHO", "a"])].concat();
                let [mut redis, mut rmux] = [Client::connect(&server.address(kind)), front.client()];
                redis.send(&request);
                rmux.send(&request);
                for _ in 0..2 {
                    assert!(rmux.reply() == redis.reply(), "{kind:?}: {field} of {length} bytes");
                }
            }
        }
    }
}

#[test]
fn a_broken_request_closes_behind_the_replies_that_are_owed() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut client = front.client();
    client.send(b"SET k v\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*x\r\nGET k\r\n");
    let all = client.rest();
    assert_eq!(show(&all), "+OK\r\n$1\r\nv\r\n-ERR Protocol error: invalid multibulk length\r\n");
}
