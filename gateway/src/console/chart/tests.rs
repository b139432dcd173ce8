//! What holds for every chart, whatever is in it.

use proptest::prelude::*;

use super::{
    scale::{FLOOR, HEIGHT, LEFT, TOP, WIDTH},
    *,
};

fn data(count: usize, step: Step, unit: Unit, series: Vec<Series>) -> Data {
    Data {
        id: "any",
        title: "Runs".to_owned(),
        span: "last 60 min".to_owned(),
        nothing: "Nothing in the last hour",
        unit,
        times: Times {
            from: "2026-11-01T23:07:00Z".parse().unwrap(),
            step,
            count,
        },
        series,
    }
}

/// The drawing alone, without the legend's swatches.
fn drawing(chart: &Markup) -> &str {
    let Some((_, rest)) = chart.as_str().split_once("<svg viewBox=\"0 0 480 160\"") else {
        return "";
    };
    rest.split("</svg>").next().unwrap()
}

/// All numbers of an attribute.
fn numbers(svg: &str, attribute: &str) -> Vec<f64> {
    let begins = format!(" {attribute}=\"");
    let values = svg.split(&begins).skip(1);
    values
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect()
}

/// The points that a path goes through.
fn points(d: &str) -> Vec<(f64, f64)> {
    let mut at = (0.0, 0.0);
    let mut all = Vec::new();
    let commands = d.split_inclusive(|c: char| c.is_ascii_alphabetic());
    let mut command = ' ';
    for piece in commands {
        let text = piece.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let numbers: Vec<f64> = text
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        at = match (command, numbers.as_slice()) {
            ('M' | 'L', [x, y]) => (*x, *y),
            ('H', [x]) => (*x, at.1),
            ('V', [y]) => (at.0, *y),
            _ => at,
        };
        if !numbers.is_empty() {
            all.push(at);
        }
        command = piece.chars().last().unwrap();
    }
    all
}

fn paths(svg: &str) -> Vec<Vec<(f64, f64)>> {
    svg.split("<path ")
        .skip(1)
        .map(|rest| {
            points(
                rest.split(" d=\"")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap(),
            )
        })
        .collect()
}

fn any_value() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        2 => Just(None),
        2 => Just(Some(0.0)),
        6 => (0.0..1e6_f64).prop_map(Some),
        1 => prop::num::f64::ANY.prop_map(Some),
    ]
}

fn any_data() -> impl Strategy<Value = Data> {
    let values = prop::collection::vec(any_value(), 0..70);
    let series = prop::collection::vec(("\\PC{0,12}", values), 0..12);
    let unit = prop_oneof![
        Just(Unit::Count("runs")),
        Just(Unit::Dollars),
        Just(Unit::Seconds)
    ];
    let step = prop_oneof![Just(Step::Minute), Just(Step::Day)];
    (series, unit, step, 0..500_usize).prop_map(|(series, unit, step, count)| {
        let series = series.into_iter();
        let series = series.map(|(name, values)| Series::new(name, values));
        data(count, step, unit, series.collect())
    })
}

proptest! {
    #[test]
    fn every_chart_stays_within_its_frame_and_is_made_of_numbers(data in any_data()) {
        for chart in [columns(&data), lines(&data)] {
            let text = chart.as_str().to_lowercase();
            let shown = drawing(&chart).to_lowercase();
            for attribute in ["x", "x1", "x2"] {
                for x in numbers(&shown, attribute) {
                    prop_assert!((0.0..=WIDTH).contains(&x), "{attribute}={x}");
                }
            }
            for attribute in ["y", "y1", "y2"] {
                for y in numbers(&shown, attribute) {
                    prop_assert!((0.0..=HEIGHT).contains(&y), "{attribute}={y}");
                }
            }
            for (x, y) in paths(drawing(&chart)).into_iter().flatten() {
                prop_assert!((LEFT..=WIDTH).contains(&x), "{x}");
                prop_assert!((TOP..=FLOOR).contains(&y), "{y}");
            }
            let open = text.matches("<svg").count();
            prop_assert_eq!(open, text.matches("</svg>").count());
        }
    }

    #[test]
    fn columns_are_as_high_as_what_stands_in_them(
        given in prop::collection::vec(prop::collection::vec(0.0..1e5_f64, 8), 1..7)
    ) {
        let series = given.iter().enumerate().map(|(index, values)| {
            Series::new(index.to_string(), values.iter().copied().map(Some).collect())
        });
        let data = data(8, Step::Minute, Unit::Count("runs"), series.collect());
        let chart = columns(&data);
        let mut highest = [FLOOR; 8];
        for path in paths(drawing(&chart)) {
            for (x, y) in path {
                let column = (0..8).find(|i| {
                    let (left, width) = data.times.column(*i);
                    (left..=left + width).contains(&x)
                });
                let highest = &mut highest[column.unwrap()];
                *highest = highest.min(y);
            }
        }
        let totals: Vec<f64> = (0..8).map(|i| given.iter().map(|one| one[i]).sum()).collect();
        let most = totals.iter().copied().fold(0.0, f64::max);
        let top = scale::Values::up_to(data.unit, most);
        prop_assert!(top.top >= most * 0.999_99);
        for (drawn, total) in highest.iter().zip(totals) {
            prop_assert!((drawn - top.y(total)).abs() <= 0.11, "{drawn} {total}");
        }
    }
}

