use super::*;

#[test]
fn the_file_fills_what_flags_left_open_and_a_wrong_one_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.toml");
    fs::write(&path, "nats_url = \"nats://file:1\"\nack_wait = \"5s\"\n").unwrap();
    let flags = Settings {
        config: Some(path.clone()),
        nats_url: Some("nats://flag:1".into()),
        ..Settings::default()
    };
    let settings = flags.clone().complete().unwrap();
    assert_eq!(
        (settings.nats_url(), settings.ack_wait()),
        ("nats://flag:1", Duration::from_secs(5))
    );
    fs::write(&path, "\nack_wait = \"5 seconds\"\n").unwrap();
    let shown = format!("{:#}", flags.clone().complete().unwrap_err());
    assert!(
        shown.contains("line 2") && shown.contains("not a duration"),
        "{shown}"
    );
    fs::write(&path, "ack_weit = 1\n").unwrap();
    let shown = format!("{:#}", flags.complete().unwrap_err());
    assert!(shown.contains("unknown field `ack_weit`"), "{shown}");
}

#[test]
fn an_address_in_a_file_that_a_variable_names_wins_over_the_settings_file_and_not_over_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let (config, secret) = (folder.path().join("f.toml"), folder.path().join("url"));
    let text = "nats_url = \"nats://file:1\"\nredis_url = \"redis://file:1\"\n";
    fs::write(&config, text).unwrap();
    fs::write(&secret, "nats://secret:1\n").unwrap();
    let named = |variable: &str| (variable == NATS_URL_FILE).then(|| secret.clone().into());
    let given = Settings {
        config: Some(config),
        ..Settings::default()
    };
    let settings = given.clone().completed(named).unwrap();
    assert_eq!(
        (settings.nats_url(), settings.redis_url()),
        ("nats://secret:1", "redis://file:1")
    );
    let flag = Settings {
        nats_url: Some("nats://flag:1".into()),
        ..given
    };
    assert_eq!(flag.completed(named).unwrap().nats_url(), "nats://flag:1");
}

#[test]
fn how_claude_is_called_is_set_or_as_its_client_has_it() {
    let plain = Settings {
        simulated: true,
        ..Settings::default()
    };
    let set = Settings {
        claude_stream: Some(false),
        claude_cache: Some(false),
        first_byte_timeout: Some(Span(Duration::from_secs(7))),
        ..plain.clone()
    };
    let (plain, set) = (plain.claude().unwrap(), set.claude().unwrap());
    assert!(plain.stream && !set.stream);
    assert!(plain.cache && !set.cache);
    assert_eq!(plain.first_byte_timeout, Duration::from_secs(120));
    assert_eq!(set.first_byte_timeout, Duration::from_secs(7));
    assert_eq!(set.call_timeout, plain.call_timeout);
}
