//! The command line itself: help, completions, exit codes.

use crate::binary::{directory, run};

#[test]
fn help_tells_where_to_start_and_what_exit_codes_mean() {
    let help = run(&directory(), &["--help"]);
    assert_eq!(help.code, Some(0));
    for part in ["dce serve --config", "dce key create", "Exit codes:", "DCE_SECTION__KEY"] {
        assert!(help.stdout.contains(part), "{part} is not in the help");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let wrong: [&[&str]; 7] = [
        &[],
        &["sreve"],
        &["serve", "--port", "1"],
        &["serve", "--set", "novalue"],
        &["key", "create", "--name", "x", "--role", "king"],
        &["events", "replay"],
        &["events", "dead-letters", "--kafka"],
    ];
    for arguments in wrong {
        let ran = run(&directory(), arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?} {ran:?}");
    }
}

#[test]
fn settings_are_offered_only_where_they_count() {
    let reads: [(&[&str], bool); 11] = [
        (&["serve"], true),
        (&["verify"], true),
        (&["replay"], true),
        (&["key", "create"], true),
        (&["config", "check"], true),
        (&["events", "replay"], true),
        (&["config", "example"], false),
        (&["demo"], false),
        // With --digest.
        (&["simulate"], true),
        (&["bench", "settle"], true),
        (&["bench", "auction"], false),
    ];
    for (command, takes_settings) in reads {
        let help = run(&directory(), &[command, &["--help"]].concat());
        let offered = ["--config <FILE>", "--data <DIRECTORY>", "--set <SECTION.KEY=VALUE>"];
        for flag in offered {
            assert_eq!(help.stdout.contains(flag), takes_settings, "{command:?} {flag}");
        }
    }
    assert_eq!(run(&directory(), &["demo", "--set", "log.level=debug"]).code, Some(2));
    let idle = run(&directory(), &["simulate", "--seeds", "1", "--data", "books"]);
    let expected = "dce: --data and --set count only with --digest; add it, or leave them out\n";
    assert_eq!((idle.code, idle.stderr.as_str()), (Some(2), expected));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&directory(), &["completions", shell]);
        assert_eq!(script.code, Some(0));
        assert!(script.stdout.contains("serve") && script.stdout.contains("verify"), "{shell}");
    }
}
