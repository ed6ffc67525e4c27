//! Requests that are read once more: what was kept, or is taken back from a queue.

use super::reading::Reading;
use super::router::{Route, Router};
use super::settings::Settings;
use crate::command::{self, Class, Command};
use crate::resp::{Arg, Frame, RequestFramer};

/// A framer that has the arguments of a request which is kept, or taken back from a queue; `None` unless it is one
/// whole multibulk request.
pub(super) fn framed(reading: &Reading, request: &[u8]) -> Option<RequestFramer> {
    let mut framer = RequestFramer::new();
    let frame = framer.frame(request, &reading.request_limits);
    (frame == Ok(Frame::Complete(request.len())) && framer.is_multibulk()).then_some(framer)
}

/// The hashes of the keys of one request, or of several; `None` if they are not known.
pub(super) fn keys_of(router: &Router, reading: &Reading, requests: &[u8]) -> Option<Box<[u32]>> {
    let mut keys = Vec::new();
    for_each(reading, requests, |request, args| {
        let command = command::find(args.first()?.of(request))?;
        let span = command.key_span(args.len(), |index| args[index].of(request)).ok()?;
        keys.extend(span.iter().map(|index| router.hash_of(args[index as usize].of(request))));
        Some(())
    })?;
    Some(keys.into())
}

/// The lengths of these requests, which are whole.
pub(super) fn lens_of(reading: &Reading, requests: &[u8]) -> Option<Vec<u32>> {
    let mut lens = Vec::new();
    for_each(reading, requests, |request, _| {
        lens.push(request.len() as u32);
        Some(())
    })?;
    Some(lens)
}

/// Goes through whole requests, one behind the other; `None` if they are none, or as soon as `go_on` says so.
fn for_each(reading: &Reading, mut requests: &[u8], mut go_on: impl FnMut(&[u8], &[Arg]) -> Option<()>) -> Option<()> {
    let mut framer = RequestFramer::new();
    while !requests.is_empty() {
        framer.reset();
        let Ok(Frame::Complete(len)) = framer.frame(requests, &reading.request_limits) else { return None };
        go_on(&requests[..len], framer.args())?;
        requests = &requests[len..];
    }
    Some(())
}

/// Where a request goes whose backend is lost. Different servers may stand in for keys that were on one.
pub(super) fn route_again(settings: &Settings, router: &Router, reading: &Reading, request: &[u8], hash: u32) -> Route {
    if router.is_single() {
        return router.route_any();
    }
    let framer = framed(reading, request);
    debug_assert!(framer.is_some(), "only whole requests are sent again");
    let args = framer.as_ref().map_or(&[][..], |framer| framer.args());
    let find = |name| command::find(name).or_else(|| settings.policy.declared(name));
    let mut command = args.first().and_then(|name| find(name.of(request)));
    if let Some(container) = command.filter(|command| command.is_container()) {
        command = args.get(1).and_then(|word| container.sub(word.of(request)));
    }
    match command {
        Some(command @ Command { class: Class::Keyed | Class::Split(_) | Class::Lease(_) | Class::Refused, .. }) => {
            router.route_keys(command, request, args)
        }
        Some(Command { class: Class::Channel(_), .. }) => router.route_hash(hash),
        Some(Command { class: Class::Any | Class::Session(_), .. }) => router.route_any(),
        // What has no place by itself is not sent anywhere.
        _ => {
            debug_assert!(false, "a request without a place was sent");
            Route::Down
        }
    }
}
