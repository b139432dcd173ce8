//! What a process does with a scope, without Redis.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use tokio::task::yield_now;

use super::{
    Known,
    alone::lock,
    scope::{FRONT, RENEWED_FOR, ScopeState, UNLIMITED_FOR},
};
use crate::limit::{Answer, Flow, Grant, Limits, Moved, Reason, Scope, Settings, Source, Want};

fn flow(workflow: &str) -> Flow {
    Flow {
        tenant: "t".parse().unwrap(),
        workflow: workflow.parse().unwrap(),
    }
}

fn state() -> ScopeState {
    ScopeState::new(Scope::claude("f"), Settings::default())
}

fn known(fleet: u64, learned: Limits) -> Known {
    Known {
        learned,
        replied: true,
        cap_per_s: None,
        fleet,
    }
}

fn unlimited() -> Answer {
    Answer::Granted(Grant {
        from: Source::Unlimited,
        in_share: true,
        input: 0.0,
        output: 0.0,
        moved: Moved::default(),
    })
}

#[tokio::test]
async fn eight_of_a_flow_ask_and_the_others_follow_in_the_order_they_came() {
    let (state, one, other) = (Arc::new(state()), flow("one"), flow("other"));
    let mut front = Vec::new();
    for _ in 0..FRONT {
        front.push(state.stand_in_line(&one).await);
    }
    let _free = state.stand_in_line(&other).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..20 {
        let (state, one, order) = (Arc::clone(&state), one.clone(), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let _place = state.stand_in_line(&one).await;
            lock(&order).push(number);
        }));
        yield_now().await;
    }
    assert!(lock(&order).is_empty());
    front.pop();
    for waiting in waiting {
        waiting.await.unwrap();
    }
    assert_eq!(*lock(&order), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_line_in_which_nobody_stands_is_gone() {
    let (state, one) = (state(), flow("one"));
    let mut places = Vec::new();
    for _ in 0..FRONT {
        places.push(state.stand_in_line(&one).await);
    }
    {
        // One who waits, and goes away while waiting.
        let mut waiting = Box::pin(state.stand_in_line(&one));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(state.lines(), 1);
    places.clear();
    assert_eq!(state.lines(), 0);
}

#[tokio::test(start_paused = true)]
async fn that_there_are_no_limits_holds_for_less_than_a_second_and_one_caller_asks_again() {
    let state = state();
    assert_eq!(state.unlimited(), Err(false));
    state.learn(&unlimited(), known(1, Limits::default()));
    assert!(state.unlimited().is_ok());
    tokio::time::advance(UNLIMITED_FOR).await;
    assert_eq!(state.unlimited(), Err(true), "this one asks");
    assert!(state.unlimited().is_ok(), "this one need not wait for it");
    tokio::time::advance(RENEWED_FOR).await;
    assert_eq!(state.unlimited(), Err(true));
    assert!(UNLIMITED_FOR + RENEWED_FOR < Duration::from_secs(1));
    state.learn(&unlimited(), known(1, Limits::default()));
    state.ask_again();
    assert_eq!(state.unlimited(), Err(false));
    assert_eq!(state.take_unasked(), 2);
}

#[tokio::test(start_paused = true)]
async fn alone_a_process_takes_its_part_of_what_was_last_known() {
    let requests = |limit| Limits {
        requests: Some(limit),
        ..Limits::default()
    };
    let later = Answer::Later {
        after_ms: 1,
        why: Reason::Rate,
    };
    let state = state();
    state.learn(&later, known(4, requests(480)));
    assert_eq!(state.standing_alone().levels.requests, Some(10.0));
    let wish = Want {
        input_estimate: 1,
        output_max: 1,
    };
    assert!(matches!(
        state.reserve_alone(&flow("w"), wish),
        Answer::Granted(_)
    ));
    // Redis was back for a moment, and told nothing new: the level is not filled for that.
    state.learn(&later, known(4, requests(480)));
    assert_eq!(state.standing_alone().levels.requests, Some(9.0));
    state.learn(&later, known(2, requests(480)));
    assert_eq!(state.standing_alone().levels.requests, Some(20.0));
}
