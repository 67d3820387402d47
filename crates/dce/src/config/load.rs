//! Puts the configuration together from its sources, and tells every problem at once.

use super::Config;
use super::setting::{self, Misfit, Setting, Source};
use crate::failure::Failure;
use serde_json::Value;
use std::path::PathBuf;

/// Where settings come from, weakest first.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// A TOML file.
    pub(crate) file: Option<PathBuf>,
    /// The process's environment; only `DCE_` variables count.
    pub(crate) environment: Vec<(String, String)>,
    /// Flags: what the flag is called, the key it sets, the value.
    pub(crate) flags: Vec<(String, String, String)>,
}

/// A configuration that holds, and who set what.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The configuration.
    pub(crate) config: Config,
    pub(super) settings: Vec<Setting>,
}

/// Reads every source. The error lists every problem, one a line, each with its place, its key and the fix.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Vec<Failure>> {
    let defaults = serde_json::to_value(Config::default()).expect("the configuration is plain data");
    let (mut settings, mut misfits) = gather(sources, &defaults).map_err(|failure| vec![failure])?;
    let mut unread = Vec::new();
    settings.retain(|setting| match reads(setting, &defaults) {
        Ok(()) => true,
        Err(problem) => {
            unread.push(setting.key.clone());
            misfits.push(Misfit { source: setting.source.clone(), problem });
            false
        }
    });
    let mut tree = defaults;
    for setting in &settings {
        put(&mut tree, &setting.key, setting.value.clone());
    }
    let config: Config = serde_json::from_value(tree).map_err(|error| {
        vec![Failure::usage(format!("configuration: {error}; check the values set together"))]
    })?;
    let mut failures: Vec<Failure> = misfits
        .iter()
        .map(|misfit| Failure::usage(format!("{}: {}", misfit.source, misfit.problem)))
        .collect();
    // Of what could not be read the default says nothing.
    let faults = config.faults();
    let faults = faults.iter().filter(|fault| unread.iter().all(|key| *key != fault.key));
    failures.extend(faults.map(|fault| {
        let place = settings.iter().rfind(|setting| setting.key == fault.key);
        let place = place.map_or_else(|| "default".to_owned(), |setting| setting.source.to_string());
        Failure::usage(format!("{place}: {} {}", fault.key, fault.problem))
    }));
    if failures.is_empty() { Ok(Loaded { config, settings }) } else { Err(failures) }
}

/// Every setting of every source, weakest first.
fn gather(sources: &Sources, known: &Value) -> Result<(Vec<Setting>, Vec<Misfit>), Failure> {
    let (mut settings, mut misfits) = (Vec::new(), Vec::new());
    if let Some(path) = &sources.file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::usage(format!("{}: {error}; name a readable file with --config", path.display()))
        })?;
        (settings, misfits) = setting::from_toml(&text, path.clone(), known);
    }
    let variables = sources.environment.iter().filter_map(|(variable, text)| {
        let key = variable.strip_prefix("DCE_")?.to_ascii_lowercase().replace("__", ".");
        let source = Source::Environment { variable: variable.clone() };
        // The one that belongs to a flag, --config.
        (key != "config").then_some((key, text, source))
    });
    let flags = sources
        .flags
        .iter()
        .map(|(flag, key, text)| (key.clone(), text, Source::Flag { flag: flag.clone() }));
    for (key, text, source) in variables.chain(flags) {
        match setting::from_text(&key, text, source, known) {
            Ok(setting) => settings.push(setting),
            Err(misfit) => misfits.push(misfit),
        }
    }
    Ok((settings, misfits))
}

/// Whether this value, alone among defaults, can be read.
fn reads(setting: &Setting, defaults: &Value) -> Result<(), String> {
    let mut tree = defaults.clone();
    put(&mut tree, &setting.key, setting.value.clone());
    match serde_path_to_error::deserialize::<_, Config>(tree) {
        Ok(_) => Ok(()),
        Err(error) => {
            let at = error.path().to_string();
            let key = if at.starts_with(&setting.key) { at } else { setting.key.clone() };
            Err(format!("{key}: {}", error.inner()))
        }
    }
}

/// Sets one leaf of a tree that has it.
fn put(tree: &mut Value, key: &str, value: Value) {
    let pointer = format!("/{}", key.replace('.', "/"));
    if let Some(place) = tree.pointer_mut(&pointer) {
        *place = value;
    }
}
