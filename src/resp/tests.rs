//! Every vector runs whole, cut at every place, byte by byte, and with other bytes behind it.

use super::*;

const LIMITS: RequestLimits = RequestLimits {
    is_unauthenticated: false,
    args_max: 1024 * 1024,
    bulk_bytes_max: 512 * 1024 * 1024,
    inline_bytes_max: INLINE_BYTES_MAX,
    request_bytes_max: 1 << 30,
};

type Outcome = Result<(usize, Vec<Vec<u8>>), ProtocolError>;

/// Feeds `bytes` in growing prefixes that end at `cuts`, as a connection would see them.
fn frame_request(bytes: &[u8], cuts: &[usize]) -> Option<Outcome> {
    let mut framer = RequestFramer::new();
    for &cut in cuts {
        match framer.frame(&bytes[..cut], &LIMITS) {
            Ok(Frame::Partial) => {}
            Ok(Frame::Complete(len)) => {
                assert!(len <= cut);
                let args = framer.args().iter().map(|arg| arg.of(bytes).to_vec()).collect();
                assert_eq!(framer.frame(&bytes[..cut], &LIMITS), Ok(Frame::Complete(len)), "asked again");
                return Some(Ok((len, args)));
            }
            Err(error) => {
                assert_eq!(framer.frame(&bytes[..cut], &LIMITS), Err(error), "asked again");
                return Some(Err(error));
            }
        }
    }
    None
}

fn frame_reply(bytes: &[u8], cuts: &[usize]) -> Option<Result<usize, ProtocolError>> {
    let mut framer = ReplyFramer::new();
    for &cut in cuts {
        if let Some(len) = short_reply(&bytes[..cut]) {
            assert_eq!(ReplyFramer::new().frame(&bytes[..cut]), Ok(Frame::Complete(len)));
        }
        match framer.frame(&bytes[..cut]) {
            Ok(Frame::Partial) => {}
            Ok(Frame::Complete(len)) => {
                assert!(len <= cut);
                return Some(Ok(len));
            }
            Err(error) => return Some(Err(error)),
        }
    }
    None
}

/// All the ways to cut `len` bytes that the tests use.
fn cuttings(len: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![len], (0..=len).collect()];
    all.extend((0..len).map(|cut| vec![cut, len]));
    all
}

#[test]
fn requests_end_where_they_end_however_they_arrive() {
    let vectors: &[(&[u8], &[&[u8]])] = &[
        (b"*1\r\n$4\r\nPING\r\n", &[b"PING"]),
        (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &[b"GET", b""]),
        (
            b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$12\r\n$5\r\n*1\r\n\r\n\r\n\r\n",
            &[b"SET", b"key", b"$5\r\n*1\r\n\r\n\r\n"],
        ),
        (b"*2\r\n$4\r\nECHO\r\n$3\r\n\0\xff\n\r\n", &[b"ECHO", b"\0\xff\n"]),
        (b"*0\r\n", &[]),
        (b"*-1\r\n", &[]),
        (b"*-5\r\n", &[]),
        (b"PING\r\n", &[]),
        (b"PING\n", &[]),
        (b"\r\n", &[]),
        (b"\n", &[]),
        (b"set a \"b c\"\r\n", &[]),
    ];
    for (bytes, args) in vectors {
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
        for cuts in cuttings(bytes.len()) {
            assert_eq!(frame_request(bytes, &cuts), Some(Ok((bytes.len(), args.clone()))), "{bytes:?} {cuts:?}");
        }
        for end in 0..bytes.len() {
            assert_eq!(frame_request(bytes, &[end]), None, "{bytes:?} cut at {end}");
        }
        for tail in [&b"*"[..], b"*1\r\n$4\r\nQUIT\r\n", b"\0", b"$"] {
            let both = [bytes, tail].concat();
            assert_eq!(frame_request(&both, &[both.len()]), Some(Ok((bytes.len(), args.clone()))));
        }
    }
}

