//! `cargo xtask test`: provides what the tests need, builds once, runs every test, and says in one line how it went.

use crate::kafka;
use crate::prerequisite;
use crate::repository::Repository;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// Which tests to run.
#[derive(clap::Args)]
pub(crate) struct TestArguments {
    /// Only the tests of this package; may be given more than once.
    #[arg(long, value_name = "PACKAGE")]
    only: Vec<String>,
    /// Passed on to the test programs, such as a part of a test's name.
    #[arg(last = true)]
    passed_on: Vec<String>,
}

/// What the test programs reported, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    failures: Vec<String>,
}

impl Tally {
    /// Takes in one line of a test program's output.
    fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let before = counts.split(what).next()?;
                before.trim_end().rsplit([' ', '.', ';']).next()?.parse::<u64>().ok()
            };
            self.passed += count(" passed").unwrap_or(0);
            self.failed += count(" failed").unwrap_or(0);
            self.ignored += count(" ignored").unwrap_or(0);
        } else if let Some(name) =
            line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failures.push(name.to_owned());
        }
    }
}

/// Runs the tests. Fails when one failed, when one was left out, and when none ran.
pub(crate) fn run(repository: &Repository, arguments: &TestArguments) -> Result<ExitCode> {
    prerequisite::provide(&arguments.only)?;
    kafka::provide(repository, &arguments.only)?;

    let mut build = cargo_test(repository, arguments);
    let status = build.arg("--no-run").status().context("running cargo test --no-run")?;
    if !status.success() {
        bail!("the tests do not build");
    }

    let mut tests = cargo_test(repository, arguments);
    tests.arg("--no-fail-fast").arg("--").args(&arguments.passed_on).stdout(Stdio::piped());
    let mut running = tests.spawn().context("running cargo test")?;
    let output = running.stdout.take().context("its output is piped")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).lines() {
        let line = line.context("reading the tests' output")?;
        tally.read(&line);
        println!("{line}");
    }
    let status = running.wait().context("waiting for cargo test")?;
    Ok(conclude(&tally, status.success()))
}

fn cargo_test(repository: &Repository, arguments: &TestArguments) -> Command {
    let mut cargo = repository.cargo();
    cargo.arg("test").arg("--locked");
    if arguments.only.is_empty() {
        cargo.arg("--workspace");
    }
    for package in &arguments.only {
        cargo.args(["--package", package]);
    }
    cargo
}

fn conclude(tally: &Tally, succeeded: bool) -> ExitCode {
    println!();
    for failure in &tally.failures {
        println!("failed: {failure}");
    }
    if tally.ignored > 0 {
        println!("{} tests are marked to be left out; a test runs or is deleted", tally.ignored);
    }
    if tally.passed + tally.failed == 0 {
        println!("no test ran");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    let is_good = succeeded && tally.failed == 0 && tally.ignored == 0 && tally.passed > 0;
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_test_programs_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test c::d ... FAILED",
            "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ] {
            tally.read(line);
        }
        let expected = Tally { passed: 42, failed: 1, ignored: 2, failures: vec!["c::d".to_owned()] };
        assert_eq!(tally, expected);
    }

    #[test]
    fn only_a_clean_run_with_tests_succeeds() {
        let tally = |passed, failed, ignored| Tally { passed, failed, ignored, failures: Vec::new() };
        for (tally, succeeded, good) in [
            (tally(1, 0, 0), true, true),
            (tally(0, 0, 0), true, false),
            (tally(1, 1, 0), false, false),
            (tally(1, 0, 1), true, false),
            (tally(1, 0, 0), false, false),
        ] {
            assert_eq!(conclude(&tally, succeeded) == ExitCode::SUCCESS, good, "{tally:?} {succeeded}");
        }
    }
}
