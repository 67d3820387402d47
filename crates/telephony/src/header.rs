//! The header fields of a message: one text, and where in it each field stands. Order and unknown fields are kept.

use std::fmt::{self, Display, Write};

macro_rules! names {
    ($($variant:ident, $text:literal, $compact:literal;)*) => {
        /// The name of a header field.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other; the text is kept with the field.
            Other,
        }

        impl Name {
            /// Recognises a name, long or compact, in any case.
            pub fn read(text: &str) -> Self {
                $(if text.eq_ignore_ascii_case($text) || text.eq_ignore_ascii_case($compact) {
                    return Self::$variant;
                })*
                Self::Other
            }

            /// The long form; empty for [`Name::Other`].
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "",
                }
            }
        }
    };
}

// A name without a compact form repeats its long one.
names! {
    Via, "Via", "v";
    Route, "Route", "Route";
    RecordRoute, "Record-Route", "Record-Route";
    MaxForwards, "Max-Forwards", "Max-Forwards";
    From, "From", "f";
    To, "To", "t";
    CallId, "Call-ID", "i";
    CSeq, "CSeq", "CSeq";
    Contact, "Contact", "m";
    ContentLength, "Content-Length", "l";
    ContentType, "Content-Type", "c";
    ContentDisposition, "Content-Disposition", "Content-Disposition";
    ContentEncoding, "Content-Encoding", "e";
    Allow, "Allow", "Allow";
    Supported, "Supported", "k";
    Unsupported, "Unsupported", "Unsupported";
    Require, "Require", "Require";
    SessionExpires, "Session-Expires", "x";
    MinSe, "Min-SE", "Min-SE";
    PAssertedIdentity, "P-Asserted-Identity", "P-Asserted-Identity";
    Privacy, "Privacy", "Privacy";
    Reason, "Reason", "Reason";
    RetryAfter, "Retry-After", "Retry-After";
    Warning, "Warning", "Warning";
    InfoPackage, "Info-Package", "Info-Package";
    RSeq, "RSeq", "RSeq";
    UserAgent, "User-Agent", "User-Agent";
    Server, "Server", "Server";
    XConsumerState, "X-Consumer-State", "X-Consumer-State";
    XConsumerZip, "X-Consumer-Zip", "X-Consumer-Zip";
    XConsumerLanguage, "X-Consumer-Language", "X-Consumer-Language";
    PAttestationIndicator, "P-Attestation-Indicator", "P-Attestation-Indicator";
}

impl Name {
    /// Fields whose values may be joined by commas, which we take apart when we read a message.
    pub(crate) fn is_list(self) -> bool {
        matches!(
            self,
            Self::Via
                | Self::Route
                | Self::RecordRoute
                | Self::Contact
                | Self::Allow
                | Self::Supported
                | Self::Unsupported
                | Self::Require
                | Self::PAssertedIdentity
                | Self::Reason
        )
    }

