//! The exact bytes of every reply that rmux gives itself.
mod clients;
mod cluster_node;
mod info_text;

use super::info::Facts;
use super::roster::{Ask, ClientFacts, ClientMemory};
use super::servers_info::ServersInfo;
use super::*;
use crate::backend::handshake::Introduction;
use crate::command::Class;
use crate::resp::{Frame, RequestFramer, RequestLimits};
use crate::session::Protocol;
use crate::stats::{Figures, Location, ProxyStats, ServerFigures, ServerRole, ServerState, ServerStats};
use crate::users::{Secret, UserId, Users};

/// One client of a pool, and what the proxy would know about it.
struct Talk {
    session: Session,
    servers: &'static [(&'static str, ServerFigures)],
    listen: &'static str,
    announced: Option<&'static str>,
    select_error: Option<&'static [u8]>,
    peer: Option<&'static str>,
    users: Users,
    introduction: Introduction,
}

const fn server(state: ServerState, connections: usize, outstanding: usize, stats: ServerStats) -> ServerFigures {
    ServerFigures {
        role: ServerRole::Master,
        state,
        connections,
        outstanding,
        stats,
        state_ms: 0,
        why: String::new(),
        by_state: [0; 5],
        queue_bytes: 0,
        waiting: [0; 2],
        location: NOWHERE,
    }
}

const NOWHERE: Location = Location {
    addresses: String::new(),
    count: 0,
    is_lost: false,
    lookups: 0,
    lookups_failed: 0,
    looked_up_unix_ms: 0,
    changes: 0,
    switches: 0,
    certificate_until_unix_ms: 0,
    zone: String::new(),
};

const UNUSED: ServerStats =
    ServerStats { requests: 0, errors: 0, connects: 0, downs: 0, failures: [0; 4], timeouts: 0, lost: 0, changes: 0 };
const USED: ServerStats = ServerStats { requests: 30, errors: 4, connects: 1, ..UNUSED };

const ONE: &[(&str, ServerFigures)] = &[("redis1:6379", server(ServerState::Up, 1, 2, USED))];

const THREE: &[(&str, ServerFigures)] = &[
    ("redis1:6379", server(ServerState::Up, 1, 2, USED)),
    ("/run/redis.sock", server(ServerState::Down, 1, 2, USED)),
    ("[::1]:6381", server(ServerState::Probing, 0, 0, UNUSED)),
];

impl Talk {
    fn new() -> Talk {
        let session = Session::default();
        let introduction = Introduction { version: "7.0.15".into(), ..Introduction::default() };
        let (listen, users) = ("localhost:6379", Users::default());
        Talk { session, servers: ONE, listen, announced: None, select_error: None, peer: None, users, introduction }
    }

    fn in_resp3() -> Talk {
        let mut talk = Talk::new();
        talk.session.profile.protocol = Protocol::Resp3;
        talk
    }

