//! Rules about Rust files; `docs/STYLE.md` gives the reason of each.

use super::Finding;
use crate::rust_source::{code_only, functions, line_of};
use std::path::Path;

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 90;
const NAMELESS_MODULES: [&str; 6] = ["utils", "util", "common", "types", "helpers", "misc"];

/// Words that must not appear in code, with the fix.
const BANNED_WORDS: [(&str, &str); 4] = [
    ("todo!", "finish it, or leave it out"),
    ("unimplemented!", "finish it, or leave it out"),
    ("#[ignore", "make the test run everywhere, or delete it"),
    ("dbg!", "use tracing, or delete it"),
];

/// What the pure core must not reach: the outside world enters as arguments.
const IMPURE_WORDS: [&str; 13] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::process",
    "std::io",
    "SystemTime",
    "Instant::now",
    "Zoned::now",
    "Timestamp::now",
    "now_v7",
    "new_v4",
    "async fn",
];

/// Every rule about one Rust file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let code = code_only(text);
    let mut findings = Vec::new();
    findings.extend(check_first_line(path, text));
    findings.extend(check_name(path));
    findings.extend(check_lengths(path, &code));
    findings.extend(check_words(path, &code));
    findings.extend(check_allowances(path, text, &code));
    findings
}

fn check_first_line(path: &str, text: &str) -> Option<Finding> {
    let says_what_it_is = text.starts_with("//! ");
    (!says_what_it_is)
        .then(|| Finding::new(path, 1, "no subject", "begin the file with `//! What it is about.`"))
}

fn check_name(path: &str) -> Option<Finding> {
    let nameless = Path::new(path)
        .with_extension("")
        .iter()
        .filter_map(|part| part.to_str())
        .find_map(|part| NAMELESS_MODULES.into_iter().find(|name| *name == part))?;
    Some(Finding::new(
        path,
        0,
        format!("'{nameless}' names no subject"),
        "name the module after the one thing it is about",
    ))
}

fn check_lengths(path: &str, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = code.lines().count();
    if lines > FILE_LINES_MAX {
        let problem = format!("{lines} lines, more than {FILE_LINES_MAX}");
        findings.push(Finding::new(path, 0, problem, "split it by subject"));
    }
    for function in functions(code) {
        if function.lines > FUNCTION_LINES_MAX {
            let problem =
                format!("fn {} has {} lines, more than {FUNCTION_LINES_MAX}", function.name, function.lines);
            findings.push(Finding::new(
                path,
                function.first_line,
                problem,
                "split it so that each part fits a screen",
            ));
        }
    }
    findings
}

fn check_words(path: &str, code: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (word, fix) in BANNED_WORDS {
        for (at, _) in code.match_indices(word) {
            findings.push(Finding::new(path, line_of(code, at), format!("`{word}`"), fix));
        }
    }
    if path.starts_with("crates/exchange/src/") {
        let before_tests = code.split("#[cfg(test)]").next().unwrap_or_default();
        for word in IMPURE_WORDS {
            for (at, _) in before_tests.match_indices(word) {
                let problem = format!("`{word}` in the pure core");
                findings.push(Finding::new(
                    path,
                    line_of(code, at),
                    problem,
                    "pass what it gives as an argument",
                ));
            }
        }
    }
    findings
}

/// An `allow` or `expect` says why: in `reason = ...`, or in a comment on its line or the line before.
fn check_allowances(path: &str, text: &str, code: &str) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    for opening in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
        for (at, _) in code.match_indices(opening) {
            let line = line_of(code, at);
            let attribute = code[at..].split(']').next().unwrap_or_default();
            let comment_on = |line: usize| lines.get(line - 1).is_some_and(|text| has_plain_comment(text));
            let has_reason =
                attribute.contains("reason =") || comment_on(line) || (line > 1 && comment_on(line - 1));
            if !has_reason {
                findings.push(Finding::new(
                    path,
                    line,
                    "a lint is set aside without a reason",
                    "add `reason = \"...\"`",
                ));
            }
        }
    }
    findings
}

