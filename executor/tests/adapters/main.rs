//! The adapters against real programs and a real server.

mod arguments;
mod doubts;
mod http;
mod launcher;
mod processes;
mod reach;
mod secrets;
mod server;
mod trial;
