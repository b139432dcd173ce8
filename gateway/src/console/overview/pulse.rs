//! The overview as it goes on: its parts are made once in two seconds for all of a tenant's callers who look, and sent to each as
//! far as they are other ones.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use bytes::Bytes;
use flotilla_common::{access::Caller, ids::Name, io::http::Problem};
use serde_json::json;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

use super::parts::{Part, Parts};
use crate::{
    console::door::Door,
    live::{ChangesWatch, Cut, Frames, respond},
    problem::unavailable,
    routes::App,
};

/// How long parts are shown until they are made again.
const FRESH_FOR: Duration = Duration::from_millis(1_900);
/// How often a page is told.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// How long somebody waits for parts that another one makes.
const PATIENCE: Duration = Duration::from_secs(15);
/// Tenants whose parts are kept.
const TENANTS_MAX: usize = 64;

/// What stands before how long ago a time is.
const AGE: &str = "data-relative>";

type Kept = BTreeMap<Option<Name>, (Instant, Arc<Parts>)>;

/// The parts that were made last.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Kept>);

impl Pulse {
    /// The parts that a caller may see, made now if they are not fresh.
    pub(super) async fn parts(&self, app: &App, caller: &Caller) -> Result<Arc<Parts>, Problem> {
        let kept = timeout(PATIENCE, self.0.lock()).await;
        let mut kept = kept.map_err(|_| unavailable("the overview is not there in time"))?;
        if let Some((made, parts)) = kept.get(&caller.tenant)
            && made.elapsed() < FRESH_FOR
        {
            return Ok(Arc::clone(parts));
        }
        let parts = Arc::new(Box::pin(Parts::load(app, caller)).await?);
        if kept.len() >= TENANTS_MAX {
            kept.clear();
        }
        let made = (Instant::now(), Arc::clone(&parts));
        kept.insert(caller.tenant.clone(), made);
        Ok(parts)
    }
}

/// What is new on the overview, as it comes.
pub(super) async fn stream(State(app): State<Arc<App>>, door: Door) -> Result<Response, Problem> {
    // It holds one of the places that this gateway has for who watches, and hears of the stop.
    let watch = app.hub.changes().await?;
    let said = app.pulse.parts(&app, door.caller()).await?;
    Ok(respond(Beats {
        app,
        caller: door.caller().clone(),
        watch: Some(watch),
        said,
        next: Instant::now() + TELL_EVERY,
    }))
}

struct Beats {
    app: Arc<App>,
    caller: Caller,
    /// `None`: it is over.
    watch: Option<ChangesWatch>,
    said: Arc<Parts>,
    next: Instant,
}

impl Frames for Beats {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let watch = self.watch.as_mut()?;
            tokio::select! {
                () = sleep(self.next.saturating_duration_since(Instant::now())) => {}
                heard = watch.next() => {
                    match heard {
                        Ok(_) | Err(Cut::Lagged) => continue,
                        Err(Cut::Stopping) => {
                            self.watch = None;
                            return Some(Cut::Stopping.frame());
                        }
                    }
                }
            }
            self.next = Instant::now() + TELL_EVERY;
            // What cannot be had now is had the next time.
            let Ok(parts) = self.app.pulse.parts(&self.app, &self.caller).await else {
                continue;
            };
            let before = std::mem::replace(&mut self.said, Arc::clone(&parts));
            if before.is_new != parts.is_new {
                return Some(Bytes::from_static(b"event: stale\ndata: {}\n\n"));
            }
            let news = news(&before, &parts);
            if !news.is_empty() {
                return Some(news);
            }
        }
    }
}

/// The parts that are other ones now.
fn news(before: &Parts, now: &Parts) -> Bytes {
    let frame = |part: &Part| {
        let data = json!({"id": part.id, "html": part.html});
        format!("event: frag\ndata: {data}\n\n")
    };
    let is_same = |part: &Part, other: &Part| {
        other.id == part.id && without_ages(&other.html) == without_ages(&part.html)
    };
    let changed = now.all.iter();
    let changed = changed.filter(|part| !before.all.iter().any(|other| is_same(part, other)));
    changed.map(frame).collect::<String>().into()
}

/// A part without how long ago its times are: the page's script tells that anew by itself.
fn without_ages(html: &str) -> String {
    let mut kept = String::with_capacity(html.len());
    for (index, piece) in html.split(AGE).enumerate() {
        let piece = match (index, piece.split_once("</time>")) {
            (0, _) | (_, None) => piece,
            (_, Some((_, rest))) => rest,
        };
        kept.push_str(piece);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_time_goes_by_is_no_news() {
        let parts = |age: &str, run: &str| Parts {
            all: vec![Part {
                id: "newest",
                html: format!("<b>{run}</b><time data-relative>{age}</time><i>x</i>"),
            }],
            is_new: false,
        };
        assert!(news(&parts("2 s ago", "a"), &parts("4 s ago", "a")).is_empty());
        assert!(!news(&parts("2 s ago", "a"), &parts("2 s ago", "b")).is_empty());
    }

    #[test]
    fn only_what_has_changed_is_sent_and_a_line_break_in_it_ends_no_event() {
        let part = |id, html: &str| Part {
            id,
            html: html.to_owned(),
        };
        let parts = |figures: &str| Parts {
            all: vec![part("figures", figures), part("newest", "<p>\n</p>")],
            is_new: false,
        };
        assert!(news(&parts("a"), &parts("a")).is_empty());
        let frames = news(&parts("a"), &parts("<b>\n\ndata: x</b>"));
        let text = String::from_utf8(frames.to_vec()).unwrap();
        assert_eq!(text.matches("event: frag").count(), 1);
        assert_eq!(text.matches('\n').count(), 3, "{text}");
        assert!(text.contains(r#""id":"figures""#));
    }
}
