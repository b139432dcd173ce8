//! Prices, bounds and broken tables.

use proptest::prelude::*;

use super::*;
use crate::claude::CacheCreation;

#[test]
fn costs_are_exact_and_long_prompts_cost_more() -> Result<(), ModelsError> {
    let models = Models::built_in()?;
    let cost = |name: &str, usage: Usage| {
        let model = models.find(name);
        model.map(|m| m.cost(&usage, Tier::Standard).nano())
    };
    let usage = Usage {
        input_tokens: 1_000,
        cache_creation_input_tokens: 100,
        cache_read_input_tokens: 10,
        output_tokens: 1,
        ..Usage::default()
    };
    assert_eq!(cost("haiku", usage), Some(100_000 + 12_500 + 100 + 500));
    let long = Usage {
        cache_read_input_tokens: 100_000,
        ..usage
    };
    assert_eq!(
        cost("claude-haiku-5-5", long),
        Some(500_000 + 62_500 + 5_000_000 + 2_500)
    );
    assert_eq!(
        cost("claude-haiku-4-5-20251001", usage),
        Some(1_000_000 + 125_000 + 1_000 + 5_000)
    );
    let hour = Usage {
        cache_creation: CacheCreation {
            ephemeral_5m_input_tokens: 40,
            ephemeral_1h_input_tokens: 60,
        },
        ..usage
    };
    assert_eq!(
        cost("haiku", hour),
        Some(100_000 + 40 * 125 + 60 * 200 + 100 + 500)
    );
    assert_eq!(cost("claude-nova", usage), None);
    Ok(())
}

#[test]
fn a_batch_costs_its_share_of_everything_rounded_up() -> Result<(), ModelsError> {
    let models = Models::built_in()?;
    let cost = |usage: Usage| {
        models
            .find("haiku")
            .map(|m| m.cost(&usage, Tier::Batch).nano())
    };
    let usage = Usage {
        input_tokens: 1_000,
        output_tokens: 1,
        ..Usage::default()
    };
    assert_eq!(cost(usage), Some(50_000 + 250));
    let odd = Usage {
        cache_creation_input_tokens: 1,
        ..Usage::default()
    };
    assert_eq!(cost(odd), Some(63));
    Ok(())
}

#[test]
fn the_built_in_prices_keep_the_providers_ratios() -> Result<(), ModelsError> {
    for model in Models::built_in()?.models {
        let tiers = model.long.iter().map(|(_, long)| long);
        for prices in tiers.chain([&model.prices]) {
            assert_eq!(prices.output, prices.input * 5, "{}", model.id);
            assert_eq!(prices.cache_write, prices.input * 5 / 4, "{}", model.id);
            assert_eq!(prices.cache_write_1h, prices.input * 2, "{}", model.id);
            assert!(prices.cache_read * 10 <= prices.input, "{}", model.id);
        }
        assert_eq!(model.batch, 500, "{}", model.id);
    }
    Ok(())
}

#[test]
fn models_share_limits_where_the_table_says_so() -> Result<(), ModelsError> {
    let models = Models::built_in()?;
    let family = |name: &str| models.find(name).map(|model| model.family.as_str());
    assert_eq!(family("haiku"), Some("claude-haiku-5-5"));
    assert_eq!(family("claude-opus-4-5-20251101"), Some("claude-opus-4"));
    assert_eq!(family("claude-opus-4-8"), Some("claude-opus-4"));
    Ok(())
}

#[test]
fn the_worst_case_takes_the_long_price_only_where_the_prompt_can_be_that_long()
-> Result<(), ModelsError> {
    let models = Models::built_in()?;
    let worst = |input, output| {
        let model = models.find("haiku");
        model.map(|m| m.worst_cost(input, output).nano())
    };
    assert_eq!(worst(100_000, 10), Some(100_000 * 200 + 10 * 500));
    assert_eq!(worst(100_001, 10), Some(100_001 * 1_000 + 10 * 2_500));
    assert_eq!(worst(u64::MAX, 10), Some(u64::MAX));
    Ok(())
}

/// A table whose row has these lines instead of, or besides, good ones.
fn table(lines: &str) -> Result<Models, ModelsError> {
    let good = [
        ("id", "'a'"),
        ("input", "1.0"),
        ("output", "1.0"),
        ("cache_write", "1.0"),
        ("cache_write_1h", "1.0"),
        ("cache_read", "1.0"),
    ];
    let given = |key: &str| {
        lines
            .lines()
            .any(|line| line.split_once('=').is_some_and(|(k, _)| k.trim() == key))
    };
    let rest = good
        .iter()
        .filter(|(key, _)| !given(key))
        .map(|(key, value)| format!("{key}={value}\n"));
    let rest: String = rest.collect();
    Models::parse(
        "m.toml",
        &format!("date='x'\nbatch=0.5\n[[model]]\n{rest}{lines}"),
    )
}

