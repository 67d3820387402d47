//! Which crate may know which. The table is the one of `docs/ARCHITECTURE.md`.

use super::Finding;
use crate::repository::{Metadata, Package};
use std::path::Path;

/// Each of our crates and those of ours it may depend on. Anything else fails.
const ARROWS: [(&str, &[&str]); 9] = [
    ("exchange", &[]),
    ("test-servers", &[]),
    // The servers are for tests alone.
    ("infra", &["exchange", "test-servers"]),
    ("partners", &["exchange"]),
    ("engine", &["infra", "partners", "exchange"]),
    ("telephony", &["engine", "exchange"]),
    ("gateway", &["engine", "infra", "exchange"]),
    ("dce", &["gateway", "telephony", "engine", "partners", "infra", "exchange", "test-servers"]),
    ("xtask", &["test-servers"]),
];

/// The pure core depends on nothing that can wait, roll dice or reach outside.
const EXCHANGE_MAY_USE: [&str; 11] = [
    "jiff",
    "serde",
    "serde_json",
    "thiserror",
    "uuid",
    "utoipa",
    // docs/decisions/0007
    "foldhash",
    "regex-lite",
    // For its tests and benchmarks.
    "proptest",
    "criterion",
    "fastrand",
];

/// Every edge of the dependency graph that the table does not have.
pub(super) fn check(metadata: &Metadata, root: &Path) -> Vec<Finding> {
    metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none())
        .flat_map(|ours| edges(ours, root))
        .collect()
}

fn edges(package: &Package, root: &Path) -> Vec<Finding> {
    let manifest = package.manifest_path.strip_prefix(root).unwrap_or(&package.manifest_path);
    let manifest = manifest.to_string_lossy();
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
        return vec![Finding::new(
            &manifest,
            0,
            format!("crate '{}' has no row in the table of arrows", package.name),
            "add it to ARROWS in xtask/src/tidy/arrows.rs and to docs/ARCHITECTURE.md",
        )];
    };
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let is_ours = dependency.source.is_none();
        if is_ours && !allowed.contains(&name) {
            findings.push(Finding::new(
                &manifest,
                0,
                format!("arrow {} -> {name} is not allowed", package.name),
                "move the code to the side that may know, or change the table with a decision note",
            ));
        }
        if package.name == "exchange" && !is_ours && !EXCHANGE_MAY_USE.contains(&name) {
            findings.push(Finding::new(
                &manifest,
                0,
                format!("the pure core depends on '{name}'"),
                "pass what it gives as an argument, or allow it in EXCHANGE_MAY_USE with a decision note",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Dependency;

    fn package(name: &str, dependencies: &[(&str, bool)]) -> Package {
        let dependency = |(name, is_ours): &(&str, bool)| Dependency {
            name: (*name).to_owned(),
            source: (!is_ours).then(|| "registry".to_owned()),
        };
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            license: None,
            source: None,
            manifest_path: format!("/repository/crates/{name}/Cargo.toml").into(),
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    #[test]
    fn an_arrow_outside_the_table_is_named() {
        for (name, dependency, expected) in [
            ("telephony", ("engine", true), ""),
            ("telephony", ("infra", true), "arrow telephony -> infra is not allowed"),
            ("exchange", ("infra", true), "arrow exchange -> infra is not allowed"),
            ("exchange", ("serde", false), ""),
            ("exchange", ("tokio", false), "the pure core depends on 'tokio'"),
            ("engine", ("tokio", false), ""),
            ("common", ("serde", false), "crate 'common' has no row in the table of arrows"),
        ] {
            let metadata = Metadata { packages: vec![package(name, &[dependency])], ..Metadata::default() };
            let findings = check(&metadata, Path::new("/repository"));
            let problems: Vec<_> = findings.iter().map(|finding| finding.problem.as_str()).collect();
            assert_eq!(problems.join(""), expected, "{name} -> {}", dependency.0);
            assert!(findings.iter().all(|finding| finding.file == format!("crates/{name}/Cargo.toml")));
        }
    }
}
