//! The head of a request in HTTP/1.0 and 1.1, as far as somebody needs it who only shows pages.
//!
//! Rules: lines end with CR LF, and nothing else; no line is folded; one `Host` in HTTP/1.1; no body. What breaks a
//! rule is refused as soon as it shows, and what is not whole yet is a value, not an error. Knows no sockets, and not
//! which pages there are.
//!
//! ```text
//!   GET /metrics?x HTTP/1.1 CR LF  name: value CR LF …  CR LF │ the next request
//!   └──────────────── at most HEAD_BYTES_MAX ────────────────┘
//! ```

/// The longest head.
pub(super) const HEAD_BYTES_MAX: usize = 8192;

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    Timeout,
    HeadTooLarge,
    Unavailable,
    WrongVersion,
}

impl Status {
    /// The number, and the words that go with it.
    pub fn line(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::Timeout => "408 Request Timeout",
            Status::HeadTooLarge => "431 Request Header Fields Too Large",
            Status::Unavailable => "503 Service Unavailable",
            Status::WrongVersion => "505 HTTP Version Not Supported",
        }
    }
}

/// A request, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// The path, without what follows a question mark.
    pub path: &'a [u8],
    /// Whether the head of the answer is enough.
    pub is_head: bool,
    /// Whether the connection is to be kept for another request.
    pub is_kept: bool,
    /// Whether it prefers metrics in the newer form.
    pub wants_openmetrics: bool,
}

/// What stands at the beginning of what was received.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// Nothing, or the beginning of a request.
    Partial,
    /// A request, and where it ends.
    Whole(Request<'a>, usize),
    /// What cannot become one that is served; what follows is not looked at.
    Refused(Status),
}

/// Looks at what was received.
pub(super) fn parse(bytes: &[u8]) -> Parsed<'_> {
    match parse_head(bytes) {
        Ok(Some((_, end))) if end > HEAD_BYTES_MAX => Parsed::Refused(Status::HeadTooLarge),
        Ok(Some((request, end))) => Parsed::Whole(request, end),
        Ok(None) if bytes.len() >= HEAD_BYTES_MAX => Parsed::Refused(Status::HeadTooLarge),
        Ok(None) => Parsed::Partial,
        Err(status) => Parsed::Refused(status),
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(Request<'_>, usize)>, Status> {
    // A handshake of TLS, or a command of Redis.
    if !bytes.first().is_none_or(u8::is_ascii_uppercase) {
        return Err(Status::BadRequest);
    }
    let mut rest = bytes;
    let Some(line) = take_line(&mut rest)? else { return Ok(None) };
    let (mut request, is_1_1) = parse_request_line(line)?;
    let mut hosts = 0;
    loop {
        let Some(line) = take_line(&mut rest)? else { return Ok(None) };
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&byte| byte == b':').ok_or(Status::BadRequest)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) {
            return Err(Status::BadRequest);
        }
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match () {
            () if is("host") => hosts += 1,
            () if is("connection") => request.is_kept &= !has_word(value, b"close"),
            () if is("accept") => request.wants_openmetrics |= wants_openmetrics(value),
            () if is("content-length") && value == b"0" => {}
            () if is("content-length") || is("transfer-encoding") => return Err(Status::BadRequest),
            () => {}
        }
    }
    if is_1_1 && hosts != 1 {
        return Err(Status::BadRequest);
    }
    Ok(Some((request, bytes.len() - rest.len())))
}

/// The next line, without its end, if it is whole. A line feed, or a carriage return, anywhere else is refused, and so
/// is what no line may hold.
fn take_line<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Status> {
    let is_special = |&byte: &u8| byte < b' ' && byte != b'\t' || byte == 0x7f;
    let Some(end) = rest.iter().position(is_special) else { return Ok(None) };
    match &rest[end..] {
        [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => {
            let line = &rest[..end];
            *rest = &rest[end + 2..];
            Ok(Some(line))
        }
        _ => Err(Status::BadRequest),
    }
}

/// Method, target, version; and whether that is 1.1.
fn parse_request_line(line: &[u8]) -> Result<(Request<'_>, bool), Status> {
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Status::BadRequest);
    };
    let is_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ if version.starts_with(b"HTTP/") => return Err(Status::WrongVersion),
        _ => return Err(Status::BadRequest),
    };
    let is_head = method == b"HEAD";
    if !is_head && method != b"GET" {
        return Err(if is_token(method) { Status::MethodNotAllowed } else { Status::BadRequest });
    }
    // As a proxy is asked.
    let target = match target.strip_prefix(b"http://") {
        Some(rest) => rest.iter().position(|&byte| byte == b'/').map_or(&b"/"[..], |slash| &rest[slash..]),
        None => target,
    };
    if target.first() != Some(&b'/') || target.contains(&b'\t') {
        return Err(Status::BadRequest);
    }
    let path = target.split(|&byte| byte == b'?').next().unwrap_or(target);
    Ok((Request { path, is_head, is_kept: is_1_1, wants_openmetrics: false }, is_1_1))
}

fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The elements of a list, without the blanks around them.
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

fn has_word(list: &[u8], word: &[u8]) -> bool {
    elements(list).any(|element| element.eq_ignore_ascii_case(word))
}

