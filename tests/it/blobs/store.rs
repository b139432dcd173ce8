//! The object store itself.

use flotilla_common::{
    blob::{Blob, TEXT},
    ids::RunId,
    io::{
        blobs::{BlobError, Blobs},
        bus::Bus,
    },
};
use flotilla_tests::Nats;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

async fn open(nats: &Nats) -> Blobs {
    let bus = Bus::connect(&nats.url(), "test").await.unwrap();
    Blobs::open(&bus).await.unwrap()
}

/// (blobs, uploads) that there are.
pub(super) async fn kept(nats: &Nats) -> (usize, usize) {
    let jetstream = nats.jetstream().await;
    let Ok(stream) = jetstream.get_stream("OBJ_BLOBS").await else {
        return (0, 0);
    };
    let count = async |filter: &str| {
        let subjects = stream.info_with_subjects(filter).await.unwrap();
        subjects.count().await
    };
    (count("$O.BLOBS.M.>").await, count("$O.BLOBS.C.>").await)
}

pub(super) async fn remove_of(nats: &Nats, run: &str) {
    let blobs = open(nats).await;
    let runs = [run.parse().unwrap()].into();
    blobs.remove_of(&runs).await.unwrap();
}

/// Keeps something for a run, whether or not there is one.
pub(super) async fn put_for(nats: &Nats, run: &str) {
    let blobs = open(nats).await;
    put(&blobs, &run.parse().unwrap(), b"text".to_vec())
        .await
        .unwrap();
}

/// The runs that something is kept for.
pub(super) async fn runs(nats: &Nats) -> Vec<String> {
    let runs = open(nats).await.runs().await.unwrap();
    runs.iter().map(ToString::to_string).collect()
}

fn run(id: &str) -> RunId {
    RunId::derive(&"w".parse().unwrap(), "test", id)
}

async fn put(blobs: &Blobs, run: &RunId, bytes: Vec<u8>) -> Result<Blob, BlobError> {
    let parts: Vec<_> = bytes
        .chunks(50_000)
        .map(|part| Ok(part.to_vec().into()))
        .collect();
    blobs.put(run, TEXT, stream::iter(parts), 1_000_000).await
}

async fn read(blobs: &Blobs, run: &RunId, blob: &Blob) -> Result<Vec<u8>, BlobError> {
    let found = blobs.find(run, &blob.id).await?.expect("it is there");
    assert_eq!(&found.blob, blob);
    let parts: Vec<_> = blobs.read(&found).try_collect().await?;
    Ok(parts.concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_is_given_once_each_run_and_goes_with_it() {
    let nats = Nats::start().await;
    let blobs = open(&nats).await;
    let (one, other) = (run("1"), run("2"));
    for bytes in [vec![], b"short".to_vec(), b"0123456789".repeat(50_000)] {
        let blob = put(&blobs, &one, bytes.clone()).await.unwrap();
        assert_eq!(read(&blobs, &one, &blob).await.unwrap(), bytes);
        assert_eq!(put(&blobs, &one, bytes).await.unwrap(), blob);
        assert!(blobs.find(&other, &blob.id).await.unwrap().is_none());
    }
    assert_eq!(kept(&nats).await, (3, 3));
    let blob = put(&blobs, &other, b"short".to_vec()).await.unwrap();
    let long = put(&blobs, &one, vec![0; 1_000_001]).await.unwrap_err();
    assert!(
        matches!(long, BlobError::TooLarge { limit: 1_000_000 }),
        "{long}"
    );
    let source = stream::iter([
        Ok(vec![0; 200_000].into()),
        Err(BlobError::Source("gone".into())),
    ]);
    assert!(blobs.put(&one, TEXT, source, 1_000_000).await.is_err());
    assert_eq!(kept(&nats).await, (4, 4));
    assert_eq!(
        blobs.runs().await.unwrap(),
        [one.clone(), other.clone()].into()
    );
    blobs.remove_of(&[one].into()).await.unwrap();
    assert_eq!(kept(&nats).await, (1, 1));
    assert_eq!(read(&blobs, &other, &blob).await.unwrap(), b"short");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_that_is_not_what_was_put_is_not_given() {
    let nats = Nats::start().await;
    let blobs = open(&nats).await;
    let jetstream = nats.jetstream().await;
    let stored = jetstream.get_stream("OBJ_BLOBS").await.unwrap();
    for (at, forged) in [Some(vec![1; 100]), Some(vec![0; 99]), None]
        .into_iter()
        .enumerate()
    {
        let run = run(&at.to_string());
        let blob = put(&blobs, &run, vec![0; 100]).await.unwrap();
        let subject = format!("$O.BLOBS.C.{run}.>");
        let chunk = stored.direct_get_last_for_subject(&subject).await.unwrap();
        stored.delete_message(chunk.sequence).await.unwrap();
        if let Some(forged) = forged {
            let sent = jetstream.publish(chunk.subject, forged.into()).await;
            sent.unwrap().await.unwrap();
        }
        let damaged = read(&blobs, &run, &blob).await.unwrap_err();
        assert!(matches!(damaged, BlobError::Damaged { .. }), "{damaged}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_was_deleted_by_hand_can_be_put_again() {
    let nats = Nats::start().await;
    let blobs = open(&nats).await;
    let run = run("1");
    let blob = put(&blobs, &run, b"text".to_vec()).await.unwrap();
    // As `nats object rm` does it.
    let jetstream = nats.jetstream().await;
    let stored = jetstream.get_stream("OBJ_BLOBS").await.unwrap();
    let told = stored
        .direct_get_last_for_subject("$O.BLOBS.M.*")
        .await
        .unwrap();
    let text = String::from_utf8(told.payload.to_vec()).unwrap();
    let text = text.replacen('{', r#"{"deleted": true, "#, 1);
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Rollup", "sub");
    let sent = jetstream
        .publish_with_headers(told.subject, headers, text.into())
        .await;
    sent.unwrap().await.unwrap();
    assert!(blobs.find(&run, &blob.id).await.unwrap().is_none());
    assert_eq!(put(&blobs, &run, b"text".to_vec()).await.unwrap(), blob);
    assert_eq!(read(&blobs, &run, &blob).await.unwrap(), b"text");
}
