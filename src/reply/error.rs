//! Error replies, in the words of Redis: clients compare them.
//!
//! Every error is one line, `-CODE text`, whatever a client put into the names and options that the text repeats: line
//! ends in it become blanks, as in Redis, or a client could write replies of its own choice into the stream.
//! Redis puts these texts together as C strings: what it repeats of an argument ends at the first zero byte.
//!
//! Knows no commands and no session. The texts with a first word of their own (`NOAUTH`, `WRONGPASS`, `NOPROTO` …) are
//! those by which clients decide what to do next; anything else is `ERR`.

use std::fmt;
use std::io::Write;

/// A command that rmux does not do, because it belongs on the server itself or cannot work through a pool.
pub const NOT_SUPPORTED: &str = "ERR This command is not supported";

/// The answer to everything that somebody asks who has not said who it is, and must.
pub const NO_AUTH: &str = "NOAUTH Authentication required.";

/// What an argument should have been, according to `string2ll`.
pub const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

/// An option that is unknown, incomplete, or in the wrong place.
pub const SYNTAX: &str = "ERR syntax error";

/// The answer to whatever only a node of a Redis Cluster can do.
pub const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";

/// Any error. The text begins with the error's code: `ERR Connection down`.
pub fn write_error(out: &mut Vec<u8>, text: impl fmt::Display) {
    let start = out.len();
    write!(out, "-{text}").expect("a Vec takes every write");
    end_line(out, start);
}

/// The command is not in the table. `args` are those behind its name: all of them, or as many as have arrived.
pub fn unknown_command<'a>(out: &mut Vec<u8>, name: &[u8], args: impl IntoIterator<Item = &'a [u8]>) {
    let start = out.len();
    out.extend_from_slice(b"-ERR unknown command '");
    out.extend_from_slice(c_string(name, REPEATED_BYTES_MAX));
    out.extend_from_slice(b"', with args beginning with: ");
    let args_start = out.len();
    for arg in args {
        // The quotes count, but are not cut: the last argument may go past the limit with them.
        let room = REPEATED_BYTES_MAX.saturating_sub(out.len() - args_start);
        if room == 0 {
            break;
        }
        out.push(b'\'');
        out.extend_from_slice(c_string(arg, room));
        out.extend_from_slice(b"' ");
    }
    end_line(out, start);
}

/// The command is in the table, the subcommand is not. `command` may be in any case.
pub fn unknown_subcommand(out: &mut Vec<u8>, command: &[u8], subcommand: &[u8]) {
    let start = out.len();
    out.extend_from_slice(b"-ERR unknown subcommand '");
    out.extend_from_slice(c_string(subcommand, REPEATED_BYTES_MAX));
    out.extend_from_slice(b"'. Try ");
    out.extend(command.iter().map(u8::to_ascii_uppercase));
    out.extend_from_slice(b" HELP.");
    end_line(out, start);
}

/// Too few or too many arguments. `name` is the full name, in lower case: `get`, or `client|setname`.
pub fn wrong_arity(out: &mut Vec<u8>, name: impl fmt::Display) {
    write_error(out, format_args!("ERR wrong number of arguments for '{name}' command"));
}

/// An error that repeats what the client sent: `before`, its bytes, `after`.
pub fn write_error_around(out: &mut Vec<u8>, before: &str, repeated: &[u8], after: &str) {
    let start = out.len();
    out.push(b'-');
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(c_string(repeated, REPEATED_BYTES_MAX));
    out.extend_from_slice(after.as_bytes());
    end_line(out, start);
}

