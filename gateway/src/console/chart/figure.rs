//! What stands around a chart: its title, what it says in words, the legend, the table.

use super::{
    Data, Series,
    markup::Markup,
    scale::{HEIGHT, WIDTH},
};

/// What the legend says of a series besides its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// All of it: of what adds up.
    Total,
    /// The last value: of what does not.
    Last,
}

/// A drawn series and its class.
pub(super) type Drawn = [(Series, String)];

/// A chart with all that belongs to it.
pub(super) fn figure(data: &Data, drawn: &Drawn, told: Told, inside: &Markup) -> Markup {
    let mut all = Markup::default();
    all.raw("<figure class=\"chart\" id=\"").plain(data.id);
    all.raw("\"><figcaption><span class=\"chart-title\">")
        .text(&data.title);
    all.raw("</span> <span class=\"chart-span\">")
        .text(&data.span);
    all.raw("</span></figcaption>");
    if data.is_empty() {
        all.raw("<p class=\"chart-empty\">").text(data.nothing);
        all.raw("</p></figure>");
        return all;
    }
    all.raw("<svg viewBox=\"0 0 ")
        .plain(WIDTH)
        .raw(" ")
        .plain(HEIGHT);
    all.raw("\" role=\"img\" aria-labelledby=\"");
    all.plain(data.id)
        .raw("-t ")
        .plain(data.id)
        .raw("-d\"><title id=\"");
    all.plain(data.id).raw("-t\">").text(&data.title).raw(", ");
    all.text(&data.span)
        .raw("</title><desc id=\"")
        .plain(data.id);
    all.raw("-d\">").text(&in_words(data, drawn, told));
    all.raw("</desc>").add(inside).raw("</svg>");
    legend(&mut all, data, drawn, told);
    table(&mut all, data, drawn, told);
    all.raw("</figure>");
    all
}

fn figure_of(one: &Series, data: &Data, told: Told) -> String {
    let len = data.times.len();
    match told {
        Told::Total => data.unit.value(one.total(len)),
        Told::Last => one
            .last(len)
            .map_or_else(|| "not known".to_owned(), |last| data.unit.value(last)),
    }
}

fn in_words(data: &Data, drawn: &Drawn, told: Told) -> String {
    let len = data.times.len();
    let what = match told {
        Told::Total => "in all",
        Told::Last => "last",
    };
    let each = drawn.iter().map(|(one, _)| {
        let most = data.unit.value(one.most(len));
        format!(
            "{}: {what} {}, at most {most}",
            one.name,
            figure_of(one, data, told)
        )
    });
    let each: Vec<_> = each.collect();
    format!("Values {}. {}.", data.times.in_words(), each.join("; "))
}

fn legend(all: &mut Markup, data: &Data, drawn: &Drawn, told: Told) {
    all.raw("<ul class=\"legend\">");
    for (one, class) in drawn {
        all.raw("<li><svg class=\"swatch ").plain(class);
        all.raw("\" viewBox=\"0 0 10 10\" aria-hidden=\"true\">");
        match told {
            Told::Total => all.raw("<rect width=\"10\" height=\"10\" rx=\"2\"/>"),
            Told::Last => all.raw("<path d=\"M0 5 H10\"/>"),
        };
        all.raw("</svg><span class=\"legend-name\">")
            .text(&one.name);
        all.raw("</span> <span class=\"legend-value\">");
        all.text(&figure_of(one, data, told)).raw("</span></li>");
    }
    all.raw("</ul>");
}

/// The newest column first; those with nothing in them are left out.
fn table(all: &mut Markup, data: &Data, drawn: &Drawn, told: Told) {
    all.raw("<details class=\"chart-table\" id=\"")
        .plain(data.id);
    all.raw("-numbers\"><summary id=\"").plain(data.id);
    all.raw("-show\">Show as table</summary><div class=\"scroll\"><table><caption>");
    all.text(&data.title).raw(", ").text(&data.span);
    all.raw(", times in UTC; what is left out is nothing</caption><thead><tr><th scope=\"col\">");
    all.plain(data.times.step.noun()).raw("</th>");
    for (one, _) in drawn {
        all.raw("<th scope=\"col\" class=\"n\">")
            .text(&one.name)
            .raw("</th>");
    }
    if told == Told::Total {
        all.raw("<th scope=\"col\" class=\"n\">all</th>");
    }
    all.raw("</tr></thead><tbody>");
    for index in (0..data.times.len()).rev() {
        let values: Vec<_> = drawn.iter().map(|(one, _)| one.at(index)).collect();
        let total: f64 = values.iter().copied().flatten().sum();
        if total == 0.0 {
            continue;
        }
        all.raw("<tr><th scope=\"row\">")
            .text(&data.times.name(index))
            .raw("</th>");
        for value in values {
            let text = value.map_or_else(|| "-".to_owned(), |value| data.unit.value(value));
            all.raw("<td class=\"n\">").text(&text).raw("</td>");
        }
        if told == Told::Total {
            all.raw("<td class=\"n\">")
                .text(&data.unit.value(total))
                .raw("</td>");
        }
        all.raw("</tr>");
    }
    all.raw("</tbody></table></div></details>");
}

/// A strip over each column that says, under a pointer, what the column is.
pub(super) fn strips(svg: &mut Markup, data: &Data, drawn: &Drawn) {
    use super::scale::{FLOOR, TOP, point};

    for index in 0..data.times.len() {
        let known: Vec<_> = drawn
            .iter()
            .filter_map(|(one, _)| Some((one, one.at(index)?)))
            .filter(|(_, value)| *value > 0.0)
            .collect();
        if known.is_empty() {
            continue;
        }
        let (x, width) = data.times.column(index);
        svg.raw("<rect class=\"strip\" x=\"")
            .plain(point(x))
            .raw("\" y=\"");
        svg.plain(point(TOP)).raw("\" width=\"").plain(point(width));
        svg.raw("\" height=\"")
            .plain(point(FLOOR - TOP))
            .raw("\"><title>");
        svg.text(&data.times.name(index)).raw(" UTC");
        for (one, value) in known {
            svg.raw("\n")
                .text(&one.name)
                .raw(": ")
                .text(&data.unit.value(value));
        }
        svg.raw("</title></rect>");
    }
}
