//! What a document of some type looks like, by the API's own description of it: what serde does not tell when it misreads one.

use super::path::{Path, Step};
use super::wording::listed;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// How far references and choices are followed; descriptions are much flatter.
const DEPTH_MAX: usize = 16;
/// Names of members, or choices, that a fix lists.
const LISTED_MAX: usize = 12;

/// The schema of a type (JSON Schema 2020-12), and those it refers to by name.
#[derive(Debug)]
pub(super) struct Shape {
    root: Value,
    named: Map<String, Value>,
}

impl Shape {
    pub(super) fn of<T: ToSchema>() -> Self {
        let mut schemas = Vec::new();
        T::schemas(&mut schemas);
        let as_json = |schema| serde_json::to_value(schema).unwrap_or_default();
        let named = schemas.into_iter().map(|(name, schema)| (name, as_json(schema))).collect();
        Self { root: as_json(T::schema()), named }
    }

    /// The schemas that what is at `path` may have, choices taken apart, `null` left out; those of a choice that `document` has
    /// decided otherwise left out too. None where the description does not say.
    fn at<'a>(&'a self, document: &Value, path: &[Step]) -> Vec<&'a Map<String, Value>> {
        let mut schemas = self.choices(&self.root, 0);
        let mut value = Some(document);
        for step in path {
            schemas.retain(|schema| is_chosen(schema, value));
            let inner: Vec<&Value> = schemas.iter().filter_map(|schema| child(schema, step)).collect();
            schemas = inner.into_iter().flat_map(|schema| self.choices(schema, 0)).collect();
            value = value.and_then(|value| super::path::at(value, std::slice::from_ref(step)));
        }
        schemas.retain(|schema| is_chosen(schema, value));
        schemas
    }

    fn choices<'a>(&'a self, schema: &'a Value, depth: usize) -> Vec<&'a Map<String, Value>> {
        let Some(members) = schema.as_object().filter(|_| depth < DEPTH_MAX) else { return Vec::new() };
        if let Some(name) = members.get("$ref").and_then(Value::as_str) {
            let name = name.rsplit('/').next().unwrap_or_default();
            return self.named.get(name).map(|schema| self.choices(schema, depth + 1)).unwrap_or_default();
        }
        let choices = ["oneOf", "anyOf", "allOf"].iter().find_map(|kind| members.get(*kind)?.as_array());
        match choices {
            Some(choices) => choices.iter().flat_map(|schema| self.choices(schema, depth + 1)).collect(),
            None if members.get("type").is_some_and(|kind| kind == "null") => Vec::new(),
            None => vec![members],
        }
    }

    /// The members that the object at `path` must have, whatever it chooses to be.
    pub(super) fn required(&self, document: &Value, path: &[Step]) -> Vec<String> {
        let schemas = self.at(document, path);
        let required = |schema: &Map<String, Value>| -> Vec<String> {
            let names =
                schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let Some((first, rest)) = schemas.split_first() else { return Vec::new() };
        let in_all = |name: &String| rest.iter().all(|schema| required(schema).contains(name));
        required(first).into_iter().filter(in_all).collect()
    }

    /// What to send at `path`, as in "send ...": `text such as "FL"`, `true or false`, `one of ...`.
    pub(super) fn asked_for(&self, document: &Value, path: &[Step]) -> Option<String> {
        let schemas = self.at(document, path);
        if let Some(asked) = tagged(&schemas) {
            return Some(asked);
        }
        let (alone, others): (Vec<_>, Vec<_>) =
            schemas.into_iter().partition(|schema| only_member(schema).is_some());
        let mut asked: Vec<String> = Vec::new();
        for schema in &others {
            let this = noun(schema)?;
            if !asked.contains(&this) {
                asked.push(this);
            }
        }
        let names: Vec<String> =
            alone.iter().filter_map(|schema| Some(format!("`{}`", only_member(schema)?))).collect();
        match names.as_slice() {
            [] => {}
            [name] => asked.push(format!("an object with {name}")),
            names => asked.push(format!("an object with one of {}", names.join(", "))),
        }
        (!asked.is_empty() && asked.len() <= LISTED_MAX).then(|| asked.join(", or "))
    }

    /// Every list that stands where an object is due.
    pub(super) fn lists_for_objects(&self, document: &Value) -> Vec<Path> {
        let mut found = Vec::new();
        self.find_lists(document, &mut Path::new(), document, &mut found);
        found
    }

    fn find_lists(&self, document: &Value, path: &mut Path, value: &Value, found: &mut Vec<Path>) {
        match value {
            Value::Array(elements) => {
                let schemas = self.at(document, path);
                if !schemas.is_empty() && schemas.iter().all(|schema| is_kind(schema, "object")) {
                    found.push(path.clone());
                    return;
                }
                for (index, element) in elements.iter().enumerate() {
                    // Texts and numbers hold no lists, and may be many.
                    if element.is_array() || element.is_object() {
                        path.push(Step::Element(index));
                        self.find_lists(document, path, element, found);
                        path.pop();
                    }
                }
            }
            Value::Object(members) => {
                for (name, member) in members {
                    path.push(Step::Member(name.clone()));
                    self.find_lists(document, path, member, found);
                    path.pop();
                }
            }
            _ => {}
        }
    }
}

