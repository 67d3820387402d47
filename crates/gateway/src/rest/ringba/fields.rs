//! What a partner sends: fields with names of its own, in a query, a form, a JSON object or flat XML. What cannot be used is left
//! out, as partners expect, and named in the answer; a body that cannot be read at all is a problem.

use crate::problem::{FieldProblem, Kind, Problem};
use crate::request::shown;
use crate::rest::pings::{STATE_FIX, TAG_FIX, TAGS_MAX, is_tag};
use exchange::call::Stated;
use exchange::place::{Language, State, Zip};
use serde_json::Value;
use std::borrow::Cow;

/// Fields that are looked at; more are ignored.
const FIELDS_MAX: usize = 128;

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// The caller's number, as it was written.
    pub(super) caller: Option<String>,
    /// What is said of the consumer.
    pub(super) stated: Stated,
    /// How long the bid is to be held, in seconds.
    pub(super) expire_in_s: Option<u64>,
    /// What was left out, and why.
    pub(super) ignored: Vec<FieldProblem>,
    seen: usize,
}

/// The most fields that an answer names as left out.
const IGNORED_MAX: usize = 16;

impl Fields {
    /// Adds a query or a form: `application/x-www-form-urlencoded`.
    pub(super) fn add_form(&mut self, text: &[u8]) {
        for (name, value) in form_urlencoded::parse(text).take(FIELDS_MAX) {
            self.add(&name, &value);
        }
    }

    /// Adds a body, by its type.
    pub(super) fn add_body(&mut self, content_type: &str, body: &[u8]) -> Result<(), Problem> {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" | "text/json" => self.add_json(body),
            "application/xml" | "text/xml" => self.add_xml(body),
            "application/x-www-form-urlencoded" | "" => {
                self.add_form(body);
                Ok(())
            }
            _ => {
                let detail = "send JSON, XML or a form, with its Content-Type";
                Err(Problem::new(Kind::UnsupportedMediaType, detail))
            }
        }
    }

    fn add_json(&mut self, body: &[u8]) -> Result<(), Problem> {
        let read = serde_json::from_slice(body);
        let Ok(Value::Object(fields)) = read else {
            return Err(Problem::new(Kind::MalformedRequest, "send a JSON object of texts"));
        };
        for (name, value) in &fields {
            let text = match value {
                Value::String(text) => Cow::Borrowed(text.as_str()),
                Value::Number(_) | Value::Bool(_) => Cow::Owned(value.to_string()),
                Value::Null => continue,
                Value::Array(_) | Value::Object(_) => {
                    self.ignore(name, "is a list or an object", "send a text");
                    continue;
                }
            };
            self.add(name, &text);
        }
        Ok(())
    }

    fn add_xml(&mut self, body: &[u8]) -> Result<(), Problem> {
        let elements = std::str::from_utf8(body).ok().and_then(flat_xml).ok_or_else(|| {
            Problem::new(Kind::MalformedRequest, "send one XML element that holds one element for each field")
        })?;
        for (name, value) in &elements {
            self.add(name, value);
        }
        Ok(())
    }

    fn add(&mut self, name: &str, value: &str) {
        self.seen += 1;
        let (sent, value) = (name.trim(), value.trim());
        if self.seen > FIELDS_MAX || value.is_empty() {
            return;
        }
        let name = sent.to_ascii_lowercase();
        let stated = &mut self.stated;
        let unusable = match name.as_str() {
            "cid" | "callerid" | "caller_id" => {
                self.caller = Some(value.to_owned());
                None
            }
            "state" => {
                let state = State::try_from(value.to_ascii_uppercase()).ok();
                stated.state = state.filter(|state| state.is_known());
                stated.state.is_none().then_some(("is not a state", STATE_FIX))
            }
            "zip" | "zipcode" | "zip_code" => {
                stated.zip = zip(value);
                stated.zip.is_none().then_some(("is not a ZIP code", "send five digits such as 33101"))
            }
            "language" => {
                stated.language = Language::try_from(value.to_ascii_lowercase()).ok();
                stated.language.is_none().then_some(("is not a language", "send two letters such as es"))
            }
            "expireinseconds" => {
                self.expire_in_s = value.parse().ok();
                self.expire_in_s.is_none().then_some(("is not a whole number", "send seconds such as 30"))
            }
            // They are about what Ringba does with the number, and how it answers.
            "exposecallerid" | "sipok" => None,
            _ if !is_tag(&name, value) => Some(("is no tag", TAG_FIX)),
            _ if stated.tags.len() >= TAGS_MAX && !stated.tags.contains_key(&name) => {
                Some(("is one tag too many", "send the 32 that bids ask for"))
            }
            _ => {
                stated.tags.insert(name, value.to_owned());
                None
            }
        };
        if let Some((problem, fix)) = unusable {
            self.ignore(sent, problem, fix);
        }
    }

    /// Notes that a field is left out.
    pub(super) fn ignore(&mut self, name: &str, problem: impl Into<String>, fix: impl Into<String>) {
        if self.ignored.len() < IGNORED_MAX {
            let (problem, fix) = (problem.into(), fix.into());
            self.ignored.push(FieldProblem { field: shown(name), problem, fix });
        }
    }
}

/// Five digits, or nine as `12345-6789`, of which the first five count.
fn zip(text: &str) -> Option<Zip> {
    let (five, four) = text.split_once('-').map_or((text, None), |(five, four)| (five, Some(four)));
    let is_plus_four = |four: &str| four.len() == 4 && four.bytes().all(|byte| byte.is_ascii_digit());
    Zip::try_from(five.to_owned()).ok().filter(|_| four.is_none_or(is_plus_four))
}

