//! Answers in HTTP/1.1, written into a buffer.
//!
//! Nothing is kept by those who get one, and no page loads anything from elsewhere. Knows no sockets.

use super::http::Status;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A line for people and scripts.
    Text,
    /// Metrics as Prometheus has always read them.
    Metrics,
    /// Metrics in the newer form.
    OpenMetrics,
    Json,
    /// A page for people.
    Html,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Text => "text/plain; charset=utf-8",
            Kind::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Kind::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Kind::Json => "application/json",
            Kind::Html => "text/html; charset=utf-8",
        }
    }
}

/// How an answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// Whether the head of it is enough.
    pub is_head: bool,
    /// Whether the connection is kept.
    pub is_kept: bool,
}

/// Appends an answer.
pub(super) fn write(out: &mut Vec<u8>, status: Status, kind: Kind, body: &[u8], manner: Manner) {
    let length = body.len().to_string();
    let connection = if manner.is_kept { "keep-alive" } else { "close" };
    let policy = if kind == Kind::Html { POLICY } else { "" };
    let allow = if status == Status::MethodNotAllowed { "\r\nAllow: GET, HEAD" } else { "" };
    let head = [
        "HTTP/1.1 ",
        status.line(),
        "\r\nContent-Type: ",
        kind.name(),
        "\r\nContent-Length: ",
        &length,
        "\r\nConnection: ",
        connection,
        "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff",
        policy,
        allow,
        "\r\n\r\n",
    ];
    head.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    if !manner.is_head {
        out.extend_from_slice(body);
    }
}

/// Appends the last answer to what is no good request: it says no more than its status.
pub(super) fn refuse(out: &mut Vec<u8>, status: Status) {
    let body = [status.line(), "\n"].concat();
    write(out, status, Kind::Text, body.as_bytes(), Manner { is_head: false, is_kept: false });
}

/// What stands in the page, and nothing from elsewhere; it may ask this endpoint again.
const POLICY: &str = "\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
                      script-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_how_long_it_is_and_a_head_stands_alone() {
        let written = |status, kind, manner| {
            let mut out = Vec::new();
            write(&mut out, status, kind, b"ok\n", manner);
            String::from_utf8(out).expect("text")
        };
        let kept = Manner { is_head: false, is_kept: true };
        assert_eq!(
            written(Status::Ok, Kind::Text, kept),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\nConnection: keep-alive\
             \r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\nok\n"
        );
        let head = written(Status::Ok, Kind::Html, Manner { is_head: true, is_kept: false });
        assert!(
            head.contains("\r\nContent-Length: 3\r\nConnection: close\r\n") && head.ends_with("\r\n\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nContent-Security-Policy: default-src 'none'; "), "{head}");
        let refused = written(Status::MethodNotAllowed, Kind::Text, Manner { is_head: false, is_kept: false });
        assert!(refused.contains("\r\nAllow: GET, HEAD\r\n\r\nok\n"), "{refused}");
    }
}
