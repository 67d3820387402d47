//! What a carrier's INVITE says of the consumer, beyond the numbers. All of it is optional, and what is malformed, or said
//! twice, counts as not said: a broken field of a lead form never costs the call.

use crate::field::NameAddr;
use crate::header::{Headers, Name};
use exchange::bid::criteria::Attestation;
use exchange::call::Stated;
use exchange::place::{Language, State, Zip};
use std::collections::BTreeMap;

/// The most tags taken from one INVITE, in their order; further ones are ignored.
const TAGS_MAX: usize = 16;
/// The longest name of a tag, in bytes.
const TAG_NAME_BYTES_MAX: usize = 64;
/// The longest value of a tag, in bytes.
const TAG_VALUE_BYTES_MAX: usize = 256;

/// What stands before a tag's name.
const TAG_PREFIX: &str = "x-tag-";

/// Reads it all.
pub(crate) fn read_stated(headers: &Headers) -> Stated {
    let state = said_once(headers, Name::XConsumerState);
    let zip = said_once(headers, Name::XConsumerZip);
    let language = said_once(headers, Name::XConsumerLanguage);
    Stated {
        state: state.and_then(|text| State::try_from(text.to_ascii_uppercase()).ok()),
        zip: zip.and_then(read_zip),
        language: language.and_then(read_language),
        attestation: read_attestation(headers),
        tags: read_tags(headers),
    }
}

fn said_once(headers: &Headers, name: Name) -> Option<&str> {
    let mut values = headers.all(name);
    let value = values.next()?;
    values.next().is_none().then(|| value.trim())
}

/// Five digits, or nine as `33101-1234`, of which the first five count.
fn read_zip(text: &str) -> Option<Zip> {
    let is_extension = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let five = match text.split_once('-') {
        Some((five, extension)) => is_extension(extension).then_some(five)?,
        None => text,
    };
    Zip::try_from(five.to_owned()).ok()
}

/// A language tag (RFC 5646) of which only the language counts: `es`, `es-MX`.
fn read_language(text: &str) -> Option<Language> {
    let language = text.split('-').next()?;
    Language::try_from(language.to_ascii_lowercase()).ok()
}

/// The carrier's own word, `P-Attestation-Indicator` (as Cisco and Ribbon write what the signed `PASSporT` said); else `verstat` of
/// the asserted identity or of `From` (3GPP TS 24.229 section 7.2A.20, ATIS-1000074). A failed check attests nothing.
fn read_attestation(headers: &Headers) -> Option<Attestation> {
    match said_once(headers, Name::PAttestationIndicator).and_then(read_level) {
        Some(level) => Some(level),
        None => read_verified(verstat(headers)?),
    }
}

fn read_level(text: &str) -> Option<Attestation> {
    match text {
        "A" | "a" => Some(Attestation::A),
        "B" | "b" => Some(Attestation::B),
        "C" | "c" => Some(Attestation::C),
        _ => None,
    }
}

/// The first `verstat` there is. It is a parameter of the telephone number, so within the user part of a SIP URI; some
/// carriers make it one of the field. The display name is the caller's own and says nothing.
fn verstat(headers: &Headers) -> Option<&str> {
    let identities = [Name::PAssertedIdentity, Name::From].into_iter().flat_map(|name| headers.all(name));
    identities.filter_map(|value| NameAddr::parse(value).ok()).find_map(|identity| {
        let mut of_number = identity.uri_text.split([';', '@']).filter_map(|part| part.split_once('='));
        let found = of_number.find(|(name, _)| name.eq_ignore_ascii_case("verstat"));
        found.map(|(_, value)| value).or_else(|| identity.params.get("verstat"))
    })
}

/// `TN-Validation-Passed` alone says full attestation; carriers add `-A`, `-B` or `-C` to say which.
fn read_verified(verstat: &str) -> Option<Attestation> {
    const PASSED: &str = "TN-Validation-Passed";
    let (passed, level) = (verstat.get(..PASSED.len())?, &verstat[PASSED.len()..]);
    if !passed.eq_ignore_ascii_case(PASSED) {
        return None;
    }
    match level.strip_prefix('-') {
        Some(level) => read_level(level),
        None => level.is_empty().then_some(Attestation::A),
    }
}

/// `X-Tag-NAME: value`. The first of a name counts.
fn read_tags(headers: &Headers) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    for (field, value) in headers.iter() {
        if tags.len() == TAGS_MAX {
            break;
        }
        let Some(name) = tag_name(field) else { continue };
        let value = value.trim();
        if !value.is_empty() && value.len() <= TAG_VALUE_BYTES_MAX {
            tags.entry(name).or_insert_with(|| value.to_owned());
        }
    }
    tags
}

