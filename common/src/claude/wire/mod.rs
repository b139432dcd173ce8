//! Shapes of `POST /v1/messages`, from the official Python SDK 2.11. Content blocks stay JSON values: unknown ones survive,
//! and an assistant turn goes back exactly as it came, or its prompt cache would miss.

mod reply;
mod request;
mod usage;

pub(crate) use reply::tool_uses;
pub use reply::{Reply, StopReason, ToolUse};
pub use request::{
    CacheControl, CacheTtl, Effort, Message, Metadata, OutputConfig, OutputFormat, Request, Role,
    ServiceTier, SystemBlock, Thinking, Tool, ToolChoice, request_tokens_max, text_block,
    tokens_estimate, tool_result,
};
pub use usage::{CacheCreation, Usage};
