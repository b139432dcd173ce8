//! When expressions fall due, beside a walk from minute to minute that knows nothing of how they are found.

use proptest::prelude::*;

use super::*;

/// Germany's rule, as zones without a database write it: an hour forward on the last Sunday of March at 2:00, back on that of
/// October at 3:00.
const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
/// Lord Howe Island: half an hour of daylight saving, in the southern summer.
const LORD_HOWE: &str = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
const NEW_YORK: &str = "EST5EDT,M3.2.0,M11.1.0";
const ZONES: [&str; 4] = ["UTC0", BERLIN, LORD_HOWE, NEW_YORK];

fn cron(expression: &str, zone: &str) -> Cron {
    Cron::new(expression, "test", TimeZone::posix(zone).unwrap()).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next due times after a time, as the zone's clocks show them.
fn next(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let cron = cron(expression, zone);
    let first = cron.next_after(at(after));
    let all = std::iter::successors(first, |due| cron.next_after(*due));
    let shown = all
        .take(count)
        .map(|due| cron.local(due).strftime("%a %F %T %:z"));
    shown.map(|due| due.to_string()).collect()
}

#[test]
fn fields_are_numbers_names_ranges_lists_and_steps() {
    let after = "2026-11-21T15:26:00.5Z";
    for (expression, due) in [
        ("0 9 * * 1-5", "Mon 2026-11-23 09:00:00 +00:00"),
        ("0 9 * * MON-fri", "Mon 2026-11-23 09:00:00 +00:00"),
        ("26 15 * * *", "Sun 2026-11-22 15:26:00 +00:00"),
        ("*/20 * * * *", "Sat 2026-11-21 15:40:00 +00:00"),
        ("5-50/7 15 * * *", "Sat 2026-11-21 15:33:00 +00:00"),
        ("0 0 1 jan,Jul *", "Fri 2027-01-01 00:00:00 +00:00"),
        ("0 0 * * FRI-SUN", "Sun 2026-11-22 00:00:00 +00:00"),
        ("0 0 * * 7", "Sun 2026-11-22 00:00:00 +00:00"),
        ("0 0 * * 5-7/2", "Sun 2026-11-22 00:00:00 +00:00"),
        ("0 0 29 2 *", "Tue 2028-02-29 00:00:00 +00:00"),
        ("* * * * * *", "Sat 2026-11-21 15:26:01 +00:00"),
        ("*/30 26 15 * * *", "Sat 2026-11-21 15:26:30 +00:00"),
        ("  0   9 * *  * ", "Sun 2026-11-22 09:00:00 +00:00"),
    ] {
        assert_eq!(next(expression, "UTC0", after, 1), [due], "{expression}");
    }
    assert_eq!(cron("  0   9 * *  * ", "UTC0").expression(), "0 9 * * *");
}

#[test]
fn of_two_restricted_days_one_is_enough_and_a_star_restricts_nothing() {
    // The 13th, and every Friday.
    assert_eq!(
        next("0 0 13 * 5", "UTC0", "2026-11-01T00:00:00Z", 3),
        [
            "Fri 2026-11-06 00:00:00 +00:00",
            "Fri 2026-11-13 00:00:00 +00:00",
            "Fri 2026-11-20 00:00:00 +00:00"
        ]
    );
    assert_eq!(
        next("0 0 13 * 5", "UTC0", "2026-12-11T00:00:00Z", 1),
        ["Sun 2026-12-13 00:00:00 +00:00"]
    );
    // Fridays on a day with an odd number.
    assert_eq!(
        next("0 0 */2 * 5", "UTC0", "2026-11-01T00:00:00Z", 2),
        [
            "Fri 2026-11-13 00:00:00 +00:00",
            "Fri 2026-11-27 00:00:00 +00:00"
        ]
    );
}

#[test]
fn what_the_clocks_jump_over_falls_due_right_after_the_gap() {
    assert_eq!(
        next("30 2 * * *", BERLIN, "2026-03-27T12:00:00Z", 3),
        [
            "Sat 2026-03-28 02:30:00 +01:00",
            "Sun 2026-03-29 03:00:00 +02:00",
            "Mon 2026-03-30 02:30:00 +02:00"
        ]
    );
    // All of the hour is one time, and so is what is due at its end anyway.
    assert_eq!(
        next("*/30 * * * *", BERLIN, "2026-03-29T00:15:00Z", 3),
        [
            "Sun 2026-03-29 01:30:00 +01:00",
            "Sun 2026-03-29 03:00:00 +02:00",
            "Sun 2026-03-29 03:30:00 +02:00"
        ]
    );
}

#[test]
fn what_the_clocks_show_twice_falls_due_the_first_time() {
    assert_eq!(
        next("30 2 * * *", BERLIN, "2026-10-24T12:00:00Z", 2),
        [
            "Sun 2026-10-25 02:30:00 +02:00",
            "Mon 2026-10-26 02:30:00 +01:00"
        ]
    );
    // Asked in the second of the two hours.
    assert_eq!(
        next("45 2,3 * * *", BERLIN, "2026-10-25T01:10:00Z", 1),
        ["Sun 2026-10-25 03:45:00 +01:00"]
    );
    assert_eq!(
        next("59 * * * * *", BERLIN, "2026-10-25T00:59:59Z", 1),
        ["Sun 2026-10-25 03:00:59 +01:00"]
    );
}

#[test]
fn a_zone_of_the_database_goes_by_its_own_history() {
    let samoa = timezone("Pacific/Apia").expect("tzdata is installed");
    let cron = Cron::new("0 12 * * *", "Pacific/Apia", samoa).unwrap();
    // Samoa had no 30th of December in 2011: it went over the date line.
    let due = cron.next_after(at("2011-12-29T23:00:00Z"));
    assert_eq!(due, Some(at("2011-12-30T10:00:00Z")));
    let due = cron.next_after(at("2011-12-30T10:00:00Z"));
    assert_eq!(due, Some(at("2011-12-30T22:00:00Z")));
    assert!(cron.is_due(at("2011-12-30T22:00:00Z")));
    assert!(!cron.is_due(at("2011-12-30T22:00:00.1Z")));
    assert!(!cron.is_due(at("2011-12-30T22:00:01Z")));
}

#[test]
fn what_comes_seldom_is_found_and_what_never_comes_is_refused() {
    // 2100 is no leap year.
    assert_eq!(
        next("0 0 29 2 *", "UTC0", "2096-03-01T00:00:00Z", 1),
        ["Fri 2104-02-29 00:00:00 +00:00"]
    );
    // A leap day that is a Sunday: every 28 years, but 40 around 2100.
    assert_eq!(
        next("0 0 29 2 */7", "UTC0", "2088-03-01T00:00:00Z", 1),
        ["Sun 2128-02-29 00:00:00 +00:00"]
    );
    for never in ["0 0 30 2 *", "0 0 31 4,6,9,11 *"] {
        let error = Cron::new(never, "UTC", TimeZone::UTC).unwrap_err();
        assert!(error.message.contains("never fire"), "{never}: {error}");
    }
    // Either day is enough: Sundays in February.
    assert!(Cron::new("0 0 30 2 0", "UTC", TimeZone::UTC).is_ok());
    let last = cron("0 0 1 1 *", "UTC0").next_after(at("9999-01-01T00:00:00Z"));
    assert_eq!(last, None);
}

/// A part of a field: from, to, step.
type Part = (i8, i8, i8);

#[derive(Debug, Clone)]
struct Fields([Vec<Part>; 5]);

const BOUNDS: [(i8, i8); 5] = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];