    /// What becomes of the request, and its reply.
    fn outcome(&mut self, words: &[&[u8]]) -> (Outcome, Vec<u8>) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            reply::bulk(&mut request, word);
        }
        let limits = RequestLimits {
            args_max: 100,
            bulk_bytes_max: 100_000,
            inline_bytes_max: 100_000,
            request_bytes_max: 100_000,
            is_unauthenticated: false,
        };
        let mut framer = RequestFramer::new();
        assert_eq!(framer.frame(&request, &limits), Ok(Frame::Complete(request.len())));
        let context = Context {
            client_id: 422,
            introduction: &self.introduction,
            listen: self.listen,
            announced: self.announced,
            select_error: self.select_error,
            peer: self.peer,
            users: &self.users,
            is_alone: self.servers.len() == 1,
            heard: [0; 3],
            memory: ClientMemory::default(),
            age_ms: 61_999,
        };
        let mut out = b"+before\r\n".to_vec();
        let what = session_command(words);
        let mut outcome = answer(what, &request, framer.args(), &mut self.session, &context, &mut out);
        if outcome == Outcome::Pool {
            outcome = match what {
                command::Session::Info => self.on_info(&mut out),
                _ => self.on_roster(&request, framer.args(), &mut out),
            };
        }
        assert!(out.starts_with(b"+before\r\n"), "what was there stays");
        out.drain(..b"+before\r\n".len());
        assert_eq!(out.is_empty(), matches!(outcome, Outcome::Forward | Outcome::Silence), "{words:?}");
        (outcome, out)
    }

    /// What a proxy would do that has done this.
    fn on_info(&self, out: &mut Vec<u8>) -> Outcome {
        let stats = ProxyStats {
            clients: 9,
            clients_refused: 1,
            denials: 6,
            resends: 2,
            held: 7,
            moves: 5,
            resubscriptions: 3,
            messages: 4,
            ..ProxyStats::default()
        };
        let addresses: Vec<String> = self.servers.iter().map(|(address, _)| (*address).to_owned()).collect();
        let servers = self.servers.iter().map(|(_, figures)| figures.clone()).collect();
        let figures = Figures { stats, servers, ..Figures::default() };
        let mut servers_info = ServersInfo::default();
        info_text::SERVERS_TELL.iter().for_each(|text| servers_info.add(text));
        let facts = Facts {
            process_id: 77,
            run: 0x0123_4567_89ab_cdef,
            listen: self.listen,
            is_node: self.announced.is_some(),
            uptime_ms: 200_000_999,
            introduction: &self.introduction,
            connected_clients: 5,
            addresses: &addresses,
            servers_info: &servers_info,
            figures: &figures,
        };
        info::answer(self.session.profile.protocol, &facts, out);
        Outcome::Reply
    }

    /// What a proxy would do that has this one client.
    fn on_roster(&self, request: &[u8], args: &[Arg], out: &mut Vec<u8>) -> Outcome {
        let Some(ask) = roster::read(request, args, &self.users, out) else { return Outcome::Reply };
        if let Ask::Unblock { .. } = ask {
            // Who asks does not wait.
            reply::integer(out, 0);
            return Outcome::Reply;
        }
        let facts = ClientFacts {
            id: 422,
            peer: self.peer,
            listen: self.listen,
            age_ms: 61_999,
            idle_ms: 0,
            session: &self.session,
            user: self.users.name(self.session.user),
            heard: [0; 3],
            is_blocked: false,
            queued: None,
            memory: ClientMemory::default(),
            is_unwritable: false,
            command: Some(command::Name::new("client", "list")),
        };
        let is_selected = match &ask {
            Ask::List(filter) | Ask::Kill(filter) | Ask::KillAddress(filter) => filter.selects(&facts, 422),
            Ask::Unblock { .. } => false,
        };
        match ask {
            Ask::List(_) => {
                let mut text = Vec::new();
                if is_selected {
                    roster::write_line(&mut text, &facts);
                }
                reply::verbatim(out, self.session.profile.protocol, &text);
                return Outcome::Reply;
            }
            Ask::Kill(_) | Ask::Unblock { .. } => reply::integer(out, i64::from(is_selected)),
            Ask::KillAddress(_) if is_selected => reply::ok(out),
            Ask::KillAddress(_) => error::write_error(out, "ERR No such client"),
        }
        if is_selected { Outcome::ReplyAndLeave } else { Outcome::Reply }
    }

    /// The reply to a request whose words are parted by blanks.
    fn say(&mut self, request: &str) -> String {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let (outcome, out) = self.outcome(&words);
        let is_denied = out == format!("-{}\r\n", auth::WRONG_PASSWORD).as_bytes() && !self.users.is_open();
        assert_eq!(matches!(outcome, Outcome::Denied { .. }), is_denied, "{request}");
        assert!(is_denied || outcome == Outcome::Reply, "{request}: {outcome:?}");
        String::from_utf8(out).expect("a reply to text is text")
    }

    fn hears(&mut self, request: &str, reply: &str) {
        assert_eq!(self.say(request), reply, "{request}");
    }

    fn hears_error(&mut self, request: &str, text: &str) {
        self.hears(request, &format!("-{text}\r\n"));
    }
}

/// The command, as the table has it.
fn session_command(words: &[&[u8]]) -> command::Session {
    let mut row = command::find(words[0]).expect("a command");
    if row.is_container() {
        row = row.sub(words[1]).expect("a subcommand");
    }
    match row.class {
        Class::Session(what) => what,
        class => panic!("{} is {class:?}", row.name()),
    }
}

#[test]
fn ping_and_echo_are_binary_safe() {
    for mut talk in [Talk::new(), Talk::in_resp3()] {
        talk.hears("PING", "+PONG\r\n");
        talk.hears("ping x", "$1\r\nx\r\n");
        talk.hears("ECHO phpredis:1:2", "$12\r\nphpredis:1:2\r\n");
        talk.hears("ECHO ", "$0\r\n\r\n");
        let bytes: Vec<u8> = (0..=255).collect();
        let expected = [b"$256\r\n", &bytes[..], b"\r\n"].concat();
        for name in ["PING", "echo"] {
            assert_eq!(talk.outcome(&[name.as_bytes(), &bytes]), (Outcome::Reply, expected.clone()));
        }
        talk.hears_error("PING x y", "ERR wrong number of arguments for 'ping' command");
        talk.hears_error("ECHO", "ERR wrong number of arguments for 'echo' command");
        talk.hears_error("ECHO a b", "ERR wrong number of arguments for 'echo' command");
    }
}