#[test]
fn a_chart_of_nothing_says_so_and_draws_nothing() {
    for series in [
        vec![],
        vec![Series::new("a", vec![])],
        vec![Series::new("a", vec![Some(0.0); 60])],
        vec![Series::new("a", vec![Some(f64::NAN), Some(-4.0)])],
    ] {
        let data = data(60, Step::Minute, Unit::Dollars, series);
        for chart in [columns(&data), lines(&data)] {
            assert!(chart.as_str().contains("Nothing in the last hour"));
            assert!(!chart.as_str().contains("<svg"));
        }
    }
}

#[test]
fn names_from_outside_are_text_wherever_they_stand() {
    let hostile = "</title><script>alert(1)</script>\"onload=\"x\u{202e}";
    let series = vec![Series::new(hostile, vec![Some(1.0); 60])];
    let mut data = data(60, Step::Minute, Unit::Count("runs"), series);
    data.title = hostile.to_owned();
    data.span = hostile.to_owned();
    for chart in [columns(&data), lines(&data)] {
        assert!(!chart.as_str().contains("<script"), "{chart}");
        assert!(!chart.as_str().contains("\"onload"), "{chart}");
        assert!(!chart.as_str().contains('\u{202e}'), "{chart}");
        assert!(chart.as_str().contains("&lt;script&gt;"));
    }
}

#[test]
fn what_is_beyond_seven_series_is_drawn_as_one_and_nothing_of_it_is_lost() {
    let series = (1..=10_u32).map(|n| Series::new(format!("w{n}"), vec![Some(f64::from(n)); 2]));
    let data = data(2, Step::Day, Unit::Dollars, series.collect());
    let drawn = data.drawn(Together::Sum);
    let names: Vec<_> = drawn.iter().map(|(one, _)| one.name.as_str()).collect();
    assert_eq!(
        names,
        ["w4", "w5", "w6", "w7", "w8", "w9", "w10", "3 others"]
    );
    let classes: Vec<_> = drawn.iter().map(|(_, class)| class.as_str()).collect();
    assert_eq!(classes.first(), Some(&"hue1"));
    assert_eq!(classes.last(), Some(&"muted"));
    let sum: f64 = drawn.iter().map(|(one, _)| one.total(2)).sum();
    assert!((sum - 110.0).abs() < 1e-9);
    // What does not add up is not added up.
    let drawn = data.drawn(Together::Most);
    let (others, _) = drawn.last().unwrap();
    assert_eq!(
        (others.name.as_str(), others.at(0)),
        ("most of 3 others", Some(3.0))
    );
}

#[test]
fn a_line_is_broken_where_nothing_is_known() {
    let values = vec![Some(1.0), Some(2.0), None, Some(3.0)];
    let data = data(
        4,
        Step::Minute,
        Unit::Seconds,
        vec![Series::new("p50", values)],
    );
    let chart = lines(&data);
    let d = drawing(&chart).split(" d=\"").nth(1).unwrap();
    let d = d.split('"').next().unwrap();
    assert_eq!(d.matches('M').count(), 2, "{d}");
    assert_eq!(d.matches('L').count(), 1, "{d}");
    assert!(chart.as_str().contains("23:10 UTC\np50: 3.00 s"), "{chart}");
}

#[test]
fn a_chart_can_be_read_aloud_and_as_a_table() {
    let values = vec![Some(2.0), Some(0.0), Some(40.0)];
    let series = vec![Series::new("completed", values).toned(Tone::Good)];
    let data = data(3, Step::Minute, Unit::Count("runs"), series);
    let chart = columns(&data);
    let text = chart.as_str();
    assert!(text.contains("role=\"img\" aria-labelledby=\"any-t any-d\""));
    assert!(text.contains(
        "Values one per minute from 23:07 to 23:09 UTC. completed: in all 42 runs, at most 40 runs."
    ));
    assert!(text.contains("<th scope=\"row\">23:09</th><td class=\"n\">40 runs</td>"));
    assert!(
        !text.contains("<th scope=\"row\">23:08</th>"),
        "nothing was there"
    );
    assert!(!text.contains(" style="), "the policy forbids it");
}
