//! What is believed, and what is not.

use axum::http::{HeaderName, HeaderValue};

use super::*;

/// The example of standardwebhooks.com.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const MESSAGE: &str = r#"{"test": 2432232314}"#;
const SENT_AT: i64 = 1_614_265_330;

fn of(pairs: &[(&str, &str)]) -> HeaderMap {
    let pairs = pairs.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    });
    pairs.collect()
}

fn standard(signature: &str) -> HeaderMap {
    let time = SENT_AT.to_string();
    of(&[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", &time),
        ("webhook-signature", signature),
    ])
}

fn believes(
    verify: &Verify,
    secrets: &[&str],
    given: &HeaderMap,
    bytes: &str,
) -> Result<(), Refused> {
    let secrets: Vec<Vec<u8>> = secrets
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    headers(verify, given, Timestamp::from_second(SENT_AT + 60).unwrap())?;
    body(verify, &secrets, given, bytes.as_bytes())
}

#[test]
fn standard_webhooks_are_believed_by_any_secret_and_any_signature_that_fits() {
    let way = Verify::Standard(Vec::new());
    let of_others = format!("v1a,AAAA v1,AAAA {SIGNED}");
    for signature in [SIGNED, of_others.as_str()] {
        assert_eq!(
            believes(&way, &[SECRET], &standard(signature), MESSAGE),
            Ok(())
        );
        let rotated = ["whsec_AAAAAAAAAAAAAAAA", SECRET];
        assert_eq!(
            believes(&way, &rotated, &standard(signature), MESSAGE),
            Ok(())
        );
    }
    let refused = Err(Refused::Signature);
    assert_eq!(believes(&way, &[SECRET], &standard(SIGNED), "{}"), refused);
    assert_eq!(
        believes(&way, &["whsec_AAAA"], &standard(SIGNED), MESSAGE),
        refused
    );
    assert_eq!(
        believes(&way, &["whsec_"], &standard(SIGNED), MESSAGE),
        refused
    );
    assert_eq!(believes(&way, &[], &standard(SIGNED), MESSAGE), refused);
    let bare = SIGNED.trim_start_matches("v1,");
    assert_eq!(believes(&way, &[SECRET], &standard(bare), MESSAGE), refused);
    let mut other = standard(SIGNED);
    other.insert("webhook-id", HeaderValue::from_static("msg_other"));
    assert_eq!(believes(&way, &[SECRET], &other, MESSAGE), refused);
}

#[test]
fn an_old_request_and_one_from_the_future_are_not_taken() {
    let way = Verify::Standard(Vec::new());
    let at = |seconds: i64| {
        let now = Timestamp::from_second(SENT_AT + seconds).unwrap();
        headers(&way, &standard(SIGNED), now)
    };
    for seconds in [0, 300, -300] {
        assert_eq!(at(seconds), Ok(()), "{seconds}");
    }
    for seconds in [301, -301] {
        assert_eq!(at(seconds), Err(Refused::Time), "{seconds}");
    }
    let mut wrong = standard(SIGNED);
    wrong.insert(
        "webhook-timestamp",
        HeaderValue::from_static("-9223372036854775808"),
    );
    assert_eq!(
        believes(&way, &[SECRET], &wrong, MESSAGE),
        Err(Refused::Time)
    );
    wrong.append("webhook-timestamp", HeaderValue::from_static("1614265330"));
    let twice = Err(Refused::Header("webhook-timestamp".into()));
    assert_eq!(believes(&way, &[SECRET], &wrong, MESSAGE), twice);
}

#[test]
fn github_signs_the_body_as_its_documentation_shows() {
    let way = Verify::GitHub(Vec::new());
    // The example of docs.github.com.
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let (secret, bytes) = ("It's a Secret to Everybody", "Hello, World!");
    let given = of(&[("x-hub-signature-256", signature)]);
    assert_eq!(believes(&way, &[secret], &given, bytes), Ok(()));
    let refused = Err(Refused::Signature);
    assert_eq!(believes(&way, &[secret], &given, "Hello, World?"), refused);
    assert_eq!(believes(&way, &["another"], &given, bytes), refused);
    for wrong in [
        signature.trim_start_matches("sha256="),
        "sha256=",
        "sha256=75710",
        "sha256=zz",
    ] {
        let given = of(&[("x-hub-signature-256", wrong)]);
        assert_eq!(believes(&way, &[secret], &given, bytes), refused, "{wrong}");
    }
    let missing = Err(Refused::Header("x-hub-signature-256".into()));
    assert_eq!(believes(&way, &[secret], &of(&[]), bytes), missing);
}

#[test]
fn a_token_is_believed_in_its_header_alone() {
    let token = Verify::Token {
        header: "x-gitlab-token".into(),
        secrets: Vec::new(),
    };
    let given = of(&[("x-gitlab-token", "s3cret")]);
    assert_eq!(believes(&token, &["old", "s3cret"], &given, "{}"), Ok(()));
    assert_eq!(
        believes(&token, &["s3cre"], &given, "{}"),
        Err(Refused::Signature)
    );
    assert_eq!(
        believes(&token, &["s3crets"], &given, "{}"),
        Err(Refused::Signature)
    );
    let bearer = Verify::Bearer(Vec::new());
    assert!(believes(&bearer, &["s3cret"], &given, "{}").is_err());
    let given = of(&[("authorization", "bearer s3cret")]);
    assert_eq!(believes(&bearer, &["s3cret"], &given, "{}"), Ok(()));
    let basic = of(&[("authorization", "Basic s3cret")]);
    assert_eq!(
        believes(&bearer, &["s3cret"], &basic, "{}"),
        Err(Refused::Signature)
    );
}

#[test]
fn an_hmac_is_read_as_its_definition_says() {
    // RFC 4231, test case 2.
    let (secret, bytes) = ("Jefe", "what do ya want for nothing?");
    let short = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let long = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";
    let way = |digest, encoding, prefix: &str| Verify::Hmac {
        header: "x-signature".into(),
        digest,
        encoding,
        prefix: prefix.into(),
        secrets: Vec::new(),
    };
    let given = |value: &str| of(&[("x-signature", value)]);
    let hex = way(Digest::Sha256, Encoding::Hex, "");
    assert_eq!(believes(&hex, &[secret], &given(short), bytes), Ok(()));
    let base64 = way(Digest::Sha256, Encoding::Base64, "t=");
    let encoded = STANDARD.encode(decoded(Encoding::Hex, short).unwrap());
    let signed = given(&format!("t={encoded}"));
    assert_eq!(believes(&base64, &[secret], &signed, bytes), Ok(()));
    assert!(believes(&base64, &[secret], &given(&encoded), bytes).is_err());
    let sha512 = way(Digest::Sha512, Encoding::Hex, "");
    assert_eq!(believes(&sha512, &[secret], &given(long), bytes), Ok(()));
    assert!(believes(&sha512, &[secret], &given(short), bytes).is_err());
}
