use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use loom::{future::block_on, thread};

use super::{
    command::RedisCommand,
    connection::Connection,
    reply::{AttemptError, Reply},
};
use crate::{
    model,
    runtime::{Handle, RuntimeState, set_runtime},
    sync::{Instant, advance, set_clock},
};

type Outcome = Result<Reply, AttemptError>;

fn connect() -> Arc<Connection> {
    set_clock(Duration::ZERO);
    set_runtime(RuntimeState::Runs);
    Arc::default()
}

fn attempt(connection: &Arc<Connection>, number: i64) -> Outcome {
    let deadline = Instant::now() + Duration::from_secs(1);
    block_on(connection.attempt_in_batch(RedisCommand(number), deadline, &Handle))
}

fn spawn(connection: &Arc<Connection>, number: i64) -> thread::JoinHandle<Outcome> {
    let connection = Arc::clone(connection);
    thread::spawn(move || attempt(&connection, number))
}

/// Checks that a command was executed once if it got a reply, and never if it failed.
fn check(connection: &Connection, number: i64, outcome: &Outcome) {
    let executed = connection.executed();
    let times = executed.iter().filter(|found| **found == number).count();
    match outcome {
        Ok(reply) => assert_eq!((reply, times), (&Reply::Integer(number), 1)),
        Err(error) => assert_eq!((error, times), (&AttemptError::NOT_SENT, 0)),
    }
}

#[test]
fn each_command_of_a_batch_gets_its_own_reply() {
    model(2, || {
        let connection = connect();
        let other = spawn(&connection, 1);
        for (number, outcome) in [
            (2, attempt(&connection, 2)),
            (1, other.join().unwrap()),
            (3, attempt(&connection, 3)),
        ] {
            assert!(outcome.is_ok());
            check(&connection, number, &outcome);
        }
    });
}

#[test]
fn a_dropped_command_takes_no_reply_from_another() {
    model(2, || {
        let connection = connect();
        let other = spawn(&connection, 1);
        {
            let deadline = Instant::now() + Duration::from_secs(1);
            let attempt = connection.attempt_in_batch(RedisCommand(2), deadline, &Handle);
            let mut attempt = pin!(attempt);
            let _ = attempt
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
        let outcome = other.join().unwrap();
        assert!(outcome.is_ok());
        check(&connection, 1, &outcome);
    });
}

#[test]
fn an_overdue_command_fails_or_is_executed_but_not_both() {
    model(2, || {
        let connection = connect();
        let other = spawn(&connection, 1);
        advance(Duration::from_secs(120));
        let mut watch = pin!(Arc::clone(&connection).watch_queue());
        let polled = watch.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Pending);
        let outcome = attempt(&connection, 2);
        assert!(outcome.is_ok());
        check(&connection, 2, &outcome);
        check(&connection, 1, &other.join().unwrap());
    });
}

#[test]
fn commands_fail_if_the_runtime_has_ended() {
    model(2, || {
        let connection = connect();
        set_runtime(RuntimeState::Ended);
        let other = spawn(&connection, 1);
        let outcome = attempt(&connection, 2);
        assert!(outcome.is_err());
        check(&connection, 2, &outcome);
        check(&connection, 1, &other.join().unwrap());
    });
}