/// The schema one step inwards.
fn child<'a>(schema: &'a Map<String, Value>, step: &Step) -> Option<&'a Value> {
    match step {
        Step::Member(name) => schema
            .get("properties")
            .and_then(|properties| properties.get(name))
            .or_else(|| schema.get("additionalProperties")),
        Step::Element(_) => schema.get("items"),
    }
}

fn is_kind(schema: &Map<String, Value>, kind: &str) -> bool {
    schema.get("type").is_some_and(|types| {
        types == kind || types.as_array().is_some_and(|types| types.iter().any(|one| one == kind))
    })
}

/// The member by which a choice is told from the others, and its text there: the `type` of a price.
fn tag(schema: &Map<String, Value>) -> Option<(&str, &str)> {
    let properties = schema.get("properties")?.as_object()?;
    properties.iter().find_map(|(name, property)| match property.get("enum")?.as_array()?.as_slice() {
        [Value::String(only)] => Some((name.as_str(), only.as_str())),
        _ => None,
    })
}

/// Whether `value` may be one of these: its tag says nothing else.
fn is_chosen(schema: &Map<String, Value>, value: Option<&Value>) -> bool {
    let Some((name, only)) = tag(schema) else { return true };
    let said = value.and_then(|value| value.get(name)).and_then(Value::as_str);
    said.is_none_or(|said| said == only)
}

/// The member of an object that has no other: a choice told from the others by that member's name.
fn only_member(schema: &Map<String, Value>) -> Option<&str> {
    let mut names = schema.get("properties")?.as_object()?.keys();
    let name = names.next().filter(|_| names.next().is_none())?;
    let required = schema.get("required")?.as_array()?;
    required.iter().any(|required| required == name.as_str()).then_some(name.as_str())
}

/// Several objects that are told apart by a tag.
fn tagged(schemas: &[&Map<String, Value>]) -> Option<String> {
    let tags: Vec<(&str, &str)> = schemas.iter().map(|schema| tag(schema)).collect::<Option<_>>()?;
    let (name, _) = tags.first().filter(|_| tags.len() > 1)?;
    let choices: Vec<&str> = tags.iter().map(|(_, only)| *only).collect();
    Some(format!("an object whose `{name}` is {}", listed(&choices)))
}

fn noun(schema: &Map<String, Value>) -> Option<String> {
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        return (1..=LISTED_MAX).contains(&choices.len()).then(|| listed(&choices));
    }
    let example = schema.get("example").filter(|example| !example.is_object());
    let like = |noun: &str| match example {
        Some(example) => format!("{noun} such as {example}"),
        None => noun.to_owned(),
    };
    if is_kind(schema, "string") {
        let is_uuid = schema.get("format").is_some_and(|format| format == "uuid");
        Some(if is_uuid { "a UUID".to_owned() } else { like("text") })
    } else if is_kind(schema, "integer") {
        Some(like("a whole number"))
    } else if is_kind(schema, "boolean") {
        Some("true or false".to_owned())
    } else if is_kind(schema, "array") {
        Some("a list".to_owned())
    } else if is_kind(schema, "object") {
        let names: Vec<String> = match schema.get("required").and_then(Value::as_array) {
            Some(names) => names.iter().filter_map(|name| Some(format!("`{}`", name.as_str()?))).collect(),
            None => Vec::new(),
        };
        let with = if names.is_empty() { String::new() } else { format!(" with {}", names.join(", ")) };
        Some(format!("an object{with}"))
    } else {
        None
    }
}
