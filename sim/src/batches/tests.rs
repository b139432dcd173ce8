use super::*;

fn store(count: usize) -> (Batches, Vec<String>) {
    let batches = Batches::default();
    let create = |_| {
        let (_, id, _) = batches.create(&[], Timestamp::UNIX_EPOCH, "").unwrap();
        id
    };
    let ids = (0..count).map(create).collect();
    (batches, ids)
}

fn page(
    batches: &Batches,
    limit: usize,
    after: Option<&String>,
    before: Option<&String>,
) -> (Vec<String>, bool) {
    let page = Page {
        limit,
        after: after.cloned(),
        before: before.cloned(),
    };
    let listed = batches.list(&page, "");
    let data = listed["data"].as_array().unwrap();
    let ids: Vec<String> = data
        .iter()
        .map(|batch| batch["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed["first_id"].as_str(), ids.first().map(String::as_str));
    assert_eq!(listed["last_id"].as_str(), ids.last().map(String::as_str));
    (ids, listed["has_more"].as_bool().unwrap())
}

#[test]
fn pages_go_from_the_newest_to_the_oldest_and_back() {
    let (batches, mut ids) = store(5);
    ids.reverse();
    assert_eq!(page(&batches, 2, None, None), (ids[..2].to_vec(), true));
    assert_eq!(
        page(&batches, 2, Some(&ids[1]), None),
        (ids[2..4].to_vec(), true)
    );
    assert_eq!(
        page(&batches, 2, Some(&ids[3]), None),
        (ids[4..].to_vec(), false)
    );
    assert_eq!(
        page(&batches, 2, None, Some(&ids[3])),
        (ids[1..3].to_vec(), true)
    );
    assert_eq!(
        page(&batches, 9, None, Some(&ids[3])),
        (ids[..3].to_vec(), false)
    );
}

#[test]
fn the_oldest_that_has_ended_makes_room_and_one_in_progress_does_not() {
    let (batches, ids) = store(MAX_BATCHES);
    let create = || batches.create(&[], Timestamp::UNIX_EPOCH, "").map(drop);
    assert_eq!(create().unwrap_err().status, 429);
    let end = |id: &str| {
        batches.end(id, Counts::default(), Bytes::new(), Timestamp::UNIX_EPOCH);
    };
    end(&ids[7]);
    create().unwrap();
    assert_eq!(batches.get(&ids[7], "").unwrap_err().status, 404);
    assert!(batches.get(&ids[0], "").is_ok());
}
