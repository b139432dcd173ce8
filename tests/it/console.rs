//! The console, as a browser without JavaScript sees it: whole pages, forms, and nothing that anybody wrote taken for more than text.
//! What scripts add is in [`browser`].

mod browser;
mod login;
mod pages;

use flotilla_tests::{Fleet, PATIENCE, Sink, Workflows, eventually};
use reqwest::{Client, redirect::Policy};
use serde_json::{Value, json};

/// Whatever could be taken for more than text: markup, an end of an attribute, and what turns words around.
pub(crate) const HOSTILE: &str =
    "</pre><script>alert(1)</script>\"><img src=x onerror=alert(2)> '`{{7*7}} \u{202e}txet";

const DESK: &str = "
workflow: desk
version: 1
on: {event: test.desk}
model: haiku
limits: {usd: 0.5}
steps:
  - id: sort
    claude:
      prompt: 'What is it? {{ event.data.text }}'
      output: {type: object, properties: {level: {type: string}}, required: [level], additionalProperties: false}
  - id: work
    agent:
      goal: Repair what is broken.
      tools: [repair@1]
      ends: [resolve, escalate]
      max_loops: 4
";

const POLICIES: &str = "
policies:
  - policy: sort
    when: \"'Step: sort' in system\"
    rules:
      - use: answer
        with: {reasoning: HOSTILE, confidence: 0.9, with: {level: HOSTILE}}
  - policy: work
    when: \"'Step: work' in system\"
    rules:
      - when: calls | length == 0
        use: repair
        with: {reasoning: HOSTILE, confidence: 0.9, with: {part: HOSTILE}}
      - when: last.error
        use: escalate
        with: {reasoning: It is not to be., confidence: 0.9, summary: HOSTILE}
      - use: resolve
        with: {reasoning: It is repaired., confidence: 0.9, summary: HOSTILE}
";

/// A fleet whose repairs wait for people, with a model that says what it is given to say.
pub(crate) struct Stage {
    pub(crate) fleet: Fleet,
    pub(crate) sink: Sink,
    http: Client,
}

/// A page.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) policy: String,
    pub(crate) kind: String,
    pub(crate) location: Option<String>,
    pub(crate) html: String,
}

impl Stage {
    pub(crate) async fn start(says: &str) -> Self {
        let sink = Sink::start().await;
        let tools = format!(
            "
tools:
  - tool: repair
    version: 1
    description: Repairs a part.
    risk: high
    input: {{type: object, properties: {{part: {{type: string, maxLength: 200}}}}, required: [part], additionalProperties: false}}
    effect: idempotent
    http: {{method: POST, url: '{}', body: {{part: '{{{{ input.part }}}}'}}}}
",
            sink.url("/repair")
        );
        let says = json!(format!("{{% raw %}}{says}{{% endraw %}}")).to_string();
        let files = [
            ("desk.yaml", DESK.to_owned()),
            ("tools.yaml", tools),
            ("policies.yaml", POLICIES.replace("HOSTILE", &says)),
        ];
        let fleet = Fleet::builder().workflows(Workflows::files(&files));
        Self {
            fleet: fleet.start().await,
            sink,
            http: Client::builder().redirect(Policy::none()).build().unwrap(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.fleet.api().base())
    }

    /// A run whose repair waits for a person.
    pub(crate) async fn waiting(&self, id: &str, text: &str) -> String {
        let event = json!({"id": id, "source": text, "type": "test.desk", "subject": text, "data": {"text": text, (text): text}});
        let run = self.fleet.submit(&event).await.runs.remove(0);
        self.question(&run).await;
        run
    }

    /// What waits in a run.
    pub(crate) async fn question(&self, run: &str) -> Value {
        eventually("the run waits for a person", PATIENCE, async || {
            let path = format!("/v1/runs/{run}");
            let view: Value = self.fleet.api().get(&path).await.json();
            let found = view["approvals"].get(0).cloned();
            found.ok_or(view)
        })
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Page {
        let request = self
            .http
            .get(self.url(path))
            .header("accept", "text/html,*/*;q=0.8");
        Page::of(request.send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = body.collect::<Vec<_>>().join("&");
        let request = self.http.post(self.url(path)).header("accept", "text/html");
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        Page::of(request.send().await.unwrap()).await
    }

    /// What the tool was asked for.
    pub(crate) fn parts(&self) -> Vec<Value> {
        let effects = self.sink.effects();
        let bodies = effects.values().flat_map(|effect| &effect.bodies);
        bodies.map(|body| body["part"].clone()).collect()
    }
}

impl Page {
    async fn of(answer: reqwest::Response) -> Self {
        let header = |name: &str| {
            let value = answer
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        Self {
            status: answer.status().as_u16(),
            policy: header("content-security-policy").unwrap_or_default(),
            kind: header("content-type").unwrap_or_default(),
            location: header("location"),
            html: answer.text().await.unwrap(),
        }
    }

    /// The value of a hidden field.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let (_, after) = self
            .html
            .split_once(&format!("name=\"{name}\" value=\""))
            .expect(name);
        after.split_once('"').unwrap().0.to_owned()
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
