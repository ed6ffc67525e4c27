//! The subcommands of the containers, under the container's name.
//!
//! Data only, as in `table`: a row is a call of `shape`.

use super::class::{Channels, Gather, Rmux, Session};
use super::row::{Command, Subs};
use super::shape::{SECOND, all, any, read, refused, session, single, write};

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

const RMUX: &[Command] = &[
    session("help", 2, Session::Rmux(Rmux::Help)),
    session("latency", 2, Session::Rmux(Rmux::Latency)),
    session("ring", -3, Session::Rmux(Rmux::Ring)),
    session("servers", 2, Session::Rmux(Rmux::Servers)),
    session("slowlog", -3, Session::Rmux(Rmux::Slowlog)),
    session("status", 2, Session::Rmux(Rmux::Status)),
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
            Subs::Rmux => RMUX,
            Subs::Script => SCRIPT,
            Subs::Xgroup => XGROUP,
            Subs::Xinfo => XINFO,
        }
    }
}