/// The elements within the one element of a document, if there is nothing but texts in them.
fn flat_xml(document: &str) -> Option<Vec<(String, String)>> {
    let mut rest = document.trim_start_matches('\u{feff}').trim();
    if let Some(prolog) = rest.strip_prefix("<?") {
        rest = prolog.split_once("?>")?.1.trim_start();
    }
    let root = Tag::opening(rest)?;
    if root.is_empty_element {
        return root.after.is_empty().then(Vec::new);
    }
    let inner = root.after.strip_suffix('>')?.trim_end().strip_suffix(root.name)?;
    let mut rest = inner.strip_suffix("</")?.trim();
    let mut elements = Vec::new();
    while !rest.is_empty() && elements.len() < FIELDS_MAX {
        let tag = Tag::opening(rest)?;
        let (text, after) =
            if tag.is_empty_element { ("", tag.after) } else { text_of(tag.name, tag.after)? };
        elements.push((tag.name.to_owned(), unescaped(text)?));
        rest = after.trim_start();
    }
    Some(elements)
}

/// The text up to an element's closing tag, and what follows that.
fn text_of<'a>(name: &str, text: &'a str) -> Option<(&'a str, &'a str)> {
    let (text, after) = text.split_once("</")?;
    let (closing, after) = after.split_once('>')?;
    (closing.trim_end() == name && !text.contains('<')).then_some((text, after))
}

/// An opening tag, or that of an empty element.
struct Tag<'a> {
    name: &'a str,
    is_empty_element: bool,
    after: &'a str,
}

impl<'a> Tag<'a> {
    fn opening(text: &'a str) -> Option<Self> {
        let (tag, after) = text.strip_prefix('<')?.split_once('>')?;
        let (tag, is_empty_element) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split_ascii_whitespace().next().filter(|_| !tag.starts_with([' ', '!', '?', '/']))?;
        Some(Self { name, is_empty_element, after })
    }
}

/// Text with its references (XML 1.0 section 4.6) replaced.
fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (reference, after) = part.split_once(';')?;
        plain.push(match reference {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = reference.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        plain.push_str(after);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &Fields) {
        assert_eq!(fields.caller.as_deref(), Some("15557779999"));
        let stated = &fields.stated;
        assert_eq!(stated.state.map(|state| state.to_string()).as_deref(), Some("NY"));
        assert_eq!(stated.zip.map(|zip| zip.to_string()).as_deref(), Some("12345"));
        let tags: Vec<_> = stated.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(tags, [("age", "67"), ("subid", "a & b")]);
    }

    #[test]
    fn the_same_is_read_in_every_form() {
        let form = "CID=15557779999&State=ny&zipcode=12345-6789&SubID=a+%26+b&age=67&exposeCallerId=yes&no-word=x&empty=";
        let mut by_query = Fields::default();
        by_query.add_form(form.as_bytes());
        check(&by_query);
        let bodies = [
            ("application/x-www-form-urlencoded; charset=utf-8", form.to_owned()),
            (
                "application/json",
                r#"{"CID":15557779999,"State":"NY","zipcode":"12345","SubID":"a & b","age":67,"x":null,"y":[1]}"#.to_owned(),
            ),
            (
                "text/xml",
                "<?xml version=\"1.0\"?>\n<BidRequest a=\"1\"> <CID>15557779999</CID><State>NY</State>\n<zipcode>12345</zipcode>\
                 <SubID>a &amp; &#98;</SubID><age>67</age><x/><y z=\"1\" /></BidRequest>\n"
                    .to_owned(),
            ),
        ];
        for (content_type, body) in bodies {
            let mut fields = Fields::default();
            fields.add_body(content_type, body.as_bytes()).expect(content_type);
            check(&fields);
        }
    }

    #[test]
    fn bodies_that_cannot_be_read_are_problems() {
        for (content_type, body) in [
            ("application/json", "[]"),
            ("application/json", "{"),
            ("application/xml", "<a><b>1</c></a>"),
            ("application/xml", "<a><b><c>1</c></b></a>"),
            ("application/xml", "<a><b>&unknown;</b></a>"),
            ("application/xml", "<a><b>1</b>"),
            ("application/xml", "<!DOCTYPE a><a></a>"),
            ("application/xml", "a"),
            ("text/plain", "CID=1"),
        ] {
            assert!(Fields::default().add_body(content_type, body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn what_is_left_out_is_named() {
        let mut fields = Fields::default();
        fields.add_form(b"CID=1&State=XX&Zip=331&zipcode=33101-12&Language=english&expireInSeconds=soon&no-word=x&sipOk=1&a=b&State=fl");
        let ignored: Vec<&str> = fields.ignored.iter().map(|ignored| ignored.field.as_str()).collect();
        assert_eq!(ignored, ["State", "Zip", "zipcode", "Language", "expireInSeconds", "no-word"]);
        assert_eq!(
            fields.stated.state.map(|state| state.to_string()).as_deref(),
            Some("FL"),
            "the last one counts"
        );
        assert_eq!((fields.stated.zip, fields.expire_in_s), (None, None));
    }

    #[test]
    fn no_more_than_so_many_tags_are_kept() {
        let many: Vec<String> = (0..200).map(|tag| format!("tag_{tag}=x")).collect();
        let mut fields = Fields::default();
        fields.add_form(many.join("&").as_bytes());
        assert_eq!(fields.stated.tags.len(), TAGS_MAX);
        assert_eq!(fields.ignored.len(), IGNORED_MAX);
    }
}
