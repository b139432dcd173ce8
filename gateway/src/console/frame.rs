//! What all pages have around them: where one can go, how the fleet is, who is logged in.

use std::time::Duration;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
};
use flotilla_common::{io::http::Problem, run::Status, unseen::is_unseen};
use tokio::time::timeout;

use super::{
    assets::{Asset, ICON, SCRIPT, STYLE},
    door::Door,
};
use crate::routes::App;

/// What browsers may load for a page, send from it, and put it into: nothing but our own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// How long a page waits for the figures in its top bar.
const PATIENCE: Duration = Duration::from_millis(700);
/// What is told exactly in the top bar.
const COUNTED_MAX: u64 = 99;

/// A place in the top bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// How the fleet is doing.
    Overview,
    /// The list of runs, and each of them.
    Runs,
    /// What waits for a person.
    Approvals,
    /// What could not be handled.
    Dead,
    /// Workers, queues, breakers.
    Fleet,
    /// Money and tokens.
    Cost,
    /// Definitions and tools.
    Workflows,
    /// Where people log in.
    Login,
    /// None of these.
    Nowhere,
}

/// A link of the top bar.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) label: &'static str,
    pub(crate) href: &'static str,
    pub(crate) is_here: bool,
    /// How many wait there: `3`, or `99+`.
    pub(crate) count: Option<String>,
}

/// Something that the fleet needs.
#[derive(Debug)]
pub(crate) struct Dot {
    pub(crate) name: &'static str,
    pub(crate) is_well: bool,
}

/// What all pages have around them.
#[derive(Debug)]
pub(crate) struct Frame {
    /// What the page is about: its heading, and its tab's.
    pub(crate) title: String,
    section: Section,
    /// Who looks; `None` where nobody is logged in, or nobody knows.
    pub(crate) door: Option<Door>,
    /// What the page listens to for what changes: a path that serves events.
    pub(crate) live: Option<String>,
    /// What was just done, for people.
    pub(crate) notice: Option<&'static str>,
    /// `None`: not asked for, or no answer in time.
    waiting: Option<u64>,
    dead: Option<u64>,
    dots: Vec<Dot>,
}

impl Frame {
    /// A frame that says nothing of the fleet: for errors, and for who is not logged in.
    pub(crate) fn bare(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            section: Section::Nowhere,
            door: None,
            live: None,
            notice: None,
            waiting: None,
            dead: None,
            dots: Vec::new(),
        }
    }

    /// A frame, with how the fleet is now. What does not answer at once is left out.
    pub(crate) async fn load(
        app: &App,
        door: Door,
        section: Section,
        title: impl Into<String>,
    ) -> Self {
        let waiting = app.store.counts(|tenant| door.caller().sees(tenant));
        let (waiting, letters) = tokio::join!(
            timeout(PATIENCE, waiting),
            timeout(PATIENCE, app.post.letters.state()),
        );
        let waiting = waiting.ok().and_then(Result::ok);
        let letters = letters.ok().and_then(Result::ok);
        let well = [
            (
                "NATS",
                letters.is_some() && app.journal.bus().is_connected(),
            ),
            ("Redis", waiting.is_some()),
        ];
        let of_all = door.caller().tenant.is_none();
        Self {
            section,
            waiting: waiting.map(|of| of.get(&Status::Waiting).copied().unwrap_or(0)),
            dead: letters.filter(|_| of_all).map(|(count, _)| count),
            dots: well.map(|(name, is_well)| Dot { name, is_well }).into(),
            door: Some(door),
            ..Self::bare(title)
        }
    }

    /// For who is not logged in: where they could go is not theirs to see.
    pub(crate) fn login() -> Self {
        Self {
            section: Section::Login,
            ..Self::bare("Log in")
        }
    }

    /// Whether it is the page where people log in.
    pub(crate) fn is_login(&self) -> bool {
        self.section == Section::Login
    }

    /// The same, with what the page listens to.
    pub(crate) fn live(mut self, path: impl Into<String>) -> Self {
        self.live = Some(path.into());
        self
    }

    /// The same, with what was just done.
    pub(crate) fn notice(mut self, notice: Option<&'static str>) -> Self {
        self.notice = notice;
        self
    }

    /// Where one can go.
    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |section, label, href, count: Option<u64>| Place {
            label,
            href,
            is_here: section == self.section,
            count: count.filter(|count| *count > 0).map(|count| match count {
                few if few <= COUNTED_MAX => few.to_string(),
                _ => format!("{COUNTED_MAX}+"),
            }),
        };
        vec![
            place(Section::Overview, "Overview", "/", None),
            place(Section::Runs, "Runs", "/runs", None),
            place(Section::Approvals, "Approvals", "/approvals", self.waiting),
            place(Section::Dead, "Dead letters", "/dlq", self.dead),
            place(Section::Fleet, "Fleet", "/fleet", None),
            place(Section::Cost, "Cost", "/cost", None),
            place(Section::Workflows, "Workflows", "/workflows", None),
        ]
    }

    /// How what the fleet needs is.
    pub(crate) fn dots(&self) -> &[Dot] {
        &self.dots
    }

    /// How all pages look.
    pub(crate) fn style(&self) -> &'static Asset {
        &STYLE
    }

    /// What pages do beyond being read.
    pub(crate) fn script(&self) -> &'static Asset {
        &SCRIPT
    }

    /// The mark in the tab.
    pub(crate) fn icon(&self) -> &'static Asset {
        &ICON
    }
}

/// A page.
pub(crate) fn page(template: &impl Template) -> Result<Response, Problem> {
    page_with(StatusCode::OK, template)
}

/// A page that says that something went wrong.
pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    let html = fragment(template)?;
    Ok((status, Html(html)).into_response())
}

/// A part of a page, or all of it.
pub(crate) fn fragment(template: &impl Template) -> Result<String, Problem> {
    let html = template.render().map_err(|problem| {
        let detail = format!("the page cannot be made: {problem}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    Ok(seen(html))
}

/// Makes visible what would hide words or turn them around: templates have none of it, so all there is comes from outside. Joiners and
/// variation selectors stay, for scripts and emoji are made of them.
fn seen(html: String) -> String {
    let hides = |c: char| {
        is_unseen(c)
            && !matches!(
                c,
                '\n' | '\t' | '\r' | '\u{ad}' | '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}'
            )
    };
    if !html.contains(hides) {
        return html;
    }
    let mut seen = String::with_capacity(html.len() + 64);
    for c in html.chars() {
        if hides(c) {
            seen += &format!("\u{27e8}U+{:04X}\u{27e9}", u32::from(c));
        } else {
            seen.push(c);
        }
    }
    seen
}

/// Puts on every answer what browsers may do with it. What is about the fleet is not kept by them.
pub(crate) async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let all = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        let value = HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_words_around_is_made_visible_and_what_scripts_are_made_of_stays() {
        let text = "ab\u{202e}cd\u{1b}[31m\n\t👩\u{200d}🚒 می\u{200c}خواهم";
        let shown = seen(text.to_owned());
        assert_eq!(
            shown,
            "ab⟨U+202E⟩cd⟨U+001B⟩[31m\n\t👩\u{200d}🚒 می\u{200c}خواهم"
        );
        assert_eq!(seen("plain".to_owned()), "plain");
    }

    #[test]
    fn a_place_says_how_many_wait_there_and_nothing_where_none_do() {
        let mut frame = Frame::bare("x");
        frame.waiting = Some(0);
        frame.dead = Some(240);
        let counts: Vec<_> = frame.places().into_iter().filter_map(|p| p.count).collect();
        assert_eq!(counts, ["99+"]);
    }
}
