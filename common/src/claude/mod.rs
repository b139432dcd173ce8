//! The Messages API as data: requests, replies and their streams, usage, rate limits, and the table of models and prices.
//! No IO.

mod batch;
mod limits;
mod models;
mod stream;
mod strict;
mod wire;

pub use batch::{
    Batch, BatchError, BatchErrorDetail, BatchLine, BatchPage, BatchResult, BatchStatus,
    batch_body, batch_line_name,
};
pub use limits::{RateLimit, RateLimits};
pub use models::{Model, Models, ModelsError, Tier};
pub use stream::{ReplyStream, SseEvent, SseParser, StreamError};
pub(crate) use strict::mark as mark_strict;
pub(crate) use wire::tool_uses;
pub use wire::{
    CacheControl, CacheCreation, CacheTtl, Effort, Message, Metadata, OutputConfig, OutputFormat,
    Reply, Request, Role, ServiceTier, StopReason, SystemBlock, Thinking, Tool, ToolChoice,
    ToolUse, Usage, request_tokens_max, text_block, tokens_estimate, tool_result,
};
