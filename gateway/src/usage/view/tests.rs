//! What is summed up is what was asked for, and nothing twice.

use super::*;

fn days() -> Vec<(Date, Vec<Sum>)> {
    let claude = |workflow: &str, model: &str, tenant: &str| Row::Claude {
        workflow: workflow.into(),
        model: model.into(),
        tenant: tenant.into(),
    };
    let runs = |workflow: &str, tenant: &str| Row::Runs {
        workflow: workflow.into(),
        tenant: tenant.into(),
    };
    let sum = |row: Row, measure: &str, sum| (row, measure.to_owned(), sum);
    let first = vec![
        sum(claude("a", "haiku", "x"), m::USD, 1),
        sum(claude("a", "sonnet", "x"), m::USD, 10),
        sum(claude("a", "sonnet", "x"), m::CALLS, 2),
        sum(claude("b", "haiku", "y"), m::USD, 100),
        sum(runs("a", "x"), m::STARTED, 1),
        sum(runs("a", "x"), m::USD, 11),
    ];
    let second = vec![
        sum(claude("a", "haiku", "x"), m::USD, 1_000),
        sum(runs("a", "x"), m::COMPLETED, 1),
    ];
    vec![
        ("2026-11-20".parse().unwrap(), first),
        ("2026-11-21".parse().unwrap(), second),
    ]
}

fn ask(by: &[By]) -> Ask {
    Ask {
        by: by.iter().copied().collect(),
        ..Ask::of("2026-11-20".parse().unwrap(), "2026-11-21".parse().unwrap())
    }
}

fn rows(ask: &Ask) -> Vec<(String, u64)> {
    let used = sum_up(ask, &Place::default(), days());
    let total: u64 = used.rows.iter().map(|row| row.used.usd_nano.nano()).sum();
    assert_eq!(total, used.total.usd_nano.nano());
    let rows = used.rows.into_iter().map(|row| {
        let Of {
            day,
            workflow,
            model,
            tenant,
        } = row.of;
        let day = day.map(|day| day.to_string());
        let parts: Vec<String> = [day, workflow, model, tenant]
            .into_iter()
            .flatten()
            .collect();
        (parts.join(" "), row.used.usd_nano.nano())
    });
    rows.collect()
}

fn named(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
    rows.iter()
        .map(|(name, usd)| ((*name).to_owned(), *usd))
        .collect()
}

#[test]
fn rows_are_told_apart_as_asked_and_their_sum_is_the_total() {
    assert_eq!(rows(&ask(&[])), named(&[("", 1_111)]));
    assert_eq!(
        rows(&ask(&[By::Model])),
        named(&[("haiku", 1_101), ("sonnet", 10)])
    );
    assert_eq!(
        rows(&ask(&[By::Tenant, By::Day])),
        named(&[
            ("2026-11-20 x", 11),
            ("2026-11-20 y", 100),
            ("2026-11-21 x", 1_000)
        ])
    );
}

#[test]
fn a_tenants_caller_sees_its_own_whatever_it_asks_for() {
    let caller = Caller {
        tenant: Some("y".parse().unwrap()),
        ..Caller::anyone()
    };
    let mut asked = ask(&[By::Workflow]);
    asked.tenant = Some("x".into());
    assert_eq!(rows(&asked.clone().seen_by(&caller)), named(&[("b", 100)]));
    assert_eq!(
        rows(&asked.seen_by(&Caller::anyone())),
        named(&[("a", 1_011)])
    );
}

#[test]
fn runs_are_counted_where_they_have_one_model_or_none_is_asked_for() {
    let runs = |ask: &Ask| sum_up(ask, &Place::default(), days()).total.runs;
    let all = runs(&ask(&[By::Workflow])).unwrap();
    assert_eq!((all.started, all.completed), (1, 1));
    assert_eq!(runs(&ask(&[By::Model])), None);
    let mut of_haiku = ask(&[]);
    of_haiku.model = Some("haiku".into());
    assert_eq!(runs(&of_haiku), None);
    assert_eq!(rows(&of_haiku), named(&[("", 1_101)]));
}
