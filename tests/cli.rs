//! The binary as a start script sees it: flags, the file, what is printed where, exit codes.
//!
//! Nothing here listens or connects: every call ends by itself.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

fn rmux(args: &[&str]) -> Output {
    rmux_with_hosts("* 192.0.2.1:1\n", args)
}

/// The same, in a build for tests, where these are all the names that there are.
fn rmux_with_hosts(hosts: &str, args: &[&str]) -> Output {
    let hosts = File::new(hosts);
    let mut command = Command::new(env!("CARGO_BIN_EXE_rmux"));
    command.env("RMUX_TEST_HOSTS", hosts.path()).args(args).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the output is text")
}

/// Refused: exit code 2, nothing on standard output, this line on standard error.
fn assert_refused(args: &[&str], line: &str) {
    let output = rmux(args);
    assert_eq!(text(&output.stderr), format!("rmux: {line}\n"), "rmux {args:?}");
    assert_eq!(output.stdout, b"", "rmux {args:?}");
    assert_eq!(output.status.code(), Some(2), "rmux {args:?}");
}

/// Accepted by `-test`: exit code 0, this on standard output, among some lines about names, and these warnings on
/// standard error.
fn assert_accepted(args: &[&str], line: &str, warnings: &[&str]) {
    let args = [&["-test"], args].concat();
    let output = rmux(&args);
    let expected: String = warnings.iter().map(|warning| format!("rmux: warning: {warning}\n")).collect();
    // In a build that asks DNS.
    let is_of_name = |line: &&str| line.contains(": its name is not found: ");
    let warnings: String = text(&output.stderr).split_inclusive('\n').filter(|line| !is_of_name(line)).collect();
    assert_eq!(warnings, expected, "rmux {args:?}");
    let is_about_name = |line: &&str| ["server", "replica"].iter().any(|kind| line.contains(&format!("): {kind} ")));
    let said: String = text(&output.stdout).split_inclusive('\n').filter(|line| !is_about_name(line)).collect();
    assert_eq!(said, format!("configuration ok: {line}\n"), "rmux {args:?}");
    assert_eq!(output.status.code(), Some(0), "rmux {args:?}");
}

/// A configuration file, gone afterwards.
struct File(PathBuf);

