//! What serde says of a value, in the words of those who sent it: what is wrong with it, and what to send instead.

/// The most letters of a name that are shown again, so that a long one fills no answer.
const SHOWN_MAX: usize = 60;

/// A problem and its fix, as in "weight is text: send a whole number from 0 to 4294967295".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    pub(super) problem: String,
    pub(super) fix: String,
}

impl Words {
    fn new(problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { problem: problem.into(), fix: fix.into() }
    }
}

/// What serde said, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// A member that must be there is not.
    Missing(&'a str),
    /// A member that nothing is known of.
    Unknown { name: &'a str, known: Vec<&'a str> },
    /// A text that is none of the choices there are.
    NoVariant { name: &'a str, known: Vec<&'a str> },
    /// A member that is there more than once.
    Duplicate(&'a str),
    /// Anything else.
    Other(&'a str),
}

/// Takes apart what serde, or a type's own reading, said.
pub(super) fn said(message: &str) -> Said<'_> {
    // serde_json appends the place to what serde says.
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((name, known)) = quoted.split_first() else { return Said::Other(message) };
    let known = known.to_vec();
    if message.starts_with("missing field ") {
        Said::Missing(name)
    } else if message.starts_with("unknown field ") {
        Said::Unknown { name, known }
    } else if message.starts_with("unknown variant ") {
        Said::NoVariant { name, known }
    } else if message.starts_with("duplicate field ") {
        Said::Duplicate(name)
    } else {
        Said::Other(message)
    }
}

impl Said<'_> {
    /// In words. `asked_for` is what the API's description asks for there, where it says.
    pub(super) fn words(&self, asked_for: Option<&str>) -> Words {
        match self {
            Self::Missing(_) => {
                Words::new("is missing", asked_for.map_or("add it".to_owned(), |what| format!("add {what}")))
            }
            Self::Unknown { name, known } => Words::new("is unknown", instead_of(name, known)),
            Self::NoVariant { name, known } => {
                let fix = match nearest(name, known) {
                    Some(near) => format!("send {near}"),
                    None if known.is_empty() => "leave it out".to_owned(),
                    None => format!("send {}", listed(known)),
                };
                Words::new(format!("is '{}', which is no choice", shown(name)), fix)
            }
            Self::Duplicate(_) => Words::new("is there more than once", "send it once"),
            Self::Other(message) => other(message, asked_for),
        }
    }
}

/// A name as it is shown again to those who sent it.
pub(crate) fn shown(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(SHOWN_MAX).collect()
}

/// What to do about an unknown member: its name is nearly one of those there are, or here they are.
fn instead_of(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("write {near}, or leave it out"),
        None if known.is_empty() => "leave it out".to_owned(),
        None => format!("leave it out; known are {}", known.join(", ")),
    }
}