/// A comment that is not documentation.
fn has_plain_comment(line: &str) -> bool {
    let is_documentation = ["///", "//!"].iter().any(|opening| line.trim_start().starts_with(opening));
    !is_documentation && line.contains("// ")
}

/// The same for lints set aside in a manifest: a comment on the line.
pub(super) fn check_lint_table(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.contains("= \"allow\"") && path.ends_with("Cargo.toml") && !line.contains('#') {
            let problem = "a lint is set aside without a reason";
            findings.push(Finding::new(path, index + 1, problem, "add the reason as a comment on the line"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> String {
        let found: Vec<_> = check(path, text)
            .iter()
            .map(|finding| format!("{}: {}", finding.line, finding.problem))
            .collect();
        found.join(", ")
    }

    #[test]
    fn each_rule_fails_on_its_example() {
        for (text, expected) in [
            ("//! Fine.\nfn f() {}\n", ""),
            ("fn f() {}\n", "1: no subject"),
            ("//! A.\nfn f() { todo!() }\n", "2: `todo!`"),
            ("//! A.\n// todo!() in words\nconst A: &str = \"todo!\";\n", ""),
            ("//! A.\n#[test]\n#[ignore = \"slow\"]\nfn f() {}\n", "3: `#[ignore`"),
            ("//! A.\n#[allow(dead_code)]\nfn f() {}\n", "2: a lint is set aside without a reason"),
            (
                "//! A.\n/// About f.\n#[allow(dead_code)]\nfn f() {}\n",
                "3: a lint is set aside without a reason",
            ),
            ("//! A.\n#[allow(dead_code)] // read by the next part\nfn f() {}\n", ""),
            ("//! A.\n// Read by the next part.\n#[allow(dead_code)]\nfn f() {}\n", ""),
            ("//! A.\n#[expect(dead_code, reason = \"read by the next part\")]\nfn f() {}\n", ""),
        ] {
            assert_eq!(problems("crates/engine/src/clock.rs", text), expected, "{text}");
        }
    }

    #[test]
    fn long_files_and_long_functions_are_found() {
        let long_file = format!("//! A.\n{}", "\n".repeat(800));
        assert_eq!(problems("src/a.rs", &long_file), "0: 801 lines, more than 800");
        let long_function = format!("//! A.\n\nfn f() {{\n{}}}\n", "    g();\n".repeat(89));
        assert_eq!(problems("src/a.rs", &long_function), "3: fn f has 91 lines, more than 90");
        let just_fits = format!("//! A.\n\nfn f() {{\n{}}}\n", "    g();\n".repeat(88));
        assert_eq!(problems("src/a.rs", &just_fits), "");
    }

    #[test]
    fn modules_are_named_after_a_subject() {
        for (path, expected) in [
            ("crates/engine/src/utils.rs", "0: 'utils' names no subject"),
            ("crates/engine/src/common/clock.rs", "0: 'common' names no subject"),
            ("crates/engine/src/call_types.rs", ""),
        ] {
            assert_eq!(problems(path, "//! A.\n"), expected, "{path}");
        }
    }

    #[test]
    fn the_pure_core_reaches_for_nothing() {
        let text = "//! A.\nuse std::time::SystemTime;\n#[cfg(test)]\nmod tests { use std::fs; }\n";
        assert_eq!(problems("crates/exchange/src/a.rs", text), "2: `SystemTime` in the pure core");
        assert_eq!(problems("crates/engine/src/a.rs", text), "");
    }

    #[test]
    fn lints_set_aside_in_a_manifest_need_a_reason() {
        let text = "[lints.clippy]\ntodo = \"deny\"\na = \"allow\" # because\nb = \"allow\"\n";
        let findings = check_lint_table("Cargo.toml", text);
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [4]);
        assert_eq!(check_lint_table("clippy.toml", text), []);
    }
}
