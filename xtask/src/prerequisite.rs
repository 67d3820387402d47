//! Programs that tests need besides Rust and a C compiler: found, or installed from the system's packages.

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

/// A program some tests run.
pub(crate) struct Prerequisite {
    /// What to look for on the PATH.
    pub(crate) program: &'static str,
    /// Debian's name of the package that has it.
    pub(crate) debian_package: &'static str,
    /// Which packages' tests run it.
    pub(crate) needed_by: &'static [&'static str],
}

/// Everything the tests need today. A database or broker joins as a row here and a start and stop in `test.rs`.
pub(crate) const PREREQUISITES: [Prerequisite; 7] = [
    Prerequisite { program: "sipp", debian_package: "sip-tester", needed_by: &["dce", "telephony"] },
    Prerequisite { program: "java", debian_package: "default-jre-headless", needed_by: &["dce", "infra"] },
    Prerequisite { program: "mvn", debian_package: "maven", needed_by: &["dce", "infra"] },
    // The server's own programs are not on the PATH; this one comes with them.
    Prerequisite { program: "pg_ctlcluster", debian_package: "postgresql", needed_by: &["dce", "infra"] },
    Prerequisite { program: "redis-server", debian_package: "redis-server", needed_by: &["dce", "infra"] },
    // Another clock for the exchange.
    Prerequisite { program: "faketime", debian_package: "faketime", needed_by: &["xtask"] },
    // librdkafka is built with it.
    Prerequisite { program: "make", debian_package: "make", needed_by: &["infra"] },
];

/// Who may install packages here, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Installer {
    /// We are root.
    Direct,
    /// `sudo` works without asking.
    Sudo,
    /// No apt, or no rights.
    Nobody,
}

/// Makes sure that what these packages' tests need is installed; no packages means all.
pub(crate) fn provide(packages: &[String]) -> Result<()> {
    let missing: Vec<&Prerequisite> =
        needed(packages).filter(|it| find_on_path(it.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let debian_packages: Vec<&str> = missing.iter().map(|it| it.debian_package).collect();
    install(&debian_packages, installer())?;
    for it in missing {
        if find_on_path(it.program).is_none() {
            bail!("package {} was installed but brought no `{}`", it.debian_package, it.program);
        }
    }
    Ok(())
}

fn needed(packages: &[String]) -> impl Iterator<Item = &'static Prerequisite> {
    PREREQUISITES.iter().filter(move |it| {
        packages.is_empty() || packages.iter().any(|package| it.needed_by.contains(&package.as_str()))
    })
}

fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

fn installer() -> Installer {
    let succeeds = |program: &str, arguments: &[&str]| {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    };
    let is_root =
        Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if find_on_path("apt-get").is_none() {
        Installer::Nobody
    } else if is_root {
        Installer::Direct
    } else if succeeds("sudo", &["-n", "true"]) {
        Installer::Sudo
    } else {
        Installer::Nobody
    }
}

fn install(debian_packages: &[&str], installer: Installer) -> Result<()> {
    let names = debian_packages.join(" ");
    let prefix: &[&str] = match installer {
        Installer::Direct => &[],
        Installer::Sudo => &["sudo", "-n"],
        Installer::Nobody => bail!(
            "the tests need: {names}. Install with `apt-get install {names}` (or your system's like), then run again"
        ),
    };
    println!("installing {names}");
    for arguments in
        [&["update"][..], &[&["install", "-y", "--no-install-recommends"], debian_packages].concat()]
    {
        let mut command: Vec<&str> = prefix.to_vec();
        command.push("apt-get");
        command.extend(arguments);
        let output = Command::new(command[0])
            .args(&command[1..])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .with_context(|| format!("running {}", command[0]))?;
        if !output.status.success() {
            bail!("`{}` failed: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_chosen_packages_need_is_provided() {
        for (packages, expected) in [
            (&[][..], vec!["sipp", "java", "mvn", "pg_ctlcluster", "redis-server", "faketime", "make"]),
            (&["dce"][..], vec!["sipp", "java", "mvn", "pg_ctlcluster", "redis-server"]),
            (&["exchange", "infra"][..], vec!["java", "mvn", "pg_ctlcluster", "redis-server", "make"]),
        ] {
            let packages: Vec<String> = packages.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(needed(&packages).map(|it| it.program).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn who_may_not_install_is_told_what_to_install() {
        let error = install(&["sip-tester"], Installer::Nobody).expect_err("nobody may install");
        assert!(error.to_string().contains("apt-get install sip-tester"), "{error}");
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find_on_path("cargo").is_some());
        assert!(find_on_path("no-such-program-anywhere").is_none());
    }
}
