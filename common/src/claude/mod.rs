//! The Messages API as data: requests, replies, usage, and the table of models and prices. No IO.

mod models;
mod wire;

pub use models::{Model, Models, ModelsError};
pub(crate) use wire::tool_uses;
pub use wire::{
    CacheControl, Message, Metadata, Reply, Request, Role, StopReason, SystemBlock, Tool,
    ToolChoice, ToolUse, Usage, text_block, tool_result,
};
