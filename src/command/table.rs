//! The rows of the table, one command each: name, arity, and what follows from its group.
//!
//! Data only. A row is written as a function named for its class (`read` and `write` are both keyed), with the access
//! and the keys behind it where the class does not say them. Within a group the names are in alphabetical order; the
//! subcommands of a container stand behind the table, under the container's name. The shapes of keys are at the end.
//!
//! Where a row differs from what `COMMAND` says: scripts may write although they are not flagged so; `FT.CURSOR` and
//! `CF.COMPACT` are flagged as reading, but change what the next call finds; `TS.READ` may block without being flagged;
//! the channels of `SPUBLISH` and its kin are not keys.

use super::class::{Access, Channels, Class, Gather, Lease, Merge, Session};
use super::keys::Keys;
use super::name::Text;
use super::row::{Command, Subs};
use super::timeout::TimeoutAt;

/// All commands. A new one is a new row: nothing else depends on the order or the number.
pub(super) static ROWS: &[Command] = &[
    // Strings.
    write("append", 3, KEY),
    write("decr", 2, KEY),
    write("decrby", 3, KEY),
    write("delex", -2, KEY),
    write("delifeq", 3, KEY),
    read("digest", 2, KEY),
    read("get", 2, KEY),
    write("getdel", 2, KEY),
    write("getex", -2, KEY),
    read("getrange", 4, KEY),
    write("getset", 3, KEY),
    write("incr", 2, KEY),
    write("incrby", 3, KEY),
    write("incrbyfloat", 3, KEY),
    write("increx", -2, KEY),
    read("lcs", -3, TWO),
    split("mget", -2, Merge::ByPosition).reads().at(REST),
    split("mset", -3, Merge::AllOk).writes().at(PAIRS),
    write("msetex", -4, COUNTED_PAIRS),
    write("msetnx", -3, PAIRS),
    write("psetex", 4, KEY),
    write("set", -3, KEY),
    write("setex", 4, KEY),
    write("setnx", 3, KEY),
    write("setrange", 4, KEY),
    read("strlen", 2, KEY),
    read("substr", 4, KEY),
    // Bitmaps.
    read("bitcount", -2, KEY),
    write("bitfield", -2, KEY),
    read("bitfield_ro", -2, KEY),
    write("bitop", -4, FROM_SECOND),
    read("bitpos", -3, KEY),
    read("getbit", 3, KEY),
    write("setbit", 4, KEY),
    // Hashes.
    write("hdel", -3, KEY),
    read("hexists", 3, KEY),
    write("hexpire", -6, KEY),
    write("hexpireat", -6, KEY),
    read("hexpiretime", -5, KEY),
    read("hget", 3, KEY),
    read("hgetall", 2, KEY),
    write("hgetdel", -5, KEY),
    write("hgetex", -5, KEY),
    refused("himport", -2),
    write("hincrby", 4, KEY),
    write("hincrbyfloat", 4, KEY),
    read("hkeys", 2, KEY),
    read("hlen", 2, KEY),
    read("hmget", -3, KEY),
    write("hmset", -4, KEY),
    write("hpersist", -5, KEY),
    write("hpexpire", -6, KEY),
    write("hpexpireat", -6, KEY),
    read("hpexpiretime", -5, KEY),
    read("hpttl", -5, KEY),
    read("hrandfield", -2, KEY),
    read("hscan", -3, KEY),
    write("hset", -4, KEY),
    write("hsetex", -6, KEY),
    write("hsetnx", 4, KEY),
    read("hstrlen", 3, KEY),
    read("httl", -5, KEY),
    read("hvals", 2, KEY),
    // Lists.
    block("blmove", 6, TimeoutAt::Argument(5)).writes().at(TWO),
    block("blmovem", -6, TimeoutAt::Argument(5)).writes().at(TWO),
    block("blmpop", -5, TimeoutAt::Argument(1)).writes().at(COUNTED_AT_2),
    block("blpop", -3, TimeoutAt::Last).writes().at(BUT_LAST),
    block("brpop", -3, TimeoutAt::Last).writes().at(BUT_LAST),
    block("brpoplpush", 4, TimeoutAt::Argument(3)).writes().at(TWO),
    read("lindex", 3, KEY),
    write("linsert", 5, KEY),
    read("llen", 2, KEY),
    write("lmove", 5, TWO),
    write("lmovem", -5, TWO),
    write("lmpop", -4, COUNTED),
    write("lpop", -2, KEY),
    read("lpos", -3, KEY),
    write("lpush", -3, KEY),
    write("lpushx", -3, KEY),
    read("lrange", 4, KEY),
    write("lrem", 4, KEY),
    write("lset", 4, KEY),
    write("ltrim", 4, KEY),
    write("rpop", -2, KEY),
    write("rpoplpush", 3, TWO),
    write("rpush", -3, KEY),
    write("rpushx", -3, KEY),
    // Sets.
    write("sadd", -3, KEY),
    read("scard", 2, KEY),
    read("sdiff", -2, REST),
    read("sdiffcard", -3, COUNTED),
    write("sdiffstore", -3, REST),
    read("sinter", -2, REST),
    read("sintercard", -3, COUNTED),
    write("sinterstore", -3, REST),
    read("sismember", 3, KEY),
    read("smembers", 2, KEY),
    read("smismember", -3, KEY),
    write("smove", 4, TWO),
    write("spop", -2, KEY),
    read("srandmember", -2, KEY),
    write("srem", -3, KEY),
    read("sscan", -3, KEY),
    read("sunion", -2, REST),
    read("sunioncard", -3, COUNTED),
    write("sunionstore", -3, REST),
    // Sorted sets.
    block("bzmpop", -5, TimeoutAt::Argument(1)).writes().at(COUNTED_AT_2),
    block("bzpopmax", -3, TimeoutAt::Last).writes().at(BUT_LAST),
    block("bzpopmin", -3, TimeoutAt::Last).writes().at(BUT_LAST),
    write("zadd", -4, KEY),
    read("zcard", 2, KEY),
    read("zcount", 4, KEY),
    read("zdiff", -3, COUNTED),
    write("zdiffstore", -4, STORE_COUNTED),
    write("zincrby", 4, KEY),
    read("zinter", -3, COUNTED),
    read("zintercard", -3, COUNTED),
    write("zinterstore", -4, STORE_COUNTED),
    read("zlexcount", 4, KEY),
    write("zmpop", -4, COUNTED),
    read("zmscore", -3, KEY),
    write("zpopmax", -2, KEY),
    write("zpopmin", -2, KEY),
    read("zrandmember", -2, KEY),
    read("zrange", -4, KEY),
    read("zrangebylex", -4, KEY),
    read("zrangebyscore", -4, KEY),
    write("zrangestore", -5, TWO),
    read("zrank", -3, KEY),
    write("zrem", -3, KEY),
    write("zremrangebylex", 4, KEY),
    write("zremrangebyrank", 4, KEY),
    write("zremrangebyscore", 4, KEY),
    read("zrevrange", -4, KEY),
    read("zrevrangebylex", -4, KEY),
    read("zrevrangebyscore", -4, KEY),
    read("zrevrank", -3, KEY),
    read("zscan", -3, KEY),
    read("zscore", 3, KEY),
    read("zunion", -3, COUNTED),
    write("zunionstore", -4, STORE_COUNTED),
    // Geo.
    write("geoadd", -5, KEY),
    read("geodist", -4, KEY),
    read("geohash", -2, KEY),
    read("geopos", -2, KEY),
    write("georadius", -6, Keys::Radius { options_at: 6 }),
    read("georadius_ro", -6, KEY),
    write("georadiusbymember", -5, Keys::Radius { options_at: 5 }),
    read("georadiusbymember_ro", -5, KEY),
    read("geosearch", -7, KEY),
    write("geosearchstore", -8, TWO),
    // HyperLogLog.
    write("pfadd", -2, KEY),
    read("pfcount", -2, REST),
    refused("pfdebug", 3).writes().at(SECOND),
    write("pfmerge", -2, REST),
    refused("pfselftest", 1),
    // Streams.
    write("xack", -4, KEY),
    write("xackdel", -6, KEY),
    write("xadd", -5, KEY),
    write("xautoclaim", -6, KEY),
    write("xcfgset", -2, KEY),
    write("xclaim", -6, KEY),
    write("xdel", -3, KEY),
    write("xdelex", -5, KEY),
    container("xgroup", -2, Subs::Xgroup),
    write("xidmprecord", 5, KEY),
    container("xinfo", -2, Subs::Xinfo),
    read("xlen", 2, KEY),
    write("xnack", -7, KEY),
    read("xpending", -3, KEY),
    read("xrange", -4, KEY),
    block("xread", -4, TimeoutAt::BlockOption(1)).reads().at(Keys::Streams),
    block("xreadgroup", -7, TimeoutAt::BlockOption(1)).writes().at(Keys::Streams),
    read("xrevrange", -4, KEY),
    write("xsetid", -3, KEY),
    write("xtrim", -4, KEY),
    // Arrays.
    read("arcount", 2, KEY),
    write("ardel", -3, KEY),
    write("ardelrange", -4, KEY),
    read("arget", 3, KEY),
    read("argetrange", 4, KEY),
    read("argrep", -6, KEY),
    read("arinfo", -2, KEY),
    write("arinsert", -3, KEY),
    read("arlastitems", -3, KEY),
    read("arlen", 2, KEY),
    read("armget", -3, KEY),
    write("armset", -4, KEY),
    read("arnext", 2, KEY),
    read("arop", -5, KEY),
    write("arring", -4, KEY),
    read("arscan", -4, KEY),
    write("arseek", 3, KEY),
    write("arset", -4, KEY),
    // Keys of any type.
    write("copy", -3, TWO),
    split("del", -2, Merge::Sum).writes().at(REST),
    read("dump", 2, KEY),
    split("exists", -2, Merge::Sum).reads().at(REST),
    write("expire", -3, KEY),
    write("expireat", -3, KEY),
    read("expiretime", 2, KEY),
    all("keys", 2, Gather::Concat).reads(),
    refused("migrate", -6).writes().at(Keys::Migrate),
    write("move", 3, KEY),
    container("object", -2, Subs::Object),
    write("persist", 2, KEY),
    write("pexpire", -3, KEY),
    write("pexpireat", -3, KEY),
    read("pexpiretime", 2, KEY),
    read("pttl", 2, KEY),
    all("randomkey", 1, Gather::AnyKey).reads(),
    write("rename", 3, TWO),
    write("renamenx", 3, TWO),
    write("restore", -4, KEY),
    all("scan", -2, Gather::Cursor).reads(),
    write("sort", -2, Keys::Sort { store: true }),
    read("sort_ro", -2, Keys::Sort { store: false }),
    split("touch", -2, Merge::Sum).reads().at(REST),
    read("ttl", 2, KEY),
    read("type", 2, KEY),
    split("unlink", -2, Merge::Sum).writes().at(REST),
    lease("wait", 3, Lease::Wait),
    lease("waitaof", 4, Lease::Wait),
    // Scripts and functions.
    write("eval", -3, SCRIPT_KEYS),
    read("eval_ro", -3, SCRIPT_KEYS),
    write("evalsha", -3, SCRIPT_KEYS),
    read("evalsha_ro", -3, SCRIPT_KEYS),
    write("fcall", -3, SCRIPT_KEYS),
    read("fcall_ro", -3, SCRIPT_KEYS),
    container("function", -2, Subs::Function),
    container("script", -2, Subs::Script),
    // Pub/sub.
    lease("psubscribe", -2, Lease::Subscribe(Channels::Pattern)),
    channel("publish", Channels::Exact),
    container("pubsub", -2, Subs::Pubsub),
    lease("punsubscribe", -1, Lease::Unsubscribe(Channels::Pattern)),
    channel("spublish", Channels::Shard),
    lease("ssubscribe", -2, Lease::Subscribe(Channels::Shard)),
    lease("subscribe", -2, Lease::Subscribe(Channels::Exact)),
    lease("sunsubscribe", -1, Lease::Unsubscribe(Channels::Shard)),
    lease("unsubscribe", -1, Lease::Unsubscribe(Channels::Exact)),
    // Transactions.
    lease("discard", 1, Lease::Discard),
    lease("exec", 1, Lease::Exec),
    lease("multi", 1, Lease::Multi),
    lease("unwatch", 1, Lease::Unwatch),
    lease("watch", -2, Lease::Watch).at(REST),
    // The session.
    session("auth", -2, Session::Auth),
    session("client", -2, Session::Client),
    session("echo", 2, Session::Echo),
    session("hello", -1, Session::Hello),
    session("ping", -1, Session::Ping),
    session("quit", -1, Session::Quit),
    session("reset", 1, Session::Reset),
    session("select", 2, Session::Select),
    // Cluster.
    session("asking", 1, Session::ReadOnly),
    container("cluster", -2, Subs::Cluster),
    session("clusterscan", -2, Session::Cluster),
    session("readonly", 1, Session::ReadOnly),
    session("readwrite", 1, Session::ReadOnly),
    // The server.
    container("acl", -2, Subs::Acl),
    refused("backup", 2),
    refused("bgrewriteaof", 1),
    refused("bgsave", -1),
    session("command", -1, Session::Command),
    container("commandlog", -2, Subs::Log),
    container("config", -2, Subs::Config),
    all("dbsize", 1, Gather::Sum).reads(),
    refused("debug", -2),
    refused("failover", -1),
    all("flushall", -1, Gather::AllOk).writes(),
    all("flushdb", -1, Gather::AllOk).writes(),
    refused("hotkeys", -2),
    session("info", -1, Session::Info),
    single("lastsave", 1),
    container("latency", -2, Subs::Latency),
    any("lolwut", -1).reads(),
    container("memory", -2, Subs::Memory),
    container("module", -2, Subs::Module),
    refused("monitor", 1),
    refused("psync", -3),
    refused("replconf", -1),
    refused("replicaof", 3),
    refused("restore-asking", -4).writes().at(KEY),
    session("role", 1, Session::Role),
    refused("save", 1),
    refused("shutdown", -1),
    refused("slaveof", 3),
    container("slowlog", -2, Subs::Log),
    refused("swapdb", 3).writes(),
    refused("sync", 1),
    any("time", 1),
    refused("trimslots", -5).writes(),
    // Vector sets.
    write("vadd", -5, KEY),
    read("vcard", 2, KEY),
    read("vdim", 2, KEY),
    read("vemb", -3, KEY),
    read("vgetattr", 3, KEY),
    read("vinfo", 2, KEY),
    read("vismember", 3, KEY),
    read("vlinks", -3, KEY),
    read("vrandmember", -2, KEY),
    read("vrange", -4, KEY),
    write("vrem", 3, KEY),
    write("vsetattr", 4, KEY),
    read("vsim", -4, KEY),
    // JSON.
    write("json.arrappend", -3, KEY),
    read("json.arrindex", -4, KEY),
    write("json.arrinsert", -5, KEY),
    read("json.arrlen", -2, KEY),
    write("json.arrpop", -2, KEY),
    write("json.arrtrim", 5, KEY),
    write("json.clear", -2, KEY),
    container("json.debug", -2, Subs::JsonDebug),
    write("json.del", -2, KEY),
    write("json.forget", -2, KEY),
    read("json.get", -2, KEY),
    write("json.merge", -4, KEY),
    split("json.mget", -3, Merge::ByPosition).reads().at(BUT_LAST),
    write("json.mset", -4, TRIPLES),
    write("json.numincrby", 4, KEY),
    write("json.nummultby", 4, KEY),
    write("json.numpowby", 4, KEY),
    read("json.objkeys", -2, KEY),
    read("json.objlen", -2, KEY),
    read("json.resp", -2, KEY),
    write("json.set", -4, KEY),
    write("json.strappend", -3, KEY),
    read("json.strlen", -2, KEY),
    write("json.toggle", 3, KEY),
    read("json.type", -2, KEY),
    // Bloom and cuckoo filters, count-min sketch, top-k, t-digest.
    write("bf.add", 3, KEY),
    read("bf.card", 2, KEY),
    read("bf.debug", 2, KEY),
    read("bf.exists", 3, KEY),
    read("bf.info", -2, KEY),
    write("bf.insert", -4, KEY),
    write("bf.load", 3, KEY),
    write("bf.loadchunk", 4, KEY),
    write("bf.madd", -3, KEY),
    read("bf.mexists", -3, KEY),
    write("bf.reserve", -4, KEY),
    read("bf.scandump", 3, KEY),
    write("cf.add", 3, KEY),
    write("cf.addnx", 3, KEY),
    write("cf.compact", -1, KEY),
    read("cf.count", 3, KEY),
    read("cf.debug", 2, KEY),
    write("cf.del", 3, KEY),
    read("cf.exists", 3, KEY),
    read("cf.info", 2, KEY),
    write("cf.insert", -4, KEY),
    write("cf.insertnx", -4, KEY),
    write("cf.loadchunk", 4, KEY),
    read("cf.mexists", -3, KEY),
    write("cf.reserve", -3, KEY),
    read("cf.scandump", 3, KEY),
    write("cms.incrby", -4, KEY),
    read("cms.info", 2, KEY),
    write("cms.initbydim", 4, KEY),
    write("cms.initbyprob", 4, KEY),
    write("cms.merge", -4, STORE_COUNTED),
    read("cms.query", -3, KEY),
    write("tdigest.add", -3, KEY),
    read("tdigest.byrank", -3, KEY),
    read("tdigest.byrevrank", -3, KEY),
    read("tdigest.cdf", -3, KEY),
    write("tdigest.create", -2, KEY),
    read("tdigest.info", 2, KEY),
    read("tdigest.max", 2, KEY),
    write("tdigest.merge", -4, STORE_COUNTED),
    read("tdigest.min", 2, KEY),
    read("tdigest.quantile", -3, KEY),
    read("tdigest.rank", -3, KEY),
    write("tdigest.reset", 2, KEY),
    read("tdigest.revrank", -3, KEY),
    read("tdigest.trimmed_mean", 4, KEY),
    write("topk.add", -3, KEY),
    read("topk.count", -3, KEY),
    write("topk.incrby", -4, KEY),
    read("topk.info", 2, KEY),
    read("topk.list", -2, KEY),
    read("topk.query", -3, KEY),
    write("topk.reserve", -3, KEY),
    // Time series.
    refused("timeseries.clusterset", -1),
    write("ts.add", -4, KEY),
    write("ts.alter", -2, KEY),
    write("ts.create", -2, KEY),
    write("ts.createrule", -5, TWO),
    write("ts.decrby", -3, KEY),
    write("ts.del", 4, KEY),
    write("ts.deleterule", 3, TWO),
    read("ts.get", -2, KEY),
    write("ts.incrby", -3, KEY),
    read("ts.info", -2, KEY),
    write("ts.madd", -4, TRIPLES),
    all("ts.mget", -3, Gather::Concat).reads(),
    single("ts.mrange", -4).reads(),
    single("ts.mrevrange", -4).reads(),
    read("ts.nrange", -5, COUNTED),
    read("ts.nrevrange", -5, COUNTED),
    all("ts.queryindex", -2, Gather::Concat).reads(),
    single("ts.querylabels", -2).reads(),
    read("ts.range", -4, KEY),
    block("ts.read", -3, TimeoutAt::BlockOption(3)).reads().at(KEY),
    read("ts.revrange", -4, KEY),
    // Search.
    refused("_ft.config", -2),
    refused("_ft.debug", -2),
    single("ft._aliasaddifnx", 3).writes(),
    single("ft._aliasdelifx", 2).writes(),
    single("ft._alterifnx", -6).writes(),
    single("ft._createifnx", -5).writes(),
    single("ft._dropifx", -1).writes(),
    single("ft._dropindexifx", -2).writes(),
    single("ft._list", -1).reads(),
    write("ft.add", -1, SECOND),
    single("ft.aggregate", -3).reads(),
    single("ft.aliasadd", 3).writes(),
    single("ft.aliasdel", 2).writes(),
    single("ft.aliaslist", 2).reads(),
    single("ft.aliasupdate", 3).writes(),
    single("ft.alter", -6).writes(),
    container("ft.config", -2, Subs::FtConfig),
    single("ft.create", -5).writes(),
    container("ft.cursor", -2, Subs::FtCursor),
    write("ft.del", -1, SECOND),
    single("ft.dictadd", -3).writes(),
    single("ft.dictdel", -3).writes(),
    single("ft.dictdump", 2).reads(),
    single("ft.drop", -1).writes(),
    single("ft.dropindex", -2).writes(),
    single("ft.explain", -3).reads(),
    single("ft.explaincli", -3).reads(),
    read("ft.get", -1, SECOND),
    single("ft.hybrid", -7).reads(),
    single("ft.info", 2).reads(),
    single("ft.mget", -1).reads(),
    single("ft.profile", -5).reads(),
    write("ft.safeadd", -1, SECOND),
    single("ft.search", -3).reads(),
    single("ft.spellcheck", -3).reads(),
    write("ft.sugadd", -4, KEY),
    write("ft.sugdel", 3, KEY),
    read("ft.sugget", -3, KEY),
    read("ft.suglen", 2, KEY),
    single("ft.synadd", -1).writes(),
    single("ft.syndump", 2).reads(),
    single("ft.synupdate", -4).writes(),
    single("ft.tagvals", 3).reads(),
    refused("search.clusterinfo", -1),
    refused("search.clusterrefresh", -1),
    refused("search.clusterset", -1),
];