fn wants_openmetrics(accept: &[u8]) -> bool {
    elements(accept).any(|element| {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(b"application/openmetrics-text"))
            && !parts.any(|part| matches!(part, b"q=0" | b"q=0.0" | b"q=0.00" | b"q=0.000"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request for a page, which is kept.
    const PLAIN: Request<'static> =
        Request { path: b"/metrics", is_head: false, is_kept: true, wants_openmetrics: false };

    /// Whole, byte by byte, and with something behind it: the outcome is the same.
    fn parse_three_ways(head: &str) -> Parsed<'_> {
        let bytes = head.as_bytes();
        let outcome = parse(bytes);
        match &outcome {
            Parsed::Whole(request, end) => {
                assert_eq!(*end, bytes.len(), "{head:?}");
                for length in 0..bytes.len() {
                    assert_eq!(parse(&bytes[..length]), Parsed::Partial, "{head:?} to {length}");
                }
                for more in ["GET", "\0", "\n", "\r\n\r\n", head] {
                    let longer = [bytes, more.as_bytes()].concat();
                    assert_eq!(parse(&longer), Parsed::Whole(*request, *end), "{head:?} and {more:?}");
                }
            }
            Parsed::Refused(status) => {
                let first = (0..=bytes.len()).find(|&length| parse(&bytes[..length]) != Parsed::Partial);
                let first = first.expect("it is refused at the end, if not before");
                for length in first..=bytes.len() {
                    assert_eq!(parse(&bytes[..length]), Parsed::Refused(*status), "{head:?} to {length}");
                }
                assert_eq!(parse(&[bytes, b"GET / HTTP/1.0\r\n\r\n"].concat()), Parsed::Refused(*status), "{head:?}");
            }
            Parsed::Partial => {}
        }
        outcome
    }

    #[test]
    fn requests_that_are_understood() {
        let om = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (head, expected) in [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), PLAIN),
            ("GET /metrics?a=b?c HTTP/1.1\r\nHOST:\r\n\r\n".to_owned(), PLAIN),
            ("GET http://a:9121/metrics HTTP/1.1\r\nhost: a:9121\r\n\r\n".to_owned(), PLAIN),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nX-A:\tb \r\nX-B: \u{e9}\r\n\r\n".to_owned(), PLAIN),
            ("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Request { is_head: true, ..PLAIN }),
            ("GET /metrics HTTP/1.0\r\n\r\n".to_owned(), Request { is_kept: false, ..PLAIN }),
            ("GET http://a HTTP/1.0\r\n\r\n".to_owned(), Request { path: b"/", is_kept: false, ..PLAIN }),
            (
                "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n".to_owned(),
                Request { is_kept: false, ..PLAIN },
            ),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: closed\r\nContent-Length: 0\r\n\r\n".to_owned(), PLAIN),
            (
                format!("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: {om}\r\n\r\n"),
                Request { wants_openmetrics: true, ..PLAIN },
            ),
            (
                "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text; q=0, */*\r\n\r\n".to_owned(),
                PLAIN,
            ),
        ] {
            assert_eq!(parse_three_ways(&head), Parsed::Whole(expected, head.len()), "{head:?}");
        }
    }

    #[test]
    fn requests_that_are_not() {
        for (head, status) in [
            ("*1\r\n$4\r\nPING\r\n", Status::BadRequest),
            ("\u{16}\u{3}\u{1}", Status::BadRequest),
            ("PING\r\n", Status::BadRequest),
            ("\r\nGET / HTTP/1.0\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.0\n\n", Status::BadRequest),
            ("GET / HTTP/1.0\r\r\n", Status::BadRequest),
            ("GET /\0 HTTP/1.0\r\n\r\n", Status::BadRequest),
            ("GET  / HTTP/1.0\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.0 \r\n\r\n", Status::BadRequest),
            ("GET /\tHTTP/1.0\r\n\r\n", Status::BadRequest),
            ("GET /\r\n", Status::BadRequest),
            ("GET x HTTP/1.0\r\n\r\n", Status::BadRequest),
            ("GET * HTTP/1.0\r\n\r\n", Status::BadRequest),
            ("G(T / HTTP/1.0\r\n\r\n", Status::BadRequest),
            ("GET / FTP/1.0\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/2.0\r\n\r\n", Status::WrongVersion),
            ("GET / HTTP/1.10\r\n\r\n", Status::WrongVersion),
            ("POST / HTTP/1.1\r\n", Status::MethodNotAllowed),
            ("CONFIG / HTTP/1.1\r\n", Status::MethodNotAllowed),
            ("GET / HTTP/1.1\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\n: a\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Status::BadRequest),
        ] {
            assert_eq!(parse_three_ways(head), Parsed::Refused(status), "{head:?}");
        }
    }

    #[test]
    fn a_head_is_bounded() {
        let long = |bytes: usize| format!("GET / HTTP/1.0\r\na: {}\r\n\r\n", "x".repeat(bytes - 23));
        assert_eq!(long(100).len(), 100);
        let whole = long(HEAD_BYTES_MAX - 1);
        assert!(matches!(parse(whole.as_bytes()), Parsed::Whole(..)));
        assert!(matches!(parse(long(HEAD_BYTES_MAX).as_bytes()), Parsed::Whole(..)));
        assert_eq!(parse(long(HEAD_BYTES_MAX + 1).as_bytes()), Parsed::Refused(Status::HeadTooLarge));
        assert_eq!(parse("G".repeat(HEAD_BYTES_MAX).as_bytes()), Parsed::Refused(Status::HeadTooLarge));
        assert_eq!(parse("G".repeat(HEAD_BYTES_MAX - 1).as_bytes()), Parsed::Partial);
    }
}
