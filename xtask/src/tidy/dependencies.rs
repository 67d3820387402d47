//! What we may depend on: licences, crates we refuse, withdrawn versions, known advisories. `deny.toml` is the one
//! source of the lists; it is also what `cargo deny` reads. `docs/decisions/0004-dependency-checks.md` says what
//! each check can and cannot see.

use super::Finding;
use crate::repository::{Metadata, Package, Repository};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The parts of `deny.toml` that are checked here too.
#[derive(Deserialize)]
pub(super) struct Policy {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<LicenseException>,
}

/// One crate that may have a licence the others may not.
#[derive(Deserialize)]
struct LicenseException {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<DeniedCrate>,
}

/// A crate we refuse, and why.
#[derive(Deserialize)]
struct DeniedCrate {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

impl Policy {
    pub(super) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("reading deny.toml")
    }
}

/// What a check found, and what it could not look at.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<String>,
}

fn others(metadata: &Metadata) -> impl Iterator<Item = &Package> {
    metadata.packages.iter().filter(|package| package.source.is_some())
}

/// Every package's licence is one we allow.
pub(super) fn check_licences(metadata: &Metadata, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in others(metadata) {
        let exception = policy.licenses.exceptions.iter().find(|exception| exception.name == package.name);
        let also_allowed = exception.map(|exception| exception.allow.as_slice()).unwrap_or_default();
        let is_allowed = |license: &str| {
            policy.licenses.allow.iter().chain(also_allowed).any(|allowed| allowed == license)
        };
        let expression = package.license.as_deref().unwrap_or("no licence");
        if !satisfies(expression, &is_allowed) {
            findings.push(Finding::new(
                "deny.toml",
                0,
                format!("{} {} is under '{expression}'", package.name, package.version),
                "use another crate, or allow the licence after reading it",
            ));
        }
    }
    findings
}

/// Whether an SPDX expression can be met with allowed licences. `/` is the old way to write `OR`. An expression
/// that cannot be read is not met.
fn satisfies(expression: &str, is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_ascii_whitespace().collect();
    matches!(any_of(&tokens, is_allowed), Some((met, [])) if met)
}

type Parsed<'a, 'b> = Option<(bool, &'b [&'a str])>;

fn any_of<'a, 'b>(tokens: &'b [&'a str], is_allowed: &dyn Fn(&str) -> bool) -> Parsed<'a, 'b> {
    let (mut met, mut rest) = all_of(tokens, is_allowed)?;
    while let ["OR", after @ ..] = rest {
        let (next, after) = all_of(after, is_allowed)?;
        (met, rest) = (met || next, after);
    }
    Some((met, rest))
}

fn all_of<'a, 'b>(tokens: &'b [&'a str], is_allowed: &dyn Fn(&str) -> bool) -> Parsed<'a, 'b> {
    let (mut met, mut rest) = one_licence(tokens, is_allowed)?;
    while let ["AND", after @ ..] = rest {
        let (next, after) = one_licence(after, is_allowed)?;
        (met, rest) = (met && next, after);
    }
    Some((met, rest))
}

fn one_licence<'a, 'b>(tokens: &'b [&'a str], is_allowed: &dyn Fn(&str) -> bool) -> Parsed<'a, 'b> {
    match tokens {
        ["(", inner @ ..] => match any_of(inner, is_allowed)? {
            (met, [")", rest @ ..]) => Some((met, rest)),
            _ => None,
        },
        [license, "WITH", exception, rest @ ..] => {
            Some((is_allowed(&format!("{license} WITH {exception}")), rest))
        }
        [license, rest @ ..] if !["OR", "AND", ")"].contains(license) => Some((is_allowed(license), rest)),
        _ => None,
    }
}

/// No package is on the list of those we refuse.
pub(super) fn check_denied(metadata: &Metadata, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in others(metadata) {
        if let Some(denied) = policy.bans.deny.iter().find(|denied| denied.name == package.name) {
            let problem = format!("{} {} is refused: {}", package.name, package.version, denied.reason);
            findings.push(Finding::new(
                "Cargo.lock",
                0,
                problem,
                "find who brings it in with `cargo tree --invert`",
            ));
        }
    }
    findings
}

/// What cargo last heard from the registry about each crate: its local cache of the sparse index.
pub(super) struct IndexCache {
    folders: Vec<PathBuf>,
}

/// One line of the index.
#[derive(Deserialize)]
struct IndexLine {
    vers: String,
    yanked: bool,
}

impl IndexCache {
    /// The cache below `CARGO_HOME`; empty when there is none.
    pub(super) fn of_cargo() -> Self {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
        let indexes = home.and_then(|home| std::fs::read_dir(home.join("registry/index")).ok());
        let folders =
            indexes.into_iter().flatten().flatten().map(|index| index.path().join(".cache")).collect();
        Self { folders }
    }

    /// Whether each version of a crate was withdrawn; `None` when the cache knows nothing of the crate.
    fn versions(&self, name: &str) -> Option<BTreeMap<String, bool>> {
        let path = index_path(name);
        let bytes = self.folders.iter().find_map(|folder| std::fs::read(folder.join(&path)).ok())?;
        let lines = bytes.split(|byte| *byte == 0).filter_map(|part| serde_json::from_slice(part).ok());
        Some(lines.map(|line: IndexLine| (line.vers, line.yanked)).collect())
    }
}

/// Where the index keeps a crate. Source: the Cargo book, "Registry index", index files.
fn index_path(name: &str) -> String {
    let name = name.to_lowercase();
    match name.len() {
        1 | 2 => format!("{}/{name}", name.len()),
        3 => format!("3/{}/{name}", &name[..1]),
        _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
    }
}

