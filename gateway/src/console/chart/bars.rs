//! Single bars: a part of a whole, beside a number that says the same.

use super::{markup::Markup, scale::point, unit::clean};

/// The length of a bar, in its own units; it is stretched to the room there is.
const LENGTH: f64 = 100.0;
/// From this part of a limit on it is to be looked at.
const NEAR: f64 = 0.8;

/// A bar of a list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    /// How much it is.
    pub(crate) value: f64,
    /// What the longest of the list is.
    pub(crate) most: f64,
}

/// One bar of a list, as long as its part of the longest one. The number stands beside it, so it is not read aloud.
pub(crate) fn bar(bar: Bar) -> Markup {
    let part = part(bar.value, bar.most).unwrap_or(0.0).min(1.0);
    let mut svg = Markup::default();
    svg.raw("<svg class=\"bar hue1\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    svg.raw("<rect class=\"area\" height=\"8\" width=\"");
    svg.plain(point(LENGTH * part)).raw("\"/></svg>");
    svg
}

/// How much of a limit is used; what is beyond it is full. `what` says it in words.
pub(crate) fn budget(used: f64, limit: f64, what: &str) -> Markup {
    let part = part(used, limit);
    let class = match part {
        None => "muted",
        Some(part) if part >= 1.0 => "bad",
        Some(part) if part >= NEAR => "warn",
        Some(_) => "good",
    };
    let drawn = part.unwrap_or(0.0).min(1.0);
    let mut svg = Markup::default();
    svg.raw("<svg class=\"bar budget ").plain(class);
    svg.raw("\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" role=\"img\"><title>");
    svg.text(what)
        .raw("</title><rect class=\"track\" width=\"100\" height=\"8\"/>");
    svg.raw("<rect class=\"area\" height=\"8\" width=\"");
    svg.plain(point(LENGTH * drawn));
    svg.raw("\"/><line class=\"near\" x1=\"80\" x2=\"80\" y1=\"0\" y2=\"8\"/></svg>");
    svg
}

/// As [`budget`], of what is counted.
pub(crate) fn used(count: u64, room: u64, what: &str) -> Markup {
    budget(as_real(count), as_real(room), what)
}

/// How much of some work is done; the numbers stand beside it.
pub(crate) fn progress(done: u64, total: u64) -> Markup {
    let part = part(as_real(done), as_real(total)).unwrap_or(1.0).min(1.0);
    let mut svg = Markup::default();
    svg.raw("<svg class=\"bar progress hue1\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
    svg.raw("<rect class=\"track\" width=\"100\" height=\"8\"/><rect class=\"area\" height=\"8\" width=\"");
    svg.plain(point(LENGTH * part)).raw("\"/></svg>");
    svg
}

#[expect(clippy::cast_precision_loss, reason = "the length of a bar")]
fn as_real(count: u64) -> f64 {
    count as f64
}

/// `None`: there is nothing that it could be a part of.
fn part(value: f64, whole: f64) -> Option<f64> {
    let (value, whole) = (clean(value), clean(whole));
    match whole > 0.0 {
        true => Some(value / whole),
        // All of nothing is used as soon as anything is.
        false => (value > 0.0).then_some(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_turns_at_four_fifths_and_never_runs_over_its_track() {
        let class = |used, limit| {
            let bar = budget(used, limit, "<b>");
            assert!(bar.as_str().contains("<title>&lt;b&gt;</title>"));
            let class = ["good", "warn", "bad", "muted"];
            let class = class
                .into_iter()
                .find(|c| bar.as_str().contains(&format!("budget {c}")));
            let width = bar.as_str().split("height=\"8\" width=\"").nth(1).unwrap();
            (class.unwrap(), width.split('"').next().unwrap().to_owned())
        };
        assert_eq!(class(1.0, 4.0), ("good", "25.0".to_owned()));
        assert_eq!(class(3.2, 4.0), ("warn", "80.0".to_owned()));
        assert_eq!(class(9.0, 4.0), ("bad", "100.0".to_owned()));
        assert_eq!(class(0.1, 0.0), ("bad", "100.0".to_owned()));
        assert_eq!(class(0.0, 0.0), ("muted", "0.0".to_owned()));
        assert_eq!(class(f64::NAN, f64::INFINITY), ("good", "0.0".to_owned()));
    }

    #[test]
    fn the_longest_bar_of_a_list_is_full() {
        let of = |value, most| bar(Bar { value, most });
        assert!(of(5.0, 5.0).as_str().contains("width=\"100.0\""));
        assert!(of(f64::INFINITY, 1.0).as_str().contains("width=\"100.0\""));
        assert!(of(0.0, 0.0).as_str().contains("width=\"0.0\""));
    }
}
