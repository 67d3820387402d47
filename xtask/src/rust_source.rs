//! Rust text with everything but the code blanked, so that rules do not stumble over words in strings and comments.

/// The text with comments, string and character literals replaced by spaces. Line breaks and byte offsets stay.
pub(crate) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + literal_or_comment_len(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // Whole literals and comments were blanked, so no character was cut in two; any that was becomes U+FFFD.
    String::from_utf8_lossy(&code).into_owned()
}

/// How many bytes of comment or literal begin here; 0 when code does.
fn literal_or_comment_len(rest: &[u8], before: Option<u8>) -> usize {
    let in_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match rest {
        [b'/', b'/', ..] => find(rest, b"\n").unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_len(rest),
        [b'"', ..] => quoted_len(rest, b'"'),
        [b'r', b'"' | b'#', ..] if !in_word => raw_string_len(&rest[1..]).map_or(0, |len| len + 1),
        [b'b', b'r', b'"' | b'#', ..] if !in_word => raw_string_len(&rest[2..]).map_or(0, |len| len + 2),
        [b'\'', b'\\', ..] => quoted_len(rest, b'\''),
        // 'x' is a character, 'x without a second quote a lifetime.
        [b'\'', ..] => char_literal_len(rest),
        _ => 0,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn block_comment_len(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted_len(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// From the first `#` or quote on; `None` when it is a raw identifier such as `r#type`.
fn raw_string_len(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    Some(find(&rest[hashes + 1..], &end).map_or(rest.len(), |at| hashes + 1 + at + end.len()))
}

fn char_literal_len(rest: &[u8]) -> usize {
    let width = match rest.get(1) {
        Some(0xF0..) => 4,
        Some(0xE0..) => 3,
        Some(0xC0..) => 2,
        _ => 1,
    };
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

/// A function found by [`functions`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// From 1.
    pub(crate) first_line: usize,
    pub(crate) lines: usize,
}

/// Every function with a body, given text from [`code_only`].
pub(crate) fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(position) = code[from..].find("fn ") {
        let start = from + position;
        from = start + 3;
        let is_word = code[..start].chars().next_back().is_none_or(|before| !is_identifier(before));
        let name: String = code[from..].chars().take_while(|next| is_identifier(*next)).collect();
        if !is_word || name.is_empty() {
            continue;
        }
        if let Some(end) = body_end(&code[from..]) {
            let lines = code[start..from + end].matches('\n').count() + 1;
            found.push(Function { name, first_line: line_of(code, start), lines });
        }
    }
    found
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The line of a byte offset, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// Where the body that begins after this signature ends; `None` when there is none, as in a trait.
fn body_end(signature: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0usize, 0usize);
    for (at, byte) in signature.bytes().enumerate() {
        match byte {
            b'(' | b'[' if braces == 0 => brackets += 1,
            b')' | b']' if braces == 0 => brackets = brackets.checked_sub(1)?,
            b';' if braces == 0 && brackets == 0 => return None,
            b'{' if braces > 0 || brackets == 0 => braces += 1,
            b'}' if braces == 1 => return Some(at + 1),
            b'}' if braces > 1 => braces -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x \" {", y)"#, "f(        , y)"),
            (r##"f(r#"a " b"#, y)"##, "f(          , y)"),
            (r#"f(br"\", y)"#, "f(     , y)"),
            ("r#type {", "r#type {"),
            ("let a = '{';", "let a =    ;"),
            (r"let a = '\'';", "let a =     ;"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("let a = 'é';", "let a =     ;"),
            ("for\"x\"", "for   "),
        ] {
            assert_eq!(code_only(text), code, "{text}");
        }
    }

    #[test]
    fn functions_are_found_with_their_length() {
        let code = "trait T { fn none(&self) -> [u8; 4]; }\n\
            impl T for X {\n    pub fn two(x: [u8; 4]) -> [u8; 4] {\n        if x { y } }\n\
            fn one<F: Fn(u8)>(f: F) {}\n}\ntype G = fn (u8);\n";
        let found: Vec<_> =
            functions(code).into_iter().map(|it| (it.name, it.first_line, it.lines)).collect();
        assert_eq!(found, [("two".to_owned(), 3, 2), ("one".to_owned(), 5, 1)]);
    }
}
