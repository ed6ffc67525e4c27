//! CLIENT and its subcommands.

use super::*;
use crate::client::Client;

#[test]
fn replies_are_left_out_when_a_client_asks_for_that() {
    let mut talk = Talk::new();
    let silence = |talk: &mut Talk, word: &str| {
        assert_eq!(talk.outcome(&[b"CLIENT", b"REPLY", word.as_bytes()]), (Outcome::Silence, vec![]));
        talk.session.reply_mode
    };
    assert_eq!(silence(&mut talk, "SKIP"), ReplyMode::SkipNext);
    assert!(talk.session.reply_mode.take() && !talk.session.reply_mode.take());
    assert_eq!(silence(&mut talk, "off"), ReplyMode::Off);
    assert_eq!(silence(&mut talk, "skip"), ReplyMode::Off, "it is off already");
    assert!(talk.session.reply_mode.take() && talk.session.reply_mode.take());
    talk.hears("CLIENT REPLY ON", "+OK\r\n");
    assert_eq!(talk.session.reply_mode, ReplyMode::On);
    silence(&mut talk, "OFF");
    talk.hears("RESET", "+RESET\r\n");
    assert_eq!(talk.session.reply_mode, ReplyMode::On);
}

#[test]
fn clients_name_themselves() {
    let mut talk = Talk::new();
    talk.hears("CLIENT GETNAME", "$-1\r\n");
    talk.hears("client setname bull:YQ==", "+OK\r\n");
    talk.hears("CLIENT GETNAME", "$9\r\nbull:YQ==\r\n");
    talk.hears("CLIENT SETNAME !~", "+OK\r\n");
    for name in ["a b", "a\nb", "a\x7f", "\u{e9}", "a\0"] {
        let (_, reply) = talk.outcome(&[b"CLIENT", b"SETNAME", name.as_bytes()]);
        let text = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
        assert_eq!(reply, text.as_bytes(), "{name:?}");
    }
    talk.hears("CLIENT GETNAME", "$2\r\n!~\r\n");
    talk.hears(&format!("CLIENT SETNAME {}", "a".repeat(4096)), "+OK\r\n");
    let too_long = "a".repeat(4097);
    talk.hears_error(&format!("CLIENT SETNAME {too_long}"), "ERR Client names cannot be longer than 4096 bytes");
    talk.hears_error(&format!("HELLO 3 SETNAME {too_long}"), "ERR Client names cannot be longer than 4096 bytes");
    assert_eq!(talk.session.name.len(), 4096);
    talk.hears("CLIENT SETNAME ", "+OK\r\n");
    talk.hears("CLIENT GETNAME", "$-1\r\n");
    Talk::in_resp3().hears("CLIENT GETNAME", "_\r\n");
}

#[test]
fn libraries_name_themselves() {
    let mut talk = Talk::new();
    talk.hears("CLIENT SETINFO LIB-NAME redis-client(redis-rb_v6.0.0)", "+OK\r\n");
    talk.hears("client setinfo lib-ver 6.0.0", "+OK\r\n");
    assert_eq!(talk.session.library(), ("redis-client(redis-rb_v6.0.0)", "6.0.0"));
    talk.hears_error("CLIENT SETINFO Foo x", "ERR Unrecognized option 'Foo'");
    for name in ["lib-name", "LIB-VER"] {
        let (_, reply) = talk.outcome(&[b"CLIENT", b"SETINFO", name.as_bytes(), b"a b"]);
        let expected = format!("-ERR {name} cannot contain spaces, newlines or special characters.\r\n");
        assert_eq!(String::from_utf8_lossy(&reply), expected);
    }
    talk.hears_error(&format!("CLIENT SETINFO LIB-VER {}", "1".repeat(4097)), "ERR LIB-VER is too long");
    assert_eq!(talk.session.library().1, "6.0.0");
    talk.hears("CLIENT SETINFO LIB-VER ", "+OK\r\n");
    assert_eq!(talk.session.library(), ("redis-client(redis-rb_v6.0.0)", ""));
}

