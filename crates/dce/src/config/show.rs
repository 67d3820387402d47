//! `dce config show`: the configuration in force, with who set what.

use super::load::Loaded;
use serde_json::{Map, Value};
use std::fmt::Write;

impl Loaded {
    /// The configuration as TOML. A value that somebody set says where; the others are defaults.
    pub(crate) fn shown(&self) -> String {
        let tree = serde_json::to_value(&self.config).expect("the configuration is plain data");
        let mut text = String::new();
        self.section("", tree.as_object().expect("a struct is an object"), &mut text);
        text
    }

    fn section(&self, prefix: &str, section: &Map<String, Value>, text: &mut String) {
        let (sections, values): (Vec<_>, Vec<_>) = section.iter().partition(|(_, value)| value.is_object());
        if !prefix.is_empty() && !values.is_empty() {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}[{prefix}]");
        }
        for (name, value) in values {
            let _ = writeln!(text, "{}", self.line(prefix, name, value));
        }
        for (name, inner) in sections {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            self.section(&key, inner.as_object().expect("partitioned"), text);
        }
    }

    fn line(&self, prefix: &str, name: &str, value: &Value) -> String {
        let key = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let set_by = self.settings.iter().rfind(|setting| setting.key == key);
        let comment = set_by.map(|setting| format!("  # {}", setting.source)).unwrap_or_default();
        match toml_value(value) {
            Some(value) => format!("{name} = {value}{comment}"),
            None => format!("# {name} is not set{comment}"),
        }
    }
}

/// A value on one line; absent for a null, which TOML cannot say.
fn toml_value(value: &Value) -> Option<toml::Value> {
    toml::Value::try_from(value).ok()
}