impl Fields {
    fn text(&self) -> String {
        let part = |bounds: (i8, i8)| {
            move |&(from, to, step): &Part| match ((from, to) == bounds, from == to, step) {
                (true, _, 1) => "*".to_owned(),
                (true, _, _) => format!("*/{step}"),
                (_, true, _) => from.to_string(),
                _ => format!("{from}-{to}/{step}"),
            }
        };
        let field = |(parts, bounds): (&Vec<Part>, (i8, i8))| {
            let parts: Vec<_> = parts.iter().map(part(bounds)).collect();
            parts.join(",")
        };
        let fields: Vec<_> = self.0.iter().zip(BOUNDS).map(field).collect();
        fields.join(" ")
    }

    fn match_local(&self, local: DateTime) -> bool {
        let values = [
            local.minute(),
            local.hour(),
            local.day(),
            local.month(),
            local.weekday().to_sunday_zero_offset(),
        ];
        let hits: Vec<bool> = (self.0.iter().zip(values))
            .map(|(parts, value)| {
                let hit = |&(from, to, step): &Part| {
                    from <= value && value <= to && (value - from) % step == 0
                };
                parts.iter().any(hit)
            })
            .collect();
        let starred = |index: usize| {
            self.0[index]
                .iter()
                .any(|&(f, t, _)| (f, t) == BOUNDS[index])
        };
        let day = match starred(2) || starred(4) {
            true => hits[2] && hits[4],
            false => hits[2] || hits[4],
        };
        hits[0] && hits[1] && hits[3] && day
    }
}