const ACL: &[Command] = &[
    any("cat", -2),
    refused("deluser", -3),
    refused("dryrun", -4),
    any("genpass", -2),
    all("getuser", 3, Gather::Masked),
    any("help", 2),
    all("list", 2, Gather::Masked),
    refused("load", 2),
    refused("log", -2),
    refused("save", 2),
    refused("setuser", -3),
    single("users", 2),
    session("whoami", 2, Session::AclWhoami),
];

const CLUSTER: &[Command] = &[
    refused("addslots", -3),
    refused("addslotsrange", -4),
    refused("bumpepoch", 2),
    refused("cancelslotmigrations", 2),
    session("count-failure-reports", 3, Session::Cluster),
    session("countkeysinslot", 3, Session::Cluster),
    refused("delslots", -3),
    refused("delslotsrange", -4),
    refused("failover", -2),
    refused("flushslot", -3),
    refused("flushslots", 2),
    refused("forget", 3),
    session("getkeysinslot", 4, Session::Cluster),
    session("getslotmigrations", 2, Session::Cluster),
    session("help", 2, Session::Cluster),
    session("info", 2, Session::Cluster),
    session("keyslot", 3, Session::Cluster),
    session("links", 2, Session::Cluster),
    refused("meet", -4),
    refused("migrateslots", -4),
    refused("migration", -4),
    session("myid", 2, Session::Cluster),
    session("myshardid", 2, Session::Cluster),
    session("nodes", 2, Session::Cluster),
    session("replicas", 3, Session::Cluster),
    refused("replicate", 3),
    refused("reset", -2),
    refused("saveconfig", 2),
    refused("set-config-epoch", 3),
    refused("setslot", -4),
    session("shards", 2, Session::Cluster),
    session("slaves", 3, Session::Cluster),
    session("slot-stats", -4, Session::Cluster),
    session("slots", 2, Session::Cluster),
    refused("syncslots", -3),
];

