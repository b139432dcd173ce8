//! The executor's environment variables, as tools may see them: those in a tool's `env` list, and no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::failure::{Class, Failure};

/// What every program gets besides its tool's `env` list.
const ALWAYS: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
/// `PATH` when the executor itself has none.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A snapshot of environment variables. Its `Debug` shows their names only.
///
/// The values in a tool's `env` list count as secrets: wherever one stands in an output or a message, `[redacted:NAME]`
/// stands instead. Not so values of less than 6 bytes, and those whose name says that they are a place or a locale: `PATH`,
/// `HOME`, `PWD`, `TMPDIR`, `USER`, `SHELL`, `LANG`, `TZ`, and names that end in `_PATH`, `_DIR`, `_HOME`, `_ROOT`, `_FILE`,
/// `_BIN`, `_HOST` or `_PORT`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// This process's variables at this moment; those that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The same with `value` for `name` where that is missing or empty.
    #[must_use]
    pub fn or(mut self, name: &str, value: String) -> Self {
        let own = self.0.get(name).is_some_and(|own| !own.is_empty());
        if !own {
            self.0.insert(name.to_owned(), value);
        }
        self
    }

    /// The variables that a tool lists.
    pub(super) fn of(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Failure> {
        names
            .iter()
            .map(|name| match self.0.get(name) {
                Some(value) if !value.is_empty() => Ok((name.clone(), value.clone())),
                _ => {
                    let message = format!(
                        "the tool needs the environment variable {name}, which the executor does not have (or it is empty); set it and restart the executor"
                    );
                    Err(Failure::new(Class::Config, message))
                }
            })
            .collect()
    }

    /// What every program gets.
    pub(super) fn always(&self) -> impl Iterator<Item = (&str, &str)> {
        ALWAYS.iter().filter_map(|name| {
            let fallback = (*name == "PATH").then_some(PATH);
            let value = self.0.get(*name).map(String::as_str).or(fallback)?;
            Some((*name, value))
        })
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stands_in_only_where_there_is_none() {
        let of = |pairs: &[(&str, &str)]| -> Environment {
            let owned = pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            owned.collect()
        };
        for (given, becomes) in [
            (of(&[]), "/data"),
            (of(&[("PLACE", "")]), "/data"),
            (of(&[("PLACE", "/own")]), "/own"),
        ] {
            let filled = given.or("PLACE", "/data".to_owned());
            assert_eq!(filled, of(&[("PLACE", becomes)]));
        }
    }
}