#[test]
fn quit_is_answered_and_ends_the_connection() {
    let mut talk = Talk::new();
    for words in [&[&b"QUIT"[..]][..], &[b"quit", b"x", b"y"]] {
        assert_eq!(talk.outcome(words), (Outcome::ReplyAndLeave, b"+OK\r\n".to_vec()));
    }
}

#[test]
fn select_takes_any_number_that_could_be_a_database() {
    let mut talk = Talk::new();
    for (word, database) in [("3", 3), ("0", 0), ("16", 16), ("100000", 100_000), ("2147483647", 0x7fff_ffff)] {
        talk.hears(&format!("SELECT {word}"), "+OK\r\n");
        assert_eq!(talk.session.profile.database, database);
    }
    talk.hears("SELECT 7", "+OK\r\n");
    for word in
        ["x", "", "+1", "01", "-0", "00", "1.0", "0x1", "1 ", " 1", "1\0", "-", "--1", "9223372036854775808", "٣"]
    {
        let (_, reply) = talk.outcome(&[b"SELECT", word.as_bytes()]);
        assert_eq!(reply, b"-ERR value is not an integer or out of range\r\n", "{word:?}");
    }
    for word in ["-1", "-2147483648"] {
        talk.hears_error(&format!("SELECT {word}"), "ERR DB index is out of range");
    }
    for word in ["2147483648", "-2147483649", "9223372036854775807", "-9223372036854775808"] {
        let text = "ERR value is out of range, value must between -2147483648 and 2147483647";
        talk.hears_error(&format!("SELECT {word}"), text);
    }
    talk.hears_error("SELECT", "ERR wrong number of arguments for 'select' command");
    talk.hears_error("SELECT 1 2", "ERR wrong number of arguments for 'select' command");
    assert_eq!(talk.session.profile.database, 7, "an error changes nothing");
    talk.select_error = Some(b"-ERR SELECT is not allowed in cluster mode\r\n");
    talk.hears_error("SELECT 8", "ERR SELECT is not allowed in cluster mode");
    talk.hears_error("SELECT x", "ERR value is not an integer or out of range");
    assert_eq!(talk.session.profile.database, 7);
    talk.hears("SELECT 0", "+OK\r\n");
}

#[test]
fn reset_forgets_all_but_the_library() {
    let mut talk = Talk::new();
    talk.say("HELLO 3 SETNAME ann");
    talk.say("SELECT 4");
    talk.say("CLIENT SETINFO LIB-NAME redis-py");
    talk.say("CLIENT SETINFO LIB-VER 8.1");
    talk.hears("RESET", "+RESET\r\n");
    assert_eq!(talk.session.profile, Profile::default());
    assert_eq!(&*talk.session.name, "");
    assert_eq!(talk.session.library(), ("redis-py", "8.1"));
}

const HELLO_2: &str = "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n\
                       $2\r\nid\r\n:422\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
                       $7\r\nmodules\r\n*0\r\n";

const HELLO_3: &str = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n\
                       $2\r\nid\r\n:422\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
                       $7\r\nmodules\r\n*0\r\n";

#[test]
fn hello_answers_in_the_protocol_that_it_sets() {
    let mut talk = Talk::new();
    talk.hears("HELLO", HELLO_2);
    talk.hears("HELLO 3", HELLO_3);
    assert_eq!(talk.session.profile.protocol, Protocol::Resp3);
    talk.hears("hello", HELLO_3);
    talk.hears("HELLO 3 SETNAME ann AUTH default any", HELLO_3);
    talk.hears("CLIENT GETNAME", "$3\r\nann\r\n");
    talk.hears("HELLO 2 auth default any setname bob", HELLO_2);
    assert_eq!(talk.session.profile.protocol, Protocol::Resp2);
    talk.hears("CLIENT GETNAME", "$3\r\nbob\r\n");
    talk.hears("HELLO 2 SETNAME one SETNAME two", HELLO_2);
    talk.hears("CLIENT GETNAME", "$3\r\ntwo\r\n");
    talk.hears("HELLO 2 SETNAME ", HELLO_2);
    talk.hears("CLIENT GETNAME", "$-1\r\n");
}