fn field(index: usize) -> impl Strategy<Value = Vec<Part>> {
    let (least, most) = BOUNDS[index];
    let part = (least..=most, least..=most, 1..=9_i8)
        .prop_map(|(a, b, step)| (a.min(b), a.max(b), if a == b { 1 } else { step }));
    prop_oneof![
        3 => Just(vec![(least, most, 1)]),
        1 => (2..=9_i8).prop_map(move |step| vec![(least, most, step)]),
        2 => prop::collection::vec(part, 1..4),
    ]
}

fn fields() -> impl Strategy<Value = Fields> {
    (field(0), field(1), field(2), field(3), field(4))
        .prop_map(|(a, b, c, d, e)| Fields([a, b, c, d, e]))
}

/// Every due time in (from, until], found by standing at the clock: at each minute, what it shows now or has jumped over since it
/// showed its latest time so far is due.
fn walked(fields: &Fields, zone: &TimeZone, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let mut due = Vec::new();
    // A day earlier, so that the latest time shown is right even in an hour that comes twice.
    let mut now = from - 24.hours();
    let mut shown = zone.to_datetime(now);
    while now < until {
        now += 1.minute();
        let shows = zone.to_datetime(now);
        let mut hit = false;
        while shown < shows {
            shown += 1.minute();
            hit |= fields.match_local(shown);
        }
        if hit && now > from {
            due.push(now);
        }
    }
    due
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn due_times_are_those_that_a_walk_from_minute_to_minute_meets(
        fields in fields(),
        zone in prop::sample::select(&ZONES[..]),
        // Around a change of the clocks, where there is one: of Berlin, Lord Howe, New York.
        around in prop::sample::select(&["2026-03-29", "2026-10-25", "2026-04-04", "2026-10-03", "2026-03-08", "2026-11-01", "2028-02-29"][..]),
        minutes_before in 0..2_880_i64,
    ) {
        let text = fields.text();
        let cron = cron(&text, zone);
        let middle: Timestamp = format!("{around}T12:00:00Z").parse().unwrap();
        let from = middle - minutes_before.minutes();
        let until = middle + 12.hours();
        let expected = walked(&fields, &TimeZone::posix(zone).unwrap(), from, until);
        let all = std::iter::successors(cron.next_after(from), |due| cron.next_after(*due));
        let found: Vec<_> = all.take_while(|due| *due <= until).collect();
        prop_assert_eq!(&found, &expected, "{} in {}", text, zone);
        for due in found {
            prop_assert!(cron.is_due(due));
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-*/,0-9A-Za-z ]{0,24}") {
        let _ = Cron::new(&text, "UTC", TimeZone::UTC);
    }
}
