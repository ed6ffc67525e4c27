//! Inline requests: a line as a person types it, taken apart into arguments.
//!
//! Knows Redis's rules for quotes and escapes. It gets whole lines, and is on nobody's fast path: arguments are copied.

use super::error::ProtocolError;

/// Splits the line of an inline request as Redis's `sdssplitargs` does, and appends it to `request` in its canonical
/// form, a multibulk request. Returns the number of arguments; 0 appends nothing.
///
/// `mixes_quotes` is how Valkey has it since its version 9: `"a"b'c'` is one argument, and no mistake.
pub fn split_inline(line: &[u8], mixes_quotes: bool, request: &mut Vec<u8>) -> Result<usize, ProtocolError> {
    let line = &line[..line.iter().position(|&byte| byte == 0).unwrap_or(line.len())];
    let mut args: Vec<Vec<u8>> = Vec::new();
    let mut at = 0;
    loop {
        while at < line.len() && matches!(line[at], b' ' | b'\t'..=b'\r') {
            at += 1;
        }
        if at == line.len() {
            break;
        }
        let mut arg = Vec::new();
        loop {
            match line.get(at) {
                None | Some(b' ' | b'\n' | b'\r' | b'\t') => break,
                Some(quote @ (b'"' | b'\'')) => {
                    at = unquote(line, at + 1, *quote, mixes_quotes, &mut arg)?;
                    if mixes_quotes {
                        continue;
                    }
                    break;
                }
                Some(&byte) => arg.push(byte),
            }
            at += 1;
        }
        args.push(arg);
    }
    if !args.is_empty() {
        request.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
        for arg in &args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
    }
    Ok(args.len())
}

/// Reads a quoted part from `at`, behind its opening quote; returns the offset behind the closing one. Unless
/// `mixes_quotes`, nothing but white space may follow.
fn unquote(
    line: &[u8],
    mut at: usize,
    quote: u8,
    mixes_quotes: bool,
    arg: &mut Vec<u8>,
) -> Result<usize, ProtocolError> {
    let hex = |at: usize| line.get(at).and_then(|&byte| (byte as char).to_digit(16));
    loop {
        let byte = *line.get(at).ok_or(ProtocolError::UnbalancedQuotes)?;
        if byte == quote {
            return match line.get(at + 1) {
                Some(_) if mixes_quotes => Ok(at + 1),
                None | Some(b' ' | b'\t'..=b'\r') => Ok(at + 1),
                Some(_) => Err(ProtocolError::UnbalancedQuotes),
            };
        }
        let escaped = line.get(at + 1).copied();
        match (byte, escaped) {
            (b'\\', Some(b'x')) if quote == b'"' && hex(at + 2).is_some() && hex(at + 3).is_some() => {
                let (high, low) = (hex(at + 2).unwrap_or(0), hex(at + 3).unwrap_or(0));
                arg.push((high * 16 + low) as u8);
                at += 4;
            }
            (b'\\', Some(next)) if quote == b'"' => {
                arg.push(match next {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                at += 2;
            }
            (b'\\', Some(b'\'')) if quote == b'\'' => {
                arg.push(b'\'');
                at += 2;
            }
            _ => {
                arg.push(byte);
                at += 1;
            }
        }
    }
}