const CONFIG: &[Command] = &[
    session("get", -3, Session::ConfigGet),
    any("help", 2),
    refused("resetstat", 2),
    refused("rewrite", 2),
    refused("set", -4),
];

const FT_CONFIG: &[Command] = &[single("get", -3).reads(), single("help", -3).reads(), refused("set", -3).writes()];

const FT_CURSOR: &[Command] = &[single("del", -4).writes(), single("gc", -2).writes(), single("read", -4).writes()];

const FUNCTION: &[Command] = &[
    all("delete", 3, Gather::AllOk).writes(),
    any("dump", 2),
    all("flush", -2, Gather::AllOk).writes(),
    any("help", 2),
    all("kill", 2, Gather::Kill),
    any("list", -2),
    all("load", -3, Gather::First).writes(),
    all("restore", -3, Gather::AllOk).writes(),
    any("stats", 2),
];

const JSON_DEBUG: &[Command] = &[any("help", -2), read("memory", -3, SECOND)];

const LATENCY: &[Command] = &[
    single("doctor", 2),
    single("graph", 3),
    any("help", 2),
    single("histogram", -2),
    single("history", 3),
    single("latest", 2),
    refused("reset", -2),
];

/// `SLOWLOG` and `COMMANDLOG`, which is Valkey's and has one word more: its name for the kind of log.
const LOG: &[Command] = &[single("get", -2), any("help", 2), single("len", -2), refused("reset", -2)];

