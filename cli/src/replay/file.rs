//! Exported runs: JSON lines, for each run a header with its definition, then its entries byte for byte.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Write},
};

use flotilla_common::{
    entry::{Address, Pin},
    ids::{RunId, hex},
    io::journal::Raw,
};
use serde::{Deserialize, Serialize};

/// The version of the format that is written, and the only one that is read.
const FORMAT: u32 = 1;
/// Largest file that is read, in bytes: all of it is in memory.
const FILE_BYTES_MAX: usize = 1 << 30;

/// A run out of a file, or on its way into one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exported {
    pub(super) run: RunId,
    /// The definition it is pinned to.
    pub(super) workflow: Pin,
    /// The files of that; `None` where it was left out.
    pub(super) files: Option<BTreeMap<String, String>>,
    pub(super) entries: Vec<RawLine>,
}

/// The first line of each run.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    /// The format's version.
    flotilla_export: u32,
    /// Runs in the file from this one on.
    runs: usize,
    run: RunId,
    workflow: Pin,
    /// Lines that follow before the next header.
    entries: usize,
    files: Option<BTreeMap<String, String>>,
}

/// An entry byte for byte, in a file and from the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawLine {
    seq: u64,
    subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(super) struct FileError {
    line: usize,
    problem: String,
}

impl RawLine {
    /// For a file.
    pub(super) fn of(raw: &Raw) -> Self {
        let text = std::str::from_utf8(&raw.payload).ok();
        Self {
            seq: raw.seq,
            subject: raw.subject.clone(),
            payload: text.map(str::to_owned),
            payload_hex: text.is_none().then(|| hex(&raw.payload)),
        }
    }

    /// As it was on the journal; `None` where its bytes are not told.
    pub(crate) fn raw(self) -> Option<Raw> {
        let payload = match (self.payload, self.payload_hex) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(digits)) => bytes(&digits)?,
            (Some(_), Some(_)) | (None, None) => return None,
        };
        Some(Raw {
            seq: self.seq,
            subject: self.subject,
            payload: payload.into(),
        })
    }
}

/// Writes them, one after the other.
pub(super) fn write(out: &mut impl Write, runs: &[Exported]) -> io::Result<()> {
    for (index, exported) in runs.iter().enumerate() {
        let header = Header {
            flotilla_export: FORMAT,
            runs: runs.len() - index,
            run: exported.run.clone(),
            workflow: exported.workflow.clone(),
            entries: exported.entries.len(),
            files: exported.files.clone(),
        };
        line(out, &header)?;
        for entry in &exported.entries {
            line(out, entry)?;
        }
    }
    out.flush()
}

fn line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Reads what [`write`] wrote.
///
/// # Errors
/// [`FileError`]: it is no such file, of another version, cut, or somebody changed it.
pub(super) fn read(file: impl BufRead) -> Result<Vec<Exported>, FileError> {
    let mut lines = Lines {
        lines: file.lines(),
        number: 0,
        bytes: 0,
    };
    let mut found: Vec<Exported> = Vec::new();
    let mut expected = None;
    while expected != Some(0) {
        let header = lines.header(expected)?;
        expected = Some(header.runs.saturating_sub(1));
        if found.iter().any(|other| other.run == header.run) {
            return Err(lines.wrong(format!("{} is there already", header.run)));
        }
        let entries = lines.entries(&header)?;
        found.push(Exported {
            run: header.run,
            workflow: header.workflow,
            files: header.files,
            entries,
        });
    }
    match lines.next()? {
        None => Ok(found),
        Some(_) => Err(lines.wrong("nothing belongs after the last entry".to_owned())),
    }
}

/// A file on the way to its end.
struct Lines<B> {
    lines: io::Lines<B>,
    /// Of the line that was read last, from 1.
    number: usize,
    bytes: usize,
}

impl<B: BufRead> Lines<B> {
    fn wrong(&self, problem: String) -> FileError {
        FileError {
            line: self.number.max(1),
            problem,
        }
    }

    fn next(&mut self) -> Result<Option<String>, FileError> {
        let Some(line) = self.lines.next() else {
            return Ok(None);
        };
        self.number += 1;
        let line = line.map_err(|error| self.wrong(error.to_string()))?;
        self.bytes = self.bytes.saturating_add(line.len());
        if self.bytes > FILE_BYTES_MAX {
            return Err(self.wrong(format!("the file has more than {FILE_BYTES_MAX} bytes")));
        }
        Ok(Some(line))
    }

    /// The next run's header; `expected`: how many runs are still to come, where that is known.
    fn header(&mut self, expected: Option<usize>) -> Result<Header, FileError> {
        #[derive(Deserialize)]
        struct Probe {
            flotilla_export: u32,
        }
        let none = "this is not what `flotilla export` writes: its first line is a header with `flotilla_export`";
        let Some(text) = self.next()? else {
            return Err(self.wrong(match expected {
                None => none.to_owned(),
                Some(more) => format!("the file was cut: {more} more runs should follow"),
            }));
        };
        let probe: Probe = serde_json::from_str(&text).map_err(|_| {
            self.wrong(match expected {
                None => none.to_owned(),
                Some(_) => "here the header of the next run should stand".to_owned(),
            })
        })?;
        let version = probe.flotilla_export;
        if version != FORMAT {
            return Err(self.wrong(format!(
                "the file is of version {version} of the format, and this flotilla reads version {FORMAT}"
            )));
        }
        let header: Header = serde_json::from_str(&text)
            .map_err(|error| self.wrong(format!("the header is not right: {error}")))?;
        if header.runs == 0 || expected.is_some_and(|expected| expected != header.runs) {
            return Err(self.wrong("a run is missing, or was put in".to_owned()));
        }
        Ok(header)
    }

    /// The entries of a run.
    fn entries(&mut self, header: &Header) -> Result<Vec<RawLine>, FileError> {
        let mut entries: Vec<RawLine> = Vec::new();
        while entries.len() < header.entries {
            let Some(text) = self.next()? else {
                return Err(self.wrong(format!(
                    "the file was cut: it ends after {} of the {} entries of {}",
                    entries.len(),
                    header.entries,
                    header.run
                )));
            };
            let entry: RawLine = serde_json::from_str(&text)
                .map_err(|error| self.wrong(format!("this is no entry, or was cut: {error}")))?;
            self.check(&entry, entries.last(), &header.run)?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn check(
        &self,
        entry: &RawLine,
        before: Option<&RawLine>,
        run: &RunId,
    ) -> Result<(), FileError> {
        let address = Address::parse(&entry.subject);
        let address = address.map_err(|error| self.wrong(error.to_string()))?;
        if address.is_none_or(|address| address.run != *run) {
            let subject = &entry.subject;
            return Err(self.wrong(format!("`{subject}` is no entry of {run}")));
        }
        if before.is_some_and(|before| before.seq >= entry.seq) {
            return Err(self.wrong(format!("entry {} does not stand in its order", entry.seq)));
        }
        if entry.clone().raw().is_none() {
            return Err(self.wrong(format!("entry {} has no payload", entry.seq)));
        }
        Ok(())
    }
}

/// The bytes behind hex digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests;
