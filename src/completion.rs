//! The panic of a future that is polled after its completion.

/// Panics. `future` is the name of the future's type.
///
/// No input of a request leads here: only a faulty executor or combinator polls a completed future.
/// Without the panic its task would hang. The futures of `async` blocks panic too.
#[cold]
#[track_caller]
#[expect(
    clippy::panic,
    reason = "the contract of `Future` allows no better answer"
)]
pub(crate) fn panic_after_completion(future: &str) -> ! {
    panic!("`{future}` polled after completion")
}
