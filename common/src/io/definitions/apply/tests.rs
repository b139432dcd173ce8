//! What becomes active, whatever was before.

use super::*;
use crate::definition::Candidate;

fn version(version: u32, texts: &str) -> VersionRef {
    let digest = texts.to_owned();
    VersionRef { version, digest }
}

fn only(number: u32) -> Active {
    Active::only(version(number, "a"), Timestamp::UNIX_EPOCH)
}

/// What runs get after a version was applied; `None`: what they got before.
fn gets(
    current: Option<&Active>,
    (number, texts): (u32, &str),
    is_new: bool,
    activate: Activate,
    replace: bool,
) -> Option<(u32, String)> {
    let apply = Apply {
        activate,
        replace,
        ..Apply::default()
    };
    let at = Timestamp::UNIX_EPOCH;
    let after = after(current, &version(number, texts), is_new, &apply, at)?;
    assert!(after.considered >= number);
    let stable = after.stable;
    (!after.retired).then_some((stable.version, stable.digest))
}

#[test]
fn what_is_new_and_higher_becomes_active_and_nothing_else_by_itself() {
    let newer = |current: Option<&Active>, number, is_new| {
        gets(current, (number, "a"), is_new, Activate::Newer, false).map(|(number, _)| number)
    };
    let second = only(2);
    assert_eq!(newer(None, 1, true), Some(1));
    assert_eq!(newer(Some(&second), 3, true), Some(3));
    assert_eq!(newer(Some(&second), 1, true), None);
    assert_eq!(newer(Some(&second), 2, false), None);
    // Written by somebody who did not live to activate it.
    assert_eq!(newer(Some(&second), 3, false), Some(3));
    // Rolled back by a person: it stays so, but what comes after is new.
    let back = Active {
        considered: 3,
        ..second
    };
    assert_eq!(newer(Some(&back), 3, false), None);
    assert_eq!(newer(Some(&back), 4, true), Some(4));
    let trying = Active {
        candidate: Some(Candidate {
            version: version(5, "a"),
            percent: "10".parse().unwrap(),
        }),
        considered: 5,
        ..only(2)
    };
    assert_eq!(newer(Some(&trying), 4, true), None);
    assert_eq!(newer(Some(&trying), 6, true), Some(6));
    let retired = Active {
        retired: true,
        ..only(2)
    };
    assert_eq!(newer(Some(&retired), 2, false), None);
    assert_eq!(newer(Some(&retired), 3, true), Some(3));
}

#[test]
fn all_or_none_becomes_active_where_that_is_wanted() {
    let back = Active {
        considered: 3,
        ..only(2)
    };
    let apply = |number, activate| gets(Some(&back), (number, "a"), false, activate, false);
    assert_eq!(apply(3, Activate::Always), Some((3, "a".to_owned())));
    assert_eq!(apply(1, Activate::Always), Some((1, "a".to_owned())));
    assert_eq!(apply(3, Activate::Never), None);
    assert_eq!(gets(None, (1, "a"), true, Activate::Never, false), None);
    // What was left alone once is left alone when a folder is applied again.
    let left = Apply {
        activate: Activate::Never,
        ..Apply::default()
    };
    let at = Timestamp::UNIX_EPOCH;
    let noted = after(Some(&back), &version(7, "a"), true, &left, at).unwrap();
    assert_eq!((noted.stable.version, noted.considered), (2, 7));
    assert_eq!(
        gets(Some(&noted), (7, "a"), false, Activate::Newer, false),
        None
    );
}

#[test]
fn who_edits_and_starts_again_gets_the_other_texts() {
    let second = only(2);
    let edit = |number, texts, is_new| {
        gets(
            Some(&second),
            (number, texts),
            is_new,
            Activate::Newer,
            true,
        )
    };
    assert_eq!(edit(2, "b", true), Some((2, "b".to_owned())));
    assert_eq!(edit(2, "a", false), None, "they are there and active");
    assert_eq!(edit(1, "b", true), None, "another version is active");
    // Back to texts that were there before.
    let other = Active::only(version(2, "b"), Timestamp::UNIX_EPOCH);
    let back = gets(Some(&other), (2, "a"), false, Activate::Newer, true);
    assert_eq!(back, Some((2, "a".to_owned())));
    let plain = gets(Some(&other), (2, "a"), false, Activate::Newer, false);
    assert_eq!(plain, None);
}
