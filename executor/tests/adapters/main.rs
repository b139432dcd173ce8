//! The adapters against real programs and a real server.

mod arguments;
mod http;
mod processes;
mod reach;
mod secrets;
mod server;
mod trial;