const MEMORY: &[Command] = &[
    single("doctor", 2),
    any("help", 2),
    single("malloc-stats", 2),
    all("purge", 2, Gather::AllOk),
    single("stats", 2),
    read("usage", -3, SECOND),
];

const MODULE: &[Command] =
    &[any("help", 2), any("list", 2), refused("load", -3), refused("loadex", -3), refused("unload", 3)];

const OBJECT: &[Command] = &[
    read("encoding", 3, SECOND),
    read("freq", 3, SECOND),
    any("help", 2),
    read("idletime", 3, SECOND),
    read("refcount", 3, SECOND),
];

const PUBSUB: &[Command] = &[
    all("channels", -2, Gather::Union),
    any("help", 2),
    all("numpat", 2, Gather::Max),
    all("numsub", -2, Gather::Subscribers(Channels::Exact)),
    all("shardchannels", -2, Gather::Union),
    all("shardnumsub", -2, Gather::Subscribers(Channels::Shard)),
];

const SCRIPT: &[Command] = &[
    refused("debug", 3),
    all("exists", -3, Gather::And),
    all("flush", -2, Gather::AllOk),
    any("help", 2),
    all("kill", 2, Gather::Kill),
    all("load", 3, Gather::First),
    any("show", 3),
];

const XGROUP: &[Command] = &[
    write("create", -5, SECOND),
    write("createconsumer", 5, SECOND),
    write("delconsumer", 5, SECOND),
    write("destroy", 4, SECOND),
    any("help", 2),
    write("setid", -5, SECOND),
];

