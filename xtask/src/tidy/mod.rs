//! `cargo xtask tidy`: the house rules that no compiler checks. One line per finding: where, what, and the fix.

mod arrows;
mod source_rules;
mod documents;
mod dependencies;

use crate::repository::Repository;
use anyhow::{Context, Result};
use std::fmt;
use std::path::Path;
use std::process::ExitCode;

/// A broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: String,
    /// From 1; 0 when the whole file is meant.
    line: usize,
    problem: String,
    fix: String,
}

impl Finding {
    fn new(file: &str, line: usize, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.file, self.line.max(1), self.problem, self.fix)
    }
}

/// Checks every rule and prints what is broken.
pub(crate) fn run(repository: &Repository) -> Result<ExitCode> {
    let files = repository.text_files()?;
    let metadata = repository.metadata()?;
    let policy = files.get("deny.toml").context("deny.toml is missing; it holds the licences we allow")?;
    let policy = dependencies::Policy::parse(policy)?;

    let mut findings = arrows::check(&metadata, &repository.root);
    for (path, text) in &files {
        match Path::new(path).extension().and_then(|extension| extension.to_str()) {
            Some("rs") => findings.extend(source_rules::check(path, text)),
            Some("md") => findings.extend(documents::check_links(path, text, &files)),
            Some("toml") => findings.extend(source_rules::check_lint_table(path, text)),
            _ => {}
        }
        findings.extend(documents::check_home_paths(path, text));
    }
    findings.extend(documents::check_decisions(files.keys().map(String::as_str)));
    findings.extend(dependencies::check_licences(&metadata, &policy));
    findings.extend(dependencies::check_denied(&metadata, &policy));
    let yanked = dependencies::check_yanked(&metadata, &dependencies::IndexCache::of_cargo());
    findings.extend(yanked.findings);
    let advisories = dependencies::check_advisories(repository)?;
    findings.extend(advisories.findings);

    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    for note in yanked.notes.iter().chain(&advisories.notes) {
        println!("note: {note}");
    }
    println!(
        "tidy: {} files, {} packages, {} findings",
        files.len(),
        metadata.packages.len(),
        findings.len()
    );
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
