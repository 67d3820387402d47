//! `dce config`: precedence, and every problem at once.

use crate::binary::{Ran, dce, directory, run};

#[test]
fn the_example_is_the_defaults() {
    let directory = directory();
    let example = run(&directory, &["config", "example"]);
    std::fs::write(directory.path().join("dce.toml"), &example.stdout).expect("writable");
    let shown = run(&directory, &["config", "show", "--config", "dce.toml"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    // Who set a value is a comment; without it, the example and the defaults are the same text.
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(values(&shown.stdout), values(&run(&directory, &["config", "show"]).stdout));
    // And every key that is set by default is in the example.
    let unmentioned: Vec<_> =
        shown.stdout.lines().filter(|line| line.contains(" = ") && !line.contains("  # dce.toml:")).collect();
    assert_eq!(unmentioned, Vec::<&str>::new());
}

#[test]
fn the_optional_keys_of_the_example_exist() {
    let directory = directory();
    let example = run(&directory, &["config", "example"]).stdout;
    let with_options: String = example
        .lines()
        .map(|line| {
            match line.strip_prefix("# ").filter(|rest| rest.contains(" = ") && !rest.contains(". ")) {
                Some(option) => format!("{option}\n"),
                None => format!("{line}\n"),
            }
        })
        .collect();
    assert_ne!(with_options, example, "the example has no optional keys");
    // The URL of a server needs a store, or a coordination, that is one.
    let with_options = with_options.replace("kind = \"sqlite\"", "kind = \"postgresql\"");
    let with_options = with_options.replace("kind = \"memory\"", "kind = \"redis\"");
    std::fs::write(directory.path().join("dce.toml"), with_options).expect("writable");
    let checked = run(&directory, &["config", "check", "--config", "dce.toml"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_defaults() {
    let directory = directory();
    std::fs::write(directory.path().join("dce.toml"), "[log]\nlevel = \"warn\"\n").expect("writable");
    let level = |environment: Option<&str>, arguments: &[&str]| {
        let mut command = dce(&directory, &[&["config", "show"], arguments].concat());
        if let Some(level) = environment {
            command.env("DCE_LOG__LEVEL", level);
        }
        let shown = Ran::from(command.output().expect("the binary runs"));
        shown.stdout.lines().find(|line| line.starts_with("level")).map(str::to_owned).expect("a level")
    };
    let file = ["--config", "dce.toml"];
    let flag = ["--config", "dce.toml", "--set", "log.level=trace"];
    assert_eq!(level(None, &[]), "level = \"info\"");
    assert_eq!(level(None, &file), "level = \"warn\"  # dce.toml:2");
    assert_eq!(level(Some("debug"), &file), "level = \"debug\"  # environment variable DCE_LOG__LEVEL");
    assert_eq!(level(Some("debug"), &flag), "level = \"trace\"  # flag --set log.level");
}

#[test]
fn every_problem_is_told_at_once_with_its_place_and_its_fix() {
    let directory = directory();
    let file = "\
[http]
listn = [\"127.0.0.1:1\"]
request_timeout_ms = \"soon\"
connections_max = 0
requests_burst = -1

[log]
format = \"xml\"
level = \"log=loud\"

[shutdwn]
drain_timeout_s = 1

[sip]
trunks = [{ name = \"carrier\", source = [\"203.0.113.0/24\"] }]
no_bidder_status = 404
";
    std::fs::write(directory.path().join("dce.toml"), file).expect("writable");
    let mut command =
        dce(&directory, &["config", "check", "--config", "dce.toml", "--set", "policy.route_plan_max=300"]);
    command
        .env("DCE_HTTP__LISTEN", "localhost,127.0.0.1:0")
        .env("DCE_HTP__LISTEN", "x")
        .env("DCE_LISTEN", "x");
    let checked = Ran::from(command.output().expect("the binary runs"));
    assert_eq!(checked.code, Some(2));
    let lines: Vec<&str> = checked.stderr.lines().collect();
    let expected = [
        "dce: dce.toml:2: unknown key http.listn; did you mean http.listen?",
        "dce: dce.toml:3: http.request_timeout_ms: invalid type: string \"soon\", expected u64",
        "dce: dce.toml:4: http.connections_max is 0, below 1; give a value within its bounds",
        "dce: dce.toml:5: http.requests_burst: invalid value: integer `-1`, expected u32",
        "dce: dce.toml:8: log.format: unknown variant `xml`, expected `text` or `json`",
        "dce: dce.toml:11: unknown key shutdwn; did you mean shutdown?",
        "dce: dce.toml:15: sip.trunks[0].source: unknown field `source`, expected `name` or `sources`",
        "dce: dce.toml:16: sip.no_bidder_status cannot be used: no_bidder_status is 404; use 480 or 503",
        "dce: environment variable DCE_HTP__LISTEN: unknown key htp; did you mean http?",
        "dce: environment variable DCE_LISTEN: unknown key listen; known are audit, bus, coordination, data, engine, http, live_bidders, log, node, policy, retention, shutdown, sip, store, webhooks",
        "dce: environment variable DCE_HTTP__LISTEN: http.listen 'localhost' is not an IP address and port; write it as 127.0.0.1:8080",
        "dce: flag --set policy.route_plan_max: policy.route_plan_max: invalid value: integer `300`, expected u8",
    ];
    for line in expected {
        assert!(lines.contains(&line), "missing: {line}\nin:\n{}", checked.stderr);
    }
    let log_level = lines.iter().find(|line| line.contains("log.level")).expect("log.level is wrong too");
    assert!(log_level.starts_with("dce: dce.toml:9: log.level is not a log level"), "{log_level}");
    assert_eq!(lines.len(), expected.len() + 1, "{}", checked.stderr);
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_key() {
    let cases = [
        ("sip.session_expires_s=89", "sip.session_expires_s cannot be used: session_expires_s is 89, below"),
        (
            "sip.min_session_expires_s=3600",
            "sip.session_expires_s cannot be used: session_expires_s is 1800, below",
        ),
        (
            "sip.max_live_calls=0",
            "sip.max_live_calls cannot be used: max_live_calls is 0; it must be at least 1",
        ),
        ("sip.max_calls_in_setup=0", "sip.max_calls_in_setup cannot be used"),
        ("sip.listen=udp://127.0.0.1:5060,udp://127.0.0.1:5060", "sip.listen cannot be used: listen has udp"),
        ("http.listen=127.0.0.1:8080,127.0.0.1:8080", "http.listen has 127.0.0.1:8080 twice; name it once"),
        ("http.listen=127.0.0.1:5061", "http.listen has 127.0.0.1:5061 which sip.listen has for TCP, too"),
        (
            "policy.screening.emergency_states=LA,ZZ",
            "policy.screening.emergency_states has ZZ, which is no state",
        ),
        ("coordination.kind=redis", "coordination.url is not set; write redis://"),
        (
            "coordination.url=redis://cache.example",
            "coordination.kind is memory, but coordination.url is set",
        ),
        ("coordination.key_prefix={a}", "coordination.key_prefix '{a}' cannot begin a key"),
        ("coordination.timeout_ms=1", "coordination.timeout_ms is 1, below 5"),
        ("policy.reservation_ms=130000", "policy.reservation_ms is 130000, above policy.reservation_ms_max"),
        ("node.roles=gateway,telephony", "node.roles leaves something out, but this is the only node"),
        ("node.roles=gateway,telephony,engine", "node.roles has one of engine and worker; name both"),
        ("node.listen=127.0.0.1:7400", "node.listen is set, but node.key_file is not; make a key with"),
        ("node.advertised_address=here", "node.advertised_address is not a host and port; write it as"),
    ];
    for (setting, says) in cases {
        let tcp = "sip.listen=udp://127.0.0.1:5061,tcp://127.0.0.1:5061";
        let checked = run(&directory(), &["config", "check", "--set", tcp, "--set", setting]);
        assert_eq!(checked.code, Some(2), "{setting}: {checked:?}");
        assert!(checked.stderr.contains(&format!(": {says}")), "{setting}: {}", checked.stderr);
        assert_eq!(checked.stderr.lines().count(), 1, "{setting}: {}", checked.stderr);
    }
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_one_line() {
    let directory = directory();
    std::fs::write(directory.path().join("bad.toml"), "[http]\nlisten = [\n").expect("writable");
    for (file, begins) in [("none.toml", "dce: none.toml: "), ("bad.toml", "dce: bad.toml:2: not TOML")] {
        let checked = run(&directory, &["config", "check", "--config", file]);
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert!(checked.stderr.starts_with(begins), "{}", checked.stderr);
        assert_eq!(checked.stderr.lines().count(), 1, "{}", checked.stderr);
    }
}

#[test]
fn a_good_configuration_is_ok() {
    let checked = run(&directory(), &["config", "check"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    assert!(checked.stdout.starts_with("ok: "), "{}", checked.stdout);
}

#[test]
fn the_configuration_of_the_containers_is_ok() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/node.toml");
    let directory = directory();
    let mut command = dce(&directory, &["config", "check", "--config", file]);
    command.env("DCE_NODE__ADVERTISED_ADDRESS", "node-1:7400").env("DCE_SIP__ADVERTISED_IP", "203.0.113.10");
    let checked = Ran::from(command.output().expect("the binary runs"));
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_word_that_is_no_level_is_no_module_either() {
    let directory = directory();
    for (level, code) in [("loud", 2), ("", 2), ("WARN", 0), ("info,telephony=debug", 0)] {
        let checked = run(&directory, &["config", "check", "--set", &format!("log.level={level}")]);
        assert_eq!(checked.code, Some(code), "{level}: {checked:?}");
    }
}
