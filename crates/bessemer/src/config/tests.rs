//! Layers, their order, and what is refused.

use std::io::Write;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Program {
    #[command(flatten)]
    flags: NodeFlags,
}

const NEEDED: &str = "node_id = 1\ndata_dir = \"/srv/one\"\n";

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn try_load(text: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, String> {
    let file = file(text);
    let flags =
        Program::try_parse_from([&["node"], flags].concat()).map_err(|e| e.to_string())?.flags;
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    load(Some(file.path()), variables, &flags).map_err(|e| e.to_string())
}

#[test]
fn each_layer_overrules_the_one_before() {
    let plain = try_load(NEEDED, &[], &[]).unwrap().config;
    assert_eq!(plain.heartbeat_ms, 100);
    let text = format!("{NEEDED}heartbeat_ms = 81\nlog_level = \"warn\"\n");
    assert_eq!(try_load(&text, &[], &[]).unwrap().config.heartbeat_ms, 81);
    let variables = [("BESSEMER_HEARTBEAT_MS", "82"), ("BESSEMER_INSECURE_PEERS", "true")];
    let config = try_load(&text, &variables, &[]).unwrap().config;
    assert_eq!((config.heartbeat_ms, config.insecure_peers), (82, true));
    let config = try_load(&text, &variables, &["--heartbeat-ms", "83"]).unwrap().config;
    assert_eq!((config.heartbeat_ms, config.log_level.as_str()), (83, "warn"));
}

#[test]
fn text_stays_text_and_lists_are_toml() {
    let token = "12345678901234567890";
    let members = r#"[{ id = 1, peer = "a:1", http = "a:2" }]"#;
    let variables = [("BESSEMER_ADMIN_TOKEN", token), ("BESSEMER_MEMBERS", members)];
    let config = try_load(NEEDED, &variables, &["--cluster-id", "true"]).unwrap().config;
    assert_eq!(config.admin_token, token);
    assert_eq!(config.cluster_id, "true");
    assert_eq!(config.members[0].http, "a:2");
}

#[test]
fn a_secret_comes_from_its_file_and_is_not_printed() {
    let secret = file("0123456789abcdef0123\n");
    let path = secret.path().to_str().unwrap();
    let config = try_load(NEEDED, &[("BESSEMER_ADMIN_TOKEN_FILE", path)], &[]).unwrap().config;
    assert_eq!(config.admin_token, "0123456789abcdef0123");
    assert!(!print(&config, true).unwrap().contains("0123456789abcdef0123"));
    assert!(print(&config, false).unwrap().contains("0123456789abcdef0123"));
    let both = [("BESSEMER_ADMIN_TOKEN_FILE", path), ("BESSEMER_ADMIN_TOKEN", "aaaaaaaaaaaaaaaa")];
    assert!(try_load(NEEDED, &both, &[]).unwrap_err().contains("not both"));
}

#[test]
fn what_is_printed_can_be_read_again() {
    let text = format!("{NEEDED}members = [{{ id = 1, peer = \"h:1\", http = \"h:2\" }}]\n");
    let config = try_load(&text, &[], &[]).unwrap().config;
    let again = try_load(&print(&config, false).unwrap(), &[], &[]).unwrap().config;
    assert_eq!(again, config);
}

#[test]
fn mistakes_are_named() {
    for (text, variables, flags, part) in [
        ("node_id = 1", &[][..], &[][..], "data_dir is missing"),
        ("data_dir = \"x\"", &[], &[], "node_id is missing"),
        ("node_id = \"x\"", &[], &[], "node_id: invalid type"),
        ("heartbeat = 3", &[], &[], "there is no key heartbeat;"),
        ("node_id = ", &[], &[], "is not TOML"),
        (NEEDED, &[("BESSEMER_HEARTBEAT_MS", "soon")], &[], "BESSEMER_HEARTBEAT_MS is wrong"),
        (NEEDED, &[], &["--heartbeat-ms", "soon"], "--heartbeat-ms"),
        (NEEDED, &[], &["--heartbeat-ms", "400"], "at least three times heartbeat_ms 400"),
        (NEEDED, &[], &["--peer-listen", "0.0.0.0:7"], "beyond loopback"),
        (NEEDED, &[], &["--http-listen", "0.0.0.0:7"], "http_advertise is missing"),
        (NEEDED, &[], &["--http-advertise", "here"], "is not host:port"),
        (NEEDED, &[], &["--admin-token", "short"], "at least 16"),
        (NEEDED, &[], &["--drain-ms-max", "20000"], "drain_ms_max"),
        (
            NEEDED,
            &[("BESSEMER_MEMBERS", r#"[{ id = 2, peer = "a:1", http = "a:2" }]"#)],
            &[],
            "does not hold this node, 1",
        ),
    ] {
        let error = try_load(text, variables, flags).expect_err(part);
        assert!(error.contains(part), "{error:?} should say {part:?}");
    }
}

#[test]
fn an_unknown_variable_warns_and_a_client_one_does_not() {
    let variables = [("BESSEMER_HEARTBAET_MS", "1"), ("BESSEMER_TOKEN", "x"), ("HOME", "/")];
    let loaded = try_load(NEEDED, &variables, &[]).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].contains("BESSEMER_HEARTBAET_MS"));
}

#[test]
fn every_key_is_described() {
    for (key, lines) in KEYS {
        assert!(lines.concat().trim().len() > 10, "{key} needs a description");
    }
}
