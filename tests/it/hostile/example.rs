//! The examples of the repository, and the events that start them with something else written into them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// What says which event it is and where it goes, not what happened; another test has these.
const ATTRIBUTES: [&str; 5] = ["/specversion", "/id", "/source", "/type", "/time"];

/// One folder below `workflows/`.
#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) name: String,
    folder: PathBuf,
    /// The event that starts it: its `event.json`.
    pub(crate) event: Value,
}

/// Every example there is. One without an event cannot be tested, and so must not be.
pub(crate) fn examples() -> Vec<Example> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let all = fs::read_dir(root.join("workflows")).unwrap();
    let folders = all
        .map(|item| item.unwrap().path())
        .filter(|path| path.is_dir());
    let examples: Vec<_> = folders.map(Example::read).collect();
    assert!(!examples.is_empty());
    examples
}

impl Example {
    fn read(folder: PathBuf) -> Self {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let file = folder.join("event.json");
        let event = fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!(
                "{name} has no event to make hostile ones from: {}: {error}",
                file.display()
            )
        });
        Self {
            name,
            folder,
            event: serde_json::from_str(&event).unwrap(),
        }
    }

    /// Its files: (path below its folder, text); without the simulated Claude's policies unless they are wanted.
    pub(crate) fn files(&self, policies: bool) -> Vec<(String, String)> {
        let mut files = Vec::new();
        collect(&self.folder, &self.folder, &mut files);
        files.retain(|(_, text)| policies || !text.lines().any(|line| line == "policies:"));
        files
    }

    /// Where its event holds a text, as JSON Pointers.
    pub(crate) fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        leaves(&self.event, String::new(), &mut texts);
        texts.retain(|place| !ATTRIBUTES.contains(&place.as_str()));
        texts
    }

    /// Its event with `text` at these places, under an id of its own.
    pub(crate) fn event_with(&self, id: &str, text: &str, places: &[String]) -> Value {
        let mut event = self.event.clone();
        event["id"] = id.into();
        for place in places {
            *event.pointer_mut(place).unwrap() = text.into();
        }
        event
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    for item in fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            files.push((name.to_owned(), fs::read_to_string(&path).unwrap()));
        }
    }
}

fn leaves(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(place),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                leaves(item, format!("{place}/{index}"), found);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.replace('~', "~0").replace('/', "~1");
                leaves(value, format!("{place}/{key}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