const XINFO: &[Command] =
    &[read("consumers", 4, SECOND), read("groups", 3, SECOND), any("help", 2), read("stream", -3, SECOND)];

impl Subs {
    /// The rows themselves.
    pub(super) fn rows(self) -> &'static [Command] {
        match self {
            Subs::None => &[],
            Subs::Acl => ACL,
            Subs::Cluster => CLUSTER,
            Subs::Config => CONFIG,
            Subs::FtConfig => FT_CONFIG,
            Subs::FtCursor => FT_CURSOR,
            Subs::Function => FUNCTION,
            Subs::JsonDebug => JSON_DEBUG,
            Subs::Latency => LATENCY,
            Subs::Log => LOG,
            Subs::Memory => MEMORY,
            Subs::Module => MODULE,
            Subs::Object => OBJECT,
            Subs::Pubsub => PUBSUB,
            Subs::Script => SCRIPT,
            Subs::Xgroup => XGROUP,
            Subs::Xinfo => XINFO,
        }
    }
}

const KEY: Keys = Keys::Range { first: 1, last: 1, step: 1 };
const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };
const REST: Keys = Keys::Range { first: 1, last: -1, step: 1 };
const BUT_LAST: Keys = Keys::Range { first: 1, last: -2, step: 1 };
const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };
const TRIPLES: Keys = Keys::Range { first: 1, last: -1, step: 3 };
const SECOND: Keys = Keys::Range { first: 2, last: 2, step: 1 };
const FROM_SECOND: Keys = Keys::Range { first: 2, last: -1, step: 1 };
const COUNTED: Keys = Keys::Counted { count_at: 1, step: 1, destination: false, optional: false };
const COUNTED_PAIRS: Keys = Keys::Counted { count_at: 1, step: 2, destination: false, optional: false };
const COUNTED_AT_2: Keys = Keys::Counted { count_at: 2, step: 1, destination: false, optional: false };
const STORE_COUNTED: Keys = Keys::Counted { count_at: 2, step: 1, destination: true, optional: false };
const SCRIPT_KEYS: Keys = Keys::Counted { count_at: 2, step: 1, destination: false, optional: true };

