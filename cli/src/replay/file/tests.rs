//! What is written reads back, and what is no such file says where.

use serde_json::json;

use super::*;

fn exported(event: &str, entries: &[(u64, &str, &[u8])]) -> Exported {
    let name = "w".parse().unwrap();
    let run = RunId::derive(&name, "s", event);
    let entries = entries.iter().map(|(seq, rest, payload)| {
        RawLine::of(&Raw {
            seq: *seq,
            subject: format!("runs.{run}.{rest}"),
            payload: payload.to_vec().into(),
        })
    });
    Exported {
        entries: entries.collect(),
        workflow: Pin {
            name,
            version: 1,
            digest: "d".into(),
        },
        files: Some([("w.yaml".to_owned(), "workflow: w\n".to_owned())].into()),
        run,
    }
}

fn two() -> Vec<Exported> {
    let first: [(u64, &str, &[u8]); 2] = [
        (3, "started.w", b"{\"v\":1, \"x\": 2.50}"),
        (9, "resulted.t", b"\xff\x00"),
    ];
    vec![
        exported("1", &first),
        exported("2", &[(5, "started.w", b"\"\n\"")]),
    ]
}

fn written() -> String {
    let mut out = Vec::new();
    write(&mut out, &two()).unwrap();
    String::from_utf8(out).unwrap()
}

fn problem(text: &str) -> String {
    read(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn what_is_written_reads_back_to_the_byte() {
    let text = written();
    assert_eq!(
        text.lines().count(),
        5,
        "an entry is a line, whatever it holds"
    );
    let back = read(text.as_bytes()).unwrap();
    assert_eq!(back, two());
    let raw = back[0].entries[1].clone().raw().unwrap();
    assert_eq!(raw.payload.as_ref(), b"\xff\x00");
    let raw = back[0].entries[0].clone().raw().unwrap();
    assert_eq!(raw.payload.as_ref(), b"{\"v\":1, \"x\": 2.50}");
}

#[test]
fn a_cut_file_says_after_how_much_and_at_which_line() {
    let text = written();
    let lines: Vec<&str> = text.lines().collect();
    let upto = |count: usize| problem(&lines[..count].join("\n"));
    assert!(
        upto(2).starts_with("line 2: the file was cut: it ends after 1 of the 2 entries of run_")
    );
    assert_eq!(
        upto(3),
        "line 3: the file was cut: 1 more runs should follow"
    );
    let half = &text[..text.len() - 20];
    assert!(problem(half).starts_with("line 5: this is no entry, or was cut"));
}

#[test]
fn rubbish_and_foreign_files_are_told_with_their_line() {
    for foreign in ["", "rubbish", "{}", "[]", "{\"seq\": 1}", "\u{0}\u{1}"] {
        let told = problem(foreign);
        assert!(
            told.starts_with("line 1: this is not what `flotilla export` writes"),
            "{told}"
        );
    }
    let newer = written().replacen("\"flotilla_export\":1", "\"flotilla_export\":2", 1);
    assert!(problem(&newer).contains("of version 2 of the format"));
    let lines: Vec<String> = written().lines().map(str::to_owned).collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line.to_owned();
        problem(&lines.join("\n"))
    };
    let other = json!({"seq": 4, "subject": two()[1].entries[0].subject, "payload": "{}"});
    assert!(with(1, &other.to_string()).contains("is no entry of run_"));
    assert!(with(1, &lines[2].clone()).starts_with("line 3: entry 9 does not stand in its order"));
    let none = json!({"seq": 4, "subject": two()[0].entries[0].subject});
    assert_eq!(with(1, &none.to_string()), "line 2: entry 4 has no payload");
    assert_eq!(
        with(3, &lines[0].clone()),
        "line 4: a run is missing, or was put in"
    );
    let more = format!("{}{}\n", written(), lines[4]);
    assert_eq!(
        problem(&more),
        "line 6: nothing belongs after the last entry"
    );
}
