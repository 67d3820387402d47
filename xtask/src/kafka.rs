//! Apache Kafka for the tests: its published artifacts, brought by Maven into the target directory.

use crate::repository::Repository;
use anyhow::{Context, Result, bail};
use std::process::Command;

/// Which packages' tests start a Kafka.
const NEEDED_BY: [&str; 2] = ["dce", "infra"];

/// Where the tests look, below the target directory.
const JARS: &str = "test-servers/kafka";

/// Makes sure that Kafka is there for these packages' tests; no packages means all.
pub(crate) fn provide(repository: &Repository, packages: &[String]) -> Result<()> {
    if !packages.is_empty() && !packages.iter().any(|package| NEEDED_BY.contains(&package.as_str())) {
        return Ok(());
    }
    let jars = repository.metadata()?.target_directory.join(JARS);
    if jars.is_dir() {
        return Ok(());
    }
    println!("bringing Apache Kafka");
    // Under another name until it is whole.
    let unfinished = jars.with_extension("unfinished");
    let output = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(repository.root.join("xtask/kafka/pom.xml"))
        .arg("dependency:copy-dependencies")
        .arg(format!("-DoutputDirectory={}", unfinished.display()))
        .output()
        .context("running mvn")?;
    if !output.status.success() {
        bail!("mvn could not bring Kafka: {}", String::from_utf8_lossy(&output.stdout).trim());
    }
    std::fs::rename(&unfinished, &jars).with_context(|| format!("naming {}", jars.display()))
}