const fn row(name: &'static str, arity: i16, class: Class) -> Command {
    Command { text: Text::of_table(name), arity, access: Access::None, class, keys: Keys::None, subs: Subs::None }
}

const fn read(name: &'static str, arity: i16, keys: Keys) -> Command {
    row(name, arity, Class::Keyed).reads().at(keys)
}

const fn write(name: &'static str, arity: i16, keys: Keys) -> Command {
    row(name, arity, Class::Keyed).writes().at(keys)
}

const fn split(name: &'static str, arity: i16, merge: Merge) -> Command {
    row(name, arity, Class::Split(merge))
}

const fn all(name: &'static str, arity: i16, gather: Gather) -> Command {
    row(name, arity, Class::All(gather))
}

const fn any(name: &'static str, arity: i16) -> Command {
    row(name, arity, Class::Any)
}

const fn single(name: &'static str, arity: i16) -> Command {
    row(name, arity, Class::Single)
}

const fn channel(name: &'static str, family: Channels) -> Command {
    row(name, 3, Class::Channel(family))
}

const fn session(name: &'static str, arity: i16, session: Session) -> Command {
    row(name, arity, Class::Session(session))
}

const fn lease(name: &'static str, arity: i16, lease: Lease) -> Command {
    row(name, arity, Class::Lease(lease))
}

const fn block(name: &'static str, arity: i16, timeout_at: TimeoutAt) -> Command {
    row(name, arity, Class::Lease(Lease::Block(timeout_at)))
}

const fn refused(name: &'static str, arity: i16) -> Command {
    row(name, arity, Class::Refused)
}

const fn container(name: &'static str, arity: i16, subs: Subs) -> Command {
    let mut command = row(name, arity, Class::Container);
    command.subs = subs;
    command
}

impl Command {
    const fn reads(mut self) -> Command {
        self.access = Access::Read;
        self
    }

    const fn writes(mut self) -> Command {
        self.access = Access::Write;
        self
    }

    const fn at(mut self, keys: Keys) -> Command {
        self.keys = keys;
        self
    }
}
