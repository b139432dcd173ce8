//! What the forms of pages send.

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts as _, Request},
    http::HeaderMap,
};
use flotilla_common::io::http::Problem;

use super::door::Door;
use crate::{body, problem::bad_request};

/// How browsers send forms.
const FORM: &str = "application/x-www-form-urlencoded";
/// Longest form: it may bring an event or the parameters of a tool, written with three bytes where they have one.
const BYTES_MAX: usize = 2 << 20;
/// The field that shows that the form is from one of our pages.
const CSRF: &str = "csrf";

/// A form of one of our pages: it has brought what others cannot know.
#[derive(Debug)]
pub(crate) struct Form {
    /// Who sends it.
    pub(crate) door: Door,
    fields: Vec<(String, String)>,
}

impl Form {
    /// A field as it was typed; `None` when it is missing or blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        get(&self.fields, name)
    }

    /// A field that must be there.
    pub(crate) fn must(&self, name: &str) -> Result<&str, Problem> {
        self.get(name)
            .ok_or_else(|| bad_request(format!("the form lacks `{name}`")))
    }

    /// Whether a box is ticked.
    pub(crate) fn is_ticked(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let door = Door::from_request_parts(&mut parts, state).await?;
        let fields = fields(&parts.headers, body).await?;
        let form = Self { door, fields };
        form.door.check_csrf(form.get(CSRF).unwrap_or_default())?;
        Ok(form)
    }
}

/// The fields of a form, whoever sends it.
pub(crate) async fn fields(
    headers: &HeaderMap,
    body: Body,
) -> Result<Vec<(String, String)>, Problem> {
    body::media_type(headers, &[FORM])?;
    let bytes = body::read(body, BYTES_MAX).await?;
    Ok(form_urlencoded::parse(&bytes).into_owned().collect())
}

/// A field as it was typed; `None` when it is missing or blank.
pub(crate) fn get<'f>(fields: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let (_, value) = fields.iter().find(|(field, _)| field == name)?;
    Some(value.as_str()).filter(|value| !value.trim().is_empty())
}

/// The value of a query's field, or of a form's, as part of a URL.
pub(crate) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
