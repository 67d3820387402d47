//! Rules about documents: links lead somewhere, decisions are numbered, no path of one person's machine.

use super::Finding;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Relative links of a Markdown file lead to files of the repository.
pub(super) fn check_links(path: &str, text: &str, files: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_code_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code_block = !in_code_block;
        }
        if in_code_block {
            continue;
        }
        for target in link_targets(line) {
            if !leads_somewhere(path, target, files) {
                let problem = format!("link to '{target}' leads nowhere");
                findings.push(Finding::new(path, index + 1, problem, "correct the path, or write the file"));
            }
        }
    }
    findings
}

/// The targets of `[text](target)` in a line.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, opening)| {
        let rest = &line[at + opening.len()..];
        rest.find(')').map(|end| rest[..end].split_ascii_whitespace().next().unwrap_or_default())
    })
}

fn leads_somewhere(from: &str, target: &str, files: &BTreeMap<String, String>) -> bool {
    let is_elsewhere = target.contains("://") || target.starts_with("mailto:");
    let file = target.split('#').next().unwrap_or_default();
    if is_elsewhere || file.is_empty() {
        return true;
    }
    let mut resolved = PathBuf::from(from);
    resolved.pop();
    for component in Path::new(file).components() {
        match component {
            Component::ParentDir if !resolved.pop() => return false,
            Component::Normal(name) => resolved.push(name),
            Component::RootDir | Component::Prefix(_) => return false,
            Component::ParentDir | Component::CurDir => {}
        }
    }
    let resolved = resolved.to_string_lossy();
    files.keys().any(|known| {
        known.strip_prefix(&*resolved).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// No path that exists on one person's machine only.
pub(super) fn check_home_paths(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for folder in ["home", "Users", "root"] {
            if line.contains(&format!("/{folder}/")) {
                let problem = format!("a path below /{folder}");
                findings.push(Finding::new(path, index + 1, problem, "write it relative to the repository"));
            }
        }
    }
    findings
}

/// Decisions are `docs/decisions/NNNN-title.md`, from 0001 on without gaps.
pub(super) fn check_decisions<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let decisions = paths.filter(|path| path.starts_with("docs/decisions/"));
    for (index, path) in decisions.enumerate() {
        let expected = format!("docs/decisions/{:04}-", index + 1);
        if !path.starts_with(&expected) {
            let problem = format!("decision out of order, {:04} is expected here", index + 1);
            findings.push(Finding::new(path, 0, problem, "number decisions from 0001 on without gaps"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_must_lead_to_files() {
        let files = ["README.md", "docs/STYLE.md", "docs/decisions/0001-a.md"];
        let files = files.into_iter().map(|path| (path.to_owned(), String::new())).collect();
        for (link, leads) in [
            ("STYLE.md", true),
            ("./STYLE.md#names", true),
            ("decisions/", true),
            ("../README.md", true),
            ("#here", true),
            ("https://example.com/x.md", true),
            ("README.md", false),
            ("../../README.md", false),
            ("/README.md", false),
            ("STY", false),
        ] {
            let text = format!("See [this]({link}).\n");
            assert_eq!(check_links("docs/ARCHITECTURE.md", &text, &files).is_empty(), leads, "{link}");
        }
        let in_code = "```\n[x](nowhere.md)\n```\n";
        assert_eq!(check_links("docs/ARCHITECTURE.md", in_code, &files), []);
    }

    #[test]
    fn home_paths_are_found() {
        let text = format!("a\nsee /{}/ann/notes\n", "home");
        assert_eq!(check_home_paths("README.md", &text)[0].line, 2);
        assert_eq!(check_home_paths("README.md", "the home/work balance\n"), []);
    }

    #[test]
    fn decisions_are_numbered_without_gaps() {
        let check = |paths: &[&str]| check_decisions(paths.iter().copied()).len();
        assert_eq!(check(&["docs/decisions/0001-a.md", "docs/decisions/0002-b.md"]), 0);
        assert_eq!(check(&["docs/decisions/0001-a.md", "docs/decisions/0003-b.md"]), 1);
        assert_eq!(check(&["docs/decisions/0001-a.md", "docs/decisions/0001-b.md"]), 1);
        assert_eq!(check(&["docs/decisions/first.md"]), 1);
    }
}