#[test]
fn broken_requests_get_the_words_of_redis() {
    let vectors: &[(&[u8], &str)] = &[
        (b"*x\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*03\r\n", "invalid multibulk length"),
        (b"*+3\r\n", "invalid multibulk length"),
        (b"*3 \r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$04\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*2\r\n$4\r\nECHO\r\n$1\r\nabc\r\n", "expected CRLF behind an argument"),
        (b"*1\r\n$1\r\nabc\r\n", "expected CRLF behind an argument"),
    ];
    for (bytes, text) in vectors {
        for cuts in cuttings(bytes.len()) {
            match frame_request(bytes, &cuts) {
                Some(Err(error)) => assert_eq!(error.to_string(), format!("Protocol error: {text}"), "{bytes:?}"),
                other => panic!("{bytes:?} at {cuts:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn lines_without_an_end_are_given_up() {
    for (start, text) in [
        (&b""[..], "too big inline request"),
        (b"*", "too big mbulk count string"),
        (b"*1\r\n$", "too big bulk count string"),
    ] {
        let mut bytes = start.to_vec();
        bytes.resize(start.len() + INLINE_BYTES_MAX, b'1');
        assert_eq!(frame_request(&bytes, &[bytes.len()]), None);
        bytes.push(b'1');
        match frame_request(&bytes, &[bytes.len()]) {
            Some(Err(error)) => assert_eq!(error.to_string(), format!("Protocol error: {text}")),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn a_request_over_the_limit_is_refused_before_it_arrives() {
    let limits = RequestLimits { request_bytes_max: 1000, ..LIMITS };
    let mut framer = RequestFramer::new();
    let error = framer.frame(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n", &limits);
    assert_eq!(error, Err(ProtocolError::RequestTooBig(1000)));
}

#[test]
fn whoever_is_nobody_can_send_little() {
    let limits = LIMITS.unauthenticated();
    let frame = |start: &str| RequestFramer::new().frame(start.as_bytes(), &limits).map_err(|error| error.to_string());
    for start in ["*10\r\n", "*3\r\n$4\r\nAUTH\r\n$16384\r\n", "*2\r\n$5\r\nHELLO\r\n$0\r\n"] {
        assert_eq!(frame(start), Ok(Frame::Partial), "{start:?}");
    }
    for (start, text) in [
        ("*11\r\n", "unauthenticated multibulk length"),
        ("*2147483647\r\n", "unauthenticated multibulk length"),
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*x\r\n", "invalid multibulk length"),
        ("*2\r\n$16385\r\n", "unauthenticated bulk length"),
        ("*2\r\n$536870912\r\n", "unauthenticated bulk length"),
        ("*2\r\n$536870913\r\n", "invalid bulk length"),
        ("*2\r\n$-1\r\n", "invalid bulk length"),
    ] {
        assert_eq!(frame(start), Err(format!("Protocol error: {text}")), "{start:?}");
    }
    let mut request = "*5\r\n".to_owned();
    for _ in 0..4 {
        request += &format!("$16384\r\n{}\r\n", "x".repeat(16384));
    }
    assert_eq!(frame(&request), Err("Protocol error: request larger than 65536 bytes".to_owned()));
    assert_eq!(limits.unauthenticated().args_max, 10);
}

#[test]
fn inline_requests_are_split_as_redis_splits_them() {
    let vectors: &[(&[u8], &[&[u8]])] = &[
        (b"PING", &[b"PING"]),
        (b"  set  a\tb \r", &[b"set", b"a", b"b"]),
        (b"set a \"b c\"", &[b"set", b"a", b"b c"]),
        (b"set a 'b \\' c'", &[b"set", b"a", b"b ' c"]),
        (br#"x "\n\r\t\b\a\\\"\q""#, &[b"x", b"\n\r\t\x08\x07\\\"q"]),
        (br#"x "\x41\xfF\xZZ\x4""#, &[b"x", b"A\xffxZZx4"]),
        (br"x '\x41\n'", &[b"x", br"\x41\n"]),
        (br#"x """#, &[b"x", b""]),
        (br#"fo"ob"'' x"#, &[]),
        (br#"fo"ob" x"#, &[b"foob", b"x"]),
        (b"a\0b c", &[b"a"]),
        (b"a\x0bb \x0bc", &[b"a\x0bb", b"c"]),
        (b"", &[]),
        (b" \t ", &[]),
    ];
    for (line, args) in vectors {
        let mut request = Vec::new();
        let result = split_inline(line, false, &mut request);
        if *line == br#"fo"ob"'' x"# {
            assert_eq!(result, Err(ProtocolError::UnbalancedQuotes));
            continue;
        }
        assert_eq!(result, Ok(args.len()), "{line:?}");
        if args.is_empty() {
            assert!(request.is_empty());
            continue;
        }
        let args: Vec<Vec<u8>> = args.iter().map(|arg| arg.to_vec()).collect();
        assert_eq!(frame_request(&request, &[request.len()]), Some(Ok((request.len(), args))), "{line:?}");
    }
    for line in [&b"\"abc"[..], b"'abc", b"\"abc\"d", b"'a'b", b"x \"\\", b"x \"\0\"", b"\"a\\\"", b"'a\\'"] {
        assert_eq!(split_inline(line, false, &mut Vec::new()), Err(ProtocolError::UnbalancedQuotes), "{line:?}");
    }
    // As Valkey has it since version 9.
    for (line, args) in [
        (&br#""a"b'c' d"#[..], "$3\r\nabc\r\n$1\r\nd\r\n"),
        (br#"a"b c""d"'"' ''"""#, "$6\r\nab cd\"\r\n$0\r\n\r\n"),
        (br#"x """test-key""""#, "$1\r\nx\r\n$8\r\ntest-key\r\n"),
    ] {
        let mut request = Vec::new();
        assert_eq!(split_inline(line, true, &mut request), Ok(2), "{line:?}");
        assert_eq!(String::from_utf8(request).unwrap(), format!("*2\r\n{args}"));
    }
    for line in [&br#"'a"b'c""#[..], b"\"a\"'b", b"\"a\\\""] {
        assert_eq!(split_inline(line, true, &mut Vec::new()), Err(ProtocolError::UnbalancedQuotes), "{line:?}");
    }
}

#[test]
fn replies_end_where_they_end_however_they_arrive() {
    let vectors: &[&[u8]] = &[
        b"+OK\r\n",
        b"+\r\n",
        b"+a\rb\nc\r\n",
        b"-ERR no\r\n",
        b":-12\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"$5\r\nab\r\nc\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*2\r\n:1\r\n*0\r\n$1\r\nx\r\n",
        b"*3\r\n$-1\r\n*-1\r\n+OK\r\n",
        b"_\r\n",
        b",3.14\r\n",
        b",inf\r\n",
        b"#t\r\n",
        b"(3492890328409238509324850943850943825024385\r\n",
        b"=15\r\ntxt:Some string\r\n",
        b"!21\r\nSYNTAX invalid syntax\r\n",
        b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n",
        b"%0\r\n",
        b"~2\r\n+a\r\n+b\r\n",
        b">2\r\n+message\r\n+x\r\n",
        b"|1\r\n+ttl\r\n:3600\r\n*1\r\n:1\r\n",
        b"*2\r\n|1\r\n+k\r\n+v\r\n:1\r\n:2\r\n",
        b"|0\r\n|1\r\n$1\r\nk\r\n|1\r\n+k\r\n+v\r\n$1\r\nv\r\n>1\r\n+x\r\n",
        b"|?\r\n+k\r\n+v\r\n.\r\n+OK\r\n",
        b"*1\r\n|?\r\n+k\r\n+v\r\n.\r\n+OK\r\n",
        b"*5\r\n$1\r\na\r\n$-1\r\n$2\r\n\r\n\r\n$0\r\n\r\n$1\r\nb\r\n",
        b"%2\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n*3\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n",
        b"$?\r\n;4\r\nHell\r\n;1\r\no\r\n;0\r\n",
        b"*?\r\n:1\r\n*2\r\n:2\r\n:3\r\n.\r\n",
        b"%?\r\n+a\r\n*?\r\n.\r\n.\r\n",
        b"*2\r\n$?\r\n;1\r\nx\r\n;0\r\n*?\r\n*?\r\n.\r\n:1\r\n.\r\n",
    ];
    for bytes in vectors {
        for cuts in cuttings(bytes.len()) {
            assert_eq!(frame_reply(bytes, &cuts), Some(Ok(bytes.len())), "{bytes:?} {cuts:?}");
        }
        for end in 0..bytes.len() {
            assert_eq!(frame_reply(bytes, &[end]), None, "{bytes:?} cut at {end}");
        }
        for tail in [&b"*"[..], b"+OK\r\n", b"\0", b"garbage"] {
            let both = [bytes, tail].concat();
            assert_eq!(frame_reply(&both, &[both.len()]), Some(Ok(bytes.len())), "{bytes:?}");
        }
    }
}

#[test]
fn what_nearly_every_reply_is_ends_where_its_framer_says() {
    for reply in
        ["+OK\r\n", "+PONG\r\n", ":-12\r\n", "$0\r\n\r\n", "$3\r\nabc\r\n", "$12\r\nabcdefghijkl\r\n", "$-1\r\n"]
    {
        let longer = format!("{reply}+OK\r\n");
        assert_eq!(short_reply(longer.as_bytes()), Some(reply.len()), "{reply:?}");
        for cut in 0..reply.len() {
            assert_eq!(short_reply(&reply.as_bytes()[..cut]), None, "{reply:?} cut at {cut}");
        }
    }
    assert_eq!(short_reply(b"-ERR no\r\n"), None, "an error is looked at more closely");
}

/// What is a push and what is a reply, its value says, and no attribute in front of that.
#[test]
fn the_type_of_a_reply_is_that_of_its_value() {
    let attribute = "|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n*1\r\n:1\r\n";
    for (value, kind) in [("+OK\r\n", b'+'), (">2\r\n+a\r\n+b\r\n", b'>'), ("$-1\r\n", b'$'), ("*1\r\n>0\r\n", b'*')] {
        for before in ["", attribute, &attribute.repeat(2)] {
            let bytes = format!("{before}{value}");
            let mut framer = ReplyFramer::new();
            for end in 0..bytes.len() {
                assert_eq!(framer.frame(&bytes.as_bytes()[..end]), Ok(Frame::Partial), "{bytes:?} cut at {end}");
                let known = if end <= before.len() { b'|' } else { kind };
                assert!(end == 0 || framer.kind() == known, "{bytes:?} cut at {end}");
            }
            assert_eq!(framer.frame(bytes.as_bytes()), Ok(Frame::Complete(bytes.len())));
            assert_eq!(framer.kind(), kind, "{bytes:?}");
        }
    }
}

#[test]
fn a_string_in_a_reply_ends_with_a_line() {
    let large = "x".repeat(1000);
    for start in ["$1\r\na", "$0\r\n", &format!("$1000\r\n{large}"), "=5\r\ntxt:a", "$?\r\n;1\r\na"] {
        for (before, behind) in
            [("", ""), ("*1\r\n", ""), ("*3\r\n:1\r\n", ":1\r\n"), ("*4\r\n$1\r\na\r\n", "$1\r\na\r\n:1\r\n")]
        {
            for end in ["\r\r", "ab", "\n\r", "+X"] {
                let bytes = format!("{before}{start}{end}{behind}+OK\r\n");
                for cuts in cuttings(bytes.len()) {
                    let found = frame_reply(bytes.as_bytes(), &cuts);
                    assert_eq!(found, Some(Err(ProtocolError::ReplyTerminator)), "{bytes:?} {cuts:?}");
                }
            }
        }
    }
}

#[test]
fn broken_replies_are_errors_and_never_panics() {
    for bytes in [
        &b"hello\r\n"[..],
        b"|-1\r\n",
        b"\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"*-3\r\n",
        b"*99999999999999999\r\n",
        b";1\r\n",
        b".\r\n",
    ] {
        assert!(matches!(frame_reply(bytes, &[bytes.len()]), Some(Err(_))), "{bytes:?}");
    }
}

#[test]
fn aggregates_of_unknown_length_are_not_nested_without_end() {
    // Each of them is remembered: a server that sends nothing else must not fill our memory.
    let deep = b"*?\r\n".repeat(100_000);
    assert!(matches!(frame_reply(&deep, &[deep.len()]), Some(Err(ProtocolError::ReplyLength))));
    let (open, close) = (b"*?\r\n".repeat(32), b".\r\n".repeat(32));
    let whole = [&open[..], b":1\r\n", &close].concat();
    assert_eq!(frame_reply(&whole, &[whole.len()]), Some(Ok(whole.len())));
    // The depth of others costs nothing.
    let deep = [&b"*1\r\n".repeat(100_000)[..], b":1\r\n"].concat();
    assert_eq!(frame_reply(&deep, &[deep.len()]), Some(Ok(deep.len())));
}

/// Feeds `bytes` in pieces of this size, and passes on what can be: what is found, and how much was passed on by then.
fn pass_on_in_pieces(
    bytes: &[u8],
    piece: usize,
    mut frame: impl FnMut(&[u8]) -> (Result<Frame, ProtocolError>, usize),
) -> (Result<usize, ProtocolError>, usize) {
    let (mut from, mut given) = (0, 0);
    loop {
        assert!(given < bytes.len(), "it has no end");
        given = (given + piece).min(bytes.len());
        match frame(&bytes[from..given]) {
            (Ok(Frame::Complete(len)), _) => return (Ok(from + len), from),
            (Ok(Frame::Partial), passed) => from += passed,
            (Err(error), _) => return (Err(error), from),
        }
        assert!(from <= given);
    }
}

fn request_in_pieces(bytes: &[u8], piece: usize) -> (Result<usize, ProtocolError>, usize) {
    let mut framer = RequestFramer::new();
    pass_on_in_pieces(bytes, piece, |slice| {
        let found = framer.frame(slice, &LIMITS);
        let passed = if found == Ok(Frame::Partial) { framer.passable(slice.len()) } else { 0 };
        framer.rebase(passed);
        (found, passed)
    })
}

fn reply_in_pieces(bytes: &[u8], piece: usize) -> (Result<usize, ProtocolError>, usize) {
    let mut framer = ReplyFramer::new();
    pass_on_in_pieces(bytes, piece, |slice| {
        let found = framer.frame(slice);
        let passed = if found == Ok(Frame::Partial) { framer.passable(slice.len()) } else { 0 };
        framer.rebase(passed);
        (found, passed)
    })
}

/// A body that is passed on piece by piece, as a large value is, with the framer rebased after each piece.
#[test]
fn frames_can_be_passed_on_in_pieces() {
    let body = vec![b'v'; 1000];
    let request = [&b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000\r\n"[..], &body, b"\r\n$4\r\nKEEP\r\n"].concat();
    let reply = [&b"|1\r\n+k\r\n+v\r\n*3\r\n$1000\r\n"[..], &body, b"\r\n+OK\r\n*1\r\n:1\r\n"].concat();
    for piece in 1..300 {
        assert_eq!(request_in_pieces(&request, piece).0, Ok(request.len()));
        assert_eq!(reply_in_pieces(&reply, piece).0, Ok(reply.len()));
    }
}

#[test]
fn a_body_with_another_end_is_found_before_that_is_passed_on() {
    let body = vec![b'v'; 1000];
    for (end, behind) in [(b"xy", &b""[..]), (b"\r\r", b""), (b"xy", b"$4\r\nKEEP\r\n"), (b"\n\r", b"$4\r\nKEEP\r\n")] {
        let count: &[u8] = if behind.is_empty() { b"*2\r\n" } else { b"*3\r\n" };
        let bytes = [count, b"$3\r\nSET\r\n$1000\r\n", &body, end, behind].concat();
        let reply = [count, b"$3\r\nSET\r\n$1000\r\n", &body, end, behind, b"+OK\r\n"].concat();
        let whole = count.len() + b"$3\r\nSET\r\n$1000\r\n".len() + body.len();
        for piece in 1..1100 {
            let (found, passed) = request_in_pieces(&bytes, piece);
            assert_eq!(found, Err(ProtocolError::BulkTerminator), "pieces of {piece}");
            assert!(passed <= whole, "{passed} bytes were passed on: a server takes that for a whole argument");
            let (found, passed) = reply_in_pieces(&reply, piece);
            assert_eq!(found, Err(ProtocolError::ReplyTerminator), "pieces of {piece}");
            assert!(passed <= whole);
        }
    }
}