#[test]
fn hello_tells_what_the_server_is_in_the_clients_protocol() {
    let fields =
        "$4\r\nname\r\n$6\r\nsearch\r\n$3\r\nver\r\n:20814\r\n$4\r\npath\r\n$1\r\n/\r\n$4\r\nargs\r\n*1\r\n$1\r\nx\r\n";
    let odd = "$3\r\nodd\r\n";
    for head in ["*8\r\n", "%4\r\n"] {
        let mut talk = Talk::new();
        let modules = format!("*2\r\n{head}{fields}{odd}").into_bytes().into();
        talk.introduction = Introduction { server: "valkey".into(), version: "9.0.1".into(), modules };
        for (hello, head) in [("HELLO 2", "*8\r\n"), ("HELLO 3", "%4\r\n")] {
            let said = talk.say(hello);
            assert!(said.contains("$6\r\nserver\r\n$6\r\nvalkey\r\n$7\r\nversion\r\n$5\r\n9.0.1\r\n"), "{said}");
            assert!(said.ends_with(&format!("$7\r\nmodules\r\n*2\r\n{head}{fields}{odd}")), "{said}");
        }
    }
}

#[test]
fn a_hello_that_fails_changes_nothing() {
    let mut talk = Talk::new();
    talk.say("CLIENT SETNAME ann");
    for (request, text) in [
        ("HELLO 1", "NOPROTO unsupported protocol version"),
        ("HELLO 4 SETNAME x", "NOPROTO unsupported protocol version"),
        ("HELLO -3", "NOPROTO unsupported protocol version"),
        ("HELLO x", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 03", "ERR Protocol version is not an integer or out of range"),
        ("HELLO ", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 99999999999999999999", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 FOO", "ERR Syntax error in HELLO option 'FOO'"),
        ("HELLO 3 FOO bar", "ERR Syntax error in HELLO option 'FOO'"),
        ("HELLO 3 AUTH pw", "ERR Syntax error in HELLO option 'AUTH'"),
        ("HELLO 3 AUTH pw SETNAME", "WRONGPASS invalid username-password pair or user is disabled."),
        ("HELLO 2 AUTH pw SETNAME predis", "ERR Syntax error in HELLO option 'predis'"),
        ("HELLO 3 SETNAME", "ERR Syntax error in HELLO option 'SETNAME'"),
        ("HELLO 3 SETNAME x SETNAME", "ERR Syntax error in HELLO option 'SETNAME'"),
        ("HELLO 3 a\r\nb\0c", "ERR Syntax error in HELLO option 'a  b'"),
        ("HELLO 3 SETNAME x AUTH bob pw", "WRONGPASS invalid username-password pair or user is disabled."),
        ("HELLO 3 AUTH bob pw SETNAME a\n", "ERR Client names cannot contain spaces, newlines or special characters."),
    ] {
        talk.hears_error(request, text);
        assert_eq!(talk.session.profile, Profile::default(), "{request}");
        assert_eq!(&*talk.session.name, "ann", "{request}");
    }
}

#[test]
fn without_a_password_auth_answers_as_redis_without_one() {
    let mut talk = Talk::new();
    talk.hears_error("AUTH", "ERR wrong number of arguments for 'auth' command");
    let text = "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                configuration is correct?";
    talk.hears_error("AUTH pw", text);
    talk.hears("AUTH default pw", "+OK\r\n");
    talk.hears("AUTH default ", "+OK\r\n");
    for user in ["bob", "DEFAULT", ""] {
        let text = "WRONGPASS invalid username-password pair or user is disabled.";
        talk.hears_error(&format!("AUTH {user} pw"), text);
    }
    talk.hears_error("AUTH a b c", "ERR syntax error");
}

/// A pool whose default user has the password `pw`, and bob has `two`.
fn guarded() -> Talk {
    let mut talk = Talk::new();
    for (name, password) in [("default", "pw"), ("bob", "two")] {
        talk.users.add(name, Secret::new(password.as_bytes())).unwrap();
    }
    talk.session.user = talk.users.on_connect();
    talk
}

#[test]
fn whoever_has_the_password_is_let_in() {
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    let mut talk = guarded();
    for request in ["AUTH x", "AUTH default x", "AUTH bob pw", "AUTH eve pw", "AUTH pw pw", "AUTH default two"] {
        talk.hears_error(request, wrong);
        assert_eq!(talk.session.user, UserId::NOBODY, "{request}");
    }
    talk.hears("AUTH pw", "+OK\r\n");
    talk.hears("ACL WHOAMI", "$7\r\ndefault\r\n");
    talk.hears_error("AUTH bob x", wrong);
    talk.hears("ACL WHOAMI", "$7\r\ndefault\r\n");
    talk.hears("AUTH bob two", "+OK\r\n");
    talk.hears("ACL WHOAMI", "$3\r\nbob\r\n");
    assert!(talk.say("CLIENT INFO").contains(" user=bob "));
    talk.hears("RESET", "+RESET\r\n");
    assert_eq!(talk.session.user, UserId::NOBODY);
}

#[test]
fn hello_lets_in_as_a_whole_or_not_at_all() {
    let mut talk = guarded();
    let unknown = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
                   <user> <pass> option can be used to authenticate the client and select the RESP protocol version at \
                   the same time";
    for (request, text) in [
        ("HELLO", unknown),
        ("HELLO 3", unknown),
        ("HELLO 2 SETNAME x", unknown),
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        ("HELLO 3 AUTH default x", "WRONGPASS invalid username-password pair or user is disabled."),
        ("HELLO 3 AUTH default pw FOO", "ERR Syntax error in HELLO option 'FOO'"),
    ] {
        talk.hears_error(request, text);
        assert_eq!((talk.session.user, talk.session.profile), (UserId::NOBODY, Profile::default()), "{request}");
        assert_eq!(&*talk.session.name, "");
    }
    talk.hears("HELLO 3 SETNAME x AUTH bob two", HELLO_3);
    talk.hears("ACL WHOAMI", "$3\r\nbob\r\n");
    talk.hears("HELLO 2", HELLO_2);
    talk.hears("ACL WHOAMI", "$3\r\nbob\r\n");
}

#[test]
fn nobody_may_knock_and_leave() {
    let refusal = |request: &str| {
        let words: Vec<&str> = request.split(' ').collect();
        let mut command = command::find(words[0].as_bytes()).expect("a command");
        if let Some(sub) = words.get(1).and_then(|word| command.sub(word.as_bytes())) {
            command = sub;
        }
        let mut out = Vec::new();
        let is_refused = refuse_nobody(command, command.name(), words.len(), &mut out);
        assert_eq!(is_refused, !out.is_empty());
        String::from_utf8(out).expect("text")
    };
    for request in ["AUTH x", "AUTH a b", "HELLO", "HELLO 3 AUTH a b", "QUIT", "RESET", "auth a b c d"] {
        assert_eq!(refusal(request), "", "{request}");
    }
    for request in
        ["GET a", "PING", "SELECT 1", "CLIENT ID", "INFO", "CONFIG SET a b", "SHUTDOWN", "MULTI", "BLPOP a 0"]
    {
        assert_eq!(refusal(request), "-NOAUTH Authentication required.\r\n", "{request}");
    }
    for (request, name) in [("GET", "get"), ("AUTH", "auth"), ("SET a", "set"), ("CONFIG SET", "set")] {
        assert_eq!(refusal(request), format!("-ERR wrong number of arguments for '{name}' command\r\n"), "{request}");
    }
}

#[test]
fn config_get_tells_three_settings_of_several_servers() {
    let mut talk = Talk { servers: THREE, ..Talk::new() };
    for (request, reply) in [
        ("CONFIG GET databases", "*2\r\n$9\r\ndatabases\r\n$2\r\n16\r\n"),
        ("config get save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"),
        ("CONFIG GET replica-read-only", "*0\r\n"),
        ("CONFIG GET ", "*0\r\n"),
        ("CONFIG GET SAVE", "*2\r\n$4\r\nSAVE\r\n$0\r\n\r\n"),
        ("CONFIG GET save SAVE save", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET sav?", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET S*", "*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        ("CONFIG GET save nope databases", "*4\r\n$9\r\ndatabases\r\n$2\r\n16\r\n$4\r\nsave\r\n$0\r\n\r\n"),
    ] {
        talk.hears(request, reply);
    }
    talk.hears_error("CONFIG GET", "ERR wrong number of arguments for 'config|get' command");
    let all = "%3\r\n$9\r\ndatabases\r\n$2\r\n16\r\n$4\r\nsave\r\n$0\r\n\r\n$10\r\nappendonly\r\n$2\r\nno\r\n";
    let mut talk = Talk { servers: THREE, ..Talk::in_resp3() };
    talk.hears("CONFIG GET *", all);
    talk.hears("CONFIG GET nope", "%0\r\n");
}

#[test]
fn config_get_asks_the_only_server_for_what_is_harmless() {
    let mut talk = Talk::new();
    for (request, instead) in [
        ("CONFIG GET maxmemory-policy", "CONFIG GET maxmemory-policy"),
        ("config get SAVE", "CONFIG GET SAVE"),
        ("CONFIG GET maxmem*", "CONFIG GET maxmemory maxmemory-policy maxmemory-samples"),
        ("CONFIG GET requirepass timeout nosuch", "CONFIG GET timeout"),
        ("CONFIG GET s??e", "CONFIG GET save"),
        ("CONFIG GET *-keyspace-events", "CONFIG GET notify-keyspace-events"),
    ] {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let (outcome, out) = talk.outcome(&words);
        assert_eq!(outcome, Outcome::ForwardInstead, "{request}");
        let mut expected = Vec::new();
        reply::array(&mut expected, instead.split(' ').count());
        instead.split(' ').for_each(|word| reply::bulk(&mut expected, word.as_bytes()));
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{request}");
    }
    for request in ["requirepass", "masterauth", "*pass*", "*auth*", "dir", "*file*", "bind", "tls-*", "", "aclfile"] {
        talk.hears(&format!("CONFIG GET {request}"), "*0\r\n");
    }
    let (_, all) = talk.outcome(&[b"CONFIG", b"GET", b"*"]);
    let all = String::from_utf8(all).expect("names are text");
    for secret in ["pass", "auth", "user", "file", "dir", "port", "bind", "sock", "tls", "acl"] {
        assert!(!all.contains(secret), "{secret}");
    }
    talk.hears_error("CONFIG GET", "ERR wrong number of arguments for 'config|get' command");
}

#[test]
fn there_is_no_cluster_and_one_user() {
    for mut talk in [Talk::new(), Talk::in_resp3()] {
        for request in ["READONLY", "READWRITE", "ASKING", "CLUSTER INFO", "CLUSTER SLOTS", "CLUSTER HELP"] {
            talk.hears_error(request, "ERR This instance has cluster support disabled");
        }
        talk.hears("ACL WHOAMI", "$7\r\ndefault\r\n");
    }
}

#[test]
fn one_server_speaks_for_itself() {
    let mut talk = Talk::new();
    for request in ["INFO", "INFO server", "ROLE", "COMMAND", "COMMAND DOCS"] {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        assert_eq!(talk.outcome(&words).0, Outcome::Forward, "{request}");
    }
    talk.servers = THREE;
    assert_eq!(talk.outcome(&[b"COMMAND"]).0, Outcome::Forward);
    talk.hears("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
}

/// A reply that repeats what the client sent must stay one reply, whatever it was.
#[test]
fn no_argument_breaks_out_of_its_reply() {
    let hostile: &[u8] = b"x\r\n+OK\r\n$-1\r\n\0*1\r\n\n";
    let requests: &[&[&[u8]]] = &[
        &[b"CLIENT", hostile],
        &[b"CLIENT", b"SETNAME", hostile],
        &[b"CLIENT", b"SETINFO", hostile, b"x"],
        &[b"CLIENT", b"SETINFO", b"LIB-VER", hostile],
        &[b"CLIENT", b"LIST", b"TYPE", hostile],
        &[b"CLIENT", b"LIST", b"ID", hostile],
        &[b"CLIENT", b"KILL", hostile],
        &[b"CLIENT", b"KILL", b"USER", hostile],
        &[b"CLIENT", b"KILL", b"TYPE", hostile],
        &[b"CLIENT", b"KILL", hostile, hostile],
        &[b"CLIENT", b"UNBLOCK", hostile, b"error"],
        &[b"CLIENT", b"REPLY", hostile],
        &[b"CLIENT", b"TRACKING", hostile],
        &[b"HELLO", hostile],
        &[b"HELLO", b"3", hostile],
        &[b"HELLO", b"3", b"SETNAME", hostile],
        &[b"HELLO", b"3", b"AUTH", hostile, hostile],
        &[b"AUTH", hostile, hostile],
        &[b"SELECT", hostile],
    ];
    for words in requests {
        let (outcome, reply) = Talk::new().outcome(words);
        assert_eq!(outcome, Outcome::Reply);
        assert_eq!(reply[0], b'-', "{words:?}");
        let line_ends = reply.iter().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)).count();
        assert!(reply.ends_with(b"\r\n") && line_ends == 2, "{}", reply.escape_ascii());
    }
}