impl File {
    fn new(bytes: impl AsRef<[u8]>) -> File {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("rmux-cli-{}-{number}.json", std::process::id()));
        fs::write(&path, bytes).expect("the temporary folder can be written to");
        File(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("the temporary folder has a name in UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn version_and_help_end_with_zero() {
    for flag in ["-version", "--version", "-version=true"] {
        let output = rmux(&[flag]);
        assert_eq!((text(&output.stdout), output.status.code()), ("rmux 1.0.0\n", Some(0)), "{flag}");
    }
    let help = rmux(&["-help"]);
    assert_eq!(help.status.code(), Some(0));
    assert_eq!(help.stderr, b"");
    for args in [&["-h"][..], &["--help"], &["-help=1"], &["-port=abc", "-version", "-help"]] {
        assert_eq!(rmux(args).stdout, help.stdout, "rmux {args:?}");
    }
    assert_refused(&["-help=maybe"], r#"-help: "maybe" is not true or false"#);
}

#[test]
fn help_mentions_every_flag_within_100_columns() {
    let output = rmux(&["-help"]);
    let help = text(&output.stdout);
    for key in rmux::config::KEYS {
        let flag = format!("{}{}", if key.is_flag() { "-" } else { "" }, key.name);
        let is_entry = |line: &&str| line.trim_start().split([' ', ',']).next() == Some(&flag);
        let entries: Vec<&str> = help.lines().filter(is_entry).collect();
        assert_eq!(entries.len(), 1, "{flag}: {entries:?}");
        // The flag and what it is called, a gap, then the explanation in its column.
        let (left, right) = entries[0].split_at(34);
        assert!(left.ends_with("  "), "{flag}: {entries:?}");
        let beginning: Vec<&str> = key.help.split(' ').take(3).collect();
        assert!(right.starts_with(&beginning.join(" ")), "{flag}: {entries:?}");
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
        assert_eq!(line.trim_end(), line, "no trailing space");
    }
    for default in ["localhost:6380", "default 50)", "default 0666", "default true", "1 GiB", "default 500)"] {
        assert!(help.contains(default), "{default}");
    }
}

#[test]
fn flags_are_written_as_go_takes_them() {
    for args in [
        &["-socket=/tmp/x.sock", "-tcpConnections=a:1 b:2"][..],
        &["--socket=/tmp/x.sock", "--tcpConnections", "  a:1   b:2 "],
        &["-socket", "/tmp/x.sock", "-tcpConnections", "a:1 b:2", "-failover=false"],
        &["-failover", "-debug", "-tcpConnections=a:1 b:2", "-useSyslog=f"],
        &["-tcpConnections=x", "-tcpConnections=a:1 b:2", "-port=0", "-port=1", "--"],
        &["-tcpConnections=a:1 b:2", "-t=false", "-t"],
        &[],
    ] {
        assert_accepted(args, "1 pool, 2 servers", &[]);
    }
    assert_accepted(&["-unixConnections=/run/redis.sock"], "1 pool, 1 server", &[]);
}

#[test]
fn bad_flags_are_refused_with_a_line_that_helps() {
    let long_path = "p".repeat(108);
    let long_socket = format!("-socket={long_path}");
    let too_long = format!(r#"-socket: "{long_path}" is too long: a socket's path has at most 107 bytes"#);
    let many = format!("-tcpConnections={}", "a:1 ".repeat(1025));
    for (args, line) in [
        // Which flag
        (&["-poolsize=3"][..], "unknown flag -poolsize: did you mean -poolSize?"),
        (&["--tcpconections=a:1"], "unknown flag -tcpconections: did you mean -tcpConnections?"),
        (&["-colour=x"], "unknown flag -colour: rmux -help lists the flags"),
        (&["-password=x"], "password is a key of the file, and no flag: the list of processes would show it"),
        (
            &["-remotePassword", "x"],
            "remotePassword is a key of the file, and no flag: the list of processes would show it",
        ),
        (&["-moduleCommands=x"], "moduleCommands is a key of the file, and no flag"),
        (&["-passwordFil=x"], "unknown flag -passwordFil: did you mean -passwordFile?"),
        (
            &["-passwordFile=/no/such"],
            r#"-passwordFile: "/no/such" cannot be read: No such file or directory (os error 2)"#,
        ),
        (&["-remotePasswordEnv=RMUX_UNSET"], r#"-remotePasswordEnv: "RMUX_UNSET" is not set in the environment"#),
        (&["-remoteUser=app"], "-remoteUser: needs a password: give remotePasswordFile or remotePasswordEnv"),
        (
            &["-denyCommands=get flushal"],
            r#"-denyCommands: "flushal" is no command that rmux knows: did you mean flushall?"#,
        ),
        (&["-allowCommands=get"], r#"-allowCommands: "get" is not refused: there is nothing to allow"#),
        (
            &["-allowCommands=slowlog"],
            "-allowCommands: \"slowlog\" has no key, and with several servers nothing says which of them should get \
             it",
        ),
        (
            &["-unixConnections=/r", "-allowCommands=MONITOR"],
            "-allowCommands: \"MONITOR\" cannot be allowed: it makes something else of its connection, which other \
             clients share",
        ),
        (
            &["-unixConnections=/r", "-allowCommands=slowlog|reset", "-denyCommands=SLOWLOG|reset"],
            r#"-allowCommands: "slowlog|reset" is denied as well: say one of both"#,
        ),
        (&["-x\ny"], r"unknown flag -x\ny: rmux -help lists the flags"),
        (&["-=3"], "unknown flag -: rmux -help lists the flags"),
        (&["-debug", "-port"], "-port needs a value: -port=VALUE"),
        (
            &["-failover", "false"],
            r#"unexpected argument "false": every argument is a -flag or its value; a switch is turned off as -failover=false"#,
        ),
        (
            &["start\n", "-debug"],
            r#"unexpected argument "start\n": every argument is a -flag or its value; a switch is turned off as -failover=false"#,
        ),
        // Which kind of value
        (&["-port=http"], r#"-port: "http" is not a whole number: allowed is 1 to 65535"#),
        (&["-port="], r#"-port: "" is not a whole number: allowed is 1 to 65535"#),
        (&["-port", "-debug"], r#"-port: "-debug" is not a whole number: allowed is 1 to 65535"#),
        (&["-remoteTimeout=2s"], r#"-remoteTimeout: "2s" is not a whole number: allowed is 0 to 2147483647 ms"#),
        (&["-poolSize=1.5"], r#"-poolSize: "1.5" is not a whole number: allowed is 1 to 10000 connections"#),
        (&["-failover=yes"], r#"-failover: "yes" is not true or false"#),
        (&["-socketMode=rw"], r#"-socketMode: "rw" is not octal text like "0660": allowed is 0 to 0777"#),
        (&["-socketMode=-1"], r#"-socketMode: "-1" is not octal text like "0660": allowed is 0 to 0777"#),
        // Which range
        (&["-port=0"], "-port: 0 is out of range: allowed is 1 to 65535"),
        (&["-port=65536"], "-port: 65536 is out of range: allowed is 1 to 65535"),
        (&["-poolSize=0"], "-poolSize: 0 is out of range: allowed is 1 to 10000 connections"),
        (&["-poolSize=10001"], "-poolSize: 10001 is out of range: allowed is 1 to 10000 connections"),
        (&["-maxProcesses=65"], "-maxProcesses: 65 is out of range: allowed is 0 to 64 threads"),
        (&["-localTimeout=-1"], "-localTimeout: -1 is out of range: allowed is 0 to 2147483647 ms"),
        (
            &["-remoteReadTimeout=99999999999999999999999"],
            "-remoteReadTimeout: 99999999999999999999999 is out of range: allowed is 0 to 2147483647 ms",
        ),
        (&["-socketMode=1777"], "-socketMode: 01777 is out of range: allowed is 0 to 0777"),
        (&["-clientsMax=0"], "-clientsMax: 0 is out of range: allowed is 1 to 1000000 clients"),
        (
            &["-clientUnreadBytesMax=4096"],
            "-clientUnreadPauseBytes: 1048576 is out of range: allowed is up to clientUnreadBytesMax, which is 4096 bytes",
        ),
        // Which address
        (&["-host="], r#"-host: "" is empty: to listen on every address, write 0.0.0.0 or ::"#),
        (&["-host=a b"], r#"-host: "a b" has a bad host: write a name or an IP address"#),
        (&[&long_socket], &too_long),
        (&["-tcpConnections=a:1 redis2"], r#"-tcpConnections: "redis2" has no port: write host:port"#),
        (&["-tcpConnections=redis2:0"], r#"-tcpConnections: "redis2:0" has a bad port: allowed is 1 to 65535"#),
        (
            &["-tcpConnections=::1:6379"],
            r#"-tcpConnections: "::1:6379" is not host:port: an IPv6 address stands in brackets, [address]:port"#,
        ),
        (&["-tcpConnections=redis://a:1"], r#"-tcpConnections: "redis://a:1" holds a scheme: write host:port alone"#),
        // What is missing, or too much
        (&["-tcpConnections="], "no server: give tcpConnections or unixConnections"),
        (&[&many], "-tcpConnections: 1025 servers are too many: at most 1024"),
        (
            &["-tcpConnections=localhost:6379"],
            "-port: localhost:6379 is a server of this pool as well: it would connect to itself",
        ),
        (
            &["-socket=/tmp/x/./a", "-unixConnections=/tmp/x/a"],
            "-socket: /tmp/x/./a is a server of this pool as well: it would connect to itself",
        ),
    ] {
        assert_refused(args, line);
        assert_refused(&[&["-test"], args].concat(), line);
    }
}

#[test]
fn an_argument_that_is_no_text_is_refused() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let argument = OsStr::from_bytes(b"-socket=/tmp/\xff");
    let output = Command::new(env!("CARGO_BIN_EXE_rmux")).arg(argument).output().expect("the binary runs");
    assert_eq!(text(&output.stderr), "rmux: argument \"-socket=/tmp/\\xFF\" is not valid UTF-8\n");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn bad_files_are_refused_with_file_pool_key_and_value() {
    let s = r#""socket": "/tmp/a.sock""#;
    let t = r#""tcpConnections": ["a:1"]"#;
    for (file, line) in [
        // The file as a whole
        (String::new(), "is not valid JSON: EOF while parsing a value at line 1 column 0"),
        ("[\n  {\"port\": 1,}\n]".to_owned(), "is not valid JSON: trailing comma at line 2 column 14"),
        ("[{}] x".to_owned(), "is not valid JSON: trailing characters at line 1 column 6"),
        (format!("{{{s}, {t}}}"), "must be a list of pools, [{...}, ...], not an object"),
        ("\"pools\"".to_owned(), r#"must be a list of pools, [{...}, ...], not "pools""#),
        ("[]".to_owned(), "the list of pools is empty: at least one is needed"),
        (format!("[{{{s}, {t}}}, 5]"), "pool 2: must be an object, {...}, not 5"),
        // Which key
        (
            format!(r#"[{{{s}, {t}, "poolsize": 5}}]"#),
            "pool 1 (/tmp/a.sock): poolsize: unknown key, with the value 5: did you mean poolSize?",
        ),
        (
            format!(r#"[{{{s}, {t}}}, {{"port": 7000, "tcpConection": ["b:1"]}}]"#),
            "pool 2 (localhost:7000): tcpConection: unknown key, with the value a list: did you mean tcpConnections?",
        ),
        (
            format!(r#"[{{{t}, "host": "::1", "colour": "red\n"}}]"#),
            r#"pool 1 ([::1]:6379): colour: unknown key, with the value "red\n": rmux -help lists the keys"#,
        ),
        (
            format!(r#"[{{{s}, {t}, "pasword": "hunter2"}}]"#),
            "pool 1 (/tmp/a.sock): pasword: unknown key, with the value ***: did you mean password?",
        ),
        (
            format!(r#"[{{{s}, {t}, "requirepass": "hunter2"}}]"#),
            "pool 1 (/tmp/a.sock): requirepass: unknown key, with the value ***: rmux -help lists the keys",
        ),
        (
            format!(r#"[{{{s}, {t}, "password": "hunter2", "password": "hunter3"}}]"#),
            "pool 1 (/tmp/a.sock): password: stands there a second time, with the value ***",
        ),
        (
            format!(r#"[{{{s}, {t}, "password": 12345}}]"#),
            "pool 1 (/tmp/a.sock): password: what stands there is not a string",
        ),
        (
            format!(r#"[{{{s}, {t}, "password": "hunter2", "passwordEnv": "PATH"}}]"#),
            "pool 1 (/tmp/a.sock): passwordEnv: stands there besides password: one of them is enough",
        ),
        (
            format!(r#"[{{{s}, {t}, "remotePassword": ""}}]"#),
            "pool 1 (/tmp/a.sock): remotePassword: the password is empty: leave it out to have none",
        ),
        (
            format!(r#"[{{{s}, {t}, "users": []}}]"#),
            "pool 1 (/tmp/a.sock): users: the list is empty: leave it out to let everybody in",
        ),
        (
            format!(r#"[{{{s}, {t}, "users": "hunter2"}}]"#),
            "pool 1 (/tmp/a.sock): users: what stands there is not a list of objects",
        ),
        (
            format!(r#"[{{{s}, {t}, "users": [{{"name": "a", "password": "b"}}, "hunter2"]}}]"#),
            "pool 1 (/tmp/a.sock): users: entry 2 is not an object, {...}",
        ),
        (
            format!(r#"[{{{s}, {t}, "users": [{{"nmae": "hunter2"}}]}}]"#),
            "pool 1 (/tmp/a.sock): users: entry 1: nmae: unknown key: did you mean name?",
        ),
        (
            format!(r#"[{{{s}, {t}, "users": [{{"name": "a"}}]}}]"#),
            "pool 1 (/tmp/a.sock): users: entry 1: password: is missing",
        ),
        (
            format!(r#"[{{{s}, {t}, "users": [{{"name": "a", "passwordFile": "/no/such"}}]}}]"#),
            "pool 1 (/tmp/a.sock): users: entry 1: passwordFile: \"/no/such\" cannot be read: No such file or directory \
             (os error 2)",
        ),
        (
            format!(r#"[{{{s}, {t}, "password": "x", "users": [{{"name": "default", "password": "y"}}]}}]"#),
            r#"pool 1 (/tmp/a.sock): users: "default" is there twice"#,
        ),
        (
            format!(r#"[{{{s}, {t}, "users": [{{"name": "a b", "password": "y"}}]}}]"#),
            "pool 1 (/tmp/a.sock): users: \"a b\" cannot be a user's name: write 1 to 256 letters of printable ASCII, \
             without blanks",
        ),
        (
            format!(r#"[{{{s}, {t}, "moduleCommands": [{{"name": "my.get", "firstKey": 1.5}}]}}]"#),
            "pool 1 (/tmp/a.sock): moduleCommands: entry 1: firstKey: is not a whole number from 0 to 100",
        ),
        (
            format!(r#"[{{{s}, {t}, "moduleCommands": [{{"name": "GET", "firstKey": 1}}]}}]"#),
            r#"pool 1 (/tmp/a.sock): moduleCommands: "GET" is a command that rmux knows already, with its keys"#,
        ),
        (
            format!(r#"[{{{s}, {t}, "moduleCommands": [{{"name": "a.b", "firstKey": 3, "lastKey": 2}}]}}]"#),
            r#"pool 1 (/tmp/a.sock): moduleCommands: "a.b" has its last key before its first one"#,
        ),
        (
            format!(
                r#"[{{{s}, {t}, "moduleCommands": [{{"name": "a.b", "firstKey": 1, "lastKey": -1, "step": 0}}]}}]"#
            ),
            "pool 1 (/tmp/a.sock): moduleCommands: entry 1: step: is not a whole number from 1 to 255",
        ),
        (
            format!(r#"[{{{s}, {t}, "debug": true}}]"#),
            "pool 1 (/tmp/a.sock): debug: is a flag of the program, not a key of a pool",
        ),
        (
            format!(r#"[{{{s}, {t}, "poolSize": 5, "failover": true, "poolSize": 6}}]"#),
            "pool 1 (/tmp/a.sock): poolSize: stands there a second time, with the value 6",
        ),
        // Which kind of value
        (
            format!(r#"[{{{s}, {t}, "poolSize": "5"}}]"#),
            r#"pool 1 (/tmp/a.sock): poolSize: "5" is not a whole number: allowed is 1 to 10000 connections"#,
        ),
        (
            format!(r#"[{{{s}, {t}, "poolSize": 5.0}}]"#),
            "pool 1 (/tmp/a.sock): poolSize: 5.0 is not a whole number: allowed is 1 to 10000 connections",
        ),
        (
            format!(r#"[{{"host": "h", "port": "7000", {t}}}]"#),
            r#"pool 1 (h:6379): port: "7000" is not a whole number: allowed is 1 to 65535"#,
        ),
        (format!(r#"[{{{s}, {t}, "failover": 1}}]"#), "pool 1 (/tmp/a.sock): failover: 1 is not true or false"),
        (
            format!(r#"[{{{s}, {t}, "socketMode": 438}}]"#),
            r#"pool 1 (/tmp/a.sock): socketMode: 438 is not octal text like "0660": allowed is 0 to 0777"#,
        ),
        (format!(r#"[{{"socket": 5, {t}}}]"#), "pool 1: socket: 5 is not a string"),
        (
            r#"[{"host": "localhost", "port": 7379, "tcpConnections": "localhost:6379"}]"#.to_owned(),
            r#"pool 1 (localhost:7379): tcpConnections: "localhost:6379" is not a list of strings or objects"#,
        ),
        (
            format!(r#"[{{{s}, "tcpConnections": ["a:1", 6379]}}]"#),
            "pool 1 (/tmp/a.sock): tcpConnections: 6379 is not a string or an object, in the list",
        ),
        // Which range
        (
            format!(r#"[{{{s}, {t}, "poolSize": 0}}]"#),
            "pool 1 (/tmp/a.sock): poolSize: 0 is out of range: allowed is 1 to 10000 connections",
        ),
        (format!(r#"[{{"port": 70000, {t}}}]"#), "pool 1: port: 70000 is out of range: allowed is 1 to 65535"),
        (
            format!(r#"[{{{s}, {t}, "remoteTimeout": -500}}]"#),
            "pool 1 (/tmp/a.sock): remoteTimeout: -500 is out of range: allowed is 0 to 2147483647 ms",
        ),
        (
            format!(r#"[{{{s}, {t}, "clientUnreadPauseBytes": 5000, "clientUnreadBytesMax": 4096}}]"#),
            "pool 1 (/tmp/a.sock): clientUnreadPauseBytes: 5000 is out of range: allowed is up to \
             clientUnreadBytesMax, which is 4096 bytes",
        ),
        // Which address
        (
            format!(r#"[{{{s}, "tcpConnections": ["a:1 b:1"]}}]"#),
            "pool 1 (/tmp/a.sock): tcpConnections: \"a:1 b:1\" holds white space: each server is an element of its own",
        ),
        (
            format!(r#"[{{{s}, "tcpConnections": ["[::1]"]}}]"#),
            r#"pool 1 (/tmp/a.sock): tcpConnections: "[::1]" has no port: write [address]:port"#,
        ),
        (
            format!(r#"[{{{s}, "unixConnections": [""]}}]"#),
            r#"pool 1 (/tmp/a.sock): unixConnections: "" is empty: write the path of a socket"#,
        ),
        (
            format!(r#"[{{"socket": "/tmp/a\u0000b", {t}}}]"#),
            r#"pool 1 (/tmp/a\u{0}b): socket: "/tmp/a\u{0}b" holds a zero byte: no path can"#,
        ),
        (
            format!(r#"[{{"host": "", "port": 7000, {t}}}]"#),
            r#"pool 1 (:7000): host: "" is empty: to listen on every address, write 0.0.0.0 or ::"#,
        ),
        // What is missing, or there already
        (format!("[{{{t}}}]"), "pool 1: says not where to listen: give socket, host or port"),
        (format!(r#"[{{"socket": "", {t}}}]"#), "pool 1: says not where to listen: give socket, host or port"),
        (format!("[{{{s}}}]"), "pool 1 (/tmp/a.sock): no server: give tcpConnections or unixConnections"),
        (
            format!(r#"[{{{s}, "tcpConnections": [], "unixConnections": []}}]"#),
            "pool 1 (/tmp/a.sock): no server: give tcpConnections or unixConnections",
        ),
        (
            format!(r#"[{{{s}, {t}}}, {{"port": 1, {t}}}, {{"socket": "/tmp/./a.sock", {t}}}]"#),
            "pool 3 (/tmp/./a.sock): socket: /tmp/./a.sock is where pool 1 (/tmp/a.sock) listens already",
        ),
        (
            format!(r#"[{{"port": 7000, {t}}}, {{"host": "LOCALHOST", "port": 7000, {t}}}]"#),
            "pool 2 (LOCALHOST:7000): port: LOCALHOST:7000 is where pool 1 (localhost:7000) listens already",
        ),
        (
            format!(r#"[{{"host": "0.0.0.0", "port": 7000, {t}}}, {{"host": "127.0.0.1", "port": 7000, {t}}}]"#),
            "pool 2 (127.0.0.1:7000): port: 127.0.0.1:7000 is where pool 1 (0.0.0.0:7000) listens already",
        ),
        (
            r#"[{"host": "h", "port": 7000, "tcpConnections": ["h:7001", "h:7000"]}]"#.to_owned(),
            "pool 1 (h:7000): port: h:7000 is a server of this pool as well: it would connect to itself",
        ),
    ] {
        let file = File::new(&file);
        assert_refused(&["-config", file.path()], &format!("{}: {line}", file.path()));
    }
}

#[test]
fn masters_and_sentinels_that_do_not_go_together_are_named() {
    let (named, at) = (r#"{"master": "cache-1"}"#, r#"{"master": "a:1"}"#);
    let many = |count: usize| (0..count).map(|number| format!("\"h{number}:1\"")).collect::<Vec<_>>().join(", ");
    let twice = format!("{named}, {named}");
    for (servers, rest, line) in [
        (named, "", r#"tcpConnections: entry 1: master: "cache-1" is a name: give sentinels, which know its address"#),
        (
            r#""a:1", {"master": "a b"}"#,
            r#""sentinels": ["s:1"]"#,
            "tcpConnections: entry 2: master: \"a b\" is no address and cannot be a name: write host:port, or letters, \
             digits and .-_",
        ),
        (r#"{"master": "a:0"}"#, "", "tcpConnections: entry 1: master: \"a:0\" has a bad port: allowed is 1 to 65535"),
        (
            r#"{"master": "cache-1", "replicas": ["b:1"]}"#,
            r#""sentinels": ["s:1"]"#,
            "tcpConnections: entry 1: replicas: the sentinels know those of \"cache-1\": leave them out",
        ),
        (&twice, r#""sentinels": ["s:1"]"#, r#"tcpConnections: entry 2: master: "cache-1" is there twice"#),
        (
            r#"{"master": "a:1", "replicas": ["b:1", "B:1"]}"#,
            "",
            r#"tcpConnections: entry 1: replicas: "B:1" is there twice"#,
        ),
        (
            r#"{"master": "a:1", "replicas": ["b:1"]}, "b:1""#,
            "",
            r#"tcpConnections: entry 1: replicas: "b:1" is a server with keys of its own as well"#,
        ),
        (r#"{"master": "a:1", "replicas": "b:1"}"#, "", "tcpConnections: entry 1: replicas: is not a list of strings"),
        (r#"{"master": 5}"#, "", "tcpConnections: entry 1: master: is not a string"),
        (r#"{"replicas": []}"#, "", "tcpConnections: entry 1: master: is missing"),
        (r#"{"mastre": "a:1"}"#, "", "tcpConnections: entry 1: mastre: unknown key: did you mean master?"),
        (
            &format!(r#"{{"master": "a:1", "replicas": [{}]}}"#, many(33)),
            "",
            "tcpConnections: entry 1: replicas: 33 servers are too many: at most 32",
        ),
        (
            at,
            r#""sentinels": ["s:1"]"#,
            r#"sentinels: no server is a master's name: write {"master": "name"} in tcpConnections"#,
        ),
        (named, r#""sentinels": ["s"]"#, r#"sentinels: "s" has no port: write host:port"#),
        (named, r#""sentinels": ["s:1", "S:1"]"#, r#"sentinels: "S:1" is there twice"#),
        (named, &format!(r#""sentinels": [{}]"#, many(33)), "sentinels: 33 servers are too many: at most 32"),
        (named, r#""sentinels": "s:1""#, r#"sentinels: "s:1" is not a list of strings"#),
        (at, r#""sentinelPassword": "hunter2""#, "sentinelPassword: has no meaning without sentinels: give both"),
        (
            named,
            r#""sentinels": ["s:1"], "sentinelUser": "u""#,
            "sentinelUser: needs a password: give sentinelPasswordFile or sentinelPasswordEnv",
        ),
        (
            named,
            r#""sentinels": ["localhost:7000"]"#,
            "port: localhost:7000 is a server of this pool as well: it would connect to itself",
        ),
        (
            r#"{"master": "a:1", "replicas": ["127.0.0.1:7000"]}"#,
            "",
            "port: localhost:7000 is a server of this pool as well: it would connect to itself",
        ),
    ] {
        let comma = if rest.is_empty() { "" } else { ", " };
        let file = File::new(format!(r#"[{{"port": 7000, "tcpConnections": [{servers}]{comma}{rest}}}]"#));
        assert_refused(&["-config", file.path()], &format!("{}: pool 1 (localhost:7000): {line}", file.path()));
    }
    assert_refused(&["-sentinels=a:1"], "sentinels is a key of the file, and no flag");
}

#[test]
fn a_key_of_a_master_that_sentinels_know_has_nobody_to_stand_in() {
    let places = [r#""a:1""#, r#"{"master": "a-1"}"#];
    let [fixed, watched] = places.map(|place| {
        File::new(format!(
            r#"[{{"port": 7000, "tcpConnections": [{place}, "b:1"], "sentinels": [{}]}}]"#,
            if place.contains("master") { r#""s:1""# } else { "" }
        ))
    });
    for key in ["0", "1", "2", "3"] {
        let [fixed, watched] = [&fixed, &watched].map(|file| {
            let output = rmux(&["-config", file.path(), "-key", key]);
            String::from_utf8(output.stdout).expect("text")
        });
        // The name has the address's place; only who stands in is another.
        let server = |text: &str| text.lines().nth(1).expect("a row").split_whitespace().nth(2).map(str::to_owned);
        let stand_in = |text: &str| text.lines().nth(1).expect("a row").split_whitespace().nth(3).map(str::to_owned);
        match server(&fixed).as_deref() {
            Some("a:1") => {
                assert_eq!((server(&watched), stand_in(&watched)), (Some("a-1".to_owned()), Some("-".to_owned())))
            }
            _ => assert_eq!((server(&watched), stand_in(&watched)), (server(&fixed), Some("a-1".to_owned()))),
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    assert_refused(
        &["-config=/no/such/file.json"],
        "/no/such/file.json: cannot be read: No such file or directory (os error 2)",
    );
    assert_refused(&["-config=/"], "/: cannot be read: Is a directory (os error 21)");
    let file = File::new(b"[\"\xff\"]");
    let output = rmux(&["-config", file.path()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is not valid JSON"), "{output:?}");
    assert_eq!(text(&output.stderr).lines().count(), 1);
}

#[test]
fn good_files_are_accepted() {
    let example = |name: &str| format!("-config={}/examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
    assert_accepted(&[&example("one-pool")], "1 pool, 1 server", &[]);
    assert_accepted(&[&example("several-pools")], "3 pools, 7 servers", &[]);
    assert_accepted(
        &[&example("original")],
        "1 pool, 2 servers",
        &[
            "remoteReconnectInterval has no effect: rmux keeps a connection for as long as it is sound",
            "remoteDiagnosticCheckInterval has no effect: rmux probes servers by itself",
        ],
    );
}

#[test]
fn what_has_no_effect_is_accepted_with_a_warning() {
    let file = File::new(r#"[{"port": 7000, "tcpConnections": ["a:1", "a:1"], "remoteReconnectInterval": 5}]"#);
    assert_accepted(
        &["-socket=/tmp/x.sock", "-debug", "-config", file.path(), "-remoteReconnectInterval=5", "-poolSize=3"],
        "1 pool, 2 servers",
        &[
            "-remoteReconnectInterval has no effect: rmux keeps a connection for as long as it is sound",
            "-config is given, so these flags are ignored: -socket -poolSize",
            "pool 1 (localhost:7000): server a:1 is given more than once: each time, it gets a share of the keys",
        ],
    );
    assert_accepted(
        &["-remoteDiagnosticCheckInterval", "5", "-cpuProfile=/tmp/p"],
        "1 pool, 2 servers",
        &[
            "-remoteDiagnosticCheckInterval has no effect: rmux probes servers by itself",
            "-cpuProfile has no effect: a profiler of the system sees all there is",
        ],
    );
}

/// The lines that `-key` prints, its heading without.
fn table_of(args: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_rmux")).args(args).output().expect("the binary runs");
    assert_eq!((text(&output.stderr), output.status.code()), ("", Some(0)));
    let mut lines = text(&output.stdout).lines().map(str::to_owned);
    let heading = lines.next().expect("a heading");
    let words: Vec<&str> = heading.split("  ").filter(|word| !word.is_empty()).map(str::trim).collect();
    assert_eq!(words, ["key", "pool", "server", "if it is down", "if both are"]);
    lines.collect()
}

fn bytes_of_hex(text: &str) -> Vec<u8> {
    let digits = if text == "-" { "" } else { text };
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect(text)).collect()
}

/// Each row of the golden table that a command line can ask for: a server is `s0:1`, `s1:1`, …
#[test]
fn a_key_is_where_the_original_has_it_and_so_is_it_while_servers_are_down() {
    let rows: Vec<Vec<&str>> = include_str!("ring_golden.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        // No argument can hold a zero byte.
        .filter(|row: &Vec<&str>| !bytes_of_hex(row[2]).contains(&0))
        .collect();
    let (mut checked, mut not_text) = (0, 0);
    for count in rows.iter().map(|row| row[0]).collect::<BTreeSet<_>>() {
        let own: Vec<&Vec<&str>> = rows.iter().filter(|row| row[0] == count).collect();
        let number: usize = count.parse().expect(count);
        let servers: Vec<String> = (0..number).map(|server| format!("s{server}:1")).collect();
        let mut args = vec![OsString::from(format!("-tcpConnections={}", servers.join(" ")))];
        args.extend(own.iter().map(|row| OsString::from_vec([b"-key=".to_vec(), bytes_of_hex(row[2])].concat())));
        not_text += args.iter().filter(|arg| arg.to_str().is_none()).count();

        let lines = table_of(args);
        assert_eq!(lines.len(), own.len());
        for (row, line) in own.iter().zip(lines) {
            let mut cells: Vec<&str> = line.split_ascii_whitespace().rev().take(3).collect();
            cells.reverse();
            assert_eq!(cells.iter().filter(|cell| **cell == "-").count(), 3_usize.saturating_sub(number), "{line}");
            let is_up = |cell: &&&str| !row[1].split(',').any(|down| **cell == format!("s{down}:1"));
            // Of more servers than two that are down, the table does not tell who stands in.
            let Some(found) = cells.iter().find(is_up) else { continue };
            assert_eq!(*found, format!("s{}:1", row[3]), "{row:?}: {line}");
            checked += 1;
        }
    }
    assert!(checked > 700 && not_text > 100, "{checked} rows, {not_text} keys that are no text");
}

#[test]
fn a_ring_of_twemproxy_s_goes_by_names_and_weights() {
    let servers = ["alpha 1", "beta 2", "gamma 10", "delta 3", "epsilon 1", "zeta 7", "eta 300"];
    let server = |text: &str| {
        let (name, weight) = text.split_once(' ').expect("two words");
        format!(r#"{{"master": "{name}.example:1", "name": "{name}", "weight": {weight}}}"#)
    };
    let list = servers.map(server).join(", ");
    let file = File::new(format!(r#"[{{"port": 7000, "distribution": "modula", "tcpConnections": [{list}]}}]"#));
    // By nutcracker itself: the last 15 of the row of modula and fnv1a_64 in ring_twemproxy.tsv.
    let vectors = include_str!("ring_twemproxy.tsv");
    let row = vectors.lines().find(|line| line.starts_with("ring\tmodula\tfnv1a_64\talpha=1")).expect("it is there");
    let expected = row.rsplit('\t').next().expect("the servers");
    let keys = vectors.lines().filter_map(|line| line.strip_prefix("key\t"));
    let mut checked = 0;
    for (key, digit) in keys.zip(expected.chars()).take(60) {
        let pairs = (0..key.len()).step_by(2).map(|at| u8::from_str_radix(&key[at..at + 2], 16).expect("hexadecimal"));
        let Ok(key) = String::from_utf8(pairs.collect()) else { continue };
        let output = rmux(&["-config", file.path(), &format!("-key={key}")]);
        let server = servers[digit.to_digit(10).expect("a digit") as usize].split(' ').next().expect("a name");
        assert!(text(&output.stdout).contains(&format!(" {server}.example:1 ")), "{key}: {digit}\n{output:?}");
        checked += 1;
    }
    assert_eq!(checked, 60);
    for (pool, reason) in [
        (r#""distribution": "random""#, "\"random\" is not one of rmux, ketama, modula"),
        (r#""hash": "sha1""#, "\"sha1\" is not one of times33, one_at_a_time, md5, "),
        (
            r#""tcpConnections": [{"master": "a:1", "weight": 2}]"#,
            "entry 1: weight: counts only with distribution ketama or modula",
        ),
    ] {
        let servers = if pool.contains("tcp") { "" } else { r#", "tcpConnections": ["a:1"]"# };
        let file = File::new(format!(r#"[{{"port": 7000, {pool}{servers}}}]"#));
        let output = rmux(&["-config", file.path(), "-test"]);
        assert!(text(&output.stderr).contains(reason), "{reason}: {output:?}");
    }
}

#[test]
#[cfg(debug_assertions)]
fn test_says_where_each_name_leads() {
    let file = File::new(
        r#"[{"socket": "/tmp/a.sock", "readFrom": "preferReplica", "tcpConnections": [
            {"master": "a:1", "replicas": ["b:2", "192.0.2.9:2"]}, "192.0.2.8:1"], "unixConnections": ["/tmp/c.sock"]},
        {"port": 7000, "tcpConnections": [{"master": "one"}], "sentinels": ["a:26379", "nowhere:26379"]}]"#,
    );
    let hosts = "a 192.0.2.2:9 192.0.2.1:9 192.0.2.1:9\nb [2001:db8::1]:9\nnowhere none\n";
    let output = rmux_with_hosts(hosts, &["-config", file.path(), "-test"]);
    assert_eq!(output.status.code(), Some(0));
    let expected = "configuration ok: 2 pools, 4 servers\n\
        pool 1 (/tmp/a.sock): server a:1: 192.0.2.1, 192.0.2.2\n\
        pool 1 (/tmp/a.sock): replica b:2: 2001:db8::1\n\
        pool 2 (localhost:7000): sentinel a:26379: 192.0.2.1, 192.0.2.2\n";
    assert_eq!(text(&output.stdout), expected);
    let warning = "rmux: warning: pool 2 (localhost:7000): sentinel nowhere:26379: its name is not found: ";
    assert!(text(&output.stderr).starts_with(warning) && text(&output.stderr).lines().count() == 1, "{output:?}");
}

#[test]
fn keys_stand_in_their_order_and_each_in_every_pool() {
    let file = File::new(
        r#"[
        {"socket": "/tmp/a.sock", "tcpConnections": ["a:1", "b:1", "c:1", "d:1"], "hashTag": "{}"},
        {"port": 7000, "tcpConnections": ["a:1", "b:1", "c:1", "d:1"], "failover": false},
        {"port": 7001, "tcpConnections": ["a:1", "A:1", "b:1"]}]"#,
    );
    let output = rmux(&["-config", file.path(), "-key", "x{user:1}y", "--key=user:1", "-key", "a b", "-key=-key"]);
    // Worked out by hand from the table of four servers, 0 1 2 3 3 0 2 2 1 3 0 3 1 1 2 0 0 3 2 1, and that of three.
    let expected = "\
key         pool            server  if it is down  if both are
x{user:1}y  /tmp/a.sock     a:1     d:1            b:1
x{user:1}y  localhost:7000  b:1     -              -
x{user:1}y  localhost:7001  a:1     b:1            -
user:1      /tmp/a.sock     a:1     d:1            b:1
user:1      localhost:7000  a:1     -              -
user:1      localhost:7001  b:1     a:1            -
\"a b\"       /tmp/a.sock     d:1     a:1            c:1
\"a b\"       localhost:7000  d:1     -              -
\"a b\"       localhost:7001  a:1     b:1            -
-key        /tmp/a.sock     c:1     d:1            a:1
-key        localhost:7000  c:1     -              -
-key        localhost:7001  a:1     b:1            -
";
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("server A:1 is given more than once"), "{output:?}");
    assert_refused(&["-key=a", "-poolSize=0"], "-poolSize: 0 is out of range: allowed is 1 to 10000 connections");
    assert_refused(&["-debug", "-key"], "-key needs a value: -key=VALUE");
}

#[test]
fn against_a_file_in_use_the_changes_are_told() {
    let used = File::new(
        r#"[
        {"socket": "/tmp/a.sock", "tcpConnections": ["a:1", "b:1", "c:1"], "password": "hunter2"},
        {"port": 7000, "tcpConnections": ["a:1"]}]"#,
    );
    let next = File::new(
        r#"[
        {"socket": "/tmp/a.sock", "tcpConnections": ["a:1", "b:1", "c:1", "d:1"], "password": "hunter3", "poolSize": 9},
        {"port": 7001, "tcpConnections": ["a:1"], "maxProcesses": 2}]"#,
    );
    let against = format!("-against={}", used.path());
    assert_accepted(
        &["-config", next.path(), &against],
        "2 pools, 5 servers\n\
         6 changes:\n\
         pool /tmp/a.sock: poolSize: 50 -> 9\n\
         pool /tmp/a.sock: password, users: differs\n\
         pool /tmp/a.sock: server d:1: added\n\
         pool /tmp/a.sock: 71.9 % of the keys get another server (exact: 23 of 32 cells of the ring)\n\
         pool localhost:7001: added, with 1 server\n\
         pool localhost:7000: removed",
        &[],
    );
    assert_accepted(&["-config", used.path(), &against], "2 pools, 4 servers\nno changes", &[]);
    assert_accepted(
        &["-port=7000", "-tcpConnections=a:1", "-maxProcesses=2", &against],
        "1 pool, 1 server\n\
         2 changes:\n\
         pool localhost:7000: maxProcesses: 1 -> 2 (takes a restart)\n\
         pool /tmp/a.sock: removed",
        &[],
    );
    assert_refused(&["-config", next.path(), &against], "-against: has no meaning without test: give both");
    let wrong = File::new(r#"[{"port": 7000, "tcpConnections": ["a:1"], "poolSize": 0}]"#);
    let line = "pool 1 (localhost:7000): poolSize: 0 is out of range: allowed is 1 to 10000 connections";
    for (config, against) in [(&next, &wrong), (&wrong, &next)] {
        let args = ["-test", "-config", config.path(), "-against", against.path()];
        assert_refused(&args, &format!("{}: {line}", wrong.path()));
    }
}
