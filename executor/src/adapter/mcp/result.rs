//! What a tool's result becomes: the texts as one, what is structured as it is, and of everything else what it was.

use serde_json::{Map, Value, json};

use super::super::{
    Scene,
    failure::{Class, Failure},
    reply,
};

/// Contents besides texts that are told of.
const OTHERS_MAX: usize = 32;
/// Longest complaint in a message, in bytes.
const COMPLAINT_LENGTH_MAX: usize = 500;

/// `{"text", "structured"?, "other"?, "truncated"?}`, or a failure with that where the server says that the tool failed.
pub(super) fn output(
    server: &str,
    result: &Value,
    limit: usize,
    scene: &Scene<'_>,
) -> Result<Value, Failure> {
    let Some(content) = result["content"].as_array() else {
        let message = format!("the MCP server `{server}` gave a result without `content`");
        return Err(Failure::new(Class::Reply, message));
    };
    let texts: Vec<&str> = content.iter().filter_map(text).collect();
    let (text, mut truncated) = reply::text(texts.join("\n").as_bytes(), limit, &scene.secrets);
    let mut output = Map::new();
    output.insert("text".into(), text.clone().into());
    if let Some(structured) = result.get("structuredContent") {
        // Counted by its own length: the text is often the same once more.
        let fits = structured.to_string().len() <= limit && reply::is_journalled(structured, limit);
        truncated |= !fits;
        if fits {
            output.insert("structured".into(), structured.clone());
        }
    }
    let mut others: Vec<Value> = content.iter().filter_map(other).collect();
    truncated |= others.len() > OTHERS_MAX;
    others.truncate(OTHERS_MAX);
    if !others.is_empty() {
        output.insert("other".into(), others.into());
    }
    if truncated {
        output.insert("truncated".into(), true.into());
    }
    let output = Value::Object(output);
    if result["isError"] == true {
        let said = match text.trim() {
            "" => "it does not say why",
            said => &said[..said.floor_char_boundary(COMPLAINT_LENGTH_MAX)],
        };
        let message = format!("the tool of the MCP server `{server}` failed: {said}");
        return Err(Failure::new(Class::Service, message).with(output));
    }
    Ok(output)
}

fn text(block: &Value) -> Option<&str> {
    match block["type"].as_str() {
        Some("text") => block["text"].as_str(),
        Some("resource") => block["resource"]["text"].as_str(),
        Some(_) | None => None,
    }
}

/// An image, a sound, a link: what it is and how large, and not its bytes.
fn other(block: &Value) -> Option<Value> {
    let kind = block["type"].as_str().filter(|kind| *kind != "text")?;
    let within = match kind {
        "resource" => &block["resource"],
        _ => block,
    };
    let short = |value: &Value| {
        let text = value.as_str()?;
        Some(Value::from(
            &text[..text.floor_char_boundary(COMPLAINT_LENGTH_MAX)],
        ))
    };
    let mut told = Map::new();
    told.insert("type".into(), short(&block["type"])?);
    for key in ["mimeType", "uri", "name"] {
        if let Some(value) = short(&within[key]) {
            told.insert(key.into(), value);
        }
    }
    let encoded = within["data"].as_str().or(within["blob"].as_str());
    if let Some(encoded) = encoded {
        // Base64: four characters are three bytes.
        told.insert(
            "bytes".into(),
            json!(encoded.trim_end_matches('=').len() * 3 / 4),
        );
    }
    Some(Value::Object(told))
}
