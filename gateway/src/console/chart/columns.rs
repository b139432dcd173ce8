//! Stacked columns over time: what adds up.

use super::{
    Data, Together,
    figure::{Told, figure, strips},
    markup::Markup,
    scale::{Values, point},
};

/// Columns that stand on each other, the first series at the bottom.
pub(crate) fn columns(data: &Data) -> Markup {
    let drawn = data.drawn(Together::Sum);
    let len = data.times.len();
    let total = |index| {
        let each = drawn.iter().filter_map(|(one, _)| one.at(index));
        each.sum::<f64>()
    };
    let totals: Vec<f64> = (0..len).map(total).collect();
    let values = Values::up_to(data.unit, totals.iter().copied().fold(0.0, f64::max));
    let mut svg = Markup::default();
    values.draw(&mut svg);
    data.times.draw(&mut svg);
    let mut below = vec![0.0; len];
    for (one, class) in &drawn {
        svg.raw("<path class=\"area ").plain(class).raw("\" d=\"");
        for (index, below) in below.iter_mut().enumerate() {
            let Some(value) = one.at(index).filter(|value| *value > 0.0) else {
                continue;
            };
            let (left, width) = data.times.column(index);
            let gap = (width * 0.16).min(2.0);
            let (low, high) = (values.y(*below), values.y(*below + value));
            *below += value;
            svg.raw("M")
                .plain(point(left + gap / 2.0))
                .raw(" ")
                .plain(point(low));
            svg.raw("H").plain(point(left + width - gap / 2.0));
            svg.raw("V").plain(point(high));
            svg.raw("H").plain(point(left + gap / 2.0)).raw("Z");
        }
        svg.raw("\"/>");
    }
    strips(&mut svg, data, &drawn);
    figure(data, &drawn, Told::Total, &svg)
}
