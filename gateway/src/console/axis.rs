//! The time axis that all bars of a run's timeline share. A run that waits for a day and works for a minute is drawn so that the
//! minute can be read: where nothing is done for long, the axis is folded, and says how much is folded away.

use std::time::Duration;

use super::words::span;

/// Share of the width that a fold takes, in percent, where there are few.
const FOLD_WIDTH: f64 = 5.0;
/// Share of the width that all folds take together, in percent, at most.
const FOLDS_WIDTH_MAX: f64 = 40.0;
/// Nothing shorter is folded, in milliseconds.
const FOLD_MIN_MS: i64 = 1_000;
/// Ticks, about.
const TICKS: i64 = 5;
/// The room that a tick's words need, in percent.
const TICK_ROOM: f64 = 9.0;

/// From milliseconds since a run's beginning to percent of the width.
#[derive(Debug)]
pub(crate) struct Axis {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    from: i64,
    to: i64,
    left: f64,
    width: f64,
    is_folded: bool,
}

/// Something to be drawn on the axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mark {
    /// In percent.
    pub(crate) x: f64,
    /// In percent.
    pub(crate) width: f64,
    /// For people.
    pub(crate) label: String,
}

impl Mark {
    /// In percent.
    pub(crate) fn middle(&self) -> f64 {
        // The words of one at the edge stay within.
        (self.x + self.width / 2.0).clamp(TICK_ROOM / 2.0, 100.0 - TICK_ROOM / 2.0)
    }
}

impl Axis {
    /// An axis up to `end`, for what is done in these times.
    pub(crate) fn new(busy: &[(i64, i64)], end: i64) -> Self {
        let end = busy.iter().map(|(_, to)| *to).fold(end, i64::max).max(1);
        let mut busy: Vec<(i64, i64)> = busy
            .iter()
            .map(|(from, to)| (*from.max(&0), *to))
            .filter(|(from, to)| from <= to)
            .collect();
        busy.sort_unstable();
        let worked: i64 = merged(&busy).iter().map(|(from, to)| to - from).sum();
        let long = FOLD_MIN_MS.max(worked / 4);
        let mut gaps = Vec::new();
        let mut last = 0;
        for (from, to) in merged(&busy).into_iter().chain([(end, end)]) {
            if from - last > long {
                gaps.push((last, from));
            }
            last = to;
        }
        Self::folded(&gaps, end)
    }

    fn folded(gaps: &[(i64, i64)], end: i64) -> Self {
        let hidden: i64 = gaps.iter().map(|(from, to)| to - from).sum();
        let count = gaps.len() as f64;
        // All of it is one wait: there is nothing to make room for.
        let all = hidden >= end;
        let fold = if all {
            100.0
        } else {
            FOLD_WIDTH.min(FOLDS_WIDTH_MAX / count.max(1.0))
        };
        let per_ms = (100.0 - fold * count).max(0.0) / whole(end - hidden).max(1.0);
        let mut pieces = Vec::new();
        let (mut at, mut left) = (0, 0.0);
        let mut push = |from: i64, to: i64, is_folded: bool| {
            if to > from {
                let width = if is_folded {
                    fold
                } else {
                    whole(to - from) * per_ms
                };
                pieces.push(Piece {
                    from,
                    to,
                    left,
                    width,
                    is_folded,
                });
                left += width;
            }
        };
        for (from, to) in gaps {
            push(at, *from, false);
            push(*from, *to, true);
            at = *to;
        }
        push(at, end, false);
        Self { pieces }
    }

    /// Where a time is, in percent.
    pub(crate) fn x(&self, ms: i64) -> f64 {
        let piece = self.pieces.iter().find(|piece| ms <= piece.to);
        let Some(piece) = piece.or(self.pieces.last()) else {
            return 0.0;
        };
        let part = whole(ms - piece.from) / whole(piece.to - piece.from).max(1.0);
        piece.left + piece.width * part.clamp(0.0, 1.0)
    }

    /// Where a stretch of time is.
    pub(crate) fn stretch(&self, from: i64, to: i64, label: String) -> Mark {
        let x = self.x(from);
        Mark {
            x,
            width: (self.x(to) - x).max(0.0),
            label,
        }
    }

    /// What is folded away.
    pub(crate) fn folds(&self) -> Vec<Mark> {
        let folded = self.pieces.iter().filter(|piece| piece.is_folded);
        let mark = |piece: &Piece| Mark {
            x: piece.left,
            width: piece.width,
            label: words(piece.to - piece.from),
        };
        folded.map(mark).collect()
    }

    /// What is folded away, where there is room to say so.
    pub(crate) fn told_folds(&self) -> Vec<Mark> {
        let mut told: Vec<Mark> = Vec::new();
        for fold in self.folds() {
            let has_room = |last: &Mark| fold.middle() - last.middle() >= TICK_ROOM * 1.5;
            if told.last().is_none_or(has_room) {
                told.push(fold);
            }
        }
        told
    }

