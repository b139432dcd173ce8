//! Lines over time: what does not add up.

use super::{
    Data, Series, Together,
    figure::{Told, figure, strips},
    markup::Markup,
    scale::{Times, Values, point},
};

/// A line per series; where nothing is known it is broken.
pub(crate) fn lines(data: &Data) -> Markup {
    let drawn = data.drawn(Together::Most);
    let len = data.times.len();
    let most = drawn.iter().map(|(one, _)| one.most(len));
    let values = Values::up_to(data.unit, most.fold(0.0, f64::max));
    let mut svg = Markup::default();
    values.draw(&mut svg);
    data.times.draw(&mut svg);
    for (one, class) in &drawn {
        svg.raw("<path class=\"line ").plain(class).raw("\" d=\"");
        path(&mut svg, one, &data.times, &values);
        svg.raw("\"/>");
    }
    strips(&mut svg, data, &drawn);
    figure(data, &drawn, Told::Last, &svg)
}

fn path(svg: &mut Markup, one: &Series, times: &Times, values: &Values) {
    let mut before = None;
    for index in 0..times.len() {
        let here = one.at(index);
        let Some(value) = here else {
            before = None;
            continue;
        };
        let (x, y) = (point(times.middle(index)), point(values.y(value)));
        match before {
            // A value between two gaps is a dot: a line of no length with round ends.
            None => svg.raw("M").plain(&x).raw(" ").plain(&y).raw("H").plain(x),
            Some(_) => svg.raw("L").plain(x).raw(" ").plain(y),
        };
        before = here;
    }
}
