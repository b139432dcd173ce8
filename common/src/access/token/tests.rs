use jiff::SignedDuration;

use super::*;

fn secret(byte: u8) -> Secret {
    Secret::of(&[byte; RANDOM_BYTES])
}

fn token(secret: &Secret) -> Token {
    let scopes = BTreeSet::from([Scope::Admin]);
    let name = "ops".parse().unwrap();
    Token::new(secret, name, scopes, "test", Timestamp::UNIX_EPOCH)
}

#[test]
fn a_token_reads_as_it_was_made_and_no_other_text_does() {
    let made = secret(7);
    let text = made.reveal();
    assert_eq!((text.len(), text.starts_with(PREFIX)), (53, true));
    assert_eq!(text.parse(), Ok(made.clone()));
    let (start, last) = text.split_at(52);
    let other = if last == "A" { "B" } else { "A" };
    let wrongs = [
        String::new(),
        "flt_".to_owned(),
        start.to_owned(),
        format!("{text}x"),
        format!("{start}{other}"),
        text.replace(PREFIX, "flx_"),
        format!("flt_{}", "ü".repeat(30)),
    ];
    for wrong in wrongs {
        assert_eq!(wrong.parse::<Secret>(), Err(NoSecret), "{wrong}");
    }
}

#[test]
fn a_token_is_known_by_its_secret_alone_and_never_printed() {
    let (mine, other) = (secret(1), secret(2));
    let kept = token(&mine);
    assert!(kept.has_hash(&mine.hash()) && !kept.has_hash(&other.hash()));
    assert_eq!(kept.id(), mine.id());
    assert_eq!(kept.id().as_str().len(), ID_LENGTH);
    let told = format!(
        "{mine:?} {kept:?} {}",
        serde_json::to_string(&kept).unwrap()
    );
    assert!(!told.contains(mine.reveal()), "{told}");
}

#[test]
fn a_token_holds_until_it_expires_or_is_revoked() {
    let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
    let mut kept = token(&secret(1));
    assert!(kept.holds(at(i64::from(u32::MAX))));
    kept.expires_at = Some(at(10));
    assert!(kept.holds(at(9)) && !kept.holds(at(10)));
    kept.revoked_at = Some(at(5));
    assert!(!kept.holds(at(9)));
}

#[test]
fn a_rate_is_by_the_second_and_bounded() {
    let of = |rate: &str| Allowance::of(rate.parse().unwrap());
    let fifty = of("50/s").unwrap();
    assert_eq!((fifty.per_second.get(), fifty.burst.get()), (50, 100));
    assert!(of("1000000/s").is_some());
    assert_eq!((of("50/m"), of("1000001/s")), (None, None));
}

#[test]
fn only_who_may_everything_everywhere_rules() {
    let now = Timestamp::UNIX_EPOCH;
    let mut kept = token(&secret(1));
    assert!(kept.rules(now));
    kept.tenant = Some("acme".parse().unwrap());
    assert!(!kept.rules(now));
    kept.tenant = None;
    kept.scopes = BTreeSet::from([Scope::Approve]);
    assert!(!kept.rules(now));
}

#[test]
fn what_is_kept_reads_back_and_a_newer_shape_is_told() {
    let kept = token(&secret(1));
    let mut value = serde_json::to_value(&kept).unwrap();
    assert_eq!(Token::read(value.to_string().as_bytes()).unwrap(), kept);
    value["v"] = 2.into();
    let newer = Token::read(value.to_string().as_bytes());
    assert!(matches!(newer, Err(TokenError::Version(2))));
}