    /// Fields that may stand only once.
    pub(crate) fn is_single(self) -> bool {
        matches!(
            self,
            Self::MaxForwards
                | Self::From
                | Self::To
                | Self::CallId
                | Self::CSeq
                | Self::ContentLength
                | Self::ContentType
                | Self::SessionExpires
                | Self::MinSe
        )
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

#[derive(Clone, Copy)]
struct Line {
    name: Name,
    /// For [`Name::Other`].
    other_name: Span,
    value: Span,
}

/// Header fields in their order. Values of list fields (`Via`, `Route`, `Contact` ...) are one to a field.
///
/// `Content-Length` is not kept: it is the length of the body, and written from it.
#[derive(Clone, Default)]
pub struct Headers {
    text: String,
    lines: Vec<Line>,
}

impl Headers {
    /// Takes the text of a message's head, of which fields will then be marked with [`Headers::mark`].
    pub(crate) fn over(text: String) -> Self {
        Self { text, lines: Vec::with_capacity(16) }
    }

    /// Counts a part of the text given to [`Headers::over`] as a field. Both parts must be slices of that text.
    pub(crate) fn mark(&mut self, name: Name, other_name: (usize, usize), value: (usize, usize)) {
        let span = |(start, end): (usize, usize)| Span { start: offset(start), end: offset(end) };
        self.lines.push(Line { name, other_name: span(other_name), value: span(value) });
    }

    /// The first value of a field.
    pub fn get(&self, name: Name) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a field, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &str> {
        self.lines.iter().filter(move |line| line.name == name).map(|line| self.slice(line.value))
    }

    /// The first value of a field that [`Name`] does not know.
    pub fn get_other(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Every field, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().map(|line| match line.name {
            Name::Other => (self.slice(line.other_name), self.slice(line.value)),
            name => (name.as_str(), self.slice(line.value)),
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds a field at the end. Line breaks in `value` become blanks, so nothing can smuggle a field in.
    pub fn push(&mut self, name: Name, value: impl Display) {
        let value = self.append(value);
        self.lines.push(Line { name, other_name: Span::default(), value });
    }

    /// Adds a field that [`Name`] does not know.
    pub fn push_other(&mut self, name: &str, value: impl Display) {
        let other_name = self.append(name);
        let value = self.append(value);
        self.lines.push(Line { name: Name::Other, other_name, value });
    }

    /// Adds a field before all others, as a new top `Via` is.
    pub fn push_front(&mut self, name: Name, value: impl Display) {
        let value = self.append(value);
        self.lines.insert(0, Line { name, other_name: Span::default(), value });
    }

    /// Replaces the first value of a field, or adds it.
    pub fn set(&mut self, name: Name, value: impl Display) {
        let value = self.append(value);
        match self.lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.value = value,
            None => self.lines.push(Line { name, other_name: Span::default(), value }),
        }
    }

    /// Removes every value of a field.
    pub fn remove(&mut self, name: Name) {
        self.lines.retain(|line| line.name != name);
    }

    /// Copies every value of a field from another message.
    pub fn copy_from(&mut self, other: &Self, name: Name) {
        for value in other.all(name) {
            self.push(name, value);
        }
    }

    /// Whether a list of tokens such as `Supported` or `Allow` has this one.
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.all(name).any(|value| value.eq_ignore_ascii_case(token))
    }

    fn append(&mut self, value: impl Display) -> Span {
        let start = offset(self.text.len());
        write!(self.text, "{value}").expect("writing to a String");
        let written = &self.text[start as usize..];
        if written.contains(['\r', '\n']) {
            let clean = written.replace(['\r', '\n'], " ");
            self.text.truncate(start as usize);
            self.text.push_str(&clean);
        }
        Span { start, end: offset(self.text.len()) }
    }

    fn slice(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// Writes every field with its line break.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            for part in [name, ": ", value, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
}

fn offset(position: usize) -> u32 {
    u32::try_from(position).expect("a message head is far below 4 GiB")
}

/// Values hold telephone numbers and addresses, so only the names are shown.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_unknown_fields() {
        let mut headers = Headers::default();
        headers.push(Name::To, "<sip:b@h>");
        headers.push_other("X-Thing", 7);
        headers.push_front(Name::Via, "one");
        headers.set(Name::To, "<sip:c@h>");
        let all: Vec<_> = headers.iter().collect();
        assert_eq!(all, [("Via", "one"), ("To", "<sip:c@h>"), ("X-Thing", "7")]);
        assert_eq!(headers.get_other("x-thing"), Some("7"));
        headers.remove(Name::To);
        assert_eq!((headers.get(Name::To), headers.len()), (None, 2));
    }

    #[test]
    fn a_value_cannot_add_a_field() {
        let mut headers = Headers::default();
        headers.push(Name::Reason, "x\r\nEvil: y");
        assert_eq!(headers.get(Name::Reason), Some("x  Evil: y"));
    }

    #[test]
    fn names_are_read_in_any_case_and_compact() {
        for (text, name) in
            [("v", Name::Via), ("CALL-ID", Name::CallId), ("I", Name::CallId), ("x", Name::SessionExpires)]
        {
            assert_eq!(Name::read(text), name, "{text}");
        }
        assert_eq!(Name::read("Subject"), Name::Other);
    }
}