/// No locked version was withdrawn by its author, as far as cargo's cache of the index knows.
pub(super) fn check_yanked(metadata: &Metadata, index: &IndexCache) -> Outcome {
    let mut outcome = Outcome::default();
    let mut unknown = Vec::new();
    for package in others(metadata) {
        match index.versions(&package.name).and_then(|versions| versions.get(&package.version).copied()) {
            Some(false) => {}
            Some(true) => {
                let problem = format!("{} {} was withdrawn by its author", package.name, package.version);
                let fix = format!("run `cargo update --package {}`", package.name);
                outcome.findings.push(Finding::new("Cargo.lock", 0, problem, fix));
            }
            None => unknown.push(package.name.as_str()),
        }
    }
    if !unknown.is_empty() {
        let count = unknown.len();
        outcome
            .notes
            .push(format!("{count} packages are not in cargo's index cache; not checked for withdrawal"));
    }
    outcome
}

/// No package has a known vulnerability, when a tool that knows them is installed.
pub(super) fn check_advisories(repository: &Repository) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let tools: [(&str, &[&str]); 2] = [("deny", &["deny", "check", "advisories"]), ("audit", &["audit"])];
    for (tool, arguments) in tools {
        let is_installed = repository.cargo().args([tool, "--version"]).output()?.status.success();
        if !is_installed {
            continue;
        }
        let output =
            repository.cargo().args(arguments).output().with_context(|| format!("running cargo {tool}"))?;
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            let problem = format!("`cargo {}` failed, see above", arguments.join(" "));
            outcome.findings.push(Finding::new("Cargo.lock", 0, problem, "update the crates it names"));
        }
        return Ok(outcome);
    }
    outcome
        .notes
        .push("neither cargo-deny nor cargo-audit is installed; advisories were not checked".to_owned());
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::parse(
            r#"
            [licenses]
            allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]
            exceptions = [{ crate = "ring", allow = ["ISC"] }]
            [bans]
            deny = [{ crate = "openssl-sys", reason = "needs a system library" }]
            "#,
        )
        .expect("a policy")
    }

    fn package(name: &str, version: &str, license: Option<&str>) -> Metadata {
        let package = Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.map(str::to_owned),
            source: Some("registry".to_owned()),
            manifest_path: PathBuf::new(),
            dependencies: Vec::new(),
        };
        Metadata { packages: vec![package], ..Metadata::default() }
    }

    #[test]
    fn licences_are_judged_as_expressions() {
        for (name, license, allowed) in [
            ("a", Some("MIT"), true),
            ("a", Some("MIT OR Apache-2.0"), true),
            ("a", Some("MIT/GPL-3.0"), true),
            ("a", Some("GPL-3.0 OR MIT"), true),
            ("a", Some("(MIT OR GPL-3.0) AND Unicode-3.0"), true),
            ("a", Some("Apache-2.0 WITH LLVM-exception"), true),
            ("a", Some("GPL-3.0"), false),
            ("a", Some("MIT AND GPL-3.0"), false),
            ("a", Some("MIT OR Apache-2.0 AND GPL-3.0"), true),
            ("a", Some("(MIT OR Apache-2.0) AND GPL-3.0"), false),
            ("a", Some("Apache-2.0 WITH Classpath-exception-2.0"), false),
            ("a", Some("MIT OR"), false),
            ("a", Some("(MIT"), false),
            ("a", None, false),
            ("a", Some("ISC"), false),
            ("ring", Some("ISC"), true),
        ] {
            let findings = check_licences(&package(name, "1.0.0", license), &policy());
            assert_eq!(findings.is_empty(), allowed, "{name} under {license:?}");
        }
    }

    #[test]
    fn refused_crates_are_found() {
        let findings = check_denied(&package("openssl-sys", "0.9.1", None), &policy());
        assert_eq!(findings[0].problem, "openssl-sys 0.9.1 is refused: needs a system library");
        assert_eq!(check_denied(&package("rustls", "0.23.0", None), &policy()), []);
    }

    #[test]
    fn withdrawn_versions_are_found_in_the_index_cache() {
        let folder = std::env::temp_dir().join(format!("tidy-index-{}", std::process::id()));
        let file = folder.join(index_path("some-crate"));
        std::fs::create_dir_all(file.parent().expect("below the folder")).expect("a temporary folder");
        let line = |version: &str, yanked: bool| format!(r#"{{"vers":"{version}","yanked":{yanked}}}"#);
        let index = ["etag", "1.0.0", &line("1.0.0", false), "1.0.1", &line("1.0.1", true)].join("\0");
        std::fs::write(&file, index).expect("a temporary file");
        let cache = IndexCache { folders: vec![folder.clone()] };
        let check = |name: &str, version: &str| {
            let outcome = check_yanked(&package(name, version, None), &cache);
            (outcome.findings.len(), outcome.notes.len())
        };
        assert_eq!(check("some-crate", "1.0.0"), (0, 0));
        assert_eq!(check("some-crate", "1.0.1"), (1, 0));
        assert_eq!(check("some-crate", "1.0.2"), (0, 1), "not known to the cache");
        assert_eq!(check("another", "1.0.0"), (0, 1));
        std::fs::remove_dir_all(folder).expect("the temporary folder goes");
    }

    #[test]
    fn the_index_is_laid_out_as_cargo_lays_it_out() {
        for (name, path) in [("a", "1/a"), ("cc", "2/cc"), ("Syn", "3/s/syn"), ("serde", "se/rd/serde")] {
            assert_eq!(index_path(name), path);
        }
    }
}
