//! Tools that are services on NATS.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    super::{problem::Report, schema::Schema, template::Holes},
    Adapter,
    yaml::ToolYaml,
};
use crate::names::subject::is_reserved;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NatsYaml {
    subject: Spanned<String>,
}

impl ToolYaml {
    pub(super) fn nats(
        &self,
        report: &mut Report<'_>,
        nats: &NatsYaml,
        input: Option<&Schema>,
    ) -> Option<Adapter> {
        let (place, text) = (nats.subject.referenced, nats.subject.value.as_str());
        let first = text.split('.').next().unwrap_or_default();
        if text.contains("{%") || text.contains("{#") {
            let help = "such as `weather.{{ input.city }}`";
            report.at(
                place,
                "a subject has holes and nothing else in braces",
                Some(help),
            );
        } else if first.contains('{') {
            let message = "the first part of a subject must not be a hole: a parameter would choose the service";
            let help = "such as `weather.{{ input.city }}`";
            report.at(place, message, Some(help));
        } else if is_reserved(first) {
            let message = format!("`{first}` is a subject of the fleet's or of the server's own");
            let help = "give the service a subject of its own, such as `weather.now`";
            report.at(place, message, Some(help));
        } else if !is_subject(text) {
            let message = format!("`{text}` is no subject");
            let help = "its parts have letters, digits, `_`, `-` and holes, with dots between: no `*`, no `>`, no space";
            report.at(place, message, Some(help));
        }
        let subject = self.template(report, &nats.subject, Holes::Token, input)?;
        Some(Adapter::Nats { subject })
    }
}

/// Whether a text with holes is a subject, whatever the holes will hold.
fn is_subject(text: &str) -> bool {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, hole)) = rest.split_once("{{") {
        filled.push_str(before);
        filled.push('x');
        rest = hole.split_once("}}").map_or("", |(_, after)| after);
    }
    filled.push_str(rest);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    filled
        .split('.')
        .all(|part| !part.is_empty() && part.bytes().all(fits))
}

#[cfg(test)]
mod tests {
    use super::is_subject;

    #[test]
    fn holes_are_parts_of_a_subject_and_wildcards_are_not() {
        for good in ["a", "a.b-c_d", "a.{{ input.b }}.c", "a.x{{ input.b }}y"] {
            assert!(is_subject(good), "{good}");
        }
        for bad in [
            "",
            "a..b",
            ".a",
            "a.",
            "a.*",
            "a.>",
            "a b",
            "a.{{ b }} c",
            "$SYS.a",
        ] {
            assert!(!is_subject(bad), "{bad}");
        }
    }
}