/// The known name that is nearest, if it is near: a slip or two of the fingers away, or its beginning, as `mon` is of `monday`.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = shown(name).to_ascii_lowercase();
    if let Some(beginning) = known.iter().find(|known| known.len() >= 3 && name.starts_with(**known)) {
        return Some(beginning);
    }
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(&name, known), *known));
    let (distance, nearest) = distances.min()?;
    // Of one or two letters, any is near any other.
    (nearest.len() >= 3 && distance <= nearest.len().div_ceil(4)).then_some(nearest)
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn listed(choices: &[&str]) -> String {
    match choices {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn other(message: &str, asked_for: Option<&str>) -> Words {
    for kind in ["invalid type: ", "invalid value: ", "invalid length "] {
        if let Some((found, expected)) =
            message.strip_prefix(kind).and_then(|rest| rest.rsplit_once(", expected "))
        {
            return unexpected(kind, found, expected, asked_for);
        }
    }
    if is_of_uuid(message) {
        return Words::new("is not a UUID", "send one such as 01975a3e-7c4d-7a10-8f6e-2b9d5c1e4f70");
    }
    if let Some((problem, fix)) = message.split_once("; ") {
        return Words::new(predicate(problem), fix);
    }
    match message {
        "invalid digit found in string" | "cannot parse integer from empty string" => {
            Words::new("is not a whole number", "write digits only, such as 50")
        }
        "number too large to fit in target type" => Words::new("is too large", "write a smaller number"),
        "number too small to fit in target type" => Words::new("is too small", "write a larger number"),
        "provided string was not `true` or `false`" => {
            Words::new("is neither true nor false", "write true or false")
        }
        _ => Words::new(
            predicate(message),
            asked_for.map_or("send a value as the API's description says".to_owned(), |what| {
                format!("send {what}")
            }),
        ),
    }
}

/// The uuid crate's messages have no common beginning.
fn is_of_uuid(message: &str) -> bool {
    let begins = [
        "UUID parsing failed",
        "invalid character: ",
        "invalid group ",
        "invalid length: ",
        "failed to parse a UUID",
    ];
    begins.iter().any(|beginning| message.starts_with(beginning))
}

/// What types say of a value begins with it in quotes, which whoever sent it knows: `'XX' is not a state`.
fn predicate(problem: &str) -> String {
    let rest = problem.strip_prefix('\'').and_then(|quoted| quoted.rsplit_once("' "));
    let said = rest.map_or(problem, |(_, said)| said);
    let is_predicate = ["is ", "has ", "does ", "names ", "lies "].iter().any(|verb| said.starts_with(verb));
    if is_predicate { said.to_owned() } else { format!("cannot be read ({})", shown(said)) }
}

fn unexpected(kind: &str, found: &str, expected: &str, asked_for: Option<&str>) -> Words {
    let whole = whole_number(expected);
    let problem = match kind {
        "invalid length " => format!("has {found} entries"),
        "invalid value: " if whole.is_some() => "is out of range".to_owned(),
        _ if found.starts_with("floating point") && whole.is_some() => "is not a whole number".to_owned(),
        _ => found_words(found).to_owned(),
    };
    let fix = match (whole, asked_for) {
        (Some(whole), _) => whole,
        (None, Some(asked_for)) if kind != "invalid length " => asked_for.to_owned(),
        (None, _) => expected_words(expected),
    };
    Words::new(problem, format!("send {fix}"))
}

fn found_words(found: &str) -> &'static str {
    const BEGINNINGS: [(&str, &str); 8] = [
        ("string", "is text"),
        ("integer", "is a number"),
        ("floating point", "is a number"),
        ("boolean `true`", "is true"),
        ("boolean", "is false"),
        ("null", "is null"),
        ("sequence", "is a list"),
        ("map", "is an object"),
    ];
    let words = BEGINNINGS.iter().find(|(beginning, _)| found.starts_with(beginning));
    words.map_or("is of another kind than asked for", |(_, words)| words)
}

/// The range of one of Rust's integers.
fn whole_number(expected: &str) -> Option<String> {
    let (least, most) = match expected {
        "u8" => (0, i128::from(u8::MAX)),
        "u16" => (0, i128::from(u16::MAX)),
        "u32" => (0, i128::from(u32::MAX)),
        "u64" | "usize" => (0, i128::from(u64::MAX)),
        "i8" => (i128::from(i8::MIN), i128::from(i8::MAX)),
        "i16" => (i128::from(i16::MIN), i128::from(i16::MAX)),
        "i32" => (i128::from(i32::MIN), i128::from(i32::MAX)),
        "i64" | "isize" => (i128::from(i64::MIN), i128::from(i64::MAX)),
        _ => return None,
    };
    Some(format!("a whole number from {least} to {most}"))
}

fn expected_words(expected: &str) -> String {
    if let Some(entries) = expected.strip_prefix("an array of length ") {
        return format!("a list of {entries} entries");
    }
    let words = match expected {
        "a string" | "a borrowed string" | "string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        "f64" | "f32" => "a number",
        "null" | "unit" | "option" => "null",
        "map with a single key" => "an object with one member",
        "string or map" => "one of the choices in the API's description",
        _ if expected.starts_with("unit variant") => "its name alone, as text",
        _ if expected.contains("UUID") => "a UUID",
        _ if ["struct", "enum", "tuple", "newtype", "internally tagged"]
            .iter()
            .any(|kind| expected.contains(kind)) =>
        {
            "an object with named fields"
        }
        _ => "a value as the API's description says",
    };
    words.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_says_becomes_a_problem_and_a_fix() {
        let state = Some("text such as \"FL\"");
        let days = "unknown variant `mnoday`, expected one of `mon`, `tue`, `wed`";
        for (message, asked_for, problem, fix) in [
            ("missing field `name`", None, "is missing", "add it"),
            ("missing field `state`", state, "is missing", "add text such as \"FL\""),
            (
                "unknown field `nmae`, expected `name` or `kind`",
                None,
                "is unknown",
                "write name, or leave it out",
            ),
            (
                "unknown field `Name`, expected `name` or `kind`",
                None,
                "is unknown",
                "write name, or leave it out",
            ),
            (
                "unknown field `x`, expected `name` or `kind`",
                None,
                "is unknown",
                "leave it out; known are name, kind",
            ),
            ("unknown field `x`, there are no fields", None, "is unknown", "leave it out"),
            (
                "unknown variant `Z`, expected one of `A`, `B`, `C`",
                None,
                "is 'Z', which is no choice",
                "send A, B or C",
            ),
            (days, None, "is 'mnoday', which is no choice", "send mon, tue or wed"),
            (
                "unknown variant `Monday`, expected `mon` or `tue`",
                None,
                "is 'Monday', which is no choice",
                "send mon",
            ),
            (
                "unknown variant `tues`, expected `mon` or `tue`",
                None,
                "is 'tues', which is no choice",
                "send tue",
            ),
            ("duplicate field `name` at line 1 column 5", None, "is there more than once", "send it once"),
            ("invalid type: string \"x\", expected u8", None, "is text", "send a whole number from 0 to 255"),
            (
                "invalid type: string \"a, expected b\", expected u8",
                None,
                "is text",
                "send a whole number from 0 to 255",
            ),
            (
                "invalid type: floating point `1.5`, expected u16",
                None,
                "is not a whole number",
                "send a whole number from 0 to 65535",
            ),
            (
                "invalid value: integer `300`, expected u8",
                None,
                "is out of range",
                "send a whole number from 0 to 255",
            ),
            (
                "invalid value: integer `-1`, expected i64 at line 1 column 9",
                None,
                "is out of range",
                "send a whole number from -9223372036854775808 to 9223372036854775807",
            ),
        ] {
            assert_eq!(said(message).words(asked_for), Words::new(problem, fix), "{message}");
        }
    }

    #[test]
    fn so_does_what_types_say_and_what_nobody_foresaw() {
        let state = Some("text such as \"FL\"");
        for (message, asked_for, problem, fix) in [
            ("invalid type: null, expected a string", state, "is null", "send text such as \"FL\""),
            ("invalid type: integer `5`, expected a string", None, "is a number", "send text"),
            ("invalid type: boolean `true`, expected a sequence", None, "is true", "send a list"),
            ("invalid type: sequence, expected a boolean", None, "is a list", "send true or false"),
            (
                "invalid type: map, expected string or map",
                None,
                "is an object",
                "send one of the choices in the API's description",
            ),
            (
                "invalid type: string \"\", expected struct Conversion",
                None,
                "is text",
                "send an object with named fields",
            ),
            (
                "invalid length 23, expected an array of length 24",
                None,
                "has 23 entries",
                "send a list of 24 entries",
            ),
            (
                "UUID parsing failed: invalid character: found `m` at 0",
                None,
                "is not a UUID",
                "send one such as 01975a3e-7c4d-7a10-8f6e-2b9d5c1e4f70",
            ),
            ("'XX' is not a state; write FL", state, "is not a state", "write FL"),
            ("'a' ' b' is not a day; write 12-25", None, "is not a day", "write 12-25"),
            ("has 3 digits; write +12125550123", None, "has 3 digits", "write +12125550123"),
            ("invalid digit found in string", None, "is not a whole number", "write digits only, such as 50"),
            ("beyond us", state, "cannot be read (beyond us)", "send text such as \"FL\""),
            ("beyond us", None, "cannot be read (beyond us)", "send a value as the API's description says"),
        ] {
            assert_eq!(said(message).words(asked_for), Words::new(problem, fix), "{message}");
        }
    }
}
