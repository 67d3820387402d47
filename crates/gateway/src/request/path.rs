//! Where in a document something is: the way from its outside in.

use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;

/// One step inwards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into a member of an object.
    Member(String),
    /// Into an element of a list.
    Element(usize),
}

/// All steps; none is the document itself.
pub(super) type Path = Vec<Step>;

/// As the API writes it: `modifiers[0].change`, and `body` for the whole.
pub(super) fn text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        let dot = if text.is_empty() { "" } else { "." };
        // Writing to a String does not fail.
        let _ = match step {
            Step::Member(name) => write!(text, "{dot}{name}"),
            Step::Element(index) => write!(text, "[{index}]"),
        };
    }
    if text.is_empty() { "body".to_owned() } else { text }
}

/// Reads what [`text`] writes.
pub(super) fn parse(text: &str) -> Path {
    let mut path = Path::new();
    for part in text.split('.').filter(|_| text != "body") {
        let mut pieces = part.split('[');
        path.extend(pieces.next().filter(|name| !name.is_empty()).map(|name| Step::Member(name.to_owned())));
        let indices = pieces.filter_map(|piece| piece.strip_suffix(']')?.parse().ok());
        path.extend(indices.map(Step::Element));
    }
    path
}

/// What is at the end of a path.
pub(super) fn at<'a>(document: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Member(name) => value.as_object()?.get(name),
        Step::Element(index) => value.as_array()?.get(*index),
    })
}

/// What is at the end of a path, to be changed.
pub(super) fn at_mut<'a>(document: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(document, |value, step| match step {
        Step::Member(name) => value.as_object_mut()?.get_mut(name),
        Step::Element(index) => value.as_array_mut()?.get_mut(*index),
    })
}

/// Takes what is at the end of a path away; whether there was anything. What follows it in a list moves up.
pub(super) fn remove(document: &mut Value, path: &[Step]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    match (at_mut(document, parents), last) {
        (Some(Value::Object(members)), Step::Member(name)) => members.remove(name).is_some(),
        (Some(Value::Array(elements)), Step::Element(index)) if *index < elements.len() => {
            elements.remove(*index);
            true
        }
        _ => false,
    }
}

/// The place in the whole document of a place in what is left of it.
pub(super) fn before_removal(path: &[Step], removed: &BTreeSet<Path>) -> Path {
    let mut before = Path::new();
    for step in path {
        let step = match step {
            Step::Member(name) => Step::Member(name.clone()),
            Step::Element(index) => Step::Element(index_before(*index, &before, removed)),
        };
        before.push(step);
    }
    before
}

/// The index that the element at `index` had before others of its list were taken away.
fn index_before(index: usize, list: &[Step], removed: &BTreeSet<Path>) -> usize {
    let elements = removed.iter().filter_map(|path| match path.strip_prefix(list)? {
        [Step::Element(gone)] => Some(*gone),
        _ => None,
    });
    // Ascending, as the set is.
    elements.fold(index, |index, gone| if gone <= index { index + 1 } else { index })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_are_read_as_they_are_written() {
        for path in ["body", "name", "price.amount_micros", "modifiers[0].when.tags[12].is", "[3]", "a[1][2]"]
        {
            assert_eq!(text(&parse(path)), path);
        }
        let document = json!({ "a": [0, { "b": 5 }] });
        assert_eq!(at(&document, &parse("a[1].b")), Some(&json!(5)));
        assert_eq!(at(&document, &parse("a[2].b")), None);
    }

    #[test]
    fn elements_keep_the_indices_they_were_sent_with() {
        let mut list = json!({ "a": ["0", "1", "2", "3", "4", "5"] });
        let mut removed = BTreeSet::new();
        // Taken away in the order in which they stand wrong in what is left.
        for (index, sent) in [(1, "1"), (1, "2"), (2, "4"), (0, "0"), (0, "3")] {
            let left = parse(&format!("a[{index}]"));
            let before = before_removal(&left, &removed);
            assert_eq!(at(&list, &left), Some(&json!(sent)));
            assert_eq!(text(&before), format!("a[{sent}]"));
            assert!(remove(&mut list, &left));
            removed.insert(before);
        }
        assert_eq!(list, json!({ "a": ["5"] }));
        assert!(!remove(&mut list, &parse("a[1]")) && !remove(&mut list, &[]));
    }
}