/// The name in lower case, if it is one: letters, digits and underscores.
fn tag_name(field: &str) -> Option<String> {
    let prefix = field.get(..TAG_PREFIX.len())?;
    let name = field[TAG_PREFIX.len()..].to_ascii_lowercase();
    let is_name = (1..=TAG_NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (prefix.eq_ignore_ascii_case(TAG_PREFIX) && is_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange::bid::criteria::Attestation::{A, B, C};

    type Fields<'a> = &'a [(&'a str, &'a str)];

    fn stated(fields: Fields<'_>) -> Stated {
        let mut headers = Headers::default();
        for (name, value) in fields {
            match Name::read(name) {
                Name::Other => headers.push_other(name, value),
                known => headers.push(known, value),
            }
        }
        read_stated(&headers)
    }

    #[test]
    fn facts_are_read_and_what_is_malformed_is_not_said() {
        let state = |text: &str| stated(&[("X-Consumer-State", text)]).state.map(|state| state.to_string());
        let zip = |text: &str| stated(&[("X-Consumer-Zip", text)]).zip.map(|zip| zip.to_string());
        let language =
            |text: &str| stated(&[("X-Consumer-Language", text)]).language.map(|found| found.to_string());
        for (read, expected) in [
            (state("FL"), Some("FL")),
            (state(" fl "), Some("FL")),
            (state("Florida"), None),
            (state(""), None),
            (zip("33101"), Some("33101")),
            (zip("00501-1234"), Some("00501")),
            (zip("3310"), None),
            (zip("33101-12"), None),
            (zip("33101-abcd"), None),
            (language("es"), Some("es")),
            (language("ES-mx"), Some("es")),
            (language("spanish"), None),
            (language("-"), None),
        ] {
            assert_eq!(read.as_deref(), expected);
        }
        let twice = [("X-Consumer-State", "FL"), ("X-Consumer-State", "GA"), ("X-Consumer-Zip", "33101")];
        assert_eq!((stated(&twice).state, stated(&twice).zip.is_some()), (None, true), "which of them?");
        assert_eq!(stated(&[]), Stated::default());
    }

    #[test]
    fn attestation_is_the_carriers_word_or_the_check_of_the_number() {
        const INDICATOR: &str = "P-Attestation-Indicator";
        const ASSERTED: &str = "P-Asserted-Identity";
        let cases: [(Fields<'_>, Option<Attestation>); 15] = [
            (&[(INDICATOR, "A")], Some(A)),
            (&[(INDICATOR, "B"), (ASSERTED, "<tel:+1;verstat=TN-Validation-Passed>")], Some(B)),
            (&[(INDICATOR, "D"), (ASSERTED, "<tel:+1;verstat=TN-Validation-Passed-C>")], Some(C)),
            (&[(INDICATOR, "A"), (INDICATOR, "C")], None),
            (&[(ASSERTED, "<tel:+12125550123;verstat=TN-Validation-Passed>")], Some(A)),
            (&[(ASSERTED, "\"Jo\" <sip:+1;verstat=TN-Validation-Passed-B@h;user=phone>")], Some(B)),
            (&[(ASSERTED, "<sip:+1@h>;verstat=tn-validation-passed-a")], Some(A)),
            (&[(ASSERTED, "<sip:+1;verstat=TN-Validation-Failed@h>")], None),
            (&[(ASSERTED, "<sip:+1;verstat=TN-Validation-Failed-A@h>")], None),
            (&[(ASSERTED, "<sip:+1;verstat=No-TN-Validation@h>")], None),
            (&[(ASSERTED, "<sip:+1;verstat=TN-Validation-PassedA@h>")], None),
            (&[(ASSERTED, "<sip:+1@h>"), ("From", "<sip:+1;verstat=TN-Validation-Passed@h>;tag=1")], Some(A)),
            (
                &[
                    (ASSERTED, "<sip:+1;verstat=TN-Validation-Failed@h>"),
                    ("From", "<sip:+1;verstat=TN-Validation-Passed@h>;tag=1"),
                ],
                None,
            ),
            (&[("From", "\";verstat=TN-Validation-Passed;\" <sip:+1@h>;tag=1")], None),
            (&[("From", "<sip:+1@h>;tag=1")], None),
        ];
        for (fields, expected) in cases {
            assert_eq!(stated(fields).attestation, expected, "{fields:?}");
        }
    }

    #[test]
    fn tags_are_named_values_within_bounds() {
        let long_name = format!("X-Tag-{}", "a".repeat(65));
        let (longest, too_long) = ("v".repeat(256), "v".repeat(257));
        let read = stated(&[
            ("X-Tag-Campaign_ID", " spring 26 "),
            ("x-tag-campaign_id", "the second"),
            ("X-Tag-", "no name"),
            ("X-Tag-a-b", "no name either"),
            ("X-Tag-empty", ""),
            (&long_name, "v"),
            ("X-Tag-long", &longest),
            ("X-Tag-longer", &too_long),
            ("X-Tägliche", "v"),
        ]);
        let tags: Vec<_> = read.tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(tags, [("campaign_id", "spring 26"), ("long", longest.as_str())]);
        let many: Vec<_> = (0..20).map(|nth| (format!("X-Tag-t{nth:02}"), nth.to_string())).collect();
        let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(stated(&many).tags.keys().next_back().map(String::as_str), Some("t15"));
    }
}
