//! Whether a request asks for prompt caching.

use flotilla_common::claude::{CacheControl, SystemBlock, Tool};

use super::*;

/// A request with a cache point wherever one can be.
fn cached() -> Request {
    let here = Some(CacheControl::FIVE_MINUTES);
    Request {
        cache_control: here,
        tools: vec![Tool {
            name: "look".into(),
            input_schema: serde_json::json!({"type": "object"}),
            cache_control: here,
            ..Tool::default()
        }],
        system: vec![SystemBlock::Text {
            text: "Rules.".into(),
            cache_control: here,
        }],
        ..request()
    }
}

#[tokio::test]
async fn with_caching_off_nothing_of_it_is_sent_and_nothing_else_is_missing() {
    let (server, base_url) = Server::start(vec![said(200, &[], GOOD)]).await;
    let on = ClaudeConfig {
        stream: false,
        ..config(&base_url)
    };
    let off = ClaudeConfig {
        cache: false,
        ..on.clone()
    };
    once(&claude(on), &cached()).await.unwrap();
    let with = server.last().1;
    assert_eq!(with, serde_json::to_value(cached()).unwrap());
    assert_eq!(with.to_string().matches("cache_control").count(), 3);

    once(&claude(off), &cached()).await.unwrap();
    let mut expected = with;
    for place in ["", "/tools/0", "/system/0"] {
        let object = expected.pointer_mut(place).unwrap().as_object_mut();
        object.unwrap().remove("cache_control");
    }
    assert_eq!(server.last().1, expected);
}