#[test]
fn a_client_sees_itself() {
    let line = |subcommand: &str, resp: u8, name: &str| {
        format!(
            "id=422 addr=localhost:6379 laddr=localhost:6379 fd=-1 name={name} age=61 idle=0 flags=N db=3 sub=0 psub=0 \
             ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem={memory} \
             events=r cmd=client|{subcommand} user=default redir=-1 resp={resp} lib-name=lib lib-ver=1.2\n",
            memory = size_of::<Client>(),
        )
    };
    let mut talk = Talk::new();
    talk.hears("CLIENT ID", ":422\r\n");
    talk.say("SELECT 3");
    talk.say("CLIENT SETINFO LIB-NAME lib");
    talk.say("CLIENT SETINFO LIB-VER 1.2");
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    talk.hears("CLIENT INFO", &bulk(&line("info", 2, "")));
    talk.hears("CLIENT LIST", &bulk(&line("list", 2, "")));
    talk.say("HELLO 3 SETNAME ann");
    let verbatim = |text: &str| format!("={}\r\ntxt:{text}\r\n", text.len() + 4);
    talk.hears("CLIENT INFO", &verbatim(&line("info", 3, "ann")));
    for request in ["CLIENT LIST", "CLIENT LIST TYPE normal", "CLIENT LIST ID 422", "client list id 1 422 -5 422"] {
        talk.hears(request, &verbatim(&line("list", 3, "ann")));
    }
    for request in ["CLIENT LIST TYPE pubsub", "CLIENT LIST type REPLICA", "CLIENT LIST ID 1 2"] {
        talk.hears(request, "=4\r\ntxt:\r\n");
    }
    talk.hears_error("CLIENT LIST TYPE a\r\nb\n", "ERR Unknown client type 'a  b '");
    talk.hears_error("CLIENT LIST ID 422 x", "ERR Invalid client ID");
    for request in ["CLIENT LIST ID", "CLIENT LIST FOO", "CLIENT LIST FOO 1", "CLIENT LIST TYPE normal pubsub"] {
        talk.hears_error(request, "ERR syntax error");
    }
    talk.peer = Some("10.0.0.7:5555");
    assert!(talk.say("CLIENT INFO").contains(" addr=10.0.0.7:5555 laddr=localhost:6379 "));
    talk.peer = None;
    talk.listen = "/tmp/rmux.sock";
    let unix = talk.say("CLIENT INFO");
    assert!(unix.contains(" addr=/tmp/rmux.sock:0 laddr=/tmp/rmux.sock:0 "), "{unix}");
    assert!(unix.contains(" flags=U "), "{unix}");
}

#[test]
fn what_a_pool_need_not_do_is_acknowledged() {
    for mut talk in [Talk::new(), Talk::in_resp3()] {
        for request in [
            "CLIENT NO-EVICT on",
            "CLIENT NO-EVICT OFF",
            "CLIENT NO-TOUCH ON",
            "client no-touch off",
            "CLIENT CAPA redirect",
            "client capa nosuch redirect",
            "CLIENT IMPORT-SOURCE off",
            "CLIENT REPLY ON",
            "CLIENT TRACKING off",
            "CLIENT TRACKING OFF BCAST noloop",
        ] {
            talk.hears(request, "+OK\r\n");
        }
        talk.hears("CLIENT GETREDIR", ":-1\r\n");
        for request in [
            "CLIENT NO-EVICT x",
            "CLIENT NO-TOUCH x",
            "CLIENT REPLY FOO",
            "CLIENT IMPORT-SOURCE foo",
            "CLIENT TRACKING foo",
            "CLIENT TRACKING OFF foo",
        ] {
            talk.hears_error(request, "ERR syntax error");
        }
    }
    let off = "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n";
    Talk::new().hears("CLIENT TRACKINGINFO", off);
    let off = "%3\r\n$5\r\nflags\r\n~1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n";
    Talk::in_resp3().hears("CLIENT TRACKINGINFO", off);
}

#[test]
fn what_a_shared_connection_cannot_do_is_refused() {
    let mut talk = Talk::new();
    for request in ["CLIENT PAUSE 100", "CLIENT PAUSE 1 ALL", "CLIENT UNPAUSE", "CLIENT IMPORT-SOURCE on"] {
        talk.hears_error(request, "ERR This command is not supported");
    }
    talk.hears_error("CLIENT TRACKING ON OPTIN", "ERR CLIENT TRACKING is not supported");
    let text = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode \
                enabled";
    talk.hears_error("CLIENT CACHING YES", text);
    // What clients take for a server that has never heard of it; not an error they give up on.
    let text = "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.";
    talk.hears_error("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip", text);
    talk.hears_error("client foo", "ERR unknown subcommand 'foo'. Try CLIENT HELP.");
    talk.hears_error("client ", "ERR unknown subcommand ''. Try CLIENT HELP.");
}

