//! Where the examples under `workflows/` leave their files, on a machine where nobody has said so.

use std::{fs, path::Path};

use anyhow::Context as _;
use flotilla_common::definition::Catalogue;

/// The variable in which the examples' tools expect a folder that is there.
pub(crate) const VARIABLE: &str = "EXAMPLES_DIR";
/// The folder's name in the data of a fleet that is tried out.
const FOLDER: &str = "examples";

/// The folder for the examples' files: the one that the environment names (`own`), else one in `data`, made if it is missing; `None`
/// where no tool asks for one.
///
/// # Errors
/// It cannot be made, or its path is no text.
pub(crate) fn folder(
    catalogue: &Catalogue,
    own: Option<String>,
    data: &Path,
) -> anyhow::Result<Option<String>> {
    let mut tools = catalogue.tools.iter();
    if !tools.any(|tool| tool.env.contains(VARIABLE)) {
        return Ok(None);
    }
    if let Some(own) = own.filter(|own| !own.is_empty()) {
        return Ok(Some(own));
    }
    let folder = data.join(FOLDER);
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.to_str().map(str::to_owned);
    let path = path.with_context(|| format!("{} is no UTF-8", folder.display()))?;
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use flotilla_common::{claude::Models, definition::Sources};

    use super::*;

    fn tool(env: &str) -> Catalogue {
        let yaml = format!(
            "tools: [{{tool: a, version: 1, description: d, effect: read, input: {{type: object}}, command: [ls], env: [{env}]}}]"
        );
        let sources = Sources([("t.yaml".to_owned(), yaml)].into());
        Catalogue::parse(&sources, &Models::built_in().unwrap()).unwrap()
    }

    #[test]
    fn the_folder_is_made_only_where_a_tool_asks_for_it_and_nobody_names_another() {
        let data = tempfile::tempdir().unwrap();
        let made = data.path().join(FOLDER);
        let asked = |env: &str, own: &str| {
            let own = Some(own.to_owned());
            folder(&tool(env), own, data.path()).unwrap()
        };
        assert_eq!(asked("OTHER_DIR", "/own"), None);
        assert_eq!(asked(VARIABLE, "/own").as_deref(), Some("/own"));
        assert!(!made.exists());
        assert_eq!(asked(VARIABLE, "").as_deref(), made.to_str());
        assert!(made.is_dir());
    }
}