fn shown(table: Result<Models, ModelsError>) -> String {
    table.map_err(|e| e.to_string()).err().unwrap_or_default()
}

#[test]
fn a_wrong_table_says_where() {
    assert!(table("").is_ok());
    let unknown = Models::parse("m.toml", "date='x'\nbatch=0.5\n[[model]]\nid='a'\nprice=1");
    assert!(shown(unknown).contains("line 5"));
    let problems = [
        ("input=-1.0", "a price must be"),
        ("cache_write_1h=0.0001", "a price must be"),
        ("cache_read=nan", "a price must be"),
        ("batch=1.5", "`batch` must be"),
        ("batch=-0.5", "`batch` must be"),
        ("family=''", "its family"),
        ("family='a{b}'", "its family"),
        (
            "long={over=1,input=1.0,output=1.0,cache_write=1.0,cache_write_1h=-1.0,cache_read=1.0}",
            "a price must be",
        ),
    ];
    for (line, problem) in problems {
        let shown = shown(table(line));
        assert!(
            shown.contains("model `a`") && shown.contains(problem),
            "{line}: {shown}"
        );
    }
    let prices = "input=1.0\noutput=1.0\ncache_write=1.0\ncache_write_1h=1.0\ncache_read=1.0";
    let rows = format!("[[model]]\nid='a'\n{prices}\n[[model]]\nid='b'\nalias='a'\n{prices}");
    let twice = shown(Models::parse(
        "m.toml",
        &format!("date='x'\nbatch=0.5\n{rows}"),
    ));
    assert!(twice.contains("model `b`: its id or alias"), "{twice}");
}

proptest! {
    #[test]
    fn no_call_within_its_bounds_costs_more_than_the_worst_case(
        prices in prop::array::uniform10(0_u32..50_000),
        over in 0_u64..5_000,
        batch in 0_u32..=1_000,
        input in prop::array::uniform5(0_u64..3_000),
        output in 0_u32..3_000,
        slack in (0_u64..2_000, 0_u32..2_000),
    ) {
        let dollars = |at: usize| f64::from(prices[at]) / 1_000.0;
        let row = |from: usize, between: &str| {
            let keys = ["input", "output", "cache_write", "cache_write_1h", "cache_read"];
            let pairs = keys.iter().enumerate().map(|(i, key)| format!("{key} = {:?}", dollars(from + i)));
            pairs.collect::<Vec<_>>().join(between)
        };
        let lines = format!("{}\nbatch = {:?}\nlong = {{over = {over}, {}}}", row(0, "\n"), f64::from(batch) / 1_000.0, row(5, ", "));
        let models = table(&lines);
        prop_assert!(models.is_ok(), "{models:?}");
        let usage = Usage {
            input_tokens: input[0],
            cache_creation_input_tokens: input[1],
            cache_read_input_tokens: input[2],
            output_tokens: output.into(),
            cache_creation: CacheCreation { ephemeral_5m_input_tokens: input[3], ephemeral_1h_input_tokens: input[4] },
        };
        for model in models.iter().filter_map(|models| models.find("a")) {
            let worst = model.worst_cost(usage.prompt_tokens() + slack.0, output + slack.1);
            prop_assert!(model.cost(&usage, Tier::Standard) <= worst);
            prop_assert!(model.cost(&usage, Tier::Batch) <= worst);
        }
    }
}

#[test]
fn limits_are_of_a_family_that_is_there_and_set_once() {
    let with = |limits: &str| Models::parse("m.toml", &format!("{BUILT_IN}\n{limits}"));
    let set = with("[[limit]]\nfamily = 'claude-haiku-5-5'\nrequests = 50\noutput_tokens = 8_000");
    let limits = Limits {
        requests: Some(50),
        input: None,
        output: Some(8_000),
    };
    let set = set.unwrap();
    assert_eq!(set.limits(), [("claude-haiku-5-5".to_owned(), limits)]);
    let one = "[[limit]]\nfamily = 'claude-haiku-5-5'\nrequests = 5\n";
    for (wrong, why) in [
        (
            "[[limit]]\nfamily = 'haiku'\nrequests = 5".to_owned(),
            "no model is of this family",
        ),
        (format!("{one}{one}"), "there twice"),
        (
            "[[limit]]\nfamily = 'claude-haiku-5-5'\nrequests = 0".to_owned(),
            "more than 0",
        ),
    ] {
        let told = with(&wrong).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}
