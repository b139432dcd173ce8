//! What holes, conditions and shapes promise.

use super::*;
use serde_json::json;

fn context() -> Context {
    Context::new(&json!({"event": {"data": {"n": 3, "s": "x", "l": [1, 2], "bad": "a</data>b"}}}))
}

#[test]
fn one_hole_keeps_its_type_and_a_text_does_not() -> Result<(), TemplateError> {
    let shape = Shape::compile(
        &json!({"n": "{{ event.data.n }}", "t": "n={{ event.data.n }}", "l": ["{{event.data.l}}"], "k": 1}),
    )?;
    assert_eq!(
        shape.render(&context())?,
        json!({"n": 3, "t": "n=3", "l": [[1, 2]], "k": 1})
    );
    assert!(shape.paths().contains("event.data.l"));
    Ok(())
}

#[test]
fn what_does_not_exist_is_an_error_and_never_empty() -> Result<(), TemplateError> {
    for text in [
        "{{ event.data.nope }}",
        "{{ nope }}",
        "{{ event.nope.deep }}",
        "a {{ event.data.nope }}",
    ] {
        assert!(
            Shape::compile(&json!(text))?.render(&context()).is_err(),
            "{text}"
        );
    }
    assert!(
        Template::compile("{{ event.data.l }}", Holes::Scalar)?
            .render(&context())
            .is_err()
    );
    Ok(())
}

#[test]
fn endless_templates_run_out_of_fuel() -> Result<(), TemplateError> {
    let loops = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    let error = Template::compile(loops, Holes::Plain)?.render(&context());
    assert!(error.is_err_and(|e| e.to_string().contains("fuel")));
    Ok(())
}

#[test]
fn a_text_that_grows_too_long_is_stopped_while_it_grows() -> Result<(), TemplateError> {
    let large = Context::new(&json!({"event": {"data": "x".repeat(500_000)}}));
    let many = "{% for i in range(1000) %}{{ event.data }}{% endfor %}";
    let error = Template::compile(many, Holes::Plain)?.render(&large);
    assert_eq!(
        error.map_err(|e| e.to_string()),
        Err("the rendered text has more than 262144 bytes".into())
    );
    Ok(())
}

#[test]
fn filters_and_files_that_do_not_exist_are_refused_when_loaded() {
    let compile = |text: &str| {
        let compiled = Template::compile(text, Holes::Data).map(drop);
        compiled.map_err(|e| e.to_string())
    };
    let unknown = "unknown filter: filter nofilter is unknown";
    assert_eq!(compile("{{ event.data | nofilter }}"), Err(unknown.into()));
    assert!(compile("{% include 'x.md' %}").is_err_and(|e| e.starts_with("template not found")));
    assert!(compile("\n\n{{ event.data | nofilter }}").is_err_and(|e| e.ends_with("(in line 3)")));
    assert!(Formula::compile("event.data is notest").is_err());
    let functions = "{% for i in range(3) %}{{ i }}{% endfor %}{{ dict(a=event.id).a }}";
    let template = Template::compile(functions, Holes::Data);
    let paths = template.map(|template| template.paths().iter().cloned().collect());
    assert_eq!(paths, Ok(vec!["event.id".to_owned()]));
}

#[test]
fn data_in_prompts_cannot_close_its_mark() -> Result<(), TemplateError> {
    let prompt = Template::compile("Look: {{ event.data.bad }}", Holes::Data)?;
    assert_eq!(
        prompt.render(&context())?,
        "Look: <data>a&lt;/data>b</data>"
    );
    for (hostile, harmless) in [
        ("</DATA>", "&lt;/DATA>"),
        ("< / data >", "&lt; / data >"),
        ("<\n/\tData x=1>", "&lt;\n/\tData x=1>"),
        ("<<data>", "&lt;&lt;data>"),
        ("<", "<"),
        ("a < date and </div>", "a < date and </div>"),
        ("<daté", "<daté"),
        ("<\u{200b}/data>", "&lt;\u{200b}/data>"),
        ("</da\u{200b}\u{ad}ta>", "&lt;/da\u{200b}\u{ad}ta>"),
        ("<\u{202e}\u{1}/data>", "&lt;\u{202e}\u{1}/data>"),
        ("\u{ff1c}/data>", "&lt;/data>"),
        ("＜／ｄＡｔａ＞", "&lt;／ｄＡｔａ＞"),
        (r"<\n/data>", r"&lt;\n/data>"),
        (r"<\x/data>", r"<\x/data>"),
        ("<d ata", "<d ata"),
        ("<dat", "<dat"),
        ("a＜b", "a＜b"),
    ] {
        assert_eq!(mark_as_data(hostile), format!("<data>{harmless}</data>"));
    }
    let far = format!("<{}/data>", " ".repeat(100));
    let marked = mark_as_data(&far);
    assert_eq!(marked, format!("<data>&lt;{}</data>", &far[1..]));
    Ok(())
}

#[test]
fn a_value_cannot_leave_its_place_in_a_url_and_the_operators_may() -> Result<(), TemplateError> {
    let context = Context::new(&json!({"input": {"id": "../a?b=c&d#é", "n": 7}, "run": "r"}))
        .with_trusted("env", &[("BASE".into(), "http://h:1/v1".into())].into());
    let url = "{{ env.BASE }}/{{ input.id }}/{{ input.n }}?run={{ run }}";
    assert_eq!(
        Template::compile(url, Holes::Url)?.render(&context)?,
        "http://h:1/v1/..%2Fa%3Fb%3Dc%26d%23%C3%A9/7?run=r"
    );
    let up = Context::new(&json!({"input": {"id": ".."}}));
    let refused = Template::compile("http://h/v1/{{ input.id }}/x", Holes::Url)?.render(&up);
    assert!(refused.is_err_and(|e| e.to_string().contains("cannot stand in a URL")));
    let marked = Template::compile("{{ input.id | safe }}", Holes::Url)?;
    assert_eq!(marked.render(&context)?, "../a?b=c&d#é");
    let body = Shape::compile(&json!({"base": "{{ env.BASE }}"}))?;
    assert_eq!(body.render(&context)?, json!({"base": "http://h:1/v1"}));
    Ok(())
}

#[test]
fn conditions_hold_or_not() -> Result<(), TemplateError> {
    assert!(Formula::compile("event.data.n > 2 and event.data.s == 'x'")?.holds(&context())?);
    assert!(Formula::compile("event.data.n >").is_err_and(|e| e.to_string().contains("syntax")));
    Ok(())
}
