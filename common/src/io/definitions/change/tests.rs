//! Where a rollback leads.

use super::*;

fn only(version: u32) -> Active {
    let digest = String::new();
    Active::only(VersionRef { version, digest }, Timestamp::UNIX_EPOCH)
}

fn trying(version: u32, candidate: u32) -> Active {
    Active {
        candidate: Some(Candidate {
            version: only(candidate).stable,
            percent: "10".parse().unwrap(),
        }),
        ..only(version)
    }
}

fn retired(version: u32) -> Active {
    Active {
        retired: true,
        ..only(version)
    }
}

#[test]
fn a_rollback_goes_to_what_all_runs_got_before() {
    let to = |current: &Active, earlier: &[Active]| {
        before(current, earlier.iter()).map(|stable| stable.version)
    };
    assert_eq!(to(&only(1), &[]), None);
    assert_eq!(to(&only(2), &[only(1)]), Some(1));
    // The parts on the way to it are skipped.
    let rolled_out = [trying(1, 2), trying(1, 2), only(1)];
    assert_eq!(to(&only(2), &rolled_out), Some(1));
    assert_eq!(to(&trying(1, 2), &[only(1)]), Some(1));
    assert_eq!(to(&only(1), &[only(2), only(1)]), Some(2), "there and back");
    assert_eq!(to(&retired(2), &[only(2), only(1)]), Some(2));
    assert_eq!(to(&only(2), &[retired(1), only(1)]), Some(1));
    assert_eq!(to(&only(2), &[retired(2), only(2)]), None);
}
