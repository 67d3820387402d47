//! One value that somebody set, and where: in the file (with its line), the environment, or a flag.

use serde_json::{Map, Value};
use std::fmt;
use std::path::PathBuf;
use toml::de::{DeTable, DeValue};

/// One value that somebody set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// Such as `http.listen`.
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) source: Source,
}

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    File { path: PathBuf, line: usize },
    Environment { variable: String },
    Flag { flag: String },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
        }
    }
}

/// A setting that names nothing, or that cannot be read.
pub(super) struct Misfit {
    pub(super) source: Source,
    pub(super) problem: String,
}

/// Reads the settings of a TOML document. `known` is the tree of defaults, which says what keys there are.
pub(super) fn from_toml(text: &str, path: PathBuf, known: &Value) -> (Vec<Setting>, Vec<Misfit>) {
    let mut reading = Reading { text, path, settings: Vec::new(), misfits: Vec::new() };
    match (DeTable::parse(text), text.parse::<toml::Table>()) {
        (Ok(spans), Ok(table)) => {
            // TOML has no values that JSON cannot say, except dates, which become text.
            let values = serde_json::to_value(table).unwrap_or_default();
            reading.table(spans.get_ref(), &values, known, "");
        }
        (Err(error), _) | (_, Err(error)) => {
            let at = error.span().map_or(0, |span| span.start);
            let problem = format!("not TOML: {}", error.message().lines().collect::<Vec<_>>().join(", "));
            reading.misfit(at, problem);
        }
    }
    (reading.settings, reading.misfits)
}

struct Reading<'a> {
    text: &'a str,
    path: PathBuf,
    settings: Vec<Setting>,
    misfits: Vec<Misfit>,
}

impl Reading<'_> {
    fn source(&self, at: usize) -> Source {
        let line = 1 + self.text.get(..at).unwrap_or_default().matches('\n').count();
        Source::File { path: self.path.clone(), line }
    }

    fn misfit(&mut self, at: usize, problem: String) {
        let source = self.source(at);
        self.misfits.push(Misfit { source, problem });
    }

    fn table(&mut self, spans: &DeTable<'_>, values: &Value, known: &Value, prefix: &str) {
        for (name, span) in spans {
            let name_at = name.span().start;
            let key = join(prefix, name.get_ref());
            let value = values.get(name.get_ref().as_ref()).cloned().unwrap_or_default();
            match (known.get(name.get_ref().as_ref()), span.get_ref()) {
                (None, _) => self.misfit(name_at, unknown_key(&key, known, prefix)),
                (Some(section @ Value::Object(_)), DeValue::Table(inner)) => {
                    self.table(inner, &value, section, &key);
                }
                (Some(Value::Object(_)), _) => {
                    self.misfit(name_at, format!("{key} is a section; write [{key}] and its keys below"));
                }
                (Some(_), _) => {
                    let source = self.source(name_at);
                    self.settings.push(Setting { key, value, source });
                }
            }
        }
    }
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// Reads one setting given as text: an environment variable or a flag.
pub(super) fn from_text(key: &str, text: &str, source: Source, known: &Value) -> Result<Setting, Misfit> {
    let mut place = known;
    let mut prefix = String::new();
    for name in key.split('.') {
        let Some(inner) = place.get(name) else {
            return Err(Misfit { source, problem: unknown_key(&join(&prefix, name), place, &prefix) });
        };
        prefix = join(&prefix, name);
        place = inner;
    }
    if place.is_object() {
        return Err(Misfit {
            source,
            problem: format!("{key} is a section; name one of its keys: {}", names(place, key)),
        });
    }
    Ok(Setting { key: key.to_owned(), value: typed(text, place), source })
}

/// Text as the kind of value that the default is. What does not fit stays text, and is refused with its name later.
fn typed(text: &str, default: &Value) -> Value {
    let as_text = || Value::String(text.to_owned());
    let as_toml = || {
        let document: toml::Table = format!("value = {text}").parse().ok()?;
        serde_json::to_value(document.get("value")?).ok()
    };
    match default {
        Value::String(_) => as_text(),
        Value::Array(_) if !text.trim_start().starts_with('[') => {
            text.split(',').map(|item| Value::String(item.trim().to_owned())).collect()
        }
        _ => as_toml().unwrap_or_else(as_text),
    }
}

fn names(section: &Value, prefix: &str) -> String {
    let names = section.as_object().into_iter().flat_map(Map::keys);
    names.map(|name| join(prefix, name)).collect::<Vec<_>>().join(", ")
}

fn unknown_key(key: &str, section: &Value, prefix: &str) -> String {
    let given = key.rsplit('.').next().unwrap_or(key);
    let known = section.as_object().into_iter().flat_map(Map::keys);
    let nearest = known
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .min();
    match nearest {
        Some((_, name)) => format!("unknown key {key}; did you mean {}?", join(prefix, name)),
        None => format!("unknown key {key}; known are {}", names(section, prefix)),
    }
}
