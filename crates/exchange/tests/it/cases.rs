//! The corpus: every file in `tests/cases` is one marketplace, what happens to it, and what must come of it.
//!
//! Adding a case is adding a file: write the script, then run with `UPDATE_CASES=1` to have the rest filled in, and read
//! it. The words a script knows are in `script.rs`.

use crate::script::Script;
use std::fs;
use std::path::PathBuf;

const DIVIDER: &str = "---\n";

#[test]
fn every_case_comes_out_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "case"))
        .collect();
    files.sort();
    assert!(files.len() >= 30, "only {} cases found in {}", files.len(), folder.display());
    let failures: Vec<String> = files.iter().filter_map(check).collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases differ\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );
}

/// Runs one case; what differs, if anything.
fn check(path: &PathBuf) -> Option<String> {
    let text = fs::read_to_string(path).expect("a readable case");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (script, expected) = text.split_once(DIVIDER).unwrap_or((&text, ""));
    let actual = match Script::run(script) {
        Ok(actual) => actual,
        Err(problem) => return Some(format!("== {name}: {problem}")),
    };
    if actual == expected {
        return None;
    }
    if std::env::var_os("UPDATE_CASES").is_some() {
        let script = if script.ends_with('\n') { script.to_owned() } else { format!("{script}\n") };
        fs::write(path, format!("{script}{DIVIDER}{actual}")).expect("a writable case");
        return None;
    }
    let first = actual.lines().zip(expected.lines()).find(|(actual, expected)| actual != expected);
    let (got, wanted) = first.unwrap_or(("(length differs)", ""));
    Some(format!("== {name}\n   expected: {wanted}\n   came out: {got}\n{actual}"))
}
