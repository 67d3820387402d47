//! The corpus: every file under `tests/cases` is one marketplace, what happens to it, and what must come of it.
//!
//! Adding a case is adding a file to the folder of its subject: write the script, then run with `UPDATE_CASES=1` to have
//! the rest filled in, and read it. The words a script knows are in `script.rs`.

use crate::script::Script;
use std::fs;
use std::path::{Path, PathBuf};

const DIVIDER: &str = "---\n";

#[test]
fn every_case_comes_out_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = cases_in(&folder);
    assert!(files.len() >= 150, "only {} cases found in {}", files.len(), folder.display());
    let failures: Vec<String> = files.iter().filter_map(|path| check(path, &folder)).collect();
    assert!(
        failures.is_empty(),
        "{} of {} cases differ\n{}",
        failures.len(),
        files.len(),
        failures.join("\n")
    );
}

/// Every case in a folder and the folders in it, by name.
fn cases_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of cases");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let is_case = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "case");
    paths
        .into_iter()
        .flat_map(|path| if path.is_dir() { cases_in(&path) } else { vec![path] })
        .filter(is_case)
        .collect()
}

/// Runs one case; what differs, if anything.
fn check(path: &Path, folder: &Path) -> Option<String> {
    let text = fs::read_to_string(path).expect("a readable case");
    let name = path.strip_prefix(folder).unwrap_or(path).display();
    if !text.starts_with("# ") {
        return Some(format!("== {name}: the first line does not say what it shows"));
    }
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