#[test]
fn subcommands_of_client_have_the_arity_of_redis() {
    let mut talk = Talk::new();
    talk.hears_error("CLIENT", "ERR wrong number of arguments for 'client' command");
    for (request, name) in [
        ("CLIENT SETNAME", "setname"),
        ("CLIENT SETNAME a b", "setname"),
        ("CLIENT GETNAME x", "getname"),
        ("CLIENT id x", "id"),
        ("CLIENT INFO x", "info"),
        ("CLIENT NO-EVICT", "no-evict"),
        ("CLIENT No-Touch", "no-touch"),
        ("CLIENT KILL", "kill"),
        ("CLIENT UNBLOCK", "unblock"),
        ("CLIENT REPLY", "reply"),
        ("CLIENT CAPA", "capa"),
        ("CLIENT IMPORT-SOURCE", "import-source"),
        ("CLIENT TRACKING", "tracking"),
        ("CLIENT TRACKINGINFO x", "trackinginfo"),
        ("CLIENT CACHING", "caching"),
        ("CLIENT GETREDIR x", "getredir"),
        ("CLIENT PAUSE", "pause"),
        ("CLIENT UNPAUSE x", "unpause"),
        ("CLIENT HELP x", "help"),
        ("CLIENT SETINFO LIB-NAME", "setinfo"),
        ("CLIENT SETINFO LIB-NAME a b", "setinfo"),
    ] {
        talk.hears_error(request, &format!("ERR wrong number of arguments for 'client|{name}' command"));
    }
}

#[test]
fn help_is_an_array_of_its_lines() {
    let reply = Talk::new().say("CLIENT HELP");
    let mut lines = reply.split_terminator("\r\n");
    let count = lines.next().and_then(|head| head.strip_prefix('*')).expect("an array");
    let lines: Vec<&str> = lines.collect();
    assert_eq!(count, lines.len().to_string());
    assert!(lines.iter().all(|line| line.starts_with('+')));
}

#[test]
fn a_client_that_is_alone_can_close_only_itself() {
    let mut talk = Talk::new();
    for request in [
        "CLIENT KILL ID 423",
        "CLIENT KILL ID 422",
        "CLIENT KILL ID 422 SKIPME yes",
        "CLIENT KILL TYPE normal",
        "CLIENT KILL TYPE master SKIPME no",
        "CLIENT KILL ADDR 127.0.0.1:6379 SKIPME no",
        "CLIENT KILL USER default",
        "CLIENT KILL ID 422 TYPE pubsub SKIPME no",
        "CLIENT KILL MAXAGE 62 SKIPME no",
    ] {
        talk.hears(request, ":0\r\n");
    }
    for (request, text) in [
        ("CLIENT KILL 1.2.3.4:5", "ERR No such client"),
        ("CLIENT KILL localhost:6379:0", "ERR No such client"),
        ("CLIENT KILL ID x", "ERR client-id should be greater than 0"),
        ("CLIENT KILL ID 0", "ERR client-id should be greater than 0"),
        ("CLIENT KILL ID -1", "ERR client-id should be greater than 0"),
        ("CLIENT KILL TYPE foo", "ERR Unknown client type 'foo'"),
        ("CLIENT KILL USER bob SKIPME no", "ERR No such user 'bob'"),
        ("CLIENT KILL MAXAGE x SKIPME no", "ERR maxage is not an integer or out of range"),
        ("CLIENT KILL MAXAGE 0 SKIPME no", "ERR maxage should be greater than 0"),
        ("CLIENT KILL MAXAGE -1", "ERR maxage should be greater than 0"),
        ("CLIENT KILL FOO 1", "ERR syntax error"),
        ("CLIENT KILL ID 422 SKIPME", "ERR syntax error"),
        ("CLIENT KILL ID 422 SKIPME maybe", "ERR syntax error"),
    ] {
        talk.hears_error(request, text);
    }
    for (request, reply) in [
        ("CLIENT KILL ID 422 SKIPME no", ":1\r\n"),
        ("CLIENT KILL MAXAGE 61 SKIPME no", ":1\r\n"),
        ("client kill skipme NO laddr localhost:6379 user default type normal", ":1\r\n"),
        ("CLIENT KILL localhost:6379", "+OK\r\n"),
    ] {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        assert_eq!(talk.outcome(&words), (Outcome::ReplyAndLeave, reply.into()), "{request}");
    }
    talk.listen = "/tmp/rmux.sock";
    talk.hears_error("CLIENT KILL /tmp/rmux.sock", "ERR No such client");
    let words: [&[u8]; 3] = [b"CLIENT", b"KILL", b"/tmp/rmux.sock:0"];
    assert_eq!(talk.outcome(&words), (Outcome::ReplyAndLeave, b"+OK\r\n".to_vec()));
}

#[test]
fn unblock_has_the_errors_of_redis() {
    let mut talk = Talk::new();
    talk.hears("CLIENT UNBLOCK 422", ":0\r\n");
    talk.hears("CLIENT UNBLOCK 1 timeout", ":0\r\n");
    talk.hears("CLIENT UNBLOCK -1 ERROR", ":0\r\n");
    talk.hears_error("CLIENT UNBLOCK x", "ERR value is not an integer or out of range");
    talk.hears_error("CLIENT UNBLOCK x foo", "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    let text = "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.";
    talk.hears_error("CLIENT UNBLOCK 1 error x", text);
}