fn end_line(out: &mut Vec<u8>, start: usize) {
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// What C makes of these bytes with the format `%.*s`.
fn c_string(bytes: &[u8], bytes_max: usize) -> &[u8] {
    let bytes = &bytes[..bytes.len().min(bytes_max)];
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// How much of a name, and of all arguments together, an error repeats. Redis repeats some options in full; no client
/// reads that far, and a reply should not be as long as the longest request.
const REPEATED_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(name: &[u8], args: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        unknown_command(&mut out, name, args.iter().copied());
        out
    }

    fn expected(name: &str, args: &str) -> Vec<u8> {
        format!("-ERR unknown command '{name}', with args beginning with: {args}\r\n").into_bytes()
    }

    #[test]
    fn an_error_is_one_line() {
        let mut out = b":1\r\n".to_vec();
        write_error(&mut out, "ERR Connection down");
        write_error(&mut out, format_args!("ERR {}", "a\r\n+OK\nb"));
        assert_eq!(out, b":1\r\n-ERR Connection down\r\n-ERR a  +OK b\r\n");
    }

    #[test]
    fn arity_is_told_with_the_full_name() {
        let mut out = Vec::new();
        wrong_arity(&mut out, "get");
        wrong_arity(&mut out, format_args!("{}|{}", "client", "setname"));
        let expected = "-ERR wrong number of arguments for 'get' command\r\n\
                        -ERR wrong number of arguments for 'client|setname' command\r\n";
        assert_eq!(out, expected.as_bytes());
    }

    #[test]
    fn an_unknown_name_is_cut_at_128_bytes_and_at_a_zero() {
        assert_eq!(unknown(b"FOO", &[b"bar", b"baz"]), expected("FOO", "'bar' 'baz' "));
        assert_eq!(unknown(b"", &[]), expected("", ""));
        assert_eq!(unknown(b"", &[b""]), expected("", "'' "));
        for length in [127, 128] {
            assert_eq!(unknown(&vec![b'a'; length], &[]), expected(&"a".repeat(length), ""));
        }
        assert_eq!(unknown(&[b'a'; 129], &[b"x"]), expected(&"a".repeat(128), "'x' "));
        assert_eq!(unknown(b"foo\0bar", &[b"a\0b", b"c"]), expected("foo", "'a' 'c' "));
        assert_eq!(unknown(b"-foo", &[]), expected("-foo", ""));
    }

    #[test]
    fn line_ends_in_an_unknown_command_become_blanks() {
        assert_eq!(unknown(b"f\r\no", &[b"a\nb", b"\r\n"]), expected("f  o", "'a b' '  ' "));
        assert_eq!(unknown(b"\n\nfoo\n", &[]), expected("  foo ", ""));
    }

    #[test]
    fn bytes_that_are_no_text_are_repeated_as_they_are() {
        let reply = unknown(b"\xff\xfe", &[b"\x80"]);
        assert_eq!(reply, b"-ERR unknown command '\xff\xfe', with args beginning with: '\x80' \r\n");
    }

    #[test]
    fn arguments_are_repeated_until_128_bytes_with_their_quotes() {
        // One byte of room is left behind the first argument: the second gets its quotes and one letter.
        let x = |n: usize| "x".repeat(n);
        let two = |n: usize| unknown(b"f", &[x(n).as_bytes(), b"yz"]);
        assert_eq!(two(124), expected("f", &format!("'{}' 'y' ", x(124))));
        for length in [125, 126, 127, 128, 129, 500] {
            assert_eq!(two(length), expected("f", &format!("'{}' ", x(length.min(128)))));
        }
        assert_eq!(unknown(b"f", &[&b"ab"[..]; 40]), expected("f", &"'ab' ".repeat(26)));
        assert_eq!(unknown(b"f", &[&b""[..]; 60]), expected("f", &"'' ".repeat(43)));
        let (sixty, hundred) = (x(60), "y".repeat(100));
        let reply = unknown(b"f", &[sixty.as_bytes(), hundred.as_bytes(), b"z"]);
        assert_eq!(reply, expected("f", &format!("'{sixty}' '{}' ", &hundred[..65])));
    }

    #[test]
    fn an_unknown_subcommand_names_its_command_in_upper_case() {
        for (command, subcommand, repeated) in [
            ("XGROUP", &b"FOO"[..], "FOO"),
            ("xGroup", b"foo", "foo"),
            ("xgroup", b"", ""),
            ("xgroup", b"a\r\nb\0c", "a  b"),
            ("xgroup", b"\n-x\n", " -x "),
            ("xgroup", &[b'x'; 200], &"x".repeat(128)),
        ] {
            let mut out = Vec::new();
            unknown_subcommand(&mut out, command.as_bytes(), subcommand);
            let expected = format!("-ERR unknown subcommand '{repeated}'. Try XGROUP HELP.\r\n");
            assert_eq!(String::from_utf8(out).expect("text"), expected);
        }
    }
}