    /// Round times since the beginning, where there is room for them.
    pub(crate) fn ticks(&self) -> Vec<Mark> {
        let open: Vec<_> = self
            .pieces
            .iter()
            .filter(|piece| !piece.is_folded)
            .collect();
        let shown: i64 = open.iter().map(|piece| piece.to - piece.from).sum();
        let step = nice(shown / TICKS);
        let folds = self.told_folds();
        let mut ticks: Vec<Mark> = Vec::new();
        for piece in open {
            // What comes after a fold is told from its own beginning: round times of the whole run may be nowhere near.
            let first = (piece.from + step - 1) / step * step;
            let mut at = first;
            while at <= piece.to && ticks.len() < 24 {
                let x = self.x(at);
                let room = ticks.last().is_none_or(|last| x - last.x >= TICK_ROOM);
                let is_free = |fold: &Mark| (x - fold.middle()).abs() >= TICK_ROOM * 1.2;
                if room && folds.iter().all(is_free) && x <= 100.0 - TICK_ROOM / 2.0 {
                    ticks.push(Mark {
                        x,
                        width: 0.0,
                        label: words(at),
                    });
                }
                at += step;
            }
        }
        ticks
    }
}

/// Times that touch or overlap, as one.
fn merged(sorted: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, to) in sorted {
        match merged.last_mut() {
            Some(last) if *from <= last.1 => last.1 = last.1.max(*to),
            Some(_) | None => merged.push((*from, *to)),
        }
    }
    merged
}

/// The next of 1, 2, 5 times a power of ten milliseconds, and above a minute of what people count in.
fn nice(ms: i64) -> i64 {
    const LONG: [i64; 10] = [
        60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000,
        86_400_000,
    ];
    if ms > 30_000 {
        let found = LONG.into_iter().find(|step| *step >= ms);
        return found.unwrap_or_else(|| (ms / 86_400_000 + 1) * 86_400_000);
    }
    let mut power = 1;
    loop {
        for factor in [1, 2, 5] {
            if factor * power >= ms {
                return factor * power;
            }
        }
        power *= 10;
    }
}

fn words(ms: i64) -> String {
    match ms {
        0 => "0".to_owned(),
        1..60_000 if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        1_000..60_000 if ms % 100 == 0 => format!("{:.1} s", whole(ms) / 1_000.0),
        60_000.. if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        60_000..3_600_000 if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        _ => span(Duration::from_millis(ms.unsigned_abs())),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of a run, drawn on a screen"
)]
fn whole(ms: i64) -> f64 {
    ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_the_right_and_ends_at_the_edge_whatever_is_folded() {
        let day = 86_400_000;
        for (busy, end) in [
            (vec![], 0),
            (vec![(0, 0)], 0),
            (vec![(0, 10)], 5),
            (
                vec![(0, 1_000), (500, 2_000), (day, day + 3_000)],
                day + 3_000,
            ),
            (vec![(-50, 20), (40, 30)], 7 * day),
            (
                (0..200).map(|at| (at * day, at * day + 1_000)).collect(),
                200 * day,
            ),
        ] {
            let axis = Axis::new(&busy, end);
            let end = axis.pieces.last().unwrap().to;
            let mut last = 0.0;
            for step in 0..=1_000 {
                let x = axis.x(end / 1_000 * step);
                assert!(
                    (0.0..=100.001).contains(&x) && x >= last - 1e-9,
                    "{busy:?} {x}"
                );
                last = x;
            }
            assert!((axis.x(end) - 100.0).abs() < 1e-6, "{busy:?}");
            for mark in axis.folds().into_iter().chain(axis.ticks()) {
                assert!(mark.x >= 0.0 && mark.x + mark.width <= 100.001, "{mark:?}");
            }
        }
    }

    #[test]
    fn a_long_wait_is_folded_and_says_how_long_it_was() {
        let hour = 3_600_000;
        let axis = Axis::new(&[(0, 2_000), (hour, hour + 2_000)], hour + 2_000);
        let [fold] = &axis.folds()[..] else {
            panic!("one fold");
        };
        assert_eq!(
            (fold.width, fold.label.as_str()),
            (FOLD_WIDTH, "59 min 58 s")
        );
        assert!(
            (axis.x(2_000) - 47.5).abs() < 0.01,
            "half of the work is left of it"
        );
        let short = Axis::new(&[(0, 2_000), (2_500, 4_000)], 4_000);
        assert!(short.folds().is_empty());
        let ticks: Vec<_> = short.ticks().into_iter().map(|tick| tick.label).collect();
        assert_eq!(ticks, ["0", "1 s", "2 s", "3 s"]);
    }

    #[test]
    fn words_of_folds_and_times_keep_their_distance() {
        let minute = 60_000;
        let busy: Vec<_> = (0..6).map(|at| (at * minute, at * minute + 500)).collect();
        let axis = Axis::new(&busy, 5 * minute + 500);
        assert_eq!(axis.folds().len(), 5);
        let told = axis.told_folds();
        let words = told
            .iter()
            .map(Mark::middle)
            .chain(axis.ticks().into_iter().map(|tick| tick.x));
        let mut words: Vec<f64> = words.collect();
        words.sort_by(f64::total_cmp);
        assert!(
            words.len() > 2 && words.windows(2).all(|two| two[1] - two[0] >= TICK_ROOM),
            "{words:?}"
        );
    }

    #[test]
    fn a_run_that_only_waits_is_one_fold() {
        let axis = Axis::new(&[(0, 0)], 90_000);
        assert_eq!(axis.folds().len(), 1);
        assert!((axis.x(45_000) - 50.0).abs() < 1e-6);
    }
}
