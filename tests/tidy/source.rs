//! Source text as the rules look at it: without comments, literals and tests, as words, as paths.
//!
//! Knows Rust's letters and brackets, and no rule and no file. It is no parser: what it cannot tell apart, it leaves in.

/// The lines in which a word stands, not as the end of a longer one.
pub fn lines_with<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).filter_map(move |(at, _)| {
        let is_longer = word.starts_with(is_word) && code[..at].ends_with(is_word);
        (!is_longer).then(|| line_of(code, at))
    })
}

pub fn line_of(code: &str, at: usize) -> usize {
    1 + code[..at].matches('\n').count()
}

pub fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The code with each comment and literal turned into blanks. Lines stay where they are.
pub fn without_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::new();
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_literal(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            let end = end.min(chars.len());
            code.extend(chars[at..end].iter().map(|&char| if char == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// The texts that stand in the code, as they are written there, with the character at which each begins.
pub fn texts_in(text: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    let mut texts = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let end = end_of_literal(&chars, at).min(chars.len());
        let literal: String = chars[at..end].iter().collect();
        let inner = literal.trim_start_matches('r').trim_matches('#');
        if inner.len() >= 2 && inner.starts_with('"') && inner.ends_with('"') {
            texts.push((at, inner[1..inner.len() - 1].to_owned()));
        }
        at = end.max(at + 1);
    }
    texts
}

/// Where the comment or literal that begins here ends; `at` itself if none begins here.
fn end_of_literal(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let find = |from: usize, mark: &[char]| {
        let found = rest.get(from..).and_then(|rest| rest.windows(mark.len()).position(|window| window == mark));
        found.map_or(chars.len(), |found| at + from + found + mark.len())
    };
    match *rest {
        ['/', '/', ..] => at + rest.iter().position(|&char| char == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => {
            let (mut depth, mut end) = (1, 2);
            while depth > 0 && end < rest.len() {
                match rest[end..] {
                    ['/', '*', ..] => (depth, end) = (depth + 1, end + 2),
                    ['*', '/', ..] => (depth, end) = (depth - 1, end + 2),
                    _ => end += 1,
                }
            }
            at + end
        }
        ['"', ..] => {
            let mut end = 1;
            while end < rest.len() && rest[end] != '"' {
                end += if rest[end] == '\\' { 2 } else { 1 };
            }
            at + end + 1
        }
        ['r', '"' | '#', ..] if at == 0 || !is_word(chars[at - 1]) || chars[at - 1] == 'b' => {
            let hashes = rest[1..].iter().take_while(|&&char| char == '#').count();
            if rest.get(1 + hashes) != Some(&'"') {
                return at; // a raw identifier
            }
            let mut mark = vec!['#'; hashes + 1];
            mark[0] = '"';
            find(2 + hashes, &mark)
        }
        ['\'', '\\', _, ..] => find(3, &['\'']),
        ['\'', _, '\'', ..] => at + 3,
        _ => at, // among others a lifetime
    }
}

/// The code with each item under `#[cfg(test)]` (or `all(test, …)`) turned into blanks.
pub fn without_tests(code: &str) -> String {
    let mut bytes = code.as_bytes().to_vec();
    for (start, _) in code.match_indices("#[cfg(") {
        let attribute = &code[start..start + end_of_item(&code[start + 1..]) + 1];
        if !lines_with(attribute, "test").any(|_| true) || attribute.contains("not(test") {
            continue;
        }
        let mut end = start + attribute.len();
        while code[end..].trim_start().starts_with("#[") {
            end += code[end..].find('[').expect("just seen");
            end += end_of_item(&code[end..]);
        }
        end += end_of_item(&code[end..]);
        bytes[start..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
    }
    String::from_utf8(bytes).expect("whole items were blanked")
}

/// Where an item that begins here ends: after its closing brace, or its semicolon; for an attribute that begins with its
/// bracket, after the closing one.
pub fn end_of_item(code: &str) -> usize {
    let is_attribute = code.starts_with('[');
    let mut depth = 0_usize;
    for (at, char) in code.char_indices() {
        match char {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && (char == '}' || is_attribute) {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Every path in the code, with its line; the groups of a `use` are unfolded.
pub fn paths_in(code: &str) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens_of(code);
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        at = match tokens[at].1.starts_with(is_word) {
            true => read_path(&tokens, at, &[], &mut paths),
            false => at + 1,
        };
    }
    paths
}

/// Reads the path that begins at a token, and gives where it ends.
fn read_path(
    tokens: &[(usize, &str)],
    start: usize,
    prefix: &[String],
    paths: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.1);
    let mut path = prefix.to_vec();
    let mut at = start;
    loop {
        path.push(text(at).to_owned());
        at += 1;
        if text(at) != "::" {
            break;
        }
        if text(at + 1) == "{" {
            at += 2;
            while !matches!(text(at), "}" | "") {
                at = if text(at) == "," { at + 1 } else { read_path(tokens, at, &path, paths) };
            }
            return at + 1;
        }
        if !text(at + 1).starts_with(is_word) && text(at + 1) != "*" {
            break;
        }
        at += 1;
    }
    paths.push((tokens[start].0, path));
    at
}

/// Words, `::`, and other characters one by one, each with its line.
pub fn tokens_of(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if is_word(first) => rest.find(|char| !is_word(char)).unwrap_or(rest.len()),
                _ if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            tokens.push((line, &rest[..length]));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}
