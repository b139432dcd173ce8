//! The part of a URL after `?`.

use std::str::FromStr;

use axum::{
    extract::{Query, rejection::QueryRejection},
    http::Uri,
};
use flotilla_common::io::http::Problem;

use crate::problem::{bad_request, wrong_parameter};

/// What a handler is given of a query whose fields it takes one by one, see [`Fields`].
pub(crate) type Pairs = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// The fields of a query. An unknown one, or one that is there twice, is an error: a misspelt filter must not show everything.
pub(crate) fn fields<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    query
        .map(|Query(fields)| fields)
        .map_err(|rejection| bad_request(rejection.body_text()))
}

/// A field's value; an empty one is as good as none.
pub(crate) fn value<T>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.filter(|text| !text.is_empty())
        .map(|text| {
            let value = text.parse();
            value.map_err(|e: T::Err| wrong_parameter(name, e.to_string()))
        })
        .transpose()
}

/// Fields that are taken out one by one; an empty one is as good as none.
#[derive(Debug)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(crate) fn read(pairs: Pairs) -> Result<Self, Problem> {
        let mut pairs = fields(pairs)?;
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Self(pairs))
    }

    /// The same of the part of a URL after `?`.
    pub(crate) fn of(query: &str) -> Result<Self, Problem> {
        let uri: Result<Uri, _> = format!("/?{query}").parse();
        let uri = uri.map_err(|_| bad_request("the query is none"))?;
        Self::read(Query::try_from_uri(&uri))
    }

    /// All values of a field that may be there several times.
    pub(crate) fn all<T>(&mut self, name: &str) -> Result<Vec<T>, Problem>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let is_it = |(field, _): &mut (String, String)| field == name;
        let texts: Vec<String> = self.0.extract_if(.., is_it).map(|(_, text)| text).collect();
        let values = texts.iter().map(|text| value(name, Some(text)));
        let values: Result<Vec<Option<T>>, Problem> = values.collect();
        Ok(values?.into_iter().flatten().collect())
    }

    /// The value of a field.
    pub(crate) fn one<T>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let mut all = self.all(name)?;
        let first = all.pop();
        if all.is_empty() {
            return Ok(first);
        }
        Err(wrong_parameter(name, "is there more than once"))
    }

    /// An error when there are fields that nobody took: a misspelt filter must not show everything.
    pub(crate) fn end(self, known: &str) -> Result<(), Problem> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.escape_debug().take(NAME_LENGTH_MAX).collect();
                Err(wrong_parameter(
                    &name,
                    format!("is not known here; known are {known}"),
                ))
            }
        }
    }
}

/// Characters of a name that nobody knows which are told.
const NAME_LENGTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Fields {
        Fields::of(query).unwrap()
    }

    #[test]
    fn a_field_may_be_empty_repeated_where_that_makes_sense_and_never_unknown() {
        let mut fields = read("n=1&n=2&m=3&e=&m=");
        assert_eq!(fields.all::<u8>("n").unwrap(), [1, 2]);
        assert_eq!(fields.one::<u8>("m").unwrap(), Some(3));
        assert_eq!(fields.one::<u8>("e").unwrap(), None);
        fields.end("`n`").unwrap();

        for (query, name) in [("n=1&n=2", "n"), ("n=x", "n"), ("n=1&%0Aodd=1", "\\nodd")] {
            let mut fields = read(query);
            let problem = fields.one::<u8>("n").and_then(|_| fields.end("`n`"));
            let problem = problem.unwrap_err();
            assert_eq!(problem.status, 400);
            assert_eq!(problem.more["errors"][0]["parameter"], name, "{query}");
            assert_eq!(problem.more["code"], "invalid_parameter");
        }
    }
}
