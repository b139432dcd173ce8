//! A request as the model would read it: its blocks in render order, tools, then system, then messages.
//!
//! Each block ends a prefix of the prompt. The prefix's hash covers every byte before it, so two requests share a
//! hash exactly as long as they share their beginning; `cache_control` itself is not part of it, so that a breakpoint
//! can move. Two more things stand at the level where the real API looks at them: the answer's format before the
//! system prompt, `tool_choice` and `thinking` before the messages. Changing one keeps only the levels above cached.

use crate::read::read_cache_control;
use crate::tokens;
use crate::wire::{Block, Object, Request, Role, Ttl};
use serde::ser::{Serialize, SerializeMap, Serializer};
use sha2::{Digest, Sha256};

/// The hash of a prefix.
pub(crate) type Key = [u8; 32];

/// The rendered prompt.
#[derive(Debug)]
pub(crate) struct Prompt {
    /// Size of the whole prompt, in tokens.
    pub(crate) tokens: u64,
    /// One per block, in render order; empty when the request asks for no caching.
    pub(crate) prefixes: Vec<Prefix>,
}

/// The prompt up to and including one block.
#[derive(Debug, Clone)]
pub(crate) struct Prefix {
    pub(crate) key: Key,
    pub(crate) tokens: u64,
    /// Set where the request asks to cache up to here.
    pub(crate) breakpoint: Option<Ttl>,
}

/// Renders a request. `owner` keeps one API key's cache apart from another's.
pub(crate) fn render(request: &Request, owner: &str) -> Prompt {
    let mut pen = Pen::new(caches(request));
    pen.salt(&[owner, request.model.id].join("\n"));
    for tool in &request.tools {
        pen.object("tool", &tool.raw);
    }
    pen.salt(
        &request
            .format
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
    );
    for block in &request.system {
        pen.block("system", block);
    }
    let choice = request
        .choice
        .raw
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let thinking = request
        .thinking
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    pen.salt(&[choice, thinking].join("\n"));
    for turn in &request.turns {
        let role = match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        };
        for block in &turn.blocks {
            pen.block(role, block);
        }
    }
    pen.finish(request.auto_cache)
}

fn caches(request: &Request) -> bool {
    let marked = |object: &Object| object.contains_key("cache_control");
    request.auto_cache.is_some()
        || request.tools.iter().any(|tool| marked(&tool.raw))
        || request.system.iter().any(|block| marked(&block.0))
        || request
            .turns
            .iter()
            .any(|turn| turn.blocks.iter().any(|block| marked(&block.0)))
}

/// Writes blocks one after the other, counting and hashing.
struct Pen {
    caching: bool,
    bytes: u64,
    hash: Sha256,
    prefixes: Vec<Prefix>,
    /// The last block that a breakpoint may stand on.
    last_cacheable: Option<usize>,
    buffer: Vec<u8>,
}

impl Pen {
    fn new(caching: bool) -> Self {
        Self {
            caching,
            bytes: 0,
            hash: Sha256::new(),
            prefixes: Vec::new(),
            last_cacheable: None,
            buffer: Vec::new(),
        }
    }

    /// Makes what follows depend on something that is not part of the prompt's text.
    fn salt(&mut self, text: &str) {
        if self.caching {
            self.hash.update((text.len() as u64).to_be_bytes());
            self.hash.update(text);
        }
    }

    fn block(&mut self, role: &str, block: &Block) {
        // A text block is its text: `"content": "x"` and a list with that one block are the same prompt.
        match block
            .text()
            .filter(|_| block.0.keys().all(|key| is_plain(key)))
        {
            Some(text) => {
                self.buffer.clear();
                self.buffer.extend_from_slice(text.as_bytes());
                self.end_block(role, "text", &block.0);
            }
            None => self.object(role, &block.0),
        }
    }

    fn object(&mut self, role: &str, object: &Object) {
        self.buffer.clear();
        // Writing JSON to memory cannot fail: every key is a string.
        let _ = serde_json::to_writer(&mut self.buffer, &WithoutCacheControl(object));
        self.end_block(role, "json", object);
    }

    fn end_block(&mut self, role: &str, form: &str, object: &Object) {
        self.bytes += self.buffer.len() as u64;
        if !self.caching {
            return;
        }
        self.salt(role);
        self.salt(form);
        self.hash.update((self.buffer.len() as u64).to_be_bytes());
        self.hash.update(&self.buffer);
        let kind = object.get("type").and_then(serde_json::Value::as_str);
        if !matches!(kind, Some("thinking" | "redacted_thinking")) {
            self.last_cacheable = Some(self.prefixes.len());
        }
        self.prefixes.push(Prefix {
            key: self.hash.clone().finalize().into(),
            tokens: tokens::of_bytes(self.bytes),
            breakpoint: read_cache_control(object, "").ok().flatten(),
        });
    }

    fn finish(mut self, automatic: Option<Ttl>) -> Prompt {
        if let Some(last) = self
            .last_cacheable
            .and_then(|index| self.prefixes.get_mut(index))
        {
            last.breakpoint = last.breakpoint.or(automatic);
        }
        Prompt {
            tokens: tokens::of_bytes(self.bytes),
            prefixes: self.prefixes,
        }
    }
}

fn is_plain(key: &str) -> bool {
    matches!(key, "type" | "text" | "cache_control")
}

struct WithoutCacheControl<'a>(&'a Object);

impl Serialize for WithoutCacheControl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0.iter().filter(|(key, _)| *key != "cache_control") {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}
