//! The adapters against real programs and a real server.

mod arguments;
mod builtins;
mod doubts;
mod http;
mod http_options;
mod launcher;
mod limits;
mod mcp;
mod mcp_http;
mod nats;
mod processes;
mod reach;
mod secrets;
mod server;
mod trial;
mod tricks;
